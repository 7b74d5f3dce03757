# Retention: rules, pins, what expire tells and removes, who may do it when.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use JSON::PP;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('retention');
my $node = new_node('main', $repo, initdb => ['--wal-segsize=1']);
my ($out, $err);
sub sql { return $node->safe_psql('postgres', $_[0]) }
sub fails_with
{
	my ($on, $sql, $pattern, $name) = @_;
	isnt($on->psql('postgres', "\\set VERBOSITY verbose\n$sql", stdout => \$out, stderr => \$err), 0, "$name: fails");
	like($err, $pattern, "$name: message");
	return;
}
sub backups { return sql('SELECT id FROM backup_list()') }
sub wal_files
{
	my @files = map { m{([^/]+)-[0-9a-f]{32}$} ? $1 : () } split /\n/, `find $repo->{dir}/wal -type f`;
	return sort @files;
}
sub verdicts
{
	my ($rows) = @_;
	return join ' ', map { (split /\|/)[2] } grep { /^backup/ } split /\n/, $rows;
}

# a backup knows the state of its time
my (@id, %state);
$node->safe_psql('postgres', 'CREATE TABLE t (n int, filler text)');
for my $n (1 .. 5)
{
	sql("INSERT INTO t SELECT $n, repeat('x', 500) FROM generate_series(1, 2000)");
	push @id, sql("SELECT backup_now('number $n')");
	$state{ $id[-1] } = $n;
	sql("SELECT pg_create_restore_point('behind $n')");
	sql("INSERT INTO t SELECT 0, repeat('y', 500) FROM generate_series(1, 2000)");
	wait_archived($node);
}
my @all = wal_files();

# the defaults keep a fresh server's backups, and dry runs remove nothing
is(verdicts(sql('SELECT * FROM backup_expire()')), 'keep keep keep keep keep', 'the defaults keep all of a week');
like(sql('SELECT reason FROM backup_expire(true) LIMIT 1'), qr/inside the last 8 days \(keep_wal_days\)/, 'because of the window');
my $first = sql("SELECT pg_walfile_name(start_lsn) FROM backup_list() WHERE id = '$id[0]'");
is_deeply([ wal_files() ], [ grep { $_ ge $first } @all ], 'only WAL that no backup leads to is removed');
sql('DELETE FROM backup_retention');
is(verdicts(sql('SELECT * FROM backup_expire()')), 'keep keep keep keep keep', 'no row, no rule');
sql('INSERT INTO backup_retention (keep_last) VALUES (2)');
is(verdicts(sql('SELECT * FROM backup_expire(true)')), 'drop drop drop keep keep', 'keep_last');
is(backups(), join("\n", @id), 'a dry run removes nothing');

# pins, from SQL and by the program
sql("SELECT backup_pin('$id[1]', 'before the upgrade')");
fails_with($node, "SELECT backup_pin('$id[1]')", qr/backup "$id[1]" is pinned already.*HINT/s, 'pinned twice');
fails_with($node, "SELECT backup_pin('20200101T000000Z-abcd')", qr/backup "20200101T000000Z-abcd" is not in repository/, 'a backup that is not there');
fails_with($node, "SELECT backup_pin('nonsense')", qr/"nonsense" is not the id of a backup/, 'what is no id');
fails_with($node, "SELECT backup_unpin('$id[0]')", qr/backup "$id[0]" is not pinned/, 'not pinned');
program_ok([ 'pin', $id[0], '--reason', 'by hand' ], 'pin by the program', $repo);
like(program_ok(['list'], 'list', $repo), qr/^$id[0].*number 1  \(pinned\)$/m, 'list shows pins');
like(program_ok([ 'info', $id[1] ], 'info', $repo), qr/^pinned: +before the upgrade$/m, 'info shows why');
my $list = decode_json(program_ok([ 'list', '--json' ], 'list --json', $repo));
is_deeply([ map { $_->{pinned} ? $_->{pin_reason} : '-' } @$list ], [ 'by hand', 'before the upgrade', '-', '-', '-' ], 'in JSON too');
like(sql("SELECT verdict || ' ' || reason FROM backup_expire(true) WHERE name = '$id[1]'"), qr/^keep pinned: before the upgrade$/, 'a pinned backup is kept');
program_ok([ 'unpin', $id[0] ], 'unpin by the program', $repo);
program_fails([ 'unpin', $id[0] ], 1, qr/is not pinned/, 'unpinned twice', $repo);

# the program tells the same as SQL
my $dry = sql('SELECT * FROM backup_expire(true)');
my $json = decode_json(program_ok([ 'expire', '--keep-last', '2', '--dry-run', '--json' ], 'expire --json', $repo));
is(join("\n", map { join '|', @$_{qw(object name verdict reason)} } @{ $json->{verdicts} }), $dry, 'the program and SQL agree');
ok($json->{dry_run} && !$json->{removed} && $json->{backups_dropped} == 2, 'counted in JSON');
like(program_ok([ 'expire', '--keep-last', '2', '--dry-run' ], 'expire', $repo), qr/^drop +backup +$id[0]: no rule keeps it\n.*^Dry run: would remove 2 backups and \d+ WAL files/ms, 'as text');
program_fails([ 'expire', '--keep-last', 'many' ], 2, qr/invalid number "many" for --keep-last/, 'a number that is none', $repo);
like(program_ok(['expire'], 'expire without a rule', $repo), qr/^Removed 0 backups and 0 WAL files/m, 'no rule removes nothing');

# a backup that runs holds the repository
sql(q{ALTER SYSTEM SET omsupply_backup.max_read_rate = '1MB'});
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('omsupply_backup.max_read_rate') = '1MB'});
sql(q{SELECT backup_now('runs', wait => false)});
fails_with($node, 'SELECT * FROM backup_expire()', qr/ERROR:  55006: repository ".*" is in use.*A backup, a restore, verifying.*Nothing was removed/s, 'expire during a backup');
program_fails([ 'expire', '--keep-last', '1' ], 1, qr/repository ".*" is in use/, 'the program during a backup', $repo);
is(verdicts(sql('SELECT * FROM backup_expire(true)')), verdicts($dry), 'a dry run may be made meanwhile');
is(sql('SELECT backup_cancel()'), 't', 'the backup was still running');
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM backup_progress');
sql('ALTER SYSTEM RESET omsupply_backup.max_read_rate');
$node->reload;
is(backups(), join("\n", @id), 'nothing was removed');

# for good
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM backup_progress});
@all = wal_files();
$dry = sql('SELECT * FROM backup_expire(true)');
is(sql('SELECT * FROM backup_expire()'), $dry, 'the run tells what the dry run told');
is(backups(), join("\n", @id[ 1, 3, 4 ]), 'what no rule keeps is gone');
my ($dropped) = $dry =~ /^wal\|(\S+)(?: to (\S+))?\|drop/m;
ok($dropped, 'WAL before the oldest backup was dropped');
my %left = map { $_ => 1 } wal_files();
ok(!$left{$dropped}, 'and is gone');
is(scalar(grep { /drop/ } split /\n/, sql('SELECT * FROM backup_expire()')), 0, 'a second run has nothing to do');
like(program_ok(['verify'], 'verify', $repo), qr/^3 backups, .* no problem found$/m, 'the repository is sound');

# each backup that is kept restores, and so do points in the WAL behind it
for my $id (@id[ 1, 3, 4 ])
{
	my $restored = restored_node("kept$state{$id}", $repo, '--backup', $id, '--target-immediate');
	start_restored($restored);
	is($restored->safe_psql('postgres', 'SELECT max(n) FROM t'), $state{$id}, "backup number $state{$id} restores");
	prove_sound($restored, "number $state{$id}");
}
my $copy = restored_node('copy', $repo, '--target-name', 'behind 2');
start_restored($copy);
is($copy->safe_psql('postgres', 'SELECT max(n), count(*) FROM t'), '2|6000', 'a point behind the pinned backup is reached');

# the copy may look, and not remove
is(verdicts($copy->safe_psql('postgres', 'SELECT * FROM backup_expire(true)')), 'keep keep keep', 'a copy makes a dry run');
fails_with($copy, 'SELECT * FROM backup_expire()', qr/the repository belongs to another copy of this cluster/, 'a copy removes nothing');
fails_with($copy, "SELECT backup_unpin('$id[1]')", qr/the repository belongs to another copy of this cluster/, 'nor pins');
$copy->stop;

# outside of the window an old backup has no WAL behind its end
my $end = sql("SELECT pg_walfile_name(stop_lsn) FROM backup_list() WHERE id = '$id[1]'");
my ($behind) = glob sprintf "%s/wal/*/*/%s%08X-*", $repo->{dir}, substr($end, 0, 16), 1 + hex substr $end, 16;
rename $behind, "$repo->{dir}/taken" or die "$behind: $!";
program_fails([ 'restore', '--pgdata', '/tmp/omb-not-made', '--backup', $id[1] ], 1,
	qr/the WAL of backup "$id[1]" is not complete.*hint: .*--target-immediate/s, 'an old backup without a target', $repo);
like(sql('SELECT * FROM backup_expire(true)'), qr/^gap\|\w+\|missing\|"$id[1]" cannot be recovered beyond it$/m, 'expire tells the gap');
my $old = restored_node('old', $repo, '--backup', $id[1], '--target-immediate');
start_restored($old);
is($old->safe_psql('postgres', 'SELECT max(n) FROM t'), 2, 'an old backup restores to its end');
$old->stop;
rename "$repo->{dir}/taken", $behind or die "$behind: $!";

# without the pin the WAL in front of the last two goes too
sql("SELECT backup_unpin('$id[1]')");
@all = wal_files();
sql('SELECT * FROM backup_expire()');
is(backups(), join("\n", @id[ 3, 4 ]), 'unpinned and gone');
cmp_ok(scalar(wal_files()), '<', scalar(@all), 'with its WAL');
my $latest = restored_node('latest', $repo);
start_restored($latest);
is($latest->safe_psql('postgres', 'SELECT count(*) FROM t'), sql('SELECT count(*) FROM t'), 'the newest state is reached');
$latest->stop;
# folders go with their last file
is(`find $repo->{dir}/wal $repo->{dir}/marks -type d -empty`, '', 'no empty folder is left');

# a manifest that cannot be read keeps everything
my $manifest = "$repo->{dir}/backups/$id[3]";
chmod 0600, $manifest;
open my $f, '+<', $manifest or die $!;
binmode $f;
seek $f, -30, 2;
print $f 'damaged';
close $f;
sql('UPDATE backup_retention SET keep_last = 1');
sql(q{SELECT backup_now('one more')});
@all = wal_files();
fails_with($node, 'SELECT * FROM backup_expire()', qr/the manifest of 1 backup cannot be read.*nothing was removed.*omsupply_backup verify/s, 'a damaged manifest');
like(sql('SELECT * FROM backup_expire(true)'), qr/^backup\|$id[3]\|unreadable\|/m, 'it is told');
is_deeply([ wal_files() ], \@all, 'nothing was removed');

# the table is dumped, and restored over the row that CREATE EXTENSION makes
sql('UPDATE backup_retention SET keep_years = 4');
my $dump = "$node->{_basedir}/dump.sql";
$node->command_ok([ 'pg_dump', '-f', $dump, '-p', $node->port, '-h', $node->host, '--exclude-table', 't', 'postgres' ], 'dump');
sql('CREATE DATABASE other');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-p', $node->port, '-h', $node->host, 'other' ], 'restore of the dump');
is($node->safe_psql('other', 'SELECT store, keep_last, keep_years, keep_days IS NULL FROM backup_retention'), 'local|1|4|t', 'the rules came along');

done_testing();
