# How schedulers are asked: one request at a time for a deployment, with the
# count that is wanted when it is sent, starts before stops, again after a
# crash; and what one that is down or gone holds up: nothing else.

use strict;
use warnings FATAL => 'all';

use IPC::Run qw(start);
use JSON::PP qw(decode_json);
use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node reload_settings);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('ask', <<'EOC');
miosa_rollback.capacity_interval = 1s
miosa_rollback.heartbeat_timeout = 0
EOC
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $sink = MiosaSink->new(dir => "$dir/sink");

# Six deployments, and a site that has no instances
sql(qq{
	SELECT miosa_put_tenant('ten_1', 'acme');
	SELECT miosa_put_deployment('dep_' || i, 'ten_1', 'app-' || i, kind => 'dynamic', desired_replicas => 1),
		miosa_put_version('dep_' || i, 'ver_1', 1, 'dynamic'), miosa_put_version('dep_' || i, 'ver_2', 2, 'dynamic')
	FROM generate_series(1, 6) i;
	SELECT miosa_put_deployment('site', 'ten_1', 'site'), miosa_put_version('site', 'ver_1', 1);
	SELECT miosa_put_endpoint('boots', 'webhook-scheduler', '} . $sink->url . q{/boots')});

# One that is down holds up nobody else, and is shown
sql("SELECT miosa_promote('dep_1', 'ver_1'), miosa_promote('site', 'ver_1')");
is(wait_sql("SELECT state FROM miosa.stat_endpoint WHERE name = 'boots'", 'backing off'),
	'backing off', 'a scheduler that is down is left alone');
is( wait_sql("SELECT last_error <> '' AND asked_at IS NULL FROM miosa.capacity WHERE deployment_id = 'dep_1'", 't'),
	't', 'and what it was not asked says why');
is(sql("SELECT miosa_wait_converged('site', '5 s')"),
	'no_edges', 'a site does not wait for it');
is(sql("SELECT epochs_behind FROM miosa.stat_endpoint WHERE name = 'boots'"),
	'', 'there is no route that it lacks');
sql("UPDATE miosa.route_log SET created_at = now() - '2 h'::interval");
is(wait_sql("SELECT miosa.trim_route_log(1000) >= 0 AND NOT EXISTS (SELECT FROM miosa.route_log)", 't'),
	't', 'the log of routes is trimmed all the same');
$sink->start;
is(asked('dep_1', 1), 'ver_1 1', 'once it is up it is asked');
is( wait_sql("SELECT asked_at IS NOT NULL FROM miosa.capacity WHERE deployment_id = 'dep_1'", 't'),
	't', 'which is written down');
ok($sink->wait_for(2, '^/boots'), 'and requested again, because none came');
my @id = map { $_->{headers}{'webhook-id'} } $sink->requests;

isnt($id[0], $id[1], 'under another id, so that it is not dropped');
report('dep_1', 'ver_1', 'healthy');
is(wait_sql("SELECT count(*) FROM miosa.capacity WHERE deployment_id = 'dep_1'", 0),
	0, 'until it comes');

# While a request is in flight there is no second one; then comes the newest count
idle();
$sink->answer('^/boots', hold => 'gate', times => 1);
sql("SELECT miosa_promote('dep_2', 'ver_1')");
ok($sink->wait_for(1), 'a request is in flight');
sql("SELECT miosa_put_deployment('dep_2', 'ten_1', desired_replicas => $_)") for 2 .. 5;
sql("SELECT miosa_promote('dep_3', 'ver_1')");
is(asked('dep_3', 1), 'ver_1 1', 'another deployment does not wait for it');
is(scalar(grep { about($_)->{deployment_id} eq 'dep_2' } $sink->requests),
	1, 'the same one has no second request');
$sink->release('gate');
is(asked('dep_2', 2), 'ver_1 1, ver_1 5', 'then it is asked for what is wanted by then');

# What fails is tried again under its id; a refusal leaves others alone
report('dep_2', 'ver_1', 'healthy', $_) for 1 .. 5;
report('dep_3', 'ver_1', 'healthy');
is(wait_sql("SELECT count(*) FROM miosa.capacity", 0), 0, 'all is there');
idle();
$sink->answer('^/boots', status => 409);
sql("SELECT miosa_promote('dep_4', 'ver_1')");
asked('dep_4', 2);
$sink->answer('^/boots', status => 204);
is(asked('dep_4', 3), 'ver_1 1, ver_1 1, ver_1 1', 'what is refused is asked for again');
my @same = map { $_->{headers}{'webhook-id'} } grep { about($_)->{deployment_id} eq 'dep_4' } $sink->requests;

is("@same[0 .. 2]", join(' ', ($same[0]) x 3), 'under the same id');
is(sql("SELECT state FROM miosa.stat_endpoint WHERE name = 'boots'"),
	'healthy', 'the scheduler is taken for healthy');
like(sql("SELECT last_error FROM miosa.capacity WHERE deployment_id = 'dep_4'"),
	qr/409/, 'and what it said is kept');
report('dep_4', 'ver_1', 'healthy');

# Starts before stops, however many of these there are
sql(q{INSERT INTO miosa.adapters SELECT (jsonb_populate_record(a, '{"name": "slow", "builtin": false, "rate": 2, "burst": 1}')).*
	FROM miosa.adapters a WHERE name = 'webhook-scheduler'});
sql("SELECT miosa_put_endpoint('boots', 'slow', '" . $sink->url . "/boots')");
is(wait_sql("SELECT count(*) FROM miosa.capacity", 0), 0, 'all is there again');
idle();
sql(q{
	BEGIN;
	INSERT INTO miosa.capacity (deployment_id, version_id, state)
		SELECT 'dep_' || i, 'ver_2', 'draining' FROM generate_series(1, 5) i;
	SELECT miosa.queue('dep_' || i, 'capacity', NULL) FROM generate_series(1, 5) i;
	SELECT miosa_promote('dep_6', 'ver_1');
	COMMIT});
ok($sink->wait_for(6), 'all are asked');
my @order = map { about($_)->{count} } ($sink->requests)[ 0 .. 5 ];
my ($start) = grep { $order[$_] } 0 .. 5;

cmp_ok($start, '<=', 1, 'what is missing comes before all that is stopped')
  or diag "@order";

# After a crash of the dispatcher everything is asked for again
sql("SELECT miosa_put_endpoint('boots', 'webhook-scheduler', '" . $sink->url . "/boots')");
sql("UPDATE miosa.capacity SET state = 'drained' WHERE state = 'draining'");
$sink->clear;
sql("SELECT pg_terminate_backend(pid) FROM miosa.dispatcher()");
is(asked('dep_6', 1), 'ver_1 1', 'a new dispatcher asks for what is missing');
report('dep_6', 'ver_1', 'healthy');
is(wait_sql("SELECT count(*) FROM miosa.capacity WHERE state = 'wanted'", 0), 0, 'it comes');

# A session that has the row locked does not wait for us, nor we for it
$sink->clear;
my ($in, $out) = ('', '');
my $holder = start [ 'psql', '-XqAt', '-d', $node->connstr('postgres') ],
  '<', \$in, '>', \$out;

sql("SELECT miosa_promote('dep_1', 'ver_2')");
$in = "BEGIN; SELECT 'held' FROM miosa.capacity WHERE deployment_id = 'dep_1' AND version_id = 'ver_2' FOR UPDATE;\n";
$holder->pump until $out =~ /held/;
sql("UPDATE miosa.endpoints SET generation = generation + 1");
sql("SELECT miosa_promote('dep_2', 'ver_2')");
is( wait_sql("SELECT asked_at IS NOT NULL FROM miosa.capacity WHERE deployment_id = 'dep_2' AND state = 'wanted'", 't'),
	't', 'others are written down while a row is locked');
$in = "UPDATE miosa.capacity SET asked_at = NULL WHERE deployment_id = 'dep_1'; COMMIT;\n";
$holder->finish;
is( wait_sql("SELECT asked_at IS NOT NULL FROM miosa.capacity WHERE deployment_id = 'dep_1' AND state = 'wanted'", 't'),
	't', 'and that one when it is free');

# A request that may still be on its way must not be the last to arrive, whatever
# is wanted by now; until then another one is due. Every request for one instance
# hangs until it times out.
$node->append_conf('postgresql.conf', <<'EOC');
miosa_rollback.capacity_interval = '1h'
miosa_rollback.cutover_deadline = '1h'
EOC
reload_settings($node);
sql(q{INSERT INTO miosa.adapters SELECT (jsonb_populate_record(a, jsonb_build_object('name', 'hasty', 'builtin', false,
		'timeout', '2 s', 'request', a.request || '{"path": "/{count}"}'))).*
	FROM miosa.adapters a WHERE name = 'webhook-scheduler'});
sql('DELETE FROM miosa.capacity');
sql("SELECT miosa_put_endpoint('boots', 'hasty', '" . $sink->url . "/boots')");
$sink->clear;
$sink->answer('^/boots/1$', hang => 1);
sql("SELECT miosa_promote('dep_5', 'ver_1')");
ok($sink->wait_for(1, '^/boots/1$'), 'a request hangs');
sql("SELECT miosa_put_deployment('dep_5', 'ten_1', desired_replicas => 2)");
ok($sink->wait_for(1, '^/boots/2$'), 'it is given up, and something else is asked for');
report('dep_5', 'ver_1', 'healthy', $_) for 1, 2;
my @last = map { $_->{headers}{'webhook-id'} } $sink->wait_for(2, '^/boots/2$');

is(scalar @last, 2, 'which is asked for once more, although it is there');
isnt($last[0], $last[1], 'under another id');
like(join(' ', map { about($_)->{count} } $sink->requests), qr/^1( 1)* 2 2$/,
	'and what hung is not');
# What is there when that is written down is not wanted any more
is( wait_sql("SELECT NOT EXISTS (SELECT FROM miosa.capacity WHERE deployment_id = 'dep_5' AND asked_at IS NULL)", 't'),
	't', 'then that is written down');

# A deadline is kept although the next tour of all deployments is far
is( (split /\n/, sql("BEGIN; SELECT miosa_promote('dep_5', 'ver_2');
		SELECT miosa_report_instance('dep_5', 'ver_2-1', 'ver_2', 'healthy', '127.0.0.1', 80);
		SELECT serving_version_id FROM miosa.deployments WHERE id = 'dep_5'; COMMIT"))[-1],
	'ver_1', 'one of two is not enough');
$node->append_conf('postgresql.conf', "miosa_rollback.cutover_deadline = '1s'\n");
reload_settings($node);
is(wait_sql('SHOW miosa_rollback.cutover_deadline', '1s'), '1s', 'a short deadline');
sql("SELECT miosa_rollback('dep_5', 'ver_1')");
sql("SELECT miosa_promote('dep_5', 'ver_2')");
is(wait_sql("SELECT serving_version_id IS NULL AND active_version_id = 'ver_2' FROM miosa.deployments WHERE id = 'dep_5'", 't'),
	't', 'is enough when it is over');

# 410: it is gone
$sink->answer('^/boots', status => 410, times => 1);
sql("SELECT miosa_promote('dep_3', 'ver_2')");
is(wait_sql("SELECT state FROM miosa.stat_endpoint WHERE name = 'boots'", 'gone'),
	'gone', 'one that answers 410 is shown as gone');
like(sql("SELECT last_error FROM miosa.stat_endpoint WHERE name = 'boots'"),
	qr/410/, 'with the reason');

# One by one: what is refused, for good or for now, is replaced by another one
# of the version, and no more are started than are missing
sql(q{
	INSERT INTO miosa.adapters SELECT (jsonb_populate_record(a, '{"name": "machines", "builtin": false, "signer": "none", "rate": null,
			"request": {"method": "POST", "path": "/{instance_id}/start"}, "remove": {"method": "POST", "path": "/{instance_id}/stop"}}')).*
		FROM miosa.adapters a WHERE name = 'fly-machines';
	SELECT miosa_put_endpoint('machines', 'machines', '} . $sink->url . q{/machines', selector => '{"deployment": "dep_7"}');
	SELECT miosa_put_deployment('dep_7', 'ten_1', 'app-7', kind => 'dynamic', desired_replicas => 2);
	SELECT miosa_put_version('dep_7', 'ver_' || i, i, 'dynamic') FROM generate_series(1, 2) i;
	SELECT miosa_report_instance('dep_7', 'new-' || i, 'ver_2', 'healthy') FROM generate_series(1, 2) i;
	SELECT miosa_report_instance('dep_7', 'old-' || i, 'ver_1', 'healthy') FROM generate_series(1, 6) i;
	SELECT miosa_promote('dep_7', 'ver_1');
	SELECT miosa_promote('dep_7', 'ver_2');
	SELECT miosa_report_instance('dep_7', 'old-' || i, 'ver_1', 'stopped') FROM generate_series(1, 6) i});
$sink->clear;
$sink->answer('/old-1/', status => 404);
$sink->answer('/old-2/', status => 410);
$sink->answer('/old-3/', status => 409);
sql("SELECT miosa_rollback('dep_7', 'ver_1')");
is( wait_sql("SELECT asked_at IS NOT NULL FROM miosa.capacity WHERE deployment_id = 'dep_7' AND version_id = 'ver_1'", 't'),
	't', 'instances of the version are started');
is( join(' ', map { $_->{path} =~ m{/(old-\d)/start$} } $sink->requests('^/machines')),
	'old-1 old-2 old-3 old-4 old-5', 'those that are gone are replaced by others');
sql("SELECT miosa_report_instance('dep_7', 'old-' || i, 'ver_1', 'healthy') FROM generate_series(4, 5) i");
is(wait_sql("SELECT serving_version_id IS NULL AND active_version_id = 'ver_1' FROM miosa.deployments WHERE id = 'dep_7'", 't'),
	't', 'and the rollback is done');

sub sql { return $node->safe_psql('postgres', @_); }
sub wait_sql { return MiosaTest::wait_sql($node, @_); }

# Forget requests, of which none is under way.
sub idle
{
	is(wait_sql('SELECT in_flight FROM miosa.stat_dispatcher', 0), 0, 'no request is under way');
	$sink->clear;
	return;
}

sub report
{
	my ($deployment, $version, $state, $n) = @_;

	$n //= 1;
	return sql("SELECT miosa_report_instance('$deployment', '$version-$n', '$version', '$state', '127.0.0.1', 80)");
}

sub about
{
	my ($request) = @_;

	return decode_json($request->{body})->{data};
}

# The first so many things that were asked for one deployment.
sub asked
{
	my ($deployment, $count) = @_;
	my @asked;

	poll_until(
		sub {
			@asked = map { "$_->{version_id} $_->{count}" }
			  grep { $_->{deployment_id} eq $deployment }
			  map { about($_) } $sink->requests;
			return @asked >= $count;
		},
		180);
	return join ', ', @asked[ 0 .. ($#asked < $count ? $#asked : $count - 1) ];
}

done_testing();
