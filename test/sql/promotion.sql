-- Promotion: the same path as a rollback, in the other direction.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

-- Promise: positional arguments and the answer are those of a rollback.
SELECT test.deployment('dep_1', 4);
SELECT test.op(miosa_promote('dep_1', 'ver_1', 'key-1'));
SELECT test.op(miosa_promote('dep_1', 'ver_1', 'key-1'));
SELECT test.op(miosa_promote('dep_1', 'ver_2', 'key-2', 'release day', 'ver_1', '{"external_user_id": "u-1"}', 'when_healthy', false));
SELECT test.count('dep_1');
SELECT seq, action, outcome, reason, attribution FROM miosa.audit_events WHERE deployment_id = 'dep_1' ORDER BY seq;

-- Promise: a promoted version remembers which one it replaced, and when.
SELECT id, promoted_over, promoted_at IS NOT NULL FROM miosa.versions WHERE deployment_id = 'dep_1' ORDER BY version_number;
SELECT v.promoted_at = a.created_at FROM miosa.versions v JOIN miosa.audit_events a
ON a.deployment_id = v.deployment_id AND a.target_version_id = v.id WHERE v.deployment_id = 'dep_1' ORDER BY v.version_number;

-- Promise: a rollback changes neither.
SELECT test.op(miosa_promote('dep_1', 'ver_3'));
SELECT test.op(miosa_rollback('dep_1', 'ver_1'));
SELECT id, promoted_over FROM miosa.versions WHERE deployment_id = 'dep_1' ORDER BY version_number;

-- Promise: promoting what was rolled back from is an ordinary promotion.
SELECT test.op(miosa_promote('dep_1', 'ver_3'));
SELECT id, promoted_over FROM miosa.versions WHERE deployment_id = 'dep_1' ORDER BY version_number;

-- Promise: promoting the active version moves nothing, not even that memory.
SELECT updated_at AS before FROM miosa.deployments WHERE id = 'dep_1' \gset
SELECT test.op(miosa_promote('dep_1', 'ver_3'));
SELECT updated_at = :'before' FROM miosa.deployments WHERE id = 'dep_1';
SELECT id, promoted_over FROM miosa.versions WHERE deployment_id = 'dep_1' AND id = 'ver_3';

-- Promise: an older version can be promoted; no version ends up over itself.
SELECT test.op(miosa_promote('dep_1', 'ver_1'));
SELECT id, promoted_over FROM miosa.versions WHERE deployment_id = 'dep_1' ORDER BY version_number;
SELECT test.op(miosa_promote('dep_1', 'ver_2'));
SELECT test.op(miosa_promote('dep_1', 'ver_1'));
SELECT id, promoted_over FROM miosa.versions WHERE deployment_id = 'dep_1' ORDER BY version_number;

-- Promise: a promotion names its version, and meets the conditions of a
-- rollback.
SELECT test.refusal($$SELECT miosa_promote('dep_1', NULL)$$);
SELECT test.refusal($$SELECT miosa_promote('dep_1', '')$$);
UPDATE miosa.releases SET collected_at = now(), collected_by = 'gc' WHERE deployment_id = 'dep_1' AND id = 'rel_4';
SELECT test.refusal($$SELECT miosa_promote('dep_1', 'ver_4')$$);
SELECT test.refusal($$SELECT miosa_promote('dep_1', 'ver_9')$$);
SELECT test.refusal($$SELECT miosa_promote('dep_9', 'ver_1')$$);
SELECT test.refusal($$SELECT miosa_promote('dep_1', 'ver_2', expected_active => 'ver_3')$$);
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state)
	SELECT 'dep_1', 'ver_' || s, 'ten_1', 10 + n, s FROM unnest(ARRAY['created', 'building', 'failed', 'archived']) WITH ORDINALITY u (s, n);
SELECT test.code(format('SELECT miosa_promote(''dep_1'', %L)', id)), state FROM miosa.versions
WHERE deployment_id = 'dep_1' AND state <> 'ready' ORDER BY version_number;

-- Promise: repeated promotions without a key are no repeated rollbacks.
SELECT test.op(miosa_promote('dep_1', 'ver_2'));
SELECT test.op(miosa_promote('dep_1', 'ver_3'));
SELECT test.op(miosa_rollback('dep_1'));

-- Promise: a promotion ends the time in which a second rollback is refused.
SELECT test.code($$SELECT miosa_rollback('dep_1')$$);
SELECT test.op(miosa_promote('dep_1', 'ver_3'));
SELECT test.op(miosa_rollback('dep_1'));

-- Promise: unpublishing takes a key, a reason and the expected version, as other
-- operations do, and is replayed.
SELECT test.deployment('dep_2', 3);
SELECT test.op(miosa_promote('dep_2', 'ver_2'));
SELECT test.refusal($$SELECT miosa_unpublish('dep_2', expected_active => 'ver_1')$$);
SELECT test.refusal($$SELECT miosa_unpublish('dep_2', '')$$);
SELECT test.refusal($$SELECT miosa_unpublish('dep_2', reason => E'a\nb')$$);
SELECT test.refusal(format('SELECT miosa_unpublish(''dep_2'', reason => %L)', repeat('x', 5000)));
SELECT test.refusal($$SELECT miosa_unpublish('dep_9', 'key-1')$$);
SELECT miosa_unpublish('dep_2', 'key-u', 'end of life', 'ver_2') AS first \gset
SELECT miosa_unpublish('dep_2', 'key-u', 'end of life', 'ver_2') = :'first'::jsonb AS replayed;
SELECT :'first'::jsonb -> 'operation' AS operation, :'first'::jsonb #> '{data,active_version_id}' AS active, :'first'::jsonb #> '{data,state}' AS state;
SELECT test.refusal($$SELECT miosa_unpublish('dep_2', 'key-u')$$);
SELECT test.refusal($$SELECT miosa_rollback('dep_2', 'ver_1', 'key-u')$$);
-- Where nothing is active nothing is done, and the key stays free.
SELECT miosa_unpublish('dep_2', 'key-v') -> 'operation' AS none, miosa_unpublish('dep_2') #>> '{data,id}' AS id;
SELECT test.op(miosa_promote('dep_2', 'ver_2', 'key-v'));
SELECT miosa_unpublish('dep_2', 'key-u', 'end of life', 'ver_2') - 'data' AS superseded;
SELECT seq, action, outcome, target_rule, previous_version_id, target_version_id, idempotency_key, reason FROM miosa.audit_events WHERE deployment_id = 'dep_2' ORDER BY seq;
SELECT operation, key FROM miosa.idempotency_keys WHERE deployment_id = 'dep_2' ORDER BY seq;
SELECT miosa_audit_verify('dep_2') #- '{data,head}' AS chain;

\i :cleanup
