-- Attacks by a member of miosa_admin that writes tables: each is refused, and
-- routes, audit events and numbers stay what they were.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture
SELECT test.history('dep_1', 3);
SELECT test.history('dep_2', 2);
SELECT miosa_promote('dep_1', 'ver_3') #>> '{operation,outcome}' AS again;
INSERT INTO miosa.domains (fqdn, deployment_id, tenant_id) VALUES ('shop.example.com', 'dep_1', 'ten_1');
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('dep_2', 'bare', 'ten_1', 9, 'ready');
SELECT miosa_promote('dep_2', 'bare') #>> '{operation,outcome}' AS active_without_a_release;
CREATE ROLE regress_attacker IN ROLE miosa_admin;
GRANT USAGE ON SCHEMA test TO regress_attacker;
GRANT EXECUTE ON FUNCTION test.code(text), test.refusal(text) TO regress_attacker;
CREATE VIEW test.production AS
	SELECT h.host, r.deployment_id, r.version_id, r.storage_uri, r.route_seq, r.seq,
		(SELECT count(*) FROM miosa.audit_events a WHERE a.deployment_id = r.deployment_id) AS events
	FROM miosa.routes r JOIN miosa.hosts h USING (deployment_id);
CREATE TABLE test.before AS SELECT * FROM test.production;
-- so that a plan of one second keeps none of these events
SELECT pg_sleep(1.1) IS NOT NULL AS waited;

-- Attack 1: production moves with no event and no delivery.
SET SESSION AUTHORIZATION regress_attacker;
SELECT call, test.code(call) FROM (VALUES
	-- a host that routes itself to another deployment
	($$INSERT INTO miosa.domains (fqdn, deployment_id, tenant_id) VALUES ('dep-1.acme.miosa.app', 'dep_2', 'ten_1')$$),
	-- the artifact of what is active
	($$INSERT INTO miosa.releases (deployment_id, id, deployment_version_id, tenant_id, storage_uri) VALUES ('dep_2', 'evil', 'bare', 'ten_1', 's3://evil/x')$$),
	-- the pointer, with the number that once let it pass
	($$UPDATE miosa.deployments SET active_version_id = 'ver_1', seq = seq + 1, route_seq = route_seq + 1 WHERE id = 'dep_1'$$),
	($$UPDATE miosa.deployments SET active_version_id = 'ver_1' WHERE id = 'dep_1'$$),
	($$UPDATE miosa.deployments SET serving_version_id = 'ver_1' WHERE id = 'dep_1'$$),
	($$INSERT INTO miosa.deployments AS d (id, tenant_id, name, slug) VALUES ('dep_1', 'ten_1', 'x', 'x') ON CONFLICT (id) DO UPDATE SET active_version_id = 'ver_1'$$),
	($$MERGE INTO miosa.deployments d USING (SELECT 'dep_1' AS id) s ON s.id = d.id WHEN MATCHED THEN UPDATE SET active_version_id = 'ver_1'$$),
	($$INSERT INTO miosa.deployments (id, tenant_id, name, slug, active_version_id) VALUES ('dep_9', 'ten_1', 'x', 'x', 'ver_1')$$),
	-- what a rollback goes to
	($$UPDATE miosa.versions SET state = 'archived' WHERE deployment_id = 'dep_1' AND id = 'ver_2'$$),
	($$DELETE FROM miosa.versions WHERE deployment_id = 'dep_1' AND id = 'ver_1'$$),
	-- triggers
	($$SET session_replication_role = replica$$),
	($$ALTER TABLE miosa.deployments DISABLE TRIGGER ALL$$),
	($$CREATE TRIGGER mine BEFORE UPDATE ON miosa.deployments FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()$$),
	($$CREATE RULE mine AS ON UPDATE TO miosa.deployments DO INSTEAD NOTHING$$),
	-- work that is on its way
	($$DELETE FROM miosa.outbox$$),
	($$DELETE FROM miosa.route_log$$),
	($$UPDATE miosa.endpoint_state SET acked_epoch = 1 << 60$$),
	-- the owner
	($$SET ROLE miosa_owner$$),
	($$SELECT miosa.queue('dep_1', 'route', NULL)$$),
	($$SELECT miosa.take_poll('dep_1', 'ver_1', 'x', 1)$$)) c (call);
RESET SESSION AUTHORIZATION;
SELECT count(*) AS moved FROM (TABLE test.production EXCEPT TABLE test.before) d;

-- Attack 2: a plan of one second, and a purge, erase the audit trail.
SET SESSION AUTHORIZATION regress_attacker;
SELECT call, test.refusal(call) FROM (VALUES
	($$UPDATE miosa.plans SET audit_retention = '1 s'$$),
	($$INSERT INTO miosa.own_plans VALUES ('free', '1 s', '1 s', '1 s')$$),
	($$INSERT INTO miosa.plans (name, audit_retention, idempotency_retention, artifact_retention) VALUES ('none', '1 s', '1 s', '1 s')$$),
	($$UPDATE miosa.tenants SET plan = 'none'$$),
	($$DELETE FROM miosa.audit_events$$),
	($$TRUNCATE miosa.audit_events$$),
	($$SELECT miosa_put_plan('free', audit_retention => '1 s')$$),
	($$SELECT miosa_put_plan('none', '1 s', '1 s', '1 s')$$)) c (call);
SELECT removed FROM miosa_purge_expired() WHERE what = 'audit_events';
RESET SESSION AUTHORIZATION;
SELECT count(*) AS erased FROM (TABLE test.before EXCEPT TABLE test.production) d;

-- A false last maintenance, for the doctor to see.
SET SESSION AUTHORIZATION regress_attacker;
SELECT test.refusal($$SELECT miosa.maintained(now(), 0)$$);
RESET SESSION AUTHORIZATION;
SELECT count(*) AS recorded FROM miosa.maintenance;

-- Attack 3: who feeds versions decides where a rollback goes.
CREATE ROLE regress_ci IN ROLE miosa_deployer;
GRANT USAGE ON SCHEMA test TO regress_ci;
GRANT EXECUTE ON FUNCTION test.refusal(text) TO regress_ci;
CREATE TABLE test.choice AS SELECT to_jsonb(v) AS version, to_jsonb(r) AS release
	FROM miosa.versions v LEFT JOIN miosa.releases r ON r.deployment_id = v.deployment_id AND r.deployment_version_id = v.id;
CREATE FUNCTION test.versions_changed() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM (SELECT to_jsonb(v), to_jsonb(r) FROM miosa.versions v
		LEFT JOIN miosa.releases r ON r.deployment_id = v.deployment_id AND r.deployment_version_id = v.id EXCEPT TABLE test.choice) d $$;
SET SESSION AUTHORIZATION regress_ci;
SELECT field, test.refusal(format($$SELECT miosa_put_version('dep_1', 'ver_2', fields => %L)$$, jsonb_build_object(field, value)))
FROM (VALUES ('pinned', to_jsonb(true)), ('promoted_over', '"ver_3"'), ('promoted_at', '"2199-01-01T00:00:00Z"')) f (field, value);
SELECT field, test.refusal(format($$SELECT miosa_put_version('dep_1', 'ver_2', release => %L)$$, jsonb_build_object(field, value)))
FROM (VALUES ('verified_at', '"2026-01-01T00:00:00Z"'::jsonb), ('collected_at', '"2026-01-01T00:00:00Z"'), ('collected_by', '"nobody"')) f (field, value);
-- also in a version that is new, and in its release
SELECT test.refusal($$SELECT miosa_put_version('dep_1', 'ver_7', fields => '{"pinned": true}')$$);
SELECT test.refusal($$SELECT miosa_put_version('dep_1', 'ver_7', fields => '{"promoted_over": "ver_1"}')$$);
SELECT field, test.refusal(format($$SELECT miosa_put_version('dep_1', 'ver_7', storage_uri => 'test://x', release => %L)$$, jsonb_build_object(field, value)))
FROM (VALUES ('verified_at', '"2026-01-01T00:00:00Z"'::jsonb), ('missing_at', '"2026-01-01T00:00:00Z"'), ('deleted_at', '"2026-01-01T00:00:00Z"')) f (field, value);
-- what the row has already is no change
SELECT test.refusal($$SELECT miosa_put_version('dep_1', 'ver_2', fields => '{"pinned": false, "promoted_at": null}', release => '{"verified_at": null}')$$);
RESET SESSION AUTHORIZATION;
SELECT test.versions_changed();
SET SESSION AUTHORIZATION regress_attacker;
SELECT miosa_put_version('dep_1', 'ver_2', fields => '{"pinned": true}', release => '{"verified_at": "2026-01-01T00:00:00Z"}') #>> '{release,verified_at}' AS administrators_may;
RESET SESSION AUTHORIZATION;

-- The owner's plain statements work, and are recorded.
UPDATE miosa.deployments SET active_version_id = 'ver_1' WHERE id = 'dep_1';
SELECT target_version_id, target_rule FROM miosa.audit_events WHERE deployment_id = 'dep_1' ORDER BY seq DESC LIMIT 1;
DROP OWNED BY regress_attacker;
DROP ROLE regress_attacker;
DROP OWNED BY regress_ci;
DROP ROLE regress_ci;
\i :cleanup
