# Old backups are removed from a bucket by few requests, over a network that
# fails, and by a key that may not remove everything.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Cloud;
use IPC::Run;
use JSON::PP;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

ok($ENV{OMB_S3_PORT}, 'scripts/prove.sh has started an S3 server') or BAIL_OUT('no S3 server');
my $base = PostgreSQL::Test::Utils::tempdir('removal');
my $keys = write_private("$base/keys", "access_key_id=$ENV{OMB_S3_ACCESS_KEY_ID}", "secret_access_key=$ENV{OMB_S3_SECRET_ACCESS_KEY}");
local $ENV{OMSUPPLY_BACKUP_CREDENTIALS} = $keys;
%Cloud::server = (OMB_S3_ENDPOINT => "http://127.0.0.1:$ENV{OMB_S3_PORT}", OMB_S3_BUCKET => 'removal', OMB_S3_CREDENTIALS => $keys);
suite_ok({}, ['create'], 'a bucket');
my $port = start_proxy($base, $ENV{OMB_S3_PORT});
sub url { my ($to, $prefix) = @_; return "s3://removal/$prefix?style=path&sole-user=yes&endpoint=" . encode("http://127.0.0.1:$to") }

# ---- many objects at once ----

my %through = (OMB_S3_ENDPOINT => "http://127.0.0.1:$port", OMB_CLOUD_TRIES => 4, OMB_CLOUD_STALL => 2);
sub put_all { my ($n) = @_; suite_ok({}, [ 'put', "x$_", 1 ], "object $_") for 0 .. $n - 1; return }
for my $case (
	[ 'status=503:SlowDown times=2', 1 ],
	[ 'lost-reply times=1 method=POST', 2 ],
	[ 'reset-up=10 times=1 method=POST', 2 ],
	[ 'inner=InternalError times=1 method=POST', 2 ],
	[ 'truncate=30 times=1 method=POST', 2 ])
{
	my ($rule, $least) = @$case;
	put_all(3);
	with_rules($rule);
	like(suite_ok(\%through, [ 'removeall', 'x', 5 ], "several are removed, $rule"), qr/^gone 5, locked 0, of 5$/m, 'all of them');
	with_rules();
	unlike(suite_ok({}, ['list'], 'list'), qr/^x\d/m, 'none is left');
}
put_all(3);
with_rules('status=501:NotImplemented method=POST');
like(suite_ok(\%through, [ 'removeall', 'x', 3 ], 'a server that removes one by one only'), qr/^gone 3/m, 'removes them');
is(scalar(() = requests() =~ /^POST/mg), 1, 'it is asked once for more');
is(scalar(() = requests() =~ /^DELETE/mg), 3, 'and then for each');
put_all(2);
with_rules('status=403:AccessDenied method=(POST|DELETE)');
suite_fails(\%through, [ 'removeall', 'x', 2 ], qr/^failed: could not remove object "x\d".*403 AccessDenied/m, 'a key that may not');
with_rules();

# ---- expire in a bucket ----

my $repo = new_repository('removal');
my $node = new_node('main', $repo, conf => "autovacuum = off\nomsupply_backup.jobs = 1\n" . $Omb::no_scheduler);
$node->safe_psql('postgres', q{CREATE TABLE t (n int, a text)});
for my $i (1 .. 6)
{
	$node->safe_psql('postgres', "TRUNCATE t; INSERT INTO t SELECT n, md5((n * $i)::text) FROM generate_series(1, 20000) n");
	$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
	$node->safe_psql('postgres', "SELECT backup_now('b$i', 'full')");
}
wait_archived($node);
my $wanted = fingerprint($node);
$node->stop('immediate');
program_ok([ 'mirror', '--to', url($ENV{OMB_S3_PORT}, 'repository') ], 'the repository is mirrored', $repo);
my $far = { dir => url($port, 'repository'), key => $repo->{key} };
my $near = { dir => url($ENV{OMB_S3_PORT}, 'repository'), key => $repo->{key} };

# cut at each of its removals, by a kill: always a valid repository
my $kills = 0;
for my $turn (0 .. 3)
{
	with_rules("hang=120 method=(POST|DELETE) skip=$turn");
	my $h = IPC::Run::start([ 'omsupply_backup', 'expire', '--repository', $far->{dir}, '--key-file', $far->{key}, '--keep-last', 2 ],
		'<', \undef, '>', \my $o, '2>', \my $e);
	while ($h->pumpable && requests() !~ / hang=/m) { $h->pump_nb; usleep(20_000); }
	if ($h->pumpable) { $kills++; $h->kill_kill; } else { $h->finish; }
	with_rules();
	program_ok(['verify'], "cut at request $turn: what is there verifies", $near);
}
cmp_ok($kills, '>=', 2, "it was killed $kills times");
my $out = program_ok([ 'expire', '--keep-last', 2, '--json' ], 'the next run finishes', $far);
my $result = decode_json($out);
is($result->{locked}, 0, 'nothing is locked');
is(scalar(() = program_ok(['list'], 'list', $near) =~ /^2\d{7}T/mg), 2, 'two backups are left');
with_rules();
$out = decode_json(program_ok([ 'expire', '--keep-last', 1, '--json' ], 'once more', $far));
is($out->{backups_dropped}, 1, 'one backup goes');
my $posts = () = requests() =~ /^POST/mg;
cmp_ok($posts, '<=', 3, "by $posts requests for manifests, WAL and packs");
unlike(requests(), qr/^DELETE/m, 'and none for a single object');
program_ok(['verify'], 'the rest verifies', $near);
my $restored = restored_node('restored', $near);
start_restored($restored);
is(fingerprint($restored), $wanted, 'and is restored');
$restored->stop('immediate');
done_testing();
