-- Maintenance: purging what has expired, scheduling that, and the doctor.
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
-- enabled has it, and has received it twice where that is needed; those that
-- are disabled do not count.
DO $$
BEGIN
	FOR i IN 1 .. 3600 LOOP
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
SELECT miosa.trim_overdue(10) AS too_early;
UPDATE miosa.route_log SET created_at = now() - '2 h'::interval;
SELECT miosa.trim_overdue(10);
SELECT count(*) FROM miosa.route_log;
-- A younger one keeps those behind it; one from a time to come does not.
UPDATE miosa.route_log SET created_at = now() - '59 min'::interval WHERE epoch = 93;
SELECT removed FROM miosa_purge_expired() WHERE what = 'route_log';
UPDATE miosa.route_log SET created_at = now() + '59 min'::interval WHERE epoch = 93;
SELECT removed FROM miosa_purge_expired(2) WHERE what = 'route_log';
-- One that was made since our transaction began is young.
DELETE FROM miosa.route_log;
INSERT INTO miosa.route_log (epoch, deployment_id, route_seq, kind, created_at) VALUES (94, 'dep_1', 94, 'route', clock_timestamp());
SELECT removed FROM miosa_purge_expired() WHERE what = 'route_log';
INSERT INTO miosa.route_log (epoch, deployment_id, route_seq, kind, created_at)
	SELECT n, 'dep_1', n, 'route', now() - '61 min'::interval FROM generate_series(95, 100) n;
UPDATE miosa.route_log SET created_at = now() - '61 min'::interval;
-- Who is down for ever does not keep more than the newest 100,000.
UPDATE miosa.endpoint_state SET acked_epoch = 1, settled_epoch = 1;
SELECT removed FROM miosa_purge_expired() WHERE what = 'route_log';
UPDATE miosa.dispatcher_state SET last_epoch = 100095;
SELECT removed FROM miosa_purge_expired() WHERE what = 'route_log';
ROLLBACK;

-- Audit events go by the plan that their tenant had; the newest one of a deployment
-- stays, unless the deployment is gone.  Nobody can delete any other.
SELECT miosa_put_tenant('ten_2', 'pros', 'pro') IS NOT NULL AS ok;
SELECT miosa_put_deployment('dep_2', 'ten_2', 'shop') IS NOT NULL AS ok;
CREATE FUNCTION pg_temp.event(deployment text, tenant text, number integer, age interval) RETURNS void LANGUAGE sql AS $$
	INSERT INTO miosa.audit_events (deployment_id, seq, tenant_id, action, outcome, target_rule, actor_type, actor_id, session_user_name, created_at, keep_until)
	VALUES (deployment, number, tenant, 'deployment.rollback', 'changed', 'named', 'user', 'u', 'u', now() - age, now() - age + miosa.audit_retention(tenant))
$$;
BEGIN;
SELECT pg_temp.event(d, t, n, a) FROM (VALUES ('dep_1', 'ten_1', -3, '9 days'::interval), ('dep_1', 'ten_1', -2, '8 days'), ('dep_1', 'ten_1', -1, '6 days'),
	('dep_2', 'ten_2', -3, '31 days'), ('dep_2', 'ten_2', -2, '31 days'), ('dep_2', 'ten_2', -1, '31 days'), ('dep_2', 'ten_2', 0, '31 days'),
	('gone', 'ten_2', 1, '31 days'), ('gone', 'nobody', 2, '401 days'), ('gone', 'nobody', 3, '399 days')) v (d, t, n, a);
SELECT removed FROM miosa_purge_expired(2) WHERE what = 'audit_events';
SELECT removed FROM miosa_purge_expired() WHERE what = 'audit_events';
SELECT removed FROM miosa_purge_expired() WHERE what = 'audit_events';
SELECT deployment_id, seq, tenant_id, date_trunc('day', now() - created_at) AS age FROM miosa.audit_events WHERE created_at < now() ORDER BY 1, 2;
SAVEPOINT s;
DELETE FROM miosa.audit_events WHERE deployment_id = 'dep_1' AND seq = -1;
ROLLBACK TO s;
DELETE FROM miosa.audit_events WHERE deployment_id = 'dep_2';
ROLLBACK TO s;
-- nor does another plan change what it was
UPDATE miosa.plans SET audit_retention = '5 days' WHERE name = 'free';
DELETE FROM miosa.audit_events WHERE deployment_id = 'dep_1' AND seq = -1;
ROLLBACK TO s;
UPDATE miosa.audit_events SET reason = 'x' WHERE deployment_id = 'dep_2';
ROLLBACK;
TRUNCATE miosa.audit_events;

-- Pages: each ends somewhere, together they have every row once, whatever
-- the size of a page, and a short memory begins later.
CREATE FUNCTION pg_temp.pages(kind text, since interval, most integer, OUT pages integer, OUT rows bigint, OUT different bigint) LANGUAGE plpgsql AS $$
DECLARE
	page record;
	place text;
	found tid[] := '{}';
BEGIN
	pages := 0;
	LOOP
		SELECT * INTO page FROM miosa.expired_rows(kind, place, '10 min', since, most);
		pages := pages + 1;
		found := found || page.rows;
		place := page.next;
		EXIT WHEN place IS NULL;
	END LOOP;
	SELECT count(*), count(DISTINCT f) INTO rows, different FROM unnest(found) f;
END $$;
BEGIN;
INSERT INTO miosa.idempotency_keys (deployment_id, key, operation, fingerprint, response, seq, created_at, expires_at)
	SELECT 'dep_1', 'old-' || n, 'rollback', '', '{}', 1, now() - '2 days'::interval, now() - (n / 5) * '1 min'::interval FROM generate_series(1, 1000) n;
INSERT INTO miosa.audit_events (deployment_id, seq, tenant_id, action, outcome, target_rule, actor_type, actor_id, session_user_name, created_at, keep_until)
	SELECT 'dep_' || 1 + n % 2, -n, 'ten_' || 1 + n % 2, 'deployment.rollback', 'changed', 'named', 'user', 'u', 'u', now() - '50 days'::interval + (n / 5) * '1 min'::interval,
		now() - '20 days'::interval
	FROM generate_series(1, 1000) n;
SELECT pg_temp.event('dep_2', 'ten_2', 1, '0');
SELECT * FROM pg_temp.pages('idempotency_keys', NULL, 10);
SELECT * FROM pg_temp.pages('idempotency_keys', NULL, 5000);
SELECT * FROM pg_temp.pages('idempotency_keys', '30 min', 5000);
SELECT * FROM pg_temp.pages('audit_events', NULL, 10);
SELECT * FROM pg_temp.pages('audit_events', NULL, 5000);
SELECT * FROM pg_temp.pages('audit_events', '30 min', 5000);
-- What stays for ever is not all looked at in one page.
INSERT INTO miosa.deployments (id, tenant_id, name, slug) SELECT 'kept_' || n, 'ten_2', 'x', 'kept-' || n FROM generate_series(1, 50) n;
SELECT count(pg_temp.event('kept_' || n, 'ten_2', 1, '60 days'::interval + n * '1 s'::interval)) FROM generate_series(1, 50) n;
SELECT * FROM pg_temp.pages('audit_events', NULL, 10);
-- A row is judged again when it is deleted: its place may be another's.
SELECT p.* FROM miosa.purge_rows('idempotency_keys', ARRAY(SELECT k.ctid FROM miosa.idempotency_keys k WHERE k.expires_at > now())) p;
SELECT p.* FROM miosa.purge_rows('audit_events', ARRAY(SELECT a.ctid FROM miosa.audit_events a WHERE a.seq > 0)) p;
SELECT p.* FROM miosa.purge_rows('idempotency_keys', NULL) p;
ROLLBACK;

-- Instances that ended or were last seen a week ago.  Without a time-out of
-- heartbeats one that is healthy does not age.
BEGIN;
INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id, state, last_heartbeat_at, updated_at)
	SELECT 'dep_1', format('%s %s %s', s, updated, coalesce(heard::text, 'never')), 'ten_1', 'ver_1', s, now() - heard * '1 day'::interval, now() - updated * '1 day'::interval
	FROM unnest('{starting,healthy,unhealthy,stopping,stopped,failed,error,destroyed}'::text[]) s, unnest('{6,8}'::integer[]) updated, unnest('{6,8,null}'::integer[]) heard;
-- After a fail-over no heartbeat arrives for a while.
UPDATE miosa.dispatcher_state SET term_since = clock_timestamp();
SELECT * FROM pg_temp.pages('runtime_instances', NULL, 5000);
CREATE OR REPLACE FUNCTION miosa.server_started() RETURNS timestamptz LANGUAGE sql STABLE RETURN now() - '1 day'::interval;
UPDATE miosa.dispatcher_state SET term_since = now() - '1 day'::interval;
SELECT removed FROM miosa_purge_expired(20) WHERE what = 'runtime_instances';
SELECT removed FROM miosa_purge_expired() WHERE what = 'runtime_instances';
SELECT i.state, string_agg(substr(i.id, length(i.state) + 2), ', ' ORDER BY i.id) AS kept FROM miosa.runtime_instances i GROUP BY 1 ORDER BY 1;
ROLLBACK;

-- A step touches a page of rows at most, whatever there is.
CREATE FUNCTION pg_temp.touched() RETURNS bigint LANGUAGE sql VOLATILE AS $$
	SELECT sum(s.seq_tup_read + coalesce(s.idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables s
	WHERE s.schemaname = 'miosa' AND s.relname IN ('idempotency_keys', 'audit_events', 'runtime_instances', 'removed_hosts')
$$;
CREATE FUNCTION pg_temp.steps(OUT what text, OUT steps integer, OUT removed bigint, OUT most bigint) RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	step record;
	before bigint;
	already bigint := 0;
BEGIN
	SELECT NULL::text AS kind, NULL::text AS place, NULL::tid[] AS rows, 0 AS done, 0::bigint AS removed INTO step;
	LOOP
		before := pg_temp.touched();
		SELECT * INTO step FROM miosa.maintain_rows(step.kind, step.place, step.rows, step.done, step.removed);
		IF what IS DISTINCT FROM step.kind THEN
			IF what IS NOT NULL THEN
				RETURN NEXT;
			END IF;
			what := step.kind;
			steps := 0;
			most := 0;
		END IF;
		EXIT WHEN step.kind IS NULL;
		steps := steps + 1;
		removed := step.removed - already;
		most := greatest(most, pg_temp.touched() - before);
		IF step.place IS NULL AND step.done >= cardinality(step.rows) THEN
			already := step.removed;
		END IF;
	END LOOP;
	what := 'route_log';
	before := pg_temp.touched();
	PERFORM miosa.maintain_route_log();
	SELECT 1, 0, pg_temp.touched() - before INTO steps, removed, most;
	RETURN NEXT;
END $$;
BEGIN;
INSERT INTO miosa.removed_hosts (host, deployment_id) SELECT 'h' || n || '.test', 'dep_1' FROM generate_series(1, 12000) n;
UPDATE miosa.removed_hosts SET removed_at = now() - '31 days'::interval WHERE host LIKE 'h%7.test';
INSERT INTO miosa.domains (fqdn, deployment_id, tenant_id) VALUES ('h8.test', 'dep_1', 'ten_1'), ('h9.test', 'dep_1', 'ten_1');
UPDATE miosa.domains SET state = 'failed' WHERE fqdn = 'h9.test';
INSERT INTO miosa.removed_hosts (host, deployment_id) SELECT miosa.managed_host('blog', 'acme'), 'dep_1';
INSERT INTO miosa.idempotency_keys (deployment_id, key, operation, fingerprint, response, seq, created_at, expires_at)
	SELECT 'dep_1', 'old-' || n, 'rollback', '', '{}', 1, now() - '2 days'::interval, now() - n * '1 s'::interval FROM generate_series(1, 12000) n;
SELECT what, removed, most <= CASE what WHEN 'removed_hosts' THEN 1000 WHEN 'route_log' THEN 0 ELSE 6000 END AS bounded FROM pg_temp.steps();
SELECT count(*), count(*) FILTER (WHERE host IN ('h8.test', 'h9.test')) AS routed_and_not FROM miosa.removed_hosts;
ROLLBACK;

-- The procedure does all of it in transactions of its own.
INSERT INTO miosa.refusals (id, created_at, count, condition, actor_type, actor_id, session_user_name)
	SELECT -n, now() - n * '1 day'::interval, 1, 'INVALID_ARGUMENT', 'role', 'x', 'x' FROM unnest('{10,30,32,40}'::integer[]) n;
INSERT INTO miosa.idempotency_keys (deployment_id, key, operation, fingerprint, response, seq, created_at, expires_at)
	SELECT 'dep_1', 'old-' || n, 'rollback', '', '{}', 1, now() - '2 days'::interval, now() - '1 day'::interval FROM generate_series(1, 6000) n;
SELECT pg_temp.event('gone', 'ten_1', n, '8 days') FROM generate_series(1, 2) n;
INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id, state, updated_at) VALUES ('dep_1', 'old', 'ten_1', 'ver_1', 'stopped', now() - '8 days'::interval);
CALL miosa_maintain();
SELECT removed, began_at < ended_at AS took, run_by = current_user AS by FROM miosa.maintenance;
SELECT id FROM miosa.refusals WHERE id < 0 ORDER BY id DESC;
CALL miosa_maintain(false);
SELECT removed FROM miosa.maintenance;
BEGIN;
CALL miosa_maintain();
ROLLBACK;

-- Without pg_cron in this database: statements for where it is.
SELECT replace(s, current_database(), 'DATABASE') AS statement FROM miosa_schedule_maintenance() s;

-- The doctor looks at all of this, whatever it finds; every finding that is
-- not ok says what to do.
SELECT item, status IN ('ok', 'warn', 'fail') AS known, (status = 'ok') = (fix = '') AS fix FROM miosa_doctor();
SELECT fix, miosa.fix_needs(fix) FROM unnest(ARRAY['', 'See dispatcher.', 'SELECT miosa_redrive(''e'');', 'SELECT miosa_resume();',
	'TABLE miosa.overdue; then SELECT * FROM miosa.status(''d'');', 'Raise max_worker_processes and restart the server.',
	'REVOKE EXECUTE ON ROUTINE miosa_rollback(text) FROM x CASCADE;']) fix;
SELECT item, fix, needs FROM miosa_doctor() WHERE (fix = '') <> (needs = '') AND fix NOT LIKE 'See %';
-- What an incident leaves behind.
SELECT item, status, seen, fix, needs FROM miosa_doctor() WHERE item IN ('freezes', 'fleets', 'alerts');
BEGIN;
INSERT INTO miosa.freezes (name, begins, ends, selector, actor_type, actor_id) VALUES ('gala', now() - interval '31 days', now() + interval '1 day', '{"all": true}', 'role', 'r'),
	('young', now() - interval '1 day', now() + interval '1 day', '{"all": true}', 'role', 'r'), ('over', now() - interval '90 days', now() - interval '1 day', '{"all": true}', 'role', 'r');
INSERT INTO miosa.fleet_runs (id, acts_for, idempotency_key, mode, selector, accept_unverified, mark_bad, actor_type, actor_id, session_user_name, total, began_at, advanced_at, ended_at)
	SELECT 'flt_00000000000' || i, '*', 'k' || i, 'batches', '{"all": true}', false, false, 'role', 'r', 'r', 2, now() - interval '1 h', now() - i * interval '6 min', CASE i WHEN 3 THEN now() END
	FROM generate_series(1, 3) i;
INSERT INTO miosa.alerts (deployment_id, fingerprint, starts_at, labels, annotations, done, why, seq, received_at, keep_until)
	SELECT d.id, 'f', now(), '{}', '{}', 'notified', 'why', 1, now(), now() + interval '1 day' FROM miosa.deployments d ORDER BY d.id LIMIT 1;
SELECT item, status, seen, fix, needs FROM miosa_doctor() WHERE item IN ('freezes', 'fleets', 'alerts');
UPDATE miosa.alerts SET seq = NULL, received_at = now() - interval '11 min';
SELECT item, status, seen, fix, needs FROM miosa_doctor() WHERE item = 'alerts';
ROLLBACK;
SELECT item, status, regexp_replace(seen, 'ended <?[0-9]+ s ago', 'ended <time> ago') AS seen, fix FROM miosa_doctor() WHERE item IN ('preloaded', 'endpoints', 'pg_cron', 'restorable');
BEGIN;
INSERT INTO miosa.endpoints (name, adapter, url) VALUES ('router-a', 'haproxy-map', 'http://router-a.invalid'), ('router-b', 'haproxy-map', 'http://router-b.invalid');
INSERT INTO miosa.endpoint_state (endpoint, config, health) VALUES ('router-a', '', 'backing off'), ('router-b', '', 'ok');
INSERT INTO miosa.delivery_failures (endpoint, deployment_id, epoch) VALUES ('router-b', 'dep_1', 1);
UPDATE miosa.versions SET state = 'archived' WHERE id = 'ver_1';
SELECT item, status, seen, fix FROM miosa_doctor() WHERE item IN ('endpoints', 'endpoint_health', 'delivery_failures', 'restorable');
ROLLBACK;

DROP EXTENSION miosa_rollback CASCADE;
