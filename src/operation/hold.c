/*-------------------------------------------------------------------------
 *
 * hold.c
 *	  Holds: a deployment that automatic promotions must leave as it is.
 *
 * After a rollback the next run of CI would publish the faulty version again.  So
 * a rollback opens a hold, which refuses promotions that no person has decided,
 * counts them, and remembers the newest version that was to be published.  A
 * person's promotion lifts it.
 *
 * A deployment has one row in miosa.holds at most.  Who writes it has locked the
 * deployment, so what was read under that lock stays; only maintenance removes
 * rows of holds that have ended without it.  A row that has ended is no hold,
 * wherever it is read.  What an operation did to the hold stands in the marks of
 * its audit event, in full, so that undo can revert it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/guc.h"
#include "base/json_build.h"
#include "common/index_lookup.h"
#include "common/iso_time.h"
#include "common/json_read.h"
#include "common/query.h"
#include "common/row_write.h"
#include "operation/caller_request.h"
#include "operation/hold.h"

/* In the order in which they are written; the key comes first. */
enum
{
	HOLD_DEPLOYMENT,
	HOLD_TENANT,
	HOLD_SINCE,
	HOLD_UNTIL,
	HOLD_SEQ,
	HOLD_ACTOR_TYPE,
	HOLD_ACTOR_ID,
	HOLD_REASON,
	HOLD_HELD,
	HOLD_WAITING,
	HOLD_WAITING_SINCE,
	HOLD_COLUMNS
};

#define COLUMNS { \
	[HOLD_DEPLOYMENT] = "deployment_id", \
	[HOLD_TENANT] = "tenant_id", \
	[HOLD_SINCE] = "since", \
	[HOLD_UNTIL] = "until", \
	[HOLD_SEQ] = "seq", \
	[HOLD_ACTOR_TYPE] = "actor_type", \
	[HOLD_ACTOR_ID] = "actor_id", \
	[HOLD_REASON] = "reason", \
	[HOLD_HELD] = "held", \
	[HOLD_WAITING] = "waiting_version_id", \
	[HOLD_WAITING_SINCE] = "waiting_since", \
}

#define TYPES { \
	[HOLD_SINCE] = TIMESTAMPTZOID, \
	[HOLD_UNTIL] = TIMESTAMPTZOID, \
	[HOLD_SEQ] = INT8OID, \
	[HOLD_HELD] = INT8OID, \
	[HOLD_WAITING_SINCE] = TIMESTAMPTZOID, \
}

static MrbIndexLookup hold_row = {
	.table.name = "holds",
	.table.index = "holds_pkey",
	.table.columns = COLUMNS,
	.table.types = TYPES,
};

static MrbIndexLookup locked_row = {
	.lock = RowShareLock,
	.table.name = "holds",
	.table.index = "holds_pkey",
};

MrbRowWriteTable mrb_hold_added = {
	.table.name = "holds",
	.table.columns = COLUMNS,
	.table.types = TYPES,
	.nwritten = HOLD_COLUMNS,
};

MrbRowWriteTable mrb_hold_changed = {
	.table.name = "holds",
	.table.columns = COLUMNS,
	.table.types = TYPES,
	.nwritten = HOLD_COLUMNS,
};

static MrbQuery remove_query = {
	.sql = "DELETE FROM miosa.holds h WHERE h.deployment_id = $1",
	.nargs = 1,
	.argtypes = {TEXTOID},
	.expected = MRB_QUERY_DELETE,
};

static MrbQuery remember_query = {
	.sql = "SELECT miosa.remember_held($1, $2, 1, pg_catalog.clock_timestamp(), true)",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
};

static bool is_open(const MrbDeployment *deployment);
static bool is_automatic(const MrbCallerRequest *request);
static char *describe(const MrbHold *hold);
static void show_hold(StringInfo json, const char *name, const MrbHold *hold);
static void show_time(StringInfo json, const char *name, TimestampTz at);
static bool read_shown(JsonbContainer *object, MrbHold *hold);
static TimestampTz read_time(JsonbContainer *object, const char *name);
static int64 read_number(JsonbContainer *object, const char *name);
static void set_text(Datum *values, bool *nulls, int column, const char *value);
static void set_time(Datum *values, bool *nulls, int column, TimestampTz at);

/*
 * Read the row of a deployment.
 */
MrbHold *
mrb_hold_look(const char *deployment_id)
{
	MrbHold    *it;

	if (!mrb_index_lookup_find(&hold_row, deployment_id, NULL))
		return NULL;
	it = palloc0(sizeof(MrbHold));
	it->since = mrb_index_lookup_timestamp(&hold_row, HOLD_SINCE);
	it->until = mrb_index_lookup_timestamp(&hold_row, HOLD_UNTIL);
	it->seq = mrb_index_lookup_int64(&hold_row, HOLD_SEQ);
	it->actor_type = mrb_index_lookup_text(&hold_row, HOLD_ACTOR_TYPE);
	it->actor_id = mrb_index_lookup_text(&hold_row, HOLD_ACTOR_ID);
	it->reason = mrb_index_lookup_text(&hold_row, HOLD_REASON);
	it->held = mrb_index_lookup_int64(&hold_row, HOLD_HELD);
	it->waiting_version_id = mrb_index_lookup_text(&hold_row, HOLD_WAITING);
	it->waiting_since = mrb_index_lookup_timestamp(&hold_row, HOLD_WAITING_SINCE);
	it->open = it->until == 0 || it->until > GetCurrentTimestamp();
	mrb_index_lookup_close(&hold_row);
	return it;
}

/*
 * Whether a rollback opens a hold: as its arguments say, else the setting.
 */
bool
mrb_hold_wanted(const MrbCallerRequest *request)
{
	if (request == NULL)
		return mrb_hold_after_rollback;
	return request->hold == MRB_YES || request->hold_for != NULL ||
		(request->hold == MRB_BY_SETTING && mrb_hold_after_rollback);
}

/*
 * Whether the call may do something to the hold.
 */
bool
mrb_hold_concerns(const MrbCallerRequest *request)
{
	return request->action == MRB_PROMOTE || request->action == MRB_UNDO ||
		(request->action == MRB_ROLLBACK && mrb_hold_wanted(request));
}

/*
 * Return the end of a hold that lasts for hold_for.
 */
TimestampTz
mrb_hold_end(const MrbCallerRequest *request)
{
	if (request == NULL || request->hold_for == NULL)
		return 0;
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												   TimestampTzGetDatum(GetCurrentTimestamp()),
												   IntervalPGetDatum(request->hold_for)));
}

/*
 * An automatic promotion of another version needs a deployment that is not held.
 */
MrbFinding
mrb_hold_judge(const MrbDeployment *deployment, bool promotion)
{
	static const char *const name = "not_held";
	const MrbCallerRequest *request = deployment->request;
	const MrbHold *hold = deployment->hold;
	MrbCallerRequest again = {0};
	MrbFinding	it;

	if (!promotion || !is_open(deployment) || !is_automatic(request) ||
		mrb_deployment_same_version(deployment->active.id, deployment->target.id))
		return mrb_finding_hold(name);

	/* Functions for people have no argument that says who decides. */
	if (request != NULL)
		again = *request;
	again.console_name = NULL;
	again.automatic = MRB_NO;
	it = mrb_finding_fail(name, MRB_ERR_HELD,
						  psprintf("deployment \"%s\" is held", deployment->id),
						  describe(hold),
						  psprintf("If you decide that version \"%s\" is to be published, which lifts the hold, type %s",
								   deployment->target.id,
								   mrb_caller_request_again(&again, true, deployment->id,
															deployment->target.id, false)));
	if (hold->until != 0)
		it.retry_after = mrb_finding_seconds_until(hold->until);
	return it;
}

/*
 * Describe a hold in a plan of a rollback, which it does not concern.
 */
MrbFinding
mrb_hold_describe(const MrbDeployment *deployment)
{
	MrbFinding	it = mrb_finding_hold("not_held");

	if (!is_open(deployment))
		return it;
	it.message = psprintf("deployment \"%s\" is held", deployment->id);
	it.detail = describe(deployment->hold);
	it.hint = psprintf("Automatic promotions are refused, a rollback is not. To lift the hold, type SELECT miosa_release(%s);",
					   quote_literal_cstr(deployment->id));
	return it;
}

/*
 * Whether automatic promotions are refused.
 */
static bool
is_open(const MrbDeployment *deployment)
{
	return deployment->hold != NULL && deployment->hold->open;
}

/*
 * Whether no person has decided: as the call says, else the setting.
 */
static bool
is_automatic(const MrbCallerRequest *request)
{
	if (request == NULL || request->automatic == MRB_BY_SETTING)
		return mrb_automatic;
	return request->automatic == MRB_YES;
}

/*
 * Say by whom, since when, until when and why a deployment is held.
 */
static char *
describe(const MrbHold *hold)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "By %s %s, since %s", hold->actor_type, hold->actor_id,
					 timestamptz_to_str(hold->since));
	if (hold->until != 0)
		appendStringInfo(&buf, ", until %s", timestamptz_to_str(hold->until));
	if (hold->reason != NULL)
		appendStringInfo(&buf, ": %s", hold->reason);
	else
		appendStringInfoChar(&buf, '.');
	return buf.data;
}

/*
 * Choose the version that waits.
 */
MrbFinding
mrb_hold_choose_waiting(const MrbDeployment *seen, const char **version_id)
{
	MrbHold    *hold;
	MrbFinding	finding;

	mrb_index_lookup_begin();
	hold = mrb_hold_look(seen->id);
	mrb_index_lookup_end();
	if (mrb_finding_refuses(mrb_hold_check_open(seen->id, hold), &finding))
		return finding;
	*version_id = hold->waiting_version_id;
	if (*version_id != NULL)
		return mrb_finding_hold("version_waits");
	return mrb_finding_fail("version_waits", MRB_ERR_VERSION_NOT_FOUND,
							psprintf("no version of deployment \"%s\" waits for the end of its hold",
									 seen->id),
							describe(hold),
							psprintf("To lift the hold, type %s",
									 mrb_caller_request_release(seen->request, seen->id)));
}

/*
 * Check that the deployment is held.
 */
MrbFinding
mrb_hold_check_open(const char *deployment_id, const MrbHold *hold)
{
	if (hold != NULL && hold->open)
		return mrb_finding_hold("held");
	return mrb_finding_fail("held", MRB_ERR_INVALID_ARGUMENT,
							psprintf("deployment \"%s\" is not held", deployment_id),
							hold == NULL ? "There is no hold to lift." :
							psprintf("The hold ended at %s.",
									 timestamptz_to_str(hold->until)),
							psprintf("See the operations with SELECT * FROM miosa.history(%s);",
									 quote_literal_cstr(deployment_id)));
}

/*
 * Check that the same version waits.
 */
MrbFinding
mrb_hold_check_waiting(const MrbDeployment *now, const char *version_id)
{
	MrbFinding	finding;

	if (mrb_finding_refuses(mrb_hold_check_open(now->id, now->hold), &finding) ||
		mrb_deployment_same_version(now->hold->waiting_version_id, version_id))
		return finding;
	return mrb_finding_fail("version_waits", MRB_ERR_ACTIVE_VERSION_CHANGED,
							psprintf("another version of deployment \"%s\" waits by now",
									 now->id),
							now->hold->waiting_version_id == NULL ? "None waits." :
							psprintf("Version \"%s\" waited, now version \"%s\" does.",
									 version_id, now->hold->waiting_version_id),
							"Decide again: TABLE miosa.open_holds;");
}

/*
 * Decide what follows for the hold: a rollback opens one, a promotion lifts it.
 * An operation that changes nothing leaves it alone, unless that is asked for.
 */
MrbHoldChange
mrb_hold_follow(const MrbDeployment *now, MrbAction action, bool changes,
				const MrbActor *actor)
{
	static const MrbHoldChange untouched = {0};
	const MrbCallerRequest *request = now->request;
	bool		asked = request != NULL &&
	(request->waiting || request->hold == MRB_YES || request->hold_for != NULL);

	if (!changes && !asked)
		return untouched;
	if (action == MRB_PROMOTE)
		return mrb_hold_lift(now);
	if (action != MRB_ROLLBACK || !mrb_hold_wanted(request))
		return untouched;
	return mrb_hold_open(now, actor, request != NULL ? request->reason : NULL,
						 request != NULL && request->hold_for != NULL,
						 mrb_hold_end(request));
}

/*
 * Open a hold, or keep the open one.
 */
MrbHoldChange
mrb_hold_open(const MrbDeployment *now, const MrbActor *actor, const char *reason,
			  bool ends, TimestampTz until)
{
	MrbHoldChange it = {.replaces = now->hold != NULL};

	if (!is_open(now))
	{
		it.action = MRB_HOLD_OPENED;
		it.becomes.until = until;
		it.becomes.actor_type = actor->type;
		it.becomes.actor_id = actor->id;
		it.becomes.reason = reason;
		return it;
	}
	it.action = MRB_HOLD_KEPT;
	it.was = now->hold;
	it.becomes = *now->hold;
	if (reason != NULL)
		it.becomes.reason = reason;
	if (ends)
		it.becomes.until = until;
	if (it.becomes.until != now->hold->until ||
		it.becomes.reason != now->hold->reason)
		it.action = MRB_HOLD_CHANGED;
	return it;
}

/*
 * Lift the hold.
 */
MrbHoldChange
mrb_hold_lift(const MrbDeployment *now)
{
	MrbHoldChange it = {0};

	if (now->hold != NULL)
	{
		it.action = now->hold->open ? MRB_HOLD_LIFTED : MRB_HOLD_FORGOTTEN;
		it.was = now->hold;
	}
	return it;
}

/*
 * Revert what an operation of this number did to the hold, by its marks.  A hold
 * that somebody has opened or lifted since stays as it is.
 */
MrbHoldChange
mrb_hold_revert(const MrbDeployment *now, Jsonb *marks, int64 seq)
{
	MrbHoldChange it = {.replaces = now->hold != NULL};
	JsonbValue	value;
	JsonbContainer *hold;
	MrbHold		was = {0};
	bool		had = false;

	if (!mrb_json_read_get(&marks->root, "hold", &value) ||
		(hold = mrb_json_read_object(&value)) == NULL)
		return it;
	if (mrb_json_read_get(hold, "was", &value) && mrb_json_read_object(&value) != NULL)
		had = read_shown(mrb_json_read_object(&value), &was);
	if (mrb_json_read_get(hold, "seq", &value))
		seq = read_number(hold, "seq");

	if (mrb_json_read_get(hold, "opened", &value))
	{
		if (is_open(now) && now->hold->seq == seq)
			return mrb_hold_lift(now);
	}
	else if (mrb_json_read_get(hold, "lifted", &value))
	{
		if (!is_open(now) && had && was.open)
		{
			it.action = MRB_HOLD_OPENED;
			it.becomes = was;
		}
	}
	else if (had && is_open(now) && now->hold->seq == was.seq)
	{
		it.action = MRB_HOLD_CHANGED;
		it.was = now->hold;
		it.becomes = *now->hold;
		it.becomes.until = was.until;
		it.becomes.reason = was.reason;
	}
	return it;
}

/*
 * Show a change as JSON.  One that was opened again keeps the number of the
 * operation that opened it first.
 */
char *
mrb_hold_show(const MrbHoldChange *change)
{
	StringInfoData json;

	if (change->action == MRB_HOLD_UNTOUCHED || change->action == MRB_HOLD_FORGOTTEN)
		return NULL;
	initStringInfo(&json);
	mrb_json_build_object(&json, NULL);
	mrb_json_build_boolean(&json, change->action == MRB_HOLD_OPENED ? "opened" :
						   change->action == MRB_HOLD_LIFTED ? "lifted" : "kept", true);
	if (change->action != MRB_HOLD_LIFTED)
		show_time(&json, "until", change->becomes.until);
	if (change->action == MRB_HOLD_OPENED && change->becomes.seq != 0)
		mrb_json_build_integer(&json, "seq", change->becomes.seq);
	if (change->action == MRB_HOLD_LIFTED || change->action == MRB_HOLD_CHANGED)
		show_hold(&json, "was", change->was);
	mrb_json_build_end(&json);
	return json.data;
}

/*
 * Append a hold to a JSON object.
 */
static void
show_hold(StringInfo json, const char *name, const MrbHold *hold)
{
	mrb_json_build_object(json, name);
	mrb_json_build_integer(json, "seq", hold->seq);
	show_time(json, "since", hold->since);
	show_time(json, "until", hold->until);
	mrb_json_build_string(json, "actor_type", hold->actor_type);
	mrb_json_build_string(json, "actor_id", hold->actor_id);
	mrb_json_build_string(json, "reason", hold->reason);
	mrb_json_build_integer(json, "held", hold->held);
	mrb_json_build_string(json, "waiting_version_id", hold->waiting_version_id);
	show_time(json, "waiting_since", hold->waiting_since);
	mrb_json_build_end(json);
}

/*
 * Append a time to a JSON object; 0 becomes null.
 */
static void
show_time(StringInfo json, const char *name, TimestampTz at)
{
	char		buffer[MRB_ISO_TIME_SIZE];

	mrb_json_build_string(json, name,
						  at == 0 ? NULL : mrb_iso_time_write(at, buffer));
}

/*
 * Read what show_hold() has shown; false if it is no hold.
 */
static bool
read_shown(JsonbContainer *object, MrbHold *hold)
{
	hold->seq = read_number(object, "seq");
	hold->since = read_time(object, "since");
	hold->until = read_time(object, "until");
	hold->actor_type = mrb_json_read_text(object, "actor_type");
	hold->actor_id = mrb_json_read_text(object, "actor_id");
	hold->reason = mrb_json_read_text(object, "reason");
	hold->held = read_number(object, "held");
	hold->waiting_version_id = mrb_json_read_text(object, "waiting_version_id");
	hold->waiting_since = read_time(object, "waiting_since");
	hold->open = hold->until == 0 || hold->until > GetCurrentTimestamp();
	return hold->since != 0 && hold->actor_type != NULL && hold->actor_id != NULL;
}

/*
 * Read a time of a JSON object; 0 if there is none.
 */
static TimestampTz
read_time(JsonbContainer *object, const char *name)
{
	char	   *shown = mrb_json_read_text(object, name);

	if (shown == NULL)
		return 0;
	return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(shown),
												   ObjectIdGetDatum(InvalidOid),
												   Int32GetDatum(-1)));
}

/*
 * Read a whole number of a JSON object; 0 if there is none.
 */
static int64
read_number(JsonbContainer *object, const char *name)
{
	JsonbValue	value;

	if (!mrb_json_read_get(object, name, &value) || value.type != jbvNumeric)
		return 0;
	return DatumGetInt64(DirectFunctionCall1(numeric_int8,
											 NumericGetDatum(value.val.numeric)));
}

/*
 * Tell a person whose promotion has lifted the hold.
 */
void
mrb_hold_notice(const MrbHoldChange *change, const char *deployment_id)
{
	if (change->action != MRB_HOLD_LIFTED)
		return;
	ereport(NOTICE,
			(errmsg_internal("the hold of deployment \"%s\" is lifted", deployment_id),
			 errdetail_internal("%s", describe(change->was))));
}

/*
 * Write the row that is opened or changed.  Maintenance may have removed the row
 * of a hold that had ended.
 */
void
mrb_hold_write(MrbRowWrite *write, int added, int changed,
			   const MrbHoldChange *change, const char *deployment_id,
			   Datum tenant_id, TimestampTz now, int64 seq)
{
	const MrbHold *hold = &change->becomes;
	Datum		values[HOLD_COLUMNS];
	bool		nulls[HOLD_COLUMNS] = {false};
	MrbIndexLookup row;

	set_text(values, nulls, HOLD_DEPLOYMENT, deployment_id);
	values[HOLD_TENANT] = tenant_id;
	set_time(values, nulls, HOLD_SINCE, hold->since != 0 ? hold->since : now);
	set_time(values, nulls, HOLD_UNTIL, hold->until);
	values[HOLD_SEQ] = Int64GetDatum(hold->seq != 0 ? hold->seq : seq);
	set_text(values, nulls, HOLD_ACTOR_TYPE, hold->actor_type);
	set_text(values, nulls, HOLD_ACTOR_ID, hold->actor_id);
	set_text(values, nulls, HOLD_REASON, hold->reason);
	values[HOLD_HELD] = Int64GetDatum(hold->held);
	set_text(values, nulls, HOLD_WAITING, hold->waiting_version_id);
	set_time(values, nulls, HOLD_WAITING_SINCE, hold->waiting_since);

	if (change->replaces && mrb_index_lookup_find(&locked_row, deployment_id, NULL))
	{
		TM_Result	result = mrb_index_lookup_lock(&locked_row, deployment_id, NULL,
												   LockWaitBlock);

		row = locked_row;		/* a trigger may call for an operation too */
		if (result == TM_Ok)
			(void) mrb_row_write_update(write, changed, row.slot, values, nulls);
		mrb_index_lookup_close(&row);
		if (result == TM_Ok)
			return;
		if (result != TM_Deleted)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to concurrent update")));
	}
	mrb_row_write_insert(write, added, values, nulls);
}

/*
 * Remove the row of a hold that is lifted or has ended.
 */
void
mrb_hold_remove(const MrbHoldChange *change, const char *deployment_id)
{
	Datum		values[] = {CStringGetTextDatum(deployment_id)};

	if (change->action != MRB_HOLD_LIFTED && change->action != MRB_HOLD_FORGOTTEN)
		return;
	mrb_query_open();
	(void) mrb_query_run(&remove_query, values, NULL);
	mrb_query_close();
}

/*
 * Remember a promotion that was refused.
 */
void
mrb_hold_remember(const char *deployment_id, const char *version_id)
{
	Datum		values[] = {
		CStringGetTextDatum(deployment_id),
		CStringGetTextDatum(version_id),
	};

	mrb_query_open();
	(void) mrb_query_run(&remember_query, values, NULL);
	mrb_query_close();
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
 * Set a time; 0 becomes SQL null.
 */
static void
set_time(Datum *values, bool *nulls, int column, TimestampTz at)
{
	nulls[column] = at == 0;
	values[column] = TimestampTzGetDatum(at);
}
