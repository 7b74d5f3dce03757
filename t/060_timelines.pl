# Restores across timeline switches, by latest, current and number.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('timelines');
my $one = new_node('one', $repo);
$one->safe_psql('postgres', 'CREATE TABLE t (what text)');
my $backup = $one->safe_psql('postgres', 'SELECT backup_now()');
$one->safe_psql('postgres', q{SELECT pg_create_restore_point('earlier')});
# a segment between the two points
wait_archived($one);
$one->safe_psql('postgres', q{INSERT INTO t VALUES ('one, kept')});
$one->safe_psql('postgres', q{SELECT pg_create_restore_point('fork')});
$one->safe_psql('postgres', q{INSERT INTO t VALUES ('one, lost')});
wait_archived($one);
$one->stop('immediate');

# timeline 2 begins at the restore point
my $two = restored_node('two', $repo, '--target-name', 'fork', '--take-over');
start_restored($two);
is($two->safe_psql('postgres', 'SELECT string_agg(what, $$;$$) FROM t'), 'one, kept', 'timeline 2 begins at the restore point');
$two->safe_psql('postgres', q{INSERT INTO t VALUES ('two')});
wait_archived($two);
my $second = $two->safe_psql('postgres', q{SELECT backup_now('on timeline 2')});
$two->safe_psql('postgres', q{INSERT INTO t VALUES ('two, later')});
wait_archived($two);
is($two->safe_psql('postgres', 'SELECT timeline FROM backup_list() ORDER BY id DESC LIMIT 1'), 2, 'a backup knows its timeline');
$two->stop('immediate');
program_ok(['verify'], 'verify', $repo);

my %cases = (
	'latest, from the first backup' => [ 'one, kept;two;two, later', '--backup', $backup ],
	'current, from the first backup' => [ 'one, kept;one, lost', '--backup', $backup, '--target-timeline', 'current' ],
	'number 1, from the first backup' => [ 'one, kept;one, lost', '--backup', $backup, '--target-timeline', '1' ],
	'number 2, from the first backup' => [ 'one, kept;two;two, later', '--backup', $backup, '--target-timeline', '2' ],
	'latest, backup chosen' => ['one, kept;two;two, later'],
);
my $n = 0;
for my $case (sort keys %cases)
{
	my ($wanted, @args) = @{ $cases{$case} };
	my $restored = restored_node('restored' . ++$n, $repo, @args);
	start_restored($restored);
	is($restored->safe_psql('postgres', 'SELECT string_agg(what, $$;$$) FROM t'), $wanted, "timeline $case");
	prove_sound($restored, $case);
}
program_fails([ 'restore', '--pgdata', '/tmp/omb-not-made', '--backup', $second, '--target-timeline', '1' ], 1,
	qr/timeline 1 does not go through backup "$second"/, 'a timeline the backup is not on', $repo);

# a second restore, to before the first one: timeline 3 begins at an earlier
# LSN than timeline 2, so that LSNs fall from one timeline to the next
my $three = restored_node('three', $repo, '--backup', $backup, '--target-name', 'earlier', '--target-timeline', '1', '--take-over');
start_restored($three);
is($three->safe_psql('postgres', 'SELECT count(*) FROM t'), '0', 'timeline 3 begins before timeline 2');
$three->safe_psql('postgres', q{INSERT INTO t VALUES ('three')});
wait_archived($three);
my $third = $three->safe_psql('postgres', q{SELECT backup_now('on timeline 3')});
$three->safe_psql('postgres', q{INSERT INTO t VALUES ('three, later')});
wait_archived($three);
$three->stop('immediate');
program_ok(['verify'], 'verify with three timelines', $repo);
%cases = (
	'latest, from the first backup' => [ 'three;three, later', '--backup', $backup ],
	'latest, backup chosen' => ['three;three, later'],
	'number 2, from the first backup' => [ 'one, kept;two;two, later', '--backup', $backup, '--target-timeline', '2' ],
	'current, from the second backup' => [ 'one, kept;two;two, later', '--backup', $second, '--target-timeline', 'current' ],
	'a point on timeline 2' => [ 'one, kept', '--backup', $backup, '--target-timeline', '2', '--target-name', 'fork' ],
);
for my $case (sort keys %cases)
{
	my ($wanted, @args) = @{ $cases{$case} };
	my $restored = restored_node('restored' . ++$n, $repo, @args);
	start_restored($restored);
	is($restored->safe_psql('postgres', 'SELECT string_agg(what, $$;$$) FROM t'), $wanted, "three timelines: $case");
	$restored->stop;
}
program_fails([ 'restore', '--pgdata', '/tmp/omb-not-made', '--backup', $third, '--target-timeline', '2' ], 1,
	qr/timeline 2 does not go through backup "$third"/, 'a younger timeline that the backup is not on', $repo);

done_testing();
