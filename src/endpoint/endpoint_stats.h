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
	MrbLatency	latency;		/* from commit to acknowledgement */
} MrbTally;

typedef struct MrbStat MrbStat;

/* Belongs to an endpoint of the dispatcher: what others see of it. */
typedef struct MrbPublic
{
	MrbStat    *stat;			/* NULL: all entries were taken */
	MrbTally   *before;			/* what its predecessor counted, or NULL */
	bool		changed;		/* and so in mrb_stats_changed */
	dlist_node	changed_node;
	int			unwritten;		/* notes that its cursor must wait for */
} MrbPublic;

/* What is to be published, by publish.c. */
extern dlist_head mrb_stats_changed;

extern void mrb_stats_install(void);

/* The process is the dispatcher of its database; it is no longer. */
extern void mrb_stats_begin(MrbSlot *slot);
extern void mrb_stats_end(void);

/* What it does for an endpoint; without an entry, nothing is done. */
extern void mrb_stats_inherit(MrbPublic *public,
							  const MrbPublic *predecessor);
extern void mrb_stats_claim(MrbPublic *public, const char *name);
extern void mrb_stats_drop(MrbPublic *public);
extern void mrb_stats_mark(MrbPublic *public);
extern const MrbPosition *mrb_stats_position(const MrbPublic *public);
extern void mrb_stats_publish(MrbPublic *public, const MrbPosition *position);
extern void mrb_stats_sent(MrbPublic *public, bool again);
extern void mrb_stats_answered(MrbPublic *public, bool success);
extern void mrb_stats_acknowledged(MrbPublic *public, TimestampTz since);

/*
 * For everybody.  Entries are numbered from 0 to below mrb_stats_entries();
 * false: that one is not taken by an endpoint of the database.  A tally may
 * be left out.
 */
extern int	mrb_stats_entries(void);
extern bool mrb_stats_read(int entry, Oid database, MrbPosition *position,
						   MrbTally *tally);

/* Its acked_epoch while it is that endpoint's; else, or in a resync, -1. */
extern int64 mrb_stats_acked(int entry, Oid database, const char *name);

/* How many entries are taken, by all databases. */
extern int	mrb_stats_taken(void);

/* Forget what was counted; name NULL: of all, and of the dispatcher. */
extern void mrb_stats_reset(Oid database, const char *name);

#endif							/* MRB_ENDPOINT_STATS_H */
