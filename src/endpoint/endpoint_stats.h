/*-------------------------------------------------------------------------
 *
 * endpoint_stats.h
 *	  Positions and counters of endpoints in shared memory.
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
	MRB_HEALTH_GONE,			/* responds that it is gone */
	MRB_HEALTH_UNVERIFIED,		/* healthy, but does not return its marker;
								 * see mrb_health_shown() */
} MrbHealth;

/* Size of the longest id of a deployment, with its terminator. */
#define MRB_POSITION_ID 256

/* The published state of an endpoint. */
typedef struct MrbPosition
{
	char		name[NAMEDATALEN];
	int64		generation;
	int64		acked_epoch;	/* all notes up to it are written */
	int64		settled_epoch;
	int64		verified_epoch;
	TimestampTz acked_at;		/* when acked_epoch last changed */
	MrbHealth	health;
	bool		probing;		/* it is retried */
	bool		breaker_open;	/* no requests are sent */
	int			failures;		/* in a row */
	int			last_status;	/* 0: none */
	TimestampTz last_error_at;	/* 0: never */
	TimestampTz last_success_at;	/* 0: never */
	TimestampTz next_try_at;	/* end of the back-off; 0: none */
	bool		resyncing;		/* it has the routes up to resync_after */
	char		resync_after[MRB_POSITION_ID];
	char		last_error[256];
} MrbPosition;

/* Counters since the entry was taken or reset. */
typedef struct MrbTally
{
	int64		sent;			/* requests */
	int64		retried;		/* requests about items that had failed */
	int64		succeeded;
	int64		failed;
	MrbHistogram latency;		/* from commit to acknowledgement */
} MrbTally;

typedef struct MrbEndpointStatsEntry MrbEndpointStatsEntry;

/* An endpoint's link to its entry in shared memory. */
typedef struct MrbEndpointStats
{
	MrbEndpointStatsEntry *entry;	/* NULL: all entries were taken */
	MrbTally   *inherited;		/* counters of its predecessor, or NULL */
	bool		changed;		/* to be published */
	dlist_node	changed_node;
} MrbEndpointStats;

extern void mrb_endpoint_stats_install(void);

/* The process becomes the dispatcher of its database; it ends. */
extern void mrb_endpoint_stats_begin(MrbRegistrySlot *slot);
extern void mrb_endpoint_stats_end(void);

/* For the dispatcher; without an entry these do nothing. */
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
 * For every process.  Entries are numbered from 0 to
 * mrb_endpoint_stats_entries() - 1.  Return false if the entry does not belong
 * to an endpoint of the database.  tally may be NULL.
 */
extern int	mrb_endpoint_stats_entries(void);
extern bool mrb_endpoint_stats_read(int number, Oid database, MrbPosition *position,
									MrbTally *tally);

/* acked_epoch of the named endpoint; -1 if it is another or in a resync. */
extern int64 mrb_endpoint_stats_read_acked(int number, Oid database, const char *name);

/* Number of entries in use by all databases. */
extern int	mrb_endpoint_stats_in_use(void);

/* Set counters to zero; without a name those of all endpoints and of the
 * dispatcher. */
extern void mrb_endpoint_stats_reset(Oid database, const char *name);

#endif							/* MRB_ENDPOINT_STATS_H */
