#!/usr/bin/perl
# plot.pl FILE: draw wall time, CPU and stored bytes against the size of the
# database as SVG. Lines of FILE: MB, wall and CPU of ours, wall and CPU of
# pgBackRest, bytes stored by both, and more that is not drawn.
use strict;
use warnings;

my @rows;
while (<>) { push @rows, [split] }
@rows or die "no rows\n";
my @panels = (
	[ 'full backup, seconds', 1, 3, 1 ],
	[ 'CPU, seconds', 2, 4, 1 ],
	[ 'stored, MB', 5, 6, 1 / 1048576 ]);
my ($w, $h, $left, $top) = (260, 180, 50, 40);
my $max_x = (sort { $b <=> $a } map { $_->[0] } @rows)[0] / 1024;

printf qq{<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">\n},
  @panels * ($w + $left + 20) + 20, $h + $top + 50;
print qq{<rect width="100%" height="100%" fill="white"/>\n};
for my $p (0 .. $#panels)
{
	my ($title, $ours, $theirs, $scale) = @{ $panels[$p] };
	my $x0 = $left + $p * ($w + $left + 20);
	my $max = (sort { $b <=> $a } map { ($_->[$ours] * $scale, $_->[$theirs] * $scale) } @rows)[0] * 1.1 || 1;
	my $x = sub { $x0 + $_[0] / 1024 / $max_x * $w };
	my $y = sub { $top + $h - $_[0] / $max * $h };
	printf qq{<text x="%d" y="%d" font-weight="bold">%s</text>\n}, $x0, $top - 12, $title;
	printf qq{<path d="M%d %d V%d H%d" fill="none" stroke="black"/>\n}, $x0, $top, $top + $h, $x0 + $w;
	for my $row (@rows)
	{
		printf qq{<text x="%d" y="%d" text-anchor="middle">%g GB</text>\n}, $x->($row->[0]), $top + $h + 15, $row->[0] / 1024;
	}
	for my $i (0 .. 4)
	{
		my $v = $max / 4 * $i;
		printf qq{<text x="%d" y="%.0f" text-anchor="end">%.*f</text>\n}, $x0 - 4, $y->($v) + 4, $max < 10 ? 1 : 0, $v;
	}
	for my $line ([ $ours, '#0a58ca', 'omsupply_backup' ], [ $theirs, '#b02a37', 'pgBackRest' ])
	{
		my ($column, $color, $name) = @$line;
		printf qq{<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>\n}, $color,
		  join ' ', map { sprintf '%.1f,%.1f', $x->($_->[0]), $y->($_->[$column] * $scale) } @rows;
		printf qq{<text x="%d" y="%d" fill="%s">%s</text>\n}, $x0 + 8, $top + ($column == $ours ? 14 : 28), $color, $name;
	}
}
print "</svg>\n";
