/*-------------------------------------------------------------------------
 *
 * convergence_api.c
 *	  SQL-callable functions about the convergence of endpoints.
 *
 * Computing convergence is expensive with a thousand endpoints.  So a waiter
 * remembers which endpoints lag behind at which epoch, and computes it again
 * when those have acknowledged, or after an interval.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "api/convergence_state.h"
#include "api/edges.h"
#include "api/progress_snapshot.h"
#include "base/errors.h"
#include "common/lock_wait.h"
#include "common/timer.h"
#include "endpoint/health.h"

PG_FUNCTION_INFO_V1(mrb_judge);
PG_FUNCTION_INFO_V1(mrb_convergence_rows);
PG_FUNCTION_INFO_V1(mrb_convergence_state);
PG_FUNCTION_INFO_V1(miosa_convergence);
PG_FUNCTION_INFO_V1(miosa_wait_converged);
PG_FUNCTION_INFO_V1(mrb_fleet_edges);

/*
 * Interval between two reads without a notification, and its least multiple
 * of the time that a read takes.
 */
#define READ_MS 50
#define READ_PART 20

/*
 * The same multiple after a notification, if any change may matter, but for the
 * first one: what was read before the dispatcher knew of the change names no
 * laggards that could be watched.
 */
#define NEWS_PART 4

/* Columns of miosa.judge() and miosa.convergence_rows(). */
enum
{
	ROW_ENDPOINT,
	ROW_ZONE,
	ROW_ROLE,
	ROW_ADAPTER,
	ROW_STAGE,
	ROW_STATE,
	ROW_DONE,
	ROW_EPOCH,
	ROW_ACKED_EPOCH,
	ROW_HEALTH,
	ROW_AGE,
	ROW_ERROR,
	ROW_COLUMNS
};

/* Columns of parse_query, from 1. */
enum
{
	PARSED_DEPLOYMENT = 1,
	PARSED_SEQ,
	PARSED_OWN,
	PARSED_FLEET
};

/* An edge that has not acknowledged a change, and blocks nothing else. */
typedef struct Laggard
{
	char	   *name;
	int			entry;
	int64		epoch;
} Laggard;

typedef struct Laggards
{
	MrbConvergence state;
	bool		others;			/* the state depends on more than these */
	int			n;
	Laggard    *items;
	int			next;			/* those before it have caught up */
	MrbTick		took;			/* duration of the read */
} Laggards;

/* The operation that the caller names. */
typedef struct Operation
{
	char	   *deployment_id;
	int64		seq;			/* -1: the newest */
	char	   *fleet_id;		/* then the deployment is its last one; NULL:
								 * it is no fleet */
	bool		own;			/* this transaction has made it */
} Operation;

/* What find_laggards() needs in its snapshot. */
typedef struct Search
{
	const Operation *operation;
	Laggards   *laggards;
} Search;

/* What mrb_judge() needs in its snapshot. */
typedef struct Judgement
{
	const char *deployment_id;
	ReturnSetInfo *set;
} Judgement;

/* What count_fleet() needs in its snapshot. */
typedef struct FleetCount
{
	const char *fleet_id;
	MrbEdgeCount count;
} FleetCount;

static MrbQuery parse_query = {
	.sql = "SELECT o.deployment_id, o.seq, EXISTS (SELECT"
	" FROM miosa.outbox q"
	" WHERE q.xid = pg_catalog.pg_current_xact_id_if_assigned()"
	" AND q.deployment_id = o.deployment_id), o.fleet_id"
	" FROM miosa.parse_operation($1) o",
	.nargs = 1,
	.argtypes = {TEXTOID},
	.read_only = true,
};

static MrbQuery rows_query = {
	.sql = "SELECT j.endpoint, j.zone, j.role, j.adapter, j.stage, j.state,"
	" j.done, j.epoch, j.acked_epoch, j.health, j.age, j.error"
	" FROM miosa.judge($1) j ORDER BY j.done, j.zone, j.stage, j.endpoint",
	.nargs = 1,
	.argtypes = {TEXTOID},
	.read_only = true,
};

static MrbQuery object_query = {
	.sql = "SELECT o FROM miosa.convergence_object($1, $2) o",
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
	.read_only = true,
};

static Datum call_convergence(PG_FUNCTION_ARGS);
static Datum call_wait_converged(PG_FUNCTION_ARGS);
static void count_fleet(void *arg);
static void put_edges(void *arg);
static void put_edge(ReturnSetInfo *set, const MrbEdges *edges, const MrbEdge *edge);
static Datum get_age(const MrbEdges *edges, const MrbEdge *edge, bool *isnull);
static void read_rows(uint64 n, void *arg);
static void read_jsonb(uint64 n, void *arg);
static void read_operation(uint64 n, void *arg);
static void parse_operation(FunctionCallInfo fcinfo, Operation *operation);
static void operation_args(const Operation *operation, Datum args[2],
						   bool nulls[2]);
static MrbTick end_of_wait(Datum timeout);
static bool find_laggards(const Operation *operation, Laggards *laggards);
static void search_laggards(void *arg);
static void wait_for_laggards(MrbRegistrySlot *slot, Laggards *laggards, long left,
							  bool again);
static bool caught_up(Laggards *laggards);
static bool sleep_on(MrbRegistrySlot *slot, long wait);

/*
 * miosa.judge(deployment_id): the endpoints with their states, in no order
 */
Datum
mrb_judge(PG_FUNCTION_ARGS)
{
	Judgement	judgement;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	judgement.deployment_id = text_to_cstring(PG_GETARG_TEXT_PP(0));
	judgement.set = (ReturnSetInfo *) fcinfo->resultinfo;
	mrb_progress_snapshot(put_edges, &judgement);
	return (Datum) 0;
}

/*
 * miosa.convergence_rows(deployment_id): the same, those that are not done
 * first
 */
Datum
mrb_convergence_rows(PG_FUNCTION_ARGS)
{
	Datum		args[1] = {PG_GETARG_DATUM(0)};
	bool		nulls[1] = {PG_ARGISNULL(0)};

	InitMaterializedSRF(fcinfo, 0);
	mrb_progress_snapshot_query(&rows_query, args, nulls, read_rows, fcinfo->resultinfo);
	return (Datum) 0;
}

/*
 * miosa.convergence_state(deployment_id, seq): one of the states that
 * miosa_wait_converged() returns
 */
Datum
mrb_convergence_state(PG_FUNCTION_ARGS)
{
	Operation	operation = {0};
	Laggards	laggards;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	operation.deployment_id = text_to_cstring(PG_GETARG_TEXT_PP(0));
	operation.seq = PG_ARGISNULL(1) ? -1 : PG_GETARG_INT64(1);
	(void) find_laggards(&operation, &laggards);
	if (laggards.state == MRB_CONVERGENCE_UNKNOWN)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(mrb_convergence_state_name(laggards.state)));
}

/*
 * miosa_convergence(deployment_or_operation)
 */
Datum
miosa_convergence(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_PUBLIC, call_convergence, fcinfo);
}

/*
 * miosa_convergence(), with bounded waits.
 */
static Datum
call_convergence(PG_FUNCTION_ARGS)
{
	Operation	operation;
	Datum		args[2];
	bool		nulls[2];
	Jsonb	   *object;

	parse_operation(fcinfo, &operation);
	if (operation.fleet_id != NULL)
		mrb_raise(MRB_ERR_INVALID_ARGUMENT,
				  "miosa_convergence is about one deployment",
				  psprintf("\"%s\" is a fleet.", operation.fleet_id),
				  psprintf("Wait for all of it: SELECT miosa_wait_converged('%s');",
						   operation.fleet_id));
	operation_args(&operation, args, nulls);
	mrb_progress_snapshot_query(&object_query, args, nulls, read_jsonb, &object);
	PG_RETURN_JSONB_P(object);
}

/*
 * miosa_wait_converged(deployment_or_operation, timeout)
 */
Datum
miosa_wait_converged(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_PUBLIC, call_wait_converged, fcinfo);
}

/*
 * miosa_wait_converged(), with bounded waits.
 */
static Datum
call_wait_converged(PG_FUNCTION_ARGS)
{
	MrbRegistrySlot *slot = mrb_registry_slot(MyDatabaseId);
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(caller, "miosa_rollback wait",
												  ALLOCSET_DEFAULT_SIZES);
	Operation	operation;
	MrbTick		end;
	Laggards	laggards;
	long		left;
	bool		again = false;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		mrb_raise(MRB_ERR_INVALID_ARGUMENT,
				  "deployment and timeout must not be null", NULL, NULL);
	parse_operation(fcinfo, &operation);
	if (operation.own)
		mrb_raise(MRB_ERR_INVALID_ARGUMENT,
				  "cannot wait for an operation of the same transaction",
				  "Endpoints are notified when the transaction commits.",
				  "COMMIT first, then call miosa_wait_converged.");
	end = end_of_wait(PG_GETARG_DATUM(1));
	MemoryContextSwitchTo(scratch);
	if (slot != NULL)
		ConditionVariablePrepareToSleep(&slot->acknowledged);
	while (find_laggards(&operation, &laggards) &&
		   (left = mrb_timer_ms_between(mrb_timer_read(), end)) > 0)
	{
		wait_for_laggards(slot, &laggards, left, again);
		again = true;
		MemoryContextReset(scratch);
	}
	ConditionVariableCancelSleep();
	MemoryContextSwitchTo(caller);
	if (laggards.state == MRB_CONVERGENCE_UNKNOWN)
		laggards.state = MRB_CONVERGENCE_SUPERSEDED;	/* deleted meanwhile */
	PG_RETURN_TEXT_P(cstring_to_text(mrb_convergence_state_name(laggards.state)));
}

/*
 * miosa.fleet_edges(fleet_id): how many edges there are, and how many are done
 */
Datum
mrb_fleet_edges(PG_FUNCTION_ARGS)
{
	FleetCount	fleet = {.fleet_id = text_to_cstring(PG_GETARG_TEXT_PP(0))};
	Datum		values[2];
	bool		nulls[2] = {false};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	mrb_progress_snapshot(count_fleet, &fleet);
	values[0] = Int32GetDatum(fleet.count.edges);
	values[1] = Int32GetDatum(fleet.count.done);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}

/*
 * Count the edges of a fleet.
 */
static void
count_fleet(void *arg)
{
	FleetCount *fleet = arg;
	MrbEdges	edges;

	(void) mrb_edges_read_fleet(fleet->fleet_id, &edges);
	fleet->count = mrb_edges_count(&edges);
}

/*
 * Judge the endpoints, and put them into the result of a set-returning
 * function.
 */
static void
put_edges(void *arg)
{
	const Judgement *judgement = arg;
	MrbEdges	edges;

	mrb_edges_read(judgement->deployment_id, &edges);
	for (int i = 0; i < edges.n; i++)
		put_edge(judgement->set, &edges, &edges.items[i]);
}

/*
 * Put the row of one endpoint into the result.
 */
static void
put_edge(ReturnSetInfo *set, const MrbEdges *edges, const MrbEdge *edge)
{
	const MrbPosition *position = edge->position;
	Datum		values[ROW_COLUMNS] = {0};
	bool		nulls[ROW_COLUMNS] = {false};

	values[ROW_ENDPOINT] = CStringGetTextDatum(edge->name);
	values[ROW_ZONE] = CStringGetTextDatum(edge->zone);
	values[ROW_ROLE] = CStringGetTextDatum(edge->role);
	values[ROW_ADAPTER] = CStringGetTextDatum(edge->adapter);
	values[ROW_STAGE] = Int32GetDatum(edge->stage);
	values[ROW_STATE] = CStringGetTextDatum(mrb_edge_state_name(edge->state));
	values[ROW_DONE] = BoolGetDatum(edge->done);
	values[ROW_EPOCH] = Int64GetDatum(edge->epoch);
	nulls[ROW_EPOCH] = edge->epoch == 0;
	values[ROW_ACKED_EPOCH] = Int64GetDatum(position != NULL ? position->acked_epoch : 0);
	nulls[ROW_ACKED_EPOCH] = position == NULL;
	values[ROW_HEALTH] =
		CStringGetTextDatum(mrb_health_name(position != NULL ? position->health : MRB_HEALTH_NEW));
	values[ROW_AGE] = get_age(edges, edge, &nulls[ROW_AGE]);
	nulls[ROW_ERROR] = edge->error == NULL;
	if (edge->error != NULL)
		values[ROW_ERROR] = CStringGetTextDatum(edge->error);
	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}

/*
 * Since when an endpoint lacks an acknowledgement.
 */
static Datum
get_age(const MrbEdges *edges, const MrbEdge *edge, bool *isnull)
{
	*isnull = !edge->enabled || edge->acknowledged ||
		edges->change.created_at == 0;
	if (*isnull)
		return (Datum) 0;
	return DirectFunctionCall2(timestamp_mi, TimestampTzGetDatum(edges->now),
							   TimestampTzGetDatum(edges->change.created_at));
}

/*
 * Copy all rows into the result of a set-returning function.
 */
static void
read_rows(uint64 n, void *arg)
{
	ReturnSetInfo *set = arg;

	for (uint64 i = 0; i < n; i++)
	{
		Datum		values[ROW_COLUMNS];
		bool		nulls[ROW_COLUMNS];

		for (int c = 0; c < ROW_COLUMNS; c++)
			values[c] = mrb_query_datum(i, c + 1, &nulls[c]);
		tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
	}
}

/*
 * Read one JSON value.
 */
static void
read_jsonb(uint64 n, void *arg)
{
	*(Jsonb **) arg = mrb_query_jsonb(0, 1);
}

/*
 * Read the deployment and the number of an operation.
 */
static void
read_operation(uint64 n, void *arg)
{
	Operation  *operation = arg;

	operation->deployment_id = mrb_query_text(0, PARSED_DEPLOYMENT);
	operation->seq = mrb_query_int64(0, PARSED_SEQ, -1);
	operation->own = mrb_query_bool(0, PARSED_OWN);
	operation->fleet_id = mrb_query_text(0, PARSED_FLEET);
}

/*
 * Find the deployment or operation that the first argument names.
 */
static void
parse_operation(FunctionCallInfo fcinfo, Operation *operation)
{
	Datum		args[1] = {PG_GETARG_DATUM(0)};
	bool		nulls[1] = {PG_ARGISNULL(0)};

	mrb_progress_snapshot_query(&parse_query, args, nulls, read_operation, operation);
}

/*
 * Make the arguments of a query about an operation.
 */
static void
operation_args(const Operation *operation, Datum args[2], bool nulls[2])
{
	args[0] = CStringGetTextDatum(operation->deployment_id);
	nulls[0] = false;
	args[1] = Int64GetDatum(operation->seq);
	nulls[1] = operation->seq < 0;
}

/*
 * Compute when to stop waiting.  A longer timeout could exceed the range of
 * timestamps.
 */
static MrbTick
end_of_wait(Datum timeout)
{
	TimestampTz start = GetCurrentTimestamp();
	TimestampTz end;
	Interval	longest = {.month = 12};

	if (DatumGetBool(DirectFunctionCall2(interval_gt, timeout,
										 IntervalPGetDatum(&longest))))
		mrb_raise(MRB_ERR_INVALID_ARGUMENT, "timeout is too long",
				  psprintf("The timeout is %s; the maximum is 1 year.",
						   DatumGetCString(DirectFunctionCall1(interval_out,
															   timeout))),
				  NULL);
	end = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												  TimestampTzGetDatum(start),
												  timeout));
	if (end < start)
		mrb_raise(MRB_ERR_INVALID_ARGUMENT, "timeout must not be negative",
				  NULL, NULL);
	return mrb_timer_read() + (end - start);
}

/*
 * Read which endpoints lag behind.  False if there is nothing to wait for, or no
 * dispatcher to deliver it.
 */
static bool
find_laggards(const Operation *operation, Laggards *laggards)
{
	MrbTick		start = mrb_timer_read();
	Search		search = {operation, laggards};

	MemSet(laggards, 0, sizeof(Laggards));
	mrb_progress_snapshot(search_laggards, &search);
	laggards->took = mrb_timer_read() - start;
	return laggards->state == MRB_CONVERGENCE_WAITING_EDGES ||
		laggards->state == MRB_CONVERGENCE_WAITING_INSTANCES;
}

/*
 * Judge the edges, and list those that lack no more than an acknowledgement,
 * which a waiter can watch alone in shared memory.
 */
static void
search_laggards(void *arg)
{
	const Search *search = arg;
	Laggards   *laggards = search->laggards;
	MrbEdges	edges;
	MrbEdgeCount count;

	if (search->operation->fleet_id != NULL)
	{
		MrbEdgesFleet fleet = mrb_edges_read_fleet(search->operation->fleet_id,
												   &edges);

		count = mrb_edges_count(&edges);
		laggards->state = mrb_convergence_state_of_fleet(&fleet, &count);
		laggards->others = fleet.works || fleet.waits;
	}
	else
	{
		mrb_edges_read(search->operation->deployment_id, &edges);
		count = mrb_edges_count(&edges);
		laggards->state = mrb_convergence_state_decide(search->operation->deployment_id,
													   search->operation->seq, &count);
	}
	laggards->others |= count.edges == 0;
	laggards->items = palloc((edges.n + 1) * sizeof(Laggard));
	for (int i = 0; i < edges.n; i++)
	{
		const MrbEdge *edge = &edges.items[i];
		Laggard    *laggard;

		if (!mrb_edges_counts(edge) || edge->done)
			continue;
		if (!edge->behind)
		{
			laggards->others = true;
			continue;
		}
		laggard = &laggards->items[laggards->n++];
		laggard->name = edge->name;
		laggard->entry = edge->entry;
		laggard->epoch = edge->epoch;
	}
}

/*
 * Wait until it is worthwhile to read again; again: it has been so before.  The
 * process joined the queue of the condition variable before it read, so it misses
 * no notification.
 */
static void
wait_for_laggards(MrbRegistrySlot *slot, Laggards *laggards, long left, bool again)
{
	MrbTick		now = mrb_timer_read();
	MrbTick		news_at = again ? now + NEWS_PART * laggards->took : now;
	MrbTick		until = Min(mrb_timer_add_ms(now, left),
							Max(mrb_timer_add_ms(now, READ_MS),
								now + READ_PART * laggards->took));

	while (!caught_up(laggards) && now < until)
	{
		left = mrb_timer_ms_between(now, until);
		if (!sleep_on(slot, left) && laggards->others)
			until = Min(until, news_at);
		now = mrb_timer_read();
	}
}

/*
 * True if all laggards have acknowledged, or their entries belong to other
 * endpoints by now.
 */
static bool
caught_up(Laggards *laggards)
{
	if (laggards->n == 0)
		return false;
	while (laggards->next < laggards->n)
	{
		const Laggard *laggard = &laggards->items[laggards->next];
		int64		acked = mrb_endpoint_stats_read_acked(laggard->entry, MyDatabaseId,
														  laggard->name);

		if (acked >= 0 && acked < laggard->epoch)
			return false;
		laggards->next++;
	}
	return true;
}

/*
 * Sleep until a notification (false) or the time-out (true).
 */
static bool
sleep_on(MrbRegistrySlot *slot, long wait)
{
	if (slot != NULL)
		return ConditionVariableTimedSleep(&slot->acknowledged, wait,
										   PG_WAIT_EXTENSION);
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 wait, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	return true;
}
