-- Actors: who is named in an audit event, and who may name whom.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture
\set SHOW_CONTEXT never
SET client_min_messages = error;
SELECT test.history('dep_1', 3);
CREATE ROLE regress_plain IN ROLE miosa_operator;
CREATE ROLE regress_app IN ROLE miosa_operator;
CREATE ROLE regress_gateway LOGIN IN ROLE miosa_operator;
GRANT regress_plain TO regress_gateway;
GRANT USAGE ON SCHEMA test TO miosa_operator;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA test TO miosa_operator;
-- The newest event's actor.
CREATE FUNCTION test.actor() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
	SELECT format('%s:%s by %s, %s', a.actor_type, a.actor_id, CASE WHEN a.session_user_name = current_user THEN 'me' ELSE a.session_user_name END,
		-- The server shows what is not printable as it likes.
		coalesce(replace(a.application_name, '\x1b', '?'), 'no name'))
	FROM miosa.audit_events a WHERE a.deployment_id = 'dep_1' ORDER BY a.seq DESC LIMIT 1 $$;
GRANT EXECUTE ON FUNCTION test.actor TO miosa_operator;
-- A rollback in a transaction with these settings.
CREATE FUNCTION test.act(actor text, claims text DEFAULT '') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	refusal text;
BEGIN
	PERFORM set_config('miosa_rollback.actor', actor, true), set_config('request.jwt.claims', claims, true);
	refusal := test.refusal('SELECT miosa_rollback(''dep_1'', ''ver_1'')');
	RETURN CASE WHEN refusal = 'not refused' THEN test.actor() ELSE refusal END;
END $$;
GRANT EXECUTE ON FUNCTION test.act TO miosa_operator;
SET application_name = E'an app\x1b[31m';

-- Promise: a role that may not speak for others is itself, or refused.
SET ROLE regress_plain;
SELECT test.act('');
SELECT test.act('user:boss');
SELECT test.act('system:autopilot');
SELECT test.act('regress_plain');
RESET ROLE;
-- An administrator allows it, for a tenant or for all.
INSERT INTO miosa.tenants (id, slug) VALUES ('ten_2', 'two');
SELECT miosa_grant_tenant('regress_app', 'ten_2', '{speak}') -> 'data' -> 'scopes' AS scopes;
SET ROLE regress_app;
SELECT test.code('SELECT test.act(''user:u-1'')');
SELECT split_part(test.act('user:u-1'), E'\n', 1);
RESET ROLE;
SELECT miosa_grant_tenant('regress_app', 'ten_1', '{speak,read}') -> 'data' -> 'scopes' AS scopes;
SET ROLE regress_app;
SELECT test.act('user:u-1');
SELECT test.act('api_key:k-1');
-- A value of SET alone is ignored, also for those who may.
SET miosa_rollback.actor = 'user:leaked';
SELECT miosa_rollback('dep_1', 'ver_2') #>> '{operation,warnings,0,code}' AS warning;
SELECT test.actor();
RESET miosa_rollback.actor;
RESET ROLE;
-- What ends, ends at once in the next transaction.
SELECT miosa_revoke_tenant('regress_app', 'ten_1', '{speak}') -> 'data' -> 'scopes' AS scopes;
SET ROLE regress_app;
SELECT split_part(test.act('user:u-1'), E'\n', 1);
RESET ROLE;
-- Promise: a plain UPDATE of the pointer is no way around it.
GRANT UPDATE, SELECT ON miosa.deployments TO regress_plain;
GRANT EXECUTE ON FUNCTION miosa.may TO regress_plain;
SET ROLE regress_plain;
BEGIN;
SET LOCAL miosa_rollback.actor = 'user:boss';
UPDATE miosa.deployments SET active_version_id = 'ver_3' WHERE id = 'dep_1';
ROLLBACK;
RESET ROLE;

-- Promise: claims of a session that no trusted gateway has made mean nothing.
SET ROLE regress_plain;
SELECT test.act('', '{"sub": "boss", "key_id": "k", "tenant_id": "ten_1"}');
SELECT test.act('', '{');
RESET ROLE;
SELECT test.act('', '{"sub": "boss"}') ~ '^role:' AS superuser_neither;

\set ECHO none
ALTER SYSTEM SET miosa_rollback.trusted_gateways = 'somebody, regress_gateway';
SELECT pg_reload_conf() AS reloaded \gset
\o /dev/null
SELECT test.until_read('miosa_rollback.trusted_gateways') \gexec
\o
\set ECHO all
SHOW miosa_rollback.trusted_gateways;
-- Promise: in the session of a trusted gateway they name the actor, whatever the
-- role is.
SET SESSION AUTHORIZATION regress_gateway;
SELECT test.act('', '{"sub": "u-1", "role": "regress_plain"}');
SELECT test.act('', '{"sub": "u-1", "key_id": "k-1"}');
SELECT test.act('', '{"role": "regress_plain", "sub": null}');
SELECT test.act('', '');
SET ROLE regress_plain;
SELECT test.act('', '{"sub": "u-2"}');
-- The gateway may speak for others, too; its claims go before.
SELECT test.act('user:u-3', '{"sub": "u-2"}');
SELECT test.act('user:u-3', '{}');
-- Promise: claims that cannot be read are refused, never taken for none.
SELECT left(c.claims, 60) AS claims, replace(test.act('', c.claims), E'\n', ' ')
FROM (VALUES ('{'), ('[]'), ('"sub"'), ('null'), ('7'), ('{"sub": 7}'), ('{"sub": ["u"]}'), ('{"sub": ""}'), ('{"key_id": {}}'),
	('{"tenant_id": 7}'), ('{"tenant_id": "ten 1"}'), ('{"tenant_id": "ten_1'' OR true"}'), ('{"scopes": 7}'), ('{"scopes": [["read"]]}'),
	('{"sub": "a\u0000"}'), ('{"sub": "a\nb"}'), ('{"sub": "\u001b[31m"}'), ('{"sub": "' || repeat('x', 501) || '"}'),
	('{"sub": "u", "x": 1e999999}'), ('{"sub": ' || repeat('[', 10000) || repeat(']', 10000) || '}'), (repeat('{"a":', 1000000)),
	(E'{"sub": "\xe2\x80\xaegnp"}')) c (claims);
RESET SESSION AUTHORIZATION;

-- Promise: control characters, and those that set the direction of text, are
-- refused in actors, reasons and names.
SELECT n, test.code(format('SELECT set_config(''miosa_rollback.actor'', %L, true)', 'user:' || c)) ~ '^22023 ' AS actor,
	test.code(format('SELECT miosa_rollback(''dep_1'', ''ver_1'', reason => %L)', 'x' || c || 'y')) AS reason,
	test.code(format('SELECT miosa_put_deployment(''dep_1'', ''ten_1'', name => %L)', 'x' || c || 'y')) AS name
FROM (VALUES (1, E'\n'), (2, E'\x1b'), (3, E'\x7f'), (4, E'\xc2\x85'), (5, E'\xd8\x9c'), (6, E'\xe2\x80\x8e'), (7, E'\xe2\x80\xa8'), (8, E'\xe2\x80\xae'),
	(9, E'\xe2\x81\xa6'), (10, E'\xe2\x81\xa9')) v (n, c);
SELECT test.refusal($$SELECT miosa_rollback('dep_1', 'ver_1', reason => E'done \xe2\x80\xaeby nobody')$$);
SELECT test.code($$SELECT * FROM miosa.rollback('dep_1', 'v1', E'a\rb')$$);
SELECT test.code($$SELECT * FROM miosa.status(E'dep\xe2\x80\xae_1')$$);
-- Others of the same bytes are not: an umlaut, a dash, an emoji.
SELECT test.op(miosa_rollback('dep_1', 'ver_2', reason => E'gr\xc3\xbc\xc3\x9fe \xe2\x80\x93 \xe2\x81\x80 \xf0\x9f\x98\x80'));
-- Where they are stored already they are shown as what they are.
ALTER TABLE miosa.audit_events DISABLE TRIGGER audit_events_keep;
UPDATE miosa.audit_events SET reason = E'a\xe2\x80\xaeb\x1b[31m\nc', actor_id = E'x\xe2\x80\xaey' WHERE deployment_id = 'dep_1' AND seq = (SELECT max(seq) FROM miosa.audit_events);
ALTER TABLE miosa.audit_events ENABLE ALWAYS TRIGGER audit_events_keep;
SELECT what FROM miosa.history('dep_1', 1);
SELECT item, value FROM miosa.status('dep_1') WHERE item IN ('by', 'reason') AND value LIKE '%\\u%';

\set ECHO none
ALTER SYSTEM RESET miosa_rollback.trusted_gateways;
SELECT pg_reload_conf() AS reloaded \gset
DROP OWNED BY regress_plain, regress_app, regress_gateway;
DROP ROLE regress_plain, regress_app, regress_gateway;
\set ECHO all
\i :cleanup
