/*-------------------------------------------------------------------------
 *
 * dispatcher.h
 *	  The dispatcher: its state, and the pass that takes committed work.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DISPATCHER_H
#define MRB_DISPATCHER_H

#include "common/registry.h"
#include "common/timer.h"
#include "dispatcher/alerts.h"
#include "dispatcher/audit_heads.h"
#include "dispatcher/convergence_log.h"
#include "dispatcher/durability.h"
#include "dispatcher/fence.h"
#include "dispatcher/purge.h"
#include "dispatcher/refusals.h"
#include "dispatcher/sites.h"
#include "scheduler/scaling.h"

/* The dispatcher of this process. */
typedef struct MrbDispatcher
{
	MemoryContext context;		/* for what lives as long as the process */
	MrbRegistrySlot *slot;		/* of its database, in shared memory */

	/* the database, as the last pass has read it */
	Oid			extension;		/* InvalidOid before the first pass */
	bool		loaded;			/* endpoints are in memory */
	bool		stale;			/* a file of a secret has changed since */
	char	   *site;			/* miosa_rollback.site at that time, or NULL */
	char	   *paused;			/* why nothing is sent; NULL: it is sent */

	/* the next pass */
	MrbTick		next_pass;		/* 0: when the process is woken */
	MrbTick		paced_until;	/* the share of the passes so far ends */
	int			failures;		/* passes that failed, in a row */
	MrbDurability durability;

	MrbFence	fence;
	bool		more_to_start;	/* the last turn did not start all requests */
	MrbScaling	scaling;
	MrbPurge	purge;
	MrbAuditHeads heads;
	MrbAlerts	alerts;
	MrbRefusals refusals;
	MrbConvergenceLog convergence_log;
	MrbSites	sites;
} MrbDispatcher;

extern MrbDispatcher *mrb_dispatcher_create(MrbRegistrySlot *slot);

/* Take committed work; false when the extension was dropped. */
extern bool mrb_dispatcher_pass(MrbDispatcher *dispatcher);


#endif							/* MRB_DISPATCHER_H */
