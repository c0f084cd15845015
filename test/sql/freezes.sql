-- Freezes: what they refuse, who breaks the glass, and what shows them.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

SELECT test.history('dep_1', 3);
SELECT test.deployment('dep_2', 2, 'dynamic');
INSERT INTO miosa.tenants (id, slug) VALUES ('ten_2', 'other');
UPDATE miosa.deployments SET metadata = '{"tier": "gold"}' WHERE id = 'dep_1';
CREATE FUNCTION test.refused(call text) RETURNS text LANGUAGE sql AS $$ SELECT replace(test.refusal(call), current_user, 'me') $$;
\set VERBOSITY terse

-- one of all deployments, from now on
SELECT f -> 'data' ->> 'name', f -> 'data' -> 'selector', f -> 'data' -> 'tenant_id', f -> 'data' ->> 'reason', f -> 'data' ->> 'actor_type'
	FROM miosa_put_freeze('year-end', now() + '3 days', reason => 'books are closed') f;
SELECT test.refused($$SELECT miosa_promote('dep_1', 'ver_1', 'k-1', attribution => '{"a": 1}')$$);
SELECT test.refused($$SELECT * FROM miosa.promote('dep-1', 'v1', reason => 'INC-7')$$);
SELECT test.refused($$UPDATE miosa.deployments SET active_version_id = 'ver_2' WHERE id = 'dep_2'$$);
-- not what goes back, what is active, and undo
SELECT test.op(miosa_rollback('dep_1', 'ver_2'));
SELECT test.op(miosa_promote('dep_1', 'ver_2'));
SELECT test.op(miosa_undo('dep_1'));
-- nor what cannot wait, with a reason
SELECT test.refused($$SELECT miosa_promote('dep_1', 'ver_1', break_glass => true)$$);
SELECT test.refused($$SELECT miosa_promote('dep_1', 'ver_1', reason => ' ', break_glass => true)$$);
SELECT test.op(r), w ->> 'code', w ->> 'message', w ->> 'hint'
	FROM miosa_promote('dep_1', 'ver_1', 'k-1', reason => 'security fix', break_glass => true) r, jsonb_array_elements(r -> 'operation' -> 'warnings') w WHERE w ->> 'code' = 'BREAK_GLASS';
SELECT action, reason, marks FROM miosa.audit_events WHERE deployment_id = 'dep_1' ORDER BY seq DESC LIMIT 1;
SELECT op, replace(what, current_user, 'me') FROM miosa.history('dep_1', 1);
-- people see it
SELECT item, regexp_replace(value, 'in .* h', 'in <span>') FROM miosa.status('dep_1') WHERE item = 'frozen';
SELECT name, begins, tenant, replace(why, current_user, 'me') FROM miosa.open_freezes;
SELECT c ->> 'result', c ->> 'message', c ->> 'hint' FROM jsonb_array_elements(miosa_plan('dep_1', 'ver_2') -> 'data' -> 'checks') c WHERE c ->> 'check' = 'not_frozen';
-- over HTTP: when a retry may succeed
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
SELECT r ->> 'status', r ->> 'code', (r -> 'headers' ->> 'Retry-After')::integer BETWEEN 250000 AND 259200
	FROM test.http($$SELECT miosa_promote('dep_1', 'ver_3')$$) r;
-- a change of it is audited, as is its end
SELECT count(*) FROM miosa_put_freeze('year-end', now() + '4 days', selector => '{"label": {"tier": "gold"}}', reason => 'gold only');
SELECT test.code($$SELECT miosa_promote('dep_1', 'ver_3')$$), test.op(miosa_promote('dep_2', 'ver_1'));
SELECT miosa_remove_freeze('year-end');
SELECT test.op(miosa_promote('dep_1', 'ver_3'));
SELECT action, object, becomes ->> 'selector', reason FROM miosa.configuration_events WHERE kind = 'freezes' ORDER BY seq;
-- selectors, tenants and times
SELECT count(*) FROM miosa_put_freeze('static', now() + '1 day', selector => '{"kind": "static"}');
SELECT test.code($$SELECT miosa_promote('dep_1', 'ver_1')$$), test.op(miosa_promote('dep_2', 'ver_2'));
SELECT count(*) FROM miosa_put_freeze('static', now() + '1 day', selector => '{"ids": ["dep_2", "dep_9"]}');
SELECT test.op(miosa_promote('dep_1', 'ver_1')), test.code($$SELECT miosa_promote('dep_2', 'ver_1')$$);
SELECT count(*) FROM miosa_put_freeze('static', now() + '1 day', tenant_id => 'ten_2');
SELECT test.op(miosa_promote('dep_1', 'ver_2'));
SELECT count(*) FROM miosa_put_freeze('static', now() + '1 day', tenant_id => 'ten_1');
SELECT test.code($$SELECT miosa_promote('dep_1', 'ver_3')$$);
SELECT count(*) FROM miosa_put_freeze('static', now() + '2 days', begins => now() + '1 day');
SELECT test.op(miosa_promote('dep_1', 'ver_3'));
SELECT name, begins, tenant FROM miosa.open_freezes;
UPDATE miosa.freezes SET begins = now() - '2 days'::interval, ends = now() - '1 s'::interval;
SELECT test.op(miosa_promote('dep_1', 'ver_1')), (SELECT count(*) FROM miosa.open_freezes);
-- of two the one that ends last
SELECT count(*) FROM miosa_put_freeze('short', now() + '1 h') s, miosa_put_freeze('long', now() + '2 h') l;
SELECT test.refused($$SELECT miosa_promote('dep_1', 'ver_2')$$);
-- a tenant's go with it
SELECT count(*) FROM miosa_put_freeze('gone', now() + '1 h', tenant_id => 'ten_2');
SELECT miosa_remove_tenant('ten_2');
SELECT count(*) FROM miosa.freezes WHERE name = 'gone';
-- what is wrong with arguments
SELECT test.refused(call) FROM unnest(ARRAY[
	$$SELECT miosa_put_freeze('', now() + '1 h')$$,
	$$SELECT miosa_put_freeze('a b', now() + '1 h')$$,
	$$SELECT miosa_put_freeze(NULL, now() + '1 h')$$,
	$$SELECT miosa_put_freeze('x', NULL)$$,
	$$SELECT miosa_put_freeze('x', '2020-01-01')$$,
	$$SELECT miosa_put_freeze('x', 'infinity')$$,
	$$SELECT miosa_put_freeze('x', '2190-01-01', begins => '2191-01-01')$$,
	$$SELECT miosa_put_freeze('x', '2190-01-01', begins => '-infinity')$$,
	$$SELECT miosa_put_freeze('x', '2190-01-01', selector => '{"nosuch": 1}')$$,
	$$SELECT miosa_put_freeze('x', '2190-01-01', selector => NULL)$$,
	$$SELECT miosa_put_freeze('x', '2190-01-01', tenant_id => 'nosuch')$$,
	$$SELECT miosa_put_freeze('x', '2190-01-01', reason => E'a\x01b')$$,
	$$SELECT miosa_remove_freeze('nosuch')$$,
	$$SELECT miosa_remove_freeze(NULL)$$]) WITH ORDINALITY u (call, n) ORDER BY n;
\i :cleanup
