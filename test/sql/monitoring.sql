-- Views for monitoring: what they show, who may read them, and the reset.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS miosa_rollback CASCADE;
CREATE EXTENSION miosa_rollback;
-- Once the dispatcher is there, the rows below are in nobody's way.
DO $$
BEGIN
	FOR i IN 1 .. 3600 LOOP
		EXIT WHEN (miosa.dispatcher()).state = 'running';
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
SELECT miosa_put_tenant('ten_1', 'acme') IS NOT NULL AS ok;
SELECT miosa_put_deployment('dep_1', 'ten_1', 'blog') IS NOT NULL AS ok;

-- What monitoring systems read is there to stay.
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS type
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relname IN ('stat_endpoint', 'stat_dispatcher') ORDER BY c.relname, a.attnum;

-- An endpoint that the dispatcher does not know: its row has to do.  All in
-- transactions that are rolled back, so that it never does.
BEGIN;
INSERT INTO miosa.endpoints (name, adapter, url, zone) VALUES
	('edge-a', 'haproxy-map', 'http://edge-a.invalid', 'eu'), ('edge-b', 'varnish-xkey', 'http://edge-b.invalid', 'eu'),
	('edge-c', 'haproxy-map', 'http://edge-c.invalid', 'us'), ('edge-d', 'webhook', 'http://edge-d.invalid', 'us');
UPDATE miosa.endpoints SET enabled = false WHERE name = 'edge-c';
DELETE FROM miosa.dispatcher_state;
INSERT INTO miosa.dispatcher_state (term, last_epoch, site, system_identifier, timeline, database_oid)
	SELECT 3, (3::bigint << 40) + 20, i.site, i.system_identifier, i.timeline, i.database_oid FROM miosa.identity() i;
INSERT INTO miosa.route_log (epoch, deployment_id, route_seq, kind, created_at)
	SELECT (3::bigint << 40) + n, 'dep_1', n, 'route', '2026-01-01 00:00:00Z'::timestamptz + n * '1 s'::interval FROM generate_series(1, 20) n;
INSERT INTO miosa.endpoint_state (endpoint, config, acked_epoch, resync_after, health, last_status, last_error, next_try_at) VALUES
	('edge-a', '', (3::bigint << 40) + 20, NULL, 'healthy', 200, NULL, NULL),
	('edge-b', '', (3::bigint << 40) + 13, 'dep_0', 'healthy', 204, NULL, NULL),
	('edge-c', '', (3::bigint << 40) + 1, NULL, 'backing off', 500, 'HTTP status 500', '2026-01-01'),
	('edge-d', '', (2::bigint << 40) + 99, NULL, 'backing off', 502, 'HTTP status 502', '2026-01-01');
SELECT name, zone, stage, state, breaker, epochs_behind AS behind, undelivered_since AT TIME ZONE 'UTC' AS since, p99_ms, sent, last_status, last_error, next_try_at IS NOT NULL AS tried_again
	FROM miosa.stat_endpoint ORDER BY name;
SELECT oldest_undelivered AT TIME ZONE 'UTC' AS oldest, term, epoch - (3::bigint << 40) AS epoch, paused FROM miosa.stat_dispatcher;
-- A route that an endpoint refuses is one that it lacks, whatever it acknowledges.
INSERT INTO miosa.delivery_failures (endpoint, deployment_id, epoch, status, last_error, first_failed_at)
	VALUES ('edge-a', 'dep_1', (3::bigint << 40) + 20, 422, 'HTTP status 422', '2025-12-31 00:00:00Z');
SELECT state, epochs_behind AS behind, undelivered_since AT TIME ZONE 'UTC' AS since FROM miosa.stat_endpoint WHERE name = 'edge-a';
SELECT oldest_undelivered AT TIME ZONE 'UTC' AS oldest FROM miosa.stat_dispatcher;
SELECT labels ->> 'endpoint' AS endpoint, value > 86400 AS old FROM miosa.metrics WHERE name = 'miosa_endpoint_oldest_undelivered_seconds' AND labels ->> 'endpoint' = 'edge-a';
UPDATE miosa.endpoints SET enabled = false WHERE name <> 'edge-a';
SELECT zone, edges, current, late, failing, worst, state, since AT TIME ZONE 'UTC' AS since, error FROM miosa.zones() WHERE edges > 0;
ROLLBACK;

-- pg_monitor reads them, and nothing else of ours.
CREATE ROLE regress_watcher IN ROLE pg_monitor;
SET ROLE regress_watcher;
SELECT count(*) FROM miosa.stat_endpoint;
SELECT count(*) FROM miosa.stat_dispatcher;
SELECT * FROM miosa.secrets;
SELECT * FROM miosa.endpoints;
SELECT * FROM miosa.endpoint_state;
SELECT * FROM miosa.outbox;
SELECT miosa_convergence('dep_1');
SELECT miosa_reset_stats();
RESET ROLE;
DROP ROLE regress_watcher;

-- Tables of one row have no statistics; the planner takes their views for cheap all
-- the same, so that nothing is compiled for them.
CREATE FUNCTION regress_cheap(view text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	EXECUTE format('EXPLAIN (FORMAT json) SELECT * FROM %s', view) INTO plan;
	RETURN (plan #>> '{0,Plan,Total Cost}')::float8 < current_setting('jit_above_cost')::float8;
END $$;
SELECT v, regress_cheap(v) FROM unnest(ARRAY['miosa.stat_endpoint', 'miosa.stat_dispatcher', 'miosa.metrics', 'miosa.overview', 'miosa.wall']) v;
DROP FUNCTION regress_cheap(text);

-- The reset is the administrators'; it writes nothing.
CREATE ROLE regress_operator IN ROLE miosa_operator;
CREATE ROLE regress_admin IN ROLE miosa_admin;
SET ROLE regress_operator;
SELECT count(*) FROM miosa.stat_endpoint;
SELECT miosa_reset_stats();
SET ROLE regress_admin;
BEGIN READ ONLY;
SELECT miosa_reset_stats();
ROLLBACK;
SELECT miosa_reset_stats('edge-z');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
DROP ROLE regress_operator, regress_admin;
SELECT size FROM miosa.endpoint_entries();
DROP EXTENSION miosa_rollback CASCADE;
