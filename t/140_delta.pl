# A delta restore into a data directory that is there: the result is that of a
# restore into an empty one, whatever was in it, and what must not be touched
# is refused.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Digest::SHA;
use File::Find;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('delta');
my $node = new_node('main', $repo);
my $data = $node->data_dir;
my $base = PostgreSQL::Test::Utils::tempdir('delta');
mkdir "$base/space" or die;
$node->safe_psql('postgres', "CREATE TABLESPACE outer_space LOCATION '$base/space'");
$node->safe_psql('postgres', q{
CREATE TABLE big AS SELECT n, repeat(md5(n::text), 8) AS filler FROM generate_series(1, 60000) n;
CREATE TABLE in_space TABLESPACE outer_space AS SELECT generate_series(1, 20000) AS n;
CREATE TABLE small AS SELECT generate_series(1, 10) AS n;
CREATE UNLOGGED TABLE not_logged AS SELECT generate_series(1, 100) AS n;
});
$node->safe_psql('postgres', 'VACUUM (FREEZE)');
append_to_file("$data/zeros", "\0" x 400000);
append_to_file("$data/text", 'as it was');
mkdir "$data/own" or die;
append_to_file("$data/own/inner", 'inner');
my $backup = $node->safe_psql('postgres', q{SELECT backup_now('delta')});
my $wanted = fingerprint($node);
wait_archived($node);
my @target = ('--backup', $backup, '--target-immediate', '--tablespace-map', "$base/space=$base/new_space");

# Everything below directories: name => kind, mode, content or target. What
# differs between any two restores is left out.
sub tree
{
	my ($all, @roots) = @_;
	my %tree;
	for my $root (@roots)
	{
		find({ no_chdir => 1, wanted => sub {
			my $path = $File::Find::name;
			(my $name = $path) =~ s/^\Q$root\E//;
			return if $name =~ m{^/(backup_manifest|tablespace_map)$} && !$all;
			my @st = lstat $path or die "$path: $!";
			$tree{$name} = sprintf '%o ', $st[2];
			if (-l _) { $tree{$name} .= readlink $path if $all }
			elsif (-f _) { $tree{$name} .= "$st[7] $st[9] " . Digest::SHA->new(1)->addfile($path, 'b')->hexdigest }
			$tree{$name} =~ s/ \d+ (\w+)$/ $1/ if $name =~ m{^/(global/pg_control|postgresql.auto.conf|backup_label|recovery.signal)$};
		} }, $root);
	}
	return join '', map { "$_ $tree{$_}\n" } sort keys %tree;
}

my $fresh = "$base/fresh";
program_ok([ 'restore', '--pgdata', $fresh, '--backup', $backup, '--target-immediate', '--tablespace-map',
		"$base/space=$base/fresh_space" ], 'a fresh restore to compare with', $repo);

# restore, run, change all that can be changed
my $restored = restored_node('restored', $repo, @target);
my $new = $restored->data_dir;
$restored->append_conf('postgresql.conf', "archive_mode = off\n");
start_restored($restored);
mkdir "$base/later_space" or die;
$restored->safe_psql('postgres', "CREATE TABLESPACE later LOCATION '$base/later_space'");
$restored->safe_psql('postgres', q{
UPDATE big SET filler = 'changed' WHERE n % 1000 = 0;
DROP TABLE small;
CREATE TABLE later TABLESPACE later AS SELECT generate_series(1, 1000) AS n;
CREATE TABLE more TABLESPACE outer_space AS SELECT generate_series(1, 1000) AS n;
DELETE FROM in_space;
VACUUM in_space;
CREATE TABLE new_one AS SELECT generate_series(1, 1000) AS n;
SELECT pg_create_physical_replication_slot('slot', true);
});
$restored->safe_psql('postgres', 'CREATE DATABASE later_one');
my $newest = $restored->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_lsn())');
program_fails([ 'restore', '--delta', '--pgdata', $new, @target ], 1, qr/server is running/, 'a running server', $repo);
$restored->stop;

append_to_file("$new/zeros", 'no longer');
PostgreSQL::Test::Utils::system_or_bail('truncate', '-s', '399999', "$new/zeros");
append_to_file("$new/text", ' but longer');
chmod 0640, "$new/text";
unlink "$new/own/inner";
rmdir "$new/own";
append_to_file("$new/own", 'a file');
mkdir "$new/strange" or die;
append_to_file("$new/strange/file", 'strange');
append_to_file("$base/outside", 'stays');
symlink $base, "$new/link_out" or die;
append_to_file("$new/$_", '') for 'standby.signal', 'backup_label.old', 'omsupply_backup.instance';
unlink "$new/pg_ident.conf";
symlink "$base/outside", "$new/pg_ident.conf" or die;
# as a copy made with "cp -al" shares files
link "$new/pg_hba.conf", "$base/shared" or die;
append_to_file("$new/pg_hba.conf", "# changed\n");

my $before = tree(1, $new, "$base/new_space", "$base/later_space");
my $out = program_ok([ 'restore', '--delta', '--dry-run', '--pgdata', $new, @target ], 'a dry run', $repo);
like($out, qr{not in the backup: \Q$new\E/own \(}, 'names what would be removed');
like($out, qr/files differ.*files are missing/s, 'and counts what would be changed');
is(tree(1, $new, "$base/new_space", "$base/later_space"), $before, 'and writes nothing');
ok(!-e "$new.wal", 'not even beside it');

$out = program_ok([ 'restore', '--delta', '--backup-manifest', '--pgdata', $new, @target ], 'a delta restore', $repo);
command_ok([ 'pg_verifybackup', '-n', $new ], 'pg_verifybackup agrees');
is(tree(0, $new, "$base/new_space"), tree(0, $fresh, "$base/fresh_space"), 'the result is that of a fresh restore');
is(readlink((glob "$new/pg_tblspc/*")[0]), "$base/new_space", 'the tablespace link is right');
ok(-e "$base/outside" && slurp_file("$base/outside") eq 'stays', 'what a link led to stays');
like(slurp_file("$base/shared"), qr/# changed/, 'a file that had another name is not written to');
is(scalar(() = glob "$base/later_space/PG_*"), 0, 'a later tablespace is emptied');
my @saved = map { s{.*/}{}r } glob "$new.wal/*";
cmp_ok(scalar @saved, '>', 0, 'WAL that is nowhere else is kept');
is(scalar(grep { !/^00000002/ } @saved), 0, 'and none that is in the repository');
ok(-s "$new.wal/$newest", 'also the segment that was being written');
my ($same, $all) = $out =~ /(\d+) of (\d+) files were the same/;
cmp_ok($same, '>', $all / 2, 'most files were left alone');
my $size = -s "$new/" . $node->safe_psql('postgres', q{SELECT pg_relation_filepath('big')});
my ($written) = $out =~ /files were the same, (\d+) (?:bytes|kB) were written/;
ok(defined $written || $out =~ /, [1-5]\.\d MB were written/, "less than the $size bytes of the large table were written") or diag($out);

# a page damaged in place, with the time of change put back
my ($victim) = $new . '/' . $node->safe_psql('postgres', q{SELECT pg_relation_filepath('big')});
my @st = stat $victim;
open my $f, '+<', $victim or die;
seek $f, 3 * 8192 + 4000, 0;
print $f 'damage';
close $f;
PostgreSQL::Test::Utils::system_or_bail('touch', '-r', "$fresh/" . substr($victim, length("$new/")), $victim);
isnt(tree(0, $new, "$base/new_space"), tree(0, $fresh, "$base/fresh_space"), 'a page is damaged');
$out = program_ok([ 'restore', '--delta', '--backup-manifest', '--pgdata', $new, @target ], 'again, with a damaged page', $repo);
like($out, qr/, 8\.0 kB were written/, 'one block is written');
is(tree(0, $new, "$base/new_space"), tree(0, $fresh, "$base/fresh_space"), 'and the damage is gone');

# cut short anywhere: never startable, never mistaken, and it can be repeated
for my $at (12, 25, 60)
{
	PostgreSQL::Test::Utils::system_or_bail('truncate', '-s', '100000', $victim);
	unlink glob "$new/base/5/12*";
	append_to_file("$new/extra", 'extra');
	{
		local %ENV = (%ENV, LD_PRELOAD => "$ENV{OMB_BIN}/faultshim.so", FAULT_AT => $at, FAULT_MODE => 'kill');
		is((program($repo, 'restore', '--delta', '--pgdata', $new, @target))[0], 'signal 9', "killed at operation $at");
	}
	like(slurp_file("$new/global/pg_control"), qr/^This data directory is incomplete/, 'the directory says that it is incomplete');
	command_fails([ 'timeout', '60', 'postgres', '-D', $new, '-p', $restored->port ], 'the server does not start');
	program_fails([ 'restore', '--pgdata', $new, @target ], 1, qr/is not empty/, 'not without --delta', $repo);
}
program_ok([ 'restore', '--delta', '--backup-manifest', '--pgdata', $new, @target ], 'repeated', $repo);
is(tree(0, $new, "$base/new_space"), tree(0, $fresh, "$base/fresh_space"), 'it completes');

# so can a first restore
{
	local %ENV = (%ENV, LD_PRELOAD => "$ENV{OMB_BIN}/faultshim.so", FAULT_AT => 900, FAULT_MODE => 'kill');
	is((program($repo, 'restore', '--pgdata', "$base/first", '--backup', $backup, '--target-immediate', '--tablespace-map',
				"$base/space=$base/first_space"))[0], 'signal 9', 'a first restore is killed');
}
program_ok([ 'restore', '--delta', '--pgdata', "$base/first", '--backup', $backup, '--target-immediate', '--tablespace-map',
		"$base/space=$base/first_space" ], 'and goes on with --delta', $repo);
is(tree(0, "$base/first", "$base/first_space"), tree(0, $fresh, "$base/fresh_space"), 'it completes');

# a tablespace that goes to another place
my @elsewhere = ('--backup', $backup, '--target-immediate', '--tablespace-map', "$base/space=$base/third_space");
program_ok([ 'restore', '--delta', '--backup-manifest', '--pgdata', $new, @elsewhere ], 'a tablespace elsewhere', $repo);
is(readlink((glob "$new/pg_tblspc/*")[0]), "$base/third_space", 'the link is changed');
is(tree(0, $new, "$base/third_space"), tree(0, $fresh, "$base/fresh_space"), 'all is there');

# it works
$restored->append_conf('postgresql.conf', 'port = ' . $restored->port . "\narchive_mode = off\n");
start_restored($restored);
is(fingerprint($restored), $wanted, 'all tables are what they were');
prove_sound($restored, 'restored');

# an empty directory is a place for a delta restore too
program_ok([ 'restore', '--delta', '--pgdata', "$base/empty", '--backup', $backup, '--target-immediate', '--tablespace-map',
		"$base/space=$base/empty_space" ], 'into nothing', $repo);
is(tree(0, "$base/empty", "$base/empty_space"), tree(0, $fresh, "$base/fresh_space"), 'as a fresh restore');

# what must not be touched
mkdir "$base/home" or die;
append_to_file("$base/home/letter", 'dear');
program_fails([ 'restore', '--delta', '--pgdata', "$base/home", @target ], 1, qr/is not a data directory/, 'another directory', $repo);
ok(-e "$base/home/letter", 'it stays');

my $other = PostgreSQL::Test::Cluster->new('other');
$other->init;
program_fails([ 'restore', '--delta', '--pgdata', $other->data_dir, @target ], 1, qr/belongs to another cluster/, 'another cluster', $repo);
$other->start;
is($other->safe_psql('postgres', 'SELECT 1'), 1, 'it still works');
$other->stop;

PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $fresh, "$base/torn");
PostgreSQL::Test::Utils::system_or_bail('truncate', '-s', '0', "$base/torn/global/pg_control");
program_fails([ 'restore', '--delta', '--pgdata', "$base/torn", '--backup', $backup, '--tablespace-map', "$base/space=$base/fresh_space" ],
	1, qr/cannot tell to which cluster/, 'a directory without a valid pg_control', $repo);

PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $fresh, "$base/with_repo");
PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $repo->{dir}, "$base/with_repo/repository");
program_fails([ 'restore', '--delta', '--pgdata', "$base/with_repo", '--backup', $backup, '--repository', "$base/with_repo/repository",
		'--tablespace-map', "$base/space=$base/fresh_space" ],
	1, qr/repository .* are one in the other/, 'a repository inside', $repo);
PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $repo->{key}, "$base/torn/key");
PostgreSQL::Test::Utils::system_or_bail('cp', "$fresh/global/pg_control", "$base/torn/global/pg_control");
program_fails([ 'restore', '--delta', '--pgdata', "$base/torn", '--backup', $backup, '--key-file', "$base/torn/key",
		'--tablespace-map', "$base/space=$base/fresh_space" ],
	1, qr/key file .* are one in the other/, 'a key file inside', $repo);

# a copy of a running server's directory, whose links lead to its tablespaces
PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $data, "$base/copy");
unlink "$base/copy/postmaster.pid";
program_fails([ 'restore', '--delta', '--pgdata', "$base/copy", '--backup', $backup, '--target-immediate' ],
	1, qr/the server that runs in "\Q$data\E" uses/, 'a tablespace of a running server', $repo);
is(fingerprint($node), $wanted, 'the running server has all it had');

done_testing();
