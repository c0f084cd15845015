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
	SELECT format(E'In psql: \\i contrib/sites/%s; what was decoded without it cannot be received: drop the subscription to it and make it anew, at a replica after SELECT miosa.forget_primary_site();', $1)
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
		E'In psql: \\i contrib/sites/primary.sql'
	FROM miosa.sites s, miosa.identity() i WHERE s.role = 'primary' AND s.site <> i.site
	UNION ALL
	SELECT 3, 'fail', 'this site says nothing to replicas: it has no row in miosa.sites, as after a restore from a dump',
		E'In psql: \\i contrib/sites/primary.sql'
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
