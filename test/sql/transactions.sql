-- Operations inside larger transactions.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

SELECT test.history('dep_1', 3);

-- Promise: what is rolled back leaves nothing: no pointer, no event, no key,
-- no queued route, and no gap in seq.
SELECT test.digest() AS before \gset
BEGIN;
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'key-1'));
ROLLBACK;
SELECT test.digest() = :'before';
BEGIN;
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'key-1'));
SAVEPOINT a;
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'key-2'));
SAVEPOINT b;
SELECT test.op(miosa_promote('dep_1', 'ver_3', 'key-3'));
ROLLBACK TO b;
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'key-2'));
ROLLBACK TO a;
SELECT miosa_rollback('dep_1', 'ver_99', 'key-2');
ROLLBACK TO a;
SELECT test.op(miosa_rollback('dep_1', 'ver_3', 'key-2'));
RELEASE a;
SELECT o.kind, count(*) FROM miosa.outbox o WHERE o.xid = pg_current_xact_id() GROUP BY o.kind;
COMMIT;
SELECT test.count('dep_1');
SELECT seq, idempotency_key, target_version_id FROM miosa.audit_events WHERE deployment_id = 'dep_1' ORDER BY seq;

-- Promise: works in a DO block and beside the caller's own writes.
CREATE TABLE test.tickets (id integer, operation text);
DO $$
DECLARE
	answer jsonb;
BEGIN
	answer := miosa_rollback('dep_1', 'ver_1', 'key-4');
	INSERT INTO test.tickets VALUES (1, answer #>> '{operation,id}');
END $$;
TABLE test.tickets;

-- Promise: a PL/pgSQL handler can catch every condition by its SQLSTATE, and
-- what was done before it in the block is undone.
DO $$
DECLARE
	detail text;
BEGIN
	PERFORM miosa_rollback('dep_1', 'ver_2', 'key-5');
	INSERT INTO test.tickets VALUES (2, 'never');
	PERFORM miosa_rollback('dep_1', 'ver_99', 'key-6');
EXCEPTION WHEN SQLSTATE 'MR44V' THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RAISE NOTICE 'caught: % (%)', SQLERRM, detail;
	PERFORM miosa_rollback('dep_1', 'ver_3', 'key-5');
END $$;
SELECT test.count('dep_1');
TABLE test.tickets;

-- Promise: one statement can roll many deployments back.
SELECT test.history('many_' || i, 2) FROM generate_series(1, 5) i;
SELECT d.id, miosa_rollback(d.id, NULL, 'all-1') #>> '{operation,target_version_id}'
FROM (SELECT id FROM miosa.deployments WHERE id LIKE 'many%' ORDER BY id) d;
SELECT count(DISTINCT test.count(id)), min(test.count(id)) FROM miosa.deployments WHERE id LIKE 'many%';
-- and one function can move one deployment many times
SELECT test.op(miosa_rollback('many_1', 'ver_' || 1 + i % 2)) FROM generate_series(1, 4) i;
SELECT test.count('many_1');

-- Promise: prepared statements, also after their plan has become generic and
-- after the tables were changed by an ALTER.
PREPARE back (text, text, text) AS SELECT test.op(miosa_rollback($1, $2, $3));
EXECUTE back('dep_1', 'ver_1', 'p-1');
EXECUTE back('dep_1', 'ver_2', 'p-2');
EXECUTE back('dep_1', 'ver_2', 'p-2');
EXECUTE back('dep_1', NULL, 'p-3');
EXECUTE back('dep_1', 'ver_3', NULL);
EXECUTE back('dep_1', 'ver_1', 'p-6');
EXECUTE back('dep_1', 'ver_2', 'p-7');
ALTER TABLE miosa.idempotency_keys SET (fillfactor = 90);
ALTER TABLE miosa.deployments ADD COLUMN note text;
EXECUTE back('dep_1', 'ver_1', 'p-8');
ALTER TABLE miosa.deployments DROP COLUMN note;
EXECUTE back('dep_1', 'ver_2', 'p-9');
DISCARD ALL;
SET miosa_rollback.hold_after_rollback = off;
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'p-10'));

-- Promise: a cursor, a materialised CTE, a trigger of the user's own.
BEGIN;
DECLARE c CURSOR FOR SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'c-1'));
FETCH ALL FROM c;
CLOSE c;
COMMIT;
WITH moved AS MATERIALIZED (SELECT miosa_rollback('dep_1', 'ver_1', 'c-2') AS answer)
SELECT test.op(answer) FROM moved;
CREATE TABLE test.incidents (deployment text, good text);
CREATE FUNCTION test.incident() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM miosa_rollback(NEW.deployment, NEW.good, 'incident');
	RETURN NEW;
END $$;
CREATE TRIGGER incident AFTER INSERT ON test.incidents FOR EACH ROW EXECUTE FUNCTION test.incident();
INSERT INTO test.incidents VALUES ('dep_1', 'ver_2');
SELECT test.count('dep_1');

-- Promise: the stricter levels, when nobody else is there.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT test.op(miosa_rollback('dep_1', 'ver_3', 'rr-1'));
SELECT test.op(miosa_rollback('dep_1', NULL, 'rr-2'));
SELECT test.op(miosa_rollback('dep_1', NULL, 'rr-2'));
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT test.op(miosa_promote('dep_1', 'ver_3', 's-1'));
SAVEPOINT a;
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 's-2'));
ROLLBACK TO a;
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 's-2'));
COMMIT;
SELECT test.count('dep_1');

-- Promise: search_path, role and settings of the caller are neither used nor
-- changed: what looks like ours in pg_temp is not called.
CREATE FUNCTION pg_temp.jsonb_build_object(VARIADIC "any") RETURNS jsonb LANGUAGE internal IMMUTABLE AS 'jsonb_build_object_noargs';
CREATE TEMP TABLE deployments AS SELECT 'evil' AS id;
SET search_path = pg_temp, miosa, public;
SET lock_timeout = '7s';
SELECT public.miosa_rollback('dep_1', 'ver_1') -> 'operation' ->> 'target_version_id';
SHOW search_path;
SHOW lock_timeout;
RESET search_path;
RESET lock_timeout;
SELECT test.op(miosa_rollback('dep_1', 'ver_2'));

-- Promise: a transaction that is prepared and committed later counts when it
-- is committed.
BEGIN;
SELECT test.op(miosa_rollback('dep_1', 'ver_1', '2pc'));
PREPARE TRANSACTION 'regress_miosa';
SELECT test.count('dep_1');
-- the error says what is in its way: no process has it
SET miosa_rollback.lock_wait = '50ms';
SELECT regexp_replace(split_part(test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1')$$), E'\n', 2), '[0-9.]+ s;', 'N s;');
RESET miosa_rollback.lock_wait;
COMMIT PREPARED 'regress_miosa';
SELECT test.count('dep_1');
-- and so is who waits for a table that such a transaction has locked
BEGIN;
LOCK TABLE miosa.versions IN ACCESS EXCLUSIVE MODE;
PREPARE TRANSACTION 'regress_miosa';
SET miosa_rollback.lock_wait = '50ms';
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1')$$);
RESET miosa_rollback.lock_wait;
ROLLBACK PREPARED 'regress_miosa';

-- Promise: deleted and made again while a session goes on, ids start anew.
SELECT test.deployment('dep_2', 1);
SELECT test.op(miosa_rollback('dep_2', 'ver_1'));
BEGIN;
SET LOCAL session_replication_role = replica;
DELETE FROM miosa.releases WHERE deployment_id = 'dep_2';
DELETE FROM miosa.versions WHERE deployment_id = 'dep_2';
DELETE FROM miosa.deployments WHERE id = 'dep_2';
SELECT miosa_rollback('dep_2', 'ver_1');
ROLLBACK;

\i :cleanup
