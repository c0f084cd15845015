/*-------------------------------------------------------------------------
 *
 * marker.c
 *	  Noticing that a router has lost its table.
 *
 * Some routers hold their table in memory and lose it when they are reloaded,
 * without telling anybody.  So beside the routes they are given a marker, an
 * entry whose value is an epoch, and it is read back again and again.  When
 * it is missing or lower than what was written, the table is not the one that
 * was told: everything is told again.  When it is there, what was
 * acknowledged before it was written is verified.
 *
 * A marker is only ever raised right after it was found in place, because a
 * marker written into a table that was just lost would hide the loss.  So a
 * table that is being told everything gets the lowest marker there is: should
 * this process end before it has written down that it has to, its successor
 * finds out again.
 *
 * An endpoint that does not return a marker that was just written, or that
 * loses it again and again (several processes behind one address), cannot be
 * verified.  It is then "unverified": routes are delivered as they change,
 * but it does not count as converged, and it is resynchronized with a
 * back-off.  A few readings in a row with the marker end that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/container.h"
#include "adapter/answer.h"
#include "base/function_name.h"
#include "common/backoff.h"
#include "delivery/marker.h"
#include "delivery/queue.h"
#include "delivery/resync.h"
#include "endpoint/circuit_breaker.h"
#include "endpoint/health.h"

/* What was acknowledged is verified this soon. */
#define VERIFY_MS 1000

/* Lower than every epoch. */
#define LOWEST_MARKER 1

/* Losses that are answered with a resync at once, until readings with the
 * marker have followed. */
#define LOSSES_MAX 3
#define HITS_MIN 6

/* Longest wait before the next resync. */
#define AGAIN_MAX_MS 300000

static void tick(MrbTimer *timer);
static void read_marker(MrbEndpoint *endpoint);
static void write_first_marker(MrbEndpoint *endpoint);
static void write_marker(MrbEndpoint *endpoint, int64 epoch);
static void send_marker(MrbEndpoint *endpoint, const MrbRequest *call,
						int64 epoch, MrbInflightDone done);
static void was_read(MrbInflight *inflight, const MrbHttpAnswer *answer);
static void was_written(MrbInflight *inflight, const MrbHttpAnswer *answer);
static bool has_failed(MrbInflight *inflight, const MrbHttpAnswer *answer);
static void not_found(MrbEndpoint *endpoint, const MrbHttpAnswer *answer);
static void unverified(MrbEndpoint *endpoint, const MrbHttpAnswer *answer);
static void found_again(MrbEndpoint *endpoint);

void
mrb_marker_watch(MrbEndpoint *endpoint)
{
	if (endpoint->adapter->volatile_table &&
		endpoint->vitals.health != MRB_HEALTH_MISCONFIGURED)
		mrb_timer_set(&endpoint->marker.timer, 0, tick);
}

void
mrb_marker_check(MrbEndpoint *endpoint)
{
	/* The next tick tries again. */
	if (!mrb_circuit_breaker_allows(endpoint))
		return;
	endpoint->marker.due =
		mrb_tick_plus(mrb_timer_now(), endpoint->adapter->marker_ms);
	if (endpoint->marker.epoch != 0)
	{
		read_marker(endpoint);
		return;
	}

	/* The table may be lost as well. */
	if (endpoint->marker.reported && endpoint->resync.after == NULL)
		mrb_resync_begin(endpoint);
	write_first_marker(endpoint);
}

static void
tick(MrbTimer *timer)
{
	MrbEndpoint *endpoint = mrb_container(MrbEndpoint, marker.timer, timer);

	mrb_timer_set(timer, Min(endpoint->adapter->marker_ms, VERIFY_MS), tick);

	/*
	 * One that backs off is looked at when it is tried again, which is now if
	 * there was no room for it then.
	 */
	if (endpoint->vitals.health == MRB_HEALTH_BACKING_OFF ||
		endpoint->vitals.health == MRB_HEALTH_GONE)
	{
		if (endpoint->vitals.probing && endpoint->requests.in_flight == 0)
			mrb_marker_check(endpoint);
		return;
	}
	if ((endpoint->marker.verified_epoch < mrb_queue_acked(endpoint) &&
		 !endpoint->marker.reported) ||
		endpoint->marker.due <= mrb_timer_now())
		mrb_marker_check(endpoint);
}

static void
read_marker(MrbEndpoint *endpoint)
{
	send_marker(endpoint, endpoint->adapter->marker_read, 0, was_read);
}

static void
write_first_marker(MrbEndpoint *endpoint)
{
	write_marker(endpoint, endpoint->resync.after != NULL ? LOWEST_MARKER :
				 mrb_queue_newest());
}

static void
write_marker(MrbEndpoint *endpoint, int64 epoch)
{
	send_marker(endpoint, endpoint->adapter->marker_write, epoch,
				was_written);
}

static void
send_marker(MrbEndpoint *endpoint, const MrbRequest *call, int64 epoch,
			MrbInflightDone done)
{
	MrbInflightNote note = {.call = call,.epoch = epoch,.done = done};
	MrbTemplateValues values = {0};
	char text[	24];
	char		message_id[32];
	const char *problem;

	snprintf(text, sizeof(text), INT64_FORMAT, epoch);
	snprintf(message_id, sizeof(message_id), "marker@%s", text);
	values.text[MRB_VAR_EPOCH] = text;

	values.text[MRB_VAR_MESSAGE_ID] = message_id;
	if (mrb_inflight_start(endpoint, &values, &note, &problem) !=
		MRB_START_WRONG)
		return;
	mrb_health_misconfigured(endpoint, problem);
	mrb_dirty_mark(endpoint);
}

/*
 * Compare what was read with what was written last.
 */
static void
was_read(MrbInflight *inflight, const MrbHttpAnswer *answer)
{
	MrbEndpoint *endpoint = inflight->endpoint;
	int64		acked = mrb_queue_acked(endpoint);
	int64		found = 0;

	if (answer->status != 404 && has_failed(inflight, answer))
		return;
	mrb_endpoint_stats_answered(&endpoint->stats, true);
	mrb_health_success(endpoint, answer->status);
	if (endpoint->marker.epoch == 0)
		return;					/* lost already, found out by another reading */

	if (!mrb_marker_parse(answer, &found) || found < endpoint->marker.epoch)
	{
		not_found(endpoint, answer);
		return;
	}
	endpoint->marker.unread = false;
	if (endpoint->marker.failures > 0)
		found_again(endpoint);
	if (endpoint->marker.verified_epoch != endpoint->marker.epoch)
	{
		endpoint->marker.verified_epoch = endpoint->marker.epoch;
		mrb_dirty_mark(endpoint);
	}
	if (acked > endpoint->marker.epoch && endpoint->resync.after == NULL)
		write_marker(endpoint, acked);
}

static void
was_written(MrbInflight *inflight, const MrbHttpAnswer *answer)
{
	MrbEndpoint *endpoint = inflight->endpoint;

	if (has_failed(inflight, answer))
		return;
	mrb_endpoint_stats_answered(&endpoint->stats, true);
	mrb_health_success(endpoint, answer->status);
	if (endpoint->marker.epoch == 0)
		endpoint->marker.unread = true;
	endpoint->marker.epoch = Max(endpoint->marker.epoch, inflight->note.epoch);
	mrb_dirty_mark(endpoint);
	read_marker(endpoint);
}

/*
 * The marker that was written is not there.
 */
static void
not_found(MrbEndpoint *endpoint, const MrbHttpAnswer *answer)
{
	bool		unread = endpoint->marker.unread;

	endpoint->marker.epoch = 0;
	endpoint->marker.verified_epoch = 0;
	endpoint->marker.hits = 0;
	endpoint->marker.failures++;
	mrb_dirty_mark(endpoint);
	if (unread || endpoint->marker.failures > LOSSES_MAX)
	{
		unverified(endpoint, answer);
		return;
	}
	ereport(LOG,
			(errmsg("endpoint \"%s\" lost its routing table, resynchronizing",
					endpoint->name)));
	mrb_resync_begin(endpoint);
	write_first_marker(endpoint);
}

/*
 * It cannot be verified now: try again later, and later each time.  It is
 * logged once, until the marker is there again.
 */
static void
unverified(MrbEndpoint *endpoint, const MrbHttpAnswer *answer)
{
	int			after_ms = mrb_backoff_delay(endpoint->adapter->marker_ms,
											 AGAIN_MAX_MS,
											 endpoint->marker.failures);
	char		error[sizeof(endpoint->vitals.last_error)];

	snprintf(error, sizeof(error),
			 "it does not return the marker that was written, so its table cannot be verified (HTTP status %d)",
			 answer->status);
	mrb_health_note_error(endpoint, answer->status, error);
	if (!endpoint->marker.reported)
		ereport(WARNING,
				(errmsg("endpoint \"%s\" does not return its marker",
						endpoint->name),
				 errdetail("Routes are delivered, but the endpoint does not count as converged, and it is resynchronized with a back-off."),
				 errhint("%s", mrb_function_name_qualify(psprintf("SELECT miosa_test_endpoint('%s');",
																  endpoint->name)))));
	endpoint->marker.reported = true;
	endpoint->marker.due =
		mrb_tick_plus(mrb_timer_now(), after_ms);
}

/*
 * The marker is there, after it was not.
 */
static void
found_again(MrbEndpoint *endpoint)
{
	if (++endpoint->marker.hits < HITS_MIN)
		return;
	endpoint->marker.failures = 0;
	endpoint->marker.hits = 0;
	if (endpoint->marker.reported)
		ereport(LOG,
				(errmsg("endpoint \"%s\" returns its marker again",
						endpoint->name)));
	endpoint->marker.reported = false;
	mrb_dirty_mark(endpoint);
}

/*
 * Whatever a marker's request is answered, it is no message to be blamed.
 */
static bool
has_failed(MrbInflight *inflight, const MrbHttpAnswer *answer)
{
	char	   *why;
	MrbVerdict	verdict = mrb_answer_judge(inflight->endpoint->adapter,
										   inflight->note.call, answer, &why);

	if (verdict == MRB_VERDICT_SUCCESS)
		return false;
	mrb_endpoint_stats_answered(&inflight->endpoint->stats, false);
	if (verdict == MRB_VERDICT_GONE)
		mrb_health_gone(inflight, answer, why);
	else
		mrb_health_failure(inflight, answer, why);
	pfree(why);
	return true;
}

/*
 * The body is a number and nothing else but for a line end, or the number as
 * a JSON string.
 */
bool
mrb_marker_parse(const MrbHttpAnswer *answer, int64 *epoch)
{
	const char *digits = answer->body;
	bool		quoted = digits[0] == '"';
	char	   *end;

	if (quoted)
		digits++;
	if (answer->status == 404 || digits[0] < '0' || digits[0] > '9')
		return false;
	errno = 0;
	*epoch = strtoll(digits, &end, 10);
	if (quoted && *end++ != '"')
		return false;
	return errno == 0 && strspn(end, "\r\n") == strlen(end);
}
