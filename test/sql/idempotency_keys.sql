-- A key that was used before returns what it returned before.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

SELECT test.history('dep_1', 3);
SELECT test.history('dep_2', 3);

-- Promise: a replay is the first answer byte for byte, although the deployment
-- has changed in all sorts of ways since.
SELECT miosa_rollback('dep_1', 'ver_1', 'key-1') AS first \gset
SELECT test.op(:'first');
UPDATE miosa.deployments SET name = 'renamed', metadata = '{"a": 1}', owner_id = 'user_2' WHERE id = 'dep_1';
SELECT miosa_rollback('dep_1', 'ver_1', 'key-1')::text = :'first';
SELECT test.count('dep_1');

-- Promise: a replay writes nothing and takes no lock: the transaction has no
-- id and no row of ours is locked, and nothing is queued for the edges.
SELECT test.digest() AS before \gset
BEGIN;
SELECT miosa_rollback('dep_1', 'ver_1', 'key-1')::text = :'first';
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation::regclass::text LIKE 'miosa.%'
	AND mode NOT IN ('AccessShareLock');
COMMIT;
SELECT test.digest() = :'before';

-- Promise: so it works in a read-only transaction, at every level.
BEGIN READ ONLY;
SELECT miosa_rollback('dep_1', 'ver_1', 'key-1')::text = :'first';
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;
SELECT miosa_rollback('dep_1', 'ver_1', 'key-1')::text = :'first';
COMMIT;
-- where a new operation is refused by the server itself
BEGIN READ ONLY;
SELECT test.code($$SELECT miosa_rollback('dep_1', 'ver_2', 'key-read-only')$$);
ROLLBACK;
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'key-read-only'));

-- Promise: when the deployment has moved since, the replay says so ...
SELECT miosa_rollback('dep_1', 'ver_1', 'key-1') #- '{operation,replayed}' #- '{operation,superseded_by}'
	#- '{operation,warnings}' = :'first'::jsonb;
-- ... but not when it moved back.
SELECT test.op(miosa_rollback('dep_1', 'ver_1'));
SELECT miosa_rollback('dep_1', 'ver_1', 'key-1')::text = :'first';
SELECT test.count('dep_1');

-- Promise: the quoted and the bare form are one key; only one pair of quotes
-- counts, and case and spaces do.
SELECT miosa_rollback('dep_1', 'ver_1', '"key-1"')::text = :'first';
SELECT test.op(miosa_rollback('dep_1', 'ver_3', '"quoted first"'));
SELECT test.op(miosa_rollback('dep_1', 'ver_3', 'quoted first'));
SELECT test.op(miosa_rollback('dep_1', 'ver_3', '""quoted first""'));
SELECT test.op(miosa_rollback('dep_1', 'ver_3', 'Quoted first'));
SELECT test.op(miosa_rollback('dep_1', 'ver_3', 'quoted first '));
SELECT test.op(miosa_rollback('dep_1', 'ver_3', '"quoted first'));
SELECT test.op(miosa_rollback('dep_1', 'ver_3', '"'));
SELECT key FROM miosa.idempotency_keys WHERE deployment_id = 'dep_1' ORDER BY seq;

-- Promise: keys that clients really send work, and keys are per deployment.
SELECT test.op(miosa_rollback('dep_2', 'ver_1', 'key-1'));
SELECT test.op(miosa_rollback('dep_2', 'ver_1', '0b9d6c8e-3f6e-4b6b-9a50-0a8d6a3c1f11'));
SELECT test.op(miosa_rollback('dep_2', 'ver_1', '0123456789abcdef0123456789abcdef'));
SELECT test.op(miosa_rollback('dep_2', 'ver_1', 'promote:dep_2:rel_1'));
SELECT test.op(miosa_rollback('dep_2', 'ver_1', 'app_' || repeat('f', 40)));
SELECT test.op(miosa_rollback('dep_2', 'ver_1', $k$ !#$%&'()*+,/;<=>?@[\]^`{|}~$k$));

-- Promise: a key used for another request is refused, for each part that
-- counts: target, expected_active, cutover and the kind of operation.
SELECT test.op(miosa_rollback('dep_2', 'ver_2', 'key-2', expected_active => 'ver_1'));
SELECT test.digest() AS before \gset
SELECT test.refusal($$SELECT miosa_rollback('dep_2', 'ver_3', 'key-2', expected_active => 'ver_1')$$);
SELECT test.code($$SELECT miosa_rollback('dep_2', NULL, 'key-2', expected_active => 'ver_1')$$);
SELECT test.code($$SELECT miosa_rollback('dep_2', 'ver_2', 'key-2')$$);
SELECT test.code($$SELECT miosa_rollback('dep_2', 'ver_2', 'key-2', expected_active => 'ver_2')$$);
SELECT test.code($$SELECT miosa_rollback('dep_2', 'ver_2', 'key-2', expected_active => 'ver_1', cutover => 'immediate')$$);
SELECT test.refusal($$SELECT miosa_promote('dep_2', 'ver_2', 'key-2', expected_active => 'ver_1')$$);
-- also for a target that does not exist: the key is looked at first
SELECT test.code($$SELECT miosa_rollback('dep_2', 'ver_99', 'key-2', expected_active => 'ver_1')$$);
SELECT test.digest() = :'before';

-- Promise: reason, attribution and accept_unverified do not count, and the
-- default of cutover is the default.
SELECT test.op(miosa_rollback('dep_2', 'ver_2', 'key-2', 'another reason', 'ver_1', '{"external_user_id": "x"}', 'when_healthy', true));
SELECT test.op(miosa_rollback('dep_2', 'ver_2', 'key-2', NULL, 'ver_1', NULL, NULL, NULL));
SELECT test.digest() = :'before';

-- Promise: an absent version is part of the request as absent: the retry of
-- "back to the previous one" replays, although "previous" is another now.
SELECT test.history('dep_3', 4);
SELECT test.op(miosa_rollback('dep_3', NULL, 'key-1'));
SELECT test.op(miosa_rollback('dep_3', NULL, 'key-1'));
SELECT test.code($$SELECT miosa_rollback('dep_3', 'ver_3', 'key-1')$$);
SELECT test.count('dep_3');
-- expected_active is checked by the first call only
SELECT test.op(miosa_rollback('dep_3', 'ver_1', 'key-2', expected_active => 'ver_3'));
SELECT test.op(miosa_rollback('dep_3', 'ver_1', 'key-2', expected_active => 'ver_3'));

-- Promise: a replay answers also when the version is no longer fit, and names
-- no rule that would refuse it now.
SELECT test.op(miosa_rollback('dep_3', 'ver_2', 'key-3'));
SELECT test.op(miosa_rollback('dep_3', 'ver_4'));
UPDATE miosa.versions SET state = 'archived' WHERE deployment_id = 'dep_3' AND id = 'ver_2';
SET client_min_messages = error;
SELECT test.op(miosa_rollback('dep_3', 'ver_2', 'key-3'));
RESET client_min_messages;

-- Promise: keys expire by the tenant's plan, decided by the clock at the time
-- of the call, and then the key is as if it had never been used.
SELECT k.expires_at - k.created_at BETWEEN p.idempotency_retention - '1 s' AND p.idempotency_retention + '1 s', p.idempotency_retention
FROM miosa.idempotency_keys k, miosa.plans p WHERE k.deployment_id = 'dep_3' AND k.key = 'key-1' AND p.name = 'free';
UPDATE miosa.tenants SET plan = 'enterprise' WHERE id = 'ten_1';
SELECT test.op(miosa_rollback('dep_3', 'ver_3', 'key-4'));
SELECT k.expires_at - k.created_at BETWEEN p.idempotency_retention - '1 s' AND p.idempotency_retention + '1 s', p.idempotency_retention
FROM miosa.idempotency_keys k, miosa.plans p WHERE k.deployment_id = 'dep_3' AND k.key = 'key-4' AND p.name = 'enterprise';
UPDATE miosa.tenants SET plan = 'free' WHERE id = 'ten_1';
UPDATE miosa.idempotency_keys SET expires_at = clock_timestamp() WHERE deployment_id = 'dep_3' AND key = 'key-4';
SELECT test.op(miosa_rollback('dep_3', 'ver_1', 'key-4'));
SELECT test.op(miosa_rollback('dep_3', 'ver_1', 'key-4'));
SELECT count(*), max(k.seq) = max(d.seq) FROM miosa.idempotency_keys k JOIN miosa.deployments d ON d.id = k.deployment_id
WHERE k.deployment_id = 'dep_3' AND k.key = 'key-4' GROUP BY k.deployment_id;
-- before that it still counts
UPDATE miosa.idempotency_keys SET expires_at = clock_timestamp() + interval '1 hour' WHERE deployment_id = 'dep_3' AND key = 'key-4';
SELECT test.code($$SELECT miosa_rollback('dep_3', 'ver_3', 'key-4')$$);
-- an expired key is not used up by a refusal, and its record not lost
UPDATE miosa.idempotency_keys SET expires_at = clock_timestamp() WHERE deployment_id = 'dep_3' AND key = 'key-4';
SELECT test.code($$SELECT miosa_rollback('dep_3', 'ver_99', 'key-4')$$);
SELECT count(*) FROM miosa.idempotency_keys WHERE deployment_id = 'dep_3' AND key = 'key-4';

-- A blank key is none, however it is written.
SELECT test.refusal(format('SELECT miosa_rollback(''dep_3'', ''ver_1'', %L)', key)) FROM unnest(ARRAY[' ', '   ', '" "', '', '""']) key;

-- Promise: a refusal is not stored under the key.
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('dep_3', 'ver_5', 'ten_1', 5, 'building');
SELECT test.code($$SELECT miosa_rollback('dep_3', 'ver_5', 'key-5')$$);
UPDATE miosa.versions SET state = 'ready' WHERE deployment_id = 'dep_3' AND id = 'ver_5';
SELECT test.op(miosa_rollback('dep_3', 'ver_5', 'key-5'));

-- Promise: two operations of one transaction can use two keys, and a replay
-- sees what its own transaction did.
BEGIN;
SELECT test.op(miosa_rollback('dep_3', 'ver_1', 'key-6'));
SELECT test.op(miosa_rollback('dep_3', 'ver_3', 'key-7'));
SELECT test.op(miosa_rollback('dep_3', 'ver_1', 'key-6'));
ROLLBACK;
SELECT test.op(miosa_rollback('dep_3', 'ver_3', 'key-6'));
SELECT test.count('dep_3');

-- Promise: the tenant's plan of that moment says how long a key is kept, wherever
-- the rows of the tenant and of the plan have gone since the session's last call.
CREATE FUNCTION test.kept(key text) RETURNS text LANGUAGE sql AS $$
	SELECT round(extract(epoch FROM k.expires_at - k.created_at) / 3600) || ' hours'
	FROM miosa.idempotency_keys k WHERE k.deployment_id = 'dep_3' AND k.key = $1 $$;
INSERT INTO miosa.plans (name, audit_retention, idempotency_retention, artifact_retention) VALUES ('own', '1 day', '2 hours', '1 day');
UPDATE miosa.tenants SET plan = 'own' WHERE id = 'ten_1';
SELECT test.op(miosa_rollback('dep_3', 'ver_1', 'key-8')), test.kept('key-8');
UPDATE miosa.plans SET idempotency_retention = '3 hours' WHERE name = 'own';
SELECT test.op(miosa_rollback('dep_3', 'ver_3', 'key-9')), test.kept('key-9');
UPDATE miosa.tenants SET plan = 'enterprise' WHERE id = 'ten_1';
DELETE FROM miosa.plans WHERE name = 'own';
SELECT test.op(miosa_rollback('dep_3', 'ver_1', 'key-10')), test.kept('key-10');
INSERT INTO miosa.plans (name, audit_retention, idempotency_retention, artifact_retention) VALUES ('enterprise', '1 day', '4 hours', '1 day');
SELECT test.op(miosa_rollback('dep_3', 'ver_3', 'key-11')), test.kept('key-11');
-- a place that VACUUM has cut off the table
INSERT INTO miosa.tenants (id, slug) SELECT 'old_' || i, 'old-' || i FROM generate_series(1, 1000) i;
UPDATE miosa.tenants SET plan = 'free' WHERE id = 'ten_1';
SELECT test.op(miosa_rollback('dep_3', 'ver_1', 'key-12')), test.kept('key-12');
INSERT INTO miosa.tenants (id, slug) SELECT 'new_' || i, 'new-' || i FROM generate_series(1, 1000) i;
DELETE FROM miosa.tenants WHERE id LIKE 'old%';
VACUUM miosa.tenants;
DO $$
BEGIN
	FOR i IN 1 .. 2000 LOOP
		UPDATE miosa.tenants SET plan = 'pro' WHERE id = 'ten_1';
		EXIT WHEN (SELECT t.ctid < '(3,0)' FROM miosa.tenants t WHERE t.id = 'ten_1');
	END LOOP;
END $$;
DELETE FROM miosa.tenants WHERE id LIKE 'new%';
VACUUM miosa.tenants;
SELECT test.op(miosa_rollback('dep_3', 'ver_3', 'key-13')), test.kept('key-13');

\i :cleanup
