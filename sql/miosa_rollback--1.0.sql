\echo Use "CREATE EXTENSION miosa_rollback" to load this file. \quit

-- Nothing in this script may be found by chance: what is not in pg_catalog is
-- named with its schema (CVE-2022-2625 is what happens otherwise).
SET LOCAL search_path = pg_catalog, pg_temp;

-- Nor may somebody's function answer in place of one of ours, or make calls of it
-- ambiguous.
DO $$
DECLARE
	schema_name name;
	taken text;
BEGIN
	SELECT n.nspname, string_agg(p.oid::regprocedure::text, ', ' ORDER BY p.proname, p.oid) INTO schema_name, taken
		FROM pg_extension e
		JOIN pg_namespace n ON n.oid = e.extnamespace
		JOIN pg_proc p ON p.pronamespace = n.oid AND starts_with(p.proname, 'miosa_')
		WHERE e.extname = 'miosa_rollback'
		GROUP BY n.nspname;
	IF FOUND THEN
		RAISE EXCEPTION 'schema "%" has functions with names of miosa_rollback', schema_name
			USING ERRCODE = 'duplicate_function', DETAIL = format('Functions: %s.', left(taken, 500)),
				HINT = 'Drop them, or let the extension have a schema of its own: CREATE SCHEMA ops; CREATE EXTENSION miosa_rollback SCHEMA ops;';
	END IF;
END $$;
-- The library that the server has loaded must be as new as what is made below.

CREATE SCHEMA miosa;
COMMENT ON SCHEMA miosa IS 'miosa_rollback: deployments, versions, delivery, and the console for people';

-- The doctor shows them.
CREATE FUNCTION miosa.versions(OUT library text, OUT objects text, OUT fix text)
RETURNS record LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_versions';
COMMENT ON FUNCTION miosa.versions() IS
	'Versions of the library that is loaded and of the SQL objects, and what makes them equal; null when they are';

-- Every script that updates the extension begins with a call of it.
CREATE FUNCTION miosa.require_library()
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_require_library';
COMMENT ON FUNCTION miosa.require_library() IS 'Raises an error if the library that is loaded is older than the SQL objects';

SELECT miosa.require_library();
-- Roles.  They belong to the whole cluster, so they are made only if they are
-- missing, stay when the extension is dropped, and are the same in every
-- database that has it.  rights.sql says what each of them may; miosa_all_tenants
-- has no right but to act for all tenants (src/operation/tenancy.c).

DO $$
DECLARE
	names CONSTANT text[] := ARRAY['miosa_owner', 'miosa_viewer', 'miosa_operator', 'miosa_deployer', 'miosa_agent',
		'miosa_auditor', 'miosa_edge', 'miosa_admin', 'miosa_all_tenants'];
	name text;
	grp text;
	problem text;
BEGIN
	FOREACH name IN ARRAY names LOOP
		BEGIN
			IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = name) THEN
				EXECUTE format('CREATE ROLE %I NOLOGIN', name);
			END IF;
		-- Another session may make the same role at the same time.
		EXCEPTION WHEN duplicate_object OR unique_violation THEN
			NULL;
		END;
	END LOOP;

	-- The owner of everything that need not be owned by a superuser.  Who can
	-- become it can do all that the extension does, so a role that somebody made
	-- beforehand for that is refused.
	SELECT CASE WHEN r.rolcanlogin THEN 'It can log in.'
			WHEN r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication THEN 'It has more attributes than BYPASSRLS.'
			ELSE (SELECT format('Role "%s" is a member of it.', s.rolname) FROM pg_auth_members m
				JOIN pg_roles s ON s.oid = m.member AND NOT s.rolsuper WHERE m.roleid = r.oid ORDER BY s.rolname LIMIT 1) END
		INTO problem FROM pg_roles r WHERE r.rolname = 'miosa_owner';
	IF problem IS NOT NULL THEN
		RAISE EXCEPTION 'role "miosa_owner" cannot own the extension' USING ERRCODE = 'invalid_role_specification',
			DETAIL = problem, HINT = 'It must be a role without login, without other attributes and without members; to have it made anew, rename it: ALTER ROLE miosa_owner RENAME TO other;';
	END IF;
	-- Its functions act for all tenants, so row-level security does not hold it.
	IF NOT (SELECT r.rolbypassrls FROM pg_roles r WHERE r.rolname = 'miosa_owner') THEN
		ALTER ROLE miosa_owner BYPASSRLS;
	END IF;
	-- The doctor reads other sessions' rows of statistics views.
	IF NOT pg_has_role('miosa_owner', 'pg_read_all_stats', 'MEMBER') THEN
		GRANT pg_read_all_stats TO miosa_owner;
	END IF;

	FOR name, grp IN VALUES
		-- member, group
		('miosa_operator', 'miosa_viewer'),
		('miosa_deployer', 'miosa_viewer'),
		('miosa_admin', 'miosa_operator'),
		('miosa_admin', 'miosa_deployer'),
		('miosa_admin', 'miosa_agent'),
		('miosa_admin', 'miosa_auditor'),
		('miosa_admin', 'miosa_edge')
	LOOP
		IF NOT pg_has_role(name, grp, 'MEMBER') THEN
			EXECUTE format('GRANT %I TO %I', grp, name);
		END IF;
	END LOOP;
END $$;
-- Tables of the platform's objects and of what happens to them.
--
-- Every key of deployment data begins with the deployment, so that the whole
-- can be sharded by it.  Foreign keys run downwards only: none from
-- deployments to versions (a cycle cannot be restored), none on the tables
-- that every rollback writes (they would cost a third of its throughput).
--
-- Ids, hosts and names are ASCII and are compared byte by byte: their columns
-- have the collation "C", so that case, order and patterns do not depend on
-- the language of the database.  An expression without such a column says
-- COLLATE "C" itself where it changes case or ignores it (test/lint/collation
-- checks that).
--
-- Times are calculated with, so those that people may write must be finite and
-- not too far away: one constraint a table, as each costs every rollback.

-- Shipped plans are apart from people's own, so that a restore, whatever order
-- and switches it has, finds none of its rows there already, and a subscription
-- neither.  A materialized view has an index and survives a crash, and what it
-- holds is neither dumped nor published.
CREATE MATERIALIZED VIEW miosa.shipped_plans AS
	SELECT p.name COLLATE "C" AS name, p.audit_retention::interval, p.idempotency_retention::interval, p.artifact_retention::interval
	FROM (VALUES
		('free', '7 days', '24 hours', '30 days'),
		('pro', '30 days', '24 hours', '30 days'),
		('team', '90 days', '24 hours', '90 days'),
		('enterprise', '400 days', '7 days', '365 days')) p (name, audit_retention, idempotency_retention, artifact_retention);
CREATE UNIQUE INDEX shipped_plans_name ON miosa.shipped_plans (name);
COMMENT ON MATERIALIZED VIEW miosa.shipped_plans IS 'Plans that are shipped with the extension';
COMMENT ON COLUMN miosa.shipped_plans.name IS 'Name of the plan';
COMMENT ON COLUMN miosa.shipped_plans.audit_retention IS 'As in miosa.plans';
COMMENT ON COLUMN miosa.shipped_plans.idempotency_retention IS 'As in miosa.plans';
COMMENT ON COLUMN miosa.shipped_plans.artifact_retention IS 'As in miosa.plans';

CREATE TABLE miosa.own_plans (
	name text COLLATE "C" PRIMARY KEY,
	audit_retention interval NOT NULL CHECK (audit_retention BETWEEN '1 s' AND '100 years'),
	idempotency_retention interval NOT NULL CHECK (idempotency_retention BETWEEN '1 s' AND '100 years'),
	artifact_retention interval NOT NULL CHECK (artifact_retention BETWEEN '1 s' AND '100 years')
);
COMMENT ON TABLE miosa.own_plans IS 'Plans that were added, and shipped ones that were edited; written through miosa.plans';
COMMENT ON COLUMN miosa.own_plans.name IS 'Name of the plan; it overrides a shipped one of that name';
COMMENT ON COLUMN miosa.own_plans.audit_retention IS 'As in miosa.plans';
COMMENT ON COLUMN miosa.own_plans.idempotency_retention IS 'As in miosa.plans';
COMMENT ON COLUMN miosa.own_plans.artifact_retention IS 'As in miosa.plans';

CREATE VIEW miosa.plans AS
	SELECT o.name, o.audit_retention, o.idempotency_retention, o.artifact_retention, false AS builtin
	FROM miosa.own_plans o
	UNION ALL
	SELECT s.name, s.audit_retention, s.idempotency_retention, s.artifact_retention, true
	FROM miosa.shipped_plans s WHERE NOT EXISTS (SELECT FROM miosa.own_plans o WHERE o.name = s.name);
COMMENT ON VIEW miosa.plans IS 'Plans of tenants: retention times; can be written like a table';
COMMENT ON COLUMN miosa.plans.name IS 'Name of the plan';
COMMENT ON COLUMN miosa.plans.audit_retention IS 'How long audit events are kept; the newest one of a deployment is kept for ever';
COMMENT ON COLUMN miosa.plans.idempotency_retention IS 'How long an idempotency key returns its first result';
COMMENT ON COLUMN miosa.plans.artifact_retention IS 'How long the artifact of a version that does not serve is kept before miosa_collect() claims it; 1 second to 100 years';
COMMENT ON COLUMN miosa.plans.builtin IS 'Shipped with the extension and not edited since; what is written here is ignored';

CREATE TABLE miosa.tenants (
	id text COLLATE "C" PRIMARY KEY,
	slug text COLLATE "C" NOT NULL UNIQUE,
	plan text COLLATE "C" NOT NULL DEFAULT 'free',
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT "times must be from 1970 to 2199" CHECK (least(created_at, updated_at) >= '1970-01-01 00:00:00+00'
		AND greatest(created_at, updated_at) < '2200-01-01 00:00:00+00')
);
COMMENT ON TABLE miosa.tenants IS 'Owners of deployments';
COMMENT ON COLUMN miosa.tenants.id IS 'Opaque id';
COMMENT ON COLUMN miosa.tenants.slug IS 'Name in managed hosts';
COMMENT ON COLUMN miosa.tenants.plan IS 'Plan that sets retention times';
COMMENT ON COLUMN miosa.tenants.created_at IS 'When the row was made';
COMMENT ON COLUMN miosa.tenants.updated_at IS 'When the row was last changed';

-- The pointer update must stay on its page and touch no index: room is left
-- on every page, and no column that a rollback changes is indexed, but for
-- deployments_waiting, which is written only where one begins or ends to wait for
-- instances.  It leads miosa.overdue to the few that do.  Of these columns,
-- routes are read from active_version_id, serving_version_id and route_seq, ids
-- of operations are made of seq, collection spares recent_served, the cut-over
-- waits since waiting_since, last_rollback_at tells a repeated call, and the
-- response shows the others.
CREATE TABLE miosa.deployments (
	id text COLLATE "C" PRIMARY KEY,
	tenant_id text COLLATE "C" NOT NULL REFERENCES miosa.tenants,
	name text NOT NULL,
	slug text COLLATE "C" NOT NULL,
	kind text NOT NULL DEFAULT 'static' CHECK (kind IN ('static', 'dynamic', 'sandbox_backed')),
	state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'building', 'running', 'stopped', 'failed')),
	desired_replicas integer NOT NULL DEFAULT 1 CHECK (desired_replicas BETWEEN 0 AND 100000),
	active_version_id text COLLATE "C",
	active_release_id text COLLATE "C",
	running_artifact_sha256 text COLLATE "C",
	serving_version_id text COLLATE "C",
	recent_served text[] NOT NULL DEFAULT '{}',
	seq bigint NOT NULL DEFAULT 0,
	route_seq bigint NOT NULL DEFAULT 0,
	audit_head bytea,
	route_ttl interval NOT NULL DEFAULT '60 s'
		CONSTRAINT "route_ttl must be from 0 to 1 year" CHECK (route_ttl BETWEEN '0' AND '1 year'),
	last_rollback_at timestamptz,
	waiting_since timestamptz,
	schema_name text COLLATE "C",
	owner_id text,
	workspace_id text,
	project_id text,
	source_type text CHECK (source_type IN ('repo', 'sandbox', 'upload')),
	auto_deploy boolean NOT NULL DEFAULT false,
	custom_domain_id text,
	linked_database_id text,
	deployment_product text,
	metadata jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
	external_workspace_id text,
	external_user_id text,
	external_project_id text,
	public_url text,
	auto_subdomain text,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	UNIQUE (tenant_id, slug),
	CONSTRAINT "times must be from 1970 to 2199" CHECK (least(last_rollback_at, waiting_since, created_at, updated_at) >= '1970-01-01 00:00:00+00'
		AND greatest(last_rollback_at, waiting_since, created_at, updated_at) < '2200-01-01 00:00:00+00')
) WITH (fillfactor = 70);
CREATE INDEX deployments_waiting ON miosa.deployments (id) WHERE waiting_since IS NOT NULL;
CREATE INDEX deployments_failed ON miosa.deployments (id) WHERE state = 'failed';
COMMENT ON TABLE miosa.deployments IS 'Deployments: each points at one active version';
COMMENT ON COLUMN miosa.deployments.id IS 'Opaque id';
COMMENT ON COLUMN miosa.deployments.tenant_id IS 'Owner';
COMMENT ON COLUMN miosa.deployments.name IS 'Name for people';
COMMENT ON COLUMN miosa.deployments.slug IS 'Name in the managed host, unique per tenant';
COMMENT ON COLUMN miosa.deployments.kind IS 'Kind of new versions: static, dynamic or sandbox_backed; what a rollback does is decided by the version''s own kind';
COMMENT ON COLUMN miosa.deployments.state IS 'pending, building, running, stopped or failed; pending also while instances are missing';
COMMENT ON COLUMN miosa.deployments.desired_replicas IS 'Instances that a dynamic version should have';
COMMENT ON COLUMN miosa.deployments.active_version_id IS 'The pointer: the version that is to serve; null before the first promotion';
COMMENT ON COLUMN miosa.deployments.active_release_id IS 'Release of the active version';
COMMENT ON COLUMN miosa.deployments.running_artifact_sha256 IS 'SHA-256 of that release''s artifact';
COMMENT ON COLUMN miosa.deployments.serving_version_id IS 'What routes resolve to while the active version still waits for instances; null means the active one';
COMMENT ON COLUMN miosa.deployments.recent_served IS 'The last three versions that served, newest first; their artifacts are not collected';
COMMENT ON COLUMN miosa.deployments.seq IS 'Number of the newest operation, without gaps';
COMMENT ON COLUMN miosa.deployments.route_seq IS 'Number of the newest route change';
COMMENT ON COLUMN miosa.deployments.audit_head IS 'Hash of the newest audit event, which the hash of the next one covers; null when there is none';
COMMENT ON COLUMN miosa.deployments.route_ttl IS 'How long edges may keep a route by themselves; at most 1 year';
COMMENT ON COLUMN miosa.deployments.last_rollback_at IS 'When the newest operation was made, if that was a rollback; null otherwise';
COMMENT ON COLUMN miosa.deployments.waiting_since IS 'Since when the active version waits for instances; null when routes resolve to it';
COMMENT ON COLUMN miosa.deployments.schema_name IS 'Schema in miosa.schemas that its versions work with; null: none is checked';
COMMENT ON COLUMN miosa.deployments.owner_id IS 'Owner within the tenant';
COMMENT ON COLUMN miosa.deployments.workspace_id IS 'Workspace of the platform';
COMMENT ON COLUMN miosa.deployments.project_id IS 'Project of the platform';
COMMENT ON COLUMN miosa.deployments.source_type IS 'repo, sandbox or upload';
COMMENT ON COLUMN miosa.deployments.auto_deploy IS 'Whether pushes are published by themselves';
COMMENT ON COLUMN miosa.deployments.custom_domain_id IS 'Id of the custom domain';
COMMENT ON COLUMN miosa.deployments.linked_database_id IS 'Id of the linked database; a rollback never touches it';
COMMENT ON COLUMN miosa.deployments.deployment_product IS 'Product that the deployment belongs to';
COMMENT ON COLUMN miosa.deployments.metadata IS 'Free object; also holds the older repository fields (repo_url, branch, ...)';
COMMENT ON COLUMN miosa.deployments.external_workspace_id IS 'The tenant''s own workspace id (external attribution)';
COMMENT ON COLUMN miosa.deployments.external_user_id IS 'The tenant''s own user id (external attribution)';
COMMENT ON COLUMN miosa.deployments.external_project_id IS 'The tenant''s own project id (external attribution)';
COMMENT ON COLUMN miosa.deployments.public_url IS 'Canonical URL';
COMMENT ON COLUMN miosa.deployments.auto_subdomain IS 'URL of the managed host';
COMMENT ON COLUMN miosa.deployments.created_at IS 'When the deployment was made';
COMMENT ON COLUMN miosa.deployments.updated_at IS 'When it was last changed';

CREATE TABLE miosa.versions (
	deployment_id text COLLATE "C" NOT NULL REFERENCES miosa.deployments,
	id text COLLATE "C" NOT NULL,
	tenant_id text COLLATE "C" NOT NULL REFERENCES miosa.tenants,
	version_number integer NOT NULL CHECK (version_number > 0),
	kind text NOT NULL DEFAULT 'static' CHECK (kind IN ('static', 'dynamic', 'sandbox_backed')),
	state text NOT NULL DEFAULT 'created' CHECK (state IN ('created', 'building', 'ready', 'failed', 'archived')),
	promoted_over text COLLATE "C",
	promotion_seq bigint,
	bad_since timestamptz,
	bad_reason text,
	bad_by text,
	pinned boolean NOT NULL DEFAULT false,
	schema_version bigint,
	schema_min bigint,
	schema_max bigint,
	created_by text,
	source_sandbox_id text,
	build_id text,
	workspace_id text,
	project_id text,
	external_workspace_id text,
	external_user_id text,
	external_project_id text,
	artifact_uri text,
	artifact_manifest jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(artifact_manifest) = 'object'),
	artifact_sha256 text COLLATE "C",
	source_sha256 text COLLATE "C",
	runtime_image text,
	runtime_command text,
	health_check_path text,
	runtime_port integer CHECK (runtime_port BETWEEN 1 AND 65535),
	build_log_uri text,
	metadata jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
	promoted_at timestamptz,
	last_served_at timestamptz,
	switched_at timestamptz,
	archived_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (deployment_id, id),
	UNIQUE (deployment_id, version_number),
	CONSTRAINT "a bad version has bad_since, bad_reason and bad_by" CHECK (num_nulls(bad_since, bad_reason, bad_by) IN (0, 3)),
	CONSTRAINT "times must be from 1970 to 2199" CHECK (least(bad_since, promoted_at, last_served_at, switched_at, archived_at, created_at, updated_at) >= '1970-01-01 00:00:00+00'
		AND greatest(bad_since, promoted_at, last_served_at, switched_at, archived_at, created_at, updated_at) < '2200-01-01 00:00:00+00')
);
CREATE INDEX versions_image ON miosa.versions (runtime_image) WHERE runtime_image IS NOT NULL;
CREATE INDEX versions_marked ON miosa.versions (deployment_id)
	WHERE metadata -> 'migration_compatibility' = '"incompatible"';
COMMENT ON TABLE miosa.versions IS 'Versions of deployments; immutable once ready';
COMMENT ON COLUMN miosa.versions.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.versions.id IS 'Opaque id';
COMMENT ON COLUMN miosa.versions.tenant_id IS 'Owner';
COMMENT ON COLUMN miosa.versions.version_number IS 'Number within the deployment; people write v12';
COMMENT ON COLUMN miosa.versions.kind IS 'static, dynamic or sandbox_backed';
COMMENT ON COLUMN miosa.versions.state IS 'created, building, ready, failed or archived; moves one way';
COMMENT ON COLUMN miosa.versions.promoted_over IS 'Version that was active when this one was last promoted: where a rollback returns to';
COMMENT ON COLUMN miosa.versions.promotion_seq IS 'Operation that last promoted it; null when none ever did';
COMMENT ON COLUMN miosa.versions.bad_since IS 'When it was marked as bad: it is no default target, and refused to promotions; null: it is not marked';
COMMENT ON COLUMN miosa.versions.bad_reason IS 'Why, in the caller''s words';
COMMENT ON COLUMN miosa.versions.bad_by IS 'Id of the actor that marked it';
COMMENT ON COLUMN miosa.versions.pinned IS 'Never archived and its artifact never collected';
COMMENT ON COLUMN miosa.versions.schema_version IS 'Version of the schema that the code was built for; null: unknown';
COMMENT ON COLUMN miosa.versions.schema_min IS 'Lowest version of the schema that it works with; null: not said';
COMMENT ON COLUMN miosa.versions.schema_max IS 'Highest version of the schema that it works with; null: not said';
COMMENT ON COLUMN miosa.versions.created_by IS 'User who made it';
COMMENT ON COLUMN miosa.versions.source_sandbox_id IS 'Sandbox it was made from';
COMMENT ON COLUMN miosa.versions.build_id IS 'Build that made it';
COMMENT ON COLUMN miosa.versions.workspace_id IS 'Workspace of the platform';
COMMENT ON COLUMN miosa.versions.project_id IS 'Project of the platform';
COMMENT ON COLUMN miosa.versions.external_workspace_id IS 'The tenant''s own workspace id';
COMMENT ON COLUMN miosa.versions.external_user_id IS 'The tenant''s own user id';
COMMENT ON COLUMN miosa.versions.external_project_id IS 'The tenant''s own project id';
COMMENT ON COLUMN miosa.versions.artifact_uri IS 'Where the artifact was uploaded to';
COMMENT ON COLUMN miosa.versions.artifact_manifest IS 'files, total_bytes, entrypoint';
COMMENT ON COLUMN miosa.versions.artifact_sha256 IS 'SHA-256 of the artifact, hex';
COMMENT ON COLUMN miosa.versions.source_sha256 IS 'SHA-256 of the source, hex';
COMMENT ON COLUMN miosa.versions.runtime_image IS 'Image of a dynamic version';
COMMENT ON COLUMN miosa.versions.runtime_command IS 'Command of a dynamic version';
COMMENT ON COLUMN miosa.versions.health_check_path IS 'Path that answers 2xx when an instance is healthy';
COMMENT ON COLUMN miosa.versions.runtime_port IS 'Port of a dynamic version';
COMMENT ON COLUMN miosa.versions.build_log_uri IS 'Where the build log is';
COMMENT ON COLUMN miosa.versions.metadata IS 'Free object; migration_compatibility = "incompatible" marks a version that a schema change makes unsafe to return to or from';
COMMENT ON COLUMN miosa.versions.promoted_at IS 'When it was last promoted';
COMMENT ON COLUMN miosa.versions.last_served_at IS 'When it was last one of the three versions that served most recently; null while it is one, or when it never was';
COMMENT ON COLUMN miosa.versions.switched_at IS 'When routes last switched to it after it had waited for instances';
COMMENT ON COLUMN miosa.versions.archived_at IS 'When it was archived';
COMMENT ON COLUMN miosa.versions.created_at IS 'When the version was made';
COMMENT ON COLUMN miosa.versions.updated_at IS 'When it was last changed';

CREATE TABLE miosa.releases (
	deployment_id text COLLATE "C" NOT NULL,
	id text COLLATE "C" NOT NULL,
	deployment_version_id text COLLATE "C" NOT NULL,
	tenant_id text COLLATE "C" NOT NULL REFERENCES miosa.tenants,
	kind text NOT NULL DEFAULT 'static',
	environment_id text,
	storage_backend text,
	storage_uri text NOT NULL,
	sha256 text COLLATE "C" CHECK (sha256 ~ '^[0-9a-f]{64}$'),
	size_bytes bigint CHECK (size_bytes >= 0),
	metadata jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
	verified_at timestamptz,
	missing_at timestamptz,
	collected_at timestamptz,
	collected_by text,
	deleted_at timestamptz,
	ready_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (deployment_id, id),
	UNIQUE (deployment_id, deployment_version_id),
	FOREIGN KEY (deployment_id, deployment_version_id) REFERENCES miosa.versions,
	CONSTRAINT "times must be from 1970 to 2199" CHECK (least(verified_at, missing_at, collected_at, deleted_at, ready_at, created_at, updated_at) >= '1970-01-01 00:00:00+00'
		AND greatest(verified_at, missing_at, collected_at, deleted_at, ready_at, created_at, updated_at) < '2200-01-01 00:00:00+00')
);
CREATE INDEX releases_sha256 ON miosa.releases (sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX releases_marked ON miosa.releases (deployment_id)
	WHERE metadata -> 'migration_compatibility' = '"incompatible"';
COMMENT ON TABLE miosa.releases IS 'Artifacts in storage, one a version, never changed';
COMMENT ON COLUMN miosa.releases.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.releases.id IS 'Opaque id';
COMMENT ON COLUMN miosa.releases.deployment_version_id IS 'Version that the artifact is of';
COMMENT ON COLUMN miosa.releases.tenant_id IS 'Owner';
COMMENT ON COLUMN miosa.releases.kind IS 'Kind of the version';
COMMENT ON COLUMN miosa.releases.environment_id IS 'Environment of the platform';
COMMENT ON COLUMN miosa.releases.storage_backend IS 'Name of the storage';
COMMENT ON COLUMN miosa.releases.storage_uri IS 'Where the artifact is; https, http, file, and s3 below a prefix of miosa.storages are verified, for all others collected_at decides';
COMMENT ON COLUMN miosa.releases.sha256 IS 'SHA-256 of the artifact, hex';
COMMENT ON COLUMN miosa.releases.size_bytes IS 'Size of the artifact in bytes';
COMMENT ON COLUMN miosa.releases.metadata IS 'Free object; migration_compatibility as in versions';
COMMENT ON COLUMN miosa.releases.verified_at IS 'When storage last confirmed the artifact';
COMMENT ON COLUMN miosa.releases.missing_at IS 'When storage was found not to have it, although it was not collected; null once storage has it again';
COMMENT ON COLUMN miosa.releases.collected_at IS 'When the artifact was collected, for deletion from storage; null while it is kept';
COMMENT ON COLUMN miosa.releases.collected_by IS 'Role that collected it';
COMMENT ON COLUMN miosa.releases.deleted_at IS 'When its deletion from storage was confirmed';
COMMENT ON COLUMN miosa.releases.ready_at IS 'When the artifact was complete';
COMMENT ON COLUMN miosa.releases.created_at IS 'When the release was made';
COMMENT ON COLUMN miosa.releases.updated_at IS 'When it was last changed';

CREATE TABLE miosa.runtime_instances (
	deployment_id text COLLATE "C" NOT NULL,
	id text COLLATE "C" NOT NULL,
	tenant_id text COLLATE "C" NOT NULL REFERENCES miosa.tenants,
	version_id text COLLATE "C" NOT NULL,
	release_id text COLLATE "C",
	state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'provisioning', 'starting', 'healthy',
		'unhealthy', 'stopping', 'stopped', 'failed', 'error', 'destroyed')),
	address text,
	port integer CHECK (port BETWEEN 1 AND 65535),
	last_heartbeat_at timestamptz,
	observed_at timestamptz,
	reported_by text,
	error_message text,
	metadata jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	healthy_at timestamptz,
	healthy_until timestamptz,
	PRIMARY KEY (deployment_id, id),
	FOREIGN KEY (deployment_id, version_id) REFERENCES miosa.versions,
	CONSTRAINT "times must be from 1970 to 2199" CHECK (least(last_heartbeat_at, observed_at, created_at, updated_at, healthy_at, healthy_until) >= '1970-01-01 00:00:00+00'
		AND greatest(last_heartbeat_at, observed_at, created_at, updated_at, healthy_at, healthy_until) < '2200-01-01 00:00:00+00')
);
CREATE INDEX runtime_instances_version ON miosa.runtime_instances (deployment_id, version_id);
COMMENT ON TABLE miosa.runtime_instances IS 'Running copies of dynamic versions';
COMMENT ON COLUMN miosa.runtime_instances.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.runtime_instances.id IS 'Opaque id';
COMMENT ON COLUMN miosa.runtime_instances.tenant_id IS 'Owner';
COMMENT ON COLUMN miosa.runtime_instances.version_id IS 'Version that it runs';
COMMENT ON COLUMN miosa.runtime_instances.release_id IS 'Release that it runs';
COMMENT ON COLUMN miosa.runtime_instances.state IS 'pending, provisioning, starting, healthy, unhealthy, stopping, stopped, failed, error or destroyed; only healthy serves';
COMMENT ON COLUMN miosa.runtime_instances.address IS 'Address that routers reach it at';
COMMENT ON COLUMN miosa.runtime_instances.port IS 'Port that routers reach it at';
COMMENT ON COLUMN miosa.runtime_instances.last_heartbeat_at IS 'When it was last reported, or counted by a poll';
COMMENT ON COLUMN miosa.runtime_instances.observed_at IS 'When its state was observed, by the clock of the reporter; an earlier observation changes nothing';
COMMENT ON COLUMN miosa.runtime_instances.reported_by IS 'Scheduler endpoint whose status poll counted it; null when it was reported';
COMMENT ON COLUMN miosa.runtime_instances.error_message IS 'Why it failed';
COMMENT ON COLUMN miosa.runtime_instances.metadata IS 'Free object';
COMMENT ON COLUMN miosa.runtime_instances.created_at IS 'When it was first reported, or counted by a poll';
COMMENT ON COLUMN miosa.runtime_instances.updated_at IS 'When it last changed its state';
COMMENT ON COLUMN miosa.runtime_instances.healthy_at IS 'When it was first healthy; null: it never was';
COMMENT ON COLUMN miosa.runtime_instances.healthy_until IS 'Since when it is not healthy any more; null: it is, or never was';

-- What schedulers are asked for.  A version that has what it needs has no row.
CREATE TABLE miosa.capacity (
	deployment_id text COLLATE "C" NOT NULL,
	version_id text COLLATE "C" NOT NULL,
	state text NOT NULL CHECK (state IN ('wanted', 'idle', 'draining', 'drained')),
	since timestamptz NOT NULL DEFAULT clock_timestamp(),
	asked_at timestamptz,
	stop_asked boolean NOT NULL DEFAULT false,
	last_error text,
	last_error_at timestamptz,
	PRIMARY KEY (deployment_id, version_id),
	FOREIGN KEY (deployment_id, version_id) REFERENCES miosa.versions ON DELETE CASCADE
);
CREATE INDEX capacity_open ON miosa.capacity (deployment_id) WHERE state <> 'drained';
COMMENT ON TABLE miosa.capacity IS 'Versions for which schedulers are asked to start instances, or to stop them';
COMMENT ON COLUMN miosa.capacity.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.capacity.version_id IS 'Version';
COMMENT ON COLUMN miosa.capacity.state IS 'wanted (instances are missing), idle (not needed any more, drained after drain_delay), draining (the scheduler is asked to stop all) or drained (none is left; a return asks for instances again)';
COMMENT ON COLUMN miosa.capacity.since IS 'Since when it is in this state';
COMMENT ON COLUMN miosa.capacity.asked_at IS 'When a scheduler last accepted the request of this state; null: none since an operation last asked for it';
COMMENT ON COLUMN miosa.capacity.stop_asked IS 'Whether schedulers were last asked to stop all instances: a return requests them again, whether or not instances are running';
COMMENT ON COLUMN miosa.capacity.last_error IS 'Why the last request was not accepted, for people; it stays after a success';
COMMENT ON COLUMN miosa.capacity.last_error_at IS 'When that was';

-- Where artifacts are, and how to ask for them.
CREATE TABLE miosa.storages (
	prefix text COLLATE "C" PRIMARY KEY CHECK (prefix ~ '^s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?)?$'),
	endpoint text NOT NULL,
	region text NOT NULL DEFAULT 'us-east-1' CHECK (region ~ '^[a-z0-9-]{1,63}$'),
	addressing text NOT NULL DEFAULT 'path' CHECK (addressing IN ('path', 'virtual')),
	secret text COLLATE "C",
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT "times must be from 1970 to 2199" CHECK (least(created_at, updated_at) >= '1970-01-01 00:00:00+00'
		AND greatest(created_at, updated_at) < '2200-01-01 00:00:00+00')
);
COMMENT ON TABLE miosa.storages IS 'Object storage where artifacts are verified';
COMMENT ON COLUMN miosa.storages.prefix IS 'Storage URIs that begin with this are verified here, s3:// or s3://bucket/; the longest prefix applies';
COMMENT ON COLUMN miosa.storages.endpoint IS 'Base URL of the service, http or https';
COMMENT ON COLUMN miosa.storages.region IS 'Region that requests are signed for';
COMMENT ON COLUMN miosa.storages.addressing IS 'path: endpoint/bucket/key; virtual: the bucket is part of the host name';
COMMENT ON COLUMN miosa.storages.secret IS 'Name in miosa.secrets of KEYID:SECRET or KEYID:SECRET:TOKEN; null: requests are not signed';
COMMENT ON COLUMN miosa.storages.created_at IS 'When it was added';
COMMENT ON COLUMN miosa.storages.updated_at IS 'When it was last changed';

CREATE TABLE miosa.domains (
	fqdn text COLLATE "C" PRIMARY KEY CHECK (fqdn = lower(fqdn COLLATE "C") AND length(fqdn) <= 253
		AND fqdn ~ '^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
	id text COLLATE "C",
	deployment_id text COLLATE "C" NOT NULL REFERENCES miosa.deployments,
	tenant_id text COLLATE "C" NOT NULL REFERENCES miosa.tenants,
	state text NOT NULL DEFAULT 'active' CHECK (state IN ('pending', 'verified', 'active', 'failed', 'removed')),
	redirect_policy text NOT NULL DEFAULT 'none' CHECK (redirect_policy IN ('none', 'apex_to_www', 'www_to_apex')),
	verified_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT "times must be from 1970 to 2199" CHECK (least(verified_at, created_at) >= '1970-01-01 00:00:00+00'
		AND greatest(verified_at, created_at) < '2200-01-01 00:00:00+00')
);
CREATE INDEX domains_deployment ON miosa.domains (deployment_id);
COMMENT ON TABLE miosa.domains IS 'Hosts; an active one routes to its deployment''s version';
COMMENT ON COLUMN miosa.domains.fqdn IS 'Host name in lower case, without a final dot';
COMMENT ON COLUMN miosa.domains.id IS 'Opaque id of the platform';
COMMENT ON COLUMN miosa.domains.deployment_id IS 'Deployment that the host shows';
COMMENT ON COLUMN miosa.domains.tenant_id IS 'Owner';
COMMENT ON COLUMN miosa.domains.state IS 'pending, verified, active, failed or removed; only active ones are routed';
COMMENT ON COLUMN miosa.domains.redirect_policy IS 'none, apex_to_www or www_to_apex';
COMMENT ON COLUMN miosa.domains.verified_at IS 'When ownership was shown';
COMMENT ON COLUMN miosa.domains.created_at IS 'When the host was added';

-- Every rollback with a key writes a row of this table and of the next two, so
-- each column and index has a reader.  The primary key is looked up by every
-- call; idempotency_keys_expiry lets a purge begin at the oldest record and stop
-- after its share, whatever plans the tenants have.  operation and created_at
-- are in the message for a key that was used for another request, seq tells
-- whether the deployment has moved since, expires_at whether the key is free.
CREATE TABLE miosa.idempotency_keys (
	deployment_id text COLLATE "C" NOT NULL,
	key text COLLATE "C" NOT NULL,
	operation text NOT NULL,
	fingerprint bytea NOT NULL,
	response jsonb NOT NULL,
	seq bigint NOT NULL,
	created_at timestamptz NOT NULL,
	expires_at timestamptz NOT NULL,
	PRIMARY KEY (deployment_id, key)
);
CREATE INDEX idempotency_keys_expiry ON miosa.idempotency_keys (expires_at);
COMMENT ON TABLE miosa.idempotency_keys IS 'Results by key: a repeated call returns the first one';
COMMENT ON COLUMN miosa.idempotency_keys.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.idempotency_keys.key IS 'Key as the caller chose it';
COMMENT ON COLUMN miosa.idempotency_keys.operation IS 'rollback or promote';
COMMENT ON COLUMN miosa.idempotency_keys.fingerprint IS 'SHA-256 of the request; another request under the key is refused';
COMMENT ON COLUMN miosa.idempotency_keys.response IS 'What is needed to return the result byte for byte; miosa.stored_response() shows the result';
COMMENT ON COLUMN miosa.idempotency_keys.seq IS 'Operation that made the result';
COMMENT ON COLUMN miosa.idempotency_keys.created_at IS 'When it was made';
COMMENT ON COLUMN miosa.idempotency_keys.expires_at IS 'When the key is free again, by the tenant''s plan';

-- The primary key gives the history of a deployment and its newest event,
-- audit_events_tenant a tenant's page of miosa_audit_log() and what its plan
-- does not keep any more, audit_events_time a page of all events, and of an
-- action.  An action that is rare would be found late there, so unpublishing has
-- an index of its own, which a rollback does not write; so have the events of
-- fleets, for what asks which deployments a fleet has.  Actors have none: it
-- would cost every operation as much as audit_events_time does.
--
-- A BRIN index on the time costs nothing while the table grows.  But as soon as
-- retention makes room on old pages, each new event raises the upper bound of an
-- old range, which writes as much as an entry of a B-tree (72 and 64 bytes), and
-- a range spans the time from its oldest event to now.  A Bloom filter of actors
-- is worse off: it never forgets, and is written as a whole.
--
-- No partitions by month: the newest event of a deployment is kept for ever and
-- tenants keep theirs for different times, so no month would ever be dropped;
-- the key would need the time, and a deployment's history a look into each.
-- The columns are the audit trail itself: what a person
-- must be able to read after the deployment, the key and the actor are gone.
CREATE TABLE miosa.audit_events (
	deployment_id text COLLATE "C" NOT NULL,
	seq bigint NOT NULL,
	tenant_id text COLLATE "C" NOT NULL,
	action text NOT NULL,
	outcome text NOT NULL,
	target_rule text NOT NULL,
	previous_version_id text COLLATE "C",
	target_version_id text COLLATE "C",
	actor_type text NOT NULL,
	actor_id text NOT NULL,
	session_user_name text NOT NULL,
	client_addr inet,
	application_name text,
	idempotency_key text COLLATE "C",
	reason text,
	attribution jsonb NOT NULL DEFAULT '{}',
	marks jsonb NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL,
	keep_until timestamptz,
	hash bytea,
	PRIMARY KEY (deployment_id, seq)
);
CREATE INDEX audit_events_tenant ON miosa.audit_events (tenant_id, created_at);
CREATE INDEX audit_events_time ON miosa.audit_events (created_at);
CREATE INDEX audit_events_fleet ON miosa.audit_events ((marks ->> 'fleet')) WHERE marks ? 'fleet';
CREATE INDEX audit_events_unpublish ON miosa.audit_events (created_at) WHERE action = 'deployment.unpublish';
COMMENT ON TABLE miosa.audit_events IS 'One event an operation; append-only for everybody, until the tenant''s plan keeps it no longer';
COMMENT ON COLUMN miosa.audit_events.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.audit_events.seq IS 'Number of the operation; its id is deployment#seq';
COMMENT ON COLUMN miosa.audit_events.tenant_id IS 'Owner';
COMMENT ON COLUMN miosa.audit_events.action IS 'deployment.rollback, deployment.version.promote, deployment.unpublish, or the action of an operation that moves nothing, as miosa.actions() lists them';
COMMENT ON COLUMN miosa.audit_events.outcome IS 'changed, pending, cutover, unchanged, or refused';
COMMENT ON COLUMN miosa.audit_events.target_rule IS 'How the target was found: named, promoted_over, promoted_at, version_number, served_at, direct_update, or none if the operation unpublishes or moves nothing';
COMMENT ON COLUMN miosa.audit_events.previous_version_id IS 'Version that was active before';
COMMENT ON COLUMN miosa.audit_events.target_version_id IS 'Version that is active since; null: none';
COMMENT ON COLUMN miosa.audit_events.actor_type IS 'user, api_key, role or system';
COMMENT ON COLUMN miosa.audit_events.actor_id IS 'Id of the actor, of that type';
COMMENT ON COLUMN miosa.audit_events.session_user_name IS 'Role that logged in';
COMMENT ON COLUMN miosa.audit_events.client_addr IS 'Address of the client; null over a Unix socket';
COMMENT ON COLUMN miosa.audit_events.application_name IS 'The setting application_name, in the client''s words; null when it is empty';
COMMENT ON COLUMN miosa.audit_events.idempotency_key IS 'Key of the call, if it had one';
COMMENT ON COLUMN miosa.audit_events.reason IS 'Why, in the caller''s words';
COMMENT ON COLUMN miosa.audit_events.attribution IS 'External attribution: the tenant''s own ids';
COMMENT ON COLUMN miosa.audit_events.marks IS 'What else is to be known of the operation: risks that it accepted (artifact, migration, schema, target), and what it opened, lifted or marked';
COMMENT ON COLUMN miosa.audit_events.created_at IS 'When, taken under the deployment''s lock, so that it rises with seq';
COMMENT ON COLUMN miosa.audit_events.keep_until IS 'Until when it is kept, by the plan that the tenant had when it was written; null: for ever';
COMMENT ON COLUMN miosa.audit_events.hash IS 'SHA-256 over the event and the hash of the deployment''s event before it';

-- What retention has removed, and what deleted deployments have left.  Written by
-- triggers and by retention; rows stay for ever, so that a chain can always be
-- told from one that was cut.
CREATE TABLE miosa.audit_checkpoints (
	deployment_id text COLLATE "C" PRIMARY KEY,
	seq bigint NOT NULL DEFAULT 0,
	hash bytea,
	moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	last_seq bigint,
	last_hash bytea,
	deleted_at timestamptz
);
COMMENT ON TABLE miosa.audit_checkpoints IS 'Where the audit trail of a deployment begins, if retention has removed events, and where it ends, if the deployment was deleted';
COMMENT ON COLUMN miosa.audit_checkpoints.deployment_id IS 'Deployment, which may be gone';
COMMENT ON COLUMN miosa.audit_checkpoints.seq IS 'Newest event that retention has removed; 0 for none';
COMMENT ON COLUMN miosa.audit_checkpoints.hash IS 'Hash of that event, which the hash of the first one left covers';
COMMENT ON COLUMN miosa.audit_checkpoints.moved_at IS 'When retention last removed events';
COMMENT ON COLUMN miosa.audit_checkpoints.last_seq IS 'Newest event of the deployment when it was last deleted; null if it never was';
COMMENT ON COLUMN miosa.audit_checkpoints.last_hash IS 'Hash of that event';
COMMENT ON COLUMN miosa.audit_checkpoints.deleted_at IS 'When it was last deleted';

-- What the dispatcher sends out of the server, so that a trail that was rewritten
-- as a whole is found too.
CREATE TABLE miosa.audit_statements (
	number bigint PRIMARY KEY,
	created_at timestamptz NOT NULL,
	epoch bigint NOT NULL,
	content text NOT NULL,
	hash bytea NOT NULL
);
COMMENT ON TABLE miosa.audit_statements IS 'Heads of the audit trail that were sent out; each statement has the hash of the one before';
COMMENT ON COLUMN miosa.audit_statements.number IS 'Number, without gaps';
COMMENT ON COLUMN miosa.audit_statements.created_at IS 'When it was made';
COMMENT ON COLUMN miosa.audit_statements.epoch IS 'Route change up to which deployments are in it or in those before';
COMMENT ON COLUMN miosa.audit_statements.content IS 'The statement: lines that docs/security.md describes';
COMMENT ON COLUMN miosa.audit_statements.hash IS 'SHA-256 of the content';

CREATE TABLE miosa.audit_receivers (
	receiver text COLLATE "C" PRIMARY KEY,
	number bigint NOT NULL,
	sent_at timestamptz NOT NULL
);
COMMENT ON TABLE miosa.audit_receivers IS 'How far heads of the audit trail were sent; written by the dispatcher alone';
COMMENT ON COLUMN miosa.audit_receivers.receiver IS 'Endpoint of role audit; empty for the file miosa_rollback.audit_head_file';
COMMENT ON COLUMN miosa.audit_receivers.number IS 'Newest statement that it has accepted';
COMMENT ON COLUMN miosa.audit_receivers.sent_at IS 'When that was';

-- Every rollback pays for a row here and in its key, and the dispatcher for its
-- deletion.  The pass that takes a row reads each column (outbox.c).  The
-- transaction comes first in the key: a pass scans from the oldest one that it
-- has not seen, and never wades through dead rows while an old snapshot is open.
-- The rest of the key makes it unique for ON CONFLICT, which queues settings
-- once a transaction, and for logical decoding of the deletion.
CREATE TABLE miosa.outbox (
	xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
	deployment_id text COLLATE "C" NOT NULL,
	kind text NOT NULL CHECK (kind IN ('route', 'capacity', 'host_removed', 'repurge', 'settings', 'alert')),
	route_seq bigint NOT NULL DEFAULT 0,
	host text COLLATE "C",
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	origin_epoch bigint,
	PRIMARY KEY (xid, deployment_id, kind, route_seq)
);
COMMENT ON TABLE miosa.outbox IS 'Committed work that has no epoch yet';
COMMENT ON COLUMN miosa.outbox.xid IS 'Transaction that asked for the work';
COMMENT ON COLUMN miosa.outbox.deployment_id IS 'Deployment; empty for settings and alert';
COMMENT ON COLUMN miosa.outbox.kind IS 'route, capacity, host_removed, repurge, settings or alert';
COMMENT ON COLUMN miosa.outbox.route_seq IS 'The deployment''s route change';
COMMENT ON COLUMN miosa.outbox.host IS 'Host that is no longer routed, for host_removed; host that another deployment has now, for route; zone, for repurge';
COMMENT ON COLUMN miosa.outbox.created_at IS 'When it was asked for';
COMMENT ON COLUMN miosa.outbox.origin_epoch IS 'Its epoch in the route log of the primary site; null for what was asked for here';

-- Every rollback pays for a row here and in two indexes.  The key serves what
-- reads on after an epoch: replay (replay.c), miosa_routes_since() and trimming.
-- route_log_deployment serves what looks for the newest change of a deployment:
-- convergence (newest_change), resynchronization (route.c) and new deployments
-- whose id was used before, for which route_seq is kept.
CREATE TABLE miosa.route_log (
	epoch bigint PRIMARY KEY,
	deployment_id text COLLATE "C" NOT NULL,
	route_seq bigint NOT NULL,
	kind text NOT NULL,
	host text COLLATE "C",
	created_at timestamptz NOT NULL
);
CREATE INDEX route_log_deployment ON miosa.route_log (deployment_id, epoch);
COMMENT ON TABLE miosa.route_log IS 'Route changes in the order of their epochs; kept for an hour, and longer while an enabled edge lacks them, but at most 100,000';
COMMENT ON COLUMN miosa.route_log.epoch IS 'Position: term in the upper 24 bits, number in the lower 40';
COMMENT ON COLUMN miosa.route_log.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.route_log.route_seq IS 'The deployment''s route change';
COMMENT ON COLUMN miosa.route_log.kind IS 'route, host_removed, repurge or capacity';
COMMENT ON COLUMN miosa.route_log.host IS 'Host that is no longer routed, for host_removed; zone, for repurge; for route, hosts that other deployments have got, one of each';
COMMENT ON COLUMN miosa.route_log.created_at IS 'When it was asked for';

-- The log is kept for an hour; a router may be away for longer.
CREATE TABLE miosa.removed_hosts (
	host text COLLATE "C" PRIMARY KEY,
	deployment_id text COLLATE "C" NOT NULL,
	removed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX removed_hosts_deployment ON miosa.removed_hosts (deployment_id);
COMMENT ON TABLE miosa.removed_hosts IS 'Hosts that are no longer routed, which a resync has edges remove; kept for 30 days, or until they are routed again';
COMMENT ON COLUMN miosa.removed_hosts.host IS 'Host';
COMMENT ON COLUMN miosa.removed_hosts.deployment_id IS 'Deployment that it showed, which may be gone';
COMMENT ON COLUMN miosa.removed_hosts.removed_at IS 'When that was';

-- Hosts that edges route: the active domains, and the managed host of a
-- deployment whose tenant is known.  No host shows two deployments: a domain
-- goes before a managed host of its name, as in miosa_route().
CREATE VIEW miosa.hosts WITH (security_invoker) AS
	SELECT d.fqdn AS host, d.deployment_id, false AS managed
	FROM miosa.domains d WHERE d.state = 'active'
	UNION ALL
	SELECT lower(p.slug || '.' || t.slug || '.' || m.domain COLLATE "C"), p.id, true
	FROM miosa.deployments p JOIN miosa.tenants t ON t.id = p.tenant_id
	CROSS JOIN (SELECT coalesce(current_setting('miosa_rollback.managed_domain', true),
		'miosa.app') AS domain) m
	WHERE m.domain <> '' AND NOT EXISTS (SELECT FROM miosa.domains d
		WHERE d.state = 'active' AND d.fqdn = lower(p.slug || '.' || t.slug || '.' || m.domain COLLATE "C"));
COMMENT ON VIEW miosa.hosts IS 'Hosts that edges route: active domains and managed hosts';
COMMENT ON COLUMN miosa.hosts.host IS 'Host name';
COMMENT ON COLUMN miosa.hosts.deployment_id IS 'Deployment that it shows';
COMMENT ON COLUMN miosa.hosts.managed IS 'Whether it is the managed host';
-- Tenancy: for which tenants a caller acts.  src/operation/tenancy.c decides it
-- and says who the caller is; the functions here are its face in SQL.

CREATE TABLE miosa.tenant_members (
	tenant_id text COLLATE "C" NOT NULL,
	role_name text COLLATE "C" NOT NULL,
	scopes text[] NOT NULL CHECK (scopes <@ '{read,rollback,deploy,report,speak}' AND cardinality(scopes) > 0),
	granted_by text NOT NULL DEFAULT session_user,
	granted_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, role_name)
);
COMMENT ON TABLE miosa.tenant_members IS 'Roles that act for tenants, and what they may do; counts with miosa_rollback.tenancy = enforced, but for the scope speak, which always counts';
COMMENT ON COLUMN miosa.tenant_members.tenant_id IS 'Tenant; * for every tenant';
COMMENT ON COLUMN miosa.tenant_members.role_name IS 'Role; the roles that inherit its rights act for the tenant, too';
COMMENT ON COLUMN miosa.tenant_members.scopes IS 'read, rollback (roll back, promote, resend), deploy (feed versions, promote), report (report instances) and speak (name another actor); each but speak includes reading';
COMMENT ON COLUMN miosa.tenant_members.granted_by IS 'Role that granted it';
COMMENT ON COLUMN miosa.tenant_members.granted_at IS 'When it was granted';

-- Every process keeps what it has read.
CREATE FUNCTION miosa.members_changed() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_members_changed';
COMMENT ON FUNCTION miosa.members_changed() IS 'Trigger: what processes have kept of miosa.tenant_members is outdated';

CREATE TRIGGER members_changed AFTER INSERT OR UPDATE OR DELETE ON miosa.tenant_members
	FOR EACH ROW EXECUTE FUNCTION miosa.members_changed();
CREATE TRIGGER members_truncated AFTER TRUNCATE ON miosa.tenant_members
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.members_changed();
ALTER TABLE miosa.tenant_members ENABLE ALWAYS TRIGGER members_changed;
ALTER TABLE miosa.tenant_members ENABLE ALWAYS TRIGGER members_truncated;

-- They are leakproof, since policies ask them: the only thing that they say about
-- an argument is whether its row exists for the caller.

-- Ask for a tenant.
CREATE FUNCTION miosa.sees_tenant(tenant_id text) RETURNS boolean
LANGUAGE c STABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_sees_tenant';
COMMENT ON FUNCTION miosa.sees_tenant(text) IS 'Whether rows of a tenant exist for the caller';

-- Ask for the tenant of a deployment.
CREATE FUNCTION miosa.sees_deployment(deployment_id text) RETURNS boolean
LANGUAGE c STABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_sees_deployment';
COMMENT ON FUNCTION miosa.sees_deployment(text) IS 'Whether a deployment exists for the caller; one that was deleted exists for those who act for all tenants';

-- Ask whether a deployment is there and has to be passed by.
CREATE FUNCTION miosa.is_anothers_deployment(deployment_id text) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_is_anothers_deployment';
COMMENT ON FUNCTION miosa.is_anothers_deployment(text) IS 'Whether a deployment exists, but not for the caller; reads as much if there is none';

-- Ask for all tenants.
CREATE FUNCTION miosa.sees_all_tenants() RETURNS boolean
LANGUAGE c STABLE LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_sees_all_tenants';
COMMENT ON FUNCTION miosa.sees_all_tenants() IS 'Whether the caller acts for all tenants';

-- Ask for what all tenants share.
CREATE FUNCTION miosa.sees_endpoints() RETURNS boolean
LANGUAGE c STABLE LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_sees_endpoints';
COMMENT ON FUNCTION miosa.sees_endpoints() IS 'Whether the caller sees endpoints and storages, whose errors and selectors can name any tenant: it acts for all tenants, or has the rights of pg_monitor';

-- Ask for a scope.
CREATE FUNCTION miosa.may(tenant_id text, scope text) RETURNS boolean
LANGUAGE c STABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_may';
COMMENT ON FUNCTION miosa.may(text, text) IS 'Whether the caller has a scope for a tenant';

-- Ask for the rights of an administrator.
CREATE FUNCTION miosa.administers() RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_administers';
COMMENT ON FUNCTION miosa.administers() IS 'Whether the caller has the rights of miosa_admin';

-- Refuse a caller without a scope.
CREATE FUNCTION miosa.check_scope(tenant_id text, scope text, verb text) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_check_scope';
COMMENT ON FUNCTION miosa.check_scope(text, text, text) IS 'Raises FORBIDDEN unless the caller, who sees the tenant, has the scope for it; verb: what it wants to do';

-- Refuse a caller that does not act for all tenants.
CREATE FUNCTION miosa.require_all_tenants(what text) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_require_all_tenants';
COMMENT ON FUNCTION miosa.require_all_tenants(text) IS 'Raises FORBIDDEN unless the caller acts for all tenants; what: the function that concerns them';

-- Refuse a text with characters that do not show.
CREATE FUNCTION miosa.check_visible(value text, what text, name text) RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_check_visible';
COMMENT ON FUNCTION miosa.check_visible(text, text, text) IS 'The value unless it has control characters or characters that set the direction of text, else INVALID_ARGUMENT; what: argument or column with its name';

-- Show a text that has such characters.
CREATE FUNCTION miosa.show(value text) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_show';
COMMENT ON FUNCTION miosa.show(text) IS 'The text on one line, with escapes such as \u202e for control characters and characters that set the direction of text';

-- Memberships.

-- Check the scopes of a membership.
CREATE FUNCTION miosa.check_scopes(scopes text[]) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	words CONSTANT text[] := '{read,rollback,deploy,report,speak}';
BEGIN
	IF coalesce(cardinality(scopes), 0) = 0 OR NOT coalesce(scopes <@ words, false) THEN
		PERFORM miosa.refuse_value('argument', 'scopes', coalesce(scopes::text, '{}'), NULL,
			format('Pass one or more of: %s.', array_to_string(words, ', ')));
	END IF;
	RETURN ARRAY(SELECT w.word FROM unnest(words) WITH ORDINALITY w (word, place) WHERE w.word = ANY (scopes) ORDER BY w.place);
END $$;
COMMENT ON FUNCTION miosa.check_scopes(text[]) IS 'The scopes in their order, each once, else INVALID_ARGUMENT';

-- Build the object of a membership.
CREATE FUNCTION miosa.member_object(m miosa.tenant_members) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT pg_catalog.jsonb_build_object('role_name', m.role_name, 'tenant_id', m.tenant_id,
		'scopes', m.scopes, 'granted_by', m.granted_by, 'granted_at', miosa.iso(m.granted_at))
$$;
COMMENT ON FUNCTION miosa.member_object(miosa.tenant_members) IS 'A membership as functions return it';

-- Add scopes to a membership, or make one.
CREATE FUNCTION @extschema@.miosa_grant_tenant(role_name text, tenant_id text, scopes text[])
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	given CONSTANT text[] := miosa.check_scopes(scopes);
	m miosa.tenant_members;
BEGIN
	IF tenant_id IS DISTINCT FROM '*' THEN
		PERFORM miosa.check_id(tenant_id, 'tenant id');
		IF NOT EXISTS (SELECT FROM miosa.tenants t WHERE t.id = tenant_id) THEN
			PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('tenant "%s" does not exist', tenant_id), NULL,
				format('Add it first: SELECT miosa_put_tenant(%L, ''slug'');', tenant_id));
		END IF;
	END IF;
	IF role_name IS NULL OR NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role_name) THEN
		PERFORM miosa.refuse_value('argument', 'role_name', role_name, 'There is no such role.',
			'Make it first: CREATE ROLE ...;');
	END IF;
	INSERT INTO miosa.tenant_members AS o (tenant_id, role_name, scopes, granted_by)
		VALUES (tenant_id, role_name, given, miosa.caller())
		ON CONFLICT ON CONSTRAINT tenant_members_pkey DO UPDATE
		SET scopes = miosa.check_scopes(o.scopes || EXCLUDED.scopes), granted_by = EXCLUDED.granted_by, granted_at = EXCLUDED.granted_at
		WHERE NOT o.scopes @> EXCLUDED.scopes;
	SELECT * INTO m FROM miosa.tenant_members o WHERE o.tenant_id = tenant_id AND o.role_name = role_name;
	RETURN jsonb_build_object('data', miosa.member_object(m));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_grant_tenant(text, text, text[]) IS 'Lets a role act for a tenant, or for all with *, in these scopes; earlier ones stay';

-- Take scopes from a membership, or all of it.
CREATE FUNCTION @extschema@.miosa_revoke_tenant(role_name text, tenant_id text, scopes text[] DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	m miosa.tenant_members;
	rest text[];
BEGIN
	IF tenant_id IS DISTINCT FROM '*' THEN
		PERFORM miosa.check_id(tenant_id, 'tenant id');
	END IF;
	IF role_name IS NULL THEN
		PERFORM miosa.refuse_value('argument', 'role_name', NULL, NULL, 'Pass the role whose membership ends.');
	END IF;
	SELECT * INTO m FROM miosa.tenant_members o WHERE o.tenant_id = tenant_id AND o.role_name = role_name FOR UPDATE;
	rest := ARRAY(SELECT s.word FROM unnest(m.scopes) WITH ORDINALITY s (word, place)
		WHERE scopes IS NOT NULL AND s.word <> ALL (miosa.check_scopes(scopes)) ORDER BY s.place);
	IF cardinality(rest) = 0 THEN
		DELETE FROM miosa.tenant_members o WHERE o.tenant_id = tenant_id AND o.role_name = role_name;
		RETURN jsonb_build_object('data', NULL);
	END IF;
	UPDATE miosa.tenant_members o SET scopes = rest, granted_by = miosa.caller(), granted_at = now()
		WHERE o.tenant_id = tenant_id AND o.role_name = role_name AND o.scopes <> rest;
	SELECT * INTO m FROM miosa.tenant_members o WHERE o.tenant_id = tenant_id AND o.role_name = role_name;
	RETURN jsonb_build_object('data', miosa.member_object(m));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_revoke_tenant(text, text, text[]) IS 'Takes scopes of a tenant from a role, all of them when none are given; returns what is left, null for nothing';

-- A tenant of the same id may come later.
CREATE FUNCTION miosa.tenants_members() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM miosa.tenant_members m WHERE m.tenant_id = OLD.id;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.tenants_members() IS 'Trigger: memberships of a tenant end when it is deleted';
CREATE TRIGGER tenants_members AFTER DELETE ON miosa.tenants
	FOR EACH ROW EXECUTE FUNCTION miosa.tenants_members();
-- Functions written in C: the operations, and what the functions written in
-- PL/pgSQL need of the C code.

-- Raise a condition.
CREATE FUNCTION miosa.raise_condition(condition text, message text, detail text, hint text)
RETURNS void LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_raise_condition';
COMMENT ON FUNCTION miosa.raise_condition(text, text, text, text) IS
	'Raises a condition by its name, in the form that the caller (psql or PostgREST) understands';

-- Refuse a value that an argument or a column must not have.
CREATE FUNCTION miosa.refuse_value(what text, name text, value text, detail text, hint text)
RETURNS void LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_refuse_value';
COMMENT ON FUNCTION miosa.refuse_value(text, text, text, text, text) IS
	'Raises INVALID_ARGUMENT for a value; what is argument, column or field with its name, or a noun with a null name';

-- Refuse a value that is too long.
CREATE FUNCTION miosa.refuse_length(what text, length integer, unit text, maximum integer, hint text)
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_refuse_length';
COMMENT ON FUNCTION miosa.refuse_length(text, integer, text, integer, text) IS
	'Raises INVALID_ARGUMENT for a value that has more bytes or characters than the maximum';

-- Raise the error that a foreign key would raise.
CREATE FUNCTION miosa.raise_reference(message text, detail text, "table" text, "constraint" text)
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_raise_reference';
COMMENT ON FUNCTION miosa.raise_reference(text, text, text, text) IS 'Raises foreign_key_violation as a foreign key would';

-- Qualify the functions of the extension in a text.
CREATE FUNCTION miosa.qualify(value text)
RETURNS text LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_qualify';
COMMENT ON FUNCTION miosa.qualify(text) IS
	'A text that proposes calls, with our schema before the functions that the caller''s search_path does not find';

-- Waits for locks.  Functions that people and programs call have entry points
-- that bound them (entry_points.sql, console.sql); one that goes on when it
-- meets a lock declares lock_wait.

-- Bound the waits of the caller.
CREATE FUNCTION miosa.bound_waits() RETURNS integer
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_bound_waits';
COMMENT ON FUNCTION miosa.bound_waits() IS 'Limits lock waits of the running function to miosa_rollback.lock_wait; returns the milliseconds';

-- Look for a process that locks a whole table.
CREATE FUNCTION miosa.table_holder(OUT pid integer, OUT description text)
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_table_holder';
COMMENT ON FUNCTION miosa.table_holder() IS 'Other process that keeps readers or writers out of a table of the extension; null: none';

-- Lock an artifact by its URI, for the rest of the transaction.
CREATE FUNCTION miosa.lock_uri(uri text, exclusive boolean, wait boolean) RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_lock_uri';
COMMENT ON FUNCTION miosa.lock_uri(text, boolean, boolean) IS 'Locks an artifact''s URI until the transaction ends; false when another has it and wait is false';

-- Check an id.
CREATE FUNCTION miosa.check_id(value text, what text)
RETURNS text LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_check_id';
COMMENT ON FUNCTION miosa.check_id(text, text) IS
	'Returns value if it is an id (1 to 255 characters of A-Z a-z 0-9 . _ : -), raises INVALID_ARGUMENT otherwise; what names the argument';

-- The key of a call, which may come in a header.
CREATE FUNCTION miosa.request_key(idempotency_key text)
RETURNS text LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_request_key';
COMMENT ON FUNCTION miosa.request_key(text) IS 'Idempotency key of a call: the argument, else the header Idempotency-Key of an HTTP request';

-- The number before the epochs of a term.
CREATE FUNCTION miosa.first_epoch(term bigint)
RETURNS bigint LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_first_epoch';
COMMENT ON FUNCTION miosa.first_epoch(bigint) IS 'Number that precedes the epochs of a term';

-- The term of an epoch.
CREATE FUNCTION miosa.epoch_term(epoch bigint)
RETURNS bigint LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_epoch_term';
COMMENT ON FUNCTION miosa.epoch_term(bigint) IS 'Term that an epoch belongs to';

-- Choose the default target without asking storage.
CREATE FUNCTION miosa.default_target(deployment_id text)
RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_default_target';
COMMENT ON FUNCTION miosa.default_target(text) IS
	'The target of a rollback without a version, without asking storage; null when there is none';

-- One that is not older, or does not exist, crosses none.
CREATE FUNCTION miosa.schema_marks(deployment_id text, version_id text)
RETURNS text[] LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_schema_marks';
COMMENT ON FUNCTION miosa.schema_marks(text, text) IS
	'Versions marked as incompatible that a rollback from the active version to this one crosses, newest first';

-- Whether a version is marked as bad.  It looks at tenants, since views for readers
-- ask it.
CREATE FUNCTION miosa.bad_mark(deployment_id text, version_id text) RETURNS jsonb
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_bad_mark';
COMMENT ON FUNCTION miosa.bad_mark(text, text) IS
	'Why a version, or its artifact, is marked as bad: scope, since, by, reason; null if it is not';

-- Roll a deployment back.
CREATE FUNCTION @extschema@.miosa_rollback(
	deployment_id text,
	version_id text DEFAULT NULL,
	idempotency_key text DEFAULT NULL,
	reason text DEFAULT NULL,
	expected_active text DEFAULT NULL,
	attribution jsonb DEFAULT NULL,
	cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false,
	hold boolean DEFAULT NULL,
	hold_for interval DEFAULT NULL,
	mark_bad boolean DEFAULT false,
	served_at timestamptz DEFAULT NULL)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_rollback';
COMMENT ON FUNCTION @extschema@.miosa_rollback(text, text, text, text, text, jsonb, text, boolean, boolean, interval, boolean, timestamptz) IS
	'Makes an older version of a deployment active and delivers its route to every edge at commit';

-- Roll many deployments back, for our own use.  Elements of the arrays belong to
-- each other; an array that is null has only nulls.
CREATE FUNCTION miosa.rollback_group(
	deployment_ids text[],
	version_ids text[] DEFAULT NULL,
	idempotency_keys text[] DEFAULT NULL,
	expected_active text[] DEFAULT NULL,
	reason text DEFAULT NULL,
	attribution jsonb DEFAULT NULL,
	cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false,
	all_or_nothing boolean DEFAULT false,
	OUT deployment_id text,
	OUT outcome text,
	OUT condition text,
	OUT message text,
	OUT detail text,
	OUT hint text,
	OUT response jsonb)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_rollback_group';
COMMENT ON FUNCTION miosa.rollback_group(text[], text[], text[], text[], text, jsonb, text, boolean, boolean) IS
	'Rolls deployments back in one statement: a row each, by id, with the outcome and the response, or the condition that refuses it; all_or_nothing: that is an error';

-- Promote a version.
CREATE FUNCTION @extschema@.miosa_promote(
	deployment_id text,
	version_id text,
	idempotency_key text DEFAULT NULL,
	reason text DEFAULT NULL,
	expected_active text DEFAULT NULL,
	attribution jsonb DEFAULT NULL,
	cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false,
	automatic boolean DEFAULT NULL,
	accept_bad boolean DEFAULT false,
	break_glass boolean DEFAULT false)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_promote';
COMMENT ON FUNCTION @extschema@.miosa_promote(text, text, text, text, text, jsonb, text, boolean, boolean, boolean, boolean) IS
	'Makes a version of a deployment active and remembers which one it replaced';

-- The same calls for programs that go on after a refusal.

-- Try a rollback.
CREATE FUNCTION @extschema@.miosa_try_rollback(
	deployment_id text,
	version_id text DEFAULT NULL,
	idempotency_key text DEFAULT NULL,
	reason text DEFAULT NULL,
	expected_active text DEFAULT NULL,
	attribution jsonb DEFAULT NULL,
	cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false,
	hold boolean DEFAULT NULL,
	hold_for interval DEFAULT NULL,
	mark_bad boolean DEFAULT false,
	served_at timestamptz DEFAULT NULL)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_try_rollback';
COMMENT ON FUNCTION @extschema@.miosa_try_rollback(text, text, text, text, text, jsonb, text, boolean, boolean, interval, boolean, timestamptz) IS
	'Calls miosa_rollback, and returns and audits a refusal instead of raising it';

-- Try a promotion.
CREATE FUNCTION @extschema@.miosa_try_promote(
	deployment_id text,
	version_id text,
	idempotency_key text DEFAULT NULL,
	reason text DEFAULT NULL,
	expected_active text DEFAULT NULL,
	attribution jsonb DEFAULT NULL,
	cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false,
	automatic boolean DEFAULT NULL,
	accept_bad boolean DEFAULT false,
	break_glass boolean DEFAULT false)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_try_promote';
COMMENT ON FUNCTION @extschema@.miosa_try_promote(text, text, text, text, text, jsonb, text, boolean, boolean, boolean, boolean) IS
	'Calls miosa_promote, and returns and audits a refusal instead of raising it';

-- Undo an operation.
CREATE FUNCTION @extschema@.miosa_undo(
	deployment_id text,
	operation_id text DEFAULT NULL,
	idempotency_key text DEFAULT NULL,
	reason text DEFAULT NULL)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_undo';
COMMENT ON FUNCTION @extschema@.miosa_undo(text, text, text, text) IS
	'Makes the version active again that was active before the newest operation, with its hold';

-- Hold a deployment.
CREATE FUNCTION @extschema@.miosa_hold(
	deployment_id text,
	reason text DEFAULT NULL,
	until timestamptz DEFAULT NULL,
	idempotency_key text DEFAULT NULL)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_hold';
COMMENT ON FUNCTION @extschema@.miosa_hold(text, text, timestamptz, text) IS
	'Holds a deployment: automatic promotions are refused until a time, or until the hold is lifted';

-- Lift the hold of a deployment.
CREATE FUNCTION @extschema@.miosa_release(
	deployment_id text,
	promote text DEFAULT NULL,
	reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_release';
COMMENT ON FUNCTION @extschema@.miosa_release(text, text, text, text) IS
	'Lifts the hold of a deployment; promote => ''newest'' promotes the newest version that it refused';

-- Judge a rollback without doing it.
CREATE FUNCTION @extschema@.miosa_plan(
	deployment_id text,
	version_id text DEFAULT NULL,
	served_at timestamptz DEFAULT NULL)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_plan';
COMMENT ON FUNCTION @extschema@.miosa_plan(text, text, timestamptz) IS
	'What miosa_rollback would do now: target, outcome, findings of all checks, number of edges';

-- Operations that move nothing (src/operation/note.c).  The function that makes
-- the change calls note_begin() first, and returns what that returns, unless it is
-- null; and note_write() at the end.

-- Lock the deployment and look for the key.
CREATE FUNCTION miosa.note_begin(action text, deployment_id text, idempotency_key text, arguments text[], reason text)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_note_begin_row';
COMMENT ON FUNCTION miosa.note_begin(text, text, text, text[], text) IS
	'Locks a deployment for an operation that moves nothing; returns the stored response of the key, or null';

-- Write the audit event and the response.
CREATE FUNCTION miosa.note_write(action text, deployment_id text, idempotency_key text, arguments text[], reason text, marks jsonb,
	warnings jsonb DEFAULT NULL)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_note_write_row';
COMMENT ON FUNCTION miosa.note_write(text, text, text, text[], text, jsonb, jsonb) IS
	'Writes the audit event of an operation that moves nothing, with these marks, and returns its response, with these warnings';

-- Signatures of presigned URIs are secrets.

-- A URI in a message, or in a log.
CREATE FUNCTION miosa.mask_uri(uri text) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_mask_uri';
COMMENT ON FUNCTION miosa.mask_uri(text) IS 'The URI without its query and without credentials';

-- A URI in a result.
CREATE FUNCTION miosa.shown_uri(uri text) RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_shown_uri';
COMMENT ON FUNCTION miosa.shown_uri(text) IS 'The URI if the caller fetches artifacts (has the rights of miosa_edge), else without its query';
-- Rules that hold for plain SQL too.
--
-- The functions of upsert.sql are the comfortable way to write these tables,
-- but a control plane may also write them by plain SQL as their owner, and
-- then the same rules hold.  Rows that are INSERTed are taken as they are,
-- so that a restore refuses nothing and queues no work: after loading by
-- plain INSERTs call miosa_resend() or miosa_resync().
--
-- The functions run with their owner's rights, because a role that may update a
-- version need not be allowed to lock a deployment.
--
-- Locks: the deployment's row is what rollbacks, archivings and collections
-- of one deployment take turns by.  A trigger that reads the deployment to
-- refuse something locks that row first, and reads in a new statement, which
-- has a new snapshot.  A row trigger runs when its own row is locked already,
-- so a plain UPDATE of a version locks version, then deployment, where a
-- promotion does it the other way round.  If the two meet in the same version,
-- PostgreSQL ends one of them as a deadlock.  miosa_archive_version() locks
-- the deployment first and does not have that problem.

-- The role that acts, for the audit.  current_user would be the owner of the
-- function that runs.
CREATE FUNCTION miosa.caller() RETURNS text
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_caller';
COMMENT ON FUNCTION miosa.caller() IS 'Role of the caller, whichever role owns the calling function: the one of SET ROLE, else the one that logged in';

-- Put the version that serves, and the one that did, in front of the others.
CREATE FUNCTION miosa.add_served(served text[], until_now text, from_now text) RETURNS text[]
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_add_served';
COMMENT ON FUNCTION miosa.add_served(text[], text, text) IS 'recent_served of a deployment in which one version (null: none) served until now, and another does from now on';

-- Queueing work: the deployment's next route change, in the transaction that
-- makes it.

-- Locks the deployment's row.
CREATE FUNCTION miosa.queue(deployment_id text, kind text, host text) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_queue_work';
COMMENT ON FUNCTION miosa.queue(text, text, text) IS 'Queues work of a kind (route, also with a host lost to another deployment; capacity; host_removed with its host) as a deployment''s next route change, and wakes the dispatcher; returns its number';

-- The same for many hosts, as one change of the deployment's row.
CREATE FUNCTION miosa.queue_hosts(deployment_id text, removed text[], route boolean) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_queue_hosts';
COMMENT ON FUNCTION miosa.queue_hosts(text, text[], boolean) IS 'Queues the removal of hosts of a deployment as its next route changes, and then its present route if route is true';

-- A setting exists once the library is loaded, which calling into it does
-- where it is not preloaded.
CREATE FUNCTION miosa.setting(name text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(CASE WHEN miosa.check_id('loaded', 'id') = 'loaded'
	THEN current_setting('miosa_rollback.' || name, true) END, '');
COMMENT ON FUNCTION miosa.setting(text) IS 'The setting miosa_rollback.name; null when it is empty';

-- Read the setting.
CREATE FUNCTION miosa.managed_domain() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN lower(miosa.setting('managed_domain') COLLATE "C");
COMMENT ON FUNCTION miosa.managed_domain() IS 'miosa_rollback.managed_domain in lower case; null when it is empty';

-- The managed host of a deployment by slugs; null when none is configured.
CREATE FUNCTION miosa.managed_host(slug text, tenant_slug text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN lower((slug || '.' || tenant_slug) COLLATE "C") || '.' || miosa.managed_domain();
COMMENT ON FUNCTION miosa.managed_host(text, text) IS 'Managed host of the deployment and tenant with these slugs; null when miosa_rollback.managed_domain is empty';

-- Versions.

-- The order of a version's states.
CREATE FUNCTION miosa.state_rank(state text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN array_position(ARRAY['created', 'building', 'ready', 'archived'], state);
COMMENT ON FUNCTION miosa.state_rank(text) IS 'Place of a version''s state in created, building, ready, archived; null for failed';

-- Refuse what would take an artifact or version away from under routes.
CREATE FUNCTION miosa.refuse_in_use(deployment_id text, version_id text, what text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	use text;
	number integer;
BEGIN
	-- Not a mere lock: an operation with an older snapshot, under a stricter
	-- isolation level, must fail to serialize and not overlook us.
	UPDATE miosa.deployments p SET route_seq = p.route_seq WHERE p.id = deployment_id;
	SELECT CASE WHEN p.active_version_id = version_id THEN 'active'
			WHEN p.serving_version_id = version_id THEN 'serving'
			WHEN v.pinned THEN 'pinned' END, v.version_number
		INTO use, number
		FROM miosa.deployments p
		JOIN miosa.versions v ON v.deployment_id = p.id AND v.id = version_id
		WHERE p.id = deployment_id;
	IF use IS NOT NULL THEN
		PERFORM miosa.raise_condition('VERSION_IN_USE',
			format('version "%s" cannot be %s', version_id, what),
			format('Version %s of deployment "%s" is %s.', number, deployment_id, use),
			CASE use WHEN 'pinned' THEN
				format('To unpin it: SELECT miosa_unpin_version(%L, %L);', deployment_id, version_id)
			WHEN 'active' THEN
				format('Make another version active first: SELECT * FROM miosa.candidates(%L);', deployment_id)
			ELSE
				format('Wait until the active version serves: SELECT * FROM miosa.status(%L);', deployment_id)
			END);
	END IF;
END $$;
COMMENT ON FUNCTION miosa.refuse_in_use(text, text, text) IS 'Locks the deployment''s row and raises VERSION_IN_USE when the version is active, serving or pinned; what: the verb for the message';

-- Let states move one way, and note when a version was archived.
CREATE FUNCTION miosa.versions_state() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT coalesce(CASE NEW.state
			WHEN 'failed' THEN OLD.state IN ('created', 'building')
			ELSE miosa.state_rank(NEW.state) > miosa.state_rank(OLD.state)
		END, false) THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT',
			format('version "%s" cannot go from %s to %s', NEW.id, OLD.state, NEW.state),
			'The states are created, building, ready, archived, in this order; created and building can also become failed.',
			CASE OLD.state WHEN 'archived' THEN 'Make a new version of the same artifact with miosa_put_version().'
				WHEN 'failed' THEN 'Build again and make a new version with miosa_put_version().' END);
	END IF;
	IF NEW.state = 'archived' THEN
		PERFORM miosa.refuse_in_use(OLD.deployment_id, OLD.id, 'archived');
		NEW.archived_at := coalesce(NEW.archived_at, now());
	END IF;
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.versions_state() IS 'Trigger: refuses to move the state of a version back (INVALID_ARGUMENT), or to archive one that is active, serving or pinned (VERSION_IN_USE)';

-- Refuse the change of a column that identifies the row.
CREATE FUNCTION miosa.refuse_change() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	fields text;
BEGIN
	-- A release belongs to its version: it may change while that is built.
	IF TG_TABLE_NAME = 'releases' THEN
		IF (OLD.deployment_id, OLD.deployment_version_id) = (NEW.deployment_id, NEW.deployment_version_id)
			AND EXISTS (SELECT FROM miosa.versions v WHERE v.deployment_id = OLD.deployment_id
				AND v.id = OLD.deployment_version_id AND v.state IN ('created', 'building')) THEN
			RETURN NEW;
		END IF;
	END IF;
	SELECT string_agg(o.key, ', ' ORDER BY o.key) INTO fields
		FROM jsonb_each(to_jsonb(OLD)) o
		JOIN jsonb_each(to_jsonb(NEW)) n ON n.key = o.key AND n.value <> o.value
		WHERE o.key = ANY (TG_ARGV);
	PERFORM miosa.raise_condition('INVALID_ARGUMENT',
		format('%s "%s" cannot be changed', left(TG_TABLE_NAME, -1), OLD.id),
		format('Changed: %s.', fields),
		'Make a new version with miosa_put_version().');
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.refuse_change() IS 'Trigger: raises INVALID_ARGUMENT when columns change that identify a ready version or its release; the arguments are these columns';

-- Keep a version that is in use from being deleted.
CREATE FUNCTION miosa.versions_delete() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.refuse_in_use(OLD.deployment_id, OLD.id, 'deleted');
	RETURN OLD;
END $$;
COMMENT ON FUNCTION miosa.versions_delete() IS 'Trigger: raises VERSION_IN_USE when a version is deleted that is active, serving or pinned';

CREATE TRIGGER versions_identity BEFORE UPDATE ON miosa.versions
	FOR EACH ROW WHEN (OLD.state IN ('ready', 'archived')
		AND (OLD.deployment_id, OLD.id, OLD.tenant_id, OLD.version_number, OLD.kind, OLD.source_sandbox_id, OLD.build_id,
			OLD.artifact_uri, OLD.artifact_manifest, OLD.artifact_sha256, OLD.source_sha256,
			OLD.runtime_image, OLD.runtime_command, OLD.health_check_path, OLD.runtime_port, OLD.created_at)
		IS DISTINCT FROM
			(NEW.deployment_id, NEW.id, NEW.tenant_id, NEW.version_number, NEW.kind, NEW.source_sandbox_id, NEW.build_id,
			NEW.artifact_uri, NEW.artifact_manifest, NEW.artifact_sha256, NEW.source_sha256,
			NEW.runtime_image, NEW.runtime_command, NEW.health_check_path, NEW.runtime_port, NEW.created_at))
	EXECUTE FUNCTION miosa.refuse_change('deployment_id', 'id', 'tenant_id', 'version_number', 'kind', 'source_sandbox_id',
		'build_id', 'artifact_uri', 'artifact_manifest', 'artifact_sha256', 'source_sha256',
		'runtime_image', 'runtime_command', 'health_check_path', 'runtime_port', 'created_at');
CREATE TRIGGER versions_state BEFORE UPDATE ON miosa.versions
	FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state)
	EXECUTE FUNCTION miosa.versions_state();
CREATE TRIGGER versions_delete BEFORE DELETE ON miosa.versions
	FOR EACH ROW EXECUTE FUNCTION miosa.versions_delete();

-- What was promoted over a version that is deleted stands on what that one
-- stood on: else a rollback would find nothing behind the gap.  One deleted
-- version may stand on another, so this goes on until none is met.
CREATE FUNCTION miosa.versions_relink() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	FOR i IN 1 .. 1000 LOOP
		UPDATE miosa.versions v SET promoted_over = nullif(g.promoted_over, v.id)
			FROM gone g WHERE v.deployment_id = g.deployment_id AND v.promoted_over = g.id;
		EXIT WHEN NOT FOUND;
	END LOOP;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.versions_relink() IS 'Trigger: a version that was promoted over a deleted one now counts as promoted over the one before that';

CREATE TRIGGER versions_relink AFTER DELETE ON miosa.versions
	REFERENCING OLD TABLE AS gone
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.versions_relink();

-- Releases.

-- Keep the release of a version that is in use from being collected or
-- deleted.
CREATE FUNCTION miosa.releases_collect() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.refuse_in_use(OLD.deployment_id, OLD.deployment_version_id,
		CASE TG_OP WHEN 'DELETE' THEN 'left without its release' ELSE 'collected' END);
	IF TG_OP = 'DELETE' THEN
		RETURN OLD;
	END IF;
	NEW.collected_by := coalesce(NEW.collected_by, miosa.caller());
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.releases_collect() IS 'Trigger: raises VERSION_IN_USE when a release is collected or deleted whose version is active, serving or pinned';

CREATE TRIGGER releases_identity BEFORE UPDATE ON miosa.releases
	FOR EACH ROW WHEN (
		(OLD.deployment_id, OLD.id, OLD.deployment_version_id, OLD.tenant_id, OLD.kind, OLD.storage_backend,
			OLD.storage_uri, OLD.sha256, OLD.size_bytes, OLD.created_at)
		IS DISTINCT FROM
		(NEW.deployment_id, NEW.id, NEW.deployment_version_id, NEW.tenant_id, NEW.kind, NEW.storage_backend,
			NEW.storage_uri, NEW.sha256, NEW.size_bytes, NEW.created_at))
	EXECUTE FUNCTION miosa.refuse_change('deployment_id', 'id', 'deployment_version_id', 'tenant_id', 'kind',
		'storage_backend', 'storage_uri', 'sha256', 'size_bytes', 'created_at');
CREATE TRIGGER releases_collect BEFORE UPDATE ON miosa.releases
	FOR EACH ROW WHEN (OLD.collected_at IS NULL AND NEW.collected_at IS NOT NULL)
	EXECUTE FUNCTION miosa.releases_collect();
CREATE TRIGGER releases_delete BEFORE DELETE ON miosa.releases
	FOR EACH ROW EXECUTE FUNCTION miosa.releases_collect();

-- The pointer and what follows from it.  Operations write without firing the
-- trigger (src/common/row_write.c); the C function knows the extension's own
-- statements by themselves; no condition here depends on what is written.
-- The deployment's row is locked.

-- Trigger: a plain UPDATE of active_version_id becomes an operation
-- (deployment.version.promote, deployment.rollback when the number is lower,
-- deployment.unpublish when it is null), with its audit event (target_rule
-- direct_update) and its route change. Raises VERSION_NOT_FOUND,
-- VERSION_NOT_READY, ARTIFACT_GONE.
CREATE FUNCTION miosa.deployments_pointer() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_deployments_pointer';
COMMENT ON FUNCTION miosa.deployments_pointer() IS 'Trigger: makes an operation of a plain UPDATE of active_version_id, and refuses changes of columns that operations derive';

-- Without a WHEN: what is own is not to be seen in the row.
CREATE TRIGGER deployments_pointer BEFORE UPDATE ON miosa.deployments
	FOR EACH ROW EXECUTE FUNCTION miosa.deployments_pointer();

-- What else follows from operations, storage's answers or endpoints.  This
-- trigger comes before the others of its tables, which derive some of it.

-- Keep derived columns from being written by hand.
CREATE FUNCTION miosa.derived_columns() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_derived_columns';
COMMENT ON FUNCTION miosa.derived_columns() IS 'Trigger: raises INVALID_ARGUMENT when columns change that the extension derives, unless its functions or the owner of the table change them';

CREATE TRIGGER derived BEFORE UPDATE ON miosa.versions
	FOR EACH ROW EXECUTE FUNCTION miosa.derived_columns();
CREATE TRIGGER derived BEFORE UPDATE ON miosa.releases
	FOR EACH ROW EXECUTE FUNCTION miosa.derived_columns();
CREATE TRIGGER derived BEFORE UPDATE ON miosa.runtime_instances
	FOR EACH ROW EXECUTE FUNCTION miosa.derived_columns();

-- A deployment of this id may have been here and deleted.  Its audit events
-- and route changes stay, so the numbers go on where it ended.  A restored
-- deployment already has numbers at least that high.

-- Continue the numbers of an earlier deployment of this id.
CREATE FUNCTION miosa.deployments_insert() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	last record;
	routed boolean;
BEGIN
	-- If one of this id is being deleted, wait for the end of that before its
	-- numbers are read: the index would wait for it later.
	PERFORM FROM miosa.deployments p WHERE p.id = NEW.id FOR KEY SHARE;
	SELECT EXISTS (SELECT FROM miosa.route_log l WHERE l.deployment_id = NEW.id) INTO routed;
	SELECT e.seq, e.hash INTO last FROM (
			SELECT a.seq, a.hash FROM miosa.audit_events a WHERE a.deployment_id = NEW.id
			UNION ALL
			SELECT c.seq, c.hash FROM miosa.audit_checkpoints c WHERE c.deployment_id = NEW.id) e
		ORDER BY e.seq DESC LIMIT 1;
	-- The outbox has no index by deployment, and new ids have nothing in it.
	IF last.seq IS NOT NULL OR routed THEN
		IF last.seq > NEW.seq THEN
			NEW.seq := last.seq;
			NEW.audit_head := last.hash;
		END IF;
		-- In one snapshot: the dispatcher moves work from the one to the other.
		NEW.route_seq := greatest(NEW.route_seq, (SELECT max(n.route_seq) FROM (
			SELECT o.route_seq FROM miosa.outbox o WHERE o.deployment_id = NEW.id
			UNION ALL
			SELECT l.route_seq FROM miosa.route_log l WHERE l.deployment_id = NEW.id) n));
	END IF;
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.deployments_insert() IS 'Trigger: operations and route changes of a deployment whose id was used before are numbered on from there';

CREATE TRIGGER deployments_insert BEFORE INSERT ON miosa.deployments
	FOR EACH ROW EXECUTE FUNCTION miosa.deployments_insert();

-- Refuse numbers that were used: one of this id may have come and gone after the
-- trigger above has read them.
CREATE FUNCTION miosa.deployments_numbered() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF EXISTS (SELECT FROM miosa.audit_events a WHERE a.deployment_id = NEW.id AND a.seq > NEW.seq)
		OR EXISTS (SELECT FROM miosa.route_log l WHERE l.deployment_id = NEW.id AND l.route_seq > NEW.route_seq) THEN
		PERFORM miosa.raise_condition('DEPLOYMENT_BUSY', format('deployment "%s" was removed a moment ago', NEW.id),
			'It was there, and was removed, while this one was added.', 'Call again with the same arguments.');
	END IF;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.deployments_numbered() IS 'Trigger: refuses a deployment whose numbers an earlier one of its id has used by now';

CREATE TRIGGER deployments_numbered AFTER INSERT ON miosa.deployments
	FOR EACH ROW EXECUTE FUNCTION miosa.deployments_numbered();

-- Where the audit trail of a deleted deployment ends must stay known.

-- Keep the head of a deployment that is deleted.
CREATE FUNCTION miosa.deployments_close() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	INSERT INTO miosa.audit_checkpoints (deployment_id, last_seq, last_hash, deleted_at)
		VALUES (OLD.id, OLD.seq, OLD.audit_head, clock_timestamp())
		ON CONFLICT ON CONSTRAINT audit_checkpoints_pkey DO UPDATE
			SET last_seq = excluded.last_seq, last_hash = excluded.last_hash, deleted_at = excluded.deleted_at;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.deployments_close() IS 'Trigger: keeps the number and the hash of the newest audit event of a deployment that is deleted';

CREATE TRIGGER deployments_close AFTER DELETE ON miosa.deployments
	FOR EACH ROW WHEN (OLD.seq > 0) EXECUTE FUNCTION miosa.deployments_close();
ALTER TABLE miosa.deployments ENABLE ALWAYS TRIGGER deployments_close;

-- Hosts: a slug is part of the managed host, a domain is one.

-- Queue the change of a managed host, and delete keys, alerts and the watch with
-- their deployment.
CREATE FUNCTION miosa.deployments_host() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	old_host text;
BEGIN
	-- The next deployment of this id must not get answers of this one.
	IF TG_OP = 'DELETE' THEN
		DELETE FROM miosa.idempotency_keys k WHERE k.deployment_id = OLD.id;
		DELETE FROM miosa.alerts a WHERE a.deployment_id = OLD.id;
		DELETE FROM miosa.watches w WHERE w.deployment_id = OLD.id;
	END IF;
	SELECT miosa.managed_host(OLD.slug, t.slug) INTO old_host
		FROM miosa.tenants t WHERE t.id = OLD.tenant_id;
	IF old_host IS NULL THEN
		RETURN NULL;
	ELSIF TG_OP = 'DELETE' THEN
		INSERT INTO miosa.outbox (deployment_id, kind, route_seq, host)
			VALUES (OLD.id, 'host_removed', OLD.route_seq + 1, old_host);
		PERFORM miosa.wake();
	ELSE
		PERFORM miosa.queue(OLD.id, 'host_removed', old_host);
		PERFORM miosa.queue(OLD.id, 'route', NULL);
	END IF;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.deployments_host() IS 'Trigger: queues the removal of a managed host whose deployment was renamed or deleted, and the new host''s route; a deleted deployment''s idempotency keys go with it';

CREATE TRIGGER deployments_host AFTER UPDATE ON miosa.deployments
	FOR EACH ROW WHEN ((OLD.slug, OLD.tenant_id) IS DISTINCT FROM (NEW.slug, NEW.tenant_id))
	EXECUTE FUNCTION miosa.deployments_host();
CREATE TRIGGER deployments_delete AFTER DELETE ON miosa.deployments
	FOR EACH ROW EXECUTE FUNCTION miosa.deployments_host();

-- Queue the change of all managed hosts of a tenant.
CREATE FUNCTION miosa.tenants_host() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	d record;
BEGIN
	FOR d IN SELECT p.id, miosa.managed_host(p.slug, OLD.slug) AS host
		FROM miosa.deployments p WHERE p.tenant_id = OLD.id ORDER BY p.id
	LOOP
		EXIT WHEN d.host IS NULL;
		PERFORM miosa.queue(d.id, 'host_removed', d.host);
		PERFORM miosa.queue(d.id, 'route', NULL);
	END LOOP;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.tenants_host() IS 'Trigger: queues the removal of the managed hosts of a tenant whose slug changed, and the new hosts'' routes';

CREATE TRIGGER tenants_host AFTER UPDATE ON miosa.tenants
	FOR EACH ROW WHEN (OLD.slug IS DISTINCT FROM NEW.slug)
	EXECUTE FUNCTION miosa.tenants_host();

-- A host that moves is sent for both deployments: caches know pages by the
-- deployment that they came from.  The route of the one that loses it has the
-- host, by which the dispatcher sends it after the other one.  A statement can
-- change thousands of hosts, so they are queued together, one change of each
-- deployment's row.

-- Queue what the change of hosts means for routes.
CREATE FUNCTION miosa.domains_host() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	d record;
BEGIN
	FOR d IN
		-- A full join is hashed; a nested loop, which the plan of a session's first
		-- few hosts would have, took 18 s for 10,000 of them.
		WITH h AS MATERIALIZED (
			SELECT o.fqdn, o.deployment_id AS losing, n.deployment_id AS having, coalesce(o.state = 'active', false) AS was_active,
				coalesce(n.state = 'active', false) AS is_active,
				(o.deployment_id, o.state, o.redirect_policy) IS DISTINCT FROM (n.deployment_id, n.state, n.redirect_policy) AS changed
			FROM was o FULL JOIN became n ON n.fqdn = o.fqdn)
		SELECT c.deployment_id, coalesce(array_agg(c.host ORDER BY c.host) FILTER (WHERE c.host IS NOT NULL), '{}') AS removed,
			bool_or(c.host IS NULL AND c.given IS NULL) AS route,
			array_agg(c.given ORDER BY c.given) FILTER (WHERE c.given IS NOT NULL) AS given
		FROM (
			SELECT h.losing AS deployment_id, h.fqdn AS host, NULL AS given FROM h WHERE h.was_active AND NOT h.is_active
			UNION ALL
			SELECT h.losing, NULL, min(h.fqdn) FROM h WHERE h.was_active AND h.is_active AND h.having <> h.losing GROUP BY h.losing, h.having
			UNION ALL
			SELECT h.having, NULL, NULL FROM h WHERE h.is_active AND h.changed) c
		GROUP BY c.deployment_id ORDER BY c.deployment_id COLLATE "C"
	LOOP
		IF d.removed <> '{}' OR d.given IS NULL THEN
			PERFORM miosa.queue_hosts(d.deployment_id, d.removed, d.given IS NULL AND d.route);
		END IF;
		PERFORM miosa.queue(d.deployment_id, 'route', g.host) FROM unnest(d.given) g (host);
	END LOOP;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.domains_host() IS 'Trigger: queues the routes of hosts that changed, and the removal of those that are not routed any more';

CREATE TRIGGER domains_host AFTER UPDATE ON miosa.domains
	REFERENCING OLD TABLE AS was NEW TABLE AS became
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.domains_host();

-- Queue the removal of hosts that were deleted.
CREATE FUNCTION miosa.domains_delete() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	d record;
BEGIN
	FOR d IN
		SELECT o.deployment_id, array_agg(o.fqdn ORDER BY o.fqdn) AS removed FROM was o WHERE o.state = 'active'
		GROUP BY o.deployment_id ORDER BY o.deployment_id COLLATE "C"
	LOOP
		PERFORM miosa.queue_hosts(d.deployment_id, d.removed, false);
	END LOOP;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.domains_delete() IS 'Trigger: queues the removal of hosts that were deleted';

CREATE TRIGGER domains_delete AFTER DELETE ON miosa.domains
	REFERENCING OLD TABLE AS was
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.domains_delete();

-- A route is sent with all its hosts, so their number has a limit.

-- Refuse more hosts of a deployment than routes can have.
CREATE FUNCTION miosa.domains_limit() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	most CONSTANT integer := 10000;
	d record;
BEGIN
	FOR d IN
		SELECT c.id, (SELECT count(*)::integer FROM miosa.domains o WHERE o.deployment_id = c.id) AS hosts
		FROM (SELECT DISTINCT n.deployment_id AS id FROM became n) c
	LOOP
		IF d.hosts > most THEN
			PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('deployment "%s" has too many hosts', d.id),
				format('It would have %s hosts; the maximum is %s.', d.hosts, most),
				format('See them with SELECT fqdn, state FROM miosa.domains WHERE deployment_id = %L; a wildcard host counts once.', d.id));
		END IF;
	END LOOP;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.domains_limit() IS 'Trigger: raises INVALID_ARGUMENT when a deployment has more than 10,000 hosts';

CREATE TRIGGER domains_limit_insert AFTER INSERT ON miosa.domains
	REFERENCING NEW TABLE AS became
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.domains_limit();
CREATE TRIGGER domains_limit_update AFTER UPDATE ON miosa.domains
	REFERENCING NEW TABLE AS became
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.domains_limit();

-- Plans.  A row of a shipped plan is not changed: one's own hides it.

-- Write a plan through the view.
CREATE FUNCTION miosa.plans_write() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF TG_OP = 'INSERT' OR OLD.builtin AND TG_OP = 'UPDATE' THEN
		NEW.builtin := coalesce(OLD.builtin, false);
		IF NEW IS DISTINCT FROM OLD THEN
			INSERT INTO miosa.own_plans (name, audit_retention, idempotency_retention, artifact_retention)
				VALUES (NEW.name, NEW.audit_retention, NEW.idempotency_retention, NEW.artifact_retention);
			NEW.builtin := false;
		END IF;
		RETURN NEW;
	ELSIF OLD.builtin THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('plan "%s" is shipped with the extension', OLD.name),
			'Shipped plans cannot be deleted.',
			format('See which tenants have it: SELECT id, slug FROM miosa.tenants WHERE plan = %L;', OLD.name));
	ELSIF TG_OP = 'UPDATE' THEN
		NEW.builtin := false;
		UPDATE miosa.own_plans p SET name = NEW.name, audit_retention = NEW.audit_retention,
				idempotency_retention = NEW.idempotency_retention, artifact_retention = NEW.artifact_retention
			WHERE p.name = OLD.name;
	ELSE
		DELETE FROM miosa.own_plans p WHERE p.name = OLD.name;
	END IF;
	-- Another transaction may have changed or deleted it.
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
COMMENT ON FUNCTION miosa.plans_write() IS 'Trigger: writes changes of miosa.plans into miosa.own_plans, also those of shipped plans';
CREATE TRIGGER plans_write INSTEAD OF INSERT OR UPDATE OR DELETE ON miosa.plans
	FOR EACH ROW EXECUTE FUNCTION miosa.plans_write();

-- Keep a plan that a tenant has from being deleted or renamed.
CREATE FUNCTION miosa.own_plans_keep() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	tenant text;
BEGIN
	-- An older snapshot does not show tenants that were given the plan since.
	IF current_setting('transaction_isolation') <> 'read committed' THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('plan "%s" cannot be deleted or renamed in this transaction', OLD.name),
			format('The isolation level is %s.', current_setting('transaction_isolation')),
			'Call the same in a transaction of its own: BEGIN ISOLATION LEVEL READ COMMITTED;');
	END IF;
	-- Tenants that are being given the plan hold a lock on its row.
	SELECT t.id INTO tenant FROM miosa.tenants t
		WHERE t.plan = OLD.name AND NOT EXISTS (SELECT FROM miosa.plans p WHERE p.name = OLD.name)
		ORDER BY t.id LIMIT 1;
	IF FOUND THEN
		PERFORM miosa.raise_reference(format('update or delete on plan "%s" violates a reference of tenants', OLD.name),
			format('Tenant "%s" still has the plan.', tenant), 'own_plans', 'tenants_plan_fkey');
	END IF;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.own_plans_keep() IS 'Trigger: raises foreign_key_violation when a plan is deleted that a tenant has';
CREATE TRIGGER own_plans_delete AFTER DELETE ON miosa.own_plans
	FOR EACH ROW EXECUTE FUNCTION miosa.own_plans_keep();
CREATE TRIGGER own_plans_rename AFTER UPDATE ON miosa.own_plans
	FOR EACH ROW WHEN (OLD.name <> NEW.name) EXECUTE FUNCTION miosa.own_plans_keep();

-- Audit events are append-only for every role, also for a session that plays a
-- replica.  Only retention deletes them: it moves the deployment's checkpoint
-- first, which can pass over nothing but expired events, and never over the
-- newest one of a deployment that exists.  So what is left is always the end of
-- a chain that begins at the checkpoint.

-- Keep audit events as they are.
CREATE FUNCTION miosa.audit_events_keep() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	detail text := format('%s on miosa.audit_events was refused.', TG_OP);
BEGIN
	IF TG_OP = 'DELETE' THEN
		IF OLD.keep_until IS NULL THEN
			detail := format('Event "%s#%s" is kept for ever.', OLD.deployment_id, OLD.seq);
		ELSIF OLD.keep_until >= now() THEN
			detail := format('Event "%s#%s" is kept for %s.', OLD.deployment_id, OLD.seq, OLD.keep_until - OLD.created_at);
		ELSIF miosa.is_newest_event(OLD.deployment_id, OLD.seq) THEN
			detail := format('Event "%s#%s" is the newest one of its deployment.', OLD.deployment_id, OLD.seq);
		ELSIF NOT EXISTS (SELECT FROM miosa.audit_checkpoints c WHERE c.deployment_id = OLD.deployment_id AND c.seq >= OLD.seq) THEN
			detail := format('Event "%s#%s" has expired, but only retention deletes it.', OLD.deployment_id, OLD.seq);
		ELSE
			RETURN OLD;
		END IF;
	END IF;
	-- Kept here, even if the origin of a subscription kept it no longer.
	IF TG_LEVEL = 'ROW' AND miosa.is_applied() THEN
		RETURN NULL;
	END IF;
	PERFORM miosa.raise_condition('FORBIDDEN', 'audit events cannot be changed', detail,
		CASE WHEN TG_OP = 'DELETE' THEN 'To delete what has expired, type SELECT * FROM miosa_purge_expired();'
			ELSE 'Read them with SELECT miosa_audit_log();' END);
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.audit_events_keep() IS 'Trigger: raises FORBIDDEN on UPDATE and TRUNCATE of audit events, and on DELETE by anything but retention';

CREATE TRIGGER audit_events_keep BEFORE UPDATE OR DELETE ON miosa.audit_events
	FOR EACH ROW EXECUTE FUNCTION miosa.audit_events_keep();
CREATE TRIGGER audit_events_truncate BEFORE TRUNCATE ON miosa.audit_events
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.audit_events_keep();
ALTER TABLE miosa.audit_events ENABLE ALWAYS TRIGGER audit_events_keep;
ALTER TABLE miosa.audit_events ENABLE ALWAYS TRIGGER audit_events_truncate;

-- Checkpoints only move forward, over events that have expired.
CREATE FUNCTION miosa.audit_checkpoints_keep() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	detail text := format('%s on miosa.audit_checkpoints was refused.', TG_OP);
	-- A trigger of a row that a subscription applies may write here itself.
	applied boolean := TG_LEVEL = 'ROW' AND pg_trigger_depth() = 1 AND miosa.is_applied();
BEGIN
	IF TG_OP IN ('INSERT', 'UPDATE') THEN
		-- Of the origin's checkpoints only those count here whose events have
		-- never been here.
		IF applied AND (TG_OP = 'UPDATE'
				OR EXISTS (SELECT FROM miosa.audit_checkpoints c WHERE c.deployment_id = NEW.deployment_id)
				OR EXISTS (SELECT FROM miosa.audit_events a WHERE a.deployment_id = NEW.deployment_id AND a.seq <= NEW.seq)) THEN
			RETURN NULL;
		ELSIF TG_OP = 'UPDATE' AND (NEW.deployment_id, NEW.seq, NEW.hash) IS NOT DISTINCT FROM (OLD.deployment_id, OLD.seq, OLD.hash) THEN
			RETURN NEW;
		ELSIF EXISTS (SELECT FROM miosa.audit_events a WHERE a.deployment_id = NEW.deployment_id AND a.seq <= NEW.seq
				AND (a.keep_until IS NULL OR a.keep_until >= now() OR miosa.is_newest_event(a.deployment_id, a.seq))) THEN
			detail := format('Events of deployment "%s" up to %s are still kept.', NEW.deployment_id, NEW.seq);
		ELSIF EXISTS (SELECT FROM miosa.audit_events a WHERE a.deployment_id = NEW.deployment_id AND a.seq = NEW.seq
				AND a.hash IS NOT DISTINCT FROM NEW.hash) AND (TG_OP = 'INSERT' OR NEW.seq > OLD.seq) THEN
			RETURN NEW;
		-- A restore may bring them before or after the events that are left, and a
		-- deployment that comes back to a shard may have lost more events
		-- elsewhere.
		ELSIF (TG_OP = 'INSERT' OR NEW.seq > OLD.seq) AND NOT EXISTS (SELECT FROM miosa.audit_events a WHERE a.deployment_id = NEW.deployment_id AND a.seq <= NEW.seq) THEN
			RETURN NEW;
		END IF;
	ELSIF applied THEN
		RETURN NULL;
	END IF;
	PERFORM miosa.raise_condition('FORBIDDEN', 'checkpoints of the audit trail cannot be changed', detail,
		'Verify the trail with SELECT miosa_audit_verify_all();');
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.audit_checkpoints_keep() IS 'Trigger: raises FORBIDDEN when a checkpoint is deleted, goes back, or passes over an audit event that is still kept';

CREATE TRIGGER audit_checkpoints_keep BEFORE INSERT OR UPDATE OR DELETE ON miosa.audit_checkpoints
	FOR EACH ROW EXECUTE FUNCTION miosa.audit_checkpoints_keep();
CREATE TRIGGER audit_checkpoints_truncate BEFORE TRUNCATE ON miosa.audit_checkpoints
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.audit_checkpoints_keep();
ALTER TABLE miosa.audit_checkpoints ENABLE ALWAYS TRIGGER audit_checkpoints_keep;
ALTER TABLE miosa.audit_checkpoints ENABLE ALWAYS TRIGGER audit_checkpoints_truncate;

-- Rows are not changed, and only old ones are deleted.  Arguments: how old, what
-- the rows are, how to read them.
CREATE FUNCTION miosa.rows_keep() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF TG_OP = 'DELETE' AND OLD.created_at < now() - TG_ARGV[0]::interval THEN
		RETURN OLD;
	END IF;
	PERFORM miosa.raise_condition('FORBIDDEN', format('%s cannot be changed', TG_ARGV[1]),
		format('%s on miosa.%I was refused.', TG_OP, TG_TABLE_NAME), TG_ARGV[2]);
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.rows_keep() IS 'Trigger: raises FORBIDDEN on UPDATE and TRUNCATE, and on DELETE of a row that is not old enough';

CREATE TRIGGER audit_statements_keep BEFORE UPDATE OR DELETE ON miosa.audit_statements
	FOR EACH ROW EXECUTE FUNCTION miosa.rows_keep('400 days', 'statements of the audit trail',
		'Verify the trail with SELECT miosa_audit_verify_all();');
CREATE TRIGGER audit_statements_truncate BEFORE TRUNCATE ON miosa.audit_statements
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.rows_keep('400 days', 'statements of the audit trail',
		'Verify the trail with SELECT miosa_audit_verify_all();');
-- Tables of delivery: endpoints, how to speak to them, and their positions.
--
-- Tables that users write (adapters, endpoints, secrets) and tables that the
-- dispatcher writes (endpoint_state, delivery_failures, dispatcher_state) are
-- separate, so that an open transaction of a user never blocks the dispatcher.
-- For the same reason the dispatcher's tables have no foreign keys.

CREATE TABLE miosa.adapters (
	name text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
	description text NOT NULL DEFAULT '',
	role text NOT NULL DEFAULT 'edge' CHECK (role IN ('edge', 'scheduler', 'hook', 'audit')),
	stage integer NOT NULL DEFAULT 0 CHECK (stage IN (0, 1)),
	per text NOT NULL DEFAULT 'deployment' CHECK (per IN ('deployment', 'host', 'instance')),
	self_expires boolean NOT NULL DEFAULT false,
	settle interval NOT NULL DEFAULT '0'
		CONSTRAINT "settle must be from 0 to 10 minutes" CHECK (settle BETWEEN '0' AND '10 min'),
	timeout interval NOT NULL DEFAULT '5 s'
		CONSTRAINT "timeout must be from 10 ms to 5 minutes" CHECK (timeout BETWEEN '10 ms' AND '5 min'),
	max_in_flight integer NOT NULL DEFAULT 8 CHECK (max_in_flight BETWEEN 1 AND 1000),
	batch_max integer NOT NULL DEFAULT 1 CHECK (batch_max BETWEEN 1 AND 10000),
	batch_bytes integer NOT NULL DEFAULT 65536 CHECK (batch_bytes BETWEEN 1024 AND 1048576),
	rate real CHECK (rate BETWEEN 0.001 AND 100000),
	burst integer NOT NULL DEFAULT 1 CHECK (burst BETWEEN 1 AND 100000),
	success integer[] CHECK (success IS NULL OR cardinality(success) > 0),
	success_json_path jsonpath,
	verdicts jsonb NOT NULL DEFAULT '{}',
	signer text NOT NULL DEFAULT 'none' CHECK (signer IN ('none', 'header', 'standard-webhooks', 'sigv4')),
	signer_options jsonb NOT NULL DEFAULT '{}',
	charsets jsonb NOT NULL DEFAULT '{}',
	request jsonb NOT NULL,
	add jsonb,
	remove jsonb,
	wildcards boolean NOT NULL,
	wildcard_request jsonb,
	wildcard_remove jsonb,
	volatile boolean NOT NULL DEFAULT false,
	marker_write jsonb,
	marker_read jsonb,
	marker_interval interval NOT NULL DEFAULT '5 s'
		CONSTRAINT "marker_interval must be from 100 ms to 1 day" CHECK (marker_interval BETWEEN '100 ms' AND '1 day'),
	alerts boolean NOT NULL DEFAULT false,
	poll jsonb,
	healthy_json_path jsonpath,
	poll_valid jsonpath,
	poll_interval interval NOT NULL DEFAULT '2 s'
		CONSTRAINT "poll_interval must be from 100 ms to 1 hour" CHECK (poll_interval BETWEEN '100 ms' AND '1 hour'),
	builtin boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE miosa.adapters IS 'How to talk to one kind of endpoint; a request is an object with method, path, headers and body, whose texts may hold {variables}';
COMMENT ON COLUMN miosa.adapters.name IS 'Name of the adapter';
COMMENT ON COLUMN miosa.adapters.description IS 'What it talks to, for people';
COMMENT ON COLUMN miosa.adapters.role IS 'edge (receives routes or purges, counts for convergence), hook (the same, does not count; or alerts), scheduler (starts and stops instances) or audit (receives heads of the audit trail)';
COMMENT ON COLUMN miosa.adapters.stage IS '0: receives changes first (routers); 1: after stage 0 of its zone has acknowledged (caches)';
COMMENT ON COLUMN miosa.adapters.per IS 'deployment: one request a deployment; host: one request for each of its hosts; instance (schedulers): one request for each instance to start or to stop';
COMMENT ON COLUMN miosa.adapters.self_expires IS 'Whether its pages expire by themselves, so that a cache that does not answer serves the right version once the deployment''s route_ttl has passed';
COMMENT ON COLUMN miosa.adapters.settle IS 'Time after which every request is repeated, because a fetch under way can bring the old page back: at least the cache''s timeout for fetches; 0 for never';
COMMENT ON COLUMN miosa.adapters.timeout IS 'Timeout of one request';
COMMENT ON COLUMN miosa.adapters.max_in_flight IS 'Maximum number of concurrent requests to one endpoint';
COMMENT ON COLUMN miosa.adapters.batch_max IS 'Maximum number of deployments in one request, with {routes}, {deployment_ids} and {hosts}; more than 1 only when per is deployment';
COMMENT ON COLUMN miosa.adapters.batch_bytes IS 'Maximum size of the body of a request for several deployments';
COMMENT ON COLUMN miosa.adapters.rate IS 'Maximum number of requests per second to one endpoint; null for no limit';
COMMENT ON COLUMN miosa.adapters.burst IS 'Number of requests that may be sent at once before rate applies';
COMMENT ON COLUMN miosa.adapters.success IS 'HTTP statuses that mean success; null means every 2xx, as always for the marker';
COMMENT ON COLUMN miosa.adapters.success_json_path IS 'Condition that the body of the answer must also satisfy, for example $.success == true; null for none';
COMMENT ON COLUMN miosa.adapters.verdicts IS 'What other statuses mean where the default is wrong, {"400": "endpoint"}: endpoint, message or gone (docs/own-edge.md lists them and the defaults)';
COMMENT ON COLUMN miosa.adapters.signer IS 'none; header (a header holds {secret}, so the endpoint must have one); standard-webhooks (the secret is whsec_ and base64); sigv4 (the secret is KEYID:SECRET or KEYID:SECRET:TOKEN)';
COMMENT ON COLUMN miosa.adapters.signer_options IS 'For sigv4: {"service": "cloudfront", "region": "us-east-1"}';
COMMENT ON COLUMN miosa.adapters.charsets IS 'Fewer characters for the values of a variable, {"host": "a-z0-9.-"}; what has others is not sent';
COMMENT ON COLUMN miosa.adapters.request IS 'The request that delivers a route, or the number of instances that a scheduler is to run of a version: {"method", "path", "headers": {}, "body"}';
COMMENT ON COLUMN miosa.adapters.add IS 'The request that is sent instead when request is answered 404, because the entry is not there yet; null when none is needed';
COMMENT ON COLUMN miosa.adapters.remove IS 'The request for a host that is no longer routed, when per is host, or for an instance that is to stop, when per is instance; null when none is needed';
COMMENT ON COLUMN miosa.adapters.wildcards IS 'Whether it handles a wildcard host (*.example.com), by default unless per is host; otherwise the host does not converge';
COMMENT ON COLUMN miosa.adapters.wildcard_request IS 'The request for a wildcard host, with {domain}, when per is host; null: request, with the wildcard as {host}';
COMMENT ON COLUMN miosa.adapters.wildcard_remove IS 'The same for remove';
COMMENT ON COLUMN miosa.adapters.volatile IS 'Whether it loses its table silently at a restart, so that a marker has to be read back';
COMMENT ON COLUMN miosa.adapters.marker_write IS 'The request that writes the marker, with {epoch}';
COMMENT ON COLUMN miosa.adapters.marker_read IS 'The request whose answer''s body is the marker; 404 means that it is lost';
COMMENT ON COLUMN miosa.adapters.marker_interval IS 'Time between two readings of the marker';
COMMENT ON COLUMN miosa.adapters.alerts IS 'Whether a hook receives alerts, instead of routes: its request has {alert}';
COMMENT ON COLUMN miosa.adapters.poll IS 'The request that asks a scheduler how many instances of a version are healthy; null when instances are reported with miosa_report_instance';
COMMENT ON COLUMN miosa.adapters.healthy_json_path IS 'Path of that number in the body of the answer, for example $.status.readyReplicas; without it the number is 0 if poll_valid is true, else the poll has failed';
COMMENT ON COLUMN miosa.adapters.poll_valid IS 'Condition that the body of a poll''s answer must satisfy, for example $.kind == "Deployment"; null for none';
COMMENT ON COLUMN miosa.adapters.poll_interval IS 'Time between polls while instances are missing or are being stopped; afterwards miosa_rollback.capacity_interval applies, and polls are the heartbeat';
COMMENT ON COLUMN miosa.adapters.builtin IS 'Shipped with the extension: cannot be changed (copy it under another name), not dumped; only the extension''s own scripts set it';

-- What convergence has to look up in the outbox; routes are not in it, because
-- every rollback would pay for that.
CREATE INDEX outbox_waiting ON miosa.outbox (deployment_id) WHERE kind IN ('repurge', 'settings');
CREATE INDEX route_log_repurges ON miosa.route_log (deployment_id, host, epoch) WHERE kind = 'repurge';

CREATE TABLE miosa.endpoints (
	name text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
	adapter text COLLATE "C" NOT NULL REFERENCES miosa.adapters,
	url text NOT NULL,
	zone text COLLATE "C" NOT NULL DEFAULT 'default' CHECK (zone ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
	stage integer CHECK (stage IN (0, 1)),
	selector jsonb NOT NULL DEFAULT '{}',
	secret text COLLATE "C",
	enabled boolean NOT NULL DEFAULT true,
	reason text,
	-- Not that of an endpoint of this name before, of which positions tell.
	generation bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
	origin text,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT "times must be from 1970 to 2199" CHECK (least(created_at, updated_at) >= '1970-01-01 00:00:00+00'
		AND greatest(created_at, updated_at) < '2200-01-01 00:00:00+00')
);
COMMENT ON TABLE miosa.endpoints IS 'Routers, caches and webhooks that receive route changes, and schedulers that run instances';
COMMENT ON COLUMN miosa.endpoints.name IS 'Name of the endpoint';
COMMENT ON COLUMN miosa.endpoints.adapter IS 'How to talk to it';
COMMENT ON COLUMN miosa.endpoints.url IS 'Base URL, http or https; the adapter''s path is appended, with one slash between them';
COMMENT ON COLUMN miosa.endpoints.zone IS 'Caches wait for the routers of their zone';
COMMENT ON COLUMN miosa.endpoints.stage IS 'Overrides the adapter''s stage; null means the adapter''s';
COMMENT ON COLUMN miosa.endpoints.selector IS 'Which deployments it receives: {"tenant": ..., "kind": ..., "deployment": ...}, each a text or an array of texts; {} means all';
COMMENT ON COLUMN miosa.endpoints.secret IS 'Name in miosa.secrets of what {secret} stands for';
COMMENT ON COLUMN miosa.endpoints.enabled IS 'Whether requests are sent to it';
COMMENT ON COLUMN miosa.endpoints.reason IS 'Why it is disabled';
COMMENT ON COLUMN miosa.endpoints.generation IS 'Increased by miosa_resync and by changes of adapter, URL, zone, stage, selector or enabled; a new one resynchronizes the endpoint';
COMMENT ON COLUMN miosa.endpoints.origin IS 'Installation that it was added in: a restored copy of the database must not send to it';
COMMENT ON COLUMN miosa.endpoints.created_at IS 'When it was added';
COMMENT ON COLUMN miosa.endpoints.updated_at IS 'When it was last changed';

-- Whatever renders a value calls the type's output or send function: SELECT,
-- COPY, the first copy of a subscription, every output plugin of logical
-- decoding, messages.  So the type keeps secrets, not a list of all the ways
-- out.  Its input function checks them, since a CHECK would have to read them
-- with the rights of the role that writes.
CREATE TYPE miosa.hidden_text;

-- Check a secret and store it.
CREATE FUNCTION miosa.hidden_text_in(cstring) RETURNS miosa.hidden_text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_hidden_text_in';
COMMENT ON FUNCTION miosa.hidden_text_in(cstring) IS 'Input function of miosa.hidden_text: refuses what cannot be sent in a header';

-- Show asterisks in place of a secret.
CREATE FUNCTION miosa.hidden_text_out(miosa.hidden_text) RETURNS cstring
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_hidden_text_out';
COMMENT ON FUNCTION miosa.hidden_text_out(miosa.hidden_text) IS 'Output function of miosa.hidden_text: three asterisks, whatever the value';

-- Check a secret that arrives in binary form.
CREATE FUNCTION miosa.hidden_text_recv(internal) RETURNS miosa.hidden_text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_hidden_text_recv';
COMMENT ON FUNCTION miosa.hidden_text_recv(internal) IS 'Binary input function of miosa.hidden_text';

-- Send asterisks in place of a secret.
CREATE FUNCTION miosa.hidden_text_send(miosa.hidden_text) RETURNS bytea
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_hidden_text_send';
COMMENT ON FUNCTION miosa.hidden_text_send(miosa.hidden_text) IS 'Binary output function of miosa.hidden_text: three asterisks, whatever the value';

CREATE TYPE miosa.hidden_text (
	INPUT = miosa.hidden_text_in, OUTPUT = miosa.hidden_text_out,
	RECEIVE = miosa.hidden_text_recv, SEND = miosa.hidden_text_send,
	LIKE = text
);
COMMENT ON TYPE miosa.hidden_text IS 'A text that can be written and is never shown';
CREATE CAST (text AS miosa.hidden_text) WITH INOUT AS ASSIGNMENT;

-- Convert a hidden text to text.
CREATE FUNCTION miosa.reveal(miosa.hidden_text) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_reveal';
COMMENT ON FUNCTION miosa.reveal(miosa.hidden_text) IS 'The text itself; only the owner may call it';

-- Read a secret, from its file if it refers to one.
CREATE FUNCTION miosa.read_secret(stored text) RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_read_secret';
COMMENT ON FUNCTION miosa.read_secret(text) IS 'Value of a secret as it is stored, from its file if it is in one; null when that cannot be used';

-- Check that a secret can be read.
CREATE FUNCTION miosa.secret_problem(stored text) RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_secret_problem';
COMMENT ON FUNCTION miosa.secret_problem(text) IS 'Why the file of a secret cannot be used; null when it can, or there is none';

-- Refuse a value that cannot be used as a secret.
CREATE FUNCTION miosa.check_secret(name text, value text) RETURNS void
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_check_secret';
COMMENT ON FUNCTION miosa.check_secret(text, text) IS 'Raises INVALID_ARGUMENT for a value that cannot be used as a secret';

-- The origin of a URL, as secrets list it.
CREATE FUNCTION miosa.secret_origin(url text) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_secret_origin';
COMMENT ON FUNCTION miosa.secret_origin(text) IS 'Scheme, host and port of a URL in lower case, without the scheme''s own port';

-- Check what a secret lists as an origin.
CREATE FUNCTION miosa.is_secret_origin(origin text) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_is_secret_origin';
COMMENT ON FUNCTION miosa.is_secret_origin(text) IS 'Whether a secret may list this as an origin';

-- Judge whether requests may carry a secret; lists are separated by spaces.
CREATE FUNCTION miosa.secret_refusal(origins text, adapters text, url text, adapter text) RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_secret_refusal';
COMMENT ON FUNCTION miosa.secret_refusal(text, text, text, text) IS 'Why requests to a URL by an adapter must not carry a secret that is for these origins and adapters; null when they may';

-- An owner who inserts a row may send the secret anywhere, until it says
-- otherwise; miosa_put_secret() binds what it writes.
CREATE TABLE miosa.secrets (
	name text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
	value miosa.hidden_text NOT NULL,
	previous miosa.hidden_text,
	origins text[] DEFAULT '{*}'
		CONSTRAINT "origins must be like https://edge.example.com:8443" CHECK (array_ndims(origins) = 1
			AND array_to_string(origins, ' ', '?') ~ '^[a-z0-9.:/*_ \[\]-]+$'),
	adapters text[] DEFAULT '{*}',
	endpoints text[] DEFAULT '{*}',
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT "times must be from 1970 to 2199" CHECK (created_at >= '1970-01-01 00:00:00+00' AND created_at < '2200-01-01 00:00:00+00')
);
COMMENT ON TABLE miosa.secrets IS 'Secrets of endpoints and storages, for requests to them; never dumped or shown';
COMMENT ON COLUMN miosa.secrets.name IS 'Name that endpoints, storages and templates use';
COMMENT ON COLUMN miosa.secrets.value IS 'The secret, or file: and the file that has it; shown as ***';
COMMENT ON COLUMN miosa.secrets.previous IS 'The secret that is being rotated out: standard-webhooks signs with both; null when there is none';
COMMENT ON COLUMN miosa.secrets.origins IS 'Where requests with it may go: scheme://host:port, scheme://*.domain:port, or * for anywhere; null until the first endpoint or storage names it';
COMMENT ON COLUMN miosa.secrets.adapters IS 'Adapters of the endpoints that have it as their own; * for all; null until the first endpoint names it';
COMMENT ON COLUMN miosa.secrets.endpoints IS 'Endpoints whose adapters may name it as {secret:name}; * for all; null for none';
COMMENT ON COLUMN miosa.secrets.created_at IS 'When it was written';

CREATE TABLE miosa.endpoint_state (
	endpoint text COLLATE "C" PRIMARY KEY,
	config text NOT NULL,
	generation bigint NOT NULL DEFAULT 0,
	acked_epoch bigint NOT NULL DEFAULT 0,
	settled_epoch bigint NOT NULL DEFAULT 0,
	verified_epoch bigint NOT NULL DEFAULT 0,
	marker_epoch bigint NOT NULL DEFAULT 0,
	resync_after text COLLATE "C" DEFAULT '',
	health text NOT NULL DEFAULT 'new',
	failures integer NOT NULL DEFAULT 0,
	last_status integer,
	last_error text,
	last_error_at timestamptz,
	last_success_at timestamptz,
	next_try_at timestamptz,
	acked_at timestamptz
) WITH (fillfactor = 50);
COMMENT ON TABLE miosa.endpoint_state IS 'Position and health of each endpoint; written by the dispatcher alone';
COMMENT ON COLUMN miosa.endpoint_state.endpoint IS 'Endpoint';
COMMENT ON COLUMN miosa.endpoint_state.config IS 'Fingerprint of its settings; the endpoint is resynchronized when it changes';
COMMENT ON COLUMN miosa.endpoint_state.generation IS 'Generation of the endpoint that this row describes; a row of another generation does not count';
COMMENT ON COLUMN miosa.endpoint_state.acked_epoch IS 'Everything up to here is acknowledged, but for delivery_failures and a resync under way';
COMMENT ON COLUMN miosa.endpoint_state.settled_epoch IS 'Everything up to here has been repeated after the adapter''s settle time';
COMMENT ON COLUMN miosa.endpoint_state.verified_epoch IS 'Newest epoch whose marker was read back from a volatile endpoint';
COMMENT ON COLUMN miosa.endpoint_state.marker_epoch IS 'Marker that was written to a volatile endpoint; 0 for none';
COMMENT ON COLUMN miosa.endpoint_state.resync_after IS 'During a resynchronization: the last deployment, in the order of ids, that is done; null when none is under way';
COMMENT ON COLUMN miosa.endpoint_state.health IS 'new, healthy, backing off, misconfigured, gone or unverified';
COMMENT ON COLUMN miosa.endpoint_state.failures IS 'Failures in a row';
COMMENT ON COLUMN miosa.endpoint_state.last_status IS 'Last HTTP status';
COMMENT ON COLUMN miosa.endpoint_state.last_error IS 'Last failure, for people; it stays after a success';
COMMENT ON COLUMN miosa.endpoint_state.last_error_at IS 'When that was';
COMMENT ON COLUMN miosa.endpoint_state.last_success_at IS 'When a request last succeeded';
COMMENT ON COLUMN miosa.endpoint_state.next_try_at IS 'When an endpoint that backs off is tried again';
COMMENT ON COLUMN miosa.endpoint_state.acked_at IS 'When acked_epoch was last moved';

CREATE TABLE miosa.delivery_failures (
	endpoint text COLLATE "C" NOT NULL,
	deployment_id text COLLATE "C" NOT NULL,
	epoch bigint NOT NULL,
	status integer,
	attempts integer NOT NULL DEFAULT 0,
	last_error text NOT NULL DEFAULT '',
	first_failed_at timestamptz NOT NULL DEFAULT now(),
	next_try_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (endpoint, deployment_id)
);
COMMENT ON TABLE miosa.delivery_failures IS 'Deployments whose route one endpoint refuses although it works; written by the dispatcher alone';
COMMENT ON COLUMN miosa.delivery_failures.endpoint IS 'Endpoint';
COMMENT ON COLUMN miosa.delivery_failures.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.delivery_failures.epoch IS 'Newest epoch that it refused';
COMMENT ON COLUMN miosa.delivery_failures.status IS 'Last HTTP status; null when there was none';
COMMENT ON COLUMN miosa.delivery_failures.attempts IS 'Number of attempts';
COMMENT ON COLUMN miosa.delivery_failures.last_error IS 'Last failure, for people';
COMMENT ON COLUMN miosa.delivery_failures.first_failed_at IS 'When it first failed';
COMMENT ON COLUMN miosa.delivery_failures.next_try_at IS 'When it is tried again';
CREATE INDEX delivery_failures_deployment ON miosa.delivery_failures (deployment_id);

CREATE TABLE miosa.dispatcher_state (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	term bigint NOT NULL DEFAULT 1 CHECK (term BETWEEN 1 AND 8388607),
	last_epoch bigint NOT NULL,
	trimmed_epoch bigint NOT NULL DEFAULT 0,
	site text COLLATE "C" NOT NULL,
	system_identifier text NOT NULL,
	timeline bigint NOT NULL,
	database_oid oid NOT NULL,
	term_since timestamptz NOT NULL DEFAULT clock_timestamp(),
	origin_epoch bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
COMMENT ON TABLE miosa.dispatcher_state IS 'Newest epoch of the route log, and the server that assigned it; one row';
COMMENT ON COLUMN miosa.dispatcher_state.one IS 'Always true';
COMMENT ON COLUMN miosa.dispatcher_state.term IS 'Upper 24 bits of epochs; rises when another timeline takes over';
COMMENT ON COLUMN miosa.dispatcher_state.last_epoch IS 'Newest epoch that was assigned';
COMMENT ON COLUMN miosa.dispatcher_state.trimmed_epoch IS 'Newest epoch that was deleted from route_log';
COMMENT ON COLUMN miosa.dispatcher_state.site IS 'miosa_rollback.site where the dispatcher ran last';
COMMENT ON COLUMN miosa.dispatcher_state.system_identifier IS 'System identifier of that server';
COMMENT ON COLUMN miosa.dispatcher_state.timeline IS 'Its timeline';
COMMENT ON COLUMN miosa.dispatcher_state.database_oid IS 'Its database';
COMMENT ON COLUMN miosa.dispatcher_state.term_since IS 'When the term began: heartbeats from before count from then';
COMMENT ON COLUMN miosa.dispatcher_state.origin_epoch IS 'Newest epoch of the primary site''s route log that was taken; 0 at the primary site';

CREATE TABLE miosa.sites (
	role text NOT NULL CHECK (role IN ('primary', 'replica')),
	site text COLLATE "C" NOT NULL CHECK (site <> ''),
	epoch bigint NOT NULL DEFAULT 0,
	changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	told_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	edges integer NOT NULL DEFAULT 0,
	behind integer NOT NULL DEFAULT 0,
	failures bigint NOT NULL DEFAULT 0,
	failed text[] NOT NULL DEFAULT '{}',
	version text NOT NULL DEFAULT '',
	went_back_at timestamptz,
	PRIMARY KEY (role, site)
);
COMMENT ON TABLE miosa.sites IS 'Sites that share routes: the primary one, and replicas whose edges get its routes; each writes its own row';
COMMENT ON COLUMN miosa.sites.role IS 'primary or replica';
COMMENT ON COLUMN miosa.sites.site IS 'miosa_rollback.site there';
COMMENT ON COLUMN miosa.sites.epoch IS 'Newest epoch of the primary site''s route log; of a replica, the one that all of its edges have';
COMMENT ON COLUMN miosa.sites.changed_at IS 'When that became so, by the clock of the site';
COMMENT ON COLUMN miosa.sites.told_at IS 'When the primary site last wrote its row; of a replica, the newest such time that it has received';
COMMENT ON COLUMN miosa.sites.edges IS 'Edges that a replica delivers to';
COMMENT ON COLUMN miosa.sites.behind IS 'How many of them lack a change';
COMMENT ON COLUMN miosa.sites.failures IS 'How many deployments one of them refuses';
COMMENT ON COLUMN miosa.sites.failed IS 'These deployments, the first 100';
COMMENT ON COLUMN miosa.sites.version IS 'Version of the extension there';
COMMENT ON COLUMN miosa.sites.went_back_at IS 'At a replica: when the primary site came with an older epoch than before, because it was restored';

SELECT pg_catalog.pg_extension_config_dump('miosa.adapters', 'WHERE NOT builtin');
SELECT pg_catalog.pg_extension_config_dump('miosa.endpoints', '');
-- The dispatcher: how SQL wakes it and sees it, why it pauses, and how it is
-- resumed.

-- Wake the dispatcher at commit.
CREATE FUNCTION miosa.wake() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_wake';
COMMENT ON FUNCTION miosa.wake() IS 'Wakes the dispatcher when the transaction commits; warns when there is none and endpoints exist';

-- Have the dispatcher read its settings again: one row a transaction is enough.
CREATE FUNCTION miosa.queue_settings() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	INSERT INTO miosa.outbox (deployment_id, kind) VALUES ('', 'settings') ON CONFLICT DO NOTHING;
	PERFORM miosa.wake();
END $$;
COMMENT ON FUNCTION miosa.queue_settings() IS 'Has the dispatcher read its settings again when the transaction commits';

-- Ask the launcher for a dispatcher at commit.
CREATE FUNCTION miosa.request_dispatcher() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_request_dispatcher';
COMMENT ON FUNCTION miosa.request_dispatcher() IS 'Starts a dispatcher for this database when the transaction commits';

-- Read what distinguishes this database from a copy of it.
CREATE FUNCTION miosa.identity(OUT site text, OUT system_identifier text, OUT timeline bigint, OUT database_oid oid)
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_identity';
COMMENT ON FUNCTION miosa.identity() IS 'Site, system identifier, timeline (null on a standby) and OID of this database';

-- Read the state and the counters of the dispatcher from shared memory.
CREATE FUNCTION miosa.dispatcher(
	OUT state text, OUT pid integer, OUT since timestamptz, OUT epoch bigint,
	OUT passes bigint, OUT routes bigint, OUT sent bigint, OUT acknowledged bigint, OUT failed bigint,
	OUT retried bigint, OUT notified bigint, OUT errors bigint, OUT in_flight bigint, OUT pending bigint, OUT refusals_dropped bigint, OUT unmeasured bigint, OUT launcher boolean,
	OUT last_pass_at timestamptz, OUT stalled boolean, OUT error text, OUT launcher_pid integer)
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_dispatcher';
COMMENT ON FUNCTION miosa.dispatcher() IS 'The dispatcher of this database as shared memory shows it; miosa.stat_dispatcher describes the columns';

-- The installation that endpoints are bound to.  With a site it is also the
-- database's name: a dump restored beside the original is a copy all the same.
CREATE FUNCTION miosa.origin() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN i.site <> '' THEN i.site || '/' || current_database() ELSE i.system_identifier || '/' || i.database_oid::text END
	FROM miosa.identity() i;
END;
COMMENT ON FUNCTION miosa.origin() IS 'Name of this installation: miosa_rollback.site and the database''s name, else system identifier and database';

-- The subscriptions of this database that have a publication of sites.
CREATE FUNCTION miosa.site_subscriptions(publication text, OUT id oid, OUT subname name, OUT enabled boolean)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT s.oid, s.subname, s.subenabled FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
	WHERE d.datname = current_database() AND $1 = ANY (s.subpublications) ORDER BY s.subname;
END;
COMMENT ON FUNCTION miosa.site_subscriptions(text) IS 'Subscriptions of this database that have a publication';

-- How a replica is copied anew.
CREATE FUNCTION miosa.copy_fix() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT 'DROP SUBSCRIPTION miosa_routes; SELECT miosa.forget_primary_site(); CREATE SUBSCRIPTION miosa_routes CONNECTION ''...'' PUBLICATION miosa_routes;'
$$;
COMMENT ON FUNCTION miosa.copy_fix() IS 'Commands that copy a replica anew';

-- A replica delivers what it has copied as a whole.  It ends by itself.
CREATE FUNCTION miosa.site_pause(OUT reason text, OUT fix text)
LANGUAGE sql STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT p.reason, p.fix FROM miosa.identity() i CROSS JOIN LATERAL (
		SELECT 1 AS place, 'miosa_rollback.site is not set' AS reason,
			'ALTER SYSTEM SET miosa_rollback.site = ''another name''; SELECT pg_reload_conf();' AS fix
		WHERE i.site = ''
		UNION ALL
		SELECT 2, format('the primary site is called "%s" as well', s.site),
			'ALTER SYSTEM SET miosa_rollback.site = ''another name''; SELECT pg_reload_conf();'
		FROM miosa.sites s WHERE s.role = 'primary' AND s.site = i.site
		UNION ALL
		SELECT 3, 'routes are still copied from the primary site', 'Wait; see SELECT srrelid::regclass, srsubstate FROM pg_subscription_rel;'
		FROM pg_subscription_rel r JOIN pg_class c ON c.oid = r.srrelid
		WHERE c.relnamespace = 'miosa'::regnamespace AND r.srsubstate <> 'r'
		UNION ALL
		-- A subscription that was made before the publication has a slot that can
		-- never be read, and one that was made at a site of another role has left
		-- the row of the primary site out.
		SELECT 4, 'no routes were copied from a primary site yet', CASE
			WHEN EXISTS (SELECT FROM miosa.site_subscriptions('miosa_routes')) THEN miosa.copy_fix()
			ELSE 'CREATE SUBSCRIPTION miosa_routes CONNECTION ''...'' PUBLICATION miosa_routes;' END
		WHERE NOT EXISTS (SELECT FROM miosa.sites s WHERE s.role = 'primary')) p
	WHERE miosa.setting('site_role') = 'replica' ORDER BY p.place LIMIT 1;
END;
COMMENT ON FUNCTION miosa.site_pause() IS 'Why a replica does not deliver yet, and what to do; null when it may';

-- Any difference between where the order of epochs was made and here means
-- that this may be a copy, and a copy must not send to the original's edges.
CREATE FUNCTION miosa.pause_reason() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT CASE
		WHEN r.reason IS NOT NULL
			THEN r.reason
		WHEN s.database_oid <> i.database_oid
			THEN 'this database is a copy of another one'
		WHEN s.site <> i.site
			THEN format('miosa_rollback.site is "%s", but the dispatcher last ran at "%s"', i.site, s.site)
		WHEN i.site = '' AND s.system_identifier <> i.system_identifier
			THEN 'the system identifier has changed: this is a restored or upgraded copy'
		WHEN i.site = '' AND s.timeline <> i.timeline
			THEN 'the timeline has changed: this is a promoted standby or a restored copy'
		ELSE (
			SELECT format('endpoint "%s" was added in another installation', e.name)
			FROM miosa.endpoints e
			WHERE e.enabled AND e.origin <> (SELECT miosa.origin())
			ORDER BY e.name LIMIT 1)
		END
	FROM miosa.identity() i CROSS JOIN miosa.site_pause() r LEFT JOIN miosa.dispatcher_state s ON true;
END;
COMMENT ON FUNCTION miosa.pause_reason() IS 'Why the dispatcher must not deliver before miosa_resume(); null when it may';

-- Start a new term here, with all endpoints bound to this installation.
CREATE FUNCTION @extschema@.miosa_resume() RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	reason text := miosa.pause_reason();
BEGIN
	IF reason IS NULL THEN
		RETURN 'was not paused';
	END IF;
	IF (miosa.site_pause()).reason IS NOT NULL THEN
		RETURN 'still paused: ' || reason;
	END IF;
	UPDATE miosa.dispatcher_state s SET term = s.term + 1, last_epoch = miosa.first_epoch(s.term + 1),
			term_since = clock_timestamp(), site = i.site, system_identifier = i.system_identifier, timeline = i.timeline, database_oid = i.database_oid
		FROM miosa.identity() i;
	UPDATE miosa.endpoints e SET origin = miosa.origin(), generation = e.generation + 1;
	PERFORM miosa.queue_settings();
	PERFORM miosa.note_configuration('dispatcher', current_database(), 'resume', NULL, NULL, reason);
	RETURN 'resumed: ' || reason;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_resume() IS 'Resumes a paused dispatcher, and resynchronizes every endpoint; returns why it was paused';

-- The launcher starts a dispatcher here once this has committed.
SELECT miosa.request_dispatcher();
-- Endpoints: checks of what is written about adapters and endpoints, and the
-- functions that set endpoints up and send them routes again.

-- Check all requests of an adapter and how its columns fit together.
CREATE FUNCTION miosa.check_adapter(adapter jsonb) RETURNS void
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_check_adapter';
COMMENT ON FUNCTION miosa.check_adapter(jsonb) IS 'Raises INVALID_ARGUMENT with the place of the mistake when a row of miosa.adapters is wrong or contradicts itself';

-- Render a request without sending it.
CREATE FUNCTION miosa.render_request(request jsonb, "values" jsonb, charsets jsonb DEFAULT '{}') RETURNS jsonb
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_render_request';
COMMENT ON FUNCTION miosa.render_request(jsonb, jsonb, jsonb) IS 'What an adapter''s request would be for these values, before it is signed: {"method", "url", "headers": [...], "body"}';

-- Distinguish the extension's own scripts, which may write shipped rows, from
-- a user's session.
CREATE FUNCTION miosa.in_own_script() RETURNS boolean
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'mrb_in_own_script';
COMMENT ON FUNCTION miosa.in_own_script() IS 'Whether the install script of this extension runs, or one of its upgrade scripts';

-- Validation.

-- Check the base URL of an endpoint.
CREATE FUNCTION miosa.check_url(url text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	hint CONSTANT text := 'For example ''http://10.0.0.5:8081''.';
	problem text := CASE
		WHEN url IS NULL OR url = '' THEN 'The URL is empty.'
		WHEN url ~ '[[:cntrl:]]' THEN 'The URL has control characters.'
		WHEN url ~ '[[:space:]]' THEN 'The URL has spaces.'
		WHEN url !~ '^[!-~]*$' THEN 'The URL has characters outside of ASCII; write them percent-encoded.'
		WHEN url !~ '^https?://' THEN 'The URL must begin with http:// or https://.'
		WHEN url ~ '^https?://[^/?#]*@' THEN 'The URL has credentials; put them into miosa.secrets.'
		WHEN url ~ '[?#]' THEN 'The URL has a query or a fragment.'
		WHEN url ~ '["<>\\^`{|}]' THEN 'The URL has characters that must be percent-encoded.'
		WHEN url !~ '^https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/.*)?$' THEN 'The host or port of the URL is malformed.'
		WHEN substring(url FROM '^https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})')::integer NOT BETWEEN 1 AND 65535 THEN 'The port of the URL is not one of 1 to 65535.'
	END;
BEGIN
	-- The message does not repeat the URL, which may have credentials.
	IF length(url) > 2000 THEN
		PERFORM miosa.refuse_length('endpoint URL', length(url), 'characters', 2000, hint);
	ELSIF problem IS NOT NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid endpoint URL', problem, hint);
	END IF;
END $$;
COMMENT ON FUNCTION miosa.check_url(text) IS 'Raises INVALID_ARGUMENT when a base URL is not plain http or https';

-- Check the selector of an endpoint.
CREATE FUNCTION miosa.check_selector(selector jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	problem text;
	item record;
BEGIN
	IF selector IS NULL OR jsonb_typeof(selector) <> 'object' THEN
		problem := 'The selector must be an object.';
	ELSE
		FOR item IN SELECT key, value FROM jsonb_each(selector) LOOP
			IF item.key NOT IN ('tenant', 'kind', 'deployment') THEN
				problem := format('The key "%s" is not known; the keys are tenant, kind and deployment.', item.key);
			ELSIF jsonb_typeof(item.value) <> 'string' AND (jsonb_typeof(item.value) <> 'array'
				OR jsonb_path_exists(item.value, '$[*] ? (@.type() != "string")')) THEN
				problem := format('The value of "%s" must be a text or an array of texts.', item.key);
			END IF;
		END LOOP;
	END IF;
	IF problem IS NOT NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid endpoint selector', problem,
			'A selector is {} for all, or for example {"tenant": "ten_1", "kind": ["static"]}.');
	END IF;
END $$;
COMMENT ON FUNCTION miosa.check_selector(jsonb) IS 'Raises INVALID_ARGUMENT when an endpoint''s selector is malformed';

-- Match a deployment with a selector; each key that is given must match.
CREATE FUNCTION miosa.selects(selector jsonb, deployment_id text, tenant_id text, kind text) RETURNS boolean
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_selects';
COMMENT ON FUNCTION miosa.selects(jsonb, text, text, text) IS 'Whether an endpoint with this selector receives a deployment';

-- Check an adapter before it is written, and protect shipped ones.
CREATE FUNCTION miosa.adapters_check() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	ours CONSTANT boolean := miosa.in_own_script();
BEGIN
	IF TG_OP <> 'INSERT' AND OLD.builtin AND NOT ours THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('adapter "%s" is shipped with the extension', OLD.name),
			'Shipped adapters cannot be changed or deleted.',
			format('SELECT miosa_put_adapter(%L, copy_of => %L);', 'my-' || left(OLD.name, 60), OLD.name));
	END IF;
	IF TG_OP = 'DELETE' THEN
		RETURN OLD;
	END IF;
	NEW.wildcards := coalesce(NEW.wildcards, NEW.per <> 'host' OR NEW.wildcard_request IS NOT NULL);
	-- A copy of a shipped adapter is not shipped.
	NEW.builtin := NEW.builtin AND ours;
	PERFORM miosa.check_adapter(to_jsonb(NEW));
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.adapters_check() IS 'Trigger: refuses changes of shipped adapters, and rows that cannot be sent or contradict themselves, with the place of the mistake';

CREATE TRIGGER adapters_check BEFORE INSERT OR UPDATE OR DELETE ON miosa.adapters
	FOR EACH ROW EXECUTE FUNCTION miosa.adapters_check();

-- Check an endpoint before it is written, and raise its generation when it has
-- to be resynchronized.
CREATE FUNCTION miosa.endpoints_check() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.check_url(NEW.url);
	PERFORM miosa.check_selector(NEW.selector);
	NEW.origin := coalesce(NEW.origin, miosa.origin());
	IF TG_OP = 'UPDATE' THEN
		NEW.updated_at := now();
		IF (NEW.adapter, NEW.url, NEW.zone, NEW.stage, NEW.selector, NEW.enabled)
			IS DISTINCT FROM (OLD.adapter, OLD.url, OLD.zone, OLD.stage, OLD.selector, OLD.enabled) THEN
			NEW.generation := greatest(NEW.generation, OLD.generation + 1);
		END IF;
	END IF;
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.endpoints_check() IS 'Trigger: refuses malformed endpoints and binds new ones to this installation';

CREATE TRIGGER derived BEFORE UPDATE ON miosa.endpoints
	FOR EACH ROW EXECUTE FUNCTION miosa.derived_columns();
CREATE TRIGGER endpoints_check BEFORE INSERT OR UPDATE ON miosa.endpoints
	FOR EACH ROW EXECUTE FUNCTION miosa.endpoints_check();

-- Bind a secret to the first endpoint or storage that names it.
CREATE FUNCTION miosa.bind_secret(secret text, endpoint text, url text, adapter text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	UPDATE miosa.secrets s SET origins = coalesce(s.origins, ARRAY[miosa.secret_origin($3)]),
			adapters = CASE WHEN s.name = $1 AND $4 IS NOT NULL THEN coalesce(s.adapters, ARRAY[$4]) ELSE s.adapters END
		WHERE s.name = $1 AND (s.origins IS NULL OR s.adapters IS NULL AND $4 IS NOT NULL)
			OR $2 = ANY (s.endpoints) AND s.origins IS NULL;
END;
COMMENT ON FUNCTION miosa.bind_secret(text, text, text, text) IS 'Binds a secret that is not bound yet to where an endpoint or a storage sends it';

-- Secrets follow an endpoint that is added; one that is changed needs their
-- values again.
CREATE FUNCTION miosa.endpoints_bind() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.bind_secret(NEW.secret, NEW.name, NEW.url, NEW.adapter);
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.endpoints_bind() IS 'Trigger: binds a secret to the first endpoint that names it';
CREATE TRIGGER endpoints_bind AFTER INSERT OR UPDATE OF secret, url, adapter ON miosa.endpoints
	FOR EACH ROW EXECUTE FUNCTION miosa.endpoints_bind();

-- An adapter that was changed may send secrets to other places of a server.
CREATE FUNCTION miosa.adapters_unbind() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	UPDATE miosa.secrets s SET adapters = array_remove(s.adapters, OLD.name) WHERE OLD.name = ANY (s.adapters);
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.adapters_unbind() IS 'Trigger: a secret is no longer for an adapter whose requests have changed, nor for one of that name that comes after it';
CREATE TRIGGER adapters_unbind AFTER UPDATE ON miosa.adapters
	FOR EACH ROW WHEN (NOT NEW.builtin AND (OLD.request, OLD.add, OLD.remove, OLD.wildcard_request, OLD.wildcard_remove,
		OLD.marker_write, OLD.marker_read, OLD.poll, OLD.signer, OLD.signer_options)
		IS DISTINCT FROM (NEW.request, NEW.add, NEW.remove, NEW.wildcard_request, NEW.wildcard_remove,
		NEW.marker_write, NEW.marker_read, NEW.poll, NEW.signer, NEW.signer_options))
	EXECUTE FUNCTION miosa.adapters_unbind();
CREATE TRIGGER adapters_removed AFTER DELETE ON miosa.adapters
	FOR EACH ROW EXECUTE FUNCTION miosa.adapters_unbind();

-- Refuse a secret that is for others.
CREATE FUNCTION miosa.check_secret_use(secret text, url text, adapter text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	bound miosa.secrets;
	problem text;
BEGIN
	SELECT * INTO bound FROM miosa.secrets s WHERE s.name = secret;
	problem := miosa.secret_refusal(array_to_string(bound.origins, ' '), array_to_string(bound.adapters, ' '), url, adapter);
	IF problem IS NOT NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('secret "%s" is for others', secret),
			format('Secret "%s": %s.', secret, problem),
			format('Put its value again, for all that is to have it: SELECT miosa_put_secret(%L, ''...'', origins => %L%s);',
				secret, array_remove(bound.origins, miosa.secret_origin(url)) || miosa.secret_origin(url),
				', adapters => ' || quote_literal(CASE WHEN bound.adapters && ARRAY[adapter, '*'] OR adapter IS NULL THEN bound.adapters
					ELSE bound.adapters || adapter END)));
	END IF;
END $$;
COMMENT ON FUNCTION miosa.check_secret_use(text, text, text) IS 'Raises INVALID_ARGUMENT when a secret is not for requests to a URL by an adapter';

-- Have the dispatcher read its settings again.
CREATE FUNCTION miosa.settings_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.queue_settings();
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.settings_changed() IS 'Trigger: makes the dispatcher read adapters, endpoints and secrets again';

CREATE TRIGGER settings_changed AFTER INSERT OR UPDATE OR DELETE ON miosa.adapters
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.settings_changed();
CREATE TRIGGER settings_changed AFTER INSERT OR UPDATE OR DELETE ON miosa.endpoints
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.settings_changed();
CREATE TRIGGER settings_changed AFTER INSERT OR UPDATE OR DELETE ON miosa.secrets
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.settings_changed();

-- Endpoints that cannot handle a wildcard host of a deployment that they
-- receive.
CREATE FUNCTION miosa.wildcard_gaps(OUT endpoint text, OUT adapter text, OUT fqdn text, OUT deployment_id text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY SELECT e.name, a.name, d.fqdn, p.id
	FROM miosa.domains d
	JOIN miosa.deployments p ON p.id = d.deployment_id
	JOIN miosa.endpoints e ON e.enabled AND miosa.selects(e.selector, p.id, p.tenant_id, p.kind)
	JOIN miosa.adapters a ON a.name = e.adapter AND a.role IN ('edge', 'hook') AND NOT a.alerts AND NOT a.wildcards
	WHERE d.state = 'active' AND d.fqdn LIKE '*.%' AND miosa.sees_tenant(p.tenant_id)
	ORDER BY e.name COLLATE "C", d.fqdn COLLATE "C";
END $$;
COMMENT ON FUNCTION miosa.wildcard_gaps() IS 'Endpoints whose adapter cannot handle a wildcard host that they receive';

-- Warn of at most five gaps.
CREATE FUNCTION miosa.warn_of_wildcards(endpoint text, fqdn text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	gap record;
BEGIN
	FOR gap IN SELECT * FROM miosa.wildcard_gaps() g
		WHERE g.endpoint = coalesce(warn_of_wildcards.endpoint, g.endpoint) AND g.fqdn = coalesce(warn_of_wildcards.fqdn, g.fqdn)
		LIMIT 5
	LOOP
		RAISE WARNING 'endpoint "%" cannot handle wildcard host "%"', gap.endpoint, gap.fqdn
			USING DETAIL = format('Its adapter "%s" has no request for wildcard hosts, so deployment "%s" does not converge there.',
				gap.adapter, gap.deployment_id),
			HINT = 'SELECT name, description FROM miosa.adapters WHERE role = ''edge'' AND wildcards;';
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.warn_of_wildcards(text, text) IS 'Warns of the rows of miosa.wildcard_gaps() for an endpoint or for a host; null means any';

-- Setting up endpoints.

-- Check the arguments, since their errors name more than a constraint can, and
-- upsert the row.
CREATE FUNCTION @extschema@.miosa_put_endpoint(
	name text, adapter text, url text,
	zone text DEFAULT 'default',
	stage integer DEFAULT NULL,
	selector jsonb DEFAULT '{}',
	secret text DEFAULT NULL,
	enabled boolean DEFAULT true) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	result jsonb;
BEGIN
	PERFORM miosa.refuse_value('argument', g.argument, g.value,
			'A name has 1 to 63 characters of A-Z a-z 0-9 . _ - and begins with a letter or digit.',
			'For example ''router-1'', in zone ''eu''.')
		FROM (VALUES ('name', miosa_put_endpoint.name), ('zone', miosa_put_endpoint.zone)) g (argument, value)
		WHERE coalesce(g.value, '') !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$';
	IF NOT EXISTS (SELECT FROM miosa.adapters a WHERE a.name = miosa_put_endpoint.adapter) THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('adapter "%s" does not exist', miosa_put_endpoint.adapter),
			(SELECT 'Adapters are: ' || string_agg(a.name, ', ' ORDER BY a.name) || '.' FROM miosa.adapters a),
			'See them with SELECT name, description FROM miosa.adapters;');
	END IF;
	IF miosa_put_endpoint.stage NOT IN (0, 1) THEN
		PERFORM miosa.refuse_value('argument', 'stage', miosa_put_endpoint.stage::text, 'A stage is 0 (routers) or 1 (caches).',
			'Leave it out for the adapter''s.');
	END IF;
	IF miosa_put_endpoint.secret IS NOT NULL
		AND NOT EXISTS (SELECT FROM miosa.secrets s WHERE s.name = miosa_put_endpoint.secret) THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('secret "%s" does not exist', miosa_put_endpoint.secret),
			'An endpoint names a secret that is in miosa.secrets.',
			format('SELECT miosa_put_secret(%L, ''...'');', miosa_put_endpoint.secret));
	END IF;
	PERFORM miosa.check_secret_use(miosa_put_endpoint.secret, miosa_put_endpoint.url, miosa_put_endpoint.adapter)
		WHERE miosa_put_endpoint.secret IS NOT NULL;
	INSERT INTO miosa.endpoints AS e (name, adapter, url, zone, stage, selector, secret, enabled)
		VALUES (miosa_put_endpoint.name, miosa_put_endpoint.adapter, miosa_put_endpoint.url,
			miosa_put_endpoint.zone, miosa_put_endpoint.stage, coalesce(miosa_put_endpoint.selector, '{}'),
			miosa_put_endpoint.secret, coalesce(miosa_put_endpoint.enabled, true))
		ON CONFLICT (name) DO UPDATE SET adapter = excluded.adapter, url = excluded.url, zone = excluded.zone,
			stage = excluded.stage, selector = excluded.selector, secret = excluded.secret, enabled = excluded.enabled,
			reason = NULL
		RETURNING to_jsonb(e) - 'generation' INTO result;
	PERFORM miosa.warn_of_wildcards(miosa_put_endpoint.name, NULL);
	RETURN jsonb_build_object('data', result);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_endpoint(text, text, text, text, integer, jsonb, text, boolean) IS 'Adds or changes an endpoint; a new or changed one is resynchronized';

-- A CHECK constraint would show the secret in its message.
CREATE FUNCTION @extschema@.miosa_put_secret(name text, value text, keep_previous boolean DEFAULT false,
	origins text[] DEFAULT NULL, adapters text[] DEFAULT NULL, endpoints text[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	origin text;
BEGIN
	IF coalesce(miosa_put_secret.name, '') !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid secret name',
			'A name has 1 to 63 characters of A-Z a-z 0-9 . _ - and begins with a letter or digit.', 'For example ''edge''.');
	END IF;
	PERFORM miosa.check_secret(miosa_put_secret.name, miosa_put_secret.value);
	origins := ARRAY(SELECT miosa.secret_origin(o.origin) FROM unnest(miosa_put_secret.origins) o (origin))
		WHERE cardinality(miosa_put_secret.origins) > 0;
	FOREACH origin IN ARRAY coalesce(origins, '{}') LOOP
		IF miosa.is_secret_origin(origin) IS NOT TRUE THEN
			PERFORM miosa.refuse_value('argument', 'origins', origin, 'An origin is a scheme, a host and a port; *.domain stands for every host below a domain, * for anywhere.',
				'For example ARRAY[''https://edge-1.example.com:8443'', ''https://*.cdn.example.com''].');
		END IF;
	END LOOP;
	-- Another value may go elsewhere; the one of before, which stays, may not.
	IF miosa_put_secret.keep_previous AND EXISTS (SELECT FROM miosa.secrets s WHERE s.name = miosa_put_secret.name
			AND (NOT coalesce('*' = ANY (s.origins) OR miosa_put_secret.origins <@ s.origins, true)
				OR NOT coalesce('*' = ANY (s.adapters) OR miosa_put_secret.adapters <@ s.adapters, true))) THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('secret "%s" cannot be kept for others', miosa_put_secret.name),
			'The earlier value was not put for all of these origins and adapters.',
			format('Leave keep_previous out, or keep the earlier value where it is: SELECT miosa_put_secret(%L, ''...'', keep_previous => true);',
				miosa_put_secret.name));
	END IF;
	INSERT INTO miosa.secrets AS s (name, value, origins, adapters, endpoints)
		VALUES (miosa_put_secret.name, miosa_put_secret.value, miosa_put_secret.origins, miosa_put_secret.adapters, miosa_put_secret.endpoints)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value,
			previous = CASE WHEN NOT miosa_put_secret.keep_previous THEN NULL
				WHEN miosa.reveal(s.value) = miosa_put_secret.value THEN s.previous ELSE s.value END,
			origins = coalesce(excluded.origins, s.origins), adapters = coalesce(excluded.adapters, s.adapters),
			endpoints = coalesce(excluded.endpoints, s.endpoints);
	-- Endpoints and storages that name it already.
	PERFORM miosa.bind_secret(e.secret, e.name, e.url, e.adapter) FROM miosa.endpoints e
		WHERE e.secret = miosa_put_secret.name OR e.name = ANY (miosa_put_secret.endpoints) ORDER BY e.name;
	PERFORM miosa.bind_secret(s.secret, NULL, s.endpoint, NULL) FROM miosa.storages s
		WHERE s.secret = miosa_put_secret.name ORDER BY s.prefix;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_secret(text, text, boolean, text[], text[], text[]) IS 'Adds or changes a secret that endpoints or storages name';

-- Refuse the name of an endpoint that does not exist.
CREATE FUNCTION miosa.need_endpoint(name text) RETURNS void
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_need_endpoint';
COMMENT ON FUNCTION miosa.need_endpoint(text) IS 'Raises INVALID_ARGUMENT when there is no endpoint of that name';

-- Enable or disable an endpoint; an enabled one needs no reason.
CREATE FUNCTION @extschema@.miosa_set_endpoint(name text, enabled boolean, reason text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	result jsonb;
BEGIN
	PERFORM miosa.need_endpoint(miosa_set_endpoint.name);
	IF miosa_set_endpoint.enabled IS NULL THEN
		PERFORM miosa.refuse_value('argument', 'enabled', NULL, NULL,
			format('SELECT miosa_set_endpoint(%L, false, reason => ''...'');', miosa_set_endpoint.name));
	END IF;
	PERFORM miosa.check_visible(miosa_set_endpoint.reason, 'argument', 'reason');
	UPDATE miosa.endpoints e SET enabled = miosa_set_endpoint.enabled,
			reason = CASE WHEN miosa_set_endpoint.enabled THEN NULL ELSE nullif(btrim(miosa_set_endpoint.reason), '') END
		WHERE e.name = miosa_set_endpoint.name
		RETURNING to_jsonb(e) - 'generation' INTO result;
	RETURN jsonb_build_object('data', result);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_set_endpoint(text, boolean, text) IS 'Enables or disables an endpoint, with a reason';

-- Delete an endpoint.
CREATE FUNCTION @extschema@.miosa_remove_endpoint(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	PERFORM miosa.need_endpoint(miosa_remove_endpoint.name);
	DELETE FROM miosa.endpoints e WHERE e.name = miosa_remove_endpoint.name;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_endpoint(text) IS 'Removes an endpoint and its position';

-- Send a test request from C.
CREATE FUNCTION @extschema@.miosa_test_endpoint(name text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_test_endpoint';
COMMENT ON FUNCTION @extschema@.miosa_test_endpoint(text) IS 'Sends an endpoint, also a disabled one, a harmless request, and returns what the answer means';

-- An address that a name leads to is judged when it is connected to; this is
-- for people who want to know beforehand.
CREATE FUNCTION miosa.refused_address(address inet) RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_refused_address';
COMMENT ON FUNCTION miosa.refused_address(inet) IS 'Why no request is sent to an address, by the settings; null when requests may be sent there';

-- Sending routes again.

-- Queue the present route as a new change.
CREATE FUNCTION @extschema@.miosa_resend(deployment_id text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.check_scope(p.tenant_id, 'rollback', 'call miosa_resend'), miosa.queue(p.id, 'route', NULL)
		FROM miosa.parse_operation(miosa_resend.deployment_id) o JOIN miosa.deployments p ON p.id = o.deployment_id;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_resend(text) IS 'Sends the present route of a deployment to every endpoint again';

-- Raise the generation, which has the dispatcher resynchronize the endpoint.
CREATE FUNCTION @extschema@.miosa_resync(endpoint text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.need_endpoint(endpoint);
	UPDATE miosa.endpoints e SET generation = e.generation + 1 WHERE e.name = miosa_resync.endpoint;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_resync(text) IS 'Resynchronizes an endpoint: sends it the present route of every deployment';

-- Make refused routes due, and wake the dispatcher.
CREATE FUNCTION @extschema@.miosa_redrive(endpoint text) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	number bigint;
BEGIN
	PERFORM miosa.need_endpoint(endpoint);
	UPDATE miosa.delivery_failures f SET next_try_at = now() WHERE f.endpoint = miosa_redrive.endpoint;
	GET DIAGNOSTICS number = ROW_COUNT;
	PERFORM miosa.queue_settings();
	RETURN number;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_redrive(text) IS 'Retries at once the routes that an endpoint refused (delivery_failures); returns their number';
-- The state of each endpoint with one deployment.  What decides it is in C
-- (src/delivery/edge_state.c), which reads these functions, and positions in
-- shared memory.

-- The newest route change of a deployment: its epoch and time, whether the
-- dispatcher has still to take it, whether changed settings wait, and the term.
CREATE FUNCTION miosa.newest_change(deployment_id text, OUT id text, OUT tenant_id text, OUT kind text, OUT route_ttl interval,
	OUT epoch bigint, OUT created_at timestamptz, OUT unread boolean, OUT queued boolean, OUT term bigint, OUT moved boolean)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 1
BEGIN ATOMIC
	-- A change that was trimmed from the log is at most as new as the trim.
	SELECT p.id, p.tenant_id, p.kind, p.route_ttl, coalesce(l.epoch, st.trimmed_epoch) AS epoch,
		-- A change that the dispatcher has not taken has a time and no epoch.
		coalesce(q.created_at, l.created_at) AS created_at,
		EXISTS (SELECT FROM miosa.outbox o WHERE o.deployment_id = '' AND o.kind = 'settings') AS unread,
		q.created_at IS NOT NULL AS queued,
		coalesce(st.term, 1) AS term, st.timeline IS DISTINCT FROM i.timeline
			AND st.timeline IS NOT NULL AND i.timeline IS NOT NULL AS moved
	FROM miosa.deployments p
	CROSS JOIN miosa.identity() i
	LEFT JOIN miosa.dispatcher_state st ON true
	LEFT JOIN LATERAL (
		SELECT g.epoch, g.route_seq, g.created_at FROM miosa.route_log g
		WHERE g.deployment_id = p.id AND g.kind IN ('route', 'host_removed')
		ORDER BY g.epoch DESC LIMIT 1) l ON true
	LEFT JOIN LATERAL (
		SELECT max(o.created_at) AS created_at FROM miosa.outbox o
		WHERE o.deployment_id = p.id AND o.kind IN ('route', 'host_removed')
			AND (l.route_seq IS NULL OR l.route_seq < p.route_seq)) q ON true
	-- It is one row in any case; this tells the planner.
	WHERE p.id = $1 LIMIT 1;
END;
COMMENT ON FUNCTION miosa.newest_change(text) IS 'Newest route change of a deployment, as the log, the outbox and the dispatcher''s state show it; no row for an unknown deployment';

-- Purges that caches have still to repeat, by zone.
CREATE FUNCTION miosa.open_repurges(deployment_id text, OUT zone text, OUT epoch bigint, OUT queued boolean)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	-- One row a zone: purges that its caches have still to repeat.
	SELECT r.zone, max(r.epoch) AS epoch, bool_or(r.queued) AS queued
	FROM (
		SELECT g.host AS zone, g.epoch, false AS queued FROM miosa.route_log g
		WHERE g.deployment_id = $1 AND g.kind = 'repurge'
		UNION ALL
		SELECT o.host, NULL, true FROM miosa.outbox o
		WHERE o.deployment_id = $1 AND o.kind = 'repurge') r
	GROUP BY r.zone;
END;
COMMENT ON FUNCTION miosa.open_repurges(text) IS 'By zone, the newest purge of a deployment that its caches repeat, and whether one is not taken yet';

-- Judge each endpoint that receives a deployment.
CREATE FUNCTION miosa.judge(
	deployment_id text,
	OUT endpoint text, OUT zone text, OUT role text, OUT adapter text, OUT stage integer,
	OUT state text, OUT done boolean, OUT epoch bigint, OUT acked_epoch bigint,
	OUT health text, OUT age interval, OUT error text)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'mrb_judge';
COMMENT ON FUNCTION miosa.judge(text) IS 'miosa.convergence_rows() in no order, in the snapshot of the function in C that calls it';

-- One row for each endpoint that receives the deployment: state (waiting,
-- resyncing, backing off, misconfigured, gone, unverified, failed,
-- acknowledged, settled, verified, expired, excluded), whether it is done,
-- since when it lacks the route and why; those that are not done first. As it
-- is now, whatever the transaction's snapshot shows.
CREATE FUNCTION miosa.convergence_rows(
	deployment_id text,
	OUT endpoint text, OUT zone text, OUT role text, OUT adapter text, OUT stage integer,
	OUT state text, OUT done boolean, OUT epoch bigint, OUT acked_epoch bigint,
	OUT health text, OUT age interval, OUT error text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_convergence_rows';
COMMENT ON FUNCTION miosa.convergence_rows(text) IS 'One row for each endpoint that receives the deployment: its state, whether it is done, since when it lacks the route and why; those that are not done first';

-- Decide the state of an operation.
CREATE FUNCTION miosa.operation_state(deployment_id text, seq bigint, edges bigint, done bigint, expired bigint) RETURNS text
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'mrb_operation_state';
COMMENT ON FUNCTION miosa.operation_state(text, bigint, bigint, bigint, bigint) IS 'The state of an operation, given how many edges receive it, are done, and of these have expired; null for an unknown deployment';

-- Build the result of miosa_convergence(), as text first: each level of jsonb
-- would copy those in it.
CREATE FUNCTION miosa.convergence_object(deployment_id text, seq bigint) RETURNS SETOF jsonb
LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 1
BEGIN ATOMIC
	WITH r AS MATERIALIZED (
		SELECT * FROM miosa.judge($1)
	), edges AS (
		SELECT count(*) AS edges, count(*) FILTER (WHERE r.done) AS done,
			count(*) FILTER (WHERE r.state = 'expired') AS expired
		FROM r WHERE r.role = 'edge' AND r.state <> 'excluded'
	), zones AS (
		SELECT r.zone, count(*) AS edges, count(*) FILTER (WHERE r.done) AS done,
			(array_agg(r.endpoint ORDER BY r.age DESC NULLS LAST, r.error IS NULL, r.endpoint)
				FILTER (WHERE NOT r.done))[1] AS slowest,
			(array_agg(r.error ORDER BY r.age DESC NULLS LAST, r.error IS NULL, r.endpoint)
				FILTER (WHERE NOT r.done))[1] AS error
		FROM r WHERE r.role = 'edge' AND r.state <> 'excluded' GROUP BY r.zone
	)
	SELECT json_build_object('data', json_build_object(
		'deployment_id', $1,
		'operation_id', $1 || '#' || coalesce($2, (SELECT p.seq FROM miosa.deployments p WHERE p.id = $1)),
		'state', miosa.operation_state($1, $2, e.edges, e.done, e.expired),
		'paused', CASE WHEN (SELECT w.state FROM miosa.dispatcher() w) <> 'running' THEN miosa.pause_reason() END,
		'edges', e.edges,
		'done', e.done,
		'zones', coalesce((
			SELECT json_agg(json_build_object(
				'zone', z.zone, 'edges', z.edges, 'done', z.done,
				'slowest', z.slowest, 'error', z.error)
				ORDER BY z.edges - z.done DESC, z.zone)
			FROM zones z), '[]'),
		'endpoints', coalesce((
			SELECT json_agg(json_build_object(
				'name', r.endpoint, 'zone', r.zone, 'role', r.role, 'adapter', r.adapter, 'stage', r.stage,
				'state', r.state, 'done', r.done, 'epoch', r.epoch, 'acked_epoch', r.acked_epoch,
				'health', r.health, 'age_seconds', round(extract(epoch FROM r.age), 3), 'error', r.error)
				ORDER BY r.done, r.zone, r.stage, r.endpoint)
			FROM r), '[]')))::jsonb
	FROM edges e;
END;
COMMENT ON FUNCTION miosa.convergence_object(text, bigint) IS 'Result of miosa_convergence(), in the caller''s snapshot; one row';

-- Compute the state with shared memory and tables as of now.
CREATE FUNCTION miosa.convergence_state(deployment_id text, seq bigint) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_convergence_state';
COMMENT ON FUNCTION miosa.convergence_state(text, bigint) IS 'converged, expired, waiting_edges, waiting_instances, superseded, no_edges or no_dispatcher, as it is now; seq null means the newest operation; null for an unknown deployment';

-- "dep_1", "shop" or "www.example.com", each of them also with "#7"; and fleets.
CREATE FUNCTION miosa.parse_operation(deployment_or_operation text, OUT deployment_id text, OUT seq bigint, OUT fleet_id text)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	part text[] := regexp_match(deployment_or_operation, '^([^#]{1,255})(?:#([0-9]{1,18}))?$');
BEGIN
	IF deployment_or_operation ~ '^flt_[0-9a-f]{12}$' THEN
		SELECT f.id, coalesce(f.last_deployment_id, '') INTO fleet_id, deployment_id FROM miosa.fleet_runs f
			WHERE f.id = deployment_or_operation AND miosa.sees_fleet(f.tenant_id, f.acts_for);
		IF FOUND THEN
			RETURN;
		END IF;
		IF NOT EXISTS (SELECT FROM miosa.deployments p WHERE p.id = deployment_or_operation OR p.slug = deployment_or_operation) THEN
			PERFORM miosa.raise_condition('DEPLOYMENT_NOT_FOUND', format('fleet "%s" does not exist', deployment_or_operation),
				'There is none of that id, or it belongs to another tenant.', 'See the fleets with TABLE miosa.fleets;');
		END IF;
	END IF;
	IF part IS NULL THEN
		PERFORM miosa.refuse_value('argument', 'deployment_or_operation', deployment_or_operation,
			'The value must name a deployment by id, host or slug, and for an operation "#" and its number.',
			'For example ''dep_1'', ''www.example.com'' or ''dep_1#42''.');
	END IF;
	deployment_id := miosa.find_deployment(part[1]);
	seq := part[2]::bigint;
	IF NOT EXISTS (SELECT FROM miosa.deployments p
		WHERE p.id = parse_operation.deployment_id AND (parse_operation.seq IS NULL OR p.seq >= parse_operation.seq)) THEN
		PERFORM miosa.raise_condition('DEPLOYMENT_NOT_FOUND', format('deployment or operation "%s" does not exist', deployment_or_operation),
			'There is none of that id, or it belongs to another tenant.',
			'See which there are with SELECT id, name, seq FROM miosa.deployments ORDER BY id;');
	END IF;
END $$;
COMMENT ON FUNCTION miosa.parse_operation(text) IS 'The deployment and number of an operation, or of a deployment with null; or a fleet, with the deployment that it changed last; raises INVALID_ARGUMENT, DEPLOYMENT_NOT_FOUND';

-- Compiling these queries takes a hundred times longer than running them, and
-- it would be done at every call: so no JIT.
CREATE FUNCTION @extschema@.miosa_convergence(deployment_or_operation text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'miosa_convergence';
COMMENT ON FUNCTION @extschema@.miosa_convergence(text) IS 'Which endpoints have acknowledged the present route of a deployment, by zone and endpoint, those that lag first';

-- Wait in C, which watches shared memory.
CREATE FUNCTION @extschema@.miosa_wait_converged(deployment_or_operation text, timeout interval DEFAULT '5 s') RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'miosa_wait_converged';
COMMENT ON FUNCTION @extschema@.miosa_wait_converged(text, interval) IS 'Waits until a deployment has converged or timeout has passed; returns the state';
-- Trim the log of route changes.  An endpoint whose position lies before the
-- trimmed part is resynchronized when it comes back, and so is one that is more
-- than 50,000 changes behind (replay.c).  So the trim stops at the positions of
-- enabled endpoints, and only up to a limit: an endpoint that is down for days
-- must not fill the disk.
CREATE FUNCTION miosa.trim_route_log("limit" integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	trimmed bigint := (SELECT t.trimmed_epoch FROM miosa.dispatcher_state t);
	-- Others commit after our transaction has begun.
	at CONSTANT timestamptz := clock_timestamp();
	upto bigint;
	number bigint;
BEGIN
	SELECT greatest(least(min(least(s.acked_epoch, s.settled_epoch)), t.last_epoch), t.last_epoch - 100000) INTO upto
		FROM miosa.dispatcher_state t
		LEFT JOIN (miosa.endpoints e JOIN miosa.endpoint_state s ON s.endpoint = e.name
			JOIN miosa.adapters a ON a.name = e.adapter AND a.role IN ('edge', 'hook') AND NOT a.alerts) ON e.enabled
		GROUP BY t.last_epoch;
	WITH gone AS (
		DELETE FROM miosa.route_log g
		WHERE g.epoch IN (
			-- Without a gap, so that nothing is left behind the epoch that
			-- the next call begins at; a time in the future does not count,
			-- unless the clock was just set back a little.
			SELECT p.epoch FROM (
				SELECT o.epoch, bool_and(o.created_at NOT BETWEEN at - '1 hour'::interval AND at + '1 min'::interval) OVER (ORDER BY o.epoch) AS old
				FROM (SELECT l.epoch, l.created_at FROM miosa.route_log l
					WHERE l.epoch > trimmed AND l.epoch <= upto ORDER BY l.epoch LIMIT "limit") o) p
			WHERE p.old)
		RETURNING g.epoch
	)
	SELECT count(*), max(gone.epoch) INTO number, upto FROM gone;
	UPDATE miosa.dispatcher_state t SET trimmed_epoch = upto WHERE upto > t.trimmed_epoch;
	RETURN number;
END $$;
COMMENT ON FUNCTION miosa.trim_route_log(integer) IS 'Deletes at most so many route changes that are older than an hour and that every enabled endpoint but schedulers has, or that are not among the newest 100,000; returns how many';

-- Routes as they are delivered to edges.  Its readers need not be able to read
-- the URIs in releases, so it has its owner's rights.
CREATE VIEW miosa.routes WITH (security_barrier) AS
	SELECT p.id AS deployment_id, p.tenant_id, v.id AS version_id,
		v.version_number, v.kind, r.id AS release_id, miosa.shown_uri(r.storage_uri) AS storage_uri, r.sha256,
		p.seq, p.route_seq, p.route_ttl, p.state
	FROM miosa.deployments p
	LEFT JOIN miosa.versions v
		ON v.deployment_id = p.id AND v.id = coalesce(p.serving_version_id, p.active_version_id)
	LEFT JOIN miosa.releases r
		ON r.deployment_id = p.id AND r.deployment_version_id = v.id
	WHERE miosa.sees_tenant(p.tenant_id);
COMMENT ON VIEW miosa.routes IS 'The present route of every deployment';
COMMENT ON COLUMN miosa.routes.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.routes.tenant_id IS 'Owner';
COMMENT ON COLUMN miosa.routes.version_id IS 'Version that serves; null before the first promotion';
COMMENT ON COLUMN miosa.routes.version_number IS 'Its number';
COMMENT ON COLUMN miosa.routes.kind IS 'Its kind';
COMMENT ON COLUMN miosa.routes.release_id IS 'Its release';
COMMENT ON COLUMN miosa.routes.storage_uri IS 'Where its artifact is; without its query for those who do not fetch artifacts';
COMMENT ON COLUMN miosa.routes.sha256 IS 'SHA-256 of its artifact';
COMMENT ON COLUMN miosa.routes.seq IS 'Newest operation';
COMMENT ON COLUMN miosa.routes.route_seq IS 'Newest route change';
COMMENT ON COLUMN miosa.routes.route_ttl IS 'How long edges may keep it by themselves';
COMMENT ON COLUMN miosa.routes.state IS 'State of the deployment';
-- Object storage: where artifacts are verified, and with which secret.

-- A prefix that names a bucket ends with a slash: "s3://shop" would be that
-- of "s3://shop-private/..." as well.
--
-- Completes a bucket's name with a slash and takes those off at the end of the
-- endpoint. Raises INVALID_ARGUMENT.
CREATE FUNCTION miosa.storages_check() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	hint CONSTANT text := 'SELECT miosa_put_secret(''s3'', ''KEYID:SECRET''); SELECT miosa_put_storage(''s3://'', ''https://s3.eu-central-1.amazonaws.com'', ''eu-central-1'', secret => ''s3'');';
	host text;
	problem text;
BEGIN
	NEW.prefix := regexp_replace(NEW.prefix, '^(s3://[^/]+)$', '\1/');
	NEW.endpoint := regexp_replace(NEW.endpoint, '/+$', '');
	IF coalesce(NEW.prefix, '') !~ '^s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.*)?$' THEN
		PERFORM miosa.refuse_value('column', 'prefix', NEW.prefix, NULL,
			'Name all of S3, ''s3://'', or a bucket, ''s3://bucket/'', or a part of it, ''s3://bucket/releases/''.');
	END IF;
	PERFORM miosa.check_url(NEW.endpoint);
	host := substring(NEW.endpoint FROM '^https?://([^/]*)');
	IF coalesce(NEW.region, '') !~ '^[a-z0-9-]{1,63}$' THEN
		PERFORM miosa.refuse_value('column', 'region', NEW.region, 'A region has 1 to 63 characters of a-z 0-9 -.', hint);
	ELSIF coalesce(NEW.addressing, '') NOT IN ('path', 'virtual') THEN
		PERFORM miosa.refuse_value('column', 'addressing', NEW.addressing, 'Valid values are "path" and "virtual".', hint);
	END IF;
	problem := CASE
		WHEN NEW.addressing = 'virtual' AND host ~ '^([0-9.]+|\[.*)(:|$)' THEN 'The bucket cannot be part of a host that is an address.'
		WHEN substr(NEW.endpoint, length(substring(NEW.endpoint FROM '^https?://[^/]*')) + 1) !~ '^[A-Za-z0-9._~/-]*$'
			THEN 'The path of the endpoint has characters that cannot be signed.'
	END;
	IF problem IS NOT NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid storage', problem, hint);
	END IF;
	IF TG_OP = 'UPDATE' THEN
		NEW.updated_at := now();
	END IF;
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.storages_check() IS 'Trigger: refuses a storage whose row is incomplete or contradicts itself';
CREATE TRIGGER storages_check BEFORE INSERT OR UPDATE ON miosa.storages
	FOR EACH ROW EXECUTE FUNCTION miosa.storages_check();

-- A storage that is added binds its secret like an endpoint.
CREATE FUNCTION miosa.storages_bind() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.bind_secret(NEW.secret, NULL, NEW.endpoint, NULL);
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.storages_bind() IS 'Trigger: binds a secret to the first storage that names it';
CREATE TRIGGER storages_bind AFTER INSERT OR UPDATE OF secret, endpoint ON miosa.storages
	FOR EACH ROW EXECUTE FUNCTION miosa.storages_bind();

-- Check the secret, and upsert the row.
CREATE FUNCTION @extschema@.miosa_put_storage(
	prefix text, endpoint text,
	region text DEFAULT 'us-east-1',
	addressing text DEFAULT 'path',
	secret text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	result jsonb;
BEGIN
	IF NOT EXISTS (SELECT FROM miosa.secrets s WHERE s.name = miosa_put_storage.secret
			AND miosa.read_secret(miosa.reveal(s.value)) ~ '^[^:]+:[^:]+(:[^:]+)?$')
		AND miosa_put_storage.secret IS NOT NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('secret "%s" cannot be used', miosa_put_storage.secret),
			coalesce((SELECT format('Secret "%s": %s.', s.name, miosa.secret_problem(miosa.reveal(s.value)))
					FROM miosa.secrets s WHERE s.name = miosa_put_storage.secret AND miosa.secret_problem(miosa.reveal(s.value)) IS NOT NULL),
				'A storage names a secret in miosa.secrets, of the form KEYID:SECRET or KEYID:SECRET:TOKEN.'),
			format('SELECT miosa_put_secret(%L, ''KEYID:SECRET'');', miosa_put_storage.secret));
	END IF;
	PERFORM miosa.check_secret_use(miosa_put_storage.secret, miosa_put_storage.endpoint, NULL)
		WHERE miosa_put_storage.secret IS NOT NULL;
	INSERT INTO miosa.storages AS s (prefix, endpoint, region, addressing, secret)
		VALUES (miosa_put_storage.prefix, miosa_put_storage.endpoint, miosa_put_storage.region,
			miosa_put_storage.addressing, miosa_put_storage.secret)
		ON CONFLICT (prefix) DO UPDATE SET endpoint = excluded.endpoint, region = excluded.region,
			addressing = excluded.addressing, secret = excluded.secret
		RETURNING to_jsonb(s) INTO result;
	RETURN jsonb_build_object('data', result);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_storage(text, text, text, text, text) IS 'Adds or changes a storage: the service where s3:// artifacts below a prefix are verified';

-- Delete a storage.
CREATE FUNCTION @extschema@.miosa_remove_storage(prefix text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	DELETE FROM miosa.storages s
		WHERE s.prefix IN (miosa_remove_storage.prefix, miosa_remove_storage.prefix || '/');
	IF NOT FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('storage "%s" does not exist', miosa_remove_storage.prefix),
			coalesce((SELECT 'Storages are: ' || string_agg(s.prefix, ', ' ORDER BY s.prefix) || '.' FROM miosa.storages s),
				'There is no storage.'),
			'See them with SELECT prefix, endpoint, region, addressing, secret FROM miosa.storages;');
	END IF;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_storage(text) IS 'Removes a storage; its artifacts are no longer verified, and their recorded state decides';

-- Ask storage from C.
CREATE FUNCTION @extschema@.miosa_test_storage(storage_uri text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_test_storage';
COMMENT ON FUNCTION @extschema@.miosa_test_storage(text) IS 'Asks storage for an artifact and for one that cannot exist, and returns whether its answers can be trusted';

-- Few at any time, so that doctors need not look through all releases.
CREATE INDEX releases_missing ON miosa.releases (deployment_id) WHERE missing_at IS NOT NULL;

-- Storage is asked about default targets again and again, so an old time of
-- missing_at belongs to a version that is no target any more.
CREATE FUNCTION miosa.missing_artifacts(OUT deployment_id text, OUT version_number integer)
RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT r.deployment_id, v.version_number
	FROM miosa.releases r
	JOIN miosa.versions v ON v.deployment_id = r.deployment_id AND v.id = r.deployment_version_id
	WHERE r.missing_at > now() - greatest('1 day'::interval,
			2 * current_setting('miosa_rollback.artifact_max_age', true)::interval)
		AND r.collected_at IS NULL AND v.state = 'ready';
END $$;
COMMENT ON FUNCTION miosa.missing_artifacts() IS 'Versions that could be rolled back to, had storage not lost their artifacts';

-- Verifying what a rollback would go to, before it is needed.  The dispatcher
-- does this all the time; here is the same for people and for pg_cron.

-- after: the last deployment that was looked at, in the order of ids; begin
-- with the empty text. next: where to go on; null when there are no more.
CREATE FUNCTION miosa.due_artifacts(after text, OUT next text, OUT deployment_ids text[], OUT release_ids text[])
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_due_artifacts';
COMMENT ON FUNCTION miosa.due_artifacts(text) IS 'Releases of rollback targets that were not verified within half of miosa_rollback.artifact_max_age, of the next deployments';

-- Null for a release that is not there or was collected.
CREATE FUNCTION miosa.verify_artifact(deployment_id text, release_id text) RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_verify_artifact';
COMMENT ON FUNCTION miosa.verify_artifact(text, text) IS 'Asks storage for the artifact of a release and records the answer: present, gone, unknown (nothing is recorded) or not asked (no storage is set up for it)';

-- Not with the owner's rights, because such a procedure could not commit.  It
-- begins anywhere: with more than it may do, what storage cannot say about
-- must not always come first.
CREATE PROCEDURE @extschema@.miosa_verify_artifacts("limit" integer DEFAULT 1000)
LANGUAGE plpgsql AS $$
DECLARE
	start pg_catalog.text;
	page pg_catalog.record;
	position pg_catalog.text;
	wrapped pg_catalog.bool := false;
	asked pg_catalog.int4 := 0;
BEGIN
	PERFORM miosa.require_primary();
	PERFORM miosa.check_limit("limit", 1000000);
	start := miosa.some_deployment();
	position := start;
	LOOP
		SELECT * INTO page FROM miosa.due_artifacts(position) d;
		FOR i IN 1 .. pg_catalog.cardinality(page.release_ids) LOOP
			EXIT WHEN asked OPERATOR(pg_catalog.>=) "limit";
			COMMIT;
			PERFORM miosa.verify_artifact(page.deployment_ids[i], page.release_ids[i]);
			asked := asked OPERATOR(pg_catalog.+) 1;
		END LOOP;
		COMMIT;
		EXIT WHEN asked OPERATOR(pg_catalog.>=) "limit"
			OR (wrapped AND (page.next IS NULL OR page.next COLLATE pg_catalog."C" OPERATOR(pg_catalog.>=) start));
		wrapped := wrapped OR page.next IS NULL;
		position := coalesce(page.next, '');
	END LOOP;
END $$;
COMMENT ON PROCEDURE @extschema@.miosa_verify_artifacts(integer) IS 'Verifies the artifacts of rollback targets that were not verified lately';

-- Choose a deployment at random by index.
CREATE FUNCTION miosa.some_deployment() RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN coalesce((
		SELECT p.id FROM miosa.deployments p TABLESAMPLE system ((
			SELECT 100.0 / greatest(c.relpages, 1) FROM pg_class c WHERE c.oid = 'miosa.deployments'::regclass))
		LIMIT 1), '');
END $$;
COMMENT ON FUNCTION miosa.some_deployment() IS 'Id of a randomly chosen deployment; empty when there is none';
-- Capacity: whether a dynamic version has the instances that it needs, and the
-- switch of routes when it has.

-- An instance without a heartbeat is not healthy.  But while the server was
-- down, or another one took over, no heartbeat could arrive: then all heartbeats
-- begin anew, with the server or with the term.
CREATE FUNCTION miosa.server_started() RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN pg_postmaster_start_time();
COMMENT ON FUNCTION miosa.server_started() IS 'When the server was started; tests replace it';

-- The oldest heartbeat that still counts.
CREATE FUNCTION miosa.heartbeat_horizon() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	timeout CONSTANT interval := miosa.setting('heartbeat_timeout');
	horizon CONSTANT timestamptz := clock_timestamp() - timeout;
BEGIN
	RETURN CASE WHEN timeout = '0' OR miosa.server_started() > horizon
			OR (SELECT s.term_since > horizon OR s.timeline <> i.timeline
				FROM miosa.dispatcher_state s CROSS JOIN miosa.identity() i)
		THEN '-infinity' ELSE horizon END;
END $$;
COMMENT ON FUNCTION miosa.heartbeat_horizon() IS 'Instances whose last heartbeat is older than this do not count as healthy (miosa_rollback.heartbeat_timeout)';

CREATE VIEW miosa.live_instances WITH (security_invoker) AS
	SELECT i.deployment_id, i.version_id, i.id, i.address, i.port FROM miosa.runtime_instances i
	WHERE i.state = 'healthy' AND coalesce(i.last_heartbeat_at, i.updated_at) > (SELECT miosa.heartbeat_horizon());
COMMENT ON VIEW miosa.live_instances IS 'Instances that serve: healthy, with a heartbeat after miosa.heartbeat_horizon()';
COMMENT ON COLUMN miosa.live_instances.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.live_instances.version_id IS 'Version that it runs';
COMMENT ON COLUMN miosa.live_instances.id IS 'Opaque id';
COMMENT ON COLUMN miosa.live_instances.address IS 'Address that routers reach it at';
COMMENT ON COLUMN miosa.live_instances.port IS 'Port that routers reach it at';

-- A heartbeat of the future would keep an instance alive for ever.
CREATE FUNCTION miosa.instances_clock() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	NEW.last_heartbeat_at := least(NEW.last_heartbeat_at, clock_timestamp());
	NEW.updated_at := least(NEW.updated_at, clock_timestamp());
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.instances_clock() IS 'Trigger: limits last_heartbeat_at and updated_at of an instance to the present';

CREATE TRIGGER instances_clock BEFORE INSERT OR UPDATE ON miosa.runtime_instances
	FOR EACH ROW WHEN (NEW.last_heartbeat_at > clock_timestamp() OR NEW.updated_at > clock_timestamp())
	EXECUTE FUNCTION miosa.instances_clock();

-- How many instances a version had at a time is counted from these columns, so
-- that reports which come at once need not wait for each other.  A restore brings
-- its own.
CREATE FUNCTION miosa.instances_healthy() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NEW.state = 'healthy' THEN
		NEW.healthy_at := coalesce(NEW.healthy_at, NEW.updated_at);
		NEW.healthy_until := NULL;
	ELSE
		NEW.healthy_until := NEW.updated_at;
	END IF;
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.instances_healthy() IS 'Trigger: notes when an instance became healthy, and when it ceased to be';

CREATE TRIGGER instances_healthy_insert BEFORE INSERT ON miosa.runtime_instances
	FOR EACH ROW WHEN (NEW.state = 'healthy' AND NEW.healthy_at IS NULL)
	EXECUTE FUNCTION miosa.instances_healthy();
CREATE TRIGGER instances_healthy_update BEFORE UPDATE ON miosa.runtime_instances
	FOR EACH ROW WHEN ((NEW.state = 'healthy') <> (OLD.state = 'healthy'))
	EXECUTE FUNCTION miosa.instances_healthy();

-- The states in which an instance has ended.
CREATE FUNCTION miosa.has_ended(state text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN state IN ('stopped', 'failed', 'error', 'destroyed');
COMMENT ON FUNCTION miosa.has_ended(text) IS 'Whether an instance in this state has ended';

-- Switch routes to the active version when its healthy instances are enough,
-- or when it has waited for miosa_rollback.cutover_deadline and has one; set
-- the state running when the capacity is there, and ask schedulers no longer.
-- True when routes switched. The caller holds the lock of the deployment's
-- row.
CREATE FUNCTION miosa.complete_capacity(deployment_id text) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_complete_capacity';
COMMENT ON FUNCTION miosa.complete_capacity(text) IS 'Switches routes to the active version when its healthy instances are enough, or it has one and has waited for miosa_rollback.cutover_deadline; true when routes switched';

-- The end of cutover_deadline.
CREATE FUNCTION miosa.cutover_due(since timestamptz) RETURNS timestamptz
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_cutover_due';
COMMENT ON FUNCTION miosa.cutover_due(timestamptz) IS 'When one healthy instance is enough for an active version that waits since then (miosa_rollback.cutover_deadline)';

-- What schedulers are asked for.
--
-- Only an operation asks for instances: that some are missing later is for
-- the scheduler to see, which may have reasons that we do not know.

-- Look for a scheduler whose selector matches the deployment.
CREATE FUNCTION miosa.has_scheduler(deployment_id text, or_had boolean) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
	RETURN EXISTS (SELECT FROM miosa.deployments p
		JOIN miosa.endpoints e ON miosa.selects(e.selector, p.id, p.tenant_id, p.kind)
		JOIN miosa.adapters a ON a.name = e.adapter AND a.role = 'scheduler'
		WHERE p.id = $1 AND (e.enabled OR or_had));
END $$;
COMMENT ON FUNCTION miosa.has_scheduler(text, boolean) IS 'Whether there is a scheduler that is asked for instances of a deployment; or_had: one that is disabled counts as well';

-- The caller holds the lock of the deployment's row and queues work of the
-- kind capacity.
CREATE FUNCTION miosa.want_capacity(deployment_id text, version_id text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	INSERT INTO miosa.capacity AS c (deployment_id, version_id, state) VALUES ($1, $2, 'wanted')
		ON CONFLICT ON CONSTRAINT capacity_pkey DO UPDATE SET state = 'wanted', asked_at = NULL,
			since = CASE c.state WHEN 'wanted' THEN c.since ELSE EXCLUDED.since END,
			last_error = CASE c.state WHEN 'wanted' THEN c.last_error END,
			last_error_at = CASE c.state WHEN 'wanted' THEN c.last_error_at END;
END $$;
COMMENT ON FUNCTION miosa.want_capacity(text, text) IS 'Requests instances of a version from schedulers';

-- Given are the values before the change. The caller holds the lock of the
-- deployment's row.
CREATE FUNCTION miosa.revise_capacity(deployment_id text, old_replicas integer, was_stopped boolean) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_revise_capacity';
COMMENT ON FUNCTION miosa.revise_capacity(text, integer, boolean) IS 'After a change of desired_replicas or state: requests missing instances from schedulers, or withdraws requests, and switches routes when enough instances are healthy';

-- The pass.

-- Settle the capacity of a deployment under the lock of its row.  Returns the
-- number of changes; null, having done nothing, when the row is locked.
CREATE FUNCTION miosa.settle_capacity(deployment_id text) RETURNS integer
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_settle_capacity';
COMMENT ON FUNCTION miosa.settle_capacity(text) IS 'Switches routes, withdraws requests for instances that are running, and drains versions that are not needed, as is due for a deployment';

-- The end of drain_delay; a negative delay has none.
CREATE FUNCTION miosa.drain_due(since timestamptz) RETURNS timestamptz
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_drain_due';
COMMENT ON FUNCTION miosa.drain_due(timestamptz) IS 'When a version that is idle since then is drained (miosa_rollback.drain_delay); infinity if the delay is negative';

-- The caller holds the lock of the deployment's row, and the version has a row in
-- miosa.capacity.
CREATE FUNCTION miosa.begin_drain(deployment_id text, version_id text) RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_begin_drain';
COMMENT ON FUNCTION miosa.begin_drain(text, text) IS 'Asks schedulers to stop all instances of a version; false when one of these is locked';

-- Deployments are looked at as one range of ids; only the few in which
-- something may be due are locked, and what is due is decided under the lock.
-- The locks of all that is changed are held until the caller commits, so a page
-- ends early rather than hold them long.
--
-- Switches routes whose instances are there or whose
-- miosa_rollback.cutover_deadline has passed, notes idle versions, drains
-- those that are idle for miosa_rollback.drain_delay. Waits for no lock and
-- ends early when there is much to do. next: where the next page begins, null
-- after the last one; changed: how much was done; next_due: when the first
-- deployment of the page has something to do again, null for never. Raises
-- INVALID_ARGUMENT, NOT_PRIMARY.
CREATE FUNCTION miosa.capacity_pass(after text, "limit" integer, OUT next text, OUT changed integer,
	OUT next_due timestamptz)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_variable
DECLARE
	enough CONSTANT interval := '50 ms';
	started CONSTANT timestamptz := clock_timestamp();
	horizon CONSTANT timestamptz := miosa.heartbeat_horizon();
	last text;
	due text;
	more integer;
	busy boolean := false;
BEGIN
	PERFORM miosa.require_primary();
	PERFORM miosa.check_limit("limit", 100000);
	after := coalesce(after, '');
	changed := 0;
	SELECT p.id INTO next FROM miosa.deployments p WHERE p.id > after ORDER BY p.id OFFSET "limit" - 1 LIMIT 1;
	last := coalesce(next, (SELECT max(p.id) FROM miosa.deployments p));
	FOR due IN
		-- Waiting for instances.
		SELECT p.id FROM miosa.deployments p
			WHERE p.id > after AND p.id <= last AND (p.serving_version_id IS NOT NULL OR p.state = 'pending')
				AND p.state <> 'stopped' AND EXISTS (SELECT FROM miosa.versions v
					WHERE v.deployment_id = p.id AND v.id = p.active_version_id AND v.kind <> 'static')
		UNION
		SELECT c.deployment_id FROM miosa.capacity c
			WHERE c.deployment_id > after AND c.deployment_id <= last AND c.state <> 'drained'
				AND (c.state <> 'idle' OR miosa.drain_due(c.since) <= started)
		UNION
		-- Instances of versions that are not kept (capacity.c).
		SELECT i.deployment_id FROM miosa.runtime_instances i
			JOIN miosa.deployments p ON p.id = i.deployment_id
			WHERE i.deployment_id > after AND i.deployment_id <= last AND p.id > after AND p.id <= last
				AND i.version_id <> p.active_version_id AND i.version_id <> ALL (p.recent_served[1:2])
				AND p.serving_version_id IS NULL AND p.state NOT IN ('stopped', 'pending')
				AND i.state <> 'stopping' AND NOT miosa.has_ended(i.state)
				AND coalesce(i.last_heartbeat_at, i.updated_at) > horizon
				AND NOT EXISTS (SELECT FROM miosa.versions v
					WHERE v.deployment_id = p.id AND v.id = p.active_version_id AND v.promoted_over = i.version_id)
				AND NOT EXISTS (SELECT FROM miosa.capacity c
					WHERE c.deployment_id = i.deployment_id AND c.version_id = i.version_id AND c.state <> 'drained')
		ORDER BY 1
	LOOP
		more := miosa.settle_capacity(due);
		busy := busy OR more IS NULL;
		changed := changed + coalesce(more, 0);
		IF clock_timestamp() > started + enough THEN
			next := due;
			last := due;
			EXIT;
		END IF;
	END LOOP;
	SELECT min(d.at) INTO next_due
		FROM (SELECT miosa.cutover_due(p.waiting_since) AS at FROM miosa.deployments p
				WHERE p.id > after AND p.id <= last AND p.serving_version_id IS NOT NULL AND p.state <> 'stopped'
			UNION ALL
			SELECT miosa.drain_due(c.since) FROM miosa.capacity c
				WHERE c.deployment_id > after AND c.deployment_id <= last AND c.state = 'idle'
			UNION ALL
			SELECT clock_timestamp() + '1 s'::interval WHERE busy) d
		WHERE d.at > started AND d.at < 'infinity';
END $$;
COMMENT ON FUNCTION miosa.capacity_pass(text, integer) IS 'Settles the capacity of a page of deployments for which something is due: those with ids above after (empty: from the start), at most limit';

-- Status polls.

-- Locks the deployment's row only when that changes something, and does not
-- wait for it. False when nothing was done: the row is locked, the version is
-- unknown or runs in no instances, or the number is not from 0 to 100000.
-- Raises NOT_PRIMARY.
CREATE FUNCTION miosa.take_poll(deployment_id text, version_id text, endpoint text, healthy integer) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_take_poll';
COMMENT ON FUNCTION miosa.take_poll(text, text, text, integer) IS 'Records the number of healthy instances of a version that a status poll of a scheduler endpoint found; with the instances that are reported otherwise, as many count as healthy from now on';
-- Schedulers: what the dispatcher asks them for, and what they answered.

-- What polls count is looked up for all versions at once.
CREATE INDEX runtime_instances_polled ON miosa.runtime_instances (deployment_id, version_id) WHERE reported_by IS NOT NULL;

-- Polls are also the heartbeat of instances that were requested long ago: those
-- of a version that serves or is to serve, even when a poll has found none.
--
-- state: wanted, draining or null, when it is only polled; count: how many
-- instances it is to have; instances: which of them to start, or to stop,
-- where the adapter sends one request for each; unknown: how many more are
-- missing;
-- asked: whether a scheduler took the request since an operation last asked
-- for it; watchers: endpoints whose polls are its heartbeat; workload: its
-- name where it runs, the version's metadata "workload", else made of the
-- deployment's slug and its number.
CREATE FUNCTION miosa.capacity_requests(
	ids text[],
	OUT deployment_id text, OUT tenant_id text, OUT deployment_kind text,
	OUT version_id text, OUT version_number integer, OUT kind text,
	OUT release_id text, OUT storage_uri text, OUT sha256 text, OUT operation_id text, OUT workload text,
	OUT state text, OUT count integer, OUT missing integer, OUT unknown integer, OUT since timestamptz, OUT asked boolean,
	OUT instances text[], OUT watchers text[])
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	WITH asked AS MATERIALIZED (
		SELECT DISTINCT unnest($1) AS id
	), wanted AS MATERIALIZED (
		SELECT c.deployment_id, c.version_id, c.state, c.since, c.asked_at IS NOT NULL AS asked
		FROM miosa.capacity c WHERE $1 IS NULL AND c.state IN ('wanted', 'draining')
		UNION ALL
		SELECT c.deployment_id, c.version_id, c.state, c.since, c.asked_at IS NOT NULL
		FROM asked a CROSS JOIN LATERAL (
			SELECT * FROM miosa.capacity c WHERE c.deployment_id = a.id AND c.state IN ('wanted', 'draining') OFFSET 0) c
	), polled AS MATERIALIZED (
		SELECT i.deployment_id, i.version_id, i.reported_by, i.state
		FROM miosa.runtime_instances i WHERE $1 IS NULL AND i.reported_by IS NOT NULL
		UNION ALL
		SELECT i.deployment_id, i.version_id, i.reported_by, i.state
		FROM asked a CROSS JOIN LATERAL (
			SELECT * FROM miosa.runtime_instances i WHERE i.deployment_id = a.id AND i.reported_by IS NOT NULL OFFSET 0) i
	), watched AS MATERIALIZED (
		SELECT i.deployment_id, i.version_id, array_agg(DISTINCT i.reported_by) AS watchers
		FROM polled i CROSS JOIN LATERAL (SELECT * FROM miosa.deployments p WHERE p.id = i.deployment_id OFFSET 0) p
		WHERE NOT miosa.has_ended(i.state) OR i.version_id IN (p.active_version_id, p.serving_version_id)
		GROUP BY i.deployment_id, i.version_id
	)
	-- Looked up one by one, so that one deployment among many costs no more.
	SELECT p.id, p.tenant_id, p.kind, v.id, v.version_number, v.kind, r.id, r.storage_uri, r.sha256,
		p.id || '#' || p.seq::text, coalesce(v.metadata ->> 'workload', p.slug || '-v' || v.version_number::text),
		w.state, n.count, n.missing, greatest(0, n.missing - cardinality(l.instances)),
		w.since, coalesce(w.asked, false), l.instances, t.watchers
	FROM wanted w
	FULL JOIN watched t ON t.deployment_id = w.deployment_id AND t.version_id = w.version_id
	CROSS JOIN LATERAL (
		SELECT * FROM miosa.deployments p WHERE p.id = coalesce(w.deployment_id, t.deployment_id) OFFSET 0) p
	CROSS JOIN LATERAL (
		SELECT * FROM miosa.versions v
		WHERE v.deployment_id = p.id AND v.id = coalesce(w.version_id, t.version_id) OFFSET 0) v
	LEFT JOIN LATERAL (
		SELECT * FROM miosa.releases r
		WHERE r.deployment_id = v.deployment_id AND r.deployment_version_id = v.id OFFSET 0) r ON true
	CROSS JOIN LATERAL (
		SELECT CASE w.state WHEN 'wanted' THEN p.desired_replicas ELSE 0 END AS count,
			CASE w.state WHEN 'wanted' THEN greatest(0, p.desired_replicas - (
				SELECT count(*)::integer FROM miosa.live_instances i
				WHERE i.deployment_id = p.id AND i.version_id = v.id)) ELSE 0 END AS missing) n
	CROSS JOIN LATERAL (
		SELECT CASE w.state
			WHEN 'wanted' THEN ARRAY(
				SELECT i.id FROM miosa.runtime_instances i
				WHERE i.deployment_id = p.id AND i.version_id = v.id AND i.reported_by IS NULL AND i.state <> 'destroyed'
					-- What is stopping can be started once it has stopped.
					AND (i.state <> 'stopping' OR coalesce(i.last_heartbeat_at, i.updated_at) <= miosa.heartbeat_horizon())
					AND NOT EXISTS (SELECT FROM miosa.live_instances o WHERE o.deployment_id = p.id AND o.id = i.id)
				-- More than are missing: for each that is gone another one starts.
				ORDER BY i.id LIMIT CASE WHEN n.missing > 0 THEN n.missing + 1000 ELSE 0 END)
			WHEN 'draining' THEN ARRAY(
				SELECT i.id FROM miosa.runtime_instances i
				WHERE i.deployment_id = p.id AND i.version_id = v.id AND i.reported_by IS NULL AND i.state = 'stopping'
				ORDER BY i.id)
			ELSE '{}' END AS instances) l
	WHERE p.state <> 'stopped' OR w.state IS DISTINCT FROM 'wanted'
$$;
COMMENT ON FUNCTION miosa.capacity_requests(text[]) IS 'Requests to schedulers and polls that are due, one row for each version of the deployments named; null: of all';

-- Waits for no lock; returns the versions whose rows were locked.
CREATE FUNCTION miosa.note_asked(
	deployment_ids text[], version_ids text[], states text[], errors text[], at timestamptz[],
	OUT deployment_id text, OUT version_id text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	WITH given AS (
		SELECT g.deployment_id, g.version_id, g.state, max(g.at) FILTER (WHERE g.error IS NULL) AS taken_at,
			max(g.at) FILTER (WHERE g.error IS NOT NULL) AS failed_at,
			(array_agg(g.error ORDER BY g.at DESC) FILTER (WHERE g.error IS NOT NULL))[1] AS error
		FROM unnest($1, $2, $3, $4, $5) g (deployment_id, version_id, state, error, at)
		GROUP BY g.deployment_id, g.version_id, g.state
	), free AS (
		SELECT c.deployment_id, c.version_id, c.state
		FROM given g JOIN miosa.capacity c
			ON c.deployment_id = g.deployment_id AND c.version_id = g.version_id AND c.state = g.state
		FOR NO KEY UPDATE OF c SKIP LOCKED
	), noted AS (
		UPDATE miosa.capacity c SET asked_at = coalesce(g.taken_at, c.asked_at),
				stop_asked = c.stop_asked AND (c.state <> 'wanted' OR g.taken_at IS NULL),
				last_error = coalesce(g.error, c.last_error), last_error_at = coalesce(g.failed_at, c.last_error_at)
			FROM given g JOIN free f ON f.deployment_id = g.deployment_id AND f.version_id = g.version_id AND f.state = g.state
			WHERE c.deployment_id = g.deployment_id AND c.version_id = g.version_id AND c.state = g.state
	)
	SELECT g.deployment_id, g.version_id
		FROM given g JOIN miosa.capacity c
			ON c.deployment_id = g.deployment_id AND c.version_id = g.version_id AND c.state = g.state
		WHERE NOT EXISTS (SELECT FROM free f
			WHERE f.deployment_id = g.deployment_id AND f.version_id = g.version_id AND f.state = g.state)
$$;
COMMENT ON FUNCTION miosa.note_asked(text[], text[], text[], text[], timestamptz[]) IS 'Records in miosa.capacity which requests schedulers have accepted (error null), and why they did not accept others, while the versions are still in those states';
-- The adapters that are shipped: rows like those that users add.  What
-- distinguishes services of one kind (a map, a zone, a distribution) is in
-- the endpoint's URL.  Akamai is missing: it has a way of signing of its own.

-- Routers receive the new route.

INSERT INTO miosa.adapters (name, description, per, request, remove, wildcard_request, wildcard_remove, volatile, marker_write, marker_read, builtin) VALUES
	('haproxy-map', 'HAProxy with a map from host to deployment/version, written over HTTP (http-request set-map)', 'host',
		'{"method": "PUT", "path": "/map/{host}", "headers": {"Authorization": "Bearer {secret}", "x-deployment": "{deployment_id}", "x-version": "{version_id}"}}',
		'{"method": "DELETE", "path": "/map/{host}", "headers": {"Authorization": "Bearer {secret}"}}',
		'{"method": "PUT", "path": "/wildcard/{domain}", "headers": {"Authorization": "Bearer {secret}", "x-deployment": "{deployment_id}", "x-version": "{version_id}"}}',
		'{"method": "DELETE", "path": "/wildcard/{domain}", "headers": {"Authorization": "Bearer {secret}"}}',
		true,
		'{"method": "PUT", "path": "/map/_epoch.{origin}", "headers": {"Authorization": "Bearer {secret}", "x-version": "{epoch}"}}',
		'{"method": "GET", "path": "/map/_epoch.{origin}", "headers": {"Authorization": "Bearer {secret}"}}', true);

INSERT INTO miosa.adapters (name, description, per, signer, request, add, remove, builtin) VALUES
	('haproxy-dataplane', 'HAProxy Data Plane API 3, a map from host to deployment/version, without wildcard hosts; URL: .../v3/services/haproxy/runtime/maps/MAP; secret: USER:PASSWORD', 'host', 'header',
		'{"method": "PUT", "path": "/entries/{host}?force_sync=true", "headers": {"Authorization": "Basic {secret|base64}", "Content-Type": "application/json"}, "body": {"value": "{deployment_id}/{version_id}"}}',
		'{"method": "POST", "path": "/entries?force_sync=true", "headers": {"Authorization": "Basic {secret|base64}", "Content-Type": "application/json"}, "body": {"key": "{host}", "value": "{deployment_id}/{version_id}"}}',
		'{"method": "DELETE", "path": "/entries/{host}?force_sync=true", "headers": {"Authorization": "Basic {secret|base64}"}}', true),
	('nginx-plus-keyval', 'NGINX Plus, a key-value zone from host to deployment/version, with a state file, without wildcard hosts; URL: .../api/9/http/keyvals/ZONE; secret, if any: USER:PASSWORD', 'host', 'none',
		'{"method": "PATCH", "path": "", "headers": {"Authorization": "Basic {secret|base64}", "Content-Type": "application/json"}, "body": {"{host}": "{deployment_id}/{version_id}"}}',
		'{"method": "POST", "path": "", "headers": {"Authorization": "Basic {secret|base64}", "Content-Type": "application/json"}, "body": {"{host}": "{deployment_id}/{version_id}"}}',
		'{"method": "PATCH", "path": "", "headers": {"Authorization": "Basic {secret|base64}", "Content-Type": "application/json"}, "body": {"{host}": null}}', true);

-- An id of ours always begins with "miosa:", so that no deployment is called
-- like another object of the configuration.  A body is a text where a value
-- must stand without quotes: a list, or null for what serves nothing.  All
-- routes that match set the variables one after the other, so one that matches
-- by a wildcard host leaves alone what is set already.
INSERT INTO miosa.adapters (name, description, max_in_flight, request, add, volatile, marker_write, marker_read, builtin) VALUES
	('caddy', 'Caddy by its admin API: sets the variables miosa_deployment and miosa_version for the hosts', 1,
		'{"method": "PATCH", "path": "/id/miosa:{deployment_id}", "headers": {"Content-Type": "application/json"}, "body": "{\"@id\":\"miosa:{deployment_id}\",\"match\":[{\"host\":{plain_hosts}},{\"host\":{wildcard_hosts},\"vars\":{\"miosa_deployment\":[\"\",\"<nil>\"]}}],\"handle\":[{\"handler\":\"vars\",\"miosa_deployment\":{deployment_id},\"miosa_version\":{version_id}}]}"}',
		'{"method": "POST", "path": "/id/miosa/routes", "headers": {"Content-Type": "application/json"}, "body": "{\"@id\":\"miosa:{deployment_id}\",\"match\":[{\"host\":{plain_hosts}},{\"host\":{wildcard_hosts},\"vars\":{\"miosa_deployment\":[\"\",\"<nil>\"]}}],\"handle\":[{\"handler\":\"vars\",\"miosa_deployment\":{deployment_id},\"miosa_version\":{version_id}}]}"}',
		true,
		'{"method": "PATCH", "path": "/id/miosa_epoch", "headers": {"Content-Type": "application/json"}, "body": {"@id": "miosa_epoch", "handler": "vars", "epoch": "{epoch}"}}',
		'{"method": "GET", "path": "/id/miosa_epoch/epoch"}', true);

INSERT INTO miosa.adapters (name, description, verdicts, signer, request, builtin) VALUES
	('webhook', 'An HTTP service that takes the route as JSON by POST and answers 2xx (Standard Webhooks 1.0); secret, if any: whsec_ and base64',
		'{"410": "gone"}', 'standard-webhooks',
		'{"method": "POST", "path": "", "headers": {"Content-Type": "application/json"}, "body": "{\"type\":\"route.changed\",\"timestamp\":{changed_at},\"data\":{\"id\":{message_id},\"epoch\":{epoch},\"operation_id\":{operation_id},\"deployment_id\":{deployment_id},\"tenant_id\":{tenant_id},\"version_id\":{version_id},\"version_number\":{version_number},\"release_id\":{release_id},\"storage_uri\":{storage_uri},\"sha256\":{sha256},\"hosts\":{hosts},\"removed_hosts\":{removed_hosts}}}"}', true);

-- Many routes in one request, for a service that has thousands of deployments.
INSERT INTO miosa.adapters (name, description, batch_max, verdicts, signer, request, builtin) VALUES
	('webhook-batch', 'An HTTP service that takes up to 100 routes at a time as JSON by POST and answers 2xx when it has all of them (Standard Webhooks 1.0); secret, if any: whsec_ and base64', 100,
		'{"410": "gone"}', 'standard-webhooks',
		'{"method": "POST", "path": "", "headers": {"Content-Type": "application/json"}, "body": "{\"type\":\"routes.changed\",\"timestamp\":{changed_at},\"data\":{\"id\":{message_id},\"epoch\":{epoch},\"routes\":{routes}}}"}', true);

-- Caches receive purges.

INSERT INTO miosa.adapters (name, description, stage, per, self_expires, settle, success, request, remove, wildcard_request, wildcard_remove, builtin) VALUES
	('varnish-xkey', 'Varnish with vmod xkey: purges every object that is tagged with the deployment', 1, 'deployment', true, '2 s', NULL,
		'{"method": "PURGE", "path": "/", "headers": {"xkey-purge": "{deployment_id}"}}', NULL, NULL, NULL, true),
	('varnish-purge', 'Varnish with return (purge): purges the page / of each host, and no other; for sites of one page, without wildcard hosts', 1, 'host', true, '2 s', NULL,
		'{"method": "PURGE", "path": "/", "headers": {"Host": "{host}"}}',
		'{"method": "PURGE", "path": "/", "headers": {"Host": "{host}"}}', NULL, NULL, true),
	('varnish-ban', 'Varnish with std.ban on a header that holds the host: bans everything of each host', 1, 'host', true, '2 s', NULL,
		'{"method": "BAN", "path": "/", "headers": {"x-ban-host": "{host}"}}',
		'{"method": "BAN", "path": "/", "headers": {"x-ban-host": "{host}"}}',
		'{"method": "BAN", "path": "/", "headers": {"x-ban-domain": "{domain}"}}',
		'{"method": "BAN", "path": "/", "headers": {"x-ban-domain": "{domain}"}}', true),
	('nginx-cache-purge', 'nginx with ngx_cache_purge in a location of its own: purges the page / of each host, and no other; for sites of one page, without wildcard hosts', 1, 'host', true, '2 s', '{200,404}',
		'{"method": "GET", "path": "/_purge/{host}/"}',
		'{"method": "GET", "path": "/_purge/{host}/"}', NULL, NULL, true);

-- CDNs know what they hold by tags, one of which is the deployment's id.

INSERT INTO miosa.adapters (name, description, stage, self_expires, settle, timeout, batch_max, rate, burst, success_json_path, signer, request, builtin) VALUES
	('fastly', 'Fastly, by surrogate keys; URL: https://api.fastly.com/service/SERVICE; secret: the API token', 1, true, '2 s', '10 s', 256, NULL, 1, NULL, 'header',
		'{"method": "POST", "path": "/purge", "headers": {"Fastly-Key": "{secret}", "Content-Type": "application/json", "Accept": "application/json"}, "body": "{\"surrogate_keys\":{deployment_ids}}"}', true),
	('cloudflare', 'Cloudflare, by cache tags; URL: https://api.cloudflare.com/client/v4/zones/ZONE; secret: the API token. On the free plan use a copy with rate 0.08', 1, true, '2 s', '10 s', 100, 5, 5, '$.success == true', 'header',
		'{"method": "POST", "path": "/purge_cache", "headers": {"Authorization": "Bearer {secret}", "Content-Type": "application/json"}, "body": "{\"tags\":{deployment_ids}}"}', true),
	('bunny', 'bunny.net, by cache tags; URL: https://api.bunny.net/pullzone/ZONE; secret: the access key', 1, true, '2 s', '10 s', 1, NULL, 1, NULL, 'header',
		'{"method": "POST", "path": "/purgeCache", "headers": {"AccessKey": "{secret}", "Content-Type": "application/json"}, "body": {"CacheTag": "{deployment_id}"}}', true);

-- CloudFront has no tags, so everything is forgotten; too many invalidations
-- at a time are answered 400, which is no fault of the message.
INSERT INTO miosa.adapters (name, description, stage, self_expires, timeout, max_in_flight, batch_max, success, verdicts, signer, signer_options, request, marker_read, builtin) VALUES
	('cloudfront', 'Amazon CloudFront: invalidates everything of the distribution; URL: https://cloudfront.amazonaws.com/2020-05-31/distribution/ID; secret: KEYID:SECRET or KEYID:SECRET:TOKEN', 1, true, '10 s', 1, 100,
		'{201}', '{"400": "endpoint"}', 'sigv4', '{"service": "cloudfront", "region": "us-east-1"}',
		'{"method": "POST", "path": "/invalidation", "headers": {"Content-Type": "text/xml"}, "body": "<?xml version=\"1.0\" encoding=\"UTF-8\"?><InvalidationBatch xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Paths><Quantity>1</Quantity><Items><Path>/*</Path></Items></Paths><CallerReference>{message_id}</CallerReference></InvalidationBatch>"}',
		'{"method": "GET", "path": "/invalidation"}', true);

-- Schedulers receive the number of instances that a version is to have.  A
-- version runs as a workload of its own, whose name is {workload}.

INSERT INTO miosa.adapters (name, description, role, timeout, signer, signer_options, success, charsets, request, poll, healthy_json_path, poll_valid, builtin) VALUES
	('kubernetes-scale', 'Kubernetes, a Deployment for each version; URL: https://HOST/apis/apps/v1/namespaces/NAMESPACE; secret: a token that may patch deployments/scale and get deployments', 'scheduler', '10 s', 'header', '{}', '{200}', '{"workload": "a-z0-9.-"}',
		'{"method": "PATCH", "path": "/deployments/{workload}/scale", "headers": {"Authorization": "Bearer {secret}", "Content-Type": "application/merge-patch+json", "Accept": "application/json"}, "body": "{\"spec\":{\"replicas\":{count}}}"}',
		'{"method": "GET", "path": "/deployments/{workload}", "headers": {"Authorization": "Bearer {secret}", "Accept": "application/json"}}',
		'$.status.readyReplicas', '$.kind == "Deployment"', true),
	('nomad-scale', 'Nomad, a job for each version, with one group that is called like the job; URL: https://HOST/v1; secret, if any: a token that may scale and read jobs', 'scheduler', '10 s', 'none', '{}', '{200}', '{}',
		'{"method": "POST", "path": "/job/{workload}/scale", "headers": {"X-Nomad-Token": "{secret}", "Content-Type": "application/json"}, "body": "{\"Count\":{count},\"Target\":{\"Group\":{workload}},\"Message\":\"miosa_rollback {operation_id}\",\"Meta\":{\"miosa_request\":{message_id}}}"}',
		'{"method": "GET", "path": "/job/{workload}/scale", "headers": {"X-Nomad-Token": "{secret}"}}',
		'$.TaskGroups.*.Healthy', '$.JobID.type() == "string"', true),
	('ecs-service', 'Amazon ECS, a service for each version in the cluster "default" of us-east-1 (for others use a copy); URL: https://ecs.us-east-1.amazonaws.com; secret: KEYID:SECRET or KEYID:SECRET:TOKEN', 'scheduler', '10 s', 'sigv4', '{"service": "ecs", "region": "us-east-1"}', '{200}', '{"workload": "A-Za-z0-9_-"}',
		'{"method": "POST", "path": "/", "headers": {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.UpdateService"}, "body": "{\"cluster\":\"default\",\"service\":{workload},\"desiredCount\":{count}}"}',
		'{"method": "POST", "path": "/", "headers": {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.DescribeServices"}, "body": "{\"cluster\":\"default\",\"services\":[{workload}]}"}',
		'$.services[0].runningCount', '$.services.size() == 1', true);

-- Its machines are made by others and are there while they are stopped; so it
-- is asked for each by itself, and they are reported with the machine's id.
INSERT INTO miosa.adapters (name, description, role, per, timeout, rate, burst, success, signer, request, remove, builtin) VALUES
	('fly-machines', 'Fly Machines, which are reported as instances by their ids; URL: https://api.machines.dev/v1/apps/APP; secret: the API token', 'scheduler', 'instance', '10 s', 1, 3, '{200}', 'header',
		'{"method": "POST", "path": "/machines/{instance_id}/start", "headers": {"Authorization": "Bearer {secret}"}}',
		'{"method": "POST", "path": "/machines/{instance_id}/stop", "headers": {"Authorization": "Bearer {secret}", "Content-Type": "application/json"}, "body": {}}', true);

INSERT INTO miosa.adapters (name, description, role, verdicts, signer, request, builtin) VALUES
	('webhook-scheduler', 'An HTTP service that takes the number of wanted instances as JSON by POST, answers 2xx and reports them with miosa_report_instance (Standard Webhooks 1.0); secret, if any: whsec_ and base64', 'scheduler',
		'{"410": "gone"}', 'standard-webhooks',
		'{"method": "POST", "path": "", "headers": {"Content-Type": "application/json"}, "body": "{\"type\":\"capacity.wanted\",\"timestamp\":{changed_at},\"data\":{\"id\":{message_id},\"operation_id\":{operation_id},\"deployment_id\":{deployment_id},\"tenant_id\":{tenant_id},\"version_id\":{version_id},\"version_number\":{version_number},\"release_id\":{release_id},\"storage_uri\":{storage_uri},\"sha256\":{sha256},\"workload\":{workload},\"count\":{count}}}"}', true);

-- Hooks receive alerts that have done nothing.

INSERT INTO miosa.adapters (name, description, role, alerts, max_in_flight, signer, request, builtin) VALUES
	('alert-webhook', 'An HTTP service that receives alerts that roll nothing back: takes them as JSON by POST and answers 2xx (Standard Webhooks 1.0); secret, if any: whsec_ and base64', 'hook', true, 1, 'standard-webhooks',
		'{"method": "POST", "path": "", "headers": {"Content-Type": "application/json"}, "body": "{\"type\":\"alert.raised\",\"timestamp\":{changed_at},\"data\":{\"id\":{message_id},\"number\":{epoch},\"alert\":{alert}}}"}', true);

-- Auditors receive heads of the audit trail.

INSERT INTO miosa.adapters (name, description, role, max_in_flight, signer, request, builtin) VALUES
	('audit-webhook', 'An HTTP service that keeps heads of the audit trail: takes statements as JSON by POST and answers 2xx (Standard Webhooks 1.0); secret: whsec_ and base64', 'audit', 1, 'standard-webhooks',
		'{"method": "POST", "path": "", "headers": {"Content-Type": "application/json"}, "body": "{\"type\":\"audit.statement\",\"timestamp\":{changed_at},\"data\":{\"id\":{message_id},\"number\":{epoch},\"sha256\":{sha256},\"statement\":{statement}}}"}', true);
-- References that let a restore through.
--
-- The order of pg_dump's list is the only thing that has a restore load
-- tenants before deployments: with several jobs, or a list in another order, a
-- row may come before what it refers to.  So foreign keys check updates and
-- deletions, as they always do, but new rows are checked by the triggers below.
-- They accept a reference to what is not there yet while check_function_bodies
-- is off: pg_dump and pg_restore set this for the sake of such references.

-- Recognize a restore by the setting that pg_dump and pg_restore make.
CREATE FUNCTION miosa.restoring() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN current_setting('check_function_bodies') = 'off';
COMMENT ON FUNCTION miosa.restoring() IS 'Whether this session restores a dump, so that rows may come before those that they refer to';

-- Raise the error of a foreign key, in its words.
CREATE FUNCTION miosa.refuse_reference(child text, "constraint" text, columns text, "values" text, parent text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
	SELECT miosa.raise_reference(format('insert or update on table "%s" violates foreign key constraint "%s"', child, "constraint"),
		format('Key (%s)=(%s) is not present in table "%s".', columns, "values", parent), child, "constraint")
$$;
COMMENT ON FUNCTION miosa.refuse_reference(text, text, text, text, text) IS 'Raises foreign_key_violation for a new row that refers to a missing one';

-- Check the plan of a tenant, which may be a shipped one.  A lock keeps an own
-- plan from being deleted meanwhile.
CREATE FUNCTION miosa.refers_to_plan() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT miosa.restoring() THEN
		PERFORM FROM miosa.own_plans p WHERE p.name = NEW.plan FOR KEY SHARE;
		IF NOT FOUND AND NOT EXISTS (SELECT FROM miosa.shipped_plans p WHERE p.name = NEW.plan) THEN
			PERFORM miosa.refuse_reference(TG_TABLE_NAME, TG_NAME, 'plan', NEW.plan, 'plans');
		END IF;
	END IF;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.refers_to_plan() IS 'Trigger: raises foreign_key_violation for a plan that does not exist';

-- A trigger has the name of the constraint that it checks.
CREATE TRIGGER tenants_plan_fkey AFTER INSERT ON miosa.tenants
	FOR EACH ROW EXECUTE FUNCTION miosa.refers_to_plan();
CREATE TRIGGER tenants_plan_fkey_update AFTER UPDATE OF plan ON miosa.tenants
	FOR EACH ROW EXECUTE FUNCTION miosa.refers_to_plan();

-- One function checks all foreign keys.  It has a branch for each, generated
-- from the catalog, so that each statement has a plan that is kept.
DO $$
DECLARE
	key record;
	branches text := '';
	triggers text[] := '{}';
BEGIN
	FOR key IN
		SELECT c.conname AS name, c.conrelid::regclass AS child, c.confrelid::regclass AS parent, r.relname AS parent_name,
			t.tgname AS inserted, f.columns, f."values", f.equal
		FROM pg_constraint c
		JOIN pg_class r ON r.oid = c.confrelid
		JOIN pg_trigger t ON t.tgconstraint = c.oid AND t.tgfoid = 'pg_catalog."RI_FKey_check_ins"'::regproc
		CROSS JOIN LATERAL (
			SELECT string_agg(a.attname, ', ' ORDER BY k.n) AS columns,
				string_agg(format('NEW.%I', a.attname), ' || '', '' || ' ORDER BY k.n) AS "values",
				string_agg(format('p.%I = NEW.%I', b.attname, a.attname), ' AND ' ORDER BY k.n) AS equal
			FROM unnest(c.conkey, c.confkey) WITH ORDINALITY k (child, parent, n)
			JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.child
			JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = k.parent) f
		WHERE c.contype = 'f' AND c.connamespace = 'miosa'::regnamespace
		ORDER BY c.conname
	LOOP
		branches := branches || format($branch$
	WHEN %L THEN
		PERFORM FROM %s p WHERE %s FOR KEY SHARE;
		IF NOT FOUND THEN
			PERFORM miosa.refuse_reference(TG_TABLE_NAME, TG_NAME, %L, %s, %L);
		END IF;$branch$, key.name, key.parent, key.equal, key.columns, key."values", key.parent_name);
		triggers := triggers
			|| format('ALTER TABLE %s DISABLE TRIGGER %I', key.child, key.inserted)
			|| format('CREATE TRIGGER %I AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION miosa.refers()', key.name, key.child);
	END LOOP;
	EXECUTE format('CREATE FUNCTION miosa.refers() RETURNS trigger LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER '
		'SET search_path = pg_catalog, pg_temp AS %L', format($body$
BEGIN
	IF miosa.restoring() THEN
		RETURN NULL;
	END IF;
	CASE TG_NAME%s
	END CASE;
	RETURN NULL;
END $body$, branches));
	COMMENT ON FUNCTION miosa.refers() IS 'Trigger: foreign_key_violation for a new row that refers to what does not exist; generated from the foreign keys';
	FOR i IN 1 .. cardinality(triggers) LOOP
		EXECUTE triggers[i];
	END LOOP;
END $$;
-- Upserts: how a control plane or CI writes the platform's objects.
--
-- Every function may be called again: the same call twice gives the same
-- result, raises nothing and changes no route.  Fields that are not given stay
-- as they are.  What has no argument of its own goes into fields, an object in
-- the platform's shape; keys that we do not know are accepted and ignored,
-- because the platform's objects have more fields than these tables.

-- Helpers.

-- For a procedure and what it calls: entry_points.sql does this for functions.
CREATE FUNCTION miosa.require_primary() RETURNS void
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_require_primary';
COMMENT ON FUNCTION miosa.require_primary() IS 'Raises NOT_PRIMARY on a standby';

-- Refuse the name of a deployment that does not exist.
CREATE FUNCTION miosa.no_deployment(id text) RETURNS void
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_no_deployment';
COMMENT ON FUNCTION miosa.no_deployment(text) IS 'Raises DEPLOYMENT_NOT_FOUND for this id or name';

-- Refuse the name of a version that does not exist.
CREATE FUNCTION miosa.no_version(deployment_id text, id text) RETURNS void
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_no_version';
COMMENT ON FUNCTION miosa.no_version(text, text) IS 'Raises VERSION_NOT_FOUND for this id or number of a version';

-- Check a word against the words that are allowed.
CREATE FUNCTION miosa.check_word(value text, what text, words text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	IF value IS NULL OR value <> ALL (words) THEN
		PERFORM miosa.refuse_value('argument', what, value, NULL,
			format('Use one of: %s.', array_to_string(words, ', ')));
	END IF;
	RETURN value;
END $$;
COMMENT ON FUNCTION miosa.check_word(text, text, text[]) IS 'The value if it is one of the words, else INVALID_ARGUMENT; what names the argument';

-- Check a slug.
CREATE FUNCTION miosa.check_slug(value text, what text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	IF value IS NULL OR value !~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$' THEN
		PERFORM miosa.refuse_value('argument', what, value, NULL,
			'A slug is part of a host name: 1 to 63 of a-z, 0-9 and -, no - at either end.');
	END IF;
	RETURN value;
END $$;
COMMENT ON FUNCTION miosa.check_slug(text, text) IS 'The value if it can be part of a host name, else INVALID_ARGUMENT; what names the argument';

-- The key of an s3:// URI is any text, written as it is.
CREATE FUNCTION miosa.check_uri(value text, what text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	hint CONSTANT text := 'A URI begins with its scheme (s3://bucket/key); only keys in S3 may have spaces.';
BEGIN
	IF value COLLATE "C" !~* '^(s3://[a-z0-9].*|(?!s3://)[a-z][a-z0-9+.-]*:[^[:space:][:cntrl:]]+)$' THEN
		PERFORM miosa.refuse_value('argument', what, miosa.mask_uri(value), NULL, hint);
	ELSIF length(value) > 4096 THEN
		PERFORM miosa.refuse_length(what, length(value), 'characters', 4096, hint);
	END IF;
	RETURN value;
END $$;
COMMENT ON FUNCTION miosa.check_uri(text, text) IS 'The value if it is null or looks like a URI, else INVALID_ARGUMENT; what names the argument';

-- Host names are compared in lower case, without the dot that ends a name and
-- without a port.
CREATE FUNCTION miosa.clean_host(host text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN lower(regexp_replace(regexp_replace(host, ':[0-9]+$', ''), '\.$', '') COLLATE "C");
COMMENT ON FUNCTION miosa.clean_host(text) IS 'A host name as it is stored: lower case, no final dot, no port';

-- A message of the server as our condition: what a constraint or an input
-- function refused is the caller's argument.
CREATE FUNCTION miosa.refuse_row(what text, message text, detail text, field text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
	checked text := substring(field FROM '^(?:tenants|deployments|versions|releases|runtime_instances|domains)_(.*)_check$');
	-- The name of such a constraint is its rule; that of times is about several.
	rule text[] := regexp_match(field, '^(?!times )(\w+) (must be .*)$');
	bad text := CASE WHEN rule IS NOT NULL THEN rule[1] WHEN checked IS NOT NULL THEN checked
		WHEN what = 'fields' THEN field END;
BEGIN
	PERFORM miosa.raise_condition('INVALID_ARGUMENT',
		CASE WHEN bad IS NULL THEN format('invalid %s', what) ELSE format('invalid value for field "%s"', bad) END,
		CASE WHEN rule IS NOT NULL THEN format('The field %s.', rule[2])
			WHEN checked IS NOT NULL THEN format('The value violates check constraint "%s".', field)
			WHEN detail LIKE 'Key %' THEN detail
			ELSE upper(left(message, 1) COLLATE "C") || substr(message, 2) || '.' END, NULL);
END $$;
COMMENT ON FUNCTION miosa.refuse_row(text, text, text, text) IS 'Raises INVALID_ARGUMENT for an object (what) with the server''s own message and detail; field: the field or constraint that it is about';

-- Times are calculated with, so they must be finite and not too far away.
CREATE FUNCTION miosa.check_time(value timestamptz, field text) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
	IF value NOT BETWEEN '1970-01-01 00:00:00+00' AND '2200-01-01 00:00:00+00' THEN
		PERFORM miosa.refuse_value('field', field, to_jsonb(value AT TIME ZONE 'UTC') #>> '{}', NULL,
			'Write a time from 1970 to 2199, for example ''2026-01-31T12:00:00Z''.');
	END IF;
	RETURN value;
END $$;
COMMENT ON FUNCTION miosa.check_time(timestamptz, text) IS 'The value if it is null or a time from 1970 to 2199, else INVALID_ARGUMENT; field names the argument';

-- Lay fields over a row.  Keys that are fixed may be repeated with the value
-- that the row has, so that a whole object can be sent back.
--
-- INVALID_ARGUMENT when a fixed field would change (with the hint) or a value
-- does not fit, naming the field.
CREATE FUNCTION miosa.merge_fields(base anyelement, fields jsonb, fixed text[], hint text) RETURNS anyelement
LANGUAGE plpgsql STABLE PARALLEL UNSAFE AS $$
DECLARE
	field text;
BEGIN
	IF fields IS NULL THEN
		RETURN base;
	ELSIF jsonb_typeof(fields) <> 'object' THEN
		PERFORM miosa.refuse_value('fields', NULL, fields::text,
			format('The fields are a JSON %s.', jsonb_typeof(fields)), 'Pass an object: ''{"metadata": {}}''.');
	END IF;
	fields := coalesce((SELECT jsonb_object_agg(f.key, f.value) FROM jsonb_each(fields) f WHERE f.value <> 'null'), '{}');
	SELECT f.key INTO field FROM unnest(fixed) f (key)
		WHERE fields ? f.key AND fields -> f.key <> to_jsonb(base) -> f.key
		ORDER BY f.key LIMIT 1;
	IF FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('field "%s" cannot be set here', field),
			format('The present value is %s, the given value is %s.', to_jsonb(base) -> field, fields -> field),
			CASE WHEN field NOT LIKE '%id' OR field LIKE 'active%' OR field LIKE 'serving%' THEN hint END);
	END IF;
	fields := fields - fixed - 'updated_at'::text;
	BEGIN
		base := jsonb_populate_record(base, fields);
		PERFORM miosa.check_time(f.value::timestamptz, f.key)
			FROM jsonb_each_text(to_jsonb(base)) f
			WHERE f.key LIKE '%\_at' AND fields ? f.key;
		RETURN base;
	EXCEPTION WHEN data_exception THEN
		NULL;
	END;
	-- Find out which one it was.
	FOR field IN SELECT k.key FROM jsonb_object_keys(fields) k (key) ORDER BY k.key LOOP
		BEGIN
			PERFORM jsonb_populate_record(base, jsonb_build_object(field, fields -> field));
		EXCEPTION WHEN data_exception THEN
			PERFORM miosa.refuse_row('fields', SQLERRM, NULL, field);
		END;
	END LOOP;
	PERFORM miosa.refuse_row('fields', 'the fields do not fit the table', NULL, NULL);
END $$;
COMMENT ON FUNCTION miosa.merge_fields(anyelement, jsonb, text[], text) IS 'The row with the fields laid over it; unknown keys and nulls are ignored';

-- Lock a deployment by its key and return it.
--
-- Raises INVALID_ARGUMENT, DEPLOYMENT_NOT_FOUND.
CREATE FUNCTION miosa.lock_deployment(deployment_id text) RETURNS miosa.deployments
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	d miosa.deployments;
BEGIN
	PERFORM miosa.check_id(deployment_id, 'deployment id');
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = deployment_id FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		PERFORM miosa.no_deployment(deployment_id);
	END IF;
	RETURN d;
END $$;
COMMENT ON FUNCTION miosa.lock_deployment(text) IS 'Locks a deployment''s row FOR NO KEY UPDATE and returns it';

-- Tenants.

-- Upsert a tenant; a plan that is not given stays.
CREATE FUNCTION @extschema@.miosa_put_tenant(id text, slug text, plan text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	t miosa.tenants;
	message text;
	detail text;
	broken text;
BEGIN
	PERFORM miosa.check_id(id, 'tenant id');
	PERFORM miosa.check_slug(slug, 'slug');
	IF plan IS NOT NULL AND NOT EXISTS (SELECT FROM miosa.plans p WHERE p.name = plan) THEN
		PERFORM miosa.check_word(plan, 'plan', ARRAY(SELECT p.name FROM miosa.plans p ORDER BY p.name));
	END IF;
	INSERT INTO miosa.tenants AS o (id, slug, plan) VALUES (id, slug, coalesce(plan, 'free'))
		ON CONFLICT ON CONSTRAINT tenants_pkey DO UPDATE
		SET slug = EXCLUDED.slug, plan = coalesce(plan, o.plan), updated_at = now()
		WHERE o.slug <> EXCLUDED.slug OR o.plan <> coalesce(plan, o.plan);
	SELECT * INTO t FROM miosa.tenants o WHERE o.id = id;
	RETURN jsonb_build_object('data', jsonb_build_object('id', t.id, 'slug', t.slug, 'plan', t.plan,
		'created_at', miosa.iso(t.created_at), 'updated_at', miosa.iso(t.updated_at)));
EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, broken = CONSTRAINT_NAME;
	PERFORM miosa.refuse_row('tenant', message, detail, broken);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_tenant(text, text, text) IS 'Inserts or changes a tenant, with its slug and its plan';

-- Deployments.

-- A slug from the name, if that has a letter or digit, else from the id.
CREATE FUNCTION miosa.default_slug(id text, name text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(nullif(trim(BOTH '-' FROM left(regexp_replace(lower($2 COLLATE "C"), '[^a-z0-9]+', '-', 'g'), 63)), ''),
	left(encode(sha256(convert_to($1, getdatabaseencoding())), 'hex'), 12));
COMMENT ON FUNCTION miosa.default_slug(text, text) IS 'Slug of a deployment that is added without one';

-- Lock a deployment, which is added if there is none.
CREATE FUNCTION miosa.lock_or_add_deployment(id text, tenant_id text, name text, slug text) RETURNS miosa.deployments
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	d miosa.deployments;
BEGIN
	-- One that is being removed is waited for here, and added again.
	FOR attempt IN 1 .. 10 LOOP
		IF EXISTS (SELECT FROM miosa.deployments p WHERE p.id = id AND p.slug <> slug) THEN
			-- The slug is part of a key, so rows that refer to the deployment are
			-- in the way; they are waited for before others can wait for this lock.
			SELECT * INTO d FROM miosa.deployments p WHERE p.id = id FOR UPDATE;
		ELSE
			SELECT * INTO d FROM miosa.deployments p WHERE p.id = id FOR NO KEY UPDATE;
		END IF;
		IF FOUND THEN
			RETURN d;
		END IF;
		INSERT INTO miosa.deployments (id, tenant_id, name, slug) VALUES (id, tenant_id, name, coalesce(slug, miosa.default_slug(id, name)))
			ON CONFLICT ON CONSTRAINT deployments_pkey DO NOTHING;
	END LOOP;
	PERFORM miosa.raise_condition('DEPLOYMENT_BUSY', format('deployment "%s" is removed again and again', id),
		'Whenever it was to be locked, it was gone.', 'Call again with the same arguments.');
END $$;
COMMENT ON FUNCTION miosa.lock_or_add_deployment(text, text, text, text) IS 'Locks a deployment''s row, for a new slug FOR UPDATE, and returns it; adds it if there is none';

-- Upsert a deployment; fields that are not given stay.
CREATE FUNCTION @extschema@.miosa_put_deployment(id text, tenant_id text, name text DEFAULT NULL, slug text DEFAULT NULL,
	kind text DEFAULT NULL, desired_replicas integer DEFAULT NULL, fields jsonb DEFAULT '{}')
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	-- They have no columns; they are kept in metadata.
	repository CONSTANT text[] := ARRAY['repo_url', 'repo_provider', 'branch', 'build_command', 'run_command',
		'runtime_image', 'current_build_id'];
	old miosa.deployments;
	new miosa.deployments;
	given jsonb;
	message text;
	detail text;
	broken text;
BEGIN
	PERFORM miosa.check_id(id, 'deployment id');
	PERFORM miosa.check_id(tenant_id, 'tenant id');
	IF NOT EXISTS (SELECT FROM miosa.tenants t WHERE t.id = tenant_id AND miosa.sees_tenant(t.id)) THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('tenant "%s" does not exist', tenant_id), NULL,
			format('Add it first: SELECT miosa_put_tenant(%L, ''slug'');', tenant_id));
	END IF;
	PERFORM miosa.check_scope(tenant_id, 'deploy', 'call miosa_put_deployment');
	-- Ids are unique among all tenants, so that one is taken cannot be hidden; its
	-- owner can, and no lock of the owner's is waited for.  That of a removed one
	-- stays with its tenant, whose operations and hosts have it.
	IF EXISTS (SELECT FROM miosa.deployments p WHERE p.id = id AND p.tenant_id <> tenant_id AND NOT miosa.sees_tenant(p.tenant_id))
		OR NOT EXISTS (SELECT FROM miosa.deployments p WHERE p.id = id)
			AND EXISTS (SELECT FROM miosa.audit_events a WHERE a.deployment_id = id AND a.tenant_id <> tenant_id) THEN
		PERFORM miosa.refuse_value('argument', 'id', id, 'The id cannot be used.', 'Pass another id.');
	END IF;
	given := fields;
	IF jsonb_typeof(fields) = 'object' THEN
		given := fields || jsonb_strip_nulls(jsonb_build_object('name', name, 'slug', slug, 'kind', kind,
			'desired_replicas', desired_replicas));
		name := given ->> 'name';
		slug := given ->> 'slug';
	ELSIF fields IS NULL THEN
		given := jsonb_strip_nulls(jsonb_build_object('name', name, 'slug', slug, 'kind', kind,
			'desired_replicas', desired_replicas));
	END IF;

	old := miosa.lock_or_add_deployment(id, tenant_id, coalesce(name, id), slug);
	IF old.tenant_id <> tenant_id THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('deployment "%s" belongs to another tenant', id),
			format('Its tenant is "%s".', old.tenant_id), NULL);
	END IF;

	new := miosa.merge_fields(old, given, ARRAY['id', 'tenant_id', 'active_version_id', 'active_release_id',
		'running_artifact_sha256', 'serving_version_id', 'recent_served', 'seq', 'route_seq', 'last_rollback_at', 'waiting_since'],
		format('To make another version active, see which there are with SELECT * FROM miosa.candidates(%L);', id));
	new.metadata := new.metadata || coalesce((SELECT jsonb_object_agg(f.key, f.value) FROM jsonb_each(given) f
		WHERE f.key = ANY (repository) AND f.value <> 'null'
			AND f.value IS DISTINCT FROM new.metadata -> f.key), '{}');
	IF new.name <> old.name OR name IS NOT NULL THEN
		PERFORM miosa.check_visible(new.name, 'argument', 'name');
	END IF;
	IF btrim(new.name) = '' THEN
		PERFORM miosa.refuse_value('argument', 'name', new.name, 'The name is blank.', 'Leave it out for the id.');
	END IF;
	IF new.slug IS DISTINCT FROM old.slug OR slug IS NOT NULL THEN
		PERFORM miosa.check_slug(new.slug, 'slug');
	END IF;
	new.schema_name := nullif(new.schema_name, '');
	IF new.schema_name IS DISTINCT FROM old.schema_name AND new.schema_name IS NOT NULL THEN
		PERFORM miosa.check_schema_name(new.schema_name);
	END IF;
	-- A mirror of a deployment does not know that it waits for instances.
	IF new.state = 'running' AND old.serving_version_id IS NOT NULL THEN
		new.state := old.state;
	END IF;
	IF new IS DISTINCT FROM old THEN
		new.updated_at := now();
		UPDATE miosa.deployments p SET name = new.name, slug = new.slug, kind = new.kind, state = new.state,
				desired_replicas = new.desired_replicas, route_ttl = new.route_ttl, owner_id = new.owner_id,
				workspace_id = new.workspace_id, project_id = new.project_id, source_type = new.source_type,
				auto_deploy = new.auto_deploy, custom_domain_id = new.custom_domain_id,
				linked_database_id = new.linked_database_id, deployment_product = new.deployment_product,
				schema_name = new.schema_name,
				metadata = new.metadata, external_workspace_id = new.external_workspace_id,
				external_user_id = new.external_user_id, external_project_id = new.external_project_id,
				public_url = new.public_url, auto_subdomain = new.auto_subdomain,
				created_at = new.created_at, updated_at = new.updated_at
			WHERE p.id = id;
		PERFORM miosa.revise_capacity(id, old.desired_replicas, old.state = 'stopped');
	END IF;
	SELECT * INTO new FROM miosa.deployments p WHERE p.id = id;
	RETURN jsonb_build_object('data', miosa.deployment_object(new));
EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, broken = CONSTRAINT_NAME;
	PERFORM miosa.refuse_row('deployment', message, detail, broken);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_deployment(text, text, text, text, text, integer, jsonb) IS 'Inserts or changes a deployment of a tenant, but not its pointer';

-- Versions and their releases.

-- An object that is sent back has URIs as they were shown.
CREATE FUNCTION miosa.drop_shown_uris(given jsonb, old jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT given - ARRAY(SELECT u.name FROM unnest(ARRAY['storage_uri', 'artifact_uri', 'build_log_uri']) u (name)
		WHERE given ->> u.name = miosa.mask_uri(old ->> u.name) AND given ->> u.name <> old ->> u.name)
$$;
COMMENT ON FUNCTION miosa.drop_shown_uris(jsonb, jsonb) IS 'The fields without URIs that are those of the row as it is shown to callers that do not fetch artifacts';

-- Refuse fields that decide which version a rollback chooses, and which artifact
-- counts as there: who feeds versions must not decide that.  A value that the row
-- has already may be repeated.
CREATE FUNCTION miosa.refuse_administered(given jsonb, old jsonb, new jsonb) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
	administered CONSTANT text[] := ARRAY['collected_at', 'collected_by', 'deleted_at', 'missing_at', 'pinned', 'promoted_at',
		'promoted_over', 'verified_at'];
	field text;
BEGIN
	IF NOT given ?| administered OR miosa.administers() THEN
		RETURN;
	END IF;
	SELECT a.name INTO field FROM unnest(administered) a (name)
		WHERE given ? a.name AND new -> a.name IS DISTINCT FROM old -> a.name
		ORDER BY a.name LIMIT 1;
	IF FOUND THEN
		PERFORM miosa.raise_condition('FORBIDDEN', format('permission denied to set field "%s"', field),
			format('Role "%s" does not have the rights of miosa_admin. The present value is %s, the given value is %s.',
				miosa.caller(), coalesce(old -> field, 'null'), given -> field),
			'Leave the field out, or have an administrator make this call.');
	END IF;
END $$;
COMMENT ON FUNCTION miosa.refuse_administered(jsonb, jsonb, jsonb) IS 'Raises FORBIDDEN when fields that were given change what only administrators may set in a version (old and new) or in its release';

-- Insert or change the release of a version, before the version becomes ready
-- and closes it.
CREATE FUNCTION miosa.put_release(d miosa.deployments, v miosa.versions, given jsonb) RETURNS miosa.releases
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	old miosa.releases;
	new miosa.releases;
BEGIN
	SELECT * INTO old FROM miosa.releases r
		WHERE r.deployment_id = d.id AND r.deployment_version_id = v.id;
	IF FOUND THEN
		new := miosa.merge_fields(old, miosa.drop_shown_uris(given, to_jsonb(old)),
			ARRAY['deployment_id', 'deployment_version_id', 'tenant_id'], NULL);
		PERFORM miosa.refuse_administered(given, to_jsonb(old), to_jsonb(new));
		PERFORM miosa.check_uri(new.storage_uri, 'storage_uri');
		IF new IS DISTINCT FROM old THEN
			UPDATE miosa.releases r SET id = new.id, kind = new.kind,
					environment_id = new.environment_id, storage_backend = new.storage_backend,
					storage_uri = new.storage_uri, sha256 = new.sha256,
					size_bytes = new.size_bytes, metadata = new.metadata,
					verified_at = new.verified_at, collected_at = new.collected_at,
					collected_by = new.collected_by, ready_at = new.ready_at, updated_at = now()
				WHERE r.deployment_id = d.id AND r.id = old.id
				RETURNING * INTO new;
			IF new.storage_uri <> old.storage_uri THEN
				PERFORM miosa.refuse_claimed(new.storage_uri);
			END IF;
		END IF;
	ELSIF coalesce(given ->> 'storage_uri', given ->> 'artifact_uri', v.artifact_uri) IS NOT NULL THEN
		old.deployment_id := d.id;
		old.id := left('rel_' || regexp_replace(v.id, '^ver_', ''), 255);
		old.deployment_version_id := v.id;
		old.tenant_id := d.tenant_id;
		old.kind := v.kind;
		old.storage_uri := coalesce(given ->> 'artifact_uri', v.artifact_uri);
		old.sha256 := coalesce(lower((given ->> 'artifact_sha256') COLLATE "C"), v.artifact_sha256);
		old.metadata := '{}';
		old.ready_at := CASE WHEN v.state = 'ready' THEN now() END;
		old.created_at := now();
		new := miosa.merge_fields(old, given,
			ARRAY['deployment_id', 'deployment_version_id', 'tenant_id'], NULL);
		PERFORM miosa.refuse_administered(given, to_jsonb(old), to_jsonb(new));
		new.updated_at := now();
		PERFORM miosa.check_id(new.id, 'release id');
		PERFORM miosa.check_uri(new.storage_uri, 'storage_uri');
		INSERT INTO miosa.releases SELECT (new).*;
		IF new.collected_at IS NULL THEN
			PERFORM miosa.refuse_claimed(new.storage_uri);
		END IF;
		IF d.active_version_id = v.id AND d.active_release_id IS NULL THEN
			UPDATE miosa.deployments p SET active_release_id = new.id,
					running_artifact_sha256 = new.sha256, updated_at = now()
				WHERE p.id = d.id;
			PERFORM miosa.queue(d.id, 'route', NULL);
		END IF;
	END IF;
	RETURN new;
END $$;
COMMENT ON FUNCTION miosa.put_release(miosa.deployments, miosa.versions, jsonb) IS 'Inserts or changes the release of a version, with the fields that were given; null when there is none';

-- Check the name of a schema.
CREATE FUNCTION miosa.check_schema_name(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	IF coalesce(value, '') !~ '^[A-Za-z0-9._:-]{1,255}$' THEN
		PERFORM miosa.refuse_value('argument', 'schema_name', value, NULL,
			'A name has 1 to 255 characters of A-Z a-z 0-9 . _ : and -.');
	END IF;
	RETURN value;
END $$;
COMMENT ON FUNCTION miosa.check_schema_name(text) IS 'The value if it can be the name of a schema, else INVALID_ARGUMENT';

-- Check what a version says of the schema that it works with.
CREATE FUNCTION miosa.check_schema_range(schema_version bigint, schema_min bigint, schema_max bigint) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	negative record;
BEGIN
	SELECT f.name, f.value INTO negative
		FROM (VALUES ('schema_version', schema_version), ('schema_min', schema_min), ('schema_max', schema_max)) f (name, value)
		WHERE f.value < 0 ORDER BY f.name LIMIT 1;
	IF FOUND THEN
		PERFORM miosa.refuse_value('field', negative.name, negative.value::text, NULL, 'Versions of a schema are whole numbers from 0.');
	ELSIF schema_min > schema_max OR schema_version < schema_min OR schema_version > schema_max THEN
		PERFORM miosa.refuse_value('field', 'schema_version', coalesce(schema_version::text, 'null'),
			format('schema_min is %s, schema_max is %s.', coalesce(schema_min::text, 'null'), coalesce(schema_max::text, 'null')),
			'A version works with the schema that it was built for: schema_min <= schema_version <= schema_max.');
	END IF;
END $$;
COMMENT ON FUNCTION miosa.check_schema_range(bigint, bigint, bigint) IS 'Raises INVALID_ARGUMENT for numbers of a version that contradict each other';

-- Upsert a version and its release; a repetition of an earlier call changes
-- nothing.
CREATE FUNCTION @extschema@.miosa_put_version(deployment_id text, id text, version_number integer DEFAULT NULL,
	kind text DEFAULT NULL, state text DEFAULT NULL, storage_uri text DEFAULT NULL, sha256 text DEFAULT NULL,
	release_id text DEFAULT NULL, size_bytes bigint DEFAULT NULL, fields jsonb DEFAULT '{}', release jsonb DEFAULT '{}')
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	d miosa.deployments;
	old miosa.versions;
	new miosa.versions;
	new_release miosa.releases;
	is_new boolean;
	asked text;
	given jsonb;
	message text;
	detail text;
	broken text;
BEGIN
	d := miosa.lock_deployment(deployment_id);
	PERFORM miosa.check_id(id, 'version id');
	state := coalesce(state, fields ->> 'state');
	asked := miosa.check_word(coalesce(state, 'ready'), 'state',
		ARRAY['created', 'building', 'ready', 'failed', 'archived']);
	given := coalesce(fields, '{}');
	IF jsonb_typeof(given) = 'object' THEN
		given := (given - 'state')
			|| jsonb_strip_nulls(jsonb_build_object('version_number', version_number, 'kind', kind));
	END IF;

	SELECT * INTO old FROM miosa.versions v WHERE v.deployment_id = deployment_id AND v.id = id;
	is_new := NOT FOUND;
	IF is_new THEN
		INSERT INTO miosa.versions AS v (deployment_id, id, tenant_id, version_number, kind)
			VALUES (deployment_id, id, d.tenant_id,
				coalesce((given ->> 'version_number')::integer,
					(SELECT max(o.version_number) + 1 FROM miosa.versions o WHERE o.deployment_id = deployment_id), 1),
				d.kind)
			RETURNING * INTO old;
	END IF;
	new := miosa.merge_fields(old, miosa.drop_shown_uris(given, to_jsonb(old)), ARRAY['deployment_id', 'id', 'tenant_id'], NULL);
	-- A late repetition of an earlier call does not move a version back.
	IF NOT (old.state = 'failed' AND state IS NULL)
		AND coalesce(miosa.state_rank(asked) > miosa.state_rank(old.state),
			asked <> old.state AND NOT (old.state = 'failed' AND asked IN ('created', 'building'))) THEN
		new.state := asked;
	END IF;
	new.promoted_over := coalesce(old.promoted_over, new.promoted_over);
	new.promoted_at := greatest(old.promoted_at, new.promoted_at);
	new.archived_at := coalesce(old.archived_at, new.archived_at);
	PERFORM miosa.refuse_administered(given, to_jsonb(old), to_jsonb(new));
	IF num_nonnulls(new.schema_version, new.schema_min, new.schema_max) > 0 THEN
		PERFORM miosa.check_schema_range(new.schema_version, new.schema_min, new.schema_max);
	END IF;
	IF old.state IN ('created', 'building') THEN
		new.artifact_uri := coalesce(new.artifact_uri, storage_uri);
		new.artifact_sha256 := lower(coalesce(new.artifact_sha256, sha256) COLLATE "C");
	END IF;

	-- The release first: with its version ready it is closed.
	given := coalesce(release, '{}');
	IF jsonb_typeof(given) = 'object' THEN
		given := given || jsonb_strip_nulls(jsonb_build_object('id', release_id, 'storage_uri', storage_uri,
			'sha256', lower(coalesce(sha256, given ->> 'sha256') COLLATE "C"), 'size_bytes', size_bytes));
	END IF;
	new_release := miosa.put_release(d, new, given);

	IF new IS DISTINCT FROM old THEN
		UPDATE miosa.versions v SET version_number = new.version_number, kind = new.kind, state = new.state,
				promoted_over = new.promoted_over, pinned = new.pinned, created_by = new.created_by,
				schema_version = new.schema_version, schema_min = new.schema_min, schema_max = new.schema_max,
				source_sandbox_id = new.source_sandbox_id, build_id = new.build_id,
				workspace_id = new.workspace_id, project_id = new.project_id,
				external_workspace_id = new.external_workspace_id, external_user_id = new.external_user_id,
				external_project_id = new.external_project_id, artifact_uri = new.artifact_uri,
				artifact_manifest = new.artifact_manifest, artifact_sha256 = new.artifact_sha256,
				source_sha256 = new.source_sha256, runtime_image = new.runtime_image,
				runtime_command = new.runtime_command, health_check_path = new.health_check_path,
				runtime_port = new.runtime_port, build_log_uri = new.build_log_uri, metadata = new.metadata,
				promoted_at = new.promoted_at, archived_at = new.archived_at, created_at = new.created_at,
				updated_at = now()
			WHERE v.deployment_id = deployment_id AND v.id = id;
		SELECT * INTO new FROM miosa.versions v WHERE v.deployment_id = deployment_id AND v.id = id;
	END IF;
	RETURN jsonb_build_object('data', miosa.version_object(new), 'release', miosa.release_object(new_release));
EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, broken = CONSTRAINT_NAME;
	PERFORM miosa.refuse_row('version', message, detail, broken);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_version(text, text, integer, text, text, text, text, text, bigint, jsonb, jsonb) IS 'Inserts or changes a version and its release';

-- Move a version to a state, and note when its release became ready.
CREATE FUNCTION @extschema@.miosa_set_version_state(deployment_id text, version_id text, state text)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	v miosa.versions;
BEGIN
	PERFORM miosa.lock_deployment(deployment_id);
	PERFORM miosa.check_id(version_id, 'version id');
	PERFORM miosa.check_word(state, 'state', ARRAY['created', 'building', 'ready', 'failed', 'archived']);
	SELECT * INTO v FROM miosa.versions o WHERE o.deployment_id = deployment_id AND o.id = version_id;
	IF NOT FOUND THEN
		PERFORM miosa.no_version(deployment_id, version_id);
	END IF;
	IF v.state <> state THEN
		UPDATE miosa.versions o SET state = state, updated_at = now()
			WHERE o.deployment_id = deployment_id AND o.id = version_id
			RETURNING * INTO v;
		IF state = 'ready' THEN
			UPDATE miosa.releases r SET ready_at = now(), updated_at = now()
				WHERE r.deployment_id = deployment_id AND r.deployment_version_id = version_id AND r.ready_at IS NULL;
		END IF;
	END IF;
	RETURN jsonb_build_object('data', miosa.version_object(v));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_set_version_state(text, text, text) IS 'Moves a version to a state: created, building, ready, archived in this order, or failed';

-- Archive a version.
CREATE FUNCTION @extschema@.miosa_archive_version(deployment_id text, version_id text)
RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
RETURN @extschema@.miosa_set_version_state($1, $2, 'archived'::text);
COMMENT ON FUNCTION @extschema@.miosa_archive_version(text, text) IS 'Archives a version: it is no longer a rollback target and its artifact may be collected';

-- Domains.

-- Normalize a host name.
CREATE FUNCTION miosa.check_host(host text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	hint CONSTANT text := 'Write it as www.example.com or *.example.com, other letters than a-z in their xn-- form.';
	clean text := miosa.clean_host(host);
BEGIN
	IF length(clean) > 253 THEN
		PERFORM miosa.refuse_length('host name', length(clean), 'characters', 253, hint);
	ELSIF clean IS NULL OR clean
		!~ '^([*][.])?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?[.])*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$' THEN
		PERFORM miosa.refuse_value('host name', NULL, host, NULL, hint);
	END IF;
	RETURN clean;
END $$;
COMMENT ON FUNCTION miosa.check_host(text) IS 'The host name as it is stored, or INVALID_ARGUMENT';

-- Keep the hosts below the managed domain for the tenant whose slug they have.
CREATE FUNCTION miosa.reserves_host(host text, tenant_id text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN NOT miosa.sees_all_tenants()
	AND right('.' || $1, length(miosa.managed_domain()) + 1) = '.' || miosa.managed_domain()
	AND NOT EXISTS (SELECT FROM miosa.tenants t WHERE t.id = $2
		AND right('.' || $1, length(t.slug || miosa.managed_domain()) + 2) = '.' || t.slug || '.' || miosa.managed_domain());
COMMENT ON FUNCTION miosa.reserves_host(text, text) IS 'Whether a host is below the managed domain but not below the tenant''s slug there, and the caller does not act for all tenants';

-- Upsert a host; it moves between deployments of one tenant only.
CREATE FUNCTION @extschema@.miosa_put_domain(fqdn text, deployment_id text, state text DEFAULT 'active',
	redirect_policy text DEFAULT NULL, fields jsonb DEFAULT '{}')
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	host text := miosa.check_host(fqdn);
	d miosa.deployments;
	old miosa.domains;
	new miosa.domains;
	holder text;
	message text;
	detail text;
	broken text;
BEGIN
	PERFORM miosa.check_id(deployment_id, 'deployment id');
	PERFORM miosa.check_word(state, 'state', ARRAY['pending', 'verified', 'active', 'failed', 'removed']);
	IF redirect_policy IS NOT NULL THEN
		PERFORM miosa.check_word(redirect_policy, 'redirect_policy', ARRAY['none', 'apex_to_www', 'www_to_apex']);
	END IF;
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = deployment_id;
	IF NOT FOUND THEN
		PERFORM miosa.no_deployment(deployment_id);
	END IF;
	holder := miosa.managed_deployment(host);
	-- That edges answer for a host is no secret, but whose it is.  No lock of the
	-- other tenant's is waited for.  Taken are also the hosts of another tenant's
	-- wildcard, and those that its deployments would get as managed hosts.
	IF holder <> deployment_id AND NOT miosa.sees_deployment(holder)
		OR miosa.reserves_host(host, d.tenant_id)
		OR EXISTS (SELECT FROM miosa.domains m WHERE m.fqdn IN (host, '*' || substring(host FROM '[.].*$')) AND m.state <> 'removed'
			AND NOT miosa.sees_deployment(m.deployment_id)) THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('host "%s" is taken', host), NULL, 'Pass another host.');
	ELSIF holder <> deployment_id THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('host "%s" is taken', host),
			format('The host is the managed host of deployment "%s".', holder), NULL);
	END IF;

	INSERT INTO miosa.domains (fqdn, deployment_id, tenant_id, state, redirect_policy)
		VALUES (host, deployment_id, d.tenant_id, 'pending', coalesce(redirect_policy, 'none'))
		ON CONFLICT ON CONSTRAINT domains_pkey DO NOTHING;
	SELECT * INTO old FROM miosa.domains m WHERE m.fqdn = host FOR UPDATE;
	IF old.tenant_id <> d.tenant_id AND old.state <> 'removed' THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('host "%s" is taken', host),
			'The host belongs to another tenant.', 'That tenant must remove it first, with miosa_remove_domain().');
	ELSIF old.tenant_id <> d.tenant_id THEN
		-- What was verified for the other tenant is not for this one.
		old.id := NULL;
		old.redirect_policy := 'none';
		old.verified_at := NULL;
		old.created_at := now();
	END IF;
	new := miosa.merge_fields(old, fields - ARRAY['fqdn', 'domain', 'deployment_id', 'tenant_id', 'state', 'redirect_policy'],
		'{}', NULL);
	new.deployment_id := deployment_id;
	new.tenant_id := d.tenant_id;
	new.state := state;
	new.redirect_policy := coalesce(redirect_policy, fields ->> 'redirect_policy', old.redirect_policy);
	IF new IS DISTINCT FROM old THEN
		-- The trigger queues what this means for routes.
		UPDATE miosa.domains m SET id = new.id, deployment_id = new.deployment_id, tenant_id = new.tenant_id,
				state = new.state, redirect_policy = new.redirect_policy, verified_at = new.verified_at,
				created_at = new.created_at
			WHERE m.fqdn = host;
	END IF;
	IF host LIKE '*.%' THEN
		PERFORM miosa.warn_of_wildcards(NULL, host);
	END IF;
	RETURN jsonb_build_object('data', miosa.domain_object(new));
EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, broken = CONSTRAINT_NAME;
	PERFORM miosa.refuse_row('domain', message, detail, broken);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_domain(text, text, text, text, jsonb) IS 'Inserts or changes a host; a change of a routed host is delivered to edges';

-- Delete a host; its trigger has edges remove it.
CREATE FUNCTION @extschema@.miosa_remove_domain(fqdn text)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	host text := miosa.check_host(fqdn);
BEGIN
	-- Of another tenant's host as of one that does not exist.
	PERFORM miosa.check_scope(p.tenant_id, 'deploy', 'call miosa_remove_domain')
		FROM miosa.domains m JOIN miosa.deployments p ON p.id = m.deployment_id
		WHERE m.fqdn = host AND miosa.sees_tenant(p.tenant_id);
	DELETE FROM miosa.domains m WHERE m.fqdn = host AND miosa.sees_deployment(m.deployment_id);
	RETURN jsonb_build_object('data', jsonb_build_object('domain', host, 'fqdn', host, 'state', 'removed'));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_domain(text) IS 'Removes a host, also from edges';

-- Runtime instances.

-- Check the address of an instance.
CREATE FUNCTION miosa.check_address(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	hint CONSTANT text := 'Write an IP address or a host name, without brackets; the port has an argument of its own.';
BEGIN
	IF length(value) > 255 THEN
		PERFORM miosa.refuse_length('address', length(value), 'characters', 255, hint);
	ELSIF value !~ '^[A-Za-z0-9._:%-]+$' THEN
		PERFORM miosa.refuse_value('argument', 'address', value, NULL, hint);
	END IF;
	RETURN value;
END $$;
COMMENT ON FUNCTION miosa.check_address(text) IS 'The value if it is null or looks like an address of a host, else INVALID_ARGUMENT';

-- Upsert an instance.  A heartbeat that changes nothing takes one UPDATE and
-- no lock on the deployment.
CREATE FUNCTION @extschema@.miosa_report_instance(deployment_id text, id text, version_id text, state text,
	address text DEFAULT NULL, port integer DEFAULT NULL, error_message text DEFAULT NULL, fields jsonb DEFAULT '{}')
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	d miosa.deployments;
	old miosa.runtime_instances;
	new miosa.runtime_instances;
	release text;
	horizon timestamptz := miosa.heartbeat_horizon();
	observed timestamptz;
	was_live boolean;
	message text;
	detail text;
	broken text;
BEGIN
	PERFORM miosa.check_id(deployment_id, 'deployment id');
	PERFORM miosa.check_id(id, 'instance id');
	PERFORM miosa.check_id(version_id, 'version id');
	PERFORM miosa.check_word(state, 'state', ARRAY['pending', 'provisioning', 'starting', 'healthy', 'unhealthy',
		'stopping', 'stopped', 'failed', 'error', 'destroyed']);
	address := miosa.check_address(coalesce(address, fields ->> 'ip_address'));
	port := coalesce(port, (fields ->> 'port')::integer);
	error_message := coalesce(error_message, fields ->> 'error_message');
	observed := (fields ->> 'observed_at')::timestamptz;
	-- A clock that is ahead must not make all that comes later look old.
	observed := CASE WHEN observed > clock_timestamp() THEN clock_timestamp()
		ELSE miosa.check_time(observed, 'observed_at') END;

	-- A heartbeat: nothing that counts has changed, so no row is locked first.
	-- The conditions are evaluated again if the row changes meanwhile.  An
	-- instance without a heartbeat for long has not counted, so it changes.
	UPDATE miosa.runtime_instances i SET last_heartbeat_at = now(), observed_at = coalesce(observed, clock_timestamp())
		WHERE i.deployment_id = deployment_id AND i.id = id AND i.version_id = version_id AND i.reported_by IS NULL
			AND (i.state = state OR i.state = 'stopping' AND NOT miosa.has_ended(state))
			AND CASE i.state WHEN 'healthy' THEN coalesce(i.last_heartbeat_at, i.updated_at) > horizon
				WHEN 'stopping' THEN greatest(i.last_heartbeat_at, i.updated_at) > horizon ELSE true END
			AND coalesce(i.observed_at <= observed, true)
			AND i.address IS NOT DISTINCT FROM coalesce(address, i.address)
			AND i.port IS NOT DISTINCT FROM coalesce(port, i.port)
			AND i.error_message IS NOT DISTINCT FROM coalesce(error_message, i.error_message)
			AND i.metadata = coalesce(fields -> 'metadata', i.metadata)
			AND coalesce(jsonb_typeof(fields), 'object') = 'object'
		RETURNING * INTO new;
	IF FOUND THEN
		RETURN jsonb_build_object('data', miosa.instance_object(new));
	END IF;

	SELECT * INTO d FROM miosa.deployments p WHERE p.id = deployment_id;
	IF NOT FOUND THEN
		PERFORM miosa.no_deployment(deployment_id);
	ELSIF NOT EXISTS (SELECT FROM miosa.versions v WHERE v.deployment_id = deployment_id AND v.id = version_id) THEN
		PERFORM miosa.no_version(deployment_id, version_id);
	END IF;
	-- The instance before the deployment: a transaction of many heartbeats may
	-- have it, and a wait for that must not make rollbacks wait.
	INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id)
		VALUES (deployment_id, id, d.tenant_id, version_id)
		ON CONFLICT ON CONSTRAINT runtime_instances_pkey DO NOTHING;
	SELECT * INTO old FROM miosa.runtime_instances i
		WHERE i.deployment_id = deployment_id AND i.id = id FOR NO KEY UPDATE;
	PERFORM miosa.lock_deployment(deployment_id);
	SELECT r.id INTO release FROM miosa.releases r
		WHERE r.deployment_id = deployment_id AND r.deployment_version_id = version_id;
	IF old.state = 'destroyed' OR old.observed_at > observed THEN
		RETURN jsonb_build_object('data', miosa.instance_object(old));
	END IF;
	was_live := old.state = 'healthy' AND coalesce(old.last_heartbeat_at, old.updated_at) > horizon;
	IF jsonb_typeof(fields) = 'object' THEN
		fields := fields - ARRAY['deployment_id', 'id', 'tenant_id', 'version_id', 'release_id', 'state', 'observed_at', 'reported_by'];
	END IF;
	new := miosa.merge_fields(old, fields, '{}', NULL);
	-- What is being drained never counts again, even if it still says that it
	-- is healthy.  If no heartbeat came for long since, the instance has stopped
	-- and was started again.
	IF old.state <> 'stopping' OR old.version_id <> version_id OR miosa.has_ended(state)
		OR greatest(old.last_heartbeat_at, old.updated_at) <= horizon THEN
		-- Nor does what comes up after its scheduler was asked to stop all.
		new.state := CASE WHEN NOT miosa.has_ended(state) AND EXISTS (SELECT FROM miosa.capacity c
				WHERE c.deployment_id = deployment_id AND c.version_id = version_id AND c.state = 'draining')
			THEN 'stopping' ELSE state END;
	END IF;
	UPDATE miosa.runtime_instances i SET version_id = version_id, release_id = release, state = new.state,
			address = coalesce(address, new.address), port = coalesce(port, new.port),
			error_message = coalesce(error_message, new.error_message), metadata = new.metadata,
			last_heartbeat_at = now(), observed_at = coalesce(observed, clock_timestamp()), reported_by = NULL,
			updated_at = CASE WHEN new.state <> old.state THEN now() ELSE old.updated_at END
		WHERE i.deployment_id = deployment_id AND i.id = id
		RETURNING * INTO new;
	IF was_live <> (new.state = 'healthy') OR old.version_id <> version_id THEN
		PERFORM miosa.complete_capacity(deployment_id);
	END IF;
	RETURN jsonb_build_object('data', miosa.instance_object(new));
EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, broken = CONSTRAINT_NAME;
	PERFORM miosa.refuse_row('instance', message, detail, broken);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_report_instance(text, text, text, text, text, integer, text, jsonb) IS 'Inserts or changes a running instance, also as its heartbeat';
-- Reading: the platform's object shapes, lists with cursors, and routes.
--
-- The functions that return objects have no SET clause and one expression
-- each, so that the planner puts them in line.  Their bodies are quoted: the
-- newest releases of PostgreSQL do not rewrite a table, as a column that a user
-- adds may need, while a parsed body uses its row type.  The search_path of the
-- caller resolves a quoted body, so it is written for any: functions have their
-- schema, and operators get exactly the types that they are declared for, since
-- a better match in another schema would win.  A caller that lists a schema
-- before pg_catalog affects only its own query: our entry points set search_path.

-- Format a time.
CREATE FUNCTION miosa.iso(at timestamptz) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_iso';
COMMENT ON FUNCTION miosa.iso(timestamptz) IS 'The time as ISO 8601 in UTC with microseconds and Z, whatever DateStyle and TimeZone are; null for null';

-- Build the object of a deployment, as the response of an operation has it.
CREATE FUNCTION miosa.deployment_object(d miosa.deployments) RETURNS jsonb
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_deployment_object';
COMMENT ON FUNCTION miosa.deployment_object(miosa.deployments) IS 'A deployment in the platform''s shape; the older repository fields come from its metadata';

-- Build the response that a key's record stands for.
CREATE FUNCTION miosa.stored_response(k miosa.idempotency_keys) RETURNS jsonb
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_stored_response';
COMMENT ON FUNCTION miosa.stored_response(miosa.idempotency_keys) IS 'The response of the operation that the key belongs to, byte for byte, of what its record stores';

-- Build the object of a version.
CREATE FUNCTION miosa.version_object(v miosa.versions) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT pg_catalog.jsonb_build_object(
		'id', v.id,
		'deployment_id', v.deployment_id,
		'tenant_id', v.tenant_id,
		'version_number', v.version_number,
		'kind', v.kind,
		'state', v.state,
		'promoted_over', v.promoted_over,
		'bad', miosa.bad_mark(v.deployment_id, v.id),
		'pinned', v.pinned,
		'schema_version', v.schema_version,
		'schema_min', v.schema_min,
		'schema_max', v.schema_max,
		'created_by', v.created_by,
		'source_sandbox_id', v.source_sandbox_id,
		'build_id', v.build_id,
		'workspace_id', v.workspace_id,
		'project_id', v.project_id,
		'external_workspace_id', v.external_workspace_id,
		'external_user_id', v.external_user_id,
		'external_project_id', v.external_project_id,
		'artifact_uri', miosa.shown_uri(v.artifact_uri),
		'artifact_manifest', v.artifact_manifest,
		'artifact_sha256', v.artifact_sha256,
		'source_sha256', v.source_sha256,
		'runtime_image', v.runtime_image,
		'runtime_command', v.runtime_command,
		'health_check_path', v.health_check_path,
		'runtime_port', v.runtime_port,
		'build_log_uri', miosa.shown_uri(v.build_log_uri),
		'metadata', v.metadata,
		'promoted_at', miosa.iso(v.promoted_at),
		'archived_at', miosa.iso(v.archived_at),
		'created_at', miosa.iso(v.created_at),
		'updated_at', miosa.iso(v.updated_at))
$$;
COMMENT ON FUNCTION miosa.version_object(miosa.versions) IS 'A version in the platform''s shape';

-- The platform's clients read three shapes of audit events; this one has the
-- fields of all of them, and what is particular to us in metadata as well.
CREATE FUNCTION miosa.audit_object(a miosa.audit_events) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT pg_catalog.jsonb_build_object(
		'id', a.deployment_id || '#' || a.seq::text,
		'tenant_id', a.tenant_id,
		'actor_id', a.actor_id,
		'actor_type', a.actor_type,
		'action', a.action,
		'outcome', a.outcome,
		'resource', 'deployment:' || a.deployment_id,
		'resource_type', 'deployment',
		'resource_id', a.deployment_id,
		'metadata', pg_catalog.jsonb_build_object(
			'deployment_id', a.deployment_id,
			'seq', a.seq,
			'outcome', a.outcome,
			'target_rule', a.target_rule,
			'previous_version_id', a.previous_version_id,
			'target_version_id', a.target_version_id,
			'idempotency_key', a.idempotency_key,
			'reason', a.reason,
			'attribution', a.attribution,
			'marks', a.marks,
			'session_user', a.session_user_name,
			'application_name', a.application_name,
			'keep_until', miosa.iso(a.keep_until),
			'hash', pg_catalog.encode(a.hash, 'hex')),
		'ip_address', pg_catalog.host(a.client_addr),
		'created_at', miosa.iso(a.created_at),
		'inserted_at', miosa.iso(a.created_at))
$$;
COMMENT ON FUNCTION miosa.audit_object(miosa.audit_events) IS 'An audit event in a shape that all clients of the platform read';

-- Build the object of a release.
CREATE FUNCTION miosa.release_object(r miosa.releases) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN r.id IS NOT NULL THEN pg_catalog.jsonb_build_object(
		'id', r.id,
		'deployment_id', r.deployment_id,
		'deployment_version_id', r.deployment_version_id,
		'tenant_id', r.tenant_id,
		'kind', r.kind,
		'environment_id', r.environment_id,
		'storage_backend', r.storage_backend,
		'storage_uri', miosa.shown_uri(r.storage_uri),
		'sha256', r.sha256,
		'artifact_uri', miosa.shown_uri(r.storage_uri),
		'artifact_sha256', r.sha256,
		'artifact_manifest', '{}'::jsonb,
		'size_bytes', r.size_bytes,
		'metadata', r.metadata,
		'verified_at', miosa.iso(r.verified_at),
		'collected_at', miosa.iso(r.collected_at),
		'collected_by', r.collected_by,
		'deleted_at', miosa.iso(r.deleted_at),
		'ready_at', miosa.iso(r.ready_at),
		'created_at', miosa.iso(r.created_at),
		'updated_at', miosa.iso(r.updated_at)) END
$$;
COMMENT ON FUNCTION miosa.release_object(miosa.releases) IS 'A release in the platform''s shape; null for no release';

-- Build the object of an instance.
CREATE FUNCTION miosa.instance_object(i miosa.runtime_instances) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT pg_catalog.jsonb_build_object(
		'id', i.id,
		'deployment_id', i.deployment_id,
		'tenant_id', i.tenant_id,
		'version_id', i.version_id,
		'release_id', i.release_id,
		'state', i.state,
		'ip_address', i.address,
		'port', i.port,
		'last_heartbeat_at', miosa.iso(i.last_heartbeat_at),
		'error_message', i.error_message,
		'metadata', i.metadata,
		'created_at', miosa.iso(i.created_at),
		'updated_at', miosa.iso(i.updated_at))
$$;
COMMENT ON FUNCTION miosa.instance_object(miosa.runtime_instances) IS 'A runtime instance in the platform''s shape';

-- Build the object of a domain.
CREATE FUNCTION miosa.domain_object(m miosa.domains) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT pg_catalog.jsonb_build_object(
		'id', m.id,
		'tenant_id', m.tenant_id,
		'deployment_id', m.deployment_id,
		'domain', m.fqdn,
		'fqdn', m.fqdn,
		'state', m.state,
		'redirect_policy', m.redirect_policy,
		'verified_at', miosa.iso(m.verified_at),
		'created_at', miosa.iso(m.created_at))
$$;
COMMENT ON FUNCTION miosa.domain_object(miosa.domains) IS 'A domain in the platform''s shape';

-- Finding a deployment by what people and edges call it.  These are in PL/pgSQL,
-- which keeps their plans: planning takes longer than the look-ups.

-- Find a deployment by its managed host.
CREATE FUNCTION miosa.managed_deployment(host text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
	RETURN (SELECT p.id
		FROM (SELECT '.' || miosa.managed_domain() AS suffix) m
		JOIN miosa.tenants t ON t.slug = split_part(left($1, -length(m.suffix)), '.', 2)
		JOIN miosa.deployments p ON p.tenant_id = t.id AND p.slug = split_part($1, '.', 1)
		WHERE right($1, length(m.suffix)) = m.suffix
			AND left($1, -length(m.suffix)) = p.slug || '.' || t.slug);
END $$;
COMMENT ON FUNCTION miosa.managed_deployment(text) IS 'Deployment whose managed host this is (in lower case); null for none';

-- Pass another tenant's deployment by.
CREATE FUNCTION miosa.seen_deployment(deployment_id text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN miosa.sees_deployment($1) THEN $1 END
$$;
COMMENT ON FUNCTION miosa.seen_deployment(text) IS 'The deployment, if it exists for the caller; else null';

-- Find the domain that routes a host, of those that exist for the caller; the
-- most specific one wins.
CREATE FUNCTION miosa.domain_of_host(host text) RETURNS miosa.domains
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
	RETURN (SELECT m FROM miosa.domains m
		WHERE m.state = 'active' AND m.fqdn IN ($1, '*' || substring($1 FROM '[.].*$')) AND miosa.sees_deployment(m.deployment_id)
		ORDER BY m.fqdn = $1 DESC LIMIT 1);
END $$;
COMMENT ON FUNCTION miosa.domain_of_host(text) IS 'The active domain that routes this host (in lower case): its own, else the wildcard above it';

-- Cursors are opaque to callers: the place of the last row in hexadecimal.

-- Encode a place in a list.
CREATE FUNCTION miosa.write_cursor(list text, place text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN encode(convert_to(list || ':' || place, 'UTF8'), 'hex');
COMMENT ON FUNCTION miosa.write_cursor(text, text) IS 'Cursor of a list after a place';

-- Raises INVALID_ARGUMENT.
CREATE FUNCTION miosa.read_cursor(cursor text, list text, pattern text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	place text[];
BEGIN
	IF cursor IS NULL THEN
		RETURN NULL;
	END IF;
	-- Only pairs of digits that stand for printable ASCII are decoded.
	IF length(cursor) <= 1200 AND cursor ~ '^([2-7][0-9a-f])+$' THEN
		place := regexp_match(convert_from(decode(cursor, 'hex'), 'UTF8'), '^' || list || ':' || pattern || '$');
	END IF;
	IF place IS NULL THEN
		PERFORM miosa.refuse_value('argument', 'cursor', cursor, NULL,
			'Pass next_cursor of the page before, as it was, or none for the first page.');
	END IF;
	RETURN place;
END $$;
COMMENT ON FUNCTION miosa.read_cursor(text, text, text) IS 'Parts of the place that a cursor of this list stands for, by a regular expression; null for null';

-- Check the limit of a page.
CREATE FUNCTION miosa.check_limit(value integer, most integer) RETURNS integer
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	IF value IS NULL OR value NOT BETWEEN 1 AND most THEN
		PERFORM miosa.refuse_value('argument', 'limit', value::text, NULL, format('Ask for 1 to %s rows.', most));
	END IF;
	RETURN value;
END $$;
COMMENT ON FUNCTION miosa.check_limit(integer, integer) IS 'The value if it is from 1 to most, else INVALID_ARGUMENT';

-- Say how old an answer is, on a standby.
CREATE FUNCTION miosa.stamp_as_of(object jsonb) RETURNS jsonb
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_stamp_as_of';
COMMENT ON FUNCTION miosa.stamp_as_of(jsonb) IS 'The object; on a standby with a member as_of, which says how old it is';

-- The functions for programs.

-- Return a deployment.
CREATE FUNCTION @extschema@.miosa_deployment(id text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	d miosa.deployments;
BEGIN
	PERFORM miosa.check_id(id, 'deployment id');
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = id;
	IF NOT FOUND THEN
		PERFORM miosa.no_deployment(id);
	END IF;
	RETURN miosa.stamp_as_of(jsonb_build_object('data', miosa.deployment_object(d)));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_deployment(text) IS 'A deployment by its id: {"data": deployment}';

-- Return a version with its release.
CREATE FUNCTION @extschema@.miosa_version(deployment_id text, version_id text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	v miosa.versions;
	r miosa.releases;
BEGIN
	PERFORM miosa.check_id(deployment_id, 'deployment id');
	PERFORM miosa.check_id(version_id, 'version id');
	SELECT * INTO v FROM miosa.versions o WHERE o.deployment_id = deployment_id AND o.id = version_id;
	IF NOT FOUND THEN
		IF NOT EXISTS (SELECT FROM miosa.deployments p WHERE p.id = deployment_id) THEN
			PERFORM miosa.no_deployment(deployment_id);
		END IF;
		PERFORM miosa.no_version(deployment_id, version_id);
	END IF;
	SELECT * INTO r FROM miosa.releases o
		WHERE o.deployment_id = deployment_id AND o.deployment_version_id = version_id;
	RETURN miosa.stamp_as_of(jsonb_build_object('data', miosa.version_object(v), 'release', miosa.release_object(r)));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_version(text, text) IS 'A version of a deployment: {"data": version, "release": its release or null}';

-- Return a page of versions.
CREATE FUNCTION @extschema@.miosa_versions(deployment_id text, state text DEFAULT NULL,
	"limit" integer DEFAULT 20, cursor text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	below bigint;
	result jsonb;
BEGIN
	PERFORM miosa.check_id(deployment_id, 'deployment id');
	IF state IS NOT NULL THEN
		PERFORM miosa.check_word(state, 'state', ARRAY['created', 'building', 'ready', 'failed', 'archived']);
	END IF;
	PERFORM miosa.check_limit("limit", 200);
	below := (miosa.read_cursor(cursor, 'versions', '([0-9]{1,10})'))[1];
	IF NOT EXISTS (SELECT FROM miosa.deployments p WHERE p.id = deployment_id) THEN
		PERFORM miosa.no_deployment(deployment_id);
	END IF;
	-- One row more than the limit shows whether there is a next page.
	SELECT jsonb_build_object(
			'data', coalesce(jsonb_agg(p.object ORDER BY p.place) FILTER (WHERE p.place <= "limit"), '[]'),
			'next_cursor', miosa.write_cursor('versions', CASE WHEN count(*) > "limit"
				THEN min(p.version_number) FILTER (WHERE p.place <= "limit") END::text))
		INTO result
		FROM (SELECT miosa.version_object(v) AS object, v.version_number,
				row_number() OVER (ORDER BY v.version_number DESC) AS place
			FROM miosa.versions v
			WHERE v.deployment_id = deployment_id AND (state IS NULL OR v.state = state)
				AND (below IS NULL OR v.version_number < below)
			ORDER BY v.version_number DESC LIMIT "limit" + 1) p;
	RETURN miosa.stamp_as_of(result);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_versions(text, text, integer, text) IS 'Versions of a deployment, highest number first: {"data": [version...], "next_cursor"}';

-- Map actions of audit events to the words of miosa.history().
CREATE FUNCTION miosa.actions(OUT action text, OUT short text) RETURNS SETOF record
LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 20
AS 'MODULE_PATHNAME', 'mrb_actions';
COMMENT ON FUNCTION miosa.actions() IS 'Actions of audit events, and their short names';

-- Encode the place of an audit event.
CREATE FUNCTION miosa.audit_cursor(a miosa.audit_events) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT miosa.write_cursor('audit', (extract(epoch FROM $1.created_at) * 1000000)::bigint || ':' || $1.deployment_id || ':' || $1.seq)
$$;
COMMENT ON FUNCTION miosa.audit_cursor(miosa.audit_events) IS 'Cursor of miosa_audit_log() after an event';

-- Search the events of a deployment for a time, which rises with seq. A clock
-- may have been set back a little, so the result is a bound, a minute early or
-- late; callers compare the time as well.
CREATE FUNCTION miosa.seq_at(deployment_id text, at timestamptz, early boolean) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	slack CONSTANT interval := CASE WHEN early THEN '1 min' ELSE '-1 min' END;
	low bigint;
	high bigint;
	middle record;
BEGIN
	IF at IS NULL THEN
		RETURN NULL;
	END IF;
	SELECT min(a.seq), max(a.seq) + 1 INTO low, high FROM miosa.audit_events a WHERE a.deployment_id = deployment_id;
	WHILE low < high LOOP
		-- Events may be missing between two others.
		SELECT a.seq, a.created_at INTO middle FROM miosa.audit_events a
			WHERE a.deployment_id = deployment_id AND a.seq >= (low + high) / 2 ORDER BY a.seq LIMIT 1;
		IF middle.created_at + slack < at THEN
			low := middle.seq + 1;
		ELSE
			high := (low + high) / 2;
		END IF;
	END LOOP;
	RETURN low;
END $$;
COMMENT ON FUNCTION miosa.seq_at(text, timestamptz, boolean) IS 'Number of the first event of a deployment from a time on, taking a minute off the time or adding one; null for no time, and for no event';

-- Look for an index on actors, which the extension does not make.
CREATE FUNCTION miosa.has_actor_index() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute t ON t.attrelid = i.indrelid AND t.attnum = i.indkey[0]
		WHERE i.indrelid = 'miosa.audit_events'::regclass AND i.indisvalid AND i.indpred IS NULL AND t.attname = 'actor_id')
$$;
COMMENT ON FUNCTION miosa.has_actor_index() IS 'Whether somebody has made an index on the actors of audit events';

-- Return a page of audit events, of a deployment, a tenant or all.
CREATE FUNCTION @extschema@.miosa_audit_log(deployment_id text DEFAULT NULL, tenant_id text DEFAULT NULL,
	action text DEFAULT NULL, actor text DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
	"limit" integer DEFAULT 50, cursor text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	searched text;
	place text[];
	after timestamptz;
	page_order text;
	reach integer;
	earliest timestamptz;
	above bigint;
	below bigint;
	result jsonb;
BEGIN
	IF deployment_id IS NOT NULL THEN
		PERFORM miosa.check_id(deployment_id, 'deployment id');
	END IF;
	IF tenant_id IS NOT NULL THEN
		PERFORM miosa.check_id(tenant_id, 'tenant id');
	END IF;
	IF action IS NOT NULL THEN
		action := coalesce((SELECT a.action FROM miosa.actions() a WHERE a.short = action), action);
		PERFORM miosa.check_word(action, 'action', ARRAY(SELECT a.short FROM miosa.actions() a) || ARRAY(SELECT a.action FROM miosa.actions() a));
	END IF;
	PERFORM miosa.check_limit("limit", 200);
	place := miosa.read_cursor(cursor, 'audit', '(-?[0-9]{1,17}):([A-Za-z0-9._:-]{1,255}):([0-9]{1,18})');
	after := 'epoch'::timestamptz + place[1]::bigint * '1 microsecond'::interval;
	-- Another tenant's events are not even read: no id has a blank.
	searched := deployment_id || CASE WHEN miosa.is_anothers_deployment(deployment_id) THEN ' ' ELSE '' END;
	IF deployment_id IS NULL THEN
		page_order := 'a.created_at DESC, a.deployment_id DESC, a.seq DESC';
	ELSE
		-- The same order, which the key has.
		page_order := 'a.seq DESC';
		IF place[2] = deployment_id THEN
			below := place[3];
			after := NULL;
		ELSE
			below := miosa.seq_at(searched, after, false);
		END IF;
		below := least(below, miosa.seq_at(searched, until, false));
		above := miosa.seq_at(searched, since, true);
	END IF;
	-- Those of an actor are found in the order of time among the newest events;
	-- before a rare one's are, all had better be read at once and sorted, by a term
	-- that no index has. Unless somebody has made an index on actors.
	FOREACH reach IN ARRAY CASE WHEN actor IS NULL OR deployment_id IS NOT NULL OR miosa.has_actor_index() THEN '{NULL}'::integer[]
		ELSE '{2000,300000,NULL}' END
	LOOP
		IF reach IS NOT NULL THEN
			EXECUTE $sql$
				SELECT a.created_at FROM miosa.audit_events a
				WHERE ($1 IS NULL OR a.tenant_id = $1) AND ($2 IS NULL OR a.created_at < $2) AND ($3 IS NULL OR a.created_at <= $3)
				ORDER BY a.created_at DESC OFFSET $4 LIMIT 1
			$sql$ INTO earliest USING tenant_id, until, after, reach;
		ELSIF earliest IS NOT NULL THEN
			page_order := 'a.created_at + ''0 s''::interval DESC, a.deployment_id DESC, a.seq DESC';
			earliest := NULL;
		END IF;
		-- Planned for the filters of this call, so that each finds its index; those
		-- rows alone that are returned are numbered and made objects.
		EXECUTE format($sql$
			SELECT jsonb_build_object(
				'data', coalesce(jsonb_agg(miosa.audit_object(p.event) ORDER BY p.place) FILTER (WHERE p.place <= $7), '[]'),
				'next_cursor', CASE WHEN count(*) > $7 THEN (array_agg(miosa.audit_cursor(p.event)) FILTER (WHERE p.place = $7))[1] END)
			FROM (SELECT l.event, row_number() OVER () AS place
				FROM (SELECT a AS event FROM miosa.audit_events a
					WHERE ($1 IS NULL OR a.deployment_id = $1) AND ($2 IS NULL OR a.tenant_id = $2)
						AND ($3 IS NULL OR a.action = $3) AND ($4 IS NULL OR a.actor_id = $4)
						AND ($5 IS NULL OR a.created_at >= $5) AND ($6 IS NULL OR a.created_at < $6)
						AND ($8 IS NULL OR (a.created_at, a.deployment_id, a.seq) < ($8, $9, $10))
						AND ($11 IS NULL OR a.seq >= $11) AND ($12 IS NULL OR a.seq < $12)
						AND miosa.sees_tenant(a.tenant_id)
					ORDER BY %s LIMIT $7 + 1) l) p
		$sql$, page_order) INTO result
		USING searched, tenant_id, action, actor, greatest(since, earliest), until, "limit", after, place[2], place[3]::bigint, above, below;
		EXIT WHEN earliest IS NULL OR earliest <= since OR result ->> 'next_cursor' IS NOT NULL;
	END LOOP;
	RETURN result;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_audit_log(text, text, text, text, timestamptz, timestamptz, integer, text) IS 'Audit events, newest first: {"data": [event...], "next_cursor"}';

-- The deployment of a host, and where its redirect policy leads.
CREATE FUNCTION miosa.find_host(host text, OUT deployment_id text, OUT redirect_policy text, OUT redirect_to text)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	domain miosa.domains := miosa.domain_of_host(host);
BEGIN
	deployment_id := coalesce(domain.deployment_id, miosa.seen_deployment(miosa.managed_deployment(host)));
	redirect_policy := coalesce(domain.redirect_policy, 'none');
	redirect_to := CASE redirect_policy
		WHEN 'apex_to_www' THEN CASE WHEN host NOT LIKE 'www.%' THEN 'www.' || host END
		WHEN 'www_to_apex' THEN substring(host FROM '^www[.](.+)$') END;
END $$;
COMMENT ON FUNCTION miosa.find_host(text) IS 'Deployment that serves a host (in lower case), null for none; the redirect policy of its domain, and the host that this points to, null for none';

-- Return the present route of a host.
CREATE FUNCTION @extschema@.miosa_route(host text) RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	name text := miosa.clean_host(host);
	here record;
	there record;
BEGIN
	SELECT * INTO here FROM miosa.find_host(name);
	-- A visitor is sent on only to where the same is shown, and stays there.
	SELECT * INTO there FROM miosa.find_host(here.redirect_to);
	IF there.deployment_id IS DISTINCT FROM here.deployment_id OR there.redirect_to = name THEN
		here.redirect_to := NULL;
	END IF;
	RETURN QUERY
		SELECT miosa.stamp_as_of(jsonb_build_object('data', jsonb_build_object('host', name, 'deployment_id', r.deployment_id, 'tenant_id', r.tenant_id,
			'version_id', r.version_id, 'version_number', r.version_number, 'kind', r.kind,
			'release_id', r.release_id, 'storage_uri', r.storage_uri, 'sha256', r.sha256,
			'state', r.state, 'redirect_policy', here.redirect_policy, 'redirect_to', here.redirect_to,
			'ttl_seconds', extract(epoch FROM r.route_ttl)::double precision,
			'seq', r.seq, 'route_seq', r.route_seq,
			'epoch', (SELECT max(l.epoch) FROM miosa.route_log l
				WHERE l.deployment_id = r.deployment_id AND l.kind IN ('route', 'host_removed')),
			'instances', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', i.id, 'address', i.address, 'port', i.port)
					ORDER BY i.id), '[]')
				FROM miosa.live_instances i
				WHERE i.deployment_id = r.deployment_id AND i.version_id = r.version_id AND i.address IS NOT NULL))))
		FROM miosa.routes r WHERE r.deployment_id = here.deployment_id;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_route(text) IS 'What an edge needs to serve a host now; no row for a host that is not routed';

-- Build a page of route changes, in the snapshot of the caller.
CREATE FUNCTION miosa.route_changes(epoch bigint, "limit" integer, gap boolean) RETURNS jsonb
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_route_changes';
COMMENT ON FUNCTION miosa.route_changes(bigint, integer, boolean) IS 'Result of miosa_routes_since(), with this value of gap';

-- Return a page of route changes.
CREATE FUNCTION @extschema@.miosa_routes_since(epoch bigint, "limit" integer DEFAULT 1000) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	PERFORM miosa.check_limit("limit", 10000);
	IF epoch IS NULL OR epoch < 0 THEN
		PERFORM miosa.refuse_value('argument', 'epoch', epoch::text, NULL,
			'Pass the last epoch that was seen, 0 for the beginning.');
	END IF;
	RETURN miosa.route_changes(epoch, "limit",
		-- Trimmed; or of a primary that was lost before all of it came here.
		coalesce((SELECT s.trimmed_epoch > epoch OR epoch > s.last_epoch
			OR miosa.epoch_term(epoch) < s.term AND epoch > coalesce((SELECT max(o.epoch) FROM miosa.route_log o
				WHERE o.epoch < miosa.first_epoch(miosa.epoch_term(epoch) + 1)), s.trimmed_epoch)
			FROM miosa.dispatcher_state s), false));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_routes_since(bigint, integer) IS 'Route changes after an epoch, oldest first, for listeners that missed notifications';
-- Verification of the audit trail.
--
-- The hash of an event covers the event and the hash before it
-- (src/operation/audit_chain.c), the first one that is left the hash in the
-- deployment's checkpoint, and the deployment's audit_head is the hash of the
-- newest one.  All of it is read in one snapshot, so operations that run
-- meanwhile are no problems.

-- Chains and statements are of all tenants.
CREATE FUNCTION miosa.need_all_tenants() RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL UNSAFE AS $$
BEGIN
	IF NOT miosa.sees_all_tenants() THEN
		PERFORM miosa.raise_condition('FORBIDDEN', 'the audit trail of all tenants cannot be read', 'The caller does not act for all tenants.',
			'Read the events of a tenant with SELECT miosa_audit_log();');
	END IF;
	RETURN true;
END $$;
COMMENT ON FUNCTION miosa.need_all_tenants() IS 'True; raises FORBIDDEN when the caller does not act for all tenants';

-- Compute the hash of an event.
CREATE FUNCTION miosa.audit_hash(event miosa.audit_events, previous bytea) RETURNS bytea
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_audit_hash';
COMMENT ON FUNCTION miosa.audit_hash(miosa.audit_events, bytea) IS 'The hash that an audit event should have, after an event with this hash; null for none';

-- The chain of each deployment, or of one, from its first event that is left.
CREATE FUNCTION miosa.audit_chains(only_one text, OUT deployment_id text, OUT events bigint, OUT first_seq bigint, OUT last_seq bigint,
	OUT problems jsonb)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE
SET jit = off AS $$
	SELECT v.deployment_id, count(*), min(v.seq), max(v.seq),
		jsonb_agg(jsonb_build_object('deployment_id', v.deployment_id, 'seq', v.seq, 'problem',
			CASE WHEN v.seq = v.expected THEN 'the event does not match its hash'
				WHEN v.seq = v.expected + 1 THEN format('event %s is missing', v.expected)
				WHEN v.seq > v.expected THEN format('events %s to %s are missing', v.expected, v.seq - 1)
				ELSE 'the event comes before the checkpoint' END) ORDER BY v.seq) FILTER (WHERE v.seq <> v.expected OR NOT v.matches)
	FROM (
		SELECT a.deployment_id, a.seq, coalesce(lag(a.seq) OVER w, c.seq, 0) + 1 AS expected,
			coalesce(a.hash = miosa.audit_hash(a, coalesce(lag(a.hash) OVER w, c.hash)), false) AS matches
		FROM miosa.audit_events a LEFT JOIN miosa.audit_checkpoints c ON c.deployment_id = a.deployment_id
		WHERE only_one IS NULL OR a.deployment_id = only_one
		WINDOW w AS (PARTITION BY a.deployment_id ORDER BY a.seq)) v
	GROUP BY v.deployment_id
$$;
COMMENT ON FUNCTION miosa.audit_chains(text) IS 'Chains of audit events by deployment, and events that are missing or do not match their hash; only_one: a deployment, null for all';

-- The same, and whether each chain ends where it should: at the head of its
-- deployment, or at the one that the deployment had when it was deleted.
CREATE FUNCTION miosa.audit_ends(only_one text, OUT deployment_id text, OUT events bigint, OUT first_seq bigint, OUT last_seq bigint,
	OUT last_hash bytea, OUT problems jsonb)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE
SET jit = off AS $$
	SELECT t.deployment_id, t.events, t.first_seq, t.last_seq, t.last_hash,
		CASE WHEN (t.last_seq, t.last_hash) IS DISTINCT FROM (t.head_seq, t.head) THEN coalesce(t.problems, '[]') || jsonb_build_object(
				'deployment_id', t.deployment_id, 'seq', t.last_seq, 'problem',
			CASE WHEN t.head_seq IS NULL THEN 'the deployment is gone and has left no head'
				WHEN t.last_seq = t.head_seq THEN 'the newest event is not the head of the chain'
				WHEN t.last_seq > t.head_seq THEN format('the head of the chain is event %s', t.head_seq)
				WHEN t.last_seq + 1 = t.head_seq THEN format('event %s is missing', t.head_seq)
				ELSE format('events %s to %s are missing', t.last_seq + 1, t.head_seq) END)
			ELSE t.problems END
	FROM (
		SELECT coalesce(c.deployment_id, d.deployment_id, p.deployment_id) AS deployment_id, coalesce(c.events, 0) AS events, c.first_seq, coalesce(c.last_seq, p.seq, 0) AS last_seq,
			CASE WHEN c.last_seq IS NULL THEN p.hash ELSE e.hash END AS last_hash, c.problems,
			CASE WHEN d.seq IS NOT NULL THEN d.seq ELSE p.last_seq END AS head_seq,
			CASE WHEN d.seq IS NOT NULL THEN d.audit_head ELSE p.last_hash END AS head
		FROM miosa.audit_chains(only_one) c
		FULL JOIN (SELECT d.id AS deployment_id, d.seq, d.audit_head FROM miosa.deployments d WHERE only_one IS NULL OR d.id = only_one) d USING (deployment_id)
		FULL JOIN (SELECT * FROM miosa.audit_checkpoints p WHERE only_one IS NULL OR p.deployment_id = only_one) p USING (deployment_id)
		LEFT JOIN miosa.audit_events e ON e.deployment_id = c.deployment_id AND e.seq = c.last_seq) t
$$;
COMMENT ON FUNCTION miosa.audit_ends(text) IS 'Chains of audit events as miosa.audit_chains() has them, compared with the heads of their deployments';

-- An event whose hash was kept outside of the server must still be there.  One
-- that retention has removed is behind the checkpoint.
CREATE FUNCTION miosa.audit_known(deployment_id text, seq bigint, hash bytea) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT jsonb_build_array(jsonb_build_object('deployment_id', $1, 'seq', $2, 'problem',
		CASE WHEN k.hash IS NULL THEN 'the event whose hash was given is missing' ELSE 'the event has another hash than was given' END))
	FROM (SELECT coalesce((SELECT e.hash FROM miosa.audit_events e WHERE e.deployment_id = $1 AND e.seq = $2),
		(SELECT CASE WHEN p.seq = $2 THEN p.hash WHEN p.seq > $2 THEN $3 END FROM miosa.audit_checkpoints p WHERE p.deployment_id = $1)) AS hash) k
	WHERE k.hash IS DISTINCT FROM $3
$$;
COMMENT ON FUNCTION miosa.audit_known(text, bigint, bytea) IS 'The problem if an audit event is missing or has not this hash; null when it has, or retention has removed it';

-- Verify the audit trail of a deployment.
CREATE FUNCTION @extschema@.miosa_audit_verify(deployment_id text, known_seq bigint DEFAULT NULL, known_hash text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	chain record;
	problems jsonb;
BEGIN
	PERFORM miosa.check_id(deployment_id, 'deployment id');
	IF (known_seq IS NULL) <> (known_hash IS NULL) OR known_hash !~ '^[0-9A-Fa-f]{64}$' THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid value for argument "known_hash"',
			'It takes the number of an event and its hash, 64 hexadecimal digits.',
			format('Verify without: SELECT miosa_audit_verify(%L);', deployment_id));
	END IF;
	SELECT * INTO chain FROM miosa.audit_ends(deployment_id) e
		WHERE miosa.sees_all_tenants() OR EXISTS (SELECT FROM miosa.audit_events a WHERE a.deployment_id = e.deployment_id AND miosa.sees_tenant(a.tenant_id));
	IF NOT FOUND THEN
		PERFORM miosa.no_deployment(deployment_id);
	END IF;
	problems := coalesce(chain.problems, '[]') || coalesce(miosa.audit_known(deployment_id, known_seq, decode(known_hash, 'hex')), '[]');
	RETURN jsonb_build_object('data', jsonb_build_object('deployment_id', deployment_id, 'verified', problems = '[]',
		'events', chain.events, 'first_seq', chain.first_seq, 'last_seq', chain.last_seq, 'head', encode(chain.last_hash, 'hex'),
		'problems', problems));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_audit_verify(text, bigint, text) IS 'Verifies the hash chain of a deployment''s audit events, and that it has an event whose hash was kept elsewhere: {"data": {"verified", "problems", ...}}';

-- Statements, which leave the server.
--
-- A statement lists the heads of the deployments that have changed since the one
-- before, which are those of the route log, as every operation changes a route.
-- Epochs are given in the order of commits, so none is passed over.  If the log
-- was trimmed first, the events of the time since are asked.

-- The lines of a statement.
CREATE FUNCTION miosa.audit_content(number bigint, at timestamptz, previous bytea, deployment_ids text[]) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT concat('miosa audit statement 1', E'\n', 'database ', to_json(current_database()), E'\n',
		'installation ', to_json(coalesce(miosa.setting('site'), (SELECT c.system_identifier::text FROM pg_control_system() c))), E'\n',
		'number ', $1, E'\n', 'time ', miosa.iso($2), E'\n', 'previous ', coalesce(encode($3, 'hex'), 'none'), E'\n',
		(SELECT string_agg(format('deployment %s %s %s', h.id, h.seq, encode(h.hash, 'hex')) || E'\n', '' ORDER BY h.id COLLATE "C")
			FROM (SELECT i.id, CASE WHEN d.id IS NULL THEN p.last_seq ELSE d.seq END AS seq,
					CASE WHEN d.id IS NULL THEN p.last_hash ELSE d.audit_head END AS hash
				FROM unnest($4) i (id)
				LEFT JOIN miosa.deployments d ON d.id = i.id
				LEFT JOIN miosa.audit_checkpoints p ON p.deployment_id = i.id) h
			WHERE h.hash IS NOT NULL), miosa.configuration_line())
$$;
COMMENT ON FUNCTION miosa.audit_content(bigint, timestamptz, bytea, text[]) IS 'The lines of a statement about the heads of these deployments';

-- Make the next statement, unless nothing has changed.
CREATE FUNCTION miosa.audit_state(most integer, OUT number bigint, OUT more boolean)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	last miosa.audit_statements;
	at CONSTANT timestamptz := clock_timestamp();
	ids text[];
	upto bigint;
	changes bigint;
	trimmed bigint;
	content text;
BEGIN
	SELECT s.* INTO last FROM miosa.audit_statements s ORDER BY s.number DESC LIMIT 1;
	SELECT s.trimmed_epoch INTO trimmed FROM miosa.dispatcher_state s;
	SELECT array_agg(DISTINCT l.deployment_id), max(l.epoch), count(*) INTO ids, upto, changes
		FROM (SELECT r.deployment_id, r.epoch FROM miosa.route_log r WHERE r.epoch > coalesce(last.epoch, 0) ORDER BY r.epoch LIMIT most) l;
	more := changes >= most;
	IF trimmed > coalesce(last.epoch, 0) THEN
		ids := ids || ARRAY(SELECT DISTINCT a.deployment_id FROM miosa.audit_events a
			WHERE a.created_at > coalesce(last.created_at - '1 hour'::interval, '-infinity'));
		upto := greatest(upto, trimmed);
	END IF;
	IF upto IS NULL AND strpos(coalesce(last.content, ''), coalesce(miosa.configuration_line(), 'miosa')) > 0
		OR upto IS NULL AND miosa.configuration_line() IS NULL THEN
		RETURN;
	END IF;
	upto := coalesce(upto, last.epoch, 0);
	number := coalesce(last.number, 0) + 1;
	content := miosa.audit_content(number, at, last.hash, ids);
	INSERT INTO miosa.audit_statements VALUES (number, at, upto, content, sha256(convert_to(content, 'UTF8')));
	DELETE FROM miosa.audit_statements s WHERE s.number IN (SELECT o.number FROM miosa.audit_statements o
		WHERE o.created_at < at - '401 days'::interval ORDER BY o.number LIMIT 100);
	-- A full queue would fail the commit.
	IF pg_notification_queue_usage() <= 0.5 THEN
		PERFORM pg_notify('miosa_audit', json_build_object('number', number, 'sha256', encode(sha256(convert_to(content, 'UTF8')), 'hex'),
			'time', miosa.iso(at))::text);
	END IF;
END $$;
COMMENT ON FUNCTION miosa.audit_state(integer) IS 'Makes a statement of the heads that have changed, of so many route changes at most; more: others are left';

-- The next statement for a receiver.  A new one receives the newest.
CREATE FUNCTION miosa.audit_next(receiver text, OUT number bigint, OUT created_at timestamptz, OUT content text, OUT hash bytea)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT s.number, s.created_at, s.content, s.hash FROM miosa.audit_statements s
	WHERE s.number > coalesce((SELECT r.number FROM miosa.audit_receivers r WHERE r.receiver = $1), (SELECT max(o.number) - 1 FROM miosa.audit_statements o))
	ORDER BY s.number LIMIT 1
$$;
COMMENT ON FUNCTION miosa.audit_next(text) IS 'The first statement that a receiver has not accepted';

-- Note that a receiver has accepted a statement.
CREATE FUNCTION miosa.audit_sent(receiver text, number bigint) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	INSERT INTO miosa.audit_receivers AS r (receiver, number, sent_at) VALUES ($1, $2, clock_timestamp())
		ON CONFLICT ON CONSTRAINT audit_receivers_pkey DO UPDATE SET number = greatest(r.number, excluded.number), sent_at = excluded.sent_at
$$;
COMMENT ON FUNCTION miosa.audit_sent(text, bigint) IS 'Records that a receiver has accepted a statement';

-- The newest statement.
CREATE FUNCTION @extschema@.miosa_audit_head() RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('data', (SELECT jsonb_build_object('number', s.number, 'created_at', miosa.iso(s.created_at),
			'sha256', encode(s.hash, 'hex'), 'statement', s.content)
		FROM miosa.audit_statements s ORDER BY s.number DESC LIMIT 1)) WHERE miosa.need_all_tenants()
$$;
COMMENT ON FUNCTION @extschema@.miosa_audit_head() IS 'The newest statement of heads of the audit trail: {"data": {"number", "created_at", "sha256", "statement"}}; null before the first one';

-- What a statement says that is not so: the heads that it lists, and itself.
CREATE FUNCTION miosa.audit_statement_problems(content text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT coalesce(jsonb_path_query_array(jsonb_agg(k.problems), '$[*][*]'), '[]')
	FROM (SELECT regexp_split_to_array(l.line, ' ') AS part FROM regexp_split_to_table($1, E'\n') l (line)
		WHERE l.line LIKE 'deployment %' OR l.line LIKE 'configuration %') l
	CROSS JOIN LATERAL (SELECT CASE l.part[1] WHEN 'deployment' THEN miosa.audit_known(l.part[2], l.part[3]::bigint, decode(l.part[4], 'hex'))
		ELSE miosa.configuration_known(l.part[2], l.part[3]::bigint, decode(l.part[4], 'hex')) END) k (problems) WHERE k.problems IS NOT NULL
$$;
COMMENT ON FUNCTION miosa.audit_statement_problems(text) IS 'Events that a statement lists and that are missing or have another hash now';

-- Verify a statement that was kept outside.
CREATE FUNCTION @extschema@.miosa_audit_verify_statement(statement text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	stated bigint := substring(statement FROM '\nnumber ([0-9]{1,18})\n');
	problems jsonb;
BEGIN
	PERFORM miosa.need_all_tenants();
	IF stated IS NULL OR statement !~ '^miosa audit statement 1\n([a-z]+ [^\n]+\n)+$' OR statement ~ '(^|\n)deployment (?![^ \n]+ [0-9]{1,18} [0-9a-f]{64}\n)' THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid value for argument "statement"',
			'It is not a statement of the audit trail, with all of its lines and the newline at its end.',
			'See the newest one with SELECT miosa_audit_head();');
	END IF;
	problems := miosa.audit_statement_problems(statement);
	IF NOT EXISTS (SELECT FROM miosa.audit_statements s WHERE s.number = stated AND s.hash = sha256(convert_to(statement, 'UTF8')))
		AND stated >= (SELECT coalesce(min(s.number), 0) FROM miosa.audit_statements s) THEN
		problems := problems || jsonb_build_object('statement', stated, 'problem', 'the statement is missing or is another one here');
	END IF;
	RETURN jsonb_build_object('data', jsonb_build_object('number', stated, 'verified', problems = '[]', 'problems', problems));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_audit_verify_statement(text) IS 'Verifies the audit trail against a statement that was kept elsewhere: {"data": {"number", "verified", "problems"}}';

-- The statements here: each has the hash of the one before, and lists hashes
-- that events have.
CREATE FUNCTION miosa.audit_statements_problems() RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT coalesce(jsonb_path_query_array(jsonb_agg(p.problems ORDER BY p.number), '$[*][*]'), '[]') FROM (
		SELECT v.number, CASE WHEN v.right THEN '[]'::jsonb ELSE jsonb_build_array(jsonb_build_object('statement', v.number, 'problem',
				'the statement does not match its hash or the one before')) END || miosa.audit_statement_problems(v.content) AS problems
		FROM (SELECT s.number, s.content, s.hash = sha256(convert_to(s.content, 'UTF8')) AND lag(s.number, 1, s.number - 1) OVER w = s.number - 1
				AND strpos(s.content, E'\nnumber ' || s.number || E'\n') > 0
				AND (lag(s.hash) OVER w IS NULL OR strpos(s.content, E'\nprevious ' || encode(lag(s.hash) OVER w, 'hex') || E'\n') > 0) AS right
			FROM miosa.audit_statements s WINDOW w AS (ORDER BY s.number)) v) p
$$;
COMMENT ON FUNCTION miosa.audit_statements_problems() IS 'Statements that do not follow from the one before, and events that they list and that are missing or have another hash';

-- Verify the audit trail of all deployments.
CREATE FUNCTION @extschema@.miosa_audit_verify_all() RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
	-- Computed once, not for each deployment
	WITH s AS MATERIALIZED (SELECT miosa.audit_statements_problems() || miosa.configuration_problems() AS problems)
	SELECT jsonb_build_object('data', jsonb_build_object('verified', count(*) FILTER (WHERE e.problems IS NOT NULL) = 0 AND s.problems = '[]',
		'deployments', count(*), 'events', coalesce(sum(e.events), 0),
		'problems', coalesce(jsonb_path_query_array(jsonb_agg(e.problems ORDER BY e.deployment_id) FILTER (WHERE e.problems IS NOT NULL AND e.place <= 1000), '$[*][*]'), '[]')
			|| jsonb_path_query_array(s.problems, '$[0 to 999]')))
	FROM s
	LEFT JOIN (SELECT a.deployment_id, a.events, a.problems, count(a.problems) OVER (ORDER BY a.deployment_id) AS place
		FROM miosa.audit_ends(NULL) a) e ON true
	WHERE miosa.need_all_tenants()
	GROUP BY s.problems
$$;
COMMENT ON FUNCTION @extschema@.miosa_audit_verify_all() IS 'Verifies the hash chains of all audit events: {"data": {"verified", "events", "problems", ...}}; problems of at most 1,000 deployments';
-- Refused calls.  A condition ends the transaction of its call, so the
-- dispatcher writes them, from shared memory.

CREATE TABLE miosa.refusals (
	id bigint PRIMARY KEY,
	created_at timestamptz NOT NULL,
	count bigint NOT NULL,
	condition text NOT NULL,
	function_name text,
	action text,
	deployment_id text COLLATE "C",
	version_id text COLLATE "C",
	tenant_id text COLLATE "C",
	idempotency_key text COLLATE "C",
	actor_type text NOT NULL,
	actor_id text NOT NULL,
	session_user_name text NOT NULL,
	client_addr inet
);
CREATE INDEX refusals_time ON miosa.refusals (created_at);
COMMENT ON TABLE miosa.refusals IS 'Refused calls, the same one within a second in one row; append-only for everybody, and kept for 30 days';
COMMENT ON COLUMN miosa.refusals.id IS 'Number, in the order of the calls';
COMMENT ON COLUMN miosa.refusals.created_at IS 'When the call was refused, the first of several';
COMMENT ON COLUMN miosa.refusals.count IS 'How many calls';
COMMENT ON COLUMN miosa.refusals.condition IS 'Condition that was raised, as INVALID_ARGUMENT';
COMMENT ON COLUMN miosa.refusals.function_name IS 'Function that was called, or of the trigger; null when it is gone';
COMMENT ON COLUMN miosa.refusals.action IS 'As in miosa.audit_events, for operations; else null';
COMMENT ON COLUMN miosa.refusals.deployment_id IS 'Deployment that the call named, which may not exist; null when there was none';
COMMENT ON COLUMN miosa.refusals.version_id IS 'Version that the call named';
COMMENT ON COLUMN miosa.refusals.tenant_id IS 'Owner of the deployment, if the caller acts for it; else null, and the row is shown to those who act for all tenants';
COMMENT ON COLUMN miosa.refusals.idempotency_key IS 'Key of the call, if it had one';
COMMENT ON COLUMN miosa.refusals.actor_type IS 'user, api_key, role or system';
COMMENT ON COLUMN miosa.refusals.actor_id IS 'Id of the actor, of that type; the role if it may not speak for others';
COMMENT ON COLUMN miosa.refusals.session_user_name IS 'Role that logged in';
COMMENT ON COLUMN miosa.refusals.client_addr IS 'Address of the client; null over a Unix socket';

-- Write refusals that the ring has had.  A row that is there already was written
-- by a process that was ended before it could remove the entry.  A hold counts
-- those that it has refused; one whose deployment is locked comes again later.
CREATE FUNCTION miosa.write_refusals(refusals jsonb) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	later bigint[] := '{}';
	r record;
BEGIN
	FOR r IN SELECT e.* FROM jsonb_to_recordset($1) e (id bigint, at bigint, count bigint, condition text, acts boolean, deployment_id text, version_id text)
		WHERE e.condition = 'HELD' AND e.acts AND NOT EXISTS (SELECT FROM miosa.refusals w WHERE w.id = e.id)
		-- Locks are taken in the order of ids.
		ORDER BY e.deployment_id, e.id
	LOOP
		IF NOT miosa.remember_held(r.deployment_id, r.version_id, r.count, timestamptz '2000-01-01 00:00:00+00' + r.at * interval '1 microsecond', false) THEN
			later := later || r.id;
		END IF;
	END LOOP;
	INSERT INTO miosa.refusals (id, created_at, count, condition, function_name, action, deployment_id, version_id, tenant_id,
			idempotency_key, actor_type, actor_id, session_user_name, client_addr)
		SELECT r.id, timestamptz '2000-01-01 00:00:00+00' + r.at * interval '1 microsecond', r.count, r.condition,
			(SELECT concat(p.pronamespace::regnamespace, '.', p.proname) FROM pg_proc p WHERE p.oid = r.function), r.action,
			r.deployment_id, r.version_id,
			CASE WHEN r.acts THEN (SELECT d.tenant_id FROM miosa.deployments d WHERE d.id = r.deployment_id) END,
			r.idempotency_key, r.actor_type, r.actor_id, r.session_user_name, r.client_addr::inet
		FROM jsonb_to_recordset($1) r (id bigint, at bigint, count bigint, condition text, function oid, action text, acts boolean,
			deployment_id text, version_id text, idempotency_key text, actor_type text, actor_id text, session_user_name text, client_addr text)
		WHERE r.id <> ALL (later)
		ON CONFLICT ON CONSTRAINT refusals_pkey DO NOTHING;
	RETURN later;
END $$;
COMMENT ON FUNCTION miosa.write_refusals(jsonb) IS 'Writes refused calls; returns the ids of those that have to wait';

CREATE TRIGGER refusals_keep BEFORE UPDATE OR DELETE ON miosa.refusals
	FOR EACH ROW EXECUTE FUNCTION miosa.rows_keep('30 days', 'refused calls',
		'Read them: SELECT * FROM miosa.refusals ORDER BY id DESC LIMIT 50;');
CREATE TRIGGER refusals_truncate BEFORE TRUNCATE ON miosa.refusals
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.rows_keep('30 days', 'refused calls',
		'Read them: SELECT * FROM miosa.refusals ORDER BY id DESC LIMIT 50;');
ALTER TABLE miosa.refusals ENABLE ALWAYS TRIGGER refusals_keep;
ALTER TABLE miosa.refusals ENABLE ALWAYS TRIGGER refusals_truncate;
-- When edges had an operation.  The dispatcher measures that in memory
-- (src/delivery/edge_times.c) and writes it once the operation has converged or a
-- newer one has superseded it; one that has not converged after ten seconds is
-- written as incomplete, and again if more becomes known.

CREATE TABLE miosa.convergence_log (
	deployment_id text COLLATE "C" NOT NULL,
	seq bigint NOT NULL,
	tenant_id text COLLATE "C" NOT NULL,
	epoch bigint NOT NULL,
	state text NOT NULL CHECK (state IN ('converged', 'incomplete', 'superseded', 'no_edges', 'unmeasured', 'unknown')),
	created_at timestamptz NOT NULL,
	taken_at timestamptz,
	edges integer,
	confirmed integer,
	first_ms double precision,
	p50_ms double precision,
	p99_ms double precision,
	last_ms double precision,
	last_edge text COLLATE "C",
	tenths_ms double precision[],
	zones jsonb,
	PRIMARY KEY (deployment_id, seq)
);
COMMENT ON TABLE miosa.convergence_log IS 'When edges had the route of an operation, as the dispatcher saw it; kept as long as the audit event';
COMMENT ON COLUMN miosa.convergence_log.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.convergence_log.seq IS 'Number of the operation, as in miosa.audit_events';
COMMENT ON COLUMN miosa.convergence_log.tenant_id IS 'Owner';
COMMENT ON COLUMN miosa.convergence_log.epoch IS 'Position of the change in the route log; of an operation that was superseded before it was sent, that of the newer one';
COMMENT ON COLUMN miosa.convergence_log.state IS 'converged; superseded by a newer operation before that; incomplete for now; no_edges; unmeasured (too many operations at once); unknown (the dispatcher was restarted, or all edges were removed)';
COMMENT ON COLUMN miosa.convergence_log.created_at IS 'When the operation changed the route, from which the times count; for one that waited for instances, when the routes switched';
COMMENT ON COLUMN miosa.convergence_log.taken_at IS 'When the dispatcher had taken the change, after the commit';
COMMENT ON COLUMN miosa.convergence_log.edges IS 'How many edges were to receive it; those that were removed, disabled or set up anew meanwhile are not counted';
COMMENT ON COLUMN miosa.convergence_log.confirmed IS 'How many of them had acknowledged it';
COMMENT ON COLUMN miosa.convergence_log.first_ms IS 'Milliseconds until the first edge had acknowledged it';
COMMENT ON COLUMN miosa.convergence_log.p50_ms IS 'Milliseconds until half of the edges had';
COMMENT ON COLUMN miosa.convergence_log.p99_ms IS 'Milliseconds until 99 of 100 had';
COMMENT ON COLUMN miosa.convergence_log.last_ms IS 'Milliseconds until the last of those that are known to have it had';
COMMENT ON COLUMN miosa.convergence_log.last_edge IS 'Name of that edge';
COMMENT ON COLUMN miosa.convergence_log.tenths_ms IS 'Milliseconds until each tenth of the edges had acknowledged it, as many as are known';
COMMENT ON COLUMN miosa.convergence_log.zones IS 'For each zone: {"edges", "confirmed", "ms": until the last of those}';

-- Count times from a later moment.
CREATE FUNCTION miosa.later(ms double precision, by double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN by = 0 OR ms IS NULL THEN ms ELSE round(greatest(ms - by, 0)::numeric, 1)::double precision END;
COMMENT ON FUNCTION miosa.later(double precision, double precision) IS 'Milliseconds that are counted from so many milliseconds later; never below 0';

-- The same, of all zones.
CREATE FUNCTION miosa.later_zones(zones jsonb, by double precision) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT jsonb_object_agg(z.key, z.value || jsonb_strip_nulls(jsonb_build_object('ms',
		miosa.later((z.value ->> 'ms')::double precision, $2)))) FROM jsonb_each($1) z;
END;
COMMENT ON FUNCTION miosa.later_zones(jsonb, double precision) IS 'Times of zones that are counted from so many milliseconds later';

-- Write reports of the dispatcher: an array for each column.
--
-- A report is about the newest operation that its change shows, and about older
-- ones that the same change superseded before it was sent.  A change of an
-- operation is asked for at the time of its audit event.  One that came later is
-- of something else, of a host, say; unless the operation waited for instances:
-- then its route is the one that leads to its target.
CREATE FUNCTION miosa.write_convergence(deployment_ids text[], version_ids text[], seqs bigint[], epochs bigint[], states text[],
	since timestamptz[], taken_at timestamptz[], edges integer[], confirmed integer[], first_ms double precision[],
	p50_ms double precision[], p99_ms double precision[], last_ms double precision[], last_edges text[], tenths_ms text[], zones text[])
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
	done_ids text[];
	done_seqs bigint[];
BEGIN
	-- Nearly all: the change of one operation, whose last report this is.
	WITH d AS (
		INSERT INTO miosa.convergence_log AS l (deployment_id, seq, tenant_id, epoch, state, created_at, taken_at,
				edges, confirmed, first_ms, p50_ms, p99_ms, last_ms, last_edge, tenths_ms, zones)
			SELECT r.deployment_id, r.seq, e.tenant_id, r.epoch, r.state, r.since, r.taken_at, r.edges, r.confirmed,
				r.first_ms, r.p50_ms, r.p99_ms, r.last_ms, r.last_edge, r.tenths_ms::double precision[], r.zones::jsonb
			FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
				AS r (deployment_id, version_id, seq, epoch, state, since, taken_at, edges, confirmed, first_ms, p50_ms,
				p99_ms, last_ms, last_edge, tenths_ms, zones)
			JOIN miosa.audit_events e ON e.deployment_id = r.deployment_id AND e.seq = r.seq
				AND e.created_at = r.since AND e.outcome <> 'pending' AND e.target_rule <> 'none'
			WHERE r.state <> 'incomplete'
		ON CONFLICT ON CONSTRAINT convergence_log_pkey DO UPDATE SET state = excluded.state,
			edges = excluded.edges, confirmed = excluded.confirmed, first_ms = excluded.first_ms, p50_ms = excluded.p50_ms,
			p99_ms = excluded.p99_ms, last_ms = excluded.last_ms, last_edge = excluded.last_edge, tenths_ms = excluded.tenths_ms,
			zones = excluded.zones, taken_at = excluded.taken_at
		RETURNING l.deployment_id, l.seq)
	SELECT array_agg(d.deployment_id), array_agg(d.seq) INTO done_ids, done_seqs FROM d;
	IF cardinality(done_ids) = cardinality(deployment_ids) THEN
		RETURN;
	END IF;

	INSERT INTO miosa.convergence_log AS l (deployment_id, seq, tenant_id, epoch, state, created_at, taken_at,
			edges, confirmed, first_ms, p50_ms, p99_ms, last_ms, last_edge, tenths_ms, zones)
		SELECT DISTINCT ON (w.deployment_id, w.seq) w.deployment_id, w.seq, w.tenant_id, w.epoch,
			CASE WHEN w.newest THEN w.state ELSE 'superseded' END, w.since + w.early * interval '1 ms', w.taken_at,
			CASE WHEN w.newest THEN w.edges END, CASE WHEN w.newest THEN w.confirmed END,
			CASE WHEN w.newest THEN miosa.later(w.first_ms, w.early) END, CASE WHEN w.newest THEN miosa.later(w.p50_ms, w.early) END,
			CASE WHEN w.newest THEN miosa.later(w.p99_ms, w.early) END, CASE WHEN w.newest THEN miosa.later(w.last_ms, w.early) END,
			CASE WHEN w.newest THEN w.last_edge END,
			CASE WHEN w.newest AND w.tenths_ms IS NOT NULL THEN ARRAY(SELECT miosa.later(t.ms, w.early)
				FROM unnest(w.tenths_ms::double precision[]) WITH ORDINALITY t (ms, place) ORDER BY t.place) END,
			CASE WHEN w.newest THEN miosa.later_zones(w.zones::jsonb, w.early) END
		FROM (
			SELECT r.*, e.seq, e.tenant_id, e.seq = n.seq AS newest, e.created_at,
				-- The report counts from the first operation that it is about.
				greatest(extract(epoch FROM e.created_at - r.since) * 1000, 0)::double precision AS early
			FROM (SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) WITH ORDINALITY
					AS u (deployment_id, version_id, reported_seq, epoch, state, since, taken_at, edges, confirmed, first_ms, p50_ms,
					p99_ms, last_ms, last_edge, tenths_ms, zones, place)
				WHERE NOT EXISTS (SELECT FROM unnest(done_ids, done_seqs) AS d (deployment_id, seq)
					WHERE d.deployment_id = u.deployment_id AND d.seq = u.reported_seq) OFFSET 0) r
			CROSS JOIN LATERAL (
				SELECT a.seq, a.outcome = 'pending' AND a.target_version_id IS DISTINCT FROM r.version_id AS waits,
					a.outcome = 'pending' AS waited FROM miosa.audit_events a
				WHERE a.deployment_id = r.deployment_id AND a.seq <= r.reported_seq AND a.target_rule <> 'none'
				ORDER BY a.seq DESC LIMIT 1) n
			LEFT JOIN LATERAL (SELECT o.seq, o.state FROM miosa.convergence_log o
				WHERE o.deployment_id = r.deployment_id ORDER BY o.seq DESC LIMIT 1) m ON true
			JOIN miosa.audit_events e ON e.deployment_id = r.deployment_id AND e.target_rule <> 'none'
				AND e.seq BETWEEN greatest(m.seq, n.seq - 1000) AND n.seq
			WHERE e.created_at >= r.since AND NOT (n.waits AND e.seq = n.seq)
				OR e.seq = n.seq AND n.waited AND NOT n.waits AND (m.seq = n.seq AND m.state <> 'unknown') IS NOT TRUE) w
		ORDER BY w.deployment_id, w.seq, w.place DESC
	ON CONFLICT ON CONSTRAINT convergence_log_pkey DO UPDATE SET epoch = excluded.epoch, state = excluded.state,
		created_at = excluded.created_at, taken_at = excluded.taken_at, edges = excluded.edges, confirmed = excluded.confirmed,
		first_ms = excluded.first_ms, p50_ms = excluded.p50_ms, p99_ms = excluded.p99_ms, last_ms = excluded.last_ms,
		last_edge = excluded.last_edge, tenths_ms = excluded.tenths_ms, zones = excluded.zones
		WHERE l.state IN ('incomplete', 'unknown');
END $$;
COMMENT ON FUNCTION miosa.write_convergence(text[], text[], bigint[], bigint[], text[], timestamptz[], timestamptz[], integer[], integer[],
	double precision[], double precision[], double precision[], double precision[], text[], text[], text[]) IS
	'Writes when edges had operations, as the dispatcher reports it';

-- Operations in this part of the route log that have no row.  Those that this
-- dispatcher measures at the same time replace it.
CREATE FUNCTION miosa.write_unseen(after bigint, until bigint, most integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_variable
DECLARE
	reached bigint;
BEGIN
	SELECT coalesce((SELECT l.epoch FROM miosa.route_log l WHERE l.epoch > after AND l.epoch <= until
		ORDER BY l.epoch OFFSET most - 1 LIMIT 1), until) INTO reached;
	INSERT INTO miosa.convergence_log (deployment_id, seq, tenant_id, epoch, state, created_at)
		SELECT e.deployment_id, e.seq, e.tenant_id, c.epoch, 'unknown', e.created_at
		FROM (SELECT l.deployment_id, max(l.epoch) AS epoch, min(l.created_at) AS created_at FROM miosa.route_log l
			WHERE l.epoch > after AND l.epoch <= reached AND l.kind = 'route' GROUP BY l.deployment_id) c
		CROSS JOIN LATERAL (
			SELECT a.* FROM miosa.audit_events a
			WHERE a.deployment_id = c.deployment_id AND a.created_at >= c.created_at AND a.target_rule <> 'none'
				AND a.seq > coalesce((SELECT max(o.seq) FROM miosa.convergence_log o WHERE o.deployment_id = c.deployment_id), 0)
			ORDER BY a.seq DESC LIMIT 1000) e
		ON CONFLICT ON CONSTRAINT convergence_log_pkey DO NOTHING;
	RETURN reached;
END $$;
COMMENT ON FUNCTION miosa.write_unseen(bigint, bigint, integer) IS 'Writes a row that says unknown for operations in a part of the route log that have none; returns the epoch up to which it has read';
-- Versions that are marked as bad.  The mark of one version is in its row, that of
-- an artifact is a row here and counts for all versions with that artifact.
-- src/operation/bad_version.c says what follows from it.

CREATE TABLE miosa.bad_artifacts (
	artifact text COLLATE "C" NOT NULL,
	tenant_id text COLLATE "C" NOT NULL,
	reason text NOT NULL,
	marked_by text NOT NULL,
	since timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (artifact, tenant_id),
	CONSTRAINT "times must be from 1970 to 2199" CHECK (since >= '1970-01-01 00:00:00+00' AND since < '2200-01-01 00:00:00+00')
);
COMMENT ON TABLE miosa.bad_artifacts IS 'Artifacts that are marked as bad, and with them all versions that have them';
COMMENT ON COLUMN miosa.bad_artifacts.artifact IS 'SHA-256 of the artifact, hex; the image of versions that have none';
COMMENT ON COLUMN miosa.bad_artifacts.tenant_id IS 'Tenant for whose versions the mark counts; * for every tenant';
COMMENT ON COLUMN miosa.bad_artifacts.reason IS 'Why, in the caller''s words';
COMMENT ON COLUMN miosa.bad_artifacts.marked_by IS 'Id of the actor that marked it';
COMMENT ON COLUMN miosa.bad_artifacts.since IS 'When it was marked';

-- Every process remembers whether there are any.
CREATE FUNCTION miosa.bad_artifacts_changed() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_bad_artifacts_changed';
COMMENT ON FUNCTION miosa.bad_artifacts_changed() IS 'Trigger: what processes know of miosa.bad_artifacts is outdated';

CREATE TRIGGER bad_artifacts_changed AFTER INSERT OR UPDATE OR DELETE ON miosa.bad_artifacts
	FOR EACH ROW EXECUTE FUNCTION miosa.bad_artifacts_changed();
CREATE TRIGGER bad_artifacts_truncated AFTER TRUNCATE ON miosa.bad_artifacts
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.bad_artifacts_changed();
ALTER TABLE miosa.bad_artifacts ENABLE ALWAYS TRIGGER bad_artifacts_changed;
ALTER TABLE miosa.bad_artifacts ENABLE ALWAYS TRIGGER bad_artifacts_truncated;

-- Name the artifact of a version.
CREATE FUNCTION miosa.artifact_name(deployment_id text, version_id text) RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_artifact_name';
COMMENT ON FUNCTION miosa.artifact_name(text, text) IS 'What names the artifact of a version in miosa.bad_artifacts: its digest, else its image, else null';

-- Marking, and taking the mark away.

-- Store or remove a mark; returns what is to be said of it.
CREATE FUNCTION miosa.write_bad_mark(deployment miosa.deployments, version_id text, artifact text, reason text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	-- Who acts for all tenants marks, and clears, for all.
	everywhere CONSTANT boolean := miosa.sees_all_tenants();
	actor CONSTANT text := (miosa.current_actor()).id;
BEGIN
	IF artifact IS NULL THEN
		UPDATE miosa.versions v SET updated_at = clock_timestamp(), bad_reason = reason,
			bad_since = CASE WHEN reason IS NOT NULL THEN coalesce(v.bad_since, clock_timestamp()) END,
			bad_by = CASE WHEN reason IS NOT NULL THEN actor END
			WHERE v.deployment_id = deployment.id AND v.id = version_id;
	ELSIF reason IS NOT NULL THEN
		INSERT INTO miosa.bad_artifacts VALUES (artifact, CASE WHEN everywhere THEN '*' ELSE deployment.tenant_id END, reason, actor, clock_timestamp())
			ON CONFLICT ON CONSTRAINT bad_artifacts_pkey DO UPDATE SET reason = EXCLUDED.reason, marked_by = EXCLUDED.marked_by;
	ELSE
		DELETE FROM miosa.bad_artifacts b WHERE b.artifact = artifact
			AND (b.tenant_id = deployment.tenant_id OR everywhere AND b.tenant_id = '*');
	END IF;
END $$;
COMMENT ON FUNCTION miosa.write_bad_mark(miosa.deployments, text, text, text) IS 'Marks a version or, unless null, an artifact as bad for this reason; null removes the mark';

-- Warn that a version serves although it is marked, or is still marked.
CREATE FUNCTION miosa.bad_warning(deployment miosa.deployments, version_id text, mark boolean, scope text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	still CONSTANT jsonb := miosa.bad_mark(deployment.id, version_id);
	message text;
	detail text;
	hint text;
BEGIN
	IF mark AND version_id IN (deployment.active_version_id, deployment.serving_version_id) THEN
		message := format('version "%s" is marked as bad, and still serves', version_id);
		detail := 'A mark changes no route.';
		hint := format('To leave it, type SELECT miosa_rollback(%L, reason => %L);', deployment.id, still ->> 'reason');
	ELSIF NOT mark AND still IS NOT NULL THEN
		message := format('version "%s" is still marked as bad', version_id);
		detail := CASE still ->> 'scope' WHEN 'artifact' THEN 'Its artifact was marked at %s by %s: %s'
			ELSE 'It was marked by itself at %s by %s: %s' END;
		detail := format(detail, still ->> 'since', still ->> 'by', still ->> 'reason');
		-- A tenant cannot clear what was marked for all.
		hint := format(CASE still ->> 'scope' WHEN scope THEN 'Somebody who acts for all tenants can take that mark away with SELECT miosa_clear_bad(%L, %L, scope => %L);'
			ELSE 'To take that mark away, type SELECT miosa_clear_bad(%L, %L, scope => %L);' END,
			deployment.id, version_id, still ->> 'scope');
	ELSE
		RETURN NULL;
	END IF;
	RAISE WARNING '%', message USING DETAIL = detail, HINT = hint;
	RETURN jsonb_build_array(jsonb_build_object('code', 'VERSION_BAD', 'message', message, 'detail', detail, 'hint', hint));
END $$;
COMMENT ON FUNCTION miosa.bad_warning(miosa.deployments, text, boolean, text) IS 'Warns of a version that was marked and serves, or was cleared and is still marked; returns the warnings of the response';

-- Mark a version or take its mark away, as an operation.
CREATE FUNCTION miosa.note_bad(mark boolean, deployment_id text, version_id text, reason text, scope text, idempotency_key text)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	key CONSTANT text := miosa.request_key(idempotency_key);
	action CONSTANT text := CASE WHEN mark THEN 'mark_bad' ELSE 'clear_bad' END;
	stored jsonb;
	d miosa.deployments;
	artifact text;
BEGIN
	PERFORM miosa.check_id(deployment_id, 'deployment id');
	PERFORM miosa.check_id(version_id, 'version id');
	PERFORM miosa.check_word(scope, 'scope', ARRAY['deployment', 'artifact']);
	IF mark AND coalesce(reason, '') !~ '\S' THEN
		PERFORM miosa.refuse_value('argument', 'reason', reason, 'A version is marked as bad for a reason.',
			format('SELECT miosa_mark_bad(%L, %L, reason => ''errors at checkout''%s);', deployment_id, version_id,
				concat(CASE WHEN scope <> 'deployment' THEN ', scope => ' || quote_literal(scope) END, ', idempotency_key => ' || quote_literal(idempotency_key))));
	END IF;
	stored := miosa.note_begin(action, deployment_id, key, ARRAY[version_id, scope], reason);
	IF stored IS NOT NULL THEN
		RETURN stored;
	END IF;
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = deployment_id;
	IF NOT EXISTS (SELECT FROM miosa.versions v WHERE v.deployment_id = deployment_id AND v.id = version_id) THEN
		PERFORM miosa.no_version(deployment_id, version_id);
	END IF;
	IF scope = 'artifact' THEN
		artifact := miosa.artifact_name(deployment_id, version_id);
		IF artifact IS NULL THEN
			PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('the artifact of version "%s" is not known', version_id),
				'The version has neither a digest nor an image.',
				CASE WHEN mark THEN format('To mark this version alone: SELECT miosa_mark_bad(%L, %L, reason => %L%s);', deployment_id, version_id, reason,
						', idempotency_key => ' || quote_literal(idempotency_key))
					ELSE format('To take the mark of this version away: SELECT miosa_clear_bad(%L, %L%s);', deployment_id, version_id,
						concat(', reason => ' || quote_literal(reason), ', idempotency_key => ' || quote_literal(idempotency_key))) END);
		END IF;
	END IF;
	PERFORM miosa.write_bad_mark(d, version_id, artifact, CASE WHEN mark THEN reason END);
	RETURN miosa.note_write(action, deployment_id, key, ARRAY[version_id, scope], reason,
		jsonb_strip_nulls(jsonb_build_object('version', version_id, 'scope', scope, 'artifact', artifact)),
		miosa.bad_warning(d, version_id, mark, scope));
END $$;
COMMENT ON FUNCTION miosa.note_bad(boolean, text, text, text, text, text) IS 'Does the work of miosa_mark_bad() and miosa_clear_bad()';

-- Mark a version.
CREATE FUNCTION @extschema@.miosa_mark_bad(deployment_id text, version_id text, reason text,
	scope text DEFAULT 'deployment', idempotency_key text DEFAULT NULL)
RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
RETURN miosa.note_bad(true, $1, $2, $3, $4, $5);
COMMENT ON FUNCTION @extschema@.miosa_mark_bad(text, text, text, text, text) IS 'Marks a version, or with scope artifact all versions with its artifact, as bad: no default target, and refused to promotions';

-- Take the mark away.
CREATE FUNCTION @extschema@.miosa_clear_bad(deployment_id text, version_id text, reason text DEFAULT NULL,
	scope text DEFAULT 'deployment', idempotency_key text DEFAULT NULL)
RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
RETURN miosa.note_bad(false, $1, $2, $3, $4, $5);
COMMENT ON FUNCTION @extschema@.miosa_clear_bad(text, text, text, text, text) IS 'Takes a mark of miosa_mark_bad() away';
-- What served when, by the audit events of a deployment and the times that are
-- in its versions.

-- An operation that waits for instances leaves what served before it serving;
-- versions.switched_at says when routes switched after all.  A version that has
-- switched again since has lost the earlier time: then it is not known what served.
CREATE FUNCTION miosa.serving_periods(deployment_id text, OUT version_id text, OUT known boolean, OUT began timestamptz, OUT ended timestamptz)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	WITH oldest AS MATERIALIZED (
		SELECT a.seq, a.previous_version_id, a.created_at FROM miosa.audit_events a WHERE a.deployment_id = $1 ORDER BY a.seq LIMIT 1
	), moves AS (
		SELECT a.seq, a.outcome, a.target_version_id, a.created_at, lead(a.created_at) OVER w AS next_at, lead(a.outcome) OVER w AS next_outcome
		FROM miosa.audit_events a WHERE a.deployment_id = $1 AND a.outcome IN ('changed', 'pending', 'cutover') WINDOW w AS (ORDER BY a.seq)
	), switches AS (
		-- The oldest event found a version active, since its promotion at most.
		SELECT o.seq - 0.5 AS place, o.previous_version_id AS version_id, true AS known, coalesce(least(v.promoted_at, o.created_at), o.created_at) AS at
		FROM oldest o LEFT JOIN miosa.versions v ON v.deployment_id = $1 AND v.id = o.previous_version_id
		UNION ALL
		SELECT m.seq, m.target_version_id, w.known, CASE WHEN m.outcome = 'pending' AND w.known THEN v.switched_at ELSE m.created_at END
		FROM moves m LEFT JOIN miosa.versions v ON v.deployment_id = $1 AND v.id = m.target_version_id
		CROSS JOIN LATERAL (SELECT m.outcome <> 'pending' OR v.switched_at >= m.created_at AND coalesce(v.switched_at < m.next_at, true) AS known) w
		WHERE w.known OR m.next_outcome IS DISTINCT FROM 'cutover' AND (v.id IS NULL OR v.switched_at >= m.next_at)
	), numbered AS (
		SELECT s.*, count(*) FILTER (WHERE s.changes) OVER (ORDER BY s.place) AS n
		FROM (SELECT o.*, (o.version_id, o.known) IS DISTINCT FROM (lag(o.version_id) OVER p, lag(o.known) OVER p) OR row_number() OVER p = 1 AS changes
			FROM switches o WINDOW p AS (ORDER BY o.place)) s
	)
	SELECT p.version_id, p.known, p.began, lead(p.began) OVER (ORDER BY p.n)
	FROM (SELECT n.n, min(n.version_id) AS version_id, bool_and(n.known) AS known, min(n.at) AS began FROM numbered n GROUP BY n.n) p
$$;
COMMENT ON FUNCTION miosa.serving_periods(text) IS 'What routes resolved to, from and until (null: still), in order: a version or, if null, nothing; where that is not known, the active version';

-- Where the events do not reach back, the version that was promoted over another
-- one says until when that was active; of loaded ones, the next.
CREATE FUNCTION miosa.longest_served(deployment_id text, OUT version_id text, OUT longest interval) RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	WITH periods AS MATERIALIZED (
		SELECT p.version_id, p.known, p.began, p.ended FROM miosa.serving_periods($1) p WHERE p.version_id IS NOT NULL
	)
	SELECT p.version_id, max(coalesce(p.ended, clock_timestamp()) - p.began) FILTER (WHERE p.known) FROM periods p GROUP BY p.version_id
	UNION ALL
	SELECT o.id, max(coalesce(s.promoted_at, o.next_at) - o.promoted_at)
	FROM (SELECT v.id, v.promoted_at, CASE WHEN v.promotion_seq IS NULL
				THEN lead(v.promoted_at) OVER (PARTITION BY v.promotion_seq IS NULL ORDER BY v.promoted_at, v.version_number) END AS next_at
			FROM miosa.versions v WHERE v.deployment_id = $1 AND v.promoted_at IS NOT NULL) o
	LEFT JOIN miosa.versions s ON s.deployment_id = $1 AND s.promoted_over = o.id AND s.promoted_at >= o.promoted_at
	WHERE NOT EXISTS (SELECT FROM periods p WHERE p.version_id = o.id)
	GROUP BY o.id
$$;
COMMENT ON FUNCTION miosa.longest_served(text) IS 'For how long each version served at a stretch, at most; null, or no row, when that is not known';
-- Watched deployments, and the alerts about deployments that Alertmanager sends.
--
-- src/operation/watch.c decides what an alert does.  An alert is known by its
-- fingerprint and the time it began, so that a message that arrives again, or
-- after its own end, does nothing.

CREATE TABLE miosa.watches (
	deployment_id text COLLATE "C" PRIMARY KEY,
	bake interval NOT NULL
		CONSTRAINT "bake must be from 1 second to 30 days" CHECK (bake BETWEEN '1 s' AND '30 days'),
	on_alert text NOT NULL CHECK (on_alert IN ('rollback', 'hold', 'notify')),
	labels jsonb NOT NULL CHECK (jsonb_typeof(labels) = 'object'),
	reason text,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE miosa.watches IS 'What an alert about a deployment does; one about another deployment is only sent to hooks';
COMMENT ON COLUMN miosa.watches.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.watches.bake IS 'How long after a version became active an alert acts';
COMMENT ON COLUMN miosa.watches.on_alert IS 'rollback, hold or notify';
COMMENT ON COLUMN miosa.watches.labels IS 'Labels that an alert must have to act, with their values';
COMMENT ON COLUMN miosa.watches.reason IS 'Why it is watched, in the caller''s words';
COMMENT ON COLUMN miosa.watches.created_at IS 'Since when it is watched like this';

-- The key finds an alert again; alerts_rollback says of which versions alerts have
-- rolled back, and to which.
CREATE TABLE miosa.alerts (
	deployment_id text COLLATE "C" NOT NULL,
	fingerprint text COLLATE "C" NOT NULL,
	starts_at timestamptz NOT NULL,
	name text,
	labels jsonb NOT NULL,
	annotations jsonb NOT NULL,
	version_id text COLLATE "C",
	target_version_id text COLLATE "C",
	done text NOT NULL CHECK (done IN ('rollback', 'hold', 'notified', 'recorded')),
	why text NOT NULL,
	condition text,
	seq bigint,
	number bigint,
	received_at timestamptz NOT NULL,
	resolved_at timestamptz,
	keep_until timestamptz NOT NULL,
	PRIMARY KEY (deployment_id, fingerprint, starts_at)
);
CREATE INDEX alerts_rollback ON miosa.alerts (deployment_id) WHERE done = 'rollback';
CREATE UNIQUE INDEX alerts_number ON miosa.alerts (number) WHERE number IS NOT NULL;
CREATE INDEX alerts_unnumbered ON miosa.alerts (received_at) WHERE number IS NULL AND done = 'notified';
CREATE INDEX alerts_late ON miosa.alerts (deployment_id, received_at) WHERE seq IS NULL;
CREATE INDEX alerts_expiry ON miosa.alerts (keep_until);
COMMENT ON TABLE miosa.alerts IS 'Alerts about deployments, with what each one did and why; kept as long as audit events';
COMMENT ON COLUMN miosa.alerts.deployment_id IS 'Deployment, by the label miosa_deployment';
COMMENT ON COLUMN miosa.alerts.fingerprint IS 'Alertmanager''s fingerprint of the labels';
COMMENT ON COLUMN miosa.alerts.starts_at IS 'When the alert began to fire';
COMMENT ON COLUMN miosa.alerts.name IS 'Label alertname';
COMMENT ON COLUMN miosa.alerts.labels IS 'Labels';
COMMENT ON COLUMN miosa.alerts.annotations IS 'Annotations';
COMMENT ON COLUMN miosa.alerts.version_id IS 'Version that was active when the alert came';
COMMENT ON COLUMN miosa.alerts.target_version_id IS 'Version that the alert rolled back to';
COMMENT ON COLUMN miosa.alerts.done IS 'rollback, hold, notified (it is sent to hooks) or recorded';
COMMENT ON COLUMN miosa.alerts.why IS 'Why this was done, and no more';
COMMENT ON COLUMN miosa.alerts.condition IS 'Condition that refused the rollback; null: none was tried, or it was done';
COMMENT ON COLUMN miosa.alerts.seq IS 'Number of the operation or of the note in the audit events; null: the deployment was locked, and the note follows when it is free';
COMMENT ON COLUMN miosa.alerts.number IS 'Number of the message to hooks, by the dispatcher; null: not yet, or there is none';
COMMENT ON COLUMN miosa.alerts.received_at IS 'When it came';
COMMENT ON COLUMN miosa.alerts.resolved_at IS 'When it ended; null while it fires';
COMMENT ON COLUMN miosa.alerts.keep_until IS 'Until when it is kept';

-- No foreign key: the dispatcher writes it.
CREATE TABLE miosa.alert_receivers (
	receiver text COLLATE "C" PRIMARY KEY,
	number bigint NOT NULL,
	sent_at timestamptz NOT NULL
);
COMMENT ON TABLE miosa.alert_receivers IS 'Which alerts hooks have received; written by the dispatcher alone';
COMMENT ON COLUMN miosa.alert_receivers.receiver IS 'Endpoint';
COMMENT ON COLUMN miosa.alert_receivers.number IS 'Newest alert that it has accepted, or the newest one when it was added';
COMMENT ON COLUMN miosa.alert_receivers.sent_at IS 'When that was';

-- Watching.

-- Refuse what a watch cannot have.
CREATE FUNCTION miosa.check_watch(bake interval, on_alert text, alerts jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	problem text;
BEGIN
	IF bake IS NULL OR bake < '1 s' OR bake > '30 days' THEN
		PERFORM miosa.refuse_value('argument', 'bake', bake::text, 'The time must be from 1 second to 30 days.',
			'Pass, for example, bake => ''15 min''.');
	ELSIF on_alert IS NULL OR on_alert NOT IN ('rollback', 'hold', 'notify') THEN
		PERFORM miosa.refuse_value('argument', 'on_alert', on_alert, 'Valid values are "rollback" (the default), "hold" and "notify".',
			'Pass, for example, on_alert => ''rollback''.');
	END IF;
	problem := CASE WHEN alerts IS NULL OR jsonb_typeof(alerts) <> 'object' THEN 'The value must be an object of labels.'
		ELSE (SELECT format('The value of label "%s" must be a text.', l.key) FROM jsonb_each(alerts) l
			WHERE jsonb_typeof(l.value) <> 'string' ORDER BY l.key LIMIT 1) END;
	IF problem IS NOT NULL THEN
		PERFORM miosa.refuse_value('argument', 'alerts', alerts::text, problem,
			'Pass, for example, alerts => ''{"severity": "critical"}''.');
	END IF;
END $$;
COMMENT ON FUNCTION miosa.check_watch(interval, text, jsonb) IS 'Raises INVALID_ARGUMENT for a watch with a value that is not allowed';

-- Watch a deployment.
CREATE FUNCTION @extschema@.miosa_watch(deployment_id text, bake interval DEFAULT '15 min', on_alert text DEFAULT 'rollback',
	alerts jsonb DEFAULT '{}', idempotency_key text DEFAULT NULL, reason text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	key CONSTANT text := miosa.request_key(idempotency_key);
	arguments text[];
	response jsonb;
BEGIN
	PERFORM miosa.check_watch(bake, on_alert, alerts);
	arguments := ARRAY[extract(epoch FROM bake)::text, on_alert, encode(sha256(convert_to(alerts::text, 'UTF8')), 'hex')];
	response := miosa.note_begin('watch', deployment_id, key, arguments, reason);
	IF response IS NULL THEN
		INSERT INTO miosa.watches AS w (deployment_id, bake, on_alert, labels, reason)
			VALUES (deployment_id, bake, on_alert, alerts, reason)
			ON CONFLICT ON CONSTRAINT watches_pkey DO UPDATE SET bake = excluded.bake, on_alert = excluded.on_alert,
				labels = excluded.labels, reason = excluded.reason, created_at = excluded.created_at;
		response := miosa.note_write('watch', deployment_id, key, arguments, reason,
			jsonb_build_object('watch', jsonb_build_object('bake_seconds', extract(epoch FROM bake)::double precision, 'on_alert', on_alert, 'alerts', alerts)));
	END IF;
	RETURN response;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_watch(text, interval, text, jsonb, text, text) IS 'Has alerts about a deployment roll it back, hold it or only notify, while its active version is younger than the bake time';

-- Watch it no longer.
CREATE FUNCTION @extschema@.miosa_unwatch(deployment_id text, idempotency_key text DEFAULT NULL, reason text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	arguments CONSTANT text[] := '{}';
	key CONSTANT text := miosa.request_key(idempotency_key);
	response jsonb := miosa.note_begin('unwatch', deployment_id, key, arguments, reason);
	n bigint;
BEGIN
	IF response IS NULL THEN
		DELETE FROM miosa.watches w WHERE w.deployment_id = deployment_id;
		GET DIAGNOSTICS n = ROW_COUNT;
		response := miosa.note_write('unwatch', deployment_id, key, arguments, reason,
			jsonb_build_object('unwatch', jsonb_build_object('watched', n > 0)));
	END IF;
	RETURN response;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_unwatch(text, text, text) IS 'Ends the watch of a deployment: alerts about it only notify';

-- Alerts.

-- The deployment that an alert names.
CREATE FUNCTION miosa.alert_deployment(name text, OUT deployment_id text, OUT why text)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
	ids CONSTANT text[] := CASE WHEN length(name) BETWEEN 1 AND 255 THEN miosa.deployments_named(name) END;
BEGIN
	IF cardinality(ids) = 1 THEN
		deployment_id := ids[1];
	ELSIF cardinality(ids) > 1 THEN
		why := format('slug "%s" is not unique: deployments %s%s have it', name, array_to_string(ids[1:5], ', '),
			CASE WHEN cardinality(ids) > 5 THEN ', ...' ELSE '' END);
	ELSE
		why := format('there is no deployment "%s"', miosa.clip(miosa.show(name), 255));
	END IF;
END $$;
COMMENT ON FUNCTION miosa.alert_deployment(text) IS 'The deployment of this id, host or slug, or why there is none; name: label miosa_deployment of an alert';

-- Take an alert, or several.
CREATE FUNCTION @extschema@.miosa_alert(payload jsonb) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_alert';
COMMENT ON FUNCTION @extschema@.miosa_alert(jsonb) IS 'Takes the body that Alertmanager''s webhook sends (version 4), and does what the watches of the deployments say: {"data": {"alerts": [{"deployment_id", "fingerprint", "done", "operation_id", "why"}]}}';

-- What the dispatcher sends to hooks.

-- The position of a hook; a new one begins after the newest number.
CREATE FUNCTION miosa.alert_begin(receiver text) RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	INSERT INTO miosa.alert_receivers AS r (receiver, number, sent_at)
		SELECT $1, coalesce(max(a.number), 0), clock_timestamp() FROM miosa.alerts a WHERE a.number IS NOT NULL
		ON CONFLICT ON CONSTRAINT alert_receivers_pkey DO UPDATE SET number = r.number
		RETURNING r.number
$$;
COMMENT ON FUNCTION miosa.alert_begin(text) IS 'The number of the newest alert that a hook has accepted, or does not need';

-- Number the alerts for hooks, and return the newest number.  The receivers know
-- numbers of alerts that retention has deleted.
CREATE FUNCTION miosa.alert_number() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	newest bigint;
BEGIN
	SELECT greatest((SELECT max(a.number) FROM miosa.alerts a WHERE a.number IS NOT NULL), (SELECT max(r.number) FROM miosa.alert_receivers r), 0) INTO newest;
	WITH new AS (
		SELECT a.ctid AS place, row_number() OVER (ORDER BY a.received_at, a.deployment_id, a.fingerprint, a.starts_at) AS n
		FROM miosa.alerts a WHERE a.number IS NULL AND a.done = 'notified'),
	numbered AS (
		UPDATE miosa.alerts a SET number = newest + new.n FROM new WHERE a.ctid = new.place RETURNING a.number)
	SELECT coalesce(max(m.number), newest) INTO newest FROM numbered m;
	RETURN newest;
END $$;
COMMENT ON FUNCTION miosa.alert_number() IS 'Gives numbers to alerts for hooks that have none; returns the newest number, 0 for none';

-- Leave the notes of alerts that have found their deployment locked: the alert was
-- not judged, and is when it comes again.  Nothing is waited for here.
CREATE FUNCTION miosa.alert_note_late() RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	a record;
	late boolean := false;
	response jsonb;
BEGIN
	FOR a IN SELECT l.* FROM miosa.alerts l JOIN miosa.deployments d ON d.id = l.deployment_id
		WHERE l.seq IS NULL ORDER BY l.deployment_id, l.received_at, l.fingerprint LIMIT 100
	LOOP
		PERFORM FROM miosa.deployments d WHERE d.id = a.deployment_id FOR NO KEY UPDATE SKIP LOCKED;
		IF NOT FOUND THEN
			late := true;
			CONTINUE;
		END IF;
		-- The same alert may have come again before the lock was free.
		CONTINUE WHEN NOT EXISTS (SELECT FROM miosa.alerts l WHERE l.deployment_id = a.deployment_id
			AND l.fingerprint = a.fingerprint AND l.starts_at = a.starts_at AND l.seq IS NULL);
		response := miosa.note_write('alert', a.deployment_id, NULL, '{}',
			left(miosa.show(concat('alert ', coalesce(a.name, a.fingerprint), ': ' || coalesce(a.annotations ->> 'summary', a.annotations ->> 'description'))), 1000),
			jsonb_build_object('alert', jsonb_strip_nulls(jsonb_build_object('fingerprint', a.fingerprint, 'starts_at', miosa.iso(a.starts_at), 'alertname', a.name,
				'status', CASE WHEN a.done = 'recorded' THEN 'resolved' ELSE 'firing' END, 'done', a.done, 'why', a.why, 'condition', a.condition,
				'received_at', miosa.iso(a.received_at)))));
		UPDATE miosa.alerts l SET seq = split_part(response #>> '{operation,id}', '#', 2)::bigint
			WHERE l.deployment_id = a.deployment_id AND l.fingerprint = a.fingerprint AND l.starts_at = a.starts_at;
	END LOOP;
	RETURN late;
END $$;
COMMENT ON FUNCTION miosa.alert_note_late() IS 'Leaves the notes of alerts whose deployment was locked; true: some are locked still';

-- The next alert for a hook, of deployments that its selector includes.
CREATE FUNCTION miosa.alert_next(receiver text, OUT number bigint, OUT received_at timestamptz, OUT content text, OUT id text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT a.number, a.received_at, jsonb_build_object('deployment_id', a.deployment_id, 'tenant_id', d.tenant_id, 'version_id', a.version_id,
			'alertname', a.name, 'fingerprint', a.fingerprint, 'starts_at', miosa.iso(a.starts_at), 'labels', a.labels, 'annotations', a.annotations,
			'why', a.why, 'condition', a.condition, 'operation_id', a.deployment_id || '#' || a.seq)::text,
		concat('alert:', a.deployment_id, ':', a.fingerprint, ':', (extract(epoch FROM a.starts_at) * 1000000)::bigint)
	FROM miosa.alert_receivers r
	JOIN miosa.endpoints e ON e.name = r.receiver
	JOIN miosa.alerts a ON a.number > r.number
	JOIN miosa.deployments d ON d.id = a.deployment_id
	WHERE r.receiver = $1 AND miosa.selects(e.selector, d.id, d.tenant_id, d.kind)
	ORDER BY a.number LIMIT 1
$$;
COMMENT ON FUNCTION miosa.alert_next(text) IS 'The first alert that a hook has not accepted';

-- Note that a hook has accepted an alert, or does not need those before.
CREATE FUNCTION miosa.alert_sent(receiver text, number bigint) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	UPDATE miosa.alert_receivers r SET number = $2, sent_at = clock_timestamp() WHERE r.receiver = $1 AND r.number < $2
$$;
COMMENT ON FUNCTION miosa.alert_sent(text, bigint) IS 'Records that a hook has accepted an alert';

-- An endpoint of this name that comes later is another one.
CREATE FUNCTION miosa.endpoints_forget() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM miosa.alert_receivers r WHERE r.receiver = OLD.name;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.endpoints_forget() IS 'Trigger: forgets which alerts an endpoint has received that is removed';
CREATE TRIGGER endpoints_forget AFTER DELETE ON miosa.endpoints
	FOR EACH ROW EXECUTE FUNCTION miosa.endpoints_forget();

-- The newest operation that moved the pointer, or switched routes to it; those that
-- follow it, and refused calls, move nothing.
CREATE FUNCTION miosa.active_since(deployment_id text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT a.created_at FROM miosa.audit_events a
	WHERE a.deployment_id = $1 AND a.outcome IN ('changed', 'pending', 'cutover') ORDER BY a.seq DESC LIMIT 1
$$;
COMMENT ON FUNCTION miosa.active_since(text) IS 'Since when the active version of a deployment is active, by the audit events; null when they do not reach back';

-- For people.

-- A watch in words.
CREATE FUNCTION miosa.watch_line(w miosa.watches) RETURNS text
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
	SELECT miosa.clip(concat_ws(', ', format('%s on alert', $1.on_alert),
		CASE WHEN $1.on_alert = 'notify' THEN NULL WHEN l.time IS NULL THEN 'not now' WHEN l.time <= '0' THEN format('%s have passed', miosa.span($1.bake))
			ELSE format('%s of %s left', miosa.span(l.time), miosa.span($1.bake)) END,
		CASE WHEN $1.labels <> '{}' THEN 'if ' || (SELECT string_agg(k.key || '=' || k.value, ' ' ORDER BY k.key) FROM jsonb_each_text($1.labels) k) END), 64)
	FROM (SELECT $1.bake - (clock_timestamp() - miosa.active_since($1.deployment_id)) AS time OFFSET 0) l
$$;
COMMENT ON FUNCTION miosa.watch_line(miosa.watches) IS 'What alerts do, for how much longer, and which ones; at most 64 characters';

-- Describe the response of miosa_watch() or miosa_unwatch() in rows of (item,
-- value).
CREATE FUNCTION miosa.watch_lines(id text, response jsonb, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	w miosa.watches;
BEGIN
	SELECT * INTO w FROM miosa.watches o WHERE o.deployment_id = id;
	item := 'result';
	value := format('%s (#%s)', CASE WHEN w.deployment_id IS NULL THEN 'not watched' ELSE 'watched' END,
		split_part(response -> 'operation' ->> 'id', '#', 2));
	RETURN NEXT;
	IF w.deployment_id IS NOT NULL THEN
		item := 'watched';
		value := miosa.watch_line(w);
		RETURN NEXT;
	END IF;
	item := 'next';
	FOR value IN SELECT p.line FROM miosa.paste('SELECT * FROM miosa.status', miosa.call_name(id)) p (line) LOOP
		RETURN NEXT;
		item := '';
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.watch_lines(text, jsonb) IS 'Rows of miosa.watch() or miosa.unwatch(), from the response';

-- For the functions below, whichever other functions have these names.

-- Watch a deployment.
CREATE FUNCTION miosa.call_watch(deployment_id text, bake interval, on_alert text, alerts jsonb, idempotency_key text, reason text) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN @extschema@.miosa_watch($1, $2, $3, $4, $5, $6);
COMMENT ON FUNCTION miosa.call_watch(text, interval, text, jsonb, text, text) IS 'Calls the extension''s miosa_watch';

-- Watch it no longer.
CREATE FUNCTION miosa.call_unwatch(deployment_id text, idempotency_key text, reason text) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN @extschema@.miosa_unwatch($1, $2, $3);
COMMENT ON FUNCTION miosa.call_unwatch(text, text, text) IS 'Calls the extension''s miosa_unwatch';

-- Do the work of miosa.watch().
CREATE FUNCTION miosa.watch_rows(deployment text, bake interval DEFAULT '15 min', on_alert text DEFAULT 'rollback',
	alerts jsonb DEFAULT '{}', reason text DEFAULT NULL, idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.find_deployment($1) f (id)
	CROSS JOIN LATERAL miosa.watch_lines(f.id, miosa.call_watch(f.id, $2, $3, $4, $6, $5)) l
$$;
COMMENT ON FUNCTION miosa.watch_rows(text, interval, text, jsonb, text, text) IS 'Rows of miosa.watch()';

-- Enter watch_rows() from C.
CREATE FUNCTION miosa.watch(deployment text, bake interval DEFAULT '15 min', on_alert text DEFAULT 'rollback',
	alerts jsonb DEFAULT '{}', reason text DEFAULT NULL, idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.watch(text, interval, text, jsonb, text, text) IS 'Watches a deployment, for people: rows of (item, value)';

-- Do the work of miosa.unwatch().
CREATE FUNCTION miosa.unwatch_rows(deployment text, reason text DEFAULT NULL, idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.find_deployment($1) f (id)
	CROSS JOIN LATERAL miosa.watch_lines(f.id, miosa.call_unwatch(f.id, $3, $2)) l
$$;
COMMENT ON FUNCTION miosa.unwatch_rows(text, text, text) IS 'Rows of miosa.unwatch()';

-- Enter unwatch_rows() from C.
CREATE FUNCTION miosa.unwatch(deployment text, reason text DEFAULT NULL, idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.unwatch(text, text, text) IS 'Ends the watch of a deployment, for people: rows of (item, value)';
-- Collection: miosa_collect() claims artifacts that no rollback needs any more,
-- so that the program that manages the storage can delete them.
--
-- It cannot take away what a rollback needs: a release is claimed under the
-- row lock of its deployment, after it was judged in a new statement under
-- that lock, and a rollback judges its target under the same lock.  Artifacts
-- are content-addressed, so one may belong to releases of many deployments:
-- it is given up when all of them are due, and for all of them at once.

-- Finds the other releases of an artifact.
CREATE INDEX releases_storage_uri ON miosa.releases USING hash (storage_uri);
-- Finds claims whose deletion is not confirmed.
CREATE INDEX releases_claimed ON miosa.releases (updated_at) WHERE collected_at IS NOT NULL AND deleted_at IS NULL;

-- What deployments leave in storage that are removed.  No foreign keys: the
-- deployment is gone, and its tenant may be.
CREATE TABLE miosa.removed_artifacts (
	deployment_id text COLLATE "C" NOT NULL,
	release_id text COLLATE "C" NOT NULL,
	removed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	version_id text COLLATE "C" NOT NULL,
	version_number integer NOT NULL,
	tenant_id text COLLATE "C" NOT NULL,
	storage_uri text NOT NULL,
	sha256 text COLLATE "C",
	size_bytes bigint,
	collected_at timestamptz,
	collected_by text,
	updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (deployment_id, release_id, removed_at)
);
CREATE INDEX removed_artifacts_storage_uri ON miosa.removed_artifacts USING hash (storage_uri);
COMMENT ON TABLE miosa.removed_artifacts IS 'Artifacts of removed deployments, for miosa_collect(); kept until their deletion is confirmed';
COMMENT ON COLUMN miosa.removed_artifacts.deployment_id IS 'Deployment that was removed';
COMMENT ON COLUMN miosa.removed_artifacts.release_id IS 'Its release';
COMMENT ON COLUMN miosa.removed_artifacts.removed_at IS 'When the deployment was removed';
COMMENT ON COLUMN miosa.removed_artifacts.version_id IS 'Version of the release';
COMMENT ON COLUMN miosa.removed_artifacts.version_number IS 'Its number';
COMMENT ON COLUMN miosa.removed_artifacts.tenant_id IS 'Owner';
COMMENT ON COLUMN miosa.removed_artifacts.storage_uri IS 'Where the artifact is';
COMMENT ON COLUMN miosa.removed_artifacts.sha256 IS 'SHA-256 of the artifact, hex';
COMMENT ON COLUMN miosa.removed_artifacts.size_bytes IS 'Size of the artifact in bytes';
COMMENT ON COLUMN miosa.removed_artifacts.collected_at IS 'When miosa_collect() claimed it; null: it did not yet';
COMMENT ON COLUMN miosa.removed_artifacts.collected_by IS 'Role that did';
COMMENT ON COLUMN miosa.removed_artifacts.updated_at IS 'When it was last claimed';

-- When a version served last.  A version that comes back into recent_served
-- pushes another one out, so this runs then too.  An operation does not wait for
-- a lock on another version: a version that is left out here keeps its artifact
-- until miosa_collect() notes the time.
CREATE FUNCTION miosa.deployments_served() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	UPDATE miosa.versions v SET last_served_at = CASE WHEN v.id = ANY (NEW.recent_served) THEN NULL ELSE clock_timestamp() END
		WHERE v.deployment_id = NEW.id AND v.id = ANY (ARRAY(
			SELECT o.id FROM miosa.versions o
			WHERE o.deployment_id = NEW.id AND o.id = ANY (OLD.recent_served || NEW.recent_served)
				AND (o.id <> ALL (NEW.recent_served) OR o.last_served_at IS NOT NULL)
			FOR NO KEY UPDATE SKIP LOCKED));
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.deployments_served() IS 'Trigger: notes when a version ceased to be one of those that served most recently';

CREATE TRIGGER deployments_served AFTER UPDATE ON miosa.deployments
	FOR EACH ROW WHEN (NOT NEW.recent_served @> OLD.recent_served)
	EXECUTE FUNCTION miosa.deployments_served();

-- A pin that comes too late fails.  Takes the locks that archiving takes.
CREATE FUNCTION miosa.versions_pin() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	gone miosa.releases;
BEGIN
	UPDATE miosa.deployments p SET route_seq = p.route_seq WHERE p.id = NEW.deployment_id;
	SELECT * INTO gone FROM miosa.releases r
		WHERE r.deployment_id = NEW.deployment_id AND r.deployment_version_id = NEW.id AND r.collected_at IS NOT NULL;
	IF FOUND THEN
		PERFORM miosa.raise_condition('ARTIFACT_GONE',
			format('version "%s" cannot be pinned', NEW.id),
			format('Its artifact was collected at %s by %s.', miosa.iso(gone.collected_at),
				coalesce(gone.collected_by, 'an unknown role')),
			format('See what can be restored with SELECT * FROM miosa.candidates(%L);', NEW.deployment_id));
	END IF;
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.versions_pin() IS 'Trigger: raises ARTIFACT_GONE when a version is pinned whose artifact was collected';

CREATE TRIGGER versions_pin BEFORE UPDATE ON miosa.versions
	FOR EACH ROW WHEN (NEW.pinned AND NOT OLD.pinned)
	EXECUTE FUNCTION miosa.versions_pin();

-- A new release may name an artifact that is being collected.  The second of the
-- two transactions waits, and then sees what the first one did.
CREATE FUNCTION miosa.releases_uri() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.lock_uri(NEW.storage_uri, false, true);
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.releases_uri() IS 'Trigger: prevents the collection of an artifact while a new release of it is not committed';

CREATE TRIGGER releases_uri_insert BEFORE INSERT ON miosa.releases
	FOR EACH ROW EXECUTE FUNCTION miosa.releases_uri();
CREATE TRIGGER releases_uri_update BEFORE UPDATE ON miosa.releases
	FOR EACH ROW WHEN (NEW.storage_uri <> OLD.storage_uri)
	EXECUTE FUNCTION miosa.releases_uri();

-- Raise ARTIFACT_GONE while the deletion of an artifact is not confirmed: a
-- release of it could lose it at any time.
CREATE FUNCTION miosa.refuse_claimed(uri text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	claim record;
BEGIN
	-- An older snapshot does not show a claim, but cannot lock what it changed.
	IF current_setting('transaction_isolation') <> 'read committed' THEN
		PERFORM FROM miosa.releases r WHERE r.storage_uri = uri FOR SHARE;
		PERFORM FROM miosa.removed_artifacts r WHERE r.storage_uri = uri FOR SHARE;
	END IF;
	SELECT * INTO claim FROM (
		SELECT r.deployment_id, r.id, r.tenant_id, r.collected_at FROM miosa.releases r
			WHERE r.storage_uri = uri AND r.collected_at IS NOT NULL AND r.deleted_at IS NULL
		UNION ALL
		SELECT a.deployment_id, a.release_id, a.tenant_id, a.collected_at FROM miosa.removed_artifacts a
			WHERE a.storage_uri = uri AND a.collected_at IS NOT NULL) c
		ORDER BY c.collected_at LIMIT 1;
	IF FOUND THEN
		PERFORM miosa.raise_condition('ARTIFACT_GONE',
			format('the artifact "%s" is being deleted', miosa.clip(miosa.mask_uri(uri), 200)),
			CASE WHEN miosa.sees_tenant(claim.tenant_id)
				THEN format('It was collected at %s for release "%s" of deployment "%s", and its deletion is not confirmed.',
					miosa.iso(claim.collected_at), claim.id, claim.deployment_id)
				ELSE 'It was collected, and its deletion is not confirmed.' END,
			CASE WHEN miosa.sees_tenant(claim.tenant_id)
				THEN format('When it is deleted: SELECT miosa_confirm_collected(%L, %L); then upload it and call again.',
					claim.deployment_id, claim.id)
				ELSE 'Upload it again when it is deleted, and call again.' END);
	END IF;
END $$;
COMMENT ON FUNCTION miosa.refuse_claimed(text) IS 'Raises ARTIFACT_GONE when an artifact was collected and may be deleted at any time';

-- Follow the order of promotion down to a version that a rollback can go to.
CREATE FUNCTION miosa.stands_on(deployment_id text, version_id text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	v record;
BEGIN
	FOR i IN 1 .. 1000 LOOP
		SELECT o.id, o.promoted_over, o.state = 'ready' AND r.collected_at IS NULL AND miosa.bad_mark(o.deployment_id, o.id) IS NULL AS there INTO v
			FROM miosa.versions o
			LEFT JOIN miosa.releases r ON r.deployment_id = o.deployment_id AND r.deployment_version_id = o.id
			WHERE o.deployment_id = deployment_id AND o.id = version_id;
		EXIT WHEN v.there OR v.promoted_over IS NULL;
		version_id := v.promoted_over;
	END LOOP;
	RETURN CASE WHEN v.there THEN v.id END;
END $$;
COMMENT ON FUNCTION miosa.stands_on(text, text) IS 'The version, or the nearest one below it in the order of promotion, that is ready, is not marked as bad and whose artifact was not collected; null when there is none';

-- Which releases are kept, and why, with URIs as they are stored: for the
-- functions here.  Comparisons are with now() minus the retention: a time far in
-- the future must not overflow.
CREATE VIEW miosa.stored_keeping AS
	SELECT k.deployment_id, k.version_id, k.version_number, k.release_id, k.tenant_id, k.storage_uri, k.sha256,
		k.size_bytes, k.kept_as, k.since, least(k.since, '9999-01-01') + k.retention AS expires_at,
		k.kept_as IS NULL AND coalesce(k.since <= now() - k.retention, false) AS due
	FROM (
		SELECT r.deployment_id, v.id AS version_id, v.version_number, r.id AS release_id, p.tenant_id, r.storage_uri, r.sha256,
			r.size_bytes, s.artifact_retention AS retention,
			CASE WHEN v.state = 'archived' THEN coalesce(v.archived_at, v.updated_at)
				-- It served until an unknown time.
				WHEN v.promotion_seq IS NOT NULL AND v.last_served_at IS NULL THEN NULL
				ELSE greatest(v.last_served_at, v.promoted_at, v.created_at) END AS since,
			CASE WHEN v.id = p.active_version_id THEN 'active'
				WHEN v.id = p.serving_version_id THEN 'serving'
				WHEN v.pinned THEN 'pinned'
				WHEN v.id = ANY (p.recent_served[1:3]) THEN 'served'
				WHEN v.id = a.promoted_over THEN 'previous'
				WHEN v.state IN ('created', 'building') THEN 'building'
				-- A rollback passes over what it cannot go to.
				WHEN v.state = 'ready' AND (b.state <> 'ready' OR miosa.bad_mark(b.deployment_id, b.id) IS NOT NULL OR EXISTS (SELECT FROM miosa.releases q
						WHERE q.deployment_id = b.deployment_id AND q.deployment_version_id = b.id AND q.collected_at IS NOT NULL))
					AND v.id = miosa.stands_on(p.id, a.promoted_over) THEN 'previous'
				-- Where few ever served, the newest make up for them.
				WHEN v.state = 'ready' AND cardinality(p.recent_served) < 3 AND cardinality(p.recent_served) + (
						SELECT count(*) FROM (SELECT FROM miosa.versions o
							JOIN miosa.releases q ON q.deployment_id = o.deployment_id AND q.deployment_version_id = o.id
							WHERE o.deployment_id = v.deployment_id AND o.version_number > v.version_number
								AND o.state = 'ready' AND q.collected_at IS NULL
								AND o.id <> ALL (p.recent_served) AND o.id IS DISTINCT FROM p.active_version_id
							ORDER BY o.version_number LIMIT 3) newer) < 3 THEN 'newest'
			END AS kept_as
		FROM miosa.releases r
		JOIN miosa.versions v ON v.deployment_id = r.deployment_id AND v.id = r.deployment_version_id
		JOIN miosa.deployments p ON p.id = r.deployment_id
		JOIN miosa.tenants t ON t.id = p.tenant_id
		JOIN miosa.plans s ON s.name = t.plan
		LEFT JOIN miosa.versions a ON a.deployment_id = p.id AND a.id = p.active_version_id
		LEFT JOIN miosa.versions b ON b.deployment_id = p.id AND b.id = a.promoted_over
		WHERE r.collected_at IS NULL AND miosa.sees_tenant(p.tenant_id)) k;
COMMENT ON VIEW miosa.stored_keeping IS 'Releases whose artifact was not collected: why each is kept, or since when it is not';
COMMENT ON COLUMN miosa.stored_keeping.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.stored_keeping.version_id IS 'Version';
COMMENT ON COLUMN miosa.stored_keeping.version_number IS 'Its number';
COMMENT ON COLUMN miosa.stored_keeping.release_id IS 'Release';
COMMENT ON COLUMN miosa.stored_keeping.tenant_id IS 'Owner';
COMMENT ON COLUMN miosa.stored_keeping.storage_uri IS 'Where its artifact is';
COMMENT ON COLUMN miosa.stored_keeping.sha256 IS 'SHA-256 of its artifact, hex';
COMMENT ON COLUMN miosa.stored_keeping.size_bytes IS 'Size of its artifact in bytes';
COMMENT ON COLUMN miosa.stored_keeping.kept_as IS 'Why it is kept: active, serving, pinned, served, previous, building or newest (docs/reference.md describes each); null: its age decides';
COMMENT ON COLUMN miosa.stored_keeping.since IS 'Since when its age counts: archived, else last served, promoted or made; null: not known, until miosa_collect() looks at it';
COMMENT ON COLUMN miosa.stored_keeping.expires_at IS 'When the artifact retention of the tenant''s plan is over, counted from there';
COMMENT ON COLUMN miosa.stored_keeping.due IS 'Whether nothing keeps it any more, unless another release has the same artifact';

-- Once an artifact, however many releases have it: so a caller that may not see
-- all of these sees none.
CREATE VIEW miosa.stored_collectable AS
	SELECT k.storage_uri FROM miosa.stored_keeping k WHERE k.due AND (SELECT miosa.sees_all_tenants())
	GROUP BY k.storage_uri
	HAVING NOT EXISTS (SELECT FROM miosa.stored_keeping o WHERE o.storage_uri = k.storage_uri AND NOT o.due);
COMMENT ON VIEW miosa.stored_collectable IS 'Artifacts of which all releases are due';
COMMENT ON COLUMN miosa.stored_collectable.storage_uri IS 'Where the artifact is';

-- Those of removed deployments, unless another one has the same artifact.
CREATE VIEW miosa.stored_removed AS
	SELECT r.deployment_id, r.version_id, r.version_number, r.release_id, r.tenant_id, r.storage_uri, r.sha256, r.size_bytes, r.removed_at,
		r.collected_at, r.updated_at
	FROM miosa.removed_artifacts r
	WHERE (SELECT miosa.sees_all_tenants())
		AND NOT EXISTS (SELECT FROM miosa.releases o WHERE o.storage_uri = r.storage_uri AND o.collected_at IS NULL);
COMMENT ON VIEW miosa.stored_removed IS 'Artifacts of removed deployments that no release has any more';
COMMENT ON COLUMN miosa.stored_removed.deployment_id IS 'Deployment that was removed';
COMMENT ON COLUMN miosa.stored_removed.version_id IS 'Version';
COMMENT ON COLUMN miosa.stored_removed.version_number IS 'Its number';
COMMENT ON COLUMN miosa.stored_removed.release_id IS 'Release';
COMMENT ON COLUMN miosa.stored_removed.tenant_id IS 'Owner';
COMMENT ON COLUMN miosa.stored_removed.storage_uri IS 'Where its artifact is';
COMMENT ON COLUMN miosa.stored_removed.sha256 IS 'SHA-256 of its artifact, hex';
COMMENT ON COLUMN miosa.stored_removed.size_bytes IS 'Size of its artifact in bytes';
COMMENT ON COLUMN miosa.stored_removed.removed_at IS 'When the deployment was removed';
COMMENT ON COLUMN miosa.stored_removed.collected_at IS 'When it was claimed; null: not yet';
COMMENT ON COLUMN miosa.stored_removed.updated_at IS 'When it was last claimed';

-- The same for readers.
CREATE VIEW miosa.release_keeping WITH (security_barrier) AS
	SELECT k.deployment_id, k.version_id, k.version_number, k.release_id, k.tenant_id,
		miosa.shown_uri(k.storage_uri) AS storage_uri, k.sha256, k.size_bytes, k.kept_as, k.since, k.expires_at, k.due
	FROM miosa.stored_keeping k;
COMMENT ON VIEW miosa.release_keeping IS 'Releases whose artifact was not collected: why each is kept, or since when it is not';
COMMENT ON COLUMN miosa.release_keeping.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.release_keeping.version_id IS 'Version';
COMMENT ON COLUMN miosa.release_keeping.version_number IS 'Its number';
COMMENT ON COLUMN miosa.release_keeping.release_id IS 'Release';
COMMENT ON COLUMN miosa.release_keeping.tenant_id IS 'Owner';
COMMENT ON COLUMN miosa.release_keeping.storage_uri IS 'Where its artifact is; without its query for those who do not fetch artifacts';
COMMENT ON COLUMN miosa.release_keeping.sha256 IS 'SHA-256 of its artifact, hex';
COMMENT ON COLUMN miosa.release_keeping.size_bytes IS 'Size of its artifact in bytes';
COMMENT ON COLUMN miosa.release_keeping.kept_as IS 'Why it is kept: active, serving, pinned, served, previous, building or newest (docs/reference.md describes each); null: its age decides';
COMMENT ON COLUMN miosa.release_keeping.since IS 'Since when its age counts: archived, else last served, promoted or made; null: not known, until miosa_collect() looks at it';
COMMENT ON COLUMN miosa.release_keeping.expires_at IS 'When the artifact retention of the tenant''s plan is over, counted from there';
COMMENT ON COLUMN miosa.release_keeping.due IS 'Whether nothing keeps it any more, unless another release has the same artifact';

CREATE VIEW miosa.collectable_artifacts WITH (security_barrier) AS
	SELECT miosa.shown_uri(c.storage_uri) AS storage_uri FROM miosa.stored_collectable c
	UNION
	SELECT miosa.shown_uri(r.storage_uri) FROM miosa.stored_removed r WHERE r.collected_at IS NULL;
COMMENT ON VIEW miosa.collectable_artifacts IS 'Artifacts of which all releases are due, or their deployments removed';
COMMENT ON COLUMN miosa.collectable_artifacts.storage_uri IS 'Where the artifact is; without its query for those who do not fetch artifacts';

-- A UNION ALL as the whole query would be no barrier to functions that leak.
CREATE VIEW @extschema@.miosa_collectable_releases WITH (security_barrier) AS
	SELECT u.deployment_id, u.version_id, u.version_number, u.release_id, u.tenant_id, u.storage_uri, u.sha256, u.size_bytes, u.expires_at
	FROM (
		SELECT k.deployment_id, k.version_id, k.version_number, k.release_id, k.tenant_id,
			miosa.shown_uri(k.storage_uri) AS storage_uri, k.sha256, k.size_bytes, k.expires_at
		FROM miosa.stored_collectable a
		JOIN miosa.stored_keeping k ON k.storage_uri = a.storage_uri
		WHERE k.due
		UNION ALL
		SELECT r.deployment_id, r.version_id, r.version_number, r.release_id, r.tenant_id,
			miosa.shown_uri(r.storage_uri), r.sha256, r.size_bytes, r.removed_at
		FROM miosa.stored_removed r
		WHERE r.collected_at IS NULL) u;
COMMENT ON VIEW @extschema@.miosa_collectable_releases IS 'Releases that miosa_collect() would claim now';
COMMENT ON COLUMN @extschema@.miosa_collectable_releases.deployment_id IS 'Deployment';
COMMENT ON COLUMN @extschema@.miosa_collectable_releases.version_id IS 'Version';
COMMENT ON COLUMN @extschema@.miosa_collectable_releases.version_number IS 'Its number';
COMMENT ON COLUMN @extschema@.miosa_collectable_releases.release_id IS 'Release';
COMMENT ON COLUMN @extschema@.miosa_collectable_releases.tenant_id IS 'Owner';
COMMENT ON COLUMN @extschema@.miosa_collectable_releases.storage_uri IS 'Where its artifact is; without its query for those who do not fetch artifacts';
COMMENT ON COLUMN @extschema@.miosa_collectable_releases.sha256 IS 'SHA-256 of its artifact, hex';
COMMENT ON COLUMN @extschema@.miosa_collectable_releases.size_bytes IS 'Size of its artifact in bytes';
COMMENT ON COLUMN @extschema@.miosa_collectable_releases.expires_at IS 'When its retention was over, or its deployment removed';

-- Two are looked for, by the key of versions, and each one's release by its own.
CREATE VIEW miosa.restorable AS
	SELECT p.id AS deployment_id, p.tenant_id, p.active_version_id, n.restorable, p.ctid AS place
	FROM miosa.deployments p
	CROSS JOIN LATERAL (
		SELECT count(*)::integer AS restorable FROM (
			SELECT FROM miosa.versions v
			LEFT JOIN miosa.releases r ON r.deployment_id = v.deployment_id AND r.deployment_version_id = v.id
			WHERE v.deployment_id = p.id AND v.state = 'ready' AND v.id <> p.active_version_id
				AND r.collected_at IS NULL AND r.missing_at IS NULL AND miosa.bad_mark(v.deployment_id, v.id) IS NULL
			LIMIT 2) found) n
	WHERE p.active_version_id IS NOT NULL AND miosa.sees_tenant(p.tenant_id);
COMMENT ON VIEW miosa.restorable IS 'Deployments with an active version, and how many others they can be rolled back to: ready, not marked as bad, with an artifact that was neither collected nor found missing';
COMMENT ON COLUMN miosa.restorable.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.restorable.tenant_id IS 'Owner';
COMMENT ON COLUMN miosa.restorable.active_version_id IS 'Its active version';
COMMENT ON COLUMN miosa.restorable.restorable IS 'Number of others that a rollback could make active: 0, 1 or 2 for more';
COMMENT ON COLUMN miosa.restorable.place IS 'Place of its row, for the doctor to look at a part';

CREATE VIEW miosa.scarcely_restorable WITH (security_barrier) AS
	SELECT r.deployment_id, r.tenant_id, r.active_version_id, r.restorable FROM miosa.restorable r WHERE r.restorable < 2;
COMMENT ON VIEW miosa.scarcely_restorable IS 'Deployments with an active version and fewer than two others to roll back to: ready, not marked as bad, with an artifact that was neither collected nor found missing';
COMMENT ON COLUMN miosa.scarcely_restorable.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.scarcely_restorable.tenant_id IS 'Owner';
COMMENT ON COLUMN miosa.scarcely_restorable.active_version_id IS 'Its active version';
COMMENT ON COLUMN miosa.scarcely_restorable.restorable IS 'Number of others that a rollback could make active: 0 or 1';

-- Claiming.

-- Claim artifacts of which all releases are due or whose deployments were
-- removed, and claims whose deletion was never confirmed.
CREATE FUNCTION @extschema@.miosa_collect("limit" integer DEFAULT 100,
	OUT deployment_id text, OUT version_id text, OUT release_id text, OUT storage_uri text, OUT sha256 text, OUT size_bytes bigint)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
	-- A program that does not confirm a deletion for so long may have crashed.
	patience CONSTANT interval := '1 hour';
	uri text;
	holders text[];
	number integer := 0;
	n integer;
BEGIN
	PERFORM miosa.check_limit(miosa_collect."limit", 1000);
	IF current_setting('transaction_isolation') <> 'read committed' THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'miosa_collect() cannot run in this transaction',
			format('The isolation level is %s, which hides releases that were added since the transaction began.',
				current_setting('transaction_isolation')),
			'BEGIN ISOLATION LEVEL READ COMMITTED; SELECT * FROM miosa_collect(); COMMIT;');
	END IF;
	-- What stopped to serve unnoticed did so now at the latest.
	UPDATE miosa.versions v SET last_served_at = clock_timestamp()
		FROM (SELECT o.deployment_id, o.id FROM miosa.versions o JOIN miosa.deployments p ON p.id = o.deployment_id
			WHERE o.promotion_seq IS NOT NULL AND o.last_served_at IS NULL AND o.id <> ALL (p.recent_served)
				AND o.id IS DISTINCT FROM p.active_version_id AND o.id IS DISTINCT FROM p.serving_version_id
			FOR NO KEY UPDATE OF o SKIP LOCKED) u
		WHERE v.deployment_id = u.deployment_id AND v.id = u.id;
	FOR uri IN
		SELECT r.storage_uri FROM miosa.releases r
			WHERE r.collected_at IS NOT NULL AND r.deleted_at IS NULL AND r.updated_at < now() - patience
			ORDER BY r.updated_at
	LOOP
		EXIT WHEN number >= miosa_collect."limit";
		CONTINUE WHEN NOT miosa.lock_uri(uri, true, false);
		RETURN QUERY
			UPDATE miosa.releases r SET updated_at = clock_timestamp()
				WHERE r.storage_uri = uri AND r.collected_at IS NOT NULL AND r.deleted_at IS NULL AND r.updated_at < now() - patience
					AND NOT EXISTS (SELECT FROM miosa.releases o WHERE o.storage_uri = uri AND o.collected_at IS NULL)
				RETURNING r.deployment_id, r.deployment_version_id, r.id, r.storage_uri, r.sha256, r.size_bytes;
		GET DIAGNOSTICS n = ROW_COUNT;
		number := number + least(n, 1);
	END LOOP;
	FOR uri IN
		SELECT r.storage_uri FROM miosa.stored_removed r WHERE r.collected_at IS NULL OR r.updated_at < now() - patience
			GROUP BY r.storage_uri ORDER BY min(r.removed_at)
	LOOP
		EXIT WHEN number >= miosa_collect."limit";
		CONTINUE WHEN NOT miosa.lock_uri(uri, true, false);
		-- A new statement: no release can come while the URI is locked.
		RETURN QUERY
			UPDATE miosa.removed_artifacts r SET collected_at = coalesce(r.collected_at, clock_timestamp()),
					collected_by = coalesce(r.collected_by, miosa.caller()), updated_at = clock_timestamp()
				WHERE r.storage_uri = uri AND (r.collected_at IS NULL OR r.updated_at < now() - patience)
					AND NOT EXISTS (SELECT FROM miosa.releases o WHERE o.storage_uri = uri AND o.collected_at IS NULL)
				RETURNING r.deployment_id, r.version_id, r.release_id, r.storage_uri, r.sha256, r.size_bytes;
		GET DIAGNOSTICS n = ROW_COUNT;
		number := number + least(n, 1);
	END LOOP;
	FOR uri IN SELECT c.storage_uri FROM miosa.stored_collectable c LOOP
		EXIT WHEN number >= miosa_collect."limit";
		CONTINUE WHEN NOT miosa.lock_uri(uri, true, false);
		holders := ARRAY(SELECT DISTINCT r.deployment_id FROM miosa.releases r
			WHERE r.storage_uri = uri AND r.collected_at IS NULL);
		PERFORM FROM miosa.deployments p WHERE p.id = ANY (holders) ORDER BY p.id FOR NO KEY UPDATE SKIP LOCKED;
		GET DIAGNOSTICS n = ROW_COUNT;
		CONTINUE WHEN n < cardinality(holders);
		-- A new statement: under these locks none of them can become needed again.
		RETURN QUERY
			UPDATE miosa.releases r SET collected_at = clock_timestamp(), collected_by = miosa.caller(), updated_at = clock_timestamp()
				FROM (SELECT k.deployment_id, k.release_id, bool_and(k.due) OVER () AS all_due
					FROM miosa.stored_keeping k WHERE k.storage_uri = uri) c
				WHERE c.all_due AND r.deployment_id = c.deployment_id AND r.id = c.release_id AND r.collected_at IS NULL
				RETURNING r.deployment_id, r.deployment_version_id, r.id, r.storage_uri, r.sha256, r.size_bytes;
		GET DIAGNOSTICS n = ROW_COUNT;
		number := number + least(n, 1);
	END LOOP;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_collect(integer) IS 'Claims artifacts that nothing keeps any more; they may be deleted from storage once the call has committed';

-- Confirm a deletion; once confirmed, a new release may name the artifact
-- again.
CREATE FUNCTION @extschema@.miosa_confirm_collected(deployment_id text, release_id text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	r miosa.releases;
	removed miosa.removed_artifacts;
BEGIN
	PERFORM miosa.check_id(deployment_id, 'deployment id');
	PERFORM miosa.check_id(release_id, 'release id');
	SELECT * INTO removed FROM miosa.removed_artifacts o
		WHERE o.deployment_id = deployment_id AND o.release_id = release_id AND o.collected_at IS NOT NULL
		ORDER BY o.removed_at LIMIT 1;
	DELETE FROM miosa.removed_artifacts o
		WHERE o.deployment_id = deployment_id AND o.release_id = release_id AND o.collected_at IS NOT NULL;
	IF removed.deployment_id IS NOT NULL AND NOT EXISTS (SELECT FROM miosa.releases o
		WHERE o.deployment_id = deployment_id AND o.id = release_id AND o.collected_at IS NOT NULL)
	THEN
		RETURN jsonb_build_object('data', jsonb_build_object('id', release_id, 'deployment_id', deployment_id, 'tenant_id', removed.tenant_id,
			'deployment_version_id', removed.version_id, 'storage_uri', miosa.shown_uri(removed.storage_uri), 'sha256', removed.sha256,
			'size_bytes', removed.size_bytes, 'collected_at', miosa.iso(removed.collected_at), 'deleted_at', miosa.iso(clock_timestamp())));
	END IF;
	UPDATE miosa.releases o SET deleted_at = clock_timestamp(), updated_at = clock_timestamp()
		WHERE o.deployment_id = deployment_id AND o.id = release_id
			AND o.collected_at IS NOT NULL AND o.deleted_at IS NULL;
	SELECT * INTO r FROM miosa.releases o WHERE o.deployment_id = deployment_id AND o.id = release_id;
	IF NOT FOUND THEN
		IF NOT EXISTS (SELECT FROM miosa.deployments p WHERE p.id = deployment_id) THEN
			-- Nothing is kept of what was confirmed before.
			IF miosa.sees_all_tenants() AND EXISTS (SELECT FROM miosa.audit_checkpoints c WHERE c.deployment_id = deployment_id AND c.deleted_at IS NOT NULL)
				AND NOT EXISTS (SELECT FROM miosa.removed_artifacts o WHERE o.deployment_id = deployment_id AND o.release_id = release_id)
			THEN
				RETURN jsonb_build_object('data', jsonb_build_object('id', release_id, 'deployment_id', deployment_id));
			END IF;
			PERFORM miosa.no_deployment(deployment_id);
		END IF;
		PERFORM miosa.raise_condition('VERSION_NOT_FOUND', format('release "%s" does not exist', release_id),
			format('Deployment "%s" has no such release.', deployment_id),
			format('See which there are with SELECT id, storage_uri FROM miosa.releases WHERE deployment_id = %L;', deployment_id));
	ELSIF r.collected_at IS NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('release "%s" was not collected', release_id),
			'Only what miosa_collect() has returned may be deleted from storage.',
			format('If its artifact is gone nevertheless: SELECT miosa_put_version(%L, %L, release => ''{"collected_at": "now"}'');',
				deployment_id, r.deployment_version_id));
	END IF;
	RETURN jsonb_build_object('data', miosa.release_object(r));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_confirm_collected(text, text) IS 'Confirms that the artifact of a collected release was deleted from storage; may be repeated';

-- Pinning.

-- Pin or unpin a version under the lock of its deployment.
CREATE FUNCTION miosa.set_pinned(deployment_id text, version_id text, pinned boolean) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	v miosa.versions;
BEGIN
	PERFORM miosa.lock_deployment(deployment_id);
	PERFORM miosa.check_id(version_id, 'version id');
	UPDATE miosa.versions o SET pinned = pinned, updated_at = now()
		WHERE o.deployment_id = deployment_id AND o.id = version_id AND o.pinned <> pinned;
	SELECT * INTO v FROM miosa.versions o WHERE o.deployment_id = deployment_id AND o.id = version_id;
	IF NOT FOUND THEN
		PERFORM miosa.no_version(deployment_id, version_id);
	END IF;
	RETURN jsonb_build_object('data', miosa.version_object(v));
END $$;
COMMENT ON FUNCTION miosa.set_pinned(text, text, boolean) IS 'Pins or unpins a version';

-- Pin a version.
CREATE FUNCTION @extschema@.miosa_pin_version(deployment_id text, version_id text) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
RETURN miosa.set_pinned($1, $2, true);
COMMENT ON FUNCTION @extschema@.miosa_pin_version(text, text) IS 'Keeps a version: it cannot be archived and its artifact is never collected';

-- Unpin a version.
CREATE FUNCTION @extschema@.miosa_unpin_version(deployment_id text, version_id text) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
RETURN miosa.set_pinned($1, $2, false);
COMMENT ON FUNCTION @extschema@.miosa_unpin_version(text, text) IS 'Undoes miosa_pin_version; the version may be archived and collected again';
-- What else administrators change and remove: plans, the state of deployments,
-- adapters, secrets, and whole deployments and tenants.  No group may write the
-- tables: a function checks, queues what follows, and is what an audit sees.

-- Plans.

-- Upsert a plan; a shipped one is overridden.
CREATE FUNCTION @extschema@.miosa_put_plan(name text, audit_retention interval DEFAULT NULL,
	idempotency_retention interval DEFAULT NULL, artifact_retention interval DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	-- A plan that keeps nothing would be a way to erase the trail.
	least_audit CONSTANT interval := '1 day';
	old miosa.plans;
	message text;
	detail text;
	broken text;
BEGIN
	IF coalesce(name, '') !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' THEN
		PERFORM miosa.refuse_value('argument', 'name', name,
			'A name has 1 to 63 characters of A-Z a-z 0-9 . _ - and begins with a letter or digit.', 'For example ''pro''.');
	ELSIF audit_retention < least_audit THEN
		PERFORM miosa.refuse_value('argument', 'audit_retention', audit_retention::text,
			'Audit events are kept for at least a day.', 'For example ''30 days''.');
	END IF;
	SELECT * INTO old FROM miosa.plans p WHERE p.name = name;
	audit_retention := coalesce(audit_retention, old.audit_retention);
	idempotency_retention := coalesce(idempotency_retention, old.idempotency_retention);
	artifact_retention := coalesce(artifact_retention, old.artifact_retention);
	IF audit_retention IS NULL OR idempotency_retention IS NULL OR artifact_retention IS NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('plan "%s" is incomplete', name),
			'A new plan needs all three times.',
			format('SELECT miosa_put_plan(%L, audit_retention => ''90 days'', idempotency_retention => ''24 hours'', artifact_retention => ''30 days'');', name));
	END IF;
	IF (audit_retention, idempotency_retention, artifact_retention)
		IS DISTINCT FROM (old.audit_retention, old.idempotency_retention, old.artifact_retention) THEN
		INSERT INTO miosa.own_plans VALUES (name, audit_retention, idempotency_retention, artifact_retention)
			ON CONFLICT ON CONSTRAINT own_plans_pkey DO UPDATE SET audit_retention = EXCLUDED.audit_retention,
				idempotency_retention = EXCLUDED.idempotency_retention, artifact_retention = EXCLUDED.artifact_retention;
	END IF;
	RETURN (SELECT jsonb_build_object('data', to_jsonb(p)) FROM miosa.plans p WHERE p.name = name);
EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, broken = CONSTRAINT_NAME;
	PERFORM miosa.refuse_row('plan', message, detail, broken);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_plan(text, interval, interval, interval) IS 'Inserts or changes a plan, with its retention times';

-- Delete a plan; of a shipped one that was edited, the edits.
CREATE FUNCTION @extschema@.miosa_remove_plan(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	tenant text;
BEGIN
	IF NOT EXISTS (SELECT FROM miosa.plans p WHERE p.name = name) THEN
		PERFORM miosa.check_word(name, 'name', ARRAY(SELECT p.name FROM miosa.plans p ORDER BY p.name));
	END IF;
	SELECT t.id INTO tenant FROM miosa.tenants t WHERE t.plan = name
		AND NOT EXISTS (SELECT FROM miosa.shipped_plans s WHERE s.name = name) ORDER BY t.id LIMIT 1;
	IF FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('plan "%s" is in use', name),
			format('Tenant "%s" has it.', tenant), format('SELECT id, slug FROM miosa.tenants WHERE plan = %L;', name));
	END IF;
	DELETE FROM miosa.plans p WHERE p.name = name;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_plan(text) IS 'Removes a plan that no tenant has; a shipped one gets its shipped times back';

-- Deployments.

-- Stop and start a deployment, and change how many instances it has.
CREATE FUNCTION @extschema@.miosa_set_deployment(id text, state text DEFAULT NULL, desired_replicas integer DEFAULT NULL,
	schema_name text DEFAULT NULL)
RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
RETURN @extschema@.miosa_put_deployment($1, (miosa.lock_deployment($1)).tenant_id, NULL::text, NULL::text, NULL::text, $3,
	jsonb_build_object('state', CASE WHEN $2 IS NOT NULL THEN miosa.check_word($2, 'state', ARRAY['running', 'stopped']) END, 'schema_name', $4));
COMMENT ON FUNCTION @extschema@.miosa_set_deployment(text, text, integer, text) IS 'Stops or starts a deployment, or changes how many instances it is to have, or which schema its versions work with';

-- Unpublish from C; null when no version is active.
CREATE FUNCTION miosa.call_unpublish(deployment_id text, idempotency_key text, reason text, expected_active text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_call_unpublish';
COMMENT ON FUNCTION miosa.call_unpublish(text, text, text, text) IS 'Makes no version of a deployment active; null when none was';

-- Unpublish a deployment.
CREATE FUNCTION @extschema@.miosa_unpublish(deployment_id text, idempotency_key text DEFAULT NULL, reason text DEFAULT NULL,
	expected_active text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	RETURN coalesce(miosa.call_unpublish(deployment_id, idempotency_key, reason, expected_active),
		(SELECT jsonb_build_object('data', miosa.deployment_object(p)) FROM miosa.deployments p WHERE p.id = deployment_id));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_unpublish(text, text, text, text) IS 'Makes no version of a deployment active: edges are sent that nothing serves, and the state becomes stopped';

-- Give a deployment another slug, and so another managed host.
CREATE FUNCTION @extschema@.miosa_rename_deployment(deployment_id text, slug text, idempotency_key text DEFAULT NULL,
	reason text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	key CONSTANT text := miosa.request_key(idempotency_key);
	d miosa.deployments;
	stored jsonb;
	tenant_slug text;
	new_host text;
	holder text;
BEGIN
	PERFORM miosa.require_primary();
	PERFORM miosa.check_slug(slug, 'slug');
	-- The slug is part of a key, so rows that refer to the deployment are in the
	-- way; they are waited for before others can wait for this lock.
	PERFORM FROM miosa.deployments p WHERE p.id = deployment_id AND p.slug <> slug AND miosa.sees_tenant(p.tenant_id) FOR UPDATE;
	stored := miosa.note_begin('rename', deployment_id, key, ARRAY[slug], reason);
	IF stored IS NOT NULL THEN
		RETURN stored;
	END IF;
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = deployment_id;
	SELECT t.slug INTO tenant_slug FROM miosa.tenants t WHERE t.id = d.tenant_id;
	new_host := miosa.managed_host(slug, tenant_slug);
	SELECT p.id INTO holder FROM miosa.deployments p WHERE p.tenant_id = d.tenant_id AND p.slug = slug AND p.id <> deployment_id;
	IF FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('slug "%s" is taken', slug),
			format('Deployment "%s" has it.', holder), 'Slugs are unique within a tenant; pass another one.');
	END IF;
	-- A host that somebody has put comes before a managed one.
	IF EXISTS (SELECT FROM miosa.domains m WHERE m.fqdn = new_host AND m.state <> 'removed' AND m.deployment_id <> deployment_id) THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('host "%s" is taken', new_host),
			format('It would be the managed host of deployment "%s".', deployment_id), 'Pass another slug.');
	END IF;
	IF d.slug <> slug THEN
		-- The trigger queues what this means for routes.
		UPDATE miosa.deployments p SET slug = slug, updated_at = clock_timestamp() WHERE p.id = deployment_id;
	END IF;
	RETURN miosa.note_write('rename', deployment_id, key, ARRAY[slug], reason,
		jsonb_strip_nulls(jsonb_build_object('from', d.slug, 'to', slug, 'host', new_host)));
EXCEPTION WHEN unique_violation THEN
	PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('slug "%s" is taken', slug),
		'Another deployment of the tenant was given it a moment ago.', 'Slugs are unique within a tenant; pass another one.');
END $$;
COMMENT ON FUNCTION @extschema@.miosa_rename_deployment(text, text, text, text) IS 'Gives a deployment another slug; edges get its new managed host before they lose the old one';

-- Warn that a host that was served is not served any more.
CREATE FUNCTION miosa.unserved_warning(host text, deployment_id text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	message CONSTANT text := format('host "%s" is not served any more', host);
	detail CONSTANT text := format('No version of deployment "%s" is active.', deployment_id);
	hint CONSTANT text := format('Promote one; see the candidates with SELECT * FROM miosa.candidates(%L);', deployment_id);
BEGIN
	RAISE WARNING '%', message USING DETAIL = detail, HINT = hint;
	RETURN jsonb_build_array(jsonb_build_object('code', 'NOT_SERVED', 'message', message, 'detail', detail, 'hint', hint));
END $$;
COMMENT ON FUNCTION miosa.unserved_warning(text, text) IS 'Warns of a host that was moved to a deployment without an active version; returns the warnings of the response';

-- Move a host from one deployment to another.  The host is locked before the
-- deployments, as miosa_put_domain() does.
CREATE FUNCTION @extschema@.miosa_move_host(host text, to_deployment_id text, from_deployment_id text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, reason text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	key CONSTANT text := miosa.request_key(idempotency_key);
	fqdn CONSTANT text := miosa.check_host(host);
	m miosa.domains;
	target miosa.deployments;
	stored jsonb;
	marks jsonb;
	warnings jsonb;
	managed text;
BEGIN
	PERFORM miosa.require_primary();
	IF from_deployment_id IS NOT NULL THEN
		PERFORM miosa.check_id(from_deployment_id, 'from_deployment_id');
	END IF;
	-- Hosts of other tenants do not exist, and no lock of theirs is waited for.
	IF EXISTS (SELECT FROM miosa.domains o WHERE o.fqdn = fqdn AND miosa.sees_deployment(o.deployment_id)) THEN
		SELECT * INTO m FROM miosa.domains o WHERE o.fqdn = fqdn FOR UPDATE;
	END IF;
	PERFORM FROM miosa.deployments p WHERE p.id IN (m.deployment_id, to_deployment_id) AND miosa.sees_tenant(p.tenant_id)
		ORDER BY p.id FOR NO KEY UPDATE;
	stored := miosa.note_begin('move_host', to_deployment_id, key, ARRAY[fqdn, from_deployment_id], reason);
	IF stored IS NOT NULL THEN
		RETURN stored;
	END IF;
	IF m.fqdn IS NULL THEN
		managed := miosa.seen_deployment(miosa.managed_deployment(fqdn));
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('host "%s" cannot be moved', fqdn),
			CASE WHEN managed IS NULL THEN 'There is no such host, or it belongs to another tenant.'
				ELSE format('It is the managed host of deployment "%s".', managed) END,
			CASE WHEN managed IS NULL THEN format('To add it: SELECT miosa_put_domain(%L, %L);', fqdn, to_deployment_id)
				ELSE 'A managed host follows the slug: see miosa_rename_deployment().' END);
	ELSIF from_deployment_id <> m.deployment_id THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('host "%s" cannot be moved', fqdn),
			format('It belongs to deployment "%s" and not to "%s".', m.deployment_id, from_deployment_id),
			format('See its deployment with SELECT deployment_id, state FROM miosa.domains WHERE fqdn = %L;', fqdn));
	END IF;
	SELECT * INTO target FROM miosa.deployments p WHERE p.id = to_deployment_id;
	IF m.tenant_id <> target.tenant_id AND NOT miosa.sees_all_tenants() THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('host "%s" cannot be moved', fqdn),
			format('Deployment "%s" belongs to another tenant than "%s".', to_deployment_id, m.deployment_id),
			'Somebody who acts for all tenants can move it.');
	END IF;

	marks := jsonb_build_object('host', fqdn, 'from', m.deployment_id, 'to', to_deployment_id);
	IF m.deployment_id <> to_deployment_id THEN
		-- The one that loses it: may the caller change it, too?
		PERFORM miosa.note_begin('move_host', m.deployment_id, NULL, ARRAY[fqdn], reason);
		-- The trigger queues what this means for routes.  What was verified for
		-- another tenant is not for this one.
		UPDATE miosa.domains o SET deployment_id = to_deployment_id, tenant_id = target.tenant_id,
				verified_at = CASE WHEN o.tenant_id = target.tenant_id THEN o.verified_at END
			WHERE o.fqdn = fqdn;
		UPDATE miosa.deployments p SET custom_domain_id = NULL WHERE p.id = m.deployment_id AND p.custom_domain_id = m.id;
		PERFORM miosa.note_write('move_host', m.deployment_id, NULL, ARRAY[fqdn], reason, marks);
		IF target.active_version_id IS NULL AND m.state = 'active' AND EXISTS (
			SELECT FROM miosa.deployments p WHERE p.id = m.deployment_id AND p.active_version_id IS NOT NULL) THEN
			warnings := miosa.unserved_warning(fqdn, to_deployment_id);
		END IF;
	END IF;
	IF fqdn LIKE '*.%' THEN
		PERFORM miosa.warn_of_wildcards(NULL, fqdn);
	END IF;
	RETURN miosa.note_write('move_host', to_deployment_id, key, ARRAY[fqdn, from_deployment_id], reason, marks, warnings);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_move_host(text, text, text, text, text) IS 'Moves a host from one deployment to another; edges get its new route before they lose the old one';

-- The answer to a removal that was made with this key before.  Its key is gone
-- with the deployment, but the event that ends the chain has it.  Of a deployment
-- that exists, whose ever it is, no more is read than of none.
CREATE FUNCTION miosa.removed_before(id text, idempotency_key text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	last bigint;
	event miosa.audit_events;
BEGIN
	SELECT c.last_seq INTO last FROM miosa.audit_checkpoints c WHERE c.deployment_id = id AND c.deleted_at IS NOT NULL;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	SELECT a.* INTO event FROM miosa.audit_events a
		WHERE a.deployment_id = id AND a.seq = last AND a.action = 'deployment.remove' AND a.idempotency_key = idempotency_key
			AND miosa.sees_tenant(a.tenant_id);
	IF NOT FOUND OR EXISTS (SELECT FROM miosa.deployments p WHERE p.id = id) THEN
		RETURN NULL;
	END IF;
	RETURN jsonb_build_object('data', jsonb_build_object('id', id, 'state', 'removed'),
		'operation', jsonb_build_object('id', id || '#' || event.seq, 'outcome', event.outcome, 'replayed', true));
END $$;
COMMENT ON FUNCTION miosa.removed_before(text, text) IS 'Answer of miosa_remove_deployment to a repeated key; null: the deployment was not removed by it';

-- Delete a deployment and all that belongs to it but its audit events.
CREATE FUNCTION @extschema@.miosa_remove_deployment(id text, reason text DEFAULT NULL, idempotency_key text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	key CONSTANT text := miosa.request_key(idempotency_key);
	d miosa.deployments;
	stored jsonb;
	running text;
	stopping text[] := '{}';
	artifacts jsonb;
	n record;
BEGIN
	PERFORM miosa.check_id(id, 'deployment id');
	IF key IS NOT NULL THEN
		stored := miosa.removed_before(id, key);
		IF stored IS NOT NULL THEN
			RETURN stored;
		END IF;
	END IF;
	-- Others lock a host before its deployment, and refer to the deployment.
	IF miosa.sees_deployment(id) THEN
		PERFORM FROM miosa.domains m WHERE m.deployment_id = id ORDER BY m.fqdn FOR UPDATE;
		PERFORM FROM miosa.deployments p WHERE p.id = id FOR UPDATE;
	END IF;
	stored := miosa.note_begin('remove', id, key, '{}'::text[], reason);
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = id;
	IF d.active_version_id IS NOT NULL THEN
		PERFORM miosa.raise_condition('VERSION_IN_USE', format('deployment "%s" cannot be removed', id),
			format('Version "%s" is active.', d.active_version_id), format('Take it off the edges first: SELECT miosa_unpublish(%L);', id));
	END IF;
	-- Once it is gone, nobody asks schedulers to stop what they run.  With a
	-- negative drain_delay nobody does so now.
	FOR running IN
		SELECT v.id FROM miosa.versions v LEFT JOIN miosa.capacity c ON c.deployment_id = v.deployment_id AND c.version_id = v.id
		WHERE v.deployment_id = id AND v.kind <> 'static' AND miosa.drain_due(now()) < 'infinity' AND miosa.has_scheduler(id, false)
			AND coalesce(c.state <> 'drained', EXISTS (SELECT FROM miosa.runtime_instances i
				WHERE i.deployment_id = id AND i.version_id = v.id AND NOT miosa.has_ended(i.state)))
		ORDER BY v.id
	LOOP
		stopping := stopping || running;
		INSERT INTO miosa.capacity (deployment_id, version_id, state) VALUES (id, running, 'idle') ON CONFLICT ON CONSTRAINT capacity_pkey DO NOTHING;
		PERFORM miosa.begin_drain(id, running) FROM miosa.capacity c
			WHERE c.deployment_id = id AND c.version_id = running AND c.state <> 'draining';
	END LOOP;
	IF stopping <> '{}' THEN
		RETURN jsonb_build_object('data', jsonb_build_object('id', id, 'state', 'stopping', 'versions', stopping));
	END IF;
	-- What only this deployment has is needed by nobody any more.
	SELECT coalesce(jsonb_agg(jsonb_build_object('storage_uri', miosa.shown_uri(r.storage_uri), 'sha256', r.sha256, 'size_bytes', r.size_bytes)
			ORDER BY r.storage_uri), '[]') INTO artifacts
		FROM (SELECT DISTINCT ON (o.storage_uri) o.storage_uri, o.sha256, o.size_bytes FROM miosa.releases o
			WHERE o.deployment_id = id AND o.deleted_at IS NULL
				AND NOT EXISTS (SELECT FROM miosa.releases e WHERE e.storage_uri = o.storage_uri AND e.deployment_id <> id)
			ORDER BY o.storage_uri) r;
	SELECT (SELECT count(*) FROM miosa.domains m WHERE m.deployment_id = id) AS hosts,
		(SELECT count(*) FROM miosa.versions v WHERE v.deployment_id = id) AS versions INTO n;
	stored := miosa.note_write('remove', id, key, '{}'::text[], reason,
		jsonb_build_object('hosts', n.hosts, 'versions', n.versions, 'artifacts', jsonb_array_length(artifacts)));
	-- miosa_collect() claims what no release has any more.
	INSERT INTO miosa.removed_artifacts (deployment_id, release_id, version_id, version_number, tenant_id, storage_uri, sha256, size_bytes,
			collected_at, collected_by, updated_at)
		SELECT o.deployment_id, o.id, v.id, v.version_number, o.tenant_id, o.storage_uri, o.sha256, o.size_bytes, o.collected_at, o.collected_by, o.updated_at
		FROM miosa.releases o JOIN miosa.versions v ON v.deployment_id = o.deployment_id AND v.id = o.deployment_version_id
		WHERE o.deployment_id = id AND o.deleted_at IS NULL;
	UPDATE miosa.versions v SET pinned = false WHERE v.deployment_id = id AND v.pinned;
	DELETE FROM miosa.runtime_instances i WHERE i.deployment_id = id;
	DELETE FROM miosa.holds h WHERE h.deployment_id = id;
	DELETE FROM miosa.domains m WHERE m.deployment_id = id;
	DELETE FROM miosa.releases r WHERE r.deployment_id = id;
	DELETE FROM miosa.versions v WHERE v.deployment_id = id;
	DELETE FROM miosa.deployments p WHERE p.id = id;
	RETURN jsonb_build_object('data', jsonb_build_object('id', id, 'state', 'removed', 'artifacts', artifacts),
		'operation', jsonb_build_object('id', stored #> '{operation,id}', 'outcome', stored #> '{operation,outcome}'));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_deployment(text, text, text) IS 'Removes a deployment without an active version, with its hosts, versions, releases and instances; its audit events stay';

-- Delete a tenant that has no deployment.
CREATE FUNCTION @extschema@.miosa_remove_tenant(id text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	deployment text;
	message text;
	detail text;
	broken text;
BEGIN
	PERFORM miosa.check_id(id, 'tenant id');
	SELECT p.id INTO deployment FROM miosa.deployments p WHERE p.tenant_id = id ORDER BY p.id LIMIT 1;
	IF FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('tenant "%s" cannot be removed', id),
			format('Deployment "%s" belongs to it.', deployment), format('Remove its deployments first: SELECT miosa_remove_deployment(%L);', deployment));
	END IF;
	DELETE FROM miosa.freezes f WHERE f.tenant_id = id;
	DELETE FROM miosa.bad_artifacts b WHERE b.tenant_id = id;
	DELETE FROM miosa.tenants t WHERE t.id = id;
	RETURN jsonb_build_object('data', jsonb_build_object('id', id, 'state', 'removed'));
EXCEPTION WHEN integrity_constraint_violation THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, broken = CONSTRAINT_NAME;
	PERFORM miosa.refuse_row('tenant', message, detail, broken);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_tenant(text) IS 'Removes a tenant without deployments; its audit events stay';

-- Adapters and secrets.

-- Upsert an adapter.  The statement names the columns that were given, so that
-- the others keep their values or get their defaults; the trigger checks it.
CREATE FUNCTION @extschema@.miosa_put_adapter(name text, fields jsonb DEFAULT '{}', copy_of text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	known CONSTANT text[] := ARRAY(SELECT a.attname::text FROM pg_attribute a
		WHERE a.attrelid = 'miosa.adapters'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attname NOT IN ('name', 'builtin')
		ORDER BY a.attname);
	field text;
	copied jsonb;
	columns text;
	"values" text;
	message text;
	detail text;
	broken text;
BEGIN
	IF coalesce(name, '') !~ '^[a-z0-9][a-z0-9._-]{0,62}$' THEN
		PERFORM miosa.refuse_value('argument', 'name', name,
			'A name has 1 to 63 characters of a-z 0-9 . _ - and begins with a letter or digit.', 'For example ''my-router''.');
	ELSIF jsonb_typeof(coalesce(fields, '{}')) <> 'object' THEN
		PERFORM miosa.refuse_value('fields', NULL, fields::text, format('The fields are a JSON %s.', jsonb_typeof(fields)),
			'Pass an object: ''{"timeout": "3 s"}''.');
	END IF;
	IF copy_of IS NOT NULL THEN
		SELECT to_jsonb(a) - ARRAY['name', 'builtin'] INTO copied FROM miosa.adapters a WHERE a.name = copy_of;
		IF NOT FOUND THEN
			PERFORM miosa.check_word(copy_of, 'copy_of', ARRAY(SELECT a.name FROM miosa.adapters a ORDER BY a.name));
		END IF;
	END IF;
	fields := coalesce(copied, '{}') || coalesce(fields, '{}');
	FOR field IN SELECT k.key FROM jsonb_object_keys(fields) k (key) WHERE k.key <> ALL (known) ORDER BY k.key LIMIT 1 LOOP
		PERFORM miosa.check_word(field, 'fields', known);
	END LOOP;
	SELECT string_agg(quote_ident(k.key), ', ' ORDER BY k.key), string_agg('r.' || quote_ident(k.key), ', ' ORDER BY k.key)
		INTO columns, "values" FROM jsonb_object_keys(fields) k (key);
	PERFORM FROM miosa.adapters a WHERE a.name = name FOR UPDATE;
	IF NOT FOUND THEN
		EXECUTE format('INSERT INTO miosa.adapters (name%s) SELECT $1%s FROM jsonb_populate_record(NULL::miosa.adapters, $2) r',
			', ' || columns, ', ' || "values") USING name, fields;
	ELSIF columns IS NOT NULL THEN
		EXECUTE format('UPDATE miosa.adapters a SET (%s) = (SELECT %s FROM jsonb_populate_record(NULL::miosa.adapters, $2) r) WHERE a.name = $1',
			columns, "values") USING name, fields;
	END IF;
	RETURN (SELECT jsonb_build_object('data', to_jsonb(a)) FROM miosa.adapters a WHERE a.name = name);
EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, broken = CONSTRAINT_NAME;
	PERFORM miosa.refuse_row('adapter', message, detail, broken);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_adapter(text, jsonb, text) IS 'Inserts or changes an adapter, by the columns of miosa.adapters that are given; copy_of: the others are those of another adapter';

-- Delete an adapter.
CREATE FUNCTION @extschema@.miosa_remove_adapter(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	endpoint text;
BEGIN
	SELECT e.name INTO endpoint FROM miosa.endpoints e WHERE e.adapter = name ORDER BY e.name LIMIT 1;
	IF FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('adapter "%s" is in use', name),
			format('Endpoint "%s" has it.', endpoint), format('SELECT name FROM miosa.endpoints WHERE adapter = %L;', name));
	END IF;
	DELETE FROM miosa.adapters a WHERE a.name = name;
	IF NOT FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('adapter "%s" does not exist', name), NULL,
			'See which there are with SELECT name, description FROM miosa.adapters WHERE NOT builtin;');
	END IF;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_adapter(text) IS 'Removes an adapter that no endpoint has';

-- Delete a secret.
CREATE FUNCTION @extschema@.miosa_remove_secret(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	holder text;
BEGIN
	SELECT h.holder INTO holder FROM (
		SELECT format('Endpoint "%s" names it.', e.name) AS holder FROM miosa.endpoints e WHERE e.secret = name
		UNION ALL
		SELECT format('Storage "%s" names it.', s.prefix) FROM miosa.storages s WHERE s.secret = name) h ORDER BY 1 LIMIT 1;
	IF FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('secret "%s" is in use', name), holder,
			format('SELECT name FROM miosa.endpoints WHERE secret = %1$L; SELECT prefix FROM miosa.storages WHERE secret = %1$L;', name));
	END IF;
	DELETE FROM miosa.secrets s WHERE s.name = name;
	IF NOT FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('secret "%s" does not exist', name), NULL,
			'See which there are with SELECT name, created_at FROM miosa.secrets;');
	END IF;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_secret(text) IS 'Removes a secret that no endpoint or storage names';
-- Schemas of applications' databases: which version of it is applied, and from
-- which version of it on code can work with that.  Migration tools report it;
-- src/operation/schema_guard.c compares versions with it before they serve.
--
-- A schema belongs to a tenant, or to all of them (tenant *); a deployment that
-- names a schema means its tenant's before the one of all.

CREATE TABLE miosa.schemas (
	tenant_id text COLLATE "C" NOT NULL,
	name text COLLATE "C" NOT NULL,
	version bigint CHECK (version >= 0),
	compatible_from bigint CHECK (compatible_from BETWEEN 0 AND version),
	applied_at timestamptz,
	database_schemas text[] NOT NULL DEFAULT '{}',
	reported_by text,
	reported_at timestamptz,
	PRIMARY KEY (tenant_id, name),
	CONSTRAINT "a report has a version, compatible_from and a time" CHECK (num_nulls(version, compatible_from, applied_at) IN (0, 3))
);
COMMENT ON TABLE miosa.schemas IS 'Schemas of applications'' databases, with the newest report of each';
COMMENT ON COLUMN miosa.schemas.tenant_id IS 'Tenant whose deployments may name it; * for every tenant';
COMMENT ON COLUMN miosa.schemas.name IS 'Name that deployments have in schema_name';
COMMENT ON COLUMN miosa.schemas.version IS 'Version that is applied; null before the first report';
COMMENT ON COLUMN miosa.schemas.compatible_from IS 'Code that was built for this version of the schema, or a later one, can work with it';
COMMENT ON COLUMN miosa.schemas.applied_at IS 'When that version was applied';
COMMENT ON COLUMN miosa.schemas.database_schemas IS 'Schemas of this database in which objects that versions require are looked up; empty: none';
COMMENT ON COLUMN miosa.schemas.reported_by IS 'Actor of the report';
COMMENT ON COLUMN miosa.schemas.reported_at IS 'When it was reported';

CREATE TABLE miosa.schema_reports (
	tenant_id text COLLATE "C" NOT NULL,
	name text COLLATE "C" NOT NULL,
	seq bigint NOT NULL,
	version bigint NOT NULL,
	compatible_from bigint NOT NULL,
	applied_at timestamptz NOT NULL,
	newest boolean NOT NULL,
	actor_type text NOT NULL,
	actor_id text NOT NULL,
	session_user_name text NOT NULL,
	client_addr inet,
	created_at timestamptz NOT NULL,
	keep_until timestamptz NOT NULL,
	PRIMARY KEY (tenant_id, name, seq)
);
CREATE INDEX schema_reports_expiry ON miosa.schema_reports (keep_until);
COMMENT ON TABLE miosa.schema_reports IS 'Reports about schemas; append-only for everybody, and kept as long as audit events';
COMMENT ON COLUMN miosa.schema_reports.tenant_id IS 'As in miosa.schemas';
COMMENT ON COLUMN miosa.schema_reports.name IS 'Name of the schema';
COMMENT ON COLUMN miosa.schema_reports.seq IS 'Number among the reports of the schema, in their order';
COMMENT ON COLUMN miosa.schema_reports.version IS 'Version that was applied';
COMMENT ON COLUMN miosa.schema_reports.compatible_from IS 'As in miosa.schemas';
COMMENT ON COLUMN miosa.schema_reports.applied_at IS 'When it was applied';
COMMENT ON COLUMN miosa.schema_reports.newest IS 'Whether it was applied later than what was reported before, and so was written to miosa.schemas';
COMMENT ON COLUMN miosa.schema_reports.actor_type IS 'user, api_key, role or system';
COMMENT ON COLUMN miosa.schema_reports.actor_id IS 'Id of the actor, of that type';
COMMENT ON COLUMN miosa.schema_reports.session_user_name IS 'Role that logged in';
COMMENT ON COLUMN miosa.schema_reports.client_addr IS 'Address of the client; null over a Unix socket';
COMMENT ON COLUMN miosa.schema_reports.created_at IS 'When it was reported';
COMMENT ON COLUMN miosa.schema_reports.keep_until IS 'Until when retention keeps it';

-- Keep reports as they are.
CREATE FUNCTION miosa.schema_reports_keep() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF TG_OP = 'DELETE' AND OLD.keep_until < now() THEN
		RETURN OLD;
	END IF;
	PERFORM miosa.raise_condition('FORBIDDEN', 'reports about schemas cannot be changed',
		format('%s on miosa.schema_reports was refused.', TG_OP),
		'Read them: SELECT * FROM miosa.schema_reports ORDER BY created_at DESC LIMIT 50;');
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.schema_reports_keep() IS 'Trigger: raises FORBIDDEN on UPDATE and TRUNCATE, and on DELETE of a report before retention ends';
CREATE TRIGGER schema_reports_keep BEFORE UPDATE OR DELETE ON miosa.schema_reports
	FOR EACH ROW EXECUTE FUNCTION miosa.schema_reports_keep();
CREATE TRIGGER schema_reports_truncate BEFORE TRUNCATE ON miosa.schema_reports
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.schema_reports_keep();
ALTER TABLE miosa.schema_reports ENABLE ALWAYS TRIGGER schema_reports_keep;
ALTER TABLE miosa.schema_reports ENABLE ALWAYS TRIGGER schema_reports_truncate;

-- A tenant of the same id may come later.
CREATE FUNCTION miosa.tenants_schemas() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM miosa.schemas s WHERE s.tenant_id = OLD.id;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.tenants_schemas() IS 'Trigger: schemas of a tenant are deleted with it';
CREATE TRIGGER tenants_schemas AFTER DELETE ON miosa.tenants
	FOR EACH ROW EXECUTE FUNCTION miosa.tenants_schemas();

-- Build the object of a schema.
CREATE FUNCTION miosa.schema_object(s miosa.schemas) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT pg_catalog.jsonb_build_object('schema_name', s.name, 'tenant_id', nullif(s.tenant_id, '*'),
		'version', s.version, 'compatible_from', s.compatible_from, 'applied_at', miosa.iso(s.applied_at),
		'database_schemas', s.database_schemas, 'reported_by', s.reported_by, 'reported_at', miosa.iso(s.reported_at))
$$;
COMMENT ON FUNCTION miosa.schema_object(miosa.schemas) IS 'A schema as functions return it';

-- Whose schema a caller may report about: that of a tenant for which it feeds
-- versions or reports; that of all tenants when it acts for all.
CREATE FUNCTION miosa.check_schema_owner(tenant_id text, function_name text) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
BEGIN
	IF tenant_id IS NULL THEN
		PERFORM miosa.require_all_tenants('function ' || function_name);
		RETURN '*';
	END IF;
	PERFORM miosa.check_id(tenant_id, 'tenant id');
	IF NOT EXISTS (SELECT FROM miosa.tenants t WHERE t.id = tenant_id AND miosa.sees_tenant(t.id)) THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('tenant "%s" does not exist', tenant_id), NULL,
			format('Add it first: SELECT miosa_put_tenant(%L, ''slug'');', tenant_id));
	END IF;
	IF NOT miosa.may(tenant_id, 'report') THEN
		PERFORM miosa.check_scope(tenant_id, 'deploy', 'call ' || function_name);
	END IF;
	RETURN tenant_id;
END $$;
COMMENT ON FUNCTION miosa.check_schema_owner(text, text) IS 'The tenant of a schema, * for null, if the caller may report about its schemas; else FORBIDDEN or INVALID_ARGUMENT';

-- Report which version of a schema is applied.  A report that repeats the newest
-- one changes nothing.  The row is locked before the clock is read, so that of two
-- reports without a time the one that is written later counts.
CREATE FUNCTION @extschema@.miosa_report_schema(schema_name text, version bigint, compatible_from bigint DEFAULT NULL,
	applied_at timestamptz DEFAULT NULL, tenant_id text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	-- Clocks differ a little.
	ahead CONSTANT interval := '1 min';
	tenant CONSTANT text := miosa.check_schema_owner(tenant_id, 'miosa_report_schema');
	lowest CONSTANT bigint := coalesce(compatible_from, version);
	s miosa.schemas;
	actor record;
	at timestamptz := miosa.check_time(applied_at, 'applied_at');
	here timestamptz;
	is_newest boolean;
	is_known boolean;
BEGIN
	PERFORM miosa.check_schema_name(schema_name);
	IF version IS NULL OR version < 0 THEN
		PERFORM miosa.refuse_value('argument', 'version', version::text, NULL,
			'Pass the version that is applied, a whole number from 0: 42, 20260131120000.');
	ELSIF lowest NOT BETWEEN 0 AND version THEN
		PERFORM miosa.refuse_value('argument', 'compatible_from', lowest::text,
			format('The version is %s.', version),
			'Pass the lowest version whose code works with this one; leave it out if no older code does.');
	ELSIF at > clock_timestamp() + ahead THEN
		PERFORM miosa.refuse_value('argument', 'applied_at', miosa.iso(at), 'The time is in the future.',
			'Report a migration when it has been applied, or leave the time out.');
	END IF;

	INSERT INTO miosa.schemas (tenant_id, name) VALUES (tenant, schema_name) ON CONFLICT ON CONSTRAINT schemas_pkey DO NOTHING;
	SELECT * INTO s FROM miosa.schemas o WHERE o.tenant_id = tenant AND o.name = schema_name FOR UPDATE;
	here := clock_timestamp();
	is_known := CASE WHEN at IS NULL THEN (s.version, s.compatible_from) IS NOT DISTINCT FROM (version, lowest)
		ELSE EXISTS (SELECT FROM miosa.schema_reports r WHERE r.tenant_id = tenant AND r.name = schema_name
			AND r.version = version AND r.compatible_from = lowest AND r.applied_at = least(at, r.created_at)) END;
	at := CASE WHEN at IS NULL THEN greatest(here, s.applied_at + '1 us'::interval) ELSE least(at, here) END;
	is_newest := s.applied_at IS NULL OR at >= s.applied_at;
	IF NOT is_known THEN
		SELECT * INTO actor FROM miosa.current_actor();
		INSERT INTO miosa.schema_reports (tenant_id, name, seq, version, compatible_from, applied_at, newest,
				actor_type, actor_id, session_user_name, client_addr, created_at, keep_until)
			VALUES (tenant, schema_name, coalesce((SELECT max(r.seq) FROM miosa.schema_reports r
					WHERE r.tenant_id = tenant AND r.name = schema_name), 0) + 1, version, lowest, at, is_newest,
				actor.type, actor.id, session_user, inet_client_addr(), here, here + miosa.audit_retention(tenant));
		IF is_newest THEN
			UPDATE miosa.schemas o SET version = version, compatible_from = lowest, applied_at = at,
					reported_by = actor.type || ':' || actor.id, reported_at = here
				WHERE o.tenant_id = tenant AND o.name = schema_name
				RETURNING * INTO s;
		END IF;
	END IF;
	RETURN jsonb_build_object('data', miosa.schema_object(s),
		'report', jsonb_build_object('recorded', NOT is_known, 'newest', s.version = version AND s.compatible_from = lowest));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_report_schema(text, bigint, bigint, timestamptz, text) IS 'Says which version of a schema is applied, and which code can work with it; called by migration tools';

-- Say where a schema's objects are in this database.
CREATE FUNCTION @extschema@.miosa_put_schema(schema_name text, database_schemas text[] DEFAULT NULL, tenant_id text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	tenant CONSTANT text := miosa.check_schema_owner(tenant_id, 'miosa_put_schema');
	bad text;
	s miosa.schemas;
BEGIN
	PERFORM miosa.check_schema_name(schema_name);
	SELECT coalesce(d.name, 'null') INTO bad FROM unnest(database_schemas) d (name)
		WHERE coalesce(d.name, '') = '' OR octet_length(d.name) > 63 LIMIT 1;
	IF FOUND OR cardinality(database_schemas) > 100 OR array_ndims(database_schemas) > 1 THEN
		PERFORM miosa.refuse_value('argument', 'database_schemas', coalesce(bad, database_schemas::text), NULL,
			'Pass up to 100 names of schemas as they are in pg_namespace: ''{app}''.');
	END IF;
	INSERT INTO miosa.schemas AS o (tenant_id, name, database_schemas) VALUES (tenant, schema_name, coalesce(database_schemas, '{}'))
		ON CONFLICT ON CONSTRAINT schemas_pkey DO UPDATE SET database_schemas = coalesce(database_schemas, o.database_schemas)
		RETURNING * INTO s;
	RETURN jsonb_build_object('data', miosa.schema_object(s));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_schema(text, text[], text) IS 'Adds or changes a schema: in which schemas of this database the objects are that its versions require';

-- Delete a schema; its reports stay until retention ends.
CREATE FUNCTION @extschema@.miosa_remove_schema(schema_name text, tenant_id text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	DELETE FROM miosa.schemas s WHERE s.tenant_id = coalesce(tenant_id, '*') AND s.name = schema_name;
	IF NOT FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('schema "%s" does not exist', schema_name), NULL,
			'See which there are with SELECT tenant_id, name FROM miosa.schemas;');
	END IF;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_schema(text, text) IS 'Removes a schema; deployments that name it are not checked any more, and its reports stay';

-- Compare a version with the schema of its deployment.
CREATE FUNCTION miosa.schema_finding(deployment_id text, version_id text, OUT result text, OUT message text, OUT detail text)
LANGUAGE c STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_schema_finding';
COMMENT ON FUNCTION miosa.schema_finding(text, text) IS 'What the check schema_fits of an operation would find: ok, unknown, warning or failed, and why';

-- Which versions fit.
CREATE FUNCTION miosa.schema_fits_rows(deployment text, OUT version text, OUT built_for bigint, OUT fits text, OUT why text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	id text := miosa.find_deployment(deployment);
BEGIN
	RETURN QUERY SELECT 'v' || v.version_number, v.schema_version,
			CASE f.result WHEN 'ok' THEN 'yes' WHEN 'unknown' THEN 'unknown' ELSE 'no' END,
			miosa.show(left(coalesce(f.detail, f.message), 200))
		FROM (SELECT * FROM miosa.versions o WHERE o.deployment_id = id AND o.state = 'ready'
			ORDER BY o.version_number DESC LIMIT 50) v
		CROSS JOIN LATERAL miosa.schema_finding(id, v.id) f
		ORDER BY v.version_number DESC;
END $$;
COMMENT ON FUNCTION miosa.schema_fits_rows(text) IS 'Rows of miosa.schema_fits()';

-- Enter schema_fits_rows() from C.
CREATE FUNCTION miosa.schema_fits(deployment text, OUT version text, OUT built_for bigint, OUT fits text, OUT why text)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.schema_fits(text) IS 'Which of the newest 50 versions of a deployment can work with the schema as it is now, for people';
-- Texts of the console: one line of at most so many characters, durations,
-- calls to paste, and bars.

-- Shorten a text in its middle, since ids differ at their ends.
CREATE FUNCTION miosa.short(value text, width integer) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	line CONSTANT text := miosa.show(value);
BEGIN
	RETURN CASE WHEN length(line) <= width THEN line
		ELSE left(line, width - 2 - (width - 2) / 3) || '..' || right(line, (width - 2) / 3) END;
END $$;
COMMENT ON FUNCTION miosa.short(text, integer) IS 'The text on one line of at most so many characters, its middle left out: ids differ at their ends';

-- Shorten a text at its end.
CREATE FUNCTION miosa.clip(value text, width integer) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	line CONSTANT text := miosa.show(value);
BEGIN
	RETURN CASE WHEN length(line) <= width THEN line ELSE left(line, width - 2) || '..' END;
END $$;
COMMENT ON FUNCTION miosa.clip(text, integer) IS 'The text on one line of at most so many characters, its end left out: for what people wrote and for error messages';

-- Break a text into lines.
CREATE FUNCTION miosa.wrap(value text, width integer, most integer) RETURNS SETOF text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	rest text := miosa.show(value);
	line text;
BEGIN
	FOR i IN 1 .. most - 1 LOOP
		EXIT WHEN length(rest) <= width;
		-- At the last space that fits; in the middle of a word if there is none.
		line := coalesce(substring(left(rest, width + 1) FROM '^(.*[^ ]) '), left(rest, width));
		RETURN NEXT line;
		rest := ltrim(substr(rest, length(line) + 1));
	END LOOP;
	IF rest <> '' THEN
		RETURN NEXT miosa.clip(rest, width);
	END IF;
END $$;
COMMENT ON FUNCTION miosa.wrap(text, integer, integer) IS 'The text on lines of at most so many characters, at most so many lines';

-- Format a duration.
CREATE FUNCTION miosa.span(value interval) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	s CONSTANT numeric := trunc(extract(epoch FROM value));
BEGIN
	RETURN CASE
		WHEN s < 1 THEN '<1 s'
		WHEN s < 60 THEN s::integer || ' s'
		WHEN s < 3600 THEN trunc(s / 60)::integer || ' min'
		WHEN s < 86400 THEN trunc(s / 3600)::integer || ' h'
			|| CASE WHEN trunc(mod(s, 3600) / 60) > 0 THEN ' ' || trunc(mod(s, 3600) / 60)::integer || ' min' ELSE '' END
		ELSE trunc(s / 86400)::integer || ' d'
			|| CASE WHEN trunc(mod(s, 86400) / 3600) > 0 THEN ' ' || trunc(mod(s, 86400) / 3600)::integer || ' h' ELSE '' END
		END;
END $$;
COMMENT ON FUNCTION miosa.span(interval) IS 'A duration in two units at most: 45 s, 12 min, 2 h 5 min, 3 d 4 h';

-- Format a duration for a narrow column.
CREATE FUNCTION miosa.rough_span(value interval) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN substring(miosa.span(value) FROM '^\S+ \S+');
COMMENT ON FUNCTION miosa.rough_span(interval) IS 'A duration in one unit, for narrow columns: 45 s, 12 min, 2 h, 3 d';

-- A call can be pasted even when a name in it is longer than a line: SQL joins
-- string literals that stand on lines of their own.
CREATE FUNCTION miosa.paste(call text, VARIADIC arguments text[]) RETURNS SETOF text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	width CONSTANT integer := 64;
	whole text;
	line text := call || '(';
	argument text;
	piece text;
	n integer := 0;
BEGIN
	SELECT call || '(' || string_agg(quote_nullable(a.value), ', ' ORDER BY a.place) || ');' INTO whole
		FROM unnest(arguments) WITH ORDINALITY a (value, place);
	IF length(whole) <= width THEN
		RETURN NEXT whole;
		RETURN;
	END IF;
	RETURN NEXT line;
	FOREACH argument IN ARRAY arguments LOOP
		n := n + 1;
		LOOP
			piece := left(argument, width - 8);
			argument := substr(argument, width - 7);
			EXIT WHEN coalesce(argument, '') = '';
			RETURN NEXT quote_literal(piece);
		END LOOP;
		RETURN NEXT quote_nullable(piece) || CASE WHEN n = cardinality(arguments) THEN ');' ELSE ',' END;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.paste(text, text[]) IS 'Lines of at most 64 characters that make up a call of a function with these text arguments';

-- Draw a bar.
CREATE FUNCTION miosa.bar(done bigint, total bigint, width integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN total > 0 THEN
	repeat('#', (width * done / total)::integer) || repeat('-', width - (width * done / total)::integer)
	|| ' ' || done || '/' || total END;
COMMENT ON FUNCTION miosa.bar(bigint, bigint, integer) IS 'A bar of so many characters and the two numbers; full only when all are done; null when there is nothing to do';

-- The usual one.
CREATE FUNCTION miosa.bar(done bigint, total bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN miosa.bar(done, total, 6);
COMMENT ON FUNCTION miosa.bar(bigint, bigint) IS 'A bar of six characters';
-- The console: functions that people call in psql.
--
-- Everything fits into 80 columns: rows of (item, value) with values of at
-- most 64 characters, and calls to paste that are split where SQL allows it.
-- A deployment is named by its id, a host, or a slug that only one tenant
-- uses; a version by its id or its number as v12.

-- People look deployments up by slug alone; a rollback does not change it.
CREATE INDEX deployments_slug ON miosa.deployments (slug);

-- Those of other tenants do not exist: each way of naming one passes them by.
CREATE FUNCTION miosa.deployments_named(name text) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	host CONSTANT text := miosa.clean_host(name);
	found_id text;
BEGIN
	IF miosa.sees_deployment(name) THEN
		SELECT p.id INTO found_id FROM miosa.deployments p WHERE p.id = name;
	END IF;
	found_id := coalesce(found_id, (miosa.domain_of_host(host)).deployment_id, miosa.seen_deployment(miosa.managed_deployment(host)));
	IF found_id IS NOT NULL THEN
		RETURN ARRAY[found_id];
	END IF;
	RETURN ARRAY(SELECT p.id FROM miosa.deployments p WHERE p.slug = name AND miosa.sees_tenant(p.tenant_id) ORDER BY p.id LIMIT 6);
END $$;
COMMENT ON FUNCTION miosa.deployments_named(text) IS 'The deployment of this id or host, else those of this slug: none, one, or the first six';

-- Raises INVALID_ARGUMENT (also for a slug that two tenants use, with the
-- ids), DEPLOYMENT_NOT_FOUND.
CREATE FUNCTION miosa.find_deployment(name text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	ids text[];
BEGIN
	IF length(name) > 255 THEN
		PERFORM miosa.refuse_length('deployment name', length(name), 'characters', 255, 'Name it by id, host or slug.');
	ELSIF name IS NULL OR name = '' OR name ~ '[[:cntrl:]]' OR miosa.show(name) <> name THEN
		PERFORM miosa.refuse_value('deployment name', NULL, miosa.show(name),
			CASE name WHEN '' THEN 'The name is empty.' ELSE 'The name has control characters.' END,
			'Name it by id, host or slug.');
	END IF;
	ids := miosa.deployments_named(name);
	IF cardinality(ids) = 0 THEN
		PERFORM miosa.no_deployment(name);
	ELSIF cardinality(ids) > 1 THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('slug "%s" is not unique', name),
			format('Deployments of that slug: %s%s.', array_to_string(ids[1:5], ', '),
				CASE WHEN cardinality(ids) > 5 THEN ', ...' ELSE '' END),
			'Name it by one of these ids, or by a host.');
	END IF;
	RETURN ids[1];
END $$;
COMMENT ON FUNCTION miosa.find_deployment(text) IS 'Id of the deployment of this id, host or slug';

-- Raises INVALID_ARGUMENT, VERSION_NOT_FOUND.
CREATE FUNCTION miosa.find_version(deployment_id text, name text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	found_id text;
BEGIN
	IF name IS NULL THEN
		RETURN NULL;
	END IF;
	SELECT v.id INTO found_id FROM miosa.versions v WHERE v.deployment_id = deployment_id AND v.id = name;
	IF NOT FOUND AND name ~ '^[vV][0-9]{1,9}$' THEN
		SELECT v.id INTO found_id FROM miosa.versions v
			WHERE v.deployment_id = deployment_id AND v.version_number = substr(name, 2)::integer;
	END IF;
	IF found_id IS NULL THEN
		PERFORM miosa.check_id(name, 'version id');
		PERFORM miosa.no_version(deployment_id, name);
	END IF;
	RETURN found_id;
END $$;
COMMENT ON FUNCTION miosa.find_version(text, text) IS 'Id of the version of this id or number (v12); null for null';

-- The shorter of id and slug, for people and for calls to paste.
CREATE FUNCTION miosa.call_name(deployment_id text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
	RETURN (SELECT CASE WHEN length(p.slug) < length(p.id) AND miosa.seen_deployment(miosa.managed_deployment(p.slug)) IS NULL
			AND NOT EXISTS (SELECT FROM miosa.deployments o WHERE o.slug = p.slug AND o.id <> p.id AND miosa.sees_tenant(o.tenant_id))
			AND NOT EXISTS (SELECT FROM miosa.deployments o WHERE o.id = p.slug AND miosa.sees_tenant(o.tenant_id))
			AND (miosa.domain_of_host(p.slug)).fqdn IS NULL
		THEN p.slug ELSE p.id END
		FROM miosa.deployments p WHERE p.id = $1);
END $$;
COMMENT ON FUNCTION miosa.call_name(text) IS 'The shortest name by which the console functions find a deployment: its slug if no other deployment has that name, else its id';

-- A version as v12, for people.
CREATE FUNCTION miosa.version_name(deployment_id text, version_id text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
	SELECT coalesce((SELECT 'v' || v.version_number FROM miosa.versions v
		WHERE v.deployment_id = $1 AND v.id = $2), miosa.short($2, 20))
$$;
COMMENT ON FUNCTION miosa.version_name(text, text) IS 'A version as people write it, v12; its id when it is not there any more';

-- When versions were active, by the audit events.  Old events are not needed
-- to roll back; without any, the time of the promotion is all that is known.
CREATE FUNCTION miosa.served_by_events(deployment_id text, before_seq bigint, OUT version_id text, OUT began timestamptz, OUT ended timestamptz)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT e.target_version_id, e.created_at, lead(e.created_at) OVER (ORDER BY e.seq)
	FROM (SELECT a.target_version_id, a.created_at, a.seq FROM miosa.audit_events a
		WHERE a.deployment_id = $1 AND a.outcome IN ('changed', 'pending') AND ($2 IS NULL OR a.seq < $2)
		ORDER BY a.seq DESC LIMIT 500) e
	UNION ALL
	-- What the oldest event found active.
	SELECT e.previous_version_id, v.promoted_at, e.created_at
	FROM (SELECT a.* FROM miosa.audit_events a WHERE a.deployment_id = $1 ORDER BY a.seq LIMIT 1) e
	JOIN miosa.versions v ON v.deployment_id = $1 AND v.id = e.previous_version_id
$$;
COMMENT ON FUNCTION miosa.served_by_events(text, bigint) IS 'When versions were active by the newest 500 events: from and until (null: still); before_seq: as it was before that operation, null for now';

-- Look for one event by index, which is cheaper than a count.
CREATE FUNCTION miosa.has_events(deployment_id text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT (SELECT a.seq FROM miosa.audit_events a WHERE a.deployment_id = $1 ORDER BY a.seq LIMIT 1) IS NOT NULL
$$;
COMMENT ON FUNCTION miosa.has_events(text) IS 'Whether a deployment has audit events';

-- The newest time of each version, from its events, else from its promotion.
CREATE FUNCTION miosa.served(deployment_id text, before_seq bigint, OUT version_id text, OUT began timestamptz, OUT ended timestamptz)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT DISTINCT ON (s.version_id) s.version_id, s.began, s.ended
	FROM (SELECT e.version_id, e.began, e.ended FROM miosa.served_by_events($1, $2) e
		UNION ALL
		SELECT v.id, v.promoted_at, NULL FROM miosa.versions v
			WHERE v.deployment_id = $1 AND v.promoted_at IS NOT NULL AND NOT miosa.has_events($1)) s
	WHERE s.version_id IS NOT NULL
	ORDER BY s.version_id, s.ended DESC NULLS FIRST, s.began DESC
$$;
COMMENT ON FUNCTION miosa.served(text, bigint) IS 'When each version was last active: from and until (null: still, or not known); before_seq: as it was before that operation, null for now';

-- Roll back; hints name the deployment as the caller did.
CREATE FUNCTION miosa.call_rollback(deployment_id text, version_id text, idempotency_key text, reason text,
	expected_active text, attribution jsonb, cutover text, accept_unverified boolean,
	hold boolean, hold_for interval, mark_bad boolean, served_at timestamptz, name text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_call_rollback';
COMMENT ON FUNCTION miosa.call_rollback(text, text, text, text, text, jsonb, text, boolean, boolean, interval, boolean, timestamptz, text) IS 'Calls miosa_rollback; hints name the deployment by this name';

-- Promote; hints name the deployment as the caller did.
CREATE FUNCTION miosa.call_promote(deployment_id text, version_id text, idempotency_key text, reason text,
	expected_active text, attribution jsonb, cutover text, accept_unverified boolean,
	automatic boolean, accept_bad boolean, break_glass boolean, name text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_call_promote';
COMMENT ON FUNCTION miosa.call_promote(text, text, text, text, text, jsonb, text, boolean, boolean, boolean, boolean, text) IS 'Calls miosa_promote; hints name the deployment by this name';

-- The extension's own schema may be one where others can make functions too,
-- and a call that is resolved when it runs could find an overload of theirs,
-- which would run with our owner's rights.  The call in this body is resolved
-- once, when the extension is made.

-- Plan a rollback to the default target.
CREATE FUNCTION miosa.call_plan(deployment_id text) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN @extschema@.miosa_plan($1, NULL::text, NULL::timestamptz);
COMMENT ON FUNCTION miosa.call_plan(text) IS 'Calls the extension''s miosa_plan, whichever other functions have its name';

-- Rolling back and promoting.  People call functions in C, which call those
-- with _rows behind their names (src/api/entry_points.c).

-- Describe the response of a rollback or a promotion in rows of (item, value).
CREATE FUNCTION miosa.operation_lines(id text, response jsonb, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	name text := miosa.call_name(id);
	operation jsonb;
	seq bigint;
	data jsonb;
	skipped jsonb;
	edges record;
	dispatcher text;
	line text;
BEGIN
	operation := response -> 'operation';
	seq := split_part(operation ->> 'id', '#', 2);
	data := response -> 'data';

	item := 'result';
	value := format('%s (#%s)', operation ->> 'outcome', seq)
		|| CASE operation ->> 'outcome'
			WHEN 'unchanged' THEN ': it was active; its route is sent again'
			WHEN 'pending' THEN ': waits for healthy instances'
			ELSE '' END
		|| coalesce(', REPLAYED: superseded by #' || split_part(operation ->> 'superseded_by', '#', 2), '');
	RETURN NEXT;

	IF operation ->> 'previous_version_id' <> operation ->> 'target_version_id' THEN
		item := 'from';
		value := miosa.version_line(id, operation ->> 'previous_version_id', seq);
		RETURN NEXT;
	END IF;
	item := 'to';
	value := miosa.version_line(id, operation ->> 'target_version_id', seq);
	RETURN NEXT;

	item := 'skipped';
	FOR skipped IN SELECT s.value FROM jsonb_array_elements(operation -> 'skipped') s LOOP
		value := miosa.clip(format('v%s: %s', skipped ->> 'version_number', skipped ->> 'why'), 64);
		RETURN NEXT;
	END LOOP;

	IF data ->> 'serving_version_id' IS NOT NULL THEN
		item := 'serving';
		value := miosa.version_name(id, data ->> 'serving_version_id') || ' until enough instances are healthy';
		RETURN NEXT;
	END IF;

	IF operation ? 'hold' THEN
		item := 'hold';
		value := miosa.hold_words(operation -> 'hold');
		RETURN NEXT;
	END IF;

	SELECT * INTO edges FROM miosa.count_edges(id);
	item := 'edges';
	dispatcher := miosa.dispatcher_words();
	value := CASE WHEN edges.counted = 0 THEN 'none'
			WHEN dispatcher = 'running' THEN format('%s will be updated', edges.counted)
			ELSE format('%s to be updated', edges.counted) END
		|| CASE WHEN edges.failing > 0 THEN format(', %s of them failing', edges.failing) ELSE '' END
		|| CASE WHEN edges.excluded > 0 THEN format(', %s disabled', edges.excluded) ELSE '' END;
	RETURN NEXT;
	IF dispatcher <> 'running' AND edges.counted > 0 THEN
		item := 'NOT SENT';
		value := miosa.clip('dispatcher ' || dispatcher, 64);
		RETURN NEXT;
	END IF;

	item := 'next';
	FOR line IN SELECT p.line FROM miosa.paste('SELECT * FROM miosa.status', name) p (line) LOOP
		value := line;
		RETURN NEXT;
		item := '';
	END LOOP;
	IF operation ->> 'outcome' IN ('changed', 'pending') AND operation ->> 'previous_version_id' IS NOT NULL
		AND operation ->> 'superseded_by' IS NULL THEN
		item := 'undo';
		FOR line IN SELECT p.line FROM miosa.paste('SELECT * FROM miosa.undo', name, '#' || seq) p (line) LOOP
			value := line;
			RETURN NEXT;
			item := '';
		END LOOP;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.operation_lines(text, jsonb) IS 'Rows of miosa.rollback(), miosa.promote() or miosa.undo(), from the response';

-- One line about a version: number, id, and when it served.
CREATE FUNCTION miosa.version_line(deployment_id text, version_id text, before_seq bigint) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT t.name || '  ' || miosa.short($2, least(30, 62 - length(t.name) - length(t.past))) || t.past
	FROM (SELECT miosa.version_name($1, $2) AS name, coalesce(CASE
			WHEN s.ended IS NOT NULL AND s.ended < now() - '1 s'::interval THEN
				', served ' || miosa.span(s.ended - s.began) || ' until ' || miosa.span(now() - s.ended) || ' ago'
			WHEN s.began < now() - '1 s'::interval THEN ', served ' || miosa.span(coalesce(s.ended, now()) - s.began)
		END, '') AS past
		FROM (SELECT) one LEFT JOIN miosa.served($1, $3) s ON s.version_id = $2) t
$$;
COMMENT ON FUNCTION miosa.version_line(text, text, bigint) IS 'A version for people: number, id, how long it served and until when, before the operation of that number (null: now)';

-- Do the work of miosa.rollback().
CREATE FUNCTION miosa.rollback_rows(deployment text, version text DEFAULT NULL, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, expected_active text DEFAULT NULL, cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL, hold_for interval DEFAULT NULL,
	mark_bad boolean DEFAULT false, served_at timestamptz DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.find_deployment($1) f (id)
	CROSS JOIN LATERAL miosa.operation_lines(f.id, miosa.call_rollback(f.id, miosa.find_version(f.id, $2), $4, $3,
		miosa.find_version(f.id, $5), NULL, $6, $7, $8, $9, $10, $11, miosa.call_name(f.id))) l
$$;
COMMENT ON FUNCTION miosa.rollback_rows(text, text, text, text, text, text, boolean, boolean, interval, boolean, timestamptz) IS 'Rows of miosa.rollback()';

-- Enter rollback_rows() from C.
CREATE FUNCTION miosa.rollback(deployment text, version text DEFAULT NULL, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, expected_active text DEFAULT NULL, cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL, hold_for interval DEFAULT NULL,
	mark_bad boolean DEFAULT false, served_at timestamptz DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.rollback(text, text, text, text, text, text, boolean, boolean, interval, boolean, timestamptz) IS 'Rolls a deployment back, for people: rows of (item, value); without a version to the previous one';

-- Do the work of miosa.promote().
CREATE FUNCTION miosa.promote_rows(deployment text, version text, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, expected_active text DEFAULT NULL, cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false, accept_bad boolean DEFAULT false,
	break_glass boolean DEFAULT false, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.find_deployment($1) f (id)
	CROSS JOIN LATERAL miosa.operation_lines(f.id, miosa.call_promote(f.id, miosa.find_version(f.id, $2), $4, $3,
		miosa.find_version(f.id, $5), NULL, $6, $7, NULL, $8, $9, miosa.call_name(f.id))) l
$$;
COMMENT ON FUNCTION miosa.promote_rows(text, text, text, text, text, text, boolean, boolean, boolean) IS 'Rows of miosa.promote()';

-- Enter promote_rows() from C.
CREATE FUNCTION miosa.promote(deployment text, version text, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, expected_active text DEFAULT NULL, cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false, accept_bad boolean DEFAULT false,
	break_glass boolean DEFAULT false, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.promote(text, text, text, text, text, text, boolean, boolean, boolean) IS 'Makes a version active, for people: rows of (item, value)';

-- Undo; hints name the deployment as the caller did.
CREATE FUNCTION miosa.call_undo(deployment_id text, operation_id text, idempotency_key text, reason text, name text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_call_undo';
COMMENT ON FUNCTION miosa.call_undo(text, text, text, text, text) IS 'Calls miosa_undo; hints name the deployment by this name';

-- Do the work of miosa.undo().
CREATE FUNCTION miosa.undo_rows(deployment text, operation text DEFAULT NULL, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.find_deployment($1) f (id)
	CROSS JOIN LATERAL miosa.operation_lines(f.id, miosa.call_undo(f.id, $2, $4, $3, miosa.call_name(f.id))) l
$$;
COMMENT ON FUNCTION miosa.undo_rows(text, text, text, text) IS 'Rows of miosa.undo()';

-- Enter undo_rows() from C.
CREATE FUNCTION miosa.undo(deployment text, operation text DEFAULT NULL, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.undo(text, text, text, text) IS 'Undoes the newest operation of a deployment, for people: rows of (item, value)';

-- Renaming, and moving a host.

-- The calls in these bodies are resolved once, as that of call_plan() is.
CREATE FUNCTION miosa.call_rename(deployment_id text, slug text, idempotency_key text, reason text) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN @extschema@.miosa_rename_deployment($1, $2, $3, $4);
COMMENT ON FUNCTION miosa.call_rename(text, text, text, text) IS 'Calls the extension''s miosa_rename_deployment, whichever other functions have its name';

-- The same for a host.
CREATE FUNCTION miosa.call_move_host(host text, deployment_id text, idempotency_key text, reason text) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN @extschema@.miosa_move_host($1, $2, NULL::text, $3, $4);
COMMENT ON FUNCTION miosa.call_move_host(text, text, text, text) IS 'Calls the extension''s miosa_move_host, whichever other functions have its name';

-- Describe the response of either in rows of (item, value).
CREATE FUNCTION miosa.host_lines(id text, response jsonb, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	event miosa.audit_events;
	line text;
BEGIN
	SELECT * INTO event FROM miosa.audit_events a
		WHERE a.deployment_id = id AND a.seq = split_part(response #>> '{operation,id}', '#', 2)::bigint;
	item := 'result';
	value := CASE WHEN event.marks ->> 'from' = event.marks ->> 'to' THEN 'unchanged'
			WHEN event.action = 'deployment.rename' THEN 'renamed' ELSE 'moved' END || format(' (#%s)', event.seq);
	RETURN NEXT;
	FOR item, value IN SELECT l.key, miosa.clip(event.marks ->> l.key, 64) FROM unnest(ARRAY['host', 'from', 'to']) l (key)
		WHERE event.marks ? l.key LOOP
		RETURN NEXT;
	END LOOP;
	item := 'next';
	FOR line IN SELECT p.line FROM miosa.paste('SELECT * FROM miosa.status', miosa.call_name(id)) p (line) LOOP
		value := line;
		RETURN NEXT;
		item := '';
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.host_lines(text, jsonb) IS 'Rows of miosa.rename() or miosa.move_host(), from the response';

-- Do the work of miosa.rename().
CREATE FUNCTION miosa.rename_rows(deployment text, slug text, reason text DEFAULT NULL, idempotency_key text DEFAULT NULL,
	OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.find_deployment($1) f (id)
	CROSS JOIN LATERAL miosa.call_rename(f.id, $2, $4, $3) r (response)
	CROSS JOIN LATERAL miosa.host_lines(f.id, r.response) l
$$;
COMMENT ON FUNCTION miosa.rename_rows(text, text, text, text) IS 'Rows of miosa.rename()';

-- Enter rename_rows() from C.
CREATE FUNCTION miosa.rename(deployment text, slug text, reason text DEFAULT NULL, idempotency_key text DEFAULT NULL,
	OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.rename(text, text, text, text) IS 'Gives a deployment another slug, for people: rows of (item, value)';

-- Do the work of miosa.move_host().
CREATE FUNCTION miosa.move_host_rows(host text, deployment text, reason text DEFAULT NULL, idempotency_key text DEFAULT NULL,
	OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.find_deployment($2) f (id)
	CROSS JOIN LATERAL miosa.call_move_host($1, f.id, $4, $3) r (response)
	CROSS JOIN LATERAL miosa.host_lines(f.id, r.response) l
$$;
COMMENT ON FUNCTION miosa.move_host_rows(text, text, text, text) IS 'Rows of miosa.move_host()';

-- Enter move_host_rows() from C.
CREATE FUNCTION miosa.move_host(host text, deployment text, reason text DEFAULT NULL, idempotency_key text DEFAULT NULL,
	OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.move_host(text, text, text, text) IS 'Moves a host to a deployment from the one that has it, for people: rows of (item, value)';

-- Marking versions as bad.

-- Mark a version, or take its mark away, and say what follows.
CREATE FUNCTION miosa.bad_lines(mark boolean, deployment text, version text, reason text, scope text, idempotency_key text,
	OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	id CONSTANT text := miosa.find_deployment(deployment);
	name CONSTANT text := miosa.call_name(id);
	version_id CONSTANT text := miosa.find_version(id, version);
	short CONSTANT text := miosa.version_name(id, version_id);
	-- What it takes to mark it again.
	before CONSTANT text := CASE WHEN mark THEN reason ELSE miosa.bad_mark(id, version_id) ->> 'reason' END;
	operation jsonb;
	line text;
BEGIN
	operation := miosa.note_bad(mark, id, version_id, reason, scope, idempotency_key) -> 'operation';
	item := 'result';
	value := format('%s (#%s)%s', CASE WHEN mark THEN 'marked as bad' ELSE 'mark taken away' END,
		split_part(operation ->> 'id', '#', 2), CASE WHEN operation ->> 'replayed' = 'true' THEN ', REPLAYED' ELSE '' END);
	RETURN NEXT;
	item := 'version';
	value := miosa.version_line(id, version_id, NULL);
	RETURN NEXT;
	IF scope = 'artifact' THEN
		item := 'artifact';
		value := miosa.short(miosa.artifact_name(id, version_id), 40) || ' of all versions';
		RETURN NEXT;
	END IF;
	item := 'WARNING';
	FOR line IN SELECT w.line FROM jsonb_array_elements(operation -> 'warnings') o,
			LATERAL miosa.wrap(o.value ->> 'message', 64, 2) w (line) LOOP
		value := line;
		RETURN NEXT;
		item := '';
	END LOOP;
	item := 'rollback';
	value := coalesce('would go to ' || miosa.version_name(id, miosa.default_target(id)), 'has no target');
	RETURN NEXT;
	item := 'undo';
	FOR line IN SELECT p.line FROM miosa.paste('SELECT * FROM miosa.' || CASE WHEN mark THEN 'clear_bad' ELSE 'mark_bad' END,
			VARIADIC ARRAY[name, short] || CASE WHEN NOT mark OR scope = 'artifact' THEN ARRAY[before] END
				|| CASE WHEN scope = 'artifact' THEN ARRAY[scope] END) p (line) WHERE before IS NOT NULL LOOP
		value := line;
		RETURN NEXT;
		item := '';
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.bad_lines(boolean, text, text, text, text, text) IS 'Rows of miosa.mark_bad() or miosa.clear_bad()';

-- Do the work of miosa.mark_bad().
CREATE FUNCTION miosa.mark_bad_rows(deployment text, version text, reason text, scope text DEFAULT 'deployment',
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT * FROM miosa.bad_lines(true, $1, $2, $3, $4, $5)
$$;
COMMENT ON FUNCTION miosa.mark_bad_rows(text, text, text, text, text) IS 'Rows of miosa.mark_bad()';

-- Enter mark_bad_rows() from C.
CREATE FUNCTION miosa.mark_bad(deployment text, version text, reason text, scope text DEFAULT 'deployment',
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.mark_bad(text, text, text, text, text) IS 'Marks a version, or with scope artifact all versions with its artifact, as bad, for people: rows of (item, value)';

-- Do the work of miosa.clear_bad().
CREATE FUNCTION miosa.clear_bad_rows(deployment text, version text, reason text DEFAULT NULL, scope text DEFAULT 'deployment',
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT * FROM miosa.bad_lines(false, $1, $2, $3, $4, $5)
$$;
COMMENT ON FUNCTION miosa.clear_bad_rows(text, text, text, text, text) IS 'Rows of miosa.clear_bad()';

-- Enter clear_bad_rows() from C.
CREATE FUNCTION miosa.clear_bad(deployment text, version text, reason text DEFAULT NULL, scope text DEFAULT 'deployment',
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.clear_bad(text, text, text, text, text) IS 'Takes a mark of miosa.mark_bad() away, for people: rows of (item, value)';

-- Where one can go back to.  The planner takes each deployment for one of the
-- usual size; without bitmaps it reads the newest versions and events of a
-- large one by index, and not all of them.

-- List the newest 50 versions, and judge each with the plan of a rollback.
CREATE FUNCTION miosa.candidates_rows(deployment text, OUT version text, OUT last_served text, OUT served text,
	OUT artifact text, OUT expires text, OUT live text, OUT note text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_bitmapscan = off AS $$
#variable_conflict use_variable
DECLARE
	d miosa.deployments;
	plan jsonb;
	chosen text;
	refused boolean;
	listed text[];
	gone text[];
BEGIN
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = miosa.find_deployment(deployment);
	-- What a rollback would do is the plan's to say, also what storage has.
	plan := miosa.call_plan(d.id) -> 'data';
	chosen := plan ->> 'target_version_id';
	refused := jsonb_path_exists(plan, '$.checks[*] ? (@.result == "failed"
		&& (@.check == "artifact_present" || @.check == "migration_compatible" || @.check == "schema_fits"))');
	-- Not joined with all that served: the planner expects few of those.
	listed := ARRAY(SELECT o.id FROM miosa.versions o WHERE o.deployment_id = d.id ORDER BY o.version_number DESC LIMIT 50);
	gone := ARRAY(SELECT s.value ->> 'version_id' FROM jsonb_array_elements(plan -> 'skipped') s
		WHERE s.value ->> 'code' = 'ARTIFACT_GONE');
	RETURN QUERY
		-- Why a version is bad goes on in lines below it.
		SELECT CASE n.place WHEN 1 THEN c.version ELSE '' END, CASE n.place WHEN 1 THEN c.last_served ELSE '' END,
			CASE n.place WHEN 1 THEN c.served ELSE '' END, CASE n.place WHEN 1 THEN c.artifact ELSE '' END,
			CASE n.place WHEN 1 THEN c.expires ELSE '' END, CASE n.place WHEN 1 THEN c.live ELSE '' END, n.line
		FROM (SELECT v.version_number, 'v' || v.version_number AS version,
			CASE WHEN v.id = d.active_version_id THEN 'now'
				ELSE coalesce(miosa.rough_span(now() - coalesce(s.ended, s.began)) || ' ago', 'never') END AS last_served,
			miosa.rough_span(coalesce(s.ended, CASE WHEN v.id = d.active_version_id THEN now() END) - s.began) AS served,
			CASE WHEN r.id IS NULL THEN 'none'
				WHEN r.collected_at IS NOT NULL THEN 'collected'
				WHEN m.missing THEN 'missing'
				WHEN r.verified_at IS NOT NULL THEN 'seen ' || miosa.rough_span(now() - r.verified_at)
				ELSE 'unverified' END AS artifact,
			CASE WHEN k.release_id IS NULL THEN ''
				WHEN k.kept_as IS NOT NULL THEN 'never'
				WHEN k.due THEN CASE WHEN EXISTS (SELECT FROM miosa.stored_keeping o
					-- Looked up; without OFFSET all releases are hashed.
					WHERE o.storage_uri = k.storage_uri AND NOT o.due AND miosa.sees_tenant(o.tenant_id) OFFSET 0) THEN 'shared' ELSE 'now' END
				ELSE coalesce(miosa.rough_span(k.expires_at - now()), 'never') END AS expires,
			CASE WHEN v.kind = 'static' THEN '' ELSE miosa.clip((SELECT count(*) FROM miosa.live_instances i
				WHERE i.deployment_id = d.id AND i.version_id = v.id)::text, 6) END AS live,
			CASE WHEN v.id = d.active_version_id THEN 'active' || coalesce(', ' || m.bad, '')
				WHEN v.state <> 'ready' THEN v.state
				WHEN r.collected_at IS NOT NULL OR m.missing THEN 'gone'
				WHEN m.bad IS NOT NULL THEN m.bad
				WHEN v.id = chosen AND refused THEN 'default refused'
				ELSE concat_ws(' ', CASE WHEN v.id = chosen THEN 'default' END, CASE WHEN v.id = h.waiting_version_id THEN 'held' END,
					CASE WHEN m.marked THEN 'schema!' END) END AS note
		FROM (SELECT * FROM miosa.versions o WHERE o.deployment_id = d.id ORDER BY o.version_number DESC LIMIT 50) v
		LEFT JOIN miosa.releases r ON r.deployment_id = v.deployment_id AND r.deployment_version_id = v.id
		LEFT JOIN miosa.stored_keeping k ON k.deployment_id = r.deployment_id AND k.release_id = r.id
		LEFT JOIN miosa.holds h ON h.deployment_id = v.deployment_id AND miosa.is_open(h.until)
		LEFT JOIN (SELECT DISTINCT ON (e.version_id) e.version_id, e.began, e.ended FROM miosa.served_by_events(d.id, NULL) e
			WHERE e.version_id = ANY (listed)
			ORDER BY e.version_id, e.ended DESC NULLS FIRST, e.began DESC) o ON o.version_id = v.id
		CROSS JOIN LATERAL (SELECT coalesce(o.began, v.promoted_at) AS began, o.ended) s
		CROSS JOIN LATERAL (SELECT v.id = ANY (gone) OR v.id IS DISTINCT FROM chosen AND r.missing_at IS NOT NULL AS missing,
			'incompatible' IN (v.metadata ->> 'migration_compatibility', r.metadata ->> 'migration_compatibility')
				OR cardinality(miosa.schema_marks(d.id, v.id)) > 0
				OR d.schema_name IS NOT NULL AND (miosa.schema_finding(d.id, v.id)).result IN ('warning', 'failed') AS marked,
			'bad: ' || (miosa.bad_mark(d.id, v.id) ->> 'reason') AS bad) m) c
		CROSS JOIN LATERAL (SELECT w.line, w.place FROM miosa.wrap(c.note, 15, 4) WITH ORDINALITY w (line, place)
			UNION ALL SELECT '', 1 WHERE c.note = '') n
		ORDER BY c.version_number DESC, n.place;
END $$;
COMMENT ON FUNCTION miosa.candidates_rows(text) IS 'Rows of miosa.candidates()';

-- Enter candidates_rows() from C.
CREATE FUNCTION miosa.candidates(deployment text, OUT version text, OUT last_served text, OUT served text,
	OUT artifact text, OUT expires text, OUT live text, OUT note text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.candidates(text) IS 'The newest 50 versions of a deployment, for people: when each served, its artifact and how long that is kept, its live instances, and whether it can be made active';

-- What happened.

-- Describe what an operation did besides.
CREATE FUNCTION miosa.mark_lines(marks jsonb) RETURNS SETOF text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
	IF marks ? 'undo_of' THEN
		RETURN NEXT miosa.clip('undoes #' || split_part(marks ->> 'undo_of', '#', 2), 50);
	END IF;
	IF marks ? 'break_glass' THEN
		RETURN NEXT miosa.clip('broke the glass of freeze ' || (marks ->> 'break_glass'), 50);
	END IF;
	IF marks ? 'hold' THEN
		RETURN NEXT miosa.clip(miosa.hold_words(marks -> 'hold'), 50);
	END IF;
END $$;
COMMENT ON FUNCTION miosa.mark_lines(jsonb) IS 'Lines of miosa.history() about the marks of an audit event';

-- List the newest events, each with its marks and its reason on lines below it.
CREATE FUNCTION miosa.history_rows(deployment text, "limit" integer DEFAULT 10, OUT op text, OUT at text, OUT what text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	found_id text := miosa.find_deployment(deployment);
	event miosa.audit_events;
BEGIN
	PERFORM miosa.check_limit(history_rows."limit", 1000);
	FOR event IN
		SELECT * FROM miosa.audit_events a WHERE a.deployment_id = found_id
		ORDER BY a.seq DESC LIMIT history_rows."limit"
	LOOP
		op := '#' || event.seq;
		at := to_char(event.created_at, 'MM-DD HH24:MI:SS');
		what := miosa.clip(format('%s %s by %s',
			replace(coalesce((SELECT a.short FROM miosa.actions() a WHERE a.action = event.action), event.action), '_refused', ' refused'),
			miosa.short(CASE event.outcome
				WHEN 'refused' THEN event.marks ->> 'refused'
				WHEN 'unchanged' THEN CASE WHEN event.marks ? 'version' THEN miosa.version_name(found_id, event.marks ->> 'version')
					WHEN event.target_rule <> 'none' THEN miosa.version_name(found_id, event.target_version_id) || ' again'
					ELSE coalesce(event.marks ->> 'host', '') END
				WHEN 'cutover' THEN miosa.version_name(found_id, event.target_version_id) || ' cutover'
				ELSE coalesce(miosa.version_name(found_id, event.previous_version_id), 'none') || ' -> '
					|| coalesce(miosa.version_name(found_id, event.target_version_id), 'none') END,
				CASE WHEN event.target_rule = 'none' THEN 28 ELSE 16 END),
			miosa.short(event.actor_id, 24)), 52);
		RETURN NEXT;
		op := '';
		at := '';
		FOR what IN SELECT '  ' || m.line FROM miosa.mark_lines(event.marks) m (line) LOOP
			RETURN NEXT;
		END LOOP;
		FOR what IN SELECT '  ' || w.line FROM miosa.wrap(event.reason, 50, 10) w (line) LOOP
			RETURN NEXT;
		END LOOP;
		IF event.marks ? 'fleet' THEN
			what := '  fleet ' || miosa.clip(event.marks ->> 'fleet', 40);
			RETURN NEXT;
		END IF;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.history_rows(text, integer) IS 'Rows of miosa.history()';

-- Enter history_rows() from C.
CREATE FUNCTION miosa.history(deployment text, "limit" integer DEFAULT 10, OUT op text, OUT at text, OUT what text)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.history(text, integer) IS 'The newest operations of a deployment, for people, in the session''s time zone, with their reasons below; miosa_audit_log() has them in full';
-- Holds: a deployment that automatic promotions must leave as it is.
--
-- A rollback opens one, a person's promotion lifts it (src/operation/hold.c).  One
-- row a deployment at most; that of a hold that has ended is no hold, and is
-- overwritten or removed later.  What was is in the marks of the audit events.

CREATE TABLE miosa.holds (
	deployment_id text COLLATE "C" PRIMARY KEY,
	tenant_id text COLLATE "C" NOT NULL,
	since timestamptz NOT NULL,
	until timestamptz,
	seq bigint NOT NULL,
	actor_type text NOT NULL,
	actor_id text NOT NULL,
	reason text,
	held bigint NOT NULL DEFAULT 0,
	waiting_version_id text COLLATE "C",
	waiting_since timestamptz
);
COMMENT ON TABLE miosa.holds IS 'Deployments that refuse automatic promotions; one row each at most, which is deleted when the hold is lifted';
COMMENT ON COLUMN miosa.holds.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.holds.tenant_id IS 'Owner';
COMMENT ON COLUMN miosa.holds.since IS 'When it was opened';
COMMENT ON COLUMN miosa.holds.until IS 'When it ends by itself, and is no hold any more; null: when it is lifted';
COMMENT ON COLUMN miosa.holds.seq IS 'Number of the operation that opened it';
COMMENT ON COLUMN miosa.holds.actor_type IS 'Type of who opened it, as in miosa.audit_events';
COMMENT ON COLUMN miosa.holds.actor_id IS 'Id of who opened it';
COMMENT ON COLUMN miosa.holds.reason IS 'Why';
COMMENT ON COLUMN miosa.holds.held IS 'Promotions that it has refused, as far as a dispatcher has counted them';
COMMENT ON COLUMN miosa.holds.waiting_version_id IS 'Newest version that these promotions named';
COMMENT ON COLUMN miosa.holds.waiting_since IS 'When the first promotion of that version was refused';

-- Compare the end of a hold with the clock.
CREATE FUNCTION miosa.is_open(until timestamptz) RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN until IS NULL OR until > clock_timestamp();
COMMENT ON FUNCTION miosa.is_open(timestamptz) IS 'Whether a hold that ends then is open; null: it does not end by itself';

-- Look a version's number up.
CREATE FUNCTION miosa.version_number(deployment_id text, version_id text) RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT v.version_number FROM miosa.versions v WHERE v.deployment_id = $1 AND v.id = $2
$$;
COMMENT ON FUNCTION miosa.version_number(text, text) IS 'Number of a version; null when there is none';

-- Count refused promotions, and keep the newest version.  The deployment is locked,
-- as by everything that writes its hold.
CREATE FUNCTION miosa.remember_held(deployment_id text, version_id text, count bigint, at timestamptz, wait boolean) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
BEGIN
	IF wait THEN
		PERFORM FROM miosa.deployments p WHERE p.id = deployment_id FOR NO KEY UPDATE;
	ELSE
		PERFORM FROM miosa.deployments p WHERE p.id = deployment_id FOR NO KEY UPDATE SKIP LOCKED;
		IF NOT FOUND THEN
			RETURN NOT EXISTS (SELECT FROM miosa.deployments p WHERE p.id = deployment_id);
		END IF;
	END IF;
	UPDATE miosa.holds h SET held = h.held + count,
			waiting_version_id = CASE WHEN n.newer THEN version_id ELSE h.waiting_version_id END,
			waiting_since = CASE WHEN n.newer THEN at ELSE h.waiting_since END
		FROM (SELECT coalesce(miosa.version_number(deployment_id, version_id)
				> coalesce(miosa.version_number(deployment_id, o.waiting_version_id), 0), false) AS newer
			FROM miosa.holds o WHERE o.deployment_id = deployment_id) n
		WHERE h.deployment_id = deployment_id AND h.since <= at;
	RETURN true;
END $$;
COMMENT ON FUNCTION miosa.remember_held(text, text, bigint, timestamptz, boolean) IS 'Has a hold count promotions of a version that were refused at a time; false, without wait, while the deployment is locked';

-- What an operation did to the hold.
CREATE FUNCTION miosa.hold_words(hold jsonb) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
	until CONSTANT text := CASE WHEN hold ->> 'until' IS NULL THEN 'until lifted'
		ELSE to_char((hold ->> 'until')::timestamptz, '"until" MM-DD HH24:MI') END;
BEGIN
	RETURN CASE WHEN hold ? 'opened' THEN 'held against automatic promotions ' || until
		WHEN hold ? 'kept' THEN 'still held, ' || until
		ELSE 'hold lifted' || CASE hold -> 'was' ->> 'held' WHEN '0' THEN '' WHEN '1' THEN '; 1 promotion had been refused'
			ELSE format('; %s promotions had been refused', hold -> 'was' ->> 'held') END END;
END $$;
COMMENT ON FUNCTION miosa.hold_words(jsonb) IS 'Describes the member hold of an operation, or of an event''s marks, in one line';

-- Lines of miosa.status() about the hold.
CREATE FUNCTION miosa.held_lines(deployment_id text, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	hold miosa.holds;
BEGIN
	SELECT * INTO hold FROM miosa.holds h WHERE h.deployment_id = deployment_id AND miosa.is_open(h.until);
	IF NOT FOUND THEN
		RETURN;
	END IF;
	item := 'held';
	value := miosa.clip(format('for %s by %s, %s', miosa.span(clock_timestamp() - hold.since), miosa.short(hold.actor_id, 24),
		coalesce('ends in ' || miosa.span(hold.until - clock_timestamp()), 'until lifted')), 64);
	RETURN NEXT;
	item := '';
	IF hold.reason IS NOT NULL THEN
		value := '  ' || miosa.clip(hold.reason, 62);
		RETURN NEXT;
	END IF;
	IF hold.held > 0 THEN
		value := miosa.clip(format('  %s promotion%s refused', hold.held, CASE WHEN hold.held = 1 THEN '' ELSE 's' END)
			|| coalesce(format(', %s waits', miosa.version_name(deployment_id, hold.waiting_version_id)), ''), 64);
		RETURN NEXT;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.held_lines(text) IS 'Lines of miosa.status() about the hold';

-- For people.
CREATE FUNCTION miosa.open_hold_rows(OUT deployment text, OUT age text, OUT ends text, OUT held bigint, OUT waiting text, OUT why text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN QUERY
	SELECT miosa.short(h.deployment_id, 16), miosa.rough_span(clock_timestamp() - h.since),
		coalesce(miosa.rough_span(h.until - clock_timestamp()), 'never'), h.held,
		coalesce(miosa.version_name(h.deployment_id, h.waiting_version_id), ''),
		miosa.clip(h.actor_id || coalesce(': ' || h.reason, ''), 24)
	FROM miosa.holds h
	WHERE miosa.is_open(h.until) AND miosa.sees_tenant(h.tenant_id)
	ORDER BY h.since, h.deployment_id;
END $$;
COMMENT ON FUNCTION miosa.open_hold_rows() IS 'Rows of miosa.open_holds';

CREATE VIEW miosa.open_holds AS SELECT * FROM miosa.open_hold_rows();
COMMENT ON VIEW miosa.open_holds IS 'Open holds, for people, the oldest first';
COMMENT ON COLUMN miosa.open_holds.deployment IS 'Deployment';
COMMENT ON COLUMN miosa.open_holds.age IS 'For how long it has been held';
COMMENT ON COLUMN miosa.open_holds.ends IS 'How soon the hold ends by itself';
COMMENT ON COLUMN miosa.open_holds.held IS 'Promotions that were refused';
COMMENT ON COLUMN miosa.open_holds.waiting IS 'Newest version that these promotions named';
COMMENT ON COLUMN miosa.open_holds.why IS 'Who opened it, and why';

-- Hold a deployment, for the console.
CREATE FUNCTION miosa.call_hold(deployment_id text, reason text, until timestamptz, idempotency_key text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_call_hold';
COMMENT ON FUNCTION miosa.call_hold(text, text, timestamptz, text) IS 'Calls miosa_hold';

-- Lift a hold; hints name the deployment as the caller did.
CREATE FUNCTION miosa.call_release(deployment_id text, promote text, reason text, idempotency_key text, name text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_call_release';
COMMENT ON FUNCTION miosa.call_release(text, text, text, text, text) IS 'Calls miosa_release; hints name the deployment by this name';

-- Describe the response of miosa_hold() or miosa_release().
CREATE FUNCTION miosa.hold_lines(id text, response jsonb, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	hold CONSTANT jsonb := response -> 'operation' -> 'hold';
BEGIN
	item := 'result';
	value := format('%s (#%s)', CASE WHEN hold ? 'lifted' THEN 'released' ELSE 'held' END,
		split_part(response -> 'operation' ->> 'id', '#', 2));
	RETURN NEXT;
	item := 'hold';
	value := miosa.hold_words(hold);
	RETURN NEXT;
	IF hold -> 'was' ->> 'waiting_version_id' IS NOT NULL THEN
		item := 'waited';
		value := miosa.version_line(id, hold -> 'was' ->> 'waiting_version_id', NULL);
		RETURN NEXT;
	END IF;
	item := 'next';
	FOR value IN SELECT p.line FROM miosa.paste(CASE WHEN hold ? 'lifted' THEN 'SELECT * FROM miosa.status' ELSE 'SELECT * FROM miosa.release' END,
			miosa.call_name(id)) p (line) LOOP
		RETURN NEXT;
		item := '';
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.hold_lines(text, jsonb) IS 'Rows of miosa.hold() or miosa.release(), from the response';

-- Do the work of miosa.hold().
CREATE FUNCTION miosa.hold_rows(deployment text, reason text DEFAULT NULL, until timestamptz DEFAULT NULL,
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.find_deployment($1) f (id) CROSS JOIN LATERAL miosa.hold_lines(f.id, miosa.call_hold(f.id, $2, $3, $4)) l
$$;
COMMENT ON FUNCTION miosa.hold_rows(text, text, timestamptz, text) IS 'Rows of miosa.hold()';

-- Enter hold_rows() from C.
CREATE FUNCTION miosa.hold(deployment text, reason text DEFAULT NULL, until timestamptz DEFAULT NULL,
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.hold(text, text, timestamptz, text) IS 'Holds a deployment against automatic promotions, for people: rows of (item, value)';

-- Do the work of miosa.release().
CREATE FUNCTION miosa.release_rows(deployment text, promote text DEFAULT NULL, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	id CONSTANT text := miosa.find_deployment(deployment);
	response CONSTANT jsonb := miosa.call_release(id, promote, reason, idempotency_key, miosa.call_name(id));
BEGIN
	IF promote IS NULL THEN
		RETURN QUERY SELECT l.* FROM miosa.hold_lines(id, response) l;
	ELSE
		RETURN QUERY SELECT l.* FROM miosa.operation_lines(id, response) l;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.release_rows(text, text, text, text) IS 'Rows of miosa.release()';

-- Enter release_rows() from C.
CREATE FUNCTION miosa.release(deployment text, promote text DEFAULT NULL, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.release(text, text, text, text) IS 'Lifts the hold of a deployment, for people: rows of (item, value); promote => ''newest'' promotes the version that waits';
-- Freezes: times in which deployments are not promoted (src/operation/freeze.c).

CREATE TABLE miosa.freezes (
	name text COLLATE "C" PRIMARY KEY,
	tenant_id text COLLATE "C" REFERENCES miosa.tenants,
	begins timestamptz NOT NULL,
	ends timestamptz NOT NULL,
	selector jsonb NOT NULL CHECK (jsonb_typeof(selector) = 'object'),
	reason text,
	actor_type text NOT NULL,
	actor_id text NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT "ends must be after begins" CHECK (ends > begins),
	CONSTRAINT "times must be from 1970 to 2199" CHECK (least(begins, ends, created_at) >= '1970-01-01 00:00:00+00'
		AND greatest(begins, ends, created_at) < '2200-01-01 00:00:00+00')
);
COMMENT ON TABLE miosa.freezes IS 'Times in which deployments are not promoted';
COMMENT ON COLUMN miosa.freezes.name IS 'Name';
COMMENT ON COLUMN miosa.freezes.tenant_id IS 'Tenant whose deployments are frozen; null for those of all';
COMMENT ON COLUMN miosa.freezes.begins IS 'When it begins';
COMMENT ON COLUMN miosa.freezes.ends IS 'When it ends';
COMMENT ON COLUMN miosa.freezes.selector IS 'Which of their deployments, as miosa_rollback_many() selects them';
COMMENT ON COLUMN miosa.freezes.reason IS 'Why';
COMMENT ON COLUMN miosa.freezes.actor_type IS 'Type of who put it, as in miosa.audit_events';
COMMENT ON COLUMN miosa.freezes.actor_id IS 'Id of who put it';
COMMENT ON COLUMN miosa.freezes.created_at IS 'When it was put first';

-- Check the arguments, since their errors name more than a constraint can, and
-- upsert the row.
CREATE FUNCTION @extschema@.miosa_put_freeze(name text, ends timestamptz, begins timestamptz DEFAULT now(),
	selector jsonb DEFAULT '{"all": true}', reason text DEFAULT NULL, tenant_id text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	actor record;
	result jsonb;
BEGIN
	IF coalesce(name, '') !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' THEN
		PERFORM miosa.refuse_value('argument', 'name', name,
			'A name has 1 to 63 characters of A-Z a-z 0-9 . _ - and begins with a letter or digit.', 'For example ''year-end''.');
	ELSIF ends IS NULL OR ends <= clock_timestamp() OR ends >= '2200-01-01 00:00:00+00' THEN
		PERFORM miosa.refuse_value('argument', 'ends', ends::text, 'A freeze ends in the future, before the year 2200.',
			'Pass, for example, ends => now() + ''3 days''.');
	ELSIF begins IS NULL OR begins >= ends OR begins < '1970-01-01 00:00:00+00' THEN
		PERFORM miosa.refuse_value('argument', 'begins', begins::text, 'A freeze begins before it ends, and not before the year 1970.',
			'Leave it out for a freeze that begins now.');
	ELSIF tenant_id IS NOT NULL AND NOT EXISTS (SELECT FROM miosa.tenants t WHERE t.id = tenant_id) THEN
		PERFORM miosa.refuse_value('argument', 'tenant_id', tenant_id, 'There is no such tenant.', 'See the tenants with SELECT id, slug FROM miosa.tenants ORDER BY id;');
	END IF;
	PERFORM miosa.check_visible(reason, 'argument', 'reason');
	PERFORM miosa.check_deployment_selector(selector);
	SELECT * INTO actor FROM miosa.current_actor();
	INSERT INTO miosa.freezes AS f (name, tenant_id, begins, ends, selector, reason, actor_type, actor_id)
		VALUES (name, tenant_id, begins, ends, selector, nullif(btrim(reason), ''), actor.type, actor.id)
		ON CONFLICT ON CONSTRAINT freezes_pkey DO UPDATE SET tenant_id = excluded.tenant_id, begins = excluded.begins, ends = excluded.ends,
			selector = excluded.selector, reason = excluded.reason, actor_type = excluded.actor_type, actor_id = excluded.actor_id
		RETURNING to_jsonb(f) || jsonb_build_object('begins', miosa.iso(f.begins), 'ends', miosa.iso(f.ends), 'created_at', miosa.iso(f.created_at)) INTO result;
	RETURN jsonb_build_object('data', result);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_freeze(text, timestamptz, timestamptz, jsonb, text, text) IS 'Adds or changes a freeze: until it ends, deployments that the selector matches are not promoted';

-- Delete a freeze.
CREATE FUNCTION @extschema@.miosa_remove_freeze(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	DELETE FROM miosa.freezes f WHERE f.name = name;
	IF NOT FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('freeze "%s" does not exist', coalesce(miosa.show(name), '')),
			'There is no freeze of that name.', 'See the freezes with SELECT name, begins, ends FROM miosa.freezes ORDER BY name;');
	END IF;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_freeze(text) IS 'Removes a freeze, which ends it';

-- A freeze of all tenants that names deployments or tenants tells of them, so it
-- exists for those who act for all.
CREATE FUNCTION miosa.sees_freeze(tenant_id text, selector jsonb) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN tenant_id IS NOT NULL THEN miosa.sees_tenant(tenant_id)
	WHEN selector ?| ARRAY['ids', 'tenant'] THEN miosa.sees_all_tenants() ELSE true END;
COMMENT ON FUNCTION miosa.sees_freeze(text, jsonb) IS 'Whether a freeze exists for the caller, by these columns of its row';

-- Lines of miosa.status() about the freeze that ends last.
CREATE FUNCTION miosa.frozen_lines(d miosa.deployments, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	last miosa.freezes;
BEGIN
	SELECT * INTO last FROM miosa.freezes f
		WHERE (f.tenant_id IS NULL OR f.tenant_id = d.tenant_id) AND clock_timestamp() BETWEEN f.begins AND f.ends
			AND miosa.selects_deployment(f.selector, d.id)
		ORDER BY f.ends DESC, f.name LIMIT 1;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	item := 'frozen';
	value := miosa.clip(format('by %s, ends in %s', miosa.short(last.name, 24), miosa.span(last.ends - clock_timestamp()))
		|| coalesce(': ' || last.reason, ''), 64);
	RETURN NEXT;
END $$;
COMMENT ON FUNCTION miosa.frozen_lines(miosa.deployments) IS 'Line of miosa.status() about a freeze';

-- For people.
CREATE FUNCTION miosa.open_freeze_rows(OUT name text, OUT begins text, OUT ends text, OUT tenant text, OUT why text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT miosa.short(f.name, 16), CASE WHEN f.begins <= clock_timestamp() THEN 'now' ELSE miosa.rough_span(f.begins - clock_timestamp()) END,
		miosa.rough_span(f.ends - clock_timestamp()), miosa.short(coalesce(f.tenant_id, 'all'), 10),
		miosa.clip(f.actor_id || coalesce(': ' || f.reason, ''), 24)
	FROM miosa.freezes f
	WHERE f.ends > clock_timestamp() AND miosa.sees_freeze(f.tenant_id, f.selector)
	ORDER BY f.begins, f.name;
END $$;
COMMENT ON FUNCTION miosa.open_freeze_rows() IS 'Rows of miosa.open_freezes';

CREATE VIEW miosa.open_freezes AS SELECT * FROM miosa.open_freeze_rows();
COMMENT ON VIEW miosa.open_freezes IS 'Freezes that have not ended, for people';
COMMENT ON COLUMN miosa.open_freezes.name IS 'Name';
COMMENT ON COLUMN miosa.open_freezes.begins IS 'How soon it begins, or now';
COMMENT ON COLUMN miosa.open_freezes.ends IS 'How soon it ends';
COMMENT ON COLUMN miosa.open_freezes.tenant IS 'Tenant whose deployments are frozen, or all';
COMMENT ON COLUMN miosa.open_freezes.why IS 'Who put it, and why';
-- Status and progress of deployments, for people.

-- Describe the dispatcher in one line.
CREATE FUNCTION miosa.dispatcher_words() RETURNS text
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
	SELECT CASE
		WHEN pg_is_in_recovery() THEN 'none: this server is a standby'
		WHEN d.state = 'not preloaded' THEN 'none: shared_preload_libraries lacks miosa_rollback'
		WHEN r.reason IS NOT NULL THEN 'paused: ' || r.reason
		WHEN d.stalled THEN 'STUCK' || coalesce(', no pass for ' || miosa.span(clock_timestamp() - d.last_pass_at), '')
			|| coalesce(': ' || d.error, '')
		WHEN d.state = 'running' THEN 'running'
		ELSE d.state || coalesce(': ' || d.error, '')
	END
	FROM miosa.dispatcher() d, (SELECT miosa.pause_reason() AS reason) r
$$;
COMMENT ON FUNCTION miosa.dispatcher_words() IS 'State of the dispatcher, for people: running, or why it does not deliver';

-- The states in which an instance may become healthy.
CREATE FUNCTION miosa.is_starting(state text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN state IN ('pending', 'provisioning', 'starting');
COMMENT ON FUNCTION miosa.is_starting(text) IS 'Whether an instance in this state is about to start';

-- Count the instances of a version.
CREATE FUNCTION miosa.count_instances(deployment_id text, version_id text, OUT healthy integer, OUT starting integer)
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
	SELECT (SELECT count(*)::integer FROM miosa.live_instances i WHERE i.deployment_id = $1 AND i.version_id = $2),
		(SELECT count(*)::integer FROM miosa.runtime_instances i WHERE i.deployment_id = $1 AND i.version_id = $2
			AND miosa.is_starting(i.state))
$$;
COMMENT ON FUNCTION miosa.count_instances(text, text) IS 'Numbers of instances of a version that are healthy, and that are starting';

-- The error of a scheduler's request that no success has followed.  The body is
-- quoted for the reason that read.sql gives.
CREATE FUNCTION miosa.lasting_error(asked miosa.capacity) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN asked.last_error_at > coalesce(asked.asked_at, '-infinity') AND asked.last_error_at >= asked.since
		THEN asked.last_error END
$$;
COMMENT ON FUNCTION miosa.lasting_error(miosa.capacity) IS 'Why schedulers do not accept the present request; null when they have accepted it since, or were not asked yet';

-- Describe what schedulers were asked for.
CREATE FUNCTION miosa.scheduler_lines(deployment_id text, version_id text, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	asked miosa.capacity;
BEGIN
	SELECT * INTO asked FROM miosa.capacity c
		WHERE c.deployment_id = deployment_id AND c.version_id = version_id AND c.state = 'wanted';
	IF NOT FOUND THEN
		RETURN;
	END IF;
	item := 'scheduler';
	value := CASE WHEN asked.asked_at IS NOT NULL THEN
			format('accepted %s ago', miosa.span(clock_timestamp() - asked.asked_at))
		WHEN NOT miosa.has_scheduler(deployment_id, false) THEN 'no scheduler is enabled for it'
		ELSE format('requested for %s, not accepted yet', miosa.span(clock_timestamp() - asked.since)) END;
	RETURN NEXT;
	IF miosa.lasting_error(asked) IS NOT NULL THEN
		item := '';
		FOR value IN SELECT '  ' || w.line FROM miosa.wrap(miosa.lasting_error(asked), 62, 3) w (line) LOOP
			RETURN NEXT;
		END LOOP;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.scheduler_lines(text, text) IS 'Lines of miosa.status() about requests to schedulers';

-- Compare the time of waiting with cutover_deadline.
CREATE FUNCTION miosa.is_overdue(waiting_since timestamptz) RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN coalesce(miosa.cutover_due(waiting_since) <= clock_timestamp(), false);
COMMENT ON FUNCTION miosa.is_overdue(timestamptz) IS 'Whether a deployment waits for instances longer than miosa_rollback.cutover_deadline';

-- Count the edges of a deployment, as convergence_rows() shows them.
CREATE FUNCTION miosa.count_edges(deployment_id text, OUT counted bigint, OUT done bigint, OUT expired bigint,
	OUT excluded bigint, OUT failing bigint)
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	SELECT count(*) FILTER (WHERE c.state <> 'excluded'), count(*) FILTER (WHERE c.done AND c.state <> 'excluded'),
		count(*) FILTER (WHERE c.state = 'expired'), count(*) FILTER (WHERE c.state = 'excluded'),
		count(*) FILTER (WHERE c.state <> 'excluded' AND miosa.endpoint_fails(c.health))
	FROM miosa.convergence_rows($1) c WHERE c.role = 'edge'
$$;
COMMENT ON FUNCTION miosa.count_edges(text) IS 'How many edges receive a deployment, are done, of these by expiry alone, are disabled, and fail';

-- A standby sees what the primary's dispatcher has confirmed.
CREATE FUNCTION miosa.is_delivering() RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN pg_is_in_recovery() OR miosa.dispatcher_words() = 'running';
COMMENT ON FUNCTION miosa.is_delivering() IS 'Whether changes are delivered now';

-- The one place that decides how a deployment is; docs/reference.md lists the
-- codes.  It never says ok unless every edge has confirmed the active version
-- and, where instances are needed, one of them is healthy.
CREATE FUNCTION miosa.verdict_of(d miosa.deployments, counted bigint, done bigint, OUT code text, OUT text text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	version CONSTANT text := coalesce(miosa.version_name(d.id, d.active_version_id), 'none');
	serving CONSTANT text := miosa.version_name(d.id, d.serving_version_id);
	needs_instances CONSTANT boolean := d.desired_replicas > 0 AND EXISTS (SELECT FROM miosa.versions v
		WHERE v.deployment_id = d.id AND v.id = d.active_version_id AND v.kind <> 'static');
	healthy CONSTANT integer := (SELECT i.healthy FROM miosa.count_instances(d.id, d.active_version_id) i);
	waits CONSTANT text := miosa.span(clock_timestamp() - d.waiting_since);
	confirmed CONSTANT text := format('%s of %s edges confirmed %s', done, counted, version);
	convergence text;
BEGIN
	IF d.active_version_id IS NULL THEN
		code := 'not_published';
		text := 'NOT PUBLISHED: no version is active';
	ELSIF d.state IN ('stopped', 'failed') THEN
		code := 'not_serving';
		text := format('NOT SERVING: the deployment is %s', d.state);
	ELSIF d.serving_version_id IS NOT NULL AND healthy = 0 AND miosa.is_overdue(d.waiting_since) THEN
		code := 'overdue';
		text := miosa.clip(format('OVERDUE: %s has no healthy instance for %s, %s is served', version, waits, serving), 64);
	ELSIF d.serving_version_id IS NOT NULL THEN
		code := 'not_switched';
		text := miosa.clip(format('NOT SWITCHED: %s waits for instances%s, %s is served', version,
			coalesce(' for ' || waits, ''), serving), 64);
	ELSIF needs_instances AND healthy = 0 THEN
		code := 'not_serving';
		text := format('NOT SERVING: %s has no healthy instance', version);
	ELSIF counted = 0 THEN
		code := 'unknown';
		text := 'UNKNOWN: no edge receives this deployment';
	ELSIF done < counted THEN
		code := 'not_converged';
		text := 'NOT CONVERGED: ' || confirmed || CASE WHEN miosa.is_delivering() THEN '' ELSE ', not delivering' END;
	ELSE
		convergence := miosa.convergence_state(d.id, NULL);
		IF convergence = 'waiting_instances' THEN
			code := 'waiting';
			text := format('WAITING: %s of %s instances of %s are healthy', healthy, d.desired_replicas, version);
		ELSIF convergence NOT IN ('converged', 'expired') THEN
			code := 'not_converged';
			text := format('NOT CONVERGED: %s', replace(convergence, '_', ' '));
		ELSIF NOT miosa.is_delivering() THEN
			code := 'converged';
			text := format('CONVERGED on %s, but delivery is stopped', version);
		ELSE
			code := 'ok';
			text := format('OK: %s edge%s confirmed %s', done, CASE WHEN done = 1 THEN '' ELSE 's' END, version);
		END IF;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.verdict_of(miosa.deployments, bigint, bigint) IS 'Verdict on a deployment, given how many edges receive it and how many of these are done';

-- The verdict alone, by the names that people use.
CREATE FUNCTION miosa.verdict_rows(deployment text, OUT code text, OUT text text)
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT j.code, j.text
	FROM miosa.deployments p
	CROSS JOIN LATERAL miosa.count_edges(p.id) e
	CROSS JOIN LATERAL miosa.verdict_of(p, e.counted, e.done) j
	WHERE p.id = miosa.find_deployment($1)
$$;
COMMENT ON FUNCTION miosa.verdict_rows(text) IS 'Row of miosa.verdict()';

-- Enter verdict_rows() from C.
CREATE FUNCTION miosa.verdict(deployment text, OUT code text, OUT text text)
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.verdict(text) IS 'The verdict on a deployment: a code for programs, and the text that miosa.status() shows';

-- Status.

-- Lines of miosa.status() about the active version, the operation that made it
-- active, its actor and reason.
CREATE FUNCTION miosa.active_lines(d miosa.deployments, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
DECLARE
	event miosa.audit_events;
BEGIN
	SELECT * INTO event FROM miosa.audit_events a
		WHERE a.deployment_id = d.id AND a.outcome IN ('changed', 'pending') ORDER BY a.seq DESC LIMIT 1;
	item := 'active';
	value := CASE WHEN d.active_version_id IS NULL THEN 'none' ELSE
		miosa.version_name(d.id, d.active_version_id) || '  ' || miosa.short(d.active_version_id, 30)
		|| coalesce(', since ' || miosa.span(now() - event.created_at), '') END;
	RETURN NEXT;
	IF event.seq IS NOT NULL THEN
		item := 'by';
		value := miosa.short(format('%s #%s, %s %s', CASE event.action WHEN 'deployment.rollback' THEN 'rollback'
			WHEN 'deployment.version.promote' THEN 'promotion' WHEN 'deployment.undo' THEN 'undo' ELSE event.action END,
			event.seq, event.actor_type, miosa.short(event.actor_id, 30)), 64);
		RETURN NEXT;
		IF event.reason IS NOT NULL THEN
			item := 'reason';
			value := miosa.clip(event.reason, 64);
			RETURN NEXT;
		END IF;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.active_lines(miosa.deployments) IS 'Lines of miosa.status() about the active version';

-- Lines of miosa.status() about hosts: three of them, and how many more.
CREATE FUNCTION miosa.host_lines(deployment_id text, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	hosts text[];
BEGIN
	item := 'hosts';
	hosts := ARRAY(SELECT h.host FROM miosa.hosts h WHERE h.deployment_id = deployment_id ORDER BY h.managed, h.host LIMIT 4);
	IF cardinality(hosts) = 0 THEN
		value := 'none';
		RETURN NEXT;
	END IF;
	FOR i IN 1 .. least(cardinality(hosts), 3) LOOP
		value := miosa.short(hosts[i], 64);
		RETURN NEXT;
		item := '';
	END LOOP;
	IF cardinality(hosts) > 3 THEN
		SELECT format('and %s more', count(*) - 3) INTO value FROM miosa.hosts h WHERE h.deployment_id = deployment_id;
		RETURN NEXT;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.host_lines(text) IS 'Lines of miosa.status() about hosts';

-- Lines of miosa.status() about edges that have not confirmed: five of them
-- with their errors, and how many more.
CREATE FUNCTION miosa.waiting_lines(deployment_id text, number bigint, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	row record;
BEGIN
	item := 'waiting';
	FOR row IN SELECT * FROM miosa.convergence_rows(deployment_id) c
		WHERE c.role = 'edge' AND NOT c.done AND c.state <> 'excluded' ORDER BY c.stage, c.zone, c.endpoint LIMIT 5
	LOOP
		value := miosa.clip(format('%s (%s): %s', miosa.short(row.endpoint, 24), miosa.short(row.zone, 12), row.state)
			|| coalesce(' for ' || miosa.span(row.age), ''), 64);
		RETURN NEXT;
		item := '';
		FOR value IN SELECT '  ' || w.line FROM miosa.wrap(row.error, 62, 3) w (line) LOOP
			RETURN NEXT;
		END LOOP;
	END LOOP;
	IF number > 5 THEN
		value := format('and %s more', number - 5);
		RETURN NEXT;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.waiting_lines(text, bigint) IS 'Lines of miosa.status() about the edges that have not confirmed, of which there are so many';

-- Describe a deployment in rows of (item, value), the verdict first.
CREATE FUNCTION miosa.status_rows(deployment text, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	d miosa.deployments;
	active miosa.versions;
	edges record;
	name text;
	dispatcher text := miosa.dispatcher_words();
	delivering boolean := dispatcher = 'running' OR pg_is_in_recovery();
	instances record;
	target text;
BEGIN
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = miosa.find_deployment(deployment);
	name := miosa.call_name(d.id);
	SELECT * INTO active FROM miosa.versions v WHERE v.deployment_id = d.id AND v.id = d.active_version_id;
	SELECT * INTO instances FROM miosa.count_instances(d.id, d.active_version_id);
	SELECT * INTO edges FROM miosa.count_edges(d.id);

	item := 'verdict';
	value := (SELECT j.text FROM miosa.verdict_of(d, edges.counted, edges.done) j);
	RETURN NEXT;

	item := 'deployment';
	value := miosa.short(d.name, 30) || '  ' || miosa.short(d.id, 30);
	RETURN NEXT;
	item := 'state';
	value := d.state;
	RETURN NEXT;
	RETURN QUERY SELECT * FROM miosa.active_lines(d);
	RETURN QUERY SELECT * FROM miosa.held_lines(d.id);
	RETURN QUERY SELECT * FROM miosa.frozen_lines(d);
	item := 'bad';
	FOR value IN SELECT w.line FROM miosa.wrap('it is marked as bad: ' || (miosa.bad_mark(d.id, d.active_version_id) ->> 'reason'), 64, 3) w (line) LOOP
		RETURN NEXT;
		item := '';
	END LOOP;
	IF d.serving_version_id IS NOT NULL THEN
		item := 'serving';
		value := miosa.version_line(d.id, d.serving_version_id, NULL);
		RETURN NEXT;
	END IF;
	IF active.kind <> 'static' THEN
		item := 'instances';
		value := format('%s healthy, %s starting, %s wanted', instances.healthy, instances.starting, d.desired_replicas);
		RETURN NEXT;
		FOR item, value IN SELECT * FROM miosa.scheduler_lines(d.id, d.active_version_id) LOOP
			RETURN NEXT;
		END LOOP;
	END IF;

	item := 'watched';
	FOR value IN SELECT miosa.watch_line(w) FROM miosa.watches w WHERE w.deployment_id = d.id LOOP
		RETURN NEXT;
	END LOOP;

	item := 'schema';
	target := miosa.default_target(d.id);
	SELECT miosa.clip(format('a rollback to %s crosses the marked change of %s', miosa.version_name(d.id, target),
			string_agg(miosa.version_name(d.id, m.id), ', ' ORDER BY m.place)), 64)
		INTO value FROM unnest(miosa.schema_marks(d.id, target)) WITH ORDINALITY m (id, place) HAVING count(*) > 0;
	IF FOUND THEN
		RETURN NEXT;
	END IF;
	IF d.schema_name IS NOT NULL AND (miosa.schema_finding(d.id, target)).result IN ('warning', 'failed') THEN
		value := miosa.clip(format('%s does not fit schema %s', miosa.version_name(d.id, target), d.schema_name), 64);
		RETURN NEXT;
	END IF;

	RETURN QUERY SELECT * FROM miosa.host_lines(d.id);

	item := 'edges';
	value := format('%s of %s confirmed', edges.done, edges.counted)
		|| CASE WHEN edges.expired > 0 THEN format(', %s by expiry alone', edges.expired) ELSE '' END
		|| CASE WHEN edges.excluded > 0 THEN format(', %s disabled', edges.excluded) ELSE '' END;
	RETURN NEXT;
	RETURN QUERY SELECT * FROM miosa.waiting_lines(d.id, edges.counted - edges.done);
	item := 'dispatcher';
	value := miosa.clip(dispatcher, 64);
	RETURN NEXT;

	item := 'next';
	IF NOT delivering THEN
		value := miosa.qualify('SELECT * FROM miosa_doctor();');
		RETURN NEXT;
	ELSIF edges.done < edges.counted THEN
		value := 'TABLE miosa.progress;';
		RETURN NEXT;
	ELSE
		FOR value IN SELECT p.line FROM miosa.paste('SELECT * FROM miosa.candidates', name) p (line) LOOP
			RETURN NEXT;
			item := '';
		END LOOP;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.status_rows(text) IS 'Rows of miosa.status()';

-- Enter status_rows() from C.
CREATE FUNCTION miosa.status(deployment text, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.status(text) IS 'State of a deployment, for people: rows of (item, value)';

-- Deployments that wait for instances for too long, or that serve nothing
-- for as long because the scheduler did not bring any.
--
-- An operation requests the instances that it lacks, so the requests lead to
-- these deployments. Those that wait without one were loaded, and are found by
-- deployments_waiting; requested: leave them out.
CREATE FUNCTION miosa.all_overdue(requested boolean, OUT tenant_id text, OUT id text, OUT version_id text, OUT serving_version_id text, OUT waits interval,
	OUT desired_replicas integer, OUT healthy integer, OUT starting integer, OUT asked_at timestamptz, OUT last_error text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT p.tenant_id, p.id, v.id AS version_id, p.serving_version_id, clock_timestamp() - coalesce(p.waiting_since, w.since),
		p.desired_replicas, 0, i.starting, w.asked_at, w.error
	FROM (SELECT c.deployment_id, c.version_id, c.since, c.asked_at, miosa.lasting_error(c) AS error
			FROM miosa.capacity c WHERE c.state = 'wanted'
		UNION ALL
		SELECT l.id, l.active_version_id, NULL, NULL, NULL FROM miosa.deployments l
			WHERE NOT $1 AND l.waiting_since IS NOT NULL AND NOT EXISTS (SELECT FROM miosa.capacity c
				WHERE c.deployment_id = l.id AND c.version_id = l.active_version_id AND c.state = 'wanted')) w
	JOIN miosa.deployments p ON p.id = w.deployment_id AND p.active_version_id = w.version_id
	JOIN miosa.versions v ON v.deployment_id = p.id AND v.id = p.active_version_id AND v.kind <> 'static'
	CROSS JOIN LATERAL (SELECT count(*)::integer AS starting FROM miosa.runtime_instances i
		WHERE i.deployment_id = p.id AND i.version_id = v.id AND miosa.is_starting(i.state)) i
	WHERE p.state <> 'stopped' AND p.desired_replicas > 0
		AND miosa.cutover_due(coalesce(p.waiting_since, w.since)) <= (SELECT clock_timestamp())
		-- The horizon of heartbeats is looked for once, and not for each of them.
		AND NOT EXISTS (SELECT FROM miosa.live_instances l WHERE l.deployment_id = p.id AND l.version_id = v.id);
END $$;
COMMENT ON FUNCTION miosa.all_overdue(boolean) IS 'Rows of miosa.overdue of all tenants; requested: only those for which schedulers are asked';

-- Those that the caller may see.
CREATE FUNCTION miosa.overdue_rows(requested boolean, OUT id text, OUT version_id text, OUT serving_version_id text, OUT waits interval,
	OUT desired_replicas integer, OUT healthy integer, OUT starting integer, OUT asked_at timestamptz, OUT last_error text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY SELECT o.id, o.version_id, o.serving_version_id, o.waits, o.desired_replicas, o.healthy, o.starting, o.asked_at, o.last_error
		FROM miosa.all_overdue($1) o WHERE miosa.sees_tenant(o.tenant_id);
END $$;
COMMENT ON FUNCTION miosa.overdue_rows(boolean) IS 'Rows of miosa.overdue; requested: only those for which schedulers are asked';

CREATE VIEW miosa.overdue AS SELECT * FROM miosa.overdue_rows(false);
COMMENT ON VIEW miosa.overdue IS 'Deployments whose active version has waited for longer than miosa_rollback.cutover_deadline and still has no healthy instance';
COMMENT ON COLUMN miosa.overdue.id IS 'Deployment';
COMMENT ON COLUMN miosa.overdue.version_id IS 'Active version, which waits';
COMMENT ON COLUMN miosa.overdue.serving_version_id IS 'Version that serves instead; null: none, because routes lead to the active one';
COMMENT ON COLUMN miosa.overdue.waits IS 'How long it has waited';
COMMENT ON COLUMN miosa.overdue.desired_replicas IS 'Instances that are wanted';
COMMENT ON COLUMN miosa.overdue.healthy IS 'Instances that are healthy';
COMMENT ON COLUMN miosa.overdue.starting IS 'Instances that are starting';
COMMENT ON COLUMN miosa.overdue.asked_at IS 'When a scheduler last accepted the request for instances; null: none yet';
COMMENT ON COLUMN miosa.overdue.last_error IS 'Why the last request was not accepted';

-- Progress, for \watch 1: the deployments that changed last, as long as they
-- are young or not done.

-- Whether routes, or the state, wait for instances.
CREATE FUNCTION miosa.waits_for_instances(serving_version_id text, state text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN serving_version_id IS NOT NULL OR state = 'pending';
COMMENT ON FUNCTION miosa.waits_for_instances(text, text) IS 'Whether a deployment waits for instances of its active version';

-- Describe the instances of a deployment that waits for them.
--
-- In PL/pgSQL, which keeps the plan for the next deployment of miosa.progress.
CREATE FUNCTION miosa.instances_progress(deployment_id text, OUT age text, OUT bar text, OUT error text)
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
BEGIN
	SELECT coalesce(miosa.span(clock_timestamp() - coalesce(p.waiting_since, c.since)), ''),
			miosa.bar(least(i.healthy, p.desired_replicas), p.desired_replicas),
			coalesce(miosa.clip(miosa.lasting_error(c), 13), '')
		INTO age, bar, error
		FROM miosa.deployments p
		JOIN miosa.versions v ON v.deployment_id = p.id AND v.id = p.active_version_id AND v.kind <> 'static'
		CROSS JOIN LATERAL miosa.count_instances(p.id, v.id) i
		LEFT JOIN miosa.capacity c ON c.deployment_id = p.id AND c.version_id = v.id AND c.state = 'wanted'
		WHERE p.id = $1 AND p.desired_replicas > 0 AND p.state <> 'stopped'
			AND miosa.waits_for_instances(p.serving_version_id, p.state);
END $$;
COMMENT ON FUNCTION miosa.instances_progress(text) IS 'Line of miosa.progress about instances while a deployment waits for them; null when it does not';

-- What an endpoint has of the log is written now and then, so that a change
-- can count as under way for half a second longer than it is.
CREATE FUNCTION miosa.changed_lately(OUT id text, OUT seq bigint, OUT at timestamptz, OUT waits boolean, OUT number bigint, OUT cut boolean)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	WITH entries AS MATERIALIZED (
		(SELECT g.deployment_id, g.created_at, g.epoch FROM miosa.route_log g
			WHERE g.kind IN ('route', 'host_removed') ORDER BY g.epoch DESC LIMIT 1000)
		UNION ALL
		(SELECT o.deployment_id, o.created_at, NULL FROM miosa.outbox o
			WHERE o.kind IN ('route', 'host_removed') ORDER BY o.xid LIMIT 1000)
	), changed AS (
		SELECT p.id, p.seq, l.at, l.epoch, miosa.waits_for_instances(p.serving_version_id, p.state) AS waits
		FROM (SELECT e.deployment_id, max(e.created_at) AS at, CASE WHEN bool_and(e.epoch IS NOT NULL) THEN max(e.epoch) END AS epoch
			FROM entries e GROUP BY e.deployment_id) l
		JOIN miosa.deployments p ON p.id = l.deployment_id AND miosa.sees_tenant(p.tenant_id)
	), behind AS (
		SELECT min(CASE WHEN s.resync_after IS NULL THEN coalesce(s.acked_epoch, 0) ELSE 0 END) AS epoch
		FROM miosa.endpoints e JOIN miosa.adapters a ON a.name = e.adapter AND a.role = 'edge'
		LEFT JOIN miosa.endpoint_state s ON s.endpoint = e.name
		WHERE e.enabled
	)
	SELECT c.id, c.seq, c.at, c.waits, count(*) OVER (), (SELECT count(*) FROM entries) >= 1000
	FROM changed c CROSS JOIN behind b
	WHERE c.at >= now() - '10 min'::interval OR c.epoch IS NULL OR c.epoch > b.epoch OR c.waits
		OR EXISTS (SELECT FROM miosa.delivery_failures f WHERE f.deployment_id = c.id)
	ORDER BY c.at DESC, c.id LIMIT 20;
END $$;
COMMENT ON FUNCTION miosa.changed_lately() IS 'The last 20 deployments that changed within 10 minutes or may not have converged, whether each waits for instances, the number of all of these, and whether the log was read only in part';

-- Count the edges of a deployment, also by zone where zones differ.  Where all
-- have confirmed none does, and nothing else is looked for.
CREATE FUNCTION miosa.zones_progress(deployment_id text, OUT zone text, OUT whole boolean, OUT done bigint, OUT total bigint,
	OUT slowest text, OUT error text, OUT finished boolean)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_column
BEGIN
	SELECT true, count(*) FILTER (WHERE c.done), count(*) INTO whole, done, total
		FROM miosa.convergence_rows($1) c WHERE c.role = 'edge' AND c.state <> 'excluded';
	finished := zones_progress.done = zones_progress.total;
	IF finished THEN
		RETURN NEXT;
		RETURN;
	END IF;
	RETURN QUERY
		WITH counted AS (
			SELECT * FROM miosa.convergence_rows($1) c WHERE c.role = 'edge' AND c.state <> 'excluded'
		), summed AS (
			SELECT t.zone, grouping(t.zone) = 1 AS whole, count(*) FILTER (WHERE t.done) AS done, count(*) AS total,
				(array_agg(t.endpoint ORDER BY t.age DESC NULLS LAST, t.endpoint) FILTER (WHERE NOT t.done))[1] AS slowest,
				(array_agg(t.error ORDER BY t.age DESC NULLS LAST, t.endpoint)
					FILTER (WHERE NOT t.done AND t.error IS NOT NULL))[1] AS error
			FROM counted t GROUP BY ROLLUP (t.zone)
		)
		SELECT s.*, w.done = w.total
		FROM summed s JOIN summed w ON w.whole
		-- Zones have lines of their own when not all are equally far.
		WHERE s.whole OR EXISTS (SELECT FROM summed o WHERE NOT o.whole AND o.done * s.total <> s.done * o.total)
		ORDER BY s.whole DESC, s.total - s.done DESC, s.zone;
END $$;
COMMENT ON FUNCTION miosa.zones_progress(text) IS 'Edges of a deployment that confirmed its route, and how many receive it: the whole first, then each zone if zones differ; the edge that has lacked it longest, and its error';

-- List the deployments of changed_lately() with their edges, by zone where
-- zones differ.
CREATE FUNCTION miosa.progress_rows(OUT operation text, OUT age text, OUT edges text, OUT slowest text, OUT last_error text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	changed record;
	zone record;
	instances_age text;
	instances_bar text;
	instances_error text;
BEGIN
	FOR changed IN SELECT * FROM miosa.changed_lately()
	LOOP
		instances_bar := NULL;
		IF changed.waits THEN
			SELECT i.age, i.bar, i.error INTO instances_age, instances_bar, instances_error FROM miosa.instances_progress(changed.id) i;
		END IF;
		FOR zone IN SELECT * FROM miosa.zones_progress(changed.id)
		LOOP
			EXIT WHEN zone.finished AND changed.at < now() - '10 min'::interval AND instances_bar IS NULL;
			operation := CASE WHEN zone.whole
				THEN miosa.short(miosa.call_name(changed.id), 15 - length(changed.seq::text)) || '#' || changed.seq
				ELSE miosa.short('  ' || zone.zone, 16) END;
			age := CASE WHEN zone.whole THEN miosa.span(clock_timestamp() - changed.at) ELSE '' END;
			edges := coalesce(miosa.bar(zone.done, zone.total),
				(SELECT split_part(j.text, ':', 1) FROM miosa.deployments p CROSS JOIN LATERAL miosa.verdict_of(p, 0, 0) j
				WHERE p.id = changed.id));
			slowest := coalesce(miosa.short(zone.slowest, 12), '');
			last_error := coalesce(miosa.clip(zone.error, 13), '');
			RETURN NEXT;
			IF zone.whole AND instances_bar IS NOT NULL THEN
				operation := '  instances';
				age := instances_age;
				edges := instances_bar;
				slowest := '';
				last_error := instances_error;
				RETURN NEXT;
			END IF;
		END LOOP;
	END LOOP;
	IF changed.number > 20 THEN
		operation := format('and %s%s more', CASE WHEN changed.cut THEN 'over ' ELSE '' END, changed.number - 20);
		age := '';
		edges := '';
		slowest := '';
		last_error := '';
		RETURN NEXT;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.progress_rows() IS 'Rows of miosa.progress';

CREATE VIEW miosa.progress AS SELECT * FROM miosa.progress_rows();
COMMENT ON VIEW miosa.progress IS 'Progress of the newest route changes, for \watch 1: deployments that changed in the last 10 minutes or have not converged';
COMMENT ON COLUMN miosa.progress.operation IS 'Deployment and newest operation; below it instances, or a zone';
COMMENT ON COLUMN miosa.progress.age IS 'Time since the change; for instances: since the deployment waits for them';
COMMENT ON COLUMN miosa.progress.edges IS 'Edges that confirmed it, of those that receive it, or the verdict when there is none; instances that are healthy, of those that are wanted';
COMMENT ON COLUMN miosa.progress.slowest IS 'Edge that has lacked it longest';
COMMENT ON COLUMN miosa.progress.last_error IS 'Last error of that edge, shortened; miosa.status() has it in full';
-- Fleets: rollbacks of all deployments that a selector matches.  What decides is
-- in C (src/operation/fleet.c).

-- One row a call.  It is written by few calls, so it may have what a row of a
-- rollback could not afford.
CREATE TABLE miosa.fleet_runs (
	id text COLLATE "C" PRIMARY KEY,
	tenant_id text COLLATE "C",
	acts_for text COLLATE "C" NOT NULL,
	idempotency_key text COLLATE "C",
	mode text NOT NULL CHECK (mode IN ('atomic', 'best_effort', 'batches')),
	selector jsonb NOT NULL,
	served_at timestamptz,
	attribution jsonb,
	cutover text,
	accept_unverified boolean NOT NULL,
	hold boolean,
	hold_for interval,
	mark_bad boolean NOT NULL,
	reason text,
	actor_type text NOT NULL,
	actor_id text NOT NULL,
	session_user_name text NOT NULL,
	total bigint NOT NULL,
	done bigint NOT NULL DEFAULT 0,
	refused bigint NOT NULL DEFAULT 0,
	"position" text COLLATE "C" NOT NULL DEFAULT '',
	refusals jsonb NOT NULL DEFAULT '[]',
	response jsonb,
	last_deployment_id text COLLATE "C",
	last_route_seq bigint,
	began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	advanced_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	ended_at timestamptz,
	UNIQUE (acts_for, idempotency_key)
);
CREATE INDEX fleet_runs_time ON miosa.fleet_runs (began_at);
COMMENT ON TABLE miosa.fleet_runs IS 'Rollbacks of many deployments in one call, for 400 days; miosa.fleets shows them for people';
COMMENT ON COLUMN miosa.fleet_runs.id IS 'Id of the fleet; audit events of its deployments have it in marks';
COMMENT ON COLUMN miosa.fleet_runs.tenant_id IS 'Owner of all its deployments; null: of several, or not known yet';
COMMENT ON COLUMN miosa.fleet_runs.acts_for IS 'For whom the caller acted: empty for all tenants, else tenant: or role: and its name; a key counts among calls for the same';
COMMENT ON COLUMN miosa.fleet_runs.idempotency_key IS 'Key of the call, if it had one; also that of each deployment''s operation';
COMMENT ON COLUMN miosa.fleet_runs.mode IS 'atomic, best_effort or batches';
COMMENT ON COLUMN miosa.fleet_runs.selector IS 'Which deployments';
COMMENT ON COLUMN miosa.fleet_runs.served_at IS 'As in the call';
COMMENT ON COLUMN miosa.fleet_runs.attribution IS 'As in the call';
COMMENT ON COLUMN miosa.fleet_runs.cutover IS 'As in the call';
COMMENT ON COLUMN miosa.fleet_runs.accept_unverified IS 'As in the call';
COMMENT ON COLUMN miosa.fleet_runs.hold IS 'As in the call';
COMMENT ON COLUMN miosa.fleet_runs.hold_for IS 'As in the call';
COMMENT ON COLUMN miosa.fleet_runs.mark_bad IS 'As in the call';
COMMENT ON COLUMN miosa.fleet_runs.reason IS 'Why, in the caller''s words';
COMMENT ON COLUMN miosa.fleet_runs.actor_type IS 'user, api_key, role or system';
COMMENT ON COLUMN miosa.fleet_runs.actor_id IS 'Id of the actor, of that type';
COMMENT ON COLUMN miosa.fleet_runs.session_user_name IS 'Role that logged in';
COMMENT ON COLUMN miosa.fleet_runs.total IS 'How many deployments the selector matched when the call began; at the end, how many there were';
COMMENT ON COLUMN miosa.fleet_runs.done IS 'Deployments that were rolled back, or were so already';
COMMENT ON COLUMN miosa.fleet_runs.refused IS 'Deployments that were refused';
COMMENT ON COLUMN miosa.fleet_runs."position" IS 'Last deployment of the last batch; the next one begins behind it';
COMMENT ON COLUMN miosa.fleet_runs.refusals IS 'Of a fleet in batches, the first hundred or so refused deployments with their conditions';
COMMENT ON COLUMN miosa.fleet_runs.response IS 'Response of a call in one statement, which the same call returns again';
COMMENT ON COLUMN miosa.fleet_runs.last_deployment_id IS 'Deployment whose route it has changed last; null: none';
COMMENT ON COLUMN miosa.fleet_runs.last_route_seq IS 'That deployment''s route change';
COMMENT ON COLUMN miosa.fleet_runs.began_at IS 'When the call began';
COMMENT ON COLUMN miosa.fleet_runs.advanced_at IS 'When it last ended a batch, or all';
COMMENT ON COLUMN miosa.fleet_runs.ended_at IS 'When all were done; null: not yet';

SELECT pg_extension_config_dump('miosa.fleet_runs', '');

-- Selectors, for freezes too.

-- Check a selector; one that matches nothing is valid.
CREATE FUNCTION miosa.check_deployment_selector(selector jsonb) RETURNS void
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_check_deployment_selector';
COMMENT ON FUNCTION miosa.check_deployment_selector(jsonb) IS 'Raises INVALID_ARGUMENT unless the value is a selector of deployments';

-- Match one deployment.
CREATE FUNCTION miosa.selects_deployment(selector jsonb, deployment_id text) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_selects_deployment';
COMMENT ON FUNCTION miosa.selects_deployment(jsonb, text) IS 'Whether a selector of deployments matches this one, in the statement''s snapshot';

-- For policies.
CREATE FUNCTION miosa.sees_fleet(tenant_id text, acts_for text) RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_sees_fleet';
COMMENT ON FUNCTION miosa.sees_fleet(text, text) IS 'Whether a fleet exists for the caller, by these columns of its row';

-- Costs of these statements are guessed from selectors, and compiling them would
-- take longer than most run: so no JIT.
CREATE FUNCTION @extschema@.miosa_rollback_many(
	selector jsonb,
	served_at timestamptz DEFAULT NULL,
	mode text DEFAULT 'atomic',
	idempotency_key text DEFAULT NULL,
	reason text DEFAULT NULL,
	attribution jsonb DEFAULT NULL,
	cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false,
	hold boolean DEFAULT NULL,
	hold_for interval DEFAULT NULL,
	mark_bad boolean DEFAULT false)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'miosa_rollback_many';
COMMENT ON FUNCTION @extschema@.miosa_rollback_many(jsonb, timestamptz, text, text, text, jsonb, text, boolean, boolean, interval, boolean) IS
	'Rolls all deployments that a selector matches back in one statement: all or none of them, or those that can be';

-- The same without doing it.
CREATE FUNCTION @extschema@.miosa_plan_many(selector jsonb, served_at timestamptz DEFAULT NULL)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'miosa_plan_many';
COMMENT ON FUNCTION @extschema@.miosa_plan_many(jsonb, timestamptz) IS
	'What miosa_rollback_many would do now: each deployment with its versions, and the outcome or the condition that refuses it';

-- The steps of miosa_rollback_fleet().
CREATE FUNCTION miosa.fleet_begin(selector jsonb, served_at timestamptz, mode text, idempotency_key text, reason text, attribution jsonb,
	cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, batch integer DEFAULT 500)
RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'mrb_fleet_begin_row';
COMMENT ON FUNCTION miosa.fleet_begin(jsonb, timestamptz, text, text, text, jsonb, text, boolean, boolean, interval, boolean, integer) IS
	'Begins a fleet that works in batches, or finds the one with the same key; null when no deployment matches';

-- One batch.
CREATE FUNCTION miosa.fleet_step(fleet_id text, batch integer)
RETURNS boolean LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'mrb_fleet_step_row';
COMMENT ON FUNCTION miosa.fleet_step(text, integer) IS 'Rolls the next deployments of a fleet back; false when there was none left';

-- What the dispatcher has taken and not delivered is in its memory.  It is waited
-- for as long as anything is acknowledged: an edge that is down holds nobody up.  A
-- call lasts a second at most, so that the procedure can commit.
CREATE FUNCTION miosa.fleet_pace(most bigint DEFAULT 200000)
RETURNS boolean LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	seen bigint;
	now record;
BEGIN
	FOR turn IN 0 .. 10 LOOP
		SELECT coalesce(w.pending, 0) AS pending, w.acknowledged INTO now FROM miosa.dispatcher() w;
		IF now.pending <= most THEN
			RETURN true;
		END IF;
		seen := coalesce(seen, now.acknowledged);
		IF turn < 10 THEN
			PERFORM pg_sleep(0.1);
		END IF;
	END LOOP;
	RETURN CASE WHEN now.acknowledged = seen THEN false END;
END $$;
COMMENT ON FUNCTION miosa.fleet_pace(bigint) IS 'Waits for a second until no more deliveries than that are pending; false when none was acknowledged, null when some were';

-- What a fleet has come to, as JSON.
CREATE FUNCTION miosa.fleet_object(fleet_id text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT jsonb_build_object('data', jsonb_build_object('fleet_id', f.id, 'mode', f.mode, 'total', f.total, 'done', f.done,
			'refused', f.refused, 'began_at', f.began_at, 'ended_at', f.ended_at, 'refusals', f.refusals))
		FROM miosa.fleet_runs f WHERE f.id = $1 AND miosa.sees_fleet(f.tenant_id, f.acts_for));
END $$;
COMMENT ON FUNCTION miosa.fleet_object(text) IS 'How far a fleet has come, and which of its deployments were refused first';

-- Roll a fleet back in batches.  A procedure that commits can neither be SECURITY
-- DEFINER nor set a search_path, so all that it does is to call the steps.
CREATE PROCEDURE @extschema@.miosa_rollback_fleet(
	selector jsonb,
	served_at timestamptz DEFAULT NULL,
	idempotency_key text DEFAULT NULL,
	reason text DEFAULT NULL,
	attribution jsonb DEFAULT NULL,
	cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false,
	hold boolean DEFAULT NULL,
	hold_for interval DEFAULT NULL,
	mark_bad boolean DEFAULT false,
	batch integer DEFAULT 500,
	INOUT result jsonb DEFAULT NULL)
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
	fleet pg_catalog.text;
	unpaced pg_catalog.int4 := 0;
	delivered pg_catalog.bool;
BEGIN
	fleet := miosa.fleet_begin(selector, served_at, NULL, idempotency_key, reason, attribution, cutover, accept_unverified,
		hold, hold_for, mark_bad, batch);
	COMMIT;
	LOOP
		EXIT WHEN NOT coalesce(miosa.fleet_step(fleet, batch), false);
		COMMIT;
		-- Where nothing is delivered, wait in vain now and then only.
		IF unpaced OPERATOR(pg_catalog.>) 0 THEN
			unpaced := unpaced OPERATOR(pg_catalog.-) 1;
			CONTINUE;
		END IF;
		LOOP
			delivered := miosa.fleet_pace();
			COMMIT;
			EXIT WHEN delivered IS NOT NULL;
		END LOOP;
		unpaced := CASE WHEN delivered THEN 0 ELSE 20 END;
	END LOOP;
	COMMIT;
	result := coalesce(miosa.fleet_object(fleet), '{"data": {"total": 0, "done": 0, "refused": 0, "fleet_id": null}}');
END $$;
COMMENT ON PROCEDURE @extschema@.miosa_rollback_fleet(jsonb, timestamptz, text, text, jsonb, text, boolean, boolean, interval, boolean, integer, jsonb) IS
	'Rolls all deployments that a selector matches back in batches that commit; a call with the same key continues where one was interrupted';

-- The newest route change of a fleet, as miosa.newest_change() of a deployment; and
-- whether the fleet is at work, or any of its deployments waits for instances.
-- Changes of a transaction get their epochs in the order of their deployments, so
-- that the last one has the highest.
CREATE FUNCTION miosa.fleet_change(fleet_id text, OUT tenant_id text, OUT kind text, OUT route_ttl interval,
	OUT epoch bigint, OUT created_at timestamptz, OUT unread boolean, OUT queued boolean, OUT term bigint, OUT moved boolean,
	OUT last_deployment_id text, OUT works boolean, OUT waits boolean)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 1
BEGIN ATOMIC
	SELECT '', '', '1 year'::interval, CASE WHEN f.last_deployment_id IS NULL THEN 0 ELSE coalesce(l.epoch, st.trimmed_epoch) END, f.advanced_at,
		EXISTS (SELECT FROM miosa.outbox o WHERE o.deployment_id = '' AND o.kind = 'settings'),
		l.epoch IS NULL AND EXISTS (SELECT FROM miosa.outbox o WHERE o.deployment_id = f.last_deployment_id
			AND o.kind IN ('route', 'host_removed') AND o.route_seq >= f.last_route_seq),
		coalesce(st.term, 1), st.timeline IS DISTINCT FROM i.timeline AND st.timeline IS NOT NULL AND i.timeline IS NOT NULL,
		coalesce(f.last_deployment_id, ''), f.ended_at IS NULL,
		EXISTS (SELECT FROM miosa.deployments p JOIN miosa.audit_events e ON e.deployment_id = p.id
			WHERE p.waiting_since IS NOT NULL AND e.marks ? 'fleet' AND e.marks ->> 'fleet' = f.id)
	FROM miosa.fleet_runs f
	CROSS JOIN miosa.identity() i
	LEFT JOIN miosa.dispatcher_state st ON true
	LEFT JOIN LATERAL (
		SELECT g.epoch FROM miosa.route_log g WHERE g.deployment_id = f.last_deployment_id AND g.kind IN ('route', 'host_removed')
			AND g.route_seq >= f.last_route_seq
		ORDER BY g.epoch LIMIT 1) l ON true
	WHERE f.id = $1 LIMIT 1;
END;
COMMENT ON FUNCTION miosa.fleet_change(text) IS 'Newest route change of a fleet, whether it is at work, and whether any of its deployments waits for instances';

-- How many edges have all that a fleet has changed so far.
CREATE FUNCTION miosa.fleet_edges(fleet_id text, OUT edges integer, OUT done integer)
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_fleet_edges';
COMMENT ON FUNCTION miosa.fleet_edges(text) IS 'How many edges receive any deployment of a fleet, and how many have acknowledged all that it has changed so far, as it is now';

-- For people.

-- The newest fleets, for \watch.  The log of route changes is kept for an hour.
CREATE FUNCTION miosa.fleets_rows(OUT fleet text, OUT total bigint, OUT done bigint, OUT refused bigint, OUT rate text, OUT remaining text, OUT converged text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	run miosa.fleet_runs;
	per_second numeric;
BEGIN
	FOR run IN SELECT * FROM miosa.fleet_runs f WHERE miosa.sees_fleet(f.tenant_id, f.acts_for) ORDER BY f.began_at DESC LIMIT 20 LOOP
		fleet := run.id;
		total := run.total;
		done := run.done;
		refused := run.refused;
		per_second := (run.done + run.refused) / greatest(extract(epoch FROM run.advanced_at - run.began_at), 0.001);
		rate := round(per_second) || '/s';
		remaining := CASE WHEN run.ended_at IS NOT NULL THEN ''
			WHEN run.advanced_at < clock_timestamp() - '1 min'::interval THEN 'stalled'
			WHEN per_second = 0 THEN '?'
			ELSE miosa.rough_span((greatest(run.total - run.done - run.refused, 0) / per_second) * '1 s'::interval) END;
		converged := CASE WHEN run.advanced_at > clock_timestamp() - '1 hour'::interval
			THEN (SELECT e.done || '/' || e.edges FROM miosa.fleet_edges(run.id) e) ELSE '' END;
		RETURN NEXT;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.fleets_rows() IS 'Rows of miosa.fleets';

CREATE VIEW miosa.fleets AS SELECT * FROM miosa.fleets_rows();
COMMENT ON VIEW miosa.fleets IS 'Progress of the newest 20 fleets, for \watch 1';
COMMENT ON COLUMN miosa.fleets.fleet IS 'Id of the fleet, as miosa_wait_converged() takes it';
COMMENT ON COLUMN miosa.fleets.total IS 'Deployments that it is about';
COMMENT ON COLUMN miosa.fleets.done IS 'Deployments that were rolled back, or were so already';
COMMENT ON COLUMN miosa.fleets.refused IS 'Deployments that were refused';
COMMENT ON COLUMN miosa.fleets.rate IS 'Deployments a second';
COMMENT ON COLUMN miosa.fleets.remaining IS 'Time that the rest will take; stalled: no batch has ended for a minute; empty: all are done';
COMMENT ON COLUMN miosa.fleets.converged IS 'Edges that have acknowledged all that the fleet has changed so far, of those that receive any of it; empty when its last change is an hour old';

-- Call the functions for programs; hints call those of the console.
CREATE FUNCTION miosa.call_rollback_many(selector jsonb, served_at timestamptz, mode text, idempotency_key text, reason text, attribution jsonb,
	cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE SET jit = off
AS 'MODULE_PATHNAME', 'mrb_call_rollback_many';
COMMENT ON FUNCTION miosa.call_rollback_many(jsonb, timestamptz, text, text, text, jsonb, text, boolean, boolean, interval, boolean) IS
	'Calls miosa_rollback_many; hints call functions of the console';

-- As if the caller had called it: no CONTEXT shows the console's functions.
CREATE FUNCTION miosa.call_plan_many(selector jsonb, served_at timestamptz) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE SET jit = off
AS 'MODULE_PATHNAME', 'mrb_call_plan_many';
COMMENT ON FUNCTION miosa.call_plan_many(jsonb, timestamptz) IS 'Calls miosa_plan_many, from within the console';

-- A response as rows: a summary, those that are refused, the others.
CREATE FUNCTION miosa.fleet_lines(response jsonb, OUT deployment text, OUT "from" text, OUT "to" text, OUT outcome text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT l.deployment, l."from", l."to", l.outcome FROM (
		SELECT 0 AS part, 0::bigint AS place, coalesce(d ->> 'fleet_id', '') AS deployment, '' AS "from", '' AS "to",
			CASE WHEN d ? 'would_succeed' THEN format('%s would succeed', d ->> 'would_succeed') ELSE format('%s done', d ->> 'done') END
				|| format(', %s refused, of %s', d ->> 'refused', d ->> 'total') AS outcome
		FROM (SELECT $1 -> 'data') r (d)
		UNION ALL
		SELECT CASE WHEN m.o ? 'condition' THEN 1 ELSE 2 END, m.place,
			-- One that does not exist for the caller is named as it was given.
			miosa.short(coalesce(miosa.call_name(miosa.seen_deployment(m.o ->> 'deployment_id')), m.o ->> 'deployment_id'), 22),
			coalesce(miosa.version_name(m.o ->> 'deployment_id', m.o ->> 'from'), ''),
			coalesce(miosa.version_name(m.o ->> 'deployment_id', m.o ->> 'to'), ''),
			miosa.clip(coalesce((m.o ->> 'condition') || ': ' || (m.o ->> 'message'), m.o ->> 'outcome'), 36)
		FROM jsonb_array_elements($1 -> 'data' -> 'deployments') WITH ORDINALITY m (o, place)) l
	ORDER BY l.part, l.place
$$;
COMMENT ON FUNCTION miosa.fleet_lines(jsonb) IS 'The response of a fleet, or of a plan, in rows of 80 columns';

-- Do the work of miosa.rollback_many().
CREATE FUNCTION miosa.rollback_many_rows(selector jsonb, reason text DEFAULT NULL, mode text DEFAULT 'atomic',
	idempotency_key text DEFAULT NULL, served_at timestamptz DEFAULT NULL, cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL, hold_for interval DEFAULT NULL,
	mark_bad boolean DEFAULT false, OUT deployment text, OUT "from" text, OUT "to" text, OUT outcome text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.call_rollback_many($1, $5, $3, $4, $2, NULL, $6, $7, $8, $9, $10) r
	CROSS JOIN LATERAL miosa.fleet_lines(r) l
$$;
COMMENT ON FUNCTION miosa.rollback_many_rows(jsonb, text, text, text, timestamptz, text, boolean, boolean, interval, boolean) IS 'Rows of miosa.rollback_many()';

-- Enter rollback_many_rows() from C.
CREATE FUNCTION miosa.rollback_many(selector jsonb, reason text DEFAULT NULL, mode text DEFAULT 'atomic',
	idempotency_key text DEFAULT NULL, served_at timestamptz DEFAULT NULL, cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL, hold_for interval DEFAULT NULL,
	mark_bad boolean DEFAULT false, OUT deployment text, OUT "from" text, OUT "to" text, OUT outcome text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.rollback_many(jsonb, text, text, text, timestamptz, text, boolean, boolean, interval, boolean) IS
	'Rolls all deployments that a selector matches back, for people: a row each, those that are refused first';

-- Do the work of miosa.plan_many().
CREATE FUNCTION miosa.plan_many_rows(selector jsonb, served_at timestamptz DEFAULT NULL,
	OUT deployment text, OUT "from" text, OUT "to" text, OUT outcome text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.call_plan_many($1, $2) r CROSS JOIN LATERAL miosa.fleet_lines(r) l
$$;
COMMENT ON FUNCTION miosa.plan_many_rows(jsonb, timestamptz) IS 'Rows of miosa.plan_many()';

-- Enter plan_many_rows() from C.
CREATE FUNCTION miosa.plan_many(selector jsonb, served_at timestamptz DEFAULT NULL,
	OUT deployment text, OUT "from" text, OUT "to" text, OUT outcome text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.plan_many(jsonb, timestamptz) IS 'What miosa.rollback_many would do now, for people: a row each, those that would be refused first';
-- What happened, in order: operations, notes, refused calls, edges and instances.
-- miosa.timeline() shows it to people, miosa_timeline() to programs, and
-- miosa_report() as a page; all read miosa.timeline_events().

-- A name is a deployment's, or the id of a fleet: a rollback of many, which the
-- marks of its events have.
CREATE FUNCTION miosa.timeline_scope(name text, OUT deployment_id text, OUT fleet text, OUT began timestamptz)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
BEGIN
	SELECT f.id, f.began_at INTO fleet, began FROM miosa.fleet_runs f WHERE f.id = name AND miosa.sees_fleet(f.tenant_id, f.acts_for);
	IF fleet IS NULL THEN
		deployment_id := miosa.find_deployment(name);
	END IF;
END $$;
COMMENT ON FUNCTION miosa.timeline_scope(text) IS 'The fleet of this id and when it began, else the deployment that a name stands for; raises what miosa.find_deployment() does';

-- The first events of a period.
CREATE FUNCTION miosa.timeline_operations(deployment_id text, fleet text, since timestamptz, until timestamptz, most integer)
RETURNS SETOF miosa.audit_events
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	low bigint;
	high bigint;
BEGIN
	IF fleet IS NOT NULL THEN
		-- Its events are not looked for where it was not at work.
		RETURN QUERY SELECT a.* FROM miosa.fleet_runs f, miosa.audit_events a
			WHERE f.id = fleet AND a.created_at >= f.began_at - interval '1 min' AND a.created_at < coalesce(f.ended_at, 'infinity') + interval '1 min'
				AND a.created_at >= coalesce(since, '-infinity') AND a.created_at < coalesce(until, 'infinity')
				AND a.marks ->> 'fleet' = fleet AND miosa.sees_tenant(a.tenant_id)
			ORDER BY a.created_at, a.deployment_id, a.seq LIMIT most;
		RETURN;
	END IF;
	low := coalesce(miosa.seq_at(deployment_id, since, true), 0);
	high := miosa.seq_at(deployment_id, until, false);
	RETURN QUERY SELECT a.* FROM miosa.audit_events a
		WHERE a.deployment_id = deployment_id AND a.seq >= low AND (high IS NULL OR a.seq < high)
			AND a.created_at >= coalesce(since, '-infinity') AND a.created_at < coalesce(until, 'infinity')
		ORDER BY a.seq LIMIT most;
END $$;
COMMENT ON FUNCTION miosa.timeline_operations(text, text, timestamptz, timestamptz, integer) IS 'The first audit events of a deployment, or of a fleet, in a period';

-- Words.

-- A time that edges took.
CREATE FUNCTION miosa.took(ms double precision) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN ms < 9.95 THEN round(ms::numeric, 1) || ' ms' WHEN ms < 999.5 THEN round(ms::numeric) || ' ms'
	WHEN ms < 59950 THEN round(ms::numeric / 1000, 1) || ' s' ELSE miosa.span(ms * interval '1 ms') END;
COMMENT ON FUNCTION miosa.took(double precision) IS 'Milliseconds in words: 3.2 ms, 340 ms, 1.2 s, 12 min';

-- What an event says of itself besides, whatever that is: nothing is left out
-- because this function does not know its name.
CREATE FUNCTION miosa.mark_words(marks jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT string_agg(translate(m.key, '_', ' ') || CASE
			WHEN m.value = 'true'::jsonb THEN ''
			WHEN jsonb_typeof(m.value) = 'object' THEN coalesce(' ' || (
				SELECT string_agg(translate(o.key, '_', ' ') || CASE WHEN o.value = 'true'::jsonb THEN '' ELSE ' ' || (o.value #>> '{}') END, ', ' ORDER BY o.key)
				FROM jsonb_each(m.value) o WHERE o.value <> 'null'::jsonb), '')
			WHEN jsonb_typeof(m.value) = 'array' THEN ' ' || (
				SELECT coalesce(string_agg(e.value, ', ' ORDER BY e.place), 'none')
				FROM jsonb_array_elements_text(m.value) WITH ORDINALITY e (value, place))
			ELSE ' ' || (m.value #>> '{}') END, '; ' ORDER BY m.key)
	FROM jsonb_each($1) m WHERE m.value <> 'null'::jsonb;
END;
COMMENT ON FUNCTION miosa.mark_words(jsonb) IS 'The marks of an audit event in words; null for none';

-- One event in words.
CREATE FUNCTION miosa.event_words(a miosa.audit_events) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT pg_catalog.concat_ws(' ', coalesce((SELECT s.short FROM miosa.actions() s WHERE s.action = a.action), a.action), CASE
		WHEN a.target_rule = 'none' THEN miosa.version_name(a.deployment_id, a.marks ->> 'version')
		WHEN a.outcome = 'unchanged' THEN miosa.version_name(a.deployment_id, a.target_version_id) || ' again'
		WHEN a.outcome = 'cutover' THEN miosa.version_name(a.deployment_id, a.target_version_id) || ' cutover'
		ELSE coalesce(miosa.version_name(a.deployment_id, a.previous_version_id), 'none') || ' -> '
			|| coalesce(miosa.version_name(a.deployment_id, a.target_version_id), 'none')
			|| CASE a.outcome WHEN 'pending' THEN ' (pending)' ELSE '' END END)
$$;
COMMENT ON FUNCTION miosa.event_words(miosa.audit_events) IS 'An audit event in words: rollback v3 -> v2';

-- Lines about edges.

-- How an operation ended at the edges.
CREATE FUNCTION miosa.convergence_words(l miosa.convergence_log) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT CASE l.state
		WHEN 'converged' THEN pg_catalog.format('last edge %s after %s', l.last_edge, miosa.took(l.last_ms))
		WHEN 'incomplete' THEN pg_catalog.format('only %s of %s edges', l.confirmed, l.edges) || coalesce(' after ' || miosa.took(l.last_ms), '')
		WHEN 'superseded' THEN CASE WHEN l.edges IS NULL THEN 'edges: superseded before it was sent'
			ELSE pg_catalog.format('edges: superseded after %s of %s', l.confirmed, l.edges) END
		WHEN 'no_edges' THEN 'edges: none receives it'
		WHEN 'unmeasured' THEN 'edges: not measured, too many operations'
		ELSE 'edges: unknown, not seen to the end' END
$$;
COMMENT ON FUNCTION miosa.convergence_words(miosa.convergence_log) IS 'How an operation ended at the edges: last edge cdn-7 after 1.2 s';

-- All lines of an operation about edges.  Those of one that waited for instances
-- begin when routes switch.
CREATE FUNCTION miosa.edge_events(l miosa.convergence_log, asked_at timestamptz,
	OUT at timestamptz, OUT rank integer, OUT kind text, OUT place text, OUT what text, OUT details jsonb)
RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
	RETURN QUERY SELECT $1.created_at, 2, 'cutover'::text, ''::text, 'routes switch: its instances are healthy'::text, NULL::jsonb
		WHERE $1.created_at > $2
	UNION ALL
	SELECT $1.created_at + (z.value ->> 'ms')::double precision * interval '1 ms', 3, 'zone', z.key,
		format('zone %s: %s after %s', miosa.short(z.key, 16),
			CASE WHEN (z.value ->> 'confirmed')::integer < (z.value ->> 'edges')::integer
				THEN format('%s of %s edges', z.value ->> 'confirmed', z.value ->> 'edges')
				WHEN (z.value ->> 'edges')::integer = 1 THEN 'its edge'
				WHEN (z.value ->> 'edges')::integer = 2 THEN 'both edges'
				ELSE format('all %s edges', z.value ->> 'edges') END,
			miosa.took((z.value ->> 'ms')::double precision)),
		z.value || jsonb_build_object('zone', z.key)
		FROM jsonb_each($1.zones) z WHERE z.value ->> 'ms' IS NOT NULL
	UNION ALL
	SELECT CASE WHEN $1.last_ms IS NOT NULL THEN $1.created_at + $1.last_ms * interval '1 ms' ELSE coalesce($1.taken_at, $1.created_at) END,
		4, 'edges', '', miosa.convergence_words($1),
		jsonb_build_object('state', $1.state, 'edges', $1.edges, 'confirmed', $1.confirmed, 'last_edge', $1.last_edge,
			'first_ms', $1.first_ms, 'p50_ms', $1.p50_ms, 'p99_ms', $1.p99_ms, 'last_ms', $1.last_ms, 'epoch', $1.epoch);
END $$;
COMMENT ON FUNCTION miosa.edge_events(miosa.convergence_log, timestamptz) IS 'Events of miosa.timeline_events() about the edges of one operation';

-- Instances, as their rows have it: only the last change of each is kept, so
-- they are counted by version and state.
CREATE FUNCTION miosa.instance_events(deployment_id text, since timestamptz, until timestamptz,
	OUT at timestamptz, OUT kind text, OUT place text, OUT what text, OUT details jsonb)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT max(i.updated_at), 'instances', i.version_id || ' ' || i.state,
		format('%s: %s %s', miosa.version_name($1, i.version_id),
			CASE count(*) WHEN 1 THEN format('instance %s', miosa.short(min(i.id), 16)) ELSE format('%s instances', count(*)) END, i.state)
			|| CASE WHEN max(i.updated_at) - min(i.updated_at) >= interval '1 s'
				THEN format(', the first %s before', miosa.span(max(i.updated_at) - min(i.updated_at))) ELSE '' END
			|| coalesce(': ' || max(i.error_message), ''),
		jsonb_build_object('version_id', i.version_id, 'state', i.state, 'count', count(*), 'first_at', miosa.iso(min(i.updated_at)))
	FROM miosa.runtime_instances i
	WHERE i.deployment_id = $1 AND i.updated_at >= $2 AND i.updated_at < $3
	GROUP BY i.version_id, i.state
	UNION ALL
	SELECT c.since, 'capacity', c.version_id, format('%s: instances %s', miosa.version_name($1, c.version_id), c.state),
		jsonb_build_object('version_id', c.version_id, 'state', c.state)
	FROM miosa.capacity c WHERE c.deployment_id = $1 AND c.since >= $2 AND c.since < $3
	UNION ALL
	SELECT c.asked_at, 'capacity', c.version_id, format('%s: a scheduler accepted the request', miosa.version_name($1, c.version_id)),
		jsonb_build_object('version_id', c.version_id, 'state', c.state)
	FROM miosa.capacity c WHERE c.deployment_id = $1 AND c.asked_at >= $2 AND c.asked_at < $3
	UNION ALL
	SELECT c.last_error_at, 'capacity', c.version_id, format('%s: not accepted: %s', miosa.version_name($1, c.version_id), c.last_error),
		jsonb_build_object('version_id', c.version_id, 'state', c.state, 'error', c.last_error)
	FROM miosa.capacity c WHERE c.deployment_id = $1 AND c.last_error_at >= $2 AND c.last_error_at < $3;
END;
COMMENT ON FUNCTION miosa.instance_events(text, timestamptz, timestamptz) IS 'Events of miosa.timeline_events() about instances: the last change of each, counted by version and state, and requests to schedulers';

-- Refused calls that named a deployment.
CREATE FUNCTION miosa.refusal_events(deployment_id text, since timestamptz, until timestamptz,
	OUT at timestamptz, OUT place text, OUT what text, OUT who text, OUT details jsonb)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT r.created_at, r.id::text,
		concat_ws(' ', 'REFUSED', coalesce((SELECT s.short FROM miosa.actions() s WHERE s.action = r.action),
				regexp_replace(r.function_name, '^.*[.]', ''), 'call'),
			'to ' || miosa.version_name($1, r.version_id)) || ': ' || r.condition || CASE WHEN r.count > 1 THEN format(' (%s times)', r.count) ELSE '' END,
		r.actor_type || ':' || r.actor_id,
		jsonb_build_object('condition', r.condition, 'function', r.function_name, 'action', r.action, 'version_id', r.version_id,
			'count', r.count, 'idempotency_key', r.idempotency_key)
	FROM miosa.refusals r
	WHERE r.created_at >= $2 AND r.created_at < $3 AND r.deployment_id = $1
		AND CASE WHEN r.tenant_id IS NULL THEN miosa.sees_all_tenants() ELSE miosa.sees_tenant(r.tenant_id) END;
END;
COMMENT ON FUNCTION miosa.refusal_events(text, timestamptz, timestamptz) IS 'Events of miosa.timeline_events() about refused calls';

-- The first events of a period, in order.  Of a fleet, those of its operations.
-- Edges may acknowledge in the period what was asked for up to a day before it.
CREATE FUNCTION miosa.timeline_events(deployment_id text, fleet text, since timestamptz, until timestamptz, most integer,
	OUT at timestamptz, OUT deployment text, OUT seq bigint, OUT rank integer, OUT kind text, OUT place text, OUT what text,
	OUT who text, OUT reason text, OUT details jsonb)
RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	low CONSTANT timestamptz := coalesce(since, '-infinity');
	high CONSTANT timestamptz := coalesce(until, 'infinity');
BEGIN
	RETURN QUERY
		SELECT e.at, e.deployment_id, e.seq, e.rank, e.kind, e.place, e.what, e.who, e.reason, e.details
		FROM (
			SELECT a.created_at AS at, a.deployment_id, a.seq, 1 AS rank, CASE a.target_rule WHEN 'none' THEN 'note' ELSE 'operation' END AS kind,
				''::text AS place, miosa.event_words(a) AS what, a.actor_type || ':' || a.actor_id AS who, a.reason,
				jsonb_build_object('action', a.action, 'outcome', a.outcome, 'previous_version_id', a.previous_version_id,
					'target_version_id', a.target_version_id, 'idempotency_key', a.idempotency_key, 'marks', a.marks) AS details
			FROM miosa.timeline_operations(deployment_id, fleet, low, high, most) a
			UNION ALL
			SELECT g.at, l.deployment_id, l.seq, g.rank, g.kind, g.place, g.what, NULL, NULL, g.details
			FROM (SELECT o.* FROM miosa.timeline_operations(deployment_id, fleet, low, high, most) o
				UNION ALL
				SELECT o.* FROM miosa.timeline_operations(deployment_id, fleet, low - interval '1 day', low, NULL) o
				WHERE low > '-infinity') a
			JOIN miosa.convergence_log l ON l.deployment_id = a.deployment_id AND l.seq = a.seq
				AND l.created_at + coalesce(l.last_ms, 0) * interval '1 ms' >= low - interval '1 min'
			CROSS JOIN LATERAL miosa.edge_events(l, a.created_at) g
			WHERE g.at >= low AND g.at < high
			UNION ALL
			SELECT a.created_at, a.deployment_id, a.seq, 4, 'edges', '', 'edges: not recorded', NULL, NULL, '{"state": "unknown"}'
			FROM miosa.timeline_operations(deployment_id, fleet, low, high, most) a
			WHERE a.target_rule <> 'none' AND a.outcome <> 'pending' AND a.created_at < clock_timestamp() - interval '15 s'
				AND NOT EXISTS (SELECT FROM miosa.convergence_log l WHERE l.deployment_id = a.deployment_id AND l.seq = a.seq)
			UNION ALL
			SELECT i.at, deployment_id, NULL, 5, i.kind, i.place, i.what, NULL, NULL, i.details
			FROM miosa.instance_events(deployment_id, low, high) i
			UNION ALL
			SELECT r.at, deployment_id, NULL, 6, 'refusal', r.place, r.what, r.who, NULL, r.details
			FROM miosa.refusal_events(deployment_id, low, high) r) e
		ORDER BY e.at, e.deployment_id, e.seq NULLS LAST, e.rank, e.kind COLLATE "C", e.place COLLATE "C" LIMIT most;
END $$;
COMMENT ON FUNCTION miosa.timeline_events(text, text, timestamptz, timestamptz, integer) IS 'The first events of a deployment, or of a fleet, in a period, in order: what miosa.timeline() and miosa_timeline() show';

-- List the events, each with its marks and its reason on lines below it, and at
-- the end how things are now.
CREATE FUNCTION miosa.timeline_rows(deployment text, since timestamptz DEFAULT now() - interval '1 day', until timestamptz DEFAULT NULL,
	OUT at text, OUT op text, OUT what text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
	width CONSTANT integer := 48;
	most CONSTANT integer := 2000;
	scope record;
	event record;
	n integer := 0;
	line text;
	who text;
BEGIN
	SELECT * INTO scope FROM miosa.timeline_scope($1);
	FOR event IN SELECT * FROM miosa.timeline_events(scope.deployment_id, scope.fleet, $2, $3, most + 1) LOOP
		at := to_char(event.at, 'MM-DD HH24:MI:SS.MS');
		n := n + 1;
		IF n > most THEN
			op := '';
			what := 'more: pass a later "since"';
			RETURN NEXT;
			RETURN;
		END IF;
		op := coalesce('#' || event.seq, '');
		line := CASE WHEN scope.fleet IS NOT NULL THEN miosa.short(event.deployment, 16) || ': ' ELSE '' END || event.what;
		who := 'by ' || miosa.short(regexp_replace(event.who, '^[a-z_]+:', ''), 24);
		what := miosa.clip(CASE WHEN length(line || who) < width THEN concat_ws(' ', line, who) ELSE line END, width);
		RETURN NEXT;
		at := '';
		op := '';
		IF length(line || who) >= width THEN
			what := '  ' || who;
			RETURN NEXT;
		END IF;
		FOR what IN SELECT '  ' || w.line FROM miosa.wrap(miosa.mark_words(CASE WHEN event.kind IN ('operation', 'note')
			THEN (event.details -> 'marks') - 'fleet' - 'version' END), width - 2, 3) w (line) LOOP
			RETURN NEXT;
		END LOOP;
		FOR what IN SELECT '  ' || w.line FROM miosa.wrap(event.reason, width - 2, 5) w (line) LOOP
			RETURN NEXT;
		END LOOP;
	END LOOP;
	IF n = 0 THEN
		at := '';
		op := '';
		what := 'nothing happened in this period';
		RETURN NEXT;
	END IF;
	IF scope.deployment_id IS NOT NULL AND coalesce($3, 'infinity') > now() THEN
		at := '';
		op := 'now';
		FOR what IN SELECT w.line FROM miosa.verdict_rows(scope.deployment_id) v, miosa.wrap(v.text, width, 2) w (line) LOOP
			RETURN NEXT;
			op := '';
		END LOOP;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.timeline_rows(text, timestamptz, timestamptz) IS 'Rows of miosa.timeline()';

-- Enter timeline_rows() from C.
CREATE FUNCTION miosa.timeline(deployment text, since timestamptz DEFAULT now() - interval '1 day', until timestamptz DEFAULT NULL,
	OUT at text, OUT op text, OUT what text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.timeline(text, timestamptz, timestamptz) IS 'What happened to a deployment, or in a fleet, in order, for people, in the session''s time zone: operations, refused calls, edges, instances';

-- Return a page of events.  A cursor is a time, and how many events of that time
-- were returned.
CREATE FUNCTION @extschema@.miosa_timeline(deployment_id text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
	"limit" integer DEFAULT 50, cursor text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_variable
DECLARE
	place text[];
	scope record;
	start timestamptz := since;
	skip integer := 0;
	result jsonb;
BEGIN
	PERFORM miosa.check_id(deployment_id, 'deployment id');
	PERFORM miosa.check_limit("limit", 200);
	place := miosa.read_cursor(cursor, 'timeline', '(-?[0-9]{1,17}):([0-9]{1,6})');
	SELECT * INTO scope FROM miosa.timeline_scope(deployment_id);
	IF place IS NOT NULL THEN
		start := 'epoch'::timestamptz + place[1]::bigint * '1 microsecond'::interval;
		skip := place[2];
	END IF;
	-- One event more than the limit shows whether there is a next page.
	SELECT jsonb_build_object(
			'data', coalesce(jsonb_agg(jsonb_build_object(
				'at', miosa.iso(p.at), 'deployment_id', p.deployment, 'operation_id', p.deployment || '#' || p.seq, 'kind', p.kind,
				'text', p.what, 'actor', p.who, 'reason', p.reason, 'details', p.details) ORDER BY p.n) FILTER (WHERE p.n <= "limit"), '[]'),
			'next_cursor', CASE WHEN count(*) > "limit" THEN miosa.write_cursor('timeline',
				(max(extract(epoch FROM p.at) * 1000000) FILTER (WHERE p.n = "limit"))::bigint || ':'
				|| max(p.same) FILTER (WHERE p.n = "limit")) END)
		INTO result
		FROM (SELECT e.*, row_number() OVER o - skip AS n, row_number() OVER (PARTITION BY e.at ORDER BY e.ord) AS same
			FROM miosa.timeline_events(scope.deployment_id, scope.fleet, start, until, "limit" + 1 + skip)
				WITH ORDINALITY AS e (at, deployment, seq, rank, kind, place, what, who, reason, details, ord)
			WINDOW o AS (ORDER BY e.ord)) p
		WHERE p.n > 0;
	RETURN result;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_timeline(text, timestamptz, timestamptz, integer, text) IS 'What happened to a deployment, or in a fleet, in order: {"data": [event...], "next_cursor"}';
-- What miosa_report() shows, row by row; src/api/report.c makes the page.  All
-- values come as text, as people read them, and positions on axes as numbers.

-- The subject and the period; without one what happened in the last day, or all of
-- a fleet.
CREATE FUNCTION miosa.report_head(name text, since timestamptz, until timestamptz, OUT deployment_id text, OUT fleet text,
	OUT began timestamptz, OUT ended timestamptz, OUT title text, OUT verdict text, OUT period text, OUT zone text, OUT made text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	format CONSTANT text := 'YYYY-MM-DD HH24:MI:SS';
	argument text;
BEGIN
	SELECT s.deployment_id, s.fleet, s.began INTO deployment_id, fleet, began FROM miosa.timeline_scope(name) s;
	ended := coalesce(until, clock_timestamp());
	began := coalesce(since, began - interval '1 min', ended - interval '1 day');
	IF NOT isfinite(began) OR NOT isfinite(ended) OR began >= ended THEN
		argument := CASE WHEN until IS NULL OR isfinite(until) AND since IS NOT NULL THEN 'since' ELSE 'until' END;
		PERFORM miosa.refuse_value('argument', argument, CASE argument WHEN 'since' THEN since ELSE until END::text,
			'The period must have a beginning, and an end after it.', format('For example the last hour: SELECT miosa_report(%L, now() - interval ''1 hour'');', miosa.show(name)));
	END IF;
	-- Without a beginning: a little before the first event.
	IF since IS NULL THEN
		began := coalesce((SELECT date_trunc('second', greatest(began, e.at - (ended - e.at) / 20 - interval '1 s'))
			FROM miosa.timeline_events(deployment_id, fleet, began, ended, 1) e), began);
	END IF;
	title := coalesce('fleet ' || fleet, (SELECT format('%s (%s)', p.name, p.id) FROM miosa.deployments p WHERE p.id = deployment_id));
	IF deployment_id IS NOT NULL THEN
		verdict := (SELECT v.text FROM miosa.verdict_rows(deployment_id) v);
	END IF;
	period := to_char(began, format) || ' to ' || to_char(ended, format);
	zone := current_setting('TimeZone') || to_char(ended, ' ("UTC"OF)');
	made := to_char(clock_timestamp(), format);
END $$;
COMMENT ON FUNCTION miosa.report_head(text, timestamptz, timestamptz) IS 'The subject and the period of miosa_report()';

-- The table of events.
CREATE FUNCTION miosa.report_events(deployment_id text, fleet text, since timestamptz, until timestamptz, most integer,
	OUT at text, OUT op text, OUT kind text, OUT what text, OUT who text, OUT why text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
	SELECT to_char(e.at, 'YYYY-MM-DD HH24:MI:SS.MS'), CASE WHEN $2 IS NULL THEN '#' || e.seq ELSE e.deployment || '#' || e.seq END, e.kind, e.what, e.who,
		concat_ws('; ', CASE WHEN e.kind IN ('operation', 'note') THEN miosa.mark_words((e.details -> 'marks') - 'fleet' - 'version') END, e.reason)
	FROM miosa.timeline_events($1, $2, $3, $4, $5) WITH ORDINALITY
		AS e (at, deployment, seq, rank, kind, place, what, who, reason, details, ord) ORDER BY e.ord
$$;
COMMENT ON FUNCTION miosa.report_events(text, text, timestamptz, timestamptz, integer) IS 'Rows of the timeline in miosa_report()';

-- Which version routes led to, and when: positions in parts of the period.  One
-- that waited for instances served when routes switched, if that is recorded.
CREATE FUNCTION miosa.report_served(deployment_id text, since timestamptz, until timestamptz,
	OUT start double precision, OUT "end" double precision, OUT version text, OUT began text, OUT ended text, OUT color integer)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
	WITH events AS (
		(SELECT a.seq, a.created_at, a.previous_version_id, a.target_version_id, a.outcome FROM miosa.audit_events a
			WHERE a.deployment_id = $1 AND a.outcome IN ('changed', 'pending', 'cutover') AND a.created_at < $2 ORDER BY a.seq DESC LIMIT 20)
		UNION ALL
		SELECT a.seq, a.created_at, a.previous_version_id, a.target_version_id, a.outcome FROM miosa.timeline_operations($1, NULL, $2, $3, 1000) a
			WHERE a.outcome IN ('changed', 'pending', 'cutover')
	), moves AS (
		SELECT e.seq, CASE e.outcome WHEN 'pending' THEN l.created_at ELSE e.created_at END AS at, e.target_version_id AS version_id
		FROM events e LEFT JOIN miosa.convergence_log l ON e.outcome = 'pending' AND l.deployment_id = $1 AND l.seq = e.seq AND l.created_at > e.created_at
		UNION ALL
		-- What the first event found.
		(SELECT 0, '-infinity', e.previous_version_id FROM events e ORDER BY e.seq LIMIT 1)
		UNION ALL
		SELECT 0, '-infinity', coalesce(p.serving_version_id, p.active_version_id) FROM miosa.deployments p
			WHERE p.id = $1 AND NOT EXISTS (SELECT FROM events)
	), spans AS (
		SELECT m.version_id, greatest(m.at, $2) AS began, least(coalesce(lead(m.at) OVER (ORDER BY m.at, m.seq), 'infinity'), $3) AS ended
		FROM moves m WHERE m.at IS NOT NULL
	)
	SELECT (extract(epoch FROM s.began - $2) / extract(epoch FROM $3 - $2))::double precision,
		(extract(epoch FROM s.ended - $2) / extract(epoch FROM $3 - $2))::double precision,
		coalesce(miosa.version_name($1, s.version_id), 'none'), to_char(s.began, 'YYYY-MM-DD HH24:MI:SS.MS'), to_char(s.ended, 'YYYY-MM-DD HH24:MI:SS.MS'),
		CASE WHEN s.version_id IS NULL THEN 0 ELSE 1 + (dense_rank() OVER (ORDER BY s.version_id IS NULL, miosa.version_name($1, s.version_id)))::integer % 6 END
	FROM spans s WHERE s.ended > s.began ORDER BY s.began
$$;
COMMENT ON FUNCTION miosa.report_served(text, timestamptz, timestamptz) IS 'Bars of miosa_report(): which version routes led to, and when';

-- How edges converged: an operation a row, or all operations of a fleet in one.
-- points: milliseconds until each tenth; of a fleet, until all edges of each
-- tenth of its deployments had them, from its first operation on.
CREATE FUNCTION miosa.report_edges(deployment_id text, fleet text, since timestamptz, until timestamptz,
	OUT title text, OUT at text, OUT state text, OUT confirmed text, OUT first_ms text, OUT p50_ms text, OUT p99_ms text, OUT last_ms text,
	OUT last_edge text, OUT points text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
	SELECT '#' || l.seq || ' ' || miosa.event_words(a), to_char(l.created_at, 'YYYY-MM-DD HH24:MI:SS.MS'), l.state,
		l.confirmed || ' of ' || l.edges, l.first_ms::text, l.p50_ms::text, l.p99_ms::text, l.last_ms::text, l.last_edge,
		CASE WHEN l.confirmed > 0 THEN array_to_string(l.tenths_ms, ' ') END
	FROM (SELECT o AS event FROM miosa.timeline_operations($1, NULL, $3, $4, 2000) o WHERE $2 IS NULL AND o.target_rule <> 'none' ORDER BY o.seq DESC LIMIT 50) n
	CROSS JOIN LATERAL (SELECT (n.event).*) a
	LEFT JOIN miosa.convergence_log l ON l.deployment_id = a.deployment_id AND l.seq = a.seq
	WHERE l.seq IS NOT NULL
	UNION ALL
	SELECT 'fleet ' || $2, to_char(min(f.began), 'YYYY-MM-DD HH24:MI:SS.MS'), string_agg(DISTINCT f.state, ', '),
		count(f.ms) || ' of ' || count(*), min(f.ms)::text, (percentile_disc(0.5) WITHIN GROUP (ORDER BY f.ms))::text,
		(percentile_disc(0.99) WITHIN GROUP (ORDER BY f.ms))::text, max(f.ms)::text, (array_agg(f.last_edge ORDER BY f.ms DESC NULLS LAST))[1],
		array_to_string(percentile_disc('{0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1}'::double precision[]) WITHIN GROUP (ORDER BY f.ms), ' ')
	FROM (SELECT coalesce(l.state, 'unknown') AS state, l.last_edge, min(a.created_at) OVER () AS began,
			CASE WHEN l.state = 'converged' THEN round(extract(epoch FROM l.created_at - min(a.created_at) OVER ()) * 1000 + l.last_ms::numeric, 1) END AS ms
		FROM miosa.timeline_operations(NULL, $2, $3, $4, NULL) a
		LEFT JOIN miosa.convergence_log l ON l.deployment_id = a.deployment_id AND l.seq = a.seq WHERE $2 IS NOT NULL) f
	HAVING count(*) > 0
$$;
COMMENT ON FUNCTION miosa.report_edges(text, text, timestamptz, timestamptz) IS 'How edges converged, for miosa_report(): the newest 50 operations of a deployment, or a fleet as a whole';

-- Instances as they are now.
CREATE FUNCTION miosa.report_instances(deployment_id text, OUT version text, OUT state text, OUT n text, OUT first_at text, OUT last_at text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
	SELECT miosa.version_name($1, i.version_id), i.state, count(*)::text,
		to_char(min(i.updated_at), 'YYYY-MM-DD HH24:MI:SS.MS'), to_char(max(i.updated_at), 'YYYY-MM-DD HH24:MI:SS.MS')
	FROM miosa.runtime_instances i WHERE i.deployment_id = $1 GROUP BY i.version_id, i.state ORDER BY 1, 2
$$;
COMMENT ON FUNCTION miosa.report_instances(text) IS 'Instances by version and state, for miosa_report()';

-- Healthy instances over time, a version a row.  points: pairs of a part of the
-- period and the number from there on; one for each of 600 pieces of the period.
CREATE FUNCTION miosa.report_capacity(deployment_id text, since timestamptz, until timestamptz, OUT version text, OUT first_at text,
	OUT most bigint, OUT most_at text, OUT last bigint, OUT color integer, OUT points text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
	WITH changes AS (
		SELECT i.version_id, i.healthy_at AS at, 1 AS step FROM miosa.runtime_instances i WHERE i.deployment_id = $1 AND i.healthy_at < $3
		UNION ALL
		SELECT i.version_id, i.healthy_until, -1 FROM miosa.runtime_instances i WHERE i.deployment_id = $1 AND i.healthy_at IS NOT NULL AND i.healthy_until < $3
	), counts AS (
		SELECT c.version_id, greatest(c.at, $2) AS at, (sum(sum(c.step)) OVER (PARTITION BY c.version_id ORDER BY greatest(c.at, $2)))::bigint AS n
		FROM changes c GROUP BY c.version_id, greatest(c.at, $2)
	), pieces AS (
		SELECT DISTINCT ON (c.version_id, p.piece) c.version_id, c.at, c.n, p.part
		FROM counts c CROSS JOIN LATERAL (SELECT q.part, floor(q.part * 600) AS piece
			FROM (SELECT extract(epoch FROM c.at - $2) / extract(epoch FROM $3 - $2) AS part) q) p
		ORDER BY c.version_id, p.piece, c.at DESC
	)
	SELECT miosa.version_name($1, m.version_id), to_char(m.first_at, 'YYYY-MM-DD HH24:MI:SS.MS'), m.most, to_char(m.most_at, 'YYYY-MM-DD HH24:MI:SS.MS'), m.last,
		1 + (dense_rank() OVER (ORDER BY miosa.version_name($1, m.version_id)))::integer % 6,
		(SELECT string_agg(round(p.part, 5) || ' ' || p.n, ' ' ORDER BY p.at) FROM pieces p WHERE p.version_id = m.version_id)
	FROM (SELECT c.version_id, min(c.at) AS first_at, max(c.n) AS most, (array_agg(c.at ORDER BY c.n DESC, c.at))[1] AS most_at,
			(array_agg(c.n ORDER BY c.at DESC))[1] AS last
		FROM counts c GROUP BY c.version_id) m
	WHERE m.most > 0 ORDER BY m.first_at, 1 LIMIT 20
$$;
COMMENT ON FUNCTION miosa.report_capacity(text, timestamptz, timestamptz) IS 'Healthy instances of each version over time, for miosa_report(); of those that ended 7 days ago nothing is known';

-- Make the page.
CREATE FUNCTION @extschema@.miosa_report(deployment_or_fleet text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'miosa_report';
COMMENT ON FUNCTION @extschema@.miosa_report(text, timestamptz, timestamptz) IS 'What happened to a deployment, or in a fleet, as one HTML page that needs nothing else';
-- Statistics of endpoints and of the dispatcher.
--
-- Counters are in shared memory, and begin when the server starts or
-- miosa_reset_stats() is called.  The views are for monitoring: pg_monitor
-- may read them, so they show no secret, and no address but that in an error.

-- Read the statistics of endpoints from shared memory.
CREATE FUNCTION miosa.endpoint_stats(
	OUT endpoint text, OUT generation bigint, OUT acked_epoch bigint, OUT acked_at timestamptz, OUT resyncing boolean,
	OUT health text, OUT breaker text, OUT failures integer, OUT last_status integer, OUT last_error text,
	OUT last_error_at timestamptz, OUT last_success_at timestamptz, OUT next_try_at timestamptz,
	OUT sent bigint, OUT succeeded bigint, OUT failed bigint, OUT retried bigint,
	OUT p50_ms float8, OUT p95_ms float8, OUT p99_ms float8)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_endpoint_stats';
COMMENT ON FUNCTION miosa.endpoint_stats() IS 'Statistics in shared memory of each endpoint that the dispatcher serves; use miosa.stat_endpoint';

-- Count the entries of endpoints in shared memory.
CREATE FUNCTION miosa.endpoint_entries(OUT taken integer, OUT size integer)
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_endpoint_entries';
COMMENT ON FUNCTION miosa.endpoint_entries() IS 'Number of entries for endpoints in shared memory, and of those that are taken, by all databases';

-- The states that need somebody.
CREATE FUNCTION miosa.endpoint_fails(state text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN state IN ('backing off', 'misconfigured', 'gone', 'unverified');
COMMENT ON FUNCTION miosa.endpoint_fails(text) IS 'Whether an endpoint in this state of miosa.stat_endpoint fails';

CREATE VIEW miosa.stat_endpoint WITH (security_barrier) AS
	SELECT e.name, e.zone, coalesce(e.stage, a.stage) AS stage, e.adapter, e.enabled,
		CASE
			WHEN NOT e.enabled THEN 'disabled'
			WHEN miosa.endpoint_fails(h.health) THEN h.health
			WHEN h.resyncing THEN 'resyncing'
			ELSE h.health
		END AS state,
		s.breaker,
		b.epochs AS epochs_behind,
		CASE WHEN b.epochs > 0 THEN (
			SELECT g.created_at FROM miosa.route_log g WHERE g.epoch > h.acked_epoch ORDER BY g.epoch LIMIT 1)
		END AS undelivered_since,
		round(s.p50_ms::numeric, 3) AS p50_ms, round(s.p95_ms::numeric, 3) AS p95_ms,
		round(s.p99_ms::numeric, 3) AS p99_ms,
		coalesce(s.sent, 0) AS sent, coalesce(s.succeeded, 0) AS succeeded,
		coalesce(s.failed, 0) AS failed, coalesce(s.retried, 0) AS retried,
		h.last_status, h.last_error, h.last_error_at, h.last_success_at, h.next_try_at
	FROM miosa.endpoints e
	JOIN miosa.adapters a ON a.name = e.adapter
	LEFT JOIN miosa.endpoint_stats() s ON s.endpoint = e.name AND e.enabled
	LEFT JOIN LATERAL (
		SELECT * FROM miosa.endpoint_state t WHERE t.endpoint = e.name AND s.endpoint IS NULL OFFSET 0) t ON true
	LEFT JOIN miosa.dispatcher_state d ON true
	-- Without a place in shared memory the row has to do.
	CROSS JOIN LATERAL (
		SELECT s.acked_epoch, s.resyncing, s.health, s.last_status, s.last_error, s.last_error_at, s.last_success_at,
			s.next_try_at
		WHERE s.endpoint IS NOT NULL
		UNION ALL
		SELECT coalesce(t.acked_epoch, 0), t.resync_after IS NOT NULL, coalesce(t.health, 'new'), t.last_status,
			t.last_error, t.last_error_at, t.last_success_at, CASE WHEN e.enabled THEN t.next_try_at END
		WHERE s.endpoint IS NULL) h
	-- Changes of an earlier term were delivered by another server.
	CROSS JOIN LATERAL (
		SELECT CASE WHEN e.enabled AND a.role IN ('edge', 'hook') AND NOT a.alerts THEN greatest(0, d.last_epoch - greatest(h.acked_epoch, miosa.first_epoch(d.term))) END AS epochs) b
	WHERE (SELECT miosa.sees_endpoints());
COMMENT ON VIEW miosa.stat_endpoint IS 'State and statistics of every endpoint; counters begin when it is added or enabled, the dispatcher starts or miosa_reset_stats() is called';
COMMENT ON COLUMN miosa.stat_endpoint.name IS 'Endpoint';
COMMENT ON COLUMN miosa.stat_endpoint.zone IS 'Its zone';
COMMENT ON COLUMN miosa.stat_endpoint.stage IS '0: receives changes first (routers), 1: after those (caches)';
COMMENT ON COLUMN miosa.stat_endpoint.adapter IS 'Its adapter';
COMMENT ON COLUMN miosa.stat_endpoint.enabled IS 'Whether requests are sent to it';
COMMENT ON COLUMN miosa.stat_endpoint.state IS 'disabled, new (nothing was sent since it was set up), healthy, resyncing (receives everything), backing off, misconfigured, gone (answers that it is gone) or unverified (does not return its marker)';
COMMENT ON COLUMN miosa.stat_endpoint.breaker IS 'closed (requests are sent), open (none is, until next_try_at) or half open (one is tried), for the endpoint or for its whole server; null: not known';
COMMENT ON COLUMN miosa.stat_endpoint.epochs_behind IS 'Route changes since the newest up to which it has acknowledged all, also those that do not concern it; null for those that receive no routes';
COMMENT ON COLUMN miosa.stat_endpoint.undelivered_since IS 'Time of the oldest change that it lacks; null when it lacks none';
COMMENT ON COLUMN miosa.stat_endpoint.p50_ms IS 'Milliseconds from the operation to the acknowledgement: half of the changes took no longer';
COMMENT ON COLUMN miosa.stat_endpoint.p95_ms IS 'The same for 95 of 100';
COMMENT ON COLUMN miosa.stat_endpoint.p99_ms IS 'The same for 99 of 100';
COMMENT ON COLUMN miosa.stat_endpoint.sent IS 'Requests sent, also those that read or write its marker';
COMMENT ON COLUMN miosa.stat_endpoint.succeeded IS 'Requests that succeeded';
COMMENT ON COLUMN miosa.stat_endpoint.failed IS 'Requests that failed, for whatever reason';
COMMENT ON COLUMN miosa.stat_endpoint.retried IS 'Requests sent again after a failure';
COMMENT ON COLUMN miosa.stat_endpoint.last_status IS 'Last HTTP status; null when there was none';
COMMENT ON COLUMN miosa.stat_endpoint.last_error IS 'Last failure, for people; it stays after a success';
COMMENT ON COLUMN miosa.stat_endpoint.last_error_at IS 'When that was';
COMMENT ON COLUMN miosa.stat_endpoint.last_success_at IS 'When a request last succeeded';
COMMENT ON COLUMN miosa.stat_endpoint.next_try_at IS 'When an endpoint that backs off is tried again';

CREATE VIEW miosa.stat_dispatcher WITH (security_barrier) AS
	SELECT d.state, d.pid, d.since, t.term, t.last_epoch AS epoch, d.passes, d.sent,
		d.acknowledged AS succeeded, d.failed, d.retried, d.in_flight, d.pending,
		least((SELECT o.created_at FROM miosa.outbox o ORDER BY o.xid LIMIT 1),
			(SELECT min(s.undelivered_since) FROM miosa.stat_endpoint s)) AS oldest_undelivered,
		d.notified, d.errors, miosa.pause_reason() AS paused, d.last_pass_at, d.stalled, d.error, d.refusals_dropped, d.unmeasured
	FROM miosa.dispatcher() d LEFT JOIN miosa.dispatcher_state t ON true
	WHERE (SELECT miosa.sees_endpoints());
COMMENT ON VIEW miosa.stat_dispatcher IS 'State and statistics of the dispatcher of this database; one row';
COMMENT ON COLUMN miosa.stat_dispatcher.state IS 'not preloaded, none, starting, running, paused, absent, aside (lets a command on the database pass) or stopped';
COMMENT ON COLUMN miosa.stat_dispatcher.pid IS 'Its process';
COMMENT ON COLUMN miosa.stat_dispatcher.since IS 'When that was started';
COMMENT ON COLUMN miosa.stat_dispatcher.term IS 'How often the route log was taken over, by another server or after a restore';
COMMENT ON COLUMN miosa.stat_dispatcher.epoch IS 'Newest route change';
COMMENT ON COLUMN miosa.stat_dispatcher.passes IS 'Passes that found something to do';
COMMENT ON COLUMN miosa.stat_dispatcher.sent IS 'Requests sent';
COMMENT ON COLUMN miosa.stat_dispatcher.succeeded IS 'Requests that succeeded';
COMMENT ON COLUMN miosa.stat_dispatcher.failed IS 'Requests that failed';
COMMENT ON COLUMN miosa.stat_dispatcher.retried IS 'Requests sent again after a failure';
COMMENT ON COLUMN miosa.stat_dispatcher.in_flight IS 'Requests without an answer yet';
COMMENT ON COLUMN miosa.stat_dispatcher.pending IS 'Deployments whose route an endpoint has not acknowledged, summed over all endpoints';
COMMENT ON COLUMN miosa.stat_dispatcher.oldest_undelivered IS 'Time of the oldest change that some enabled endpoint lacks; null when none lacks any';
COMMENT ON COLUMN miosa.stat_dispatcher.notified IS 'Notifications sent';
COMMENT ON COLUMN miosa.stat_dispatcher.errors IS 'Passes that ended in an error; the server''s log has it';
COMMENT ON COLUMN miosa.stat_dispatcher.paused IS 'Why it does not deliver before miosa_resume(); null when it does';
COMMENT ON COLUMN miosa.stat_dispatcher.last_pass_at IS 'When it last looked for work; at least every second while it runs';
COMMENT ON COLUMN miosa.stat_dispatcher.stalled IS 'Whether that is more than 10 seconds ago, so that it must be stopped, stuck or failing';
COMMENT ON COLUMN miosa.stat_dispatcher.error IS 'Why its passes fail, or why it does not start; null after a pass';
COMMENT ON COLUMN miosa.stat_dispatcher.refusals_dropped IS 'Refused calls that miosa.refusals lacks, because there were too many at once';
COMMENT ON COLUMN miosa.stat_dispatcher.unmeasured IS 'Operations whose times miosa.convergence_log lacks, because there were too many at once';

-- Reset counters in shared memory.
CREATE FUNCTION miosa.reset_stats(endpoint text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_reset_stats';
COMMENT ON FUNCTION miosa.reset_stats(text) IS 'Sets the counters of one endpoint to zero; null: those of all endpoints and of the dispatcher';

-- Check the name of the endpoint, and reset its counters.
CREATE FUNCTION @extschema@.miosa_reset_stats(endpoint text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF endpoint IS NOT NULL THEN
		PERFORM miosa.need_endpoint(endpoint);
	END IF;
	PERFORM miosa.reset_stats(endpoint);
	-- A transaction that writes nothing may do this too.
	IF NOT current_setting('transaction_read_only')::boolean THEN
		PERFORM miosa.note_configuration('dispatcher', coalesce(endpoint, current_database()), 'reset_stats', NULL, NULL, NULL);
	END IF;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_reset_stats(text) IS 'Sets the counters of miosa.stat_endpoint and miosa.stat_dispatcher to zero';
-- Retention: rows that are not needed any more are deleted, few at a time.
--
-- pg_cron and the dispatcher do it the same way: they list a page of rows that
-- have expired, then delete them by their place in the table, at most 1,000
-- rows and 50 ms a transaction.  Each row is judged again when it is deleted,
-- and a locked one is left.  So no transaction waits for the purge, and it
-- never reads again what it has deleted, not even while an old snapshot keeps
-- those rows.
--
-- Expiry is decided when something is read, so a late purge changes no answer.

CREATE TABLE miosa.maintenance (
	only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
	began_at timestamptz NOT NULL,
	ended_at timestamptz NOT NULL,
	removed bigint NOT NULL,
	run_by text NOT NULL
);
COMMENT ON TABLE miosa.maintenance IS 'Last run of miosa_maintain(); no row before the first';
COMMENT ON COLUMN miosa.maintenance.only_row IS 'Always true';
COMMENT ON COLUMN miosa.maintenance.began_at IS 'When it began';
COMMENT ON COLUMN miosa.maintenance.ended_at IS 'When it had finished';
COMMENT ON COLUMN miosa.maintenance.removed IS 'How many rows it deleted';
COMMENT ON COLUMN miosa.maintenance.run_by IS 'Role that ran it';

-- Events of a tenant that is gone are kept as long as any plan keeps them.
CREATE FUNCTION miosa.audit_retention(tenant_id text) RETURNS interval
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT coalesce((SELECT s.audit_retention FROM miosa.tenants t JOIN miosa.plans s ON s.name = t.plan WHERE t.id = $1),
		(SELECT max(s.audit_retention) FROM miosa.plans s))
$$;
COMMENT ON FUNCTION miosa.audit_retention(text) IS 'How long the audit events of a tenant are kept, by its plan';

-- How a deployment came to be as it is stays known as long as it is there.
CREATE FUNCTION miosa.is_newest_event(deployment_id text, seq bigint) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT NOT EXISTS (SELECT FROM miosa.audit_events e WHERE e.deployment_id = $1 AND e.seq > $2)
		AND EXISTS (SELECT FROM miosa.deployments p WHERE p.id = $1)
$$;
COMMENT ON FUNCTION miosa.is_newest_event(text, bigint) IS 'Whether this is the newest audit event of a deployment that exists; it is kept for ever';

-- Instances that ended a week ago, or have sent no heartbeat for as long.
-- Where heartbeats have no timeout, a healthy one is never too old.  The body is
-- quoted for the reason that read.sql gives.
CREATE FUNCTION miosa.instance_expired(i miosa.runtime_instances, at timestamptz, horizon timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN miosa.has_ended(i.state) AND i.updated_at < at THEN true
		ELSE coalesce(i.last_heartbeat_at, i.updated_at) < CASE i.state WHEN 'healthy' THEN least(at, horizon) ELSE at END END
$$;
COMMENT ON FUNCTION miosa.instance_expired(miosa.runtime_instances, timestamptz, timestamptz) IS 'Whether an instance ended, or sent its last heartbeat, before a time; for a healthy one it must be before the heartbeat horizon as well';

-- A resync has edges remove such a host.  One that is routed again is not
-- removed anyway, so its row may stay for a while.
CREATE FUNCTION miosa.removed_host_expired(host text, removed_at timestamptz, before timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
	RETURN removed_at < before - '30 days'::interval
		OR EXISTS (SELECT FROM miosa.domains d WHERE d.fqdn = $1 AND d.state = 'active')
		OR miosa.managed_deployment($1) IS NOT NULL;
END $$;
COMMENT ON FUNCTION miosa.removed_host_expired(text, timestamptz, timestamptz) IS 'Whether a host was removed more than 30 days before a time, or is routed again';

-- A day longer than the trigger refusals_keep asks for.
CREATE FUNCTION miosa.refusals_kept() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN '31 days'::interval;
COMMENT ON FUNCTION miosa.refusals_kept() IS 'How long refused calls are kept';

-- As long as any shipped plan keeps audit events.
CREATE FUNCTION miosa.fleets_kept() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN '400 days'::interval;
COMMENT ON FUNCTION miosa.fleets_kept() IS 'How long fleets are kept, and their keys';

-- A page of fleets for miosa.expired_rows().
CREATE FUNCTION miosa.expired_fleets(place text, until timestamptz, since interval, most integer, OUT rows tid[], OUT next text)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT coalesce(array_agg(k.ctid), '{}'), CASE WHEN count(*) >= $4 THEN max(k.began_at)::text END
	FROM (SELECT f.ctid, f.began_at FROM miosa.fleet_runs f
		WHERE f.began_at > coalesce($1::timestamptz, $2 - $3, '-infinity') AND f.began_at <= $2
		ORDER BY f.began_at FETCH FIRST ($4) ROWS WITH TIES) k
$$;
COMMENT ON FUNCTION miosa.expired_fleets(text, timestamptz, interval, integer) IS 'Places of fleets that began before a time, from the oldest one or behind a place, and where the next page begins';

-- What a purge deletes, in this order; purge.c has the same list.
CREATE FUNCTION miosa.purged_kinds() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '{idempotency_keys,audit_events,runtime_instances,removed_hosts,refusals,schema_reports,fleet_runs,alerts,holds}'::text[];
COMMENT ON FUNCTION miosa.purged_kinds() IS 'Kinds of rows that miosa.expired_rows() lists';

-- List holds that have ended, of a page of deployments.  Where a subscription
-- writes holds there are none: the origin may open one again by an update of its
-- row.
CREATE FUNCTION miosa.ended_holds(place text, before timestamptz, most integer, OUT next text, OUT rows tid[])
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN count(*) >= $3 THEN max(k.deployment_id) END, coalesce(array_agg(k.ctid) FILTER (WHERE k.until < $2
			AND NOT EXISTS (SELECT FROM pg_catalog.pg_subscription_rel s WHERE s.srrelid = 'miosa.holds'::regclass)), '{}')
	FROM (SELECT h.ctid, h.deployment_id, h.until FROM miosa.holds h
		WHERE h.deployment_id > coalesce($1, '') ORDER BY h.deployment_id LIMIT $3) k
$$;
COMMENT ON FUNCTION miosa.ended_holds(text, timestamptz, integer) IS 'Places of holds that ended before a time, of at most so many holds after a deployment; next: null after the last ones';

-- Places of rows that may be deleted: idempotency_keys that have expired,
-- audit_events that have expired (looked for where the tenant's present plan
-- keeps none, so one of a former plan may be found later),
-- runtime_instances that ended or sent no heartbeat for 7 days, removed_hosts
-- of 30 days ago or that are routed again, refusals of 31 days ago,
-- schema_reports and alerts past their keep_until, fleet_runs of 400 days ago,
-- holds that have ended. place: next of the page before, null for the first one;
-- grace: only what has been so for that long; since: and not for longer than this
-- beside, which passes over what was deleted before, null for no such limit
-- (instances and holds have none, and with one hosts are left out, since each is
-- looked up); most: about how many rows a page has, or looks at (of hosts 1,000 at
-- most); next: null after the last page.
--
-- A page is read in the order of an index whatever the planner believes of the
-- table, so that no more than the page is touched.
CREATE FUNCTION miosa.expired_rows(kind text, place text, grace interval, since interval, most integer,
	OUT next text, OUT rows tid[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' SET jit = off SET enable_seqscan = off SET enable_sort = off AS $$
#variable_conflict use_variable
DECLARE
	quick CONSTANT interval := '30 ms';
	started CONSTANT timestamptz := clock_timestamp();
	horizon CONSTANT timestamptz := miosa.heartbeat_horizon();
	pages CONSTANT bigint := 100;
	tenant text;
	keep interval;
	after timestamptz;
	piece tid[];
	last timestamptz;
	until timestamptz;
	hosts CONSTANT integer := least(most, 1000);
	last_host text;
	n bigint;
BEGIN
	rows := '{}';
	CASE kind
	WHEN 'idempotency_keys' THEN
		-- Those that expire at the same time are on one page.
		SELECT array_agg(k.ctid), max(k.expires_at) INTO piece, last
			FROM (SELECT o.ctid, o.expires_at FROM miosa.idempotency_keys o
				WHERE o.expires_at > coalesce(place::timestamptz, started - grace - since, '-infinity') AND o.expires_at <= started - grace
				ORDER BY o.expires_at FETCH FIRST (most) ROWS WITH TIES) k;
		rows := coalesce(piece, '{}');
		next := CASE WHEN cardinality(rows) >= most THEN last END;
	WHEN 'schema_reports', 'alerts' THEN
		EXECUTE format('SELECT array_agg(k.ctid), max(k.keep_until)
			FROM (SELECT r.ctid, r.keep_until FROM miosa.%I r WHERE r.keep_until > $1 AND r.keep_until < $2
				ORDER BY r.keep_until FETCH FIRST ($3) ROWS WITH TIES) k', kind)
			INTO piece, last USING coalesce(place::timestamptz, started - grace - since, '-infinity'), started - grace, most;
		rows := coalesce(piece, '{}');
		next := CASE WHEN cardinality(rows) >= most THEN last END;
	WHEN 'audit_events' THEN
		tenant := place::jsonb ->> 0;
		after := (place::jsonb ->> 1)::timestamptz;
		IF tenant IS NULL THEN
			SELECT min(a.tenant_id) INTO tenant FROM miosa.audit_events a;
		END IF;
		WHILE tenant IS NOT NULL LOOP
			keep := miosa.audit_retention(tenant);
			after := coalesce(after, started - grace - keep - since, '-infinity');
			-- Those that stay for ever take up a page as well: there may
			-- be very many.
			-- The first ones of a deployment come first.
			SELECT array_agg(k.ctid ORDER BY k.created_at, k.seq) FILTER (WHERE k.keep_until < started - grace
						AND (EXISTS (SELECT FROM miosa.audit_events e WHERE e.deployment_id = k.deployment_id AND e.seq > k.seq)
							OR NOT EXISTS (SELECT FROM miosa.deployments p WHERE p.id = k.deployment_id))),
					max(k.created_at), count(*)
				INTO piece, last, n
				FROM (SELECT a.ctid, a.created_at, a.deployment_id, a.seq, a.keep_until FROM miosa.audit_events a
					-- In words that only the index on tenants has an order for
					WHERE (a.tenant_id, a.created_at) > (tenant, after)
						AND (a.tenant_id, a.created_at) < (tenant, started - grace - keep)
					ORDER BY a.tenant_id, a.created_at FETCH FIRST (most) ROWS WITH TIES) k;
			rows := rows || coalesce(piece, '{}');
			IF n >= most THEN
				next := jsonb_build_array(tenant, last);
				RETURN;
			END IF;
			after := NULL;
			SELECT min(a.tenant_id) INTO tenant FROM miosa.audit_events a WHERE a.tenant_id > tenant;
			IF tenant IS NOT NULL AND (cardinality(rows) >= most OR clock_timestamp() > started + quick) THEN
				next := jsonb_build_array(tenant);
				RETURN;
			END IF;
		END LOOP;
	WHEN 'runtime_instances' THEN
		-- There is no index on the last heartbeat: each one would have to write it.
		n := coalesce(place::bigint, 0);
		rows := ARRAY(SELECT i.ctid FROM miosa.runtime_instances i
			WHERE i.ctid >= format('(%s,0)', n)::tid AND i.ctid < format('(%s,0)', n + pages)::tid
				AND miosa.instance_expired(i, started - grace - '7 days'::interval, horizon));
		next := CASE WHEN (n + pages) * current_setting('block_size')::bigint < pg_relation_size('miosa.runtime_instances') THEN n + pages END;
	WHEN 'removed_hosts' THEN
		IF since IS NULL THEN
			SELECT array_agg(k.ctid) FILTER (WHERE miosa.removed_host_expired(k.host, k.removed_at, started - grace)),
					max(k.host), count(*)
				INTO piece, last_host, n
				FROM (SELECT r.ctid, r.host, r.removed_at FROM miosa.removed_hosts r
					WHERE r.host > coalesce(place, '') ORDER BY r.host LIMIT hosts) k;
			rows := coalesce(piece, '{}');
			next := CASE WHEN n >= hosts THEN last_host END;
		END IF;
	WHEN 'refusals' THEN
		until := started - grace - miosa.refusals_kept();
		SELECT array_agg(k.ctid), max(k.created_at) INTO piece, last
			FROM (SELECT o.ctid, o.created_at FROM miosa.refusals o
				WHERE o.created_at > coalesce(place::timestamptz, until - since, '-infinity') AND o.created_at <= until
				ORDER BY o.created_at FETCH FIRST (most) ROWS WITH TIES) k;
		rows := coalesce(piece, '{}');
		next := CASE WHEN cardinality(rows) >= most THEN last END;
	WHEN 'fleet_runs' THEN SELECT f.rows, f.next INTO rows, next FROM miosa.expired_fleets(place, started - grace - miosa.fleets_kept(), since, most) f;
	WHEN 'holds' THEN SELECT h.next, h.rows INTO next, rows FROM miosa.ended_holds(place, started - grace, most) h;
	END CASE;
END $$;
COMMENT ON FUNCTION miosa.expired_rows(text, text, interval, interval, integer) IS 'Places of rows that may be deleted, page by page: of idempotency_keys, audit_events, runtime_instances, removed_hosts, refusals, schema_reports, fleet_runs, alerts or holds';

-- Locks these events, but for those that are locked already.  What is returned
-- are the oldest events of their deployments, without a gap: an event that is
-- kept keeps all later ones, whenever they expire.
CREATE FUNCTION miosa.first_events(places tid[]) RETURNS tid[]
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	WITH locked AS (
		SELECT a.ctid AS place, a.deployment_id, a.seq FROM miosa.audit_events a
		WHERE a.ctid = ANY ($1) AND a.keep_until < now()
			AND (EXISTS (SELECT FROM miosa.audit_events e WHERE e.deployment_id = a.deployment_id AND e.seq > a.seq)
				OR NOT EXISTS (SELECT FROM miosa.deployments p WHERE p.id = a.deployment_id))
		FOR UPDATE SKIP LOCKED),
	linked AS (
		SELECT l.place, l.deployment_id, l.seq, lag(l.seq) OVER (PARTITION BY l.deployment_id ORDER BY l.seq) AS locked_before,
			(SELECT max(e.seq) FROM miosa.audit_events e WHERE e.deployment_id = l.deployment_id AND e.seq < l.seq) AS before
		FROM locked l),
	led AS (
		SELECT k.place, bool_and(k.before IS NOT DISTINCT FROM k.locked_before) OVER (PARTITION BY k.deployment_id ORDER BY k.seq) AS first
		FROM linked k)
	SELECT coalesce(array_agg(f.place) FILTER (WHERE f.first), '{}') FROM led f
$$;
COMMENT ON FUNCTION miosa.first_events(tid[]) IS 'Those of some audit events that retention may delete now, locked';

-- done: how many of the places were looked at; removed: how many rows are
-- gone.  A plan that was made while the table was empty must not read all of
-- it when it is full.
CREATE FUNCTION miosa.purge_rows(kind text, rows tid[], OUT done integer, OUT removed bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_variable
DECLARE
	most CONSTANT integer := least(coalesce(cardinality(rows), 0), 1000);
	step CONSTANT integer := 100;
	enough CONSTANT timestamptz := clock_timestamp() + '40 ms'::interval;
	old CONSTANT timestamptz := clock_timestamp() - '7 days'::interval;
	horizon CONSTANT timestamptz := miosa.heartbeat_horizon();
	piece tid[];
	n bigint;
BEGIN
	done := 0;
	removed := 0;
	WHILE done < most AND clock_timestamp() < enough LOOP
		piece := rows[done + 1 : least(done + step, most)];
		done := done + cardinality(piece);
		CASE kind
		WHEN 'idempotency_keys' THEN
			DELETE FROM miosa.idempotency_keys k WHERE k.ctid = ANY (ARRAY(
				SELECT o.ctid FROM miosa.idempotency_keys o
				WHERE o.ctid = ANY (piece) AND o.expires_at <= clock_timestamp() FOR UPDATE SKIP LOCKED));
		WHEN 'schema_reports', 'alerts' THEN
			EXECUTE format('DELETE FROM miosa.%1$I k WHERE k.ctid = ANY (ARRAY(SELECT r.ctid FROM miosa.%1$I r
				WHERE r.ctid = ANY ($1) AND r.keep_until < now() FOR UPDATE SKIP LOCKED))', kind) USING piece;
		WHEN 'audit_events' THEN
			piece := miosa.first_events(piece);
			INSERT INTO miosa.audit_checkpoints AS c (deployment_id, seq, hash)
				SELECT DISTINCT ON (a.deployment_id) a.deployment_id, a.seq, a.hash FROM miosa.audit_events a
				WHERE a.ctid = ANY (piece) ORDER BY a.deployment_id, a.seq DESC
				ON CONFLICT ON CONSTRAINT audit_checkpoints_pkey DO UPDATE SET seq = excluded.seq, hash = excluded.hash, moved_at = clock_timestamp();
			DELETE FROM miosa.convergence_log l USING miosa.audit_events k
				WHERE k.ctid = ANY (piece) AND l.deployment_id = k.deployment_id AND l.seq = k.seq;
			DELETE FROM miosa.audit_events k WHERE k.ctid = ANY (piece);
		WHEN 'runtime_instances' THEN
			DELETE FROM miosa.runtime_instances k WHERE k.ctid = ANY (ARRAY(
				SELECT i.ctid FROM miosa.runtime_instances i
				WHERE i.ctid = ANY (piece) AND miosa.instance_expired(i, old, horizon) FOR UPDATE SKIP LOCKED));
		WHEN 'removed_hosts' THEN
			DELETE FROM miosa.removed_hosts k WHERE k.ctid = ANY (ARRAY(
				SELECT r.ctid FROM miosa.removed_hosts r
				WHERE r.ctid = ANY (piece) AND miosa.removed_host_expired(r.host, r.removed_at, clock_timestamp())
				FOR UPDATE SKIP LOCKED));
		WHEN 'refusals' THEN
			DELETE FROM miosa.refusals k WHERE k.ctid = ANY (ARRAY(
				SELECT o.ctid FROM miosa.refusals o
				WHERE o.ctid = ANY (piece) AND o.created_at <= clock_timestamp() - miosa.refusals_kept() FOR UPDATE SKIP LOCKED));
		WHEN 'fleet_runs' THEN
			DELETE FROM miosa.fleet_runs k WHERE k.ctid = ANY (ARRAY(
				SELECT f.ctid FROM miosa.fleet_runs f
				WHERE f.ctid = ANY (piece) AND f.began_at <= clock_timestamp() - miosa.fleets_kept() FOR UPDATE SKIP LOCKED));
		WHEN 'holds' THEN
			DELETE FROM miosa.holds k WHERE k.ctid = ANY (ARRAY(
				SELECT h.ctid FROM miosa.holds h
				WHERE h.ctid = ANY (piece) AND NOT miosa.is_open(h.until) FOR UPDATE SKIP LOCKED));
		END CASE;
		GET DIAGNOSTICS n = ROW_COUNT;
		removed := removed + n;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.purge_rows(text, tid[]) IS 'Deletes the first of these rows that miosa.expired_rows() has listed, if they are still expired and not locked: at most 1,000, and no more once 40 ms have passed';

-- Trim the route log when the dispatcher has not done so.
CREATE FUNCTION miosa.trim_overdue("limit" integer) RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	SELECT CASE WHEN (SELECT l.created_at FROM miosa.route_log l
			WHERE l.epoch > (SELECT s.trimmed_epoch FROM miosa.dispatcher_state s)
			ORDER BY l.epoch LIMIT 1) < now() - '70 min'::interval
		THEN miosa.trim_route_log($1) ELSE 0 END
$$;
COMMENT ON FUNCTION miosa.trim_overdue(integer) IS 'Calls miosa.trim_route_log() if that has been overdue for 10 minutes';

-- By hand, and for what cannot call a procedure.
CREATE FUNCTION @extschema@.miosa_purge_expired(batch integer DEFAULT 1000, OUT what text, OUT removed bigint)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	page record;
	place text;
	piece record;
	places tid[];
BEGIN
	PERFORM miosa.check_limit(batch, 1000000);
	FOREACH what IN ARRAY miosa.purged_kinds() LOOP
		removed := 0;
		place := NULL;
		LOOP
			SELECT * INTO page FROM miosa.expired_rows(what, place, '0', NULL, greatest(batch, 1000));
			places := page.rows[1 : batch - removed];
			WHILE cardinality(places) > 0 LOOP
				SELECT * INTO piece FROM miosa.purge_rows(what, places[1:1000]);
				places := places[piece.done + 1 :];
				removed := removed + piece.removed;
			END LOOP;
			place := page.next;
			EXIT WHEN place IS NULL OR removed >= batch;
		END LOOP;
		RETURN NEXT;
	END LOOP;
	what := 'route_log';
	removed := miosa.trim_route_log(batch);
	RETURN NEXT;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_purge_expired(integer) IS 'Deletes expired keys, audit events and alerts, ended instances and holds, removed hosts, refused calls, old fleets and old route changes';

-- A procedure that commits can neither be SECURITY DEFINER nor set a
-- search_path.  So all that this one does is to call functions, by their
-- whole names.

-- One step of maintenance: a page of deployments.
CREATE FUNCTION miosa.maintain_capacity(place text) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT c.next FROM miosa.capacity_pass(place, 1000) c);
END $$;
COMMENT ON FUNCTION miosa.maintain_capacity(text) IS 'A page of miosa.capacity_pass(), and where the next one begins';

-- One step of maintenance: a part of the route log.
CREATE FUNCTION miosa.maintain_route_log() RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN miosa.trim_route_log(1000) = 1000;
END $$;
COMMENT ON FUNCTION miosa.maintain_route_log() IS 'Trims 1,000 rows of the route log; true when there may be more';

-- One step of a purge; its state goes around with the caller.
--
-- All arguments are what the step before returned; the first one is called
-- with nulls and 0 removed; kind is null when all is done.
CREATE FUNCTION miosa.maintain_rows(INOUT kind text, INOUT place text, INOUT rows tid[], INOUT done integer, INOUT removed bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	kinds CONSTANT text[] := miosa.purged_kinds();
	piece record;
BEGIN
	IF kind IS NULL THEN
		kind := kinds[1];
	ELSIF done < cardinality(rows) THEN
		SELECT * INTO piece FROM miosa.purge_rows(kind, rows[done + 1 : done + 1000]);
		done := done + piece.done;
		removed := removed + piece.removed;
		RETURN;
	ELSIF place IS NULL THEN
		kind := kinds[array_position(kinds, kind) + 1];
		IF kind IS NULL THEN
			RETURN;
		END IF;
	END IF;
	SELECT e.next, e.rows, 0 INTO place, rows, done FROM miosa.expired_rows(kind, place, '0', NULL, 5000) e;
END $$;
COMMENT ON FUNCTION miosa.maintain_rows(text, text, tid[], integer, bigint) IS 'The next step of a purge: lists a page of rows, or deletes up to 1,000 rows of it';

-- Refuse a step that its procedure has not called.
CREATE FUNCTION miosa.require_procedure(name text) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_require_procedure';
COMMENT ON FUNCTION miosa.require_procedure(text) IS 'Raises FORBIDDEN unless a procedure of the extension runs; name: the one that should';

-- Record the end of maintenance.
CREATE FUNCTION miosa.maintained(began timestamptz, removed bigint) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	INSERT INTO miosa.maintenance (began_at, ended_at, removed, run_by)
		SELECT $1, clock_timestamp(), $2, miosa.caller() FROM miosa.require_procedure('miosa.maintain') p, miosa.require_all_tenants('function maintained') a
		ON CONFLICT (only_row) DO UPDATE SET began_at = excluded.began_at, ended_at = excluded.ended_at,
			removed = excluded.removed, run_by = excluded.run_by
$$;
COMMENT ON FUNCTION miosa.maintained(timestamptz, bigint) IS 'Records that miosa_maintain() has finished';

-- Do all maintenance in short transactions.
CREATE PROCEDURE @extschema@.miosa_maintain(artifacts boolean DEFAULT true)
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
	began pg_catalog.timestamptz := pg_catalog.clock_timestamp();
	step pg_catalog.record;
	place pg_catalog.text := '';
BEGIN
	PERFORM miosa.require_primary();
	SELECT NULL::pg_catalog.text AS kind, NULL::pg_catalog.text AS place, NULL::pg_catalog.tid[] AS rows,
		0::pg_catalog.int4 AS done, 0::pg_catalog.int8 AS removed INTO step;
	LOOP
		-- What a crash loses is done again.
		PERFORM pg_catalog.set_config('synchronous_commit', 'off', true);
		SELECT * INTO step FROM miosa.maintain_rows(step.kind, step.place, step.rows, step.done, step.removed);
		COMMIT;
		EXIT WHEN step.kind IS NULL;
		-- Leave time for the other users of the disk.
		IF step.done OPERATOR(pg_catalog.>) 0 THEN
			PERFORM pg_catalog.pg_sleep(0.01);
		END IF;
	END LOOP;
	LOOP
		PERFORM pg_catalog.set_config('synchronous_commit', 'off', true);
		EXIT WHEN NOT miosa.maintain_route_log();
		COMMIT;
	END LOOP;
	COMMIT;
	WHILE place IS NOT NULL LOOP
		place := miosa.maintain_capacity(place);
		COMMIT;
	END LOOP;
	PERFORM miosa.maintained(began, step.removed);
	COMMIT;
	IF artifacts THEN
		CALL miosa.verify_artifacts(1000);
	END IF;
END $$;
COMMENT ON PROCEDURE @extschema@.miosa_maintain(boolean) IS 'Does all maintenance that is due: deletes expired rows, settles capacity, and verifies artifacts';

-- The jobs, written once.  pg_cron may be in this database, in another one, or
-- nowhere; nothing here depends on it.  A job runs with the search_path of a role,
-- so it names the schema of everything.
CREATE FUNCTION miosa.maintenance_jobs(OUT name text, OUT schedule text, OUT command text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT 'miosa_rollback maintenance in ' || current_database(), '*/5 * * * *',
		'CALL miosa.maintain(artifacts => false)'
	UNION ALL
	SELECT 'miosa_rollback artifacts in ' || current_database(), '*/5 * * * *',
		'CALL miosa.verify_artifacts("limit" => 1000)'
	UNION ALL
	SELECT 'miosa_rollback job history of ' || current_database(), '17 3 * * *',
		-- Some versions of pg_cron have a jobname of type name.
		'DELETE FROM cron.job_run_details d USING cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) d.jobid'
		|| ' AND pg_catalog.starts_with(j.jobname::pg_catalog.text, ''miosa_rollback '')'
		|| ' AND d.end_time OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) ''7 days''::pg_catalog.interval)'
$$;
COMMENT ON FUNCTION miosa.maintenance_jobs() IS 'Jobs for pg_cron: name, schedule, command';

-- Schedule the jobs with pg_cron, or return the statements that do so.  With
-- the caller's rights: a job runs as the role that schedules it, which must be one
-- that can log in, and not our owner.
CREATE FUNCTION @extschema@.miosa_schedule_maintenance() RETURNS SETOF text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	cron_schema text;
	job record;
BEGIN
	SELECT n.nspname INTO cron_schema
		FROM pg_extension e
		JOIN pg_proc p ON p.proname = 'schedule'
		JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
			AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
		JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE e.extname = 'pg_cron' AND has_schema_privilege(n.oid, 'USAGE') LIMIT 1;
	FOR job IN SELECT * FROM miosa.maintenance_jobs() LOOP
		IF cron_schema IS NOT NULL THEN
			-- A job of this name is replaced.
			EXECUTE format('SELECT %I.schedule($1, $2, $3)', cron_schema) USING job.name, job.schedule, job.command;
			RETURN NEXT format('scheduled "%s" (%s)', job.name, job.schedule);
		ELSIF job.command LIKE '%cron.%' THEN
			RETURN NEXT format('SELECT cron.schedule(%L, %L, %L);', job.name, job.schedule, job.command);
		ELSE
			RETURN NEXT format('SELECT cron.schedule_in_database(%L, %L, %L, %L);',
				job.name, job.schedule, job.command, current_database());
		END IF;
	END LOOP;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_schedule_maintenance() IS 'Schedules miosa_maintain() and miosa_verify_artifacts() in pg_cron (1.4 or newer), every 5 minutes';
-- The doctor: one function a check.  A check is called check_ and its item, and
-- returns one finding; miosa_doctor() is their union.  They are in PL/pgSQL, which
-- keeps their plans for the next call: planning takes most of the time.

CREATE TYPE miosa.finding AS (item text, status text, seen text, fix text, needs text);
COMMENT ON TYPE miosa.finding IS 'A row of miosa_doctor()';
COMMENT ON COLUMN miosa.finding.item IS 'What was checked';
COMMENT ON COLUMN miosa.finding.status IS 'ok, warn or fail';
COMMENT ON COLUMN miosa.finding.seen IS 'What was found';
COMMENT ON COLUMN miosa.finding.fix IS 'Command or action that resolves it; empty when there is nothing to do';
COMMENT ON COLUMN miosa.finding.needs IS 'Role that may do that: miosa_operator, miosa_admin or superuser';

-- A fix that calls functions of the extension needs a role that may call them;
-- any other changes the server.
CREATE FUNCTION miosa.fix_needs(fix text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
	called name[];
BEGIN
	-- Most findings need nothing, and nothing is planned for them.
	IF fix = '' OR fix ~ '^(See [a-z_]+[.]|Repeat )' THEN
		RETURN '';
	ELSIF fix ~ 'ALTER SYSTEM|pg_terminate_backend|SUBSCRIPTION|PUBLICATION|contrib/|pg_drop_replication_slot|^REVOKE |^GRANT ' THEN
		RETURN 'superuser';
	END IF;
	called := ARRAY(SELECT m[1]::name FROM regexp_matches(fix, '\m(\w+)\(', 'g') m);
	RETURN (SELECT CASE WHEN count(*) = 0 THEN 'superuser'
			WHEN bool_and(has_function_privilege('miosa_operator', p.oid, 'EXECUTE')) THEN 'miosa_operator' ELSE 'miosa_admin' END
		FROM pg_proc p
		JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
			AND d.refclassid = 'pg_extension'::regclass
		JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'miosa_rollback'
		WHERE p.proname = ANY (called)
			-- What an entry point calls is granted to no role.
			AND (p.pronamespace <> 'miosa'::regnamespace OR p.proname NOT LIKE 'miosa\_%'));
END $$;
COMMENT ON FUNCTION miosa.fix_needs(text) IS 'Role that may apply a fix: miosa_operator, miosa_admin or superuser; empty when there is nothing to do';

-- Make the finding of a check.
CREATE FUNCTION miosa.make_finding(item text, status text, seen text, fix text) RETURNS miosa.finding
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT ROW($1, $2, $3, $4, miosa.fix_needs($4))::miosa.finding
$$;
COMMENT ON FUNCTION miosa.make_finding(text, text, text, text) IS 'A finding with the role that its fix needs';

-- Show the first three of a number of names.
CREATE FUNCTION miosa.some_names(names text, n bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT format('(%s%s)', miosa.clip($1, 120), CASE WHEN $2 > 3 THEN ', ...' ELSE '' END)
$$;
COMMENT ON FUNCTION miosa.some_names(text, bigint) IS 'Names in parentheses; n is how many there are, of which at most three are given';

-- Without preloading everything but delivery works.
CREATE FUNCTION miosa.check_preloaded() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT CASE WHEN d.state = 'not preloaded'
			THEN miosa.make_finding('preloaded', 'fail', 'the library is not in shared_preload_libraries; nothing is delivered',
				'Add miosa_rollback to shared_preload_libraries and restart the server.')
			ELSE miosa.make_finding('preloaded', 'ok', 'shared_preload_libraries has miosa_rollback', '') END
		FROM miosa.dispatcher() d);
END $$;
COMMENT ON FUNCTION miosa.check_preloaded() IS 'Check of miosa_doctor(): is the library preloaded?';

-- A new library serves older objects as well as it can, until they are updated.
CREATE FUNCTION miosa.check_versions() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('versions', CASE WHEN v.fix IS NULL THEN 'ok' ELSE 'fail' END,
			format('the library is version %s, the SQL objects are version %s', v.library, v.objects), coalesce(v.fix, ''))
		FROM miosa.versions() v);
END $$;
COMMENT ON FUNCTION miosa.check_versions() IS 'Check of miosa_doctor(): are library and SQL objects of the same version?';

-- A table lock stops operations and the dispatcher alike.
CREATE FUNCTION miosa.check_locks() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('locks', CASE WHEN h.description IS NULL THEN 'ok' ELSE 'fail' END,
			coalesce(h.description, 'no other process locks a whole table'),
			CASE WHEN h.description IS NULL THEN ''
				WHEN h.pid IS NULL THEN 'SELECT gid, prepared, owner FROM pg_prepared_xacts; then COMMIT PREPARED or ROLLBACK PREPARED.'
				ELSE format('End its transaction, or the process: SELECT pg_terminate_backend(%s);', h.pid) END)
		FROM miosa.table_holder() h);
END $$;
COMMENT ON FUNCTION miosa.check_locks() IS 'Check of miosa_doctor(): does another process lock a whole table?';

-- What keeps the dispatcher, worst first.  It makes a pass every second, so one
-- that has made none for long is stopped, stuck or failing, whatever its state.
CREATE FUNCTION miosa.check_dispatcher() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	status text := 'fail';
	seen text;
	fix text := '';
	d record;
	paused text := miosa.pause_reason();
	waits_for text;
	since text;
	-- Without the launcher no dispatcher is started again.
	launcher text := '';
	launcher_fix text;
BEGIN
	SELECT * INTO d FROM miosa.dispatcher();
	IF d.launcher_pid IS NULL THEN
		launcher := ', and no launcher runs';
	ELSIF NOT d.launcher THEN
		launcher := format(', and the launcher, process %s, is stopped or stuck', d.launcher_pid);
		launcher_fix := format('In a shell on the server: kill -CONT %s; if it stays so: SELECT pg_terminate_backend(%s);', d.launcher_pid, d.launcher_pid);
	END IF;
	since := coalesce('no pass for ' || miosa.span(clock_timestamp() - d.last_pass_at), 'no pass yet');
	IF pg_is_in_recovery() THEN
		status := 'ok';
		seen := 'none: this server is a standby';
	ELSIF d.state = 'not preloaded' THEN
		seen := 'none';
		fix := 'See preloaded.';
	ELSIF d.stalled AND d.pid IS NOT NULL AND d.error IS NULL THEN
		SELECT a.wait_event INTO waits_for FROM pg_stat_activity a WHERE a.pid = d.pid;
		IF waits_for = 'SyncRep' THEN
			seen := format('%s: process %s waits for a synchronous standby, as every COMMIT does', since, d.pid);
			fix := 'Start the standby, see SELECT application_name, state, sync_state FROM pg_stat_replication; or go on without: ALTER SYSTEM SET synchronous_standby_names = ''''; SELECT pg_reload_conf();';
		ELSE
			seen := format('%s: process %s is stopped or stuck%s', since, d.pid, coalesce(' (' || waits_for || ')', ''));
			fix := format('In a shell on the server: kill -CONT %s; if it stays so: SELECT pg_terminate_backend(%s);', d.pid, d.pid);
		END IF;
	ELSIF d.stalled THEN
		seen := d.state || ', ' || since || launcher || coalesce(': ' || d.error, '');
		fix := coalesce(launcher_fix, 'Look for miosa_rollback in the server''s log, and see worker_slots; the start is retried.');
	ELSIF paused IS NOT NULL THEN
		seen := 'paused: ' || paused;
		fix := coalesce((miosa.site_pause()).fix, 'If this server is to serve these endpoints: SELECT miosa_resume();');
	ELSIF d.state = 'running' THEN
		status := CASE launcher WHEN '' THEN 'ok' ELSE 'warn' END;
		seen := 'running, process ' || d.pid || launcher;
		fix := coalesce(launcher_fix, '');
	ELSIF d.state = 'starting' AND d.error IS NULL THEN
		status := 'warn';
		seen := 'starting';
		fix := 'Repeat the check in a few seconds.';
	ELSE
		seen := d.state || launcher || coalesce(': ' || d.error, '');
		fix := coalesce(launcher_fix, 'Look for miosa_rollback in the server''s log; see worker_slots.');
	END IF;
	RETURN miosa.make_finding('dispatcher', status, seen, fix);
END $$;
COMMENT ON FUNCTION miosa.check_dispatcher() IS 'Check of miosa_doctor(): does the dispatcher run?';

-- Neither the dispatcher nor the verifier starts when no slot is free.
CREATE FUNCTION miosa.check_worker_slots() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('worker_slots', CASE WHEN w.taken < w.most THEN 'ok' ELSE 'warn' END,
			format('%s of max_worker_processes = %s are taken', w.taken, w.most),
			CASE WHEN w.taken < w.most THEN '' ELSE 'Raise max_worker_processes and restart the server.' END)
		FROM (SELECT count(*) AS taken, current_setting('max_worker_processes')::bigint AS most
			FROM pg_stat_activity a
			WHERE a.backend_type NOT IN ('client backend', 'autovacuum launcher', 'autovacuum worker', 'background writer',
				'checkpointer', 'startup', 'walreceiver', 'walsender', 'walwriter', 'archiver', 'slotsync worker', 'walsummarizer', 'io worker')) w);
END $$;
COMMENT ON FUNCTION miosa.check_worker_slots() IS 'Check of miosa_doctor(): is a slot for a background worker free?';

-- An endpoint without an entry in shared memory is seen by its row, which is
-- written late.
CREATE FUNCTION miosa.check_endpoint_entries() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('endpoint_entries', CASE WHEN w.ok THEN 'ok' ELSE 'warn' END,
			format('%s of miosa_rollback.max_endpoints = %s are taken%s', w.taken, w.size,
				CASE WHEN w.ok THEN '' ELSE format('; endpoints of this database without one: %s', w.lacking) END),
			CASE WHEN w.ok THEN '' ELSE 'Raise miosa_rollback.max_endpoints and restart the server.' END)
		FROM (SELECT n.taken, n.size, l.lacking, n.taken < n.size OR l.lacking = 0 AS ok
			FROM miosa.endpoint_entries() n, (
				SELECT count(*) AS lacking FROM miosa.endpoints e
				JOIN miosa.adapters a ON a.name = e.adapter AND a.role IN ('edge', 'hook') AND NOT a.alerts
				WHERE e.enabled AND (SELECT d.state FROM miosa.dispatcher() d) = 'running'
					AND NOT EXISTS (SELECT FROM miosa.endpoint_stats() s WHERE s.endpoint = e.name)) l) w);
END $$;
COMMENT ON FUNCTION miosa.check_endpoint_entries() IS 'Check of miosa_doctor(): does each endpoint have an entry in shared memory?';

-- Without endpoints rollbacks are delivered to no edge.
CREATE FUNCTION miosa.check_endpoints() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('endpoints', CASE WHEN count(*) FILTER (WHERE e.enabled) = 0 THEN 'warn' ELSE 'ok' END,
			format('%s enabled, %s disabled', count(*) FILTER (WHERE e.enabled), count(*) FILTER (WHERE NOT e.enabled)),
			CASE WHEN count(*) FILTER (WHERE e.enabled) = 0
				THEN 'Add one: SELECT miosa_put_endpoint(''edge-1'', ''haproxy-map'', ''http://...'');' ELSE '' END)
		FROM miosa.endpoints e);
END $$;
COMMENT ON FUNCTION miosa.check_endpoints() IS 'Check of miosa_doctor(): is any endpoint enabled?';

-- An endpoint that fails lacks routes.
CREATE FUNCTION miosa.check_endpoint_health() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('endpoint_health', CASE WHEN w.names IS NULL THEN 'ok' ELSE 'fail' END,
			coalesce(miosa.clip(w.names, 200), 'no endpoint fails'),
			CASE WHEN w.names IS NULL THEN '' ELSE 'SELECT name, last_status, last_error FROM miosa.stat_endpoint; a dead one: SELECT miosa_set_endpoint(''name'', false, ''why'');' END)
		FROM (SELECT string_agg(s.name || ' (' || s.state || ')', ', ' ORDER BY s.name) AS names
			FROM miosa.stat_endpoint s WHERE miosa.endpoint_fails(s.state)) w);
END $$;
COMMENT ON FUNCTION miosa.check_endpoint_health() IS 'Check of miosa_doctor(): does an endpoint fail?';

-- A deployment with a wildcard host does not converge at such an endpoint.
CREATE FUNCTION miosa.check_wildcards() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('wildcards', CASE WHEN w.names IS NULL THEN 'ok' ELSE 'fail' END,
			coalesce('endpoints that cannot handle wildcard hosts: ' || miosa.clip(w.names, 160),
				'every endpoint handles the wildcard hosts that it receives'),
			CASE WHEN w.names IS NULL THEN '' ELSE 'SELECT * FROM miosa.wildcard_gaps(); then another adapter, or a selector without these deployments: SELECT miosa_put_endpoint(...);' END)
		FROM (SELECT string_agg(DISTINCT format('%s (%s)', g.endpoint, g.adapter), ', ') AS names FROM miosa.wildcard_gaps() g) w);
END $$;
COMMENT ON FUNCTION miosa.check_wildcards() IS 'Check of miosa_doctor(): does an endpoint receive wildcard hosts that its adapter cannot handle?';

-- Routes that one endpoint refuses although it works.
CREATE FUNCTION miosa.check_delivery_failures() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('delivery_failures', CASE WHEN count(*) = 0 THEN 'ok' ELSE 'fail' END,
			CASE WHEN count(*) = 0 THEN 'none' ELSE format('routes that an endpoint refuses: %s', count(*)) END,
			CASE WHEN count(*) = 0 THEN '' ELSE 'TABLE miosa.delivery_failures; when it is repaired: SELECT miosa_redrive(''endpoint'');' END)
		FROM miosa.delivery_failures f);
END $$;
COMMENT ON FUNCTION miosa.check_delivery_failures() IS 'Check of miosa_doctor(): does an endpoint refuse routes?';

-- Deployments without a healthy instance of their active version.  The operation
-- that made it active has requested instances.
CREATE FUNCTION miosa.check_capacity() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('capacity', CASE WHEN w.n = 0 THEN 'ok' ELSE 'fail' END,
			CASE WHEN w.n = 0 THEN 'no deployment waits too long for instances'
				ELSE format('deployments that wait for instances longer than cutover_deadline: %s %s', w.n, miosa.some_names(w.names, w.n)) END,
			CASE WHEN w.n = 0 THEN '' ELSE 'TABLE miosa.overdue; then SELECT * FROM miosa.status(''deployment'');' END)
		FROM (SELECT count(*) AS n, string_agg(o.id, ', ' ORDER BY o.id) FILTER (WHERE o.place <= 3) AS names
			FROM (SELECT v.id, row_number() OVER (ORDER BY v.id) AS place FROM miosa.overdue_rows(true) v) o) w);
END $$;
COMMENT ON FUNCTION miosa.check_capacity() IS 'Check of miosa_doctor(): does a deployment wait too long for instances?';

-- The dispatcher takes committed work within a second.
CREATE FUNCTION miosa.check_outbox() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('outbox', CASE WHEN w.ok THEN 'ok' ELSE 'fail' END,
			CASE WHEN w.n = 0 THEN 'empty' ELSE format('%s changes are pending, the oldest for %s', w.n, miosa.span(now() - w.oldest)) END,
			CASE WHEN w.ok THEN '' ELSE 'See dispatcher.' END)
		FROM (SELECT count(*) AS n, min(o.created_at) AS oldest, count(*) = 0 OR min(o.created_at) > now() - '5 s'::interval AS ok
			FROM (SELECT o.created_at FROM miosa.outbox o ORDER BY o.xid LIMIT 100000) o) w);
END $$;
COMMENT ON FUNCTION miosa.check_outbox() IS 'Check of miosa_doctor(): does committed work wait for the dispatcher?';

-- A standby has no queue of notifications to look at.
CREATE FUNCTION miosa.check_notification_queue() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('notification_queue', CASE WHEN q.usage < 0.5 THEN 'ok' ELSE 'warn' END,
			format('%s %% used', round((q.usage * 100)::numeric, 1)),
			CASE WHEN q.usage < 0.5 THEN '' ELSE 'A listener sleeps in a transaction: end it; routes are delivered over HTTP meanwhile.' END)
		FROM (SELECT CASE WHEN pg_is_in_recovery() THEN 0 ELSE pg_notification_queue_usage() END AS usage) q);
END $$;
COMMENT ON FUNCTION miosa.check_notification_queue() IS 'Check of miosa_doctor(): does the queue of notifications fill up?';

-- Where pg_cron is in another database, only the end of the last maintenance
-- shows that it works.  Statements on its tables are dynamic, since these may
-- not exist.
CREATE FUNCTION miosa.check_pg_cron() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	ended timestamptz := (SELECT m.ended_at FROM miosa.maintenance m);
	last text := CASE WHEN ended IS NULL THEN '; no maintenance yet'
		ELSE format('; maintenance ended %s ago', miosa.span(greatest(clock_timestamp() - ended, '0'))) END;
	scheduled bigint;
	jobs bigint;
	failed text;
	here boolean;
	ok boolean;
BEGIN
	here := EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_cron');
	-- Its schema is not open to everyone.
	IF NOT here OR NOT coalesce(has_schema_privilege(to_regnamespace('cron')::oid, 'USAGE'), false) THEN
		ok := coalesce(pg_is_in_recovery() OR ended > clock_timestamp() - '15 min'::interval, false);
		RETURN miosa.make_finding('pg_cron', CASE WHEN ok THEN 'ok' ELSE 'warn' END,
			CASE WHEN here THEN 'its jobs cannot be read' ELSE 'not in this database' END || last,
			CASE WHEN ok THEN '' WHEN here THEN 'GRANT USAGE ON SCHEMA cron TO miosa_owner;'
				ELSE 'SELECT * FROM miosa_schedule_maintenance();' END);
	END IF;
	EXECUTE 'SELECT count(*) FROM cron.job j WHERE j.active AND j.jobname IN (SELECT m.name FROM miosa.maintenance_jobs() m)'
		INTO scheduled;
	EXECUTE 'SELECT format(''"%s" failed: %s'', l.jobname, l.return_message) FROM (
			SELECT DISTINCT ON (j.jobid) j.jobname, d.status, d.return_message
			FROM (SELECT * FROM cron.job_run_details r ORDER BY r.runid DESC LIMIT 1000) d
			JOIN cron.job j ON j.jobid = d.jobid
			WHERE j.active AND j.jobname IN (SELECT m.name FROM miosa.maintenance_jobs() m)
				AND d.status IN (''succeeded'', ''failed'')
			ORDER BY j.jobid, d.runid DESC) l
		WHERE l.status = ''failed'' LIMIT 1' INTO failed;
	SELECT count(*) INTO jobs FROM miosa.maintenance_jobs();
	ok := scheduled = jobs AND failed IS NULL;
	RETURN miosa.make_finding('pg_cron', CASE WHEN ok THEN 'ok' ELSE 'warn' END,
		coalesce(miosa.clip(failed, 200), format('%s of %s jobs are scheduled', scheduled, jobs) || last),
		CASE WHEN ok THEN '' WHEN failed IS NULL THEN 'SELECT * FROM miosa_schedule_maintenance();'
			ELSE 'SELECT * FROM cron.job_run_details ORDER BY runid DESC LIMIT 20;' END);
END $$;
COMMENT ON FUNCTION miosa.check_pg_cron() IS 'Check of miosa_doctor(): does scheduled maintenance run?';

-- Expired idempotency keys that no maintenance has removed.
CREATE FUNCTION miosa.check_expired_keys() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('expired_keys', CASE WHEN k.n < 10000 THEN 'ok' ELSE 'warn' END,
			format('%s%s expired keys are to be deleted', k.n, CASE WHEN k.n = 100000 THEN ' or more' ELSE '' END),
			CASE WHEN k.n < 10000 THEN '' ELSE 'CALL miosa.maintain();' END)
		FROM (SELECT count(*) AS n FROM (SELECT FROM miosa.idempotency_keys k
			WHERE k.expires_at < now() - '10 min'::interval LIMIT 100000) k) k);
END $$;
COMMENT ON FUNCTION miosa.check_expired_keys() IS 'Check of miosa_doctor(): do expired idempotency keys pile up?';

-- Settings that let a crash lose what was committed.
CREATE FUNCTION miosa.check_durability() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('durability', CASE WHEN w.off IS NULL THEN 'ok' ELSE 'fail' END,
			coalesce(w.off, 'fsync, full_page_writes and synchronous_commit are on'),
			CASE WHEN w.off IS NULL THEN '' ELSE 'A crash can lose a committed rollback: turn them on.' END)
		FROM (SELECT string_agg(format('%s = off', s.name), ', ' ORDER BY s.name) AS off
			FROM unnest(ARRAY['fsync', 'full_page_writes', 'synchronous_commit']) s (name)
			WHERE current_setting(s.name) = 'off') w);
END $$;
COMMENT ON FUNCTION miosa.check_durability() IS 'Check of miosa_doctor(): can a crash lose a commit?';

-- Count the standbys of this server; neither a base backup nor a subscriber is one.
CREATE FUNCTION miosa.count_standbys() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT count(*) FROM pg_stat_replication r WHERE r.application_name <> 'pg_basebackup'
		AND NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical'));
END $$;
COMMENT ON FUNCTION miosa.count_standbys() IS 'Number of standbys and other receivers of the whole WAL that are connected';

-- An asynchronous standby may lack what the primary has committed.
CREATE FUNCTION miosa.check_replication() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT CASE
			WHEN n = 0 THEN miosa.make_finding('replication', 'ok', 'no standby', '')
			WHEN current_setting('synchronous_standby_names') = ''
				THEN miosa.make_finding('replication', 'warn', format('%s standby, none of them synchronous', n),
					'A fail-over can lose a committed rollback: set synchronous_standby_names.')
			ELSE miosa.make_finding('replication', 'ok', format('%s standby, synchronous_standby_names is set', n), '') END
		FROM miosa.count_standbys() n);
END $$;
COMMENT ON FUNCTION miosa.check_replication() IS 'Check of miosa_doctor(): can a fail-over lose a commit?';

-- Without a site a fail-over looks like a copy, and the dispatcher pauses.
CREATE FUNCTION miosa.check_site() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT CASE
			WHEN s.site <> '' THEN miosa.make_finding('site', 'ok', format('"%s"', s.site), '')
			WHEN pg_is_in_recovery() OR miosa.count_standbys() > 0
				THEN miosa.make_finding('site', 'warn', 'miosa_rollback.site is empty and there is a standby',
					'Set it to the same name on all servers, or the dispatcher pauses after a fail-over.')
			ELSE miosa.make_finding('site', 'ok', 'empty; needed with a standby', '') END
		FROM (SELECT coalesce(current_setting('miosa_rollback.site', true), '') AS site) s);
END $$;
COMMENT ON FUNCTION miosa.check_site() IS 'Check of miosa_doctor(): does the dispatcher continue after a fail-over?';

-- Sites that share routes: the first thing to mend, and how many more there are.
CREATE FUNCTION miosa.check_sites() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	replica CONSTANT boolean := miosa.setting('site_role') = 'replica';
	worst record;
BEGIN
	IF pg_is_in_recovery() OR NOT miosa.shares_routes() THEN
		RETURN miosa.make_finding('sites', 'ok', CASE WHEN pg_is_in_recovery() THEN 'this server is a standby' ELSE 'no other site' END, '');
	ELSIF replica THEN
		SELECT p.*, count(*) OVER () - 1 AS others INTO worst
			FROM miosa.replica_site_problems() p ORDER BY p.place, p.seen LIMIT 1;
	ELSE
		SELECT p.*, count(*) OVER () - 1 AS others INTO worst
			FROM miosa.primary_site_problems() p ORDER BY p.place, p.seen LIMIT 1;
	END IF;
	IF worst.seen IS NOT NULL THEN
		RETURN miosa.make_finding('sites', worst.status, miosa.clip(worst.seen, 300) || CASE WHEN worst.others > 0 THEN format('; and %s more', worst.others) ELSE '' END, worst.fix);
	ELSIF replica THEN
		RETURN miosa.make_finding('sites', 'ok', (SELECT format('a replica of "%s"', s.site) FROM miosa.sites s WHERE s.role = 'primary'), '');
	END IF;
	RETURN miosa.make_finding('sites', 'ok', (SELECT format('the primary site of %s replica%s with edges', count(*), CASE count(*) WHEN 1 THEN '' ELSE 's' END) FROM miosa.replica_sites r), '');
END $$;
COMMENT ON FUNCTION miosa.check_sites() IS 'Check of miosa_doctor(): do sites that share routes work together?';

-- Rights on secrets are a failure, others are a warning.
CREATE FUNCTION miosa.check_grants() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('grants', CASE WHEN w.secret THEN 'fail' WHEN w.n > 0 THEN 'warn' ELSE 'ok' END,
			CASE WHEN w.n = 0 THEN 'there are only the rights that the extension granted'
				ELSE format('rights that the extension did not grant: %s%s', miosa.clip(w.names, 300),
					CASE WHEN w.n > 3 THEN format(' and %s more', w.n - 3) ELSE '' END) END,
			CASE WHEN w.n = 0 THEN '' WHEN w.n <= 3 THEN w.revokes ELSE 'SELECT revoke FROM miosa.foreign_grants \gexec' END)
		FROM (SELECT count(*) AS n, bool_or(g.object = 'miosa.secrets') AS secret,
				string_agg(format('%s on %s to %s', g.privilege, g.object, g.grantee), ', ' ORDER BY g.place) FILTER (WHERE g.place <= 3) AS names,
				string_agg(g.revoke, ' ' ORDER BY g.place) FILTER (WHERE g.place <= 3) AS revokes
			FROM (SELECT f.*, row_number() OVER (ORDER BY f.object <> 'miosa.secrets', f.object, f.grantee, f.privilege) AS place
				FROM miosa.foreign_grants f) g) w);
END $$;
COMMENT ON FUNCTION miosa.check_grants() IS 'Check of miosa_doctor(): are there rights that the install script did not grant?';

-- A secret in a file may be unreadable; one in the table is never shown, but a
-- publication of the table sends its row without the value.
CREATE FUNCTION miosa.check_secrets() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('secrets', CASE WHEN w.problems IS NULL THEN 'ok' ELSE 'fail' END,
			coalesce('secrets cannot be used: ' || miosa.clip(w.problems, 300),
				format('%s in files, %s in miosa.secrets%s', w.in_files, w.n - w.in_files,
					(SELECT ', which leaves the server without the values, by publication '
							|| miosa.clip(string_agg(DISTINCT quote_ident(t.pubname), ', '), 200)
						FROM pg_publication_tables t WHERE t.schemaname = 'miosa' AND t.tablename = 'secrets'))),
			CASE WHEN w.problems IS NULL THEN '' ELSE 'SHOW miosa_rollback.secret_directory; let the server read the file below it, or name another one: SELECT miosa_put_secret(''name'', ''file:NAME'');' END)
		FROM (SELECT count(*) AS n, count(*) FILTER (WHERE s.in_file) AS in_files,
				string_agg(format('%s (%s)', s.name, s.problem), '; ' ORDER BY s.name) FILTER (WHERE s.problem IS NOT NULL) AS problems
			FROM (SELECT s.name, miosa.reveal(s.value) LIKE 'file:%' AS in_file,
					coalesce(miosa.secret_problem(miosa.reveal(s.value)), miosa.secret_problem(miosa.reveal(s.previous))) AS problem
				FROM miosa.secrets s) s) w);
END $$;
COMMENT ON FUNCTION miosa.check_secrets() IS 'Check of miosa_doctor(): can each secret be read?';

-- A worker that ends with an error is started again, and fails again: between
-- two tries no process is there.
CREATE FUNCTION miosa.check_subscriptions() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('subscriptions', CASE WHEN w.failing IS NULL THEN 'ok' ELSE 'fail' END,
			CASE WHEN w.n = 0 THEN 'no subscription' WHEN w.failing IS NULL THEN format('%s enabled, none fails', w.n)
				ELSE format('subscriptions whose worker fails repeatedly: %s', miosa.clip(w.failing, 200)) END,
			CASE WHEN w.failing IS NULL THEN '' ELSE 'Read the error in the server log: where people wrote the same key on both servers, delete the row here, or skip the transaction: ALTER SUBSCRIPTION name SKIP (lsn = ...);' END)
		FROM (SELECT count(*) AS n, string_agg(s.name, ', ' ORDER BY s.name) FILTER (WHERE s.fails) AS failing
			FROM (SELECT quote_ident(s.subname) AS name, t.apply_error_count + t.sync_error_count > 0
					AND NOT EXISTS (SELECT FROM pg_stat_subscription a WHERE a.subid = s.oid AND a.relid IS NULL AND a.pid IS NOT NULL) AS fails
				FROM pg_subscription s JOIN pg_stat_subscription_stats t ON t.subid = s.oid
				WHERE s.subenabled AND s.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())) s) w);
END $$;
COMMENT ON FUNCTION miosa.check_subscriptions() IS 'Check of miosa_doctor(): does a subscription fail?';

-- A hold that nobody lifts keeps CI from publishing.
CREATE FUNCTION miosa.check_holds() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('holds', CASE WHEN w.old = 0 THEN 'ok' ELSE 'warn' END,
			CASE WHEN w.n = 0 THEN 'no deployment is held'
				WHEN w.old = 0 THEN format('%s held, none for more than 7 days', w.n)
				ELSE format('deployments held for more than 7 days: %s %s', w.old, miosa.some_names(w.names, w.old)) END,
			CASE WHEN w.old = 0 THEN '' ELSE 'TABLE miosa.open_holds; then lift what is forgotten: SELECT miosa_release(''deployment'');' END)
		FROM (SELECT count(*) AS n, count(*) FILTER (WHERE o.age > '7 days') AS old,
				string_agg(o.deployment_id, ', ' ORDER BY o.place) FILTER (WHERE o.place <= 3 AND o.age > '7 days') AS names
			FROM (SELECT h.deployment_id, clock_timestamp() - h.since AS age, row_number() OVER (ORDER BY h.since, h.deployment_id) AS place
				FROM miosa.holds h WHERE miosa.is_open(h.until)) o) w);
END $$;
COMMENT ON FUNCTION miosa.check_holds() IS 'Check of miosa_doctor(): is a deployment held for longer than 7 days?';

-- So does a freeze that is forgotten.
CREATE FUNCTION miosa.check_freezes() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('freezes', CASE WHEN w.old = 0 THEN 'ok' ELSE 'warn' END,
			CASE WHEN w.n = 0 THEN 'nothing is frozen'
				WHEN w.old = 0 THEN format('%s in force, none for more than 30 days', w.n)
				ELSE format('in force for more than 30 days: %s %s', w.old, miosa.some_names(w.names, w.old)) END,
			CASE WHEN w.old = 0 THEN '' ELSE 'TABLE miosa.open_freezes; then end what is forgotten: SELECT miosa_remove_freeze(''name'');' END)
		FROM (SELECT count(*) AS n, count(*) FILTER (WHERE o.old) AS old, string_agg(o.name, ', ' ORDER BY o.place) FILTER (WHERE o.place <= 3 AND o.old) AS names
			FROM (SELECT f.name, f.begins < clock_timestamp() - interval '30 days' AS old, row_number() OVER (ORDER BY f.begins, f.name) AS place
				FROM miosa.freezes f WHERE f.begins <= clock_timestamp() AND f.ends > clock_timestamp()) o) w);
END $$;
COMMENT ON FUNCTION miosa.check_freezes() IS 'Check of miosa_doctor(): has a freeze been in force for longer than 30 days?';

-- A fleet in batches goes on only when it is called again.
CREATE FUNCTION miosa.check_fleets() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('fleets', CASE WHEN w.n = 0 THEN 'ok' ELSE 'warn' END,
			CASE WHEN w.n = 0 THEN 'none has stopped before its end'
				ELSE format('without a batch for 10 minutes and not at their end: %s %s', w.n, miosa.some_names(w.names, w.n)) END,
			CASE WHEN w.n = 0 THEN ''
				ELSE 'Call miosa_rollback_fleet() again with the same arguments: SELECT id, idempotency_key, selector FROM miosa.fleet_runs WHERE ended_at IS NULL;' END)
		FROM (SELECT count(*) AS n, string_agg(o.id, ', ' ORDER BY o.place) FILTER (WHERE o.place <= 3) AS names
			FROM (SELECT f.id, row_number() OVER (ORDER BY f.began_at, f.id) AS place FROM miosa.fleet_runs f
				WHERE f.ended_at IS NULL AND f.advanced_at < clock_timestamp() - interval '10 min') o) w);
END $$;
COMMENT ON FUNCTION miosa.check_fleets() IS 'Check of miosa_doctor(): has a fleet in batches stopped before its end?';

-- An alert that does nothing by itself has to reach somebody.
CREATE FUNCTION miosa.check_alerts() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT CASE
			WHEN w.late > 0 THEN miosa.make_finding('alerts', 'warn', format('alerts that found their deployment locked for 10 minutes: %s', w.late),
				'See who has the lock: SELECT pid, state, xact_start, left(query, 60) FROM pg_stat_activity WHERE backend_type = ''client backend'' ORDER BY xact_start LIMIT 5;')
			WHEN w.notified > 0 AND w.hooks = 0 THEN miosa.make_finding('alerts', 'warn', format('alerts of the last 7 days that only notify, and no hook receives them: %s', w.notified),
				'Add one: SELECT miosa_put_endpoint(''pager'', ''alert-webhook'', ''https://...'');')
			ELSE miosa.make_finding('alerts', 'ok', format('%s that only notify in 7 days, %s hook%s', w.notified, w.hooks, CASE w.hooks WHEN 1 THEN '' ELSE 's' END), '') END
		FROM (SELECT (SELECT count(*) FROM miosa.alerts a JOIN miosa.deployments d ON d.id = a.deployment_id
					WHERE a.seq IS NULL AND a.received_at < clock_timestamp() - interval '10 min') AS late,
				-- The newest 1,000 by their numbers, and those without one.
				(SELECT count(*) FROM (SELECT a.received_at FROM miosa.alerts a WHERE a.number IS NOT NULL ORDER BY a.number DESC LIMIT 1000) n
					WHERE n.received_at > clock_timestamp() - interval '7 days')
				+ (SELECT count(*) FROM miosa.alerts a WHERE a.number IS NULL AND a.done = 'notified' AND a.received_at > clock_timestamp() - interval '7 days') AS notified,
				(SELECT count(*) FROM miosa.endpoints e JOIN miosa.adapters p ON p.name = e.adapter WHERE p.alerts AND e.enabled) AS hooks) w);
END $$;
COMMENT ON FUNCTION miosa.check_alerts() IS 'Check of miosa_doctor(): does a hook receive alerts, and does one wait for a lock?';

-- Two versions to go back to, so that one may be bad.  Each deployment is looked
-- up; where there are more than a thousand or two, only a part of them is,
-- another one at every run.
CREATE FUNCTION miosa.check_restorable() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET jit = off SET enable_seqscan = off AS $$
DECLARE
	pages CONSTANT bigint := pg_relation_size('miosa.deployments') / current_setting('block_size')::bigint;
	most CONSTANT bigint := CASE WHEN pages <= 64 THEN pages ELSE 8 END;
	page CONSTANT bigint := floor(random() * (pages - most + 1));
	places CONSTANT tid[] := ARRAY[format('(%s,0)', page), format('(%s,0)', page + most)];
	w record;
	part text := '';
BEGIN
	SELECT count(*) AS n, count(*) FILTER (WHERE s.restorable = 0) AS none,
			string_agg(s.deployment_id, ', ' ORDER BY s.restorable, s.deployment_id) FILTER (WHERE s.place <= 3) AS names
		INTO w
		FROM (SELECT r.deployment_id, r.restorable, row_number() OVER (ORDER BY r.restorable, r.deployment_id) AS place
			FROM miosa.restorable r WHERE r.restorable < 2 AND r.place >= places[1] AND r.place < places[2]) s;
	IF pages > most THEN
		part := format(', of %s looked at; the others are unknown', (SELECT count(*) FROM miosa.deployments p
			WHERE p.ctid >= places[1] AND p.ctid < places[2] AND p.active_version_id IS NOT NULL));
	END IF;
	RETURN miosa.make_finding('restorable', CASE WHEN w.n = 0 THEN 'ok' ELSE 'warn' END,
		CASE WHEN w.n = 0 THEN 'every active deployment has two versions to roll back to' || part
			ELSE format('deployments with fewer than two versions to roll back to: %s, with none: %s %s', w.n, w.none, miosa.some_names(w.names, w.n)) || part END,
		CASE WHEN w.n = 0 THEN '' ELSE 'TABLE miosa.scarcely_restorable; normal after the first publishes, else keep older versions ready: SELECT miosa_pin_version(''deployment'', ''version'');' END);
END $$;
COMMENT ON FUNCTION miosa.check_restorable() IS 'Check of miosa_doctor(): does each deployment have versions to roll back to?';

-- A rollback to such a version would be refused.
CREATE FUNCTION miosa.check_artifacts() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('artifacts', CASE WHEN w.n = 0 THEN 'ok' ELSE 'fail' END,
			CASE WHEN w.n = 0 THEN 'storage has every artifact that was verified'
				ELSE format('artifacts of rollback targets that storage lost: %s %s', w.n, miosa.some_names(w.names, w.n)) END,
			CASE WHEN w.n = 0 THEN '' ELSE 'SELECT deployment_id, id, missing_at FROM miosa.releases WHERE missing_at IS NOT NULL; put them back, or archive the versions: SELECT miosa_archive_version(''deployment'', ''version'');' END)
		FROM (SELECT count(*) AS n, string_agg(o.name, ', ' ORDER BY o.name) FILTER (WHERE o.place <= 3) AS names
			FROM (SELECT m.deployment_id || ' v' || m.version_number AS name,
				row_number() OVER (ORDER BY m.deployment_id, m.version_number) AS place FROM miosa.missing_artifacts() m) o) w);
END $$;
COMMENT ON FUNCTION miosa.check_artifacts() IS 'Check of miosa_doctor(): has storage lost artifacts of rollback targets?';

-- The order is fixed, so that two runs can be compared.  A check that meets a
-- lock ends the run: each of those after it would wait as long.
CREATE FUNCTION @extschema@.miosa_doctor(OUT item text, OUT status text, OUT seen text, OUT fix text, OUT needs text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	checks CONSTANT text[] := ARRAY['preloaded', 'versions', 'locks', 'dispatcher', 'worker_slots', 'endpoint_entries', 'endpoints',
		'endpoint_health', 'wildcards', 'delivery_failures', 'capacity', 'outbox', 'notification_queue', 'pg_cron',
		'expired_keys', 'durability', 'replication', 'site', 'sites', 'grants', 'secrets', 'subscriptions', 'holds', 'freezes', 'fleets', 'alerts', 'restorable', 'artifacts'];
BEGIN
	PERFORM miosa.bound_waits();
	FOREACH item IN ARRAY checks LOOP
		EXECUTE format('SELECT f.status, f.seen, miosa.qualify(f.fix), f.needs FROM miosa.%I() f', 'check_' || item)
			INTO status, seen, fix, needs;
		RETURN NEXT;
	END LOOP;
EXCEPTION WHEN lock_not_available THEN
	status := 'fail';
	seen := 'a table is locked: this check and those after it were skipped';
	fix := 'See locks.';
	needs := '';
	RETURN NEXT;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_doctor() IS 'What is wrong with this installation: per item what was seen, what to do, and the role that it needs';
-- Metrics for Prometheus.
--
-- What is counted is in shared memory; what is looked up here is kept already, or
-- found by an index of few rows.  A figure that is not known (no dispatcher here,
-- nothing set up) has no row: a zero would say that all is well.  C adds the
-- counters, the types and the texts of HELP (src/api/metrics.c).

-- Counts are of so many rows at most.
CREATE FUNCTION miosa.metric_limit() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 10000;
COMMENT ON FUNCTION miosa.metric_limit() IS 'How many rows are counted at most for a metric';

-- Endpoints, each with what its metrics tell.  The breaker is known of those that
-- a dispatcher serves, and only then whether one works.
CREATE FUNCTION miosa.metric_endpoints(OUT name text, OUT zone text, OUT role text, OUT state text, OUT works boolean,
	OUT breaker_open boolean, OUT epochs_behind bigint, OUT undelivered_since timestamptz, OUT dead_letters bigint)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT s.name, s.zone, a.role, s.state,
		CASE WHEN s.breaker IS NOT NULL AND s.state <> 'new' THEN NOT miosa.endpoint_fails(s.state) END,
		s.breaker <> 'closed', s.epochs_behind, s.undelivered_since,
		CASE WHEN s.epochs_behind IS NOT NULL THEN coalesce(f.n, 0) END
	FROM miosa.stat_endpoint s
	JOIN miosa.adapters a ON a.name = s.adapter
	LEFT JOIN (
		SELECT l.endpoint, count(*) AS n
		FROM (SELECT d.endpoint FROM miosa.delivery_failures d ORDER BY d.endpoint, d.deployment_id LIMIT miosa.metric_limit()) l
		GROUP BY l.endpoint) f ON f.endpoint = s.name
	ORDER BY s.name;
END $$;
COMMENT ON FUNCTION miosa.metric_endpoints() IS 'Endpoints as metrics show them; null: not known';

-- Everything else that is not counted in shared memory.  undelivered: when the
-- oldest change was made that an endpoint lacks.
CREATE FUNCTION miosa.metric_facts(undelivered timestamptz, OUT name text, OUT label text, OUT label_value text, OUT value float8)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_column
DECLARE
	here CONSTANT boolean := NOT pg_is_in_recovery();
	at CONSTANT timestamptz := clock_timestamp();
	d record;
	w record;
BEGIN
	SELECT * INTO d FROM miosa.dispatcher();
	RETURN QUERY
	SELECT f.name, NULL::text, NULL::text, f.value::float8 FROM (VALUES
		('miosa_preloaded', (d.state <> 'not preloaded')::integer::numeric),
		('miosa_in_recovery', (NOT here)::integer),
		('miosa_dispatcher_up', CASE WHEN here THEN (d.state = 'running' AND NOT d.stalled)::integer END),
		('miosa_dispatcher_paused', CASE WHEN here AND d.pid IS NOT NULL THEN (miosa.pause_reason() IS NOT NULL)::integer END),
		('miosa_dispatcher_last_pass_age_seconds', miosa.metric_age(at, d.last_pass_at)),
		('miosa_dispatcher_term', (SELECT s.term FROM miosa.dispatcher_state s)),
		('miosa_dispatcher_requests_in_flight', CASE WHEN d.pid IS NOT NULL THEN d.in_flight END),
		('miosa_dispatcher_pending_routes', CASE WHEN d.pid IS NOT NULL THEN d.pending END),
		('miosa_outbox_rows', (SELECT count(*) FROM (SELECT FROM miosa.outbox o LIMIT miosa.metric_limit()) o)),
		('miosa_oldest_undelivered_seconds', coalesce(miosa.metric_age(at, least((SELECT o.created_at FROM miosa.outbox o ORDER BY o.xid LIMIT 1), undelivered)), 0)),
		('miosa_artifacts_missing', (SELECT count(*) FROM miosa.missing_artifacts() m)),
		('miosa_maintenance_age_seconds', (SELECT miosa.metric_age(at, m.ended_at) FROM miosa.maintenance m)),
		('miosa_holds_open', (SELECT count(*) FROM (SELECT FROM miosa.holds h WHERE miosa.is_open(h.until) LIMIT miosa.metric_limit()) h)),
		('miosa_freezes_open', (SELECT count(*) FROM miosa.freezes f WHERE f.begins <= at AND f.ends > at)),
		('miosa_audit_head_age_seconds', (SELECT miosa.metric_age(at, s.created_at)
			FROM miosa.audit_statements s ORDER BY s.number DESC LIMIT 1)),
		-- The oldest change that no head covers.
		('miosa_audit_head_lag_seconds', (SELECT coalesce((SELECT miosa.metric_age(at, g.created_at)
				FROM miosa.route_log g WHERE g.epoch > s.epoch ORDER BY g.epoch LIMIT 1), 0)
			FROM miosa.audit_statements s ORDER BY s.number DESC LIMIT 1))
		) f (name, value)
	WHERE f.value IS NOT NULL;

	RETURN QUERY
	SELECT 'miosa_dispatcher_state', 'state', s.state, (s.state = d.state)::integer::float8
	FROM unnest('{not preloaded,none,starting,running,paused,absent,aside,stopped}'::text[]) s (state);

	SELECT count(*) AS waiting, coalesce(sum(greatest(c.desired - c.healthy, 0)), 0) AS missing INTO w
	FROM (SELECT p.desired_replicas AS desired, i.healthy
		FROM (SELECT c.deployment_id, c.version_id FROM miosa.capacity c WHERE c.state = 'wanted' LIMIT miosa.metric_limit() / 10) l
		JOIN miosa.deployments p ON p.id = l.deployment_id AND p.active_version_id = l.version_id AND p.state <> 'stopped'
		CROSS JOIN LATERAL miosa.count_instances(p.id, l.version_id) i) c;
	-- Replicas, by the clock of this site; one without a report has no age.
	RETURN QUERY
	SELECT v.name, 'site', r.site, v.value::float8
	FROM (SELECT * FROM miosa.replica_sites s ORDER BY s.site LIMIT miosa.metric_limit() / 10) r
	CROSS JOIN LATERAL (VALUES
		('miosa_site_endpoints', r.edges::numeric),
		('miosa_site_endpoints_behind', r.behind),
		('miosa_site_epochs_behind', r.epochs_behind),
		('miosa_site_dead_letters', r.failures),
		('miosa_site_report_age_seconds', miosa.metric_age(at, nullif(r.heard_at, 'epoch')))) v (name, value)
	WHERE v.value IS NOT NULL;

	RETURN QUERY VALUES
		('miosa_deployments_waiting', NULL::text, NULL::text, w.waiting::float8),
		('miosa_instances_missing', NULL, NULL, w.missing::float8),
		('miosa_deployments_overdue', NULL, NULL, (SELECT count(*) FROM miosa.all_overdue(true))::float8);
END $$;
COMMENT ON FUNCTION miosa.metric_facts(timestamptz) IS 'Metrics of the database that are not counted in shared memory: name, a label or none, and value';

-- Clocks may differ between servers, so a time may be to come.
CREATE FUNCTION miosa.metric_age(at timestamptz, since timestamptz) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(extract(epoch FROM at - since), CASE WHEN since IS NOT NULL THEN 0 END);
COMMENT ON FUNCTION miosa.metric_age(timestamptz, timestamptz) IS 'Seconds since a time, 0 for one to come; null for none';

-- All metrics as rows.
CREATE FUNCTION miosa.metric_rows(OUT name text, OUT labels jsonb, OUT value float8, OUT type text, OUT help text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10000
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan SET work_mem = '64MB'
AS 'MODULE_PATHNAME', 'mrb_metric_rows';
COMMENT ON FUNCTION miosa.metric_rows() IS 'Rows of miosa.metrics';

CREATE VIEW miosa.metrics AS SELECT * FROM miosa.metric_rows();
COMMENT ON VIEW miosa.metrics IS 'Metrics for Prometheus and other monitoring, one row a sample; what is not known has no row';
COMMENT ON COLUMN miosa.metrics.name IS 'Name of the sample; those of a histogram end in _bucket, _sum and _count';
COMMENT ON COLUMN miosa.metrics.labels IS 'Labels, texts all';
COMMENT ON COLUMN miosa.metrics.value IS 'Value';
COMMENT ON COLUMN miosa.metrics.type IS 'gauge, counter (falls at a server start alone) or histogram';
COMMENT ON COLUMN miosa.metrics.help IS 'What it is, for people';

-- All metrics as a text.
CREATE FUNCTION @extschema@.miosa_metrics() RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan
AS 'MODULE_PATHNAME', 'miosa_metrics';
COMMENT ON FUNCTION @extschema@.miosa_metrics() IS 'Returns all metrics in the text format of Prometheus, version 0.0.4';
-- What needs somebody: miosa.overview and miosa.wall in psql; miosa_page() shows
-- the same.  What is wrong with a deployment is miosa.verdict_of()'s to say; here
-- those are found for which it has to be asked.

-- How long a change may be on its way before somebody should look.
CREATE FUNCTION miosa.patience() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '10 s'::interval;
COMMENT ON FUNCTION miosa.patience() IS 'How long edges may lack a change before the deployment needs somebody';

-- Look at positions in shared memory, as miosa.stat_endpoint does.  What an edge
-- lacks that is resynchronized, or that has received nothing yet, is not known by
-- its position.
CREATE FUNCTION miosa.late_epoch() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
BEGIN
	RETURN (SELECT min(k.epoch) FROM (
			SELECT DISTINCT coalesce(s.acked_epoch, t.acked_epoch) AS epoch
			FROM miosa.endpoints e JOIN miosa.adapters a ON a.name = e.adapter AND a.role = 'edge'
			LEFT JOIN miosa.endpoint_stats() s ON s.endpoint = e.name
			LEFT JOIN miosa.endpoint_state t ON t.endpoint = e.name AND s.endpoint IS NULL
			WHERE e.enabled AND NOT coalesce(s.resyncing, t.resync_after IS NOT NULL)) k
		WHERE (SELECT g.created_at FROM miosa.route_log g WHERE g.epoch > k.epoch ORDER BY g.epoch LIMIT 1)
			< clock_timestamp() - miosa.patience());
END $$;
COMMENT ON FUNCTION miosa.late_epoch() IS 'Every enabled edge has confirmed the changes up to here, and one lacks a change behind it for longer than miosa.patience(); null when none does';

-- Deployments that serve nothing: no instance of the active version is healthy,
-- none is asked for, and none is about to start.  Those for which instances are
-- asked are in miosa.overdue.
CREATE FUNCTION miosa.silent_deployments(OUT id text, OUT since timestamptz) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
DECLARE
	horizon CONSTANT timestamptz := miosa.heartbeat_horizon();
BEGIN
	RETURN QUERY
	SELECT p.id, n.since
	FROM (SELECT i.deployment_id, i.version_id, max(coalesce(i.healthy_until, i.last_heartbeat_at, i.updated_at)) AS since,
			bool_or(miosa.is_starting(i.state)) AS starts
		FROM miosa.runtime_instances i
		WHERE i.state <> 'healthy' OR coalesce(i.last_heartbeat_at, i.updated_at) <= horizon
		GROUP BY i.deployment_id, i.version_id) n
	JOIN miosa.deployments p ON p.id = n.deployment_id AND p.active_version_id = n.version_id
	JOIN miosa.versions v ON v.deployment_id = p.id AND v.id = p.active_version_id AND v.kind <> 'static'
	WHERE p.serving_version_id IS NULL AND p.desired_replicas > 0 AND p.state NOT IN ('stopped', 'failed') AND miosa.sees_tenant(p.tenant_id)
		AND (NOT n.starts OR miosa.cutover_due(n.since) <= clock_timestamp())
		AND NOT EXISTS (SELECT FROM miosa.live_instances i WHERE i.deployment_id = p.id AND i.version_id = p.active_version_id)
		AND NOT EXISTS (SELECT FROM miosa.capacity c WHERE c.deployment_id = p.id AND c.version_id = p.active_version_id AND c.state = 'wanted');
END $$;
COMMENT ON FUNCTION miosa.silent_deployments() IS 'Deployments whose active version has lost its instances, and since when';

-- Deployments that may have to be looked at.  Of those that edges lack, the
-- oldest 10,000 changes are read.
CREATE FUNCTION miosa.troubled(OUT id text, OUT rank integer, OUT since timestamptz) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
DECLARE
	late CONSTANT bigint := miosa.late_epoch();
	long_ago CONSTANT timestamptz := clock_timestamp() - miosa.patience();
BEGIN
	RETURN QUERY
	WITH lacked AS (
		(SELECT g.deployment_id, g.created_at FROM miosa.route_log g
			WHERE g.epoch > late AND g.kind IN ('route', 'host_removed') ORDER BY g.epoch LIMIT 10000)
		UNION ALL
		(SELECT o.deployment_id, o.created_at FROM miosa.outbox o WHERE o.kind IN ('route', 'host_removed') ORDER BY o.xid LIMIT 10000)
		UNION ALL
		(SELECT f.deployment_id, f.first_failed_at FROM miosa.delivery_failures f LIMIT 10000)
	), found AS (
		SELECT p.id, 1 AS rank, NULL::timestamptz AS since FROM miosa.deployments p
			WHERE p.state = 'failed' AND p.active_version_id IS NOT NULL AND miosa.sees_tenant(p.tenant_id)
		UNION ALL
		SELECT s.id, 1, s.since FROM miosa.silent_deployments() s
		UNION ALL
		SELECT o.id, CASE WHEN o.serving_version_id IS NULL THEN 1 ELSE 2 END, clock_timestamp() - o.waits FROM miosa.overdue_rows(false) o
		UNION ALL
		SELECT p.id, 3, l.since
			FROM (SELECT o.deployment_id, min(o.created_at) AS since FROM lacked o GROUP BY o.deployment_id) l
			JOIN miosa.deployments p ON p.id = l.deployment_id
			WHERE l.since < long_ago AND p.state <> 'stopped' AND p.active_version_id IS NOT NULL AND miosa.sees_tenant(p.tenant_id)
	)
	SELECT DISTINCT ON (f.id) f.id, f.rank, f.since FROM found f ORDER BY f.id, f.rank, f.since;
END $$;
COMMENT ON FUNCTION miosa.troubled() IS 'Deployments that need somebody: rank 1 serves nothing, 2 waits for instances for too long, 3 edges may lack its route; and since when';

-- The verdict on the first of them, those that serve nothing before the others,
-- and the newest trouble first.  For those that edges may lack it is asked edge
-- by edge, which takes long where there are thousands: after a while no more
-- of them are looked at, but three.  The last row has the numbers alone.
CREATE FUNCTION miosa.needs(most integer, OUT deployment_id text, OUT since timestamptz, OUT code text, OUT text text,
	OUT total bigint, OUT unknown bigint)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
#variable_conflict use_variable
DECLARE
	long_enough CONSTANT interval := '50 ms';
	ends timestamptz;
	found record;
	d miosa.deployments;
	listed integer := 0;
	looked integer := 0;
	confirmed integer := 0;
	counted bigint;
	done bigint;
	certain bigint := 0;
	uncertain bigint := 0;
BEGIN
	FOR found IN
		SELECT t.id, t.rank, t.since, count(*) FILTER (WHERE t.rank < 3) OVER () AS certain, count(*) FILTER (WHERE t.rank = 3) OVER () AS uncertain
		FROM miosa.troubled() t ORDER BY t.rank, t.since DESC NULLS LAST, t.id LIMIT most + 1000
	LOOP
		certain := found.certain;
		uncertain := found.uncertain;
		EXIT WHEN listed >= most;
		SELECT * INTO d FROM miosa.deployments p WHERE p.id = found.id;
		IF found.rank = 3 THEN
			ends := coalesce(ends, clock_timestamp() + long_enough);
			EXIT WHEN looked >= 3 AND clock_timestamp() > ends;
			looked := looked + 1;
			SELECT e.counted, e.done INTO counted, done FROM miosa.count_edges(d.id) e;
		END IF;
		SELECT v.code, v.text INTO code, text FROM miosa.verdict_of(d, counted, done) v;
		IF found.rank = 3 THEN
			-- The late edges do not receive it, or have just confirmed it.
			CONTINUE WHEN code IN ('ok', 'converged', 'unknown', 'waiting', 'not_switched');
			confirmed := confirmed + 1;
		END IF;
		deployment_id := d.id;
		since := found.since;
		listed := listed + 1;
		RETURN NEXT;
	END LOOP;
	deployment_id := NULL;
	since := NULL;
	code := NULL;
	text := NULL;
	total := certain + confirmed;
	unknown := uncertain - looked;
	RETURN NEXT;
END $$;
COMMENT ON FUNCTION miosa.needs(integer) IS 'The verdict on the first deployments that need somebody; in the last row, without a deployment, how many there are, and of how many more it is not known whether edges lack them';

-- Count the edges of each zone by how far they are.  The worst is one that fails,
-- else the one that has lacked a change for the longest time.
CREATE FUNCTION miosa.zones(OUT zone text, OUT edges bigint, OUT current bigint, OUT late bigint, OUT failing bigint,
	OUT unknown bigint, OUT disabled bigint, OUT worst text, OUT state text, OUT since timestamptz, OUT error text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
BEGIN
	RETURN QUERY
	WITH judged AS (
		SELECT s.*, CASE WHEN NOT s.enabled THEN 5 WHEN miosa.endpoint_fails(s.state) THEN 1 WHEN s.state = 'resyncing' THEN 2
			WHEN s.undelivered_since < clock_timestamp() - miosa.patience() THEN 3 WHEN s.state = 'healthy' THEN 6 ELSE 4 END AS rank
		FROM miosa.stat_endpoint s JOIN miosa.adapters a ON a.name = s.adapter AND a.role = 'edge'
	), worst AS (
		SELECT DISTINCT ON (j.zone) j.zone, j.name, CASE j.rank WHEN 3 THEN 'late' ELSE j.state END AS state, j.undelivered_since,
			CASE WHEN j.last_error_at > coalesce(j.last_success_at, '-infinity') THEN j.last_error END AS error
		FROM judged j WHERE j.rank <= 3 ORDER BY j.zone, j.rank, j.undelivered_since NULLS LAST, j.name
	)
	SELECT j.zone, count(*) FILTER (WHERE j.enabled), count(*) FILTER (WHERE j.rank = 6), count(*) FILTER (WHERE j.rank IN (2, 3)),
		count(*) FILTER (WHERE j.rank = 1), count(*) FILTER (WHERE j.rank = 4), count(*) FILTER (WHERE j.rank = 5),
		min(w.name), min(w.state), min(w.undelivered_since), min(w.error)
	FROM judged j LEFT JOIN worst w ON w.zone = j.zone
	GROUP BY j.zone ORDER BY 5 DESC, 4 DESC, j.zone;
END $$;
COMMENT ON FUNCTION miosa.zones() IS 'Edges by zone, the worst zone first: those that are enabled, and of these how many have every change, lack one for too long, fail, or are unknown; none for callers who do not see endpoints';

-- Count the deployments that exist for the caller, as far as that is quick.
CREATE FUNCTION miosa.count_deployments(OUT words text)
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
DECLARE
	most CONSTANT integer := 100000;
	n bigint;
BEGIN
	SELECT count(*) INTO n FROM (SELECT FROM miosa.deployments p WHERE miosa.sees_tenant(p.tenant_id) LIMIT most + 1) p;
	words := CASE WHEN n > most THEN format('over %s deployments', most) WHEN n = 1 THEN '1 deployment' ELSE format('%s deployments', n) END;
END $$;
COMMENT ON FUNCTION miosa.count_deployments() IS 'How many deployments there are, in words';

-- The overview in lines.
CREATE FUNCTION miosa.overview_rows(OUT wrong text, OUT since text, OUT next text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	well boolean := true;
	edges record;
	need record;
	listed bigint := 0;
BEGIN
	IF NOT miosa.is_delivering() THEN
		well := false;
		wrong := 'NOT DELIVERING';
		since := coalesce((SELECT miosa.rough_span(clock_timestamp() - d.last_pass_at) FROM miosa.dispatcher() d), '');
		next := miosa.qualify('SELECT * FROM miosa_doctor();');
		RETURN NEXT;
	END IF;
	SELECT coalesce(sum(z.edges), 0) AS n, coalesce(sum(z.failing), 0) AS failing, coalesce(sum(z.late), 0) AS late, min(z.since) AS since
		INTO edges FROM miosa.zones() z;
	IF edges.failing + edges.late > 0 THEN
		well := false;
		wrong := CASE WHEN edges.failing > 0 THEN format('%s EDGE%s DOWN', edges.failing, CASE edges.failing WHEN 1 THEN '' ELSE 'S' END)
			ELSE format('%s EDGE%s LATE', edges.late, CASE edges.late WHEN 1 THEN '' ELSE 'S' END) END;
		since := coalesce(miosa.rough_span(clock_timestamp() - edges.since), '');
		next := 'TABLE miosa.wall;';
		RETURN NEXT;
	END IF;
	FOR need IN SELECT * FROM miosa.needs(20) LOOP
		IF need.deployment_id IS NOT NULL THEN
			well := false;
			listed := listed + 1;
			wrong := split_part(need.text, ':', 1);
			since := coalesce(miosa.rough_span(clock_timestamp() - need.since), 'unknown');
			next := format('SELECT * FROM miosa.status(%L);', miosa.call_name(need.deployment_id));
			RETURN NEXT;
		ELSIF need.total > listed OR need.unknown > 0 THEN
			well := false;
			wrong := CASE WHEN need.total > listed THEN format('and %s more', need.total - listed) ELSE 'UNKNOWN' END;
			since := '';
			next := CASE WHEN need.unknown > 0 THEN format('-- edges may lack %s more, not looked at', need.unknown) ELSE '' END;
			RETURN NEXT;
		END IF;
	END LOOP;
	IF well THEN
		wrong := 'ALL IS WELL';
		since := '';
		next := format('-- %s', miosa.count_deployments()) || CASE WHEN miosa.sees_endpoints()
			THEN format(', %s edge%s', edges.n, CASE edges.n WHEN 1 THEN '' ELSE 's' END) ELSE '' END;
		RETURN NEXT;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.overview_rows() IS 'Rows of miosa.overview';

CREATE VIEW miosa.overview AS SELECT * FROM miosa.overview_rows();
COMMENT ON VIEW miosa.overview IS 'What needs somebody, for \watch 2: one line a deployment, or one that says that all is well';
COMMENT ON COLUMN miosa.overview.wrong IS 'What is wrong, as the verdict begins';
COMMENT ON COLUMN miosa.overview.since IS 'For how long';
COMMENT ON COLUMN miosa.overview.next IS 'Command to type next, which names the deployment';

-- The wall in lines.
CREATE FUNCTION miosa.wall_rows(OUT zone text, OUT edges text, OUT worst text, OUT since text, OUT state text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	z record;
	listed integer := 0;
	more integer := 0;
BEGIN
	FOR z IN
		WITH zones AS MATERIALIZED (
			SELECT * FROM miosa.zones() WITH ORDINALITY o (zone, edges, current, late, failing, unknown, disabled, worst, state, since, error, place)
		)
		SELECT 'all zones' AS zone, sum(o.edges)::bigint AS edges, sum(o.current)::bigint AS current, 0 AS place, NULL AS worst, NULL AS state,
			NULL::timestamptz AS since, NULL AS error FROM zones o HAVING count(*) > 1
		UNION ALL
		SELECT o.zone, o.edges, o.current, o.place, o.worst, o.state, o.since, o.error FROM zones o
		ORDER BY place
	LOOP
		listed := listed + 1;
		IF listed > 40 THEN
			more := more + 1;
			CONTINUE;
		END IF;
		zone := miosa.short(z.zone, 14);
		edges := coalesce(miosa.bar(z.current, z.edges, 12), 'all disabled');
		worst := coalesce(miosa.short(z.worst, 14), '');
		since := coalesce(miosa.rough_span(clock_timestamp() - z.since), '');
		state := coalesce(miosa.clip(z.state || coalesce(': ' || z.error, ''), 12), '');
		RETURN NEXT;
	END LOOP;
	IF more > 0 THEN
		zone := format('and %s more', more);
		edges := '';
		worst := '';
		since := '';
		state := '';
		RETURN NEXT;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.wall_rows() IS 'Rows of miosa.wall';

CREATE VIEW miosa.wall AS SELECT * FROM miosa.wall_rows();
COMMENT ON VIEW miosa.wall IS 'Edges by zone, for \watch 2: how many have every change, and the worst of them; the zone with the most trouble first';
COMMENT ON COLUMN miosa.wall.zone IS 'Zone; the first line is of all zones';
COMMENT ON COLUMN miosa.wall.edges IS 'Edges that have every change, of those that are enabled';
COMMENT ON COLUMN miosa.wall.worst IS 'Edge that fails, else the one that has lacked a change for the longest time';
COMMENT ON COLUMN miosa.wall.since IS 'For how long it has lacked one';
COMMENT ON COLUMN miosa.wall.state IS 'Its state, and its error, shortened; miosa.stat_endpoint has it in full';
-- What miosa_page() shows, row by row; src/api/page.c makes the page.  Values come
-- as text, as people read them, but for numbers that the page reckons with.
-- Nothing here decides anything: verdicts, zones and progress are those of the
-- console.

-- For how long something has been so, and since when.
CREATE FUNCTION miosa.since_words(at timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN at IS NULL THEN 'since when is unknown' ELSE format('for %s, since %s', miosa.span(greatest(clock_timestamp() - at, '0')),
	to_char(at, CASE WHEN at > clock_timestamp() - '20 h'::interval THEN 'HH24:MI:SS' ELSE 'YYYY-MM-DD HH24:MI' END)) END;
COMMENT ON FUNCTION miosa.since_words(timestamptz) IS 'For how long something has been so, and since when, in the session''s time zone';

-- A call of the console to paste, on as many lines as it needs.
CREATE FUNCTION miosa.paste_lines(call text, deployment_id text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT string_agg(p.line, E'\n' ORDER BY p.place) FROM miosa.paste(call, miosa.call_name(deployment_id)) WITH ORDINALITY p (line, place));
COMMENT ON FUNCTION miosa.paste_lines(text, text) IS 'A call of a console function with this deployment, in one text';

-- The subject; when the page was made, and on a standby of when its data is.
CREATE FUNCTION miosa.page_head(name text, OUT deployment_id text, OUT title text, OUT made text, OUT database text, OUT old text,
	OUT dispatcher text, OUT delivering boolean, OUT deployments text, OUT endpoints boolean, OUT clock text,
	OUT doctor text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
#variable_conflict use_variable
DECLARE
	as_of CONSTANT jsonb := miosa.stamp_as_of('{}') -> 'as_of';
	now CONSTANT timestamptz := clock_timestamp();
BEGIN
	IF name IS NOT NULL THEN
		deployment_id := miosa.find_deployment(name);
		title := (SELECT p.name FROM miosa.deployments p WHERE p.id = deployment_id);
	END IF;
	made := to_char(now, 'YYYY-MM-DD HH24:MI:SS') || ' ' || current_setting('TimeZone');
	clock := to_char(now, 'HH24:MI:SS');
	database := current_database();
	old := CASE WHEN as_of IS NULL THEN NULL
		WHEN as_of ->> 'lag_seconds' IS NULL THEN 'A standby made it, and how old its data is, is unknown: it is not connected to a primary'
			|| coalesce(format('. The newest change that it has is of %s', to_char((as_of ->> 'time')::timestamptz, 'YYYY-MM-DD HH24:MI:SS')), '')
		ELSE format('A standby made it, from data of %s, at most %s s old', to_char((as_of ->> 'time')::timestamptz, 'YYYY-MM-DD HH24:MI:SS'),
			as_of ->> 'lag_seconds') END;
	dispatcher := miosa.dispatcher_words();
	delivering := miosa.is_delivering();
	endpoints := miosa.sees_endpoints();
	doctor := miosa.qualify('SELECT * FROM miosa_doctor();');
	IF name IS NULL THEN
		deployments := miosa.count_deployments();
	END IF;
END $$;
COMMENT ON FUNCTION miosa.page_head(text) IS 'The head of miosa_page()';

-- Deployments that need somebody.
CREATE FUNCTION miosa.page_needs(most integer, OUT id text, OUT name text, OUT code text, OUT text text, OUT since text, OUT next text,
	OUT total bigint, OUT unknown bigint)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
	SELECT n.deployment_id, p.name, n.code, n.text, CASE WHEN p.id IS NOT NULL THEN miosa.since_words(n.since) END,
		miosa.paste_lines('SELECT * FROM miosa.status', n.deployment_id), n.total, n.unknown
	FROM miosa.needs($1) WITH ORDINALITY n (deployment_id, since, code, text, total, unknown, place)
	LEFT JOIN miosa.deployments p ON p.id = n.deployment_id ORDER BY n.place
$$;
COMMENT ON FUNCTION miosa.page_needs(integer) IS 'Deployments that need somebody, for miosa_page(); in the last row how many, and of how many more that is unknown';

-- Changes under way, as miosa.progress has them.  To count edges takes long where
-- there are thousands: after a while the others are only counted, but one.
CREATE FUNCTION miosa.page_progress(OUT name text, OUT operation text, OUT age text, OUT kind text, OUT done bigint, OUT total bigint,
	OUT slowest text, OUT error text, OUT more bigint)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
#variable_conflict use_variable
DECLARE
	long_enough CONSTANT interval := '30 ms';
	started CONSTANT timestamptz := clock_timestamp();
	changed record;
	zone record;
	left_out bigint := 0;
	looked integer := 0;
BEGIN
	FOR changed IN SELECT * FROM miosa.changed_lately() LOOP
		left_out := greatest(left_out, changed.number - 20);
		IF looked > 0 AND clock_timestamp() > started + long_enough THEN
			left_out := left_out + 1;
			CONTINUE;
		END IF;
		looked := looked + 1;
		SELECT p.name INTO name FROM miosa.deployments p WHERE p.id = changed.id;
		operation := changed.id || '#' || changed.seq;
		age := miosa.span(greatest(clock_timestamp() - changed.at, '0'));
		SELECT * INTO zone FROM miosa.zones_progress(changed.id) z WHERE z.whole;
		IF NOT zone.finished THEN
			kind := 'edges';
			done := zone.done;
			total := zone.total;
			slowest := zone.slowest;
			error := zone.error;
			RETURN NEXT;
		END IF;
		IF changed.waits THEN
			FOR kind, done, total, slowest, error IN
				SELECT 'instances', i.healthy, p.desired_replicas, NULL, miosa.lasting_error(c)
				FROM miosa.deployments p CROSS JOIN LATERAL miosa.count_instances(p.id, p.active_version_id) i
				LEFT JOIN miosa.capacity c ON c.deployment_id = p.id AND c.version_id = p.active_version_id AND c.state = 'wanted'
				WHERE p.id = changed.id AND p.desired_replicas > 0
			LOOP
				RETURN NEXT;
			END LOOP;
		END IF;
	END LOOP;
	IF left_out > 0 THEN
		name := NULL;
		operation := NULL;
		more := left_out;
		RETURN NEXT;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.page_progress() IS 'Changes under way, for miosa_page(); in a last row how many changed deployments were not looked at';

-- Edges by zone.
CREATE FUNCTION miosa.page_zones(OUT zone text, OUT edges bigint, OUT current bigint, OUT late bigint, OUT failing bigint, OUT unknown bigint,
	OUT disabled bigint, OUT worst text, OUT state text, OUT since text, OUT error text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
	SELECT z.zone, z.edges, z.current, z.late, z.failing, z.unknown, z.disabled, z.worst, z.state,
		CASE WHEN z.since IS NOT NULL THEN 'lacks a change ' || miosa.since_words(z.since) END, z.error
	FROM miosa.zones() WITH ORDINALITY z (zone, edges, current, late, failing, unknown, disabled, worst, state, since, error, place)
	ORDER BY z.place
$$;
COMMENT ON FUNCTION miosa.page_zones() IS 'Edges by zone, for miosa_page()';

-- What operations and refused calls came in the last hour, the newest 10,000 of
-- each.
CREATE FUNCTION miosa.page_hour(OUT kind text, OUT what text, OUT n text, OUT "all" boolean) RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
	WITH events AS (
		SELECT a.action, CASE WHEN a.target_rule <> 'none' THEN a.outcome END AS outcome FROM miosa.audit_events a
		WHERE a.created_at > clock_timestamp() - '1 h'::interval AND miosa.sees_tenant(a.tenant_id) ORDER BY a.created_at DESC LIMIT 10000
	), refused AS (
		SELECT r.condition, r.count FROM miosa.refusals r
		WHERE r.created_at > clock_timestamp() - '1 h'::interval
			AND CASE WHEN r.tenant_id IS NULL THEN miosa.sees_all_tenants() ELSE miosa.sees_tenant(r.tenant_id) END
		ORDER BY r.created_at DESC LIMIT 10000
	)
	SELECT o.kind, o.what, o.n::text, o."all" FROM (
		SELECT 1 AS place, 'operation' AS kind, coalesce((SELECT s.short FROM miosa.actions() s WHERE s.action = e.action), e.action)
			|| coalesce(' ' || e.outcome, '') AS what, count(*)::numeric AS n, (SELECT count(*) FROM events) < 10000 AS "all"
		FROM events e GROUP BY e.action, e.outcome
		UNION ALL
		SELECT 2, 'refusal', r.condition, sum(r.count), (SELECT count(*) FROM refused) < 10000 FROM refused r GROUP BY r.condition) o
	ORDER BY o.place, o.n DESC, o.what
$$;
COMMENT ON FUNCTION miosa.page_hour() IS 'Operations and refused calls of the last hour, counted, for miosa_page()';

-- The newest operations of all deployments.
CREATE FUNCTION miosa.page_recent(most integer, OUT at text, OUT id text, OUT name text, OUT what text, OUT who text, OUT why text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
	SELECT to_char(e.created_at, 'HH24:MI:SS'), e.deployment_id || '#' || e.seq, p.name, miosa.event_words(e.a), e.actor_type || ':' || e.actor_id, e.reason
	FROM (SELECT a, a.deployment_id, a.seq, a.created_at, a.actor_type, a.actor_id, a.reason FROM miosa.audit_events a
		WHERE a.created_at > clock_timestamp() - '1 h'::interval AND miosa.sees_tenant(a.tenant_id)
		ORDER BY a.created_at DESC LIMIT $1) e
	LEFT JOIN miosa.deployments p ON p.id = e.deployment_id
	ORDER BY e.created_at DESC, e.deployment_id, e.seq DESC
$$;
COMMENT ON FUNCTION miosa.page_recent(integer) IS 'The newest operations of the last hour, for miosa_page()';

-- Holds and freezes.
CREATE FUNCTION miosa.page_stops(most integer, OUT kind text, OUT name text, OUT "when" text, OUT who text, OUT why text, OUT next text, OUT n bigint)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
	SELECT s.kind, s.name, s."when", s.who, s.why, s.next, s.n FROM (
		(SELECT 1 AS place, f.begins AS at, 'frozen' AS kind, f.name, CASE WHEN f.begins <= clock_timestamp() THEN 'ends in ' || miosa.span(f.ends - clock_timestamp())
				ELSE 'begins in ' || miosa.span(f.begins - clock_timestamp()) END || coalesce(', tenant ' || f.tenant_id, ', all tenants') AS "when",
			f.actor_type || ':' || f.actor_id AS who, f.reason AS why, NULL AS next, count(*) OVER () AS n
		FROM miosa.freezes f WHERE f.ends > clock_timestamp() AND miosa.sees_freeze(f.tenant_id, f.selector) ORDER BY f.begins, f.name LIMIT $1)
		UNION ALL
		(SELECT 2, h.since, 'held', h.deployment_id, miosa.since_words(h.since)
				|| coalesce(', ends in ' || miosa.span(h.until - clock_timestamp()), '')
				|| CASE WHEN h.held > 0 THEN format(', %s promotion%s refused', h.held, CASE h.held WHEN 1 THEN '' ELSE 's' END) ELSE '' END
				|| coalesce(', ' || miosa.version_name(h.deployment_id, h.waiting_version_id) || ' waits', ''),
			h.actor_type || ':' || h.actor_id, h.reason, miosa.paste_lines('SELECT * FROM miosa.release', h.deployment_id), h.n
		FROM (SELECT h.*, count(*) OVER () AS n FROM miosa.holds h WHERE miosa.is_open(h.until) AND miosa.sees_tenant(h.tenant_id)
			ORDER BY h.since DESC, h.deployment_id LIMIT $1) h)) s
	ORDER BY s.place, CASE WHEN s.place = 1 THEN s.at END, s.at DESC, s.name
$$;
COMMENT ON FUNCTION miosa.page_stops(integer) IS 'Freezes and open holds, so many of each, for miosa_page(); n: how many there are of that kind';

-- The call in this body is resolved once, as that of call_plan() is.
CREATE FUNCTION miosa.call_doctor(OUT item text, OUT status text, OUT seen text, OUT fix text, OUT needs text) RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT d.item, d.status, d.seen, d.fix, d.needs FROM @extschema@.miosa_doctor() d;
END;
COMMENT ON FUNCTION miosa.call_doctor() IS 'Calls the extension''s miosa_doctor, whichever other functions have its name';

-- What the doctor says, to those who may call it.
CREATE FUNCTION miosa.page_doctor(OUT item text, OUT status text, OUT seen text, OUT fix text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
BEGIN
	IF NOT miosa.sees_all_tenants() OR NOT EXISTS (SELECT FROM pg_proc p
			JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
			JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'miosa_rollback'
			WHERE p.proname = 'miosa_doctor' AND p.pronamespace <> 'miosa'::regnamespace
				AND has_function_privilege(miosa.caller()::name, p.oid, 'EXECUTE')) THEN
		RETURN;
	END IF;
	RETURN QUERY SELECT d.item, d.status, d.seen, d.fix FROM miosa.call_doctor() WITH ORDINALITY d (item, status, seen, fix, needs, place)
		ORDER BY array_position('{fail,warn,ok}', d.status), d.place;
END $$;
COMMENT ON FUNCTION miosa.page_doctor() IS 'Findings of miosa_doctor(), the worst first, for miosa_page(); none for callers who may not call it';

-- Lines of miosa.status(), those that belong together in one text.
CREATE FUNCTION miosa.page_status(deployment_id text, OUT item text, OUT value text) RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
	SELECT max(g.item), string_agg(g.value, E'\n' ORDER BY g.place)
	FROM (SELECT s.item, s.value, s.place, count(nullif(s.item, '')) OVER (ORDER BY s.place) AS paragraph
		FROM miosa.status_rows($1) WITH ORDINALITY s (item, value, place)) g
	GROUP BY g.paragraph ORDER BY g.paragraph
$$;
COMMENT ON FUNCTION miosa.page_status(text) IS 'Items of miosa.status(), for miosa_page()';

-- Versions, each with the whole of its note.
CREATE FUNCTION miosa.page_candidates(deployment_id text, OUT version text, OUT last_served text, OUT served text, OUT artifact text,
	OUT expires text, OUT live text, OUT note text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
	SELECT max(g.version), max(g.last_served), max(g.served), max(g.artifact), max(g.expires), max(g.live), string_agg(g.note, ' ' ORDER BY g.place)
	FROM (SELECT c.*, count(nullif(c.version, '')) OVER (ORDER BY c.place) AS paragraph
		FROM miosa.candidates_rows($1) WITH ORDINALITY c (version, last_served, served, artifact, expires, live, note, place)) g
	GROUP BY g.paragraph ORDER BY g.paragraph
$$;
COMMENT ON FUNCTION miosa.page_candidates(text) IS 'Rows of miosa.candidates(), for miosa_page()';

-- Operations, each with its marks and its reason.
CREATE FUNCTION miosa.page_history(deployment_id text, OUT op text, OUT at text, OUT what text, OUT why text) RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE SET jit = off AS $$
	SELECT max(g.op), max(g.at), max(g.what) FILTER (WHERE g.op <> ''), string_agg(btrim(g.what), ' ' ORDER BY g.place) FILTER (WHERE g.op = '')
	FROM (SELECT h.*, count(nullif(h.op, '')) OVER (ORDER BY h.place) AS paragraph
		FROM miosa.history_rows($1, 10) WITH ORDINALITY h (op, at, what, place)) g
	GROUP BY g.paragraph ORDER BY g.paragraph
$$;
COMMENT ON FUNCTION miosa.page_history(text) IS 'Rows of miosa.history(), for miosa_page()';

-- Edges of a deployment by zone.
CREATE FUNCTION miosa.page_edges(deployment_id text, OUT zone text, OUT edge text, OUT state text, OUT age text, OUT error text,
	OUT done boolean, OUT zone_done bigint, OUT zone_edges bigint, OUT place bigint)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
	SELECT c.zone, c.endpoint, c.state, CASE WHEN NOT c.done THEN miosa.span(c.age) END, c.error, c.done,
		count(*) FILTER (WHERE c.done AND c.state <> 'excluded') OVER zone, count(*) FILTER (WHERE c.state <> 'excluded') OVER zone,
		row_number() OVER (PARTITION BY c.zone ORDER BY c.state = 'excluded', c.done, c.age DESC NULLS LAST, c.endpoint)
	FROM miosa.convergence_rows($1) c WHERE c.role = 'edge'
	WINDOW zone AS (PARTITION BY c.zone)
	ORDER BY count(*) FILTER (WHERE NOT c.done AND c.state <> 'excluded') OVER zone DESC, c.zone, 9
$$;
COMMENT ON FUNCTION miosa.page_edges(text) IS 'Edges of a deployment, the zone that lacks the route most first, for miosa_page()';

-- Make the page.
CREATE FUNCTION @extschema@.miosa_page(deployment text DEFAULT NULL) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'miosa_page';
COMMENT ON FUNCTION @extschema@.miosa_page(text) IS 'What needs somebody now, or all about one deployment, as one HTML page that needs nothing else and reloads itself';
-- Logical replication.  A publication FOR ALL TABLES has these tables too.
-- What each server makes for itself is not taken from another one.

-- Skip a row that a subscription applies.
CREATE FUNCTION miosa.keep_local() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_keep_local';
COMMENT ON FUNCTION miosa.keep_local() IS 'Trigger: skips changes of rows that a subscription applies';

-- Recognize the apply worker of a subscription.
CREATE FUNCTION miosa.is_applied() RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_is_applied';
COMMENT ON FUNCTION miosa.is_applied() IS 'Whether this process applies the changes of a subscription';

-- Both servers may have made a row of the same key by themselves, for it
-- follows from what both have: a host that was removed, a version that needs
-- instances, an instance that both have asked the scheduler about.  The origin
-- is right, since only what it does is done to what the subscription brings.
-- Without this the subscription would fail on that row for ever.
CREATE FUNCTION miosa.take_over() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF miosa.is_applied() THEN
		CASE TG_TABLE_NAME
			WHEN 'removed_hosts' THEN
				DELETE FROM miosa.removed_hosts r WHERE r.host = NEW.host;
			WHEN 'capacity' THEN
				DELETE FROM miosa.capacity c WHERE c.deployment_id = NEW.deployment_id AND c.version_id = NEW.version_id;
			WHEN 'runtime_instances' THEN
				DELETE FROM miosa.runtime_instances i WHERE i.deployment_id = NEW.deployment_id AND i.id = NEW.id;
			WHEN 'adapters' THEN
				-- Endpoints here use the shipped one of that name.
				IF EXISTS (SELECT FROM miosa.adapters a WHERE a.name = NEW.name AND a.builtin) THEN
					RETURN NULL;
				END IF;
		END CASE;
	END IF;
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.take_over() IS 'Trigger: a row that a subscription applies replaces the local row with its key';

CREATE TRIGGER keep_local_insert BEFORE INSERT ON miosa.adapters
	FOR EACH ROW WHEN (NEW.builtin) EXECUTE FUNCTION miosa.keep_local();
CREATE TRIGGER keep_local BEFORE UPDATE OR DELETE ON miosa.adapters
	FOR EACH ROW WHEN (OLD.builtin) EXECUTE FUNCTION miosa.keep_local();
ALTER TABLE miosa.adapters ENABLE REPLICA TRIGGER keep_local_insert;
ALTER TABLE miosa.adapters ENABLE REPLICA TRIGGER keep_local;

DO $$
DECLARE
	local regclass;
	derived regclass;
BEGIN
	FOREACH local IN ARRAY ARRAY['miosa.dispatcher_state', 'miosa.maintenance', 'miosa.endpoint_state',
		'miosa.delivery_failures', 'miosa.outbox', 'miosa.secrets', 'miosa.audit_statements', 'miosa.audit_receivers', 'miosa.alert_receivers', 'miosa.refusals', 'miosa.convergence_log']::regclass[]
	LOOP
		-- Work that triggers here make of a change comes at a greater depth.
		EXECUTE format('CREATE TRIGGER keep_local BEFORE INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION miosa.keep_local()', local);
		EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER keep_local', local);
	END LOOP;
	FOREACH derived IN ARRAY ARRAY['miosa.removed_hosts', 'miosa.capacity', 'miosa.runtime_instances', 'miosa.adapters']::regclass[]
	LOOP
		EXECUTE format('CREATE TRIGGER take_over BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION miosa.take_over()', derived);
		EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER take_over', derived);
	END LOOP;
END $$;
-- Sites that share routes.  A replica subscribes to the publication miosa_routes of
-- the primary site, and the primary site to miosa_site of each replica: see
-- contrib/sites/, and src/dispatcher/sites.c for how far each one has come.

-- A change of the primary site's log is work here: it gets an epoch of this
-- site's log.  Zones of caches and instances are each site's own.
CREATE FUNCTION miosa.follow_log() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT miosa.is_applied() THEN
		RETURN coalesce(NEW, OLD);
	END IF;
	IF TG_OP = 'INSERT' AND NEW.kind IN ('route', 'host_removed') AND miosa.setting('site_role') = 'replica' THEN
		-- It came here now, by the clock of this site.  What follow_host() has
		-- queued in the same transaction has no epoch yet.
		INSERT INTO miosa.outbox AS o (deployment_id, kind, route_seq, host, origin_epoch)
			VALUES (NEW.deployment_id, NEW.kind, NEW.route_seq, NEW.host, NEW.epoch)
			ON CONFLICT ON CONSTRAINT outbox_pkey DO UPDATE SET origin_epoch = excluded.origin_epoch,
				host = coalesce(o.host || ',' || excluded.host, o.host, excluded.host);
		PERFORM miosa.wake();
	END IF;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.follow_log() IS 'Trigger: makes work of a change that a subscription brings from the primary site, and skips its row';

CREATE TRIGGER follow_log BEFORE INSERT OR UPDATE OR DELETE ON miosa.route_log
	FOR EACH ROW EXECUTE FUNCTION miosa.follow_log();
ALTER TABLE miosa.route_log ENABLE REPLICA TRIGGER follow_log;

-- The primary site's log has the move of a host later than the domain: queued with
-- it, the new deployment is sent before the other one, whatever is sent meanwhile.
CREATE FUNCTION miosa.follow_host() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT miosa.is_applied() OR miosa.setting('site_role') <> 'replica' THEN
		RETURN NULL;
	END IF;
	INSERT INTO miosa.outbox AS o (deployment_id, kind, route_seq, host)
		SELECT d.id, 'route', d.route_seq, CASE WHEN d.id = OLD.deployment_id THEN NEW.fqdn END
		FROM miosa.deployments d WHERE d.id IN (OLD.deployment_id, NEW.deployment_id)
		ON CONFLICT ON CONSTRAINT outbox_pkey DO UPDATE SET host = coalesce(o.host || ',' || excluded.host, o.host, excluded.host);
	PERFORM miosa.wake();
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.follow_host() IS 'Trigger: makes work of a host that a subscription moves to another deployment';

CREATE TRIGGER follow_host AFTER UPDATE ON miosa.domains
	FOR EACH ROW WHEN (OLD.deployment_id <> NEW.deployment_id AND OLD.state = 'active' AND NEW.state = 'active')
	EXECUTE FUNCTION miosa.follow_host();
ALTER TABLE miosa.domains ENABLE REPLICA TRIGGER follow_host;

-- The row of the primary site comes first with a copy of all routes, after which
-- every edge is sent all of them.
CREATE FUNCTION miosa.follow_site() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	applied CONSTANT boolean := miosa.is_applied();
BEGIN
	IF applied THEN
		IF (NEW.role = 'primary') <> (miosa.setting('site_role') = 'replica') THEN
			RETURN NULL;
		END IF;
		DELETE FROM miosa.sites s WHERE s.role = NEW.role AND (s.role = 'primary' OR s.site = NEW.site);
	END IF;
	IF NEW.role = 'primary' THEN
		-- Edges here receive all routes anew, or other sites epochs from now on.
		IF applied THEN
			UPDATE miosa.endpoints e SET generation = e.generation + 1;
		END IF;
		PERFORM miosa.queue_settings();
	END IF;
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.follow_site() IS 'Trigger: a copy of another site''s row replaces the one that is there; with the primary site''s, every edge is resynchronized';

CREATE TRIGGER follow_site BEFORE INSERT ON miosa.sites
	FOR EACH ROW EXECUTE FUNCTION miosa.follow_site();
ALTER TABLE miosa.sites ENABLE REPLICA TRIGGER follow_site;

-- The epochs of a primary site rise, unless it was restored: then a replica can
-- have changes that it has not.
CREATE FUNCTION miosa.follow_restore() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF miosa.is_applied() THEN
		NEW.went_back_at := clock_timestamp();
	END IF;
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.follow_restore() IS 'Trigger: notes that a subscription brings an older epoch of the primary site';

CREATE TRIGGER follow_restore BEFORE UPDATE ON miosa.sites
	FOR EACH ROW WHEN (NEW.role = 'primary' AND NEW.epoch < OLD.epoch) EXECUTE FUNCTION miosa.follow_restore();
ALTER TABLE miosa.sites ENABLE REPLICA TRIGGER follow_restore;

-- What the primary site publishes is not written at a replica.
CREATE FUNCTION miosa.refuse_replica() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_refuse_replica';
COMMENT ON FUNCTION miosa.refuse_replica() IS 'Trigger: raises NOT_PRIMARY at a site that gets its routes from another one';

DO $$
DECLARE
	published regclass;
BEGIN
	FOREACH published IN ARRAY ARRAY['miosa.tenants', 'miosa.deployments', 'miosa.versions', 'miosa.releases', 'miosa.domains']::regclass[] LOOP
		EXECUTE format('CREATE TRIGGER refuse_replica BEFORE INSERT OR UPDATE OR DELETE ON %s FOR EACH STATEMENT EXECUTE FUNCTION miosa.refuse_replica()', published);
	END LOOP;
END $$;

-- Sites of different versions may publish different columns.
CREATE FUNCTION miosa.extension_version() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT e.extversion FROM pg_extension e WHERE e.extname = 'miosa_rollback';
END;
COMMENT ON FUNCTION miosa.extension_version() IS 'Version of the extension in this database';

-- Say at the primary site which epoch is the newest; false when it has no replicas.
CREATE FUNCTION miosa.tell_sites(epoch bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	UPDATE miosa.sites s SET epoch = $1, told_at = clock_timestamp(), version = miosa.extension_version(),
			changed_at = CASE WHEN s.epoch = $1 THEN s.changed_at ELSE clock_timestamp() END
		FROM miosa.identity() i WHERE s.role = 'primary' AND s.site = i.site;
	RETURN FOUND;
END $$;
COMMENT ON FUNCTION miosa.tell_sites(bigint) IS 'Writes the primary site''s row; false when there is none';

-- Say at a replica which epoch of the primary site all edges have.  When they
-- lack nothing, and no change waits, that is the newest one that is known here.
-- A row of this site under another name is left from before it was renamed.
CREATE FUNCTION miosa.report_site(confirmed bigint, idle boolean, edges integer, behind integer) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp AS $$
	DELETE FROM miosa.sites s USING miosa.identity() i WHERE s.role = 'replica' AND s.site <> i.site;
	INSERT INTO miosa.sites AS s (role, site, epoch, told_at, edges, behind, failures, failed, version)
		SELECT 'replica', i.site, greatest($1, CASE WHEN $2 AND NOT EXISTS (SELECT FROM miosa.outbox o WHERE o.origin_epoch IS NOT NULL) THEN p.epoch END),
			coalesce(p.told_at, 'epoch'), $3, $4, f.failures, f.failed, miosa.extension_version()
		FROM miosa.identity() i LEFT JOIN miosa.sites p ON p.role = 'primary'
		CROSS JOIN (SELECT count(DISTINCT l.deployment_id) AS failures, coalesce(array_agg(DISTINCT l.deployment_id) FILTER (WHERE l.place <= 100), '{}') AS failed
			FROM (SELECT d.deployment_id, dense_rank() OVER (ORDER BY d.deployment_id) AS place FROM miosa.delivery_failures d) l) f
		ON CONFLICT (role, site) DO UPDATE SET told_at = excluded.told_at, edges = excluded.edges, behind = excluded.behind,
			failures = excluded.failures, failed = excluded.failed, version = excluded.version, epoch = greatest(s.epoch, excluded.epoch),
			changed_at = CASE WHEN s.epoch >= excluded.epoch THEN s.changed_at ELSE clock_timestamp() END
$$;
COMMENT ON FUNCTION miosa.report_site(bigint, boolean, integer, integer) IS 'Writes a replica''s row';

-- Empty a replica, so that it can be copied anew.  Its edges keep what they have,
-- since the dispatcher is paused until the copy is complete.  Then they are sent
-- everything, with epochs of a new term, which are higher than all that they have
-- seen, and the removal of hosts that are routed no more.
CREATE FUNCTION miosa.forget_primary_site() RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	subscription CONSTANT text := (SELECT s.subname FROM miosa.site_subscriptions('miosa_routes') s LIMIT 1);
	own record;
	forgotten bigint;
BEGIN
	IF miosa.setting('site_role') <> 'replica' THEN
		RAISE EXCEPTION 'this site does not get its routes from another one' USING ERRCODE = 'object_not_in_prerequisite_state',
			DETAIL = 'miosa_rollback.site_role is "primary".', HINT = 'Call the function at the replica that is to be copied anew.';
	ELSIF subscription IS NOT NULL THEN
		RAISE EXCEPTION 'this site is still subscribed to its routes' USING ERRCODE = 'object_not_in_prerequisite_state',
			DETAIL = format('Subscription %I exists.', subscription),
			HINT = format('Type DROP SUBSCRIPTION %1$I; if the primary site has lost its slot, first: ALTER SUBSCRIPTION %1$I DISABLE; ALTER SUBSCRIPTION %1$I SET (slot_name = NONE);', subscription);
	END IF;
	LOCK TABLE miosa.deployments;
	SELECT count(*) INTO forgotten FROM miosa.deployments;
	INSERT INTO miosa.removed_hosts (host, deployment_id) SELECT h.host, h.deployment_id FROM miosa.hosts h
		ON CONFLICT (host) DO UPDATE SET deployment_id = excluded.deployment_id, removed_at = excluded.removed_at;
	TRUNCATE miosa.tenants, miosa.deployments, miosa.versions, miosa.releases, miosa.domains,
		miosa.runtime_instances, miosa.capacity, miosa.freezes;
	DELETE FROM miosa.outbox o WHERE o.origin_epoch IS NOT NULL;
	-- A primary site that has lost this one's row gets it as a new one.
	SELECT s.site, s.told_at, s.edges INTO own FROM miosa.sites s JOIN miosa.identity() i ON i.site = s.site WHERE s.role = 'replica';
	DELETE FROM miosa.sites;
	IF own.site IS NOT NULL THEN
		INSERT INTO miosa.sites (role, site, told_at, edges, behind) VALUES ('replica', own.site, own.told_at, own.edges, own.edges);
	END IF;
	UPDATE miosa.dispatcher_state s SET term = s.term + 1, last_epoch = miosa.first_epoch(s.term + 1),
		term_since = clock_timestamp(), origin_epoch = 0;
	PERFORM miosa.queue_settings();
	RETURN format('%s deployments forgotten', forgotten);
END $$;
COMMENT ON FUNCTION miosa.forget_primary_site() IS 'Empties a replica that has dropped its subscription, so that it can be copied anew';

-- Replicas as the primary site knows them, each as one edge.  All times are those
-- of the primary site's clock.
CREATE VIEW miosa.replica_sites AS
	SELECT 'site:' || r.site AS name, r.site, r.epoch, p.epoch - r.epoch AS epochs_behind, r.edges, r.behind, r.failures, r.failed,
		r.told_at AS heard_at, p.told_at - r.told_at > '30 s' AS silent
	FROM miosa.sites r JOIN miosa.sites p ON p.role = 'primary'
	WHERE r.role = 'replica' AND r.edges > 0;
COMMENT ON VIEW miosa.replica_sites IS 'At the primary site: replicas that have edges, and how far they are';
COMMENT ON COLUMN miosa.replica_sites.name IS 'Name as an edge, site: and its name';
COMMENT ON COLUMN miosa.replica_sites.site IS 'miosa_rollback.site there';
COMMENT ON COLUMN miosa.replica_sites.epoch IS 'Newest epoch of the route log here that all of its edges have';
COMMENT ON COLUMN miosa.replica_sites.epochs_behind IS 'How many epochs it lacks';
COMMENT ON COLUMN miosa.replica_sites.edges IS 'Edges that it delivers to';
COMMENT ON COLUMN miosa.replica_sites.behind IS 'How many of them lack a change that the site has';
COMMENT ON COLUMN miosa.replica_sites.failures IS 'How many deployments one of them refuses';
COMMENT ON COLUMN miosa.replica_sites.failed IS 'These deployments, the first 100';
COMMENT ON COLUMN miosa.replica_sites.heard_at IS 'When the newest thing that it has received was written here';
COMMENT ON COLUMN miosa.replica_sites.silent IS 'Whether that is more than 30 s before what others have received';
-- What is wrong with sites that share routes, for check_sites() of the doctor.
-- Each function returns problems, which have a place: the lowest is the first to
-- mend.

CREATE TYPE miosa.site_problem AS (place integer, status text, seen text, fix text);
COMMENT ON TYPE miosa.site_problem IS 'Something that is wrong with sites';
COMMENT ON COLUMN miosa.site_problem.place IS 'The lowest one is the first to mend';
COMMENT ON COLUMN miosa.site_problem.status IS 'warn or fail';
COMMENT ON COLUMN miosa.site_problem.seen IS 'What was found';
COMMENT ON COLUMN miosa.site_problem.fix IS 'Command or action that resolves it';

-- What is decoded while there is no publication ends the subscription with an
-- error, for ever.
CREATE FUNCTION miosa.publication_fix(file text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT format('In psql: \i contrib/sites/%s; what was decoded without it cannot be received: drop the subscription to it and make it anew, at a replica after SELECT miosa.forget_primary_site();', $1)
$$;
COMMENT ON FUNCTION miosa.publication_fix(text) IS 'How a publication of sites is made anew';

-- A publication is made once, but a table or the setting may go away.
CREATE FUNCTION miosa.publication_problems(publication text, file text, published text[]) RETURNS SETOF miosa.site_problem
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	WITH missing AS (
		SELECT string_agg(n.name, ', ' ORDER BY n.place) AS names FROM unnest($3) WITH ORDINALITY n (name, place)
		WHERE NOT EXISTS (SELECT FROM pg_publication_tables t WHERE t.pubname = $1 AND t.schemaname = 'miosa' AND t.tablename = n.name))
	SELECT 10, 'fail', format('there is no publication %s', $1), miosa.publication_fix($2)
	WHERE NOT EXISTS (SELECT FROM pg_publication p WHERE p.pubname = $1)
	UNION ALL
	SELECT 11, 'fail', format('publication %s lacks tables: %s', $1, m.names), format('DROP PUBLICATION %s; ', $1) || miosa.publication_fix($2)
	FROM missing m WHERE m.names IS NOT NULL AND EXISTS (SELECT FROM pg_publication p WHERE p.pubname = $1)
	UNION ALL
	SELECT 12, 'fail', format('wal_level is %s: nothing can be subscribed to', current_setting('wal_level')),
		'ALTER SYSTEM SET wal_level = ''logical''; then restart the server.'
	WHERE current_setting('wal_level') <> 'logical'
$$;
COMMENT ON FUNCTION miosa.publication_problems(text, text, text[]) IS 'Problems of a publication that should have these tables';

-- A slot keeps WAL until its subscriber has received it.
CREATE FUNCTION miosa.slot_problems() RETURNS SETOF miosa.site_problem
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	SELECT CASE s.wal_status WHEN 'lost' THEN 20 ELSE 21 END, CASE s.wal_status WHEN 'lost' THEN 'fail' ELSE 'warn' END,
		CASE s.wal_status WHEN 'lost' THEN format('slot "%s" has lost WAL that its subscriber needs', s.slot_name)
			ELSE format('slot "%s", %s, keeps %s of WAL', s.slot_name, CASE WHEN s.active THEN 'active' ELSE 'which nobody reads' END,
				pg_size_pretty(pg_current_wal_lsn() - s.restart_lsn)) END,
		format(CASE s.wal_status WHEN 'lost' THEN 'Where it is subscribed to, drop the subscription and make it anew; a replica first forgets: SELECT miosa.forget_primary_site(); here: SELECT pg_drop_replication_slot(%L);'
			ELSE 'At its subscriber: SELECT * FROM miosa_doctor(); if that was given up: SELECT pg_drop_replication_slot(%L);' END, s.slot_name)
	FROM pg_replication_slots s
	WHERE NOT pg_is_in_recovery() AND s.database = current_database() AND s.plugin = 'pgoutput'
		AND (s.wal_status <> 'reserved' OR pg_current_wal_lsn() - s.restart_lsn > 1073741824)
$$;
COMMENT ON FUNCTION miosa.slot_problems() IS 'Slots of subscriptions to this database that keep more WAL than max_wal_size or 1 GB';

-- Nothing comes by a subscription that is disabled.
CREATE FUNCTION miosa.subscription_problems(publication text) RETURNS SETOF miosa.site_problem
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT 5, 'fail', format('subscription %I is disabled', s.subname), format('ALTER SUBSCRIPTION %I ENABLE;', s.subname)
	FROM miosa.site_subscriptions($1) s WHERE NOT s.enabled
$$;
COMMENT ON FUNCTION miosa.subscription_problems(text) IS 'Subscriptions to a publication that are disabled';

-- Replicas, as the primary site sees them.  All times are those of its clock.
CREATE FUNCTION miosa.replica_problems() RETURNS SETOF miosa.site_problem
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	SELECT 30, 'fail', format('site "%s" is silent: it lacks what was written %s before the newest', r.site, miosa.span(p.told_at - r.heard_at)),
		format('At that site: SELECT * FROM miosa_doctor(); if it was given up: DROP SUBSCRIPTION %I; DELETE FROM miosa.sites WHERE site = %L;', 'miosa_site_' || r.site, r.site)
	FROM miosa.replica_sites r JOIN miosa.sites p ON p.role = 'primary' WHERE r.silent
	UNION ALL
	SELECT 31, 'fail', format('edges of site "%s" refuse deployments: %s %s', r.site, r.failures,
			miosa.some_names(array_to_string(r.failed[1:3], ', '), r.failures)),
		'At that site: TABLE miosa.delivery_failures; when it is repaired: SELECT miosa_redrive(''endpoint'');'
	FROM miosa.replica_sites r WHERE r.failures > 0
	UNION ALL
	SELECT 32, 'warn', format('site "%s" lacks a change for more than 30 s: epochs %s, edges behind %s of %s', r.site, r.epochs_behind, r.behind, r.edges),
		'At that site: SELECT * FROM miosa_doctor();'
	FROM miosa.replica_sites r JOIN miosa.sites p ON p.role = 'primary'
	WHERE NOT r.silent AND EXISTS (SELECT FROM miosa.route_log l WHERE l.epoch > r.epoch AND l.created_at < p.told_at - interval '30 s')
	UNION ALL
	SELECT 33, 'warn', format('site "%s" has version %s of the extension, and this one %s', s.site, s.version, miosa.extension_version()),
		'Install the same version on both servers, then where it is older: ALTER EXTENSION miosa_rollback UPDATE;'
	FROM miosa.sites s WHERE s.role = 'replica' AND s.version NOT IN ('', miosa.extension_version())
$$;
COMMENT ON FUNCTION miosa.replica_problems() IS 'What is wrong with replicas, at the primary site';

-- At the primary site, also one that has no replica any more.
CREATE FUNCTION miosa.primary_site_problems() RETURNS SETOF miosa.site_problem
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	SELECT 1, 'fail', format('subscription %I brings routes of another site, but miosa_rollback.site_role is primary', s.subname),
		format('ALTER SYSTEM SET miosa_rollback.site_role = ''replica''; SELECT pg_reload_conf(); DROP SUBSCRIPTION %1$I; SELECT miosa.forget_primary_site(); then subscribe again.', s.subname)
	FROM miosa.site_subscriptions('miosa_routes') s
	UNION ALL
	SELECT 2, 'fail', format('replicas know this site as "%s", but miosa_rollback.site is "%s"', s.site, i.site),
		'In psql: \i contrib/sites/primary.sql'
	FROM miosa.sites s, miosa.identity() i WHERE s.role = 'primary' AND s.site <> i.site
	UNION ALL
	SELECT 3, 'fail', 'this site says nothing to replicas: it has no row in miosa.sites, as after a restore from a dump',
		'In psql: \i contrib/sites/primary.sql'
	WHERE EXISTS (SELECT FROM pg_publication p WHERE p.pubname = 'miosa_routes') AND NOT EXISTS (SELECT FROM miosa.sites s WHERE s.role = 'primary')
	UNION ALL
	SELECT * FROM miosa.subscription_problems('miosa_site')
	UNION ALL
	SELECT * FROM miosa.publication_problems('miosa_routes', 'primary.sql',
		ARRAY['tenants', 'deployments', 'versions', 'releases', 'domains', 'removed_hosts', 'route_log', 'sites'])
	UNION ALL
	SELECT * FROM miosa.slot_problems()
	UNION ALL
	SELECT * FROM miosa.replica_problems()
$$;
COMMENT ON FUNCTION miosa.primary_site_problems() IS 'What is wrong with sites, at the primary site';

-- At a replica.  When it last received something is by its own clock.
CREATE FUNCTION miosa.replica_site_problems() RETURNS SETOF miosa.site_problem
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	SELECT 1, 'fail', 'paused: ' || p.reason, p.fix
	FROM miosa.site_pause() p WHERE p.reason IS NOT NULL AND EXISTS (SELECT FROM miosa.site_subscriptions('miosa_routes'))
	UNION ALL
	SELECT 2, 'fail', 'this replica has no subscription to miosa_routes' || coalesce('; paused: ' || p.reason, ''),
		'CREATE SUBSCRIPTION miosa_routes CONNECTION ''...'' PUBLICATION miosa_routes; if it had one before, first: SELECT miosa.forget_primary_site();'
	FROM miosa.site_pause() p WHERE NOT EXISTS (SELECT FROM miosa.site_subscriptions('miosa_routes'))
	UNION ALL
	SELECT 3, 'fail', 'the primary site has gone back to older epochs: it was restored', miosa.copy_fix()
	FROM miosa.sites s WHERE s.role = 'primary' AND s.went_back_at IS NOT NULL
	UNION ALL
	SELECT * FROM miosa.subscription_problems('miosa_routes')
	UNION ALL
	SELECT 6, 'warn', format('nothing was received from the primary site for %s', coalesce(miosa.span(clock_timestamp() - w.received_at), 'as long as the subscription is')),
		'See subscriptions; then SELECT * FROM pg_stat_subscription;'
	FROM miosa.site_subscriptions('miosa_routes') s CROSS JOIN LATERAL (
		SELECT count(a.pid) AS workers, max(a.last_msg_receipt_time) AS received_at FROM pg_stat_subscription a WHERE a.subid = s.id AND a.relid IS NULL) w
	WHERE s.enabled AND (w.workers = 0 OR w.received_at < clock_timestamp() - interval '30 s')
	UNION ALL
	SELECT * FROM miosa.publication_problems('miosa_site', 'replica.sql', ARRAY['sites'])
	UNION ALL
	SELECT 13, 'warn', 'the primary site does not subscribe to miosa_site, and so does not count this one',
		format('There: CREATE SUBSCRIPTION %I CONNECTION ''...'' PUBLICATION miosa_site;', 'miosa_site_' || i.site)
	FROM miosa.identity() i WHERE NOT EXISTS (SELECT FROM pg_replication_slots r WHERE r.database = current_database() AND r.plugin = 'pgoutput')
	UNION ALL
	SELECT * FROM miosa.slot_problems()
	UNION ALL
	SELECT 33, 'warn', format('the primary site has version %s of the extension, and this one %s', s.version, miosa.extension_version()),
		'Install the same version on both servers, then where it is older: ALTER EXTENSION miosa_rollback UPDATE;'
	FROM miosa.sites s WHERE s.role = 'primary' AND s.version NOT IN ('', miosa.extension_version())
$$;
COMMENT ON FUNCTION miosa.replica_site_problems() IS 'What is wrong with sites, at a replica';

-- Whether this site shares routes with others.
CREATE FUNCTION miosa.shares_routes() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT EXISTS (SELECT FROM miosa.sites) OR miosa.setting('site_role') = 'replica'
		OR EXISTS (SELECT FROM pg_publication p WHERE p.pubname = 'miosa_routes')
		OR EXISTS (SELECT FROM miosa.site_subscriptions('miosa_routes'))
$$;
COMMENT ON FUNCTION miosa.shares_routes() IS 'Whether this site shares routes with others';
-- DROP EXTENSION is refused while there is data (src/api/drop_guard.c).

-- Load the library before anything is dropped.
CREATE FUNCTION miosa.load_drop_guard() RETURNS event_trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_load_drop_guard';
COMMENT ON FUNCTION miosa.load_drop_guard() IS 'Event trigger: loads the library, which refuses to drop the extension while it has data';

-- The commands that can reach the extension, by name or by CASCADE.
CREATE EVENT TRIGGER miosa_rollback_drop ON ddl_command_start
	WHEN TAG IN ('DROP EXTENSION', 'DROP OWNED', 'DROP SCHEMA')
	EXECUTE FUNCTION miosa.load_drop_guard();
COMMENT ON EVENT TRIGGER miosa_rollback_drop IS 'Loads the library, which refuses to drop the extension while it has data';
-- Limits of texts and JSON values in rows that people write by plain SQL.
-- Arguments of functions have the same limits (src/base/size_limit.c).

-- Show a limit.
CREATE FUNCTION miosa.size_limit(name text, type regtype) RETURNS integer
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_size_limit';
COMMENT ON FUNCTION miosa.size_limit(text, regtype) IS 'Limit in bytes of an argument or a column with this name and type';

-- Refuse what is too long.
CREATE FUNCTION miosa.limit_sizes() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_limit_sizes';
COMMENT ON FUNCTION miosa.limit_sizes() IS 'Trigger: raises INVALID_ARGUMENT for a text or a JSON value that is too long';

-- All tables but those that only operations and the dispatcher write, which
-- pay for each trigger.  An operation updates a deployment's row without firing
-- deployments_pointer, so that one checks what a plain UPDATE writes there.
DO $$
DECLARE
	t record;
BEGIN
	FOR t IN
		SELECT c.relname AS name FROM pg_class c
		WHERE c.relnamespace = 'miosa'::regnamespace AND c.relkind = 'r'
			AND c.relname <> ALL (ARRAY['idempotency_keys', 'audit_events', 'outbox', 'route_log', 'removed_hosts', 'capacity',
				'fleet_runs', 'removed_artifacts',
				'endpoint_state', 'delivery_failures', 'dispatcher_state', 'maintenance',
				'audit_checkpoints', 'audit_statements', 'audit_receivers', 'schema_reports', 'refusals',
				'convergence_log', 'holds', 'alerts', 'alert_receivers'])
		ORDER BY c.relname
	LOOP
		EXECUTE format('CREATE TRIGGER limit_sizes BEFORE INSERT%s ON miosa.%I FOR EACH ROW EXECUTE FUNCTION miosa.limit_sizes()',
			CASE t.name WHEN 'deployments' THEN '' ELSE ' OR UPDATE' END, t.name);
	END LOOP;
END $$;
-- Changes of the configuration are audited: who changed what, from what to what.
--
-- All events of an installation are one chain.  A change takes its place in it
-- when its transaction commits, by a deferred trigger: so the lock on the chain's
-- row is the last one of every transaction, and is held for the commit alone.
--
-- A restored copy begins a chain of its own, with the rows that the restore
-- inserts, and keeps the one that it has brought.

CREATE TABLE miosa.configuration_events (
	chain text COLLATE "C" NOT NULL,
	seq bigint NOT NULL,
	kind text NOT NULL,
	object text NOT NULL,
	action text NOT NULL,
	was jsonb,
	becomes jsonb,
	reason text,
	actor_type text NOT NULL,
	actor_id text NOT NULL,
	session_user_name text NOT NULL,
	client_addr inet,
	created_at timestamptz NOT NULL,
	hash bytea NOT NULL,
	PRIMARY KEY (chain, seq)
);
CREATE INDEX configuration_events_object ON miosa.configuration_events (kind, object, created_at);
CREATE INDEX configuration_events_time ON miosa.configuration_events (created_at);
COMMENT ON TABLE miosa.configuration_events IS 'One event a change of the configuration; append-only for everybody';
COMMENT ON COLUMN miosa.configuration_events.chain IS 'Chain that it belongs to: one for each installation that the database has been';
COMMENT ON COLUMN miosa.configuration_events.seq IS 'Number in the chain, in the order of commits';
COMMENT ON COLUMN miosa.configuration_events.kind IS 'Table whose row was changed; dispatcher for what is no row';
COMMENT ON COLUMN miosa.configuration_events.object IS 'Key of the row, its parts with slashes between them';
COMMENT ON COLUMN miosa.configuration_events.action IS 'insert, update, delete, or what was done';
COMMENT ON COLUMN miosa.configuration_events.was IS 'Values before that have changed; all of a deleted row; never a secret';
COMMENT ON COLUMN miosa.configuration_events.becomes IS 'The same values since; all of a new row';
COMMENT ON COLUMN miosa.configuration_events.reason IS 'Why, if the row says so';
COMMENT ON COLUMN miosa.configuration_events.actor_type IS 'user, api_key, role or system';
COMMENT ON COLUMN miosa.configuration_events.actor_id IS 'Id of the actor, of that type';
COMMENT ON COLUMN miosa.configuration_events.session_user_name IS 'Role that logged in';
COMMENT ON COLUMN miosa.configuration_events.client_addr IS 'Address of the client; null over a Unix socket';
COMMENT ON COLUMN miosa.configuration_events.created_at IS 'When the change was committed';
COMMENT ON COLUMN miosa.configuration_events.hash IS 'SHA-256 over the event and the hash of the one before it';

CREATE TABLE miosa.configuration_chains (
	chain text COLLATE "C" PRIMARY KEY,
	seq bigint NOT NULL DEFAULT 0,
	hash bytea
) WITH (fillfactor = 10);
COMMENT ON TABLE miosa.configuration_chains IS 'Heads of the chains of configuration events';
COMMENT ON COLUMN miosa.configuration_chains.chain IS 'Chain';
COMMENT ON COLUMN miosa.configuration_chains.seq IS 'Number of its newest event';
COMMENT ON COLUMN miosa.configuration_chains.hash IS 'Hash of that event; null for none';

CREATE TABLE miosa.configuration_chain (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	chain text COLLATE "C" NOT NULL
);
COMMENT ON TABLE miosa.configuration_chain IS 'The chain of this installation; one row, which is not dumped';
COMMENT ON COLUMN miosa.configuration_chain.one IS 'Always true';
COMMENT ON COLUMN miosa.configuration_chain.chain IS 'Chain that new events belong to';
INSERT INTO miosa.configuration_chain (chain) VALUES (gen_random_uuid()::text);
INSERT INTO miosa.configuration_chains (chain) SELECT c.chain FROM miosa.configuration_chain c;
CREATE TRIGGER keep_local BEFORE INSERT OR UPDATE OR DELETE ON miosa.configuration_chain
	FOR EACH ROW EXECUTE FUNCTION miosa.keep_local();
ALTER TABLE miosa.configuration_chain ENABLE REPLICA TRIGGER keep_local;

-- Compute the hash of an event.
CREATE FUNCTION miosa.configuration_hash(event miosa.configuration_events, previous bytea) RETURNS bytea
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_configuration_hash';
COMMENT ON FUNCTION miosa.configuration_hash(miosa.configuration_events, bytea) IS 'The hash that a configuration event should have, after an event with this hash; null for none';

-- Read the actor, as operations do.
CREATE FUNCTION miosa.current_actor(OUT type text, OUT id text)
LANGUAGE c STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_current_actor';
COMMENT ON FUNCTION miosa.current_actor() IS 'Type and id of the actor of the current call';

-- Append an event to the chain.  Locks the chain until the transaction ends.
CREATE FUNCTION miosa.note_configuration(kind text, object text, action text, was jsonb, becomes jsonb, reason text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '5 s' AS $$
#variable_conflict use_variable
DECLARE
	e miosa.configuration_events;
	previous bytea;
	actor record;
BEGIN
	-- A subscription brings the origin's events.
	IF miosa.is_applied() THEN
		RETURN;
	END IF;
	SELECT * INTO actor FROM miosa.current_actor();
	SELECT c.chain, c.seq + 1, c.hash INTO e.chain, e.seq, previous FROM miosa.configuration_chains c
		WHERE c.chain = (SELECT o.chain FROM miosa.configuration_chain o) FOR UPDATE;
	e.kind := kind;
	e.object := object;
	e.action := action;
	e.was := was;
	e.becomes := becomes;
	e.reason := reason;
	e.actor_type := actor.type;
	e.actor_id := actor.id;
	e.session_user_name := session_user;
	e.client_addr := inet_client_addr();
	e.created_at := clock_timestamp();
	e.hash := miosa.configuration_hash(e, previous);
	INSERT INTO miosa.configuration_events SELECT (e).*;
	UPDATE miosa.configuration_chains c SET seq = e.seq, hash = e.hash WHERE c.chain = e.chain;
END $$;
COMMENT ON FUNCTION miosa.note_configuration(text, text, text, jsonb, jsonb, text) IS 'Appends an event to the chain of configuration events, which stays locked until the transaction ends';

-- The first argument has the columns of the key, the second those that are left
-- out, each with commas.  An update notes the columns that it changes.  A
-- secret's value is shown as asterisks by its type, so its change is seen in the
-- images of the rows.
CREATE FUNCTION miosa.configuration_event() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET intervalstyle = 'postgres' SET timezone = 'UTC' AS $$
DECLARE
	left_out CONSTANT text[] := string_to_array(TG_ARGV[1], ',');
	was jsonb := to_jsonb(OLD) - left_out;
	becomes jsonb := to_jsonb(NEW) - left_out;
	object text := (SELECT string_agg(coalesce(becomes, was) ->> k, '/' ORDER BY n) FROM unnest(string_to_array(TG_ARGV[0], ',')) WITH ORDINALITY u (k, n));
	secret CONSTANT boolean := TG_TABLE_NAME = 'secrets';
BEGIN
	IF coalesce(becomes, was) ->> 'builtin' = 'true' THEN
		RETURN NULL;
	ELSIF TG_OP = 'UPDATE' THEN
		IF NOT secret THEN
			SELECT jsonb_object_agg(o.key, o.value), jsonb_object_agg(o.key, becomes -> o.key) INTO was, becomes
				FROM jsonb_each(was) o WHERE o.value IS DISTINCT FROM becomes -> o.key;
		END IF;
		IF becomes IS NULL OR secret AND OLD *= NEW THEN
			RETURN NULL;
		END IF;
	END IF;
	PERFORM miosa.note_configuration(TG_TABLE_NAME, object, lower(TG_OP COLLATE "C"), was, becomes, to_jsonb(NEW) ->> 'reason');
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.configuration_event() IS 'Trigger: notes a change of a row as a configuration event';

-- Everything about these.
CREATE CONSTRAINT TRIGGER configuration AFTER INSERT OR UPDATE OR DELETE ON miosa.endpoints DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('name', 'generation,origin,created_at,updated_at');
CREATE CONSTRAINT TRIGGER configuration AFTER INSERT OR UPDATE OR DELETE ON miosa.adapters DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('name', '');
CREATE CONSTRAINT TRIGGER configuration AFTER INSERT OR UPDATE OR DELETE ON miosa.secrets DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('name', 'value');
CREATE CONSTRAINT TRIGGER configuration AFTER INSERT OR UPDATE OR DELETE ON miosa.storages DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('prefix', 'created_at,updated_at');
CREATE CONSTRAINT TRIGGER configuration AFTER INSERT OR UPDATE OR DELETE ON miosa.freezes DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('name', 'actor_type,actor_id,created_at');
CREATE CONSTRAINT TRIGGER configuration AFTER INSERT OR UPDATE OR DELETE ON miosa.own_plans DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('name', '');
CREATE CONSTRAINT TRIGGER configuration AFTER INSERT OR UPDATE OR DELETE ON miosa.tenants DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('id', 'created_at,updated_at');
CREATE CONSTRAINT TRIGGER configuration AFTER INSERT OR UPDATE OR DELETE ON miosa.tenant_members DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('tenant_id,role_name', 'granted_at');
CREATE CONSTRAINT TRIGGER configuration AFTER INSERT OR UPDATE OR DELETE ON miosa.schemas DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('tenant_id,name', 'version,compatible_from,applied_at,reported_by,reported_at');
-- Of the tables that are fed, what takes something away or moves it.
CREATE CONSTRAINT TRIGGER configuration AFTER DELETE OR UPDATE OF fqdn, deployment_id ON miosa.domains DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('fqdn', 'created_at,updated_at');
CREATE CONSTRAINT TRIGGER configuration AFTER DELETE ON miosa.deployments DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('id', 'created_at,updated_at');
CREATE CONSTRAINT TRIGGER configuration_update AFTER UPDATE OF slug, tenant_id ON miosa.deployments DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW WHEN ((OLD.slug, OLD.tenant_id) IS DISTINCT FROM (NEW.slug, NEW.tenant_id))
	EXECUTE FUNCTION miosa.configuration_event('id', 'updated_at');
CREATE CONSTRAINT TRIGGER configuration AFTER DELETE ON miosa.versions DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('deployment_id,id', 'created_at,updated_at');
CREATE CONSTRAINT TRIGGER configuration_update AFTER UPDATE OF pinned, state ON miosa.versions DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW WHEN (OLD.pinned <> NEW.pinned OR OLD.state <> NEW.state AND NEW.state = 'archived')
	EXECUTE FUNCTION miosa.configuration_event('deployment_id,id', 'updated_at');
CREATE CONSTRAINT TRIGGER configuration AFTER UPDATE OF collected_at, deleted_at ON miosa.releases DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW WHEN ((OLD.collected_at, OLD.deleted_at) IS DISTINCT FROM (NEW.collected_at, NEW.deleted_at))
	EXECUTE FUNCTION miosa.configuration_event('deployment_id,id', 'updated_at');

-- Keep events as they are, and let heads only move forward.
CREATE FUNCTION miosa.configuration_keep() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'configuration_chains' THEN
		IF (to_jsonb(NEW) ->> 'seq')::bigint > (to_jsonb(OLD) ->> 'seq')::bigint THEN
			RETURN NEW;
		END IF;
	END IF;
	PERFORM miosa.raise_condition('FORBIDDEN', 'configuration events cannot be changed', format('%s on miosa.%I was refused.', TG_OP, TG_TABLE_NAME),
		'Read them with SELECT miosa_configuration_log();');
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.configuration_keep() IS 'Trigger: raises FORBIDDEN on changes of configuration events';
CREATE TRIGGER configuration_keep BEFORE UPDATE OR DELETE ON miosa.configuration_events FOR EACH ROW EXECUTE FUNCTION miosa.configuration_keep();
CREATE TRIGGER configuration_truncate BEFORE TRUNCATE ON miosa.configuration_events FOR EACH STATEMENT EXECUTE FUNCTION miosa.configuration_keep();
CREATE TRIGGER configuration_keep BEFORE UPDATE OR DELETE ON miosa.configuration_chains FOR EACH ROW EXECUTE FUNCTION miosa.configuration_keep();
CREATE TRIGGER configuration_truncate BEFORE TRUNCATE ON miosa.configuration_chains FOR EACH STATEMENT EXECUTE FUNCTION miosa.configuration_keep();
ALTER TABLE miosa.configuration_events ENABLE ALWAYS TRIGGER configuration_keep;
ALTER TABLE miosa.configuration_events ENABLE ALWAYS TRIGGER configuration_truncate;

-- Return a page of configuration events.
CREATE FUNCTION @extschema@.miosa_configuration_log(kind text DEFAULT NULL, object text DEFAULT NULL, since timestamptz DEFAULT NULL,
	until timestamptz DEFAULT NULL, "limit" integer DEFAULT 50) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	PERFORM miosa.need_all_tenants();
	PERFORM miosa.check_limit("limit", 200);
	RETURN (SELECT jsonb_build_object('data', coalesce(jsonb_agg(to_jsonb(p) - '{hash,created_at}'::text[]
			|| jsonb_build_object('created_at', miosa.iso(p.created_at), 'hash', encode(p.hash, 'hex')) ORDER BY p.created_at DESC, p.seq DESC), '[]'))
		FROM (SELECT * FROM miosa.configuration_events e
			WHERE (kind IS NULL OR e.kind = kind) AND (object IS NULL OR e.object = object)
				AND (since IS NULL OR e.created_at >= since) AND (until IS NULL OR e.created_at < until)
			ORDER BY e.created_at DESC, e.seq DESC LIMIT "limit") p);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_configuration_log(text, text, timestamptz, timestamptz, integer) IS 'Configuration events, newest first: {"data": [event...]}';

-- The chains, compared with their heads.
CREATE FUNCTION miosa.configuration_problems() RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET jit = off AS $$
	SELECT coalesce(jsonb_agg(jsonb_build_object('chain', p.chain, 'seq', p.seq, 'problem', p.problem) ORDER BY p.chain, p.seq), '[]') FROM (
		SELECT v.chain, v.seq, CASE WHEN v.seq <> v.expected THEN format('event %s of the configuration is missing', v.expected)
			ELSE 'the event of the configuration does not match its hash' END AS problem
		FROM (SELECT e.chain, e.seq, coalesce(lag(e.seq) OVER w, 0) + 1 AS expected, e.hash = miosa.configuration_hash(e, lag(e.hash) OVER w) AS matches
			FROM miosa.configuration_events e WINDOW w AS (PARTITION BY e.chain ORDER BY e.seq)) v
		WHERE v.seq <> v.expected OR NOT v.matches
		UNION ALL
		SELECT coalesce(c.chain, l.chain), coalesce(l.seq, 0), 'the newest event of the configuration is not the head of the chain'
		FROM miosa.configuration_chains c
		FULL JOIN (SELECT DISTINCT ON (e.chain) e.chain, e.seq, e.hash FROM miosa.configuration_events e ORDER BY e.chain, e.seq DESC) l ON l.chain = c.chain
		WHERE (coalesce(l.seq, 0), l.hash) IS DISTINCT FROM (c.seq, c.hash)) p
$$;
COMMENT ON FUNCTION miosa.configuration_problems() IS 'Configuration events that are missing or do not match their hash';

-- One that was kept outside must still be there.
CREATE FUNCTION miosa.configuration_known(chain text, seq bigint, hash bytea) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT jsonb_build_array(jsonb_build_object('chain', $1, 'seq', $2, 'problem', 'the event of the configuration is missing or has another hash than was given'))
	WHERE NOT EXISTS (SELECT FROM miosa.configuration_events e WHERE e.chain = $1 AND e.seq = $2 AND e.hash = $3)
$$;
COMMENT ON FUNCTION miosa.configuration_known(text, bigint, bytea) IS 'The problem if a configuration event is missing or has not this hash';

-- The line of statements.
CREATE FUNCTION miosa.configuration_line() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT format(E'configuration %s %s %s\n', c.chain, c.seq, encode(c.hash, 'hex'))
	FROM miosa.configuration_chains c JOIN miosa.configuration_chain o ON o.chain = c.chain WHERE c.seq > 0
$$;
COMMENT ON FUNCTION miosa.configuration_line() IS 'Head of the configuration events, as statements of the audit trail have it; null before the first one';
-- Row-level security: what a role reads and writes by plain SQL.  Functions of
-- the extension run with the rights of its owner, to whom policies do not apply,
-- and look at tenants themselves; src/operation/tenancy.c decides for both.
-- FORCE has policies apply to an owner of single tables, too.

DO $$
DECLARE
	t record;
BEGIN
	FOR t IN
		SELECT r.name,
			CASE r.kind
				WHEN 'tenant' THEN 'miosa.sees_tenant(tenant_id)'
				WHEN 'tenants' THEN 'miosa.sees_tenant(id)'
				WHEN 'members' THEN 'miosa.sees_tenant(tenant_id) OR miosa.sees_all_tenants()'
				WHEN 'deployment' THEN 'miosa.sees_deployment(deployment_id)'
				WHEN 'refusals' THEN 'CASE WHEN tenant_id IS NULL THEN miosa.sees_all_tenants() ELSE miosa.sees_tenant(tenant_id) END'
				WHEN 'tenant_or_all' THEN 'CASE WHEN tenant_id = ''*'' THEN miosa.sees_all_tenants() ELSE miosa.sees_tenant(tenant_id) END'
				WHEN 'fleets' THEN 'miosa.sees_fleet(tenant_id, acts_for)'
				WHEN 'freezes' THEN 'miosa.sees_freeze(tenant_id, selector)'
				WHEN 'all' THEN 'miosa.sees_all_tenants()'
				WHEN 'endpoints' THEN 'miosa.sees_endpoints()' END AS seen,
			CASE r.kind
				WHEN 'tenant' THEN CASE r.name WHEN 'deployments' THEN 'miosa.may(tenant_id, ''deploy'')'
					ELSE 'miosa.may(tenant_id, ''deploy'') AND miosa.sees_deployment(deployment_id)' END
				ELSE 'miosa.sees_all_tenants()' END AS written
		FROM (VALUES
			('fleet_runs', 'fleets'),
			('tenants', 'tenants'), ('tenant_members', 'members'),
			('deployments', 'tenant'), ('versions', 'tenant'), ('releases', 'tenant'), ('runtime_instances', 'tenant'),
			('domains', 'tenant'), ('audit_events', 'tenant'),
			('capacity', 'deployment'), ('idempotency_keys', 'deployment'), ('outbox', 'deployment'), ('route_log', 'deployment'),
			('audit_checkpoints', 'deployment'), ('audit_statements', 'all'), ('audit_receivers', 'all'),
			('watches', 'deployment'), ('alerts', 'deployment'), ('alert_receivers', 'all'),
			('schemas', 'tenant_or_all'), ('schema_reports', 'tenant_or_all'),
			('convergence_log', 'tenant'),
			('refusals', 'refusals'), ('holds', 'tenant'), ('freezes', 'freezes'), ('configuration_events', 'all'), ('configuration_chains', 'all'),
			('bad_artifacts', 'tenant_or_all'), ('removed_artifacts', 'members'),
			('removed_hosts', 'deployment'), ('delivery_failures', 'deployment'),
			('endpoints', 'endpoints'), ('endpoint_state', 'endpoints'), ('sites', 'endpoints'), ('storages', 'endpoints'), ('secrets', 'endpoints')) r (name, kind)
	LOOP
		EXECUTE format('ALTER TABLE miosa.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t.name);
		EXECUTE format('CREATE POLICY seen ON miosa.%I FOR SELECT USING (%s)', t.name, t.seen);
		EXECUTE format('CREATE POLICY inserted ON miosa.%I FOR INSERT WITH CHECK (%s)', t.name, t.written);
		EXECUTE format('CREATE POLICY updated ON miosa.%I FOR UPDATE USING (%s)', t.name, t.written);
		EXECUTE format('CREATE POLICY deleted ON miosa.%I FOR DELETE USING (%s)', t.name, t.written);
	END LOOP;
END $$;

-- pg_dump writes the policies of an extension's tables into the dump although
-- CREATE EXTENSION makes them, so that a restore would find them there already.

-- Make room for a policy that a restore brings.
CREATE FUNCTION miosa.replace_policy() RETURNS event_trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_replace_policy';
COMMENT ON FUNCTION miosa.replace_policy() IS 'Event trigger: drops a policy of the extension that a restore is about to make again';

CREATE EVENT TRIGGER miosa_rollback_policy ON ddl_command_start
	WHEN TAG IN ('CREATE POLICY')
	EXECUTE FUNCTION miosa.replace_policy();
COMMENT ON EVENT TRIGGER miosa_rollback_policy IS 'Lets a restore make the extension''s policies again';
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
		EXECUTE regexp_replace(f.definition, '^CREATE OR REPLACE FUNCTION miosa\.\w+', format('CREATE FUNCTION miosa.%I', f.name || '_body'));
		EXECUTE format('COMMENT ON FUNCTION miosa.%I(%s) IS %L', f.name || '_body', f.identity, format('What %s() calls', f.name));
		EXECUTE format('CREATE OR REPLACE FUNCTION miosa.%I(%s) RETURNS %s LANGUAGE c %s', f.name, f.arguments, f.result,
			CASE WHEN f.trigger THEN 'AS ''MODULE_PATHNAME'', ''mrb_entry_trigger'''
				ELSE 'SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS ''MODULE_PATHNAME'', ''mrb_entry_inner''' END);
	END LOOP;
END $$;
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
			EXECUTE regexp_replace(f.definition, 'AS (\$\w*\$)(.*)\1\s*$', E'BEGIN ATOMIC\\2;\nEND');
			CONTINUE WHEN NOT EXISTS (SELECT FROM pg_depend d JOIN pg_class c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid
				WHERE d.classid = 'pg_proc'::regclass AND d.objid = f.oid AND c.relkind = 'r');
			EXECUTE f.definition;
		END IF;
		EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp', f.signature);
	END LOOP;
END $$;
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
			AND p.proname LIKE 'miosa\_%' AND p.pronamespace <> 'miosa'::regnamespace);
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
-- Rights.  PUBLIC has none, whatever default privileges are set; the roles of
-- roles.sql get what the list below says, and nothing else.

-- Members of the extension: a function that another role made in our
-- schema is not ours to grant.
CREATE VIEW miosa.members AS
	SELECT d.classid, d.objid, 0 AS objsubid, o.kind, o.object, o.owner, o.acl
	FROM pg_depend d
	CROSS JOIN LATERAL (
		SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind,
			format('%s.%I', c.relnamespace::regnamespace, c.relname) AS object, c.relowner AS owner,
			coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)) AS acl
		FROM pg_class c WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relkind NOT IN ('i', 'I', 'c', 't')
		UNION ALL
		SELECT 'ROUTINE', p.oid::regprocedure::text, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
		FROM pg_proc p WHERE d.classid = 'pg_proc'::regclass AND p.oid = d.objid
		UNION ALL
		SELECT 'TYPE', t.oid::regtype::text, t.typowner, coalesce(t.typacl, acldefault('T', t.typowner))
		FROM pg_type t WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid
			-- Since PostgreSQL 17 arrays and rows of tables are members too.
			AND t.typelem = 0 AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind <> 'c')
		UNION ALL
		SELECT 'SCHEMA', n.oid::regnamespace::text, n.nspowner, coalesce(n.nspacl, acldefault('n', n.nspowner))
		FROM pg_namespace n WHERE d.classid = 'pg_namespace'::regclass AND n.oid = d.objid) o
	WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
		AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'miosa_rollback');
COMMENT ON VIEW miosa.members IS 'Members of the extension that have rights: tables, views, functions, the schema';
COMMENT ON COLUMN miosa.members.classid IS 'Catalog of the object';
COMMENT ON COLUMN miosa.members.objid IS 'OID of the object';
COMMENT ON COLUMN miosa.members.objsubid IS 'Always 0';
COMMENT ON COLUMN miosa.members.kind IS 'Kind of the object, as GRANT names it';
COMMENT ON COLUMN miosa.members.object IS 'Its name, as GRANT takes it';
COMMENT ON COLUMN miosa.members.owner IS 'Its owner';
COMMENT ON COLUMN miosa.members.acl IS 'Its rights';

-- pg_init_privs has the rights that the install script left.
CREATE VIEW miosa.foreign_grants AS
	SELECT DISTINCT g.kind, g.object, g.grantee, g.privilege,
		format('REVOKE %s ON %s %s FROM %s CASCADE;', g.privilege, g.kind, g.object, g.grantee) AS revoke
	FROM (
		SELECT m.kind, m.object, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee,
			a.privilege_type || coalesce(' (' || quote_ident(m.attname) || ')', '') AS privilege
		FROM (
			SELECT o.classid, o.objid, o.objsubid, NULL::name AS attname, o.kind, o.object, o.owner, o.acl FROM miosa.members o
			UNION ALL
			SELECT o.classid, o.objid, t.attnum, t.attname, o.kind, o.object, o.owner, t.attacl
			FROM miosa.members o JOIN pg_attribute t ON o.classid = 'pg_class'::regclass AND t.attrelid = o.objid
			WHERE t.attacl IS NOT NULL) m
		LEFT JOIN pg_init_privs i ON i.classoid = m.classid AND i.objoid = m.objid AND i.objsubid = m.objsubid
		CROSS JOIN aclexplode(m.acl) a
		-- Most are as they were, and nothing in them has to be compared.
		WHERE m.acl IS DISTINCT FROM i.initprivs AND a.grantee <> m.owner AND NOT EXISTS (
			SELECT FROM aclexplode(i.initprivs) s
			WHERE s.grantee = a.grantee AND s.privilege_type = a.privilege_type)
		-- Sites copy by a role that reads what is published, and no more.
		AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = a.grantee AND r.rolreplication AND (
			m.kind = 'SCHEMA' AND a.privilege_type = 'USAGE'
			OR m.kind = 'TABLE' AND a.privilege_type = 'SELECT' AND EXISTS (SELECT FROM pg_publication_tables p
				WHERE p.pubname IN ('miosa_routes', 'miosa_site') AND format('%I.%I', p.schemaname, p.tablename) = m.object
					AND m.attname = ANY (p.attnames))))) g;
COMMENT ON VIEW miosa.foreign_grants IS 'Rights on members of the extension that neither their owner nor the install script granted';
COMMENT ON COLUMN miosa.foreign_grants.kind IS 'Kind of the object, as REVOKE names it';
COMMENT ON COLUMN miosa.foreign_grants.object IS 'Name of the object';
COMMENT ON COLUMN miosa.foreign_grants.grantee IS 'Role that has the right, or PUBLIC';
COMMENT ON COLUMN miosa.foreign_grants.privilege IS 'The right, with the column if it is about one';
COMMENT ON COLUMN miosa.foreign_grants.revoke IS 'The statement that takes it back';

-- ALTER DEFAULT PRIVILEGES may have granted any role rights on what was made
-- above, or taken some from its owner: each object begins with its owner's
-- alone, and is given below to whom it is meant for.
CREATE FUNCTION miosa.leave_to_owner(member miosa.members) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	owner CONSTANT regrole := CASE WHEN member.object LIKE 'miosa.load\_drop\_guard(%'
		-- An event trigger, and so its function, belongs to a superuser: it runs
		-- in every session that drops something, also a superuser's.
		THEN member.owner::regrole ELSE 'miosa_owner'::regrole END;
	grantee oid;
BEGIN
	FOR grantee IN SELECT DISTINCT a.grantee FROM aclexplode(member.acl) a WHERE a.grantee NOT IN (owner, member.owner) LOOP
		EXECUTE format('REVOKE ALL ON %s %s FROM %s CASCADE', member.kind, member.object,
			CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END);
	END LOOP;
	EXECUTE format('ALTER %s %s OWNER TO %s', member.kind, member.object, owner);
	EXECUTE format('GRANT ALL ON %s %s TO %s', member.kind, member.object, owner);
END $$;

DO $$
DECLARE
	m miosa.members;
BEGIN
	FOR m IN SELECT * FROM miosa.members LOOP
		PERFORM miosa.leave_to_owner(m);
	END LOOP;
END $$;

-- Who may what: role, right, objects.  A name without a schema is that of a
-- function for programs.  A group has also what the groups have that it is a
-- member of (roles.sql): operators and deployers are viewers, administrators
-- are all.  docs/security.md has this list for people.
--
-- No group may write a table, not even insert rows: a row that routes a host, or
-- is the artifact of what is active, changes what edges serve, and only the
-- functions record and deliver that.
DO $$
DECLARE
	line record;
BEGIN
	FOR line IN WITH
		granted (roles, rights, objects) AS (VALUES
		-- To read what there is, and how delivery goes.
		('miosa_viewer', 'USAGE', 'miosa'),
		('miosa_viewer', 'EXECUTE', 'miosa_deployment miosa_version miosa_versions miosa_plan miosa_audit_log
			miosa_route miosa_routes_since miosa_convergence miosa_wait_converged miosa_timeline miosa_report miosa_page miosa.timeline
			miosa_plan_many miosa.plan_many miosa.fleets_rows miosa.status miosa.verdict miosa.candidates miosa.history miosa.wildcard_gaps
			miosa.schema_fits'),
		('miosa_viewer', 'SELECT', 'miosa.plans miosa.own_plans miosa.shipped_plans miosa.tenants miosa.deployments
			miosa.fleet_runs miosa.fleets miosa.runtime_instances miosa.capacity miosa.storages miosa.domains miosa.audit_events miosa.refusals miosa.convergence_log
			miosa.outbox miosa.route_log miosa.removed_hosts miosa.adapters miosa.endpoints miosa.endpoint_state
			miosa.delivery_failures miosa.sites miosa.replica_sites miosa.dispatcher_state miosa.maintenance miosa.tenant_members
			miosa.watches miosa.alerts miosa.hosts miosa.routes miosa.live_instances miosa.progress miosa.overview miosa.wall miosa.overdue
			miosa.schemas miosa.schema_reports miosa.bad_artifacts miosa.holds miosa.open_holds miosa.freezes miosa.open_freezes
			miosa_collectable_releases miosa.release_keeping miosa.collectable_artifacts miosa.scarcely_restorable'),
		-- All columns but those of URIs, which may be presigned.
		('miosa_viewer', 'SELECT (deployment_id, id, tenant_id, version_number, kind, state, promoted_over, promotion_seq, bad_since, bad_reason, bad_by, pinned, schema_version, schema_min, schema_max, created_by,
			source_sandbox_id, build_id, workspace_id, project_id, external_workspace_id, external_user_id, external_project_id,
			artifact_manifest, artifact_sha256, source_sha256, runtime_image, runtime_command, health_check_path, runtime_port,
			metadata, promoted_at, last_served_at, switched_at, archived_at, created_at, updated_at)', 'miosa.versions'),
		('miosa_viewer', 'SELECT (deployment_id, id, deployment_version_id, tenant_id, kind, environment_id, storage_backend, sha256,
			size_bytes, metadata, verified_at, missing_at, collected_at, collected_by, deleted_at, ready_at, created_at, updated_at)',
			'miosa.releases'),
		('miosa_admin', 'SELECT', 'miosa.versions miosa.releases'),
		-- Functions that these views call run with their reader's rights.
		('miosa_viewer', 'EXECUTE', 'miosa.shown_uri miosa.progress_rows miosa.overview_rows miosa.wall_rows miosa.heartbeat_horizon miosa.overdue_rows miosa.open_hold_rows miosa.open_freeze_rows miosa.sees_freeze miosa.stands_on miosa.bad_mark'),
		-- Policies and views ask these with the rights of the role that reads.
		('miosa_viewer, miosa_auditor, pg_monitor', 'EXECUTE', 'miosa.sees_fleet miosa.sees_tenant miosa.sees_deployment miosa.sees_all_tenants
			miosa.sees_endpoints'),
		('miosa_admin', 'EXECUTE', 'miosa.may'),
		('miosa_viewer, pg_monitor', 'SELECT', 'miosa.stat_endpoint miosa.stat_dispatcher miosa.metrics'),
		('miosa_viewer, pg_monitor', 'EXECUTE', 'miosa_metrics miosa.metric_rows miosa.endpoint_stats miosa.dispatcher miosa.pause_reason miosa.first_epoch miosa.endpoint_fails'),
		('pg_monitor', 'USAGE', 'miosa'),

		-- To roll back, to undo that by a promotion, to have edges updated.
		('miosa_operator', 'EXECUTE', 'miosa_rollback_many miosa_rollback_fleet miosa.rollback_many miosa.fleet_begin miosa.fleet_step miosa.fleet_pace miosa.fleet_object
			miosa_rollback miosa_promote miosa_try_rollback miosa_try_promote miosa_undo miosa.undo miosa_resend miosa_resync miosa_redrive
			miosa_test_endpoint miosa_doctor miosa.rollback miosa.promote miosa_alert'),
		('miosa_operator', 'SELECT', 'miosa.idempotency_keys miosa.foreign_grants'),
		('miosa_operator', 'EXECUTE', 'miosa.stored_response miosa.refused_address'),

		-- To feed versions and promote them: for CI.
		('miosa_deployer', 'EXECUTE', 'miosa_put_version miosa_set_version_state miosa_archive_version miosa_promote miosa_try_promote miosa.promote'),
		('miosa_operator, miosa_deployer', 'EXECUTE', 'miosa_hold miosa_release miosa.hold miosa.release miosa_mark_bad miosa_clear_bad
			miosa.mark_bad miosa.clear_bad miosa_watch miosa_unwatch miosa.watch miosa.unwatch'),

		-- To report running instances, and schemas: for migration tools.
		('miosa_agent', 'EXECUTE', 'miosa_report_instance'),
		('miosa_agent, miosa_deployer', 'EXECUTE', 'miosa_report_schema'),

		-- To read the audit trail, and who has which rights.
		('miosa_auditor', 'USAGE', 'miosa'),
		('miosa_auditor', 'EXECUTE', 'miosa_audit_log miosa_audit_verify miosa_audit_verify_all miosa_audit_verify_statement miosa_audit_head miosa_configuration_log
			miosa_timeline miosa_report miosa.history miosa.timeline'),
		('miosa_auditor', 'SELECT', 'miosa.audit_events miosa.audit_checkpoints miosa.audit_statements miosa.audit_receivers miosa.refusals miosa.convergence_log
			miosa.configuration_events miosa.configuration_chains miosa.plans miosa.tenants miosa.tenant_members miosa.members miosa.foreign_grants'),

		-- To ask for routes.
		('miosa_edge', 'EXECUTE', 'miosa_route miosa_routes_since'),

		-- To set up everything.  Of a secret it is the name that can be read.
		('miosa_admin', 'EXECUTE', 'miosa_put_plan miosa_remove_plan miosa_put_tenant miosa_remove_tenant
			miosa_grant_tenant miosa_revoke_tenant miosa_put_schema miosa_remove_schema
			miosa_put_deployment miosa_set_deployment miosa_unpublish miosa_remove_deployment
			miosa_rename_deployment miosa_move_host miosa.rename miosa.move_host
			miosa_put_domain miosa_remove_domain miosa_put_adapter miosa_remove_adapter
			miosa_put_endpoint miosa_set_endpoint miosa_remove_endpoint miosa_put_secret miosa_remove_secret
			miosa_put_freeze miosa_remove_freeze miosa_put_storage miosa_remove_storage miosa_test_storage miosa_verify_artifacts
			miosa_pin_version miosa_unpin_version miosa_collect miosa_confirm_collected
			miosa_resume miosa_reset_stats miosa_purge_expired miosa_maintain miosa_schedule_maintenance'),
		('miosa_admin', 'SELECT (name, created_at)', 'miosa.secrets'),
		-- The steps of procedures, which run with their caller's rights.
		('miosa_admin', 'EXECUTE', 'miosa.require_primary miosa.maintain_rows miosa.maintain_route_log miosa.maintain_capacity
			miosa.maintained miosa.check_limit miosa.some_deployment miosa.due_artifacts miosa.verify_artifact'),
		-- For the jobs of pg_cron.
		('miosa_admin', 'EXECUTE', 'miosa.maintain miosa.verify_artifacts miosa.maintenance_jobs')
		),
		-- Read once, since their names take long to make
		there AS MATERIALIZED (
			SELECT m.kind, m.object, m.kind = 'ROUTINE' AS routine,
				CASE WHEN m.kind = 'SCHEMA' THEN m.object ELSE CASE WHEN m.object LIKE 'miosa.%' THEN 'miosa.' ELSE '' END
					|| substring(m.object FROM '(\w+)(\([^()]*\))?$') END AS name
			FROM miosa.members m WHERE m.kind <> 'TYPE')
		SELECT g.roles, g.rights, n.name, t.kind, t.object
		FROM granted g CROSS JOIN LATERAL regexp_split_to_table(g.objects, '\s+') n (name)
		LEFT JOIN there t ON t.name = n.name AND t.routine = (g.rights = 'EXECUTE')
	LOOP
		IF line.object IS NULL THEN
			RAISE EXCEPTION 'there is no "%" to grant % on', line.name, line.rights;
		END IF;
		EXECUTE format('GRANT %s ON %s %s TO %s', line.rights, line.kind, line.object, line.roles);
	END LOOP;
END $$;
DROP FUNCTION miosa.leave_to_owner(miosa.members);

-- pg_dump: the data tables are dumped like a user's own.  Shipped adapters
-- are not, since CREATE EXTENSION makes them; nor are secrets, and
-- what the dispatcher makes by itself (delivery_tables.sql marks its own tables).
SELECT pg_extension_config_dump('miosa.own_plans', '');
SELECT pg_extension_config_dump('miosa.tenants', '');
SELECT pg_extension_config_dump('miosa.tenant_members', '');
SELECT pg_extension_config_dump('miosa.deployments', '');
SELECT pg_extension_config_dump('miosa.versions', '');
SELECT pg_extension_config_dump('miosa.releases', '');
SELECT pg_extension_config_dump('miosa.runtime_instances', '');
SELECT pg_extension_config_dump('miosa.capacity', '');
SELECT pg_extension_config_dump('miosa.storages', '');
SELECT pg_extension_config_dump('miosa.domains', '');
SELECT pg_extension_config_dump('miosa.removed_hosts', '');
SELECT pg_extension_config_dump('miosa.bad_artifacts', '');
SELECT pg_extension_config_dump('miosa.removed_artifacts', '');
SELECT pg_extension_config_dump('miosa.idempotency_keys', '');
SELECT pg_extension_config_dump('miosa.audit_events', '');
SELECT pg_extension_config_dump('miosa.watches', '');
SELECT pg_extension_config_dump('miosa.alerts', '');
SELECT pg_extension_config_dump('miosa.audit_checkpoints', '');
SELECT pg_extension_config_dump('miosa.audit_statements', '');
SELECT pg_extension_config_dump('miosa.refusals', '');
SELECT pg_extension_config_dump('miosa.schemas', '');
SELECT pg_extension_config_dump('miosa.schema_reports', '');
SELECT pg_extension_config_dump('miosa.convergence_log', '');
SELECT pg_extension_config_dump('miosa.holds', '');
SELECT pg_extension_config_dump('miosa.freezes', '');
SELECT pg_extension_config_dump('miosa.configuration_events', '');
SELECT pg_extension_config_dump('miosa.configuration_chains', '');
