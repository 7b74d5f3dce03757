# slowproxy.pl PORT-FILE UPSTREAM-PORT BYTES-PER-SECOND: passes connections on to a
# server on this machine, no faster than that all together.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(sleep time);

my ($port_file, $upstream, $rate) = @ARGV;
$SIG{PIPE} = 'IGNORE';
my $listener = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1', LocalPort => 0, ReuseAddr => 1) or die "listen: $!";
open my $out, '>', "$port_file.new" or die "$port_file: $!";
print $out $listener->sockport;
close $out;
rename "$port_file.new", $port_file or die "$port_file: $!";

my $select = IO::Select->new($listener);
my %peer;
my $free = time;
while (1)
{
	for my $socket ($select->can_read(1))
	{
		if ($socket == $listener)
		{
			my $client = $listener->accept or next;
			my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $upstream) or (close $client, next);
			($peer{$client}, $peer{$server}) = ($server, $client);
			$select->add($client, $server);
			next;
		}
		my $other = $peer{$socket} or next;
		if (sysread($socket, my $bytes, 4096))
		{
			# what is passed on now keeps the line busy for a while
			$free = time if $free < time;
			$free += length($bytes) / $rate;
			print $other $bytes;
			$other->flush;
			my $wait = $free - time;
			sleep($wait) if $wait > 0;
		}
		else
		{
			$select->remove($socket, $other);
			delete @peer{ $socket, $other };
			close $_ for $socket, $other;
		}
	}
}
