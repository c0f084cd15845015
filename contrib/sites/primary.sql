-- At the primary site: publish what replicas need. miosa_rollback.site must be set.
-- When it has changed, run this again: replicas learn the new name.
--
-- As a superuser, in the database that has the extension:
--   psql -d control -f contrib/sites/primary.sql
--
-- Neither secrets nor idempotency keys nor audit events are in it. URIs of artifacts
-- are: routes have them.
\set ON_ERROR_STOP on
-- A session reads a configuration that was just reloaded with its next command; a new
-- one has it.
\connect -
SELECT current_setting('miosa_rollback.site_role') = 'replica' AS replica,
	current_setting('miosa_rollback.site') = '' AS unnamed,
	EXISTS (SELECT FROM pg_publication WHERE pubname = 'miosa_routes') AS published \gset
\if :replica
	\warn 'This site is a replica: run contrib/sites/replica.sql here, or ALTER SYSTEM SET miosa_rollback.site_role = ''primary''; SELECT pg_reload_conf();'
	DO $$ BEGIN RAISE 'nothing was done' USING ERRCODE = 'object_not_in_prerequisite_state'; END $$;
\endif
\if :unnamed
	\warn 'The site has no name: ALTER SYSTEM SET miosa_rollback.site = ''home''; SELECT pg_reload_conf();'
	DO $$ BEGIN RAISE 'nothing was done' USING ERRCODE = 'object_not_in_prerequisite_state'; END $$;
\endif
BEGIN;
UPDATE miosa.sites SET site = current_setting('miosa_rollback.site')
	WHERE role = 'primary' AND site <> current_setting('miosa_rollback.site');
INSERT INTO miosa.sites (role, site)
	VALUES ('primary', current_setting('miosa_rollback.site')) ON CONFLICT DO NOTHING;
\if :published
	\echo 'The publication miosa_routes is there already.'
\else
CREATE PUBLICATION miosa_routes FOR TABLE
	miosa.tenants (id, slug),
	miosa.deployments (id, tenant_id, name, slug, kind, state, active_version_id, active_release_id,
		running_artifact_sha256, serving_version_id, seq, route_seq, route_ttl, created_at, updated_at),
	miosa.versions (deployment_id, id, tenant_id, version_number, kind, state),
	miosa.releases (deployment_id, id, deployment_version_id, tenant_id, kind, storage_uri, sha256),
	miosa.domains (fqdn, deployment_id, tenant_id, state, redirect_policy),
	miosa.removed_hosts,
	miosa.route_log,
	miosa.sites (role, site, epoch, changed_at, told_at, version) WHERE (role = 'primary');
\endif
-- The dispatcher looks for other sites when it reads its settings.
SELECT miosa.queue_settings() \g /dev/null
COMMIT;
