-- Schema changes marked as incompatible: every one that going back crosses
-- counts, and it is shown before the act.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture
CREATE FUNCTION test.mark(dep text, version text) RETURNS void LANGUAGE sql AS $$
	UPDATE miosa.versions SET metadata = '{"migration_compatibility": "incompatible"}' WHERE deployment_id = dep AND id = version $$;
CREATE FUNCTION test.planned(dep text, version text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', p ->> 'target_version_id', p ->> 'would_succeed', c ->> 'result', c ->> 'code', c ->> 'message')
	FROM (SELECT miosa_plan(dep, version) -> 'data') v (p), jsonb_array_elements(p -> 'checks') c
	WHERE c ->> 'check' = 'migration_compatible' $$;

-- The marked version is neither left nor gone to.
SELECT test.history('dep_1', 7);
SELECT test.mark('dep_1', 'ver_6');
SELECT test.planned('dep_1', 'ver_' || n) FROM generate_series(3, 7) n;
SELECT test.planned('dep_1');
SELECT version, note FROM miosa.candidates('dep_1');
SELECT item, value FROM miosa.status('dep_1') WHERE item = 'schema';
BEGIN;
SET LOCAL miosa_rollback.on_incompatible = 'refuse';
SELECT test.planned('dep_1');
SELECT version, note FROM miosa.candidates('dep_1') WHERE note ~ 'default';
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_4')$$);
SELECT test.refusal($$SELECT miosa_promote('dep_1', 'ver_4')$$);
ROLLBACK;
SELECT test.op(miosa_rollback('dep_1', 'ver_4', 'k1'));
SELECT seq, marks FROM miosa.audit_events WHERE deployment_id = 'dep_1' AND seq > 7;
-- The schema is still that of ver_6, so that going further back crosses it too,
-- and so does a version that is built on the older code.
SELECT test.planned('dep_1', 'ver_3');
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('dep_1', 'ver_8', 'ten_1', 8, 'ready');
SELECT test.op(miosa_promote('dep_1', 'ver_8'));
SELECT test.planned('dep_1', 'ver_4');
SELECT test.planned('dep_1');
SELECT test.op(miosa_promote('dep_1', 'ver_7')) ~ 'changed' AS back;
-- Forward is no danger.
SELECT test.op(miosa_promote('dep_1', 'ver_8'));

-- By promotion order and not by number: ver_2 was promoted after ver_4.
SELECT test.deployment('dep_2', 5);
SELECT miosa_promote('dep_2', 'ver_' || n) IS NULL FROM unnest(ARRAY[1, 3, 4, 2, 5]) n;
SELECT test.mark('dep_2', 'ver_2');
SELECT test.planned('dep_2', 'ver_4');
SELECT test.planned('dep_2', 'ver_2');
-- ver_3 was left before ver_4 was promoted, and is gone to by neither
UPDATE miosa.versions SET metadata = '{}' WHERE deployment_id = 'dep_2';
SELECT test.mark('dep_2', 'ver_3');
SELECT test.planned('dep_2', 'ver_4');
SELECT test.planned('dep_2', 'ver_1');

-- Loaded without operations: by number, and by the releases' marks as well.
SELECT test.deployment('dep_3', 12);
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE miosa.deployments SET active_version_id = 'ver_12', active_release_id = 'rel_12' WHERE id = 'dep_3';
COMMIT;
UPDATE miosa.releases SET metadata = '{"migration_compatibility": "incompatible"}' WHERE deployment_id = 'dep_3' AND id IN ('rel_10', 'rel_3');
SELECT test.mark('dep_3', 'ver_' || n) FROM generate_series(5, 9) n;
SELECT test.planned('dep_3', 'ver_11');
SELECT test.planned('dep_3', 'ver_9');
SELECT test.planned('dep_3', 'ver_4');
SELECT test.planned('dep_3', 'ver_2');
SELECT miosa.schema_marks('dep_3', 'ver_8') AS marks, miosa.schema_marks('dep_3', 'ver_99') AS none, miosa.schema_marks('x', 'y') AS nothing;
SELECT test.history('dep_4', 3);
SELECT test.planned('dep_4', 'ver_1'), miosa.schema_marks('dep_4', 'ver_1');

-- The plain UPDATE meets the same.
BEGIN;
SET LOCAL miosa_rollback.on_incompatible = 'refuse';
SELECT test.code($$UPDATE miosa.deployments SET active_version_id = 'ver_4' WHERE id = 'dep_3'$$);
ROLLBACK;

-- What storage did not have is not offered, and its note says so.
UPDATE miosa.releases SET missing_at = now() WHERE deployment_id = 'dep_4' AND id = 'rel_1';
SELECT version, artifact, note FROM miosa.candidates('dep_4');
SELECT miosa.default_target('dep_4') AS target, miosa.default_target('x') AS nothing;

\i :cleanup
