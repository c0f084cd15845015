# What is promised of delivery, where no other test looks: which answers hold
# an endpoint's cursor, what is done once and what once more, how many requests
# there are at a time, and what a restart must not forget.

use strict;
use warnings FATAL => 'all';

use JSON::PP qw(decode_json);
use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node wait_ready);
use POSIX qw(strftime);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = make_node('promises', "miosa_rollback.stage_wait = 300\n");
my $sink =
  MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')
  ->start;
my $url = $sink->url;
my $turn = 0;

sub sql { return $node->safe_psql('postgres', @_); }

sub wait_sql
{
	my ($query, $expected, $name) = @_;

	is(MiosaTest::wait_sql($node, $query, $expected), $expected, $name);
	return;
}

# Another version of deployments, in one transaction.
sub flip
{
	my (@deployment) = @_;
	my $list = join ',', @deployment;

	$turn++;
	sql("SELECT count(miosa_promote(d, 'v' || @{[ $turn % 2 + 1 ]}))
		FROM unnest('{$list}'::text[]) d");
	return 'v' . ($turn % 2 + 1);
}

sub converges
{
	my ($name, @deployment) = @_;

	is(sql("SELECT miosa_wait_converged('$_', '180 s')"), 'converged', "$name: $_")
	  for @deployment;
	return;
}

sub paths { my ($match) = @_; return map { $_->{path} } $sink->requests($match); }
sub failures { return sql('SELECT count(*) FROM miosa.delivery_failures'); }

sub new_dispatcher
{
	my $pid = sql('SELECT pid FROM miosa.dispatcher()');

	sql("SELECT pg_terminate_backend($pid)");
	wait_sql("SELECT state = 'running' AND pid <> $pid FROM miosa.dispatcher()",
		't', 'another dispatcher');
	return;
}

# Everything works again, a marker is where it was put.
sub plain
{
	return $sink->plain('/marker$', method => 'GET', body => '9' x 18);
}

# The only endpoint, which has all there is.
sub only
{
	my ($name, $adapter, $selector, $more) = @_;

	plain();
	sql("SELECT miosa_remove_endpoint(name) FROM miosa.endpoints");
	sql("SELECT miosa_put_endpoint('$name', '$adapter', '$url/$name', selector => '$selector'"
		  . ($more // '') . ')');
	is(wait_ready($node, $name), 1, "$name: ready");
	$sink->clear;
	return;
}

my $few = '{"deployment": ["d1", "d2", "d3", "d4"]}';

sql(<<'EOS');
INSERT INTO miosa.secrets (name, value) VALUES ('key', 'first');
INSERT INTO miosa.adapters (name, timeout, max_in_flight, request) VALUES
	('one', '5 min', 2, '{"method": "PUT", "path": "/{deployment_id}/{version_id}"}'),
	('hasty', '2 s', 2, '{"method": "PUT", "path": "/{deployment_id}/{version_id}"}');
INSERT INTO miosa.adapters (name, request) VALUES ('keyed',
	'{"method": "PUT", "path": "/{deployment_id}/{version_id}", "headers": {"x-key": "{secret}"}}');
INSERT INTO miosa.adapters (name, per, request, remove) VALUES ('hosts', 'host',
	'{"method": "PUT", "path": "/{host}"}', '{"method": "DELETE", "path": "/{host}"}');
INSERT INTO miosa.adapters (name, stage, settle, request) VALUES ('forget', 1, '200 ms',
	'{"method": "PURGE", "path": "/{deployment_id}"}');
INSERT INTO miosa.adapters (name, request, volatile, marker_write, marker_read, marker_interval) VALUES ('held',
	'{"method": "PUT", "path": "/map/{deployment_id}"}', true,
	'{"method": "PUT", "path": "/marker/{epoch}"}', '{"method": "GET", "path": "/marker"}', '300 ms');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment(d, 'ten_1', d) FROM unnest('{d1,d2,d3,d4}'::text[]) d;
SELECT miosa_put_version(d, 'v' || n, n) FROM unnest('{d1,d2,d3,d4}'::text[]) d, generate_series(1, 2) n;
EOS
flip(qw(d1 d2 d3 d4));

#
# What an answer means
#
only('one', 'one', $few);
for my $status (401, 403, 404, 407, 408, 425, 429, 500, 503)
{
	$sink->answer('.', status => $status);
	flip(qw(d1 d2 d3));
	wait_sql("SELECT state || last_status FROM miosa.stat_endpoint",
		"backing off$status", "$status is the endpoint's failure");
	ok($sink->wait_for(2), 'it is tried again');
	is(failures(), 0, 'no message is blamed');
	wait_sql("SELECT epochs_behind FROM miosa.stat_endpoint", 3, 'the cursor is held');
	$sink->plain;
	converges("after $status", qw(d1 d2 d3));
	$sink->clear;
}
for my $status (400, 409, 413, 414, 422)
{
	$sink->answer('^/one/d1/', status => $status);
	flip(qw(d1 d2));
	wait_sql('SELECT string_agg(deployment_id || status, $$ $$) FROM miosa.delivery_failures',
		"d1$status", "$status is the message's failure");
	converges("beside $status", 'd2');
	$sink->plain;
	sql("SELECT miosa_redrive('one')");
	converges("after $status", 'd1');
	is(failures(), 0, 'it is over');
}

# A time to come back that is a date
my $date = int(time()) + 4;
$sink->clear;
$sink->answer('.', status => 503,
	headers => { 'Retry-After' => strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime($date)) });
flip('d1');
$sink->wait_for(1);
$sink->plain;
converges('Retry-After as a date', 'd1');
my @request = $sink->requests;
cmp_ok($request[1]{time}, '>=', $date, 'it was obeyed');

# Without one, times double: were they not to grow, 8 tries would take less
# than 0.7 s
$sink->clear;
$sink->answer('.', status => 503);
flip('d1');
ok(@request = $sink->wait_for(8), 'it is tried again');
cmp_ok($request[-1]{time} - $request[0]{time}, '>', 0.7, 'less and less often');
$sink->plain;
converges('when it works', 'd1');

# Once more after what may have been acted upon, when the first try has surely
# ended, and only once
only('one', 'hasty', $few);
my $flipped = time();
$sink->answer('.', reset => 1, times => 1);
my $version = flip('d1');
converges('reset', 'd1');
ok(@request = $sink->wait_for(3), 'sent once more');
cmp_ok($request[2]{time} - $flipped, '>', 2, 'after as long as a request may take');
is($request[2]{path}, "/one/d1/$version", 'the present route');
# What is sent to another once more, for the same reason but later, comes last
$sink->answer('^/one/d2/', reset => 1, times => 1);
flip('d2');
ok($sink->wait_for(3, '^/one/d2/'), 'another is sent once more');
is(scalar paths('^/one/d1/'), 3, 'and not again');

# A time-out is such a case, too
$sink->clear;
$sink->answer('.', hang => 1, times => 1);
$version = flip('d1');
converges('hang', 'd1');
ok(@request = $sink->wait_for(3), 'sent once more');
is($request[2]{path}, "/one/d1/$version", 'the present route');
only('one', 'one', $few);

#
# How many at a time
#
flip(qw(d1 d2 d3 d4));
converges('ready', qw(d1 d2 d3 d4));
sql("SELECT miosa_put_endpoint('beside', 'one', '$url/beside', selector => '$few')");
wait_sql("SELECT state FROM miosa.stat_endpoint WHERE name = 'beside'", 'healthy', 'another endpoint');
converges('ready', qw(d1 d2 d3 d4));
$sink->clear;
$sink->answer('^/one/', hold => 'cap');
flip(qw(d1 d2 d3 d4));
ok($sink->wait_for(2, '^/one/'), 'as many as max_in_flight');
my $last = flip(qw(d1 d2 d3 d4)) && flip(qw(d1 d2 d3 d4));
ok($sink->wait_for(1, "^/beside/$_/$last"), "another endpoint receives all: $_") for qw(d1 d2 d3 d4);
is(scalar paths('^/one/'), 2, 'but no more at a time');
wait_sql('SELECT in_flight FROM miosa.stat_dispatcher', 2, 'the view says so');
sql("SELECT miosa_remove_endpoint('beside')");
$sink->plain->release('cap');
converges('released', qw(d1 d2 d3 d4));
for my $deployment (qw(d1 d2 d3 d4))
{
	my @path = paths("^/one/$deployment/");

	cmp_ok(scalar @path, '<=', 2, "$deployment: one request at a time, and the newest");
	is($path[-1], "/one/$deployment/$last", 'the last request is right');
}

# An endpoint that was away receives only the newest of what has changed often:
# once, and once more where a request may have been acted upon when it went away
$sink->stop;
$last = flip('d1') for 1 .. 9;
wait_sql('SELECT state FROM miosa.stat_endpoint', 'backing off', 'away');
$sink->clear;
$sink->start;
converges('back', 'd1');
my @caught_up = paths('.');
is((grep { $_ ne "/one/d1/$last" } @caught_up) + 0, 0, 'nothing old is sent');
cmp_ok(scalar @caught_up, '<=', 2, 'one request catches up');

#
# A failure's clock outlives the dispatcher
#
$sink->answer('^/one/d1/', status => 422);
flip('d1');
wait_sql('SELECT attempts >= 2 FROM miosa.delivery_failures', 't', 'tried again and again');
new_dispatcher();
wait_sql('SELECT attempts >= 4 FROM miosa.delivery_failures', 't', 'counted on after a restart');
ok( poll_until(
		sub {
			sql("UPDATE miosa.delivery_failures SET attempts = 9, next_try_at = now() + interval '1 hour'");
			new_dispatcher();
			return sql("SELECT next_try_at > now() + interval '30 min' FROM miosa.delivery_failures") eq 't';
		},
		180),
	'a failure whose next try is far');
$sink->clear;
flip('d2');
converges('beside it', 'd2');
my $attempts = "SELECT attempts FROM miosa.delivery_failures WHERE deployment_id = 'd1'";
ok($sink->wait_for(1, '^/one/d1/'), 'the endpoint accepts something, so it is tried');
wait_sql($attempts, 10, 'and rejected again');
flip('d2');
converges('beside it again', 'd2');
is(scalar paths('^/one/d1/'), 1, 'once: it waits for its time');
is(sql("SELECT state FROM miosa.convergence_rows('d1')"), 'failed', 'and is still a failure');
$sink->answer('^/one/d3/', status => 422, times => 1);
flip('d3');
ok($sink->wait_for(2, '^/one/d3/'), 'a later failure is tried again');
wait_sql($attempts, 11, 'and accepted, so the first one is tried and rejected once more');
$sink->plain;
is(sql("SELECT miosa_redrive('one')"), 1, 'until somebody says that it may be tried');
converges('redriven', 'd1');

# Where the log does not reach back, everything is sent
$sink->answer('.', status => 503);
flip('d1');
wait_sql('SELECT state FROM miosa.stat_endpoint', 'backing off', 'away');
wait_sql('SELECT health FROM miosa.endpoint_state', 'backing off', 'and written down');
sql('UPDATE miosa.dispatcher_state SET trimmed_epoch = last_epoch; DELETE FROM miosa.route_log');
new_dispatcher();
$sink->clear;
$sink->plain;
wait_sql("SELECT state FROM miosa.stat_endpoint", 'healthy', 'back');
my %sent = map { m{^/one/(d\d)/} ? ($1 => 1) : () } paths('.');
is(join(' ', sort keys %sent), 'd1 d2 d3 d4', 'it receives everything');

#
# A token that was changed there and not yet here, with much to tell
#
sql(<<'EOS');
INSERT INTO miosa.deployments (id, tenant_id, name, slug)
	SELECT 'm' || n, 'ten_1', 'many', 'many-' || n FROM generate_series(1, 3000) n;
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state)
	SELECT 'm' || n, 'v' || v, 'ten_1', v, 'ready' FROM generate_series(1, 3000) n, generate_series(1, 2) v;
EOS
only('keyed', 'keyed', '{}', ", secret => 'key'");
$sink->answer('.', status => 401);
sql("SELECT count(miosa_promote('m' || n, 'v1')) FROM generate_series(1, 3000) n");
ok($sink->wait_for(5), 'refused again and again');
is(failures(), 0, '3,000 changes, and none of them is blamed');
wait_sql('SELECT epochs_behind >= 3000 FROM miosa.stat_endpoint', 't', 'the cursor is held');
cmp_ok(scalar paths('.'), '<', 50, 'nor are there thousands of tries');
sql("SELECT miosa_put_secret('key', 'second')");
ok( poll_until(
		sub { grep { $_->{headers}{'x-key'} eq 'second' } $sink->requests('/m') },
		180),
	'tried with the new token');
$sink->clear;
$sink->plain;
converges('with the new token', qw(m1 m3000));
wait_sql('SELECT epochs_behind FROM miosa.stat_endpoint', 0, 'all of it is delivered');
%sent = map { $_->{path} => $_->{headers}{'x-key'} } $sink->requests('/m');
is(scalar keys %sent, 3000, 'each');
is((grep { $_ ne 'second' } values %sent) + 0, 0, 'with the new token');

# So it is where the marker can be read without a token
only('held', 'held', $few);
wait_sql("SELECT string_agg(DISTINCT state, ' ') FROM miosa.convergence_rows('d1')",
	'verified', 'what was read back is verified');
$sink->clear;
$sink->answer('^/held/map', status => 401);
flip(qw(d1 d2 d3 d4));
ok($sink->wait_for(24, '^/held/map'), 'refused again and again');
is(failures(), 0, 'no message is blamed');
plain();
converges('when it is taken', qw(d1 d2 d3 d4));

# A marker that is lower than what was written is that of another table
wait_sql("SELECT state FROM miosa.convergence_rows('d1')", 'verified', 'verified');
$sink->clear;
$sink->answer('^/held/marker', method => 'GET', body => '7');
ok($sink->wait_for(4, '^/held/map'), 'then all is sent again');
like(slurp_file($node->logfile), qr/endpoint "held" lost its routing table/, 'the log says why');

#
# Hosts that are removed
#
sub hosts { return join ' ', map { "$_->{method} $_->{path}" } $sink->requests('test$'); }

sql("SELECT miosa_put_domain(h || '.test', 'd1') FROM unnest('{a,b,c,d,e}'::text[]) h");
only('hosts', 'hosts', $few);
$sink->answer('.', status => 503);
sql("SELECT miosa_remove_domain('a.test')");
wait_sql('SELECT state FROM miosa.stat_endpoint', 'backing off', 'a host is removed while the router is away');
new_dispatcher();
$sink->plain;
converges('back', 'd1');
like(hosts(), qr{DELETE /hosts/a\.test$|DELETE /hosts/a\.test }, 'it is taken away, also after a restart');
sql("SELECT miosa_set_endpoint('hosts', false, 'repair'); SELECT miosa_remove_domain('b.test')");
wait_sql('SELECT count(*) FROM miosa.outbox', 0, 'another, while it is disabled');
$sink->clear;
sql("SELECT miosa_set_endpoint('hosts', true)");
converges('enabled', 'd1');
like(hosts(), qr{DELETE /hosts/b\.test}, 'it is taken away, too');
$sink->clear;
$sink->answer('.', status => 503);
flip(qw(d2 d3));
sql("SELECT miosa_remove_domain('d.test')");
wait_sql('SELECT health FROM miosa.endpoint_state', 'backing off', 'another, while it is away');
sql('UPDATE miosa.dispatcher_state SET trimmed_epoch = last_epoch - 1;
	DELETE FROM miosa.route_log USING miosa.dispatcher_state s WHERE epoch < s.last_epoch');
new_dispatcher();
$sink->clear;
$sink->plain;
converges('back', 'd1');
like(hosts(), qr{DELETE /hosts/d\.test}, 'it is taken away, though the log does not reach back');
$sink->answer('.', status => 503);
sql("SELECT miosa_remove_domain('e.test')");
wait_sql('SELECT state FROM miosa.stat_endpoint', 'backing off', 'one more, and then very much happens');
sql('UPDATE miosa.dispatcher_state SET last_epoch = last_epoch + 60000');
$sink->clear;
new_dispatcher();
$sink->plain;
converges('everything is sent', 'd1');
ok(poll_until(sub { hosts() =~ m{DELETE /hosts/e\.test} }, 180), 'it is taken away as well');
only('hook', 'webhook', $few);
sql("SELECT miosa_remove_domain('c.test')");
converges('a webhook', 'd1');
is_deeply(decode_json(($sink->requests('^/hook'))[-1]{body})->{data}{removed_hosts},
	['c.test'], 'receives which host is removed');

#
# Whom a deployment concerns
#
sql("SELECT miosa_put_deployment('dyn', 'ten_1', 'dyn', kind => 'dynamic');
	SELECT miosa_put_version('dyn', 'v' || n, n, fields => '{\"runtime_image\": \"r/i:1\"}') FROM generate_series(1, 2) n");
only('kind', 'one', '{"kind": ["dynamic"]}');
sql("SELECT miosa_promote('dyn', 'v1', cutover => 'immediate')");
flip('d1');
is(sql("SELECT count(*) FROM miosa.convergence_rows('d1')"), 0, 'a selector by kind leaves one out');
ok($sink->wait_for(1, '^/kind/dyn/v1'), 'and delivers the other');
is(scalar paths('/d1/'), 0, 'of that alone');

#
# The second purge is not lost with the server
#
only('cache', 'forget', $few);
sql("SELECT miosa_put_endpoint('router', 'one', '$url/router', selector => '$few')");
flip('d1');
converges('ready', 'd1');
my $settled = "SELECT bool_and(s.acked_epoch = d.last_epoch AND s.settled_epoch = d.last_epoch)
	FROM miosa.endpoint_state s, miosa.dispatcher_state d";
wait_sql($settled, 't', 'all is quiet');
$sink->clear;
$sink->answer('^/router/d1', hold => 'late');
flip('d1');
ok($sink->wait_for(2, '^/cache/d1'), 'the cache does not wait for ever');
wait_sql("$settled WHERE s.endpoint = 'cache'", 't', 'and has settled');
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_safe('BEGIN; LOCK TABLE miosa.outbox IN SHARE MODE');
my $failed = sql('SELECT succeeded FROM miosa.stat_dispatcher');
$sink->plain->release('late');
wait_sql("SELECT succeeded > $failed FROM miosa.stat_dispatcher", 't', 'the router answers at last');
wait_sql("SELECT count(*) > 0 FROM pg_locks WHERE relation = 'miosa.outbox'::regclass AND NOT granted",
	't', 'that is to be written down');
is(sql("$settled WHERE s.endpoint = 'router'"), 'f',
	'which is not written down before the second purge is');
$node->stop('immediate');
eval { $session->quit };
$sink->clear;
$node->start;
ok($sink->wait_for(1, '^/cache/d1'), 'so the cache is purged again after a crash');
converges('and', 'd1');

done_testing();
