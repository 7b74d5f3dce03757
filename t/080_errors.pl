# Wrong keys, damaged objects, bad arguments: each its own message, never a
# crash, never wrong bytes.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use File::Copy;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('errors');
my $node = new_node('main', $repo);
$node->safe_psql('postgres', q{CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 20000) n});
my $backup = $node->safe_psql('postgres', 'SELECT backup_now()');
wait_archived($node);
my $base = PostgreSQL::Test::Utils::tempdir('errors');

# ---- keys ----
my $other = new_repository('other');
program_fails([ 'list', '--key-file', $other->{key} ], 1, qr/key file ".*" belongs to another repository/, 'the key of another repository', $repo);
program_fails([ 'list', '--key-file', "$base/none" ], 1, qr/could not open key file "$base\/none": No such file.*hint:.*recovery code/s,
	'a key file that is missing', $repo);
copy($repo->{key}, "$base/open") or die;
chmod 0644, "$base/open";
program_fails([ 'list', '--key-file', "$base/open" ], 1, qr/can be read by other users.*chmod 600/s, 'a key file that others can read', $repo);
append_to_file("$base/nonsense", "hello\n");
chmod 0600, "$base/nonsense";
program_fails([ 'list', '--key-file', "$base/nonsense" ], 1, qr/is not a key file/, 'a file that is no key file', $repo);
my $text = slurp_file($repo->{key});
$text =~ s/key=../key=00/;
append_to_file("$base/wrong", $text);
chmod 0600, "$base/wrong";
program_fails([ 'list', '--key-file', "$base/wrong" ], 1, qr/the key file does not open repository/, 'a wrong key', $repo);
{
	local $ENV{OMSUPPLY_BACKUP_KEY_FILE};
	program_fails([ 'list', '--repository', $repo->{dir} ], 2, qr/no key for repository/, 'no key at all');
	append_to_file("$base/code", "0000-0000-0000-0000-0000-0000-0000\n");
	program_fails([ 'list', '--repository', $repo->{dir}, '--recovery-code-file', "$base/code" ], 2, qr/typing error/, 'a mistyped recovery code');
}
# a recovery code opens what its key file opens
my $coded = { dir => "$base/coded", key => "$base/coded.key" };
my ($status, $out, $err) = program(undef, 'init', '--repository', $coded->{dir}, '--key-file', $coded->{key});
my ($code) = $out =~ /Recovery code: +(\S+)/;
unlink $coded->{key};
append_to_file("$base/good.code", lc $code);
program_ok([ 'list', '--repository', $coded->{dir}, '--recovery-code-file', "$base/good.code" ], 'a recovery code opens the repository');

program_fails([ 'restore', '--repository', $coded->{dir}, '--recovery-code-file', "$base/good.code", '--pgdata', "$base/never" ],
	2, qr/restore needs a key file.*omsupply_backup key/s, 'restore without a key file');
program_ok([ 'key', '--repository', $coded->{dir}, '--recovery-code-file', "$base/good.code", "$base/second.key" ], 'and makes a new key file');
program_ok([ 'list', '--repository', $coded->{dir}, '--key-file', "$base/second.key" ], 'which opens it too');
program_fails([ 'key', '--repository', $coded->{dir}, '--key-file', "$base/second.key", "$base/second.key" ], 1, qr/exists already/, 'a key file is never replaced');

# ---- init ----
program_fails([ 'init', '--repository', $repo->{dir}, '--key-file', "$base/k1" ], 1, qr/repository ".*" exists already/, 'init of a repository');
append_to_file("$base/dir.file", '');
mkdir "$base/full";
append_to_file("$base/full/file", 'x');
program_fails([ 'init', '--repository', "$base/full", '--key-file', "$base/k2" ], 1, qr/is not empty/, 'init in a directory with files');
program_fails([ 'init', '--repository', "$base/new", '--key-file', $repo->{key} ], 1, qr/key file ".*" exists already/, 'init with a key file that exists');
program_fails([ 'init', '--repository', "$base/new2" ], 2, qr/--key-file is missing/, 'init without a key file');
program_ok([ 'init', '--repository', "$base/open.repo", '--no-encryption' ], 'init without encryption');
program_ok([ 'list', '--repository', "$base/open.repo" ], 'which needs no key');

# ---- usage ----
program_fails(['nonsense'], 2, qr/"nonsense" is not a command/, 'an unknown command');
program_fails([ 'list', '--nonsense' ], 2, qr/unrecognized option/, 'an unknown option');
program_fails([ 'info' ], 2, qr/arguments are missing/, 'a missing argument', $repo);
program_fails([ 'info', '20200101T000000Z-0000' ], 1, qr/backup "20200101T000000Z-0000" is not in repository/, 'an unknown backup', $repo);
program_fails([ 'list', '--repository', "$base/nowhere" ], 1, qr/repository "$base\/nowhere" does not exist.*mounted/s, 'a missing repository', $repo);
program_ok([ $_, '--help' ], "$_ --help") for qw(init list info verify restore wal-get key);
program_ok(['--help'], '--help');

# ---- wal-get ----
sub wal_get { my @r = program($repo, 'wal-get', @_); return $r[0] }
my ($segment) = map { m{/([0-9A-F]{24})-[^/]*$} ? $1 : () } sort glob "$repo->{dir}/wal/*/*/*";
is(wal_get($segment, "$base/segment"), 0, 'wal-get fetches a segment');
is(-s "$base/segment", 16777216, 'all of it');
is(wal_get('0000000100000FFF00000001', "$base/x"), 1, 'wal-get: proven absent is 1');
is(wal_get('00000007.history', "$base/x"), 1, 'wal-get: a history that is absent is 1');
is(wal_get('nonsense', "$base/x"), 200, 'wal-get: a name that is none is above 125');
is(wal_get($segment, "$base/no/such/place"), 200, 'wal-get: a place that is none is above 125');
is((program({ dir => "$base/nowhere", key => $repo->{key} }, 'wal-get', $segment, "$base/x"))[0], 200, 'wal-get: a missing repository is above 125');
is((program({ dir => $repo->{dir}, key => "$base/wrong" }, 'wal-get', $segment, "$base/x"))[0], 200, 'wal-get: a wrong key is above 125');
ok(!-e "$base/x", 'and nothing is left');

# ---- restore ----
mkdir "$base/used";
append_to_file("$base/used/file", 'x');
program_fails([ 'restore', '--pgdata', "$base/used" ], 1, qr/directory "$base\/used" is not empty/, 'restore into a directory with files', $repo);
program_fails([ 'restore', '--pgdata', $node->data_dir ], 1, qr/a server is running in/, 'restore over a running server', $repo);
mkdir "$base/readonly", 0500;
program_fails([ 'restore', '--pgdata', "$base/readonly/data" ], 1, qr/could not write to directory "$base\/readonly"/, 'restore where nothing may be written', $repo);
program_fails(['restore'], 2, qr/--pgdata is missing/, 'restore without a place', $repo);
if ($ENV{OMB_SMALL_FS})
{
	append_to_file("$ENV{OMB_SMALL_FS}/filler", 'x' x 10_000_000);
	program_fails([ 'restore', '--pgdata', "$ENV{OMB_SMALL_FS}/data" ], 1, qr/not enough space for ".*": .* are needed, .* are free/, 'not enough space', $repo);
	unlink "$ENV{OMB_SMALL_FS}/filler";
}

# ---- a library that cannot be loaded ----
{
	mkdir "$base/lib";
	append_to_file("$base/lib/libcurl.so.4", "no library\n");
	append_to_file("$base/cloud", "access_key_id=a\nsecret_access_key=b\n");
	chmod 0600, "$base/cloud";
	local $ENV{LD_LIBRARY_PATH} = "$base/lib";
	local $ENV{OMSUPPLY_BACKUP_CREDENTIALS} = "$base/cloud";
	program_fails(['list'], 1, qr/could not load library "libcurl\.so\.4": .*file too short.*hint: Install libcurl/s, 'libcurl is none',
		{ dir => 's3://bucket?style=path&endpoint=http%3A%2F%2F127.0.0.1%3A1', key => $repo->{key} });
	program_ok(['list'], 'what it is not needed for works', $repo);
}

# ---- damage: a copy of the repository, one thing wrong at a time ----
my $number = 0;
sub damaged
{
	my ($name, $do, $command, $pattern) = @_;
	my $copy = { dir => "$base/copy" . ++$number, key => $repo->{key} };
	PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $repo->{dir}, $copy->{dir});
	$do->($copy->{dir});
	my ($status, $out, $err) = program($copy, @$command);
	is($status, 1, "$name: @{$command}[0] fails") or diag("$out$err");
	like("$out$err", $pattern, "$name: and says what");
	PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', $copy->{dir});
	return;
}
sub flip
{
	my ($file, $at) = @_;
	my $size = -s $file;
	open my $f, '+<:raw', $file or die "$file: $!";
	seek $f, ($at < 0 ? $size + $at : $at), 0;
	read $f, my $byte, 1;
	seek $f, -1, 1;
	print $f chr(ord($byte) ^ 1);
	close $f;
	return;
}
sub largest { my ($glob) = @_; return (sort { -s $b <=> -s $a } glob $glob)[0] }
my @restore = ('restore', '--pgdata', "$base/never", '--target-immediate');

damaged('format of the repository', sub { my $t = slurp_file("$_[0]/repository"); $t =~ s/format=1/format=9/; unlink "$_[0]/repository"; append_to_file("$_[0]/repository", $t) },
	['list'], qr/format version "9", which is not supported/);
damaged('a repository object of nonsense', sub { unlink "$_[0]/repository"; append_to_file("$_[0]/repository", 'x' x 100) }, ['list'], qr/object "repository" is damaged/);
damaged('key slots', sub { flip($_, -10) for glob "$_[0]/keys/*" }, ['list'], qr/key slot is damaged/);
damaged('no key slots', sub { unlink glob "$_[0]/keys/*" }, ['list'], qr/no key slot/);
damaged('a byte of a pack', sub { flip(largest("$_[0]/packs/*/*"), 5000) }, ['verify'], qr/pack "[0-9a-f]{64}": its bytes do not have the SHA-256/);
damaged('a byte of a pack', sub { flip(largest("$_[0]/packs/*/*"), 5000) }, \@restore, qr/seal of a blob is broken/);
damaged('a pack cut short', sub { truncate largest("$_[0]/packs/*/*"), 4000 }, ['verify'], qr/PROBLEM .*pack "[0-9a-f]{64}"/);
PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', "$base/never", "$base/never.config");
damaged('a pack cut short', sub { truncate largest("$_[0]/packs/*/*"), 4000 }, \@restore, qr/object ends at byte 4000/);
PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', "$base/never", "$base/never.config");
damaged('a missing pack', sub { unlink largest("$_[0]/packs/*/*") }, ['verify'], qr/object "packs\/.*" is missing/);
damaged('two packs swapped', sub {
	my @packs = sort { -s $b <=> -s $a } glob "$_[0]/packs/*/*";
	rename $packs[0], "$_[0]/x"; rename $packs[1], $packs[0]; rename "$_[0]/x", $packs[1]; },
	['verify'], qr/do not have the SHA-256 of its name/);
damaged('a byte of a manifest', sub { flip("$_[0]/backups/$backup", 3000) }, ['verify'], qr/PROBLEM .*manifest of backup "$backup"|PROBLEM .*backups\/$backup/);
damaged('a manifest cut short', sub { truncate "$_[0]/backups/$backup", 5000 }, ['list'], qr/backups\/$backup|manifest of backup/);
damaged('a manifest under another name', sub { rename "$_[0]/backups/$backup", "$_[0]/backups/20200101T000000Z-0000" }, ['list'], qr/it is the manifest of backup "$backup"/);
damaged('a byte of a WAL file', sub { flip(largest("$_[0]/wal/*/*/*"), 300) }, ['verify'], qr/WAL file "[0-9A-F]{24}"/);
damaged('two WAL files swapped', sub {
	my @wal = grep { /[0-9A-F]{24}-/ } sort glob "$_[0]/wal/*/*/*";
	rename $wal[0], "$_[0]/x"; rename $wal[1], $wal[0]; rename "$_[0]/x", $wal[1]; }, ['verify'], qr/the object of WAL file "[0-9A-F]{24}" holds/);
damaged('WAL of the backup missing', sub {
	my $info = (program({ %$repo, dir => $_[0] }, 'info', $backup, '--json'))[1];
	my ($lsn) = $info =~ /"start_lsn": "0\/([0-9A-F]+)"/;
	my $name = sprintf '0000000100000000%08X', hex($lsn) >> 24;
	unlink glob "$_[0]/wal/*/*/$name-*"; }, ['verify'], qr/backup "$backup" cannot be restored/);
damaged('a stranger among the packs', sub { append_to_file((glob "$_[0]/packs/*")[0] . '/stranger', 'x') }, ['verify'], qr/does not belong there/);
damaged('an object of another repository', sub { copy((glob "$other->{dir}/keys/*")[0], "$_[0]/repository.x"); copy("$other->{dir}/repository", "$_[0]/repository") },
	['list'], qr/belongs to another repository/);

# the original is whole all the time
program_ok([ 'verify', $backup ], 'verify of one backup', $repo);
like(program_ok([ 'verify', '--json' ], 'verify --json', $repo), qr/"problems": 0/, 'counts no problem');
like(program_ok([ 'list', '--json' ], 'list --json', $repo), qr/"id": "$backup"/, 'list --json');

# sha256sum alone audits packs
for my $pack (glob "$repo->{dir}/packs/*/*")
{
	my ($sum) = `sha256sum $pack` =~ /^(\S+)/;
	is($pack =~ m{/$sum$}, 1, 'a pack has the name of its SHA-256');
}

done_testing();
