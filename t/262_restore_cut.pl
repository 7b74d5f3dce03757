# Restoring, verifying and fetching WAL over connections that are cut: what has
# come is not fetched again, neither within a run nor by the next one.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Cloud;
use IPC::Run;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

ok($ENV{OMB_S3_PORT}, 'scripts/prove.sh has started an S3 server') or BAIL_OUT('no S3 server');
my $base = PostgreSQL::Test::Utils::tempdir('cut');
my $keys = write_private("$base/keys", "access_key_id=$ENV{OMB_S3_ACCESS_KEY_ID}", "secret_access_key=$ENV{OMB_S3_SECRET_ACCESS_KEY}");
local $ENV{OMSUPPLY_BACKUP_CREDENTIALS} = $keys;
sub url { my ($port) = @_; return "s3://cut/repository?style=path&endpoint=" . encode("http://127.0.0.1:$port") }
my $direct = url($ENV{OMB_S3_PORT});
suite_ok({ OMB_S3_ENDPOINT => "http://127.0.0.1:$ENV{OMB_S3_PORT}", OMB_S3_BUCKET => 'cut', OMB_S3_CREDENTIALS => $keys }, ['create'], 'a bucket');
my $port = start_proxy($base, $ENV{OMB_S3_PORT});
my $shaky = url($port);

my $repo = new_repository('cut');
my $node = new_node('main', $repo, conf => "autovacuum = off\nomsupply_backup.jobs = 1\n" . $Omb::no_scheduler);
$node->safe_psql('postgres', join ';', map {
	"CREATE TABLE t$_ AS SELECT n, md5(n::text || '$_') || md5((n + 1)::text || '$_') AS a FROM generate_series(1, 60000) n" } 1 .. 8);
# so many files that their list does not come with its end
$node->safe_psql('postgres', q{DO $$ BEGIN FOR i IN 1 .. 1000 LOOP
	EXECUTE format('CREATE TABLE small_%s (id int PRIMARY KEY, note text)', i); END LOOP; END $$});
my $id = $node->safe_psql('postgres', q{SELECT backup_now('one')});
cmp_ok(-s "$repo->{dir}/backups/$id", '>', 66_000, 'a manifest of some length');
my $segment = wait_archived($node);
my $wanted = fingerprint($node);
program_ok([ 'mirror', '--to', $direct ], 'the repository is mirrored', $repo);

my $far = { dir => $shaky, key => $repo->{key} };
# Bytes of answers whose path matches, since the last time.
sub bytes_of
{
	my ($pattern) = @_;
	my $sum = 0;
	for (split /\n/, slurp_file("$base/log.bytes"))
	{
		my ($method, $path, $bytes) = split / /;
		$sum += $bytes if $path =~ $pattern;
	}
	return $sum;
}
sub begin
{
	open my $f, '>', "$base/log.bytes" or die $!;
	close $f;
	with_rules(@_);
	return;
}

# what it takes when nothing happens
begin();
program_ok([ 'restore', '--pgdata', "$base/whole", '--target-immediate' ], 'restore', $far);
my $packs = bytes_of(qr{/packs/});
cmp_ok($packs, '>', 8_000_000, "it fetches $packs bytes of packs");
my $requests = () = requests() =~ m{packs/}g;
# how many blobs are joined to one request depends on the speed of the machine; a blob has no more than 128 KiB, and compressed half of it
cmp_ok($packs / $requests, '>', 256 * 1024, "by $requests requests, each for several blobs");
is(scalar(() = requests() =~ m{^GET \S*backups/}mg), 1, 'the manifest comes at once, and once');

# cut many times, within a run
begin('reset-down=500000 times=12 method=GET path=packs', 'reset-down=3000 times=4 method=GET path=backups');
program_ok([ 'restore', '--pgdata', "$base/cut", '--target-immediate' ], 'restore over a connection that is cut 16 times', $far);
cmp_ok(scalar(() = requests() =~ / reset-down=/mg), '>=', 12, 'it was cut');
cmp_ok(bytes_of(qr{/packs/}), '<', 1.05 * $packs, 'nothing was fetched twice');

# killed while it waits for more, and done again
my @stored = sort { $a <=> $b } map { -s } glob "$repo->{dir}/packs/*/*";
my $half = int($stored[-1] / 2);
cmp_ok($half, '>', $packs / 3, 'one pack has most of it');
begin("hang=120 method=GET path=packs from=$half");
my $h = IPC::Run::start([ 'omsupply_backup', 'restore', '--repository', $shaky, '--key-file', $repo->{key}, '--pgdata', "$base/killed",
	'--target-immediate' ], '<', \undef, '>', \my $o, '2>', \my $e);
my $size = sub { my $s = `du -sk $base/killed 2>/dev/null`; return $s =~ /^(\d+)/ ? $1 : 0 };
my $deadline = time + 120;
my ($before, $same) = (0, 0);
while (time < $deadline && $same < 10)
{
	my $now = $size->();
	$same = requests() =~ / hang=/m && bytes_of(qr{/packs/}) > $packs / 3 && $now == $before ? $same + 1 : 0;
	$before = $now;
	usleep(100_000);
}
ok($same, 'some files are there and the rest does not come');
$h->kill_kill;
my $first = bytes_of(qr{/packs/});
begin();
program_fails([ 'restore', '--pgdata', "$base/killed", '--target-immediate' ], 1, qr/is not empty/, 'without --delta it is refused', $far);
program_ok([ 'restore', '--pgdata', "$base/killed", '--target-immediate', '--delta' ], 'again, with what is there', $far);
my $second = bytes_of(qr{/packs/});
# some of the first was fetched ahead, for files that were not complete
cmp_ok($second, '<', 0.9 * $packs, "of $packs bytes $first and then $second were fetched");
# what one thread misses ends the work of all
begin('status=404:NoSuchKey times=1000 method=GET path=packs skip=3');
program_fails([ 'restore', '--pgdata', "$base/lost", '--target-immediate' ], 1, qr{packs/.*is incomplete and must not be used}s,
	'packs are gone in the middle of a restore', $far);
begin();
program_ok([ 'restore', '--pgdata', "$base/lost", '--target-immediate', '--delta' ], 'once they are back, it is made whole', $far);
my $restored = restored_node('restored', $far, '--target-immediate');
for my $how (qw(cut killed lost))
{
	is(system("diff -r --exclude=pg_control --exclude=postgresql.auto.conf --exclude=postgresql.conf --exclude=backup_manifest "
		. "$base/whole $base/$how >$base/diff"), 0, "$how: the same files") or diag(slurp_file("$base/diff"));
}

# Over a narrow way no more is asked for than comes within a minute: all else
# would be lost with the power. The list of the files tells how narrow it is.
my @one_hangs = ('hang=3 times=1 longer=4096 path=packs', 'delay=0 longer=4096 path=packs');
sub meanwhile { return requests() =~ / hang=3\n(.*?) hung\n/s ? $1 : die 'the answer came at once' }
begin(@one_hangs);
program_ok([ 'restore', '--pgdata', "$base/wide", '--target-immediate', '--jobs', 1 ], 'restore when an answer does not come', $far);
like(meanwhile(), qr/ delay=0$/m, 'over a wide way others are asked for meanwhile');
begin('rate=40000 path=backups', @one_hangs);
program_ok([ 'restore', '--pgdata', "$base/narrow", '--target-immediate', '--jobs', 1 ], 'the same over a narrow way', $far);
like(requests(), qr/ hung$/m, 'the answer did not come at first');
unlike(meanwhile(), qr/ delay=0$/m, 'nothing else is asked for meanwhile');

# verifying and WAL
begin('reset-down=400000 times=6 method=GET path=packs', 'reset-down=100000 times=2 method=GET path=wal/');
program_ok(['verify'], 'verify over such a connection', $far);
like(requests(), qr/ reset-down=/m, 'it was cut');
begin('reset-down=100000 times=3 method=GET path=wal/0');
program_ok([ 'wal-get', $segment, "$base/segment" ], 'so is wal-get', $far);
like(requests(), qr/ reset-down=/m, 'which was cut');
is(-s "$base/segment", 16 * 1024 * 1024, 'the segment is whole');

# and the server itself recovers over it
begin('reset-down=50000 times=5 method=GET path=wal/', 'status=503:SlowDown times=5 method=GET');
unlink $restored->data_dir . '/recovery.signal';
append_to_file($restored->data_dir . '/recovery.signal', '');
start_restored($restored);
is(fingerprint($restored), $wanted, 'everything is as it was');
$restored->stop('immediate');
$node->stop('immediate');
done_testing();
