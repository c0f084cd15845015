# The main job on a real edge: one call, and visitors see the other version
# through the cache in well under a second.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaTest qw(make_edge make_node make_site operate switches verdict);
use Test::More;

my @hosts = ('shop.acme.test', 'www.acme.test');
my $edge = make_edge(ttl => 600);
my $node = make_node('chain');

make_site($node, $edge, \@hosts);
is($edge->get($hosts[0])->{status}, 404, 'nothing is served at first');

# Promotions reach routers that were empty and a cache that knows nothing
for my $number (1 .. 3)
{
	operate($node, 'promote', "ver_$number");
	ok($edge->wait_for_page("/ver_$number/", \@hosts),
		"version $number is promoted and seen")
	  or diag $edge->logs;
}
ok( poll_until(sub { $edge->get($_)->{headers}{'x-cache'} eq 'hit' }, 180),
	"$_ is served from the cache")
  for @hosts;

# The promise, twenty times; the page is in the cache each time
switches($node, $edge, \@hosts, 20);
is(verdict($node, '180 s'), 'converged', 'and it is said to be so');

# A host that is removed is forgotten by routers and cache
$node->safe_psql('postgres', "SELECT miosa_remove_domain('$hosts[1]')");
ok($edge->wait_for_page('no route', [ $hosts[1] ]),
	'a removed host is no longer served')
  or diag $edge->logs;
like($edge->get($hosts[0])->{body}, qr{/ver_3/}, 'the other one still is');

# A deployment that is not there does not disturb the rest
operate($node, 'rollback', 'ver_1');
ok($edge->wait_for_page('/ver_1/', [ $hosts[0] ]), 'and can be rolled back');

done_testing();
