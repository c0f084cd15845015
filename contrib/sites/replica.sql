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
CREATE PUBLICATION miosa_site FOR TABLE miosa.sites WHERE (role = 'replica');
