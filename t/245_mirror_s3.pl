# A second copy in a bucket of a real S3 server, over a network that fails:
# when the machine is lost, the cluster comes back from the bucket and the
# recovery code alone.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use File::Path qw(rmtree);
use IPC::Run;
use JSON::PP;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

ok($ENV{OMB_S3_PORT}, 'scripts/prove.sh has started an S3 server') or BAIL_OUT('no S3 server');
my $base = PostgreSQL::Test::Utils::tempdir('mirror_s3');
my ($rules, $log) = ("$base/rules", "$base/log");
my $keys = "$base/keys of s3";
append_to_file($keys, "access_key_id=$ENV{OMB_S3_ACCESS_KEY_ID}\nsecret_access_key=$ENV{OMB_S3_SECRET_ACCESS_KEY}\n");
chmod 0600, $keys;
{
	local %ENV = (%ENV, OMB_S3_ENDPOINT => "http://127.0.0.1:$ENV{OMB_S3_PORT}", OMB_S3_BUCKET => 'mirror', OMB_S3_CREDENTIALS => $keys);
	command_ok([ "$ENV{OMB_BIN}/cloudsuite", 'create' ], 'a bucket');
}
append_to_file($rules, '');
my $proxy = IPC::Run::start([ $^X, "$FindBin::RealBin/faultproxy.pl", "$base/port", $ENV{OMB_S3_PORT}, $rules, $log ],
	'<', \undef, '>', '/dev/null');
for (1 .. 600) { last if -e "$base/port"; usleep(50_000); }
sub url { my ($port, $prefix) = @_; return "s3://mirror/$prefix?endpoint=http%3A%2F%2F127.0.0.1%3A$port&style=path" }
my $direct = url($ENV{OMB_S3_PORT}, 'server one');
my $shaky = url(slurp_file("$base/port"), 'server one');
sub set_rules { open my $f, '>', $rules or die; print $f map { "$_\n" } @_; close $f; return }

my $repo = { dir => "$base/repository", key => "$base/key" };
my ($status, $out, $err) = program(undef, 'init', '--repository', $repo->{dir}, '--key-file', $repo->{key});
my ($code) = $out =~ /^Recovery code:\s+(\S+)$/m;
ok($code, 'a repository') or diag($err);
append_to_file("$base/code", "$code\n");
my $node = new_node('main', $repo, conf => "autovacuum = off\nomsupply_backup.jobs = 1\n");
$node->safe_psql('postgres', q{CREATE TABLE t AS SELECT n, md5(n::text) AS a FROM generate_series(1, 20000) n});
$node->safe_psql('postgres', q{SELECT backup_now('first')});

local $ENV{OMSUPPLY_BACKUP_CREDENTIALS} = $keys;
sub mirror
{
	my ($to, @options) = @_;
	my ($s, $o, $e) = program($repo, 'mirror', '--to', $to, '--json', @options);
	unlike("$o$e", qr/\Q$ENV{OMB_S3_SECRET_ACCESS_KEY}\E/, 'no secret is shown');
	return ($s, $o eq '' ? undef : decode_json($o), $e);
}
sub verifies
{
	my ($name) = @_;
	my ($s, $o, $e) = program({ dir => $direct, key => $repo->{key} }, 'verify');
	return is($s, 0, "$name: the copy verifies") || diag("$o$e");
}

# what networks do
set_rules('reset-up=100 times=2 method=PUT', 'inner=InternalError times=2 method=PUT', 'status=503:SlowDown times=3');
my ($s, $result, $e) = mirror($shaky);
is($s, 0, 'it is mirrored over a network that fails') or diag($e);
is($result->{backups_copied}, 1, 'the backup is there');
verifies('after failures');

# what it cannot bear
$node->safe_psql('postgres', q{UPDATE t SET a = md5(a) WHERE n < 5000});
my $last = wait_archived($node);
set_rules('status=403:AccessDenied method=PUT times=1000');
($s, $result, $e) = mirror($shaky);
is($s, 1, 'a target that refuses makes it fail');
like($e, qr/not complete|given up/, 'it says so');
cmp_ok($result->{objects_missing}, '>=', 1, 'and counts what is missing');
set_rules();

# killed while a backup and archiving go on
my $load = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
	q{SELECT backup_now('second')}, '-c', q{DO $$BEGIN FOR i IN 1..10 LOOP UPDATE t SET a = md5(a) WHERE n % 10 = i % 10; PERFORM pg_switch_wal(); COMMIT; END LOOP; END$$} ],
	'>', \my $load_out, '2>', \my $load_err);
for my $turn (1 .. 5)
{
	unlink $log;
	my $h = IPC::Run::start([ 'omsupply_backup', 'mirror', '--from', $repo->{dir}, '--key-file', $repo->{key}, '--to', $shaky, '--limit', '5MB' ],
		'<', \undef, '>', \my $o, '2>', \my $ee);
	while ($h->pumpable && (!-e $log || (() = slurp_file($log) =~ /^PUT/mg) < $turn))
	{
		$h->pump_nb;
		usleep(10_000);
	}
	$h->signal('KILL') if $h->pumpable;
	$h->finish;
}
ok($load->finish, 'the load came to its end') or diag($load_err);
verifies('after kills');
$node->safe_psql('postgres', q{INSERT INTO t VALUES (-1, 'last')});
wait_archived($node);
($s, $result, $e) = mirror($direct, '--reconcile');
is($s, 0, 'the last mirror') or diag($e);
is($result->{objects_missing}, 0, 'nothing is missing');
verifies('at the end');
($s, $result, $e) = mirror($direct, '--check', '--sample', 100);
is($s, 0, 'the copy is as it should be') or diag($e);

# retention there; nobody can be locked out of a bucket, so it has to be said
program_fails([ 'prune', '--repository', $direct ], 1, qr/lock|use/, 'prune in a bucket that others may use', $repo);
program_ok([ 'prune', '--repository', "$direct&sole-user=yes" ], 'prune in a bucket of our own', $repo);
program_ok([ 'init', '--repository', url($ENV{OMB_S3_PORT}, 'two'), '--key-file', "$base/key two" ], 'a repository is made in a bucket');
($s, $result, $e) = mirror(url($ENV{OMB_S3_PORT}, 'two'));
is($s, 1, 'a bucket with another repository');
like($e, qr/holds another repository/, 'is refused');

# everything is lost but the bucket, its keys and the recovery code
my $wanted = fingerprint($node);
$node->stop('immediate');
rmtree($node->data_dir);
rmtree($repo->{dir});
unlink $repo->{key};
delete $ENV{OMSUPPLY_BACKUP_CREDENTIALS};
($status, $out, $err) = program(undef, 'list', '--repository', $direct, '--credentials', $keys, '--recovery-code-file', "$base/code");
is($status, 0, 'the bucket is listed with the recovery code') or diag($err);
like($out, qr/first.*second/s, 'with both backups');
my $key = "$base/new key";
program_ok([ 'key', '--repository', $direct, '--credentials', $keys, '--recovery-code-file', "$base/code", $key ], 'a new key file is made');
my $restored = restored_node('restored', { dir => $direct, key => $key }, '--credentials', $keys);
like(slurp_file($restored->data_dir . '/postgresql.auto.conf'), qr{--repository ''s3://mirror/server one\?.*--credentials ''\Q$keys\E''},
	'the server is to fetch WAL from the bucket');
start_restored($restored);
is(fingerprint($restored), $wanted, 'everything is as it was');
prove_sound($restored, 'restored');
$proxy->kill_kill;

done_testing();
