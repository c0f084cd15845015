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

/*
 * Read committed work into the caller's memory context; writes nothing.
 * mrb_outbox_take() takes what was read, in the same transaction: it assigns
 * epochs after last_epoch to the changes, appends these to the route log and
 * deletes the rows.  mrb_outbox_committed() is called once that has committed.
 */
extern void mrb_outbox_read(MrbRouteChanges *changes);
extern void mrb_outbox_take(MrbRouteChanges *changes, int64 last_epoch);
extern void mrb_outbox_committed(void);

#endif							/* MRB_OUTBOX_H */
