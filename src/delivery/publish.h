/*-------------------------------------------------------------------------
 *
 * publish.h
 *	  Letting others see how far endpoints have come.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_PUBLISH_H
#define MRB_PUBLISH_H

#include "common/registry.h"

/* Show what has changed, and wake who waits for it. */
extern void mrb_publish_step(MrbRegistrySlot *slot);

/* Milliseconds until there is something to do, at most most. */
extern long mrb_publish_wait(long most);

#endif							/* MRB_PUBLISH_H */
