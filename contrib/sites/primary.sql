-- At the primary site: publish what replicas need. miosa_rollback.site must be set.
--
-- As a superuser, in the database that has the extension:
--   psql -d control -f contrib/sites/primary.sql
--
-- Neither secrets nor idempotency keys nor audit events are in it. URIs of artifacts
-- are: routes have them.
\set ON_ERROR_STOP on
BEGIN;
INSERT INTO miosa.sites (role, site)
	VALUES ('primary', current_setting('miosa_rollback.site')) ON CONFLICT DO NOTHING;
CREATE PUBLICATION miosa_routes FOR TABLE
	miosa.tenants (id, slug),
	miosa.deployments (id, tenant_id, name, slug, kind, state, active_version_id, active_release_id,
		running_artifact_sha256, serving_version_id, seq, route_seq, route_ttl, created_at, updated_at),
	miosa.versions (deployment_id, id, tenant_id, version_number, kind, state),
	miosa.releases (deployment_id, id, deployment_version_id, tenant_id, kind, storage_uri, sha256),
	miosa.domains (fqdn, deployment_id, tenant_id, state, redirect_policy),
	miosa.removed_hosts,
	miosa.route_log,
	miosa.sites (role, site, epoch, changed_at, told_at) WHERE (role = 'primary');
COMMIT;
