# Sites and shards together: two shards behind a router publish their routes,
# and one site has a database for each of them, which deliver to the same edges.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaRouter;
use MiosaSink;
use MiosaSites;
use MiosaTest qw(make_node wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'this PostgreSQL has no PL/Proxy' unless MiosaRouter->available;

my $workers = "max_worker_processes = 20\nmax_logical_replication_workers = 10\n";
my $sink = MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')->start;
my $node = make_node('all', "miosa_rollback.site = 'home'\n$workers", allows_streaming => 'logical');
my $router = MiosaRouter->new($node, map { [ $_ => $node ] } qw(s0 s1));
my %id = map { $_ => $router->here($_) } qw(s0 s1);

# The site has a server with a database for each shard, of the shard's name
my $sites = MiosaSites->new(undef);
my $eu = $sites->add_replica('eu', settings => $workers);
$sites->{node}{home} = $node;

sub run_file
{
	my ($site, $file, $database) = @_;
	my ($status, $out, $err) = $sites->run_file($site, $file, $database);

	return is($status, 0, "$file in $database") || diag($err);
}

sub subscribe
{
	my ($to, $database, $name, $from, $publication, $slot) = @_;

	$to->safe_psql($database, "CREATE SUBSCRIPTION $name CONNECTION \$\$" . $from->connstr($database) . "\$\$ PUBLICATION $publication WITH (slot_name = $slot)");
	return;
}

# What the edge was sent last of a shard's deployment
sub newest
{
	my ($shard) = @_;
	my ($last) = reverse map { m{/([^/]+)$} } map { $_->{path} } $sink->requests("^/edge/$id{$shard}/");

	return $last // '';
}

$router->sql("SELECT miosa_put_tenant('ten_1', 'acme')");
for my $shard (qw(s0 s1))
{
	$router->sql("SELECT miosa_put_deployment('$id{$shard}', 'ten_1', slug => '$shard'); SELECT miosa_put_version('$id{$shard}', 'v1', 1), miosa_put_version('$id{$shard}', 'v2', 2)");
	$router->sql("SELECT miosa_promote('$id{$shard}', 'v1')");
	run_file('home', 'primary.sql', $shard);
	$eu->safe_psql('postgres', "CREATE DATABASE $shard");
	$eu->safe_psql($shard, 'CREATE EXTENSION miosa_rollback');
	run_file('eu', 'replica.sql', $shard);
	$eu->safe_psql($shard, "INSERT INTO miosa.adapters (name, request) VALUES ('test-edge', '{\"method\": \"PUT\", \"path\": \"/{deployment_id}/{version_id}\"}');
		SELECT miosa_put_endpoint('edge', 'test-edge', '@{[ $sink->url ]}/edge')");
	subscribe($eu, $shard, 'miosa_routes', $node, 'miosa_routes', "miosa_routes_eu_$shard");
	subscribe($node, $shard, 'miosa_site_eu', $eu, 'miosa_site', "miosa_site_home_$shard");
}
ok(poll_until(sub { $router->sql("SELECT string_agg(shard || ' ' || site, ', ' ORDER BY shard) FROM miosa.replica_sites") eq 's0 eu, s1 eu' }, 180, 0.1),
	'each shard knows its replica at the site, and the router shows both');

# Operations through the router are confirmed by the edges of the site
for my $shard (qw(s0 s1))
{
	$router->sql("SELECT miosa_promote('$id{$shard}', 'v2')");
	is($router->sql("SELECT miosa_wait_converged('$id{$shard}', '180 s')"), 'converged', "a promotion on $shard converges");
	is(newest($shard), 'v2', '... when the edge has it');
}
is($router->sql("SELECT string_agg(concat_ws(' ', item, status, seen), ', ' ORDER BY item) FROM miosa_doctor() WHERE item LIKE '%: sites'"),
	's0: sites ok the primary site of 1 replica with edges, s1: sites ok the primary site of 1 replica with edges', 'the doctor of the router has a line for each shard');

# One of the two is cut off
$eu->safe_psql('s0', 'ALTER SUBSCRIPTION miosa_routes DISABLE');
is(wait_sql($node, "SELECT active FROM pg_replication_slots WHERE slot_name = 'miosa_routes_eu_s0'", 'f'), 'f', 'one database of the site is cut off');
$router->sql("SELECT miosa_rollback('$id{$_}', 'v1')") for qw(s0 s1);
is($router->sql("SELECT miosa_wait_converged('$id{s1}', '180 s')"), 'converged', 'the other shard goes on');
is($router->sql("SELECT miosa_wait_converged('$id{s0}', '0 s')"), 'waiting_edges', 'the one that is cut off is waited for');
is($eu->safe_psql('s1', 'SELECT status FROM miosa.check_sites()'), 'ok', 'each database of the site has a doctor of its own');
is($eu->safe_psql('s0', 'SELECT fix FROM miosa.check_sites()'), 'ALTER SUBSCRIPTION miosa_routes ENABLE;', '... with the command that mends it');
$eu->safe_psql('s0', 'ALTER SUBSCRIPTION miosa_routes ENABLE');
is($router->sql("SELECT miosa_wait_converged('$id{s0}', '180 s')"), 'converged', 'until it is back');
is(newest($_), 'v1', "the edge has the rollback on $_") for qw(s0 s1);

done_testing();
