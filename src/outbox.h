/*-------------------------------------------------------------------------
 *
 * outbox.h
 *	  Committed work: taken from the outbox, put in order in the route log.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_OUTBOX_H
#define MRB_OUTBOX_H

#include "utils/hsearch.h"

#include "route.h"

typedef enum MrbKind
{
	MRB_KIND_ROUTE,
	MRB_KIND_HOST_REMOVED,
	MRB_KIND_REPURGE,
	MRB_KIND_OTHER,				/* nothing that edges are told */
} MrbKind;

/* One row of the route log. */
typedef struct MrbChange
{
	int64		epoch;
	MrbKind		kind;
	char	   *deployment_id;
	char	   *host;			/* removed host, or zone; NULL otherwise */
	int64		route_seq;
	TimestampTz since;
	bool		routed;			/* the removed host is routed again */
} MrbChange;

/* What one transaction has taken, or read again. */
typedef struct MrbTaken
{
	bool		settings;		/* settings have changed */
	bool		more;			/* there is more to take */
	int			nchanges;
	MrbChange  *changes;		/* by epoch */
	int			nroutes;
	MrbRoute   *routes;			/* of all their deployments */
	int64		last_epoch;
} MrbTaken;

/* Whether there is anything to take; a look that writes nothing. */
extern bool mrb_outbox_has_work(void);

/*
 * Take committed work and give it epochs after last_epoch, in the caller's
 * transaction and memory context.  Once that has committed, say so.
 */
extern void mrb_outbox_take(int64 last_epoch, MrbTaken *taken);
extern void mrb_outbox_committed(void);

/* Read again what has come after an epoch, at most limit changes of it. */
extern void mrb_outbox_read_log(int64 after, int limit,
								MrbTaken *taken);

/*
 * A table of the caller's memory context, whose entries begin with the pointer
 * to an id.  Ids have any length: an owner can load them.
 */
extern HTAB *mrb_outbox_id_table(const char *name, long nelem,
								 Size entrysize);

#endif							/* MRB_OUTBOX_H */
