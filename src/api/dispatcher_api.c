/*-------------------------------------------------------------------------
 *
 * dispatcher_api.c
 *	  SQL-callable functions of delivery.
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
#include "common/registry.h"
#include "notify/wakeup.h"

PG_FUNCTION_INFO_V1(mrb_wake);
PG_FUNCTION_INFO_V1(mrb_request_dispatcher);
PG_FUNCTION_INFO_V1(mrb_identity);
PG_FUNCTION_INFO_V1(mrb_in_own_script);
PG_FUNCTION_INFO_V1(mrb_dispatcher);

static const char *state_name(const MrbRegistrySlot *slot);
static Datum row_of(FunctionCallInfo fcinfo, Datum *values, bool *nulls);

/*
 * miosa.wake()
 */
Datum
mrb_wake(PG_FUNCTION_ARGS)
{
	mrb_wakeup_dispatcher(NULL, NULL);
	PG_RETURN_VOID();
}

/*
 * miosa.request_dispatcher()
 */
Datum
mrb_request_dispatcher(PG_FUNCTION_ARGS)
{
	mrb_wakeup_request_dispatcher();
	PG_RETURN_VOID();
}

/*
 * miosa.identity()
 */
Datum
mrb_identity(PG_FUNCTION_ARGS)
{
	Datum		values[4];
	bool		nulls[4] = {false};
	char		system[32];

	snprintf(system, sizeof(system), UINT64_FORMAT, GetSystemIdentifier());
	values[0] = CStringGetTextDatum(mrb_site ? mrb_site : "");
	values[1] = CStringGetTextDatum(system);
	nulls[2] = RecoveryInProgress();
	values[2] = Int64GetDatum(nulls[2] ? 0 : (int64) GetWALInsertionTimeLine());
	values[3] = ObjectIdGetDatum(MyDatabaseId);
	return row_of(fcinfo, values, nulls);
}

/*
 * miosa.in_own_script()
 */
Datum
mrb_in_own_script(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(creating_extension && CurrentExtensionObject ==
				   get_extension_oid("miosa_rollback", true));
}

/*
 * miosa.dispatcher()
 */
Datum
mrb_dispatcher(PG_FUNCTION_ARGS)
{
	static const MrbCounter shown[] = {
		MRB_COUNT_EPOCH, MRB_COUNT_PASSES, MRB_COUNT_ROUTES, MRB_COUNT_SENT,
		MRB_COUNT_ACKNOWLEDGED, MRB_COUNT_FAILED, MRB_COUNT_RETRIED,
		MRB_COUNT_NOTIFIED, MRB_COUNT_ERRORS, MRB_COUNT_IN_FLIGHT,
		MRB_COUNT_PENDING
	};
	MrbRegistrySlot *slot = mrb_registry_slot(MyDatabaseId);
	Datum		values[19] = {0};
	bool		nulls[19];

	MemSet(nulls, true, sizeof(nulls));
	values[0] = CStringGetTextDatum(state_name(slot));
	nulls[0] = false;
	if (slot != NULL && slot->pid != 0)
	{
		values[1] = Int32GetDatum(slot->pid);
		values[2] = TimestampTzGetDatum(slot->since);
		nulls[1] = nulls[2] = false;
	}
	for (size_t i = 0; slot != NULL && i < lengthof(shown); i++)
	{
		values[3 + i] =
			Int64GetDatum(pg_atomic_read_u64(&slot->counters[shown[i]]));
		nulls[3 + i] = false;
	}
	values[14] = BoolGetDatum(mrb_registry_launcher_lives());
	values[16] = BoolGetDatum(slot != NULL && mrb_registry_stalled(slot));
	nulls[14] = nulls[16] = false;
	values[18] = Int32GetDatum(mrb_registry_launcher_pid());
	nulls[18] = mrb_registry_launcher_pid() == 0;
	if (slot != NULL)
	{
		uint64		last = pg_atomic_read_u64(&slot->last_pass_at);
		char		error[MRB_SLOT_ERROR];

		values[15] = TimestampTzGetDatum((TimestampTz) last);
		nulls[15] = last == 0;
		nulls[17] = mrb_registry_error(slot, error) == 0;
		if (!nulls[17])
			values[17] = CStringGetTextDatum(error);
	}
	return row_of(fcinfo, values, nulls);
}

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

static Datum
row_of(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values,
											 nulls));
}
