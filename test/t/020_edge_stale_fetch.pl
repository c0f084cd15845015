# A fetch that began before the switch and ends after the purge puts the old
# page back into the cache. It must not stay there for its lifetime, whichever
# way the cache is purged.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_edge make_node make_site operate);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $origin =
  MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/slow')
  ->start;
my $edge = make_edge(ttl => 600, slow => $origin->{port});
my $node = make_node('stale');
my $host = 'slow.acme.test';

make_site($node, $edge, [$host]);
operate($node, 'promote', 'ver_2');
ok($edge->wait_for_page('/ver_2/', [$host]), 'version 2 is served')
  or diag $edge->logs;

for my $adapter ('varnish-xkey', 'varnish-purge', 'varnish-ban')
{
	$node->safe_psql(
		'postgres',
		"SELECT miosa_remove_endpoint('cache');
		SELECT miosa_put_endpoint('cache', '$adapter', '"
		  . $edge->url . "')");
	operate($node, 'promote', 'ver_3');
	ok( $edge->wait_for_page('/ver_3/', [$host]),
		"$adapter: version 3 is served");
	all_acknowledged();

	# A visitor's fetch of version 3 is held at the origin ...
	$origin->clear;
	$origin->answer('^/releases/ver_3/', hold => $adapter, times => 1);
	$edge->send_to_cache('PURGE', $host, '/');
	open(my $visitor, '-|', 'curl', '-s', '-H', "Host: $host", $edge->url)
	  or die "curl: $!\n";
	ok($origin->wait_for(1, '^/releases/ver_3/'),
		"$adapter: a fetch of version 3 is under way");

	# ... while the switch happens and the cache is purged, and ends then
	operate($node, 'rollback', 'ver_2');
	all_acknowledged();
	$origin->release($adapter);
	like(join('', <$visitor>), qr{/ver_3/}, "$adapter: it gets version 3");
	close $visitor;
	my $start = time();
	my $page = $edge->get($host);

	note sprintf('%s: right after it the cache shows %s (%s)',
		$adapter, $page->{body} =~ s/\s+$//r, $page->{headers}{'x-cache'});
	ok( $edge->wait_for_page('/ver_2/', [$host], step => 0.05),
		"$adapter: the old page does not stay")
	  or diag $edge->logs;
	note sprintf('%s: old page gone after %.1f s', $adapter, time() - $start);
}

# Every endpoint has acknowledged the newest route.
sub all_acknowledged
{
	$node->poll_query_until(
		'postgres', q{
		SELECT count(*) = 2 AND min(s.acked_epoch) >=
			(SELECT max(epoch) FROM miosa.route_log WHERE kind = 'route')
		FROM miosa.endpoint_state s}) or die "not all endpoints have acknowledged";
	return;
}

done_testing();
