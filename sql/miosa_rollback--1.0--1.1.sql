\echo Use "ALTER EXTENSION miosa_rollback UPDATE TO '1.1'" to load this file. \quit

SELECT miosa.require_library();
SET LOCAL search_path = pg_catalog, pg_temp;

-- A subscription to the routes of a site has an advice of its own.
CREATE OR REPLACE FUNCTION miosa.check_subscriptions() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('subscriptions', CASE WHEN w.failing IS NULL THEN 'ok' ELSE 'fail' END,
			CASE WHEN w.n = 0 THEN 'no subscription' WHEN w.failing IS NULL THEN format('%s enabled, none fails', w.n)
				ELSE format('subscriptions whose worker fails repeatedly: %s', miosa.clip(w.failing, 200)) END,
			-- Edges of a replica would not get what is skipped.
			CASE WHEN w.routes_fail THEN 'Read the error in the server log, and remove its cause; if that is not possible: ' || miosa.copy_fix()
				WHEN w.failing IS NOT NULL THEN 'Read the error in the server log: where people wrote the same key on both servers, delete the row here, or skip the transaction: ALTER SUBSCRIPTION name SKIP (lsn = ...);'
				ELSE '' END)
		FROM (SELECT count(*) AS n, string_agg(s.name, ', ' ORDER BY s.name) FILTER (WHERE s.fails) AS failing, bool_or(s.routes AND s.fails) AS routes_fail
			FROM (SELECT quote_ident(s.subname) AS name, 'miosa_routes' = ANY (s.subpublications) AS routes, t.apply_error_count + t.sync_error_count > 0
					AND NOT EXISTS (SELECT FROM pg_stat_subscription a WHERE a.subid = s.oid AND a.relid IS NULL AND a.pid IS NOT NULL) AS fails
				FROM pg_subscription s JOIN pg_stat_subscription_stats t ON t.subid = s.oid
				WHERE s.subenabled AND s.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())) s) w);
END $$;
