/*-------------------------------------------------------------------------
 *
 * resync.c
 *	  Resynchronize an endpoint: send it the routes of all deployments.
 *
 * Deployments are read in the order of their ids, a chunk at a time, and the
 * next chunk only when the last one is done.  This bounds memory, and the
 * load on the endpoint.  Each route has the epoch of the deployment's last
 * change, so that it never seems newer than the next change, nor older than
 * what was sent before.  The end of the last chunk is stored with the
 * endpoint's position.  Endpoints that have come to the same place share what
 * is read.
 *
 * Removed hosts are sent as well, as far back as they are remembered, also
 * those of deployments that were deleted: an endpoint that was away, or that
 * had a table already, would route them for ever.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/miosa_rollback.h"
#include "common/worker_xact.h"
#include "delivery/queue.h"
#include "delivery/resync.h"
#include "endpoint/endpoint_list.h"

/* Number of deployments that one transaction reads. */
#define CHUNK 1000

/* Delay after a failed read, and interval of the steps. */
#define PAUSE_MS 1000
#define STEP_MS 5

/* A chunk of deployments. */
typedef struct Chunk
{
	const char *after;
	MrbRoute   *routes;
	int			n;
} Chunk;

static MrbTick not_before = 0;
static bool active = false;		/* the resync of some endpoint goes on */

static bool is_active(MrbEndpoint *endpoint);
static void advance(MrbEndpoint *endpoint);
static void set_id(MrbEndpoint *endpoint, char **id, const char *value);
static void read_chunk(void *arg);
static void queue_chunk(const Chunk *chunk);
static int64 lowest_epoch_of_term(void);
static void queue_routes(MrbEndpoint *endpoint, const Chunk *chunk,
						 MrbRouteEntry **entries);

/*
 * Start over with the first deployment.
 */
void
mrb_resync_begin(MrbEndpoint *endpoint)
{
	set_id(endpoint, &endpoint->resync.after, "");
	set_id(endpoint, &endpoint->resync.chunk_end, NULL);
	endpoint->resync.chunk_last = false;
	endpoint->resync.repurges = true;
	mrb_dirty_mark(endpoint);
}

/*
 * Advance the resync of every endpoint that is ready for the next chunk.
 */
void
mrb_resync_step(void)
{
	dlist_iter	iter;

	if (mrb_timer_now() < not_before)
		return;
	not_before = mrb_timer_add_ms(mrb_timer_now(), STEP_MS);
	active = false;
	mrb_endpoint_list_foreach(iter)
	{
		MrbEndpoint *endpoint = mrb_endpoint_list_current(iter);
		Chunk		chunk = {0};

		active |= is_active(endpoint);
		if (!is_active(endpoint) || endpoint->items.bulk > 0)
			continue;
		advance(endpoint);
		if (endpoint->resync.after == NULL)
			continue;
		chunk.after = endpoint->resync.after;
		if (!mrb_worker_xact_try(read_chunk, &chunk, NULL))
		{
			not_before = mrb_timer_add_ms(mrb_timer_now(), PAUSE_MS);
			return;
		}
		queue_chunk(&chunk);
	}
}

/*
 * Milliseconds until the next step, at most most.
 */
long
mrb_resync_wait(long most)
{
	if (!active)
		return most;
	return Min(most, mrb_timer_ms_between(mrb_timer_read(), not_before));
}

/*
 * Whether the endpoint has a resync, and accepts requests.
 */
static bool
is_active(MrbEndpoint *endpoint)
{
	return endpoint->resync.after != NULL &&
		(endpoint->health.state == MRB_HEALTH_NEW ||
		 endpoint->health.state == MRB_HEALTH_HEALTHY ||
		 endpoint->health.probing);
}

/*
 * The chunk is done: remember its end, or that it was the last one.
 */
static void
advance(MrbEndpoint *endpoint)
{
	if (endpoint->resync.chunk_end == NULL && !endpoint->resync.chunk_last)
		return;
	set_id(endpoint, &endpoint->resync.after,
		   endpoint->resync.chunk_last ? NULL : endpoint->resync.chunk_end);
	set_id(endpoint, &endpoint->resync.chunk_end, NULL);
	endpoint->resync.chunk_last = false;
	mrb_dirty_mark(endpoint);
}

/*
 * Replace the id of a deployment; it lives as long as the endpoint.
 */
static void
set_id(MrbEndpoint *endpoint, char **id, const char *value)
{
	char	   *copy = value != NULL ?
	MemoryContextStrdup(endpoint->context, value) : NULL;

	if (*id != NULL)
		pfree(*id);
	*id = copy;
}

/*
 * Read a chunk in a transaction of its own.
 */
static void
read_chunk(void *arg)
{
	Chunk	   *chunk = arg;

	mrb_worker_xact_begin(MRB_WORKER_XACT_ASYNC, 1000);
	chunk->routes = mrb_route_read_after(chunk->after, CHUNK, &chunk->n);
	mrb_worker_xact_commit_read();
}

/*
 * Give the chunk to every endpoint that has come to the same place.
 */
static void
queue_chunk(const Chunk *chunk)
{
	char	   *after = pstrdup(chunk->after);
	MrbRouteEntry **entries = palloc(Max(chunk->n, 1) * sizeof(MrbRouteEntry *));
	dlist_iter	iter;

	for (int i = 0; i < chunk->n; i++)
	{
		chunk->routes[i].epoch = Max(chunk->routes[i].epoch, lowest_epoch_of_term());
		entries[i] = mrb_route_book_enter(&chunk->routes[i],
										  chunk->routes[i].removed.items,
										  chunk->routes[i].removed.n);
		entries[i]->users++;
	}
	mrb_endpoint_list_foreach(iter)
	{
		MrbEndpoint *endpoint = mrb_endpoint_list_current(iter);

		if (is_active(endpoint) && endpoint->items.bulk == 0 &&
			endpoint->resync.chunk_end == NULL && !endpoint->resync.chunk_last &&
			strcmp(endpoint->resync.after, after) == 0)
			queue_routes(endpoint, chunk, entries);
	}
	for (int i = 0; i < chunk->n; i++)
	{
		entries[i]->users--;
		mrb_route_book_release(entries[i]);
	}
}

/*
 * The lowest epoch of this term.  What was sent in an earlier term can be
 * newer than what this database knows of it.
 */
static int64
lowest_epoch_of_term(void)
{
	return MRB_EPOCH_FIRST(MRB_EPOCH_TERM(mrb_queue_newest_epoch()));
}

/*
 * Queue the routes of the chunk for one endpoint.
 */
static void
queue_routes(MrbEndpoint *endpoint, const Chunk *chunk, MrbRouteEntry **entries)
{
	if (chunk->n < CHUNK)
		endpoint->resync.chunk_last = true;
	else
		set_id(endpoint, &endpoint->resync.chunk_end,
			   chunk->routes[chunk->n - 1].deployment_id);
	for (int i = 0; i < chunk->n; i++)
		if (mrb_endpoint_list_selects(endpoint, &chunk->routes[i]))
			mrb_queue_bulk(endpoint, entries[i]);
}
