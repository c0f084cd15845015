/*-------------------------------------------------------------------------
 *
 * pace.c
 *	  How often: an endpoint is asked, a deployment is told, a failure is
 *	  tried again.
 *
 * An adapter with a rate has a token bucket for each of its endpoints: a full
 * bucket holds "burst" requests and fills with "rate" a second.
 *
 * An endpoint is told of one deployment twice at once at the most, then every
 * TELL_AGAIN_MS: what flips a thousand times in a second becomes less than ten
 * requests, and the last one is right because it is always the present route
 * that is sent.  A single change is never held up.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "common/pg_prng.h"

#include "pace.h"

#define TELL_AGAIN_MS 170

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 30000

static int	ms_until(MrbTick at);

int
mrb_pace_endpoint_wait(MrbEndpoint *endpoint)
{
	const MrbAdapter *adapter = endpoint->adapter;
	MrbTick		now = mrb_timer_now();
	double		seconds;

	if (adapter->rate <= 0)
		return 0;
	if (endpoint->quota.filled_at == 0)
		endpoint->quota.tokens = adapter->burst;
	seconds = (double) (now - endpoint->quota.filled_at) / USECS_PER_SEC;
	endpoint->quota.tokens = Min(adapter->burst,
								 endpoint->quota.tokens + seconds * adapter->rate);
	endpoint->quota.filled_at = now;
	if (endpoint->quota.tokens >= 1)
		return 0;
	return 1 + (int) Min((1 - endpoint->quota.tokens) / adapter->rate * 1000,
						 INT_MAX - 1);
}

void
mrb_pace_endpoint_sent(MrbEndpoint *endpoint)
{
	endpoint->quota.tokens -= 1;
}

int
mrb_pace_item_wait(const MrbItem *item)
{
	return ms_until(mrb_tick_plus(item->cool_at, -TELL_AGAIN_MS));
}

bool
mrb_pace_item_is_hot(const MrbItem *item)
{
	return item->cool_at > mrb_timer_now();
}

/*
 * Every telling heats the item up by the same time.
 */
void
mrb_pace_item_told(MrbItem *item)
{
	item->cool_at = mrb_tick_plus(Max(item->cool_at, mrb_timer_now()),
								  TELL_AGAIN_MS);
}

/*
 * Full jitter: anything from nothing to the whole, which doubles each time.
 */
int
mrb_pace_backoff(int failures)
{
	int			doubled = BACKOFF_MIN_MS << Min(Max(failures - 1, 0), 12);

	return Min(doubled, BACKOFF_MAX_MS) *
		pg_prng_double(&pg_global_prng_state);
}

static int
ms_until(MrbTick at)
{
	MrbTick		now = mrb_timer_now();

	return at <= now ? 0 : (int) ((at - now + 999) / 1000);
}
