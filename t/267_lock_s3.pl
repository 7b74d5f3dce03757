# Copies that nobody can remove: objects in a bucket with object lock, what the
# server's keys can do to them, how they are had back, and locks that are
# extended as long as what they hold is needed.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Cloud;
use JSON::PP;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::Local qw(timegm);

ok($ENV{OMB_S3_PORT}, 'scripts/prove.sh has started an S3 server') or BAIL_OUT('no S3 server');
my $base = PostgreSQL::Test::Utils::tempdir('lock');
my $keys = write_private("$base/keys", "access_key_id=$ENV{OMB_S3_ACCESS_KEY_ID}", "secret_access_key=$ENV{OMB_S3_SECRET_ACCESS_KEY}");
local $ENV{OMSUPPLY_BACKUP_CREDENTIALS} = $keys;
%Cloud::server = (OMB_S3_ENDPOINT => "http://127.0.0.1:$ENV{OMB_S3_PORT}", OMB_S3_BUCKET => 'locked', OMB_S3_CREDENTIALS => $keys, OMB_S3_STYLE => 'path');
my $port = start_proxy($base, $ENV{OMB_S3_PORT});
sub url
{
	my ($bucket, $prefix, $options, $to) = @_;
	return "s3://$bucket/$prefix?style=path&endpoint=" . encode('http://127.0.0.1:' . ($to // $ENV{OMB_S3_PORT})) . ($options ? "&$options" : '');
}
my $lock = 'object-lock=governance&lock-days=30';

# A request as it is, which must succeed; the answer.
sub ask { my ($method, $name, $query, @header) = @_; return suite_ok({}, [ 'ask', $method, $name, $query, @header ], "$method $name $query") }
ask('PUT', '', '', 'x-amz-bucket-object-lock-enabled: true');
suite_ok({ OMB_S3_BUCKET => 'plain' }, ['create'], 'a bucket without locks');

sub is_locked
{
	my ($name, $mode, $days) = @_;
	my ($status, $out) = suite({}, 'ask', 'GET', $name, 'retention=');
	my ($found, $y, $m, $d, $h, $i, $s) = $out =~ m{<Mode>(\w+)</Mode>.*<RetainUntilDate>(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)}s;
	return is($out, '', "$name is locked") unless $found;
	is($found, $mode, "$name is locked for $mode");
	my $left = timegm($s, $i, $h, $d, $m - 1, $y) - time;
	return ok($left > ($days - 1) * 86400 && $left <= $days * 86400 + 60, "$name is locked for $days days") || diag($out);
}

# All versions below a prefix: name, id, whether it is a mark of a removal, whether it is the last one.
sub versions
{
	my ($prefix) = @_;
	my $out = ask('GET', '', 'prefix=' . encode("$prefix/") . '&versions=');
	my @all;
	while ($out =~ m{<(Version|DeleteMarker)>(.*?)</\1>}sg)
	{
		my ($kind, $in) = ($1, $2);
		my ($key) = $in =~ m{<Key>(.*?)</Key>};
		my ($id) = $in =~ m{<VersionId>(.*?)</VersionId>};
		push @all, { name => $key, id => $id, is_mark => $kind eq 'DeleteMarker', is_last => $in =~ /<IsLatest>true/ ? 1 : 0 };
	}
	return @all;
}

# ---- objects of all sizes ----

my %url = (OMB_CLOUD_URL => url('locked', 'suite', 'object-lock=compliance&lock-days=2', $port), OMB_CLOUD_CREDENTIALS => $keys);
with_rules();
suite_ok(\%url, [ 'put', 'small', 1000 ], 'a small object');
suite_ok(\%url, [ 'put', 'large', 20_000_000 ], 'a large one');
like(requests(), qr/^POST \S*large\S*uploads/m, 'which is sent in parts');
is_locked("suite/$_", 'COMPLIANCE', 2) for qw(small large);
suite_ok(\%url, [ 'get', 'large', 20_000_000 ], 'it is whole');
suite_ok(\%url, [ 'put', 'marks/pins/x', 10 ], 'a pin');
suite_fails({}, [ 'ask', 'GET', 'suite/marks/pins/x', 'retention=' ], qr/NoSuchObjectLockConfiguration|ObjectLockConfigurationNotFoundError/, 'a pin is not locked');
suite_fails(\%url, [ 'put', 'small', 1000 ], qr/^exists/, 'what is there is not replaced');
my ($small) = grep { $_->{name} eq 'suite/small' } versions('suite');
suite_fails({}, [ 'ask', 'DELETE', 'suite/small', 'versionId=' . encode($small->{id}) ], qr/403 AccessDenied/, 'what is locked cannot be removed for good');
suite_ok(\%url, [ 'remove', 'small' ], 'removed, with a mark');
suite_fails(\%url, [ 'get', 'small', 1000 ], qr/^not_found/, 'it is not there any more');
suite_ok(\%url, [ 'put', 'small', 1000 ], 'and can be stored again');
suite_ok(\%url, [ 'get', 'small', 1000 ], 'that is whole');

# a right that is missing is told from a lock
suite_ok(\%url, [ 'put', "x$_", 10 ], "object x$_") for 0, 1;
with_rules('status=403:AccessDenied method=(DELETE|POST)');
suite_fails(\%url, [ 'remove', 'small' ], qr/^refused: .*"small".* is locked until 20\d\d-/, 'a server that does not remove what is locked');
like(suite_ok(\%url, [ 'removeall', 'x', 2 ], 'several'), qr/^gone 0, locked 2/m, 'they are counted as locked');
suite_ok({ %url, OMB_CLOUD_URL => url('locked', 'suite') }, [ 'put', 'free', 10 ], 'an object without lock');
suite_fails(\%url, [ 'remove', 'free' ], qr/^failed: .*403 AccessDenied.*\nhint: The key needs s3:DeleteObject/, 'a right that is missing');
with_rules('status=403:AccessDenied method=PUT');
suite_fails(\%url, [ 'put', 'new', 10 ], qr/\nhint: The key needs s3:PutObject and s3:PutObjectRetention/, 'the rights to store and to lock');
with_rules();

# ---- a bucket without locks ----

my $repo = new_repository('lock');
my $node = new_node('main', $repo, conf => "autovacuum = off\nomsupply_backup.jobs = 1\n");
$node->safe_psql('postgres', q{CREATE TABLE t AS SELECT n, md5(n::text) AS a FROM generate_series(1, 10000) n});
$node->safe_psql('postgres', q{SELECT backup_now('first')});
my ($status, $out, $err) = program($repo, 'mirror', '--to', url('plain', 'p', $lock));
is($status, 1, 'a bucket without object lock is refused');
like($err, qr/object lock enabled/, 'it says why');
sub probe
{
	my ($url) = @_;
	my ($s, $o, $e) = program(undef, 'mirror', '--probe', '--to', $url, '--json');
	return ($s, { map { $_->{operation} => $_ } @{ decode_json($o) } });
}
my ($probed, $rows) = probe(url('plain', 'p', $lock));
is($rows->{'object lock'}{result}, 'error', 'a probe finds that, too');
like($rows->{'object lock'}{hint}, qr/object lock enabled/, 'with a hint');
is($probed, 1, 'it fails');
($probed, $rows) = probe(url('plain', 'p'));
is($probed, 0, 'without locks that bucket is good');
like($rows->{'object lock'}{found}, qr/does not lock objects/, 'and it is told that it has none');
ok(!$rows->{lifecycle}, 'nor versions');
($probed, $rows) = probe(url('locked', 'p'));
like($rows->{'object lock'}{found}, qr/can lock objects/, 'that locks are to be had is told');

# ---- rights ----

# the policy that the probe prints is enough
my $to = url('locked', 'server one', $lock);
($probed, $rows) = probe($to);
is($probed, 0, 'a bucket with locks') or diag(join "\n", map { "$_->{operation} $_->{found} $_->{hint}" } values %$rows);
like($rows->{'object lock'}{found}, qr/locked for 30 days \(governance\)/, 'that objects are locked is told');
my $lifecycle = decode_json($rows->{lifecycle}{found});
is($lifecycle->{Rules}[0]{Filter}{Prefix}, 'server one/', 'with a rule for what was removed');
sub allow
{
	my ($rows, @denied) = @_;
	my $policy = decode_json($rows->{policy}{found});
	# who has stored an object may do all with it, as this server sees it
	push @{ $policy->{Statement} }, { Effect => 'Deny', Action => \@denied, Resource => 'arn:aws:s3:::locked/*' } if @denied;
	$_->{Principal} = { AWS => ['arn:aws:iam:::user/guest'] } for @{ $policy->{Statement} };
	unlink "$base/policy";
	append_to_file("$base/policy", encode_json($policy));
	suite_ok({}, [ 'policy', "$base/policy" ], 'the policy that is printed');
	return;
}
my $guest = write_private("$base/guest", 'access_key_id=GUESTGUESTGUESTGUEST', "secret_access_key=$ENV{OMB_S3_SECRET_ACCESS_KEY}");
allow($rows);
{
	local $ENV{OMSUPPLY_BACKUP_CREDENTIALS} = $guest;
	my ($s, $found) = probe($to);
	is($s, 0, 'is enough') or diag(join "\n", map { "$_->{operation} $_->{found} $_->{hint}" } grep { $_->{result} ne 'ok' } values %$found);
	is($found->{'object lock'}{result}, 'ok', 'for locks, too');
}
my ($no, $unlocked) = probe(url('locked', 'server one'));
allow($unlocked, 's3:PutObjectRetention');
{
	local $ENV{OMSUPPLY_BACKUP_CREDENTIALS} = $guest;
	my ($s, $found) = probe($to);
	is($found->{'object lock'}{result}, 'error', 'the policy without locks is not');
	like($found->{'object lock'}{hint}, qr/s3:PutObjectRetention/, 'it says which right is missing');
}

# ---- a target of the server ----

sub sql { return $node->safe_psql('postgres', $_[0]) }
for my $wrong ([ 'object-lock=governance', 'together' ], [ 'object-lock=no&lock-days=3', 'governance or compliance' ],
	[ 'object-lock=governance&lock-days=9999', '2 to 3650' ])
{
	my ($s, $o, $e) = $node->psql('postgres', "INSERT INTO backup_target (name, url) VALUES ('x', 's3://bucket/p?$wrong->[0]')");
	like($e, qr/$wrong->[1]/, "a target with $wrong->[0] is refused");
}
my $plain = url('plain', 'server one', $lock);
sql(qq{INSERT INTO backup_target (name, url, credentials) VALUES ('cloud', '$plain', '$keys')});
ok($node->poll_query_until('postgres', q{SELECT state = 'blocked' FROM backup_target_status}), 'a bucket without locks blocks the target');
like(sql('SELECT last_error || hint FROM backup_target_status'), qr/object lock/, 'it says why');
# locks are asked for when a copy is there already
my $unsafe = url('locked', 'server one');
sub wait_complete
{
	my ($name) = @_;
	return ok($node->poll_query_until('postgres', q{SELECT state = 'ok' AND objects_waiting = 0 AND data_at_risk = '0' FROM backup_target_status}), $name)
	  || diag(sql('SELECT * FROM backup_target_status'));
}
sql(qq{UPDATE backup_target SET url = '$unsafe'});
wait_complete('a copy without locks');
my @names = map { $_->{name} } grep { !$_->{is_mark} && $_->{name} !~ m{/probe/} } versions('server one');
cmp_ok(scalar(@names), '>', 5, 'the copy has objects');
suite_fails({}, [ 'ask', 'GET', $names[0], 'retention=' ], qr/NoSuchObjectLockConfiguration|ObjectLockConfigurationNotFoundError/, 'they are not locked');
# where they cannot be had, new WAL is copied as always
with_rules('status=403:AccessDenied method=PUT path=retention times=1000000');
my $refusing = url('locked', 'server one', $lock, $port);
sql(qq{UPDATE backup_target SET url = '$refusing'});
ok($node->poll_query_until('postgres', q{SELECT state = 'failing' FROM backup_target_status}), 'locks that are refused are a failure');
like(sql('SELECT last_error || hint FROM backup_target_status'), qr/could not lock object.*s3:PutObjectRetention/s, 'it says which, and why');
for my $n (1 .. 3)
{
	wait_archived($node);
	my $archived = sql(q{SELECT last_archived_time FROM pg_stat_archiver});
	ok($node->poll_query_until('postgres', qq{SELECT state = 'failing' AND objects_waiting = 0 AND data_at_risk = '0'
		AND last_success_at >= '$archived' FROM backup_target_status}), "new WAL is copied as always ($n)")
	  || diag(sql('SELECT * FROM backup_target_status'));
}
with_rules();
sql(qq{UPDATE backup_target SET url = '$to'});
ok($node->poll_query_until('postgres', q{SELECT state = 'ok' FROM backup_target_status}), 'locks are asked for');
unlink grep { slurp_file($_) =~ /^last=0$/m } glob($repo->{dir} . '/cache/target-*-locked');
wait_complete('it is complete still');
sql(q{SELECT backup_now('second')});
wait_archived($node);
wait_complete('another backup');
my @files = glob($repo->{dir} . '/cache/target-*-locked');
is(scalar(@files), 1, 'what was done is remembered');
like(slurp_file($files[0]), qr/^began=0\nafter=\nlast=[1-9]/, 'all objects were looked at');
sql(q{DELETE FROM backup_target});
wait_archived($node);
sub present { return grep { !$_->{is_mark} && $_->{is_last} && $_->{name} !~ m{/probe/|/marks/pins/} } versions('server one') }
my @present = present();
cmp_ok(scalar(@present), '>', scalar(@names), 'more objects than before');
is_locked($_->{name}, 'GOVERNANCE', 30) for @present;

# ---- by hand: extended when it is time ----

with_rules();
my $through = url('locked', 'server one', $lock, $port);
my $result = decode_json(program_ok([ 'mirror', '--to', $through, '--json' ], 'a mirror that knows nothing of locks', $repo));
is($result->{objects_missing}, 0, 'nothing is missing');
is($result->{locks_extended}, 0, 'nothing has to be extended');
@present = present();
my $asked = () = requests() =~ /^GET \S*retention/mg;
is($asked, scalar(@present), 'each lock was looked at');
unlike(requests(), qr/^PUT \S*retention/m, 'and left alone');
with_rules();
program_ok([ 'mirror', '--to', $through ], 'once more', $repo);
unlike(requests(), qr/retention/, 'locks are not looked at each time');
my $longer = url('locked', 'server one', 'object-lock=governance&lock-days=90', $port);
with_rules('status=503:SlowDown method=PUT path=retention times=2');
$result = decode_json(program_ok([ 'mirror', '--to', $longer, '--json' ], 'longer locks, over a network that fails', $repo));
is($result->{locks_extended}, scalar(@present), 'all are extended');
is_locked($present[0]{name}, 'GOVERNANCE', 90);
my $shorter = url('locked', 'server one', 'object-lock=governance&lock-days=10', $port);
with_rules();
program_ok([ 'mirror', '--to', $shorter ], 'shorter locks', $repo);
unlike(requests(), qr/^PUT \S*retention/m, 'no lock is ever made shorter');
# cut short by an error it goes on where it was
my $compliance = url('locked', 'server one', 'object-lock=governance&lock-days=400', $port);
with_rules('status=403:AccessDenied method=PUT path=retention skip=3 times=1000');
($status, $out, $err) = program($repo, 'mirror', '--jobs', 1, '--to', $compliance);
is($status, 1, 'a right that was taken away');
like($err, qr/could not lock object.*s3:PutObjectRetention/s, 'it is named');
with_rules();
$result = decode_json(program_ok([ 'mirror', '--jobs', 1, '--to', $compliance, '--json' ], 'given back', $repo));
cmp_ok($result->{locks_extended}, '<=', @present - 3, 'it goes on where it was');
is_locked($_->{name}, 'GOVERNANCE', 400) for @present[ 0, -1 ];

# ---- retention: what is removed is kept until its lock has ended ----

my $sole = "$to&sole-user=yes";
$result = decode_json(program_ok([ 'expire', '--repository', $sole, '--keep-last', 1, '--json' ], 'expire in a bucket with locks', $repo));
is($result->{backups_dropped}, 1, 'a backup is removed');
is($result->{locked}, 0, 'nothing is in its way');
program_ok(['verify'], 'what is left verifies', { dir => $to, key => $repo->{key} });
my $wanted = fingerprint($node);
$node->stop('immediate');

# ---- somebody has the server's keys, and removes and replaces all ----

my @before = grep { $_->{is_last} && !$_->{is_mark} } versions('server one');
my $began = time;
for my $object (@before)
{
	my ($s, $o) = suite({}, 'ask', 'DELETE', $object->{name}, 'versionId=' . encode($object->{id}));
	like($o, qr/403 AccessDenied/, "$object->{name} cannot be removed for good") if $object->{name} !~ m{/marks/pins/|/probe/};
}
for my $object (@before)
{
	my ($s, $o) = suite({}, 'ask', 'DELETE', $object->{name}, '');
	is($s, 0, 'but with a mark') or diag($o);
}
my ($pack) = grep { $_->{name} =~ m{/packs/} } @before;
ask('PUT', $pack->{name}, '');
($status, $out, $err) = program({ dir => $to, key => $repo->{key} }, 'list');
is($status, 1, 'the copy is gone');
# the owner of the bucket takes away what came after that
my %first = map { $_->{name} => $_->{id} } @before;
for my $version (versions('server one'))
{
	next unless $first{ $version->{name} } && $version->{id} ne $first{ $version->{name} };
	next unless $version->{is_last} || $version->{is_mark};
	ask('DELETE', $version->{name}, 'versionId=' . encode($version->{id}));
}
# the object that was put there lay on a mark
for my $version (grep { $_->{is_last} && $_->{is_mark} && $first{ $_->{name} } } versions('server one'))
{
	ask('DELETE', $version->{name}, 'versionId=' . encode($version->{id}));
}
program_ok(['verify'], 'it is had back, whole', { dir => $to, key => $repo->{key} });
my $restored = restored_node('restored', { dir => $to, key => $repo->{key} });
start_restored($restored);
is(fingerprint($restored), $wanted, 'and is restored');
$restored->stop('immediate');
done_testing();
