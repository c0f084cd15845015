# nginx with the purge module as the cache: a rollback is seen at once, a page
# that is not cached is nothing to worry about, and neither a fetch that was
# under way nor a cache that was away keeps the old page.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(http poll_until);
use MiosaSink;
use MiosaTest qw(make_edge make_node make_site operate switches verdict);
use PostgreSQL::Test::Utils;
use Test::More;

my $origin =
  MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/slow')
  ->start;
my @hosts = ('shop.acme.test', 'www.acme.test');
my $slow = 'slow.acme.test';
my $edge = make_edge(cache => 'nginx', ttl => 600, slow => $origin->{port});
my $node = make_node('nginx');

# Nobody has asked for a page yet, so there is nothing to forget: 404
make_site($node, $edge, [ @hosts, $slow ]);
is(forget($hosts[0]), 404, 'nginx says 404 about a page that is not cached');
operate($node, 'promote', 'ver_1');
is(verdict($node, '180 s'), 'converged', 'which is as good as forgotten');
ok( $node->poll_query_until(
		'postgres', q{
		SELECT last_status = 404 FROM miosa.endpoint_state
		WHERE endpoint = 'cache'}),
	'nginx did say so');
is( $node->safe_psql('postgres', 'SELECT count(*) FROM miosa.delivery_failures'),
	'0',
	'and no failure is recorded');

# Promotions and rollbacks of a page that is in the cache each time
for my $number (2 .. 3)
{
	operate($node, 'promote', "ver_$number");
	ok($edge->wait_for_page("/ver_$number/", \@hosts),
		"version $number is promoted and seen")
	  or diag $edge->logs;
}

# Each time the pages are in the cache
switches(
	$node, $edge,
	\@hosts, 10,
	sub {
		poll_until(
			sub {
				!grep { $edge->get($_)->{headers}{'x-cache'} ne 'hit' } @hosts;
			},
			180) or die 'pages do not get into the cache';
	});
is(verdict($node, '180 s'), 'converged', 'and it is said to be so');

# A visitor's fetch of version 3 is held at the origin while the switch
# happens and nginx is purged, and ends then. What it brings is the old page.
$origin->answer('^/releases/ver_3/', hold => 'fetch', times => 1);
forget($slow);
open(my $visitor, '-|', 'curl', '-s', '-H', "Host: $slow", $edge->url)
  or die "curl: $!\n";
ok($origin->wait_for(1, '^/releases/ver_3/'),
	'a fetch of version 3 is under way');
operate($node, 'rollback', 'ver_2');
is(verdict($node, '180 s'), 'converged', 'the switch is delivered meanwhile');
$origin->release('fetch');
like(join('', <$visitor>), qr{/ver_3/}, 'the visitor gets version 3');
close $visitor;
ok($edge->wait_for_page('/ver_2/', [$slow], step => 0.05),
	'the old page does not stay')
  or diag $edge->logs;

# What nginx has cached is on its disk and outlives it
like($edge->get($hosts[0])->{body}, qr{/ver_2/}, 'version 2 is cached');
$edge->kill9('cache');
operate($node, 'rollback', 'ver_1');
is(verdict($node, '1 s'), 'waiting_edges', 'a dead cache is waited for');
$edge->start('cache');
ok($edge->wait_for_page('/ver_1/', \@hosts, step => 0.05),
	'when it is back, it forgets the pages on its disk')
  or diag $edge->logs;
is(verdict($node, '180 s'), 'converged', 'converged then');

# A host that is removed is forgotten by the router and the cache
$node->safe_psql('postgres', "SELECT miosa_remove_domain('$hosts[1]')");
ok($edge->wait_for_page('no route', [ $hosts[1] ]),
	'a removed host is no longer served')
  or diag $edge->logs;
like($edge->get($hosts[0])->{body}, qr{/ver_1/}, 'the other one still is');
unlike($edge->logs, qr/exited on signal/, 'no worker of nginx has crashed');

# What the dispatcher asks of nginx.
sub forget
{
	my ($host) = @_;

	return http(port => $edge->{port}{cache}, path => "/_purge/$host/")
	  ->{status};
}

done_testing();
