/*-------------------------------------------------------------------------
 *
 * endpoint_state.c
 *	  The rows of miosa.endpoint_state: how far endpoints have come.
 *
 * What an endpoint's position passes without delivering it is written in the
 * same transaction: deployments that the endpoint rejects, and purges to
 * repeat.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "common/array.h"
#include "common/query.h"
#include "common/worker_xact.h"
#include "delivery/endpoint_state.h"
#include "delivery/queue.h"
#include "endpoint/endpoint_list.h"
#include "endpoint/health.h"

/* Lock timeout: a lock on our tables must not delay requests. */
#define LOCK_MS 20

/* Parameters of update_query, in order. */
enum
{
	STATE_ENDPOINT,
	STATE_CONFIG,
	STATE_ACKED,
	STATE_SETTLED,
	STATE_VERIFIED,
	STATE_MARKER,
	STATE_RESYNC_AFTER,
	STATE_HEALTH,
	STATE_FAILURES,
	STATE_LAST_STATUS,
	STATE_LAST_ERROR,
	STATE_LAST_ERROR_AT,
	STATE_LAST_SUCCESS_AT,
	STATE_NEXT_TRY_AT,
	STATE_GENERATION,
	STATES						/* number of them */
};

/* Parameters of failed_query, in order; other queries of notes have two. */
enum
{
	NOTE_ENDPOINT,				/* of repurge_query: the deployment */
	NOTE_DEPLOYMENT,			/* of repurge_query: the zone */
	NOTE_EPOCH,
	NOTE_STATUS,
	NOTE_ATTEMPTS,
	NOTE_ERROR,
	NOTE_NEXT_TRY_AT,
	NOTES						/* number of them */
};

static MrbQuery insert_query = {
	.sql = "INSERT INTO miosa.endpoint_state (endpoint, config)"
	" SELECT * FROM unnest($1::text[], $2::text[])"
	" ON CONFLICT (endpoint) DO NOTHING",
	.nargs = 2,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID},
	.expected = MRB_QUERY_INSERT,
};

static MrbQuery lock_query = {
	.sql = "SELECT s.endpoint FROM miosa.endpoint_state s"
	" WHERE s.endpoint = ANY ($1) FOR UPDATE SKIP LOCKED",
	.nargs = 1,
	.argtypes = {TEXTARRAYOID},
};

static MrbQuery update_query = {
	.sql = "UPDATE miosa.endpoint_state s SET"
	" config = n.config, acked_epoch = n.acked, settled_epoch = n.settled,"
	" verified_epoch = n.verified, marker_epoch = n.marker,"
	" resync_after = n.after, health = n.health, failures = n.failures,"
	" last_status = nullif(n.status, 0), last_error = nullif(n.error, ''),"
	" last_error_at = n.error_at, last_success_at = n.success_at,"
	" next_try_at = n.try_at, generation = n.generation,"
	" acked_at = CASE WHEN s.acked_epoch = n.acked THEN s.acked_at"
	" ELSE pg_catalog.clock_timestamp() END"
	" FROM unnest($1::text[], $2::text[], $3::pg_catalog.int8[],"
	" $4::pg_catalog.int8[], $5::pg_catalog.int8[], $6::pg_catalog.int8[],"
	" $7::text[], $8::text[], $9::pg_catalog.int4[], $10::pg_catalog.int4[],"
	" $11::text[], $12::pg_catalog.timestamptz[],"
	" $13::pg_catalog.timestamptz[], $14::pg_catalog.timestamptz[],"
	" $15::pg_catalog.int8[])"
	" AS n(endpoint, config, acked, settled, verified, marker, after,"
	" health, failures, status, error, error_at, success_at, try_at,"
	" generation)"
	" WHERE s.endpoint = n.endpoint",
	.nargs = STATES,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID,
		INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
		INT4ARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID,
	TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, INT8ARRAYOID},
	.expected = MRB_QUERY_UPDATE,
};

static MrbQuery cleared_query = {
	.sql = "DELETE FROM miosa.delivery_failures f"
	" USING unnest($1::text[], $2::text[]) AS n(endpoint, deployment_id)"
	" WHERE f.endpoint = n.endpoint AND f.deployment_id = n.deployment_id",
	.nargs = 2,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID},
	.expected = MRB_QUERY_DELETE,
};

static MrbQuery failed_query = {
	.sql = "INSERT INTO miosa.delivery_failures AS f (endpoint,"
	" deployment_id, epoch, status, attempts, last_error, next_try_at)"
	" SELECT n.endpoint, n.deployment_id, n.epoch, nullif(n.status, 0),"
	" n.attempts, n.error, n.try_at"
	" FROM unnest($1::text[], $2::text[], $3::pg_catalog.int8[],"
	" $4::pg_catalog.int4[], $5::pg_catalog.int4[], $6::text[],"
	" $7::pg_catalog.timestamptz[])"
	" AS n(endpoint, deployment_id, epoch, status, attempts, error, try_at)"
	" ON CONFLICT (endpoint, deployment_id) DO UPDATE SET"
	" epoch = excluded.epoch, status = excluded.status,"
	" attempts = excluded.attempts, last_error = excluded.last_error,"
	" next_try_at = excluded.next_try_at",
	.nargs = NOTES,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT4ARRAYOID,
	INT4ARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID},
	.expected = MRB_QUERY_INSERT,
};

static MrbQuery repurge_query = {
	.sql = "INSERT INTO miosa.outbox (deployment_id, kind, route_seq, host)"
	" SELECT n.deployment_id, 'repurge',"
	" pg_catalog.row_number() OVER (), n.zone"
	" FROM unnest($1::text[], $2::text[]) AS n(deployment_id, zone)"
	" GROUP BY n.deployment_id, n.zone",
	.nargs = 2,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID},
	.expected = MRB_QUERY_INSERT,
};

static MrbQuery tidy_states_query = {
	.sql = "DELETE FROM miosa.endpoint_state s WHERE NOT EXISTS"
	" (SELECT FROM miosa.endpoints e WHERE e.name = s.endpoint)",
	.expected = MRB_QUERY_DELETE,
};

static MrbQuery tidy_failures_query = {
	.sql = "DELETE FROM miosa.delivery_failures f WHERE NOT EXISTS"
	" (SELECT FROM miosa.endpoints e WHERE e.name = f.endpoint)",
	.expected = MRB_QUERY_DELETE,
};

static void insert_rows(const MrbBatch *batch);
static void lock_batch(MrbBatch *batch);
static void write_states(const MrbBatch *batch);
static void write_notes(MrbBatch *batch, MrbNoteKind kind, MrbQuery *query);
static void fill_note(Datum **columns, int row, const MrbEndpoint *endpoint,
					  const MrbNote *note);

/*
 * Write one batch in a transaction of its own.
 */
void
mrb_endpoint_state_write(void *arg)
{
	MrbBatch   *batch = arg;

	batch->queued_work = false;
	mrb_worker_xact_begin(MRB_WORKER_XACT_ASYNC, LOCK_MS);
	insert_rows(batch);
	lock_batch(batch);
	if (batch->n > 0)
	{
		write_states(batch);
		write_notes(batch, MRB_NOTE_CLEARED, &cleared_query);
		write_notes(batch, MRB_NOTE_FAILURE, &failed_query);
		write_notes(batch, MRB_NOTE_REPURGE, &repurge_query);
	}
	mrb_worker_xact_commit();
}

/*
 * Treat all changes up to the epoch as delivered.
 */
void
mrb_endpoint_state_skip(MrbEndpoint *endpoint, int64 epoch)
{
	endpoint->progress.acked_epoch = epoch;
	endpoint->progress.settled_epoch = epoch;
}

/*
 * Delete rows that no endpoint refers to.
 */
void
mrb_endpoint_state_tidy(void *arg)
{
	mrb_worker_xact_begin(MRB_WORKER_XACT_ASYNC, LOCK_MS);
	mrb_query_open();
	mrb_query_run(&tidy_states_query, NULL, NULL);
	mrb_query_run(&tidy_failures_query, NULL, NULL);
	mrb_query_close();
	mrb_worker_xact_commit();
}

/*
 * Insert the rows of endpoints that have none of their present configuration.
 */
static void
insert_rows(const MrbBatch *batch)
{
	Datum	   *names = palloc(batch->n * sizeof(Datum));
	Datum	   *configs = palloc(batch->n * sizeof(Datum));
	Datum		args[2];
	int			n = 0;

	for (int i = 0; i < batch->n; i++)
	{
		if (batch->endpoints[i]->dirty.has_row)
			continue;
		names[n] = CStringGetTextDatum(batch->endpoints[i]->name);
		configs[n++] = CStringGetTextDatum(batch->endpoints[i]->config);
	}
	if (n == 0)
		return;
	args[0] = mrb_array_make(names, NULL, n, TEXTOID);
	args[1] = mrb_array_make(configs, NULL, n, TEXTOID);
	mrb_query_open();
	mrb_query_run(&insert_query, args, NULL);
	mrb_query_close();
}

/*
 * Lock the rows of the batch, and drop those that are locked already.
 */
static void
lock_batch(MrbBatch *batch)
{
	Datum	   *names = palloc(batch->n * sizeof(Datum));
	Datum		arg;
	uint64		n;
	int			kept = 0;

	for (int i = 0; i < batch->n; i++)
		names[i] = CStringGetTextDatum(batch->endpoints[i]->name);
	arg = mrb_array_make(names, NULL, batch->n, TEXTOID);
	mrb_query_open();
	n = mrb_query_run(&lock_query, &arg, NULL);
	for (uint64 row = 0; row < n; row++)
	{
		MrbEndpoint *endpoint = mrb_endpoint_list_find(mrb_query_text(row, 1));

		if (endpoint != NULL)
			batch->endpoints[kept++] = endpoint;
	}
	batch->n = kept;
	mrb_query_close();
}

/*
 * Update all rows of the batch in one statement.
 */
static void
write_states(const MrbBatch *batch)
{
	static const Oid types[STATES] = {
		TEXTOID, TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID, TEXTOID,
		TEXTOID, INT4OID, INT4OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
		TIMESTAMPTZOID, INT8OID
	};
	int			n = batch->n;
	Datum	   *columns[STATES];
	bool	   *nulls[STATES];
	Datum		args[STATES];

	for (int c = 0; c < STATES; c++)
	{
		columns[c] = palloc0(n * sizeof(Datum));
		nulls[c] = palloc0(n * sizeof(bool));
	}
	for (int i = 0; i < n; i++)
	{
		MrbEndpoint *e = batch->endpoints[i];

		e->progress.acked_epoch = mrb_queue_acked_epoch(e);
		e->progress.settled_epoch = mrb_queue_settled_epoch(e);
		columns[STATE_ENDPOINT][i] = CStringGetTextDatum(e->name);
		columns[STATE_CONFIG][i] = CStringGetTextDatum(e->config);
		columns[STATE_ACKED][i] = Int64GetDatum(e->progress.acked_epoch);
		columns[STATE_SETTLED][i] = Int64GetDatum(e->progress.settled_epoch);
		columns[STATE_VERIFIED][i] = Int64GetDatum(e->marker.verified_epoch);
		columns[STATE_MARKER][i] = Int64GetDatum(e->marker.epoch);
		nulls[STATE_RESYNC_AFTER][i] = e->resync.after == NULL;
		if (e->resync.after != NULL)
			columns[STATE_RESYNC_AFTER][i] = CStringGetTextDatum(e->resync.after);
		columns[STATE_HEALTH][i] = CStringGetTextDatum(mrb_health_name(mrb_health_shown(e)));
		columns[STATE_FAILURES][i] = Int32GetDatum(e->health.failures);
		columns[STATE_LAST_STATUS][i] = Int32GetDatum(e->health.last_status);
		columns[STATE_LAST_ERROR][i] = CStringGetTextDatum(e->health.last_error);
		columns[STATE_LAST_ERROR_AT][i] = TimestampTzGetDatum(e->health.last_error_at);
		nulls[STATE_LAST_ERROR_AT][i] = e->health.last_error_at == 0;
		columns[STATE_LAST_SUCCESS_AT][i] = TimestampTzGetDatum(e->health.last_success_at);
		nulls[STATE_LAST_SUCCESS_AT][i] = e->health.last_success_at == 0;
		columns[STATE_NEXT_TRY_AT][i] = TimestampTzGetDatum(e->health.next_try_at);
		nulls[STATE_NEXT_TRY_AT][i] = e->health.next_try_at == 0;
		columns[STATE_GENERATION][i] = Int64GetDatum(e->generation);
	}
	for (int c = 0; c < STATES; c++)
		args[c] = mrb_array_make(columns[c], nulls[c], n, types[c]);
	mrb_query_open();
	mrb_query_run(&update_query, args, NULL);
	mrb_query_close();
}

/*
 * Write all notes of one kind.  The statement takes as many of the columns as
 * it has parameters.
 */
static void
write_notes(MrbBatch *batch, MrbNoteKind kind, MrbQuery *query)
{
	static const Oid types[NOTES] = {
		TEXTOID, TEXTOID, INT8OID, INT4OID, INT4OID, TEXTOID, TIMESTAMPTZOID
	};
	Datum	   *columns[NOTES];
	Datum		args[NOTES];
	int			n = 0;
	dlist_iter	iter;

	for (int i = 0; i < batch->n; i++)
		dlist_foreach(iter, &batch->endpoints[i]->dirty.notes)
			n += dlist_container(MrbNote, node, iter.cur)->kind == kind;
	if (n == 0)
		return;
	for (int c = 0; c < NOTES; c++)
		columns[c] = palloc0(n * sizeof(Datum));
	n = 0;
	for (int i = 0; i < batch->n; i++)
	{
		dlist_foreach(iter, &batch->endpoints[i]->dirty.notes)
		{
			MrbNote    *note = dlist_container(MrbNote, node, iter.cur);

			if (note->kind == kind)
				fill_note(columns, n++, batch->endpoints[i], note);
		}
	}
	for (int c = 0; c < query->nargs; c++)
		args[c] = mrb_array_make(columns[c], NULL, n, types[c]);
	mrb_query_open();
	mrb_query_run(query, args, NULL);
	mrb_query_close();
	batch->queued_work |= kind == MRB_NOTE_REPURGE;
}

/*
 * Put a note into the arrays of columns.
 */
static void
fill_note(Datum **columns, int row, const MrbEndpoint *endpoint,
		  const MrbNote *note)
{
	columns[NOTE_ENDPOINT][row] = CStringGetTextDatum(note->kind == MRB_NOTE_REPURGE ?
													  note->deployment_id :
													  endpoint->name);
	columns[NOTE_DEPLOYMENT][row] = CStringGetTextDatum(note->kind == MRB_NOTE_REPURGE ?
														endpoint->zone->name :
														note->deployment_id);
	columns[NOTE_EPOCH][row] = Int64GetDatum(note->epoch);
	columns[NOTE_STATUS][row] = Int32GetDatum(note->status);
	columns[NOTE_ATTEMPTS][row] = Int32GetDatum(note->attempts);
	columns[NOTE_ERROR][row] = CStringGetTextDatum(note->error ? note->error : "");
	columns[NOTE_NEXT_TRY_AT][row] = TimestampTzGetDatum(note->next_try_at);
}
