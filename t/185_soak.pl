# Schedules that are due all the time, and random kills of all that has a part
# in them; afterwards history and repository agree.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{OMB_SEED} || time;
my $rounds = $ENV{OMB_ROUNDS} || 12;
note "OMB_SEED=$seed OMB_ROUNDS=$rounds";
srand $seed;

my $repo = new_repository('soak');
my $node = new_node('main', $repo, conf => "timezone = 'UTC'\nrestart_after_crash = on\n");

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub wait_until
{
	my ($query) = @_;
	$node->poll_query_until('postgres', $query) or die "timed out: $query";
	return;
}

sub move_clock
{
	my $offset = sql(q{SELECT ceil(extract(epoch FROM min(next_run) - clock_timestamp()))::int + 1 FROM backup_schedule_state});
	sql("ALTER SYSTEM SET omsupply_backup.debug_clock_offset = $offset");
	$node->reload;
	return;
}

# What may be killed, and how. None of it may crash the server.
my @kills = (
	[ 'job', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'omsupply_backup job'} ],
	[ 'scheduler', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'omsupply_backup scheduler'} ],
	[ 'launcher', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'omsupply_backup launcher'} ],
	[ 'cancel', q{SELECT backup_cancel()} ],
	[ 'agent', undef ],
	[ 'nothing', q{SELECT 1} ],
	[ 'server', undef ]);

sql(q{CREATE TABLE t AS SELECT n, repeat(md5(n::text), 10) AS t FROM generate_series(1, 20000) n;
INSERT INTO backup_schedule (name, job, cron, is_enabled) VALUES
	('a', 'backup', '* * * * *', true), ('b', 'full', '*/7 * * * *', true), ('e', 'expire', '*/3 * * * *', true)});
# nothing that was taken is removed: history and repository are compared
sql('UPDATE backup_retention SET keep_last = 1000');
wait_until('SELECT count(*) = 3 FROM backup_schedule_state');

for my $round (1 .. $rounds)
{
	my $runs = sql('SELECT coalesce(max(run_id), 0) FROM backup_history');
	my ($name, $query) = @{ $kills[ int rand @kills ] };
	note "round $round: $name";
	sql("UPDATE t SET t = md5(t) WHERE n % 50 = $round");
	move_clock();
	my $in_time = rand() < 0.5;
	wait_until(qq{SELECT (SELECT count(*) FROM backup_progress) > 0 OR (SELECT max(run_id) FROM backup_history) > $runs}) if $in_time;
	if ($name eq 'server')
	{
		$node->stop('immediate');
		$node->start;
	}
	elsif ($name eq 'agent')
	{
		my $worker = sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'omsupply_backup job' LIMIT 1});
		my $agent = $worker ? agent_pid($worker) : 0;
		kill 'KILL', $agent if $agent;
	}
	else
	{
		sql($query);
	}
	wait_until(q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'omsupply_backup launcher'});
	wait_until(qq{SELECT max(run_id) > $runs FROM backup_history});
}

# let it come to rest
sql('UPDATE backup_schedule SET is_enabled = false');
wait_until('SELECT count(*) = 0 FROM backup_schedule_state');
wait_until('SELECT count(*) = 0 FROM backup_progress');
sql(q{SELECT backup_now('last')});
wait_until(q{SELECT count(*) = 1 FROM backup_history WHERE label = 'last'});

cmp_ok(sql('SELECT count(*) FROM backup_history'), '>=', $rounds, 'the history has all that happened');
is(sql(q{SELECT count(*) FROM backup_history WHERE state = 'done' AND backup_id IS NOT NULL
	AND backup_id NOT IN (SELECT id FROM backup_list())}), 0, 'what the history calls done is in the repository');
is(sql(q{SELECT count(*) FROM (SELECT backup_id FROM backup_history WHERE backup_id IS NOT NULL
	GROUP BY 1 HAVING count(*) > 1) d}), 0, 'no run is there twice');
# a server that is killed loses the news of a backup that had just ended
my $killed = sql(q{SELECT count(*) FROM backup_history WHERE message = 'the server ended while the job ran'});
cmp_ok(sql(q{SELECT count(*) FROM backup_list() WHERE id NOT IN
	(SELECT backup_id FROM backup_history WHERE backup_id IS NOT NULL)}), '<=', $killed, 'and the other way round');
is(sql(q{SELECT count(*) FROM backup_history a, backup_history b WHERE a.run_id < b.run_id
	AND a.job <> 'expire' AND b.job <> 'expire' AND a.ended_at > a.started_at AND b.ended_at > b.started_at
	AND a.message IS DISTINCT FROM 'the server ended while the job ran'
	AND b.message IS DISTINCT FROM 'the server ended while the job ran'
	AND a.started_at < b.ended_at AND b.started_at < a.ended_at}), 0, 'one job ran at a time');
program_ok(['verify'], 'the repository is sound', $repo);
unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal 11|was terminated by signal 6/, 'no process crashed');

done_testing();
