# SQL from outside and inside transactions, settings that are not as needed.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('sql');
my $node = new_node('main', $repo);
my ($out, $err);
sub fails_with
{
	my ($sql, $pattern, $name) = @_;
	my $status = $node->psql('postgres', $sql, stdout => \$out, stderr => \$err);
	isnt($status, 0, "$name: fails");
	like($err, $pattern, "$name: message");
	return;
}

like($node->safe_psql('postgres', q{BEGIN; SELECT backup_now('in a block', wait => false); ROLLBACK}), qr/^20/, 'in a transaction block that rolls back');
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM backup_progress');
is($node->safe_psql('postgres', q{SELECT count(*) FROM backup_list() WHERE label = 'in a block'}), 1, 'the backup is there');
like($node->safe_psql('postgres', q{SELECT 1; SELECT backup_now('implicit')}), qr/20\d/, 'in an implicit transaction');

# cancelling the wait leaves the backup running
$node->safe_psql('postgres', q{CREATE TABLE t AS SELECT n, repeat('x', 900) FROM generate_series(1, 10000) n});
$node->safe_psql('postgres', q{ALTER SYSTEM SET omsupply_backup.max_read_rate = '4MB'});
$node->reload;
fails_with(q{SET statement_timeout = '2s'; SELECT backup_now('goes on')}, qr/canceling statement due to statement timeout.*DETAIL:  The backup goes on.*HINT:.*backup_cancel/s, 'an interrupted wait');
is($node->safe_psql('postgres', 'SELECT label FROM backup_progress'), 'goes on', 'the backup is still running');
is($node->safe_psql('postgres', 'SELECT phase, bytes_done >= 0, bytes_stored IS NOT NULL FROM backup_progress') =~ /^\w+\|t\|t$/, 1, 'backup_progress shows it');
is($node->safe_psql('postgres', 'SELECT backup_cancel()'), 't', 'cancel');
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM backup_progress');
is($node->safe_psql('postgres', q{SELECT count(*) FROM backup_list() WHERE label = 'goes on'}), 0, 'a cancelled backup is not listed');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET omsupply_backup.max_read_rate');

# WAL that does not get archived
$node->safe_psql('postgres', q{ALTER SYSTEM SET omsupply_backup.archive_timeout = '2s'});
$node->safe_psql('postgres', q{ALTER SYSTEM SET archive_library = ''});
$node->safe_psql('postgres', q{ALTER SYSTEM SET archive_command = 'false'});
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('archive_library') = ''});
fails_with('SELECT backup_now()', qr/"archive_library" is not "omsupply_backup".*HINT/s, 'another archive module');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('archive_library') <> ''});

# keys and repositories at places that are no good
for my $case ([ 'key_file', $node->data_dir . '/key', qr/key file ".*" is inside the data directory/ ],
	[ 'repository', '/nonexistent/place', qr/repository "\/nonexistent\/place" does not exist/ ])
{
	my ($setting, $value, $pattern) = @$case;
	if ($setting eq 'key_file') { append_to_file($value, slurp_file($repo->{key})); chmod 0600, $value; }
	$node->safe_psql('postgres', "ALTER SYSTEM SET omsupply_backup.$setting = '$value'");
	$node->reload;
	$node->poll_query_until('postgres', "SELECT current_setting('omsupply_backup.$setting') = '$value'");
	fails_with('SELECT backup_now()', $pattern, "$setting $value");
	$node->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
	$node->reload;
}
unlink $node->data_dir . '/key';
fails_with(q{ALTER SYSTEM SET omsupply_backup.compression = 'lzma'}, qr/invalid value.*HINT:  Use "zstd:1"/s, 'a compression that is none');
fails_with(q{ALTER SYSTEM SET omsupply_backup.repository = 'relative'}, qr/must be an absolute path/, 'a relative path');

# every compression gives the same back
for my $compression (qw(none gzip:1 zstd:1 zstd:19))
{
	$node->safe_psql('postgres', "ALTER SYSTEM SET omsupply_backup.compression = '$compression'");
	$node->reload;
	$node->poll_query_until('postgres', "SELECT current_setting('omsupply_backup.compression') = '$compression'");
	my $id = $node->safe_psql('postgres', "SELECT backup_now('$compression')");
	program_ok([ 'verify', $id ], "$compression: verify", $repo);
	(my $name = $compression) =~ s/:/_/;
	my $restored = restored_node($name, $repo, '--backup', $id, '--target-immediate');
	start_restored($restored);
	is(fingerprint($restored), fingerprint($node), "$compression: tables are the same");
	$restored->stop;
}

# settings that need a restart
for my $case ([ 'wal_level = minimal' . "\nmax_wal_senders = 0\narchive_mode = off", qr/"wal_level" is too low/ ],
	[ 'archive_mode = off', qr/"archive_mode" is off/ ],
	[ "shared_preload_libraries = ''", qr/not loaded at server start/ ])
{
	my ($conf, $pattern) = @$case;
	my $old = slurp_file($node->data_dir . '/postgresql.conf');
	$node->append_conf('postgresql.conf', "$conf\n");
	$node->restart;
	fails_with('SELECT backup_now()', $pattern, (split /\n/, $conf)[0]);
	$node->stop;
	unlink $node->data_dir . '/postgresql.conf';
	append_to_file($node->data_dir . '/postgresql.conf', $old);
	$node->start;
}

done_testing();
