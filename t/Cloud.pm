# Cloud.pm: what the tests of stores on other machines share: the program
# cloudsuite, a proxy that fails, and losing a machine whose repository is mirrored.
package Cloud;

use strict;
use warnings;

use Exporter 'import';
use File::Path qw(rmtree);
use FindBin ();
use IPC::Run ();
use JSON::PP ();
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(suite suite_ok suite_fails write_file write_private start_proxy with_rules
  requests failures_pass failures_end removes_side_by_side new_machine mirror_to lose_machine
  machine_comes_back mirror_and_lose encode);

# environment of the suite, and texts that nothing may show
our %server;
our @secrets;

my ($proxy, $rules, $log);

# A new file that nobody else may read.
sub write_file
{
	my ($path, $content) = @_;
	unlink $path;
	append_to_file($path, $content);
	chmod 0600, $path or die "$path: $!";
	return $path;
}

sub write_private { my ($path, @lines) = @_; return write_file($path, join '', map { "$_\n" } @lines) }

sub encode { my ($text) = @_; $text =~ s/([^A-Za-z0-9_.~-])/sprintf '%%%02X', ord $1/ge; return $text }

# Run cloudsuite; returns exit status and what it says.
sub suite
{
	my ($other, @args) = @_;
	my $out = '';
	my %with = (%ENV, %server, %$other);
	delete $with{$_} for grep { !defined $with{$_} } keys %with;
	local %ENV = %with;
	my $h = IPC::Run::start([ "$ENV{OMB_BIN}/cloudsuite", @args ], '<', \undef, '>&', \$out, IPC::Run::timeout(180));
	IPC::Run::finish($h);
	for my $secret (@secrets)
	{
		fail('a secret is shown') if index($out, $secret) >= 0;
	}
	return ($? & 127 ? 'signal ' . ($? & 127) : $? >> 8, $out);
}

sub suite_ok
{
	my ($other, $args, $name) = @_;
	my ($status, $out) = suite($other, @$args);
	is($status, 0, $name) or diag($out);
	return $out;
}

sub suite_fails
{
	my ($other, $args, $pattern, $name) = @_;
	my ($status, $out) = suite($other, @$args);
	is($status, 1, "$name: it fails");
	like($out, $pattern, "$name: it says why");
	return $out;
}

# ---- a network that fails ----

# A proxy in front of a port; returns its own. The rules are those of the script.
sub start_proxy
{
	my ($base, $upstream, $script) = @_;
	($rules, $log) = ("$base/rules", "$base/log");
	with_rules();
	$proxy = IPC::Run::start([ $^X, "$FindBin::RealBin/" . ($script // 'faultproxy.pl'), "$base/port", $upstream, $rules, $log ],
		'<', \undef, '>', '/dev/null');
	for (1 .. 600) { last if -e "$base/port"; usleep(50_000); }
	return slurp_file("$base/port");
}
END { my $status = $?; $proxy->kill_kill if $proxy; $? = $status }

# Changed in place: the proxy may hold the files.
sub with_rules
{
	my (@lines) = @_;
	for my $content ([ $rules, join '', map { "$_\n" } @lines ], [ $log, '' ])
	{
		open my $f, '>', $content->[0] or die $!;
		print $f $content->[1];
		close $f;
	}
	return;
}

# The requests that were made, a line each.
sub requests { return slurp_file($log) }

my $n = 0;

# What passes leaves no trace but the time it took. A case is a rule, an action
# of the suite and a size.
sub failures_pass
{
	my ($through, @cases) = @_;
	for my $case (@cases)
	{
		my ($rule, $action, $bytes) = @$case;
		my $name = $action =~ /put|remove/ ? 'new' . ++$n : 'whole';
		with_rules();
		suite_ok($through, [ 'put', $name, $bytes ], 'an object to be removed') if $action eq 'remove';
		with_rules($rule);
		suite_ok({ %$through, OMB_CLOUD_STALL => 2 }, [ $action, $name, $bytes ], "$action of $bytes bytes, $rule");
		my ($word) = $rule =~ /^(\S+)/;
		like(requests(), qr/ \Q$word\E$/m, 'that did happen');
		with_rules();
		suite_ok($through, [ 'get', $name, $bytes ], 'it is whole') if $action eq 'put';
		suite_fails($through, [ 'get', $name, $bytes ], qr/^not_found/, 'it is gone') if $action eq 'remove';
	}
	return;
}

# What does not pass is given up, in words, with nothing stored. A case has the
# words too.
sub failures_end
{
	my ($through, @cases) = @_;
	for my $case (@cases)
	{
		my ($rule, $action, $bytes, $pattern) = @$case;
		my $name = $action eq 'put' ? 'not' . ++$n : 'whole';
		with_rules($rule);
		suite_fails({ %$through, OMB_CLOUD_STALL => 2 }, [ $action, $name, $bytes ], $pattern, "$action of $bytes bytes, $rule");
		cmp_ok(scalar(split /\n/, requests()), '<', 20, 'it does not spin');
		with_rules();
		suite_fails($through, [ 'get', $name, $bytes ], qr/^not_found/, 'nothing was stored') if $action eq 'put';
	}
	return;
}

# A store that takes a request for each object: where \%through goes through the
# proxy, they go side by side, and what is not removed is told.
sub removes_side_by_side
{
	my ($through) = @_;
	suite_ok({}, [ 'put', "x$_", 1 ], "object $_") for 0 .. 39;
	with_rules('delay=1000 method=DELETE times=1000');
	my $start = time;
	like(suite_ok($through, [ 'removeall', 'x', 42 ], 'many are removed'), qr/^gone 42, locked 0, of 42$/m, 'all of them, and two that were not there');
	cmp_ok(time - $start, '<', 35, 'they do not wait for each other');
	is(scalar(() = requests() =~ /^DELETE/mg), 42, 'by a request for each');
	with_rules('status=403:Refused method=DELETE times=1000');
	suite_ok({}, [ 'put', "x$_", 1 ], "object $_") for 0 .. 1;
	suite_fails($through, [ 'removeall', 'x', 2 ], qr/could not remove object "x\d".*403 Refused/, 'some that may not be removed');
	with_rules();
	suite_ok({}, [ 'removeall', 'x', 2 ], 'the next time they are');
	return;
}

# ---- losing a machine ----

# A server with a table t and a backup "first"; returns its node, its
# repository and a file with the recovery code.
sub new_machine
{
	my ($base) = @_;
	my $repo = { dir => "$base/repository", key => "$base/key" };
	my ($status, $out, $err) = program(undef, 'init', '--repository', $repo->{dir}, '--key-file', $repo->{key});
	my ($code) = $out =~ /^Recovery code:\s+(\S+)$/m;
	ok($code, 'a repository') or diag($err);
	my $node = new_node('main', $repo, conf => "autovacuum = off\nomsupply_backup.jobs = 1\n");
	$node->safe_psql('postgres', q{CREATE TABLE t AS SELECT n, md5(n::text) AS a FROM generate_series(1, 20000) n});
	$node->safe_psql('postgres', q{SELECT backup_now('first')});
	return ($node, $repo, write_private("$base/code", $code));
}

# Mirror; it works. Returns what it tells.
sub mirror_to
{
	my ($name, $repo, $to, $credentials, @options) = @_;
	local $ENV{OMSUPPLY_BACKUP_CREDENTIALS} = $credentials;
	my ($status, $out, $err) = program($repo, 'mirror', '--to', $to, '--json', @options);
	is($status, 0, $name) or diag($err);
	for my $secret (@secrets) { ok(index("$out$err", $secret) < 0, 'no secret is shown'); }
	return $out eq '' ? {} : JSON::PP::decode_json($out);
}

# Lose all but the target, its credentials and the recovery code; returns what
# must come back.
sub lose_machine
{
	my ($node, $repo) = @_;
	my $wanted = fingerprint($node);
	$node->stop('immediate');
	rmtree($node->data_dir);
	rmtree($repo->{dir});
	unlink $repo->{key};
	return $wanted;
}

# It is restored from a target, or from $shaky, which is the same.
sub machine_comes_back
{
	my ($wanted, $code, $target, $credentials, $shaky, @rules) = @_;
	my $key = "$code.new key";
	my ($status, $out, $err) =
	  program(undef, 'list', '--repository', $target, '--credentials', $credentials, '--recovery-code-file', $code);
	is($status, 0, 'the target is listed with the recovery code') or diag($err);
	like($out, qr/first.*second/s, 'with both backups');
	program_ok([ 'key', '--repository', $target, '--credentials', $credentials, '--recovery-code-file', $code, $key ], 'a new key file is made');
	with_rules(@rules);
	my $restored = restored_node('restored', { dir => $shaky // $target, key => $key }, '--credentials', $credentials);
	with_rules();
	my $conf = slurp_file($restored->data_dir . '/postgresql.auto.conf');
	like($conf, qr{--credentials ''\Q$credentials\E''}, 'the server is to fetch WAL from the target');
	for my $secret (@secrets) { ok(index($conf, $secret) < 0, 'with no secret in its settings'); }
	start_restored($restored);
	is(fingerprint($restored), $wanted, 'everything is as it was');
	prove_sound($restored, 'restored');
	return;
}

# Mirror to $shaky, through the proxy, and $direct; lose the machine; restore.
sub mirror_and_lose
{
	my ($base, $direct, $shaky, $credentials) = @_;
	my ($node, $repo, $code) = new_machine($base);

	with_rules('reset-up=100 times=2 method=PUT', 'lost-reply times=1 skip=2 method=PUT', 'status=503:ServerBusy times=3');
	my $result = mirror_to('it is mirrored over a network that fails', $repo, $shaky, $credentials);
	is($result->{backups_copied}, 1, 'the backup is there');
	$node->safe_psql('postgres', q{UPDATE t SET a = md5(a) WHERE n < 5000});
	wait_archived($node);
	my ($ps, $po, $pe) = program(undef, 'mirror', '--probe', '--to', $direct, '--credentials-to', $credentials, '--json');
	is($ps, 0, 'it has all permissions that are needed') or diag("$po$pe");
	is(scalar(grep { $_->{result} eq 'ok' && $_->{operation} ne 'object lock' } @{ JSON::PP::decode_json($po) }), 11, 'each was tried, and is told');
	with_rules('status=403:Refused method=PUT times=1000');
	my $err = program_fails([ 'mirror', '--to', $shaky, '--credentials-to', $credentials ],
		1, qr/not complete|given up/, 'a target that refuses makes it fail', $repo);
	for my $secret (@secrets) { ok(index($err, $secret) < 0, 'no secret is shown'); }
	with_rules();
	$node->safe_psql('postgres', q{SELECT backup_now('second')});
	$node->safe_psql('postgres', q{INSERT INTO t VALUES (-1, 'last')});
	wait_archived($node);
	$result = mirror_to('the last mirror', $repo, $direct, $credentials);
	is($result->{objects_missing}, 0, 'nothing is missing');
	mirror_to('the copy is as it should be', $repo, $direct, $credentials, '--check', '--sample', 100);

	# the server does it by itself
	my $own = $direct =~ s/server one/server two/r;
	$node->safe_psql('postgres', "INSERT INTO backup_target (name, url, credentials) VALUES ('cloud', '$own', '$credentials')");
	ok($node->poll_query_until('postgres',
		q{SELECT state = 'ok' AND objects_waiting = 0 AND data_at_risk = '0' FROM backup_target_status WHERE name = 'cloud'}),
		'the server mirrors there by itself');
	$node->safe_psql('postgres', q{DELETE FROM backup_target});
	($ps, $po, $pe) = program({ dir => $own, key => $repo->{key} }, 'verify', '--credentials', $credentials);
	is($ps, 0, 'that copy verifies') or diag("$po$pe");

	my $wanted = lose_machine($node, $repo);
	machine_comes_back($wanted, $code, $direct, $credentials, $shaky, 'reset-down=30000 times=3 method=GET',
		'status=503:ServerBusy times=3 method=GET');
	return;
}

1;
