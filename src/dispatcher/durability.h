/*-------------------------------------------------------------------------
 *
 * durability.h
 *	  Whether a pass has to be flushed before its changes are sent.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DURABILITY_H
#define MRB_DURABILITY_H

#include "access/xlogdefs.h"

#include "route/route_log.h"

/* Epochs that a crash can lose; its successor skips as many. */
#define MRB_EPOCHS_LOST_MAX 100

/* Passes that may not be flushed yet. */
typedef struct MrbDurability
{
	int64		epochs;			/* that they have given */
	XLogRecPtr	lsn;			/* where the newest one ends */
	bool		async;			/* the present pass will be one of them */
} MrbDurability;

/* Decide how the present pass, which takes these changes, commits. */
extern void mrb_durability_decide(MrbDurability *durability,
								  const MrbRouteChanges *taken);

/* It has committed. */
extern void mrb_durability_committed(MrbDurability *durability,
									 const MrbRouteChanges *taken);

#endif							/* MRB_DURABILITY_H */
