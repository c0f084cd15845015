/*-------------------------------------------------------------------------
 *
 * scale_sender.c
 *	  Asking schedulers, and what becomes of it.
 *
 * A request is named after the time of its first try: the same on every try,
 * so that who drops repeats drops those, and another one when the same count
 * is asked for again because it was not reached.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "adapter/answer.h"
#include "endpoint/dirty.h"
#include "endpoint/health.h"
#include "route/route.h"
#include "scheduler/scale_queue.h"
#include "scheduler/scale_result.h"
#include "scheduler/scale_sender.h"

/* Room for the values that are made of numbers. */
typedef struct Texts
{
	char		count[16];
	char		time[MRB_ROUTE_TIME_SIZE];
} Texts;

static const MrbRequest *choose_call(const MrbEndpoint *endpoint,
									 const MrbScaleTask *task, bool poll);
static MrbStarted start(MrbScaleEntry *want, MrbScaleTask *task, bool poll,
						const char *instance, const char **problem);
static void fill(const MrbScaleTask *task, TimestampTz at, const char *instance,
				 MrbTemplateValues *values, Texts *texts);
static void answered(MrbInflight *send, const MrbHttpAnswer *answer);
static MrbScaleTask *find_task(MrbScaleEntry *want);
static void succeeded(MrbScaleEntry *want, MrbScaleTask *task, int healthy);
static void task_taken(MrbScaleEntry *want, MrbScaleTask *task, const char *instance);
static void did_not(MrbScaleEntry *want, MrbScaleTask *task, MrbVerdict verdict,
					const MrbHttpAnswer *answer, const char *why);
static void show_error(MrbEndpoint *endpoint, const char *why);

bool
mrb_scale_sender_start(MrbEndpoint *endpoint, bool *full)
{
	MrbScaleEntry *want = mrb_scale_queue_next(endpoint);
	MrbScaleTask *task;
	bool		poll;
	char	   *instance;
	const char *problem = NULL;

	if (want == NULL)
		return false;
	task = mrb_scale_queue_due(want, &poll);
	if (task != NULL && !poll && !mrb_scale_queue_is_fresh(want))
	{
		/* It comes first in the next turn. */
		mrb_scale_queue_reread(want);
		return false;
	}
	if (task == NULL)
	{
		mrb_scale_queue_rest(want);
		return true;
	}
	instance = !poll && endpoint->adapter->per_instance ?
		mrb_scale_task_instance(task) : NULL;
	if (!poll && instance == NULL && endpoint->adapter->per_instance &&
		task->need.unknown == 0)
	{
		/* Those that there are have been asked for, or need not be. */
		task_taken(want, task, NULL);
		mrb_scale_queue_rest(want);
		return true;
	}
	switch (start(want, task, poll, instance, &problem))
	{
		case MRB_STARTED:
			mrb_scale_queue_take_off(want, task, poll, instance);
			return true;
		case MRB_START_FULL:
			*full = true;
			break;
		case MRB_START_WRONG:
			show_error(endpoint, problem);
			mrb_scale_result_add(want, task, -1, problem);
			if (poll)
				mrb_scale_task_not_polled(task, endpoint);
			else
				mrb_scale_task_refused(task, instance, 0, want->context);
			break;
	}
	mrb_scale_queue_rest(want);
	return true;
}

/*
 * NULL: there is nothing to ask about.
 */
static const MrbRequest *
choose_call(const MrbEndpoint *endpoint, const MrbScaleTask *task, bool poll)
{
	const MrbAdapter *adapter = endpoint->adapter;

	if (poll)
		return adapter->poll.request;
	if (adapter->per_instance && task->need.goal == MRB_GOAL_DOWN)
		return adapter->remove;
	return adapter->request;
}

static MrbStarted
start(MrbScaleEntry *want, MrbScaleTask *task, bool poll, const char *instance,
	  const char **problem)
{
	MrbEndpoint *endpoint = want->endpoint;
	MrbInflightNote note = {
		.call = choose_call(endpoint, task, poll),
		.subject = want,
		.retry = (poll ? task->poll_failures : task->failures) > 0,
		.done = answered,
	};
	TimestampTz at = mrb_timer_wall();
	MrbTemplateValues values = {0};
	Texts		texts;

	if (!poll && endpoint->adapter->per_instance && instance == NULL)
	{
		*problem = psprintf("%d instances are missing, and no more of the version are known that could be started",
							task->need.unknown);
		return MRB_START_WRONG;
	}
	if (!poll)
	{
		if (task->request_at == 0)
			task->request_at = at;
		at = task->request_at;
	}
	fill(task, at, instance, &values, &texts);
	return mrb_inflight_start(endpoint, &values, &note, problem);
}

static void
fill(const MrbScaleTask *task, TimestampTz at, const char *instance,
	 MrbTemplateValues *values, Texts *texts)
{
	const MrbCapacityRequest *need = &task->need;
	MrbRoute	moment = {.since = at};
	const char **text = values->text;

	snprintf(texts->count, sizeof(texts->count), "%d", need->count);
	text[		MRB_VAR_CHANGED_AT] = mrb_route_changed_at(&moment, texts->time);
	text[		MRB_VAR_COUNT] = texts->count;
	text[		MRB_VAR_DEPLOYMENT_ID] = need->deployment_id;
	text[		MRB_VAR_INSTANCE_ID] = instance;
	text[		MRB_VAR_KIND] = need->kind;
	text[		MRB_VAR_MESSAGE_ID] =
	psprintf("%s:%s%s%s@" INT64_FORMAT, need->deployment_id,
			 need->version_id, instance != NULL ? ":" : "",
			 instance != NULL ? instance : "", at);
	text[		MRB_VAR_OPERATION_ID] = need->operation_id;
	text[		MRB_VAR_RELEASE_ID] = need->release_id;
	text[		MRB_VAR_SHA256] = need->sha256;
	text[		MRB_VAR_STORAGE_URI] = need->storage_uri;
	text[		MRB_VAR_TENANT_ID] = need->tenant_id;
	text[		MRB_VAR_VERSION_ID] = need->version_id;
	text[		MRB_VAR_VERSION_NUMBER] = need->version_number;
	text[		MRB_VAR_WORKLOAD] = need->workload;
}

/*
 * A request has ended.
 */
static void
answered(MrbInflight *send, const MrbHttpAnswer *answer)
{
	MrbScaleEntry *want = send->note.subject;
	MrbEndpoint *endpoint = send->endpoint;
	MrbScaleTask *task = find_task(want);
	int			healthy = -1;
	char	   *why;
	MrbVerdict	verdict = mrb_answer_judge(endpoint->adapter, send->note.call,
										   answer, &why);

	if (verdict == MRB_VERDICT_SUCCESS && want->flight.poll)
	{
		healthy = mrb_answer_count(endpoint->adapter, answer, &why);
		if (healthy < 0)
			verdict = MRB_VERDICT_MESSAGE;
	}
	mrb_endpoint_stats_answered(&endpoint->stats, verdict == MRB_VERDICT_SUCCESS);
	mrb_health_note_answer(send, answer, verdict, why);
	if (verdict == MRB_VERDICT_SUCCESS)
		succeeded(want, task, healthy);
	else
		did_not(want, task, verdict, answer, why);
	mrb_scale_queue_rest(want);
}

/*
 * The task that the request was made of; NULL when something else is wanted
 * meanwhile.
 */
static MrbScaleTask *
find_task(MrbScaleEntry *want)
{
	MrbScaleTask *task = mrb_scale_queue_task(want, want->flight.version_id);

	if (task == NULL ||
		(!want->flight.poll && task->request_at != want->flight.request_at))
		return NULL;
	return task;
}

static void
succeeded(MrbScaleEntry *want, MrbScaleTask *task, int healthy)
{
	if (task == NULL)
		return;
	if (want->flight.poll)
	{
		mrb_scale_task_polled(task, want->endpoint, healthy);
		mrb_scale_result_add(want, task, healthy, NULL);
	}
	else
		task_taken(want, task, want->flight.instance_id);
}

static void
task_taken(MrbScaleEntry *want, MrbScaleTask *task, const char *instance)
{
	if (mrb_scale_task_taken(task, want->endpoint, instance, want->context))
		mrb_scale_result_add(want, task, -1, NULL);
}

static void
did_not(MrbScaleEntry *want, MrbScaleTask *task, MrbVerdict verdict,
		const MrbHttpAnswer *answer, const char *why)
{
	bool		ambiguous = answer->outcome == MRB_HTTP_TIMED_OUT ||
	answer->outcome == MRB_HTTP_BROKEN;

	if (verdict == MRB_VERDICT_MESSAGE)
		show_error(want->endpoint, why);
	if (task == NULL)
	{
		/* It may be acted upon after what is wanted now. */
		task = mrb_scale_queue_task(want, want->flight.version_id);
		if (task != NULL && ambiguous && !want->flight.poll)
			task->confirm = true;
		return;
	}
	mrb_scale_result_add(want, task, -1, why);
	if (want->flight.poll)
		mrb_scale_task_not_polled(task, want->endpoint);
	else if (verdict == MRB_VERDICT_MESSAGE)
		mrb_scale_task_refused(task, want->flight.instance_id, answer->retry_after,
							   want->context);
	else
		mrb_scale_task_failed(task, want->endpoint, want->flight.instance_id,
							  ambiguous, want->context);
}

/*
 * An endpoint that works has its last error all the same.
 */
static void
show_error(MrbEndpoint *endpoint, const char *why)
{
	mrb_health_note_error(endpoint, endpoint->vitals.last_status, why);
}
