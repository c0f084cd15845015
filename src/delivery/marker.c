/*-------------------------------------------------------------------------
 *
 * marker.c
 *	  Detect that a router has lost its routing table.
 *
 * Some routers keep their table in memory and lose it, silently, when they
 * are reloaded.  So besides routes such an endpoint is given a marker, an
 * entry whose value is an epoch, which is read back at regular intervals.  If
 * the marker is missing, or lower than the one that was written, the table
 * was lost and the endpoint is resynchronized.  If it is there, everything
 * that was acknowledged before the marker was written is verified.
 *
 * The marker is only raised right after it was found in place, because a
 * marker that is written into a lost table would hide the loss.  During a
 * resync the table has the lowest marker: should the dispatcher end before it
 * has stored that the resync is needed, its successor detects the loss again.
 *
 * An endpoint that does not return a marker that was just written, or that
 * loses it repeatedly (several processes behind one address), cannot be
 * verified.  It is then "unverified": routes are delivered as they change,
 * but it does not count as converged, and it is resynchronized with a back-
 * off.  Several reads in a row that find the marker end this state.
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

/* Longest time until an acknowledged change is verified. */
#define VERIFY_MS 1000

/* A marker lower than every epoch. */
#define LOWEST_MARKER 1

/*
 * Number of losses after which resyncs back off, and of reads that find the
 * marker before losses are counted from zero.
 */
#define LOSSES_MAX 3
#define HITS_MIN 6

/* Longest back-off before the next resync. */
#define AGAIN_MAX_MS 300000

static void timer_fired(MrbTimer *timer);
static void read_marker(MrbEndpoint *endpoint);
static void write_first_marker(MrbEndpoint *endpoint);
static void write_marker(MrbEndpoint *endpoint, int64 epoch);
static void send_marker(MrbEndpoint *endpoint, const MrbRequest *request,
						int64 epoch, MrbInflightDone done);
static void read_done(MrbInflight *inflight, const MrbHttpAnswer *answer);
static void write_done(MrbInflight *inflight, const MrbHttpAnswer *answer);
static bool has_failed(MrbInflight *inflight, const MrbHttpAnswer *answer);
static void marker_lost(MrbEndpoint *endpoint, const MrbHttpAnswer *answer);
static void back_off(MrbEndpoint *endpoint, const MrbHttpAnswer *answer);
static void marker_found(MrbEndpoint *endpoint);

/*
 * Set the timer.  A misconfigured endpoint gets no requests.
 */
void
mrb_marker_watch(MrbEndpoint *endpoint)
{
	if (endpoint->adapter->volatile_table &&
		endpoint->health.state != MRB_HEALTH_MISCONFIGURED)
		mrb_timer_set(&endpoint->marker.timer, 0, timer_fired);
}

/*
 * Read the marker.  The first marker is written without a read; an unverified
 * endpoint is resynchronized before that.
 */
void
mrb_marker_check(MrbEndpoint *endpoint)
{
	/* The timer retries. */
	if (!mrb_circuit_breaker_allows(endpoint))
		return;
	endpoint->marker.due =
		mrb_timer_add_ms(mrb_timer_now(), endpoint->adapter->marker_ms);
	if (endpoint->marker.epoch != 0)
	{
		read_marker(endpoint);
		return;
	}

	/* The table may be lost, too. */
	if (endpoint->marker.reported && endpoint->resync.after == NULL)
		mrb_resync_begin(endpoint);
	write_first_marker(endpoint);
}

/*
 * Check the marker if it is due, or if an acknowledged change is not
 * verified.
 */
static void
timer_fired(MrbTimer *timer)
{
	MrbEndpoint *endpoint = mrb_container(MrbEndpoint, marker.timer, timer);

	mrb_timer_set(timer, Min(endpoint->adapter->marker_ms, VERIFY_MS), timer_fired);

	/*
	 * The marker of an endpoint that backs off is read when the endpoint is
	 * retried: now, if there was no room for the request then.
	 */
	if (endpoint->health.state == MRB_HEALTH_BACKING_OFF ||
		endpoint->health.state == MRB_HEALTH_GONE)
	{
		if (endpoint->health.probing && endpoint->requests.in_flight == 0)
			mrb_marker_check(endpoint);
		return;
	}
	if ((endpoint->marker.verified_epoch < mrb_queue_acked_epoch(endpoint) &&
		 !endpoint->marker.reported) ||
		endpoint->marker.due <= mrb_timer_now())
		mrb_marker_check(endpoint);
}

/*
 * Send a request to read the marker.
 */
static void
read_marker(MrbEndpoint *endpoint)
{
	send_marker(endpoint, endpoint->adapter->marker_read, 0, read_done);
}

/*
 * Write the marker of a table without one: the newest epoch, or the lowest
 * marker during a resync.
 */
static void
write_first_marker(MrbEndpoint *endpoint)
{
	write_marker(endpoint, endpoint->resync.after != NULL ? LOWEST_MARKER :
				 mrb_queue_newest_epoch());
}

/*
 * Send a request to write an epoch into the marker.
 */
static void
write_marker(MrbEndpoint *endpoint, int64 epoch)
{
	send_marker(endpoint, endpoint->adapter->marker_write, epoch,
				write_done);
}

/*
 * Start a request about the marker.  A full engine is tried again when
 * the timer fires.
 */
static void
send_marker(MrbEndpoint *endpoint, const MrbRequest *request, int64 epoch,
			MrbInflightDone done)
{
	MrbInflightNote note = {.request = request,.epoch = epoch,.done = done};
	MrbTemplateValues values = {0};
	char		epoch_text[24];
	char		message_id[32];
	const char *problem;

	snprintf(epoch_text, sizeof(epoch_text), INT64_FORMAT, epoch);
	snprintf(message_id, sizeof(message_id), "marker@%s", epoch_text);
	values.text[MRB_VAR_EPOCH] = epoch_text;
	values.text[MRB_VAR_MESSAGE_ID] = message_id;
	values.text[MRB_VAR_ORIGIN] = mrb_variable_origin();
	if (mrb_inflight_start(endpoint, &values, &note, &problem) !=
		MRB_START_WRONG)
		return;
	mrb_health_misconfigured(endpoint, problem);
	mrb_dirty_mark(endpoint);
}

/*
 * Compare the marker that was read with the one that was written last.
 */
static void
read_done(MrbInflight *inflight, const MrbHttpAnswer *answer)
{
	MrbEndpoint *endpoint = inflight->endpoint;
	int64		acked = mrb_queue_acked_epoch(endpoint);
	int64		found = 0;

	if (answer->status != 404 && has_failed(inflight, answer))
		return;
	mrb_endpoint_stats_answered(&endpoint->stats, true);
	mrb_health_succeeded(endpoint, answer->status);
	if (endpoint->marker.epoch == 0)
		return;					/* another read has detected the loss */

	if (!mrb_marker_parse(answer, &found) || found < endpoint->marker.epoch)
	{
		marker_lost(endpoint, answer);
		return;
	}
	endpoint->marker.unread = false;
	if (endpoint->marker.failures > 0)
		marker_found(endpoint);
	if (endpoint->marker.verified_epoch != endpoint->marker.epoch)
	{
		endpoint->marker.verified_epoch = endpoint->marker.epoch;
		mrb_dirty_mark(endpoint);
	}
	if (acked > endpoint->marker.epoch && endpoint->resync.after == NULL)
		write_marker(endpoint, acked);
}

/*
 * Remember the marker that was written, and read it back.
 */
static void
write_done(MrbInflight *inflight, const MrbHttpAnswer *answer)
{
	MrbEndpoint *endpoint = inflight->endpoint;

	if (has_failed(inflight, answer))
		return;
	mrb_endpoint_stats_answered(&endpoint->stats, true);
	mrb_health_succeeded(endpoint, answer->status);
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
marker_lost(MrbEndpoint *endpoint, const MrbHttpAnswer *answer)
{
	bool		unread = endpoint->marker.unread;

	endpoint->marker.epoch = 0;
	endpoint->marker.verified_epoch = 0;
	endpoint->marker.hits = 0;
	endpoint->marker.failures++;
	mrb_dirty_mark(endpoint);
	if (unread || endpoint->marker.failures > LOSSES_MAX)
	{
		back_off(endpoint, answer);
		return;
	}
	ereport(LOG,
			(errmsg("endpoint \"%s\" lost its routing table, resynchronizing",
					endpoint->name)));
	mrb_resync_begin(endpoint);
	write_first_marker(endpoint);
}

/*
 * The endpoint cannot be verified: read the marker later, and later each
 * time.  This is logged once, until the marker is found again.
 */
static void
back_off(MrbEndpoint *endpoint, const MrbHttpAnswer *answer)
{
	int			after_ms = mrb_backoff_delay(endpoint->adapter->marker_ms,
											 AGAIN_MAX_MS,
											 endpoint->marker.failures);
	char		error[sizeof(endpoint->health.last_error)];

	snprintf(error, sizeof(error),
			 "could not read back the marker that was written, so the routing table is not verified (HTTP status %d)",
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
		mrb_timer_add_ms(mrb_timer_now(), after_ms);
}

/*
 * Reads find the marker after a loss; enough of them end the back-off.
 */
static void
marker_found(MrbEndpoint *endpoint)
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
 * Apply the verdict on an answer.  A request about the marker has no item to
 * blame, so every failure counts against the endpoint.
 */
static bool
has_failed(MrbInflight *inflight, const MrbHttpAnswer *answer)
{
	char	   *why;
	MrbVerdict	verdict = mrb_answer_judge(inflight->endpoint->adapter,
										   inflight->note.request, answer, &why);

	if (verdict == MRB_VERDICT_SUCCESS)
		return false;
	mrb_endpoint_stats_answered(&inflight->endpoint->stats, false);
	if (verdict == MRB_VERDICT_GONE)
		mrb_health_gone(inflight, answer, why);
	else
		mrb_health_failed(inflight, answer, why);
	pfree(why);
	return true;
}

/*
 * The body must be a number, optionally in quotes as a JSON string, and may
 * end with a line end.
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
