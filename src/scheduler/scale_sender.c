/*-------------------------------------------------------------------------
 *
 * scale_sender.c
 *	  Sends requests and polls to schedulers and handles their answers.
 *
 * The message id of a request contains the time of its first attempt.  It is
 * the same on every attempt, so that a scheduler can drop repeated ones, and
 * differs when the same count is requested again because it was not reached.
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

/* Room for values that are formatted from numbers. */
typedef struct Formatted
{
	char		count[16];
	char		time[MRB_ROUTE_TIME_SIZE];
} Formatted;

static const MrbRequest *choose_request(const MrbEndpoint *endpoint,
										const MrbScaleTask *task, bool poll);
static MrbStarted start(MrbScaleEntry *entry, MrbScaleTask *task, bool poll,
						const char *instance, const char **problem);
static void fill(const MrbScaleTask *task, TimestampTz at,
				 const char *instance,
				 MrbTemplateValues *values, Formatted *formatted);
static void handle_answer(MrbInflight *inflight, const MrbHttpAnswer *answer);
static MrbScaleTask *find_task(MrbScaleEntry *entry);
static void request_succeeded(MrbScaleEntry *entry, MrbScaleTask *task,
							  int healthy);
static void acknowledge_task(MrbScaleEntry *entry, MrbScaleTask *task,
							 const char *instance);
static void request_failed(MrbScaleEntry *entry, MrbScaleTask *task,
						   MrbVerdict verdict,
						   const MrbHttpAnswer *answer, const char *why);
static void show_error(MrbEndpoint *endpoint, const char *why);

/*
 * Start the next request to a scheduler.  True also when an entry had nothing
 * to send after all: the next one may have.
 */
bool
mrb_scale_sender_start(MrbEndpoint *endpoint, bool *full)
{
	MrbScaleEntry *entry = mrb_scale_queue_next(endpoint);
	MrbScaleTask *task;
	bool		poll;
	char	   *instance;
	const char *problem = NULL;

	if (entry == NULL)
		return false;
	task = mrb_scale_queue_due(entry, &poll);
	if (task != NULL && !poll && !mrb_scale_queue_is_fresh(entry))
	{
		/* It comes first once it is read. */
		mrb_scale_queue_reread(entry);
		return false;
	}
	if (task == NULL)
	{
		mrb_scale_queue_schedule(entry);
		return true;
	}
	instance = !poll && endpoint->adapter->per_instance ?
		mrb_scale_task_instance(task) : NULL;
	if (!poll && instance == NULL && endpoint->adapter->per_instance &&
		task->request.unknown == 0)
	{
		/* All of its instances have acknowledged, or none is missing. */
		acknowledge_task(entry, task, NULL);
		mrb_scale_queue_schedule(entry);
		return true;
	}
	switch (start(entry, task, poll, instance, &problem))
	{
		case MRB_STARTED:
			mrb_scale_queue_started(entry, task, poll, instance);
			return true;
		case MRB_START_FULL:
			*full = true;
			break;
		case MRB_START_LARGE:
		case MRB_START_WRONG:
			show_error(endpoint, problem);
			mrb_scale_result_add(entry, task, -1, problem);
			if (poll)
				mrb_scale_task_not_polled(task, endpoint);
			else
				mrb_scale_task_refused(task, instance, 0, entry->context);
			break;
	}
	mrb_scale_queue_schedule(entry);
	return true;
}

/*
 * The adapter's request for the task: to poll, to remove an instance, or to
 * set the count or start an instance.
 */
static const MrbRequest *
choose_request(const MrbEndpoint *endpoint, const MrbScaleTask *task, bool poll)
{
	const MrbAdapter *adapter = endpoint->adapter;

	if (poll)
		return adapter->poll.request;
	if (adapter->per_instance && task->request.goal == MRB_GOAL_DOWN)
		return adapter->remove;
	return adapter->request;
}

/*
 * Send the request or the poll of a task, about the instance if not NULL.
 */
static MrbStarted
start(MrbScaleEntry *entry, MrbScaleTask *task, bool poll,
	  const char *instance,
	  const char **problem)
{
	MrbEndpoint *endpoint = entry->endpoint;
	MrbInflightNote note = {
		.request = choose_request(endpoint, task, poll),
		.subject = entry,
		.retry = (poll ? task->poll_failures : task->failures) > 0,
		.done = handle_answer,
	};
	TimestampTz at = mrb_timer_wall();
	MrbTemplateValues values = {0};
	Formatted	formatted;

	if (!poll && endpoint->adapter->per_instance && instance == NULL)
	{
		*problem = psprintf("%d instances are missing, and the version has no others that could be started",
							task->request.unknown);
		return MRB_START_WRONG;
	}
	if (!poll)
	{
		if (task->request_at == 0)
			task->request_at = at;
		at = task->request_at;
	}
	fill(task, at, instance, &values, &formatted);
	return mrb_inflight_start(endpoint, &values, &note, problem);
}

/*
 * Set the variables of the adapter's templates.
 */
static void
fill(const MrbScaleTask *task, TimestampTz at, const char *instance,
	 MrbTemplateValues *values, Formatted *formatted)
{
	const MrbCapacityRequest *request = &task->request;
	MrbRoute	moment = {.since = at};
	const char **value = values->text;

	snprintf(formatted->count, sizeof(formatted->count), "%d", request->count);
	value[MRB_VAR_CHANGED_AT] = mrb_route_changed_at(&moment, formatted->time);
	value[MRB_VAR_COUNT] = formatted->count;
	value[MRB_VAR_DEPLOYMENT_ID] = request->deployment_id;
	value[MRB_VAR_INSTANCE_ID] = instance;
	value[MRB_VAR_KIND] = request->kind;
	value[MRB_VAR_MESSAGE_ID] =
		psprintf("%s:%s%s%s@" INT64_FORMAT, request->deployment_id,
				 request->version_id, instance != NULL ? ":" : "",
				 instance != NULL ? instance : "", at);
	value[MRB_VAR_OPERATION_ID] = request->operation_id;
	value[MRB_VAR_RELEASE_ID] = request->release_id;
	value[MRB_VAR_SHA256] = request->sha256;
	value[MRB_VAR_STORAGE_URI] = request->storage_uri;
	value[MRB_VAR_TENANT_ID] = request->tenant_id;
	value[MRB_VAR_VERSION_ID] = request->version_id;
	value[MRB_VAR_VERSION_NUMBER] = request->version_number;
	value[MRB_VAR_WORKLOAD] = request->workload;
}

/*
 * A request or poll has ended: update health, task and results, and schedule
 * the entry.
 */
static void
handle_answer(MrbInflight *inflight, const MrbHttpAnswer *answer)
{
	MrbScaleEntry *entry = inflight->note.subject;
	MrbEndpoint *endpoint = inflight->endpoint;
	MrbScaleTask *task = find_task(entry);
	int			healthy = -1;
	char	   *why;
	MrbVerdict	verdict = mrb_answer_judge(endpoint->adapter, inflight->note.request,
										   answer, &why);

	if (verdict == MRB_VERDICT_SUCCESS && entry->sent.poll)
	{
		healthy = mrb_answer_count(endpoint->adapter, answer, &why);
		if (healthy < 0)
			verdict = MRB_VERDICT_MESSAGE;
	}
	mrb_endpoint_stats_answered(&endpoint->stats, verdict == MRB_VERDICT_SUCCESS);
	mrb_health_note_answer(inflight, answer, verdict, why);
	if (verdict == MRB_VERDICT_SUCCESS)
		request_succeeded(entry, task, healthy);
	else
		request_failed(entry, task, verdict, answer, why);
	mrb_scale_queue_schedule(entry);
}

/*
 * The task that the request in flight belongs to; NULL when it was replaced
 * by another request meanwhile.
 */
static MrbScaleTask *
find_task(MrbScaleEntry *entry)
{
	MrbScaleTask *task = mrb_scale_queue_task(entry, entry->sent.version_id);

	if (task == NULL ||
		(!entry->sent.poll && task->request_at != entry->sent.request_at))
		return NULL;
	return task;
}

/*
 * Note the count that a poll returned, or the acknowledgement of a request.
 */
static void
request_succeeded(MrbScaleEntry *entry, MrbScaleTask *task, int healthy)
{
	if (task == NULL)
		return;
	if (entry->sent.poll)
	{
		mrb_scale_task_polled(task, entry->endpoint, healthy);
		mrb_scale_result_add(entry, task, healthy, NULL);
	}
	else
		acknowledge_task(entry, task, entry->sent.instance_id);
}

/*
 * Note an acknowledgement; that of the whole task is written.
 */
static void
acknowledge_task(MrbScaleEntry *entry, MrbScaleTask *task,
				 const char *instance)
{
	if (mrb_scale_task_acknowledged(task, entry->endpoint, instance, entry->context))
		mrb_scale_result_add(entry, task, -1, NULL);
}

/*
 * Note a failure and decide when the task is tried again.
 */
static void
request_failed(MrbScaleEntry *entry, MrbScaleTask *task, MrbVerdict verdict,
			   const MrbHttpAnswer *answer, const char *why)
{
	bool		ambiguous = answer->outcome == MRB_HTTP_TIMED_OUT ||
	answer->outcome == MRB_HTTP_BROKEN;

	if (verdict == MRB_VERDICT_MESSAGE)
		show_error(entry->endpoint, why);
	if (task == NULL)
	{
		/* The scheduler may still act on it, after the present request. */
		task = mrb_scale_queue_task(entry, entry->sent.version_id);
		if (task != NULL && ambiguous && !entry->sent.poll)
			task->confirm = true;
		return;
	}
	mrb_scale_result_add(entry, task, -1, why);
	if (entry->sent.poll)
		mrb_scale_task_not_polled(task, entry->endpoint);
	else if (verdict == MRB_VERDICT_MESSAGE)
		mrb_scale_task_refused(task, entry->sent.instance_id, answer->retry_after,
							   entry->context);
	else
		mrb_scale_task_failed(task, entry->endpoint, entry->sent.instance_id,
							  ambiguous, entry->context);
}

/*
 * Show the error of a message that a healthy endpoint refused.
 */
static void
show_error(MrbEndpoint *endpoint, const char *why)
{
	mrb_health_note_error(endpoint, endpoint->health.last_status, why);
}
