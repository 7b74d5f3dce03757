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

	local $ENV{PGOPTIONS} = '-c client_min_messages=warning';
	command_like([ 'psql', '-XAtq', '-d', $node->connstr('central'), '-c', 'SELECT 1; SELECT backup_on_app_start()' ], qr/^(1\n)?omSupply starts, was version $line\./, 'also with others in one transaction');

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
	OmSupply::sql($central, q{INSERT INTO store VALUES ('s2b', 'moves', 2)});
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
	my $new = new_remote(14, 7);
	if ($line == 3)
	{
		# a site on a new machine, a store that moves to it, and a site that is new
		OmSupply::sql($central, q{UPDATE site SET token = NULL, hardware_id = NULL WHERE id = 13; UPDATE store SET site_id = 13 WHERE id = 's2b'});
		ok($ahead->get_token($central), 'a site gets a new token');
		OmSupply::sql($central, q{INSERT INTO site (id, name, hashed_password, token, hardware_id) VALUES (14, 'four', 'its hash', 'token-14', 'h14'); INSERT INTO store VALUES ('s14', 'four', 14)});
		$ahead->edit('a6', notes => 'of a store that moved');
		$ahead->{records}{asset}{a6}{store_id} = 's2b';
		$new->edit('a7', notes => 'of a new site');
		$_->sync($central) for $ahead, $new;
	}
	is(join(' ', map { $_->lacks($central, 'asset_class') } @remotes), '0 0 0', 'all sites have all classes');
	is(total($central, 'asset'), $line == 2 ? 4 : 6, 'and the central server all assets');
	measure($node, 'central');
	my $highest = OmSupply::sql($central, 'SELECT max(cursor) FROM changelog');
	my $ended = OmSupply::sql($central, 'SELECT clock_timestamp()');
	wait_archived($node);
	$node->stop('immediate');

	# ---- B.3.2: omSupply is restored, mSupply and sites are recent ----
	my $restored = restored_node("restored$line", $repo, '--target-mark', 't0', '--take-over');
	start_restored($restored);
	$central = { %$central, node => $restored };
	await_quarantine($restored, 'central');
	is(OmSupply::sql($central, 'SELECT max(cursor) FROM changelog'), $restored_max, 'the restored state');
	is(OmSupply::sql($central, 'SELECT backup_realign_pending()'), 't', 'the restore is recognised');
	isnt($restored->psql('central', 'SELECT backup_on_app_start()', stderr => \$err), 0, 'omSupply must not start');
	like($err, qr/omSupply must not start: its database was restored.*backup_realign_report/s, 'and is told why');
	# what the new server measures must not be taken for what was before
	measure($restored, 'central');
	my $report = OmSupply::sql($central, 'SELECT * FROM backup_realign_report()');
	like($report, qr/^restore\|this database was restored/m, 'the report: restored');
	is(OmSupply::sql($central, "SELECT known_at <= '$ended' FROM backup_realign_facts(NULL, NULL)"), 't', 'when the time before was measured last');
	like($report, qr/^restore\|it was restored to mark "t0" of \d/m, 'to which instant');
	like($report, qr/^changelog\|before, it had come to (\d+) at least/m, 'how far it was');
	cmp_ok(($report =~ /had come to (\d+)/)[0], '>=', $highest, 'no less than it was');
	like($report, qr/^scenario\|.*"omsupply" \(B\.3\.2\)/m, 'the scenario');
	like($report, qr/^remote site\|site 11: 2 changes .*\(asset\)/m, 'what site 11 pushed');
	like($report, qr/^remote site\|site 13: @{[ $line == 2 ? 1 : 2 ]} changes/m, 'and site 13');
	unlike($report, qr/^remote site\|site (12|1|2):/m, 'and nothing of others');
	like($report, qr/^remote site\|of others that is not known.* Have all push again/m, 'of the last moment nothing is known');
	like($report, qr/^scenario\|if mSupply was restored:.* go on above 3, which omSupply has seen/m, 'how far mSupply was');
	like(OmSupply::sql($central, q{SELECT * FROM backup_realign_report(msupply_at => 'recent')}), qr/^scenario\|.*mSupply is recent: it is "omsupply" \(B\.3\.2\)$/m, 'the scenario when mSupply is recent');
	like(OmSupply::sql($central, q{SELECT * FROM backup_realign_report(msupply_at => 't0')}), qr/^scenario\|.*mSupply was restored to \d.*: it is "both" \(B\.3\.4\)$/m, 'and when it was restored to a mark');
	isnt($restored->psql('central', q{SELECT * FROM backup_realign_report(msupply_at => 'nonsense')}, stderr => \$err), 0, 'what is neither a mark nor a time');
	like($err, qr/"nonsense" is neither a mark nor a time.*backup_marks/s, 'is told');
	is(OmSupply::sql($central, q{SELECT name, timeline, detail IS NULL FROM backup_marks()}), 't0|1|t', 'the marks');
	if ($line == 3)
	{
		like($report, qr/^login\|site 13 could not log in: its hardware_id, token changed/m, 'whose token changed');
		like($report, qr/^login\|site 14 was added in the lost time/m, 'which site was added');
		like($report, qr/^login\|store s2b belonged to site 13, and here belongs to 2/m, 'which store moved');
		like($report, qr/^login\|store s14 of site 14 is not here/m, 'which store is missing');
	}
	else
	{
		unlike($report, qr/^login/m, '2.x: mSupply knows how sites log in');
	}

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
	if ($line == 3)
	{
		ok(!$bad[2]->logs_in($bad) && !copy_of($new)->logs_in($bad), 'and sites cannot log in');
		my $moved = copy_of($bad[2]);
		OmSupply::sql($bad, "UPDATE site SET token = '$moved->{token}', hardware_id = '$moved->{hardware}' WHERE id = 13");
		$moved->{push} = 1;
		$moved->sync($bad);
		is(OmSupply::sql($bad, q{SELECT DISTINCT integration_result FROM sync_buffer WHERE record_id = 'a6'}), 'IGNORED', 'and what they push for a store that moved is ignored for good');
	}

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

	# whom to ask
	if ($line == 2)
	{
		isnt($restored->psql('central', q{SELECT * FROM backup_realign('omsupply', ask_remotes => true)}, stderr => \$err), 0, '2.x cannot ask remote sites');
		like($err, qr/cannot ask remote sites to push again.*push cursor set back by hand/s, 'and is told what to do');
	}
	else
	{
		my $asked = sub { return OmSupply::sql($central, "SELECT string_agg(substring(object FROM 'site (.*)'), ' ') FROM backup_realign('omsupply', $_[0]) WHERE object ~ 'sync request'"); };
		is($asked->('ask_remotes => true'), '11 12 13', 'all are asked, as the last moment was not measured');
		is($asked->(q{ask_remotes => true, lost_until => (SELECT known_at - interval '121 s' FROM backup_realign_facts(NULL, NULL))}), '11 13', 'those that pushed, when measuring went on behind the end');
		is($asked->(q{sites => '{12}'}), '12', 'or those that are given');
		like(OmSupply::sql($central, q{SELECT * FROM backup_realign_report(lost_until => (SELECT known_at - interval '121 s' FROM backup_realign_facts(NULL, NULL)))}), qr/^remote site\|others pushed nothing in the lost time/m, 'the report says so, too');
	}

	# a dry run changes nothing, the real one what the dry one told
	my $state = ($line == 3 ? q{SELECT * FROM site ORDER BY id; } : '') . q{SELECT * FROM store ORDER BY id; SELECT last_value, is_called FROM changelog_cursor_seq; SELECT * FROM key_value_store ORDER BY id; SELECT count(*) FROM sync_log WHERE prepare_initial_finished_datetime IS NULL; SELECT count(*) FROM backup_realign_log; SELECT count(*) FROM pg_class};
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
	is(OmSupply::sql($central, q{SELECT object FROM backup_realign('omsupply')}), '', 'a second time there is nothing to do');
	if ($line == 3)
	{
		my $log = OmSupply::sql($central, 'SELECT * FROM backup_realign_log');
		like($told, qr/^site 13, token\|[0-9a-f]{8}\.\.\. \(hash\)\|[0-9a-f]{8}\.\.\. \(hash\)\|/m, 'a token');
		like($told, qr/^site 13, hardware_id\|h13\|h13-\d+\|/m, 'its machine');
		like($told, qr/^site 14, row\|\|as it was\|/m, 'a site that was added');
		like($told, qr/^store s2b\|site 2\|site 13\|/m, 'a store that moved');
		is(OmSupply::sql($central, q{SELECT name, hashed_password, token, hardware_id FROM site WHERE id = 14}), 'four|its hash|token-14|h14', 'the site is here again');
		ok($_->logs_in($central), "site $_->{site} can log in") for @remotes, $new;
		my $shown = program_ok([ 'list', '--watermarks', '--json' ], 'list --watermarks', $repo) . program_ok([ 'list', '--watermarks' ], 'list --watermarks', $repo);
		like($shown, qr/omsupply-secret-sites/, 'the watermark with tokens is there');
		my $everything = $shown . $log . $told . $report . OmSupply::sql($central, 'SELECT * FROM backup_watermark_state') . slurp_file($node->logfile) =~ s/^.*statement: .*$//gmr;
		is(scalar(() = $everything =~ /token-1|its hash/g), 0, 'and they are shown nowhere');
		OmSupply::sql($central, q{CREATE ROLE looks; GRANT EXECUTE ON FUNCTION backup_watermark_values(text, timestamptz, timestamptz) TO looks});
		is(OmSupply::sql($central, q{SET ROLE looks; SELECT count(*), count(value) FROM backup_watermark_values('omsupply-secret-sites')}) =~ s/^[1-9]\d*\|//r, '0', 'not to who may not read tables');
		is(OmSupply::sql($central, q{SELECT count(*) = count(value) AND count(*) > 0 FROM backup_watermark_values('omsupply-secret-sites')}), 't', 'but to who may');
		# as the report says: mSupply has the store
		OmSupply::sql($central, q{INSERT INTO store VALUES ('s14', 'four', 14)});
		is(OmSupply::sql($central, q{SELECT object FROM backup_realign('omsupply', false, sites => '{14}')}), 'sync request for site 14', 'one site is asked');
		isnt($restored->psql('central', q{SELECT * FROM backup_realign('omsupply', sites => '{11,77}')}, stderr => \$err), 0, 'a site that there is not');
		like($err, qr/site 77 cannot be asked: it has no store here/, 'is told');
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
	for (1 .. 3) { $_->sync($central) for @remotes, $line == 3 ? $new : (); }
	is(join(' ', map { $_->lacks($central, 'asset_class') } @remotes), '0 0 0', 'with realignment every site gets all');
	is($msupply->{records}{stocktake}{st1}{name}, 'new', 'mSupply keeps what is newer');
	is(OmSupply::sql($central, q{SELECT string_agg(id || ' ' || name, ', ' ORDER BY id) FROM stocktake}), 'st0 first, st1 new, st2 only there', 'what mSupply has comes back');
	is(OmSupply::sql($central, q{SELECT string_agg(id, ' ' ORDER BY id) FROM item}), 'i1 i2 i3', 'central records of mSupply, too');
	is(OmSupply::sql($central, q{SELECT string_agg(id, ' ' ORDER BY id) FROM asset}), $line == 2 ? 'a1 a2 a4' : 'a1 a2 a4 a6 a7', 'what sites pushed is here again');

	# a3 refers to a class that only sites have
	like(OmSupply::sql($central, 'SELECT * FROM backup_realign_report()'), qr/^integration\|1 records failed because/m, 'the report tells what failed');
	$online->push_all($central);
	is(total($central, 'asset'), $line == 2 ? 3 : 5, 'it is not tried again by itself');
	central_edit($central, 'asset_class', c095 => 'entered again');
	is(OmSupply::sql($central, q{SELECT object, old_value FROM backup_realign('retry', false)}), 'table sync_buffer|1 records failed because a record that they refer to was missing', 'retry');
	OmSupply::sql($central, 'SELECT app_integrate(11)');
	is(OmSupply::sql($central, q{SELECT string_agg(id, ' ' ORDER BY id) FROM asset}), $line == 2 ? 'a1 a2 a3 a4' : 'a1 a2 a3 a4 a6 a7', 'nothing is missing that any party had');
	is(OmSupply::sql($central, q{SELECT count(*) FROM backup_realign('retry', false)}), 0, 'a second time there is nothing to do');

	# ---- B.3.4: mSupply was restored to t0, too ----
	my $both = { %$central, database => 'later' };
	my ($both_msupply, @both) = map { copy_of($_) } $msupply_t0, @remotes;
	# the watermarks are of another database: tokens are set by hand, as the report says
	OmSupply::sql($both, "UPDATE site SET token = '$ahead->{token}', hardware_id = '$ahead->{hardware}' WHERE id = 13; UPDATE store SET site_id = 13 WHERE id = 's2b'") if $line == 3;
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
	# to a mark: what was pushed since is pushed again, and not all
	isnt($restored->psql('central', q{SELECT * FROM backup_realign('msupply', msupply_at => 'recent')}, stderr => \$err), 0, 'mSupply cannot be restored and recent');
	OmSupply::sql($central, q{SELECT backup_mark('msupply backup', switch_wal => false)});
	my $then = OmSupply::key_value($central, 'REMOTE_SYNC_PUSH_CURSOR');
	my $marked = copy_of($only);
	central_edit($central, 'stocktake', st4 => 'fourth');
	central_sync($central, $only);
	measure($restored, 'central');
	cmp_ok(OmSupply::key_value($central, 'REMOTE_SYNC_PUSH_CURSOR'), '>', $then, 'more was pushed since the mark');
	my $at_mark = OmSupply::sql($central, q{SELECT * FROM backup_realign('msupply', false, msupply_at => 'msupply backup', msupply_cursor => 1000)});
	like($at_mark, qr/^key REMOTE_SYNC_PUSH_CURSOR\|\d+\|(\d+)\|what was pushed later, mSupply has lost$/, 'only the push cursor goes back');
	cmp_ok(($at_mark =~ /\|\d+\|(\d+)\|/)[0], '<=', $then, 'to where it was at the mark, or before');
	cmp_ok(($at_mark =~ /\|\d+\|(\d+)\|/)[0], '>', 0, 'and not to the beginning');
	central_sync($central, $marked);
	is($marked->{records}{stocktake}{st4}{name}, 'fourth', 'mSupply gets what it lost since the mark');

	# ---- B.3.3: a remote site was restored ----
	is(OmSupply::sql($central, q{SELECT count(*) FROM backup_realign('remote')}), 0, 'B.3.3: nothing is to be changed here');
	if ($line == 3)
	{
		my $old = copy_of($online);
		$online->edit('a1', notes => 'newer');
		$online->sync($central);
		unlike(OmSupply::sql($central, 'SELECT * FROM backup_realign_report()'), qr/pushed \d+ records once more/, 'a site that works pushes what is new');
		my ($first) = grep { $old->{changelog}[ $_ - 1 ] eq 'a1' } 1 .. @{ $old->{changelog} };
		$old->{push} = $first;
		$old->sync($central);
		is(OmSupply::sql($central, q{SELECT notes FROM asset WHERE id = 'a1'}), 'before', 'a site that was restored pushes what is old over what is new');
		my $third = OmSupply::sql($central, 'SELECT * FROM backup_realign_report()');
		like($third, qr/^restored site\|site 11 pushed 1 records once more as they had been before/m, 'the report tells which site');
		like($third, qr/^restored site\|if a remote site was restored.*sites => '\{N\}'/m, 'and what to do');
		ok(!$old->get_token($central), 'it gets no new token');
		like(OmSupply::sql($central, q{SELECT * FROM backup_realign('remote', false, sites => '{11}')}), qr/^site 11, token and hardware_id\|a token, hardware id h11\|none\|/, 'that is cleared');
		ok(!$old->logs_in($central), 'it cannot sync any more');
		my $fresh = new_remote(11, $protocol);
		ok($fresh->get_token($central) && $fresh->logs_in($central), 'and can be initialised anew');
		is(OmSupply::sql($central, q{SELECT count(*) FROM backup_realign_log WHERE scenario = 'remote'}), 1, 'it is in the log');
		isnt($restored->psql('central', q{SELECT * FROM backup_realign('remote', sites => '{77}')}, stderr => \$err), 0, 'a site that there is not');
		like($err, qr/there is no site 77/, 'is told');
		isnt($restored->psql('gap', q{SELECT * FROM backup_realign('remote', sites => '{11}')}, stderr => \$err), 0, 'while this server is not repaired');
		like($err, qr/may have the only copy/, 'it is refused');
	}
	else
	{
		like(OmSupply::sql($central, 'SELECT * FROM backup_realign_report()'), qr/^restored site\|.*Clear the hardware id of the site in mSupply/m, 'the report tells what to do');
		isnt($restored->psql('central', q{SELECT * FROM backup_realign('remote', sites => '{11}')}, stderr => \$err), 0, '2.x: it is mSupply that knows sites');
		like($err, qr/Clear the hardware id of the site in mSupply/, 'the hint');
	}

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
