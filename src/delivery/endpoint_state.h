/*-------------------------------------------------------------------------
 *
 * endpoint_state.h
 *	  The rows of miosa.endpoint_state: how far endpoints have come.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ENDPOINT_STATE_H
#define MRB_ENDPOINT_STATE_H

#include "endpoint/endpoint.h"

/* The endpoints that one transaction writes. */
typedef struct MrbBatch
{
	MrbEndpoint **endpoints;
	int			n;
	bool		queued_work;	/* rows were added to the outbox */
} MrbBatch;

/*
 * For mrb_worker_xact_try(): write an MrbBatch.  Afterwards it holds the
 * endpoints that were written; rows that are locked are skipped.
 */
extern void mrb_endpoint_state_write(void *arg);

/* Move the endpoint's position to an epoch; the caller resynchronizes it. */
extern void mrb_endpoint_state_skip(MrbEndpoint *endpoint, int64 epoch);

/* For the same, with NULL: delete the rows of deleted endpoints. */
extern void mrb_endpoint_state_tidy(void *arg);

#endif							/* MRB_ENDPOINT_STATE_H */
