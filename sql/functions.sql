-- Functions written in C: the operations, and what the functions written in
-- PL/pgSQL need of the C code.

-- Raise a condition.
CREATE FUNCTION miosa.raise_condition(condition text, message text, detail text, hint text)
RETURNS void LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_raise_condition';
COMMENT ON FUNCTION miosa.raise_condition(text, text, text, text) IS
	'Raises a condition by its name, in the form that the caller (psql or PostgREST) understands';

-- Refuse a value that an argument or a column must not have.
CREATE FUNCTION miosa.refuse_value(what text, name text, value text, detail text, hint text)
RETURNS void LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_refuse_value';
COMMENT ON FUNCTION miosa.refuse_value(text, text, text, text, text) IS
	'Raises INVALID_ARGUMENT for a value; what is argument, column or field with its name, or a noun with a null name';

-- Refuse a value that is too long.
CREATE FUNCTION miosa.refuse_length(what text, length integer, unit text, maximum integer, hint text)
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_refuse_length';
COMMENT ON FUNCTION miosa.refuse_length(text, integer, text, integer, text) IS
	'Raises INVALID_ARGUMENT for a value that has more bytes or characters than the maximum';

-- Raise the error that a foreign key would raise.
CREATE FUNCTION miosa.raise_reference(message text, detail text, "table" text, "constraint" text)
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_raise_reference';
COMMENT ON FUNCTION miosa.raise_reference(text, text, text, text) IS 'Raises foreign_key_violation as a foreign key would';

-- Qualify the functions of the extension in a text.
CREATE FUNCTION miosa.qualify(value text)
RETURNS text LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_qualify';
COMMENT ON FUNCTION miosa.qualify(text) IS
	'A text that proposes calls, with our schema before the functions that the caller''s search_path does not find';

-- Waits for locks.  Functions that people and programs call have entry points
-- that bound them (entry_points.sql, console.sql); one that goes on when it
-- meets a lock declares lock_wait.

-- Bound the waits of the caller.
CREATE FUNCTION miosa.bound_waits() RETURNS integer
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_bound_waits';
COMMENT ON FUNCTION miosa.bound_waits() IS 'Limits lock waits of the running function to miosa_rollback.lock_wait; returns the milliseconds';

-- Look for a process that locks a whole table.
CREATE FUNCTION miosa.table_holder(OUT pid integer, OUT description text)
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_table_holder';
COMMENT ON FUNCTION miosa.table_holder() IS 'Other process that keeps readers or writers out of a table of the extension; null: none';

-- Lock an artifact by its URI, for the rest of the transaction.
CREATE FUNCTION miosa.lock_uri(uri text, exclusive boolean, wait boolean) RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_lock_uri';
COMMENT ON FUNCTION miosa.lock_uri(text, boolean, boolean) IS 'Locks an artifact''s URI until the transaction ends; false when another has it and wait is false';

-- Check an id.
CREATE FUNCTION miosa.check_id(value text, what text)
RETURNS text LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_check_id';
COMMENT ON FUNCTION miosa.check_id(text, text) IS
	'Returns value if it is an id (1 to 255 characters of A-Z a-z 0-9 . _ : -), raises INVALID_ARGUMENT otherwise; what names the argument';

-- The key of a call, which may come in a header.
CREATE FUNCTION miosa.request_key(idempotency_key text)
RETURNS text LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_request_key';
COMMENT ON FUNCTION miosa.request_key(text) IS 'Idempotency key of a call: the argument, else the header Idempotency-Key of an HTTP request';

-- The number before the epochs of a term.
CREATE FUNCTION miosa.first_epoch(term bigint)
RETURNS bigint LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_first_epoch';
COMMENT ON FUNCTION miosa.first_epoch(bigint) IS 'Number that precedes the epochs of a term';

-- The term of an epoch.
CREATE FUNCTION miosa.epoch_term(epoch bigint)
RETURNS bigint LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_epoch_term';
COMMENT ON FUNCTION miosa.epoch_term(bigint) IS 'Term that an epoch belongs to';

-- Choose the default target without asking storage.
CREATE FUNCTION miosa.default_target(deployment_id text)
RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_default_target';
COMMENT ON FUNCTION miosa.default_target(text) IS
	'The target of a rollback without a version, without asking storage; null when there is none';

-- One that is not older, or does not exist, crosses none.
CREATE FUNCTION miosa.schema_marks(deployment_id text, version_id text)
RETURNS text[] LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_schema_marks';
COMMENT ON FUNCTION miosa.schema_marks(text, text) IS
	'Versions marked as incompatible that a rollback from the active version to this one crosses, newest first';

-- Whether a version is marked as bad.  It looks at tenants, since views for readers
-- ask it.
CREATE FUNCTION miosa.bad_mark(deployment_id text, version_id text) RETURNS jsonb
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_bad_mark';
COMMENT ON FUNCTION miosa.bad_mark(text, text) IS
	'Why a version, or its artifact, is marked as bad: scope, since, by, reason; null if it is not';

-- Roll a deployment back.
CREATE FUNCTION @extschema@.miosa_rollback(
	deployment_id text,
	version_id text DEFAULT NULL,
	idempotency_key text DEFAULT NULL,
	reason text DEFAULT NULL,
	expected_active text DEFAULT NULL,
	attribution jsonb DEFAULT NULL,
	cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false,
	hold boolean DEFAULT NULL,
	hold_for interval DEFAULT NULL,
	mark_bad boolean DEFAULT false,
	served_at timestamptz DEFAULT NULL)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_rollback';
COMMENT ON FUNCTION @extschema@.miosa_rollback(text, text, text, text, text, jsonb, text, boolean, boolean, interval, boolean, timestamptz) IS
	'Makes an older version of a deployment active and delivers its route to every edge at commit';

-- Roll many deployments back, for our own use.  Elements of the arrays belong to
-- each other; an array that is null has only nulls.
CREATE FUNCTION miosa.rollback_group(
	deployment_ids text[],
	version_ids text[] DEFAULT NULL,
	idempotency_keys text[] DEFAULT NULL,
	expected_active text[] DEFAULT NULL,
	reason text DEFAULT NULL,
	attribution jsonb DEFAULT NULL,
	cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false,
	all_or_nothing boolean DEFAULT false,
	OUT deployment_id text,
	OUT outcome text,
	OUT condition text,
	OUT message text,
	OUT detail text,
	OUT hint text,
	OUT response jsonb)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_rollback_group';
COMMENT ON FUNCTION miosa.rollback_group(text[], text[], text[], text[], text, jsonb, text, boolean, boolean) IS
	'Rolls deployments back in one statement: a row each, by id, with the outcome and the response, or the condition that refuses it; all_or_nothing: that is an error';

-- Promote a version.
CREATE FUNCTION @extschema@.miosa_promote(
	deployment_id text,
	version_id text,
	idempotency_key text DEFAULT NULL,
	reason text DEFAULT NULL,
	expected_active text DEFAULT NULL,
	attribution jsonb DEFAULT NULL,
	cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false,
	automatic boolean DEFAULT NULL,
	accept_bad boolean DEFAULT false,
	break_glass boolean DEFAULT false)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_promote';
COMMENT ON FUNCTION @extschema@.miosa_promote(text, text, text, text, text, jsonb, text, boolean, boolean, boolean, boolean) IS
	'Makes a version of a deployment active and remembers which one it replaced';

-- The same calls for programs that go on after a refusal.

-- Try a rollback.
CREATE FUNCTION @extschema@.miosa_try_rollback(
	deployment_id text,
	version_id text DEFAULT NULL,
	idempotency_key text DEFAULT NULL,
	reason text DEFAULT NULL,
	expected_active text DEFAULT NULL,
	attribution jsonb DEFAULT NULL,
	cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false,
	hold boolean DEFAULT NULL,
	hold_for interval DEFAULT NULL,
	mark_bad boolean DEFAULT false,
	served_at timestamptz DEFAULT NULL)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_try_rollback';
COMMENT ON FUNCTION @extschema@.miosa_try_rollback(text, text, text, text, text, jsonb, text, boolean, boolean, interval, boolean, timestamptz) IS
	'Calls miosa_rollback, and returns and audits a refusal instead of raising it';

-- Try a promotion.
CREATE FUNCTION @extschema@.miosa_try_promote(
	deployment_id text,
	version_id text,
	idempotency_key text DEFAULT NULL,
	reason text DEFAULT NULL,
	expected_active text DEFAULT NULL,
	attribution jsonb DEFAULT NULL,
	cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false,
	automatic boolean DEFAULT NULL,
	accept_bad boolean DEFAULT false,
	break_glass boolean DEFAULT false)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_try_promote';
COMMENT ON FUNCTION @extschema@.miosa_try_promote(text, text, text, text, text, jsonb, text, boolean, boolean, boolean, boolean) IS
	'Calls miosa_promote, and returns and audits a refusal instead of raising it';

-- Undo an operation.
CREATE FUNCTION @extschema@.miosa_undo(
	deployment_id text,
	operation_id text DEFAULT NULL,
	idempotency_key text DEFAULT NULL,
	reason text DEFAULT NULL)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_undo';
COMMENT ON FUNCTION @extschema@.miosa_undo(text, text, text, text) IS
	'Makes the version active again that was active before the newest operation, with its hold';

-- Hold a deployment.
CREATE FUNCTION @extschema@.miosa_hold(
	deployment_id text,
	reason text DEFAULT NULL,
	until timestamptz DEFAULT NULL,
	idempotency_key text DEFAULT NULL)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_hold';
COMMENT ON FUNCTION @extschema@.miosa_hold(text, text, timestamptz, text) IS
	'Holds a deployment: automatic promotions are refused until a time, or until the hold is lifted';

-- Lift the hold of a deployment.
CREATE FUNCTION @extschema@.miosa_release(
	deployment_id text,
	promote text DEFAULT NULL,
	reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_release';
COMMENT ON FUNCTION @extschema@.miosa_release(text, text, text, text) IS
	'Lifts the hold of a deployment; promote => ''newest'' promotes the newest version that it refused';

-- Judge a rollback without doing it.
CREATE FUNCTION @extschema@.miosa_plan(
	deployment_id text,
	version_id text DEFAULT NULL,
	served_at timestamptz DEFAULT NULL)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_plan';
COMMENT ON FUNCTION @extschema@.miosa_plan(text, text, timestamptz) IS
	'What miosa_rollback would do now: target, outcome, findings of all checks, number of edges';

-- Operations that move nothing (src/operation/note.c).  The function that makes
-- the change calls note_begin() first, and returns what that returns, unless it is
-- null; and note_write() at the end.

-- Lock the deployment and look for the key.
CREATE FUNCTION miosa.note_begin(action text, deployment_id text, idempotency_key text, arguments text[], reason text)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_note_begin_row';
COMMENT ON FUNCTION miosa.note_begin(text, text, text, text[], text) IS
	'Locks a deployment for an operation that moves nothing; returns the stored response of the key, or null';

-- Write the audit event and the response.
CREATE FUNCTION miosa.note_write(action text, deployment_id text, idempotency_key text, arguments text[], reason text, marks jsonb,
	warnings jsonb DEFAULT NULL)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_note_write_row';
COMMENT ON FUNCTION miosa.note_write(text, text, text, text[], text, jsonb, jsonb) IS
	'Writes the audit event of an operation that moves nothing, with these marks, and returns its response, with these warnings';

-- Signatures of presigned URIs are secrets.

-- A URI in a message, or in a log.
CREATE FUNCTION miosa.mask_uri(uri text) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_mask_uri';
COMMENT ON FUNCTION miosa.mask_uri(text) IS 'The URI without its query and without credentials';

-- A URI in a result.
CREATE FUNCTION miosa.shown_uri(uri text) RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_shown_uri';
COMMENT ON FUNCTION miosa.shown_uri(text) IS 'The URI if the caller fetches artifacts (has the rights of miosa_edge), else without its query';
