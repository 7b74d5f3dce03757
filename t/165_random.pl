# A random history against a live server: changes, backups, kills, expiring,
# pruning, verifying, restores. Each kept backup restores to the files of which
# a copy was made when it was taken. OMB_SEED repeats one.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{OMB_SEED} || time;
my $steps = $ENV{OMB_STEPS} || 40;
srand $seed;
diag("OMB_SEED=$seed");

my $repo = new_repository('random');
my $node = new_node('main', $repo, conf => "autovacuum = off\n$Omb::no_scheduler");
my $data = $node->data_dir;
my $copies = PostgreSQL::Test::Utils::tempdir('copies');
my %taken;
my %count;
my $tables = 0;

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub any { return $_[ int rand @_ ] }
sub names { my @n = split /\n/, sql(q{SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^t[0-9]+$'}); return @n }
sub run_system { PostgreSQL::Test::Utils::system_or_bail(@_); return }

sub change
{
	my @names = names();
	if (@names < 3 || (@names < 8 && rand() < 0.3))
	{
		$tables++;
		my $rows = any(1, 100, 5000, 40000);
		sql("CREATE TABLE t$tables AS SELECT n, md5(n::text || random()) AS v FROM generate_series(1, $rows) n");
		return;
	}
	my $t = any(@names);
	any(
		sub { sql("UPDATE $t SET v = md5(v) WHERE n % 97 = 3") },
		sub { sql("UPDATE $t SET v = v || 'x' WHERE n % 3 = 0") },
		sub { sql("DELETE FROM $t WHERE n > 50; VACUUM $t") },
		sub { sql("INSERT INTO $t SELECT n, repeat(md5(n::text), 5) FROM generate_series(1, 8000) n") },
		sub { sql("VACUUM FULL $t") },
		sub { sql("TRUNCATE $t") },
		sub { sql("DROP TABLE $t") })->();
	return;
}

sub same
{
	my ($one, $other) = @_;
	return system('diff', '-r', '-q', '-x', 'pg_internal.init', '-x', 'pgsql_tmp', $one, $other) == 0;
}

sub take
{
	sql('CHECKPOINT');
	my $id = sql(sprintf "SELECT backup_now('random', '%s')", any('auto', 'auto', 'auto', 'full'));
	run_system('cp', '-a', "$data/base", "$copies/$id");
	$taken{$id} = 1;
	return;
}

sub kill_one
{
	sql("ALTER SYSTEM SET omsupply_backup.max_read_rate = '4MB'");
	$node->reload;
	sql(q{SELECT backup_now('doomed', wait => false)});
	$node->poll_query_until('postgres', q{SELECT count(*) = 0 OR max(bytes_done) > 0 FROM backup_progress}) or die;
	my $pid = sql('SELECT coalesce(max(pid), 0) FROM backup_progress');
	my $agent = $pid ? agent_pid($pid) : 0;
	if (rand() < 0.5) { kill 'KILL', $agent if $agent }
	else { $node->stop('immediate'); $node->start }
	$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM backup_progress') or die;
	sql('ALTER SYSTEM RESET omsupply_backup.max_read_rate');
	$node->reload;
	$node->poll_query_until('postgres', q{SELECT current_setting('omsupply_backup.max_read_rate') = '0'}) or die;
	# one that was quicker than the kill is a backup like any other
	my %known = %taken;
	for my $id (split /\n/, sql(q{SELECT id FROM backup_list() WHERE label = 'doomed'}))
	{
		program_ok([ 'verify', $id ], 'a backup that was quicker', $repo) if !$known{$id};
	}
	return;
}

sub expire
{
	my $keep = 2 + int rand 3;
	my ($status, $out, $err) = program($repo, 'expire', '--keep-last', $keep);
	is($status, 0, 'expire') or diag("$out$err");
	my %left = map { $_ => 1 } split /\n/, sql('SELECT id FROM backup_list()');
	for my $id (keys %taken)
	{
		next if $left{$id};
		delete $taken{$id};
		run_system('rm', '-rf', "$copies/$id");
	}
	return;
}

sub restore
{
	my $id = any(sort keys %taken) or return;
	my $to = "$copies/restored";
	program_ok([ 'restore', '--pgdata', $to, '--backup', $id, '--target-immediate', '--backup-manifest' ], "restore of $id", $repo);
	command_ok([ 'pg_verifybackup', '-n', $to ], "pg_verifybackup of $id");
	ok(same("$copies/$id", "$to/base"), "the files of $id are the same");
	run_system('rm', '-rf', $to);
	return;
}

my @what = ((\&change) x 8, (\&take) x 4, (\&kill_one) x 2, \&expire,
	sub { program_ok([ 'prune', '--rewrite-below', '60' ], 'prune', $repo) }, \&restore,
	sub { unlink glob "$repo->{dir}/cache/*" });
change() for 1 .. 4;
take();
for my $step (1 .. $steps)
{
	any(@what)->();
}
take();
program_ok(['verify'], 'in the end all can be read', $repo);
while (my ($id) = sort keys %taken)
{
	my $to = "$copies/restored";
	program_ok([ 'restore', '--pgdata', $to, '--backup', $id, '--target-immediate' ], "restore of $id", $repo);
	ok(same("$copies/$id", "$to/base"), "the files of $id are the same");
	run_system('rm', '-rf', $to, "$copies/$id");
	delete $taken{$id};
}
done_testing();
