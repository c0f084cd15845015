-- The functions for programs that are not written in C wait for no lock
-- longer than lock_wait, and name who is in the way; those that are volatile
-- raise NOT_PRIMARY on a standby.  What was written above moves to schema
-- miosa; a function in C of the same name, arguments and comment takes its
-- place, and calls it with bounded waits.
DO $$
DECLARE
	f record;
BEGIN
	FOR f IN
		SELECT p.proname AS name, p.oid::regprocedure::text AS signature,
			pg_get_function_identity_arguments(p.oid) AS identity, pg_get_function_arguments(p.oid) AS arguments,
			pg_get_function_result(p.oid) AS result, obj_description(p.oid, 'pg_proc') AS comment,
			format('%s PARALLEL %s%s%s',
				CASE p.provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 's' THEN 'STABLE' ELSE 'VOLATILE' END,
				CASE p.proparallel WHEN 's' THEN 'SAFE' WHEN 'r' THEN 'RESTRICTED' ELSE 'UNSAFE' END,
				CASE WHEN p.proisstrict THEN ' STRICT' END, ' ROWS ' || CASE WHEN p.proretset THEN p.prorows::text END) AS options
		FROM pg_depend d
		JOIN pg_proc p ON p.oid = d.objid
		JOIN pg_language l ON l.oid = p.prolang
		WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
			AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'miosa_rollback')
			AND p.pronamespace <> 'miosa'::regnamespace AND p.prokind = 'f' AND l.lanname <> 'c'
			-- It goes on when it meets a lock.
			AND p.proname <> 'miosa_doctor'
		ORDER BY p.proname
	LOOP
		EXECUTE format('ALTER FUNCTION %s SET SCHEMA miosa', f.signature);
		EXECUTE format('COMMENT ON FUNCTION miosa.%I(%s) IS %L', f.name, f.identity, format('What %s() calls with bounded waits', f.name));
		EXECUTE format('CREATE FUNCTION @extschema@.%I(%s) RETURNS %s LANGUAGE c %s SECURITY DEFINER '
			'SET search_path = pg_catalog, pg_temp AS ''MODULE_PATHNAME'', ''mrb_guarded''',
			f.name, f.arguments, f.result, f.options);
		EXECUTE format('COMMENT ON FUNCTION @extschema@.%I(%s) IS %L', f.name, f.identity, f.comment);
	END LOOP;
END $$;
