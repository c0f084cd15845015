/*-------------------------------------------------------------------------
 *
 * steps.c
 *	  The steps of one turn of the dispatcher's loop.
 *
 * Each step does the work of one subject that is due, and returns when more is.
 * No step waits, except that a transaction may wait LOCK_MS for a lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "adapter/secret_list.h"
#include "base/guc.h"
#include "delivery/flush.h"
#include "delivery/publish.h"
#include "delivery/resync.h"
#include "dispatcher/pump.h"
#include "dispatcher/steps.h"
#include "endpoint/inflight.h"
#include "notify/listeners.h"
#include "scheduler/capacity_pass.h"
#include "scheduler/reconcile.h"
#include "scheduler/scale_result.h"
#include "verifier/verifier.h"

typedef struct Step
{
	void		(*run) (MrbDispatcher *dispatcher);
	long		(*next_due) (MrbDispatcher *dispatcher, long most);
	int			when;			/* flags; 0: always */
} Step;

/* Values of when: while endpoints are in memory; at the primary site. */
#define LOADED	0x01
#define PRIMARY	0x02

static void run_pass(MrbDispatcher *dispatcher);
static long pass_due(MrbDispatcher *dispatcher, long most);
static void run_timers(MrbDispatcher *dispatcher);
static long timers_due(MrbDispatcher *dispatcher, long most);
static void run_requests(MrbDispatcher *dispatcher);
static long requests_due(MrbDispatcher *dispatcher, long most);
static void run_resync(MrbDispatcher *dispatcher);
static long resync_due(MrbDispatcher *dispatcher, long most);
static void run_reconcile(MrbDispatcher *dispatcher);
static long reconcile_due(MrbDispatcher *dispatcher, long most);
static void run_pump(MrbDispatcher *dispatcher);
static long pump_due(MrbDispatcher *dispatcher, long most);
static void run_publish(MrbDispatcher *dispatcher);
static long publish_due(MrbDispatcher *dispatcher, long most);
static void run_listeners(MrbDispatcher *dispatcher);
static void run_flush(MrbDispatcher *dispatcher);
static long flush_due(MrbDispatcher *dispatcher, long most);
static void run_results(MrbDispatcher *dispatcher);
static long results_due(MrbDispatcher *dispatcher, long most);
static void run_capacity(MrbDispatcher *dispatcher);
static long capacity_due(MrbDispatcher *dispatcher, long most);
static void run_heads(MrbDispatcher *dispatcher);
static long heads_due(MrbDispatcher *dispatcher, long most);
static void run_alerts(MrbDispatcher *dispatcher);
static void run_refusals(MrbDispatcher *dispatcher);
static void run_convergence_log(MrbDispatcher *dispatcher);
static void run_sites(MrbDispatcher *dispatcher);
static void run_purge(MrbDispatcher *dispatcher);
static void run_verifier(MrbDispatcher *dispatcher);
static long verifier_due(MrbDispatcher *dispatcher, long most);
static void run_secrets(MrbDispatcher *dispatcher);
static bool applies(const Step *step, const MrbDispatcher *dispatcher);

/*
 * The order matters:
 *
 * - A pass comes first, so that the requests of its changes start in this
 *   turn.
 * - Timers take the time that all later steps go by, and end back-offs.
 * - Answers are received before new requests are started, because they make
 *   room for them.
 * - Requests are started before any step that writes to tables.
 * - Acknowledgements are published before the first transaction, so that
 *   sessions that wait for convergence are released without waiting for it.
 * - They are published once more at the end: the position of an endpoint may
 *   have had to be flushed first.
 *
 * A step without next_due sets a timer, or runs in whatever turn comes next.
 *
 * A replica makes neither requests to schedulers nor to storage: the primary site
 * does, and what it decides comes with its rows.
 */
static const Step steps[] = {
	{run_pass, pass_due, 0},
	{run_timers, timers_due, 0},
	{run_requests, requests_due, 0},
	{run_resync, resync_due, 0},
	{run_reconcile, reconcile_due, LOADED | PRIMARY},
	{run_pump, pump_due, 0},
	{run_publish, publish_due, 0},
	{run_listeners, NULL, 0},
	{run_flush, flush_due, 0},
	{run_results, results_due, LOADED | PRIMARY},
	{run_capacity, capacity_due, LOADED | PRIMARY},
	{run_heads, heads_due, LOADED},
	{run_alerts, NULL, LOADED},
	{run_refusals, NULL, LOADED},
	{run_convergence_log, NULL, LOADED},
	{run_sites, NULL, LOADED},
	{run_purge, NULL, LOADED},
	{run_verifier, verifier_due, PRIMARY},
	{run_secrets, NULL, LOADED},
	{run_publish, NULL, 0},
};

/*
 * Run one turn, or its first steps if the process was stopped meanwhile.
 */
void
mrb_steps_run(MrbDispatcher *dispatcher)
{
	for (size_t i = 0; i < lengthof(steps); i++)
	{
		if (mrb_fence_check(&dispatcher->fence))
			return;
		if (applies(&steps[i], dispatcher))
			steps[i].run(dispatcher);
	}
}

/*
 * Milliseconds until the first step is due; at most most.
 */
long
mrb_steps_wait(MrbDispatcher *dispatcher, long most)
{
	for (size_t i = 0; i < lengthof(steps); i++)
		if (steps[i].next_due != NULL && applies(&steps[i], dispatcher))
			most = steps[i].next_due(dispatcher, most);
	return most;
}

/*
 * Whether a step is made now.
 */
static bool
applies(const Step *step, const MrbDispatcher *dispatcher)
{
	return (dispatcher->loaded || !(step->when & LOADED)) &&
		(mrb_site_role == MRB_SITE_PRIMARY || !(step->when & PRIMARY));
}

/*
 * Make a pass that was put off.  That the extension was dropped is noticed by
 * the main loop, whose next pass ends the process.
 */
static void
run_pass(MrbDispatcher *dispatcher)
{
	if (dispatcher->next_pass != 0)
		(void) mrb_dispatcher_pass(dispatcher);
}

/*
 * The next pass is due at the time to which it was postponed.
 */
static long
pass_due(MrbDispatcher *dispatcher, long most)
{
	if (dispatcher->next_pass == 0)
		return most;
	return Min(most, mrb_timer_ms_between(mrb_timer_read(), dispatcher->next_pass) + 1);
}

/*
 * Take the time, and fire timers.
 */
static void
run_timers(MrbDispatcher *dispatcher)
{
	mrb_timer_run();
}

/*
 * Timers are due when the first one is.
 */
static long
timers_due(MrbDispatcher *dispatcher, long most)
{
	return mrb_timer_wait(most);
}

/*
 * Move requests in flight on, and handle their answers.
 */
static void
run_requests(MrbDispatcher *dispatcher)
{
	mrb_inflight_drive();
}

/*
 * Requests are due when libcurl says so; sockets wake the process before.
 */
static long
requests_due(MrbDispatcher *dispatcher, long most)
{
	long		wait = mrb_inflight_max_wait();

	return wait < 0 ? most : Min(most, wait);
}

/*
 * Read the next routes for endpoints that resynchronize.
 */
static void
run_resync(MrbDispatcher *dispatcher)
{
	mrb_resync_step();
}

/*
 * A resync is due when an endpoint has been sent what was read.
 */
static long
resync_due(MrbDispatcher *dispatcher, long most)
{
	return mrb_resync_wait(most);
}

/*
 * Read capacity requests again that are about to be sent.
 */
static void
run_reconcile(MrbDispatcher *dispatcher)
{
	mrb_reconcile_step(&dispatcher->scaling);
}

/*
 * Capacity requests are due as soon as one is stale.
 */
static long
reconcile_due(MrbDispatcher *dispatcher, long most)
{
	return mrb_reconcile_wait(&dispatcher->scaling, most);
}

/*
 * Start requests, as many as one turn may.
 */
static void
run_pump(MrbDispatcher *dispatcher)
{
	dispatcher->more_to_start = mrb_pump_run();
}

/*
 * More requests are due at once if the turn did not start all.
 */
static long
pump_due(MrbDispatcher *dispatcher, long most)
{
	return dispatcher->more_to_start ? 0 : most;
}

/*
 * Show positions in shared memory, and wake sessions that wait for them.
 */
static void
run_publish(MrbDispatcher *dispatcher)
{
	mrb_publish_step(dispatcher->slot);
}

/*
 * Publishing is due when waiters are to be woken again.
 */
static long
publish_due(MrbDispatcher *dispatcher, long most)
{
	return mrb_publish_wait(most);
}

/*
 * Notify edges that listen.
 */
static void
run_listeners(MrbDispatcher *dispatcher)
{
	mrb_listeners_step(dispatcher->slot);
}

/*
 * Write positions into tables.  That may put work into the outbox.
 */
static void
run_flush(MrbDispatcher *dispatcher)
{
	if (mrb_flush_step(dispatcher->slot, mrb_inflight_in_flight() > 0))
		dispatcher->next_pass = mrb_timer_read();
}

/*
 * A flush is due when what has changed has waited long enough.
 */
static long
flush_due(MrbDispatcher *dispatcher, long most)
{
	return mrb_flush_wait(most);
}

/*
 * Write answers of schedulers into tables.
 */
static void
run_results(MrbDispatcher *dispatcher)
{
	mrb_scale_result_step(&dispatcher->scaling);
}

/*
 * Answers of schedulers are due as soon as there are any.
 */
static long
results_due(MrbDispatcher *dispatcher, long most)
{
	return mrb_scale_result_wait(&dispatcher->scaling, most);
}

/*
 * Check the capacity of the next deployments.
 */
static void
run_capacity(MrbDispatcher *dispatcher)
{
	mrb_capacity_pass_step(&dispatcher->scaling);
}

/*
 * Capacity is due after capacity_interval, or at a deadline.
 */
static long
capacity_due(MrbDispatcher *dispatcher, long most)
{
	return mrb_capacity_pass_wait(&dispatcher->scaling, most);
}

/*
 * Send heads of the audit trail out.
 */
static void
run_heads(MrbDispatcher *dispatcher)
{
	mrb_audit_heads_step(&dispatcher->heads);
}

/*
 * More heads are due at once if a statement had no room for all.
 */
static long
heads_due(MrbDispatcher *dispatcher, long most)
{
	return dispatcher->heads.due ? 0 : most;
}

/*
 * Send alerts to hooks.
 */
static void
run_alerts(MrbDispatcher *dispatcher)
{
	mrb_alerts_step(&dispatcher->alerts);
}

/*
 * Write refused calls.
 */
static void
run_refusals(MrbDispatcher *dispatcher)
{
	mrb_refusals_step(&dispatcher->refusals);
}

/*
 * Write when edges had operations.
 */
static void
run_convergence_log(MrbDispatcher *dispatcher)
{
	mrb_convergence_log_step(&dispatcher->convergence_log);
}

/*
 * Tell other sites how far this one has come.
 */
static void
run_sites(MrbDispatcher *dispatcher)
{
	mrb_sites_step(&dispatcher->sites);
}

/*
 * Delete expired rows.
 */
static void
run_purge(MrbDispatcher *dispatcher)
{
	mrb_purge_step(&dispatcher->purge);
}

/*
 * Verify artifacts; while nothing is loaded, only end what is under way.
 */
static void
run_verifier(MrbDispatcher *dispatcher)
{
	mrb_verifier_step(dispatcher->loaded);
}

/*
 * Verification is due when the next request to storage may start.
 */
static long
verifier_due(MrbDispatcher *dispatcher, long most)
{
	return mrb_verifier_wait(most);
}

/*
 * Have the next pass read endpoints again when a file of a secret has changed.
 */
static void
run_secrets(MrbDispatcher *dispatcher)
{
	if (dispatcher->stale || !mrb_secret_list_changed())
		return;
	dispatcher->stale = true;
	if (dispatcher->next_pass == 0)
		dispatcher->next_pass = mrb_timer_read();
}
