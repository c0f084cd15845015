/*-------------------------------------------------------------------------
 *
 * rate_limit.c
 *	  Limit the requests to an endpoint to its adapter's rate.
 *
 * An adapter with a rate has a token bucket for each of its endpoints: a full
 * bucket holds "burst" requests and fills with "rate" a second.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "endpoint/rate_limit.h"

/*
 * Fill the bucket by the time that passed, and see whether it holds a request.
 */
int
mrb_rate_limit_wait(MrbEndpoint *endpoint)
{
	const MrbAdapter *adapter = endpoint->adapter;
	MrbTick		now = mrb_timer_now();
	double		seconds;

	if (adapter->rate <= 0)
		return 0;
	if (endpoint->rate.filled_at == 0)
		endpoint->rate.tokens = adapter->burst;
	seconds = (double) (now - endpoint->rate.filled_at) / USECS_PER_SEC;
	endpoint->rate.tokens = Min(adapter->burst,
								endpoint->rate.tokens + seconds * adapter->rate);
	endpoint->rate.filled_at = now;
	if (endpoint->rate.tokens >= 1)
		return 0;
	return 1 + (int) Min((1 - endpoint->rate.tokens) / adapter->rate * 1000,
						 INT_MAX - 1);
}

/*
 * Take a request out of the bucket.
 */
void
mrb_rate_limit_spend(MrbEndpoint *endpoint)
{
	endpoint->rate.tokens -= 1;
}
