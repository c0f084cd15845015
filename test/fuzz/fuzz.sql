-- What "make fuzz" runs. Each function returns whether its input was taken,
-- and raises an error when what came out is not what may come out.

CREATE FUNCTION tokens() RETURNS text[] LANGUAGE sql IMMUTABLE AS $$ SELECT ARRAY[
	E'\r\n', E'\n', E'\r', E'\t', E'\x01', E'\x1b', E'\x7f', E'\u0085', E'\u2028', E'\u3002', E'\uFF0E', ' ', '  ',
	'"', '''', '\', '\"', '\n', '\u0000', '\r\nX-Evil: 1', E'\r\nX-Evil: 1', E'\n\nGET / HTTP/1.1', '&&', '||', '==', '~',
	' && obj.status == 200', ' || true', '" + "', '{', '}', '{host}', '{secret}', '{secret:key}', '{nothing}', '%', '%00',
	'%0d%0a', '%2e%2e', '%2F', ';', ':', '/', '//', '/..', '../', '.', '..', '-', '_', '?', '#', '@', '$', '$( id)', '`id`', '|',
	'&', '=', ',', '+', '!', '(', ')', '[', ']', '<', '>', '</Path>', '<!--', '&amp;', '*', '*.', '^', 'é', 'ß', 'İ', 'K',
	'😀', 'xn--', 'A', 'Z', 'a', '0', '9', repeat('x', 300), '{"a":1}', '[]', 'null', 'true', '1e9', '-1'
] $$;

-- Every way in which a value lands in a request, for one variable.
CREATE FUNCTION request_for(name text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
	SELECT jsonb_build_object('method', 'PURGE', 'path', '/a/{' || name || '}/b',
		'headers', jsonb_build_object('x-value', 'v-{' || name || '}-v'),
		'body', '{"inside":"a {' || name || '} z","alone":{' || name || '},"end":1}')
$$;
CREATE FUNCTION text_request_for(name text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
	SELECT jsonb_build_object('method', 'POST', 'path', '/', 'body', '<Reference>{' || name || '}</Reference>')
$$;

CREATE TABLE kinds (name text PRIMARY KEY, valid text NOT NULL, alphabet text NOT NULL, in_text boolean NOT NULL);
INSERT INTO kinds VALUES
	('host', 'www.example.com', '^(\*\.)?[a-z0-9._-]+$', true),
	('deployment_id', 'dep_01H:x-1.2', '^[A-Za-z0-9._:@#-]+$', true),
	('version_id', 'ver_7', '^[A-Za-z0-9._:@#-]+$', true),
	('message_id', 'dep_1@1099511627776', '^[A-Za-z0-9._:@#-]+$', true),
	('origin', 'eu.16384', '^[A-Za-z0-9._-]+$', true),
	('epoch', '1099511627776', '^(0|[1-9][0-9]*)$', true),
	('storage_uri', 's3://bucket/dep_1/ver_1.tar.zst', '^[A-Za-z0-9._~:/?#[\]@!$&''()*+,;=%-]+$', false),
	('secret', 'Token with spaces 1', '^[ -~]+$', false);

CREATE FUNCTION percent_decode(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	hex text := '';
	part text[];
BEGIN
	IF value !~ '%' THEN
		RETURN value;
	END IF;
	FOR part IN SELECT regexp_matches(value, '%([0-9A-F]{2})|([^%])', 'g') LOOP
		hex := hex || coalesce(part[1], encode(convert_to(part[2], 'UTF8'), 'hex'));
	END LOOP;
	RETURN convert_from(decode(hex, 'hex'), 'UTF8');
END $$;

CREATE FUNCTION mutated(valid text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	value text := valid;
	tokens text[] := tokens();
	place integer;
BEGIN
	FOR turn IN 1 .. floor(random() * 3)::integer LOOP
		place := floor(random() * (length(value) + 1))::integer;
		value := left(value, place) || tokens[1 + floor(random() * cardinality(tokens))::integer] || right(value, length(value) - place);
	END LOOP;
	IF random() < 0.05 THEN
		value := chr(1 + floor(random() * 1000)::integer) || substr(value, 1, floor(random() * 5)::integer);
	ELSIF random() < 0.01 THEN
		value := '';
	END IF;
	RETURN value;
END $$;

CREATE FUNCTION finding(what text, input text, got text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'finding: %', what USING DETAIL = format('input %s, got %s', to_json(input), got);
END $$;

-- A value in a path, a header, in and between strings of JSON, and in text.
CREATE FUNCTION try_value(kind kinds, value text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	r jsonb;
	body jsonb;
BEGIN
	BEGIN
		r := miosa.render_request(request_for(kind.name), jsonb_build_object(kind.name, value));
	EXCEPTION WHEN SQLSTATE 'MR400' THEN
		-- A dot alone would be a step in the path.
		IF value ~ kind.alphabet AND value !~ '^\.\.?$' THEN
			PERFORM finding('harmless but refused', value, kind.name || ': ' || SQLERRM);
		END IF;
		RETURN false;
	END;
	IF value !~ kind.alphabet OR value ~ '^\.\.?$' THEN
		PERFORM finding('outside of its alphabet', value, r::text);
	END IF;
	IF r ->> 'url' !~ '^[!-~]*$' OR r ->> 'url' !~ '/a/[^/?#]+/b$'
		OR percent_decode(substring(r ->> 'url' FROM '/a/([^/]+)/b$')) IS DISTINCT FROM value THEN
		PERFORM finding('another URL', value, r ->> 'url');
	END IF;
	IF r -> 'headers' <> jsonb_build_array('x-value: v-' || value || '-v') OR r #>> '{headers,0}' !~ '^[ -~]*$' THEN
		PERFORM finding('another header', value, r ->> 'headers');
	END IF;
	body := (r ->> 'body')::jsonb;
	IF body - 'alone' <> jsonb_build_object('inside', 'a ' || value || ' z', 'end', 1)
		OR body ->> 'alone' IS DISTINCT FROM (CASE kind.name WHEN 'epoch' THEN value::numeric::text ELSE value END) THEN
		PERFORM finding('another body', value, r ->> 'body');
	END IF;
	IF kind.in_text THEN
		r := miosa.render_request(text_request_for(kind.name), jsonb_build_object(kind.name, value));
		IF r ->> 'body' <> '<Reference>' || value || '</Reference>' OR value ~ '[<>&"]' THEN
			PERFORM finding('another text', value, r ->> 'body');
		END IF;
	END IF;
	RETURN true;
END $$;

-- A text of an adapter: what can be set up never makes two headers of one, nor
-- another URL than one below the endpoint's.
CREATE FUNCTION try_template(template text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	r jsonb;
	header text;
BEGIN
	BEGIN
		r := miosa.render_request(jsonb_build_object('method', 'PUT', 'path', '/x' || template, 'headers', jsonb_build_object('x-a', template)),
			'{"host": "h.test", "deployment_id": "d", "version_id": "v", "epoch": "1", "secret": "s"}');
	EXCEPTION WHEN SQLSTATE 'MR400' THEN
		RETURN false;
	END;
	IF r ->> 'url' !~ '^[^ "<>\\^`{|}[:cntrl:]]*/x[!-~]*$' OR r ->> 'url' ~ '#' THEN
		PERFORM finding('a wrong URL from a template', template, r ->> 'url');
	END IF;
	FOR header IN SELECT jsonb_array_elements_text(r -> 'headers') LOOP
		IF header !~ '^[A-Za-z0-9_-]+: [ -~]*$' THEN
			PERFORM finding('a wrong header from a template', template, header);
		END IF;
	END LOOP;
	RETURN true;
END $$;

-- A name and a value of a header that somebody sets up.
CREATE FUNCTION try_header(name text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	BEGIN
		PERFORM miosa.render_request(jsonb_build_object('method', 'PUT', 'path', '', 'headers', jsonb_build_object(name, 'v')), '{}');
	EXCEPTION WHEN SQLSTATE 'MR400' THEN
		RETURN false;
	END;
	IF name !~ '^[A-Za-z0-9_-]{1,100}$' THEN
		PERFORM finding('a wrong name of a header', name, 'accepted');
	END IF;
	RETURN true;
END $$;

-- A host as it is defined: what is taken can be sent. It is taken back at
-- once, so that it can come again.
CREATE FUNCTION try_host(host text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	stored text;
BEGIN
	BEGIN
		PERFORM miosa_put_domain(host, 'dep_1');
		SELECT d.fqdn INTO STRICT stored FROM miosa.domains d WHERE d.deployment_id = 'dep_1';
		RAISE EXCEPTION USING ERRCODE = 'XX999';
	EXCEPTION
		WHEN SQLSTATE 'MR400' THEN
			RETURN false;
		WHEN SQLSTATE 'XX999' THEN
			NULL;
	END;
	IF stored !~ '^(\*\.)?[a-z0-9_.-]+$' OR NOT try_value((SELECT k FROM kinds k WHERE k.name = 'host'), stored) THEN
		PERFORM finding('a host that cannot be sent', host, stored);
	END IF;
	RETURN true;
END $$;

SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');

CREATE FUNCTION fuzz(inputs bigint, seed bigint, session integer, OUT what text, OUT n bigint) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	names text[] := '{value,template,header,host}';
	taken bigint[] := '{0,0,0,0}';
	refused bigint[] := '{0,0,0,0}';
	all_kinds kinds[] := ARRAY(SELECT k FROM kinds k ORDER BY k.name);
	kind kinds;
	share double precision;
	i integer;
	ok boolean;
BEGIN
	PERFORM setseed((seed % 1000003) / 1000003.0);
	FOR turn IN 1 .. inputs LOOP
		share := random();
		IF share < 0.8 THEN
			i := 1;
			kind := all_kinds[1 + floor(random() * cardinality(all_kinds))::integer];
			ok := try_value(kind, mutated(kind.valid));
		ELSIF share < 0.9 THEN
			i := 2;
			ok := try_template(mutated('/{host}-{deployment_id}'));
		-- Hosts are for one session alone. Another that defined the same one
		-- would wait for the end of this whole batch: an insert in a block
		-- with EXCEPTION is waited for to the end of the transaction, even
		-- when a savepoint around it has been rolled back.
		ELSIF session > 1 OR share < 0.92 THEN
			i := 3;
			ok := try_header(mutated('x-header'));
		ELSE
			i := 4;
			ok := try_host(mutated('shop.example.com'));
		END IF;
		IF ok THEN
			taken[i] := taken[i] + 1;
		ELSE
			refused[i] := refused[i] + 1;
		END IF;
	END LOOP;
	FOR i IN 1 .. 4 LOOP
		what := names[i] || '-accepted';
		n := taken[i];
		RETURN NEXT;
		what := names[i] || '-refused';
		n := refused[i];
		RETURN NEXT;
	END LOOP;
END $$;
