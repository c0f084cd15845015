/*-------------------------------------------------------------------------
 *
 * operation.c
 *	  Writing of an operation.
 *
 * One statement writes the rows of every operation and returns the deployment's
 * row as written, from which the response is read; a second one stores that
 * under the key.  The INSERT of the key has no ON CONFLICT: an expired record was
 * deleted before, any other conflict is an error.  The time is taken under the
 * deployment's lock, so that it increases with seq.
 *
 * If a plain UPDATE moves the pointer, its trigger writes the deployment's
 * row: then the statement computes the new values instead of updating the row,
 * and the trigger puts them into the new tuple.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/sha2.h"
#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "common/query.h"
#include "operation/capacity.h"
#include "operation/operation.h"
#include "operation/response.h"
#include "operation/write_guard.h"

/* Arguments of write_query, in order. */
enum
{
	ARG_DEPLOYMENT,
	ARG_TARGET,
	ARG_RELEASE,
	ARG_SHA256,
	ARG_SERVING,
	ARG_STATE,
	ARG_NOW,
	ARG_OPERATION,
	ARG_ACTION,
	ARG_OUTCOME,
	ARG_RULE,
	ARG_PREVIOUS,
	ARG_ACTOR_TYPE,
	ARG_ACTOR_ID,
	ARG_KEY,
	ARG_REASON,
	ARG_ATTRIBUTION,
	ARG_MARKS,
	ARG_COUNT,

	/* of the row that a plain UPDATE writes */
	ARG_ROW_TENANT = ARG_COUNT,
	ARG_ROW_WORKSPACE,
	ARG_ROW_USER,
	ARG_ROW_PROJECT,
	ARG_ROW_COUNT
};

/* Columns of the result of both statements, from 1. */
enum
{
	RESULT_ROUTE_SEQ = 1,
	RESULT_RECENT_SERVED,
	RESULT_SEQ,					/* of write_query */
	RESULT_ROW,
	RESULT_MOVED = RESULT_SEQ,	/* the first of row_query's MOVED_COLUMNS */
};

/* Arguments of key_query, in order. */
enum
{
	KEY_DEPLOYMENT,
	KEY_KEY,
	KEY_OPERATION,
	KEY_FINGERPRINT,
	KEY_RESPONSE,
	KEY_SEQ,
	KEY_NOW,
	KEY_EXPIRES,
	KEY_COUNT
};

/*
 * Columns of the deployment's row p that an operation changes, and their new
 * values in the same order.
 */
#define MOVED_COLUMNS \
	"active_version_id, active_release_id, running_artifact_sha256," \
	" serving_version_id, state, recent_served, waiting_since, seq," \
	" route_seq, last_rollback_at, updated_at"
#define MOVED_VALUES \
	"$2, $3, $4, $5, $6," \
	" CASE WHEN $5 IS NULL THEN miosa.add_served(p.recent_served," \
	" coalesce(p.serving_version_id, p.active_version_id), $2)" \
	" ELSE p.recent_served END," \
	" CASE WHEN $5 IS NULL THEN NULL" \
	" WHEN p.active_version_id = $2 THEN coalesce(p.waiting_since, $7)" \
	" ELSE $7 END," \
	" p.seq + 1, p.route_seq + 1," \
	" CASE WHEN $8 = 'rollback' THEN $7 END," \
	" CASE WHEN $10 = 'unchanged' THEN p.updated_at ELSE $7 END"

/* Insert the audit event and the outbox entry of the changed row m. */
#define EVENT_AND_WORK \
	" event AS (" \
	" INSERT INTO miosa.audit_events (deployment_id, seq, tenant_id, action," \
	" outcome, target_rule, previous_version_id, target_version_id," \
	" actor_type, actor_id, session_user_name, client_addr," \
	" idempotency_key, reason, attribution, marks, created_at)" \
	" SELECT m.id, m.seq, m.tenant_id, $9, $10, $11, $12, $2, $13, $14," \
	" session_user, pg_catalog.inet_client_addr(), $15, $16," \
	" coalesce($17, pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(" \
	" 'external_workspace_id', m.external_workspace_id," \
	" 'external_user_id', m.external_user_id," \
	" 'external_project_id', m.external_project_id))), $18::jsonb, $7" \
	" FROM moved m" \
	"), queued AS (" \
	" INSERT INTO miosa.outbox (xid, deployment_id, kind, route_seq, created_at)" \
	" SELECT pg_catalog.pg_current_xact_id(), m.id, 'route', m.route_seq, $7" \
	" FROM moved m)"

#define ARG_TYPES \
	[ARG_DEPLOYMENT] = TEXTOID, \
	[ARG_TARGET] = TEXTOID, \
	[ARG_RELEASE] = TEXTOID, \
	[ARG_SHA256] = TEXTOID, \
	[ARG_SERVING] = TEXTOID, \
	[ARG_STATE] = TEXTOID, \
	[ARG_NOW] = TIMESTAMPTZOID, \
	[ARG_OPERATION] = TEXTOID, \
	[ARG_ACTION] = TEXTOID, \
	[ARG_OUTCOME] = TEXTOID, \
	[ARG_RULE] = TEXTOID, \
	[ARG_PREVIOUS] = TEXTOID, \
	[ARG_ACTOR_TYPE] = TEXTOID, \
	[ARG_ACTOR_ID] = TEXTOID, \
	[ARG_KEY] = TEXTOID, \
	[ARG_REASON] = TEXTOID, \
	[ARG_ATTRIBUTION] = JSONBOID, \
	[ARG_MARKS] = TEXTOID

static MrbQuery write_query = {
	.sql = "WITH moved AS ("
	" UPDATE miosa.deployments p SET (" MOVED_COLUMNS ") = ROW(" MOVED_VALUES ")"
	" WHERE p.id = $1"
	" RETURNING p.id, p.seq, p.route_seq, p.recent_served, p.tenant_id,"
	" p.external_workspace_id, p.external_user_id, p.external_project_id,"
	" p AS row"
	")," EVENT_AND_WORK
	" SELECT m.route_seq, m.recent_served, m.seq, m.row FROM moved m",
	.nargs = ARG_COUNT,
	.argtypes = {ARG_TYPES},
};

static MrbQuery key_query = {
	.sql = "INSERT INTO miosa.idempotency_keys (deployment_id, key, operation,"
	" fingerprint, response, seq, created_at, expires_at)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
	.nargs = KEY_COUNT,
	.argtypes = {
		[KEY_DEPLOYMENT] = TEXTOID,
		[KEY_KEY] = TEXTOID,
		[KEY_OPERATION] = TEXTOID,
		[KEY_FINGERPRINT] = BYTEAOID,
		[KEY_RESPONSE] = JSONBOID,
		[KEY_SEQ] = INT8OID,
		[KEY_NOW] = TIMESTAMPTZOID,
		[KEY_EXPIRES] = TIMESTAMPTZOID,
	},
	.expected = MRB_QUERY_INSERT,
};

static MrbQuery row_query = {
	.sql = "WITH moved (id, tenant_id, external_workspace_id,"
	" external_user_id, external_project_id, " MOVED_COLUMNS ") AS ("
	" SELECT p.id, $19, $20, $21, $22, " MOVED_VALUES
	" FROM miosa.deployments p WHERE p.id = $1"
	")," EVENT_AND_WORK
	" SELECT m.route_seq, m.recent_served, " MOVED_COLUMNS " FROM moved m",
	.nargs = ARG_ROW_COUNT,
	.argtypes = {
		ARG_TYPES,
		[ARG_ROW_TENANT] = TEXTOID,
		[ARG_ROW_WORKSPACE] = TEXTOID,
		[ARG_ROW_USER] = TEXTOID,
		[ARG_ROW_PROJECT] = TEXTOID,
	},
};

/* A separate statement, because few operations request instances. */
static MrbQuery capacity_query = {
	.sql = "WITH wanted AS MATERIALIZED (SELECT miosa.want_capacity($1, $2))"
	" INSERT INTO miosa.outbox (xid, deployment_id, kind, route_seq, created_at)"
	" SELECT pg_catalog.pg_current_xact_id(), $1, 'capacity', $4, $3"
	" FROM wanted",
	.nargs = 4,
	.argtypes = {TEXTOID, TEXTOID, TIMESTAMPTZOID, INT8OID},
	.expected = MRB_QUERY_INSERT,
};

/*
 * Set promoted_over of the promoted version to the one that it replaces.  If
 * the promoted version was in the chain already, the version after it is
 * linked to the version before it, so that the chain never is a circle.
 */
static MrbQuery promote_query = {
	.sql = "WITH relinked AS ("
	" UPDATE miosa.versions v SET promoted_over = nullif(t.promoted_over, v.id)"
	" FROM miosa.versions t"
	" WHERE t.deployment_id = $1 AND t.id = $2"
	" AND v.deployment_id = $1 AND v.promoted_over = $2"
	" AND v.id <> $2"
	") UPDATE miosa.versions v SET promoted_over = $3, promoted_at = $4,"
	" promotion_seq = p.seq + 1, updated_at = $4"
	" FROM miosa.deployments p"
	" WHERE p.id = $1 AND v.deployment_id = $1 AND v.id = $2",
	.nargs = 4,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID},
	.expected = MRB_QUERY_UPDATE,
};

/* Names of an operation, by MrbAction. */
static const struct
{
	const char *operation;		/* of the idempotency record */
	const char *action;			/* of the audit event */
}			names[] = {
	[MRB_ROLLBACK] = {"rollback", "deployment.rollback"},
	[MRB_PROMOTE] = {"promote", "deployment.version.promote"},
	[MRB_UNPUBLISH] = {"unpublish", "deployment.unpublish"},
};

static void store_response(const MrbOperation *operation, Jsonb *packed,
						   int64 seq, TimestampTz now);
static void fill_args(const MrbOperation *operation, TimestampTz now,
					  Datum *values, bool *nulls);
static void set_text(Datum *values, bool *nulls, int arg, const char *value);
static bool is_move(const MrbOperation *operation);
static void link_promotion(const MrbOperation *operation, TimestampTz now);
static void update_capacity(const MrbOperation *operation, TimestampTz now);

/*
 * Write one operation.
 */
Jsonb *
mrb_operation_write(const MrbOperation *operation)
{
	TimestampTz now = GetCurrentTimestamp();
	Datum		values[ARG_COUNT] = {0};
	bool		nulls[ARG_COUNT] = {false};
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context;
	TupleTableSlot *row;
	MrbResponse *response;
	Jsonb	   *packed = NULL;
	Jsonb	   *result;
	int64		seq;
	bool		isnull;

	fill_args(operation, now, values, nulls);
	mrb_query_open();
	if (operation->action == MRB_PROMOTE && is_move(operation))
		link_promotion(operation, now);
	if (mrb_write_guard_run(&write_query, values, nulls) != 1)
		elog(ERROR, "deployment \"%s\" vanished under its lock",
			 operation->deployment_id);
	row = mrb_response_slot(DatumGetHeapTupleHeader(mrb_query_datum(0, RESULT_ROW,
																	&isnull)));
	response = mrb_response_read(row, operation);
	context = MemoryContextSwitchTo(caller);
	result = mrb_response_build(response);
	MemoryContextSwitchTo(context);
	if (operation->key != NULL)
		packed = mrb_response_pack(response, now);
	ExecDropSingleTupleTableSlot(row);
	seq = mrb_query_int64(0, RESULT_SEQ, 0);
	update_capacity(operation, now);
	if (packed != NULL)
		store_response(operation, packed, seq, now);
	mrb_query_close();
	return result;
}

/*
 * Write all of an operation but the deployment's row, which a plain UPDATE writes.
 */
void
mrb_operation_write_row(const MrbOperation *operation, const MrbOwner *owner,
						MrbOperationColumns *moved)
{
	TimestampTz now = GetCurrentTimestamp();
	Datum		values[ARG_ROW_COUNT] = {0};
	bool		nulls[ARG_ROW_COUNT] = {false};

	fill_args(operation, now, values, nulls);
	set_text(values, nulls, ARG_ROW_TENANT, owner->tenant_id);
	set_text(values, nulls, ARG_ROW_WORKSPACE, owner->external_workspace_id);
	set_text(values, nulls, ARG_ROW_USER, owner->external_user_id);
	set_text(values, nulls, ARG_ROW_PROJECT, owner->external_project_id);

	mrb_query_open();
	if (operation->action == MRB_PROMOTE && is_move(operation))
		link_promotion(operation, now);
	if (mrb_query_run(&row_query, values, nulls) != 1)
		elog(ERROR, "deployment \"%s\" vanished under its lock",
			 operation->deployment_id);
	for (int i = 0; i < MRB_OPERATION_COLUMNS; i++)
	{
		moved->columns[i] = mrb_query_name(RESULT_MOVED + i);
		moved->values[i] = mrb_query_copy(0, RESULT_MOVED + i,
										  &moved->nulls[i]);
	}
	update_capacity(operation, now);
	mrb_query_close();
}

/*
 * Store the response under the key.
 */
static void
store_response(const MrbOperation *operation, Jsonb *packed, int64 seq,
			   TimestampTz now)
{
	bytea	   *fingerprint = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	Datum		values[KEY_COUNT] = {0};
	bool		nulls[KEY_COUNT] = {false};

	SET_VARSIZE(fingerprint, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	memcpy(VARDATA(fingerprint), operation->fingerprint,
		   PG_SHA256_DIGEST_LENGTH);
	set_text(values, nulls, KEY_DEPLOYMENT, operation->deployment_id);
	set_text(values, nulls, KEY_KEY, operation->key);
	set_text(values, nulls, KEY_OPERATION, names[operation->action].operation);
	values[KEY_FINGERPRINT] = PointerGetDatum(fingerprint);
	values[KEY_RESPONSE] = JsonbPGetDatum(packed);
	values[KEY_SEQ] = Int64GetDatum(seq);
	values[KEY_NOW] = TimestampTzGetDatum(now);
	values[KEY_EXPIRES] = TimestampTzGetDatum(operation->key_expires_at);
	(void) mrb_query_run(&key_query, values, nulls);
}

/*
 * Fill in the arguments that both statements share.
 */
static void
fill_args(const MrbOperation *operation, TimestampTz now, Datum *values,
		  bool *nulls)
{
	set_text(values, nulls, ARG_DEPLOYMENT, operation->deployment_id);
	set_text(values, nulls, ARG_TARGET, operation->target_version_id);
	set_text(values, nulls, ARG_RELEASE, operation->target_release_id);
	set_text(values, nulls, ARG_SHA256, operation->target_sha256);
	set_text(values, nulls, ARG_SERVING, operation->serving_version_id);
	set_text(values, nulls, ARG_STATE, operation->state);
	values[ARG_NOW] = TimestampTzGetDatum(now);
	set_text(values, nulls, ARG_OPERATION, names[operation->action].operation);
	set_text(values, nulls, ARG_ACTION, names[operation->action].action);
	set_text(values, nulls, ARG_OUTCOME, operation->outcome);
	set_text(values, nulls, ARG_RULE, operation->target_rule);
	set_text(values, nulls, ARG_PREVIOUS, operation->previous_version_id);
	set_text(values, nulls, ARG_ACTOR_TYPE, operation->actor_type);
	set_text(values, nulls, ARG_ACTOR_ID, operation->actor_id);
	set_text(values, nulls, ARG_KEY, operation->key);
	set_text(values, nulls, ARG_REASON, operation->reason);
	values[ARG_ATTRIBUTION] = JsonbPGetDatum(operation->attribution);
	nulls[ARG_ATTRIBUTION] = operation->attribution == NULL;
	set_text(values, nulls, ARG_MARKS, operation->accepted_risks);
}

/*
 * Set a text argument; NULL becomes SQL null.
 */
static void
set_text(Datum *values, bool *nulls, int arg, const char *value)
{
	nulls[arg] = value == NULL;
	if (value != NULL)
		values[arg] = CStringGetTextDatum(value);
}

/*
 * Whether the operation makes another version active.
 */
static bool
is_move(const MrbOperation *operation)
{
	return operation->previous_version_id == NULL ||
		strcmp(operation->previous_version_id,
			   operation->target_version_id) != 0;
}

/*
 * Record which version the promoted one replaces.
 */
static void
link_promotion(const MrbOperation *operation, TimestampTz now)
{
	Datum		values[4] = {0};
	bool		nulls[4] = {false};

	set_text(values, nulls, 0, operation->deployment_id);
	set_text(values, nulls, 1, operation->target_version_id);
	set_text(values, nulls, 2, operation->previous_version_id);
	values[3] = TimestampTzGetDatum(now);
	if (mrb_query_run(&promote_query, values, nulls) != 1)
		elog(ERROR, "version \"%s\" vanished under its deployment's lock",
			 operation->target_version_id);
}

/*
 * Update the capacity of the deployment: request instances of the target, and
 * keep those of versions that are needed again.  The current result is that of
 * the statement that wrote the operation.
 */
static void
update_capacity(const MrbOperation *operation, TimestampTz now)
{
	Datum		values[4] = {0};
	bool		nulls[4] = {false};
	Datum		route_seq;
	Datum		recent_served;
	bool		isnull;

	if (!operation->ask_capacity && !operation->runs_instances)
		return;
	route_seq = mrb_query_datum(0, RESULT_ROUTE_SEQ, &isnull);
	recent_served = mrb_query_datum(0, RESULT_RECENT_SERVED, &isnull);
	set_text(values, nulls, 0, operation->deployment_id);
	set_text(values, nulls, 1, operation->target_version_id);
	if (operation->ask_capacity)
	{
		values[2] = TimestampTzGetDatum(now);
		values[3] = route_seq;
		(void) mrb_query_run(&capacity_query, values, NULL);
	}
	if (operation->runs_instances)
		mrb_capacity_keep_needed(operation->deployment_id,
								 operation->target_version_id,
								 operation->serving_version_id,
								 recent_served);
	if (operation->action == MRB_UNPUBLISH)
		mrb_capacity_cancel(operation->deployment_id);
}
