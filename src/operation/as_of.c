/*-------------------------------------------------------------------------
 *
 * as_of.c
 *	  How old the answer of a standby is.
 *
 * A standby knows what it has replayed, and what its sender told it last: how
 * far WAL went, and at which time of the sender's clock.  If it has replayed
 * that much, its data is as of that time, even when nothing has been committed
 * for hours.  If not, its data is as of the newest commit that it has replayed.
 * The lag is the time that the sender's clock shows between that and its newest
 * message, and what has passed since by the own clock, so that clocks that differ
 * make no difference.
 *
 * Without a connection to a sender nobody knows what was committed since: the
 * lag is null.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "fmgr.h"
#include "replication/walreceiver.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "common/iso_time.h"
#include "common/jsonb_write.h"
#include "operation/as_of.h"

PG_FUNCTION_INFO_V1(mrb_stamp_as_of);

/* What the sender told last. */
typedef struct Sender
{
	bool		connected;
	XLogRecPtr	end;			/* of its WAL */
	TimestampTz sent;			/* by its clock */
	TimestampTz received;		/* by the own clock */
} Sender;

/* The members of as_of, in the order of jsonb. */
enum
{
	AS_OF_TIME,
	AS_OF_STANDBY,
	AS_OF_LAG_SECONDS,
	AS_OF_MEMBERS
};

static void read_sender(Sender *sender);
static TimestampTz decide(bool *known, double *lag);
static void set_key(JsonbPair *pair, const char *name);

/*
 * miosa.stamp_as_of(object): the object, on a standby with as_of
 */
Datum
mrb_stamp_as_of(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(mrb_as_of_stamp(PG_GETARG_JSONB_P(0)));
}

/*
 * Add how old the data is, on a standby.
 */
Jsonb *
mrb_as_of_stamp(Jsonb *object)
{
	JsonbPair	pairs[AS_OF_MEMBERS];
	JsonbPair	pair;
	JsonbValue	stamp = {.type = jbvObject};
	JsonbValue	outer = {.type = jbvObject};
	char		buffer[MRB_ISO_TIME_SIZE];
	TimestampTz as_of;
	char	   *time;
	bool		known;
	double		lag;

	if (!RecoveryInProgress())
		return object;
	as_of = decide(&known, &lag);
	set_key(&pairs[AS_OF_TIME], "time");
	pairs[AS_OF_TIME].value.type = jbvNull;
	time = as_of != 0 ? mrb_iso_time_write(as_of, buffer) : NULL;
	if (time != NULL)
	{
		pairs[AS_OF_TIME].value.type = jbvString;
		pairs[AS_OF_TIME].value.val.string.val = time;
		pairs[AS_OF_TIME].value.val.string.len = strlen(time);
	}
	set_key(&pairs[AS_OF_STANDBY], "standby");
	pairs[AS_OF_STANDBY].value.type = jbvBool;
	pairs[AS_OF_STANDBY].value.val.boolean = true;
	set_key(&pairs[AS_OF_LAG_SECONDS], "lag_seconds");
	pairs[AS_OF_LAG_SECONDS].value.type = jbvNull;
	if (known)
	{
		pairs[AS_OF_LAG_SECONDS].value.type = jbvNumeric;
		pairs[AS_OF_LAG_SECONDS].value.val.numeric =
			int64_div_fast_to_numeric((int64) (lag * 1000), 3);
	}
	stamp.val.object.nPairs = AS_OF_MEMBERS;
	stamp.val.object.pairs = pairs;
	set_key(&pair, "as_of");
	pair.value = stamp;
	outer.val.object.nPairs = 1;
	outer.val.object.pairs = &pair;
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat,
											  JsonbPGetDatum(object),
											  JsonbPGetDatum(mrb_jsonb_write(&outer))));
}

/*
 * Whether a sender has told anything since the receiver was started.
 */
bool
mrb_as_of_connected(void)
{
	Sender		sender;

	read_sender(&sender);
	return sender.connected;
}

/*
 * Decide as of when the data is, 0 for unknown, and how many seconds ago that was
 * at most.  known: whether the lag is.
 */
static TimestampTz
decide(bool *known, double *lag)
{
	Sender		sender;
	TimestampTz as_of;

	/* Read before what is replayed, which can only grow. */
	read_sender(&sender);
	as_of = GetLatestXTime();
	*known = sender.connected;
	if (!sender.connected)
		return as_of;
	if (GetXLogReplayRecPtr(NULL) >= sender.end)
		as_of = sender.sent;
	*known = as_of != 0;
	if (*known)
	{
		TimestampTz now = GetCurrentTimestamp();
		int64		usecs = (sender.sent - as_of) + (now - sender.received);

		*lag = usecs > 0 ? usecs / 1e6 : 0;
	}
	return as_of;
}

/*
 * Read what the sender told last.  A receiver counts as streaming before it has
 * connected.  Until the first message both times are that of its start, and the
 * end of WAL is what an earlier sender told.
 */
static void
read_sender(Sender *sender)
{
	SpinLockAcquire(&WalRcv->mutex);
	sender->connected = WalRcv->walRcvState == WALRCV_STREAMING &&
		WalRcv->latestWalEnd != InvalidXLogRecPtr &&
		WalRcv->lastMsgSendTime != WalRcv->lastMsgReceiptTime;
	sender->end = WalRcv->latestWalEnd;
	sender->sent = WalRcv->lastMsgSendTime;
	sender->received = WalRcv->lastMsgReceiptTime;
	SpinLockRelease(&WalRcv->mutex);
}

/*
 * Set the name of a member.
 */
static void
set_key(JsonbPair *pair, const char *name)
{
	pair->key.type = jbvString;
	pair->key.val.string.val = unconstify(char *, name);
	pair->key.val.string.len = strlen(name);
	pair->order = 0;
}
