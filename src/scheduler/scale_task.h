/*-------------------------------------------------------------------------
 *
 * scale_task.h
 *	  One version that one scheduler is asked for, and how far that is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SCALE_TASK_H
#define MRB_SCALE_TASK_H

#include "endpoint/endpoint.h"
#include "scheduler/capacity_request.h"

typedef struct MrbScaleTask
{
	MrbCapacityRequest need;
	MrbTick		ask_at;			/* MRB_TICK_NEVER: it is not asked for */
	MrbTick		poll_at;		/* MRB_TICK_NEVER: it is not polled */
	TimestampTz told_at;		/* the scheduler took it then; 0: not yet */
	bool		unwritten;		/* that is still to be written down */
	TimestampTz request_at;		/* names the request on every try; 0: none */
	bool		confirm;		/* an earlier try may come late: ask again */
	int			failures;		/* in a row, of asking */
	int			poll_failures;
	int64		taken_then;		/* by its endpoint at the first of failures */
	List	   *done;			/* instances of which it took the request */
	List	   *refused;		/* and did not, this time */
} MrbScaleTask;

/* In the current context, of which all that is in it is. */
extern void mrb_scale_task_begin(MrbScaleTask *task, const MrbCapacityRequest *need,
								 const MrbEndpoint *endpoint);
extern void mrb_scale_task_carry_on(MrbScaleTask *task, const MrbScaleTask *old);

/* The next instance to start or stop by itself; NULL: there is none. */
extern char *mrb_scale_task_instance(const MrbScaleTask *task);

/* What became of a request about it, to the instance if that is not NULL. */
extern bool mrb_scale_task_taken(MrbScaleTask *task, const MrbEndpoint *endpoint,
								 const char *instance, MemoryContext context);
extern void mrb_scale_task_refused(MrbScaleTask *task, const char *instance,
								   int retry_after, MemoryContext context);
extern void mrb_scale_task_failed(MrbScaleTask *task, const MrbEndpoint *endpoint,
								  const char *instance, bool ambiguous,
								  MemoryContext context);

/* What became of a poll. */
extern void mrb_scale_task_polled(MrbScaleTask *task, const MrbEndpoint *endpoint,
								  int healthy);
extern void mrb_scale_task_not_polled(MrbScaleTask *task, const MrbEndpoint *endpoint);

#endif							/* MRB_SCALE_TASK_H */
