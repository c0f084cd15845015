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
