/*-------------------------------------------------------------------------
 *
 * convergence_log.c
 *	  Writes when edges had an operation into miosa.convergence_log.
 *
 * delivery/edge_times.c makes reports of operations; here they are gathered for
 * a moment and written together, in a transaction of their own, so that an error
 * holds up no position of an endpoint.  If it fails, the reports stay.  While
 * requests are in flight they are gathered for longer, since each transaction
 * keeps the edges waiting.
 *
 * What a predecessor had in memory is lost.  After the start the route log is
 * read, some changes a step, and operations in it that have no row get one that
 * says so.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/container.h"
#include "base/json_build.h"
#include "base/miosa_rollback.h"
#include "common/array.h"
#include "common/query.h"
#include "common/worker_xact.h"
#include "delivery/edge_times.h"
#include "dispatcher/convergence_log.h"
#include "endpoint/inflight.h"

/* Reports that one transaction writes, because requests wait for it. */
#define BATCH 256

/* Reports that are written even while requests are in flight. */
#define GATHER_MAX 8192

/* Changes of the route log that one transaction reads. */
#define UNSEEN 500

/* Requests wait while a transaction waits for a lock. */
#define LOCK_MS 100

/* How long reports are gathered, and when the next step follows. */
#define GATHER_MS 500
#define GATHER_BUSY_MS 3000
#define MORE_MS 20
#define RETRY_MS 1000

/* Parameters of write_query: a column of all reports each. */
enum
{
	REPORT_DEPLOYMENT,
	REPORT_VERSION,
	REPORT_SEQ,
	REPORT_EPOCH,
	REPORT_STATE,
	REPORT_SINCE,
	REPORT_TAKEN_AT,
	REPORT_EDGES,
	REPORT_CONFIRMED,
	REPORT_FIRST_MS,
	REPORT_P50_MS,
	REPORT_P99_MS,
	REPORT_LAST_MS,
	REPORT_LAST_EDGE,
	REPORT_TENTHS_MS,
	REPORT_ZONES,
	REPORT_COLUMNS
};

static MrbQuery write_query = {
	.sql = "SELECT miosa.write_convergence($1, $2, $3, $4, $5, $6, $7, $8,"
	" $9, $10, $11, $12, $13, $14, $15, $16)",
	.nargs = REPORT_COLUMNS,
	.argtypes = {
		[REPORT_DEPLOYMENT] = TEXTARRAYOID,
		[REPORT_VERSION] = TEXTARRAYOID,
		[REPORT_SEQ] = INT8ARRAYOID,
		[REPORT_EPOCH] = INT8ARRAYOID,
		[REPORT_STATE] = TEXTARRAYOID,
		[REPORT_SINCE] = TIMESTAMPTZARRAYOID,
		[REPORT_TAKEN_AT] = TIMESTAMPTZARRAYOID,
		[REPORT_EDGES] = INT4ARRAYOID,
		[REPORT_CONFIRMED] = INT4ARRAYOID,
		[REPORT_FIRST_MS] = FLOAT8ARRAYOID,
		[REPORT_P50_MS] = FLOAT8ARRAYOID,
		[REPORT_P99_MS] = FLOAT8ARRAYOID,
		[REPORT_LAST_MS] = FLOAT8ARRAYOID,
		[REPORT_LAST_EDGE] = TEXTARRAYOID,
		[REPORT_TENTHS_MS] = TEXTARRAYOID,
		[REPORT_ZONES] = TEXTARRAYOID,
	},
};

/* Type of the elements of each of them. */
static const Oid column_types[REPORT_COLUMNS] = {
	[REPORT_DEPLOYMENT] = TEXTOID,
	[REPORT_VERSION] = TEXTOID,
	[REPORT_SEQ] = INT8OID,
	[REPORT_EPOCH] = INT8OID,
	[REPORT_STATE] = TEXTOID,
	[REPORT_SINCE] = TIMESTAMPTZOID,
	[REPORT_TAKEN_AT] = TIMESTAMPTZOID,
	[REPORT_EDGES] = INT4OID,
	[REPORT_CONFIRMED] = INT4OID,
	[REPORT_FIRST_MS] = FLOAT8OID,
	[REPORT_P50_MS] = FLOAT8OID,
	[REPORT_P99_MS] = FLOAT8OID,
	[REPORT_LAST_MS] = FLOAT8OID,
	[REPORT_LAST_EDGE] = TEXTOID,
	[REPORT_TENTHS_MS] = TEXTOID,
	[REPORT_ZONES] = TEXTOID,
};

/* The columns while they are filled. */
typedef struct Columns
{
	Datum		values[REPORT_COLUMNS][BATCH];
	bool		nulls[REPORT_COLUMNS][BATCH];
} Columns;

static MrbQuery unseen_query = {
	.sql = "SELECT miosa.write_unseen($1, $2, $3)",
	.nargs = 3,
	.argtypes = {INT8OID, INT8OID, INT4OID},
};

/* One transaction. */
typedef struct Work
{
	MrbConvergenceLog *log;
	int			written;		/* reports */
	int64		seen;			/* end of what was read of the route log */
} Work;

static bool may_gather(const MrbConvergenceLog *log);
static bool write_some(MrbConvergenceLog *log);
static void run(void *arg);
static void write_reports(Work *work);
static void add_report(Columns *columns, int row, const MrbEdgeReport *report);
static Datum show_tenths(const MrbEdgeReport *report);
static Datum show_zones(const MrbEdgeReport *report);
static float8 ms_after(const MrbEdgeReport *report, TimestampTz at);
static void write_unseen(Work *work);
static bool has_unseen(const MrbConvergenceLog *log);
static void timer_fired(MrbTimer *fired);

/*
 * Nothing is there to be written.
 */
void
mrb_convergence_log_init(MrbConvergenceLog *log)
{
	MemSet(log, 0, sizeof(MrbConvergenceLog));
	log->context = AllocSetContextCreate(TopMemoryContext,
										 MRB_EXTENSION " convergence log",
										 ALLOCSET_DEFAULT_SIZES);
}

/*
 * Have the route log read up to this epoch.
 */
void
mrb_convergence_log_begin(MrbConvergenceLog *log, int64 epoch)
{
	log->unseen_until = epoch;
}

/*
 * Make one step, if it is due.
 */
void
mrb_convergence_log_step(MrbConvergenceLog *log)
{
	bool		written;

	mrb_edge_times_step();
	if (!log->due)
	{
		if (!log->timer.set && (mrb_edge_times_reports() > 0 || has_unseen(log)))
		{
			log->since = mrb_timer_now();
			mrb_timer_set(&log->timer, GATHER_MS, timer_fired);
		}
		return;
	}
	log->due = false;
	if (may_gather(log))
	{
		mrb_timer_set(&log->timer, GATHER_MS, timer_fired);
		return;
	}
	written = write_some(log);
	if (!written)
		mrb_timer_set(&log->timer, RETRY_MS, timer_fired);
	else if (mrb_edge_times_reports() >= BATCH || has_unseen(log))
		mrb_timer_set(&log->timer, MORE_MS, timer_fired);
}

/*
 * Write all reports, unless that fails.
 */
void
mrb_convergence_log_run(MrbConvergenceLog *log)
{
	while (mrb_edge_times_reports() > 0 && write_some(log))
		;
}

/*
 * Whether reports can wait for requests that are in flight.
 */
static bool
may_gather(const MrbConvergenceLog *log)
{
	return mrb_inflight_in_flight() > 0 && !has_unseen(log) &&
		mrb_edge_times_reports() < GATHER_MAX &&
		!mrb_timer_passed(log->since, mrb_timer_now(), GATHER_BUSY_MS);
}

/*
 * Write a batch.  Return false if it failed.
 */
static bool
write_some(MrbConvergenceLog *log)
{
	Work		work = {.log = log};
	MemoryContext caller = MemoryContextSwitchTo(log->context);
	bool		written = mrb_worker_xact_try(run, &work, NULL);

	MemoryContextSwitchTo(caller);
	MemoryContextReset(log->context);
	if (!written)
		return false;
	mrb_edge_times_written(work.written);
	log->unseen_after = Max(log->unseen_after, work.seen);
	return true;
}

/*
 * The transaction of a batch.
 */
static void
run(void *arg)
{
	Work	   *work = arg;

	mrb_worker_xact_begin(MRB_WORKER_XACT_ASYNC, LOCK_MS);
	mrb_query_open();
	write_reports(work);
	if (has_unseen(work->log))
		write_unseen(work);
	mrb_query_close();
	mrb_worker_xact_commit();
}

/*
 * Write reports.
 */
static void
write_reports(Work *work)
{
	const MrbEdgeReport *report = NULL;
	Columns    *columns;
	Datum		args[REPORT_COLUMNS];
	int			n = 0;

	if (mrb_edge_times_reports() == 0)
		return;
	columns = palloc(sizeof(Columns));
	while (n < BATCH && (report = mrb_edge_times_next(report)) != NULL)
		add_report(columns, n++, report);
	for (int i = 0; i < REPORT_COLUMNS; i++)
		args[i] = mrb_array_make(columns->values[i], columns->nulls[i], n,
								 column_types[i]);
	mrb_query_run(&write_query, args, NULL);
	work->written = n;
}

/*
 * Put a report into the columns.
 */
static void
add_report(Columns *columns, int row, const MrbEdgeReport *report)
{
	bool		counted = report->nzones > 0 || strcmp(report->state, "no_edges") == 0;
	bool		timed = report->confirmed > 0;

#define PUT(column, known, value) \
	(columns->nulls[column][row] = !(known), \
	 columns->values[column][row] = (known) ? (value) : (Datum) 0)
	PUT(REPORT_DEPLOYMENT, true, CStringGetTextDatum(report->deployment_id));
	PUT(REPORT_VERSION, report->version_id != NULL,
		CStringGetTextDatum(report->version_id));
	PUT(REPORT_SEQ, true, Int64GetDatum(report->seq));
	PUT(REPORT_EPOCH, true, Int64GetDatum(report->epoch));
	PUT(REPORT_STATE, true, CStringGetTextDatum(report->state));
	PUT(REPORT_SINCE, true, TimestampTzGetDatum(report->since));
	PUT(REPORT_TAKEN_AT, true, TimestampTzGetDatum(report->taken_at));
	PUT(REPORT_EDGES, counted, Int32GetDatum(report->edges));
	PUT(REPORT_CONFIRMED, counted, Int32GetDatum(report->confirmed));
	PUT(REPORT_FIRST_MS, timed, Float8GetDatum(ms_after(report, report->first_at)));
	PUT(REPORT_P50_MS, report->nparts > MRB_EDGE_PART_P50,
		Float8GetDatum(ms_after(report, report->part_at[MRB_EDGE_PART_P50])));
	PUT(REPORT_P99_MS, report->nparts > MRB_EDGE_PART_P99,
		Float8GetDatum(ms_after(report, report->part_at[MRB_EDGE_PART_P99])));
	PUT(REPORT_LAST_MS, timed, Float8GetDatum(ms_after(report, report->last_at)));
	PUT(REPORT_LAST_EDGE, timed, CStringGetTextDatum(report->last_edge));
	PUT(REPORT_TENTHS_MS, timed, show_tenths(report));
	PUT(REPORT_ZONES, report->nzones > 0, show_zones(report));
#undef PUT
}

/*
 * Return the times of the tenths that are reached, as an array in text form.
 */
static Datum
show_tenths(const MrbEdgeReport *report)
{
	StringInfoData array;
	const char *separator = "";

	initStringInfo(&array);
	appendStringInfoChar(&array, '{');
	for (int i = 0; i < report->nparts; i++)
	{
		if (i == MRB_EDGE_PART_P99)
			continue;
		appendStringInfo(&array, "%s%.1f", separator,
						 ms_after(report, report->part_at[i]));
		separator = ",";
	}
	appendStringInfoChar(&array, '}');
	return CStringGetTextDatum(array.data);
}

/*
 * Return the zones as a JSON object.
 */
static Datum
show_zones(const MrbEdgeReport *report)
{
	StringInfoData json;
	char		ms[32];

	initStringInfo(&json);
	mrb_json_build_object(&json, NULL);
	for (int i = 0; i < report->nzones; i++)
	{
		const MrbZoneTimes *zone = &report->zones[i];

		if (zone->edges == 0)
			continue;
		mrb_json_build_object(&json, zone->zone->name);
		mrb_json_build_integer(&json, "edges", zone->edges);
		mrb_json_build_integer(&json, "confirmed", zone->confirmed);
		if (zone->confirmed > 0)
		{
			snprintf(ms, sizeof(ms), "%.1f", ms_after(report, zone->last_at));
			mrb_json_build_raw(&json, "ms", ms);
		}
		mrb_json_build_end(&json);
	}
	mrb_json_build_end(&json);
	return CStringGetTextDatum(json.data);
}

/*
 * Return the milliseconds, with one decimal, from the change to a time.
 */
static float8
ms_after(const MrbEdgeReport *report, TimestampTz at)
{
	return rint(Max(0, at - report->since) / 100.0) / 10;
}

/*
 * Read the next part of the route log.
 */
static void
write_unseen(Work *work)
{
	Datum		values[] = {
		Int64GetDatum(work->log->unseen_after),
		Int64GetDatum(work->log->unseen_until),
		Int32GetDatum(UNSEEN)
	};

	mrb_query_run(&unseen_query, values, NULL);
	work->seen = mrb_query_int64(0, 1, work->log->unseen_until);
}

/*
 * Whether the route log is not read to the end.
 */
static bool
has_unseen(const MrbConvergenceLog *log)
{
	return log->unseen_after < log->unseen_until;
}

/*
 * The next step is due.
 */
static void
timer_fired(MrbTimer *fired)
{
	mrb_container(MrbConvergenceLog, timer, fired)->due = true;
}
