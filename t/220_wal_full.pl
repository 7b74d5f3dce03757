# Archiving fails and pg_wal grows: warnings, or, when chosen, WAL is given up
# beyond a limit, which is noted, reported and followed by a new backup.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('full');
my $node = new_node('main', $repo, initdb => ['--wal-segsize=1'], conf => "min_wal_size = 2MB\nmax_wal_size = 8MB\n");
my $data = $node->data_dir;
$node->safe_psql('postgres', 'CREATE TABLE t (n int); SELECT backup_now()');
my $first = $node->safe_psql('postgres', 'SELECT max(id) FROM backup_list()');
wait_archived($node);

sub switch
{
	$node->safe_psql('postgres', q{INSERT INTO t VALUES (1); SELECT pg_switch_wal()}) for 1 .. $_[0];
	return;
}
sub waiting { return $node->safe_psql('postgres', 'SELECT waiting_files FROM backup_wal_status'); }

# a warning with an estimate, and all WAL stays
rename $repo->{dir}, "$repo->{dir}.away" or die;
switch(6);
$node->poll_query_until('postgres', q{SELECT failures >= 3 FROM backup_wal_status});
ok($node->log_contains(qr/WARNING:  WAL cannot be archived since .* and fills pg_wal\n.*DETAIL:  \d+ files wait in pg_wal \(\d+ MB\), whose file system has \d+ MB left/), 'a warning with what is left');
is(waiting(), 6, 'by default everything waits');
ok(!-e "$data/omsupply_backup.gap", 'nothing is given up');

# drop without a limit gives nothing up either
$node->safe_psql('postgres', q{ALTER SYSTEM SET omsupply_backup.wal_full_action = 'drop'});
$node->reload;
my $failures = $node->safe_psql('postgres', 'SELECT failures FROM backup_wal_status');
$node->poll_query_until('postgres', "SELECT failures > $failures FROM backup_wal_status");
is(waiting(), 6, 'without a limit nothing is given up');

# with a limit only what is more
my $oldest = $node->safe_psql('postgres', 'SELECT oldest_waiting_wal FROM backup_wal_status');
$node->safe_psql('postgres', q{ALTER SYSTEM SET omsupply_backup.wal_limit = '4MB'});
$node->reload;
$node->poll_query_until('postgres', 'SELECT waiting_files <= 4 FROM backup_wal_status');
cmp_ok(waiting(), '==', 4, 'as much as the limit allows still waits');
ok(-e "$data/omsupply_backup.gap" || -e "$data/omsupply_backup.gap.report", 'a durable note');
ok($node->log_contains(qr/WARNING:  WAL file "$oldest" was given up/), 'a warning for each');
is($node->safe_psql('postgres', q{SELECT state FROM backup_status}), 'failing', 'the status is failing');
like($node->safe_psql('postgres', q{SELECT array_to_string(reasons, ' ') FROM backup_status}), qr/WAL from $oldest to \S+ was given up unarchived/, 'with the reason');
is($node->safe_psql('postgres', 'SELECT given_up_files FROM backup_wal_status'), 2, 'how many');

# a kill of the server loses nothing of that
$node->stop('immediate');
$node->start;
switch(2);
$node->poll_query_until('postgres', 'SELECT waiting_files <= 4 FROM backup_wal_status');
like($node->safe_psql('postgres', q{SELECT array_to_string(reasons, ' ') FROM backup_status}), qr/was given up unarchived|does not exist/, 'still failing after a crash');

# the repository is back: the gap is reported and a backup taken at once
rename "$repo->{dir}.away", $repo->{dir} or die;
$node->reload;
$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM backup_list() WHERE label = 'after WAL was given up'})
  or diag($node->safe_psql('postgres', 'SELECT * FROM backup_status'));
is($node->safe_psql('postgres', q{SELECT count(*) FROM backup_list() WHERE label = 'after WAL was given up'}), 1, 'a new backup is taken by itself');
ok(glob("$repo->{dir}/marks/gaps/00000001*") ? 1 : 0, 'the mark is in the repository');
$node->poll_query_until('postgres', q{SELECT array_to_string(reasons, ' ') !~ 'given up' FROM backup_status});
unlike($node->safe_psql('postgres', q{SELECT array_to_string(reasons, ' ') FROM backup_status}), qr/given up/, 'the new backup ends that reason');
like($node->safe_psql('postgres', q{SELECT array_to_string(reasons, ' ') FROM backup_status}), qr/WAL from $oldest to \S+ is missing in the repository/, 'the gap is still told');
ok(!-e "$data/omsupply_backup.gap" && !-e "$data/omsupply_backup.gap.report", 'the notes are gone');

# a restore across the gap is refused with the reason
wait_archived($node);
program_fails([ 'restore', '--pgdata', "$data.restored", '--backup', $first ], 1,
	qr/the server gave up "$oldest"/, 'from before the gap to the newest state', $repo);
my $restored = restored_node('restored', $repo);
start_restored($restored);
is(fingerprint($restored), fingerprint($node), 'from behind the gap to the newest state');
ok(!-e $restored->data_dir . "/$_", "$_ is not in a backup") for 'omsupply_backup.gap', 'omsupply_backup.gap.report';
$restored->stop;

# a repository that is full: a warning first, and it goes on when there is space
SKIP: {
	skip 'no small file system', 4 unless $ENV{OMB_SMALL_FS};
	my $small = "$ENV{OMB_SMALL_FS}/r";
	my $tight = { dir => "$small/repository", key => PostgreSQL::Test::Utils::tempdir('key') . '/key' };
	mkdir $small;
	program_ok([ 'init', '--repository', $tight->{dir}, '--key-file', $tight->{key} ], 'a repository on a small file system');
	$node->stop;
	my $other = new_node('other', $tight);
	$other->safe_psql('postgres', 'SELECT backup_now()');
	# all that is left
	PostgreSQL::Test::Utils::system_log('dd', 'if=/dev/zero', "of=$small/filler", 'bs=1M');
	$other->safe_psql('postgres', q{CREATE TABLE t AS SELECT md5(n::text) FROM generate_series(1, 20000) n; SELECT pg_switch_wal()});
	$other->poll_query_until('postgres', q{SELECT failures > 0 AND message ~ 'No space' FROM backup_wal_status});
	like($other->safe_psql('postgres', q{SELECT array_to_string(reasons, ' ') FROM backup_status}), qr/archiving of WAL has been failing.*No space left/, 'a full repository is told');
	$other->safe_psql('postgres', q{SELECT count(*) FROM backup_check('0')});
	like($other->safe_psql('postgres', q{SELECT array_to_string(reasons, ' ') FROM backup_status}), qr/the file system of the repository is full/, 'and so is the file system');
	unlink "$small/filler";
	$other->poll_query_until('postgres', q{SELECT failing_since IS NULL AND waiting_files = 0 FROM backup_wal_status});
	is($other->safe_psql('postgres', q{SELECT failing_since IS NULL FROM backup_wal_status}), 't', 'with space it goes on by itself');
	$other->stop;
}

done_testing();
