-- What schedulers are asked for, from the operation to the last instance.
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
-- so nothing is delivered, which is as expected
SET client_min_messages = error;
-- As a scheduler would report them.
CREATE FUNCTION test.report(dep text, version text, state text, n integer) RETURNS void LANGUAGE sql AS $$
	SELECT miosa_report_instance(dep, version || '-' || i, version, state) FROM generate_series(1, n) i $$;
CREATE FUNCTION test.asked(dep text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', c.version_id, c.state, CASE WHEN c.asked_at IS NOT NULL THEN 'asked' END, c.last_error)
	FROM miosa.capacity c WHERE c.deployment_id = dep ORDER BY c.version_id $$;
CREATE FUNCTION test.queued() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(o.kind, ', ' ORDER BY o.route_seq, o.kind DESC) FROM miosa.outbox o WHERE o.xid = pg_current_xact_id() $$;
CREATE FUNCTION test.waits(dep text) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s, %s serves%s', state, coalesce(serving_version_id, active_version_id), CASE WHEN waiting_since IS NOT NULL THEN ', waits' END)
	FROM miosa.deployments WHERE id = dep $$;
-- All pages, until nothing more is to do.
CREATE FUNCTION test.pass() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
	page record;
	at text := '';
	n integer := 0;
BEGIN
	LOOP
		SELECT * INTO page FROM miosa.capacity_pass(at, 2);
		n := n + page.changed;
		at := page.next;
		EXIT WHEN at IS NULL;
	END LOOP;
	RETURN n;
END $$;
CREATE FUNCTION test.later(dep text, long interval) RETURNS void LANGUAGE sql AS $$
	UPDATE miosa.deployments SET waiting_since = waiting_since - long WHERE id = dep;
	UPDATE miosa.capacity SET since = since - long WHERE deployment_id = dep $$;
-- Runs ver_3 in two instances; ver_2 and ver_1 served before and are still there.
CREATE FUNCTION test.running(dep text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM test.deployment(dep, 4, 'dynamic');
	PERFORM miosa_put_deployment(dep, 'ten_1', desired_replicas => 2);
	FOR i IN 1 .. 3 LOOP
		PERFORM miosa_promote(dep, 'ver_' || i);
		PERFORM test.report(dep, 'ver_' || i, 'healthy', 2);
	END LOOP;
	RETURN test.waits(dep);
END $$;
-- A scheduler of some deployments that is not really there, nor asked.
INSERT INTO miosa.adapters (name, role, request) VALUES ('none', 'scheduler', '{"method": "PUT", "path": "/{deployment_id}/{count}"}');
INSERT INTO miosa.endpoints (name, adapter, url, selector)
	VALUES ('scheduler', 'none', 'http://scheduler.invalid', '{"deployment": ["asked_1", "asked_2"]}');

-- Promise: an operation asks for what is missing, and says since when it waits;
-- the same again does not begin anew, another target does.
BEGIN;
SELECT test.running('dep_1');
SELECT test.asked('dep_1');
SELECT test.pass() > 0 AS idle;
COMMIT;
BEGIN;
SELECT test.op(miosa_promote('dep_1', 'ver_4'));
SELECT test.queued(), test.asked('dep_1');
SELECT test.later('dep_1', '10 s');
SELECT test.op(miosa_promote('dep_1', 'ver_4'));
SELECT waiting_since < now() - '9 s'::interval AS kept FROM miosa.deployments WHERE id = 'dep_1';
SELECT since < now() - '9 s'::interval AS kept FROM miosa.capacity WHERE deployment_id = 'dep_1' AND state = 'wanted';
UPDATE miosa.runtime_instances SET state = 'starting' WHERE deployment_id = 'dep_1' AND version_id = 'ver_2';
SELECT test.op(miosa_rollback('dep_1', 'ver_2'));
SELECT waiting_since > now() - '9 s'::interval AS anew FROM miosa.deployments WHERE id = 'dep_1';
SELECT test.op(miosa_rollback('dep_1', 'ver_2', cutover => 'immediate'));
SELECT test.waits('dep_1');
ROLLBACK;
-- also by a plain UPDATE
BEGIN;
UPDATE miosa.deployments SET active_version_id = 'ver_4' WHERE id = 'dep_1';
SELECT test.waits('dep_1'), test.queued(), test.asked('dep_1');
UPDATE miosa.deployments SET active_version_id = 'ver_3' WHERE id = 'dep_1';
SELECT test.waits('dep_1'), test.queued();
ROLLBACK;
-- and when more are wanted, or a stopped one is started; fewer are not asked for
BEGIN;
SELECT miosa_put_deployment('dep_1', 'ten_1', desired_replicas => 1) IS NOT NULL AS ok;
SELECT test.queued(), test.asked('dep_1');
SELECT miosa_put_deployment('dep_1', 'ten_1', desired_replicas => 3) IS NOT NULL AS ok;
SELECT test.queued(), test.asked('dep_1');
SELECT miosa_put_deployment('dep_1', 'ten_1', fields => '{"state": "stopped"}') IS NOT NULL AS ok;
SELECT test.asked('dep_1');
SELECT miosa_put_deployment('dep_1', 'ten_1', fields => '{"state": "running"}') IS NOT NULL AS ok;
SELECT test.asked('dep_1');
ROLLBACK;
-- a static one never asks
SELECT test.history('static_1', 2);
BEGIN;
SELECT miosa_put_deployment('static_1', 'ten_1', desired_replicas => 5) IS NOT NULL AS ok;
SELECT test.op(miosa_rollback('static_1'));
SELECT test.queued(), (SELECT count(*) FROM test.asked('static_1')) AS asked;
ROLLBACK;

-- Promise: a rollback to a version whose instances still live asks nobody.
BEGIN;
SELECT miosa_plan('dep_1') -> 'data' -> 'scheduler_calls' AS calls;
SELECT test.op(miosa_rollback('dep_1'));
SELECT test.queued(), (SELECT count(*) FROM miosa.capacity WHERE deployment_id = 'dep_1' AND state = 'wanted') AS wanted;
ROLLBACK;

-- Promise: what is reached is not asked for any more.
SELECT test.op(miosa_promote('dep_1', 'ver_4'));
SELECT test.report('dep_1', 'ver_4', 'healthy', 1);
SELECT test.asked('dep_1');
SELECT test.report('dep_1', 'ver_4', 'healthy', 2);
SELECT test.waits('dep_1'), test.asked('dep_1');
SELECT test.pass() >= 0 AS all_done;

-- Promise: after the deadline one instance is enough, none is not.
SELECT test.running('dep_2');
SELECT test.op(miosa_promote('dep_2', 'ver_4'));
BEGIN;
SELECT next_due - now() BETWEEN '50 s' AND '60 s' AS soon FROM miosa.capacity_pass('dep_1', 1);
SELECT test.later('dep_2', '61 s');
SELECT test.pass();
SELECT test.waits('dep_2');
SELECT next_due FROM miosa.capacity_pass('dep_1', 1);
SELECT item, value FROM miosa.status('dep_2') WHERE item IN ('verdict', 'instances', 'scheduler');
SELECT code FROM miosa.verdict('dep_2');
SELECT operation, age, edges FROM miosa.progress WHERE operation LIKE '%instances';
SELECT id, version_id, serving_version_id, date_trunc('minute', waits) AS waits, desired_replicas, healthy, starting, asked_at, last_error FROM miosa.overdue;
-- so is one that was loaded, for which nothing is requested
SAVEPOINT loaded;
DELETE FROM miosa.capacity WHERE deployment_id = 'dep_2';
SELECT id, version_id, serving_version_id, asked_at FROM miosa.overdue;
ROLLBACK TO loaded;
SELECT status, seen, fix FROM miosa_doctor() WHERE item = 'capacity';
-- the report of the first is what it waited for
SAVEPOINT pass;
SELECT test.report('dep_2', 'ver_4', 'healthy', 1);
SELECT test.waits('dep_2'), test.asked('dep_2');
SELECT test.report('dep_2', 'ver_4', 'healthy', 2);
SELECT test.waits('dep_2'), test.asked('dep_2');
ROLLBACK TO pass;
-- or the pass finds one that was not enough before
SELECT test.later('dep_2', '-30 s');
SELECT test.report('dep_2', 'ver_4', 'healthy', 1);
SELECT test.waits('dep_2');
SELECT item, regexp_replace(value, 'for <?[0-9]+ s', 'for <time>') AS value FROM miosa.status('dep_2') WHERE item IN ('verdict', 'instances', 'scheduler');
SELECT code FROM miosa.verdict('dep_2');
SELECT test.later('dep_2', '30 s');
SELECT test.pass() AS changed;
SELECT test.waits('dep_2');
SELECT test.queued() LIKE '%route' AS queued;
ROLLBACK;
-- one that was loaded begins to wait when it is seen
BEGIN;
UPDATE miosa.deployments SET waiting_since = NULL WHERE id = 'dep_2';
SELECT test.pass();
SELECT test.waits('dep_2');
ROLLBACK;
-- and waits on while no instance of any deployment was restored yet
BEGIN;
DELETE FROM miosa.runtime_instances;
SELECT test.pass();
SELECT test.waits('dep_2');
ROLLBACK;
-- but not a stopped one
BEGIN;
SELECT test.report('dep_2', 'ver_4', 'healthy', 1);
SELECT test.later('dep_2', '61 s');
UPDATE miosa.deployments SET state = 'stopped' WHERE id = 'dep_2';
SELECT test.asked('dep_2');
SELECT test.pass();
SELECT test.waits('dep_2'), (SELECT count(*) FROM test.asked('dep_2')) AS asked;
ROLLBACK;

-- Promise: only what is not needed is idle: neither active nor serving, nor
-- where a rollback or its undoing would go, and nothing while the deployment
-- waits or is stopped.
BEGIN;
SELECT test.running('dep_3');
SELECT test.pass() > 0 AS some;
SELECT test.asked('dep_3');
SELECT test.pass() AS more;
-- never drained before its time
SELECT test.later('dep_3', '14 min');
SELECT test.pass() AS early;
SELECT next_due - now() BETWEEN '50 s' AND '70 s' AS soon FROM miosa.capacity_pass('dep_2', 1);
-- an operation that makes it needed again ends that
SAVEPOINT idle;
SELECT test.op(miosa_rollback('dep_3', 'ver_2'));
SELECT count(*) AS idle FROM test.asked('dep_3');
ROLLBACK TO idle;
UPDATE miosa.deployments SET active_version_id = 'ver_1' WHERE id = 'dep_3';
SELECT count(*) AS idle FROM test.asked('dep_3');
ROLLBACK TO idle;
-- nothing is drained while it waits, or is stopped
SELECT test.later('dep_3', '2 min');
SAVEPOINT due;
SELECT test.op(miosa_promote('dep_3', 'ver_4'));
SELECT test.pass();
SELECT test.asked('dep_3');
ROLLBACK TO due;
UPDATE miosa.deployments SET state = 'stopped' WHERE id = 'dep_3';
SELECT test.pass();
SELECT test.asked('dep_3');
ROLLBACK TO due;
-- while an edge is behind
INSERT INTO miosa.endpoints (name, adapter, url) VALUES ('router', 'haproxy-map', 'http://router.invalid');
SELECT test.pass();
SELECT test.asked('dep_3');
ROLLBACK TO due;

-- Promise: draining marks the instances first, and asks in the same transaction.
SELECT test.pass() AS drained;
SELECT test.asked('dep_3');
SELECT id, state FROM miosa.runtime_instances WHERE deployment_id = 'dep_3' ORDER BY id;
SELECT test.queued() LIKE '%capacity' AS queued;
-- one that was silent before is not healthy again because it speaks
SAVEPOINT silent;
UPDATE miosa.runtime_instances SET last_heartbeat_at = now() - '2 min'::interval WHERE deployment_id = 'dep_3' AND id = 'ver_1-2';
SELECT miosa_report_instance('dep_3', 'ver_1-2', 'ver_1', 'healthy') -> 'data' ->> 'state' AS state;
ROLLBACK TO silent;
-- one that comes up only now is stopped with the others
SELECT miosa_report_instance('dep_3', 'late', 'ver_1', 'healthy') -> 'data' ->> 'state' AS state;
SELECT miosa_report_instance('dep_3', 'late', 'ver_1', 'healthy') -> 'data' ->> 'state' AS state;
SELECT test.op(miosa_rollback('dep_3', 'ver_1'));
ROLLBACK TO silent;
-- a return finds none of them, and asks
SAVEPOINT draining;
SELECT miosa_plan('dep_3', 'ver_1') -> 'data' -> 'scheduler_calls' AS calls;
SELECT test.op(miosa_rollback('dep_3', 'ver_1'));
SELECT test.asked('dep_3');
SELECT test.report('dep_3', 'ver_1', 'healthy', 2);
SELECT test.waits('dep_3');
ROLLBACK TO draining;
-- it ends when the last one has stopped, or sends no heartbeat
SELECT test.pass() AS not_yet;
SELECT test.report('dep_3', 'ver_1', 'stopped', 1);
SELECT test.pass() AS not_yet;
UPDATE miosa.runtime_instances SET last_heartbeat_at = now() - '2 min'::interval, updated_at = now() - '2 min'::interval WHERE deployment_id = 'dep_3' AND id = 'ver_1-2';
SELECT test.pass() AS ended;
SELECT test.asked('dep_3');
SELECT id, state FROM miosa.runtime_instances WHERE deployment_id = 'dep_3' AND version_id = 'ver_1' ORDER BY id;

-- Promise: a return asks, whatever the count says.
SELECT miosa_report_instance('dep_3', 'by_hand_' || i, 'ver_1', 'healthy') IS NOT NULL AS ok FROM generate_series(1, 2) i;
SELECT miosa_plan('dep_3', 'ver_1') -> 'data' -> 'scheduler_calls' AS calls;
SAVEPOINT drained;
SELECT test.op(miosa_rollback('dep_3', 'ver_1'));
SELECT test.asked('dep_3');
ROLLBACK TO drained;
UPDATE miosa.deployments SET active_version_id = 'ver_1' WHERE id = 'dep_3';
SELECT test.asked('dep_3');
ROLLBACK TO drained;
-- and what came back by itself is idle again; schedulers still think that it is
-- not wanted, so a return asks them all the same
SELECT test.pass();
SELECT test.asked('dep_3');
SELECT miosa_plan('dep_3', 'ver_1') -> 'data' -> 'scheduler_calls' AS calls;
SAVEPOINT idle;
SELECT test.op(miosa_rollback('dep_3', 'ver_1'));
SELECT test.asked('dep_3');
ROLLBACK TO idle;
-- also after it was kept for a while as the version before
UPDATE miosa.versions SET promoted_over = 'ver_1' WHERE deployment_id = 'dep_3'
	AND id = (SELECT active_version_id FROM miosa.deployments WHERE id = 'dep_3');
SELECT test.op(miosa_promote('dep_3', 'ver_3'));
SELECT test.asked('dep_3');
SELECT miosa_plan('dep_3', 'ver_1') -> 'data' -> 'scheduler_calls' AS calls;
ROLLBACK;

-- Promise: with a scheduler nothing is taken for done before it was asked.
BEGIN;
SELECT test.running('asked_1');
SELECT test.asked('asked_1');
UPDATE miosa.capacity SET asked_at = now(), last_error = 'no room', last_error_at = now() - '1 s'::interval WHERE deployment_id = 'asked_1';
SELECT test.pass() > 0 AS some;
SELECT test.asked('asked_1');
SELECT test.later('asked_1', '16 min');
SELECT test.pass() AS drains;
SELECT test.report('asked_1', 'ver_1', 'stopped', 2);
SELECT test.pass() AS not_asked;
UPDATE miosa.capacity SET asked_at = now() WHERE deployment_id = 'asked_1' AND state = 'draining';
SELECT test.pass() AS drained;
SELECT test.asked('asked_1');
-- one that is disabled gets no request for what is there, but must get the one
-- to stop
SAVEPOINT disabled;
UPDATE miosa.endpoints SET enabled = false, reason = 'broken' WHERE name = 'scheduler';
SELECT test.op(miosa_rollback('asked_1', 'ver_1'));
SELECT test.report('asked_1', 'ver_1', 'healthy', 2);
SELECT test.asked('asked_1');
INSERT INTO miosa.capacity (deployment_id, version_id, state) VALUES ('asked_1', 'ver_4', 'draining');
SELECT test.pass() >= 0 AS passed;
SELECT test.asked('asked_1');
ROLLBACK TO disabled;
-- what is wanted but not needed any more may come yet, and is drained then
SELECT test.op(miosa_promote('asked_1', 'ver_4'));
UPDATE miosa.capacity SET last_error = 'scheduler.invalid answered 409: a deployment is active', last_error_at = clock_timestamp()
	WHERE deployment_id = 'asked_1' AND state = 'wanted';
SELECT regexp_replace(value, 'for <?[0-9]+ s', 'for <time>') AS value FROM miosa.status('asked_1') WHERE item IN ('verdict', 'instances', 'scheduler', '');
SELECT code FROM miosa.verdict('asked_1');
SELECT edges, last_error FROM miosa.progress WHERE operation LIKE '%instances' AND last_error <> '';
SELECT test.op(miosa_rollback('asked_1', 'ver_3'));
SELECT test.pass();
SELECT test.asked('asked_1');
ROLLBACK;

-- Promise: polls while it drains say how many are left, and bring none back.
BEGIN;
SELECT test.running('asked_2');
UPDATE miosa.capacity SET asked_at = now() WHERE deployment_id = 'asked_2';
SELECT test.report('asked_2', 'ver_1', 'stopped', 2);
SELECT miosa.take_poll('asked_2', 'ver_1', 'scheduler', 2);
SELECT test.pass() > 0 AS some;
SELECT test.later('asked_2', '16 min');
SELECT test.pass() AS drains;
SAVEPOINT draining;
SELECT miosa.take_poll('asked_2', 'ver_1', 'scheduler', n) FROM unnest('{2,3,1}'::integer[]) n;
SELECT id, state FROM miosa.runtime_instances WHERE reported_by = 'scheduler' ORDER BY id;
UPDATE miosa.capacity SET asked_at = now() WHERE deployment_id = 'asked_2' AND state = 'draining';
SELECT test.pass() AS not_yet;
SELECT miosa.take_poll('asked_2', 'ver_1', 'scheduler', 0);
SELECT test.pass();
SELECT test.asked('asked_2');
ROLLBACK TO draining;
-- after a return those that were requested to stop are not taken for new ones
SELECT test.op(miosa_rollback('asked_2', 'ver_1'));
SELECT miosa.take_poll('asked_2', 'ver_1', 'scheduler', 2);
SELECT test.waits('asked_2');
SELECT miosa.take_poll('asked_2', 'ver_1', 'scheduler', 0);
SELECT miosa.take_poll('asked_2', 'ver_1', 'scheduler', 2);
SELECT test.waits('asked_2');
ROLLBACK;

-- Pages: each looks at as many as it is asked to, and says where the next begins.
SELECT next FROM miosa.capacity_pass('', 1);
SELECT next FROM miosa.capacity_pass('dep_1', 1);
SELECT next FROM miosa.capacity_pass('dep_2', 10);
SELECT next, changed, next_due FROM miosa.capacity_pass('zzz', 10);
SELECT next IS NULL AS last FROM miosa.capacity_pass(NULL, 10);
SELECT test.refusal($$SELECT miosa.capacity_pass('', 0)$$);
SELECT test.code($$SELECT miosa.capacity_pass('', NULL)$$);

\i :cleanup
