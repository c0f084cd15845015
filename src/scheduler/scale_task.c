/*-------------------------------------------------------------------------
 *
 * scale_task.c
 *	  One capacity request to one scheduler, and its progress.
 *
 * A count is absolute, so it may be requested any number of times.  It is sent
 * until the scheduler acknowledges it, and again every capacity_interval until
 * it is reached.  A request that the scheduler refuses is retried without end,
 * on a back-off of its own: a scheduler that is busy becomes free, and a wrong
 * name is corrected.
 *
 * A poll returns the number of healthy instances: often while some are
 * missing, afterwards every capacity_interval, as their heartbeat.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/guc.h"
#include "common/backoff.h"
#include "scheduler/scale_task.h"

/* Bounds of the delay after which a refused request is retried. */
#define REFUSED_MIN_MS 1000
#define REFUSED_MAX_MS 30000

/* Shortest delay before a request is repeated to confirm it. */
#define CONFIRM_MS 1000

/*
 * Number of attempts after which a request backs off by itself, if the
 * endpoint takes others meanwhile.
 */
#define POISON_TRIES 3

static bool is_same(const MrbCapacityRequest *a, const MrbCapacityRequest *b);
static List *copy_names(const List *names);
static bool has_name(const List *names, const char *name);
static List *add_name(List *names, const char *name, MemoryContext context);
static MrbTick tick_after(int ms);
static int	refused_delay(int failures);
static bool has_enough(const MrbScaleTask *task);
static bool pass_over(MrbScaleTask *task, const char *instance,
					  MemoryContext context);
static bool acknowledged(MrbScaleTask *task, const MrbEndpoint *endpoint);

/*
 * Make a task of a request; what has to be sent or polled is due at once.
 */
void
mrb_scale_task_begin(MrbScaleTask *task, const MrbCapacityRequest *request,
					 const MrbEndpoint *endpoint)
{
	MemSet(task, 0, sizeof(MrbScaleTask));
	mrb_capacity_request_copy(&task->request, request);
	task->send_at = request->goal == MRB_GOAL_WATCH ? MRB_TICK_NEVER : mrb_timer_now();
	task->poll_at = endpoint->adapter->poll.request != NULL &&
		mrb_capacity_request_is_watched_by(request, endpoint->name) ?
		mrb_timer_now() : MRB_TICK_NEVER;
}

/*
 * Continue an older task of the same version.  The request is sent anew if it
 * differs, or if an operation has requested the same again since.
 */
void
mrb_scale_task_inherit(MrbScaleTask *task, const MrbScaleTask *old)
{
	if (old->poll_at != MRB_TICK_NEVER &&
		(task->poll_at != MRB_TICK_NEVER || task->request.goal != MRB_GOAL_WATCH))
	{
		task->poll_at = old->poll_at;
		task->poll_failures = old->poll_failures;
	}
	task->confirm = old->confirm;
	if (!is_same(&task->request, &old->request) ||
		(old->acked_at != 0 && !old->unwritten && !task->request.asked))
		return;
	task->send_at = old->send_at;
	task->acked_at = old->acked_at;
	task->unwritten = old->unwritten;
	task->request_at = old->request_at;
	task->failures = old->failures;
	task->taken_before = old->taken_before;
	task->done = copy_names(old->done);
	task->refused = copy_names(old->refused);
}

/*
 * The next instance that has neither acknowledged nor refused: another one
 * takes the place of one that was refused.
 */
char *
mrb_scale_task_instance(const MrbScaleTask *task)
{
	if (has_enough(task))
		return NULL;
	for (int i = 0; i < task->request.instances.n; i++)
	{
		char	   *instance = task->request.instances.items[i];

		if (!has_name(task->done, instance) &&
			!has_name(task->refused, instance))
			return instance;
	}
	return NULL;
}

/*
 * Note an acknowledgement; true when the whole task is acknowledged.
 */
bool
mrb_scale_task_acknowledged(MrbScaleTask *task, const MrbEndpoint *endpoint,
							const char *instance, MemoryContext context)
{
	if (instance != NULL)
	{
		task->done = add_name(task->done, instance, context);
		if (mrb_scale_task_instance(task) != NULL)
			return false;		/* the next instance follows */
		if (task->refused != NIL && !has_enough(task))
		{
			task->refused = NIL;
			task->send_at = tick_after(refused_delay(task->failures));
			return false;
		}
		if (task->request.unknown > 0)
			return false;		/* the next turn reports them as missing */
	}
	return acknowledged(task, endpoint);
}

/*
 * Note that a healthy scheduler refused the request, and back off.
 */
void
mrb_scale_task_refused(MrbScaleTask *task, const char *instance,
					   int retry_after,
					   MemoryContext context)
{
	int			delay;

	if (instance == NULL)
		task->done = NIL;		/* all instances are requested again */
	else if (pass_over(task, instance, context))
	{
		task->failures = Max(task->failures, 1);
		return;
	}
	task->failures++;
	delay = refused_delay(task->failures);
	task->send_at = tick_after(Max(delay,
								   Min(retry_after, MRB_RETRY_AFTER_MAX_S) * 1000));
}

/*
 * Note that the endpoint failed.  Its health decides when it is tried again,
 * unless it takes other messages and fails only at this one: then the task
 * backs off.  The fault may lie with one instance, so the others are tried
 * before that one is retried.
 */
void
mrb_scale_task_failed(MrbScaleTask *task, const MrbEndpoint *endpoint,
					  const char *instance, bool ambiguous, MemoryContext context)
{
	if (task->failures++ == 0)
		task->taken_before = endpoint->health.taken;
	task->confirm |= ambiguous;
	if (task->failures < POISON_TRIES ||
		(instance != NULL && pass_over(task, instance, context)))
		return;
	if (endpoint->health.taken > task->taken_before)
		task->send_at = tick_after(refused_delay(task->failures - POISON_TRIES));
}

/*
 * Note a count; poll again soon while the goal is not reached.
 */
void
mrb_scale_task_polled(MrbScaleTask *task, const MrbEndpoint *endpoint,
					  int healthy)
{
	bool		reached = task->request.goal == MRB_GOAL_WATCH ||
	(task->request.goal == MRB_GOAL_UP && healthy >= task->request.count) ||
	(task->request.goal == MRB_GOAL_DOWN && healthy == 0);

	task->poll_failures = 0;
	task->poll_at = tick_after(reached ? mrb_capacity_interval :
							   endpoint->adapter->poll.interval_ms);
}

/*
 * Note that a poll failed.  A poll may be a heartbeat, so its back-off is
 * bounded by capacity_interval.
 */
void
mrb_scale_task_not_polled(MrbScaleTask *task, const MrbEndpoint *endpoint)
{
	int			delay;

	delay = refused_delay(++task->poll_failures);
	delay = Min(delay, mrb_capacity_interval);
	task->poll_at = tick_after(Max(endpoint->adapter->poll.interval_ms, delay));
}

/*
 * Whether two requests ask for the same.
 */
static bool
is_same(const MrbCapacityRequest *a, const MrbCapacityRequest *b)
{
	return a->goal == b->goal && a->count == b->count &&
		a->since == b->since;
}

/*
 * Copy names into the current context.
 */
static List *
copy_names(const List *names)
{
	List	   *copy = NIL;
	ListCell   *cell;

	foreach(cell, names)
		copy = lappend(copy, pstrdup(lfirst(cell)));
	return copy;
}

/*
 * Whether name is among names.
 */
static bool
has_name(const List *names, const char *name)
{
	ListCell   *cell;

	foreach(cell, names)
		if (strcmp(lfirst(cell), name) == 0)
		return true;
	return false;
}

/*
 * Append a copy of name, allocated in context.
 */
static List *
add_name(List *names, const char *name, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);

	names = lappend(names, pstrdup(name));
	MemoryContextSwitchTo(old);
	return names;
}

/*
 * The time ms milliseconds from now.
 */
static MrbTick
tick_after(int ms)
{
	return mrb_timer_add_ms(mrb_timer_now(), ms);
}

/*
 * Delay after so many refusals, or failures of this request alone.
 */
static int
refused_delay(int failures)
{
	return mrb_backoff_equal_jitter(REFUSED_MIN_MS, REFUSED_MAX_MS, failures);
}

/*
 * Whether as many starts were acknowledged as instances are missing.  Never
 * true of a request to stop, which concerns all instances.
 */
static bool
has_enough(const MrbScaleTask *task)
{
	int			taken = 0;

	if (task->request.goal != MRB_GOAL_UP)
		return false;
	for (int i = 0; i < task->request.instances.n; i++)
		if (has_name(task->done, task->request.instances.items[i]))
			taken++;
	return taken >= task->request.missing;
}

/*
 * Leave the instance out until the others have had their turn; false when
 * none of them is left.
 */
static bool
pass_over(MrbScaleTask *task, const char *instance, MemoryContext context)
{
	task->refused = add_name(task->refused, instance, context);
	if (mrb_scale_task_instance(task) != NULL)
		return true;
	task->refused = NIL;
	return false;
}

/*
 * The scheduler has acknowledged the whole task.  If an earlier attempt may
 * still arrive late, the request is repeated once under another message id,
 * and only that acknowledgement counts.
 */
static bool
acknowledged(MrbScaleTask *task, const MrbEndpoint *endpoint)
{
	bool		confirm = task->confirm;

	task->request_at = 0;
	task->confirm = false;
	task->failures = 0;
	task->done = NIL;
	task->refused = NIL;
	if (endpoint->adapter->poll.request != NULL)
		task->poll_at = tick_after(endpoint->adapter->poll.interval_ms);
	if (confirm)
	{
		task->send_at = tick_after(Max(CONFIRM_MS, endpoint->adapter->timeout_ms));
		return false;
	}
	task->acked_at = mrb_timer_wall();
	task->unwritten = true;
	task->send_at = tick_after(mrb_capacity_interval);
	return true;
}
