-- Refusals have the lines of the function that called us as their CONTEXT, and
-- none of ours, whatever ours are written in.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\set cleanup :abs_srcdir '/cleanup.sql'
\i :fixture
SELECT test.history('dep_1', 2);
SELECT test.deployment('00000000-0000-0000-0000-0000000000d1', 1);
RESET search_path;
CREATE FUNCTION test.inner_one(call text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE call;
END $$;
CREATE FUNCTION test.outer_one(call text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM test.inner_one(call);
END $$;
CREATE PROCEDURE test.outer_procedure() LANGUAGE plpgsql AS $$
BEGIN
	CALL miosa_verify_artifacts(0);
END $$;
-- What a handler sees: the lines below its own.
CREATE FUNCTION test.context(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	context text;
BEGIN
	PERFORM test.outer_one(call);
	RETURN 'not refused';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
	RETURN regexp_replace(context, '(\n[^\n]*){2}$', '');
END $$;
\set ECHO queries
-- in C: an operation, and one with ids of another type
SELECT test.outer_one($$SELECT miosa_rollback('nosuch')$$);
SELECT test.outer_one($$SELECT miosa_rollback('00000000-0000-0000-0000-0000000000d1'::uuid)$$);
-- in PL/pgSQL, refused by a function in C and by one in SQL
SELECT test.outer_one($$SELECT miosa_put_deployment('no id', 'ten_1')$$);
SELECT test.outer_one($$SELECT miosa_put_deployment('dep_9', 'ten_9')$$);
-- of the console
SELECT test.outer_one($$SELECT * FROM miosa.status('nosuch')$$);
SELECT test.outer_one($$SELECT * FROM miosa.rollback('dep_1', 'v99')$$);
-- a procedure
CALL test.outer_procedure();
-- triggers, in PL/pgSQL and in C, and a reference
SELECT test.outer_one($$DELETE FROM miosa.audit_events$$);
SELECT test.outer_one($$UPDATE miosa.deployments SET active_version_id = 'ver_9' WHERE id = 'dep_1'$$);
SELECT test.outer_one($$INSERT INTO miosa.tenants (id, slug, plan) VALUES ('ten_2', 'other', 'nosuch')$$);
-- a lock that a prepared transaction has, seen by an operation, by a function
-- in PL/pgSQL and by a view
BEGIN;
SELECT id FROM miosa.deployments WHERE id = 'dep_1' FOR UPDATE;
PREPARE TRANSACTION 'miosa_context';
SET miosa_rollback.lock_wait = '10 ms';
SELECT test.context($$SELECT miosa_rollback('dep_1')$$);
SELECT test.outer_one($$SELECT miosa_put_deployment('dep_1', 'ten_1', 'Blog')$$);
ROLLBACK PREPARED 'miosa_context';
BEGIN;
LOCK TABLE miosa.deployments;
PREPARE TRANSACTION 'miosa_context';
SELECT test.outer_one($$TABLE miosa.progress$$);
ROLLBACK PREPARED 'miosa_context';
RESET miosa_rollback.lock_wait;
-- what a handler gets is the same
SELECT test.context(call) FROM unnest(ARRAY[
	$$SELECT miosa_rollback('nosuch')$$,
	$$SELECT miosa_put_deployment('no id', 'ten_1')$$,
	$$SELECT * FROM miosa.status('nosuch')$$,
	$$DELETE FROM miosa.audit_events$$]) WITH ORDINALITY u (call, n) ORDER BY n;
-- a trigger of somebody else, fired by a statement of ours: its lines are there
CREATE FUNCTION test.their_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM public.miosa_put_deployment('no id', 'ten_1');
	RETURN NULL;
END $$;
CREATE TRIGGER theirs AFTER INSERT ON miosa.audit_events FOR EACH ROW EXECUTE FUNCTION test.their_trigger();
SELECT line FROM regexp_split_to_table(test.context($$SELECT * FROM miosa.rollback('dep_1')$$), '\n') line WHERE line ~ 'test\.';
DROP TRIGGER theirs ON miosa.audit_events;
-- and after all this a refusal without a function has none
SELECT miosa_rollback('nosuch');
\i :cleanup
