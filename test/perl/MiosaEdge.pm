#
# A real edge on loopback: Varnish in front of HAProxy routers in front of
# nginx, which serves releases/<version>/ from disk.
#
#   client -> cache (varnish) -> router (haproxy, host to version) -> origin
#
# Routers hold their table in memory: it starts empty and a reload loses it.
# They are told over a second port, with a bearer secret:
#
#   PUT    /map/{host}  x-deployment, x-version   the route; without
#                                                 x-deployment a plain value
#   DELETE /map/{host}                            the host is gone
#   GET    /map/{host}                            the value, or 404
#
# The cache forgets in three ways: PURGE {path} with Host; PURGE with
# xkey-purge: {deployment}; BAN with x-ban-host: {host}.
#
package MiosaEdge;

use strict;
use warnings FATAL => 'all';

use File::Basename qw(dirname);
use File::Path qw(make_path remove_tree);
use MiosaHttp qw(http poll_until);
use MiosaServer;
use Time::HiRes ();

# dir: an own folder. routers: how many (1). ttl: seconds a page stays in the
# cache (60). secret: what routers want to hear. slow: a port that serves the
# hosts named slow.* instead of nginx. keep: leave servers running at exit.
sub new
{
	my ($class, %arg) = @_;
	my $self = bless {
		routers => 1,
		ttl => 60,
		secret => 'edge-secret',
		%arg
	}, $class;

	die "MiosaEdge needs an absolute folder without spaces\n"
	  unless ($self->{dir} // '') =~ m{^/[^\s"\\]+$};
	make_path("$self->{dir}/site/releases", "$self->{dir}/nginx");
	chmod 0755, $self->{dir}, "$self->{dir}/site", "$self->{dir}/nginx";
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

# What an operator's reload of HAProxy does: a new process reads the (empty)
# map file and takes over, the old one finishes its connections and ends.
sub reload
{
	my ($self, $router) = @_;
	my $server = $self->{server}{$router};

	return $server->replace($self->_command($router), '-sf', $server->{pid});
}

# Where visitors go.
sub url
{
	my ($self) = @_;

	return "http://127.0.0.1:$self->{port}{cache}";
}

# Where a router is told its routes.
sub router_url
{
	my ($self, $router) = @_;

	return 'http://127.0.0.1:' . $self->{admin}{ $router // 'router-1' };
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
		_write("$root/$name", $file{$name});
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
		$arg{timeout} // 15,
		$arg{step} // 0.0005);
}

# The calls of the dispatcher, for tests of the edge itself.
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

sub tell_cache
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

sub _write
{
	my ($path, $text) = @_;

	open(my $fh, '>', $path) or die "could not write $path: $!\n";
	print $fh $text;
	close $fh or die "could not write $path: $!\n";
	return;
}

sub _command
{
	my ($self, $name) = @_;

	return $self->_origin if $name eq 'origin';
	return $self->_cache if $name eq 'cache';
	return $self->_router($name);
}

sub _origin
{
	my ($self) = @_;
	my $dir = "$self->{dir}/nginx";
	my $temp = join '',
	  map { "  ${_}_temp_path $dir/$_;\n" }
	  qw(client_body proxy fastcgi uwsgi scgi);

	_write("$dir/nginx.conf", <<"EOC");
daemon off;
master_process off;
worker_processes 1;
pid $dir/nginx.pid;
lock_file $dir/nginx.lock;
error_log stderr warn;
events { worker_connections 256; }
http {
$temp  access_log off;
  default_type text/html;
  server {
    listen 127.0.0.1:$self->{port}{origin};
    root $self->{dir}/site;
    index index.html;
  }
}
EOC
	return ('nginx', '-p', $dir, '-c', "$dir/nginx.conf");
}

sub _router
{
	my ($self, $name) = @_;
	my $map = "$self->{dir}/$name.map";
	my $admin = "127.0.0.1:$self->{admin}{$name}";

	# HAProxy reads the file at its start only and never writes to it
	_write($map, '');
	_write("$self->{dir}/$name.cfg", <<"EOC");
global
  log stderr format raw local0 notice
defaults
  mode http
  log global
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  timeout http-keep-alive 30s

frontend visitors
  bind 127.0.0.1:$self->{port}{$name}
  http-request set-var(txn.host) req.hdr(host),field(1,:),lower
  http-request set-var(txn.route) var(txn.host),map($map)
  http-request return status 404 content-type text/plain hdr x-router $name hdr x-route none string "no route" unless { var(txn.route) -m sub / }
  acl slow var(txn.host) -m beg slow.
  http-request set-var(txn.deployment) var(txn.route),field(1,/)
  http-request set-var(txn.version) var(txn.route),field(2,/)
  http-response set-header xkey %[var(txn.deployment)]
  http-response set-header x-version %[var(txn.version)]
  http-response set-header x-router $name
  use_backend slow if slow
  default_backend origin

backend origin
  http-request set-path /releases/%[var(txn.version)]%[path]
  server origin 127.0.0.1:$self->{port}{origin}

backend slow
  http-request set-path /releases/%[var(txn.version)]%[path]
  server slow 127.0.0.1:$self->{slow_port}

frontend told
  bind $admin
  acl secret req.hdr(authorization) -m str "Bearer $self->{secret}"
  acl host path_reg ^/map/[A-Za-z0-9._-]+\$
  acl version req.hdr(x-version) -m reg ^[A-Za-z0-9._:-]+\$
  acl deployment req.hdr(x-deployment) -m reg ^[A-Za-z0-9._:-]+\$
  acl has_deployment req.hdr(x-deployment) -m found
  http-request set-var(txn.key) path,field(3,/),lower
  http-request set-var(txn.value) var(txn.key),map($map)
  http-request return status 401 unless secret
  http-request return status 404 unless host
  http-request return status 404 if METH_GET !{ var(txn.value) -m found }
  http-request return status 200 content-type text/plain lf-string "%[var(txn.value)]" if METH_GET
  http-request del-map($map) %[var(txn.key)] if { method DELETE }
  http-request return status 204 if { method DELETE }
  http-request return status 405 unless { method PUT }
  http-request return status 400 unless version
  http-request return status 400 if has_deployment !deployment
  http-request set-map($map) %[var(txn.key)] %[req.hdr(x-deployment)]/%[req.hdr(x-version)] if deployment
  http-request set-map($map) %[var(txn.key)] %[req.hdr(x-version)] unless deployment
  http-request return status 204
EOC
	return ('haproxy', '-db', '-f', "$self->{dir}/$name.cfg");
}

sub _cache
{
	my ($self) = @_;
	my $backend = join '',
	  map {
		my $port = $self->{port}{$_};
		(my $id = $_) =~ s/-/_/;
		qq(backend $id { .host = "127.0.0.1"; .port = "$port"; }\n)
	  } $self->router_names;
	my $add = join '',
	  map { (my $id = $_) =~ s/-/_/; "  routers.add_backend($id);\n" }
	  $self->router_names;
	my $tries = 2 * ($self->{routers} - 1);

	_write("$self->{dir}/cache.vcl", <<"EOC");
vcl 4.1;
import directors;
import std;
import xkey;

$backend
acl tellers { "127.0.0.1"; "::1"; }

sub vcl_init {
  new routers = directors.round_robin();
$add}

sub vcl_recv {
  set req.http.host = std.tolower(regsub(req.http.host, ":[0-9]+\$", ""));
  set req.backend_hint = routers.backend();
  if (req.method == "PURGE" || req.method == "BAN") {
    if (client.ip !~ tellers) {
      return (synth(403, "Forbidden"));
    }
  }
  if (req.method == "PURGE" && req.http.xkey-purge) {
    if (req.http.xkey-purge !~ "^[A-Za-z0-9._:-]+\$") {
      return (synth(400, "Bad key"));
    }
    set req.http.x-purged = xkey.purge(req.http.xkey-purge);
    return (synth(200, "Purged " + req.http.x-purged));
  }
  if (req.method == "PURGE") {
    return (purge);
  }
  if (req.method == "BAN") {
    if (req.http.x-ban-host !~ "^[a-z0-9._-]+\$") {
      return (synth(400, "Bad host"));
    }
    if (std.ban("obj.http.x-host == " + req.http.x-ban-host)) {
      return (synth(200, "Banned"));
    }
    return (synth(400, std.ban_error()));
  }
}

sub vcl_backend_response {
  set beresp.http.x-host = bereq.http.host;
  # A router that does not know the host yet is asked about another time;
  # the others are asked now.
  if (beresp.http.x-route == "none" && bereq.retries < $tries) {
    return (retry);
  }
  if (beresp.status != 200) {
    set beresp.ttl = 0s;
    set beresp.uncacheable = true;
  }
}

sub vcl_backend_error {
  if (bereq.retries < $tries) {
    return (retry);
  }
}

sub vcl_deliver {
  set resp.http.x-cache = "miss";
  if (obj.hits > 0) {
    set resp.http.x-cache = "hit";
  }
}
EOC
	return (
		'varnishd', '-F',
		'-n', "$self->{dir}/varnish",
		'-a', "127.0.0.1:$self->{port}{cache}",
		'-f', "$self->{dir}/cache.vcl",
		'-s', 'malloc,16m',
		'-p', "default_ttl=$self->{ttl}",
		'-p', 'default_grace=0',
		'-p', 'default_keep=0',
		'-p', 'backend_remote_error_holddown=0.001',
		'-p', 'vsl_space=8m',
		'-p', 'thread_pool_min=10',
		'-T', 'none');
}

1;
