/*-------------------------------------------------------------------------
 *
 * rate_limit.h
 *	  Limit the requests to an endpoint to its adapter's rate.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_RATE_LIMIT_H
#define MRB_RATE_LIMIT_H

#include "endpoint/endpoint.h"

/* Milliseconds until the endpoint's adapter allows one more request. */
extern int	mrb_rate_limit_wait(MrbEndpoint *endpoint);

/* Count a request. */
extern void mrb_rate_limit_spend(MrbEndpoint *endpoint);

#endif							/* MRB_RATE_LIMIT_H */
