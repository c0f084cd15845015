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
