/*-------------------------------------------------------------------------
 *
 * convergence_log.h
 *	  Writes when edges had an operation into miosa.convergence_log.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CONVERGENCE_LOG_H
#define MRB_CONVERGENCE_LOG_H

#include "common/timer.h"

typedef struct MrbConvergenceLog
{
	bool		due;			/* its timer has fired */
	MrbTimer	timer;
	MrbTick		since;			/* reports are gathered */
	int64		unseen_after;	/* epochs of operations that a predecessor may */
	int64		unseen_until;	/* not have written */
	MemoryContext context;		/* of one step */
} MrbConvergenceLog;

extern void mrb_convergence_log_init(MrbConvergenceLog *log);

/* Endpoints were loaded: nothing is known of what came up to this epoch. */
extern void mrb_convergence_log_begin(MrbConvergenceLog *log, int64 epoch);

/* Write what is there, some time after the first report. */
extern void mrb_convergence_log_step(MrbConvergenceLog *log);

/* Write all that is there, at the end of the process. */
extern void mrb_convergence_log_run(MrbConvergenceLog *log);

#endif							/* MRB_CONVERGENCE_LOG_H */
