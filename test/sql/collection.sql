-- Collection of artifacts: what is kept, what is claimed, and what is said
-- about it.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

-- Make what happened so much older.
CREATE FUNCTION test.age(dep text, age interval) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	SET CONSTRAINTS ALL IMMEDIATE;
	ALTER TABLE miosa.versions DISABLE TRIGGER versions_identity;
	UPDATE miosa.versions SET created_at = created_at - age, promoted_at = promoted_at - age,
		last_served_at = last_served_at - age, archived_at = archived_at - age WHERE deployment_id = dep;
	ALTER TABLE miosa.versions ENABLE TRIGGER versions_identity;
END $$;
CREATE VIEW test.keeping AS SELECT version_id, kept_as, due FROM miosa.release_keeping ORDER BY deployment_id, version_number;

-- When a version served last is noted when three others have served since,
-- and forgotten when it serves again.
SELECT test.history('dep_1', 5);
SELECT d.recent_served FROM miosa.deployments d;
SELECT v.id, v.last_served_at IS NOT NULL AS noted FROM miosa.versions v ORDER BY v.version_number;
SELECT test.op(miosa_rollback('dep_1', 'ver_1'));
SELECT v.id, v.last_served_at IS NOT NULL AS noted FROM miosa.versions v ORDER BY v.version_number;
SELECT test.op(miosa_rollback('dep_1', 'ver_5'));
SELECT v.id, v.last_served_at IS NOT NULL AS noted FROM miosa.versions v ORDER BY v.version_number;
-- By a plain UPDATE too.
BEGIN;
UPDATE miosa.deployments SET active_version_id = 'ver_2';
SELECT v.id, v.last_served_at IS NOT NULL AS noted FROM miosa.versions v ORDER BY v.version_number;
ROLLBACK;

-- Nothing is due while it is young.  The plan says how long that is.
SELECT * FROM test.keeping;
SELECT * FROM miosa_collect();
SELECT test.age('dep_1', '40 days');
SELECT * FROM test.keeping;
BEGIN;
UPDATE miosa.tenants SET plan = 'enterprise';
SELECT count(*) FROM miosa_collectable_releases;
ROLLBACK;
SELECT deployment_id, version_id, version_number, release_id, tenant_id, storage_uri, size_bytes, expires_at < now() AS expired
	FROM miosa_collectable_releases ORDER BY version_number;

-- What was promoted, served or archived lately is young again.
BEGIN;
UPDATE miosa.versions SET last_served_at = now() - '29 days'::interval WHERE id = 'ver_2';
UPDATE miosa.versions SET promoted_at = now() - '29 days'::interval WHERE id = 'ver_3';
SELECT count(*) FROM miosa_collectable_releases;
UPDATE miosa.versions SET state = 'archived' WHERE id IN ('ver_2', 'ver_3');
SELECT count(*) FROM miosa_collectable_releases;
UPDATE miosa.versions SET archived_at = now() - '31 days'::interval WHERE id IN ('ver_2', 'ver_3');
SELECT count(*) FROM miosa_collectable_releases;
ROLLBACK;
-- The times that are farthest away break nothing (pointer.sql has others).
BEGIN;
UPDATE miosa.versions SET promoted_at = '2199-12-31 23:59Z' WHERE id = 'ver_2';
UPDATE miosa.versions SET promoted_at = '1970-01-01 00:00Z', last_served_at = '1970-01-01 00:00Z' WHERE id = 'ver_3';
SELECT count(*) FROM miosa_collectable_releases;
SELECT version, expires IS NOT NULL AS shown FROM miosa.candidates('dep_1') WHERE version IN ('v2', 'v3');
ROLLBACK;

-- Each reason to keep.
BEGIN;
SET session_replication_role = replica;
UPDATE miosa.deployments SET serving_version_id = 'ver_2', recent_served = '{}';
RESET session_replication_role;
UPDATE miosa.versions SET promoted_over = 'ver_3' WHERE id = 'ver_5';
UPDATE miosa.versions SET pinned = true WHERE id = 'ver_1';
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state, created_at)
	SELECT 'dep_1', 'ver_' || n, 'ten_1', n, (ARRAY['building', 'failed', 'ready', 'archived', 'ready', 'ready', 'ready', 'created'])[n - 5],
		now() - '40 days'::interval FROM generate_series(6, 13) n;
INSERT INTO miosa.releases (deployment_id, id, deployment_version_id, tenant_id, storage_uri)
	SELECT 'dep_1', 'rel_' || n, 'ver_' || n, 'ten_1', 'test://' || n FROM generate_series(6, 13) n;
SELECT * FROM test.keeping;
SET session_replication_role = replica;
UPDATE miosa.deployments SET recent_served = '{ver_1,ver_2}';
RESET session_replication_role;
SELECT * FROM test.keeping WHERE kept_as = 'newest';
ROLLBACK;

-- What a rollback goes to when the version before is archived is kept too.
BEGIN;
SELECT test.history('dep_2', 8);
SELECT test.op(miosa_rollback('dep_2', 'ver_5'));
SELECT miosa_archive_version('dep_2', 'ver_4') IS NOT NULL AS archived;
SELECT test.age('dep_2', '400 days');
SELECT version_id, kept_as, due FROM miosa.release_keeping WHERE deployment_id = 'dep_2' ORDER BY version_number;
SELECT version_id FROM miosa_collect() WHERE deployment_id = 'dep_2' ORDER BY 1;
SELECT miosa_plan('dep_2') -> 'data' ->> 'target_version_id' AS target;
SELECT version_id FROM miosa_collect() WHERE deployment_id = 'dep_2';
SET LOCAL ROLE miosa_operator;
SELECT count(*) FROM miosa.release_keeping WHERE kept_as = 'previous';
ROLLBACK;

-- What was loaded as active has served, although recent_served is empty.
BEGIN;
SELECT test.deployment('dep_2', 4);
UPDATE miosa.versions SET promoted_at = now() WHERE deployment_id = 'dep_2' AND id = 'ver_1';
ALTER TABLE miosa.deployments DISABLE TRIGGER deployments_pointer;
UPDATE miosa.deployments SET active_version_id = 'ver_1', active_release_id = 'rel_1', state = 'running' WHERE id = 'dep_2';
ALTER TABLE miosa.deployments ENABLE TRIGGER deployments_pointer;
SELECT test.age('dep_2', '400 days');
SAVEPOINT loaded;
SELECT test.op(miosa_promote('dep_2', 'ver_' || n)) FROM generate_series(2, 3) n;
SELECT version_id, kept_as, due FROM miosa.release_keeping WHERE deployment_id = 'dep_2' ORDER BY version_number;
SELECT test.op(miosa_promote('dep_2', 'ver_4'));
SELECT version_id, kept_as, due FROM miosa.release_keeping WHERE deployment_id = 'dep_2' ORDER BY version_number;
ROLLBACK TO loaded;
UPDATE miosa.deployments SET active_version_id = 'ver_2' WHERE id = 'dep_2';
SELECT recent_served FROM miosa.deployments WHERE id = 'dep_2';
ROLLBACK;

-- One artifact of two releases is claimed when both are due, and then once
-- for each.
SELECT test.deployment('dep_2', 6);
BEGIN;
ALTER TABLE miosa.releases DISABLE TRIGGER releases_identity;
UPDATE miosa.releases SET storage_uri = 'test://same' WHERE id IN ('rel_2', 'rel_3') AND deployment_id = 'dep_1' OR id = 'rel_1' AND deployment_id = 'dep_2';
SELECT version, expires FROM miosa.candidates('dep_1') WHERE version IN ('v1', 'v2');
SELECT deployment_id, version_id FROM miosa_collect();
SELECT test.age('dep_2', '40 days');
SELECT deployment_id, version_id, storage_uri FROM miosa_collect() ORDER BY 1, 2;
-- A release that comes later keeps what was not confirmed from being given
-- out again.
UPDATE miosa.releases SET updated_at = now() - '2 hours'::interval WHERE collected_at IS NOT NULL;
UPDATE miosa.releases SET storage_uri = 'test://same' WHERE deployment_id = 'dep_2' AND id = 'rel_6';
SELECT deployment_id, version_id, storage_uri FROM miosa_collect() ORDER BY 1, 2;
ROLLBACK;

-- Claiming: at most so many, never again before an hour has passed, and until
-- it is confirmed.
SELECT * FROM miosa_collect(0);
SELECT * FROM miosa_collect(1001);
SELECT * FROM miosa_collect(NULL);
BEGIN;
SELECT count(*) FROM miosa_collect(1);
SELECT count(*) FROM miosa_collect(1);
SELECT count(*) FROM miosa_collect(1);
ROLLBACK;
SELECT deployment_id, version_id, release_id, storage_uri, sha256 IS NOT NULL AS sha256, size_bytes FROM miosa_collect() ORDER BY release_id;
SELECT r.id, r.collected_by = current_user AS by, r.deleted_at FROM miosa.releases r WHERE r.collected_at IS NOT NULL ORDER BY r.id;
SELECT * FROM miosa_collect();
UPDATE miosa.releases SET updated_at = now() - '61 min'::interval WHERE collected_at IS NOT NULL;
SELECT version_id FROM miosa_collect(1);
SELECT count(*) FROM miosa_collect();
SELECT count(*) FROM miosa_collect();
SELECT miosa_confirm_collected('dep_1', 'rel_2') -> 'data' ->> 'deleted_at' IS NOT NULL AS confirmed;
SELECT miosa_confirm_collected('dep_1', 'rel_2') -> 'data' ->> 'deleted_at' IS NOT NULL AS again;
UPDATE miosa.releases SET updated_at = now() - '61 min'::interval WHERE collected_at IS NOT NULL;
SELECT version_id FROM miosa_collect();
SELECT test.refusal($$SELECT miosa_confirm_collected('dep_1', 'rel_5')$$);
SELECT test.refusal($$SELECT miosa_confirm_collected('dep_1', 'rel_9')$$);
SELECT test.refusal($$SELECT miosa_confirm_collected('dep_9', 'rel_1')$$);
SELECT test.refusal($$SELECT miosa_confirm_collected('dep_1', '')$$);

-- What was claimed cannot be gone back to, and is shown so.
UPDATE miosa.releases SET collected_by = 'collector' WHERE collected_at IS NOT NULL;
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_2')$$);
SELECT version, artifact, expires, live, note FROM miosa.candidates('dep_1');
-- It cannot be put again before its deletion is confirmed.
SELECT test.refusal(format('SELECT miosa_put_version(%L, %L, storage_uri => %L)', 'dep_2', 'ver_7', r.storage_uri))
	FROM miosa.releases r WHERE r.deployment_id = 'dep_1' AND r.id = 'rel_3';
SELECT miosa_put_version('dep_2', 'ver_7', storage_uri => r.storage_uri) IS NOT NULL AS ok
	FROM miosa.releases r WHERE r.deployment_id = 'dep_1' AND r.id = 'rel_2';
-- A mirror that repeats what it knows is not refused.
SELECT miosa_put_version('dep_1', 'ver_3', 3, storage_uri => r.storage_uri) IS NOT NULL AS ok
	FROM miosa.releases r WHERE r.deployment_id = 'dep_1' AND r.id = 'rel_3';

-- Pins.
SELECT miosa_pin_version('dep_1', 'ver_1') -> 'data' ->> 'pinned' AS pinned;
SELECT miosa_pin_version('dep_1', 'ver_1') -> 'data' ->> 'pinned' AS again;
SELECT test.refusal($$SELECT miosa_archive_version('dep_1', 'ver_1')$$);
SELECT test.refusal($$SELECT miosa_pin_version('dep_1', 'ver_2')$$);
SELECT test.refusal($$UPDATE miosa.versions SET pinned = true WHERE id = 'ver_2' AND deployment_id = 'dep_1'$$);
SELECT test.refusal($$SELECT miosa_pin_version('dep_1', 'ver_9')$$);
SELECT test.refusal($$SELECT miosa_pin_version('dep_9', 'ver_1')$$);
SELECT test.refusal($$SELECT miosa_pin_version('dep_1', '')$$);
SELECT miosa_unpin_version('dep_1', 'ver_1') -> 'data' ->> 'pinned' AS pinned;

-- Where there is little to go back to.
SELECT deployment_id, active_version_id, restorable FROM miosa.scarcely_restorable;
SELECT miosa_promote('dep_2', 'ver_1') IS NOT NULL AS ok;
UPDATE miosa.versions SET state = 'archived' WHERE deployment_id = 'dep_2' AND id IN ('ver_4', 'ver_5', 'ver_6', 'ver_7');
SELECT deployment_id, active_version_id, restorable FROM miosa.scarcely_restorable;
UPDATE miosa.releases SET missing_at = now() WHERE deployment_id = 'dep_2' AND id = 'rel_2';
SELECT deployment_id, active_version_id, restorable FROM miosa.scarcely_restorable;
UPDATE miosa.releases SET collected_at = now() WHERE deployment_id = 'dep_2' AND id = 'rel_3';
SELECT deployment_id, active_version_id, restorable FROM miosa.scarcely_restorable;
SELECT status, seen, fix FROM miosa_doctor() WHERE item = 'restorable';

-- Of very many deployments a part is looked at.
BEGIN;
INSERT INTO miosa.deployments (id, tenant_id, name, slug)
	SELECT 'dep_' || i, 'ten_1', 'Dep', 'dep-' || i FROM generate_series(1000, 5000) i;
SELECT status IN ('ok', 'warn') AS known, seen ~ 'looked at; the others are unknown$' AS partly FROM miosa_doctor() WHERE item = 'restorable';
SELECT deployment_id, active_version_id, restorable FROM miosa.scarcely_restorable;
ROLLBACK;

-- What a removed deployment leaves is claimed at once, unless another one has it.
SELECT test.history('gone_1', 2);
SELECT test.history('gone_2', 1);
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('gone_2', 'ver_s', 'ten_1', 2, 'ready');
INSERT INTO miosa.releases (deployment_id, id, deployment_version_id, tenant_id, storage_uri)
	SELECT 'gone_2', 'rel_s', 'ver_s', 'ten_1', r.storage_uri FROM miosa.releases r WHERE r.deployment_id = 'gone_1' AND r.id = 'rel_1';
SELECT test.op(miosa_unpublish('gone_1')), test.op(miosa_unpublish('gone_2'));
SELECT miosa_remove_deployment('gone_1') -> 'data' ->> 'state';
SELECT deployment_id, version_id, version_number, release_id, tenant_id, storage_uri FROM miosa_collectable_releases WHERE deployment_id LIKE 'gone%';
SELECT storage_uri FROM miosa.collectable_artifacts WHERE storage_uri ~ 'gone';
SELECT deployment_id, version_id, release_id, storage_uri FROM miosa_collect() WHERE deployment_id LIKE 'gone%';
SELECT count(*) FROM miosa_collect() WHERE deployment_id LIKE 'gone%';
-- The claim counts as any other one.
SELECT test.refusal($$SELECT miosa_put_version('dep_1', 'ver_n', storage_uri => 'test://bucket/gone_1/ver_2/dist.tar.zst')$$);
UPDATE miosa.removed_artifacts SET updated_at = now() - interval '2 h' WHERE collected_at IS NOT NULL;
SELECT release_id, storage_uri FROM miosa_collect() WHERE deployment_id LIKE 'gone%';
SELECT test.refusal($$SELECT miosa_confirm_collected('gone_1', 'rel_1')$$);
SELECT (miosa_confirm_collected('gone_1', 'rel_2') -> 'data') - '{collected_at,deleted_at}'::text[];
SELECT miosa_confirm_collected('gone_1', 'rel_2');
SELECT miosa_put_version('dep_1', 'ver_n', storage_uri => 'test://bucket/gone_1/ver_2/dist.tar.zst') -> 'data' ->> 'state';
-- Nor is one that was put again meanwhile.
SELECT miosa_remove_deployment('gone_2') -> 'data' ->> 'state';
BEGIN;
SELECT miosa_put_version('dep_1', 'ver_o', storage_uri => 'test://bucket/gone_1/ver_1/dist.tar.zst') -> 'data' ->> 'state';
SELECT count(*) FROM miosa_collect() WHERE storage_uri ~ 'gone_1';
ROLLBACK;
SELECT deployment_id, release_id, storage_uri FROM miosa_collect() WHERE deployment_id LIKE 'gone%' ORDER BY 1, 2;
SELECT count(miosa_confirm_collected(deployment_id, release_id)) FROM miosa.removed_artifacts;
SELECT count(*) FROM miosa.removed_artifacts;

\i :cleanup
