/*-------------------------------------------------------------------------
 *
 * sweep.c
 *	  Deleting what has expired, when nobody else does.
 *
 * Little at a time, because deliveries wait meanwhile.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "query.h"
#include "session.h"
#include "sweep.h"
#include "timer.h"

#define BATCH 1000
#define LOCK_MS 100

/* How often it is looked, and when there was more than a batch. */
#define SWEEP_MS 60000
#define SWEEP_AGAIN_MS 200

static MrbQuery sweep_query = {
	.sql = "SELECT miosa.sweep($1)",
	.nargs = 1,
	.argtypes = {INT4OID},
};

static void sweep(void *arg);

void
mrb_sweep_step(void)
{
	static TimestampTz next = 0;
	int64		removed = 0;

	if (mrb_timer_now() < next)
		return;
	if (next != 0)
		(void) mrb_session_try(sweep, &removed, NULL);
	next = TimestampTzPlusMilliseconds(mrb_timer_now(),
									   removed < BATCH ? SWEEP_MS :
									   SWEEP_AGAIN_MS);
}

static void
sweep(void *arg)
{
	Datum		batch = Int32GetDatum(BATCH);

	mrb_session_begin(MRB_SESSION_RECORD, LOCK_MS);
	mrb_query_open();
	mrb_query_run(&sweep_query, &batch, NULL);
	*(int64 *) arg = mrb_query_int64(0, 1, 0);
	mrb_query_close();
	mrb_session_commit();
}
