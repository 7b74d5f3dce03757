# A copy of a server never writes into the repository of the original.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('fence');
my $original = new_node('original', $repo);
$original->safe_psql('postgres', 'CREATE TABLE t AS SELECT 1 AS n');
$original->safe_psql('postgres', 'SELECT backup_now()');
$original->stop;

# a copy of the files, as a clone of a virtual machine's disk would be
my $clone = PostgreSQL::Test::Cluster->new('clone');
PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $original->data_dir, $clone->data_dir);
$clone->append_conf('postgresql.conf', 'port = ' . $clone->port . "\n");
$original->start;
$clone->start;

my $before = $clone->safe_psql('postgres', 'SELECT failed_count FROM pg_stat_archiver');
$clone->safe_psql('postgres', 'INSERT INTO t VALUES (2); SELECT pg_switch_wal()');
$clone->poll_query_until('postgres', "SELECT failed_count > $before FROM pg_stat_archiver");
ok($clone->log_contains(qr/repository belongs to another copy of this cluster/), 'a clone does not archive, and says why');
my ($out, $err);
$clone->psql('postgres', 'SELECT backup_now()', stdout => \$out, stderr => \$err);
like($err, qr/ERROR:  the repository belongs to another copy of this cluster/, 'a clone does not back up');
like($err, qr/DETAIL:  It belongs to data directory "\Q@{[ $original->data_dir ]}\E"/, 'it says whose the repository is');
like($err, qr/HINT:.*backup_adopt\(\)/s, 'and what to do');
wait_archived($original);
is($original->psql('postgres', 'SELECT backup_now()'), 0, 'the original goes on');

# the clone takes over: now the original is fenced
$original->stop;
my $instance = $clone->safe_psql('postgres', 'SELECT backup_adopt()');
like($instance, qr/^[0-9a-f]{32}$/, 'backup_adopt() returns the instance');
is($clone->psql('postgres', 'SELECT pg_switch_wal()'), 0, 'switch');
SKIP: {
	# its first segment may differ from the original's of the same name, which
	# is a conflict that no fence can undo
	$clone->poll_query_until('postgres', 'SELECT archived_count > 0 OR failed_count > 3 FROM pg_stat_archiver');
}
$original->start;
$original->psql('postgres', 'SELECT backup_now()', stdout => \$out, stderr => \$err);
like($err, qr/belongs to another copy/, 'the original is fenced after that');
$clone->stop('immediate');
is($original->safe_psql('postgres', 'SELECT backup_adopt() IS NOT NULL'), 't', 'it can take the repository back');
is($original->psql('postgres', 'SELECT backup_now()'), 0, 'and back up again');
$original->stop;

# a restored copy is fenced, unless it took over
my $restored = restored_node('restored', $repo);
start_restored($restored);
$restored->psql('postgres', 'SELECT backup_now()', stdout => \$out, stderr => \$err);
like($err, qr/belongs to another copy/, 'a restored server is fenced');
$restored->stop;
my $new = restored_node('new', $repo, '--take-over');
start_restored($new);
is($new->psql('postgres', 'SELECT backup_now()'), 0, 'one restored with --take-over is not');

# another cluster altogether
my $other = new_node('other', $repo);
$other->psql('postgres', 'SELECT backup_now()', stdout => \$out, stderr => \$err);
like($err, qr/repository belongs to another cluster/, 'another cluster is refused');
$other->psql('postgres', 'SELECT backup_adopt()', stdout => \$out, stderr => \$err);
like($err, qr/HINT:  Give this cluster a repository of its own/, 'and cannot adopt it');

done_testing();
