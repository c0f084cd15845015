/*-------------------------------------------------------------------------
 *
 * operation.c
 *	  Writing of an operation.
 *
 * One statement, without a query, writes the rows of every operation: first
 * the deployment's, then what follows from that row as written.  The INSERT of
 * the key has no ON CONFLICT: an expired record was deleted before, any other
 * conflict is an error.  The time is taken under the deployment's lock, so that
 * it increases with seq.
 *
 * If a plain UPDATE moves the pointer, its trigger writes the deployment's
 * row: then only the new values are computed here, and the trigger puts them
 * into the new tuple.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "common/index_lookup.h"
#include "common/query.h"
#include "common/row_write.h"
#include "operation/audit_chain.h"
#include "operation/bad_version.h"
#include "operation/capacity.h"
#include "operation/enqueue.h"
#include "operation/operation.h"
#include "operation/operation_count.h"
#include "operation/response.h"
#include "operation/served.h"

/* Length of marks that are kept for the next operation, and a NUL. */
#define MARKS_KEPT 256

/* Columns of a deployment: those that an operation writes, and others. */
enum
{
	DEPLOYMENT_ACTIVE,
	DEPLOYMENT_RELEASE,
	DEPLOYMENT_SHA256,
	DEPLOYMENT_SERVING,
	DEPLOYMENT_STATE,
	DEPLOYMENT_RECENT,
	DEPLOYMENT_WAITING,
	DEPLOYMENT_SEQ,
	DEPLOYMENT_ROUTE_SEQ,
	DEPLOYMENT_LAST_ROLLBACK,
	DEPLOYMENT_UPDATED,
	DEPLOYMENT_HEAD,
	DEPLOYMENT_ID,
	DEPLOYMENT_TENANT,
	DEPLOYMENT_WORKSPACE,
	DEPLOYMENT_USER,
	DEPLOYMENT_PROJECT
};

/*
 * deployments_pointer would leave the writes of the extension as they are, and
 * to call it the executor would lock the row once more, which writes 54 bytes
 * of WAL.
 */
static MrbRowWriteTable deployments = {
	.table.name = "deployments",
	.table.columns = {
		[DEPLOYMENT_ACTIVE] = "active_version_id",
		[DEPLOYMENT_RELEASE] = "active_release_id",
		[DEPLOYMENT_SHA256] = "running_artifact_sha256",
		[DEPLOYMENT_SERVING] = "serving_version_id",
		[DEPLOYMENT_STATE] = "state",
		[DEPLOYMENT_RECENT] = "recent_served",
		[DEPLOYMENT_WAITING] = "waiting_since",
		[DEPLOYMENT_SEQ] = "seq",
		[DEPLOYMENT_ROUTE_SEQ] = "route_seq",
		[DEPLOYMENT_LAST_ROLLBACK] = "last_rollback_at",
		[DEPLOYMENT_UPDATED] = "updated_at",
		[DEPLOYMENT_HEAD] = "audit_head",
		[DEPLOYMENT_ID] = "id",
		[DEPLOYMENT_TENANT] = "tenant_id",
		[DEPLOYMENT_WORKSPACE] = "external_workspace_id",
		[DEPLOYMENT_USER] = "external_user_id",
		[DEPLOYMENT_PROJECT] = "external_project_id",
	},
	.table.types = {
		[DEPLOYMENT_RECENT] = TEXTARRAYOID,
		[DEPLOYMENT_WAITING] = TIMESTAMPTZOID,
		[DEPLOYMENT_SEQ] = INT8OID,
		[DEPLOYMENT_ROUTE_SEQ] = INT8OID,
		[DEPLOYMENT_LAST_ROLLBACK] = TIMESTAMPTZOID,
		[DEPLOYMENT_UPDATED] = TIMESTAMPTZOID,
		[DEPLOYMENT_HEAD] = BYTEAOID,
	},
	.nwritten = MRB_OPERATION_COLUMNS,
	.skipped = "deployments_pointer",
};

static MrbIndexLookup deployment_row = {
	.table.name = "deployments",
	.table.index = "deployments_pkey",
};

/* In the order of mrb_audit_chain_events; the hash comes last. */
enum
{
	EVENT_DEPLOYMENT,
	EVENT_SEQ,
	EVENT_TENANT,
	EVENT_ACTION,
	EVENT_OUTCOME,
	EVENT_RULE,
	EVENT_PREVIOUS,
	EVENT_TARGET,
	EVENT_ACTOR_TYPE,
	EVENT_ACTOR_ID,
	EVENT_SESSION_USER,
	EVENT_CLIENT,
	EVENT_APPLICATION,
	EVENT_KEY,
	EVENT_REASON,
	EVENT_ATTRIBUTION,
	EVENT_MARKS,
	EVENT_CREATED,
	EVENT_KEEP_UNTIL,
	EVENT_HASH,
	EVENT_COLUMNS
};

static MrbRowWriteTable events = {
	.table.name = "audit_events",
	.table.columns = {
		[EVENT_DEPLOYMENT] = "deployment_id",
		[EVENT_SEQ] = "seq",
		[EVENT_TENANT] = "tenant_id",
		[EVENT_ACTION] = "action",
		[EVENT_OUTCOME] = "outcome",
		[EVENT_RULE] = "target_rule",
		[EVENT_PREVIOUS] = "previous_version_id",
		[EVENT_TARGET] = "target_version_id",
		[EVENT_ACTOR_TYPE] = "actor_type",
		[EVENT_ACTOR_ID] = "actor_id",
		[EVENT_SESSION_USER] = "session_user_name",
		[EVENT_CLIENT] = "client_addr",
		[EVENT_APPLICATION] = "application_name",
		[EVENT_KEY] = "idempotency_key",
		[EVENT_REASON] = "reason",
		[EVENT_ATTRIBUTION] = "attribution",
		[EVENT_MARKS] = "marks",
		[EVENT_CREATED] = "created_at",
		[EVENT_KEEP_UNTIL] = "keep_until",
		[EVENT_HASH] = "hash",
	},
	.table.types = {
		[EVENT_SEQ] = INT8OID,
		[EVENT_CLIENT] = INETOID,
		[EVENT_ATTRIBUTION] = JSONBOID,
		[EVENT_MARKS] = JSONBOID,
		[EVENT_CREATED] = TIMESTAMPTZOID,
		[EVENT_KEEP_UNTIL] = TIMESTAMPTZOID,
		[EVENT_HASH] = BYTEAOID,
	},
	.nwritten = EVENT_COLUMNS,
};

enum
{
	KEY_DEPLOYMENT,
	KEY_KEY,
	KEY_OPERATION,
	KEY_FINGERPRINT,
	KEY_RESPONSE,
	KEY_SEQ,
	KEY_CREATED,
	KEY_EXPIRES,
	KEY_COLUMNS
};

static MrbRowWriteTable keys = {
	.table.name = "idempotency_keys",
	.table.columns = {
		[KEY_DEPLOYMENT] = "deployment_id",
		[KEY_KEY] = "key",
		[KEY_OPERATION] = "operation",
		[KEY_FINGERPRINT] = "fingerprint",
		[KEY_RESPONSE] = "response",
		[KEY_SEQ] = "seq",
		[KEY_CREATED] = "created_at",
		[KEY_EXPIRES] = "expires_at",
	},
	.table.types = {
		[KEY_FINGERPRINT] = BYTEAOID,
		[KEY_RESPONSE] = JSONBOID,
		[KEY_SEQ] = INT8OID,
		[KEY_CREATED] = TIMESTAMPTZOID,
		[KEY_EXPIRES] = TIMESTAMPTZOID,
	},
	.nwritten = KEY_COLUMNS,
};

/* The tables of one statement; those that not every operation writes last. */
enum
{
	WRITE_OUTBOX,
	WRITE_EVENTS,
	WRITE_DEPLOYMENTS,
	WRITE_KEYS,
	WRITE_HOLDS_ADDED,
	WRITE_HOLDS_CHANGED,
	WRITE_TABLES
};

static MrbRowWriteTable *const tables[] = {
	[WRITE_OUTBOX] = &mrb_enqueue_outbox,
	[WRITE_EVENTS] = &events,
	[WRITE_DEPLOYMENTS] = &deployments,
	[WRITE_KEYS] = &keys,
	[WRITE_HOLDS_ADDED] = &mrb_hold_added,
	[WRITE_HOLDS_CHANGED] = &mrb_hold_changed,
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
	[MRB_UNDO] = {"undo", "deployment.undo"},
	[MRB_UNPUBLISH] = {"unpublish", "deployment.unpublish"},
	[MRB_HOLD] = {"hold", "deployment.hold"},
	[MRB_RELEASE] = {"release", "deployment.release"},
	[MRB_MARK_BAD] = {"mark_bad", "deployment.version.mark_bad"},
	[MRB_CLEAR_BAD] = {"clear_bad", "deployment.version.clear_bad"},
	[MRB_RENAME] = {"rename", "deployment.rename"},
	[MRB_MOVE_HOST] = {"move_host", "deployment.host.move"},
	[MRB_REMOVE] = {"remove", "deployment.remove"},
	[MRB_WATCH] = {"watch", "deployment.watch"},
	[MRB_UNWATCH] = {"unwatch", "deployment.unwatch"},
	[MRB_ALERT] = {"alert", "deployment.alert"},
	[MRB_ROLLBACK_REFUSED] = {"rollback_refused", "deployment.rollback.refused"},
	[MRB_PROMOTE_REFUSED] = {"promote_refused", "deployment.version.promote.refused"},
};

/* The values of an audit event. */
typedef struct Event
{
	Datum		values[EVENT_COLUMNS];
	bool		nulls[EVENT_COLUMNS];
} Event;

static bool uses_key(const MrbOperation *operation);
static void append_mark(MrbOperation *operation, const char *member);
static void compute_values(const MrbOperation *operation, TimestampTz now,
						   TupleTableSlot *old, Datum *values, bool *nulls);
static Datum get_column(TupleTableSlot *slot, int column, bool *isnull);
static void write_key(MrbRowWrite *write, const MrbOperation *operation,
					  TimestampTz now, TupleTableSlot *row,
					  const MrbResponse *response);
static void make_event(Event *event, const MrbOperation *operation,
					   TimestampTz now, TupleTableSlot *old,
					   TupleTableSlot *owner, Datum *values, bool *nulls);
static void write_hold(MrbRowWrite *write, const MrbOperation *operation,
					   TimestampTz now, const Event *event);
static Datum add_interval(TimestampTz now, const Interval *interval);
static Datum make_attribution(TupleTableSlot *owner);
static Datum make_marks(const char *marks);
static void set_text(Datum *values, bool *nulls, int column, const char *value);
static bool is_move(const MrbOperation *operation);
static void count(const MrbOperation *operation);
static void link_promotion(const MrbOperation *operation, TimestampTz now);
static void update_capacity(const MrbOperation *operation, TimestampTz now,
							int64 route_seq, Datum recent_served);

/*
 * Return the action of an operation's audit event.
 */
const char *
mrb_operation_action(MrbAction action)
{
	return names[action].action;
}

/*
 * Return the name of an operation.
 */
const char *
mrb_operation_name(MrbAction action)
{
	return names[action].operation;
}

/*
 * Return the name of the operation that has an action.
 */
const char *
mrb_operation_name_of(const char *action)
{
	for (size_t i = 0; i < lengthof(names); i++)
		if (strcmp(names[i].action, action) == 0)
			return names[i].operation;
	return NULL;
}

/*
 * Find an operation that moves nothing by its name.
 */
bool
mrb_operation_find_note(const char *name, MrbAction *action)
{
	for (size_t i = MRB_UNPUBLISH + 1; i < lengthof(names); i++)
	{
		if (strcmp(names[i].operation, name) != 0)
			continue;
		*action = (MrbAction) i;
		return true;
	}
	return false;
}

/*
 * Write one operation.
 */
Jsonb *
mrb_operation_write(const MrbOperation *operation)
{
	MrbRowWrite *write;
	MrbWritten	written = {.at = GetCurrentTimestamp()};
	Jsonb	   *response;

	link_promotion(operation, written.at);
	mrb_hold_remove(&operation->hold, operation->deployment_id);
	write = mrb_operation_begin(uses_key(operation),
								mrb_hold_is_written(&operation->hold), false);
	response = mrb_operation_put(write, operation, &written);
	mrb_row_write_end(write);
	mrb_operation_settle(operation, &written);
	mrb_operation_count_done(true);
	return response;
}

/*
 * Whether the response is stored under the operation's key.
 */
static bool
uses_key(const MrbOperation *operation)
{
	return operation->key != NULL && operation->action < MRB_ROLLBACK_REFUSED;
}

/*
 * Add a member to the marks.
 */
void
mrb_operation_mark(MrbOperation *operation, const char *name, const char *json)
{
	append_mark(operation, psprintf("\"%s\": %s", name, json));
}

/*
 * Add what is done to the hold.
 */
void
mrb_operation_mark_hold(MrbOperation *operation)
{
	char	   *hold = mrb_hold_show(&operation->hold);

	if (hold != NULL)
		mrb_operation_mark(operation, "hold", hold);
}

/*
 * Add the risks that the findings warn of.
 */
void
mrb_operation_mark_risks(MrbOperation *operation, const MrbFinding *artifact,
						 const MrbGuards *guards)
{
	if (mrb_finding_warns(artifact) && artifact->risk != NULL)
		append_mark(operation, artifact->risk);
	for (int i = 0; i < guards->n; i++)
	{
		const MrbFinding *finding = &guards->findings[i];

		if (mrb_finding_warns(finding) && finding->risk != NULL)
			append_mark(operation, finding->risk);
	}
}

/*
 * Whether an operation makes another version active than one that was.
 */
bool
mrb_operation_leaves(const MrbOperation *operation)
{
	return operation->previous_version_id != NULL && is_move(operation);
}

/*
 * Append a member of a JSON object.
 */
static void
append_mark(MrbOperation *operation, const char *member)
{
	if (operation->marks.len > 0)
		appendStringInfoString(&operation->marks, ", ");
	appendStringInfoString(&operation->marks, member);
}

/*
 * Begin the statement of one operation or of many.
 */
MrbRowWrite *
mrb_operation_begin(bool keyed, bool held, bool many)
{
	return mrb_row_write_begin(tables, held ? WRITE_TABLES :
							   keyed ? WRITE_KEYS + 1 : WRITE_KEYS, many);
}

/*
 * Write the rows of an operation, whose time is given.
 */
Jsonb *
mrb_operation_put(MrbRowWrite *write, const MrbOperation *operation,
				  MrbWritten *written)
{
	TimestampTz now = written->at;
	Datum		values[MRB_OPERATION_COLUMNS];
	bool		nulls[MRB_OPERATION_COLUMNS];
	Event		event;
	MrbIndexLookup old;			/* a trigger may call for an operation too */
	TupleTableSlot *row;
	MrbResponse *response;
	Jsonb	   *result;
	bool		isnull;

	if (!mrb_index_lookup_find_again(&deployment_row, &operation->place,
									 operation->deployment_id, NULL))
		elog(ERROR, "deployment \"%s\" vanished under its lock",
			 operation->deployment_id);
	old = deployment_row;
	compute_values(operation, now, old.slot, values, nulls);
	make_event(&event, operation, now, old.slot, old.slot, values, nulls);
	row = mrb_row_write_update(write, WRITE_DEPLOYMENTS, old.slot, values,
							   nulls);
	if (row == NULL)
		elog(ERROR, "deployment \"%s\" vanished under its lock",
			 operation->deployment_id);
	response = mrb_response_read(row, operation);
	if (uses_key(operation))
		write_key(write, operation, now, row, response);
	written->route_seq = DatumGetInt64(get_column(row, DEPLOYMENT_ROUTE_SEQ, &isnull));
	if (!operation->quiet)
		mrb_enqueue_insert(write, WRITE_OUTBOX, operation->deployment_id, "route",
						   written->route_seq, NULL, now);
	mrb_row_write_insert(write, WRITE_EVENTS, event.values, event.nulls);
	write_hold(write, operation, now, &event);
	result = mrb_response_build(response);
	written->recent_served = datumCopy(get_column(row, DEPLOYMENT_RECENT, &isnull),
									   false, -1);
	mrb_index_lookup_close(&old);
	count(operation);
	return result;
}

/*
 * Do what follows from an operation.
 */
void
mrb_operation_settle(const MrbOperation *operation, const MrbWritten *written)
{
	update_capacity(operation, written->at, written->route_seq,
					written->recent_served);
	if (operation->bad_version_id != NULL)
		mrb_bad_version_mark(operation->deployment_id, operation->bad_version_id,
							 written->at, operation->bad_reason,
							 operation->actor_id);
	if (operation->good_version_id != NULL)
		mrb_bad_version_clear(operation->deployment_id, operation->good_version_id);
}

/*
 * Write all of an operation but the deployment's row, which a plain UPDATE writes.
 */
void
mrb_operation_write_row(const MrbOperation *operation, TupleTableSlot *old,
						TupleTableSlot *new, MrbOperationColumns *moved)
{
	TimestampTz now = GetCurrentTimestamp();
	MrbRowWrite *write;
	Event		event;
	int64		route_seq;

	link_promotion(operation, now);
	mrb_hold_remove(&operation->hold, operation->deployment_id);
	write = mrb_operation_begin(false, mrb_hold_is_written(&operation->hold), false);
	compute_values(operation, now, old, moved->values, moved->nulls);
	make_event(&event, operation, now, old, new, moved->values, moved->nulls);
	route_seq = DatumGetInt64(moved->values[DEPLOYMENT_ROUTE_SEQ]);
	mrb_enqueue_insert(write, WRITE_OUTBOX, operation->deployment_id, "route",
					   route_seq, NULL, now);
	mrb_row_write_insert(write, WRITE_EVENTS, event.values, event.nulls);
	write_hold(write, operation, now, &event);
	for (int i = 0; i < MRB_OPERATION_COLUMNS; i++)
		moved->columns[i] = deployments.table.attnums[i];
	mrb_row_write_end(write);
	update_capacity(operation, now, route_seq, moved->values[DEPLOYMENT_RECENT]);
	count(operation);
	mrb_operation_count_done(true);
}

/*
 * Compute the values of the deployment's row from its old ones.
 */
static void
compute_values(const MrbOperation *operation, TimestampTz now,
			   TupleTableSlot *old, Datum *values, bool *nulls)
{
	const char *target = operation->target_version_id;
	bool		waits = operation->serving_version_id != NULL;
	Datum		active = get_column(old, DEPLOYMENT_ACTIVE,
									&nulls[DEPLOYMENT_ACTIVE]);
	bool		was_active = !nulls[DEPLOYMENT_ACTIVE] && target != NULL &&
	strcmp(TextDatumGetCString(active), target) == 0;
	Datum		until_now;
	bool		isnull;

	memset(nulls, false, MRB_OPERATION_COLUMNS * sizeof(bool));
	set_text(values, nulls, DEPLOYMENT_ACTIVE, target);
	set_text(values, nulls, DEPLOYMENT_RELEASE, operation->target_release_id);
	set_text(values, nulls, DEPLOYMENT_SHA256, operation->target_sha256);
	set_text(values, nulls, DEPLOYMENT_SERVING, operation->serving_version_id);
	set_text(values, nulls, DEPLOYMENT_STATE, operation->state);

	values[DEPLOYMENT_RECENT] = get_column(old, DEPLOYMENT_RECENT, &isnull);
	if (!waits)
	{
		until_now = get_column(old, DEPLOYMENT_SERVING, &isnull);
		if (isnull)
			until_now = get_column(old, DEPLOYMENT_ACTIVE, &isnull);
		values[DEPLOYMENT_RECENT] =
			mrb_served_add(values[DEPLOYMENT_RECENT],
						   isnull ? NULL : TextDatumGetCString(until_now),
						   target);
	}

	values[DEPLOYMENT_WAITING] = get_column(old, DEPLOYMENT_WAITING, &isnull);
	if (!was_active || isnull)
		values[DEPLOYMENT_WAITING] = TimestampTzGetDatum(now);
	nulls[DEPLOYMENT_WAITING] = !waits;

	values[DEPLOYMENT_SEQ] =
		Int64GetDatum(DatumGetInt64(get_column(old, DEPLOYMENT_SEQ, &isnull)) + 1);
	values[DEPLOYMENT_ROUTE_SEQ] =
		Int64GetDatum(DatumGetInt64(get_column(old, DEPLOYMENT_ROUTE_SEQ, &isnull)) +
					  (operation->quiet ? 0 : 1));
	if (operation->action > MRB_UNPUBLISH)
		values[DEPLOYMENT_LAST_ROLLBACK] =
			get_column(old, DEPLOYMENT_LAST_ROLLBACK,
					   &nulls[DEPLOYMENT_LAST_ROLLBACK]);
	else
	{
		values[DEPLOYMENT_LAST_ROLLBACK] = TimestampTzGetDatum(now);
		nulls[DEPLOYMENT_LAST_ROLLBACK] = operation->action != MRB_ROLLBACK;
	}
	values[DEPLOYMENT_UPDATED] =
		operation->quiet || strcmp(operation->outcome, "unchanged") == 0 ?
		get_column(old, DEPLOYMENT_UPDATED, &isnull) : TimestampTzGetDatum(now);
}

/*
 * Return a value of a deployment.
 */
static Datum
get_column(TupleTableSlot *slot, int column, bool *isnull)
{
	return slot_getattr(slot, deployments.table.attnums[column], isnull);
}

/*
 * Store the response under the key.
 */
static void
write_key(MrbRowWrite *write, const MrbOperation *operation, TimestampTz now,
		  TupleTableSlot *row, const MrbResponse *response)
{
	bytea	   *fingerprint = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	Datum		values[KEY_COLUMNS];
	bool		nulls[KEY_COLUMNS] = {false};
	bool		isnull;

	SET_VARSIZE(fingerprint, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	memcpy(VARDATA(fingerprint), operation->fingerprint,
		   PG_SHA256_DIGEST_LENGTH);
	set_text(values, nulls, KEY_DEPLOYMENT, operation->deployment_id);
	set_text(values, nulls, KEY_KEY, operation->key);
	set_text(values, nulls, KEY_OPERATION, names[operation->action].operation);
	values[KEY_FINGERPRINT] = PointerGetDatum(fingerprint);
	values[KEY_RESPONSE] = JsonbPGetDatum(mrb_response_pack(response, now));
	values[KEY_SEQ] = get_column(row, DEPLOYMENT_SEQ, &isnull);
	values[KEY_CREATED] = TimestampTzGetDatum(now);
	values[KEY_EXPIRES] = TimestampTzGetDatum(operation->key_expires_at);
	mrb_row_write_insert(write, WRITE_KEYS, values, nulls);
}

/*
 * Make the audit event, and the head of the deployment's chain, which is the
 * event's hash.  old is the deployment's row, owner the one that says whose it
 * is; row_values are what is written into it.
 */
static void
make_event(Event *event, const MrbOperation *operation, TimestampTz now,
		   TupleTableSlot *old, TupleTableSlot *owner,
		   Datum *row_values, bool *row_nulls)
{
	LOCAL_FCINFO(client, 0);
	Datum	   *values = event->values;
	bool	   *nulls = event->nulls;
	bool		first;
	Datum		head = get_column(old, DEPLOYMENT_HEAD, &first);

	memset(nulls, false, sizeof(event->nulls));
	set_text(values, nulls, EVENT_DEPLOYMENT, operation->deployment_id);
	values[EVENT_SEQ] = row_values[DEPLOYMENT_SEQ];
	values[EVENT_TENANT] = get_column(owner, DEPLOYMENT_TENANT,
									  &nulls[EVENT_TENANT]);
	set_text(values, nulls, EVENT_ACTION, names[operation->action].action);
	set_text(values, nulls, EVENT_OUTCOME, operation->outcome);
	set_text(values, nulls, EVENT_RULE, operation->target_rule);
	set_text(values, nulls, EVENT_PREVIOUS, operation->previous_version_id);
	set_text(values, nulls, EVENT_TARGET, operation->target_version_id);
	set_text(values, nulls, EVENT_ACTOR_TYPE, operation->actor_type);
	set_text(values, nulls, EVENT_ACTOR_ID, operation->actor_id);
	set_text(values, nulls, EVENT_SESSION_USER,
			 GetUserNameFromId(GetSessionUserId(), false));
	InitFunctionCallInfoData(*client, NULL, 0, InvalidOid, NULL, NULL);
	values[EVENT_CLIENT] = inet_client_addr(client);
	nulls[EVENT_CLIENT] = client->isnull;
	set_text(values, nulls, EVENT_APPLICATION,
			 application_name != NULL && application_name[0] != '\0' ?
			 application_name : NULL);
	set_text(values, nulls, EVENT_KEY, operation->key);
	set_text(values, nulls, EVENT_REASON, operation->reason);
	values[EVENT_ATTRIBUTION] = operation->attribution != NULL ?
		JsonbPGetDatum(operation->attribution) : make_attribution(owner);
	values[EVENT_MARKS] = make_marks(operation->marks.data);
	values[EVENT_CREATED] = TimestampTzGetDatum(now);
	values[EVENT_KEEP_UNTIL] = add_interval(now, &operation->keep);
	values[EVENT_HASH] =
		PointerGetDatum(mrb_audit_chain_hash(&mrb_audit_chain_events, values, nulls,
											 first ? NULL : DatumGetByteaPP(head)));
	row_values[DEPLOYMENT_HEAD] = values[EVENT_HASH];
	row_nulls[DEPLOYMENT_HEAD] = false;
}

/*
 * Write the hold that the operation of this event opens or changes.
 */
static void
write_hold(MrbRowWrite *write, const MrbOperation *operation, TimestampTz now,
		   const Event *event)
{
	if (mrb_hold_is_written(&operation->hold))
		mrb_hold_write(write, WRITE_HOLDS_ADDED, WRITE_HOLDS_CHANGED,
					   &operation->hold, operation->deployment_id,
					   event->values[EVENT_TENANT], now,
					   DatumGetInt64(event->values[EVENT_SEQ]));
}

/*
 * Add an interval to a time.  A day has 24 hours here, which spares the time zone,
 * unless the interval has months.
 */
static Datum
add_interval(TimestampTz now, const Interval *interval)
{
	if (interval->month != 0)
		return DirectFunctionCall2(timestamptz_pl_interval,
								   TimestampTzGetDatum(now),
								   IntervalPGetDatum(interval));
	return TimestampTzGetDatum(now + interval->day * USECS_PER_DAY + interval->time);
}

/*
 * Return the deployment's own attribution, without what is null.
 */
static Datum
make_attribution(TupleTableSlot *owner)
{
	static const int columns[] = {
		DEPLOYMENT_WORKSPACE, DEPLOYMENT_USER, DEPLOYMENT_PROJECT
	};
	JsonbParseState *state = NULL;
	JsonbValue *object;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (size_t i = 0; i < lengthof(columns); i++)
	{
		const char *name = deployments.table.columns[columns[i]];
		JsonbValue	member = {.type = jbvString};
		bool		isnull;
		Datum		value = get_column(owner, columns[i], &isnull);
		text	   *packed;

		if (isnull)
			continue;
		member.val.string.val = unconstify(char *, name);
		member.val.string.len = strlen(name);
		(void) pushJsonbValue(&state, WJB_KEY, &member);
		packed = DatumGetTextPP(value);
		member.val.string.val = VARDATA_ANY(packed);
		member.val.string.len = VARSIZE_ANY_EXHDR(packed);
		(void) pushJsonbValue(&state, WJB_VALUE, &member);
	}
	object = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbPGetDatum(JsonbValueToJsonb(object));
}

/*
 * Return the marks as jsonb.  Most operations have none, and those of a fleet the
 * same, so short ones are kept for the next operation.
 */
static Datum
make_marks(const char *marks)
{
	static char last[MARKS_KEPT];
	static union
	{
		Jsonb		jsonb;
		char		bytes[2 * MARKS_KEPT];
	}			made;
	Datum		jsonb;

	if (made.jsonb.vl_len_ != 0 && strcmp(last, marks) == 0)
		return datumCopy(JsonbPGetDatum(&made.jsonb), false, -1);
	jsonb = DirectFunctionCall1(jsonb_in,
								CStringGetDatum(psprintf("{%s}", marks)));
	if (strlen(marks) < MARKS_KEPT &&
		VARSIZE(DatumGetPointer(jsonb)) <= sizeof(made.bytes))
	{
		memcpy(made.bytes, DatumGetPointer(jsonb), VARSIZE(DatumGetPointer(jsonb)));
		strcpy(last, marks);
	}
	return jsonb;
}

/*
 * Set a text value; NULL becomes SQL null.
 */
static void
set_text(Datum *values, bool *nulls, int column, const char *value)
{
	nulls[column] = value == NULL;
	if (value != NULL)
		values[column] = CStringGetTextDatum(value);
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
 * If the operation promotes another version, record which one that replaces.
 */
static void
link_promotion(const MrbOperation *operation, TimestampTz now)
{
	Datum		values[4] = {0};
	bool		nulls[4] = {false};

	if (operation->action != MRB_PROMOTE || !is_move(operation))
		return;
	set_text(values, nulls, 0, operation->deployment_id);
	set_text(values, nulls, 1, operation->target_version_id);
	set_text(values, nulls, 2, operation->previous_version_id);
	values[3] = TimestampTzGetDatum(now);
	mrb_query_open();
	if (mrb_query_run(&promote_query, values, nulls) != 1)
		elog(ERROR, "version \"%s\" vanished under its deployment's lock",
			 operation->target_version_id);
	mrb_query_close();
}

/*
 * Have the operation counted when the transaction commits.
 */
static void
count(const MrbOperation *operation)
{
	MrbCounted	counted = {
		.action = operation->action,
		.name = names[operation->action].operation,
		.outcome = operation->outcome,
		.deployment_id = operation->deployment_id,
		.from = operation->previous_version_id,
		.to = operation->target_version_id,
		.actor_type = operation->actor_type,
		.actor_id = operation->actor_id,
	};

	mrb_operation_count_written(&counted);
}

/*
 * Update the capacity of the deployment: request instances of the target, and
 * keep those of versions that are needed again.
 */
static void
update_capacity(const MrbOperation *operation, TimestampTz now,
				int64 route_seq, Datum recent_served)
{
	const char *id = operation->deployment_id;

	if (operation->ask_capacity)
	{
		MrbRowWrite *write;

		mrb_capacity_want(id, operation->target_version_id);
		write = mrb_row_write_begin(tables, WRITE_OUTBOX + 1, false);
		mrb_enqueue_insert(write, WRITE_OUTBOX, id, "capacity", route_seq, NULL,
						   now);
		mrb_row_write_end(write);
	}
	if (!operation->runs_instances)
		return;
	mrb_capacity_keep_needed(id, operation->target_version_id,
							 operation->serving_version_id, recent_served);
	if (operation->action == MRB_UNPUBLISH)
		mrb_capacity_cancel(id);
}
