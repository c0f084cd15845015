/*-------------------------------------------------------------------------
 *
 * health.c
 *	  Whether an endpoint takes anything at all, and when it is tried again.
 *
 * After a failure the endpoint is left alone for a random part of a time that
 * doubles with every failure in a row (or for as long as it asks for); then
 * one request at a time is tried until one succeeds.  Requests that were
 * under way when the first of them failed tell nothing new and do not count.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "utils/timestamp.h"

#include "health.h"
#include "queue.h"
#include "turns.h"

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 30000

/* However long an endpoint asks to be left alone. */
#define RETRY_AFTER_MAX_S 3600

static MrbHealthProbe probe_endpoint = NULL;

static int	backoff_ms(const MrbEndpoint *endpoint, int retry_after);
static void retry(MrbTimer *timer);

void
mrb_health_init(MrbHealthProbe probe)
{
	probe_endpoint = probe;
}

bool
mrb_health_may_send(const MrbEndpoint *endpoint)
{
	switch (endpoint->vitals.health)
	{
		case MRB_HEALTH_MISCONFIGURED:
			return false;
		case MRB_HEALTH_BACKING_OFF:
			return endpoint->vitals.probing && endpoint->in_flight == 0;
		case MRB_HEALTH_NEW:
		case MRB_HEALTH_HEALTHY:
			break;
	}
	return endpoint->in_flight < endpoint->adapter->max_in_flight;
}

void
mrb_health_success(MrbEndpoint *endpoint, int status)
{
	endpoint->vitals.successes++;
	endpoint->vitals.last_status = status;
	endpoint->vitals.last_success_at = mrb_timer_now();
	if (endpoint->vitals.health != MRB_HEALTH_HEALTHY)
	{
		endpoint->vitals.health = MRB_HEALTH_HEALTHY;
		endpoint->vitals.failures = 0;
		endpoint->vitals.probing = false;
		endpoint->vitals.next_try_at = 0;
		endpoint->vitals.round++;
		mrb_timer_cancel(&endpoint->vitals.retry_timer);
		mrb_ledger_mark(endpoint);
	}
	if (mrb_turns_has_work(endpoint))
		mrb_turns_activate(endpoint);
}

void
mrb_health_failure(const MrbSend *send, const MrbHttpAnswer *answer)
{
	MrbEndpoint *endpoint = send->endpoint;
	char	   *error = mrb_health_describe(answer);
	int			after_ms;

	endpoint->vitals.last_status = answer->status;
	endpoint->vitals.last_error_at = mrb_timer_now();
	strlcpy(endpoint->vitals.last_error, error, sizeof(endpoint->vitals.last_error));
	pfree(error);
	mrb_ledger_mark(endpoint);
	if (send->round != endpoint->vitals.round)
	{
		/* It may be what the next try has waited for. */
		if (endpoint->vitals.probing)
			mrb_turns_activate(endpoint);
		return;
	}

	endpoint->vitals.failures++;
	endpoint->vitals.round++;
	endpoint->vitals.health = MRB_HEALTH_BACKING_OFF;
	endpoint->vitals.probing = false;
	after_ms = backoff_ms(endpoint, answer->retry_after);
	endpoint->vitals.next_try_at = TimestampTzPlusMilliseconds(mrb_timer_now(),
															   after_ms);
	mrb_timer_set(&endpoint->vitals.retry_timer, after_ms, retry);
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
		case MRB_HEALTH_MISCONFIGURED:
			break;
	}
	return "misconfigured";
}

char *
mrb_health_describe(const MrbHttpAnswer *answer)
{
	if (answer->outcome != MRB_HTTP_ANSWERED)
		return pstrdup(answer->error);
	return psprintf("HTTP status %d", answer->status);
}

/*
 * Full jitter: anything from nothing to the whole.
 */
static int
backoff_ms(const MrbEndpoint *endpoint, int retry_after)
{
	int			whole = Min(BACKOFF_MAX_MS,
							BACKOFF_MIN_MS << Min(endpoint->vitals.failures - 1, 12));
	int			part = whole * pg_prng_double(&pg_global_prng_state);

	if (retry_after > 0)
		part = Max(part, Min(retry_after, RETRY_AFTER_MAX_S) * 1000);
	return part;
}

static void
retry(MrbTimer *timer)
{
	MrbEndpoint *endpoint = (MrbEndpoint *)
	((char *) timer - offsetof(MrbEndpoint, vitals.retry_timer));

	endpoint->vitals.probing = true;
	probe_endpoint(endpoint);
}
