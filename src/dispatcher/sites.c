/*-------------------------------------------------------------------------
 *
 * sites.c
 *	  Tells other sites how far this one has come.
 *
 * The primary site publishes routes and its route log.  At a replica each change
 * of that log becomes work like any other (miosa.follow_log()), with an epoch of
 * the replica's own log, so that its edges see one order, whatever else is sent
 * to them.  Which epoch of the primary site lies behind which own one is
 * remembered here, for changes that edges still lack; the row of the site in
 * miosa.sites says up to which epoch of the primary site all have acknowledged.
 * The primary site subscribes to it, and counts the replica as one edge.
 *
 * Each site writes its row also when nothing changes, so that the others know
 * that it is there.  The row is flushed: only then is it sent, and the process that
 * flushes what was committed asynchronously takes its time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "base/container.h"
#include "base/guc.h"
#include "base/miosa_rollback.h"
#include "common/query.h"
#include "common/worker_xact.h"
#include "delivery/queue.h"
#include "dispatcher/sites.h"
#include "endpoint/endpoint_list.h"
#include "endpoint/health.h"

/* Requests wait while a transaction waits for a lock. */
#define LOCK_MS 100

/*
 * How long after a row was written the next one is, at least; how often a replica
 * looks at its edges, at most; and how old a row becomes.
 */
#define REPLICA_MS 100
#define PRIMARY_MS 1000
#define LOOK_MS 10
#define HEARTBEAT_MS 5000

/* What a step writes. */
typedef struct Report
{
	MrbSites   *sites;
	int64		epoch;
	bool		idle;			/* edges lack nothing that was taken */
	int			edges;
	int			behind;
} Report;

static MrbQuery tell_query = {
	.sql = "SELECT miosa.tell_sites($1)",
	.nargs = 1,
	.argtypes = {INT8OID},
};

static MrbQuery report_query = {
	.sql = "SELECT miosa.report_site($1, $2, $3, $4)",
	.nargs = 4,
	.argtypes = {INT8OID, BOOLOID, INT4OID, INT4OID},
};

static void step_primary(MrbSites *sites);
static int	step_replica(MrbSites *sites);
static int64 count_edges(Report *report);
static int64 get_acknowledged(const MrbEndpoint *endpoint);
static void confirm(MrbSites *sites, int64 epoch);
static bool is_old(const MrbSites *sites);
static void tell(void *arg);
static void write_report(void *arg);
static void timer_fired(MrbTimer *fired);

/*
 * What a predecessor remembered is lost: its last change counts for all.  So is
 * what was remembered of a primary site that was copied anew since.
 */
void
mrb_sites_look(MrbSites *sites, bool fresh, int64 term, int64 epoch, int64 origin_epoch)
{
	sites->alone = false;
	if (!fresh && sites->term == term)
		return;
	sites->term = term;
	sites->nmarks = 0;
	sites->confirmed = 0;
	sites->written_at = 0;
	mrb_sites_note(sites, epoch, origin_epoch);
}

/*
 * Remember the epochs.  When there are many, the last ones are taken together.
 */
void
mrb_sites_note(MrbSites *sites, int64 epoch, int64 origin_epoch)
{
	if (origin_epoch == 0)
		return;
	if (sites->nmarks < MRB_SITES_MARKS)
		sites->nmarks++;
	sites->marks[sites->nmarks - 1] = (MrbSitesMark)
	{
		epoch, origin_epoch
	};
}

/*
 * Write the row of this site, if there is anything to say.  A replica that has
 * nothing to say sets no timer: whatever changes that makes a turn.
 */
void
mrb_sites_step(MrbSites *sites)
{
	bool		replica = mrb_site_role == MRB_SITE_REPLICA;
	int			wait_ms = PRIMARY_MS;

	if (sites->waits)
		return;
	if (replica)
		wait_ms = step_replica(sites);
	else if (!sites->alone)
		step_primary(sites);
	if (wait_ms == 0)
		return;
	sites->waits = true;
	mrb_timer_set(&sites->timer, wait_ms, timer_fired);
}

/*
 * Whether the primary site has replicas, as far as is known.
 */
bool
mrb_sites_publish(const MrbSites *sites)
{
	return mrb_site_role == MRB_SITE_PRIMARY && !sites->alone;
}

/*
 * The primary site says which epoch is the newest.
 */
static void
step_primary(MrbSites *sites)
{
	Report		report = {.sites = sites,.epoch = mrb_queue_newest_epoch()};

	if (report.epoch == sites->written && !is_old(sites))
		return;
	if (!mrb_worker_xact_try(tell, &report, NULL))
		return;
	sites->written = report.epoch;
	sites->written_at = mrb_timer_now();
}

/*
 * A replica says what all of its edges have acknowledged.  Return after how many
 * milliseconds it looks again, or 0.
 */
static int
step_replica(MrbSites *sites)
{
	Report		report = {.sites = sites};
	int64		acked;

	if (mrb_site[0] == '\0')
		return 0;
	if (!mrb_timer_passed(sites->looked_at, mrb_timer_now(), LOOK_MS))
		return LOOK_MS;
	sites->looked_at = mrb_timer_now();
	acked = count_edges(&report);
	confirm(sites, acked);
	report.epoch = sites->confirmed;
	report.idle = acked == mrb_queue_newest_epoch();
	if (report.epoch == sites->written && report.idle == sites->idle &&
		report.edges == sites->edges && report.behind == sites->behind &&
		!is_old(sites))
		return 0;
	if (!mrb_worker_xact_try(write_report, &report, NULL))
		return REPLICA_MS;
	sites->written = report.epoch;
	sites->idle = report.idle;
	sites->edges = report.edges;
	sites->behind = report.behind;
	sites->written_at = mrb_timer_now();
	return REPLICA_MS;
}

/*
 * Count the edges, and those that lack a change; return what all have
 * acknowledged.
 */
static int64
count_edges(Report *report)
{
	int64		newest = mrb_queue_newest_epoch();
	int64		lowest = newest;
	dlist_iter	iter;

	mrb_endpoint_list_foreach(iter)
	{
		MrbEndpoint *endpoint = mrb_endpoint_list_current(iter);
		int64		acked;

		if (!endpoint->adapter->routes)
			continue;
		acked = get_acknowledged(endpoint);
		report->edges++;
		report->behind += acked < newest;
		lowest = Min(lowest, acked);
	}
	return lowest;
}

/*
 * What an edge surely has: its published position, with which what it refuses is
 * written.  While it is sent everything, nothing is sure.
 */
static int64
get_acknowledged(const MrbEndpoint *endpoint)
{
	const MrbPosition *position = mrb_endpoint_stats_position(&endpoint->stats);

	if (position == NULL || position->generation != endpoint->generation ||
		position->resyncing || position->health == MRB_HEALTH_UNVERIFIED)
		return 0;
	return position->acked_epoch;
}

/*
 * All edges have acknowledged an own epoch.
 */
static void
confirm(MrbSites *sites, int64 epoch)
{
	int			n = 0;

	for (; n < sites->nmarks && sites->marks[n].epoch <= epoch; n++)
		sites->confirmed = Max(sites->confirmed, sites->marks[n].origin_epoch);
	sites->nmarks -= n;
	memmove(sites->marks, sites->marks + n, sites->nmarks * sizeof(MrbSitesMark));
}

/*
 * Whether the row is so old that it is written again.
 */
static bool
is_old(const MrbSites *sites)
{
	return sites->written_at == 0 ||
		mrb_timer_passed(sites->written_at, mrb_timer_now(), HEARTBEAT_MS);
}

/*
 * The transaction of the primary site.
 */
static void
tell(void *arg)
{
	Report	   *report = arg;
	Datum		epoch = Int64GetDatum(report->epoch);

	mrb_worker_xact_begin(MRB_WORKER_XACT_LOCAL, LOCK_MS);
	mrb_query_open();
	mrb_query_run(&tell_query, &epoch, NULL);
	report->sites->alone = !mrb_query_bool(0, 1);
	mrb_query_close();
	mrb_worker_xact_commit();
}

/*
 * The transaction of a replica.
 */
static void
write_report(void *arg)
{
	Report	   *report = arg;
	Datum		args[] = {
		Int64GetDatum(report->epoch), BoolGetDatum(report->idle),
		Int32GetDatum(report->edges), Int32GetDatum(report->behind)
	};

	mrb_worker_xact_begin(MRB_WORKER_XACT_LOCAL, LOCK_MS);
	mrb_query_open();
	mrb_query_run(&report_query, args, NULL);
	mrb_query_close();
	mrb_worker_xact_commit();
}

/*
 * The next step is due.
 */
static void
timer_fired(MrbTimer *fired)
{
	mrb_container(MrbSites, timer, fired)->waits = false;
}
