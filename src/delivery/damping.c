/*-------------------------------------------------------------------------
 *
 * damping.c
 *	  Damp deployments that change many times within a second.
 *
 * The route of one deployment is sent to one endpoint twice at once at the
 * most, then every SEND_AGAIN_MS.  A deployment that flips a thousand times in
 * a second costs less than ten requests, and the last one is right, because
 * the present route is sent each time.  A single change is never held up.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "delivery/damping.h"

#define SEND_AGAIN_MS 170

static int	ms_until(MrbTick at);

/*
 * The first repetition is free.
 */
int
mrb_damping_wait(const MrbItem *item)
{
	return ms_until(mrb_tick_plus(item->cool_at, -SEND_AGAIN_MS));
}

/*
 * Whether forgetting the item would let its next change be sent too early.
 */
bool
mrb_damping_is_hot(const MrbItem *item)
{
	return item->cool_at > mrb_timer_now();
}

/*
 * Every sending heats the item up by the same time.
 */
void
mrb_damping_sent(MrbItem *item)
{
	item->cool_at = mrb_tick_plus(Max(item->cool_at, mrb_timer_now()),
								  SEND_AGAIN_MS);
}

/*
 * Milliseconds from now until then, rounded up; 0 when it has passed.
 */
static int
ms_until(MrbTick at)
{
	MrbTick		now = mrb_timer_now();

	return at <= now ? 0 : (int) ((at - now + 999) / 1000);
}
