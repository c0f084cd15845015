-- Care: purging what has expired, scheduling that, and the doctor.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS miosa_rollback CASCADE;
CREATE EXTENSION miosa_rollback;
SELECT miosa_put_tenant('ten_1', 'acme') IS NOT NULL AS ok;
SELECT miosa_put_deployment('dep_1', 'ten_1', 'blog') IS NOT NULL AS ok;
SELECT count(miosa_put_version('dep_1', 'ver_' || n, storage_uri => 's3://b/' || n)) FROM generate_series(1, 2) n;
SELECT count(miosa_promote('dep_1', 'ver_' || n, 'key-' || n)) FROM generate_series(1, 2) n;

-- Only what has expired goes, a batch at a time.
SELECT * FROM miosa_purge_expired() WHERE what = 'idempotency_keys';
INSERT INTO miosa.idempotency_keys (deployment_id, key, operation, fingerprint, response, seq, created_at, expires_at)
	SELECT 'dep_1', 'old-' || n, 'rollback', '', '{}', 1, now() - '2 days'::interval, now() - '1 day'::interval FROM generate_series(1, 25) n;
SELECT * FROM miosa_purge_expired(10) WHERE what = 'idempotency_keys';
SELECT * FROM miosa_purge_expired(10) WHERE what = 'idempotency_keys';
SELECT * FROM miosa_purge_expired() WHERE what = 'idempotency_keys';
SELECT * FROM miosa_purge_expired() WHERE what = 'idempotency_keys';
SELECT key FROM miosa.idempotency_keys ORDER BY key;
SELECT * FROM miosa_purge_expired(0);

-- Of the route log what is older than an hour goes, if every endpoint that is
-- enabled has it, and has been told it twice where that is needed; those that
-- are disabled do not count.
DO $$
BEGIN
	FOR i IN 1 .. 400 LOOP
		EXIT WHEN (miosa.dispatcher()).state = 'running' AND NOT EXISTS (SELECT FROM miosa.outbox);
		PERFORM pg_sleep(0.05);
		COMMIT;
	END LOOP;
END $$;
BEGIN;
DELETE FROM miosa.route_log;
DELETE FROM miosa.dispatcher_state;
INSERT INTO miosa.dispatcher_state (last_epoch, site, system_identifier, timeline, database_oid)
	SELECT 1000, i.site, i.system_identifier, i.timeline, i.database_oid FROM miosa.identity() i;
INSERT INTO miosa.route_log (epoch, deployment_id, route_seq, kind, created_at)
	SELECT n, 'dep_1', n, 'route', now() - CASE WHEN n <= 80 THEN '61 min'::interval ELSE '59 min' END FROM generate_series(1, 100) n;
INSERT INTO miosa.endpoints (name, adapter, url, enabled) VALUES ('one', 'webhook', 'http://one.invalid', true),
	('two', 'varnish-xkey', 'http://two.invalid', true), ('off', 'webhook', 'http://off.invalid', false);
INSERT INTO miosa.endpoint_state (endpoint, config, acked_epoch, settled_epoch) VALUES
	('one', '', 50, 50), ('two', '', 1000, 40), ('off', '', 3, 3);
SELECT removed FROM miosa_purge_expired(25) WHERE what = 'route_log';
SELECT removed FROM miosa_purge_expired() WHERE what = 'route_log';
SELECT min(l.epoch), max(l.epoch), max(s.trimmed_epoch) AS trimmed FROM miosa.route_log l, miosa.dispatcher_state s;
UPDATE miosa.endpoint_state SET acked_epoch = 1000, settled_epoch = 1000;
SELECT removed FROM miosa_purge_expired() WHERE what = 'route_log';
SELECT min(l.epoch), max(l.epoch), max(s.trimmed_epoch) AS trimmed FROM miosa.route_log l, miosa.dispatcher_state s;
-- The dispatcher does it when nobody else has for long.
SELECT miosa.sweep(10) AS too_early;
UPDATE miosa.route_log SET created_at = now() - '2 h'::interval;
SELECT miosa.sweep(10);
SELECT count(*) FROM miosa.route_log;
-- Who is down for ever does not keep more than the newest 100,000.
UPDATE miosa.endpoint_state SET acked_epoch = 1, settled_epoch = 1;
SELECT removed FROM miosa_purge_expired() WHERE what = 'route_log';
UPDATE miosa.dispatcher_state SET last_epoch = 100095;
SELECT removed FROM miosa_purge_expired() WHERE what = 'route_log';
ROLLBACK;

-- Without pg_cron in this database: statements for where it is.
SELECT replace(s, current_database(), 'DATABASE') AS statement FROM miosa_schedule_maintenance() s;

-- The doctor looks at all of this, whatever it finds; every finding that is
-- not ok says what to do.
SELECT "check", status IN ('ok', 'warn', 'fail') AS known, (status = 'ok') = (fix = '') AS fix FROM miosa_doctor();
SELECT "check", status, seen, fix FROM miosa_doctor() WHERE "check" IN ('preloaded', 'endpoints', 'pg_cron', 'restorable');
BEGIN;
INSERT INTO miosa.endpoints (name, adapter, url) VALUES ('router-a', 'haproxy-map', 'http://router-a.invalid'), ('router-b', 'haproxy-map', 'http://router-b.invalid');
INSERT INTO miosa.endpoint_state (endpoint, config, health) VALUES ('router-a', '', 'backing off'), ('router-b', '', 'ok');
INSERT INTO miosa.delivery_failures (endpoint, deployment_id, epoch) VALUES ('router-b', 'dep_1', 1);
UPDATE miosa.versions SET state = 'archived' WHERE id = 'ver_1';
SELECT "check", status, seen, fix FROM miosa_doctor() WHERE "check" IN ('endpoints', 'endpoint_health', 'delivery_failures', 'restorable');
ROLLBACK;

DROP EXTENSION miosa_rollback CASCADE;
