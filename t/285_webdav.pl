# A store on a real WebDAV server (Apache): what every store promises, who is
# let in, a network that fails; and a machine that is lost and comes back from
# the server and the recovery code alone.
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
my $control = "$ENV{OMB_BIN}/webdavserver.sh";
my $base = PostgreSQL::Test::Utils::tempdir('webdav');
my $server = "$base/server";
my $password = 'secret word';
$ENV{OMB_DAV_PORT} = PostgreSQL::Test::Cluster::get_free_port();
$ENV{OMB_DAV_TLS_PORT} = PostgreSQL::Test::Cluster::get_free_port();

my $n = 0;
sub write_file
{
	my ($path, $content) = @_;
	unlink $path;
	append_to_file($path, $content);
	chmod 0600, $path or die "$path: $!";
	return $path;
}
sub credentials { return (credentials => write_file("$base/credentials" . $n++, $_[0])) }

command_ok([ $control, 'init', $server ], 'configuration of a server');
command_ok([ $control, 'start', $server ], 'a WebDAV server');
END { system $control, 'stop', $server if $server; }
my $keys = write_file("$base/credentials", "user=dav\npassword=$password\n");
my $data = "$server/data/basic";

sub url
{
	my (%o) = @_;
	return $o{url} if $o{url};
	return 'webdav://127.0.0.1:' . ($o{port} // $ENV{OMB_DAV_PORT}) . ($o{path} // '/basic') . ($o{more} // '');
}

# Run the suite; returns exit status and what it says.
sub dav
{
	my ($other, @args) = @_;
	my $out = '';
	local %ENV = (%ENV, OMB_CLOUD_URL => url(%$other), OMB_CLOUD_CREDENTIALS => $other->{credentials} // $keys,
		OMB_CLOUD_TRIES => 4, OMB_CLOUD_STALL => $other->{stall} // 20);
	my $h = IPC::Run::start([ $suite, @args ], '<', \undef, '>&', \$out, IPC::Run::timeout(180));
	IPC::Run::finish($h);
	return ($? & 127 ? 'signal ' . ($? & 127) : $? >> 8, $out);
}

sub dav_ok
{
	my ($other, $args, $name) = @_;
	my ($status, $out) = dav($other, @$args);
	is($status, 0, $name) or diag($out);
	return $out;
}

sub dav_fails
{
	my ($other, $args, $pattern, $name) = @_;
	my ($status, $out) = dav($other, @$args);
	is($status, 1, "$name: it fails");
	like($out, $pattern, "$name: it says why");
	unlike($out, qr/\Q$password\E/, "$name: it shows no secret");
	return $out;
}

# ---- the contract ----

# Apache looks whether a name is taken, and then renames (store/webdav/webdav.h).
$ENV{OMB_S3_CREATES} = 'looks';
my $out = dav_ok({}, ['suite'], 'the contract of stores');
unlike($out, qr/^not ok/m, 'nothing of it fails') or diag($out);
like($out, qr/^1\.\.\d{2,}$/m, 'all of it was run');
my $odd = "a name with space+%'\"&<>/x";
dav_ok({}, [ 'put', $odd, 10 ], 'a name that has to be encoded');
like(dav_ok({}, ['list'], 'list'), qr{^\Q$odd\E 10$}m, 'it is listed as it is');
dav_ok({}, [ 'get', $odd, 10 ], 'and read');
ok(-f "$data/$odd", 'an object is a file on the server');
dav_ok({}, [ 'remove', $odd ], 'remove');
append_to_file("$data/tmp/old", 'left');
like(dav_ok({}, [ 'sweep', 3600 ], 'sweep'), qr/^swept 0$/m, 'what is written to is not swept');
like(dav_ok({}, [ 'sweep', 0 ], 'sweep'), qr/^swept 1$/m, 'what was left is');

# ---- who is let in, and to whom the password goes ----

my %digest = (path => '/digest');
dav_ok(\%digest, [ $_, 'd', 3_000_000 ], "login by digest, $_") for qw(put get list remove);
dav_fails({ credentials("user=dav\npassword=wrong\n") }, [ $_, 'x', 1 ], qr/server answered 401\nhint: Check user and password/, "a wrong password, $_")
  for qw(put get list);
dav_fails({ %digest, credentials("user=dav\npassword=wrong\n") }, ['list'], qr/server answered 401/, 'a wrong password, digest');
dav_fails({ credentials => "$base/none" }, ['list'], qr/could not read credentials file/, 'no file');
my %tls = (url => "webdavs://localhost:$ENV{OMB_DAV_TLS_PORT}/basic?ca-file=$server/ca.pem");
dav_ok(\%tls, [ $_, 't', 3_000_000 ], "TLS, $_") for qw(put get list remove);
dav_fails({ url => "webdavs://localhost:$ENV{OMB_DAV_TLS_PORT}/basic" }, ['list'], qr/could not verify the certificate/, 'an authority that is not known');
dav_fails({ url => "webdavs://127.0.0.1:$ENV{OMB_DAV_TLS_PORT}/basic?ca-file=$server/ca.pem" }, ['list'], qr/could not verify the certificate/, 'another name');
dav_fails({ url => 'webdav://nowhere.invalid/x' }, ['list'], qr/^refused: .*\nhint: Use webdavs:/, 'a password for all to read');
dav_fails({ url => 'webdav://nowhere.invalid/x?allow-plain=yes' }, ['list'], qr/could not find the address/, 'unless it is wanted');
dav_fails({ path => '/basic/none' }, [ $_, 'x', 1 ], qr/there is no folder .*\nhint: Create it on the server/, "no folder, $_") for qw(put get list remove);
dav_ok({}, [ 'put', 'p', 10 ], 'an object');
chmod 0500, $data, "$data/tmp";
dav_fails({}, [ 'put', 'x', 1 ], qr/^failed: .*server answered (403|500)/, 'a folder that may not be written to');
chmod 0700, $data, "$data/tmp";
if ($ENV{OMB_SMALL_FS})
{
	rmtree($ENV{OMB_SMALL_FS}, { keep_root => 1 });
	mkdir "$ENV{OMB_SMALL_FS}/store" or die $!;
	symlink "$ENV{OMB_SMALL_FS}/store", "$data/small";
	dav_fails({ path => '/basic/small' }, [ 'put', 'big', 40_000_000 ], qr/^(no_space|failed): .*server answered 5/, 'a full disk at the server');
	dav_ok({ path => '/basic/small' }, [ 'put', 'small', 1_000_000 ], 'less has room');
	unlink "$data/small";
	rmtree("$ENV{OMB_SMALL_FS}/store");
}

# ---- the network ----

my ($rules, $log) = ("$base/rules", "$base/log");
write_file($_, '') for $rules, $log;
my $proxy = IPC::Run::start([ $^X, "$FindBin::RealBin/faultproxy.pl", "$base/port", $ENV{OMB_DAV_PORT}, $rules, $log ], '<', \undef, '>', '/dev/null');
for (1 .. 600) { last if -e "$base/port"; usleep(50_000); }
my %proxy = (port => slurp_file("$base/port"));

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
my $size = 5_000_000;
set_rules();
dav_ok(\%proxy, [ 'put', 'whole', $size ], 'an object through the proxy');
dav_ok(\%proxy, [ 'put', 'new/folder/x', 10 ], 'an object in new folders');
is(scalar(() = slurp_file($log) =~ /^MOVE/mg), 3, 'costs no more than one failure');
for my $case (
	[ 'status=503:Busy times=2', 'put' ],
	[ 'status=500:Error times=2', 'put' ],
	[ 'reset-up=1000000 times=2 method=PUT', 'put' ],
	[ 'lost-reply times=1 method=PUT', 'put' ],
	[ 'lost-reply times=1 method=MOVE', 'put' ],
	[ 'lost-reply times=2 method=PROPFIND', 'put' ],
	[ 'hang=4 times=1 method=PUT', 'put' ],
	[ 'garbage times=1', 'put' ],
	[ 'reset-down=1000000 times=2 method=GET', 'whole' ],
	[ 'truncate=1000000 times=2 method=GET', 'get' ],
	[ 'truncate=100 times=2 method=PROPFIND', 'list' ],
	[ 'lost-reply times=1 method=DELETE', 'remove' ])
{
	my ($rule, $action) = @$case;
	my $name = $action =~ /put|remove/ ? 'new' . ++$n : 'whole';
	dav_ok({}, [ 'put', $name, $size ], 'an object to be removed') if $action eq 'remove';
	set_rules($rule);
	dav_ok({ %proxy, stall => 2 }, [ $action, $name, $size ], "$action, $rule");
	my ($word) = $rule =~ /^(\S+)/;
	like(slurp_file($log), qr/ \Q$word\E$/m, 'that did happen');
	dav_ok({}, [ 'get', $name, $size ], 'it is whole') if $action eq 'put';
	dav_fails({}, [ 'get', $name, $size ], qr/^not_found/, 'it is gone') if $action eq 'remove';
}
for my $case (
	[ 'status=503:Busy', 'put', qr/server answered 503.*\ndetail: Gave up after 4 attempts/ ],
	[ 'status=507:Full', 'put', qr/^no_space/ ],
	[ 'status=404:None', 'get', qr/^failed: there is no folder/ ],
	[ 'status=200:OK method=PROPFIND', 'list', qr/server answered 200/ ],
	[ 'wrong-range method=GET', 'get', qr/other bytes than asked for/ ])
{
	my ($rule, $action, $pattern) = @$case;
	set_rules($rule);
	dav_fails({ %proxy, stall => 2 }, [ $action, 'whole', $size ], $pattern, "$action, $rule always");
	cmp_ok(scalar(split /\n/, slurp_file($log)), '<', 20, 'it does not spin');
}

# The server is started anew while it is written to.
set_rules();
{
	my $said = '';
	local %ENV = (%ENV, OMB_CLOUD_URL => url(), OMB_CLOUD_CREDENTIALS => $keys);
	my $h = IPC::Run::start([ $suite, 'put', 'restarted', 100_000_000 ], '<', \undef, '>&', \$said, IPC::Run::timeout(120));
	for (1 .. 3000) { last if grep { -s $_ } glob "$data/tmp/* $data/tmp/.dav*"; usleep(2_000); }
	command_ok([ $control, 'start', $server ], 'a restart of the server');
	IPC::Run::finish($h);
	like($said, qr/^ok/, 'writing goes on') or diag($said);
	is(-s "$data/restarted", 100_000_000, 'the object has its size');
}
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
	my ($s, $o, $e) = program($repo, 'mirror', '--to', $to, '--credentials-to', $keys, '--json', @options);
	return ($s, $o eq '' ? undef : decode_json($o), $e);
}
set_rules('reset-up=1000 times=2 method=PUT', 'lost-reply times=2 method=MOVE', 'status=503:Busy times=2');
my ($s, $result, $e) = mirror(url(%proxy));
is($s, 0, 'it is mirrored over a network that fails') or diag($e);
is($result->{backups_copied}, 1, 'the backup is there');
$node->safe_psql('postgres', q{INSERT INTO t VALUES (-1, 'last')});
wait_archived($node);
($s, $result, $e) = mirror(url());
is($s, 0, 'mirrored again') or diag($e);
is($result->{objects_missing}, 0, 'nothing is missing');
($s, $result, $e) = mirror(url(), '--check', '--sample', 100);
is($s, 0, 'the copy is as it should be') or diag($e);
program_ok([ 'prune', '--repository', url(more => '?sole-user=yes'), '--credentials', $keys ], 'prune by a sole user', $repo);

my $wanted = fingerprint($node);
$node->stop('immediate');
rmtree($node->data_dir);
rmtree($repo->{dir});
unlink $repo->{key};
my $new_key = "$base/new key";
program_ok([ 'key', '--repository', url(), '--credentials', $keys, '--recovery-code-file', "$base/code", $new_key ], 'a new key file');
my $restored = restored_node('restored', { dir => url(), key => $new_key }, '--credentials', $keys);
start_restored($restored);
is(fingerprint($restored), $wanted, 'everything is as it was');
prove_sound($restored, 'restored');
$proxy->kill_kill;

done_testing();
