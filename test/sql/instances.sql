-- Instances: who counts as alive, and what reports and polls change.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

-- Server and term are an hour old, so that heartbeats of two minutes ago are; the
-- dispatcher takes this for a copy and keeps its hands off.
CREATE OR REPLACE FUNCTION miosa.server_started() RETURNS timestamptz LANGUAGE sql STABLE
	RETURN now() - '1 h'::interval;
INSERT INTO miosa.dispatcher_state (last_epoch, site, system_identifier, timeline, database_oid, term_since)
	SELECT 1::bigint << 40, '', 'elsewhere', i.timeline, i.database_oid, now() - '1 h'::interval FROM miosa.identity() i
	ON CONFLICT (one) DO UPDATE SET system_identifier = EXCLUDED.system_identifier, term_since = EXCLUDED.term_since;
SELECT miosa.pause_reason() IS NOT NULL AS paused;
CREATE FUNCTION test.state(answer jsonb) RETURNS text LANGUAGE sql AS $$ SELECT answer -> 'data' ->> 'state' $$;
CREATE FUNCTION test.silent(instance text) RETURNS void LANGUAGE sql AS $$
	UPDATE miosa.runtime_instances SET last_heartbeat_at = now() - '2 min'::interval, updated_at = now() - '3 min'::interval,
		observed_at = now() - '2 min'::interval WHERE id = instance $$;
CREATE FUNCTION test.waits(dep text) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s, %s serves%s', state, coalesce(serving_version_id, active_version_id), CASE WHEN waiting_since IS NOT NULL THEN ', waits' END)
	FROM miosa.deployments WHERE id = dep $$;
CREATE FUNCTION test.rows(dep text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', id, state, reported_by) FROM miosa.runtime_instances WHERE deployment_id = dep ORDER BY id $$;
-- Runs ver_1 in two instances, waits for two of ver_2.
CREATE FUNCTION test.waiting(dep text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM test.deployment(dep, 3, 'dynamic');
	PERFORM miosa_put_deployment(dep, 'ten_1', desired_replicas => 2);
	PERFORM miosa_promote(dep, 'ver_1');
	PERFORM miosa_report_instance(dep, 'old_' || i, 'ver_1', 'healthy') FROM generate_series(1, 2) i;
	PERFORM miosa_promote(dep, 'ver_2');
	RETURN test.waits(dep);
END $$;

-- Promise: an instance without a recent heartbeat does not count, and counts
-- again after the next one; that is a change like any other, and completes.
SELECT test.waiting('dep_1');
SELECT test.state(miosa_report_instance('dep_1', 'new_' || i, 'ver_2', 'healthy')) FROM generate_series(1, 1) i;
SELECT test.waits('dep_1');
SELECT count(*) FROM miosa.live_instances WHERE deployment_id = 'dep_1';
SELECT test.silent('new_1');
SELECT count(*) FROM miosa.live_instances WHERE deployment_id = 'dep_1';
-- the second alone is not enough
SELECT test.state(miosa_report_instance('dep_1', 'new_2', 'ver_2', 'healthy'));
SELECT test.waits('dep_1');
SELECT test.state(miosa_report_instance('dep_1', 'new_1', 'ver_2', 'healthy'));
SELECT test.waits('dep_1');
-- Promise: what serves without a recent heartbeat is nothing to wait for.
SELECT test.waiting('dep_2');
SELECT test.silent('old_1'), test.silent('old_2');
SELECT test.state(miosa_report_instance('dep_2', 'new_1', 'ver_2', 'healthy'));
SELECT test.waits('dep_2');
-- Promise: after a fail-over nobody is taken for dead.
BEGIN;
SELECT test.silent('new_1');
SELECT count(*) FROM miosa.live_instances WHERE deployment_id = 'dep_2';
UPDATE miosa.dispatcher_state SET term_since = now();
SELECT count(*) FROM miosa.live_instances WHERE deployment_id = 'dep_2';
ROLLBACK;

-- Promise: what was observed earlier than what is known changes nothing.
SELECT test.deployment('dep_3', 1, 'dynamic');
SELECT test.state(miosa_report_instance('dep_3', 'i', 'ver_1', 'failed', error_message => 'exit 1', fields => '{"observed_at": "2026-02-01T00:00:02Z"}'));
SELECT test.state(miosa_report_instance('dep_3', 'i', 'ver_1', 'healthy', '10.0.0.1', fields => '{"observed_at": "2026-02-01T00:00:01Z"}'));
SELECT state, address, error_message, observed_at FROM miosa.runtime_instances WHERE deployment_id = 'dep_3';
SELECT test.state(miosa_report_instance('dep_3', 'i', 'ver_1', 'failed', fields => '{"observed_at": "2026-02-01T00:00:01Z"}'));
SELECT observed_at FROM miosa.runtime_instances WHERE deployment_id = 'dep_3';
SELECT test.state(miosa_report_instance('dep_3', 'i', 'ver_1', 'healthy', fields => '{"observed_at": "2026-02-01T00:00:02Z"}'));
-- Promise: a clock that is ahead makes nothing later look old.
SELECT test.state(miosa_report_instance('dep_3', 'i', 'ver_1', 'healthy', fields => '{"observed_at": "2999-01-01T00:00:00Z"}'));
SELECT observed_at <= clock_timestamp() AND observed_at > '2026-02-02' AS now FROM miosa.runtime_instances WHERE deployment_id = 'dep_3';
SELECT test.state(miosa_report_instance('dep_3', 'i', 'ver_1', 'unhealthy'));
SELECT test.state(miosa_report_instance('dep_3', 'i', 'ver_1', 'healthy', fields => '{"observed_at": "infinity"}'));
SELECT test.state(miosa_report_instance('dep_3', 'i', 'ver_1', 'unhealthy', fields => '{"observed_at": null}'));

-- Promise: stopping ends, and destroyed is for ever.
SELECT test.state(miosa_report_instance('dep_3', 's', 'ver_1', 'stopping'));
SELECT s AS said, test.state(miosa_report_instance('dep_3', 's', 'ver_1', s))
FROM unnest('{pending,provisioning,starting,healthy,unhealthy,stopping}'::text[]) s;
SELECT last_heartbeat_at = (SELECT max(last_heartbeat_at) FROM miosa.runtime_instances) AS heard FROM miosa.runtime_instances WHERE id = 's';
SELECT test.state(miosa_report_instance('dep_3', 's', 'ver_1', 'stopped'));
SELECT test.state(miosa_report_instance('dep_3', 's', 'ver_1', 'starting'));
-- an instance that is to stop and then sent no heartbeat for long has stopped
SELECT test.state(miosa_report_instance('dep_3', 's', 'ver_1', 'stopping'));
SELECT test.silent('s');
SELECT test.state(miosa_report_instance('dep_3', 's', 'ver_1', 'healthy'));
SELECT test.state(miosa_report_instance('dep_3', 's', 'ver_1', 'destroyed'));
SELECT s AS said, test.state(miosa_report_instance('dep_3', 's', 'ver_1', s)) FROM unnest('{starting,healthy,stopped,destroyed}'::text[]) s;

-- Promise: what is malformed is refused with what is wrong, and changes nothing.
SELECT test.digest() AS before, count(*) AS instances FROM miosa.runtime_instances \gset
SELECT test.refusal(format('SELECT miosa_report_instance(''dep_3'', ''x'', ''ver_1'', ''healthy'', fields => %L)', f))
FROM unnest(ARRAY['{"observed_at": "yesterdayish"}', '{"observed_at": 7}', '{"observed_at": "2026-13-01"}', '{"port": "http"}', '{"port": 0}',
	'{"metadata": 1}', '[]', '"observed_at"', '{"ip_address": "10.0.0.1; rm"}']) f;
SELECT test.refusal(format('SELECT miosa_report_instance(''dep_3'', ''x'', ''ver_1'', ''healthy'', %L)', a))
FROM unnest(ARRAY['', 'a b', E'10.0.0.1\n', '[::1]', repeat('a', 256)]) a;
SELECT test.code($$SELECT miosa_report_instance('dep_3', 'x', 'ver_1', NULL)$$);
SELECT test.code($$SELECT miosa_report_instance('dep_3', 'x', 'ver_1', 'HEALTHY')$$);
SELECT test.code($$SELECT miosa_report_instance('dep_3', 'x y', 'ver_1', 'healthy')$$);
SELECT test.code($$SELECT miosa_report_instance('dep_3', 'x', 'ver_9', 'healthy')$$);
SELECT test.code($$SELECT miosa_report_instance('dep_9', 'x', 'ver_1', 'healthy')$$);
SELECT test.digest() = :'before' AND count(*) = :instances AS same FROM miosa.runtime_instances;
-- addresses of all kinds
SELECT test.state(miosa_report_instance('dep_3', 'a', 'ver_1', 'healthy', a)) FROM unnest('{10.0.0.1,2001:db8::1,fe80::1%eth0,app-1.internal}'::text[]) a;

-- Promise: as many count as a poll says, beside those that are reported.
SELECT test.waiting('dep_4');
SELECT miosa.take_poll('dep_4', 'ver_2', 'k8s', 1);
SELECT * FROM test.rows('dep_4');
SELECT test.waits('dep_4');
SELECT test.state(miosa_report_instance('dep_4', 'new_1', 'ver_2', 'healthy'));
SELECT test.waits('dep_4');
-- what was reported is a part of what is polled, and not another
SELECT miosa.take_poll('dep_4', 'ver_2', 'k8s', 1);
SELECT * FROM test.rows('dep_4');
SELECT miosa.take_poll('dep_4', 'ver_2', 'k8s', 3);
SELECT * FROM test.rows('dep_4');
SELECT miosa.take_poll('dep_4', 'ver_2', 'k8s', 2);
SELECT * FROM test.rows('dep_4');
-- another scheduler counts what it has
SELECT miosa.take_poll('dep_4', 'ver_2', 'nomad', 4);
SELECT * FROM test.rows('dep_4');
SELECT miosa.take_poll('dep_4', 'ver_2', 'nomad', 0), miosa.take_poll('dep_4', 'ver_2', 'k8s', 0);
SELECT * FROM test.rows('dep_4');

-- Promise: a poll completes, and is a heartbeat.
SELECT test.waiting('dep_5');
SELECT miosa.take_poll('dep_5', 'ver_2', 'k8s', 2);
SELECT test.waits('dep_5');
SELECT release_id, tenant_id, count(*) FROM miosa.runtime_instances WHERE deployment_id = 'dep_5' AND reported_by = 'k8s' GROUP BY 1, 2;
SELECT test.silent('k8s:ver_2:1');
SELECT count(*) FROM miosa.live_instances WHERE deployment_id = 'dep_5' AND version_id = 'ver_2';
SELECT miosa.take_poll('dep_5', 'ver_2', 'k8s', 2);
SELECT count(*) FROM miosa.live_instances WHERE deployment_id = 'dep_5' AND version_id = 'ver_2';
-- one that is reported by name is not the poll's any more
SELECT test.state(miosa_report_instance('dep_5', 'k8s:ver_2:1', 'ver_2', 'unhealthy'));
SELECT miosa.take_poll('dep_5', 'ver_2', 'k8s', 2);
SELECT * FROM test.rows('dep_5');
SELECT test.state(miosa_report_instance('dep_5', 'k8s:ver_2:1', 'ver_2', 'destroyed'));
SELECT miosa.take_poll('dep_5', 'ver_2', 'k8s', 1);
SELECT miosa.take_poll('dep_5', 'ver_2', 'k8s', 3);
SELECT * FROM test.rows('dep_5');

-- Promise: one that could not report is not missed: while the server was
-- down, and between a fail-over and the first work of the new dispatcher.
BEGIN;
CREATE FUNCTION test.live() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM miosa.live_instances WHERE deployment_id = 'dep_5' AND version_id = 'ver_2' $$;
SELECT test.live() AS before, test.silent('k8s:ver_2:2');
SELECT test.live();
SAVEPOINT silent;
CREATE OR REPLACE FUNCTION miosa.server_started() RETURNS timestamptz LANGUAGE sql STABLE RETURN now() - '1 min'::interval;
SELECT test.live() AS after_a_start;
ROLLBACK TO silent;
UPDATE miosa.dispatcher_state SET timeline = timeline + 1;
SELECT test.live() AS after_a_fail_over;
ROLLBACK TO silent;
-- Promise: no heartbeat lies in the future.
UPDATE miosa.runtime_instances SET last_heartbeat_at = '2999-01-01' WHERE deployment_id = 'dep_5' AND id = 'k8s:ver_2:2';
INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id, state, updated_at)
	VALUES ('dep_5', 'ahead', 'ten_1', 'ver_2', 'healthy', 'infinity');
SELECT id, coalesce(last_heartbeat_at, updated_at) <= clock_timestamp() AS by_now FROM miosa.runtime_instances
	WHERE deployment_id = 'dep_5' AND id IN ('ahead', 'k8s:ver_2:2') ORDER BY id;
ROLLBACK;

-- Promise: nonsense is ignored.
SELECT count(*) AS instances FROM miosa.runtime_instances \gset
SELECT miosa.take_poll('dep_5', 'ver_2', 'k8s', n) FROM unnest('{-1,100001,2147483647,NULL}'::integer[]) n;
SELECT miosa.take_poll('dep_5', 'ver_9', 'k8s', 1), miosa.take_poll('dep_9', 'ver_2', 'k8s', 1), miosa.take_poll('dep_5', 'ver_2', NULL, 1),
	miosa.take_poll(NULL, 'ver_2', 'k8s', 1);
SELECT test.deployment('dep_6', 1);
SELECT miosa.take_poll('dep_6', 'ver_1', 'k8s', 1);
SELECT count(*) = :instances AS same FROM miosa.runtime_instances;

\i :cleanup
