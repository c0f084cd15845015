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
