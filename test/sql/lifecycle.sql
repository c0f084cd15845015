-- Deployments that are renamed and removed, and hosts that move.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture
-- The dispatcher takes this for a copy and keeps its hands off.
INSERT INTO miosa.dispatcher_state (last_epoch, site, system_identifier, timeline, database_oid, term_since)
	SELECT 1::bigint << 40, '', 'elsewhere', i.timeline, i.database_oid, now() FROM miosa.identity() i
	ON CONFLICT (one) DO UPDATE SET system_identifier = EXCLUDED.system_identifier, term_since = EXCLUDED.term_since;
SET client_min_messages = error;
SELECT test.history('dep_1', 2), test.history('dep_2', 2), test.history('dep_3', 2);
-- What a call has queued, as the dispatcher takes it: order, kind and host.
CREATE FUNCTION test.queued(call text) RETURNS TABLE (deployment_id text, kind text, host text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE call;
	RETURN QUERY SELECT o.deployment_id COLLATE "default", o.kind, o.host COLLATE "default" FROM miosa.outbox o
		WHERE o.xid = pg_current_xact_id()
		ORDER BY o.kind = 'route' AND o.host IS NOT NULL, o.deployment_id COLLATE "C", o.route_seq;
END $$;
CREATE FUNCTION test.events(dep text, after bigint DEFAULT 2) RETURNS TABLE (seq bigint, action text, outcome text, key text, reason text, marks jsonb) LANGUAGE sql AS $$
	SELECT a.seq, a.action, a.outcome, a.idempotency_key, a.reason, a.marks FROM miosa.audit_events a WHERE a.deployment_id = dep AND a.seq > after ORDER BY a.seq $$;

-- Promise: a rename gives edges the new managed host and takes the old one away,
-- in one change.
SELECT * FROM test.queued($$SELECT miosa_rename_deployment('dep_1', 'shop', 'key-1', 'new brand')$$);
SELECT slug, updated_at > created_at AS updated FROM miosa.deployments WHERE id = 'dep_1';
SELECT host, deployment_id, version_id FROM miosa.hosts h JOIN miosa.routes r USING (deployment_id) WHERE deployment_id = 'dep_1';
SELECT * FROM test.events('dep_1');
SELECT regexp_replace(what, ' by .*', '') AS what FROM miosa.history('dep_1', 1);
-- Promise: a repeated key changes nothing; the same slug is no change of routes.
SELECT * FROM test.queued($$SELECT miosa_rename_deployment('dep_1', 'shop', 'key-1', 'new brand')$$);
SELECT miosa_rename_deployment('dep_1', 'shop', 'key-1') -> 'data' ->> 'slug' AS slug, miosa_rename_deployment('dep_1', 'shop', 'key-1') #>> '{operation,id}' AS id;
SELECT test.code($$SELECT miosa_rename_deployment('dep_1', 'store', 'key-1')$$);
SELECT * FROM test.queued($$SELECT miosa_rename_deployment('dep_1', 'shop')$$);
SELECT count(*) FROM test.events('dep_1');
-- Promise: a slug is unique in its tenant, and a host is not taken from another.
INSERT INTO miosa.tenants (id, slug) VALUES ('ten_2', 'other');
SELECT miosa_put_deployment('dep_9', 'ten_2', slug => 'shop') #>> '{data,slug}' AS elsewhere;
SELECT test.refusal($$SELECT miosa_rename_deployment('dep_2', 'shop')$$);
SELECT test.refusal($$SELECT miosa_rename_deployment('dep_2', 'No')$$);
SELECT test.code($$SELECT miosa_rename_deployment('dep_2', NULL)$$);
SELECT test.code($$SELECT miosa_rename_deployment('dep_8', 'x')$$);
SELECT miosa_put_domain('taken.acme.miosa.app', 'dep_3') IS NOT NULL AS put;
SELECT test.refusal($$SELECT miosa_rename_deployment('dep_2', 'taken')$$);
SELECT miosa_rename_deployment('dep_3', 'taken') IS NOT NULL AS by_its_owner;
SELECT count(*) FROM test.events('dep_2');

-- Promise: a host moves in one transaction: its new deployment is sent with it
-- before the old one without it, whatever their ids.
SELECT miosa_put_domain('www.example.com', 'dep_2', redirect_policy => 'apex_to_www', fields => '{"id": "dom_1", "verified_at": "2026-01-01T00:00:00Z"}') IS NOT NULL AS put;
SELECT * FROM test.queued($$SELECT miosa_move_host('WWW.example.com.', 'dep_3', 'dep_2', 'key-1', 'split')$$);
SELECT * FROM test.queued($$SELECT miosa_move_host('www.example.com', 'dep_2')$$);
SELECT deployment_id, state, redirect_policy, verified_at IS NOT NULL AS verified, id FROM miosa.domains WHERE fqdn = 'www.example.com';
SELECT 'dep_2' AS deployment, * FROM test.events('dep_2') UNION ALL SELECT 'dep_3', * FROM test.events('dep_3', 3) ORDER BY 1, 2;
-- A repeated key; a host that is there already; a plain UPDATE
SELECT * FROM test.queued($$SELECT miosa_move_host('www.example.com', 'dep_3', 'dep_2', 'key-1', 'split')$$);
SELECT deployment_id FROM miosa.domains WHERE fqdn = 'www.example.com';
SELECT * FROM test.queued($$SELECT miosa_move_host('www.example.com', 'dep_2')$$);
SELECT * FROM test.queued($$UPDATE miosa.domains SET deployment_id = 'dep_1' WHERE fqdn = 'www.example.com'$$);
SELECT * FROM test.queued($$SELECT miosa_put_domain('www.example.com', 'dep_2')$$);
-- Two hosts change places
SELECT miosa_put_domain('api.example.com', 'dep_1') IS NOT NULL AS put;
SELECT * FROM test.queued($$UPDATE miosa.domains SET deployment_id = CASE deployment_id WHEN 'dep_1' THEN 'dep_2' ELSE 'dep_1' END
	WHERE fqdn IN ('www.example.com', 'api.example.com')$$);
-- Hosts that are not routed move quietly
SELECT miosa_put_domain('later.example.com', 'dep_1', 'pending') IS NOT NULL AS put;
SELECT * FROM test.queued($$SELECT miosa_move_host('later.example.com', 'dep_2')$$);
SELECT deployment_id, state FROM miosa.domains WHERE fqdn = 'later.example.com';
-- One that was served, and is not where it goes
SELECT test.deployment('dep_none', 1);
SELECT miosa_move_host('api.example.com', 'dep_none') #> '{operation,warnings}' AS warnings;
SELECT miosa_move_host('later.example.com', 'dep_none') #> '{operation,warnings}' AS warnings;
SELECT miosa_move_host('api.example.com', 'dep_2') #> '{operation,warnings}' AS warnings;
SELECT miosa_move_host('later.example.com', 'dep_2') #> '{operation,warnings}' AS warnings;
-- Refusals
SELECT test.refusal($$SELECT miosa_move_host('www.example.com', 'dep_2', 'dep_3')$$);
SELECT test.refusal($$SELECT miosa_move_host('none.example.com', 'dep_2')$$);
SELECT test.refusal($$SELECT miosa_move_host('shop.acme.miosa.app', 'dep_2')$$);
SELECT test.code($$SELECT miosa_move_host('www.example.com', 'dep_8')$$);
SELECT test.code($$SELECT miosa_move_host('no host', 'dep_2')$$);
SELECT test.code($$SELECT miosa_move_host(NULL, 'dep_2')$$);
SELECT test.code($$SELECT miosa_move_host('www.example.com', 'dep_2', 'dep 1')$$);
-- Who acts for all tenants moves it to another one, where it is verified anew.
SELECT miosa_put_domain('sold.example.com', 'dep_1', fields => '{"verified_at": "2026-01-01T00:00:00Z"}') IS NOT NULL AS put;
SELECT miosa_move_host('sold.example.com', 'dep_9') IS NOT NULL AS moved;
SELECT deployment_id, tenant_id, state, verified_at FROM miosa.domains WHERE fqdn = 'sold.example.com';
CREATE ROLE regress_admin IN ROLE miosa_admin;
GRANT USAGE ON SCHEMA test TO regress_admin;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA test TO regress_admin;
SELECT miosa_grant_tenant('regress_admin', t, '{read,deploy}') IS NOT NULL AS granted FROM unnest(ARRAY['ten_1', 'ten_2']) t;
ALTER SYSTEM SET miosa_rollback.tenancy = 'enforced';
SELECT pg_reload_conf();
\set ECHO none
\o /dev/null
SELECT test.until_read('miosa_rollback.tenancy') \gexec
\o
\set ECHO all
SHOW miosa_rollback.tenancy;
SET ROLE regress_admin;
SELECT test.refusal($$SELECT miosa_move_host('sold.example.com', 'dep_1')$$);
RESET ROLE;
SELECT miosa_revoke_tenant('regress_admin', 'ten_2') IS NOT NULL AS revoked;
SET ROLE regress_admin;
SELECT test.refusal($$SELECT miosa_move_host('sold.example.com', 'dep_1')$$);
SELECT test.code($$SELECT miosa_move_host('www.example.com', 'dep_9')$$);
SELECT test.code($$SELECT miosa_rename_deployment('dep_9', 'mine')$$);
SELECT test.code($$SELECT miosa_remove_deployment('dep_9', idempotency_key => 'k')$$);
SELECT miosa_rename_deployment('dep_2', 'mine') IS NOT NULL AS own;
RESET ROLE;
ALTER SYSTEM RESET miosa_rollback.tenancy;
SELECT pg_reload_conf();
\set ECHO none
\o /dev/null
SELECT test.until_read('miosa_rollback.tenancy') \gexec
\o
\set ECHO all
SHOW miosa_rollback.tenancy;

-- Promise: the console does both.
SELECT * FROM miosa.rename('mine', 'blog', 'people rename too', 'key-blog');
SELECT * FROM miosa.move_host('api.example.com', 'shop.acme.miosa.app', 'it is theirs');
SELECT * FROM miosa.move_host('api.example.com', 'dep_1');
SELECT test.refusal($$SELECT * FROM miosa.rename('nothing', 'x')$$);

-- Promise: a deployment that is removed leaves its audit trail, and nothing else.
SELECT miosa_promote('dep_3', 'ver_1', 'key-9') IS NOT NULL AS promoted, miosa_pin_version('dep_3', 'ver_2') IS NOT NULL AS pinned;
SELECT test.refusal($$SELECT miosa_remove_deployment('dep_3')$$);
SELECT miosa_unpublish('dep_3') #>> '{data,state}' AS state;
SELECT * FROM test.queued($$SELECT miosa_remove_deployment('dep_3', 'not needed', 'key-gone')$$);
SELECT action, outcome, idempotency_key, reason, marks, previous_version_id, target_version_id FROM miosa.audit_events WHERE deployment_id = 'dep_3' ORDER BY seq DESC LIMIT 1;
SELECT (SELECT count(*) FROM miosa.deployments WHERE id = 'dep_3') AS deployments, (SELECT count(*) FROM miosa.versions WHERE deployment_id = 'dep_3') AS versions,
	(SELECT count(*) FROM miosa.releases WHERE deployment_id = 'dep_3') AS releases, (SELECT count(*) FROM miosa.domains WHERE deployment_id = 'dep_3') AS domains,
	(SELECT count(*) FROM miosa.capacity WHERE deployment_id = 'dep_3') AS capacity, (SELECT count(*) FROM miosa.idempotency_keys WHERE deployment_id = 'dep_3') AS keys,
	(SELECT count(*) FROM miosa.hosts WHERE deployment_id = 'dep_3') AS hosts;
SELECT miosa_audit_verify('dep_3') #> '{data,verified}' AS verified, (SELECT c.deleted_at IS NOT NULL AND c.last_hash = a.hash FROM miosa.audit_checkpoints c
	JOIN miosa.audit_events a ON a.deployment_id = c.deployment_id AND a.seq = c.last_seq WHERE c.deployment_id = 'dep_3') AS closed;
SELECT e ->> 'action' AS action FROM jsonb_array_elements(miosa_audit_log('dep_3') -> 'data') e LIMIT 2;
-- Promise: the answer to a repeated key is the same, and no other key's.
SELECT miosa_remove_deployment('dep_3', 'not needed', 'key-gone') = miosa_remove_deployment('dep_3', idempotency_key => 'key-gone') AS repeated,
	miosa_remove_deployment('dep_3', idempotency_key => 'key-gone') - 'operation' AS answer;
SELECT test.code($$SELECT miosa_remove_deployment('dep_3', idempotency_key => 'another')$$);
SELECT test.code($$SELECT miosa_remove_deployment('dep_3')$$);
SELECT test.code($$SELECT miosa_remove_deployment('dep_3', idempotency_key => 'key-9')$$);
-- A new one of the same id goes on with its numbers.
SELECT seq AS last FROM miosa.audit_events WHERE deployment_id = 'dep_3' ORDER BY seq DESC LIMIT 1 \gset
SELECT test.deployment('dep_3', 1);
SELECT test.code($$SELECT miosa_remove_deployment('dep_3', idempotency_key => 'key-gone')$$);
SELECT test.deployment('dep_3', 2);
-- It has nothing to undo, and has served nothing before.
SELECT test.refusal($$SELECT miosa_undo('dep_3')$$), test.code(format('SELECT miosa_undo(''dep_3'', ''#%s'')', :last - 2));
SELECT test.code(format('SELECT miosa_rollback(''dep_3'', served_at => %L)', (SELECT created_at FROM miosa.audit_events
	WHERE deployment_id = 'dep_3' AND outcome = 'changed' AND target_version_id = 'ver_1' ORDER BY seq DESC LIMIT 1)));
SELECT (miosa_promote('dep_3', 'ver_1') #>> '{operation,id}') = 'dep_3#' || (:last + 2) AS numbered_on;

-- Promise: artifacts that nobody else has are named; those of others are not.
SELECT test.history('dep_4', 2), test.history('dep_5', 2);
SELECT miosa_put_version('dep_4', 'ver_9', 9, storage_uri => 'test://bucket/dep_5/ver_1/dist.tar.zst') IS NOT NULL AS shared;
SELECT miosa_unpublish('dep_4') IS NOT NULL AS unpublished;
SELECT a ->> 'storage_uri' AS storage_uri, a ->> 'sha256' IS NOT NULL AS sha256 FROM jsonb_array_elements(miosa_remove_deployment('dep_4') #> '{data,artifacts}') a;

-- Promise: capacity is withdrawn before: schedulers must have stopped what runs.
SELECT test.history('dyn', 2, 'dynamic');
SELECT miosa_put_endpoint('sched', 'webhook-scheduler', 'http://127.0.0.1:1') IS NOT NULL AS put;
SELECT miosa_report_instance('dyn', 'i-1', 'ver_2', 'healthy') IS NOT NULL AS reported;
SELECT miosa_unpublish('dyn') IS NOT NULL AS unpublished;
SELECT miosa_remove_deployment('dyn', 'old', 'key-dyn') AS answer;
SELECT version_id, c.state, asked_at, i.state AS instance FROM miosa.capacity c JOIN miosa.runtime_instances i USING (deployment_id, version_id);
SELECT kind FROM test.queued($$SELECT miosa_remove_deployment('dyn', 'old', 'key-dyn')$$);
-- The scheduler accepts the request, and its instance ends.
UPDATE miosa.capacity SET asked_at = now() WHERE deployment_id = 'dyn';
SELECT miosa_remove_deployment('dyn', 'old', 'key-dyn') #>> '{data,state}' AS state;
SELECT miosa_report_instance('dyn', 'i-1', 'ver_2', 'stopped') IS NOT NULL AS reported;
SELECT changed FROM miosa.capacity_pass('', 100);
SELECT version_id, state FROM miosa.capacity WHERE deployment_id = 'dyn';
SELECT miosa_remove_deployment('dyn', 'old', 'key-dyn') #>> '{data,state}' AS state;
SELECT count(*) FROM miosa.runtime_instances WHERE deployment_id = 'dyn';

REVOKE USAGE ON SCHEMA test FROM regress_admin;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA test FROM regress_admin;
SELECT miosa_revoke_tenant('regress_admin', 'ten_1') IS NOT NULL AS revoked;
DROP ROLE regress_admin;
\i :cleanup
