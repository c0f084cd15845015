/*-------------------------------------------------------------------------
 *
 * dispatcher.c
 *	  The dispatcher's pass, which takes committed work.
 *
 * A pass is one transaction.  It reads committed work from the outbox, locks
 * dispatcher_state, reads the routes of that work in the same snapshot, gives
 * them epochs, appends them to the route log and deletes the work.  Memory is
 * changed only after the commit, by code that can fail only for lack of memory:
 * then the process ends, and its successor replays the log.
 *
 * No request is sent while a transaction is open.
 *
 * Passes are paced.  A pass for a single commit costs about as much as the
 * commit, so that under load a pass takes what has gathered for a few
 * milliseconds, while a commit that comes alone is taken at once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "adapter/secret_list.h"
#include "base/function_name.h"
#include "base/guc.h"
#include "base/miosa_rollback.h"
#include "common/backoff.h"
#include "common/worker_xact.h"
#include "delivery/edge_times.h"
#include "delivery/fanout.h"
#include "delivery/flush.h"
#include "delivery/marker.h"
#include "delivery/queue.h"
#include "delivery/replay.h"
#include "dispatcher/dispatcher.h"
#include "dispatcher/term.h"
#include "endpoint/circuit_breaker.h"
#include "endpoint/endpoint_list.h"
#include "endpoint/health.h"
#include "endpoint/run_queue.h"
#include "route/outbox.h"
#include "scheduler/capacity_pass.h"
#include "scheduler/reconcile.h"
#include "scheduler/scale_queue.h"
#include "scheduler/scale_result.h"
#include "verifier/verifier.h"

/* A pass that failed is retried after this, doubled every time. */
#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 5000

/*
 * Pacing: a pass is entitled to one part in PASS_SHARE of the time.  It may
 * begin PASS_CREDIT_MS early, so that a few commits in a row are each taken at
 * once, and is put off by at most PASS_REST_MS.
 */
#define PASS_SHARE 8
#define PASS_CREDIT_MS 10
#define PASS_REST_MS 5

/* Requests wait while a transaction waits for a lock. */
#define LOCK_MS 100

/* What one pass has read. */
typedef struct Pass
{
	MrbDispatcher *dispatcher;
	MrbTerm		term;
	bool		idle;			/* there was nothing to do */
	bool		judge;			/* whether anything may be sent */
	MrbRouteChanges taken;
	bool		reload;			/* endpoints were read */
	List	   *fresh;			/* those that are new or have changed */
	MrbReconcile reconcile;
} Pass;

static void remember_site(MrbDispatcher *dispatcher);
static void run_pass(void *arg);
static bool may_work(MrbDispatcher *dispatcher, MrbTerm *term);
static void read_work(Pass *pass);
static void take_work(Pass *pass);
static bool pass_due(MrbDispatcher *dispatcher, MrbTick now);
static void pace(MrbDispatcher *dispatcher, MrbTick began);
static void pass_failed(MrbDispatcher *dispatcher, int sqlstate);
static void pause_dispatcher(MrbDispatcher *dispatcher, const char *reason);
static void apply(Pass *pass);
static void apply_settings(Pass *pass);
static void drop_endpoint(MrbEndpoint *endpoint);
static void count(MrbDispatcher *dispatcher, MrbCounter counter, int64 by);
static void probe(MrbEndpoint *endpoint);

/*
 * Create the dispatcher of this process.
 */
MrbDispatcher *
mrb_dispatcher_create(MrbRegistrySlot *slot)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext,
												  MRB_EXTENSION " dispatcher",
												  ALLOCSET_DEFAULT_SIZES);
	MrbDispatcher *dispatcher = MemoryContextAllocZero(context,
													   sizeof(MrbDispatcher));

	dispatcher->context = context;
	dispatcher->slot = slot;
	mrb_dirty_init(context);
	mrb_route_book_init(context);
	mrb_queue_init(context);
	mrb_scale_queue_init(&dispatcher->scaling, context);
	mrb_scale_result_init(&dispatcher->scaling);
	mrb_capacity_pass_init(&dispatcher->scaling);
	mrb_inflight_init(context);
	mrb_verifier_init(context);
	mrb_endpoint_stats_begin(slot);
	mrb_health_init(context, probe);
	mrb_purge_init(&dispatcher->purge);
	mrb_audit_heads_init(&dispatcher->heads);
	mrb_alerts_init(&dispatcher->alerts);
	mrb_refusals_init(&dispatcher->refusals);
	mrb_convergence_log_init(&dispatcher->convergence_log);
	return dispatcher;
}

/*
 * Make a pass, unless it is put off.
 */
bool
mrb_dispatcher_pass(MrbDispatcher *dispatcher)
{
	Pass		pass = {.dispatcher = dispatcher};
	MrbTick		began = mrb_timer_read();
	int			sqlstate = 0;

	if (!pass_due(dispatcher, began))
		return true;
	if (!mrb_worker_xact_try(run_pass, &pass, &sqlstate))
	{
		pass_failed(dispatcher, sqlstate);
		return true;
	}
	dispatcher->failures = 0;
	dispatcher->next_pass = 0;
	remember_site(dispatcher);
	mrb_registry_passed(dispatcher->slot);
	if (pass.term.absent)
		return false;
	if (pass.term.paused != NULL)
	{
		pause_dispatcher(dispatcher, pass.term.paused);
		return true;
	}
	if (pass.idle)
		return true;
	dispatcher->slot->skipped = true;
	mrb_durability_committed(&dispatcher->durability, &pass.taken);
	mrb_outbox_committed();
	apply(&pass);

	/* What is left is taken after this turn's requests. */
	if (pass.taken.more)
		dispatcher->next_pass = mrb_timer_read();
	else
		pace(dispatcher, began);
	return true;
}

/*
 * Remember the site that a pass has judged.  One that fails judges it again.
 */
static void
remember_site(MrbDispatcher *dispatcher)
{
	if (dispatcher->site != NULL && strcmp(dispatcher->site, mrb_site) == 0)
		return;
	if (dispatcher->site != NULL)
		pfree(dispatcher->site);
	dispatcher->site = MemoryContextStrdup(dispatcher->context, mrb_site);
}

/*
 * The transaction of a pass.
 */
static void
run_pass(void *arg)
{
	Pass	   *pass = arg;
	MrbDispatcher *dispatcher = pass->dispatcher;

	mrb_worker_xact_begin(MRB_WORKER_XACT_PASS, LOCK_MS);
	if (!OidIsValid(dispatcher->extension))
		dispatcher->extension = mrb_worker_xact_extension();
	pass->idle = !may_work(dispatcher, &pass->term);
	if (!pass->idle)
		read_work(pass);
	if (!pass->idle)
		take_work(pass);
	mrb_worker_xact_commit();
}

/*
 * Whether there is anything to work for: false while nothing may be sent.
 */
static bool
may_work(MrbDispatcher *dispatcher, MrbTerm *term)
{
	term->absent = !OidIsValid(dispatcher->extension) ||
		mrb_worker_xact_extension() != dispatcher->extension;
	if (term->absent || dispatcher->paused == NULL)
		return !term->absent;
	term->paused = mrb_term_reason();
	return term->paused == NULL;
}

/*
 * Read committed work, and find out what else the pass has to do.  A pass that
 * finds nothing writes nothing, not even a row lock, which keeps an idle
 * database idle.
 */
static void
read_work(Pass *pass)
{
	MrbDispatcher *dispatcher = pass->dispatcher;

	mrb_outbox_read(&pass->taken);
	pass->reload = !dispatcher->loaded || dispatcher->stale ||
		pass->taken.settings;

	/*
	 * The first pass, or a reload of the configuration changed the site, or
	 * the primary site's routes may still be copied.
	 */
	pass->judge = pass->reload || dispatcher->site == NULL ||
		strcmp(dispatcher->site, mrb_site) != 0 ||
		pass->taken.origin_epoch > 0;
	pass->idle = !pass->judge && pass->taken.nrows == 0;
}

/*
 * Take the work that was read.  Whether anything may be sent depends on the
 * site and on what is read with the settings, and is judged again only then.
 */
static void
take_work(Pass *pass)
{
	MrbDispatcher *dispatcher = pass->dispatcher;
	MrbTerm    *term = &pass->term;
	MrbRouteChanges *taken = &pass->taken;
	bool		advanced = false;

	if (!pass->judge)
		advanced = mrb_term_advance(taken->nchanges, term);
	if (!advanced)
	{
		mrb_term_read(dispatcher->extension,
					  dispatcher->slot->skipped ? 0 : MRB_EPOCHS_LOST_MAX,
					  term);
		if (term->absent || term->paused != NULL)
			return;
		if (taken->nchanges > 0)
			(void) mrb_term_advance(taken->nchanges, term);
	}
	mrb_outbox_take(taken, term->last_epoch);
	if (taken->origin_epoch > 0)
		mrb_term_follow(taken->origin_epoch);
	if (pass->reload)
		pass->fresh = mrb_endpoint_list_read(term->number, term->last_epoch,
											 NULL);
	mrb_reconcile_read(taken, pass->reload, &pass->reconcile);

	/* Other sites receive the log when it is flushed. */
	if (advanced && !mrb_sites_publish(&dispatcher->sites))
		mrb_durability_decide(&dispatcher->durability, taken);
}

/*
 * Whether a pass may be made now: one that failed is retried at its time, and
 * under load the next one is put off.
 */
static bool
pass_due(MrbDispatcher *dispatcher, MrbTick now)
{
	MrbTick		rested = mrb_timer_add_ms(dispatcher->paced_until,
										  -PASS_CREDIT_MS);

	if (now < rested)
		dispatcher->next_pass = Max(dispatcher->next_pass, rested);
	return now >= dispatcher->next_pass;
}

/*
 * Count the time of a pass that ends now.
 */
static void
pace(MrbDispatcher *dispatcher, MrbTick began)
{
	MrbTick		now = mrb_timer_read();
	MrbTick		until = Max(dispatcher->paced_until, began) +
	PASS_SHARE * (now - began);

	dispatcher->paced_until =
		Min(until, mrb_timer_add_ms(now, PASS_CREDIT_MS + PASS_REST_MS));
}

/*
 * Put the next pass off, and show the error.
 */
static void
pass_failed(MrbDispatcher *dispatcher, int sqlstate)
{
	int			after_ms = 0;

	/* A lost race for dispatcher_state is run again at once. */
	if (sqlstate != ERRCODE_T_R_SERIALIZATION_FAILURE ||
		dispatcher->failures > 3)
		after_ms = mrb_backoff_delay(RETRY_MIN_MS, RETRY_MAX_MS,
									 dispatcher->failures + 1);
	dispatcher->failures++;
	if (sqlstate != ERRCODE_T_R_SERIALIZATION_FAILURE)
		mrb_registry_failed(dispatcher->slot, mrb_worker_xact_error());
	dispatcher->next_pass = mrb_timer_add_ms(mrb_timer_read(), after_ms);
	count(dispatcher, MRB_COUNTER_ERRORS, 1);
}

/*
 * This may be a copy of another database: drop all endpoints from memory, so
 * that nothing is sent to them.
 */
static void
pause_dispatcher(MrbDispatcher *dispatcher, const char *reason)
{
	if (dispatcher->paused != NULL && strcmp(dispatcher->paused, reason) == 0)
		return;
	if (dispatcher->paused != NULL)
		pfree(dispatcher->paused);
	dispatcher->paused = MemoryContextStrdup(dispatcher->context, reason);
	ereport(LOG,
			(errmsg("dispatcher is paused: %s", reason),
			 errhint("%s", mrb_function_name_qualify("Disable the endpoints that belong to the original, then: SELECT miosa_resume();"))));
	while (!dlist_is_empty(&mrb_endpoint_list_all))
		drop_endpoint(dlist_head_element(MrbEndpoint, node, &mrb_endpoint_list_all));
	dispatcher->loaded = false;
	mrb_registry_set_state(dispatcher->slot, MRB_DISPATCHER_PAUSED);
}

/*
 * After the commit: bring memory in line with what the pass has read.
 */
static void
apply(Pass *pass)
{
	MrbDispatcher *dispatcher = pass->dispatcher;
	MrbRouteChanges *taken = &pass->taken;

	if (dispatcher->paused != NULL)
	{
		pfree(dispatcher->paused);
		dispatcher->paused = NULL;
	}
	if (pass->reload)
	{
		/* New endpoints begin at the epoch at which this pass began. */
		mrb_queue_set_newest_epoch(pass->term.last_epoch);
		if (!dispatcher->loaded)
			mrb_convergence_log_begin(&dispatcher->convergence_log,
									  pass->term.last_epoch);
		mrb_sites_look(&dispatcher->sites, !dispatcher->loaded, pass->term.number,
					   pass->term.last_epoch, pass->term.origin_epoch);
		apply_settings(pass);
	}
	mrb_sites_note(&dispatcher->sites, taken->last_epoch, taken->origin_epoch);
	if (dispatcher->slot->state != MRB_DISPATCHER_RUNNING)
		mrb_registry_set_state(dispatcher->slot, MRB_DISPATCHER_RUNNING);
	mrb_queue_set_newest_epoch(Max(pass->term.last_epoch, taken->last_epoch));
	if (taken->nchanges > 0 || pass->reload)
		count(dispatcher, MRB_COUNTER_PASSES, 1);
	mrb_reconcile_enter(&dispatcher->scaling, &pass->reconcile);
	if (pass->reconcile.nids > 0)
		mrb_capacity_pass_schedule(&dispatcher->scaling,
								   mrb_timer_add_ms(mrb_timer_read(),
													mrb_cutover_deadline));
	if (taken->alerts)
		mrb_alerts_note(&dispatcher->alerts);
	if (taken->nchanges == 0)
		return;
	mrb_audit_heads_note(&dispatcher->heads, taken->nchanges);
	mrb_fanout_apply(taken, NULL);
	count(dispatcher, MRB_COUNTER_ROUTES, taken->nchanges);
	count(dispatcher, MRB_COUNTER_UNMEASURED, mrb_edge_times_unmeasured());
}

/*
 * Drop endpoints that were removed or have changed, add those that are new or
 * have changed, and queue what these have not acknowledged yet.
 */
static void
apply_settings(Pass *pass)
{
	MrbDispatcher *dispatcher = pass->dispatcher;
	dlist_mutable_iter iter;
	ListCell   *cell;

	dlist_foreach_modify(iter, &mrb_endpoint_list_all)
	{
		MrbEndpoint *endpoint = dlist_container(MrbEndpoint, node, iter.cur);

		if (!endpoint->listed)
			drop_endpoint(endpoint);
	}
	foreach(cell, pass->fresh)
	{
		MrbEndpoint *endpoint = lfirst(cell);

		mrb_endpoint_list_adopt(endpoint, dispatcher->context);
		mrb_circuit_breaker_attach(endpoint);
		mrb_queue_attach(endpoint);
		mrb_scale_queue_attach(endpoint);
		mrb_dirty_mark(endpoint);
	}
	mrb_replay_load(pass->fresh, pass->term.trimmed_epoch);
	foreach(cell, pass->fresh)
		mrb_marker_watch(lfirst(cell));
	if (dispatcher->loaded)
		mrb_replay_redrive();
	dispatcher->loaded = true;
	dispatcher->stale = false;
	mrb_secret_list_report();
	mrb_flush_tidy();
}

/*
 * Forget an endpoint, its requests in flight and what is queued for it.
 */
static void
drop_endpoint(MrbEndpoint *endpoint)
{
	mrb_inflight_cancel(endpoint);
	mrb_scale_queue_detach(endpoint);
	mrb_queue_detach(endpoint);
	mrb_circuit_breaker_detach(endpoint);
	mrb_endpoint_list_drop(endpoint);
}

/*
 * Add to a counter in shared memory.
 */
static void
count(MrbDispatcher *dispatcher, MrbCounter counter, int64 by)
{
	pg_atomic_fetch_add_u64(&dispatcher->slot->counters[counter], by);
}

/*
 * The back-off of an endpoint is over.  If it may have lost its table
 * meanwhile, its marker is read before anything is sent.
 */
static void
probe(MrbEndpoint *endpoint)
{
	if (endpoint->adapter->volatile_table)
		mrb_marker_check(endpoint);
	else
		mrb_run_queue_activate(endpoint);
}
