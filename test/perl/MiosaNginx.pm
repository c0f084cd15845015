#
# nginx with a configuration of a test; and nginx in MiosaEdge: as the origin,
# which serves releases/<version>/ from disk, and as the cache, with the module
# ngx_cache_purge.
#
# The module is used in its separate-location form, GET /_purge/{host}{path}:
# the other one, "proxy_cache_purge PURGE from ..." in the location that
# caches, ends the worker of Debian 12's build with signal 11. A purge removes
# one object; what is not cached is answered with 404.
#
package MiosaNginx;

use strict;
use warnings FATAL => 'all';

use File::Path qw(make_path);

# Write the configuration of the origin; the command that runs it.
sub origin_command
{
	my ($edge) = @_;
	my $dir = "$edge->{dir}/nginx";

	return command($dir, "master_process off;\n", <<"EOC");
  access_log off;
  default_type text/html;
  server {
    listen 127.0.0.1:$edge->{port}{origin};
    root $edge->{dir}/site;
    index index.html;
  }
EOC
}

# The same for the cache: two workers, which share what is cached. Where there
# are more routers, one that does not know a host is not the last that is
# asked.
sub cache_command
{
	my ($edge) = @_;
	my $dir = "$edge->{dir}/nginx-cache";
	my $routers = join '',
	  map { "    server 127.0.0.1:$edge->{port}{$_} max_fails=0;\n" }
	  $edge->router_names;
	my $main = <<'EOC';
load_module /usr/lib/nginx/modules/ngx_http_cache_purge_module.so;
worker_processes 2;
EOC

	return command($dir, $main, <<"EOC");
  access_log off;
  proxy_cache_path $dir/pages levels=1:2 keys_zone=pages:1m max_size=16m;
  map \$upstream_cache_status \$seen {
    default miss;
    HIT hit;
  }
  upstream routers {
$routers  }
  server {
    listen 127.0.0.1:$edge->{port}{cache};
    location / {
      proxy_pass http://routers;
      proxy_set_header Host \$host;
      proxy_next_upstream error timeout http_404;
      proxy_cache pages;
      proxy_cache_key \$host\$uri;
      proxy_cache_valid 200 $edge->{ttl}s;
      add_header x-cache \$seen always;
    }
    location ~ ^/_purge/(?<purge_host>[^/]+)(?<purge_path>/.*)\$ {
      allow 127.0.0.1;
      deny all;
      proxy_cache_purge pages \$purge_host\$purge_path;
    }
  }
EOC
}

# Write a configuration: lines of its own before the events and within http. The
# command that runs it.
sub command
{
	my ($dir, $main, $http) = @_;
	my $temp = join '',
	  map { "  ${_}_temp_path $dir/$_;\n" }
	  qw(client_body proxy fastcgi uwsgi scgi);

	make_path($dir);
	chmod 0755, $dir;
	open(my $fh, '>', "$dir/nginx.conf") or die "$dir/nginx.conf: $!\n";
	print $fh <<"EOC";
daemon off;
pid $dir/nginx.pid;
lock_file $dir/nginx.lock;
error_log stderr warn;
${main}events { worker_connections 512; }
http {
$temp$http}
EOC
	close $fh or die "$dir/nginx.conf: $!\n";
	return ('nginx', '-p', $dir, '-c', "$dir/nginx.conf");
}

1;
