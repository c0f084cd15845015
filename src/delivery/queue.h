/*-------------------------------------------------------------------------
 *
 * queue.h
 *	  The queue of each endpoint: the routes that it lacks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_QUEUE_H
#define MRB_QUEUE_H

#include "delivery/item.h"

extern void mrb_queue_init(MemoryContext context);

/* The newest epoch: the position of an endpoint that lacks nothing. */
extern void mrb_queue_set_newest_epoch(int64 epoch);
extern int64 mrb_queue_newest_epoch(void);

extern void mrb_queue_attach(MrbEndpoint *endpoint);
extern void mrb_queue_detach(MrbEndpoint *endpoint);

/* The deployment's route has changed. */
extern void mrb_queue_change(MrbEndpoint *endpoint, MrbRouteEntry *entry,
							 int64 epoch);

/*
 * Before that: it has lost a host to another deployment, whose route, which has
 * changed as well, is to be acknowledged first.
 */
extern void mrb_queue_follow(MrbEndpoint *endpoint, MrbRouteEntry *entry,
							 MrbRouteEntry *taker);

/* A resync has reached the deployment. */
extern void mrb_queue_bulk(MrbEndpoint *endpoint, MrbRouteEntry *entry);

/* After a restart: the caches of the zone may not have waited. */
extern void mrb_queue_late(MrbEndpoint *endpoint, MrbRouteEntry *entry);

/* After a restart: the route was acknowledged, but has to be repeated. */
extern void mrb_queue_repeat(MrbEndpoint *endpoint, MrbRouteEntry *entry,
							 int64 epoch);

/* After a restart: the route was rejected, and has to be retried. */
extern void mrb_queue_park(MrbEndpoint *endpoint, MrbRouteEntry *entry,
						   int attempts, int after_ms);

/* All requests of the item have ended: the result is one of these. */
extern void mrb_queue_succeeded(MrbItem *item);
extern void mrb_queue_failed(MrbItem *item, bool ambiguous);
extern void mrb_queue_split(MrbItem *item, int batch_most);
extern void mrb_queue_refused(MrbItem *item, int status, const char *error);

/*
 * The endpoint has accepted a message.  If it was down before, rejected items are
 * retried.
 */
extern void mrb_queue_accepted(MrbEndpoint *endpoint, bool was_down);

/* Whether the item keeps failing while the endpoint accepts others. */
extern bool mrb_queue_is_poison(const MrbItem *item);

/* The position of the endpoint. */
extern int64 mrb_queue_acked_epoch(MrbEndpoint *endpoint);
extern int64 mrb_queue_settled_epoch(MrbEndpoint *endpoint);

#endif							/* MRB_QUEUE_H */
