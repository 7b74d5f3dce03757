# Schedules run when another implementation, t/cron_reference.py with the parser
# of croniter, says: random schedules in zones whose clocks do not change. Left
# out are forms that are mistakes here and not there: ranges that go around
# (fri-mon), a step behind a single number (5/10) and steps beyond their range
# (1-5/9).
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Omb;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{OMB_TEST_SEED} || time;
srand $seed;
note "OMB_TEST_SEED=$seed";

my @months = qw(jan feb mar apr may jun jul aug sep oct nov dec);
my @days = qw(sun mon tue wed thu fri sat);
my @fields = ([ 0, 59 ], [ 0, 23 ], [ 1, 31 ], [ 1, 12, @months ], [ 0, 6, @days ]);

sub number
{
	my ($min, $max, @names) = @{ $_[0] };
	my $n = $min + int rand($max - $min + 1);
	return ($n, @names && rand() < 0.4 ? $names[ $n - $min ] : $n);
}

sub item
{
	my ($field) = @_;
	my $kind = rand;
	return '*/' . (1 + int rand(1 + ($field->[1] - $field->[0]) / 2)) if $kind < 0.15;
	my ($a, $text) = number($field);
	return $text if $kind < 0.6;
	my ($b, $other) = number($field);
	($a, $text, $b, $other) = ($b, $other, $a, $text) if $a > $b;
	return $text if $a == $b;
	return $kind < 0.85 ? "$text-$other" : "$text-$other/" . (1 + int rand($b - $a));
}

sub field
{
	my ($field, $star) = @_;
	return '*' if rand() < $star;
	return join ',', map { item($field) } 1 .. (rand() < 0.7 ? 1 : 1 + int rand 4);
}

my @lines;
for (1 .. ($ENV{OMB_TEST_CRONS} || 3000))
{
	my $schedule = join ' ', map { field($fields[$_], (0.3, 0.4, 0.5, 0.6, 0.5)[$_]) } 0 .. 4;
	$schedule = (qw(@hourly @daily @midnight @weekly @monthly @yearly @annually))[ int rand 7 ] if rand() < 0.01;
	my $offset = (0, 3600, -5 * 3600, 13 * 3600, 20700, -34200)[ int rand 6 ];
	my $after = 1577836800 + int rand(12 * 365 * 86400);
	push @lines, join "\t", $offset, $after, $schedule;
}
# what random ones seldom hit
push @lines, map { "0\t1767225600\t$_" } '0 0 29 2 *', '0 0 30 2 *', '59 23 31 12 *', '0 0 31 4,6,9,11 *', '* * * * *',
  '0 0 13 * fri', '0 0 */2 * mon', '0 0 1 * */2', '0 0 * * 7', '0 0 * * 0,7';

my $input = join '', map { "$_\n" } @lines;
my ($ours, $theirs, $error) = ('', '', '');
IPC::Run::run([ "$ENV{OMB_BIN}/cronnext" ], '<', \$input, '>', \$ours) or die "cronnext: $?";
IPC::Run::run([ '/usr/bin/python3', "$FindBin::RealBin/cron_reference.py" ], '<', \$input, '>', \$theirs, '2>', \$error) or die "croniter: $error";
my @ours = split /\n/, $ours, -1;
my @theirs = split /\n/, $theirs, -1;

my @wrong = grep { ($ours[$_] // '') ne ($theirs[$_] // '') } 0 .. $#lines;
is(scalar(@ours), @lines + 1, 'an answer for each');
is(scalar(@theirs), @lines + 1, 'and one by the other');
is(scalar(grep { $_ eq 'invalid' } @ours), 0, 'all are schedules');
is(scalar(@wrong), 0, scalar(@lines) . ' schedules run when the other says');
diag("$lines[$_]\n  ours   $ours[$_]\n  theirs $theirs[$_]") for @wrong[ 0 .. ($#wrong < 19 ? $#wrong : 19) ];

done_testing();
