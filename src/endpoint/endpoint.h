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

/* Endpoints that serve together; its caches wait for its routers. */
typedef struct MrbZone
{
	char	   *name;
	int			routers;		/* endpoints of stage 0 */
	int			caches;			/* endpoints of stage 1 */
} MrbZone;

/* The items of an endpoint, and how far it has acknowledged; by item.c. */
typedef struct MrbItems
{
	dlist_head	all;
	pairingheap unacked;		/* by lowest epoch not acknowledged */
	pairingheap unsettled;		/* by lowest epoch not repeated */
	int			bulk;			/* pending items of the resync's chunk */
	dlist_head	parked;			/* rejected items; by queue.c */
	int64		rejecting;		/* health.taken when the last of them began to
								 * fail; -1: there was none */
} MrbItems;

/* Items that can be sent; by ready_list.c. */
typedef struct MrbReadyLists
{
	dlist_head	live;			/* new changes */
	dlist_head	retry;			/* items that have failed before */
	dlist_head	bulk;			/* items of a resync */
	dlist_head	sending;		/* begun, with requests left to start */
} MrbReadyLists;

/* The position in the endpoint's row; by endpoint_state.c. */
typedef struct MrbProgress
{
	int64		acked_epoch;
	int64		settled_epoch;
} MrbProgress;

/* The marker in the endpoint's routing table; by marker.c. */
typedef struct MrbMarker
{
	int64		epoch;			/* as last written; 0: none was written */
	int64		verified_epoch; /* changes up to it are known to be there */
	bool		unread;			/* not read back since it was written */
	int			failures;		/* recent reads that did not find it */
	int			hits;			/* reads that found it since then */
	bool		reported;		/* the endpoint is logged as unverified */
	MrbTimer	timer;
	MrbTick		due;			/* time of the next read */
} MrbMarker;

/* A resync: all routes are sent, chunk by chunk; by resync.c. */
typedef struct MrbResync
{
	char	   *after;			/* id of the last deployment that is done;
								 * NULL: no resync is running */
	char	   *chunk_end;		/* value of after once the chunk is done */
	bool		chunk_last;		/* no chunk follows */
	bool		repurges;		/* caches may hold pages of old routes */
} MrbResync;

/* The place in the queue of endpoints with work; by run_queue.c. */
typedef struct MrbTurn
{
	bool		queued;
	dlist_node	node;
} MrbTurn;

/* Requests in flight; by inflight.c. */
typedef struct MrbRequests
{
	dlist_head	list;
	int			in_flight;
} MrbRequests;

/* The token bucket for the adapter's rate; by rate_limit.c. */
typedef struct MrbRate
{
	double		tokens;
	MrbTick		filled_at;		/* time of the last filling; 0: never */
	MrbTimer	timer;
} MrbRate;

/* The server, which has the circuit breaker; by circuit_breaker.c. */
typedef struct MrbCircuit
{
	MrbServer  *server;
	dlist_node	node;
} MrbCircuit;

/* Capacity requests to a scheduler, as MrbScaleEntry; by scale_queue.c. */
typedef struct MrbScaleLists
{
	dlist_head	entries;		/* all */
	dlist_head	ready_scale_up; /* ready, and the next task starts instances */
	dlist_head	ready_other;	/* ready, and the next task stops or polls */
} MrbScaleLists;

/* Numbered messages that were sent; by feed.c. */
typedef struct MrbFeedPosition
{
	int64		sent;			/* number of the last one; 0: not known */
	int64		recorded;		/* the same in its row */
	int			refused;		/* how often the next one was refused */
} MrbFeedPosition;

/* Health, and the errors that are shown; by health.c. */
typedef struct MrbEndpointHealth
{
	MrbHealth	state;
	int			window;			/* requests that may be in flight */
	uint32		round;			/* rises when health changes */
	int			failures;		/* in a row */
	int64		taken;			/* number of messages accepted */
	bool		probing;		/* it is retried, one request at a time */
	bool		unreachable;	/* the last failure was to connect */
	bool		asked_to_wait;	/* the last failure had a Retry-After */
	int			last_status;	/* HTTP status; 0: none */
	char		last_error[256];
	TimestampTz last_error_at;	/* 0: never */
	TimestampTz last_success_at;	/* 0: never */
	TimestampTz next_try_at;	/* end of the back-off; 0: none */
	MrbTimer	retry_timer;
} MrbEndpointHealth;

/* Changes that are not written yet; by dirty.c. */
typedef struct MrbDirty
{
	bool		has_row;		/* in endpoint_state, of this config */
	bool		listed;			/* in mrb_dirty_endpoints */
	dlist_node	node;
	dlist_head	notes;
	int			held_back;		/* notes that must be written before the
								 * position is published */
} MrbDirty;

/* Bounds of the back-off of an endpoint that fails. */
#define MRB_ENDPOINT_RETRY_MIN_MS 100
#define MRB_ENDPOINT_RETRY_MAX_MS 30000

/* Longest Retry-After that is honored, in seconds. */
#define MRB_RETRY_AFTER_MAX_S 3600

typedef struct MrbEndpoint
{
	dlist_node	node;			/* in mrb_endpoint_list_all */
	MemoryContext context;		/* of the endpoint and its settings */
	bool		listed;			/* found, unchanged, by the last read */

	/* settings; by endpoint_list.c */
	char	   *name;
	char	   *url;
	char	   *secret;			/* or NULL */
	char	   *previous_secret;	/* being rotated out, or NULL */
	char	   *config;			/* fingerprint; a change needs a resync */
	char	   *settings;		/* fingerprint; a change needs a new read */
	Jsonb	   *selector;
	char	   *zone_name;
	MrbZone    *zone;			/* NULL until the endpoint is adopted */
	int			stage;
	bool		edge;			/* a router or a cache */
	int64		generation;		/* rises with every change of settings */
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
	MrbScaleLists scale;
	MrbFeedPosition numbered;
	MrbEndpointHealth health;
	MrbEndpointStats stats;		/* by endpoint_stats.c */
	MrbDirty	dirty;
} MrbEndpoint;

#endif							/* MRB_ENDPOINT_H */
