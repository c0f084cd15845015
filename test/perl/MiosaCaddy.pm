#
# Caddy as a router of MiosaEdge, changed over its admin API, which answers
# those on its own machine alone and asks for no secret.
#
# In its configuration two objects have an "@id". "miosa" is a subroute whose
# routes say which host is served by which version:
#
#   PATCH /id/miosa:{deployment}   the route of a deployment that it knows
#   POST  /id/miosa/routes         one more; PATCH answers 404 then
#
# "miosa_epoch" holds an epoch that tells whether the table is the one that
# was sent: Caddy forgets it whenever it is started or reloaded.
#
package MiosaCaddy;

use strict;
use warnings FATAL => 'all';

use JSON::PP ();
use MiosaFile qw(spew);
use MiosaHttp qw(http poll_until);

# Write the first configuration of a router; the command that runs it.
sub command
{
	my ($edge, $name) = @_;
	my $dir = "$edge->{dir}/$name";

	spew("$dir.json", <<"EOC");
{
  "admin": {
    "listen": "127.0.0.1:$edge->{admin}{$name}",
    "config": {"persist": false}
  },
  "logging": {"logs": {"default": {"level": "WARN"}}},
  "apps": {"http": {"grace_period": "1s", "servers": {"visitors": {
    "listen": ["127.0.0.1:$edge->{port}{$name}"],
    "automatic_https": {"disable": true},
    "routes": [
      {"handle": [
        {"\@id": "miosa_epoch", "handler": "vars", "epoch": "0"},
        {"\@id": "miosa", "handler": "subroute", "routes": []}
      ]},
      {
        "match": [{"vars": {"miosa_version": ["", "<nil>"]}}],
        "handle": [{
          "handler": "static_response", "status_code": 404,
          "headers": {"x-router": ["$name"], "x-route": ["none"]},
          "body": "no route"
        }],
        "terminal": true
      },
      {"handle": [
        {"handler": "headers", "response": {"deferred": true, "set": {
          "x-router": ["$name"],
          "xkey": ["{http.vars.miosa_deployment}"],
          "x-version": ["{http.vars.miosa_version}"]
        }}},
        {
          "handler": "rewrite",
          "uri": "/releases/{http.vars.miosa_version}{http.request.uri}"
        },
        {
          "handler": "reverse_proxy",
          "upstreams": [{"dial": "127.0.0.1:$edge->{port}{origin}"}]
        }
      ]}
    ]
  }}}}
}
EOC
	return ('env', "XDG_CONFIG_HOME=$dir", "XDG_DATA_HOME=$dir",
		'caddy', 'run', '--config', "$dir.json");
}

# What an operator's reload does: the file is read again, and all that was
# sent is lost.
sub reload
{
	my ($edge, $name) = @_;
	my $log = "$edge->{dir}/$name.reload.log";

	system("caddy reload --force --config $edge->{dir}/$name.json"
		  . " --address 127.0.0.1:$edge->{admin}{$name} >$log 2>&1") == 0
	  or die "caddy reload failed, see $log\n";
	return;
}

# What a router holds under an id (and a path in it), or nothing. While a
# configuration is loaded Caddy closes connections without an answer.
sub object
{
	my ($edge, $name, $id) = @_;
	my $answer;

	poll_until(
		sub {
			$answer = http(port => $edge->{admin}{$name}, path => "/id/$id");
			return $answer->{status} != 0;
		},
		180);
	return unless $answer->{status} == 200;
	return JSON::PP->new->allow_nonref->decode($answer->{body});
}

1;
