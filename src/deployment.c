/*-------------------------------------------------------------------------
 *
 * deployment.c
 *	  Read and lock a deployment.
 *
 * Locking.  Everything that moves a deployment's pointer, and everything that
 * could take its target away (archiving, collecting, draining), first locks
 * the deployment's row FOR NO KEY UPDATE.  The lock is taken by the key
 * alone: a join or a further condition would be evaluated again after the
 * wait, on a newer row, and could lose it.  What was read before the lock is
 * a guess; who holds the lock reads again, in a new statement and so in a new
 * snapshot.
 *
 * The wait is bounded by lock_timeout and not by a subtransaction, which
 * would cost every operation its own transaction id.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "deployment.h"
#include "errors.h"
#include "guc.h"
#include "query.h"

/*
 * One look-up by keys only.  Columns of a version come in the order of
 * read_version().  A record of the key is reported: who finds a live one has
 * come late and must return its result, and an expired one must go before the
 * key can be used again.
 */
#define VERSION_COLUMNS(v, r) \
	v ".id, " v ".version_number, " v ".kind, " v ".state, " \
	v ".promoted_over, " \
	v ".metadata->>'migration_compatibility' = 'incompatible'" \
	" OR coalesce(" r ".metadata->>'migration_compatibility'" \
	" = 'incompatible', false), " \
	r ".id, " r ".storage_uri, " r ".sha256, " r ".verified_at, " \
	r ".collected_at, " r ".collected_by, " \
	"CASE WHEN " v ".kind <> 'static' THEN " \
	"(SELECT count(*)::integer FROM miosa.runtime_instances i" \
	" WHERE i.deployment_id = p.id AND i.version_id = " v ".id" \
	" AND i.state = 'healthy') END"
#define VERSION_COLUMN_COUNT 13

#define VERSION_JOIN(v, r, id) \
	" LEFT JOIN miosa.versions " v \
	" ON " v ".deployment_id = p.id AND " v ".id = " id \
	" LEFT JOIN miosa.releases " r \
	" ON " r ".deployment_id = p.id AND " r ".deployment_version_id = " v ".id"

static MrbQuery look_query = {
	.sql = "SELECT p.id, p.tenant_id, p.state, p.desired_replicas,"
	" p.serving_version_id, p.seq, p.last_rollback_at,"
	" clock_timestamp() + n.idempotency_retention,"
	" k.expires_at > clock_timestamp(), k.expires_at <= clock_timestamp(), "
	VERSION_COLUMNS("a", "ar") ", "
	VERSION_COLUMNS("s", "sr") ", "
	VERSION_COLUMNS("t", "tr")
	" FROM miosa.deployments p"
	" JOIN miosa.tenants o ON o.id = p.tenant_id"
	" JOIN miosa.plans n ON n.name = o.plan"
	" LEFT JOIN miosa.idempotency_keys k"
	" ON k.deployment_id = p.id AND k.key = $3"
	VERSION_JOIN("a", "ar", "p.active_version_id")
	VERSION_JOIN("s", "sr", "coalesce(p.serving_version_id, p.active_version_id)")
	VERSION_JOIN("t", "tr", "$2")
	" WHERE p.id = $1",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID},
};

/* Does not wait: the row is either locked now or somebody else has it. */
static MrbQuery try_lock_query = {
	.sql = "SELECT 1 FROM miosa.deployments p WHERE p.id = $1"
	" FOR NO KEY UPDATE SKIP LOCKED",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static MrbQuery lock_query = {
	.sql = "SELECT 1 FROM miosa.deployments p WHERE p.id = $1"
	" FOR NO KEY UPDATE",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/*
 * Who holds the row: the transaction in the row's xmax, which holds the lock
 * on its own transaction id.  A shared xmax (several lockers) finds nobody.
 */
static MrbQuery blocker_query = {
	.sql = "SELECT pg_catalog.format('Process %s (%s) has held the row''s lock for %s s.', l.pid,"
	" CASE WHEN a.application_name <> '' THEN a.application_name"
	" ELSE coalesce(a.backend_type, 'unknown') END,"
	" coalesce(extract(epoch FROM clock_timestamp() - a.xact_start)::numeric(20,1), 0))"
	" FROM miosa.deployments p"
	" JOIN pg_catalog.pg_locks l ON l.locktype = 'transactionid'"
	" AND l.transactionid = p.xmax AND l.granted"
	" LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
	" WHERE p.id = $1",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* Edges that are told of a deployment; disabled ones are not. */
static MrbQuery edges_query = {
	.sql = "SELECT count(*)::integer FROM miosa.deployments p"
	" JOIN miosa.endpoints e ON e.enabled"
	" AND miosa.selects(e.selector, p.id, p.tenant_id, p.kind)"
	" JOIN miosa.adapters a ON a.name = e.adapter AND a.role = 'edge'"
	" WHERE p.id = $1",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static void read_version(MrbVersion *version, int column);
static void wait_for_lock(const char *id, Datum *values, const char *blocker);
pg_noreturn static void raise_busy(const char *id, const char *blocker);

/*
 * Read a deployment and a version of it in a new snapshot.
 */
MrbDeployment *
mrb_deployment_look(const char *id, const char *target_id, const char *key)
{
	Datum		values[3];
	bool		nulls[3] = {false, target_id == NULL, key == NULL};
	MrbDeployment *it = NULL;

	values[0] = CStringGetTextDatum(id);
	values[1] = target_id ? CStringGetTextDatum(target_id) : (Datum) 0;
	values[2] = key ? CStringGetTextDatum(key) : (Datum) 0;

	/* Allocated before SPI has a context of its own: it is the caller's. */
	it = palloc0(sizeof(MrbDeployment));
	mrb_query_open();
	if (mrb_query_run(&look_query, values, nulls) == 0)
	{
		pfree(it);
		it = NULL;
	}
	else
	{
		it->id = mrb_query_text(0, 1);
		it->tenant_id = mrb_query_text(0, 2);
		it->state = mrb_query_text(0, 3);
		it->desired_replicas = mrb_query_int32(0, 4, 1);
		it->serving_version_id = mrb_query_text(0, 5);
		it->seq = mrb_query_int64(0, 6, 0);
		it->last_rollback_at = mrb_query_timestamp(0, 7, 0);
		it->key_retained_until = mrb_query_timestamp(0, 8, 0);
		it->key_live = mrb_query_bool(0, 9);
		it->key_expired = mrb_query_bool(0, 10);
		read_version(&it->active, 11);
		read_version(&it->serving, 11 + VERSION_COLUMN_COUNT);
		read_version(&it->target, 11 + 2 * VERSION_COLUMN_COUNT);
	}
	mrb_query_close();
	return it;
}

/*
 * How many edges would be told.
 */
int
mrb_deployment_count_edges(const char *id)
{
	Datum		values[1];
	int			count;

	values[0] = CStringGetTextDatum(id);
	mrb_query_open();
	(void) mrb_query_run(&edges_query, values, NULL);
	count = mrb_query_int32(0, 1, 0);
	mrb_query_close();
	return count;
}

/*
 * Lock the deployment's row.  The first try does not wait, so an operation
 * that finds nobody in its way pays for nothing else; who has to wait first
 * notes whom it waits for, because after a time-out that can't be told.
 */
void
mrb_deployment_lock(const char *id)
{
	Datum		values[1];

	values[0] = CStringGetTextDatum(id);
	mrb_query_open();
	if (mrb_query_run(&try_lock_query, values, NULL) == 0)
	{
		char	   *blocker = NULL;

		if (mrb_query_run(&blocker_query, values, NULL) > 0)
			blocker = mrb_query_text(0, 1);
		wait_for_lock(id, values, blocker);
	}
	mrb_query_close();
}

/*
 * Read the columns of a version from the first row.
 */
static void
read_version(MrbVersion *version, int column)
{
	version->id = mrb_query_text(0, column);
	if (version->id == NULL)
		return;
	version->number = mrb_query_int32(0, column + 1, 0);
	version->kind = mrb_query_text(0, column + 2);
	version->state = mrb_query_text(0, column + 3);
	version->promoted_over = mrb_query_text(0, column + 4);
	version->incompatible = mrb_query_bool(0, column + 5);
	version->release_id = mrb_query_text(0, column + 6);
	version->storage_uri = mrb_query_text(0, column + 7);
	version->sha256 = mrb_query_text(0, column + 8);
	version->verified_at = mrb_query_timestamp(0, column + 9, 0);
	version->collected_at = mrb_query_timestamp(0, column + 10, 0);
	version->collected_by = mrb_query_text(0, column + 11);
	version->healthy = mrb_query_int32(0, column + 12, 0);
}

/*
 * Wait for the row, as long as lock_wait and the caller's lock_timeout allow.
 *
 * The time-out's error is replaced by ours and thrown on, never swallowed, so
 * that no subtransaction is needed to clean up after it.
 */
static void
wait_for_lock(const char *id, Datum *values, const char *blocker)
{
	MemoryContext context = CurrentMemoryContext;
	int			wait = mrb_lock_wait;
	int			nestlevel = NewGUCNestLevel();
	char		limit[32];

	if (LockTimeout > 0 && LockTimeout < wait)
		wait = LockTimeout;
	snprintf(limit, sizeof(limit), "%d", wait);
	(void) set_config_option("lock_timeout", limit, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	PG_TRY();
	{
		/* No row, if it was deleted while we waited: the next look says so. */
		(void) mrb_query_run(&lock_query, values, NULL);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
			PG_RE_THROW();
		FlushErrorState();
		raise_busy(id, blocker);
	}
	PG_END_TRY();
	AtEOXact_GUC(true, nestlevel);
}

/*
 * Say who is in the way.
 */
static void
raise_busy(const char *id, const char *blocker)
{
	mrb_raise(MRB_ERR_DEPLOYMENT_BUSY,
			  psprintf("deployment \"%s\" is busy with another operation", id),
			  blocker ? blocker : "Who holds the row's lock could not be seen.",
			  "Call again with the same arguments; to see who is in the way, type "
			  "SELECT pid, application_name, state, xact_start, query "
					   "FROM pg_stat_activity WHERE xact_start IS NOT NULL ORDER BY xact_start;");
}
