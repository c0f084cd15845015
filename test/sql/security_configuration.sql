-- Changes of the configuration are events of a hash chain: who, what, from what
-- to what; of secrets the names alone.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

CREATE FUNCTION test.events(after bigint DEFAULT 0) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', kind, object, action, was - '{created_at,collected_at,archived_at,verified_at}'::text[], '->', becomes - '{created_at,collected_at,archived_at,collected_by}'::text[], reason)
	FROM miosa.configuration_events WHERE seq > after ORDER BY seq $$;
CREATE FUNCTION test.newest() RETURNS bigint LANGUAGE sql AS $$ SELECT max(seq) FROM miosa.configuration_events $$;

-- what the fixture has made
SELECT * FROM test.events();
SELECT test.newest() AS newest \gset
-- endpoints, also what disables them, adapters, secrets, storages, plans
INSERT INTO miosa.secrets (name, value) VALUES ('token', 'very-secret-1');
SELECT miosa_put_endpoint('edge', 'haproxy-map', 'https://edge.example.com', secret => 'token') IS NOT NULL AS ok;
SELECT miosa_put_endpoint('edge', 'haproxy-map', 'https://other.example.com', secret => 'token') IS NOT NULL AS ok;
SELECT miosa_set_endpoint('edge', false, 'broken since monday') IS NOT NULL AS ok;
SELECT miosa_resync('edge') IS NOT NULL AS ok;
UPDATE miosa.secrets SET value = 'very-secret-2', previous = 'very-secret-1' WHERE name = 'token';
UPDATE miosa.secrets SET value = 'very-secret-3';
UPDATE miosa.secrets SET value = 'very-secret-3';
SELECT miosa_remove_endpoint('edge') IS NOT NULL AS ok;
DELETE FROM miosa.secrets;
INSERT INTO miosa.adapters (name, request) VALUES ('own', '{"method": "PUT", "path": "/{deployment_id}"}');
UPDATE miosa.adapters SET timeout = '3 s' WHERE name = 'own';
DELETE FROM miosa.adapters WHERE name = 'own';
SELECT miosa_put_storage('s3://bucket/', 'https://s3.example.com') IS NOT NULL AS ok;
UPDATE miosa.plans SET audit_retention = '1 s' WHERE name = 'free';
DELETE FROM miosa.own_plans;
SELECT miosa_put_tenant('ten_1', 'acme', 'pro') IS NOT NULL AS ok;
SELECT kind, object, action, was - 'created_at'::text AS was, (becomes - '{created_at,request,charsets}'::text[])::text LIKE '%name%' AS row, CASE WHEN action = 'update' THEN becomes - 'created_at'::text END AS becomes, reason
	FROM miosa.configuration_events WHERE seq > :newest ORDER BY seq;
SELECT count(*) AS secrets FROM miosa.configuration_events e WHERE e::text LIKE '%very-secret%';
-- memberships, also those that end with their tenant
SELECT test.newest() AS newest \gset
CREATE ROLE regress_configuration_member;
SELECT miosa_put_tenant('ten_9', 'nine') IS NOT NULL AS ok;
SELECT miosa_grant_tenant('regress_configuration_member', 'ten_9', '{rollback}') IS NOT NULL AS ok;
SELECT miosa_grant_tenant('regress_configuration_member', 'ten_9', '{deploy}') IS NOT NULL AS ok;
SELECT miosa_grant_tenant('regress_configuration_member', 'ten_9', '{deploy}') IS NOT NULL AS ok;
SELECT miosa_revoke_tenant('regress_configuration_member', 'ten_9', '{rollback}') IS NOT NULL AS ok;
SELECT miosa_grant_tenant('regress_configuration_member', '*', '{read}') IS NOT NULL AS ok;
SELECT miosa_revoke_tenant('regress_configuration_member', '*') IS NOT NULL AS ok;
SELECT miosa_remove_tenant('ten_9') IS NOT NULL AS ok;
SELECT object, action, was - 'granted_by'::text AS was, becomes - 'granted_by'::text AS becomes
	FROM miosa.configuration_events WHERE seq > :newest AND kind = 'tenant_members' ORDER BY seq;
SELECT bool_and(coalesce(becomes, was) ->> 'granted_by' = current_user AND actor_id = current_user) AS right
	FROM miosa.configuration_events WHERE seq > :newest AND kind = 'tenant_members' AND action <> 'update';
DROP ROLE regress_configuration_member;
-- what is fed: moves, renames, pins, archives, collections, deletions
SELECT test.newest() AS newest \gset
SELECT test.history('dep_1', 4), test.history('dep_2', 1);
SELECT miosa_put_domain('www.example.com', 'dep_1') IS NOT NULL AS ok;
SELECT replace(e, current_database(), 'database') FROM test.events(:newest) e;
SELECT miosa_put_domain('www.example.com', 'dep_2') IS NOT NULL AS ok;
UPDATE miosa.domains SET redirect_policy = 'none';
UPDATE miosa.deployments SET slug = 'renamed' WHERE id = 'dep_1';
SELECT miosa_pin_version('dep_1', 'ver_1') IS NOT NULL AS ok;
SELECT miosa_unpin_version('dep_1', 'ver_1') IS NOT NULL AS ok;
SELECT miosa_archive_version('dep_1', 'ver_1') IS NOT NULL AS ok;
UPDATE miosa.releases SET collected_at = now() WHERE deployment_id = 'dep_1' AND deployment_version_id = 'ver_1';
DELETE FROM miosa.domains;
SELECT miosa_reset_stats();
SELECT replace(e, current_database(), 'database') FROM test.events(:newest) e;
-- nothing of a transaction that fails; one transaction takes its places at once
SELECT test.newest() AS newest \gset
BEGIN;
SELECT miosa_put_tenant('ten_2', 'other') IS NOT NULL AS ok;
SELECT miosa_put_tenant('ten_2', 'renamed') IS NOT NULL AS ok;
SELECT count(*) AS before_commit FROM test.events(:newest);
COMMIT;
BEGIN;
SELECT miosa_put_tenant('ten_3', 'third') IS NOT NULL AS ok;
ROLLBACK;
SELECT kind, object, action, was, becomes ->> 'slug' AS slug FROM miosa.configuration_events WHERE seq > :newest ORDER BY seq;
-- who
SELECT bool_and(actor_type = 'role' AND actor_id = current_user AND session_user_name = session_user) AS right FROM miosa.configuration_events;
BEGIN;
SET LOCAL miosa_rollback.actor = 'user:eve';
SELECT miosa_put_tenant('ten_2', 'again') IS NOT NULL AS ok;
COMMIT;
SELECT e #- '{chain}' #- '{hash}' #- '{created_at}' #- '{session_user_name}' #- '{client_addr}' #- '{seq}' FROM jsonb_array_elements(miosa_configuration_log('tenants', "limit" => 1) -> 'data') e;
SELECT count(*), bool_and(e ->> 'kind' = 'secrets') AS right FROM jsonb_array_elements(miosa_configuration_log('secrets', 'token') -> 'data') e;

-- the chain, by its description alone
SELECT miosa_audit_verify_all() #> '{data,verified}' AS verified;
CREATE FUNCTION test.field(value text) RETURNS bytea LANGUAGE sql AS $$
	SELECT coalesce(int4send(octet_length(convert_to(value, 'UTF8'))) || convert_to(value, 'UTF8'), '\xffffffff') $$;
SELECT count(*) = test.newest() AS all, bool_and(e.hash = sha256(test.field('miosa configuration event 1') || coalesce(int4send(length(p.hash)) || p.hash, '\xffffffff')
	|| test.field(e.chain) || test.field(e.seq::text) || test.field(e.kind) || test.field(e.object) || test.field(e.action) || test.field(e.was::text)
	|| test.field(e.becomes::text) || test.field(e.reason) || test.field(e.actor_type) || test.field(e.actor_id) || test.field(e.session_user_name)
	|| test.field(e.client_addr::text) || test.field(((extract(epoch FROM e.created_at) * 1000000)::bigint)::text))) AS same
	FROM miosa.configuration_events e LEFT JOIN miosa.configuration_events p ON p.chain = e.chain AND p.seq = e.seq - 1;
-- Attack 5: nobody changes it, and a superuser who disables triggers is found
SELECT test.code($$UPDATE miosa.configuration_events SET actor_id = 'x'$$);
SELECT test.code($$DELETE FROM miosa.configuration_events$$);
SELECT test.code($$TRUNCATE miosa.configuration_events$$);
SELECT test.code($$UPDATE miosa.configuration_chains SET seq = 0$$);
SELECT test.code($$DELETE FROM miosa.configuration_chains$$);
CREATE FUNCTION test.problems() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', p ->> 'seq', p ->> 'problem') FROM jsonb_array_elements(miosa_audit_verify_all() #> '{data,problems}') p
	-- The dispatcher may have made a statement meanwhile.
	WHERE p ->> 'problem' NOT LIKE '%than was given' $$;
ALTER TABLE miosa.configuration_events DISABLE TRIGGER ALL;
ALTER TABLE miosa.configuration_chains DISABLE TRIGGER ALL;
BEGIN;
UPDATE miosa.configuration_events SET actor_id = 'somebody else' WHERE seq = 3;
SELECT * FROM test.problems();
ROLLBACK;
BEGIN;
DELETE FROM miosa.configuration_events WHERE seq = 3;
SELECT * FROM test.problems();
ROLLBACK;
BEGIN;
DELETE FROM miosa.configuration_events WHERE seq = test.newest();
SELECT count(*) FROM test.problems();
ROLLBACK;
-- a statement that was kept shows an end that was cut off with its head
BEGIN;
SELECT miosa.audit_content(1, now(), NULL, '{dep_1}') AS statement \gset
SELECT miosa_audit_verify_statement(:'statement') #> '{data,problems}' AS problems;
DELETE FROM miosa.configuration_events WHERE seq = test.newest();
UPDATE miosa.configuration_chains c SET seq = e.seq, hash = e.hash FROM miosa.configuration_events e WHERE e.seq = test.newest();
SELECT * FROM test.problems();
SELECT p ->> 'problem' FROM jsonb_array_elements(miosa_audit_verify_statement(:'statement') #> '{data,problems}') p;
ROLLBACK;

SET miosa_rollback.allow_drop = on;
\i :cleanup
