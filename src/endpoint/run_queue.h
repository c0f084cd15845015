/*-------------------------------------------------------------------------
 *
 * run_queue.h
 *	  The queue of endpoints that have something to send.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_RUN_QUEUE_H
#define MRB_RUN_QUEUE_H

#include "endpoint/endpoint.h"

/* Put the endpoint into the queue, if it is not there; remove it. */
extern void mrb_run_queue_activate(MrbEndpoint *endpoint);
extern void mrb_run_queue_forget(MrbEndpoint *endpoint);

/* Set the endpoint aside; put all such endpoints back into the queue. */
extern void mrb_run_queue_defer(MrbEndpoint *endpoint);
extern void mrb_run_queue_resume(void);

/* Take out the first endpoint; NULL when the queue is empty. */
extern MrbEndpoint *mrb_run_queue_next(void);

/* Whether the endpoint has something to send. */
extern bool mrb_run_queue_has_work(MrbEndpoint *endpoint);

#endif							/* MRB_RUN_QUEUE_H */
