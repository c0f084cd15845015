/*-------------------------------------------------------------------------
 *
 * alerts.c
 *	  Sends alerts to hooks.
 *
 * An alert that only notifies leaves a row in the outbox, so that the next pass
 * finds out.  The alerts get their numbers here and not from the transactions that
 * record them: these commit in another order, and a hook whose position is past a
 * number would never receive it.  feed.c sends them.
 *
 * An alert whose deployment was locked for too long has no event in the history.
 * It gets its note here, as soon as the lock is free.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "adapter/escape.h"
#include "base/container.h"
#include "common/query.h"
#include "common/worker_xact.h"
#include "dispatcher/alerts.h"

/* Requests wait while a transaction waits for a lock. */
#define LOCK_MS 100

/* When a step that failed is tried again. */
#define RETRY_MS 1000

/* Column of number_query. */
enum
{
	NUMBER_NEWEST = 1,
	NUMBER_LATE,
};

static MrbQuery begin_query = {
	.sql = "SELECT miosa.alert_begin($1)",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static MrbQuery number_query = {
	.sql = "SELECT miosa.alert_number(), miosa.alert_note_late()",
};

static MrbQuery next_query = {
	.sql = "SELECT n.number, miosa.iso(n.received_at), n.content, n.id"
	" FROM miosa.alert_next($1) n",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static MrbQuery sent_query = {
	.sql = "SELECT miosa.alert_sent($1, $2)",
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

static void timer_fired(MrbTimer *fired);
static bool receives(const MrbAdapter *adapter);
static void run(void *arg);
static void set_values(const MrbFeedMessage *message, MrbTemplateValues *values);

/*
 * The first step looks for alerts that a predecessor has left.
 */
void
mrb_alerts_init(MrbAlerts *alerts)
{
	MemSet(alerts, 0, sizeof(MrbAlerts));
	mrb_feed_init(&alerts->feed, "alerts");
	alerts->feed.receives = receives;
	alerts->feed.begin_query = &begin_query;
	alerts->feed.next_query = &next_query;
	alerts->feed.sent_query = &sent_query;
	alerts->feed.set_values = set_values;
	alerts->due = true;
}

/*
 * There are new alerts.
 */
void
mrb_alerts_note(MrbAlerts *alerts)
{
	alerts->due = true;
}

/*
 * Try again.
 */
static void
timer_fired(MrbTimer *fired)
{
	mrb_container(MrbAlerts, timer, fired)->due = true;
}

/*
 * Make one step.
 */
void
mrb_alerts_step(MrbAlerts *alerts)
{
	if (!alerts->due && !mrb_feed_has_work(&alerts->feed))
		return;
	alerts->late = false;
	if (mrb_worker_xact_try(run, alerts, NULL))
	{
		mrb_feed_send(&alerts->feed);
		if (alerts->late)
			mrb_timer_set(&alerts->timer, RETRY_MS, timer_fired);
	}
	else
	{
		alerts->due = false;
		alerts->feed.newest = 0;
		mrb_timer_set(&alerts->timer, RETRY_MS, timer_fired);
	}
	mrb_feed_reset(&alerts->feed);
}

/*
 * Whether endpoints of an adapter receive alerts.
 */
static bool
receives(const MrbAdapter *adapter)
{
	return adapter->alerts;
}

/*
 * The transaction of a step.  A hook that is new receives what gets a number from
 * now on.
 */
static void
run(void *arg)
{
	MrbAlerts  *alerts = arg;

	mrb_worker_xact_begin(MRB_WORKER_XACT_PASS, LOCK_MS);
	mrb_query_open();
	mrb_feed_begin(&alerts->feed);
	if (alerts->due)
	{
		mrb_query_run(&number_query, NULL, NULL);
		alerts->feed.newest = mrb_query_int64(0, NUMBER_NEWEST, 0);
		alerts->late = mrb_query_bool(0, NUMBER_LATE);
		alerts->due = false;
	}
	mrb_feed_read(&alerts->feed);
	mrb_query_close();
	mrb_worker_xact_commit();
}

/*
 * Set the values of an alert's request.
 */
static void
set_values(const MrbFeedMessage *message, MrbTemplateValues *values)
{
	values->text[MRB_VAR_MESSAGE_ID] = message->id;
	values->text[MRB_VAR_ALERT] =
		mrb_escape_json_ascii(pg_server_to_any(message->content,
											   strlen(message->content), PG_UTF8));
}
