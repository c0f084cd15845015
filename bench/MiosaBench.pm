#
# What the parts of "make bench" share: running pgbench, numbers, the table.
#
package MiosaBench;

use strict;
use warnings FATAL => 'all';

use Exporter qw(import);
use File::Basename qw(dirname);
use MiosaFile qw(slurp spew);
use POSIX ();

our @EXPORT_OK = qw(chart_point figure finish header median percentile pgbench progress
  range row slope slurp spew);

my %figures;
my @missed;						# goals of this part

# pgbench(cluster, database, output file, arguments): run it to its end.
sub pgbench
{
	my ($pid, $output) = start_pgbench(@_);

	waitpid($pid, 0);
	die "pgbench failed:\n" . slurp($output) if $? != 0;
	return;
}

# The same, but only start it: (process, output file).
sub start_pgbench
{
	my ($db, $database, $output, @arg) = @_;
	my $pid = fork() // die "could not fork: $!\n";

	return ($pid, $output) if $pid;
	open(STDOUT, '>', $output) or POSIX::_exit(127);
	open(STDERR, '>&', \*STDOUT) or POSIX::_exit(127);
	exec {'setpriv'} 'setpriv', '--pdeathsig', 'TERM', 'pgbench', '-n', '-h',
	  $db->{dir}, '-p', $db->{port}, '-U', 'postgres', '-M', 'prepared', @arg,
	  $database
	  or POSIX::_exit(127);
}

sub median
{
	return percentile(50, @_);
}

# Of the values at least so many percent are not greater.
sub percentile
{
	my ($percent, @value) = @_;

	@value = sort { $a <=> $b } @value;
	return $value[ POSIX::ceil($percent / 100 * @value) - 1 ];
}

# "least - most"
sub range
{
	my ($format, @value) = @_;

	@value = sort { $a <=> $b } @value;
	return sprintf "$format - $format", $value[0], $value[-1];
}

# By how much y rises with x, by least squares; a list of [x, y].
sub slope
{
	my (@point) = @_;
	my ($n, $x, $y, $xx, $xy) = (scalar @point, 0, 0, 0, 0);

	for (@point)
	{
		$x += $_->[0];
		$y += $_->[1];
		$xx += $_->[0]**2;
		$xy += $_->[0] * $_->[1];
	}
	return ($n * $xy - $x * $y) / ($n * $xx - $x**2);
}

# The title of a part and of its columns.
sub header
{
	my ($title) = @_;

	print "$title\n\n";
	printf "%-52s %9s  %-17s  %s\n", 'figure', 'measured', 'range', 'goal';
	return;
}

# A line of the table that has no goal: median and range of the values.
sub row
{
	my ($what, $format, $value, $range, $end) = @_;

	$range //= @$value > 1 ? range($format, @$value) : '';
	progress('');
	printf "%-52s %9s  %-17s  %s\n", $what,
	  sprintf($format, median(@$value)), $range, $end // '';
	return;
}

# A point of a chart that bench/charts draws: median and range of the values.
# Series appear in the order in which they are begun.
sub chart_point
{
	my ($chart, $series, $x, $value) = @_;
	my $folder = "$ENV{MIOSA_TMP}/bench-charts";
	my $path = "$folder/$chart.tsv";
	my @value = sort { $a <=> $b } @$value;
	my $head = -e $path ? '' : "series\tx\tmedian\tleast\tmost\n";

	-d $folder or mkdir $folder or die "$folder: $!\n";
	open(my $out, '>>', $path) or die "$path: $!\n";
	print $out $head, join("\t", $series, $x,
		map { sprintf '%.6g', $_ } median(@value), @value[ 0, -1 ]), "\n";
	close $out or die "$path: $!\n";
	return;
}

# A figure of the file "figures". what: instead of the text there, or behind it
# if it begins with a comma; range: what to print as the range.
sub figure
{
	my ($name, $value, %arg) = @_;
	my $figure = figures()->{$name} // die "there is no figure \"$name\"\n";
	my $what = $arg{what} // '';
	my $verdict = verdict($figure, $value);

	$what = $figure->{what} . $what if $what eq '' || $what =~ /^,/;
	row($what, $figure->{format}, $value, $arg{range},
		"$figure->{comparison} $figure->{bound}  $verdict");
	push @missed, $what if $verdict eq 'MISSED';
	return $verdict;
}

# Nothing when the median reaches the bound. A goal is missed when no round
# reaches it, so that the distance is more than the spread of the rounds.
sub verdict
{
	my ($figure, $value) = @_;
	my $reach = sub {
		return $figure->{comparison} eq '<='
		  ? $_[0] <= $figure->{bound}
		  : $_[0] >= $figure->{bound};
	};

	return '' if $reach->(median(@$value));
	return 'below' if $figure->{kind} eq 'aim';
	return (grep { $reach->($_) } @$value) ? 'within the spread' : 'MISSED';
}

# name => {kind, comparison, bound, format, what}
sub figures
{
	return \%figures if %figures;
	for (split /\n/, slurp(dirname(__FILE__) . '/figures'))
	{
		next if /^(#|$)/;
		/^(\w+)\s+(goal|aim)\s+([<>]=)\s+(\S+)\s+(\S+)\s+(.+)$/
		  or die "figures: \"$_\" is not understood\n";
		$figures{$1} = {
			kind => $2,
			comparison => $3,
			bound => $4,
			format => $5,
			what => $6
		};
	}
	return \%figures;
}

# The end of a part: how long it took, and which goals are missed. Returns its
# exit status.
sub finish
{
	progress('');
	printf "\nthis took %d s\n", time() - $^T;
	print "missed: $_\n" for @missed;
	return @missed ? 1 : 0;
}

# What is going on, on a terminal.
sub progress
{
	print "\r\e[K$_[0]" if -t STDOUT;
	return;
}

1;
