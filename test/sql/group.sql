-- A rollback of many deployments in one statement.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

SELECT test.history(d, 3) FROM unnest(ARRAY['a', 'B', 'c', 'd', 'e', 'f']) d \g /dev/null

-- Promise: there is a row for each deployment, in the order of their ids by
-- bytes, with what became of it.  One that is refused keeps none of the others
-- from being rolled back.
SELECT deployment_id, outcome, condition, message, test.op(response)
	FROM miosa.rollback_group(ARRAY['c', 'a', 'nope', 'B', 'd'], ARRAY['ver_1', NULL, 'ver_1', 'ver_9', 'ver_3']);
-- a refusal has what the error of a single call has
SELECT g.condition, g.message, g.detail, g.hint FROM miosa.rollback_group(ARRAY['B'], ARRAY['ver_9']) g;
SELECT test.refusal($$SELECT miosa_rollback('B', 'ver_9')$$);
SELECT d, test.count(d) FROM unnest(ARRAY['a', 'B', 'c', 'd', 'e']) d;

-- Promise: a target is written as a single call writes it, and answered so.
CREATE FUNCTION test.blotted(string text, dep text) RETURNS text LANGUAGE sql AS $$
	SELECT regexp_replace(regexp_replace(replace(replace(string, dep, 'it'), initcap(dep), 'It'),
		'\d{4}-\d\d-\d\d[T ][\d:.]+(Z|[+-][\d:]+)?', '<time>', 'g'), '\m\d{15}\M', '<time>', 'g') $$;
CREATE FUNCTION test.written(dep text) RETURNS text LANGUAGE sql AS $$
	SELECT test.blotted(concat_ws(E'\n', jsonb_populate_record(d, '{"audit_head": null}')::text,
		(SELECT jsonb_populate_record(a, '{"hash": null}')::text FROM miosa.audit_events a WHERE a.deployment_id = dep ORDER BY a.seq DESC LIMIT 1),
		(SELECT k::text FROM miosa.idempotency_keys k WHERE k.deployment_id = dep ORDER BY k.seq DESC LIMIT 1),
		(SELECT o::text FROM miosa.outbox o WHERE o.deployment_id = dep ORDER BY o.route_seq DESC LIMIT 1)), dep)
	FROM miosa.deployments d WHERE d.id = dep $$;
SELECT test.history(d, 3) FROM unnest(ARRAY['single', 'grouped']) d \g /dev/null
BEGIN;
SET LOCAL datestyle = iso;
SELECT miosa_rollback('single', 'ver_1', 'k', 'why', 'ver_3', '{"ticket": 1}', 'immediate', true) AS single \gset
SELECT response AS grouped FROM miosa.rollback_group(ARRAY['grouped'], ARRAY['ver_1'], ARRAY['"k"'], ARRAY['ver_3'], 'why',
	'{"ticket": 1}', 'immediate', true) \gset
SELECT test.blotted(:'single', 'single') = test.blotted(:'grouped', 'grouped');
SELECT test.written('single') = test.written('grouped');
COMMIT;

-- Promise: each target has its key.  A key that was used returns the stored
-- response; for another request it is refused, and nothing is written for it.
SELECT miosa_rollback('e', 'ver_1', 'k') \g /dev/null
SELECT miosa_rollback('f', 'ver_1', 'k') AS first \gset
SELECT deployment_id, outcome, condition, message, response::text = :'first'
	FROM miosa.rollback_group(ARRAY['e', 'f', 'a'], ARRAY['ver_2', 'ver_1', 'ver_1'], ARRAY['k', 'k', 'k']);
SELECT d, test.count(d) FROM unnest(ARRAY['a', 'e', 'f']) d;
SELECT (SELECT response FROM miosa.rollback_group(ARRAY['c'], ARRAY['ver_2'], ARRAY['k']))::text = miosa_rollback('c', 'ver_2', 'k')::text;
-- of one that has moved since, the response says so
SELECT test.op(miosa_rollback('f', 'ver_2'));
SELECT outcome, response -> 'operation' ->> 'superseded_by'
	FROM miosa.rollback_group(ARRAY['f'], ARRAY['ver_1'], ARRAY['k']);
-- a key that has expired is free
UPDATE miosa.idempotency_keys SET expires_at = now() - interval '1 s' WHERE deployment_id = 'f' AND key = 'k';
SELECT outcome, test.op(response) FROM miosa.rollback_group(ARRAY['f'], ARRAY['ver_1'], ARRAY['k']);
SELECT test.count('f');

-- Promise: replays alone write nothing and take no lock, and work in a
-- read-only transaction.
SELECT test.digest() AS before \gset
BEGIN READ ONLY;
SELECT deployment_id, outcome FROM miosa.rollback_group(ARRAY['f', 'e'], ARRAY['ver_1', 'ver_1'], ARRAY['k', 'k']);
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation::regclass::text LIKE 'miosa.%'
	AND mode NOT IN ('AccessShareLock');
COMMIT;
SELECT test.digest() = :'before';

-- Promise: all or nothing, if asked for; what refuses the first target is raised,
-- also if it is found under the lock, after others were written.
SELECT test.refusal($$SELECT miosa.rollback_group(ARRAY['c', 'a', 'nope'], ARRAY['ver_2', 'ver_2', 'ver_1'], all_or_nothing => true)$$);
SELECT test.digest() = :'before';
CREATE FUNCTION test.mark() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE miosa.versions SET metadata = '{"migration_compatibility": "incompatible"}' WHERE deployment_id = 'd' AND id = 'ver_3';
	RETURN NEW;
END $$;
CREATE TRIGGER mark BEFORE UPDATE ON miosa.deployments FOR EACH ROW WHEN (NEW.id = 'c') EXECUTE FUNCTION test.mark();
SET miosa_rollback.on_incompatible = 'refuse';
SELECT test.refusal($$SELECT miosa.rollback_group(ARRAY['c', 'd'], ARRAY['ver_1', 'ver_2'], all_or_nothing => true)$$);
SELECT test.digest() = :'before';
-- the session goes on after that
SELECT deployment_id, outcome, condition, message, test.op(response)
	FROM miosa.rollback_group(ARRAY['d', 'c'], ARRAY['ver_2', 'ver_1']);
RESET miosa_rollback.on_incompatible;
-- what warns is in the response
SELECT deployment_id, outcome, w ->> 'code', w ->> 'message'
	FROM miosa.rollback_group(ARRAY['d'], ARRAY['ver_2']) CROSS JOIN jsonb_array_elements(response -> 'operation' -> 'warnings') w;
DROP TRIGGER mark ON miosa.deployments;

-- Promise: a deployment that is named twice counts as one target, and has one
-- row; with different arguments it is refused before anything is done.
SELECT test.digest() AS before \gset
SELECT deployment_id, outcome, test.op(response) FROM miosa.rollback_group(ARRAY['a', 'c', 'a'], ARRAY['ver_3', 'ver_3', 'ver_3']);
SELECT test.refusal($$SELECT miosa.rollback_group(ARRAY['a', 'c', 'a'], ARRAY['ver_2', 'ver_2', 'ver_1'])$$);
SELECT test.refusal($$SELECT miosa.rollback_group(ARRAY['a', 'a'], NULL, ARRAY['k', NULL])$$);
-- a quoted key is the bare one, as in an HTTP header
SELECT deployment_id, outcome, test.op(response) FROM miosa.rollback_group(ARRAY['a', 'a'], ARRAY['ver_3', 'ver_3'], ARRAY['twice', '"twice"']);
SELECT test.refusal($$SELECT miosa.rollback_group(ARRAY['a', 'a'], ARRAY['ver_3', 'ver_3'], ARRAY['twice', '"other"'])$$);
SELECT d, test.count(d) FROM unnest(ARRAY['a', 'c']) d;

-- Promise: no array and no element stand for no argument; no deployment gives no
-- row; arguments that are no arguments raise an error.
SELECT count(*) FROM miosa.rollback_group('{}');
SELECT count(*) FROM miosa.rollback_group(NULL);
SELECT count(*) FROM miosa.rollback_group('{}', '{}', '{}', '{}', all_or_nothing => true);
SELECT test.refusal($$SELECT miosa.rollback_group(ARRAY['a', NULL])$$);
SELECT test.refusal($$SELECT miosa.rollback_group(ARRAY['a', 'c'], ARRAY['ver_1'])$$);
SELECT test.refusal($$SELECT miosa.rollback_group(ARRAY['a'], idempotency_keys => ARRAY['k', 'k'])$$);
SELECT test.refusal($$SELECT miosa.rollback_group(ARRAY['a', 'c'], ARRAY['ver_1', 'no id'])$$);
SELECT test.refusal($$SELECT miosa.rollback_group(ARRAY['a'], ARRAY['ver_1'], ARRAY[''])$$);
SELECT test.refusal($$SELECT miosa.rollback_group(ARRAY['a'], cutover => 'now')$$);
-- a rollback a moment ago, without a key and a version
SELECT deployment_id, outcome, condition FROM miosa.rollback_group(ARRAY['a', 'c'], NULL, ARRAY[NULL, 'new']);
-- another version is active
SELECT deployment_id, outcome, condition, message FROM miosa.rollback_group(ARRAY['a', 'c'], ARRAY['ver_1', 'ver_1'], NULL, ARRAY['ver_3', 'ver_9']);

-- Promise: a group is one statement: rows come in batches, each statement trigger
-- fires once and sees all rows, and no row is lost.
SELECT test.deployment('many_' || i, 2) FROM generate_series(1, 250) i \g /dev/null
SELECT count(miosa_promote('many_' || i, 'ver_2')) FROM generate_series(1, 250) i;
CREATE TABLE test.seen (name text, "table" text, n integer);
-- Triggers run as the owner of what the extension made.
GRANT USAGE ON SCHEMA test TO miosa_owner;
GRANT ALL ON test.seen TO miosa_owner;
CREATE FUNCTION test.see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO test.seen SELECT TG_NAME, TG_TABLE_NAME, count(*) FROM rows;
	RETURN NULL;
END $$;
CREATE FUNCTION test.see_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO test.seen VALUES (TG_NAME, TG_TABLE_NAME, 1);
	RETURN NEW;
END $$;
CREATE TRIGGER all_rows AFTER UPDATE ON miosa.deployments REFERENCING NEW TABLE AS rows FOR EACH STATEMENT EXECUTE FUNCTION test.see();
CREATE TRIGGER all_rows AFTER INSERT ON miosa.audit_events REFERENCING NEW TABLE AS rows FOR EACH STATEMENT EXECUTE FUNCTION test.see();
CREATE TRIGGER all_rows AFTER INSERT ON miosa.idempotency_keys REFERENCING NEW TABLE AS rows FOR EACH STATEMENT EXECUTE FUNCTION test.see();
CREATE TRIGGER each_row AFTER INSERT ON miosa.audit_events FOR EACH ROW EXECUTE FUNCTION test.see_row();
SELECT outcome, condition, count(*) FROM miosa.rollback_group((SELECT array_agg('many_' || i) FROM generate_series(1, 251) i),
	array_fill('ver_1'::text, ARRAY[251]), (SELECT array_agg('k' || i) FROM generate_series(1, 251) i)) GROUP BY 1, 2 ORDER BY 1;
SELECT name, "table", count(*), sum(n) FROM test.seen GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*), min(d.seq), max(d.seq), min(active_version_id), max(active_version_id) FROM miosa.deployments d WHERE d.id LIKE 'many%';
SELECT count(*), count(k.key) FROM miosa.audit_events a JOIN miosa.idempotency_keys k ON k.deployment_id = a.deployment_id
	AND k.key = a.idempotency_key AND k.seq = a.seq WHERE a.deployment_id LIKE 'many%' AND k.key = 'k' || substr(k.deployment_id, 6);
SET enable_seqscan = off;
SELECT count(*) FROM generate_series(1, 250) i WHERE EXISTS (SELECT FROM miosa.audit_events a WHERE a.deployment_id = 'many_' || i AND a.seq = 2);
RESET enable_seqscan;
-- a trigger before the rows, a default and a constraint of a user
CREATE TRIGGER before_row BEFORE INSERT ON miosa.audit_events FOR EACH ROW EXECUTE FUNCTION test.see_row();
ALTER TABLE miosa.idempotency_keys ADD COLUMN note text DEFAULT 'kept' CHECK (note <> '');
TRUNCATE test.seen;
SELECT outcome, count(*) FROM miosa.rollback_group((SELECT array_agg('many_' || i) FROM generate_series(1, 250) i),
	array_fill('ver_2'::text, ARRAY[250]), array_fill('again'::text, ARRAY[250])) GROUP BY 1;
SELECT name, "table", count(*), sum(n) FROM test.seen GROUP BY 1, 2 ORDER BY 1, 2;
SELECT note, count(*) FROM miosa.idempotency_keys k WHERE k.key = 'again' GROUP BY 1;
ALTER TABLE miosa.idempotency_keys DROP COLUMN note;
ALTER TABLE miosa.audit_events ADD CONSTRAINT few CHECK (deployment_id <> 'many_77' OR seq < 4);
SELECT test.code($$SELECT miosa.rollback_group(ARRAY['many_76', 'many_77'], ARRAY['ver_1', 'ver_1'])$$);
SELECT test.count('many_76');
ALTER TABLE miosa.audit_events DROP CONSTRAINT few;
DROP TRIGGER before_row ON miosa.audit_events;
DROP TRIGGER each_row ON miosa.audit_events;

-- Promise: a trigger may call for another operation, and may recover from an
-- error of it, while the group goes on.
CREATE FUNCTION test.follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		PERFORM public.miosa_rollback('many_9', 'ver_9');
	EXCEPTION WHEN OTHERS THEN
		RAISE NOTICE '%', SQLERRM;
	END;
	PERFORM public.miosa_rollback('follower', 'ver_1');
	PERFORM outcome FROM miosa.rollback_group(ARRAY['follower', 'many_9'], ARRAY['ver_2', 'ver_1']);
	RETURN NEW;
END $$;
SELECT test.history('follower', 2);
CREATE TRIGGER follow BEFORE UPDATE ON miosa.deployments FOR EACH ROW WHEN (NEW.id = 'many_2' AND NEW.seq = 4) EXECUTE FUNCTION test.follow();
SELECT deployment_id, outcome, test.op(response)
	FROM miosa.rollback_group(ARRAY['many_1', 'many_2', 'many_3'], ARRAY['ver_1', 'ver_1', 'ver_1'], ARRAY['f', 'f', 'f']);
SELECT d, test.count(d) FROM unnest(ARRAY['many_1', 'many_2', 'many_3', 'many_9', 'follower']) d;
DROP TRIGGER follow ON miosa.deployments;

-- Promise: instances are asked for as after a single call.
SELECT test.history('dyn_' || i, 3, 'dynamic') FROM generate_series(1, 2) i \g /dev/null
BEGIN;
SELECT deployment_id, test.op(response) FROM miosa.rollback_group(ARRAY['dyn_2', 'dyn_1', 'a'], ARRAY['ver_1', 'ver_1', 'ver_2']);
SELECT deployment_id, string_agg(kind, ', ' ORDER BY route_seq, kind DESC) FROM miosa.outbox o WHERE o.xid = pg_current_xact_id() GROUP BY 1 ORDER BY 1;
COMMIT;
BEGIN;
SELECT test.op(miosa_rollback('dyn_1', 'ver_2')), test.op(miosa_rollback('dyn_2', 'ver_2'));
SELECT deployment_id, string_agg(kind, ', ' ORDER BY route_seq, kind DESC) FROM miosa.outbox o WHERE o.xid = pg_current_xact_id() GROUP BY 1 ORDER BY 1;
COMMIT;

-- Promise: it is for the extension's own use.
CREATE ROLE test_operator IN ROLE miosa_operator;
SET ROLE test_operator;
SELECT miosa.rollback_group(ARRAY['a']);
RESET ROLE;
DROP ROLE test_operator;

\i :cleanup
