/*-------------------------------------------------------------------------
 *
 * resync.h
 *	  Telling an endpoint everything.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_RESYNC_H
#define MRB_RESYNC_H

#include "endpoint/endpoint.h"

extern void mrb_resync_begin(MrbEndpoint *endpoint);

/* Fetch what is to be told next, where the last chunk is done. */
extern void mrb_resync_step(void);

/* Milliseconds until the next step is due, at most most. */
extern long mrb_resync_wait(long most);

#endif							/* MRB_RESYNC_H */
