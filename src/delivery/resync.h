/*-------------------------------------------------------------------------
 *
 * resync.h
 *	  Resynchronize an endpoint: send it the routes of all deployments.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_RESYNC_H
#define MRB_RESYNC_H

#include "endpoint/endpoint.h"

extern void mrb_resync_begin(MrbEndpoint *endpoint);

/* Read the next chunk for endpoints whose last chunk is done. */
extern void mrb_resync_step(void);

/* Milliseconds until the next step is due, at most most. */
extern long mrb_resync_wait(long most);

#endif							/* MRB_RESYNC_H */
