# Omb.pm: what the tests share: repositories, servers with the extension,
# restored servers, fingerprints of databases.
package Omb;

use strict;
use warnings;

use Exporter 'import';
use File::Basename qw(basename);
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(new_repository new_node program program_ok program_fails
  restored_node start_restored fingerprint wait_archived prove_sound
  agent_pid);

# A file system of 24 MB for this test alone, where one can be mounted.
if ($ENV{OMB_SMALL_FS})
{
	my $own = "$ENV{OMB_SMALL_FS}/" . basename($0, '.pl');
	-d $own ? $ENV{OMB_SMALL_FS} = $own : delete $ENV{OMB_SMALL_FS};
}

# Settings under which nothing writes the history of backups: the extension is
# not in that database. For tests that compare files byte for byte.
our $no_scheduler = "omsupply_backup.database = 'template1'\n";

# A new encrypted repository: { dir, key }.
sub new_repository
{
	my ($name, @options) = @_;
	my $base = PostgreSQL::Test::Utils::tempdir("repo_$name");
	my $repo = { dir => "$base/repository", key => "$base/key" };
	program_ok([ 'init', '--repository', $repo->{dir}, '--key-file', $repo->{key}, @options ],
		"init of repository $name");
	return $repo;
}

# Run the program; returns exit status, standard output, standard error.
sub program
{
	my ($repo, @args) = @_;
	my ($out, $err) = ('', '');
	local $ENV{OMSUPPLY_BACKUP_REPOSITORY} = $repo->{dir} if $repo;
	local $ENV{OMSUPPLY_BACKUP_KEY_FILE} = $repo->{key} if $repo;
	my $h = IPC::Run::start([ 'omsupply_backup', @args ], '<', \undef, '>', \$out, '2>', \$err);
	IPC::Run::finish($h);
	my $status = $? & 127 ? 'signal ' . ($? & 127) : $? >> 8;
	return ($status, $out, $err);
}

sub program_ok
{
	my ($args, $name, $repo) = @_;
	my ($status, $out, $err) = program($repo, @$args);
	is($status, 0, $name) or diag("$out$err");
	return $out;
}

# It must fail with that status and a message that matches; never a crash.
sub program_fails
{
	my ($args, $wanted, $pattern, $name, $repo) = @_;
	my ($status, $out, $err) = program($repo, @$args);
	is($status, $wanted, "$name: exit status") or diag("$out$err");
	like($err, $pattern, "$name: message");
	return $err;
}

# A running server that archives into the repository.
sub new_node
{
	my ($name, $repo, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(extra => [ '--data-checksums', @{ $options{initdb} || [] } ]);
	$node->append_conf('postgresql.conf', qq{
wal_level = replica
shared_preload_libraries = 'omsupply_backup'
archive_mode = on
archive_library = 'omsupply_backup'
omsupply_backup.repository = '$repo->{dir}'
omsupply_backup.key_file = '$repo->{key}'
max_wal_size = 1GB
} . ($options{conf} || ''));
	$node->start;
	# no test depends on the time of day
	$node->safe_psql('postgres', 'CREATE EXTENSION omsupply_backup; UPDATE backup_schedule SET is_enabled = false');
	return $node;
}

# Restore into a new node's directory; not started.
sub restored_node
{
	my ($name, $repo, @args) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	program_ok([ 'restore', '--pgdata', $node->data_dir, '--backup-manifest', @args ],
		"$name: restore @args", $repo);
	command_ok([ 'pg_verifybackup', '-n', $node->data_dir ], "$name: pg_verifybackup agrees");
	$node->append_conf('postgresql.conf', 'port = ' . $node->port . "\n");
	return $node;
}

# Start it and wait until recovery has ended.
sub start_restored
{
	my ($node) = @_;
	$node->start;
	$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()')
	  or die 'recovery did not end';
	return;
}

# Rows and an order-independent hash of each table of a database, but those
# that the scheduler writes to at any time.
sub fingerprint
{
	my ($node, $database) = @_;
	$database ||= 'postgres';
	my $tables = $node->safe_psql($database,
		q{SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		  WHERE relkind = 'r' AND relpersistence = 'p' AND nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
		  AND relname NOT IN ('backup_history', 'backup_schedule_state') ORDER BY 1});
	my $text = '';
	for my $t (split /\n/, $tables)
	{
		$text .= "$t " . $node->safe_psql($database,
			"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM $t t") . "\n";
	}
	return $text;
}

# Switch to a new segment and wait until the old one is archived.
sub wait_archived
{
	my ($node) = @_;
	my $file = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_lsn())');
	$node->safe_psql('postgres', "SELECT pg_create_restore_point('switch')");
	$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
	$node->poll_query_until('postgres', "SELECT last_archived_wal >= '$file' FROM pg_stat_archiver")
	  or die "segment $file was not archived";
	return $file;
}

# PostgreSQL's own tools find nothing wrong. Stops the server.
sub prove_sound
{
	my ($node, $name) = @_;
	command_ok([ 'pg_amcheck', '--all', '--install-missing', '-p', $node->port, '-h', $node->host ],
		"$name: pg_amcheck finds nothing");
	$node->stop;
	command_ok([ 'pg_checksums', '--check', '-D', $node->data_dir ], "$name: checksums are right");
	return;
}

# Process id of the agent that is a child of the process; 0 when there is none.
sub agent_pid
{
	my ($parent) = @_;
	for my $stat (glob '/proc/[0-9]*/stat')
	{
		open my $f, '<', $stat or next;
		my $line = <$f>;
		return $1 if defined $line && $line =~ /^(\d+) \(omsupply_backup\) \S $parent /;
	}
	return 0;
}

1;
