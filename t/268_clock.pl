# A machine whose clock is an hour ahead or behind, before buckets that check
# when requests were signed: the program, and a server whose clock jumps
# while it fills its targets. What is stored is right, and so is what is kept.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Cloud;
use IPC::Run;
use JSON::PP;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

ok($ENV{OMB_S3_PORT}, 'scripts/prove.sh has started an S3 server') or BAIL_OUT('no S3 server');
ok($ENV{OMB_AZURE_PORT}, 'and Azurite') or BAIL_OUT('no Azurite');
my $base = PostgreSQL::Test::Utils::tempdir('clock');

# ---- servers ----

# Forms of URLs, with "%s" for the prefix.
sub double { return encode($_[0]) =~ s/%/%%/gr }

my $s3_keys = write_private("$base/s3 keys", "access_key_id=$ENV{OMB_S3_ACCESS_KEY_ID}", "secret_access_key=$ENV{OMB_S3_SECRET_ACCESS_KEY}");
{
	local %ENV = (%ENV, OMB_S3_ENDPOINT => "http://127.0.0.1:$ENV{OMB_S3_PORT}", OMB_S3_BUCKET => 'clock', OMB_S3_CREDENTIALS => $s3_keys);
	command_ok([ "$ENV{OMB_BIN}/cloudsuite", 'create' ], 'a bucket');
}
my $azure = "azblob://$ENV{OMB_AZURE_ACCOUNT}/clock/%s?endpoint=" . double("http://127.0.0.1:$ENV{OMB_AZURE_PORT}");
my $azure_keys = write_private("$base/azure keys", "account_key=$ENV{OMB_AZURE_KEY}");
{
	local %ENV = (%ENV, OMB_CLOUD_URL => sprintf($azure, 'x'), OMB_CLOUD_CREDENTIALS => $azure_keys);
	command_ok([ "$ENV{OMB_BIN}/cloudsuite", 'create' ], 'a container');
}
my $dir = "$base/google";
mkdir $dir or die $!;
write_private("$dir/accounts", 'GOOGWRITER google-secret write');
system_or_bail('openssl', 'genrsa', '-out', "$dir/private.pem", 2048);
system_or_bail('openssl', 'rsa', '-in', "$dir/private.pem", '-pubout', '-out', "$dir/public.pem");
my $google = IPC::Run::start([ $^X, "$FindBin::RealBin/gcsserver.pl", $dir ], '<', \undef);
END { my $status = $?; $google->kill_kill if $google; $? = $status }
for (1 .. 600) { last if -e "$dir/port"; usleep(50_000); }
my $google_port = slurp_file("$dir/port");
my $gcs = 'gs://test/%s?endpoint=' . double("http://127.0.0.1:$google_port");
my $hmac = write_private("$base/google keys", 'access_key_id=GOOGWRITER', 'secret_access_key=google-secret');
my $account = write_private("$base/account.json", JSON::PP->new->encode({
	type => 'service_account', project_id => 'test', private_key_id => 'key-1', client_email => 'svc@test.example',
	private_key => slurp_file("$dir/private.pem"), token_uri => "http://127.0.0.1:$google_port/token" }));
my @stores = (
	[ 'S3', "s3://clock/%s?endpoint=http%%3A%%2F%%2F127.0.0.1%%3A$ENV{OMB_S3_PORT}&style=path", $s3_keys ],
	[ 'Azure', $azure, $azure_keys ],
	[ 'Google', $gcs, $hmac ],
	[ 'Google, token', $gcs, $account ]);

# ---- the program ----

# Processes that begin with a wrong clock keep it; it is set for all of them.
my $file = "$base/clock";
append_to_file($file, pack 'q', 0);
my %wrong = (LD_PRELOAD => "$ENV{OMB_BIN}/clockshim.so", OMB_CLOCK_FILE => $file);
sub set_clock
{
	my ($seconds) = @_;
	# in place, all at once: it is mapped
	open my $f, '+<', $file or die "$file: $!";
	syswrite $f, pack('q', $seconds) or die $!;
	close $f;
	local %ENV = (%ENV, %wrong);
	chomp(my $now = `date +%s`);
	return cmp_ok(abs($now - time - $seconds), '<', 600, "the clock is $seconds s off");
}

my $repo = new_repository('clock');
my $node = new_node('main', $repo, conf => "autovacuum = off\nomsupply_backup.jobs = 1\n");
$node->safe_psql('postgres', q{CREATE TABLE t AS SELECT n, md5(n::text) AS a FROM generate_series(1, 2000) n});
$node->safe_psql('postgres', q{SELECT backup_now('first')});
$node->safe_psql('postgres', q{INSERT INTO t VALUES (-1, 'first')});
wait_archived($node);
my $wanted = fingerprint($node);
my $point = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
$node->safe_psql('postgres', q{INSERT INTO t VALUES (-2, 'behind the point')});
wait_archived($node);
my $list = program_ok([ 'list', '--json' ], 'the repository is listed', $repo);

for my $store (@stores)
{
	my ($name, $form, $credentials) = @$store;
	for my $seconds (3600, -3600)
	{
		set_clock($seconds);
		my $what = "$name, a clock off by $seconds s";
		my $url = sprintf $form, ($name =~ s/\W+/-/gr) . $seconds;
		my %there = (dir => $url, key => $repo->{key});
		local %ENV = (%ENV, OMSUPPLY_BACKUP_CREDENTIALS => $credentials, %wrong);
		my $probed = decode_json(program_ok([ 'mirror', '--probe', '--to', $url, '--json' ], "$what: each operation is allowed"));
		my ($row) = grep { $_->{operation} eq 'clock' } @$probed;
		my $other = $seconds > 0 ? 'behind' : 'ahead of';
		like("$row->{result} $row->{found}", qr/^warning the clock of the server is 3[56]\d\d seconds \Q$other\E/, "$what: it is told");
		my $mirrored = decode_json(program_ok([ 'mirror', '--to', $url, '--json' ], "$what: mirror", $repo));
		is($mirrored->{objects_missing}, 0, "$what: nothing is missing");
		program_ok([ 'mirror', '--to', $url, '--check', '--sample', 100 ], "$what: the copy is as it should be", $repo);
		is(program_ok([ 'list', '--json' ], "$what: list", \%there), $list, "$what: what is listed is what the repository has");
		program_ok(['verify'], "$what: verify", \%there);
	}
	# written with the one, read with the other
	my $url = sprintf $form, ($name =~ s/\W+/-/gr) . 3600;
	local %ENV = (%ENV, OMSUPPLY_BACKUP_CREDENTIALS => $credentials, %wrong);
	my $restored = restored_node('restored_' . ($name =~ s/\W+/_/gr), { dir => $url, key => $repo->{key} }, '--target-time', $point,
		'--target-action', 'promote');
	start_restored($restored);
	is(fingerprint($restored), $wanted, "$name: restored to an instant by a machine whose clock is behind, and recovered there");
	$restored->stop;
}

# ---- a server whose clock jumps ----

set_clock(0);
$node->stop;
{
	local %ENV = (%ENV, %wrong);
	$node->start;
}

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub wait_until
{
	my ($query, $name) = @_;
	my $done = $node->poll_query_until('postgres', $query);
	ok($done, $name) or diag(sql('SELECT * FROM backup_target_status'));
	return $done;
}

# The clock jumps, for all processes of the server.
sub jump
{
	my ($seconds) = @_;
	set_clock($seconds);
	return cmp_ok(abs(sql('SELECT extract(epoch FROM clock_timestamp())') - time - $seconds), '<', 600, 'and that of the server');
}

# Nothing waits, and the last segment is at each target.
sub wait_complete
{
	my ($name) = @_;
	wait_archived($node);
	return wait_until(q{SELECT bool_and(state = 'ok' AND objects_waiting = 0 AND data_at_risk = '0') FROM backup_target_status}, $name);
}
my %target = (cloud => [ @{ $stores[0] }[ 1, 2 ] ], google => [ @{ $stores[2] }[ 1, 2 ] ]);
for my $name (sort keys %target)
{
	$target{$name}[0] = sprintf $target{$name}[0], 'server';
	sql("INSERT INTO backup_target (name, url, credentials) VALUES ('$name', '$target{$name}[0]', '$target{$name}[1]')");
	sql("INSERT INTO backup_retention (store, keep_last, minimum) VALUES ('$name', 3, 1)");
}
wait_complete('the targets are filled');
my @labels = ('first');
my %marks;
for my $seconds (3600, -3600, 0, -3600, 3600)
{
	my $label = 'number ' . @labels;
	jump($seconds);
	wait_complete('the targets go on');
	sql(qq{INSERT INTO t VALUES (100 + @{[ scalar @labels ]}, '$label')});
	ok(sql("SELECT backup_now('$label')"), 'a backup');
	push @labels, $label;
	wait_complete('it is at the targets');
}
is(sql(q{SELECT count(*) FROM backup_target_status WHERE last_error IS NOT NULL}), 0, 'nothing failed at a target')
  or diag(sql('SELECT name, last_error FROM backup_target_status'));

# The newest are kept, whatever the clock said when they were made.
my $log = -s $node->logfile;
sql('SELECT count(*) FROM backup_expire()');
$node->wait_for_log(qr/removal of old backups from target "$_" completed: 3 backups removed, 3 kept/, $log) for sort keys %target;
sql(qq{INSERT INTO t VALUES (200, 'last')});
wait_complete('what was removed is not missing');
$wanted = fingerprint($node);

# A window is one of this machine's clock.
sql(q{UPDATE backup_target SET "window" = to_char(now() - interval '90 minutes', 'HH24:MI') || '-' || to_char(now() - interval '30 minutes', 'HH24:MI') || ' stop'});
wait_complete('outside of a window that stops all');
jump(0);
sql(q{INSERT INTO t VALUES (201, 'in the window')});
wait_archived($node);
wait_until(q{SELECT bool_and(objects_waiting > 0) FROM backup_target_status}, 'inside of it all waits');
$wanted = fingerprint($node);
jump(3600);
wait_complete('and goes on when the clock has left it');
is(sql('SELECT failed_count FROM pg_stat_archiver'), 0, 'archiving never failed');
$node->stop;

for my $name (sort keys %target)
{
	local %ENV = (%ENV, OMSUPPLY_BACKUP_CREDENTIALS => $target{$name}[1]);
	my %there = (dir => $target{$name}[0], key => $repo->{key});
	my $listed = program_ok(['list'], "$name: list", \%there);
	like($listed, qr/number 3.*number 4.*number 5/s, "$name: the newest three are kept, in the order in which they were made");
	unlike($listed, qr/first|number [12]/, "$name: the others are not");
	program_ok(['verify'], "$name: the copy verifies", \%there);
	my $restored = restored_node("restored_$name", \%there);
	start_restored($restored);
	is(fingerprint($restored), $wanted, "$name: everything is as it was");
	$restored->stop;
}
done_testing();
