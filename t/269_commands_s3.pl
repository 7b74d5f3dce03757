# Whatever the program does with a repository it does with one in a bucket: every
# command, on an empty machine, with nothing but URL, credentials and the
# recovery code.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Cloud;
use File::Path qw(rmtree);
use JSON::PP;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

ok($ENV{OMB_S3_PORT}, 'scripts/prove.sh has started an S3 server') or BAIL_OUT('no S3 server');
my $base = PostgreSQL::Test::Utils::tempdir_short();
my $keys = write_private("$base/keys", "access_key_id=$ENV{OMB_S3_ACCESS_KEY_ID}", "secret_access_key=$ENV{OMB_S3_SECRET_ACCESS_KEY}");
%Cloud::server = (OMB_S3_ENDPOINT => "http://127.0.0.1:$ENV{OMB_S3_PORT}", OMB_S3_BUCKET => 'commands', OMB_S3_CREDENTIALS => $keys);
suite_ok({}, ['create'], 'a bucket');
my $url = 's3://commands/the%20repository?style=path&endpoint=' . encode("http://127.0.0.1:$ENV{OMB_S3_PORT}");

# ---- what is lost ----

my $repo = { dir => "$base/repository", key => "$base/key" };
my ($status, $out, $err) = program(undef, 'init', '--repository', $repo->{dir}, '--key-file', $repo->{key});
my ($code) = $out =~ /^Recovery code:\s+(\S+)$/m;
ok($code, 'a repository') or diag($err);
write_private("$base/code", $code);
my $node = new_node('main', $repo, conf => "autovacuum = off\nomsupply_backup.jobs = 1\n");
sub sql { my ($query, $database) = @_; return $node->safe_psql($database // 'postgres', $query) }
mkdir "$base/app" or die;
append_to_file("$base/app/$_", "file $_\n" x 1000) for qw(one two);
sql("INSERT INTO backup_file_set (name, path) VALUES ('app', '$base/app')");
sql("CREATE DATABASE $_") for 'wanted', 'other';
sql(q{CREATE TABLE t AS SELECT n, md5(n::text) AS a FROM generate_series(1, 20000) n}, $_) for 'wanted', 'other';
sql(q{SELECT backup_now('first')});
sql(q{INSERT INTO t VALUES (-1, 'before')}, 'wanted');
sql(q{SELECT backup_mark('the mark')});
my $wanted = fingerprint($node, 'wanted');
sql(q{DELETE FROM t WHERE n > 0}, 'wanted');
my $wal = wait_archived($node);
for (1 .. 600)
{
	(undef, $out) = program($repo, 'list', '--marks');
	last if $out =~ /the mark/;
	usleep(200_000);
}
my $listed = program_ok([ 'list', '--json' ], 'list of the repository', $repo);
my $marks = program_ok([ 'list', '--marks', '--json' ], 'marks of the repository', $repo);
program_ok([ 'mirror', '--to', $url, '--credentials-to', $keys ], 'it is mirrored', $repo);
program_ok([ 'wal-get', $wal, "$base/$wal" ], 'a segment of the repository', $repo);
my $segment = slurp_file("$base/$wal");
$node->stop('immediate');
rmtree([ $node->data_dir, $repo->{dir}, "$base/app" ]);
unlink $repo->{key}, "$base/$wal";

# ---- each command ----

# On one machine the credentials are in a file that is named; on another one in a
# file that the environment names.
my $key = "$base/new key";
program_ok([ 'key', '--repository', $url, '--credentials', $keys, '--recovery-code-file', "$base/code", $key ], 'a new key file is made');
my $far = { dir => $url, key => $key };
local $ENV{OMSUPPLY_BACKUP_CREDENTIALS} = $keys;
is(program_ok([ 'list', '--json' ], 'list', $far), $listed, 'it is what the repository had');
is(program_ok([ 'list', '--marks', '--json' ], 'list --marks', $far), $marks, 'so are the marks');
like(program_ok([ 'list', '--marks' ], 'list --marks, as a table', $far), qr/ the mark$/m, 'which are shown');
my ($id) = map { $_->{id} } @{ decode_json($listed) };
like(program_ok([ 'info', $id ], 'info', $far), qr/first/, 'a backup is shown');
my $verified = decode_json(program_ok([ 'verify', '--json' ], 'verify', $far));
is("$verified->{backups} of $verified->{backups_total}, " . @{ $verified->{damage} }, '1 of 1, 0', 'it reads all of it, and finds nothing');
program_ok([ 'verify', $_ ], "verify $_", $far) for $id, '--fast';
program_ok([ 'verify', '--recovery-code-file', "$base/code" ], 'verify with the recovery code', { dir => $url, key => "$base/none" });

program_ok([ 'wal-get', $wal, "$base/$wal" ], 'wal-get', $far);
is(slurp_file("$base/$wal"), $segment, 'it is the segment');
($status) = program($far, 'wal-get', '0000000100000FFF000000FF', "$base/none");
is($status, 1, 'wal-get of what is not there says so');
ok(!-e "$base/none", 'writes nothing');
program_ok([ 'wal-get', $wal, "$base/$wal.again", '--spool', "$base" ], 'wal-get, fetching ahead', $far);
is(slurp_file("$base/$wal.again"), $segment, 'gives the same');

program_ok([ 'restore', '--files-dir', "$base/files" ], 'restore of files alone', $far);
is(slurp_file("$base/files/app/two"), "file two\n" x 1000, 'they are there');
program_ok([ 'restore', '--files', 'app/one', '--files-map', "app=$base/one" ], 'restore --files of one', $far);
is(join(' ', map { s{.*/}{}r } glob "$base/one/*"), 'one', 'nothing else is');

program_ok([ 'extract', '--database', 'wanted', '--target-mark', 'the mark', '--into', "$base/dump", '--scratch', $base ], 'extract to a file', $far);
my $restored = restored_node('restored', $far, '--database', 'wanted', '--target-mark', 'the mark', '--target-action', 'promote');
start_restored($restored);
is(fingerprint($restored, 'wanted'), $wanted, 'restore --database to a mark: the database is as it was at the mark');
$restored->safe_psql('postgres', 'CREATE DATABASE loaded');
$restored->command_ok([ 'pg_restore', '-h', $restored->host, '-p', $restored->port, '-d', 'loaded', "$base/dump" ], 'the dump is loaded');
is(fingerprint($restored, 'loaded'), $wanted, 'so is what was extracted');
my $where = 'host=' . $restored->host . ' port=' . $restored->port;
$restored->safe_psql('postgres', 'CREATE DATABASE poured');
program_ok([ 'extract', '--database', 'wanted', '--table', 'public.t', '--target-mark', 'the mark', '--into', "$where dbname=poured", '--scratch', $base ],
	'extract of a table into a server', $far);
is(fingerprint($restored, 'poured'), $wanted, 'which has it then');
$restored->stop;

# ---- what is wrong is said in words ----

my $wrong = write_private("$base/wrong", 'access_key_id=AKIDNOBODY', 'secret_access_key=none-of-yours');
for my $case (
	[ ['list'] ], [ [ 'verify' ] ], [ [ 'list', '--marks' ] ], [ [ 'restore', '--pgdata', "$base/x" ] ], [ [ 'restore', '--files-dir', "$base/x" ] ],
	[ [ 'extract', '--database', 'wanted', '--into', "$base/x", '--scratch', $base ] ], [ [ 'wal-get', $wal, "$base/x" ] ])
{
	my @command = @{ $case->[0] };
	my ($s, $o, $e) = program($far, @command, '--credentials', $wrong);
	cmp_ok($s, '>', 0, "$command[0] with keys that are not known: it fails");
	isnt($s, 1, 'with a status that does not end recovery') if $command[0] eq 'wal-get';
	like($e, qr/403 (InvalidAccessKeyId|AccessDenied).*hint: /is, 'it says why, and what to do');
	unlike("$o$e", qr/none-of-yours/, 'and no secret');
	ok(!-e "$base/x", 'nothing was written');
}
done_testing();
