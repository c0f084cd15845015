/*-------------------------------------------------------------------------
 *
 * circuit_breaker.c
 *	  A circuit breaker for every server that endpoints share.
 *
 * A server is a scheme, a host and a port.  When it cannot be connected to
 * several times in a row, none of its endpoints tries any more: the circuit
 * is open.  After a while it is half open, and one request at a time is let
 * through, whichever endpoint it comes from.  The first connection that works
 * closes it for all of them; after one that tells nothing, because it was
 * given up or denied, another endpoint has its turn.  What an endpoint answers
 * is no business of this file; see health.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/container.h"
#include "common/backoff.h"
#include "endpoint/circuit_breaker.h"

/* Failed connections in a row that open a circuit. */
#define FAILURES_MAX 3

typedef enum Circuit
{
	CIRCUIT_CLOSED,
	CIRCUIT_OPEN,				/* nothing is sent */
	CIRCUIT_HALF_OPEN,			/* one request at a time */
} Circuit;

struct MrbServer
{
	dlist_node	node;			/* in servers */
	dlist_head	endpoints;
	Circuit		circuit;
	int			failures;		/* in a row */
	int			in_flight;		/* requests to all its endpoints */
	MrbTimer	timer;			/* half opens it */
	char		origin[FLEXIBLE_ARRAY_MEMBER];
};

static dlist_head servers = DLIST_STATIC_INIT(servers);
static MemoryContext kept = NULL;
static MrbCircuitBreakerRetry retry_endpoint = NULL;

static MrbServer *find_server(const char *url);
static int	origin_length(const char *url);
static void half_open(MrbTimer *timer);
static void retry_all(MrbServer *server);
static void show(MrbServer *server);

void
mrb_circuit_breaker_init(MemoryContext context, MrbCircuitBreakerRetry retry)
{
	kept = context;
	retry_endpoint = retry;
}

void
mrb_circuit_breaker_attach(MrbEndpoint *endpoint)
{
	endpoint->circuit.server = find_server(endpoint->url);
	dlist_push_tail(&endpoint->circuit.server->endpoints, &endpoint->circuit.node);
}

void
mrb_circuit_breaker_detach(MrbEndpoint *endpoint)
{
	MrbServer  *server = endpoint->circuit.server;

	dlist_delete(&endpoint->circuit.node);
	endpoint->circuit.server = NULL;
	if (!dlist_is_empty(&server->endpoints))
		return;
	mrb_timer_cancel(&server->timer);
	dlist_delete(&server->node);
	pfree(server);
}

bool
mrb_circuit_breaker_allows(const MrbEndpoint *endpoint)
{
	switch (endpoint->circuit.server->circuit)
	{
		case CIRCUIT_CLOSED:
			return true;
		case CIRCUIT_OPEN:
			return false;
		case CIRCUIT_HALF_OPEN:
			break;
	}
	return endpoint->circuit.server->in_flight == 0;
}

void
mrb_circuit_breaker_began(MrbEndpoint *endpoint)
{
	endpoint->circuit.server->in_flight++;
}

/*
 * Those that waited for this request go on, unless what becomes of it says
 * otherwise before the timer does.
 */
void
mrb_circuit_breaker_ended(MrbEndpoint *endpoint)
{
	MrbServer  *server = endpoint->circuit.server;

	if (--server->in_flight == 0 && server->circuit == CIRCUIT_HALF_OPEN)
		mrb_timer_set(&server->timer, 0, half_open);
}

void
mrb_circuit_breaker_failed(MrbEndpoint *endpoint)
{
	MrbServer  *server = endpoint->circuit.server;

	/* What was under way when it opened tells nothing new. */
	if (server->circuit == CIRCUIT_OPEN ||
		++server->failures < FAILURES_MAX)
		return;
	server->circuit = CIRCUIT_OPEN;
	show(server);
	mrb_timer_set(&server->timer,
				  mrb_backoff_full_jitter(MRB_ENDPOINT_RETRY_MIN_MS,
										  MRB_ENDPOINT_RETRY_MAX_MS,
										  server->failures),
				  half_open);
}

void
mrb_circuit_breaker_worked(MrbEndpoint *endpoint)
{
	MrbServer  *server = endpoint->circuit.server;

	server->failures = 0;
	if (server->circuit == CIRCUIT_CLOSED)
		return;
	server->circuit = CIRCUIT_CLOSED;
	mrb_timer_cancel(&server->timer);
	retry_all(server);
}

TimestampTz
mrb_circuit_breaker_next_try(const MrbEndpoint *endpoint)
{
	const MrbServer *server = endpoint->circuit.server;

	switch (server->circuit)
	{
		case CIRCUIT_OPEN:
			return mrb_timer_to_wall(server->timer.at);
		case CIRCUIT_HALF_OPEN:
			return mrb_timer_wall();
		case CIRCUIT_CLOSED:
			break;
	}
	return 0;
}

static MrbServer *
find_server(const char *url)
{
	int			len = origin_length(url);
	MrbServer  *server;
	dlist_iter	iter;

	dlist_foreach(iter, &servers)
	{
		server = dlist_container(MrbServer, node, iter.cur);
		if ((int) strlen(server->origin) == len &&
			pg_strncasecmp(server->origin, url, len) == 0)
			return server;
	}
	server = MemoryContextAllocZero(kept, offsetof(MrbServer, origin) +
									len + 1);
	memcpy(server->origin, url, len);
	dlist_init(&server->endpoints);
	dlist_push_tail(&servers, &server->node);
	return server;
}

/*
 * Scheme, host and port: what comes before the path.
 */
static int
origin_length(const char *url)
{
	const char *host = strstr(url, "://");

	return host != NULL ? host + 3 - url + strcspn(host + 3, "/") :
		strlen(url);
}

static void
half_open(MrbTimer *timer)
{
	MrbServer  *server = mrb_container(MrbServer, timer, timer);

	server->circuit = CIRCUIT_HALF_OPEN;
	retry_all(server);
}

static void
retry_all(MrbServer *server)
{
	dlist_iter	iter;

	show(server);
	dlist_foreach(iter, &server->endpoints)
		retry_endpoint(dlist_container(MrbEndpoint, circuit.node, iter.cur));
}

/*
 * Others shall see the circuit of its endpoints.
 */
static void
show(MrbServer *server)
{
	dlist_iter	iter;

	dlist_foreach(iter, &server->endpoints)
		mrb_endpoint_stats_mark(&dlist_container(MrbEndpoint, circuit.node,
												 iter.cur)->stats);
}
