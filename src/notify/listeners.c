/*-------------------------------------------------------------------------
 *
 * listeners.c
 *	  Notify the sessions that LISTEN for route changes.
 *
 * Notifications have a transaction of their own, after the requests of the pass
 * have been started: its commit takes a lock that the whole server shares, and
 * the queue can be full, and neither may delay a request.  If it fails, one
 * notification with the range of epochs is sent later, and listeners read the
 * range from the log.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "common/timer.h"
#include "common/worker_xact.h"
#include "notify/channel.h"
#include "notify/listeners.h"
#include "notify/payload.h"

/* More changes at once are sent as one range. */
#define SINGLE_MAX 100

#define LOCK_MS 50
#define PAUSE_MS 1000

static MemoryContext pending_context = NULL;
static char *payloads[SINGLE_MAX];
static int	npayloads = 0;
static int64 from_epoch = 0;	/* 0: nothing is pending */
static int64 to_epoch = 0;
static bool single = true;		/* payloads has every pending change */
static bool skipped = false;	/* the queue was half full */
static MrbTick not_before = 0;

static void send_all(void *arg);

/*
 * Add a route change to the pending notifications, as a payload of its own as long
 * as there are few.
 */
void
mrb_listeners_add(const MrbRoute *route)
{
	char	   *payload;

	if (from_epoch == 0)
		from_epoch = route->epoch;
	to_epoch = route->epoch;
	if (npayloads == SINGLE_MAX)
		single = false;
	if (!single)
		return;

	if (pending_context == NULL)
		pending_context = AllocSetContextCreate(TopMemoryContext,
												"miosa_rollback notifications",
												ALLOCSET_DEFAULT_SIZES);
	payload = mrb_payload_route(route->epoch, route->deployment_id,
								route->version_id);
	if (!mrb_channel_fits(payload))
	{
		single = false;
		return;
	}
	payloads[npayloads++] = MemoryContextStrdup(pending_context, payload);
}

/*
 * Send the pending notifications, unless an attempt failed a moment ago.
 */
void
mrb_listeners_step(MrbRegistrySlot *slot)
{
	if (from_epoch == 0 || mrb_timer_now() < not_before)
		return;
	skipped = false;
	if (!mrb_worker_xact_try(send_all, NULL, NULL) || skipped)
	{
		single = false;
		not_before = mrb_timer_add_ms(mrb_timer_read(), PAUSE_MS);
	}
	else
	{
		pg_atomic_fetch_add_u64(&slot->counters[MRB_COUNTER_NOTIFIED],
								single ? npayloads : 1);
		from_epoch = 0;
		single = true;
	}
	if (from_epoch == 0 || !single)
	{
		npayloads = 0;
		if (pending_context != NULL)
			MemoryContextReset(pending_context);
	}
}

/*
 * Send them in a transaction; sets skipped when the queue is half full.
 */
static void
send_all(void *arg)
{
	mrb_worker_xact_begin(MRB_WORKER_XACT_NOTIFY, LOCK_MS);
	if (!mrb_channel_has_room())
		skipped = true;
	else if (!single)
		mrb_channel_notify(mrb_payload_range(from_epoch, to_epoch));
	else
		for (int i = 0; i < npayloads; i++)
			mrb_channel_notify(payloads[i]);
	mrb_worker_xact_commit();
}
