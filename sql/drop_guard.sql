-- DROP EXTENSION is refused while there is data (src/api/drop_guard.c).

-- Load the library before anything is dropped.
CREATE FUNCTION miosa.load_drop_guard() RETURNS event_trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_load_drop_guard';
COMMENT ON FUNCTION miosa.load_drop_guard() IS 'Event trigger: loads the library, which refuses to drop the extension while it has data';

-- The commands that can reach the extension, by name or by CASCADE.
CREATE EVENT TRIGGER miosa_rollback_drop ON ddl_command_start
	WHEN TAG IN ('DROP EXTENSION', 'DROP OWNED', 'DROP SCHEMA')
	EXECUTE FUNCTION miosa.load_drop_guard();
COMMENT ON EVENT TRIGGER miosa_rollback_drop IS 'Loads the library, which refuses to drop the extension while it has data';
