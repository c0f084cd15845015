-- miosa_page(): what is on it, in which order, and that a text stays a text.  The
-- browser's view of it is in t/199_page.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\set cleanup :abs_srcdir '/cleanup.sql'
\i :fixture
BEGIN;
SET timezone = 'UTC';
SET LOCAL miosa_rollback.actor = 'user:ana';
CREATE OR REPLACE FUNCTION miosa.is_delivering() RETURNS boolean LANGUAGE sql VOLATILE PARALLEL SAFE RETURN true;
CREATE OR REPLACE FUNCTION miosa.dispatcher_words() RETURNS text LANGUAGE sql VOLATILE PARALLEL SAFE RETURN 'running'::text;
-- What the doctor finds depends on the server.
CREATE OR REPLACE FUNCTION miosa.call_doctor(OUT item text, OUT status text, OUT seen text, OUT fix text, OUT needs text) RETURNS SETOF record
	LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$ VALUES ('one', 'ok', 'nothing', '', ''), ('two', 'ok', 'nothing', '', '') $$;
-- A part of the page, a line an element; times are blotted out, and refusals that
-- came from tests before this one.
CREATE FUNCTION test.part(page text, part text) RETURNS SETOF text LANGUAGE sql AS
	$$ SELECT regexp_replace(regexp_replace(m[1], '(&#60;)?\d+ (s|min|h|d)\M( \d+ (min|h)\M)?', 'AGE', 'g'),
		'(\d{4}-)?(\d\d-\d\d )?\d\d:\d\d(:\d\d)?(\.\d{3})?\M', 'TIME', 'g')
	FROM regexp_matches(regexp_replace(page, '<li class="is-bad"><b>\d+</b> refused: (?!DEPLOYMENT_HELD)[^\n]*\n', '', 'g'), part, 'gs') m $$;
\set ECHO queries
-- All is well.
SELECT test.part(miosa_page(), '(<meta http-equiv="refresh"[^>]*>)');
SELECT test.part(miosa_page(), '(<header.*</header>)');
SELECT test.part(miosa_page(), '</header>\n(.*)<h2 id="hour">');
SELECT test.part(miosa_page(), '(<ul class="log" id="recent">.*)</main>');
SELECT page ~ '^<!DOCTYPE html>' AND page ~ '</html>\n$' AS whole, page ~ 'default-src ''none''' AS policy,
	page !~* '<script|<link|<img|@import|url\(' AS needs_nothing, page !~ '[^\x01-\x7f]' AS ascii FROM miosa_page() p (page);

-- Trouble, with texts that would do harm.
SELECT test.history('dep_' || n, 2) FROM generate_series(1, 4) n;
SELECT test.history('dyn_1', 2, 'dynamic');
SELECT count(miosa_hold('dep_2', '</p><script>document.title=''owned''</script> "since" <b>monday</b>')),
	count(miosa_put_freeze('year-end', now() + interval '3 d', reason => '& <u>accounts</u>'));
SET LOCAL session_replication_role = replica;
DELETE FROM miosa.outbox;
DELETE FROM miosa.capacity;
UPDATE miosa.deployments SET serving_version_id = 'ver_1', waiting_since = now() - interval '2 h' WHERE id = 'dyn_1';
UPDATE miosa.deployments SET state = 'failed', name = '<script>document.title=''owned''</script> "Shop" & ''Co''' WHERE id = 'dep_1';
UPDATE miosa.deployments SET name = E'\xe2\x80\xaeleft\x01 \xd7\x97\xd7\xa0 \xf0\x9f\x9b\x92 \n' WHERE id = 'dep_2';
UPDATE miosa.deployments SET state = 'failed', name = repeat('x', 255) WHERE id = 'dep_3';
INSERT INTO miosa.endpoints (name, adapter, url, zone) VALUES ('cdn-1', 'haproxy-map', 'http://cdn-1.invalid', 'eu'),
	('cdn-2', 'haproxy-map', 'http://cdn-2.invalid', 'eu'), ('cdn-3', 'haproxy-map', 'http://cdn-3.invalid', 'us');
INSERT INTO miosa.endpoint_state (endpoint, config, acked_epoch, settled_epoch, verified_epoch, health, acked_at, last_error, last_error_at, generation, resync_after)
	SELECT name, '', 6000000000000, 6000000000000, 6000000000000, CASE name WHEN 'cdn-1' THEN 'backing off' ELSE 'healthy' END, now(),
		'<i>HTTP</i> status 503', now(), generation, NULL FROM miosa.endpoints;
INSERT INTO miosa.dispatcher_state (last_epoch, site, system_identifier, timeline, database_oid, term_since)
	SELECT 6000000000000, '', i.system_identifier, i.timeline, i.database_oid, now() FROM miosa.identity() i
	ON CONFLICT (one) DO UPDATE SET last_epoch = EXCLUDED.last_epoch;
INSERT INTO miosa.route_log (epoch, deployment_id, route_seq, kind, created_at)
	SELECT 5000000000000 + row_number() OVER (ORDER BY id), id, route_seq, 'route', now() - interval '1 d' FROM miosa.deployments;
INSERT INTO miosa.refusals (id, created_at, count, condition, deployment_id, tenant_id, actor_type, actor_id, session_user_name)
	VALUES (-1, now(), 7, 'DEPLOYMENT_HELD', 'dep_2', 'ten_1', 'user', 'ci', 'app');
SET LOCAL session_replication_role = origin;
SELECT test.part(miosa_page(), '(<header.*</header>)');
SELECT test.part(miosa_page(), '(<ol .*</ol>)');
SELECT test.part(miosa_page(), '(<h2 id="(?:hour|stops|zones)">.*?</ul>(?:\n<ul.*?</ul>)?)');
SELECT page !~* '<script|<i>|<u>|<img|<b>[^0-9]' AS texts, page !~ '[^\x01-\x7f]' AS ascii FROM miosa_page() p (page);

-- One deployment, by any name of it.
SELECT test.part(miosa_page('dep_2'), '(<header.*</header>)');
SELECT test.part(miosa_page('dep-2'), '(<h2 id="next">.*<dt>hosts)');
SELECT test.part(miosa_page('dep-2.acme.miosa.app'), '(<table id="candidate-list".*</table>)');
SELECT test.part(miosa_page('dep_2'), '(<h2 id="(?:edges|history)">.*?</ul>\n)');
SELECT page ~ '<svg [^>]*role="img"' AS picture, page !~* '<script|<i>|<u>|<b>' AS texts, page !~ '[^\x01-\x7f]' AS ascii FROM miosa_page('dep_2') p (page);
SELECT test.part(miosa_page('dyn_1'), '<h1 id="headline">(.*?)</h1>');
-- Refused as by the console.
SAVEPOINT s;
SELECT test.refusal($$SELECT miosa_page('nosuch')$$);
SELECT test.code($$SELECT miosa_page(E'a\nb')$$), test.code($$SELECT miosa_page('')$$), test.code($$SELECT miosa_page(repeat('x', 256))$$);

-- The doctor's faults are on it, worst first; warnings make nothing bad.
CREATE OR REPLACE FUNCTION miosa.call_doctor(OUT item text, OUT status text, OUT seen text, OUT fix text, OUT needs text) RETURNS SETOF record
	LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$ VALUES ('one', 'ok', 'nothing', '', ''), ('two', 'warn', '1 < 2', 'See one.', ''), ('three', 'fail', 'locked', 'SELECT 1;', '') $$;
SELECT test.part(miosa_page(), '(<h2 id="doctor">.*</p>)');
SELECT test.part(miosa_page(), '<p id="sum">(.*?)</p>');

-- Only so many are shown, and how many more there are is said.
SET LOCAL session_replication_role = replica;
INSERT INTO miosa.deployments (id, tenant_id, name, slug, state, active_version_id)
	SELECT 'many_' || n, 'ten_1', 'Many', 'many-' || n, 'failed', 'ver_1' FROM generate_series(1, 5000) n;
INSERT INTO miosa.holds (deployment_id, tenant_id, since, seq, actor_type, actor_id) SELECT 'many_' || n, 'ten_1', now() - interval '1 d', 1, 'user', 'ana' FROM generate_series(1, 30) n;
INSERT INTO miosa.endpoints (name, adapter, url, zone) SELECT 'far-' || n, 'haproxy-map', 'http://far.invalid', 'z' || n FROM generate_series(1, 50) n;
SET LOCAL session_replication_role = origin;
SELECT test.part(miosa_page(), '<p[^>]*>(and [^<]*)</p>');
SELECT test.part(miosa_page(), '<h1 id="headline">(.*?)</h1>'), length(miosa_page()) < 100000 AS bounded;
ROLLBACK;

-- It changes nothing: a transaction that may not write makes it.
BEGIN READ ONLY;
SELECT miosa_page() ~ '</html>' AS made;
ROLLBACK;
\i :cleanup
