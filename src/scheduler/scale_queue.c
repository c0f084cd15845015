/*-------------------------------------------------------------------------
 *
 * scale_queue.c
 *	  What schedulers are to be asked, in memory.
 *
 * There is one want for each scheduler and deployment with something open,
 * and it has at most one request in flight: what a scheduler is told of a
 * deployment cannot overtake itself.  What is missing is asked for before
 * anything is stopped, over all deployments of a scheduler.
 *
 * What is wanted is read again before it is asked for, unless it was read
 * just now, so that nobody is asked for what was wanted once.  A reading takes
 * nobody's place in the queue away: where requests have a rate, who waits for
 * the first one must not wait behind those that are asked again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "base/container.h"
#include "endpoint/run_queue.h"
#include "scheduler/scale_queue.h"

/* What was read longer ago is read again before it is asked for. */
#define FRESH_MS 1000

typedef struct WantKey
{
	const MrbEndpoint *endpoint;
	const char *id;
} WantKey;

typedef struct WantSlot
{
	WantKey		key;
	MrbScaleEntry *want;
	char		status;
} WantSlot;

static inline uint32
hash_key(WantKey key)
{
	return hash_combine(hash_bytes((const unsigned char *) &key.endpoint,
								   sizeof(key.endpoint)),
						hash_bytes((const unsigned char *) key.id,
								   strlen(key.id)));
}

#define SH_PREFIX wants
#define SH_ELEMENT_TYPE WantSlot
#define SH_KEY_TYPE WantKey
#define SH_KEY key
#define SH_HASH_KEY(tb, key) hash_key(key)
#define SH_EQUAL(tb, a, b) \
	((a).endpoint == (b).endpoint && strcmp((a).id, (b).id) == 0)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static MemoryContext kept = NULL;
static wants_hash *wants = NULL;
static dlist_head stale = DLIST_STATIC_INIT(stale);

static MrbScaleEntry *make_want(MrbEndpoint *endpoint, const char *id);
static void free_want(MrbScaleEntry *want);
static void set_tasks(MrbScaleEntry *want, const MrbCapacityRequest *needs, int n);
static bool concerns(const MrbEndpoint *endpoint, const MrbCapacityRequest *need);
static void leave(MrbScaleEntry *want);
static MrbTick next_due(const MrbScaleEntry *want);
static void rest_over(MrbTimer *timer);
static void make_ready(MrbScaleEntry *want, bool first);
static bool wants_up(const MrbScaleEntry *want);
static bool keeps_place(const MrbScaleEntry *want);
static void forget_flight(MrbScaleEntry *want);

void
mrb_scale_queue_init(MemoryContext context)
{
	kept = context;
	wants = wants_create(context, 64, NULL);
}

void
mrb_scale_queue_attach(MrbEndpoint *endpoint)
{
	dlist_init(&endpoint->agenda.wants);
	dlist_init(&endpoint->agenda.ups);
	dlist_init(&endpoint->agenda.others);
}

/*
 * The endpoint is about to be dropped; its requests are gone already.
 */
void
mrb_scale_queue_detach(MrbEndpoint *endpoint)
{
	while (!dlist_is_empty(&endpoint->agenda.wants))
	{
		MrbScaleEntry *want = dlist_head_element(MrbScaleEntry, node,
												 &endpoint->agenda.wants);

		leave(want);
		free_want(want);
	}
}

MrbScaleEntry *
mrb_scale_queue_find(MrbEndpoint *endpoint, const char *id)
{
	WantKey		key = {endpoint, id};
	WantSlot   *slot = wants_lookup(wants, key);

	return slot != NULL ? slot->want : NULL;
}

MrbScaleTask *
mrb_scale_queue_task(MrbScaleEntry *want, const char *version_id)
{
	for (int i = 0; i < want->ntasks; i++)
		if (strcmp(want->tasks[i].need.version_id, version_id) == 0)
			return &want->tasks[i];
	return NULL;
}

void
mrb_scale_queue_set(MrbEndpoint *endpoint, const char *id, const MrbCapacityRequest *needs,
					int n)
{
	MrbScaleEntry *want = mrb_scale_queue_find(endpoint, id);
	bool		any = false;
	bool		first;

	for (int i = 0; i < n; i++)
		any |= concerns(endpoint, &needs[i]);
	if (want == NULL && !any)
		return;
	if (want == NULL)
		want = make_want(endpoint, id);
	want->listed = true;
	want->read_at = mrb_timer_now();
	set_tasks(want, needs, n);
	if (want->state == MRB_WANT_BUSY || keeps_place(want))
		return;
	first = want->state == MRB_WANT_STALE;
	leave(want);
	if (first && next_due(want) <= mrb_timer_now())
		make_ready(want, true);
	else
		mrb_scale_queue_rest(want);
}

MrbScaleEntry *
mrb_scale_queue_next(MrbEndpoint *endpoint)
{
	dlist_head *list = !dlist_is_empty(&endpoint->agenda.ups) ? &endpoint->agenda.ups :
	&endpoint->agenda.others;
	MrbScaleEntry *want;

	if (dlist_is_empty(list))
		return NULL;
	want = dlist_container(MrbScaleEntry, list_node, dlist_pop_head_node(list));
	want->state = MRB_WANT_RESTING;
	return want;
}

/*
 * What is missing comes first, and a poll last.
 */
MrbScaleTask *
mrb_scale_queue_due(const MrbScaleEntry *want, bool *poll)
{
	static const MrbGoal order[] = {MRB_GOAL_UP, MRB_GOAL_DOWN};

	*poll = false;
	for (size_t o = 0; o < lengthof(order); o++)
		for (int i = 0; i < want->ntasks; i++)
			if (want->tasks[i].need.goal == order[o] &&
				want->tasks[i].ask_at <= mrb_timer_now())
				return &want->tasks[i];
	*poll = true;
	for (int i = 0; i < want->ntasks; i++)
		if (want->tasks[i].poll_at <= mrb_timer_now())
			return &want->tasks[i];
	return NULL;
}

void
mrb_scale_queue_take_off(MrbScaleEntry *want, const MrbScaleTask *task, bool poll,
						 const char *instance)
{
	want->flight.version_id = MemoryContextStrdup(kept, task->need.version_id);
	want->flight.instance_id = instance != NULL ?
		MemoryContextStrdup(kept, instance) : NULL;
	want->flight.poll = poll;
	want->flight.request_at = task->request_at;
	want->state = MRB_WANT_BUSY;
}

void
mrb_scale_queue_rest(MrbScaleEntry *want)
{
	MrbTick		due = next_due(want);

	forget_flight(want);
	want->state = MRB_WANT_RESTING;
	if (want->ntasks == 0)
		free_want(want);
	else if (due <= mrb_timer_now())
		make_ready(want, false);
	else
		mrb_timer_set(&want->timer,
					  (int) Min((due - mrb_timer_now()) / 1000 + 1, INT_MAX),
					  rest_over);
}

bool
mrb_scale_queue_is_fresh(const MrbScaleEntry *want)
{
	return !mrb_tick_exceeds(want->read_at, mrb_timer_now(), FRESH_MS);
}

void
mrb_scale_queue_reread(MrbScaleEntry *want)
{
	want->state = MRB_WANT_STALE;
	dlist_push_tail(&stale, &want->list_node);
}

int
mrb_scale_queue_stale(char **ids, int most)
{
	int			n = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &stale)
	{
		if (n == most)
			break;
		ids[n++] = pstrdup(dlist_container(MrbScaleEntry, list_node,
										   iter.cur)->deployment_id);
	}
	return n;
}

static MrbScaleEntry *
make_want(MrbEndpoint *endpoint, const char *id)
{
	MrbScaleEntry *want = MemoryContextAllocZero(kept, sizeof(MrbScaleEntry));
	WantKey		key;
	bool		found;

	want->endpoint = endpoint;
	want->deployment_id = MemoryContextStrdup(kept, id);
	want->state = MRB_WANT_RESTING;
	dlist_push_tail(&endpoint->agenda.wants, &want->node);
	key.endpoint = endpoint;
	key.id = want->deployment_id;
	wants_insert(wants, key, &found)->want = want;
	return want;
}

static void
free_want(MrbScaleEntry *want)
{
	WantKey		key = {want->endpoint, want->deployment_id};

	mrb_timer_cancel(&want->timer);
	forget_flight(want);
	wants_delete(wants, key);
	dlist_delete(&want->node);
	if (want->context != NULL)
		MemoryContextDelete(want->context);
	pfree(want->deployment_id);
	pfree(want);
}

/*
 * The tasks that there are now, each as far as it has come.
 */
static void
set_tasks(MrbScaleEntry *want, const MrbCapacityRequest *needs, int n)
{
	MemoryContext context = AllocSetContextCreate(kept, "miosa_rollback want",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	MrbScaleTask *tasks = palloc(Max(n, 1) * sizeof(MrbScaleTask));
	int			ntasks = 0;

	for (int i = 0; i < n; i++)
	{
		MrbScaleTask *old = mrb_scale_queue_task(want, needs[i].version_id);

		if (!concerns(want->endpoint, &needs[i]))
			continue;
		mrb_scale_task_begin(&tasks[ntasks], &needs[i], want->endpoint);
		if (old != NULL)
			mrb_scale_task_carry_on(&tasks[ntasks], old);
		ntasks++;
	}
	MemoryContextSwitchTo(caller);
	if (want->context != NULL)
		MemoryContextDelete(want->context);
	want->context = context;
	want->tasks = tasks;
	want->ntasks = ntasks;
}

/*
 * What is only watched concerns whoever's polls it is watched by.
 */
static bool
concerns(const MrbEndpoint *endpoint, const MrbCapacityRequest *need)
{
	return need->goal != MRB_GOAL_WATCH ||
		(endpoint->adapter->poll.request != NULL &&
		 mrb_capacity_request_is_watched_by(need, endpoint->name));
}

/*
 * Take the want out of whatever list or clock it is in.
 */
static void
leave(MrbScaleEntry *want)
{
	if (want->state == MRB_WANT_READY || want->state == MRB_WANT_STALE)
		dlist_delete(&want->list_node);
	mrb_timer_cancel(&want->timer);
}

static MrbTick
next_due(const MrbScaleEntry *want)
{
	MrbTick		due = MRB_TICK_NEVER;

	for (int i = 0; i < want->ntasks; i++)
		due = Min(due, Min(want->tasks[i].ask_at, want->tasks[i].poll_at));
	return due;
}

static void
rest_over(MrbTimer *timer)
{
	make_ready(mrb_container(MrbScaleEntry, timer, timer), false);
}

/*
 * first: it has had its turn, but had to be read again.
 */
static void
make_ready(MrbScaleEntry *want, bool first)
{
	MrbAgenda  *agenda = &want->endpoint->agenda;
	dlist_head *list;

	/* Its clock may be about to say so, too. */
	mrb_timer_cancel(&want->timer);
	want->state = MRB_WANT_READY;
	want->up = wants_up(want);
	list = want->up ? &agenda->ups : &agenda->others;
	if (first)
		dlist_push_head(list, &want->list_node);
	else
		dlist_push_tail(list, &want->list_node);
	mrb_run_queue_activate(want->endpoint);
}

/*
 * Whether instances are to be asked for now.
 */
static bool
wants_up(const MrbScaleEntry *want)
{
	bool		poll;
	MrbScaleTask *task = mrb_scale_queue_due(want, &poll);

	return task != NULL && !poll && task->need.goal == MRB_GOAL_UP;
}

static bool
keeps_place(const MrbScaleEntry *want)
{
	return want->state == MRB_WANT_READY &&
		next_due(want) <= mrb_timer_now() && want->up == wants_up(want);
}

static void
forget_flight(MrbScaleEntry *want)
{
	if (want->flight.version_id != NULL)
		pfree(want->flight.version_id);
	if (want->flight.instance_id != NULL)
		pfree(want->flight.instance_id);
	want->flight.version_id = NULL;
	want->flight.instance_id = NULL;
}
