-- The hash chain of audit events: each way to change the trail is found.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

SELECT test.history('dep_1', 3);
SELECT test.history('dep_2', 3, 'dynamic');
SELECT miosa_rollback('dep_1', 'ver_2', 'key-1', E'why: "é\\"', attribution => '{"b": 1.50, "a": "x"}') IS NOT NULL AS ok;
SELECT miosa_rollback('dep_1', idempotency_key => 'key-2') IS NOT NULL AS ok;
UPDATE miosa.deployments SET active_version_id = 'ver_3' WHERE id = 'dep_1';
UPDATE miosa.deployments SET active_version_id = NULL WHERE id = 'dep_2';
SELECT outcome FROM miosa.rollback_group(ARRAY['dep_1', 'dep_2'], ARRAY['ver_1', 'ver_1']) ORDER BY deployment_id;

-- Each event has a hash, whichever way it was made, and the newest one's is the
-- head; it is kept as long as the plan says that the tenant has now.
SELECT d.id, d.seq, count(*), bool_and(length(a.hash) = 32) AS hashed, d.audit_head = (array_agg(a.hash ORDER BY a.seq DESC))[1] AS head,
	bool_and(a.keep_until = a.created_at + '168 hours'::interval) AS kept
	FROM miosa.deployments d JOIN miosa.audit_events a ON a.deployment_id = d.id GROUP BY d.id ORDER BY d.id;
SELECT miosa_audit_verify_all();
-- statements are looked through once, not for each deployment
BEGIN;
SET LOCAL track_functions = 'all';
SELECT miosa_audit_verify_all() #> '{data,verified}' AS verified;
SELECT calls FROM pg_stat_xact_user_functions WHERE schemaname = 'miosa' AND funcname = 'audit_statements_problems';
COMMIT;
SELECT miosa_audit_verify('dep_1') #- '{data,head}';
SELECT miosa_audit_verify('dep_1') #>> '{data,head}' = encode(audit_head, 'hex') AS head FROM miosa.deployments WHERE id = 'dep_1';

-- The description in docs/security.md, in SQL alone.
CREATE FUNCTION test.field(value text) RETURNS bytea LANGUAGE sql AS $$
	SELECT coalesce(int4send(octet_length(convert_to(value, 'UTF8'))) || convert_to(value, 'UTF8'), '\xffffffff') $$;
CREATE FUNCTION test.microseconds(at timestamptz) RETURNS text LANGUAGE sql AS $$
	SELECT (extract(epoch FROM at) * 1000000)::bigint::text $$;
CREATE FUNCTION test.hash(a miosa.audit_events, previous bytea) RETURNS bytea LANGUAGE sql AS $$
	SELECT sha256(test.field('miosa audit event 1') || coalesce(int4send(length(previous)) || previous, '\xffffffff')
		|| test.field(a.deployment_id) || test.field(a.seq::text) || test.field(a.tenant_id) || test.field(a.action)
		|| test.field(a.outcome) || test.field(a.target_rule) || test.field(a.previous_version_id) || test.field(a.target_version_id)
		|| test.field(a.actor_type) || test.field(a.actor_id) || test.field(a.session_user_name) || test.field(a.client_addr::text)
		|| test.field(a.application_name) || test.field(a.idempotency_key) || test.field(a.reason) || test.field(a.attribution::text) || test.field(a.marks::text)
		|| test.field(test.microseconds(a.created_at)) || test.field(test.microseconds(a.keep_until))) $$;
SELECT count(*), bool_and(a.hash = test.hash(a, (SELECT b.hash FROM miosa.audit_events b WHERE b.deployment_id = a.deployment_id AND b.seq = a.seq - 1))) AS same
	FROM miosa.audit_events a;
-- Also of rows that no operation writes.
SELECT bool_and(test.hash(a, p) = miosa.audit_hash(a, p)) AS same FROM (VALUES (NULL::bytea), ('\x00')) v (p),
	jsonb_populate_recordset(NULL::miosa.audit_events, '[{}, {"reason": "", "client_addr": "10.0.0.1"}, {"client_addr": "10.0.0.1/24", "seq": -5},
		{"client_addr": "::1", "created_at": "1969-12-31 23:59:59.999999+00", "marks": [1.0, 1e5, null, "\"\\\n"]},
		{"keep_until": "2199-01-01"}]') a;
-- No two rows have the same encoding, and every column is in it.
SELECT count(DISTINCT miosa.audit_hash(a, p)) FROM (VALUES (NULL::bytea), (''), ('\x00')) v (p),
	jsonb_populate_recordset(NULL::miosa.audit_events, '[{}, {"actor_id": ""}, {"actor_id": "ab", "session_user_name": "c"}, {"actor_id": "a", "session_user_name": "bc"}]') a;
SELECT a.attname FROM pg_attribute a
	CROSS JOIN jsonb_populate_record(NULL::miosa.audit_events, jsonb_build_object(a.attname,
		CASE a.atttypid::regtype::text WHEN 'bigint' THEN '7' WHEN 'inet' THEN '10.0.0.1' WHEN 'jsonb' THEN '{}' WHEN 'timestamp with time zone' THEN '2026-01-01'
			WHEN 'bytea' THEN '\x01' ELSE 'x' END)) changed
	WHERE a.attrelid = 'miosa.audit_events'::regclass AND a.attnum > 0 AND NOT a.attisdropped
		AND miosa.audit_hash(changed, NULL) = miosa.audit_hash(jsonb_populate_record(NULL::miosa.audit_events, '{}'), NULL);

-- Attacks of a superuser who disables the triggers.
CREATE FUNCTION test.problems() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', p ->> 'deployment_id', p ->> 'seq', p ->> 'problem') FROM jsonb_array_elements(miosa_audit_verify_all() #> '{data,problems}') p
	-- The dispatcher may have made a statement meanwhile.
	WHERE p ->> 'problem' NOT LIKE '%was given%' $$;
CREATE TABLE test.kept AS SELECT deployment_id, seq, encode(hash, 'hex') AS hash FROM miosa.audit_events;
ALTER TABLE miosa.audit_events DISABLE TRIGGER ALL;
ALTER TABLE miosa.deployments DISABLE TRIGGER ALL;
-- Attack 4: edit
BEGIN;
UPDATE miosa.audit_events SET actor_id = 'somebody else' WHERE deployment_id = 'dep_1' AND seq = 3;
SELECT * FROM test.problems();
-- with a hash that fits
UPDATE miosa.audit_events a SET hash = miosa.audit_hash(a, (SELECT b.hash FROM miosa.audit_events b WHERE b.deployment_id = 'dep_1' AND b.seq = 2))
	WHERE deployment_id = 'dep_1' AND seq = 3;
SELECT * FROM test.problems();
ROLLBACK;
BEGIN;
UPDATE miosa.audit_events a SET hash = NULL WHERE deployment_id = 'dep_1' AND seq = 3;
SELECT * FROM test.problems();
ROLLBACK;
-- Attack 4: delete
BEGIN;
DELETE FROM miosa.audit_events WHERE deployment_id = 'dep_1' AND seq = 3;
SELECT * FROM test.problems();
ROLLBACK;
BEGIN;
DELETE FROM miosa.audit_events WHERE deployment_id = 'dep_1' AND seq < 3;
SELECT * FROM test.problems();
ROLLBACK;
-- Attack 4: insert
BEGIN;
INSERT INTO miosa.audit_events SELECT (jsonb_populate_record(a, '{"seq": 8}')).* FROM miosa.audit_events a WHERE deployment_id = 'dep_1' AND seq = 6;
SELECT * FROM test.problems();
INSERT INTO miosa.audit_events SELECT (jsonb_populate_record(a, '{"deployment_id": "dep_3", "seq": 1}')).* FROM miosa.audit_events a WHERE deployment_id = 'dep_1' AND seq = 1;
SELECT * FROM test.problems();
ROLLBACK;
-- Attack 4: swap
BEGIN;
UPDATE miosa.audit_events SET seq = 100 WHERE deployment_id = 'dep_1' AND seq = 2;
UPDATE miosa.audit_events SET seq = 2 WHERE deployment_id = 'dep_1' AND seq = 3;
UPDATE miosa.audit_events SET seq = 3 WHERE deployment_id = 'dep_1' AND seq = 100;
SELECT * FROM test.problems();
ROLLBACK;
-- Attack 4: cut tail
BEGIN;
DELETE FROM miosa.audit_events WHERE deployment_id = 'dep_1' AND seq >= 6;
SELECT * FROM test.problems();
-- with a head that fits: only what was kept outside shows it
UPDATE miosa.deployments d SET seq = 5, audit_head = (SELECT a.hash FROM miosa.audit_events a WHERE a.deployment_id = d.id AND a.seq = 5) WHERE id = 'dep_1';
SELECT * FROM test.problems();
SELECT k.seq, v #>> '{data,verified}' AS verified, v #>> '{data,problems,0,problem}' AS problem
	FROM test.kept k, miosa_audit_verify('dep_1', k.seq, k.hash) v WHERE k.deployment_id = 'dep_1' ORDER BY 1;
-- and written anew: the same
SELECT miosa_rollback('dep_1', 'ver_2') IS NOT NULL AS ok, miosa_rollback('dep_1', 'ver_3') IS NOT NULL AS ok;
SELECT * FROM test.problems();
SELECT k.seq, v #>> '{data,verified}' AS verified, v #>> '{data,problems,0,problem}' AS problem
	FROM test.kept k, miosa_audit_verify('dep_1', k.seq, k.hash) v WHERE k.deployment_id = 'dep_1' AND k.seq > 4 ORDER BY 1;
ROLLBACK;
-- All of it, and the deployment
BEGIN;
DELETE FROM miosa.audit_events WHERE deployment_id = 'dep_1';
SELECT * FROM test.problems();
SET LOCAL session_replication_role = replica;
DELETE FROM miosa.releases WHERE deployment_id = 'dep_1';
DELETE FROM miosa.versions WHERE deployment_id = 'dep_1';
DELETE FROM miosa.deployments WHERE id = 'dep_1';
SELECT * FROM test.problems();
SELECT test.refusal(format('SELECT miosa_audit_verify(%L, %s, %L)', k.deployment_id, k.seq, 'hash')) FROM test.kept k WHERE k.deployment_id = 'dep_1' AND k.seq = 6;
SELECT test.code(format('SELECT miosa_audit_verify(%L, %s, %L)', k.deployment_id, k.seq, k.hash)) FROM test.kept k WHERE k.deployment_id = 'dep_1' AND k.seq = 6;
ROLLBACK;
ALTER TABLE miosa.audit_events ENABLE TRIGGER ALL;
ALTER TABLE miosa.audit_events ENABLE ALWAYS TRIGGER audit_events_keep;
ALTER TABLE miosa.audit_events ENABLE ALWAYS TRIGGER audit_events_truncate;
ALTER TABLE miosa.deployments ENABLE TRIGGER ALL;
ALTER TABLE miosa.deployments ENABLE ALWAYS TRIGGER deployments_close;
SELECT * FROM test.problems();

-- The head is nobody's to write.
SELECT test.refusal($$UPDATE miosa.deployments SET audit_head = NULL WHERE id = 'dep_1'$$);

-- A deleted deployment leaves its head, and one of its id goes on from there.
BEGIN;
UPDATE miosa.deployments SET active_version_id = NULL WHERE id = 'dep_1';
DELETE FROM miosa.releases WHERE deployment_id = 'dep_1';
DELETE FROM miosa.versions WHERE deployment_id = 'dep_1';
DELETE FROM miosa.deployments WHERE id = 'dep_1';
SELECT * FROM test.problems();
SELECT miosa_audit_verify('dep_1') #- '{data,head}';
SAVEPOINT s;
SET LOCAL session_replication_role = replica;
ALTER TABLE miosa.audit_events DISABLE TRIGGER audit_events_keep;
DELETE FROM miosa.audit_events WHERE deployment_id = 'dep_1' AND seq = 8;
SELECT * FROM test.problems();
ROLLBACK TO s;
SELECT test.history('dep_1', 2);
SELECT seq FROM miosa.deployments WHERE id = 'dep_1';
SELECT * FROM test.problems();
ROLLBACK;

-- Retention is fixed in the event: neither another plan nor another tenant makes
-- it shorter later.
CREATE FUNCTION test.event(dep text, kept interval) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	e miosa.audit_events := (SELECT a FROM miosa.audit_events a WHERE a.deployment_id = dep ORDER BY a.seq DESC LIMIT 1);
	previous bytea := e.hash;
BEGIN
	e.deployment_id := dep; e.tenant_id := 'ten_1'; e.seq := coalesce(e.seq, 0) + 1; e.action := 'deployment.rollback'; e.outcome := 'changed';
	e.target_rule := 'named'; e.actor_type := 'user'; e.actor_id := 'u'; e.session_user_name := 'u'; e.attribution := '{}'; e.marks := '{}';
	e.created_at := now() - '10 days'::interval + e.seq * '1 s'::interval; e.keep_until := now() + kept; e.hash := miosa.audit_hash(e, previous);
	INSERT INTO miosa.audit_events SELECT (e).*;
	ALTER TABLE miosa.deployments DISABLE TRIGGER deployments_pointer;
	UPDATE miosa.deployments SET seq = e.seq, audit_head = e.hash WHERE id = dep;
	ALTER TABLE miosa.deployments ENABLE TRIGGER deployments_pointer;
END $$;
SELECT test.deployment('dep_3', 1);
-- The fourth was written under a plan that kept it for longer.
SELECT count(test.event('dep_3', k)) FROM unnest('{-3 d,-2 d,-1 d,5 d,-1 d,5 d}'::interval[]) WITH ORDINALITY u (k, n);
SELECT * FROM test.problems();
UPDATE miosa.plans SET audit_retention = '1 s' WHERE name = 'free';
SELECT removed FROM miosa_purge_expired(2) WHERE what = 'audit_events';
SELECT seq, hash IS NOT NULL AS hashed FROM miosa.audit_checkpoints WHERE deployment_id = 'dep_3';
SELECT * FROM test.problems();
SELECT removed FROM miosa_purge_expired() WHERE what = 'audit_events';
SELECT removed FROM miosa_purge_expired() WHERE what = 'audit_events';
SELECT seq, hash IS NOT NULL AS hashed FROM miosa.audit_checkpoints WHERE deployment_id = 'dep_3';
SELECT seq FROM miosa.audit_events WHERE deployment_id = 'dep_3' ORDER BY seq;
SELECT * FROM test.problems();
SELECT miosa_audit_verify('dep_3') #- '{data,head}';
-- Nobody else removes events, expired or not, nor moves the checkpoint.
SELECT test.refusal($$DELETE FROM miosa.audit_events WHERE deployment_id = 'dep_3' AND seq = 4$$);
SELECT test.refusal($$DELETE FROM miosa.audit_events WHERE deployment_id = 'dep_3' AND seq = 5$$);
SELECT test.refusal($$UPDATE miosa.audit_events SET keep_until = now() WHERE deployment_id = 'dep_3'$$);
SELECT test.code('TRUNCATE miosa.audit_events');
SELECT test.refusal($$UPDATE miosa.audit_checkpoints SET seq = 4 WHERE deployment_id = 'dep_3'$$);
SELECT test.code($$UPDATE miosa.audit_checkpoints SET seq = 2$$);
SELECT test.code($$UPDATE miosa.audit_checkpoints SET hash = NULL$$);
SELECT test.code($$INSERT INTO miosa.audit_checkpoints (deployment_id, seq) VALUES ('dep_1', 2)$$);
SELECT test.code($$DELETE FROM miosa.audit_checkpoints$$);
SELECT test.code($$TRUNCATE miosa.audit_checkpoints$$);
SET session_replication_role = replica;
SELECT test.code($$DELETE FROM miosa.audit_checkpoints$$);
RESET session_replication_role;
-- What was removed before is no problem, another hash of it is one.
SELECT miosa_audit_verify('dep_3', 2, repeat('0', 64)) #> '{data,verified}' AS gone, miosa_audit_verify('dep_3', 3, repeat('0', 64)) #> '{data,problems}' AS other;
-- Attack 4: the checkpoint is moved as well
BEGIN;
SET LOCAL session_replication_role = replica;
ALTER TABLE miosa.audit_events DISABLE TRIGGER ALL;
ALTER TABLE miosa.audit_checkpoints DISABLE TRIGGER ALL;
UPDATE miosa.audit_checkpoints c SET seq = 4, hash = a.hash FROM miosa.audit_events a WHERE a.deployment_id = c.deployment_id AND a.seq = 4;
SELECT * FROM test.problems();
DELETE FROM miosa.audit_events WHERE deployment_id = 'dep_3' AND seq = 4;
SELECT * FROM test.problems();
UPDATE miosa.audit_checkpoints c SET hash = NULL;
SELECT * FROM test.problems();
ROLLBACK;
DELETE FROM miosa.own_plans;

SET miosa_rollback.allow_drop = on;
\i :cleanup
