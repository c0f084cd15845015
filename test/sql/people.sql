-- The console: how people name things, what they see, and that it fits into
-- 80 columns.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS miosa_rollback CASCADE;
CREATE EXTENSION miosa_rollback;
-- The status depends on the dispatcher: it must be there.
DO $$
BEGIN
	FOR i IN 1 .. 3600 LOOP
		EXIT WHEN (miosa.dispatcher()).state = 'running';
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
CREATE FUNCTION pg_temp.width(query text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
	width integer;
BEGIN
	EXECUTE format('SELECT sum(w) + 3 * (count(*) - 1) + 2 FROM (SELECT greatest(length(k), max(length(v))) AS w
		FROM (%s) q, jsonb_each_text(to_jsonb(q)) e (k, v) GROUP BY k) c', query) INTO width;
	RETURN width;
END $$;

SELECT miosa_put_tenant('ten_1', 'acme') IS NOT NULL AS ok;
SELECT miosa_put_tenant('ten_2', 'other') IS NOT NULL AS ok;
SELECT miosa_put_deployment('dep_01HQXW5P7R8ZYFG9K2N3M4S5T6', 'ten_1', 'Blog') IS NOT NULL AS ok;
SELECT miosa_put_deployment('dep_2', 'ten_1', 'shop') IS NOT NULL AS ok;
SELECT miosa_put_deployment('dep_3', 'ten_2', 'shop') IS NOT NULL AS ok;
SELECT count(miosa_put_version('dep_01HQXW5P7R8ZYFG9K2N3M4S5T6', 'ver_01HQXW5P7R8ZYFG9K2N3M4S5T' || n, storage_uri => 's3://b/' || n))
	FROM generate_series(1, 6) n;
SELECT miosa_put_domain('blog.example.com', 'dep_01HQXW5P7R8ZYFG9K2N3M4S5T6') IS NOT NULL AS ok;

-- Names: id, host in any form, managed host, slug; nothing ambiguous.
SELECT n AS name, miosa.find_deployment(n) AS deployment
FROM unnest('{dep_2,dep_01HQXW5P7R8ZYFG9K2N3M4S5T6,blog,blog.example.com,BLOG.example.com.,shop.acme.miosa.app,shop.other.miosa.app}'::text[]) n;
SELECT * FROM miosa.status('shop');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM miosa.status('nothing');
SELECT * FROM miosa.status('');
SELECT * FROM miosa.status(NULL);
SELECT * FROM miosa.verdict('nothing');
SELECT * FROM miosa.verdict(NULL);
SELECT * FROM miosa.history('blog', 0);
SELECT v AS version, miosa.find_version('dep_01HQXW5P7R8ZYFG9K2N3M4S5T6', v)
FROM unnest('{v2,V3,ver_01HQXW5P7R8ZYFG9K2N3M4S5T4}'::text[]) v;
SELECT * FROM miosa.rollback('blog', 'v99');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM miosa.rollback('blog', 'no such');

-- Durations and names.
SELECT miosa.span(s), miosa.rough_span(s) FROM unnest('{0.2 s,59.9 s,60 s,59 min 59 s,1 h,2 h 5 min,23 h 59 min 59 s,1 day,3 days 4 h 5 min,400 days}'::interval[]) s;
SELECT miosa.short('abcdefghij', 10), miosa.short('abcdefghijk', 10), miosa.short('dep_01HQXW5P7R8ZYFG9K2N3M4S5T6', 20);
SELECT w AS wrapped FROM miosa.wrap(E'one two\nthree four, a-word-that-is-too-long-for-any-line and so on and on', 16, 4) w;
SELECT line FROM miosa.paste('SELECT * FROM miosa.status', 'blog') line;
SELECT line FROM miosa.paste('SELECT * FROM miosa.rollback', 'it''s', repeat('long-', 28)) line;
SELECT miosa.bar(0, 3), miosa.bar(2, 3), miosa.bar(999, 1000), miosa.bar(3, 3), miosa.bar(0, 0);

-- Before anything was published.
SELECT * FROM miosa.status('blog') WHERE item <> 'dispatcher';
SELECT * FROM miosa.verdict('blog');
SELECT * FROM miosa.candidates('blog');
SELECT * FROM miosa.history('blog');

-- A history of some days, then one more operation.  All in one transaction,
-- so that ages are what they are and the dispatcher sees nothing of it.
BEGIN;
SELECT item, value FROM miosa.promote('blog', 'v1');
SET LOCAL session_replication_role = replica;
UPDATE miosa.deployments SET seq = 4, route_seq = 4, active_version_id = 'ver_01HQXW5P7R8ZYFG9K2N3M4S5T4',
	recent_served = '{ver_01HQXW5P7R8ZYFG9K2N3M4S5T4}' WHERE slug = 'blog';
SET LOCAL session_replication_role = origin;
UPDATE miosa.versions v SET promoted_over = 'ver_01HQXW5P7R8ZYFG9K2N3M4S5T' || version_number - 1 WHERE version_number IN (2, 3, 4);
INSERT INTO miosa.audit_events (deployment_id, seq, tenant_id, action, outcome, target_rule, previous_version_id,
		target_version_id, actor_type, actor_id, session_user_name, reason, created_at)
	SELECT 'dep_01HQXW5P7R8ZYFG9K2N3M4S5T6', n, 'ten_1', 'deployment.version.promote', 'changed', 'named',
		'ver_01HQXW5P7R8ZYFG9K2N3M4S5T' || n - 1, 'ver_01HQXW5P7R8ZYFG9K2N3M4S5T' || n,
		'user', 'user_01HQXW5P7R8ZYFG9K2N3M4S5T6', 'app', 'release ' || n || E'\nwith notes that go on and on',
		now() - (5 - n) * '25 hours 3 minutes'::interval
	FROM generate_series(2, 4) n;
UPDATE miosa.versions SET state = 'archived' WHERE version_number = 5;
UPDATE miosa.versions SET metadata = '{"migration_compatibility": "incompatible"}' WHERE version_number = 6;
UPDATE miosa.releases SET collected_at = now() WHERE deployment_version_id LIKE '%T3';
UPDATE miosa.releases SET verified_at = now() - '10 min'::interval WHERE deployment_version_id LIKE '%T2';
SELECT version, regexp_replace(last_served, '^<1 s ago$', 'just now') AS last_served, served, artifact, expires, live, note
	FROM miosa.candidates('blog') WHERE version <> 'v1';
SELECT op, what FROM miosa.history('blog', 3);
SELECT item, value FROM miosa.rollback('blog', reason => 'errors at checkout');
SELECT op, what FROM miosa.history('blog', 1);
SELECT at ~ '^\d\d-\d\d \d\d:\d\d:\d\d$' AS to_the_second FROM miosa.history('blog', 1) WHERE at <> '';
SELECT item, value FROM miosa.rollback('blog', 'v2');
SELECT item, value FROM miosa.promote('blog', 'v4', expected_active => 'v2') WHERE item IN ('result', 'from', 'undo');
-- The same key gives the first answer again.
SELECT item, value FROM miosa.rollback('blog', 'v2', idempotency_key => 'key') WHERE item = 'result';
SELECT item, value FROM miosa.rollback('blog', 'v2', idempotency_key => 'key') WHERE item = 'result';

-- Edges: nothing is good before it is confirmed.
SELECT item, value FROM miosa.status('blog') WHERE item IN ('verdict', 'edges', 'waiting', 'hosts', 'next', 'reason');
SELECT * FROM miosa.verdict('blog');
-- The same word in each place.
SELECT edges FROM miosa.progress;
INSERT INTO miosa.endpoints (name, adapter, url, zone) VALUES
	('router-a', 'haproxy-map', 'http://router-a.invalid', 'eu'),
	('router-with-a-rather-long-name-of-its-own', 'haproxy-map', 'http://router-b.invalid', 'us'),
	('cache-a', 'varnish-xkey', 'http://cache-a.invalid', 'eu'),
	('cache-b', 'varnish-xkey', 'http://cache-b.invalid', 'us');
UPDATE miosa.endpoints SET enabled = false, reason = 'being replaced' WHERE name = 'cache-b';
SELECT item, regexp_replace(value, ' for <?[0-9]+ s$', '') AS value FROM miosa.status('blog') WHERE item IN ('verdict', 'edges', 'waiting', '', 'next')
	AND value NOT LIKE '%miosa.app%';
SELECT * FROM miosa.verdict('blog');
DELETE FROM miosa.outbox WHERE xid = pg_current_xact_id();
INSERT INTO miosa.route_log (epoch, deployment_id, route_seq, kind, created_at)
	SELECT 5000000000000, id, route_seq, 'route', now() - '2 hours'::interval FROM miosa.deployments WHERE slug = 'blog';
INSERT INTO miosa.endpoint_state (endpoint, config, acked_epoch, settled_epoch, verified_epoch, health, acked_at, last_error, resync_after, generation)
	SELECT name, '', CASE WHEN zone = 'eu' THEN 6000000000000 ELSE 0 END, 6000000000000, 6000000000000,
		CASE WHEN zone = 'eu' THEN 'ok' ELSE 'backing off' END, now(),
		'could not connect to 192.0.2.1 port 80: connection refused by the other side', NULL, generation
	FROM miosa.endpoints WHERE enabled;
SELECT item, value FROM miosa.status('blog') WHERE item IN ('verdict', 'edges', 'waiting', 'next', '') AND value NOT LIKE '%miosa.app%';
SELECT * FROM miosa.verdict('blog');
SELECT operation, edges, slowest, last_error FROM miosa.progress;
SELECT item, value FROM miosa.promote('blog', 'v1') WHERE item = 'edges';
ROLLBACK;

-- Everything confirmed.
BEGIN;
SELECT count(*) FROM miosa.promote('blog', 'v1');
DELETE FROM miosa.outbox WHERE xid = pg_current_xact_id();
INSERT INTO miosa.endpoints (name, adapter, url) VALUES ('router-a', 'haproxy-map', 'http://router-a.invalid');
DELETE FROM miosa.outbox WHERE xid = pg_current_xact_id();
INSERT INTO miosa.route_log (epoch, deployment_id, route_seq, kind, created_at)
	SELECT 5000000000000, id, route_seq, 'route', now() FROM miosa.deployments WHERE slug = 'blog';
INSERT INTO miosa.endpoint_state (endpoint, config, acked_epoch, settled_epoch, verified_epoch, health, acked_at, resync_after, generation)
	SELECT name, '', 5000000000000, 5000000000000, 5000000000000, 'ok', now(), NULL, generation
	FROM miosa.endpoints WHERE name = 'router-a';
SELECT item, value FROM miosa.status('blog') WHERE item IN ('verdict', 'edges', 'waiting', 'dispatcher', 'next');
SELECT * FROM miosa.verdict('blog');
SELECT operation, edges, slowest, last_error FROM miosa.progress;
-- What is left out is said.
SELECT count(miosa_put_deployment('many_' || n, 'ten_1')) FROM generate_series(1, 30) n;
INSERT INTO miosa.route_log (epoch, deployment_id, route_seq, kind, created_at)
	SELECT 5000000000000 + n, 'many_' || n, 1, 'route', now() + n * '1 s'::interval FROM generate_series(1, 30) n;
SELECT operation FROM miosa.progress WHERE operation LIKE 'and %';
-- One that changed long ago and did not come everywhere is still there.
UPDATE miosa.route_log SET created_at = now() - '1 h'::interval WHERE deployment_id IN ('many_1', 'many_2');
UPDATE miosa.endpoint_state SET acked_epoch = 5000000000001;
DELETE FROM miosa.route_log WHERE epoch > 5000000000002;
SELECT operation, edges FROM miosa.progress;
-- But not when the deployment does not run, or has no instance.
UPDATE miosa.deployments SET state = 'stopped' WHERE slug = 'blog';
SELECT item, value FROM miosa.status('blog') WHERE item = 'verdict';
SELECT * FROM miosa.verdict('blog');
ROLLBACK;

-- A name with line breaks and escapes stays on its line.
BEGIN;
UPDATE miosa.deployments SET name = E'Blog\n\x1b[31mOK' WHERE slug = 'blog';
SELECT value FROM miosa.status('blog') WHERE item = 'deployment';
ROLLBACK;

-- The longest ids that there can be.
BEGIN;
INSERT INTO miosa.deployments (id, tenant_id, name, slug) VALUES (repeat('d', 255), 'ten_1', repeat('n', 300), repeat('s', 63));
SELECT count(miosa_put_version(repeat('d', 255), repeat(n::text, 255), 2147483640 + n, 'dynamic', storage_uri => 's3://b/' || n)) FROM generate_series(1, 2) n;
SELECT miosa_put_domain(repeat(repeat('h', 60) || '.', 4) || 'example', repeat('d', 255)) IS NOT NULL AS ok;
INSERT INTO miosa.endpoints (name, adapter, url, zone) SELECT repeat(n::text, 63), 'haproxy-map', 'http://router.invalid', repeat(n::text, 63) FROM generate_series(1, 9) n;
SELECT pg_temp.width(format('SELECT * FROM miosa.promote(%L, %L, %L)', repeat('d', 255), repeat('1', 255), repeat('r', 500))) <= 80 AS promote;
SELECT pg_temp.width(format('SELECT * FROM miosa.promote(%L, %L, %L)', repeat('s', 63), repeat('2', 255), repeat('r', 500))) <= 80 AS promote;
SELECT pg_temp.width(format('SELECT * FROM miosa.rollback(%L)', repeat('d', 255))) <= 80 AS rollback;
SELECT pg_temp.width(format('SELECT * FROM miosa.status(%L)', repeat('d', 255))) <= 80 AS status;
SELECT pg_temp.width(format('SELECT * FROM miosa.candidates(%L)', repeat('d', 255))) <= 80 AS candidates;
SELECT pg_temp.width(format('SELECT * FROM miosa.history(%L)', repeat('d', 255))) <= 80 AS history;
SELECT pg_temp.width('SELECT * FROM miosa.progress') <= 80 AS progress;
ROLLBACK;

DROP EXTENSION miosa_rollback CASCADE;
