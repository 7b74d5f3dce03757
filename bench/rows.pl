#!/usr/bin/perl
# rows.pl MB: that many megabytes of rows for "COPY doc" on standard output:
# prose with word frequencies as in a language, JSON, and 15 % of rows with
# bytes that do not compress. The same rows each time.
use strict;
use warnings;

my $left = $ARGV[0] * 1_000_000;
srand(42);
my @syllables = map { my $c = $_; map { "$c$_" } qw(a e i o u ai er on) }
  qw(b c d f g h l m n p r s t v w st tr pl);
my @words = map { join '', map { $syllables[ rand @syllables ] } 1 .. 1 + rand 3 } 1 .. 20000;
my @hex = (0 .. 9, 'a' .. 'f');

for (my $i = 1; $left > 0; $i++)
{
	my $kind = rand;
	my $count = $kind < .03 ? 600 : 15 + int rand 75;
	# squaring the random number makes low word numbers frequent
	my $text = join ' ', map { $words[ @words * rand()**3 ] } 1 .. $count;
	my $token = join '', map { $hex[ rand 16 ] } 1 .. ($kind > .85 ? 900 : 36);
	my $row = sprintf(
		"%d\t{\"id\": %d, \"uuid\": \"%s\", \"email\": \"%s.%s\@example.org\", "
		  . "\"ts\": \"2024-%02d-%02dT%02d:%02d:00Z\", \"status\": \"%s\", "
		  . "\"amount\": %.2f, \"token\": \"%s\"}\t%s\n",
		$i, $i, join('', map { $hex[ rand 16 ] } 1 .. 32),
		$words[ rand 2000 ], $words[ rand @words ],
		1 + $i % 12, 1 + $i % 28, $i % 24, $i % 60,
		(qw(open paid shipped closed))[ $i % 4 ],
		rand 10000, $token, $text);
	print $row;
	$left -= length($row) + 36;
}
