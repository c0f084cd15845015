/*-------------------------------------------------------------------------
 *
 * inflight.c
 *	  Requests to endpoints that are in flight.
 *
 * Every request needs a file descriptor, and so does every connection that is
 * kept open for the next one.  libcurl keeps no more of both together than the
 * engine is created for: what remains of the limit of the process after the
 * server's own files.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/resource.h>

#include "storage/fd.h"
#include "utils/memutils.h"

#include "adapter/secret_list.h"
#include "adapter/sign.h"
#include "common/timer.h"
#include "endpoint/circuit_breaker.h"
#include "endpoint/endpoint_list.h"
#include "endpoint/inflight.h"
#include "endpoint/rate_limit.h"

/* Bounds of requests in flight, and descriptors reserved for the server. */
#define IN_FLIGHT_MIN 16
#define IN_FLIGHT_MAX 4096
#define DESCRIPTORS_SPARED 200

/* Other descriptors of the process: latch, epoll sets, libcurl's pipes. */
#define DESCRIPTORS_OTHER 32

/* Minimum time between two log messages about a lack of memory. */
#define LOG_AGAIN_MS 60000

static MemoryContext kept = NULL;
static int	capacity = 0;
static MemoryContext rendering = NULL;
static MrbHttpEngine *engine = NULL;

static int	compute_capacity(void);
static const char *render(MrbEndpoint *endpoint, const MrbRequest *request,
						  MrbTemplateValues *values, MrbHttpRequest *http);
static MrbInflight *make_inflight(MrbEndpoint *endpoint, const MrbInflightNote *note);
static bool was_connected(const MrbHttpAnswer *answer);
static void log_out_of_memory(void);

/*
 * Create the engine that runs requests.
 */
void
mrb_inflight_init(MemoryContext context)
{
	kept = context;
	rendering = AllocSetContextCreate(context, "miosa_rollback rendering",
									  ALLOCSET_DEFAULT_SIZES);
	capacity = compute_capacity();
	engine = mrb_http_create(capacity);
}

/*
 * A descriptor that is readable when a request can make progress.
 */
int
mrb_inflight_descriptor(void)
{
	return mrb_http_descriptor(engine);
}

/*
 * Milliseconds after which the engine must be driven; -1: no limit.
 */
long
mrb_inflight_max_wait(void)
{
	return mrb_http_max_wait(engine);
}

/*
 * Number of requests in flight, to all endpoints.
 */
int
mrb_inflight_in_flight(void)
{
	return mrb_http_in_flight(engine);
}

/*
 * Maximum number of requests in flight.
 */
int
mrb_inflight_capacity(void)
{
	return capacity;
}

/*
 * Initialize the requests of a new endpoint.
 */
void
mrb_inflight_attach(MrbEndpoint *endpoint)
{
	dlist_init(&endpoint->requests.list);
}

/*
 * Render the request, sign it, and hand it to the engine.
 */
MrbStarted
mrb_inflight_start(MrbEndpoint *endpoint, MrbTemplateValues *values,
				   const MrbInflightNote *note, const char **problem)
{
	MrbHttpRequest http = {0};
	MrbInflight *inflight;

	*problem = render(endpoint, note->request, values, &http);
	if (*problem != NULL)
		return MRB_START_WRONG;
	if (note->nitems > 1 &&
		http.body_len > (size_t) endpoint->adapter->batch_bytes)
		return MRB_START_LARGE;

	inflight = make_inflight(endpoint, note);
	http.timeout_ms = endpoint->adapter->timeout_ms;
	http.owner = inflight;
	if (!mrb_http_start(engine, &http))
	{
		pfree(inflight);
		if (mrb_http_in_flight(engine) < capacity)
			log_out_of_memory();
		return MRB_START_FULL;
	}
	dlist_push_tail(&endpoint->requests.list, &inflight->node);
	endpoint->requests.in_flight++;
	mrb_circuit_breaker_started(endpoint);
	mrb_rate_limit_spend(endpoint);
	mrb_endpoint_stats_sent(&endpoint->stats, note->retry);
	return MRB_STARTED;
}

/*
 * Advance all requests, and call done for each that has ended.
 */
void
mrb_inflight_drive(void)
{
	MrbHttpAnswer answer;

	mrb_http_drive(engine);
	while (mrb_http_next_answer(engine, &answer))
	{
		MrbInflight *inflight = answer.owner;

		dlist_delete(&inflight->node);
		inflight->endpoint->requests.in_flight--;
		mrb_circuit_breaker_ended(inflight->endpoint);
		if (was_connected(&answer))
			mrb_circuit_breaker_succeeded(inflight->endpoint);
		inflight->note.done(inflight, &answer);
		pfree(inflight);
	}
}

/*
 * Cancel all requests to the endpoint, without calling done.
 */
void
mrb_inflight_cancel(MrbEndpoint *endpoint)
{
	while (!dlist_is_empty(&endpoint->requests.list))
	{
		MrbInflight *inflight = dlist_container(MrbInflight, node,
												dlist_pop_head_node(&endpoint->requests.list));

		mrb_http_cancel(engine, inflight);
		mrb_circuit_breaker_ended(endpoint);
		pfree(inflight);
	}
	endpoint->requests.in_flight = 0;
}

/*
 * Number of requests in flight that the limit of open files allows for.
 */
static int
compute_capacity(void)
{
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
	int			left = IN_FLIGHT_MAX;
	int64		missing;

	(void) getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur != RLIM_INFINITY)
		left = (int) Min(limit.rlim_cur, INT_MAX) - DESCRIPTORS_SPARED;
	left = Max(IN_FLIGHT_MIN, Min(left, IN_FLIGHT_MAX));

	/*
	 * The server keeps up to max_safe_fds files open, which it determined at
	 * its start.  If both do not fit, reserve the difference from the server,
	 * which then closes and reopens files more often.
	 */
	if (limit.rlim_cur == RLIM_INFINITY)
		return left;
	missing = (int64) max_safe_fds + left + DESCRIPTORS_OTHER -
		(int64) Min(limit.rlim_cur, INT_MAX);
	for (int i = 0; i < Min(missing, left); i++)
		ReserveExternalFD();
	return left;
}

/*
 * Make a request from its template.  The result and the problem live until
 * the next call.
 */
static const char *
render(MrbEndpoint *endpoint, const MrbRequest *request, MrbTemplateValues *values,
	   MrbHttpRequest *http)
{
	MemoryContext old = MemoryContextSwitchTo(rendering);
	const char *problem;

	MemoryContextReset(rendering);
	values->text[MRB_VAR_SECRET] = endpoint->secret;
	values->named_secret = mrb_secret_list_value;
	values->previous_secret = endpoint->previous_secret;
	problem = mrb_request_render(request, endpoint->url, values, http);
	if (problem == NULL)
		problem = mrb_sign_request(endpoint->adapter, values, http);
	MemoryContextSwitchTo(old);
	return problem;
}

/*
 * Copy the note and its items into one allocation.
 */
static MrbInflight *
make_inflight(MrbEndpoint *endpoint, const MrbInflightNote *note)
{
	Size		items = note->nitems * sizeof(struct MrbItem *);
	MrbInflight *inflight = MemoryContextAlloc(kept, sizeof(MrbInflight) + items);

	inflight->endpoint = endpoint;
	inflight->round = endpoint->health.round;
	inflight->note = *note;
	inflight->note.items = (struct MrbItem **) (inflight + 1);
	memcpy(inflight->note.items, note->items, items);
	return inflight;
}

/*
 * Whether a connection to the server was established.
 */
static bool
was_connected(const MrbHttpAnswer *answer)
{
	return answer->outcome != MRB_HTTP_NOT_CONNECTED &&
		answer->outcome != MRB_HTTP_REFUSED;
}

/*
 * Log why requests wait for memory, which nothing else would show.
 */
static void
log_out_of_memory(void)
{
	static MrbTick last = 0;
	MrbTick		now = mrb_timer_read();

	if (last != 0 && !mrb_timer_passed(last, now, LOG_AGAIN_MS))
		return;
	last = now;
	ereport(LOG,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory for an HTTP request, retrying")));
}
