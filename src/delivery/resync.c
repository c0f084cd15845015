/*-------------------------------------------------------------------------
 *
 * resync.c
 *	  Telling an endpoint everything.
 *
 * Deployments are read in the order of their ids, some at a time, and the
 * next ones only when those are done, so that memory and the endpoint's
 * patience are spared.  What is told has the epoch of the deployment's last
 * change, so that it never seems newer than the change that comes next, nor
 * older than what was told before.  How far it has come is written down with
 * the endpoint's cursor.  Endpoints at the same place share what is read.
 *
 * Hosts that were removed are told as well, as far back as they are
 * remembered, also those of deployments that are gone: an endpoint that was
 * away, or had a table already, would route them for ever.
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

#define CHUNK 1000

/* After an error nothing is read for so long; and all is looked at so often. */
#define PAUSE_MS 1000
#define STEP_MS 5

/* What one transaction reads. */
typedef struct Chunk
{
	const char *after;
	MrbRoute   *routes;
	int			n;
} Chunk;

static MrbTick not_before = 0;
static bool under_way = false;	/* some endpoint is being told everything */

static bool may_go_on(MrbEndpoint *endpoint);
static void advance(MrbEndpoint *endpoint);
static void set_text(MrbEndpoint *endpoint, char **text, const char *value);
static void read_chunk(void *arg);
static void hand_out(const Chunk *chunk);
static int64 term_begin(void);
static void hand_to(MrbEndpoint *endpoint, const Chunk *chunk,
					MrbRouteEntry **entries);

void
mrb_resync_begin(MrbEndpoint *endpoint)
{
	set_text(endpoint, &endpoint->resync.after, "");
	set_text(endpoint, &endpoint->resync.chunk_end, NULL);
	endpoint->resync.chunk_last = false;
	endpoint->resync.repurges = true;
	mrb_dirty_mark(endpoint);
}

void
mrb_resync_step(void)
{
	dlist_iter	iter;

	if (mrb_timer_now() < not_before)
		return;
	not_before = mrb_tick_plus(mrb_timer_now(), STEP_MS);
	under_way = false;
	mrb_endpoint_list_foreach(iter)
	{
		MrbEndpoint *endpoint = mrb_endpoint_list_current(iter);
		Chunk		chunk = {0};

		under_way |= may_go_on(endpoint);
		if (!may_go_on(endpoint) || endpoint->items.bulk > 0)
			continue;
		advance(endpoint);
		if (endpoint->resync.after == NULL)
			continue;
		chunk.after = endpoint->resync.after;
		if (!mrb_worker_xact_try(read_chunk, &chunk, NULL))
		{
			not_before = mrb_tick_plus(mrb_timer_now(), PAUSE_MS);
			return;
		}
		hand_out(&chunk);
	}
}

long
mrb_resync_wait(long most)
{
	if (!under_way)
		return most;
	return Min(most, mrb_tick_ms(mrb_timer_read(), not_before));
}

static bool
may_go_on(MrbEndpoint *endpoint)
{
	return endpoint->resync.after != NULL &&
		(endpoint->vitals.health == MRB_HEALTH_NEW ||
		 endpoint->vitals.health == MRB_HEALTH_HEALTHY ||
		 endpoint->vitals.probing);
}

/*
 * The chunk is done: remember how far that is, or that it was the last.
 */
static void
advance(MrbEndpoint *endpoint)
{
	if (endpoint->resync.chunk_end == NULL && !endpoint->resync.chunk_last)
		return;
	set_text(endpoint, &endpoint->resync.after,
			 endpoint->resync.chunk_last ? NULL : endpoint->resync.chunk_end);
	set_text(endpoint, &endpoint->resync.chunk_end, NULL);
	endpoint->resync.chunk_last = false;
	mrb_dirty_mark(endpoint);
}

static void
set_text(MrbEndpoint *endpoint, char **text, const char *value)
{
	char	   *copy = value != NULL ?
	MemoryContextStrdup(endpoint->context, value) : NULL;

	if (*text !=NULL)
		pfree(*text);
	*text = copy;
}

static void
read_chunk(void *arg)
{
	Chunk	   *chunk = arg;

	mrb_worker_xact_begin(MRB_SESSION_RECORD, 1000);
	chunk->routes = mrb_route_read_after(chunk->after, CHUNK, &chunk->n);
	mrb_worker_xact_commit();
}

/*
 * Give the chunk to every endpoint that has come to the same place.
 */
static void
hand_out(const Chunk *chunk)
{
	char	   *after = pstrdup(chunk->after);
	MrbRouteEntry **entries = palloc(Max(chunk->n, 1) * sizeof(MrbRouteEntry *));
	dlist_iter	iter;

	for (int i = 0; i < chunk->n; i++)
	{
		chunk->routes[i].epoch = Max(chunk->routes[i].epoch, term_begin());
		entries[i] = mrb_route_book_enter(&chunk->routes[i],
										  chunk->routes[i].removed.items,
										  chunk->routes[i].removed.n);
		entries[i]->users++;
	}
	mrb_endpoint_list_foreach(iter)
	{
		MrbEndpoint *endpoint = mrb_endpoint_list_current(iter);

		if (may_go_on(endpoint) && endpoint->items.bulk == 0 &&
			endpoint->resync.chunk_end == NULL && !endpoint->resync.chunk_last &&
			strcmp(endpoint->resync.after, after) == 0)
			hand_to(endpoint, chunk, entries);
	}
	for (int i = 0; i < chunk->n; i++)
	{
		entries[i]->users--;
		mrb_route_book_release(entries[i]);
	}
}

/*
 * What was told in an earlier term can be newer than what is known of it here.
 */
static int64
term_begin(void)
{
	return mrb_queue_newest() >> MRB_EPOCH_BITS << MRB_EPOCH_BITS;
}

static void
hand_to(MrbEndpoint *endpoint, const Chunk *chunk, MrbRouteEntry **entries)
{
	if (chunk->n < CHUNK)
		endpoint->resync.chunk_last = true;
	else
		set_text(endpoint, &endpoint->resync.chunk_end,
				 chunk->routes[chunk->n - 1].deployment_id);
	for (int i = 0; i < chunk->n; i++)
		if (mrb_endpoint_list_selects(endpoint, &chunk->routes[i]))
			mrb_queue_bulk(endpoint, entries[i]);
}
