/*-------------------------------------------------------------------------
 *
 * convergence_state.c
 *	  The state of an operation: what miosa_wait_converged() returns.
 *
 * This is the one place that decides it.  The first line that applies is the
 * state:
 *
 *	superseded			a newer operation has changed the deployment
 *	waiting_instances	routes, or the deployment's state, wait for instances
 *	no_edges			no enabled edge receives the deployment
 *	expired				all edges are done, some by expiry alone
 *	converged			all edges are done
 *	waiting_edges		the dispatcher delivers, or will within a second
 *	no_dispatcher		nothing is delivered
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "api/convergence_state.h"
#include "common/query.h"
#include "common/registry.h"

PG_FUNCTION_INFO_V1(mrb_operation_state);

/* Columns of operation_query, from 1. */
enum
{
	OPERATION_SUPERSEDED = 1,
	OPERATION_WAITS
};

static MrbQuery operation_query = {
	.sql = "SELECT p.seq > $2 AND EXISTS ("
	" SELECT FROM miosa.audit_events e WHERE e.deployment_id = p.id"
	" AND e.seq > $2 AND e.outcome NOT IN ('unchanged', 'refused')),"
	" p.state = 'pending' AND p.active_version_id IS NOT NULL"
	" FROM miosa.deployments p WHERE p.id = $1",
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
	.read_only = true,
};

static MrbQuery paused_query = {
	.sql = "SELECT miosa.pause_reason() IS NOT NULL",
	.read_only = true,
};

static MrbConvergence state_by_edges(const MrbEdgeCount *count);
static bool is_delivered(void);
static bool is_paused(void);

/*
 * miosa.operation_state(deployment_id, seq, edges, done, expired)
 */
Datum
mrb_operation_state(PG_FUNCTION_ARGS)
{
	MrbEdgeCount count;
	MrbConvergence state;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	count.edges = PG_GETARG_INT64(2);
	count.done = PG_GETARG_INT64(3);
	count.expired = PG_GETARG_INT64(4);
	state = mrb_convergence_state_decide(text_to_cstring(PG_GETARG_TEXT_PP(0)),
										 PG_ARGISNULL(1) ? -1 : PG_GETARG_INT64(1), &count);
	if (state == MRB_CONVERGENCE_UNKNOWN)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(mrb_convergence_state_name(state)));
}

/*
 * Decide the state of an operation.
 */
MrbConvergence
mrb_convergence_state_decide(const char *deployment_id, int64 seq,
							 const MrbEdgeCount *count)
{
	Datum		args[2] = {CStringGetTextDatum(deployment_id), Int64GetDatum(seq)};
	bool		nulls[2] = {false, seq < 0};
	bool		found;
	bool		superseded = false;
	bool		waits = false;

	mrb_query_open();
	found = mrb_query_run(&operation_query, args, nulls) > 0;
	if (found)
	{
		superseded = mrb_query_bool(0, OPERATION_SUPERSEDED);
		waits = mrb_query_bool(0, OPERATION_WAITS);
	}
	mrb_query_close();
	if (!found)
		return MRB_CONVERGENCE_UNKNOWN;
	if (superseded)
		return MRB_CONVERGENCE_SUPERSEDED;
	if (waits)
		return MRB_CONVERGENCE_WAITING_INSTANCES;
	return state_by_edges(count);
}

/*
 * Decide the state of a fleet.  One that has not ended waits for edges: it will.
 */
MrbConvergence
mrb_convergence_state_of_fleet(const MrbEdgesFleet *fleet,
							   const MrbEdgeCount *count)
{
	if (!fleet->found)
		return MRB_CONVERGENCE_UNKNOWN;
	if (fleet->works)
		return MRB_CONVERGENCE_WAITING_EDGES;
	if (fleet->waits)
		return MRB_CONVERGENCE_WAITING_INSTANCES;
	return state_by_edges(count);
}

/*
 * Decide the state of what waits for edges alone.
 */
static MrbConvergence
state_by_edges(const MrbEdgeCount *count)
{
	if (count->edges == 0)
		return MRB_CONVERGENCE_NO_EDGES;
	if (count->done == count->edges)
		return count->expired > 0 ? MRB_CONVERGENCE_EXPIRED :
			MRB_CONVERGENCE_CONVERGED;
	return is_delivered() ? MRB_CONVERGENCE_WAITING_EDGES :
		MRB_CONVERGENCE_NO_DISPATCHER;
}

/*
 * The state as functions return it.
 */
const char *
mrb_convergence_state_name(MrbConvergence state)
{
	static const char *const names[] = {
		[MRB_CONVERGENCE_UNKNOWN] = NULL,
		[MRB_CONVERGENCE_SUPERSEDED] = "superseded",
		[MRB_CONVERGENCE_WAITING_INSTANCES] = "waiting_instances",
		[MRB_CONVERGENCE_NO_EDGES] = "no_edges",
		[MRB_CONVERGENCE_EXPIRED] = "expired",
		[MRB_CONVERGENCE_CONVERGED] = "converged",
		[MRB_CONVERGENCE_WAITING_EDGES] = "waiting_edges",
		[MRB_CONVERGENCE_NO_DISPATCHER] = "no_dispatcher",
	};

	return names[state];
}

/*
 * Whether the dispatcher delivers, or will do so soon.
 */
static bool
is_delivered(void)
{
	MrbRegistrySlot *slot = mrb_registry_slot(MyDatabaseId);

	if (slot == NULL || mrb_registry_stalled(slot))
		return false;
	switch (slot->state)
	{
		case MRB_DISPATCHER_STARTING:
		case MRB_DISPATCHER_RUNNING:
			return true;

			/*
			 * The launcher starts it again within a second, also when the
			 * extension was made anew.
			 */
		case MRB_DISPATCHER_ASIDE:
		case MRB_DISPATCHER_STOPPED:
		case MRB_DISPATCHER_ABSENT:
			return mrb_registry_launcher_is_alive();

			/* It may not have seen yet that it was resumed. */
		case MRB_DISPATCHER_PAUSED:
			return !is_paused();
		case MRB_DISPATCHER_NONE:
			break;
	}
	return false;
}

/*
 * Whether the dispatcher must not deliver before miosa_resume().
 */
static bool
is_paused(void)
{
	bool		paused;

	mrb_query_open();
	(void) mrb_query_run(&paused_query, NULL, NULL);
	paused = mrb_query_bool(0, 1);
	mrb_query_close();
	return paused;
}
