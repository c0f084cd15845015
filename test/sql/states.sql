-- The rules that hold for plain SQL: the state machine of versions, what is
-- immutable, what is in use, the pointer moved by a plain UPDATE, audit events.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS miosa_rollback CASCADE;
CREATE EXTENSION miosa_rollback;
INSERT INTO miosa.tenants (id, slug) VALUES ('t', 'acme');
INSERT INTO miosa.deployments (id, tenant_id, name, slug) VALUES ('d', 't', 'd', 'd'), ('m', 't', 'm', 'm');
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state)
	SELECT 'm', a || '-' || b, 't', row_number() OVER (), a
	FROM unnest('{created,building,ready,failed,archived}'::text[]) a, unnest('{created,building,ready,failed,archived}'::text[]) b
	WHERE a <> b;

-- Every way between two states, tried one by one.
CREATE FUNCTION pg_temp.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT v.state AS from_state, string_agg(b, ' ' ORDER BY n) FILTER (WHERE result = 'done') AS allowed,
	string_agg(DISTINCT result, ' ') FILTER (WHERE result <> 'done') AS refused_as
FROM (SELECT split_part(id, '-', 1) AS state, split_part(id, '-', 2) AS b, version_number AS n,
		pg_temp.try(format('UPDATE miosa.versions SET state = %L WHERE id = %L', split_part(id, '-', 2), id)) AS result
	FROM miosa.versions WHERE deployment_id = 'm') v
GROUP BY 1 ORDER BY 1;
SELECT count(*) FILTER (WHERE archived_at IS NOT NULL) AS stamped, count(*) AS archived
	FROM miosa.versions WHERE state = 'archived' AND split_part(id, '-', 1) <> 'archived';
UPDATE miosa.versions SET state = 'ready' WHERE id = 'failed-ready';
UPDATE miosa.versions SET state = 'ready' WHERE id = 'archived-ready';

-- Immutable once ready.
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state)
	SELECT 'd', 'v' || n, 't', n, 'ready' FROM generate_series(1, 4) n;
INSERT INTO miosa.releases (deployment_id, id, deployment_version_id, tenant_id, storage_uri, sha256)
	SELECT 'd', 'r' || n, 'v' || n, 't', 's3://b/' || n, repeat('0' || n, 32) FROM generate_series(1, 4) n;
UPDATE miosa.versions SET version_number = 9 WHERE deployment_id = 'd' AND id = 'v1';
UPDATE miosa.versions SET artifact_sha256 = 'x', kind = 'dynamic' WHERE deployment_id = 'd' AND id = 'v1';
UPDATE miosa.versions SET id = 'w1' WHERE deployment_id = 'd' AND id = 'v1';
UPDATE miosa.versions SET metadata = '{"a": 1}', promoted_at = now(), pinned = false WHERE deployment_id = 'd' AND id = 'v1';
UPDATE miosa.releases SET storage_uri = 's3://b/evil' WHERE id = 'r1';
UPDATE miosa.releases SET sha256 = NULL WHERE id = 'r1';
UPDATE miosa.releases SET deployment_version_id = 'v9' WHERE id = 'r1';
UPDATE miosa.releases SET verified_at = now(), metadata = '{"a": 1}' WHERE id = 'r1';

-- The pointer, moved by a plain UPDATE, becomes an operation with all that
-- belongs to it.
BEGIN;
UPDATE miosa.deployments SET active_version_id = 'v1' WHERE id = 'd';
SET LOCAL miosa_rollback.actor = 'api_key:key_7';
UPDATE miosa.deployments SET active_version_id = 'v3', name = 'new name' WHERE id = 'd';
SET LOCAL miosa_rollback.actor = '';
UPDATE miosa.deployments SET active_version_id = 'v2' WHERE id = 'd';
SELECT name, state, active_version_id, active_release_id, left(running_artifact_sha256, 4) AS sha256, serving_version_id,
	recent_served, seq, route_seq, last_rollback_at IS NOT NULL AS rollback FROM miosa.deployments WHERE id = 'd';
SELECT seq, action, outcome, target_rule, previous_version_id AS previous, target_version_id AS target, actor_type,
	replace(actor_id, current_user, 'current_user') AS actor FROM miosa.audit_events ORDER BY seq;
SELECT kind, route_seq FROM miosa.outbox WHERE xid = pg_current_xact_id() AND deployment_id = 'd' ORDER BY route_seq;
SELECT id, promoted_over FROM miosa.versions WHERE deployment_id = 'd' ORDER BY id;
-- The extension's own path is not recorded twice.
SELECT miosa_rollback('d', 'v1') -> 'operation' ->> 'id' AS operation;
SELECT count(*) AS events, max(seq) AS newest FROM miosa.audit_events;
COMMIT;
UPDATE miosa.deployments SET active_version_id = 'v9' WHERE id = 'd';
\echo :LAST_ERROR_SQLSTATE
UPDATE miosa.deployments SET active_version_id = 'created-failed' WHERE id = 'm';
\echo :LAST_ERROR_SQLSTATE
UPDATE miosa.releases SET collected_at = '2020-01-01 00:00Z', collected_by = 'gc' WHERE id = 'r4';
UPDATE miosa.deployments SET active_version_id = 'v4' WHERE id = 'd';
\echo :LAST_ERROR_SQLSTATE

-- In use: not archived, not collected, not deleted.
UPDATE miosa.versions SET state = 'archived' WHERE deployment_id = 'd' AND id = 'v1';
\echo :LAST_ERROR_SQLSTATE
UPDATE miosa.releases SET collected_at = now() WHERE id = 'r1';
DELETE FROM miosa.releases WHERE id = 'r1';
DELETE FROM miosa.versions WHERE deployment_id = 'd' AND id = 'v1';
SELECT miosa_archive_version('d', 'v1');
UPDATE miosa.versions SET pinned = true WHERE deployment_id = 'd' AND id = 'v2';
SELECT miosa_archive_version('d', 'v2');
SET session_replication_role = replica;
UPDATE miosa.deployments SET serving_version_id = 'v3' WHERE id = 'd';
RESET session_replication_role;
SELECT miosa_archive_version('d', 'v3');
SET session_replication_role = replica;
UPDATE miosa.deployments SET serving_version_id = NULL WHERE id = 'd';
RESET session_replication_role;
SELECT miosa_archive_version('d', 'v3') -> 'data' ->> 'state' AS state;
SELECT miosa_archive_version('d', 'v3') -> 'data' ->> 'state' AS state;
SELECT miosa_set_version_state('d', 'v3', 'ready');
SELECT miosa_set_version_state('d', 'v9', 'ready');
SELECT miosa_set_version_state('x', 'v9', 'ready');
SELECT miosa_set_version_state('d', 'v3', 'gone');
UPDATE miosa.releases SET collected_at = now() WHERE id = 'r3' RETURNING collected_by = current_user AS by_me;

-- A deployment can be taken down and deleted.
BEGIN;
UPDATE miosa.deployments SET active_version_id = NULL WHERE id = 'd' RETURNING state, seq, active_release_id;
UPDATE miosa.versions SET pinned = false WHERE deployment_id = 'd';
DELETE FROM miosa.releases WHERE deployment_id = 'd';
DELETE FROM miosa.versions WHERE deployment_id = 'd';
DELETE FROM miosa.deployments WHERE id = 'd';
SELECT action, target_version_id FROM miosa.audit_events ORDER BY seq DESC LIMIT 1;
SELECT kind, host FROM miosa.outbox WHERE xid = pg_current_xact_id() AND deployment_id = 'd' ORDER BY route_seq;
-- Another one of its id goes on with its numbers, because its audit events
-- stay, but gets none of its answers.
SELECT seq AS ended, route_seq AS route_ended, key FROM (SELECT max(a.seq) AS seq FROM miosa.audit_events a WHERE a.deployment_id = 'd') a,
	(SELECT max(o.route_seq) AS route_seq FROM miosa.outbox o WHERE o.deployment_id = 'd') o,
	(SELECT count(*) AS key FROM miosa.idempotency_keys k WHERE k.deployment_id = 'd') k \gset
INSERT INTO miosa.deployments (id, tenant_id, name, slug) VALUES ('d', 't', 'D', 'd')
	RETURNING seq = :ended AS seq_goes_on, route_seq = :route_ended AS route_seq_goes_on, :key AS keys;
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('d', 'v1', 't', 1, 'ready');
SELECT miosa_promote('d', 'v1') -> 'operation' ->> 'id' = 'd#' || :ended + 1 AS next_id;
ROLLBACK;

-- Slugs are parts of managed hosts.
BEGIN;
UPDATE miosa.deployments SET slug = 'e' WHERE id = 'd';
UPDATE miosa.tenants SET slug = 'corp' WHERE id = 't';
SELECT deployment_id, kind, host FROM miosa.outbox
	WHERE xid = pg_current_xact_id() AND kind = 'host_removed' ORDER BY deployment_id, route_seq;
ROLLBACK;

-- Audit events are append-only, also for a session that plays a replica.
UPDATE miosa.audit_events SET reason = 'x';
\echo :LAST_ERROR_SQLSTATE
DELETE FROM miosa.audit_events WHERE seq = 1;
TRUNCATE miosa.audit_events;
SET session_replication_role = replica;
DELETE FROM miosa.audit_events;
RESET session_replication_role;
SELECT count(*) FROM miosa.audit_events;

DROP EXTENSION miosa_rollback CASCADE;
