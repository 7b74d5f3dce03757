# A target whose disk is full to the last block, a directory and an SFTP server:
# removing old backups makes space there, nothing that is kept is lost, and the
# server does it by itself and goes on.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use JSON::PP;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $small = $ENV{OMB_SMALL_FS};
plan skip_all => 'only root can mount a small file system' unless defined $small && -d $small;

my $base = PostgreSQL::Test::Utils::tempdir('full');
my $control = "$ENV{OMB_BIN}/sftpserver.sh";
my $server = "$base/server";
$ENV{OMB_SFTP_PORT} = PostgreSQL::Test::Cluster::get_free_port();
chomp($ENV{OMB_SFTP_PASSWORD_HASH} = `openssl passwd -6 none`);
command_ok([ $control, 'init', $server ], 'keys of a server');
command_ok([ $control, 'start', $server ], 'an SFTP server');
END { my $status = $?; system $control, 'stop', $server if $server; $? = $status }
append_to_file("$base/credentials", "key_file=$server/id\n");
chmod 0600, "$base/credentials";
$ENV{OMSUPPLY_BACKUP_CREDENTIALS} = "$base/credentials";

sub free_bytes { my ($line) = reverse split /\n/, `df -B1 --output=avail '$small'`; return $line + 0 }

sub fill
{
	append_to_file("$small/filler", '');
	# in large pieces, then in small ones
	system("dd if=/dev/zero of='$small/filler' bs=$_ oflag=append conv=notrunc status=none 2>/dev/null") for '64k', 4096, 512;
	return is(free_bytes(), 0, 'the disk is full');
}

my $repo = new_repository('full');
my $node = new_node('main', $repo, initdb => ['--wal-segsize=1'], conf => "autovacuum = off\nomsupply_backup.jobs = 1\n");
sub sql { return $node->safe_psql('postgres', $_[0]) }
my $n = 0;
sub more
{
	$n++;
	# 800 kB that compress badly, other each time
	sql("DROP TABLE IF EXISTS t; CREATE TABLE t AS SELECT decode(string_agg(md5(random()::text), ''), 'hex') AS x FROM generate_series(1, 500), generate_series(1, 100) g GROUP BY g");
	sql("SELECT backup_now('number $n')");
	wait_archived($node);
	return;
}
more() for 1 .. 4;

for my $case ([ 'directory', "file://$small/by_hand_directory" ], [ 'SFTP', "sftp://127.0.0.1:$ENV{OMB_SFTP_PORT}$small/by_hand_SFTP?known-hosts=$server/known_hosts&sole-user=yes" ])
{
	my ($name, $url) = @$case;
	my $there = { dir => $url, key => $repo->{key} };
	my $dir = "$small/by_hand_$name";
	mkdir $dir or die;
	program_ok([ 'mirror', '--to', $url ], "$name: mirror", $repo);
	fill();
	more();
	my ($s, $o, $e) = program($repo, 'mirror', '--to', $url);
	is($s, 1, "$name: no more has room");
	like($e, qr/No space left|is full|no space/i, 'it says so');
	program_ok(['verify'], 'what is there verifies', $there);
	my $free = free_bytes();
	my $result = decode_json(program_ok([ 'expire', '--keep-last', 2, '--minimum', 1, '--json' ], "$name: old backups are removed from a full disk", $there));
	is($result->{backups_dropped}, $n - 3, 'as the rule says');
	program_ok(['prune'], 'packs too', $there);
	cmp_ok(free_bytes() - $free, '>', 1_000_000, 'there is space now');
	program_ok(['verify'], 'what is kept verifies', $there);
	my $list = program_ok(['list'], 'list', $there);
	like($list, qr/number @{[ $n - 2 ]}.*number @{[ $n - 1 ]}/s, 'the newest are kept');
	unlink "$small/filler";
	system("rm -rf '$dir'") == 0 or die;
}

# ---- by itself ----

for my $case ([ 'directory', "file://$small/directory", 'NULL' ],
	[ 'sftp', "sftp://127.0.0.1:$ENV{OMB_SFTP_PORT}$small/sftp?known-hosts=$server/known_hosts", "'$base/credentials'" ])
{
	my ($name, $url, $credentials) = @$case;
	mkdir "$small/$name" or die;
	sql("INSERT INTO backup_target (name, url, credentials) VALUES ('$name', '$url', $credentials)");
	my $complete = q{SELECT state = 'ok' AND objects_waiting = 0 AND data_at_risk = '0' FROM backup_target_status};
	ok($node->poll_query_until('postgres', $complete), "$name: the target is filled") or diag(sql('SELECT * FROM backup_target_status'));
	fill();
	sql('DELETE FROM backup_retention WHERE store = ' . "'$name'");
	my $log;
	more();
	ok($node->poll_query_until('postgres', q{SELECT state = 'failing' FROM backup_target_status}), 'it gets full');
	like(sql('SELECT last_error FROM backup_target_status'), qr/No space left|is full|no space/i, 'the view says so');
	is(sql('SELECT failed_count FROM pg_stat_archiver'), 0, 'archiving is not touched');
	$log = -s $node->logfile;
	sql("INSERT INTO backup_retention (store, keep_last, minimum) VALUES ('$name', 2, 1)");
	ok($node->poll_query_until('postgres', $complete), 'with a rule it makes space by itself and goes on') or diag(sql('SELECT * FROM backup_target_status'));
	like(slurp_file($node->logfile, $log), qr/removal of old backups from target "$name" completed/, 'by removing old backups');
	sql("DELETE FROM backup_target");
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'omsupply_backup mirror'}), 'the target goes');
	my $there = { dir => $url, key => $repo->{key} };
	program_ok(['verify'], 'what is there verifies', $there);
	my $restored = restored_node("restored_$name", $there);
	start_restored($restored);
	is($restored->safe_psql('postgres', 'SELECT count(*), sum(hashtext(x::text)) FROM t'), sql('SELECT count(*), sum(hashtext(x::text)) FROM t'), 'the newest backup is restored');
	$restored->stop;
	unlink "$small/filler";
	system("rm -rf '$small/$name'") == 0 or die;
}
$node->stop;
done_testing();
