/*-------------------------------------------------------------------------
 *
 * circuit_breaker.c
 *	  A circuit breaker for every server that endpoints share.
 *
 * A server is a scheme, a host and a port.  After several connections to it
 * have failed in a row its circuit opens, and no request is sent to any of
 * its endpoints.  After a back-off the circuit is half open: one request at a
 * time is let through, from whichever endpoint comes first.  The first
 * connection that succeeds closes the circuit for all endpoints.  A request
 * that was cancelled or denied shows nothing about the server; another
 * endpoint tries next.  Only connections count here; health.c judges what
 * endpoints answer.
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
	CIRCUIT_OPEN,				/* no requests */
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
static void publish_state(MrbServer *server);

/*
 * Set up the module; retry is called when the server of an endpoint may be
 * tried.
 */
void
mrb_circuit_breaker_init(MemoryContext context, MrbCircuitBreakerRetry retry)
{
	kept = context;
	retry_endpoint = retry;
}

/*
 * Find or make the server of the endpoint's URL, and add the endpoint to it.
 */
void
mrb_circuit_breaker_attach(MrbEndpoint *endpoint)
{
	endpoint->circuit.server = find_server(endpoint->url);
	dlist_push_tail(&endpoint->circuit.server->endpoints, &endpoint->circuit.node);
}

/*
 * Remove the endpoint from its server, and free a server without endpoints.
 */
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

/*
 * A closed circuit allows everything, an open one nothing, a half open one a
 * single request.
 */
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

/*
 * Count a request to the endpoint's server.
 */
void
mrb_circuit_breaker_started(MrbEndpoint *endpoint)
{
	endpoint->circuit.server->in_flight++;
}

/*
 * Count the end of a request.  Endpoints that waited for it in a half open
 * circuit are tried at the end of this turn, unless the result of the request
 * opens or closes the circuit before.
 */
void
mrb_circuit_breaker_ended(MrbEndpoint *endpoint)
{
	MrbServer  *server = endpoint->circuit.server;

	if (--server->in_flight == 0 && server->circuit == CIRCUIT_HALF_OPEN)
		mrb_timer_set(&server->timer, 0, half_open);
}

/*
 * Count a failed connection, and open the circuit when there were too many.
 */
void
mrb_circuit_breaker_failed(MrbEndpoint *endpoint)
{
	MrbServer  *server = endpoint->circuit.server;

	/* Requests that were in flight when it opened show nothing new. */
	if (server->circuit == CIRCUIT_OPEN ||
		++server->failures < FAILURES_MAX)
		return;
	server->circuit = CIRCUIT_OPEN;
	publish_state(server);
	mrb_timer_set(&server->timer,
				  mrb_backoff_full_jitter(MRB_ENDPOINT_RETRY_MIN_MS,
										  MRB_ENDPOINT_RETRY_MAX_MS,
										  server->failures),
				  half_open);
}

/*
 * Close the circuit, and retry all endpoints of the server.
 */
void
mrb_circuit_breaker_succeeded(MrbEndpoint *endpoint)
{
	MrbServer  *server = endpoint->circuit.server;

	server->failures = 0;
	if (server->circuit == CIRCUIT_CLOSED)
		return;
	server->circuit = CIRCUIT_CLOSED;
	mrb_timer_cancel(&server->timer);
	retry_all(server);
}

/*
 * When a connection is tried next; a half open circuit tries now.
 */
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

/*
 * The server that a URL belongs to, made if it does not exist.
 */
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
 * Length of scheme, host and port: what comes before the path.
 */
static int
origin_length(const char *url)
{
	const char *host = strstr(url, "://");

	return host != NULL ? host + 3 - url + strcspn(host + 3, "/") :
		strlen(url);
}

/*
 * The back-off of an open circuit is over.
 */
static void
half_open(MrbTimer *timer)
{
	MrbServer  *server = mrb_container(MrbServer, timer, timer);

	server->circuit = CIRCUIT_HALF_OPEN;
	retry_all(server);
}

/*
 * Let every endpoint of the server try.
 */
static void
retry_all(MrbServer *server)
{
	dlist_iter	iter;

	publish_state(server);
	dlist_foreach(iter, &server->endpoints)
		retry_endpoint(dlist_container(MrbEndpoint, circuit.node, iter.cur));
}

/*
 * Publish the state of the circuit with each endpoint of the server.
 */
static void
publish_state(MrbServer *server)
{
	dlist_iter	iter;

	dlist_foreach(iter, &server->endpoints)
		mrb_endpoint_stats_mark(&dlist_container(MrbEndpoint, circuit.node,
												 iter.cur)->stats);
}
