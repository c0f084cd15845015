# Many dynamic deployments: an incident that asks for instances of a thousand
# at once, and what it costs to look after ten thousand.

use strict;
use warnings FATAL => 'all';

use JSON::PP qw(decode_json);
use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $number = 10000;
my $asked = 1000;
my $node = make_node('many', "miosa_rollback.capacity_interval = 1h\n");
my $sink = MiosaSink->new(
	dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')->start;

# All have served for long, by instances that a scheduler counts
sql(qq{
	SELECT miosa_put_tenant('ten_1', 'acme');
	INSERT INTO miosa.deployments (id, tenant_id, slug, name, kind, state, desired_replicas)
		SELECT 'dep_' || i, 'ten_1', 'app-' || i, 'app-' || i, 'dynamic', 'pending', 1 FROM generate_series(1, $number) i;
	INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, kind, state)
		SELECT 'dep_' || i, 'ver_' || v, 'ten_1', v, 'dynamic', 'ready'
		FROM generate_series(1, $number) i, generate_series(1, 2) v;
	INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id, state, last_heartbeat_at, reported_by)
		SELECT 'dep_' || i, 'boots:ver_1:1', 'ten_1', 'ver_1', 'healthy', now(), 'boots' FROM generate_series(1, $number) i;
	SELECT count(miosa_promote('dep_' || i, 'ver_1')) FROM generate_series(1, $number) i});
sql('VACUUM ANALYZE');

my $all = milliseconds('NULL');
my $one = milliseconds(q('{dep_7}'));

is(sql('SELECT count(*) FROM miosa.capacity_requests(NULL)'), $number, 'each is to be polled');
note sprintf 'to read what is wanted: %.1f ms of %d deployments, %.2f ms of one', $all, $number, $one;
cmp_ok($one, '<', $all / 20, 'to look at one is not to look at all');

# An incident: what a thousand go to has no instances
sql("SELECT miosa_put_endpoint('boots', 'webhook-scheduler', '" . $sink->url . "/boots')");
is( MiosaTest::wait_sql(
		$node, "SELECT health FROM miosa.endpoint_stats() WHERE endpoint = 'boots'", 'new'),
	'new', 'the scheduler is known');
my $start = time();

sql("SELECT count(miosa_promote('dep_' || i, 'ver_2')) FROM generate_series(1, $asked) i");
my $committed = time();

ok($sink->wait_for($asked, '^/boots'), 'all of them are asked for');
my @request = $sink->requests;
my %count;

$count{ decode_json($_->{body})->{data}{deployment_id} }++ for @request;
is(scalar keys %count, $asked, 'each of them');
is(scalar(grep { $_ > 1 } values %count), 0, 'none of them twice');
note sprintf '%d asked for within %.2f s of the commit', $asked, $request[-1]{time} - $committed;
is( MiosaTest::wait_sql(
		$node, "SELECT count(*) FROM miosa.capacity WHERE state = 'wanted' AND asked_at IS NOT NULL", $asked),
	$asked, 'and all of that is written down');

sub sql { return $node->safe_psql('postgres', @_); }

# What the dispatcher's statement takes, which is planned once; the best of three.
sub milliseconds
{
	my ($ids) = @_;
	my $plan = sql("SET jit = off; SET plan_cache_mode = force_generic_plan;
		PREPARE read(text[]) AS SELECT * FROM miosa.capacity_requests(\$1);"
		  . "EXPLAIN (ANALYZE, TIMING off) EXECUTE read($ids);" x 4);
	my ($best) = sort { $a <=> $b } $plan =~ /Execution Time: ([\d.]+) ms/g;
	return $best;
}

done_testing();
