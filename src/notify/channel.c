/*-------------------------------------------------------------------------
 *
 * channel.c
 *	  The NOTIFY channel of route changes.
 *
 * A notification is a hint, and must not fail the transaction that sends it: a
 * full queue fails its commit, and a payload of 8000 bytes is an error.  So both
 * are checked first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/async.h"
#include "fmgr.h"
#include "utils/fmgroids.h"

#include "base/miosa_rollback.h"
#include "notify/channel.h"

/* The rest of the queue is left to other channels. */
#define QUEUE_LIMIT 0.5

/* As in async.c. */
#define PAYLOAD_MAX 7999

/*
 * Whether the queue is at most half full.  The first time that it is not is
 * logged.
 */
bool
mrb_channel_has_room(void)
{
	static bool said = false;
	double		usage =
	DatumGetFloat8(OidFunctionCall0(F_PG_NOTIFICATION_QUEUE_USAGE));

	if (usage <= QUEUE_LIMIT)
	{
		said = false;
		return true;
	}
	if (!said)
		ereport(LOG,
				(errmsg("notification queue is more than half full, pausing notifications of route changes"),
				 errhint("End the session that listens in a long transaction; to find it, type SELECT pid, application_name, xact_start FROM pg_stat_activity WHERE xact_start IS NOT NULL ORDER BY xact_start;")));
	said = true;
	return false;
}

/*
 * Whether a payload is short enough for NOTIFY.
 */
bool
mrb_channel_fits(const char *payload)
{
	return strlen(payload) <= PAYLOAD_MAX;
}

/*
 * Send a notification when the transaction commits.
 */
void
mrb_channel_notify(const char *payload)
{
	Async_Notify(MRB_CHANNEL, payload);
}
