# cutproxy.pl PORT-FILE UPSTREAM-PORT RULES LOG: passes bytes of connections on
# to a server on this machine, and cuts connections.
#
# RULES is a file of lines "action [times=N] [skip=N]". A connection takes the
# first that is left; it is used up after N connections. LOG gets a line with
# the action a connection, when that happens, or with how many bytes it took.
#
#   up=N     reset after N bytes from the client
#   down=N   reset after N bytes from the server
#   lost=N   after N bytes from the client pass on no answer any more, and reset
#            when the server is done with them
#   hang=N   after N bytes from the server pass on nothing, but stay there
use strict;
use warnings;
use Fcntl qw(:flock SEEK_SET);
use IO::Select;
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
	my $rule = take_rule();
	my $pid = fork;
	die "fork: $!" unless defined $pid;
	if ($pid == 0)
	{
		close $listener;
		serve($client, split /=/, $rule);
		exit 0;
	}
	close $client;
}

# The first rule that is left, which is counted as used.
sub take_rule
{
	my @kept;
	my $found;
	open my $f, '+<', $rules or return 'none=0';
	flock $f, LOCK_EX;
	for my $line (<$f>)
	{
		my ($action, @words) = split ' ', $line;
		next unless defined $action;
		my %o = map { split /=/, $_, 2 } @words;
		if (!defined $found && (!defined $o{times} || $o{times} > 0))
		{
			if (($o{skip} // 0) > 0) { $o{skip}--; $found = 'none=0'; }
			else { $o{times}-- if defined $o{times}; $found = $action; }
		}
		push @kept, join(' ', $action, map { "$_=$o{$_}" } sort keys %o) . "\n";
	}
	seek $f, 0, SEEK_SET;
	truncate $f, 0;
	print $f @kept;
	close $f;
	return $found // 'none=0';
}

sub note
{
	open my $f, '>>', $log or return;
	print $f "$_[0]\n";
	close $f;
	return;
}

sub reset_connection
{
	my ($socket, $what) = @_;
	note($what);
	setsockopt $socket, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0);
	close $socket;
	exit 0;
}

sub serve
{
	my ($client, $action, $limit) = @_;
	my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $upstream)
	  or reset_connection($client, 'refused');
	my $both = IO::Select->new($client, $server);
	my %seen = (up => 0, down => 0);
	my $silent = 0;
	while (1)
	{
		# a server that has nothing more to say is done
		my @ready = $both->can_read($silent && $action eq 'lost' ? 0.5 : undef);
		reset_connection($client, "$action=$limit") unless @ready;
		for my $from (@ready)
		{
			my ($direction, $to) = $from == $client ? ('up', $server) : ('down', $client);
			my $n = sysread $from, my $data, 65536;
			if (!$n)
			{
				note("end up=$seen{up} down=$seen{down}");
				exit 0;
			}
			$seen{$direction} += $n;
			if ($action eq $direction && $seen{$direction} >= $limit)
			{
				syswrite $to, substr($data, 0, $n - ($seen{$direction} - $limit));
				reset_connection($client, "$action=$limit");
			}
			if (   !$silent
				&& ($action eq 'lost' && $seen{up} >= $limit || $action eq 'hang' && $seen{down} >= $limit))
			{
				$silent = 1;
				note("$action=$limit") if $action eq 'hang';
			}
			next if $silent && $direction eq 'down';
			next if $silent && $action eq 'hang';
			while (length $data)
			{
				my $sent = syswrite($to, $data) // exit 0;
				substr $data, 0, $sent, '';
			}
		}
	}
	return;
}
