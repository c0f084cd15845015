/*-------------------------------------------------------------------------
 *
 * endpoint.h
 *	  Endpoints as the dispatcher knows them: what they were set up as, how
 *	  far they have come, and how they are.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ENDPOINT_H
#define MRB_ENDPOINT_H

#include "lib/ilist.h"
#include "nodes/pg_list.h"

#include "adapter.h"
#include "route.h"
#include "timer.h"

typedef enum MrbHealth
{
	MRB_HEALTH_NEW,
	MRB_HEALTH_HEALTHY,
	MRB_HEALTH_BACKING_OFF,
	MRB_HEALTH_MISCONFIGURED,
}			MrbHealth;

typedef struct MrbZone
{
	char	   *name;
	int			routers;		/* endpoints of stage 0 */
	int			caches;			/* endpoints of stage 1 */
}			MrbZone;

typedef struct MrbEndpoint
{
	dlist_node	node;			/* in the list of all */
	MemoryContext context;		/* of everything that was read */
	bool		listed;			/* by the last reading */

	/* what it was set up as */
	char	   *name;
	char	   *url;
	char	   *secret;			/* or NULL */
	char	   *config;			/* fingerprint; another one: resync */
	char	   *settings;		/* fingerprint; another one: read again */
	Jsonb	   *selector;
	MrbZone    *zone;
	int			stage;
	bool		edge;			/* counts for stages */
	MrbAdapter *adapter;		/* NULL: misconfigured */

	/* how far it has come; queue.c keeps the heaps */
	pairingheap unacked;		/* items by lowest epoch not acknowledged */
	pairingheap unsettled;		/* items by lowest epoch not repeated */
	int64		acked_epoch;	/* as last written down */
	int64		settled_epoch;
	int64		verified_epoch;
	int64		marker_epoch;	/* 0: no marker is written */
	char	   *resync_after;	/* NULL: no resync */
	char	   *chunk_end;		/* resync_after once the chunk is done */
	bool		chunk_last;
	int			chunk_left;		/* items of the chunk not done */
	bool		resync_repurges;	/* caches may hold what it forgot */

	/* what is to be sent, by queue.c; active when something is */
	dlist_head	items;
	dlist_head	live;
	dlist_head	retry;
	dlist_head	bulk;
	dlist_head	sending;		/* begun, with requests to start */
	dlist_node	active_node;
	bool		active;

	/* requests, by deliver.c */
	dlist_head	requests;
	int			in_flight;
	uint32		round;			/* rises when its health changes */

	/* how it is */
	MrbHealth	health;
	int			failures;		/* in a row */
	int64		successes;
	bool		probing;		/* one request at a time */
	int			last_status;
	char		last_error[256];
	TimestampTz last_error_at;
	TimestampTz last_success_at;
	TimestampTz next_try_at;
	TimestampTz acked_at;
	MrbTimer	retry_timer;
	MrbTimer	marker_timer;

	/* what is to be written down, by record.c */
	bool		born;			/* its row exists */
	bool		dirty;
	dlist_node	dirty_node;
	dlist_head	notes;
}			MrbEndpoint;

extern dlist_head mrb_endpoints;

#define mrb_endpoint_foreach(iter) dlist_foreach(iter, &mrb_endpoints)
#define mrb_endpoint_current(iter) \
	dlist_container(MrbEndpoint, node, (iter).cur)

/*
 * Read what is set up, in the caller's transaction.  Returns the endpoints
 * that are new or were changed, made in the current context; those that are
 * known and unchanged are marked as listed.
 */
extern List *mrb_endpoint_read(int64 term, int64 newest_epoch);

/* Make the endpoint one of mrb_endpoints; take it away again and free it. */
extern void mrb_endpoint_adopt(MrbEndpoint *endpoint, MemoryContext context);
extern void mrb_endpoint_drop(MrbEndpoint *endpoint);
extern MrbEndpoint *mrb_endpoint_find(const char *name);

/* Whether it is told of the deployment. */
extern bool mrb_endpoint_selects(const MrbEndpoint *endpoint,
								 const MrbRoute *route);

/* A secret by its name, as of the last reading; NULL when there is none. */
extern const char *mrb_endpoint_secret(const char *name);

#endif							/* MRB_ENDPOINT_H */
