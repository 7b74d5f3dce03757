# Databases whose encoding is not UTF-8: what the repository and the program
# say arrives there, and what is written there arrives in the repository.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cafe = "caf\xc3\xa9";                   # in UTF-8
my $cafe_latin = "caf\xe9";
my $pacific = "\xe2\x82\xac \xe5\x8d\x97";    # a euro sign and a Chinese character

for my $encoding ('LATIN1', 'SQL_ASCII', 'EUC_JP')
{
	my $name = lc $encoding;
	my $repo = new_repository($name);
	my $moved = "$repo->{dir}-$cafe";
	rename $repo->{dir}, $moved or die;
	$repo->{dir} = $moved;
	my $node = new_node($name, $repo, initdb => [ '--encoding', $encoding, '--no-locale' ], conf => "timezone = 'UTC'\n");
	local $ENV{PGCLIENTENCODING} = $encoding eq 'SQL_ASCII' ? 'SQL_ASCII' : 'UTF8';
	my $sql = sub { return $node->safe_psql('postgres', $_[0]) };

	# EUC_JP has no such letter as in French
	my $label = $encoding eq 'EUC_JP' ? "\xe5\x8d\x97" : $cafe;
	my $id = $sql->("SELECT backup_now('$label')");
	is($sql->("SELECT label FROM backup_list() WHERE id = '$id'"), $label, "$encoding: a label there and back");
	like(program_ok(['list'], "$encoding: list", $repo), qr/\Q$label\E/, "$encoding: it is UTF-8 in the repository");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM backup_history WHERE label = '$label'"), "$encoding: and in the history");
	$sql->("SELECT backup_pin('$id', '$label')");
	like($sql->(q{SELECT reason FROM backup_expire(true) WHERE object = 'backup'}), qr/^pinned: $label;/, "$encoding: a pin");

	# a label of the program that not every encoding has
	if ($encoding eq 'LATIN1')
	{
		program_ok([ 'unpin', $id ], 'unpin', $repo);
		program_ok([ 'pin', $id, '--reason', "$cafe $pacific!" ], 'pin', $repo);
		like($sql->(q{SELECT reason FROM backup_expire(true) WHERE object = 'backup'}), qr/^pinned: $cafe \? \?!;/, 'what the encoding lacks is a question mark');
		my $latin = $sql->(q{SELECT encode(convert_to(reason, 'LATIN1'), 'escape') FROM backup_expire(true) WHERE object = 'backup'});
		like($latin, qr/caf\\351/, 'it is LATIN1 inside');
	}

	# a schedule whose name is not ASCII
	$sql->("INSERT INTO backup_schedule (name, job, cron, is_enabled, label) VALUES ('$label', 'backup', '0 0 1 1 *', true, '$label')");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM backup_schedule_state WHERE name = '$label'"), "$encoding: a schedule");
	my $offset = $sql->("SELECT ceil(extract(epoch FROM next_run - clock_timestamp()))::int + 1 FROM backup_schedule_state WHERE name = '$label'");
	$sql->("ALTER SYSTEM SET omsupply_backup.debug_clock_offset = $offset");
	$node->reload;
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM backup_history WHERE schedule = '$label' AND label = '$label' AND state = 'done'"), "$encoding: runs");
	ok($node->poll_query_until('postgres', "SELECT NOT is_running AND failures = 0 FROM backup_schedule_state WHERE name = '$label'"), "$encoding: and is known to have ended");

	# a target whose name and place are not ASCII
	my $copy = PostgreSQL::Test::Utils::tempdir('copy') . "/$label";
	$sql->("INSERT INTO backup_target (name, url) VALUES ('$label', 'file://$copy')");
	ok($node->poll_query_until('postgres', "SELECT state = 'ok' FROM backup_target_status WHERE name = '$label'"), "$encoding: a target");
	ok(-e "$copy/repository", "$encoding: is where it belongs");
	is($sql->("SELECT count(*) FROM backup_check('0') WHERE name = 'target \"$label\"' AND result = 'ok'"), 1, "$encoding: and is checked");
	$sql->('DELETE FROM backup_target');

	# names of files in messages: those of the agent, of views, of errors
	rename $moved, "$moved.away" or die;
	my $shown = $encoding eq 'EUC_JP' ? qr/-caf.+? does not exist/ : qr/-$cafe" does not exist/;
	my ($rc, $out, $err) = $node->psql('postgres', 'SELECT * FROM backup_list()');
	like($err, $shown, "$encoding: an error names the repository");
	($rc, $out, $err) = $node->psql('postgres', 'SELECT backup_now()');
	like($err, $shown, "$encoding: the error of a job, too");
	like($sql->(q{SELECT found FROM backup_check('0') WHERE name = 'repository'}), $shown, "$encoding: backup_check()");
	like($sql->(q{SELECT array_to_string(reasons, ' ') FROM backup_status}), $shown, "$encoding: backup_status");
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM backup_history WHERE state = 'failed' AND message LIKE '%does not exist'}), "$encoding: the failure is in the history");
	like($sql->(q{SELECT message FROM backup_history WHERE state = 'failed'}), $shown, "$encoding: with its name");
	rename "$moved.away", $moved or die;
	$node->stop;
}

done_testing();
