/*-------------------------------------------------------------------------
 *
 * rate_limit.c
 *	  Limit the requests to an endpoint to the rate of its adapter.
 *
 * Each endpoint whose adapter has a rate has a token bucket: it holds "burst"
 * requests when full and fills with "rate" requests a second.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "base/container.h"
#include "endpoint/rate_limit.h"
#include "endpoint/run_queue.h"

static int	wait_ms(MrbEndpoint *endpoint);
static void wait_over(MrbTimer *timer);

/*
 * Check the bucket, and set the timer if it is empty.
 */
bool
mrb_rate_limit_allows(MrbEndpoint *endpoint)
{
	int			wait = wait_ms(endpoint);

	if (wait > 0)
		mrb_timer_set(&endpoint->rate.timer, wait, wait_over);
	return wait == 0;
}

/*
 * Fill the bucket for the time that has passed.  Return the number of
 * milliseconds until it holds a request.
 */
static int
wait_ms(MrbEndpoint *endpoint)
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

/*
 * The bucket holds a request now.
 */
static void
wait_over(MrbTimer *timer)
{
	mrb_run_queue_activate(mrb_container(MrbEndpoint, rate.timer, timer));
}
