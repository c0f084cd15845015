/*-------------------------------------------------------------------------
 *
 * replay.h
 *	  What endpoints had still to be told before the dispatcher knew them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_REPLAY_H
#define MRB_REPLAY_H

#include "nodes/pg_list.h"

/* Load it for these endpoints. */
extern void mrb_replay_load(List *endpoints, int64 trimmed_epoch);

/* Try at once what was not taken and is due by its row. */
extern void mrb_replay_redrive(void);

#endif							/* MRB_REPLAY_H */
