# The S3 store over a server of another make, OpenStack's Swift: it checks the
# region, and cannot create under a condition.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Cloud;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

ok($ENV{OMB_SWIFT_PORT}, 'scripts/prove.sh has started Swift') or BAIL_OUT('no Swift');
my $base = PostgreSQL::Test::Utils::tempdir('swift');
my $keys = write_private("$base/keys", "access_key_id=$ENV{OMB_SWIFT_ACCESS_KEY_ID}", "secret_access_key=$ENV{OMB_SWIFT_SECRET_ACCESS_KEY}");
@Cloud::secrets = ($ENV{OMB_SWIFT_SECRET_ACCESS_KEY});
%Cloud::server = (OMB_S3_ENDPOINT => "http://127.0.0.1:$ENV{OMB_SWIFT_PORT}", OMB_S3_BUCKET => 'suite', OMB_S3_PREFIX => 'some/prefix',
	OMB_S3_CREDENTIALS => $keys, OMB_S3_CREATES => 'looks');

suite_ok({}, ['create'], 'a bucket');
my $out = suite_ok({}, ['suite'], 'the contract of stores');
unlike($out, qr/^not ok/m, 'nothing of it fails');
like($out, qr/^1\.\.\d{2,}$/m, 'all of it was run');
suite_ok({ OMB_S3_REGION => 'eu-west-9' }, [ 'put', 'region', 10 ], 'the region is learned');
suite_ok({ OMB_CLOUD_CLOCK_OFFSET => 3600 }, [ 'put', 'clock', 10 ], 'so is the clock');
suite_fails({ OMB_S3_CREDENTIALS => write_private("$base/wrong", "access_key_id=$ENV{OMB_SWIFT_ACCESS_KEY_ID}", 'secret_access_key=wrong') },
	['list'], qr/403 SignatureDoesNotMatch.*\nhint: Check the access key/, 'a wrong secret');
suite_fails({ OMB_S3_BUCKET => 'missing' }, [ $_, 'x', 1 ], qr/NoSuchBucket/, "no bucket, $_") for qw(put get list);

suite_ok({ OMB_S3_BUCKET => 'machine' }, ['create'], 'another bucket');
my $port = start_proxy($base, $ENV{OMB_SWIFT_PORT});
sub url { my ($to) = @_; return 's3://machine/server one?style=path&endpoint=' . encode("http://127.0.0.1:$to") }
mirror_and_lose($base, url($ENV{OMB_SWIFT_PORT}), url($port), $keys);
done_testing();
