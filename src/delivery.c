/*-------------------------------------------------------------------------
 *
 * delivery.c
 *	  SQL-callable functions of delivery.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "guc.h"
#include "query.h"
#include "shmem.h"
#include "wake.h"

PG_FUNCTION_INFO_V1(mrb_wake);
PG_FUNCTION_INFO_V1(mrb_request_dispatcher);
PG_FUNCTION_INFO_V1(mrb_identity);
PG_FUNCTION_INFO_V1(mrb_dispatcher);
PG_FUNCTION_INFO_V1(miosa_wait_converged);

/* How often the state is looked at when nobody says that it changed. */
#define LOOK_MS 50

static MrbQuery parse_query = {
	.sql = "SELECT o.deployment_id, o.seq, EXISTS (SELECT"
	" FROM miosa.outbox q"
	" WHERE q.xid = pg_catalog.pg_current_xact_id_if_assigned()"
	" AND q.deployment_id = o.deployment_id)"
	" FROM miosa.parse_operation($1) o",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static MrbQuery state_query = {
	.sql = "SELECT miosa.convergence_state($1, $2)",
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
	.read_only = true,
};

static const char *state_name(const MrbSlot *slot);
static Datum row_of(FunctionCallInfo fcinfo, Datum *values, bool *nulls);
static void parse_operation(Datum text, Datum args[2], bool nulls[2]);
static char *convergence_state(const Datum args[2], const bool nulls[2]);
static void wait_for_news(MrbSlot *slot, long wait);

/*
 * miosa.wake()
 */
Datum
mrb_wake(PG_FUNCTION_ARGS)
{
	mrb_wake_dispatcher(NULL, NULL);
	PG_RETURN_VOID();
}

/*
 * miosa.request_dispatcher()
 */
Datum
mrb_request_dispatcher(PG_FUNCTION_ARGS)
{
	mrb_wake_request_dispatcher();
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
 * miosa.dispatcher()
 */
Datum
mrb_dispatcher(PG_FUNCTION_ARGS)
{
	static const MrbCounter shown[] = {
		MRB_COUNT_EPOCH, MRB_COUNT_PASSES, MRB_COUNT_ROUTES, MRB_COUNT_SENT,
		MRB_COUNT_ACKNOWLEDGED, MRB_COUNT_FAILED, MRB_COUNT_NOTIFIED,
		MRB_COUNT_ERRORS, MRB_COUNT_IN_FLIGHT, MRB_COUNT_PENDING
	};
	MrbSlot    *slot = mrb_shmem_slot(MyDatabaseId);
	Datum		values[14] = {0};
	bool		nulls[14];

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
	values[13] = BoolGetDatum(mrb_shmem_launcher_lives());
	nulls[13] = false;
	return row_of(fcinfo, values, nulls);
}

/*
 * miosa_wait_converged(deployment_or_operation, timeout)
 */
Datum
miosa_wait_converged(PG_FUNCTION_ARGS)
{
	Datum		args[2];
	bool		nulls[2] = {false, false};
	TimestampTz start = GetCurrentTimestamp();
	TimestampTz end;
	MrbSlot    *slot = mrb_shmem_slot(MyDatabaseId);
	char	   *state;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		mrb_raise(MRB_ERR_INVALID_ARGUMENT,
				  "deployment and timeout must not be null", NULL, NULL);
	parse_operation(PG_GETARG_DATUM(0), args, nulls);
	end = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												  TimestampTzGetDatum(start),
												  PG_GETARG_DATUM(1)));
	if (end < start)
		mrb_raise(MRB_ERR_INVALID_ARGUMENT, "timeout must not be negative",
				  NULL, NULL);
	for (;;)
	{
		long		left;

		state = convergence_state(args, nulls);
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);
		if (left <= 0 || (strcmp(state, "waiting_edges") != 0 &&
						  strcmp(state, "waiting_instances") != 0))
			break;
		wait_for_news(slot, Min(left, LOOK_MS));
	}
	PG_RETURN_TEXT_P(cstring_to_text(state));
}

static const char *
state_name(const MrbSlot *slot)
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

	if (!mrb_shmem_available())
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

/*
 * Split the argument, and refuse to wait for what this very transaction has
 * still to commit.
 */
static void
parse_operation(Datum text, Datum args[2], bool nulls[2])
{
	bool		own;
	char	   *id;

	mrb_query_open();
	mrb_query_run(&parse_query, &text, NULL);
	id = mrb_query_text(0, 1);
	args[1] = Int64GetDatum(mrb_query_int64(0, 2, -1));
	nulls[1] = DatumGetInt64(args[1]) < 0;
	own = mrb_query_bool(0, 3);
	mrb_query_close();
	args[0] = CStringGetTextDatum(id);
	if (own)
		mrb_raise(MRB_ERR_INVALID_ARGUMENT,
				  "cannot wait for an operation of the same transaction",
				  "Nobody is told before the transaction has committed.",
				  "COMMIT first, then call miosa_wait_converged.");
}

/*
 * As it is now, whatever the transaction's own snapshot shows.
 */
static char *
convergence_state(const Datum args[2], const bool nulls[2])
{
	char	   *state;

	PushActiveSnapshot(GetLatestSnapshot());
	mrb_query_open();
	mrb_query_run(&state_query, args, nulls);
	state = mrb_query_text(0, 1);
	mrb_query_close();
	PopActiveSnapshot();
	return state != NULL ? state : pstrdup("superseded");
}

static void
wait_for_news(MrbSlot *slot, long wait)
{
	CHECK_FOR_INTERRUPTS();
	if (slot == NULL)
	{
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 wait, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		return;
	}
	ConditionVariablePrepareToSleep(&slot->acknowledged);
	(void) ConditionVariableTimedSleep(&slot->acknowledged, wait,
									   PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
}
