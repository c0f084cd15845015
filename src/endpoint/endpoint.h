/*-------------------------------------------------------------------------
 *
 * endpoint.h
 *	  An endpoint in the memory of the dispatcher.
 *
 * An MrbEndpoint consists of parts.  endpoint_list.c makes it and fills the
 * parts with what its rows say, and takes it apart at its end; in between each
 * part is written by one file alone, which the comment at its type names.
 * Every file may read all of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ENDPOINT_H
#define MRB_ENDPOINT_H

#include "lib/ilist.h"

#include "adapter/adapter.h"
#include "common/timer.h"
#include "endpoint/endpoint_stats.h"

typedef struct MrbServer MrbServer;

/* Endpoints that serve together: its caches wait for its routers. */
typedef struct MrbZone
{
	char	   *name;
	int			routers;		/* endpoints of stage 0 */
	int			caches;			/* endpoints of stage 1 */
} MrbZone;

/* Its items, and how far they let it come; by item.c. */
typedef struct MrbItems
{
	dlist_head	all;
	pairingheap unacked;		/* by lowest epoch not acknowledged */
	pairingheap unsettled;		/* by lowest epoch not repeated */
	int			bulk;			/* items of the resync's chunk not done */
} MrbItems;

/* Its items that can be sent; by ready_list.c. */
typedef struct MrbReadyLists
{
	dlist_head	live;			/* new changes, */
	dlist_head	retry;			/* what has failed before, */
	dlist_head	bulk;			/* and what a resync sends */
	dlist_head	sending;		/* begun, with requests to start */
} MrbReadyLists;

/* How far it has come according to its row; by endpoint_state.c. */
typedef struct MrbProgress
{
	int64		acked_epoch;
	int64		settled_epoch;
} MrbProgress;

/* The marker that is written into its table and read back; by marker.c. */
typedef struct MrbMarker
{
	int64		epoch;			/* as last written; 0: no marker is written */
	int64		verified_epoch; /* everything up to it is in the table */
	bool		unread;			/* it was never read back */
	int			failures;		/* readings without it, lately */
	int			hits;			/* readings with it since the last of those */
	bool		reported;		/* that it is unverified */
	MrbTimer	timer;
	MrbTick		due;			/* when it is read again at the latest */
} MrbMarker;

/* Sending it all routes, chunk by chunk; by resync.c. */
typedef struct MrbResync
{
	char	   *after;			/* deployments up to here are sent; NULL: none
								 * goes on */
	char	   *chunk_end;		/* after, once the chunk is done */
	bool		chunk_last;
	bool		repurges;		/* caches may hold what it forgot */
} MrbResync;

/* Its place among the endpoints that have something to send; by run_queue.c. */
typedef struct MrbTurn
{
	bool		queued;
	dlist_node	node;
} MrbTurn;

/* Its requests; by inflight.c. */
typedef struct MrbRequests
{
	dlist_head	list;
	int			in_flight;
} MrbRequests;

/* The token bucket of its adapter's rate; by rate_limit.c. */
typedef struct MrbRate
{
	double		tokens;
	MrbTick		filled_at;		/* when they were counted; 0: never */
	MrbTimer	timer;
} MrbRate;

/* The server that it shares a circuit breaker of; by circuit_breaker.c. */
typedef struct MrbCircuit
{
	MrbServer  *server;
	dlist_node	node;
} MrbCircuit;

/* What a scheduler is to be asked; by scale_queue.c. */
typedef struct MrbAgenda
{
	dlist_head	wants;			/* all */
	dlist_head	ups;			/* ready, with instances to start first */
	dlist_head	others;			/* ready */
} MrbAgenda;

/* Whether requests succeed; by health.c. */
typedef struct MrbVitals
{
	MrbHealth	health;
	int			window;			/* requests that may be in flight */
	uint32		round;			/* rises when that changes */
	int			failures;		/* in a row */
	int64		taken;			/* messages, in all */
	bool		probing;		/* one request at a time */
	bool		unreachable;	/* the last failure was a connection's */
	int			last_status;	/* of HTTP; 0: none */
	char		last_error[256];
	TimestampTz last_error_at;	/* 0: never */
	TimestampTz last_success_at;	/* 0: never */
	TimestampTz next_try_at;	/* 0: it is not waited */
	MrbTimer	retry_timer;
} MrbVitals;

/* What is to be written down about it; by dirty.c. */
typedef struct MrbDirty
{
	bool		born;			/* its row is of this config */
	bool		listed;			/* among the endpoints to write */
	dlist_node	node;
	dlist_head	notes;
	int			held_back;		/* notes without which its position is not
								 * published */
} MrbDirty;

/* Bounds of the delay after which an endpoint that fails is tried again. */
#define MRB_ENDPOINT_RETRY_MIN_MS 100
#define MRB_ENDPOINT_RETRY_MAX_MS 30000

typedef struct MrbEndpoint
{
	dlist_node	node;			/* in the list of all */
	MemoryContext context;		/* of everything that was read */
	bool		listed;			/* by the last reading */

	/* what it was set up as; by endpoint_list.c */
	char	   *name;
	char	   *url;
	char	   *secret;			/* or NULL */
	char	   *previous_secret;	/* being rotated out, or NULL */
	char	   *config;			/* fingerprint; another one: resync */
	char	   *settings;		/* fingerprint; another one: read again */
	Jsonb	   *selector;
	char	   *zone_name;
	MrbZone    *zone;			/* NULL until the endpoint is adopted */
	int			stage;
	bool		edge;			/* counts for stages */
	int64		generation;		/* rises with every change */
	MrbAdapter *adapter;

	MrbItems	items;
	MrbReadyLists ready;
	MrbProgress progress;
	MrbMarker	marker;
	MrbResync	resync;
	MrbTurn		turn;
	MrbRequests requests;
	MrbRate		rate;
	MrbCircuit	circuit;
	MrbAgenda	agenda;
	MrbVitals	vitals;
	MrbEndpointStats stats;		/* what others see; by publish.c */
	MrbDirty	dirty;
} MrbEndpoint;

#endif							/* MRB_ENDPOINT_H */
