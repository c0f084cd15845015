/*-------------------------------------------------------------------------
 *
 * run_queue.h
 *	  Endpoints that have something to send, in turn.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_RUN_QUEUE_H
#define MRB_RUN_QUEUE_H

#include "endpoint/endpoint.h"

/* Give the endpoint a turn, unless it awaits one; take that away again. */
extern void mrb_run_queue_activate(MrbEndpoint *endpoint);
extern void mrb_run_queue_forget(MrbEndpoint *endpoint);

/* Let the endpoint wait until those that were deferred are resumed. */
extern void mrb_run_queue_defer(MrbEndpoint *endpoint);
extern void mrb_run_queue_resume(void);

/* Take out the endpoint whose turn it is; NULL when there is none. */
extern MrbEndpoint *mrb_run_queue_next(void);

/* Whether the endpoint has something to send. */
extern bool mrb_run_queue_has_work(MrbEndpoint *endpoint);

#endif							/* MRB_RUN_QUEUE_H */
