# Targets: the server keeps copies of its repository by itself, whatever becomes
# of them, and nothing else in the server is held up.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use File::Path qw(rmtree);
use JSON::PP;
use Omb;
use PostgreSQL::Test::BackgroundPsql;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir('targets');
my $repo = new_repository('targets');
my $node = new_node('main', $repo, conf => "autovacuum = off\nomsupply_backup.jobs = 1\nlog_timezone = 'UTC'\ntimezone = 'UTC'\nmax_worker_processes = 16\n");
my $launcher = sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'omsupply_backup launcher'});

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub wait_until
{
	my ($query, $name) = @_;
	my $done = $node->poll_query_until('postgres', $query);
	ok($done, $name) or diag(sql('SELECT * FROM backup_target_status'));
	return $done;
}

sub wait_state
{
	my ($target, $state, $name) = @_;
	return wait_until("SELECT state = '$state' FROM backup_target_status WHERE name = '$target'", $name || "target $target is $state");
}

# All that is archived now is at the target.
sub wait_complete
{
	my ($target, $name) = @_;
	return wait_until("SELECT state = 'ok' AND objects_waiting = 0 AND data_at_risk = '0' FROM backup_target_status WHERE name = '$target'", $name);
}

# Pauses after failures are cut short by reading the settings again.
sub wait_reloading
{
	my ($query, $name) = @_;
	for (1 .. 600)
	{
		return pass($name) if sql($query) eq 't';
		$node->reload;
		select(undef, undef, undef, 0.2);
	}
	diag(sql('SELECT * FROM backup_target_status'));
	return fail($name);
}

sub verifies
{
	my ($dir, $name) = @_;
	my ($s, $o, $e) = program({ dir => $dir, key => $repo->{key} }, 'verify');
	return is($s, 0, $name) || diag("$o$e");
}

sub mirror_pid { return sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'omsupply_backup mirror'}) }

# ---- a target comes into being ----

my $listener = $node->background_psql('postgres');
$listener->query('LISTEN omsupply_backup');
sql(q{CREATE TABLE t AS SELECT n, md5(n::text) AS a FROM generate_series(1, 20000) n});
sql(q{SELECT backup_now('first')});
is(sql('SELECT count(*) FROM backup_target_status'), 0, 'no targets at first');
my $copy = "$base/second disk";
sql(qq{INSERT INTO backup_target (name, url) VALUES ('disk', 'file://$base/second%20disk')});
wait_complete('disk', 'a target is filled as soon as the row is committed');
verifies($copy, 'it is a good repository');
is(sql(q{SELECT last_error IS NULL AND last_success_at IS NOT NULL AND bytes_waiting = 0 AND catch_up_seconds = 0 FROM backup_target_status}), 't', 'what the view shows');

# ---- what is archived and backed up goes there by itself ----

my $wal = wait_archived($node);
wait_until(qq{SELECT count(*) = 1 FROM pg_ls_dir('$copy/wal/00000001') d, LATERAL pg_ls_dir('$copy/wal/00000001/' || d) f WHERE f LIKE '$wal-%'}, 'a segment is copied');
sql(q{UPDATE t SET a = md5(a) WHERE n % 7 = 0});
my $id = sql(q{SELECT backup_now('second')});
wait_until(qq{SELECT count(*) = 1 FROM pg_ls_dir('$copy/backups') f WHERE f = '$id'}, 'a backup is copied');
wait_complete('disk', 'all is there');
is(sql(qq{SELECT result FROM backup_check('0') WHERE name = 'target "disk"'}), 'ok', 'backup_check() has a row for it');

# ---- removed behind our back, and healed with the next backup ----

my ($lost) = glob "'$copy/packs/*/*'";
unlink $lost or die;
sql(q{SELECT backup_now('third')});
wait_until(qq{SELECT (pg_stat_file('$lost', true)).size > 0}, 'a pack that was lost is copied again');
wait_complete('disk', 'all is there again');
verifies($copy, 'the copy verifies');

# ---- a target that is not there ----

rename $copy, "$copy.away" or die;
mkdir $copy or die;
wait_archived($node);
wait_state('disk', 'blocked', 'a disk that is not mounted');
like(sql('SELECT last_error FROM backup_target_status'), qr/is empty, but was not before/, 'it says why');
like(sql('SELECT hint FROM backup_target_status'), qr/mounted/, 'and what to do');
is(sql(q{SELECT state FROM backup_status}), 'degraded', 'backup_status counts it in');
like(sql(q{SELECT reasons::text FROM backup_status}), qr/target .*disk.* has been failing since/, 'with the reason');
is(sql(qq{SELECT result FROM backup_check('0') WHERE name = 'target "disk"'}), 'error', 'so does backup_check()');
ok($node->poll_query_until('postgres', 'SELECT failed_count = 0 AND last_archived_wal IS NOT NULL FROM pg_stat_archiver'), 'archiving is not touched');
ok(sql(q{SELECT backup_now('fourth')}), 'nor are backups');
rmdir "$copy/tmp";
unlink "$copy/lock";
rmdir $copy or die;
rename "$copy.away", $copy or die;
wait_reloading(q{SELECT state = 'ok' AND objects_waiting = 0 FROM backup_target_status}, 'mounted again it goes on');
verifies($copy, 'the copy verifies');
ok($node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM backup_status, unnest(reasons) r WHERE r LIKE '%target%')}), 'backup_status forgets it');
my $heard = $listener->query('SELECT 1');
like($heard, qr/"event": "target", "target": "disk", "from": "ok", "to": "blocked", "message": ".*is empty/, 'who listens is told');
like($heard, qr/"event": "target", "target": "disk", "from": "blocked", "to": "ok", "message": null/, 'also that it works again');

# ---- read-only, and full ----

chmod 0500, "$copy/wal/00000001/" . substr($wal, 0, 16), "$copy/wal/00000001", "$copy/tmp";
wait_archived($node);
wait_state('disk', 'failing', 'a target that cannot be written to');
like(sql('SELECT last_error FROM backup_target_status'), qr/Permission denied/, 'it says why');
cmp_ok(sql('SELECT objects_waiting FROM backup_target_status'), '>', 0, 'and counts what waits');
ok(sql(q{SELECT oldest_waiting_wal IS NOT NULL AND data_at_risk > '0' FROM backup_target_status}) eq 't', 'so much is at risk');
chmod 0700, "$copy/wal/00000001/" . substr($wal, 0, 16), "$copy/wal/00000001", "$copy/tmp";
wait_reloading(q{SELECT state = 'ok' AND objects_waiting = 0 FROM backup_target_status}, 'it goes on when it can');

SKIP:
{
	skip 'no small file system', 3 unless $ENV{OMB_SMALL_FS};
	my $filler = "$ENV{OMB_SMALL_FS}/filler";
	system("find '$ENV{OMB_SMALL_FS}' -mindepth 1 -delete") == 0 or die;
	system("dd if=/dev/zero of='$filler' bs=1M count=21 status=none") == 0 or die;
	sql(qq{INSERT INTO backup_target (name, url) VALUES ('small', 'file://$ENV{OMB_SMALL_FS}/copy')});
	wait_state('small', 'failing', 'a disk that gets full');
	like(sql(q{SELECT last_error FROM backup_target_status WHERE name = 'small'}), qr/No space left/, 'it says so');
	unlink $filler;
	wait_reloading(q{SELECT state = 'ok' FROM backup_target_status WHERE name = 'small'}, 'with space again it goes on');
	sql(q{DELETE FROM backup_target WHERE name = 'small'});
	wait_until(q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'omsupply_backup mirror'}, 'the worker of a target that was removed ends');
}

# ---- kills and hangs ----

my $worker = mirror_pid();
my $agent = agent_pid($worker);
ok($agent, 'the target has an agent');
kill 'KILL', $agent or die;
wait_state('disk', 'failing', 'an agent that is killed');
wait_reloading(q{SELECT state = 'ok' FROM backup_target_status WHERE name = 'disk'}, 'is replaced');
isnt(agent_pid($worker), $agent, 'by another one');
is(mirror_pid(), $worker, 'of the same worker');
kill 'TERM', $worker or die;
wait_until(qq{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'omsupply_backup mirror' AND pid <> $worker}, 'a worker that is terminated is started again');
wait_complete('disk', 'and goes on');

# An agent that hangs: the archiver does not even notice.
$agent = agent_pid(mirror_pid());
kill 'STOP', $agent or die;
my $archived = sql('SELECT archived_count FROM pg_stat_archiver');
for my $i (1 .. 5)
{
	sql("INSERT INTO t VALUES (-$i, 'x')");
	wait_archived($node);
}
cmp_ok(sql('SELECT archived_count FROM pg_stat_archiver'), '>=', $archived + 5, 'archiving goes on while a target hangs');
is(sql('SELECT failed_count FROM pg_stat_archiver'), 0, 'without a failure');
ok(sql(q{SELECT backup_now('while it hangs')}), 'so do backups');
cmp_ok(sql(q{SELECT extract(epoch FROM data_at_risk) FROM backup_target_status}), '>', 0, 'the view shows that the target is behind');
kill 'CONT', $agent or die;
wait_complete('disk', 'it catches up');

# ---- limits ----

# what passes is counted, not timed: with "stop" nothing does
sql(q{UPDATE backup_target SET "window" = '00:00-24:00 stop'});
ok(agent_pid(mirror_pid()) == $agent, 'a new window needs no new agent');
sql(q{INSERT INTO t SELECT n, md5(random()::text) FROM generate_series(1, 1000) n});
$wal = wait_archived($node);
wait_until(q{SELECT state = 'copying' AND objects_waiting > 0 FROM backup_target_status}, 'while nothing may be sent it waits');
my @there = glob "'$copy/wal/00000001/*/$wal-*'";
is(scalar @there, 0, 'and nothing is sent');
is(sql('SELECT failed_count FROM pg_stat_archiver'), 0, 'archiving is not touched');
sql(q{UPDATE backup_target SET "window" = NULL, upload_limit = 100000000});
wait_complete('disk', 'a limit that is lifted counts at once');
ok(agent_pid(mirror_pid()) == $agent, 'still the same agent');

# a window that begins while it works: the clock is moved into it
sql(q{UPDATE backup_target SET "window" = to_char(now() + interval '2 hours', 'HH24:MI') || '-' || to_char(now() + interval '4 hours', 'HH24:MI') || ' stop'});
wait_archived($node);
wait_complete('disk', 'outside of the window it works');
sql(q{ALTER SYSTEM SET omsupply_backup.debug_clock_offset = '3h'});
$node->reload;
# a limit is told between looks
sql(q{INSERT INTO t VALUES (-10, 'in the window')});
$wal = wait_archived($node);
wait_until(q{SELECT state = 'copying' AND objects_waiting > 0 FROM backup_target_status}, 'inside nothing is sent');
sql(q{ALTER SYSTEM RESET omsupply_backup.debug_clock_offset});
$node->reload;
wait_complete('disk', 'and outside it goes on, in the middle of an object');
sql(q{UPDATE backup_target SET "window" = NULL, upload_limit = NULL});

# a limit is kept: all bytes but those of the first pieces have to wait
my $slow = "$base/slow";
sql(qq{INSERT INTO backup_target (name, url, upload_limit, options) VALUES ('slow', 'file://$slow', 1048576, '{"transfers": 1}')});
my $began = sql('SELECT extract(epoch FROM clock_timestamp())');
wait_complete('slow', 'a slow target');
my $bytes = `du -sb '$slow' | cut -f1`;
cmp_ok(sql('SELECT extract(epoch FROM clock_timestamp())') - $began, '>=', ($bytes - 2 * 1048576) / 1048576 - 1, 'the limit is kept');
cmp_ok(sql(q{SELECT rate FROM backup_target_status WHERE name = 'slow'}), '<=', 3 * 1048576, 'and the rate shows it');
sql(q{DELETE FROM backup_target WHERE name = 'slow'});

# ---- retention of a target ----

sql(q{INSERT INTO backup_retention (store, keep_last, keep_days, minimum) VALUES ('disk', 2, NULL, 1)});
sql(q{SELECT count(*) FROM backup_expire()});
wait_until(qq{SELECT count(*) = 2 FROM pg_ls_dir('$copy/backups')}, 'a target keeps by its own rules');
cmp_ok(sql('SELECT count(*) FROM backup_list()'), '>', 2, 'the repository by others');
wait_complete('disk', 'what was removed is not missing');
sql(q{SELECT backup_now('after expire')});
wait_until(qq{SELECT count(*) = 3 FROM pg_ls_dir('$copy/backups')}, 'a new backup goes there');
wait_complete('disk', 'and the old ones do not');
is(sql(qq{SELECT count(*) FROM pg_ls_dir('$copy/backups')}), 3, 'three are there');
verifies($copy, 'the copy verifies');
# pinned at the repository is pinned there
my $pinned = sql(qq{SELECT min(f) FROM pg_ls_dir('$copy/backups') f});
sql(qq{SELECT backup_pin('$pinned', 'keep it')});
sql(q{SELECT count(*) FROM backup_expire()});
$node->wait_for_log(qr/removal of old backups from target "disk" completed: \d+ backups removed, 3 kept/);
is(sql(qq{SELECT count(*) FROM pg_ls_dir('$copy/backups') f WHERE f = '$pinned'}), 1, 'a pin holds at the target');
sql(qq{SELECT backup_unpin('$pinned')});
sql(q{SELECT count(*) FROM backup_expire()});
wait_until(qq{SELECT count(*) = 0 FROM pg_ls_dir('$copy/backups') f WHERE f = '$pinned'}, 'until it is taken away');
$node->wait_for_log(qr/removal of old backups from target "disk" completed: 1 backups removed, 2 kept/);
wait_complete('disk', 'all is as it should be');
verifies($copy, 'the copy verifies');

# ---- what a target can do ----

is(sql(q{SELECT string_agg(operation || ' ' || result, ', ' ORDER BY operation) FROM backup_target_check('disk')}),
	'create only ok, get ok, get range ok, large object ok, leftovers ok, list ok, open ok, put ok, remove ok', 'each operation is tried');
my ($ret, $out, $err) = $node->psql('postgres', q{SELECT * FROM backup_target_check('nonesuch')});
like($err, qr/target "nonesuch" does not exist/, 'a target that does not exist');
sql(q{INSERT INTO backup_target (name, url, is_enabled) VALUES ('gone', 'file:///nonesuch/directory/copy', false)});
($ret, $out, $err) = $node->psql('postgres', q{SELECT * FROM backup_target_check('gone')});
like($err, qr/does not exist.*mounted/s, 'one that is not mounted');
is(sql(q{SELECT state FROM backup_target_status WHERE name = 'gone'}), 'disabled', 'a target that is not enabled');
my ($ps, $po, $pe) = program(undef, 'mirror', '--probe', '--to', "$base/probed", '--json');
is($ps, 0, 'the program probes, too') or diag($pe);
is(scalar(grep { $_->{result} eq 'ok' } @{ decode_json($po) }), 9, 'with the same result');

# ---- changes of the table ----

sql(q{UPDATE backup_target SET is_enabled = false WHERE name = 'disk'});
wait_until(q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'omsupply_backup mirror'}, 'a target that is disabled has no worker');
is(sql(q{SELECT state FROM backup_target_status WHERE name = 'disk'}), 'disabled', 'the view says so');
sql(q{BEGIN; UPDATE backup_target SET is_enabled = true WHERE name = 'disk'; ROLLBACK});
sql(q{UPDATE backup_target SET is_enabled = true WHERE name = 'disk'});
wait_complete('disk', 'enabled again it goes on');

# ---- a restart, and a server that ends ----

$node->restart('fast');
wait_complete('disk', 'after a restart it goes on');
$agent = agent_pid(mirror_pid());
$node->stop('fast');
ok(!kill(0, $agent), 'with the server the agent ends');
$node->start;
wait_complete('disk', 'and comes back');

# ---- emptied on purpose ----

sql(q{UPDATE backup_target SET is_enabled = false WHERE name = 'disk'});
wait_until(q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'omsupply_backup mirror'}, 'not at work');
rmtree($copy);
mkdir $copy or die;
sql(q{UPDATE backup_target SET is_enabled = true WHERE name = 'disk'});
wait_state('disk', 'blocked', 'a target that was emptied');
program_ok([ 'mirror', '--from', $repo->{dir}, '--to', "file://$base/second%20disk", '--reconcile' ], 'is filled by hand', $repo);
wait_reloading(q{SELECT state = 'ok' AND objects_waiting = 0 FROM backup_target_status WHERE name = 'disk'}, 'and kept up to date again');
verifies($copy, 'the copy verifies');

# ---- a dump has no secrets and can be restored ----

my ($dump) = run_command([ 'pg_dump', '-h', $node->host, '-p', $node->port, '--data-only', '-t', 'backup_target', 'postgres' ]);
my ($full) = run_command([ 'pg_dump', '-h', $node->host, '-p', $node->port, 'postgres' ]);
like($full, qr{COPY public.backup_target .*\ndisk\tfile://}s, 'a dump has the targets');

# ---- a standby is quiet, and takes over ----

$node->stop;
my $standby = PostgreSQL::Test::Cluster->new('standby');
PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $node->data_dir, $standby->data_dir);
$standby->append_conf('postgresql.conf', 'port = ' . $standby->port . "\n");
append_to_file($standby->data_dir . '/standby.signal', '');
$node->start;
$standby->start;
is($standby->safe_psql('postgres', q{SELECT state || ', ' || last_error FROM backup_target_status WHERE name = 'disk'}),
	'blocked, this server is a standby: it takes no backups and archives no WAL', 'on a standby targets are blocked');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'omsupply%'}), 0, 'and nothing runs');
$standby->promote;
$standby->poll_query_until('postgres', q{SELECT state = 'blocked' AND last_error LIKE '%another copy of this cluster%' FROM backup_target_status WHERE name = 'disk'});
like($standby->safe_psql('postgres', q{SELECT last_error FROM backup_target_status WHERE name = 'disk'}), qr/belongs to another copy of this cluster/,
	'promoted it leaves the target of the other server alone');
$standby->stop;

# ---- what is not encrypted does not leave the machine ----

my $plain = "$base/plain";
program_ok([ 'init', '--repository', $plain, '--no-encryption' ], 'a repository that is not encrypted');
append_to_file("$base/keys", "access_key_id=nobody\nsecret_access_key=hunter2hunter2\n");
chmod 0600, "$base/keys";
sql(qq{ALTER SYSTEM SET omsupply_backup.repository = '$plain'});
sql(q{ALTER SYSTEM SET omsupply_backup.key_file = ''});
sql(qq{INSERT INTO backup_target (name, url, credentials) VALUES ('bucket', 's3://bucket/x?endpoint=http%3A%2F%2F127.0.0.1%3A1', '$base/keys')});
wait_reloading(q{SELECT state = 'blocked' AND last_error LIKE '%is not encrypted%' FROM backup_target_status WHERE name = 'bucket'}, 'it is refused for a bucket');
wait_reloading(q{SELECT state = 'blocked' AND last_error LIKE '%holds another repository%' FROM backup_target_status WHERE name = 'disk'}, 'and a target of another repository stays what it is');
unlike(sql('SELECT string_agg(t::text, \'\') FROM backup_target_status t') . slurp_file($node->logfile), qr/hunter2/, 'no secret is shown');
verifies($copy, 'the copy verifies');

# ---- the extension goes ----

my $workers = sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'omsupply_backup mirror'});
sql(q{BEGIN; DROP EXTENSION omsupply_backup; ROLLBACK});
is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'omsupply_backup mirror'}), $workers, 'dropping it, rolled back, is nothing');
my $dropped = sql('SELECT extract(epoch FROM clock_timestamp())');
sql(q{DROP EXTENSION omsupply_backup});
# at commit, and not before; not with the next look at the tables, either
wait_until_gone();
sub wait_until_gone
{
	my $gone = $node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'omsupply_backup mirror'});
	return ok($gone, 'without the extension there are no targets');
}
# the scheduler looks by itself every five minutes
cmp_ok(sql('SELECT extract(epoch FROM clock_timestamp())') - $dropped, '<', 120, 'that was noticed at once');
is(sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'omsupply_backup launcher'}) ne '', 1, 'the launcher is well');
unlike(slurp_file($node->logfile), qr/PANIC|server process .* was terminated/, 'no server process died');
$node->stop;

done_testing();
