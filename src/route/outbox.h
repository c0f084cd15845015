/*-------------------------------------------------------------------------
 *
 * outbox.h
 *	  Takes committed work from the outbox.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_OUTBOX_H
#define MRB_OUTBOX_H

#include "route/route_log.h"

/* Whether there is work to take; writes nothing. */
extern bool mrb_outbox_has_work(void);

/*
 * Take committed work, assign epochs after last_epoch to its route changes,
 * and append these to the route log, in the caller's transaction and memory
 * context.  mrb_outbox_committed() is called once that has committed.
 */
extern void mrb_outbox_take(int64 last_epoch, MrbRouteChanges *changes);
extern void mrb_outbox_committed(void);

#endif							/* MRB_OUTBOX_H */
