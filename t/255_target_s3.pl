# A target in a bucket, end to end: the server fills it by itself while it is
# written to, over a network that fails; then the machine is lost, data directory
# and repository, and the cluster comes back from the bucket and the recovery
# code alone. And a bucket that hangs holds up nothing.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use File::Path qw(rmtree);
use IPC::Run;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

ok($ENV{OMB_S3_PORT}, 'scripts/prove.sh has started an S3 server') or BAIL_OUT('no S3 server');
my $base = PostgreSQL::Test::Utils::tempdir('target_s3');
my ($rules, $log) = ("$base/rules", "$base/log");
my $keys = "$base/keys of s3";
append_to_file($keys, "access_key_id=$ENV{OMB_S3_ACCESS_KEY_ID}\nsecret_access_key=$ENV{OMB_S3_SECRET_ACCESS_KEY}\n");
chmod 0600, $keys;
{
	local %ENV = (%ENV, OMB_S3_ENDPOINT => "http://127.0.0.1:$ENV{OMB_S3_PORT}", OMB_S3_BUCKET => 'targets', OMB_S3_CREDENTIALS => $keys);
	command_ok([ "$ENV{OMB_BIN}/cloudsuite", 'create' ], 'a bucket');
}
append_to_file($rules, '');
my $proxy = IPC::Run::start([ $^X, "$FindBin::RealBin/faultproxy.pl", "$base/port", $ENV{OMB_S3_PORT}, $rules, $log ],
	'<', \undef, '>', '/dev/null');
for (1 .. 600) { last if -e "$base/port"; usleep(50_000); }
sub url { my ($port) = @_; return "s3://targets/server%20one?endpoint=http%3A%2F%2F127.0.0.1%3A$port&style=path" }
my $direct = url($ENV{OMB_S3_PORT});
my $shaky = url(slurp_file("$base/port"));
sub set_rules { open my $f, '>', $rules or die; print $f map { "$_\n" } @_; close $f; return }

my $repo = { dir => "$base/repository", key => "$base/key" };
my ($status, $out, $err) = program(undef, 'init', '--repository', $repo->{dir}, '--key-file', $repo->{key});
my ($code) = $out =~ /^Recovery code:\s+(\S+)$/m;
ok($code, 'a repository') or diag($err);
append_to_file("$base/code", "$code\n");
my $node = new_node('main', $repo, conf => "autovacuum = off\nomsupply_backup.jobs = 1\n");
sub sql { return $node->safe_psql('postgres', $_[0]) }

sub wait_complete
{
	my ($name) = @_;
	my $done = $node->poll_query_until('postgres',
		q{SELECT state = 'ok' AND objects_waiting = 0 AND data_at_risk = '0' FROM backup_target_status});
	return ok($done, $name) || diag(sql('SELECT * FROM backup_target_status'));
}

# ---- what the bucket can do ----

sql(qq{INSERT INTO backup_target (name, url, credentials, is_enabled) VALUES ('cloud', '$shaky', '$keys', false)});
my $rows = sql(q{SELECT operation || ' ' || result || ' ' || found FROM backup_target_check('cloud')});
is(join(' ', $rows =~ /^(create only|get|get range|large object|leftovers|list|open|put|remove) ok/mg),
	'open put create only get list large object get range remove leftovers', 'each operation is tried') or diag($rows);
like($rows, qr/^clock ok/m, 'and the clock');
like($rows, qr/^policy ok .*"arn:aws:s3:::targets\/server one\/\*"/m, 'with a policy for the bucket');
# a permission that is missing
set_rules('status=403:AccessDenied method=DELETE times=1000');
$rows = sql(q{SELECT operation || ' ' || result || ' ' || coalesce(hint, '') FROM backup_target_check('cloud')});
like($rows, qr/^remove error .*s3:DeleteObject/m, 'a permission that is missing is named');
like($rows, qr/^get ok/m, 'while others are there');
set_rules('status=403:AccessDenied method=PUT times=1000');
$rows = sql(q{SELECT operation || ' ' || result || ' ' || coalesce(hint, '') FROM backup_target_check('cloud')});
like($rows, qr/^put error .*s3:PutObject/m, 'or that one');
like($rows, qr/^get skipped/m, 'and what cannot be tried is not');
set_rules();

# ---- filled while it is written to, over a network that fails ----

sql(q{CREATE TABLE t AS SELECT n, md5(n::text) AS a FROM generate_series(1, 20000) n});
set_rules('reset-up=100 times=2 method=PUT', 'inner=InternalError times=2 method=PUT', 'status=503:SlowDown times=3');
sql(q{UPDATE backup_target SET is_enabled = true});
sql(q{SELECT backup_now('first')});
my $load = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
	q{DO $$BEGIN FOR i IN 1..10 LOOP UPDATE t SET a = md5(a) WHERE n % 10 = i % 10; PERFORM pg_switch_wal(); COMMIT; END LOOP; END$$} ],
	'>', \my $load_out, '2>', \my $load_err);
sql(q{SELECT backup_now('second')});
ok($load->finish, 'the load came to its end') or diag($load_err);
wait_complete('the bucket has all');
my ($s, $o, $e) = program({ dir => $direct, key => $repo->{key} }, 'verify', '--credentials', $keys);
is($s, 0, 'the copy verifies') or diag("$o$e");

# ---- the hot path does not list the bucket ----

like(slurp_file($log), qr{^GET \S*list-type}m, 'the bucket was listed at first');
unlink $log;
sql(q{INSERT INTO t VALUES (-1, 'x')});
my $wal = wait_archived($node);
wait_complete('one more segment');
my $requests = slurp_file($log);
like($requests, qr{^PUT .*$wal}m, 'it was sent');
unlike($requests, qr{^GET \S*list-type}m, 'without listing the bucket');

# ---- a bucket that refuses, and one that hangs ----

set_rules('status=403:AccessDenied times=100000');
sql(q{INSERT INTO t VALUES (-2, 'x')});
wait_archived($node);
ok($node->poll_query_until('postgres', q{SELECT state IN ('failing', 'blocked') FROM backup_target_status}), 'a bucket that refuses');
like(sql(q{SELECT last_error FROM backup_target_status}), qr/AccessDenied/, 'it says why');
unlike(sql(q{SELECT t::text FROM backup_target_status t}) . slurp_file($node->logfile), qr/\Q$ENV{OMB_S3_SECRET_ACCESS_KEY}\E/, 'no secret is shown');
set_rules();
$node->reload;
wait_complete('it goes on');

# No request is answered.
set_rules('hang=15 times=100000');
my $archived = sql('SELECT archived_count FROM pg_stat_archiver');
for my $i (1 .. 5)
{
	sql("INSERT INTO t VALUES (-10 - $i, 'x')");
	wait_archived($node);
}
cmp_ok(sql('SELECT archived_count FROM pg_stat_archiver'), '>=', $archived + 5, 'archiving goes on while the bucket hangs');
is(sql('SELECT failed_count FROM pg_stat_archiver'), 0, 'without a failure');
ok(sql(q{SELECT backup_now('third')}), 'so do backups');
cmp_ok(sql(q{SELECT extract(epoch FROM data_at_risk) FROM backup_target_status}), '>', 0, 'the view shows that the target is behind');
set_rules();
wait_complete('it catches up');

# ---- retention of the bucket ----

sql(q{INSERT INTO backup_retention (store, keep_last) VALUES ('cloud', 2)});
$node->poll_query_until('postgres', q{SELECT state = 'ok' FROM backup_target_status});
sql(q{SELECT count(*) FROM backup_expire()});
$node->wait_for_log(qr/removal of old backups from target "cloud" completed: 1 backups removed, 2 kept/);
wait_complete('what was removed is not missing');
my $listed = program_ok([ 'list', '--repository', $direct, '--credentials', $keys ], 'the bucket is listed', $repo);
unlike($listed, qr/first/, 'the oldest backup is gone there');
like($listed, qr/second.*third/s, 'the others are not');
is(sql('SELECT count(*) FROM backup_list()'), 3, 'the repository keeps by its own rules');
($s, $o, $e) = program({ dir => $direct, key => $repo->{key} }, 'verify', '--credentials', $keys);
is($s, 0, 'the copy verifies') or diag("$o$e");

# ---- everything is lost but the bucket, its keys and the recovery code ----

sql(q{INSERT INTO t VALUES (-100, 'last')});
wait_archived($node);
wait_complete('the last segment is there');
my $wanted = fingerprint($node);
$node->stop('immediate');
rmtree($node->data_dir);
rmtree($repo->{dir});
unlink $repo->{key};
my $key = "$base/new key";
program_ok([ 'key', '--repository', $direct, '--credentials', $keys, '--recovery-code-file', "$base/code", $key ], 'a new key file is made');
my $restored = restored_node('restored', { dir => $direct, key => $key }, '--credentials', $keys);
start_restored($restored);
is(fingerprint($restored), $wanted, 'everything is as it was');
is($restored->safe_psql('postgres', q{SELECT name FROM backup_target}), 'cloud', 'the target is known');
prove_sound($restored, 'restored');
$proxy->kill_kill;

done_testing();
