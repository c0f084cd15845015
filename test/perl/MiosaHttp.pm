#
# The smallest HTTP client that lets a test name any Host header, what small
# servers need, and waiting with a deadline. Perl's own HTTP::Tiny refuses a
# Host that differs from the address.
#
package MiosaHttp;

use strict;
use warnings FATAL => 'all';

use Exporter qw(import);
use IO::Socket::INET;
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(connect_to http listen_on poll_until take_request);

# http(port =>, method =>, host =>, path =>, headers => {}, body =>,
# timeout =>): the answer as {status, headers, body}. Status 0 means that
# there was none, "error" says why.
sub http
{
	my (%arg) = @_;
	my $timeout = $arg{timeout} // 60;
	my $method = $arg{method} // 'GET';
	my $body = $arg{body} // '';
	my %header = (
		Host => $arg{host} // "127.0.0.1:$arg{port}",
		Connection => 'close',
		%{ $arg{headers} // {} });
	my $answer = '';

	$header{'Content-Length'} = length $body
	  if length $body || $method =~ /^(?:PUT|POST|PATCH)$/;
	my $ok = eval {
		local $SIG{ALRM} = sub { die "timed out\n" };
		local $SIG{PIPE} = 'IGNORE';
		Time::HiRes::alarm($timeout);
		my $sock = connect_to($arg{port}) or die "could not connect: $!\n";
		print $sock "$method " . ($arg{path} // '/') . " HTTP/1.1\r\n",
		  (map { "$_: $header{$_}\r\n" } sort keys %header), "\r\n", $body
		  or die "could not send: $!\n";
		$sock->flush;
		while (1)
		{
			my $got = sysread($sock, $answer, 65536, length $answer);

			next if !defined $got && $!{EINTR};
			die "could not read: $!\n" unless defined $got;
			last unless $got;
		}
		1;
	};
	my $error = $@;
	Time::HiRes::alarm(0);
	return _parse($answer) if $ok;
	chomp $error;
	return { status => 0, headers => {}, body => '', error => $error };
}

sub _parse
{
	my ($answer) = @_;

	my ($head, $body) = split /\r\n\r\n/, $answer, 2;
	my ($first, @line) = split /\r\n/, $head // '';
	my ($status) = ($first // '') =~ m{^HTTP/1\.[01] (\d{3})};
	my %header;

	return { status => 0, headers => {}, body => '', error => 'no answer' }
	  unless $status;
	for (@line)
	{
		$header{ lc $1 } = $2 if /^([^:]+):\s*(.*?)\s*$/;
	}
	$body //= '';
	if (lc($header{'transfer-encoding'} // '') eq 'chunked')
	{
		my ($rest, $plain) = ($body, '');

		while ($rest =~ s/^([0-9a-fA-F]+)[^\r\n]*\r\n//)
		{
			my $length = hex $1 or last;

			$plain .= substr($rest, 0, $length);
			$rest = substr($rest, $length + 2);
		}
		$body = $plain;
	}
	return { status => $status, headers => \%header, body => $body };
}

# A connection to a port of loopback, or nothing. What a signal interrupts is
# begun again.
sub connect_to
{
	my ($port) = @_;
	my $sock;

	1
	  until ($sock = IO::Socket::INET->new(
			PeerAddr => '127.0.0.1',
			PeerPort => $port))
	  || !$!{EINTR};
	return $sock;
}

# For small servers: a port that is listened on, of loopback unless another
# address is given, not blocking.
sub listen_on
{
	my ($port, $address) = @_;

	return IO::Socket::INET->new(
		LocalAddr => $address // '127.0.0.1',
		LocalPort => $port,
		Listen => 1024,
		ReuseAddr => 1,
		Blocking => 0) // die "could not listen on port $port: $!\n";
}

# Take the first whole request off what has arrived: {method, path, headers,
# body}, the names of headers in lower case; nothing when it is not all there.
sub take_request
{
	my ($in) = @_;
	my $end = index($$in, "\r\n\r\n");

	return if $end < 0;
	my ($first, @line) = split /\r\n/, substr($$in, 0, $end);
	my %header = map { /^([^:]+):\s*(.*)$/ ? (lc $1 => $2) : () } @line;
	my $length = $header{'content-length'} // 0;

	return if length $$in < $end + 4 + $length;
	my ($method, $path) = split / /, $first;
	my $body = substr($$in, $end + 4, $length);

	$$in = substr($$in, $end + 4 + $length);
	return {
		method => $method,
		path => $path,
		headers => \%header,
		body => $body
	};
}

# Call until it returns true, at most for so many seconds (180, which cost
# nothing where the end is good); what it returned, or nothing. The step is the
# pause between two calls.
sub poll_until
{
	my ($try, $timeout, $step) = @_;
	my $deadline = time() + ($timeout // 180);

	while (1)
	{
		my $got = $try->();

		return $got if $got;
		return if time() > $deadline;
		sleep($step // 0.01);
	}
}

1;
