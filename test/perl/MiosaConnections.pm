#
# The connections to a server that is one process with one event loop, for the
# servers of this folder that are written in Perl.
#
#   my $connections = MiosaConnections->new($port);
#   for my $c ($connections->ready(1))          # {sock, in, ...}
#   {
#       next unless $connections->receive($c);  # appends to $c->{in}
#       ...
#   }
#
package MiosaConnections;

use strict;
use warnings FATAL => 'all';

use IO::Select;
use MiosaHttp qw(listen_on);

# Listen on the port; as listen_on of MiosaHttp.
sub new
{
	my ($class, $port, $address) = @_;
	my $listen = listen_on($port, $address);

	return bless {
		listen => $listen,
		select => IO::Select->new($listen),
		open => {}
	}, $class;
}

# Wait for so many seconds at most, accept who connects, and return the
# connections that can be read, oldest first: what a client that has ended had
# sent comes before what its successor sends.
sub ready
{
	my ($self, $seconds) = @_;
	my @ready = $self->{select}->can_read($seconds);

	$self->_accept if grep { $_ == $self->{listen} } @ready;
	return sort { $a->{n} <=> $b->{n} } grep { defined } map { $self->{open}{$_} } @ready;
}

sub _accept
{
	my ($self) = @_;

	while (my $sock = $self->{listen}->accept)
	{
		$sock->blocking(0);
		$self->{select}->add($sock);
		$self->{open}{$sock} = { n => ++$self->{accepted}, sock => $sock, in => '' };
	}
	return;
}

# All that are open.
sub all { my ($self) = @_; return values %{ $self->{open} }; }

# Take what has arrived; false when there is nothing, or the client has closed
# the connection.
sub receive
{
	my ($self, $c) = @_;
	my $got = sysread($c->{sock}, $c->{in}, 65536, length $c->{in});

	return 0 if !defined $got && ($!{EAGAIN} || $!{EINTR});
	return 1 if $got;
	$self->drop($c);
	return 0;
}

# Close a connection.
sub drop
{
	my ($self, $c) = @_;

	$self->{select}->remove($c->{sock});
	delete $self->{open}{ $c->{sock} };
	close $c->{sock};
	return;
}

1;
