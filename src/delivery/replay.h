/*-------------------------------------------------------------------------
 *
 * replay.h
 *	  After a restart, queue again what endpoints lack.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_REPLAY_H
#define MRB_REPLAY_H

#include "nodes/pg_list.h"

/* Queue for these endpoints what they have not acknowledged. */
extern void mrb_replay_load(List *endpoints, int64 trimmed_epoch);

/* Retry rejected deployments whose rows are due. */
extern void mrb_replay_redrive(void);

#endif							/* MRB_REPLAY_H */
