#
# Files as a whole, where PostgreSQL::Test::Utils is not loaded.
#
package MiosaFile;

use strict;
use warnings FATAL => 'all';

use Exporter qw(import);

our @EXPORT_OK = qw(slurp spew);

# The text of a file.
sub slurp
{
	my ($path) = @_;

	open(my $fh, '<', $path) or die "could not read $path: $!\n";
	local $/ = undef;
	return scalar <$fh>;
}

# Write a file anew.
sub spew
{
	my ($path, $text) = @_;

	open(my $fh, '>', $path) or die "could not write $path: $!\n";
	print $fh $text;
	close $fh or die "could not write $path: $!\n";
	return;
}

1;
