# faultproxy.pl PORT-FILE UPSTREAM-PORT RULES LOG: an HTTP proxy in front of a
# server on this machine that does to requests what networks and servers do.
#
# RULES is a file of lines "action [times=N] [skip=N] [method=RE] [path=RE]
# [from=N] [longer=N]", the last two for reads that begin at byte N or behind it,
# and for reads of more bytes. The first that matches a request is applied, and is
# used up after N times; the rest goes through. LOG gets a line "METHOD path
# action" a request, and LOG.bytes, where somebody has made it, a line "METHOD
# path bytes" for what was sent of an answer's body.
#
#   status=503:SlowDown  answer that, with an error body
#   inner=InternalError  answer 200 with an error body
#   redirect=REGION      301 with the header x-amz-bucket-region
#   reset-up=N           reset after N bytes of the request's body
#   reset-down=N         reset after N bytes of the answer's body
#   truncate=N           end the connection in order after N bytes of it
#   lost-reply           the server does it, and its answer is lost
#   plain                answer 501 when If-None-Match is asked for
#   wrong-range          answer a read with bytes from another place
#   hang=S               no answer for S seconds, then a reset, when LOG gets a
#                        line "METHOD path hung"
#   rate=N               send N bytes of the answer's body a second
#   delay=MS             wait before forwarding
#   garbage              answer what is not HTTP
use strict;
use warnings;
use Fcntl qw(:flock SEEK_SET);
use IO::Socket::INET;
use Socket;

my ($port_file, $upstream, $rules, $log) = @ARGV;
$SIG{CHLD} = 'IGNORE';
$SIG{PIPE} = 'IGNORE';

my $listener = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1', LocalPort => 0, ReuseAddr => 1)
  or die "listen: $!";
open my $out, '>', "$port_file.new" or die "$port_file: $!";
print $out $listener->sockport;
close $out;
rename "$port_file.new", $port_file or die "$port_file: $!";

while (1)
{
	my $client = $listener->accept or next;
	my $pid = fork;
	die "fork: $!" unless defined $pid;
	if ($pid == 0)
	{
		close $listener;
		serve($client);
		exit 0;
	}
	close $client;
}

# The first rule for this request, which is counted as used.
sub take_rule
{
	my ($method, $path, $conditional, $from, $length) = @_;
	my @kept;
	my $found = '';
	open my $f, '+<', $rules or return '';
	flock $f, LOCK_EX;
	for my $line (<$f>)
	{
		my ($action, @words) = split ' ', $line;
		next unless defined $action;
		my %o = map { split /=/, $_, 2 } @words;
		if (  !$found
			&& (!defined $o{times} || $o{times} > 0)
			&& (!defined $o{from} || $from >= $o{from})
			&& (!defined $o{longer} || $length > $o{longer})
			&& (!defined $o{method} || $method =~ /$o{method}/)
			&& (!defined $o{path} || $path =~ /$o{path}/)
			&& ($action ne 'plain' || $conditional))
		{
			if ($o{skip}) { $o{skip}-- }
			else
			{
				$found = $action;
				$o{times}-- if defined $o{times};
			}
			$line = join(' ', $action, map { "$_=$o{$_}" } sort keys %o) . "\n";
		}
		push @kept, $line;
	}
	seek $f, 0, SEEK_SET;
	truncate $f, 0;
	print $f @kept;
	close $f;
	note($log, $method, $path, $found);
	return $found;
}

sub note
{
	my ($file, @words) = @_;
	open my $l, '>>', $file or die "$file: $!";
	flock $l, LOCK_EX;
	print $l "@words\n";
	close $l;
	return;
}

# Count what the client gets.
sub note_bytes
{
	note("$log.bytes", @_) if -e "$log.bytes";
	return;
}

sub reset_connection
{
	my ($socket) = @_;
	setsockopt $socket, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0);
	close $socket;
	exit 0;
}

# The head of a message, up to the empty line; undef at the end.
sub read_head
{
	my ($socket) = @_;
	my $head = '';
	while (my $line = <$socket>)
	{
		$head .= $line;
		return $head if $line =~ /^\r?\n$/;
	}
	return undef;
}

# A whole body; answers may come in chunks.
sub read_body
{
	my ($socket, $head) = @_;
	my $body = '';
	if ($head =~ /^transfer-encoding: *chunked/mi)
	{
		while (1)
		{
			my $line = <$socket>;
			last unless defined $line;
			$body .= $line;
			my ($digits) = $line =~ /^([0-9a-f]+)/i;
			my $left = hex($digits // 0);
			my $chunk = '';
			$left && read $socket, $chunk, $left;
			$body .= $chunk . (<$socket> // '');
			last unless $left;
		}
	}
	elsif ($head =~ /^content-length: *(\d+)/mi)
	{
		read $socket, $body, $1 if $1 > 0;
	}
	return $body;
}

sub answer
{
	my ($client, $method, $status, $body, @headers) = @_;
	print $client join("\r\n", "HTTP/1.1 $status", 'Content-Type: application/xml', @headers,
		'Content-Length: ' . length($body), '', '') . ($method eq 'HEAD' ? '' : $body);
	return;
}

sub error_body
{
	my ($code) = @_;
	return qq{<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>$code</Code><Message>by the proxy</Message></Error>};
}

sub serve
{
	my ($client) = @_;
	my $server;
	binmode $client;
	$client->autoflush(1);
	while (defined(my $head = read_head($client)))
	{
		my ($method, $path) = $head =~ /^(\S+) (\S+)/;
		my ($from, $to) = $head =~ /^range: *bytes=(\d+)-(\d+)/mi;
		$from //= 0;
		my ($action, $arg) =
		  split /=/, take_rule($method, $path, scalar($head =~ /^if-none-match:/mi), $from, defined $to ? $to - $from + 1 : 0), 2;
		$action //= '';
		if ($action eq 'reset-up')
		{
			my ($length) = $head =~ /^content-length: *(\d+)/mi;
			my $some;
			read $client, $some, $arg < ($length // 0) ? $arg : $length // 0;
			reset_connection($client);
		}
		my $body = read_body($client, $head);
		if ($action eq 'status')
		{
			my ($status, $code) = split /:/, $arg, 2;
			answer($client, $method, "$status $code", error_body($code), $status == 503 ? 'Retry-After: 1' : ());
			next;
		}
		if ($action eq 'inner') { answer($client, $method, '200 OK', error_body($arg)); next; }
		if ($action eq 'plain') { answer($client, $method, '501 Not Implemented', error_body('NotImplemented')); next; }
		if ($action eq 'redirect')
		{
			answer($client, $method, '301 Moved', error_body('PermanentRedirect'), "x-amz-bucket-region: $arg");
			next;
		}
		if ($action eq 'garbage') { print $client "SSH-2.0-this is not HTTP\r\n\r\n"; close $client; return; }
		if ($action eq 'hang') { sleep $arg; note($log, $method, $path, 'hung'); reset_connection($client); }
		select undef, undef, undef, $arg / 1000 if $action eq 'delay';

		$server ||= IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $upstream) or return;
		$server->autoflush(1);
		binmode $server;
		print $server $head, $body;
		my $got = read_head($server);
		return unless defined $got;
		$got =~ s/^(content-range: bytes )\d+-/${1}7-/mi if $action eq 'wrong-range';
		my $none = $method eq 'HEAD' || $got =~ /^HTTP\S+ (204|304)/;
		my $content = $none ? '' : read_body($server, $got);
		reset_connection($client) if $action eq 'lost-reply';
		if ($action eq 'reset-down' || $action eq 'truncate')
		{
			print $client $got, substr($content, 0, $arg);
			note_bytes($method, $path, $arg < length $content ? $arg : length $content);
			# what was sent has to arrive before the reset
			select undef, undef, undef, 0.2 if $action eq 'reset-down';
			reset_connection($client) if $action eq 'reset-down';
			close $client;
			return;
		}
		print $client $got;
		my $step = $action eq 'rate' ? int($arg / 10) : length $content;
		for (my $at = 0; $at < length $content; $at += $step)
		{
			select undef, undef, undef, 0.1 if $action eq 'rate';
			print $client substr($content, $at, $step);
		}
		note_bytes($method, $path, length $content);
		return if $got =~ /^connection: *close/mi;
	}
	return;
}
