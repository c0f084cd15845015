/*-------------------------------------------------------------------------
 *
 * health.c
 *	  Health of an endpoint: whether requests may be sent, and when to retry.
 *
 * After a failure the endpoint backs off: for a random part of a delay that
 * doubles with every failure in a row, or as long as its Retry-After says.
 * Then one request at a time is sent until one succeeds.  Requests that were
 * in flight at the time of the first failure show nothing new and do not
 * count.  A server that cannot be connected to is left alone as a whole; see
 * circuit_breaker.c.
 *
 * An endpoint that responds that it is gone may have been removed for good,
 * or by mistake.  It keeps its pending changes and counts as not converged
 * until a user disables it, and it is retried every gone_retry.
 *
 * An endpoint that has not answered yet gets one request at a time, and twice
 * as many after each success: a thousand endpoints that hang must not use up
 * all requests that can be in flight.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/container.h"
#include "base/function_name.h"
#include "base/guc.h"
#include "common/backoff.h"
#include "endpoint/circuit_breaker.h"
#include "endpoint/dirty.h"
#include "endpoint/health.h"
#include "endpoint/run_queue.h"

static MrbHealthProbe probe_endpoint = NULL;

/* As status, views and rows have them. */
static const char *const health_names[] = {
	[MRB_HEALTH_NEW] = "new",
	[MRB_HEALTH_HEALTHY] = "healthy",
	[MRB_HEALTH_BACKING_OFF] = "backing off",
	[MRB_HEALTH_MISCONFIGURED] = "misconfigured",
	[MRB_HEALTH_GONE] = "gone",
	[MRB_HEALTH_UNVERIFIED] = "unverified",
};

static void back_off(MrbEndpoint *endpoint, int retry_after);
static void backoff_over(MrbTimer *timer);
static void server_retry(MrbEndpoint *endpoint);

/*
 * Set up the module and the circuit breakers.
 */
void
mrb_health_init(MemoryContext context, MrbHealthProbe probe)
{
	probe_endpoint = probe;
	mrb_circuit_breaker_init(context, server_retry);
}

/*
 * Whether health, window and circuit breaker allow one more request.  An
 * endpoint that is retried gets one request at a time.
 */
bool
mrb_health_may_send(const MrbEndpoint *endpoint)
{
	switch (endpoint->health.state)
	{
		case MRB_HEALTH_MISCONFIGURED:
			return false;
		case MRB_HEALTH_BACKING_OFF:
		case MRB_HEALTH_GONE:
			return endpoint->health.probing && endpoint->requests.in_flight == 0 &&
				mrb_circuit_breaker_allows(endpoint);
		case MRB_HEALTH_NEW:
		case MRB_HEALTH_HEALTHY:
		case MRB_HEALTH_UNVERIFIED:
			break;
	}
	return endpoint->requests.in_flight < Max(endpoint->health.window, 1) &&
		mrb_circuit_breaker_allows(endpoint);
}

/*
 * A request succeeded, or its failure was the message's fault: end the back-
 * off and double the window.
 */
void
mrb_health_succeeded(MrbEndpoint *endpoint, int status)
{
	endpoint->health.last_status = status;
	endpoint->health.last_success_at = mrb_timer_wall();
	endpoint->health.window = Min(Max(endpoint->health.window, 1) * 2,
								  endpoint->adapter->max_in_flight);

	/*
	 * A request from before the endpoint was gone, or said how long to wait,
	 * shows nothing.
	 */
	if ((endpoint->health.state == MRB_HEALTH_GONE ||
		 (endpoint->health.state == MRB_HEALTH_BACKING_OFF &&
		  endpoint->health.asked_to_wait)) &&
		!endpoint->health.probing)
		return;
	if (endpoint->health.state == MRB_HEALTH_GONE)
		ereport(LOG,
				(errmsg("endpoint \"%s\" accepts requests again",
						endpoint->name)));
	if (endpoint->health.state != MRB_HEALTH_HEALTHY)
	{
		endpoint->health.state = MRB_HEALTH_HEALTHY;
		endpoint->health.failures = 0;
		endpoint->health.probing = false;
		endpoint->health.next_try_at = 0;
		endpoint->health.round++;
		mrb_timer_cancel(&endpoint->health.retry_timer);
		mrb_dirty_mark(endpoint);
	}
	if (mrb_run_queue_has_work(endpoint))
		mrb_run_queue_activate(endpoint);
}

/*
 * A request failed by the endpoint's fault: back off.
 */
void
mrb_health_failed(const MrbInflight *inflight, const MrbHttpAnswer *answer,
				  const char *why)
{
	MrbEndpoint *endpoint = inflight->endpoint;

	mrb_health_note_error(endpoint, answer->status, why);
	if (inflight->round != endpoint->health.round)
	{
		/* A request may have waited for this one to end. */
		mrb_run_queue_activate(endpoint);
		return;
	}

	endpoint->health.window = 1;
	endpoint->health.failures++;
	endpoint->health.round++;
	endpoint->health.state = MRB_HEALTH_BACKING_OFF;
	endpoint->health.probing = false;
	endpoint->health.asked_to_wait = answer->retry_after > 0;
	endpoint->health.unreachable = answer->outcome == MRB_HTTP_NOT_CONNECTED;
	if (endpoint->health.unreachable)
		mrb_circuit_breaker_failed(endpoint);
	back_off(endpoint, answer->retry_after);
}

/*
 * The endpoint responds that it is gone: retry rarely, and log it once.
 */
void
mrb_health_gone(const MrbInflight *inflight, const MrbHttpAnswer *answer,
				const char *why)
{
	MrbEndpoint *endpoint = inflight->endpoint;
	MrbEndpointHealth *health = &endpoint->health;
	bool		known = health->state == MRB_HEALTH_GONE;
	char		error[sizeof(health->last_error)];

	snprintf(error, sizeof(error), "answers that it is gone (%s)", why);
	mrb_health_note_error(endpoint, answer->status, error);
	if (inflight->round != health->round)
	{
		/* A request may have waited for this one to end. */
		mrb_run_queue_activate(endpoint);
		return;
	}
	health->window = 1;
	health->failures++;
	health->round++;
	health->state = MRB_HEALTH_GONE;
	health->probing = false;
	health->unreachable = false;
	health->next_try_at = TimestampTzPlusMilliseconds(mrb_timer_wall(),
													  mrb_gone_retry);
	mrb_timer_set(&health->retry_timer, mrb_gone_retry, backoff_over);
	if (!known)
		ereport(WARNING,
				(errmsg("endpoint \"%s\" answers that it is gone (%s)",
						endpoint->name, why),
				 errdetail("The endpoint does not count as converged and is retried every miosa_rollback.gone_retry."),
				 errhint("%s", mrb_function_name_qualify(psprintf("If it is gone for good: SELECT miosa_set_endpoint('%s', false, 'gone');",
																  endpoint->name)))));
}

/*
 * Apply a verdict.  A rejected message shows that the endpoint works, but
 * only an accepted one counts as taken.
 */
void
mrb_health_note_answer(const MrbInflight *inflight, const MrbHttpAnswer *answer,
					   MrbVerdict verdict, const char *why)
{
	switch (verdict)
	{
		case MRB_VERDICT_SUCCESS:
			inflight->endpoint->health.taken++;
			mrb_health_succeeded(inflight->endpoint, answer->status);
			break;
		case MRB_VERDICT_MESSAGE:
			mrb_health_succeeded(inflight->endpoint, answer->status);
			break;
		case MRB_VERDICT_ENDPOINT:
			mrb_health_failed(inflight, answer, why);
			break;
		case MRB_VERDICT_GONE:
			mrb_health_gone(inflight, answer, why);
			break;
	}
}

/*
 * Show the error; the health of the endpoint does not change.
 */
void
mrb_health_note_error(MrbEndpoint *endpoint, int status, const char *why)
{
	MrbEndpointHealth *health = &endpoint->health;

	health->last_status = status;
	health->last_error_at = mrb_timer_wall();
	strlcpy(health->last_error, why, sizeof(health->last_error));
	mrb_dirty_mark(endpoint);
}

/*
 * Stop sending to the endpoint.  It may not be adopted yet, so marking it
 * dirty is left to the caller.
 */
void
mrb_health_misconfigured(MrbEndpoint *endpoint, const char *problem)
{
	endpoint->health.state = MRB_HEALTH_MISCONFIGURED;
	strlcpy(endpoint->health.last_error, problem,
			sizeof(endpoint->health.last_error));
}

/*
 * Keep the history that users are shown across a change of settings.  The
 * error of a misconfigured endpoint is the present one.
 */
void
mrb_health_inherit(MrbEndpoint *endpoint, const MrbEndpoint *predecessor)
{
	MrbEndpointHealth *health = &endpoint->health;
	const MrbEndpointHealth *past = &predecessor->health;

	health->last_success_at = past->last_success_at;
	health->last_status = past->last_status;
	if (health->state == MRB_HEALTH_MISCONFIGURED)
		return;
	health->last_error_at = past->last_error_at;
	strlcpy(health->last_error, past->last_error,
			sizeof(health->last_error));
}

/*
 * A healthy endpoint that does not return its marker is shown as unverified.
 */
MrbHealth
mrb_health_shown(const MrbEndpoint *endpoint)
{
	if (endpoint->health.state == MRB_HEALTH_HEALTHY &&
		endpoint->marker.reported)
		return MRB_HEALTH_UNVERIFIED;
	return endpoint->health.state;
}

/*
 * The health as status and views print it.
 */
const char *
mrb_health_name(MrbHealth health)
{
	return health_names[health];
}

/*
 * Find the health that has this name; a row may have one that was never ours.
 */
MrbHealth
mrb_health_find(const char *name)
{
	for (size_t i = 0; i < lengthof(health_names); i++)
		if (strcmp(health_names[i], name) == 0)
			return (MrbHealth) i;
	return MRB_HEALTH_NEW;
}

/*
 * Set the time of the next try.  While the circuit of the server is not
 * closed, the circuit breaker decides about endpoints that are unreachable.
 */
static void
back_off(MrbEndpoint *endpoint, int retry_after)
{
	MrbEndpointHealth *health = &endpoint->health;
	int			after_ms = mrb_backoff_full_jitter(MRB_ENDPOINT_RETRY_MIN_MS,
												   MRB_ENDPOINT_RETRY_MAX_MS,
												   health->failures);

	health->next_try_at = mrb_circuit_breaker_next_try(endpoint);
	if (health->unreachable && health->next_try_at != 0)
	{
		mrb_timer_cancel(&health->retry_timer);
		return;
	}
	if (retry_after > 0)
		after_ms = Max(after_ms, Min(retry_after, MRB_RETRY_AFTER_MAX_S) * 1000);
	health->next_try_at = TimestampTzPlusMilliseconds(mrb_timer_wall(),
													  after_ms);
	mrb_timer_set(&health->retry_timer, after_ms, backoff_over);
}

/*
 * The back-off is over.
 */
static void
backoff_over(MrbTimer *timer)
{
	MrbEndpoint *endpoint = mrb_container(MrbEndpoint, health.retry_timer, timer);

	endpoint->health.probing = true;
	probe_endpoint(endpoint);
}

/*
 * The server may be connected to again: retry the endpoints that could not
 * reach it, and those whose own back-off ended while the circuit was open.
 */
static void
server_retry(MrbEndpoint *endpoint)
{
	if (endpoint->health.state != MRB_HEALTH_BACKING_OFF)
	{
		if (mrb_run_queue_has_work(endpoint))
			mrb_run_queue_activate(endpoint);
		return;
	}
	if (!endpoint->health.unreachable && !endpoint->health.probing)
		return;
	mrb_timer_cancel(&endpoint->health.retry_timer);
	endpoint->health.probing = true;
	probe_endpoint(endpoint);
}
