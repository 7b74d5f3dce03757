# A second copy of the repository, made while the server archives and is backed
# up, restores the cluster when the data directory and the first copy are lost;
# and a mirror that is killed at any moment leaves a copy that is good.
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
use Time::HiRes ();
use Time::HiRes qw(time);

my $base = PostgreSQL::Test::Utils::tempdir('mirror');
my $repo = { dir => "$base/repository", key => "$base/key" };
my ($status, $out, $err) = program(undef, 'init', '--repository', "file://$repo->{dir}", '--key-file', $repo->{key});
is($status, 0, 'a repository is made by URL') or diag($err);
my ($code) = $out =~ /^Recovery code:\s+(\S+)$/m;
ok($code, 'there is a recovery code');
open my $f, '>', "$base/code" or die; print $f "$code\n"; close $f;

my $node = new_node('main', $repo, conf => "autovacuum = off\nomsupply_backup.jobs = 1\n");
my $copy = "$base/second disk";
my $url = "file://$base/second%20disk";

sub mirror
{
	my ($to, @options) = @_;
	my ($s, $o, $e) = program($repo, 'mirror', '--to', $to, '--json', @options);
	return ($s, $s == 2 || $o eq '' ? undef : decode_json($o), $e);
}
sub files
{
	my ($dir) = @_;
	my @names = grep { !m{^\./(lock|tmp|cache)(/|$)} } split /\n/, `cd '$dir' && find . -type f | sort`;
	return join "\n", @names;
}

# mistakes
program_fails([ 'mirror' ], 2, qr/--to is missing/, 'without a target', $repo);
program_fails([ 'mirror', '--to', $repo->{dir} ], 2, qr/cannot be mirrored to itself/, 'to itself', $repo);
program_fails([ 'mirror', '--to', "$base/no/where" ], 1, qr/does not exist/, 'below a directory that is not there', $repo);
program_fails([ 'mirror', '--to', 's3://user:hunter2@bucket/x' ], 2, qr/not allowed/, 'a password in a URL', $repo);
program_fails([ 'mirror', '--to', 'nonesuch://host/x' ], 2, qr/unknown kind of URL/, 'a store that there is not', $repo);
program_fails([ 'mirror', '--to', $url, '--limit', 'fast' ], 2, qr/invalid rate/, 'a rate that is none', $repo);
program_fails([ 'mirror', '--to', $url, '--heal' ], 2, qr/goes with --check/, 'healing without checking', $repo);

# Backups and archiving go on while it is mirrored again and again.
$node->safe_psql('postgres', q{CREATE TABLE t AS SELECT n, md5(n::text) AS a FROM generate_series(1, 20000) n});
$node->safe_psql('postgres', q{SELECT backup_now('first')});
my $pgbench = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
	q{DO $$BEGIN FOR i IN 1..40 LOOP UPDATE t SET a = md5(a) WHERE n % 10 = i % 10; PERFORM pg_switch_wal(); COMMIT; END LOOP; END$$} ],
	'>', \my $load_out, '2>', \my $load_err);
my $backup = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
	q{SELECT backup_now('second')} ], '>', \my $backup_out, '2>', \my $backup_err);
my $runs = 0;
my $failures = 0;
my $more = 1;
while ($more)
{
	# one more after both have ended
	$more = $pgbench->pumpable || $backup->pumpable;
	$pgbench->pump_nb if $pgbench->pumpable;
	$backup->pump_nb if $backup->pumpable;
	my ($s, $result, $e) = mirror($url, $runs % 2 ? ('--jobs', 1) : ());
	$runs++;
	$failures++ if $s != 0;
	diag($e) if $s != 0;
	my ($sv, $ov, $ev) = program({ dir => $url, key => $repo->{key} }, 'verify');
	$failures++ if $sv != 0;
	diag("$ov$ev") if $sv != 0;
}
ok($pgbench->finish, 'the load came to its end') or diag($load_err);
ok($backup->finish, 'the backup came to its end') or diag($backup_err);
is($failures, 0, "each of $runs mirrors succeeded and left a copy that verifies");

# the rest, and without the key
$node->safe_psql('postgres', q{INSERT INTO t VALUES (-1, 'last')});
my $last = wait_archived($node);
my ($s, $result, $e) = mirror($url);
is($s, 0, 'the last mirror') or diag($e);
is($result->{objects_missing}, 0, 'nothing is missing');
is($result->{listed} ? 1 : 0, 0, 'the target was not listed for WAL only');
# more may be archived at any time: what the copy has is a part of the whole
my %there = map { $_ => 1 } split /\n/, files($copy);
is(join("\n", grep { !$there{$_} && !m{^\./wal/} } split /\n/, files($repo->{dir})), '', 'all objects are there');
{
	local $repo->{key} = undef;
	delete local $ENV{OMSUPPLY_BACKUP_KEY_FILE};
	my ($so, $oo, $eo) = program({ dir => $repo->{dir}, key => '' }, 'list');
	isnt($so, 0, 'without the key nothing can be read');
	my ($sm, $om, $em) = (IPC::Run::run([ 'omsupply_backup', 'mirror', '--from', $repo->{dir}, '--to', "$base/blind" ],
		'>', \my $blind_out, '2>', \my $blind_err), 0, 0);
	ok($sm, 'but mirrored') or diag($blind_err);
}
($status, $out, $err) = program({ dir => "$base/blind", key => $repo->{key} }, 'verify');
is($status, 0, 'that copy verifies') or diag("$out$err");

# Killed at many moments; a limit makes it last.
my $killed = 0;
my $slow = "$base/slow";
my ($sd, $dry) = mirror($slow, '--dry-run');
is($sd, 0, 'a dry run');
ok($dry->{bytes_missing} > 100000 && !-e $slow, 'it counts and makes nothing');
for my $turn (1 .. 12)
{
	my $before = -d $slow ? files($slow) : '';
	local $ENV{OMSUPPLY_BACKUP_KEY_FILE} = $repo->{key};
	my $h = IPC::Run::start([ 'omsupply_backup', 'mirror', '--from', $repo->{dir}, '--to', $slow, '--limit', '2MB', '--jobs', 2 ],
		'<', \undef, '>', \my $o, '2>', \my $ee);
	# until something more is there than before
	while ($h->pumpable && (!-d $slow || files($slow) eq $before))
	{
		$h->pump_nb;
		select(undef, undef, undef, 0.01);
	}
	if ($h->pumpable)
	{
		$h->signal('KILL');
		$killed++;
	}
	$h->finish;
	next unless -e "$slow/repository";
	my ($sv, $ov, $ev) = program({ dir => $slow, key => $repo->{key} }, 'verify');
	is($sv, 0, "killed in run $turn: the copy is valid") or diag("$ov$ev");
}
cmp_ok($killed, '>=', 5, 'the mirror was killed');
($s, $result, $e) = mirror($slow);
is($s, 0, 'the next run completes the copy') or diag($e);
($status, $out, $err) = program({ dir => $slow, key => $repo->{key} }, 'list', '--json');
is(scalar @{ decode_json($out) }, 2, 'both backups are listed there') or diag($out);

# A limit: with all bytes but those of one piece ahead of the last piece it
# cannot be faster.
my $began = Time::HiRes::time();
($s, $result, $e) = mirror("$base/limited", '--limit', '4MB');
is($s, 0, 'a mirror with a limit') or diag($e);
cmp_ok(Time::HiRes::time() - $began, '>=', ($result->{bytes_copied} - 1024 * 1024) / (4 * 1024 * 1024) - 0.1, 'it keeps to the limit');

# A disk that gets full.
SKIP:
{
	skip 'no small file system', 6 unless $ENV{OMB_SMALL_FS};
	my $small = "$ENV{OMB_SMALL_FS}/copy";
	my $filler = "$ENV{OMB_SMALL_FS}/filler";
	system("dd if=/dev/zero of='$filler' bs=1M count=21 status=none") == 0 or die;
	($s, $result, $e) = mirror($small);
	is($s, 1, 'a disk that gets full makes it fail');
	like($e, qr/given up.*No space left/, 'it says so and gives up');
	cmp_ok($result->{objects_missing}, '>', 0, 'and counts what is missing');
	($status, $out, $err) = program({ dir => $small, key => $repo->{key} }, 'verify');
	is($status, 0, 'what is there verifies') or diag("$out$err");
	unlink $filler;
	($s, $result, $e) = mirror($small);
	is($s, 0, 'with space again it goes on') or diag($e);
	($status, $out, $err) = program({ dir => $small, key => $repo->{key} }, 'verify');
	is($status, 0, 'the copy verifies') or diag("$out$err");
	rmtree($small);
}

# A copy that was changed behind our back.
($s, $result, $e) = mirror($url, '--check', '--sample', 100);
is($s, 0, 'the copy is checked') or diag($e);
my ($pack) = glob "'$copy/packs/*/*'";
chmod 0600, $pack;
open my $p, '+<', $pack or die; seek $p, 500, 0; print $p 'XXXX'; close $p;
my ($lost) = grep { $_ ne $pack } glob "'$copy/packs/*/*'";
unlink $lost or die;
($s, $result, $e) = mirror($url, '--check', '--sample', 100);
is($s, 1, 'damage is found');
is($result->{changed}, 1, 'one object is changed');
is($result->{objects_missing}, 1, 'one is missing');
($s, $result, $e) = mirror($url, '--check', '--sample', 100, '--heal');
is($s, 0, 'it is healed') or diag($e);
is($result->{healed}, 1, 'the changed one is replaced');
ok(-e $lost, 'the missing one is copied');
($status, $out, $err) = program({ dir => $url, key => $repo->{key} }, 'verify');
is($status, 0, 'the healed copy verifies') or diag("$out$err");

# A disk that is not mounted.
rename $copy, "$copy.away" or die;
mkdir $copy or die;
program_fails([ 'mirror', '--to', $url ], 1, qr/is empty, but was not before/, 'a target that is suddenly empty', $repo);
rmdir "$copy/tmp";
rmdir $copy or die;
rename "$copy.away", $copy or die;
($s, $result, $e) = mirror($url);
is($s, 0, 'mounted again it goes on') or diag($e);

# Everything but the copy and the recovery code is lost.
my $wanted = fingerprint($node);
$node->stop('immediate');
rmtree($node->data_dir);
rmtree($repo->{dir});
unlink $repo->{key};
($status, $out, $err) = program(undef, 'list', '--repository', $url, '--recovery-code-file', "$base/code");
is($status, 0, 'the copy is listed with the recovery code') or diag($err);
like($out, qr/first.*second/s, 'with both backups');
my $key = "$base/new key";
program_ok([ 'key', '--repository', $url, '--recovery-code-file', "$base/code", $key ], 'a new key file is made there');
my $restored = restored_node('restored', { dir => $url, key => $key });
my $conf = slurp_file($restored->data_dir . '/postgresql.auto.conf');
like($conf, qr{--repository ''\Q$base\E/second disk''|--repository ''file://}, 'the server is to fetch WAL from the copy');
# again, over what is there, as after a restore that was cut short
($status, $out, $err) = program({ dir => $url, key => $key }, 'restore', '--pgdata', $restored->data_dir, '--delta');
is($status, 0, 'restoring again goes on with what is there') or diag($err);
$restored->append_conf('postgresql.conf', 'port = ' . $restored->port . "\n");
start_restored($restored);
is(fingerprint($restored), $wanted, 'everything is as it was');
prove_sound($restored, 'restored');

done_testing();
