# When edges had an operation: measured by the dispatcher, and said to be unknown
# where it could not.

use strict;
use warnings FATAL => 'all';

use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('edge_times');
my $sink = MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short())->start;
my ($turn, $gate) = (0, 0);

sub sql { return $node->safe_psql('postgres', @_) }
sub wait_sql { return MiosaTest::wait_sql($node, @_) }

# The other version of the deployment; the number of the operation.
sub flip
{
	my ($deployment) = @_;

	return sql("SELECT split_part(miosa_promote('$deployment', 'v" . (++$turn % 2 + 1)
		  . "') -> 'operation' ->> 'id', '#', 2)");
}

# The row of an operation comes to be like this; the last edge by a pattern.
sub logged
{
	my ($deployment, $seq, $row, $edge, $what) = @_;
	my $of = "FROM miosa.convergence_log WHERE deployment_id = '$deployment' AND seq = $seq";

	is(wait_sql("SELECT concat_ws(' ', state, confirmed || ' of ' || edges) $of", $row), $row, $what);
	like(sql("SELECT last_edge $of"), qr/^$edge$/, "$what: the last edge");
}

# The next request to an edge gets no answer before it is let go.
sub hold { $sink->answer('^/far', hold => 'gate' . ++$gate, times => 1) }
sub release { $sink->release("gate$gate") }

# All edges but that one have the route.
sub all_but_one
{
	is(wait_sql("SELECT count(*) FROM miosa.convergence_rows('dep_1') WHERE done", 3), 3, 'all edges but one');
}

sql(q(
	SELECT miosa_put_tenant('ten_1', 'acme');
	SELECT miosa_put_deployment('dep_' || d, 'ten_1', 'shop-' || d) FROM generate_series(1, 2) d;
	SELECT miosa_put_version('dep_' || d, 'v' || v, v) FROM generate_series(1, 2) d, generate_series(1, 2) v));
sql("SELECT miosa_put_endpoint(e.name, 'webhook', '" . $sink->url . "/' || e.name, zone => e.zone, selector => e.selector)
	FROM (VALUES ('near1', 'eu', '{}'::jsonb), ('near2', 'us', '{}'), ('near3', 'us', '{}'), ('far', 'eu', '{\"deployment\": \"dep_1\"}'),
		('dead', 'eu', '{\"deployment\": \"dep_2\"}')) e (name, zone, selector)");
$sink->answer('^/dead', status => 503);
my $dead = flip('dep_2');

# all edges, the last one named
hold();
my $seq = flip('dep_1');
all_but_one();
is(sql("SELECT count(*) FROM miosa.convergence_log WHERE deployment_id = 'dep_1'"), '0', 'not before the last edge');
release();
logged('dep_1', $seq, 'converged 4 of 4', 'far', 'all edges');
is(sql("SELECT first_ms > 0 AND first_ms <= p50_ms AND p50_ms < p99_ms AND p99_ms = last_ms AND tenths_ms[10] = last_ms
			AND tenths_ms[5] = p50_ms AND cardinality(tenths_ms) = 10 AND l.taken_at > l.created_at
			AND (zones #>> '{eu,ms}')::double precision = last_ms AND (zones #>> '{us,ms}')::double precision < last_ms
			AND zones #- '{eu,ms}' #- '{us,ms}' = '{\"eu\": {\"edges\": 2, \"confirmed\": 2}, \"us\": {\"edges\": 2, \"confirmed\": 2}}'
			AND l.created_at = a.created_at AND l.tenant_id = a.tenant_id
		FROM miosa.convergence_log l JOIN miosa.audit_events a USING (deployment_id, seq) WHERE deployment_id = 'dep_1' AND seq = $seq"),
	't', 'the times') or diag(sql('TABLE miosa.convergence_log'));

# a change of something else is no operation
my $rows = sql('SELECT l FROM miosa.convergence_log l WHERE deployment_id = \'dep_1\'');
sql("SELECT miosa_put_domain('www.example.com', 'dep_1')");
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"), 'converged', 'edges have the host');

# superseded
hold();
my $first = flip('dep_1');
all_but_one();
my $second = flip('dep_1');
logged('dep_1', $first, 'superseded 3 of 4', 'near\d', 'superseded');
release();
logged('dep_1', $second, 'converged 4 of 4', 'far', 'the newer one');
is(sql("SELECT l FROM miosa.convergence_log l WHERE deployment_id = 'dep_1' AND seq = $seq"), $rows, 'nothing is written again');

# An edge that is disabled meanwhile is not counted.
hold();
$first = flip('dep_1');
all_but_one();
sql("SELECT miosa_set_endpoint('far', false)");
logged('dep_1', $first, 'converged 3 of 3', 'near\d', 'without the edge');
release();
sql("SELECT miosa_set_endpoint('far', true)");
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"), 'converged', 'the edge is back');

# An edge is down, and what is known is written; a restart loses the rest.
logged('dep_2', $dead, 'incomplete 3 of 4', 'near\d', 'one edge is down');
hold();
$first = flip('dep_1');
all_but_one();
# What the dispatcher has taken without a flush would be taken again.
sql('CHECKPOINT');
$node->stop('immediate');
$node->start;
release();
logged('dep_1', $first, 'unknown', '', 'not seen to the end');
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"), 'converged', 'converged after the restart');
$second = flip('dep_1');
logged('dep_1', $second, 'converged 4 of 4', '\w+', 'the next one is measured');
is(sql('SELECT unmeasured FROM miosa.stat_dispatcher'), '0', 'none was too many');

$node->stop;
done_testing();
