#
# A program of test/js, run by Node.js: one that plays services of others,
# each on a port of its own. What it is asked is written down byte by byte.
#
#   my $cloud = MiosaNode->new(dir => $dir, script => 'cloud',
#       services => [ 'fastly', 'bunny' ])->start;    # tls => {service =>
#                            # {key =>, cert =>}}: those that speak TLS
#   $cloud->set('fastly', secret => 'x');    # options; see the program
#   $cloud->wait_for(1, 'fastly');           # the first request
#   $cloud->state('fastly');                 # what it has kept
#
# Modules come from NODE_PATH: Debian's (aws4) and those that test/run has
# fetched with npm.
#
package MiosaNode;

use strict;
use warnings FATAL => 'all';

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP qw(decode_json encode_json);
use MiosaHttp qw(http);
use MiosaServer;
use parent qw(MiosaLog);

my $scripts = dirname(abs_path(__FILE__)) . '/../js';

sub new
{
	my ($class, %arg) = @_;
	my $self = bless {%arg}, $class;

	$self->{tls} //= {};
	$self->{port}{$_} = MiosaServer::free_port()
	  for 'control', @{ $self->{services} };
	$self->make_server($self->{script}, $self->{port}{control});
	return $self;
}

sub start
{
	my ($self) = @_;

	$self->{server}->start('node', "$scripts/$self->{script}.js",
		$self->{dir}, encode_json($self->{port}),
		encode_json($self->{tls}));
	return $self;
}

sub url
{
	my ($self, $service) = @_;

	return 'http'
	  . ($self->{tls}{$service} ? 's' : '')
	  . "://127.0.0.1:$self->{port}{$service}";
}

# Replace options of a service.
sub set
{
	my ($self, $service, %option) = @_;

	$self->_control('PUT', $service, encode_json(\%option));
	return $self;
}

sub state
{
	my ($self, $service) = @_;

	return decode_json($self->_control('GET', $service));
}

# A request is {n, service, time, method, url, headers, body, raw, status,
# answer}; header names are in lower case but for those of the answer. Its mark
# is its service.
sub meant
{
	my ($self, $request, $service) = @_;

	return $request->{service} eq $service;
}

sub ping { my ($self) = @_; return $self->state($self->{services}[0]); }

sub _control
{
	my ($self, $method, $service, $body) = @_;
	my $answer = http(
		port => $self->{port}{control},
		method => $method,
		path => "/$service",
		body => $body);

	die "$self->{script}: $service: $answer->{status} $answer->{body}\n"
	  unless $answer->{status} == 200;
	return $answer->{body};
}

1;
