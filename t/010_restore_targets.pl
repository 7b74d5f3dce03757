# A backup under load is restored to each kind of target, and every table is
# what it was then.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('targets');
my $node = new_node('main', $repo);
$node->command_ok([ 'pgbench', '-i', '-q', '-s', '2', 'postgres' ], 'load');
$node->safe_psql('postgres', 'CREATE TABLE step (n int primary key, at timestamptz default clock_timestamp())');

my $load = IPC::Run::start([ 'pgbench', '-n', '-c', '2', '-T', '600', '-p', $node->port, '-h', $node->host, 'postgres' ],
	'>', '/dev/null', '2>', '/dev/null');
my $backup = $node->safe_psql('postgres', q{SELECT backup_now('under load')});
like($backup, qr/^\d{8}T\d{6}Z-[0-9a-f]{4}$/, 'a backup under load returns its id');
my $seen = $node->safe_psql('postgres', 'SELECT count(*) FROM pgbench_history');
$node->poll_query_until('postgres', "SELECT count(*) > $seen + 500 FROM pgbench_history");
$load->signal('TERM');
$load->finish;
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'pgbench'});

is($node->safe_psql('postgres', 'SELECT id || label FROM backup_list()'), "${backup}under load", 'backup_list() shows it');

# Each step changes all tables in one transaction; the state after it is
# recorded with everything one can aim at.
my %state;
sub step
{
	my ($n) = @_;
	my $xid = $node->safe_psql('postgres', qq{BEGIN;
		INSERT INTO step (n) VALUES ($n);
		UPDATE pgbench_branches SET bbalance = bbalance + $n;
		DELETE FROM pgbench_accounts WHERE aid = $n;
		SELECT pg_current_xact_id(); COMMIT;});
	$state{$n} = {
		xid => $xid,
		tables => fingerprint($node),
		lsn => $node->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()'),
		time => $node->safe_psql('postgres', 'SELECT clock_timestamp()'),
	};
	$node->safe_psql('postgres', "SELECT pg_create_restore_point('point $n')");
	return;
}
step($_) for 1 .. 5;
wait_archived($node);
$state{end} = { tables => fingerprint($node) };
$node->stop('immediate');

my %targets = (
	xid => [ 1, '--target-xid', $state{1}{xid} ],
	lsn => [ 2, '--target-lsn', $state{2}{lsn} ],
	time => [ 3, '--target-time', $state{3}{time} ],
	name => [ 4, '--target-name', 'point 4' ],
	none => ['end'],
);
for my $kind (sort keys %targets)
{
	my ($step, @args) = @{ $targets{$kind} };
	my $restored = restored_node("to_$kind", $repo, @args);
	start_restored($restored);
	is(fingerprint($restored), $state{$step}{tables}, "target $kind: all tables are as they were");
	prove_sound($restored, "target $kind") if $kind eq 'name';
	$restored->stop;
}

my $restored = restored_node('to_immediate', $repo, '--target-immediate', '--backup', $backup);
start_restored($restored);
is($restored->safe_psql('postgres', 'SELECT count(*) FROM step'), 0, 'target immediate: nothing later than the backup');
is($restored->safe_psql('postgres', 'SELECT count(*) >= 1 FROM pgbench_history'), 't', 'target immediate: the load is there');
prove_sound($restored, 'target immediate');

program_ok(['verify'], 'verify finds nothing wrong', $repo);

# targets that cannot be reached are refused before anything is written
my $nowhere = PostgreSQL::Test::Utils::tempdir('nowhere') . '/data';
my @restore = ('restore', '--pgdata', $nowhere);
program_fails([ @restore, '--target-time', '2099-01-01 00:00:00+00' ], 1, qr/time 2099-01-01 00:00:00\+00 cannot be reached/,
	'a time in the future', $repo);
program_fails([ @restore, '--target-time', '2001-01-01 00:00:00+00' ], 1, qr/no backup ended before the target/,
	'a time before all backups', $repo);
program_fails([ @restore, '--target-name', 'no such point' ], 1, qr/restore point "no such point" is not in the archived WAL/,
	'an unknown restore point', $repo);
program_fails([ @restore, '--target-xid', '4000000000' ], 1, qr/transaction 4000000000 is not/, 'an unknown transaction', $repo);
program_fails([ @restore, '--target-lsn', 'FF/0' ], 1, qr/LSN FF\/0 cannot be reached/, 'an LSN behind the end', $repo);
program_fails([ @restore, '--target-timeline', '7' ], 1, qr/timeline 7 is not in the repository/, 'an unknown timeline', $repo);
program_fails([ @restore, '--target-lsn', '0/1', '--target-name', 'x' ], 2, qr/more than one target/, 'two targets', $repo);
program_fails([ @restore, '--target-time', 'yesterday' ], 2, qr/invalid time "yesterday"/, 'a time that is none', $repo);
ok(!-e $nowhere, 'refused restores write nothing');
like(program_ok([ @restore, '--dry-run' ], 'a dry run succeeds', $repo), qr/nothing was written/, 'a dry run says so');
ok(!-e $nowhere, 'a dry run writes nothing');

done_testing();
