# Quarantine: a restored server lets no application in before omSupply's sync
# is turned off, and keeps it off until somebody releases it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use OmSupply;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('quarantine');
my $node = new_node('main', $repo, initdb => ['--wal-segsize=1'], conf => "omsupply_backup.database = 'central'\n");
my $target = $node->data_dir . '.x';
$node->safe_psql('postgres', 'CREATE DATABASE central; SELECT backup_now()');
program_fails([ 'restore', '--pgdata', $target, '--quarantine', '--target-immediate' ], 1, qr/it is not known which database is omSupply's/, 'without a preset', $repo);
my $central = install_omsupply($node, 'central', 2);
$node->safe_psql('central', 'CREATE EXTENSION omsupply_backup; SELECT backup_preset_omsupply()');
measure($node, 'central');
$node->safe_psql('central', q{SELECT backup_mark('now')});
$node->poll_query_until('central', q{SELECT count(*) = 0 FROM pg_ls_dir('omsupply_backup.notes')});
wait_archived($node);
$node->stop;

# As an application connects; empty when it may, else the message.
sub app
{
	my ($server, $database, $query) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'psql', '-XAtq', '-d', "host=" . $server->host . ' port=' . $server->port . " dbname=$database application_name=open-msupply", '-c', $query ],
		'<', \undef, '>', \$out, '2>', \$err);
	return $out . $err;
}
sub state { return $_[0]->safe_psql('postgres', q{SELECT 1}) && $_[0]->safe_psql('central', 'SELECT backup_quarantine_state()'); }
sub disabled { return $_[0]->safe_psql('central', q{SELECT value_bool FROM key_value_store WHERE id = 'SETTINGS_SYNC_IS_DISABLED'}); }

# with --take-over it is the default; while recovery waits nobody comes in
program_fails([ 'restore', '--pgdata', $target, '--quarantine', '--no-quarantine' ], 2, qr/--quarantine and --no-quarantine/, 'both', $repo);
my $restored = restored_node('restored', $repo, '--target-mark', 'now', '--take-over', '--target-action', 'pause');
$restored->start;
$restored->poll_query_until('postgres', 'SELECT pg_is_in_recovery() AND pg_is_wal_replay_paused()');
like(app($restored, 'central', 'SELECT 1'), qr/FATAL:  database "central" is being put into quarantine after a restore/, 'during recovery no application is let in');
is(app($restored, 'postgres', 'SELECT 1'), "1\n", 'but into other databases');
$restored->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
my ($first) = ('');
for (1 .. 3000)
{
	# from the first moment on that it may connect, the sync is off
	$first = app($restored, 'central', q{SELECT value_bool FROM key_value_store WHERE id = 'SETTINGS_SYNC_IS_DISABLED'});
	last unless $first =~ /quarantine|recovery mode|starting up/;
	select undef, undef, undef, 0.01;
}
is($first, "t\n", 'the first connection of an application finds the sync turned off');
is(state($restored), 'on', 'the state');
like($restored->safe_psql('central', 'SELECT * FROM backup_realign_report()'), qr/^quarantine\|/m, 'the report tells it');
like(app($restored, 'central', 'SELECT backup_on_app_start()'), qr/omSupply must not start/, 'and omSupply must not start');

# it survives whatever
$restored->stop('immediate');
$restored->start;
await_quarantine($restored, 'central');
is(disabled($restored), 't', 'after a crash');
is($restored->safe_psql('central', q{SELECT count(*) FROM backup_realign_log WHERE scenario = 'quarantine'}), 1, 'it was changed once');
$restored->safe_psql('central', 'SELECT backup_now()');
$restored->safe_psql('central', 'ALTER TABLE key_value_store RENAME TO away');
$restored->restart;
like(app($restored, 'central', 'SELECT 1'), qr/is being put into quarantine/, 'when it cannot be turned off nobody is let in');
ok($restored->log_contains(qr/relation "public.key_value_store" does not exist/), 'and the log says why');
$restored->safe_psql('central', 'ALTER TABLE away RENAME TO key_value_store', connstr => $restored->connstr('central') . ' application_name=psql');
ok(await_quarantine($restored, 'central'), 'it is tried again');

# release
isnt($restored->psql('central', 'SELECT backup_release_quarantine()', stderr => \my $err), 0, 'release before the sync is repaired');
like($err, qr/the sync of omSupply is not repaired yet.*backup_realign/s, 'is refused');
$restored->safe_psql('central', q{SELECT * FROM backup_realign('omsupply', false, highest => 1)});
is($restored->safe_psql('central', 'SELECT backup_release_quarantine()'), 'omSupply may start and sync', 'release');
is(disabled($restored), 'f', 'the sync is on again');
is(state($restored), 'none', 'the state');
ok(!-e $restored->data_dir . '/omsupply_backup.quarantine', 'the file is gone');
$restored->restart;
is(disabled($restored), 'f', 'it stays on');
is($restored->safe_psql('central', q{SELECT string_agg(coalesce(old_value, '-') || '>' || new_value, ' ' ORDER BY log_id) FROM backup_realign_log WHERE scenario = 'quarantine'}), '->true true>false', 'all of it is in the log');

# a file that makes no sense keeps applications out of everything
append_to_file($restored->data_dir . '/omsupply_backup.quarantine', 'x');
$restored->restart;
like(app($restored, 'postgres', 'SELECT 1'), qr/is being put into quarantine/, 'a damaged file');
unlink $restored->data_dir . '/omsupply_backup.quarantine';
$restored->stop;

# none for a copy, and none when it is not wanted; and a backup does not hold it
for my $case ([ 'copy' ], [ 'not', '--take-over', '--no-quarantine' ])
{
	my ($name, @options) = @$case;
	my $other = restored_node($name, $repo, '--target-immediate', @options);
	ok(!-e $other->data_dir . '/omsupply_backup.quarantine', "$name: no quarantine");
}
my $asked = restored_node('asked', $repo, '--target-immediate', '--quarantine');
ok(-e $asked->data_dir . '/omsupply_backup.quarantine', 'a copy, when it is asked for');

done_testing();
