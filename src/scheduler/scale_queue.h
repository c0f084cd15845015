/*-------------------------------------------------------------------------
 *
 * scale_queue.h
 *	  What schedulers are to be asked, in memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SCALE_QUEUE_H
#define MRB_SCALE_QUEUE_H

#include "scheduler/scale_task.h"

/* The request that is in flight. */
typedef struct MrbFlight
{
	char	   *version_id;
	char	   *instance_id;	/* or NULL */
	bool		poll;
	TimestampTz request_at;		/* of its task */
} MrbFlight;

typedef enum MrbScaleEntryState
{
	MRB_WANT_RESTING,			/* its timer says until when */
	MRB_WANT_READY,				/* in one of its endpoint's lists */
	MRB_WANT_STALE,				/* is to be read again */
	MRB_WANT_BUSY,				/* has a request in flight */
} MrbScaleEntryState;

/* All that one endpoint is asked for one deployment. */
typedef struct MrbScaleEntry
{
	MrbEndpoint *endpoint;
	char	   *deployment_id;
	MemoryContext context;		/* of its tasks */
	int			ntasks;
	MrbScaleTask *tasks;
	MrbScaleEntryState state;
	bool		up;				/* when ready: in its endpoint's ups */
	bool		listed;			/* by the last reading */
	MrbTick		read_at;
	MrbTimer	timer;
	MrbFlight	flight;
	dlist_node	node;			/* in its endpoint's wants */
	dlist_node	list_node;		/* in the list of its state */
} MrbScaleEntry;

extern void mrb_scale_queue_init(MemoryContext context);
extern void mrb_scale_queue_attach(MrbEndpoint *endpoint);
extern void mrb_scale_queue_detach(MrbEndpoint *endpoint);
extern MrbScaleEntry *mrb_scale_queue_find(MrbEndpoint *endpoint, const char *id);
extern MrbScaleTask *mrb_scale_queue_task(MrbScaleEntry *want, const char *version_id);

/* This is what is wanted now, as just read; of nothing the want is freed. */
extern void mrb_scale_queue_set(MrbEndpoint *endpoint, const char *id,
								const MrbCapacityRequest *needs, int n);

/* The next one of an endpoint, taken out of its list; NULL: none. */
extern MrbScaleEntry *mrb_scale_queue_next(MrbEndpoint *endpoint);

/* What is due of it: a task to ask for or to poll; NULL: nothing. */
extern MrbScaleTask *mrb_scale_queue_due(const MrbScaleEntry *want, bool *poll);

extern void mrb_scale_queue_take_off(MrbScaleEntry *want, const MrbScaleTask *task, bool poll,
									 const char *instance);

/* It has no request in flight (any more): wait for its next turn. */
extern void mrb_scale_queue_rest(MrbScaleEntry *want);

/* It was read too long ago; and the ids of those, palloc'd, at most so many. */
extern bool mrb_scale_queue_is_fresh(const MrbScaleEntry *want);
extern void mrb_scale_queue_reread(MrbScaleEntry *want);
extern int	mrb_scale_queue_stale(char **ids, int most);

#endif							/* MRB_SCALE_QUEUE_H */
