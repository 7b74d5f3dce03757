# The S3 store over a real server: what every store promises, and what it does
# when the network, the server, the keys or the certificates fail.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Cloud;
use IO::Socket::INET;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

ok($ENV{OMB_S3_PORT}, 'scripts/prove.sh has started an S3 server') or BAIL_OUT('no S3 server');
my $base = PostgreSQL::Test::Utils::tempdir('s3');
my $certificates = $ENV{OMB_S3_CERTIFICATES};

sub write_credentials
{
	my ($path, $id, $secret, $token) = @_;
	return write_private($path, '# keys of a test', "access_key_id=$id", "secret_access_key=$secret", defined $token ? "session_token=$token" : ());
}

my $keys = write_credentials("$base/keys", $ENV{OMB_S3_ACCESS_KEY_ID}, $ENV{OMB_S3_SECRET_ACCESS_KEY});
%Cloud::server = (
	OMB_S3_ENDPOINT => "http://127.0.0.1:$ENV{OMB_S3_PORT}",
	OMB_S3_BUCKET => 'test',
	OMB_S3_PREFIX => 'some/prefix',
	OMB_S3_CREDENTIALS => $keys);

@Cloud::secrets = ($ENV{OMB_S3_SECRET_ACCESS_KEY});

sub wait_port
{
	my ($port) = @_;
	for (1 .. 600)
	{
		return if IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
		usleep(50_000);
	}
	die "nobody listens on port $port";
}

# ---- the contract ----

suite_ok({}, ['create'], 'a bucket');
my $out = suite_ok({}, ['suite'], 'the contract of stores');
unlike($out, qr/^not ok/m, 'nothing of it fails');
like($out, qr/^1\.\.\d{2,}$/m, 'all of it was run');
suite_ok({ OMB_S3_PREFIX => '' }, [ 'put', 'top', 10 ], 'without a prefix');
suite_ok({}, [ 'put', 'has space+plus%/name', 10 ], 'a name that has to be encoded');
like(suite_ok({}, ['list'], 'list'), qr{^has space\+plus%/name 10$}m, 'it is listed as it is');
suite_ok({}, [ 'get', 'has space+plus%/name', 10 ], 'and read');
suite_ok({ OMB_S3_STORAGE_CLASS => 'STANDARD_IA' }, [ 'put', 'ia', 100 ], 'a storage class');
suite_fails({ OMB_S3_STORAGE_CLASS => 'BOGUS' }, [ 'put', 'bogus', 100 ], qr/server answered 400/, 'one that is not known');
my %sse = (OMB_S3_ENCRYPTION => 'aws:kms', OMB_S3_KMS_KEY_ID => 'testkey-1');
suite_ok(\%sse, [ 'put', 'sse', 9_000_000 ], 'encryption by the server, in parts');
suite_ok({}, [ 'get', 'sse', 9_000_000 ], 'is read as other objects are');

# ---- who may ----

suite_fails({ OMB_S3_CREDENTIALS => write_credentials("$base/wrong", $ENV{OMB_S3_ACCESS_KEY_ID}, 'wrong') },
	[ 'put', 'x', 1 ], qr/403 SignatureDoesNotMatch\nhint: Check the access key/, 'a wrong secret');
suite_fails({ OMB_S3_CREDENTIALS => write_credentials("$base/nobody", 'NOBODY', 'wrong') },
	[ 'get', 'x', 1 ], qr/403 InvalidAccessKeyId\nhint: Check the access key/, 'a key that is not known');
suite_fails({ OMB_S3_CREDENTIALS => "$base/none" }, [ 'put', 'x', 1 ], qr/could not read credentials file/, 'no file');
chmod 0644, "$base/wrong";
suite_fails({ OMB_S3_CREDENTIALS => "$base/wrong" }, [ 'put', 'x', 1 ], qr/refused: .* can be read by others/, 'an open file');
suite_fails({ OMB_S3_BUCKET => 'missing' }, [ $_, 'x', 1 ], qr/^failed: .*NoSuchBucket/, "no bucket, $_") for qw(put get list);
my %none = (OMB_S3_CREDENTIALS => undef);
suite_ok({ %none, AWS_ACCESS_KEY_ID => $ENV{OMB_S3_ACCESS_KEY_ID}, AWS_SECRET_ACCESS_KEY => $ENV{OMB_S3_SECRET_ACCESS_KEY} },
	['list'], 'keys from the environment');
suite_fails(\%none, ['list'], qr/there are no S3 credentials/, 'none there');

# ---- the permissions that README.md names ----

sub allow
{
	my ($on_bucket, $on_objects) = @_;
	my $file = "$base/policy";
	unlink $file;
	my @statements;
	for my $part ([ $on_bucket, 'test' ], [ $on_objects, 'test/guest/*' ])
	{
		my $actions = join ',', map { "\"s3:$_\"" } split ' ', $part->[0];
		push @statements, '{ "Effect": "Allow", "Principal": { "AWS": [ "arn:aws:iam:::user/guest" ] }, '
		  . "\"Action\": [ $actions ], \"Resource\": \"arn:aws:s3:::$part->[1]\" }";
	}
	append_to_file($file, '{ "Version": "2012-10-17", "Statement": [' . join(',', @statements) . '] }');
	suite_ok({}, [ 'policy', $file ], "the policy allows $on_bucket $on_objects");
	return;
}
my %guest = (OMB_S3_PREFIX => 'guest',
	OMB_S3_CREDENTIALS => write_credentials("$base/guest", 'GUESTGUESTGUESTGUEST', $ENV{OMB_S3_SECRET_ACCESS_KEY}));
allow('ListBucket ListBucketMultipartUploads', 'GetObject PutObject DeleteObject AbortMultipartUpload ListMultipartUploadParts');
unlike(suite_ok(\%guest, ['suite'], 'the contract, with these permissions'), qr/^not ok/m, 'nothing of it fails');
suite_fails({ %guest, OMB_S3_PREFIX => 'other' }, [ 'put', 'x', 1 ], qr/403 AccessDenied\nhint: The key needs/, 'another prefix');
suite_ok(\%guest, [ 'put', 'mine', 1000 ], 'an object to read');
allow('ListBucket', 'GetObject');
suite_ok(\%guest, [ 'get', 'mine', 1000 ], 'reading needs less');
like(suite_ok(\%guest, ['list'], 'listing needs less'), qr{^b/two/x 7$}m, 'and shows all');
suite_fails(\%guest, [ 'get', 'none', 1 ], qr/^not_found/, 'what is absent is known to be');
suite_fails(\%guest, [ 'put', 'x', 1 ], qr/403 AccessDenied\nhint: The key needs/, 'writing is refused');
allow('ListBucketMultipartUploads', 'GetObject');
suite_fails(\%guest, [ 'get', 'none', 1 ], qr/^failed: .*403 AccessDenied/, 'without listing absence is not proven');

# ---- the clock ----

suite_ok({ OMB_CLOUD_CLOCK_OFFSET => 3600 }, [ 'put', 'early', 10 ], 'a clock that is an hour early');
suite_ok({ OMB_CLOUD_CLOCK_OFFSET => -3600 }, [ 'get', 'early', 10 ], 'and late, where HEAD gives no reason');

# ---- certificates ----

my %tls = (OMB_S3_ENDPOINT => "https://s3.localhost:$ENV{OMB_S3_TLS_PORT}", OMB_S3_CA_FILE => "$certificates/ca.pem");
suite_ok({ %tls, OMB_S3_STYLE => $_ }, [ 'put', "tls-$_", 1000 ], "TLS, bucket in the $_") for qw(path virtual);
suite_fails({ OMB_S3_ENDPOINT => $tls{OMB_S3_ENDPOINT} }, [ 'put', 'x', 1 ],
	qr/could not verify the certificate.*\nhint:/, 'an authority that is not known');
for my $kind (qw(wronghost expired))
{
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $tls_server = IPC::Run::start([ 'openssl', 's_server', '-accept', "127.0.0.1:$port", '-www', '-quiet',
		'-cert', "$certificates/$kind.pem", '-key', "$certificates/$kind.key" ], '<', \undef, '>', '/dev/null', '2>', '/dev/null');
	wait_port($port);
	suite_fails({ %tls, OMB_S3_ENDPOINT => "https://s3.localhost:$port" }, [ 'put', 'x', 1 ],
		qr/could not verify the certificate/, "certificate: $kind");
	$tls_server->kill_kill;
}

# ---- the network ----

suite_fails({ OMB_S3_ENDPOINT => 'http://nowhere.invalid', OMB_CLOUD_TRIES => 2 }, [ 'put', 'x', 1 ],
	qr/could not find the address .*\ndetail: Gave up after 2 attempts/, 'no such server');
suite_fails({ OMB_S3_ENDPOINT => 'http://127.0.0.1:' . PostgreSQL::Test::Cluster::get_free_port(), OMB_CLOUD_TRIES => 2 },
	[ 'put', 'x', 1 ], qr/could not connect to server/, 'nobody there');

my %proxy = (OMB_S3_ENDPOINT => 'http://127.0.0.1:' . start_proxy($base, $ENV{OMB_S3_PORT}), OMB_CLOUD_TRIES => 4);
my $size = 20_000_000;
suite_ok(\%proxy, [ 'put', 'whole', $size ], 'an object through the proxy');

# Each upload in one request, and in parts; rules about parts only for those.
sub in_sizes
{
	my @cases;
	for my $case (@_)
	{
		my ($rule, $action, @more) = @$case;
		push @cases, [ $rule, $action, 1000, @more ] if $action eq 'put' && $rule !~ /skip|POST/;
		push @cases, [ $rule, $action, $size, @more ];
	}
	return @cases;
}
failures_pass(\%proxy, in_sizes(
	[ 'status=503:SlowDown times=2', 'put' ],
	[ 'status=500:InternalError times=2', 'put' ],
	[ 'status=429:TooManyRequests times=1', 'put' ],
	[ 'status=408:RequestTimeout times=1', 'put' ],
	[ 'status=400:RequestTimeout times=1 method=PUT', 'put' ],
	[ 'status=502:BadGateway times=1', 'put' ],
	[ 'status=504:GatewayTimeout times=1', 'put' ],
	[ 'inner=InternalError times=2 method=PUT', 'put' ],
	[ 'inner=InternalError times=2 method=POST', 'put' ],
	[ 'reset-up=1000 times=2 method=PUT', 'put' ],
	[ 'reset-up=7000000 times=2 skip=1 method=PUT', 'put' ],
	[ 'lost-reply times=1 method=PUT', 'put' ],
	[ 'lost-reply times=1 method=POST', 'put' ],
	[ 'lost-reply times=1 skip=1 method=POST', 'put' ],
	[ 'garbage times=1', 'put' ],
	[ 'hang=4 times=1 method=PUT', 'put' ],
	[ 'delay=300 times=3', 'put' ],
	[ 'redirect=eu-test-1 times=1', 'put' ],
	[ 'plain', 'put' ],
	[ 'status=503:SlowDown times=2 method=GET', 'get' ],
	[ 'reset-down=1000000 times=2 method=GET', 'whole' ],
	[ 'reset-down=1000000 times=2 method=GET', 'get' ],
	[ 'truncate=1000000 times=2 method=GET', 'whole' ],
	[ 'truncate=0 times=2 method=GET', 'get' ],
	[ 'hang=4 times=1', 'get' ],
	[ 'truncate=20 times=2 method=GET', 'list' ],
	[ 'inner=SlowDown times=2 method=GET', 'list' ],
	[ 'status=503:ServiceUnavailable times=1 method=DELETE', 'remove' ],
	[ 'lost-reply times=1 method=DELETE', 'remove' ]));
failures_end(\%proxy, in_sizes(
	[ 'status=503:SlowDown', 'put', qr/503( SlowDown.*)?\ndetail: Gave up after 4 attempts/ ],
	[ 'inner=InternalError method=P', 'put', qr/200 InternalError.*\ndetail: Gave up after 4 attempts/ ],
	[ 'reset-up=500 method=P', 'put', qr/lost the connection.*\ndetail: Gave up after 4 attempts/ ],
	[ 'status=403:AccessDenied', 'put', qr/403 AccessDenied.*\nhint: The key needs s3:PutObject/ ],
	[ 'status=507:Full', 'put', qr/^no_space/ ],
	[ 'redirect=eu-test-1', 'put', qr/301( PermanentRedirect.*)?\nhint: Check endpoint/ ],
	[ 'status=404:Nothing', 'get', qr/^failed: .*404 Nothing/ ],
	[ 'wrong-range skip=1 method=GET', 'get', qr/other bytes than asked for/ ],
	[ 'truncate=0 method=GET', 'get', qr/detail: Gave up after 4 attempts/ ],
	[ 'inner=InternalError method=GET', 'list', qr/InternalError/ ]));
like(suite_ok({}, [ 'sweep', 0 ], 'sweep'), qr/^swept \d+$/m, 'what was left of uploads can be swept');
like(suite_ok({}, [ 'sweep', 0 ], 'sweep'), qr/^swept 0$/m, 'then nothing is left');

# New keys are taken from the file when the old ones are refused.
with_rules('status=403:ExpiredToken times=1');
suite_fails(\%proxy, [ 'list' ], qr/403 ExpiredToken.*\nhint: .* expired/, 'expired keys, no new ones');
with_rules();
write_credentials("$base/changing", $ENV{OMB_S3_ACCESS_KEY_ID}, 'old');
PostgreSQL::Test::Utils::system_or_bail('cp', '-p', $keys, "$base/next");
suite_ok({ %proxy, OMB_S3_CREDENTIALS => "$base/changing" }, [ 'renew', "$base/next" ], 'with new ones in the file it goes on');
done_testing();
