#
# What servers of the tests have in common: a process of their own, and a log of
# their requests, a line of JSON each in the file "requests" of their folder. A
# class says which requests are meant by a mark: meant($request, $mark); and how
# the server is asked for an answer that is not logged: ping().
#
package MiosaLog;

use strict;
use warnings FATAL => 'all';

use File::Path qw(make_path);
use JSON::PP qw(decode_json);
use MiosaHttp qw(poll_until);
use MiosaServer;

# Make the folder and the process, which will listen on the port, or on its own
# port, a free one when absent.
sub make_server
{
	my ($self, $name, $port) = @_;

	make_path($self->{dir});
	$port //= $self->{port} //= MiosaServer::free_port();
	$self->{server} = MiosaServer->new(
		name => $name,
		log => "$self->{dir}/$name.log",
		port => $port,
		keep => $self->{keep});
	return;
}

sub stop { my ($self) = @_; return $self->{server}->stop; }
sub kill9 { my ($self) = @_; return $self->{server}->kill9; }
sub tail { my ($self) = @_; return $self->{server}->tail; }
sub url { my ($self) = @_; return "http://127.0.0.1:$self->{port}"; }

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

# Wait until the server has logged what was sent to it before. It has one event
# loop; the first answer ends the turn in which that has arrived at the latest.
sub catch_up
{
	my ($self) = @_;

	return unless $self->{server}->running;
	$self->ping for 1 .. 2;
	return;
}

# Forget the requests so far.
sub clear
{
	my ($self) = @_;

	$self->catch_up;
	truncate("$self->{dir}/requests", 0) if -e "$self->{dir}/requests";
	return;
}

1;
