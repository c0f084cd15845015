-- Rights.  Nothing is PUBLIC's.  Two groups get what they need; roles belong
-- to the whole cluster, so they are made only if they are missing, stay when
-- the extension is dropped, and are the same in every database that has it.

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

-- A function that somebody else made in our schema is not ours to grant, so
-- we go by what belongs to the extension.
DO $$
DECLARE
	object record;
BEGIN
	FOR object IN
		SELECT p.oid::regprocedure::text AS name, p.prokind, n.nspname, p.proname
		FROM pg_depend d
		JOIN pg_proc p ON p.oid = d.objid
		JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
			AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'miosa_rollback')
	LOOP
		EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', object.name);
		-- All of the API is the administrators'.
		IF object.nspname <> 'miosa' THEN
			EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO miosa_admin', object.name);
		END IF;
	END LOOP;
END $$;

REVOKE ALL ON ALL TABLES IN SCHEMA miosa FROM PUBLIC;
REVOKE ALL ON SCHEMA miosa FROM PUBLIC;
GRANT USAGE ON SCHEMA miosa TO miosa_operator, miosa_admin;

-- Operators roll back, promote and read.
GRANT EXECUTE ON FUNCTION
	@extschema@.miosa_rollback, @extschema@.miosa_promote, @extschema@.miosa_plan,
	@extschema@.miosa_deployment, @extschema@.miosa_version, @extschema@.miosa_versions,
	@extschema@.miosa_audit_log, @extschema@.miosa_route, @extschema@.miosa_routes_since,
	@extschema@.miosa_convergence, @extschema@.miosa_wait_converged, @extschema@.miosa_doctor,
	miosa.rollback, miosa.promote, miosa.status, miosa.candidates, miosa.history,
	miosa.progress_rows, miosa.heartbeat_horizon, miosa.overdue_rows, miosa.stands_on
	TO miosa_operator;
GRANT SELECT ON
	miosa.plans, miosa.tenants, miosa.deployments, miosa.versions, miosa.releases, miosa.runtime_instances,
	miosa.capacity, miosa.storages, miosa.domains, miosa.idempotency_keys, miosa.audit_events, miosa.outbox, miosa.route_log,
	miosa.adapters, miosa.endpoints, miosa.endpoint_state, miosa.delivery_failures, miosa.dispatcher_state,
	miosa.hosts, miosa.routes, miosa.live_instances, miosa.progress,
	miosa.overdue
	TO miosa_operator;
-- What miosa_maintain() is made of: it runs as who calls it.
GRANT EXECUTE ON FUNCTION
	miosa.require_primary, miosa.maintain_rows, miosa.maintain_route_log, miosa.maintain_capacity, miosa.maintained
	TO miosa_admin;
GRANT SELECT ON miosa.maintenance, @extschema@.miosa_collectable_releases, miosa.release_keeping, miosa.collectable_artifacts, miosa.scarcely_restorable TO miosa_operator;

-- Monitoring sees how it goes, and nothing else.
GRANT USAGE ON SCHEMA miosa TO pg_monitor;
GRANT SELECT ON miosa.stat_endpoint, miosa.stat_dispatcher TO miosa_operator, pg_monitor;
GRANT EXECUTE ON FUNCTION miosa.endpoint_stats, miosa.dispatcher, miosa.pause_reason
	TO miosa_operator, pg_monitor;

-- Administrators also write what people and control planes write.  What only
-- operations and the dispatcher write (audit events, keys, outbox, log,
-- states) is not theirs, and of a secret they see the name, not the value.
GRANT INSERT, UPDATE, DELETE ON
	miosa.plans, miosa.tenants, miosa.deployments, miosa.versions, miosa.releases, miosa.runtime_instances,
	miosa.storages, miosa.domains, miosa.adapters, miosa.endpoints
	TO miosa_admin;
GRANT INSERT, UPDATE, DELETE, SELECT (name, created_at) ON miosa.secrets TO miosa_admin;
-- Their triggers' functions run as who writes.
GRANT EXECUTE ON FUNCTION miosa.raise_condition, miosa.check_adapter, miosa.render_request, miosa.check_url, miosa.check_selector,
	miosa.origin, miosa.identity
	TO miosa_admin;
-- So does a procedure that commits.
GRANT EXECUTE ON FUNCTION miosa.require_primary, miosa.check_limit, miosa.some_deployment, miosa.due_artifacts,
	miosa.verify_artifact
	TO miosa_admin;

-- pg_dump: the data tables are dumped like a user's own.  Shipped plans and
-- adapters are not, since CREATE EXTENSION makes them; nor are secrets, and
-- what the dispatcher makes by itself (delivery.sql marks its own tables).
SELECT pg_extension_config_dump('miosa.plans', 'WHERE NOT builtin');
SELECT pg_extension_config_dump('miosa.tenants', '');
SELECT pg_extension_config_dump('miosa.deployments', '');
SELECT pg_extension_config_dump('miosa.versions', '');
SELECT pg_extension_config_dump('miosa.releases', '');
SELECT pg_extension_config_dump('miosa.runtime_instances', '');
SELECT pg_extension_config_dump('miosa.capacity', '');
SELECT pg_extension_config_dump('miosa.storages', '');
SELECT pg_extension_config_dump('miosa.domains', '');
SELECT pg_extension_config_dump('miosa.idempotency_keys', '');
SELECT pg_extension_config_dump('miosa.audit_events', '');
