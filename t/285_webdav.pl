# A store on a real WebDAV server (Apache): what every store promises, who is
# let in, a network that fails; and a machine that is lost and comes back from
# the server and the recovery code alone.
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
my $control = "$ENV{OMB_BIN}/webdavserver.sh";
my $base = PostgreSQL::Test::Utils::tempdir('webdav');
my $server = "$base/server";
my $password = 'secret word';
@Cloud::secrets = ($password);
$ENV{OMB_DAV_PORT} = PostgreSQL::Test::Cluster::get_free_port();
$ENV{OMB_DAV_TLS_PORT} = PostgreSQL::Test::Cluster::get_free_port();

my $n = 0;
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

sub with
{
	my ($other) = @_;
	return { OMB_CLOUD_URL => url(%$other), OMB_CLOUD_CREDENTIALS => $other->{credentials} // $keys,
		OMB_CLOUD_TRIES => 4, OMB_CLOUD_STALL => $other->{stall} // 20 };
}
sub dav_ok { my ($other, @case) = @_; return suite_ok(with($other), @case) }
sub dav_fails { my ($other, @case) = @_; return suite_fails(with($other), @case) }

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

my %proxy = (port => start_proxy($base, $ENV{OMB_DAV_PORT}));
my $size = 5_000_000;
with_rules();
dav_ok(\%proxy, [ 'put', 'whole', $size ], 'an object through the proxy');
dav_ok(\%proxy, [ 'put', 'new/folder/x', 10 ], 'an object in new folders');
is(scalar(() = requests() =~ /^MOVE/mg), 3, 'costs no more than one failure');
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
	with_rules($rule);
	dav_ok({ %proxy, stall => 2 }, [ $action, $name, $size ], "$action, $rule");
	my ($word) = $rule =~ /^(\S+)/;
	like(requests(), qr/ \Q$word\E$/m, 'that did happen');
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
	with_rules($rule);
	dav_fails({ %proxy, stall => 2 }, [ $action, 'whole', $size ], $pattern, "$action, $rule always");
	cmp_ok(scalar(split /\n/, requests()), '<', 20, 'it does not spin');
}

# The server is started anew while it is written to.
with_rules();
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

my ($node, $repo, $code) = new_machine($base);
with_rules('reset-up=1000 times=2 method=PUT', 'lost-reply times=2 method=MOVE', 'status=503:Busy times=2');
my $result = mirror_to('it is mirrored over a network that fails', $repo, url(%proxy), $keys);
is($result->{backups_copied}, 1, 'the backup is there');
$node->safe_psql('postgres', q{SELECT backup_now('second')});
$node->safe_psql('postgres', q{INSERT INTO t VALUES (-1, 'last')});
wait_archived($node);
$result = mirror_to('mirrored again', $repo, url(), $keys);
is($result->{objects_missing}, 0, 'nothing is missing');
mirror_to('the copy is as it should be', $repo, url(), $keys, '--check', '--sample', 100);
program_ok([ 'prune', '--repository', url(more => '?sole-user=yes'), '--credentials', $keys ], 'prune by a sole user', $repo);
my $wanted = lose_machine($node, $repo);
machine_comes_back($wanted, $code, url(), $keys);

done_testing();
