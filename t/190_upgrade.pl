# Versions of the extension, dump and restore of its configuration, standby
# and promotion.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('upgrade');
my $node = new_node('main', $repo, conf => "timezone = 'UTC'\nmax_wal_senders = 5\nwal_keep_size = '512MB'\n");

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Columns, constraints, functions, triggers and rights of the extension.
sub objects
{
	my ($database) = @_;
	return $node->safe_psql($database, q{
SELECT 'column', c.relname, a.attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid), c.relacl
  FROM pg_class c JOIN pg_depend p ON p.classid = 'pg_class'::regclass AND p.objid = c.oid AND p.deptype = 'e'
  JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 LEFT JOIN pg_attrdef d ON adrelid = c.oid AND adnum = attnum ORDER BY 2, 3;
SELECT 'function', f.oid::regprocedure, pg_get_function_result(f.oid), prosrc, provolatile, proisstrict, proacl
  FROM pg_proc f JOIN pg_depend p ON p.classid = 'pg_proc'::regclass AND p.objid = f.oid AND p.deptype = 'e' ORDER BY 2;
SELECT 'trigger', tgrelid::regclass, tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 3;
SELECT 'constraint', conrelid::regclass, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid <> 0 ORDER BY 2, 3;
SELECT 'dumped', extconfig::regclass[], extcondition FROM pg_extension WHERE extname = 'omsupply_backup'});
}

# ---- each earlier version, filled, becomes what a new one is ----

my $sharedir = `pg_config --sharedir`;
chomp $sharedir;
my %versions;
for my $file (glob "$sharedir/extension/omsupply_backup--*.sql")
{
	$versions{$1} = 1 if $file =~ /--(\d+\.\d+)\.sql$/;
	@versions{ $1, $2 } = (1, 1) if $file =~ /--(\d+\.\d+)--(\d+\.\d+)\.sql$/;
}
my $newest = sql(q{SELECT default_version FROM pg_available_extensions WHERE name = 'omsupply_backup'});
ok($versions{$newest}, "version $newest is the newest");
cmp_ok(scalar(keys %versions), '>=', 2, 'there are earlier ones');
my $wanted = objects('postgres');

for my $version (sort keys %versions)
{
	next if $version eq $newest;
	(my $database = "v$version") =~ tr/./_/;
	sql("CREATE DATABASE $database");
	my $there = sub { return $node->safe_psql($database, $_[0]) };
	$there->("CREATE EXTENSION omsupply_backup VERSION '$version'");
	$there->(q{UPDATE backup_retention SET keep_last = 7, keep_wal_days = NULL;
INSERT INTO backup_retention (store, keep_years) VALUES ('other', 4)});
	$there->('CREATE ROLE reader; GRANT EXECUTE ON FUNCTION backup_cancel() TO reader; GRANT SELECT ON backup_retention TO reader');
	my $rows = $there->('SELECT * FROM backup_retention ORDER BY store');
	my ($rc, $out, $err) = $node->psql($database, 'SELECT backup_now()');
	like($err, qr/different versions.*ALTER EXTENSION omsupply_backup UPDATE/s, "$version does not act and says what to do");
	$there->('BEGIN; ALTER EXTENSION omsupply_backup UPDATE; ROLLBACK');
	is($there->(q{SELECT extversion FROM pg_extension WHERE extname = 'omsupply_backup'}), $version, 'an update can be rolled back');
	$there->('ALTER EXTENSION omsupply_backup UPDATE');
	is($there->(q{SELECT extversion FROM pg_extension WHERE extname = 'omsupply_backup'}), $newest, 'or done');
	is($there->('SELECT * FROM backup_retention ORDER BY store'), $rows, 'no row has changed');
	is($there->(q{SELECT count(*) FROM backup_extension_version WHERE version = '} . $newest . q{' AND result = 'done'}), 1, 'it is recorded');
	is($there->(q{SELECT has_function_privilege('reader', 'backup_cancel()', 'EXECUTE')
		AND has_table_privilege('reader', 'backup_retention', 'SELECT')}), 't', 'rights are kept');
	$there->('REVOKE ALL ON FUNCTION backup_cancel() FROM reader; REVOKE ALL ON backup_retention FROM reader; DROP ROLE reader');
	is($there->('SELECT count(*) FROM backup_schedule WHERE is_enabled'), 0, 'an update enables no schedule');
	is(objects($database), $wanted, "$version upgraded is as $newest installed");
	like($there->('SELECT backup_now()'), qr/^20/, 'and works');
}

# ---- SQL objects that are newer than the library ----

my $from = -s $node->logfile;
sql(q{UPDATE pg_extension SET extversion = '9.0' WHERE extname = 'omsupply_backup'});
$node->reload;
my ($newer_rc, $newer_out, $newer_err) = $node->psql('postgres', 'SELECT backup_now()');
like($newer_err, qr/different versions.*has version 9\.0.*Restart the server/s, 'newer SQL objects: restart the server');
ok($node->wait_for_log(qr/schedules of omsupply_backup do not work: library and SQL objects of omsupply_backup have different versions/, $from),
	'the scheduler does not act either');
sql("UPDATE pg_extension SET extversion = '$newest' WHERE extname = 'omsupply_backup'");
$node->reload;

# ---- dump and restore keep the configuration ----

sql(q{UPDATE backup_schedule SET cron = '15 3 * * *', timezone = 'Pacific/Auckland', is_enabled = true, label = 'E''s' WHERE name = 'nightly';
DELETE FROM backup_schedule WHERE name = 'check';
INSERT INTO backup_schedule (name, job, cron, catch_up, options) VALUES ('own', 'verify', '@monthly', false, '{"max_time": 600}');
UPDATE backup_retention SET keep_last = 9});
my $dump = $node->basedir . '/dump';
command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-f', $dump, 'postgres' ], 'pg_dump');
unlike(slurp_file($dump), qr/\Q$repo->{key}\E|\Q$repo->{dir}\E/, 'no path of a key or repository in the dump');
sql('CREATE DATABASE copy');
command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-h', $node->host, '-p', $node->port, '-d', 'copy', '-f', $dump ], 'restored');
is($node->safe_psql('copy', q{SELECT * FROM backup_schedule WHERE name <> 'check' ORDER BY name}),
	sql('SELECT * FROM backup_schedule ORDER BY name'), 'schedules are as they were');
is($node->safe_psql('copy', q{SELECT count(*) FROM backup_schedule WHERE name = 'check'}), 1, 'a default that was removed is there again');
is($node->safe_psql('copy', 'SELECT * FROM backup_retention'), sql('SELECT * FROM backup_retention'), 'and the rules');
is($node->safe_psql('copy', 'SELECT (SELECT count(*) FROM backup_history) + (SELECT count(*) FROM backup_schedule_state)'), 0,
	'history and state belong to the server');

# ---- a standby: quiet, views work; after promotion all goes on ----

sql(q{SELECT backup_now('primary')});
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM backup_history WHERE label = 'primary'});
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM backup_schedule_state WHERE name = 'nightly'});
$node->append_conf('pg_hba.conf', "local replication all trust\n");
$node->reload;
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('flush'));
is($standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'omsupply%'}), 0, 'nothing of ours runs on a standby');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM backup_progress'), 0, 'backup_progress works');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM backup_history WHERE label = 'primary'}), 1, 'so does backup_history');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM backup_schedule_next('nightly', 3)}), 3, 'and backup_schedule_next()');
my ($rc, $out, $err) = $standby->psql('postgres', 'SELECT backup_now()');
like($err, qr/cannot take a backup during recovery/, 'backup_now() says why not');

my $offset = sql(q{SELECT ceil(extract(epoch FROM min(t) - clock_timestamp()))::int + 1 FROM backup_schedule_next('nightly') t});
$node->stop('immediate');
$standby->append_conf('postgresql.conf', "omsupply_backup.debug_clock_offset = $offset\n");
$standby->reload;
$standby->promote;
ok($standby->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'omsupply_backup launcher'}),
	'after promotion the launcher runs');
ok($standby->poll_query_until('postgres', q{SELECT count(*) >= 1 FROM backup_history WHERE schedule = 'nightly'}),
	'and what became due meanwhile');
like($standby->safe_psql('postgres', q{SELECT coalesce(message, '') FROM backup_history WHERE schedule = 'nightly' LIMIT 1}),
	qr/^$|belongs to another copy/, 'which either works or says that the repository belongs to the old server');
$standby->safe_psql('postgres', 'SELECT backup_adopt()');
like($standby->safe_psql('postgres', q{SELECT backup_now('promoted')}), qr/^20/, 'backups go on');
ok($standby->poll_query_until('postgres', q{SELECT count(*) = 1 FROM backup_history WHERE label = 'promoted' AND state = 'done'}), 'and history');

done_testing();
