# Prune removes what a removed backup leaves behind and keeps all that others
# need, also when it is killed or fails at any moment, and never beside a
# backup.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use JSON::PP;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $shim = "$ENV{OMB_BIN}/faultshim.so";
ok(-e $shim, 'the shim is built') or BAIL_OUT('no shim');
my $repo = new_repository('prune');
my $node = new_node('main', $repo, conf => "autovacuum = off\nomsupply_backup.jobs = 1\n");
my $scratch = PostgreSQL::Test::Utils::tempdir('prune');
my $log = "$scratch/fault.log";

# The first backup has a large table that the second one has no more: most of
# the first one's pack is unused once it is removed.
$node->safe_psql('postgres', q{
	CREATE TABLE small AS SELECT n, md5(n::text) FROM generate_series(1, 5000) n;
	CREATE TABLE large AS SELECT n, sha512(n::text::bytea) AS a, sha512((n || 'x')::bytea) AS b FROM generate_series(1, 80000) n;
	CHECKPOINT});
my $first = $node->safe_psql('postgres', q{SELECT backup_now('first', 'full')});
$node->safe_psql('postgres', q{DROP TABLE large; UPDATE small SET n = -n WHERE n < 100; CHECKPOINT});
my $second = $node->safe_psql('postgres', q{SELECT backup_now('second')});
$node->safe_psql('postgres', q{CREATE TABLE third AS SELECT n FROM generate_series(1, 1000) n; CHECKPOINT});
my $third = $node->safe_psql('postgres', q{SELECT backup_now('third')});
my $wanted = fingerprint($node);
wait_archived($node);

sub files { my ($dir) = @_; return join "\n", sort grep { -f $_ && !m{/(lock|cache/.*)$} } split /\n/, `find $dir -type f` }
sub prune
{
	my ($in, @options) = @_;
	my ($status, $out, $err) = program($in, 'prune', '--json', '--jobs', 1, @options);
	is($status, 0, "prune @options") or diag($err);
	return decode_json($out);
}
sub verifies { my ($in) = @_; my ($status, $out, $err) = program($in, 'verify'); diag("$out$err") if $status; return $status == 0 }

# nothing to do while all backups are there
my $done = prune($repo);
is($done->{packs_removed} + $done->{packs_rewritten}, 0, 'with all backups there is nothing to do');
is($done->{backups}, 3, 'it counts the backups');

# a backup that is running
{
	my ($system) = $node->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()');
	my $job = "job type=backup repository=$repo->{dir} key_file=$repo->{key} compression=zstd:1 jobs=1 pgdata="
	  . $node->data_dir . " system_identifier=$system wal_segment_size=16777216 label=running kind=full "
	  . "pg_version=150000 data_checksums=1 archive_timeout=60 segment_blocks=131072\n";
	my ($out, $err) = ('', '');
	my $h = IPC::Run::start([ 'omsupply_backup', 'agent' ], '<', \$job, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
	$h->pump until $out =~ /^(ready|error)/m;
	like($out, qr/^ready/, 'a backup begins') or diag($out);
	program_fails([ 'prune' ], 1, qr/is in use.*Nothing was removed/s, 'prune beside a backup', $repo);
	$h->kill_kill;
}

unlink glob "$repo->{dir}/backups/$first*";
my $before = files($repo->{dir});
my $plan = prune($repo, '--dry-run');
is(files($repo->{dir}), $before, 'a dry run changes nothing');
cmp_ok($plan->{packs_removed} + $plan->{packs_rewritten}, '>', 0, 'it finds something to do');
cmp_ok($plan->{packs_rewritten}, '>', 0, 'it finds a pack to rewrite');
is(scalar(grep { $_->{verdict} eq 'rewrite' } @{ $plan->{found} }), $plan->{packs_rewritten}, 'each is told of');
is(prune($repo, '--dry-run', '--rewrite-below', 0)->{packs_rewritten}, 0, 'rewriting can be turned off');
program_fails([ 'prune', '--grace', 'week' ], 2, qr/"week" is no value for --grace/, 'a mistake', $repo);

# killed, or with an error, at each of many operations
my $copy = { dir => "$scratch/repository", key => $repo->{key} };
sub prune_with
{
	my ($at, $mode) = @_;
	unlink $log;
	append_to_file($log, '');
	local %ENV = (%ENV, LD_PRELOAD => $shim, FAULT_AT => $at, FAULT_MODE => $mode, FAULT_LOG => $log);
	my ($status) = program($copy, 'prune', '--jobs', 1);
	return $status;
}
sub fresh_copy
{
	PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', $copy->{dir});
	PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $repo->{dir}, $copy->{dir});
	return;
}
for my $mode (qw(errno kill))
{
	my ($at, $tries, @wrong) = (0, 0);
	while (1)
	{
		$at += 1 + int($at / 6);
		fresh_copy();
		my $status = prune_with($at, $mode);
		last unless slurp_file($log) =~ /fired/;
		$tries++;
		push @wrong, "$at: success although it was killed" if $mode eq 'kill' && $status eq '0';
		push @wrong, "$at: the repository does not verify" unless verifies($copy);
		my ($again, $out, $err) = program($copy, 'prune', '--json', '--jobs', 1);
		push @wrong, "$at: doing it again fails: $err" if $again;
		push @wrong, "$at: the repository does not verify after that" unless verifies($copy);
		my ($third_run, $last) = program($copy, 'prune', '--dry-run', '--json');
		my $left = decode_json($last);
		push @wrong, "$at: something is left to do" if $left->{packs_removed} + $left->{packs_rewritten} + $left->{revisions_removed};
		last if @wrong > 3;
	}
	is("@wrong", '', "$mode: at $tries of some $at operations");
	cmp_ok($tries, '>', 15, "$mode: there were some");
}

# the last copy was pruned without a fault; a backup in it has other packs now
cmp_ok(scalar(() = glob "$copy->{dir}/backups/*.2"), '>', 0, 'there is a second revision of a manifest');
is(scalar(() = glob "$copy->{dir}/backups/*"), 2, 'and no other');
my ($status, $list) = program($copy, 'list', '--json');
is_deeply([ map { $_->{id} } @{ decode_json($list) } ], [ $second, $third ], 'each backup is listed once');

# for good, and it frees what it says
$done = prune($repo);
is($done->{packs_removed}, $plan->{packs_removed}, 'as many packs are removed as planned');
is($done->{packs_rewritten}, $plan->{packs_rewritten}, 'as many are rewritten');
cmp_ok($done->{bytes_removed} + $done->{bytes_saved}, '>', 5_000_000, 'which frees most of the large table');
ok(verifies($repo), 'the repository verifies');

# the next backup builds on a manifest that was rewritten
$node->safe_psql('postgres', q{UPDATE small SET n = 0 WHERE n = 200; CHECKPOINT});
my $fourth = $node->safe_psql('postgres', q{SELECT backup_now('fourth')});
my $last_wanted = fingerprint($node);
wait_archived($node);
($status, $list) = program($repo, 'list', '--json');
is(decode_json($list)->[-1]{parent}, $third, 'a backup builds on it');
ok(verifies($repo), 'and all verifies');
$node->stop;

for ([ $third, $wanted ], [ $fourth, $last_wanted ])
{
	my ($id, $content) = @$_;
	my $restored = restored_node("from_$id", $repo, '--backup', $id, '--target-immediate');
	start_restored($restored);
	is(fingerprint($restored), $content, "backup $id restores with the same content");
	$restored->stop;
}

done_testing();
