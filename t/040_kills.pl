# Whatever is killed, the server goes on, backup mode ends, and the next
# backup works.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('kills');
# full_page_writes off, so that WAL shows whether a backup forces them on
my $node = new_node('main', $repo, conf => "full_page_writes = off\nautovacuum = off\n");
$node->safe_psql('postgres', q{CREATE TABLE t AS SELECT n, repeat('x', 500) FROM generate_series(1, 30000) n});
my $witness = $node->background_psql('postgres');
$witness->query_safe('CREATE TEMP TABLE witness AS SELECT 1 AS n');

# Is backup mode on? Then the first change of a page after a checkpoint writes
# the whole page.
sub forced
{
	$node->safe_psql('postgres', 'CHECKPOINT');
	return $node->safe_psql('postgres', q{
		SELECT wal_fpi AS before FROM pg_stat_wal \gset
		UPDATE t SET n = n WHERE n = 1;
		SELECT pg_stat_force_next_flush();
		SELECT wal_fpi > :before FROM pg_stat_wal}) =~ /t$/;
}

sub slow { $node->safe_psql('postgres', "ALTER SYSTEM SET omsupply_backup.max_read_rate = '$_[0]'");
	$node->reload; return }
sub start_slow_backup
{
	slow('2MB');
	my $id = $node->safe_psql('postgres', q{SELECT backup_now('doomed', 'full', wait => false)});
	$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM backup_progress WHERE phase = 'copy' AND bytes_done > 0})
	  or die 'the backup does not copy';
	return $id;
}
sub worker { return $node->safe_psql('postgres', q{SELECT pid FROM backup_progress}) }
sub ended { return $node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM backup_progress') }
sub works
{
	my ($after) = @_;
	slow(0);
	$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'omsupply_backup launcher'});
	my ($status, $out, $err) = $node->psql('postgres', q{SELECT backup_now('after')});
	is($status, 0, "$after: the next backup works") or diag($err);
	is($witness->query_safe('SELECT n FROM witness'), '1', "$after: other sessions were not disturbed");
	return;
}

ok(!forced(), 'no full-page writes without a backup');
my $id = start_slow_backup();
ok(forced(), 'full-page writes while a backup runs');

my %kills = (
	'agent, SIGKILL' => sub { kill 'KILL', agent_pid(worker()) },
	'agent, SIGSEGV' => sub { kill 'SEGV', agent_pid(worker()) },
	'worker, terminated' => sub { $node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . worker() . ')') },
	'backup_cancel()' => sub { is($node->safe_psql('postgres', 'SELECT backup_cancel()'), 't', 'backup_cancel() finds one') },
);
my $first = 1;
for my $kill (sort keys %kills)
{
	$id = start_slow_backup() unless $first;
	$first = 0;
	my $agent = agent_pid(worker());
	ok($agent, "$kill: there is an agent");
	$kills{$kill}->();
	ok(ended(), "$kill: the job ends");
	ok(!forced(), "$kill: backup mode has ended");
	ok(!kill(0, $agent), "$kill: the agent is gone");
	is($node->safe_psql('postgres', "SELECT count(*) FROM backup_list() WHERE id = '$id'"), 0, "$kill: no backup is listed");
	works($kill);
}

# who waits is told why
slow('2MB');
my $waiter = $node->background_psql('postgres', on_error_stop => 0);
$waiter->query_until(qr/started/, "\\echo started\nSELECT backup_now('watched');\n");
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM backup_progress WHERE phase = 'copy'});
my ($status, $out, $err) = $node->psql('postgres', 'SELECT backup_now()');
like($err, qr/a backup is already running.*requested by role/s, 'a second backup says that one is running');
is(getpriority(0, agent_pid(worker())), 10, 'a backup steps aside for the work of the server');
# Linux 6.12 and later keep and show the slice that was asked for, in ns
my ($slice) = slurp_file('/proc/' . agent_pid(worker()) . '/sched') =~ /^se\.slice\s*:\s*(\d+)$/m;
my ($major, $minor) = (POSIX::uname())[2] =~ /^(\d+)\.(\d+)/;
is($slice, 100_000_000, 'by the longest slice, too') if defined $slice && $major * 100 + $minor >= 612;
kill 'KILL', agent_pid(worker());
ended();
$waiter->quit;
ok($node->log_contains(qr/backup agent ended unexpectedly: child process was terminated by signal 9/), 'the reason is in the log');
works('agent of a waiting call');

# launcher
$id = start_slow_backup();
my $launcher = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'omsupply_backup launcher'});
$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
$node->poll_query_until('postgres', qq{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'omsupply_backup launcher' AND pid <> $launcher});
slow(0);
$node->safe_psql('postgres', 'SELECT backup_cancel()');
ended();
works('launcher');

# the archiver's agent
wait_archived($node);
my $archiver = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'archiver'});
my $agent = agent_pid($archiver);
ok($agent, 'the archiver has an agent');
is(getpriority(0, $agent), getpriority(0, $archiver), 'which does not step aside, or it would fall behind');
kill 'KILL', $agent;
wait_archived($node);
isnt(agent_pid($archiver), $agent, 'it gets a new one');
works('agent of the archiver');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'archiver' AND pid = } . $archiver), 1,
	'and is the same process');
$witness->quit;

# shutdowns in the middle of a backup
for my $mode (qw(fast immediate))
{
	start_slow_backup();
	$agent = agent_pid(worker());
	$node->stop($mode);
	is(poll_gone($agent), 1, "$mode shutdown: the agent is gone");
	$node->start;
	ok(!forced(), "$mode shutdown: backup mode has ended");
	ok(!-e $node->data_dir . '/backup_label', "$mode shutdown: no backup_label is left");
}
start_slow_backup();
$agent = agent_pid(worker());
$node->kill9;
is(poll_gone($agent), 1, 'postmaster killed: the agent is gone');
start_again();
slow(0);
is($node->psql('postgres', 'SELECT backup_now()'), 0, 'after all that a backup works');
program_ok(['verify'], 'and verify finds nothing wrong', $repo);

# the old processes may need a moment to notice that the postmaster is gone
sub start_again
{
	for (1 .. 180)
	{
		# a failed start leaves the pid of the server that was killed
		$node->{_pid} = undef;
		return if $node->start(fail_ok => 1);
		select undef, undef, undef, 0.1;
	}
	die 'the server does not start again';
}

sub poll_gone
{
	my ($pid) = @_;
	for (1 .. 600)
	{
		return 1 unless kill 0, $pid;
		select undef, undef, undef, 0.1;
	}
	return 0;
}

done_testing();
