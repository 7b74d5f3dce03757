# extract: one database or table of a server that goes on under load, as of an
# earlier instant, into a file and into other databases; nothing of it is
# left, however it ends.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use JSON::PP;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $repo = new_repository('extract');
my $base = PostgreSQL::Test::Utils::tempdir_short();
my $scratch = "$base/scratch";
mkdir $_ or die for $scratch, "$base/space";
my $node = new_node('main', $repo, conf => "timezone = 'UTC'\nmax_prepared_transactions = 5\n");
my $where = 'host=' . $node->host . ' port=' . $node->port;

sub sql { my ($database, $query) = @_; return $node->safe_psql($database, $query) }
sub left { return join ' ', map { m{([^/]+)$} } glob("$scratch/* $scratch/.[a-z]*") }
# servers and other processes that work in the scratch directory
sub processes
{
	my @found;
	for my $proc (glob '/proc/[0-9]*')
	{
		my $cwd = readlink "$proc/cwd" or next;
		push @found, "$proc $cwd" if index($cwd, $scratch) == 0;
	}
	return @found;
}
sub extract { my (@args) = @_; return program($repo, 'extract', '--scratch', $scratch, @args) }
sub extract_ok
{
	my ($name, @args) = @_;
	my ($status, $out, $err) = extract(@args);
	is($status, 0, $name) or diag("$out$err");
	is(left(), '', "$name: nothing is left");
	return $out;
}
sub extract_fails
{
	my ($name, $wanted, $pattern, @args) = @_;
	my ($status, $out, $err) = extract(@args);
	is($status, $wanted, "$name: exit status") or diag("$out$err");
	like($err, $pattern, "$name: message");
	is(left(), '', "$name: nothing is left");
	return;
}

# without checksums WAL is more demanding: pages of other databases are missing
$node->stop;
command_ok([ 'pg_checksums', '--disable', '-D', $node->data_dir ], 'no checksums');
$node->start;

# two databases, as omSupply and Grafana beside it; one has a tablespace
sql('postgres', "CREATE TABLESPACE outer_space LOCATION '$base/space'");
sql('postgres', "CREATE ROLE owner");
sql('postgres', "CREATE DATABASE $_") for 'central', 'grafana';
sql('central', q{
CREATE SCHEMA "Odd.Schema";
CREATE TABLE stock (id int PRIMARY KEY, batch text) TABLESPACE outer_space;
INSERT INTO stock SELECT n, md5(n::text) FROM generate_series(1, 5000) n;
ALTER TABLE stock OWNER TO owner;
CREATE TABLE "Odd.Schema"."it's ""odd""" (n int);
CREATE TABLE other AS SELECT n FROM generate_series(1, 1000) n;
CREATE TABLE parted (n int) PARTITION BY RANGE (n);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE "parted two" PARTITION OF parted FOR VALUES FROM (10) TO (20);
INSERT INTO parted SELECT generate_series(0, 19);
CREATE VIEW v AS SELECT count(*) AS n FROM stock;
SELECT lo_from_bytea(4242, 'large object');
});
$node->command_ok([ 'pgbench', '-i', '-q', '-s', '2', $_ ], "load into $_") for 'central', 'grafana';
my @load = map { IPC::Run::start([ 'pgbench', '-n', '-c', '2', '-T', '600', '-p', $node->port, '-h', $node->host, $_ ],
		'>', '/dev/null', '2>', '/dev/null') } 'central', 'grafana';
sub more_work
{
	for my $database ('central', 'grafana')
	{
		my $seen = sql($database, 'SELECT count(*) FROM pgbench_history');
		$node->poll_query_until($database, "SELECT count(*) > $seen + 200 FROM pgbench_history") or die;
	}
	return;
}
more_work();
sql('postgres', 'SELECT backup_now()');
more_work();
sql('central', q{BEGIN; INSERT INTO stock VALUES (5001, 'prepared'); PREPARE TRANSACTION 'left open'});
# the instant that is wanted, and the mistake behind it
sql('central', q{INSERT INTO stock VALUES (0, 'last good')});
my $stock = sql('central', 'SELECT count(*), sum(hashtext(stock::text)) FROM stock');
my $good = sql('central', 'SELECT clock_timestamp()');
$node->poll_query_until('central', "SELECT clock_timestamp() > '$good'") or die;
sql('central', q{DELETE FROM stock; DROP TABLE other});
sql('central', q{COMMIT PREPARED 'left open'});
more_work();
wait_archived($node);

# ---- a database into a new one, beside the live server under load ----

my $live = sql('grafana', 'SELECT count(*) FROM pgbench_history');
like(extract_ok('a dry run', '--dry-run', '--database', 'central', '--target-time', $good, '--into', "$where dbname=central_then"),
	qr/would be restored into a directory for a while, and the database loaded into the new database "central_then".*nothing was written/s, 'it tells what would be done');
is(sql('postgres', q{SELECT count(*) FROM pg_database WHERE datname = 'central_then'}), 0, 'and does not do it');
like(extract_ok('a database as of a time', '--database', 'central', '--target-time', $good, '--into', "$where dbname=central_then"),
	qr/recovered to time .*; the last transaction ended at .*Loaded into the new database "central_then"/s, 'it tells what was done');
is(sql('central_then', 'SELECT count(*), sum(hashtext(stock::text)) FROM stock'), $stock, 'the table is what it was');
is(sql('central_then', 'SELECT count(*) FROM other'), 1000, 'a table that was dropped is there');
is(sql('central_then', 'SELECT n FROM v'), 5001, 'a view');
is(sql('central_then', q{SELECT convert_from(lo_get(4242), 'UTF8')}), 'large object', 'a large object');
is(sql('central_then', q{SELECT tableowner FROM pg_tables WHERE tablename = 'stock'}), 'owner', 'its owner');
is(sql('central_then', q{SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(tbalance) FROM pgbench_tellers)
	AND (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)}), 't', 'what was under load is consistent');
is(sql('central', 'SELECT count(*) FROM stock'), 1, 'the live database is untouched');
cmp_ok(sql('grafana', 'SELECT count(*) FROM pgbench_history'), '>', $live, 'the other one went on all the time');
is_deeply([ processes() ], [], 'no process is left');

# into one that has something in it: never
extract_fails('a database that is not empty', 1, qr/database "central_then" is not empty: it has \d+ tables.*hint:.*does not exist yet/s,
	'--database', 'central', '--target-time', $good, '--into', "$where dbname=central_then");
extract_fails('nor the live one', 1, qr/database "central" is not empty/, '--database', 'central', '--into', "$where dbname=central");

# ---- tables, into a file and into an empty database ----

my $file = "$base/stock.dump";
my $json = decode_json(extract_ok('a table into a file', '--json', '--database', 'central', '--table', 'public.stock', '--target-time', $good, '--into', $file));
is($json->{file_bytes}, -s $file, 'JSON tells its size');
ok($json->{database} eq 'central' && $json->{file} eq $file && !$json->{dry_run} && $json->{restored_bytes} > 1e6, 'and the rest');
is((stat $file)[2] & 0777, 0600, 'the file is private');
sql('postgres', 'CREATE DATABASE tables');
command_ok([ 'pg_restore', '-h', $node->host, '-p', $node->port, '-d', 'tables', '--no-tablespaces', $file ], 'pg_restore reads it');
is(sql('tables', 'SELECT count(*), sum(hashtext(stock::text)) FROM stock'), $stock, 'the table is what it was');
is(sql('tables', q{SELECT count(*) FROM pg_tables WHERE schemaname = 'public'}), 1, 'no other table');
extract_fails('a file that is there', 1, qr/file ".*stock.dump" exists/, '--database', 'central', '--into', $file);
sql('postgres', 'CREATE DATABASE odd TEMPLATE template0');
like(extract_ok('more tables, by a URL', '--no-owner', '--database', 'central', '--table', 'other', '--table', 'pgbench_branches', '--table', 'parted',
		'--target-time', $good, '--into', 'postgresql:///odd?host=' . $node->host . '&port=' . $node->port),
	qr/Loaded into the empty database "odd"/, 'an empty database is used');
is(sql('odd', 'SELECT (SELECT count(*) FROM other), (SELECT count(*) FROM pgbench_branches), (SELECT count(*) FROM parted)'), '1000|2|20', 'all are there, with partitions');

# ---- mistakes are told before anything is copied, or cleaned up after ----

extract_fails('no such database', 2, qr/database "centra" is not in the backup.*"grafana"/s, '--database', 'centra', '--into', "$base/x");
extract_fails('no such table', 2, qr/database "central" has no table "public"."stok" at the target/, '--database', 'central', '--table', 'stok', '--into', "$base/x");
extract_fails('a table that was dropped by then', 2, qr/has no table "public"."other"/, '--database', 'central', '--table', 'other', '--table', 'stock', '--into', "$base/x");
extract_fails('a time before all backups', 1, qr/backup|time/, '--database', 'central', '--target-time', '2001-01-01 00:00+00', '--into', "$base/x");
extract_fails('two targets', 2, qr/more than one target/, '--database', 'central', '--target-time', $good, '--target-immediate', '--into', "$base/x");
extract_fails('a directory that is not there', 1, qr/could not write to directory/, '--database', 'central', '--into', "$base/nowhere/x");
extract_fails('a server that is not there', 1, qr/could not connect to the database to load/, '--database', 'central', '--into', "host=$base port=1 dbname=x");
extract_fails('a password', 2, qr/has a password.*pgpass/s, '--database', 'central', '--into', "$where dbname=x password=secret");
extract_fails('no database in it', 2, qr/names no database/, '--database', 'central', '--into', $where);
extract_fails('programs that are not there', 2, qr/program ".*postgres" is not there/, '--database', 'central', '--bindir', $base, '--into', "$base/x");
extract_fails('no such role', 2, qr/"nobody" is no superuser.*--superuser/s, '--database', 'grafana', '--superuser', 'nobody', '--target-immediate', '--into', "$base/x");
extract_fails('nothing to do', 2, qr/--database is missing/, '--into', "$base/x");
is_deeply([ glob "$base/x*" ], [], 'no file was written');
# roles that the target does not have
my $bare = PostgreSQL::Test::Cluster->new('bare');
$bare->init;
$bare->start;
my $there = 'host=' . $bare->host . ' port=' . $bare->port;
extract_fails('an owner that is not there', 1, qr/pg_restore failed.*detail:.*outer_space.*hint:.*--no-owner/s, '--database', 'central', '--target-time', $good, '--into', "$there dbname=central");
is($bare->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname = 'central'}), 0, 'the database that was created for it is gone');
extract_ok('without owners, rights and tablespaces', '--no-owner', '--database', 'central', '--target-time', $good, '--into', "$there dbname=central");
is($bare->safe_psql('central', 'SELECT count(*), sum(hashtext(stock::text)) FROM stock'), $stock, 'it works on another server');
$bare->stop;

# ---- too little space is told before ----

if ($ENV{OMB_SMALL_FS})
{
	my ($status, $out, $err) = program($repo, 'extract', '--scratch', $ENV{OMB_SMALL_FS}, '--database', 'central', '--into', "$base/x");
	is($status, 1, 'too little space') or diag("$out$err");
	like($err, qr/space|free/, 'is told');
	is_deeply([ glob "$ENV{OMB_SMALL_FS}/*" ], [], 'and nothing left');
}

# ---- killed at any moment ----

for my $case ([ 'TERM', 'copying' ], [ 'TERM', 'recovering' ], [ 'INT', 'writing the dump' ], [ 'KILL', 'writing the dump' ], [ 'KILL', 'recovering' ], [ 'KILL', 'copying' ])
{
	my ($signal, $phase) = @$case;
	my ($out, $err) = ('', '');
	local $ENV{OMSUPPLY_BACKUP_REPOSITORY} = $repo->{dir};
	local $ENV{OMSUPPLY_BACKUP_KEY_FILE} = $repo->{key};
	my $h = IPC::Run::start([ 'omsupply_backup', 'extract', '--scratch', $scratch, '--database', 'central', '--into', "$base/x" ], '<', \undef, '>', \$out, '2>', \$err);
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;
	while ($err !~ /\Q$phase/ && $h->pumpable && time < $end) { $h->pump_nb; sleep 0.005; }
	like($err, qr/\Q$phase/, "$phase");
	isnt(left(), '', 'it works in its directory');
	kill $signal => $h->{KIDS}[0]{PID} or die;
	$h->finish;
	$end = time + $PostgreSQL::Test::Utils::timeout_default;
	sleep 0.05 while processes() && time < $end;
	is_deeply([ processes() ], [], "$signal while $phase: no server is left");
	# when all are killed at once nobody is left to remove it
	$signal eq 'KILL' ? isnt(left(), '', 'its directory is') : is(left(), '', 'nor a directory');
	like($err, qr/was ended by signal/, 'it says so') if $signal ne 'KILL';
	is_deeply([ glob "$base/x*" ], [], 'nor a file');
}
extract_ok('the next run, from a URL', '--repository', "file://$repo->{dir}", '--database', 'grafana', '--target-immediate', '--into', "$base/y");
cmp_ok(-s "$base/y", '>', 10000, 'works, and has removed it');

for my $load (@load)
{
	$load->signal('TERM');
	$load->finish;
}
is(sql('postgres', 'SELECT 1'), 1, 'through all of this the server lived');
done_testing();
