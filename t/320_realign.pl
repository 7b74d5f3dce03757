# The sync of omSupply after a disaster: simulated mSupply, omSupply and remote
# sites, a real restore, and then with and without backup_realign().
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use OmSupply;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $err;

sub total { my ($central, $table) = @_; return OmSupply::sql($central, "SELECT count(*) FROM $table"); }
sub classes { my ($from, $to) = @_; return map { (sprintf('c%03d', $_) => "class $_") } $from .. $to; }

for my $line (2, 3)
{
	my $protocol = $line == 2 ? 6 : 7;
	my $repo = new_repository("line$line");
	my $node = new_node("line$line", $repo, initdb => ['--wal-segsize=1'], conf => "omsupply_backup.database = 'central'\n");
	$node->safe_psql('postgres', 'CREATE DATABASE central');
	my $central = install_omsupply($node, 'central', $line);
	OmSupply::sql($central, 'CREATE EXTENSION omsupply_backup; SELECT backup_preset_omsupply()');
	is(OmSupply::sql($central, 'SELECT backup_realign_pending()'), 'f', "line $line: nothing is pending");
	like(OmSupply::sql($central, 'SELECT backup_on_app_start()'), qr/^omSupply starts, was version $line\./, 'omSupply may start');

	$node->poll_query_until('central', q{SELECT count(*) = 0 FROM backup_progress});

	# life before
	my $msupply = new_msupply();
	my ($online, $away, $ahead) = map { new_remote($_, $protocol) } 11, 12, 13;
	my @remotes = ($online, $away, $ahead);
	msupply_edit($msupply, i1 => 'one', i2 => 'two');
	central_edit($central, 'stocktake', st0 => 'first');
	central_sync($central, $msupply);
	central_edit($central, 'asset_class', classes(1, 80));
	$online->edit('a1', notes => 'before', asset_class_id => 'c001');
	$_->sync($central) for @remotes;
	measure($node, 'central');
	$node->safe_psql('central', 'SELECT backup_now()');
	central_edit($central, 'stocktake', st1 => 'old');
	central_edit($central, 'asset_class', classes(81, 90));
	OmSupply::sql($central, q{SELECT backup_mark('t0')});
	my $restored_max = OmSupply::sql($central, 'SELECT max(cursor) FROM changelog');
	my $msupply_t0 = copy_of($msupply);
	my $t0 = OmSupply::sql($central, 'SELECT clock_timestamp()');

	# what will be lost
	msupply_edit($msupply, i3 => 'three');
	central_sync($central, $msupply);
	central_edit($central, 'stocktake', st1 => 'new', st2 => 'only there');
	central_sync($central, $msupply);
	central_edit($central, 'asset_class', classes(91, 95));
	$online->edit('a2', notes => 'lost', asset_class_id => 'c002');
	$online->edit('a3', notes => 'of a lost class', asset_class_id => 'c095') if $online->pull_all($central) || 1;
	$ahead->edit('a4', notes => 'lost, too', asset_class_id => 'c003');
	$_->sync($central) for @remotes;
	central_edit($central, 'asset_class', classes(96, 160));
	$_->sync($central) for @remotes;
	is(join(' ', map { $_->lacks($central, 'asset_class') } @remotes), '0 0 0', 'all sites have all classes');
	is(total($central, 'asset'), 4, 'and the central server all assets');
	measure($node, 'central');
	my $highest = OmSupply::sql($central, 'SELECT max(cursor) FROM changelog');
	wait_archived($node);
	$node->stop('immediate');

	# ---- B.3.2: omSupply is restored, mSupply and sites are recent ----
	my $restored = restored_node("restored$line", $repo, '--target-mark', 't0', '--take-over');
	start_restored($restored);
	$central = { %$central, node => $restored };
	$restored->poll_query_until('central', q{SELECT backup_quarantine_state() = 'on'});
	is(OmSupply::sql($central, 'SELECT max(cursor) FROM changelog'), $restored_max, 'the restored state');
	is(OmSupply::sql($central, 'SELECT backup_realign_pending()'), 't', 'the restore is recognised');
	isnt($restored->psql('central', 'SELECT backup_on_app_start()', stderr => \$err), 0, 'omSupply must not start');
	like($err, qr/omSupply must not start: its database was restored.*backup_realign_report/s, 'and is told why');
	my $report = OmSupply::sql($central, 'SELECT * FROM backup_realign_report()');
	like($report, qr/^restore\|this database was restored/m, 'the report: restored');
	like($report, qr/^changelog\|before, it had come to (\d+) at least/m, 'how far it was');
	cmp_ok(($report =~ /had come to (\d+)/)[0], '>=', $highest, 'no less than it was');
	like($report, qr/^scenario\|.*"omsupply" \(B\.3\.2\)/m, 'the scenario');
	like($report, qr/^remote site\|site 11: 2 changes .*\(asset\)/m, 'what site 11 pushed');
	like($report, qr/^remote site\|site 13: 1 changes/m, 'and site 13');
	unlike($report, qr/^remote site\|site (12|1|2):/m, 'and nothing of others');

	# without: on a copy of database, sites and mSupply
	$restored->safe_psql('postgres', 'CREATE DATABASE without TEMPLATE central; CREATE DATABASE later TEMPLATE central; CREATE DATABASE gap TEMPLATE central');
	my $bad = { %$central, database => 'without' };
	my ($bad_msupply, @bad) = map { copy_of($_) } $msupply, @remotes;
	central_edit($bad, 'asset_class', classes(201, 215));
	central_sync($bad, $bad_msupply);
	$_->sync($bad) for @bad;
	$_->sync($bad) for @bad;
	my %lost = map { $_ => 1 } map { my $r = $_; map { "$r->{site}:$_" } grep { !$r->{records}{asset_class}{$_} } map { sprintf 'c%03d', $_ } 201 .. 215 } @bad;
	cmp_ok(scalar(grep { /^12:/ } keys %lost), '>=', 5, 'without realignment a site never gets new records');
	is($bad_msupply->{records}{stocktake}{st1}{name}, 'old', 'and old versions overwrite new ones at mSupply');
	is(total($bad, 'asset'), 1, 'and what sites pushed is lost');

	# the mistakes that can be made
	isnt($restored->psql('central', q{SELECT * FROM backup_realign('nonsense')}, stderr => \$err), 0, 'a scenario that there is not');
	like($err, qr/invalid scenario "nonsense".*HINT:.*"omsupply"/s, 'the hint names them');
	my $app = $restored->background_psql('central', extra_params => [ '-d', "dbname=central application_name=open-msupply port=" . $restored->port . ' host=' . $restored->host ]);
	isnt($restored->psql('central', q{SELECT * FROM backup_realign('omsupply', false)}, stderr => \$err), 0, 'while omSupply is connected');
	like($err, qr/others are connected.*open-msupply.*Stop omSupply/s, 'it is refused');
	$app->quit;
	$restored->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'central' AND backend_type = 'client backend'});
	isnt($restored->psql('central', q{SELECT * FROM backup_realign('omsupply', highest => 2147483000)}, stderr => \$err), 0, 'near the end of int4');
	like($err, qr/cursors end at 2147483647/, 'it is refused');
	isnt($restored->psql('gap', q{SELECT * FROM backup_realign('omsupply')}, stderr => \$err), 0, 'nothing is known of the time before');
	like($err, qr/it is not known how far.*Give the highest cursor/s, 'it asks for it');

	# a dry run changes nothing, the real one what the dry one told
	my $state = q{SELECT last_value, is_called FROM changelog_cursor_seq; SELECT * FROM key_value_store ORDER BY id; SELECT count(*) FROM sync_log WHERE prepare_initial_finished_datetime IS NULL; SELECT count(*) FROM backup_realign_log; SELECT count(*) FROM pg_class};
	my $before = OmSupply::sql($central, $state);
	my $options = 'requeue => true, highest => ' . $highest . ($line == 3 ? ', ask_remotes => true' : '');
	my $told = OmSupply::sql($central, "SELECT * FROM backup_realign('omsupply', $options)");
	is(OmSupply::sql($central, $state), $before, 'a dry run changes nothing');
	is(OmSupply::sql($central, "SELECT * FROM backup_realign('omsupply', false, $options)"), $told, 'the real one does what it told');
	like($told, qr/^sequence changelog_cursor_seq\|\d+\|(\d+)\|remote sites may hold cursors/m, 'the sequence');
	cmp_ok(OmSupply::sql($central, 'SELECT last_value FROM changelog_cursor_seq WHERE is_called'), '>=', ($told =~ /changelog_cursor_seq\|\d+\|(\d+)/)[0], 'is where it was to be');
	cmp_ok(OmSupply::sql($central, 'SELECT last_value FROM changelog_cursor_seq'), '>', $highest, 'past what any site has seen');
	is(OmSupply::sql($central, q{SELECT count(*) FROM backup_realign_log WHERE scenario = 'omsupply'}), scalar(split /\n/, $told), 'each change is in the log');
	is(OmSupply::sql($central, q{SELECT value_int FROM key_value_store WHERE id = 'REMOTE_SYNC_PUSH_CURSOR'}), $restored_max + 1, 'nothing old is pushed to mSupply');
	like(OmSupply::sql($central, 'SELECT backup_on_app_start()'), qr/omSupply starts/, 'omSupply may start');
	is(OmSupply::sql($central, 'SELECT backup_release_quarantine()'), 'omSupply may start and sync', 'the quarantine ends');
	unlike(OmSupply::sql($central, q{SELECT object FROM backup_realign('omsupply')}), qr/incarnation/, 'nothing is pending any more');
	if ($line == 3)
	{
		like($told, qr/^table changelog_p_1500\|\|partition from 1500 to 2000/m, 'partitions');
		is(OmSupply::sql($central, q{SELECT bool_and(c.relhasindex) AND count(*) > 3 FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'changelog'::regclass}), 't', 'are there with their indexes');
		is(OmSupply::sql($central, 'SELECT pg_sequence_last_value(\'changelog_cursor_seq\') IS NOT NULL'), 't', 'omSupply finds the sequence called');
		# the same jump without partitions
		isnt($restored->psql('gap', q{SELECT setval('changelog_cursor_seq', 5000, true); SELECT app_upsert('asset_class', '{"id": "x"}', 2)}, stderr => \$err), 0, 'without partitions');
		like($err, qr/no partition of relation "changelog" found for row/, 'nothing could be written');
	}

	# life goes on
	central_edit($central, 'asset_class', classes(201, 215));
	if ($line == 2)
	{
		# as the report says: push cursors are set back by hand
		$_->{push} = 1 for $online, $ahead;
	}
	central_sync($central, $msupply);
	for (1 .. 3) { $_->sync($central) for @remotes; }
	is(join(' ', map { $_->lacks($central, 'asset_class') } @remotes), '0 0 0', 'with realignment every site gets all');
	is($msupply->{records}{stocktake}{st1}{name}, 'new', 'mSupply keeps what is newer');
	is(OmSupply::sql($central, q{SELECT string_agg(id || ' ' || name, ', ' ORDER BY id) FROM stocktake}), 'st0 first, st1 new, st2 only there', 'what mSupply has comes back');
	is(OmSupply::sql($central, q{SELECT string_agg(id, ' ' ORDER BY id) FROM item}), 'i1 i2 i3', 'central records of mSupply, too');
	is(OmSupply::sql($central, q{SELECT string_agg(id, ' ' ORDER BY id) FROM asset}), 'a1 a2 a4', 'what sites pushed is here again');

	# a3 refers to a class that only sites have
	like(OmSupply::sql($central, 'SELECT * FROM backup_realign_report()'), qr/^integration\|1 records failed because/m, 'the report tells what failed');
	$online->push_all($central);
	is(total($central, 'asset'), 3, 'it is not tried again by itself');
	central_edit($central, 'asset_class', c095 => 'entered again');
	is(OmSupply::sql($central, q{SELECT object, old_value FROM backup_realign('retry', false)}), 'table sync_buffer|1 records failed because a record that they refer to was missing', 'retry');
	OmSupply::sql($central, 'SELECT app_integrate(11)');
	is(OmSupply::sql($central, q{SELECT string_agg(id, ' ' ORDER BY id) FROM asset}), 'a1 a2 a3 a4', 'nothing is missing that any party had');
	is(OmSupply::sql($central, q{SELECT count(*) FROM backup_realign('retry', false)}), 0, 'a second time there is nothing to do');

	# ---- B.3.4: mSupply was restored to t0, too ----
	my $both = { %$central, database => 'later' };
	my ($both_msupply, @both) = map { copy_of($_) } $msupply_t0, @remotes;
	OmSupply::sql($both, "SELECT * FROM backup_realign('both', false, highest => $highest, msupply_at => '$t0', msupply_cursor => 2)");
	msupply_edit($both_msupply, i9 => 'new');
	central_edit($both, 'asset_class', classes(201, 215));
	$_->{push} = 1 for @both;
	for (1 .. 3) { central_sync($both, $both_msupply); $_->sync($both) for @both; }
	is(OmSupply::sql($both, q{SELECT string_agg(id, ' ' ORDER BY id) FROM item}), 'i1 i2 i9', 'both restored: what mSupply numbers anew arrives');
	is(join(' ', map { "$_ $both_msupply->{records}{stocktake}{$_}{name}" } sort keys %{ $both_msupply->{records}{stocktake} }), 'st0 first, st1 old' =~ s/,//r, 'mSupply gets what it had not');
	is(join(' ', map { $_->lacks($both, 'asset_class') } @both), '0 0 0', 'every site gets all');

	# ---- B.3.1: only mSupply was restored ----
	central_edit($central, 'stocktake', st3 => 'third');
	central_sync($central, $msupply);
	my $only = copy_of($msupply_t0);
	my $pull = OmSupply::key_value($central, 'CENTRAL_SYNC_PULL_CURSOR');
	is($pull, 3, 'omSupply has seen more than mSupply has');
	msupply_edit($only, i10 => 'new');
	central_sync($central, $only);
	is(OmSupply::sql($central, q{SELECT count(*) FROM item WHERE id = 'i10'}), 0, 'mSupply restored: without realignment its new record is missed');
	like(OmSupply::sql($central, q{SELECT * FROM backup_realign('msupply', false, msupply_cursor => 2)}), qr/key CENTRAL_SYNC_PULL_CURSOR\|3\|2/, 'the cursor is set back');
	central_sync($central, $only);
	is(OmSupply::sql($central, q{SELECT count(*) FROM item WHERE id = 'i10'}), 1, 'with it the record arrives');
	is(join(' ', map { $only->{records}{stocktake}{$_}{name} } sort keys %{ $only->{records}{stocktake} }), 'first new third', 'and mSupply gets back what it lost');
	is(OmSupply::sql($central, q{SELECT count(*) FROM backup_realign('remote')}), 0, 'B.3.3: nothing is to be changed here');

	# ---- files that are referred to ----
	my $files = PostgreSQL::Test::Utils::tempdir('files');
	OmSupply::sql($central, q{INSERT INTO sync_file_reference (id, table_name, record_id, file_name, uploaded_bytes, total_bytes, direction, deleted_datetime) VALUES
		('f1', 'asset', 'a1', 'here.pdf', 0, 5, 'UPLOAD', NULL), ('f2', 'asset', 'a1', 'gone.pdf', 0, 5, 'UPLOAD', NULL), ('f3', 'asset', 'a1', 'deleted.pdf', 0, 5, 'UPLOAD', now()),
		('f4', 'asset', 'a1', 'not yet.pdf', 3, 5, 'DOWNLOAD', NULL), ('f5', 'asset', 'a1', 'lost.pdf', 5, 5, 'DOWNLOAD', NULL)});
	system('mkdir', '-p', "$files/static_files/sync_files/asset/a1");
	append_to_file("$files/static_files/sync_files/asset/a1/f1_here.pdf", 'x');
	is(OmSupply::sql($central, "SELECT string_agg(finding, '; ') FROM backup_realign_report(base_dir => '$files') WHERE topic = 'file'"),
		'"asset/a1/f2_gone.pdf" is referred to and is not there; "asset/a1/f5_lost.pdf" is referred to and is not there', 'files that are missing');

	# ---- a dump that is loaded into another cluster ----
	if ($line == 2)
	{
		my $other = new_node('other', new_repository('other'), conf => "omsupply_backup.database = 'central'\n");
		my $dump = "$files/dump";
		command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-p', $restored->port, '-h', $restored->host, 'central' ], 'pg_dump');
		$other->safe_psql('postgres', 'CREATE DATABASE central');
		command_ok([ 'pg_restore', '-e', '-d', 'central', '-p', $other->port, '-h', $other->host, $dump ], 'pg_restore');
		is($other->safe_psql('central', 'SELECT backup_realign_pending()'), 't', 'is recognised');
		isnt($other->psql('central', 'SELECT backup_on_app_start()', stderr => \$err), 0, 'and omSupply must not start');
		is($other->safe_psql('central', 'SELECT backup_realign_accept(); SELECT backup_realign_pending()') =~ s/\n//r, 'f', 'unless somebody says so');
		like($other->safe_psql('central', 'SELECT backup_on_app_start()'), qr/omSupply starts/, 'then it may');
		$other->stop;
	}
	$restored->stop;
}

done_testing();
