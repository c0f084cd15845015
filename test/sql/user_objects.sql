-- What users add to the tables that an operation writes: constraints, columns,
-- triggers, indexes. An operation obeys them as any statement does.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

SELECT test.history('dep_1', 3);

-- Promise: a CHECK that a user adds is checked, with the server's own error,
-- and what a function in it does now counts, not what it did when it was first
-- called.
ALTER TABLE miosa.deployments ADD CONSTRAINT no_1 CHECK (active_version_id <> 'ver_1');
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', 'k-1')$$);
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'k-1'));
ALTER TABLE miosa.deployments DROP CONSTRAINT no_1;
CREATE FUNCTION test.allowed(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT $1 <> 'ver_1' $$;
ALTER TABLE miosa.audit_events ADD CONSTRAINT allowed CHECK (test.allowed(target_version_id)) NOT VALID;
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', 'k-2')$$);
SELECT test.op(miosa_rollback('dep_1', 'ver_3', 'k-2'));
CREATE OR REPLACE FUNCTION test.allowed(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT $1 <> 'ver_2' $$;
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_2', 'k-3')$$);
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'k-3'));
ALTER TABLE miosa.audit_events DROP CONSTRAINT allowed;
-- of a domain too
CREATE DOMAIN test.note AS text DEFAULT 'none';
ALTER TABLE miosa.audit_events ADD COLUMN note test.note;
ALTER TABLE miosa.idempotency_keys ADD COLUMN note test.note;
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'k-4'));
ALTER DOMAIN test.note ADD CONSTRAINT short CHECK (length(VALUE) < 4) NOT VALID;
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1')$$);
ALTER TABLE miosa.audit_events ALTER note SET DEFAULT '';
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', 'k-5')$$);
ALTER TABLE miosa.audit_events ALTER note DROP DEFAULT;
ALTER DOMAIN test.note DROP DEFAULT;
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'k-5'));
SELECT a.seq, a.note, k.note FROM miosa.audit_events a LEFT JOIN miosa.idempotency_keys k
	ON k.deployment_id = a.deployment_id AND k.seq = a.seq ORDER BY a.seq DESC LIMIT 2;
ALTER DOMAIN test.note DROP CONSTRAINT short;
ALTER DOMAIN test.note ADD CONSTRAINT known CHECK (VALUE IS NOT NULL) NOT VALID;
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_2')$$);
ALTER TABLE miosa.audit_events DROP COLUMN note;
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_2', 'k-6')$$);
ALTER TABLE miosa.idempotency_keys DROP COLUMN note;

-- Promise: a CHECK of columns that an operation does not write is checked unless
-- every row is known to satisfy it: not if it is not valid, calls a function that
-- may return something else, or a trigger or a generated column changes more.
ALTER TABLE miosa.deployments ADD CONSTRAINT owned CHECK (owner_id IS NOT NULL) NOT VALID;
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_2', 'k-6')$$);
ALTER TABLE miosa.deployments DROP CONSTRAINT owned;
CREATE FUNCTION test.open(text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN RETURN current_setting('test.closed', true) IS DISTINCT FROM $1; END $$;
ALTER TABLE miosa.deployments ADD CONSTRAINT open CHECK (test.open(slug));
SET test.closed = 'dep-1';
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_2', 'k-6')$$);
RESET test.closed;
ALTER TABLE miosa.deployments DROP CONSTRAINT open;
ALTER TABLE miosa.deployments ADD COLUMN next bigint GENERATED ALWAYS AS (seq + 1) STORED,
	ADD CONSTRAINT next CHECK (next < 10);
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_2', 'k-6')$$);
ALTER TABLE miosa.deployments DROP COLUMN next;
ALTER TABLE miosa.deployments ADD CONSTRAINT owner CHECK (owner_id = 'own');
CREATE FUNCTION test.owner() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.owner_id := NEW.active_version_id; RETURN NEW; END $$;
CREATE TRIGGER owner BEFORE UPDATE ON miosa.deployments FOR EACH ROW EXECUTE FUNCTION test.owner();
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_2', 'k-6')$$);
DROP TRIGGER owner ON miosa.deployments;
ALTER TABLE miosa.deployments DROP CONSTRAINT owner;

-- Promise: columns that a user adds get their defaults, an identity counts, and
-- generated ones are computed.
CREATE SEQUENCE test.numbers;
GRANT USAGE ON SEQUENCE test.numbers TO miosa_owner;
SELECT format('ALTER TABLE miosa.%s
	ADD COLUMN plain text,
	ADD COLUMN fixed text DEFAULT ''fixed'',
	ADD COLUMN number bigint DEFAULT nextval(''test.numbers''),
	ADD COLUMN place integer GENERATED ALWAYS AS IDENTITY,
	ADD COLUMN label text GENERATED ALWAYS AS (deployment_id || '':'' || seq) STORED', name)
	FROM unnest('{audit_events,idempotency_keys}'::text[]) name \gexec
ALTER TABLE miosa.deployments
	ADD COLUMN kept text DEFAULT 'kept',
	ADD COLUMN made float DEFAULT random(),
	ADD COLUMN pointer text GENERATED ALWAYS AS (id || '=' || active_version_id) STORED,
	ADD COLUMN fixed text GENERATED ALWAYS AS (id || '!') STORED;
CREATE TEMP TABLE made AS SELECT id, made FROM miosa.deployments;
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'k-7'));
SELECT kept, pointer, fixed FROM miosa.deployments;
UPDATE miosa.deployments SET active_version_id = 'ver_3', kept = 'changed' WHERE id = 'dep_1';
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'k-8'));
SELECT kept, pointer, fixed, made.made = d.made AS same FROM miosa.deployments d JOIN made USING (id);
SELECT seq, plain, fixed, label, place - min(place) OVER () AS place, number - min(number) OVER () AS number
	FROM miosa.audit_events ORDER BY seq DESC LIMIT 3;
SELECT key, plain, fixed, label, place - min(place) OVER () AS place, number - min(number) OVER () AS number
	FROM miosa.idempotency_keys ORDER BY seq DESC LIMIT 2;
SELECT format('ALTER TABLE miosa.%s DROP COLUMN plain, DROP COLUMN fixed, DROP COLUMN number, DROP COLUMN place, DROP COLUMN label',
	name) FROM unnest('{audit_events,idempotency_keys}'::text[]) name \gexec
ALTER TABLE miosa.deployments DROP COLUMN kept, DROP COLUMN made, DROP COLUMN pointer, DROP COLUMN fixed;
DROP TABLE made;
-- and the server rewrites any table for them
DO $$
DECLARE
	name regclass;
BEGIN
	FOR name IN SELECT c.oid FROM pg_class c
		WHERE c.relnamespace = 'miosa'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY c.relname
	LOOP
		BEGIN
			EXECUTE format('ALTER TABLE %s ADD COLUMN test_made float DEFAULT random()', name);
			EXECUTE format('ALTER TABLE %s DROP COLUMN test_made', name);
		EXCEPTION WHEN OTHERS THEN
			RAISE WARNING '%: %', SQLSTATE, SQLERRM;
		END;
	END LOOP;
END $$;
-- not null without a default is an error
ALTER TABLE miosa.idempotency_keys ADD COLUMN must text;
ALTER TABLE miosa.idempotency_keys ADD CONSTRAINT must CHECK (must IS NOT NULL) NOT VALID;
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_2', 'k-9')$$);
ALTER TABLE miosa.idempotency_keys DROP COLUMN must;
ALTER TABLE miosa.idempotency_keys ADD COLUMN must text NOT NULL DEFAULT '';
ALTER TABLE miosa.idempotency_keys ALTER must DROP DEFAULT;
SELECT test.code($$SELECT miosa_rollback('dep_1', 'ver_2', 'k-9')$$);
ALTER TABLE miosa.idempotency_keys DROP COLUMN must;
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'k-9'));

-- Promise: unique indexes of users, on columns and on expressions, are kept.
CREATE UNIQUE INDEX once ON miosa.audit_events (deployment_id, (reason || '')) WHERE reason IS NOT NULL;
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'k-10', reason => 'once'));
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_2', 'k-11', reason => 'once')$$);
CREATE INDEX active ON miosa.deployments (active_version_id);
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'k-12'));
SET enable_seqscan = off;
SELECT id FROM miosa.deployments WHERE active_version_id = 'ver_2';
SELECT id FROM miosa.deployments WHERE active_version_id = 'ver_1';
RESET enable_seqscan;
DROP INDEX miosa.once, miosa.active;
-- a key that another transaction stored meanwhile: the ordinary error
CREATE FUNCTION test.steal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.key = 'stolen' THEN
		INSERT INTO miosa.idempotency_keys SELECT NEW.deployment_id, 'stolen', 'rollback', '', '{}', 0, now(), now()
			WHERE pg_trigger_depth() < 2;
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER steal BEFORE INSERT ON miosa.idempotency_keys FOR EACH ROW EXECUTE FUNCTION test.steal();
SELECT split_part(test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', 'stolen')$$), E'\n', 1);
DROP TRIGGER steal ON miosa.idempotency_keys;

-- Promise: triggers of users fire on all four tables, before and after rows and
-- statements, in the order of their names, with transition tables, WHEN and
-- columns as they say.
CREATE FUNCTION test.tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '% % % %: %', TG_NAME, TG_WHEN, TG_LEVEL, TG_TABLE_NAME,
		CASE WHEN TG_LEVEL = 'STATEMENT' THEN '-'
			ELSE concat_ws(' -> ', to_jsonb(OLD) ->> 'active_version_id', coalesce(to_jsonb(NEW) ->> 'active_version_id',
				to_jsonb(NEW) ->> 'outcome', to_jsonb(NEW) ->> 'kind', to_jsonb(NEW) ->> 'key')) END;
	RETURN NEW;
END $$;
CREATE FUNCTION test.tell_rows() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	IF TG_OP = 'UPDATE' THEN
		SELECT string_agg(format('%s -> %s', o.active_version_id, n.active_version_id), ', ') INTO answer
			FROM old_rows o JOIN new_rows n USING (id);
	ELSE
		SELECT string_agg(n.deployment_id, ', ') INTO answer FROM new_rows n;
	END IF;
	RAISE NOTICE '% % %: %', TG_NAME, TG_OP, TG_TABLE_NAME, answer;
	RETURN NULL;
END $$;
SELECT format('CREATE TRIGGER %s_%s %s %s ON miosa.%s FOR EACH %s EXECUTE FUNCTION test.tell()',
	time, level, time, command, name, level)
FROM (VALUES ('deployments', 'UPDATE'), ('audit_events', 'INSERT'), ('outbox', 'INSERT'), ('idempotency_keys', 'INSERT')) t (name, command),
	unnest(ARRAY['BEFORE', 'AFTER']) time, unnest(ARRAY['ROW', 'STATEMENT']) level \gexec
CREATE TRIGGER rows AFTER UPDATE ON miosa.deployments REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION test.tell_rows();
CREATE TRIGGER rows AFTER INSERT ON miosa.audit_events REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION test.tell_rows();
CREATE TRIGGER rows AFTER INSERT ON miosa.outbox REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION test.tell_rows();
CREATE TRIGGER rows AFTER INSERT ON miosa.idempotency_keys REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION test.tell_rows();
CREATE TRIGGER a_column BEFORE UPDATE OF active_version_id ON miosa.deployments FOR EACH ROW EXECUTE FUNCTION test.tell();
CREATE TRIGGER b_column BEFORE UPDATE OF owner_id ON miosa.deployments FOR EACH ROW EXECUTE FUNCTION test.tell();
CREATE TRIGGER a_when AFTER UPDATE ON miosa.deployments FOR EACH ROW WHEN (NEW.active_version_id = 'ver_1') EXECUTE FUNCTION test.tell();
CREATE TRIGGER b_when AFTER UPDATE ON miosa.deployments FOR EACH ROW WHEN (NEW.active_version_id = 'ver_2') EXECUTE FUNCTION test.tell();
CREATE TRIGGER z_disabled BEFORE UPDATE ON miosa.deployments FOR EACH ROW EXECUTE FUNCTION test.tell();
ALTER TABLE miosa.deployments DISABLE TRIGGER z_disabled;
CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON miosa.deployments DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION test.tell();
SET client_min_messages = notice;
BEGIN;
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'k-13'));
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'k-13'));
COMMIT;
-- by a plain UPDATE
UPDATE miosa.deployments SET active_version_id = 'ver_2' WHERE id = 'dep_1';
-- of a session that plays a replica
SET session_replication_role = replica;
SELECT test.op(miosa_rollback('dep_1', 'ver_1'));
RESET session_replication_role;
SET client_min_messages = error;
SELECT format('DROP TRIGGER %s ON %s', tgname, tgrelid::regclass) FROM pg_trigger
	WHERE tgfoid IN ('test.tell'::regproc, 'test.tell_rows'::regproc) ORDER BY tgrelid, tgname \gexec

-- Promise: conditions and constraints of whole rows hold at every call of a
-- session, not only at the first.
BEGIN;
CREATE FUNCTION test.named(miosa.audit_events) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN $1.reason IS DISTINCT FROM 'nameless'; END $$;
ALTER TABLE miosa.audit_events ADD CONSTRAINT named CHECK (test.named(audit_events));
CREATE TRIGGER whole AFTER UPDATE ON miosa.deployments FOR EACH ROW
	WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION test.tell();
SET LOCAL client_min_messages = notice;
SELECT test.op(miosa_rollback('dep_1', 'ver_2'));
SELECT test.op(miosa_rollback('dep_1', 'ver_3'));
SELECT test.code($$SELECT miosa_rollback('dep_1', 'ver_2', reason => 'nameless')$$);
SELECT test.op(miosa_rollback('dep_1', 'ver_1'));
ROLLBACK;

-- Promise: what a trigger before the row changes is what is stored, and what the
-- response shows; if it suppresses the row of an event, only that is missing;
-- the row of the deployment cannot be left out.
CREATE FUNCTION test.change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_TABLE_NAME = 'deployments' THEN
		NEW.owner_id := NEW.active_version_id || '!';
	ELSE
		NEW.reason := 'by trigger';
	END IF;
	RETURN NEW;
END $$;
CREATE FUNCTION test.suppress() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER change BEFORE UPDATE ON miosa.deployments FOR EACH ROW EXECUTE FUNCTION test.change();
CREATE TRIGGER change BEFORE INSERT ON miosa.audit_events FOR EACH ROW EXECUTE FUNCTION test.change();
SELECT miosa_rollback('dep_1', 'ver_2', 'k-14') #>> '{data,owner_id}';
SELECT miosa_rollback('dep_1', 'ver_2', 'k-14') #>> '{data,owner_id}';
SELECT d.owner_id, a.reason FROM miosa.deployments d JOIN miosa.audit_events a ON a.deployment_id = d.id AND a.seq = d.seq;
DROP TRIGGER change ON miosa.deployments;
DROP TRIGGER change ON miosa.audit_events;
CREATE TRIGGER suppress BEFORE INSERT ON miosa.audit_events FOR EACH ROW EXECUTE FUNCTION test.suppress();
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'k-15'));
SELECT count(*) FROM miosa.audit_events a JOIN miosa.deployments d ON d.id = a.deployment_id AND d.seq = a.seq;
DROP TRIGGER suppress ON miosa.audit_events;
CREATE TRIGGER suppress BEFORE UPDATE ON miosa.deployments FOR EACH ROW EXECUTE FUNCTION test.suppress();
SELECT test.code($$SELECT miosa_rollback('dep_1', 'ver_2', 'k-16')$$);
DROP TRIGGER suppress ON miosa.deployments;

-- Promise: a trigger of a user's gets no rights of the extension's: whichever
-- name it has, it cannot write derived columns, and it can call for an operation
-- on another deployment.
SELECT test.history('dep_2', 3);
CREATE FUNCTION test.meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF pg_trigger_depth() < 2 THEN
		UPDATE miosa.deployments SET seq = 100 WHERE id = NEW.id;
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER a_meddle BEFORE UPDATE ON miosa.deployments FOR EACH ROW EXECUTE FUNCTION test.meddle();
SELECT test.code($$SELECT miosa_rollback('dep_1', 'ver_2', 'k-17')$$);
ALTER TRIGGER a_meddle ON miosa.deployments RENAME TO z_meddle;
SELECT test.code($$SELECT miosa_rollback('dep_1', 'ver_2', 'k-17')$$);
DROP TRIGGER z_meddle ON miosa.deployments;
CREATE TRIGGER meddle AFTER UPDATE ON miosa.deployments FOR EACH ROW EXECUTE FUNCTION test.meddle();
SELECT test.code($$SELECT miosa_rollback('dep_1', 'ver_2', 'k-17')$$);
DROP TRIGGER meddle ON miosa.deployments;
CREATE FUNCTION test.follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM public.miosa_rollback('dep_2', NEW.active_version_id, 'follows ' || NEW.seq);
	RETURN NEW;
END $$;
CREATE TRIGGER follow BEFORE UPDATE ON miosa.deployments FOR EACH ROW WHEN (NEW.id = 'dep_1') EXECUTE FUNCTION test.follow();
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'k-18'));
SELECT test.count(id) FROM miosa.deployments ORDER BY id;
-- and may replace what the outer operation uses
CREATE OR REPLACE FUNCTION test.follow() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	CREATE OR REPLACE FUNCTION test.allowed(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
	PERFORM public.miosa_rollback('dep_2', NEW.active_version_id, 'follows ' || NEW.seq);
	RETURN NEW;
END $$;
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'k-19'));
DROP TRIGGER follow ON miosa.deployments;

-- Promise: the trigger of the pointer may be disabled; operations go on.
ALTER TABLE miosa.deployments DISABLE TRIGGER deployments_pointer;
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'k-20'));
ALTER TABLE miosa.deployments ENABLE ALWAYS TRIGGER deployments_pointer;
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'k-21'));
ALTER TABLE miosa.deployments ENABLE TRIGGER deployments_pointer;

-- Promise: foreign keys of users.
CREATE TABLE test.seen (deployment text REFERENCES miosa.deployments, seq bigint,
	FOREIGN KEY (deployment, seq) REFERENCES miosa.audit_events DEFERRABLE INITIALLY DEFERRED);
BEGIN;
INSERT INTO test.seen SELECT 'dep_1', max(seq) + 1 FROM miosa.audit_events WHERE deployment_id = 'dep_1';
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'k-22'));
COMMIT;
CREATE TABLE test.known (id text PRIMARY KEY);
ALTER TABLE miosa.outbox ADD CONSTRAINT known FOREIGN KEY (deployment_id) REFERENCES test.known NOT VALID;
SELECT test.code($$SELECT miosa_rollback('dep_1', 'ver_1', 'k-23')$$);
ALTER TABLE miosa.outbox DROP CONSTRAINT known;
DROP TABLE test.seen;

-- Promise: a column of another type is refused, since values are written as
-- they are.
ALTER TABLE miosa.audit_events ALTER seq TYPE numeric;
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', 'k-23')$$);
ALTER TABLE miosa.audit_events ALTER seq TYPE bigint;
ALTER TABLE miosa.deployments ALTER owner_id TYPE bigint USING 1;
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', 'k-23')$$);
ALTER TABLE miosa.deployments ALTER owner_id TYPE text;

-- Promise: a rule is refused, and nothing is written.
CREATE RULE also AS ON INSERT TO miosa.audit_events DO ALSO NOTIFY test;
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', 'k-23')$$);
ALTER TABLE miosa.audit_events DISABLE RULE also;
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'k-23'));
DROP RULE also ON miosa.audit_events;

-- Promise: published tables without a replica identity cannot be updated, as by
-- any UPDATE.
CREATE PUBLICATION test_deployments FOR TABLE miosa.deployments, miosa.audit_events;
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'k-24'));
ALTER TABLE miosa.deployments REPLICA IDENTITY NOTHING;
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', 'k-25')$$);
ALTER TABLE miosa.deployments REPLICA IDENTITY FULL;
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'k-25'));
DROP PUBLICATION test_deployments;

-- Promise: an index that lacks rows is refused, as CREATE INDEX CONCURRENTLY
-- leaves one behind after an error and DROP INDEX CONCURRENTLY has one for a while.
UPDATE pg_index SET indisvalid = false, indisready = false WHERE indexrelid = 'miosa.versions_pkey'::regclass;
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('dep_1', 'ver_4', 'ten_1', 4, 'ready');
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_4', 'k-index')$$);
REINDEX INDEX CONCURRENTLY miosa.versions_pkey;
SELECT test.op(miosa_rollback('dep_1', 'ver_4', 'k-index'));

-- Promise: a session goes on while the tables, their indexes and the extension
-- itself are rebuilt, moved and renamed.
REINDEX TABLE miosa.deployments;
VACUUM FULL miosa.idempotency_keys;
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'k-26'));
REINDEX TABLE CONCURRENTLY miosa.versions;
REINDEX INDEX CONCURRENTLY miosa.deployments_pkey;
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'k-27'));
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'k-27'));
ALTER TABLE miosa.versions RENAME TO versions_2;
SELECT test.code($$SELECT miosa_rollback('dep_1', 'ver_2', 'k-28')$$);
ALTER TABLE miosa.versions_2 RENAME TO versions;
ALTER SCHEMA miosa RENAME TO miosa_2;
SELECT test.code($$SELECT miosa_rollback('dep_1', 'ver_2', 'k-28')$$);
ALTER SCHEMA miosa_2 RENAME TO miosa;
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'k-28'));
-- and while every look into a cache may find it emptied, where the server was
-- built for that
DO $$ BEGIN
	PERFORM set_config('debug_discard_caches', '1', false) FROM pg_settings WHERE name = 'debug_discard_caches' AND max_val <> '0';
END $$;
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'k-29'));
RESET debug_discard_caches;
SET miosa_rollback.allow_drop = on;
DROP EXTENSION miosa_rollback CASCADE;
CREATE EXTENSION miosa_rollback;
INSERT INTO miosa.tenants (id, slug) VALUES ('ten_1', 'acme');
SELECT test.history('dep_1', 3);
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'k-1'));
SELECT test.count('dep_1');

\i :cleanup
