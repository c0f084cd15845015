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
SELECT e.evtname, o.rolsuper FROM pg_event_trigger e JOIN pg_roles o ON o.oid = e.evtowner WHERE e.evtname LIKE 'miosa%';
SELECT r.rolname, r.rolcanlogin OR r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication AS more_than_groups, r.rolbypassrls,
	(SELECT string_agg(g.rolname, ' ' ORDER BY g.rolname) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid) AS member_of
FROM pg_roles r WHERE r.rolname LIKE 'miosa\_%' ORDER BY r.rolname;

-- No function with the owner's rights has a superuser's.
SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner AND o.rolsuper
WHERE (p.pronamespace = 'miosa'::regnamespace OR p.proname LIKE 'miosa\_%') AND p.prosecdef;
DROP EXTENSION miosa_rollback;
