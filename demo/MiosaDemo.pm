#
# How the acts of the demo talk to the database and to who reads it: what is
# typed, what comes back, and facts, each of which is checked before it is
# printed.
#
package MiosaDemo;

use strict;
use warnings FATAL => 'all';

use Exporter qw(import);
use MiosaVisitors ();
use Text::Wrap ();
use Time::HiRes qw(sleep time);

our @EXPORT_OK =
  qw(check fact figure prompt refused refused_call show since start_visitors
  step stop_visitors tail);

# The database that calls are made in.
our $db;

# How many facts were checked and printed.
our $facts = 0;

my %visitors;

sub step
{
	my ($title) = @_;

	print "\n", '-' x 3, " $title ", '-' x (75 - length $title), "\n";
	return;
}

# A checked fact, and how long it took.
sub fact
{
	my ($text, $figure) = @_;

	printf "  %-66s %8s\n", $text, $figure // 'ok';
	$facts++;
	return;
}

sub check
{
	my ($ok, $what) = @_;

	die "not true: $what\n" unless $ok;
	return;
}

sub prompt
{
	my ($sql) = @_;

	print "demo=# $sql;\n";
	return;
}

# Run a query and show it; its output must match.
sub show
{
	my ($sql, $expected) = @_;
	my ($ok, $output) = $db->try($sql, undef, '-P', 'footer=off');

	prompt($sql);
	print "$output\n";
	check($ok, 'the call succeeds');
	check($output =~ $expected, "the output matches $expected");
	return;
}

# A rollback that must be refused with that SQLSTATE; its messages.
sub refused
{
	my ($deployment, $version, $code, $why) = @_;
	my $output = refused_call(
		"SELECT * FROM miosa.rollback('$deployment', '$version')", $code);

	fact($why);
	return $output;
}

# A call that must be refused with that SQLSTATE; its messages.
sub refused_call
{
	my ($call, $code) = @_;
	my ($ok, $output) = $db->try(
		$call, undef,
		'-v' => 'VERBOSITY=verbose',
		'-v' => 'SHOW_CONTEXT=never');

	prompt($call);
	check(!$ok && $output =~ /^ERROR:\s+$code: /m,
		"the call is refused with $code, not:\n$output");
	for my $line (grep { !/^LOCATION:/ } split /\n/, $output)
	{
		local $Text::Wrap::columns = 80;
		local $Text::Wrap::unexpand = 0;
		print Text::Wrap::wrap('', ' ' x 8, $line), "\n";
	}
	return $output;
}

sub figure
{
	my ($seconds) = @_;

	return sprintf($seconds < 1 ? '%.3f s' : '%.1f s', $seconds);
}

sub since
{
	my ($start, $plain) = @_;
	my $seconds = time() - $start;

	return $plain ? $seconds : sprintf('%.1f s', $seconds);
}

sub tail
{
	my ($path, $count) = @_;

	open(my $fh, '<', $path) or return '';
	my @line = <$fh>;
	close $fh;
	splice(@line, 0, -$count) if @line > $count;
	return join '', @line;
}

# One visitor after the other on some hosts, all the time, under a name: every
# answer must be a page.
sub start_visitors
{
	my ($edge, $file, @host) = @_;
	my ($asked, $bad, $last) = (0, 0, '');

	$visitors{$file} = MiosaVisitors::start_visitors(
		sub {
			for my $host (@host)
			{
				my $page = $edge->get($host);

				$asked++;
				next if $page->{status} == 200;
				$bad++;
				$last = "$page->{status} " . ($page->{error} // '');
			}
			sleep(0.05 / @host);
		},
		sub {
			open(my $fh, '>', $file) or die "$file: $!\n";
			print $fh "$asked $bad $last\n";
			close $fh or die "$file: $!\n";
		});
	return;
}

# End one group, and say how it went; or all of them, whatever they saw.
sub stop_visitors
{
	my ($file) = @_;

	for (defined $file ? $file : keys %visitors)
	{
		my $pid = delete $visitors{$_} or next;

		MiosaVisitors::stop_visitors($pid);
	}
	return unless defined $file;
	my ($asked, $bad, $last) = split ' ', tail($file, 1), 3;

	check($bad == 0, "$bad of $asked visitors got no page, the last $last");
	fact("$asked pages asked for meanwhile, none failed");
	return;
}

1;
