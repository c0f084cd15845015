-- What routes resolve to while a dynamic version gets its instances.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

CREATE FUNCTION test.instances(dep text, version text, healthy integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	-- as the rows stand, without what their triggers would do
	SET LOCAL session_replication_role = replica;
	DELETE FROM miosa.runtime_instances i WHERE i.deployment_id = dep AND i.version_id = version;
	INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id, state)
		SELECT dep, version || '-' || i, 'ten_1', version, CASE WHEN i <= healthy THEN 'healthy' ELSE 'starting' END
		FROM generate_series(1, healthy + 1) i;
	SET LOCAL session_replication_role = origin;
END $$;
-- a dynamic deployment that wants 3 instances and runs ver_3 with as many
CREATE FUNCTION test.dynamic(dep text, healthy integer DEFAULT 3) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM test.deployment(dep, 3, 'dynamic');
	PERFORM miosa_promote(dep, 'ver_1', cutover => 'immediate');
	PERFORM miosa_promote(dep, 'ver_2', cutover => 'immediate');
	PERFORM miosa_promote(dep, 'ver_3', cutover => 'immediate');
	SET LOCAL session_replication_role = replica;
	UPDATE miosa.deployments SET desired_replicas = 3, state = 'running' WHERE id = dep;
	SET LOCAL session_replication_role = origin;
	PERFORM test.instances(dep, 'ver_3', healthy);
END $$;
CREATE FUNCTION test.queued() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(o.kind, ', ' ORDER BY o.route_seq, o.kind DESC) FROM miosa.outbox o WHERE o.xid = pg_current_xact_id() $$;

-- Promise: without enough instances of the target, routes stay on the version
-- that serves, the state is pending and the scheduler is asked.
SELECT test.dynamic('dep_1');
BEGIN;
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'key-1'));
SELECT test.queued();
COMMIT;
SELECT active_version_id, serving_version_id, active_release_id, recent_served FROM miosa.deployments WHERE id = 'dep_1';
SELECT version_id FROM miosa.routes WHERE deployment_id = 'dep_1';
-- two of three are not enough while three serve
SELECT test.instances('dep_1', 'ver_2', 2);
BEGIN;
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'key-2'));
SELECT test.queued();
ROLLBACK;
-- another target while one is pending: what serves still serves
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'key-3'));
SELECT active_version_id, serving_version_id FROM miosa.deployments WHERE id = 'dep_1';
-- and back to what serves: at once
SELECT test.op(miosa_rollback('dep_1', 'ver_3', 'key-4'));
SELECT version_id FROM miosa.routes WHERE deployment_id = 'dep_1';

-- Promise: as many as now serve are enough, even if more are wanted; more are
-- still asked for.
SELECT test.dynamic('dep_2', 2);
SELECT test.instances('dep_2', 'ver_2', 2);
BEGIN;
SELECT test.op(miosa_rollback('dep_2', 'ver_2'));
SELECT test.queued();
COMMIT;
-- as many as are wanted are enough, even if more serve; nothing is asked for
SELECT test.dynamic('dep_3', 5);
SELECT test.instances('dep_3', 'ver_2', 3);
BEGIN;
SELECT test.op(miosa_rollback('dep_3', 'ver_2'));
SELECT test.queued();
COMMIT;

-- Promise: when none of the serving version is left there is nothing to wait
-- for: routes switch at once, but the state says that nothing runs.
SELECT test.dynamic('dep_4', 0);
BEGIN;
SELECT test.op(miosa_rollback('dep_4', 'ver_2'));
SELECT test.queued();
COMMIT;

-- Promise: cutover => 'immediate' switches at once (hostile code).
SELECT test.dynamic('dep_5');
SELECT test.op(miosa_rollback('dep_5', 'ver_2', cutover => 'immediate'));

-- Promise: a pending operation can be cut over later; that moves the routes
-- and nothing else, once.
SELECT test.dynamic('dep_6');
SELECT test.op(miosa_rollback('dep_6', 'ver_2', 'key-1'));
SELECT test.op(miosa_rollback('dep_6', 'ver_2', 'key-2'));
SELECT test.op(miosa_rollback('dep_6', 'ver_2', 'key-3', cutover => 'immediate'));
SELECT test.op(miosa_rollback('dep_6', 'ver_2', 'key-4', cutover => 'immediate'));
SELECT version_id FROM miosa.routes WHERE deployment_id = 'dep_6';
SELECT seq, outcome FROM miosa.audit_events WHERE deployment_id = 'dep_6' AND seq > 3 ORDER BY seq;
-- a promotion can, too, and the version still knows what it was promoted over
SELECT test.dynamic('dep_7');
SELECT test.op(miosa_rollback('dep_7', 'ver_1', cutover => 'immediate'));
SELECT test.instances('dep_7', 'ver_1', 3);
SELECT test.op(miosa_promote('dep_7', 'ver_3'));
SELECT test.instances('dep_7', 'ver_3', 0);
SELECT test.op(miosa_rollback('dep_7', 'ver_1', cutover => 'immediate'));
SELECT test.op(miosa_promote('dep_7', 'ver_3'));
SELECT test.op(miosa_promote('dep_7', 'ver_3', cutover => 'immediate'));
SELECT promoted_over FROM miosa.versions WHERE deployment_id = 'dep_7' AND id = 'ver_3';
SELECT test.op(miosa_rollback('dep_7', NULL, 'key-1', cutover => 'immediate'));

-- Promise: the version's kind decides, not the deployment's: from a static
-- version to a dynamic one all instances that are wanted must be there, from
-- a dynamic to a static one nothing is waited for.
SELECT test.deployment('dep_8', 2);
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, kind, state) VALUES ('dep_8', 'ver_3', 'ten_1', 3, 'dynamic', 'ready');
UPDATE miosa.deployments SET desired_replicas = 2 WHERE id = 'dep_8';
SELECT test.op(miosa_promote('dep_8', 'ver_1'));
BEGIN;
SELECT test.op(miosa_promote('dep_8', 'ver_3'));
SELECT test.queued();
COMMIT;
SELECT test.instances('dep_8', 'ver_3', 1);
SELECT test.op(miosa_promote('dep_8', 'ver_3'));
BEGIN;
SELECT test.op(miosa_rollback('dep_8', 'ver_2'));
SELECT test.queued();
COMMIT;
SELECT test.instances('dep_8', 'ver_3', 2);
SELECT test.op(miosa_promote('dep_8', 'ver_3'));
BEGIN;
SELECT test.op(miosa_rollback('dep_8', 'ver_2'));
SELECT test.queued();
COMMIT;

-- Promise: stopped stays stopped, and nothing is asked of the scheduler; the
-- routes show the target, for the day when it is started.
SELECT test.dynamic('dep_9');
UPDATE miosa.deployments SET state = 'stopped' WHERE id = 'dep_9';
BEGIN;
SELECT test.op(miosa_rollback('dep_9', 'ver_2'));
SELECT test.queued();
COMMIT;

-- Promise: none wanted is none to wait for.
SELECT test.dynamic('dep_10');
UPDATE miosa.deployments SET desired_replicas = 0 WHERE id = 'dep_10';
SELECT test.op(miosa_rollback('dep_10', 'ver_2'));

-- Promise: the first version of all switches at once, for nothing serves yet.
SELECT test.deployment('dep_11', 1, 'sandbox_backed');
BEGIN;
SELECT test.op(miosa_promote('dep_11', 'ver_1'));
SELECT test.queued();
COMMIT;

-- Promise: only healthy instances count.
SELECT test.dynamic('dep_12', 1);
INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id, state)
	SELECT 'dep_12', s, 'ten_1', 'ver_2', s FROM unnest(ARRAY['pending', 'provisioning', 'starting', 'unhealthy', 'stopping',
		'stopped', 'failed', 'error', 'destroyed']) s;
SELECT test.op(miosa_rollback('dep_12', 'ver_2'));

\i :cleanup
