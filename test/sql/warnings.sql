-- What is raised as a WARNING is also in the answer, for programs that do not
-- see the server's messages; and a replay that is true no more says so.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture
SET client_min_messages = error;
CREATE FUNCTION test.warnings(answer jsonb) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', w ->> 'code', w ->> 'message', w ->> 'detail', w ->> 'hint')
	FROM jsonb_array_elements(coalesce(answer #> '{operation,warnings}', answer #> '{data,warnings}')) w $$;

-- Nothing to say: no member of an answer, an empty array of a plan.
SELECT test.history('dep_1', 4);
SELECT miosa_rollback('dep_1', 'ver_3', 'k1') -> 'operation' ? 'warnings' AS has, miosa_plan('dep_1', 'ver_2') #> '{data,warnings}' AS planned;

-- A marked schema change, and an artifact that storage says nothing of; the
-- host is not even tried.
UPDATE miosa.versions SET metadata = '{"migration_compatibility": "incompatible"}' WHERE deployment_id = 'dep_1' AND id = 'ver_3';
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('dep_1', 'ver_9', 'ten_1', 9, 'ready');
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE miosa.releases SET storage_uri = 'http://127.0.0.1:1/2.tar.zst', verified_at = now() WHERE deployment_id = 'dep_1' AND id = 'rel_2';
COMMIT;
SELECT test.warnings(miosa_plan('dep_1', 'ver_2'));
SELECT c ->> 'check' AS "check", c ->> 'result' AS result, c ->> 'code' AS code
	FROM jsonb_array_elements(miosa_plan('dep_1', 'ver_2') #> '{data,checks}') c;
SELECT test.warnings(miosa_rollback('dep_1', 'ver_2', 'k2'));
-- They are part of the stored answer.
SELECT test.warnings(miosa_rollback('dep_1', 'ver_2', 'k2')) ~ '^(ARTIFACT_UNVERIFIED|MIGRATION_INCOMPATIBLE) ' AS again;
SELECT miosa_rollback('dep_1', 'ver_2', 'k2') = miosa.stored_response(k) AS same FROM miosa.idempotency_keys k WHERE k.deployment_id = 'dep_1' AND k.key = 'k2';
SELECT test.warnings(miosa_promote('dep_1', 'ver_1', 'k3', accept_unverified => true));

-- A replay of what is true no more: what is stored stays as it is, byte for
-- byte, and the answer says what came after it.
SELECT miosa.stored_response(k)::text AS stored FROM miosa.idempotency_keys k WHERE deployment_id = 'dep_1' AND key = 'k2' \gset
SELECT miosa_rollback('dep_1', 'ver_2', 'k2')::text AS replay \gset
SELECT :'replay'::jsonb #>> '{operation,replayed}' AS replayed, :'replay'::jsonb #>> '{operation,superseded_by}' AS superseded_by;
SELECT test.warnings(:'replay'::jsonb);
SELECT :'replay'::jsonb #- '{operation,replayed}' #- '{operation,superseded_by}' #- '{operation,warnings}'
	= :'stored'::jsonb #- '{operation,warnings}' AS rest_is_the_same;
SELECT miosa.stored_response(k)::text = :'stored' AS unchanged FROM miosa.idempotency_keys k WHERE deployment_id = 'dep_1' AND key = 'k2';
-- without warnings of its own
SELECT miosa_rollback('dep_1', 'ver_3', 'k1') -> 'operation';
-- Back where it was, it is true again.
SELECT test.op(miosa_promote('dep_1', 'ver_3'));
SELECT miosa_rollback('dep_1', 'ver_3', 'k1')::text = miosa.stored_response(k)::text AS same FROM miosa.idempotency_keys k WHERE k.deployment_id = 'dep_1' AND k.key = 'k1';
-- Unpublished, nothing is true.
UPDATE miosa.deployments SET active_version_id = NULL WHERE id = 'dep_1';
SELECT miosa_rollback('dep_1', 'ver_3', 'k1') #> '{operation,superseded_by}' AS superseded_by;
-- People see it too, and no undo of what is undone.
SELECT item, value FROM miosa.rollback('dep_1', 'v3', idempotency_key => 'k1') WHERE item IN ('result', 'undo');

-- A pipeline that runs again long after its key has expired does not move what
-- others have moved since: it says what was active when it began.
SELECT test.history('dep_2', 1);
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state)
	SELECT 'dep_2', 'ver_' || i, 'ten_1', i, 'ready' FROM generate_series(2, 4) i;
SELECT test.op(miosa_promote('dep_2', 'ver_2', 'run-7:promote', expected_active => 'ver_1'));
SELECT test.op(miosa_promote('dep_2', 'ver_4', 'run-9:promote', expected_active => 'ver_2'));
UPDATE miosa.idempotency_keys SET expires_at = now() WHERE deployment_id = 'dep_2';
SELECT test.code($$SELECT miosa_promote('dep_2', 'ver_2', 'run-7:promote', expected_active => 'ver_1')$$);

\i :cleanup
