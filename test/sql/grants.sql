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
SELECT miosa_put_endpoint('edge-1', 'webhook', 'http://127.0.0.1:1', enabled => false) IS NOT NULL AS ok;
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
SELECT what FROM miosa.history('blog');
SELECT count(*) >= 0 AS ok FROM miosa.progress;
SELECT count(*) >= 0 AS ok FROM miosa.overview, miosa.wall;
SELECT count(*) > 0 AS ok FROM miosa_doctor();
SELECT miosa_resend('dep_1') IS NOT NULL AS resend, miosa_resync('edge-1') IS NOT NULL AS resync, miosa_redrive('edge-1') AS redriven;
SELECT left(miosa_test_endpoint('edge-1') -> 'data' ->> 'verdict', 30) AS verdict;
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
SELECT miosa_put_deployment('dep_2', 'ten_2', 'shop') IS NOT NULL AS ok;
SELECT count(miosa_put_version('dep_2', id)) FROM unnest('{a,b}'::text[]) id;
SELECT miosa_promote('dep_2', 'b') -> 'operation' ->> 'outcome' AS outcome;
SELECT actor_id, target_version_id FROM miosa.audit_events WHERE deployment_id = 'dep_2';
SELECT miosa_archive_version('dep_2', 'a') -> 'data' ->> 'state' AS state;
SELECT miosa_archive_version('dep_2', 'b');
SELECT miosa_put_domain('shop.example.com', 'dep_2', 'failed') -> 'data' ->> 'state' AS state;
-- What they change and remove has functions.
SELECT miosa_put_plan('pro', artifact_retention => '31 days');
SELECT miosa_put_plan('long', '90 days');
SELECT miosa_put_plan('long', '90 days', '48 hours', '60 days') -> 'data' ->> 'builtin' AS builtin;
SELECT miosa_put_plan('long', '90 days', '48 hours', '200 years');
SELECT miosa_put_plan('?', '90 days');
SELECT miosa_put_tenant('ten_2', 'two', 'long') -> 'data' ->> 'plan' AS plan;
SELECT miosa_remove_plan('long');
SELECT miosa_remove_plan('none');
SELECT miosa_put_tenant('ten_2', 'two', 'pro') -> 'data' ->> 'plan' AS plan;
SELECT miosa_remove_plan('long'), miosa_remove_plan('pro');
SELECT name, artifact_retention, builtin FROM miosa.plans ORDER BY name;
SELECT miosa_set_deployment('dep_2', 'stopped') -> 'data' ->> 'state' AS state;
SELECT miosa_set_deployment('dep_2', desired_replicas => 3) -> 'data' ->> 'desired_replicas' AS replicas;
SELECT miosa_set_deployment('dep_2', 'running') -> 'data' ->> 'state' AS state;
SELECT miosa_set_deployment('dep_2', 'pending');
SELECT miosa_set_deployment('dep_3', 'running');
SELECT miosa_put_adapter('mine', '{"request": {"method": "PUT", "path": "/{deployment_id}"}, "timeout": "3 s", "success": [200, 404]}')
	-> 'data' ->> 'timeout' AS timeout;
SELECT miosa_put_adapter('mine', '{"max_in_flight": 3}') #> '{data,request}' IS NOT NULL AS others_stay;
SELECT miosa_put_adapter('mine', '{"request": {"method": "PUT", "path": "/{nosuch}"}}');
SELECT miosa_put_adapter('mine', '{"timeout": "3 weeks"}');
SELECT miosa_put_adapter('mine', '{"builtin": true}');
SELECT miosa_put_adapter('mine', '[]');
SELECT miosa_put_adapter('webhook', '{"timeout": "3 s"}');
SELECT miosa_put_adapter('copy', '{"description": "ours"}', copy_of => 'webhook') #>> '{data,signer}' AS signer;
SELECT miosa_put_adapter('copy', copy_of => 'nosuch');
SELECT miosa_put_secret('token', 's3cr3t');
SELECT miosa_put_endpoint('e', 'mine', 'http://example.invalid', secret => 'token', enabled => false) IS NOT NULL AS ok;
SELECT miosa_remove_adapter('mine');
SELECT miosa_remove_secret('token');
SELECT name FROM miosa.secrets;
SELECT value FROM miosa.secrets;
SELECT miosa_remove_endpoint('e'), miosa_remove_adapter('mine'), miosa_remove_adapter('copy'), miosa_remove_secret('token');
SELECT miosa_remove_adapter('webhook');
SELECT miosa_remove_adapter('mine');
SELECT miosa_remove_secret('token');
SELECT miosa_remove_deployment('dep_2');
SELECT miosa_remove_tenant('ten_2');
SELECT miosa_pin_version('dep_2', 'b') IS NOT NULL AS pinned;
SELECT miosa_unpublish('dep_2') #>> '{data,state}' AS state;
SELECT miosa_unpublish('dep_2') #>> '{data,active_version_id}' AS none;
SELECT miosa_remove_deployment('dep_2'), miosa_remove_tenant('ten_2');
SELECT action, actor_id FROM miosa.audit_events WHERE deployment_id = 'dep_2' ORDER BY seq;
-- Their plain statements are refused.
UPDATE miosa.deployments SET active_version_id = 'ver_1';
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

-- Whatever default privileges say: no object gets other rights.  Every right on
-- every object of the extension, its columns and types.
CREATE TEMP TABLE rights (run text, object text, owner boolean, grantee text, privilege text, grantable boolean);
CREATE PROCEDURE pg_temp.note_rights(run text) LANGUAGE sql AS $$
	WITH members AS (
		SELECT d.classid, d.objid FROM pg_depend d
			WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
				AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'miosa_rollback')
		UNION
		SELECT 'pg_type'::regclass, t.oid FROM pg_type t WHERE t.typnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'miosa')
	), acls AS (
		SELECT m.classid, m.objid, 0 AS sub, c.relowner AS owner,
			coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)) AS acl
			FROM members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
		UNION ALL
		SELECT m.classid, m.objid, a.attnum, c.relowner, a.attacl FROM members m
			JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid JOIN pg_attribute a ON a.attrelid = c.oid
		UNION ALL
		SELECT m.classid, m.objid, 0, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
			FROM members m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
		UNION ALL
		SELECT m.classid, m.objid, 0, t.typowner, coalesce(t.typacl, acldefault('T', t.typowner))
			FROM members m JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid
		UNION ALL
		SELECT m.classid, m.objid, 0, n.nspowner, coalesce(n.nspacl, acldefault('n', n.nspowner))
			FROM members m JOIN pg_namespace n ON m.classid = 'pg_namespace'::regclass AND n.oid = m.objid
	)
	INSERT INTO rights SELECT $1, pg_describe_object(o.classid, o.objid, o.sub), a.grantee = o.owner,
		CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END, a.privilege_type, a.is_grantable
		FROM acls o CROSS JOIN aclexplode(o.acl) a
$$;
CREATE EXTENSION miosa_rollback;
CALL pg_temp.note_rights('plain');
SELECT count(*) > 500 AS enough, bool_or(object LIKE '%column%') AS columns FROM rights;
-- Every kind of object, role and place.
DO $$
DECLARE
	place text;
	grantee text;
	change text;
	run text;
BEGIN
	FOREACH place IN ARRAY ARRAY['FOR ROLE CURRENT_USER', 'IN SCHEMA public'] LOOP
		DROP EXTENSION miosa_rollback;
		run := 'hostile ' || place;
		FOREACH grantee IN ARRAY ARRAY['regress_nobody', 'PUBLIC', 'miosa_operator', 'miosa_admin', 'pg_monitor'] LOOP
			FOREACH change IN ARRAY ARRAY['TABLES', 'SEQUENCES', 'FUNCTIONS', 'TYPES', 'SCHEMAS'] LOOP
				CONTINUE WHEN change = 'SCHEMAS' AND place LIKE '%IN SCHEMA%';
				EXECUTE format('ALTER DEFAULT PRIVILEGES %s GRANT ALL ON %s TO %s%s', place, change, grantee,
					CASE grantee WHEN 'PUBLIC' THEN '' ELSE ' WITH GRANT OPTION' END);
				CONTINUE WHEN place LIKE '%IN SCHEMA%';
				EXECUTE format('ALTER DEFAULT PRIVILEGES %s REVOKE ALL ON %s FROM CURRENT_USER', place, change);
			END LOOP;
		END LOOP;
		CREATE EXTENSION miosa_rollback;
		CALL pg_temp.note_rights(run);
		FOREACH grantee IN ARRAY ARRAY['regress_nobody', 'PUBLIC', 'miosa_operator', 'miosa_admin', 'pg_monitor'] LOOP
			FOREACH change IN ARRAY ARRAY['TABLES', 'SEQUENCES', 'FUNCTIONS', 'TYPES', 'SCHEMAS'] LOOP
				CONTINUE WHEN change = 'SCHEMAS' AND place LIKE '%IN SCHEMA%';
				EXECUTE format('ALTER DEFAULT PRIVILEGES %s REVOKE ALL ON %s FROM %s', place, change, grantee);
				CONTINUE WHEN place LIKE '%IN SCHEMA%';
				EXECUTE format('ALTER DEFAULT PRIVILEGES %s GRANT ALL ON %s TO CURRENT_USER', place, change);
				IF change IN ('FUNCTIONS', 'TYPES') THEN
					EXECUTE format('ALTER DEFAULT PRIVILEGES %s GRANT ALL ON %s TO PUBLIC', place, change);
				END IF;
			END LOOP;
		END LOOP;
	END LOOP;
END $$;
SELECT count(*) AS defaults_left FROM pg_default_acl;
SELECT r.run, r.object, r.grantee, r.privilege, r.grantable, r.owner FROM rights r
WHERE NOT EXISTS (SELECT FROM rights p WHERE p.run = 'plain'
	AND (p.object, p.owner, p.grantee, p.privilege, p.grantable) = (r.object, r.owner, r.grantee, r.privilege, r.grantable));
SELECT r.run, p.object, p.grantee, p.privilege FROM rights p CROSS JOIN (SELECT DISTINCT run FROM rights) r
WHERE p.run = 'plain' AND NOT EXISTS (SELECT FROM rights o WHERE o.run = r.run
	AND (p.object, p.owner, p.grantee, p.privilege, p.grantable) = (o.object, o.owner, o.grantee, o.privilege, o.grantable));

-- What others are given later is seen, and how to take it back.
SELECT status, seen, fix FROM miosa_doctor() WHERE item = 'grants';
GRANT SELECT ON miosa.tenants TO regress_nobody;
SELECT status, seen, fix FROM miosa_doctor() WHERE item = 'grants';
GRANT SELECT (value) ON miosa.secrets TO miosa_operator;
GRANT EXECUTE ON FUNCTION miosa_put_secret TO PUBLIC;
SELECT status, seen, fix FROM miosa_doctor() WHERE item = 'grants';
GRANT USAGE ON SCHEMA miosa TO regress_nobody;
SELECT status, seen, fix FROM miosa_doctor() WHERE item = 'grants';
SELECT revoke FROM miosa.foreign_grants ORDER BY 1 \gexec
SELECT status, seen, fix FROM miosa_doctor() WHERE item = 'grants';

-- Except the rights of a replica's role on what is published for it.
SET client_min_messages = error;
CREATE PUBLICATION miosa_site FOR TABLE miosa.sites (role, site);
SET client_min_messages = warning;
CREATE ROLE regress_replication REPLICATION;
GRANT USAGE ON SCHEMA miosa TO regress_replication;
GRANT SELECT (role, site) ON miosa.sites TO regress_replication;
SELECT status, seen, fix FROM miosa_doctor() WHERE item = 'grants';
GRANT SELECT (epoch) ON miosa.sites TO regress_replication;
SELECT status, seen, fix FROM miosa_doctor() WHERE item = 'grants';
REVOKE SELECT (epoch) ON miosa.sites FROM regress_replication;
ALTER ROLE regress_replication NOREPLICATION;
SELECT status, seen, fix FROM miosa_doctor() WHERE item = 'grants';
DROP OWNED BY regress_replication;
DROP ROLE regress_replication;
DROP PUBLICATION miosa_site;

-- A publication of all tables has no value of a secret.
SET client_min_messages = error;
CREATE PUBLICATION regress_all FOR ALL TABLES;
SELECT status, seen, fix FROM miosa_doctor() WHERE item = 'secrets';
DROP PUBLICATION regress_all;
CREATE PUBLICATION regress_some FOR TABLE miosa.deployments;
SELECT status, seen, fix FROM miosa_doctor() WHERE item = 'secrets';
DROP PUBLICATION regress_some;
SET client_min_messages = warning;
DROP EXTENSION miosa_rollback;

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
