/*-------------------------------------------------------------------------
 *
 * scale_queue.h
 *	  The requests to schedulers that are open, in memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SCALE_QUEUE_H
#define MRB_SCALE_QUEUE_H

#include "scheduler/scale_task.h"
#include "scheduler/scaling.h"

/* The request that is in flight. */
typedef struct MrbScaleSent
{
	char	   *version_id;
	char	   *instance_id;	/* or NULL */
	bool		poll;
	TimestampTz request_at;		/* of its task when it was sent */
} MrbScaleSent;

typedef enum MrbScaleEntryState
{
	MRB_SCALE_WAITING,			/* until its timer fires */
	MRB_SCALE_READY,			/* in one of its endpoint's lists */
	MRB_SCALE_STALE,			/* to be read again before it is sent */
	MRB_SCALE_IN_FLIGHT,		/* has a request in flight */
} MrbScaleEntryState;

/* All that one scheduler is asked for one deployment. */
typedef struct MrbScaleEntry
{
	MrbScaling *scaling;
	MrbEndpoint *endpoint;
	char	   *deployment_id;
	MemoryContext context;		/* of its tasks */
	int			ntasks;
	MrbScaleTask *tasks;
	MrbScaleEntryState state;
	bool		scales_up;		/* when ready: in ready_scale_up */
	bool		listed;			/* the last reading renewed it */
	MrbTick		read_at;		/* when that was */
	MrbTimer	timer;
	MrbScaleSent sent;
	dlist_node	node;			/* in its endpoint's entries */
	dlist_node	list_node;		/* in the list of its state */
} MrbScaleEntry;

extern void mrb_scale_queue_init(MrbScaling *scaling, MemoryContext context);

/* Give an endpoint its lists; free its entries when it is dropped. */
extern void mrb_scale_queue_attach(MrbEndpoint *endpoint);
extern void mrb_scale_queue_detach(MrbEndpoint *endpoint);

/* The entry of a deployment, and its task for a version; NULL: none. */
extern MrbScaleEntry *mrb_scale_queue_find(MrbScaling *scaling,
										   MrbEndpoint *endpoint,
										   const char *id);
extern MrbScaleTask *mrb_scale_queue_task(MrbScaleEntry *entry,
										  const char *version_id);

/*
 * Replace the tasks of a deployment's entry by the requests that were just
 * read; without any the entry is freed.
 */
extern void mrb_scale_queue_set(MrbScaling *scaling, MrbEndpoint *endpoint,
								const char *id,
								const MrbCapacityRequest *requests, int n);

/* Take the endpoint's next ready entry out of its list; NULL: none. */
extern MrbScaleEntry *mrb_scale_queue_next(MrbEndpoint *endpoint);

/* The task that is due to be sent or polled; NULL: none. */
extern MrbScaleTask *mrb_scale_queue_due(const MrbScaleEntry *entry,
										 bool *poll);

/* Note that a request about the task is in flight. */
extern void mrb_scale_queue_started(MrbScaleEntry *entry,
									const MrbScaleTask *task, bool poll,
									const char *instance);

/* Without a request in flight: make the entry wait until a task is due. */
extern void mrb_scale_queue_schedule(MrbScaleEntry *entry);

/* Whether the entry was read lately; if not, have it read again. */
extern bool mrb_scale_queue_is_fresh(const MrbScaleEntry *entry);
extern void mrb_scale_queue_reread(MrbScaleEntry *entry);

/* Deployments to be read again, palloc'd; at most most of them. */
extern int	mrb_scale_queue_stale(MrbScaling *scaling, char **ids, int most);

#endif							/* MRB_SCALE_QUEUE_H */
