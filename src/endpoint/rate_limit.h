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

/*
 * Whether the endpoint's adapter allows one more request now; if not, the
 * endpoint is put into the run queue when it does.
 */
extern bool mrb_rate_limit_allows(MrbEndpoint *endpoint);

/* Count a request. */
extern void mrb_rate_limit_spend(MrbEndpoint *endpoint);

#endif							/* MRB_RATE_LIMIT_H */
