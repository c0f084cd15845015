-- Logical replication.  A publication FOR ALL TABLES has these tables too.
-- What each server makes for itself is not taken from another one.

CREATE FUNCTION miosa.keep_local() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_keep_local';
COMMENT ON FUNCTION miosa.keep_local() IS 'Trigger: leaves out the change of a row that a subscription applies';

CREATE TRIGGER keep_local_insert BEFORE INSERT ON miosa.adapters
	FOR EACH ROW WHEN (NEW.builtin) EXECUTE FUNCTION miosa.keep_local();
CREATE TRIGGER keep_local BEFORE UPDATE OR DELETE ON miosa.adapters
	FOR EACH ROW WHEN (OLD.builtin) EXECUTE FUNCTION miosa.keep_local();
ALTER TABLE miosa.adapters ENABLE REPLICA TRIGGER keep_local_insert;
ALTER TABLE miosa.adapters ENABLE REPLICA TRIGGER keep_local;

DO $$
DECLARE
	local regclass;
BEGIN
	FOREACH local IN ARRAY ARRAY['miosa.dispatcher_state', 'miosa.maintenance', 'miosa.endpoint_state',
		'miosa.delivery_failures', 'miosa.outbox', 'miosa.route_log']::regclass[]
	LOOP
		EXECUTE format('CREATE TRIGGER keep_local BEFORE INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION miosa.keep_local()', local);
		EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER keep_local', local);
	END LOOP;
END $$;
