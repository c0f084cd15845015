-- Schemas: what migration tools report, and whether older code can work with it.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture
\set SHOW_CONTEXT never
CREATE FUNCTION test.planned(dep text, version text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', p ->> 'target_version_id', p ->> 'would_succeed', c ->> 'result', c ->> 'code', c ->> 'message', c ->> 'detail', c ->> 'hint')
	FROM (SELECT miosa_plan(dep, version) -> 'data') v (p), jsonb_array_elements(p -> 'checks') c
	WHERE c ->> 'check' = 'schema_fits' $$;
-- What is in force, and what was reported.
CREATE FUNCTION test.report(VARIADIC numbers bigint[]) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', r #>> '{data,version}', r #>> '{data,compatible_from}', r -> 'report')
	FROM miosa_report_schema('app', numbers[1], numbers[2]) r $$;
CREATE FUNCTION test.built(dep text, version text, fields jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT miosa_put_version(dep, version, fields => fields) -> 'data' $$;

-- Promise: a deployment that names no schema is not checked, and not warned.
SELECT test.history('dep_1', 5);
SELECT test.planned('dep_1');
SELECT test.op(miosa_rollback('dep_1'));
SELECT miosa_promote('dep_1', 'ver_5') -> 'operation' -> 'warnings' AS none;
SELECT marks FROM miosa.audit_events WHERE deployment_id = 'dep_1' AND seq > 5;

-- Promise: what nobody has said is unknown: it is said, and refuses nothing.
SELECT miosa_set_deployment('dep_1', schema_name => 'app') IS NOT NULL AS set;
SELECT schema_name FROM miosa.deployments WHERE id = 'dep_1';
SET miosa_rollback.on_schema_mismatch = 'refuse';
SELECT test.planned('dep_1', 'ver_3');
SELECT test.report(7, 5);
SELECT test.planned('dep_1', 'ver_3');
SELECT test.op(miosa_rollback('dep_1', 'ver_3', 'unknown'));
SELECT marks FROM miosa.audit_events WHERE deployment_id = 'dep_1' AND seq = 8;
SELECT test.op(miosa_promote('dep_1', 'ver_5'));

-- Promise: a version fits if it was built for compatible_from or later, and if
-- what is applied is in its range.
SELECT test.built('dep_1', 'ver_' || n, jsonb_build_object('schema_version', n + 2)) -> 'schema_version' FROM generate_series(1, 5) n;
SELECT test.built('dep_1', 'ver_4', '{"schema_min": 4, "schema_max": 6}') - '{created_at,updated_at,promoted_at}'::text[] ->> 'schema_max' AS max;
SELECT test.planned('dep_1', 'ver_' || n) FROM generate_series(1, 5) n;
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_2', 'k1')$$);
SELECT test.refusal($$SELECT * FROM miosa.rollback('dep-1', 'v2')$$);
SELECT test.op(miosa_rollback('dep_1', 'ver_3'));
SELECT * FROM miosa.schema_fits('dep-1');
SELECT version, note FROM miosa.candidates('dep_1');
SELECT item, value FROM miosa.status('dep_1') WHERE item = 'schema';
SET miosa_rollback.on_schema_mismatch = 'warn';
SELECT test.planned('dep_1', 'ver_1');
SELECT r -> 'operation' -> 'warnings' AS warnings FROM miosa_rollback('dep_1', 'ver_1', 'k1') r;
SELECT marks FROM miosa.audit_events WHERE deployment_id = 'dep_1' AND seq = 11;
-- an identical call returns the same
SELECT miosa_rollback('dep_1', 'ver_1', 'k1') -> 'operation' -> 'warnings' IS NOT NULL AS same;
-- the code that runs already stays
SELECT test.planned('dep_1', 'ver_1');

-- Promise: promotions are judged like rollbacks, and so is the plain UPDATE and a
-- group.
SET miosa_rollback.on_schema_mismatch = 'refuse';
SELECT test.refusal($$SELECT miosa_promote('dep_1', 'ver_2', 'k2', 'by CI')$$);
SELECT test.code($$UPDATE miosa.deployments SET active_version_id = 'ver_2' WHERE id = 'dep_1'$$);
SELECT test.history('dep_2', 3);
SELECT deployment_id, outcome, condition, message FROM miosa.rollback_group(ARRAY['dep_1', 'dep_2'], ARRAY['ver_2', 'ver_2']);
SET miosa_rollback.on_schema_mismatch = 'warn';
UPDATE miosa.deployments SET active_version_id = 'ver_2' WHERE id = 'dep_1';

-- Promise: each side of a range may be open.
SELECT test.built('dep_1', 'ver_5', '{"schema_version": 9}') -> 'schema_version';
SELECT test.planned('dep_1', 'ver_5');
SELECT test.built('dep_1', 'ver_5', '{"schema_min": 8}') -> 'schema_min';
SELECT test.planned('dep_1', 'ver_5');
SELECT test.built('dep_1', 'ver_5', '{"schema_min": 7}') -> 'schema_min';
SELECT test.planned('dep_1', 'ver_5');
SELECT test.built('dep_1', 'ver_3', '{"schema_max": 6}') -> 'schema_max';
SELECT test.planned('dep_1', 'ver_3');

-- Promise: a report that repeats the newest one changes nothing; without
-- compatible_from no older code works with it.
SELECT test.report(7, 5);
SELECT test.report(8);
SELECT test.report(8);
SELECT test.report(8, 5);
-- an older one is recorded, and does not count
SELECT r #>> '{data,version}', r -> 'report' FROM miosa_report_schema('app', 3, 3, '2026-01-01 00:00:00+00') r;
SELECT r -> 'report' FROM miosa_report_schema('app', 3, 3, '2026-01-01 00:00:00+00') r;
-- but a migration that was taken back does
SELECT test.report(6, 4);
SELECT seq, version, compatible_from, newest, actor_type, actor_id = current_user AS me FROM miosa.schema_reports ORDER BY seq;
SELECT tenant_id, name, version, compatible_from, reported_by = 'role:' || current_user AS me FROM miosa.schemas;
-- of two with the same time the later one counts
SELECT r #>> '{data,version}' FROM miosa_report_schema('other', 1, 1, '2026-01-01 00:00:00+00') r;
SELECT r #>> '{data,version}' FROM miosa_report_schema('other', 2, 1, '2026-01-01 00:00:00+00') r;
-- a clock that is a little ahead
SELECT (r #>> '{data,applied_at}')::timestamptz <= clock_timestamp() FROM miosa_report_schema('other', 3, 1, clock_timestamp() + '30 s') r;

-- Promise: the lines that docs/schema.md has for migration tools, with the tables
-- that these make.
CREATE SCHEMA tools;
SET search_path = tools, public;
CREATE TABLE flyway_schema_history (installed_rank integer PRIMARY KEY, version varchar(50), success boolean);
INSERT INTO flyway_schema_history VALUES (1, '1', true), (2, NULL, true), (3, '10', true), (4, '11', false);
SELECT miosa_report_schema('flyway', (SELECT max(version::bigint) FROM flyway_schema_history WHERE success)) #> '{data,version}';
SELECT miosa_report_schema('flyway', (SELECT count(version) FROM flyway_schema_history WHERE success)) #> '{data,version}';
CREATE TABLE databasechangelog (id varchar(255), orderexecuted integer);
INSERT INTO databasechangelog VALUES ('a', 1), ('b', 2);
SELECT miosa_report_schema('liquibase', (SELECT max(orderexecuted) FROM databasechangelog)) #> '{data,version}';
CREATE TABLE schema_migrations (version varchar PRIMARY KEY);
INSERT INTO schema_migrations VALUES ('20260131120000'), ('20251231235959');
SELECT miosa_report_schema('rails', (SELECT max(version::bigint) FROM schema_migrations)) #> '{data,version}';
DROP TABLE schema_migrations;
CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean);
INSERT INTO schema_migrations VALUES (7, false);
SELECT miosa_report_schema('golang', (SELECT version FROM schema_migrations WHERE NOT dirty)) #> '{data,version}';
-- one that has failed is not reported
UPDATE schema_migrations SET version = 8, dirty = true;
SELECT test.code($$SELECT miosa_report_schema('golang', (SELECT version FROM schema_migrations WHERE NOT dirty))$$);
CREATE TABLE django_migrations (id integer, app varchar(255), name varchar(255));
INSERT INTO django_migrations VALUES (1, 'app', '0001_initial'), (2, 'auth', '0001_initial'), (3, 'app', '0002_total');
SELECT miosa_report_schema('django', (SELECT count(*) FROM django_migrations WHERE app = 'app')) #> '{data,version}';
RESET search_path;
DROP SCHEMA tools CASCADE;
SELECT miosa_remove_schema(name) FROM miosa.schemas WHERE name NOT IN ('app', 'other') ORDER BY name;

-- Promise: bad values are refused.
SELECT test.refusal($$SELECT miosa_report_schema('app', 7, 8)$$);
SELECT test.refusal($$SELECT miosa_report_schema('app', -1)$$);
SELECT test.refusal($$SELECT miosa_report_schema('app', 7, -1)$$);
SELECT test.refusal($$SELECT miosa_report_schema('app', NULL)$$);
SELECT test.refusal($$SELECT miosa_report_schema('app', 7, 7, now() + '1 day')$$);
SELECT test.code($$SELECT miosa_report_schema('app', 7, 7, 'infinity')$$);
SELECT test.refusal($$SELECT miosa_report_schema('a b', 7)$$);
SELECT test.code($$SELECT miosa_report_schema(NULL, 7)$$);
SELECT test.refusal($$SELECT miosa_report_schema('app', 7, tenant_id => 'nobody')$$);
SELECT test.refusal($$SELECT test.built('dep_1', 'ver_6', '{"schema_version": 5, "schema_min": 6}')$$);
SELECT test.refusal($$SELECT test.built('dep_1', 'ver_6', '{"schema_min": 6, "schema_max": 5}')$$);
SELECT test.refusal($$SELECT test.built('dep_1', 'ver_6', '{"schema_max": -5}')$$);
SELECT test.code($$SELECT test.built('dep_1', 'ver_6', '{"schema_max": "many"}')$$);
SELECT test.refusal($$SELECT miosa_set_deployment('dep_1', schema_name => 'a b')$$);
SELECT test.refusal($$UPDATE miosa.schema_reports SET version = 1$$);
SELECT test.code($$DELETE FROM miosa.schema_reports$$);
SELECT test.code($$TRUNCATE miosa.schema_reports$$);
SELECT test.refusal($$SET miosa_rollback.on_schema_mismatch = 'ignore'$$);

-- Promise: a tenant's own schema comes before the one of all tenants.
SELECT r #>> '{data,tenant_id}', r #>> '{data,version}' FROM miosa_report_schema('app', 4, 1, tenant_id => 'ten_1') r;
SELECT test.planned('dep_1', 'ver_1');
SELECT miosa_remove_schema('app', 'ten_1');
SELECT test.planned('dep_1', 'ver_1');
SELECT test.refusal($$SELECT miosa_remove_schema('app', 'ten_1')$$);

-- Promise: where the application's tables are in this database, a version fits if
-- the objects are there that it requires; only schemas are looked into that an
-- administrator has named.
CREATE SCHEMA app;
CREATE SCHEMA other;
CREATE TYPE app.mood AS ENUM ('glad');
CREATE DOMAIN app."Amount" AS numeric(12,2);
CREATE TABLE app.orders (id bigint, total numeric(10,2), at timestamptz, note varchar(20), tags text[], mood app.mood, amount app."Amount", gone integer, "When" time(3), fee app.mood[]);
ALTER TABLE app.orders DROP COLUMN gone;
CREATE INDEX orders_id ON app.orders (id);
CREATE VIEW app."Sales" AS SELECT id FROM app.orders;
CREATE TABLE other.secret (id integer);
CREATE FUNCTION app.total(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION app.total(numeric, VARIADIC app.mood[]) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION app.now() RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION test.requires(requires jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	UPDATE miosa.versions SET metadata = jsonb_build_object('requires', requires) WHERE deployment_id = 'dep_3' AND id = 'ver_1';
	RETURN concat_ws(' | ', f.result, f.detail) FROM miosa.schema_finding('dep_3', 'ver_1') f;
END $$;
SELECT test.history('dep_3', 2);
SELECT miosa_set_deployment('dep_3', schema_name => 'shop') ->> 'x';
SELECT test.requires('{"relations": ["app.nothing"]}');
SELECT miosa_put_schema('shop', '{app,later}') -> 'data' ->> 'database_schemas';
SELECT test.requires('{"relations": ["app.nothing"]}');
SELECT test.requires('{"relations": ["app.orders", "APP.Orders", "app.\"Sales\""], "columns": {"app.orders": {"id": null, "total": "decimal"}}, "functions": ["app.total(int)"]}');
SELECT test.op(miosa_rollback('dep_3', 'ver_1', 'all there'));
SELECT test.op(miosa_promote('dep_3', 'ver_2'));
-- types
SELECT t, test.requires(jsonb_build_object('columns', jsonb_build_object('app.orders', t::jsonb))) FROM unnest(ARRAY[
	'{"total": "numeric(10,2)", "at": "timestamp with time zone", "note": "character varying(20)", "tags": "text[]", "mood": "app.mood", "amount": "app.\"Amount\""}',
	'{"total": " NUMERIC ( 10 , 2 ) ", "at": "TIMESTAMPTZ", "note": "varchar", "tags": "text [ ]", "mood": "app . mood", "When": "time(3) without time zone", "fee": "app.mood[]"}',
	'{"id": "int8", "At": "timestamptz"}', '{"id": "int4"}', '{"total": "numeric(10,3)"}', '{"tags": "text"}', '{"note": "text"}', '{"mood": "mood"}', '{"mood": "other.mood"}',
	'{"amount": "app.amount"}', '{"gone": "integer"}', '{"ctid": null}', '{"When": "time(4)"}', '{"id": ""}', '{"id": 7}', '{"id": "bigint; DROP TABLE app.orders"}']) t;
-- relations
SELECT t, test.requires(jsonb_build_object('relations', jsonb_build_array(t))) FROM unnest(ARRAY['app.orders', 'app.sales', 'app.orders_id', 'later.orders', 'other.secret', 'orders',
	'dev.app.orders', 'app.', '', '"app"."orders"', 'app."or""ders"', 'pg_catalog.pg_class', 'app.' || repeat('x', 300), E'app.o\x01rders']) t;
-- functions
SELECT t, test.requires(jsonb_build_object('functions', jsonb_build_array(t))) FROM unnest(ARRAY['app.total', 'app.total(integer)', 'app.total(numeric, app.mood[])', 'app.now()', 'app.now( ) ',
	'app.total()', 'app.total(text)', 'app.total(integer, integer)', 'app.nothing()', 'other.total()', 'app.total(', 'app.total(numeric(10,2), app.mood[])', 'app.total)(', '(']) t;
-- of any shape
SELECT t, test.requires(t::jsonb) FROM unnest(ARRAY['null', '{}', '[]', '7', '"app.orders"', '{"relations": "app.orders"}', '{"relations": [7, null, ["app.orders"]]}', '{"columns": ["app.orders"]}',
	'{"columns": {"app.orders": "id"}}', '{"columns": {"app.orders": {}}}', '{"columns": {"app.nothing": {"id": "bigint", "total": "numeric"}}}', '{"views": ["app.orders"]}', '{"relations": null}']) t;
-- the first 1000
SELECT count, test.requires(jsonb_build_object('relations', (SELECT jsonb_agg('app.orders'::text) FROM generate_series(1, count)))) FROM unnest(ARRAY[1000, 1001]) count;
SELECT test.requires(jsonb_build_object('relations', (SELECT jsonb_agg('app.orders'::text) FROM generate_series(1, 990)), 'functions', (SELECT jsonb_agg('app.now()'::text) FROM generate_series(1, 990))));
-- what is missing is listed, with the numbers
SELECT miosa_report_schema('shop', 9, 5) IS NOT NULL AS reported;
SELECT miosa_put_version('dep_3', 'ver_1', fields => '{"schema_version": 4}') IS NOT NULL AS put;
SELECT test.requires(jsonb_build_object('relations', (SELECT jsonb_agg('app.t' || n ORDER BY n) FROM generate_series(11, 23) n)));
SET miosa_rollback.on_schema_mismatch = 'refuse';
SELECT test.refusal($$SELECT miosa_rollback('dep_3', 'ver_1', 'k1')$$);
SELECT test.requires('{"relations": ["app.orders"]}');
SELECT miosa_report_schema('shop', 9, 4) IS NOT NULL AS reported;
SELECT test.requires('{"relations": ["app.orders"]}');
SELECT test.requires('{"relations": ["app.orders", "other.secret"]}');
SELECT test.op(miosa_rollback('dep_3', 'ver_1', 'k2'));
SELECT marks FROM miosa.audit_events WHERE deployment_id = 'dep_3' ORDER BY seq DESC LIMIT 1;

-- Promise: who names schemas of the database acts for all; a migration tool
-- needs no more than miosa_agent.
CREATE ROLE regress_migrations;
GRANT miosa_agent TO regress_migrations;
GRANT USAGE ON SCHEMA test TO regress_migrations;
SET ROLE regress_migrations;
SELECT miosa_report_schema('shop', 10) #>> '{data,reported_by}';
SELECT test.code($$SELECT miosa_put_schema('shop', '{other}')$$);
RESET ROLE;
REVOKE USAGE ON SCHEMA test FROM regress_migrations;
DROP ROLE regress_migrations;
SELECT test.refusal($$SELECT miosa_put_schema('shop', '{app,NULL}')$$);
SELECT test.code($$SELECT miosa_put_schema('shop', ARRAY[repeat('x', 64)])$$);
SELECT test.code($$SELECT miosa_put_schema('shop', array_fill('app'::text, '{101}'))$$);
SELECT kind, object, action, becomes FROM miosa.configuration_events WHERE kind = 'schemas' ORDER BY seq;

-- Promise: reports are deleted when audit events would be.
SET session_replication_role = replica;
ALTER TABLE miosa.schema_reports DISABLE TRIGGER schema_reports_keep;
UPDATE miosa.schema_reports SET keep_until = now() - '1 s'::interval WHERE name = 'app';
ALTER TABLE miosa.schema_reports ENABLE ALWAYS TRIGGER schema_reports_keep;
RESET session_replication_role;
SELECT what, removed FROM miosa_purge_expired() WHERE what = 'schema_reports';
SELECT name, count(*) FROM miosa.schema_reports GROUP BY name ORDER BY name;
-- and schemas with their tenant
SELECT miosa_put_tenant('ten_2', 'other') IS NOT NULL AS put;
SELECT r #>> '{data,tenant_id}' FROM miosa_report_schema('app', 4, 1, tenant_id => 'ten_2') r;
SELECT miosa_remove_tenant('ten_2') IS NOT NULL AS removed;
SELECT tenant_id, name FROM miosa.schemas ORDER BY 1, 2;
-- a name may be taken away again
SELECT miosa_set_deployment('dep_3', schema_name => '') IS NOT NULL AS set;
SELECT schema_name IS NULL AS none FROM miosa.deployments WHERE id = 'dep_3';
SET client_min_messages = error;
DROP SCHEMA app, other CASCADE;

\i :cleanup
