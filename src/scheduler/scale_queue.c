/*-------------------------------------------------------------------------
 *
 * scale_queue.c
 *	  The requests to schedulers that are open, in memory.
 *
 * There is one entry for each scheduler and deployment with open work.  It has
 * at most one request in flight, so that requests about a deployment cannot
 * overtake each other.  Over all deployments of a scheduler, instances are
 * started before any are stopped.
 *
 * An entry that was not read lately is read again before it is sent, so that
 * no scheduler is asked for an outdated count.  Reading does not change an
 * entry's place in the queue: where the adapter has a rate, a first request
 * must not wait behind repeated ones.
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

/* An entry that was read longer ago is read again before it is sent. */
#define FRESH_MS 1000

typedef struct EntryKey
{
	const MrbEndpoint *endpoint;
	const char *id;
} EntryKey;

typedef struct EntrySlot
{
	EntryKey	key;
	MrbScaleEntry *entry;
	char		status;
} EntrySlot;

/*
 * Hash of endpoint and deployment.
 */
static inline uint32
hash_key(EntryKey key)
{
	return hash_combine(hash_bytes((const unsigned char *) &key.endpoint,
								   sizeof(key.endpoint)),
						hash_bytes((const unsigned char *) key.id,
								   strlen(key.id)));
}

#define SH_PREFIX entries
#define SH_ELEMENT_TYPE EntrySlot
#define SH_KEY_TYPE EntryKey
#define SH_KEY key
#define SH_HASH_KEY(tb, key) hash_key(key)
#define SH_EQUAL(tb, a, b) \
	((a).endpoint == (b).endpoint && strcmp((a).id, (b).id) == 0)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static MrbScaleEntry *make_entry(MrbScaling *scaling, MrbEndpoint *endpoint,
								 const char *id);
static void free_entry(MrbScaleEntry *entry);
static void set_tasks(MrbScaleEntry *entry,
					  const MrbCapacityRequest *requests, int n);
static bool concerns(const MrbEndpoint *endpoint,
					 const MrbCapacityRequest *request);
static void leave_list(MrbScaleEntry *entry);
static MrbTick next_due(const MrbScaleEntry *entry);
static void timer_fired(MrbTimer *timer);
static void make_ready(MrbScaleEntry *entry, bool first);
static bool starts_instances(const MrbScaleEntry *entry);
static bool keeps_place(const MrbScaleEntry *entry);
static void forget_sent(MrbScaleEntry *entry);

/*
 * Create the queue; its entries live in context.
 */
void
mrb_scale_queue_init(MrbScaling *scaling, MemoryContext context)
{
	scaling->queue.context = context;
	scaling->queue.entries = entries_create(context, 64, NULL);
	dlist_init(&scaling->queue.stale);
}

/*
 * Give a new endpoint its empty lists.
 */
void
mrb_scale_queue_attach(MrbEndpoint *endpoint)
{
	dlist_init(&endpoint->scale.entries);
	dlist_init(&endpoint->scale.ready_scale_up);
	dlist_init(&endpoint->scale.ready_other);
}

/*
 * Free the entries of an endpoint that is about to be dropped.  Its requests
 * in flight were cancelled before.
 */
void
mrb_scale_queue_detach(MrbEndpoint *endpoint)
{
	while (!dlist_is_empty(&endpoint->scale.entries))
	{
		MrbScaleEntry *entry = dlist_head_element(MrbScaleEntry, node,
												  &endpoint->scale.entries);

		leave_list(entry);
		free_entry(entry);
	}
}

/*
 * The endpoint's entry of a deployment; NULL: none.
 */
MrbScaleEntry *
mrb_scale_queue_find(MrbScaling *scaling, MrbEndpoint *endpoint,
					 const char *id)
{
	EntryKey	key = {endpoint, id};
	EntrySlot  *slot = entries_lookup(scaling->queue.entries, key);

	return slot != NULL ? slot->entry : NULL;
}

/*
 * The entry's task for a version; NULL: none.
 */
MrbScaleTask *
mrb_scale_queue_task(MrbScaleEntry *entry, const char *version_id)
{
	for (int i = 0; i < entry->ntasks; i++)
		if (strcmp(entry->tasks[i].request.version_id, version_id) == 0)
			return &entry->tasks[i];
	return NULL;
}

/*
 * Replace the tasks of a deployment's entry.  A request in flight is left
 * alone: its answer schedules the entry.  An entry that was read again because
 * it was stale has had its turn already, so it goes to the front.
 */
void
mrb_scale_queue_set(MrbScaling *scaling, MrbEndpoint *endpoint, const char *id,
					const MrbCapacityRequest *requests,
					int n)
{
	MrbScaleEntry *entry = mrb_scale_queue_find(scaling, endpoint, id);
	bool		any = false;
	bool		first;

	for (int i = 0; i < n; i++)
		any |= concerns(endpoint, &requests[i]);
	if (entry == NULL && !any)
		return;
	if (entry == NULL)
		entry = make_entry(scaling, endpoint, id);
	entry->listed = true;
	entry->read_at = mrb_timer_now();
	set_tasks(entry, requests, n);
	if (entry->state == MRB_SCALE_IN_FLIGHT || keeps_place(entry))
		return;
	first = entry->state == MRB_SCALE_STALE;
	leave_list(entry);
	if (first && next_due(entry) <= mrb_timer_now())
		make_ready(entry, true);
	else
		mrb_scale_queue_schedule(entry);
}

/*
 * Take the next ready entry: first those with instances to start.
 */
MrbScaleEntry *
mrb_scale_queue_next(MrbEndpoint *endpoint)
{
	MrbScaleLists *lists = &endpoint->scale;
	dlist_head *list = !dlist_is_empty(&lists->ready_scale_up) ?
	&lists->ready_scale_up : &lists->ready_other;
	MrbScaleEntry *entry;

	if (dlist_is_empty(list))
		return NULL;
	entry = dlist_container(MrbScaleEntry, list_node, dlist_pop_head_node(list));
	entry->state = MRB_SCALE_WAITING;
	return entry;
}

/*
 * The task that is due: instances to start first, polls last.
 */
MrbScaleTask *
mrb_scale_queue_due(const MrbScaleEntry *entry, bool *poll)
{
	static const MrbGoal order[] = {MRB_GOAL_UP, MRB_GOAL_DOWN};

	*poll = false;
	for (size_t o = 0; o < lengthof(order); o++)
		for (int i = 0; i < entry->ntasks; i++)
			if (entry->tasks[i].request.goal == order[o] &&
				entry->tasks[i].send_at <= mrb_timer_now())
				return &entry->tasks[i];
	*poll = true;
	for (int i = 0; i < entry->ntasks; i++)
		if (entry->tasks[i].poll_at <= mrb_timer_now())
			return &entry->tasks[i];
	return NULL;
}

/*
 * Note which request is in flight.  Its names are copied, because the entry's
 * tasks may be replaced before the answer arrives.
 */
void
mrb_scale_queue_started(MrbScaleEntry *entry, const MrbScaleTask *task,
						bool poll,
						const char *instance)
{
	MemoryContext context = entry->scaling->queue.context;

	entry->sent.version_id = MemoryContextStrdup(context, task->request.version_id);
	entry->sent.instance_id = instance != NULL ?
		MemoryContextStrdup(context, instance) : NULL;
	entry->sent.poll = poll;
	entry->sent.request_at = task->request_at;
	entry->state = MRB_SCALE_IN_FLIGHT;
}

/*
 * Make the entry wait for its next task that is due; without tasks, free it.
 */
void
mrb_scale_queue_schedule(MrbScaleEntry *entry)
{
	MrbTick		due = next_due(entry);

	forget_sent(entry);
	entry->state = MRB_SCALE_WAITING;
	if (entry->ntasks == 0)
		free_entry(entry);
	else if (due <= mrb_timer_now())
		make_ready(entry, false);
	else
		mrb_timer_set(&entry->timer,
					  (int) Min((due - mrb_timer_now()) / 1000 + 1, INT_MAX),
					  timer_fired);
}

/*
 * Whether the entry was read lately enough to be sent.
 */
bool
mrb_scale_queue_is_fresh(const MrbScaleEntry *entry)
{
	return !mrb_timer_passed(entry->read_at, mrb_timer_now(), FRESH_MS);
}

/*
 * Have the next step of reconcile.c read the entry again.
 */
void
mrb_scale_queue_reread(MrbScaleEntry *entry)
{
	entry->state = MRB_SCALE_STALE;
	dlist_push_tail(&entry->scaling->queue.stale, &entry->list_node);
}

/*
 * Deployments of stale entries, at most most of them.
 */
int
mrb_scale_queue_stale(MrbScaling *scaling, char **ids, int most)
{
	int			n = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &scaling->queue.stale)
	{
		if (n == most)
			break;
		ids[n++] = pstrdup(dlist_container(MrbScaleEntry, list_node,
										   iter.cur)->deployment_id);
	}
	return n;
}

/*
 * Create an entry without tasks.
 */
static MrbScaleEntry *
make_entry(MrbScaling *scaling, MrbEndpoint *endpoint, const char *id)
{
	MrbScaleEntry *entry = MemoryContextAllocZero(scaling->queue.context,
												  sizeof(MrbScaleEntry));
	EntryKey	key;
	bool		found;

	entry->scaling = scaling;
	entry->endpoint = endpoint;
	entry->deployment_id = MemoryContextStrdup(scaling->queue.context, id);
	entry->state = MRB_SCALE_WAITING;
	dlist_push_tail(&endpoint->scale.entries, &entry->node);
	key.endpoint = endpoint;
	key.id = entry->deployment_id;
	entries_insert(scaling->queue.entries, key, &found)->entry = entry;
	return entry;
}

/*
 * Free an entry that is in no list of a state.
 */
static void
free_entry(MrbScaleEntry *entry)
{
	EntryKey	key = {entry->endpoint, entry->deployment_id};

	mrb_timer_cancel(&entry->timer);
	forget_sent(entry);
	entries_delete(entry->scaling->queue.entries, key);
	dlist_delete(&entry->node);
	if (entry->context != NULL)
		MemoryContextDelete(entry->context);
	pfree(entry->deployment_id);
	pfree(entry);
}

/*
 * Make tasks of the requests; a task for a version that already had one
 * continues where that stands.
 */
static void
set_tasks(MrbScaleEntry *entry, const MrbCapacityRequest *requests, int n)
{
	MemoryContext context = AllocSetContextCreate(entry->scaling->queue.context,
												  "miosa_rollback scale entry",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	MrbScaleTask *tasks = palloc(Max(n, 1) * sizeof(MrbScaleTask));
	int			ntasks = 0;

	for (int i = 0; i < n; i++)
	{
		MrbScaleTask *old = mrb_scale_queue_task(entry, requests[i].version_id);

		if (!concerns(entry->endpoint, &requests[i]))
			continue;
		mrb_scale_task_begin(&tasks[ntasks], &requests[i], entry->endpoint);
		if (old != NULL)
			mrb_scale_task_inherit(&tasks[ntasks], old);
		ntasks++;
	}
	MemoryContextSwitchTo(caller);
	if (entry->context != NULL)
		MemoryContextDelete(entry->context);
	entry->context = context;
	entry->tasks = tasks;
	entry->ntasks = ntasks;
}

/*
 * Whether the endpoint has to do anything for the request.  A version that is
 * only polled concerns only the endpoints that watch it.
 */
static bool
concerns(const MrbEndpoint *endpoint, const MrbCapacityRequest *request)
{
	return request->goal != MRB_GOAL_WATCH ||
		(endpoint->adapter->poll.request != NULL &&
		 mrb_capacity_request_is_watched_by(request, endpoint->name));
}

/*
 * Take the entry out of the list of its state, and stop its timer.
 */
static void
leave_list(MrbScaleEntry *entry)
{
	if (entry->state == MRB_SCALE_READY || entry->state == MRB_SCALE_STALE)
		dlist_delete(&entry->list_node);
	mrb_timer_cancel(&entry->timer);
}

/*
 * When the entry's next task is due.
 */
static MrbTick
next_due(const MrbScaleEntry *entry)
{
	MrbTick		due = MRB_TICK_NEVER;

	for (int i = 0; i < entry->ntasks; i++)
		due = Min(due, Min(entry->tasks[i].send_at, entry->tasks[i].poll_at));
	return due;
}

/*
 * A task of a waiting entry is due.
 */
static void
timer_fired(MrbTimer *timer)
{
	make_ready(mrb_container(MrbScaleEntry, timer, timer), false);
}

/*
 * Put the entry into the list of its endpoint: at the end, or at the front if
 * it has had its turn and only had to be read again.
 */
static void
make_ready(MrbScaleEntry *entry, bool first)
{
	MrbScaleLists *lists = &entry->endpoint->scale;
	dlist_head *list;

	/* Its timer may be about to fire, too. */
	mrb_timer_cancel(&entry->timer);
	entry->state = MRB_SCALE_READY;
	entry->scales_up = starts_instances(entry);
	list = entry->scales_up ? &lists->ready_scale_up : &lists->ready_other;
	if (first)
		dlist_push_head(list, &entry->list_node);
	else
		dlist_push_tail(list, &entry->list_node);
	mrb_run_queue_activate(entry->endpoint);
}

/*
 * Whether the task that is due starts instances.
 */
static bool
starts_instances(const MrbScaleEntry *entry)
{
	bool		poll;
	MrbScaleTask *task = mrb_scale_queue_due(entry, &poll);

	return task != NULL && !poll && task->request.goal == MRB_GOAL_UP;
}

/*
 * Whether a ready entry still belongs where it stands.
 */
static bool
keeps_place(const MrbScaleEntry *entry)
{
	return entry->state == MRB_SCALE_READY &&
		next_due(entry) <= mrb_timer_now() && entry->scales_up == starts_instances(entry);
}

/*
 * Free the names of the request that was in flight.
 */
static void
forget_sent(MrbScaleEntry *entry)
{
	if (entry->sent.version_id != NULL)
		pfree(entry->sent.version_id);
	if (entry->sent.instance_id != NULL)
		pfree(entry->sent.instance_id);
	entry->sent.version_id = NULL;
	entry->sent.instance_id = NULL;
}
