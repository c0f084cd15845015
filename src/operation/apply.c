/*-------------------------------------------------------------------------
 *
 * apply.c
 *	  Effects of an operation: what routes resolve to, the deployment's
 *	  state, and the outcome.
 *
 * A rollback, a promotion, a plan, a plain UPDATE of the pointer and the
 * capacity pass all decide here, so that they cannot decide differently.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/guc.h"
#include "common/query.h"
#include "operation/apply.h"
#include "operation/capacity.h"
#include "operation/cutover.h"
#include "operation/enqueue.h"
#include "operation/write_guard.h"

PG_FUNCTION_INFO_V1(mrb_complete_capacity);
PG_FUNCTION_INFO_V1(mrb_revise_capacity);

static MrbQuery running_query = {
	.sql = "UPDATE miosa.deployments p SET state = 'running',"
	" updated_at = pg_catalog.clock_timestamp() WHERE p.id = $1",
	.nargs = 1,
	.argtypes = {TEXTOID},
	.expected = MRB_QUERY_UPDATE,
};

static MrbQuery switch_query = {
	.sql = "UPDATE miosa.deployments p SET serving_version_id = NULL,"
	" waiting_since = NULL,"
	" state = CASE WHEN $2 THEN 'running' ELSE p.state END,"
	" recent_served = miosa.add_served(p.recent_served,"
	" p.serving_version_id, p.active_version_id),"
	" updated_at = pg_catalog.clock_timestamp()"
	" WHERE p.id = $1",
	.nargs = 2,
	.argtypes = {TEXTOID, BOOLOID},
	.expected = MRB_QUERY_UPDATE,
};

static MrbQuery switched_query = {
	.sql = "UPDATE miosa.versions v SET switched_at = pg_catalog.clock_timestamp()"
	" WHERE v.deployment_id = $1 AND v.id = $2",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
	.expected = MRB_QUERY_UPDATE,
};

static MrbCutover judge(const MrbDeployment *now, const MrbVersion *target,
						const MrbVersion *serving);
static bool lacks_instances(const MrbDeployment *now,
							const MrbCutover *capacity);
static bool is_stopped(const MrbDeployment *now);
static bool complete(const MrbDeployment *now);
static void revise(const char *id, int old_replicas, bool was_stopped);
static void request_missing(const char *id, const char *active);

/*
 * Decide what routes resolve to, and the outcome.  A stopped deployment stays
 * stopped: a rollback does not start it.  An unpublished deployment, which has
 * no active version, is published.
 */
void
mrb_apply(const MrbDeployment *now, bool immediate, MrbOperation *operation)
{
	const MrbVersion *target = &now->target;
	MrbCutover	capacity = judge(now, target, &now->serving);
	bool		stopped = is_stopped(now);
	bool		switches = capacity.enough || immediate || stopped;

	operation->deployment_id = now->id;
	operation->place = now->place;
	operation->previous_version_id = now->active.id;
	operation->target_version_id = target->id;
	operation->target_release_id = target->release_id;
	operation->target_sha256 = target->sha256;
	operation->serving_version_id = switches ? NULL : now->serving.id;
	operation->ask_capacity = !stopped && lacks_instances(now, &capacity);
	operation->runs_instances = mrb_cutover_runs(target->kind) ||
		(now->active.id != NULL && mrb_cutover_runs(now->active.kind));
	operation->state = stopped ? "stopped" :
		capacity.reached ? "running" : "pending";

	if (!mrb_deployment_same_version(now->active.id, target->id))
		operation->outcome = switches ? "changed" : "pending";
	else if (now->serving_version_id != NULL && switches)
		operation->outcome = "cutover";
	else
	{
		operation->outcome = "unchanged";
		operation->state = now->state;
	}
}

/*
 * Make no version active.
 */
void
mrb_apply_unpublish(const MrbDeployment *now, MrbOperation *operation)
{
	operation->action = MRB_UNPUBLISH;
	operation->outcome = "changed";
	operation->deployment_id = now->id;
	operation->previous_version_id = now->active.id;
	operation->runs_instances = now->active.id != NULL &&
		mrb_cutover_runs(now->active.kind);
	operation->state = "stopped";
}

/*
 * miosa.complete_capacity(deployment_id)
 */
Datum
mrb_complete_capacity(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(mrb_apply_complete(text_to_cstring(PG_GETARG_TEXT_PP(0))));
}

/*
 * Do what the healthy instances of the active version allow.
 */
bool
mrb_apply_complete(const char *deployment_id)
{
	MrbDeployment *now = mrb_deployment_read(deployment_id, NULL, NULL);

	return now != NULL && complete(now);
}

/*
 * miosa.revise_capacity(deployment_id, old_replicas, was_stopped)
 */
Datum
mrb_revise_capacity(PG_FUNCTION_ARGS)
{
	revise(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_INT32(1),
		   PG_GETARG_BOOL(2));
	PG_RETURN_VOID();
}

/*
 * Do what a change of desired_replicas or state calls for.  A deployment that
 * is stopped requests nothing.  If more instances are desired than before, or
 * it is started, those that are missing are requested; if fewer are, those
 * that are there may be enough.
 */
static void
revise(const char *id, int old_replicas, bool was_stopped)
{
	MrbDeployment *now = mrb_deployment_read(id, NULL, NULL);
	bool		stopped;

	if (now == NULL || now->active.id == NULL ||
		!mrb_cutover_runs(now->active.kind))
		return;
	stopped = is_stopped(now);
	if (now->desired_replicas == old_replicas && stopped == was_stopped)
		return;
	if (stopped)
		mrb_capacity_cancel(id);
	else if (now->desired_replicas > old_replicas || was_stopped)
		request_missing(id, now->active.id);
	(void) mrb_apply_complete(id);
}

/*
 * Request instances of the active version, if some are missing.
 */
static void
request_missing(const char *id, const char *active)
{
	MrbDeployment *now = mrb_deployment_read(id, active, NULL);
	MrbCutover	capacity = judge(now, &now->target, &now->serving);

	if (!lacks_instances(now, &capacity))
		return;
	mrb_capacity_want(id, active);
	(void) mrb_enqueue(id, "capacity", NULL);
}

/*
 * Switch routes to the active version when enough of its instances are healthy,
 * and set the state running when all are.  After cutover_deadline one instance
 * is enough; with none the routes stay with the version that serves.
 */
static bool
complete(const MrbDeployment *now)
{
	const MrbVersion *active = &now->active;
	MrbVersion	none = {0};
	MrbCutover	capacity;
	bool		all;
	bool		overdue;
	Datum		values[2];

	if (active->id == NULL || strcmp(now->state, "stopped") == 0)
		return false;
	capacity = judge(now, active,
					 now->serving_version_id ? &now->serving : &none);
	all = !capacity.needed || active->healthy >= now->desired_replicas;
	overdue = now->waiting_since != 0 &&
		mrb_cutover_due_at(now->waiting_since) <= GetCurrentTimestamp();
	if (all)
		(void) mrb_capacity_withdraw(now->id, active->id);

	values[0] = CStringGetTextDatum(now->id);
	mrb_query_open();
	if (now->serving_version_id == NULL)
	{
		if (all && strcmp(now->state, "pending") == 0)
			(void) mrb_query_run(&running_query, values, NULL);
		mrb_query_close();
		return false;
	}
	if (!capacity.enough && !(active->healthy > 0 && overdue))
	{
		mrb_query_close();
		return false;
	}
	values[1] = BoolGetDatum(capacity.reached);
	(void) mrb_write_guard_run(&switch_query, values, NULL);
	values[1] = CStringGetTextDatum(active->id);
	(void) mrb_query_run(&switched_query, values, NULL);
	mrb_query_close();
	(void) mrb_enqueue(now->id, "route", NULL);
	return true;
}

/*
 * Compare a version's instances with those of the version that serves.
 */
static MrbCutover
judge(const MrbDeployment *now, const MrbVersion *target,
	  const MrbVersion *serving)
{
	return mrb_cutover_judge(target->kind, target->healthy,
							 now->desired_replicas,
							 serving->id ? serving->kind : NULL,
							 serving->healthy);
}

/*
 * Whether schedulers must be asked for instances of the target: some are
 * missing, or schedulers were asked to stop it, whatever is left of it.
 */
static bool
lacks_instances(const MrbDeployment *now, const MrbCutover *capacity)
{
	return capacity->needed && now->desired_replicas > 0 &&
		(capacity->wanting || now->target_drained);
}

/*
 * Whether the deployment is stopped and stays stopped.
 */
static bool
is_stopped(const MrbDeployment *now)
{
	return strcmp(now->state, "stopped") == 0 && now->active.id != NULL;
}
