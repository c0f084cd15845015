# Capacity by the clock: the settings take effect when they are reloaded, what
# waits or dies is found by the next pass, a pass reads no more than its page,
# and a standby shows all of it but changes nothing.

use strict;
use warnings FATAL => 'all';

use MiosaTest qw(make_node wait_sql);
use MiosaPostgres;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = MiosaPostgres->new('primary');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', <<'EOC');
shared_preload_libraries = 'miosa_rollback'
max_worker_processes = 16
miosa_rollback.lock_wait = 60s
EOC
$node->start;
$node->safe_psql('postgres', <<'EOS');
CREATE EXTENSION miosa_rollback;
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', slug => 'app', kind => 'dynamic', desired_replicas => 2);
SELECT count(miosa_put_version('dep_1', 'ver_' || i, storage_uri => 'test://artifact')) FROM generate_series(1, 4) i;
EOS

sub value
{
	return $node->safe_psql('postgres', shift);
}

# A setting that is in effect in new sessions
sub set
{
	my ($name, $value) = @_;

	value("ALTER SYSTEM SET miosa_rollback.$name = '$value'");
	value('SELECT pg_reload_conf()');
	$node->poll_query_until('postgres',
		"SELECT current_setting('miosa_rollback.$name')::interval = '$value'::interval")
	  or die "$name was not set\n";
	return;
}

# What a query returns after passes, as soon as that is what is expected
sub passes_until
{
	my ($query, $expected) = @_;

	return wait_sql($node, <<"EOS", $expected) =~ s/^.*\n//r;
SELECT '' FROM miosa.capacity_pass('', 1000);
$query
EOS
}

sub report
{
	my ($version, $count, $state) = @_;

	value("SELECT count(miosa_report_instance('dep_1', '$version-' || i, '$version', '$state')) FROM generate_series(1, $count) i");
	return;
}

my $route = 'SELECT version_id FROM miosa.routes';
my $version_2 = "SELECT state FROM miosa.capacity WHERE version_id = 'ver_2'";

value("SELECT miosa_promote('dep_1', 'ver_1')");
report('ver_1', 2, 'healthy');
is(value('SELECT state FROM miosa.deployments'), 'running', 'it runs');

# The deadline
value("SELECT miosa_promote('dep_1', 'ver_2')");
report('ver_2', 1, 'healthy');
value("SELECT * FROM miosa.capacity_pass('', 1000)");
is(value($route), 'ver_1', 'one of two is not enough');
set(cutover_deadline => '100 ms');
is(passes_until($route, "\nver_2"), 'ver_2', 'after the deadline it is');
is(value('SELECT waiting_since IS NULL FROM miosa.deployments'),
	't', 'and nothing waits any more');
report('ver_2', 2, 'healthy');

# With none it stays, and everybody says so
value("SELECT miosa_promote('dep_1', 'ver_3')");
is( wait_sql(
		$node, 'SELECT id, version_id, serving_version_id, healthy FROM miosa.overdue',
		'dep_1|ver_3|ver_2|0'),
	'dep_1|ver_3|ver_2|0',
	'with none it is overdue');
value("SELECT * FROM miosa.capacity_pass('', 1000)");
is(value($route), 'ver_2', 'and the old version is served');
like(
	value("SELECT value FROM miosa.status('app') WHERE item = 'verdict'"),
	qr/^OVERDUE: v3 has no healthy instance for .*, v2 is served$/,
	'miosa.status says so');
is(value(q{SELECT status FROM miosa_doctor() WHERE item = 'capacity'}),
	'fail', 'and miosa_doctor()');
set(cutover_deadline => '1 h');
report('ver_3', 2, 'healthy');
is(value($route), 'ver_3', 'until they come');
is(value(q{SELECT status FROM miosa_doctor() WHERE item = 'capacity'}),
	'ok', 'then all is well');

# Who does not wait at all
value("SELECT miosa_report_instance('dep_1', 'ver_2-2', 'ver_2', 'unhealthy')");
is( value("SELECT miosa_plan('dep_1', 'ver_2') -> 'data' ->> 'outcome'"),
	'pending', 'one of two is not enough');
set(cutover_deadline => '0');
is( value("SELECT miosa_plan('dep_1', 'ver_2') -> 'data' ->> 'outcome'"),
	'changed', 'without a deadline it is at once');
is( value("BEGIN; UPDATE miosa.deployments SET active_version_id = 'ver_2'; $route; ROLLBACK"),
	'ver_2', 'also by a plain UPDATE');
set(cutover_deadline => '1 h');

# Heartbeats; the term began too lately for anybody to be taken for dead
value("SELECT miosa_rollback('dep_1', 'ver_2')");
report('ver_2', 2, 'healthy');
value("UPDATE miosa.dispatcher_state SET term_since = now() - interval '1 h'");
value("SELECT miosa_promote('dep_1', 'ver_4')");
is(value($route), 'ver_2', 'a version without instances waits');
set(heartbeat_timeout => '1 s');
is( wait_sql($node, 'SELECT count(*) FROM miosa.live_instances', 0),
	0, 'those without a recent heartbeat do not count');
is(passes_until($route, "\nver_4"), 'ver_4', 'and are nothing to wait for');
set(heartbeat_timeout => '1 h');
is(value("SELECT count(*) FROM miosa.live_instances WHERE version_id = 'ver_2'"),
	2, 'a longer time-out counts them again');
report('ver_4', 2, 'healthy');
is(value('SELECT state FROM miosa.deployments'), 'running', 'it runs');

# Drains. Versions 2 (before) and 4 are kept
set(drain_delay => '-1');
is( passes_until(q{SELECT string_agg(version_id || ' ' || state, ', ' ORDER BY version_id) FROM miosa.capacity}, "\nver_1 idle, ver_3 idle"),
	'ver_1 idle, ver_3 idle',
	'two versions are not needed');
set(drain_delay => '100 ms');
is( passes_until(q{SELECT string_agg(state, ', ' ORDER BY id) FROM miosa.runtime_instances WHERE version_id IN ('ver_1', 'ver_3')},
		"\nstopping, stopping, stopping, stopping"),
	'stopping, stopping, stopping, stopping',
	'they are drained when it is time');
is( value(q{SELECT string_agg(version_id, ' ' ORDER BY id) FROM miosa.runtime_instances WHERE state = 'healthy'}),
	'ver_2 ver_2 ver_4 ver_4',
	'and no others');
report('ver_1', 2, 'stopped');
report('ver_3', 2, 'destroyed');
is( passes_until(q{SELECT string_agg(version_id || ' ' || state, ', ' ORDER BY version_id) FROM miosa.capacity}, "\nver_1 drained, ver_3 drained"),
	'ver_1 drained, ver_3 drained',
	'when they have stopped that is noted');

# A page of a pass reads its own part of the tables, by their indexes
value(<<'EOS');
INSERT INTO miosa.deployments (id, tenant_id, name, slug, kind, state, desired_replicas, active_version_id, recent_served)
	SELECT 'many_' || i, 'ten_1', 'Many', 'many-' || i, 'dynamic', 'running', 2, 'b', '{b,a}' FROM generate_series(10001, 15000) i;
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, kind, state)
	SELECT 'many_' || i, v, 'ten_1', ascii(v), 'dynamic', 'ready' FROM generate_series(10001, 15000) i, unnest('{a,b}'::text[]) v;
INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id, state, last_heartbeat_at)
	SELECT 'many_' || i, v || n, 'ten_1', v, 'healthy', now() FROM generate_series(10001, 15000) i, unnest('{a,b}'::text[]) v, generate_series(1, 2) n;
ANALYZE miosa.deployments, miosa.runtime_instances;
EOS
my $read = value(<<'EOS');
BEGIN;
DO $$
DECLARE
	page record;
	at text := '';
BEGIN
	LOOP
		SELECT * INTO page FROM miosa.capacity_pass(at, 1000);
		IF page.changed > 0 THEN
			RAISE 'changed % after %', page.changed, at;
		END IF;
		at := page.next;
		EXIT WHEN at IS NULL;
	END LOOP;
END $$;
-- what this transaction has read, and not the dispatcher
SELECT sum(seq_tup_read) FROM pg_stat_xact_user_tables
	WHERE relname IN ('deployments', 'runtime_instances') AND schemaname = 'miosa';
COMMIT;
EOS
cmp_ok($read, '<', 5000, 'a pass reads no table from end to end');

# A standby
$node->backup('base');
my $standby = MiosaPostgres->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
report('ver_4', 2, 'healthy');
$node->wait_for_catchup($standby);
for my $call ("miosa_report_instance('dep_1', 'x', 'ver_4', 'healthy')",
	"miosa.capacity_pass('', 1000)", "miosa.take_poll('dep_1', 'ver_4', 'k8s', 1)")
{
	my (undef, undef, $error) =
	  $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call;");

	like($error, qr/MR53P: this server is a standby/, "a standby refuses $call");
}
my $alive = "SELECT count(*) FROM miosa.live_instances WHERE deployment_id = 'dep_1'";
like( $standby->safe_psql('postgres',
		"SELECT value FROM miosa.status('app') WHERE item = 'instances'"),
	qr/^\d healthy, 0 starting, 2 wanted$/,
	'but shows how it is');

# When it takes over, nobody is taken for dead before there was time to report
my $term = value('SELECT term_since FROM miosa.dispatcher_state');
set(heartbeat_timeout => '1 s');
is(wait_sql($node, $alive, 0), 0, 'none has sent a heartbeat before the primary fails');
$node->wait_for_catchup($standby);
$node->stop('immediate');
$standby->promote;
$standby->safe_psql('postgres', 'SELECT miosa_resume()');
is($standby->safe_psql('postgres', $alive), 4, 'the new term begins with all of them');
is(wait_sql($standby, "SELECT term_since > '$term' FROM miosa.dispatcher_state", 't'),
	't', 'which has begun');
$standby->safe_psql('postgres', "ALTER SYSTEM SET miosa_rollback.heartbeat_timeout = '1 s'");
$standby->reload;
is(wait_sql($standby, $alive, 0), 0, 'and not for longer than a time-out');

$standby->stop;
done_testing();
