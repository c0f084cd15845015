# What is sent more than once: purges, which are repeated early and after
# settle; tries, which keep their epoch and their id; and removed hosts, which an
# endpoint receives also when the log does not reach back.

use strict;
use warnings FATAL => 'all';

use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('repeats');
my $sink = MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')->start;

sub sql { return $node->safe_psql('postgres', @_); }
sub wait_sql { return MiosaTest::wait_sql($node, @_, 180); }
sub converges { my ($id, $name) = @_; return is(sql("SELECT miosa_wait_converged('$id', '180 s')"), 'converged', $name); }
sub requests_to { my ($match) = @_; return map { "$_->{method} $_->{path}" } $sink->requests($match); }

sub settles
{
	my ($id) = @_;

	return is(wait_sql("SELECT bool_and(state = 'settled') FROM miosa.convergence_rows('$id')", 't'), 't', "$id settles");
}

sql(<<"EOS");
INSERT INTO miosa.adapters (name, stage, settle, request) VALUES
	('cache', 1, '1 s', '{"method": "PURGE", "path": "/cache/{version_id}"}');
INSERT INTO miosa.adapters (name, stage, settle, rate, burst, request) VALUES
	('counted', 1, '1 s', 1000, 10, '{"method": "PURGE", "path": "/counted/{version_id}"}');
INSERT INTO miosa.adapters (name, request) VALUES
	('named', '{"method": "PUT", "path": "/{deployment_id}/{version_id}", "headers": {"x-id": "{message_id}", "x-epoch": "{epoch}"}}');
INSERT INTO miosa.adapters (name, per, request, remove) VALUES
	('hosts', 'host', '{"method": "PUT", "path": "/hosts/{host}"}', '{"method": "DELETE", "path": "/hosts/{host}"}');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment(d, 'ten_1', d) FROM unnest('{d1,d2,d3}'::text[]) d;
SELECT miosa_put_version(d, 'v' || n, n) FROM unnest('{d1,d2,d3}'::text[]) d, generate_series(1, 3) n;
SELECT miosa_promote('d1', 'v1'), miosa_promote('d2', 'v1'), miosa_promote('d3', 'v1');
EOS

#
# A purge is repeated early and after settle; where requests are counted, and
# in a resync, only after settle
#
sql("SELECT miosa_put_endpoint('cache', 'cache', '@{[ $sink->url ]}')");
ok($sink->wait_for(6, '^/cache/v1', 180), 'in a resync, three deployments are purged twice');
sql("SELECT miosa_put_endpoint('counted', 'counted', '@{[ $sink->url ]}')");
settles($_) for qw(d1 d2 d3);
$sink->clear;
sql("SELECT miosa_promote('d1', 'v2')");
settles('d1');
my @cache = map { $_->{time} } $sink->requests('^/cache/v2');
is(scalar @cache, 3, 'a change is purged three times');
cmp_ok($cache[1] - $cache[0], '>=', 0.09, 'early');
cmp_ok($cache[2] - $cache[1], '>=', 0.85, 'and after settle');
is(scalar requests_to('^/counted/v2'), 2, 'but twice where requests are counted');
sql('SELECT miosa_remove_endpoint(name) FROM miosa.endpoints');

#
# Tries of a message keep its id and its epoch, whatever is read meanwhile for
# another endpoint
#
sql("SELECT miosa_put_endpoint('a', 'named', '@{[ $sink->url ]}/a'), miosa_put_endpoint('b', 'named', '@{[ $sink->url ]}/b')");
converges('d1', 'two routers');
$sink->answer('^/a', status => 503);
$sink->answer('^/b/d1', status => 422);
sql("SELECT miosa_promote('d1', 'v3')");
is(wait_sql("SELECT count(*) FROM miosa.delivery_failures WHERE endpoint = 'b'", 1), 1, 'one does not take it');
ok($sink->wait_for(2, '^/a/d1/v3', 180), 'the other one fails');
sql("SELECT miosa_promote('d2', 'v2')");
is(wait_sql("SELECT acked_epoch = (SELECT last_epoch FROM miosa.dispatcher_state) FROM miosa.endpoint_stats() WHERE endpoint = 'b'", 't'),
	't', 'something else changes');
# It is tried again by itself, too, since something else was accepted
my $tries = () = $sink->requests('^/b/d1/v3');
$sink->plain('^/a', status => 503);
sql("SELECT miosa_redrive('b')");
ok($sink->wait_for($tries + 1, '^/b/d1/v3', 180), 'one is sent again');
sql("SELECT miosa_resync('b')");
ok($sink->wait_for($tries + 2, '^/b/d1/v3', 180), 'and everything is sent to it');
$sink->plain;
converges('d1', 'both have it');
my @tries = $sink->requests('^/a/d1/v3');
cmp_ok(scalar @tries, '>', 2, 'the other one was tried meanwhile');
is_deeply([ map { "$_->{headers}{'x-id'} $_->{headers}{'x-epoch'}" } @tries ],
	[ ("$tries[0]{headers}{'x-id'} $tries[0]{headers}{'x-epoch'}") x @tries ],
	'with the same id and epoch each time');
sql('SELECT miosa_remove_endpoint(name) FROM miosa.endpoints');

#
# Removed hosts outlive the log
#
sql("SELECT miosa_put_domain(h || '.test', 'd1') FROM unnest('{a,b,c,e}'::text[]) h;
	SELECT miosa_put_domain('d.test', 'd3');
	SELECT miosa_put_endpoint('away', 'hosts', '@{[ $sink->url ]}/away')");
converges('d1', 'a router knows hosts');
converges('d3', 'of both deployments');
sql("SELECT miosa_set_endpoint('away', false, 'down for hours')");
sql("SELECT miosa_remove_domain('a.test'), miosa_remove_domain('b.test'), miosa_remove_domain('c.test')");
is(wait_sql('SELECT count(*) FROM miosa.outbox', 0), 0, 'hosts are removed meanwhile');
sql("SELECT miosa_put_domain('b.test', 'd2');
	DELETE FROM miosa.domains WHERE deployment_id = 'd3';
	UPDATE miosa.deployments SET active_version_id = NULL WHERE id = 'd3'");
is(wait_sql('SELECT count(*) FROM miosa.outbox', 0), 0, 'one comes back, and one of another deployment is removed');
is(sql("SELECT string_agg(host, ' ' ORDER BY host) FROM miosa.removed_hosts"),
	'a.test b.test c.test d.test', 'and remembered');
sql("UPDATE miosa.route_log SET created_at = now() - '2 h'::interval;
	SELECT miosa_purge_expired(1000000)");
is(sql('SELECT count(*) FROM miosa.route_log'), 0, 'the log is trimmed');
is(sql("SELECT string_agg(host, ' ' ORDER BY host) FROM miosa.removed_hosts"),
	'a.test c.test d.test', 'what is routed again is forgotten with it');
$sink->clear;
sql("SELECT miosa_set_endpoint('away', true)");
converges('d1', 'the router is back');
is(wait_sql("SELECT state FROM miosa.stat_endpoint WHERE name = 'away'", 'healthy'), 'healthy', 'and has everything');
is_deeply([ sort grep { /DELETE .*test$/ } requests_to('^/away') ], [ map { "DELETE /away/hosts/$_.test" } qw(a c d) ],
	'it receives which hosts are removed');
is((grep { $_ eq 'PUT /away/hosts/b.test' } requests_to('^/away')) + 0, 1, 'and which is routed again');

# So is one that joins now, and may have a table from before
$sink->clear;
sql("SELECT miosa_put_endpoint('joins', 'hosts', '@{[ $sink->url ]}/joins')");
is(wait_sql("SELECT state FROM miosa.stat_endpoint WHERE name = 'joins'", 'healthy'), 'healthy', 'another router joins');
is_deeply([ sort grep { /DELETE .*test$/ } requests_to('^/joins') ], [ map { "DELETE /joins/hosts/$_.test" } qw(a c d) ],
	'it receives the same');

# The rule by which they are forgotten
sql("UPDATE miosa.removed_hosts SET removed_at = now() - '29 days'::interval WHERE host = 'a.test';
	UPDATE miosa.removed_hosts SET removed_at = now() - '31 days'::interval WHERE host = 'c.test';
	SELECT miosa_purge_expired()");
is(sql("SELECT string_agg(host, ' ' ORDER BY host) FROM miosa.removed_hosts"), 'a.test d.test', 'for 30 days');

$node->stop;
done_testing();
