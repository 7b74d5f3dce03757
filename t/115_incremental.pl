# Incremental backups: each restores to exactly what the data directory was,
# whatever happened to its files since the one before, and stores only what
# changed.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use JSON::PP;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();

my $repo = new_repository('incremental');
my $node = new_node('main', $repo, conf => "autovacuum = off\n$Omb::no_scheduler");
my $data = $node->data_dir;
my $round = 0;

sub info
{
	my ($id) = @_;
	return decode_json(program_ok([ 'info', '--json', $id ], "info of $id", $repo));
}

# Do both directories have the same files? Returns what differs.
sub differences
{
	my ($one, $other) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'diff', '-r', '--no-dereference', '-q', '-x', 'pg_control', '-x', 'pg_internal.init', '-x', 'pgsql_tmp',
		"$one/base", "$other/base" ], '>', \$out, '2>', \$err);
	my ($out2) = ('');
	IPC::Run::run([ 'diff', '-r', '-q', '-x', 'pg_control', '-x', 'pg_internal.init', "$one/global", "$other/global" ],
		'>', \$out2, '2>', \$err);
	my ($out3) = ('');
	IPC::Run::run([ 'diff', '-r', '-q', "$one/pg_xact", "$other/pg_xact" ], '>', \$out3, '2>', \$err);
	return "$out$out2$out3$err";
}

# Back up while nothing else happens, restore, compare byte for byte.
sub check_backup
{
	my ($name, $kind, $wanted, @map) = @_;
	$round++;
	$node->safe_psql('postgres', 'CHECKPOINT');
	my $id = $node->safe_psql('postgres', "SELECT backup_now('round $round', '$kind')");
	my $facts = info($id);
	is($facts->{kind}, $wanted, "$name: kind of the backup");
	my $restored = PostgreSQL::Test::Utils::tempdir("restored$round") . '/data';
	program_ok([ 'restore', '--pgdata', $restored, '--backup', $id, '--backup-manifest', '--target-immediate', @map ],
		"$name: restore", $repo);
	command_ok([ 'pg_verifybackup', '-n', $restored ], "$name: pg_verifybackup agrees");
	is(differences($data, $restored), '', "$name: the restored files are the same byte for byte");
	return $facts;
}

$node->safe_psql('postgres', q{
CREATE TABLE big (n int primary key, filler text);
INSERT INTO big SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 60000) n;
CREATE TABLE small (n int);
INSERT INTO small SELECT generate_series(1, 1000);
CREATE TABLE shrinks AS SELECT * FROM big;
CREATE TABLE moves AS SELECT * FROM big WHERE n < 10000;
});
my $full = check_backup('the first', 'auto', 'full');
my $unchanged = check_backup('nothing changed', 'auto', 'incremental');
is($unchanged->{parent}, $full->{id}, 'it names what it builds upon');
cmp_ok($unchanged->{bytes_stored}, '<', $full->{bytes_stored} / 20, 'and stores next to nothing');

# Wait until the clock has left the times of all files behind: only then a
# backup may rely on them.
sub let_files_age
{
	my $newest = 0;
	for my $file (glob("$data/base/*/*"), glob("$data/global/*"))
	{
		my $changed = (Time::HiRes::stat($file))[10];
		$newest = $changed if defined $changed && $changed > $newest;
	}
	while (Time::HiRes::time() < $newest + 2.1) { select undef, undef, undef, 0.05 }
	return;
}
let_files_age();
check_backup('some time later', 'auto', 'incremental');
my $unread = check_backup('all is older', 'incremental', 'incremental');
cmp_ok($unread->{bytes_read}, '<', $unread->{bytes} / 4, 'what did not change is not even read');

$node->safe_psql('postgres', 'UPDATE big SET filler = upper(filler) WHERE n % 1500 = 7');
my $few = check_backup('a few pages', 'auto', 'incremental');
cmp_ok($few->{bytes_stored}, '<', 1500000, 'only changed pages are stored');

$node->safe_psql('postgres', 'UPDATE big SET filler = md5(filler) WHERE n % 3 = 0');
check_backup('many pages', 'auto', 'incremental');

$node->safe_psql('postgres', q{DELETE FROM shrinks WHERE n > 1000; VACUUM shrinks});
check_backup('truncated by VACUUM', 'auto', 'incremental');
$node->safe_psql('postgres', q{INSERT INTO shrinks SELECT n, md5(n::text) FROM generate_series(100000, 160000) n});
check_backup('grown again', 'auto', 'incremental');
$node->safe_psql('postgres', 'VACUUM FULL big');
check_backup('VACUUM FULL', 'auto', 'incremental');
$node->safe_psql('postgres', q{TRUNCATE small; INSERT INTO small SELECT generate_series(5, 5000); ALTER TABLE big ADD COLUMN extra int DEFAULT random()});
check_backup('TRUNCATE and a rewrite', 'auto', 'incremental');
$node->safe_psql('postgres', q{DROP TABLE shrinks; CREATE TABLE shrinks AS SELECT * FROM big WHERE n < 20000});
check_backup('dropped and made again', 'auto', 'incremental');
$node->safe_psql('postgres', 'CREATE DATABASE logged STRATEGY wal_log');
$node->safe_psql('postgres', 'CREATE DATABASE copied STRATEGY file_copy');
$node->safe_psql('copied', 'CREATE TABLE t AS SELECT generate_series(1, 100000) AS n');
check_backup('CREATE DATABASE in both ways', 'auto', 'incremental');
$node->safe_psql('postgres', 'DROP DATABASE logged');
check_backup('DROP DATABASE', 'auto', 'incremental');

# tablespace moves
my $space = PostgreSQL::Test::Utils::tempdir('space') . '/there';
mkdir $space or die;
$node->safe_psql('postgres', "CREATE TABLESPACE there LOCATION '$space'");
$node->safe_psql('postgres', 'ALTER TABLE moves SET TABLESPACE there');
for my $step ('to a tablespace', 'inside it', 'and back')
{
	$node->safe_psql('postgres', "UPDATE moves SET filler = 'changed' WHERE n % 500 = 1") if $step eq 'inside it';
	$node->safe_psql('postgres', 'ALTER TABLE moves SET TABLESPACE pg_default') if $step eq 'and back';
	my $map = PostgreSQL::Test::Utils::tempdir('moved') . '/space';
	check_backup("a table moved $step", 'auto', 'incremental', '--tablespace-map', "$space=$map");
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'diff', '-r', '-q', $space, $map ], '>', \$out, '2>', \$err);
	is("$out$err", '', "a table moved $step: the tablespace is the same");
}
$node->safe_psql('postgres', 'DROP TABLESPACE there');

# the cache of fingerprints: lost, damaged, of another backup
sub cache { my @c = glob "$repo->{dir}/cache/fingerprints-*"; return @c }
is(scalar(cache()), 1, 'there is one cache of fingerprints');
$node->safe_psql('postgres', 'UPDATE big SET filler = lower(filler) WHERE n % 2000 = 9');
unlink cache();
my $lost = check_backup('without the cache', 'auto', 'incremental');
cmp_ok($lost->{bytes_stored}, '<', 3000000, 'still only changed pages are stored');
$node->safe_psql('postgres', 'UPDATE big SET filler = upper(filler) WHERE n % 2000 = 9');
my ($cache) = cache();
my $content = slurp_file($cache);
substr($content, int(length($content) / 2), 1) ^= "\x55";
open my $f, '>:raw', $cache or die;
print $f $content;
close $f;
check_backup('with a damaged cache', 'auto', 'incremental');
$node->safe_psql('postgres', 'UPDATE big SET filler = lower(filler) WHERE n % 2000 = 9');
($cache) = cache();
truncate $cache, 1000 or die;
check_backup('with a cache cut short', 'auto', 'incremental');

# a file whose content changed although size and times say otherwise
my $path = "$data/" . $node->safe_psql('postgres', q{SELECT pg_relation_filepath('big')});
let_files_age();
check_backup('before a change behind our back', 'auto', 'incremental');
$node->stop;
my @st = stat $path;
open $f, '+<:raw', $path or die;
seek $f, 8192 * 3 + 8000, 0;
read $f, my $old, 1;
seek $f, 8192 * 3 + 8000, 0;
print $f $old eq 'x' ? 'y' : 'x';
close $f;
utime $st[8], $st[9], $path;
$node->start;
my ($out, $err) = ('', '');
$node->psql('postgres', q{SELECT backup_now('damaged')}, stdout => \$out, stderr => \$err);
like($err, qr/page verification failed/, 'a page changed with the old time of the file is read and seen to be damaged');
like(($node->psql('postgres', q{SELECT backup_now('damaged again')}))[2], qr/page verification failed/,
	'and again, though the file did not change since');
open $f, '+<:raw', $path or die;
seek $f, 8192 * 3 + 8000, 0;
print $f $old;
close $f;

# checksums off and on again
$node->stop;
command_ok([ 'pg_checksums', '--disable', '-D', $data ], 'checksums off');
$node->start;
check_backup('without checksums', 'auto', 'incremental');
$node->stop;
command_ok([ 'pg_checksums', '--enable', '-D', $data ], 'checksums on');
$node->start;
check_backup('with checksums again', 'auto', 'incremental');

# a damaged pack of the parent: what can be seen to be missing is stored anew
my $last = check_backup('before a pack is lost', 'auto', 'incremental');
my ($largest) = sort { -s $b <=> -s $a } glob "$repo->{dir}/packs/*/*";
unlink $largest or die;
$out = '';
$node->psql('postgres', q{SELECT backup_now('healed')}, stdout => \$out, stderr => \$err);
like($err, qr/is missing/, 'a missing pack of the parent is reported');
program_ok([ 'verify', $out ], 'and the new backup does without it', $repo);

# a restored cluster goes on incrementally, on its new timeline
my $copy = restored_node('copy', $repo, '--take-over');
start_restored($copy);
$copy->safe_psql('postgres', 'UPDATE big SET extra = 5 WHERE n % 1000 = 3');
$node->stop;
$node = $copy;
$data = $node->data_dir;
my $after = check_backup('after a restore', 'auto', 'incremental');
is($after->{parent}, $out, 'it builds upon the backup before the restore');
cmp_ok($after->{bytes_stored}, '<', 4000000, 'and stores only what changed');
check_backup('a full one', 'full', 'full');
prove_sound($node, 'at the end');
done_testing();
