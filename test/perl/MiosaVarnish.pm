#
# Varnish as the cache of MiosaEdge. It forgets in three ways: PURGE {path}
# with Host; PURGE with xkey-purge: {deployment}; BAN with x-ban-host: {host}, or
# with x-ban-domain: {domain} for all hosts one label below it.
#
package MiosaVarnish;

use strict;
use warnings FATAL => 'all';

use MiosaFile qw(spew);

# Write the configuration; the command that runs it.
sub command
{
	my ($edge) = @_;
	my $backend = join '',
	  map {
		my $port = $edge->{port}{$_};
		(my $id = $_) =~ s/-/_/;
		qq(backend $id { .host = "127.0.0.1"; .port = "$port"; }\n)
	  } $edge->router_names;
	my $add = join '',
	  map { (my $id = $_) =~ s/-/_/; "  routers.add_backend($id);\n" }
	  $edge->router_names;
	my $tries = 2 * ($edge->{routers} - 1);

	spew("$edge->{dir}/cache.vcl", <<"EOC");
vcl 4.1;
import directors;
import std;
import xkey;

$backend
acl purgers { "127.0.0.1"; "::1"; }

sub vcl_init {
  new routers = directors.round_robin();
$add}

sub vcl_recv {
  set req.http.host = std.tolower(regsub(req.http.host, ":[0-9]+\$", ""));
  set req.backend_hint = routers.backend();
  if (req.method == "PURGE" || req.method == "BAN") {
    if (client.ip !~ purgers) {
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
  if (req.method == "BAN" && req.http.x-ban-domain ~ "^[a-z0-9._-]+\$") {
    if (std.ban("obj.http.x-host ~ ^[^.]+[.]" + regsuball(req.http.x-ban-domain, "[.]", "[.]") + "\$")) {
      return (synth(200, "Banned"));
    }
    return (synth(400, std.ban_error()));
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
		'-n', "$edge->{dir}/varnish",
		'-a', "127.0.0.1:$edge->{port}{cache}",
		'-f', "$edge->{dir}/cache.vcl",
		'-s', 'malloc,16m',
		'-p', "default_ttl=$edge->{ttl}",
		'-p', 'default_grace=0',
		'-p', 'default_keep=0',
		'-p', 'backend_remote_error_holddown=0.001',
		'-p', 'vsl_space=8m',
		'-p', 'thread_pool_min=10',
		'-T', 'none');
}

1;
