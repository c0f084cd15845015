-- At a replica: publish how far its edges are.
--
-- As a superuser, in a database that has the extension, on a server that has
-- miosa_rollback.site_role = replica and a miosa_rollback.site of its own:
--   psql -d region -f contrib/sites/replica.sql
--
-- Then subscribe, here to the primary site and there to this one:
--   CREATE SUBSCRIPTION miosa_routes CONNECTION '...' PUBLICATION miosa_routes;
--   CREATE SUBSCRIPTION miosa_site_NAME CONNECTION '...' PUBLICATION miosa_site;
\set ON_ERROR_STOP on
-- A session reads a configuration that was just reloaded with its next command; a new
-- one has it.
\connect -
SELECT current_setting('miosa_rollback.site_role') <> 'replica' AS not_replica,
	current_setting('miosa_rollback.site') = '' AS unnamed,
	EXISTS (SELECT FROM pg_publication WHERE pubname = 'miosa_site') AS published \gset
\if :not_replica
	\warn 'This site is no replica: ALTER SYSTEM SET miosa_rollback.site_role = ''replica''; SELECT pg_reload_conf();'
	DO $$ BEGIN RAISE 'nothing was done' USING ERRCODE = 'object_not_in_prerequisite_state'; END $$;
\endif
\if :unnamed
	\warn 'The site has no name: ALTER SYSTEM SET miosa_rollback.site = ''eu''; SELECT pg_reload_conf();'
	DO $$ BEGIN RAISE 'nothing was done' USING ERRCODE = 'object_not_in_prerequisite_state'; END $$;
\endif
\if :published
	\echo 'The publication miosa_site is there already.'
\else
CREATE PUBLICATION miosa_site FOR TABLE miosa.sites WHERE (role = 'replica');
\endif
