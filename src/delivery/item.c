/*-------------------------------------------------------------------------
 *
 * item.c
 *	  Items: a deployment whose route an endpoint lacks.
 *
 * There is at most one item for an endpoint and a deployment.  Two heaps for
 * each endpoint hold how far it has come: everything below their lowest epoch
 * is done.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "base/miosa_rollback.h"
#include "delivery/item.h"

typedef struct ItemKey
{
	MrbEndpoint *endpoint;
	MrbRouteEntry *entry;
} ItemKey;

typedef struct ItemSlot
{
	ItemKey		key;
	MrbItem    *item;
	char		status;
} ItemSlot;

#define SH_PREFIX items
#define SH_ELEMENT_TYPE ItemSlot
#define SH_KEY_TYPE ItemKey
#define SH_KEY key
#define SH_HASH_KEY(tb, key) hash_bytes((unsigned char *) &(key), sizeof(ItemKey))
#define SH_EQUAL(tb, a, b) ((a).endpoint == (b).endpoint && (a).entry == (b).entry)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static MemoryContext kept = NULL;
static items_hash *items = NULL;
static int64 pending = 0;

static int	compare_first(const pairingheap_node *a,
						  const pairingheap_node *b, void *arg);
static int	compare_unsettled(const pairingheap_node *a,
							  const pairingheap_node *b, void *arg);

/*
 * Create the table of items.  There may be millions of them, so they are not
 * rounded up to the next power of two, as they would be in another context.
 */
void
mrb_item_init(MemoryContext context)
{
	kept = SlabContextCreate(context, MRB_EXTENSION " items",
							 SLAB_DEFAULT_BLOCK_SIZE, sizeof(MrbItem));
	items = items_create(context, 256, NULL);
}

/*
 * Initialize the items of a new endpoint.
 */
void
mrb_item_attach(MrbEndpoint *endpoint)
{
	endpoint->items.unacked.ph_compare = compare_first;
	endpoint->items.unsettled.ph_compare = compare_unsettled;
	dlist_init(&endpoint->items.all);
	dlist_init(&endpoint->items.parked);
	endpoint->items.rejecting = -1;
}

/*
 * Find the item of an endpoint and a deployment, or make it.
 */
MrbItem *
mrb_item_find(MrbEndpoint *endpoint, MrbRouteEntry *entry)
{
	ItemKey		key = {endpoint, entry};
	bool		found;
	ItemSlot   *slot = items_insert(items, key, &found);
	MrbItem    *item;

	if (found)
		return slot->item;
	item = MemoryContextAllocZero(kept, sizeof(MrbItem));
	slot->item = item;
	item->endpoint = endpoint;
	item->entry = entry;
	item->next_route = entry->route;
	item->next_route->refs++;
	entry->users++;

	/* In no list, like a settling item; the caller puts it into one. */
	item->state = MRB_ITEM_SETTLING;
	dlist_push_tail(&endpoint->items.all, &item->item_node);
	return item;
}

/*
 * Free an item without an open epoch.
 */
void
mrb_item_free(MrbItem *item)
{
	ItemKey		key = {item->endpoint, item->entry};

	Assert(item->first_epoch == 0 && !item->timer.set && item->awaited == 0);
	mrb_item_set_unsettled(item, 0);
	if (item->note != NULL)
		item->note->owner = NULL;
	if (item->route != NULL)
		mrb_route_book_unref(item->route);
	mrb_route_book_unref(item->next_route);
	if (item->sending.error != NULL)
		pfree(item->sending.error);
	dlist_delete(&item->item_node);
	items_delete(items, key);
	item->entry->users--;
	mrb_route_book_release(item->entry);
	pfree(item);
}

/*
 * Look for an item that is not acknowledged.
 */
bool
mrb_item_is_pending(MrbEndpoint *endpoint, MrbRouteEntry *entry)
{
	ItemKey		key = {endpoint, entry};
	ItemSlot   *slot = items_lookup(items, key);

	return slot != NULL && slot->item->first_epoch != 0;
}

/*
 * Retries and repeats of an item send the same route, and so the same epoch
 * and message id, even if the book has a newer one because of another
 * endpoint.
 */
void
mrb_item_refresh_route(MrbItem *item)
{
	MrbRoute   *old = item->next_route;

	item->next_route = item->entry->route;
	item->next_route->refs++;
	mrb_route_book_unref(old);
}

/*
 * Set the lowest epoch that is not acknowledged; 0: all are.
 */
void
mrb_item_set_first(MrbItem *item, int64 epoch)
{
	if (item->first_epoch != 0)
	{
		pairingheap_remove(&item->endpoint->items.unacked, &item->first_node);
		pending--;
	}
	item->first_epoch = epoch;
	if (epoch == 0)
		return;
	pairingheap_add(&item->endpoint->items.unacked, &item->first_node);
	pending++;
}

/*
 * Set the lowest epoch that is not repeated; 0: all are.
 */
void
mrb_item_set_unsettled(MrbItem *item, int64 epoch)
{
	if (item->unsettled != 0)
		pairingheap_remove(&item->endpoint->items.unsettled, &item->unsettled_node);
	item->unsettled = epoch;
	if (epoch != 0)
		pairingheap_add(&item->endpoint->items.unsettled, &item->unsettled_node);
}

/*
 * Add the item to the chunk of the endpoint's resync, or remove it.
 */
void
mrb_item_set_bulk(MrbItem *item, bool bulk)
{
	item->endpoint->items.bulk += bulk - item->bulk;
	item->bulk = bulk;
}

/*
 * Record how many messages the endpoint had accepted when the item began to fail.
 */
void
mrb_item_set_failing(MrbItem *item, int64 taken_before)
{
	MrbItems   *items = &item->endpoint->items;

	item->taken_before = taken_before;
	items->rejecting = Max(items->rejecting, taken_before);
}

/*
 * The endpoint has acknowledged everything below this epoch.
 */
int64
mrb_item_lowest_first(MrbEndpoint *endpoint)
{
	if (pairingheap_is_empty(&endpoint->items.unacked))
		return 0;
	return pairingheap_container(MrbItem, first_node,
								 pairingheap_first(&endpoint->items.unacked))
		->first_epoch;
}

/*
 * Everything below this epoch was repeated to the endpoint.
 */
int64
mrb_item_lowest_unsettled(MrbEndpoint *endpoint)
{
	if (pairingheap_is_empty(&endpoint->items.unsettled))
		return 0;
	return pairingheap_container(MrbItem, unsettled_node,
								 pairingheap_first(&endpoint->items.unsettled))
		->unsettled;
}

/*
 * Number of items that are not acknowledged.
 */
int64
mrb_item_pending(void)
{
	return pending;
}

/*
 * A pairing heap returns its greatest element: the lowest epoch.
 */
static int
compare_first(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	int64		x = pairingheap_const_container(MrbItem, first_node, a)->first_epoch;
	int64		y = pairingheap_const_container(MrbItem, first_node, b)->first_epoch;

	return x < y ? 1 : x > y ? -1 : 0;
}

/*
 * As compare_first(), for unsettled epochs.
 */
static int
compare_unsettled(const pairingheap_node *a, const pairingheap_node *b,
				  void *arg)
{
	int64		x = pairingheap_const_container(MrbItem, unsettled_node, a)->unsettled;
	int64		y = pairingheap_const_container(MrbItem, unsettled_node, b)->unsettled;

	return x < y ? 1 : x > y ? -1 : 0;
}
