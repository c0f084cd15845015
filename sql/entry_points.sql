-- Entry points.  What people and programs call, and every trigger that is written
-- in PL/pgSQL, is entered through a function in C (entry_points.c), which calls the
-- one that was written above.

-- For programs: what was written above moves to schema miosa; a function in C
-- of the same name, arguments and comment takes its place.  It waits for no
-- lock longer than lock_wait, and names the blocker; those that are
-- volatile raise NOT_PRIMARY on a standby.
--
-- Jobs call procedures.  An overload that somebody else creates beside one of them
-- would make the call ambiguous, or be called in its place.  So each is entered by
-- a second name too, in schema miosa, where only the owner creates objects:
-- miosa.maintain() is miosa_maintain().
DO $$
DECLARE
	f record;
BEGIN
	FOR f IN
		SELECT p.proname AS name, p.oid::regprocedure::text AS signature, p.prokind = 'p' AS procedure,
			pg_get_function_identity_arguments(p.oid) AS identity, pg_get_function_arguments(p.oid) AS arguments,
			pg_get_function_result(p.oid) AS result, obj_description(p.oid, 'pg_proc') AS comment,
			CASE WHEN p.prosecdef THEN 'DEFINER' ELSE 'INVOKER' END AS security,
			format('%s PARALLEL %s%s%s',
				CASE p.provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 's' THEN 'STABLE' ELSE 'VOLATILE' END,
				CASE p.proparallel WHEN 's' THEN 'SAFE' WHEN 'r' THEN 'RESTRICTED' ELSE 'UNSAFE' END,
				CASE WHEN p.proisstrict THEN ' STRICT' END, ' ROWS ' || CASE WHEN p.proretset THEN p.prorows::text END) AS options
		FROM pg_depend d
		JOIN pg_proc p ON p.oid = d.objid
		JOIN pg_language l ON l.oid = p.prolang
		WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
			AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'miosa_rollback')
			AND p.pronamespace <> 'miosa'::regnamespace AND l.lanname <> 'c'
		ORDER BY p.proname
	LOOP
		EXECUTE format('ALTER ROUTINE %s SET SCHEMA miosa', f.signature);
		EXECUTE format('COMMENT ON ROUTINE miosa.%I(%s) IS %L', f.name, f.identity, format('What %s() calls', f.name));
		-- A procedure that commits runs with its caller's rights and settings.
		IF f.procedure THEN
			EXECUTE format('CREATE PROCEDURE @extschema@.%I(%s) LANGUAGE c AS ''MODULE_PATHNAME'', ''mrb_entry_unbounded''',
				f.name, f.arguments);
			EXECUTE format('CREATE PROCEDURE miosa.%I(%s) LANGUAGE c AS ''MODULE_PATHNAME'', ''mrb_entry_unbounded''',
				regexp_replace(f.name, '^miosa_', ''), f.arguments);
			EXECUTE format('COMMENT ON ROUTINE miosa.%I(%s) IS %L', regexp_replace(f.name, '^miosa_', ''), f.identity,
				format('%s(), where nobody can create an overload of it: for jobs', f.name));
		ELSE
			EXECUTE format('CREATE FUNCTION @extschema@.%I(%s) RETURNS %s LANGUAGE c %s SECURITY %s '
				'SET search_path = pg_catalog, pg_temp AS ''MODULE_PATHNAME'', %L',
				f.name, f.arguments, f.result, f.options, f.security,
				-- The doctor handles locks itself.
				CASE f.name WHEN 'miosa_doctor' THEN 'mrb_entry_unbounded' ELSE 'mrb_entry_bounded' END);
		END IF;
		EXECUTE format('COMMENT ON ROUTINE @extschema@.%I(%s) IS %L', f.name, f.identity, f.comment);
	END LOOP;
END $$;

-- In schema miosa, where triggers and views have taken hold of a function: the
-- one in C replaces it, and what was written above gets _body behind its name.
DO $$
DECLARE
	f record;
BEGIN
	FOR f IN
		SELECT p.proname AS name, pg_get_functiondef(p.oid) AS definition, p.prorettype = 'trigger'::regtype AS trigger,
			pg_get_function_identity_arguments(p.oid) AS identity, pg_get_function_arguments(p.oid) AS arguments,
			pg_get_function_result(p.oid) AS result
		FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
		WHERE p.pronamespace = 'miosa'::regnamespace AND l.lanname = 'plpgsql'
			AND (p.prorettype = 'trigger'::regtype OR p.proname IN (
				-- a view for people, and the steps of procedures
				'progress_rows', 'overview_rows', 'wall_rows', 'fleets_rows', 'maintain_rows', 'maintain_route_log', 'maintain_capacity', 'some_deployment'))
		ORDER BY p.proname
	LOOP
		EXECUTE regexp_replace(f.definition, E'^CREATE OR REPLACE FUNCTION miosa\\.\\w+', format('CREATE FUNCTION miosa.%I', f.name || '_body'));
		EXECUTE format('COMMENT ON FUNCTION miosa.%I(%s) IS %L', f.name || '_body', f.identity, format('What %s() calls', f.name));
		EXECUTE format('CREATE OR REPLACE FUNCTION miosa.%I(%s) RETURNS %s LANGUAGE c %s', f.name, f.arguments, f.result,
			CASE WHEN f.trigger THEN 'AS ''MODULE_PATHNAME'', ''mrb_entry_trigger'''
				ELSE 'SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS ''MODULE_PATHNAME'', ''mrb_entry_inner''' END);
	END LOOP;
END $$;
