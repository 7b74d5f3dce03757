# The repository lacks space: old backups go early, as few as are enough, down
# to the minimum; what does not help is told and tried again after pauses.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $small = $ENV{OMB_SMALL_FS};
plan skip_all => 'only root can mount a small file system' unless defined $small && -d $small;

my $repo = { dir => "$small/repository", key => "$small/key" };
program_ok([ 'init', '--repository', $repo->{dir}, '--key-file', $repo->{key} ], 'init');
my $node = new_node('main', $repo, initdb => ['--wal-segsize=1'], conf => "timezone = 'UTC'\nautovacuum = off\n");

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub wait_until { my ($query, $name) = @_; return ok($node->poll_query_until('postgres', $query), $name); }
sub free_bytes
{
	my ($line) = grep { m{/} } split /\n/, `df -B1 --output=avail,target $small`;
	return $line =~ /(\d+)/ ? $1 : die;
}
sub ids { return split /\n/, sql('SELECT id FROM backup_list() ORDER BY id'); }
sub surveyed { sql(q{SELECT count(*) FROM backup_check('0')}); return; }
sub low_space_runs { return sql(q{SELECT count(*) FROM backup_history WHERE cause = 'low space'}); }

sql('DELETE FROM backup_retention; INSERT INTO backup_retention (keep_last, minimum) VALUES (20, 2)');
my @id;
for my $n (1 .. 5)
{
	# a table of 800 kB that compresses badly, other each time
	sql("DROP TABLE IF EXISTS t; CREATE TABLE t AS SELECT decode(string_agg(md5(random()::text), ''), 'hex') FROM generate_series(1, 500), generate_series(1, 100) g GROUP BY g");
	push @id, sql("SELECT backup_now('number $n')");
	wait_archived($node);
}
wait_until('SELECT count(*) = 0 FROM backup_progress', 'five backups');
is(low_space_runs(), 0, 'by default nothing goes early');

# a dry run of the program tells what would go, and names the reason
my $more = free_bytes() + 1500 * 1024;
my $text = program_ok([ 'expire', '--dry-run', '--keep-last', '20', '--minimum', '2', '--min-free', $more ], 'dry run', $repo);
like($text, qr/^drop +backup +$id[0]: dropped early: the repository has less than [\d.]+ MB free$/m, 'the oldest would go');
like($text, qr/^keep +backup +$id[4]/m, 'not the newest');
program_fails([ 'expire', '--min-free', 'much' ], 2, qr/invalid size "much" for --min-free.*HINT|invalid size "much".*hint/si, 'no size', $repo);

# the server does it by itself, as far as needed
my $mb = int(free_bytes() / 1048576) + 2;
sql("ALTER SYSTEM SET omsupply_backup.min_free = '${mb}MB'");
$node->reload;
wait_until(q{SELECT current_setting('omsupply_backup.min_free')::text <> '0'}, 'a limit');
surveyed();
wait_until(q{SELECT count(*) = 1 FROM backup_history WHERE cause = 'low space' AND job = 'expire' AND state = 'done'}, 'old backups are removed');
cmp_ok(free_bytes(), '>=', $mb * 1048576, 'there is enough space again');
my @left = ids();
cmp_ok(scalar(@left), '<', 5, 'some are gone');
cmp_ok(scalar(@left), '>', 2, 'not more than needed');
is_deeply(\@left, [ @id[ 5 - @left .. 4 ] ], 'the oldest ones');
wait_until(q{SELECT NOT EXISTS (SELECT FROM backup_status, unnest(reasons) r WHERE r LIKE '%min_free%')}, 'the status does not complain');
ok($node->log_contains(qr/removing old backups because the repository has less than $mb MB free/), 'the log says why');

# what cannot be reached: down to the minimum, never pins, and it is told
sql("SELECT backup_pin('$left[0]')");
sql("ALTER SYSTEM SET omsupply_backup.min_free = '1GB'");
$node->reload;
surveyed();
wait_until(q{SELECT count(*) = 2 FROM backup_history WHERE cause = 'low space' AND state = 'done'}, 'tried');
is_deeply([ ids() ], [ $left[0], @id[ 3, 4 ] ], 'the pinned one and the minimum stay');
surveyed();
like(sql(q{SELECT array_to_string(reasons, E'\n') FROM backup_status}),
	qr/has \d+ \w+ left, less than "omsupply_backup.min_free", and all old backups that may go are gone: enlarge it, or lower "keep_wal_days"/, 'the status tells what to do');
like(sql(q{SELECT state FROM backup_status}), qr/degraded|failing/, 'and is not ok');
surveyed() for 1 .. 3;
is(low_space_runs(), 2, 'it is not tried again and again');
sql('ALTER SYSTEM SET omsupply_backup.debug_clock_offset = 700');
$node->reload;
wait_until(q{SELECT count(*) = 3 FROM backup_history WHERE cause = 'low space' AND state = 'done'}, 'but after a pause');
sql('ALTER SYSTEM SET omsupply_backup.debug_clock_offset = 1400');
$node->reload;
surveyed();
is(low_space_runs(), 3, 'which grows');
like(program_ok(['verify'], 'verify', $repo), qr/^3 backups, .* no problem found$/m, 'the repository is sound');

# WAL from the oldest backup on is there: an instant right behind it
my $restored = restored_node('restored', $repo, '--backup', $id[3]);
start_restored($restored);
is($restored->safe_psql('postgres', 'SELECT count(*) FROM t'), 100, 'a kept backup restores to the end');
$restored->stop;

# without a rule nothing may go
sql('DELETE FROM backup_retention');
sql('ALTER SYSTEM SET omsupply_backup.debug_clock_offset = 100000');
$node->reload;
surveyed();
is(scalar(ids()), 3, 'without a rule nothing goes');
is(low_space_runs(), 3, 'and no job is started');

done_testing();
