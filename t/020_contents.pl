# What a backup contains: tablespaces, unlogged and temporary relations,
# empty directories, modes, configuration from elsewhere, odd names.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use File::Copy;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('contents');
my $node = new_node('main', $repo);
my $data = $node->data_dir;
my $outside = PostgreSQL::Test::Utils::tempdir('outside');
my $space = "$outside/a space";
my $inside = "$data/inside_space";
mkdir $_ or die "$_: $!" for $space, $inside;

$node->safe_psql('postgres', "CREATE TABLESPACE outer_space LOCATION '$space'");
$node->safe_psql('postgres', "CREATE TABLESPACE inner_space LOCATION '$inside'");
$node->safe_psql('postgres', q{
CREATE TABLE in_space (n int) TABLESPACE outer_space;
INSERT INTO in_space SELECT generate_series(1, 1000);
CREATE TABLE in_inner (n int) TABLESPACE inner_space;
INSERT INTO in_inner SELECT generate_series(1, 500);
CREATE UNLOGGED TABLE not_logged (n int);
INSERT INTO not_logged SELECT generate_series(1, 5000);
CREATE TABLE big (n int, filler text);
INSERT INTO big SELECT n, repeat(md5(n::text), 8) FROM generate_series(1, 20000) n;
CREATE TABLE empty_one (n int);
});
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE TABLE t AS SELECT generate_series(1, 10) AS n');

# configuration files outside the data directory, one included by another
for my $f (qw(pg_hba.conf postgresql.conf))
{
	move("$data/$f", "$outside/$f") or die "$f: $!";
}
append_to_file("$outside/postgresql.conf", "hba_file = '$outside/pg_hba.conf'\ninclude '$outside/extra.conf'\n");
append_to_file("$outside/extra.conf", "work_mem = '5MB'\n");
append_to_file("$data/postgresql.conf", "data_directory = '$data'\ninclude '$outside/postgresql.conf'\n");
$node->stop;
PostgreSQL::Test::Utils::system_or_bail('pg_ctl', '-D', $data, '-w', '-l', $node->logfile,
	'-o', "-c config_file=$outside/postgresql.conf", 'start');
$node->_update_pid(1);

# odd things in the data directory
mkdir "$data/empty directory" or die;
chmod 0750, "$data/empty directory";
append_to_file("$data/caf\xe9 \"quoted\"", 'not UTF-8');
append_to_file("$data/zeros", "\0" x 300000);
append_to_file("$data/a-file", 'beside a/');
mkdir "$data/a" or die;
append_to_file("$data/a/file", 'in a/');
append_to_file("$data/none", '');
symlink "$outside/extra.conf", "$data/linked.conf" or die;
append_to_file("$data/pg_replslot/stale", 'no');
append_to_file("$data/pgsql_tmp.1", 'no');
append_to_file("$data/postgresql.auto.conf.tmp", 'no');

# a temporary table that is there while the backup runs
my $session = $node->background_psql('postgres');
$session->query_safe('CREATE TEMP TABLE temporary AS SELECT generate_series(1, 1000) AS n');
my $temporary = $session->query_safe(q{SELECT pg_relation_filepath('temporary')});
my $unlogged = $node->safe_psql('postgres', q{SELECT pg_relation_filepath('not_logged')});
ok(-s "$data/$temporary" && -s "$data/$unlogged", 'temporary and unlogged files are there to be left out');

my ($out, $err);
$node->psql('postgres', q{SELECT backup_now('contents')}, stdout => \$out, stderr => \$err);
like($out, qr/^20/, 'the backup succeeds');
is($err, '', 'without warnings');
$session->quit;
my $wanted = fingerprint($node);
my $wanted_other = fingerprint($node, 'other');
wait_archived($node);

program_fails([ 'restore', '--pgdata', "$outside/restored" ], 1, qr/tablespace directory ".*" is not empty/,
	'a tablespace whose place is taken', $repo);
program_fails([ 'restore', '--pgdata', "$outside/restored", '--tablespace-map', '/nowhere=/tmp/x', '--tablespace-map', "$space=$outside/new",
		'--tablespace-map', "$inside=$outside/new_inner" ],
	2, qr/no tablespace at "\/nowhere"/, 'a map that fits nothing', $repo);
ok(!-e "$outside/restored", 'nothing was written');

my $restored = restored_node('restored', $repo, '--target-immediate', '--tablespace-map', "$space=$outside/new",
	'--tablespace-map', "$inside=$outside/new_inner");
my $new = $restored->data_dir;
ok(-d "$new/empty directory", 'an empty directory is there');
is((stat "$new/empty directory")[2] & 07777, 0750, 'with its mode');
is(slurp_file("$new/caf\xe9 \"quoted\""), 'not UTF-8', 'a name that is not UTF-8');
is(slurp_file("$new/zeros"), "\0" x 300000, 'a file of zeros');
is(-s "$new/none", 0, 'a file of no bytes');
is(slurp_file("$new/a/file") . slurp_file("$new/a-file"), 'in a/beside a/', 'names that sort beside a directory');
is(slurp_file("$new/linked.conf"), "work_mem = '5MB'\n", 'a linked file is a file');
ok(!-e "$new/$_", "$_ is left out") for 'pg_replslot/stale', 'pgsql_tmp.1', 'postgresql.auto.conf.tmp', 'postmaster.pid',
  'omsupply_backup.instance', $temporary, $unlogged;
ok(-e "$new/${unlogged}_init", 'the init fork of an unlogged table is there');
ok(-d "$new/pg_wal/archive_status", 'pg_wal is there with archive_status');
is(scalar(grep { !/^\.|archive_status/ } do { opendir my $d, "$new/pg_wal"; readdir $d }), 0, 'and without WAL');
is(readlink((glob "$new/pg_tblspc/*")[0]) =~ m{^\Q$outside\E/new}, 1, 'tablespace links point to the new places');
ok(!-e "$new/backup_label.old" && -e "$new/backup_label", 'backup_label is there');
is(slurp_file("$new.config$outside/extra.conf"), "work_mem = '5MB'\n", 'included configuration is beside the directory');
ok(-e "$new.config$outside/postgresql.conf" && -e "$new.config$outside/pg_hba.conf", 'and so is the rest');

# a server without our configuration of before
append_to_file("$new/postgresql.conf", "\n");
unlink "$new/postgresql.conf";
copy("$new.config$outside/postgresql.conf", "$new/postgresql.conf") or die;
copy("$new.config$outside/pg_hba.conf", "$new/pg_hba.conf") or die;
append_to_file("$new/postgresql.conf", "hba_file = '$new/pg_hba.conf'\nport = " . $restored->port . "\n");
start_restored($restored);
is(fingerprint($restored), $wanted, 'all tables are what they were');
is(fingerprint($restored, 'other'), $wanted_other, 'in the other database too');
is($restored->safe_psql('postgres', 'SELECT count(*) FROM not_logged'), 0, 'an unlogged table is empty');
prove_sound($restored, 'restored');

done_testing();
