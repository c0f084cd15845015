# What the checks of this folder share: which files they read.

package Sources;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(files sources);

# The files that match; that there are none is a fault of the pattern, with
# which a check would find nothing and pass.
sub files
{
	my (@patterns) = @_;
	my @files = grep { -e } map { glob } @patterns;

	die "no file matches @patterns\n" unless @files;
	return sort @files;
}

# All C files and headers, in whatever folder of src/.
sub sources
{
	return files('src/{,*/}*.[ch]');
}

1;
