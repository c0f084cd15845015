/*-------------------------------------------------------------------------
 *
 * listeners.c
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

#include "utils/memutils.h"

#include "common/timer.h"
#include "common/worker_xact.h"
#include "notify/channel.h"
#include "notify/listeners.h"
#include "notify/payload.h"

/* More at once become one message. */
#define SINGLE_MAX 100

#define LOCK_MS 50
#define PAUSE_MS 1000

static MemoryContext waiting = NULL;
static char *payloads[SINGLE_MAX];
static int	npayloads = 0;
static int64 from_epoch = 0;	/* 0: nothing waits */
static int64 to_epoch = 0;
static bool single = true;		/* payloads holds all of it */
static bool skipped = false;	/* because the queue is half full */
static MrbTick not_before = 0;

static void send_all(void *arg);

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

	if (waiting == NULL)
		waiting = AllocSetContextCreate(TopMemoryContext,
										"miosa_rollback notifications",
										ALLOCSET_DEFAULT_SIZES);
	payload = mrb_payload_route(route->epoch, route->deployment_id,
								route->version_id);
	if (!mrb_channel_fits(payload))
	{
		single = false;
		return;
	}
	payloads[npayloads++] = MemoryContextStrdup(waiting, payload);
}

void
mrb_listeners_step(MrbRegistrySlot *slot)
{
	if (from_epoch == 0 || mrb_timer_now() < not_before)
		return;
	skipped = false;
	if (!mrb_worker_xact_try(send_all, NULL, NULL) || skipped)
	{
		single = false;
		not_before = mrb_tick_plus(mrb_timer_read(), PAUSE_MS);
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
	mrb_worker_xact_begin(MRB_SESSION_NOTIFY, LOCK_MS);
	if (!mrb_channel_has_room())
		skipped = true;
	else if (!single)
		mrb_channel_notify(mrb_payload_range(from_epoch, to_epoch));
	else
		for (int i = 0; i < npayloads; i++)
			mrb_channel_notify(payloads[i]);
	mrb_worker_xact_commit();
}
