-- Rights.  PUBLIC has none, whatever default privileges are set; the roles of
-- roles.sql get what the list below says, and nothing else.

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
			WHERE s.grantee = a.grantee AND s.privilege_type = a.privilege_type)
		-- Sites copy by a role that reads what is published, and no more.
		AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = a.grantee AND r.rolreplication AND (
			m.kind = 'SCHEMA' AND a.privilege_type = 'USAGE'
			OR m.kind = 'TABLE' AND a.privilege_type = 'SELECT' AND EXISTS (SELECT FROM pg_publication_tables p
				WHERE p.pubname IN ('miosa_routes', 'miosa_site') AND format('%I.%I', p.schemaname, p.tablename) = m.object
					AND m.attname = ANY (p.attnames))))) g;
COMMENT ON VIEW miosa.foreign_grants IS 'Rights on members of the extension that neither their owner nor the install script granted';
COMMENT ON COLUMN miosa.foreign_grants.kind IS 'Kind of the object, as REVOKE names it';
COMMENT ON COLUMN miosa.foreign_grants.object IS 'Name of the object';
COMMENT ON COLUMN miosa.foreign_grants.grantee IS 'Role that has the right, or PUBLIC';
COMMENT ON COLUMN miosa.foreign_grants.privilege IS 'The right, with the column if it is about one';
COMMENT ON COLUMN miosa.foreign_grants.revoke IS 'The statement that takes it back';

-- ALTER DEFAULT PRIVILEGES may have granted any role rights on what was made
-- above, or taken some from its owner: each object begins with its owner's
-- alone, and is given below to whom it is meant for.
--
-- An event trigger, and so its function, belongs to a superuser: it runs in every
-- session that drops something, also a superuser's.
DO $$
DECLARE
	statement text;
BEGIN
	FOR statement IN
		SELECT format('REVOKE ALL ON %s %s FROM %s CASCADE', m.kind, string_agg(m.object, ', '),
			CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
		FROM miosa.members m CROSS JOIN LATERAL (SELECT DISTINCT x.grantee FROM aclexplode(m.acl) x) a
		WHERE a.grantee NOT IN ('miosa_owner'::regrole, m.owner) GROUP BY m.kind, a.grantee
		UNION ALL
		SELECT format('ALTER %s %s OWNER TO miosa_owner', m.kind, m.object) FROM miosa.members m
		WHERE m.object NOT LIKE E'miosa.load\\_drop\\_guard(%'
	LOOP
		EXECUTE statement;
	END LOOP;
	FOR statement IN
		SELECT format('GRANT ALL ON %s %s TO %s', m.kind, string_agg(m.object, ', '), m.owner::regrole)
		FROM miosa.members m GROUP BY m.kind, m.owner
	LOOP
		EXECUTE statement;
	END LOOP;
END $$;

-- Who may what: role, right, objects.  A name without a schema is that of a
-- function for programs.  A group has also what the groups have that it is a
-- member of (roles.sql): operators and deployers are viewers, administrators
-- are all.  docs/security.md has this list for people.
--
-- No group may write a table, not even insert rows: a row that routes a host, or
-- is the artifact of what is active, changes what edges serve, and only the
-- functions record and deliver that.
DO $$
DECLARE
	line record;
BEGIN
	FOR line IN WITH
		listed (roles, rights, objects) AS (VALUES
		-- To read what there is, and how delivery goes.
		('miosa_viewer', 'USAGE', 'miosa'),
		('miosa_viewer', 'EXECUTE', 'miosa_deployment miosa_version miosa_versions miosa_plan miosa_audit_log
			miosa_route miosa_routes_since miosa_convergence miosa_wait_converged miosa_timeline miosa_report miosa_page miosa.timeline
			miosa_plan_many miosa.plan_many miosa.fleets_rows miosa.status miosa.verdict miosa.candidates miosa.history miosa.wildcard_gaps
			miosa.schema_fits'),
		('miosa_viewer', 'SELECT', 'miosa.plans miosa.own_plans miosa.shipped_plans miosa.tenants miosa.deployments
			miosa.fleet_runs miosa.fleets miosa.runtime_instances miosa.capacity miosa.storages miosa.domains miosa.audit_events miosa.refusals miosa.convergence_log
			miosa.outbox miosa.route_log miosa.removed_hosts miosa.adapters miosa.endpoints miosa.endpoint_state
			miosa.delivery_failures miosa.sites miosa.replica_sites miosa.dispatcher_state miosa.maintenance miosa.tenant_members
			miosa.watches miosa.alerts miosa.hosts miosa.routes miosa.live_instances miosa.progress miosa.overview miosa.wall miosa.overdue
			miosa.schemas miosa.schema_reports miosa.bad_artifacts miosa.holds miosa.open_holds miosa.freezes miosa.open_freezes
			miosa_collectable_releases miosa.release_keeping miosa.collectable_artifacts miosa.scarcely_restorable'),
		-- All columns but those of URIs, which may be presigned.
		('miosa_viewer', 'SELECT (deployment_id, id, tenant_id, version_number, kind, state, promoted_over, promotion_seq, bad_since, bad_reason, bad_by, pinned, schema_version, schema_min, schema_max, created_by,
			source_sandbox_id, build_id, workspace_id, project_id, external_workspace_id, external_user_id, external_project_id,
			artifact_manifest, artifact_sha256, source_sha256, runtime_image, runtime_command, health_check_path, runtime_port,
			metadata, promoted_at, last_served_at, switched_at, archived_at, created_at, updated_at)', 'miosa.versions'),
		('miosa_viewer', 'SELECT (deployment_id, id, deployment_version_id, tenant_id, kind, environment_id, storage_backend, sha256,
			size_bytes, metadata, verified_at, missing_at, collected_at, collected_by, deleted_at, ready_at, created_at, updated_at)',
			'miosa.releases'),
		('miosa_admin', 'SELECT', 'miosa.versions miosa.releases'),
		-- Functions that these views call run with their reader's rights.
		('miosa_viewer', 'EXECUTE', 'miosa.shown_uri miosa.progress_rows miosa.overview_rows miosa.wall_rows miosa.heartbeat_horizon miosa.overdue_rows miosa.open_hold_rows miosa.open_freeze_rows miosa.sees_freeze miosa.stands_on miosa.bad_mark'),
		-- Policies and views ask these with the rights of the role that reads.
		('miosa_viewer, miosa_auditor, pg_monitor', 'EXECUTE', 'miosa.sees_fleet miosa.sees_tenant miosa.sees_deployment miosa.sees_all_tenants
			miosa.sees_endpoints'),
		('miosa_admin', 'EXECUTE', 'miosa.may'),
		('miosa_viewer, pg_monitor', 'SELECT', 'miosa.stat_endpoint miosa.stat_dispatcher miosa.metrics'),
		('miosa_viewer, pg_monitor', 'EXECUTE', 'miosa_metrics miosa.metric_rows miosa.endpoint_stats miosa.dispatcher miosa.pause_reason miosa.first_epoch miosa.endpoint_fails'),
		('pg_monitor', 'USAGE', 'miosa'),

		-- To roll back, to undo that by a promotion, to have edges updated.
		('miosa_operator', 'EXECUTE', 'miosa_rollback_many miosa_rollback_fleet miosa.rollback_many miosa.fleet_begin miosa.fleet_step miosa.fleet_pace miosa.fleet_object
			miosa_rollback miosa_promote miosa_try_rollback miosa_try_promote miosa_undo miosa.undo miosa_resend miosa_resync miosa_redrive
			miosa_test_endpoint miosa_doctor miosa.rollback miosa.promote miosa_alert'),
		('miosa_operator', 'SELECT', 'miosa.idempotency_keys miosa.foreign_grants'),
		('miosa_operator', 'EXECUTE', 'miosa.stored_response miosa.refused_address'),

		-- To feed versions and promote them: for CI.
		('miosa_deployer', 'EXECUTE', 'miosa_put_version miosa_set_version_state miosa_archive_version miosa_promote miosa_try_promote miosa.promote'),
		('miosa_operator, miosa_deployer', 'EXECUTE', 'miosa_hold miosa_release miosa.hold miosa.release miosa_mark_bad miosa_clear_bad
			miosa.mark_bad miosa.clear_bad miosa_watch miosa_unwatch miosa.watch miosa.unwatch'),

		-- To report running instances, and schemas: for migration tools.
		('miosa_agent', 'EXECUTE', 'miosa_report_instance'),
		('miosa_agent, miosa_deployer', 'EXECUTE', 'miosa_report_schema'),

		-- To read the audit trail, and who has which rights.
		('miosa_auditor', 'USAGE', 'miosa'),
		('miosa_auditor', 'EXECUTE', 'miosa_audit_log miosa_audit_verify miosa_audit_verify_all miosa_audit_verify_statement miosa_audit_head miosa_configuration_log
			miosa_timeline miosa_report miosa.history miosa.timeline'),
		('miosa_auditor', 'SELECT', 'miosa.audit_events miosa.audit_checkpoints miosa.audit_statements miosa.audit_receivers miosa.refusals miosa.convergence_log
			miosa.configuration_events miosa.configuration_chains miosa.plans miosa.tenants miosa.tenant_members miosa.members miosa.foreign_grants'),

		-- To ask for routes.
		('miosa_edge', 'EXECUTE', 'miosa_route miosa_routes_since'),

		-- To set up everything.  Of a secret it is the name that can be read.
		('miosa_admin', 'EXECUTE', 'miosa_put_plan miosa_remove_plan miosa_put_tenant miosa_remove_tenant
			miosa_grant_tenant miosa_revoke_tenant miosa_put_schema miosa_remove_schema
			miosa_put_deployment miosa_set_deployment miosa_unpublish miosa_remove_deployment
			miosa_rename_deployment miosa_move_host miosa.rename miosa.move_host
			miosa_put_domain miosa_remove_domain miosa_put_adapter miosa_remove_adapter
			miosa_put_endpoint miosa_set_endpoint miosa_remove_endpoint miosa_put_secret miosa_remove_secret
			miosa_put_freeze miosa_remove_freeze miosa_put_storage miosa_remove_storage miosa_test_storage miosa_verify_artifacts
			miosa_pin_version miosa_unpin_version miosa_collect miosa_confirm_collected
			miosa_resume miosa_reset_stats miosa_purge_expired miosa_maintain miosa_schedule_maintenance'),
		('miosa_admin', 'SELECT (name, created_at)', 'miosa.secrets'),
		-- The steps of procedures, which run with their caller's rights.
		('miosa_admin', 'EXECUTE', 'miosa.require_primary miosa.maintain_rows miosa.maintain_route_log miosa.maintain_capacity
			miosa.maintained miosa.check_limit miosa.some_deployment miosa.due_artifacts miosa.verify_artifact'),
		-- For the jobs of pg_cron.
		('miosa_admin', 'EXECUTE', 'miosa.maintain miosa.verify_artifacts miosa.maintenance_jobs')
		),
		granted AS (SELECT row_number() OVER () AS place, l.* FROM listed l),
		-- Read once, since their names take long to make
		there AS MATERIALIZED (
			SELECT m.kind, m.object, m.kind = 'ROUTINE' AS routine,
				CASE WHEN m.kind = 'SCHEMA' THEN m.object ELSE CASE WHEN m.object LIKE 'miosa.%' THEN 'miosa.' ELSE '' END
					|| substring(m.object FROM E'(\\w+)(\\([^()]*\\))?$') END AS name
			FROM miosa.members m WHERE m.kind <> 'TYPE')
		SELECT g.place, g.roles, g.rights, t.kind, string_agg(t.object, ', ') AS objects,
			string_agg(n.name, ' ') FILTER (WHERE t.object IS NULL) AS missing
		FROM granted g CROSS JOIN LATERAL regexp_split_to_table(g.objects, E'\\s+') n (name)
		LEFT JOIN there t ON t.name = n.name AND t.routine = (g.rights = 'EXECUTE')
		GROUP BY g.place, g.roles, g.rights, t.kind ORDER BY g.place
	LOOP
		IF line.missing IS NOT NULL THEN
			RAISE EXCEPTION 'there is no "%" to grant % on', line.missing, line.rights;
		END IF;
		EXECUTE format('GRANT %s ON %s %s TO %s', line.rights, line.kind, line.objects, line.roles);
	END LOOP;
END $$;

-- pg_dump: the data tables are dumped like a user's own.  Shipped adapters
-- are not, since CREATE EXTENSION makes them; nor are secrets, and
-- what the dispatcher makes by itself (delivery_tables.sql marks its own tables).
SELECT pg_extension_config_dump('miosa.own_plans', '');
SELECT pg_extension_config_dump('miosa.tenants', '');
SELECT pg_extension_config_dump('miosa.tenant_members', '');
SELECT pg_extension_config_dump('miosa.deployments', '');
SELECT pg_extension_config_dump('miosa.versions', '');
SELECT pg_extension_config_dump('miosa.releases', '');
SELECT pg_extension_config_dump('miosa.runtime_instances', '');
SELECT pg_extension_config_dump('miosa.capacity', '');
SELECT pg_extension_config_dump('miosa.storages', '');
SELECT pg_extension_config_dump('miosa.domains', '');
SELECT pg_extension_config_dump('miosa.removed_hosts', '');
SELECT pg_extension_config_dump('miosa.bad_artifacts', '');
SELECT pg_extension_config_dump('miosa.removed_artifacts', '');
SELECT pg_extension_config_dump('miosa.idempotency_keys', '');
SELECT pg_extension_config_dump('miosa.audit_events', '');
SELECT pg_extension_config_dump('miosa.watches', '');
SELECT pg_extension_config_dump('miosa.alerts', '');
SELECT pg_extension_config_dump('miosa.audit_checkpoints', '');
SELECT pg_extension_config_dump('miosa.audit_statements', '');
SELECT pg_extension_config_dump('miosa.refusals', '');
SELECT pg_extension_config_dump('miosa.schemas', '');
SELECT pg_extension_config_dump('miosa.schema_reports', '');
SELECT pg_extension_config_dump('miosa.convergence_log', '');
SELECT pg_extension_config_dump('miosa.holds', '');
SELECT pg_extension_config_dump('miosa.freezes', '');
SELECT pg_extension_config_dump('miosa.configuration_events', '');
SELECT pg_extension_config_dump('miosa.configuration_chains', '');
