/*-------------------------------------------------------------------------
 *
 * dispatcher.h
 *	  The dispatcher: one pass of taking work, one turn of delivering it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DISPATCHER_H
#define MRB_DISPATCHER_H

#include "common/registry.h"

extern void mrb_dispatcher_create(MrbRegistrySlot *slot);

/* What to wait for besides the latch, and how long at most. */
extern int	mrb_dispatcher_descriptor(void);
extern long mrb_dispatcher_max_wait(void);

/* Take what was committed; false when the extension is gone. */
extern bool mrb_dispatcher_pass(void);

/* Why nobody is told; NULL when they are. */
extern const char *mrb_dispatcher_paused(void);

/* Send, receive, write down.  Never waits. */
extern void mrb_dispatcher_deliver(void);

#endif							/* MRB_DISPATCHER_H */
