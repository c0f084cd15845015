/*-------------------------------------------------------------------------
 *
 * zone_barrier.c
 *	  Caches wait for the routers of their zone.
 *
 * A cache that purges before its routers have the new route fills itself with
 * the old page again.  So for each zone and deployment caches wait until no
 * router of the zone has a pending change, but at most stage_wait: a router
 * that is down must not keep all others on the old page.  A router that
 * caches did not wait for is late: when it acknowledges, the caches of its
 * zone purge once more.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "base/container.h"
#include "base/guc.h"
#include "delivery/zone_barrier.h"

struct MrbZoneBarrier
{
	MrbZone    *zone;
	MrbRouteEntry *entry;
	int			blocking;		/* items of routers that are not late */
	dlist_head	routers;		/* pending items of routers */
	dlist_head	caches;			/* waiting items of caches */
	MrbTimer	timer;
};

typedef struct BarrierKey
{
	MrbZone    *zone;
	MrbRouteEntry *entry;
} BarrierKey;

typedef struct BarrierSlot
{
	BarrierKey	key;
	MrbZoneBarrier *barrier;
	char		status;
} BarrierSlot;

#define SH_PREFIX barriers
#define SH_ELEMENT_TYPE BarrierSlot
#define SH_KEY_TYPE BarrierKey
#define SH_KEY key
#define SH_HASH_KEY(tb, key) hash_bytes((unsigned char *) &(key), sizeof(BarrierKey))
#define SH_EQUAL(tb, a, b) ((a).zone == (b).zone && (a).entry == (b).entry)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static MemoryContext kept = NULL;
static barriers_hash *barriers = NULL;
static MrbZoneBarrierRelease release_item = NULL;

static MrbZoneBarrier *find_barrier(MrbItem *item, bool make);
static void release_all(MrbZoneBarrier *barrier);
static void give_up(MrbTimer *timer);
static void free_if_idle(MrbZoneBarrier *barrier);

/*
 * Create the table of barriers; release is called for items that waited.
 */
void
mrb_zone_barrier_init(MemoryContext context, MrbZoneBarrierRelease release)
{
	kept = context;
	barriers = barriers_create(context, 64, NULL);
	release_item = release;
}

/*
 * Add the item of a router to its barrier; items of caches hold none.
 */
void
mrb_zone_barrier_hold(MrbItem *item)
{
	MrbEndpoint *endpoint = item->endpoint;

	if (!endpoint->edge || endpoint->stage != 0 || item->barrier != NULL)
		return;
	item->barrier = find_barrier(item, true);
	dlist_push_tail(&item->barrier->routers, &item->barrier_node);
	if (!item->late)
		item->barrier->blocking++;
}

/*
 * Remove the item of a router, and release the caches if it was the last.
 */
void
mrb_zone_barrier_clear(MrbItem *item)
{
	MrbZoneBarrier *barrier = item->barrier;

	if (barrier == NULL)
		return;
	dlist_delete(&item->barrier_node);
	item->barrier = NULL;
	if (!item->late)
		barrier->blocking--;
	if (barrier->blocking == 0)
		release_all(barrier);
	free_if_idle(barrier);
}

/*
 * Let the item of a cache wait if the barrier of its zone is held.
 */
bool
mrb_zone_barrier_wait(MrbItem *item)
{
	MrbEndpoint *endpoint = item->endpoint;
	MrbZoneBarrier *barrier;

	if (!endpoint->edge || endpoint->stage != 1 ||
		endpoint->zone->routers == 0 || mrb_stage_wait == 0)
		return false;
	barrier = find_barrier(item, false);
	if (barrier == NULL || barrier->blocking == 0)
		return false;
	dlist_push_tail(&barrier->caches, &item->list_node);
	if (!barrier->timer.set)
		mrb_timer_set(&barrier->timer, mrb_stage_wait, give_up);
	return true;
}

/*
 * The item of a cache does not wait any longer.
 */
void
mrb_zone_barrier_leave(MrbItem *item)
{
	MrbZoneBarrier *barrier = find_barrier(item, false);

	/* The barrier exists as long as an item waits. */
	Assert(barrier != NULL);
	dlist_delete(&item->list_node);
	free_if_idle(barrier);
}

/*
 * The barrier of the item's zone and deployment; NULL if it does not exist.
 */
static MrbZoneBarrier *
find_barrier(MrbItem *item, bool make)
{
	BarrierKey	key = {item->endpoint->zone, item->entry};
	BarrierSlot *slot = barriers_lookup(barriers, key);
	MrbZoneBarrier *barrier;
	bool		found;

	if (slot != NULL)
		return slot->barrier;
	if (!make)
		return NULL;
	barrier = MemoryContextAllocZero(kept, sizeof(MrbZoneBarrier));
	barrier->zone = key.zone;
	barrier->entry = key.entry;
	barrier->entry->users++;
	dlist_init(&barrier->routers);
	dlist_init(&barrier->caches);
	slot = barriers_insert(barriers, key, &found);
	slot->barrier = barrier;
	return barrier;
}

/*
 * Release all waiting items.
 */
static void
release_all(MrbZoneBarrier *barrier)
{
	mrb_timer_cancel(&barrier->timer);
	while (!dlist_is_empty(&barrier->caches))
		release_item(dlist_container(MrbItem, list_node,
									 dlist_pop_head_node(&barrier->caches)));
}

/*
 * stage_wait has passed: routers that have not acknowledged are late.
 */
static void
give_up(MrbTimer *timer)
{
	MrbZoneBarrier *barrier = mrb_container(MrbZoneBarrier, timer, timer);
	dlist_iter	iter;

	dlist_foreach(iter, &barrier->routers)
		dlist_container(MrbItem, barrier_node, iter.cur)->late = true;
	barrier->blocking = 0;
	release_all(barrier);
	free_if_idle(barrier);
}

/*
 * Free a barrier without items.
 */
static void
free_if_idle(MrbZoneBarrier *barrier)
{
	BarrierKey	key = {barrier->zone, barrier->entry};

	if (!dlist_is_empty(&barrier->routers) ||
		!dlist_is_empty(&barrier->caches))
		return;
	mrb_timer_cancel(&barrier->timer);
	barriers_delete(barriers, key);
	barrier->entry->users--;
	mrb_route_book_release(barrier->entry);
	pfree(barrier);
}
