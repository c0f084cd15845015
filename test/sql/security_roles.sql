-- Roles: their owner, and what each of them may.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS miosa_rollback CASCADE;
CREATE EXTENSION miosa_rollback;
DROP EXTENSION miosa_rollback;

-- Who made the owner beforehand, to become it, is refused.
DROP ROLE IF EXISTS regress_kept_owner;
BEGIN;
ALTER ROLE miosa_owner RENAME TO regress_kept_owner;
CREATE ROLE regress_hostile;
CREATE ROLE miosa_owner;
GRANT miosa_owner TO regress_hostile;
CREATE EXTENSION miosa_rollback;
ROLLBACK;
BEGIN;
ALTER ROLE miosa_owner RENAME TO regress_kept_owner;
CREATE ROLE miosa_owner LOGIN;
CREATE EXTENSION miosa_rollback;
ROLLBACK;
BEGIN;
ALTER ROLE miosa_owner RENAME TO regress_kept_owner;
CREATE ROLE miosa_owner CREATEROLE;
CREATE EXTENSION miosa_rollback;
ROLLBACK;

-- Everything is the owner's, but what PostgreSQL wants a superuser to own.
CREATE EXTENSION miosa_rollback;
SELECT m.kind, m.owner::regrole = 'miosa_owner'::regrole AS "miosa_owner", count(*) > 0 AS any,
	string_agg(m.object, ', ') FILTER (WHERE m.owner <> 'miosa_owner'::regrole) AS others
FROM miosa.members m GROUP BY 1, 2 ORDER BY 1, 2;
SELECT e.evtname, o.rolsuper FROM pg_event_trigger e JOIN pg_roles o ON o.oid = e.evtowner WHERE e.evtname LIKE 'miosa%' ORDER BY e.evtname;
SELECT r.rolname, r.rolcanlogin OR r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication AS more_than_groups, r.rolbypassrls,
	(SELECT string_agg(g.rolname, ' ' ORDER BY g.rolname) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid) AS member_of
FROM pg_roles r WHERE r.rolname LIKE 'miosa\_%' ORDER BY r.rolname;

-- No function with the owner's rights has a superuser's.
SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner AND o.rolsuper
WHERE (p.pronamespace = 'miosa'::regnamespace OR p.proname LIKE 'miosa\_%') AND p.prosecdef;

-- Every column of every relation is written and read as every role, and every
-- row of every relation deleted, each by a statement that is run.
CREATE ROLE regress_nobody;
CREATE TABLE attempt (role name, relation name, verb text, columns bigint, allowed bigint);
CREATE FUNCTION pg_temp.may(statement text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RAISE EXCEPTION USING ERRCODE = 'ZZ000';
EXCEPTION WHEN insufficient_privilege THEN
	RETURN false;
-- a view that nobody can write
WHEN object_not_in_prerequisite_state THEN
	RETURN NULL;
-- a column of a view that nobody can write, or a table that others refer to
WHEN feature_not_supported THEN
	RETURN CASE WHEN SQLERRM NOT LIKE '%of view%' THEN true END;
WHEN OTHERS THEN
	RETURN true;
END $$;
DO $$
DECLARE
	as_role name;
	result record;
	answers boolean[];
BEGIN
	FOREACH as_role IN ARRAY ARRAY['regress_nobody', 'pg_monitor', 'miosa_viewer', 'miosa_operator', 'miosa_deployer', 'miosa_agent',
		'miosa_auditor', 'miosa_edge', 'miosa_admin', 'miosa_owner'] LOOP
		FOR result IN
			SELECT c.relname, s.verb, array_agg(format(s.statement, n.nspname, c.relname, a.attname, format_type(a.atttypid, NULL))) AS statements
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
			CROSS JOIN (VALUES
				('select', 'SELECT %3$I FROM %1$I.%2$I WHERE false', 'rvm'),
				('insert', 'INSERT INTO %1$I.%2$I (%3$I) SELECT NULL::%4$s WHERE false', 'rv'),
				('update', 'UPDATE %1$I.%2$I SET %3$I = NULL WHERE false', 'rv'),
				('delete', 'DELETE FROM %1$I.%2$I WHERE false', 'rv'),
				('truncate', 'TRUNCATE %1$I.%2$I', 'r')) s (verb, statement, kinds)
			WHERE (n.nspname = 'miosa' OR c.relname LIKE 'miosa\_%') AND strpos(s.kinds, c.relkind::text) > 0
				AND (s.verb NOT IN ('delete', 'truncate') OR a.attnum = 1)
			GROUP BY 1, 2
		LOOP
			EXECUTE format('SET LOCAL ROLE %I', as_role);
			answers := ARRAY(SELECT pg_temp.may(t.sql) FROM unnest(result.statements) t (sql));
			RESET ROLE;
			INSERT INTO attempt SELECT as_role, result.relname, result.verb, count(may), count(*) FILTER (WHERE may) FROM unnest(answers) a (may);
		END LOOP;
	END LOOP;
END $$;
SELECT verb, count(*) > 20 AND sum(columns) > 20 AS enough, count(*) FILTER (WHERE allowed <> columns) AS refused_to_the_owner
FROM attempt WHERE role = 'miosa_owner' GROUP BY 1 ORDER BY 1;
-- No group writes any column of any table.
SELECT role, relation, verb, allowed FROM attempt WHERE verb <> 'select' AND allowed > 0 AND role <> 'miosa_owner';
-- r: reads all columns; otherwise how many of how many.
SELECT relation, string_agg(r.word, ' ' ORDER BY r.place) AS "monitor viewer operator deployer agent auditor edge admin"
FROM (SELECT a.relation, p.place, CASE a.allowed WHEN a.columns THEN 'r' WHEN 0 THEN '-' ELSE a.allowed || '/' || a.columns END AS word
	FROM unnest('{pg_monitor,miosa_viewer,miosa_operator,miosa_deployer,miosa_agent,miosa_auditor,miosa_edge,miosa_admin}'::name[])
		WITH ORDINALITY p (role, place)
	JOIN attempt a ON a.role = p.role AND a.verb = 'select') r
GROUP BY relation ORDER BY relation;
SELECT count(*) AS nobody_may FROM attempt WHERE role = 'regress_nobody' AND allowed > 0;
DROP TABLE attempt;

-- Which function which role may call, with what it has as a member of others.
SELECT CASE f.nspname WHEN 'miosa' THEN 'miosa.' ELSE '' END || f.proname AS function,
	string_agg(CASE WHEN f.may THEN 'x' ELSE '-' END, ' ' ORDER BY f.place) AS "monitor viewer operator deployer agent auditor edge admin"
FROM (SELECT n.nspname, p.proname, r.place, bool_and(has_function_privilege(r.role, p.oid, 'EXECUTE')) AS may
	FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
	CROSS JOIN unnest('{pg_monitor,miosa_viewer,miosa_operator,miosa_deployer,miosa_agent,miosa_auditor,miosa_edge,miosa_admin}'::name[])
		WITH ORDINALITY r (role, place)
	WHERE n.nspname = 'miosa' OR p.proname LIKE 'miosa\_%'
	GROUP BY 1, 2, 3) f
GROUP BY 1, f.nspname HAVING bool_or(f.may) ORDER BY f.nspname <> 'miosa' DESC, 1;
-- A function for programs that no line of rights.sql grants.
SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace <> 'miosa'::regnamespace AND p.proname LIKE 'miosa\_%'
	AND NOT has_function_privilege('miosa_admin', p.oid, 'EXECUTE');
-- Volatile functions that run with the owner's rights and are not for people or
-- programs: readers of views, and the steps of maintenance, which do what is due.
SELECT g.role, p.oid::regprocedure AS function FROM pg_proc p CROSS JOIN unnest('{miosa_viewer,miosa_operator,miosa_deployer,miosa_agent,miosa_auditor,miosa_edge,miosa_admin,pg_monitor}'::name[]) g (role)
WHERE p.pronamespace = 'miosa'::regnamespace AND p.prosecdef AND p.provolatile = 'v' AND has_function_privilege(g.role, p.oid, 'EXECUTE')
	AND NOT EXISTS (SELECT FROM pg_proc r WHERE r.pronamespace = p.pronamespace AND r.proname = p.proname || '_rows')
ORDER BY 1, 2;

-- Each of the others refuses a call, by every role.
CREATE TABLE called (role name, function text, refused boolean);
DO $$
DECLARE
	as_role name;
	f record;
	refused boolean;
BEGIN
	FOREACH as_role IN ARRAY ARRAY['miosa_viewer', 'miosa_operator', 'miosa_deployer', 'miosa_agent', 'miosa_auditor', 'miosa_edge', 'miosa_admin', 'pg_monitor'] LOOP
		FOR f IN SELECT p.oid::regprocedure::text AS name, format(CASE p.prokind WHEN 'p' THEN 'CALL miosa.%1$I(%3$s)' ELSE 'SELECT miosa.%1$I(%2$s) FROM (SELECT %4$s OFFSET 0) v' END,
				p.proname, a.arguments, a.nulls, a.columns) AS call
			FROM pg_proc p
			-- Not constants, for which a strict function would not even be called.
			CROSS JOIN LATERAL (SELECT string_agg(v.variadic || 'a' || v.n, ', ' ORDER BY v.n) AS arguments,
					string_agg(v.variadic || 'NULL::' || v.type, ', ' ORDER BY v.n) AS nulls,
					string_agg(format('NULL::%s AS a%s', v.type, v.n), ', ' ORDER BY v.n) AS columns
				FROM (SELECT t.n, CASE WHEN p.provariadic <> 0 AND t.n = p.pronargs THEN 'VARIADIC ' ELSE '' END AS variadic,
						CASE t.type WHEN 'anyelement'::regtype THEN 'text' ELSE format_type(t.type, NULL) END AS type
					FROM unnest(p.proargtypes) WITH ORDINALITY t (type, n)) v) a
			WHERE p.pronamespace = 'miosa'::regnamespace AND NOT 'internal'::regtype = ANY (p.proargtypes)
				AND NOT has_function_privilege(as_role, p.oid, 'EXECUTE')
		LOOP
			EXECUTE format('SET LOCAL ROLE %I', as_role);
			refused := NOT pg_temp.may(f.call);
			RESET ROLE;
			INSERT INTO called VALUES (as_role, f.name, refused);
		END LOOP;
	END LOOP;
END $$;
SELECT role, count(*) > 200 AS enough, string_agg(function, ' ') FILTER (WHERE NOT refused) AS not_refused FROM called GROUP BY 1 ORDER BY 1;
DROP TABLE called;
DROP ROLE regress_nobody;
DROP EXTENSION miosa_rollback;
