# Temporary keys of S3 from the servers that give them out, renewed in time and
# when they are refused; and proxies that want a password.
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
my $base = PostgreSQL::Test::Utils::tempdir('keys');
my ($state, $log) = ("$base/state", "$base/asked");
@Cloud::secrets = ($ENV{OMB_S3_SECRET_ACCESS_KEY}, 'metadata-token', 'session-', 'let-me-in', 'claim.signature');
my $keys = write_private("$base/keys", "access_key_id=$ENV{OMB_S3_ACCESS_KEY_ID}", "secret_access_key=$ENV{OMB_S3_SECRET_ACCESS_KEY}");
delete $ENV{$_} for grep { /^AWS_/ } keys %ENV;
%Cloud::server = (OMB_S3_ENDPOINT => "http://127.0.0.1:$ENV{OMB_S3_PORT}", OMB_S3_BUCKET => 'keys');
suite_ok({ OMB_S3_CREDENTIALS => $keys }, ['create'], 'a bucket');

sub set_state
{
	my (@more) = @_;
	open my $f, '>', $state or die $!;
	print $f "$_\n" for "id=$ENV{OMB_S3_ACCESS_KEY_ID}", "secret=$ENV{OMB_S3_SECRET_ACCESS_KEY}", @more;
	close $f;
	open $f, '>', $log or die $!;
	close $f;
	return;
}
sub asked { return slurp_file($log) }
set_state();
my $server = IPC::Run::start([ $^X, "$FindBin::RealBin/metadataserver.pl", "$base/metadata", $state, $log ], '<', \undef, '>', '/dev/null');
for (1 .. 600) { last if -e "$base/metadata"; usleep(50_000); }
my $here = 'http://127.0.0.1:' . slurp_file("$base/metadata");
my $roles = '/latest/meta-data/iam/security-credentials/';

# ---- the machine ----

my %machine = (AWS_EC2_METADATA_SERVICE_ENDPOINT => "$here/", http_proxy => 'http://127.0.0.1:1');
$machine{no_proxy} = '127.0.0.1';
suite_ok(\%machine, [ 'put', 'by-role', 1000 ], 'keys of the machine\'s role');
is(asked(), "PUT /latest/api/token\nGET $roles\nGET ${roles}backup-role\n", 'it was asked in the second way only');
set_state('seconds=200');
suite_ok(\%machine, [ 'put', 'renewed', 20_000_000 ], 'keys that expire soon');
is(scalar(() = asked() =~ /backup-role$/mg), 2, 'are renewed, and not by each request');
set_state('seconds=-10');
suite_ok(\%machine, [ 'put', 'expired', 20_000_000 ], 'keys that have expired');
cmp_ok(scalar(() = asked() =~ /backup-role$/mg), '>', 2, 'are renewed each time');
my $port = start_proxy($base, $ENV{OMB_S3_PORT});
set_state();
with_rules('status=400:ExpiredToken times=1 skip=2 method=PUT');
suite_ok({ %machine, OMB_S3_ENDPOINT => "http://127.0.0.1:$port" }, [ 'put', 'middle', 20_000_000 ], 'keys that are refused in the middle');
like(requests(), qr/ExpiredToken/, 'they were');
is(scalar(() = asked() =~ /backup-role$/mg), 2, 'and new ones asked for');
suite_ok(\%machine, [ 'get', 'middle', 20_000_000 ], 'the object is whole');
set_state("gone=$roles");
suite_fails(\%machine, ['list'], qr/could not get keys of S3 from the machine's metadata service: server answered 404/, 'a machine without a role');
set_state("broken=${roles}backup-role");
suite_fails(\%machine, ['list'], qr/metadata service: its answer makes no sense/, 'half an answer');
set_state();
suite_fails({ %machine, AWS_EC2_METADATA_DISABLED => 'true' }, ['list'], qr/there are no S3 credentials/, 'a service that shall not be asked');
is(asked(), '', 'it was not');

# ---- the container ----

my %container = (AWS_CONTAINER_CREDENTIALS_FULL_URI => "$here/container");
suite_ok({ %container, AWS_CONTAINER_AUTHORIZATION_TOKEN => 'let-me-in' }, ['list'], 'keys of the container');
append_to_file("$base/token", "let-me-in\n");
suite_ok({ %container, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE => "$base/token" }, ['list'], 'with its token in a file');
suite_fails(\%container, ['list'], qr/from the container's server: server answered 403/, 'without a token');
suite_fails({ AWS_CONTAINER_CREDENTIALS_FULL_URI => 'http://192.0.2.1/container' }, ['list'],
	qr/^refused: .*AWS_CONTAINER_CREDENTIALS_FULL_URI names neither/, 'a server elsewhere without TLS');

# ---- a web identity ----

append_to_file("$base/identity", "header.claim.signature\n");
append_to_file("$base/other", "other\n");
my %web = (AWS_ROLE_ARN => 'arn:aws:iam::1:role/backup', AWS_WEB_IDENTITY_TOKEN_FILE => "$base/identity", AWS_ENDPOINT_URL_STS => "$here/sts");
suite_ok(\%web, ['list'], 'keys for a web identity');
suite_fails({ %web, AWS_WEB_IDENTITY_TOKEN_FILE => "$base/other" }, ['list'],
	qr/Security Token Service: server answered 403\ndetail: The server says: InvalidIdentityToken who is that\nhint: Check AWS_ROLE_ARN/,
	'an identity that is not known');
suite_fails({ %web, AWS_WEB_IDENTITY_TOKEN_FILE => "$base/none" }, ['list'], qr/AWS_WEB_IDENTITY_TOKEN_FILE/, 'no token');
$server->kill_kill;

# ---- a proxy that wants a password ----

my $proxy_port = PostgreSQL::Test::Cluster::get_free_port();
append_to_file("$base/tinyproxy.conf", join "\n", "Port $proxy_port", 'Listen 127.0.0.1', 'Allow 127.0.0.1', 'Timeout 60',
	"PidFile \"$base/tinyproxy.pid\"", "LogFile \"$base/tinyproxy.log\"", 'LogLevel Connect', 'MaxClients 50',
	'BasicAuth somebody pass-of-proxy', "ConnectPort $ENV{OMB_S3_TLS_PORT}", '');
my $tinyproxy = IPC::Run::start([ 'tinyproxy', '-d', '-c', "$base/tinyproxy.conf" ], '<', \undef, '>', '/dev/null', '2>', '/dev/null');
for (1 .. 600) { last if IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $proxy_port); usleep(50_000); }
push @Cloud::secrets, 'pass-of-proxy', 'wrong-pass';
sub seen { return scalar(() = slurp_file("$base/tinyproxy.log") =~ /(?:CONNECT|GET|PUT|POST|HEAD) /g) }
my @lines = ("access_key_id=$ENV{OMB_S3_ACCESS_KEY_ID}", "secret_access_key=$ENV{OMB_S3_SECRET_ACCESS_KEY}");
my $through = write_private("$base/through", @lines, "proxy=http://127.0.0.1:$proxy_port", 'proxy_user=somebody', 'proxy_password=pass-of-proxy');
my %tls = (OMB_S3_ENDPOINT => "https://127.0.0.1:$ENV{OMB_S3_TLS_PORT}", OMB_S3_CA_FILE => "$ENV{OMB_S3_CERTIFICATES}/ca.pem");
for my $way (['HTTP'], [ 'TLS', %tls ])
{
	my ($name, %how) = @$way;
	my $before = seen();
	suite_ok({ %how, OMB_S3_CREDENTIALS => $through }, [ 'put', "proxy-$name", 9_000_000 ], "$name through a proxy with a password");
	suite_ok({ %how, OMB_S3_CREDENTIALS => $through }, [ 'get', "proxy-$name", 9_000_000 ], 'and back');
	cmp_ok(seen(), '>', $before, 'it was used');
	my $wrong = write_private("$base/wrong", @lines, "proxy=http://127.0.0.1:$proxy_port", 'proxy_user=somebody', 'proxy_password=wrong-pass');
	$before = seen();
	suite_fails({ %how, OMB_S3_CREDENTIALS => $wrong }, ['list'], qr/answered 40[17].*\nhint: Check proxy_user/, "$name, a wrong password");
	cmp_ok(seen(), '<=', $before + 8, 'it is not tried again and again');
	suite_ok({ %how, OMB_S3_CREDENTIALS => $keys, ($name eq 'TLS' ? 'https_proxy' : 'http_proxy') =>
		"http://somebody:pass-of-proxy\@127.0.0.1:$proxy_port" }, ['list'], "$name, a proxy from the environment");
}
my $unused = seen();
suite_ok({ OMB_S3_CREDENTIALS => $keys, http_proxy => 'http://127.0.0.1:1', no_proxy => '127.0.0.1' }, ['list'], 'no_proxy');
is(seen(), $unused, 'goes straight');
suite_fails({ OMB_S3_CREDENTIALS => write_private("$base/bad", @lines, 'proxy=http://somebody:wrong-pass@127.0.0.1:1') }, ['list'],
	qr/^usage: .*proxy in credentials file .*makes no sense\nhint: Write proxy=/, 'a password in the address of the proxy');
$tinyproxy->kill_kill;
done_testing();
