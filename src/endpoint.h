/*-------------------------------------------------------------------------
 *
 * endpoint.h
 *	  An endpoint as the dispatcher knows it: what it was set up as, how far
 *	  it has come, and how it is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ENDPOINT_H
#define MRB_ENDPOINT_H

#include "lib/ilist.h"

#include "adapter.h"
#include "agenda.h"
#include "quota.h"
#include "stats.h"
#include "zone.h"

/* Bounds of the delay after which an endpoint that fails is tried again. */
#define MRB_ENDPOINT_RETRY_MIN_MS 100
#define MRB_ENDPOINT_RETRY_MAX_MS 30000

typedef struct MrbEndpoint
{
	dlist_node	node;			/* in the list of all */
	MemoryContext context;		/* of everything that was read */
	bool		listed;			/* by the last reading */

	/* what it was set up as */
	char	   *name;
	char	   *url;
	char	   *secret;			/* or NULL */
	char	   *previous_secret;	/* being rotated out, or NULL */
	char	   *config;			/* fingerprint; another one: resync */
	char	   *settings;		/* fingerprint; another one: read again */
	Jsonb	   *selector;
	MrbZone    *zone;
	int			stage;
	bool		edge;			/* counts for stages */
	int64		generation;		/* rises with every change */
	MrbAdapter *adapter;

	/* how far it has come; queue.c keeps the heaps */
	pairingheap unacked;		/* items by lowest epoch not acknowledged */
	pairingheap unsettled;		/* items by lowest epoch not repeated */
	int64		acked_epoch;	/* as last written down */
	int64		settled_epoch;
	int64		verified_epoch;
	int64		marker_epoch;	/* 0: no marker is written */
	bool		marker_unread;	/* it was never read back */
	int			marker_failures;	/* readings without it, lately */
	int			marker_hits;	/* readings with it since the last of those */
	bool		marker_reported;	/* that it is unverified */
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

	/* requests, by send.c */
	dlist_head	requests;
	int			in_flight;
	MrbQuota	quota;
	MrbAgenda	agenda;			/* of a scheduler, by want.c */
	MrbVitals	vitals;			/* how it is, by health.c */
	MrbPublic	public;			/* what others see, by publish.c */
	MrbTimer	marker_timer;
	MrbTick		marker_due;		/* when it is read again at the latest */

	/* what is to be written down, by record.c */
	bool		born;			/* its row is of this config */
	bool		dirty;
	dlist_node	dirty_node;
	dlist_head	notes;
} MrbEndpoint;

#endif							/* MRB_ENDPOINT_H */
