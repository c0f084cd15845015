# The charts of "make bench": gnuplot draws each as a well-formed SVG that is the
# same for the same figures; without gnuplot the figures stay and nothing fails.

use strict;
use warnings FATAL => 'all';

use lib 'bench';

use MiosaBench qw(chart_point);
use MiosaFile qw(slurp spew);
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $folder = "$dir/bench-charts";
my %label = (
	clients => [ 'clients (logarithmic)', 'transactions a second' ],
	size => [ 'deployments (logarithmic)', 'transactions a second' ],
	edges => [ 'edges (logarithmic)', 'milliseconds (logarithmic)' ]);
my @series = ('a rollback', "a user's function, connected");

$ENV{MIOSA_TMP} = $dir;
for my $chart (sort keys %label)
{
	for my $series (@series)
	{
		chart_point($chart, $series, $_, [ 3 * $_, $_, 2 * $_ ]) for 1, 10, 100;
	}
}
is(slurp("$folder/edges.tsv"), <<"EOF_TSV", 'a chart has median and range of the values');
series	x	median	least	most
a rollback	1	2	1	3
a rollback	10	20	10	30
a rollback	100	200	100	300
a user's function, connected	1	2	1	3
a user's function, connected	10	20	10	30
a user's function, connected	100	200	100	300
EOF_TSV

# Without gnuplot: a PATH that has nothing but perl
mkdir "$dir/bin" or die "$dir/bin: $!";
symlink $^X, "$dir/bin/perl" or die "$dir/bin/perl: $!";
my ($output, $status) = draw("$dir/bin");

is($status, 0, 'without gnuplot nothing fails');
like($output, qr/gnuplot is missing/, 'it is said');
is_deeply([ glob "$folder/*.svg" ], [], 'there is no chart');
ok(-s "$folder/edges.tsv", 'the figures are kept');

($output, $status) = draw($ENV{PATH});
is($status, 0, 'with gnuplot charts are drawn');
is($output, '', 'and nothing is said');
for my $chart (sort keys %label)
{
	my $svg = slurp("$folder/$chart.svg");
	my $shown = texts("$folder/$chart.svg");

	for my $text (@series, @{ $label{$chart} })
	{
		like($shown, qr/^\Q$text\E$/m, "$chart shows \"$text\"");
	}
	ok($shown !~ /\b20\d\d\b/, "$chart has no date");
	ok($svg !~ /\bnan\b/i, "$chart has no number that is none");
	ok($svg !~ /\Q$dir\E/, "$chart does not say where it was drawn");
}

my $first = slurp("$folder/edges.svg");

draw($ENV{PATH});
is(slurp("$folder/edges.svg"), $first, 'the same figures are the same chart');

# The same figures by x, as the peers take turns
my ($head, @row) = split /^/, slurp("$folder/edges.tsv");

spew("$folder/edges.tsv", join '', $head, @row[ 0, 3, 1, 4, 2, 5 ]);
draw($ENV{PATH});
is(slurp("$folder/edges.svg"), $first, 'also when series were measured in turn');

done_testing();

# What bench/charts prints with this PATH, and its exit status.
sub draw
{
	local $ENV{PATH} = $_[0];
	my $said = `$^X bench/charts $folder 2>&1`;

	return ($said, $? >> 8);
}

# The texts of an SVG, one a line, by a parser that refuses what is not well-formed.
sub texts
{
	my ($path) = @_;
	my $parse = 'import sys, xml.etree.ElementTree as e; '
	  . 'print(*("".join(t.itertext()).strip() for t in '
	  . 'e.parse(sys.argv[1]).iter("{http://www.w3.org/2000/svg}text")), sep="\n")';
	my $said = `python3 -c '$parse' $path 2>&1`;

	is($?, 0, ($path =~ m{(\w+\.svg)$})[0] . " is well-formed") or diag($said);
	return $said;
}
