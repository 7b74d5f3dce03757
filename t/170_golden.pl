# Repositories written by earlier versions are listed, verified and restored,
# and new backups are added to them.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use JSON::PP;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $golden = $ENV{OMB_GOLDEN} or die 'OMB_GOLDEN is not set';
my @tar = glob "$golden/*.tar";
cmp_ok(scalar(@tar), '>', 0, 'there is a golden repository');

# the settings in the backup are those of a machine that is gone
sub at_home
{
	my ($node) = @_;
	$node->append_conf('postgresql.conf', "unix_socket_directories = '" . $node->host . "'\n");
	return;
}

sub tree
{
	my ($dir) = @_;
	return scalar `cd '$dir' && { find . -mindepth 1 ! -name 'app.db*' -printf '%P|%y|%m|%l|%T@\\0' | LC_ALL=C sort -z | tr '\\0' '\\n'
	find . -type f ! -name 'app.db*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum; }`;
}

# Golden repositories since 3 have files of the application, a mark and a watermark.
sub application_files
{
	my ($name, $base, $repo, $list) = @_;
	my $wanted = slurp_file("$base/tree");
	program_ok([ 'restore', '--files-dir', "$base/files" ], "$name: the newest files", $repo);
	is(tree("$base/files/app"), $wanted, "$name: names, kinds, modes, times, links and contents are as they were");
	cmp_ok((stat "$base/files/app/hole")[12] * 512, '<', 1_000_000, "$name: a hole is one");
	is(`sqlite3 '$base/files/app/app.db' 'PRAGMA integrity_check; SELECT count(*), sum(n) FROM t'`, "ok\n500|125250\n",
		"$name: the database of SQLite");
	my ($mark) = @{ decode_json(program_ok([ 'list', '--marks', '--json' ], "$name: marks", $repo)) };
	is($mark->{name}, 'golden mark', "$name: the mark");
	my ($watermark) = @{ decode_json(program_ok([ 'list', '--watermarks', '--json' ], "$name: watermarks", $repo)) };
	is($watermark->{name}, 'stock', "$name: the watermark");
	is($watermark->{value}{max}, 2000, "$name: its value");
	my $info = decode_json(program_ok([ 'info', '--json', $list->[0]{id} ], "$name: info", $repo));
	ok($info->{pinned} && $info->{pin_reason} eq 'never again', "$name: the pin");
	my ($files) = @{ decode_json(program_ok([ 'list', '--files', '--json' ], "$name: files", $repo)) };
	ok($files->{id} gt $list->[0]{id} && $files->{id} lt $list->[1]{id}, "$name: the backup of files alone is between both");

	my $node = restored_node("golden_${name}_mark", $repo, '--target-mark', 'golden mark', '--files-dir', "$base/mark", '--target-action', 'promote');
	is(slurp_file("$base/mark/app/gone"), 'gone', "$name: at the mark there is a file that was deleted later");
	at_home($node);
	$node->start;
	$node->poll_query_until('gold', 'SELECT NOT pg_is_in_recovery()') or die 'recovery did not end';
	is($node->safe_psql('gold', q{SELECT count(*), bool_and(name = md5(id::text)) FROM stock}), '2500|t', "$name: and the database as it was");
	$node->stop;
	return;
}

for my $tar (@tar)
{
	my ($name) = $tar =~ m{([^/]+)\.tar$};
	my $base = PostgreSQL::Test::Utils::tempdir("golden_$name");
	system_or_bail('tar', '-xf', $tar, '-C', $base);
	my $repo = { dir => "$base/repository", key => "$base/key" };
	my $list = decode_json(program_ok([ 'list', '--json' ], "$name: list", $repo));
	is_deeply([ map { $_->{label} } @$list ], [ 'golden one', 'golden two' ], "$name: both backups are listed");
	program_ok(['verify'], "$name: verify", $repo);
	program_ok([ 'list', '--recovery-code-file', "$base/recovery-code" ], "$name: the recovery code opens it",
		{ dir => $repo->{dir}, key => '' });

	application_files($name, $base, $repo, $list) if -e "$base/tree";

	my $one = restored_node("golden_${name}_one", $repo, '--backup', $list->[0]{id}, '--target-name', 'golden');
	at_home($one);
	$one->start;
	$one->poll_query_until('gold', 'SELECT NOT pg_is_in_recovery()') or die 'recovery did not end';
	is($one->safe_psql('gold', q{SELECT count(*), bool_and(name = md5(id::text)) FROM stock}), '2500|t',
		"$name: the first backup, up to the restore point");
	$one->stop;

	my $two = restored_node("golden_${name}_two", $repo, '--take-over');
	at_home($two);
	$two->start;
	$two->poll_query_until('gold', 'SELECT NOT pg_is_in_recovery()') or die;
	is($two->safe_psql('gold', q{SELECT count(*), count(*) FILTER (WHERE name = 'later'), max(id) FROM stock}), '2501|99|9999',
		"$name: the newest, up to the end of the archive");

	# the version that is installed now goes on from there
	$two->append_conf('postgresql.conf', qq{
omsupply_backup.repository = '$repo->{dir}'
omsupply_backup.key_file = '$repo->{key}'
});
	$two->restart;
	# golden 1 has SQL objects from before their first version was complete
	$two->safe_psql('gold', $two->safe_psql('gold', q{SELECT to_regclass('backup_retention') IS NULL}) eq 't'
		? 'DROP EXTENSION omsupply_backup; CREATE EXTENSION omsupply_backup'
		: 'ALTER EXTENSION omsupply_backup UPDATE');
	$two->safe_psql('gold', 'CREATE TABLE added AS SELECT generate_series(1, 1000) AS n');
	my $id = $two->safe_psql('gold', q{SELECT backup_now('added')});
	is(decode_json(program_ok([ 'info', '--json', $id ], "$name: info of the new backup", $repo))->{parent},
		$list->[1]{id}, "$name: it builds upon the golden one");
	$two->stop;
	my $three = restored_node("golden_${name}_three", $repo, '--backup', $id);
	at_home($three);
	$three->start;
	$three->poll_query_until('gold', 'SELECT NOT pg_is_in_recovery()') or die;
	is($three->safe_psql('gold', 'SELECT count(*) FROM added'), '1000', "$name: which restores");
	$three->stop;
	program_ok(['verify'], "$name: verify after that", $repo);
}
done_testing();
