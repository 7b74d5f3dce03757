# Schedules: runs, missed runs, retries, history, and what may be in the way.
# The clock of the schedules is moved by a setting; nothing waits for minutes.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use PostgreSQL::Test::BackgroundPsql;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('schedule');
my $node = new_node('main', $repo, conf => "timezone = 'UTC'\n");
my $launcher = launcher_pid();

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub wait_until
{
	my ($query, $name) = @_;
	return ok($node->poll_query_until('postgres', $query), $name);
}

sub launcher_pid
{
	return sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'omsupply_backup launcher'});
}

sub set_option
{
	my ($name, $value) = @_;
	sql("ALTER SYSTEM SET $name = '$value'");
	$node->reload;
	return;
}

# Let the schedules believe that it is a second after that instant.
sub offset_to
{
	my ($instant) = @_;
	return sql("SELECT ceil(extract(epoch FROM ($instant) - clock_timestamp()))::int + 1");
}

sub move_clock
{
	my ($instant) = @_;
	set_option('omsupply_backup.debug_clock_offset', offset_to($instant));
	return;
}

sub history
{
	my ($where) = @_;
	return sql("SELECT count(*) FROM backup_history WHERE $where");
}

sub log_count
{
	my ($pattern) = @_;
	my $log = slurp_file($node->logfile);
	my $n = () = $log =~ /$pattern/g;
	return $n;
}

# Wait for a line of the log.
sub wait_logged
{
	my ($pattern, $from, $name) = @_;
	ok($node->wait_for_log($pattern, $from), $name);
	return;
}

# ---- what CREATE EXTENSION enables ----

sql('CREATE DATABASE fresh');
is($node->safe_psql('fresh', 'CREATE EXTENSION omsupply_backup; SELECT count(*) FILTER (WHERE is_enabled), count(*) FROM backup_schedule'), '5|5',
	'with a repository CREATE EXTENSION enables the default schedules');
sql('DROP DATABASE fresh');

# ---- a run, its history, and a notification ----

my $listener = $node->background_psql('postgres');
$listener->query('LISTEN omsupply_backup');

sql(q{UPDATE backup_schedule SET is_enabled = true WHERE name = 'nightly'});
wait_until(q{SELECT count(*) = 1 FROM backup_schedule_state s
	WHERE s.name = 'nightly' AND s.next_run = (SELECT min(t) FROM backup_schedule_next('nightly') t)},
	'a change of the table takes effect at once');
move_clock(q{SELECT min(t) FROM backup_schedule_next('nightly') t});
wait_until(q{SELECT count(*) = 1 FROM backup_history WHERE schedule = 'nightly' AND state = 'done'}, 'the backup was taken');
is(sql(q{SELECT job, cause, requested_by, label, kind, bytes_read > 0, files > 0, damaged_pages, message IS NULL, ended_at >= started_at FROM backup_history}),
	'backup|schedule|scheduler|nightly|auto|t|t|0|t|t', 'what the history says');
is(sql(q{SELECT h.backup_id = l.id FROM backup_history h, backup_list() l}), 't', 'it is in the repository');
wait_until(q{SELECT NOT is_running AND failures = 0 AND retry_at IS NULL FROM backup_schedule_state WHERE name = 'nightly'}, 'and is over');
my $id = sql('SELECT backup_id FROM backup_history');
like($listener->query('SELECT 1'), qr/"event" : "job".*"job" : "backup".*"state" : "done".*"backup_id" : "\Q$id\E"/, 'a notification');
$listener->quit;

# ---- other jobs ----

sql(q{INSERT INTO backup_schedule (name, job, cron, is_enabled, options) VALUES
	('e', 'expire', '@hourly', true, '{}'), ('v', 'verify', '@hourly', true, '{"sample": 50, "max_time": 60}'),
	('f', 'full', '@hourly', true, '{}')});
wait_until(q{SELECT count(*) = 4 FROM backup_schedule_state}, 'more schedules');
move_clock(q{SELECT max(next_run) FROM backup_schedule_state WHERE name IN ('e', 'f', 'v')});
wait_until(q{SELECT count(*) >= 3 FROM backup_history WHERE schedule IN ('e', 'f', 'v') AND state = 'done'}, 'expire, verify and full ran');
is(history(q{state <> 'done'}), 0, 'none failed');
is(history(q{schedule = 'f' AND kind = 'full' AND job = 'full'}), 1, 'full is full');
is(sql(q{SELECT count(*) FROM backup_history a, backup_history b WHERE a.run_id < b.run_id
	AND a.started_at < b.ended_at AND b.started_at < a.ended_at}), 0, 'one job ran at a time');
sql(q{DELETE FROM backup_schedule WHERE name IN ('e', 'f', 'v')});
sql('SELECT count(*) FROM backup_expire()');
wait_until(q{SELECT count(*) = 1 FROM backup_history WHERE job = 'expire' AND cause = 'request' AND state = 'done'}, 'backup_expire() is in the history');
sql('SELECT count(*) FROM backup_expire(true)');
sql(q{SELECT backup_now('by hand')});
wait_until(q{SELECT count(*) = 1 FROM backup_history WHERE job = 'backup' AND cause = 'request' AND label = 'by hand' AND state = 'done' AND requested_by = current_user},
	'and backup_now()');
is(history(q{job = 'expire' AND cause = 'request'}), 1, 'a dry run is not');

# ---- failures are tried again ----

rename $repo->{dir}, "$repo->{dir}.away" or die $!;
move_clock(q{SELECT next_run FROM backup_schedule_state WHERE name = 'nightly'});
wait_until(q{SELECT count(*) = 1 FROM backup_history WHERE state = 'failed' AND cause = 'schedule' AND message LIKE '%does not exist%'}, 'a run fails');
my $minutes = sub {
	return sql(q{SELECT round(extract(epoch FROM retry_at - clock_timestamp() - current_setting('omsupply_backup.debug_clock_offset')::interval) / 60)
		FROM backup_schedule_state WHERE name = 'nightly'});
};
wait_until(q{SELECT failures = 1 FROM backup_schedule_state WHERE name = 'nightly'}, 'one failure');
is($minutes->(), 1, 'it will be tried again in a minute');
move_clock(q{SELECT retry_at FROM backup_schedule_state WHERE name = 'nightly'});
wait_until(q{SELECT failures = 2 AND NOT is_running FROM backup_schedule_state WHERE name = 'nightly'}, 'fails again');
is($minutes->(), 5, 'then in five minutes');
rename "$repo->{dir}.away", $repo->{dir} or die $!;
move_clock(q{SELECT retry_at FROM backup_schedule_state WHERE name = 'nightly'});
wait_until(q{SELECT count(*) = 1 FROM backup_history WHERE state = 'done' AND cause = 'retry'}, 'a retry succeeds');
is(sql(q{SELECT failures, retry_at IS NULL FROM backup_schedule_state WHERE name = 'nightly'}), '0|t', 'and that is all');

# ---- two schedules of one job, due at the same time ----

my $before = history('true');
sql(q{INSERT INTO backup_schedule (name, job, cron, is_enabled) VALUES ('a', 'backup', '0 12 * * *', true), ('b', 'backup', '0 12 * * *', true)});
wait_until(q{SELECT count(*) = 2 FROM backup_schedule_state WHERE name IN ('a', 'b')}, 'two schedules');
move_clock(q{SELECT next_run FROM backup_schedule_state WHERE name = 'a'});
wait_until(q{SELECT count(DISTINCT schedule) = 2 FROM backup_history WHERE schedule IN ('a', 'b') AND state = 'done'}, 'both ran');
is(sql(q{SELECT count(*) FROM backup_history a, backup_history b WHERE a.schedule = 'a' AND b.schedule = 'b'
	AND a.started_at < b.ended_at AND b.started_at < a.ended_at}), 0, 'one after the other');
is(history(q{schedule IN ('a', 'b')}), 2, 'once each');
sql(q{DELETE FROM backup_schedule WHERE name IN ('a', 'b')});

# ---- the server was off ----

sql(q{INSERT INTO backup_schedule (name, job, cron, is_enabled, catch_up) VALUES ('no', 'expire', '30 1 * * *', true, false)});
wait_until(q{SELECT count(*) = 1 FROM backup_schedule_state WHERE name = 'no'}, 'a schedule that does not catch up');
$before = history(q{schedule = 'nightly'});
my $offset = offset_to(q{SELECT next_run + interval '3 days' FROM backup_schedule_state WHERE name = 'nightly'});
sql("ALTER SYSTEM SET omsupply_backup.debug_clock_offset = $offset");
$node->restart;
wait_until(qq{SELECT count(*) = $before + 1 FROM backup_history WHERE schedule = 'nightly'}, 'missed runs are made up');
is(sql(q{SELECT cause, state FROM backup_history ORDER BY run_id DESC LIMIT 1}), 'missed|done', 'once');
wait_until(q{SELECT bool_and(NOT is_running AND next_run > clock_timestamp() + current_setting('omsupply_backup.debug_clock_offset')::interval) FROM backup_schedule_state},
	'the next ones are in the future');
is(history(q{schedule = 'no'}), 0, 'unless catch_up is off');
sql(q{DELETE FROM backup_schedule WHERE name = 'no'});

# ---- the server dies while a job runs ----

sql(q{CREATE TABLE large AS SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 30000) n});
set_option('omsupply_backup.max_read_rate', '1MB');
move_clock(q{SELECT next_run FROM backup_schedule_state WHERE name = 'nightly'});
wait_until(q{SELECT count(*) = 1 FROM backup_progress WHERE phase = 'copy'}, 'a scheduled backup runs');
is(sql('SELECT is_running FROM backup_schedule_state'), 't', 'which is known');
sql('ALTER SYSTEM RESET omsupply_backup.max_read_rate');
$node->stop('immediate');
$node->start;
wait_until(q{SELECT count(*) = 1 FROM backup_history WHERE state = 'failed' AND message = 'the server ended while the job ran'}, 'the lost run is in the history');
wait_until(q{SELECT failures = 1 AND retry_at IS NOT NULL FROM backup_schedule_state}, 'and will be tried again');
move_clock('SELECT retry_at FROM backup_schedule_state');
wait_until(q{SELECT count(*) = 2 FROM backup_history WHERE state = 'done' AND cause = 'retry'}, 'and is');

# ---- the clock is set back ----

sql('ALTER SYSTEM RESET omsupply_backup.debug_clock_offset');
$node->reload;
wait_until(q{SELECT handled_until <= clock_timestamp() AND next_run = (SELECT min(t) FROM backup_schedule_next('nightly') t)
	FROM backup_schedule_state}, 'schedules follow a clock that is set back');

# a machine that has lost its clock begins in 1970, or before 2000
$before = history('true');
set_option('omsupply_backup.debug_clock_offset', '-1700000000');
wait_until(q{SELECT handled_until < '1980-01-01' FROM backup_schedule_state}, 'even far');
is(sql('SELECT retry_at IS NULL AND NOT is_running FROM backup_schedule_state'), 't', 'nothing is due because of that');
is(history('true'), $before, 'nothing ran');
sql('ALTER SYSTEM RESET omsupply_backup.debug_clock_offset');
$node->reload;
wait_until(q{SELECT handled_until > '2020-01-01' FROM backup_schedule_state}, 'and back again');

# ---- damage that is found ends in the history ----

my ($pack) = glob "$repo->{dir}/packs/*/*";
open my $f, '+<:raw', $pack or die $!;
seek $f, (-s $pack) / 2, 0;
print $f 'damage';
close $f;
sql(q{INSERT INTO backup_schedule (name, job, cron, is_enabled) VALUES ('v', 'verify', '@daily', true)});
wait_until(q{SELECT count(*) = 1 FROM backup_schedule_state WHERE name = 'v'}, 'verify all');
move_clock(q{SELECT next_run FROM backup_schedule_state WHERE name = 'v'});
wait_until(q{SELECT count(*) = 1 FROM backup_history WHERE schedule = 'v' AND state = 'failed'
	AND message LIKE 'verifying the repository found%' AND hint LIKE '%verify%'}, 'verify finds damage');
sql(q{DELETE FROM backup_schedule WHERE name = 'v'});

# ---- what may be in the way: each is logged once, and the launcher lives ----

$launcher = launcher_pid();
my $from = -s $node->logfile;
set_option('omsupply_backup.database', 'nowhere');
wait_logged(qr/schedules of omsupply_backup do not work: database "nowhere" does not exist/, $from, 'database missing');
sql(q{SELECT backup_now('meanwhile')});
is(history(q{label = 'meanwhile'}), 0, 'the history waits');
$node->reload;
set_option('omsupply_backup.database', 'postgres');
wait_until(q{SELECT count(*) = 1 FROM backup_history WHERE label = 'meanwhile'}, 'and is written when the database is there');
is(log_count(qr/schedules of omsupply_backup do not work: database "nowhere"/), 1, 'it was logged once');

# more jobs end than have room until the history can be written
set_option('omsupply_backup.database', 'nowhere');
$before = history(q{job = 'expire'});
$from = -s $node->logfile;
sql(q{DO $$ BEGIN FOR i IN 1 .. 70 LOOP PERFORM count(*) FROM backup_expire(); END LOOP; END $$});
set_option('omsupply_backup.database', 'postgres');
wait_logged(qr/WARNING:  6 jobs are missing in the history of backups\n.*DETAIL:  They ended while the history could not be written/, $from,
	'what was lost of the history is in the log');
wait_until("SELECT count(*) = $before + 64 FROM backup_history WHERE job = 'expire'", 'the newest ones are written');

# what is old goes from the history
sql(q{INSERT INTO backup_history (job, cause, started_at, ended_at, state) VALUES
	('check', 'old', now() - interval '402 days', now() - interval '401 days', 'done'),
	('check', 'young', now() - interval '402 days', now() - interval '399 days', 'done')});
$node->reload;
wait_until(q{SELECT count(*) = 0 FROM backup_history WHERE cause = 'old'}, 'after 400 days a run is forgotten');
is(history(q{cause = 'young'}), 1, 'not earlier');

sql('CREATE DATABASE admin');
$from = -s $node->logfile;
set_option('omsupply_backup.database', 'admin');
wait_logged(qr/extension "omsupply_backup" is not installed in database "admin"/, $from, 'no extension there');
$node->safe_psql('admin', 'CREATE SCHEMA s; CREATE EXTENSION omsupply_backup SCHEMA s');
sql(q{SELECT backup_now('in admin')});
ok($node->poll_query_until('admin', q{SELECT count(*) = 1 FROM s.backup_history WHERE label = 'in admin'}), 'CREATE EXTENSION is enough, in any schema');
$node->safe_psql('admin', 'ALTER EXTENSION omsupply_backup SET SCHEMA public');
sql(q{SELECT backup_now('moved')});
ok($node->poll_query_until('admin', q{SELECT count(*) = 1 FROM backup_history WHERE label = 'moved'}), 'the schema may change');
$from = -s $node->logfile;
sql('ALTER DATABASE admin RENAME TO gone');
$node->reload;
wait_logged(qr/database "admin" does not exist/, $from, 'database renamed');
sql('DROP DATABASE gone');
set_option('omsupply_backup.database', 'postgres');

my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN');
$locker->query_safe('LOCK TABLE backup_history IN ACCESS EXCLUSIVE MODE');
$from = -s $node->logfile;
sql(q{SELECT backup_now('locked')});
wait_logged(qr/schedules of omsupply_backup do not work: canceling statement due to lock timeout/, $from, 'table locked');
$locker->query_safe('COMMIT');
$locker->quit;
wait_until(q{SELECT count(*) = 1 FROM backup_history WHERE label = 'locked'}, 'written when the lock is gone');

set_option('omsupply_backup.max_read_rate', '1MB');
sql(q{SELECT backup_now('dropped', 'full', false)});
$from = -s $node->logfile;
sql('DROP EXTENSION omsupply_backup');
set_option('omsupply_backup.max_read_rate', '0');
wait_logged(qr/extension "omsupply_backup" is not installed in database "postgres"/, $from, 'extension dropped while a job runs');
sql('CREATE EXTENSION omsupply_backup; UPDATE backup_schedule SET is_enabled = false');
wait_until('SELECT count(*) = 0 FROM backup_progress', 'the job ends');
wait_until(q{SELECT count(*) = 1 FROM backup_history WHERE label = 'dropped' AND state = 'done'}, 'in the new history');

is(launcher_pid(), $launcher, 'through all of this the launcher lived');

sql(q{UPDATE backup_schedule SET is_enabled = true WHERE name = 'check'});
wait_until(q{SELECT count(*) = 1 FROM backup_schedule_state}, 'a schedule for checks');
move_clock('SELECT next_run FROM backup_schedule_state');
wait_until(q{SELECT count(*) >= 1 FROM backup_history WHERE job = 'check'}, 'runs in the database');

# ---- no place for a worker ----

$node->append_conf('postgresql.conf', "max_worker_processes = 1\nmax_logical_replication_workers = 0\n");
$from = -s $node->logfile;
$node->restart;
wait_logged(qr/schedules of omsupply_backup do not work: all background worker slots are taken/, $from, 'no worker slot');
my ($rc, $out, $err) = $node->psql('postgres', 'SELECT backup_now()');
like($err, qr/could not start a worker for the job.*max_worker_processes/s, 'backup_now() says so');
$node->append_conf('postgresql.conf', "max_worker_processes = 8\n");
$node->restart;
wait_until(q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'omsupply_backup launcher'}, 'the launcher is there');
sql(q{SELECT backup_now('again')});
wait_until(q{SELECT count(*) = 1 FROM backup_history WHERE label = 'again'}, 'all is well again');

is(log_count(qr/launcher" \(PID \d+\) was terminated|FATAL:  cannot|PANIC/), 0, 'no process failed');

done_testing();
