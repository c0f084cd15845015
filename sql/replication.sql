-- Logical replication.  A publication FOR ALL TABLES has these tables too.
-- What each server makes for itself is not taken from another one.

-- Skip a row that a subscription applies.
CREATE FUNCTION miosa.keep_local() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_keep_local';
COMMENT ON FUNCTION miosa.keep_local() IS 'Trigger: skips changes of rows that a subscription applies';

-- Recognize the apply worker of a subscription.
CREATE FUNCTION miosa.is_applied() RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_is_applied';
COMMENT ON FUNCTION miosa.is_applied() IS 'Whether this process applies the changes of a subscription';

-- Both servers may have made a row of the same key by themselves, for it
-- follows from what both have: a host that was removed, a version that needs
-- instances, an instance that both have asked the scheduler about.  The origin
-- is right, since only what it does is done to what the subscription brings.
-- Without this the subscription would fail on that row for ever.
CREATE FUNCTION miosa.take_over() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF miosa.is_applied() THEN
		CASE TG_TABLE_NAME
			WHEN 'removed_hosts' THEN
				DELETE FROM miosa.removed_hosts r WHERE r.host = NEW.host;
			WHEN 'capacity' THEN
				DELETE FROM miosa.capacity c WHERE c.deployment_id = NEW.deployment_id AND c.version_id = NEW.version_id;
			WHEN 'runtime_instances' THEN
				DELETE FROM miosa.runtime_instances i WHERE i.deployment_id = NEW.deployment_id AND i.id = NEW.id;
			WHEN 'adapters' THEN
				-- Endpoints here use the shipped one of that name.
				IF EXISTS (SELECT FROM miosa.adapters a WHERE a.name = NEW.name AND a.builtin) THEN
					RETURN NULL;
				END IF;
		END CASE;
	END IF;
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.take_over() IS 'Trigger: a row that a subscription applies replaces the local row with its key';

CREATE TRIGGER keep_local_insert BEFORE INSERT ON miosa.adapters
	FOR EACH ROW WHEN (NEW.builtin) EXECUTE FUNCTION miosa.keep_local();
CREATE TRIGGER keep_local BEFORE UPDATE OR DELETE ON miosa.adapters
	FOR EACH ROW WHEN (OLD.builtin) EXECUTE FUNCTION miosa.keep_local();
ALTER TABLE miosa.adapters ENABLE REPLICA TRIGGER keep_local_insert;
ALTER TABLE miosa.adapters ENABLE REPLICA TRIGGER keep_local;

DO $$
DECLARE
	local regclass;
	derived regclass;
BEGIN
	FOREACH local IN ARRAY ARRAY['miosa.dispatcher_state', 'miosa.maintenance', 'miosa.endpoint_state',
		'miosa.delivery_failures', 'miosa.outbox', 'miosa.secrets', 'miosa.audit_statements', 'miosa.audit_receivers', 'miosa.alert_receivers', 'miosa.refusals', 'miosa.convergence_log']::regclass[]
	LOOP
		-- Work that triggers here make of a change comes at a greater depth.
		EXECUTE format('CREATE TRIGGER keep_local BEFORE INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION miosa.keep_local()', local);
		EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER keep_local', local);
	END LOOP;
	FOREACH derived IN ARRAY ARRAY['miosa.removed_hosts', 'miosa.capacity', 'miosa.runtime_instances', 'miosa.adapters']::regclass[]
	LOOP
		EXECUTE format('CREATE TRIGGER take_over BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION miosa.take_over()', derived);
		EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER take_over', derived);
	END LOOP;
END $$;
