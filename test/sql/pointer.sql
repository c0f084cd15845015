-- The pointer by a plain UPDATE: judged, decided and written like any other
-- operation, whatever else the statement writes.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture
CREATE VIEW test.newest AS
	SELECT a.deployment_id || '#' || a.seq AS op, a.action, a.outcome, a.target_rule AS rule, a.previous_version_id AS previous,
		a.target_version_id AS target, a.marks, p.route_seq, o.work
	FROM miosa.deployments p
	JOIN miosa.audit_events a ON a.deployment_id = p.id AND a.seq = p.seq
	CROSS JOIN LATERAL (SELECT string_agg(o.kind || ' ' || o.route_seq, ', ' ORDER BY o.kind) AS work FROM miosa.outbox o
		WHERE o.xid = pg_current_xact_id() AND o.deployment_id = p.id AND o.route_seq = p.route_seq) o;
CREATE VIEW test.row AS
	SELECT id, state, active_version_id AS active, active_release_id AS release, serving_version_id AS serving, recent_served,
		seq, route_seq FROM miosa.deployments;

-- What the statement says of derived columns is derived, also the number that
-- once distinguished our own statements.
SELECT test.history('dep_1', 3);
BEGIN;
UPDATE miosa.deployments SET active_version_id = 'ver_2', seq = seq + 1, route_seq = route_seq + 7, serving_version_id = 'ver_3',
	active_release_id = 'rel_3', running_artifact_sha256 = repeat('0', 64), recent_served = '{ver_1}', last_rollback_at = NULL
	WHERE id = 'dep_1';
SELECT * FROM test.newest WHERE op LIKE 'dep_1#%';
SELECT * FROM test.row WHERE id = 'dep_1';
SELECT last_rollback_at IS NOT NULL AS rolled_back, running_artifact_sha256 = r.sha256 AS sha256 FROM miosa.deployments p
	JOIN miosa.releases r ON r.deployment_id = p.id AND r.id = p.active_release_id WHERE p.id = 'dep_1';
COMMIT;

-- Neither this nor a rollback touches an index of the table.
BEGIN;
SELECT pg_stat_get_xact_tuples_updated(t) AS updated, pg_stat_get_xact_tuples_hot_updated(t) AS heap_only FROM CAST('miosa.deployments' AS regclass) t \gset
UPDATE miosa.deployments SET active_version_id = 'ver_3' WHERE id = 'dep_1';
SELECT count(miosa_rollback('dep_1', 'ver_' || n)) FROM generate_series(1, 2) n;
SELECT pg_stat_get_xact_tuples_updated(t) - :updated AS updated, pg_stat_get_xact_tuples_hot_updated(t) - :heap_only AS heap_only FROM CAST('miosa.deployments' AS regclass) t;
ROLLBACK;

-- Without the pointer they are refused, and nothing moves.
SELECT test.refusal($$UPDATE miosa.deployments SET seq = seq + 1 WHERE id = 'dep_1'$$);
SELECT test.refusal($$UPDATE miosa.deployments SET route_seq = route_seq + 1 WHERE id = 'dep_1'$$);
SELECT test.refusal($$UPDATE miosa.deployments SET serving_version_id = 'ver_1' WHERE id = 'dep_1'$$);
SELECT test.refusal($$UPDATE miosa.deployments SET recent_served = '{ver_1}' WHERE id = 'dep_1'$$);
SELECT test.refusal($$UPDATE miosa.deployments SET active_release_id = 'rel_1' WHERE id = 'dep_1'$$);
SELECT test.refusal($$UPDATE miosa.deployments SET running_artifact_sha256 = NULL WHERE id = 'dep_1'$$);
SELECT * FROM test.row WHERE id = 'dep_1';
-- What is not derived is free, and so is what says nothing new.
UPDATE miosa.deployments SET name = 'x', desired_replicas = 2, seq = seq, active_version_id = active_version_id,
	metadata = '{"a": 1}' WHERE id = 'dep_1';
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE miosa.deployments SET active_release_id = NULL WHERE id = 'dep_1';
SET LOCAL session_replication_role = origin;
UPDATE miosa.deployments SET active_release_id = 'rel_2' WHERE id = 'dep_1';
ROLLBACK;

-- Our own statements pass, in savepoints too, and leave no door open: not when
-- they fail, and not for a trigger of somebody else that they fire.
BEGIN;
SAVEPOINT a;
SELECT test.op(miosa_promote('dep_1', 'ver_3'));
ROLLBACK TO a;
SELECT test.refusal($$UPDATE miosa.deployments SET seq = seq + 1 WHERE id = 'dep_1'$$);
CREATE FUNCTION test.meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_ARGV[0] = 'fail' THEN
		RAISE 'no';
	END IF;
	UPDATE miosa.deployments SET seq = seq + 1 WHERE id = 'dep_0';
	RETURN NEW;
END $$;
SELECT test.history('dep_0', 1);
CREATE TRIGGER zz_fail BEFORE UPDATE ON miosa.deployments FOR EACH ROW EXECUTE FUNCTION test.meddle('fail');
SELECT test.refusal($$SELECT miosa_promote('dep_1', 'ver_3')$$);
DROP TRIGGER zz_fail ON miosa.deployments;
SELECT test.refusal($$UPDATE miosa.deployments SET seq = seq + 1 WHERE id = 'dep_1'$$);
CREATE TRIGGER zz_meddle AFTER UPDATE ON miosa.deployments FOR EACH ROW WHEN (NEW.id = 'dep_1') EXECUTE FUNCTION test.meddle('do');
SELECT test.refusal($$SELECT miosa_promote('dep_1', 'ver_3')$$);
ROLLBACK;

-- The same rules: a marked schema change is refused where that is set, else
-- accepted with a warning and a mark; so is an artifact that nobody has seen.
UPDATE miosa.versions SET metadata = '{"migration_compatibility": "incompatible"}' WHERE deployment_id = 'dep_1' AND id = 'ver_2';
BEGIN;
SET LOCAL miosa_rollback.on_incompatible = 'refuse';
SELECT test.refusal($$UPDATE miosa.deployments SET active_version_id = 'ver_1' WHERE id = 'dep_1'$$);
SET LOCAL miosa_rollback.on_incompatible = 'warn';
UPDATE miosa.deployments SET active_version_id = 'ver_1' WHERE id = 'dep_1';
SELECT * FROM test.newest WHERE op LIKE 'dep_1#%';
ROLLBACK;
SELECT test.history('dep_2', 2);
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('dep_2', 'ver_3', 'ten_1', 3, 'ready');
INSERT INTO miosa.releases (deployment_id, id, deployment_version_id, tenant_id, storage_uri)
	VALUES ('dep_2', 'rel_3', 'ver_3', 'ten_1', 'https://storage.invalid/3');
BEGIN;
UPDATE miosa.deployments SET active_version_id = 'ver_3' WHERE id = 'dep_2';
SELECT * FROM test.newest WHERE op LIKE 'dep_2#%';
ROLLBACK;
UPDATE miosa.releases SET missing_at = '2026-01-01 00:00Z' WHERE deployment_id = 'dep_2' AND id = 'rel_3';
SELECT test.refusal($$UPDATE miosa.deployments SET active_version_id = 'ver_3' WHERE id = 'dep_2'$$);
SELECT test.refusal($$UPDATE miosa.deployments SET active_version_id = 'ver_9' WHERE id = 'dep_2'$$);

-- A null unpublishes.  That is no rollback: nothing is refused as repeated,
-- and what is promoted next is published.
BEGIN;
UPDATE miosa.deployments SET active_version_id = NULL WHERE id = 'dep_2';
SELECT * FROM test.newest WHERE op LIKE 'dep_2#%';
SELECT * FROM test.row WHERE id = 'dep_2';
SELECT miosa_deployment('dep_2') -> 'data' ->> 'active_version_id' IS NULL AS none, last_rollback_at IS NULL AS no_rollback
	FROM miosa.deployments WHERE id = 'dep_2';
COMMIT;
SELECT test.refusal($$SELECT miosa_rollback('dep_2')$$);
SELECT c ->> 'check' AS "check", c ->> 'result' AS result, c ->> 'hint' AS hint
	FROM jsonb_array_elements(miosa_plan('dep_2') -> 'data' -> 'checks') c;
SELECT test.op(miosa_promote('dep_2', 'ver_2'));
SELECT state, recent_served FROM miosa.deployments WHERE id = 'dep_2';

-- The event belongs to whom the row belongs afterwards, and the actor is who
-- runs the statement.
INSERT INTO miosa.tenants (id, slug) VALUES ('ten_p', 'pointer');
BEGIN;
SET LOCAL miosa_rollback.actor = 'api_key:key_1';
UPDATE miosa.deployments SET tenant_id = 'ten_p', external_user_id = 'u-1', active_version_id = 'ver_1' WHERE id = 'dep_2';
SELECT tenant_id, attribution, actor_type, actor_id FROM miosa.audit_events WHERE deployment_id = 'dep_2' ORDER BY seq DESC LIMIT 1;
ROLLBACK;

-- Instances: routes wait for them as they do after miosa_promote(), and one
-- that is unpublished asks for none.
SELECT test.deployment('dep_3', 2);
UPDATE miosa.deployments SET desired_replicas = 2, kind = 'dynamic' WHERE id = 'dep_3';
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state, kind)
	SELECT 'dep_3', 'dyn_' || i, 'ten_1', 10 + i, 'ready', 'dynamic' FROM generate_series(1, 2) i;
BEGIN;
SELECT test.op(miosa_promote('dep_3', 'ver_1'));
UPDATE miosa.deployments SET active_version_id = 'dyn_1' WHERE id = 'dep_3';
SELECT * FROM test.newest WHERE op LIKE 'dep_3#%';
SELECT * FROM test.row WHERE id = 'dep_3';
SELECT version_id, state FROM miosa.capacity WHERE deployment_id = 'dep_3';
UPDATE miosa.deployments SET active_version_id = NULL WHERE id = 'dep_3';
SELECT * FROM test.row WHERE id = 'dep_3';
SELECT version_id, state FROM miosa.capacity WHERE deployment_id = 'dep_3';
SELECT test.op(miosa_promote('dep_3', 'dyn_2'));
SELECT state FROM miosa.deployments WHERE id = 'dep_3';
SELECT version_id, state FROM miosa.capacity WHERE deployment_id = 'dep_3';
ROLLBACK;

-- What the extension derives, in every table, is refused to a role to which
-- somebody granted the tables; all the rest is not.
BEGIN;
CREATE ROLE regress_pointer_admin IN ROLE miosa_admin;
GRANT INSERT, UPDATE ON miosa.tenants, miosa.deployments, miosa.versions, miosa.releases, miosa.runtime_instances, miosa.storages,
	miosa.domains, miosa.endpoints, miosa.secrets TO regress_pointer_admin;
GRANT USAGE ON SCHEMA test TO regress_pointer_admin;
INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id) VALUES ('dep_2', 'ins_1', 'ten_1', 'ver_2');
INSERT INTO miosa.endpoints (name, adapter, url, enabled) VALUES ('edge', 'webhook', 'http://edge.invalid/', false);
CREATE TABLE test.derived AS SELECT * FROM (VALUES
	('deployments', 'seq', '77'), ('deployments', 'route_seq', '77'), ('deployments', 'serving_version_id', '''ver_1'''),
	('deployments', 'recent_served', '''{x}'''), ('deployments', 'active_release_id', '''x'''), ('deployments', 'running_artifact_sha256', '''x'''),
	('deployments', 'last_rollback_at', '''2026-02-01'''), ('deployments', 'waiting_since', '''2026-02-01'''),
	('versions', 'promoted_over', '''x'''), ('versions', 'promoted_at', '''2026-02-01'''), ('versions', 'promotion_seq', '77'),
	('versions', 'last_served_at', '''2026-02-01'''), ('versions', 'switched_at', '''2026-02-01'''),
	('versions', 'bad_since', '''2026-02-01'''), ('versions', 'bad_reason', '''x'''), ('versions', 'bad_by', '''x'''),
	('releases', 'verified_at', '''2026-02-01'''), ('releases', 'missing_at', '''2026-02-01'''), ('releases', 'deleted_at', '''2026-02-01'''),
	('runtime_instances', 'reported_by', '''x'''),
	('endpoints', 'generation', '77'), ('endpoints', 'origin', '''x''')) v (tab, col, new);
CREATE TABLE test.given AS
	SELECT c.relname AS tab, a.attname AS col,
		CASE c.relname WHEN 'deployments' THEN 'id = ''dep_2''' WHEN 'versions' THEN 'deployment_id = ''dep_2'' AND id = ''ver_2'''
			WHEN 'releases' THEN 'deployment_id = ''dep_2'' AND id = ''rel_2''' WHEN 'endpoints' THEN 'name = ''edge''' ELSE 'true' END AS row
	FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	WHERE c.relnamespace = 'miosa'::regnamespace AND c.relname IN ('deployments', 'versions', 'releases', 'runtime_instances', 'endpoints');
GRANT SELECT ON test.derived, test.given TO regress_pointer_admin;
SET LOCAL ROLE regress_pointer_admin;
SELECT d.tab, d.col, test.refusal(format('UPDATE miosa.%I SET %I = %s WHERE %s', d.tab, d.col, d.new, g.row))
FROM test.derived d JOIN test.given g USING (tab, col) ORDER BY d.tab, d.col;
-- A column of a time or of a number that counts is in the list, or known to
-- be what somebody else says.
SELECT tab, string_agg(col, ', ' ORDER BY col) AS times_and_counts_that_are_given
FROM test.given g JOIN pg_attribute a ON a.attrelid = format('miosa.%I', tab)::regclass AND a.attname = col
WHERE a.atttypid IN ('timestamptz'::regtype, 'bigint'::regtype) AND NOT EXISTS (SELECT FROM test.derived d WHERE (d.tab, d.col) = (g.tab, g.col))
GROUP BY tab ORDER BY tab;
-- Written as it is, it is no change; what is not derived may change.
UPDATE miosa.versions SET promoted_at = promoted_at, promotion_seq = promotion_seq, pinned = true WHERE deployment_id = 'dep_2' AND id = 'ver_1';
UPDATE miosa.releases SET collected_at = now() WHERE deployment_id = 'dep_2' AND id = 'rel_3';
UPDATE miosa.runtime_instances SET state = 'healthy', last_heartbeat_at = now() WHERE id = 'ins_1';
SELECT generation AS before FROM miosa.endpoints WHERE name = 'edge' \gset
UPDATE miosa.endpoints SET url = 'http://other.invalid/' WHERE name = 'edge';
RESET ROLE;
SELECT generation - :before AS rises_by FROM miosa.endpoints WHERE name = 'edge';

-- Times are calculated with: no column of a table that people write keeps one
-- that is out of this world, by any writer.
INSERT INTO miosa.domains (fqdn, deployment_id, tenant_id) VALUES ('shop.test', 'dep_2', 'ten_1');
INSERT INTO miosa.storages (prefix, endpoint) VALUES ('s3://', 'http://storage.invalid');
INSERT INTO miosa.secrets (name, value) VALUES ('key', 'x');
CREATE FUNCTION test.time_kept(tab text, col text, odd text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	kept bigint;
	n bigint;
BEGIN
	EXECUTE format('UPDATE miosa.%I SET %I = %L', tab, col, odd);
	GET DIAGNOSTICS n = ROW_COUNT;
	ASSERT n > 0;
	EXECUTE format('SELECT count(*) FROM miosa.%I WHERE %I NOT BETWEEN ''1970-01-01Z'' AND ''2200-01-01Z''', tab, col) INTO kept;
	RETURN kept > 0;
EXCEPTION WHEN check_violation OR SQLSTATE 'MR400' THEN
	RETURN false;
END $$;
SELECT c.relname, count(DISTINCT a.attname) AS times, string_agg(format('%s = %s', a.attname, o), ', ') FILTER (WHERE test.time_kept(c.relname, a.attname, o)) AS kept
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.atttypid = 'timestamptz'::regtype AND NOT a.attisdropped
CROSS JOIN unnest('{infinity,-infinity,294276-12-31,4713-01-01 BC,1969-12-31 23:59Z,2200-01-01Z}'::text[]) o
WHERE c.relnamespace = 'miosa'::regnamespace AND c.relkind = 'r' AND has_any_column_privilege('regress_pointer_admin', c.oid, 'INSERT')
GROUP BY c.relname ORDER BY c.relname;
ROLLBACK;

-- Rows that are loaded are taken as they are.
BEGIN;
INSERT INTO miosa.deployments (id, tenant_id, name, slug, state, active_version_id, serving_version_id, seq, route_seq, recent_served)
	VALUES ('dep_4', 'ten_1', 'loaded', 'loaded', 'running', 'ver_9', 'ver_8', 12, 34, '{ver_9}');
SELECT * FROM test.row WHERE id = 'dep_4';
SET LOCAL session_replication_role = replica;
UPDATE miosa.deployments SET active_version_id = 'ver_7', seq = 20, serving_version_id = NULL WHERE id = 'dep_4';
SELECT * FROM test.row WHERE id = 'dep_4';
SELECT count(*) AS events FROM miosa.audit_events WHERE deployment_id = 'dep_4';
ROLLBACK;


\i :cleanup
