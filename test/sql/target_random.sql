-- The default target of random histories, beside the rule in SQL.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

-- Rows of many deployments that no sequence of operations need have left:
-- chains that end, branch, dangle or go in a circle, with and without times
-- that are equal, and versions that do not qualify.  The shape is one of
--	0	promoted one over the other, as by operations
--	1	anything
--	2	loaded, with times
--	3	loaded, with and without times
--	4	promoted over loaded ones
--	5	loaded, without times
SELECT setseed(0.42);
CREATE TABLE test.shapes AS
	SELECT 'dep_' || i AS dep, i % 6 AS shape, 1 + floor(power(random(), 2) * 24)::integer AS n,
		CASE floor(random() * 3) WHEN 0 THEN 0 WHEN 1 THEN 0.3 ELSE 0.8 END AS unfit
	FROM generate_series(1, 2000) i
	UNION ALL
	SELECT 'long_' || i, i % 6, 1100, CASE WHEN i < 6 THEN 1 ELSE 0.99 END FROM generate_series(0, 11) i;
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state, promoted_over, promotion_seq, promoted_at)
	SELECT dep, 'ver_' || i, 'ten_1', i,
		CASE WHEN random() < unfit / 2 THEN (ARRAY['archived', 'failed', 'building'])[1 + floor(random() * 3)] ELSE 'ready' END,
		CASE WHEN i = 1 AND shape <> 1 OR NOT promoted THEN NULL
			WHEN shape <> 1 THEN 'ver_' || i - 1
			WHEN random() < 0.9 THEN 'ver_' || 1 + floor(random() * (n + 1)) END,
		CASE WHEN promoted THEN i END,
		CASE WHEN promoted OR shape < 3 OR shape < 5 AND random() < 0.5
			THEN timestamptz '2026-01-01 00:00+00' + floor(random() * (n + 2) / 2) * interval '1 hour' END
	FROM test.shapes CROSS JOIN generate_series(1, n) i
	CROSS JOIN LATERAL (SELECT shape = 0 OR shape = 1 AND random() < 0.7 OR shape = 4 AND i > n / 2 AS promoted) p;
UPDATE miosa.versions SET bad_since = now(), bad_reason = 'slow', bad_by = 'me' WHERE random() < 0.1;
INSERT INTO miosa.releases (deployment_id, id, deployment_version_id, tenant_id, storage_uri, sha256, collected_at)
	SELECT v.deployment_id, replace(v.id, 'ver', 'rel'), v.id, 'ten_1', 'test://' || v.id,
		encode(sha256((random() * 50)::integer::text::bytea), 'hex'),
		CASE WHEN unfit = 1 OR random() < unfit THEN now() END
	FROM miosa.versions v JOIN test.shapes s ON s.dep = v.deployment_id WHERE unfit = 1 OR random() < 0.9;
INSERT INTO miosa.bad_artifacts SELECT encode(sha256(n::text::bytea), 'hex'), t, 'stolen', 'me' FROM (VALUES (1, '*'), (2, 'ten_1'), (3, 'ten_2')) m (n, t);
UPDATE miosa.releases SET missing_at = now() WHERE deployment_id LIKE 'dep%' AND collected_at IS NULL AND random() < 0.2;
INSERT INTO miosa.deployments (id, tenant_id, name, slug, active_version_id)
	SELECT dep, 'ten_1', dep, replace(dep, '_', '-'),
		CASE WHEN random() < 0.05 THEN NULL
			WHEN shape <> 1 AND random() < 0.8 OR n > 1000 THEN 'ver_' || n
			ELSE 'ver_' || 1 + floor(random() * n) END
	FROM test.shapes;
COMMIT;
VACUUM ANALYZE miosa.versions, miosa.releases;

-- The rule: what each version was promoted over; where that
-- ends with a loaded version, the loaded ones before it, those with times first.
CREATE FUNCTION test.listed(dep text, OUT id text, OUT rule text) RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	path text[] := (SELECT ARRAY[d.active_version_id] FROM miosa.deployments d WHERE d.id = dep AND d.active_version_id IS NOT NULL);
	v miosa.versions;
BEGIN
	LOOP
		SELECT * INTO v FROM miosa.versions o WHERE o.deployment_id = dep AND o.id = path[cardinality(path)];
		EXIT WHEN path IS NULL OR v.promoted_over IS NULL OR v.promoted_over = ANY (path)
			OR NOT EXISTS (SELECT FROM miosa.versions o WHERE o.deployment_id = dep AND o.id = v.promoted_over);
		path := path || v.promoted_over;
	END LOOP;
	RETURN QUERY SELECT p, 'promoted_over' FROM unnest(path[2:]) p;
	IF v.promoted_over IS NULL AND v.promotion_seq IS NULL THEN
		RETURN QUERY SELECT o.id, 'promoted_at' FROM miosa.versions o
			WHERE o.deployment_id = dep AND o.promotion_seq IS NULL AND (o.promoted_at, o.version_number) < (v.promoted_at, v.version_number)
			ORDER BY o.promoted_at DESC, o.version_number DESC;
		RETURN QUERY SELECT o.id, 'version_number' FROM miosa.versions o
			WHERE o.deployment_id = dep AND o.promotion_seq IS NULL AND o.promoted_at IS NULL AND o.version_number < v.version_number
			ORDER BY o.version_number DESC;
	END IF;
END $$;
CREATE TABLE test.candidates AS
	SELECT s.dep, c.n, c.id, c.rule, v.version_number, r.missing_at IS NOT NULL AS missing,
		CASE WHEN v.state <> 'ready' THEN 'VERSION_NOT_READY' WHEN r.collected_at IS NOT NULL THEN 'ARTIFACT_GONE'
			WHEN v.bad_since IS NOT NULL OR b.any THEN 'VERSION_BAD' END AS code,
		CASE WHEN v.state <> 'ready' THEN 'its state is ' || v.state WHEN r.collected_at IS NOT NULL THEN 'its artifact was collected'
			WHEN v.bad_since IS NOT NULL THEN 'it is marked as bad: slow' WHEN b.any THEN 'its artifact is marked as bad: stolen' END AS why
	FROM test.shapes s CROSS JOIN LATERAL test.listed(s.dep) WITH ORDINALITY c (id, rule, n)
	JOIN miosa.versions v ON v.deployment_id = s.dep AND v.id = c.id
	LEFT JOIN miosa.releases r ON r.deployment_id = s.dep AND r.deployment_version_id = c.id
	CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM miosa.bad_artifacts a WHERE a.artifact = r.sha256 AND a.tenant_id IN ('*', v.tenant_id)) AS any) b
	WHERE c.n <= 1000;
CREATE INDEX ON test.candidates (dep, n);
ANALYZE test.candidates;
CREATE VIEW test.chosen AS
	SELECT s.dep, t.id AS target, t.rule, k.skipped, k.text, m.id AS recorded
	FROM test.shapes s
	LEFT JOIN LATERAL (SELECT * FROM test.candidates c WHERE c.dep = s.dep AND c.code IS NULL ORDER BY c.n LIMIT 1) t ON true
	CROSS JOIN LATERAL (SELECT jsonb_agg(jsonb_build_object('version_id', c.id, 'version_number', c.version_number, 'code', c.code, 'why', c.why) ORDER BY c.n) AS skipped,
		string_agg(format('v%s ("%s"): %s', c.version_number, c.id, c.why), ', ' ORDER BY c.n) AS text
		FROM test.candidates c WHERE c.dep = s.dep AND (t.n IS NULL OR c.n < t.n)) k
	LEFT JOIN LATERAL (SELECT * FROM (SELECT * FROM test.candidates c WHERE c.dep = s.dep AND c.code IS NULL ORDER BY c.n LIMIT 3) f
		WHERE NOT f.missing ORDER BY f.n LIMIT 1) m ON true;
CREATE TABLE test.expected AS TABLE test.chosen;
-- of each rule there are many, and some that skip many
SELECT rule, count(*) > 50 AS many, count(*) FILTER (WHERE skipped IS NOT NULL) > 20 AS skipping,
	max(jsonb_array_length(skipped)) > 15 AS far, count(recorded) < count(*) AS unrecorded
FROM test.expected GROUP BY 1 ORDER BY 1;

-- Promise: the plan, miosa.default_target, a group and single calls choose the
-- same target, by the same rule, and skip the same versions for the same reasons.
CREATE TEMPORARY TABLE planned AS SELECT e.*, miosa_plan(e.dep) -> 'data' AS p, miosa.default_target(e.dep) AS d FROM test.expected e;
SELECT count(*), count(d) > 900 AS many FROM planned;
SELECT dep, target, rule, skipped, p ->> 'target_version_id', p ->> 'target_rule', p -> 'skipped' FROM planned
WHERE (p ->> 'target_version_id', p ->> 'target_rule', p -> 'skipped') IS DISTINCT FROM (target, rule, coalesce(skipped, '[]')) LIMIT 3;
SELECT dep, recorded, d FROM planned WHERE d IS DISTINCT FROM recorded LIMIT 3;
DROP TABLE planned;

-- The same with miosa_rollback.min_served.  No events say how long a version
-- served: the first one that was promoted over it does, or the next loaded one.
BEGIN;
SET LOCAL miosa_rollback.min_served = '150 min';
UPDATE test.candidates c SET code = 'MIN_SERVED', why = coalesce('it served for ' || extract(epoch FROM l.longest)::integer || ' s only', 'it is not known how long it served')
	FROM miosa.versions v
	CROSS JOIN LATERAL (SELECT coalesce(
		(SELECT max(s.promoted_at) FROM miosa.versions s WHERE s.deployment_id = v.deployment_id AND s.promoted_over = v.id AND s.promoted_at >= v.promoted_at),
		(SELECT min(s.promoted_at) FROM miosa.versions s WHERE s.deployment_id = v.deployment_id AND v.promotion_seq IS NULL AND s.promotion_seq IS NULL
			AND (s.promoted_at, s.version_number) > (v.promoted_at, v.version_number))) - v.promoted_at AS longest) l
	WHERE v.deployment_id = c.dep AND v.id = c.id AND c.code IS NULL AND NOT coalesce(l.longest >= '150 min', false);
CREATE TEMPORARY TABLE planned AS SELECT e.*, miosa_plan(e.dep) -> 'data' AS p, miosa.default_target(e.dep) AS d FROM test.chosen e WHERE e.dep LIKE 'dep%';
SELECT count(*), count(d) > 200 AS many, count(*) FILTER (WHERE skipped @> '[{"why": "it is not known how long it served"}]') > 100 AS unknown,
	count(*) FILTER (WHERE skipped::text ~ 'served for' AND target IS NOT NULL) > 50 AS briefly FROM planned;
SELECT dep, target, rule, skipped, p ->> 'target_version_id', p ->> 'target_rule', p -> 'skipped' FROM planned
WHERE (p ->> 'target_version_id', p ->> 'target_rule', p -> 'skipped') IS DISTINCT FROM (target, rule, coalesce(skipped, '[]')) LIMIT 3;
SELECT dep, recorded, d FROM planned WHERE d IS DISTINCT FROM recorded LIMIT 3;
ROLLBACK;

CREATE FUNCTION test.single(dep text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	RETURN miosa_rollback(dep, NULL, 'k') -> 'operation';
EXCEPTION WHEN SQLSTATE 'MR49P' THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN jsonb_build_object('detail', detail);
END $$;
CREATE FUNCTION test.wrong(dep text, o jsonb) RETURNS SETOF test.expected LANGUAGE sql AS $$
	SELECT * FROM test.expected e WHERE e.dep = wrong.dep
	AND (o ->> 'target_version_id', o ->> 'target_rule', o -> 'skipped', substring(o ->> 'detail' FROM 'Skipped: (.*)[.]'))
		IS DISTINCT FROM (target, rule, CASE WHEN target IS NOT NULL THEN skipped END, CASE WHEN target IS NULL THEN text END) $$;
BEGIN;
CREATE TEMPORARY TABLE grouped AS
	SELECT deployment_id AS dep, coalesce(response -> 'operation', jsonb_build_object('detail', detail)) AS o
	FROM miosa.rollback_group((SELECT array_agg(dep) FROM test.expected), NULL, array_fill('k'::text, ARRAY[2012]));
SELECT count(*), count(o -> 'target_version_id') = (SELECT count(target) FROM test.expected) AS as_many FROM grouped;
SELECT g.o, w.* FROM grouped g CROSS JOIN LATERAL test.wrong(g.dep, g.o) w LIMIT 3;
ROLLBACK;
CREATE TEMPORARY TABLE single AS SELECT dep, test.single(dep) AS o FROM test.expected;
SELECT count(*), count(o -> 'target_version_id') = (SELECT count(target) FROM test.expected) AS as_many FROM single;
SELECT g.o, w.* FROM single g CROSS JOIN LATERAL test.wrong(g.dep, g.o) w LIMIT 3;
DROP TABLE single;

\i :cleanup
