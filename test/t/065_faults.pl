# Endpoints that fail, messages that fail, and what must not suffer from it.

use strict;
use warnings FATAL => 'all';

use JSON::PP qw(decode_json);
use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node reload_settings wait_dispatcher);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# Caches wait for routers as long as they may, but where this is tested
my $node = make_node('faults', "miosa_rollback.stage_wait = 60s\n");
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my ($router, $cache) =
  map { MiosaSink->new(dir => "$dir/$_", name => $_)->start } qw(router cache);

sub sql { return $node->safe_psql('postgres', @_); }

sub wait_sql { return MiosaTest::wait_sql($node, @_); }

sub flip
{
	my ($deployment, $number) = @_;

	return sql("SELECT miosa_promote('$deployment', 'v$number')");
}

sub verdict
{
	my ($deployment, $timeout) = @_;

	$timeout //= '180 s';
	return sql("SELECT miosa_wait_converged('$deployment', '$timeout')");
}

sub endpoint
{
	my ($deployment, $name) = @_;
	my $data = decode_json(sql("SELECT miosa_convergence('$deployment')"));

	return (grep { $_->{name} eq $name } @{ $data->{data}{endpoints} })[0];
}

# Wait until nothing more comes: all was sent, and repeated.
sub quiet
{
	is( wait_sql('SELECT NOT EXISTS (SELECT FROM miosa.outbox) AND d.in_flight + d.pending = 0 AND bool_and(s.acked_epoch = d.epoch
			AND s.settled_epoch = d.epoch AND s.resync_after IS NULL)
			FROM miosa.stat_dispatcher d, miosa.endpoint_state s GROUP BY d.in_flight, d.pending', 't'),
		't', 'all is quiet');
	$_->clear for $router, $cache;
	return;
}

sub stage_wait
{
	my ($wait) = @_;

	$node->append_conf('postgresql.conf', "miosa_rollback.stage_wait = $wait\n");
	reload_settings($node);
	return;
}

sub paths { my ($sink, $match) = @_; return map { $_->{path} } $sink->requests($match); }

sql(<<"EOS");
INSERT INTO miosa.secrets (name, value) VALUES ('key', 'very secret');
INSERT INTO miosa.adapters (name, timeout, request, remove) VALUES ('test-router', '5 min',
	'{"method": "PUT", "path": "/r/{deployment_id}/{version_id}",
	"headers": {"Authorization": "Bearer {secret}"}}', NULL);
INSERT INTO miosa.adapters (name, timeout, stage, self_expires, settle, request) VALUES ('test-cache',
	'5 min', 1, true, '300 ms', '{"method": "PURGE", "path": "/c/{deployment_id}"}');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment(d, 'ten_1', d) FROM unnest(ARRAY['a', 'b', 'c']) d;
SELECT miosa_put_version(d, 'v' || n, n)
	FROM unnest(ARRAY['a', 'b', 'c']) d, generate_series(1, 2) n;
EOS

is(verdict('a'), 'no_edges', 'without endpoints there is nothing to wait for');
sql("SELECT miosa_put_endpoint('router', 'test-router', '@{[ $router->url ]}', secret => 'key')");
flip($_, 1) for qw(a b c);
is(verdict($_), 'converged', "$_ converges") for qw(a b c);
is(($router->requests)[-1]{headers}{authorization},
	'Bearer very secret', 'the secret is sent');

# An endpoint that fails keeps its cursor and says so
$router->answer('.', status => 503);
flip('a', 2);
is(verdict('a', '300 ms'), 'waiting_edges', 'a router that fails is waited for');
is(wait_sql("SELECT state FROM miosa.convergence_rows('a') WHERE endpoint = 'router'", 'backing off'),
	'backing off', 'it backs off');
my $row = endpoint('a', 'router');
like($row->{error}, qr/503/, 'the reason is shown');
$router->clear;
flip('b', 2);
ok($router->wait_for(3), 'it is tried again and again');
is(sql('SELECT count(*) FROM miosa.delivery_failures'),
	0, 'that makes no delivery failures');
$router->plain;
is(verdict($_), 'converged', "$_ converges when it works again") for qw(a b);
is((paths($router, '^/r/a/'))[-1], '/r/a/v2', 'with the present route');

# What an endpoint asks for
$router->answer('.', status => 429, headers => { 'Retry-After' => 2 });
my $start = time();
$router->clear;
flip('a', 1);
$router->wait_for(1, '^/r/a/v1');
$router->plain;
is(verdict('a'), 'converged', 'Retry-After ends');
cmp_ok(time() - $start, '>', 1.8, 'and was obeyed');

# A message that fails does not hold up the others
$router->answer('^/r/b/', status => 422);
flip('b', 1);
is( wait_sql(
		'SELECT deployment_id, status FROM miosa.delivery_failures', 'b|422'),
	'b|422',
	'what is not taken is a delivery failure');
flip('c', 2);
is(verdict('c'), 'converged', 'others are delivered');
is(verdict('b', '300 ms'), 'waiting_edges', 'it is not called converged');
is(endpoint('b', 'router')->{state}, 'failed', 'but failed');
is(sql("SELECT miosa_redrive('router')"), 1, 'miosa_redrive()');
$router->plain;
is(verdict('b'), 'converged', 'tries again');
is(sql('SELECT count(*) FROM miosa.delivery_failures'), 0, 'and it is over');

# Nor does one for which the endpoint fails in any other way
$router->answer('^/r/b/', status => 500);
flip('b', 2);
flip('c', 1);
flip('a', 2);
is(verdict($_), 'converged', "$_ is delivered beside poison") for qw(a c);
my $turn = 0;
poll_until(
	sub {
		return 1 if sql('SELECT count(*) FROM miosa.delivery_failures');
		flip('c', $turn++ % 2 + 1);
		return 0;
	},
	180,
	0.1);
is(sql("SELECT deployment_id FROM miosa.delivery_failures"),
	'b', 'three failed tries make a delivery failure');

# It is still there after a crash, with its clock
$node->stop('immediate');
$router->plain;
$node->start;
sql("SELECT miosa_redrive('router')");
is(verdict('b'), 'converged', 'also after a crash');

# What was rejected for minutes does not wait minutes more when the endpoint accepts
# it.  A dispatcher that begins now finds the clock of ten minutes.
sub rejected_for_minutes
{
	my ($n) = @_;

	is(wait_sql('SELECT count(*) FROM miosa.delivery_failures', $n), $n, "$n rejected");
	poll_until(
		sub {
			my $before = sql('SELECT pid FROM miosa.dispatcher()');

			sql("UPDATE miosa.delivery_failures SET attempts = 9, next_try_at = now() + '10 min';
				SELECT pg_terminate_backend($before)");
			wait_dispatcher($node, 'running', after => $before);
			return sql('SELECT count(*) FROM miosa.delivery_failures WHERE attempts = 9') == $n;
		},
		180,
		0.1);
	$router->clear;
	return;
}
# The first message that is accepted has it tried again, once
$router->answer('^/r/b/', status => 422);
flip('b', 1);
rejected_for_minutes(1);
flip('c', 2);
is(verdict('c'), 'converged', 'the endpoint accepts another one');
is(wait_sql('SELECT attempts FROM miosa.delivery_failures', 10), 10, 'which has the rejected one tried');
flip('c', 1);
is(verdict('c'), 'converged', 'the next one');
is(scalar paths($router, '^/r/b/'), 1, 'does not');
# So does an endpoint that was down
$router->plain('.', status => 503);
flip('c', 2);
is(wait_sql("SELECT failures > 2 FROM miosa.endpoint_state WHERE endpoint = 'router'", 't'), 't', 'it is down');
$router->plain;
is(verdict('b', '180 s'), 'converged', 'and up again');
# And one that accepts something which it has rejected
$router->answer('^/r/[ab]/', status => 422);
flip('b', 2);
flip('a', 1);
rejected_for_minutes(2);
flip('c', 1);
is(wait_sql('SELECT min(attempts) FROM miosa.delivery_failures', 10), 10, 'two are rejected');
$router->plain;
flip('a', 2);
is(verdict($_, '180 s'), 'converged', "$_ is not any more") for qw(a b);
# An endpoint that fails instead is tried as often as for anything else
$router->answer('^/r/b/', status => 500);
flip('b', 1);
poll_until(
	sub {
		return 1 if sql('SELECT count(*) FROM miosa.delivery_failures');
		flip('c', $turn++ % 2 + 1);
		return 0;
	},
	180,
	0.1);
sql("UPDATE miosa.delivery_failures SET attempts = 9;
	SELECT miosa_redrive('router')");
is(wait_sql('SELECT attempts > 9 FROM miosa.delivery_failures', 't'), 't', 'it fails');
is(sql("SELECT next_try_at <= now() + '30 s' FROM miosa.delivery_failures"), 't', 'it is tried soon');
$router->plain;
sql("SELECT miosa_redrive('router')");
is(verdict('b'), 'converged', 'it works again');
is(sql('SELECT count(*) FROM miosa.delivery_failures'), 0, 'and all is over');

# What was acknowledged and not written down before the crash is sent again
is(wait_sql('SELECT pending + in_flight FROM miosa.stat_dispatcher', '0'),
	'0', 'nothing is left to send');

# Many changes while one is in flight become one request, the last one right
$router->clear;
$router->answer('^/r/a/', hold => 'many');
flip('a', 2);
ok($router->wait_for(1, '^/r/a/'), 'one is sent');
sql("DO \$\$ BEGIN FOR n IN 1 .. 200 LOOP
	PERFORM miosa_promote('a', 'v' || (n % 2 + 1)); COMMIT; END LOOP; END \$\$");
# Changes that the dispatcher takes later are another request
is(wait_sql('SELECT count(*) FROM miosa.outbox', '0'), '0', 'all have been taken');
$router->release('many');
is(verdict('a'), 'converged', '200 changes');
is(scalar paths($router, '^/r/a/'), 2, 'become one request');
is((paths($router, '^/r/a/'))[-1], '/r/a/v1', 'the last one is right');
$router->plain;

# Caches after routers, and once more a little later
sql("SELECT miosa_put_endpoint('cache', 'test-cache', '@{[ $cache->url ]}')");
is(verdict('a'), 'converged', 'a new cache receives the change');
ok($cache->wait_for(6, '^/c/'), 'and of each deployment once more');
quiet();
$router->answer('^/r/a/', delay => 0.2);
flip('a', 2);
is(verdict('a'), 'converged', 'a router of 200 ms');
my ($put) = $router->requests('^/r/a/v2');
my ($purge) = $cache->requests('^/c/a');
cmp_ok($purge->{time} - $put->{time}, '>=', 0.19,
	'the cache forgets after the router has acknowledged');
my @purge = $cache->wait_for(3, '^/c/a', 180);
cmp_ok($purge[2]{time} - $purge[0]{time}, '>=', 0.29, 'and again after settle');
is( wait_sql("SELECT state FROM miosa.convergence_rows('a') WHERE endpoint = 'cache'",
		'settled'), 'settled', 'which is shown');

# A router that hangs is not waited for longer than stage_wait, and its late
# answer has the cache forget again
quiet();
stage_wait('400ms');
$router->answer('^/r/a/', hold => 'gate', times => 1);
my $flipped = time();
flip('a', 1);
ok(@purge = $cache->wait_for(2, '^/c/a'), 'the cache receives it in any case');
cmp_ok($purge[0]{time} - $flipped, '>=', 0.39, 'after stage_wait');
is(verdict('a', '100 ms'), 'waiting_edges', 'not converged yet');
$router->release('gate');
is(verdict('a'), 'converged', 'converged when the router has answered');
ok(@purge = $cache->wait_for(3, '^/c/a'), 'then the cache forgets again');
stage_wait('60s');

# The same when the dispatcher has read its settings anew, in whatever order
my $pid = sql('SELECT pid FROM miosa.dispatcher()');
sql("SELECT pg_terminate_backend($pid)");
ok(wait_dispatcher($node, 'running', after => $pid), 'the dispatcher is back');
# What was not settled is sent again now, and after the adapter's timeout once more
$_->clear for $router, $cache;
$router->answer('^/r/b/', delay => 0.2);
flip('b', 1);
is(verdict('b'), 'converged', 'after a restart of the dispatcher');
($put) = $router->requests('^/r/b/v1');
($purge) = $cache->requests('^/c/b');
cmp_ok($purge->{time} - $put->{time}, '>=', 0.19, 'caches still come second');

# A cache that cannot be reached forgets by itself
$cache->stop;
sql("UPDATE miosa.deployments SET route_ttl = '1 s' WHERE id = 'a'");
flip('a', 2);
is(verdict('a', '180 s'), 'expired', 'a cache that is away has expired');
$cache->start;
is(wait_sql("SELECT miosa.convergence_state('a', NULL)", 'converged'),
	'converged', 'and receives it when it is back');

# A new endpoint receives everything
sql(<<'EOS');
INSERT INTO miosa.deployments (id, tenant_id, name, slug)
	SELECT 'many_' || n, 'ten_1', 'many', 'many-' || n FROM generate_series(1, 2500) n;
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state)
	SELECT 'many_' || n, 'v1', 'ten_1', 1, 'ready' FROM generate_series(1, 2500) n;
SET session_replication_role = replica;
UPDATE miosa.deployments SET active_version_id = 'v1', seq = 1 WHERE id LIKE 'many%';
RESET session_replication_role;
EOS
$router->clear;
sql("SELECT miosa_put_endpoint('second', 'test-router', '@{[ $router->url ]}/second',
	selector => '{\"tenant\": \"ten_1\"}')");
is( wait_sql(
		"SELECT resync_after IS NULL AND acked_epoch > 0 FROM miosa.endpoint_state WHERE endpoint = 'second'",
		't'),
	't', 'a new endpoint receives everything');
my %sent = map { $_ => 1 } paths($router, '^/second/r/');
is(scalar keys %sent, 2503, 'every deployment once');
is(endpoint('many_7', 'second')->{done}, JSON::PP::true, 'and it is done');

# Disabled and removed ones
sql("SELECT miosa_set_endpoint('second', false, 'maintenance')");
$row = endpoint('a', 'second');
is("$row->{state}: $row->{error}", 'excluded: maintenance', 'a disabled one');
$router->clear;
flip('a', 1);
is(verdict('a'), 'converged', 'is not waited for');
is(scalar paths($router, '^/second/'), 0, 'and not sent');
sql("SELECT miosa_remove_endpoint('second')");
is( wait_sql("SELECT count(*) FROM miosa.endpoint_state WHERE endpoint = 'second'", 0),
	0, 'nothing is left of a removed one');

# A selector
sql("SELECT miosa_put_endpoint('router', 'test-router', '@{[ $router->url ]}',
	secret => 'key', selector => '{\"deployment\": [\"b\", \"c\"]}')");
is(sql("SELECT count(*) FROM miosa.convergence_rows('a') WHERE endpoint = 'router'"),
	0, 'a selector leaves out deployments');
is(sql("SELECT count(*) FROM miosa.convergence_rows('b') WHERE endpoint = 'router'"),
	1, 'and lets others in');

# A secret that is gone is no fault of the messages
sql(<<"EOS");
INSERT INTO miosa.secrets (name, value) VALUES ('token', 'x');
INSERT INTO miosa.adapters (name, request) VALUES ('named',
	'{"method": "PUT", "path": "/named/{deployment_id}", "headers": {"x-token": "{secret:token}"}}');
SELECT miosa_put_endpoint('named', 'named', '@{[ $router->url ]}');
EOS
is(verdict('a'), 'converged', 'with a secret by its name');
sql(q{DELETE FROM miosa.secrets WHERE name = 'token'});
is(wait_sql(q{SELECT state || ': ' || last_error FROM miosa.stat_endpoint WHERE name = 'named'},
		'misconfigured: secret "token" is not in miosa.secrets'),
	'misconfigured: secret "token" is not in miosa.secrets', 'without it');
flip($_, sql("SELECT CASE active_version_id WHEN 'v1' THEN 2 ELSE 1 END
	FROM miosa.deployments WHERE id = '$_'")) for qw(a c);
is(verdict('a', '300 ms'), 'waiting_edges', 'nothing is sent');
is(sql("SELECT count(*) FROM miosa.delivery_failures WHERE endpoint = 'named'"),
	0, 'and nothing is given up');
sql("INSERT INTO miosa.secrets (name, value) VALUES ('token', 'y')");
is(verdict($_), 'converged', "$_ is sent with the new one") for qw(a c);
sql("SELECT miosa_remove_endpoint('named')");

# Trying out
my $test = decode_json(sql("SELECT miosa_test_endpoint('router')"));
is($test->{data}{verdict}, 'ok', 'miosa_test_endpoint()');
unlike(sql("SELECT miosa_test_endpoint('router')"), qr/very secret/, 'masks the secret');
$router->stop;
like(sql("SELECT miosa_test_endpoint('router')"), qr/"verdict": "no answer/, 'and names a failure');

# A broken adapter row stops its endpoint alone
sql("SELECT miosa_put_endpoint('odd', 'test-router', '@{[ $cache->url ]}/odd')");
sql("ALTER TABLE miosa.adapters DISABLE TRIGGER adapters_check;
	UPDATE miosa.adapters SET request = '{\"method\": 1}' WHERE name = 'test-router';
	ALTER TABLE miosa.adapters ENABLE TRIGGER adapters_check");
is(wait_sql("SELECT health FROM miosa.endpoint_state WHERE endpoint = 'odd'", 'misconfigured'),
	'misconfigured', 'a broken adapter');
stage_wait('400ms');
flip('a', 2);
$cache->wait_for(1, '^/c/a');
is(wait_sql("SELECT done FROM miosa.convergence_rows('a') WHERE endpoint = 'cache'", 't'),
	't', 'others go on');

done_testing();
