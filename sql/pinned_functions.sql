-- A body that is a text is parsed when it runs, with the search_path of that
-- time: what a role may create in public could then be found in place of the
-- server's functions, operators and types.  So no body stays like that.  Those in
-- SQL are parsed now, if they read no table: parsed, they would keep its columns
-- from being changed.  The others get a search_path of their own.
--
-- Those in SQL that take a row stay as they are, for the same reason, and because
-- with a setting they take 0.1 ms a call.  Only functions that have a search_path
-- call them; no other role may.
DO $$
DECLARE
	f record;
BEGIN
	FOR f IN
		SELECT p.oid, p.oid::regprocedure AS signature, pg_get_functiondef(p.oid) AS definition, l.lanname = 'sql' AS parseable
		FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
		WHERE p.pronamespace = 'miosa'::regnamespace AND p.prokind = 'f' AND l.lanname IN ('sql', 'plpgsql') AND p.prosqlbody IS NULL
			AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)
			AND NOT (l.lanname = 'sql' AND EXISTS (SELECT FROM pg_type t WHERE t.oid = ANY (p.proargtypes::oid[]) AND t.typtype = 'c'))
		ORDER BY p.oid
	LOOP
		IF f.parseable THEN
			EXECUTE regexp_replace(f.definition, E'AS (\\$\\w*\\$)(.*)\\1\\s*$', E'BEGIN ATOMIC\\2;\nEND');
			CONTINUE WHEN NOT EXISTS (SELECT FROM pg_depend d JOIN pg_class c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid
				WHERE d.classid = 'pg_proc'::regclass AND d.objid = f.oid AND c.relkind = 'r');
			EXECUTE f.definition;
		END IF;
		EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp', f.signature);
	END LOOP;
END $$;
