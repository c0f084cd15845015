/*-------------------------------------------------------------------------
 *
 * publish.h
 *	  Publish the positions of endpoints in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_PUBLISH_H
#define MRB_PUBLISH_H

#include "common/registry.h"

/* Publish changed positions, and wake the processes that wait for them. */
extern void mrb_publish_step(MrbRegistrySlot *slot);

/* Milliseconds until the next step is due, at most most. */
extern long mrb_publish_wait(long most);

#endif							/* MRB_PUBLISH_H */
