/*-------------------------------------------------------------------------
 *
 * scale_task.h
 *	  One capacity request to one scheduler, and its progress.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SCALE_TASK_H
#define MRB_SCALE_TASK_H

#include "endpoint/endpoint.h"
#include "scheduler/capacity_request.h"

typedef struct MrbScaleTask
{
	MrbCapacityRequest request;
	MrbTick		send_at;		/* MRB_TICK_NEVER: it is only polled */
	MrbTick		poll_at;		/* MRB_TICK_NEVER: it is not polled */
	TimestampTz acked_at;		/* when the scheduler acknowledged; 0: not yet */
	bool		unwritten;		/* acked_at is not in the table yet */
	TimestampTz request_at;		/* first attempt, part of the message id; 0:
								 * none yet */
	bool		confirm;		/* an earlier attempt may arrive late: repeat */
	int			failures;		/* of requests, in a row */
	int			poll_failures;	/* of polls, in a row */
	int64		taken_before;	/* messages that the endpoint had taken at the
								 * first of failures */
	List	   *done;			/* instances whose request was acknowledged */
	List	   *refused;		/* instances whose request was refused, in
								 * this round */
} MrbScaleTask;

/* Make a task, allocated in the current context; continue an older one. */
extern void mrb_scale_task_begin(MrbScaleTask *task,
								 const MrbCapacityRequest *request,
								 const MrbEndpoint *endpoint);
extern void mrb_scale_task_inherit(MrbScaleTask *task,
								   const MrbScaleTask *old);

/* The next instance to start or stop by a request of its own; NULL: none. */
extern char *mrb_scale_task_instance(const MrbScaleTask *task);

/*
 * Note the answer to a request, about the instance if not NULL.  What is kept
 * is allocated in context.  True when the whole task is acknowledged.
 */
extern bool mrb_scale_task_acknowledged(MrbScaleTask *task,
										const MrbEndpoint *endpoint,
										const char *instance, MemoryContext context);
extern void mrb_scale_task_refused(MrbScaleTask *task, const char *instance,
								   int retry_after, MemoryContext context);
extern void mrb_scale_task_failed(MrbScaleTask *task,
								  const MrbEndpoint *endpoint,
								  const char *instance, bool ambiguous,
								  MemoryContext context);

/* Note the answer to a poll. */
extern void mrb_scale_task_polled(MrbScaleTask *task,
								  const MrbEndpoint *endpoint,
								  int healthy);
extern void mrb_scale_task_not_polled(MrbScaleTask *task,
									  const MrbEndpoint *endpoint);

#endif							/* MRB_SCALE_TASK_H */
