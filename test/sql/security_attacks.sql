-- Attacks by a role that has logged in, is an operator of one tenant, and may
-- make objects of its own.  attack: test
--
-- 1  writing tables, a pointer without an event: security_writes, security_roles
-- 2  another tenant's rows and names in any answer: security_tenants; leaky
--    functions, errors, COPY, cursors, EXPLAIN, pg_stats: here
-- 2  messages of NOTIFY: 165_listen
-- 3  claims and miosa_rollback.actor of a plain user: security_actor,
--    security_tenants; by ALTER ROLE: here
-- 4  changing or cutting the audit trail: here
-- 7  reading secrets: here, 146_secret_files
-- 8  requests to where the caller may not go: security_networks
-- 9  texts and lists without an end, odd arguments: security_limits,
--    security_arguments
-- 10 tables of our names in pg_temp, locks: here
-- 11 the HTTP face: 192_gateway
-- -  functions in expressions of the attacker's tables, which PostgreSQL
--    evaluates in sessions of others: here
-- -  objects on our tables, such as triggers, rules, policies, foreign keys: here
-- -  queries that nobody has thought of: make sqlsmith
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture
\set SHOW_CONTEXT never
\set VERBOSITY terse
SET client_min_messages = error;
INSERT INTO miosa.tenants (id, slug) VALUES ('ten_foreign', 'foreign');
SELECT test.history('dep_own', 3);
SELECT miosa_put_deployment('dep_foreign', 'ten_foreign', 'foreign', kind => 'dynamic') IS NULL,
	miosa_put_version('dep_foreign', 'ver_1', 1) IS NULL, miosa_put_version('dep_foreign', 'ver_2', 2) IS NULL;
SELECT test.op(miosa_promote('dep_foreign', 'ver_1')), test.op(miosa_promote('dep_foreign', 'ver_2'));
INSERT INTO miosa.domains (fqdn, deployment_id, tenant_id) VALUES ('www.foreign.example.com', 'dep_foreign', 'ten_foreign');
INSERT INTO miosa.secrets (name, value) VALUES ('token', 'the-secret-value');
CREATE ROLE regress_attacker LOGIN IN ROLE miosa_operator;
SELECT miosa_grant_tenant('regress_attacker', 'ten_1', '{read,rollback}') #>> '{data,scopes}';
CREATE SCHEMA attacker AUTHORIZATION regress_attacker;
GRANT USAGE ON SCHEMA test TO regress_attacker;
ALTER SYSTEM SET miosa_rollback.tenancy = 'enforced';
SELECT pg_reload_conf();
\set ECHO none
\o /dev/null
SELECT test.until_read('miosa_rollback.tenancy') \gexec
\o
\set ECHO all
ANALYZE miosa.deployments, miosa.versions, miosa.audit_events, miosa.domains, miosa.tenants;

-- An index on a table of the attacker's: PostgreSQL evaluates its expression in
-- the session that analyzes the table, such as autovacuum's, a superuser's.
SET SESSION AUTHORIZATION regress_attacker;
CREATE FUNCTION attacker.try(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE call INTO result;
	RETURN coalesce(result, 'nothing');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE FUNCTION attacker.look(i integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RAISE WARNING '%, %, %, %, %', current_user,
		attacker.try('SELECT count(*) FROM miosa.deployments'),
		attacker.try('SELECT public.miosa_deployment(''dep_foreign'') #>> ''{data,name}'''),
		attacker.try('SELECT public.miosa_rollback(''dep_foreign'', ''ver_1'') #>> ''{operation,outcome}'''),
		attacker.try('SELECT public.miosa_rollback(''dep_own'', ''ver_1'') #>> ''{operation,outcome}''');
	RETURN i;
END $$;
CREATE FUNCTION attacker.look_as_owner(i integer) RETURNS integer LANGUAGE sql IMMUTABLE SECURITY DEFINER AS 'SELECT attacker.look(i)';
CREATE TABLE attacker.bait (i integer);
CREATE INDEX ON attacker.bait (attacker.look(i));
CREATE INDEX ON attacker.bait (attacker.look_as_owner(i));
CREATE MATERIALIZED VIEW attacker.copy AS SELECT d.id, d.name FROM miosa.deployments d;
CREATE MATERIALIZED VIEW attacker.routes AS SELECT public.miosa_deployment('dep_foreign') AS d WITH NO DATA;
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_attacker;
INSERT INTO attacker.bait VALUES (1);
RESET SESSION AUTHORIZATION;
SELECT test.digest() AS before \gset
SET client_min_messages = warning;
ANALYZE attacker.bait;
REINDEX TABLE attacker.bait;
REFRESH MATERIALIZED VIEW attacker.copy;
SELECT * FROM attacker.copy;
REFRESH MATERIALIZED VIEW attacker.routes;
SET client_min_messages = error;
\set VERBOSITY sqlstate

-- Leaky functions, errors of casts and divisions, COPY, cursors, and EXPLAIN: what
-- a condition sees of each relation that the attacker may read.  Each statement
-- is generated for each relation.
SET SESSION AUTHORIZATION regress_attacker;
CREATE FUNCTION attacker.leak(t text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN
	IF t ~ 'ten_foreign|dep_foreign|www.foreign|the-secret-value' THEN
		RAISE EXCEPTION 'leaked: %', t;
	END IF;
	RETURN true;
END $$;
CREATE OPERATOR attacker.~~~ (RIGHTARG = text, FUNCTION = attacker.leak);
RESET SESSION AUTHORIZATION;
CREATE VIEW test.readable AS
	SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
		AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'miosa_rollback')
	WHERE c.relkind IN ('r', 'v', 'm') AND has_table_privilege('regress_attacker', c.oid, 'SELECT');
SELECT count(*) > 20 AS many FROM test.readable;
-- What a statement says, as the attacker.
CREATE FUNCTION test.as_attacker(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	result text := '';
BEGIN
	SET LOCAL ROLE regress_attacker;
	FOR line IN EXECUTE statement LOOP
		result := result || coalesce(line, '') || E'\n';
	END LOOP;
	RESET ROLE;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT r.name, f.way, left(test.as_attacker(format(f.way, r.name)), 100) AS leaked FROM test.readable r
CROSS JOIN (VALUES ('SELECT t::text FROM %s t WHERE attacker.leak(t::text)'), ('SELECT t::text FROM %s t WHERE OPERATOR(attacker.~~~) t::text'),
	('SELECT t::text FROM %s t ORDER BY attacker.leak(t::text)'), ('SELECT max(t::text) FROM %s t GROUP BY attacker.leak(t::text)'),
	('SELECT 1 / (t::text !~ ''dep_foreign'')::integer FROM %s t WHERE 1 / (t::text !~ ''dep_foreign'')::integer = 1'),
	('SELECT t::text FROM (SELECT * FROM %s OFFSET 0) t WHERE t::text ~ ''dep_foreign'' '), ('EXPLAIN (VERBOSE) SELECT * FROM %s t')) f (way)
WHERE test.as_attacker(format(f.way, r.name)) ~ 'leaked|dep_foreign|ten_foreign|www.foreign|the-secret-value|^22012' AND f.way !~ 'OFFSET 0|^EXPLAIN'
	OR test.as_attacker(format(f.way, r.name)) ~ 'ten_foreign|www.foreign|the-secret-value|^dep_foreign';
-- The test can tell: the owner of the tables sees the row.
SELECT attacker.leak(d::text) FROM miosa.deployments d;
SET SESSION AUTHORIZATION regress_attacker;
COPY miosa.deployments (id) TO STDOUT;
COPY (SELECT id FROM miosa.deployments) TO STDOUT;
COPY miosa.secrets TO STDOUT;
COPY miosa.audit_events (deployment_id) FROM '/dev/null';
BEGIN;
DECLARE all_rows CURSOR WITH HOLD FOR SELECT id FROM miosa.deployments;
COMMIT;
FETCH ALL FROM all_rows;
SET row_security = off;
SELECT id FROM miosa.deployments;
RESET row_security;

-- Statistics: of tables with rows of tenants nothing is shown.
SELECT DISTINCT s.tablename FROM pg_stats s WHERE s.schemaname = 'miosa' AND s.tablename IN ('deployments', 'versions', 'audit_events', 'domains', 'tenants');
SELECT count(*) FROM pg_statistic;
-- Other sessions: their statements are not shown, and what the dispatcher is called
-- names nobody.
SELECT DISTINCT regexp_replace(a.application_name, ' \d.* ', ' '), a.query FROM pg_stat_activity a WHERE a.application_name ~ '^miosa.*dispatcher' AND a.datname = current_database();
SELECT count(*) FROM pg_locks l WHERE l.locktype = 'advisory';

-- Actor and claims by a setting that a role may make for itself.
ALTER ROLE regress_attacker SET miosa_rollback.actor = 'user:boss';
ALTER ROLE regress_attacker SET request.jwt.claims = '{"tenant_id": "ten_foreign", "scopes": ["read", "rollback"]}';
ALTER ROLE regress_attacker SET miosa_rollback.trusted_gateways = 'regress_attacker';
ALTER ROLE regress_attacker SET miosa_rollback.tenancy = 'single';
ALTER SYSTEM SET miosa_rollback.trusted_gateways = 'regress_attacker';
SET miosa_rollback.trusted_gateways = 'regress_attacker';
SET miosa_rollback.tenancy = 'single';
SET miosa_rollback.actor = 'user:boss';
SET request.jwt.claims = '{"tenant_id": "ten_foreign", "scopes": ["read", "rollback"]}';
SELECT id FROM miosa.deployments;
BEGIN;
SET LOCAL miosa_rollback.actor = 'user:boss';
SELECT miosa_rollback('dep_own', 'ver_2');
ROLLBACK;
RESET miosa_rollback.actor;
RESET request.jwt.claims;
SET ROLE miosa_owner;
SET ROLE miosa_admin;
GRANT miosa_all_tenants TO regress_attacker;

-- Objects on our tables, and of our names.
CREATE INDEX ON miosa.deployments (attacker.look(1));
CREATE TRIGGER t BEFORE INSERT ON miosa.outbox FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE RULE r AS ON INSERT TO miosa.audit_events DO INSTEAD NOTHING;
CREATE POLICY p ON miosa.deployments USING (true);
ALTER TABLE miosa.deployments DISABLE ROW LEVEL SECURITY;
ALTER POLICY seen ON miosa.deployments USING (true);
CREATE STATISTICS attacker.s ON id, tenant_id FROM miosa.deployments;
CREATE TABLE attacker.child (id text REFERENCES miosa.deployments (id));
CREATE TABLE attacker.heir () INHERITS (miosa.deployments);
CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION miosa.load_drop_guard();
CREATE FUNCTION miosa.extra() RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE OR REPLACE FUNCTION miosa.sees_tenant(tenant_id text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
ALTER FUNCTION miosa.sees_tenant(text) RENAME TO other;
ALTER FUNCTION miosa_rollback(text, text, text, text, text, jsonb, text, boolean, boolean, interval, boolean, timestamptz) SET search_path = attacker;
CREATE CAST (text AS miosa.deployments) WITHOUT FUNCTION;
ALTER EXTENSION miosa_rollback UPDATE;
DROP EXTENSION miosa_rollback;
CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p;
CREATE PUBLICATION p FOR TABLE miosa.secrets;
-- Tables in pg_temp are not taken for ours, also where the path begins with it.
CREATE TEMP TABLE deployments (LIKE miosa.deployments);
CREATE TEMP TABLE tenant_members AS SELECT '*' AS tenant_id, current_user::text AS role_name, '{read,rollback}'::text[] AS scopes;
SET search_path = pg_temp, public, miosa;
SELECT miosa_deployment('dep_foreign');
SELECT count(*) FROM miosa.deployments;
RESET search_path;
DISCARD TEMP;

-- Locks: nothing that the attacker can take holds others up for longer than its
-- own reading does.
BEGIN;
LOCK TABLE miosa.deployments IN EXCLUSIVE MODE;
ROLLBACK;
BEGIN;
LOCK TABLE miosa.deployments IN ROW EXCLUSIVE MODE;
ROLLBACK;
SELECT id FROM miosa.deployments FOR UPDATE;
SELECT id FROM miosa.deployments FOR KEY SHARE;
TRUNCATE miosa.audit_events;
UPDATE miosa.audit_events SET reason = '' WHERE deployment_id = 'dep_own';
DELETE FROM miosa.audit_events WHERE deployment_id = 'dep_own';

-- Secrets.
SELECT value FROM miosa.secrets;
SELECT miosa.reveal(value) FROM miosa.secrets;
SELECT miosa.read_secret('token');
SELECT miosa_put_secret('token', 'mine');
RESET SESSION AUTHORIZATION;
SELECT test.digest() = :'before' AS nothing_changed;

\set VERBOSITY terse
-- Without tenants that are kept apart the event would name the superuser.
ALTER SYSTEM RESET miosa_rollback.tenancy;
SELECT pg_reload_conf();
\set ECHO none
\o /dev/null
SELECT format('SELECT pg_sleep(0.05) WHERE current_setting(''miosa_rollback.tenancy'') <> ''single''') FROM generate_series(1, 1200) \gexec
\o
\set ECHO all
SET client_min_messages = warning;
ANALYZE attacker.bait;
SET client_min_messages = error;
SELECT count(*) FROM miosa.audit_events a WHERE a.seq > 3 AND (a.session_user_name <> 'regress_attacker' OR a.actor_id <> 'regress_attacker');

\set ECHO none
DROP OWNED BY regress_attacker CASCADE;
DROP ROLE regress_attacker;
\set ECHO all
\i :cleanup
