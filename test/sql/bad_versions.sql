-- Versions that are marked as bad: no default target, refused to promotions, and
-- reached by those who name them.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture
CREATE FUNCTION test.planned(dep text, version text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', p ->> 'target_version_id', p ->> 'would_succeed', c ->> 'result', c ->> 'code', c ->> 'message')
	FROM (SELECT miosa_plan(dep, version) -> 'data') v (p), jsonb_array_elements(p -> 'checks') c
	WHERE c ->> 'check' = 'version_good' $$;
CREATE FUNCTION test.bad(dep text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('%s %s by %s: %s', v.id, b ->> 'scope', replace(b ->> 'by', session_user, 'me'), b ->> 'reason')
	FROM miosa.versions v, miosa.bad_mark(v.deployment_id, v.id) b
	WHERE v.deployment_id = dep AND b IS NOT NULL ORDER BY v.version_number $$;
CREATE FUNCTION test.warned(response jsonb) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(E'\n', w ->> 'code', w ->> 'message', regexp_replace(w ->> 'detail', '\d{4}-[0-9-]+[ T][0-9:.]+(Z|[+-]\d\d)?', '<time>'), w ->> 'hint')
	FROM jsonb_array_elements(response -> 'operation' -> 'warnings') w $$;

-- A mark is an operation that moves nothing, and keeps a rollback away.
SELECT test.history('dep_1', 5);
SELECT test.op(miosa_mark_bad('dep_1', 'ver_4', 'errors at checkout', idempotency_key => 'k1'));
SELECT test.bad('dep_1');
SELECT miosa_version('dep_1', 'ver_4') -> 'data' -> 'bad' ->> 'reason', miosa_versions('dep_1') #> '{data,1,bad}' ->> 'scope';
SELECT test.planned('dep_1');
SELECT test.planned('dep_1', 'ver_4');
SELECT version, note FROM miosa.candidates('dep_1') WHERE note <> '';
SELECT miosa.default_target('dep_1');
SELECT seq, action, outcome, marks, reason, idempotency_key FROM miosa.audit_events WHERE seq > 5;
-- the key returns the first answer, and belongs to one request
SELECT test.op(miosa_mark_bad('dep_1', 'ver_4', 'errors at checkout', idempotency_key => 'k1'));
SELECT test.code($$SELECT miosa_mark_bad('dep_1', 'ver_4', 'errors at checkout', 'artifact', 'k1')$$);
SELECT test.code($$SELECT miosa_clear_bad('dep_1', 'ver_4', idempotency_key => 'k1')$$);
-- a second mark has its own reason, and the time of the first one
SELECT bad_since AS first FROM miosa.versions WHERE id = 'ver_4' \gset
SELECT test.op(miosa_mark_bad('dep_1', 'ver_4', 'and at sign-up'));
SELECT test.bad('dep_1'), bad_since = :'first' AS same FROM miosa.versions WHERE id = 'ver_4';

-- It is refused to promotions, however they are made.
SELECT test.refusal($$SELECT miosa_promote('dep_1', 'ver_4', 'k2', 'release')$$);
SELECT test.refusal($$SELECT * FROM miosa.promote('dep-1', 'v4')$$);
SELECT test.op(miosa_rollback('dep_1', 'ver_2'));
SELECT test.refusal($$UPDATE miosa.deployments SET active_version_id = 'ver_4' WHERE id = 'dep_1'$$);
SET client_min_messages = warning;
\set VERBOSITY terse
SELECT test.warned(miosa_promote('dep_1', 'ver_4', 'k2', 'release', accept_bad => true));
-- A rollback that names it is warned, and so is a plain UPDATE that goes back.
SELECT test.op(miosa_promote('dep_1', 'ver_5'));
SELECT test.warned(miosa_rollback('dep_1', 'ver_4', 'k3'));
SELECT test.op(miosa_promote('dep_1', 'ver_5'));
UPDATE miosa.deployments SET active_version_id = 'ver_4' WHERE id = 'dep_1';
SELECT seq, action, target_version_id, marks FROM miosa.audit_events WHERE marks <> '{}' AND seq > 8 ORDER BY seq;

-- The active version may be marked: it still serves.
SELECT test.op(miosa_promote('dep_1', 'ver_5'));
SELECT test.warned(miosa_mark_bad('dep_1', 'ver_5', 'slow'));
SELECT item, value FROM miosa.status('dep_1') WHERE item = 'bad';
SELECT version, note FROM miosa.candidates('dep_1') WHERE note <> '';
SELECT item, regexp_replace(value, ', served.*', '') AS value FROM miosa.mark_bad('dep_1', 'v5', 'it''s slow');
SELECT item, regexp_replace(value, ', served.*', '') AS value FROM miosa.clear_bad('dep_1', 'v4');
SELECT item, regexp_replace(value, ', served.*', '') AS value FROM miosa.mark_bad('dep_1', 'v4', 'and at sign-up', 'artifact');
SELECT item, regexp_replace(value, ', served.*', '') AS value FROM miosa.clear_bad('dep_1', 'v4');
SELECT item, regexp_replace(value, ', served.*', '') AS value FROM miosa.clear_bad('dep_1', 'v4', scope => 'artifact');
SELECT op, what FROM miosa.history('dep_1', 4);
-- what was not marked may be cleared
SELECT test.op(miosa_clear_bad('dep_1', 'ver_1'));
SELECT item, regexp_replace(value, ', served.*', '') AS value FROM miosa.clear_bad('dep_1', 'v1');

-- A rollback marks what it leaves.
SELECT test.refusal($$SELECT miosa_rollback('dep_1', mark_bad => true)$$);
SELECT test.refusal($$SELECT miosa_rollback('dep_1', mark_bad => true, reason => ' ')$$);
SELECT test.history('dep_2', 5);
SELECT test.op(miosa_rollback('dep_2', NULL, 'k1', 'errors', mark_bad => true));
SELECT test.op(miosa_rollback('dep_2', NULL, 'k2', 'errors too', mark_bad => true));
SELECT test.bad('dep_2');
SELECT test.op(miosa_rollback('dep_2', NULL, 'k1', 'errors', mark_bad => true)) ~ 'dep_2#6' AS replayed;
SELECT test.code($$SELECT miosa_rollback('dep_2', NULL, 'k1', 'errors')$$);
-- one that leaves nothing marks nothing
SELECT test.op(miosa_rollback('dep_2', 'ver_3', NULL, 'again', mark_bad => true));
SELECT test.bad('dep_2');
SELECT seq, marks FROM miosa.audit_events WHERE deployment_id = 'dep_2' AND seq > 5 ORDER BY seq;
SELECT value FROM miosa.rollback('dep_2', reason => 'console', mark_bad => true, idempotency_key => 'k4') WHERE item IN ('to', 'undo');
SELECT test.bad('dep_2');
-- nothing is left
SELECT test.op(miosa_rollback('dep_2', NULL, 'k5'));
SELECT test.op(miosa_mark_bad('dep_2', 'ver_2', 'all'));
SELECT test.history('dep_3', 2);
SELECT test.op(miosa_mark_bad('dep_3', 'ver_1', 'much longer ' || repeat('so ', 100)));
SELECT test.refusal($$SELECT miosa_rollback('dep_3')$$);
-- a subtransaction that is rolled back takes its mark with it
BEGIN;
SAVEPOINT s;
SELECT test.op(miosa_rollback('dep_3', 'ver_1', NULL, 'why', mark_bad => true)) ~ 'changed' AS changed;
SELECT count(*) FROM test.bad('dep_3');
ROLLBACK TO s;
SELECT count(*) FROM test.bad('dep_3');
COMMIT;

-- Undo takes away the mark that the operation has made, and undo of that makes it
-- again.
SELECT test.history('und_1', 3);
SELECT test.op(miosa_rollback('und_1', NULL, 'k1', 'errors', mark_bad => true));
SELECT test.op(miosa_undo('und_1', idempotency_key => 'k2'));
SELECT test.bad('und_1');
SELECT test.op(miosa_undo('und_1', idempotency_key => 'k3'));
SELECT test.bad('und_1');
SELECT test.op(miosa_undo('und_1', idempotency_key => 'k4'));
SELECT test.bad('und_1');
SELECT marks - 'hold' FROM miosa.audit_events WHERE deployment_id = 'und_1' AND seq > 3 ORDER BY seq;
-- one that somebody else has made stays, and undo goes there with a warning
SELECT test.op(miosa_mark_bad('und_1', 'ver_3', 'slow')) ~ 'unchanged' AS marked;
SELECT test.op(miosa_rollback('und_1', NULL, 'k5', 'errors', mark_bad => true));
SELECT test.warned(miosa_undo('und_1', idempotency_key => 'k6'));
SELECT test.bad('und_1');
SELECT bad_reason FROM miosa.versions WHERE deployment_id = 'und_1' AND bad_since IS NOT NULL;

-- In a group each target marks its own.
SELECT test.history('grp_1', 3), test.history('grp_2', 3);
SELECT test.op(miosa_mark_bad('grp_2', 'ver_2', 'worse'));
SELECT deployment_id, outcome, response -> 'operation' ->> 'target_version_id' AS target, response -> 'operation' -> 'skipped' AS skipped
	FROM miosa.rollback_group('{grp_1,grp_2}', NULL, '{k,k}');

-- By artifact: every version that has it, of every deployment, and later ones.
SELECT test.history('art_1', 3), test.history('art_2', 3), test.history('run_1', 3, 'dynamic');
SELECT test.op(miosa_mark_bad('art_1', 'ver_2', 'CVE', 'artifact', 'k'));
SELECT dep, b FROM unnest('{art_1,art_2,dep_1,run_1}'::text[]) dep, test.bad(dep) b ORDER BY 1, 2;
SELECT artifact, tenant_id, reason, marked_by FROM miosa.bad_artifacts;
SELECT dep, test.planned(dep, 'ver_2') FROM unnest('{art_1,art_2}'::text[]) dep;
SELECT test.op(miosa_rollback('art_2'));
SELECT test.code($$SELECT miosa_promote('art_2', 'ver_2')$$);
SELECT test.op(miosa_mark_bad('art_2', 'ver_2', 'CVE, and slow'));
SELECT test.warned(miosa_clear_bad('art_2', 'ver_2'));
SELECT miosa_put_version('art_2', 'ver_4', state => 'ready', storage_uri => 'test://new', sha256 => (SELECT artifact FROM miosa.bad_artifacts)) IS NOT NULL;
SELECT test.code($$SELECT miosa_promote('art_2', 'ver_4')$$);
SELECT test.op(miosa_clear_bad('art_1', 'ver_2', 'fixed', 'artifact'));
SELECT test.op(miosa_promote('art_2', 'ver_4'));
-- an image, where there is no digest
SELECT miosa_put_version('run_1', v, state => 'ready', fields => '{"runtime_image": "app:7"}') IS NOT NULL FROM unnest('{ver_4,ver_5}'::text[]) v;
SELECT test.op(miosa_mark_bad('run_1', 'ver_4', 'CVE', 'artifact'));
SELECT test.bad('run_1');
SELECT artifact FROM miosa.bad_artifacts;
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('art_1', 'ver_9', 'ten_1', 9, 'ready');
SELECT test.refusal($$SELECT miosa_mark_bad('art_1', 'ver_9', 'CVE', 'artifact')$$);
-- processes see what other ways of writing do
TRUNCATE miosa.bad_artifacts;
SELECT test.bad('run_1');
BEGIN;
INSERT INTO miosa.bad_artifacts VALUES ('app:7', '*', 'loaded', 'me');
SELECT test.bad('run_1');
ROLLBACK;
SELECT test.bad('run_1');

-- What a rollback would go to past bad versions keeps its artifact.
SELECT test.history('gc_1', 9);
UPDATE miosa.versions SET promoted_at = now() - '90 days'::interval,
	last_served_at = last_served_at - '90 days'::interval WHERE deployment_id = 'gc_1';
SELECT version_id, kept_as FROM miosa.release_keeping WHERE deployment_id = 'gc_1' AND kept_as IS NOT NULL ORDER BY version_number;
SELECT test.op(miosa_mark_bad('gc_1', 'ver_' || n, 'bad')) ~ 'unchanged' FROM generate_series(6, 8) n;
SELECT version_id, kept_as FROM miosa.release_keeping WHERE deployment_id = 'gc_1' AND kept_as IS NOT NULL ORDER BY version_number;
SELECT test.op(miosa_mark_bad('gc_1', 'ver_' || n, 'bad')) ~ 'unchanged' FROM generate_series(1, 4) n;
SELECT restorable FROM miosa.scarcely_restorable WHERE deployment_id = 'gc_1';

-- Arguments.
SELECT test.refusal($$SELECT miosa_mark_bad('dep_1', 'ver_1', NULL)$$);
SELECT test.refusal($$SELECT miosa_mark_bad('dep_1', 'ver_1', E' \t\n')$$);
SELECT test.code($$SELECT miosa_mark_bad('dep_1', 'ver_1', repeat('x', 5000))$$);
SELECT test.code($$SELECT miosa_mark_bad('dep_1', 'ver_1', E'a\xe2\x80\xaeb')$$);
SELECT test.refusal($$SELECT miosa_mark_bad('dep_1', 'ver_1', 'x', 'tenant')$$);
SELECT test.code($$SELECT miosa_mark_bad('dep_1', 'ver_1', 'x', NULL)$$);
SELECT test.code($$SELECT miosa_mark_bad('dep_1', NULL, 'x')$$);
SELECT test.code($$SELECT miosa_mark_bad(NULL::text, 'ver_1', 'x')$$);
SELECT test.code($$SELECT miosa_mark_bad('dep_1', 'ver_77', 'x')$$);
SELECT test.code($$SELECT miosa_mark_bad('dep_77', 'ver_1', 'x')$$);
SELECT test.code($$SELECT * FROM miosa.mark_bad('dep_1', 'v77', 'x')$$);
SELECT test.code($$SELECT * FROM miosa.mark_bad('dep_1', NULL, 'x')$$);
SELECT test.code($$UPDATE miosa.versions SET bad_since = now() WHERE deployment_id = 'dep_1' AND id = 'ver_1'$$);

-- A tenant marks artifacts for itself, and not what another one has.
INSERT INTO miosa.tenants (id, slug) VALUES ('ten_2', 'globex');
SELECT test.history('own_1', 3), test.history('oth_1', 3);
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE miosa.deployments SET tenant_id = 'ten_2' WHERE id = 'oth_1';
UPDATE miosa.versions SET tenant_id = 'ten_2' WHERE deployment_id = 'oth_1';
UPDATE miosa.releases SET tenant_id = 'ten_2' WHERE deployment_id = 'oth_1';
COMMIT;
CREATE ROLE regress_own IN ROLE miosa_operator;
CREATE ROLE regress_other IN ROLE miosa_deployer;
GRANT USAGE ON SCHEMA test TO regress_own, regress_other;
SELECT miosa_grant_tenant('regress_own', 'ten_1', '{rollback}') IS NOT NULL, miosa_grant_tenant('regress_other', 'ten_2', '{deploy}') IS NOT NULL;
ALTER SYSTEM SET miosa_rollback.tenancy = 'enforced';
SELECT pg_reload_conf();
\set ECHO none
\o /dev/null
SELECT test.until_read('miosa_rollback.tenancy') \gexec
\o
\set ECHO all
SHOW miosa_rollback.tenancy;
SET ROLE regress_own;
SELECT test.op(miosa_mark_bad('own_1', 'ver_2', 'CVE', 'artifact'));
SELECT test.code($$SELECT miosa_mark_bad('oth_1', 'ver_2', 'CVE')$$);
SELECT test.code($$SELECT * FROM miosa.mark_bad('oth_1', 'v2', 'CVE')$$);
SELECT miosa.bad_mark('oth_1', 'ver_2');
RESET ROLE;
SELECT tenant_id, reason, marked_by FROM miosa.bad_artifacts;
SELECT test.bad('own_1'), test.bad('oth_1');
SET ROLE regress_other;
SELECT miosa.bad_mark('own_1', 'ver_2');
SELECT count(*) FROM miosa.bad_artifacts;
SELECT test.op(miosa_promote('oth_1', 'ver_2'));
SELECT test.op(miosa_clear_bad('oth_1', 'ver_2', 'ours is good', 'artifact'));
RESET ROLE;
SELECT test.code($$SELECT miosa_promote('own_1', 'ver_2')$$);
-- one that counts for all is not a tenant's to clear
SELECT test.op(miosa_mark_bad('oth_1', 'ver_1', 'stolen key', 'artifact'));
SET ROLE regress_own;
SELECT miosa.bad_mark('own_1', 'ver_1') ->> 'reason';
SELECT test.warned(miosa_clear_bad('own_1', 'ver_1', scope => 'artifact'));
SELECT reason FROM miosa.bad_artifacts;
RESET ROLE;
SELECT test.op(miosa_clear_bad('own_1', 'ver_2', scope => 'artifact'));
SELECT tenant_id, reason FROM miosa.bad_artifacts;

\set ECHO none
ALTER SYSTEM RESET miosa_rollback.tenancy;
SELECT pg_reload_conf() AS reloaded \gset
\o /dev/null
SELECT test.until_read('miosa_rollback.tenancy') \gexec
\o
DROP OWNED BY regress_own, regress_other;
DROP ROLE regress_own, regress_other;
\set ECHO all
-- what a tenant has marked goes with it
INSERT INTO miosa.tenants (id, slug) VALUES ('ten_3', 'gone');
INSERT INTO miosa.bad_artifacts VALUES ('app:9', 'ten_3', 'bad', 'me');
SELECT miosa_remove_tenant('ten_3') IS NOT NULL;
SELECT count(*) FROM miosa.bad_artifacts WHERE tenant_id = 'ten_3';

\i :cleanup
