-- Every condition: SQLSTATE, message, DETAIL and HINT; a refusal changes
-- nothing and uses up no key.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

SELECT test.history('dep_1', 4);
SELECT test.history('dep_2', 2);
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state)
	SELECT 'dep_1', 'ver_' || s, 'ten_1', 10 + n, s
	FROM unnest(ARRAY['created', 'building', 'failed', 'archived']) WITH ORDINALITY u (s, n);
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('dep_2', 'ver_other', 'ten_1', 3, 'ready');
SELECT test.digest() AS before \gset

-- INVALID_ARGUMENT: deployment ids
SELECT test.refusal($$SELECT miosa_rollback(NULL)$$);
SELECT test.refusal($$SELECT miosa_rollback('')$$);
SELECT test.refusal($$SELECT miosa_rollback(repeat('d', 256), 'ver_1')$$);
SELECT test.refusal($$SELECT miosa_rollback('dep 1', 'ver_1')$$);
SELECT test.code(format('SELECT miosa_rollback(%L, ''ver_1'')', id))
FROM unnest(ARRAY[' ', 'dep/1', 'dep_1 ', E'dep_1\n', E'\tdep_1', E'dep\x01', E'dep\x7f', 'dep#1', 'dep%1', 'dep\1', 'dep''1', 'dep"1',
	'dep;DROP', 'dép', '../dep_1', 'dep,1', 'dep+1', 'dep@1', 'dep*', 'dep?', '{dep}', '%s%n', repeat('x', 100000)]) id;

-- version ids and expected_active
SELECT test.refusal($$SELECT miosa_rollback('dep_1', '')$$);
SELECT test.refusal($$SELECT miosa_rollback('dep_1', repeat('v', 256))$$);
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver/1')$$);
SELECT test.refusal($$SELECT miosa_rollback('dep_1', E'ver\n1')$$);
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', expected_active => '')$$);
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', expected_active => 'a b')$$);
SELECT test.refusal($$SELECT miosa_plan('dep 1')$$);
SELECT test.refusal($$SELECT miosa_plan(NULL)$$);
SELECT test.refusal($$SELECT miosa_plan('dep_1', '')$$);

-- keys
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', '')$$);
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', '""')$$);
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', repeat('k', 256))$$);
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', E'a\nb')$$);
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', E'a\x7f')$$);
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', 'clé')$$);

-- options
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', cutover => 'later')$$);
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', cutover => '')$$);
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', attribution => '[1]')$$);
SELECT test.code(format($$SELECT miosa_rollback('dep_1', 'ver_1', attribution => %L)$$, a))
FROM unnest(ARRAY['null', '"x"', '1', 'true', '[]', '[{}]']) a;
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', attribution => jsonb_build_object('a', repeat('x', 16384)))$$);
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', reason => repeat('r', 4097))$$);

-- Promise: nothing of the above was written, not even a sequence number.
SELECT test.digest() = :'before';
SELECT test.count('dep_1');

-- DEPLOYMENT_NOT_FOUND
SELECT test.refusal($$SELECT miosa_rollback('dep_9', 'ver_1', 'key-1')$$);
SELECT test.refusal($$SELECT miosa_rollback('DEP_1')$$);
SELECT test.refusal($$SELECT miosa_plan('dep_9')$$);

-- VERSION_NOT_FOUND, also for another deployment's version
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_9', 'key-1')$$);
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_other', 'key-1')$$);

-- VERSION_NOT_READY: each state that is not ready
SELECT test.refusal(format($$SELECT miosa_rollback('dep_1', %L, 'key-1')$$, id))
FROM miosa.versions WHERE deployment_id = 'dep_1' AND state <> 'ready' ORDER BY version_number;

-- VERSION_IN_USE
SELECT test.refusal($$UPDATE miosa.versions SET state = 'archived' WHERE deployment_id = 'dep_1' AND id = 'ver_4'$$);
SELECT test.refusal($$UPDATE miosa.releases SET collected_at = now() WHERE deployment_id = 'dep_1' AND id = 'rel_4'$$);

-- ACTIVE_VERSION_CHANGED
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', 'key-1', expected_active => 'ver_3')$$);
SELECT test.code($$SELECT miosa_rollback('dep_1', NULL, 'key-1', expected_active => 'ver_9')$$);

-- More about NO_PREVIOUS_VERSION and ROLLBACK_REPEATED is in target_choice, about
-- IDEMPOTENCY_PAYLOAD_MISMATCH in idempotency_keys, and about DEPLOYMENT_BUSY in
-- the spec lock_wait.

-- Promise: all of these left the rows alone and the key free.
SELECT test.digest() = :'before';
SELECT test.op(miosa_rollback('dep_1', 'ver_3', 'key-1', expected_active => 'ver_4'));

-- ARTIFACT_GONE by our own record: when, by whom, and the call that works
UPDATE miosa.releases SET collected_at = '2026-02-03 04:05:06+00', collected_by = 'collector' WHERE deployment_id = 'dep_1' AND id = 'rel_2';
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_2', 'key-2')$$);
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_2', 'key-2', accept_unverified => true)$$);
SELECT substring(test.refusal($$SELECT miosa_rollback('dep_1', 'ver_2', 'key-2')$$) FROM 'SELECT (.*);') AS pasted \gset
\echo :pasted
SELECT test.op(:pasted);
-- it is never the version that was just rolled back from
SELECT test.op(miosa_rollback('dep_1', 'ver_3'));
UPDATE miosa.releases SET collected_at = now(), collected_by = 'collector' WHERE deployment_id = 'dep_1' AND id = 'rel_1';
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', 'key-3')$$);
-- a promotion meets the same
SELECT test.refusal($$SELECT miosa_promote('dep_1', 'ver_2', 'key-3')$$);

-- MIGRATION_INCOMPATIBLE: warned of and marked, or refused, by setting
SELECT test.history('dep_4', 3);
UPDATE miosa.versions SET metadata = '{"migration_compatibility": "incompatible"}' WHERE deployment_id = 'dep_4' AND id = 'ver_3';
SET miosa_rollback.on_incompatible = 'refuse';
SELECT test.refusal($$SELECT miosa_rollback('dep_4', 'ver_2', 'key-1')$$);
SELECT test.refusal($$SELECT miosa_rollback('dep_4', NULL, 'key-1')$$);
SELECT test.count('dep_4');
SET miosa_rollback.on_incompatible = 'warn';
SELECT test.op(miosa_rollback('dep_4', 'ver_2', 'key-1'));
-- the replay does not warn again; going forward is no danger
SELECT test.op(miosa_rollback('dep_4', 'ver_2', 'key-1'));
SET miosa_rollback.on_incompatible = 'refuse';
SELECT test.op(miosa_promote('dep_4', 'ver_3'));
-- the mark may be on the release
UPDATE miosa.versions SET metadata = '{"migration_compatibility": "compatible"}' WHERE deployment_id = 'dep_4' AND id = 'ver_3';
UPDATE miosa.releases SET metadata = '{"migration_compatibility": "incompatible"}' WHERE deployment_id = 'dep_4' AND id = 'rel_3';
SELECT test.code($$SELECT miosa_rollback('dep_4', 'ver_1')$$);
-- other words and other types are no mark
UPDATE miosa.versions SET metadata = '{"migration_compatibility": {"incompatible": true}}' WHERE deployment_id = 'dep_4' AND id = 'ver_3';
UPDATE miosa.releases SET metadata = '{"migration_compatibility": "INCOMPATIBLE"}' WHERE deployment_id = 'dep_4' AND id = 'rel_3';
SELECT test.op(miosa_rollback('dep_4', 'ver_1'));
RESET miosa_rollback.on_incompatible;
SELECT seq, target_version_id, marks FROM miosa.audit_events WHERE deployment_id = 'dep_4' AND seq > 3 ORDER BY seq;

-- STORAGE_UNAVAILABLE: storage that cannot be asked is no proof of anything.
-- Port 1 of this machine is not even tried, because of the outbound policy.
SELECT test.history('dep_5', 1);
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('dep_5', 'ver_2', 'ten_1', 2, 'ready');
INSERT INTO miosa.releases (deployment_id, id, deployment_version_id, tenant_id, storage_uri) VALUES ('dep_5', 'rel_2', 'ver_2', 'ten_1', 'http://127.0.0.1:1/dist.tar.zst');
SELECT regexp_replace(test.refusal($$SELECT miosa_rollback('dep_5', 'ver_2', 'key-1')$$), 'DETAIL: [^\n]*', 'DETAIL: ...');
SELECT test.count('dep_5');
-- the HINT's call works, and the event says that it was accepted
SELECT substring(test.refusal($$SELECT miosa_rollback('dep_5', 'ver_2', 'key-1')$$) FROM 'SELECT (.*);') AS pasted \gset
\echo :pasted
SET client_min_messages = error;
SELECT test.op(:pasted);
RESET client_min_messages;
SELECT seq, marks FROM miosa.audit_events WHERE deployment_id = 'dep_5' ORDER BY seq;
-- for a promotion the call is a promotion
SELECT test.op(miosa_rollback('dep_5', 'ver_1'));
SELECT substring(test.refusal($$SELECT miosa_promote('dep_5', 'ver_2')$$) FROM 'SELECT .*;');
-- a default target is not passed over in silence
SET client_min_messages = error;
SELECT test.op(miosa_promote('dep_5', 'ver_2', accept_unverified => true));
RESET client_min_messages;
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('dep_5', 'ver_3', 'ten_1', 3, 'ready');
SELECT test.op(miosa_promote('dep_5', 'ver_3'));
SELECT test.code($$SELECT miosa_rollback('dep_5', NULL, 'key-2')$$);
-- verified not long ago: a warning and a mark; longer ago: refused
UPDATE miosa.releases SET verified_at = now() - interval '2 hours' WHERE deployment_id = 'dep_5' AND id = 'rel_2';
SET client_min_messages = error;
SELECT test.op(miosa_rollback('dep_5', NULL, 'key-2'));
RESET client_min_messages;
SELECT seq, marks FROM miosa.audit_events WHERE deployment_id = 'dep_5' AND seq > 5 ORDER BY seq;
SELECT test.op(miosa_promote('dep_5', 'ver_3'));
UPDATE miosa.releases SET verified_at = now() - interval '25 hours' WHERE deployment_id = 'dep_5' AND id = 'rel_2';
SELECT test.code($$SELECT miosa_rollback('dep_5', NULL, 'key-3')$$);
-- what is active already is not asked for
UPDATE miosa.releases SET verified_at = now() WHERE deployment_id = 'dep_5' AND id = 'rel_2';
SELECT test.op(miosa_rollback('dep_5', 'ver_2'));
UPDATE miosa.releases SET verified_at = NULL WHERE deployment_id = 'dep_5' AND id = 'rel_2';
SELECT test.op(miosa_rollback('dep_5', 'ver_2'));

-- HELD, FROZEN, VERSION_BAD: a promotion is refused, uses up no key, and goes
-- through by the call that the HINT proposes
SELECT test.history('dep_' || i, 3) FROM generate_series(6, 9) i;
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) SELECT 'dep_' || i, 'ver_4', 'ten_1', 4, 'ready' FROM generate_series(6, 9) i;
CREATE FUNCTION test.pasted(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result jsonb;
BEGIN
	EXECUTE substring(test.refusal(call) FROM 'SELECT .*;') INTO result;
	RETURN concat_ws(', key ', test.op(result), (SELECT a.idempotency_key FROM miosa.audit_events a
		WHERE a.deployment_id || '#' || a.seq = result #>> '{operation,id}'));
END $$;
SELECT test.op(miosa_hold('dep_6', 'INC-6'));
SELECT test.op(miosa_mark_bad('dep_8', 'ver_4', 'errors'));
SELECT miosa_put_freeze('gala', now() + '1 day', selector => '{"ids": ["dep_7"]}') ->> 'x';
SELECT test.digest() AS before \gset
SELECT replace(test.refusal($$SELECT miosa_promote('dep_6', 'ver_4', 'key-1', automatic => true)$$), current_user, '<role>');
SELECT test.refusal($$SELECT miosa_promote('dep_7', 'ver_4', 'key-1', reason => 'INC-7')$$);
SELECT replace(test.refusal($$SELECT miosa_promote('dep_8', 'ver_4', 'key-1')$$), current_user, '<role>');
-- NO_PREVIOUS_VERSION
SELECT test.refusal($$SELECT miosa_rollback('dep_9', served_at => '2001-01-01 00:00:00+00', idempotency_key => 'key-1')$$);
SELECT test.digest() = :'before';
SET client_min_messages = error;
SELECT test.pasted($$SELECT miosa_promote('dep_6', 'ver_4', 'key-1', automatic => true)$$);
SELECT test.pasted($$SELECT miosa_promote('dep_7', 'ver_4', 'key-1', reason => 'INC-7')$$);
SELECT test.pasted($$SELECT miosa_promote('dep_8', 'ver_4', 'key-1')$$);
RESET client_min_messages;
-- ROLLBACK_REPEATED and IDEMPOTENCY_PAYLOAD_MISMATCH
SELECT test.op(miosa_rollback('dep_9'));
SELECT test.refusal($$SELECT miosa_rollback('dep_9')$$);
SELECT test.refusal($$SELECT miosa_promote('dep_6', 'ver_3', 'key-1')$$);
-- DEPLOYMENT_BUSY, here by a prepared transaction
SET miosa_rollback.lock_wait = '10 ms';
BEGIN;
SELECT id FROM miosa.deployments WHERE id = 'dep_9' FOR UPDATE;
PREPARE TRANSACTION 'miosa_conditions';
SELECT regexp_replace(test.refusal($$SELECT miosa_rollback('dep_9', 'ver_1', 'key-1')$$), ' for [0-9.]+ s', ' for <time>');
ROLLBACK PREPARED 'miosa_conditions';
RESET miosa_rollback.lock_wait;
SELECT test.op(miosa_rollback('dep_9', 'ver_1', 'key-1'));

-- Promise: the functions in PL/pgSQL raise the same conditions by name, and no
-- name that there is none of.
SELECT test.refusal($$SELECT miosa.raise_condition('FORBIDDEN', 'no', 'You may look.', 'Ask.')$$);
SELECT test.refusal($$SELECT miosa.raise_condition('NOT_PRIMARY', 'no', NULL, NULL)$$);
SELECT test.refusal($$SELECT miosa.raise_condition('NONSENSE', 'no', NULL, NULL)$$);
SELECT test.refusal($$SELECT miosa.raise_condition(NULL, NULL, NULL, NULL)$$);
SELECT miosa.check_id('dep_1', 'thing');
SELECT test.refusal($$SELECT miosa.check_id('a b', 'thing')$$);
SELECT test.refusal($$SELECT miosa.check_id(NULL, NULL)$$);

-- Promise: limits of settings.
-- (PostgreSQL 16 and older write the range in other words)
SELECT test.code(format('SET miosa_rollback.lock_wait = %L', value)) ~ '^22023 \d+ ms is outside the valid range for parameter "miosa_rollback.lock_wait" \(1 (ms )?\.\. 60000( ms)?\)$' AS refused
FROM unnest(ARRAY['0', '2 min']) value;
SET miosa_rollback.nonsense = 1;
SET miosa_rollback.on_incompatible = 'maybe';
SELECT test.refusal($$SELECT set_config('miosa_rollback.actor', 'user:' || repeat('x', 508), false) <> ''$$) LIKE '22023 %DETAIL: The actor has 513 bytes; the maximum is 512.%';

\i :cleanup
