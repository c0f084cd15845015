/*-------------------------------------------------------------------------
 *
 * endpoint_stats.h
 *	  Shared memory: where each endpoint stands, and what was counted of it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ENDPOINT_STATS_H
#define MRB_ENDPOINT_STATS_H

#include "lib/ilist.h"

#include "common/histogram.h"
#include "common/registry.h"

typedef enum MrbHealth
{
	MRB_HEALTH_NEW,
	MRB_HEALTH_HEALTHY,
	MRB_HEALTH_BACKING_OFF,
	MRB_HEALTH_MISCONFIGURED,
	MRB_HEALTH_GONE,			/* answers that it is gone */
	MRB_HEALTH_UNVERIFIED,		/* healthy, but does not keep its marker; only
								 * shown, see mrb_health_shown() */
} MrbHealth;

/* As long as a deployment's id can be, with its end. */
#define MRB_POSITION_ID 256

/* Where an endpoint stands, as others see it. */
typedef struct MrbPosition
{
	char		name[NAMEDATALEN];
	int64		generation;
	int64		acked_epoch;	/* nothing that it passes is unwritten */
	int64		settled_epoch;
	int64		verified_epoch;
	TimestampTz acked_at;		/* when acked_epoch was last moved */
	MrbHealth	health;
	bool		probing;		/* it is tried again */
	bool		breaker_open;	/* nothing is sent to it */
	int			failures;		/* in a row */
	int			last_status;	/* 0: none */
	TimestampTz last_error_at;	/* 0: never */
	TimestampTz last_success_at;	/* 0: never */
	TimestampTz next_try_at;	/* 0: it is not waited */
	bool		resyncing;		/* it has everything up to resync_after */
	char		resync_after[MRB_POSITION_ID];
	char		last_error[256];
} MrbPosition;

/* Counted since the entry was taken, or reset. */
typedef struct MrbTally
{
	int64		sent;			/* requests, */
	int64		retried;		/* of which of what had failed before */
	int64		succeeded;
	int64		failed;
	MrbHistogram latency;		/* from commit to acknowledgement */
} MrbTally;

typedef struct MrbEndpointStat MrbEndpointStat;

/* Belongs to an endpoint of the dispatcher: what others see of it. */
typedef struct MrbEndpointStats
{
	MrbEndpointStat *entry;		/* NULL: all entries were taken */
	MrbTally   *inherited;		/* what its predecessor counted, or NULL */
	bool		changed;		/* and so in mrb_endpoint_stats_changed */
	dlist_node	changed_node;
} MrbEndpointStats;

extern void mrb_endpoint_stats_install(void);

/* The process is the dispatcher of its database; it is no longer. */
extern void mrb_endpoint_stats_begin(MrbRegistrySlot *slot);
extern void mrb_endpoint_stats_end(void);

/* What it does for an endpoint; without an entry, nothing is done. */
extern void mrb_endpoint_stats_inherit(MrbEndpointStats *stats,
									   const MrbEndpointStats *predecessor);
extern void mrb_endpoint_stats_claim(MrbEndpointStats *stats, const char *name);
extern void mrb_endpoint_stats_drop(MrbEndpointStats *stats);
extern void mrb_endpoint_stats_mark(MrbEndpointStats *stats);
extern MrbEndpointStats *mrb_endpoint_stats_next_changed(void);
extern const MrbPosition *mrb_endpoint_stats_position(const MrbEndpointStats *stats);
extern void mrb_endpoint_stats_publish(MrbEndpointStats *stats, const MrbPosition *position);
extern void mrb_endpoint_stats_sent(MrbEndpointStats *stats, bool retry);
extern void mrb_endpoint_stats_answered(MrbEndpointStats *stats, bool success);
extern void mrb_endpoint_stats_acknowledged(MrbEndpointStats *stats, TimestampTz since);

/*
 * For everybody.  Entries are numbered from 0 to below mrb_endpoint_stats_entries();
 * false: that one is not taken by an endpoint of the database.  A tally may
 * be left out.
 */
extern int	mrb_endpoint_stats_entries(void);
extern bool mrb_endpoint_stats_read(int number, Oid database, MrbPosition *position,
									MrbTally *tally);

/* Its acked_epoch while it is that endpoint's; else, or in a resync, -1. */
extern int64 mrb_endpoint_stats_acked(int number, Oid database, const char *name);

/* How many entries are taken, by all databases. */
extern int	mrb_endpoint_stats_taken(void);

/* Forget what was counted; name NULL: of all, and of the dispatcher. */
extern void mrb_endpoint_stats_reset(Oid database, const char *name);

#endif							/* MRB_ENDPOINT_STATS_H */
