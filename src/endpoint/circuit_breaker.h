/*-------------------------------------------------------------------------
 *
 * circuit_breaker.h
 *	  A circuit breaker for every server that endpoints share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CIRCUIT_BREAKER_H
#define MRB_CIRCUIT_BREAKER_H

#include "endpoint/endpoint.h"

/* Called for each endpoint of a server that may be connected to again. */
typedef void (*MrbCircuitBreakerRetry) (MrbEndpoint *endpoint);

extern void mrb_circuit_breaker_init(MemoryContext context, MrbCircuitBreakerRetry retry);

/* Add the endpoint to its server, or remove it from there. */
extern void mrb_circuit_breaker_attach(MrbEndpoint *endpoint);
extern void mrb_circuit_breaker_detach(MrbEndpoint *endpoint);

/* Whether the circuit of the endpoint's server allows another request. */
extern bool mrb_circuit_breaker_allows(const MrbEndpoint *endpoint);

/* A request was started; it has ended. */
extern void mrb_circuit_breaker_started(MrbEndpoint *endpoint);
extern void mrb_circuit_breaker_ended(MrbEndpoint *endpoint);

/* A connection to the server failed; one succeeded. */
extern void mrb_circuit_breaker_failed(MrbEndpoint *endpoint);
extern void mrb_circuit_breaker_succeeded(MrbEndpoint *endpoint);

/* When the server is tried next; 0 while its circuit is closed. */
extern TimestampTz mrb_circuit_breaker_next_try(const MrbEndpoint *endpoint);

#endif							/* MRB_CIRCUIT_BREAKER_H */
