# backup_status, backup_wal_status and backup_check(): each state and each
# reason, really produced.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# a repository on another file system than the data directory
my $other = '/dev/shm';
plan skip_all => "no other file system at $other"
  unless -w $other && (stat $other)[0] != (stat PostgreSQL::Test::Utils::tempdir('here'))[0];
my $base = "$other/omb_status_$$";
mkdir $base or die;
END { system('rm', '-rf', $base) if $base; }

my $repo = { dir => "$base/repository", key => "$base/key" };
my $init = program_ok([ 'init', '--repository', $repo->{dir}, '--key-file', $repo->{key} ], 'init');
my ($code) = $init =~ /Recovery code:\s+(\S+)/ or die 'no recovery code';

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => ['--data-checksums']);
$node->append_conf('postgresql.conf', "wal_level = replica\n");
$node->start;
# a schedule that never comes: only backups that are asked for are taken
$node->safe_psql('postgres', q{CREATE EXTENSION omsupply_backup;
UPDATE backup_schedule SET cron = '0 0 29 2 *'; UPDATE backup_schedule SET is_enabled = true WHERE name = 'nightly'});

sub state { return $node->safe_psql('postgres', 'SELECT state FROM backup_status'); }
sub reasons { return $node->safe_psql('postgres', q{SELECT array_to_string(reasons, E'\n') FROM backup_status}); }
sub check
{
	my ($name, $timeout) = @_;
	$timeout = '5 s' unless defined $timeout;
	return $node->safe_psql('postgres', "SELECT result || ': ' || found FROM backup_check('$timeout') WHERE name = '$name'");
}
# the views follow the launcher's surveys; ask for one until it shows
sub becomes
{
	my ($state, $pattern, $name) = @_;
	$node->poll_query_until('postgres', "SELECT state = '$state' AND array_to_string(reasons, ' ') ~ '$pattern' FROM backup_status")
	  or diag(state() . "\n" . reasons());
	is(state(), $state, "$name: state");
	like(reasons(), qr/$pattern/, "$name: reason") if $pattern ne '';
	return;
}

# nothing is set
is(state(), 'unconfigured', 'without the library');
like(reasons(), qr/shared_preload_libraries/, 'it says what is missing');
like(check('shared_preload_libraries'), qr/^error: .*not loaded/, 'the check too');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'omsupply_backup'\n");
$node->restart;
for my $case ([ 'repository" is not set', "omsupply_backup.repository = '$repo->{dir}'\nomsupply_backup.key_file = '$repo->{key}'" ],
	[ 'archive_mode" is off', 'archive_mode = on' ],
	[ 'archive_library" is not', "archive_library = 'omsupply_backup'" ])
{
	my ($pattern, $setting) = @$case;
	is(state(), 'unconfigured', $pattern);
	like(reasons(), qr/$pattern/, "$pattern is the reason");
	$node->append_conf('postgresql.conf', "$setting\n");
	$node->restart;
}

# all is set, nothing is there yet
becomes('failing', 'there is no backup yet', 'a new repository');
like(check('last_backup'), qr/^error: there is no backup yet/, 'the check says so too');
like(check('recovery_code'), qr/^warning: nobody has confirmed/, 'nobody confirmed the code');
like(reasons(), qr/nobody has confirmed to have the recovery code/, 'the status says so too');

# the recovery code, by the program and by SQL
append_to_file("$base/wrong", "0000-0000-0000-0000-0000-0000-0000\n");
program_fails([ 'key', '--confirm', '--recovery-code-file', "$base/wrong" ], 2, qr/recovery code/, 'a code with a typing error', $repo);
program_fails([ 'key', '--confirm', "$base/new" ], 2, qr/either --confirm or a new key file/, 'confirm and a new file', $repo);
my ($out, $err);
isnt($node->psql('postgres', q{SELECT backup_confirm_recovery_code('nonsense')}, stdout => \$out, stderr => \$err), 0, 'nonsense is refused');
like($err, qr/recovery code/, 'with a message');
is(check('recovery_code') =~ /^warning/, 1, 'nothing is confirmed by that');
append_to_file("$base/code", "\L$code\n");
program_ok([ 'key', '--confirm', '--recovery-code-file', "$base/code" ], 'the code as typed', $repo);
like(check('recovery_code'), qr/^ok/, 'now it is confirmed');
is($node->safe_psql('postgres', "SELECT backup_confirm_recovery_code('$code')"), 't', 'again by SQL');
unlink "$base/code";

# a backup, and everything is well
is(reasons(), 'there is no backup yet', 'one reason is left');
my $id = $node->safe_psql('postgres', 'SELECT backup_now()');
becomes('ok', '', 'after the first backup');
is(reasons(), '', 'no reasons');
is($node->safe_psql('postgres', "SELECT last_backup_id = '$id' AND last_backup_age < '1 hour' AND recoverable_from <= recoverable_to
	AND repository_bytes > 100000 AND repository_free_bytes > 0 AND surveyed_at IS NOT NULL AND wal_waiting_files >= 0 FROM backup_status"), 't', 'the facts');
is($node->safe_psql('postgres', q{SELECT string_agg(name || '=' || result, ' ') FROM backup_check() WHERE result <> 'ok'}), '',
	'nothing for backup_check() to complain about');
like(check('archiving'), qr/^ok: WAL file "[0-9A-F]{24}" was switched and is in the repository/, 'archiving was tried');
like(check('wal'), qr/^ok: any instant from /, 'the window');
isnt($node->psql('postgres', q{SELECT * FROM backup_check('-1 s')}), 0, 'a negative timeout');
isnt($node->psql('postgres', q{SELECT * FROM backup_check('1 month')}), 0, 'an absurd one');

# recoverable_to is the last commit that is archived
my $commit = $node->safe_psql('postgres', q{CREATE TABLE t (n int); SELECT now()});
wait_archived($node);
check('repository');
is($node->safe_psql('postgres', "SELECT recoverable_to >= '$commit' FROM backup_status"), 't', 'recoverable_to follows');
is($node->safe_psql('postgres', q{SELECT archived_wal ~ '^[0-9A-F]{24}$' AND failing_since IS NULL AND failures = 0 AND message IS NULL
	AND current_wal > archived_wal AND lag_bytes >= 0 AND gaps = 0 AND given_up_files = 0 FROM backup_wal_status}), 't', 'backup_wal_status');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (1)');
is($node->safe_psql('postgres', q{SELECT data_at_risk > '0' FROM backup_status}), 't', 'what is not archived is at risk');

# an old backup, by the clock of the setting
$node->safe_psql('postgres', q{ALTER SYSTEM SET omsupply_backup.max_backup_age = '1s'});
$node->reload;
becomes('failing', 'max_backup_age', 'a very old backup');
like(check('last_backup'), qr/^warning: /, 'the check too');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET omsupply_backup.max_backup_age});
$node->reload;
becomes('ok', '', 'reset');

# nobody takes backups
$node->safe_psql('postgres', q{UPDATE backup_schedule SET is_enabled = false});
becomes('degraded', 'no schedule that takes backups is enabled in "backup_schedule"', 'nothing is scheduled');
like(check('schedules', 0), qr/^warning: 0 schedules/, 'the check too');
$node->safe_psql('postgres', q{ALTER SYSTEM SET omsupply_backup.database = 'nowhere'});
$node->reload;
becomes('degraded', 'schedules do not work: database "nowhere" does not exist', 'nor can it be');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET omsupply_backup.database');
$node->safe_psql('postgres', q{UPDATE backup_schedule SET is_enabled = true WHERE name = 'nightly'});
$node->reload;
becomes('ok', '', 'there is a schedule');

# archiving breaks: the repository is gone
rename $repo->{dir}, "$repo->{dir}.away" or die;
$node->safe_psql('postgres', 'INSERT INTO t VALUES (2); SELECT pg_switch_wal()');
becomes('failing', 'archiving of WAL has been failing since', 'the repository is gone');
like(check('archiving'), qr/^error: WAL file .* was not archived within 5 seconds/, 'the check tried');
like(check('repository'), qr/^error: .*does not exist/, 'and says that the repository is gone');
like(reasons(), qr/repository ".*" does not exist/, 'the status too');
is($node->safe_psql('postgres', q{SELECT failing_since IS NOT NULL AND failures > 0 AND message <> '' AND waiting_files > 0 AND waiting_bytes > 0
	AND oldest_waiting_wal IS NOT NULL FROM backup_wal_status}), 't', 'backup_wal_status tells why');
ok($node->log_contains(qr/WARNING:  state of backups changed from "ok" to "failing"/), 'the change is in the log');
rename "$repo->{dir}.away", $repo->{dir} or die;
# a signal wakes the archiver from its pause
$node->reload;
$node->poll_query_until('postgres', 'SELECT waiting_files = 0 FROM backup_wal_status');
becomes('ok', '', 'it is back');
ok($node->log_contains(qr/LOG:  state of backups changed from "failing" to "ok"/), 'and that it went well again');

# changes are told to who listens
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN omsupply_backup');
$node->safe_psql('postgres', q{ALTER SYSTEM SET omsupply_backup.max_backup_age = '1s'});
$node->reload;
becomes('failing', 'max_backup_age', 'a change');
my $notes = '';
for (1 .. 200)
{
	$notes .= $listener->query('SELECT 1');
	last if $notes =~ /"event": "state", "from": "ok", "to": "failing"/;
	select undef, undef, undef, 0.1;
}
like($notes, qr/Asynchronous notification "omsupply_backup" with payload "\{"event": "state", "from": "ok", "to": "failing", "reasons": \["the last backup/, 'a change is told');
$listener->quit;
$node->safe_psql('postgres', 'ALTER SYSTEM RESET omsupply_backup.max_backup_age');
$node->reload;
becomes('ok', '', 'as before');

# keys
chmod 0644, $repo->{key};
like(check('key_file'), qr/^error: .*key file/, 'a key file that others can read');
chmod 0600, $repo->{key};
rename $repo->{key}, "$repo->{key}.away" or die;
like(check('key_file'), qr/^error: could not open key file/, 'a key file that is gone');
becomes('failing', 'could not open key file', 'the status');
rename "$repo->{key}.away", $repo->{key} or die;
my $foreign = new_repository('foreign');
$node->safe_psql('postgres', "ALTER SYSTEM SET omsupply_backup.key_file = '$foreign->{key}'");
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('omsupply_backup.key_file') = '$foreign->{key}'");
like(check('key_file'), qr/^error: .*belongs to another repository/, 'the key of another repository');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET omsupply_backup.key_file');
$node->reload;
becomes('ok', '', 'the right key again');

# a gap in the archive
wait_archived($node) for 1 .. 3;
my $gone = $node->safe_psql('postgres', q{SELECT max(f) FROM (SELECT pg_walfile_name(pg_current_wal_lsn() - 2 * 16777216) AS f) x});
my ($object) = glob "$repo->{dir}/wal/*/*/$gone-*";
ok($object, 'a segment to lose') or diag $gone;
rename $object, "$base/lost" or die;
check('wal');
like(reasons(), qr/WAL from $gone to $gone is missing/, 'the gap is named');
like(check('wal'), qr/^error: WAL is missing behind the last backup/, 'the check too');
is($node->safe_psql('postgres', 'SELECT gaps, gap_first FROM backup_wal_status'), "1|$gone", 'backup_wal_status');
my $second = $node->safe_psql('postgres', 'SELECT backup_now()');
becomes('degraded', 'is missing in the repository', 'a backup behind the gap');
like(check('wal'), qr/^warning: WAL from/, 'the check warns');
rename "$base/lost", $object or die;
check('wal');
becomes('ok', '', 'no gap');

# a backup that cannot be read
my $manifest = "$repo->{dir}/backups/$second";
my $content = slurp_file($manifest);
chmod 0600, $manifest;
rename $manifest, "$base/manifest" or die;
append_to_file($manifest, substr($content, 0, 200));
check('wal');
like(reasons(), qr/1 backups cannot be read, the last of them "$second"/, 'a damaged manifest');
unlink $manifest;
rename "$base/manifest", $manifest or die;

# the same file system
my $near = new_repository('near');
$node->safe_psql('postgres', "ALTER SYSTEM SET omsupply_backup.repository = '$near->{dir}'");
$node->safe_psql('postgres', "ALTER SYSTEM SET omsupply_backup.key_file = '$near->{key}'");
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('omsupply_backup.repository') = '$near->{dir}'");
becomes('failing', 'same file system as the data directory', 'a repository beside the data');
# without switching a segment, which would go into that repository
like(check('file_system', '0'), qr/^warning: the repository is on the same file system/, 'the check too');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
$node->reload;
becomes('ok', '', 'back');

is(join(' ', glob "$near->{dir}/wal/*/*/*"), '', 'nothing was archived there');

# growth, from sizes noted before
my $now = time;
my $bytes = $node->safe_psql('postgres', 'SELECT repository_bytes FROM backup_status');
unlink "$repo->{dir}/cache/sizes";
append_to_file("$repo->{dir}/cache/sizes", ($now - 2 * 86400) . '000000 ' . ($bytes - 2000000) . "\nnonsense\n");
chmod 0600, "$repo->{dir}/cache/sizes";
like(check('archiving'), qr/^ok/, 'WAL goes into the repository again');
is($node->safe_psql('postgres', 'SELECT growth_bytes_per_day BETWEEN 900000 AND 100000000 AND days_until_full > 0 FROM backup_status'), 't', 'growth and days until full')
  or diag($node->safe_psql('postgres', 'SELECT growth_bytes_per_day, days_until_full FROM backup_status'));
unlink "$repo->{dir}/cache/sizes";
append_to_file("$repo->{dir}/cache/sizes", ($now - 7200) . "000000 1\n");
my $free = $node->safe_psql('postgres', 'SELECT repository_free_bytes FROM backup_status');
SKIP: {
	skip 'so much space is never used up', 1 if $free / ($bytes * 12) > 14;
	check('wal');
	like(reasons(), qr/enough for \d+ days/, 'full soon');
}
unlink "$repo->{dir}/cache/sizes";

# after a restart the last archived file is known
$node->restart;
becomes('ok', '', 'after a restart');
isnt($node->safe_psql('postgres', 'SELECT archived_wal FROM backup_wal_status'), '', 'the last archived file');

# a copy is fenced
$node->stop;
my $clone = PostgreSQL::Test::Cluster->new('clone');
PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $node->data_dir, $clone->data_dir);
$clone->append_conf('postgresql.conf', 'port = ' . $clone->port . "\n");
$node->start;
$clone->start;
$clone->poll_query_until('postgres', q{SELECT state = 'fenced' FROM backup_status});
like($clone->safe_psql('postgres', q{SELECT reasons[1] FROM backup_status}), qr/belongs to another copy of this cluster.*It belongs to data directory/, 'a copy is fenced, and says whose it is')
  or diag($clone->safe_psql('postgres', q{SELECT * FROM backup_status}));
like($clone->safe_psql('postgres', q{SELECT result || ': ' || found FROM backup_check('0') WHERE name = 'owner'}), qr/^error: .*another copy/, 'backup_check() too');
$clone->stop('immediate');

# a standby is quiet, and after promotion it is a copy
$node->stop;
my $standby = PostgreSQL::Test::Cluster->new('standby');
PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $node->data_dir, $standby->data_dir);
$standby->append_conf('postgresql.conf', 'port = ' . $standby->port . "\n");
append_to_file($standby->data_dir . '/standby.signal', '');
$node->start;
$standby->start;
is($standby->safe_psql('postgres', q{SELECT state, reasons[1] ~ 'is a standby' FROM backup_status}), 'unconfigured|t', 'a standby');
is($standby->safe_psql('postgres', q{SELECT current_lsn IS NULL AND failures = 0 FROM backup_wal_status}), 't', 'backup_wal_status on a standby');
is($standby->safe_psql('postgres', q{SELECT count(*) > 5 FROM backup_check('1 s')}), 't', 'backup_check() on a standby');
is($standby->psql('postgres', q{SELECT backup_before_upgrade('x') IS NULL}, stdout => \$out, stderr => \$err), 0, 'backup_before_upgrade() on a standby');
like($err, qr/WARNING:.*is a standby/, 'warns');
$standby->promote;
$standby->poll_query_until('postgres', q{SELECT state = 'fenced' FROM backup_status});
is($standby->safe_psql('postgres', q{SELECT state FROM backup_status}), 'fenced', 'after promotion by itself');
$standby->stop('immediate');

# a monitor may look and nothing else
$node->safe_psql('postgres', 'CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher; CREATE ROLE nobody_special LOGIN');
is($node->safe_psql('postgres', 'SET ROLE watcher; SELECT count(*) FROM backup_status, backup_wal_status'), 1, 'pg_monitor may look');
for my $sql ('SELECT * FROM backup_status', 'SELECT * FROM backup_wal_status', 'SELECT * FROM backup_check()', q{SELECT backup_confirm_recovery_code('x')}, q{SELECT backup_before_upgrade('x')})
{
	isnt($node->psql('postgres', "SET ROLE nobody_special; $sql", stderr => \$err), 0, "others may not: $sql");
	like($err, qr/permission denied/, 'permission denied');
}
$node->psql('postgres', 'SET ROLE watcher; SELECT * FROM backup_check()', stderr => \$err);
like($err, qr/permission denied/, 'looking is not acting');

$node->stop;
done_testing();
