# Deployments move between shards while they are rolled back and promoted: nothing
# that was acknowledged is lost or done twice, keys and the audit trail go along,
# and edges receive routes from the shard that has it. A move that was interrupted
# goes on.

use strict;
use warnings FATAL => 'all';

use IPC::Run ();
use MiosaHttp qw(poll_until);
use MiosaRouter;
use MiosaTest qw(make_edge make_node);
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'this PostgreSQL has no PL/Proxy' unless MiosaRouter->available;

my $node = make_node('all', "max_worker_processes = 16\n");
my $router = MiosaRouter->new($node, map { [ $_ => $node ] } qw(s0 s1));
my $edge = make_edge(router => 'haproxy');
my $id = $router->here('s0');

$router->sql("SELECT miosa_put_tenant('ten_1', 'acme'); SELECT miosa_put_secret('edge', '$edge->{secret}')");
$router->sql("SELECT miosa_put_endpoint('router', 'haproxy-map', '" . $edge->router_url('router-1') . "', secret => 'edge')");
$router->sql("SELECT miosa_put_deployment('$id', 'ten_1', slug => 'shop'); SELECT miosa_put_domain('shop.test', '$id'); SELECT miosa_put_domain('gone.test', '$id')");
$router->sql("SELECT miosa_put_version('$id', 'v$_', $_, state => 'ready', storage_uri => 'test://$_')") for 1 .. 3;
$router->sql("SELECT miosa_promote('$id', 'v$_', 'p$_')") for 1 .. 3;

sub on { return join ' ', grep { $router->shard_sql($_, "SELECT count(*) FROM miosa.deployments WHERE id = '$id'") } qw(s0 s1) }

sub route_is
{
	my ($host, $value) = @_;

	return poll_until(sub { my $answer = $edge->route('router-1', 'GET', $host);
		($answer->{status} == 404 ? '' : $answer->{body}) eq $value }, 180, 0.05);
}

ok(route_is('shop.test', "$id/v3"), 'the edge has the route');

# Two clients that retry with their keys, while the deployment moves there and back.
my $dir = PostgreSQL::Test::Utils::tempdir();
my @clients;
for my $client (1 .. 2)
{
	append_to_file("$dir/client$client.sql", <<"EOS");
CREATE TEMP TABLE done (key text);
CREATE FUNCTION pg_temp.act(key text, version text) RETURNS boolean LANGUAGE plpgsql AS \$\$
BEGIN
	PERFORM miosa_promote('$id', version, key);
	RETURN true;
EXCEPTION WHEN SQLSTATE 'MR423' OR SQLSTATE 'MR53S' THEN
	RETURN false;
END \$\$;
DO \$\$
DECLARE
	n integer := 0;
	acted boolean;
BEGIN
	WHILE NOT EXISTS (SELECT FROM public.stop) LOOP
		n := n + 1;
		LOOP
			acted := pg_temp.act('c$client-' || n, 'v' || (1 + (n + $client) % 3));
			COMMIT;
			EXIT WHEN acted;
			PERFORM pg_sleep(0.02);
			COMMIT;
		END LOOP;
		INSERT INTO done VALUES ('c$client-' || n);
		COMMIT;
	END LOOP;
END \$\$;
SELECT key FROM done;
EOS
}
$router->sql('CREATE TABLE public.stop (n integer); CREATE TABLE public.dummy ()');
for my $client (1 .. 2)
{
	my %run = (in => '', out => '', err => '');

	$run{handle} = IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('router'), '-f', "$dir/client$client.sql" ],
		\$run{in}, \$run{out}, \$run{err});
	push @clients, \%run;
}
my $events = "SELECT count(DISTINCT seq) FROM miosa.audit_events WHERE deployment_id = '$id'";

for my $turn (1 .. 4)
{
	my $to = $turn % 2 ? 's1' : 's0';
	my $before = $router->shard_sql($turn % 2 ? 's0' : 's1', $events);

	ok(poll_until(sub { $router->shard_sql($turn % 2 ? 's0' : 's1', $events) > $before + 3 }, 180, 0.02), 'operations are at work');
	$router->sql("CALL miosa_move_deployment('$id', '$to')");
	is(on(), $to, "the deployment is on $to alone");
}
$router->sql('INSERT INTO stop VALUES (1)');
$_->{handle}->finish for @clients;
is(join('', map { $_->{err} =~ s/^.*NOTICE.*\n//mgr =~ s/^.*(?:PL\/Proxy function|PL\/pgSQL function|SQL statement|LOCATION|CONTEXT).*\n//mgr } @clients), '', 'clients have seen nothing but what can be retried');

my @acknowledged = map { split /\n/, $_->{out} } @clients;
cmp_ok(scalar @acknowledged, '>', 15, scalar(@acknowledged) . ' operations were acknowledged');
my $keys = $router->shard_sql('s0', "SELECT string_agg(idempotency_key, ' ' ORDER BY idempotency_key) FROM miosa.audit_events WHERE deployment_id = '$id' AND idempotency_key LIKE 'c%'");
is($keys, join(' ', sort @acknowledged), 'each one is in the audit trail, once, and no other');
is($router->sql("SELECT miosa_audit_verify_all() #>> '{data,events}'"), $router->shard_sql('s0', "SELECT count(*) FROM miosa.audit_events"), 'the trail of all shards counts each event once');
is($router->shard_sql('s0', "SELECT max(seq) - count(*) FROM miosa.audit_events WHERE deployment_id = '$id'"), 0, 'numbers have no gaps');
is($router->sql("SELECT miosa_audit_verify('$id') #>> '{data,verified}'"), 'true', 'the chain of the trail is whole');
is($router->sql("SELECT miosa_audit_verify_all() #>> '{data,verified}'"), 'true', '... also what the other shard keeps of it');
is($router->sql("SELECT count(*) FROM jsonb_array_elements(miosa_audit_log(\"limit\" => 200) -> 'data') e"),
	$router->sql("SELECT count(DISTINCT e ->> 'id') FROM jsonb_array_elements(miosa_audit_log(\"limit\" => 200) -> 'data') e"), 'the trail of all shards has each event once');
is($router->sql("SELECT miosa_promote('$id', 'v2', 'p2') #>> '{operation,id}'"), "$id#2", 'keys have moved along');

# Edges: the newest route is that of the shard that has the deployment.
$router->sql("SELECT miosa_promote('$id', 'v1', 'last')");
ok(route_is('shop.test', "$id/v1"), 'the edge has the last operation');
my $epoch = $router->sql("SELECT miosa_route('shop.test') #>> '{data,epoch}'");
$router->sql("CALL miosa_move_deployment('$id', 's1')");
$router->sql("SELECT miosa_promote('$id', 'v2', 'there')");
ok(route_is('shop.test', "$id/v2"), '... after a move, from the other shard');
ok(poll_until(sub { $router->sql("SELECT miosa_route('shop.test') #>> '{data,epoch}'") > $epoch }, 180, 0.05), '... with a higher epoch');
$edge->reload('router-1');
ok(route_is('shop.test', "$id/v2"), '... and again after a reload');
$router->sql("SELECT miosa_remove_domain('gone.test')");
ok(route_is('gone.test', ''), 'a host is removed by the shard that has it');

# A host that was removed on one shard and is put on the other one.
my $other = $router->here('s0', 2);
$router->sql("SELECT miosa_put_deployment('$other', 'ten_1', slug => 'other')");
$router->sql("SELECT miosa_put_version('$other', 'v1', 1, state => 'ready'); SELECT miosa_promote('$other', 'v1')");
$router->sql("SELECT miosa_put_domain('gone.test', '$other')");
ok(route_is('gone.test', "$other/v1"), '... and put on another shard');
is($router->shard_sql('s1', "SELECT count(*) FROM miosa.removed_hosts WHERE host = 'gone.test'"), 0, '... which the first one has forgotten');
$router->sql("SELECT miosa_resync('router')");
ok(poll_until(sub { !grep { $router->shard_sql($_, "SELECT count(*) FROM miosa.stat_endpoint WHERE state <> 'healthy' OR epochs_behind > 0") } qw(s0 s1) }, 180, 0.05), 'both shards resynchronize');
ok(route_is('gone.test', "$other/v1"), '... and it stays');

# Interrupted after each step: the same call goes on, or one with the shard that it
# began on turns it back, until the other shard has it.
sub begin_move { return $router->sql("SELECT number FROM miosa_router.begin_move('$id', 0)") }

my @steps = (
	sub { },
	sub { $router->sql("SELECT miosa_router.at_shard(1, 'take', '$id', $_[0])") },
	sub { $router->sql("SELECT miosa_router.at_shard(0, 'put', NULL, $_[0], miosa_router.at_shard(1, 'parcel', '$id'))") },
	sub { $router->sql("SELECT miosa_router.end_move('$id', $_[0], 0)") });
for my $n (0 .. $#steps)
{
	for my $end ('forward', 'back')
	{
		$router->sql("CALL miosa_move_deployment('$id', 's1')");
		my $number = begin_move();

		$steps[$_]->($number) for 0 .. $n;
		is(on(), (qw(s1), '', qw(s0 s0))[$n], "interrupted after step $n: it is on one shard at most");
		like(($router->try("SELECT miosa_rollback('$id')"))[2], qr/ERROR:  deployment "$id" is being moved\nDETAIL:  It moves from shard "s1" to "s0"\.\nHINT:  Retry/, '... calls are refused with advice to retry')
		  if $n < 3;
		like($router->sql("SELECT string_agg(item || ' ' || status || ' ' || seen, E'\n') FROM miosa_doctor() WHERE item LIKE 'router%' AND (item = 'router: moves' OR seen LIKE '%interrupted%')"),
			qr/interrupted/, '... the doctor says so');
		if ($end eq 'back' && $n < 2)
		{
			$router->sql("CALL miosa_move_deployment('$id', 's1')");
			is(on(), 's1', '... it is turned back');
			# Steps that come late do nothing.
			is($router->sql("SELECT miosa_router.at_shard(1, 'take', '$id', $number)"), 'false', '... a step that comes late takes nothing');
			is($router->sql("SELECT miosa_router.at_shard(0, 'put', NULL, $number, '{\"deployment_id\": \"$id\"}')"), 'false', '... and puts nothing');
			is(on(), 's1', '... it stays');
		}
		else
		{
			like(($router->try("CALL miosa_move_deployment('$id', 's1')"))[2],
				qr/ERROR:  the move of deployment "$id" cannot be turned back\nDETAIL:  Shard "s0" has it\.\nHINT:  Finish the move: CALL miosa_move_deployment\('$id', 's0'\);/, '... it cannot be turned back')
			  if $n == 2;
			$router->sql("CALL miosa_move_deployment('$id', 's0')");
			is(on(), 's0', '... the same call finishes it');
		}
		is($router->shard_sql($_, 'SELECT count(*) FROM miosa_shard.parcels'), 0, "... and leaves nothing behind on $_") for qw(s0 s1);
		is($router->sql('SELECT count(*) FROM miosa_router.moves'), 0, '... nor at the router');
		is($router->sql("SELECT miosa_promote('$id', 'v3', 'step$n$end') #>> '{operation,outcome}' IN ('changed', 'unchanged')"), 't', '... it takes operations');
	}
}
ok(route_is('shop.test', "$id/v3"), 'the edge has the last one');
is($router->sql("SELECT miosa_audit_verify_all() #>> '{data,verified}'"), 'true', 'the chains are whole on both shards');
is($router->sql("SELECT miosa_audit_verify_all() #>> '{data,events}'"),
	$router->shard_sql(on(), "SELECT count(*) FROM miosa.audit_events WHERE deployment_id = '$id'") + $router->shard_sql('s0', "SELECT count(*) FROM miosa.audit_events WHERE deployment_id = '$other'"),
	'... each event is counted once');
like(($router->try("CALL miosa_move_deployment('$id', 's7')"))[2], qr/ERROR:  shard "s7" does not exist\nHINT:  Shards: s0, s1/, 'a shard that there is not');
like(($router->try("CALL miosa_move_deployment('nobody', '$_')"))[2] // '', $_ eq $router->sql("SELECT miosa_router.shard_name(miosa_router.place_of('nobody'))")
	  ? qr/^(?!.*ERROR)/s : qr/ERROR:  deployment "nobody" does not exist/, "a deployment that there is not, to $_") for qw(s0 s1);
is($router->sql('SELECT count(*) FROM miosa_router.moves'), 0, '... is not being moved');

done_testing();
