/*-------------------------------------------------------------------------
 *
 * send.c
 *	  Requests to endpoints, under way.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/resource.h>

#include "utils/memutils.h"

#include "endpoints.h"
#include "send.h"

/* Most requests in flight in all, if there are descriptors for them. */
#define SEND_MAX 8192
#define SEND_MIN 16

/* Descriptors for tables, logs and name look-ups. */
#define RESERVED_FDS 80

static MemoryContext kept = NULL;
static MemoryContext rendering = NULL;
static MrbHttpEngine *engine = NULL;
static MrbSlot *counters = NULL;
static int	send_max = SEND_MIN;

static int	affordable(void);
static void count(MrbCounter counter, int64 by);

void
mrb_send_init(MemoryContext context, MrbSlot *slot)
{
	kept = context;
	counters = slot;
	rendering = AllocSetContextCreate(context, "miosa_rollback rendering",
									  ALLOCSET_DEFAULT_SIZES);
	send_max = affordable();
	engine = mrb_http_create(send_max);
	if (engine == NULL)
		ereport(FATAL,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not set up the HTTP client")));
}

/*
 * Every request has a socket.  Running out of descriptors would fail whichever
 * endpoint comes next; who has to wait for a place is told a little later.
 */
static int
affordable(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
		limit.rlim_cur < RESERVED_FDS + SEND_MIN)
		return SEND_MIN;
	return Min(limit.rlim_cur - RESERVED_FDS, SEND_MAX);
}

int
mrb_send_max(void)
{
	return send_max;
}

int
mrb_send_descriptor(void)
{
	return mrb_http_descriptor(engine);
}

long
mrb_send_max_wait(void)
{
	return mrb_http_max_wait(engine);
}

int
mrb_send_in_flight(void)
{
	return mrb_http_in_flight(engine);
}

MrbStarted
mrb_send_start(MrbEndpoint *endpoint, const MrbCall *call, MrbValues *values,
			   MrbItem *item, int64 epoch, MrbSendDone done,
			   const char **problem)
{
	MemoryContext old = MemoryContextSwitchTo(rendering);
	MrbHttpRequest request = {0};
	MrbSend    *send;
	bool		started;

	/* What was rendered, and a problem, live until the next request. */
	MemoryContextReset(rendering);
	values->text[MRB_VAR_SECRET] = endpoint->secret;
	values->named_secret = mrb_endpoint_secret;
	*problem = mrb_adapter_render(call, endpoint->url, values, &request);
	MemoryContextSwitchTo(old);
	if (*problem != NULL)
		return MRB_START_WRONG;

	send = MemoryContextAlloc(kept, sizeof(MrbSend));
	send->endpoint = endpoint;
	send->item = item;
	send->epoch = epoch;
	send->round = endpoint->vitals.round;
	send->done = done;
	request.timeout_ms = endpoint->adapter->timeout_ms;
	request.owner = send;
	started = mrb_http_start(engine, &request);
	if (!started)
	{
		pfree(send);
		return MRB_START_FULL;
	}
	dlist_push_tail(&endpoint->requests, &send->node);
	endpoint->in_flight++;
	count(MRB_COUNT_SENT, 1);
	return MRB_STARTED;
}

void
mrb_send_drive(void)
{
	MrbHttpAnswer answer;

	mrb_http_drive(engine);
	while (mrb_http_next_answer(engine, &answer))
	{
		MrbSend    *send = answer.owner;

		dlist_delete(&send->node);
		send->endpoint->in_flight--;
		count(answer.outcome == MRB_HTTP_ANSWERED &&
			  answer.status < 400 ? MRB_COUNT_ACKNOWLEDGED :
			  MRB_COUNT_FAILED, 1);
		send->done(send, &answer);
		pfree(send);
	}
}

void
mrb_send_cancel(MrbEndpoint *endpoint)
{
	while (!dlist_is_empty(&endpoint->requests))
	{
		MrbSend    *send = dlist_container(MrbSend, node,
										   dlist_pop_head_node(&endpoint->requests));

		mrb_http_cancel(engine, send);
		pfree(send);
	}
	endpoint->in_flight = 0;
}

static void
count(MrbCounter counter, int64 by)
{
	pg_atomic_fetch_add_u64(&counters->counters[counter], by);
	pg_atomic_write_u64(&counters->counters[MRB_COUNT_IN_FLIGHT],
						mrb_http_in_flight(engine));
}
