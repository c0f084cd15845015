# What monitoring sees: how endpoints are, what was counted, and how long it
# took, while and after things go wrong.

use strict;
use warnings FATAL => 'all';

use JSON::PP qw(decode_json);
use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = make_node('stat');
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $sink = MiosaSink->new(dir => "$dir/sink")->start;
my %turn;

sub sql { return $node->safe_psql('postgres', @_); }

sub wait_sql { return MiosaTest::wait_sql($node, @_); }

# The other version of the deployment.
sub flip
{
	my ($deployment) = @_;

	return sql("SELECT miosa_promote('$deployment', 'v"
		  . (++$turn{$deployment} % 2 + 1) . "')");
}

sub converge
{
	my ($deployment) = @_;

	flip($deployment);
	return sql("SELECT miosa_wait_converged('$deployment', '180 s')");
}

# One row as a hash.
sub row
{
	my ($view, $where) = @_;

	return decode_json(sql("SELECT to_json(v) FROM miosa.$view v"
		  . ($where ? " WHERE $where" : '')));
}

sub endpoint { my ($name) = @_; return row('stat_endpoint', "name = '$name'"); }
sub dispatcher { return row('stat_dispatcher'); }

sub activity
{
	return 'SELECT a.state, a.query FROM pg_stat_activity a
		JOIN miosa.dispatcher() d ON d.pid = a.pid';
}

sql(<<"EOS");
INSERT INTO miosa.secrets (name, value) VALUES ('key', 'very secret');
INSERT INTO miosa.adapters (name, timeout, request) VALUES ('test-router', '5 min',
	'{"method": "PUT", "path": "/{deployment_id}/{version_id}",
	"headers": {"Authorization": "Bearer {secret}"}}');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment(d, 'ten_1', d) FROM unnest(ARRAY['a', 'b']) d;
SELECT miosa_put_version(d, 'v' || n, n)
	FROM unnest(ARRAY['a', 'b']) d, generate_series(1, 2) n;
SELECT miosa_put_endpoint('one', 'test-router', '@{[ $sink->url ]}/one', secret => 'key');
SELECT miosa_put_endpoint('two', 'test-router', '@{[ $sink->url ]}/two', zone => 'us', secret => 'key');
EOS
converge($_) for qw(a b);

# All is well
my $row = endpoint('one');
is($row->{state}, 'healthy', 'an endpoint that answers is healthy');
is("$row->{breaker} $row->{zone} $row->{stage} $row->{adapter} $row->{last_status}",
	'closed default 0 test-router 200', 'with what it is');
is(wait_sql("SELECT epochs_behind FROM miosa.stat_endpoint WHERE name = 'one'", 0),
	0, 'it lacks nothing');
is($row->{undelivered_since}, undef, 'nothing is undelivered');
cmp_ok($row->{sent}, '>=', 2, 'requests are counted');
is("$row->{succeeded} $row->{failed} $row->{retried}",
	"$row->{sent} 0 0", 'all succeeded');
ok($row->{last_success_at} && !$row->{last_error_at}, 'with the time');
$row = dispatcher();
is($row->{state}, 'running', 'the dispatcher runs');
is($row->{pid}, sql("SELECT pid FROM pg_stat_activity WHERE application_name LIKE '%dispatcher'"),
	'with its process');
is($row->{oldest_undelivered}, undef, 'and has nothing left to do');
is($row->{epoch}, sql('SELECT last_epoch FROM miosa.dispatcher_state'), 'its epoch');
cmp_ok($row->{passes}, '>', 0, 'passes are counted');
is(wait_sql(activity(), 'idle|2 endpoints, 0 in flight, 0 pending'),
	'idle|2 endpoints, 0 in flight, 0 pending', 'pg_stat_activity says so');

# An endpoint that hangs
$sink->answer('^/two/a/', hold => 'gate');
flip('a');
is(wait_sql(activity(), 'idle|2 endpoints, 1 in flight, 1 pending'),
	'idle|2 endpoints, 1 in flight, 1 pending', 'pg_stat_activity shows what is waited for');
is(wait_sql(q(SELECT in_flight || ' ' || pending FROM miosa.stat_dispatcher), '1 1'), '1 1', 'so does the view');
$row = dispatcher();
is($row->{oldest_undelivered},
	sql("SELECT to_json(max(created_at)) #>> '{}' FROM miosa.route_log"),
	'since when is known');
is(wait_sql("SELECT epochs_behind FROM miosa.stat_endpoint WHERE name = 'one'", 0),
	0, 'the other endpoint has it');
is(endpoint('two')->{epochs_behind}, 1, 'this one not');
flip('b');
is(wait_sql("SELECT epochs_behind FROM miosa.stat_endpoint WHERE name = 'two'", 2),
	2, 'and falls back further');
$sink->plain->release('gate');
is(sql("SELECT miosa_wait_converged('a', '180 s')"), 'converged', 'until it answers');
is(wait_sql("SELECT epochs_behind FROM miosa.stat_endpoint WHERE name = 'two'", 0),
	0, 'then it has all');

# One that fails
my $before = sql('SELECT clock_timestamp()');
$sink->answer('^/two/', status => 503);
flip('a');
is(wait_sql("SELECT state FROM miosa.stat_endpoint WHERE name = 'two'", 'backing off'),
	'backing off', 'an endpoint that fails backs off');
$row = endpoint('two');
like($row->{breaker}, qr/^(?:half )?open$/, 'its circuit is open');
is($row->{last_status}, 503, 'the status');
like($row->{last_error}, qr/503/, 'the error');
ok($row->{next_try_at} && $row->{last_error_at}, 'and the times are shown');
is($row->{epochs_behind}, 1, 'how far it is behind');
is(sql("SELECT '$row->{undelivered_since}' BETWEEN '$before' AND clock_timestamp()"),
	't', 'since when it lacks something');
is(wait_sql("SELECT failed > 1 AND retried > 0 FROM miosa.stat_endpoint WHERE name = 'two'", 't'),
	't', 'failures and retries are counted');
is(wait_sql('SELECT failed > 1 FROM miosa.stat_dispatcher', 't'), 't', 'by the dispatcher, too');
is(endpoint('one')->{state}, 'healthy', 'the other one is well');
$sink->plain;
is(sql("SELECT miosa_wait_converged('a', '180 s')"), 'converged', 'it works again');
is(wait_sql("SELECT state || ' ' || breaker FROM miosa.stat_endpoint WHERE name = 'two'", 'healthy closed'),
	'healthy closed', 'and is healthy');
$row = endpoint('two');
is($row->{next_try_at}, undef, 'without a next try');
cmp_ok($row->{failed}, '>', 1, 'what was counted stays');

# Latency: 19 changes of a tenth of a second, one of a second
sql('SELECT miosa_reset_stats()');
my $began = time();
$sink->answer('^/', delay => 0.1);
converge('a') for 1 .. 19;
$sink->answer('^/one/', delay => 1);
converge('a');
$sink->plain;
my $all_ms = 1000 * (time() - $began);
$row = endpoint('one');
cmp_ok($row->{p50_ms}, '>', 88, 'half took no less than the answer');
cmp_ok($row->{p50_ms}, '<', 1.1 * $all_ms / 10, 'and not much more');
cmp_ok($row->{p99_ms}, '>', 880, 'the slowest shows in p99');
cmp_ok($row->{p95_ms}, '<=', $row->{p99_ms}, 'p95 is no more');
cmp_ok($row->{p95_ms}, '>=', $row->{p50_ms}, 'and no less than the half');
cmp_ok(endpoint('two')->{p50_ms}, '<', $row->{p99_ms}, 'the other endpoint was quicker');

# Nobody sees half of a change
$sink->answer('^/', delay => 0.01);
sql('CREATE TABLE enough ()');
my $flips = $node->background_psql('postgres');
$flips->query_until(qr//, "DO \$\$ DECLARE n integer := 0; BEGIN WHILE NOT EXISTS (SELECT FROM enough) LOOP n := n + 1;
	PERFORM miosa_promote('b', 'v' || (n % 2 + 1)); COMMIT; PERFORM pg_sleep(0.002); END LOOP; END \$\$;\n");
ok( poll_until(
		sub { sql(activity()) =~ /^active\|2 endpoints, \d+ in flight, \d+ pending$/ },
		180,
		0.05),
	'pg_stat_activity shows work');
is(sql("DO \$\$ DECLARE seen bigint := 0; BEGIN FOR n IN 1 .. 3000 LOOP
	IF EXISTS (SELECT FROM miosa.endpoint_stats() s WHERE s.succeeded + s.failed > s.sent
		OR s.p50_ms > s.p95_ms OR s.p95_ms > s.p99_ms OR s.acked_epoch < 0) THEN
		RAISE 'half of a change'; END IF; END LOOP; END \$\$"),
	'', 'what is read together belongs together');
sql('INSERT INTO enough DEFAULT VALUES');
$flips->quit;
$sink->plain;

# Many changes are not many row versions: rows are written lazily
is( wait_sql('SELECT bool_and(t.acked_epoch = d.last_epoch)
		FROM miosa.endpoint_state t, miosa.dispatcher_state d', 't'),
	't', 'rows are written in the end');
sql("SELECT pg_stat_reset_single_table_counters('miosa.endpoint_state'::regclass)");
$began = time();
sql("DO \$\$ BEGIN FOR n IN 1 .. 300 LOOP
	PERFORM miosa_promote('b', 'v' || (n % 2 + 1)); COMMIT; PERFORM pg_sleep(0.005); END LOOP; END \$\$");
my ($writes, $since) = (-1, time());
poll_until(
	sub {
		my $now = sql("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'endpoint_state'");

		($writes, $since) = ($now, time()) if $now != $writes;
		return $writes > 0 && time() - $since > 2.5;
	},
	180,
	0.1);
cmp_ok($writes, '>', 0, 'they are written');
cmp_ok($writes, '<=', 20 * (time() - $began), '300 changes are a few writes a second');

# Misconfigured, resyncing, disabled
sql("DELETE FROM miosa.secrets WHERE name = 'key'");
is(wait_sql("SELECT state FROM miosa.stat_endpoint WHERE name = 'one'", 'misconfigured'),
	'misconfigured', 'an endpoint without its secret');
like(endpoint('one')->{last_error}, qr/secret/, 'says so');
cmp_ok(endpoint('one')->{sent}, '>', 0, 'what was counted is kept');
sql("INSERT INTO miosa.secrets (name, value) VALUES ('key', 'very secret')");
is(wait_sql("SELECT state FROM miosa.stat_endpoint WHERE name = 'one'", 'new'),
	'new', 'with it it is set up anew');
converge('a');
is(endpoint('one')->{state}, 'healthy', 'and works');
$sink->answer('^/two/', hold => 'resync');
sql("SELECT miosa_resync('two')");
is(wait_sql("SELECT state FROM miosa.stat_endpoint WHERE name = 'two'", 'resyncing'),
	'resyncing', 'one that is sent everything');
$sink->plain->release('resync');
is(wait_sql("SELECT state FROM miosa.stat_endpoint WHERE name = 'two'", 'healthy'),
	'healthy', 'until it has all');
sql("SELECT miosa_set_endpoint('two', false)");
is(wait_sql("SELECT state || coalesce(breaker, '') FROM miosa.stat_endpoint WHERE name = 'two'", 'disabled'),
	'disabled', 'one that is disabled');
is(endpoint('two')->{epochs_behind}, undef, 'is not behind');
sql("SELECT miosa_set_endpoint('two', true)");
is(wait_sql("SELECT state FROM miosa.stat_endpoint WHERE name = 'two'", 'healthy'),
	'healthy', 'enabled again');

# Resetting one, and all
converge('a');
cmp_ok(endpoint($_)->{sent}, '>', 0, "$_ has sent") for qw(one two);
sql("SELECT miosa_reset_stats('one')");
$row = endpoint('one');
is("$row->{sent} $row->{succeeded}", '0 0', 'one is reset');
is($row->{p50_ms}, undef, 'with its latency');
is($row->{state}, 'healthy', 'but not its state');
cmp_ok(endpoint('two')->{sent}, '>', 0, 'the other one is not');
cmp_ok(dispatcher()->{sent}, '>', 0, 'nor the dispatcher');
my $epoch = dispatcher()->{epoch};
sql('SELECT miosa_reset_stats()');
is(endpoint('two')->{sent} . dispatcher()->{sent}, '00', 'all are reset');
is(dispatcher()->{epoch}, $epoch, 'but not the epoch');
converge('a');
is(endpoint('two')->{sent}, 1, 'and counted on');

# Settings that are read again do not have sent again what was acknowledged,
# though its row was not written yet
my $lock = $node->background_psql('postgres');
$lock->query_safe('BEGIN');
$lock->query_safe('SELECT * FROM miosa.endpoint_state FOR UPDATE');
$sink->clear;
is(converge('a'), 'converged', 'acknowledged, with its row locked');
isnt(sql("SELECT acked_epoch FROM miosa.endpoint_state WHERE endpoint = 'one'"),
	sql('SELECT last_epoch FROM miosa.dispatcher_state'), 'so that it is not written');
sql("INSERT INTO miosa.secrets (name, value) VALUES ('other', 'x')");
is(wait_sql("SELECT count(*) FROM miosa.outbox", 0), 0, 'settings are read again');
is(converge('b'), 'converged', 'and another change is delivered');
is(scalar(my @sent = $sink->requests('^/one/a/')), 1, 'the first was sent once');
$lock->query_safe('ROLLBACK');
$lock->quit;

# A role that monitors
sql('CREATE ROLE watcher LOGIN IN ROLE pg_monitor');
my ($status, $out, $err) = $node->psql('postgres',
	'SELECT string_agg(to_json(s)::text, $$ $$) FROM miosa.stat_endpoint s; TABLE miosa.stat_dispatcher',
	extra_params => [ '-U', 'watcher' ]);
is($status, 0, 'pg_monitor reads the views') or diag $err;
like($out, qr/"two"/, 'with the endpoints');
unlike($out, qr/very secret|127\.0\.0\.1/, 'without secrets and addresses');
($status, $out, $err) = $node->psql('postgres', 'TABLE miosa.secrets',
	extra_params => [ '-U', 'watcher' ]);
like($err, qr/permission denied/, 'which it cannot read otherwise');

# More endpoints than there is room for. What is written down is not sent again
is( wait_sql('SELECT bool_and(t.acked_epoch = d.last_epoch)
		FROM miosa.endpoint_state t, miosa.dispatcher_state d', 't'),
	't', 'all is written');
$node->append_conf('postgresql.conf', 'miosa_rollback.max_endpoints = 1');
$node->restart;
is(wait_sql('SELECT state FROM miosa.stat_dispatcher', 'running'), 'running', 'room for one');
is(wait_sql("SELECT status || ' ' || seen FROM miosa_doctor() WHERE item = 'endpoint_entries'",
		'warn 1 of miosa_rollback.max_endpoints = 1 are taken; endpoints of this database without one: 1'),
	'warn 1 of miosa_rollback.max_endpoints = 1 are taken; endpoints of this database without one: 1', 'the doctor warns');
$sink->clear;
is(converge('a'), 'converged', 'both are delivered all the same');
is(scalar(@sent = $sink->requests('/a/')), 2, 'once each');
is(sql("SELECT count(*) FROM miosa.stat_endpoint WHERE sent > 0 AND p50_ms IS NOT NULL"),
	1, 'only one is counted');
$sink->answer('^/', status => 500);
flip('a');
is(wait_sql("SELECT count(*) FROM miosa.stat_endpoint WHERE state = 'backing off' AND last_status = 500 AND epochs_behind = 1", 2),
	2, 'but the state of both is shown');
is(sql("SELECT miosa_wait_converged('a', '100 ms')"), 'waiting_edges', 'and waited for');
$sink->plain;
is(sql("SELECT miosa_wait_converged('a', '180 s')"), 'converged', 'until they have it');

# An entry that is given back is taken by who has none
my $owner = sql('SELECT endpoint FROM miosa.endpoint_stats()');
sql("SELECT miosa_set_endpoint('$owner', false)");
converge('a');
is( wait_sql("SELECT count(*) FROM miosa.endpoint_stats() s JOIN miosa.endpoints e ON e.name = s.endpoint
		WHERE e.enabled AND s.generation = e.generation", 1),
	1, 'room becomes free');
sql("SELECT miosa_set_endpoint('$owner', true)");
converge('a');

# What a copy is paused for is in pg_stat_activity
$node->append_conf('postgresql.conf', "miosa_rollback.site = 'elsewhere'");
$node->reload;
is(wait_sql('SELECT state FROM miosa.stat_dispatcher', 'paused'), 'paused', 'a pause');
like(dispatcher()->{paused}, qr/site is "elsewhere"/, 'has a reason');
like(wait_sql(activity(), 'idle|paused: miosa_rollback.site is "elsewhere", but the dispatcher last ran at ""'),
	qr/paused: .*elsewhere/, 'which pg_stat_activity shows');

done_testing();
