/*-------------------------------------------------------------------------
 *
 * endpoint_state.h
 *	  The rows that say how far endpoints have come.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ENDPOINT_STATE_H
#define MRB_ENDPOINT_STATE_H

#include "endpoint/endpoint.h"

/* The endpoints of one transaction. */
typedef struct MrbBatch
{
	MrbEndpoint **endpoints;
	int			n;
	bool		queued_work;	/* something was put into the outbox */
} MrbBatch;

/*
 * For mrb_worker_xact_try(): write down an MrbBatch.  Afterwards it holds those
 * that were written; rows that somebody has locked are left out.
 */
extern void mrb_endpoint_state_write(void *arg);

/* The endpoint stands at an epoch; the caller sends it all that came before. */
extern void mrb_endpoint_state_skip(MrbEndpoint *endpoint, int64 epoch);

/* For the same, with NULL: delete what belongs to endpoints that are gone. */
extern void mrb_endpoint_state_tidy(void *arg);

#endif							/* MRB_ENDPOINT_STATE_H */
