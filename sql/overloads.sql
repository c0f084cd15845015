-- Calls with values of other types.  Ids and keys are text, but many programs
-- hold them as uuid, and some drivers send JSON as json or text and intervals
-- as text; PostgreSQL casts none of these by itself.  So the functions that
-- take ids also exist with uuid, and so on; each, in C (overload_api.c), calls the
-- function with text.
--
-- No call becomes ambiguous.  A literal and a parameter without a type go to
-- the function with text, because unknown values prefer it.  An argument that
-- two functions take with different types has no default in the overload, nor
-- have those before it.  And the first id has another name (deployment, not
-- deployment_id), so that a gateway that chooses a function by the names of
-- the arguments finds exactly one.

-- Make an overload of a function.  types maps the position of an argument to
-- its other type, renamed is the position of the one that has another name,
-- and required says how many arguments have no default.
CREATE FUNCTION miosa.overload(original regprocedure, types jsonb, renamed integer, required integer) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	proc record;
	arguments text;
	signature text;
	overload text;
BEGIN
	SELECT p.proname, n.nspname, p.pronargs, p.pronargdefaults, p.proargnames, p.proargtypes::oid[] AS argtypes,
			format('%s%s PARALLEL %s',
				CASE p.provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 's' THEN 'STABLE' ELSE 'VOLATILE' END,
				CASE WHEN p.proisstrict THEN ' STRICT' ELSE '' END,
				CASE p.proparallel WHEN 's' THEN 'SAFE' WHEN 'r' THEN 'RESTRICTED' ELSE 'UNSAFE' END) AS options,
			pg_get_function_result(p.oid) AS result
		INTO STRICT proc
		FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = original;

	SELECT string_agg(format('%I %s%s',
				CASE WHEN n = renamed THEN CASE name WHEN 'id' THEN 'uuid' WHEN 'deployment_or_operation' THEN 'operation'
					ELSE regexp_replace(name, '_id$', '') END ELSE name END,
				type,
				CASE WHEN n > required THEN ' DEFAULT ' || pg_get_function_arg_default(original, n) || '::' || type END), ', ' ORDER BY n),
			string_agg(type, ', ' ORDER BY n)
		INTO STRICT arguments, signature
		FROM (SELECT a.n::integer AS n, a.name, a.argtype, coalesce(types ->> a.n::text, format_type(a.argtype, NULL)) AS type
			FROM unnest(proc.proargnames[:proc.pronargs], proc.argtypes[0:proc.pronargs - 1])
				WITH ORDINALITY a (name, argtype, n)) a;

	overload := format('%I.%I(%s)', proc.nspname, proc.proname, signature);
	EXECUTE format('CREATE FUNCTION %I.%I(%s) RETURNS %s LANGUAGE c %s AS ''MODULE_PATHNAME'', ''mrb_overload''',
		proc.nspname, proc.proname, arguments, proc.result, proc.options);
	EXECUTE format('COMMENT ON FUNCTION %s IS %L', overload,
		format('%s() for arguments of type %s; calls the one with text', proc.proname,
			(SELECT string_agg(DISTINCT t.value, ', ' ORDER BY t.value) FROM jsonb_each_text(types) t)));
END $$;

DO $$
DECLARE
	-- The functions with text, before there are others of their names
	originals CONSTANT regprocedure[] := (
		SELECT array_agg(p.oid::regprocedure ORDER BY p.proname)
		FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
		WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
			AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'miosa_rollback')
			AND p.proname LIKE E'miosa\\_%' AND p.pronamespace <> 'miosa'::regnamespace);
	original record;
	ids jsonb;
	attribution text;
BEGIN
	FOR original IN
		SELECT o.oid, p.proname AS name, i.types, i.first
		FROM unnest(originals) o (oid) JOIN pg_proc p ON p.oid = o.oid
		CROSS JOIN LATERAL (SELECT jsonb_object_agg(a.n, 'uuid') AS types, min(a.n)::integer AS first
			FROM unnest(p.proargnames[:p.pronargs]) WITH ORDINALITY a (name, n)
			WHERE a.name IN ('id', 'deployment_id', 'tenant_id', 'version_id', 'release_id', 'expected_active',
				'deployment_or_operation',
				'to_deployment_id', 'from_deployment_id')) i
		WHERE i.types IS NOT NULL
		ORDER BY p.proname
	LOOP
		-- Ids as uuid: the first has to be given.
		PERFORM miosa.overload(original.oid, original.types, original.first, original.first);

		-- Keys as uuid, and attributions as json or text: with all before them.
		IF original.name IN ('miosa_rollback', 'miosa_promote', 'miosa_try_rollback', 'miosa_try_promote') THEN
			FOREACH ids IN ARRAY ARRAY['{}', original.types] LOOP
				PERFORM miosa.overload(original.oid, ids || '{"3": "uuid"}', 1, 3);
				FOREACH attribution IN ARRAY ARRAY['json', 'text'] LOOP
					PERFORM miosa.overload(original.oid, ids || jsonb_build_object('6', attribution), 1, 6);
				END LOOP;
			END LOOP;

		-- Timeouts as text.
		ELSIF original.name = 'miosa_wait_converged' THEN
			PERFORM miosa.overload(original.oid, '{"2": "text"}', 1, 2);
			PERFORM miosa.overload(original.oid, '{"1": "uuid", "2": "text"}', 1, 2);
		END IF;
	END LOOP;
END $$;
DROP FUNCTION miosa.overload(regprocedure, jsonb, integer, integer);
