# Marks: named instants that a restore goes back to. They survive crashes and
# a repository that is away, and the mirror has them.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use JSON::PP;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('marks');
my $node = new_node('main', $repo, initdb => ['--wal-segsize=1']);
my $notes = $node->data_dir . '/omsupply_backup.notes';
my ($out, $err);

sub marks { return decode_json(program_ok([ 'list', '--marks', '--json' ], 'list --marks', $repo)); }
sub recorded { my ($n) = @_; return $node->poll_query_until('postgres', "SELECT count(*) = $n FROM pg_ls_dir('omsupply_backup.notes')"); }

is(program_ok([ 'list', '--marks' ], 'no mark yet', $repo), "The repository has no mark.\n", 'it says so');
$node->safe_psql('postgres', q{CREATE TABLE t (n int); SELECT backup_mark('before any backup')});
recorded(0);
$node->safe_psql('postgres', 'SELECT backup_now()');

# a mark in a transaction that is rolled back, with a detail
$node->safe_psql('postgres', 'INSERT INTO t VALUES (1)');
like($node->safe_psql('postgres', q{BEGIN; INSERT INTO t VALUES (99); SELECT lsn, id FROM backup_mark('mSupply backup 7', '{"file": "D2026.zip"}'); ROLLBACK}),
	qr{^[0-9A-F]+/[0-9A-F]+\|\d{8}T\d{6}Z-[0-9a-f]{8}$}, 'LSN and id');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (2)');
ok(recorded(0), 'the repository has it soon');
my ($mark) = reverse @{ marks() };
is($mark->{name}, 'mSupply backup 7', 'the name');
is_deeply($mark->{detail}, { file => 'D2026.zip' }, 'the detail');
is($mark->{timeline}, 1, 'the timeline');
like(program_ok([ 'list', '--marks' ], 'as a table', $repo), qr/^$mark->{id} .* mSupply backup 7  \{"file": "D2026.zip"\}$/m, 'the same');
# its segment is archived without a further switch
$node->poll_query_until('postgres', "SELECT last_archived_wal >= pg_walfile_name('$mark->{lsn}') FROM pg_stat_archiver");

# by the program, for scripts
my $connection = 'port=' . $node->port . ' host=' . $node->host . ' dbname=postgres';
like(program_ok([ 'mark', q{it's "$7"}, '--connection', $connection, '--detail', '{"a": [1]}' ], 'omsupply_backup mark'), qr{^[0-9A-F/]+\|\d{8}T\S+$}, 'prints LSN and id');
program_fails([ 'mark', 'x', '--connection', $connection, '--detail', 'no json' ], 1, qr/invalid input syntax for type json/, 'a detail that is no JSON');
program_fails([ 'mark', 'x', '--connection', "$connection dbname=template1" ], 1, qr/the extension is not in this database/, 'a database without the extension');
program_fails([ 'mark', 'x', '--connection', 'port=1 host=/nowhere' ], 1, qr/connection to server/, 'no server');

# arguments
for my $bad ([ q{NULL}, qr/must not be null/ ], [ q{''}, qr/1 to 255 bytes/ ], [ q{repeat('x', 256)}, qr/1 to 255 bytes/ ],
	[ q{E'a\nb'}, qr/control characters/ ], [ q{'x', to_jsonb(repeat('x', 20000))}, qr/at most 16384 bytes/ ])
{
	isnt($node->psql('postgres', "SELECT backup_mark($bad->[0])", stderr => \$err), 0, "backup_mark($bad->[0])");
	like($err, $bad->[1], 'is refused');
}
$node->safe_psql('postgres', 'CREATE ROLE script LOGIN; GRANT EXECUTE ON FUNCTION backup_mark(text, jsonb, boolean) TO script');
like($node->safe_psql('postgres', q{SET ROLE script; SELECT id FROM backup_mark('by a role', switch_wal => false)}), qr/Z-/, 'a role that was granted it');

# while the repository is away marks are quick and are not lost, nor by a crash
recorded(0);
my $before = @{ marks() };
rename $repo->{dir}, "$repo->{dir}.away" or die;
$node->safe_psql('postgres', q{INSERT INTO t VALUES (3); SELECT backup_mark('while away'); INSERT INTO t VALUES (4)});
ok(-d $notes && $node->safe_psql('postgres', q{SELECT count(*) FROM pg_ls_dir('omsupply_backup.notes')}) >= 1, 'a note waits');
$node->stop('immediate');
append_to_file("$notes/20200101T000000Z-00000000", "no note\n");
append_to_file("$notes/20200101T000000Z-00000001.tmp", "type=poi");
$node->start;
rename "$repo->{dir}.away", $repo->{dir} or die;
ok(recorded(2), 'taken after the crash');
is(scalar(@{ marks() }), $before + 1, 'the mark is there after a crash');
ok($node->log_contains(qr/WARNING:  file ".*20200101T000000Z-00000000" makes no sense; it was renamed/), 'nonsense is put aside');
ok(-e "$notes/20200101T000000Z-00000001.tmp", 'what is not complete is left alone');

# the same name twice
$node->safe_psql('postgres', q{SELECT backup_mark('nightly', switch_wal => false)});
my $second = $node->safe_psql('postgres', q{INSERT INTO t VALUES (5); SELECT id FROM backup_mark('nightly'); });
recorded(2);
wait_archived($node);

# restores: to a name, to an id, on a copy of the repository
sub rows_of
{
	my ($name, $from, @args) = @_;
	my $restored = restored_node($name, $from, @args);
	start_restored($restored);
	my $rows = $restored->safe_psql('postgres', 'SELECT array_agg(n ORDER BY n) FROM t');
	ok(!glob($restored->data_dir . '/omsupply_backup.notes/*'), "$name: notes are not in a backup");
	return ($rows, $restored);
}
my ($rows, $copy) = rows_of('first', $repo, '--target-mark', 'mSupply backup 7');
is($rows, '{1}', 'exactly what was committed before the mark');
is($copy->psql('postgres', q{SELECT backup_mark('on a copy')}, stderr => \$err), 0, 'a mark on a copy that is fenced');
$copy->stop;
my $mirror = { dir => PostgreSQL::Test::Utils::tempdir('mirror') . '/m', key => $repo->{key} };
program_ok([ 'mirror', '--from', $repo->{dir}, '--to', "file://$mirror->{dir}", '--key-file', $repo->{key} ], 'mirror');
($rows, $copy) = rows_of('away', $mirror, '--target-mark', 'while away');
is($rows, '{1,2,3}', 'a mark that waited, from the mirror');
$copy->stop;
($rows, $copy) = rows_of('id', $repo, '--target-mark', $second, '--take-over');
is($rows, '{1,2,3,4,5}', 'by its id');
is(scalar(grep { $_->{name} eq 'on a copy' } @{ marks() }), 0, 'the fenced copy has noted nothing in the repository');
my $target = $copy->data_dir . '.next';
program_fails([ 'restore', '--pgdata', $target, '--target-mark', 'nightly' ], 1, qr/2 marks have the name "nightly".*$second/s, 'an ambiguous name', $repo);
program_fails([ 'restore', '--pgdata', $target, '--target-mark', 'nothing' ], 1, qr/the repository has no mark "nothing".*list --marks/s, 'an unknown name', $repo);
program_fails([ 'restore', '--pgdata', $target, '--target-mark', $second, '--target-immediate' ], 2, qr/more than one target/, 'two targets', $repo);
program_fails([ 'restore', '--pgdata', $target, '--target-mark', 'before any backup' ], 1, qr/no backup ended before the target/, 'a mark from before the first backup', $repo);

# on the old timeline, when there is a newer one that left it before
$copy->safe_psql('postgres', q{INSERT INTO t VALUES (100); SELECT backup_mark('new timeline'); INSERT INTO t VALUES (101)});
wait_archived($copy);
ok($copy->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_ls_dir('omsupply_backup.notes')}), 'noted by the server that took over');
my $new_backup = $copy->safe_psql('postgres', 'SELECT backup_now()');
$copy->safe_psql('postgres', q{SELECT pg_switch_wal(); INSERT INTO t VALUES (102); SELECT backup_mark('behind the backup'); INSERT INTO t VALUES (103)});
$copy->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_ls_dir('omsupply_backup.notes')}) or die;
wait_archived($copy);
$copy->stop;
($rows, my $again) = rows_of('again', $repo, '--target-mark', 'while away');
is($rows, '{1,2,3}', 'a mark on a timeline that was left');
$again->stop;
($rows, $again) = rows_of('newer', $repo, '--target-mark', 'new timeline');
is($rows, '{1,2,3,4,5,100}', 'a mark on the newer timeline');
$again->stop;
program_fails([ 'restore', '--pgdata', $target, '--target-mark', 'while away', '--backup', $new_backup ], 1, qr/ended after the target/, 'a backup from after the mark', $repo);

# expire: marks go with the instants that can be restored
$node->stop;
my $small = { dir => PostgreSQL::Test::Utils::tempdir('small') . '/r', key => $repo->{key} };
PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $repo->{dir}, $small->{dir});
my $all = @{ marks() };
my $plan = decode_json(program_ok([ 'expire', '--keep-last', '1', '--dry-run', '--json' ], 'expire --dry-run', $small));
my %verdict = map { ($_->{reason} =~ /^"(.*?)": /)[0] => $_ } grep { $_->{object} eq 'mark' } @{ $plan->{verdicts} };
is($verdict{'while away'}{verdict}, 'drop', 'a mark that no backup leads to any more');
is($verdict{'while away'}{reason}, '"while away": no kept backup leads to it', 'is told with its reason');
is($verdict{'behind the backup'}{verdict}, 'keep', 'one in the window is kept');
like($verdict{'behind the backup'}{reason}, qr/^"behind the backup": follows backup "$new_backup"/, 'with its reason');
is(@{ decode_json(program_ok([ 'list', '--marks', '--json' ], 'list', $small)) }, $all, 'a dry run removes none');
program_ok([ 'expire', '--keep-last', '1' ], 'expire', $small);
my %left = map { $_->{name} => 1 } @{ decode_json(program_ok([ 'list', '--marks', '--json' ], 'list', $small)) };
ok($left{'behind the backup'} && !$left{'while away'} && !$left{'mSupply backup 7'}, 'expire removes what it told');
($rows, $again) = rows_of('small', $small, '--target-mark', 'behind the backup');
is($rows, '{1,2,3,4,5,100,101,102}', 'the mark that stayed can be restored to');
$again->stop;

# a mark whose WAL never came
my ($object) = glob "$repo->{dir}/marks/points/$second*";
for my $file (glob "$repo->{dir}/wal/00000002/*/*") { unlink $file if $file =~ m{/00000002[0-9A-F]{16}-}; }
program_fails([ 'restore', '--pgdata', $target, '--target-mark', 'new timeline' ], 1, qr/mark "new timeline" at LSN \S+ cannot be reached: the archived WAL ends before/, 'a mark whose WAL is missing', $repo);

# damaged marks hide no others
PostgreSQL::Test::Utils::system_log('dd', 'if=/dev/zero', "of=$object", 'bs=1', 'seek=70', 'count=20', 'conv=notrunc');
my ($status, $list, $message) = program($repo, 'list', '--marks');
is($status, 1, 'a damaged mark is told');
like($message, qr/1 marks cannot be read/, 'in words');
like($list, qr/while away/, 'the others are shown');

done_testing();
