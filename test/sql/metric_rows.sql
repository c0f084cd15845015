-- Metrics: names and types that are there to stay, what is counted, hostile names,
-- and who may read them.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture
DO $$
BEGIN
	FOR i IN 1 .. 3600 LOOP
		-- Until it has verified, and made a statement of audit heads, too.
		EXIT WHEN (SELECT count(*) FROM miosa.metrics m WHERE m.name IN ('miosa_audit_head_lag_seconds', 'miosa_artifact_verification_age_seconds')
			OR m.name = 'miosa_dispatcher_up' AND m.value = 1 OR m.name = 'miosa_dispatcher_passes_total' AND m.value > 0) = 4;
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
SELECT test.history('dep_1', 3);

-- Families, their types and their labels.
SELECT 'edge', miosa_put_endpoint('edge-1', 'haproxy-map', 'http://127.0.0.1:9/') IS NOT NULL;
SELECT 'no maintenance yet', count(*) FROM miosa.metrics m WHERE m.name = 'miosa_maintenance_age_seconds';
CALL miosa_maintain();
SELECT DISTINCT regexp_replace(m.name, '_(bucket|sum|count)$', '') AS name, m.type,
	string_agg(DISTINCT l.name, ' ' ORDER BY l.name) AS labels
FROM miosa.metrics m LEFT JOIN LATERAL jsonb_object_keys(m.labels) l (name) ON true
-- That of an endpoint comes with its dispatcher.
WHERE m.name NOT IN ('miosa_endpoint_up', 'miosa_endpoint_breaker_open')
	AND m.name NOT LIKE 'miosa\_endpoint\_requests%' AND m.name NOT LIKE 'miosa\_endpoint\_acknowledgement%'
GROUP BY 1, 2 ORDER BY 1;
SELECT 'without help', count(*) FROM miosa.metrics m WHERE m.help !~ '^[A-Z].*[^.]$';
SELECT 'twice', count(*) FROM (SELECT m.name, m.labels FROM miosa.metrics m GROUP BY 1, 2 HAVING count(*) > 1) t;
SELECT 'a deployment', count(*) FROM miosa.metrics m WHERE m.labels::text ~ 'dep_1';

-- The text has the rows of the view, each family once and under its head.
CREATE FUNCTION test.lines() RETURNS TABLE (n bigint, line text) LANGUAGE sql AS $$
	SELECT t.n, t.line FROM string_to_table(miosa_metrics(), E'\n') WITH ORDINALITY t (line, n) WHERE t.line <> '' $$;
SELECT 'names in one only', string_agg(coalesce(a.name, b.name), ' ')
FROM (SELECT DISTINCT m.name FROM miosa.metrics m) a
FULL JOIN (SELECT DISTINCT substring(l.line FROM '^[a-z_]+') FROM test.lines() l WHERE l.line NOT LIKE '#%') b (name) ON b.name = a.name
WHERE a.name IS NULL OR b.name IS NULL;
SELECT 'ends in a newline', right(miosa_metrics(), 1) = E'\n';
WITH l AS (
	SELECT l.n, l.line, coalesce(substring(l.line FROM '^# (?:HELP|TYPE) ([a-z_]+)'), substring(l.line FROM '^([a-z_]+)')) AS name FROM test.lines() l
), f AS (
	SELECT l.*, CASE WHEN l.name ~ '_seconds_(bucket|sum|count)$' THEN regexp_replace(l.name, '_(bucket|sum|count)$', '') ELSE l.name END AS family FROM l
)
SELECT 'torn or badly headed', string_agg(DISTINCT family, ' ') FROM (
	SELECT f.family, max(f.n) - min(f.n) + 1 = count(*) AND (array_agg(f.line ORDER BY f.n))[1] LIKE '# HELP %'
		AND (array_agg(f.line ORDER BY f.n))[2] LIKE '# TYPE %' AND count(*) FILTER (WHERE f.line LIKE '#%') = 2 AS whole
	FROM f GROUP BY f.family) g WHERE NOT g.whole;

-- What is counted: what has committed, by action and outcome.
CREATE TABLE test.before AS SELECT m.name, m.labels, m.value FROM miosa.metrics m;
CREATE FUNCTION test.grown() RETURNS TABLE (name text, labels jsonb, by float8) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY SELECT m.name, m.labels, m.value - b.value FROM miosa.metrics m
		JOIN test.before b ON b.name = m.name AND b.labels = m.labels
		WHERE m.value <> b.value AND m.name ~ '^miosa_(operations_total|refusals_total|replays_total|operation_duration_seconds_count)$'
		ORDER BY m.name COLLATE "C", m.labels;
	DELETE FROM test.before;
	INSERT INTO test.before SELECT m.name, m.labels, m.value FROM miosa.metrics m;
END $$;
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'key-1'));
SELECT * FROM test.grown();
-- A replay; a refusal; both at once, whatever becomes of the transaction.
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'key-1'));
SELECT test.code($$SELECT miosa_rollback('dep_1', 'ver_9')$$);
SELECT test.code($$SELECT miosa_rollback('dep_9')$$);
SELECT test.code($$SELECT miosa_put_version('dep_1', 'ver_1', 0)$$);
SELECT miosa_try_rollback('dep_1', 'ver_9') #>> '{error,code}';
SELECT * FROM test.grown();
-- Rolled back: nothing. Partly: the rest.
BEGIN;
SELECT test.op(miosa_rollback('dep_1', 'ver_1'));
ROLLBACK;
SELECT * FROM test.grown();
BEGIN;
SAVEPOINT a;
SELECT test.op(miosa_rollback('dep_1', 'ver_1'));
ROLLBACK TO a;
SAVEPOINT b;
SELECT test.op(miosa_promote('dep_1', 'ver_3'));
RELEASE b;
SELECT test.op(miosa_rollback('dep_1', 'ver_2'));
COMMIT;
SELECT * FROM test.grown();
-- Groups, plain UPDATEs and notes count; the second is timed.
SELECT miosa_rollback_many('{"ids": ["dep_1"]}', served_at => now()) IS NOT NULL;
UPDATE miosa.deployments SET active_version_id = 'ver_1' WHERE id = 'dep_1';
SELECT miosa_hold('dep_1', reason => 'watching') IS NOT NULL;
SELECT * FROM test.grown();
-- A prepared transaction counts when it is prepared.
BEGIN;
SELECT test.op(miosa_rollback('dep_1', 'ver_1'));
PREPARE TRANSACTION 'metric_rows';
SELECT * FROM test.grown();
ROLLBACK PREPARED 'metric_rows';
-- Statistics are reset for people; metrics only grow.
SELECT 'passes', value > 0 FROM miosa.metrics WHERE name = 'miosa_dispatcher_passes_total';
SELECT miosa_reset_stats();
SELECT 'passes', m.value >= b.value FROM miosa.metrics m JOIN test.before b USING (name) WHERE m.name = 'miosa_dispatcher_passes_total';
SELECT 'fallen', string_agg(m.name, ' ') FROM miosa.metrics m JOIN test.before b USING (name, labels)
WHERE m.value < b.value AND m.type <> 'gauge';

-- Hostile names of endpoints and zones, which the table refuses otherwise.
BEGIN;
ALTER TABLE miosa.endpoints DROP CONSTRAINT endpoints_name_check, DROP CONSTRAINT endpoints_zone_check;
ALTER TABLE miosa.endpoints DISABLE TRIGGER USER;
DELETE FROM miosa.endpoints;
INSERT INTO miosa.endpoints (name, adapter, url, zone) VALUES
	(E'a "quoted" \\ name\nand \\n more', 'haproxy-map', 'http://127.0.0.1:9/', E'\\'),
	(E'b <script>{le="0.1"} 1', 'haproxy-map', 'http://127.0.0.1:9/', E'"'),
	(E'c \xe2\x80\xaegnol\xe2\x80\x8f \xf0\x9f\x9a\x80', 'haproxy-map', 'http://127.0.0.1:9/', E'\n'),
	('d' || repeat('x', 254), 'haproxy-map', 'http://127.0.0.1:9/', 'z' || repeat('y', 254));
SELECT regexp_replace(l.line, ' \d+$', '') FROM test.lines() l WHERE l.line LIKE 'miosa\_endpoint\_epochs\_behind{%' ORDER BY l.n;
SELECT 'in rows', m.labels ->> 'endpoint' = e.name, m.labels ->> 'zone' = e.zone
FROM miosa.metrics m JOIN miosa.endpoints e ON e.name = m.labels ->> 'endpoint' WHERE m.name = 'miosa_endpoint_epochs_behind';
SELECT 'lines that are no sample', l.line FROM test.lines() l
WHERE l.line !~ '^# (HELP|TYPE) ' AND l.line !~ '^[a-z_]+(\{([a-z]+="([^"\\]|\\[\\"n])*",?)+\})? [0-9.e+-]+$';
ROLLBACK;

-- pg_monitor and viewers read them.
CREATE ROLE regress_watcher IN ROLE pg_monitor;
CREATE ROLE regress_viewer IN ROLE miosa_viewer;
CREATE ROLE regress_other;
SET ROLE regress_watcher;
SELECT count(*) > 100 FROM miosa.metrics;
SELECT length(miosa_metrics()) > 5000;
SET ROLE regress_viewer;
SELECT count(*) > 100 FROM miosa.metrics;
SELECT length(miosa_metrics()) > 5000;
SET ROLE regress_other;
SELECT miosa_metrics();
SELECT count(*) FROM miosa.metrics;
RESET ROLE;
-- With tenants apart, a viewer of some sees none.
ALTER SYSTEM SET miosa_rollback.tenancy = 'enforced';
SELECT pg_reload_conf();
\set ECHO none
\o /dev/null
SELECT test.until_read('miosa_rollback.tenancy') \gexec
\o
\set ECHO all
SET ROLE regress_viewer;
SELECT count(*) FROM miosa.metrics;
SELECT miosa_metrics();
SET ROLE regress_watcher;
SELECT count(*) > 100 FROM miosa.metrics;
SELECT length(miosa_metrics()) > 5000;
RESET ROLE;
ALTER SYSTEM RESET miosa_rollback.tenancy;
SELECT pg_reload_conf();
DROP ROLE regress_watcher;
DROP ROLE regress_viewer;
DROP ROLE regress_other;
\set cleanup :abs_srcdir '/cleanup.sql'
\i :cleanup
