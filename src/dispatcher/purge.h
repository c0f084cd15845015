/*-------------------------------------------------------------------------
 *
 * purge.h
 *	  Deletes expired rows when no cron job does.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_PURGE_H
#define MRB_PURGE_H

#include "utils/array.h"

#include "common/timer.h"

/* How far a run has come. */
typedef struct MrbPurgeRun
{
	int			kind;			/* of rows; past the last one: the route log */
	char	   *next;			/* where the next page begins; NULL: the end */
	ArrayType  *rows;			/* addresses of expired rows, or NULL */
	int			nrows;
	int			done;			/* of these */
	bool		removed;		/* the last step deleted something */
	bool		ended;
} MrbPurgeRun;

typedef struct MrbPurge
{
	MrbPurgeRun run;
	int			runs;			/* that have ended */
	MemoryContext page;			/* of run.next and run.rows */
	MrbTimer	timer;			/* of the next step */
	bool		due;			/* it has fired */
} MrbPurge;

extern void mrb_purge_init(MrbPurge *purge);

/* Delete the next rows, if a run is due or goes on. */
extern void mrb_purge_step(MrbPurge *purge);

#endif							/* MRB_PURGE_H */
