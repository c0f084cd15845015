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
		AND fqdn ~ E'^(\\*\\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
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
