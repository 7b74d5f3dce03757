# Watermarks: measured in the database, kept in the repository; a journal of
# the changelog that loses no row whatever order transactions commit in.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use JSON::PP;
use Omb;
use OmSupply;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('watermarks');
my $node = new_node('main', $repo, initdb => ['--wal-segsize=1'], conf => "omsupply_backup.database = 'central'\n");
my ($out, $err);
$node->safe_psql('postgres', 'CREATE DATABASE central; CREATE ROLE app SUPERUSER LOGIN');
$node->safe_psql('central', 'CREATE EXTENSION omsupply_backup');
sub sql { return $node->safe_psql('central', $_[0]); }
sub listed { my ($name) = @_; return grep { $_->{name} eq $name } @{ decode_json(program_ok([ 'list', '--watermarks', '--json' ], 'list --watermarks', $repo)) }; }

# a query of one's own, and what can go wrong
sql(q{CREATE TABLE t AS SELECT 42 AS n; CREATE ROLE reader; GRANT SELECT ON t TO reader; CREATE SEQUENCE q; GRANT ALL ON q TO reader;
INSERT INTO backup_watermark (name, query, "interval", run_as) VALUES
 ('answer', 'SELECT n, $1->''n'' AS before, current_user AS who FROM public.t', '1 day', 'reader'),
 ('slow', 'SELECT pg_sleep(60)', '1 day', 'reader'),
 ('secret', 'SELECT rolpassword FROM pg_authid LIMIT 1', '1 day', 'reader'),
 ('writes', 'SELECT nextval(''public.q'')', '1 day', 'reader'),
 ('locked', 'SELECT count(*) FROM public.t', '1 day', 'reader'),
 ('many', 'SELECT generate_series(1, 2)', '1 day', 'reader'),
 ('long', 'SELECT repeat(''x'', 300000)', '1 day', 'reader'),
 ('nobody', 'SELECT 1', '1 day', 'there is no such role');
INSERT INTO backup_watermark (name, query, is_enabled) VALUES ('off', 'SELECT 1', false)});
my $holder = $node->background_psql('central');
$holder->query_safe('BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE');
measure($node, 'central');
like(sql(q{SELECT error FROM backup_watermark_state WHERE name = 'locked'}), qr/lock timeout/, 'it does not wait for a lock');
$holder->query_safe('COMMIT');
$holder->quit;
measure($node, 'central');
is((listed('answer'))[-1]{value}{n}, 42, 'a value is in the repository');
for my $case ([ 'slow', qr/statement timeout/ ], [ 'secret', qr/permission denied/ ], [ 'writes', qr/read-only transaction/ ],
	[ 'many', qr/more instead of one row/ ], [ 'long', qr/longer than 262144 bytes/ ], [ 'nobody', qr/role "there is no such role" does not exist/ ])
{
	like(sql("SELECT error FROM backup_watermark_state WHERE name = '$case->[0]'"), $case->[1], "$case->[0]: its failure is told");
}
is(sql(q{SELECT count(*) FROM backup_watermark_state WHERE name = 'off'}), 0, 'one that is off is not measured');
is(sql(q{SELECT value->>'who' FROM backup_watermark_state WHERE name = 'answer'}), 'reader', 'a query runs as the role of its row');
measure($node, 'central');
is_deeply([ map { $_->{value}{before} } (listed('answer'))[0, -1] ], [ undef, 42 ], 'a query gets its last value');
is(sql(q{SELECT count(*) FROM backup_watermark_values('answer') WHERE value->>'n' = '42'}), scalar(listed('answer')), 'in SQL, too');
is(sql(q{SELECT count(*) FROM backup_watermark_values(NULL, now() + '1 day')}), 0, 'from a time on');
isnt($node->psql('central', q{INSERT INTO backup_watermark (name, query) VALUES ('a/b', 'SELECT 1')}), 0, 'a name must be one');

# a value that stays is written once: a server without work makes no WAL of it
sql(q{DELETE FROM backup_watermark; DELETE FROM backup_watermark_state;
CREATE FUNCTION told(what text, n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RAISE LOG ''measured %'', what; IF n < 0 THEN RAISE EXCEPTION ''broken''; END IF; RETURN n; END';
GRANT SELECT ON t TO PUBLIC;
INSERT INTO backup_watermark (name, query, "interval") VALUES ('same', 'SELECT public.told(''same'', n) FROM public.t', '1 second'),
	('broken', 'SELECT public.told(''broken'', -1)', '1 second'),
	('our-secret', 'SELECT public.told(''secret'', 7) AS pin', '1 second')});
sub measured { my ($what) = @_; return scalar(() = slurp_file($node->logfile) =~ /LOG:  measured $what$/mg); }
sub await_more
{
	my ($more) = @_;
	my %from = map { $_ => measured($_) } qw(same broken secret);
	for my $what (keys %from)
	{
		for (1 .. 3000) { last if measured($what) >= $from{$what} + $more; select undef, undef, undef, 0.1; }
		cmp_ok(measured($what), '>=', $from{$what} + $more, "$what is measured again");
	}
	return;
}
$node->poll_query_until('central', q{SELECT count(*) = 3 FROM backup_watermark_state}) or die;
my $rows = sql('SELECT name, xmin, value, error FROM backup_watermark_state ORDER BY name');
await_more(4);
is(sql('SELECT name, xmin, value, error FROM backup_watermark_state ORDER BY name'), $rows, 'what stays as it is is not written again, and neither is an error');
like($rows, qr/^broken\|\d+\|\|broken\nour-secret\|\d+\|\{"hash": "[0-9a-f]{16}"\}\|\nsame\|\d+\|\{"told": 42\}\|$/, 'of what is secret the table has a hash');
sql('UPDATE t SET n = 43');
$node->poll_query_until('central', q{SELECT value->>'told' = '43' FROM backup_watermark_state WHERE name = 'same'}) or die;
ok(1, 'what changes is');
$node->poll_query_until('central', q{SELECT count(*) = 0 FROM pg_ls_dir('omsupply_backup.notes')}) or die;
my @noted = map { $_->{value}{told} } listed('same');
is_deeply([ map { $noted[$_] } grep { $_ == 0 || $noted[$_] != $noted[ $_ - 1 ] } 0 .. $#noted ], [ 42, 43 ], 'the repository has the values');
cmp_ok(scalar(@noted), '<', measured('same'), 'and not one for each time');
is((listed('our-secret'))[-1]{value}, undef, 'what is secret is not shown');
is(sql(q{SELECT value->>'pin' FROM backup_watermark_values('our-secret') LIMIT 1}), 7, 'but to a superuser');
sql('DELETE FROM backup_watermark');

# the preset finds out the version; the two lines side by side
isnt($node->psql('central', 'SELECT backup_preset_omsupply()', stderr => \$err), 0, 'a database without omSupply');
like($err, qr/database "central" has no tables of omSupply/, 'is told');
sub await_journal
{
	my ($more) = @_;
	my $from = measured('journal');
	for (1 .. 3000) { last if measured('journal') >= $from + $more; select undef, undef, undef, 0.1; }
	cmp_ok(measured('journal'), '>=', $from + $more, 'the journal is measured again');
	return;
}
for my $line (3, 2)
{
	my $before = listed('omsupply-journal');
	my $central = install_omsupply($node, 'central', $line);
	sql($_) for map { "ALTER TABLE $_ OWNER TO app" } qw(changelog key_value_store);
	is(sql('SELECT backup_preset_omsupply()'), "omSupply $line.x", "omSupply $line");
	is(sql(q{SELECT backup_preset_omsupply('/srv/app_data')}), "omSupply $line.x", 'a second time');
	is(sql(q{SELECT name, path, 'static_files/tmp' = ANY (exclude), is_enabled FROM backup_file_set}), 'omsupply|/srv/app_data|t|t', 'with its files');
	is(sql(q{SELECT count(*) FROM backup_schedule WHERE job = 'files' AND is_enabled}), 1, 'and a schedule for them');
	measure($node, 'central');
	central_edit($central, 'asset_class', map { ("c$_" => "class $_") } 1 .. 5);
	measure($node, 'central');
	my @marks = listed('omsupply');
	is($marks[-1]{value}{sequence}, 5, 'how far the sequence is');
	is($marks[-1]{value}{database}, 'central', 'in which database');
	like($marks[-1]{value}{version}, qr/^$line\./, 'the version');
	my @keys = listed('omsupply-keys');
	is($keys[-1]{value}{keys}{REMOTE_SYNC_PUSH_CURSOR}, 0, 'cursors');
	ok(!grep({ /SECRET/ } keys %{ $keys[-1]{value}{keys} }), 'and no secrets');
	my $journal = sub { my @all = listed('omsupply-journal'); return @all[ $before .. $#all ]; };
	is_deeply([ map { $_->[0] } map { @{ $_->{value}{rows} } } $journal->() ], [ 1 .. 5 ], 'the journal has the rows');
	is(scalar(my @pieces = $journal->()), 1, 'and nothing when there is nothing new');
	# until its own writing of before is behind it, too
	measure($node, 'central') for 1 .. 2;
	sql(q{CREATE OR REPLACE FUNCTION told(what text, n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RAISE LOG ''measured %'', what; RETURN n; END'});
	sql(q{UPDATE backup_watermark SET "interval" = '1 second' WHERE name = 'omsupply-journal'; UPDATE backup_watermark SET query = query || ', public.told(''journal'', 1)' WHERE name = 'omsupply-journal'});
	await_journal(6);
	my $idle = sql(q{SELECT xmin FROM backup_watermark_state WHERE name = 'omsupply-journal'});
	await_journal(4);
	is(sql(q{SELECT xmin FROM backup_watermark_state WHERE name = 'omsupply-journal'}), $idle, 'nor is the state of the journal written');
	sql('SELECT backup_preset_omsupply()');

	# a transaction that took an early cursor and commits late
	my $late = $node->background_psql('central');
	$late->query_safe(q{BEGIN; SELECT app_upsert('asset_class', '{"id": "late"}', NULL)});
	central_edit($central, 'asset_class', early => 'early');
	measure($node, 'central');
	is((listed('omsupply'))[-1]{value}{sequence}, 7, 'the sequence counts the row that is not committed');
	measure($node, 'central') for 1 .. 3;
	$late->query_safe('COMMIT');
	$late->quit;
	measure($node, 'central');
	my @rows = map { $_->[2] } map { @{ $_->{value}{rows} } } $journal->();
	is(scalar(grep { $_ eq 'late' } @rows), 1, 'a row with a low cursor that came late is in the journal, once');
	is(scalar(grep { $_ eq 'early' } @rows), 1, 'and so is the other');

	# many writers at once: nothing is missing, nothing twice
	my @writers = map { $node->background_psql('central') } 1 .. 3;
	srand(my $seed = $ENV{OMB_SEED} || time ^ $$);
	note "seed $seed";
	my %open;
	for my $step (1 .. 40)
	{
		my $w = int rand 3;
		if ($open{$w} && rand() < 0.4) { $writers[$w]->query_safe(rand() < 0.2 ? 'ROLLBACK' : 'COMMIT'); $open{$w} = 0; }
		else
		{
			$writers[$w]->query_safe('BEGIN') if !$open{$w};
			$open{$w} = 1;
			$writers[$w]->query_safe(q{SAVEPOINT s}) if rand() < 0.3;
			$writers[$w]->query_safe(qq{SELECT app_upsert('asset_class', '{"id": "r$line-$step"}', 11)});
		}
		measure($node, 'central') if rand() < 0.1;
	}
	$writers[$_]->query_safe('COMMIT') for grep { $open{$_} } 0 .. 2;
	$_->quit for @writers;
	measure($node, 'central');
	is(join(' ', sort grep { /^r$line-/ } map { $_->[2] } map { @{ $_->{value}{rows} } } $journal->()),
		join(' ', sort split /\n/, sql(qq{SELECT record_id FROM changelog WHERE record_id ~ '^r$line-'})), "journal and changelog agree (seed $seed)");

	# too many for a list: a summary a site
	sql(q{INSERT INTO changelog (table_name, record_id, row_action, source_site_id) SELECT 'asset', n::text, 'UPSERT', 10 + n % 2 FROM generate_series(1, 300) n}) for 1 .. 4;
	measure($node, 'central');
	my $last = (listed('omsupply-journal'))[-1]{value};
	is($last->{rows}, undef, 'a large piece has no rows');
	is_deeply([ map { "$_->{source_site_id} $_->{count}" } sort { $a->{source_site_id} <=> $b->{source_site_id} } @{ $last->{sites} } ], [ '10 600', '11 600' ], 'but counts a site');
	# so many that it begins anew
	sql(q{UPDATE backup_watermark_state SET value = value || '{"floor": -3000000}' WHERE name = 'omsupply-journal'});
	measure($node, 'central');
	ok((listed('omsupply-journal'))[-1]{value}{is_skipped}, 'after far too many it begins anew, and says so');
	central_edit($central, 'asset_class', after => 'after');
	measure($node, 'central');
	is_deeply([ map { $_->[2] } @{ (listed('omsupply-journal'))[-1]{value}{rows} } ], ['after'], 'and goes on from there');

	# omSupply locks the whole changelog: neither a backup nor omSupply waits
	my $lock = $node->background_psql('central');
	$lock->query_safe('BEGIN; LOCK TABLE ONLY changelog IN ACCESS EXCLUSIVE MODE');
	like(sql(q{SELECT backup_now(NULL, 'full')}), qr/^20/, 'a backup does not wait for a lock');
	measure($node, 'central');
	like(sql(q{SELECT error FROM backup_watermark_state WHERE name = 'omsupply'}), qr/lock timeout/, 'and a watermark gives up');
	$lock->query_safe('COMMIT');
	$lock->quit;
	measure($node, 'central');
	is(sql(q{SELECT count(*) FROM backup_watermark_state WHERE error IS NOT NULL AND name ~ 'omsupply'}), 0, 'and works again');
	sql('DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE EXTENSION IF NOT EXISTS omsupply_backup') if $line == 3;
}

# expire thins them out and touches nothing else
my $all = listed('omsupply');
$node->safe_psql('central', 'SELECT backup_now(); SELECT count(*) FROM backup_expire()');
is(scalar(listed('omsupply')), $all, 'those of a day are all kept');
$node->stop;

done_testing();
