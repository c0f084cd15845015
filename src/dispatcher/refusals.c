/*-------------------------------------------------------------------------
 *
 * refusals.c
 *	  Writes refused calls into miosa.refusals.
 *
 * Refused calls do not wake the dispatcher: it looks for them every second,
 * which is also how long the same refusal is counted in one entry.  An entry
 * leaves the ring after the commit; its id keeps a process that was ended in
 * between from writing it twice.  A refusal that a hold has to count stays while
 * another transaction has locked the deployment.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "base/container.h"
#include "base/json_build.h"
#include "base/miosa_rollback.h"
#include "common/query.h"
#include "common/refusal_ring.h"
#include "common/worker_xact.h"
#include "dispatcher/refusals.h"

/* Refusals that one transaction writes. */
#define BATCH 256

/* Requests wait while a transaction waits for a lock. */
#define LOCK_MS 100

/* When the next step follows. */
#define PAUSE_MS 1000
#define MORE_MS 50

static MrbQuery write_query = {
	.sql = "SELECT miosa.write_refusals($1)",
	.nargs = 1,
	.argtypes = {JSONBOID},
};

/* One step. */
typedef struct Batch
{
	MrbRefusal *refusals;
	int			n;
	int			written;		/* the first ones, once the transaction has
								 * ended; the others have to wait */
} Batch;

static void run(void *arg);
static void set_aside(Batch *batch, Datum later);
static void put(StringInfo json, const MrbRefusal *refusal);
static const char *text_or_null(const char *text_value);
static void timer_fired(MrbTimer *fired);

/*
 * The first step is made at once.
 */
void
mrb_refusals_init(MrbRefusals *refusals)
{
	MemSet(refusals, 0, sizeof(MrbRefusals));
	refusals->context = AllocSetContextCreate(TopMemoryContext,
											  MRB_EXTENSION " refusals",
											  ALLOCSET_DEFAULT_SIZES);
}

/*
 * Make one step.  If it fails, the entries stay where they are.
 */
void
mrb_refusals_step(MrbRefusals *refusals)
{
	MemoryContext caller;
	Batch		batch;
	bool		written = true;

	if (refusals->waits)
		return;
	caller = MemoryContextSwitchTo(refusals->context);
	batch.refusals = palloc(BATCH * sizeof(MrbRefusal));
	batch.n = mrb_refusal_ring_take(batch.refusals, BATCH);
	MemoryContextSwitchTo(caller);
	if (batch.n > 0)
		written = mrb_worker_xact_try(run, &batch, NULL);
	if (batch.n > 0 && written)
		mrb_refusal_ring_remove(batch.refusals, batch.written);
	refusals->waits = true;
	mrb_timer_set(&refusals->timer,
				  written && batch.n == BATCH && batch.written == BATCH ? MORE_MS : PAUSE_MS,
				  timer_fired);
	MemoryContextReset(refusals->context);
}

/*
 * The transaction of a step.  The ring is as lost in a crash as a commit that was
 * not flushed.
 */
static void
run(void *arg)
{
	Batch	   *batch = arg;
	StringInfoData json;
	Datum		value;
	bool		isnull;

	mrb_worker_xact_begin(MRB_WORKER_XACT_ASYNC, LOCK_MS);
	mrb_query_open();
	initStringInfo(&json);
	mrb_json_build_array(&json, NULL);
	for (int i = 0; i < batch->n; i++)
		put(&json, &batch->refusals[i]);
	mrb_json_build_end_array(&json);
	value = DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
	mrb_query_run(&write_query, &value, NULL);
	set_aside(batch, mrb_query_datum(0, 1, &isnull));
	mrb_query_close();
	mrb_worker_xact_commit();
}

/*
 * Put those that have to wait behind the others.
 */
static void
set_aside(Batch *batch, Datum later)
{
	Datum	   *ids;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(later), INT8OID, sizeof(int64),
					  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &ids, NULL, &n);
	batch->written = batch->n;
	for (int i = 0; i < n; i++)
	{
		for (int k = 0; k < batch->written; k++)
		{
			if (batch->refusals[k].id == DatumGetInt64(ids[i]))
				batch->refusals[k] = batch->refusals[--batch->written];
		}
	}
}

/*
 * Append a refusal as miosa.write_refusals() takes it.
 */
static void
put(StringInfo json, const MrbRefusal *refusal)
{
	const MrbRefusalFields *fields = &refusal->fields;

	mrb_json_build_object(json, NULL);
	mrb_json_build_integer(json, "id", refusal->id);
	mrb_json_build_integer(json, "count", refusal->count);
	mrb_json_build_integer(json, "at", refusal->at);
	mrb_json_build_string(json, "condition",
						  mrb_errors_condition_name(fields->condition));
	mrb_json_build_integer(json, "function", fields->function);
	mrb_json_build_string(json, "action", text_or_null(fields->action));
	mrb_json_build_boolean(json, "acts", fields->acts);
	mrb_json_build_string(json, "deployment_id", text_or_null(fields->deployment_id));
	mrb_json_build_string(json, "version_id", text_or_null(fields->version_id));
	mrb_json_build_string(json, "idempotency_key", text_or_null(fields->key));
	mrb_json_build_string(json, "actor_type", fields->actor_type);
	mrb_json_build_string(json, "actor_id", fields->actor_id);
	mrb_json_build_string(json, "session_user_name", fields->session_user_name);
	mrb_json_build_string(json, "client_addr", text_or_null(fields->client_addr));
	mrb_json_build_end(json);
}

/*
 * A text; NULL for an empty one.
 */
static const char *
text_or_null(const char *text_value)
{
	return text_value[0] == '\0' ? NULL : text_value;
}

/*
 * The next step is due.
 */
static void
timer_fired(MrbTimer *fired)
{
	mrb_container(MrbRefusals, timer, fired)->waits = false;
}
