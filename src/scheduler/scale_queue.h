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

typedef enum MrbWantState
{
	MRB_WANT_RESTING,			/* its timer says until when */
	MRB_WANT_READY,				/* in one of its endpoint's lists */
	MRB_WANT_STALE,				/* is to be read again */
	MRB_WANT_BUSY,				/* has a request in flight */
} MrbWantState;

/* All that one endpoint is asked for one deployment. */
typedef struct MrbWant
{
	MrbEndpoint *endpoint;
	char	   *deployment_id;
	MemoryContext context;		/* of its tasks */
	int			ntasks;
	MrbTask    *tasks;
	MrbWantState state;
	bool		up;				/* when ready: in its endpoint's ups */
	bool		listed;			/* by the last reading */
	MrbTick		read_at;
	MrbTimer	timer;
	MrbFlight	flight;
	dlist_node	node;			/* in its endpoint's wants */
	dlist_node	list_node;		/* in the list of its state */
} MrbWant;

extern void mrb_want_init(MemoryContext context);
extern void mrb_want_attach(MrbEndpoint *endpoint);
extern void mrb_want_detach(MrbEndpoint *endpoint);
extern MrbWant *mrb_want_find(MrbEndpoint *endpoint, const char *id);
extern MrbTask *mrb_want_task(MrbWant *want, const char *version_id);

/* This is what is wanted now, as just read; of nothing the want is freed. */
extern void mrb_want_set(MrbEndpoint *endpoint, const char *id,
						 const MrbNeed *needs, int n);

/* The next one of an endpoint, taken out of its list; NULL: none. */
extern MrbWant *mrb_want_next(MrbEndpoint *endpoint);

/* What is due of it: a task to ask for or to poll; NULL: nothing. */
extern MrbTask *mrb_want_due(const MrbWant *want, bool *poll);

extern void mrb_want_take_off(MrbWant *want, const MrbTask *task, bool poll,
							  const char *instance);

/* It has no request in flight (any more): wait for its next turn. */
extern void mrb_want_rest(MrbWant *want);

/* It was read too long ago; and the ids of those, palloc'd, at most so many. */
extern bool mrb_want_is_fresh(const MrbWant *want);
extern void mrb_want_reread(MrbWant *want);
extern int	mrb_want_stale(char **ids, int most);

#endif							/* MRB_SCALE_QUEUE_H */
