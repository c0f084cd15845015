/*-------------------------------------------------------------------------
 *
 * flush.h
 *	  Write the positions of endpoints into their rows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_FLUSH_H
#define MRB_FLUSH_H

#include "common/registry.h"

/*
 * Write dirty endpoints, if it is time to.  Return true if that has added
 * rows to the outbox.
 */
extern bool mrb_flush_step(MrbRegistrySlot *slot, bool busy);

/* Write all dirty endpoints, before the process ends. */
extern void mrb_flush_run(void);

/* Milliseconds until the next write is due, at most most. */
extern long mrb_flush_wait(long most);

/* Delete the rows of deleted endpoints. */
extern void mrb_flush_tidy(void);

#endif							/* MRB_FLUSH_H */
