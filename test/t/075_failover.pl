# The primary is lost with a rollback that the standby never got, but that the
# edges have received. The standby takes over in a new term: edges are corrected
# to what it has, caches forget, epochs are higher than all before, and what
# happens from then on does not wait until every edge has received everything.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_edge make_node make_site operate wait_dispatcher);
use MiosaPostgres;
use PostgreSQL::Test::Utils;
use Test::More;

my $many = 2000;
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $primary = make_node('primary', <<'EOC');
miosa_rollback.site = 'main'
miosa_rollback.stage_wait = 60s
wal_level = replica
max_wal_senders = 5
hot_standby = on
EOC
my $edge = make_edge(ttl => 600);
my %sink =
  map { $_ => MiosaSink->new(dir => "$dir/$_", name => $_)->start }
  qw(router cache);

# A real router and cache for one site, and for all deployments two endpoints
# that write down what they receive; the site is a deployment like the others
make_site($primary, $edge, ['shop.example.com']);
$primary->safe_psql('postgres', <<"EOS");
UPDATE miosa.endpoints SET selector = '{"deployment": "dep_1"}';
INSERT INTO miosa.adapters (name, timeout, max_in_flight, request) VALUES ('put', '5 min', 8,
	'{"method": "PUT", "path": "/{deployment_id}/{version_id}", "headers": {"x-epoch": "{epoch}"}}');
INSERT INTO miosa.adapters (name, stage, self_expires, settle, request) VALUES ('forgets', 1, true, '200 ms',
	'{"method": "PURGE", "path": "/{deployment_id}", "headers": {"x-epoch": "{epoch}"}}');
SELECT miosa_put_endpoint('router', 'put', '@{[ $sink{router}->url ]}', zone => 'two');
SELECT miosa_put_endpoint('flushed', 'forgets', '@{[ $sink{cache}->url ]}', zone => 'two',
	selector => '{"deployment": ["dep_1", "live"]}');
SELECT miosa_put_deployment('live', 'ten_1', 'live');
SELECT miosa_put_version('live', 'ver_' || n, n) FROM generate_series(1, 2) n;
EOS
operate($primary, 'promote', $_) for qw(ver_1 ver_2);
$primary->safe_psql('postgres', "SELECT miosa_promote('live', 'ver_1')");
$primary->safe_psql('postgres', <<"EOS");
INSERT INTO miosa.deployments (id, tenant_id, name, slug)
	SELECT 'many_' || n, 'ten_1', 'many', 'many-' || n FROM generate_series(1, $many) n;
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state)
	SELECT 'many_' || n, 'v1', 'ten_1', 1, 'ready' FROM generate_series(1, $many) n;
SET session_replication_role = replica;
UPDATE miosa.deployments SET active_version_id = 'v1', seq = 1 WHERE id LIKE 'many%';
RESET session_replication_role;
EOS

sub converged
{
	my ($node, $deployment, $name) = @_;

	is( $node->safe_psql('postgres',
			"SELECT miosa_wait_converged('$deployment', '180 s')"),
		'converged', $name);
	return;
}

# The newest request of an endpoint about a deployment.
sub newest
{
	my ($name, $deployment) = @_;
	my @request = $sink{$name}->requests("^/$deployment\\b");

	return @request ? $request[-1] : {};
}

# What the real router has.
sub routed
{
	return $edge->route('router-1', 'GET', 'shop.example.com')->{body};
}

sub highest
{
	my $highest = 0;

	for my $request (map { $_->requests } values %sink)
	{
		my $epoch = $request->{headers}{'x-epoch'};

		$highest = $epoch if $epoch > $highest;
	}
	return $highest;
}

converged($primary, 'dep_1', 'the primary delivers to its edges');
$primary->backup('base');
my $standby = MiosaPostgres->new('standby');

$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', 'SELECT state FROM miosa.dispatcher()'),
	'none', 'the standby sends nothing');

# The standby is cut off; the rollback that follows is lost with the primary
$standby->append_conf('postgresql.conf', "primary_conninfo = ''");
$standby->reload;
ok( $standby->poll_query_until('postgres',
		'SELECT count(*) = 0 FROM pg_stat_wal_receiver'),
	'replication is cut');
operate($primary, 'rollback', 'ver_1');
converged($primary, 'dep_1', 'a rollback that the standby does not get');
is(newest('router', 'dep_1')->{path}, '/dep_1/ver_1', 'edges received it');
like(routed(), qr{^dep_1/ver_1$}m, 'a real one, too');
ok($edge->wait_for_page('/ver_1/', ['shop.example.com']),
	'visitors see it');
my $epoch = newest('router', 'dep_1')->{headers}{'x-epoch'};
my $highest = highest();

is($epoch, $highest, 'it has the highest epoch so far');
# Nor does it repeat anything
ok( $primary->poll_query_until(
		'postgres', "SELECT count(*) = 2 FROM miosa.endpoint_state s, miosa.dispatcher_state d
		WHERE s.endpoint IN ('router', 'flushed') AND s.settled_epoch = d.last_epoch AND s.resync_after IS NULL"),
	'the lost rollback has settled');
$primary->stop('immediate');
is( $standby->safe_psql('postgres',
		"SELECT active_version_id FROM miosa.deployments WHERE id = 'dep_1'"),
	'ver_2', 'the standby never received it');

# The standby takes over, and every edge has to receive everything; of one
# deployment a router takes its time
$_->clear for values %sink;
$sink{router}->answer('^/many_7/', hold => 'resync');
$standby->promote;
ok(wait_dispatcher($standby, 'running'),
	'it has a dispatcher, without anybody saying so');
$standby->safe_psql('postgres', "SELECT miosa_promote('live', 'ver_2')");
ok( poll_until(
		sub { (newest('router', 'live')->{path} // '') eq '/live/ver_2' },
		180),
	'a new promotion is delivered');
my $resync = "SELECT resync_after IS NOT NULL FROM miosa.endpoint_state
	WHERE endpoint = 'router'";

is(MiosaTest::wait_sql($standby, $resync, 't'),
	't', 'while the router is still being resynchronized');
$sink{router}->release('resync');
converged($standby, 'dep_1', 'the edges converge on what the standby has');
is(newest('router', 'dep_1')->{path}, '/dep_1/ver_2', 'they are corrected');
like(routed(), qr{^dep_1/ver_2$}m, 'the real router, too');
ok($edge->wait_for_page('/ver_2/', ['shop.example.com']),
	'visitors see it, so the real cache has forgotten');
ok($sink{cache}->wait_for(1, '^/dep_1'), 'caches are flushed');
ok($standby->poll_query_until('postgres', $resync, 'f'),
	'every edge receives everything in the end');
my %sent = map { $_->{path} => 1 } $sink{router}->requests('^/many');

is(scalar keys %sent, $many, 'each deployment');
my ($lowest) = sort { $a <=> $b }
  map { $_->{headers}{'x-epoch'} } map { $_->requests } values %sink;

cmp_ok($lowest, '>', $highest, 'every epoch is higher than all before');
is(($lowest >> 40) - ($highest >> 40), 1, 'for it is a new term');
is( $standby->safe_psql('postgres',
		"SELECT miosa_routes_since($highest) ->> 'gap'"),
	'true',
	'a listener that was notified of the lost rollback reads everything again');

$standby->stop;
done_testing();
