# What a remote site misses after the central server was restored: 90 of 100
# rows are back, the site had all 100. It depends on the protocol and on how
# many rows are new before the site comes again; with realignment it is none.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use OmSupply;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub classes { my ($from, $to) = @_; return map { (sprintf('c%03d', $_) => "class $_") } $from .. $to; }

# rows that are new at the first sync => rows that the site never gets
my %lost = (2 => { 0 => 0, 5 => 5, 15 => 10 }, 3 => { 0 => 10, 5 => 10, 15 => 10 });

for my $line (2, 3)
{
	my $repo = new_repository("line$line");
	my $node = new_node("line$line", $repo, initdb => ['--wal-segsize=1'], conf => "omsupply_backup.database = 'central'\n");
	$node->safe_psql('postgres', 'CREATE DATABASE central');
	my $central = install_omsupply($node, 'central', $line);
	OmSupply::sql($central, 'CREATE EXTENSION omsupply_backup; SELECT backup_preset_omsupply(); SELECT backup_now()');
	my $site = new_remote(11, $line == 2 ? 6 : 7);
	central_edit($central, 'asset_class', classes(1, 90));
	OmSupply::sql($central, q{SELECT backup_mark('ninety')});
	central_edit($central, 'asset_class', classes(91, 100));
	$site->sync($central);
	is($site->lacks($central, 'asset_class'), 0, "line $line: the site has all");
	is($site->{pull}, $line == 2 ? 101 : 100, 'its cursor');
	$node->poll_query_until('central', q{SELECT count(*) = 0 FROM pg_ls_dir('omsupply_backup.notes')}) or die 'not noted';
	wait_archived($node);
	$node->stop('immediate');

	my $restored = restored_node("restored$line", $repo, '--target-mark', 'ninety', '--take-over', '--no-quarantine');
	start_restored($restored);
	$restored->safe_psql('central', q{DELETE FROM backup_watermark});
	for my $before (sort { $a <=> $b } keys %{ $lost{$line} })
	{
		for my $is_realigned (0, 1)
		{
			my $database = "c${before}_$is_realigned";
			$restored->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE central");
			my $copy = { %$central, node => $restored, database => $database };
			my $remote = copy_of($site);
			# recovery may leave the sequence some values further, by luck
			OmSupply::sql($copy, $is_realigned ? q{SELECT backup_realign('omsupply', false, highest => 101)} : q{SELECT setval('changelog_cursor_seq', 90, true)});
			central_edit($copy, 'asset_class', classes(201, 200 + $before)) if $before > 0;
			$remote->sync($copy);
			central_edit($copy, 'asset_class', classes(201 + $before, 220));
			$remote->sync($copy) for 1 .. 2;
			is($remote->lacks($copy, 'asset_class'), $is_realigned ? 0 : $lost{$line}{$before},
				"line $line, $before new rows, " . ($is_realigned ? 'with' : 'without') . ' realignment: rows that are missing');
		}
	}
	$restored->stop;
}

done_testing();
