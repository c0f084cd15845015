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
		INSERT INTO miosa.outbox (deployment_id, kind, route_seq, host, created_at, origin_epoch)
			VALUES (NEW.deployment_id, NEW.kind, NEW.route_seq, NEW.host, NEW.created_at, NEW.epoch)
			ON CONFLICT ON CONSTRAINT outbox_pkey DO UPDATE SET origin_epoch = excluded.origin_epoch;
		PERFORM miosa.wake();
	END IF;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.follow_log() IS 'Trigger: makes work of a change that a subscription brings from the primary site, and skips its row';

CREATE TRIGGER follow_log BEFORE INSERT OR UPDATE OR DELETE ON miosa.route_log
	FOR EACH ROW EXECUTE FUNCTION miosa.follow_log();
ALTER TABLE miosa.route_log ENABLE REPLICA TRIGGER follow_log;

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

-- Say at the primary site which epoch is the newest; false when it has no replicas.
CREATE FUNCTION miosa.tell_sites(epoch bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	UPDATE miosa.sites s SET epoch = $1, told_at = clock_timestamp(),
			changed_at = CASE WHEN s.epoch = $1 THEN s.changed_at ELSE clock_timestamp() END
		FROM miosa.identity() i WHERE s.role = 'primary' AND s.site = i.site;
	RETURN FOUND;
END $$;
COMMENT ON FUNCTION miosa.tell_sites(bigint) IS 'Writes the primary site''s row; false when there is none';

-- Say at a replica which epoch of the primary site all edges have.  When they
-- lack nothing, and no change waits, that is the newest one that is known here.
CREATE FUNCTION miosa.report_site(confirmed bigint, idle boolean, edges integer, behind integer) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp AS $$
	INSERT INTO miosa.sites AS s (role, site, epoch, told_at, edges, behind, failures, failed)
		SELECT 'replica', i.site, greatest($1, CASE WHEN $2 AND NOT EXISTS (SELECT FROM miosa.outbox o WHERE o.origin_epoch IS NOT NULL) THEN p.epoch END),
			coalesce(p.told_at, 'epoch'), $3, $4, f.failures, f.failed
		FROM miosa.identity() i LEFT JOIN miosa.sites p ON p.role = 'primary'
		CROSS JOIN (SELECT count(DISTINCT l.deployment_id) AS failures, coalesce(array_agg(DISTINCT l.deployment_id) FILTER (WHERE l.place <= 100), '{}') AS failed
			FROM (SELECT d.deployment_id, dense_rank() OVER (ORDER BY d.deployment_id) AS place FROM miosa.delivery_failures d) l) f
		ON CONFLICT (role, site) DO UPDATE SET told_at = excluded.told_at, edges = excluded.edges, behind = excluded.behind,
			failures = excluded.failures, failed = excluded.failed, epoch = greatest(s.epoch, excluded.epoch),
			changed_at = CASE WHEN s.epoch >= excluded.epoch THEN s.changed_at ELSE clock_timestamp() END
$$;
COMMENT ON FUNCTION miosa.report_site(bigint, boolean, integer, integer) IS 'Writes a replica''s row';

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
