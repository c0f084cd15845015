-- What sqlsmith plays with: two tenants, of which the roles act for one, and
-- hostile rows.  Ids and names of the other tenant have "zqid" in them, all else
-- of it "zqsecret".
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION miosa_rollback;
CREATE SCHEMA smith;

CREATE FUNCTION smith.deployment(dep text, tenant text, secret text, kind text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	mark CONSTANT text := CASE WHEN secret = '' THEN '' ELSE 'zqid_' END;
BEGIN
	PERFORM miosa_put_deployment(dep, tenant, kind => kind, slug => replace(dep, '_', '-'), desired_replicas => 2);
	FOR i IN 1 .. 6 LOOP
		PERFORM miosa_put_version(dep, mark || 'ver_' || i, i, storage_uri => format('test://%s%s/%s', mark, dep, i),
			sha256 => encode(sha256((dep || i)::bytea), 'hex'), release_id => mark || 'rel_' || i);
	END LOOP;
	FOR i IN 1 .. 4 LOOP
		PERFORM miosa_promote(dep, mark || 'ver_' || i, mark || 'key_' || i, 'because ' || secret);
	END LOOP;
	PERFORM miosa_rollback(dep, mark || 'ver_2', idempotency_key => mark || 'key_back', reason => 'back ' || secret,
		attribution => jsonb_build_object('note', secret));
	PERFORM miosa_rollback(dep, mark || 'ver_1', reason => CASE secret WHEN '' THEN repeat('%s\', 500) ELSE secret END);
	PERFORM miosa_put_domain('www.' || replace(dep, '_', '-') || '.example.com', dep);
	PERFORM miosa_put_domain('*.' || replace(dep, '_', '-') || '.example.com', dep);
	PERFORM miosa_put_domain('old.' || replace(dep, '_', '-') || '.example.com', dep);
	PERFORM miosa_remove_domain('old.' || replace(dep, '_', '-') || '.example.com');
	IF kind <> 'static' THEN
		PERFORM miosa_report_instance(dep, mark || 'inst_1', mark || 'ver_2', 'healthy', mark || 'host', 8080);
		PERFORM miosa_report_instance(dep, mark || 'inst_2', mark || 'ver_3', 'failed', NULL, NULL, 'failed ' || secret);
	END IF;
END $$;

SELECT miosa_put_tenant('ten_own', 'own'), miosa_put_tenant('ten_zqid', 'zqid');
SELECT smith.deployment('dep_own_1', 'ten_own', '', 'static'), smith.deployment('dep_own_2', 'ten_own', '', 'dynamic'),
	smith.deployment('dep_zqid_1', 'ten_zqid', 'zqsecret', 'static'), smith.deployment('dep_zqid_2', 'ten_zqid', 'zqsecret', 'dynamic');

-- Hostile rows: as the role's own functions and columns let them in, or as a
-- superuser or an older release left them.
SET session_replication_role = replica;
UPDATE miosa.deployments SET name = E'%s%n "quoted" ''single'' \\ back\nslash $$ \u202e; DROP', metadata = '{"a": [1e100, null, {"b": "\n"}]}'
	WHERE id = 'dep_own_2';
UPDATE miosa.deployments SET name = 'zqsecret', metadata = '{"zqsecret": 1}' WHERE tenant_id = 'ten_zqid';
UPDATE miosa.versions SET metadata = '{"x": 1}', runtime_image = '' WHERE deployment_id = 'dep_own_2' AND version_number = 5;
UPDATE miosa.runtime_instances SET error_message = E'\n\n%s' WHERE deployment_id = 'dep_own_2';
RESET session_replication_role;

-- Endpoints that nobody answers, so that there is always something to deliver.
SELECT miosa_put_endpoint('edge-' || i, 'webhook', 'http://127.0.0.1:9/' || i, secret => NULL) FROM generate_series(1, 2) i;
SELECT miosa_put_endpoint('edge-other', 'webhook', 'http://127.0.0.1:9/3', selector => '{"tenant": "ten_zqid"}');

CREATE ROLE smith_operator LOGIN IN ROLE miosa_operator;
CREATE ROLE smith_deployer LOGIN IN ROLE miosa_deployer;
SELECT miosa_grant_tenant('smith_operator', 'ten_own', '{read,rollback}');
SELECT miosa_grant_tenant('smith_deployer', 'ten_own', '{read,deploy}');
GRANT USAGE ON SCHEMA smith TO PUBLIC;

-- sqlsmith takes functions from "pg_proc" and columns from "pg_attribute" as
-- its search_path finds them.  These have every function of ours many times, also
-- those that the role may not call, some of PostgreSQL's, and the columns
-- that the role may read; a function that returns rows counts as one that does not.
CREATE VIEW smith.pg_proc AS
	SELECT p.oid::bigint + n * 10000000000 AS oid, p.pronamespace, p.prorettype, p.proname, false AS proretset, p.proargtypes, p.prokind,
		p.provariadic
	FROM pg_catalog.pg_proc p CROSS JOIN generate_series(0, 20) n
	WHERE CASE
		WHEN p.prorettype::regtype IN ('trigger', 'event_trigger') OR p.prokind = 'p' THEN false
		WHEN p.pronamespace = 'miosa'::regnamespace OR p.proname LIKE 'miosa\_%' THEN n = 0 OR has_function_privilege(p.oid, 'EXECUTE')
		WHEN p.prokind <> 'f' THEN n = 0
		ELSE n = 0 AND (p.provolatile <> 'v' AND hashtext(p.proname) % 6 = 0
			OR p.proname ~ '^(pg_get_.*def|pg_get_expr|has_.*_privilege|(query|table|cursor|schema)_to_xml|row_security_active|pg_notify|current_setting|set_config|pg_stat_get_activity|pg_lock_status|pg_relation_size|col_description|obj_description)$')
	END;
CREATE VIEW smith.pg_attribute AS
	SELECT a.attname, a.atttypid, a.attrelid, a.attisdropped, a.attnum FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
	WHERE a.attnum > 0 AND has_column_privilege(a.attrelid, a.attnum, 'SELECT');
GRANT SELECT ON smith.pg_proc, smith.pg_attribute TO PUBLIC;

-- What may not change, by role: a name, and a digest of the rows.  Whatever has
-- something of the other tenant's in it is in it for both.  What processes write
-- by themselves is left out.
CREATE FUNCTION smith.digests(role text) RETURNS TABLE (what text, digest text) LANGUAGE plpgsql AS $$
DECLARE
	-- Tables with rows that the role's functions write for its own tenant.
	written CONSTANT text[] := CASE role
		WHEN 'smith_operator' THEN '{deployments,versions,audit_events,idempotency_keys,capacity,route_log,runtime_instances,holds,watches,alerts,fleet_runs,bad_artifacts}'
		ELSE '{deployments,versions,releases,audit_events,idempotency_keys,capacity,route_log,runtime_instances,holds,watches,bad_artifacts,schemas,schema_reports}' END;
	rel record;
BEGIN
	FOR rel IN
		SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'miosa'::regnamespace AND c.relkind = 'r'
			AND c.relname NOT IN ('outbox', 'endpoint_state', 'delivery_failures', 'dispatcher_state', 'maintenance', 'refusals',
				'audit_statements', 'audit_receivers', 'alert_receivers', 'convergence_log') ORDER BY 1
	LOOP
		EXECUTE format('SELECT md5(string_agg(t::text, E''\n'' ORDER BY t::text)) FROM miosa.%I t WHERE t::text ~ ''zqid|zqsecret''', rel.relname) INTO digest;
		what := rel.relname || ': rows of the other tenant';
		-- Operators ask for routes to be delivered anew, also to an endpoint.
		IF rel.relname <> 'endpoints' THEN
			RETURN NEXT;
		END IF;
		IF rel.relname = 'endpoints' THEN
			EXECUTE 'SELECT md5(string_agg((to_jsonb(t))::text, E''\n'' ORDER BY t.name)) FROM miosa.endpoints t' INTO digest;
			what := 'endpoints';
			RETURN NEXT;
		ELSIF rel.relname <> ALL (written) THEN
			EXECUTE format('SELECT md5(string_agg(t::text, E''\n'' ORDER BY t::text)) FROM miosa.%I t', rel.relname) INTO digest;
			what := rel.relname;
			RETURN NEXT;
		END IF;
	END LOOP;
	RETURN QUERY SELECT 'what a deployment is', md5(string_agg(concat_ws('|', d.id, d.tenant_id, d.name, d.slug, d.kind, d.desired_replicas, d.metadata, d.created_at), E'\n' ORDER BY d.id))
		FROM miosa.deployments d;
	RETURN QUERY SELECT 'what an instance is', md5(string_agg(concat_ws('|', i.deployment_id, i.id, i.version_id, i.address, i.port), E'\n' ORDER BY i.deployment_id, i.id))
		FROM miosa.runtime_instances i;
	-- An event or a key that is there stays as it is.
	RETURN QUERY SELECT 'events of the beginning', md5(string_agg(a::text, E'\n' ORDER BY a.deployment_id, a.seq))
		FROM miosa.audit_events a WHERE a.created_at < (SELECT s.began FROM smith.start s);
	IF role = 'smith_operator' THEN
		RETURN QUERY SELECT 'what a version is', md5(string_agg(concat_ws('|', v.deployment_id, v.id, v.version_number, v.artifact_uri, v.metadata), E'\n'
			ORDER BY v.deployment_id, v.id)) FROM miosa.versions v;
	END IF;
	RETURN QUERY SELECT 'objects and rights', md5((SELECT string_agg(concat_ws('|', c.relname, c.relowner, c.relacl, c.relrowsecurity, c.relforcerowsecurity), E'\n' ORDER BY c.oid)
			FROM pg_class c WHERE c.relnamespace IN ('miosa'::regnamespace, 'public'::regnamespace) AND c.relkind IN ('r', 'v', 'S'))
		|| (SELECT string_agg(concat_ws('|', p.oid, p.proowner, p.proacl, p.proconfig, p.prosrc), E'\n' ORDER BY p.oid) FROM pg_catalog.pg_proc p)
		|| (SELECT string_agg(concat_ws('|', m.roleid, m.member, m.admin_option), E'\n' ORDER BY m.roleid, m.member) FROM pg_auth_members m)
		|| coalesce((SELECT string_agg(s::text, E'\n' ORDER BY s::text) FROM pg_db_role_setting s), ''));
END $$;
CREATE TABLE smith.start AS SELECT clock_timestamp() AS began;
