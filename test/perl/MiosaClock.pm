#
# A clock for a server: the server asks for the time by gettimeofday(), and a
# library that is loaded before all others adds an offset, which a file has.
#
#   my $clock = MiosaClock->new($dir) or plan skip_all => 'no C compiler';
#   { local $ENV{LD_PRELOAD} = $clock->library; $node->start; }
#   $clock->set(-7200);
#
package MiosaClock;

use strict;
use warnings FATAL => 'all';

use MiosaFile qw(spew);

sub new
{
	my ($class, $dir) = @_;
	my $self = bless { dir => $dir }, $class;

	spew("$dir/clock.c", <<"EOC");
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	static int	(*real) (struct timeval *, void *) = NULL;
	char		text[32] = {0};
	int			fd = open("$dir/offset", O_RDONLY);
	int			result;

	if (real == NULL)
		real = (int (*) (struct timeval *, void *)) dlsym(RTLD_NEXT, "gettimeofday");
	result = real(tv, zone);
	if (fd >= 0)
	{
		if (read(fd, text, sizeof(text) - 1) > 0)
			tv->tv_sec += atol(text);
		close(fd);
	}
	return result;
}
EOC
	return if system('cc', '-shared', '-fPIC', '-o', $self->library, "$dir/clock.c", '-ldl') != 0;
	return $self;
}

sub library { return "$_[0]{dir}/clock.so" }

# Seconds that the clock is ahead from now on.
sub set
{
	my ($self, $seconds) = @_;

	spew("$self->{dir}/offset.new", $seconds);
	rename("$self->{dir}/offset.new", "$self->{dir}/offset") or die "offset: $!\n";
	return;
}

1;
