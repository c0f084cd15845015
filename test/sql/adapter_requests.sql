-- Adapters: what each of them sends, byte for byte; what a value or a row
-- must not do is refused, and the place of the mistake is named.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

SET client_min_messages = warning;

-- What a request is about, for all of them.
CREATE TABLE test.given AS SELECT jsonb_build_object(
	'url', 'http://edge.test', 'changed_at', '2026-01-02T03:04:05.000006Z', 'count', 3, 'deployment_id', 'dep_1',
	'deployment_ids', '["dep_1", "dep_2"]'::jsonb, 'epoch', 1099511627776, 'host', 'shop.test',
	'hosts', '["shop.test", "*.shop.test"]'::jsonb,
	'plain_hosts', '["shop.test"]'::jsonb, 'wildcard_hosts', '["*.shop.test"]'::jsonb, 'domain', 'shop.test', 'instance_id', '148ed599c14189', 'kind', 'static', 'message_id', 'dep_1@1099511627776',
	'operation_id', 'dep_1#7', 'origin', 'eu.16384', 'release_id', 'rel_2', 'removed_hosts', '["old.test"]'::jsonb,
	'secret', 'user:pass/word', 'secret:other', 'another', 'sha256', 'e3b0c442',
	'storage_uri', 's3://bucket/a&b?c=d', 'tenant_id', 'ten_1', 'version_id', 'ver_2', 'version_number', 2, 'workload', 'shop-v2') AS given;

-- A request as it goes over the wire, but for what a signer adds.
CREATE FUNCTION test.wire(request jsonb, changes jsonb DEFAULT '{}', charsets jsonb DEFAULT '{}')
RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(E'\n', (s.sent ->> 'method') || ' ' || (s.sent ->> 'url'),
		(SELECT string_agg('    ' || h.line, E'\n') FROM jsonb_array_elements_text(s.sent -> 'headers') h (line)),
		'    ' || (s.sent ->> 'body'))
	FROM test.given g, LATERAL (SELECT miosa.render_request(request, g.given || changes, charsets)) s (sent)
	WHERE request IS NOT NULL $$;

-- The same for a text with variables in each place that there is.
CREATE FUNCTION test.places(template text, changes jsonb DEFAULT '{}') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	place record;
BEGIN
	FOR place IN SELECT * FROM (VALUES
		('path', jsonb_build_object('method', 'GET', 'path', '/' || template)),
		('header', jsonb_build_object('method', 'GET', 'path', '', 'headers', jsonb_build_object('x', template))),
		('json', jsonb_build_object('method', 'PUT', 'path', '', 'body', '[' || template || ']')),
		('string', jsonb_build_object('method', 'PUT', 'path', '', 'body', '["' || template || '"]')),
		('xml', jsonb_build_object('method', 'PUT', 'path', '', 'body', '<a>' || template || '</a>')),
		('form', jsonb_build_object('method', 'PUT', 'path', '', 'headers', '{"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}'::jsonb,
			'body', 'a=' || template)),
		('text', jsonb_build_object('method', 'PUT', 'path', '', 'body', 'a=' || template))) v (name, request)
	LOOP
		BEGIN
			RETURN NEXT place.name || ': ' || regexp_replace(test.wire(place.request, changes), '^\S+ http://edge\.test/?(\s+content-type.*UTF-8)?(\s+)?', '');
		EXCEPTION WHEN SQLSTATE 'MR400' THEN
			DECLARE
				reason text;
			BEGIN
				GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL;
				RETURN NEXT place.name || ' refused: ' || reason;
			END;
		END;
	END LOOP;
END $$;

-- How a row is refused that has these columns.
CREATE FUNCTION test.wrong(columns jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
BEGIN
	INSERT INTO miosa.adapters SELECT (jsonb_populate_record(a, '{"name": "wrong", "builtin": false}' || columns)).*
		FROM miosa.adapters a WHERE a.name = 'varnish-xkey';
	DELETE FROM miosa.adapters WHERE name = 'wrong';
	RETURN 'not refused';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RETURN CASE WHEN message = 'invalid adapter' THEN detail ELSE message END;
END $$;

-- Every shipped adapter
SELECT format(E'-- %s: request\n%s', a.name, test.wire(a.request)) FROM miosa.adapters a ORDER BY a.name COLLATE "C";
SELECT format(E'-- %s: add\n%s', a.name, test.wire(a.add)) FROM miosa.adapters a WHERE a.add IS NOT NULL ORDER BY a.name COLLATE "C";
SELECT format(E'-- %s: remove\n%s', a.name, test.wire(a.remove)) FROM miosa.adapters a WHERE a.remove IS NOT NULL ORDER BY a.name COLLATE "C";
SELECT format(E'-- %s: wildcards\n%s\n%s', a.name, test.wire(a.wildcard_request, '{"host": "*.shop.test", "domain": "shop.test"}'),
	test.wire(a.wildcard_remove, '{"host": "*.shop.test", "domain": "shop.test"}'))
FROM miosa.adapters a WHERE a.wildcard_request IS NOT NULL ORDER BY a.name COLLATE "C";
SELECT a.name, a.wildcards FROM miosa.adapters a WHERE a.role = 'edge' ORDER BY a.name COLLATE "C";
SELECT format(E'-- %s: markers\n%s\n%s', a.name, test.wire(a.marker_write), test.wire(a.marker_read))
FROM miosa.adapters a WHERE a.marker_read IS NOT NULL ORDER BY a.name COLLATE "C";
SELECT format(E'-- %s: poll\n%s', a.name, test.wire(a.poll)) FROM miosa.adapters a WHERE a.poll IS NOT NULL ORDER BY a.name COLLATE "C";
SELECT name, healthy_json_path, poll_valid, poll_interval FROM miosa.adapters WHERE poll IS NOT NULL ORDER BY name COLLATE "C";
SELECT name, stage, per, settle, timeout, max_in_flight, batch_max, batch_bytes, rate, burst
FROM miosa.adapters WHERE builtin ORDER BY name COLLATE "C";
SELECT name, success, success_json_path, verdicts, signer, signer_options
FROM miosa.adapters WHERE builtin AND (success IS NOT NULL OR success_json_path IS NOT NULL OR verdicts <> '{}' OR signer <> 'none')
ORDER BY name COLLATE "C";

-- What serves nothing, and has no secret
SELECT test.wire(request, '{"version_id": null, "hosts": [], "plain_hosts": [], "wildcard_hosts": []}') FROM miosa.adapters WHERE name = 'caddy';
SELECT test.wire(request, '{"version_id": null, "version_number": null, "release_id": null, "storage_uri": null, "sha256": null,
	"operation_id": null, "hosts": [], "removed_hosts": [], "changed_at": null}') FROM miosa.adapters WHERE name = 'webhook';
SELECT test.wire(request, '{"secret": null}') FROM miosa.adapters WHERE name = 'nginx-plus-keyval';
SELECT test.refusal($$SELECT test.wire('{"method": "GET", "path": "/{secret}"}', '{"secret": null}')$$);
SELECT test.refusal($$SELECT test.wire('{"method": "GET", "path": "/{version_id}"}', '{"version_id": null}')$$);
SELECT test.refusal($$SELECT test.wire('{"method": "GET", "path": "/{secret:nosuch}"}')$$);

-- Each place has its way of writing a value
SELECT test.places('{host}');
SELECT test.places('{epoch}');
SELECT test.places('{operation_id}');
SELECT test.places('{storage_uri}');
SELECT test.places('{secret}', '{"secret": "a\"b<c>&d''e\\f %41"}');
SELECT test.places('{secret|base64}');
SELECT test.places('{secret:other|base64}');
SELECT test.places('{hosts}');
SELECT test.places('{hosts|space}');
SELECT test.places('{deployment_ids|comma}');
SELECT test.places('{removed_hosts|comma}', '{"removed_hosts": []}');
SELECT test.places('{routes}');
SELECT test.places('{routes|comma}');
SELECT test.places('{routes}', '{"sha256": "a b"}');
SELECT test.places('{routes}', '{"routes": []}');
SELECT test.places('{host|space}');
SELECT test.places('{hosts|base64}');
SELECT test.places('{host|upper}');
SELECT test.places('{host|}');
SELECT test.places('{host|base64|base64}');
SELECT test.places('{host:b}');
SELECT test.places('{secret:}');
SELECT test.places('{Host}');
SELECT test.places('{host');
SELECT test.places('{');
SELECT test.places('a|b');

-- A base URL and a path are joined by one slash; without a path the URL is
-- sent as it is
SELECT test.wire(jsonb_build_object('method', 'GET', 'path', v.path), jsonb_build_object('url', v.url))
FROM (VALUES ('http://e', ''), ('http://e/', ''), ('http://e', '/x'), ('http://e/', '/x'), ('http://e/a', '/x'), ('http://e/a/', '/x'),
	('http://e/a/', ''), ('http://e/a//', '/x'), ('http://e/', '/{host}')) v (url, path);

-- Values that would say something else than what they are
SELECT to_json(v.value), test.refusal(format('SELECT test.wire(%L, %L)',
	'{"method": "BAN", "path": "/", "headers": {"x-ban-host": "{host}"}}', jsonb_build_object('host', v.value))) LIKE 'MR400 the request cannot be sent%' AS refused
FROM unnest(ARRAY['b.test && obj.status == 200', 'b.test || 1', 'b.test"', 'b.test''', 'b.test~.', E'b.test\rX: 1', E'b.test\nX: 1',
	E'b.test\r\n\r\nGET /', E'b.test\t', 'b.test/', 'b.test/../x', '../x', 'b.test?a=b', 'b.test#', 'b.test%00', 'b.test%0d%0aX:1', 'b.test:80',
	'user@b.test', 'B.TEST', 'b.test ', ' b.test', '', '*', '*.', '*.*.test', 'a.*.test', 'a*.test', '**.test', 'bücher.test', 'b.test;x', 'b,c.test',
	'b<c>.test', 'b&c.test', 'b\c.test', '{host}', '$(id)', '`id`', 'b.test' || chr(127), E'b.test\xc2\x85', E'b.test\xe2\x80\xa8']) v (value);
SELECT to_json(v.value), test.refusal(format('SELECT test.wire(%L, %L)',
	'{"method": "PATCH", "path": "/id/{deployment_id}"}', jsonb_build_object('deployment_id', v.value))) LIKE 'MR400 the request cannot be sent%' AS refused
FROM unnest(ARRAY['.', '..', 'a/..', '%2e%2e', 'a b', 'a"b', 'a&b', 'a=b', 'a?b', 'a,b', 'a+b', E'a\nb', E'a\xc2\xa0', '', '...', 'dep:1', 'dep.1', 'dep#1', 'dep@1', '-']) v (value);
SELECT v.request, test.refusal(format('SELECT test.wire(%L, %L)', v.request, '{"deployment_id": ".", "version_id": "."}')) LIKE 'MR400 the request cannot be sent%' AS refused
FROM unnest(ARRAY['{"method": "GET", "path": "/{deployment_id}/x"}', '{"method": "GET", "path": "/{deployment_id}{version_id}"}',
	'{"method": "GET", "path": "/x/.{deployment_id}?y"}', '{"method": "GET", "path": "/x?y=/{deployment_id}"}', '{"method": "GET", "path": "/x-{deployment_id}"}']) v (request);
SELECT to_json(v.value), test.refusal(format('SELECT test.wire(%L, %L)',
	'{"method": "PUT", "path": "", "body": "[{epoch}]"}', jsonb_build_object('epoch', v.value))) LIKE 'MR400 the request cannot be sent%' AS refused
FROM unnest(ARRAY['1', '0', '007', '-1', '1e3', '1.5', '1,2', '0x10', 'null', '']) v (value);
SELECT test.wire('{"method": "PUT", "path": "", "body": "<a b=\"{storage_uri}\">{secret}</a>"}', '{"storage_uri": "s3://a/''&amp;", "secret": "]]>\"<x>"}');
SELECT test.wire('{"method": "PUT", "path": "", "body": {"{deployment_id}": ["{secret}"]}}', '{"secret": "\",\"x\":[\"\\"}');
SELECT test.wire('{"method": "PUT", "path": "", "body": " \n[\"{secret}\"]"}', '{"secret": "\",\"x"}');
SELECT test.wire('{"method": "PUT", "path": "", "body": "\"{secret}\""}', '{"secret": "\",\"x"}');
SELECT test.wire('{"method": "PUT", "path": "", "body": " <a>{secret}</a>"}', '{"secret": "<b>"}');

-- Values that are no values
SELECT test.refusal($$SELECT miosa.render_request('{"method": "GET", "path": ""}', '{"nosuch": "x"}')$$);
SELECT test.refusal($$SELECT miosa.render_request('{"method": "GET", "path": ""}', '{"hosts": "x"}')$$);
SELECT test.refusal($$SELECT miosa.render_request('{"method": "GET", "path": ""}', '{"hosts": [["x"]]}')$$);
SELECT test.refusal($$SELECT miosa.render_request('{"method": "GET", "path": ""}', '{"host": true}')$$);
SELECT test.refusal($$SELECT miosa.render_request('{"method": "GET", "path": ""}', '[]')$$);
SELECT test.refusal($$SELECT miosa.render_request(NULL, '{}')$$);
SELECT test.refusal($$SELECT miosa.render_request('{"method": "get", "path": ""}', '{}')$$);

-- Alphabets can be narrowed, not widened
SELECT v.host, test.code(format('SELECT test.wire(%L, %L, %L)', '{"method": "GET", "path": "/{host}"}',
	jsonb_build_object('host', v.host), '{"host": "a-z0-9.-"}'))
FROM unnest(ARRAY['shop.test', 'shop_1.test', '*.shop.test', 'shop.test/']) v (host);
SELECT test.wire('{"method": "GET", "path": "/{hosts|comma}"}', '{}', '{"hosts": "*.a-z"}');
SELECT v.charsets, test.wrong(jsonb_build_object('charsets', v.charsets::jsonb))
FROM unnest(ARRAY['[]', '"a-z"', '{"nosuch": "a-z"}', '{"host": 1}', '{"host": ""}', '{"host": "a-z0-9.-/"}', '{"host": "A-Z"}', '{"host": "0-Z"}',
	'{"host": "z-a"}', '{"host": "a-zé"}', '{"host": "a\n"}', '{"epoch": "0-9a"}', '{"host": "a-z", "deployment_id": "a b"}',
	'{"host": "-a-c-", "deployment_id": "a-zA-Z0-9", "epoch": "0-9"}']) v (charsets);

-- Requests that cannot be sent
SELECT v.request, test.wrong(jsonb_build_object('request', v.request::jsonb))
FROM unnest(ARRAY['null', '"x"', '[]', '{}', '{"method": "PUT"}', '{"method": 1, "path": ""}', '{"method": "", "path": ""}', '{"method": "put", "path": ""}',
	'{"method": "CONNECT", "path": ""}', '{"method": "PUT", "path": 1}', '{"method": "PUT", "path": "x"}', '{"method": "PUT", "path": "/a b"}',
	'{"method": "PUT", "path": "/#a"}', '{"method": "PUT", "path": "/é"}', '{"method": "PUT", "path": "/../x"}', '{"method": "PUT", "path": "/a/./b?c"}',
	'{"method": "PUT", "path": "/{host"}', '{"method": "PUT", "path": "/host}"}', '{"method": "PUT", "path": "/{nosuch}"}', '{"method": "PUT", "path": "/a|b"}',
	'{"method": "PUT", "path": "/{hosts}"}', '{"method": "PUT", "path": "/{deployment_id|space}"}', '{"method": "PUT", "path": "/{host}"}',
	'{"method": "PUT", "path": "", "headers": []}', '{"method": "PUT", "path": "", "headers": {"x": 1}}', '{"method": "PUT", "path": "", "headers": {"x": ""}}',
	'{"method": "PUT", "path": "", "headers": {"x": " a"}}', '{"method": "PUT", "path": "", "headers": {"x y": "a"}}', '{"method": "PUT", "path": "", "headers": {"x:": "a"}}',
	'{"method": "PUT", "path": "", "headers": {"": "a"}}', '{"method": "PUT", "path": "", "headers": {"x": "a\r\ny: b"}}', '{"method": "PUT", "path": "", "headers": {"X": "a", "x": "b"}}',
	'{"method": "PUT", "path": "", "headers": {"Transfer-Encoding": "chunked"}}', '{"method": "PUT", "path": "", "headers": {"x": "{hosts}"}}',
	'{"method": "PUT", "path": "", "body": 1}', '{"method": "PUT", "path": "", "body": "{\"a\": {epoch}"}', '{"method": "PUT", "path": "", "body": "{\"a\": {epoch}}}"}',
	'{"method": "PUT", "path": "", "body": "[{hosts|space}]"}', '{"method": "PUT", "path": "", "body": "<a>{hosts}</a>"}', '{"method": "PUT", "path": "", "body": "[\"{hosts}\"]"}',
	'{"method": "HEAD", "path": "", "body": "x"}', '{"method": "PUT", "path": "", "url": "x"}']) v (request);

-- Columns that are wrong, or contradict each other
SELECT v.columns, test.wrong(v.columns::jsonb)
FROM unnest(ARRAY['{"role": "router"}', '{"stage": 2}', '{"settle": "1 h"}', '{"timeout": "0"}', '{"max_in_flight": 0}',
	'{"batch_max": 0}', '{"batch_max": 20000}', '{"batch_bytes": 10}', '{"rate": 0}', '{"rate": -1}', '{"rate": "NaN"}', '{"rate": "Infinity"}', '{"burst": 0}',
	'{"success": []}', '{"success": [200, 99]}', '{"success": [null]}', '{"success": [600]}', '{"success_json_path": "$."}',
	'{"verdicts": []}', '{"verdicts": "x"}', '{"verdicts": {"402x": "message"}}', '{"verdicts": {"99": "message"}}', '{"verdicts": {"4xx": "message"}}',
	'{"verdicts": {"600": "message"}}', '{"verdicts": {"0404": "message"}}', '{"verdicts": {"404": "success"}}', '{"verdicts": {"404": 1}}', '{"verdicts": {"404": null}}',
	'{"verdicts": {"204": "message"}}', '{"success": [200, 404], "verdicts": {"404": "message"}}', '{"verdicts": {"404": "message", "410": "gone", "302": "message"}}',
	'{"add": {"method": "POST", "path": "/x y"}}', '{"add": {"method": "POST", "path": ""}, "success": [200, 404]}',
	'{"add": {"method": "POST", "path": ""}, "verdicts": {"404": "message"}}', '{"remove": {"method": "DELETE", "path": ""}}', '{"remove": {"method": "DELETE"}}',
	'{"volatile": true}', '{"marker_write": {"method": "PUT", "path": "/m"}}', '{"marker_write": {"method": "PUT", "path": "/{host}/{epoch}"}}',
	'{"marker_read": {"method": "GET", "path": "/{version_id}"}}',
	'{"batch_max": 2}', '{"batch_max": 2, "per": "host"}', '{"batch_max": 2, "request": {"method": "PUT", "path": "/{deployment_ids|comma}/{version_id}"}}',
	'{"batch_max": 2, "request": {"method": "PUT", "path": "/{deployment_ids|comma}"}}', '{"batch_max": 2, "request": {"method": "PUT", "path": "", "body": "{\"r\":{routes}}"}}',
	'{"wildcards": false}', '{"wildcard_request": {"method": "PUT", "path": "/{domain}"}}',
	'{"per": "host", "wildcard_request": {"method": "PUT", "path": "/{domain}"}}', '{"per": "host", "wildcards": false, "wildcard_request": {"method": "PUT", "path": "/{domain}"}}',
	'{"per": "host", "wildcard_remove": {"method": "PUT", "path": "/{domain}"}}',
	'{"per": "host", "remove": {"method": "PUT", "path": "/{host}"}, "wildcard_request": {"method": "PUT", "path": "/{domain}"}}',
	'{"signer": "hmac"}', '{"signer": "header"}', '{"signer": "header", "request": {"method": "PUT", "path": "", "headers": {"x": "{secret:other}"}}}', '{"signer_options": []}',
	'{"signer_options": {"service": "s3"}}', '{"signer": "sigv4"}', '{"signer": "sigv4", "signer_options": {"service": "s3"}}', '{"signer": "sigv4", "signer_options": {"service": "s3", "region": ""}}',
	'{"signer": "sigv4", "signer_options": {"service": "s3", "region": "eu:1"}}', '{"signer": "sigv4", "signer_options": {"service": "s3", "region": "eu", "bucket": "b"}}',
	'{"signer": "sigv4", "signer_options": {"service": "s3", "region": "eu"}, "request": {"method": "GET", "path": "/a?b=c"}}',
	'{"signer": "sigv4", "signer_options": {"service": "s3", "region": "eu"}, "request": {"method": "GET", "path": "/a+b"}}',
	'{"signer": "sigv4", "signer_options": {"service": "s3", "region": "eu"}, "request": {"method": "GET", "path": "", "headers": {"Authorization": "x"}}}',
	'{"signer": "sigv4", "signer_options": {"service": "s3", "region": "eu"}, "request": {"method": "GET", "path": "/{deployment_id}/a%2Bb"}}',
	'{"signer": "standard-webhooks", "request": {"method": "POST", "path": "", "headers": {"x": "{secret}"}}}',
	'{"signer": "standard-webhooks", "per": "host"}',
	'{"signer": "standard-webhooks", "request": {"method": "POST", "path": "", "headers": {"Webhook-Id": "x"}}}']) v (columns);

-- Rows for schedulers: what they must say, and what only edges have; and what
-- only schedulers have
SELECT v.columns, test.wrong('{"stage": 0, "settle": "0", "self_expires": false, "role": "scheduler",
	"request": {"method": "PUT", "path": "/{workload}/{count}"}}' || v.columns::jsonb)
FROM unnest(ARRAY[
	'{}',
	'{"request": {"method": "PUT", "path": "/{workload}"}}',
	'{"request": {"method": "PUT", "path": "/{host}/{count}"}}',
	'{"request": {"method": "PUT", "path": "/{epoch}/{count}"}}',
	'{"request": {"method": "PUT", "path": "/{count}", "body": "[{routes}]"}}',
	'{"request": {"method": "PUT", "path": "/{instance_id}/{count}"}}',
	'{"per": "host"}',
	'{"batch_max": 2}',
	'{"self_expires": true}',
	'{"add": {"method": "PUT", "path": "/{workload}/{count}"}}',
	'{"volatile": true, "marker_write": {"method": "PUT", "path": "/{epoch}"}, "marker_read": {"method": "GET", "path": "/"}}',
	'{"remove": {"method": "PUT", "path": "/{workload}/{count}"}}',
	'{"per": "instance"}',
	'{"per": "instance", "request": {"method": "PUT", "path": "/{instance_id}"}}',
	'{"per": "instance", "request": {"method": "PUT", "path": "/{instance_id}"}, "remove": {"method": "DELETE", "path": "/{workload}"}}',
	'{"per": "instance", "request": {"method": "PUT", "path": "/{instance_id}"}, "remove": {"method": "DELETE", "path": "/{instance_id}"}}',
	'{"per": "instance", "request": {"method": "PUT", "path": "/{instance_id}"}, "remove": {"method": "DELETE", "path": "/{instance_id}"}, "poll": {"method": "GET", "path": "/"}, "healthy_json_path": "$.n"}',
	'{"poll": {"method": "GET", "path": "/{workload}"}}',
	'{"healthy_json_path": "$.n"}',
	'{"poll_valid": "$.n > 1"}',
	'{"poll": {"method": "GET", "path": "/{count}"}, "healthy_json_path": "$.n"}',
	'{"poll": {"method": "GET", "path": "/{hosts|comma}"}, "healthy_json_path": "$.n"}',
	'{"poll": {"method": "GET", "path": "/{nosuch}"}, "healthy_json_path": "$.n"}',
	'{"poll": {"method": "GET", "path": "/{workload}"}, "healthy_json_path": "$.n["}',
	'{"poll": {"method": "GET", "path": "/{workload}"}, "healthy_json_path": "$.n", "poll_interval": "0"}',
	'{"poll": {"method": "GET", "path": "/{workload}"}, "healthy_json_path": "$.n", "poll_valid": "$.ok == true"}',
	'{"signer": "sigv4", "signer_options": {"service": "a", "region": "b"}, "poll": {"method": "GET", "path": "/a b"}, "healthy_json_path": "$.n"}',
	'{"signer": "sigv4", "signer_options": {"service": "a", "region": "b"}, "poll": {"method": "GET", "path": "/?b=a"}, "healthy_json_path": "$.n"}']) v (columns);
SELECT v.columns, test.wrong(v.columns::jsonb)
FROM unnest(ARRAY['{"per": "instance"}', '{"poll": {"method": "GET", "path": "/"}}', '{"healthy_json_path": "$.n"}', '{"poll_valid": "$.n > 1"}',
	'{"request": {"method": "PUT", "path": "/{workload}"}}', '{"request": {"method": "PUT", "path": "/{count}"}}']) v (columns);

-- Rows for alerts: only hooks, with {alert} as JSON, and nothing about routes
SELECT v.columns, test.wrong('{"stage": 0, "settle": "0", "self_expires": false, "role": "hook", "alerts": true,
	"request": {"method": "POST", "path": "", "headers": {"Content-Type": "application/json"}, "body": "{\"a\":{alert},\"n\":{epoch}}"}}' || v.columns::jsonb)
FROM unnest(ARRAY['{}', '{"role": "edge"}', '{"role": "audit"}', '{"role": "scheduler"}', '{"alerts": false}', '{"per": "host"}', '{"batch_max": 2}', '{"settle": "1 s"}',
	'{"add": {"method": "POST", "path": ""}}', '{"volatile": true, "marker_write": {"method": "PUT", "path": "/{epoch}"}, "marker_read": {"method": "GET", "path": "/"}}',
	'{"request": {"method": "POST", "path": "/{alert}"}}', '{"request": {"method": "POST", "path": "/{deployment_id}"}}', '{"request": {"method": "POST", "path": "/{statement}"}}',
	'{"request": {"method": "POST", "path": "", "headers": {"Content-Type": "application/json"}, "body": "{\"a\":\"{alert}\"}"}}',
	'{"request": {"method": "POST", "path": "", "headers": {"Content-Type": "application/json"}, "body": "{\"a\":{alert|base64}}"}}']) v (columns);
SELECT miosa.render_request(a.request, '{"alert": "{\"name\": \"a\\u00fcb\"}", "epoch": "3", "message_id": "m", "changed_at": "t"}') ->> 'body' AS body
FROM miosa.adapters a WHERE a.name = 'alert-webhook';

-- Secrets are put and rotated; what is refused is not shown
SELECT test.refusal($$SELECT miosa_put_secret('a b', 'x')$$);
SELECT test.refusal($$SELECT miosa_put_secret('a', NULL)$$);
SELECT test.refusal(format('SELECT miosa_put_secret(''a'', %L)', v)) FROM unnest(ARRAY['', ' hush', 'hush ', E'hu\nsh', 'húsh']) v;
CREATE FUNCTION test.put_secret(value text, keep boolean) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM miosa_put_secret('a', value, keep);
	RETURN (SELECT concat_ws(', before: ', miosa.reveal(s.value), miosa.reveal(s.previous)) FROM miosa.secrets s WHERE s.name = 'a');
END $$;
SELECT test.put_secret(v.value, v.keep)
FROM (VALUES ('one', true), ('two', true), ('two', true), ('two', false), ('three', true), ('four', true), ('five', false)) v (value, keep);

-- Nothing that renders a value shows it, nor does what refuses one
SELECT test.put_secret(v.value, true) FROM unnest(ARRAY['hush', 'husher']) v (value);
SELECT s.value, s.value::text, 'is ' || s.value, format('%s', s.previous), to_jsonb(s) - 'created_at' AS json, s::text LIKE '(a,***,***,%' AS row,
	encode(miosa.hidden_text_send(s.value), 'escape') AS binary
FROM miosa.secrets s;
COPY miosa.secrets (name, value, previous) TO STDOUT;
SELECT miosa_put_secret('b', '***');
SELECT test.refusal(format('UPDATE miosa.secrets SET previous = %L::text', v)) FROM unnest(ARRAY['***', 'hush ', E'hu\nsh', 'húsh', '']) v;
SELECT test.refusal($$UPDATE miosa.secrets SET name = 'hush it', value = 'hushest'$$);
DELETE FROM miosa.secrets WHERE name = 'a';

-- An endpoint that cannot be signed for says so, and nothing is sent
INSERT INTO miosa.secrets (name, value, previous) VALUES
	('plain', 'not-a-whsec', NULL), ('short', 'whsec_' || encode('too short', 'base64'), NULL), ('base64', 'whsec_????????????????????????????????', NULL),
	('long', 'whsec_' || translate(encode(convert_to(repeat('x', 65), 'UTF8'), 'base64'), E'\n', ''), NULL),
	('old', 'whsec_' || encode(convert_to(repeat('x', 24), 'UTF8'), 'base64'), 'plain'), ('pair', 'KEYID:', NULL), ('four', 'a:b:c:d', NULL);
INSERT INTO miosa.adapters (name, request, verdicts) VALUES ('mine', '{"method": "PUT", "path": "/"}', '{"404": "message"}');
SELECT miosa_put_endpoint(replace(v.adapter, '-', '') || '-' || coalesce(v.secret, 'none'), v.adapter, v.url, secret => v.secret, enabled => false) IS NULL
FROM (VALUES ('webhook', 'plain', 'http://edge.test'), ('webhook', 'short', 'http://edge.test'), ('webhook', 'base64', 'http://edge.test'),
	('webhook', 'long', 'http://edge.test'), ('webhook', 'old', 'http://edge.test'), ('fastly', NULL, 'http://edge.test'), ('cloudfront', NULL, 'http://edge.test'),
	('cloudfront', 'plain', 'http://edge.test'), ('cloudfront', 'pair', 'http://edge.test'), ('cloudfront', 'four', 'http://edge.test'),
	('mine', NULL, 'http://edge.test')) v (adapter, secret, url) \g /dev/null
SELECT miosa_test_endpoint(e.name) -> 'data' ->> 'verdict' FROM miosa.endpoints e WHERE e.name <> 'mine-none' ORDER BY e.name COLLATE "C";

-- Nor is one whose adapter somebody has broken
ALTER TABLE miosa.adapters DISABLE TRIGGER adapters_check;
UPDATE miosa.adapters SET verdicts = '{"404": "success"}' WHERE name = 'mine';
SELECT miosa_test_endpoint('mine-none') -> 'data' ->> 'verdict';
UPDATE miosa.adapters SET verdicts = '{}', batch_max = 7, request = '{"method": "PUT", "path": "/{version_id}"}' WHERE name = 'mine';
SELECT miosa_test_endpoint('mine-none') -> 'data' ->> 'verdict';
ALTER TABLE miosa.adapters ENABLE TRIGGER adapters_check;

-- Nor one whose selector is not what a selector is
UPDATE miosa.adapters SET request = '{"method": "PUT", "path": "/"}', batch_max = 1 WHERE name = 'mine';
SET session_replication_role = replica;
UPDATE miosa.endpoints SET selector = '["deployment", "tenant", "kind"]' WHERE name = 'mine-none';
SELECT miosa_test_endpoint('mine-none') -> 'data' ->> 'verdict';
UPDATE miosa.endpoints SET selector = '"deployment"' WHERE name = 'mine-none';
SELECT miosa_test_endpoint('mine-none') -> 'data' ->> 'verdict';
UPDATE miosa.endpoints SET selector = '{}' WHERE name = 'mine-none';
RESET session_replication_role;

-- What no row of the table could be is refused all the same
SELECT v.adapter, test.refusal(format('SELECT miosa.check_adapter(%L)', v.adapter))
FROM unnest(ARRAY['[]', '1', '{}', '{"request": 1, "success": 200}', '{"request": [], "verdicts": [1]}',
	'{"request": {"method": "PUT", "path": "/"}, "signer": "none", "success": 200}', '{"request": {"method": "PUT", "path": "/"}, "signer": "none", "success": {"a": 1}}',
	'{"request": {"method": "PUT", "path": "/"}, "signer": "none", "success": "200"}', '{"request": {"method": "PUT", "path": "/"}, "signer": "none", "success": [[200]]}',
	'{"request": {"method": "PUT", "path": "/"}, "signer": "none", "stage": 1e300, "batch_max": -1e300, "rate": 1e999, "timeout": 1e300, "burst": "x"}']) v (adapter);

-- Nor one whose URL cannot be signed, or is none
INSERT INTO miosa.secrets (name, value) VALUES ('key', 'KEYID:KEYSECRET:KEYTOKEN');
SELECT miosa_put_endpoint('front', 'cloudfront', 'http://127.0.0.1:9/a+b', secret => 'key', enabled => false) IS NULL \g /dev/null
SELECT miosa_test_endpoint('front') -> 'data' ->> 'verdict';
ALTER TABLE miosa.endpoints DISABLE TRIGGER endpoints_check;
UPDATE miosa.endpoints SET url = 'nowhere:' WHERE name = 'front';
SELECT miosa_test_endpoint('front') -> 'data' ->> 'verdict';
UPDATE miosa.endpoints SET url = '' WHERE name = 'front';
SELECT miosa_test_endpoint('front') -> 'data' ->> 'verdict';
ALTER TABLE miosa.endpoints ENABLE TRIGGER endpoints_check;

-- Wildcard hosts, where an endpoint can do nothing with them: warned of, and
-- seen by the doctor
SET client_min_messages = warning;
SELECT miosa_put_tenant('ten_w', 'wild'), miosa_put_deployment('dep_w', 'ten_w', 'wild') \g /dev/null
SELECT miosa_put_endpoint('w-xkey', 'varnish-xkey', 'http://edge.test', selector => '{"tenant": "ten_w"}'),
	miosa_put_endpoint('w-nginx', 'nginx-cache-purge', 'http://edge.test', selector => '{"tenant": "ten_w"}') \g /dev/null
SELECT miosa_put_domain('plain.wild.test', 'dep_w') IS NULL;
SELECT miosa_put_domain('*.wild.test', 'dep_w') IS NULL;
SELECT * FROM miosa.wildcard_gaps();
SELECT miosa_put_endpoint('w-purge', 'varnish-purge', 'http://edge.test', selector => '{"tenant": "ten_w"}') IS NULL;
SELECT d.status, d.seen FROM miosa_doctor() d WHERE to_jsonb(d)::text LIKE '%"wildcards"%';
SELECT miosa_set_endpoint('w-purge', false), miosa_set_endpoint('w-nginx', false) \g /dev/null
SELECT d.status, d.seen FROM miosa_doctor() d WHERE to_jsonb(d)::text LIKE '%"wildcards"%';
SELECT miosa_put_domain('*.wild.test', 'dep_w') IS NULL;
SELECT r -> 'data' ->> 'deployment_id' FROM unnest(ARRAY['a.wild.test', 'plain.wild.test', 'a.b.wild.test', 'wild.test']) h, LATERAL miosa_route(h) r;

-- Addresses that nobody outside could reach are not connected to
SELECT count(miosa_put_endpoint('e' || v.n, 'varnish-xkey', 'http://' || v.host, enabled => false))
FROM unnest(ARRAY['0.0.0.0', '10.0.0.1', '100.64.0.1', '127.0.0.1:9', '127.1:9', '2130706433:9', '169.254.169.254', '172.16.0.1', '172.31.255.254', '192.0.0.1',
	'192.0.2.1', '192.88.99.1', '192.168.1.1', '198.18.0.1', '198.51.100.1', '203.0.113.1', '224.0.0.1', '240.0.0.1', '255.255.255.255',
	'[::]', '[::1]:9', '[::127.0.0.1]:9', '[::ffff:127.0.0.1]:9', '[::ffff:8.8.8.8]', '[64:ff9b::7f00:1]', '[64:ff9b:1::1]', '[100::1]', '[2001::1]', '[2001:db8::1]',
	'[2002:7f00:1::]', '[3fff::1]', '[5f00::1]', '[fc00::1]', '[fd12:3456::1]', '[fe80::1]', '[fec0::1]', '[ff02::1]']) WITH ORDINALITY v (host, n);
SELECT t.verdict, count(*) FROM miosa.endpoints e, LATERAL (SELECT miosa_test_endpoint(e.name) -> 'data' ->> 'verdict') t (verdict)
WHERE e.name ~ '^e\d' GROUP BY 1;

\i :cleanup
