-- What every file of test/sql/ starts with: the extension, fresh, and a schema
-- "test" with a few helpers.  Each file ends with \i :cleanup.
\set ECHO none
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = error;
DROP EXTENSION IF EXISTS miosa_rollback CASCADE;
DROP SCHEMA IF EXISTS test CASCADE;
CREATE EXTENSION miosa_rollback;
CREATE SCHEMA test;

INSERT INTO miosa.tenants (id, slug) VALUES ('ten_1', 'acme');

-- A deployment with versions ver_1, ver_2, ... that are ready and have
-- releases rel_1, rel_2, ...; nothing is active yet.  Nothing ever asks
-- storage about "test:".
CREATE FUNCTION test.deployment(dep text, versions integer DEFAULT 3, kind text DEFAULT 'static')
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO miosa.deployments (id, tenant_id, name, slug, kind, created_at, updated_at)
		VALUES (dep, 'ten_1', initcap(dep), replace(lower(dep), '_', '-'), kind,
			'2026-01-01 00:00:00+00', '2026-01-01 00:00:00+00');
	INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, kind, state)
		SELECT dep, 'ver_' || i, 'ten_1', i, kind, 'ready' FROM generate_series(1, versions) i;
	INSERT INTO miosa.releases (deployment_id, id, deployment_version_id, tenant_id, kind, storage_uri, sha256)
		SELECT dep, 'rel_' || i, 'ver_' || i, 'ten_1', kind,
			format('test://bucket/%s/ver_%s/dist.tar.zst', dep, i), encode(sha256(i::text::bytea), 'hex')
		FROM generate_series(1, versions) i;
END $$;

-- The same, with every version promoted in turn.
CREATE FUNCTION test.history(dep text, versions integer DEFAULT 3, kind text DEFAULT 'static')
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM test.deployment(dep, versions, kind);
	FOR i IN 1 .. versions LOOP
		PERFORM miosa_promote(dep, 'ver_' || i);
	END LOOP;
END $$;

-- An operation in one line.
CREATE FUNCTION test.op(response jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s %s: %s -> %s (%s), state %s%s%s', o ->> 'id', o ->> 'outcome',
		coalesce(o ->> 'previous_version_id', 'none'), o ->> 'target_version_id', o ->> 'target_rule',
		response -> 'data' ->> 'state',
		', serving ' || (response -> 'data' ->> 'serving_version_id'), ', skipped ' || (o ->> 'skipped'))
	FROM (VALUES (response -> 'operation')) v (o) $$;

-- How a call is refused: SQLSTATE, message, DETAIL and HINT, with times
-- and hashes blotted out.
CREATE FUNCTION test.refusal(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text;
	message text;
	detail text;
	hint text;
BEGIN
	EXECUTE call;
	RETURN 'not refused';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN regexp_replace(
		regexp_replace(concat_ws(E'\n', state || ' ' || message, '  DETAIL: ' || detail, '  HINT: ' || hint), '\\x[0-9a-f]{62,64}(\.\.\.)?', '<hash>', 'g'),
		'\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)?'
		'|\w{3} \w{3} \d\d \d\d:\d\d:\d\d(\.\d+)? \d{4} \w+', '<time>', 'g');
END $$;

-- Just its SQLSTATE and message.
CREATE FUNCTION test.code(call text) RETURNS text LANGUAGE sql AS
	$$ SELECT split_part(test.refusal(call), E'\n', 1) $$;

-- Everything that an operation writes, except what the dispatcher takes away.
CREATE FUNCTION test.digest() RETURNS text LANGUAGE sql AS $$
	SELECT md5(concat(
		(SELECT string_agg(d::text, E'\n' ORDER BY d.id) FROM miosa.deployments d),
		(SELECT string_agg(v::text, E'\n' ORDER BY v.deployment_id, v.id) FROM miosa.versions v),
		(SELECT string_agg(r::text, E'\n' ORDER BY r.deployment_id, r.id) FROM miosa.releases r),
		(SELECT string_agg(k::text, E'\n' ORDER BY k.deployment_id, k.key) FROM miosa.idempotency_keys k),
		(SELECT string_agg(a::text, E'\n' ORDER BY a.deployment_id, a.seq) FROM miosa.audit_events a))) $$;

-- How many operations, events and keys a deployment has; seq has no gaps when
-- the first two and the highest seq agree.
CREATE FUNCTION test.count(dep text) RETURNS text LANGUAGE sql AS $$
	SELECT format('seq %s, %s events up to #%s, %s keys, active %s', d.seq,
		(SELECT count(*) FROM miosa.audit_events a WHERE a.deployment_id = dep),
		(SELECT max(a.seq) FROM miosa.audit_events a WHERE a.deployment_id = dep),
		(SELECT count(*) FROM miosa.idempotency_keys k WHERE k.deployment_id = dep),
		d.active_version_id)
	FROM miosa.deployments d WHERE d.id = dep $$;

-- Statements for \gexec that wait until this session has read a setting.
CREATE FUNCTION test.until_read(setting text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('SELECT pg_sleep(0.05) WHERE current_setting(%1$L) <> coalesce((SELECT f.setting FROM pg_file_settings f '
		'WHERE f.name = %1$L ORDER BY f.seqno DESC LIMIT 1), (SELECT s.boot_val FROM pg_settings s WHERE s.name = %1$L))', setting)
	FROM generate_series(1, 1200) $$;

-- What rollbacks do to holds is tested where it is turned on.
SET miosa_rollback.hold_after_rollback = off;

\set cleanup :abs_srcdir '/cleanup.sql'
RESET client_min_messages;
\set ECHO all
