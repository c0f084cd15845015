/*-------------------------------------------------------------------------
 *
 * scale_task.c
 *	  One version that one scheduler is asked for, and how far that is.
 *
 * A count is absolute, so it may be asked for any number of times.  It is
 * asked for until the scheduler has taken it, and again every
 * capacity_interval until it is reached.  What a scheduler does not take has
 * a clock of its own, which never ends: that it is in the middle of something
 * else passes, and so does a wrong name once somebody has put it right.
 *
 * A scheduler that is polled tells how many instances there are: often while
 * some are missing, now and then afterwards, as their heartbeat.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/guc.h"
#include "common/backoff.h"
#include "scheduler/scale_task.h"

/* Clock of what is not taken. */
#define REFUSED_MIN_MS 1000
#define REFUSED_MAX_MS 30000

/* However long it asks to be left alone with one request. */
#define RETRY_AFTER_MAX_S 3600

/* After a try that may still be going on, it is asked again this late. */
#define CONFIRM_MS 1000

/* So often is something tried that the endpoint fails at, and only at this. */
#define POISON_TRIES 3

static bool is_same(const MrbCapacityRequest *a, const MrbCapacityRequest *b);
static List *copy_names(const List *names);
static bool has_name(const List *names, const char *name);
static List *add_name(List *names, const char *name, MemoryContext context);
static MrbTick after(int ms);
static bool has_enough(const MrbScaleTask *task);
static bool skip(MrbScaleTask *task, const char *instance, MemoryContext context);
static bool told(MrbScaleTask *task, const MrbEndpoint *endpoint);

void
mrb_scale_task_begin(MrbScaleTask *task, const MrbCapacityRequest *need,
					 const MrbEndpoint *endpoint)
{
	MemSet(task, 0, sizeof(MrbScaleTask));
	mrb_capacity_request_copy(&task->need, need);
	task->ask_at = need->goal == MRB_GOAL_WATCH ? MRB_TICK_NEVER : mrb_timer_now();
	task->poll_at = endpoint->adapter->poll.request != NULL &&
		mrb_capacity_request_is_watched_by(need, endpoint->name) ?
		mrb_timer_now() : MRB_TICK_NEVER;
}

/*
 * The version was asked for before.  It is asked for anew when something else
 * is wanted of it, or when an operation has asked again since.
 */
void
mrb_scale_task_carry_on(MrbScaleTask *task, const MrbScaleTask *old)
{
	if (old->poll_at != MRB_TICK_NEVER &&
		(task->poll_at != MRB_TICK_NEVER || task->need.goal != MRB_GOAL_WATCH))
	{
		task->poll_at = old->poll_at;
		task->poll_failures = old->poll_failures;
	}
	task->confirm = old->confirm;
	if (!is_same(&task->need, &old->need) ||
		(old->told_at != 0 && !old->unwritten && !task->need.asked))
		return;
	task->ask_at = old->ask_at;
	task->told_at = old->told_at;
	task->unwritten = old->unwritten;
	task->request_at = old->request_at;
	task->failures = old->failures;
	task->taken_then = old->taken_then;
	task->done = copy_names(old->done);
	task->refused = copy_names(old->refused);
}

/*
 * One that was refused is left out, so that another one takes its place.
 */
char *
mrb_scale_task_instance(const MrbScaleTask *task)
{
	if (has_enough(task))
		return NULL;
	for (int i = 0; i < task->need.instances.n; i++)
	{
		char	   *instance = task->need.instances.items[i];

		if (!has_name(task->done, instance) &&
			!has_name(task->refused, instance))
			return instance;
	}
	return NULL;
}

/*
 * True when all of it is taken, which is to be written down.
 */
bool
mrb_scale_task_taken(MrbScaleTask *task, const MrbEndpoint *endpoint,
					 const char *instance, MemoryContext context)
{
	if (instance != NULL)
	{
		task->done = add_name(task->done, instance, context);
		if (mrb_scale_task_instance(task) != NULL)
			return false;		/* it is the next one's turn */
		if (task->refused != NIL && !has_enough(task))
		{
			task->refused = NIL;
			task->ask_at = after(mrb_backoff_equal_jitter(REFUSED_MIN_MS, REFUSED_MAX_MS, task->failures));
			return false;
		}
		if (task->need.unknown > 0)
			return false;		/* the next turn says so */
	}
	return told(task, endpoint);
}

/*
 * The scheduler works, but does not take this.
 */
void
mrb_scale_task_refused(MrbScaleTask *task, const char *instance, int retry_after,
					   MemoryContext context)
{
	if (instance == NULL)
		task->done = NIL;		/* all are asked for again */
	else if (skip(task, instance, context))
	{
		task->failures = Max(task->failures, 1);
		return;
	}
	task->failures++;
	task->ask_at = after(Max(mrb_backoff_equal_jitter(REFUSED_MIN_MS, REFUSED_MAX_MS, task->failures),
							 Min(retry_after, RETRY_AFTER_MAX_S) * 1000));
}

/*
 * The endpoint failed, and its health says when it is tried again; unless it
 * takes others and fails at this.  It may be one instance that it fails at,
 * so the others are tried before that one is again.
 */
void
mrb_scale_task_failed(MrbScaleTask *task, const MrbEndpoint *endpoint,
					  const char *instance, bool ambiguous, MemoryContext context)
{
	if (task->failures++ == 0)
		task->taken_then = endpoint->vitals.taken;
	task->confirm |= ambiguous;
	if (task->failures < POISON_TRIES ||
		(instance != NULL && skip(task, instance, context)))
		return;
	if (endpoint->vitals.taken > task->taken_then)
		task->ask_at = after(mrb_backoff_equal_jitter(REFUSED_MIN_MS, REFUSED_MAX_MS, task->failures - POISON_TRIES));
}

void
mrb_scale_task_polled(MrbScaleTask *task, const MrbEndpoint *endpoint, int healthy)
{
	bool		reached = task->need.goal == MRB_GOAL_WATCH ||
	(task->need.goal == MRB_GOAL_UP && healthy >= task->need.count) ||
	(task->need.goal == MRB_GOAL_DOWN && healthy == 0);

	task->poll_failures = 0;
	task->poll_at = after(reached ? mrb_capacity_interval :
						  endpoint->adapter->poll.interval_ms);
}

/*
 * A poll can be a heartbeat, so it is never put off for long.
 */
void
mrb_scale_task_not_polled(MrbScaleTask *task, const MrbEndpoint *endpoint)
{
	task->poll_at = after(Max(endpoint->adapter->poll.interval_ms,
							  Min(mrb_backoff_equal_jitter(REFUSED_MIN_MS, REFUSED_MAX_MS, ++task->poll_failures),
								  mrb_capacity_interval)));
}

static bool
is_same(const MrbCapacityRequest *a, const MrbCapacityRequest *b)
{
	return a->goal == b->goal && a->count == b->count &&
		a->since == b->since;
}

static List *
copy_names(const List *names)
{
	List	   *copy = NIL;
	ListCell   *cell;

	foreach(cell, names)
		copy = lappend(copy, pstrdup(lfirst(cell)));
	return copy;
}

static bool
has_name(const List *names, const char *name)
{
	ListCell   *cell;

	foreach(cell, names)
		if (strcmp(lfirst(cell), name) == 0)
		return true;
	return false;
}

static List *
add_name(List *names, const char *name, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);

	names = lappend(names, pstrdup(name));
	MemoryContextSwitchTo(old);
	return names;
}

static MrbTick
after(int ms)
{
	return mrb_tick_plus(mrb_timer_now(), ms);
}

/*
 * Whether the start of as many instances as are missing was taken.  All that
 * are to stop must stop.
 */
static bool
has_enough(const MrbScaleTask *task)
{
	int			taken = 0;

	if (task->need.goal != MRB_GOAL_UP)
		return false;
	for (int i = 0; i < task->need.instances.n; i++)
		if (has_name(task->done, task->need.instances.items[i]))
			taken++;
	return taken >= task->need.missing;
}

/*
 * Leave the instance out until the others have had their turn; false when all
 * of them have had it.
 */
static bool
skip(MrbScaleTask *task, const char *instance, MemoryContext context)
{
	task->refused = add_name(task->refused, instance, context);
	if (mrb_scale_task_instance(task) != NULL)
		return true;
	task->refused = NIL;
	return false;
}

/*
 * The scheduler took it.  If an earlier try may still come late, it is asked
 * once more, under another id, and only then is that written down: before,
 * nobody may think that no more need be asked.
 */
static bool
told(MrbScaleTask *task, const MrbEndpoint *endpoint)
{
	bool		confirm = task->confirm;

	task->request_at = 0;
	task->confirm = false;
	task->failures = 0;
	task->done = NIL;
	task->refused = NIL;
	if (endpoint->adapter->poll.request != NULL)
		task->poll_at = after(endpoint->adapter->poll.interval_ms);
	if (confirm)
	{
		task->ask_at = after(Max(CONFIRM_MS, endpoint->adapter->timeout_ms));
		return false;
	}
	task->told_at = mrb_timer_wall();
	task->unwritten = true;
	task->ask_at = after(mrb_capacity_interval);
	return true;
}
