/*-------------------------------------------------------------------------
 *
 * outbox.h
 *	  Committed work, taken from the outbox and put in order in the route log.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_OUTBOX_H
#define MRB_OUTBOX_H

#include "route/route_log.h"

/* Whether there is anything to take; a look that writes nothing. */
extern bool mrb_outbox_has_work(void);

/*
 * Take committed work and give it epochs after last_epoch, in the caller's
 * transaction and memory context.  Once that has committed, say so.
 */
extern void mrb_outbox_take(int64 last_epoch, MrbRouteChanges *taken);
extern void mrb_outbox_committed(void);

#endif							/* MRB_OUTBOX_H */
