-- The last known good version: what served long enough, and what served at a
-- moment.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

-- Events are moved to so many minutes ago.
CREATE TABLE test.base AS SELECT clock_timestamp() AS at;
CREATE FUNCTION test.ago(minutes numeric) RETURNS timestamptz LANGUAGE sql AS $$ SELECT b.at - minutes * '1 min'::interval FROM test.base b $$;
CREATE FUNCTION test.past(dep text, minutes integer[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	ALTER TABLE miosa.audit_events DISABLE TRIGGER USER;
	UPDATE miosa.audit_events a SET created_at = test.ago(m.minutes)
		FROM unnest(minutes) WITH ORDINALITY m (minutes, seq) WHERE a.deployment_id = dep AND a.seq = m.seq;
	ALTER TABLE miosa.audit_events ENABLE TRIGGER USER;
	UPDATE miosa.versions v SET promoted_at = a.created_at FROM miosa.audit_events a
		WHERE v.deployment_id = dep AND a.deployment_id = dep AND a.seq = v.promotion_seq;
END $$;
CREATE FUNCTION test.forget(dep text, below bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	ALTER TABLE miosa.audit_events DISABLE TRIGGER USER;
	DELETE FROM miosa.audit_events a WHERE a.deployment_id = dep AND a.seq < below;
	ALTER TABLE miosa.audit_events ENABLE TRIGGER USER;
END $$;
-- What served, in minutes ago.
CREATE FUNCTION test.periods(dep text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('%s%s from %s to %s', coalesce(version_id, 'nothing'), CASE WHEN known THEN '' ELSE ' (unknown)' END, m.began, coalesce(m.ended::text, 'now'))
	FROM miosa.serving_periods(dep) p, LATERAL (SELECT (extract(epoch FROM b.at - p.began) / 60)::integer AS began, (extract(epoch FROM b.at - p.ended) / 60)::integer AS ended FROM test.base b) m $$;
CREATE FUNCTION test.planned(dep text, moment timestamptz DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', p ->> 'target_version_id', p ->> 'target_rule', p ->> 'would_succeed', nullif(p ->> 'skipped', '[]'))
	FROM (SELECT miosa_plan(dep, served_at => moment) -> 'data') v (p) $$;

-- How long a version must have served.
SELECT test.history('dep_1', 5);
SELECT test.past('dep_1', '{600,300,120,30,20}');
SELECT test.periods('dep_1');
SELECT test.planned('dep_1');
SET miosa_rollback.min_served = '15 min';
SELECT test.planned('dep_1');
SELECT miosa.default_target('dep_1');
SET miosa_rollback.min_served = '1h';
SELECT test.planned('dep_1');
SET miosa_rollback.min_served = '4h';
SELECT test.planned('dep_1');
SELECT miosa.default_target('dep_1');
SELECT version, note FROM miosa.candidates('dep_1') WHERE note <> '';
SELECT test.op(miosa_rollback('dep_1', idempotency_key => 'k'));
-- what was gone back to served at two stretches, of which the longer one counts
SELECT test.op(miosa_promote('dep_1', 'ver_5'));
SELECT test.op(miosa_rollback('dep_1', 'ver_3'));
SELECT test.past('dep_1', '{600,300,120,30,20,10,9,8}');
SELECT test.periods('dep_1');
SELECT test.op(miosa_promote('dep_1', 'ver_5'));
SET miosa_rollback.min_served = '80 min';
SELECT test.planned('dep_1');
SET miosa_rollback.min_served = '100 min';
SELECT test.planned('dep_1');
-- the setting concerns nobody who names the version
SELECT test.op(miosa_rollback('dep_1', 'ver_4', 'k2'));
-- none served long enough
SET miosa_rollback.min_served = '1 d';
SELECT test.refusal($$SELECT miosa_rollback('dep_1', idempotency_key => 'k3', reason => 'why')$$);
SELECT test.refusal($$SELECT * FROM miosa.rollback('dep-1', idempotency_key => 'k3')$$);
SELECT p #>> '{checks,0}' FROM (SELECT miosa_plan('dep_1') -> 'data') v (p);
SELECT miosa.default_target('dep_1') IS NULL AS none;
-- a version that does not qualify otherwise is not the one to name
SELECT test.op(miosa_mark_bad('dep_1', 'ver_3', 'slow')) ~ 'unchanged' AS marked;
SELECT test.refusal($$SELECT miosa_rollback('dep_1', idempotency_key => 'k3')$$);
-- in a group too
SELECT condition, hint FROM miosa.rollback_group('{dep_1}', NULL, '{k4}');
RESET miosa_rollback.min_served;

-- Where events are gone, versions say when they were promoted, one over the other.
SELECT test.history('dep_2', 5);
SELECT test.past('dep_2', '{600,300,120,30,20}');
SELECT test.forget('dep_2', 5);
SELECT test.periods('dep_2');
SET miosa_rollback.min_served = '1h';
SELECT test.planned('dep_2');
UPDATE miosa.versions SET promoted_at = NULL WHERE deployment_id = 'dep_2' AND id IN ('ver_2', 'ver_3');
SELECT test.planned('dep_2');
SELECT test.forget('dep_2', 9);
SELECT test.planned('dep_2');
-- loaded without any
SELECT test.deployment('dep_3', 5);
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE miosa.deployments SET active_version_id = 'ver_5', active_release_id = 'rel_5' WHERE id = 'dep_3';
UPDATE miosa.versions SET promoted_at = test.ago((ARRAY[600, 300, 200, 190, 20])[version_number]) WHERE deployment_id = 'dep_3';
COMMIT;
SELECT test.planned('dep_3');
SET miosa_rollback.min_served = '175 min';
SELECT test.planned('dep_3');
RESET miosa_rollback.min_served;

-- What served at a moment.
SELECT test.history('at_1', 3);
SELECT test.op(miosa_rollback('at_1', 'ver_1'));
UPDATE miosa.deployments SET active_version_id = NULL WHERE id = 'at_1';
SELECT test.op(miosa_promote('at_1', 'ver_3'));
SELECT test.op(miosa_mark_bad('at_1', 'ver_2', 'x')) ~ 'unchanged' AS marked;
SELECT test.op(miosa_clear_bad('at_1', 'ver_2')) ~ 'unchanged' AS cleared;
SELECT test.past('at_1', '{100,80,60,40,30,20,15,14}');
SELECT test.periods('at_1');
SELECT m, test.planned('at_1', test.ago(m)) FROM unnest('{99,81,79,61,59,41,39,29,19,1}'::integer[]) m;
SELECT test.refusal($$SELECT miosa_rollback('at_1', served_at => test.ago(25))$$);
SELECT test.refusal($$SELECT miosa_rollback('at_1', served_at => test.ago(101))$$);
SELECT test.refusal($$SELECT * FROM miosa.rollback('at-1', served_at => '2000-01-01 00:00+00')$$);
SELECT test.op(miosa_rollback('at_1', served_at => test.ago(70), idempotency_key => 'k'));
SELECT target_rule FROM miosa.audit_events WHERE deployment_id = 'at_1' AND seq = 9;
-- a retry is the same request, and one for another moment is not
SELECT test.op(miosa_rollback('at_1', served_at => created_at, idempotency_key => 'k5')) FROM miosa.audit_events WHERE deployment_id = 'at_1' AND seq = 1;
SELECT test.op(miosa_rollback('at_1', served_at => created_at, idempotency_key => 'k5')) FROM miosa.audit_events WHERE deployment_id = 'at_1' AND seq = 1;
SELECT test.code($$SELECT miosa_rollback('at_1', served_at => test.ago(50), idempotency_key => 'k5')$$);
-- what served then is active: its route is sent again
SELECT test.op(miosa_rollback('at_1', served_at => test.ago(90)));
SELECT value FROM miosa.rollback('at_1', served_at => test.ago(50)) WHERE item IN ('from', 'to');
-- what served then is bad, or gone
SELECT test.op(miosa_mark_bad('at_1', 'ver_2', 'errors')) ~ 'unchanged' AS marked;
SELECT test.code($$SELECT miosa_rollback('at_1', served_at => test.ago(70))$$);
SELECT test.planned('at_1', test.ago(70));
UPDATE miosa.versions SET state = 'archived' WHERE deployment_id = 'at_1' AND id = 'ver_2';
SELECT test.code($$SELECT miosa_rollback('at_1', served_at => test.ago(70))$$);
DELETE FROM miosa.releases WHERE deployment_id = 'at_1' AND id = 'rel_2';
DELETE FROM miosa.versions WHERE deployment_id = 'at_1' AND id = 'ver_2';
SELECT test.code($$SELECT miosa_rollback('at_1', served_at => test.ago(70))$$);
-- retention has removed events
SELECT test.forget('at_1', 3);
SELECT test.refusal($$SELECT miosa_rollback('at_1', served_at => test.ago(70))$$);
SELECT test.deployment('at_2', 2);
SELECT test.refusal($$SELECT miosa_rollback('at_2', served_at => test.ago(70))$$);
SELECT jsonb_path_query(miosa_plan('at_2', served_at => test.ago(70)), '$.data.checks[*].check') #>> '{}';

-- With instances: what served, and not what waited for them.
CREATE FUNCTION test.instances(dep text, version text, healthy integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL session_replication_role = replica;
	DELETE FROM miosa.runtime_instances i WHERE i.deployment_id = dep AND i.version_id = version;
	INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id, state)
		SELECT dep, version || '-' || i, 'ten_1', version, 'healthy' FROM generate_series(1, healthy) i;
	SET LOCAL session_replication_role = origin;
END $$;
CREATE FUNCTION test.switched(dep text, version text, minutes integer) RETURNS void LANGUAGE sql AS $$
	UPDATE miosa.versions SET switched_at = test.ago(minutes) WHERE deployment_id = dep AND id = version $$;
SELECT test.deployment('run_1', 4, 'dynamic');
UPDATE miosa.deployments SET desired_replicas = 1 WHERE id = 'run_1';
SELECT test.op(miosa_promote('run_1', 'ver_1', cutover => 'immediate')), test.instances('run_1', 'ver_1', 1);
SELECT test.op(miosa_promote('run_1', 'ver_2'));
SELECT switched_at FROM miosa.versions WHERE deployment_id = 'run_1' AND id = 'ver_2';
SELECT test.instances('run_1', 'ver_2', 1), miosa.complete_capacity('run_1');
SELECT v.id, switched_at > a.created_at AS noted FROM miosa.versions v JOIN miosa.audit_events a ON a.deployment_id = v.deployment_id AND a.seq = v.promotion_seq
	WHERE v.deployment_id = 'run_1' AND v.switched_at IS NOT NULL;
SELECT test.past('run_1', '{100,80}'), test.switched('run_1', 'ver_2', 70);
SELECT test.periods('run_1');
-- one that never switched never served
SELECT test.op(miosa_promote('run_1', 'ver_3'));
SELECT test.past('run_1', '{100,80,50}');
SELECT test.periods('run_1');
SELECT test.op(miosa_rollback('run_1', 'ver_2'));
SELECT test.op(miosa_promote('run_1', 'ver_3'));
SELECT test.op(miosa_promote('run_1', 'ver_3', cutover => 'immediate'));
SELECT test.past('run_1', '{100,80,50,45,40,35}');
SELECT test.periods('run_1');
SELECT m, test.planned('run_1', test.ago(m)) FROM unnest('{99,75,69,49,44,39,34}'::integer[]) m;
SET miosa_rollback.min_served = '25 min';
SELECT test.planned('run_1');
SET miosa_rollback.min_served = '32 min';
SELECT test.planned('run_1');
SET miosa_rollback.min_served = '36 min';
SELECT test.planned('run_1');
RESET miosa_rollback.min_served;
-- a second switch has overwritten the first one's time: the active version counts
SELECT test.instances('run_1', 'ver_3', 1);
SELECT test.op(miosa_promote('run_1', 'ver_4')), test.instances('run_1', 'ver_4', 1), miosa.complete_capacity('run_1');
SELECT test.op(miosa_rollback('run_1', 'ver_2')), test.instances('run_1', 'ver_4', 0);
SELECT test.op(miosa_promote('run_1', 'ver_4')), test.instances('run_1', 'ver_4', 1), miosa.complete_capacity('run_1');
SELECT test.past('run_1', '{100,80,50,45,40,35,20,10,5}'), test.switched('run_1', 'ver_4', 3);
SELECT test.periods('run_1');
SELECT test.planned('run_1', test.ago(15));

-- Arguments.
SELECT test.refusal($$SELECT miosa_rollback('at_1', 'ver_1', served_at => '2020-01-01 00:00+00')$$);
SELECT test.code($$SELECT miosa_rollback('at_1', served_at => 'infinity')$$);
SELECT test.code($$SELECT miosa_rollback('at_1', served_at => '-infinity')$$);
SELECT test.refusal($$SELECT miosa_rollback('at_1', served_at => now() + '1 h')$$);
SELECT test.code($$SELECT miosa_rollback('nope', served_at => now())$$);
SELECT test.code($$SELECT miosa_plan('at_1', 'ver_1', '2020-01-01 00:00+00')$$);
SELECT test.code($$SELECT miosa_plan('at_1', served_at => 'infinity')$$);
SELECT test.code($$SELECT miosa_rollback('at_1', served_at => '1990-01-01 00:00+00')$$);
SELECT regexp_replace(test.code($$SET miosa_rollback.min_served = '-1'$$), '(\d) s\M', '\1', 'g');
SELECT test.code($$SET miosa_rollback.min_served = 'long'$$);

\i :cleanup
