/*-------------------------------------------------------------------------
 *
 * replay.c
 *	  After a restart, queue again what endpoints lack.
 *
 * Everything that a dispatcher holds in memory can be read again: the changes
 * after the endpoints' positions from the route log, and what they rejected
 * from miosa.delivery_failures.  If the log no longer reaches back, or there
 * are too many changes, the endpoint is resynchronized instead.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "common/query.h"
#include "common/registry.h"
#include "common/worker_xact.h"
#include "delivery/endpoint_state.h"
#include "delivery/fanout.h"
#include "delivery/queue.h"
#include "delivery/replay.h"
#include "delivery/resync.h"
#include "endpoint/endpoint_list.h"

/* Number of changes that one transaction reads. */
#define CHUNK 10000

/* A lock on our tables for longer than this ends the process. */
#define LOCK_MS 5000

/*
 * An endpoint that lacks more changes than this is resynchronized, because
 * nothing is sent while changes are read.
 */
#define CHANGES_MAX 50000

/* As in failures_query; further rows wait for a restart. */
#define FAILURES_MAX 10000

/* Where the route log is read, and what was read last. */
typedef struct LogReader
{
	int64		after;			/* epoch */
	MrbRouteChanges changes;
} LogReader;

/* Deployments that endpoints have rejected. */
typedef struct Failures
{
	int			n;
	char	  **endpoints;
	char	  **ids;			/* of deployments */
	int		   *attempts;
	int		   *after_ms;		/* until the next try */
	MrbRoute   *routes;
	int			nroutes;
} Failures;

/* Columns of failures_query, in order. */
enum
{
	COL_ENDPOINT = 1,
	COL_DEPLOYMENT,
	COL_ATTEMPTS,
	COL_AFTER_MS
};

/* The table may hold infinite times and any number of attempts. */
static MrbQuery failures_query = {
	.sql = "SELECT f.endpoint, f.deployment_id,"
	" greatest(0, least(f.attempts, 1000)),"
	" (1000 * extract(epoch FROM least(greatest(f.next_try_at,"
	" pg_catalog.now()), pg_catalog.now() + interval '300 s')"
	" - pg_catalog.now()))::pg_catalog.int4"
	" FROM miosa.delivery_failures f"
	" WHERE NOT $1 OR f.next_try_at <= pg_catalog.clock_timestamp()"
	" ORDER BY f.next_try_at LIMIT 10000",
	.nargs = 1,
	.argtypes = {BOOLOID},
};

static void find_start(List *endpoints, int64 trimmed_epoch,
					   LogReader *log);
static void read_log(void *arg);
static void park_failures(List *only, bool due);
static void read_failures(bool due, Failures *failures);
static void park_failure(const Failures *failures, int i, MrbEndpoint *endpoint);

/*
 * Read the route log chunk by chunk, then the rejected deployments.
 */
void
mrb_replay_load(List *endpoints, int64 trimmed_epoch)
{
	LogReader	log = {0};
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext chunk;

	if (endpoints == NIL)
		return;
	find_start(endpoints, trimmed_epoch, &log);

	/* The memory of a chunk is freed before the next one is read. */
	chunk = AllocSetContextCreate(caller, "miosa_rollback restart",
								  ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(chunk);
	while (log.after < mrb_queue_newest_epoch())
	{
		MemoryContextReset(chunk);
		read_log(&log);
		mrb_registry_passed(mrb_registry_slot(MyDatabaseId));
		if (log.changes.nchanges == 0)
			break;
		mrb_fanout_apply(&log.changes, endpoints);
		log.after = log.changes.last_epoch;
		if (!log.changes.more)
			break;
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(chunk);
	park_failures(endpoints, false);
}

/*
 * A change of settings may have repaired what was rejected.
 */
void
mrb_replay_redrive(void)
{
	park_failures(NIL, true);
}

/*
 * Find the epoch after which the log is read.  Endpoints that are too far
 * behind are resynchronized instead.
 */
static void
find_start(List *endpoints, int64 trimmed_epoch, LogReader *log)
{
	int64		lowest = mrb_queue_newest_epoch();
	ListCell   *cell;

	foreach(cell, endpoints)
	{
		MrbEndpoint *endpoint = lfirst(cell);

		if (endpoint->progress.acked_epoch < trimmed_epoch ||
			Min(endpoint->progress.acked_epoch, endpoint->progress.settled_epoch) <
			mrb_queue_newest_epoch() - CHANGES_MAX)
		{
			mrb_endpoint_state_skip(endpoint, mrb_queue_newest_epoch());
			mrb_resync_begin(endpoint);
		}
		lowest = Min(lowest, Min(endpoint->progress.acked_epoch,
								 endpoint->progress.settled_epoch));
	}
	log->after = Max(lowest, trimmed_epoch);
}

/*
 * Read a chunk.  An error here ends the process, and the next one retries.
 */
static void
read_log(void *arg)
{
	LogReader  *log = arg;

	mrb_worker_xact_begin(MRB_WORKER_XACT_PASS, LOCK_MS);
	mrb_route_log_read(log->after, CHUNK,
					   &log->changes);
	mrb_worker_xact_commit_read();
}

/*
 * Park rejected deployments; the ones that are due are retried at once.
 */
static void
park_failures(List *only, bool due)
{
	Failures	failures = {0};

	read_failures(due, &failures);
	for (int i = 0; i < failures.n; i++)
	{
		MrbEndpoint *endpoint = mrb_endpoint_list_find(failures.endpoints[i]);

		if (endpoint != NULL && (due || list_member_ptr(only, endpoint)))
			park_failure(&failures, i, endpoint);
	}
}

/*
 * Read rejected deployments, and the present routes of them.
 */
static void
read_failures(bool due, Failures *failures)
{
	Datum		arg = BoolGetDatum(due);
	int			n;

	mrb_worker_xact_begin(MRB_WORKER_XACT_PASS, LOCK_MS);
	failures->endpoints = palloc(FAILURES_MAX * sizeof(char *));
	failures->ids = palloc(FAILURES_MAX * sizeof(char *));
	failures->attempts = palloc(FAILURES_MAX * sizeof(int));
	failures->after_ms = palloc(FAILURES_MAX * sizeof(int));
	mrb_query_open();
	n = mrb_query_run(&failures_query, &arg, NULL);
	for (int i = 0; i < n; i++)
	{
		failures->endpoints[i] = mrb_query_text(i, COL_ENDPOINT);
		failures->ids[i] = mrb_query_text(i, COL_DEPLOYMENT);
		failures->attempts[i] = mrb_query_int32(i, COL_ATTEMPTS, 0);
		failures->after_ms[i] = mrb_query_int32(i, COL_AFTER_MS, 0);
	}
	mrb_query_close();
	failures->n = n;
	if (n > 0)
		failures->routes = mrb_route_read(failures->ids, n,
										  &failures->nroutes);
	mrb_worker_xact_commit_read();
}

/*
 * Park one rejected deployment for its endpoint.
 */
static void
park_failure(const Failures *failures, int i, MrbEndpoint *endpoint)
{
	MrbRoute	deleted = {.deployment_id = failures->ids[i]};
	MrbRoute   *route = &deleted;
	MrbRouteEntry *entry;

	for (int r = 0; r < failures->nroutes; r++)
		if (strcmp(failures->routes[r].deployment_id, failures->ids[i]) == 0)
			route = &failures->routes[r];
	route->epoch = mrb_queue_newest_epoch();
	entry = mrb_route_book_enter(route, NULL, 0);
	if (!endpoint->adapter->routes ||
		!mrb_endpoint_list_selects(endpoint, entry->route))
	{
		/* Its settings have changed: it no longer receives the route. */
		mrb_dirty_note(endpoint, NULL, MRB_NOTE_CLEARED, failures->ids[i]);
		mrb_route_book_release(entry);
		return;
	}
	mrb_queue_park(endpoint, entry, failures->attempts[i],
				   failures->after_ms[i]);
}
