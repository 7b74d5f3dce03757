# gcsserver.pl DIR: the part of Google Cloud Storage's XML API that stores and
# restores use, and the server that gives tokens, as their public description
# tells. It is strict: what is not signed as described, not known, or contradicts
# itself is refused. Objects are in memory. It listens on a free port of
# 127.0.0.1, which DIR/port tells. In DIR are
#
#   accounts    lines "id secret may": HMAC keys; may is "write" or "read"
#   public.pem  of the service account svc@test.example, key id key-1
#   control     lines "what value", read at each request:
#                 clock N      the server's clock is N seconds ahead
#                 keep N       keep no more than N new bytes of a part (once)
#                 lifetime N   of tokens that are given, in seconds
#                 locked 1      a retention policy keeps objects from being removed
#                 revoke 1     forget all tokens (once)
#   tokens      a line for each token that was given
use strict;
use warnings;
use Digest::CRC qw(crc);
use Digest::MD5 qw(md5_hex);
use Digest::SHA qw(hmac_sha256 hmac_sha256_hex sha256_hex);
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use MIME::Base64 qw(decode_base64 encode_base64);
use POSIX qw(strftime);

my ($dir) = @ARGV;
my %bucket = (test => {}, mirror => {});
my (%session, %token);
my $generation = 1000;
$SIG{PIPE} = 'IGNORE';

my %account;
for my $line (lines('accounts'))
{
	my ($id, $secret, $may) = split ' ', $line;
	$account{$id} = { secret => $secret, may => $may };
}

my $listener = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1', LocalPort => 0, ReuseAddr => 1) or die "listen: $!";
open my $out, '>', "$dir/port.new" or die $!;
print $out $listener->sockport;
close $out;
rename "$dir/port.new", "$dir/port" or die $!;

my $select = IO::Select->new($listener);
my %client;
while (1)
{
	for my $socket ($select->can_read)
	{
		if ($socket == $listener)
		{
			my $new = $listener->accept or next;
			binmode $new;
			$select->add($new);
			$client{$new} = { buffer => '' };
			next;
		}
		my $c = $client{$socket};
		my $got = sysread $socket, $c->{buffer}, 1 << 20, length $c->{buffer};
		if (!$got || !take_requests($socket, $c))
		{
			$select->remove($socket);
			delete $client{$socket};
			close $socket;
		}
	}
}

sub lines
{
	my ($name) = @_;
	open my $f, '<', "$dir/$name" or return;
	my @lines = <$f>;
	chomp @lines;
	return @lines;
}

# What the test wants; with once it is forgotten.
sub control
{
	my ($what, $once) = @_;
	my @all = lines('control');
	my ($line) = grep { /^\Q$what\E / } @all;
	return undef unless defined $line;
	if ($once)
	{
		open my $f, '>', "$dir/control" or die $!;
		print $f map { "$_\n" } grep { $_ ne $line } @all;
		close $f;
	}
	return (split ' ', $line)[1];
}

sub now { return time + (control('clock') // 0) }

# All whole requests that have come; false when the connection is to end.
sub take_requests
{
	my ($socket, $c) = @_;
	while (1)
	{
		if (!$c->{request})
		{
			my $end = index $c->{buffer}, "\r\n\r\n";
			return length $c->{buffer} < 65536 if $end < 0;
			my ($first, @lines) = split /\r\n/, substr($c->{buffer}, 0, $end);
			$c->{buffer} = substr $c->{buffer}, $end + 4;
			my ($method, $target) = $first =~ m{^([A-Z]+) (/\S*) HTTP/1\.1$} or return 0;
			my %header;
			for (@lines)
			{
				my ($name, $value) = /^([^:\s]+):\s*(.*?)\s*$/ or return 0;
				return 0 if exists $header{ lc $name };
				$header{ lc $name } = $value;
			}
			my ($path, $query) = split /\?/, $target, 2;
			$c->{request} = { method => $method, path => $path, query => $query // '', header => \%header };
		}
		my $r = $c->{request};
		my $length = $r->{header}{'content-length'} // 0;
		return 1 if length $c->{buffer} < $length;
		$r->{body} = substr $c->{buffer}, 0, $length, '';
		delete $c->{request};
		my ($status, $body, %more) = handle($r);
		my $text = join "\r\n", "HTTP/1.1 $status", 'Date: ' . strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime now()),
		  (map { "$_: $more{$_}" } sort keys %more), ($more{'Content-Length'} ? () : 'Content-Length: ' . length $body), '', '';
		$text .= $body unless $r->{method} eq 'HEAD';
		my $at = 0;
		while ($at < length $text)
		{
			my $sent = syswrite $socket, $text, length($text) - $at, $at;
			return 0 unless defined $sent;
			$at += $sent;
		}
	}
}

sub failure
{
	my ($status, $code, $text) = @_;
	$text //= 'so it is';
	return ($status, "<?xml version='1.0' encoding='UTF-8'?><Error><Code>$code</Code><Message>$text</Message></Error>",
		'Content-Type' => 'application/xml');
}

sub decode { my ($text) = @_; $text =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge; return $text }
sub encode { my ($text) = @_; $text =~ s/([^A-Za-z0-9_.~-])/sprintf '%%%02X', ord $1/ge; return $text }

sub handle
{
	my ($r) = @_;
	my ($h, $method) = ($r->{header}, $r->{method});
	return give_token($r) if $r->{path} eq '/token';
	my %query;
	my $before = '';
	for (split /&/, $r->{query})
	{
		my ($name, $value) = split /=/, $_, 2;
		return failure('400 Bad Request', 'InvalidQueryParameter', 'not sorted') if $name lt $before || exists $query{$name};
		$before = $name;
		$query{$name} = decode($value // '');
	}
	return use_session($r, \%query) if exists $query{upload_id};
	my ($may, @refused) = who($r);
	return @refused if @refused;
	return failure('403 Forbidden', 'AccessDenied', 'the account may not') if $may ne 'write' && $method !~ /^(GET|HEAD)$/;

	my ($name, $object) = $r->{path} =~ m{^/([a-z0-9._-]+)(?:/(.+))?$} or return failure('400 Bad Request', 'InvalidURI');
	my $b = $bucket{$name} or return failure('404 Not Found', 'NoSuchBucket', 'The specified bucket does not exist.');
	if (!defined $object)
	{
		return list($b, \%query) if $method eq 'GET';
		return failure('405 Method Not Allowed', 'MethodNotAllowed');
	}
	$object = decode($object);
	return failure('400 Bad Request', 'InvalidQueryParameter') if %query;
	my $o = $b->{$object};
	if ($method eq 'PUT' || $method eq 'POST')
	{
		return failure('400 Bad Request', 'InvalidArgument', 'if-none-match') if defined $h->{'if-none-match'};
		return failure('411 Length Required', 'MissingContentLength') unless defined $h->{'content-length'};
		my $match = $h->{'x-goog-if-generation-match'};
		return failure('412 Precondition Failed', 'PreconditionFailed') if defined $match && $match ne ($o ? $o->{generation} : 0);
		my %new = (match => $match, map { $_ => $h->{$_} } grep { /^x-goog-(meta-|storage-class$)/ } keys %$h);
		return failure('400 Bad Request', 'InvalidStorageClass') if ($new{'x-goog-storage-class'} // 'STANDARD') !~ /^(STANDARD|NEARLINE)$/;
		if ($method eq 'PUT')
		{
			return failure('400 Bad Request', 'BadDigest') unless hash_fits($h, $r->{body});
			return create($b, $object, \%new, $r->{body});
		}
		return failure('400 Bad Request', 'InvalidArgument') if ($h->{'x-goog-resumable'} // '') ne 'start' || length $r->{body};
		my $id = sha256_hex(rand . $$ . $object);
		$session{$id} = { bucket => $b, object => $object, new => \%new, data => '' };
		return ('201 Created', '', Location => "http://$h->{host}$r->{path}?upload_id=$id");
	}
	return failure('404 Not Found', 'NoSuchKey', 'The specified key does not exist.') unless $o;
	if ($method eq 'DELETE')
	{
		return failure('403 Forbidden', 'AccessDenied',
			"Object '$name/$object' is subject to bucket's retention policy and cannot be deleted, overwritten or archived until 2030")
		  if control('locked');
		delete $b->{$object};
		return ('204 No Content', '');
	}
	my %about = (ETag => $o->{etag}, 'x-goog-generation' => $o->{generation}, %{ $o->{meta} });
	return failure('412 Precondition Failed', 'PreconditionFailed') if defined $h->{'if-match'} && $h->{'if-match'} ne $o->{etag};
	my $size = length $o->{data};
	return ('200 OK', '', %about, 'Content-Length' => $size) if $method eq 'HEAD';
	return failure('405 Method Not Allowed', 'MethodNotAllowed') if $method ne 'GET';
	return ('200 OK', $o->{data}, %about) unless defined $h->{range};
	my ($from, $to) = $h->{range} =~ /^bytes=(\d+)-(\d+)$/ or return failure('400 Bad Request', 'InvalidArgument');
	return failure('416 Requested range not satisfiable', 'InvalidRange') if $from >= $size || $to < $from;
	$to = $size - 1 if $to >= $size;
	return ('206 Partial Content', substr($o->{data}, $from, $to - $from + 1), %about, 'Content-Range' => "bytes $from-$to/$size");
}

sub hash_fits
{
	my ($h, $data) = @_;
	return 1 unless defined $h->{'x-goog-hash'};
	my ($wanted) = $h->{'x-goog-hash'} =~ /^crc32c=(\S+)$/ or return 0;
	return $wanted eq encode_base64(pack('N', crc($data, 32, 0xffffffff, 0xffffffff, 1, 0x1edc6f41, 1, 0)), '');
}

sub create
{
	my ($b, $object, $new, $data) = @_;
	$b->{$object} = {
		data => $data, generation => ++$generation, etag => '"' . md5_hex($data) . '"',
		meta => { map { $_ => $new->{$_} } grep { /^x-goog-meta-/ } keys %$new } };
	return ('200 OK', '', ETag => $b->{$object}{etag}, 'x-goog-generation' => $generation);
}

# A part of a resumable upload, which needs nothing but its address.
sub use_session
{
	my ($r, $query) = @_;
	my $s = $session{ $query->{upload_id} } or return failure('404 Not Found', 'NoSuchUpload');
	if ($r->{method} eq 'DELETE')
	{
		delete $session{ $query->{upload_id} };
		return ('499 Client Closed Request', '');
	}
	return failure('405 Method Not Allowed', 'MethodNotAllowed') if $r->{method} ne 'PUT';
	return ('200 OK', '') if $s->{done};
	my ($from, $to, $total) = ($r->{header}{'content-range'} // '') =~ m{^bytes (\d+)-(\d+)/(\d+)$}
	  or return failure('400 Bad Request', 'InvalidArgument', 'content-range');
	my $last = $to + 1 == $total;
	return failure('400 Bad Request', 'InvalidArgument', 'length') if $to - $from + 1 != length $r->{body} || $to >= $total;
	return failure('400 Bad Request', 'InvalidArgument', 'total') if defined $s->{total} && $s->{total} != $total;
	return failure('400 Bad Request', 'InvalidArgument', '256 KiB') if !$last && ($to + 1) % 262144;
	$s->{total} = $total;
	my $has = length $s->{data};
	if ($from <= $has && $to >= $has)
	{
		my $new = substr $r->{body}, $has - $from;
		my $keep = control('keep', 1);
		$new = substr $new, 0, $keep if defined $keep;
		$s->{data} .= $new;
	}
	if (length $s->{data} == $total)
	{
		my $match = $s->{new}{match};
		my $o = $s->{bucket}{ $s->{object} };
		return failure('412 Precondition Failed', 'PreconditionFailed') if defined $match && $match ne ($o ? $o->{generation} : 0);
		return failure('400 Bad Request', 'InvalidArgument', 'hash') unless hash_fits($r->{header}, $s->{data});
		$s->{done} = 1;
		return create($s->{bucket}, $s->{object}, $s->{new}, delete $s->{data});
	}
	return ('308 Resume Incomplete', '', length $s->{data} ? (Range => 'bytes=0-' . (length($s->{data}) - 1)) : ());
}

sub list
{
	my ($b, $query) = @_;
	for (keys %$query)
	{
		return failure('400 Bad Request', 'InvalidQueryParameter', $_) unless /^(continuation-token|delimiter|encoding-type|list-type|prefix)$/;
	}
	return failure('400 Bad Request', 'InvalidArgument') if ($query->{'list-type'} // '') ne '2' || ($query->{'encoding-type'} // '') ne 'url';
	my $prefix = $query->{prefix} // '';
	my $after = defined $query->{'continuation-token'} ? decode_base64($query->{'continuation-token'}) : undef;
	my ($text, $count, %folder, $next) = ('', 0);
	for my $key (sort grep { index($_, $prefix) == 0 && (!defined $after || $_ gt $after) } keys %$b)
	{
		my $rest = substr $key, length $prefix;
		my $cut = defined $query->{delimiter} ? index $rest, $query->{delimiter} : -1;
		if ($cut >= 0)
		{
			my $folder = $prefix . substr $rest, 0, $cut + 1;
			next if $folder{$folder}++ || (defined $after && index($after, $folder) == 0);
			$text .= '<CommonPrefixes><Prefix>' . encode($folder) . '</Prefix></CommonPrefixes>';
		}
		else
		{
			$text .= '<Contents><Key>' . encode($key) . '</Key><Generation>' . $b->{$key}{generation} . '</Generation><Size>'
			  . length($b->{$key}{data}) . '</Size></Contents>';
		}
		if (++$count == 1000) { $next = $key; last; }
	}
	return ('200 OK', "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>"
		  . '<Name>x</Name><Prefix>' . encode($prefix) . '</Prefix><EncodingType>url</EncodingType><IsTruncated>'
		  . (defined $next ? 'true' : 'false') . '</IsTruncated>'
		  . (defined $next ? '<NextContinuationToken>' . encode_base64($next, '') . '</NextContinuationToken>' : '')
		  . "$text</ListBucketResult>", 'Content-Type' => 'application/xml');
}

# ---- who asks ----

# What the signer may do; or a refusal.
sub who
{
	my ($r) = @_;
	my $h = $r->{header};
	my $authorization = $h->{authorization} // return (undef, failure('401 Unauthorized', 'AuthenticationRequired'));
	return (undef, failure('400 Bad Request', 'ExcessHeaderValues', 'x-amz-')) if grep { /^x-amz-/ } keys %$h;
	%token = () if defined control('revoke', 1);
	if ($authorization =~ /^Bearer (\S+)$/)
	{
		return ('write') if ($token{$1} // 0) > now();
		return (undef, failure('401 Unauthorized', 'AuthenticationRequired', 'Authentication required.'));
	}
	my ($id, $day, $names, $signature) =
	  $authorization =~ m{^GOOG4-HMAC-SHA256 Credential=(\w+)/(\d{8})/auto/storage/goog4_request,SignedHeaders=([a-z0-9;-]+),Signature=([0-9a-f]{64})$}
	  or return (undef, failure('400 Bad Request', 'InvalidArgument', 'authorization'));
	my $a = $account{$id} or return (undef, failure('403 Forbidden', 'InvalidSecurity', 'The provided security credentials are not valid.'));
	my %signed = map { $_ => 1 } split /;/, $names;
	for ('host', grep { /^x-goog-/ } keys %$h)
	{
		return (undef, failure('400 Bad Request', 'InvalidArgument', "$_ is not signed")) unless $signed{$_};
	}
	my $date = $h->{'x-goog-date'} // '';
	my ($y, $mo, $d, $hh, $mi, $s) = $date =~ /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/ or return (undef, failure('400 Bad Request', 'InvalidArgument', 'date'));
	local $ENV{TZ} = 'UTC';
	POSIX::tzset();
	my $time = POSIX::mktime($s, $mi, $hh, $d, $mo - 1, $y - 1900);
	return (undef, failure('403 Forbidden', 'RequestTimeTooSkewed')) if abs($time - now()) > 900 || substr($date, 0, 8) ne $day;
	my $hash = $h->{'x-goog-content-sha256'} // '';
	return (undef, failure('400 Bad Request', 'InvalidArgument', 'hash of the body')) if $hash ne sha256_hex($r->{body});
	my $canonical = join "\n", $r->{method}, $r->{path}, $r->{query}, (map { "$_:" . ($h->{$_} // '') } sort keys %signed), '', $names, $hash;
	my $key = "GOOG4$a->{secret}";
	$key = hmac_sha256($_, $key) for $day, 'auto', 'storage', 'goog4_request';
	my $wanted = hmac_sha256_hex("GOOG4-HMAC-SHA256\n$date\n$day/auto/storage/goog4_request\n" . sha256_hex($canonical), $key);
	return (undef, failure('403 Forbidden', 'SignatureDoesNotMatch', 'The signature does not match.')) if $wanted ne $signature;
	return ($a->{may});
}

sub no_token
{
	my ($text) = @_;
	return ('400 Bad Request', encode_json({ error => 'invalid_grant', error_description => $text }), 'Content-Type' => 'application/json');
}

sub from_url { my ($text) = @_; $text =~ tr{_-}{/+}; return decode_base64($text . '=' x (-length($text) % 4)) }

sub give_token
{
	my ($r) = @_;
	my %form = map { map { decode($_) } split /=/, $_, 2 } split /&/, $r->{body};
	return no_token('form') if $r->{method} ne 'POST' || ($r->{header}{'content-type'} // '') ne 'application/x-www-form-urlencoded'
	  || ($form{grant_type} // '') ne 'urn:ietf:params:oauth:grant-type:jwt-bearer';
	my ($head, $claim, $signature) = ($form{assertion} // '') =~ /^([\w-]+)\.([\w-]+)\.([\w-]+)$/ or return no_token('assertion');
	for my $file ([ 'signed', "$head.$claim" ], [ 'signature', from_url($signature) ])
	{
		open my $f, '>', "$dir/$file->[0]" or die $!;
		print $f $file->[1];
		close $f;
	}
	system("openssl dgst -sha256 -verify '$dir/public.pem' -signature '$dir/signature' '$dir/signed' >/dev/null 2>&1") == 0
	  or return no_token('Invalid JWT Signature.');
	my $h = eval { decode_json(from_url($head)) } or return no_token('head');
	my $c = eval { decode_json(from_url($claim)) } or return no_token('claim');
	return no_token('Invalid algorithm or key.') if $h->{alg} ne 'RS256' || $h->{typ} ne 'JWT' || $h->{kid} ne 'key-1';
	return no_token('Invalid account.') if $c->{iss} ne 'svc@test.example' || $c->{aud} ne "http://127.0.0.1:" . $listener->sockport . '/token'
	  || $c->{scope} ne 'https://www.googleapis.com/auth/devstorage.read_write';
	return no_token('Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.')
	  if $c->{exp} - $c->{iat} > 3600 || $c->{exp} < now() || $c->{iat} > now() + 300 || $c->{iat} < now() - 3600;
	my $lifetime = control('lifetime') // 3600;
	my $text = 'ya29.' . sha256_hex(rand . $$);
	$token{$text} = now() + $lifetime;
	open my $f, '>>', "$dir/tokens" or die $!;
	print $f "$text\n";
	close $f;
	return ('200 OK', encode_json({ access_token => $text, expires_in => $lifetime, token_type => 'Bearer' }), 'Content-Type' => 'application/json');
}
