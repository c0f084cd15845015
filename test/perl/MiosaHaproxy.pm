#
# HAProxy as a router of MiosaEdge: a map from host to deployment/version,
# written over a second port, with a bearer secret:
#
#   PUT    /map/{host}  x-deployment, x-version   the route; without
#                                                 x-deployment a plain value
#   DELETE /map/{host}                            the host is gone
#   GET    /map/{host}                            the value, or 404
#   PUT, DELETE /wildcard/{domain}                the same for all hosts one
#                                                 label below the domain
#
# Versions that are named as dynamic are served by their instances: each has a
# backend inst-VERSION with servers s1, s2, ..., which are set over the
# router's socket by what starts instances (see MiosaScheduler).
#
package MiosaHaproxy;

use strict;
use warnings FATAL => 'all';

use MiosaFile qw(spew);

# Write the configuration of a router; the command that runs it.
sub command
{
	my ($edge, $name) = @_;
	my $map = "$edge->{dir}/$name.map";
	my $admin = join ',', map { "$_:$edge->{admin}{$name}" } $edge->addresses;
	my @dynamic = @{ $edge->{dynamic} // [] };
	my $socket =
	  @dynamic
	  ? '  stats socket ' . socket_path($edge, $name) . ' mode 666 level admin'
	  : '';
	my $choice =
	  @dynamic
	  ? "  use_backend inst-%[var(txn.version)] if { var(txn.version) -m str @dynamic }"
	  : '';
	my $instances = join '', map { _instances($_) } @dynamic;

	# HAProxy reads the file at its start only and never writes to it
	spew($map, '');
	spew("$edge->{dir}/$name.cfg", <<"EOC");
global
  log stderr format raw local0 notice
$socket
defaults
  mode http
  log global
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  timeout http-keep-alive 30s

frontend visitors
  bind 127.0.0.1:$edge->{port}{$name}
  http-request set-var(txn.host) req.hdr(host),field(1,:),lower
  http-request set-var(txn.route) var(txn.host),map($map)
  http-request set-var(txn.route) var(txn.host),regsub(^[^.]+,),map($map) unless { var(txn.route) -m found }
  http-request return status 404 content-type text/plain hdr x-router $name hdr x-route none string "no route" unless { var(txn.route) -m sub / }
  acl slow var(txn.host) -m beg slow.
  http-request set-var(txn.deployment) var(txn.route),field(1,/)
  http-request set-var(txn.version) var(txn.route),field(2,/)
  http-response set-header xkey %[var(txn.deployment)]
  http-response set-header x-version %[var(txn.version)]
  http-response set-header x-router $name
  use_backend slow if slow
$choice
  default_backend origin

backend origin
  http-request set-path /releases/%[var(txn.version)]%[path]
  server origin 127.0.0.1:$edge->{port}{origin}

backend slow
  http-request set-path /releases/%[var(txn.version)]%[path]
  server slow 127.0.0.1:$edge->{slow_port}

${instances}frontend routes
  bind $admin
  acl secret req.hdr(authorization) -m str "Bearer $edge->{secret}"
  acl host path_reg ^/(map|wildcard)/[A-Za-z0-9._-]+\$
  acl version req.hdr(x-version) -m reg ^[A-Za-z0-9._:-]+\$
  acl deployment req.hdr(x-deployment) -m reg ^[A-Za-z0-9._:-]+\$
  acl has_deployment req.hdr(x-deployment) -m found
  http-request set-var(txn.key) path,field(3,/),lower
  http-request set-var-fmt(txn.key) .%[var(txn.key)] if { path_beg /wildcard/ }
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
	return ('haproxy', '-db', '-f', "$edge->{dir}/$name.cfg");
}

# Where the servers of dynamic versions are set.
sub socket_path
{
	my ($edge, $name) = @_;

	return "$edge->{dir}/$name.sock";
}

# Servers are there from the start, but off.  One that dies under a request
# is replaced by another.
sub _instances
{
	my ($version) = @_;

	return <<"EOC";
backend inst-$version
  option redispatch 1
  retries 5
  retry-on all-retryable-errors
  server-template s 1-8 127.0.0.1:1 disabled

EOC
}

# What an operator's reload does: a new process reads the (empty) map file and
# takes over, the old one finishes its connections and ends.
sub reload
{
	my ($edge, $name) = @_;
	my $server = $edge->{server}{$name};

	$server->replace(command($edge, $name), '-sf', $server->{pid});
	return;
}

1;
