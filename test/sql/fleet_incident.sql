-- Holds, bad versions, moments and undo in fleets: each deployment gets what a
-- single rollback gives it.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

CREATE FUNCTION test.went(response jsonb) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', o ->> 'deployment_id', o ->> 'from', '->', o ->> 'to', o ->> 'outcome', o ->> 'condition')
	FROM jsonb_array_elements(response #> '{data,deployments}') o $$;
-- What is held and marked now.
CREATE VIEW test.left AS SELECT d.id, d.active_version_id AS active,
	(SELECT concat_ws(' ', h.reason, CASE WHEN h.until IS NULL THEN 'until lifted' ELSE format('for %s min', round(extract(epoch FROM h.until - h.since) / 60)) END, '#' || h.seq) FROM miosa.holds h WHERE h.deployment_id = d.id) AS held,
	(SELECT string_agg(v.id || ': ' || (miosa.bad_mark(d.id, v.id) ->> 'scope') || ' ' || (miosa.bad_mark(d.id, v.id) ->> 'reason'), ', ' ORDER BY v.id)
		FROM miosa.versions v WHERE v.deployment_id = d.id AND miosa.bad_mark(d.id, v.id) IS NOT NULL) AS bad,
	(SELECT a.marks - 'fleet' FROM miosa.audit_events a WHERE a.deployment_id = d.id ORDER BY a.seq DESC LIMIT 1) #- '{hold,until}' #- '{hold,was}' AS marks
	FROM miosa.deployments d ORDER BY d.id;
SELECT test.history(d, 4) FROM unnest('{a,b,c,d}'::text[]) d \g /dev/null
SELECT test.history(d, 3) FROM unnest('{e1,e2,e3,g1,g2,g3,g4,g5}'::text[]) d \g /dev/null
-- This one has nothing to go back to.
INSERT INTO miosa.deployments (id, tenant_id, name, slug) VALUES ('none', 'ten_1', 'None', 'none');
SELECT clock_timestamp() AS moment \gset

-- Promise: what is refused as a whole holds and marks nothing.
SELECT test.digest() AS before \gset
SELECT test.code($$SELECT miosa_rollback_many('{"ids": ["a", "none"]}', hold_for => '2 h', mark_bad => true, reason => 'INC-7')$$);
SELECT test.digest() = :'before', (SELECT count(*) FROM miosa.holds);

-- Promise: each one is held and marked, atomic and best_effort; what is refused
-- is neither.
SELECT test.went(miosa_rollback_many('{"ids": ["a", "b"]}', hold_for => '2 h', mark_bad => true, reason => 'INC-7', idempotency_key => 'k1'));
SELECT test.went(miosa_rollback_many('{"ids": ["c", "none"]}', mode => 'best_effort', hold => true, mark_bad => true, reason => 'INC-8', idempotency_key => 'k2'));
SELECT * FROM test.left;
-- the same call again changes nothing
SELECT test.digest() AS before \gset
SELECT test.went(miosa_rollback_many('{"ids": ["a", "b"]}', hold_for => '2 h', mark_bad => true, reason => 'INC-7', idempotency_key => 'k1'));
SELECT test.digest() = :'before';

-- Promise: without a version none goes to one that is marked, by itself or by its
-- artifact; a hold that there is stays as it is.
SELECT miosa_mark_bad('d', 'ver_3', 'CVE', 'artifact') \g /dev/null
SELECT test.went(miosa_plan_many('{"ids": ["a", "d"]}'));
SELECT test.went(miosa_rollback_many('{"ids": ["a", "d"]}', hold => true, reason => 'INC-9', idempotency_key => 'k3'));
SELECT * FROM test.left WHERE id IN ('a', 'd');

SET client_min_messages = error;
-- Promise: each one marks what it leaves, beside a mark of the artifact that they
-- share, which is taken away for all.
SELECT miosa_mark_bad('e1', 'ver_3', 'CVE-3', 'artifact') \g /dev/null
SELECT test.went(miosa_rollback_many('{"ids": ["e1", "e2", "e3"]}', mark_bad => true, reason => 'INC-10', idempotency_key => 'k4'));
SELECT id, active, bad, marks FROM test.left WHERE id LIKE 'e_';
SELECT artifact = encode(sha256('3'), 'hex'), reason FROM miosa.bad_artifacts ORDER BY reason;
SELECT miosa_clear_bad('e2', 'ver_3', scope => 'artifact') \g /dev/null
SELECT miosa_clear_bad('d', 'ver_3', scope => 'artifact') \g /dev/null
SELECT id, bad FROM test.left WHERE id LIKE 'e_';

-- Promise: undo takes back what the fleet did to one: version, hold and mark.
SELECT test.op(miosa_undo('b')), test.op(miosa_undo('e2'));
SELECT id, active, held, bad FROM test.left WHERE id IN ('b', 'e2');
SELECT test.op(miosa_undo('b', '#6', reason => 'back again'));
SELECT id, active, held, bad FROM test.left WHERE id = 'b';

-- Promise: a moment means what each one served then.
SELECT test.went(miosa_plan_many('{"ids": ["a", "b", "c", "d", "e1"]}', served_at => :'moment'));
SELECT test.went(miosa_rollback_many('{"ids": ["a", "b", "c", "d", "e1", "none"]}', served_at => :'moment', mode => 'best_effort', idempotency_key => 'k5'));
SELECT id, active FROM test.left WHERE id < 'e';
SELECT test.code(format($$SELECT miosa_rollback_many('{"ids": ["a", "e1"]}', served_at => %L)$$, :'moment'));

-- Promise: freezes and holds stop promotions, and no fleet.
SELECT miosa_put_freeze('gala', now() + '1 day') \g /dev/null
SELECT test.code($$SELECT miosa_promote('c', 'ver_2')$$);
SELECT test.went(miosa_rollback_many('{"ids": ["c", "e3"]}', hold => false, idempotency_key => 'k6'));
SELECT miosa_remove_freeze('gala') \g /dev/null

-- Promise: the procedure does the same in batches.
CALL miosa_rollback_fleet('{"ids": ["g1", "g2", "g3", "g4", "g5", "none"]}', reason => 'INC-11', hold_for => '1 h', mark_bad => true, batch => 2,
	idempotency_key => 'k7') \gset
SELECT :'result'::jsonb #- '{data,fleet_id}' #- '{data,began_at}' #- '{data,ended_at}' #> '{data}';
SELECT id, active, held, bad FROM test.left WHERE id LIKE 'g_';
CALL miosa_rollback_fleet('{"ids": ["g1", "g2", "none"]}', served_at => '2001-01-01', batch => 2) \gset
SELECT :'result'::jsonb #>> '{data,refused}', jsonb_path_query_array(:'result', '$.data.refusals[*].condition');
SELECT test.op(miosa_undo(id)) FROM unnest('{g1,g5}'::text[]) id;
SELECT id, active, held, bad FROM test.left WHERE id IN ('g1', 'g5');

-- Promise: all chains hold.
SELECT miosa_audit_verify_all() #> '{data,verified}';

\i :cleanup
