# Repositories in Google Cloud Storage, over a server of our own that is as
# strict as Google's description (t/gcsserver.pl): what every store promises, keys
# and tokens, what happens when network or server fail, and the way back when the
# machine is lost.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Cloud;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $base = PostgreSQL::Test::Utils::tempdir('gcs');
my $dir = "$base/server";
mkdir $dir or die $!;
my ($secret, $other) = map { join '', map { ('a' .. 'z', 0 .. 9)[ int rand 36 ] } 1 .. 40 } 1 .. 2;
write_private("$dir/accounts", "GOOGWRITER $secret write", "GOOGREADER $other read");
system_or_bail('openssl', 'genrsa', '-out', "$dir/$_", 2048) for qw(private.pem wrong.pem);
system_or_bail('openssl', 'rsa', '-in', "$dir/private.pem", '-pubout', '-out', "$dir/public.pem");
my $server = IPC::Run::start([ $^X, "$FindBin::RealBin/gcsserver.pl", $dir ], '<', \undef);
for (1 .. 600) { last if -e "$dir/port"; usleep(50_000); }
my $port = slurp_file("$dir/port");

sub control { my (@lines) = @_; write_private("$dir/control", @lines); return }
sub url { my ($bucket, $prefix, $at) = @_; return "gs://$bucket/$prefix?endpoint=" . encode('http://127.0.0.1:' . ($at // $port)) }

# The file that Google makes for a key of a service account.
sub service_account
{
	my ($name, %other) = @_;
	my %json = (
		type => 'service_account', project_id => 'test', private_key_id => 'key-1', client_email => 'svc@test.example',
		private_key => slurp_file("$dir/private.pem"), token_uri => "http://127.0.0.1:$port/token", %other);
	delete $json{$_} for grep { !defined $json{$_} } keys %json;
	return write_private("$base/$name", JSON::PP->new->pretty->canonical->encode(\%json));
}
my $keys = write_private("$base/keys", 'access_key_id=GOOGWRITER', "secret_access_key=$secret");
my $json = service_account('account.json');
my ($line) = slurp_file("$dir/private.pem") =~ /\n(\S{30})/;
@Cloud::secrets = ($secret, $other, $line);
%Cloud::server = (OMB_CLOUD_URL => url('test', 'some/prefix'), OMB_CLOUD_CREDENTIALS => $keys, OMB_CLOUD_TRIES => 4);
my %account = (OMB_CLOUD_CREDENTIALS => $json);
sub tokens { return -e "$dir/tokens" ? slurp_file("$dir/tokens") =~ tr/\n// : 0 }

# ---- the contract ----

for my $case ([ 'an HMAC key', {} ], [ 'a service account', { %account, OMB_CLOUD_URL => url('test', 'account') } ])
{
	my ($name, $with) = @$case;
	my $out = suite_ok($with, ['suite'], "the contract of stores, with $name");
	unlike($out, qr/^not ok/m, 'nothing of it fails');
	like($out, qr/^1\.\.\d{3}$/m, 'all of it was run');
}
cmp_ok(tokens(), '<=', 20, 'a token is used for more than one request');
suite_ok({ OMB_CLOUD_URL => url('test', '') }, [ 'put', 'top', 10 ], 'without a prefix');
suite_ok({}, [ 'put', "has space+plus%/n\xc3\xa4me'&<", 10 ], 'a name that has to be encoded');
like(suite_ok({}, ['list'], 'list'), qr{^has space\+plus%/n\xc3\xa4me'&< 10$}m, 'it is listed as it is');
suite_ok({}, [ 'get', "has space+plus%/n\xc3\xa4me'&<", 10 ], 'and read');
for my $size (100, 9_000_000)
{
	suite_ok({ OMB_CLOUD_URL => url('test', 'class') . '&storage-class=NEARLINE' }, [ 'put', $size, $size ], "a storage class, $size bytes");
	suite_fails({ OMB_CLOUD_URL => url('test', 'class') . '&storage-class=BOGUS' }, [ 'put', 'x', $size ], qr/400 InvalidStorageClass/, 'one that is not known');
}

# ---- who may ----

suite_fails({ OMB_CLOUD_CREDENTIALS => write_private("$base/wrong", 'access_key_id=GOOGWRITER', 'secret_access_key=wrong') },
	[ $_, 'x', 1 ], qr/403 SignatureDoesNotMatch.*\nhint: Check the key/, "a wrong secret, $_") for qw(put get list);
suite_fails({ OMB_CLOUD_CREDENTIALS => write_private("$base/nobody", 'access_key_id=NOBODY', 'secret_access_key=wrong') },
	[ 'get', 'x', 1 ], qr/403 InvalidSecurity.*\nhint: Check the key/, 'a key that is not known');
my %reader = (OMB_CLOUD_CREDENTIALS => write_private("$base/reader", 'access_key_id=GOOGREADER', "secret_access_key=$other"));
suite_fails(\%reader, [ 'put', 'x', $_ ], qr/403 AccessDenied.*\nhint: .*storage\.objects\.create/, "$_ bytes by who may only read") for (1, 9_000_000);
suite_ok(\%reader, [ 'get', "has space+plus%/n\xc3\xa4me'&<", 10 ], 'who can read');
suite_fails({ OMB_CLOUD_URL => url('missing', 'x') }, [ $_, 'x', 1 ], qr/^failed: .*404 NoSuchBucket.*\nhint:/, "no bucket, $_") for qw(put get list);
suite_fails({ OMB_CLOUD_CREDENTIALS => undef }, ['list'], qr/there are no Google credentials/, 'no keys');
suite_ok({ OMB_CLOUD_CREDENTIALS => undef, GOOGLE_ACCESS_KEY_ID => 'GOOGWRITER', GOOGLE_SECRET_ACCESS_KEY => $secret }, ['list'], 'keys from the environment');
for my $case (
	[ 'wrong key', { private_key => slurp_file("$dir/wrong.pem") }, qr/could not get a token .*400 invalid_grant: Invalid JWT Signature/ ],
	[ 'other account', { client_email => 'other@test.example' }, qr/400 invalid_grant: Invalid account/ ],
	[ 'no private key', { private_key => undef }, qr/^usage: .*no key file of a Google service account/ ],
	[ 'no RSA key', { private_key => "-----BEGIN PRIVATE KEY-----\nMC4CAQAw\n-----END PRIVATE KEY-----\n" }, qr/cannot use the private key/ ],
	[ 'no token server', { token_uri => 'http://127.0.0.1:' . PostgreSQL::Test::Cluster::get_free_port() . '/token' }, qr/could not connect to server.*\ndetail: Gave up after/ ])
{
	suite_fails({ OMB_CLOUD_CREDENTIALS => service_account('bad.json', %{ $case->[1] }) }, [ 'get', 'x', 1 ], $case->[2], "an account with $case->[0]");
}
suite_fails({ OMB_CLOUD_CREDENTIALS => write_private("$base/cut.json", '{ "client_email": "x"') }, ['list'], qr/no key file of a Google/, 'half a file');
chmod 0644, $json;
suite_fails(\%account, ['list'], qr/refused: .* can be read by others/, 'an open file');
chmod 0600, $json;

# ---- clock and tokens ----

suite_ok({ OMB_CLOUD_CLOCK_OFFSET => $_ }, [ 'put', "clock$_", 10 ], "a clock off by $_ s, HMAC") for (3600, -3600);
suite_ok({ %account, OMB_CLOUD_CLOCK_OFFSET => $_ }, [ 'put', "token$_", 10 ], "a clock off by $_ s, token") for (7200, -7200);
suite_ok(\%account, [ 'put', 'whole', 12_000_000 ], 'an object');
control('lifetime 30');
my $before = tokens();
suite_ok(\%account, [ 'get', 'whole', 12_000_000 ], 'tokens that soon expire');
cmp_ok(tokens() - $before, '>', 1, 'are replaced in time');
control();

control('locked 1');
suite_fails({}, [ 'remove', 'token7200' ], qr/^refused: .*retention policy/, 'an object that is locked');
control();

# ---- the network ----

my $at = start_proxy($base, $port);
my %through = (OMB_CLOUD_URL => url('test', 'some/prefix', $at));
my ($small, $large) = (1000, 20_000_000);
suite_ok(\%through, [ 'remove', 'whole' ], 'the object before goes');
suite_ok(\%through, [ 'put', 'whole', $large ], 'another through the proxy');
with_rules('status=401:AuthenticationRequired times=1');
suite_ok({ %through, %account }, [ 'get', 'whole', $large ], 'a token that was taken back is replaced');
failures_pass(\%through,
	[ 'status=503:ServiceUnavailable times=2', 'put', $small ],
	[ 'status=500:InternalError times=2', 'put', $large ],
	[ 'status=429:SlowDown times=1', 'put', $small ],
	[ 'status=400:BadDigest times=1 method=PUT', 'put', $small ],
	[ 'reset-up=500 times=2 method=PUT', 'put', $small ],
	[ 'reset-up=7000000 times=2 skip=1 method=PUT', 'put', $large ],
	[ 'lost-reply times=1 method=PUT', 'put', $small ],
	[ 'lost-reply times=1 method=PUT', 'put', $large ],
	[ 'lost-reply times=1 method=PUT skip=2', 'put', $large ],
	[ 'lost-reply times=1 method=POST', 'put', $large ],
	[ 'status=503:ServiceUnavailable times=2 method=PUT skip=1', 'put', $large ],
	[ 'hang=4 times=1 method=PUT', 'put', $small ],
	[ 'garbage times=1', 'put', $small ],
	[ 'status=503:ServiceUnavailable times=2 method=GET', 'get', $large ],
	[ 'reset-down=1000000 times=2 method=GET', 'whole', $large ],
	[ 'truncate=1000000 times=2 method=GET', 'get', $large ],
	[ 'truncate=20 times=2 method=GET', 'list', 0 ],
	[ 'status=503:ServiceUnavailable times=1 method=DELETE', 'remove', $small ],
	[ 'lost-reply times=1 method=DELETE', 'remove', $small ]);
for my $bytes (262144, 0)
{
	control("keep $bytes");
	suite_ok({}, [ 'put', "kept$bytes", $large ], "the server keeps $bytes bytes of a part");
	suite_ok({}, [ 'get', "kept$bytes", $large ], 'the rest is sent again');
}
failures_end(\%through,
	[ 'status=503:ServiceUnavailable', 'put', $large, qr/503( ServiceUnavailable.*)?\ndetail: Gave up after 4 attempts/ ],
	[ 'reset-up=500 method=P', 'put', $large, qr/lost the connection.*\ndetail: Gave up after 4 attempts/ ],
	[ 'status=403:AccessDenied', 'put', $small, qr/403 AccessDenied.*\nhint: The account/ ],
	[ 'status=404:Nothing', 'get', $large, qr/^failed: .*404 Nothing/ ],
	[ 'status=404:NoSuchUpload skip=1 method=PUT', 'put', $large, qr/^failed: .*404 NoSuchUpload/ ],
	[ 'wrong-range skip=1 method=GET', 'get', $large, qr/other bytes than asked for/ ]);

removes_side_by_side(\%through);

# ---- the machine ----

mirror_and_lose($base, url('mirror', 'server one'), url('mirror', 'server one', $at), $json);
$server->kill_kill;
done_testing();
