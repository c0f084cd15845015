#
# What a server of the tests was asked, as it has written it down: a line of
# JSON a request in the file "requests" of its folder. A class of such servers
# says which requests are meant by a mark: meant($request, $mark).
#
package MiosaLog;

use strict;
use warnings FATAL => 'all';

use JSON::PP qw(decode_json);
use MiosaHttp qw(poll_until);

# The requests so far, oldest first.
sub requests
{
	my ($self, $mark) = @_;
	my @request;

	open(my $fh, '<', "$self->{dir}/requests") or return;
	while (my $line = <$fh>)
	{
		last unless $line =~ /\n\z/;
		my $request = decode_json($line);

		push @request, $request if $self->meant($request, $mark);
	}
	close $fh;
	return @request;
}

# Wait until there are so many; the list, or nothing.
sub wait_for
{
	my ($self, $count, $mark, $timeout) = @_;
	my @request;

	poll_until(
		sub { (@request = $self->requests($mark)) >= $count },
		$timeout // 180) or return;
	return @request;
}

# Forget the requests so far.
sub clear
{
	my ($self) = @_;

	truncate("$self->{dir}/requests", 0) if -e "$self->{dir}/requests";
	return;
}

1;
