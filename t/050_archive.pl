# The archive module: once, again, differently; backlog, full and missing
# repositories, shutdown.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use File::Copy;
use IPC::Run;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('archive');
my $node = new_node('main', $repo, conf => "wal_keep_size = '1GB'\n");
my $data = $node->data_dir;
my $wal = "$data/pg_wal";
$node->safe_psql('postgres', 'CREATE TABLE t (n int, filler text)');
my $segment = wait_archived($node);

sub stored
{
	my ($file) = @_;
	my @found = glob "$repo->{dir}/wal/*/*/$file-*";
	push @found, glob "$repo->{dir}/wal/*/$file-*";
	return scalar @found;
}
sub fails { return $node->safe_psql('postgres', 'SELECT failed_count FROM pg_stat_archiver') }
sub write_segment { $node->safe_psql('postgres', q{INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 1000) n; SELECT pg_switch_wal()}); return }

is(stored($segment), 1, 'a segment is in the repository');
$node->safe_psql('postgres', 'SELECT backup_now()');
wait_archived($node);
is(scalar(my @history = glob "$repo->{dir}/wal/*/*/*.backup-*"), 1, 'so is the backup history file');

write_segment();
my $spare = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_lsn())');
wait_archived($node);
copy("$wal/$spare", "$data/spare") or die;

# other bytes under an archived name: stop the server, so that nothing else moves
$node->stop;
copy("$wal/$spare", "$data/original") or die "$spare: $!";
open my $f, '+<:raw', "$wal/$spare" or die $!;
seek $f, 100000, 0;
print $f 'other bytes';
close $f;
my $answer = ask_stopped($spare);
like($answer, qr/^failed file=$spare/, 'other bytes under an archived name fail');
like($answer, qr/archived%20already%20with%20different%20content/, 'with the reason');
like($answer, qr/id%20[0-9a-f]{32},.*id%20[0-9a-f]{32}/, 'naming both');
is(stored($spare), 1, 'and overwrite nothing');
copy("$data/original", "$wal/$spare") or die;
like(ask_stopped($spare), qr/^archived/, 'the right bytes succeed again');
is(stored($spare), 1, 'and are stored once');

# bytes that are not this cluster's WAL
my @bad = (
	[ 'another cluster', 24, "\x01\x02\x03\x04\x05\x06\x07\x08", qr/belongs%20to%20another%20cluster/ ],
	[ 'another place', 8, "\x00\x00\x00\x7f", qr/holds%20the%20WAL%20of/ ],
	[ 'no WAL at all', 0, "hello", qr/is%20not%20a%20WAL%20segment/ ]);
for my $case (@bad)
{
	my ($name, $offset, $bytes, $pattern) = @$case;
	copy("$data/original", "$wal/$spare") or die;
	open $f, '+<:raw', "$wal/$spare" or die $!;
	seek $f, $offset, 0;
	print $f $bytes;
	close $f;
	like(ask_stopped($spare), $pattern, "refused: $name");
}
copy("$data/original", "$wal/$spare") or die;
truncate "$wal/$spare", 8192 or die;
like(ask_stopped($spare), qr/8192%20bytes%20instead%20of/, 'refused: a short segment');
copy("$data/original", "$wal/$spare") or die;
like(ask_stopped('not-a-segment'), qr/not%20the%20name%20of%20a%20WAL%20file/, 'refused: a name that is none');
like(ask_stopped('00000009.history'), qr/No%20such%20file/, 'a file that is gone');

# timeline history and .partial files are kept
append_to_file("$wal/00000063.history", "1\t0/1000000\ttest\n");
copy("$wal/$spare", "$wal/$spare.partial") or die;
like(ask_stopped('00000063.history'), qr/^archived/, 'a timeline history is archived');
like(ask_stopped("$spare.partial"), qr/^archived/, 'a partial segment is archived');
is(stored("$spare.partial"), 1, 'under its own name');
is(stored('00000063.history'), 1, 'and kept');
unlink "$wal/00000063.history", "$wal/$spare.partial", "$data/original", "$data/spare";

sub ask_stopped
{
	my ($file) = @_;
	my ($in, $out) = ('', '');
	my ($system) = `pg_controldata $data` =~ /system identifier: +(\d+)/;
	my $agent = IPC::Run::start([ 'omsupply_backup', 'agent' ], '<', \$in, '>', \$out, IPC::Run::timeout(60));
	$in = "job type=archive repository=$repo->{dir} key_file=$repo->{key} compression=zstd:3 jobs=2 "
	  . "pgdata=$data system_identifier=$system wal_segment_size=16777216\narchive file=$file\n";
	$agent->pump until $out =~ /^ready\n.*\n/;
	$agent->kill_kill;
	return $out =~ s/^ready\n//r;
}

# a repository that is missing: failures are counted, segments stay,
# archiving resumes by itself
$node->start;
rename $repo->{dir}, "$repo->{dir}.away" or die;
my $before = fails();
write_segment();
$node->poll_query_until('postgres', "SELECT failed_count > $before FROM pg_stat_archiver") or die;
ok($node->log_contains(qr/could not archive WAL file.*repository ".*" does not exist|could not archive WAL file/), 'the log says why');
write_segment() for 1 .. 5;
my @waiting = glob "$wal/archive_status/*.ready";
cmp_ok(scalar @waiting, '>=', 5, 'segments wait in pg_wal');
my ($out, $err);
$node->psql('postgres', 'SELECT backup_now()', stdout => \$out, stderr => \$err);
like($err, qr/repository ".*" does not exist/, 'a backup says that the repository is missing');
rename "$repo->{dir}.away", $repo->{dir} or die;
$node->poll_query_until('postgres', 'SELECT pg_switch_wal() IS NOT NULL');
wait_archived($node);
is(scalar(grep { /\/([0-9A-F]{24})\.ready$/ && !stored($1) } @waiting), 0, 'all that waited is archived');

# one that is full
if (my $small = $ENV{OMB_SMALL_FS})
{
	my $full = { dir => "$small/repository", key => "$repo->{key}.full" };
	program_ok([ 'init', '--repository', $full->{dir}, '--key-file', $full->{key} ], 'init on a small file system');
	unlink "$data/omsupply_backup.instance";
	$node->safe_psql('postgres', "ALTER SYSTEM SET omsupply_backup.repository = '$full->{dir}'");
	$node->safe_psql('postgres', "ALTER SYSTEM SET omsupply_backup.key_file = '$full->{key}'");
	$node->reload;
	wait_archived($node);
	$before = fails();
	append_to_file("$small/filler", 'x' x 1000000) while full_left() > 2;
	$node->safe_psql('postgres', q{INSERT INTO t SELECT n, md5(random()::text) FROM generate_series(1, 100000) n; SELECT pg_switch_wal()});
	$node->poll_query_until('postgres', "SELECT failed_count > $before FROM pg_stat_archiver") or die;
	ok($node->log_contains(qr/No space left on device/), 'a full repository: the log says so');
	unlink "$small/filler";
	wait_archived($node);
	program_ok(['verify'], 'archiving resumes when there is space, and nothing is damaged', $full);
}
else
{
	note('a small file system needs root: the full repository was not tested');
}
sub full_left { my ($left) = `df --output=avail -B1000000 $ENV{OMB_SMALL_FS}` =~ /(\d+)\s*$/; return $left }

# shutdown archives what is left
my $last = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_lsn())');
$node->safe_psql('postgres', q{INSERT INTO t SELECT n, 'x' FROM generate_series(1, 100) n});
$node->stop('fast');
is(scalar(glob("$wal/archive_status/*.ready") // ''), '', 'after a shutdown nothing waits');

# another repository is made in the place of the old one, under the eyes of the
# running archiver: nothing may be written into it with the old key
$node->start;
$node->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('omsupply_backup.repository') = '$repo->{dir}'") or die;
$node->safe_psql('postgres', 'SELECT backup_adopt()');
write_segment();
wait_archived($node);
PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', $repo->{dir}, $repo->{key});
program_ok([ 'init', '--repository', $repo->{dir}, '--key-file', $repo->{key} ], 'another repository in its place');
write_segment();
wait_archived($node);
program_ok([ 'verify' ], 'what is archived after that can be read', $repo);
is($node->psql('postgres', 'SELECT backup_now()'), 0, 'and backups go there');
program_ok([ 'verify' ], 'which can be read too', $repo);
done_testing();
