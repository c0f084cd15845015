/*-------------------------------------------------------------------------
 *
 * item.h
 *	  One deployment that one endpoint has still to be told of.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ITEM_H
#define MRB_ITEM_H

#include "endpoint/dirty.h"
#include "route/route_book.h"

typedef struct MrbZoneBarrier MrbZoneBarrier;

/* One sending of an item: the requests that are made of it. */
typedef struct MrbSending
{
	int			units;			/* requests that it takes */
	int			next_unit;		/* the next to start */
	int			outstanding;	/* without an answer */
	bool		starting;		/* in its endpoint's list sending */
	bool		broken;			/* one of them has failed */
	bool		refused;		/* ... by the fault of the message */
	bool		ambiguous;		/* ... or it may have been acted upon */
	int			split;			/* ... or by that of its batch: make it
								 * smaller */
	int			status;			/* of the one that failed */
	char	   *error;
} MrbSending;

typedef enum MrbItemState
{
	MRB_ITEM_BLOCKED,			/* a cache that waits for its zone's routers */
	MRB_ITEM_DAMPED,			/* waits, because it was told just now */
	MRB_ITEM_READY,				/* in one of its endpoint's lists */
	MRB_ITEM_SENDING,
	MRB_ITEM_RESTING,			/* done, but is repeated a little later */
	MRB_ITEM_PARKED,			/* was not taken, is tried again later */
	MRB_ITEM_LINGERING,			/* done; kept to know when it was told */
} MrbItemState;

/* A purge is repeated early, and once more after the adapter's settle. */
typedef enum MrbRepeat
{
	MRB_REPEAT_NONE,			/* told for the first time */
	MRB_REPEAT_EARLY,
	MRB_REPEAT_LAST,
} MrbRepeat;

/* What becomes of an item is told in queue.c. */
typedef struct MrbItem
{
	MrbEndpoint *endpoint;
	MrbRouteEntry *entry;
	MrbItemState state;
	dlist_node	item_node;		/* in its endpoint's items */
	dlist_node	list_node;		/* in the list of its state */

	int64		first_epoch;	/* lowest not acknowledged; 0: none */
	int64		next_first;		/* of what came while sending */
	int64		unsettled;		/* lowest not repeated; 0: none */
	pairingheap_node first_node;	/* in its endpoint's unacked */
	pairingheap_node unsettled_node;	/* in its endpoint's unsettled */

	bool		bulk;			/* counts for the resync's chunk */
	bool		resend;			/* tell it again after what is in flight */
	MrbRepeat	repeat;			/* which telling this is */
	MrbRepeat	next_repeat;	/* which the next one is, while it rests */
	bool		confirm;		/* tell it once more after a success */
	bool		late;			/* caches did not wait: they purge again */
	bool		failed;			/* has a row in delivery_failures */
	int			tries;			/* failed ones since the last success */
	int			attempts;		/* failed ones since it is parked */
	int			batch_most;		/* so many deployments a request; 0: any */
	int64		taken_before;	/* by its endpoint at the first of tries */
	MrbTick		cool_at;		/* sent lately until then, by damping.c */
	MrbTimer	timer;
	MrbNote    *note;			/* not written yet, or NULL */

	MrbZoneBarrier *barrier;	/* that a router holds up */
	dlist_node	barrier_node;
	MrbRoute   *picture;		/* what it is told next, or again */
	MrbRoute   *route;			/* what it is being told; NULL: nothing */
	MrbSending	sending;
} MrbItem;

extern void mrb_item_init(MemoryContext context);
extern void mrb_item_attach(MrbEndpoint *endpoint);

/* Found, or made: then it is in no list. */
extern MrbItem *mrb_item_find(MrbEndpoint *endpoint, MrbRouteEntry *entry);
extern void mrb_item_free(MrbItem *item);

/* Tell the item the entry's present picture from now on. */
extern void mrb_item_take_picture(MrbItem *item);
extern void mrb_item_set_first(MrbItem *item, int64 epoch);
extern void mrb_item_set_unsettled(MrbItem *item, int64 epoch);

/* Whether the item belongs to the chunk that a resync sends. */
extern void mrb_item_set_bulk(MrbItem *item, bool bulk);

/* 0: there is none. */
extern int64 mrb_item_lowest_first(MrbEndpoint *endpoint);
extern int64 mrb_item_lowest_unsettled(MrbEndpoint *endpoint);
extern int64 mrb_item_pending(void);

#endif							/* MRB_ITEM_H */
