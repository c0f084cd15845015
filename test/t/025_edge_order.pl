# Caches are purged only when the routers of their zone know the new
# route, else they fill themselves with the old page again. Whichever way
# their names sort. Routers and caches are one server here that writes down
# what it is asked, so the order is known.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node reload_settings);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $sink =
  MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')
  ->start;
my $node = make_node('order', "miosa_rollback.stage_wait = '60 s'\n");
my @caches = ('a-cache', 'z-cache');
my $url = $sink->url;
my $sql = q{
	INSERT INTO miosa.secrets (name, value) VALUES ('edge', 'x');
	SELECT miosa_put_tenant('ten_1', 'acme');
	SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
	SELECT miosa_put_domain('www.acme.test', 'dep_1');
	SELECT miosa_put_version('dep_1', 'ver_' || i, i)
		FROM generate_series(1, 2) i;
};

# The marker is always found in place
$sink->answer('^/router/map/_epoch', method => 'GET', body => '1' x 18);
$sql .= "SELECT miosa_put_endpoint('$_', 'varnish-xkey', '$url/$_');\n"
  for @caches;
$sql .= "SELECT miosa_put_endpoint('router', 'haproxy-map', '$url/router',
	secret => 'edge');\n";
$node->safe_psql('postgres', $sql);
$node->safe_psql('postgres', "SELECT miosa_promote('dep_1', 'ver_1')");
is( $node->safe_psql(
		'postgres', "SELECT miosa_wait_converged('dep_1', '180 s')"),
	'converged',
	'version 1 is delivered');

# Let what is repeated after the settle time pass
$node->poll_query_until(
	'postgres', 'SELECT count(*) = 3 AND min(s.settled_epoch) =
		(SELECT last_epoch FROM miosa.dispatcher_state)
		FROM miosa.endpoint_state s') or die 'does not settle';
$sink->clear;

# One of the router's hosts is slow
$sink->answer('^/router/map/www', hold => 'slow');
$node->safe_psql('postgres', "SELECT miosa_promote('dep_1', 'ver_2')");
ok( poll_until(
		sub { grep { $_->{path} eq '/router/map/www.acme.test' }
			  $sink->requests },
		180),
	'the router receives the change');
my $known = time();

$sink->release('slow');
for my $cache (@caches)
{
	my ($purge) = $sink->wait_for(1, "^/$cache/");

	ok($purge, "$cache is purged");
	cmp_ok($purge->{time}, '>', $known,
		"$cache is purged after the router has answered for every host");
}

# A router that does not answer holds up the caches for stage_wait only, and
# they forget once more when it has
$node->append_conf('postgresql.conf', "miosa_rollback.stage_wait = '200 ms'");
reload_settings($node);
$node->poll_query_until(
	'postgres', 'SELECT count(*) = 3 AND min(s.settled_epoch) =
		(SELECT last_epoch FROM miosa.dispatcher_state)
		FROM miosa.endpoint_state s') or die 'does not settle';
$sink->clear;
$sink->answer('^/router/map/www', hold => 'late');
$node->safe_psql('postgres', "SELECT miosa_rollback('dep_1', 'ver_1')");
my ($early) = $sink->wait_for(1, '^/a-cache/');

ok($early, 'a cache does not wait for ever');
is( $node->safe_psql(
		'postgres', "SELECT miosa_wait_converged('dep_1', '100 ms')"),
	'waiting_edges',
	'and nobody says that all is well');
$known = time();
$sink->release('late');
ok( poll_until(
		sub { grep { $_->{time} > $known } $sink->requests("^/$_/") },
		180),
	"$_ forgets once more when the router is there")
  for @caches;
is( $node->safe_psql(
		'postgres', "SELECT miosa_wait_converged('dep_1', '180 s')"),
	'converged',
	'converged then');

# A cache that fails while the route changes once more waits for the router
# like any other
$node->append_conf('postgresql.conf', "miosa_rollback.stage_wait = '60 s'");
reload_settings($node);
$node->poll_query_until(
	'postgres', 'SELECT count(*) = 3 AND min(s.settled_epoch) =
		(SELECT last_epoch FROM miosa.dispatcher_state)
		FROM miosa.endpoint_state s') or die 'does not settle';
$sink->clear;
$sink->answer('^/a-cache/', hold => 'busy', status => 503, times => 1);
$node->safe_psql('postgres', "SELECT miosa_promote('dep_1', 'ver_2')");
ok($sink->wait_for(1, '^/a-cache/'), 'a cache is purged and does not answer');
$sink->answer('^/router/map/www', hold => 'again');
$node->safe_psql('postgres', "SELECT miosa_rollback('dep_1', 'ver_1')");
ok( poll_until(
		sub { (grep { $_->{path} eq '/router/map/www.acme.test' }
			  $sink->requests) > 1 },
		180),
	'the route changes again');
$sink->release('busy');
my $failed = time();
poll_until(sub { time() - $failed > 1 }, 180, 0.05);
is(scalar(() = $sink->requests('^/a-cache/')), 1, 'it is not purged again');
$sink->release('again');
ok($sink->wait_for(2, '^/a-cache/'), 'before the router has answered');

done_testing();
