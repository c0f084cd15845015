/*-------------------------------------------------------------------------
 *
 * scale_result.c
 *	  What schedulers have answered, until it is written down.
 *
 * Rows that somebody has locked are tried again a little later; who has them
 * locked never waits for us.  What a poll has found may switch routes, so
 * what the deployment needs is read again in the same transaction.  Should
 * something be in the way, outcomes are written one by one, and one that
 * cannot be written at all is forgotten: the request or the poll that it comes
 * from is repeated anyway.
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
#include "scheduler/reconcile.h"
#include "scheduler/scale_result.h"

/* So many a transaction: requests wait for it. */
#define BATCH 50

/* Whoever locks our tables must not hold up requests. */
#define LOCK_MS 20
#define AGAIN_MS 200

typedef struct Outcome
{
	dlist_node	node;
	char	   *endpoint;
	char	   *deployment_id;
	char	   *version_id;
	MrbGoal		goal;
	int			healthy;		/* -1: it is no poll */
	char	   *error;			/* or NULL */
	TimestampTz at;
	bool		busy;			/* its rows are locked */
} Outcome;

/* What one transaction writes and reads. */
typedef struct Batch
{
	Outcome   **outcomes;
	int			n;
	char	  **ids;			/* deployments that were read again */
	int			nids;
	MrbCapacityRequest *needs;
	int			nneeds;
} Batch;

static MrbQuery note_query = {
	.sql = "SELECT b.deployment_id, b.version_id"
	" FROM miosa.note_asked($1, $2, $3, $4, $5) b",
	.nargs = 5,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
	TIMESTAMPTZARRAYOID},
};

static MrbQuery poll_query = {
	.sql = "SELECT miosa.take_poll($1, $2, $3, $4)",
	.nargs = 4,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID, INT4OID},
};

static dlist_head outcomes = DLIST_STATIC_INIT(outcomes);
static MrbTick not_before = 0;

static char *keep_text(const char *text);
static void gather(Batch *batch, int most);
static void write_batch(void *arg);
static void note_asked(Batch *batch);
static void find_busy(Batch *batch, const char *deployment_id,
					  const char *version_id);
static void take_poll(Outcome *outcome);
static void read_again(Batch *batch);
static void written(Batch *batch);
static void tell_task(const Outcome *outcome);
static void forget(Outcome *outcome);

void
mrb_scale_result_add(const MrbScaleEntry *want, const MrbScaleTask *task, int healthy,
					 const char *error)
{
	Outcome    *outcome;

	/* Of what is only polled there is no row; the endpoint has the error. */
	if (error != NULL && task->need.goal == MRB_GOAL_WATCH)
		return;
	outcome = MemoryContextAllocZero(TopMemoryContext, sizeof(Outcome));
	outcome->endpoint = keep_text(want->endpoint->name);
	outcome->deployment_id = keep_text(want->deployment_id);
	outcome->version_id = keep_text(task->need.version_id);
	outcome->goal = task->need.goal;
	outcome->healthy = healthy;
	outcome->error = keep_text(error);
	outcome->at = mrb_timer_wall();
	dlist_push_tail(&outcomes, &outcome->node);
}

void
mrb_scale_result_step(void)
{
	Batch		batch = {0};

	if (dlist_is_empty(&outcomes) || mrb_timer_now() < not_before)
		return;
	gather(&batch, BATCH);
	if (mrb_worker_xact_try(write_batch, &batch, NULL))
	{
		written(&batch);
		return;
	}
	not_before = mrb_tick_plus(mrb_timer_now(), AGAIN_MS);
	for (int i = 0; i < batch.n; i++)
	{
		Batch		one = {.outcomes = &batch.outcomes[i],.n = 1};

		if (mrb_worker_xact_try(write_batch, &one, NULL))
			written(&one);
		else
			forget(batch.outcomes[i]);
	}
}

long
mrb_scale_result_wait(long most)
{
	if (dlist_is_empty(&outcomes))
		return most;
	return Min(most, mrb_tick_ms(mrb_timer_read(), not_before));
}

static char *
keep_text(const char *text)
{
	return text !=NULL ? MemoryContextStrdup(TopMemoryContext, text) : NULL;
}

static void
gather(Batch *batch, int most)
{
	dlist_iter	iter;

	batch->outcomes = palloc(most * sizeof(Outcome *));
	dlist_foreach(iter, &outcomes)
	{
		if (batch->n == most)
			break;
		batch->outcomes[batch->n++] = dlist_container(Outcome, node, iter.cur);
	}
}

static void
write_batch(void *arg)
{
	Batch	   *batch = arg;

	mrb_worker_xact_begin(MRB_SESSION_RECORD, LOCK_MS);
	for (int i = 0; i < batch->n; i++)
		batch->outcomes[i]->busy = false;
	note_asked(batch);
	for (int i = 0; i < batch->n; i++)
		if (batch->outcomes[i]->healthy >= 0)
			take_poll(batch->outcomes[i]);
	read_again(batch);
	mrb_worker_xact_commit();
}

/*
 * When schedulers took requests, and why they did not.
 */
static void
note_asked(Batch *batch)
{
	static const char *const states[] = {
		[MRB_GOAL_WATCH] = "",
		[MRB_GOAL_UP] = "wanted",
		[MRB_GOAL_DOWN] = "draining",
	};
	static const Oid types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID,
	TIMESTAMPTZOID};
	Datum	   *columns[lengthof(types)];
	bool	   *taken = palloc(batch->n * sizeof(bool));
	Datum		args[lengthof(types)];
	int			n = 0;
	int			busy;

	for (size_t c = 0; c < lengthof(types); c++)
		columns[c] = palloc(batch->n * sizeof(Datum));
	for (int i = 0; i < batch->n; i++)
	{
		Outcome    *outcome = batch->outcomes[i];

		if (outcome->healthy >= 0)
			continue;
		columns[0][n] = CStringGetTextDatum(outcome->deployment_id);
		columns[1][n] = CStringGetTextDatum(outcome->version_id);
		columns[2][n] = CStringGetTextDatum(states[outcome->goal]);
		taken[n] = outcome->error == NULL;
		columns[3][n] = taken[n] ? (Datum) 0 :
			CStringGetTextDatum(outcome->error);
		columns[4][n++] = TimestampTzGetDatum(outcome->at);
	}
	if (n == 0)
		return;
	for (size_t c = 0; c < lengthof(types); c++)
		args[c] = mrb_array_make(columns[c], c == 3 ? taken : NULL, n,
								 types[c]);
	mrb_query_open();
	busy = mrb_query_run(&note_query, args, NULL);
	for (int i = 0; i < busy; i++)
		find_busy(batch, mrb_query_text(i, 1), mrb_query_text(i, 2));
	mrb_query_close();
}

static void
find_busy(Batch *batch, const char *deployment_id, const char *version_id)
{
	for (int i = 0; i < batch->n; i++)
	{
		Outcome    *outcome = batch->outcomes[i];

		if (outcome->healthy < 0 &&
			strcmp(outcome->deployment_id, deployment_id) == 0 &&
			strcmp(outcome->version_id, version_id) == 0)
			outcome->busy = true;
	}
}

/*
 * Somebody who has the deployment locked may be about to change what counts.
 */
static void
take_poll(Outcome *outcome)
{
	Datum		args[] = {
		CStringGetTextDatum(outcome->deployment_id),
		CStringGetTextDatum(outcome->version_id),
		CStringGetTextDatum(outcome->endpoint),
		Int32GetDatum(outcome->healthy)
	};

	mrb_query_open();
	mrb_query_run(&poll_query, args, NULL);
	outcome->busy = !mrb_query_bool(0, 1);
	mrb_query_close();
}

/*
 * A poll may have reached what was wanted.
 */
static void
read_again(Batch *batch)
{
	batch->nids = 0;
	batch->ids = palloc(batch->n * sizeof(char *));
	for (int i = 0; i < batch->n; i++)
		if (batch->outcomes[i]->healthy >= 0 &&
			batch->outcomes[i]->goal != MRB_GOAL_WATCH)
			batch->ids[batch->nids++] =
				pstrdup(batch->outcomes[i]->deployment_id);
	if (batch->nids > 0)
		batch->needs = mrb_capacity_request_read(batch->ids, batch->nids,
												 &batch->nneeds);
}

/*
 * What was locked is tried again: requests as they are, polls by another
 * poll.
 */
static void
written(Batch *batch)
{
	for (int i = 0; i < batch->n; i++)
	{
		Outcome    *outcome = batch->outcomes[i];

		tell_task(outcome);
		if (outcome->busy && outcome->healthy < 0)
			not_before = mrb_tick_plus(mrb_timer_now(), AGAIN_MS);
		else
			forget(outcome);
	}
	if (batch->nids > 0)
		mrb_reconcile_apply(batch->ids, batch->nids, batch->needs,
							batch->nneeds);
}

static void
tell_task(const Outcome *outcome)
{
	MrbEndpoint *endpoint = mrb_endpoint_list_find(outcome->endpoint);
	MrbScaleEntry *want = endpoint != NULL ?
	mrb_scale_queue_find(endpoint, outcome->deployment_id) : NULL;
	MrbScaleTask *task = want != NULL ?
	mrb_scale_queue_task(want, outcome->version_id) : NULL;

	if (task == NULL)
		return;
	if (outcome->healthy < 0 && !outcome->busy &&
		task->told_at == outcome->at)
		task->unwritten = false;
	if (outcome->healthy < 0 || !outcome->busy)
		return;
	task->poll_at = mrb_tick_plus(mrb_timer_now(),
								  endpoint->adapter->poll.interval_ms);
	if (want->state == MRB_WANT_RESTING)
		mrb_scale_queue_rest(want);
}

static void
forget(Outcome *outcome)
{
	dlist_delete(&outcome->node);
	pfree(outcome->endpoint);
	pfree(outcome->deployment_id);
	pfree(outcome->version_id);
	if (outcome->error != NULL)
		pfree(outcome->error);
	pfree(outcome);
}
