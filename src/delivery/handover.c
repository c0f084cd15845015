/*-------------------------------------------------------------------------
 *
 * handover.c
 *	  Deployments that lose a host wait for the one that gets it.
 *
 * An edge that is sent the hosts of a deployment as a whole would know nobody for
 * a host between the message that takes it from its old deployment and the one
 * that gives it to the new one.  The new one is queued first, but may be sent
 * later: it may have failed, or be damped.  So the old one waits until the
 * endpoint has acknowledged the new one, but at most stage_wait, since its own
 * change may be urgent.  A host that moves is rare, so waiting items simply look
 * every few milliseconds.
 *
 * This is known when a change is taken, and stands in the log of changes, so that a
 * dispatcher that starts anew waits as well.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/guc.h"
#include "delivery/handover.h"
#include "route/route_log.h"

struct MrbHandover
{
	MrbTick		until;
	int			n;
	MrbRouteEntry *takers[MRB_ROUTE_TAKERS];
};

/*
 * Wait for one more deployment; for more than a few it is not waited.
 */
void
mrb_handover_set(MrbItem *item, MrbRouteEntry *taker)
{
	MrbHandover *handover = item->handover;

	if (handover == NULL)
		item->handover = handover =
			MemoryContextAllocZero(TopMemoryContext, sizeof(MrbHandover));
	handover->until = mrb_timer_add_ms(mrb_timer_now(), mrb_stage_wait);
	for (int i = 0; i < handover->n; i++)
	{
		if (handover->takers[i] == taker)
			return;
	}
	if (handover->n == MRB_ROUTE_TAKERS)
		return;
	taker->users++;
	handover->takers[handover->n++] = taker;
}

/*
 * Whether one of the deployments is not acknowledged yet.
 */
bool
mrb_handover_waits(MrbItem *item)
{
	const MrbHandover *handover = item->handover;

	if (handover == NULL)
		return false;
	if (mrb_timer_now() < handover->until)
	{
		for (int i = 0; i < handover->n; i++)
		{
			if (mrb_item_is_pending(item->endpoint, handover->takers[i]))
				return true;
		}
	}
	mrb_handover_clear(item);
	return false;
}

/*
 * Forget what the item waits for.
 */
void
mrb_handover_clear(MrbItem *item)
{
	MrbHandover *handover = item->handover;

	if (handover == NULL)
		return;
	item->handover = NULL;
	for (int i = 0; i < handover->n; i++)
	{
		handover->takers[i]->users--;
		mrb_route_book_release(handover->takers[i]);
	}
	pfree(handover);
}
