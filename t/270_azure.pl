# Repositories in Azure's Blob service, over Microsoft's emulator: what every
# store promises, who may do what, what happens when network or server fail, and
# the way back when the machine is lost.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Cloud;
use Digest::SHA qw(hmac_sha256);
use MIME::Base64 qw(decode_base64 encode_base64);
use POSIX qw(strftime);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

ok($ENV{OMB_AZURE_PORT}, 'scripts/prove.sh has started Azurite') or BAIL_OUT('no Azurite');
my $base = PostgreSQL::Test::Utils::tempdir('azure');
my ($account, $key) = @ENV{qw(OMB_AZURE_ACCOUNT OMB_AZURE_KEY)};
delete $ENV{OMB_AZURE_KEY};

sub url
{
	my ($container, $prefix, $port) = @_;
	return "azblob://$account/$container/$prefix?endpoint=" . encode('http://127.0.0.1:' . ($port // $ENV{OMB_AZURE_PORT}));
}

# A token for a container, valid from some seconds after now on for a while.
sub sas
{
	my ($container, $permissions, $start, $end) = @_;
	my $format = '%Y-%m-%dT%H:%M:%SZ';
	my ($from, $to) = (strftime($format, gmtime(time + $start)), strftime($format, gmtime(time + $end)));
	my $version = '2021-12-02';
	my $text = join "\n", $permissions, $from, $to, "/blob/$account/$container", '', '', '', $version, 'c', ('') x 7;
	my $signature = encode(encode_base64(hmac_sha256($text, decode_base64($key)), ''));
	push @Cloud::secrets, $signature;
	return 'sp=' . $permissions . '&st=' . encode($from) . '&se=' . encode($to) . "&sv=$version&sr=c&sig=$signature";
}

my $keys = write_private("$base/keys of azure", '# a key', "account_key=$key");
@Cloud::secrets = ($key);
%Cloud::server = (OMB_CLOUD_URL => url('test', 'some/prefix'), OMB_CLOUD_CREDENTIALS => $keys, OMB_CLOUD_TRIES => 4);

# ---- the contract ----

suite_fails({}, [ $_, 'x', 1 ], qr/^failed: .*404 ContainerNotFound.*\nhint: Check the name of the container/, "no container, $_")
  for qw(put get list);
suite_ok({}, ['create'], 'a container');
my $out = suite_ok({}, ['suite'], 'the contract of stores');
unlike($out, qr/^not ok/m, 'nothing of it fails');
like($out, qr/^1\.\.\d{3}$/m, 'all of it was run');
suite_ok({ OMB_CLOUD_URL => url('test', '') }, [ 'put', 'top', 10 ], 'without a prefix');
suite_ok({}, [ 'put', "has space+plus%/n\xc3\xa4me'&<", 10 ], 'a name that has to be encoded');
like(suite_ok({}, ['list'], 'list'), qr{^has space\+plus%/n\xc3\xa4me'&< 10$}m, 'it is listed as it is');
suite_ok({}, [ 'get', "has space+plus%/n\xc3\xa4me'&<", 10 ], 'and read');
suite_ok({ OMB_CLOUD_URL => url('test', 'some/prefix') . '&access-tier=Cool' }, [ 'put', 'cool', $_ ], "an access tier, $_ bytes"),
  suite_ok({}, [ 'get', 'cool', $_ ], 'can be read'), suite_ok({}, [ 'remove', 'cool' ], 'and removed')
  for (100, 9_000_000);

# ---- who may ----

my $random = encode_base64(join('', map { chr int rand 256 } 1 .. 32), '');
suite_fails({ OMB_CLOUD_CREDENTIALS => write_private("$base/wrong", "account_key=$random") },
	[ $_, 'x', 1 ], qr/403 AuthorizationFailure.*\nhint: Check account_key/, "a wrong key, $_") for qw(put get list);
suite_fails({ OMB_CLOUD_CREDENTIALS => write_private("$base/no key", 'account_key=no-base64!') }, [ 'get', 'x', 1 ], qr/no base64/, 'no key');
suite_fails({ OMB_CLOUD_CREDENTIALS => write_private("$base/both", "account_key=$key", 'sas_token=sig=x') },
	[ 'get', 'x', 1 ], qr/both account_key and sas_token/, 'two kinds of keys');
suite_fails({ OMB_CLOUD_CREDENTIALS => "$base/none" }, [ 'put', 'x', 1 ], qr/could not read credentials file/, 'no file');
chmod 0644, "$base/wrong";
suite_fails({ OMB_CLOUD_CREDENTIALS => "$base/wrong" }, [ 'put', 'x', 1 ], qr/refused: .* can be read by others/, 'an open file');
my %none = (OMB_CLOUD_CREDENTIALS => undef);
suite_fails(\%none, ['list'], qr/there are no Azure credentials.*\nhint:.*AZURE_STORAGE_KEY/s, 'none in the environment');
suite_ok({ %none, AZURE_STORAGE_KEY => $key }, ['list'], 'a key there');

sub token { my ($name, @sas) = @_; return (OMB_CLOUD_CREDENTIALS => write_private("$base/$name", 'sas_token=?' . sas(@sas))) }
my %all = (OMB_CLOUD_URL => url('test', 'token'), token('all', 'test', 'rcwdl', -600, 3600));
unlike(suite_ok(\%all, ['suite'], 'the contract with a token, and the permissions that README.md names'), qr/^not ok/m, 'nothing of it fails');
my %read = (%all, token('read', 'test', 'rl', -600, 3600));
suite_ok(\%all, [ 'put', 'mine', 1000 ], 'an object to read');
suite_ok(\%read, [ 'get', 'mine', 1000 ], 'reading needs less');
like(suite_ok(\%read, ['list'], 'so does listing'), qr{^mine 1000$}m, 'which shows all');
suite_fails(\%read, [ 'get', 'none', 1 ], qr/^not_found/, 'what is absent is known to be');
suite_fails(\%read, [ 'put', 'x', 10 ], qr/403 Authorization\w+.*\nhint: .*rcwdl/, 'no permission to put');
suite_fails(\%read, [ 'remove', 'mine' ], qr/403 Authorization\w+.*\nhint: .*rcwdl/, 'nor to remove');
suite_fails({ %all, token('expired', 'test', 'rcwdl', -7200, -60) }, [ $_, 'mine', 1000 ],
	qr/403 Auth(?:enticationFailed|orizationFailure).*\nhint: .*expired/, "an expired token, $_") for qw(put get list);
suite_fails({ %all, token('elsewhere', 'other', 'rcwdl', -600, 3600) }, [ 'get', 'mine', 1000 ], qr/403/, 'a token for another container');

# New keys are taken from the file when the old ones are refused.
write_private("$base/changing", 'sas_token=' . sas('test', 'rcwdl', -7200, -60));
write_private("$base/next", 'sas_token=' . sas('test', 'rcwdl', -600, 3600));
suite_ok({ %all, OMB_CLOUD_CREDENTIALS => "$base/changing" }, [ 'renew', "$base/next" ], 'with a new token in the file it goes on');

# ---- certificates ----

my $tls = "azblob://$account/tls/x?endpoint=" . encode("https://127.0.0.1:$ENV{OMB_AZURE_TLS_PORT}");
my $ca = '&ca-file=' . encode($ENV{OMB_AZURE_CERTIFICATE});
suite_fails({ OMB_CLOUD_URL => $tls }, ['create'], qr/could not verify the certificate.*\nhint:/, 'an authority that is not known');
suite_ok({ OMB_CLOUD_URL => "$tls$ca" }, ['create'], 'TLS with an authority of its own');
my %tls = (OMB_CLOUD_URL => "$tls$ca", token('tls', 'tls', 'rcwdl', -600, 3600));
suite_ok(\%tls, [ $_, 'x', 9_000_000 ], "$_ with a token over TLS") for qw(put get);

# ---- the network ----

my %through = (OMB_CLOUD_URL => url('test', 'some/prefix', start_proxy($base, $ENV{OMB_AZURE_PORT})));
my ($small, $large) = (1000, 20_000_000);
suite_ok(\%through, [ 'put', 'whole', $large ], 'an object through the proxy');
failures_pass(\%through,
	[ 'status=503:ServerBusy times=2', 'put', $small ],
	[ 'status=500:InternalError times=2', 'put', $large ],
	[ 'status=429:TooManyRequests times=1', 'put', $small ],
	[ 'status=400:Md5Mismatch times=1 method=PUT', 'put', $large ],
	[ 'reset-up=500 times=2 method=PUT', 'put', $small ],
	[ 'reset-up=7000000 times=2 skip=1 method=PUT', 'put', $large ],
	[ 'lost-reply times=1 method=PUT', 'put', $small ],
	[ 'lost-reply times=1 method=PUT path=comp=blocklist', 'put', $large ],
	[ 'hang=4 times=1 method=PUT', 'put', $small ],
	[ 'garbage times=1', 'put', $small ],
	[ 'status=503:ServerBusy times=2 method=GET', 'get', $large ],
	[ 'reset-down=1000000 times=2 method=GET', 'whole', $large ],
	[ 'truncate=1000000 times=2 method=GET', 'get', $large ],
	[ 'truncate=20 times=2 method=GET', 'list', 0 ],
	[ 'status=503:ServerBusy times=1 method=DELETE', 'remove', $small ],
	[ 'lost-reply times=1 method=DELETE', 'remove', $small ]);
failures_end(\%through,
	[ 'status=503:ServerBusy', 'put', $large, qr/503( ServerBusy.*)?\ndetail: Gave up after 4 attempts/ ],
	[ 'reset-up=500 method=P', 'put', $large, qr/lost the connection.*\ndetail: Gave up after 4 attempts/ ],
	[ 'status=403:AuthorizationPermissionMismatch', 'put', $small, qr/403 Authorization.*\nhint: The token needs/ ],
	[ 'status=409:BlobImmutableDueToPolicy method=DELETE', 'remove', $large, qr/^refused: .*409 BlobImmutableDueToPolicy/ ],
	[ 'status=404:Nothing', 'get', $large, qr/^failed: .*404 Nothing/ ],
	[ 'wrong-range skip=1 method=GET', 'get', $large, qr/other bytes than asked for/ ]);

removes_side_by_side(\%through);

# ---- the machine ----

suite_ok({ OMB_CLOUD_URL => url('mirror', '') }, ['create'], 'a container for the mirror');
my $credentials = write_private("$base/token", 'sas_token=' . sas('mirror', 'rcwdl', -600, 3600));
mirror_and_lose($base, url('mirror', 'server one'), url('mirror', 'server one', slurp_file("$base/port")), $credentials);
done_testing();
