/*-------------------------------------------------------------------------
 *
 * dispatcher_api.c
 *	  SQL-callable functions about the dispatcher and the installation.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "base/guc.h"
#include "base/miosa_rollback.h"
#include "common/registry.h"
#include "notify/wakeup.h"

PG_FUNCTION_INFO_V1(mrb_wake);
PG_FUNCTION_INFO_V1(mrb_request_dispatcher);
PG_FUNCTION_INFO_V1(mrb_identity);
PG_FUNCTION_INFO_V1(mrb_in_own_script);
PG_FUNCTION_INFO_V1(mrb_dispatcher);
PG_FUNCTION_INFO_V1(mrb_first_epoch);
PG_FUNCTION_INFO_V1(mrb_epoch_term);

/* Columns of miosa.identity(). */
enum
{
	IDENTITY_SITE,
	IDENTITY_SYSTEM,
	IDENTITY_TIMELINE,
	IDENTITY_DATABASE,
	IDENTITY_COLUMNS
};

/* Columns of miosa.dispatcher(). */
enum
{
	DISPATCHER_STATE,
	DISPATCHER_PID,
	DISPATCHER_SINCE,
	DISPATCHER_COUNTERS,		/* one column each */
	DISPATCHER_LAUNCHER = DISPATCHER_COUNTERS + 13,
	DISPATCHER_LAST_PASS,
	DISPATCHER_STALLED,
	DISPATCHER_ERROR,
	DISPATCHER_LAUNCHER_PID,
	DISPATCHER_COLUMNS
};

static const char *state_name(const MrbRegistrySlot *slot);
static Datum make_row(FunctionCallInfo fcinfo, Datum *values, bool *nulls);

/*
 * miosa.wake(): wake the dispatcher at commit
 */
Datum
mrb_wake(PG_FUNCTION_ARGS)
{
	mrb_wakeup_dispatcher(NULL, NULL);
	PG_RETURN_VOID();
}

/*
 * miosa.request_dispatcher(): start a dispatcher at commit
 */
Datum
mrb_request_dispatcher(PG_FUNCTION_ARGS)
{
	mrb_wakeup_request_dispatcher();
	PG_RETURN_VOID();
}

/*
 * miosa.identity(): site, system identifier, timeline and database
 */
Datum
mrb_identity(PG_FUNCTION_ARGS)
{
	Datum		values[IDENTITY_COLUMNS];
	bool		nulls[IDENTITY_COLUMNS] = {false};
	char		system[32];

	snprintf(system, sizeof(system), UINT64_FORMAT, GetSystemIdentifier());
	values[IDENTITY_SITE] = CStringGetTextDatum(mrb_site ? mrb_site : "");
	values[IDENTITY_SYSTEM] = CStringGetTextDatum(system);
	nulls[IDENTITY_TIMELINE] = RecoveryInProgress();
	values[IDENTITY_TIMELINE] = Int64GetDatum(nulls[IDENTITY_TIMELINE] ? 0 : (int64) GetWALInsertionTimeLine());
	values[IDENTITY_DATABASE] = ObjectIdGetDatum(MyDatabaseId);
	return make_row(fcinfo, values, nulls);
}

/*
 * miosa.in_own_script(): whether a script of the extension runs
 */
Datum
mrb_in_own_script(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(creating_extension && CurrentExtensionObject ==
				   get_extension_oid("miosa_rollback", true));
}

/*
 * miosa.dispatcher(): state and counters of the dispatcher
 */
Datum
mrb_dispatcher(PG_FUNCTION_ARGS)
{
	static const MrbCounter shown[] = {
		MRB_COUNTER_EPOCH, MRB_COUNTER_PASSES, MRB_COUNTER_ROUTES, MRB_COUNTER_SENT,
		MRB_COUNTER_ACKNOWLEDGED, MRB_COUNTER_FAILED, MRB_COUNTER_RETRIED,
		MRB_COUNTER_NOTIFIED, MRB_COUNTER_ERRORS, MRB_COUNTER_IN_FLIGHT,
		MRB_COUNTER_PENDING, MRB_COUNTER_REFUSALS_DROPPED,
		MRB_COUNTER_UNMEASURED
	};
	MrbRegistrySlot *slot = mrb_registry_slot(MyDatabaseId);
	Datum		values[DISPATCHER_COLUMNS] = {0};
	bool		nulls[DISPATCHER_COLUMNS];

	StaticAssertStmt(lengthof(shown) == DISPATCHER_LAUNCHER - DISPATCHER_COUNTERS,
					 "columns and counters must match");
	MemSet(nulls, true, sizeof(nulls));
	values[DISPATCHER_STATE] = CStringGetTextDatum(state_name(slot));
	nulls[DISPATCHER_STATE] = false;
	if (slot != NULL && slot->pid != 0)
	{
		values[DISPATCHER_PID] = Int32GetDatum(slot->pid);
		values[DISPATCHER_SINCE] = TimestampTzGetDatum(slot->since);
		nulls[DISPATCHER_PID] = nulls[DISPATCHER_SINCE] = false;
	}
	for (size_t i = 0; slot != NULL && i < lengthof(shown); i++)
	{
		values[DISPATCHER_COUNTERS + i] =
			Int64GetDatum(pg_atomic_read_u64(&slot->counters[shown[i]]) -
						  pg_atomic_read_u64(&slot->reset[shown[i]]));
		nulls[DISPATCHER_COUNTERS + i] = false;
	}
	values[DISPATCHER_LAUNCHER] = BoolGetDatum(mrb_registry_launcher_is_alive());
	values[DISPATCHER_STALLED] = BoolGetDatum(slot != NULL && mrb_registry_stalled(slot));
	nulls[DISPATCHER_LAUNCHER] = nulls[DISPATCHER_STALLED] = false;
	values[DISPATCHER_LAUNCHER_PID] = Int32GetDatum(mrb_registry_launcher_pid());
	nulls[DISPATCHER_LAUNCHER_PID] = mrb_registry_launcher_pid() == 0;
	if (slot != NULL)
	{
		uint64		last = pg_atomic_read_u64(&slot->last_pass_at);
		char		error[MRB_SLOT_ERROR];

		values[DISPATCHER_LAST_PASS] = TimestampTzGetDatum((TimestampTz) last);
		nulls[DISPATCHER_LAST_PASS] = last == 0;
		nulls[DISPATCHER_ERROR] = mrb_registry_error(slot, error) == 0;
		if (!nulls[DISPATCHER_ERROR])
			values[DISPATCHER_ERROR] = CStringGetTextDatum(error);
	}
	return make_row(fcinfo, values, nulls);
}

/*
 * miosa.first_epoch(term): the number that precedes the epochs of a term
 */
Datum
mrb_first_epoch(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(MRB_EPOCH_FIRST(PG_GETARG_INT64(0)));
}

/*
 * miosa.epoch_term(epoch): the term that an epoch belongs to
 */
Datum
mrb_epoch_term(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(MRB_EPOCH_TERM(PG_GETARG_INT64(0)));
}

/*
 * Return the state of the dispatcher as miosa.dispatcher() shows it.
 */
static const char *
state_name(const MrbRegistrySlot *slot)
{
	static const char *const names[] = {
		[MRB_DISPATCHER_NONE] = "none",
		[MRB_DISPATCHER_STARTING] = "starting",
		[MRB_DISPATCHER_RUNNING] = "running",
		[MRB_DISPATCHER_PAUSED] = "paused",
		[MRB_DISPATCHER_ABSENT] = "absent",
		[MRB_DISPATCHER_ASIDE] = "aside",
		[MRB_DISPATCHER_STOPPED] = "stopped",
	};

	if (!mrb_registry_available())
		return "not preloaded";
	return slot != NULL ? names[slot->state] : "none";
}

/*
 * Make the result row of a function that returns a row.
 */
static Datum
make_row(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values,
											 nulls));
}
