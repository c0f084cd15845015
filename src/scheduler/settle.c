/*-------------------------------------------------------------------------
 *
 * settle.c
 *	  What is due for the capacity of one deployment.
 *
 * Under the lock of the deployment's row: routes switch, requests for
 * instances that are there are withdrawn, versions that are not needed become
 * idle, and those that are idle for drain_delay are drained.
 *
 * Nothing becomes idle or is drained until the deployment has settled: while
 * it waits for instances, or an edge is behind, the old version may still
 * serve.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "common/query.h"
#include "operation/apply.h"
#include "operation/capacity.h"
#include "operation/deployment_lock.h"
#include "operation/write_guard.h"
#include "scheduler/drain.h"

PG_FUNCTION_INFO_V1(mrb_settle_capacity);

/* The deployment's row is locked. */
#define LOCKED (-1)

/* A deployment whose row is locked by this transaction. */
typedef struct Settling
{
	const char *id;
	char	   *state;
	int			desired_replicas;
	char	   *active;			/* NULL: unpublished */
	char	   *serving;		/* NULL: the active version serves */
	char	   *before;			/* the active one was promoted over it, or
								 * NULL */
	Datum		recent_served;
	Datum		kept;			/* versions whose instances stay, a text[] */
	bool		settled;		/* unneeded versions may be drained */
} Settling;

/* A row of miosa.capacity that is not drained. */
typedef struct Asked
{
	char	   *version_id;
	char	   *state;			/* wanted, idle, draining */
	TimestampTz since;			/* when it was entered */
	bool		kept;			/* the version's instances stay */
	int64		healthy;		/* healthy instances of the version */
} Asked;

/* Columns of read_query. */
enum
{
	READ_STATE = 1,
	READ_DESIRED,
	READ_ACTIVE,
	READ_SERVING,
	READ_BEFORE,
	READ_RECENT,
};

static MrbQuery read_query = {
	.sql = "SELECT p.state, p.desired_replicas, p.active_version_id,"
	" p.serving_version_id, v.promoted_over, p.recent_served"
	" FROM miosa.deployments p LEFT JOIN miosa.versions v"
	" ON v.deployment_id = p.id AND v.id = p.active_version_id"
	" WHERE p.id = $1",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* A row that was loaded does not know since when it waits. */
static MrbQuery waiting_query = {
	.sql = "UPDATE miosa.deployments p"
	" SET waiting_since = pg_catalog.clock_timestamp()"
	" WHERE p.id = $1 AND p.serving_version_id IS NOT NULL"
	" AND p.waiting_since IS NULL",
	.nargs = 1,
	.argtypes = {TEXTOID},
	.expected = MRB_QUERY_UPDATE,
};

static MrbQuery instances_query = {
	.sql = "SELECT FROM miosa.runtime_instances LIMIT 1",
};

static MrbQuery convergence_query = {
	.sql = "SELECT miosa.convergence_state($1, NULL)"
	" IN ('converged', 'expired', 'no_edges')",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* Columns of asked_query. */
enum
{
	ASKED_VERSION_ID = 1,
	ASKED_STATE,
	ASKED_SINCE,
	ASKED_KEPT,
	ASKED_HEALTHY,
};

static MrbQuery asked_query = {
	.sql = "SELECT c.version_id, c.state, c.since, c.version_id = ANY ($2),"
	" (SELECT count(*) FROM miosa.live_instances i"
	" WHERE i.deployment_id = c.deployment_id"
	" AND i.version_id = c.version_id)"
	" FROM miosa.capacity c"
	" WHERE c.deployment_id = $1 AND c.state <> 'drained'"
	" ORDER BY c.version_id",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTARRAYOID},
};

static MrbQuery idle_query = {
	.sql = "UPDATE miosa.capacity c"
	" SET state = 'idle', since = pg_catalog.clock_timestamp()"
	" WHERE c.deployment_id = $1 AND c.version_id = $2",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
	.expected = MRB_QUERY_UPDATE,
};

/* Versions that have live instances, are not kept and have no request. */
static MrbQuery unneeded_query = {
	.sql = "INSERT INTO miosa.capacity AS c"
	" (deployment_id, version_id, state)"
	" SELECT DISTINCT i.deployment_id, i.version_id, 'idle'"
	" FROM miosa.runtime_instances i"
	" JOIN miosa.versions v ON v.deployment_id = i.deployment_id"
	" AND v.id = i.version_id AND v.kind <> 'static'"
	" WHERE i.deployment_id = $1 AND i.version_id <> ALL ($2)"
	" AND i.state <> 'stopping' AND NOT miosa.has_ended(i.state)"
	" AND coalesce(i.last_heartbeat_at, i.updated_at)"
	" > (SELECT miosa.heartbeat_horizon())"
	" ON CONFLICT ON CONSTRAINT capacity_pkey DO UPDATE"
	" SET state = 'idle', since = EXCLUDED.since, asked_at = NULL,"
	" last_error = NULL, last_error_at = NULL"
	" WHERE c.state = 'drained'",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTARRAYOID},
	.expected = MRB_QUERY_INSERT,
};

static int	settle(const char *id);
static bool switch_routes(Settling *now);
static void read_deployment(Settling *now);
static bool has_settled(const Settling *now);
static int	settle_requests(const Settling *now);
static bool settle_wanted(const Settling *now, const Asked *asked);
static bool settle_idle(const Settling *now, const Asked *asked);
static int	note_unneeded(const Settling *now);
static bool is_state(const char *state, const char *name);

/*
 * miosa.settle_capacity(deployment_id): the number of changes; null if the
 * deployment's row is locked
 */
Datum
mrb_settle_capacity(PG_FUNCTION_ARGS)
{
	int			changes = settle(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	if (changes == LOCKED)
		PG_RETURN_NULL();
	PG_RETURN_INT32(changes);
}

/*
 * Do what is due for a deployment, without waiting for locks.
 */
static int
settle(const char *id)
{
	Settling	now = {.id = id};
	int			changes = 0;

	if (!mrb_deployment_lock_try(id))
		return LOCKED;
	mrb_query_open();
	if (switch_routes(&now))
		changes++;
	now.kept = mrb_capacity_kept(now.active, now.serving, now.before,
								 now.recent_served);
	now.settled = has_settled(&now);
	changes += settle_requests(&now);
	if (now.settled)
		changes += note_unneeded(&now);
	mrb_query_close();
	return changes;
}

/*
 * Switch routes, or set the state running, if the active version has what it
 * waits for.  True if the deployment has changed.  While a dump is restored,
 * deployments are there before any instance is; none is judged by that.
 */
static bool
switch_routes(Settling *now)
{
	Datum		id = CStringGetTextDatum(now->id);
	Settling	before = *now;

	(void) mrb_write_guard_run(&waiting_query, &id, NULL);
	read_deployment(&before);
	if ((before.serving != NULL || is_state(before.state, "pending")) &&
		mrb_query_run(&instances_query, NULL, NULL) > 0)
		(void) mrb_apply_complete(now->id);
	read_deployment(now);
	return !is_state(now->state, before.state) ||
		(now->serving == NULL) != (before.serving == NULL);
}

/*
 * Read the deployment.
 */
static void
read_deployment(Settling *now)
{
	Datum		id = CStringGetTextDatum(now->id);
	bool		isnull;

	if (mrb_query_run(&read_query, &id, NULL) != 1)
		elog(ERROR, "deployment \"%s\" vanished under its lock", now->id);
	now->state = mrb_query_text(0, READ_STATE);
	now->desired_replicas = mrb_query_int32(0, READ_DESIRED, 0);
	now->active = mrb_query_text(0, READ_ACTIVE);
	now->serving = mrb_query_text(0, READ_SERVING);
	now->before = mrb_query_text(0, READ_BEFORE);
	now->recent_served = mrb_query_copy(0, READ_RECENT, &isnull);
}

/*
 * Whether versions that are not needed may be drained: the active version
 * serves, and every edge that counts has its route.  Nothing of a deployment is
 * drained while it is stopped, or pending: it has too few instances.
 */
static bool
has_settled(const Settling *now)
{
	Datum		id = CStringGetTextDatum(now->id);

	if (now->serving != NULL || is_state(now->state, "stopped") ||
		is_state(now->state, "pending"))
		return false;
	(void) mrb_query_run(&convergence_query, &id, NULL);
	return mrb_query_bool(0, 1);
}

/*
 * Settle each request of the deployment.  Returns the number of changes.
 */
static int
settle_requests(const Settling *now)
{
	Datum		values[] = {CStringGetTextDatum(now->id), now->kept};
	int			n = mrb_query_run(&asked_query, values, NULL);
	Asked	   *requests = palloc(Max(n, 1) * sizeof(Asked));
	int			changes = 0;

	for (int i = 0; i < n; i++)
	{
		requests[i].version_id = mrb_query_text(i, ASKED_VERSION_ID);
		requests[i].state = mrb_query_text(i, ASKED_STATE);
		requests[i].since = mrb_query_timestamp(i, ASKED_SINCE, DT_NOEND);
		requests[i].kept = mrb_query_bool(i, ASKED_KEPT);
		requests[i].healthy = mrb_query_int64(i, ASKED_HEALTHY, 0);
	}
	for (int i = 0; i < n; i++)
	{
		const Asked *asked = &requests[i];

		if (is_state(asked->state, "wanted"))
			changes += settle_wanted(now, asked);
		else if (is_state(asked->state, "idle"))
			changes += settle_idle(now, asked);
		else
			changes += mrb_drain_end(now->id, asked->version_id);
	}
	return changes;
}

/*
 * Instances are requested: the request is deleted if the deployment is
 * stopped, and withdrawn if the instances are there.  If the version is not
 * needed any more it becomes idle, because what was requested may still come
 * and is to be drained then.
 */
static bool
settle_wanted(const Settling *now, const Asked *asked)
{
	Datum		values[] = {
		CStringGetTextDatum(now->id),
		CStringGetTextDatum(asked->version_id)
	};

	if (is_state(now->state, "stopped"))
	{
		mrb_capacity_cancel(now->id);
		return true;
	}
	if (asked->healthy >= now->desired_replicas &&
		mrb_capacity_withdraw(now->id, asked->version_id))
		return true;
	if (!now->settled || asked->kept)
		return false;
	(void) mrb_query_run(&idle_query, values, NULL);
	return true;
}

/*
 * The version is idle: its instances are kept if it is needed again, and
 * drained after drain_delay.
 */
static bool
settle_idle(const Settling *now, const Asked *asked)
{
	if (asked->kept)
	{
		mrb_capacity_keep(now->id, now->kept);
		return true;
	}
	return now->settled &&
		mrb_drain_due_at(asked->since) <= GetCurrentTimestamp() &&
		mrb_drain_begin(now->id, asked->version_id);
}

/*
 * Note versions as idle that have live instances and are not needed, also
 * those that came back after they were drained.  Returns their number.
 */
static int
note_unneeded(const Settling *now)
{
	Datum		values[] = {CStringGetTextDatum(now->id), now->kept};

	return mrb_query_run(&unneeded_query, values, NULL);
}

/*
 * Whether a state is the one of that name.
 */
static bool
is_state(const char *state, const char *name)
{
	return strcmp(state, name) == 0;
}
