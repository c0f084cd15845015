-- pg_dump: what of our tables is dumped, and that each is decided.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS miosa_rollback CASCADE;
CREATE EXTENSION miosa_rollback;
SELECT c.relname AS table, CASE WHEN m.oid IS NULL THEN 'not dumped'
	WHEN m.condition = '' THEN 'all' ELSE m.condition END AS dumped
FROM pg_class c
LEFT JOIN (SELECT unnest(extconfig) AS oid, unnest(extcondition) AS condition FROM pg_extension WHERE extname = 'miosa_rollback') m ON m.oid = c.oid
WHERE c.relnamespace = 'miosa'::regnamespace AND c.relkind = 'r' ORDER BY 1;
-- What a subscription does with the rows of each: apply them, also over a row
-- that the server has made for itself (take_over), or leave the server's own
-- (keep_local); at a replica, make work of them, or take over another site's own.
SELECT coalesce(t.tgname, 'applied') AS rows, string_agg(c.relname, ' ' ORDER BY c.relname) AS tables
FROM pg_class c
LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname IN ('take_over', 'keep_local', 'follow_log', 'follow_site') AND t.tgenabled = 'R'
WHERE c.relnamespace = 'miosa'::regnamespace AND c.relkind = 'r' GROUP BY 1 ORDER BY 1;
-- No sequence: its value would have to be dumped too.
SELECT count(*) AS sequences FROM pg_class WHERE relnamespace = 'miosa'::regnamespace AND relkind = 'S';

-- Shipped plans are not dumped until they are edited; an edited one that is
-- restored takes the place of the one that CREATE EXTENSION makes.
SELECT name, builtin FROM miosa.plans ORDER BY name;
UPDATE miosa.plans SET audit_retention = audit_retention WHERE name = 'free';
UPDATE miosa.plans SET audit_retention = '31 days' WHERE name = 'pro';
INSERT INTO miosa.plans (name, audit_retention, idempotency_retention, artifact_retention) VALUES ('gold', '1 year', '2 days', '1 year');
SELECT name, audit_retention, builtin FROM miosa.plans ORDER BY name;
COPY miosa.plans FROM stdin;
team	91 days	24:00:00	90 days	f
silver	1 day	24:00:00	90 days	f
\.
SELECT name, audit_retention, builtin FROM miosa.plans ORDER BY name;
-- Not shipped any more, so a second one is refused as usual.
COPY miosa.plans FROM stdin;
team	92 days	24:00:00	90 days	f
\.

-- Restored rows are taken as they are, whatever their state, in the order of
-- the foreign keys, and queue nothing.
BEGIN;
INSERT INTO miosa.tenants (id, slug) VALUES ('t', 'acme');
INSERT INTO miosa.deployments (id, tenant_id, name, slug, state, active_version_id, serving_version_id, seq, route_seq)
	VALUES ('d', 't', 'd', 'd', 'pending', 'v2', 'v1', 7, 9);
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state, promoted_over, kind) VALUES
	('d', 'v1', 't', 1, 'archived', NULL, 'dynamic'), ('d', 'v2', 't', 2, 'ready', 'v1', 'dynamic'), ('d', 'v3', 't', 3, 'failed', NULL, 'static');
INSERT INTO miosa.releases (deployment_id, id, deployment_version_id, tenant_id, storage_uri, collected_at)
	VALUES ('d', 'r1', 'v1', 't', 's3://b/1', now()), ('d', 'r2', 'v2', 't', 's3://b/2', NULL);
INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id, state) VALUES ('d', 'i', 't', 'v2', 'healthy');
INSERT INTO miosa.domains (fqdn, deployment_id, tenant_id) VALUES ('example.com', 'd', 't');
INSERT INTO miosa.audit_events (deployment_id, seq, tenant_id, action, outcome, target_rule, previous_version_id, target_version_id,
	actor_type, actor_id, session_user_name, created_at) VALUES ('d', 7, 't', 'deployment.rollback', 'changed', 'named', 'v3', 'v2', 'role', 'r', 'r', now());
SELECT count(*) AS queued FROM miosa.outbox WHERE xid = pg_current_xact_id();
SELECT state, active_version_id, serving_version_id, seq, route_seq FROM miosa.deployments;
ROLLBACK;

DROP EXTENSION miosa_rollback CASCADE;
