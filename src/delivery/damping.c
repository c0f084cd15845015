/*-------------------------------------------------------------------------
 *
 * damping.c
 *	  Damp deployments that change many times within a second.
 *
 * The route of a deployment is sent to an endpoint at most twice at once,
 * then every SEND_AGAIN_MS.  A deployment that flips a thousand times in a
 * second costs less than ten requests, and the last one is right, because the
 * present route is sent each time.  A single change is never delayed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "delivery/damping.h"

#define SEND_AGAIN_MS 170

static int	ms_until(MrbTick at);

/*
 * The first repetition within SEND_AGAIN_MS does not wait.
 */
int
mrb_damping_wait(const MrbItem *item)
{
	return ms_until(mrb_timer_add_ms(item->cool_at, -SEND_AGAIN_MS));
}

/*
 * Whether the next change would be sent too early if the item were freed.
 */
bool
mrb_damping_is_hot(const MrbItem *item)
{
	return item->cool_at > mrb_timer_now();
}

/*
 * Every request heats the item up by the same time.
 */
void
mrb_damping_sent(MrbItem *item)
{
	item->cool_at = mrb_timer_add_ms(Max(item->cool_at, mrb_timer_now()),
									 SEND_AGAIN_MS);
}

/*
 * Milliseconds from now until a time, rounded up; 0 when it has passed.
 */
static int
ms_until(MrbTick at)
{
	MrbTick		now = mrb_timer_now();

	return at <= now ? 0 : (int) ((at - now + 999) / 1000);
}
