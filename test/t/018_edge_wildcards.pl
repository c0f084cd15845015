# A wildcard domain on real edges: HAProxy and Caddy route it, after hosts that
# are named in full, whichever came first; Varnish bans it by a pattern; and
# where a cache can do nothing with it, nothing is called converged.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(http poll_until);
use MiosaTest qw(make_edge make_node make_site operate verdict wait_sql);
use Test::More;

my $wild = 'any.acme.test';
my $plain = 'shop.acme.test';
my $node;

for my $router (qw(haproxy caddy))
{
	$node = make_node($router);
	my $edge = make_edge(router => $router, ttl => 600);

	# dep_1 is the site of the wildcard, dep_2 that of one host below it
	make_site($node, $edge, ['*.acme.test'], $router eq 'haproxy' ? 'varnish-ban' : undef);
	sql("SELECT miosa_put_deployment('dep_2', 'ten_1', 'one');
		SELECT miosa_put_version('dep_2', 'ver_3', 1);
		SELECT miosa_promote('dep_2', 'ver_3')");
	operate($node, 'promote', 'ver_1');
	is(verdict($node, '180 s'), 'converged', "$router: a wildcard converges")
	  or diag sql("SELECT miosa_convergence('dep_1')"), $edge->logs;
	shows($edge, $wild, 'ver_1');
	shows($edge, $plain, 'ver_1');
	is($edge->get('a.b.acme.test')->{status}, 404, "$router: two labels below are not it");
	is($edge->get('acme.test')->{status}, 404, "$router: nor is the domain itself");

	# A switch is seen through the cache at once
	ok( poll_until(sub { ($edge->get($wild)->{headers}{'x-cache'} // '') eq 'hit' }, 180),
		"$router: the page is in the cache");
	operate($node, 'promote', 'ver_2');
	is(verdict($node, '180 s'), 'converged', "$router: a promotion converges");
	shows($edge, $wild, 'ver_2');

	# A host of its own goes before the wildcard, also when that is delivered
	# later
	sql("SELECT miosa_put_domain('$plain', 'dep_2')");
	is(sql("SELECT miosa_wait_converged('dep_2', '180 s')"), 'converged', "$router: a host is named in full");
	shows($edge, $plain, 'ver_3');
	operate($node, 'rollback', 'ver_1');
	is(verdict($node, '180 s'), 'converged', "$router: a rollback of the wildcard's site");
	shows($edge, $plain, 'ver_3');
	shows($edge, $wild, 'ver_1');
	$edge->reload('router-1');
	ok($edge->wait_for_page('/ver_1/', [$wild], path => "/?reloaded"), "$router: sent again after a reload");
	ok($edge->wait_for_page('/ver_3/', [$plain], path => "/?reloaded"), "$router: in whichever order");

	# When it is gone, the wildcard is there again; then that goes
	sql("SELECT miosa_remove_domain('$plain')");
	ok($edge->wait_for_page('/ver_1/', [$plain]), "$router: without its own domain it is under the wildcard")
	  or diag $edge->logs;
	caches_without_wildcards($edge) if $router eq 'haproxy';
	sql("SELECT miosa_remove_domain('*.acme.test')");
	ok($edge->wait_for_page('no route', [$wild]), "$router: a removed wildcard is not served")
	  or diag $edge->logs;
	$node->stop;
	$edge->stop;
}

# What Varnish answers to PURGE for "*.acme.test" is 200, what nginx answers
# is 404, and neither has forgotten anything.
sub caches_without_wildcards
{
	my ($edge) = @_;
	my $nginx = make_edge(cache => 'nginx');

	sql("SELECT miosa_set_endpoint('cache', false);
		SELECT miosa_put_domain('www.acme.test', 'dep_1')");
	for my $case ([ 'varnish-purge', $edge->url ], [ 'nginx-cache-purge', $nginx->url ])
	{
		my ($adapter, $url) = @$case;

		sql("SELECT miosa_put_endpoint('other', '$adapter', '$url')");
		operate($node, 'promote', 'ver_3');
		is( wait_sql($node,
				"SELECT state || ': ' || error FROM miosa.convergence_rows('dep_1') WHERE endpoint = 'other'",
				"failed: adapter \"$adapter\" cannot handle the wildcard host \"*.acme.test\"", 180),
			"failed: adapter \"$adapter\" cannot handle the wildcard host \"*.acme.test\"",
			"$adapter: a wildcard is no success");
		is(verdict($node, '100 ms'), 'waiting_edges', "$adapter: so nothing has converged");
		is(sql("SELECT health FROM miosa.convergence_rows('dep_1') WHERE endpoint = 'other'"),
			'healthy', "$adapter: the other hosts are delivered");
		operate($node, 'rollback', 'ver_1');
		sql("SELECT miosa_remove_endpoint('other')");
	}
	sql("SELECT miosa_put_endpoint('other', 'varnish-purge', '" . $edge->url . "');
		SELECT miosa_put_domain('only.acme.test', 'dep_2');");
	is(sql("SELECT miosa_wait_converged('dep_2', '180 s')"), 'converged', 'other deployments converge there');
	sql("SELECT miosa_remove_endpoint('other'); SELECT miosa_remove_domain('www.acme.test'), miosa_remove_domain('only.acme.test');
		SELECT miosa_set_endpoint('cache', true)");
	is(verdict($node, '180 s'), 'converged', 'without it all is well again');
	$nginx->stop;
	return;
}

sub shows
{
	my ($edge, $host, $version) = @_;

	return ok($edge->wait_for_page("/$version/", [$host]), "$host shows $version")
	  || diag $edge->logs;
}

sub sql { return $node->safe_psql('postgres', @_); }

done_testing();
