/*-------------------------------------------------------------------------
 *
 * pace.h
 *	  How often: an endpoint is asked, a deployment is told, a failure is
 *	  tried again.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_PACE_H
#define MRB_PACE_H

#include "item.h"

/* Milliseconds until the endpoint's adapter allows one more request. */
extern int	mrb_pace_endpoint_wait(MrbEndpoint *endpoint);
extern void mrb_pace_endpoint_sent(MrbEndpoint *endpoint);

/*
 * Milliseconds until the endpoint may be told of this deployment again; and
 * whether it was told so lately that this must be remembered.
 */
extern int	mrb_pace_item_wait(const MrbItem *item);
extern bool mrb_pace_item_is_hot(const MrbItem *item);
extern void mrb_pace_item_told(MrbItem *item);

/* How long to leave something alone that failed so often in a row. */
extern int	mrb_pace_backoff(int failures);

#endif							/* MRB_PACE_H */
