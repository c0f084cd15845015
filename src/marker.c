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
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "adapter_judge.h"
#include "breaker.h"
#include "health.h"
#include "marker.h"
#include "queue.h"
#include "resync.h"

/* What was acknowledged is verified this soon. */
#define VERIFY_MS 1000

/* Lower than every epoch. */
#define LOWEST_MARKER 1

static void tick(MrbTimer *timer);
static void read_marker(MrbEndpoint *endpoint);
static void write_first_marker(MrbEndpoint *endpoint);
static void write_marker(MrbEndpoint *endpoint, int64 epoch);
static void send_marker(MrbEndpoint *endpoint, const MrbCall *call,
						int64 epoch, MrbSendDone done);
static void was_read(MrbSend *send, const MrbHttpAnswer *answer);
static void was_written(MrbSend *send, const MrbHttpAnswer *answer);
static bool has_failed(MrbSend *send, const MrbHttpAnswer *answer);
static bool parse_marker(const MrbHttpAnswer *answer, int64 *epoch);

void
mrb_marker_watch(MrbEndpoint *endpoint)
{
	if (endpoint->adapter->volatile_table &&
		endpoint->vitals.health != MRB_HEALTH_MISCONFIGURED)
		mrb_timer_set(&endpoint->marker_timer, 0, tick);
}

void
mrb_marker_look(MrbEndpoint *endpoint)
{
	/* The next tick tries again. */
	if (!mrb_breaker_allows(endpoint))
		return;
	endpoint->marker_due =
		TimestampTzPlusMilliseconds(mrb_timer_now(),
									endpoint->adapter->marker_ms);
	if (endpoint->marker_epoch == 0)
		write_first_marker(endpoint);
	else
		read_marker(endpoint);
}

static void
tick(MrbTimer *timer)
{
	MrbEndpoint *endpoint = (MrbEndpoint *)
	((char *) timer - offsetof(MrbEndpoint, marker_timer));

	mrb_timer_set(timer, Min(endpoint->adapter->marker_ms, VERIFY_MS), tick);

	/*
	 * One that backs off is looked at when it is tried again, which is now if
	 * there was no room for it then.
	 */
	if (endpoint->vitals.health == MRB_HEALTH_BACKING_OFF)
	{
		if (endpoint->vitals.probing && endpoint->in_flight == 0)
			mrb_marker_look(endpoint);
		return;
	}
	if (endpoint->verified_epoch < mrb_queue_acked(endpoint) ||
		endpoint->marker_due <= mrb_timer_now())
		mrb_marker_look(endpoint);
}

static void
read_marker(MrbEndpoint *endpoint)
{
	send_marker(endpoint, endpoint->adapter->marker_read, 0, was_read);
}

static void
write_first_marker(MrbEndpoint *endpoint)
{
	write_marker(endpoint, endpoint->resync_after != NULL ? LOWEST_MARKER :
				 mrb_queue_newest());
}

static void
write_marker(MrbEndpoint *endpoint, int64 epoch)
{
	send_marker(endpoint, endpoint->adapter->marker_write, epoch,
				was_written);
}

static void
send_marker(MrbEndpoint *endpoint, const MrbCall *call, int64 epoch,
			MrbSendDone done)
{
	MrbSendNote note = {.call = call,.epoch = epoch,.done = done};
	MrbValues	values = {0};
	char text[	24];
	char		message_id[32];
	const char *problem;

	snprintf(text, sizeof(text), INT64_FORMAT, epoch);
	snprintf(message_id, sizeof(message_id), "marker@%s", text);
	values.text[MRB_VAR_EPOCH] = text;

	values.text[MRB_VAR_MESSAGE_ID] = message_id;
	if (mrb_send_start(endpoint, &values, &note, &problem) !=
		MRB_START_WRONG)
		return;
	endpoint->vitals.health = MRB_HEALTH_MISCONFIGURED;
	strlcpy(endpoint->vitals.last_error, problem, sizeof(endpoint->vitals.last_error));
	mrb_ledger_mark(endpoint);
}

/*
 * Compare what was read with what was written last.
 */
static void
was_read(MrbSend *send, const MrbHttpAnswer *answer)
{
	MrbEndpoint *endpoint = send->endpoint;
	int64		acked = mrb_queue_acked(endpoint);
	int64		found = 0;

	if (answer->status != 404 && has_failed(send, answer))
		return;
	mrb_stats_answered(&endpoint->public, true);
	mrb_health_success(endpoint, answer->status);
	if (endpoint->marker_epoch == 0)
		return;					/* lost already, found out by another reading */

	if (!parse_marker(answer, &found) || found < endpoint->marker_epoch)
	{
		ereport(LOG,
				(errmsg("endpoint \"%s\" has lost its table; it is told everything again",
						endpoint->name)));
		endpoint->marker_epoch = 0;
		endpoint->verified_epoch = 0;
		mrb_resync_begin(endpoint);
		write_first_marker(endpoint);
		return;
	}
	if (endpoint->verified_epoch != endpoint->marker_epoch)
	{
		endpoint->verified_epoch = endpoint->marker_epoch;
		mrb_ledger_mark(endpoint);
	}
	if (acked > endpoint->marker_epoch && endpoint->resync_after == NULL)
		write_marker(endpoint, acked);
}

static void
was_written(MrbSend *send, const MrbHttpAnswer *answer)
{
	MrbEndpoint *endpoint = send->endpoint;

	if (has_failed(send, answer))
		return;
	mrb_stats_answered(&endpoint->public, true);
	mrb_health_success(endpoint, answer->status);
	endpoint->marker_epoch = Max(endpoint->marker_epoch, send->note.epoch);
	mrb_ledger_mark(endpoint);
	read_marker(endpoint);
}

/*
 * Whatever a marker's request is answered, it is no message to be blamed.
 */
static bool
has_failed(MrbSend *send, const MrbHttpAnswer *answer)
{
	char	   *why;

	if (mrb_adapter_judge(send->endpoint->adapter, send->note.call, answer,
						  &why) == MRB_VERDICT_SUCCESS)
		return false;
	mrb_stats_answered(&send->endpoint->public, false);
	mrb_health_failure(send, answer, why);
	pfree(why);
	return true;
}

/*
 * The body is a number and nothing else but for a line end, or the number as
 * a JSON string.
 */
static bool
parse_marker(const MrbHttpAnswer *answer, int64 *epoch)
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
