-- Row-level security: what a role reads and writes by plain SQL.  Functions of
-- the extension run with the rights of its owner, to whom policies do not apply,
-- and look at tenants themselves; src/operation/tenancy.c decides for both.
-- FORCE has policies apply to an owner of single tables, too.

DO $$
DECLARE
	t record;
BEGIN
	FOR t IN
		SELECT r.name,
			CASE r.kind
				WHEN 'tenant' THEN 'miosa.sees_tenant(tenant_id)'
				WHEN 'tenants' THEN 'miosa.sees_tenant(id)'
				WHEN 'members' THEN 'miosa.sees_tenant(tenant_id) OR miosa.sees_all_tenants()'
				WHEN 'deployment' THEN 'miosa.sees_deployment(deployment_id)'
				WHEN 'refusals' THEN 'CASE WHEN tenant_id IS NULL THEN miosa.sees_all_tenants() ELSE miosa.sees_tenant(tenant_id) END'
				WHEN 'tenant_or_all' THEN 'CASE WHEN tenant_id = ''*'' THEN miosa.sees_all_tenants() ELSE miosa.sees_tenant(tenant_id) END'
				WHEN 'fleets' THEN 'miosa.sees_fleet(tenant_id, acts_for)'
				WHEN 'freezes' THEN 'miosa.sees_freeze(tenant_id, selector)'
				WHEN 'all' THEN 'miosa.sees_all_tenants()'
				WHEN 'endpoints' THEN 'miosa.sees_endpoints()' END AS seen,
			CASE r.kind
				WHEN 'tenant' THEN CASE r.name WHEN 'deployments' THEN 'miosa.may(tenant_id, ''deploy'')'
					ELSE 'miosa.may(tenant_id, ''deploy'') AND miosa.sees_deployment(deployment_id)' END
				ELSE 'miosa.sees_all_tenants()' END AS written
		FROM (VALUES
			('fleet_runs', 'fleets'),
			('tenants', 'tenants'), ('tenant_members', 'members'),
			('deployments', 'tenant'), ('versions', 'tenant'), ('releases', 'tenant'), ('runtime_instances', 'tenant'),
			('domains', 'tenant'), ('audit_events', 'tenant'),
			('capacity', 'deployment'), ('idempotency_keys', 'deployment'), ('outbox', 'deployment'), ('route_log', 'deployment'),
			('audit_checkpoints', 'deployment'), ('audit_statements', 'all'), ('audit_receivers', 'all'),
			('watches', 'deployment'), ('alerts', 'deployment'), ('alert_receivers', 'all'),
			('schemas', 'tenant_or_all'), ('schema_reports', 'tenant_or_all'),
			('convergence_log', 'tenant'),
			('refusals', 'refusals'), ('holds', 'tenant'), ('freezes', 'freezes'), ('configuration_events', 'all'), ('configuration_chains', 'all'),
			('bad_artifacts', 'tenant_or_all'), ('removed_artifacts', 'members'),
			('removed_hosts', 'deployment'), ('delivery_failures', 'deployment'),
			('endpoints', 'endpoints'), ('endpoint_state', 'endpoints'), ('sites', 'endpoints'), ('storages', 'endpoints'), ('secrets', 'endpoints')) r (name, kind)
	LOOP
		EXECUTE format('ALTER TABLE miosa.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t.name);
		EXECUTE format('CREATE POLICY seen ON miosa.%I FOR SELECT USING (%s)', t.name, t.seen);
		EXECUTE format('CREATE POLICY inserted ON miosa.%I FOR INSERT WITH CHECK (%s)', t.name, t.written);
		EXECUTE format('CREATE POLICY updated ON miosa.%I FOR UPDATE USING (%s)', t.name, t.written);
		EXECUTE format('CREATE POLICY deleted ON miosa.%I FOR DELETE USING (%s)', t.name, t.written);
	END LOOP;
END $$;

-- pg_dump writes the policies of an extension's tables into the dump although
-- CREATE EXTENSION makes them, so that a restore would find them there already.

-- Make room for a policy that a restore brings.
CREATE FUNCTION miosa.replace_policy() RETURNS event_trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_replace_policy';
COMMENT ON FUNCTION miosa.replace_policy() IS 'Event trigger: drops a policy of the extension that a restore is about to make again';

CREATE EVENT TRIGGER miosa_rollback_policy ON ddl_command_start
	WHEN TAG IN ('CREATE POLICY')
	EXECUTE FUNCTION miosa.replace_policy();
COMMENT ON EVENT TRIGGER miosa_rollback_policy IS 'Lets a restore make the extension''s policies again';
