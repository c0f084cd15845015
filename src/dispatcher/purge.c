/*-------------------------------------------------------------------------
 *
 * purge.c
 *	  Deleting what has expired, when nobody else does.
 *
 * pg_cron is the clock that people see and change; this is for when there is
 * none, or it has missed its turn twice.  The work is that of miosa_maintain()
 * with the same functions: list where a page of expired rows is, then delete
 * a piece of it at a time, because deliveries wait meanwhile.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/miosa_rollback.h"
#include "common/query.h"
#include "common/timer.h"
#include "common/worker_xact.h"
#include "dispatcher/purge.h"

#define BATCH 1000
#define PAGE 2000
#define LOCK_MS 100

/* How often it is looked, and how soon a tour goes on. */
#define SWEEP_FIRST_MS 5000
#define SWEEP_MS 60000
#define SWEEP_AGAIN_MS 200
#define SWEEP_NEXT_MS 10

/* A tour in so many looks for all, the others for what is new. */
#define FULL_TOUR 60

/* What a tour looks for, and after that the route log. */
static const char *const kinds[] = {
	"idempotency_keys", "audit_events", "runtime_instances", "removed_hosts"
};

typedef struct Tour
{
	int			kind;			/* index of kinds; past their end: route log */
	char	   *place;			/* where the next page begins, or NULL */
	ArrayType  *rows;			/* places of expired rows, or NULL */
	int			nrows;
	int			done;			/* of these */
	bool		removed;		/* something, by the last step */
	bool		ended;
} Tour;

static MrbQuery list_query = {
	.sql = "SELECT e.next, e.rows FROM miosa.expired_rows($1, $2, '10 min',"
	" CASE WHEN $4 THEN NULL::interval ELSE '2 h' END, $3) e",
	.nargs = 4,
	.argtypes = {TEXTOID, TEXTOID, INT4OID, BOOLOID},
};

static MrbQuery purge_query = {
	.sql = "SELECT p.done, p.removed FROM miosa.purge_rows($1, $2[$3 + 1 : $3 + $4]) p",
	.nargs = 4,
	.argtypes = {TEXTOID, TIDARRAYOID, INT4OID, INT4OID},
};

static MrbQuery trim_query = {
	.sql = "SELECT miosa.trim_overdue($1)",
	.nargs = 1,
	.argtypes = {INT4OID},
};

static Tour tour;
static int	tours = 0;
static MemoryContext page = NULL;	/* holds place and rows */
static MrbTimer timer;
static bool due = false;

static void step(void *arg);
static void list_page(void);
static void purge(void);
static void trim(void);
static void next_kind(void);
static void time_to_sweep(MrbTimer *it);

void
mrb_purge_step(void)
{
	if (page == NULL)
	{
		page = AllocSetContextCreate(TopMemoryContext,
									 MRB_EXTENSION " sweep",
									 ALLOCSET_DEFAULT_SIZES);
		mrb_timer_set(&timer, SWEEP_FIRST_MS, time_to_sweep);
	}
	if (!due)
		return;
	due = false;
	tour.removed = false;
	if (!mrb_worker_xact_try(step, NULL, NULL))
		tour.ended = true;
	if (tour.ended)
	{
		tours++;
		MemSet(&tour, 0, sizeof(tour));
		MemoryContextReset(page);
		mrb_timer_set(&timer, SWEEP_MS, time_to_sweep);
	}
	else
		mrb_timer_set(&timer, tour.removed ? SWEEP_AGAIN_MS : SWEEP_NEXT_MS,
					  time_to_sweep);
}

/*
 * One transaction.
 */
static void
step(void *arg)
{
	mrb_worker_xact_begin(MRB_SESSION_RECORD, LOCK_MS);
	mrb_query_open();
	if (tour.kind == lengthof(kinds))
		trim();
	else if (tour.done < tour.nrows)
		purge();
	else
		list_page();
	mrb_query_close();
	mrb_worker_xact_commit();
}

/*
 * Where are the next rows?
 */
static void
list_page(void)
{
	Datum		values[4];
	bool		nulls[4] = {false};
	bool		isnull;
	Datum		rows;
	char	   *place;
	MemoryContext caller;

	values[0] = CStringGetTextDatum(kinds[tour.kind]);
	nulls[1] = tour.place == NULL;
	values[1] = nulls[1] ? (Datum) 0 : CStringGetTextDatum(tour.place);
	values[2] = Int32GetDatum(PAGE);
	values[3] = BoolGetDatum(tours % FULL_TOUR == 0);
	mrb_query_run(&list_query, values, nulls);
	place = mrb_query_text(0, 1);
	rows = mrb_query_datum(0, 2, &isnull);

	MemoryContextReset(page);
	caller = MemoryContextSwitchTo(page);
	tour.place = place ? pstrdup(place) : NULL;
	tour.rows = DatumGetArrayTypePCopy(rows);
	MemoryContextSwitchTo(caller);
	tour.nrows = ArrayGetNItems(ARR_NDIM(tour.rows), ARR_DIMS(tour.rows));
	tour.done = 0;
	if (tour.nrows == 0 && tour.place == NULL)
		next_kind();
}

/*
 * Delete the next of them.
 */
static void
purge(void)
{
	Datum		values[4];

	values[0] = CStringGetTextDatum(kinds[tour.kind]);
	values[1] = PointerGetDatum(tour.rows);
	values[2] = Int32GetDatum(tour.done);
	values[3] = Int32GetDatum(BATCH);
	mrb_query_run(&purge_query, values, NULL);
	tour.done += mrb_query_int32(0, 1, tour.nrows);
	tour.removed = mrb_query_int64(0, 2, 0) > 0;
	if (tour.done >= tour.nrows && tour.place == NULL)
		next_kind();
}

/*
 * The route log is in order, so it needs no list.
 */
static void
trim(void)
{
	Datum		batch = Int32GetDatum(BATCH);

	mrb_query_run(&trim_query, &batch, NULL);
	tour.removed = true;
	tour.ended = mrb_query_int64(0, 1, 0) < BATCH;
}

static void
next_kind(void)
{
	tour.kind++;
	tour.rows = NULL;
	tour.nrows = 0;
	tour.done = 0;
}

static void
time_to_sweep(MrbTimer *it)
{
	due = true;
}
