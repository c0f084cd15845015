/*-------------------------------------------------------------------------
 *
 * poll_count.c
 *	  Counts of healthy instances that status polls return.
 *
 * The count of a scheduler is kept as that many rows of miosa.runtime_instances,
 * named after the endpoint, beside the instances that are reported by name.
 *
 * A count does not distinguish an instance that is to stop from one that serves.
 * So as many of the polled ones as are to stop count as stopping, until a poll
 * finds fewer or their heartbeats are too old.  A poll is a heartbeat of stopping
 * instances while the version is draining, and none once it is needed again.
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
#include "operation/apply.h"
#include "operation/cutover.h"
#include "operation/deployment_lock.h"
#include "operation/primary.h"
#include "scheduler/poll_count.h"

PG_FUNCTION_INFO_V1(mrb_take_poll);

/* The most instances that a poll may find. */
#define COUNT_MAX 100000

/*
 * Rows that a count makes, beyond the instances that the deployment should have:
 * a scheduler may be late in stopping others, but an answer that is wrong must
 * not fill the table.
 */
#define ROWS_MAX(desired) (2 * (desired) + 10)

/* A heartbeat is written once the last one is older than this. */
#define HEARTBEAT_MS 10000

/* Arguments of miosa.take_poll(). */
enum
{
	ARG_DEPLOYMENT,
	ARG_VERSION,
	ARG_ENDPOINT,
	ARG_HEALTHY,
	ARG_COUNT
};

/* An answer of an endpoint. */
typedef struct Poll
{
	Datum		deployment_id;	/* text, like the next two */
	Datum		version_id;
	Datum		endpoint;
	int			healthy;
} Poll;

/* The rows of a version, and those that a poll calls for. */
typedef struct Rows
{
	bool		draining;		/* the version is being drained */
	int			present;		/* healthy rows of the endpoint */
	int			stale;			/* those of them whose heartbeat is too old */
	int			leftover;		/* rows of the endpoint that are stopping */
	int			ending;			/* those of them that may still run */
	int			others;			/* instances reported otherwise that run */
	int			desired;		/* instances that the deployment should have */
	int			stopping;		/* how many of the leftover still run */
	int			wanted;			/* how many healthy rows there should be */
} Rows;

static MrbQuery kind_query = {
	.sql = "SELECT v.kind FROM miosa.versions v"
	" WHERE v.deployment_id = $1 AND v.id = $2",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
};

/* Columns of rows_query. */
enum
{
	ROWS_DRAINING = 1,
	ROWS_PRESENT,
	ROWS_STALE,
	ROWS_LEFTOVER,
	ROWS_ENDING,
	ROWS_OTHERS,
	ROWS_DESIRED,
};

/*
 * An instance that is stopping may still run until it has sent no heartbeat for
 * heartbeat_timeout ($4: there is one), else for a while after the request to
 * stop it (after $5).
 */
static MrbQuery rows_query = {
	.sql = "SELECT EXISTS (SELECT FROM miosa.capacity c"
	" WHERE c.deployment_id = $1 AND c.version_id = $2"
	" AND c.state = 'draining'),"
	" count(*) FILTER (WHERE r.own AND r.state = 'healthy')::integer,"
	" count(*) FILTER (WHERE r.own AND r.state = 'healthy'"
	" AND NOT r.fresh)::integer,"
	" count(*) FILTER (WHERE r.own AND r.state = 'stopping')::integer,"
	" count(*) FILTER (WHERE r.own AND r.state = 'stopping'"
	" AND r.ending)::integer,"
	" count(*) FILTER (WHERE NOT r.own AND CASE r.state"
	" WHEN 'healthy' THEN r.fresh ELSE r.ending END)::integer,"
	" (SELECT p.desired_replicas FROM miosa.deployments p WHERE p.id = $1)"
	" FROM (SELECT i.state, i.reported_by IS NOT DISTINCT FROM $3 AS own,"
	" coalesce(i.last_heartbeat_at, i.updated_at) > h.horizon AS fresh,"
	" CASE WHEN $4 THEN greatest(i.last_heartbeat_at, i.updated_at) > h.horizon"
	" ELSE i.updated_at > $5 END AS ending"
	" FROM miosa.runtime_instances i"
	" CROSS JOIN (SELECT miosa.heartbeat_horizon() AS horizon) h"
	" WHERE i.deployment_id = $1 AND i.version_id = $2"
	" AND i.state IN ('healthy', 'stopping')) r",
	.nargs = 5,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID, BOOLOID, TIMESTAMPTZOID},
};

/* Rows beyond $4 healthy and $5 stopping; the highest numbers go first. */
static MrbQuery surplus_query = {
	.sql = "UPDATE miosa.runtime_instances i SET state = 'stopped',"
	" last_heartbeat_at = pg_catalog.clock_timestamp(),"
	" updated_at = pg_catalog.clock_timestamp()"
	" FROM (SELECT r.id, r.state, row_number() OVER"
	" (PARTITION BY r.state ORDER BY length(r.id), r.id) AS place"
	" FROM miosa.runtime_instances r"
	" WHERE r.deployment_id = $1 AND r.version_id = $2"
	" AND r.reported_by = $3 AND r.state IN ('healthy', 'stopping')) o"
	" WHERE i.deployment_id = $1 AND i.id = o.id"
	" AND o.place > CASE o.state WHEN 'healthy' THEN $4 ELSE $5 END",
	.nargs = 5,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID, INT4OID, INT4OID},
	.expected = MRB_QUERY_UPDATE,
};

/*
 * Rows that are missing of $4 healthy, of which $5 are there: under the lowest
 * numbers that are free, or whose instance has ended.
 */
static MrbQuery missing_query = {
	.sql = "INSERT INTO miosa.runtime_instances AS i (deployment_id, id,"
	" tenant_id, version_id, release_id, state, last_heartbeat_at,"
	" reported_by)"
	" SELECT $1, n.id, p.tenant_id, $2, (SELECT r.id FROM miosa.releases r"
	" WHERE r.deployment_id = $1 AND r.deployment_version_id = $2),"
	" 'healthy', pg_catalog.clock_timestamp(), $3"
	" FROM miosa.deployments p"
	" CROSS JOIN (SELECT g.number,"
	" $3 || ':' || $2 || ':' || g.number AS id"
	" FROM generate_series(1, $4 + (SELECT count(*)::integer"
	" FROM miosa.runtime_instances r"
	" WHERE r.deployment_id = $1 AND r.version_id = $2)) g (number)) n"
	" LEFT JOIN miosa.runtime_instances o"
	" ON o.deployment_id = $1 AND o.id = n.id"
	" WHERE p.id = $1 AND (o.id IS NULL OR o.reported_by = $3"
	" AND o.version_id = $2 AND o.state IN ('stopped', 'failed', 'error'))"
	" ORDER BY n.number LIMIT greatest($4 - $5, 0)"
	" ON CONFLICT ON CONSTRAINT runtime_instances_pkey DO UPDATE"
	" SET state = 'healthy', release_id = EXCLUDED.release_id,"
	" error_message = NULL, last_heartbeat_at = EXCLUDED.last_heartbeat_at,"
	" updated_at = pg_catalog.clock_timestamp()",
	.nargs = 5,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID, INT4OID, INT4OID},
	.expected = MRB_QUERY_INSERT,
};

/* Rows with a heartbeat before $5, except those that another session locks. */
static MrbQuery heartbeat_query = {
	.sql = "UPDATE miosa.runtime_instances i"
	" SET last_heartbeat_at = pg_catalog.clock_timestamp()"
	" FROM (SELECT r.id FROM miosa.runtime_instances r"
	" WHERE r.deployment_id = $1 AND r.version_id = $2"
	" AND r.reported_by = $3"
	" AND (r.state = 'healthy' OR r.state = 'stopping' AND $4)"
	" AND coalesce(r.last_heartbeat_at, r.updated_at) < $5"
	" FOR NO KEY UPDATE SKIP LOCKED) polled"
	" WHERE i.deployment_id = $1 AND i.id = polled.id",
	.nargs = 5,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID, BOOLOID, TIMESTAMPTZOID},
	.expected = MRB_QUERY_UPDATE,
};

static bool runs_in_instances(const Poll *poll);
static void read_rows(const Poll *poll, Rows *rows);
static void judge(int healthy, Rows *rows);
static bool differs(const Rows *rows);
static void change_rows(const Poll *poll, const Rows *rows);
static void note_heartbeats(const Poll *poll, bool draining);
static TimestampTz ago(int64 ms);

/*
 * miosa.take_poll(deployment_id, version_id, endpoint, healthy)
 */
Datum
mrb_take_poll(PG_FUNCTION_ARGS)
{
	mrb_primary_require();
	for (int arg = 0; arg < ARG_COUNT; arg++)
		if (PG_ARGISNULL(arg))
			PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(mrb_poll_count_take(text_to_cstring(PG_GETARG_TEXT_PP(ARG_DEPLOYMENT)),
									   text_to_cstring(PG_GETARG_TEXT_PP(ARG_VERSION)),
									   text_to_cstring(PG_GETARG_TEXT_PP(ARG_ENDPOINT)),
									   PG_GETARG_INT32(ARG_HEALTHY)));
}

/*
 * Record a count.  The deployment's row is locked, without waiting, only if
 * the count changes something; otherwise the poll is a heartbeat.
 */
bool
mrb_poll_count_take(const char *deployment_id, const char *version_id,
					const char *endpoint, int healthy)
{
	Poll		poll = {
		.deployment_id = CStringGetTextDatum(deployment_id),
		.version_id = CStringGetTextDatum(version_id),
		.endpoint = CStringGetTextDatum(endpoint),
		.healthy = healthy,
	};
	Rows		rows;
	bool		changes;

	if (healthy < 0 || healthy > COUNT_MAX)
		return false;
	mrb_query_open();
	if (!runs_in_instances(&poll))
	{
		mrb_query_close();
		return false;
	}
	read_rows(&poll, &rows);
	changes = differs(&rows);
	if (changes)
	{
		if (!mrb_deployment_lock_try(deployment_id))
		{
			mrb_query_close();
			return false;
		}
		read_rows(&poll, &rows);
		change_rows(&poll, &rows);
	}
	note_heartbeats(&poll, rows.draining);
	mrb_query_close();
	if (changes)
		(void) mrb_apply_complete(deployment_id);
	return true;
}

/*
 * Whether the version exists and runs in instances.
 */
static bool
runs_in_instances(const Poll *poll)
{
	Datum		values[] = {poll->deployment_id, poll->version_id};

	return mrb_query_run(&kind_query, values, NULL) > 0 &&
		mrb_cutover_runs(mrb_query_text(0, 1));
}

/*
 * Count the rows of the version, and how many the poll calls for.
 */
static void
read_rows(const Poll *poll, Rows *rows)
{
	Datum		values[] = {
		poll->deployment_id,
		poll->version_id,
		poll->endpoint,
		BoolGetDatum(mrb_heartbeat_timeout > 0),
		TimestampTzGetDatum(ago(mrb_cutover_deadline))
	};

	(void) mrb_query_run(&rows_query, values, NULL);
	rows->draining = mrb_query_bool(0, ROWS_DRAINING);
	rows->present = mrb_query_int32(0, ROWS_PRESENT, 0);
	rows->stale = mrb_query_int32(0, ROWS_STALE, 0);
	rows->leftover = mrb_query_int32(0, ROWS_LEFTOVER, 0);
	rows->ending = mrb_query_int32(0, ROWS_ENDING, 0);
	rows->others = mrb_query_int32(0, ROWS_OTHERS, 0);
	rows->desired = mrb_query_int32(0, ROWS_DESIRED, 0);
	judge(poll->healthy, rows);
}

/*
 * Decide what a count of healthy instances means for the endpoint's rows.
 * Instances that are reported otherwise are a part of the count.  Of the rest,
 * those that were asked to stop come first, and the others serve.  While the
 * version is being drained, all of them are stopping.  No more rows are made
 * than the deployment may need.
 */
static void
judge(int healthy, Rows *rows)
{
	int			room = Max(healthy - rows->others, 0);

	rows->stopping = Min(rows->draining ? rows->leftover : rows->ending, room);
	rows->wanted = rows->draining ? 0 :
		Min(room - rows->stopping, ROWS_MAX(rows->desired));
}

/*
 * Whether there are other rows than the poll calls for, or a healthy one does
 * not count because its heartbeat is too old.
 */
static bool
differs(const Rows *rows)
{
	return rows->present != rows->wanted || rows->stale > 0 ||
		rows->leftover != rows->stopping;
}

/*
 * Make the endpoint's rows as many as the poll calls for.
 */
static void
change_rows(const Poll *poll, const Rows *rows)
{
	Datum		values[] = {
		poll->deployment_id,
		poll->version_id,
		poll->endpoint,
		Int32GetDatum(rows->wanted),
		Int32GetDatum(rows->stopping)
	};

	(void) mrb_query_run(&surplus_query, values, NULL);
	values[4] = Int32GetDatum(rows->present);
	(void) mrb_query_run(&missing_query, values, NULL);
}

/*
 * The poll is a heartbeat of the endpoint's rows: of those that serve, and of
 * those that are stopping while the version is being drained.  It is written
 * as rarely as the comparison with heartbeat_timeout permits.
 */
static void
note_heartbeats(const Poll *poll, bool draining)
{
	int			every = mrb_heartbeat_timeout > 0 ?
	Min(mrb_heartbeat_timeout / 4, HEARTBEAT_MS) : HEARTBEAT_MS;
	Datum		values[] = {
		poll->deployment_id,
		poll->version_id,
		poll->endpoint,
		BoolGetDatum(draining),
		TimestampTzGetDatum(ago(every))
	};

	(void) mrb_query_run(&heartbeat_query, values, NULL);
}

/*
 * Return the time so many milliseconds ago.
 */
static TimestampTz
ago(int64 ms)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), -ms);
}
