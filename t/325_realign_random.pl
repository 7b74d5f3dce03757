# Random histories: work at the central server and at remote sites, syncs in any
# order, sites that move to other machines, a disaster at any moment, a restore
# to any mark, realignment by what the watermarks tell, work again. In the end
# everybody has everything. OMB_SEED repeats a history; OMB_HISTORIES tells how many
# there are of each version of omSupply, and each is restored to several marks.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use OmSupply;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{OMB_SEED} || int(rand 1e9);
srand $seed;
note "seed $seed";
my $number = 0;

sub one_of { return $_[ int rand @_ ]; }

# A site of 3.0 gets a new token, as somebody lets it.
sub reinstall
{
	my ($central, $remote) = @_;
	return if $central->{line} == 2;
	OmSupply::sql($central, "UPDATE site SET token = NULL, hardware_id = NULL WHERE id = $remote->{site}");
	$remote->get_token($central) or die 'no token';
	return;
}

# Somebody does something.
sub step
{
	my ($central, $remotes) = @_;
	my $what = rand;
	my $remote = one_of(@$remotes);
	if ($what < 0.4) { central_edit($central, 'asset_class', map { (sprintf('c%02d', rand 60) => 'text ' . $number++) } 1 .. 1 + rand 4); }
	elsif ($what < 0.5) { central_edit($central, 'asset_class', 'n' . $number => 'new ' . $number++); }
	elsif ($what < 0.7) { $remote->edit(one_of("a$remote->{site}-" . int(rand 9), "b$remote->{site}-" . $number), notes => 'text ' . $number++); }
	elsif ($what < 0.73) { reinstall($central, $remote); }
	# most sync often, one hardly ever
	else { my $r = rand() < 0.9 ? one_of(@$remotes[ 0 .. 1 ]) : $remotes->[2]; $r->sync($central); }
	return;
}

my $repositories = PostgreSQL::Test::Utils::tempdir('repositories');
my $restores = 0;

# A restore to a mark, from a copy of the repository, with copies of the sites.
sub restore_to
{
	my ($mark, $original, $repo, $highest, @remotes) = @_;
	my $name = 'again' . ++$restores;
	my $what = "line $original->{line}, to $mark, seed $seed";
	my $copy = { %$repo, dir => "$repositories/$name" };
	PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $repo->{dir}, $copy->{dir});
	@remotes = map { copy_of($_) } @remotes;
	my $restored = restored_node($name, $copy, '--target-mark', $mark, '--take-over');
	$restored->append_conf('postgresql.conf', "omsupply_backup.repository = '$copy->{dir}'\n");
	start_restored($restored);
	ok(await_quarantine($restored, 'central'), "quarantine, $what");
	my $central = { %$original, node => $restored };
	measure($restored, 'central') if rand() < 0.3;
	my $options = 'rebroadcast => true' . ($central->{line} == 3 ? ', ask_remotes => true' : '');
	OmSupply::sql($central, "SELECT * FROM backup_realign('omsupply', false, $options)");
	my $sequence = OmSupply::sql($central, 'SELECT last_value FROM changelog_cursor_seq');
	cmp_ok($sequence, '>', $highest, "past what any site has seen, $what");
	cmp_ok($sequence, '<', 400000, "and not much further, $what");
	OmSupply::sql($central, 'SELECT backup_release_quarantine()');
	if ($central->{line} == 2) { $_->{push} = 1 for @remotes; }
	# who moved after the last measurement: as the report says
	for my $remote (grep { !$_->logs_in($central) } @remotes) { note "site $remote->{site} needs a new token"; reinstall($central, $remote); }
	step($central, \@remotes) for 1 .. 40;
	for (1 .. 3) { $_->sync($central) for @remotes; }
	my %class = map { split /\|/, $_, 2 } split /\n/, OmSupply::sql($central, 'SELECT id, name FROM asset_class');
	for my $remote (@remotes)
	{
		my @wrong = grep { !$remote->{records}{asset_class}{$_} || $remote->{records}{asset_class}{$_}{name} ne $class{$_} } sort keys %class;
		is("@wrong", '', "site $remote->{site} has all central records as they are, $what");
		my %asset = map { split /\|/, $_, 2 } split /\n/, OmSupply::sql($central, "SELECT id, notes FROM asset WHERE store_id = '$remote->{store}'");
		my $own = $remote->{records}{asset} || {};
		is(join(' ', grep { ($asset{$_} // '') ne $own->{$_}{notes} } sort keys %$own), '', "and the central server has all of its, $what");
	}
	$restored->stop;
	return;
}

for my $history (map { ([ 2, $_ ], [ 3, $_ ]) } 1 .. $ENV{OMB_HISTORIES} || 1)
{
	my ($line, $n) = @$history;
	my $repo = new_repository("random$line$n");
	my $node = new_node("random$line$n", $repo, initdb => ['--wal-segsize=1'], conf => "omsupply_backup.database = 'central'\n");
	$node->safe_psql('postgres', 'CREATE DATABASE central');
	my $central = install_omsupply($node, 'central', $line);
	OmSupply::sql($central, 'CREATE EXTENSION omsupply_backup; SELECT backup_preset_omsupply(); SELECT backup_now()');
	measure($node, 'central');
	my @remotes = map { new_remote($_, $line == 2 ? 6 : 7) } 11, 12, 13;
	my @marks;
	for my $i (1 .. 80)
	{
		step($central, \@remotes);
		if (rand() < 0.05 || $i == 20 || $i == 40 || $i == 60) { push @marks, "m$i"; OmSupply::sql($central, "SELECT backup_mark('m$i')"); }
		measure($node, 'central') if rand() < 0.05;
	}
	# the last minute is never measured
	measure($node, 'central');
	step($central, \@remotes) for 1 .. rand 20;
	my $highest = (sort { $b <=> $a } map { $_->{pull} } @remotes)[0];
	$node->poll_query_until('central', q{SELECT count(*) = 0 FROM pg_ls_dir('omsupply_backup.notes')}) or die 'not noted';
	wait_archived($node);
	$node->stop('immediate');
	restore_to($_, $central, $repo, $highest, @remotes) for one_of(@marks), $marks[0], $marks[-1];
}

done_testing();
