# wal-get: fetching ahead gives the same bytes whatever happens to the spool
# or to the process that fills it, and says "absent" only when that is proven.
use strict;
use warnings;
use Cwd qw(realpath);
use File::Compare;
use File::Copy;
use FindBin;
use POSIX qw(mkfifo);
use lib $FindBin::RealBin;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('walget');
my $node = new_node('main', $repo, initdb => ['--wal-segsize=1'], conf => "wal_keep_size = '1GB'\n");
my $wal = $node->data_dir . '/pg_wal';
my $base = realpath(PostgreSQL::Test::Utils::tempdir('walget'));
my $spool = "$base/omsupply_backup.spool";

$node->safe_psql('postgres', 'CREATE TABLE t (n int, filler text)');
my $first = wait_archived($node);
$node->safe_psql('postgres', 'SELECT backup_now()');
sub fill
{
	my ($server, $rows) = @_;
	$server->safe_psql('postgres', "INSERT INTO t SELECT n, md5(random()::text) || repeat('x', 100) FROM generate_series(1, $rows) n");
	return wait_archived($server);
}
my $last = fill($node, 200_000);

# all archived segments from the first to the last
sub archived
{
	my ($from, $to) = @_;
	my %seen = map { /\/([0-9A-F]{24})-[0-9a-f]{32}$/ ? ($1 => $_) : () } glob "$repo->{dir}/wal/*/*/*";
	return grep { $_ ge $from && $_ le $to } sort keys %seen;
}
sub object { my ($file) = @_; return (glob "$repo->{dir}/wal/*/*/$file-*")[0] }
my @segments = archived($first, $last);
cmp_ok(scalar @segments, '>=', 24, 'there are segments enough');

# Fetch one; what went wrong as text, or ''.
sub fetch
{
	my ($file, $dest, @options) = @_;
	my ($status, $out, $err) = program($repo, 'wal-get', $file, $dest, @options);
	return "$file: status $status: $err" if $status ne '0';
	return "$file: standard error: $err" if $err ne '';
	return compare("$wal/$file", $dest) == 0 ? '' : "$file: other bytes";
}
sub get { my ($file) = @_; return fetch($file, "$base/got", '--spool', $base) }
sub get_all { return join "\n", grep { $_ ne '' } map { get($_) } @_ }

sub wait_for
{
	my ($what, $condition) = @_;
	for (1 .. 1800)
	{
		my $found = $condition->();
		return $found if $found;
		select undef, undef, undef, 0.1;
	}
	die "waited in vain for $what";
}
sub spooled { my ($file) = @_; return (grep { !/\.part$/ } glob "$spool/$file-*")[0] }
sub wait_spooled { my ($file) = @_; return wait_for("$file in the spool", sub { spooled($file) }) }

# the process that fetches ahead is in its spool
sub prefetcher
{
	my ($where) = @_;
	for my $link (glob '/proc/[0-9]*/cwd')
	{
		my $to = readlink $link;
		return $1 if defined $to && $to eq $where && $link =~ /(\d+)/;
	}
	return 0;
}
sub end_prefetcher
{
	my $pid = prefetcher($spool);
	kill 'TERM', $pid if $pid;
	wait_for('the end of the prefetcher', sub { !prefetcher($spool) && !-e $spool });
	return;
}

# ---- in order ----

is(get($segments[0]), '', 'the first segment');
my $inode = (stat wait_spooled($segments[1]))[1];
ok(prefetcher($spool), 'a process fetches ahead');
is(get($segments[1]), '', 'the second segment');
is((stat "$base/got")[1], $inode, 'is the file from the spool');
is(get_all(@segments[ 2 .. $#segments ]), '', 'all in order');
wait_for('an empty spool', sub { !-e $spool });
ok(1, 'the spool is removed when all was taken');
wait_for('the end of the prefetcher', sub { !prefetcher($spool) });
ok(1, 'and the process has ended');

# ---- in any order ----

is(get_all(reverse @segments), '', 'all backwards');
is(get_all(map { $segments[ ($_ * 7) % @segments ] } 0 .. 30), '', 'some here and there');
is(get_all(map { ($_, $_) } @segments[ 0 .. 3 ]), '', 'the same twice');
is(get($segments[0]), '', 'one at the beginning again');
wait_spooled($segments[5]);
is(get($segments[4]), '', 'one further on');
wait_for('old files to go', sub { !grep { spooled($_) } @segments[ 0 .. 3 ] });
ok(1, 'what is behind is removed');
end_prefetcher();
ok(!-e $spool, 'told to end, the process removes the spool');

# ---- when the process dies, or hangs ----

is(get($segments[0]), '', 'once more from the beginning');
wait_spooled($segments[2]);
kill 'KILL', prefetcher($spool);
wait_for('its death', sub { !prefetcher($spool) });
is(get_all(@segments), '', 'all in order after it was killed');
wait_for('an empty spool', sub { !-e $spool });
ok(1, 'and nothing is left');

is(get($segments[0]), '', 'from the beginning');
wait_spooled($segments[3]);
my $pid = prefetcher($spool);
kill 'STOP', $pid;
my $name = wait_spooled($segments[1]);
unlink $name;
my ($part, $location) = $name =~ /^(.*?-[0-9a-f]{32})\.[0-9a-f]{32}\.([0-9a-f]{16})\./;
append_to_file("$part.$location.part", 'not all of it');
is(get($segments[1]), '', 'a segment that the process holds and does not finish');
kill 'CONT', $pid;
kill 'KILL', $pid;
wait_for('its death', sub { !prefetcher($spool) });
unlink spooled($segments[2]);
$part =~ s/$segments[1]-.*/basename_of(object($segments[2]))/e;
append_to_file("$part.$location.part", 'not all of it');
is(get($segments[2]), '', 'one that a dead process has begun');
end_prefetcher();
sub basename_of { my ($path) = @_; return $path =~ s/.*\///r }

# ---- bad files in the spool ----

sub with_spooled
{
	my ($what, $change) = @_;
	is(get($segments[0]), '', "$what: the segment before");
	my $path = wait_spooled($segments[1]);
	wait_spooled($segments[2]);
	$change->($path);
	is(get($segments[1]), '', "$what: is not taken");
	is(get_all(@segments[ 2 .. 5 ]), '', "$what: and then");
	end_prefetcher();
	return;
}
with_spooled('a changed byte', sub {
	open my $f, '+<:raw', $_[0] or die $!;
	seek $f, 100000, 0;
	print $f 'x';
	close $f; });
with_spooled('a file cut short', sub { truncate $_[0], 500000 or die $! });
with_spooled('a copy, with its times', sub {
	system_or_bail('cp', '-p', $_[0], "$base/copy");
	unlink $_[0];
	system_or_bail('cp', '-p', "$base/copy", $_[0]); });
with_spooled('a file of before a restart of the machine', sub { my $to = $_[0] =~ s/(-[0-9a-f]{32}\.)[0-9a-f]{8}/${1}00000000/r; rename $_[0], $to or die $! });
with_spooled('the file of another repository', sub {
	my $to = $_[0] =~ s/-[0-9a-f]{32}\./-00000000000000000000000000000000./r;
	copy("$wal/$segments[3]", "$base/copy") or die $!;
	unlink $_[0];
	rename "$base/copy", $to or die $!; });
# the process in the background may put a file there while it is removed
with_spooled('a spool that vanishes', sub { wait_for('no spool', sub { system('rm', '-rf', $spool) == 0 && !-e $spool }) });

mkdir $spool, 0755 or die $!;
chmod 0755, $spool;
is(get_all(@segments[ 0 .. 2 ]), '', 'a spool that others can read is not used');
rmdir $spool or die $!;
mkdir "$base/elsewhere", 0700 or die $!;
symlink "$base/elsewhere", $spool or die $!;
is(get_all(@segments[ 0 .. 2 ]), '', 'nor one that is a symbolic link');
unlink $spool;

# ---- where the spool is ----

mkdir "$base/pg_wal", 0700 or die $!;
is(fetch($segments[0], "$base/pg_wal/RECOVERYXLOG", '--no-prefetch'), '', 'without fetching ahead');
is(fetch($segments[0], "$base/pg_wal/other"), '', 'to a name that is not the server\'s');
ok(!-e "$base/pg_wal/omsupply_backup.spool", 'no spool is made');
is(fetch($segments[0], "$base/pg_wal/RECOVERYXLOG"), '', 'to the name that a server uses');
wait_for('a spool', sub { -e "$base/pg_wal/omsupply_backup.spool" && prefetcher("$base/pg_wal/omsupply_backup.spool") });
ok(1, 'a spool is beside it');
kill 'TERM', prefetcher("$base/pg_wal/omsupply_backup.spool");
wait_for('its end', sub { !-e "$base/pg_wal/omsupply_backup.spool" });

if (my $small = $ENV{OMB_SMALL_FS})
{
	$small = realpath($small);
	is(fetch($segments[0], "$base/got", '--spool', $small), '', 'a spool on another file system');
	wait_for('a file there', sub { glob "$small/omsupply_backup.spool/$segments[1]-*" });
	is(fetch($segments[1], "$base/got", '--spool', $small), '', 'is copied from');
	append_to_file("$small/filler", 'x' x 100000) while `df --output=avail -B1 $small` =~ /(\d+)\s*$/ && $1 > 150_000;
	is(join('', map { fetch($_, "$base/got", '--spool', $small) } @segments[ 2 .. $#segments ]), '', 'a full spool changes nothing');
	wait_for('its end', sub { !-e "$small/omsupply_backup.spool" });
	unlink "$small/filler";
}
else
{
	note('a small file system needs root: a full spool was not tested');
}

# ---- absent, a gap, damage, no repository ----

my ($status, $out, $err) = program($repo, 'wal-get', '0000000100000FFF000000FF', "$base/none", '--spool', $base);
is($status, 1, 'an absent segment: exit status 1');
is("$out$err", '', 'and nothing is said');
ok(!-e "$base/none" && !-e $spool, 'and nothing is made');

sub doubtful
{
	my ($what, $file, $pattern) = @_;
	my ($code, $output, $message) = program($repo, 'wal-get', $file, "$base/none", '--spool', $base);
	is($code, 200, "$what: exit status 200");
	like($message, $pattern, "$what: message");
	ok(!-e "$base/none" && !-e "$base/none.tmp", "$what: nothing is made");
	return;
}
my $victim = object($segments[3]);
rename $victim, "$base/victim" or die $!;
is(get_all(@segments[ 0 .. 2 ]), '', 'segments before a gap');
doubtful('a gap', $segments[3], qr/is missing although later ones are in the repository/);
is(get_all(@segments[ 4 .. 6 ]), '', 'segments behind it');
copy("$base/victim", $victim) or die $!;
open my $f, '+<:raw', $victim or die $!;
seek $f, 2000, 0;
print $f 'damage';
close $f;
is(get_all(@segments[ 0 .. 2 ]), '', 'segments before a damaged one');
doubtful('a damaged object', $segments[3], qr/seal of a blob is broken/);
is(get_all(@segments[ 4 .. 6 ]), '', 'segments behind it');
end_prefetcher();

# what fails when something else is asked for already ends nothing
unlink $victim;
mkfifo($victim, 0600) or die $!;
is(fetch($segments[2], "$base/got", '--spool', $base, '--jobs', 1), '', 'a segment before one that cannot be opened yet');
wait_for('the attempt', sub { glob "$spool/$segments[3]-*.part" });
is(get($segments[10]), '', 'another one');
wait_for('the request to be seen', sub { !glob "$spool/$segments[3]-*.part" });
open my $fifo, '>', $victim or die $!;
close $fifo;
wait_spooled($segments[11]);
ok(1, 'what follows it is fetched, although the attempt fails then');
end_prefetcher();

rename "$base/victim", $victim or die $!;
is(get($segments[0]), '', 'segments in the spool');
wait_spooled($segments[1]);
rename $repo->{dir}, "$repo->{dir}.away" or die $!;
doubtful('no repository, although the spool has the file', $segments[1], qr/repository ".*" does not exist/);
rename "$repo->{dir}.away", $repo->{dir} or die $!;
is(get($segments[1]), '', 'and when it is back');
end_prefetcher();

# ---- a server recovers, and switches timelines ----

my $before = fingerprint($node);
my $end = wait_archived($node);
$node->stop('immediate');

# Restore, and look into the spool before each fetch.
sub recover
{
	my ($to, @args) = @_;
	my $log = "$base/$to.log";
	my $restored = restored_node($to, $repo, @args);
	my $conf = slurp_file($restored->data_dir . '/postgresql.auto.conf');
	my ($command) = $conf =~ /^restore_command = '(.*)'$/m;
	$restored->append_conf('postgresql.auto.conf', "restore_command = 'ls pg_wal/omsupply_backup.spool >>$log 2>&1; $command'\n");
	start_restored($restored);
	my $seen = slurp_file($log);
	my $n = () = $seen =~ /^[0-9A-F]{24}-[0-9a-f]{32}\./mg;
	cmp_ok($n, '>=', 10, "$to: the server's segments were fetched ahead");
	my $there = $restored->data_dir . '/pg_wal/omsupply_backup.spool';
	wait_for('the end of the spool', sub { !-e $there && !prefetcher(realpath($restored->data_dir) . '/pg_wal/omsupply_backup.spool') });
	ok(1, "$to: the spool is removed");
	return $restored;
}
my $two = recover('two', '--take-over');
is(fingerprint($two), $before, 'two: has all rows');
my $second = fill($two, 100_000);
$wal = $two->data_dir . '/pg_wal';
my @new = archived('000000020000000000000000', $second);
cmp_ok(scalar @new, '>=', 10, 'timeline 2 has segments');
my $wal_one = $node->data_dir . '/pg_wal';
my $wrong = '';
for my $file ((archived($first, $end))[ -12 .. -1 ], @new)
{
	$wal = $file ge '00000002' ? $two->data_dir . '/pg_wal' : $wal_one;
	$wrong .= get($file);
}
is($wrong, '', 'across a switch of timelines');
wait_for('an empty spool', sub { !-e $spool });
my $now = fingerprint($two);
$two->stop('immediate');

my $three = recover('three');
is(fingerprint($three), $now, 'three: has all rows of both timelines');
prove_sound($three, 'three');

# a target in the middle: what was fetched in vain goes too
my ($middle) = $segments[12] =~ /(.{8})$/;
my $four = recover('four', '--target-timeline', '1', '--target-lsn', sprintf('%X/%X', hex(substr $segments[12], 8, 8), hex($middle) * 1048576 + 0x8000));
cmp_ok($four->safe_psql('postgres', 'SELECT count(*) FROM t'), '<', 200_000, 'four: stopped in the middle');
$four->stop('immediate');

done_testing();
