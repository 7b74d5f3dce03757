# metadataserver.pl PORT-FILE STATE LOG: the servers from which programs get
# temporary keys of Amazon: a machine's metadata service, a container's server
# and the Security Token Service, as their descriptions tell.
#
# STATE is a file of lines "name=value", read for each request: id, secret,
# seconds (until the keys expire), broken (a path that answers nonsense), gone
# (a path that answers 404). Each answer has another session token. LOG gets a
# line "METHOD path" a request, or "METHOD path refused".
use strict;
use warnings;
use IO::Socket::INET;
use POSIX qw(strftime);

my ($port_file, $state_file, $log) = @ARGV;
$SIG{PIPE} = 'IGNORE';
my $listener = IO::Socket::INET->new(Listen => 16, LocalAddr => '127.0.0.1', LocalPort => 0, ReuseAddr => 1) or die "listen: $!";
open my $out, '>', "$port_file.new" or die "$port_file: $!";
print $out $listener->sockport;
close $out;
rename "$port_file.new", $port_file or die "$port_file: $!";

my $answers = 0;
my %tokens;
while (my $client = $listener->accept)
{
	my ($line, %header) = (scalar <$client> // '');
	my ($method, $path) = split / /, $line;
	while (defined(my $h = <$client>))
	{
		last if $h =~ /^\r?\n$/;
		$header{ lc $1 } = $2 if $h =~ /^([^:]+): *(.*?)\r?\n/;
	}
	my $body = '';
	read $client, $body, $header{'content-length'} if $header{'content-length'};
	next unless defined $path;
	my %state;
	open my $f, '<', $state_file or die "$state_file: $!";
	while (<$f>) { $state{$1} = $2 if /^(\w+)=(.*)$/; }
	close $f;
	my ($status, $text) = answer($method, $path, $body, \%header, \%state);
	open my $l, '>>', $log or die "$log: $!";
	print $l "$method $path", ($status >= 400 ? ' refused' : ''), "\n";
	close $l;
	print $client "HTTP/1.1 $status Answer\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: ",
	  length($text), "\r\n\r\n", $text;
	close $client;
}

sub answer
{
	my ($method, $path, $body, $header, $state) = @_;
	my $expires = strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(time + ($state->{seconds} || 3600)));
	my $json = sub {
		return qq({"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"$state->{id}","SecretAccessKey":"$state->{secret}",)
		  . qq("Token":"session-) . ++$answers . qq(","Expiration":"$expires"});
	};
	my $roles = '/latest/meta-data/iam/security-credentials/';
	return (404, 'not here') if ($state->{gone} // '') eq $path;
	return (200, '{"Code":"Success","AccessKeyId":"x"') if ($state->{broken} // '') eq $path;
	if ($method eq 'PUT' && $path eq '/latest/api/token')
	{
		return (400, 'no time') unless ($header->{'x-aws-ec2-metadata-token-ttl-seconds'} // 0) > 0;
		my $token = 'metadata-token-' . keys %tokens;
		$tokens{$token} = 1;
		return (200, $token);
	}
	if ($path =~ /^\Q$roles\E/)
	{
		return (401, 'no token') unless $tokens{ $header->{'x-aws-ec2-metadata-token'} // '' };
		return (200, "backup-role\n") if $path eq $roles;
		return (200, $json->()) if $path eq "${roles}backup-role";
	}
	if ($path eq '/container')
	{
		return (403, 'who?') unless ($header->{authorization} // '') eq 'let-me-in';
		return (200, $json->());
	}
	if ($method eq 'POST' && $path eq '/sts')
	{
		my %form = map { my ($n, $v) = split /=/, $_, 2; $v =~ s/%(..)/chr hex $1/ge; ($n => $v) } split /&/, $body;
		return (403, '<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>who is that</Message></Error></ErrorResponse>')
		  unless $form{Action} eq 'AssumeRoleWithWebIdentity' && $form{Version} eq '2011-06-15'
		  && $form{WebIdentityToken} eq 'header.claim.signature' && $form{RoleArn} eq 'arn:aws:iam::1:role/backup'
		  && $form{RoleSessionName};
		return (200, '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
			  . '<AssumeRoleWithWebIdentityResult><AssumedRoleUser><Arn>x</Arn></AssumedRoleUser><Credentials>'
			  . "<AccessKeyId>$state->{id}</AccessKeyId><SecretAccessKey>$state->{secret}</SecretAccessKey>"
			  . '<SessionToken>session-' . ++$answers . "</SessionToken><Expiration>$expires</Expiration>"
			  . '</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>');
	}
	return (404, 'not found');
}
