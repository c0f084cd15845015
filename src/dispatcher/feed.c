/*-------------------------------------------------------------------------
 *
 * feed.c
 *	  Numbered messages that endpoints receive one at a time, in order.
 *
 * A feed is what is no route: heads of the audit trail, and alerts.  Its endpoints
 * receive nothing else.  A receiver's position is written after it has accepted a
 * message, so a crash repeats one and loses none.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "adapter/answer.h"
#include "dispatcher/feed.h"
#include "endpoint/endpoint_list.h"
#include "endpoint/health.h"
#include "endpoint/inflight.h"
#include "endpoint/rate_limit.h"

/* Attempts before an alert counts as undeliverable. */
#define REFUSED_MAX 8

/* Columns of a feed's next_query. */
enum
{
	NEXT_NUMBER = 1,
	NEXT_TIME,
	NEXT_CONTENT,
	NEXT_ID,
};

/* Column of a feed's begin_query. */
enum
{
	BEGIN_POSITION = 1,
};

static bool lacks(const MrbFeed *feed, MrbEndpoint *endpoint);
static void send_message(const MrbFeed *feed, const MrbFeedMessage *message);
static void handle_answer(MrbInflight *inflight, const MrbHttpAnswer *answer);
static bool passes_over(MrbEndpoint *endpoint, int64 number, const char *why);

/*
 * Create the context.
 */
void
mrb_feed_init(MrbFeed *feed, const char *name)
{
	MemSet(feed, 0, sizeof(MrbFeed));
	feed->context = AllocSetContextCreate(TopMemoryContext, "miosa_rollback feed",
										  ALLOCSET_DEFAULT_SIZES);
	MemoryContextSetIdentifier(feed->context, name);
}

/*
 * Whether there is anything to do for an endpoint.
 */
bool
mrb_feed_has_work(const MrbFeed *feed)
{
	dlist_iter	iter;

	mrb_endpoint_list_foreach(iter)
	{
		MrbEndpoint *endpoint = mrb_endpoint_list_current(iter);

		if (feed->receives(endpoint->adapter) &&
			(endpoint->numbered.sent > endpoint->numbered.recorded || lacks(feed, endpoint)))
			return true;
	}
	return false;
}

/*
 * Whether the endpoint lacks a message and may be sent it.
 */
static bool
lacks(const MrbFeed *feed, MrbEndpoint *endpoint)
{
	return endpoint->numbered.sent < feed->newest &&
		endpoint->requests.in_flight == 0 && mrb_health_may_send(endpoint) &&
		mrb_rate_limit_allows(endpoint);
}

/*
 * Read positions.
 */
void
mrb_feed_begin(MrbFeed *feed)
{
	dlist_iter	iter;

	mrb_endpoint_list_foreach(iter)
	{
		MrbEndpoint *endpoint = mrb_endpoint_list_current(iter);
		Datum		value;

		if (!feed->receives(endpoint->adapter) || endpoint->numbered.sent > 0)
			continue;
		value = CStringGetTextDatum(endpoint->name);
		mrb_query_run(feed->begin_query, &value, NULL);
		endpoint->numbered.sent = mrb_query_int64(0, BEGIN_POSITION, 0);
		endpoint->numbered.recorded = endpoint->numbered.sent;
	}
}

/*
 * Write positions and read messages.
 */
void
mrb_feed_read(MrbFeed *feed)
{
	dlist_iter	iter;

	mrb_endpoint_list_foreach(iter)
	{
		MrbEndpoint *endpoint = mrb_endpoint_list_current(iter);

		if (!feed->receives(endpoint->adapter))
			continue;
		mrb_feed_record(feed, endpoint->name, endpoint->numbered.sent,
						&endpoint->numbered.recorded);
		if (lacks(feed, endpoint))
			endpoint->numbered.sent = mrb_feed_read_next(feed, endpoint->name, endpoint);
	}
}

/*
 * Write the position of a receiver.
 */
void
mrb_feed_record(MrbFeed *feed, const char *receiver, int64 number, int64 *recorded)
{
	Datum		values[] = {CStringGetTextDatum(receiver), Int64GetDatum(number)};

	if (number <= *recorded)
		return;
	mrb_query_run(feed->sent_query, values, NULL);
	*recorded = number;
}

/*
 * Read the message that follows a receiver's position.
 */
int64
mrb_feed_read_next(MrbFeed *feed, const char *receiver, MrbEndpoint *endpoint)
{
	Datum		value = CStringGetTextDatum(receiver);
	MemoryContext caller;
	MrbFeedMessage *message;

	if (mrb_query_run(feed->next_query, &value, NULL) == 0)
		return feed->newest;
	caller = MemoryContextSwitchTo(feed->context);
	message = palloc0(sizeof(MrbFeedMessage));
	message->endpoint = endpoint;
	message->number = mrb_query_int64(0, NEXT_NUMBER, 0);
	message->time = pstrdup(mrb_query_text(0, NEXT_TIME));
	message->content = pstrdup(mrb_query_text(0, NEXT_CONTENT));
	message->id = pstrdup(mrb_query_text(0, NEXT_ID));
	feed->messages = lappend(feed->messages, message);
	MemoryContextSwitchTo(caller);
	return message->number - 1;
}

/*
 * Send what was read.
 */
void
mrb_feed_send(MrbFeed *feed)
{
	MemoryContext caller = MemoryContextSwitchTo(feed->context);
	ListCell   *cell;

	foreach(cell, feed->messages)
	{
		const MrbFeedMessage *message = lfirst(cell);

		if (message->endpoint != NULL)
			send_message(feed, message);
	}
	MemoryContextSwitchTo(caller);
}

/*
 * Forget what was read.
 */
void
mrb_feed_reset(MrbFeed *feed)
{
	feed->messages = NIL;
	MemoryContextReset(feed->context);
}

/*
 * Send a message to its endpoint.
 */
static void
send_message(const MrbFeed *feed, const MrbFeedMessage *message)
{
	MrbEndpoint *endpoint = message->endpoint;
	MrbInflightNote note = {
		.request = endpoint->adapter->request,
		.epoch = message->number,
		.retry = endpoint->health.failures > 0,
		.done = handle_answer,
	};
	MrbTemplateValues values = {0};
	const char *problem = NULL;

	values.text[MRB_VAR_CHANGED_AT] = message->time;
	values.text[MRB_VAR_EPOCH] = psprintf(INT64_FORMAT, message->number);
	feed->set_values(message, &values);
	if (mrb_inflight_start(endpoint, &values, &note, &problem) == MRB_START_WRONG)
		mrb_health_misconfigured(endpoint, problem);
}

/*
 * An endpoint has answered.  It must take each message, so a refusal of one is a
 * failure of the endpoint, until it is passed over.
 */
static void
handle_answer(MrbInflight *inflight, const MrbHttpAnswer *answer)
{
	MrbEndpoint *endpoint = inflight->endpoint;
	char	   *why;
	MrbVerdict	verdict = mrb_answer_judge(endpoint->adapter, inflight->note.request,
										   answer, &why);
	bool		passed = verdict == MRB_VERDICT_MESSAGE &&
	passes_over(endpoint, inflight->note.epoch, why);

	if (verdict == MRB_VERDICT_MESSAGE && !passed)
		verdict = MRB_VERDICT_ENDPOINT;
	mrb_endpoint_stats_answered(&endpoint->stats, verdict == MRB_VERDICT_SUCCESS);
	mrb_health_note_answer(inflight, answer, verdict, why);
	if (verdict == MRB_VERDICT_SUCCESS || passed)
	{
		endpoint->numbered.sent = inflight->note.epoch;
		endpoint->numbered.refused = 0;
	}
}

/*
 * Whether the endpoint never takes the message, and those behind it shall not
 * wait: alerts page people.  Heads of the audit trail are worth nothing with gaps.
 */
static bool
passes_over(MrbEndpoint *endpoint, int64 number, const char *why)
{
	if (!endpoint->adapter->alerts || ++endpoint->numbered.refused < REFUSED_MAX)
		return false;
	ereport(LOG,
			(errmsg("endpoint \"%s\" has refused alert number " INT64_FORMAT " %d times, it is not sent again",
					endpoint->name, number, endpoint->numbered.refused),
			 errdetail_internal("%s", why),
			 errhint("See the alert with SELECT * FROM miosa.alerts WHERE number = " INT64_FORMAT ";",
					 number)));
	return true;
}
