# What is odd about files: names, holes, links, files that vanish, cannot be
# read or change while they are read, databases of SQLite in use, disks that
# are not mounted, many small ones, kills; and which of them are kept.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use File::Path qw(make_path rmtree);
use Fcntl;
use IO::Socket::UNIX;
use IPC::Run;
use JSON::PP;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $base = PostgreSQL::Test::Utils::tempdir('edge');
my $repo = new_repository('main');
my $node = new_node('main', $repo, conf => "autovacuum = off\nomsupply_backup.jobs = 2\n");
my $set = "$base/app";
make_path($set);

sub sql { return $node->safe_psql('postgres', $_[0]); }
# Back up the files; the id, and the warnings.
sub files
{
	my ($rc, $out, $err) = $node->psql('postgres', 'SELECT backup_files()');
	is($rc, 0, 'files') or diag($err);
	return ($out, $err);
}
my $restores = 0;
sub restore
{
	my (@options) = @_;
	my $dir = "$base/r" . ++$restores;
	program_ok([ 'restore', '--files-dir', $dir, @options ], "restore @options", $repo);
	return "$dir/app";
}
sub write_file
{
	my ($path, $content) = @_;
	make_path($path =~ s{/[^/]*$}{}r);
	open my $f, '>:raw', $path or die "$path: $!";
	print $f $content;
	close $f;
}
sub read_file
{
	local $/;
	open my $f, '<:raw', $_[0] or return undef;
	return scalar <$f>;
}
sub tree { return `cd '$_[0]' && find . -printf '%P|%y|%m|%l\\0' | LC_ALL=C sort -z | tr '\\0' '\\n'; find '$_[0]' -type f -print0 | LC_ALL=C sort -z | xargs -0 -r cat | sha256sum`; }
sub facts { my ($id) = @_; return decode_json(program_ok([ 'info', $id, '--json' ], 'info', $repo)); }
sub set { sql("INSERT INTO backup_file_set VALUES ('app', '$_[0]') ON CONFLICT (name) DO UPDATE SET path = excluded.path, is_enabled = true"); }

# ---- names, holes, links, special files; the set's path is a link ----

symlink $set, "$base/link" or die;
set("$base/link");
write_file("$set/name with\nnewline", 'a');
write_file("$set/latin \xe4\xff", 'b');
write_file("$set/percent %3D = 100%", 'c');
write_file("$set/" . ('long' x 60), 'd');
write_file("$set/.hidden", '');
write_file("$set/d/" . join('/', ('deep') x 100) . '/f', 'e');
write_file("$set/a.b", 'f');
write_file("$set/a/x", 'g');
write_file("$set/" . ('n' x 255), 'i');
write_file("$set/first name", 'j');
link "$set/first name", "$set/second name" or die;
symlink 'nowhere', "$set/dangling" or die;
symlink '/etc', "$set/out" or die;
symlink '..', "$set/d/up" or die;
system("mkfifo '$set/pipe' && truncate -s 50M '$set/hole' && printf x | dd of='$set/hole' bs=1 seek=30000000 conv=notrunc status=none") == 0 or die;
mkdir "$set/locked" or die;
write_file("$set/locked/f", 'h');
chmod 0555, "$set/locked";
my $socket = IO::Socket::UNIX->new(Type => SOCK_STREAM, Local => "$set/socket", Listen => 1) or die;
my ($id, $err) = files();
like($err, qr/skipped special file ".*pipe"/, 'a pipe is left out with a warning');
like($err, qr/skipped special file ".*socket"/, 'and a socket');
my $dir = restore();
unlink "$set/pipe", "$set/socket";
is((stat "$dir/first name")[3], 1, 'hard links become files of their own');
is(tree($dir), tree($set), 'all is as it was');
my $blocks = (stat "$dir/hole")[12];
cmp_ok($blocks * 512, '<', 2_000_000, 'the hole is one again');
unlike(`cd '$dir' && find . -newermt '1 minute ago' -path './out/*'`, qr/./, 'nothing came from outside');
chmod 0755, "$set/locked";
chmod 0755, "$dir/locked";

# ---- a file larger than 4 GiB; two sets that overlap ----

make_path("$base/huge/inner");
write_file("$base/huge/inner/f", 'inner');
open my $huge, '>:raw', "$base/huge/disk" or die;
for my $at (0, 2**32 - 3, 5 * 2**30 - 7)
{
	sysseek $huge, $at, 0 or die;
	syswrite $huge, 'content';
}
close $huge;
sql(qq{UPDATE backup_file_set SET is_enabled = false; INSERT INTO backup_file_set VALUES ('huge', '$base/huge'), ('inner', '$base/huge/inner')});
($id, $err) = files();
is($err, '', 'sets may overlap');
program_ok([ 'restore', '--files-dir', "$base/huge restored", '--jobs', '4' ], 'restore of a huge file', $repo);
is(-s "$base/huge restored/huge/disk", 5 * 2**30, 'of 5 GiB');
cmp_ok((stat "$base/huge restored/huge/disk")[12] * 512, '<', 10_000_000, 'nearly all of it is a hole');
is(system('cmp', '-s', "$base/huge/disk", "$base/huge restored/huge/disk"), 0, 'it is the same');
is(read_file("$base/huge restored/$_"), 'inner', "each set has its files: $_") for 'huge/inner/f', 'inner/f';
sql(q{DELETE FROM backup_file_set WHERE name IN ('huge', 'inner')});
rmtree([ "$base/huge", "$base/huge restored" ]);
set("$base/link");

# ---- a file that cannot be read, a directory that cannot be ----

write_file("$set/secret", 'first');
write_file("$set/private/f", 'first');
write_file("$set/big", 'x' x 300_000);
files();
write_file("$set/secret", 'second');
write_file("$set/big", 'y' x 300_000);
write_file("$set/new secret", 'third');
chmod 0, "$set/secret", "$set/new secret", "$set/private", "$set/big";
($id, $err) = files();
like($err, qr/could not read file ".*\/secret": Permission denied; kept as it was/, 'it is told');
like($err, qr/could not read ".*private": Permission denied; kept as it was/, 'of a directory, too');
like($err, qr/could not open file ".*\/big": Permission denied; kept as it was/, 'and of a large one');
ok($node->poll_query_until('postgres', qq{SELECT count(*) = 1 FROM backup_history WHERE backup_id = '$id' AND state = 'done' AND message LIKE 'could not%'}), 'the history has the first warning');
$dir = restore();
is(read_file("$dir/secret"), 'first', 'the last version that could be read is kept');
ok(!-e "$dir/new secret", 'what could never be read is not there');
chmod 0755, "$dir/private";
is(read_file("$dir/private/f"), 'first', 'what is in the directory is kept');
is(read_file("$dir/big"), 'x' x 300_000, 'and the large one');
chmod 0755, "$set/private";
chmod 0644, "$set/secret", "$set/new secret", "$set/big";

# ---- a file that changes all the time ----

write_file("$set/growing", 'x' x 30_000_000);
my $writer = IPC::Run::start([ 'perl', '-e', 'open F, ">>", $ARGV[0]; F->autoflush(1); while (1) { print F "line\n" }', "$set/growing" ]);
my $deadline = time + 30;
select undef, undef, undef, 0.05 while -s "$set/growing" == 30_000_000 && time < $deadline;
# on a busy machine it may happen to stand still for as long as it is read
for (1 .. 30)
{
	($id, $err) = files();
	last if $err =~ /changed while it was read/;
}
$writer->kill_kill;
like($err, qr/file ".*growing" changed while it was read/, 'it is told');
my $whole = read_file("$set/growing");
my $got = read_file(restore('--files', 'app/growing') . '/growing');
ok(length $got && $got eq substr($whole, 0, length $got), 'what was read is kept, ' . length($got) . ' of ' . length($whole) . ' bytes');
unlink "$set/growing";

# ---- databases of SQLite in use ----

for my $mode ('wal', 'delete')
{
	system("sqlite3 '$set/$mode.db' 'PRAGMA journal_mode=$mode; CREATE TABLE a (n integer, body text); CREATE TABLE b (n integer, body text);' >/dev/null") == 0 or die;
	# both tables always get the same rows in one transaction
	my $script = "PRAGMA busy_timeout=10000;\n" . join '', map { "BEGIN IMMEDIATE; INSERT INTO a VALUES ($_, hex(randomblob(2000))); INSERT INTO b SELECT n, body FROM a WHERE n = $_; COMMIT;\n" } 1 .. 5000;
	write_file("$base/script", $script);
	my ($out, $errors) = ('', '');
	my $load = IPC::Run::start([ 'sqlite3', '-bail', "$set/$mode.db" ], '<', "$base/script", '>', \$out, '2>', \$errors);
	my $rows = 0;
	$deadline = time + 60;
	while ($rows < 50 && time < $deadline) { $rows = `sqlite3 -cmd '.timeout 5000' '$set/$mode.db' 'SELECT count(*) FROM b' 2>/dev/null` || 0; }
	files();
	ok($load->pumpable, "$mode: it was in use");
	$load->kill_kill;
	# of the other mode a journal may be left that nobody has rolled back
	$dir = restore();
	is(join(',', sort map { s{.*/}{}r } glob "$dir/$mode.db*"), "$mode.db", "$mode: its log is left out");
	is(`sqlite3 '$dir/$mode.db' 'PRAGMA integrity_check'`, "ok\n", "$mode: the copy is sound");
	my ($n, $different) = split /\|/, `sqlite3 '$dir/$mode.db' 'SELECT (SELECT count(*) FROM b), (SELECT count(*) FROM (SELECT * FROM a EXCEPT SELECT * FROM b)) + abs((SELECT count(*) FROM a) - (SELECT count(*) FROM b))'`;
	cmp_ok($n, '>=', 50, "$mode: it has rows");
	is($different + 0, 0, "$mode: all transactions are whole");
}
# locked by another process: the last version is kept
system("sqlite3 '$set/lock.db' 'CREATE TABLE t AS SELECT 1 AS a'") == 0 or die;
files();
my $in = "UPDATE t SET a = 2;\nBEGIN EXCLUSIVE;\nSELECT 'locked';\n";
my $held = '';
my $locker = IPC::Run::start([ 'sqlite3', "$set/lock.db" ], '<', \$in, '>', \$held);
$locker->pump until $held =~ /locked/;
($id, $err) = files();
like($err, qr/could not copy database ".*lock\.db": database is locked; kept as it was/, 'a database that is locked for long');
$locker->kill_kill;
is(`sqlite3 '@{[ restore() ]}/lock.db' 'SELECT a FROM t'`, "1\n", 'is kept as it was');
write_file("$set/text.db", "SQLite format 3\0" . ('no' x 1016));
($id, $err) = files();
like($err, qr/could not copy database ".*text\.db".*copied as a plain file/, 'what only looks like a database');
is(read_file(restore('--files', 'app/text.db') . '/text.db'), read_file("$set/text.db"), 'is there all the same');
unlink "$set/text.db", "$set/text.db-wal";

# ---- the disk is not mounted ----

my $count = facts((files())[0])->{set_files};
my $before = tree(restore());
rename $set, "$base/away" or die;
($id, $err) = files();
like($err, qr/file set "app" was not backed up: could not open directory.*\d+ files of the last backup are kept/, 'a directory that is missing');
is(facts($id)->{set_files}, $count, 'nothing was taken for deleted');
mkdir $set or die;
($id, $err) = files();
like($err, qr/is empty, but was not before.*is its disk mounted/, 'one that is empty');
is(facts($id)->{set_files}, $count, 'likewise');
$id = sql(q{SELECT backup_now('not mounted')});
is(facts($id)->{set_files}, $count, 'also with the database');
$id = sql(q{SELECT backup_now('not mounted', 'full')});
is(facts($id)->{set_files}, $count, 'and in a full backup');
is(tree(restore()), $before, 'all can be restored');
rmdir $set;
rename "$base/away", $set or die;
($id, $err) = files();
is($err, '', 'when it is back all is well');

# ---- many small ones: quick, and in little memory; kills ----

my $many = 20_000;
make_path("$base/many");
my $made = IPC::Run::run([ 'perl', '-e', 'for (1 .. $ARGV[1]) { my $d = "$ARGV[0]/" . ($_ % 50); mkdir $d; open F, ">", "$d/$_"; print F "file $_ " x (1 + $_ % 9); close F }', "$base/many", $many ]);
set("$base/many");
sql('ALTER SYSTEM SET omsupply_backup.max_read_rate = 200');
$node->reload;
my $job = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'SELECT backup_files()' ], '>', \my $job_out, '2>', \my $job_err);
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM backup_progress WHERE phase = 'files' AND files_done > 1000}), 'a backup of many files runs');
my $agent = agent_pid(sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'omsupply_backup job'}));
cmp_ok($agent, '>', 0, 'by a program') and kill 'KILL', $agent;
IPC::Run::finish($job);
like($job_err, qr/backup agent ended unexpectedly/, 'its program is killed');
is(sql('SELECT count(*) FROM backup_progress'), 0, 'no job is left');
sql('ALTER SYSTEM RESET omsupply_backup.max_read_rate');
$node->reload;
my $start = time;
($id) = files();
my $taken = time - $start;
my $facts = facts($id);
is($facts->{set_files}, $many, "$many files") or diag(explain $facts);
cmp_ok($taken, '<', 60, sprintf('in %.1f s', $taken));
# directories get their times when all threads are done with them
my $times = q{find . -printf '%P %y %m %T@\n' | LC_ALL=C sort};
for my $jobs (1, 8)
{
	$dir = restore('--jobs', $jobs);
	is(`cd '$dir' && find . -type f | sort | xargs cat | sha256sum`, `cd '$base/many' && find . -type f | sort | xargs cat | sha256sum`, "come back by $jobs threads");
	is(`cd '$dir' && $times`, `cd '$base/many' && $times`, 'with modes and times');
}
for my $n (1 .. 200) { unlink "$dir/" . ($n % 50) . "/$n" if $n % 2; write_file("$dir/" . ($n % 50) . "/$n", 'other') if !($n % 2); }
write_file("$dir/7/.omsupply_backup.tmp3", 'left by a restore that was killed');
my $delta = program_ok([ 'restore', '--files-dir', $dir =~ s{/[^/]*$}{}r, '--delta', '--jobs', '8' ], 'delta by 8 threads', $repo);
like($delta, qr/19800 files were the same/, 'what is the same is left alone');
is(`cd '$dir' && $times`, `cd '$base/many' && $times`, 'the rest is as it was, and nothing else is there');
$start = time;
($id) = files();
note(sprintf('once more in %.1f s', time - $start));

# ---- which are kept ----

sql(q{UPDATE backup_retention SET keep_last = 1, keep_days = NULL, keep_weeks = NULL, keep_months = NULL, keep_years = NULL, keep_wal_days = 1, minimum = 1});
sql('SELECT backup_now()');
my $verdicts = sql(q{SELECT verdict, count(*) FROM backup_expire(true) WHERE object = 'files' GROUP BY 1 ORDER BY 1});
my @ids = map { $_->{id} } @{ decode_json(program_ok([ 'list', '--files', '--json' ], 'list', $repo)) };
like($verdicts, qr/^keep\|\d+$/m, 'a verdict for each backup of files');
sql(q{UPDATE backup_retention SET keep_wal_days = NULL});
is(sql(q{SELECT verdict, count(*) FROM backup_expire() WHERE object = 'files' GROUP BY 1 ORDER BY 1}),
	"drop|" . (@ids - 1) . "\nkeep|1", 'without a window only what the kept backup needs');
is(scalar(@{ decode_json(program_ok([ 'list', '--files', '--json' ], 'list', $repo)) }), 1, 'the others are gone');
program_ok([ 'verify' ], 'the repository is sound', $repo);
$dir = restore();
is(scalar(split /\n/, `find '$dir' -type f`), $many, 'and has all files');

done_testing();
