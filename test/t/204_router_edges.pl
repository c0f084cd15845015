# One edge that several shards deliver to: each shard's routes and marker are its
# own, so a reload is noticed by both, and neither takes the other's marker for a
# loss.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaRouter;
use MiosaTest qw(make_edge make_node);
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'this PostgreSQL has no PL/Proxy' unless MiosaRouter->available;

my $node = make_node('all', "miosa_rollback.site = 'eu west'\n");
my $router = MiosaRouter->new($node, map { [ $_ => $node ] } qw(s0 s1));
my $edge = make_edge(router => 'haproxy');
my %id = map { $_ => $router->here($_) } qw(s0 s1);
my %host = (s0 => 'a.test', s1 => 'b.test');

$router->sql("SELECT miosa_put_tenant('ten_1', 'acme'); SELECT miosa_put_secret('edge', '$edge->{secret}')");
$edge->publish($_, 'index.html' => "<h1>/$_/</h1>\n") for qw(v1 v2 v3);
for my $name (qw(s0 s1))
{
	$router->sql("SELECT miosa_put_deployment('$id{$name}', 'ten_1'); SELECT miosa_put_domain('$host{$name}', '$id{$name}')");
	$router->sql("SELECT miosa_put_version('$id{$name}', 'v$_', $_, state => 'ready')") for 1 .. 3;
	$router->sql("SELECT miosa_promote('$id{$name}', 'v$_')") for 1 .. 3;
}
# The epochs of one shard are far ahead.
$router->sql("SELECT miosa_promote('$id{s0}', 'v$_')") for (2, 3) x 5;
$router->sql(q[SELECT miosa_put_adapter('often', '{"marker_interval": "200 ms"}', 'haproxy-map')]);
$router->sql("SELECT miosa_put_endpoint('router', 'often', '" . $edge->router_url('router-1') . "', secret => 'edge')");

# The route that the edge has for a host.
sub served
{
	my ($name, $version) = @_;

	return poll_until(sub { $edge->route('router-1', 'GET', $host{$name})->{body} eq "$id{$name}/$version" }, 180, 0.05);
}

# The endpoint has everything, and that was verified by the marker.
sub verified
{
	return !grep {
		!poll_until(sub { $router->shard_sql($_, "SELECT miosa_wait_converged('$id{$_}', '1 s')") eq 'converged'
			&& $router->shard_sql($_, 'SELECT count(*) FROM miosa.endpoint_state WHERE marker_epoch > 1') == 1 }, 180, 0.05) } qw(s0 s1);
}

# Each shard reads its marker several times more.
sub read_again
{
	for my $name (qw(s0 s1))
	{
		my $succeeded = 'SELECT succeeded FROM miosa.endpoint_stats()';
		my $before = $router->shard_sql($name, $succeeded);

		poll_until(sub { $router->shard_sql($name, $succeeded) > $before + 5 }, 180, 0.05) or return 0;
	}
	return 1;
}

sub losses { return scalar(() = slurp_file($node->logfile) =~ /lost its routing table/g) }

ok(served($_, 'v3'), "the edge has the route of $_") for qw(s0 s1);
ok(verified(), 'both shards find their markers');
is($router->sql("SELECT string_agg(shard || ' ' || endpoint_name, ' ' ORDER BY shard) FROM (SELECT shard, name AS endpoint_name FROM miosa.stat_endpoint WHERE state = 'healthy') s"),
	's0 router s1 router', 'the router shows the endpoint of both');
$router->sql("SELECT miosa_rollback('$id{$_}')") for qw(s0 s1);
ok(served($_, 'v2'), "a rollback of $_ arrives") for qw(s0 s1);
ok(verified(), '... and is verified');
ok(read_again(), 'markers are read again');
is(losses(), 0, 'no shard has taken the marker of the other one for a loss');

for my $turn (1 .. 2)
{
	$edge->reload('router-1');
	ok(served($_, 'v2'), "after a reload the edge has the route of $_ again") for qw(s0 s1);
	ok(verified(), '... and it is verified');
	ok(read_again(), '... again and again');
	is(losses(), 2 * $turn, '... each shard has noticed it once');
}

done_testing();
