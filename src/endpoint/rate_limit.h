/*-------------------------------------------------------------------------
 *
 * rate_limit.h
 *	  Limit the requests to an endpoint to the rate of its adapter.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_RATE_LIMIT_H
#define MRB_RATE_LIMIT_H

#include "endpoint/endpoint.h"

/* Whether one more request may start now; if not, a timer activates the
 * endpoint as soon as it may. */
extern bool mrb_rate_limit_allows(MrbEndpoint *endpoint);

/* Count a request. */
extern void mrb_rate_limit_spend(MrbEndpoint *endpoint);

#endif							/* MRB_RATE_LIMIT_H */
