/*-------------------------------------------------------------------------
 *
 * dispatcher.c
 *	  The dispatcher: one pass of taking work, one turn of delivering it.
 *
 * A pass is one transaction: under the lock of dispatcher_state it takes
 * committed work, reads the routes that it means in the same snapshot, gives
 * epochs and appends them to the route log.  Only after its commit anything
 * happens in memory, and nothing that happens there can fail but for lack of
 * memory: then the process ends, and its successor reads the log again.
 *
 * Nothing is ever sent while a transaction is open.
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
#include "delivery/fanout.h"
#include "delivery/flush.h"
#include "delivery/marker.h"
#include "delivery/publish.h"
#include "delivery/queue.h"
#include "delivery/replay.h"
#include "delivery/resync.h"
#include "dispatcher/dispatcher.h"
#include "dispatcher/pump.h"
#include "dispatcher/purge.h"
#include "dispatcher/term.h"
#include "endpoint/circuit_breaker.h"
#include "endpoint/endpoint_list.h"
#include "endpoint/health.h"
#include "endpoint/run_queue.h"
#include "notify/listeners.h"
#include "route/outbox.h"
#include "scheduler/capacity_pass.h"
#include "scheduler/reconcile.h"
#include "scheduler/scale_queue.h"
#include "scheduler/scale_result.h"
#include "verifier/verifier.h"

/* A pass that failed is tried again after this, doubled every time. */
#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 5000

/* Requests wait meanwhile. */
#define LOCK_MS 100

/* What one pass has found. */
typedef struct Pass
{
	MrbTerm		standing;
	bool		idle;			/* there was nothing to do */
	MrbRouteChanges taken;
	bool		reload;			/* settings are to be read, or were */
	List	   *fresh;			/* endpoints that are new or were changed */
	MrbReconcile demand;
} Pass;

static MemoryContext kept = NULL;
static MrbRegistrySlot *my_slot = NULL;
static Oid	extension = InvalidOid;
static bool loaded = false;		/* settings were read at least once */
static bool stale = false;		/* a file of a secret has changed since */
static char *paused = NULL;
static char *site = NULL;		/* miosa_rollback.site as seen last */
static bool more_to_start = false;
static int	failures = 0;
static MrbTick not_before = 0;

static void run_pass(void *arg);
static bool nothing_to_do(MrbTerm *standing);
static bool pass_due(void);
static void pass_failed(int sqlstate);
static void pause_dispatcher(const char *reason);
static void apply(Pass *pass);
static void apply_settings(Pass *pass);
static void watch_secrets(void);
static void drop_endpoint(MrbEndpoint *endpoint);
static void count(MrbCounter counter, int64 by);
static void probe(MrbEndpoint *endpoint);

void
mrb_dispatcher_create(MrbRegistrySlot *slot)
{
	my_slot = slot;
	kept = AllocSetContextCreate(TopMemoryContext,
								 MRB_EXTENSION " dispatcher",
								 ALLOCSET_DEFAULT_SIZES);
	mrb_dirty_init(kept);
	mrb_route_book_init(kept);
	mrb_queue_init(kept);
	mrb_scale_queue_init(kept);
	mrb_inflight_init(kept);
	mrb_verifier_init(kept);
	mrb_endpoint_stats_begin(slot);
	mrb_health_init(kept, probe);
}

int
mrb_dispatcher_descriptor(void)
{
	return mrb_inflight_descriptor();
}

long
mrb_dispatcher_max_wait(void)
{
	long		wait = mrb_timer_wait(1000);
	long		http = mrb_inflight_max_wait();

	if (more_to_start)
		return 0;
	if (http >= 0)
		wait = Min(wait, http);
	if (not_before != 0)
		wait = Min(wait, mrb_tick_ms(mrb_timer_read(), not_before) + 1);
	wait = mrb_verifier_wait(mrb_resync_wait(wait));
	if (loaded)
		wait = mrb_capacity_pass_wait(mrb_scale_result_wait(mrb_reconcile_wait(wait)));
	return mrb_publish_wait(mrb_flush_wait(wait));
}

bool
mrb_dispatcher_pass(void)
{
	Pass		pass;
	int			sqlstate = 0;

	if (!pass_due())
		return true;
	MemSet(&pass, 0, sizeof(pass));
	if (!mrb_worker_xact_try(run_pass, &pass, &sqlstate))
	{
		pass_failed(sqlstate);
		return true;
	}
	failures = 0;
	not_before = 0;
	mrb_registry_passed(my_slot);
	if (pass.standing.absent)
		return false;
	if (pass.standing.paused != NULL)
	{
		pause_dispatcher(pass.standing.paused);
		return true;
	}
	if (pass.idle)
		return true;
	mrb_outbox_committed();
	apply(&pass);

	/* Whatever there is more comes after this turn's requests. */
	if (pass.taken.more)
		not_before = mrb_timer_read();
	return true;
}

void
mrb_dispatcher_deliver(void)
{
	if (not_before != 0)
		(void) mrb_dispatcher_pass();
	mrb_timer_run();
	mrb_inflight_drive();
	mrb_resync_step();
	if (loaded)
		mrb_reconcile_step();
	more_to_start = mrb_pump_run();

	/* Who waits for an answer shall not wait for a transaction. */
	mrb_publish_step(my_slot);
	mrb_listeners_step(my_slot);
	if (mrb_flush_step(my_slot, mrb_inflight_in_flight() > 0))
		not_before = mrb_timer_read();
	if (loaded)
	{
		mrb_scale_result_step();
		mrb_capacity_pass_step();
		mrb_purge_step();
	}
	mrb_verifier_step(loaded);
	watch_secrets();

	/* Now for what was not to be seen before it was written. */
	mrb_publish_step(my_slot);
}

const char *
mrb_dispatcher_paused(void)
{
	return paused;
}

/*
 * The transaction of a pass.
 */
static void
run_pass(void *arg)
{
	Pass	   *pass = arg;
	MrbTerm    *standing = &pass->standing;

	mrb_worker_xact_begin(MRB_SESSION_PASS, LOCK_MS);
	if (!OidIsValid(extension))
		extension = mrb_worker_xact_extension();
	pass->idle = nothing_to_do(standing);
	if (pass->idle)
	{
		mrb_worker_xact_commit();
		return;
	}
	mrb_term_read(extension, standing);
	if (!standing->absent && standing->paused == NULL)
	{
		mrb_outbox_take(standing->last_epoch, &pass->taken);
		if (pass->taken.nchanges > 0)
			mrb_term_advance(pass->taken.last_epoch);
		pass->reload = !loaded || stale || pass->taken.settings;
		if (pass->reload)
			pass->fresh = mrb_endpoint_list_read(standing->number,
												 standing->last_epoch, NULL);
		mrb_reconcile_read(&pass->taken, pass->reload, &pass->demand);
	}
	mrb_worker_xact_commit();
}

/*
 * An idle database shall stay idle: a look that finds nothing writes nothing,
 * not even a row lock.
 */
static bool
nothing_to_do(MrbTerm *standing)
{
	if (mrb_worker_xact_extension() != extension)
	{
		standing->absent = true;
		return true;
	}
	if (paused != NULL)
	{
		standing->paused = mrb_term_reason();
		return standing->paused != NULL;
	}
	if (site == NULL || strcmp(site, mrb_site) != 0)
	{
		/* Read at the start, or changed by a reload: look where we are. */
		site = MemoryContextStrdup(kept, mrb_site);
		return false;
	}
	return loaded && !stale && !mrb_outbox_has_work();
}

/*
 * Whether a pass may be made, after one that failed.
 */
static bool
pass_due(void)
{
	return not_before == 0 || mrb_timer_read() >= not_before;
}

static void
pass_failed(int sqlstate)
{
	int			after_ms = 0;

	/* A race for dispatcher_state is run again at once. */
	if (sqlstate != ERRCODE_T_R_SERIALIZATION_FAILURE || failures > 3)
		after_ms = mrb_backoff_delay(RETRY_MIN_MS, RETRY_MAX_MS, failures + 1);
	failures++;
	if (sqlstate != ERRCODE_T_R_SERIALIZATION_FAILURE)
		mrb_registry_failed(my_slot, mrb_worker_xact_error());
	not_before = mrb_tick_plus(mrb_timer_read(), after_ms);
	count(MRB_COUNT_ERRORS, 1);
}

/*
 * This may be a copy of another database: forget all endpoints, so that
 * nobody is told anything.
 */
static void
pause_dispatcher(const char *reason)
{
	if (paused != NULL && strcmp(paused, reason) == 0)
		return;
	if (paused != NULL)
		pfree(paused);
	paused = MemoryContextStrdup(kept, reason);
	ereport(LOG,
			(errmsg("dispatcher is paused: %s", reason),
			 errhint("%s", mrb_function_name_qualify("Disable the endpoints that belong to the original, then: SELECT miosa_resume();"))));
	while (!dlist_is_empty(&mrb_endpoints))
		drop_endpoint(dlist_head_element(MrbEndpoint, node, &mrb_endpoints));
	loaded = false;
	mrb_registry_set_state(my_slot, MRB_DISPATCHER_PAUSED);
}

/*
 * What was committed becomes true in memory.
 */
static void
apply(Pass *pass)
{
	MrbRouteChanges *taken = &pass->taken;

	if (paused != NULL)
	{
		pfree(paused);
		paused = NULL;
	}
	if (pass->reload)
	{
		/* New endpoints begin where this pass began. */
		mrb_queue_set_newest(pass->standing.last_epoch);
		apply_settings(pass);
	}
	if (my_slot->state != MRB_DISPATCHER_RUNNING)
		mrb_registry_set_state(my_slot, MRB_DISPATCHER_RUNNING);
	mrb_queue_set_newest(Max(pass->standing.last_epoch, taken->last_epoch));
	if (taken->nchanges > 0 || pass->reload)
		count(MRB_COUNT_PASSES, 1);
	mrb_reconcile_enter(&pass->demand);
	if (pass->demand.nids > 0)
		mrb_capacity_pass_expect(mrb_tick_plus(mrb_timer_read(),
											   mrb_cutover_deadline));
	if (taken->nchanges == 0)
		return;
	mrb_fanout_apply(taken, NULL);
	count(MRB_COUNT_ROUTES, taken->nchanges);
}

/*
 * Drop what is gone or was changed, take in what is new, with what it has
 * still to be told from before.
 */
static void
apply_settings(Pass *pass)
{
	dlist_mutable_iter iter;
	ListCell   *cell;

	dlist_foreach_modify(iter, &mrb_endpoints)
	{
		MrbEndpoint *endpoint = dlist_container(MrbEndpoint, node, iter.cur);

		if (!endpoint->listed)
			drop_endpoint(endpoint);
	}
	foreach(cell, pass->fresh)
	{
		MrbEndpoint *endpoint = lfirst(cell);

		mrb_endpoint_list_adopt(endpoint, kept);
		mrb_circuit_breaker_attach(endpoint);
		mrb_queue_attach(endpoint);
		mrb_scale_queue_attach(endpoint);
		mrb_dirty_mark(endpoint);
	}
	mrb_replay_load(pass->fresh, pass->standing.trimmed_epoch);
	foreach(cell, pass->fresh)
		mrb_marker_watch(lfirst(cell));
	if (loaded)
		mrb_replay_redrive();
	loaded = true;
	stale = false;
	mrb_secret_list_report();
	mrb_flush_tidy();
}

/*
 * Have the next pass read the settings again when a secret's file has changed.
 */
static void
watch_secrets(void)
{
	if (!loaded || stale || !mrb_secret_list_changed())
		return;
	stale = true;
	if (not_before == 0)
		not_before = mrb_timer_read();
}

static void
drop_endpoint(MrbEndpoint *endpoint)
{
	mrb_inflight_cancel(endpoint);
	mrb_scale_queue_detach(endpoint);
	mrb_queue_detach(endpoint);
	mrb_circuit_breaker_detach(endpoint);
	mrb_endpoint_list_drop(endpoint);
}

static void
count(MrbCounter counter, int64 by)
{
	pg_atomic_fetch_add_u64(&my_slot->counters[counter], by);
}

/*
 * An endpoint that backs off may be tried again.  One that may have lost its
 * table meanwhile is asked for its marker first.
 */
static void
probe(MrbEndpoint *endpoint)
{
	if (endpoint->adapter->volatile_table)
		mrb_marker_check(endpoint);
	else
		mrb_run_queue_activate(endpoint);
}
