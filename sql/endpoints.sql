-- Delivery: who is told what, how, and whether they have acknowledged it.
--
-- What people set (adapters, endpoints, secrets) and what the dispatcher
-- writes (endpoint_state, delivery_failures, dispatcher_state) are apart, so
-- that a person's open transaction never stands in the dispatcher's way.  For
-- the same reason the dispatcher's tables have no foreign keys.

CREATE TABLE miosa.adapters (
	name text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
	description text NOT NULL DEFAULT '',
	role text NOT NULL DEFAULT 'edge' CHECK (role IN ('edge', 'scheduler', 'hook')),
	stage integer NOT NULL DEFAULT 0 CHECK (stage IN (0, 1)),
	per text NOT NULL DEFAULT 'deployment' CHECK (per IN ('deployment', 'host', 'instance')),
	self_expires boolean NOT NULL DEFAULT false,
	settle interval NOT NULL DEFAULT '0'
		CONSTRAINT "settle must be from 0 to 10 minutes" CHECK (settle BETWEEN '0' AND '10 min'),
	timeout interval NOT NULL DEFAULT '5 s'
		CONSTRAINT "timeout must be from 10 ms to 5 minutes" CHECK (timeout BETWEEN '10 ms' AND '5 min'),
	max_in_flight integer NOT NULL DEFAULT 8 CHECK (max_in_flight BETWEEN 1 AND 1000),
	batch_max integer NOT NULL DEFAULT 1 CHECK (batch_max BETWEEN 1 AND 10000),
	batch_bytes integer NOT NULL DEFAULT 65536 CHECK (batch_bytes BETWEEN 1024 AND 1048576),
	rate real CHECK (rate BETWEEN 0.001 AND 100000),
	burst integer NOT NULL DEFAULT 1 CHECK (burst BETWEEN 1 AND 100000),
	success integer[] CHECK (success IS NULL OR cardinality(success) > 0),
	success_json_path jsonpath,
	verdicts jsonb NOT NULL DEFAULT '{}',
	signer text NOT NULL DEFAULT 'none' CHECK (signer IN ('none', 'header', 'standard-webhooks', 'sigv4')),
	signer_options jsonb NOT NULL DEFAULT '{}',
	charsets jsonb NOT NULL DEFAULT '{}',
	request jsonb NOT NULL,
	add jsonb,
	remove jsonb,
	wildcards boolean NOT NULL,
	wildcard_request jsonb,
	wildcard_remove jsonb,
	volatile boolean NOT NULL DEFAULT false,
	marker_write jsonb,
	marker_read jsonb,
	marker_interval interval NOT NULL DEFAULT '5 s'
		CONSTRAINT "marker_interval must be from 100 ms to 1 day" CHECK (marker_interval BETWEEN '100 ms' AND '1 day'),
	poll jsonb,
	healthy_json_path jsonpath,
	poll_valid jsonpath,
	poll_interval interval NOT NULL DEFAULT '2 s'
		CONSTRAINT "poll_interval must be from 100 ms to 1 hour" CHECK (poll_interval BETWEEN '100 ms' AND '1 hour'),
	builtin boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE miosa.adapters IS 'How to talk to one kind of endpoint; a request is an object with method, path, headers and body, whose texts may hold {variables}';
COMMENT ON COLUMN miosa.adapters.name IS 'Name of the adapter';
COMMENT ON COLUMN miosa.adapters.description IS 'What it talks to, for people';
COMMENT ON COLUMN miosa.adapters.role IS 'edge (told routes, or to forget them, and waited for), hook (the same, but not waited for) or scheduler (asked for the instances of dynamic versions)';
COMMENT ON COLUMN miosa.adapters.stage IS '0: told first (routers); 1: told when stage 0 of its zone has acknowledged (caches)';
COMMENT ON COLUMN miosa.adapters.per IS 'deployment: one request a deployment; host: one request for each of its hosts; instance (schedulers): one request for each instance to start or to stop';
COMMENT ON COLUMN miosa.adapters.self_expires IS 'Whether it forgets by itself, so that silence ends in the right state after the deployment''s route_ttl';
COMMENT ON COLUMN miosa.adapters.settle IS 'When every request is repeated, because a fetch under way can bring the old page back: at least the cache''s time-out for fetches; 0 for never';
COMMENT ON COLUMN miosa.adapters.timeout IS 'Longest time for one request';
COMMENT ON COLUMN miosa.adapters.max_in_flight IS 'Most requests at the same time to one endpoint';
COMMENT ON COLUMN miosa.adapters.batch_max IS 'Most deployments in one request, with {deployment_ids} and {hosts}; more than 1 only when per is deployment';
COMMENT ON COLUMN miosa.adapters.batch_bytes IS 'Longest body of a request for several deployments';
COMMENT ON COLUMN miosa.adapters.rate IS 'Most requests a second to one endpoint; null for no limit';
COMMENT ON COLUMN miosa.adapters.burst IS 'Requests that may come at once before rate counts';
COMMENT ON COLUMN miosa.adapters.success IS 'HTTP statuses that mean success; null means every 2xx, as always for the marker';
COMMENT ON COLUMN miosa.adapters.success_json_path IS 'What must be true of the answer''s body besides, for example $.success == true; null for nothing';
COMMENT ON COLUMN miosa.adapters.verdicts IS 'What other statuses mean where the default is wrong, {"400": "endpoint"}: endpoint, message or gone (README.md tells each and the defaults)';
COMMENT ON COLUMN miosa.adapters.signer IS 'none; header (a header holds {secret}, so the endpoint must have one); standard-webhooks (the secret is whsec_ and base64); sigv4 (the secret is KEYID:SECRET or KEYID:SECRET:TOKEN)';
COMMENT ON COLUMN miosa.adapters.signer_options IS 'For sigv4: {"service": "cloudfront", "region": "us-east-1"}';
COMMENT ON COLUMN miosa.adapters.charsets IS 'Fewer characters for the values of a variable, {"host": "a-z0-9.-"}; what has others is not sent';
COMMENT ON COLUMN miosa.adapters.request IS 'The request that tells a route, or a scheduler how many instances of a version there shall be: {"method", "path", "headers": {}, "body"}';
COMMENT ON COLUMN miosa.adapters.add IS 'The request that is sent instead when request is answered 404, because the entry is not there yet; null when none is needed';
COMMENT ON COLUMN miosa.adapters.remove IS 'The request for a host that is no longer routed, when per is host, or for an instance that shall stop, when per is instance; null when none is needed';
COMMENT ON COLUMN miosa.adapters.wildcards IS 'Whether it can do what it is told of a wildcard host (*.example.com), by default unless per is host; otherwise the host does not converge';
COMMENT ON COLUMN miosa.adapters.wildcard_request IS 'The request for a wildcard host, with {domain}, when per is host; null: request, with the wildcard as {host}';
COMMENT ON COLUMN miosa.adapters.wildcard_remove IS 'The same for remove';
COMMENT ON COLUMN miosa.adapters.volatile IS 'Whether it loses its table at a restart without telling, so that a marker has to be read back';
COMMENT ON COLUMN miosa.adapters.marker_write IS 'The request that writes the marker, with {epoch}';
COMMENT ON COLUMN miosa.adapters.marker_read IS 'The request whose answer''s body is the marker; 404 means that it is lost';
COMMENT ON COLUMN miosa.adapters.marker_interval IS 'How often the marker is read back';
COMMENT ON COLUMN miosa.adapters.poll IS 'The request that asks a scheduler how many instances of a version are healthy; null when instances are reported with miosa_report_instance';
COMMENT ON COLUMN miosa.adapters.healthy_json_path IS 'Where that number is in the answer''s body, for example $.status.readyReplicas; when nothing is there it is 0 where poll_valid holds, else the answer is no answer';
COMMENT ON COLUMN miosa.adapters.poll_valid IS 'What must be true of the body of a poll''s answer, for example $.kind == "Deployment"; null for nothing';
COMMENT ON COLUMN miosa.adapters.poll_interval IS 'How often is polled while instances are missing or are being stopped; afterwards every miosa_rollback.capacity_interval, as their heartbeat';
COMMENT ON COLUMN miosa.adapters.builtin IS 'Shipped with the extension: cannot be changed (copy it under another name), not dumped; only the extension''s own scripts set it';

-- What convergence has to look up in the outbox; routes are not in it, because
-- every rollback would pay for that.
CREATE INDEX outbox_waiting ON miosa.outbox (deployment_id) WHERE kind IN ('repurge', 'settings');
CREATE INDEX route_log_repurges ON miosa.route_log (deployment_id, host, epoch) WHERE kind = 'repurge';

CREATE TABLE miosa.endpoints (
	name text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
	adapter text COLLATE "C" NOT NULL REFERENCES miosa.adapters,
	url text NOT NULL,
	zone text COLLATE "C" NOT NULL DEFAULT 'default' CHECK (zone ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
	stage integer CHECK (stage IN (0, 1)),
	selector jsonb NOT NULL DEFAULT '{}',
	secret text COLLATE "C",
	enabled boolean NOT NULL DEFAULT true,
	reason text,
	generation bigint NOT NULL DEFAULT 0,
	origin text,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT "times must be from 1970 to 2199" CHECK (least(created_at, updated_at) >= '1970-01-01 00:00:00+00'
		AND greatest(created_at, updated_at) < '2200-01-01 00:00:00+00')
);
COMMENT ON TABLE miosa.endpoints IS 'Who is told: routers, caches, webhooks; and the schedulers that are asked for instances';
COMMENT ON COLUMN miosa.endpoints.name IS 'Name of the endpoint';
COMMENT ON COLUMN miosa.endpoints.adapter IS 'How to talk to it';
COMMENT ON COLUMN miosa.endpoints.url IS 'Base URL, http or https; the adapter''s path is appended, with one slash between them';
COMMENT ON COLUMN miosa.endpoints.zone IS 'Caches wait for the routers of their zone';
COMMENT ON COLUMN miosa.endpoints.stage IS 'Overrides the adapter''s stage; null means the adapter''s';
COMMENT ON COLUMN miosa.endpoints.selector IS 'Which deployments it is told of: {"tenant": ..., "kind": ..., "deployment": ...}, each a text or an array of texts; {} means all';
COMMENT ON COLUMN miosa.endpoints.secret IS 'Name in miosa.secrets of what {secret} stands for';
COMMENT ON COLUMN miosa.endpoints.enabled IS 'Whether it is told anything';
COMMENT ON COLUMN miosa.endpoints.reason IS 'Why it is disabled';
COMMENT ON COLUMN miosa.endpoints.generation IS 'Raised by every change that matters and by miosa_resync: tell it everything again';
COMMENT ON COLUMN miosa.endpoints.origin IS 'Installation that it was added in: a restored copy of the database must not tell it';
COMMENT ON COLUMN miosa.endpoints.created_at IS 'When it was added';
COMMENT ON COLUMN miosa.endpoints.updated_at IS 'When it was last changed';

-- Whatever renders a value calls the type's output or send function: SELECT,
-- COPY, the first copy of a subscription, every output plugin of logical
-- decoding, messages.  So it is the type that keeps secrets, not a list of all
-- the ways out.  Its input function checks them, since a CHECK would have to
-- read them with the rights of whoever writes.
CREATE TYPE miosa.hidden_text;

CREATE FUNCTION miosa.hidden_text_in(cstring) RETURNS miosa.hidden_text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_hidden_text_in';
COMMENT ON FUNCTION miosa.hidden_text_in(cstring) IS 'Input function of miosa.hidden_text: refuses what cannot be sent in a header';

CREATE FUNCTION miosa.hidden_text_out(miosa.hidden_text) RETURNS cstring
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_hidden_text_out';
COMMENT ON FUNCTION miosa.hidden_text_out(miosa.hidden_text) IS 'Output function of miosa.hidden_text: three asterisks, whatever the value';

CREATE FUNCTION miosa.hidden_text_recv(internal) RETURNS miosa.hidden_text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_hidden_text_recv';
COMMENT ON FUNCTION miosa.hidden_text_recv(internal) IS 'Binary input function of miosa.hidden_text';

CREATE FUNCTION miosa.hidden_text_send(miosa.hidden_text) RETURNS bytea
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_hidden_text_send';
COMMENT ON FUNCTION miosa.hidden_text_send(miosa.hidden_text) IS 'Binary output function of miosa.hidden_text: three asterisks, whatever the value';

CREATE TYPE miosa.hidden_text (
	INPUT = miosa.hidden_text_in, OUTPUT = miosa.hidden_text_out,
	RECEIVE = miosa.hidden_text_recv, SEND = miosa.hidden_text_send,
	LIKE = text
);
COMMENT ON TYPE miosa.hidden_text IS 'A text that can be written, and is shown to nobody';
CREATE CAST (text AS miosa.hidden_text) WITH INOUT AS ASSIGNMENT;

CREATE FUNCTION miosa.reveal(miosa.hidden_text) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_reveal';
COMMENT ON FUNCTION miosa.reveal(miosa.hidden_text) IS 'The text itself; nobody but the owner may call it';

CREATE FUNCTION miosa.read_secret(stored text) RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_read_secret';
COMMENT ON FUNCTION miosa.read_secret(text) IS 'Value of a secret as it is stored, from its file if it is in one; null when that cannot be used';

CREATE FUNCTION miosa.secret_problem(stored text) RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_secret_problem';
COMMENT ON FUNCTION miosa.secret_problem(text) IS 'Why the file of a secret cannot be used; null when it can, or there is none';

CREATE TABLE miosa.secrets (
	name text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
	value miosa.hidden_text NOT NULL,
	previous miosa.hidden_text,
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT "times must be from 1970 to 2199" CHECK (created_at >= '1970-01-01 00:00:00+00' AND created_at < '2200-01-01 00:00:00+00')
);
COMMENT ON TABLE miosa.secrets IS 'Secrets of endpoints and storages; used by the dispatcher and by what asks storage, never dumped or shown';
COMMENT ON COLUMN miosa.secrets.name IS 'Name that endpoints, storages and templates use';
COMMENT ON COLUMN miosa.secrets.value IS 'The secret, or file: and which file has it; shown as ***';
COMMENT ON COLUMN miosa.secrets.previous IS 'The secret that is being rotated out: standard-webhooks signs with both; null when there is none';
COMMENT ON COLUMN miosa.secrets.created_at IS 'When it was written';

CREATE TABLE miosa.endpoint_state (
	endpoint text COLLATE "C" PRIMARY KEY,
	config text NOT NULL,
	generation bigint NOT NULL DEFAULT 0,
	acked_epoch bigint NOT NULL DEFAULT 0,
	settled_epoch bigint NOT NULL DEFAULT 0,
	verified_epoch bigint NOT NULL DEFAULT 0,
	marker_epoch bigint NOT NULL DEFAULT 0,
	resync_after text COLLATE "C" DEFAULT '',
	health text NOT NULL DEFAULT 'new',
	failures integer NOT NULL DEFAULT 0,
	last_status integer,
	last_error text,
	last_error_at timestamptz,
	last_success_at timestamptz,
	next_try_at timestamptz,
	acked_at timestamptz
) WITH (fillfactor = 50);
COMMENT ON TABLE miosa.endpoint_state IS 'How far each endpoint has come; written by the dispatcher alone';
COMMENT ON COLUMN miosa.endpoint_state.endpoint IS 'Endpoint';
COMMENT ON COLUMN miosa.endpoint_state.config IS 'Fingerprint of what it was set up as; another one means that everything is told again';
COMMENT ON COLUMN miosa.endpoint_state.generation IS 'Generation of the endpoint that this is about; that of another one says nothing';
COMMENT ON COLUMN miosa.endpoint_state.acked_epoch IS 'Everything up to here is acknowledged, but for delivery_failures and a resync under way';
COMMENT ON COLUMN miosa.endpoint_state.settled_epoch IS 'Everything up to here has been repeated after the adapter''s settle time';
COMMENT ON COLUMN miosa.endpoint_state.verified_epoch IS 'Newest epoch whose marker was read back from a volatile endpoint';
COMMENT ON COLUMN miosa.endpoint_state.marker_epoch IS 'Marker that was written to a volatile endpoint; 0 for none';
COMMENT ON COLUMN miosa.endpoint_state.resync_after IS 'While everything is told again: the last deployment, in the order of ids, that is done; null when no resync is under way';
COMMENT ON COLUMN miosa.endpoint_state.health IS 'new, healthy, backing off, misconfigured, gone or unverified';
COMMENT ON COLUMN miosa.endpoint_state.failures IS 'Failures in a row';
COMMENT ON COLUMN miosa.endpoint_state.last_status IS 'Last HTTP status';
COMMENT ON COLUMN miosa.endpoint_state.last_error IS 'Last failure, for people; it stays after a success';
COMMENT ON COLUMN miosa.endpoint_state.last_error_at IS 'When that was';
COMMENT ON COLUMN miosa.endpoint_state.last_success_at IS 'When a request last succeeded';
COMMENT ON COLUMN miosa.endpoint_state.next_try_at IS 'When an endpoint that backs off is tried again';
COMMENT ON COLUMN miosa.endpoint_state.acked_at IS 'When acked_epoch was last moved';

CREATE TABLE miosa.delivery_failures (
	endpoint text COLLATE "C" NOT NULL,
	deployment_id text COLLATE "C" NOT NULL,
	epoch bigint NOT NULL,
	status integer,
	attempts integer NOT NULL DEFAULT 0,
	last_error text NOT NULL DEFAULT '',
	first_failed_at timestamptz NOT NULL DEFAULT now(),
	next_try_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (endpoint, deployment_id)
);
COMMENT ON TABLE miosa.delivery_failures IS 'What one endpoint does not take although it works; written by the dispatcher alone';
COMMENT ON COLUMN miosa.delivery_failures.endpoint IS 'Endpoint';
COMMENT ON COLUMN miosa.delivery_failures.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.delivery_failures.epoch IS 'Newest epoch that it did not take';
COMMENT ON COLUMN miosa.delivery_failures.status IS 'Last HTTP status; null when there was none';
COMMENT ON COLUMN miosa.delivery_failures.attempts IS 'Tries so far';
COMMENT ON COLUMN miosa.delivery_failures.last_error IS 'Last failure, for people';
COMMENT ON COLUMN miosa.delivery_failures.first_failed_at IS 'When it first failed';
COMMENT ON COLUMN miosa.delivery_failures.next_try_at IS 'When it is tried again';
CREATE INDEX delivery_failures_deployment ON miosa.delivery_failures (deployment_id);

CREATE TABLE miosa.dispatcher_state (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	term bigint NOT NULL DEFAULT 1 CHECK (term BETWEEN 1 AND 8388607),
	last_epoch bigint NOT NULL,
	trimmed_epoch bigint NOT NULL DEFAULT 0,
	site text COLLATE "C" NOT NULL,
	system_identifier text NOT NULL,
	timeline bigint NOT NULL,
	database_oid oid NOT NULL,
	term_since timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 10);
COMMENT ON TABLE miosa.dispatcher_state IS 'Where the one order of route changes stands, and where it was made; one row';
COMMENT ON COLUMN miosa.dispatcher_state.one IS 'Always true';
COMMENT ON COLUMN miosa.dispatcher_state.term IS 'Upper 24 bits of epochs; rises when another timeline takes over';
COMMENT ON COLUMN miosa.dispatcher_state.last_epoch IS 'Newest epoch given';
COMMENT ON COLUMN miosa.dispatcher_state.trimmed_epoch IS 'Newest epoch that was deleted from route_log';
COMMENT ON COLUMN miosa.dispatcher_state.site IS 'miosa_rollback.site where the dispatcher ran last';
COMMENT ON COLUMN miosa.dispatcher_state.system_identifier IS 'System identifier of that server';
COMMENT ON COLUMN miosa.dispatcher_state.timeline IS 'Its timeline';
COMMENT ON COLUMN miosa.dispatcher_state.database_oid IS 'Its database';
COMMENT ON COLUMN miosa.dispatcher_state.term_since IS 'When the term began: heartbeats from before count from then';

-- What the C code does for SQL.

CREATE FUNCTION miosa.wake() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_wake';
COMMENT ON FUNCTION miosa.wake() IS 'Wakes the dispatcher when the transaction commits; warns when there is none and endpoints exist';

CREATE FUNCTION miosa.request_dispatcher() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_request_dispatcher';
COMMENT ON FUNCTION miosa.request_dispatcher() IS 'Starts a dispatcher for this database when the transaction commits';

CREATE FUNCTION miosa.check_adapter(adapter jsonb) RETURNS void
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_check_adapter';
COMMENT ON FUNCTION miosa.check_adapter(jsonb) IS 'Raises INVALID_ARGUMENT with the place of the mistake when a row of miosa.adapters is wrong or contradicts itself';

CREATE FUNCTION miosa.render_request(request jsonb, "values" jsonb, charsets jsonb DEFAULT '{}') RETURNS jsonb
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_render_request';
COMMENT ON FUNCTION miosa.render_request(jsonb, jsonb, jsonb) IS 'What an adapter''s request would be for these values, before it is signed: {"method", "url", "headers": [...], "body"}';

CREATE FUNCTION miosa.identity(OUT site text, OUT system_identifier text, OUT timeline bigint, OUT database_oid oid)
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_identity';
COMMENT ON FUNCTION miosa.identity() IS 'Where this database is: site, system identifier, timeline (null on a standby) and oid';

CREATE FUNCTION miosa.in_own_script() RETURNS boolean
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'mrb_in_own_script';
COMMENT ON FUNCTION miosa.in_own_script() IS 'Whether the install script of this extension runs, or one of its upgrade scripts';

CREATE FUNCTION miosa.dispatcher(
	OUT state text, OUT pid integer, OUT since timestamptz, OUT epoch bigint,
	OUT passes bigint, OUT routes bigint, OUT sent bigint, OUT acknowledged bigint, OUT failed bigint,
	OUT retried bigint, OUT notified bigint, OUT errors bigint, OUT in_flight bigint, OUT pending bigint, OUT launcher boolean,
	OUT last_pass_at timestamptz, OUT stalled boolean, OUT error text, OUT launcher_pid integer)
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_dispatcher';
COMMENT ON FUNCTION miosa.dispatcher() IS 'The dispatcher of this database as shared memory shows it; miosa.stat_dispatcher tells what the columns mean';

-- Validation.

CREATE FUNCTION miosa.check_url(url text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	problem text := CASE
		WHEN url IS NULL OR url = '' THEN 'it is empty'
		WHEN length(url) > 2000 THEN 'it is longer than 2000 characters'
		WHEN url ~ '[[:cntrl:]]' THEN 'it has control characters'
		WHEN url ~ '[[:space:]]' THEN 'it has spaces'
		WHEN url !~ '^[!-~]*$' THEN 'it has characters outside of ASCII; write them percent-encoded'
		WHEN url !~ '^https?://' THEN 'it must begin with http:// or https://'
		WHEN url ~ '^https?://[^/?#]*@' THEN 'it has credentials; put them into miosa.secrets'
		WHEN url ~ '[?#]' THEN 'it has a query or a fragment'
		WHEN url ~ '["<>\\^`{|}]' THEN 'it has characters that must be percent-encoded'
		WHEN url !~ '^https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/.*)?$' THEN 'its host or port is malformed'
		WHEN substring(url FROM '^https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})')::integer NOT BETWEEN 1 AND 65535 THEN 'its port is not one of 1 to 65535'
	END;
BEGIN
	IF problem IS NOT NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid endpoint URL', 'The URL cannot be used: ' || problem || '.',
			'For example ''http://10.0.0.5:8081''.');
	END IF;
END $$;
COMMENT ON FUNCTION miosa.check_url(text) IS 'Raises INVALID_ARGUMENT when a base URL is not plain http or https';

CREATE FUNCTION miosa.check_selector(selector jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	problem text;
	item record;
BEGIN
	IF selector IS NULL OR jsonb_typeof(selector) <> 'object' THEN
		problem := 'It must be an object.';
	ELSE
		FOR item IN SELECT key, value FROM jsonb_each(selector) LOOP
			IF item.key NOT IN ('tenant', 'kind', 'deployment') THEN
				problem := format('The key "%s" is not known; the keys are tenant, kind and deployment.', item.key);
			ELSIF jsonb_typeof(item.value) <> 'string' AND (jsonb_typeof(item.value) <> 'array'
				OR jsonb_path_exists(item.value, '$[*] ? (@.type() != "string")')) THEN
				problem := format('The value of "%s" must be a text or an array of texts.', item.key);
			END IF;
		END LOOP;
	END IF;
	IF problem IS NOT NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid endpoint selector', problem,
			'A selector is {} for all, or for example {"tenant": "ten_1", "kind": ["static"]}.');
	END IF;
END $$;
COMMENT ON FUNCTION miosa.check_selector(jsonb) IS 'Raises INVALID_ARGUMENT when an endpoint''s selector is malformed';

CREATE FUNCTION miosa.selects(selector jsonb, deployment_id text, tenant_id text, kind text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN selector = '{}' OR (
	(NOT selector ? 'deployment' OR selector->'deployment' ? deployment_id)
	AND (NOT selector ? 'tenant' OR selector->'tenant' ? tenant_id)
	AND (NOT selector ? 'kind' OR selector->'kind' ? kind));
COMMENT ON FUNCTION miosa.selects(jsonb, text, text, text) IS 'Whether an endpoint with this selector is told of a deployment';

-- The installation that endpoints are bound to.  With a site it is also the
-- database's name: a dump restored beside the original is a copy all the same.
CREATE FUNCTION miosa.origin() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN i.site <> '' THEN i.site || '/' || current_database() ELSE i.system_identifier || '/' || i.database_oid::text END
	FROM miosa.identity() i;
END;
COMMENT ON FUNCTION miosa.origin() IS 'Name of this installation: miosa_rollback.site and the database''s name, else system identifier and database';

-- Any difference between where the order of epochs was made and here means
-- that this may be a copy, and a copy must not tell the original's edges.
CREATE FUNCTION miosa.pause_reason() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT CASE
		WHEN s.database_oid <> i.database_oid
			THEN 'this database is a copy of another one'
		WHEN s.site <> i.site
			THEN format('miosa_rollback.site is "%s", but the dispatcher last ran at "%s"', i.site, s.site)
		WHEN i.site = '' AND s.system_identifier <> i.system_identifier
			THEN 'the system identifier has changed: this is a restored or upgraded copy'
		WHEN i.site = '' AND s.timeline <> i.timeline
			THEN 'the timeline has changed: this is a promoted standby or a restored copy'
		ELSE (
			SELECT format('endpoint "%s" was added in another installation', e.name)
			FROM miosa.endpoints e
			WHERE e.enabled AND e.origin <> miosa.origin()
			ORDER BY e.name LIMIT 1)
		END
	FROM miosa.identity() i LEFT JOIN miosa.dispatcher_state s ON true;
END;
COMMENT ON FUNCTION miosa.pause_reason() IS 'Why the dispatcher must not tell anybody before miosa_resume(); null when it may';

CREATE FUNCTION miosa.adapters_check() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	ours CONSTANT boolean := miosa.in_own_script();
BEGIN
	IF TG_OP <> 'INSERT' AND OLD.builtin AND NOT ours THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('adapter "%s" is shipped with the extension', OLD.name),
			'Shipped adapters cannot be changed or deleted.',
			format('INSERT INTO miosa.adapters SELECT (jsonb_populate_record(a, ''{"name": "my-%1$s"}'')).* FROM miosa.adapters a WHERE name = %2$L;',
				left(OLD.name, 60), OLD.name));
	END IF;
	IF TG_OP = 'DELETE' THEN
		RETURN OLD;
	END IF;
	NEW.wildcards := coalesce(NEW.wildcards, NEW.per <> 'host' OR NEW.wildcard_request IS NOT NULL);
	-- A copy of a shipped adapter is not shipped.
	NEW.builtin := NEW.builtin AND ours;
	PERFORM miosa.check_adapter(to_jsonb(NEW));
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.adapters_check() IS 'Trigger: refuses a change of shipped adapters, and what cannot be sent or contradicts itself, with the place of the mistake';

CREATE TRIGGER adapters_check BEFORE INSERT OR UPDATE OR DELETE ON miosa.adapters
	FOR EACH ROW EXECUTE FUNCTION miosa.adapters_check();

CREATE FUNCTION miosa.endpoints_check() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.check_url(NEW.url);
	PERFORM miosa.check_selector(NEW.selector);
	NEW.origin := coalesce(NEW.origin, miosa.origin());
	IF TG_OP = 'UPDATE' THEN
		NEW.updated_at := now();
		IF (NEW.adapter, NEW.url, NEW.zone, NEW.stage, NEW.selector, NEW.enabled)
			IS DISTINCT FROM (OLD.adapter, OLD.url, OLD.zone, OLD.stage, OLD.selector, OLD.enabled) THEN
			NEW.generation := greatest(NEW.generation, OLD.generation + 1);
		END IF;
	END IF;
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.endpoints_check() IS 'Trigger: refuses malformed endpoints and binds new ones to this installation';

CREATE TRIGGER derived BEFORE UPDATE ON miosa.endpoints
	FOR EACH ROW EXECUTE FUNCTION miosa.derived_columns();
CREATE TRIGGER endpoints_check BEFORE INSERT OR UPDATE ON miosa.endpoints
	FOR EACH ROW EXECUTE FUNCTION miosa.endpoints_check();

-- One row a transaction tells the dispatcher to read its settings again.
CREATE FUNCTION miosa.settings_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	INSERT INTO miosa.outbox (deployment_id, kind) VALUES ('', 'settings') ON CONFLICT DO NOTHING;
	PERFORM miosa.wake();
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.settings_changed() IS 'Trigger: has the dispatcher read adapters, endpoints and secrets again';

CREATE TRIGGER settings_changed AFTER INSERT OR UPDATE OR DELETE ON miosa.adapters
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.settings_changed();
CREATE TRIGGER settings_changed AFTER INSERT OR UPDATE OR DELETE ON miosa.endpoints
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.settings_changed();
CREATE TRIGGER settings_changed AFTER INSERT OR UPDATE OR DELETE ON miosa.secrets
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.settings_changed();

-- Endpoints that can do nothing with a wildcard host of a deployment that they
-- are told of.
CREATE FUNCTION miosa.wildcard_gaps(OUT endpoint text, OUT adapter text, OUT fqdn text, OUT deployment_id text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT e.name, a.name, d.fqdn, p.id
	FROM miosa.domains d
	JOIN miosa.deployments p ON p.id = d.deployment_id
	JOIN miosa.endpoints e ON e.enabled AND miosa.selects(e.selector, p.id, p.tenant_id, p.kind)
	JOIN miosa.adapters a ON a.name = e.adapter AND a.role IN ('edge', 'hook') AND NOT a.wildcards
	WHERE d.state = 'active' AND d.fqdn LIKE '*.%'
	ORDER BY e.name COLLATE "C", d.fqdn COLLATE "C";
END;
COMMENT ON FUNCTION miosa.wildcard_gaps() IS 'Endpoints whose adapter can do nothing with a wildcard host that they are told of';

CREATE FUNCTION miosa.warn_of_wildcards(endpoint text, fqdn text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	gap record;
BEGIN
	FOR gap IN SELECT * FROM miosa.wildcard_gaps() g
		WHERE g.endpoint = coalesce(warn_of_wildcards.endpoint, g.endpoint) AND g.fqdn = coalesce(warn_of_wildcards.fqdn, g.fqdn)
		LIMIT 5
	LOOP
		RAISE WARNING 'endpoint "%" can do nothing with the wildcard host "%"', gap.endpoint, gap.fqdn
			USING DETAIL = format('Its adapter "%s" has no request for wildcard hosts, so deployment "%s" does not converge there.',
				gap.adapter, gap.deployment_id),
			HINT = 'SELECT name, description FROM miosa.adapters WHERE role = ''edge'' AND wildcards;';
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.warn_of_wildcards(text, text) IS 'Warns of the rows of miosa.wildcard_gaps() for an endpoint or for a host; null means any';

-- Where every endpoint stands with one deployment.  convergence_api.c looks by
-- these: it has shared memory copied before the snapshot is taken.

CREATE FUNCTION miosa.positions(
	OUT endpoint text, OUT entry integer, OUT generation bigint, OUT acked_epoch bigint, OUT settled_epoch bigint,
	OUT verified_epoch bigint, OUT acked_at timestamptz, OUT resync_after text, OUT health text, OUT last_error text,
	OUT last_error_at timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'mrb_positions';
COMMENT ON FUNCTION miosa.positions() IS 'Where the endpoints that the dispatcher tells stand by shared memory, which knows it before miosa.endpoint_state; resync_after null means that no resync is under way';

CREATE FUNCTION miosa.judge(
	deployment_id text,
	OUT endpoint text, OUT zone text, OUT role text, OUT adapter text, OUT stage integer,
	OUT state text, OUT done boolean, OUT epoch bigint, OUT acked_epoch bigint,
	OUT health text, OUT age interval, OUT error text, OUT entry integer, OUT behind boolean)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
	WITH d AS MATERIALIZED (
		-- Of what was trimmed from the log, it is only known how new it can be.
		SELECT p.id, p.tenant_id, p.kind, p.route_ttl, coalesce(l.epoch, st.trimmed_epoch) AS epoch,
			-- Of what the dispatcher has not taken yet, nothing else is known.
			coalesce(q.created_at, l.created_at) AS created_at,
			EXISTS (SELECT FROM miosa.outbox o WHERE o.deployment_id = '' AND o.kind = 'settings') AS unread,
			q.created_at IS NOT NULL AS queued,
			coalesce(st.term, 1) AS term, st.timeline IS DISTINCT FROM i.timeline
				AND st.timeline IS NOT NULL AND i.timeline IS NOT NULL AS moved
		FROM miosa.deployments p
		CROSS JOIN miosa.identity() i
		LEFT JOIN miosa.dispatcher_state st ON true
		LEFT JOIN LATERAL (
			SELECT g.epoch, g.route_seq, g.created_at FROM miosa.route_log g
			WHERE g.deployment_id = p.id AND g.kind IN ('route', 'host_removed')
			ORDER BY g.epoch DESC LIMIT 1) l ON true
		LEFT JOIN LATERAL (
			SELECT max(o.created_at) AS created_at FROM miosa.outbox o
			WHERE o.deployment_id = p.id AND o.kind IN ('route', 'host_removed')
				AND (l.route_seq IS NULL OR l.route_seq < p.route_seq)) q ON true
		-- It is one row in any case; this tells the planner.
		WHERE p.id = $1 LIMIT 1
	), repurges AS MATERIALIZED (
		-- Once a zone: what its caches have still to forget again.
		SELECT r.zone, max(r.epoch) AS epoch, bool_or(r.queued) AS queued
		FROM (
			SELECT g.host AS zone, g.epoch, false AS queued FROM miosa.route_log g
			WHERE g.deployment_id = $1 AND g.kind = 'repurge'
			UNION ALL
			SELECT o.host, NULL, true FROM miosa.outbox o
			WHERE o.deployment_id = $1 AND o.kind = 'repurge') r
		GROUP BY r.zone
	), failures AS MATERIALIZED (
		SELECT f.endpoint, f.last_error FROM miosa.delivery_failures f WHERE f.deployment_id = $1
	), judged AS MATERIALIZED (
		SELECT t.name, t.zone, t.role, t.adapter, t.stage, t.epoch, t.acked_epoch, t.health, t.entry,
			t.plain AND t.reached AS acked,
			t.plain AND NOT t.reached AND t.entry IS NOT NULL AS behind,
			t.enabled AND t.stage = 0 AND t.role = 'edge' AS router, t.acked_at, t.since, t.route_ttl,
			-- Whether time alone may have done it; of this there is more below.
			t.enabled AND t.self_expires AND NOT (t.plain AND t.reached) AND NOT t.queued
				AND clock_timestamp() > t.since + t.route_ttl AS stale,
			CASE
				WHEN NOT t.enabled THEN 'excluded'
				WHEN t.plain AND t.reached THEN CASE
					WHEN t.volatile AND t.verified_epoch >= t.epoch THEN 'verified'
					WHEN t.settles AND t.settled_epoch >= t.epoch THEN 'settled'
					ELSE 'acknowledged' END
				WHEN t.failed THEN 'failed'
				WHEN t.health IN ('backing off', 'misconfigured', 'gone', 'unverified') THEN t.health
				WHEN t.resyncing AND NOT t.queued THEN 'resyncing'
				ELSE 'waiting'
			END AS state,
			CASE WHEN NOT (t.plain AND t.reached) AND t.enabled THEN clock_timestamp() - t.since END AS age,
			CASE
				WHEN NOT t.enabled THEN coalesce(t.reason, 'disabled')
				-- An endpoint is no reason for what the dispatcher has not taken,
				-- nor an error that is older than the change, unless it lasts.
				WHEN t.queued THEN NULL
				WHEN t.failed THEN t.failure
				WHEN NOT (t.plain AND t.reached) AND (t.last_error_at >= t.since
					OR t.health IN ('backing off', 'misconfigured', 'gone')) THEN t.last_error
			END AS error
		FROM (
			SELECT t.*, t.enabled AND t.known AND NOT t.queued AND NOT t.failed AND NOT t.resyncing
					AND t.health <> 'unverified' AS plain,
				t.acked_epoch >= t.epoch AS reached
			FROM (
				SELECT e.name, e.zone, a.role, e.adapter, coalesce(e.stage, a.stage) AS stage, e.enabled, e.reason,
					a.self_expires, a.settle > '0' AS settles, a.volatile, d.route_ttl, d.created_at AS since,
					d.queued OR coalesce(r.queued, false) AS queued, coalesce(greatest(d.epoch, r.epoch), 0) AS epoch,
					p.entry, coalesce(p.acked_epoch, s.acked_epoch) AS acked_epoch,
					coalesce(coalesce(p.generation, s.generation) = e.generation
						AND coalesce(p.acked_epoch, s.acked_epoch) >> 40 >= d.term, false) AND NOT d.unread AND NOT d.moved AS known,
					coalesce(p.settled_epoch, s.settled_epoch) AS settled_epoch,
					coalesce(p.verified_epoch, s.verified_epoch) AS verified_epoch,
					coalesce(p.acked_at, s.acked_at) AS acked_at,
					coalesce(p.health, s.health, 'new') AS health,
					coalesce(p.last_error, s.last_error) AS last_error,
					coalesce(p.last_error_at, s.last_error_at) AS last_error_at,
					coalesce(coalesce(p.resync_after, s.resync_after) < d.id, false) AS resyncing,
					f.endpoint IS NOT NULL AS failed, f.last_error AS failure
				FROM d
				CROSS JOIN miosa.endpoints e
				JOIN miosa.adapters a ON a.name = e.adapter AND a.role IN ('edge', 'hook')
				-- Names are compared by bytes: a sort by the rules of a language costs much.
				LEFT JOIN miosa.positions() p ON p.endpoint = e.name
				-- Looked up only for those without a place in shared memory.
				LEFT JOIN LATERAL (
					SELECT * FROM miosa.endpoint_state s WHERE s.endpoint = e.name AND p.entry IS NULL OFFSET 0) s ON true
				LEFT JOIN repurges r ON r.zone = e.zone AND coalesce(e.stage, a.stage) = 1
				LEFT JOIN failures f ON f.endpoint = e.name
				WHERE miosa.selects(e.selector, d.id, d.tenant_id, d.kind)
				-- Each of these is computed once.
				OFFSET 0
			) t OFFSET 0
		) t
	), zones AS MATERIALIZED (
		SELECT j.zone, bool_and(j.acked) AS acked, max(j.acked_at) AS acked_at
		FROM judged j WHERE j.router GROUP BY j.zone
	)
	SELECT x.name, x.zone, x.role, x.adapter, x.stage, CASE WHEN x.expired THEN 'expired' ELSE x.state END,
		x.acked OR x.expired, nullif(x.epoch, 0), x.acked_epoch, x.health, x.age, x.error, x.entry, x.behind AND NOT x.expired
	FROM (
		-- A cache could fetch the old page until its router had the new route.
		SELECT j.*, CASE WHEN j.stale THEN coalesce((
				SELECT z.acked AND clock_timestamp() > greatest(j.since, z.acked_at) + j.route_ttl
				FROM zones z WHERE z.zone = j.zone), true) ELSE false END AS expired
		FROM judged j
	) x;
END;
COMMENT ON FUNCTION miosa.judge(text) IS 'miosa.convergence_rows() in the caller''s snapshot and in no order, with the endpoint''s entry in shared memory and whether an acknowledgement is all that it lacks';

-- One row an endpoint that is told of the deployment: state (waiting,
-- resyncing, backing off, misconfigured, gone, unverified, failed,
-- acknowledged, settled, verified, expired, excluded), whether it is done,
-- since when it lacks the route and why; those that are not done first. As it
-- is now, whatever the transaction's snapshot shows.
CREATE FUNCTION miosa.convergence_rows(
	deployment_id text,
	OUT endpoint text, OUT zone text, OUT role text, OUT adapter text, OUT stage integer,
	OUT state text, OUT done boolean, OUT epoch bigint, OUT acked_epoch bigint,
	OUT health text, OUT age interval, OUT error text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_convergence_rows';
COMMENT ON FUNCTION miosa.convergence_rows(text) IS 'One row an endpoint that is told of the deployment: its state, whether it is done, since when it lacks the route and why; those that are not done first';

-- A set, so that it becomes a part of the statement that calls it.
CREATE FUNCTION miosa.convergence_verdict(deployment_id text, seq bigint, edges bigint, done bigint, expired bigint) RETURNS SETOF text
LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 1
BEGIN ATOMIC
	SELECT CASE
		WHEN $2 IS NOT NULL AND p.seq > $2 AND EXISTS (
			SELECT FROM miosa.audit_events e
			WHERE e.deployment_id = p.id AND e.seq > $2 AND e.outcome <> 'unchanged') THEN 'superseded'
		WHEN p.state = 'pending' AND p.active_version_id IS NOT NULL THEN 'waiting_instances'
		WHEN $3 = 0 THEN 'no_edges'
		WHEN $4 = $3 AND $5 > 0 THEN 'expired'
		WHEN $4 = $3 THEN 'converged'
		WHEN w.stalled THEN 'no_dispatcher'
		WHEN w.state IN ('running', 'starting') THEN 'waiting_edges'
		-- The launcher starts it again within a second, also when the extension was made anew.
		WHEN w.state IN ('aside', 'stopped', 'absent') AND w.launcher THEN 'waiting_edges'
		-- It has not seen yet that it was resumed.
		WHEN w.state = 'paused' AND miosa.pause_reason() IS NULL THEN 'waiting_edges'
		ELSE 'no_dispatcher'
	END
	FROM miosa.deployments p CROSS JOIN miosa.dispatcher() w
	WHERE p.id = $1;
END;
COMMENT ON FUNCTION miosa.convergence_verdict(text, bigint, bigint, bigint, bigint) IS 'The state of an operation, by how many edges are told, are done, and of these have expired; no row for an unknown deployment';

CREATE FUNCTION miosa.laggards(
	deployment_id text, seq bigint,
	OUT state text, OUT others boolean, OUT endpoint text, OUT entry integer, OUT epoch bigint)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
	WITH j AS MATERIALIZED (
		SELECT * FROM miosa.judge($1) r WHERE r.role = 'edge' AND r.state <> 'excluded'
	), c AS (
		SELECT count(*) AS edges, count(*) FILTER (WHERE j.done) AS done,
			count(*) FILTER (WHERE j.state = 'expired') AS expired,
			coalesce(bool_or(NOT j.done AND NOT j.behind), true) AS others
		FROM j
	)
	SELECT v.state, c.others, j.endpoint, j.entry, j.epoch
	FROM c
	LEFT JOIN LATERAL miosa.convergence_verdict($1, $2, c.edges, c.done, c.expired) v (state) ON true
	LEFT JOIN j ON j.behind;
END;
COMMENT ON FUNCTION miosa.laggards(text, bigint) IS 'The state of an operation, whether edges lack something else than an acknowledgement, and which lack just that; one row without an edge when there is none';

CREATE FUNCTION miosa.convergence_object(deployment_id text, seq bigint) RETURNS SETOF jsonb
LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 1
BEGIN ATOMIC
	WITH r AS MATERIALIZED (
		SELECT * FROM miosa.judge($1)
	), edges AS (
		SELECT count(*) AS edges, count(*) FILTER (WHERE r.done) AS done,
			count(*) FILTER (WHERE r.state = 'expired') AS expired
		FROM r WHERE r.role = 'edge' AND r.state <> 'excluded'
	), zones AS (
		SELECT r.zone, count(*) AS edges, count(*) FILTER (WHERE r.done) AS done,
			(array_agg(r.endpoint ORDER BY r.age DESC NULLS LAST, r.error IS NULL, r.endpoint)
				FILTER (WHERE NOT r.done))[1] AS slowest,
			(array_agg(r.error ORDER BY r.age DESC NULLS LAST, r.error IS NULL, r.endpoint)
				FILTER (WHERE NOT r.done))[1] AS error
		FROM r WHERE r.role = 'edge' AND r.state <> 'excluded' GROUP BY r.zone
	)
	SELECT jsonb_build_object('data', jsonb_build_object(
		'deployment_id', $1,
		'operation_id', $1 || '#' || coalesce($2, (SELECT p.seq FROM miosa.deployments p WHERE p.id = $1)),
		'state', v.state,
		'paused', CASE WHEN (SELECT w.state FROM miosa.dispatcher() w) <> 'running' THEN miosa.pause_reason() END,
		'edges', e.edges,
		'done', e.done,
		'zones', coalesce((
			SELECT jsonb_agg(jsonb_build_object(
				'zone', z.zone, 'edges', z.edges, 'done', z.done,
				'slowest', z.slowest, 'error', z.error)
				ORDER BY z.edges - z.done DESC, z.zone)
			FROM zones z), '[]'),
		'endpoints', coalesce((
			SELECT jsonb_agg(jsonb_build_object(
				'name', r.endpoint, 'zone', r.zone, 'role', r.role, 'adapter', r.adapter, 'stage', r.stage,
				'state', r.state, 'done', r.done, 'epoch', r.epoch, 'acked_epoch', r.acked_epoch,
				'health', r.health, 'age_seconds', round(extract(epoch FROM r.age), 3), 'error', r.error)
				ORDER BY r.done, r.zone, r.stage, r.endpoint)
			FROM r), '[]')))
	FROM edges e
	LEFT JOIN LATERAL miosa.convergence_verdict($1, $2, e.edges, e.done, e.expired) v (state) ON true;
END;
COMMENT ON FUNCTION miosa.convergence_object(text, bigint) IS 'Result of miosa_convergence(), in the caller''s snapshot; one row';

CREATE FUNCTION miosa.convergence_state(deployment_id text, seq bigint) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_convergence_state';
COMMENT ON FUNCTION miosa.convergence_state(text, bigint) IS 'converged, expired, waiting_edges, waiting_instances, superseded, no_edges or no_dispatcher, as it is now; seq null means the newest operation; null for an unknown deployment';

-- "dep_1", "shop" or "www.example.com", each of them also with "#7".
CREATE FUNCTION miosa.parse_operation(deployment_or_operation text, OUT deployment_id text, OUT seq bigint)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	part text[] := regexp_match(deployment_or_operation, '^([^#]{1,255})(?:#([0-9]{1,18}))?$');
BEGIN
	IF part IS NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid deployment or operation',
			'It must name a deployment by id, host or slug, and for an operation "#" and its number.',
			'For example ''dep_1'', ''www.example.com'' or ''dep_1#42''.');
	END IF;
	deployment_id := miosa.find_deployment(part[1]);
	seq := part[2]::bigint;
	IF NOT EXISTS (SELECT FROM miosa.deployments p
		WHERE p.id = parse_operation.deployment_id AND (parse_operation.seq IS NULL OR p.seq >= parse_operation.seq)) THEN
		PERFORM miosa.raise_condition('DEPLOYMENT_NOT_FOUND', format('deployment or operation "%s" does not exist', deployment_or_operation),
			'There is none of that id, or it belongs to another tenant.',
			'See which there are with SELECT id, name, seq FROM miosa.deployments ORDER BY id;');
	END IF;
END $$;
COMMENT ON FUNCTION miosa.parse_operation(text) IS 'The deployment and number of an operation, or of a deployment with null; raises INVALID_ARGUMENT, DEPLOYMENT_NOT_FOUND';

-- Compiling these queries takes a hundred times longer than running them, and
-- it would be done at every call: so no JIT.
CREATE FUNCTION @extschema@.miosa_convergence(deployment_or_operation text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'miosa_convergence';
COMMENT ON FUNCTION @extschema@.miosa_convergence(text) IS 'Who has acknowledged the present route of a deployment, by zone and endpoint, those that lag first';

CREATE FUNCTION @extschema@.miosa_wait_converged(deployment_or_operation text, timeout interval DEFAULT '5 s') RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'miosa_wait_converged';
COMMENT ON FUNCTION @extschema@.miosa_wait_converged(text, interval) IS 'Waits until a deployment has converged or timeout has passed; returns the state';

-- Setting up endpoints.

CREATE FUNCTION @extschema@.miosa_put_endpoint(
	name text, adapter text, url text,
	zone text DEFAULT 'default',
	stage integer DEFAULT NULL,
	selector jsonb DEFAULT '{}',
	secret text DEFAULT NULL,
	enabled boolean DEFAULT true) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	result jsonb;
BEGIN
	IF coalesce(miosa_put_endpoint.name, '') !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'
		OR coalesce(miosa_put_endpoint.zone, '') !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid name of endpoint or zone',
			'It must have 1 to 63 characters of A-Z a-z 0-9 . _ - and begin with a letter or digit.',
			'For example ''router-1'', in zone ''eu''.');
	END IF;
	IF NOT EXISTS (SELECT FROM miosa.adapters a WHERE a.name = miosa_put_endpoint.adapter) THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('adapter "%s" does not exist', miosa_put_endpoint.adapter),
			(SELECT 'Adapters are: ' || string_agg(a.name, ', ' ORDER BY a.name) || '.' FROM miosa.adapters a),
			'See what each talks to with SELECT name, description FROM miosa.adapters;');
	END IF;
	IF miosa_put_endpoint.stage NOT IN (0, 1) THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid stage', 'A stage is 0 (routers) or 1 (caches).',
			'Leave it out for the adapter''s.');
	END IF;
	IF miosa_put_endpoint.secret IS NOT NULL
		AND NOT EXISTS (SELECT FROM miosa.secrets s WHERE s.name = miosa_put_endpoint.secret) THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('secret "%s" does not exist', miosa_put_endpoint.secret),
			'An endpoint names a secret that is in miosa.secrets.',
			format('SELECT miosa_put_secret(%L, ''...'');', miosa_put_endpoint.secret));
	END IF;
	INSERT INTO miosa.endpoints AS e (name, adapter, url, zone, stage, selector, secret, enabled)
		VALUES (miosa_put_endpoint.name, miosa_put_endpoint.adapter, miosa_put_endpoint.url,
			miosa_put_endpoint.zone, miosa_put_endpoint.stage, coalesce(miosa_put_endpoint.selector, '{}'),
			miosa_put_endpoint.secret, coalesce(miosa_put_endpoint.enabled, true))
		ON CONFLICT (name) DO UPDATE SET adapter = excluded.adapter, url = excluded.url, zone = excluded.zone,
			stage = excluded.stage, selector = excluded.selector, secret = excluded.secret, enabled = excluded.enabled,
			reason = NULL
		RETURNING to_jsonb(e) - 'generation' INTO result;
	PERFORM miosa.warn_of_wildcards(miosa_put_endpoint.name, NULL);
	RETURN jsonb_build_object('data', result);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_endpoint(text, text, text, text, integer, jsonb, text, boolean) IS 'Adds or changes an endpoint; a new or changed one is told everything';

-- A CHECK would show the secret in its message, so what is wrong is said here.
CREATE FUNCTION @extschema@.miosa_put_secret(name text, value text, keep_previous boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	problem text;
BEGIN
	IF coalesce(miosa_put_secret.name, '') !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid name of a secret',
			'It must have 1 to 63 characters of A-Z a-z 0-9 . _ - and begin with a letter or digit.', 'For example ''edge''.');
	END IF;
	IF coalesce(miosa_put_secret.value, '') !~ '^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$' THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid secret',
			'It must be printable ASCII, without a space at either end.',
			format('SELECT miosa_put_secret(%L, ''...'');', miosa_put_secret.name));
	END IF;
	problem := miosa.secret_problem(miosa_put_secret.value);
	IF miosa_put_secret.value = '***' OR problem IS NOT NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('secret "%s" cannot be used', miosa_put_secret.name),
			CASE WHEN problem IS NULL THEN 'It is what is shown instead of a secret.' ELSE format('It has no value: %s.', problem) END,
			format('SHOW miosa_rollback.secret_directory; the server must be able to read the file below it, then: SELECT miosa_put_secret(%L, ''file:NAME'');',
				miosa_put_secret.name));
	END IF;
	INSERT INTO miosa.secrets AS s (name, value) VALUES (miosa_put_secret.name, miosa_put_secret.value)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value,
			previous = CASE WHEN NOT miosa_put_secret.keep_previous THEN NULL
				WHEN miosa.reveal(s.value) = miosa_put_secret.value THEN s.previous ELSE s.value END;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_secret(text, text, boolean) IS 'Adds or changes a secret that endpoints or storages name';

-- The function below complains by itself about an endpoint that is not there.
CREATE FUNCTION miosa.need_endpoint(name text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM miosa.endpoints e WHERE e.name = need_endpoint.name) THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('endpoint "%s" does not exist', name),
			coalesce((SELECT 'Endpoints are: ' || string_agg(e.name, ', ' ORDER BY e.name) || '.' FROM miosa.endpoints e),
				'There is no endpoint.'),
			'See them with SELECT name, adapter, url, enabled FROM miosa.endpoints;');
	END IF;
END $$;
COMMENT ON FUNCTION miosa.need_endpoint(text) IS 'Raises INVALID_ARGUMENT when there is no endpoint of that name';

CREATE FUNCTION @extschema@.miosa_set_endpoint(name text, enabled boolean, reason text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	result jsonb;
BEGIN
	PERFORM miosa.need_endpoint(miosa_set_endpoint.name);
	IF miosa_set_endpoint.enabled IS NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'enabled must be true or false', 'It is null.',
			format('SELECT miosa_set_endpoint(%L, false, reason => ''...'');', miosa_set_endpoint.name));
	END IF;
	UPDATE miosa.endpoints e SET enabled = miosa_set_endpoint.enabled,
			reason = CASE WHEN miosa_set_endpoint.enabled THEN NULL ELSE nullif(btrim(miosa_set_endpoint.reason), '') END
		WHERE e.name = miosa_set_endpoint.name
		RETURNING to_jsonb(e) - 'generation' INTO result;
	RETURN jsonb_build_object('data', result);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_set_endpoint(text, boolean, text) IS 'Enables or disables an endpoint, with a reason';

CREATE FUNCTION @extschema@.miosa_remove_endpoint(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	PERFORM miosa.need_endpoint(miosa_remove_endpoint.name);
	DELETE FROM miosa.endpoints e WHERE e.name = miosa_remove_endpoint.name;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_endpoint(text) IS 'Removes an endpoint and forgets how far it had come';

CREATE FUNCTION @extschema@.miosa_test_endpoint(name text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_test_endpoint';
COMMENT ON FUNCTION @extschema@.miosa_test_endpoint(text) IS 'Sends an endpoint, also a disabled one, a harmless request, and says what the answer means';

-- Telling again.

CREATE FUNCTION @extschema@.miosa_resend(deployment_id text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.queue(o.deployment_id, 'route', NULL)
		FROM miosa.parse_operation(miosa_resend.deployment_id) o;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_resend(text) IS 'Tells every endpoint the present route of a deployment again';

CREATE FUNCTION @extschema@.miosa_resync(endpoint text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.need_endpoint(endpoint);
	UPDATE miosa.endpoints e SET generation = e.generation + 1 WHERE e.name = miosa_resync.endpoint;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_resync(text) IS 'Tells one endpoint the present route of every deployment again';

CREATE FUNCTION @extschema@.miosa_redrive(endpoint text) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	number bigint;
BEGIN
	PERFORM miosa.need_endpoint(endpoint);
	UPDATE miosa.delivery_failures f SET next_try_at = now() WHERE f.endpoint = miosa_redrive.endpoint;
	GET DIAGNOSTICS number = ROW_COUNT;
	INSERT INTO miosa.outbox (deployment_id, kind) VALUES ('', 'settings') ON CONFLICT DO NOTHING;
	PERFORM miosa.wake();
	RETURN number;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_redrive(text) IS 'Tries at once what an endpoint did not take (delivery_failures); returns how many';

CREATE FUNCTION @extschema@.miosa_resume() RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	reason text := miosa.pause_reason();
BEGIN
	IF reason IS NULL THEN
		RETURN 'was not paused';
	END IF;
	UPDATE miosa.dispatcher_state s SET term = s.term + 1, last_epoch = (s.term + 1) << 40,
			term_since = clock_timestamp(), site = i.site, system_identifier = i.system_identifier, timeline = i.timeline, database_oid = i.database_oid
		FROM miosa.identity() i;
	UPDATE miosa.endpoints e SET origin = miosa.origin(), generation = e.generation + 1;
	INSERT INTO miosa.outbox (deployment_id, kind) VALUES ('', 'settings') ON CONFLICT DO NOTHING;
	PERFORM miosa.wake();
	RETURN 'resumed: ' || reason;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_resume() IS 'Lets a paused dispatcher go on, and resynchronizes every endpoint; returns why it was paused';

-- An endpoint whose cursor lies before what is deleted here is told
-- everything again when it comes back, and so is one that is more than 50,000
-- changes behind (replay.c).  So only enabled ones are waited for, and only
-- so far: one that is down for days must not fill the disk.
CREATE FUNCTION miosa.trim_route_log("limit" integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	trimmed bigint := (SELECT t.trimmed_epoch FROM miosa.dispatcher_state t);
	-- Others commit after our transaction has begun.
	at CONSTANT timestamptz := clock_timestamp();
	upto bigint;
	number bigint;
BEGIN
	SELECT greatest(least(min(least(s.acked_epoch, s.settled_epoch)), t.last_epoch), t.last_epoch - 100000) INTO upto
		FROM miosa.dispatcher_state t
		LEFT JOIN (miosa.endpoints e JOIN miosa.endpoint_state s ON s.endpoint = e.name
			JOIN miosa.adapters a ON a.name = e.adapter AND a.role <> 'scheduler') ON e.enabled
		GROUP BY t.last_epoch;
	WITH gone AS (
		DELETE FROM miosa.route_log g
		WHERE g.epoch IN (
			-- Without a gap, so that nothing is left behind the epoch that
			-- the next call begins at; a time to come says nothing,
			-- unless the clock was just set back a little.
			SELECT p.epoch FROM (
				SELECT o.epoch, bool_and(o.created_at NOT BETWEEN at - '1 hour'::interval AND at + '1 min'::interval) OVER (ORDER BY o.epoch) AS old
				FROM (SELECT l.epoch, l.created_at FROM miosa.route_log l
					WHERE l.epoch > trimmed AND l.epoch <= upto ORDER BY l.epoch LIMIT "limit") o) p
			WHERE p.old)
		RETURNING g.epoch
	)
	SELECT count(*), max(gone.epoch) INTO number, upto FROM gone;
	UPDATE miosa.dispatcher_state t SET trimmed_epoch = upto WHERE upto > t.trimmed_epoch;
	RETURN number;
END $$;
COMMENT ON FUNCTION miosa.trim_route_log(integer) IS 'Deletes at most so many route changes that are older than an hour and that every enabled endpoint but schedulers has, or that are not among the newest 100,000; returns how many';

SELECT pg_catalog.pg_extension_config_dump('miosa.adapters', 'WHERE NOT builtin');
SELECT pg_catalog.pg_extension_config_dump('miosa.endpoints', '');

-- Last: the launcher starts a dispatcher here once this has committed.
SELECT miosa.request_dispatcher();
