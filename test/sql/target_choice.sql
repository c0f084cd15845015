-- Which version a rollback takes when none is named.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

-- Promise: promotion pushes, rollback pops; two rollbacks in a row go further
-- back and never forth to the bad version.
SELECT test.history('dep_1', 4);
SELECT test.op(miosa_rollback('dep_1', NULL, 'k1'));
SELECT test.op(miosa_rollback('dep_1', NULL, 'k2'));
SELECT test.op(miosa_rollback('dep_1', NULL, 'k3'));
SELECT test.refusal($$SELECT miosa_rollback('dep_1', NULL, 'k4')$$);
SELECT test.count('dep_1');

-- Promise: a fix on top of a rollback returns to what the rollback returned
-- to, and not to the version that was bad.
SELECT test.history('dep_2', 3);
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state)
	SELECT 'dep_2', 'ver_' || i, 'ten_1', i, 'ready' FROM generate_series(4, 5) i;
SELECT test.op(miosa_rollback('dep_2', NULL, 'k1'));
SELECT test.op(miosa_promote('dep_2', 'ver_4'));
SELECT test.op(miosa_rollback('dep_2', NULL, 'k2'));
SELECT test.op(miosa_rollback('dep_2', NULL, 'k3'));
SELECT test.code($$SELECT miosa_rollback('dep_2', NULL, 'k4')$$);

-- Promise: promoting again what was further down makes no circle.
SELECT test.history('dep_3', 4);
SELECT test.op(miosa_promote('dep_3', 'ver_2'));
SELECT test.op(miosa_rollback('dep_3', NULL, 'k1'));
SELECT test.op(miosa_rollback('dep_3', NULL, 'k2'));
SELECT test.op(miosa_rollback('dep_3', NULL, 'k3'));
SELECT test.code($$SELECT miosa_rollback('dep_3', NULL, 'k4')$$);
-- to and fro between two
SELECT test.history('dep_4', 2);
SELECT test.op(miosa_promote('dep_4', CASE i % 2 WHEN 1 THEN 'ver_1' ELSE 'ver_2' END)) FROM generate_series(1, 5) i;
SELECT test.op(miosa_rollback('dep_4', NULL, 'k1'));
SELECT test.code($$SELECT miosa_rollback('dep_4', NULL, 'k2')$$);

-- The same to and fro in every order: whatever is promoted, following the
-- default target ends, and meets no version twice.
CREATE FUNCTION test.walk(dep text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	path text[];
	at text;
BEGIN
	SELECT active_version_id INTO at FROM miosa.deployments WHERE id = dep;
	WHILE at IS NOT NULL LOOP
		IF at = ANY (path) THEN
			RETURN 'circle: ' || array_to_string(path || at, ' ');
		END IF;
		path := path || at;
		BEGIN
			at := miosa_rollback(dep, NULL, 'walk-' || array_length(path, 1)) -> 'operation' ->> 'target_version_id';
		EXCEPTION WHEN SQLSTATE 'MR49P' THEN
			at := NULL;
		END;
	END LOOP;
	RETURN array_to_string(path, ' ');
END $$;
CREATE FUNCTION test.shuffle(dep text, seed integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n integer := seed;
BEGIN
	PERFORM test.deployment(dep, 5);
	FOR i IN 1 .. 25 LOOP
		n := (n * 1103 + 12345) % 65536;
		IF n / 8 % 3 = 0 AND i > 3 THEN
			PERFORM miosa_rollback(dep, 'ver_' || 1 + n / 64 % 5);
		ELSE
			PERFORM miosa_promote(dep, 'ver_' || 1 + n / 64 % 5);
		END IF;
	END LOOP;
	RETURN test.walk(dep);
END $$;
SELECT count(*), count(*) FILTER (WHERE w LIKE 'circle%') AS circles, max(cardinality(string_to_array(w, ' '))) <= 5 AS short
FROM (SELECT test.shuffle('dep_shuffle_' || i, i * 31) AS w FROM generate_series(1, 40) i) x;

-- Promise: rows that were loaded without operations go by promoted_at ...
SELECT test.deployment('dep_5', 4);
UPDATE miosa.versions SET promoted_at = timestamptz '2026-01-01 00:00+00' + CASE id
	WHEN 'ver_2' THEN interval '1 day' WHEN 'ver_1' THEN '2 days' WHEN 'ver_4' THEN '3 days' WHEN 'ver_3' THEN '4 days' END
	WHERE deployment_id = 'dep_5';
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE miosa.deployments SET active_version_id = 'ver_3', active_release_id = 'rel_3' WHERE id = 'dep_5';
COMMIT;
SELECT test.op(miosa_rollback('dep_5', NULL, 'k1'));
SELECT test.op(miosa_rollback('dep_5', NULL, 'k2'));
SELECT test.op(miosa_rollback('dep_5', NULL, 'k3'));
SELECT test.refusal($$SELECT miosa_rollback('dep_5', NULL, 'k4')$$);

-- ... else by number.
SELECT test.deployment('dep_6', 5);
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE miosa.deployments SET active_version_id = 'ver_4', active_release_id = 'rel_4' WHERE id = 'dep_6';
UPDATE miosa.versions SET state = 'failed' WHERE deployment_id = 'dep_6' AND id = 'ver_3';
COMMIT;
SELECT test.op(miosa_rollback('dep_6', NULL, 'k1'));
SELECT test.op(miosa_rollback('dep_6', NULL, 'k2'));
SELECT test.code($$SELECT miosa_rollback('dep_6', NULL, 'k3')$$);

-- however many of them do not qualify
SELECT test.deployment('dep_17', 12);
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE miosa.deployments SET active_version_id = 'ver_12', active_release_id = 'rel_12' WHERE id = 'dep_17';
UPDATE miosa.versions SET state = 'archived' WHERE deployment_id = 'dep_17' AND version_number BETWEEN 2 AND 11;
COMMIT;
SELECT active, to_version, rule, passed FROM (SELECT o ->> 'previous_version_id', o ->> 'target_version_id', o ->> 'target_rule',
	jsonb_array_length(o -> 'skipped') FROM (SELECT miosa_rollback('dep_17', NULL, 'k1') -> 'operation') x (o)) y (active, to_version, rule, passed);

-- Promise: a first promotion over loaded rows goes on into them.
SELECT test.deployment('dep_7', 4);
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE miosa.deployments SET active_version_id = 'ver_3', active_release_id = 'rel_3' WHERE id = 'dep_7';
UPDATE miosa.versions SET promoted_at = timestamptz '2026-01-01 00:00+00' + version_number * interval '1 day'
	WHERE deployment_id = 'dep_7' AND version_number <= 3;
COMMIT;
SELECT test.op(miosa_promote('dep_7', 'ver_4'));
SELECT test.walk('dep_7');

-- Promise: versions that no longer qualify are skipped and named.
SELECT test.history('dep_8', 5);
UPDATE miosa.releases SET collected_at = now() WHERE deployment_id = 'dep_8' AND id = 'rel_4';
UPDATE miosa.versions SET state = 'archived' WHERE deployment_id = 'dep_8' AND id = 'ver_3';
SELECT jsonb_pretty(miosa_rollback('dep_8', NULL, 'k1') -> 'operation');
-- the replay names them too
SELECT miosa_rollback('dep_8', NULL, 'k1') #> '{operation,skipped}';
-- a named target skips nothing, and says nothing of it
SELECT miosa_rollback('dep_8', 'ver_5') -> 'operation' ? 'skipped';

-- Promise: when none qualifies, each is named with why.
UPDATE miosa.versions SET state = 'archived' WHERE deployment_id = 'dep_8' AND id = 'ver_1';
UPDATE miosa.releases SET collected_at = now() WHERE deployment_id = 'dep_8' AND id = 'rel_2';
SELECT test.digest() AS before \gset
SELECT test.refusal($$SELECT miosa_rollback('dep_8', NULL, 'k2')$$);
SELECT test.digest() = :'before';
-- a refusal does not use up the key
SELECT test.op(miosa_rollback('dep_8', 'ver_5', 'k2'));

-- Promise: a deployment that never had an active version has no previous one.
SELECT test.deployment('dep_9', 2);
SELECT test.refusal($$SELECT miosa_rollback('dep_9')$$);
SELECT test.refusal($$SELECT miosa_rollback('dep_9', NULL, 'k1')$$);
SELECT test.history('dep_10', 1);
SELECT test.refusal($$SELECT miosa_rollback('dep_10')$$);

-- Promise: without version and key a second call within the minute could be a
-- retry and is refused; the HINT is the call for who means it.
SELECT test.history('dep_11', 3);
SELECT test.op(miosa_rollback('dep_11'));
SELECT test.refusal($$SELECT miosa_rollback('dep_11')$$);
SELECT substring(test.refusal($$SELECT miosa_rollback('dep_11')$$) FROM 'type SELECT (.*);') AS pasted \gset
SELECT test.op(:pasted);
SELECT test.count('dep_11');
-- the minute counts from the newest operation, if that is a rollback
SELECT test.code($$SELECT miosa_rollback('dep_11')$$);
UPDATE miosa.deployments SET last_rollback_at = last_rollback_at - interval '61 s' WHERE id = 'dep_11';
SELECT test.code($$SELECT miosa_rollback('dep_11')$$);
SELECT test.history('dep_12', 4);
SELECT test.op(miosa_rollback('dep_12'));
UPDATE miosa.deployments SET last_rollback_at = last_rollback_at - interval '30 s' WHERE id = 'dep_12';
SELECT test.code($$SELECT miosa_rollback('dep_12')$$);
UPDATE miosa.deployments SET last_rollback_at = last_rollback_at - interval '31 s' WHERE id = 'dep_12';
SELECT test.op(miosa_rollback('dep_12'));
-- a key or a version says what is meant
SELECT test.op(miosa_rollback('dep_12', NULL, 'k1'));
SELECT test.op(miosa_rollback('dep_12', 'ver_3'));

-- Promise: a version that went wrong after a promotion by plain UPDATE is not
-- returned to either.
SELECT test.history('dep_13', 3);
SELECT test.op(miosa_promote('dep_13', 'ver_2'));
UPDATE miosa.deployments SET active_version_id = 'ver_3' WHERE id = 'dep_13';
SELECT active_version_id, seq FROM miosa.deployments WHERE id = 'dep_13';
SELECT test.walk('dep_13');

-- Promise: the bottom of the pile is the end: what was rolled back from long
-- ago does not come back from under it.
SELECT test.history('dep_15', 2);
SELECT test.op(miosa_rollback('dep_15', 'ver_1', 'bad-2'));
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('dep_15', 'ver_3', 'ten_1', 3, 'ready');
SELECT test.op(miosa_promote('dep_15', 'ver_3'));
SELECT test.op(miosa_promote('dep_15', 'ver_1'));
SELECT test.walk('dep_15');

-- Promise: a version that was deleted leaves no gap: what it was promoted over
-- is what is returned to, also when several go at once.
SELECT test.history('dep_16', 5);
DELETE FROM miosa.releases WHERE deployment_id = 'dep_16' AND id IN ('rel_4', 'rel_3', 'rel_2');
DELETE FROM miosa.versions WHERE deployment_id = 'dep_16' AND id = 'ver_4';
SELECT promoted_over FROM miosa.versions WHERE deployment_id = 'dep_16' AND id = 'ver_5';
DELETE FROM miosa.versions WHERE deployment_id = 'dep_16' AND id IN ('ver_2', 'ver_3');
SELECT test.op(miosa_rollback('dep_16'));

-- Promise: the plan names the target that the rollback then takes.
SELECT test.history('dep_14', 3);
SELECT p ->> 'target_version_id', p ->> 'target_rule', p ->> 'outcome', p ->> 'would_succeed'
FROM (SELECT miosa_plan('dep_14') -> 'data' AS p) x;
SELECT test.op(miosa_rollback('dep_14'));

\i :cleanup
