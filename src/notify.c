/*-------------------------------------------------------------------------
 *
 * notify.c
 *	  NOTIFY, for edges that listen.
 *
 * A transaction of its own, after the requests of the pass have been started:
 * its commit takes a lock that the whole server shares, and its queue can be
 * full.  Neither may hold up a request.  What could not be sent is sent later
 * as one message "from..to"; listeners ask for the rest themselves.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/async.h"
#include "fmgr.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "json.h"
#include "miosa_rollback.h"
#include "notify.h"
#include "session.h"
#include "timer.h"

/* More at once become one message. */
#define SINGLE_MAX 100

#define LOCK_MS 50
#define PAUSE_MS 1000
#define QUEUE_LIMIT 0.5

static MemoryContext waiting = NULL;
static char *payloads[SINGLE_MAX];
static int	npayloads = 0;
static int64 from_epoch = 0;	/* 0: nothing waits */
static int64 to_epoch = 0;
static bool single = true;		/* payloads holds all of it */
static bool skipped = false;	/* because the queue is half full */
static TimestampTz not_before = 0;

static void send_all(void *arg);
static bool queue_too_full(void);

void
mrb_notify_add(const MrbRoute *route)
{
	char	   *payload;

	if (from_epoch == 0)
		from_epoch = route->epoch;
	to_epoch = route->epoch;
	if (npayloads == SINGLE_MAX)
		single = false;
	if (!single)
		return;

	if (waiting == NULL)
		waiting = AllocSetContextCreate(TopMemoryContext,
										"miosa_rollback notifications",
										ALLOCSET_DEFAULT_SIZES);
	payload = mrb_json_route_notice(route->epoch, route->deployment_id,
									route->version_id);
	payloads[npayloads++] = MemoryContextStrdup(waiting, payload);
}

void
mrb_notify_step(MrbSlot *slot)
{
	if (from_epoch == 0 || mrb_timer_now() < not_before)
		return;
	skipped = false;
	if (!mrb_session_try(send_all, NULL, NULL) || skipped)
	{
		single = false;
		not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												 PAUSE_MS);
	}
	else
	{
		pg_atomic_fetch_add_u64(&slot->counters[MRB_COUNT_NOTIFIED],
								single ? npayloads : 1);
		from_epoch = 0;
		single = true;
	}
	if (from_epoch == 0 || !single)
	{
		npayloads = 0;
		if (waiting != NULL)
			MemoryContextReset(waiting);
	}
}

static void
send_all(void *arg)
{
	mrb_session_begin(MRB_SESSION_NOTIFY, LOCK_MS);
	if (queue_too_full())
		skipped = true;
	else if (!single)
		Async_Notify(MRB_CHANNEL, mrb_json_route_range(from_epoch, to_epoch));
	else
		for (int i = 0; i < npayloads; i++)
			Async_Notify(MRB_CHANNEL, payloads[i]);
	mrb_session_commit();
}

/*
 * A full queue would make every NOTIFY of the server fail.
 */
static bool
queue_too_full(void)
{
	static bool said = false;
	double		usage =
	DatumGetFloat8(OidFunctionCall0(F_PG_NOTIFICATION_QUEUE_USAGE));

	if (usage <= QUEUE_LIMIT)
	{
		said = false;
		return false;
	}
	if (!said)
		ereport(LOG,
				(errmsg("the notification queue is more than half full; route changes are not announced until it is not"),
				 errhint("A session that listens has been in a transaction for long; see pg_stat_activity.")));
	said = true;
	return true;
}
