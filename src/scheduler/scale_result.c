/*-------------------------------------------------------------------------
 *
 * scale_result.c
 *	  Answers of schedulers, until they are written into tables.
 *
 * Rows that another session has locked are tried again a little later, so
 * that this worker never waits for them.  The count that a poll returns may
 * switch routes, so the requests of its deployment are read again in the same
 * transaction.  If a batch fails, its results are written one by one, and one
 * that fails alone is dropped: its request or poll is repeated anyway.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "common/array.h"
#include "common/query.h"
#include "common/worker_xact.h"
#include "endpoint/endpoint_list.h"
#include "scheduler/poll_count.h"
#include "scheduler/reconcile.h"
#include "scheduler/scale_result.h"

/* Results that one transaction writes; requests wait for it. */
#define BATCH 50

/* Requests wait while a transaction waits for a lock. */
#define LOCK_MS 20

/* What could not be written is tried again after this. */
#define RETRY_MS 200

/* An answer. */
typedef struct Result
{
	dlist_node	node;
	char	   *endpoint;
	char	   *deployment_id;
	char	   *version_id;
	MrbGoal		goal;
	int			healthy;		/* count returned by a poll; -1: no poll */
	char	   *error;			/* why the request failed, or NULL */
	TimestampTz at;				/* when it was answered */
	bool		busy;			/* its rows are locked */
} Result;

/* What one transaction writes and reads. */
typedef struct Batch
{
	Result	  **results;
	int			n;
	char	  **ids;			/* deployments that were read again */
	int			nids;
	MrbCapacityRequest *requests;
	int			nrequests;
} Batch;

/* Arguments of note_query, counted from 0. */
enum
{
	NOTE_DEPLOYMENTS,
	NOTE_VERSIONS,
	NOTE_STATES,
	NOTE_ERRORS,
	NOTE_TIMES,
	NOTE_ARGS
};

/* Columns of note_query: requests whose rows are locked. */
enum
{
	BUSY_DEPLOYMENT_ID = 1,
	BUSY_VERSION_ID,
};

static MrbQuery note_query = {
	.sql = "SELECT b.deployment_id, b.version_id"
	" FROM miosa.note_asked($1, $2, $3, $4, $5) b",
	.nargs = NOTE_ARGS,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
	TIMESTAMPTZARRAYOID},
};

static char *keep_string(const char *string);
static void collect(MrbScaling *scaling, Batch *batch, int most);
static void write_batch(void *arg);
static void record_requests(Batch *batch);
static void find_busy(Batch *batch, const char *deployment_id,
					  const char *version_id);
static void record_poll(Result *result);
static void reread_requests(Batch *batch);
static void batch_written(MrbScaling *scaling, Batch *batch);
static void update_task(MrbScaling *scaling, const Result *result);
static void drop_result(Result *result);

/*
 * Begin without answers.
 */
void
mrb_scale_result_init(MrbScaling *scaling)
{
	dlist_init(&scaling->results.list);
	scaling->results.not_before = 0;
}

/*
 * Keep the answer to a request or a poll until it is written.
 */
void
mrb_scale_result_add(const MrbScaleEntry *entry, const MrbScaleTask *task,
					 int healthy,
					 const char *error)
{
	Result	   *result;

	/* What is only polled has no row; the endpoint shows the error. */
	if (error != NULL && task->request.goal == MRB_GOAL_WATCH)
		return;
	result = MemoryContextAllocZero(TopMemoryContext, sizeof(Result));
	result->endpoint = keep_string(entry->endpoint->name);
	result->deployment_id = keep_string(entry->deployment_id);
	result->version_id = keep_string(task->request.version_id);
	result->goal = task->request.goal;
	result->healthy = healthy;
	result->error = keep_string(error);
	result->at = mrb_timer_wall();
	dlist_push_tail(&entry->scaling->results.list, &result->node);
}

/*
 * Write a batch of results.
 */
void
mrb_scale_result_step(MrbScaling *scaling)
{
	Batch		batch = {0};

	if (dlist_is_empty(&scaling->results.list) || mrb_timer_now() < scaling->results.not_before)
		return;
	collect(scaling, &batch, BATCH);
	if (mrb_worker_xact_try(write_batch, &batch, NULL))
	{
		batch_written(scaling, &batch);
		return;
	}
	scaling->results.not_before = mrb_timer_add_ms(mrb_timer_now(), RETRY_MS);
	for (int i = 0; i < batch.n; i++)
	{
		Batch		one = {.results = &batch.results[i],.n = 1};

		if (mrb_worker_xact_try(write_batch, &one, NULL))
			batch_written(scaling, &one);
		else
			drop_result(batch.results[i]);
	}
}

/*
 * Bound the wait of the loop by the time of the next batch.
 */
long
mrb_scale_result_wait(MrbScaling *scaling, long most)
{
	if (dlist_is_empty(&scaling->results.list))
		return most;
	return Min(most, mrb_timer_ms_between(mrb_timer_read(), scaling->results.not_before));
}

/*
 * Copy a string that may be NULL for as long as its result is kept.
 */
static char *
keep_string(const char *string)
{
	return string != NULL ? MemoryContextStrdup(TopMemoryContext, string) : NULL;
}

/*
 * Take up to most results into the batch; they stay in the list.
 */
static void
collect(MrbScaling *scaling, Batch *batch, int most)
{
	dlist_iter	iter;

	batch->results = palloc(most * sizeof(Result *));
	dlist_foreach(iter, &scaling->results.list)
	{
		if (batch->n == most)
			break;
		batch->results[batch->n++] = dlist_container(Result, node, iter.cur);
	}
}

/*
 * The transaction of a batch.
 */
static void
write_batch(void *arg)
{
	Batch	   *batch = arg;

	mrb_worker_xact_begin(MRB_WORKER_XACT_ASYNC, LOCK_MS);
	for (int i = 0; i < batch->n; i++)
		batch->results[i]->busy = false;
	record_requests(batch);
	for (int i = 0; i < batch->n; i++)
		if (batch->results[i]->healthy >= 0)
			record_poll(batch->results[i]);
	reread_requests(batch);
	mrb_worker_xact_commit();
}

/*
 * Write when schedulers acknowledged requests, and why they did not.
 */
static void
record_requests(Batch *batch)
{
	static const char *const states[] = {
		[MRB_GOAL_WATCH] = "",
		[MRB_GOAL_UP] = "wanted",
		[MRB_GOAL_DOWN] = "draining",
	};
	static const Oid types[NOTE_ARGS] = {
		[NOTE_DEPLOYMENTS] = TEXTOID,
		[NOTE_VERSIONS] = TEXTOID,
		[NOTE_STATES] = TEXTOID,
		[NOTE_ERRORS] = TEXTOID,
		[NOTE_TIMES] = TIMESTAMPTZOID,
	};
	Datum	   *elements[NOTE_ARGS];
	bool	   *acked = palloc(batch->n * sizeof(bool));
	Datum		args[NOTE_ARGS];
	int			n = 0;
	int			busy;

	for (int a = 0; a < NOTE_ARGS; a++)
		elements[a] = palloc(batch->n * sizeof(Datum));
	for (int i = 0; i < batch->n; i++)
	{
		Result	   *result = batch->results[i];

		if (result->healthy >= 0)
			continue;
		elements[NOTE_DEPLOYMENTS][n] = CStringGetTextDatum(result->deployment_id);
		elements[NOTE_VERSIONS][n] = CStringGetTextDatum(result->version_id);
		elements[NOTE_STATES][n] = CStringGetTextDatum(states[result->goal]);
		acked[n] = result->error == NULL;
		elements[NOTE_ERRORS][n] = acked[n] ? (Datum) 0 :
			CStringGetTextDatum(result->error);
		elements[NOTE_TIMES][n] = TimestampTzGetDatum(result->at);
		n++;
	}
	if (n == 0)
		return;
	for (int a = 0; a < NOTE_ARGS; a++)
		args[a] = mrb_array_make(elements[a],
								 a == NOTE_ERRORS ? acked : NULL, n, types[a]);
	mrb_query_open();
	busy = mrb_query_run(&note_query, args, NULL);
	for (int i = 0; i < busy; i++)
		find_busy(batch, mrb_query_text(i, BUSY_DEPLOYMENT_ID),
				  mrb_query_text(i, BUSY_VERSION_ID));
	mrb_query_close();
}

/*
 * Mark the results whose row is locked.
 */
static void
find_busy(Batch *batch, const char *deployment_id, const char *version_id)
{
	for (int i = 0; i < batch->n; i++)
	{
		Result	   *result = batch->results[i];

		if (result->healthy < 0 &&
			strcmp(result->deployment_id, deployment_id) == 0 &&
			strcmp(result->version_id, version_id) == 0)
			result->busy = true;
	}
}

/*
 * Write the count of a poll.  While another session has the deployment locked
 * it may be changing what the count decides, so the poll is then repeated.
 */
static void
record_poll(Result *result)
{
	result->busy = !mrb_poll_count_take(result->deployment_id,
										result->version_id, result->endpoint,
										result->healthy);
}

/*
 * Read the requests of polled deployments again: the count may have completed
 * them.
 */
static void
reread_requests(Batch *batch)
{
	batch->nids = 0;
	batch->ids = palloc(batch->n * sizeof(char *));
	for (int i = 0; i < batch->n; i++)
		if (batch->results[i]->healthy >= 0 &&
			batch->results[i]->goal != MRB_GOAL_WATCH)
			batch->ids[batch->nids++] =
				pstrdup(batch->results[i]->deployment_id);
	if (batch->nids > 0)
		batch->requests = mrb_capacity_request_read(batch->ids, batch->nids,
													&batch->nrequests);
}

/*
 * After the commit: drop what is written.  Of what was locked, requests are
 * written again later, and polls are repeated.
 */
static void
batch_written(MrbScaling *scaling, Batch *batch)
{
	for (int i = 0; i < batch->n; i++)
	{
		Result	   *result = batch->results[i];

		update_task(scaling, result);
		if (result->busy && result->healthy < 0)
			scaling->results.not_before = mrb_timer_add_ms(mrb_timer_now(), RETRY_MS);
		else
			drop_result(result);
	}
	if (batch->nids > 0)
		mrb_reconcile_apply(scaling, batch->ids, batch->nids, batch->requests,
							batch->nrequests);
}

/*
 * Update the task, if it still exists: its acknowledgement is written, or its
 * poll is to be repeated.
 */
static void
update_task(MrbScaling *scaling, const Result *result)
{
	MrbEndpoint *endpoint = mrb_endpoint_list_find(result->endpoint);
	MrbScaleEntry *entry = endpoint != NULL ?
	mrb_scale_queue_find(scaling, endpoint, result->deployment_id) : NULL;
	MrbScaleTask *task = entry != NULL ?
	mrb_scale_queue_task(entry, result->version_id) : NULL;

	if (task == NULL)
		return;
	if (result->healthy < 0 && !result->busy &&
		task->acked_at == result->at)
		task->unwritten = false;
	if (result->healthy < 0 || !result->busy)
		return;
	task->poll_at = mrb_timer_add_ms(mrb_timer_now(),
									 endpoint->adapter->poll.interval_ms);
	if (entry->state == MRB_SCALE_WAITING)
		mrb_scale_queue_schedule(entry);
}

/*
 * Free a result.
 */
static void
drop_result(Result *result)
{
	dlist_delete(&result->node);
	pfree(result->endpoint);
	pfree(result->deployment_id);
	pfree(result->version_id);
	if (result->error != NULL)
		pfree(result->error);
	pfree(result);
}
