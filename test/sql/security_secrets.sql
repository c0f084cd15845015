-- Secrets are bound to where they were put for: who may set up endpoints may
-- not read them.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

-- On a slow machine the dispatcher may not run yet, of which endpoints warn.
SET client_min_messages = error;
CREATE FUNCTION test.scope(secret text) RETURNS text LANGUAGE sql AS $$
	SELECT format('origins %s, adapters %s, endpoints %s', s.origins, s.adapters, s.endpoints) FROM miosa.secrets s WHERE s.name = $1
$$;
CREATE ROLE regress_miosa_setup IN ROLE miosa_admin;
GRANT USAGE ON SCHEMA test TO regress_miosa_setup;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA test TO regress_miosa_setup;
SET ROLE regress_miosa_setup;

-- Promise: the first endpoint that names a secret binds it, to the origin of
-- its URL and to its adapter.
SELECT miosa_put_secret('edge', 'hush');
RESET ROLE;
SELECT test.scope('edge');
SET ROLE regress_miosa_setup;
SELECT count(*) FROM miosa_put_endpoint('e1', 'webhook', 'https://Edge.example.com:443/x', secret => 'edge');
RESET ROLE;
SELECT test.scope('edge');
SET ROLE regress_miosa_setup;

-- Promise (attack 7): neither another server nor another adapter gets it
-- without its value; the same server does, by whatever path.
SELECT test.refusal($$SELECT miosa_put_endpoint('mine', 'webhook', 'https://thief.example.net', secret => 'edge')$$);
SELECT test.refusal($$SELECT miosa_put_endpoint('e1', 'webhook', 'https://edge.example.com:8443', secret => 'edge')$$);
SELECT test.refusal($$SELECT miosa_put_endpoint('e1', 'webhook', 'http://edge.example.com', secret => 'edge')$$);
SELECT test.refusal($$SELECT miosa_put_endpoint('e1', 'caddy', 'https://edge.example.com', secret => 'edge')$$);
SELECT test.refusal($$SELECT miosa_put_storage('s3://other/', 'https://thief.example.net', secret => 'edge')$$);
SELECT count(*) FROM miosa_put_endpoint('e2', 'webhook', 'https://edge.example.com/other', secret => 'edge');
SELECT name, url FROM miosa.endpoints ORDER BY name;
-- What the hint proposes, with the value, is what it takes
SELECT miosa_put_secret('edge', 'hush', origins => '{https://edge.example.com,https://thief.example.net}', adapters => '{webhook}');
SELECT count(*) FROM miosa_put_endpoint('mine', 'webhook', 'https://thief.example.net', secret => 'edge');
-- Promise: another value leaves the binding alone, also where an endpoint has
-- been led elsewhere meanwhile.
RESET ROLE;
UPDATE miosa.endpoints SET url = 'https://elsewhere.example.net' WHERE name = 'e2';
SET ROLE regress_miosa_setup;
SELECT miosa_put_secret('edge', 'husher', keep_previous => true);
RESET ROLE;
SELECT test.scope('edge'), miosa.reveal(value), miosa.reveal(previous) FROM miosa.secrets WHERE name = 'edge';
SET ROLE regress_miosa_setup;

-- Promise: the earlier value, which signs as well, goes nowhere else by a new one.
SELECT test.refusal($$SELECT miosa_put_secret('edge', 'mine', keep_previous => true, origins => '{https://other.example.net}')$$);
SELECT test.refusal($$SELECT miosa_put_secret('edge', 'mine', keep_previous => true, adapters => '{webhook,caddy}')$$);
SELECT miosa_put_secret('edge', 'husher', keep_previous => true, origins => '{https://edge.example.com,https://thief.example.net}', adapters => '{webhook}');

-- Promise: origins may be of a domain; a name that only ends like it is another.
SELECT miosa_put_secret('fleet', 'hush', origins => '{https://*.cdn.example.com,http://[::1]:8080}', adapters => '{*}');
SELECT u.url, test.refusal(format('SELECT miosa_put_endpoint(%L, %L, %L, secret => %L)', 'f' || u.n, 'webhook', u.url, 'fleet'))
FROM unnest(ARRAY['https://a.cdn.example.com/x', 'https://a.b.cdn.example.com', 'https://cdn.example.com', 'https://.cdn.example.com',
	'https://a.cdn.example.com:444', 'http://a.cdn.example.com', 'https://evilcdn.example.com', 'http://[::1]:8080/y']) WITH ORDINALITY u (url, n);
SELECT o, test.refusal(format('SELECT miosa_put_secret(%L, %L, origins => ARRAY[%L])', 'odd', 'x', o))
FROM unnest(ARRAY['', 'edge.example.com', 'ftp://a', 'https://', 'https://a:', 'https://a:123456', 'https://*', 'https://a.*.b', 'https://a b', 'https://a"', '**']) o;
SELECT test.refusal($$SELECT miosa_put_secret('odd', 'x', origins => ARRAY[NULL])$$);
-- A path is cut off, as it is of an endpoint's URL
SELECT miosa_put_secret('odd', 'x', origins => '{HTTPS://Edge.Example.com:443/x}');
RESET ROLE;
SELECT test.scope('odd');

-- Promise: storage binds it as well.
SET ROLE regress_miosa_setup;
SELECT miosa_put_secret('s3', 'KEYID:SECRET');
SELECT count(*) FROM miosa_put_storage('s3://bucket/', 'https://s3.example.com', secret => 's3');
SELECT test.refusal($$SELECT miosa_put_storage('s3://bucket/', 'https://thief.example.net', secret => 's3')$$);
SELECT test.refusal($$SELECT miosa_put_endpoint('mine', 'webhook', 'https://thief.example.net', secret => 's3')$$);
RESET ROLE;
SELECT test.scope('s3');

-- Promise: a secret that comes after its endpoint, or again, is bound to it.
INSERT INTO miosa.endpoints (name, adapter, url, secret) VALUES ('late', 'webhook', 'https://late.example.com', 'late');
SELECT miosa_put_secret('late', 'hush');
SELECT test.scope('late');

-- Promise: an adapter whose requests change needs the value again; one that
-- changes otherwise does not.
INSERT INTO miosa.adapters (name, request) VALUES ('own', '{"method": "PUT", "path": "/", "headers": {"x": "{secret}"}}');
SELECT miosa_put_secret('own', 'hush');
SELECT count(*) FROM miosa_put_endpoint('own', 'own', 'https://own.example.com', secret => 'own');
UPDATE miosa.adapters SET description = 'x', timeout = '1 s' WHERE name = 'own';
SELECT test.scope('own');
UPDATE miosa.adapters SET request = '{"method": "PUT", "path": "/{deployment_id}", "headers": {"y": "{secret}"}}' WHERE name = 'own';
SELECT test.scope('own');
SELECT test.refusal($$SELECT miosa_put_endpoint('own', 'own', 'https://own.example.com', secret => 'own')$$);

-- Nor has another adapter it that comes after one and has its name.
SELECT miosa_put_secret('own', 'hush', adapters => '{own}');
DELETE FROM miosa.endpoints WHERE name = 'own';
SELECT miosa_remove_adapter('own');
SELECT count(*) FROM miosa_put_adapter('own', '{"request": {"method": "GET", "path": "/{secret}"}}');
SELECT test.refusal($$SELECT miosa_put_endpoint('own', 'own', 'https://own.example.com', secret => 'own')$$);

-- Promise: a value is not repeated by a call that fails.
SELECT test.refusal($$SELECT miosa_put_secret('own', ' hush hush ')$$);

DROP OWNED BY regress_miosa_setup;
DROP ROLE regress_miosa_setup;
\i :cleanup
