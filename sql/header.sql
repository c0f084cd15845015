\echo Use "CREATE EXTENSION miosa_rollback" to load this file. \quit

-- Nothing in this script may be found by chance: what is not in pg_catalog is
-- named with its schema (CVE-2022-2625 is what happens otherwise).
SET LOCAL search_path = pg_catalog, pg_temp;

-- Nor may what it makes depend on the session.
SET LOCAL quote_all_identifiers = off;
SET LOCAL session_replication_role = origin;

-- Nor may somebody's function answer in place of one of ours, or make calls of it
-- ambiguous.
DO $$
DECLARE
	schema_name name;
	taken text;
BEGIN
	SELECT n.nspname, string_agg(p.oid::regprocedure::text, ', ' ORDER BY p.proname, p.oid) INTO schema_name, taken
		FROM pg_extension e
		JOIN pg_namespace n ON n.oid = e.extnamespace
		JOIN pg_proc p ON p.pronamespace = n.oid AND starts_with(p.proname, 'miosa_')
		WHERE e.extname = 'miosa_rollback'
		GROUP BY n.nspname;
	IF FOUND THEN
		RAISE EXCEPTION 'schema "%" has functions with names of miosa_rollback', schema_name
			USING ERRCODE = 'duplicate_function', DETAIL = format('Functions: %s.', left(taken, 500)),
				HINT = 'Drop them, or let the extension have a schema of its own: CREATE SCHEMA ops; CREATE EXTENSION miosa_rollback SCHEMA ops;';
	END IF;
END $$;
