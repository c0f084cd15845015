-- Rights: nothing is PUBLIC's, operators operate, administrators administrate.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS miosa_rollback CASCADE;
CREATE EXTENSION miosa_rollback;

-- Whatever the extension has made or will make: no right for PUBLIC.
SELECT pg_describe_object(d.classid, d.objid, 0) AS object, a.privilege_type AS public_may
FROM pg_depend d
LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
LEFT JOIN pg_namespace n ON d.classid = 'pg_namespace'::regclass AND n.oid = d.objid
CROSS JOIN aclexplode(CASE WHEN p.oid IS NOT NULL THEN coalesce(p.proacl, acldefault('f', p.proowner))
	WHEN c.oid IS NOT NULL THEN coalesce(c.relacl, acldefault('r', c.relowner))
	WHEN n.oid IS NOT NULL THEN coalesce(n.nspacl, acldefault('n', n.nspowner)) END) a
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND a.grantee = 0
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'miosa_rollback');
-- Nor outside of what depends on the extension.
SELECT p.oid::regprocedure FROM pg_proc p CROSS JOIN aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
WHERE (p.pronamespace = 'miosa'::regnamespace OR p.proname LIKE 'miosa%') AND a.grantee = 0;

-- Every function says how it behaves; those with the owner's rights fix their
-- search_path.
SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE (p.pronamespace = 'miosa'::regnamespace OR p.proname LIKE 'miosa\_%') AND p.prosecdef
	AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false);

-- What the groups have.
SELECT a.grantee::regrole AS role, p.pronamespace::regnamespace AS schema, string_agg(DISTINCT p.proname, ' ' ORDER BY p.proname) AS functions
FROM pg_proc p CROSS JOIN aclexplode(p.proacl) a
WHERE (p.pronamespace = 'miosa'::regnamespace OR p.proname LIKE 'miosa\_%') AND a.grantee <> p.proowner
GROUP BY 1, 2 ORDER BY 1, 2;
SELECT c.relname, string_agg(left(a.grantee::regrole::text, 14) || ' ' || lower(a.privilege_type), ', ' ORDER BY a.grantee::regrole::text DESC, a.privilege_type) AS rights
FROM pg_class c LEFT JOIN LATERAL (SELECT * FROM aclexplode(c.relacl) a WHERE a.grantee <> c.relowner) a ON true
WHERE c.relnamespace = 'miosa'::regnamespace AND c.relkind IN ('r', 'v') GROUP BY 1 ORDER BY 1;
SELECT pg_has_role('miosa_admin', 'miosa_operator', 'USAGE') AS admin_is_operator,
	(SELECT bool_or(rolcanlogin OR rolsuper OR rolcreaterole) FROM pg_roles WHERE rolname IN ('miosa_operator', 'miosa_admin')) AS more_than_groups;

-- At work.
SELECT miosa_put_tenant('ten_1', 'acme') IS NOT NULL AS ok;
SELECT miosa_put_deployment('dep_1', 'ten_1', 'blog') IS NOT NULL AS ok;
SELECT count(miosa_put_version('dep_1', 'ver_' || n, storage_uri => 's3://b/' || n)) FROM generate_series(1, 3) n;
CREATE ROLE regress_nobody;
CREATE ROLE regress_operator IN ROLE miosa_operator;
CREATE ROLE regress_admin IN ROLE miosa_admin;
SET ROLE regress_nobody;
SELECT miosa_rollback('dep_1');
SELECT miosa_doctor();
SELECT * FROM miosa.deployments;
SELECT * FROM miosa.status('blog');
SET ROLE regress_operator;
SELECT miosa_promote('dep_1', 'ver_1') -> 'operation' ->> 'outcome' AS outcome;
SELECT value FROM miosa.promote('blog', 'v2') WHERE item = 'result';
SELECT value FROM miosa.rollback('blog', 'v1') WHERE item = 'result';
SELECT count(*) > 0 AS ok FROM miosa.status('blog');
SELECT count(*) AS candidates FROM miosa.candidates('blog');
SELECT change, by FROM miosa.history('blog');
SELECT count(*) >= 0 AS ok FROM miosa.progress;
SELECT count(*) > 0 AS ok FROM miosa_doctor();
SELECT miosa_plan('dep_1', 'ver_2') -> 'data' ->> 'outcome' AS outcome;
SELECT miosa_convergence('dep_1') -> 'data' ->> 'state' AS state;
SELECT miosa_deployment('dep_1') IS NOT NULL AND miosa_version('dep_1', 'ver_1') IS NOT NULL AND miosa_versions('dep_1') IS NOT NULL
	AND miosa_audit_log() IS NOT NULL AND NOT EXISTS (SELECT FROM miosa_route('x')) AND miosa_routes_since(0) IS NOT NULL AS reads;
SELECT count(*) AS deployments FROM miosa.deployments;
SELECT value FROM miosa.secrets;
SELECT miosa_put_tenant('ten_2', 'two');
SELECT miosa_archive_version('dep_1', 'ver_3');
SELECT miosa_put_endpoint('e', 'webhook', 'http://example.invalid');
SELECT miosa_purge_expired();
UPDATE miosa.deployments SET active_version_id = 'ver_1';
INSERT INTO miosa.audit_events SELECT * FROM miosa.audit_events;
SELECT miosa.raise_condition('FORBIDDEN', 'x', 'y', 'z');
SET ROLE regress_admin;
SELECT miosa_put_tenant('ten_2', 'two') -> 'data' ->> 'slug' AS slug;
INSERT INTO miosa.deployments (id, tenant_id, name, slug) VALUES ('dep_2', 'ten_2', 'shop', 'shop');
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('dep_2', 'a', 'ten_2', 1, 'ready'), ('dep_2', 'b', 'ten_2', 2, 'ready');
UPDATE miosa.deployments SET active_version_id = 'b' WHERE id = 'dep_2';
SELECT actor_id, target_version_id FROM miosa.audit_events WHERE deployment_id = 'dep_2';
UPDATE miosa.versions SET state = 'archived' WHERE deployment_id = 'dep_2' AND id = 'a';
UPDATE miosa.versions SET state = 'archived' WHERE deployment_id = 'dep_2' AND id = 'b';
INSERT INTO miosa.domains (fqdn, deployment_id, tenant_id) VALUES ('shop.example.com', 'dep_2', 'ten_2');
UPDATE miosa.domains SET state = 'failed' WHERE fqdn = 'shop.example.com';
UPDATE miosa.plans SET artifact_retention = '31 days' WHERE name = 'pro';
BEGIN;
INSERT INTO miosa.endpoints (name, adapter, url) VALUES ('e', 'haproxy-map', 'http://example.invalid');
INSERT INTO miosa.endpoints (name, adapter, url) VALUES ('f', 'haproxy-map', 'ftp://example.invalid');
ROLLBACK;
BEGIN;
INSERT INTO miosa.secrets (name, value) VALUES ('token', 's3cr3t');
SELECT name FROM miosa.secrets;
SELECT value FROM miosa.secrets;
ROLLBACK;
UPDATE miosa.audit_events SET reason = 'x';
DELETE FROM miosa.outbox;
RESET ROLE;

-- The extension's schema may let others make functions.  Overloads of theirs
-- are never what the console calls with its owner's rights.
GRANT CREATE ON SCHEMA public TO regress_operator;
SET ROLE regress_operator;
CREATE FUNCTION public.miosa_rollback(text, text, text, text, text, varchar, text, boolean) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'hijacked as %', current_user;
END $$;
CREATE FUNCTION public.miosa_promote(text, text, text, text, text, varchar, text, boolean) RETURNS jsonb LANGUAGE sql
	RETURN public.miosa_rollback(NULL::text, NULL, NULL, NULL, NULL, NULL::varchar, NULL, NULL);
CREATE FUNCTION public.miosa_plan(text) RETURNS jsonb LANGUAGE sql
	RETURN public.miosa_promote(NULL::text, NULL, NULL, NULL, NULL, NULL::varchar, NULL, NULL);
CREATE FUNCTION public.miosa_plan(text, text, text DEFAULT NULL) RETURNS jsonb LANGUAGE sql
	RETURN public.miosa_promote(NULL::text, NULL, NULL, NULL, NULL, NULL::varchar, NULL, NULL);
SELECT value FROM miosa.promote('blog', 'v3') WHERE item = 'result';
SELECT value FROM miosa.rollback('blog', 'v2') WHERE item = 'result';
SELECT version, note FROM miosa.candidates('blog');
DROP FUNCTION public.miosa_plan(text, text, text), public.miosa_plan(text),
	public.miosa_promote(text, text, text, text, text, varchar, text, boolean),
	public.miosa_rollback(text, text, text, text, text, varchar, text, boolean);
RESET ROLE;
REVOKE CREATE ON SCHEMA public FROM regress_operator;

DROP EXTENSION miosa_rollback CASCADE;

-- Who may make anything in the database may not make the extension, nor have
-- it adopt what he has made.
GRANT CREATE ON DATABASE :DBNAME TO regress_nobody;
SET ROLE regress_nobody;
CREATE EXTENSION miosa_rollback;
CREATE SCHEMA miosa;
RESET ROLE;
CREATE EXTENSION miosa_rollback;
DROP SCHEMA miosa;
REVOKE CREATE ON DATABASE :DBNAME FROM regress_nobody;
DROP ROLE regress_nobody, regress_operator, regress_admin;
