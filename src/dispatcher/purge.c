/*-------------------------------------------------------------------------
 *
 * purge.c
 *	  Deletes expired rows when no cron job does.
 *
 * Users normally schedule miosa_maintain() with pg_cron.  This takes over if
 * there is no such job, or if it has missed two runs.  It calls the functions
 * that miosa_maintain() calls: one lists a page of expired rows, another
 * deletes a batch of them a turn of the loop, because deliveries wait
 * meanwhile.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/container.h"
#include "base/miosa_rollback.h"
#include "base/optional_text.h"
#include "common/query.h"
#include "common/timer.h"
#include "common/worker_xact.h"
#include "dispatcher/purge.h"

/* Rows that one transaction deletes, and rows that one lists. */
#define BATCH 1000
#define PAGE 2000

/* Requests wait while a transaction waits for a lock. */
#define LOCK_MS 100

/* When runs begin, and how soon the next step of a run follows. */
#define FIRST_RUN_MS 5000
#define RUN_MS 60000
#define AFTER_DELETE_MS 200
#define AFTER_PAGE_MS 10

/* One run of this many lists all expired rows, the others recent ones. */
#define FULL_RUN 60

/* As miosa.purged_kinds(); the route log comes after these. */
static const char *const kinds[] = {
	"idempotency_keys", "audit_events", "runtime_instances", "removed_hosts",
	"refusals",
	"schema_reports", "fleet_runs", "alerts", "holds"
};

/* Columns of list_query. */
enum
{
	LIST_NEXT = 1,
	LIST_ROWS,
};

static MrbQuery list_query = {
	.sql = "SELECT e.next, e.rows FROM miosa.expired_rows($1, $2, '10 min',"
	" CASE WHEN $4 THEN NULL::interval ELSE '2 h' END, $3) e",
	.nargs = 4,
	.argtypes = {TEXTOID, TEXTOID, INT4OID, BOOLOID},
};

/* Columns of purge_query. */
enum
{
	PURGE_DONE = 1,
	PURGE_REMOVED,
};

static MrbQuery purge_query = {
	.sql = "SELECT p.done, p.removed FROM miosa.purge_rows($1, $2[$3 + 1 : $3 + $4]) p",
	.nargs = 4,
	.argtypes = {TEXTOID, TIDARRAYOID, INT4OID, INT4OID},
};

/* Column of trim_query. */
enum
{
	TRIM_REMOVED = 1,
};

static MrbQuery trim_query = {
	.sql = "SELECT miosa.trim_overdue($1)",
	.nargs = 1,
	.argtypes = {INT4OID},
};

static void step(void *arg);
static void list_page(MrbPurge *purge);
static void delete_batch(MrbPurgeRun *run);
static void trim(MrbPurgeRun *run);
static void next_kind(MrbPurgeRun *run);
static void timer_fired(MrbTimer *fired);

/*
 * Set the timer of the first run.
 */
void
mrb_purge_init(MrbPurge *purge)
{
	MemSet(purge, 0, sizeof(MrbPurge));
	purge->page = AllocSetContextCreate(TopMemoryContext,
										MRB_EXTENSION " purge",
										ALLOCSET_DEFAULT_SIZES);
	mrb_timer_set(&purge->timer, FIRST_RUN_MS, timer_fired);
}

/*
 * Make one step of a run, if it is due.
 */
void
mrb_purge_step(MrbPurge *purge)
{
	MrbPurgeRun *run = &purge->run;

	if (!purge->due)
		return;
	purge->due = false;
	run->removed = false;
	if (!mrb_worker_xact_try(step, purge, NULL))
		run->ended = true;
	if (run->ended)
	{
		purge->runs++;
		MemSet(run, 0, sizeof(MrbPurgeRun));
		MemoryContextReset(purge->page);
		mrb_timer_set(&purge->timer, RUN_MS, timer_fired);
	}
	else
		mrb_timer_set(&purge->timer,
					  run->removed ? AFTER_DELETE_MS : AFTER_PAGE_MS,
					  timer_fired);
}

/*
 * The transaction of a step.
 */
static void
step(void *arg)
{
	MrbPurge   *purge = arg;
	MrbPurgeRun *run = &purge->run;

	mrb_worker_xact_begin(MRB_WORKER_XACT_ASYNC, LOCK_MS);
	mrb_query_open();
	if (run->kind == lengthof(kinds))
		trim(run);
	else if (run->done < run->nrows)
		delete_batch(run);
	else
		list_page(purge);
	mrb_query_close();
	mrb_worker_xact_commit();
}

/*
 * List the next page of expired rows.
 */
static void
list_page(MrbPurge *purge)
{
	MrbPurgeRun *run = &purge->run;
	Datum		values[4];
	bool		nulls[4] = {false};
	bool		isnull;
	Datum		rows;
	char	   *next;
	MemoryContext caller;

	values[0] = CStringGetTextDatum(kinds[run->kind]);
	nulls[1] = run->next == NULL;
	values[1] = nulls[1] ? (Datum) 0 : CStringGetTextDatum(run->next);
	values[2] = Int32GetDatum(PAGE);
	values[3] = BoolGetDatum(purge->runs % FULL_RUN == 0);
	mrb_query_run(&list_query, values, nulls);
	next = mrb_query_text(0, LIST_NEXT);
	rows = mrb_query_datum(0, LIST_ROWS, &isnull);

	MemoryContextReset(purge->page);
	caller = MemoryContextSwitchTo(purge->page);
	run->next = mrb_optional_text_copy(next);
	run->rows = DatumGetArrayTypePCopy(rows);
	MemoryContextSwitchTo(caller);
	run->nrows = ArrayGetNItems(ARR_NDIM(run->rows), ARR_DIMS(run->rows));
	run->done = 0;
	if (run->nrows == 0 && run->next == NULL)
		next_kind(run);
}

/*
 * Delete the next batch of the page.
 */
static void
delete_batch(MrbPurgeRun *run)
{
	Datum		values[4];

	values[0] = CStringGetTextDatum(kinds[run->kind]);
	values[1] = PointerGetDatum(run->rows);
	values[2] = Int32GetDatum(run->done);
	values[3] = Int32GetDatum(BATCH);
	mrb_query_run(&purge_query, values, NULL);
	run->done += mrb_query_int32(0, PURGE_DONE, run->nrows);
	run->removed = mrb_query_int64(0, PURGE_REMOVED, 0) > 0;
	if (run->done >= run->nrows && run->next == NULL)
		next_kind(run);
}

/*
 * Delete from the start of the route log, which needs no list because it is
 * ordered by epoch.
 */
static void
trim(MrbPurgeRun *run)
{
	Datum		batch = Int32GetDatum(BATCH);

	mrb_query_run(&trim_query, &batch, NULL);
	run->removed = true;
	run->ended = mrb_query_int64(0, TRIM_REMOVED, 0) < BATCH;
}

/*
 * Continue with the next kind of rows.
 */
static void
next_kind(MrbPurgeRun *run)
{
	run->kind++;
	run->rows = NULL;
	run->nrows = 0;
	run->done = 0;
}

/*
 * The next step is due.
 */
static void
timer_fired(MrbTimer *fired)
{
	mrb_container(MrbPurge, timer, fired)->due = true;
}
