# How often and how much at once: pace, batches, rates, circuits, and what an
# answer of "not there yet" does.

use strict;
use warnings FATAL => 'all';

use JSON::PP qw(decode_json);
use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaServer;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = make_node('limits');
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my ($router, $cache) =
  map { MiosaSink->new(dir => "$dir/$_", name => $_)->start } qw(router cache);

sub sql { return $node->safe_psql('postgres', @_); }

sub wait_sql { return MiosaTest::wait_sql($node, @_); }

sub verdict
{
	my ($deployment) = @_;

	return sql("SELECT miosa_wait_converged('$deployment', '180 s')");
}

sub paths { my ($sink, $match) = @_; return map { $_->{path} } $sink->requests($match); }

# Promote a version of many deployments in one transaction.
sub promote
{
	my ($version, @deployment) = @_;
	my $list = join ',', map { "'$_'" } @deployment;

	return sql("DO \$\$ BEGIN PERFORM miosa_promote(d, '$version')
		FROM unnest(ARRAY[$list]) d; END \$\$");
}

my @many = map { "d$_" } 10 .. 49;

sql(<<"EOS");
INSERT INTO miosa.adapters (name, request) VALUES ('one',
	'{"method": "PUT", "path": "/{deployment_id}/{version_id}"}');
INSERT INTO miosa.adapters (name, stage, settle, request) VALUES ('forget',
	1, '300 ms', '{"method": "PURGE", "path": "/{deployment_id}"}');
INSERT INTO miosa.adapters (name, batch_max, request) VALUES ('many', 16,
	'{"method": "POST", "path": "/batch/{deployment_ids|comma}", "headers": {"x-id": "{message_id}"}}');
INSERT INTO miosa.adapters (name, batch_max, batch_bytes, request) VALUES ('short', 16, 1024,
	'{"method": "POST", "path": "/short", "body": "@{[ 'x' x 1000 ]}={deployment_ids|space}"}');
INSERT INTO miosa.adapters (name, rate, burst, request) VALUES ('slow', 4, 2,
	'{"method": "PUT", "path": "/slow/{deployment_id}"}');
INSERT INTO miosa.adapters (name, request, add) VALUES ('adding',
	'{"method": "PATCH", "path": "/known/{deployment_id}"}',
	'{"method": "POST", "path": "/new", "body": {"id": "{deployment_id}"}}');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment(d, 'ten_1', d) FROM unnest('{flip,@{[ join ',', @many ]}}'::text[]) d;
SELECT miosa_put_version(d, 'v' || n, n)
	FROM unnest('{flip,@{[ join ',', @many ]}}'::text[]) d, generate_series(1, 2) n;
EOS

# One endpoint of an adapter, until it is removed
sub with_endpoint
{
	my ($adapter, $sink, $body) = @_;

	sql("SELECT miosa_put_endpoint('$adapter', '$adapter', '" . $sink->url . "')");
	is(wait_sql("SELECT count(*) FROM miosa.endpoint_state
			WHERE endpoint = '$adapter' AND resync_after IS NULL", 1),
		1, "endpoint $adapter is there");
	$sink->clear;
	$body->();
	sql("SELECT miosa_remove_endpoint('$adapter')");
	$sink->plain;
	return;
}

# A thousand flips in a second are at most ten requests, the last one right
sql("SELECT miosa_put_endpoint('router', 'one', '@{[ $router->url ]}'),
	miosa_put_endpoint('cache', 'forget', '@{[ $cache->url ]}')");
promote('v2', 'flip');
is(verdict('flip'), 'converged', 'ready');
is(wait_sql("SELECT state FROM miosa.convergence_rows('flip') WHERE endpoint = 'cache'", 'settled'),
	'settled', 'and settled');
$_->clear for $router, $cache;
my $start = time();
sql("DO \$\$ DECLARE start timestamptz := clock_timestamp(); BEGIN FOR n IN 1 .. 1000 LOOP
	PERFORM miosa_promote('flip', 'v' || (n % 2 + 1)); COMMIT;
	PERFORM pg_sleep(extract(epoch FROM start - clock_timestamp()) + n / 1000.0);
	END LOOP; END \$\$");
is(verdict('flip'), 'converged', '1,000 flips');
is(wait_sql("SELECT state FROM miosa.convergence_rows('flip') WHERE endpoint = 'cache'", 'settled'),
	'settled', 'and have settled');
# All of them were sent in that time
my $most = 10 * (time() - $start) + 2;
cmp_ok(scalar paths($router), '<=', $most, 'few requests to the router');
cmp_ok(scalar paths($cache), '<=', $most, 'and to the cache');
is((paths($router))[-1], '/flip/v1', 'the last one is right');
cmp_ok(($cache->requests)[-1]{time}, '>', ($router->requests)[-1]{time},
	'the cache comes last');

# A single change is never held up
$router->clear;
promote('v2', 'flip');
my ($request) = $router->wait_for(1, '.');
ok($request, 'a change after a pause is delivered');
sql("SELECT miosa_remove_endpoint('router'), miosa_remove_endpoint('cache')");

# Batches
with_endpoint('many', $router, sub {
	promote('v1', @many);
	is(verdict($many[-1]), 'converged', 'many deployments at once');
	is(verdict($_), 'converged', "$_ is among them") for @many[0, 20];
	my %sent = map { $_ => 1 } map { /batch\/(.*)/ ? split(/,|%2C/, $1) : () } paths($router);
	is(scalar(keys %sent), scalar(@many), 'each is delivered');
	my @sizes = map { scalar(() = /d\d\d/g) } paths($router);
	cmp_ok(scalar(@sizes), '<=', 12, 'in few requests');
	is((grep { $_ > 16 } @sizes) + 0, 0, 'none of more than 16');

	# One that is not taken holds up none of its batch
	$router->clear;
	$router->answer('d33', status => 422);
	promote('v2', @many);
	is(verdict($_), 'converged', "$_ is delivered beside a bad one") for @many[0, 20, -1];
	is(wait_sql('SELECT string_agg(deployment_id, $$,$$) FROM miosa.delivery_failures', 'd33'),
		'd33', 'and only that one is a failure');
	my @alone = grep { m{/batch/d33$} } paths($router);
	cmp_ok(scalar(@alone), '>=', 1, 'found by smaller batches');
	my ($first) = grep { $_->{path} =~ m{/batch/d33$} } $router->requests;
	like($first->{headers}{'x-id'}, qr/^d33\@\d+$/, 'alone it has an id of its own');
	is(sql("SELECT p50_ms > 0 FROM miosa.stat_endpoint WHERE name = 'many'"),
		't', 'batches are timed');

	# Not even when the endpoint itself seems to fail because of it
	$router->plain('d34', status => 500);
	sql("SELECT miosa_redrive('many')");
	is(wait_sql('SELECT count(*) FROM miosa.delivery_failures', 0), 0, 'it is taken now');
	promote('v1', @many[20 .. 27]);
	is(verdict($_), 'converged', "$_ is delivered beside poison") for @many[20, 25, 27];
	is(wait_sql("SELECT status FROM miosa.delivery_failures WHERE deployment_id = 'd34'", 500),
		500, 'which is found out');
});
with_endpoint('short', $router, sub {
	promote('v1', @many[0 .. 19]);
	is(verdict($_), 'converged', "short bodies, $_") for @many[0, 10, 19];
	is((grep { length $_->{body} > 1024 } $router->requests) + 0,
		0, 'no body is longer than it may be');
});

# Routes in batches: each has what a request of its own would have, and one that
# is not taken holds up none of its batch
with_endpoint('webhook-batch', $router, sub {
	my @some = @many[0 .. 19];

	promote('v2', @some);
	is(verdict($_), 'converged', "a route among others, $_") for @some[0, 10, 19];
	my @bodies = map { decode_json($_->{body}) } $router->requests;
	my %route = map { $_->{deployment_id} => $_ } map { @{ $_->{data}{routes} } } @bodies;
	is(join(',', sort keys %route), join(',', @some), 'each is delivered');
	cmp_ok(scalar(@bodies), '<=', 8, 'in few requests');
	my ($body) = grep { @{ $_->{data}{routes} } > 1 } @bodies;
	ok($body, 'of several routes');
	like($body->{data}{id}, qr/^batch-\d+\@\d+$/, 'which have an id');
	my ($newest) = sort { $b <=> $a } map { $_->{epoch} } @{ $body->{data}{routes} };
	is($body->{data}{epoch}, $newest, 'and the epoch of the newest');
	like(delete $route{d10}{changed_at}, qr/^\d{4}-\d\d-\d\dT[\d:.]+Z$/, 'a route says since when');
	cmp_ok(delete $route{d10}{epoch}, '>', 0, 'has an epoch');
	is_deeply($route{d10}, {
		operation_id => 'd10#' . sql("SELECT seq FROM miosa.deployments WHERE id = 'd10'"),
		deployment_id => 'd10', tenant_id => 'ten_1', version_id => 'v2',
		version_number => 2, release_id => undef,
		storage_uri => undef, sha256 => undef, hosts => ['d10.acme.miosa.app'],
		removed_hosts => [] }, 'and all there is of it');

	sql("SELECT miosa_resync('webhook-batch')");
	is(wait_sql("SELECT count(*) FROM miosa.endpoint_state
			WHERE endpoint = 'webhook-batch' AND resync_after IS NULL", 1), 1, 'resynchronized');
});
sql(q(SELECT miosa_put_adapter('narrow', '{"charsets": {"deployment_id": "d0-24-9"}}', copy_of => 'webhook-batch')));
with_endpoint('narrow', $router, sub {
	promote('v1', @many[0 .. 19]);
	is(verdict($_), 'converged', "$_ is sent beside routes that cannot be") for @many[0, 10, 19];
	is(wait_sql('SELECT string_agg(deployment_id, $$,$$ ORDER BY deployment_id)
			FROM miosa.delivery_failures WHERE deployment_id < $$d3$$', 'd13,d23'),
		'd13,d23', 'which alone are failures');
	like(sql(q(SELECT last_error FROM miosa.delivery_failures WHERE deployment_id = 'd13')),
		qr/the value of \{deployment_id\} is not allowed/, 'and say why');
});

# A rate
with_endpoint('slow', $router, sub {
	# The resync has emptied the bucket
	my $before = time();
	promote('v2', @many[0 .. 7]);
	is(verdict($_), 'converged', "rate, $_") for @many[0 .. 7];
	my @at = map { $_->{time} } $router->requests('^/slow');
	is(scalar @at, 8, 'one request each');
	cmp_ok($at[$_] - $before, '>=', ($_ - 1) / 4 - 0.05, "request $_ is sent when rate and burst allow it")
	  for 2 .. 7;
});

# What is not there yet is added
with_endpoint('adding', $router, sub {
	$router->answer('^/known/d12', status => 404, times => 1);
	promote('v1', 'd12');
	is(verdict('d12'), 'converged', 'not there yet');
	is(join(' ', map { "$_->{method} $_->{path}" } $router->requests),
		'PATCH /known/d12 POST /new', 'so it is added');
	is(sql('SELECT count(*) FROM miosa.delivery_failures'), 0, 'without a failure');
});

# A server that is down is tried for all of its endpoints together
my $port = MiosaServer::free_port();
sql("SELECT miosa_put_endpoint('e' || n, 'one', 'http://127.0.0.1:$port/e' || n,
	selector => '{\"deployment\": [\"flip\"]}') FROM generate_series(1, 40) n");
promote('v1', 'flip');
is(wait_sql("SELECT count(*) > 2 FROM miosa.endpoint_state WHERE health = 'backing off'", 't'),
	't', 'nobody listens');
my $sent = sql('SELECT sent FROM miosa.dispatcher()');
$start = time();
poll_until(sub { time() - $start > 2 }, 180, 0.1);
cmp_ok(sql('SELECT sent FROM miosa.dispatcher()') - $sent, '<', 40,
	'40 endpoints of one server do not try each for itself');
my $late = MiosaSink->new(dir => "$dir/late", name => 'late', port => $port)->start;
is(verdict('flip'), 'converged', 'when it is there all are delivered');
is(scalar(keys %{ { map { $_ => 1 } paths($late) } }), 40, 'each of them');

# Who waits for another to try the server does not wait for ever when that one
# is removed
$late->stop;
promote('v2', 'flip');
is(wait_sql("SELECT count(*) FROM miosa.stat_endpoint WHERE breaker <> 'closed'", 40),
	40, 'all of them have lost the server');
$late->answer('.', hold => 'trial');
$late->clear;
$late->start;
my ($trial) = $late->wait_for(1, '.');
$trial->{path} =~ m{^/(e\d+)/} or die 'no trial';
$late->plain;
sql("SELECT miosa_remove_endpoint('$1')");
is(verdict('flip'), 'converged', 'another one tries');

# Nor does one that waited for itself when the server went away
$late->answer('^/e1\d/', status => 503, headers => { 'Retry-After' => 2 });
promote('v1', 'flip');
is(wait_sql("SELECT count(*) > 8 FROM miosa.stat_endpoint WHERE last_status = 503", 't'),
	't', 'some have to wait');
$late->stop;
promote('v2', 'flip');
$start = time();
poll_until(sub { time() - $start > 3 }, 180, 0.1);
$late->plain->start;
is(verdict('flip'), 'converged', 'they go on with the others');

done_testing();
