-- Tenants: with miosa_rollback.tenancy = enforced another tenant's rows do not
-- exist.  The calls are generated from the catalog, so that a new function, a new
-- argument and a new relation are covered.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture
\set SHOW_CONTEXT never
SET datestyle = 'ISO';

-- Two tenants.  Each name of the other one's has "foreign" in it, and is as long
-- as the name of something that does not exist, with "nothere" in it.
SET client_min_messages = error;
INSERT INTO miosa.tenants (id, slug) VALUES ('ten_foreign', 'foreign');
SELECT test.history('dep_own', 3), test.deployment('dep_own_2', 2, 'dynamic');
CREATE FUNCTION test.foreign(dep text, slug text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO miosa.deployments (id, tenant_id, name, slug, kind, desired_replicas) VALUES (dep, 'ten_foreign', 'foreign ' || E'\xe2\x80\xae' || dep, slug, 'dynamic', 2);
	INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, kind, state, artifact_uri)
		SELECT dep, 'ver_foreign_' || i, 'ten_foreign', i, 'dynamic', 'ready', 's3://foreign/' || i FROM generate_series(1, 3) i;
	INSERT INTO miosa.releases (deployment_id, id, deployment_version_id, tenant_id, kind, storage_uri)
		SELECT dep, 'rel_foreign_' || i, 'ver_foreign_' || i, 'ten_foreign', 'dynamic', 'test://foreign/' || i FROM generate_series(1, 3) i;
	FOR i IN 1 .. 3 LOOP
		PERFORM miosa_promote(dep, 'ver_foreign_' || i, 'key-foreign-' || i, 'the foreign reason');
	END LOOP;
	INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id, state, address) VALUES (dep, 'inst_foreign', 'ten_foreign', 'ver_foreign_3', 'starting', 'foreign.internal');
	INSERT INTO miosa.capacity (deployment_id, version_id, state, since, last_error, last_error_at)
		VALUES (dep, 'ver_foreign_3', 'wanted', now() - '1 hour'::interval, 'the foreign scheduler', now()) ON CONFLICT DO NOTHING;
	UPDATE miosa.deployments SET waiting_since = now() - '1 hour'::interval WHERE id = dep;
	INSERT INTO miosa.convergence_log (deployment_id, seq, tenant_id, epoch, state, created_at, last_edge)
		VALUES (dep, 100, 'ten_foreign', 1, 'converged', now(), 'foreign') ON CONFLICT DO NOTHING;
END $$;
SELECT test.foreign('dep_foreign', 'shop-foreign'), test.foreign('dep-own', 'dep-own'), test.foreign('dep_foreign' || repeat('x', 240), 'own.example.com');
INSERT INTO miosa.domains (fqdn, deployment_id, tenant_id) VALUES ('own.example.com', 'dep_own', 'ten_1'), ('*.own.example.com', 'dep_own', 'ten_1'),
	('www.foreign.example.com', 'dep_foreign', 'ten_foreign'), ('*.foreign.example.com', 'dep_foreign', 'ten_foreign'),
	('foreign.own.example.com', 'dep_foreign', 'ten_foreign');
INSERT INTO miosa.domains (fqdn, deployment_id, tenant_id, state, id, redirect_policy, verified_at) VALUES ('gone.example.com', 'dep_foreign', 'ten_foreign',
	'removed', 'dom_foreign', 'apex_to_www', '2026-01-01');
INSERT INTO miosa.removed_hosts (host, deployment_id) VALUES ('old.foreign.example.com', 'dep_foreign'), ('old.own.example.com', 'dep_own');
INSERT INTO miosa.endpoints (name, adapter, url, enabled, selector) VALUES ('edge-foreign', 'webhook', 'http://foreign.example.com', false, '{"tenant": "ten_foreign"}');
INSERT INTO miosa.endpoint_state (endpoint, config, last_error) VALUES ('edge-foreign', 'foreign', 'foreign');
INSERT INTO miosa.delivery_failures (endpoint, deployment_id, epoch, last_error) VALUES ('edge-1', 'dep_foreign', 1, 'foreign'), ('edge-1', 'dep_own', 1, 'own');
SELECT miosa_report_schema('foreign', 1, tenant_id => 'ten_foreign') IS NULL, miosa_report_schema('own', 1, tenant_id => 'ten_1') IS NULL,
	miosa_report_schema('foreign-shared', 1) IS NULL;
SELECT f IS NULL FROM miosa_put_freeze('fz-foreign', now() + '2 days', now() + '1 day', tenant_id => 'ten_foreign') f;
SELECT f IS NULL FROM miosa_put_freeze('foreign', now() + '2 days', now() + '1 day', '{"ids": ["dep_foreign"]}') f;
SELECT f IS NULL FROM miosa_put_freeze('foreign-too', now() + '2 days', now() + '1 day', '{"tenant": "ten_foreign"}') f;
INSERT INTO miosa.storages (prefix, endpoint) VALUES ('s3://foreign/', 'https://foreign.example.com');
INSERT INTO miosa.secrets (name, value) VALUES ('foreign', 'foreign');
INSERT INTO miosa.route_log (epoch, deployment_id, route_seq, kind, host, created_at)
	VALUES (1, 'dep_foreign', 1, 'host_removed', 'foreign.example.com', now()), (2, 'dep_own', 1, 'host_removed', 'own', now());
INSERT INTO miosa.outbox (deployment_id, kind, host) VALUES ('dep_foreign', 'repurge', 'foreign'), ('dep_own', 'repurge', 'own');

-- The caller has every right but to act for all tenants.
CREATE ROLE regress_tenant;
CREATE ROLE regress_stranger;
CREATE ROLE regress_gateway LOGIN;
DO $$
DECLARE
	r name;
BEGIN
	FOR r IN SELECT rolname FROM pg_roles WHERE rolname LIKE 'miosa\_%' AND rolname NOT IN ('miosa_all_tenants', 'miosa_owner') AND NOT rolcanlogin LOOP
		EXECUTE format('GRANT %I TO regress_tenant, regress_stranger', r);
	END LOOP;
END $$;
GRANT regress_tenant TO regress_gateway;
GRANT USAGE ON SCHEMA test TO regress_tenant, regress_stranger;
-- Policies hold also where somebody grants plain writes.
GRANT INSERT, UPDATE, DELETE ON miosa.tenants, miosa.deployments, miosa.domains, miosa.tenant_members TO regress_tenant;
GRANT EXECUTE ON FUNCTION miosa.may TO regress_tenant;
SELECT miosa_grant_tenant('regress_tenant', 'ten_1', '{read,rollback,deploy,report}') #>> '{data,scopes}';
SELECT miosa_grant_tenant('miosa_operator', 'ten_foreign', '{speak}') #>> '{data,scopes}';

-- The values of arguments: names of something foreign.
CREATE TABLE test.names (value text);
INSERT INTO test.names VALUES ('dep_foreign'), ('dep_foreign#1'), ('dep_foreign#3'), ('shop-foreign'), ('www.foreign.example.com'), ('x.foreign.example.com'),
	('*.foreign.example.com'), ('foreign.own.example.com'), ('shop-foreign.foreign.miosa.app'), ('ver_foreign_1'), ('rel_foreign_1'),
	('inst_foreign'), ('ten_foreign'), ('key-foreign-1'), ('edge-foreign'), ('foreign'), ('test://foreign/1'), ('s3://foreign/1'), ('s3://foreign/'),
	('dep_foreign' || repeat('x', 240)), ('dep_foreign' || repeat('x', 240) || '#1'), ('dep-own#3');
-- What stands for an argument that does not vary, by its name, else by its type.
CREATE FUNCTION test.usual(name text, type text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE
		WHEN type = 'text' THEN quote_nullable(CASE
			WHEN name IN ('deployment_id', 'deployment', 'deployment_or_operation', 'id', 'operation') THEN 'dep_foreign'
			WHEN name IN ('version_id', 'version', 'expected_active') THEN 'ver_foreign_1'
			WHEN name = 'release_id' THEN 'rel_foreign_1'
			WHEN name = 'tenant_id' THEN 'ten_foreign'
			WHEN name IN ('fqdn', 'host') THEN 'www.foreign.example.com'
			WHEN name = 'idempotency_key' THEN 'key-foreign-1'
			WHEN name = 'storage_uri' THEN 'test://foreign/1'
			WHEN name = 'state' THEN 'ready'
			WHEN name = 'role_name' THEN 'regress_stranger'
			WHEN name IN ('name', 'endpoint') THEN 'edge-foreign' END)
		WHEN type = 'text[]' THEN '''{read}''::text[]'
		WHEN type = 'integer' THEN '10'
		WHEN type = 'bigint' THEN '0'
		WHEN type = 'boolean' THEN 'false'
		WHEN type = 'jsonb' AND name = 'selector' THEN '''{"ids": ["dep_foreign"]}''::jsonb'
		WHEN type = 'jsonb' THEN '''{}''::jsonb'
		WHEN type = 'interval' THEN '''0 s''::interval'
		ELSE 'NULL::' || type END $$;
-- Every function and procedure of the extension that the role may call; those for
-- arguments of other types call these.
CREATE FUNCTION test.routines(role name) RETURNS TABLE (oid oid, call text) LANGUAGE sql AS $$
	SELECT p.oid, CASE p.prokind WHEN 'p' THEN 'CALL %s' ELSE 'SELECT string_agg(t::text, E''\n'') FROM %s t' END
	FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'miosa_rollback')
	WHERE has_function_privilege(role, p.oid, 'EXECUTE') AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
		AND p.prosrc <> 'mrb_overload' $$;
-- Calls of all of them, each with every name in every text argument.
CREATE FUNCTION test.calls(role name) RETURNS SETOF text LANGUAGE sql AS $$
	WITH arguments AS MATERIALIZED (
		SELECT p.oid, a.n, a.name, format_type(a.type, NULL) AS type
		FROM pg_proc p CROSS JOIN LATERAL unnest(p.proargnames[:p.pronargs], p.proargtypes::oid[]) WITH ORDINALITY a (name, type, n)
		WHERE p.oid IN (SELECT r.oid FROM test.routines(role) r))
	SELECT DISTINCT format(r.call, format('%s(%s)', p.oid::regproc, (
			SELECT string_agg(CASE WHEN a.n = v.n THEN quote_literal(v.value) ELSE test.usual(a.name, a.type) END, ', ' ORDER BY a.n)
			FROM arguments a WHERE a.oid = p.oid)))
	FROM test.routines(role) r JOIN pg_proc p ON p.oid = r.oid
	CROSS JOIN LATERAL (
		SELECT NULL::bigint AS n, NULL::text AS value
		UNION ALL
		SELECT a.n, m.value FROM arguments a CROSS JOIN test.names m WHERE a.oid = p.oid AND a.type = 'text'
			-- The role's own refused calls come in as the dispatcher writes them.
			AND NOT (p.proname ~ 'timeline|report' AND m.value ~ 'own')) v $$;
-- What one call says, in every field, with times blotted out.  It is undone.
CREATE FUNCTION test.say(role name, call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	message text;
	detail text;
	hint text;
	context text;
	state text;
BEGIN
	BEGIN
		EXECUTE format('SET LOCAL ROLE %I', role);
		IF call LIKE 'CALL %' THEN
			EXECUTE call;
		ELSE
			EXECUTE call INTO result;
		END IF;
		RAISE EXCEPTION USING ERRCODE = 'ZZ000', MESSAGE = coalesce(result, '');
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
			context = PG_EXCEPTION_CONTEXT;
		IF state = 'ZZ000' THEN
			result := message;
		ELSE
			result := concat_ws(E'\n', state, message, detail, hint, regexp_replace(context, '(PL/pgSQL assignment|SQL expression) [^\n]*\n|\nSQL statement.*', '', 'g'));
		END IF;
	END;
	result := regexp_replace(result, '\m([0-9]+|<1) (s|min|h)\M|"age_seconds": [0-9.]+', '<age>', 'g');
	-- where times are in the pictures of a report
	result := regexp_replace(result, '<text class="in"[^>]*>[^<]*</text>|\m(x|width)="[0-9.]+"', '', 'g');
	RETURN regexp_replace(result, '\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)?', '<time>', 'g');
END $$;
-- Calls that say something else about what is foreign than about what does not
-- exist, by function; and how many calls there were.
CREATE FUNCTION test.differences(role name, OUT function text, OUT difference text) RETURNS SETOF record LANGUAGE sql AS $$
	SELECT substring(c FROM '(?:FROM|CALL) ([a-z_.]+)\('), format(E'%s\n  foreign: %s\n  nothere: %s', c, s.one, s.other)
	FROM test.calls(role) c
	CROSS JOIN LATERAL (SELECT replace(test.say(role, c), 'foreign', 'nothere') AS one, test.say(role, replace(c, 'foreign', 'nothere')) AS other) s
	WHERE s.one <> s.other ORDER BY c COLLATE "C" $$;
-- Rows of relations that have something foreign, and how many have not. (The
-- role's own refused calls keep the keys that they were made with.)
CREATE FUNCTION test.rows(role name, OUT relation text, OUT shown bigint, OUT other bigint) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
	FOR relation IN
		SELECT c.oid::regclass FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
			AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'miosa_rollback')
		WHERE c.relkind IN ('r', 'v', 'm') AND has_table_privilege(role, c.oid, 'SELECT') ORDER BY c.oid::regclass::text COLLATE "C"
	LOOP
		EXECUTE format('SET LOCAL ROLE %I', role);
		EXECUTE format('SELECT count(*) FILTER (WHERE t::text ~ ''(?<!key-)foreign(?!_grants)''), count(*) FILTER (WHERE t::text !~ ''(?<!key-)foreign(?!_grants)'') FROM %s t', relation)
			INTO shown, other;
		RESET ROLE;
		RETURN NEXT;
	END LOOP;
END $$;

-- Mode single: the role sees all, so the test can tell.
SELECT count(*) > 1000 AS many_calls FROM test.calls('regress_tenant');
SELECT count(DISTINCT function) > 25 AS many_differ FROM test.differences('regress_tenant');
-- (The dispatcher may have made a statement, taken what waits and written
-- refusals, or not yet.)
SELECT relation FROM test.rows('regress_tenant') WHERE shown > 0
	AND relation NOT IN ('miosa.audit_statements', 'miosa.outbox', 'miosa.route_log', 'miosa.refusals');

ALTER SYSTEM SET miosa_rollback.tenancy = 'enforced';
ALTER SYSTEM SET miosa_rollback.trusted_gateways = 'regress_gateway';
SELECT pg_reload_conf();
\set ECHO none
\o /dev/null
SELECT test.until_read('miosa_rollback.tenancy') \gexec
\o
\set ECHO all
SHOW miosa_rollback.tenancy;

-- Promise: no function says anything else about what is foreign than about what
-- does not exist, and none waits for a lock on it: all of it is locked.  (A host
-- and the id of a deployment are unique among all tenants: that they are taken is
-- said, and not by whom.)
SELECT test.digest() AS before \gset
BEGIN;
SELECT count(*) FROM (SELECT FROM miosa.tenants WHERE id = 'ten_foreign' FOR UPDATE) l;
SELECT count(*) FROM (SELECT FROM miosa.deployments WHERE tenant_id = 'ten_foreign' FOR UPDATE) l;
SELECT count(*) FROM (SELECT FROM miosa.versions WHERE tenant_id = 'ten_foreign' FOR UPDATE) l;
SELECT count(*) FROM (SELECT FROM miosa.releases WHERE tenant_id = 'ten_foreign' FOR UPDATE) l;
SELECT count(*) FROM (SELECT FROM miosa.runtime_instances WHERE tenant_id = 'ten_foreign' FOR UPDATE) l;
SELECT count(*) FROM (SELECT FROM miosa.domains WHERE tenant_id = 'ten_foreign' FOR UPDATE) l;
SELECT count(*) FROM (SELECT k.* FROM miosa.idempotency_keys k WHERE k.key LIKE 'key-foreign%' FOR UPDATE) l;
SELECT count(*) FROM (SELECT FROM miosa.endpoints FOR UPDATE) l;
PREPARE TRANSACTION 'regress_foreign';
SELECT test.code($$SELECT miosa_rollback('dep_foreign', 'ver_foreign_1')$$);
SET client_min_messages = notice;
SELECT function, difference FROM test.differences('regress_tenant');
SELECT function, difference FROM test.differences('regress_stranger');
SELECT test.digest() = :'before' AS nothing_changed;
-- Promise: nor does the number of pages that it reads say that a foreign
-- deployment exists, once the session has come upon the tenant.
CREATE FUNCTION test.pages(role name, call text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	before bigint;
BEGIN
	FOR i IN 1 .. 3 LOOP
		before := (SELECT sum(pg_stat_get_xact_blocks_fetched(c.oid)) FROM pg_class c WHERE c.relnamespace = 'miosa'::regnamespace AND c.relkind IN ('r', 'i'));
		PERFORM test.say(role, call);
	END LOOP;
	RETURN (SELECT sum(pg_stat_get_xact_blocks_fetched(c.oid)) FROM pg_class c WHERE c.relnamespace = 'miosa'::regnamespace AND c.relkind IN ('r', 'i')) - before;
END $$;
CREATE TABLE test.read AS
	SELECT c.call, test.pages('regress_tenant', c.call) AS "foreign", test.pages('regress_tenant', replace(c.call, 'foreign', 'nothere')) AS nothere
	FROM test.calls('regress_tenant') c (call)
	-- With the deployment and nothing else that may exist; miosa.stands_on() is
	-- plain SQL for a view
	WHERE c.call !~ 'stands_on' AND c.call ~ '''dep_foreign' AND translate(c.call, '(', '') !~ '_foreign_|-foreign|foreign\.|ten_foreign'
	ORDER BY c.call COLLATE "C";
SELECT count(*) > 50 AS many_calls, count(*) FILTER (WHERE "foreign" > 0) > 50 AS many_read FROM test.read;
SELECT * FROM test.read WHERE "foreign" <> nothere;
-- Promise: no relation shows a foreign row; the role's own are there.
SELECT * FROM test.rows('regress_tenant') WHERE shown > 0;
SELECT relation, other FROM test.rows('regress_tenant') WHERE other > 0 AND relation IN ('miosa.deployments', 'miosa.versions', 'miosa.releases',
	'miosa.domains', 'miosa.audit_events', 'miosa.tenants', 'miosa.schemas', 'miosa.schema_reports', 'miosa.routes', 'miosa.hosts', 'miosa.removed_hosts', 'miosa.delivery_failures');
SELECT relation, shown FROM test.rows('regress_stranger') WHERE shown > 0 OR other > 0 AND relation NOT LIKE '%plans%';

-- Promise: nor does a function in a condition see one, however early it is called.
CREATE FUNCTION test.leak(value text) RETURNS boolean LANGUAGE plpgsql STABLE COST 0.0000001 AS $$
BEGIN
	IF value ~ '(?<!key-)foreign(?!_grants)' THEN
		PERFORM set_config('test.leaked', 'yes', false);
	END IF;
	RETURN true;
END $$;
GRANT EXECUTE ON FUNCTION test.leak TO regress_tenant;
CREATE FUNCTION test.leaks(role name) RETURNS SETOF text LANGUAGE plpgsql
SET enable_nestloop = off SET enable_indexscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
	c record;
BEGIN
	FOR c IN
		SELECT d.objid::regclass AS relation, a.attname AS name FROM pg_depend d JOIN pg_class r ON r.oid = d.objid AND r.relkind IN ('r', 'v', 'm')
		JOIN pg_attribute a ON a.attrelid = d.objid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'miosa_rollback')
			AND has_column_privilege(role, d.objid, a.attnum, 'SELECT')
		ORDER BY d.objid::regclass::text COLLATE "C", a.attnum
	LOOP
		PERFORM set_config('test.leaked', 'no', false);
		EXECUTE format('SET LOCAL ROLE %I', role);
		EXECUTE format('SELECT count(*) FROM %s t WHERE test.leak(t.%I::text)', c.relation, c.name);
		RESET ROLE;
		IF current_setting('test.leaked') = 'yes' THEN
			RETURN NEXT format('%s.%s', c.relation, c.name);
		END IF;
	END LOOP;
END $$;
SELECT count(*) > 20 AS told FROM test.leaks(current_user);
SELECT * FROM test.leaks('regress_tenant');

CREATE FUNCTION test.group(ids text[], OUT deployment_id text, OUT condition text, OUT message text, OUT detail text) RETURNS SETOF record LANGUAGE sql
	SECURITY DEFINER AS $$ SELECT g.deployment_id, g.condition, g.message, g.detail FROM miosa.rollback_group(ids) g $$;

-- Promise: names that a foreign deployment, host or slug has as well lead to the
-- own one.
SET ROLE regress_tenant;
SELECT value FROM miosa.status('dep-own') WHERE item = 'deployment';
SELECT value FROM miosa.status('own.example.com') WHERE item = 'deployment';
SELECT value FROM miosa.status('foreign.own.example.com') WHERE item = 'deployment';
SELECT value FROM miosa.status('dep-own.acme.miosa.app') WHERE item = 'deployment';
SELECT r -> 'data' ->> 'deployment_id' AS deployment FROM miosa_route('foreign.own.example.com') r;
SELECT count(*) FROM miosa_route('www.foreign.example.com');
SELECT DISTINCT e ->> 'deployment_id' AS deployment FROM jsonb_array_elements(miosa_routes_since(0) -> 'data') e ORDER BY 1;
SELECT DISTINCT e ->> 'tenant_id' AS tenant FROM jsonb_array_elements(miosa_audit_log("limit" => 200) -> 'data') e;
SELECT * FROM miosa.overdue;
SELECT count(*) AS foreign_changes FROM miosa.progress WHERE operation ~ 'foreign';
SELECT * FROM test.group(ARRAY['dep_foreign', 'dep_nothere']);

-- Promise: what is unique among all tenants is refused without a word about whose
-- it is.
SELECT test.refusal($$SELECT miosa_put_domain('www.foreign.example.com', 'dep_own')$$);
SELECT test.refusal($$SELECT miosa_put_domain('shop-foreign.foreign.miosa.app', 'dep_own')$$);
-- So are the hosts of its wildcards, and all that its deployments may once have.
SELECT h.host, test.code(format('SELECT miosa_put_domain(%L, ''dep_own'')', h.host)) FROM (VALUES ('new.foreign.example.com'), ('*.foreign.miosa.app'),
	('new.foreign.miosa.app'), ('new.nothere.miosa.app'), ('*.miosa.app'), ('miosa.app'), ('xacme.miosa.app')) h (host);
SELECT h.host, test.code(format('SELECT miosa_put_domain(%L, ''dep_own'')', h.host)) FROM (VALUES ('*.acme.miosa.app'), ('new.acme.miosa.app'), ('acme.miosa.app')) h (host);
SELECT test.refusal($$SELECT miosa_put_deployment('dep_foreign', 'ten_1')$$);
SELECT test.refusal($$SELECT miosa_put_deployment('dep_own_3', 'ten_foreign')$$);
SELECT miosa_remove_domain('www.foreign.example.com') -> 'data' ->> 'state' AS state;
RESET ROLE;
ROLLBACK PREPARED 'regress_foreign';
SET ROLE regress_tenant;
-- One that another tenant has given up says nothing of it, and is not verified.
SELECT miosa_put_domain('gone.example.com', 'dep_own') #- '{data,created_at}' AS domain;

-- Promise: plain SQL writes own rows only.
SELECT test.code($$INSERT INTO miosa.deployments (id, tenant_id, name, slug) VALUES ('x', 'ten_foreign', 'x', 'x')$$);
SELECT test.code($$INSERT INTO miosa.domains (fqdn, deployment_id, tenant_id) VALUES ('x.example.com', 'dep_foreign', 'ten_1')$$);
SELECT test.code($$INSERT INTO miosa.domains (fqdn, deployment_id, tenant_id) VALUES ('x.example.com', 'dep_nothere', 'ten_1')$$);
SELECT test.code($$UPDATE miosa.tenants SET slug = 'x' WHERE id = 'ten_foreign'$$);
SELECT test.code($$INSERT INTO miosa.tenant_members (tenant_id, role_name, scopes) VALUES ('*', 'regress_tenant', '{read}')$$);

-- Promise: a scope that is lacking is FORBIDDEN, not "not found".
RESET ROLE;
SELECT miosa_revoke_tenant('regress_tenant', 'ten_1', '{rollback,deploy,report}') #>> '{data,scopes}';
SET ROLE regress_tenant;
SELECT miosa_deployment('dep_own') -> 'data' ->> 'id' AS id;
SELECT test.refusal($$SELECT miosa_rollback('dep_own', 'ver_1', 'key-1')$$);
SELECT test.refusal($$SELECT miosa_promote('dep_own', 'ver_1')$$);
SELECT test.refusal($$SELECT * FROM miosa.rollback('own.example.com')$$);
SELECT test.refusal($$SELECT miosa_put_version('dep_own', 'ver_9')$$);
SELECT test.refusal($$SELECT miosa_put_domain('new.example.com', 'dep_own')$$);
SELECT test.refusal($$SELECT miosa_remove_domain('own.example.com')$$);
SELECT test.refusal($$SELECT miosa_report_instance('dep_own', 'i', 'ver_1', 'healthy')$$);
SELECT test.refusal($$SELECT miosa_resend('dep_own')$$);
SELECT test.refusal($$SELECT miosa_put_deployment('dep_own_3', 'ten_1')$$);
SELECT test.refusal($$SELECT miosa_collect()$$);
SELECT test.refusal($$SELECT miosa_doctor()$$);
SELECT test.refusal($$SELECT miosa_grant_tenant('regress_tenant', '*', '{read}')$$);
RESET ROLE;
SELECT miosa_grant_tenant('regress_tenant', 'ten_1', '{rollback}') #>> '{data,scopes}';
SET ROLE regress_tenant;
SELECT test.op(miosa_rollback('dep_own', 'ver_1', 'key-1'));
SELECT test.code($$SELECT miosa_put_version('dep_own', 'ver_9')$$);
-- Promise: a membership that ends, ends replays too.
RESET ROLE;
SELECT miosa_revoke_tenant('regress_tenant', 'ten_1');
SET ROLE regress_tenant;
SELECT test.refusal($$SELECT miosa_rollback('dep_own', 'ver_1', 'key-1')$$);
SELECT count(*) FROM miosa.deployments;
RESET ROLE;

-- Promise: the id of a deployment that was removed, with its operations, goes to no
-- other tenant, nor by a superuser.
SET client_min_messages = error;
SELECT count(*) FROM miosa_put_deployment('dep_gone', 'ten_foreign');
SELECT count(*) FROM miosa_put_version('dep_gone', 'ver_1');
SELECT count(*) FROM miosa_promote('dep_gone', 'ver_1');
SELECT count(*) FROM miosa_unpublish('dep_gone');
SELECT count(*) FROM miosa_remove_deployment('dep_gone');
SELECT test.refusal($$SELECT miosa_put_deployment('dep_gone', 'ten_1')$$);
SELECT miosa_put_deployment('dep_gone', 'ten_foreign') -> 'data' ->> 'tenant_id' AS tenant;

-- Promise: claims count in the session of a trusted gateway, and nowhere else.
CREATE FUNCTION test.claims(claims text) RETURNS text LANGUAGE sql AS $$ SELECT set_config('request.jwt.claims', claims, false) $$;
GRANT EXECUTE ON FUNCTION test.claims TO regress_tenant;
SELECT count(*) FROM test.claims('{"tenant_id": "ten_1", "scopes": "rollback"}');
SET ROLE regress_tenant;
SELECT count(*) FROM miosa.deployments;
SELECT test.code($$SELECT miosa_rollback('dep_own', 'ver_1', 'key-1')$$);
RESET ROLE;
SET SESSION AUTHORIZATION regress_gateway;
SELECT id FROM miosa.deployments ORDER BY id;
SELECT test.op(miosa_rollback('dep_own', 'ver_1', 'key-1'));
SELECT test.code($$SELECT miosa_put_version('dep_own', 'ver_9')$$);
SELECT test.code($$SELECT miosa_deployment('dep_foreign')$$);
SELECT test.code($$SELECT miosa_collect()$$);
SET ROLE regress_tenant;
SELECT test.op(miosa_rollback('dep_own', 'ver_2', 'key-2'));
SELECT count(*) FROM test.claims('{"tenant_id": "ten_foreign", "scopes": ["deployments:write"]}');
SELECT test.code($$SELECT miosa_rollback('dep_own', 'ver_1', 'key-1')$$);
SELECT count(DISTINCT id) FROM miosa.deployments;
SELECT count(*) FROM test.claims('{"scopes": "rollback"}');
SELECT count(*) FROM miosa.deployments;
SELECT count(*) FROM test.claims('');
SELECT count(*) FROM miosa.deployments;
RESET SESSION AUTHORIZATION;

\set ECHO none
ALTER SYSTEM RESET miosa_rollback.tenancy;
ALTER SYSTEM RESET miosa_rollback.trusted_gateways;
SELECT pg_reload_conf() AS reloaded \gset
DROP OWNED BY regress_tenant, regress_stranger, regress_gateway;
DROP ROLE regress_tenant, regress_stranger, regress_gateway;
\set ECHO all
\i :cleanup
