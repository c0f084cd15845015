/*-------------------------------------------------------------------------
 *
 * pump.c
 *	  Starts requests: endpoints take turns, edges and schedulers alike.
 *
 * An endpoint starts one request when its turn comes, so that an endpoint with
 * much to send does not delay the others.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "delivery/sender.h"
#include "dispatcher/pump.h"
#include "endpoint/health.h"
#include "endpoint/rate_limit.h"
#include "endpoint/run_queue.h"
#include "scheduler/scale_sender.h"

/* Requests that one turn of the loop starts: those in flight move on, too. */
#define STARTS_PER_TURN 64

static bool may_start(MrbEndpoint *endpoint);

/*
 * Let endpoints start a request each, in turn, until STARTS_PER_TURN are
 * started, none has anything to send, or no more can be in flight.
 */
bool
mrb_pump_run(void)
{
	MrbEndpoint *endpoint;
	bool		full = false;
	int			started = 0;

	while (!full && started < STARTS_PER_TURN &&
		   (endpoint = mrb_run_queue_next()) != NULL)
	{
		if (endpoint->adapter->audit || endpoint->adapter->alerts)
			continue;			/* feed.c sends to it */
		if (!mrb_health_may_send(endpoint))
			continue;			/* an answer or a timer brings it back */
		if (!mrb_rate_limit_allows(endpoint))
			continue;			/* a timer brings it back */
		if (may_start(endpoint) &&
			(endpoint->adapter->scheduler ? mrb_scale_sender_start(endpoint, &full) :
			 mrb_sender_start(endpoint, &full)))
		{
			mrb_run_queue_activate(endpoint);
			started++;
		}
		else if (mrb_run_queue_has_work(endpoint))
			mrb_run_queue_defer(endpoint);	/* until more can be in flight */
	}
	mrb_run_queue_resume();
	return started == STARTS_PER_TURN;
}

/*
 * The last quarter of the requests that can be in flight is for endpoints that
 * have answered lately, so that all the others together cannot delay them.
 */
static bool
may_start(MrbEndpoint *endpoint)
{
	return endpoint->health.window > 1 ||
		mrb_inflight_in_flight() < mrb_inflight_capacity() * 3 / 4;
}
