/*-------------------------------------------------------------------------
 *
 * edge_times.c
 *	  When edges acknowledge an operation.
 *
 * Each operation whose route is queued is measured until all edges that receive
 * it have acknowledged, or a newer operation of the deployment supersedes it.  As
 * acknowledgements arrive in the order of time, the moment that a given part of
 * the edges had the route is known when that many have acknowledged, and nothing
 * has to be kept for an edge but the epoch that its item waits for.
 *
 * What is known is then put into a report, which dispatcher/convergence_log.c
 * writes.  An operation that has not converged after LATE_MS is reported as it is,
 * and once more at its end.
 *
 * Memory is bounded: without room for another operation the oldest one that was
 * reported is given up, and if there is none the new one is not measured: its
 * report has no times.  Reports without room are dropped.  Both are counted.
 *
 * An edge that is removed, disabled or set up anew in the meantime is not counted
 * any more.  Changes that are replayed after a restart are not measured, since
 * nobody knows which edges had acknowledged them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/miosa_rollback.h"
#include "delivery/edge_times.h"
#include "operation/operation_count.h"

/* Operations that are measured at once, and the zones of all of them. */
#define OPERATIONS_MAX 16384
#define ZONES_MAX 262144

/* Reports that wait to be written. */
#define REPORTS_MAX 16384

/* When an operation that has not converged is reported nevertheless. */
#define LATE_MS 10000

/* The parts of the edges whose times are kept, in percent. */
static const int parts[MRB_EDGE_PARTS] =
{10, 20, 30, 40, 50, 60, 70, 80, 90, 99, 100};

/* An operation that is measured. */
struct MrbEdgeTimes
{
	MrbRouteEntry *entry;
	dlist_node	node;			/* in young or late */
	bool		counting;		/* its change is being queued */
	bool		reported;		/* it is in late */
	bool		withdrawn;		/* an edge is not counted any more */
	int			room;			/* for zones */
	MrbEdgeReport times;
};

static MemoryContext kept = NULL;
static dlist_head young = DLIST_STATIC_INIT(young);
static dlist_head late = DLIST_STATIC_INIT(late);
static dlist_head reports = DLIST_STATIC_INIT(reports);
static int	noperations = 0;
static int	nzones = 0;
static int	nreports = 0;
static int64 unmeasured = 0;

static int64 get_seq(const MrbRoute *route);
static MrbEdgeTimes *make(MrbRouteEntry *entry);
static bool make_room(void);
static MrbZoneTimes *find_zone(MrbEdgeTimes *operation, const MrbZone *zone);
static void settle(MrbEdgeTimes *operation);
static void finish(MrbEdgeTimes *operation, const char *state);
static void release(MrbEdgeTimes *operation);
static void report(const MrbEdgeReport *times, const char *state);
static void free_report(MrbEdgeReport *made);

/*
 * Remember where operations and reports are kept.
 */
void
mrb_edge_times_init(MemoryContext context)
{
	kept = AllocSetContextCreate(context, MRB_EXTENSION " edge times",
								 ALLOCSET_DEFAULT_SIZES);
}

/*
 * Measure the deployment's newest operation, unless it is measured already: then
 * the change is another one, of a host, say.
 */
void
mrb_edge_times_begin(MrbRouteEntry *entry, const MrbRouteChange *change)
{
	MrbRoute   *route = entry->route;
	int64		seq = get_seq(route);
	MrbEdgeTimes *operation;

	if (entry->times != NULL)
	{
		if (seq <= entry->times->times.seq)
			return;
		finish(entry->times, "superseded");
	}
	if (seq == 0)
		return;
	operation = make(entry);
	if (operation == NULL)
	{
		MrbEdgeReport times = {
			.deployment_id = route->deployment_id,
			.version_id = route->version_id,
			.seq = seq,
			.epoch = change->epoch,
			.since = change->since,
			.taken_at = GetCurrentTimestamp(),
		};

		unmeasured++;
		report(&times, "unmeasured");
		return;
	}
	operation->times.seq = seq;
	operation->times.epoch = change->epoch;
	operation->times.since = change->since;
	operation->times.taken_at = GetCurrentTimestamp();
	operation->counting = true;
}

/*
 * The change is queued for all edges.
 */
void
mrb_edge_times_end(MrbRouteEntry *entry)
{
	if (entry->times == NULL || !entry->times->counting)
		return;
	entry->times->counting = false;
	settle(entry->times);
}

/*
 * Count the edge, if its operation is being queued.
 */
void
mrb_edge_times_await(MrbItem *item)
{
	MrbEdgeTimes *operation = item->entry->times;

	if (operation == NULL || !operation->counting || !item->endpoint->edge ||
		item->awaited == operation->times.epoch)
		return;
	item->awaited = operation->times.epoch;
	operation->times.edges++;
	find_zone(operation, item->endpoint->zone)->edges++;
}

/*
 * Note the time, if the item waits for the operation and its route shows it.
 */
void
mrb_edge_times_acknowledged(MrbItem *item)
{
	MrbEdgeTimes *operation = item->entry->times;
	TimestampTz now;
	MrbEdgeReport *times;
	MrbZoneTimes *zone;

	if (item->awaited == 0)
		return;
	if (operation == NULL || operation->times.epoch != item->awaited)
	{
		item->awaited = 0;
		return;
	}
	if (item->route->epoch < item->awaited)
		return;
	item->awaited = 0;
	now = GetCurrentTimestamp();
	times = &operation->times;
	zone = find_zone(operation, item->endpoint->zone);
	zone->confirmed++;
	zone->last_at = now;
	if (times->confirmed++ == 0)
		times->first_at = now;
	times->last_at = now;
	strlcpy(times->last_edge, item->endpoint->name, NAMEDATALEN);
	while (times->nparts < MRB_EDGE_PARTS &&
		   (int64) times->confirmed * 100 >=
		   (int64) parts[times->nparts] * times->edges)
		times->part_at[times->nparts++] = now;
	settle(operation);
}

/*
 * The item is freed: its edge does not receive the change any more.
 */
void
mrb_edge_times_withdraw(MrbItem *item)
{
	MrbEdgeTimes *operation = item->entry->times;
	int64		awaited = item->awaited;

	item->awaited = 0;
	if (awaited == 0 || operation == NULL || operation->times.epoch != awaited)
		return;
	operation->withdrawn = true;
	operation->times.edges--;
	find_zone(operation, item->endpoint->zone)->edges--;
	settle(operation);
}

/*
 * Report operations that have not converged for LATE_MS.
 */
void
mrb_edge_times_step(void)
{
	while (!dlist_is_empty(&young))
	{
		MrbEdgeTimes *operation = dlist_head_element(MrbEdgeTimes, node, &young);

		if (!TimestampDifferenceExceeds(operation->times.taken_at,
										mrb_timer_wall(), LATE_MS))
			return;
		report(&operation->times, "incomplete");
		operation->reported = true;
		dlist_delete(&operation->node);
		dlist_push_tail(&late, &operation->node);
	}
}

/*
 * Number of reports that are not written yet.
 */
int
mrb_edge_times_reports(void)
{
	return nreports;
}

/*
 * Return the report after another one.
 */
const MrbEdgeReport *
mrb_edge_times_next(const MrbEdgeReport *before)
{
	if (before == NULL)
		return dlist_is_empty(&reports) ? NULL :
			dlist_head_element(MrbEdgeReport, node, &reports);
	if (!dlist_has_next(&reports, (dlist_node *) &before->node))
		return NULL;
	return dlist_container(MrbEdgeReport, node, before->node.next);
}

/*
 * Forget the oldest reports, which are written.
 */
void
mrb_edge_times_written(int n)
{
	while (n-- > 0 && !dlist_is_empty(&reports))
		free_report(dlist_head_element(MrbEdgeReport, node, &reports));
}

/*
 * Return the number of operations that were not measured since the last call.
 */
int64
mrb_edge_times_unmeasured(void)
{
	int64		n = unmeasured;

	unmeasured = 0;
	return n;
}

/*
 * The number of the deployment's newest operation; 0: it had none.
 */
static int64
get_seq(const MrbRoute *route)
{
	const char *number = route->operation_id != NULL ?
	strrchr(route->operation_id, '#') : NULL;

	return number != NULL ? strtoll(number + 1, NULL, 10) : 0;
}

/*
 * Make an operation; NULL if there is no room.  As a user of the entry it keeps
 * that in the route book.
 */
static MrbEdgeTimes *
make(MrbRouteEntry *entry)
{
	MrbEdgeTimes *operation;

	if (!make_room())
		return NULL;
	operation = MemoryContextAllocZero(kept, sizeof(MrbEdgeTimes));
	operation->entry = entry;
	operation->times.deployment_id = entry->id;
	operation->times.version_id = entry->route->version_id == NULL ? NULL :
		MemoryContextStrdup(kept, entry->route->version_id);
	dlist_push_tail(&young, &operation->node);
	noperations++;
	entry->times = operation;
	entry->users++;
	return operation;
}

/*
 * Give up operations that were reported until there is room for another one.
 */
static bool
make_room(void)
{
	while (noperations >= OPERATIONS_MAX || nzones >= ZONES_MAX)
	{
		if (dlist_is_empty(&late))
			return false;
		release(dlist_head_element(MrbEdgeTimes, node, &late));
	}
	return true;
}

/*
 * Find the times of a zone, or add them.
 */
static MrbZoneTimes *
find_zone(MrbEdgeTimes *operation, const MrbZone *zone)
{
	MrbEdgeReport *times = &operation->times;
	MrbZoneTimes *added;

	for (int i = 0; i < times->nzones; i++)
		if (times->zones[i].zone == zone)
			return &times->zones[i];
	if (times->nzones == operation->room)
	{
		operation->room = Max(4, 2 * operation->room);
		times->zones = times->zones == NULL ?
			MemoryContextAlloc(kept, operation->room * sizeof(MrbZoneTimes)) :
			repalloc(times->zones, operation->room * sizeof(MrbZoneTimes));
	}
	nzones++;
	added = &times->zones[times->nzones++];
	MemSet(added, 0, sizeof(MrbZoneTimes));
	added->zone = zone;
	return added;
}

/*
 * Finish the operation if no edge is waited for.
 */
static void
settle(MrbEdgeTimes *operation)
{
	const MrbEdgeReport *times = &operation->times;

	if (operation->counting || times->confirmed < times->edges)
		return;
	if (times->edges > 0)
		finish(operation, "converged");
	else
		finish(operation, operation->withdrawn ? "unknown" : "no_edges");
}

/*
 * Report the operation, and forget it.
 */
static void
finish(MrbEdgeTimes *operation, const char *state)
{
	report(&operation->times, state);
	release(operation);
}

/*
 * Free an operation.
 */
static void
release(MrbEdgeTimes *operation)
{
	MrbRouteEntry *entry = operation->entry;

	dlist_delete(&operation->node);
	noperations--;
	nzones -= operation->times.nzones;
	if (operation->times.version_id != NULL)
		pfree(operation->times.version_id);
	if (operation->times.zones != NULL)
		pfree(operation->times.zones);
	pfree(operation);
	entry->times = NULL;
	entry->users--;
	mrb_route_book_release(entry);
}

/*
 * Copy what is known into a report.
 */
static void
report(const MrbEdgeReport *times, const char *state)
{
	MrbEdgeReport *copy;

	if (strcmp(state, "converged") == 0)
		mrb_operation_count_converged(times->deployment_id, times->seq,
									  times->version_id, times->edges,
									  times->first_at - times->since,
									  times->last_at - times->since);
	if (nreports >= REPORTS_MAX)
	{
		unmeasured++;
		return;
	}
	copy = MemoryContextAlloc(kept, sizeof(MrbEdgeReport));
	*copy = *times;
	copy->state = state;
	copy->deployment_id = MemoryContextStrdup(kept, times->deployment_id);
	if (times->version_id != NULL)
		copy->version_id = MemoryContextStrdup(kept, times->version_id);
	if (times->nzones > 0)
	{
		copy->zones = MemoryContextAlloc(kept,
										 times->nzones * sizeof(MrbZoneTimes));
		memcpy(copy->zones, times->zones, times->nzones * sizeof(MrbZoneTimes));
	}
	dlist_push_tail(&reports, &copy->node);
	nreports++;
}

/*
 * Free a report.
 */
static void
free_report(MrbEdgeReport *made)
{
	dlist_delete(&made->node);
	nreports--;
	pfree(made->deployment_id);
	if (made->version_id != NULL)
		pfree(made->version_id);
	if (made->nzones > 0)
		pfree(made->zones);
	pfree(made);
}
