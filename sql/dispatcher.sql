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
