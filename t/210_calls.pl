# How an application calls: inside transactions, through a connection pool,
# as a role that may do nothing else, and when nothing is set up.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('calls');
my $node = new_node('main', $repo);
my ($out, $err);

sub idle { return $node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM backup_progress'); }
sub backups { my ($label) = @_; return $node->safe_psql('postgres', "SELECT count(*) FROM backup_list() WHERE label = '$label'"); }

# a role with only EXECUTE on backup_now
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; GRANT EXECUTE ON FUNCTION backup_now(text, text, boolean) TO app');
like($node->safe_psql('postgres', q{SET ROLE app; SELECT backup_now('by app', wait => false)}), qr/^20/, 'the role may take a backup');
for my $call (qw(backup_list() backup_cancel() backup_adopt() backup_check() backup_expire()), q{backup_before_upgrade('x')}, q{backup_confirm_recovery_code('x')})
{
	isnt($node->psql('postgres', "SET ROLE app; SELECT $call", stderr => \$err), 0, "and not $call");
	like($err, qr/permission denied for function/, 'permission denied');
}
isnt($node->psql('postgres', 'SET ROLE app; SELECT * FROM backup_status', stderr => \$err), 0, 'nor look at the status');
idle();
is(backups('by app'), 1, 'the backup is there');

# a transaction block that ends either way
for my $end (qw(COMMIT ROLLBACK))
{
	like($node->safe_psql('postgres', "BEGIN; SELECT backup_now('block $end', wait => false); $end"), qr/^20/, "inside a block that ends with $end");
	idle();
	is(backups("block $end"), 1, 'the backup is there');
}
# psql -c sends both as one query, an implicit transaction
like(run_psql($node->port, $node->host, q{SELECT 1; SELECT backup_now('implicit', wait => false)}), qr/^20/m, 'in an implicit transaction of several statements');
idle();
is(backups('implicit'), 1, 'the backup is there');
# one that fails afterwards takes the request not back
$node->psql('postgres', q{BEGIN; SELECT backup_now('failed', wait => false); SELECT 1/0}, stderr => \$err);
idle();
is(backups('failed'), 1, 'a transaction that fails does not take it back');

# a second one meanwhile
$node->safe_psql('postgres', q{CREATE TABLE t AS SELECT n, md5(n::text) || repeat('x', 800) FROM generate_series(1, 8000) n});
$node->safe_psql('postgres', q{ALTER SYSTEM SET omsupply_backup.max_read_rate = '4MB'});
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('omsupply_backup.max_read_rate') = '4MB'});
like($node->safe_psql('postgres', q{SELECT backup_now('slow', 'full', wait => false)}), qr/^20/, 'a slow backup');
isnt($node->psql('postgres', q{SELECT backup_now('second')}, stderr => \$err), 0, 'a second one is refused');
like($err, qr/a backup is already running.*DETAIL:.*requested by role/s, 'it says whose is running');
# backup_before_upgrade never stops the caller
is($node->psql('postgres', q{SELECT name, backup_started FROM backup_before_upgrade('while busy', '0')}, stdout => \$out, stderr => \$err), 0, 'backup_before_upgrade() goes on');
is($out, 'while busy|f', 'no second one is started');
like($err, qr/NOTICE:  a backup is already running/, 'and it says so');
is($node->safe_psql('postgres', 'SELECT bytes_per_second >= 0 AND percent >= 0 FROM backup_progress') =~ /^t?$/, 1, 'progress');
is($node->safe_psql('postgres', 'SELECT backup_cancel()'), 't', 'cancel');
idle();

# cancelling a waiting call leaves the backup running
isnt($node->psql('postgres', q{SET statement_timeout = '1s'; SELECT backup_now('left alone', 'full')}, stderr => \$err), 0, 'a waiting call is cancelled');
like($err, qr/The backup goes on.*backup_cancel/s, 'it says that the backup goes on');
is($node->safe_psql('postgres', 'SELECT label FROM backup_progress'), 'left alone', 'it does');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET omsupply_backup.max_read_rate');
$node->reload;
$node->safe_psql('postgres', 'SELECT backup_cancel()');
idle();

# before an upgrade
$node->safe_psql('postgres', q{SELECT backup_now('fresh')});
$node->poll_query_until('postgres', q{SELECT last_backup_id = (SELECT max(id) FROM backup_list()) FROM backup_status});
is($node->safe_psql('postgres', q{BEGIN; SELECT name, backup_started, lsn IS NOT NULL FROM backup_before_upgrade('before 2.20'); COMMIT}), 'before 2.20|f|t', 'a young backup is enough');
is($node->safe_psql('postgres', q{SELECT name, backup_started FROM backup_before_upgrade('before 2.21', '0')}), 'before 2.21|t', 'an old one is not');
idle();
is($node->safe_psql('postgres', q{SELECT backup_started FROM backup_before_upgrade('absurd', '100000000 years')}), 'f', 'an absurd age does not stop the caller');
is($node->safe_psql('postgres', q{SELECT backup_started FROM backup_before_upgrade('absurd', '-100000000 years')}), 't', 'nor one below 0');
idle();
is(backups('before 2.21'), 1, 'the backup has the label');
is($node->safe_psql('postgres', q{SELECT length(name) FROM backup_before_upgrade(repeat('long ', 40))}), 63, 'a long label is cut');
is($node->safe_psql('postgres', q{SELECT name FROM backup_before_upgrade(E'two\nlines')}), 'two lines', 'control characters are blanks');
is($node->safe_psql('postgres', q{SELECT name FROM backup_before_upgrade(NULL)}), 'before upgrade', 'no label');
wait_archived($node);
my $restored = restored_node('restored', $repo, '--target-name', 'before 2.20');
start_restored($restored);
is($restored->safe_psql('postgres', 'SELECT count(*) FROM t'), 8000, 'a restore aims at the restore point');
is($restored->psql('postgres', q{SELECT backup_before_upgrade('on a copy')}, stderr => \$err), 0, 'a fenced copy is not stopped');
$restored->stop;

# through a pool of transactions
SKIP: {
	my ($pgbouncer) = grep { -x } qw(/usr/sbin/pgbouncer /usr/bin/pgbouncer);
	skip 'pgbouncer is not installed', 4 unless $pgbouncer;
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $user = getpwuid($>);
	append_to_file("$dir/users", qq{"$user" ""\n});
	append_to_file("$dir/ini", qq{
[databases]
* = host=@{[ $node->host ]} port=@{[ $node->port ]}
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $dir
auth_type = trust
auth_file = $dir/users
pool_mode = transaction
logfile = $dir/log
pidfile = $dir/pid
});
	my $pool = IPC::Run::start([ $pgbouncer, "$dir/ini" ], '<', \undef, '>', "$dir/out", '2>', "$dir/err");
	for (1 .. 100)
	{
		last if run_psql($port, $dir, 'SELECT 42') =~ /42/;
		select undef, undef, undef, 0.1;
	}
	like(run_psql($port, $dir, q{SELECT backup_now('pooled', wait => false)}), qr/^20/, 'through a pool');
	idle();
	like(run_psql($port, $dir, q{BEGIN; SELECT backup_now('pooled block', wait => false); COMMIT}), qr/^20/m, 'in a block through a pool');
	idle();
	like(run_psql($port, $dir, q{SELECT backup_now('pooled and waited for')}), qr/^20/, 'waiting through a pool');
	is($node->safe_psql('postgres', q{SELECT count(*) FROM backup_list() WHERE label LIKE 'pooled%'}), 3, 'the backups are there');
	$pool->kill_kill;
}

# when nothing is configured an application starts all the same
$node->append_conf('postgresql.conf', "omsupply_backup.repository = ''\n");
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('omsupply_backup.repository') = ''});
is($node->psql('postgres', q{SELECT backup_before_upgrade('nothing') IS NULL}, stdout => \$out, stderr => \$err), 0, 'nothing is configured: no error');
is($out, 't', 'but null');
like($err, qr/WARNING:  there is no backup before the upgrade: "omsupply_backup.repository" is not set/, 'and a warning');
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\narchive_mode = off\n");
$node->restart;
is($node->psql('postgres', q{SELECT backup_before_upgrade('nothing') IS NULL}, stdout => \$out, stderr => \$err), 0, 'not even loaded');
like($err, qr/WARNING:.*shared_preload_libraries/, 'a warning, too');
is($node->safe_psql('postgres', q{SELECT state FROM backup_status}), 'unconfigured', 'the status');
$node->stop;

sub run_psql
{
	my ($port, $host, $sql) = @_;
	my ($stdout, $stderr) = ('', '');
	IPC::Run::run([ 'psql', '-XAtq', '-p', $port, '-h', $host, '-d', 'postgres', '-c', $sql ], '<', \undef, '>', \$stdout, '2>', \$stderr);
	return $stdout . $stderr;
}

done_testing();
