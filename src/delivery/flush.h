/*-------------------------------------------------------------------------
 *
 * flush.h
 *	  Writing down how far endpoints have come.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_FLUSH_H
#define MRB_FLUSH_H

#include "common/registry.h"

/*
 * Write down what has changed, if it is time to.  True when that has put work
 * into the outbox.
 */
extern bool mrb_flush_step(MrbRegistrySlot *slot, bool busy);

/* The same at once, before the process ends. */
extern void mrb_flush_run(void);

/* Milliseconds until there is something to write, at most most. */
extern long mrb_flush_wait(long most);

/* Delete what belongs to endpoints that are gone. */
extern void mrb_flush_tidy(void);

#endif							/* MRB_FLUSH_H */
