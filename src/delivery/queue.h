/*-------------------------------------------------------------------------
 *
 * queue.h
 *	  What each endpoint has still to be told.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_QUEUE_H
#define MRB_QUEUE_H

#include "delivery/item.h"

extern void mrb_queue_init(MemoryContext context);

/* The newest epoch given: where an endpoint stands that lacks nothing. */
extern void mrb_queue_set_newest(int64 epoch);
extern int64 mrb_queue_newest(void);

extern void mrb_queue_attach(MrbEndpoint *endpoint);
extern void mrb_queue_detach(MrbEndpoint *endpoint);

/* The deployment's route has changed; or a resync comes to it. */
extern void mrb_queue_change(MrbEndpoint *endpoint, MrbRouteEntry *entry,
							 int64 epoch);
extern void mrb_queue_bulk(MrbEndpoint *endpoint, MrbRouteEntry *entry);

/* After a restart: caches did not wait; it is to be repeated; it failed. */
extern void mrb_queue_late(MrbEndpoint *endpoint, MrbRouteEntry *entry);
extern void mrb_queue_repeat(MrbEndpoint *endpoint, MrbRouteEntry *entry,
							 int64 epoch);
extern void mrb_queue_park(MrbEndpoint *endpoint, MrbRouteEntry *entry,
						   int attempts, int after_ms);

/* How it ended, once all its requests have. */
extern void mrb_queue_succeeded(MrbItem *item);
extern void mrb_queue_failed(MrbItem *item, bool ambiguous);
extern void mrb_queue_split(MrbItem *item, int batch_most);
extern void mrb_queue_refused(MrbItem *item, int status, const char *error);

/* Whether the endpoint takes others, but not this. */
extern bool mrb_queue_is_poison(const MrbItem *item);

/* Where the endpoint stands, for its row. */
extern int64 mrb_queue_acked(MrbEndpoint *endpoint);
extern int64 mrb_queue_settled(MrbEndpoint *endpoint);

#endif							/* MRB_QUEUE_H */
