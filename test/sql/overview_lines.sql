-- miosa.overview and miosa.wall: who is on the list, in which order, and what is
-- said when nobody is.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\set cleanup :abs_srcdir '/cleanup.sql'
\i :fixture
-- Edges are rows here: all is one transaction, which no dispatcher sees.
BEGIN;
CREATE OR REPLACE FUNCTION miosa.is_delivering() RETURNS boolean LANGUAGE sql VOLATILE PARALLEL SAFE RETURN true;
INSERT INTO miosa.dispatcher_state (last_epoch, site, system_identifier, timeline, database_oid, term_since)
	SELECT 6000000000000, '', i.system_identifier, i.timeline, i.database_oid, now() FROM miosa.identity() i
	ON CONFLICT (one) DO UPDATE SET last_epoch = EXCLUDED.last_epoch;
\set ECHO queries
-- Nothing is wrong where nothing is.
TABLE miosa.overview;
SELECT count(*) FROM miosa.wall;
SELECT test.history('dep_' || n, 2) FROM generate_series(1, 6) n;
SELECT test.deployment('not_published'), test.deployment('stopped', 1);
UPDATE miosa.deployments SET state = 'failed' WHERE id = 'not_published';
UPDATE miosa.deployments SET state = 'stopped' WHERE id = 'stopped';
SELECT test.history('dyn_' || n, 2, 'dynamic') FROM generate_series(1, 6) n;
SET LOCAL session_replication_role = replica;
DELETE FROM miosa.outbox;
DELETE FROM miosa.capacity;
UPDATE miosa.deployments SET state = 'running', serving_version_id = NULL, waiting_since = NULL WHERE id LIKE 'dyn%';
INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id, state, updated_at, healthy_at, healthy_until)
	SELECT 'dyn_' || n, 'i' || k, 'ten_1', 'ver_' || k, 'healthy', now(), now() - interval '1 d', NULL FROM generate_series(1, 6) n, generate_series(1, 2) k;
INSERT INTO miosa.endpoints (name, adapter, url, zone) VALUES
	('cdn-1', 'haproxy-map', 'http://cdn-1.invalid', 'eu'), ('cdn-2', 'haproxy-map', 'http://cdn-2.invalid', 'eu'),
	('cdn-3', 'haproxy-map', 'http://cdn-3.invalid', 'us'), ('cdn-4', 'haproxy-map', 'http://cdn-4.invalid', 'us');
UPDATE miosa.endpoints SET enabled = false WHERE name = 'cdn-4';
INSERT INTO miosa.route_log (epoch, deployment_id, route_seq, kind, created_at)
	SELECT 5000000000000 + row_number() OVER (ORDER BY id), id, route_seq, 'route', now() - interval '1 d' FROM miosa.deployments WHERE id ~ '^d';
INSERT INTO miosa.endpoint_state (endpoint, config, acked_epoch, settled_epoch, verified_epoch, health, acked_at, last_error, last_error_at, last_success_at, generation, resync_after)
	SELECT name, '', 6000000000000, 6000000000000, 6000000000000, 'healthy', now(), 'an old error', now() - interval '1 d', now(), generation, NULL FROM miosa.endpoints;
SET LOCAL session_replication_role = origin;
TABLE miosa.overview;
TABLE miosa.wall;

-- What serves nothing comes first, the newest trouble before older; what waits too
-- long after it.  One whose state has no time comes last.
SET LOCAL session_replication_role = replica;
UPDATE miosa.deployments SET state = 'failed' WHERE id = 'dep_1';
UPDATE miosa.runtime_instances SET state = 'failed', updated_at = now() - interval '3 h', healthy_until = now() - interval '3 h 5 min' WHERE (deployment_id, id) = ('dyn_1', 'i2');
UPDATE miosa.runtime_instances SET state = 'unhealthy', updated_at = now() - interval '1 h', healthy_until = now() - interval '2 h 5 min' WHERE (deployment_id, id) = ('dyn_2', 'i2');
UPDATE miosa.deployments SET serving_version_id = 'ver_1', waiting_since = now() - interval '2 d' WHERE id = 'dyn_3';
UPDATE miosa.runtime_instances SET state = 'starting' WHERE (deployment_id, id) = ('dyn_3', 'i2');
-- Not on the list: one that waits but not for long, one that is starting.
UPDATE miosa.deployments SET serving_version_id = 'ver_1', waiting_since = now() WHERE id = 'dyn_4';
UPDATE miosa.runtime_instances SET state = 'starting' WHERE (deployment_id, id) = ('dyn_4', 'i2');
UPDATE miosa.runtime_instances SET state = 'starting', updated_at = now() WHERE (deployment_id, id) = ('dyn_5', 'i2');
SET LOCAL session_replication_role = origin;
TABLE miosa.overview;
-- But one that has been starting for longer than cutover_deadline is.
UPDATE miosa.runtime_instances SET healthy_until = NULL, healthy_at = NULL, updated_at = now() - interval '1 h' WHERE (deployment_id, id) = ('dyn_5', 'i2');
SELECT * FROM miosa.overview WHERE next ~ 'dyn_5';

-- Edges: a change that one lacks for longer than 10 seconds, and routes that one
-- refuses.
INSERT INTO miosa.route_log (epoch, deployment_id, route_seq, kind, created_at)
	VALUES (6000000000001, 'dep_2', 9, 'route', now() - interval '4 h'), (6000000000002, 'dep_3', 9, 'route', clock_timestamp() + interval '1 min'),
	(6000000000003, 'stopped', 9, 'route', now() - interval '4 h');
UPDATE miosa.dispatcher_state SET last_epoch = 6000000000003;
UPDATE miosa.endpoint_state SET health = 'backing off', last_error = 'HTTP status 503', last_error_at = now(), last_success_at = now() - interval '4 h 1 min' WHERE endpoint = 'cdn-2';
UPDATE miosa.endpoint_state SET acked_epoch = 6000000000003 WHERE endpoint <> 'cdn-2';
INSERT INTO miosa.delivery_failures (endpoint, deployment_id, epoch, last_error, first_failed_at)
	VALUES ('cdn-3', 'dep_4', 5000000000004, 'HTTP status 400', now() - interval '5 h');
TABLE miosa.overview;
TABLE miosa.wall;
-- Late without failing; of a resync nobody knows what is lacking.
UPDATE miosa.endpoint_state SET health = 'healthy', last_error = NULL, last_error_at = NULL WHERE endpoint = 'cdn-2';
SELECT * FROM miosa.overview WHERE next ~ 'wall';
UPDATE miosa.endpoint_state SET resync_after = '' WHERE endpoint = 'cdn-2';
SELECT * FROM miosa.wall WHERE zone = 'eu';
DELETE FROM miosa.endpoint_state WHERE endpoint = 'cdn-1';
SELECT * FROM miosa.wall WHERE zone = 'eu';

-- Nothing is delivered.
CREATE OR REPLACE FUNCTION miosa.is_delivering() RETURNS boolean LANGUAGE sql VOLATILE PARALLEL SAFE RETURN false;
SELECT wrong, next FROM miosa.overview LIMIT 1;
CREATE OR REPLACE FUNCTION miosa.is_delivering() RETURNS boolean LANGUAGE sql VOLATILE PARALLEL SAFE RETURN true;

-- More than a screen of them: how many more is said.
SET LOCAL session_replication_role = replica;
INSERT INTO miosa.deployments (id, tenant_id, name, slug, state, active_version_id)
	SELECT 'many_' || n, 'ten_1', 'Many', 'many-' || n, 'failed', 'ver_1' FROM generate_series(1, 5000) n;
SET LOCAL session_replication_role = origin;
SELECT count(*) FROM miosa.overview;
SELECT * FROM miosa.overview WHERE wrong ~ 'more';
INSERT INTO miosa.endpoints (name, adapter, url, zone) SELECT 'far-' || n, 'haproxy-map', 'http://far.invalid', 'z' || n FROM generate_series(1, 50) n;
SELECT count(*) FROM miosa.wall;
SELECT * FROM miosa.wall WHERE zone ~ 'more';

-- 80 columns, also with the longest names; a command is never cut.
CREATE FUNCTION test.width(call text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
	widths integer[];
BEGIN
	EXECUTE format('SELECT ARRAY(SELECT max(length(value)) FROM (SELECT row_to_json(r) AS r FROM (%s) r) j, json_each_text(j.r) GROUP BY key)', call) INTO widths;
	RETURN (SELECT sum(w + 3) - 1 FROM unnest(widths) w);
END $$;
INSERT INTO miosa.endpoints (name, adapter, url, zone) SELECT repeat(n::text, 63), 'haproxy-map', 'http://far.invalid', repeat('z', 62) || n FROM generate_series(1, 9) n;
INSERT INTO miosa.endpoint_state (endpoint, config, acked_epoch, settled_epoch, verified_epoch, health, last_error, last_error_at, generation, resync_after)
	SELECT name, '', 5000000000000, 0, 0, 'misconfigured', repeat('error ', 50), now(), generation, NULL FROM miosa.endpoints WHERE name ~ '^\d';
SELECT test.width('TABLE miosa.wall') <= 80 AS wall, test.width('TABLE miosa.overview') <= 80 AS overview;
UPDATE miosa.deployments SET id = repeat('d', 255), slug = repeat('s', 63) WHERE id = 'many_1';
UPDATE miosa.deployments SET state = 'running' WHERE id ~ 'many|dep|dyn';
SELECT length(next) FROM miosa.overview WHERE wrong = 'NOT SERVING' ORDER BY 1 DESC LIMIT 1;
ROLLBACK;
\i :cleanup
