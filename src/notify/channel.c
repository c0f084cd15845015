/*-------------------------------------------------------------------------
 *
 * channel.c
 *	  The channel of NOTIFY that listeners hear of route changes on.
 *
 * A message is a hint, and must never fail what it is about: a full queue
 * fails the commit of every transaction that notifies, and so does a message
 * of 8000 bytes.  So both are looked at before.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/async.h"
#include "fmgr.h"
#include "utils/fmgroids.h"

#include "base/miosa_rollback.h"
#include "notify/channel.h"

/* Room is left for those who notify of something else. */
#define QUEUE_LIMIT 0.5

/* As in async.c. */
#define PAYLOAD_MAX 7999

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
				(errmsg("the notification queue is more than half full; route changes are not announced until it is not"),
				 errhint("A session that listens has been in a transaction for long; see pg_stat_activity.")));
	said = true;
	return false;
}

bool
mrb_channel_fits(const char *payload)
{
	return strlen(payload) <= PAYLOAD_MAX;
}

void
mrb_channel_notify(const char *payload)
{
	Async_Notify(MRB_CHANNEL, payload);
}
