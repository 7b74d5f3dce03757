# A store on a real SFTP server: what every store promises, who is let in and
# who is believed to be the server, and a network and a server that fail. At the
# end the machine is lost, and comes back from the server and the recovery
# code alone.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use File::Path qw(rmtree);
use IPC::Run;
use JSON::PP;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $suite = "$ENV{OMB_BIN}/cloudsuite";
my $control = "$ENV{OMB_BIN}/sftpserver.sh";
my $base = PostgreSQL::Test::Utils::tempdir('sftp');
my $server = "$base/server";
my $password = 'secret word';
$ENV{OMB_SFTP_PORT} = PostgreSQL::Test::Cluster::get_free_port();
chomp($ENV{OMB_SFTP_PASSWORD_HASH} = `openssl passwd -6 '$password'`);

sub write_file
{
	my ($path, $content) = @_;
	unlink $path;
	append_to_file($path, $content);
	chmod 0600, $path or die "$path: $!";
	return $path;
}

command_ok([ $control, 'init', $server ], 'keys of a server');
command_ok([ $control, 'start', $server ], 'an SFTP server');
END { system $control, 'stop', $server if $server; }

my $key = write_file("$base/credentials", "key_file=$server/id\n");
my $data = "$server/data";

sub url
{
	my (%o) = @_;
	my $where = ($o{user} ? "$o{user}\@" : '') . '127.0.0.1:' . ($o{port} // $ENV{OMB_SFTP_PORT}) . ($o{path} // $data);
	my $hosts = $o{hosts} // "known-hosts=$server/known_hosts";
	return "sftp://$where?$hosts" . ($o{more} // '');
}

# Run the suite; returns exit status and what it says.
sub sftp
{
	my ($other, @args) = @_;
	my $out = '';
	local %ENV = (%ENV, OMB_CLOUD_URL => url(%$other), OMB_CLOUD_CREDENTIALS => $other->{credentials} // $key,
		OMB_CLOUD_TRIES => $other->{tries} // 5, OMB_CLOUD_STALL => $other->{stall} // 20);
	my $h = IPC::Run::start([ $suite, @args ], '<', \undef, '>&', \$out, IPC::Run::timeout(180));
	IPC::Run::finish($h);
	return ($? & 127 ? 'signal ' . ($? & 127) : $? >> 8, $out);
}

sub sftp_ok
{
	my ($other, $args, $name) = @_;
	my ($status, $out) = sftp($other, @$args);
	is($status, 0, $name) or diag($out);
	return $out;
}

sub sftp_fails
{
	my ($other, $args, $pattern, $name) = @_;
	my ($status, $out) = sftp($other, @$args);
	is($status, 1, "$name: it fails");
	like($out, $pattern, "$name: it says why");
	unlike($out, qr/\Q$password\E|pass phrase/, "$name: it shows no secret");
	return $out;
}

# ---- the contract ----

my $out = sftp_ok({}, ['suite'], 'the contract of stores');
unlike($out, qr/^not ok/m, 'nothing of it fails') or diag($out);
like($out, qr/^1\.\.\d{2,}$/m, 'all of it was run');
sftp_ok({}, [ 'put', "a name with space+%'\"/x", 10 ], 'a name that has to be quoted elsewhere');
like(sftp_ok({}, ['list'], 'list'), qr{^a name with space\+%'"/x 10$}m, 'it is listed as it is');
is(slurp_file("$data/a name with space+%'\"/x"), pack('C*', map { ($_ * 2654435761 % 2**32 >> 13 ^ $_ >> 16) & 255 } 0 .. 9),
	'an object is a file on the server');
sftp_ok({}, [ 'remove', "a name with space+%'\"/x" ], 'remove');
is_deeply([ glob "$data/tmp/*" ], [], 'no temporary file is left');
append_to_file("$data/tmp/old", 'left');
like(sftp_ok({}, [ 'sweep', 3600 ], 'sweep'), qr/^swept 0$/m, 'what is written to is not swept');
like(sftp_ok({}, [ 'sweep', 0 ], 'sweep'), qr/^swept 1$/m, 'what was left is');
# Whose clock is whose: this machine's is an hour ahead, or behind.
for my $seconds (3600, -3600)
{
	unlink "$base/clock";
	append_to_file("$base/clock", pack 'q', $seconds);
	local %ENV = (%ENV, LD_PRELOAD => "$ENV{OMB_BIN}/clockshim.so", OMB_CLOCK_FILE => "$base/clock", ASAN_OPTIONS => 'verify_asan_link_order=0');
	my $rows = decode_json(program_ok([ 'mirror', '--probe', '--to', url(), '--credentials-to', $key, '--json' ], "a clock off by $seconds s"));
	my ($row) = grep { $_->{operation} eq 'clock' } @$rows;
	my $other = $seconds > 0 ? 'behind' : 'ahead of';
	like("$row->{result} $row->{found}", qr/^warning the clock of the server is 3[56]\d\d seconds \Q$other\E/, 'is told');
	append_to_file("$data/tmp/new", 'new');
	append_to_file("$data/tmp/old", 'old');
	utime time - 1800, time - 1800, "$data/tmp/old";
	like(sftp_ok({}, [ 'sweep', 900 ], 'sweep'), qr/^swept 1$/m, 'files are as old as the server says');
	ok(-e "$data/tmp/new", 'what is new stays');
	utime time - 1800, time - 1800, "$data/tmp/new";
	# where no file can be made the newest one tells
	chmod 0500, "$data/tmp";
	like(sftp_ok({}, [ 'sweep', 900 ], 'sweep'), qr/^swept 0$/m, 'without leave to write nothing is thought to be old');
	chmod 0700, "$data/tmp";
	like(sftp_ok({}, [ 'sweep', 900 ], 'sweep'), qr/^swept 1$/m, 'with it again it is');
}
symlink '/etc/passwd', "$data/link";
unlike(sftp_ok({}, ['list'], 'list'), qr/link/, 'a link is no object');
unlink "$data/link";

# ---- who is the server ----

sub fingerprint_of { my ($f) = split ' ', (split / /, `ssh-keygen -lf '$server/host_$_[0].pub'`)[1]; return $f }
my %print = map { $_ => fingerprint_of($_) } qw(ed25519 ecdsa rsa);
sftp_ok({ hosts => "host-key=$print{$_}" }, ['list'], "a fingerprint, $_") for qw(ed25519 ecdsa);
sftp_ok({ hosts => 'host-key=' . $print{ed25519} . '%3D' }, ['list'], 'a fingerprint with its padding');
sftp_fails({ hosts => "host-key=$print{rsa}" }, ['list'],
	qr/^refused: .*the key of server "127.0.0.1:\d+" is not the one that is known\ndetail: .*\Q$print{ed25519}\E.*\Q$print{ecdsa}\E.*\nhint: /,
	'a wrong fingerprint');
my ($type, $body) = split ' ', slurp_file("$server/host_ecdsa.pub");
my $port = $ENV{OMB_SFTP_PORT};
write_file("$base/hosts", "# a comment\n\@cert-authority * ssh-rsa AAAA\nother ssh-rsa AAAA\nnonsense\n[127.0.0.1]:$port $type $body a comment");
sftp_ok({ hosts => "known-hosts=$base/hosts" }, ['list'], 'a known host, not by its first key, no newline at the end');
write_file("$base/hosts", "[127.0.0.1]:$port $type $body\n");
system "ssh-keygen -q -H -f '$base/hosts' >/dev/null 2>&1";
unlike(slurp_file("$base/hosts"), qr/127\.0\.0\.1/, 'names that are hashed');
sftp_ok({ hosts => "known-hosts=$base/hosts" }, ['list'], 'are understood');
write_file("$base/hosts", '');
sftp_fails({ hosts => "known-hosts=$base/hosts" }, ['list'],
	qr/^refused: .*the key of server .* is not known\ndetail: .*ED25519 \Q$print{ed25519}\E.*\nhint: .*"host-key=\Q$print{ed25519}\E"/,
	'a host that is not known');
write_file("$base/hosts", "[127.0.0.1]:$port " . (join ' ', (split ' ', slurp_file("$server/id.pub"))[ 0, 1 ]) . "\n");
sftp_fails({ hosts => "known-hosts=$base/hosts" }, ['list'], qr/^refused: .*is not the one that is known\n.*\nhint: Either the server/,
	'a host whose key has changed');
write_file("$base/hosts", slurp_file("$server/known_hosts") . '@revoked ' . slurp_file("$server/known_hosts"));
sftp_fails({ hosts => "known-hosts=$base/hosts" }, ['list'], qr/^refused: .*was revoked/, 'a key that was revoked');
sftp_fails({ hosts => "known-hosts=$base/none" }, ['list'], qr/known_hosts|none/, 'no such file of known hosts');
sftp_fails({ hosts => 'host-key=MD5:00' }, ['list'], qr/^usage: .*no fingerprint/, 'another kind of fingerprint');

# ---- who is let in ----

my $n = 0;
sub credentials { my ($text) = @_; return (credentials => write_file("$base/credentials" . $n++, $text)) }
sftp_ok({ credentials("password=$password\n") }, [ 'put', 'p', 10 ], 'a password');
sftp_fails({ credentials("password=wrong word\n") }, ['list'], qr/did not let in user .*\ndetail: .*password.*\nhint: /, 'a wrong password');
sftp_ok({ credentials("key_file=$server/id_locked\npassphrase=pass phrase\n") }, ['list'], 'a key with a passphrase');
sftp_fails({ credentials("key_file=$server/id_locked\npassphrase=wrong\n") }, ['list'],
	qr/could not use private key file .*\nhint: .*passphrase/, 'a wrong passphrase');
sftp_fails({ credentials("key_file=$server/id_locked\n") }, ['list'], qr/could not use private key file/, 'no passphrase');
sftp_fails({ credentials("key_file=$server/id_stranger\n") }, ['list'], qr/did not let in user .*\n.*\nhint: .*authorized/, 'a key of a stranger');
sftp_ok({ credentials("key_file=$server/id_stranger\npassword=$password\n") }, ['list'], 'then the password is tried');
sftp_fails({ user => 'nobody' }, ['list'], qr/user "nobody"/, 'another user');
sftp_fails({ credentials("user=nobody\nkey_file=$server/id\n") }, ['list'], qr/user "nobody"/, 'the same, of the credentials');
sftp_fails({ credentials("key_file=$base/none\n") }, ['list'], qr/could not read private key file/, 'no such key file');
sftp_fails({ credentials("user=me\n") }, ['list'], qr/has no key_file and no password/, 'nothing to log in with');
sftp_fails({ credentials("pin=1234\n") }, ['list'], qr/cannot read line 1 of credentials file.*\nhint: .*key_file/, 'a line that makes no sense');
sftp_fails({ credentials => "$base/none" }, ['list'], qr/could not read credentials file/, 'no file');
chmod 0644, "$server/id_locked";
sftp_fails({ credentials("key_file=$server/id_locked\n") }, ['list'], qr/^refused: .*private key file .*can be read by others/, 'an open key file');

# ---- the directory ----

sftp_fails({ path => "$data/none" }, [ $_, 'x', 1 ], qr/there is no directory .*\nhint: Create it on the server/, "no directory, $_")
  for qw(put get list remove);
chmod 0500, $data;
chmod 0500, "$data/tmp";
sftp_fails({}, [ 'put', 'x', 1 ], qr/permission denied\nhint: Check the owner/, 'a directory that may not be written to');
sftp_ok({}, [ 'get', 'p', 10 ], 'can be read');
chmod 0000, "$data/p";
sftp_fails({}, [ 'get', 'p', 10 ], qr/^failed: .*permission denied/, 'what may not be read is not absent');
chmod 0600, "$data/p";
chmod 0700, $data;
chmod 0700, "$data/tmp";
if ($ENV{OMB_SMALL_FS})
{
	rmtree($ENV{OMB_SMALL_FS}, { keep_root => 1 });
	my $small = "$ENV{OMB_SMALL_FS}/store";
	mkdir $small or die $!;
	sftp_fails({ path => $small }, [ 'put', 'big', 40_000_000 ], qr/^no_space: /, 'a full disk at the server');
	is_deeply([ glob "$small/*/*" ], [], 'leaves nothing');
	sftp_ok({ path => $small }, [ 'put', 'small', 1_000_000 ], 'less has room');
	rmtree($small);
}

# ---- the network ----

my ($rules, $log) = ("$base/rules", "$base/log");
write_file($_, '') for $rules, $log;
my $proxy = IPC::Run::start([ $^X, "$FindBin::RealBin/cutproxy.pl", "$base/port", $port, $rules, $log ], '<', \undef, '>', '/dev/null');
for (1 .. 600) { last if -e "$base/port"; usleep(50_000); }
my %proxy = (port => slurp_file("$base/port"), hosts => "host-key=$print{ed25519}");

# Rules are changed in place: the proxy may hold the file.
sub set_rules
{
	for my $content ([ $rules, join '', map { "$_\n" } @_ ], [ $log, '' ])
	{
		open my $f, '>', $content->[0] or die $!;
		print $f $content->[1];
		close $f;
	}
	return;
}
my $size = 8_000_000;
set_rules();
sftp_ok(\%proxy, [ 'put', 'whole', $size ], 'an object through the proxy');
for my $case (
	[ 'up=0 times=2', 'put' ],
	[ 'down=100 times=2', 'put' ],
	[ 'up=3000 times=2', 'put' ],
	[ 'up=4000000 times=1', 'put' ],
	[ 'up=1000000 times=30', 'put' ],
	[ 'hang=10000 times=1', 'put' ],
	[ 'lost=4000000 times=1', 'put' ],
	[ 'down=4000000 times=1', 'get' ],
	[ 'down=1000000 times=30', 'whole' ],
	[ 'hang=4000000 times=1', 'get' ],
	[ 'down=2500 times=2', 'list' ],
	[ 'up=1500 times=2', 'remove' ])
{
	my ($rule, $action) = @$case;
	my $name = $action =~ /put|remove/ ? 'new' . ++$n : 'whole';
	sftp_ok({}, [ 'put', $name, $size ], 'an object to be removed') if $action eq 'remove';
	set_rules($rule);
	# each connection that breaks while an object is read has brought some of it
	my %limits = (stall => 2, $action eq 'whole' ? (tries => 3) : ());
	sftp_ok({ %proxy, %limits }, [ $action, $name, $size ], "$action, $rule");
	my ($word) = $rule =~ /^(\S+)/;
	like(slurp_file($log), qr/^\Q$word\E$/m, 'that did happen');
	sftp_ok({}, [ 'get', $name, $size ], 'it is whole') if $action eq 'put';
	sftp_fails({}, [ 'get', $name, $size ], qr/^not_found/, 'it is gone') if $action eq 'remove';
	unlink "$data/$name" if $name ne 'whole';
}
for my $case ([ 'up=3000', 'put' ], [ 'down=100', 'list' ], [ 'hang=0', 'list' ])
{
	my ($rule, $action) = @$case;
	set_rules($rule);
	my $start = time;
	sftp_fails({ %proxy, stall => 1 }, [ $action, 'never', 1000 ],
		qr/(lost the connection|could not start SSH|did not answer in time).*\ndetail: Gave up after 5 attempts/, "$action, $rule always");
	cmp_ok(time - $start, '<', 30, 'it does not try for ever');
}
sftp_fails({ port => PostgreSQL::Test::Cluster::get_free_port() }, ['list'], qr/could not connect to server.*\ndetail: Gave up after 5/, 'nobody there');

# Each answer to the last requests of an upload is lost once.
set_rules();
sftp_ok(\%proxy, [ 'put', 'measured', 1000 ], 'how many bytes a small upload takes');
my ($bytes) = slurp_file($log) =~ /^end up=(\d+)/m;
unlink "$data/measured";
my $happened = 0;
for (my $back = 60; $back < 1400; $back += 100)
{
	set_rules('lost=' . ($bytes - $back) . ' times=1');
	sftp_ok(\%proxy, [ 'put', 'once', 1000 ], "no answer to what comes $back bytes before the end");
	sftp_fails({}, [ 'put', 'once', 1001 ], qr/^exists/, 'it is there');
	$happened++ if slurp_file($log) =~ /^lost/m;
	unlink "$data/once";
}
cmp_ok($happened, '>', 8, 'answers were lost');

# The server is started anew while it is written to and read from.
for my $action ('put', 'get')
{
	my $big = 60_000_000;
	my $said = '';
	set_rules();
	local %ENV = (%ENV, OMB_CLOUD_URL => url(%proxy), OMB_CLOUD_CREDENTIALS => $key);
	my $h = IPC::Run::start([ $suite, $action, 'restarted', $big ], '<', \undef, '>&', \$said, IPC::Run::timeout(120));
	if ($action eq 'put')
	{
		for (1 .. 3000) { last if grep { -s $_ > 5_000_000 } glob "$data/tmp/*"; usleep(10_000); }
	}
	command_ok([ $control, 'start', $server ], "a restart of the server during $action");
	IPC::Run::finish($h);
	like($said, qr/^ok/, "$action goes on");
	is(-s "$data/restarted", $big, 'the object has its size');
}
sftp_ok({}, [ 'whole', 'restarted', 60_000_000 ], 'the object is whole');
sftp_ok({}, [ 'sweep', 0 ], 'sweep');
rmtree($data, { keep_root => 1 });

# ---- end to end ----

my $repo = { dir => "$base/repository", key => "$base/key" };
my ($status, $err);
($status, $out, $err) = program(undef, 'init', '--repository', $repo->{dir}, '--key-file', $repo->{key});
my ($code) = $out =~ /^Recovery code:\s+(\S+)$/m;
ok($code, 'a repository') or diag($err);
write_file("$base/code", "$code\n");
my $node = new_node('main', $repo, conf => "autovacuum = off\nomsupply_backup.jobs = 1\n");
$node->safe_psql('postgres', q{CREATE TABLE t AS SELECT n, md5(n::text) AS a FROM generate_series(1, 20000) n});
$node->safe_psql('postgres', q{SELECT backup_now('first')});
sub mirror
{
	my ($to, @options) = @_;
	my ($s, $o, $e) = program($repo, 'mirror', '--to', $to, '--credentials-to', $key, '--json', @options);
	return ($s, $o eq '' ? undef : decode_json($o), $e);
}
set_rules('up=300000 times=3', 'down=20000 times=2');
my ($s, $result, $e) = mirror(url(%proxy));
is($s, 0, 'it is mirrored over a network that fails') or diag($e);
is($result->{backups_copied}, 1, 'the backup is there');
like(slurp_file($log), qr/^up=300000$/m, 'it did fail');
$node->safe_psql('postgres', q{UPDATE t SET a = md5(a) WHERE n < 5000});
$node->safe_psql('postgres', q{SELECT backup_now('second')});
$node->safe_psql('postgres', q{INSERT INTO t VALUES (-1, 'last')});
wait_archived($node);
($s, $result, $e) = mirror(url());
is($s, 0, 'mirrored again') or diag($e);
is($result->{objects_missing}, 0, 'nothing is missing');
($s, $result, $e) = mirror(url(), '--check', '--sample', 100);
is($s, 0, 'the copy is as it should be') or diag($e);
program_fails([ 'prune', '--repository', url(), '--credentials', $key ], 1, qr/lock|use/, 'prune where others may be', $repo);
program_ok([ 'prune', '--repository', url(more => '&sole-user=yes'), '--credentials', $key ], 'prune by a sole user', $repo);

my $wanted = fingerprint($node);
$node->stop('immediate');
rmtree($node->data_dir);
rmtree($repo->{dir});
unlink $repo->{key};
($status, $out, $err) = program(undef, 'list', '--repository', url(), '--credentials', $key, '--recovery-code-file', "$base/code");
is($status, 0, 'the server is listed with the recovery code') or diag($err);
like($out, qr/first.*second/s, 'with both backups');
my $new_key = "$base/new key";
program_ok([ 'key', '--repository', url(), '--credentials', $key, '--recovery-code-file', "$base/code", $new_key ], 'a new key file');
my $restored = restored_node('restored', { dir => url(), key => $new_key }, '--credentials', $key);
start_restored($restored);
is(fingerprint($restored), $wanted, 'everything is as it was');
prove_sound($restored, 'restored');
$proxy->kill_kill;

done_testing();
