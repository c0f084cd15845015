-- Rights.  PUBLIC has none, whatever default privileges are set.  Two groups
-- get what they need; roles belong to the whole cluster, so they are made only
-- if they are missing, stay when the extension is dropped, and are the same in
-- every database that has it.

DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'miosa_operator') THEN
		CREATE ROLE miosa_operator NOLOGIN;
	END IF;
	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'miosa_admin') THEN
		CREATE ROLE miosa_admin NOLOGIN;
	END IF;
	IF NOT pg_has_role('miosa_admin', 'miosa_operator', 'MEMBER') THEN
		GRANT miosa_operator TO miosa_admin;
	END IF;
END $$;

-- Members of the extension: a function that another role made in our
-- schema is not ours to grant.
CREATE VIEW miosa.members AS
	SELECT d.classid, d.objid, 0 AS objsubid, o.kind, o.object, o.owner, o.acl
	FROM pg_depend d
	CROSS JOIN LATERAL (
		SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind,
			format('%s.%I', c.relnamespace::regnamespace, c.relname) AS object, c.relowner AS owner,
			coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)) AS acl
		FROM pg_class c WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relkind NOT IN ('i', 'I', 'c', 't')
		UNION ALL
		SELECT 'ROUTINE', p.oid::regprocedure::text, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
		FROM pg_proc p WHERE d.classid = 'pg_proc'::regclass AND p.oid = d.objid
		UNION ALL
		SELECT 'TYPE', t.oid::regtype::text, t.typowner, coalesce(t.typacl, acldefault('T', t.typowner))
		FROM pg_type t WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid
			-- Since PostgreSQL 17 arrays and rows of tables are members too.
			AND t.typelem = 0 AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind <> 'c')
		UNION ALL
		SELECT 'SCHEMA', n.oid::regnamespace::text, n.nspowner, coalesce(n.nspacl, acldefault('n', n.nspowner))
		FROM pg_namespace n WHERE d.classid = 'pg_namespace'::regclass AND n.oid = d.objid) o
	WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
		AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'miosa_rollback');
COMMENT ON VIEW miosa.members IS 'Members of the extension that have rights: tables, views, functions, the schema';
COMMENT ON COLUMN miosa.members.classid IS 'Catalog of the object';
COMMENT ON COLUMN miosa.members.objid IS 'OID of the object';
COMMENT ON COLUMN miosa.members.objsubid IS 'Always 0';
COMMENT ON COLUMN miosa.members.kind IS 'Kind of the object, as GRANT names it';
COMMENT ON COLUMN miosa.members.object IS 'Its name, as GRANT takes it';
COMMENT ON COLUMN miosa.members.owner IS 'Its owner';
COMMENT ON COLUMN miosa.members.acl IS 'Its rights';

-- pg_init_privs has the rights that the install script left.
CREATE VIEW miosa.foreign_grants AS
	SELECT DISTINCT g.kind, g.object, g.grantee, g.privilege,
		format('REVOKE %s ON %s %s FROM %s CASCADE;', g.privilege, g.kind, g.object, g.grantee) AS revoke
	FROM (
		SELECT m.kind, m.object, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee,
			a.privilege_type || coalesce(' (' || quote_ident(m.attname) || ')', '') AS privilege
		FROM (
			SELECT o.classid, o.objid, o.objsubid, NULL::name AS attname, o.kind, o.object, o.owner, o.acl FROM miosa.members o
			UNION ALL
			SELECT o.classid, o.objid, t.attnum, t.attname, o.kind, o.object, o.owner, t.attacl
			FROM miosa.members o JOIN pg_attribute t ON o.classid = 'pg_class'::regclass AND t.attrelid = o.objid
			WHERE t.attacl IS NOT NULL) m
		LEFT JOIN pg_init_privs i ON i.classoid = m.classid AND i.objoid = m.objid AND i.objsubid = m.objsubid
		CROSS JOIN aclexplode(m.acl) a
		-- Most are as they were, and nothing in them has to be compared.
		WHERE m.acl IS DISTINCT FROM i.initprivs AND a.grantee <> m.owner AND NOT EXISTS (
			SELECT FROM aclexplode(i.initprivs) s
			WHERE s.grantee = a.grantee AND s.privilege_type = a.privilege_type)) g;
COMMENT ON VIEW miosa.foreign_grants IS 'Rights on members of the extension that neither their owner nor the install script granted';
COMMENT ON COLUMN miosa.foreign_grants.kind IS 'Kind of the object, as REVOKE names it';
COMMENT ON COLUMN miosa.foreign_grants.object IS 'Name of the object';
COMMENT ON COLUMN miosa.foreign_grants.grantee IS 'Role that has the right, or PUBLIC';
COMMENT ON COLUMN miosa.foreign_grants.privilege IS 'The right, with the column if it is about one';
COMMENT ON COLUMN miosa.foreign_grants.revoke IS 'The statement that takes it back';

-- ALTER DEFAULT PRIVILEGES may have granted any role rights on what was made
-- above, or taken some from its owner: each object begins with its owner's
-- alone, and is given below to whom it is meant for.
CREATE FUNCTION miosa.leave_to_owner(member miosa.members) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	grantee oid;
BEGIN
	FOR grantee IN SELECT DISTINCT a.grantee FROM aclexplode(member.acl) a WHERE a.grantee <> member.owner LOOP
		EXECUTE format('REVOKE ALL ON %s %s FROM %s CASCADE', member.kind, member.object,
			CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END);
	END LOOP;
	EXECUTE format('GRANT ALL ON %s %s TO %s', member.kind, member.object, member.owner::regrole);
END $$;

DO $$
DECLARE
	m miosa.members;
BEGIN
	FOR m IN SELECT * FROM miosa.members LOOP
		PERFORM miosa.leave_to_owner(m);
		-- All of the API is the administrators'.
		IF m.kind = 'ROUTINE' AND m.object NOT LIKE 'miosa.%' THEN
			EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO miosa_admin', m.object);
		END IF;
	END LOOP;
END $$;

GRANT USAGE ON SCHEMA miosa TO miosa_operator, miosa_admin;

-- Operators roll back, promote and read, and resynchronize edges.
GRANT EXECUTE ON FUNCTION
	@extschema@.miosa_rollback, @extschema@.miosa_promote, @extschema@.miosa_plan,
	@extschema@.miosa_deployment, @extschema@.miosa_version, @extschema@.miosa_versions,
	@extschema@.miosa_audit_log, @extschema@.miosa_route, @extschema@.miosa_routes_since,
	@extschema@.miosa_convergence, @extschema@.miosa_wait_converged, @extschema@.miosa_doctor,
	@extschema@.miosa_resend, @extschema@.miosa_resync, @extschema@.miosa_redrive, @extschema@.miosa_test_endpoint,
	miosa.rollback, miosa.promote, miosa.status, miosa.verdict, miosa.candidates, miosa.history,
	miosa.progress_rows, miosa.heartbeat_horizon, miosa.overdue_rows, miosa.stands_on,
	miosa.stored_response, miosa.refused_address
	TO miosa_operator;
GRANT SELECT ON
	miosa.plans, miosa.own_plans, miosa.shipped_plans, miosa.tenants, miosa.deployments, miosa.versions, miosa.releases, miosa.runtime_instances,
	miosa.capacity, miosa.storages, miosa.domains, miosa.idempotency_keys, miosa.audit_events, miosa.outbox, miosa.route_log, miosa.removed_hosts,
	miosa.adapters, miosa.endpoints, miosa.endpoint_state, miosa.delivery_failures, miosa.dispatcher_state,
	miosa.hosts, miosa.routes, miosa.live_instances, miosa.progress,
	miosa.overdue
	TO miosa_operator;
-- The steps of miosa_maintain(), which runs with its caller's rights.
GRANT EXECUTE ON FUNCTION
	miosa.require_primary, miosa.maintain_rows, miosa.maintain_route_log, miosa.maintain_capacity, miosa.maintained
	TO miosa_admin;
GRANT SELECT ON miosa.maintenance, @extschema@.miosa_collectable_releases, miosa.release_keeping, miosa.collectable_artifacts, miosa.scarcely_restorable TO miosa_operator;

-- Monitoring sees how it goes, and nothing else.
GRANT USAGE ON SCHEMA miosa TO pg_monitor;
GRANT SELECT ON miosa.foreign_grants TO miosa_operator;
GRANT SELECT ON miosa.stat_endpoint, miosa.stat_dispatcher TO miosa_operator, pg_monitor;
GRANT EXECUTE ON FUNCTION miosa.wildcard_gaps TO miosa_operator;
GRANT EXECUTE ON FUNCTION miosa.endpoint_stats, miosa.dispatcher, miosa.pause_reason, miosa.first_epoch
	TO miosa_operator, pg_monitor;

-- Administrators also write what people and control planes write.  What only
-- operations and the dispatcher write (audit events, keys, outbox, log,
-- states) is not theirs, and of a secret they see the name, not the value.
GRANT INSERT, UPDATE, DELETE ON
	miosa.plans, miosa.tenants, miosa.deployments, miosa.versions, miosa.releases, miosa.runtime_instances,
	miosa.storages, miosa.domains, miosa.adapters, miosa.endpoints
	TO miosa_admin;
GRANT INSERT, UPDATE, DELETE, SELECT (name, created_at) ON miosa.secrets TO miosa_admin;
-- Functions of their triggers run with the rights of the role that writes.
GRANT EXECUTE ON FUNCTION miosa.raise_condition, miosa.refuse_value, miosa.refuse_length, miosa.check_adapter, miosa.render_request, miosa.check_url, miosa.check_selector,
	miosa.origin, miosa.identity
	TO miosa_admin;
-- So does a procedure that commits.
GRANT EXECUTE ON FUNCTION miosa.require_primary, miosa.check_limit, miosa.some_deployment, miosa.due_artifacts,
	miosa.verify_artifact
	TO miosa_admin;
GRANT EXECUTE ON PROCEDURE miosa.verify_artifacts TO miosa_admin;

-- pg_dump: the data tables are dumped like a user's own.  Shipped adapters
-- are not, since CREATE EXTENSION makes them; nor are secrets, and
-- what the dispatcher makes by itself (delivery_tables.sql marks its own tables).
SELECT pg_extension_config_dump('miosa.own_plans', '');
SELECT pg_extension_config_dump('miosa.tenants', '');
SELECT pg_extension_config_dump('miosa.deployments', '');
SELECT pg_extension_config_dump('miosa.versions', '');
SELECT pg_extension_config_dump('miosa.releases', '');
SELECT pg_extension_config_dump('miosa.runtime_instances', '');
SELECT pg_extension_config_dump('miosa.capacity', '');
SELECT pg_extension_config_dump('miosa.storages', '');
SELECT pg_extension_config_dump('miosa.domains', '');
SELECT pg_extension_config_dump('miosa.removed_hosts', '');
SELECT pg_extension_config_dump('miosa.idempotency_keys', '');
SELECT pg_extension_config_dump('miosa.audit_events', '');
