-- Holds: what opens and lifts them, what they refuse, and what shows them.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture
RESET miosa_rollback.hold_after_rollback;

SELECT test.history('dep_1', 4);
SELECT test.history('dep_2', 3);
SELECT test.history('dep_3', 3);
-- Of these, promotions are refused, which the dispatcher counts when it comes by.
SELECT test.history('dep_4', 4);
SELECT test.history('dep_5', 3);
CREATE FUNCTION test.hold(dep text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce((SELECT format('#%s by %s %s, %s, %s, held %s, waiting %s', h.seq, h.actor_type, CASE h.actor_id WHEN current_user THEN 'me' ELSE h.actor_id END,
		coalesce(h.reason, 'no reason'), CASE WHEN h.until IS NULL THEN 'until lifted' ELSE 'for ' || extract(epoch FROM h.until - h.since)::integer || ' s' END,
		h.held, coalesce(h.waiting_version_id, 'none')) FROM miosa.holds h WHERE h.deployment_id = dep), 'none') $$;
-- The member hold, without times and names.
CREATE FUNCTION test.shown(hold jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT regexp_replace(regexp_replace(hold::text, '\d{4}-\d\d-\d\dT[0-9:.]+Z', '<time>', 'g'), format('"%s"', current_user), '"me"', 'g') $$;
CREATE FUNCTION test.mark(dep text) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s #%s %s', a.action, a.seq, test.shown(a.marks)) FROM miosa.audit_events a WHERE a.deployment_id = dep ORDER BY a.seq DESC LIMIT 1 $$;

-- Without the name of who runs the test.
CREATE FUNCTION test.refused(call text) RETURNS text LANGUAGE sql AS $$ SELECT replace(test.refusal(call), current_user, 'me') $$;
\set VERBOSITY terse

-- a rollback opens one, once; another one keeps it, and a newer reason
SELECT test.op(r), test.shown(r -> 'operation' -> 'hold') FROM miosa_rollback('dep_1', 'ver_3', reason => 'checkout fails') r;
SELECT test.hold('dep_1'), test.mark('dep_1');
SELECT test.op(r), test.shown(r -> 'operation' -> 'hold') FROM miosa_rollback('dep_1', 'ver_2') r;
SELECT test.hold('dep_1'), test.mark('dep_1');
SELECT test.op(r), test.shown(r -> 'operation' -> 'hold') FROM miosa_rollback('dep_1', 'ver_1', reason => 'so does v2', hold_for => '2 hours') r;
SELECT test.hold('dep_1'), test.mark('dep_1');
-- what changes nothing opens none, unless that is asked for, nor does a no
SELECT test.shown(r -> 'operation' -> 'hold') FROM miosa_rollback('dep_2', 'ver_3') r;
SELECT test.shown(r -> 'operation' -> 'hold') FROM miosa_rollback('dep_2', 'ver_3', hold => true) r;
SELECT test.hold('dep_2'), test.mark('dep_2');
SELECT test.shown(r -> 'operation' -> 'hold') FROM miosa_rollback('dep_3', 'ver_2', hold => false) r;
SET miosa_rollback.hold_after_rollback = off;
SELECT test.shown(r -> 'operation' -> 'hold') FROM miosa_rollback('dep_3', 'ver_1') r;
SELECT test.hold('dep_3');
SELECT test.shown(r -> 'operation' -> 'hold') FROM miosa_rollback('dep_3', 'ver_2', hold => true, hold_for => '1 min') r;
RESET miosa_rollback.hold_after_rollback;
SELECT test.hold('dep_3');
-- what it refuses, by the argument or the setting, but not what is active
SELECT count(*) FROM miosa_rollback('dep_4', 'ver_1', reason => 'so does v2', hold_for => '2 hours');
SELECT test.refused($$SELECT miosa_promote('dep_4', 'ver_4', idempotency_key => 'ci-9', reason => 'merge', automatic => true)$$);
SET miosa_rollback.automatic = on;
SELECT test.refused($$SELECT miosa_promote('dep_4', 'ver_4', 'ci-9')$$);
SELECT test.refused($$SELECT * FROM miosa.promote('dep-4', 'v4')$$);
SELECT test.refused($$UPDATE miosa.deployments SET active_version_id = 'ver_4' WHERE id = 'dep_4'$$);
SELECT test.op(miosa_promote('dep_4', 'ver_1'));
SELECT test.op(miosa_promote('dep_2', 'ver_2', automatic => false));
RESET miosa_rollback.automatic;
SELECT test.hold('dep_2'), test.mark('dep_2');
-- over HTTP: when a retry may succeed, if the hold ends by itself
CREATE FUNCTION test.http(call text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	body text;
	response text;
BEGIN
	PERFORM set_config('request.method', 'POST', true);
	EXECUTE call;
EXCEPTION WHEN SQLSTATE 'PGRST' THEN
	GET STACKED DIAGNOSTICS body = MESSAGE_TEXT, response = PG_EXCEPTION_DETAIL;
	RETURN response::jsonb || jsonb_build_object('code', body::jsonb ->> 'code');
END $$;
SELECT r ->> 'status', r ->> 'code', (r -> 'headers' ->> 'Retry-After')::integer BETWEEN 6000 AND 7200
	FROM test.http($$SELECT miosa_promote('dep_4', 'ver_4', automatic => true)$$) r;
SELECT r ->> 'status', r ->> 'code', r ->> 'headers'
	FROM (SELECT test.http($$SELECT miosa_promote('dep_5', 'ver_3', automatic => true)$$) FROM miosa_hold('dep_5')) u (r);
-- a call that returns its refusal has it counted in its own transaction
SELECT test.history('dep_6', 3);
SELECT count(*) FROM miosa_rollback('dep_6', 'ver_1', hold_for => '1 h');
SELECT r -> 'error' ->> 'code', (r -> 'error' ->> 'retry_after')::integer BETWEEN 3000 AND 3600
	FROM miosa_try_promote('dep_6', 'ver_3', 'ci-1', automatic => true) r;
SELECT test.hold('dep_6');
-- it counts, and remembers the newest version
SELECT miosa.remember_held('dep_1', 'ver_3', 1, now(), true), miosa.remember_held('dep_1', 'ver_4', 2, now(), false),
	miosa.remember_held('dep_1', 'ver_2', 1, now(), true), miosa.remember_held('dep_1', 'nosuch', 1, now(), true);
SELECT test.hold('dep_1');
-- not what an earlier hold has refused, nor without one
SELECT miosa.remember_held('dep_1', 'ver_4', 1, '2020-01-01', true), miosa.remember_held('dep_2', 'ver_3', 1, now(), true),
	miosa.remember_held('nosuch', 'ver_3', 1, now(), false);
SELECT test.hold('dep_1'), test.hold('dep_2');
-- people see it
SELECT item, regexp_replace(replace(value, current_user, 'me'), '\d+ h \d+ min|(<1|\d+) s', '<span>', 'g') FROM miosa.status('dep_1') WHERE item IN ('held', '');
SELECT version, note FROM miosa.candidates('dep_1');
SELECT op, regexp_replace(replace(what, current_user, 'me'), '\d\d-\d\d \d\d:\d\d', '<time>') FROM miosa.history('dep_1', 4);
SELECT deployment, held, waiting, replace(why, current_user, 'me') FROM miosa.open_holds WHERE deployment IN ('dep_1', 'dep_3');
SELECT c ->> 'result', c ->> 'message', regexp_replace(replace(c ->> 'detail', current_user, 'me'), 'since .*:', 'since <times>:'), c ->> 'hint'
	FROM jsonb_array_elements(miosa_plan('dep_1', 'ver_2') -> 'data' -> 'checks') c WHERE c ->> 'check' = 'not_held';
SELECT c ->> 'result', c ->> 'message' FROM jsonb_array_elements(miosa_plan('dep_2') -> 'data' -> 'checks') c WHERE c ->> 'check' = 'not_held';
SELECT status, seen FROM miosa_doctor() WHERE item = 'holds';
-- the version that waited is promoted in one call, which its key repeats
SELECT test.op(r), test.shown(r -> 'operation' -> 'hold') FROM miosa_release('dep_1', promote => 'newest', reason => 'fixed', idempotency_key => 'r-1') r;
SELECT test.hold('dep_1'), test.mark('dep_1');
SELECT test.op(miosa_release('dep_1', promote => 'newest', reason => 'fixed', idempotency_key => 'r-1'));
SELECT test.refused($$SELECT miosa_release('dep_1', idempotency_key => 'r-1')$$);
-- hold and release, by hand
SELECT test.op(r), test.shown(r -> 'operation' -> 'hold') FROM miosa_hold('dep_1', 'audit week', idempotency_key => 'h-1') r;
SELECT test.hold('dep_1'), test.mark('dep_1');
SELECT test.op(miosa_hold('dep_1', 'audit week', idempotency_key => 'h-1'));
SELECT count(*) FROM miosa_hold('dep_1', until => (SELECT since + '1 h' FROM miosa.holds WHERE deployment_id = 'dep_1'));
SELECT test.hold('dep_1'), test.mark('dep_1');
SELECT test.refused($$SELECT miosa_release('dep_1', promote => 'newest')$$);
SELECT test.op(r), test.shown(r -> 'operation' -> 'hold') FROM miosa_release('dep_1', reason => 'done') r;
SELECT test.hold('dep_1'), test.mark('dep_1');
SELECT test.refused($$SELECT miosa_release('dep_1')$$);
SELECT test.refused($$SELECT miosa_release('dep_1', promote => 'newest')$$);
SELECT item, value FROM miosa.hold('dep-1', 'for a while');
SELECT miosa.remember_held('dep_1', 'ver_3', 1, now(), true);
SELECT item, regexp_replace(value, ', served.*', '') FROM miosa.release('dep-1');
SELECT item FROM miosa.hold('dep_1');
SELECT miosa.remember_held('dep_1', 'ver_3', 1, now(), true);
SELECT item, regexp_replace(value, ', served.*', '') FROM miosa.release('dep-1', 'newest') WHERE item IN ('result', 'from', 'to', 'hold', 'undo');
-- one that has ended is no hold, wherever it is read, and is removed
SELECT count(*) FROM miosa_hold('dep_1', until => now() + '1 h');
UPDATE miosa.holds SET since = now() - '2 h'::interval, until = now() - '1 s'::interval WHERE deployment_id = 'dep_1';
SELECT deployment FROM miosa.open_holds WHERE deployment = 'dep_1';
SELECT item FROM miosa.status('dep_1') WHERE item = 'held';
SELECT test.refused($$SELECT miosa_release('dep_1')$$);
SELECT test.shown(r -> 'operation' -> 'hold') FROM miosa_rollback('dep_1', 'ver_2', reason => 'again') r;
SELECT test.hold('dep_1');
UPDATE miosa.holds SET since = now() - '2 h'::interval, until = now() - '1 s'::interval WHERE deployment_id = 'dep_1';
SELECT test.op(r), test.shown(r -> 'operation' -> 'hold') FROM miosa_promote('dep_1', 'ver_4', automatic => true) r;
SELECT test.hold('dep_1');
UPDATE miosa.holds SET since = now() - '2 h'::interval, until = now() - '1 s'::interval WHERE deployment_id = 'dep_3';
SELECT * FROM miosa_purge_expired() WHERE what = 'holds';
SELECT test.hold('dep_3');
-- a plain UPDATE opens and lifts them as calls do
UPDATE miosa.deployments SET active_version_id = 'ver_1' WHERE id = 'dep_1';
SELECT test.hold('dep_1'), test.mark('dep_1');
UPDATE miosa.deployments SET active_version_id = 'ver_4' WHERE id = 'dep_1';
SELECT test.hold('dep_1'), test.mark('dep_1');
-- many at once
SELECT g.deployment_id, g.outcome, test.shown(g.response -> 'operation' -> 'hold') FROM miosa.rollback_group('{dep_1,dep_2,dep_3}', '{ver_1,ver_1,ver_1}', reason => 'base image') g;
SELECT test.hold('dep_1'), test.hold('dep_2'), test.hold('dep_3');
SELECT g.deployment_id, g.outcome, test.shown(g.response -> 'operation' -> 'hold') FROM miosa.rollback_group('{dep_1,dep_3}', '{ver_2,ver_2}', reason => 'another one') g;
SELECT test.hold('dep_1'), test.hold('dep_3');
-- it is lifted by the transaction that promotes, and not by one that fails
BEGIN;
SELECT test.op(miosa_promote('dep_1', 'ver_4'));
SELECT test.hold('dep_1');
ROLLBACK;
SELECT test.hold('dep_1');
-- an old one is a warning
UPDATE miosa.holds SET since = now() - '8 days'::interval WHERE deployment_id = 'dep_1';
SELECT status, seen, fix, needs FROM miosa_doctor() WHERE item = 'holds';
-- what is wrong with arguments
SELECT test.refused(call) FROM unnest(ARRAY[
	$$SELECT miosa_hold('dep_1', until => now() - '1 s'::interval)$$,
	$$SELECT miosa_hold('dep_1', until => 'infinity')$$,
	$$SELECT miosa_hold('dep_1', until => '-infinity')$$,
	$$SELECT miosa_hold('nosuch')$$,
	$$SELECT miosa_hold(NULL)$$,
	$$SELECT miosa_hold('dep_1', E'a\x01b')$$,
	$$SELECT miosa_release('dep_1', 'oldest')$$,
	$$SELECT miosa_rollback('dep_1', 'ver_1', hold_for => '-1 s')$$,
	$$SELECT miosa_rollback('dep_1', 'ver_1', hold_for => '0')$$,
	$$SELECT miosa_rollback('dep_1', 'ver_1', hold_for => '200 years')$$,
	$$SELECT miosa_rollback('dep_1', 'ver_1', hold => false, hold_for => '1 h')$$]) WITH ORDINALITY u (call, n) ORDER BY n;
-- it goes with its deployment
SELECT miosa_unpublish('dep_2') IS NOT NULL, miosa_remove_deployment('dep_2');
SELECT test.hold('dep_2');
\i :cleanup
