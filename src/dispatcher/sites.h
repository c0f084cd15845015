/*-------------------------------------------------------------------------
 *
 * sites.h
 *	  Tells other sites how far this one has come.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SITES_H
#define MRB_SITES_H

#include "common/timer.h"

/* Number of epochs of the primary site that are remembered. */
#define MRB_SITES_MARKS 64

/* When edges have acknowledged the one epoch, they have the other. */
typedef struct MrbSitesMark
{
	int64		epoch;			/* of this site's route log */
	int64		origin_epoch;	/* of the primary site's */
} MrbSitesMark;

typedef struct MrbSites
{
	MrbTimer	timer;
	bool		waits;			/* the timer has not fired yet */
	int64		term;			/* to which the rest belongs */

	/* a replica: what edges lack, in the order of the epochs */
	int			nmarks;
	MrbSitesMark marks[MRB_SITES_MARKS];
	int64		confirmed;		/* origin_epoch that all edges have */

	/* what was written last */
	bool		idle;
	int64		written;		/* epoch */
	int			edges;
	int			behind;
	MrbTick		written_at;
	MrbTick		looked_at;		/* a replica: at its edges */
	bool		alone;			/* the primary site: there is no other one */
} MrbSites;

/*
 * Settings have been read: there may be other sites now.  In a new term, or when
 * fresh, all is forgotten, and begins at these epochs.
 */
extern void mrb_sites_look(MrbSites *sites, bool fresh, int64 term, int64 epoch,
						   int64 origin_epoch);

/* A pass has taken changes; origin_epoch is 0 when they were made here. */
extern void mrb_sites_note(MrbSites *sites, int64 epoch, int64 origin_epoch);

/* Whether others receive what this site commits. */
extern bool mrb_sites_publish(const MrbSites *sites);

/* Write the row of this site if it has changed, or is old. */
extern void mrb_sites_step(MrbSites *sites);

#endif							/* MRB_SITES_H */
