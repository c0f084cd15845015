# Edges that say that they are gone, and edges that do not return their
# marker: neither counts as success, neither is asked without pause, and
# status, doctor and log say so.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = make_node('states', "miosa_rollback.gone_retry = '1 h'\n");
my $sink = MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')->start;

sub sql { return $node->safe_psql('postgres', @_); }
sub wait_sql { return MiosaTest::wait_sql($node, @_); }
sub state_of { return "SELECT state FROM miosa.stat_endpoint WHERE name = '$_[0]'"; }
sub logged { my $n = () = slurp_file($node->logfile) =~ /$_[0]/g; return $n; }

sub verdict { my ($timeout) = @_; return sql("SELECT miosa_wait_converged('d1', '$timeout')"); }

# What status says, as soon as it matches, or in the end.
sub status
{
	my ($like) = @_;
	my $said;

	poll_until(
		sub {
			$said = sql("SELECT string_agg(value, E'\\n') FROM miosa.status('d1')");
			return $said =~ $like;
		},
		180,
		0.1);
	return $said;
}

sub doctor
{
	return sql("SELECT d.status || ' ' || d.seen FROM miosa_doctor() d
		WHERE to_jsonb(d)::text LIKE '%\"endpoint_health\"%'");
}

sql(<<"EOS");
INSERT INTO miosa.adapters (name, verdicts, request) VALUES ('leaving', '{"410": "gone"}',
	'{"method": "PUT", "path": "/leaving/{version_id}"}');
INSERT INTO miosa.adapters (name, verdicts, request, volatile, marker_write, marker_read, marker_interval) VALUES ('mute', '{"410": "gone"}',
	'{"method": "PUT", "path": "/mute/map/{version_id}"}', true,
	'{"method": "PUT", "path": "/mute/marker/{epoch}"}', '{"method": "GET", "path": "/mute/marker"}', '100 ms');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('d1', 'ten_1', 'd1'), miosa_put_version('d1', 'v1', 1), miosa_put_version('d1', 'v2', 2);
SELECT miosa_put_endpoint('leaving', 'leaving', '@{[ $sink->url ]}');
EOS

#
# 410: gone by itself is not disabled by a person
#
sql("SELECT miosa_promote('d1', 'v1')");
is(verdict('180 s'), 'converged', 'an edge works');
$sink->answer('^/leaving', status => 410);
$sink->clear;
sql("SELECT miosa_promote('d1', 'v2')");
is(wait_sql(state_of('leaving'), 'gone'), 'gone', 'it answers 410');
is(verdict('1 s'), 'waiting_edges', 'it does not count as converged');
is(sql("SELECT enabled FROM miosa.endpoints"), 't', 'nor is it disabled');
like(doctor(), qr/^fail leaving \(gone\)/, 'the doctor names it');
like(status(qr/leaving \(default\): gone.*\n.*410/), qr/leaving \(default\): gone.*\n.*410/, 'so does status');
is(logged('WARNING:  endpoint "leaving" answers that it is gone \(HTTP status 410\)'),
	1, 'so does the log');
is(sql("SELECT next_try_at - last_error_at BETWEEN '1 h' AND '1 h 1 min' FROM miosa.stat_endpoint"),
	't', 'it is tried again after gone_retry');
sql("SELECT miosa_rollback('d1', 'v1')");
is(wait_sql('SELECT epochs_behind > 1 FROM miosa.stat_endpoint', 't'), 't', 'a change is taken');
is(scalar $sink->requests, 1, 'and it is not asked before that');

# A person can have it tried at once; then it is tried now and then
$node->append_conf('postgresql.conf', "miosa_rollback.gone_retry = '200 ms'\n");
$node->reload;
is(wait_sql("SHOW miosa_rollback.gone_retry", '200ms'), '200ms', 'gone_retry is shorter');
my $began = time();
sql("SELECT miosa_resync('leaving')");
ok($sink->wait_for(4, '^/leaving'), 'it is tried again and again');
my @at = map { $_->{time} } $sink->requests('^/leaving');
cmp_ok($at[$_] - $began, '>=', 0.2 * ($_ - 1) - 0.01, 'not before gone_retry has passed') for 2, 3;
$sink->plain;
is(verdict('180 s'), 'converged', 'and receives it when it is back');
is(wait_sql(state_of('leaving'), 'healthy'), 'healthy', 'it is healthy');
ok(poll_until(sub { logged('LOG:  endpoint "leaving" accepts requests again') == 1 }, 180), 'the log says so');
sql("SELECT miosa_remove_endpoint('leaving')");

#
# A volatile endpoint that never returns its marker
#
$sink->clear;
$began = time();
sql("SELECT miosa_put_endpoint('mute', 'mute', '@{[ $sink->url ]}')");
is(wait_sql(state_of('mute'), 'unverified'), 'unverified', 'a router does not return its marker');
like(doctor(), qr/^fail mute \(unverified\)/, 'the doctor names it');
ok($sink->wait_for(6, '^/mute/marker/[1-9]'), 'it is tried again');
@at = map { $_->{time} } $sink->requests('^/mute/marker/[1-9]');
cmp_ok($at[$_] - $began, '>=', 0.1 * (2**$_ - 1) - 0.01, "try $_ waits longer than the one before") for 1 .. 5;
cmp_ok(scalar $sink->requests('^/mute/map'), '<=', 1 + scalar $sink->requests('^/mute/marker/[1-9]'),
	'it is resynchronized with the tries only');
is(logged('WARNING:  endpoint "mute" does not return its marker'), 1, 'one log line');
is(logged(q{HINT:  SELECT public[.]miosa_test_endpoint[(]'mute'[)];}), 1, 'with what to type, wherever it is typed');
is(logged('endpoint "mute" lost its routing table'), 0, 'and no other');
# Which writes one itself
like(sql("SELECT miosa_test_endpoint('mute') -> 'data' ->> 'verdict'"),
	qr/^the endpoint does not return the marker that is written to it/, 'miosa_test_endpoint finds out');
sql("SELECT miosa_promote('d1', 'v2')");
ok($sink->wait_for(1, '^/mute/map/v2'), 'a change is delivered');
is(verdict('1 s'), 'waiting_edges', 'which does not count as converged');
like(status(qr/unverified.*\n.*marker/), qr/mute \(default\): unverified.*\n.*marker/, 'status says why');
$sink->answer('/marker$', method => 'GET', body => '9' x 18);
sql("SELECT miosa_resync('mute')");
is(verdict('180 s'), 'converged', 'it does when the marker is returned');
is(wait_sql(state_of('mute'), 'healthy'), 'healthy', 'and is healthy');
is(sql("SELECT miosa_test_endpoint('mute') -> 'data' ->> 'verdict'"), 'ok', 'also to miosa_test_endpoint');

# One that loses its table again and again, as two processes behind one
# address would
$sink->plain('/marker$', method => 'GET', body => '0');
is(wait_sql(state_of('mute'), 'unverified'), 'unverified', 'it is lost again and again');
$sink->plain('/marker$', method => 'GET', body => '9' x 18);
is(wait_sql(state_of('mute'), 'healthy'), 'healthy', 'by itself it comes back');
is(verdict('180 s'), 'converged', 'and converges');

# The marker may be a JSON string, which half of one is not
$sink->plain('/marker$', method => 'GET', body => '"' . '9' x 18);
is(wait_sql(state_of('mute'), 'unverified'), 'unverified', 'a string that does not end is no marker');
$sink->plain('/marker$', method => 'GET', body => '"' . '9' x 18 . "\"\n");
is(wait_sql(state_of('mute'), 'healthy'), 'healthy', 'one that ends is');

# One that says so when it is asked for its marker is gone, and comes back
$sink->plain('/marker$', method => 'GET', status => 410);
is(wait_sql(state_of('mute'), 'gone'), 'gone', 'it answers 410 when its marker is read');
$sink->plain('/marker$', method => 'GET', body => '9' x 18);
is(wait_sql(state_of('mute'), 'healthy'), 'healthy', 'it is back');
sql("SELECT miosa_promote('d1', 'v1')");
is(verdict('180 s'), 'converged', 'and takes changes');

$node->stop;
done_testing();
