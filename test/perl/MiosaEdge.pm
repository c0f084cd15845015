#
# A real edge on loopback: a cache in front of routers in front of nginx,
# which serves releases/<version>/ from disk.
#
#   client -> cache (varnish or nginx)
#          -> router (haproxy or caddy, host to version) -> origin (nginx)
#
# Each program has a module of its own, MiosaVarnish and so on, with the
# configuration that it needs. Routers hold their table in memory: it starts
# empty and a reload loses it.
#
package MiosaEdge;

use strict;
use warnings FATAL => 'all';

use File::Basename qw(dirname);
use File::Path qw(make_path remove_tree);
use MiosaCaddy;
use MiosaFile qw(spew);
use MiosaHaproxy;
use MiosaHttp qw(http poll_until);
use MiosaNginx;
use MiosaServer;
use MiosaVarnish;
use Time::HiRes ();

# dir: an own folder. cache: varnish or nginx. router: haproxy or caddy.
# routers: how many (1). ttl: seconds a page stays in the cache (600). secret:
# what HAProxy expects. slow: a port that serves the hosts named slow.*
# instead of nginx (with HAProxy). dynamic: versions that are served by their
# instances (with HAProxy). address: where routers receive their routes, beside
# loopback (with HAProxy). keep: leave servers running at exit.
sub new
{
	my ($class, %arg) = @_;
	my $self = bless {
		cache => 'varnish',
		router => 'haproxy',
		routers => 1,
		ttl => 600,
		secret => 'edge-secret',
		address => '127.0.0.1',
		%arg
	}, $class;

	die "MiosaEdge needs an absolute folder without spaces\n"
	  unless ($self->{dir} // '') =~ m{^/[^\s"\\]+$};
	make_path("$self->{dir}/site/releases");
	chmod 0755, $self->{dir}, "$self->{dir}/site";
	$self->{slow_port} = $arg{slow} // MiosaServer::free_port();
	for my $name ($self->names)
	{
		$self->{port}{$name} = MiosaServer::free_port();
		$self->{server}{$name} = MiosaServer->new(
			name => $name,
			log => "$self->{dir}/$name.log",
			port => $self->{port}{$name},
			keep => $self->{keep});
	}
	$self->{admin}{$_} = MiosaServer::free_port() for $self->router_names;
	return $self;
}

sub router_names
{
	my ($self) = @_;

	return map { "router-$_" } 1 .. $self->{routers};
}

sub names
{
	my ($self) = @_;

	return ('origin', $self->router_names, 'cache');
}

# Start what is not running, origin first.
sub start
{
	my ($self, @name) = @_;

	for my $name (@name ? @name : $self->names)
	{
		my $server = $self->{server}{$name};

		$server->start($self->_command($name)) unless $server->running;
	}
	return $self;
}

# Stop, cache first.
sub stop
{
	my ($self, @name) = @_;

	$self->{server}{$_}->stop for @name ? @name : reverse $self->names;
	return $self;
}

sub kill9
{
	my ($self, $name) = @_;

	return $self->{server}{$name}->kill9;
}

# What an operator's reload of a router does: its table is lost.
sub reload
{
	my ($self, $name) = @_;

	return $self->{router} eq 'caddy'
	  ? MiosaCaddy::reload($self, $name)
	  : MiosaHaproxy::reload($self, $name);
}

# Where visitors go.
sub url
{
	my ($self) = @_;

	return "http://127.0.0.1:$self->{port}{cache}";
}

# Where a router receives its routes.
sub router_url
{
	my ($self, $router) = @_;

	return "http://$self->{address}:" . $self->{admin}{ $router // 'router-1' };
}

# On which routers receive their routes.
sub addresses
{
	my ($self) = @_;

	return ('127.0.0.1', grep { $_ ne '127.0.0.1' } $self->{address});
}

# Where the instances of dynamic versions are made known to the routers.
sub sockets
{
	my ($self) = @_;

	return map { MiosaHaproxy::socket_path($self, $_) } $self->router_names;
}

# Where the origin serves files.
sub origin_url
{
	my ($self) = @_;

	return "http://127.0.0.1:$self->{port}{origin}";
}

# Write the files of a version: publish('ver_1', 'index.html' => ...).
sub publish
{
	my ($self, $version, %file) = @_;
	my $root = "$self->{dir}/site/releases/$version";

	for my $name (keys %file)
	{
		make_path(dirname("$root/$name"));
		spew("$root/$name", $file{$name});
	}
	return $root;
}

sub unpublish
{
	my ($self, $version) = @_;

	remove_tree("$self->{dir}/site/releases/$version");
	return;
}

# What a visitor gets, through the cache.
sub get
{
	my ($self, $host, $path, %arg) = @_;

	return http(
		port => $self->{port}{cache},
		host => $host,
		path => $path // '/',
		%arg);
}

# Seconds until every host shows the text, or nothing.
sub wait_for_page
{
	my ($self, $text, $hosts, %arg) = @_;
	my $start = $arg{since} // Time::HiRes::time();
	my @left = @$hosts;

	return poll_until(
		sub {
			@left = grep {
				index($self->get($_, $arg{path} // '/')->{body}, $text) < 0
			} @left;
			return @left ? 0 : Time::HiRes::time() - $start;
		},
		$arg{timeout} // 180,
		$arg{step} // 0.005);
}

# The calls that a HAProxy takes, for tests of the edge itself.
sub route
{
	my ($self, $router, $method, $host, %header) = @_;

	return http(
		port => $self->{admin}{$router},
		method => $method,
		path => "/map/$host",
		headers => {
			Authorization => "Bearer $self->{secret}",
			%header
		});
}

sub send_to_cache
{
	my ($self, $method, $host, $path, %header) = @_;

	return http(
		port => $self->{port}{cache},
		method => $method,
		host => $host,
		path => $path,
		headers => \%header);
}

# The end of each log, for the message of a test that fails.
sub logs
{
	my ($self) = @_;

	return join '',
	  map { "$_:\n" . $self->{server}{$_}->tail } $self->names;
}

sub _command
{
	my ($self, $name) = @_;

	return MiosaNginx::origin_command($self) if $name eq 'origin';
	if ($name eq 'cache')
	{
		return $self->{cache} eq 'nginx'
		  ? MiosaNginx::cache_command($self)
		  : MiosaVarnish::command($self);
	}
	return $self->{router} eq 'caddy'
	  ? MiosaCaddy::command($self, $name)
	  : MiosaHaproxy::command($self, $name);
}

1;
