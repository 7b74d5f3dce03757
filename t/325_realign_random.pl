# Random histories: work at the central server and at remote sites, syncs in any
# order, a disaster at any moment, a restore to any mark, realignment by what
# the watermarks tell, work again. In the end everybody has everything.
# OMB_SEED repeats a history.
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

# Somebody does something.
sub step
{
	my ($central, $remotes) = @_;
	my $what = rand;
	my $remote = one_of(@$remotes);
	if ($what < 0.4) { central_edit($central, 'asset_class', map { (sprintf('c%02d', rand 60) => 'text ' . $number++) } 1 .. 1 + rand 4); }
	elsif ($what < 0.5) { central_edit($central, 'asset_class', 'n' . $number => 'new ' . $number++); }
	elsif ($what < 0.7) { $remote->edit(one_of("a$remote->{site}-" . int(rand 9), "b$remote->{site}-" . $number), notes => 'text ' . $number++); }
	# most sync often, one hardly ever
	else { my $r = rand() < 0.9 ? one_of(@$remotes[ 0 .. 1 ]) : $remotes->[2]; $r->sync($central); }
	return;
}

for my $line (2, 3)
{
	my $name = "line $line, seed $seed";
	my $repo = new_repository("random$line");
	my $node = new_node("random$line", $repo, initdb => ['--wal-segsize=1'], conf => "omsupply_backup.database = 'central'\n");
	$node->safe_psql('postgres', 'CREATE DATABASE central');
	my $central = install_omsupply($node, 'central', $line);
	OmSupply::sql($central, 'CREATE EXTENSION omsupply_backup; SELECT backup_preset_omsupply(); SELECT backup_now()');
	measure($node, 'central');
	my @remotes = map { new_remote($_, $line == 2 ? 6 : 7) } 11, 12, 13;
	my @marks;
	for my $i (1 .. 80)
	{
		step($central, \@remotes);
		if (rand() < 0.05 || $i == 40) { push @marks, "m$i"; OmSupply::sql($central, "SELECT backup_mark('m$i')"); }
		measure($node, 'central') if rand() < 0.05;
	}
	# the last minute is never measured
	measure($node, 'central');
	step($central, \@remotes) for 1 .. rand 20;
	my $highest = (sort { $b <=> $a } map { $_->{pull} } @remotes)[0];
	$node->poll_query_until('central', q{SELECT count(*) = 0 FROM pg_ls_dir('omsupply_backup.notes')});
	wait_archived($node);
	$node->stop('immediate');

	my $mark = one_of(@marks);
	my $restored = restored_node("again$line", $repo, '--target-mark', $mark, '--take-over');
	start_restored($restored);
	$restored->poll_query_until('central', q{SELECT backup_quarantine_state() = 'on'});
	$central = { %$central, node => $restored };
	my $options = 'rebroadcast => true' . ($line == 3 ? ', ask_remotes => true' : '');
	my $told = OmSupply::sql($central, "SELECT * FROM backup_realign('omsupply', false, $options)");
	cmp_ok(OmSupply::sql($central, 'SELECT last_value FROM changelog_cursor_seq'), '>', $highest, "to $mark of @marks, $name: past what any site has seen");
	cmp_ok(OmSupply::sql($central, 'SELECT last_value FROM changelog_cursor_seq'), '<', 200000, 'and not much further');
	OmSupply::sql($central, 'SELECT backup_release_quarantine()');
	if ($line == 2) { $_->{push} = 1 for @remotes; }
	step($central, \@remotes) for 1 .. 40;
	for (1 .. 3) { $_->sync($central) for @remotes; }
	my %class = map { split /\|/, $_, 2 } split /\n/, OmSupply::sql($central, 'SELECT id, name FROM asset_class');
	for my $remote (@remotes)
	{
		my @wrong = grep { !$remote->{records}{asset_class}{$_} || $remote->{records}{asset_class}{$_}{name} ne $class{$_} } sort keys %class;
		is("@wrong", '', "site $remote->{site} has all central records as they are, $name");
		my %asset = map { split /\|/, $_, 2 } split /\n/, OmSupply::sql($central, "SELECT id, notes FROM asset WHERE store_id = '$remote->{store}'");
		my $own = $remote->{records}{asset} || {};
		is(join(' ', grep { ($asset{$_} // '') ne $own->{$_}{notes} } sort keys %$own), '', "and the central server has all of its, $name");
	}
	$restored->stop;
}

done_testing();
