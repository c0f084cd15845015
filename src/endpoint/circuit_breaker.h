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

/* Called for each endpoint of a server that may be tried. */
typedef void (*MrbCircuitBreakerRetry) (MrbEndpoint *endpoint);

extern void mrb_circuit_breaker_init(MemoryContext context, MrbCircuitBreakerRetry retry);

/* The endpoint joins or leaves those of its scheme, host and port. */
extern void mrb_circuit_breaker_attach(MrbEndpoint *endpoint);
extern void mrb_circuit_breaker_detach(MrbEndpoint *endpoint);

/* Whether a request may be started; only the server is looked at. */
extern bool mrb_circuit_breaker_allows(const MrbEndpoint *endpoint);

/* A request is under way; it has ended. */
extern void mrb_circuit_breaker_began(MrbEndpoint *endpoint);
extern void mrb_circuit_breaker_ended(MrbEndpoint *endpoint);

/* It could not be connected to; it could. */
extern void mrb_circuit_breaker_failed(MrbEndpoint *endpoint);
extern void mrb_circuit_breaker_worked(MrbEndpoint *endpoint);

/* When the server is tried again; 0: its circuit is closed. */
extern TimestampTz mrb_circuit_breaker_next_try(const MrbEndpoint *endpoint);

#endif							/* MRB_CIRCUIT_BREAKER_H */
