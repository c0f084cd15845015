-- The platform's HTTP API, for PostgREST and gateways that follow its
-- conventions: a schema of functions with the names and parameters of that API,
-- each of which calls one of the extension with the rights of its caller, and a
-- pre-request that names the actor.
--
-- This is no part of the extension, and "make install" does not run it.  A
-- superuser runs it in the database of the extension, as it is or changed:
--
--     psql -v ON_ERROR_STOP=1 -d control -f gateway.sql
--
-- The gateway then needs db-schemas = "miosa_gateway" and
-- db-pre-request = "miosa_gateway.pre_request".  docs/gateway.md has the rest.

BEGIN;

CREATE SCHEMA miosa_gateway;
COMMENT ON SCHEMA miosa_gateway IS 'The platform''s HTTP API over miosa_rollback';

-- Name the actor of a request by the token that the gateway has checked: its
-- key, else its user, else the role of the request.  This counts where that role
-- may speak for others; where the gateway's role is trusted, its claims count.
CREATE FUNCTION miosa_gateway.pre_request() RETURNS void
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT set_config('miosa_rollback.actor', coalesce('api_key:' || (c.claims ->> 'key_id'), 'user:' || (c.claims ->> 'sub'), ''), true)
	FROM (SELECT coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb AS claims) c;
END;
COMMENT ON FUNCTION miosa_gateway.pre_request() IS 'Names the actor of a request by its token';

-- POST /deployments/:id/rollback; the key comes in the header Idempotency-Key.
CREATE FUNCTION miosa_gateway.rollback(deployment_id text DEFAULT NULL, version_id text DEFAULT NULL, reason text DEFAULT NULL,
	expected_active text DEFAULT NULL, attribution jsonb DEFAULT NULL, cutover text DEFAULT NULL, accept_unverified boolean DEFAULT false)
RETURNS jsonb
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT miosa_rollback(deployment_id, version_id, NULL, reason, expected_active, attribution, cutover, accept_unverified);
END;
COMMENT ON FUNCTION miosa_gateway.rollback(text, text, text, text, jsonb, text, boolean) IS 'Rolls a deployment back; without a version, to the previous one';

-- POST /deployments/:id/versions/:vid/promote
CREATE FUNCTION miosa_gateway.promote(deployment_id text DEFAULT NULL, version_id text DEFAULT NULL, reason text DEFAULT NULL,
	expected_active text DEFAULT NULL, attribution jsonb DEFAULT NULL, cutover text DEFAULT NULL, accept_unverified boolean DEFAULT false)
RETURNS jsonb
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT miosa_promote(deployment_id, version_id, NULL, reason, expected_active, attribution, cutover, accept_unverified);
END;
COMMENT ON FUNCTION miosa_gateway.promote(text, text, text, text, jsonb, text, boolean) IS 'Makes a version of a deployment active';

-- Alertmanager's webhook, whose body has no parameters: an argument without a name
-- receives the whole body.
CREATE FUNCTION miosa_gateway.alert(jsonb) RETURNS jsonb
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT miosa_alert($1);
END;
COMMENT ON FUNCTION miosa_gateway.alert(jsonb) IS 'Takes what Alertmanager sends';

-- GET /deployments/:id/rollback/plan
CREATE FUNCTION miosa_gateway.plan(deployment_id text DEFAULT NULL, version_id text DEFAULT NULL) RETURNS jsonb
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT miosa_plan(deployment_id, version_id);
END;
COMMENT ON FUNCTION miosa_gateway.plan(text, text) IS 'What a rollback would do now';

-- GET /deployments/:id
CREATE FUNCTION miosa_gateway.deployment(deployment_id text DEFAULT NULL) RETURNS jsonb
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT miosa_deployment(deployment_id);
END;
COMMENT ON FUNCTION miosa_gateway.deployment(text) IS 'A deployment';

-- GET /deployments/:id/versions/:vid
CREATE FUNCTION miosa_gateway.version(deployment_id text DEFAULT NULL, version_id text DEFAULT NULL) RETURNS jsonb
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT miosa_version(deployment_id, version_id);
END;
COMMENT ON FUNCTION miosa_gateway.version(text, text) IS 'A version of a deployment, and its release';

-- GET /deployments/:id/versions?state&limit&cursor
CREATE FUNCTION miosa_gateway.versions(deployment_id text DEFAULT NULL, state text DEFAULT NULL, "limit" integer DEFAULT 20, cursor text DEFAULT NULL)
RETURNS jsonb
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT miosa_versions(deployment_id, state, "limit", cursor);
END;
COMMENT ON FUNCTION miosa_gateway.versions(text, text, integer, text) IS 'Versions of a deployment, a page at a time';

-- GET /audit-log?action&actor_id&resource_type&resource_id&since&until&limit&cursor;
-- all events are about deployments.
CREATE FUNCTION miosa_gateway.audit_log(action text DEFAULT NULL, actor_id text DEFAULT NULL, resource_type text DEFAULT NULL,
	resource_id text DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, "limit" integer DEFAULT 50,
	cursor text DEFAULT NULL)
RETURNS jsonb
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT CASE WHEN coalesce(resource_type, 'deployment') = 'deployment'
		THEN miosa_audit_log(resource_id, NULL, action, actor_id, since, until, "limit", cursor)
		ELSE '{"data": [], "next_cursor": null}'::jsonb END;
END;
COMMENT ON FUNCTION miosa_gateway.audit_log(text, text, text, text, timestamptz, timestamptz, integer, text) IS 'Audit events, a page at a time';

-- GET /page?deployment, for browsers: the domain's name is the media type that
-- PostgREST serves the text as.
CREATE DOMAIN miosa_gateway."text/html" AS text;
COMMENT ON DOMAIN miosa_gateway."text/html" IS 'A text that is served as HTML';

CREATE FUNCTION miosa_gateway.page(deployment text DEFAULT NULL) RETURNS miosa_gateway."text/html"
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT miosa_page(deployment)::miosa_gateway."text/html";
END;
COMMENT ON FUNCTION miosa_gateway.page(text) IS 'What needs somebody now, or all about one deployment, as a page';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA miosa_gateway FROM PUBLIC;
GRANT USAGE ON SCHEMA miosa_gateway TO miosa_operator;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA miosa_gateway TO miosa_operator;

COMMIT;
