# A page that is damaged on disk is reported and hides nowhere.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('damage');
my $node = new_node('main', $repo);
$node->safe_psql('postgres', q{
CREATE TABLE t AS SELECT n, repeat('x', 500) FROM generate_series(1, 2000) n;
CHECKPOINT});
my $path = $node->safe_psql('postgres', q{SELECT pg_relation_filepath('t')});
my $good = $node->safe_psql('postgres', 'SELECT backup_now()');
$node->stop;

open my $f, '+<:raw', $node->data_dir . "/$path" or die $!;
seek $f, 7 * 8192 + 4000, 0;
print $f 'damage';
close $f;
$node->start;

my ($out, $err);
$node->psql('postgres', 'SELECT backup_now()', stdout => \$out, stderr => \$err);
like($err, qr/WARNING:  page verification failed in file "\Q$path\E", block 7/, 'a WARNING names file and block');
like($out, qr/^20/, 'the backup is there all the same');
is($node->safe_psql('postgres', 'SELECT damaged_pages FROM backup_list() ORDER BY id DESC LIMIT 1'), 1, 'backup_list() counts it');
like(program_ok([ 'info', $out ], 'info', $repo), qr/damaged page: +file "\Q$path\E", block 7/, 'info names it');
like(program_ok([ 'info', $out, '--json' ], 'info --json', $repo), qr/"block": 7/, 'in JSON too');
like(program_ok([ 'info', $good ], 'info', $repo), qr/damaged pages: +0/, 'the backup before has none');
like(program_ok(['list'], 'list', $repo), qr/DAMAGED PAGES/, 'list marks it');
program_ok([ 'verify', $out ], 'verify: the repository is not what is damaged', $repo);
like(program_ok([ 'restore', '--dry-run', '--pgdata', '/tmp/omb-not-made' ], 'restore', $repo), qr/WARNING: the backup has 1 damaged/,
	'restore warns');

done_testing();
