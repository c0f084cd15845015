-- Undo: what it makes active, what it does to the hold and the chain, what it
-- refuses.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture
RESET miosa_rollback.hold_after_rollback;

SELECT test.history('dep_1', 4);
SELECT test.history('dep_2', 2);
SELECT test.deployment('dep_3', 3);
SELECT test.deployment('dep_4', 2);
\set VERBOSITY terse
CREATE FUNCTION test.hold(dep text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce((SELECT format('#%s, %s, %s, held %s, waiting %s', h.seq, coalesce(h.reason, 'no reason'),
		CASE WHEN h.until IS NULL THEN 'until lifted' ELSE 'for ' || round(extract(epoch FROM h.until - h.since)) || ' s' END,
		h.held, coalesce(h.waiting_version_id, 'none')) FROM miosa.holds h WHERE h.deployment_id = dep), 'not held') $$;
CREATE FUNCTION test.undone(r jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s, undoes %s, hold %s', test.op(r), r -> 'operation' ->> 'undo_of',
		coalesce((SELECT string_agg(k, ' ') FROM jsonb_object_keys(r -> 'operation' -> 'hold') k WHERE k IN ('opened', 'kept', 'lifted')), 'untouched')) $$;

-- a rollback is undone with its hold, and redone with it
SELECT test.op(miosa_rollback('dep_1', reason => 'looks bad')), test.hold('dep_1');
SELECT test.undone(miosa_undo('dep_1', reason => 'was the network', idempotency_key => 'u-1')), test.hold('dep_1');
SELECT a.action, a.outcome, a.target_rule, a.reason, a.marks ->> 'undo_of', a.marks -> 'hold' ? 'lifted' FROM miosa.audit_events a WHERE a.deployment_id = 'dep_1' ORDER BY a.seq DESC LIMIT 1;
SELECT miosa.default_target('dep_1');
SELECT test.undone(miosa_undo('dep_1', 'dep_1#6', 'u-2')), test.hold('dep_1');
SELECT miosa.default_target('dep_1');
SELECT test.undone(miosa_undo('dep_1', '#7', 'u-3')), test.hold('dep_1');
-- its key repeats it
SELECT test.undone(miosa_undo('dep_1', '#7', 'u-3')), test.hold('dep_1');
SELECT test.code($$SELECT miosa_undo('dep_1', '#6', 'u-3')$$);
-- without operation and key it may be a retry
SELECT test.refusal($$SELECT miosa_undo('dep_1')$$);
SELECT test.refusal($$SELECT * FROM miosa.undo('dep-1', reason => 'why')$$);
-- a promotion is undone: the hold that it lifted is open again, as it was
SELECT test.op(miosa_rollback('dep_1', 'ver_2', reason => 'v3 and v4 fail', hold_for => '1 h')), test.hold('dep_1');
SELECT miosa.remember_held('dep_1', 'ver_4', 3, now(), true);
SELECT test.op(miosa_promote('dep_1', 'ver_4')), test.hold('dep_1');
SELECT test.undone(miosa_undo('dep_1')), test.hold('dep_1');
SELECT h.seq, h.since < (SELECT a.created_at FROM miosa.audit_events a WHERE a.deployment_id = 'dep_1' ORDER BY a.seq DESC LIMIT 1) FROM miosa.holds h WHERE h.deployment_id = 'dep_1';
-- the version that was undone is no default target, and those before it still are
SELECT miosa.default_target('dep_1'), test.op(miosa_rollback('dep_1', 'ver_1', hold => false));
SELECT test.undone(miosa_undo('dep_1')), test.hold('dep_1');
-- redo, and back
SELECT test.undone(miosa_undo('dep_1', '#13', 'u-4')), test.undone(miosa_undo('dep_1', '#14', 'u-5')), test.hold('dep_1');
-- a hold that was changed is what it was; notes do not count
SELECT test.op(miosa_rollback('dep_1', 'ver_1', reason => 'all fail', hold_for => '2 h')), test.hold('dep_1');
SELECT test.op(miosa_hold('dep_1', 'no end')), test.hold('dep_1');
SELECT test.undone(miosa_undo('dep_1')), test.hold('dep_1');
-- one that somebody opened or lifted since stays
SELECT test.op(miosa_release('dep_1')), test.op(miosa_rollback('dep_1', 'ver_1')), test.op(miosa_release('dep_1')), test.hold('dep_1');
SELECT test.op(miosa_hold('dep_1', 'my own')), test.hold('dep_1');
SELECT test.undone(miosa_undo('dep_1')), test.hold('dep_1');
SELECT test.op(miosa_promote('dep_1', 'ver_3')), test.op(miosa_hold('dep_1', 'newer')), test.hold('dep_1');
SELECT test.undone(miosa_undo('dep_1')), test.hold('dep_1');
-- one that would have ended is not opened again
SELECT test.op(miosa_hold('dep_1', until => now() + '1 h')), test.op(miosa_promote('dep_1', 'ver_3'));
BEGIN;
ALTER TABLE miosa.audit_events DISABLE TRIGGER USER;
UPDATE miosa.audit_events SET marks = jsonb_set(marks, '{hold,was,until}', '"2026-01-01T00:00:00.000000Z"') WHERE deployment_id = 'dep_1' AND marks -> 'hold' ? 'lifted';
SELECT test.undone(miosa_undo('dep_1')), test.hold('dep_1');
ROLLBACK;
SELECT test.undone(miosa_undo('dep_1')), test.hold('dep_1');
-- what was promoted twice: the chain leads past it
SELECT test.history('dep_5', 3);
SELECT test.op(miosa_promote('dep_5', 'ver_1')), miosa.default_target('dep_5');
SELECT test.undone(miosa_undo('dep_5')), miosa.default_target('dep_5');
SELECT test.op(miosa_rollback('dep_5')), test.code($$SELECT miosa_rollback('dep_5', idempotency_key => 'further')$$);
-- an unpublished deployment is published again
SELECT test.op(miosa_promote('dep_2', 'ver_1')), miosa_unpublish('dep_2') -> 'data' ->> 'state';
SELECT test.undone(miosa_undo('dep_2'));
SELECT test.refusal($$SELECT miosa_undo('dep_2', '#5')$$);
-- a plain UPDATE is undone as a call is
UPDATE miosa.deployments SET active_version_id = 'ver_2' WHERE id = 'dep_2';
SELECT test.undone(miosa_undo('dep_2'));
-- what cannot be undone
SELECT test.refusal(call) FROM unnest(ARRAY[
	$$SELECT miosa_undo('dep_3')$$,
	$$SELECT * FROM miosa.undo('dep-3')$$,
	$$SELECT miosa_undo('nosuch')$$,
	$$SELECT miosa_undo(NULL)$$,
	$$SELECT miosa_undo('dep_1', 'dep_2#1')$$,
	$$SELECT miosa_undo('dep_1', 'dep_1#99')$$,
	$$SELECT miosa_undo('dep_1', 'dep_1#3')$$,
	$$SELECT miosa_undo('dep_1', '#2', 'k-1', 'why')$$,
	$$SELECT * FROM miosa.undo('dep-1', '#2', 'why', 'k-1')$$,
	$$SELECT miosa_undo('dep_1', 'dep_1')$$,
	$$SELECT miosa_undo('dep_1', '')$$,
	$$SELECT miosa_undo('dep_1', 'dep_1#')$$,
	$$SELECT miosa_undo('dep_1', 'dep_1#-1')$$,
	$$SELECT miosa_undo('dep_1', 'dep_1#99999999999999999999')$$]) WITH ORDINALITY u (call, n) ORDER BY n;
SELECT test.refusal(format('SELECT miosa_undo(''dep_1'', ''#%s'')', (SELECT max(seq) FROM miosa.audit_events WHERE deployment_id = 'dep_1' AND action = 'deployment.hold')));
SELECT test.op(miosa_promote('dep_3', 'ver_1'));
SELECT test.refusal($$SELECT miosa_undo('dep_3')$$);
-- the version of before may have been archived since
SELECT test.op(miosa_promote('dep_3', 'ver_2')), miosa_archive_version('dep_3', 'ver_1') -> 'data' ->> 'state';
SELECT test.refusal($$SELECT miosa_undo('dep_3')$$);
-- instances: what serves is kept serving
INSERT INTO miosa.deployments (id, tenant_id, name, slug, kind, desired_replicas) VALUES ('dep_6', 'ten_1', 'Six', 'six', 'dynamic', 1);
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, kind, state) SELECT 'dep_6', 'ver_' || i, 'ten_1', i, 'dynamic', 'ready' FROM generate_series(1, 2) i;
INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id, state, last_heartbeat_at) VALUES ('dep_6', 'i-1', 'ten_1', 'ver_1', 'healthy', now());
SELECT test.op(miosa_promote('dep_6', 'ver_1'));
SELECT test.op(miosa_promote('dep_6', 'ver_2'));
SELECT test.undone(miosa_undo('dep_6'));
-- the longest id, whose operations have longer ones
SELECT test.history(repeat('d', 255), 2);
SELECT replace(test.undone(miosa_undo(repeat('d', 255), repeat('d', 255) || '#2', 'u-9')), repeat('d', 255), 'dep');
-- people
SELECT test.op(miosa_promote('dep_4', 'ver_1')), test.op(miosa_promote('dep_4', 'ver_2')), test.op(miosa_rollback('dep_4'));
SELECT item, regexp_replace(value, ', served.*', '') FROM miosa.undo('dep-4', reason => 'wrong one') WHERE item <> 'edges' AND item <> 'NOT SENT';
SELECT op, replace(what, current_user, 'me') FROM miosa.history('dep_4', 2);
SELECT replace(value, current_user, 'me') FROM miosa.status('dep_4') WHERE item = 'by';
-- each number was used once, and the trail is as it was written
SELECT test.count('dep_1'), miosa_audit_verify('dep_1') -> 'data' -> 'problems';
\i :cleanup
