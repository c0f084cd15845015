/*-------------------------------------------------------------------------
 *
 * item.h
 *	  Items: a deployment whose route an endpoint lacks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ITEM_H
#define MRB_ITEM_H

#include "endpoint/dirty.h"
#include "route/route_book.h"

typedef struct MrbZoneBarrier MrbZoneBarrier;
typedef struct MrbHandover MrbHandover;

/* The requests with which an item is sent. */
typedef struct MrbSending
{
	int			units;			/* number of requests */
	int			next_unit;		/* the next one to start */
	int			outstanding;	/* requests in flight */
	bool		starting;		/* in the endpoint's list of sending items */
	bool		held;			/* its removals wait for requests in flight */
	bool		broken;			/* a request has failed */
	bool		refused;		/* ... because of the message */
	bool		ill;			/* ... but the endpoint failed, perhaps for
								 * all */
	bool		ambiguous;		/* ... but may have been acted upon */
	int			split;			/* ... in a batch; next try with at most this
								 * many items; 0: not in a batch */
	int			status;			/* HTTP status of the failed request */
	char	   *error;
} MrbSending;

typedef enum MrbItemState
{
	MRB_ITEM_BLOCKED,			/* of a cache; waits for routers of its zone */
	MRB_ITEM_FOLLOWING,			/* waits for the deployment that gets a host */
	MRB_ITEM_DAMPED,			/* waits, because it was sent just now */
	MRB_ITEM_READY,				/* in one of the endpoint's ready lists */
	MRB_ITEM_SENDING,
	MRB_ITEM_SETTLING,			/* done, but is repeated later */
	MRB_ITEM_PARKED,			/* rejected; is retried later */
	MRB_ITEM_COOLING,			/* done; kept for damping */
} MrbItemState;

/* A purge is repeated early, and again after the adapter's settle_ms. */
typedef enum MrbRepeat
{
	MRB_REPEAT_NONE,			/* sent for the first time */
	MRB_REPEAT_EARLY,
	MRB_REPEAT_LAST,
} MrbRepeat;

/* queue.c describes how the state of an item changes. */
typedef struct MrbItem
{
	MrbEndpoint *endpoint;
	MrbRouteEntry *entry;
	MrbItemState state;
	dlist_node	item_node;		/* in the items of the endpoint */
	dlist_node	list_node;		/* in the list of its state */

	int64		first_epoch;	/* lowest not acknowledged; 0: none */
	int64		next_first;		/* first_epoch of changes while sending */
	int64		awaited;		/* of the operation that edge_times.c
								 * measures; 0: none */
	int64		unsettled;		/* lowest not repeated; 0: none */
	pairingheap_node first_node;	/* in the endpoint's unacked */
	pairingheap_node unsettled_node;	/* in the endpoint's unsettled */

	bool		bulk;			/* belongs to the resync's chunk */
	bool		resend;			/* send it again after what is in flight */
	MrbRepeat	repeat;			/* which repeat is being sent */
	MrbRepeat	next_repeat;	/* which one follows, while settling */
	bool		confirm;		/* send it once more after a success */
	bool		late;			/* caches did not wait and must purge again */
	bool		failed;			/* it has a row in delivery_failures */
	int			tries;			/* failures since the last success */
	int			attempts;		/* rejections since the last success */
	int			batch_most;		/* maximum size of its batch; 0: no limit */
	int64		taken_before;	/* endpoint's taken at the first failure */
	MrbTick		cool_at;		/* end of damping; by damping.c */
	MrbTimer	timer;
	MrbNote    *note;			/* not written yet, or NULL */

	MrbHandover *handover;		/* what it waits for, or NULL */
	MrbZoneBarrier *barrier;	/* that this item of a router holds */
	dlist_node	barrier_node;
	MrbRoute   *next_route;		/* the route to send */
	MrbRoute   *route;			/* the route being sent, or NULL */
	MrbSending	sending;
} MrbItem;

extern void mrb_item_init(MemoryContext context);
extern void mrb_item_attach(MrbEndpoint *endpoint);

/* Find the item or make it; a new one is in no list. */
extern MrbItem *mrb_item_find(MrbEndpoint *endpoint, MrbRouteEntry *entry);
extern void mrb_item_free(MrbItem *item);

/* Whether the endpoint has an item of the deployment, not acknowledged. */
extern bool mrb_item_is_pending(MrbEndpoint *endpoint, MrbRouteEntry *entry);

/* Send the present route of the entry from now on. */
extern void mrb_item_refresh_route(MrbItem *item);
extern void mrb_item_set_first(MrbItem *item, int64 epoch);
extern void mrb_item_set_unsettled(MrbItem *item, int64 epoch);

/* Set whether the item belongs to the resync's chunk. */
extern void mrb_item_set_bulk(MrbItem *item, bool bulk);

/* Record when the item, which the endpoint has rejected, began to fail. */
extern void mrb_item_set_failing(MrbItem *item, int64 taken_before);

/* The lowest epoch of the endpoint's items; 0: none. */
extern int64 mrb_item_lowest_first(MrbEndpoint *endpoint);
extern int64 mrb_item_lowest_unsettled(MrbEndpoint *endpoint);
extern int64 mrb_item_pending(void);

#endif							/* MRB_ITEM_H */
