/*-------------------------------------------------------------------------
 *
 * health.h
 *	  Whether an endpoint takes anything at all, and when it is tried again.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_HEALTH_H
#define MRB_HEALTH_H

#include "endpoint/inflight.h"

typedef void (*MrbHealthProbe) (MrbEndpoint *endpoint);

/* probe: called when an endpoint that backs off may be tried again. */
extern void mrb_health_init(MemoryContext context, MrbHealthProbe probe);

/* Whether one more request may be started. */
extern bool mrb_health_may_send(const MrbEndpoint *endpoint);

extern void mrb_health_success(MrbEndpoint *endpoint, int status);
extern void mrb_health_failure(const MrbInflight *inflight,
							   const MrbHttpAnswer *answer, const char *why);

/* It answers that it is gone: it is tried again every gone_retry. */
extern void mrb_health_gone(const MrbInflight *inflight,
							const MrbHttpAnswer *answer, const char *why);

/* Whatever of these an answer means. */
extern void mrb_health_note_answer(const MrbInflight *inflight, const MrbHttpAnswer *answer,
								   MrbVerdict verdict, const char *why);

/* An error that does not make the endpoint back off; only shown. */
extern void mrb_health_note_error(MrbEndpoint *endpoint, int status,
								  const char *why);

/* The endpoint cannot work as it is configured. */
extern void mrb_health_misconfigured(MrbEndpoint *endpoint,
									 const char *problem);

/* Show what was shown of the endpoint's predecessor. */
extern void mrb_health_inherit(MrbEndpoint *endpoint,
							   const MrbEndpoint *predecessor);

/* The health that others see. */
extern MrbHealth mrb_health_shown(const MrbEndpoint *endpoint);
extern const char *mrb_health_name(MrbHealth health);

#endif							/* MRB_HEALTH_H */
