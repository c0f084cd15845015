# What goes along when a deployment moves: its hold, watch, alerts, bad marks, keys,
# instances and requests to schedulers; what the shards have differently; and a move
# that its new shard does not take.

use strict;
use warnings FATAL => 'all';

use IPC::Run ();
use JSON::PP qw(decode_json);
use MiosaHttp qw(poll_until);
use MiosaRouter;
use MiosaSink;
use MiosaTest qw(make_node wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'this PostgreSQL has no PL/Proxy' unless MiosaRouter->available;

my $node = make_node('all', "max_worker_processes = 16\nmiosa_rollback.capacity_interval = 200ms\nmiosa_rollback.drain_delay = -1\n");
my $router = MiosaRouter->new($node, map { [ $_ => $node ] } qw(s0 s1));
my $sink = MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')->start;
my $id = $router->here('s0');
my $app = $router->here('s0', 2);

sub messages { return ($router->try($_[0]))[2]; }
sub move { my ($deployment, $to) = @_; return $router->sql("CALL miosa_move_deployment('$deployment', '$to')"); }

$router->sql("SELECT miosa_put_tenant('ten_1', 'acme'); SELECT miosa_put_plan('gold', '90 days', '2 days', '30 days')");
$router->sql("SELECT miosa_put_endpoint('boots', 'webhook-scheduler', '" . $sink->url . "/boots')");
$router->sql("SELECT miosa_put_deployment('$id', 'ten_1', slug => 'shop')");
$router->sql("SELECT count(miosa_put_version('$id', 'v' || v, v, state => 'ready')) FROM generate_series(1, 4) v");
$router->sql("SELECT miosa_promote('$id', 'v$_', 'p$_')") for 1 .. 3;

# A hold, a watch, a bad mark, an open alert.
$router->sql("SELECT miosa_mark_bad('$id', 'v1', 'leaks'); SELECT miosa_watch('$id', '1 hour', on_alert => 'notify')");
$router->sql("SELECT miosa_rollback('$id', reason => 'a hold follows')");
my $now = $router->sql(q[SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')]);
my $alert = sub { my ($status) = @_; return qq({"version": "4", "alerts": [{"status": "$status", "labels": {"miosa_deployment": "$id", "alertname": "Errors"}, "annotations": {},
	"startsAt": "$now", "endsAt": "@{[ $status eq 'resolved' ? '2199-01-01T00:00:00Z' : '0001-01-01T00:00:00Z' ]}", "fingerprint": "f1"}]}) };
like($router->sql("SELECT miosa_alert('@{[ $alert->('firing') ]}')"), qr/"done": "(?:notified|recorded)"/, 'an alert is open');
my $state = "SELECT (SELECT jsonb_agg(to_jsonb(h)) FROM miosa.holds h WHERE deployment_id = '$id')::text, (SELECT jsonb_agg(to_jsonb(w)) FROM miosa.watches w WHERE deployment_id = '$id')::text,
	(SELECT jsonb_agg(to_jsonb(v) ORDER BY id) FROM miosa.versions v WHERE deployment_id = '$id')::text, (SELECT jsonb_agg(to_jsonb(a) - 'number') FROM miosa.alerts a WHERE deployment_id = '$id')::text,
	(SELECT jsonb_agg(to_jsonb(k) ORDER BY key) FROM miosa.idempotency_keys k WHERE deployment_id = '$id')::text, (SELECT jsonb_agg(to_jsonb(e) ORDER BY seq) FROM miosa.audit_events e WHERE deployment_id = '$id')::text";
my $before = $router->shard_sql('s0', $state);

# The tenant's plan differs on the other shard.
$router->shard_sql('s1', "SELECT miosa_put_tenant('ten_1', 'acme', 'gold')");
like($router->sql("SELECT status || ' ' || seen FROM miosa_doctor() WHERE item = 'router: tenants'"), qr/^fail shards differ: ten_1/, 'a plan that differs: the doctor names the tenant');
move($id, 's1');
is($router->shard_sql('s1', $state), $before, 'everything of it is there as it was, also until when it is kept');
is($router->shard_sql('s0', "SELECT count(*) FROM miosa.versions WHERE deployment_id = '$id'"), 0, '... and only there');
like(messages("SELECT miosa_promote('$id', 'v4', automatic => true)"), qr/ERROR:  .*hold|ERROR:  .*held/i, 'the hold holds');
like(messages("SELECT miosa_promote('$id', 'v1')"), qr/ERROR:  .*bad/, 'the bad mark counts');
like($router->sql("SELECT miosa_alert('@{[ $alert->('firing') ]}')"), qr/"fingerprint": "f1"/, 'the alert may come again');
is($router->shard_sql('s1', "SELECT count(*) FROM miosa.alerts WHERE deployment_id = '$id'"), 1, '... and is the same');
$router->sql("SELECT miosa_alert('@{[ $alert->('resolved') ]}')");
is($router->shard_sql('s1', "SELECT count(*) FROM miosa.alerts WHERE deployment_id = '$id' AND resolved_at IS NOT NULL"), 1, '... and ends there');
is($router->sql("SELECT miosa_promote('$id', 'v2', 'p2') #>> '{operation,id}'"), "$id#2", 'keys count');
$router->sql("SELECT miosa_promote('$id', 'v4', 'p4')");
is($router->shard_sql('s1', "SELECT date_trunc('day', keep_until - created_at) FROM miosa.audit_events WHERE deployment_id = '$id' ORDER BY seq DESC LIMIT 1"), '90 days', 'operations there are kept by the plan of that shard');
$router->sql("SELECT miosa_put_tenant('ten_1', 'acme', 'gold')");
is($router->sql("SELECT status FROM miosa_doctor() WHERE item = 'router: tenants'"), 'ok', 'the call that is repeated makes shards equal');

# To the shard that it is on.
move($id, 's1');
is($router->shard_sql('s1', "SELECT count(*) FROM miosa.deployments WHERE id = '$id'") . $router->sql('SELECT count(*) FROM miosa_router.moves'), '10', 'a move to the shard that it is on does nothing');

# A response is in flight: the call waits for a lock when the deployment is taken.
$router->shard_sql('s1', <<'EOS');
CREATE TABLE gate (step text);
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	WHILE EXISTS (SELECT FROM public.gate) LOOP
		PERFORM pg_sleep(0.02);
	END LOOP;
	RETURN NEW;
END $$;
INSERT INTO gate VALUES ('wait');
GRANT SELECT ON gate TO PUBLIC;
CREATE TRIGGER wait BEFORE INSERT ON miosa.audit_events FOR EACH ROW EXECUTE FUNCTION wait();
EOS

# Start SQL on the router in the background.
sub begin
{
	my ($sql) = @_;
	my %run = (in => '', out => '', err => '');

	$run{handle} = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('router'), '-c', $sql ], \$run{in}, \$run{out}, \$run{err});
	return \%run;
}

my $call = begin("SELECT miosa_promote('$id', 'v3', 'flight') #>> '{operation,id}'");
is(wait_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = 's1'", 1), 1, 'a call is at work');
my $move = begin("CALL miosa_move_deployment('$id', 's0')");
is(wait_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 's1'", 1), 1, '... the move waits for it');
$router->shard_sql('s1', 'DELETE FROM gate');
$_->{handle}->finish for $call, $move;
my ($operation) = $call->{out} =~ /^(\S+)$/;
like($operation, qr/^\Q$id\E#\d+$/, '... it is answered');
is($move->{err}, '', '... then the deployment moves');
is($router->sql("SELECT miosa_promote('$id', 'v3', 'flight') #>> '{operation,id}'"), $operation, '... its key has the answer there');

# A dynamic deployment whose scheduler is being asked.
sub about { my ($request) = @_; return decode_json($request->{body})->{data}; }
$router->sql("SELECT miosa_put_deployment('$app', 'ten_1', slug => 'app', kind => 'dynamic', desired_replicas => 2);
	SELECT miosa_put_version('$app', 'ver_$_', $_, 'dynamic', state => 'ready') FROM generate_series(1, 1)") for 1 .. 2;
$router->sql("SELECT miosa_report_instance('$app', 'a' || i, 'ver_1', 'healthy', '10.0.0.' || i, 80) FROM generate_series(1, 2) i; SELECT miosa_promote('$app', 'ver_1')");
$sink->clear;
$sink->answer('^/boots', hold => 'gate', times => 1);
$router->sql("SELECT miosa_promote('$app', 'ver_2')");
ok($sink->wait_for(1, '^/boots'), 'a scheduler is being asked for instances');
move($app, 's1');
is($router->shard_sql('s1', "SELECT count(*) FROM miosa.runtime_instances WHERE deployment_id = '$app'"), 2, '... its instances move');
is($router->sql("SELECT miosa_route('app.acme.miosa.app') #>> '{data,version_id}'"), 'ver_1', '... routes wait for the new ones');
$sink->release('gate');
ok($sink->wait_for(2, '^/boots'), '... the other shard asks');
$router->sql("SELECT miosa_report_instance('$app', 'b' || i, 'ver_2', 'healthy', '10.0.1.' || i, 80) FROM generate_series(1, 2) i");
ok(poll_until(sub { $router->sql("SELECT miosa_route('app.acme.miosa.app') #>> '{data,version_id}'") eq 'ver_2' }, 180, 0.05), '... routes switch when the instances are there');
ok(poll_until(sub { $router->shard_sql('s1', "SELECT count(*) FROM miosa.capacity WHERE deployment_id = '$app' AND state = 'wanted'") == 0 }, 180, 0.05), '... no request is left');
is(join(' ', sort keys %{ { map { my $a = about($_); ("$a->{version_id} $a->{count}" => 1) } $sink->requests } }), 'ver_2 2', 'every request was for the same: none is lost, and repeating one changes nothing');
is($router->shard_sql('s0', "SELECT count(*) FROM miosa.capacity WHERE deployment_id = '$app'"), 0, 'the shard that it left asks for nothing');

# A shard that does not take it: the deployment is refused meanwhile, and goes back.
$router->shard_sql('s0', <<'EOS');
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full', HINT = 'Check free disk space.';
END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON miosa.versions FOR EACH ROW EXECUTE FUNCTION full_disk();
ALTER TABLE miosa.versions ENABLE ALWAYS TRIGGER full_disk;
EOS
like(messages("CALL miosa_move_deployment('$app', 's0')"), qr/ERROR:  could not extend file: No space left on device\nHINT:  Check free disk space\./, 'a shard that is full: its error is raised');
like(messages("SELECT miosa_rollback('$app')"), qr/ERROR:  deployment "$app" is being moved/, '... the deployment is refused meanwhile');
move($app, 's1');
is($router->sql("SELECT miosa_deployment('$app') #>> '{data,active_version_id}'"), 'ver_2', '... it is turned back');
like(messages("CALL miosa_move_deployment('$app', 's0')"), qr/No space left/, '... and again');
$router->shard_sql('s0', 'DROP TRIGGER full_disk ON miosa.versions');
move($app, 's0');
is($router->shard_sql('s0', "SELECT count(*) FROM miosa.deployments WHERE id = '$app'"), 1, '... the same call finishes it when there is space');

# What the other shard has already.
my $twin = $router->here('s1');
$router->shard_sql('s1', "SELECT miosa_put_deployment('$twin', 'ten_1', slug => 'shop')");
like(messages("CALL miosa_move_deployment('$id', 's1')"),
	qr/ERROR:  slug "shop" is taken\nDETAIL:  Deployment "$twin" has it\.\nHINT:  Slugs are unique within a tenant: SELECT miosa_rename_deployment\('$id', 'another-slug'\);/, 'a slug that is taken there');
is($router->sql("SELECT miosa_deployment('$id') #>> '{data,id}'"), $id, '... it does not move');
$router->shard_sql('s1', "SELECT miosa_put_domain('twice.test', '$twin')");
$router->shard_sql('s0', "SELECT miosa_put_domain('twice.test', '$id')");
$router->sql("SELECT miosa_rename_deployment('$id', 'another-slug')");
like(messages("CALL miosa_move_deployment('$id', 's1')"), qr/ERROR:  host "twice\.test" is taken\nDETAIL:  Deployment "$twin" has it\.\nHINT:  Remove it from one of the two/, 'a host that is taken there');
$router->shard_sql('s1', "SELECT miosa_remove_domain('twice.test')");
move($id, 's1');
is($router->shard_sql('s1', "SELECT count(*) FROM miosa.deployments WHERE id = '$id'"), 1, '... it moves when it is not');
$router->sql("SELECT miosa_put_tenant('ten_2', 'other')");
my $lonely = $router->here('s0', 3);
$router->sql("SELECT miosa_put_deployment('$lonely', 'ten_2')");
$router->shard_sql('s1', "SELECT miosa_remove_tenant('ten_2')");
like(messages("CALL miosa_move_deployment('$lonely', 's1')"), qr/ERROR:  tenant "ten_2" does not exist\nDETAIL:  Deployment "$lonely" belongs to it\.\nHINT:  At the router: SELECT miosa_put_tenant/, 'a tenant that the other shard lacks');

# Retention has removed more of the trail than the shard that it comes back to has
# seen.
move($id, 's0');
$router->sql("SELECT miosa_promote('$id', CASE i % 2 WHEN 0 THEN 'v3' ELSE 'v4' END) FROM generate_series(1, 4) i");
my $last = $router->shard_sql('s1', "SELECT max(seq) FROM miosa.audit_events WHERE deployment_id = '$id'");
my $upto = $last + 2;
$router->shard_sql($_, "ALTER TABLE miosa.audit_events DISABLE TRIGGER audit_events_keep;
	UPDATE miosa.audit_events SET keep_until = now() - interval '1 day' WHERE deployment_id = '$id' AND seq <= $upto;
	ALTER TABLE miosa.audit_events ENABLE ALWAYS TRIGGER audit_events_keep") for qw(s0 s1);
$router->shard_sql('s0', "INSERT INTO miosa.audit_checkpoints AS c (deployment_id, seq, hash) SELECT deployment_id, seq, hash FROM miosa.audit_events WHERE deployment_id = '$id' AND seq = $upto
	ON CONFLICT (deployment_id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash;
	DELETE FROM miosa.audit_events WHERE deployment_id = '$id' AND seq <= $upto");
is($router->sql("SELECT miosa_audit_verify('$id') #>> '{data,first_seq}'"), $upto + 1, 'retention has passed over what the other shard has seen');
move($id, 's1');
is($router->sql("SELECT (v #>> '{data,verified}') || ' ' || (v #>> '{data,first_seq}') FROM miosa_audit_verify('$id') v"), 'true ' . ($upto + 1), '... and the trail is whole when it has come back');

done_testing();
