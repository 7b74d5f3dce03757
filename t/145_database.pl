# restore --database: the chosen databases are whole after recovery under load
# in the others, which take no space and can be dropped.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use File::Find;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('database');
my $node = new_node('main', $repo);
my $base = PostgreSQL::Test::Utils::tempdir('database');
mkdir "$base/space" or die;
$node->safe_psql('postgres', "CREATE TABLESPACE outer_space LOCATION '$base/space'");
$node->safe_psql('postgres', "CREATE DATABASE $_") for 'wanted', 'other', 'renamed_later';
$node->safe_psql('postgres', 'ALTER DATABASE renamed_later RENAME TO "with ""quotes"""');
$node->safe_psql($_, q{
CREATE TABLE t AS SELECT n, md5(n::text) AS x FROM generate_series(1, 20000) n;
CREATE TABLE s TABLESPACE outer_space AS SELECT n FROM generate_series(1, 20000) n;
CREATE UNLOGGED TABLE u AS SELECT 1 AS n;
}) for 'wanted', 'other';
$node->command_ok([ 'pgbench', '-i', '-q', '-s', '3', $_ ], "load into $_") for 'wanted', 'other';
my %oid = map { split /\|/ } split /\n/, $node->safe_psql('postgres', 'SELECT datname, oid FROM pg_database');

my @load = map { IPC::Run::start([ 'pgbench', '-n', '-c', '2', '-T', '600', '-p', $node->port, '-h', $node->host, $_ ],
		'>', '/dev/null', '2>', '/dev/null') } 'wanted', 'other';
sub more_work
{
	for my $database ('wanted', 'other')
	{
		my $seen = $node->safe_psql($database, 'SELECT count(*) FROM pgbench_history');
		$node->poll_query_until($database, "SELECT count(*) > $seen + 300 FROM pgbench_history") or die;
	}
	return;
}
more_work();
my $backup = $node->safe_psql('postgres', q{SELECT backup_now('databases')});
more_work();
$node->safe_psql('other', $_) for 'VACUUM', 'CREATE TABLE later AS SELECT 1 AS n', 'DROP TABLE s', 'TRUNCATE t';
$node->safe_psql('postgres', 'CREATE DATABASE later_one');
more_work();
for my $load (@load)
{
	$load->signal('TERM');
	$load->finish;
}
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'pgbench'});
my $wanted = fingerprint($node, 'wanted');
wait_archived($node);

# names
my $err = program_fails([ 'restore', '--pgdata', "$base/x", '--database', 'wante' ], 2, qr/database "wante" is not in the backup/, 'a name that is not there', $repo);
like($err, qr/"other"/, 'the error tells which there are');
like($err, qr/"with "quotes""/, 'with their newest names');
ok(!-e "$base/x", 'nothing was written');
like(program_ok([ 'restore', '--dry-run', '--pgdata', "$base/x", '--database', 'wanted', '--tablespace-map', "$base/space=$base/x_space" ],
		'a dry run', $repo), qr/MB of other databases are to be replaced/, 'tells what would be left out');

my @only = ('--database', 'wanted', '--tablespace-map', "$base/space=$base/new_space");
my $restored = restored_node('restored', $repo, @only);
my $new = $restored->data_dir;
sub used { my ($dir) = @_; my $sum = 0; find({ no_chdir => 1, wanted => sub { $sum += (lstat $_)[12] * 512 if -f } }, $dir); return $sum }
cmp_ok(used("$new/base/$oid{other}"), '<', 100_000, 'another database takes no space');
cmp_ok(used("$new/base/$oid{wanted}"), '>', 10_000_000, 'the chosen one does');
my ($other_space) = glob "$base/new_space/PG_*/$oid{other}";
is(used($other_space), 0, 'in a tablespace neither') if ok($other_space, 'which is there');
is(slurp_file("$new/base/$oid{other}/PG_VERSION"), slurp_file("$new/PG_VERSION"), 'its PG_VERSION is real');
$restored->append_conf('postgresql.conf', "archive_mode = off\nautovacuum = off\n");
start_restored($restored);
is(fingerprint($restored, 'wanted'), $wanted, 'all tables of the chosen database are what they were');
is($restored->safe_psql('template1', 'SELECT 1'), 1, 'template1 works');
is($restored->safe_psql('later_one', 'SELECT 1'), 1, 'a database made after the backup works');
isnt($restored->psql('other', 'SELECT * FROM pgbench_history'), 0, 'another database cannot be used');
$restored->safe_psql('postgres', "DROP DATABASE $_") for 'other', '"with ""quotes"""';
is($restored->safe_psql('postgres', "SELECT count(*) FROM pg_database WHERE datname = 'other'"), 0, 'and be dropped');
$restored->safe_psql('wanted', 'INSERT INTO t VALUES (0, NULL)');
prove_sound($restored, 'restored');

# over a directory that is there: another choice
my $both = program_ok([ 'restore', '--delta', '--pgdata', $new, '--backup-manifest', '--tablespace-map', "$base/space=$base/new_space",
		'--database', 'other', '--database', 'wanted' ], 'a delta restore of two', $repo);
command_ok([ 'pg_verifybackup', '-n', $new ], 'pg_verifybackup agrees');
cmp_ok(used("$new/base/$oid{other}"), '>', 10_000_000, 'the second one is there now');
program_ok([ 'restore', '--delta', '--pgdata', $new, '--backup-manifest', @only ], 'and without it', $repo);
command_ok([ 'pg_verifybackup', '-n', $new ], 'pg_verifybackup agrees');
cmp_ok(used("$new/base/$oid{other}"), '<', 100_000, 'it takes no space again');
$restored->append_conf('postgresql.conf', 'port = ' . $restored->port . "\narchive_mode = off\nautovacuum = off\n");
start_restored($restored);
is(fingerprint($restored, 'wanted'), $wanted, 'the chosen database is whole');

done_testing();
