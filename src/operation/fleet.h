/*-------------------------------------------------------------------------
 *
 * fleet.h
 *	  Rollbacks of all deployments that a selector matches.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_FLEET_H
#define MRB_FLEET_H

#include "operation/caller_request.h"

/* The arguments of a call. */
typedef struct MrbFleetRequest
{
	Jsonb	   *selector;		/* NULL: null */
	const char *mode;			/* NULL: atomic */
	MrbCallerRequest common;	/* for each deployment, which it does not name */
	bool		console;		/* hints call functions of the console */
	Oid			function;		/* that was called */
} MrbFleetRequest;

/* Roll the deployments back in one statement; returns the response. */
extern Jsonb *mrb_fleet_run(MrbFleetRequest *request);

/* What that would do now. */
extern Jsonb *mrb_fleet_plan(MrbFleetRequest *request);

/*
 * The same in several transactions: mrb_fleet_begin() returns the id of a new
 * fleet, or of the one that has the same key, and NULL if no deployment matches.
 * It checks the size of the batches, so that none is begun that cannot go on.
 * mrb_fleet_step() rolls so many deployments back, and returns false when there
 * is none left.
 */
extern char *mrb_fleet_begin(MrbFleetRequest *request, int batch);
extern bool mrb_fleet_step(const char *id, int batch, Oid function);

/* Whether a fleet, by these columns of its row, exists for the caller. */
extern bool mrb_fleet_is_seen(const char *tenant_id, const char *acts_for);

#endif							/* MRB_FLEET_H */
