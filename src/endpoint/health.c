/*-------------------------------------------------------------------------
 *
 * health.c
 *	  Whether an endpoint takes anything at all, and when it is tried again.
 *
 * After a failure the endpoint is left alone for a random part of a time that
 * doubles with every failure in a row (or for as long as it asks for); then
 * one request at a time is tried until one succeeds.  Requests that were
 * under way when the first of them failed tell nothing new and do not count.
 * A server that cannot be connected to is left alone as a whole; see
 * circuit_breaker.c.
 *
 * An endpoint that answers that it is gone may have been removed for good, or
 * by mistake.  It keeps its work and counts as not converged until a person
 * disables it, and it is tried again every gone_retry.
 *
 * An endpoint that has not answered yet gets one request at a time, and twice
 * as many after each success: a thousand that hang must not take up all that
 * can be in flight.
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

/* However long an endpoint asks to be left alone. */
#define RETRY_AFTER_MAX_S 3600

static MrbHealthProbe probe_endpoint = NULL;

static void back_off(MrbEndpoint *endpoint, int retry_after);
static void retry(MrbTimer *timer);
static void server_retry(MrbEndpoint *endpoint);

void
mrb_health_init(MemoryContext context, MrbHealthProbe probe)
{
	probe_endpoint = probe;
	mrb_circuit_breaker_init(context, server_retry);
}

bool
mrb_health_may_send(const MrbEndpoint *endpoint)
{
	switch (endpoint->vitals.health)
	{
		case MRB_HEALTH_MISCONFIGURED:
			return false;
		case MRB_HEALTH_BACKING_OFF:
		case MRB_HEALTH_GONE:
			return endpoint->vitals.probing && endpoint->requests.in_flight == 0 &&
				mrb_circuit_breaker_allows(endpoint);
		case MRB_HEALTH_NEW:
		case MRB_HEALTH_HEALTHY:
		case MRB_HEALTH_UNVERIFIED:
			break;
	}
	return endpoint->requests.in_flight < Max(endpoint->vitals.window, 1) &&
		mrb_circuit_breaker_allows(endpoint);
}

void
mrb_health_success(MrbEndpoint *endpoint, int status)
{
	endpoint->vitals.last_status = status;
	endpoint->vitals.last_success_at = mrb_timer_wall();
	endpoint->vitals.window = Min(Max(endpoint->vitals.window, 1) * 2,
								  endpoint->adapter->max_in_flight);

	/* A request that was under way when it went away says nothing. */
	if (endpoint->vitals.health == MRB_HEALTH_GONE &&
		!endpoint->vitals.probing)
		return;
	if (endpoint->vitals.health == MRB_HEALTH_GONE)
		ereport(LOG,
				(errmsg("endpoint \"%s\" takes requests again",
						endpoint->name)));
	if (endpoint->vitals.health != MRB_HEALTH_HEALTHY)
	{
		endpoint->vitals.health = MRB_HEALTH_HEALTHY;
		endpoint->vitals.failures = 0;
		endpoint->vitals.probing = false;
		endpoint->vitals.next_try_at = 0;
		endpoint->vitals.round++;
		mrb_timer_cancel(&endpoint->vitals.retry_timer);
		mrb_dirty_mark(endpoint);
	}
	if (mrb_run_queue_has_work(endpoint))
		mrb_run_queue_activate(endpoint);
}

void
mrb_health_failure(const MrbInflight *inflight, const MrbHttpAnswer *answer,
				   const char *why)
{
	MrbEndpoint *endpoint = inflight->endpoint;

	mrb_health_note_error(endpoint, answer->status, why);
	if (inflight->round != endpoint->vitals.round)
	{
		/* It may be what the next request has waited for. */
		mrb_run_queue_activate(endpoint);
		return;
	}

	endpoint->vitals.window = 1;
	endpoint->vitals.failures++;
	endpoint->vitals.round++;
	endpoint->vitals.health = MRB_HEALTH_BACKING_OFF;
	endpoint->vitals.probing = false;
	endpoint->vitals.unreachable = answer->outcome == MRB_HTTP_NOT_CONNECTED;
	if (endpoint->vitals.unreachable)
		mrb_circuit_breaker_failed(endpoint);
	back_off(endpoint, answer->retry_after);
}

void
mrb_health_gone(const MrbInflight *inflight, const MrbHttpAnswer *answer,
				const char *why)
{
	MrbEndpoint *endpoint = inflight->endpoint;
	MrbVitals  *vitals = &endpoint->vitals;
	bool		known = vitals->health == MRB_HEALTH_GONE;
	char		error[sizeof(vitals->last_error)];

	snprintf(error, sizeof(error), "it answers that it is gone (%s)", why);
	mrb_health_note_error(endpoint, answer->status, error);
	if (inflight->round != vitals->round)
	{
		/* It may be what the next request has waited for. */
		mrb_run_queue_activate(endpoint);
		return;
	}
	vitals->window = 1;
	vitals->failures++;
	vitals->round++;
	vitals->health = MRB_HEALTH_GONE;
	vitals->probing = false;
	vitals->unreachable = false;
	vitals->next_try_at = TimestampTzPlusMilliseconds(mrb_timer_wall(),
													  mrb_gone_retry);
	mrb_timer_set(&vitals->retry_timer, mrb_gone_retry, retry);
	if (!known)
		ereport(WARNING,
				(errmsg("endpoint \"%s\" answers that it is gone (%s)",
						endpoint->name, why),
				 errdetail("It does not count as converged and is tried again every miosa_rollback.gone_retry."),
				 errhint("%s", mrb_function_name_qualify(psprintf("If it is gone for good: SELECT miosa_set_endpoint('%s', false, 'gone');",
																  endpoint->name)))));
}

/*
 * What the message is blamed for says that the endpoint works, but only what
 * it takes says that it takes messages.
 */
void
mrb_health_note_answer(const MrbInflight *inflight, const MrbHttpAnswer *answer,
					   MrbVerdict verdict, const char *why)
{
	switch (verdict)
	{
		case MRB_VERDICT_SUCCESS:
			inflight->endpoint->vitals.taken++;
			mrb_health_success(inflight->endpoint, answer->status);
			break;
		case MRB_VERDICT_MESSAGE:
			mrb_health_success(inflight->endpoint, answer->status);
			break;
		case MRB_VERDICT_ENDPOINT:
			mrb_health_failure(inflight, answer, why);
			break;
		case MRB_VERDICT_GONE:
			mrb_health_gone(inflight, answer, why);
			break;
	}
}

/*
 * Show the error; the endpoint's health stays what it is.
 */
void
mrb_health_note_error(MrbEndpoint *endpoint, int status, const char *why)
{
	MrbVitals  *vitals = &endpoint->vitals;

	vitals->last_status = status;
	vitals->last_error_at = mrb_timer_wall();
	strlcpy(vitals->last_error, why, sizeof(vitals->last_error));
	mrb_dirty_mark(endpoint);
}

/*
 * Stop sending to the endpoint.  It may still be on its way into the list of
 * endpoints, so marking it dirty is up to the caller.
 */
void
mrb_health_misconfigured(MrbEndpoint *endpoint, const char *problem)
{
	endpoint->vitals.health = MRB_HEALTH_MISCONFIGURED;
	strlcpy(endpoint->vitals.last_error, problem,
			sizeof(endpoint->vitals.last_error));
}

/*
 * A change of settings does not end the history that users are shown.
 */
void
mrb_health_inherit(MrbEndpoint *endpoint, const MrbEndpoint *predecessor)
{
	MrbVitals  *vitals = &endpoint->vitals;
	const MrbVitals *past = &predecessor->vitals;

	vitals->last_success_at = past->last_success_at;
	vitals->last_status = past->last_status;
	if (vitals->health == MRB_HEALTH_MISCONFIGURED)
		return;
	vitals->last_error_at = past->last_error_at;
	strlcpy(vitals->last_error, past->last_error,
			sizeof(vitals->last_error));
}

MrbHealth
mrb_health_shown(const MrbEndpoint *endpoint)
{
	if (endpoint->vitals.health == MRB_HEALTH_HEALTHY &&
		endpoint->marker.reported)
		return MRB_HEALTH_UNVERIFIED;
	return endpoint->vitals.health;
}

const char *
mrb_health_name(MrbHealth health)
{
	switch (health)
	{
		case MRB_HEALTH_NEW:
			return "new";
		case MRB_HEALTH_HEALTHY:
			return "healthy";
		case MRB_HEALTH_BACKING_OFF:
			return "backing off";
		case MRB_HEALTH_GONE:
			return "gone";
		case MRB_HEALTH_UNVERIFIED:
			return "unverified";
		case MRB_HEALTH_MISCONFIGURED:
			break;
	}
	return "misconfigured";
}

/*
 * The server's circuit decides while it is not closed.
 */
static void
back_off(MrbEndpoint *endpoint, int retry_after)
{
	MrbVitals  *vitals = &endpoint->vitals;
	int			after_ms = mrb_backoff_full_jitter(MRB_ENDPOINT_RETRY_MIN_MS,
												   MRB_ENDPOINT_RETRY_MAX_MS,
												   vitals->failures);

	vitals->next_try_at = mrb_circuit_breaker_next_try(endpoint);
	if (vitals->unreachable && vitals->next_try_at != 0)
	{
		mrb_timer_cancel(&vitals->retry_timer);
		return;
	}
	if (retry_after > 0)
		after_ms = Max(after_ms, Min(retry_after, RETRY_AFTER_MAX_S) * 1000);
	vitals->next_try_at = TimestampTzPlusMilliseconds(mrb_timer_wall(),
													  after_ms);
	mrb_timer_set(&vitals->retry_timer, after_ms, retry);
}

static void
retry(MrbTimer *timer)
{
	MrbEndpoint *endpoint = mrb_container(MrbEndpoint, vitals.retry_timer, timer);

	endpoint->vitals.probing = true;
	probe_endpoint(endpoint);
}

/*
 * The server can be tried again: so can those that could not reach it, and
 * those that only waited, be it that their own time was over meanwhile.
 */
static void
server_retry(MrbEndpoint *endpoint)
{
	if (endpoint->vitals.health != MRB_HEALTH_BACKING_OFF)
	{
		if (mrb_run_queue_has_work(endpoint))
			mrb_run_queue_activate(endpoint);
		return;
	}
	if (!endpoint->vitals.unreachable && !endpoint->vitals.probing)
		return;
	mrb_timer_cancel(&endpoint->vitals.retry_timer);
	endpoint->vitals.probing = true;
	probe_endpoint(endpoint);
}
