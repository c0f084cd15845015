#
# What the parts of "make bench" share: running pgbench, numbers, the table.
#
package MiosaBench;

use strict;
use warnings FATAL => 'all';

use Exporter qw(import);
use POSIX ();

our @EXPORT_OK =
  qw(median percentile pgbench progress range row slope slurp verdict);

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

sub verdict
{
	my ($target, $reached) = @_;

	return $target . ($reached ? '' : '  below');
}

# A line of the table: median and range of the values, and a target.
sub row
{
	my ($what, $format, $value, $comparison, $target, $range) = @_;
	my $median = median(@$value);
	my $reached = 1;

	$range //= @$value > 1 ? range($format, @$value) : '';
	$reached = $comparison eq '<=' ? $median <= $target : $median >= $target
	  if $comparison;
	progress('');
	printf "%-52s %9s  %-17s  %s\n", $what,
	  sprintf($format, $median), $range,
	  $comparison ? verdict("$comparison $target", $reached) : '';
	return;
}

# What is going on, on a terminal.
sub progress
{
	print "\r\e[K$_[0]" if -t STDOUT;
	return;
}

sub slurp
{
	my ($path) = @_;

	open(my $fh, '<', $path) or die "$path: $!\n";
	local $/;
	return scalar <$fh>;
}

1;
