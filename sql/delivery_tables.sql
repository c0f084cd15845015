-- Tables of delivery: endpoints, how to speak to them, and their positions.
--
-- Tables that users write (adapters, endpoints, secrets) and tables that the
-- dispatcher writes (endpoint_state, delivery_failures, dispatcher_state) are
-- separate, so that an open transaction of a user never blocks the dispatcher.
-- For the same reason the dispatcher's tables have no foreign keys.

CREATE TABLE miosa.adapters (
	name text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
	description text NOT NULL DEFAULT '',
	role text NOT NULL DEFAULT 'edge' CHECK (role IN ('edge', 'scheduler', 'hook', 'audit')),
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
	alerts boolean NOT NULL DEFAULT false,
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
COMMENT ON COLUMN miosa.adapters.role IS 'edge (receives routes or purges, counts for convergence), hook (the same, does not count; or alerts), scheduler (starts and stops instances) or audit (receives heads of the audit trail)';
COMMENT ON COLUMN miosa.adapters.stage IS '0: receives changes first (routers); 1: after stage 0 of its zone has acknowledged (caches)';
COMMENT ON COLUMN miosa.adapters.per IS 'deployment: one request a deployment; host: one request for each of its hosts; instance (schedulers): one request for each instance to start or to stop';
COMMENT ON COLUMN miosa.adapters.self_expires IS 'Whether its pages expire by themselves, so that a cache that does not answer serves the right version once the deployment''s route_ttl has passed';
COMMENT ON COLUMN miosa.adapters.settle IS 'Time after which every request is repeated, because a fetch under way can bring the old page back: at least the cache''s timeout for fetches; 0 for never';
COMMENT ON COLUMN miosa.adapters.timeout IS 'Timeout of one request';
COMMENT ON COLUMN miosa.adapters.max_in_flight IS 'Maximum number of concurrent requests to one endpoint';
COMMENT ON COLUMN miosa.adapters.batch_max IS 'Maximum number of deployments in one request, with {routes}, {deployment_ids} and {hosts}; more than 1 only when per is deployment';
COMMENT ON COLUMN miosa.adapters.batch_bytes IS 'Maximum size of the body of a request for several deployments';
COMMENT ON COLUMN miosa.adapters.rate IS 'Maximum number of requests per second to one endpoint; null for no limit';
COMMENT ON COLUMN miosa.adapters.burst IS 'Number of requests that may be sent at once before rate applies';
COMMENT ON COLUMN miosa.adapters.success IS 'HTTP statuses that mean success; null means every 2xx, as always for the marker';
COMMENT ON COLUMN miosa.adapters.success_json_path IS 'Condition that the body of the answer must also satisfy, for example $.success == true; null for none';
COMMENT ON COLUMN miosa.adapters.verdicts IS 'What other statuses mean where the default is wrong, {"400": "endpoint"}: endpoint, message or gone (docs/own-edge.md lists them and the defaults)';
COMMENT ON COLUMN miosa.adapters.signer IS 'none; header (a header holds {secret}, so the endpoint must have one); standard-webhooks (the secret is whsec_ and base64); sigv4 (the secret is KEYID:SECRET or KEYID:SECRET:TOKEN)';
COMMENT ON COLUMN miosa.adapters.signer_options IS 'For sigv4: {"service": "cloudfront", "region": "us-east-1"}';
COMMENT ON COLUMN miosa.adapters.charsets IS 'Fewer characters for the values of a variable, {"host": "a-z0-9.-"}; what has others is not sent';
COMMENT ON COLUMN miosa.adapters.request IS 'The request that delivers a route, or the number of instances that a scheduler is to run of a version: {"method", "path", "headers": {}, "body"}';
COMMENT ON COLUMN miosa.adapters.add IS 'The request that is sent instead when request is answered 404, because the entry is not there yet; null when none is needed';
COMMENT ON COLUMN miosa.adapters.remove IS 'The request for a host that is no longer routed, when per is host, or for an instance that is to stop, when per is instance; null when none is needed';
COMMENT ON COLUMN miosa.adapters.wildcards IS 'Whether it handles a wildcard host (*.example.com), by default unless per is host; otherwise the host does not converge';
COMMENT ON COLUMN miosa.adapters.wildcard_request IS 'The request for a wildcard host, with {domain}, when per is host; null: request, with the wildcard as {host}';
COMMENT ON COLUMN miosa.adapters.wildcard_remove IS 'The same for remove';
COMMENT ON COLUMN miosa.adapters.volatile IS 'Whether it loses its table silently at a restart, so that a marker has to be read back';
COMMENT ON COLUMN miosa.adapters.marker_write IS 'The request that writes the marker, with {epoch}';
COMMENT ON COLUMN miosa.adapters.marker_read IS 'The request whose answer''s body is the marker; 404 means that it is lost';
COMMENT ON COLUMN miosa.adapters.marker_interval IS 'Time between two readings of the marker';
COMMENT ON COLUMN miosa.adapters.alerts IS 'Whether a hook receives alerts, instead of routes: its request has {alert}';
COMMENT ON COLUMN miosa.adapters.poll IS 'The request that asks a scheduler how many instances of a version are healthy; null when instances are reported with miosa_report_instance';
COMMENT ON COLUMN miosa.adapters.healthy_json_path IS 'Path of that number in the body of the answer, for example $.status.readyReplicas; without it the number is 0 if poll_valid is true, else the poll has failed';
COMMENT ON COLUMN miosa.adapters.poll_valid IS 'Condition that the body of a poll''s answer must satisfy, for example $.kind == "Deployment"; null for none';
COMMENT ON COLUMN miosa.adapters.poll_interval IS 'Time between polls while instances are missing or are being stopped; afterwards miosa_rollback.capacity_interval applies, and polls are the heartbeat';
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
	-- Not that of an endpoint of this name before, of which positions tell.
	generation bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
	origin text,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT "times must be from 1970 to 2199" CHECK (least(created_at, updated_at) >= '1970-01-01 00:00:00+00'
		AND greatest(created_at, updated_at) < '2200-01-01 00:00:00+00')
);
COMMENT ON TABLE miosa.endpoints IS 'Routers, caches and webhooks that receive route changes, and schedulers that run instances';
COMMENT ON COLUMN miosa.endpoints.name IS 'Name of the endpoint';
COMMENT ON COLUMN miosa.endpoints.adapter IS 'How to talk to it';
COMMENT ON COLUMN miosa.endpoints.url IS 'Base URL, http or https; the adapter''s path is appended, with one slash between them';
COMMENT ON COLUMN miosa.endpoints.zone IS 'Caches wait for the routers of their zone';
COMMENT ON COLUMN miosa.endpoints.stage IS 'Overrides the adapter''s stage; null means the adapter''s';
COMMENT ON COLUMN miosa.endpoints.selector IS 'Which deployments it receives: {"tenant": ..., "kind": ..., "deployment": ...}, each a text or an array of texts; {} means all';
COMMENT ON COLUMN miosa.endpoints.secret IS 'Name in miosa.secrets of what {secret} stands for';
COMMENT ON COLUMN miosa.endpoints.enabled IS 'Whether requests are sent to it';
COMMENT ON COLUMN miosa.endpoints.reason IS 'Why it is disabled';
COMMENT ON COLUMN miosa.endpoints.generation IS 'Increased by miosa_resync and by changes of adapter, URL, zone, stage, selector or enabled; a new one resynchronizes the endpoint';
COMMENT ON COLUMN miosa.endpoints.origin IS 'Installation that it was added in: a restored copy of the database must not send to it';
COMMENT ON COLUMN miosa.endpoints.created_at IS 'When it was added';
COMMENT ON COLUMN miosa.endpoints.updated_at IS 'When it was last changed';

-- Whatever renders a value calls the type's output or send function: SELECT,
-- COPY, the first copy of a subscription, every output plugin of logical
-- decoding, messages.  So the type keeps secrets, not a list of all the ways
-- out.  Its input function checks them, since a CHECK would have to read them
-- with the rights of the role that writes.
CREATE TYPE miosa.hidden_text;

-- Check a secret and store it.
CREATE FUNCTION miosa.hidden_text_in(cstring) RETURNS miosa.hidden_text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_hidden_text_in';
COMMENT ON FUNCTION miosa.hidden_text_in(cstring) IS 'Input function of miosa.hidden_text: refuses what cannot be sent in a header';

-- Show asterisks in place of a secret.
CREATE FUNCTION miosa.hidden_text_out(miosa.hidden_text) RETURNS cstring
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_hidden_text_out';
COMMENT ON FUNCTION miosa.hidden_text_out(miosa.hidden_text) IS 'Output function of miosa.hidden_text: three asterisks, whatever the value';

-- Check a secret that arrives in binary form.
CREATE FUNCTION miosa.hidden_text_recv(internal) RETURNS miosa.hidden_text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_hidden_text_recv';
COMMENT ON FUNCTION miosa.hidden_text_recv(internal) IS 'Binary input function of miosa.hidden_text';

-- Send asterisks in place of a secret.
CREATE FUNCTION miosa.hidden_text_send(miosa.hidden_text) RETURNS bytea
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_hidden_text_send';
COMMENT ON FUNCTION miosa.hidden_text_send(miosa.hidden_text) IS 'Binary output function of miosa.hidden_text: three asterisks, whatever the value';

CREATE TYPE miosa.hidden_text (
	INPUT = miosa.hidden_text_in, OUTPUT = miosa.hidden_text_out,
	RECEIVE = miosa.hidden_text_recv, SEND = miosa.hidden_text_send,
	LIKE = text
);
COMMENT ON TYPE miosa.hidden_text IS 'A text that can be written and is never shown';
CREATE CAST (text AS miosa.hidden_text) WITH INOUT AS ASSIGNMENT;

-- Convert a hidden text to text.
CREATE FUNCTION miosa.reveal(miosa.hidden_text) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_reveal';
COMMENT ON FUNCTION miosa.reveal(miosa.hidden_text) IS 'The text itself; only the owner may call it';

-- Read a secret, from its file if it refers to one.
CREATE FUNCTION miosa.read_secret(stored text) RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_read_secret';
COMMENT ON FUNCTION miosa.read_secret(text) IS 'Value of a secret as it is stored, from its file if it is in one; null when that cannot be used';

-- Check that a secret can be read.
CREATE FUNCTION miosa.secret_problem(stored text) RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_secret_problem';
COMMENT ON FUNCTION miosa.secret_problem(text) IS 'Why the file of a secret cannot be used; null when it can, or there is none';

-- Refuse a value that cannot be used as a secret.
CREATE FUNCTION miosa.check_secret(name text, value text) RETURNS void
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_check_secret';
COMMENT ON FUNCTION miosa.check_secret(text, text) IS 'Raises INVALID_ARGUMENT for a value that cannot be used as a secret';

-- The origin of a URL, as secrets list it.
CREATE FUNCTION miosa.secret_origin(url text) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_secret_origin';
COMMENT ON FUNCTION miosa.secret_origin(text) IS 'Scheme, host and port of a URL in lower case, without the scheme''s own port';

-- Check what a secret lists as an origin.
CREATE FUNCTION miosa.is_secret_origin(origin text) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_is_secret_origin';
COMMENT ON FUNCTION miosa.is_secret_origin(text) IS 'Whether a secret may list this as an origin';

-- Judge whether requests may carry a secret; lists are separated by spaces.
CREATE FUNCTION miosa.secret_refusal(origins text, adapters text, url text, adapter text) RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_secret_refusal';
COMMENT ON FUNCTION miosa.secret_refusal(text, text, text, text) IS 'Why requests to a URL by an adapter must not carry a secret that is for these origins and adapters; null when they may';

-- An owner who inserts a row may send the secret anywhere, until it says
-- otherwise; miosa_put_secret() binds what it writes.
CREATE TABLE miosa.secrets (
	name text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
	value miosa.hidden_text NOT NULL,
	previous miosa.hidden_text,
	origins text[] DEFAULT '{*}'
		CONSTRAINT "origins must be like https://edge.example.com:8443" CHECK (array_ndims(origins) = 1
			AND array_to_string(origins, ' ', '?') ~ E'^[a-z0-9.:/*_ \\[\\]-]+$'),
	adapters text[] DEFAULT '{*}',
	endpoints text[] DEFAULT '{*}',
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT "times must be from 1970 to 2199" CHECK (created_at >= '1970-01-01 00:00:00+00' AND created_at < '2200-01-01 00:00:00+00')
);
COMMENT ON TABLE miosa.secrets IS 'Secrets of endpoints and storages, for requests to them; never dumped or shown';
COMMENT ON COLUMN miosa.secrets.name IS 'Name that endpoints, storages and templates use';
COMMENT ON COLUMN miosa.secrets.value IS 'The secret, or file: and the file that has it; shown as ***';
COMMENT ON COLUMN miosa.secrets.previous IS 'The secret that is being rotated out: standard-webhooks signs with both; null when there is none';
COMMENT ON COLUMN miosa.secrets.origins IS 'Where requests with it may go: scheme://host:port, scheme://*.domain:port, or * for anywhere; null until the first endpoint or storage names it';
COMMENT ON COLUMN miosa.secrets.adapters IS 'Adapters of the endpoints that have it as their own; * for all; null until the first endpoint names it';
COMMENT ON COLUMN miosa.secrets.endpoints IS 'Endpoints whose adapters may name it as {secret:name}; * for all; null for none';
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
COMMENT ON TABLE miosa.endpoint_state IS 'Position and health of each endpoint; written by the dispatcher alone';
COMMENT ON COLUMN miosa.endpoint_state.endpoint IS 'Endpoint';
COMMENT ON COLUMN miosa.endpoint_state.config IS 'Fingerprint of its settings; the endpoint is resynchronized when it changes';
COMMENT ON COLUMN miosa.endpoint_state.generation IS 'Generation of the endpoint that this row describes; a row of another generation does not count';
COMMENT ON COLUMN miosa.endpoint_state.acked_epoch IS 'Everything up to here is acknowledged, but for delivery_failures and a resync under way';
COMMENT ON COLUMN miosa.endpoint_state.settled_epoch IS 'Everything up to here has been repeated after the adapter''s settle time';
COMMENT ON COLUMN miosa.endpoint_state.verified_epoch IS 'Newest epoch whose marker was read back from a volatile endpoint';
COMMENT ON COLUMN miosa.endpoint_state.marker_epoch IS 'Marker that was written to a volatile endpoint; 0 for none';
COMMENT ON COLUMN miosa.endpoint_state.resync_after IS 'During a resynchronization: the last deployment, in the order of ids, that is done; null when none is under way';
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
COMMENT ON TABLE miosa.delivery_failures IS 'Deployments whose route one endpoint refuses although it works; written by the dispatcher alone';
COMMENT ON COLUMN miosa.delivery_failures.endpoint IS 'Endpoint';
COMMENT ON COLUMN miosa.delivery_failures.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.delivery_failures.epoch IS 'Newest epoch that it refused';
COMMENT ON COLUMN miosa.delivery_failures.status IS 'Last HTTP status; null when there was none';
COMMENT ON COLUMN miosa.delivery_failures.attempts IS 'Number of attempts';
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
	term_since timestamptz NOT NULL DEFAULT clock_timestamp(),
	origin_epoch bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
COMMENT ON TABLE miosa.dispatcher_state IS 'Newest epoch of the route log, and the server that assigned it; one row';
COMMENT ON COLUMN miosa.dispatcher_state.one IS 'Always true';
COMMENT ON COLUMN miosa.dispatcher_state.term IS 'Upper 24 bits of epochs; rises when another timeline takes over';
COMMENT ON COLUMN miosa.dispatcher_state.last_epoch IS 'Newest epoch that was assigned';
COMMENT ON COLUMN miosa.dispatcher_state.trimmed_epoch IS 'Newest epoch that was deleted from route_log';
COMMENT ON COLUMN miosa.dispatcher_state.site IS 'miosa_rollback.site where the dispatcher ran last';
COMMENT ON COLUMN miosa.dispatcher_state.system_identifier IS 'System identifier of that server';
COMMENT ON COLUMN miosa.dispatcher_state.timeline IS 'Its timeline';
COMMENT ON COLUMN miosa.dispatcher_state.database_oid IS 'Its database';
COMMENT ON COLUMN miosa.dispatcher_state.term_since IS 'When the term began: heartbeats from before count from then';
COMMENT ON COLUMN miosa.dispatcher_state.origin_epoch IS 'Newest epoch of the primary site''s route log that was taken; 0 at the primary site';

CREATE TABLE miosa.sites (
	role text NOT NULL CHECK (role IN ('primary', 'replica')),
	site text COLLATE "C" NOT NULL CHECK (site <> ''),
	epoch bigint NOT NULL DEFAULT 0,
	changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	told_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	edges integer NOT NULL DEFAULT 0,
	behind integer NOT NULL DEFAULT 0,
	failures bigint NOT NULL DEFAULT 0,
	failed text[] NOT NULL DEFAULT '{}',
	version text NOT NULL DEFAULT '',
	went_back_at timestamptz,
	PRIMARY KEY (role, site)
);
COMMENT ON TABLE miosa.sites IS 'Sites that share routes: the primary one, and replicas whose edges get its routes; each writes its own row';
COMMENT ON COLUMN miosa.sites.role IS 'primary or replica';
COMMENT ON COLUMN miosa.sites.site IS 'miosa_rollback.site there';
COMMENT ON COLUMN miosa.sites.epoch IS 'Newest epoch of the primary site''s route log; of a replica, the one that all of its edges have';
COMMENT ON COLUMN miosa.sites.changed_at IS 'When that became so, by the clock of the site';
COMMENT ON COLUMN miosa.sites.told_at IS 'When the primary site last wrote its row; of a replica, the newest such time that it has received';
COMMENT ON COLUMN miosa.sites.edges IS 'Edges that a replica delivers to';
COMMENT ON COLUMN miosa.sites.behind IS 'How many of them lack a change';
COMMENT ON COLUMN miosa.sites.failures IS 'How many deployments one of them refuses';
COMMENT ON COLUMN miosa.sites.failed IS 'These deployments, the first 100';
COMMENT ON COLUMN miosa.sites.version IS 'Version of the extension there';
COMMENT ON COLUMN miosa.sites.went_back_at IS 'At a replica: when the primary site came with an older epoch than before, because it was restored';

SELECT pg_catalog.pg_extension_config_dump('miosa.adapters', 'WHERE NOT builtin');
SELECT pg_catalog.pg_extension_config_dump('miosa.endpoints', '');
