# WAL far away: looking for a target and fetching in order take round trips for
# many segments at a time, and what was fetched ahead is taken without any.
use strict;
use warnings;
use Cwd qw(realpath);
use FindBin;
use lib $FindBin::RealBin;
use Cloud;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

ok($ENV{OMB_S3_PORT}, 'scripts/prove.sh has started an S3 server') or BAIL_OUT('no S3 server');
my $base = realpath(PostgreSQL::Test::Utils::tempdir_short());
my $keys = write_private("$base/keys", "access_key_id=$ENV{OMB_S3_ACCESS_KEY_ID}", "secret_access_key=$ENV{OMB_S3_SECRET_ACCESS_KEY}");
%Cloud::server = (OMB_S3_ENDPOINT => "http://127.0.0.1:$ENV{OMB_S3_PORT}", OMB_S3_BUCKET => 'wal', OMB_S3_CREDENTIALS => $keys);
suite_ok({}, ['create'], 'a bucket');
my $proxy = start_proxy($base, $ENV{OMB_S3_PORT});
sub url { my ($port) = @_; return 's3://wal/r?style=path&endpoint=' . encode("http://127.0.0.1:$port") }

# ---- a repository with much WAL behind its backup ----

my $repo = new_repository('wal');
my $node = new_node('main', $repo, initdb => ['--wal-segsize=1'], conf => "wal_keep_size = '1GB'\nautovacuum = off\n");
my $wal = $node->data_dir . '/pg_wal';
sub sql { my ($query) = @_; return $node->safe_psql('postgres', $query) }
sub fill
{
	my ($rows) = @_;
	sql("INSERT INTO t SELECT n, md5(random()::text) || repeat('x', 100) FROM generate_series(1, $rows) n");
	return wait_archived($node);
}
sql('CREATE TABLE t (n int, filler text)');
sql('SELECT backup_now()');
my $first = fill(100_000);
sql(q{SELECT pg_create_restore_point('half')});
my $lsn = sql('SELECT pg_current_wal_lsn()');
my $time = sql('SELECT clock_timestamp()');
my $last = fill(100_000);
my $rows = fingerprint($node);
$node->stop;
my %listed = map { /\/([0-9A-F]{24})-[0-9a-f]{32}$/ ? ($1 => 1) : () } glob "$repo->{dir}/wal/*/*/*";
my @segments = grep { $_ ge $first } sort keys %listed;
cmp_ok(scalar @segments, '>=', 16, 'there are segments enough');
cmp_ok(scalar keys %listed, '>=', 40, 'and behind the backup many more');
program_ok([ 'mirror', '--to', url($ENV{OMB_S3_PORT}), '--credentials-to', $keys ], 'it is mirrored', $repo);
local $ENV{OMSUPPLY_BACKUP_CREDENTIALS} = $keys;
my $far = { dir => url($proxy), key => $repo->{key} };

# ---- looking for a target ----

sub lists { return scalar grep { /list-type=2/ } split /\n/, requests() }
for my $target ([], ['--target-immediate'], [ '--target-time', $time ], [ '--target-name', 'half' ], [ '--target-lsn', $lsn ])
{
	my @restore = ('restore', '--dry-run', '--pgdata', "$base/none", @$target);
	my $near = program_ok(\@restore, "near: @restore[4 .. $#restore]", $repo);
	with_rules();
	is(program_ok(\@restore, "far: @$target", $far), $near, 'far away it is the same');
	cmp_ok(lists(), '<=', 10, 'with few lists');
}

# ---- fetching ahead ----

my $spool = "$base/omsupply_backup.spool";
sub wait_for
{
	my ($what, $condition) = @_;
	for (1 .. 1800)
	{
		return 1 if $condition->();
		usleep(100_000);
	}
	die "waited in vain for $what";
}
sub spooled { my ($file) = @_; return scalar grep { !/\.part$/ } glob "$spool/$file-*" }
sub prefetcher
{
	for my $link (glob '/proc/[0-9]*/cwd')
	{
		my $to = readlink $link;
		return $1 if defined $to && $to eq $spool && $link =~ /(\d+)/;
	}
	return 0;
}
sub get
{
	my ($file, $from) = @_;
	unlink "$base/got";
	my ($status, $out, $err) = program($from // $far, 'wal-get', $file, "$base/got", '--spool', $base);
	return "status $status: $err" if $status ne '0';
	return slurp_file("$base/got") eq slurp_file("$wal/$file") ? '' : 'other bytes';
}
# the server refuses everybody, for good
sub cut { return with_rules('status=403:AccessDenied') }

with_rules();
is(get($segments[0]), '', 'the first segment');
wait_for('the window', sub { 5 == grep { spooled($_) } @segments[ 1 .. 5 ] });
cut();
is(get($_), '', "$_ is taken while nobody can be asked") for @segments[ 1 .. 3 ];
like(get($segments[4], { %$far, dir => url($proxy) . '&region=elsewhere' }), qr/^status 200/, 'not for a repository that is somewhere else');
my $pid = prefetcher();
ok($pid, 'a process serves the spool');
kill 'KILL', $pid;
wait_for('its death', sub { !prefetcher() });
like(get($segments[4]), qr/^status 200: .*403/s, 'and not when nobody serves the spool');
ok(spooled($segments[4]), 'although it is there');
with_rules();
is(get($segments[4]), '', 'until the repository can be asked');
with_rules();
is(join('', map { get($_) } @segments[ 5 .. $#segments ]), '', 'all that follows');
wait_for('an empty spool', sub { !-e $spool && !prefetcher() });
ok(1, 'the spool is removed when all was taken');
like(get('0000000100000FFF000000FF'), qr/^status 1: $/, 'an absent segment is proven absent');

# ---- a server recovers ----

with_rules();
my $restored = restored_node('restored', $far);
start_restored($restored);
is(fingerprint($restored), $rows, 'a server has all rows');
prove_sound($restored, 'restored');

done_testing();
