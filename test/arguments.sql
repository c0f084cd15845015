-- Calls of every function that people and programs call, generated from the
-- catalog: test.argument lists the texts, lists and JSON values among their
-- arguments, test.outcome() calls one with a value in the place of one of them.
-- Needs the deployment dep_1 with the versions ver_1 to ver_3.

CREATE VIEW test.argument AS
	SELECT p.oid::regprocedure AS function, p.prokind = 'p' AS procedure, a.n::integer, a.name, a.type::regtype,
		miosa.size_limit(a.name, a.type) AS maximum
	FROM pg_proc p
	CROSS JOIN LATERAL unnest(p.proargnames[:p.pronargs], p.proargtypes::oid[]) WITH ORDINALITY a (name, type, n)
	WHERE (p.pronamespace <> 'miosa'::regnamespace AND p.proname LIKE 'miosa\_%' OR p.prosrc = 'mrb_entry_console')
		AND p.oid IN (SELECT d.objid FROM pg_depend d WHERE d.deptype = 'e' AND d.classid = 'pg_proc'::regclass)
		AND a.type = ANY (ARRAY['text', 'text[]', 'json', 'jsonb']::regtype[]);

-- A value for each argument with which the call means something.
CREATE FUNCTION test.plausible(name text, type regtype) RETURNS text LANGUAGE sql AS $$
	SELECT CASE type WHEN 'text'::regtype THEN quote_literal(CASE
			WHEN name IN ('deployment_id', 'deployment', 'deployment_or_operation') THEN 'dep_1'
			WHEN name IN ('version_id', 'version', 'expected_active') THEN 'ver_2'
			WHEN name = 'release_id' THEN 'rel_2' WHEN name = 'tenant_id' THEN 'ten_1' WHEN name = 'slug' THEN 'shop'
			WHEN name = 'state' THEN 'ready' WHEN name = 'adapter' THEN 'webhook' WHEN name IN ('url', 'endpoint') THEN 'http://127.0.0.1:1'
			WHEN name IN ('host', 'fqdn') THEN 'shop.example.com' WHEN name = 'attribution' THEN '{}'
			WHEN name IN ('storage_uri', 'prefix') THEN 's3://bucket/' WHEN name = 'timeout' THEN '1 ms' ELSE 'x1' END) || '::text'
		WHEN 'text[]'::regtype THEN '''{}''::text[]' WHEN 'jsonb'::regtype THEN '''{}''::jsonb' WHEN 'json'::regtype THEN '''{}''::json'
		WHEN 'boolean'::regtype THEN 'true' WHEN 'interval'::regtype THEN '''1 ms''::interval'
		WHEN 'uuid'::regtype THEN '''8f14e45f-ceea-467f-a0e6-0123456789ab''::uuid'
		ELSE 'NULL::' || type END $$;

-- SQLSTATE, message and DETAIL of the call; what it does is undone.
CREATE FUNCTION test.outcome(argument test.argument, value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	arguments text;
	answer text;
	message text;
	detail text;
BEGIN
	SELECT string_agg(CASE WHEN a.n = argument.n THEN format('($1::text)::%s', a.type::regtype)
			ELSE test.plausible(a.name, a.type) END, ', ' ORDER BY a.n)
		INTO arguments
		FROM pg_proc p CROSS JOIN LATERAL unnest(p.proargnames[:p.pronargs], p.proargtypes::oid[]) WITH ORDINALITY a (name, type, n)
		WHERE p.oid = argument.function;
	EXECUTE format('%s %s(%s)', CASE WHEN argument.procedure THEN 'CALL' ELSE 'SELECT' END,
		(SELECT format('%I.%I', p.pronamespace::regnamespace, p.proname) FROM pg_proc p WHERE p.oid = argument.function), arguments)
		INTO answer USING value;
	-- A refusal that is returned is one, too.
	IF argument.function::text LIKE 'miosa\_try\_%' AND answer::jsonb ? 'error' THEN
		RAISE EXCEPTION USING ERRCODE = answer::jsonb #>> '{error,sqlstate}', MESSAGE = answer::jsonb #>> '{error,message}',
			DETAIL = answer::jsonb #>> '{error,detail}';
	END IF;
	RAISE SQLSTATE 'OK000';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RETURN format('%s %s / %s', SQLSTATE, message, detail);
END $$;

-- Every value in the place of every argument: calls that end neither well nor
-- with a refusal that says what is wrong with it.  Of the server's own errors,
-- those about a value (class 22) do.
CREATE FUNCTION test.unclear(labels text[], "values" text[])
RETURNS TABLE (function regprocedure, argument text, label text, outcome text) LANGUAGE sql AS $$
	SELECT a.function, a.name, v.label, o.outcome
	FROM test.argument a CROSS JOIN unnest(labels, "values") v (label, value)
	CROSS JOIN LATERAL (SELECT left(test.outcome(a, v.value), 300) AS outcome OFFSET 0) o
	WHERE o.outcome !~ '^(OK000|MR[0-9]{3}|22[0-9A-Z]{3}) ' ORDER BY 1, 2, 3 $$;

-- Texts and JSON values of more bytes than any limit, in all tables.
CREATE FUNCTION test.too_long() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	c record;
	found boolean;
BEGIN
	FOR c IN
		SELECT a.attrelid::regclass AS "table", a.attname AS name FROM pg_attribute a JOIN pg_class r ON r.oid = a.attrelid
		WHERE r.relnamespace = 'miosa'::regnamespace AND r.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND a.attlen = -1
	LOOP
		EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE octet_length(%I::text) > 300000)', c.table, c.name) INTO found;
		IF found THEN
			RETURN NEXT c.table || '.' || c.name;
		END IF;
	END LOOP;
END $$;
