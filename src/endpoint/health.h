/*-------------------------------------------------------------------------
 *
 * health.h
 *	  Health of an endpoint: whether requests may be sent, and when to retry.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_HEALTH_H
#define MRB_HEALTH_H

#include "endpoint/inflight.h"

typedef void (*MrbHealthProbe) (MrbEndpoint *endpoint);

/* probe is called when an endpoint that backs off may be tried. */
extern void mrb_health_init(MemoryContext context, MrbHealthProbe probe);

/* Whether one more request may be started. */
extern bool mrb_health_may_send(const MrbEndpoint *endpoint);

extern void mrb_health_succeeded(MrbEndpoint *endpoint, int status);
extern void mrb_health_failed(const MrbInflight *inflight,
							  const MrbHttpAnswer *answer, const char *why);

/* The endpoint responds that it is gone; it is retried every gone_retry. */
extern void mrb_health_gone(const MrbInflight *inflight,
							const MrbHttpAnswer *answer, const char *why);

/* Apply the verdict on an answer: one of the above. */
extern void mrb_health_note_answer(const MrbInflight *inflight, const MrbHttpAnswer *answer,
								   MrbVerdict verdict, const char *why);

/* Show an error without backing off. */
extern void mrb_health_note_error(MrbEndpoint *endpoint, int status,
								  const char *why);

/* The endpoint cannot work as it is configured. */
extern void mrb_health_misconfigured(MrbEndpoint *endpoint,
									 const char *problem);

/* Take the history over from the endpoint's predecessor. */
extern void mrb_health_inherit(MrbEndpoint *endpoint,
							   const MrbEndpoint *predecessor);

/* The health that is published. */
extern MrbHealth mrb_health_shown(const MrbEndpoint *endpoint);
extern const char *mrb_health_name(MrbHealth health);

/* The health of that name; new, if there is none of it. */
extern MrbHealth mrb_health_find(const char *name);

#endif							/* MRB_HEALTH_H */
