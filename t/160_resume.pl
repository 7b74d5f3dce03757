# A backup that was cut short is continued by the next one: what was stored is
# not stored again.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use JSON::PP;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $repo = new_repository('resume');
my $node = new_node('main', $repo, conf => "autovacuum = off\n$Omb::no_scheduler");
# random text hardly compresses: some hundred MB are a dozen packs
$node->safe_psql('postgres', q{
CREATE TABLE t AS SELECT n, (SELECT string_agg(md5(random()::text || n || i), '') FROM generate_series(1, 30) i) AS filler
FROM generate_series(1, 200000) n});

sub info { return decode_json(program_ok([ 'info', '--json', $_[0] ], "info of $_[0]", $repo)) }
sub packs { my @p = glob "$repo->{dir}/packs/*/*"; return @p }
sub journals { my @j = glob "$repo->{dir}/cache/unfinished-*"; return @j }
# how many packs the journals name, with 32 bytes each
sub noted { my $n = 0; $n += (-s $_) / 32 for journals(); return $n }
sub pack_bytes { my $n = 0; $n += -s $_ for packs(); return $n }
sub slow { $node->safe_psql('postgres', "ALTER SYSTEM SET omsupply_backup.max_read_rate = '$_[0]'"); $node->reload; return }
sub worker { return $node->safe_psql('postgres', q{SELECT pid FROM backup_progress}) }
sub ended { $node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM backup_progress') or die; return }

# Let a backup run until it has noted two packs more, while it has some left to store,
# then interrupt it.
sub interrupt
{
	my ($kind, $how) = @_;
	my $before = noted();
	slow('30MB');
	$node->safe_psql('postgres', "SELECT backup_now('cut short', '$kind', false)");
	my $tries = 0;
	while (noted() < $before + 2)
	{
		die 'no packs are noted' if $tries++ > 6000;
		select undef, undef, undef, 0.02;
	}
	$how->();
	slow(0);
	return;
}

my %interruptions = (
	'killed agent' => sub { kill 'KILL', agent_pid(worker()); ended() },
	'cancel' => sub { $node->safe_psql('postgres', 'SELECT backup_cancel()'); ended() },
	'crash of the server' => sub { $node->stop('immediate'); $node->start });

for my $kind ('full', 'auto')
{
	for my $name (sort keys %interruptions)
	{
		# everything is new in each round
		$node->safe_psql('postgres', q{UPDATE t SET filler = reverse(filler) || 'x'; VACUUM t; CHECKPOINT});
		interrupt($kind, $interruptions{$name});
		my $left = pack_bytes();
		my $count = packs();
		is(scalar(journals()), 1, "$kind, $name: a journal is left");
		my $id = $node->safe_psql('postgres', "SELECT backup_now('continued', '$kind')");
		my $facts = info($id);
		is(scalar(journals()), 0, "$kind, $name: no journal is left after the next backup");
		cmp_ok(pack_bytes() - $left, '<', $facts->{bytes_stored} * 1.01 + 65536, "$kind, $name: it counts what it stores");
		my $whole = program_ok([ 'verify', $id ], "$kind, $name: it can be read", $repo);
		my ($used) = $whole =~ /(\d+) packs/;
		my $new = packs() - $count;
		cmp_ok($used - $new, '>=', 2, "$kind, $name: it uses packs that were left");
		my $restored = PostgreSQL::Test::Utils::tempdir('restored') . '/data';
		program_ok([ 'restore', '--pgdata', $restored, '--backup', $id, '--backup-manifest', '--target-immediate' ],
			"$kind, $name: restore", $repo);
		command_ok([ 'pg_verifybackup', '-n', $restored ], "$kind, $name: pg_verifybackup agrees");
		is(system('diff', '-r', '-q', '-x', 'pg_internal.init', '-x', 'pgsql_tmp', $node->data_dir . '/base', "$restored/base"), 0,
			"$kind, $name: the files are the same");
		PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', $restored);
	}
}

# twice in a row: the second attempt takes over and leaves both
$node->safe_psql('postgres', q{UPDATE t SET filler = reverse(filler) || 'y'; VACUUM t; CHECKPOINT});
interrupt('full', $interruptions{'killed agent'});
interrupt('full', $interruptions{'cancel'});
is(scalar(journals()), 2, 'two attempts leave two journals');
# one of the packs is damaged, another is lost, a journal names nonsense
my ($first, $second) = sort { -M $a <=> -M $b } packs();
unlink $first or die;
truncate $second, 100000 or die;
append_to_file((journals())[0], "nonsense that is no name of a pack, and more of it");
my $id = $node->safe_psql('postgres', q{SELECT backup_now('after two', 'full')});
program_ok([ 'verify', $id ], 'damaged leftovers are not used', $repo);
is(scalar(journals()), 0, 'no journal is left');
done_testing();
