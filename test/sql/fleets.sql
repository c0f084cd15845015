-- Rollbacks of all deployments that a selector matches.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

-- What is printed of a response: ids of fleets are random.
CREATE FUNCTION test.fleet(response jsonb) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(', ', 'fleet ' || CASE WHEN d ->> 'fleet_id' ~ '^flt_[0-9a-f]{12}$' THEN 'flt' ELSE d ->> 'fleet_id' END,
		d ->> 'mode', format('%s of %s, %s refused', coalesce(d ->> 'done', d ->> 'would_succeed'), d ->> 'total', d ->> 'refused'))
	FROM (SELECT response -> 'data') r (d)
	UNION ALL
	SELECT format('%s: %s -> %s %s', o ->> 'deployment_id', o ->> 'from', o ->> 'to',
		coalesce((o ->> 'condition') || ' ' || (o ->> 'message'), concat_ws(' ', o ->> 'operation_id', o ->> 'outcome')))
	FROM jsonb_array_elements(response -> 'data' -> 'deployments') o $$;
CREATE FUNCTION test.ids(selector jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(o ->> 'deployment_id', ' ') FROM jsonb_array_elements(miosa_plan_many(selector) -> 'data' -> 'deployments') o $$;

INSERT INTO miosa.tenants (id, slug) VALUES ('ten_2', 'globex');
SELECT test.history(d, 2) FROM unnest(ARRAY['a', 'B', 'c', 'd', 'e']) d \g /dev/null
UPDATE miosa.deployments SET metadata = jsonb_build_object('team', CASE WHEN id < 'c' THEN 'shop' ELSE 'blog' END, 'tier', 1);
UPDATE miosa.deployments SET kind = 'dynamic' WHERE id = 'd';
SELECT miosa_put_version(d, 'ver_3', state => 'ready', storage_uri => 'test://3', fields => f::jsonb) FROM (VALUES
	('B', '{"runtime_image": "img:1", "metadata": {"base": "deb12", "x": [1, 2]}}'),
	('c', '{"runtime_image": "img:1", "metadata": {"base": "deb11"}}'),
	('e', '{"runtime_image": "img:2"}')) v (d, f) \g /dev/null
SELECT pg_sleep(0.01) \g /dev/null
SELECT to_jsonb(clock_timestamp()) #>> '{}' AS before_third \gset
SELECT miosa_promote(d, 'ver_3') FROM unnest(ARRAY['B', 'c', 'e']) d \g /dev/null
INSERT INTO miosa.deployments (id, tenant_id, name, slug) VALUES ('none', 'ten_2', 'none', 'none');

-- Promise: each member selects by what it says, and all of them by and.
SELECT test.ids('{"all": true}');
SELECT test.ids('{"ids": ["e", "a", "e"]}'), test.ids('{"ids": "B"}');
SELECT test.ids('{"tenant": "ten_2"}'), test.ids('{"tenant": ["ten_1", "ten_2"], "ids": ["a", "none"]}');
SELECT test.ids('{"kind": "dynamic"}'), test.ids('{"kind": ["static", "dynamic"], "tenant": "ten_1"}');
SELECT test.ids('{"label": {"team": "shop"}}'), test.ids('{"label": {"team": "blog", "tier": 1}, "kind": "static"}');
SELECT test.ids('{"active_image": "img:1"}'), test.ids('{"active_image": ["img:1", "img:2"]}');
SELECT test.ids('{"active_label": {"base": "deb12"}}'), test.ids('{"active_label": {"x": [2]}}');
SELECT test.ids(jsonb_build_object('changed_since', :'before_third'));
SELECT test.ids(jsonb_build_object('active_artifact', encode(sha256('2'), 'hex')));
SELECT test.ids('{"active_artifact": ["test://bucket/a/ver_2/dist.tar.zst", "test://bucket/B/ver_2/dist.tar.zst"]}');
SELECT test.ids('{"active_image": "img:1", "label": {"team": "shop"}}');
-- versions that are not active count for nothing
SELECT test.ids(jsonb_build_object('active_artifact', encode(sha256('1'), 'hex')));

-- Promise: whether one deployment matches is decided by the same rules.
SELECT d.id, miosa.selects_deployment('{"active_image": "img:1", "label": {"tier": 1}}', d.id) FROM miosa.deployments d ORDER BY 1;
SELECT miosa.selects_deployment('{"all": true}', 'nope'), miosa.check_deployment_selector('{"kind": "static"}');

-- Promise: what is no selector is refused, and the message names the member.
SELECT s, test.refusal(format('SELECT miosa_plan_many(%L)', s)) FROM unnest(ARRAY[NULL, '[]', '"a"', '{}', '{"all": false}', '{"all": true, "kind": "static"}',
	'{"image": "x"}', '{"ids": []}', '{"ids": 7}', '{"ids": ["a", null]}', '{"ids": "no id"}', '{"tenant": {}}', '{"kind": "statik"}', '{"label": "shop"}',
	'{"label": ["shop"]}', '{"active_image": true}', '{"active_label": 1}', '{"changed_since": 5}', '{"changed_since": "soon"}', '{"changed_since": "2199-01-01T00:00:00Z"}',
	'{"changed_since": "infinity"}', '{"x<\u0001%\"": 1}', '{"label": {}}', '{"active_label": {}, "ids": ["a"]}',
	-- a selector is stored: it must mean the same tomorrow and elsewhere
	'{"changed_since": "today"}', '{"changed_since": "2020-01-01 00:00"}', '{"changed_since": "2020-01-01 00:00 Nowhere/Town"}']) s;
SELECT test.ids(jsonb_build_object('changed_since', t)) FROM unnest(ARRAY['2020-01-01 00:00:00+00', '2020-01-01T00:00:00.5-0330', '2020-01-01T00:00:00Z']) t;
-- a moment that is 0 inside is given, too
SELECT test.code($$SELECT miosa_rollback_many('{"ids": ["a"]}', served_at => '2000-01-01 00:00:00+00')$$),
	miosa_plan_many('{"ids": ["a"]}', '2000-01-01 00:00:00+00') -> 'data' ->> 'refused';
SELECT test.code($$SELECT miosa_plan_many(jsonb_build_object(E'a\xe2\x80\xae\n', 1))$$), test.code($$SELECT miosa_plan_many(jsonb_build_object('ids', E'a\xe2\x80\xae\n\x1b[2J'))$$);
SELECT test.code($$SELECT miosa_plan_many(jsonb_build_object('active_image', repeat('x', 300000)))$$);
SELECT test.code(format('SELECT miosa_plan_many(%L)', jsonb_build_object('active_image', (SELECT jsonb_agg(''::text) FROM generate_series(1, 20001)))));

-- Promise: a plan has a row for each deployment, and writes nothing.
SELECT test.digest() AS before \gset
SELECT test.fleet(miosa_plan_many('{"all": true}'));
\pset tuples_only off
\pset format aligned
SELECT * FROM miosa.plan_many('{"ids": ["a", "none", "B", "nope"]}');
\pset tuples_only on
\pset format unaligned
SELECT test.digest() = :'before';
BEGIN READ ONLY;
SELECT test.fleet(miosa_plan_many('{"ids": ["a"]}'));
COMMIT;

-- Promise: a selector that matches nothing is said, does nothing and takes no key.
SELECT test.fleet(miosa_rollback_many('{"tenant": "nobody"}', idempotency_key => 'later'));
SELECT test.fleet(miosa_plan_many('{"tenant": "nobody"}'));
SELECT count(*) FROM miosa.fleet_runs;

-- Promise: atomic is the default: one refusal refuses all, and each one is named.
SELECT test.refusal($$SELECT miosa_rollback_many('{"ids": ["a", "none", "B", "nope"]}', idempotency_key => 'k''1', reason => 'INC-7')$$);
SELECT test.refusal($$SELECT * FROM miosa.rollback_many('{"ids": ["a", "none"]}', 'INC-7', cutover => 'immediate')$$);
SELECT test.digest() = :'before', (SELECT count(*) FROM miosa.fleet_runs);
-- by the condition of the first one; twenty are listed
INSERT INTO miosa.deployments (id, tenant_id, name, slug) SELECT 'f' || i, 'ten_1', 'f', 'f' || i FROM generate_series(101, 125) i;
SELECT test.refusal($$SELECT miosa_rollback_many('{"ids": ["a", "nope"]}')$$) ~ '^MR404';
SELECT regexp_count(r, 'NO_PREVIOUS_VERSION'), substring(r, 'and \d+ more') FROM test.refusal($$SELECT miosa_rollback_many('{"all": true}')$$) r;
DELETE FROM miosa.deployments WHERE id LIKE 'f1%';
-- also one that is found when others are written already
CREATE FUNCTION test.mark() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE miosa.versions SET metadata = '{"migration_compatibility": "incompatible"}' WHERE deployment_id IN ('d', 'e') AND version_number > 1;
	RETURN NEW;
END $$;
CREATE TRIGGER mark BEFORE UPDATE ON miosa.deployments FOR EACH ROW WHEN (NEW.id = 'a') EXECUTE FUNCTION test.mark();
SET miosa_rollback.on_incompatible = 'refuse';
SELECT test.refusal($$SELECT miosa_rollback_many('{"tenant": "ten_1"}')$$);
DROP TRIGGER mark ON miosa.deployments;
RESET miosa_rollback.on_incompatible;
SELECT test.digest() AS again \gset
SELECT test.count(d) FROM unnest(ARRAY['a', 'B', 'c', 'd', 'e']) d;

-- Promise: the call works in a larger transaction.
BEGIN;
SELECT test.fleet(miosa_rollback_many('{"active_image": "img:1"}'));
ROLLBACK;
SELECT test.digest() = :'again', (SELECT count(*) FROM miosa.fleet_runs);

-- Promise: best_effort rolls back those that can be; each has its own operation,
-- event and key, and the fleet in its marks.
SELECT miosa_rollback_many('{"active_image": "img:1"}', idempotency_key => 'k1', reason => 'INC-7', attribution => '{"ticket": 7}') AS first \gset
SELECT test.fleet(:'first');
SELECT test.fleet(miosa_rollback_many('{"ids": ["a", "none", "nope"]}', mode => 'best_effort', idempotency_key => 'k2'));
SELECT f.mode, f.total, f.done, f.refused, f.tenant_id, f.reason, f.ended_at >= f.began_at, f.last_deployment_id, f.last_route_seq,
	(SELECT string_agg(a.deployment_id || '#' || a.seq || ' ' || a.idempotency_key || ' ' || coalesce(a.reason, '') || ' ' || a.attribution, ', ' ORDER BY a.deployment_id)
	FROM miosa.audit_events a WHERE a.marks ->> 'fleet' = f.id) FROM miosa.fleet_runs f ORDER BY f.began_at;

-- Promise: the same call with the same key does nothing more, although its selector
-- matches nothing now; another one is refused.
SELECT test.digest() AS before \gset
SELECT miosa_rollback_many('{"active_image": "img:1"}', idempotency_key => 'k1', reason => 'INC-7', attribution => '{"ticket": 7}')::text = :'first';
SELECT miosa_rollback_many('{"active_image": "img:1"}', idempotency_key => '"k1"', attribution => '{"ticket": 7}')::text = :'first';
SELECT test.refusal($$SELECT miosa_rollback_many('{"active_image": "img:2"}', idempotency_key => 'k1', attribution => '{"ticket": 7}')$$)
	~ 'MR49I idempotency key "k1" was used for another request\n  DETAIL: The key belongs to fleet flt_\w+ of <time>\.\n  HINT: A new request needs a new key';
SELECT test.code($$SELECT miosa_rollback_many('{"active_image": "img:1"}', mode => 'best_effort', idempotency_key => 'k1', attribution => '{"ticket": 7}')$$);
SELECT test.code($$SELECT miosa_rollback_many('{"active_image": "img:1"}', idempotency_key => 'k1', hold_for => '1 h', attribution => '{"ticket": 7}')$$);
-- each deployment has the key too: a single call with it is the same one
SELECT test.op(miosa_rollback('B', idempotency_key => 'k1'));
SELECT test.digest() = :'before';

-- Promise: a default target is not chosen twice within a minute without a key.
SELECT test.fleet(miosa_rollback_many('{"ids": ["a", "e"]}', mode => 'best_effort'));

-- Promise: for people the same in 80 columns, those that are refused first.
\pset tuples_only off
\pset format aligned
SELECT regexp_replace(deployment, '^flt_\w+', 'flt') AS deployment, "from", "to", outcome
	FROM miosa.rollback_many('{"ids": ["d", "a", "B"]}', 'why', 'best_effort', 'k3');
\pset tuples_only on
\pset format unaligned

-- Promise: arguments are checked, also when nothing matches.
SELECT test.refusal($$SELECT miosa_rollback_many('{"tenant": "nobody"}', mode => 'both')$$);
SELECT test.refusal($$SELECT miosa_rollback_many('{"tenant": "nobody"}', cutover => 'now')$$);
SELECT test.refusal($$SELECT miosa_rollback_many('{"tenant": "nobody"}', idempotency_key => '')$$);
SELECT test.refusal($$SELECT miosa_rollback_many('{"tenant": "nobody"}', attribution => '[]')$$);
SELECT test.code($$SELECT miosa_rollback_many('{"tenant": "nobody"}', reason => E'a\u0001b')$$);
SELECT test.refusal($$SELECT miosa_rollback_many(NULL)$$);

-- Promise: the procedure works in batches, and a call with the same key continues:
-- none twice, none left out, one fleet.
SELECT test.history('g' || i, 2) FROM generate_series(10, 19) i \g /dev/null
SELECT miosa.fleet_begin('{"ids": ["g10", "g11", "g12", "g13", "g14", "g15", "g16", "g17", "g18", "g19", "none"]}',
	NULL, NULL, 'b1', 'why', NULL, NULL, false, NULL, NULL, false) AS fleet \gset
SELECT total, done, refused, "position", ended_at FROM miosa.fleet_runs WHERE id = :'fleet';
SELECT miosa.fleet_step(:'fleet', 4);
SELECT total, done, refused, "position", ended_at FROM miosa.fleet_runs WHERE id = :'fleet';
CALL miosa_rollback_fleet('{"ids": ["g10", "g11", "g12", "g13", "g14", "g15", "g16", "g17", "g18", "g19", "none"]}',
	idempotency_key => 'b1', reason => 'why', batch => 3) \gset
SELECT :'result'::jsonb -> 'data' ->> 'fleet_id' = :'fleet', :'result'::jsonb -> 'data' ->> 'done',
	jsonb_path_query_array(:'result', '$.data.refusals[*].condition');
SELECT total, done, refused, "position", ended_at IS NOT NULL FROM miosa.fleet_runs WHERE id = :'fleet';
SELECT count(*), min(a.seq), max(a.seq), min(a.idempotency_key), min(a.reason) FROM miosa.audit_events a WHERE a.marks ->> 'fleet' = :'fleet';
-- one that has ended does nothing more
SELECT miosa.fleet_step(:'fleet', 4);
SELECT test.code($$CALL miosa_rollback_fleet('{"all": true}', idempotency_key => 'b1')$$);
SELECT test.refusal($$SELECT miosa.fleet_step('flt_x', 10)$$);
SELECT test.refusal(format('SELECT miosa.fleet_step(%L, 0)', :'fleet'));
SELECT test.refusal($$CALL miosa_rollback_fleet('{}')$$);
-- none is begun that could not go on
CALL miosa_rollback_fleet('{"ids": ["g10"]}', idempotency_key => 'b2', batch => 0);
CALL miosa_rollback_fleet('{"ids": ["g10"]}', idempotency_key => 'b2', batch => NULL);
SELECT count(*) FROM miosa.fleet_runs WHERE idempotency_key = 'b2';
SELECT test.code($$CALL miosa_rollback_fleet('{"all": true}')$$);
CALL miosa_rollback_fleet('{"tenant": "nobody"}') \gset
SELECT :'result'::jsonb;

-- Promise: rows of fleets are kept for 400 days.
UPDATE miosa.fleet_runs SET began_at = now() - '399 days'::interval WHERE id = :'fleet';
SELECT removed FROM miosa_purge_expired() WHERE what = 'fleet_runs';
UPDATE miosa.fleet_runs SET began_at = now() - '401 days'::interval WHERE id = :'fleet';
SELECT removed FROM miosa_purge_expired() WHERE what = 'fleet_runs';
SELECT count(*) FROM miosa.fleet_runs WHERE id = :'fleet';

-- Promise: the plans that selectors need leave the session's setting as it is.
SET plan_cache_mode = force_generic_plan;
SELECT test.fleet(miosa_plan_many('{"ids": ["nosuch"]}'));
SHOW plan_cache_mode;
RESET plan_cache_mode;

-- Promise: of other tenants nothing is seen, selected or continued.
SELECT test.history('own', 2) \g /dev/null
INSERT INTO miosa.deployments (id, tenant_id, name, slug) VALUES ('other', 'ten_2', 'other', 'other');
SELECT miosa_put_version('other', 'ver_' || i, state => 'ready', storage_uri => 'test://' || i) FROM generate_series(1, 2) i \g /dev/null
SELECT miosa_promote('other', 'ver_' || i) FROM generate_series(1, 2) i \g /dev/null
CREATE ROLE regress_one;
CREATE ROLE regress_two;
GRANT miosa_operator TO regress_one, regress_two;
GRANT USAGE ON SCHEMA test TO regress_one, regress_two;
SELECT miosa_grant_tenant('regress_one', 'ten_1', '{rollback}'), miosa_grant_tenant('regress_two', 'ten_2', '{read}') \g /dev/null
ALTER SYSTEM SET miosa_rollback.tenancy = 'enforced';
\set ECHO none
\o /dev/null
SELECT pg_reload_conf();
SELECT format('SELECT pg_sleep(0.05) WHERE current_setting(''miosa_rollback.tenancy'') <> ''enforced''') FROM generate_series(1, 1200) \gexec
\o
\set ECHO all
TRUNCATE miosa.fleet_runs;
SELECT miosa.fleet_begin('{"ids": "own"}', NULL, NULL, 'b3', NULL, NULL, NULL, false, NULL, NULL, false) AS fleet \gset
SET ROLE regress_one;
SELECT test.fleet(miosa_plan_many('{"ids": ["own", "other"]}'));
SELECT test.fleet(miosa_rollback_many('{"changed_since": "2020-01-01T00:00:00Z", "ids": ["own"]}', idempotency_key => 'mine'));
SELECT idempotency_key, tenant_id, acts_for FROM miosa.fleet_runs ORDER BY began_at;
SELECT test.fleet(miosa_rollback_many('{"tenant": "ten_2"}'));
SET ROLE regress_two;
-- the same key is another one here; who may only read is refused, and may plan
SELECT test.fleet(miosa_rollback_many('{"ids": ["own", "other"]}', mode => 'best_effort', idempotency_key => 'mine'));
SELECT test.fleet(miosa_plan_many('{"all": true}'));
SELECT idempotency_key, tenant_id, acts_for, done, refused FROM miosa.fleet_runs;
SELECT replace(test.code(format('SELECT miosa.fleet_step(%L, 10)', :'fleet')), :'fleet', 'flt');
SELECT miosa.fleet_object(:'fleet') IS NULL;
RESET ROLE;
\set ECHO none
ALTER SYSTEM RESET miosa_rollback.tenancy;
SELECT pg_reload_conf() AS reloaded \gset
DROP OWNED BY regress_one, regress_two;
DROP ROLE regress_one, regress_two;
\set ECHO all

\i :cleanup
