# A store on a real SFTP server: what every store promises, who is let in and
# who is believed to be the server, and a network and a server that fail. At the
# end the machine is lost, and comes back from the server and the recovery
# code alone.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Cloud;
use File::Path qw(rmtree);
use IPC::Run;
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
@Cloud::secrets = ($password, 'pass phrase');
$ENV{OMB_SFTP_PORT} = PostgreSQL::Test::Cluster::get_free_port();
chomp($ENV{OMB_SFTP_PASSWORD_HASH} = `openssl passwd -6 '$password'`);

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

sub with
{
	my ($other) = @_;
	return { OMB_CLOUD_URL => url(%$other), OMB_CLOUD_CREDENTIALS => $other->{credentials} // $key,
		OMB_CLOUD_TRIES => $other->{tries} // 5, OMB_CLOUD_STALL => $other->{stall} // 20 };
}
sub sftp_ok { my ($other, @case) = @_; return suite_ok(with($other), @case) }
sub sftp_fails { my ($other, @case) = @_; return suite_fails(with($other), @case) }

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

my %proxy = (port => start_proxy($base, $port, 'cutproxy.pl'), hosts => "host-key=$print{ed25519}");
my $size = 8_000_000;
with_rules();
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
	with_rules($rule);
	# each connection that breaks while an object is read has brought some of it
	my %limits = (stall => 2, $action eq 'whole' ? (tries => 3) : ());
	sftp_ok({ %proxy, %limits }, [ $action, $name, $size ], "$action, $rule");
	my ($word) = $rule =~ /^(\S+)/;
	like(requests(), qr/^\Q$word\E$/m, 'that did happen');
	sftp_ok({}, [ 'get', $name, $size ], 'it is whole') if $action eq 'put';
	sftp_fails({}, [ 'get', $name, $size ], qr/^not_found/, 'it is gone') if $action eq 'remove';
	unlink "$data/$name" if $name ne 'whole';
}
for my $case ([ 'up=3000', 'put' ], [ 'down=100', 'list' ], [ 'hang=0', 'list' ])
{
	my ($rule, $action) = @$case;
	with_rules($rule);
	my $start = time;
	sftp_fails({ %proxy, stall => 1 }, [ $action, 'never', 1000 ],
		qr/(lost the connection|could not start SSH|did not answer in time).*\ndetail: Gave up after 5 attempts/, "$action, $rule always");
	cmp_ok(time - $start, '<', 30, 'it does not try for ever');
}
sftp_fails({ port => PostgreSQL::Test::Cluster::get_free_port() }, ['list'], qr/could not connect to server.*\ndetail: Gave up after 5/, 'nobody there');

# Each answer to the last requests of an upload is lost once.
with_rules();
sftp_ok(\%proxy, [ 'put', 'measured', 1000 ], 'how many bytes a small upload takes');
my ($bytes) = requests() =~ /^end up=(\d+)/m;
unlink "$data/measured";
my $happened = 0;
for (my $back = 60; $back < 1400; $back += 100)
{
	with_rules('lost=' . ($bytes - $back) . ' times=1');
	sftp_ok(\%proxy, [ 'put', 'once', 1000 ], "no answer to what comes $back bytes before the end");
	sftp_fails({}, [ 'put', 'once', 1001 ], qr/^exists/, 'it is there');
	$happened++ if requests() =~ /^lost/m;
	unlink "$data/once";
}
cmp_ok($happened, '>', 8, 'answers were lost');

# The server is started anew while it is written to and read from.
for my $action ('put', 'get')
{
	my $big = 60_000_000;
	my $said = '';
	with_rules();
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

my ($node, $repo, $code) = new_machine($base);
with_rules('up=300000 times=3', 'down=20000 times=2');
my $result = mirror_to('it is mirrored over a network that fails', $repo, url(%proxy), $key);
is($result->{backups_copied}, 1, 'the backup is there');
like(requests(), qr/^up=300000$/m, 'it did fail');
$node->safe_psql('postgres', q{UPDATE t SET a = md5(a) WHERE n < 5000});
$node->safe_psql('postgres', q{SELECT backup_now('second')});
$node->safe_psql('postgres', q{INSERT INTO t VALUES (-1, 'last')});
wait_archived($node);
$result = mirror_to('mirrored again', $repo, url(), $key);
is($result->{objects_missing}, 0, 'nothing is missing');
mirror_to('the copy is as it should be', $repo, url(), $key, '--check', '--sample', 100);
program_fails([ 'prune', '--repository', url(), '--credentials', $key ], 1, qr/lock|use/, 'prune where others may be', $repo);
program_ok([ 'prune', '--repository', url(more => '&sole-user=yes'), '--credentials', $key ], 'prune by a sole user', $repo);
my $wanted = lose_machine($node, $repo);
machine_comes_back($wanted, $code, url(), $key);

done_testing();
