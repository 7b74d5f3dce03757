# verify: fast, by sample, limited in time; what damage means; repairing from
# a copy of the repository and from pg_wal.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use JSON::PP;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('verify');
my $node = new_node('main', $repo);
my $base = PostgreSQL::Test::Utils::tempdir('verify');
my $random = q{SELECT n, md5(random()::text) || md5(random()::text) || md5(random()::text) || md5(random()::text) || md5(random()::text)
  || md5(random()::text) || md5(random()::text) || md5(random()::text) AS t};
$node->safe_psql('postgres', "CREATE TABLE first AS $random FROM generate_series(1, 130000) n");
my $one = $node->safe_psql('postgres', q{SELECT backup_now('one')});
my @segment;
for my $n (1 .. 4)
{
	$node->safe_psql('postgres', "CREATE TABLE step_$n AS SELECT $n AS n");
	push @segment, wait_archived($node);
}
$node->safe_psql('postgres', q{SELECT backup_mark('an instant'); INSERT INTO backup_watermark (name, query) VALUES ('value', 'SELECT 1 AS n')});
$node->poll_query_until('postgres', q{SELECT measured_at IS NOT NULL FROM backup_watermark_state}) or die 'not measured';
$node->safe_psql('postgres', 'DELETE FROM backup_watermark');
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_ls_dir('omsupply_backup.notes')}) or die 'not noted';
$node->safe_psql('postgres', "CREATE TABLE second AS $random FROM generate_series(1, 130000) n");
my $two = $node->safe_psql('postgres', q{SELECT backup_now('two')});
wait_archived($node);
my $dir = $repo->{dir};
sub copy_of
{
	my ($name) = @_;
	my $copy = "$base/$name";
	PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', $copy);
	PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $dir, $copy);
	return { dir => $copy, key => $repo->{key} };
}
sub flip
{
	my ($file, $at) = @_;
	open my $f, '+<:raw', $file or die "$file: $!";
	seek $f, $at, 0;
	read $f, my $byte, 1;
	seek $f, $at, 0;
	print $f chr(ord($byte) ^ 0x55);
	close $f;
	return;
}
sub packs { my ($r) = @_; return sort { -s $b <=> -s $a } glob "$r->{dir}/packs/*/*" }
sub wal_of { my ($r, $file) = @_; my ($name) = glob "$r->{dir}/wal/*/*/$file-*"; return $name }
sub name_in { my ($r, $file) = @_; return substr $file, length("$r->{dir}/") }
# verify as JSON: exit status and what it says
sub verify
{
	my ($r, @args) = @_;
	my ($status, $out, $err) = program($r, 'verify', '--json', @args);
	my $result = eval { decode_json($out) } || {};
	diag("$out$err") unless %$result;
	return ($status, $result);
}

# nothing is wrong
my ($status, $all) = verify($repo);
is($status, 0, 'all is well');
is($all->{problems}, 0, 'no problem');
is_deeply($all->{intact}, [ $one, $two ], 'both backups are intact');
is($all->{reachable}[0]{backup}, $two, 'the newest backup leads to the end');
cmp_ok($all->{packs}, '>', 1, 'there are packs');
is($all->{packs}, $all->{packs_total}, 'and all were read');
is($all->{wal_files}, $all->{wal_files_total}, 'and all WAL');
like(program_ok(['verify'], 'as text', $repo), qr/no problem found\n2 of 2 backups can be restored\.\nTimeline 1 can be recovered to LSN /,
	'text says the same');

# fast: contents are not looked at, names and sizes are
my $r = copy_of('fast');
flip((packs($r))[0], 5000);
($status, my $v) = verify($r, '--fast');
is("$status $v->{problems} $v->{bytes}", '0 0 0', 'fast does not read');
PostgreSQL::Test::Utils::system_or_bail('truncate', '-s', '100000', (packs($r))[0]);
($status, $v) = verify($r, '--fast');
is("$status $v->{problems}", '1 1', 'fast sees a wrong size');
$r = copy_of('fast');
unlink((packs($r))[0]);
($status, $v) = verify($r, '--fast');
is("$status $v->{damage}[0]{state}", '1 missing', 'and a missing pack');
$r = copy_of('fast');
unlink wal_of($r, $node->safe_psql('postgres', "SELECT pg_walfile_name(start_lsn) FROM backup_list() WHERE id = '$one'"));
($status, $v) = verify($r, '--fast');
is("$status $v->{damage}[0]{kind} $v->{damage}[0]{state} @{$v->{damage}[0]{backups}}", "1 wal missing $one", 'and missing WAL of a backup');
is_deeply($v->{intact}, [$two], 'the other backup is intact');

# by sample: the same seed reads the same, each object is read with some seed
my %read;
for my $seed (1 .. 6)
{
	($status, $v) = verify($repo, '--sample', '50', '--seed', $seed);
	is("$status $v->{seed}", "0 $seed", "seed $seed");
	my $again = (verify($repo, '--sample', '50', '--seed', $seed))[1];
	is("$again->{packs} $again->{wal_files} $again->{bytes}", "$v->{packs} $v->{wal_files} $v->{bytes}", 'reads the same again');
	$read{"$v->{packs} $v->{wal_files} $v->{bytes}"} = 1;
	cmp_ok($v->{packs} + $v->{wal_files}, '<=', $all->{packs} + $all->{wal_files}, 'a part');
}
cmp_ok(scalar keys %read, '>', 1, 'different seeds read different parts');
$r = copy_of('sample');
flip(wal_of($r, $segment[1]), 300);
my $found = 0;
for my $seed (1 .. 40)
{
	$found++ if (verify($r, '--sample', '20', '--seed', $seed))[0] == 1;
}
cmp_ok($found, '>', 0, 'damage is found by one sample or another');
cmp_ok($found, '<', 40, 'and not by each');
program_fails([ 'verify', '--sample', $_ ], 2, qr/invalid sample/, "a sample of $_", $repo) for '0', '101', 'x';
program_fails([ 'verify', '--fast', '--sample', '5' ], 2, qr/cannot be combined/, 'fast and a sample', $repo);
program_fails([ 'verify', '--repair' ], 2, qr/nothing to repair from/, 'repair from nothing', $repo);

# limited in time, with time enough: everything, from any start
for my $seed (1 .. 4)
{
	($status, $v) = verify($repo, '--max-time', '1000', '--seed', $seed);
	is("$status $v->{packs} $v->{wal_files} $v->{bytes}", "0 $all->{packs} $all->{wal_files} $all->{bytes}", "start $seed: everything once");
}

# what damage means
$r = copy_of('impact');
my %pack_of_one = map { name_in($r, $_) => 1 } packs($r);
my ($bad_pack) = packs($r);
flip($bad_pack, 7000);
flip(wal_of($r, $segment[1]), 400);
unlink wal_of($r, $segment[2]);
($status, $v) = verify($r);
is($status, 1, 'damage');
my ($pack) = grep { $_->{kind} eq 'pack' } @{ $v->{damage} };
my ($wal) = grep { $_->{kind} eq 'wal' } @{ $v->{damage} };
is($pack->{object}, name_in($r, $bad_pack), 'the pack is named');
cmp_ok(scalar @{ $pack->{backups} }, '>=', 1, 'with the backups that use it');
my $relation = $node->safe_psql('postgres', q{SELECT pg_relation_filepath('first') || ' ' || pg_relation_filepath('second')});
cmp_ok(scalar @{ $pack->{files} }, '>', 0, 'and files in it');
is($wal->{object}, name_in($r, wal_of($r, $segment[1])), 'the damaged segment is named');
is($wal->{lost_from_lsn}, $node->safe_psql('postgres', qq{SELECT ('0/0'::pg_lsn + ('x' || substr('$segment[1]', 17))::bit(32)::bigint * 16777216)}),
	'nothing after its start can be reached');
my $lost_to = $pack->{backups} && grep({ $_ eq $two } @{ $pack->{backups} })
  ? undef : $node->safe_psql('postgres', "SELECT stop_lsn FROM backup_list() WHERE id = '$two'");
is($wal->{lost_to_lsn}, $lost_to, 'until the next intact backup');
ok(!grep({ $_->{note} } @{ $v->{found} }), 'the segment missing beside it is no second gap');
my %bad = map { $_ => 1 } @{ $pack->{backups} };
is_deeply($v->{intact}, [ grep { !$bad{$_} } $one, $two ], 'backups without it are intact');
my ($text_status, $text) = program($r, 'verify');
like($text, qr/^DAMAGED  \Q$pack->{object}\E\n         cannot be restored: backups? .*\n         file /m, 'text names pack, backups and files');
like($text, qr/cannot be reached: on timeline 1 from LSN \Q$wal->{lost_from_lsn}\E/, 'and what cannot be reached');
like($text, qr/\d of 2 backups can be restored/, 'and what can');

$r = copy_of('impact');
unlink wal_of($r, $segment[2]);
($status, $v) = verify($r);
is("$status $v->{problems}", '0 0', 'a gap that no backup needs is no problem');
like(join('', map { $_->{note} || '' } @{ $v->{found} }), qr/"$segment[2]" to "$segment[2]" are missing: .* nothing between LSN/, 'but noted');

# repairing from a copy: damaged and missing packs, WAL, a manifest
my $good = copy_of('good');
$r = copy_of('repair');
my @p = packs($r);
my ($manifest) = glob "$r->{dir}/backups/$one*";
my $start = $node->safe_psql('postgres', "SELECT pg_walfile_name(start_lsn) FROM backup_list() WHERE id = '$one'");
my @broken = (name_in($r, $p[0]), name_in($r, $p[1]), name_in($r, wal_of($r, $segment[0])), name_in($r, wal_of($r, $start)), name_in($r, $manifest));
flip($p[0], 9000);
unlink $p[1];
PostgreSQL::Test::Utils::system_or_bail('truncate', '-s', '3000', wal_of($r, $segment[0]));
flip($manifest, (-s $manifest) - 200);
($status, $v) = verify($r, '--repair-from', $good->{dir});
is($status, 1, 'a dry run leaves the problems');
is(scalar(grep { $_->{good_copy} } @{ $v->{damage} }), 4, 'and finds a good copy for each');
is(scalar(grep { $_->{repaired} } @{ $v->{damage} }), 0, 'nothing is repaired');
is((verify($r))[1]->{problems}, 4, 'they are still there');
($status, $v) = verify($r, '--repair-from', $good->{dir}, '--repair');
is("$status $v->{problems}", '0 0', 'all is repaired');
is_deeply($v->{intact}, [ $one, $two ], 'and intact');
is((verify($r))[0], 0, 'verify finds nothing');
is(slurp_file("$r->{dir}/$_"), slurp_file("$good->{dir}/$_"), "$_ is what it was") for @broken;

# a segment of a backup that is missing comes back too
unlink wal_of($r, $start);
($status, $v) = verify($r, '--repair-from', $good->{dir}, '--repair');
is("$status $v->{problems}", '0 0', 'missing WAL of a backup is repaired');
is((verify($r))[0], 0, 'verify finds nothing');

# a copy that is damaged in the same place is no copy
my $worse = copy_of('worse');
flip((packs($worse))[0], 100);
flip((packs($r))[0], 9000);
($status, $v) = verify($r, '--repair-from', $worse->{dir}, '--repair');
is("$status $v->{problems}", '1 1', 'a damaged copy repairs nothing');
ok(-e((packs($r))[0]) && !$v->{damage}[0]{good_copy}, 'and the damaged pack stays');

# marks and watermarks
$r = copy_of('marks');
my ($point) = glob "$r->{dir}/marks/points/*";
my ($value) = glob "$r->{dir}/marks/watermarks/value/*";
flip($point, 90);
PostgreSQL::Test::Utils::system_or_bail('truncate', '-s', '70', $value);
# a good object under the name of another
my $alias = $point =~ s/-[0-9a-f]{8}$/-00000000/r;
PostgreSQL::Test::Utils::system_or_bail('cp', (glob "$good->{dir}/marks/points/*")[0], $alias);
($status, $v) = verify($r);
is("$status $v->{problems}", '1 3', 'damaged marks and watermarks are found');
is_deeply([ sort map { "$_->{kind} $_->{object}" } @{ $v->{damage} } ], [ sort map { 'mark ' . name_in($r, $_) } $point, $value, $alias ], 'each is named');
is($v->{marks_total}, $v->{marks}, 'all of them are read');
cmp_ok($v->{marks}, '>=', 3, 'and counted');
($status, $v) = verify($r, '--repair-from', $good->{dir}, '--repair');
is("$status $v->{problems}", '1 1', 'they are repaired from a copy, but for what it has not');
is(slurp_file("$r->{dir}/$_"), slurp_file("$good->{dir}/$_"), "$_ is what it was") for map { name_in($r, $_) } $point, $value;
unlink $alias;
is((verify($r))[0], 0, 'verify finds nothing more');

$r = copy_of('repair');
program_fails([ 'verify', '--repair-from', $r->{dir} ], 1, qr/is the repository itself/, 'from itself', $r);
my $other = new_repository('other');
my ($other_status, $other_out, $other_err) = program($r, 'verify', '--repair-from', $other->{dir});
isnt($other_status, 0, 'another repository is refused');

# WAL from pg_wal: only what is byte for byte what was archived
$r = copy_of('wal');
my $pg_wal = "$base/pg_wal";
mkdir $pg_wal or die;
my ($st, $o, $e) = program($repo, 'wal-get', $segment[1], "$pg_wal/$segment[1]");
is($st, 0, 'a segment as a server has it') or diag("$o$e");
flip(wal_of($r, $segment[1]), 500);
flip("$pg_wal/$segment[1]", 100000);
($status, $v) = verify($r, '--pg-wal', $pg_wal, '--repair');
is("$status $v->{problems}", '1 1', 'other bytes are not taken');
flip("$pg_wal/$segment[1]", 100000);
($status, $v) = verify($r, '--pg-wal', $pg_wal);
is("$status $v->{damage}[0]{good_copy}", "1 $pg_wal/$segment[1]", 'the right ones would be');
($status, $v) = verify($r, '--pg-wal', $pg_wal, '--repair');
is("$status $v->{problems}", '0 0', 'and are');
is((verify($r))[0], 0, 'verify finds nothing');

# a repaired repository restores
$r = copy_of('last');
flip($_, 6000) for packs($r);
is((verify($r, '--repair-from', $good->{dir}, '--repair'))[0], 0, 'all packs are repaired');
my $restored = restored_node('restored', $r, '--backup', $two, '--target-immediate');
$restored->append_conf('postgresql.conf', "archive_mode = off\n");
start_restored($restored);
is(fingerprint($restored), fingerprint($node), 'and restored');

done_testing();
