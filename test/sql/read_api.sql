-- Reading: objects, pages with cursors, routes.
\set SHOW_CONTEXT never
SET timezone = 'Asia/Tokyo';
SET datestyle = 'German';
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS miosa_rollback CASCADE;
CREATE EXTENSION miosa_rollback;
SELECT miosa_put_tenant('ten_1', 'acme') IS NOT NULL AS ok;
SELECT miosa_put_deployment('dep_1', 'ten_1', 'Blog') IS NOT NULL AS ok;
SELECT count(miosa_put_version('dep_1', 'ver_' || n, storage_uri => 's3://b/' || n)) FROM generate_series(1, 7) n;
SELECT miosa_put_version('dep_1', 'ver_8', state => 'failed') IS NOT NULL AS ok;
SELECT count(miosa_promote('dep_1', 'ver_' || n)) FROM generate_series(1, 3) n;
SELECT miosa_rollback('dep_1', 'ver_1', 'key-1', 'too slow') IS NOT NULL AS ok;

-- Every field that clients read is there.
SELECT string_agg(k, ' ' ORDER BY k COLLATE "C") FROM jsonb_object_keys(miosa_deployment('dep_1') -> 'data') k;
SELECT string_agg(k, ' ' ORDER BY k COLLATE "C") FROM jsonb_object_keys(miosa_version('dep_1', 'ver_1') -> 'data') k;
SELECT string_agg(k, ' ' ORDER BY k COLLATE "C") FROM jsonb_object_keys(miosa_version('dep_1', 'ver_1') -> 'release') k;
SELECT string_agg(k, ' ' ORDER BY k COLLATE "C") FROM jsonb_object_keys(miosa_audit_log() -> 'data' -> 0) k;
-- Times are ISO 8601 in UTC, whatever the session's settings.
SELECT miosa.iso('2026-01-02 03:04:05.6789+09') AS iso, miosa.iso(NULL) AS none;
SELECT bool_and(t ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$') AS iso
FROM unnest(ARRAY[miosa_deployment('dep_1') -> 'data' ->> 'created_at', miosa_version('dep_1', 'ver_1') -> 'data' ->> 'promoted_at',
	miosa_audit_log() -> 'data' -> 0 ->> 'created_at']) t;
-- The answers are the same whether an operation or a read makes them.
SELECT miosa_rollback('dep_1', 'ver_1', 'key-1') -> 'data' = miosa_deployment('dep_1') -> 'data' AS same;
SELECT a - '{created_at,inserted_at,ip_address,actor_id,metadata}'::text[] AS event FROM (SELECT miosa_audit_log() -> 'data' -> 0 AS a) p;
SELECT jsonb_pretty((miosa_audit_log() -> 'data' -> 0 -> 'metadata') - '{session_user,keep_until,hash}'::text[]) AS metadata;
SELECT miosa_deployment('dep_9');
SELECT miosa_deployment('');
SELECT miosa_version('dep_1', 'ver_9');
SELECT miosa_version('dep_9', 'ver_1');

-- Pages: newest first, nothing twice, nothing left out, and stable while new
-- versions arrive.
CREATE FUNCTION pg_temp.pages(state text, n integer) RETURNS TABLE (page integer, ids jsonb) LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb;
BEGIN
	page := 0;
	LOOP
		answer := public.miosa_versions('dep_1', state, n, answer ->> 'next_cursor');
		page := page + 1;
		ids := jsonb_path_query_array(answer, '$.data[*].id');
		RETURN NEXT;
		EXIT WHEN answer ->> 'next_cursor' IS NULL;
	END LOOP;
END $$;
SELECT * FROM pg_temp.pages(NULL, 3);
SELECT * FROM pg_temp.pages('ready', 7);
SELECT * FROM pg_temp.pages('archived', 7);
SELECT miosa_versions('dep_1', 'lost');
SELECT miosa_versions('dep_1', "limit" => 0);
SELECT miosa_versions('dep_1', "limit" => -5);
SELECT miosa_versions('dep_1', "limit" => 2147483647);
SELECT miosa_versions('dep_1', "limit" => NULL);
SELECT miosa_versions('dep_1', cursor => 'nonsense');
SELECT miosa_versions('dep_1', cursor => '');
SELECT miosa_versions('dep_1', cursor => '76657273696f6e733a78');
SELECT miosa_versions('dep_1', cursor => '7665' || chr(7));
SELECT miosa_versions('dep_1', cursor => '61756469743a313a643a31');
SELECT miosa_versions('dep_9');

-- The audit log, with each filter.
CREATE FUNCTION pg_temp.events(n integer) RETURNS TABLE (page integer, ids jsonb) LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb;
BEGIN
	page := 0;
	LOOP
		answer := public.miosa_audit_log("limit" => n, cursor => answer ->> 'next_cursor');
		page := page + 1;
		ids := jsonb_path_query_array(answer, '$.data[*].id');
		RETURN NEXT;
		EXIT WHEN answer ->> 'next_cursor' IS NULL;
	END LOOP;
END $$;
SELECT * FROM pg_temp.events(3);
SELECT * FROM pg_temp.events(4);
SELECT what, jsonb_array_length(answer -> 'data') AS events FROM (VALUES
	('deployment', miosa_audit_log('dep_1')),
	('other deployment', miosa_audit_log('dep_9')),
	('tenant', miosa_audit_log(tenant_id => 'ten_1')),
	('rollbacks', miosa_audit_log(action => 'deployment.rollback')),
	('the same', miosa_audit_log(action => 'rollback')),
	('actor', miosa_audit_log(actor => current_user)),
	('stranger', miosa_audit_log(actor => 'stranger')),
	('since', miosa_audit_log(since => now() - interval '1 day')),
	('until', miosa_audit_log(until => now() - interval '1 day')),
	('all', miosa_audit_log('dep_1', 'ten_1', 'deployment.rollback', current_user, now() - interval '1 day', 'infinity')))
	a (what, answer);
-- Pages of one deployment are in the order of the whole log, also after a cursor
-- of it, and with times in the middle.
CREATE FUNCTION pg_temp.walk(deployment text, n integer, cursor text DEFAULT NULL, since timestamptz DEFAULT NULL,
	until timestamptz DEFAULT NULL) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb;
	ids jsonb := '[]';
BEGIN
	LOOP
		answer := public.miosa_audit_log(deployment, "limit" => n, cursor => cursor, since => since, until => until);
		ids := ids || jsonb_path_query_array(answer, '$.data[*].id');
		cursor := answer ->> 'next_cursor';
		EXIT WHEN cursor IS NULL;
	END LOOP;
	RETURN ids;
END $$;
BEGIN;
INSERT INTO miosa.audit_events (deployment_id, seq, tenant_id, action, outcome, target_rule, actor_type, actor_id, session_user_name, created_at)
	SELECT d, s, 'ten_1', 'deployment.rollback', 'changed', 'named', 'user', 'user_1', 'app', '2026-01-01'::timestamptz + s * '1 h'::interval
	FROM unnest(ARRAY['dep_w', 'dep_x', 'dep_y']) d, generate_series(1, 120) s WHERE s % 3 > 0;
CREATE TEMP TABLE expected ON COMMIT DROP AS
	SELECT a.deployment_id || '#' || a.seq AS id, a.created_at, a.deployment_id, a.seq, c.cursor
	FROM miosa.audit_events a
	CROSS JOIN LATERAL (SELECT miosa.write_cursor('audit', (extract(epoch FROM a.created_at) * 1000000)::bigint
		|| ':' || a.deployment_id || ':' || a.seq) AS cursor) c;
SELECT 'all' AS what, pg_temp.walk('dep_x', 7) = (SELECT jsonb_agg(e.id ORDER BY e.created_at DESC, e.seq DESC)
	FROM expected e WHERE e.deployment_id = 'dep_x') AS same
UNION ALL
SELECT 'after a cursor', bool_and(pg_temp.walk('dep_x', 200, c.cursor) = (
		SELECT coalesce(jsonb_agg(e.id ORDER BY e.created_at DESC, e.seq DESC), '[]')
		FROM expected e WHERE e.deployment_id = 'dep_x' AND (e.created_at, e.deployment_id, e.seq) < (c.created_at, c.deployment_id, c.seq)))
	FROM expected c
UNION ALL
SELECT 'until', bool_and(pg_temp.walk('dep_x', 11, NULL, NULL, c.created_at) = (
		SELECT coalesce(jsonb_agg(e.id ORDER BY e.created_at DESC, e.seq DESC), '[]')
		FROM expected e WHERE e.deployment_id = 'dep_x' AND e.created_at < c.created_at))
	FROM expected c WHERE c.deployment_id = 'dep_w'
UNION ALL
SELECT 'since and until', bool_and(pg_temp.walk('dep_x', 5, NULL, c.created_at, c.created_at + '1 day') = (
		SELECT coalesce(jsonb_agg(e.id ORDER BY e.created_at DESC, e.seq DESC), '[]')
		FROM expected e WHERE e.deployment_id = 'dep_x' AND e.created_at >= c.created_at AND e.created_at < c.created_at + '1 day'::interval))
	FROM expected c WHERE c.deployment_id = 'dep_w';
-- An actor who is rare, among many events, with and without an index on actors.
INSERT INTO miosa.audit_events (deployment_id, seq, tenant_id, action, outcome, target_rule, actor_type, actor_id, session_user_name, created_at)
	SELECT 'dep_' || s % 7, 1000 + s, 'ten_1', 'deployment.rollback', 'changed', 'named', 'user',
		CASE WHEN s % 1000 = 1 THEN 'rare' ELSE 'often' END, 'app', '2026-02-01'::timestamptz + s / 2 * '1 s'::interval
	FROM generate_series(1, 6000) s;
CREATE FUNCTION pg_temp.of_actor(actor text, n integer, since timestamptz DEFAULT NULL) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb;
	ids jsonb := '[]';
BEGIN
	LOOP
		answer := public.miosa_audit_log(actor => actor, "limit" => n, cursor => answer ->> 'next_cursor', since => since);
		ids := ids || jsonb_path_query_array(answer, '$.data[*].id');
		EXIT WHEN answer ->> 'next_cursor' IS NULL;
	END LOOP;
	RETURN ids;
END $$;
SELECT pg_temp.of_actor('rare', 4), pg_temp.of_actor('rare', 1) = pg_temp.of_actor('rare', 200) AS same,
	pg_temp.of_actor('rare', 2, '2026-02-01 00:30') AS since, pg_temp.of_actor('stranger', 1) AS stranger;
SELECT pg_temp.of_actor('often', 200) = (SELECT jsonb_agg(a.deployment_id || '#' || a.seq ORDER BY a.created_at DESC, a.deployment_id DESC, a.seq DESC)
	FROM miosa.audit_events a WHERE a.actor_id = 'often') AS same;
CREATE INDEX test_actors ON miosa.audit_events (actor_id, created_at);
SELECT miosa.has_actor_index() AS has, pg_temp.of_actor('rare', 4);
-- A clock that was set back.
INSERT INTO miosa.audit_events (deployment_id, seq, tenant_id, action, outcome, target_rule, actor_type, actor_id, session_user_name, created_at)
	SELECT 'dep_z', s, 'ten_1', 'deployment.rollback', 'changed', 'named', 'user', 'user_1', 'app',
		'2026-01-01 12:00'::timestamptz + CASE s WHEN 62 THEN '61 h -20 s'::interval ELSE s * '1 h'::interval END
	FROM generate_series(1, 100) s;
SELECT bool_and(jsonb_array_length(pg_temp.walk('dep_z', 3, NULL, t.at)) + jsonb_array_length(pg_temp.walk('dep_z', 3, NULL, NULL, t.at)) = 100) AS nothing_missing
	FROM (SELECT '2026-01-01 12:00'::timestamptz + h * '1 h'::interval - s * '1 s'::interval AS at
		FROM generate_series(60, 64) h, generate_series(0, 30, 10) s) t;
ROLLBACK;
SELECT miosa_audit_log("limit" => 201);
SELECT miosa_audit_log(action => 'rolback');
SELECT miosa_audit_log(cursor => '61756469743a');
SELECT miosa_audit_log('no id');

-- Routes.
SELECT miosa_put_domain('www.example.com', 'dep_1') IS NOT NULL AS ok;
SELECT miosa_put_domain('*.example.org', 'dep_1') IS NOT NULL AS ok;
SELECT miosa_put_domain('later.example.com', 'dep_1', 'pending') IS NOT NULL AS ok;
SELECT host, r -> 'data' ->> 'version_id' AS version
FROM unnest('{www.example.com,WWW.Example.com.,www.example.com:8080,a.example.org,a.b.example.org,example.org,
	later.example.com,blog.acme.miosa.app,other.acme.miosa.app,acme.miosa.app,nowhere,""}'::text[]) host LEFT JOIN miosa_route(host) r ON true;
SELECT count(*) AS none FROM miosa_route(NULL);
SELECT jsonb_pretty((miosa_route('www.example.com') -> 'data') - '{epoch,seq,route_seq}'::text[]) AS route;
-- Redirects: only to what shows the same, and not back.
BEGIN;
SELECT miosa_put_deployment('dep_2', 'ten_1', 'Shop') IS NOT NULL AS ok;
SELECT count(miosa_put_domain(fqdn, deployment, redirect_policy => policy)) FROM (VALUES
	('one.test', 'dep_1', 'apex_to_www'), ('www.one.test', 'dep_1', 'none'),
	('two.test', 'dep_1', 'none'), ('www.two.test', 'dep_1', 'www_to_apex'),
	('loop.test', 'dep_1', 'apex_to_www'), ('www.loop.test', 'dep_1', 'www_to_apex'),
	('split.test', 'dep_1', 'apex_to_www'), ('www.split.test', 'dep_2', 'none'),
	('lone.test', 'dep_1', 'apex_to_www'), ('www.lone.test', 'dep_1', 'apex_to_www'),
	('dark.test', 'dep_1', 'apex_to_www'),
	('wild.test', 'dep_1', 'apex_to_www'), ('*.wild.test', 'dep_1', 'www_to_apex'),
	('apex.test', 'dep_1', 'none'), ('*.apex.test', 'dep_1', 'www_to_apex'),
	('*.deep.test', 'dep_1', 'apex_to_www'), ('www.test', 'dep_1', 'www_to_apex')) d (fqdn, deployment, policy);
SELECT miosa_put_domain('www.dark.test', 'dep_1', 'pending') IS NOT NULL AS ok;
SELECT host, r -> 'data' ->> 'deployment_id' AS deployment, r -> 'data' ->> 'redirect_policy' AS policy, r -> 'data' ->> 'redirect_to' AS redirect_to
FROM unnest('{one.test,ONE.test.,one.test:8080,www.one.test,two.test,www.two.test,loop.test,www.loop.test,split.test,www.split.test,lone.test,www.lone.test,
	dark.test,www.dark.test,wild.test,www.wild.test,a.wild.test,www.apex.test,a.apex.test,www.a.apex.test,a.deep.test,www.deep.test,www.test}'::text[]) host
	LEFT JOIN miosa_route(host) r ON true;
ROLLBACK;
-- A dynamic deployment has those instances that are alive and can be reached,
-- of what serves.  Heartbeats count since the dispatcher began.
DO $$
BEGIN
	FOR i IN 1 .. 3600 LOOP
		EXIT WHEN (miosa.dispatcher()).state = 'running';
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
BEGIN;
SELECT miosa_put_deployment('dyn', 'ten_1', 'Dyn', kind => 'dynamic') IS NOT NULL AS ok;
SELECT miosa_put_domain('dyn.test', 'dyn') IS NOT NULL AS ok;
SELECT miosa_route('dyn.test') -> 'data' -> 'version_id' AS version, miosa_route('dyn.test') -> 'data' -> 'instances' AS instances;
SELECT count(miosa_put_version('dyn', 'v' || n, storage_uri => 's3://b/dyn-' || n)) FROM generate_series(1, 2) n;
SELECT count(miosa_report_instance('dyn', id, version, state, address, port)) FROM (VALUES ('i1', 'v1', 'healthy', '10.0.0.1', 80),
	('i2', 'v1', 'healthy', NULL, NULL), ('i3', 'v1', 'starting', '10.0.0.3', 80), ('i4', 'v2', 'healthy', '10.0.0.4', 80), ('i5', 'v1', 'healthy', '10.0.0.5', 81)) i (id, version, state, address, port);
SELECT miosa_promote('dyn', 'v1') IS NOT NULL AS ok;
SELECT r -> 'data' ->> 'version_id' AS version, r -> 'data' ->> 'kind' AS kind, r -> 'data' ->> 'storage_uri' AS uri, r -> 'data' -> 'instances' AS instances FROM miosa_route('dyn.test') r;
CREATE OR REPLACE FUNCTION miosa.server_started() RETURNS timestamptz LANGUAGE sql STABLE RETURN now() - '1 day'::interval;
UPDATE miosa.dispatcher_state SET term_since = now() - '1 day'::interval;
UPDATE miosa.runtime_instances SET last_heartbeat_at = now() - '1 hour'::interval WHERE id = 'i1';
SELECT r -> 'data' ->> 'version_id' AS version, r -> 'data' -> 'instances' AS instances FROM miosa_route('dyn.test') r;
ROLLBACK;
SELECT miosa_routes_since(-1);
SELECT miosa_routes_since(NULL);
SELECT miosa_routes_since(0, 0);
SELECT miosa_routes_since(9223372036854775807);
BEGIN;
DELETE FROM miosa.route_log;
INSERT INTO miosa.route_log (epoch, deployment_id, route_seq, kind, host, created_at)
	VALUES (5, 'dep_1', 1, 'route', NULL, now()), (7, 'dep_1', 2, 'host_removed', 'old.example.com', now()), (8, 'gone', 1, 'route', NULL, now());
SELECT e -> 'epoch' AS epoch, e ->> 'kind' AS kind, e -> 'hosts' AS hosts, e ->> 'removed_host' AS removed, e ->> 'version_id' AS version
FROM jsonb_array_elements(miosa_routes_since(0) -> 'data') e;
SELECT miosa_routes_since(5, 1) -> 'next_epoch' AS next, jsonb_array_length(miosa_routes_since(5, 1) -> 'data') AS rows;
-- The same, byte by byte, as what the views show of every deployment.
SELECT count(miosa_put_deployment('dep_' || n, 'ten_1', 'Number ' || n)), count(miosa_put_version('dep_' || n, 'v', storage_uri => 's3://b/' || n)),
	count(miosa_put_domain(n || '.example.net', 'dep_' || n)), count(miosa_promote('dep_' || n, 'v')) FROM generate_series(2, 4) n;
INSERT INTO miosa.route_log (epoch, deployment_id, route_seq, kind, created_at)
	SELECT 10 + row_number() OVER (ORDER BY p.id DESC), p.id, 1, 'route', now() FROM miosa.deployments p;
SELECT count(DISTINCT r.deployment_id) AS deployments, count(r.version_id) < count(*) AS some_without_version,
	miosa_routes_since(0)::text = jsonb_build_object('gap', miosa_routes_since(0) -> 'gap', 'next_epoch', max(l.epoch),
		'data', jsonb_agg(jsonb_build_object('epoch', l.epoch, 'kind', l.kind, 'deployment_id', l.deployment_id, 'removed_host', l.host,
			'hosts', (SELECT coalesce(jsonb_agg(h.host ORDER BY h.host), '[]') FROM miosa.hosts h WHERE h.deployment_id = l.deployment_id),
			'version_id', r.version_id, 'release_id', r.release_id, 'storage_uri', r.storage_uri, 'sha256', r.sha256, 'route_seq', r.route_seq)
			ORDER BY l.epoch))::text AS same
FROM miosa.route_log l LEFT JOIN miosa.routes r ON r.deployment_id = l.deployment_id;
ROLLBACK;

-- What is read does not depend on the caller's standard_conforming_strings.
\c -
SET escape_string_warning = off;
SET standard_conforming_strings = off;
SELECT miosa_route('a.example.org') -> 'data' ->> 'deployment_id' AS deployment;
SELECT miosa_put_domain('*.example.net', 'dep_1') -> 'data' ->> 'fqdn' AS fqdn;
SELECT jsonb_array_length(miosa_versions('dep_1', NULL, 1, miosa_versions('dep_1', NULL, 1) ->> 'next_cursor') -> 'data') AS rows;
SELECT jsonb_array_length(miosa_audit_log("limit" => 1, cursor => miosa_audit_log("limit" => 1) ->> 'next_cursor') -> 'data') AS rows;
RESET standard_conforming_strings;
SET client_min_messages = warning;

DROP EXTENSION miosa_rollback CASCADE;
