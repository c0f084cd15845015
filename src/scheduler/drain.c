/*-------------------------------------------------------------------------
 *
 * drain.c
 *	  Draining of versions that are not needed.
 *
 * Instances are marked as stopping under the deployment's lock, before the
 * request to a scheduler is sent, and what is stopping never counts.  A rollback
 * to the version either comes before and keeps it, or finds no instances and
 * requests new ones.  settle.c decides when a version becomes draining, or
 * drained.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/guc.h"
#include "common/query.h"
#include "operation/enqueue.h"
#include "scheduler/drain.h"

PG_FUNCTION_INFO_V1(mrb_drain_due);
PG_FUNCTION_INFO_V1(mrb_begin_drain);

static MrbQuery lock_query = {
	.sql = "SELECT FROM miosa.runtime_instances i"
	" WHERE i.deployment_id = $1 AND i.version_id = $2"
	" AND NOT miosa.has_ended(i.state)"
	" FOR NO KEY UPDATE SKIP LOCKED",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
};

static MrbQuery count_query = {
	.sql = "SELECT count(*) FROM miosa.runtime_instances i"
	" WHERE i.deployment_id = $1 AND i.version_id = $2"
	" AND NOT miosa.has_ended(i.state)",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
};

static MrbQuery mark_query = {
	.sql = "UPDATE miosa.runtime_instances i"
	" SET state = 'stopping', updated_at = pg_catalog.clock_timestamp()"
	" WHERE i.deployment_id = $1 AND i.version_id = $2"
	" AND i.state <> 'stopping' AND NOT miosa.has_ended(i.state)",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
	.expected = MRB_QUERY_UPDATE,
};

static MrbQuery begin_query = {
	.sql = "UPDATE miosa.capacity c SET state = 'draining',"
	" since = pg_catalog.clock_timestamp(), asked_at = NULL,"
	" stop_asked = true, last_error = NULL, last_error_at = NULL"
	" WHERE c.deployment_id = $1 AND c.version_id = $2",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
	.expected = MRB_QUERY_UPDATE,
};

/* Finds an instance with a recent heartbeat. */
static MrbQuery running_query = {
	.sql = "SELECT FROM miosa.runtime_instances i"
	" WHERE i.deployment_id = $1 AND i.version_id = $2"
	" AND NOT miosa.has_ended(i.state)"
	" AND greatest(i.last_heartbeat_at, i.updated_at)"
	" > (SELECT miosa.heartbeat_horizon())"
	" LIMIT 1",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
};

/* A disabled scheduler counts as well: it must receive the request to stop. */
static MrbQuery end_query = {
	.sql = "UPDATE miosa.capacity c"
	" SET state = 'drained', since = pg_catalog.clock_timestamp()"
	" WHERE c.deployment_id = $1 AND c.version_id = $2"
	" AND c.state = 'draining'"
	" AND (c.asked_at IS NOT NULL OR NOT miosa.has_scheduler($1, true))",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
	.expected = MRB_QUERY_UPDATE,
};

static MrbQuery stopped_query = {
	.sql = "UPDATE miosa.runtime_instances i"
	" SET state = 'stopped', updated_at = pg_catalog.clock_timestamp()"
	" FROM (SELECT r.id FROM miosa.runtime_instances r"
	" WHERE r.deployment_id = $1 AND r.version_id = $2"
	" AND NOT miosa.has_ended(r.state)"
	" FOR NO KEY UPDATE SKIP LOCKED) gone"
	" WHERE i.deployment_id = $1 AND i.id = gone.id",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
	.expected = MRB_QUERY_UPDATE,
};

static bool lock_instances(Datum *version);

/*
 * miosa.drain_due(since)
 */
Datum
mrb_drain_due(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(mrb_drain_due_at(PG_GETARG_TIMESTAMPTZ(0)));
}

/*
 * miosa.begin_drain(deployment_id, version_id)
 */
Datum
mrb_begin_drain(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mrb_drain_begin(text_to_cstring(PG_GETARG_TEXT_PP(0)),
								   text_to_cstring(PG_GETARG_TEXT_PP(1))));
}

/*
 * The end of drain_delay; a negative delay has none.
 */
TimestampTz
mrb_drain_due_at(TimestampTz since)
{
	if (mrb_drain_delay < 0)
		return DT_NOEND;
	if (TIMESTAMP_NOT_FINITE(since))
		return since;
	return TimestampTzPlusMilliseconds(since, mrb_drain_delay);
}

/*
 * Mark the instances of an idle version as stopping, and request schedulers to
 * stop them.  Nothing is done if one of the instances is locked.
 */
bool
mrb_drain_begin(const char *deployment_id, const char *version_id)
{
	Datum		version[] = {
		CStringGetTextDatum(deployment_id),
		CStringGetTextDatum(version_id)
	};
	bool		locked;

	mrb_query_open();
	locked = lock_instances(version);
	if (locked)
	{
		(void) mrb_query_run(&mark_query, version, NULL);
		(void) mrb_query_run(&begin_query, version, NULL);
	}
	mrb_query_close();
	if (locked)
		(void) mrb_enqueue(deployment_id, "capacity", NULL);
	return locked;
}

/*
 * Note that a version is drained: the request to stop was acknowledged, or there
 * is no scheduler, and no instance has sent a heartbeat for heartbeat_timeout,
 * nor since that request.  What is left of the instances is gone.
 */
bool
mrb_drain_end(const char *deployment_id, const char *version_id)
{
	Datum		version[] = {
		CStringGetTextDatum(deployment_id),
		CStringGetTextDatum(version_id)
	};
	bool		ended;

	mrb_query_open();
	ended = mrb_query_run(&running_query, version, NULL) == 0 &&
		mrb_query_run(&end_query, version, NULL) > 0;
	if (ended)
		(void) mrb_query_run(&stopped_query, version, NULL);
	mrb_query_close();
	return ended;
}

/*
 * Lock all instances of a version that have not ended, without waiting: a
 * transaction of many heartbeats may have some of them and wait for this one.
 */
static bool
lock_instances(Datum *version)
{
	int64		locked = mrb_query_run(&lock_query, version, NULL);

	(void) mrb_query_run(&count_query, version, NULL);
	return locked >= mrb_query_int64(0, 1, 0);
}
