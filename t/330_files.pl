# The application's files are backed up with the database and between, and come
# back so that every reference that the database has at the chosen instant is
# satisfied.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use File::Basename qw(dirname);
use File::Path qw(make_path rmtree);
use IPC::Run;
use JSON::PP;
use Omb;
use PostgreSQL::Test::BackgroundPsql;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $base = PostgreSQL::Test::Utils::tempdir('files');
my $repo = new_repository('main');
my $node = new_node('main', $repo, conf => "autovacuum = off\nomsupply_backup.jobs = 2\n");

sub sql { return $node->safe_psql('postgres', $_[0]); }
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
	my ($path) = @_;
	local $/;
	open my $f, '<:raw', $path or return undef;
	return scalar <$f>;
}
# Everything about a tree: types, modes, times, targets and contents.
sub tree
{
	my ($dir) = @_;
	my $text = `cd '$dir' && find . -printf '%P|%y|%m|%T@|%l\n' | LC_ALL=C sort && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum`;
	return $text;
}
sub list_files { return @{ decode_json(program_ok([ 'list', '--files', '--json' ], 'list --files', $repo)) }; }

# ---- mistakes are refused ----

my $sets = "$base/app";
make_path("$sets/sub/empty");
symlink $repo->{dir}, "$base/to repository" or die;
for my $bad (
	[ q{('a/b', '/tmp', '{}')}, qr/invalid name of a file set/ ],
	[ q{('..', '/tmp', '{}')}, qr/invalid name of a file set/ ],
	[ q{('', '/tmp', '{}')}, qr/invalid name of a file set/ ],
	[ qq{(E'a\\nb', '/tmp', '{}')}, qr/invalid name of a file set/ ],
	[ q{('a', 'relative', '{}')}, qr/invalid path of file set "a": "relative"/ ],
	[ q{('a', '} . $node->data_dir . q{/base', '{}')}, qr/is inside the data directory/ ],
	[ qq{('a', '$repo->{dir}/packs', '{}')}, qr/is inside the repository/ ],
	[ q{('a', '} . dirname($node->data_dir) . q{', '{}')}, qr/contains the data directory.*HINT:  Make sets of the directories beside it/s ],
	[ q{('a', '/', '{}')}, qr/path "\/" of file set "a" contains the data directory/ ],
	[ qq{('a', '@{[ dirname($repo->{dir}) ]}', '{}')}, qr/contains the repository/ ],
	[ qq{('a', '$base/to repository', '{}')}, qr/is inside the repository/ ],
	[ q{('a', '/usr', '{/absolute}')}, qr/invalid pattern of file set "a"/ ],
	[ q{('a', '/usr', '{x,NULL}')}, qr/invalid pattern of file set "a"/ ],
	[ q{('a', '/usr', (SELECT array_agg('x' || n) FROM generate_series(1, 60) n))}, qr/too many patterns/ ])
{
	my ($rc, $out, $err) = $node->psql('postgres', "INSERT INTO backup_file_set (name, path, exclude) VALUES $bad->[0]");
	like($err, $bad->[1], "refused: $bad->[0]");
}
my ($rc, $out, $err) = $node->psql('postgres', q{INSERT INTO backup_file_set SELECT 's' || n, '/tmp/x' || n FROM generate_series(1, 17) n});
like($err, qr/too many file sets/, 'too many sets');
($rc, $out, $err) = $node->psql('postgres', 'SELECT backup_files()');
like($err, qr/no file set is enabled.*backup_file_set/s, 'files without a set');

# ---- with the database, at once after the change of the table ----

write_file("$sets/one", 'one');
write_file("$sets/sub/large", join('', map { pack 'N', int(rand(2**32)) } 1 .. 100_000));
write_file("$sets/sub/.tmpX/no", 'no');
write_file("$sets/log/no", 'no');
write_file("$sets/sub/deep/keep.log", 'no');
symlink '/etc/passwd', "$sets/sub/link" or die;
chmod 0640, "$sets/one";
chmod 0711, "$sets/sub";
system("touch -d '2020-01-02 03:04:05.678' '$sets/one' '$sets/sub/empty'") == 0 or die;
my $before = tree($sets);
my $id = sql(qq{INSERT INTO backup_file_set VALUES ('app', '$sets', '{log,**/.tmp*,**/*.log}') RETURNING 1}) && sql(q{SELECT backup_now('with files')});
my $info = decode_json(program_ok([ 'info', $id, '--json' ], 'info', $repo));
is($info->{file_sets}, 1, 'the set is in the backup that began after the change was committed');
is($info->{set_files}, 2, 'so many files');
cmp_ok($info->{set_bytes}, '==', 400_003, 'so many bytes');

program_ok([ 'restore', '--files-dir', "$base/r1" ], 'files alone are restored', $repo);
rmtree([ "$sets/log", "$sets/sub/.tmpX" ]);
unlink "$sets/sub/deep/keep.log";
system("touch -r '$base/r1/app' '$sets'; touch -r '$base/r1/app/sub' '$sets/sub'; touch -r '$base/r1/app/sub/deep' '$sets/sub/deep'");
is(tree("$base/r1/app"), tree($sets), 'modes, times, links and contents are as they were, excludes are not there');
program_fails([ 'restore', '--files-dir', "$base/r1" ], 1, qr/file ".*" is there already/, 'nothing is overwritten', $repo);

# ---- between backups ----

write_file("$sets/two", 'two');
my $f1 = sql('SELECT backup_files()');
is(scalar(list_files()), 1, 'a backup of files alone');
is(sql(q{SELECT count(*) FROM backup_list()}), 1, 'is none of the database');
my ($facts) = list_files();
is($facts->{id}, $f1, 'its id');
is($facts->{kind}, 'files', 'its kind');
is($facts->{parent}, $id, 'it builds upon the backup');
$node->poll_query_until('postgres', qq{SELECT count(*) = 1 FROM backup_history WHERE job = 'files' AND kind = 'files' AND backup_id = '$f1' AND state = 'done'}) or fail('history');
my $reads = 0;
do { sql('SELECT backup_files()'); ($facts) = reverse list_files(); } while ($facts->{bytes_read} > 0 && ++$reads < 60);
is($facts->{bytes_read}, 0, 'once files are older than a backup they are not read again');
is($facts->{set_files}, 3, 'but are in it');
program_ok([ 'restore', '--files', 'app/two', '--files-dir', "$base/r2" ], 'one file', $repo);
is(`cd $base/r2 && find . | sort`, ".\n./app\n./app/two\n", 'and nothing else');
program_ok([ 'restore', '--files', 'app/sub', '--files-map', "app=$base/r3" ], 'one directory, elsewhere', $repo);
is(tree("$base/r3/sub"), tree("$sets/sub"), 'as it was');
program_fails([ 'restore', '--files', 'nothing', '--files-dir', "$base/r4" ], 1, qr/has no files "nothing"/, 'no such set', $repo);
program_fails([ 'restore', '--files', '../x', '--files-dir', "$base/r4" ], 2, qr/invalid files/, 'a path that leads out', $repo);
program_fails([ 'restore', '--files', 'app' ], 2, qr/--files goes with --files-dir/, 'no directory', $repo);
program_fails([ 'restore', '--files-map', "other=$base/r4" ], 2, qr/no directory is given for file set "app"/, 'a set without a directory', $repo);
program_fails([ 'restore', '--files-dir', "$base/r4", '--target-name', 'x' ], 2, qr/files alone are restored to a time/, 'no instant', $repo);
program_fails([ 'restore', '--backup', $f1, '--pgdata', "$base/r4" ], 1, qr/is no base backup/, 'no database in it', $repo);
ok(!-e "$base/r4", 'nothing was made by these');
my $plan = program_ok([ 'restore', '--files-dir', "$base/r4", '--dry-run' ], 'a dry run', $repo);
like($plan, qr/Files: 4, .* would be restored from backup \Q$facts->{id}\E.*nothing was written/s, 'says what it would do');
ok(!-e "$base/r4", 'and does nothing');

# ---- --delta ----

write_file("$base/r1/app/one", 'changed');
write_file("$base/r1/app/stranger", 'stays');
unlink "$base/r1/app/sub/large";
my $said = program_ok([ 'restore', '--files-dir', "$base/r1", '--delta' ], 'delta', $repo);
is(read_file("$base/r1/app/one"), 'one', 'a file that differs is replaced');
is(read_file("$base/r1/app/stranger"), 'stays', 'what the set does not know stays');
is(read_file("$base/r1/app/sub/large"), read_file("$sets/sub/large"), 'what is missing comes');
like($said, qr/1 files were the same/, 'what is the same is left alone');
rmtree("$base/r1/app/sub");
make_path("$base/elsewhere");
symlink "$base/elsewhere", "$base/r1/app/sub" or die;
program_fails([ 'restore', '--files-dir', "$base/r1", '--delta' ], 1, qr/links are not followed/, 'a link on the way', $repo);
is(`ls $base/elsewhere`, '', 'is not followed');

# ---- references hold at each instant, under load ----

sql(q{CREATE TABLE reference (name text PRIMARY KEY, body text)});
my @instants;
my %bodies;
my $n = 0;
my (@live, @caught, @captured);
my $end = time + 12;
my $job;
my ($job_out, $job_err) = ('', '');
my $jobs = 0;
while (time < $end || $jobs < 4)
{
	# as the application does: the file, then the row; deleting is the other way round
	my $name = sprintf 'f%05d', ++$n;
	my $body = "body of $name " . ('x' x int(rand 3000));
	write_file("$sets/ref/" . ($n % 7) . "/$name.part", $body);
	rename "$sets/ref/" . ($n % 7) . "/$name.part", "$sets/ref/" . ($n % 7) . "/$name" or die;
	sql("INSERT INTO reference VALUES ('" . ($n % 7) . "/$name', '$body')");
	push @live, ($n % 7) . "/$name";
	# what was never there when files were copied cannot come back
	if (@captured > 8 && rand() < 0.5)
	{
		my $gone = splice @captured, int(rand @captured), 1;
		sql("DELETE FROM reference WHERE name = '$gone'");
		unlink "$sets/ref/$gone" or die;
	}
	push @instants, sql('SELECT clock_timestamp()') if rand() < 0.3;
	if ($job && !$job->pumpable)
	{
		IPC::Run::finish($job);
		is($?, 0, 'a backup under load') or diag($job_err);
		$job = undef;
		$jobs++;
		push @captured, @caught;
		@caught = ();
	}
	if (!$job)
	{
		$job_err = '';
		@caught = splice @live;
		my $call = $jobs % 2 ? 'backup_files()' : q{backup_now('load')};
		$job = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', "SELECT $call" ], '>', \$job_out, '2>', \$job_err);
	}
	else { eval { $job->pump_nb }; }
}
IPC::Run::finish($job) if $job;
my $last = sql('SELECT clock_timestamp()');
sql('SELECT backup_files()');
sql('INSERT INTO reference VALUES ($$end$$, NULL)');
wait_archived($node);
cmp_ok(scalar(@instants), '>', 5, 'instants');

sub check_instant
{
	my ($number, $from, @target) = @_;
	my $restored = PostgreSQL::Test::Cluster->new("instant$number");
	my $text = program_ok([ 'restore', '--pgdata', $restored->data_dir, '--files-dir', "$base/i$number", @target ], "instant $number", $from);
	like($text, qr/^Files: \d+, /m, 'it is said which files');
	$restored->append_conf('postgresql.conf', 'port = ' . $restored->port . "\narchive_mode = off\n");
	start_restored($restored);
	my $missing = 0;
	my $rows = 0;
	for my $row (split /\n/, $restored->safe_psql('postgres', q{SELECT name, body FROM reference WHERE body IS NOT NULL}))
	{
		my ($name, $body) = split /\|/, $row;
		$rows++;
		$missing++ if (read_file("$base/i$number/app/ref/$name") // '') ne $body;
	}
	cmp_ok($rows, '>', 0, "instant $number has references");
	is($missing, 0, "all $rows references of instant $number are satisfied") or diag($text);
	$restored->stop;
}
# the first backup of the load may not have ended before the earliest
my $first = sql(q{SELECT min(ended_at) FROM backup_history WHERE label = 'load' AND state = 'done'});
@instants = grep { sql("SELECT '$_'::timestamptz > '$first'::timestamptz") eq 't' } @instants;
my @chosen = ($instants[0], $instants[ @instants / 2 ], $instants[ rand @instants ], $instants[-1]);
check_instant($_, $repo, '--target-time', $chosen[$_], '--target-action', 'promote') for 0 .. $#chosen;
check_instant('end', $repo);
program_ok([ 'verify' ], 'verify', $repo);

# ---- from a mirror alone ----

program_ok([ 'mirror', '--to', "$base/mirror" ], 'mirror', $repo);
my $copy = { dir => "$base/mirror", key => $repo->{key} };
rename $repo->{dir}, "$repo->{dir}.away" or die;
check_instant('mirror', $copy);
rename "$repo->{dir}.away", $repo->{dir} or die;

# ---- in a dump, and in the preset of omSupply ----

like(`pg_dump -d '@{[ $node->connstr('postgres') ]}'`, qr/COPY public\.backup_file_set .*\napp\t\Q$sets\E\t\{log,/, 'a dump has the sets');
ok($node->psql('postgres', "SELECT backup_preset_omsupply('$sets')") != 0, 'the preset is for a database of omSupply');
is(sql(q{SELECT count(*) FROM backup_file_set}), 1, 'and else changes nothing');

# ---- a set is enabled while the scheduler reads the tables ----

# The scheduler reads pg_extension first: there it is held, so that a change is
# committed while it reads. It gives up after two seconds; then once more.
my $locker = $node->background_psql('postgres');
my ($log, $tries) = (0, 0);
do
{
	sql(q{UPDATE backup_file_set SET is_enabled = true});
	$id = sql('SELECT backup_files()');
	$node->poll_query_until('postgres', qq{SELECT EXISTS (SELECT FROM backup_history WHERE backup_id = '$id')
		AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'omsupply_backup scheduler')}) or die;
	$log = -s $node->logfile;
	$locker->query_safe('BEGIN; LOCK TABLE pg_extension IN ACCESS EXCLUSIVE MODE');
	sql(q{UPDATE backup_file_set SET is_enabled = false});
	$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE relation = 'pg_extension'::regclass AND NOT granted}) or die;
	sql(q{UPDATE backup_file_set SET is_enabled = true});
	$locker->query_safe('COMMIT');
	($rc, $out, $err) = $node->psql('postgres', 'SELECT backup_files()');
} while (slurp_file($node->logfile, $log) =~ /lock timeout/ && ++$tries < 20);
$locker->quit;
is($err, '', 'it is in the next backup');

# ---- by a schedule ----

sql(q{INSERT INTO backup_schedule (name, job, cron, is_enabled) VALUES ('files', 'files', '*/15 * * * *', true)});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM backup_schedule_state WHERE name = 'files'}), 'a schedule for files');
my $offset = sql(q{SELECT ceil(extract(epoch FROM next_run - clock_timestamp())) FROM backup_schedule_state WHERE name = 'files'});
sql("ALTER SYSTEM SET omsupply_backup.debug_clock_offset = $offset");
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM backup_history WHERE schedule = 'files' AND state = 'done'}), 'runs');

done_testing();
