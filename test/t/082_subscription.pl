#
# Logical replication. A publication of all tables is subscribed to by a
# database that has the extension: rows that both have made do not stop it,
# what each makes for itself stays its own, secrets stay where they are, and the
# copy sends nothing to edges.
#
use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;

my $sink =
  MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')
  ->start;
# A name and a value at the origin, never alike in the copy
my @values = map { "hush-$_" } 1 .. 6;
my $origin = make_node('origin', '', allows_streaming => 'logical');
# With a system identifier of its own
my $copy = make_node('copy', '', extra => ['--lc-time=C']);
my @own = ('SELECT term, site, system_identifier FROM miosa.dispatcher_state',
	'SELECT string_agg(a.name, $$ $$ ORDER BY a.name) FROM miosa.adapters a WHERE a.builtin');
my $routes = 'SELECT coalesce(string_agg(p.id || $$:$$ || p.active_version_id, $$ $$ ORDER BY p.id), $$none$$) FROM miosa.deployments p';

sub publish
{
	my ($deployment) = @_;

	return $origin->safe_psql('postgres', <<"EOS");
SELECT miosa_put_deployment('$deployment', 'ten_1', '$deployment');
SELECT miosa_put_version('$deployment', 'v1', 1);
SELECT miosa_promote('$deployment', 'v1', 'key');
EOS
}

$origin->safe_psql('postgres', <<"EOS");
SELECT miosa_put_tenant('ten_1', 'acme');
INSERT INTO miosa.adapters SELECT (jsonb_populate_record(a, '{"name": "mine"}')).* FROM miosa.adapters a WHERE a.name = 'webhook';
SELECT miosa_put_endpoint('hook', 'mine', '@{[ $sink->url ]}/hook');
CREATE PUBLICATION everything FOR ALL TABLES;
EOS
publish('dep-1');
is($origin->safe_psql('postgres', "SELECT miosa_wait_converged('dep-1', '180 s')"),
	'converged', 'the origin delivers to its edge');
like(
	$origin->safe_psql('postgres',
		"SELECT status || ' ' || seen FROM miosa_doctor() WHERE item = 'secrets'"),
	qr/^ok 0 in files, 0 in miosa[.]secrets, which leaves the server without the values, by publication everything/,
	'the doctor says that secrets leave without their values');
$origin->safe_psql('postgres', "SELECT miosa_put_secret('early', '$values[0]');
	SELECT miosa_put_secret('both', '$values[1]')");

# What output plugins see of the life of a secret
$origin->safe_psql('postgres', <<'EOS');
SELECT pg_create_logical_replication_slot('text', 'test_decoding');
SELECT pg_create_logical_replication_slot('published', 'pgoutput');
SELECT pg_create_logical_replication_slot('binary', 'pgoutput');
EOS
$copy->safe_psql('postgres', "SELECT miosa_put_secret('both', 'own')");

# What both have derived from the same
$_->safe_psql('postgres', "INSERT INTO miosa.removed_hosts (host, deployment_id) VALUES ('early.example.com', '@{[ $_->name ]}')")
  for ($origin, $copy);

# A database without the extension gets the masks as texts
my $plain = PostgreSQL::Test::Cluster->new('plain');
$plain->init;
$plain->start;
$plain->safe_psql('postgres', 'CREATE SCHEMA miosa;
	CREATE TABLE miosa.secrets (name text PRIMARY KEY, value text, previous text, origins text[], adapters text[], endpoints text[], created_at timestamptz)');
$origin->safe_psql('postgres', 'CREATE PUBLICATION secrets FOR TABLE miosa.secrets');

my @before = map { $copy->safe_psql('postgres', $_) } @own;

$copy->safe_psql('postgres', "CREATE SUBSCRIPTION everything CONNECTION \$\$"
	  . $origin->connstr('postgres') . "\$\$ PUBLICATION everything");
is( wait_sql($copy, "SELECT count(*) FROM pg_subscription_rel r WHERE r.srsubstate <> 'r'", 0),
	0, 'every table is copied')
  or diag slurp_file($copy->logfile);
is($copy->safe_psql('postgres', $routes), 'dep-1:v1', 'with its rows');
is($copy->safe_psql('postgres', 'SELECT deployment_id FROM miosa.removed_hosts'), 'origin', 'also with what the copy has derived by itself');

# The life of a secret
$plain->safe_psql('postgres', "CREATE SUBSCRIPTION secrets CONNECTION \$\$"
	  . $origin->connstr('postgres') . "\$\$ PUBLICATION secrets");
is( wait_sql($plain, "SELECT count(*) FROM pg_subscription_rel r WHERE r.srsubstate <> 'r'", 0),
	0, 'a table without the type is copied');
is($plain->safe_psql('postgres', "SELECT string_agg(name || ' ' || value, ' ' ORDER BY name) FROM miosa.secrets"),
	'both *** early ***', 'with masks for values');
$origin->safe_psql('postgres', <<"EOS");
SELECT miosa_put_secret('late', '$values[2]');
SELECT miosa_put_secret('late', '$values[3]', keep_previous => true);
UPDATE miosa.secrets SET value = '$values[4]', name = 'later' WHERE name = 'late';
ALTER TABLE miosa.secrets REPLICA IDENTITY FULL;
SELECT miosa_put_secret('later', '$values[5]' || (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 250) n));
UPDATE miosa.secrets SET previous = NULL WHERE name = 'later';
DELETE FROM miosa.secrets WHERE name = 'early';
ALTER TABLE miosa.secrets REPLICA IDENTITY DEFAULT;
EOS
is( wait_sql($plain, "SELECT string_agg(name || ' ' || value || ' ' || coalesce(previous, 'none'), ' ' ORDER BY name) FROM miosa.secrets",
		'both *** none later *** none'),
	'both *** none later *** none', 'its changes come with masks');
my $options = "'proto_version', '1', 'publication_names', 'everything'";
my %stream = (
	text => "SELECT string_agg(data, ' ') FROM pg_logical_slot_get_changes('text', NULL, NULL)",
	published => "SELECT string_agg(encode(data, 'escape'), ' ') FROM pg_logical_slot_get_binary_changes('published', NULL, NULL, $options)",
	binary => "SELECT string_agg(encode(data, 'escape'), ' ') FROM pg_logical_slot_get_binary_changes('binary', NULL, NULL, $options, 'binary', 'true')");
for my $name (sort keys %stream)
{
	my $data = $origin->safe_psql('postgres', $stream{$name});

	like($data, qr/later/, "the stream has the secret: $name");
	like($data, qr/[*]{3}/, 'with its mask');
	unlike($data, qr/hush/, 'without its value');
	$origin->safe_psql('postgres', "SELECT pg_drop_replication_slot('$name')");
}
is($copy->safe_psql('postgres', "SELECT string_agg(name || ' ' || miosa.reveal(value), ' ') FROM miosa.secrets"),
	'both own', 'a server with the extension keeps its own secrets');
is($origin->safe_psql('postgres', "SELECT string_agg(name || ' ' || left(miosa.reveal(value), 6), ' ' ORDER BY name) FROM miosa.secrets"),
	"both $values[1] later $values[5]", 'and so does the origin');
$plain->safe_psql('postgres', 'DROP SUBSCRIPTION secrets');
$origin->safe_psql('postgres', 'DROP PUBLICATION secrets');

# Changes go on to come, and so do people's adapters
publish('dep-2');
is(wait_sql($copy, $routes, 'dep-1:v1 dep-2:v1'), 'dep-1:v1 dep-2:v1', 'changes follow');
is($copy->safe_psql('postgres', 'SELECT adapter FROM miosa.endpoints'), 'mine', "people's adapters and endpoints come");
is_deeply([ map { $copy->safe_psql('postgres', $_) } @own ], \@before,
	'shipped rows and the order of epochs are the own ones');
is($copy->safe_psql('postgres', 'SELECT count(*) FROM miosa.endpoint_state s WHERE s.acked_epoch > 0'),
	0, 'what edges have acknowledged is not taken over');
is($copy->safe_psql('postgres', 'SELECT count(*) FROM miosa.audit_events'), 2, 'the audit trail comes');
is($copy->safe_psql('postgres', "SELECT miosa_audit_verify_all() #- '{data,problems}'"),
	'{"data": {"events": 2, "verified": true, "deployments": 2}}', 'and can be verified here');

# What an incident leaves comes as well, and counts in the copy at once, also for a
# session that had looked before.
my $incident = "SELECT concat_ws(' ', (SELECT string_agg(h.deployment_id || ':' || h.reason, ' ') FROM miosa.holds h),
	(SELECT string_agg(f.name, ' ') FROM miosa.freezes f), (SELECT string_agg(w.deployment_id, ' ') FROM miosa.watches w),
	(SELECT string_agg(a.deployment_id || '#' || a.seq, ' ') FROM miosa.alerts a), (SELECT string_agg(b.artifact, ' ') FROM miosa.bad_artifacts b),
	(SELECT string_agg(r.id || ':' || r.refused, ' ') FROM miosa.fleet_runs r), (SELECT string_agg(s.name || ':' || s.version, ' ') FROM miosa.schemas s),
	(SELECT string_agg(p.name || '#' || p.seq, ' ') FROM miosa.schema_reports p))";

sub refused
{
	my ($call) = @_;

	return $copy->safe_psql('postgres', "BEGIN; SELECT $call -> 'error' ->> 'code'; ROLLBACK");
}

$copy->safe_psql('postgres', 'ALTER SUBSCRIPTION everything DISABLE');
$origin->safe_psql('postgres', <<'EOS');
SELECT miosa_put_version(d, 'v2', 2, state => 'ready', fields => jsonb_build_object('runtime_image', d || ':2')) FROM unnest('{dep-1,dep-2}'::text[]) d;
SELECT miosa_hold('dep-1', 'INC-7');
SELECT miosa_put_freeze('gala', now() + '1 day', selector => '{"ids": ["dep-2"]}');
SELECT miosa_watch('dep-1');
SELECT miosa_alert('{"version": "4", "alerts": [{"status": "firing", "fingerprint": "f", "startsAt": "2126-03-01T10:00:00Z", "labels": {"miosa_deployment": "dep-2"}}]}');
SELECT miosa_mark_bad('dep-1', 'v2', 'errors', 'artifact');
SELECT miosa_rollback_many('{"ids": "dep-2"}', mode => 'best_effort');
SELECT miosa_report_schema('shop', 2, 1);
EOS
is($copy->safe_psql('postgres', <<'EOS'), "t\nartifact", 'a mark of an artifact is known at once');
SELECT miosa.bad_mark('dep-1', 'v2') IS NULL;
ALTER SUBSCRIPTION everything ENABLE;
DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM miosa.bad_artifacts) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT miosa.bad_mark('dep-1', 'v2') ->> 'scope';
EOS
my $left = $origin->safe_psql('postgres', $incident);
like($left, qr/^dep-1:INC-7 gala dep-1 dep-2#2 dep-1:2 flt_\w+:1 shop:2 shop#1$/, 'what an incident leaves');
is(wait_sql($copy, $incident, $left), $left, 'is in the copy');
is(refused("miosa_try_promote('dep-1', 'v2')"), 'VERSION_BAD', 'where the mark counts');
is(refused("miosa_try_promote('dep-1', 'v2', accept_bad => true, automatic => true)"), 'HELD', 'and the hold');
is(refused("miosa_try_promote('dep-2', 'v2')"), 'FROZEN', 'and the freeze');

# Maintenance of the copy leaves rows that the origin can still change.
$origin->safe_psql('postgres', "UPDATE miosa.holds SET until = now() - interval '1 h', since = now() - interval '2 h'");
is(wait_sql($copy, 'SELECT count(*) FROM miosa.holds h WHERE h.until < now()', 1), 1, 'a hold ends');
$copy->safe_psql('postgres', 'CALL miosa.maintain(artifacts => false)');
$origin->safe_psql('postgres', "SELECT miosa_hold('dep-1', 'again')");
$left = $origin->safe_psql('postgres', $incident);
is(wait_sql($copy, $incident, $left), $left, 'and is opened again');
$origin->safe_psql('postgres', <<'EOS');
SELECT miosa_release('dep-1'), miosa_remove_freeze('gala'), miosa_unwatch('dep-1'), miosa_clear_bad('dep-1', 'v2', scope => 'artifact'),
	miosa_report_schema('shop', 3, 1);
EOS
$left = $origin->safe_psql('postgres', $incident);
like($left, qr/^dep-2#2 flt_\w+:1 shop:3 shop#1 shop#2$/, 'what is taken away');
is(wait_sql($copy, $incident, $left), $left, 'goes from the copy');

# The copy must not send to the edges of the origin
like(
	$copy->safe_psql('postgres', 'SELECT miosa.pause_reason()'),
	qr/was added in another installation/, 'the copy is paused');
is($origin->safe_psql('postgres', "SELECT miosa_wait_converged('dep-2', '180 s')"),
	'converged', 'the origin delivers the change');
is($copy->safe_psql('postgres', 'SELECT sent FROM miosa.stat_dispatcher'),
	0, 'the copy has sent nothing');

# A shipped adapter that changes at the origin, as an update of the extension
# does it, stops nothing
$origin->safe_psql('postgres', "SET session_replication_role = replica;
	UPDATE miosa.adapters SET description = 'newer' WHERE builtin AND name = 'webhook'");
publish('dep-3');
is(wait_sql($copy, $routes, 'dep-1:v1 dep-2:v1 dep-3:v1'),
	'dep-1:v1 dep-2:v1 dep-3:v1', 'an update of a shipped adapter stops nothing');
isnt($copy->safe_psql('postgres', "SELECT description FROM miosa.adapters WHERE name = 'webhook'"),
	'newer', 'and is not taken over');

# Nor do rows that the copy has derived by itself, adapters that a newer version
# ships, and events that the copy keeps for longer
$copy->safe_psql('postgres', <<"EOS");
INSERT INTO miosa.removed_hosts (host, deployment_id) VALUES ('late.example.com', 'copy');
INSERT INTO miosa.capacity (deployment_id, version_id, state) VALUES ('dep-1', 'v1', 'wanted');
INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id, state) VALUES ('dep-1', 'i', 'ten_1', 'v1', 'starting');
UPDATE miosa.plans SET audit_retention = '400 days' WHERE name = 'free';
SET session_replication_role = replica;
INSERT INTO miosa.adapters SELECT (jsonb_populate_record(a, '{"name": "newer", "description": "shipped"}')).* FROM miosa.adapters a WHERE a.name = 'webhook';
EOS
$origin->safe_psql('postgres', <<"EOS");
SELECT miosa_put_domain('late.example.com', 'dep-2');
SELECT miosa_remove_domain('late.example.com');
INSERT INTO miosa.capacity (deployment_id, version_id, state) VALUES ('dep-1', 'v1', 'drained');
INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id, state) VALUES ('dep-1', 'i', 'ten_1', 'v1', 'stopped');
INSERT INTO miosa.adapters SELECT (jsonb_populate_record(a, '{"name": "newer", "description": "own"}')).* FROM miosa.adapters a WHERE a.name = 'webhook';
INSERT INTO miosa.audit_events SELECT (jsonb_populate_record(a, jsonb_build_object('seq', 0, 'created_at', now() - interval '9 days', 'keep_until', clock_timestamp()))).*
	FROM miosa.audit_events a WHERE a.deployment_id = 'dep-1' AND a.seq = 1;
SELECT miosa_purge_expired();
EOS
my $removed = "SELECT deployment_id FROM miosa.removed_hosts WHERE host = 'late.example.com'";
is(wait_sql($origin, $removed, 'dep-2'), 'dep-2', 'the origin remembers a host that it removed');
publish('dep-4');
is(wait_sql($copy, $routes, 'dep-1:v1 dep-2:v1 dep-3:v1 dep-4:v1'),
	'dep-1:v1 dep-2:v1 dep-3:v1 dep-4:v1', 'derived rows stop nothing');
is($copy->safe_psql('postgres', $removed), 'dep-2', 'a removed host is that of the origin');
for my $table (qw(capacity runtime_instances))
{
	my $state = "SELECT coalesce((SELECT state FROM miosa.$table WHERE deployment_id = 'dep-1'), 'none')";

	is(wait_sql($copy, $state, $origin->safe_psql('postgres', $state)),
		$origin->safe_psql('postgres', $state), "and so is the row in $table");
}
is($copy->safe_psql('postgres', "SELECT description FROM miosa.adapters WHERE name = 'newer'"), 'shipped', 'a shipped adapter stays');
is($copy->safe_psql('postgres', 'SELECT count(*) FROM miosa.audit_events WHERE seq = 0'), 1, 'an event is kept until retention here removes it');
is($origin->safe_psql('postgres', 'SELECT count(*) FROM miosa.audit_events WHERE seq = 0'), 0, 'as it did at the origin');
is($copy->safe_psql('postgres', 'SELECT apply_error_count + sync_error_count FROM pg_stat_subscription_stats'), 0, 'nothing had to be tried again');
my $subscriptions = "SELECT status || ' ' || seen FROM miosa_doctor() WHERE item = 'subscriptions'";
is($copy->safe_psql('postgres', $subscriptions), 'ok 1 enabled, none fails', 'the doctor says so');
is($origin->safe_psql('postgres', $subscriptions), 'ok no subscription', 'also where there is none');
$copy->safe_psql('postgres', "INSERT INTO miosa.own_plans VALUES ('both', '1 day', '1 day', '1 day')");
$origin->safe_psql('postgres', "INSERT INTO miosa.own_plans VALUES ('both', '2 days', '1 day', '1 day')");
is(wait_sql($copy, $subscriptions, 'fail subscriptions whose worker fails repeatedly: everything'),
	'fail subscriptions whose worker fails repeatedly: everything', 'and when people wrote the same key on both');
for ([ everything => qr/skip the transaction: ALTER SUBSCRIPTION/ ], [ miosa_routes => qr/remove its cause; if that is not possible: DROP SUBSCRIPTION miosa_routes;/ ])
{
	my ($publication, $fix) = @$_;
	my $found;

	# Between two tries of its worker
	poll_until(sub { ($found = $copy->safe_psql('postgres', "BEGIN; UPDATE pg_subscription SET subpublications = '{$publication}';
		SELECT fix FROM miosa_doctor() WHERE item = 'subscriptions'; ROLLBACK")) ne '' });
	like($found, $fix, "what to do about a subscription to $publication");
}
$copy->safe_psql('postgres', "DELETE FROM miosa.own_plans WHERE name = 'both'");
is(wait_sql($copy, "SELECT audit_retention FROM miosa.own_plans WHERE name = 'both'", '2 days'), '2 days', 'which its fix mends');

# Secrets outlive a crash
$origin->stop('immediate');
$origin->start;
is($origin->safe_psql('postgres', "SELECT miosa.reveal(value) FROM miosa.secrets WHERE name = 'both'"),
	$values[1], 'a secret outlives a crash');

$copy->safe_psql('postgres', 'DROP SUBSCRIPTION everything');
done_testing();
