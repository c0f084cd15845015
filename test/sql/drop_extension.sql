-- DROP EXTENSION drops the audit trail too, so it is refused, by whatever way,
-- while there is data.
SET client_min_messages = warning;
SET miosa_rollback.allow_drop = on;
DROP EXTENSION IF EXISTS miosa_rollback CASCADE;
SET miosa_rollback.allow_drop = off;
CREATE SCHEMA regress_ops;
CREATE ROLE regress_owner SUPERUSER;

-- Without data it is dropped; what people set up is no data.
CREATE EXTENSION miosa_rollback SCHEMA regress_ops;
SELECT regress_ops.miosa_put_tenant('t', 'acme') IS NOT NULL AS put;
DROP EXTENSION miosa_rollback;

SET ROLE regress_owner;
CREATE EXTENSION miosa_rollback SCHEMA regress_ops;
RESET ROLE;
SELECT regress_ops.miosa_put_tenant('t', 'acme') IS NOT NULL AS put;
SELECT regress_ops.miosa_put_deployment('d', 't') IS NOT NULL AS put;
\set SHOW_CONTEXT never
DROP EXTENSION miosa_rollback;
\echo :LAST_ERROR_SQLSTATE
DROP EXTENSION miosa_rollback CASCADE;
DROP SCHEMA regress_ops CASCADE;
DROP OWNED BY regress_owner CASCADE;
DROP EXTENSION plpgsql CASCADE;
DO $$ BEGIN DROP EXTENSION miosa_rollback; END $$;
-- Nothing was dropped.
SELECT count(*) FROM miosa.deployments;

-- The audit trail by itself is data too: it stays when a deployment is deleted.
SELECT regress_ops.miosa_put_version('d', 'v', storage_uri => 'test:v') IS NOT NULL AS put;
SELECT regress_ops.miosa_promote('d', 'v') IS NOT NULL AS promoted;
UPDATE miosa.deployments SET active_version_id = NULL WHERE id = 'd';
DELETE FROM miosa.releases WHERE deployment_id = 'd';
DELETE FROM miosa.versions WHERE deployment_id = 'd';
DELETE FROM miosa.deployments WHERE id = 'd';
DELETE FROM miosa.tenants WHERE id = 't';
SELECT (SELECT count(*) FROM miosa.deployments) AS deployments, (SELECT count(*) FROM miosa.audit_events) AS events;
DROP EXTENSION miosa_rollback;

-- Another extension, schema or table of that name is let pass.
CREATE SCHEMA regress_other;
CREATE TABLE regress_other.audit_events AS SELECT 1 AS a;
DROP SCHEMA regress_other CASCADE;
CREATE TABLE miosa.regress_audit AS SELECT 1 AS a;
DROP TABLE miosa.regress_audit;

-- Who may is superuser.
CREATE ROLE regress_nobody;
SET ROLE regress_nobody;
SET miosa_rollback.allow_drop = on;
RESET ROLE;
DROP ROLE regress_nobody;
DROP EXTENSION miosa_rollback;
BEGIN;
SET LOCAL miosa_rollback.allow_drop = on;
DROP SCHEMA regress_ops CASCADE;
ROLLBACK;
SET miosa_rollback.allow_drop = on;
DROP EXTENSION miosa_rollback;
SELECT count(*) FROM pg_event_trigger;
DROP SCHEMA regress_ops;
DROP ROLE regress_owner;
