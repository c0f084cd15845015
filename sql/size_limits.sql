-- Limits of texts and JSON values in rows that people write by plain SQL.
-- Arguments of functions have the same limits (src/base/size_limit.c).

-- Show a limit.
CREATE FUNCTION miosa.size_limit(name text, type regtype) RETURNS integer
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_size_limit';
COMMENT ON FUNCTION miosa.size_limit(text, regtype) IS 'Limit in bytes of an argument or a column with this name and type';

-- Refuse what is too long.
CREATE FUNCTION miosa.limit_sizes() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_limit_sizes';
COMMENT ON FUNCTION miosa.limit_sizes() IS 'Trigger: raises INVALID_ARGUMENT for a text or a JSON value that is too long';

-- All tables but those that only operations and the dispatcher write, which
-- pay for each trigger.  An operation updates a deployment's row without firing
-- deployments_pointer, so that one checks what a plain UPDATE writes there.
DO $$
DECLARE
	t record;
BEGIN
	FOR t IN
		SELECT c.relname AS name FROM pg_class c
		WHERE c.relnamespace = 'miosa'::regnamespace AND c.relkind = 'r'
			AND c.relname <> ALL (ARRAY['idempotency_keys', 'audit_events', 'outbox', 'route_log', 'removed_hosts', 'capacity',
				'fleet_runs', 'removed_artifacts',
				'endpoint_state', 'delivery_failures', 'dispatcher_state', 'maintenance',
				'audit_checkpoints', 'audit_statements', 'audit_receivers', 'schema_reports', 'refusals',
				'convergence_log', 'holds', 'alerts', 'alert_receivers'])
		ORDER BY c.relname
	LOOP
		EXECUTE format('CREATE TRIGGER limit_sizes BEFORE INSERT%s ON miosa.%I FOR EACH ROW EXECUTE FUNCTION miosa.limit_sizes()',
			CASE t.name WHEN 'deployments' THEN '' ELSE ' OR UPDATE' END, t.name);
	END LOOP;
END $$;
