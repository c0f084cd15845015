/*-------------------------------------------------------------------------
 *
 * alert.c
 *	  Alerts about deployments.
 *
 * watch.c says what an alert may do: this does it, and records what was done and
 * why, or why nothing was.  A rollback takes the steps of attempt.c, so that it
 * is like any other one.
 *
 * Before the first lock every deployment that may be rolled back is looked at,
 * and storage is asked.  Then deployment after deployment is locked, in the order
 * of their ids, by bytes, so that two calls never deadlock; under the lock each
 * alert is looked for and judged again.  A rollback that is refused, or a
 * deployment that is locked, does not fail the call: Alertmanager would send all
 * of it again, and the others would wait.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/guc.h"
#include "common/index_lookup.h"
#include "common/iso_time.h"
#include "common/query.h"
#include "operation/alert.h"
#include "operation/alert_record.h"
#include "operation/attempt.h"
#include "operation/deployment_lock.h"
#include "operation/operation_count.h"
#include "operation/primary.h"
#include "operation/refusal.h"
#include "operation/rollback.h"
#include "operation/tenancy.h"
#include "operation/watch.h"

/* The label names the deployment; what there is of it is found out once. */
typedef struct Label
{
	const char *name;
	const char *deployment_id;	/* NULL: none that the caller may roll back */
	const char *why;			/* then */
} Label;

/* All alerts of a call. */
typedef struct AlertRun
{
	const MrbAlert *alerts;
	MrbAlertResult *results;
	int		   *order;			/* numbers of the alerts that name a
								 * deployment, sorted by it */
	int			nordered;
	Oid			function;
	bool		to_dispatcher;	/* any is to be sent to hooks, or noted */
	MemoryContext kept;			/* of the results */
	MemoryContext scratch;		/* reset after each alert */
} AlertRun;

/* The alerts of one deployment, which are neighbours in the order. */
typedef struct Group
{
	const char *deployment_id;
	const int  *order;
	int			n;
	int			prepared;		/* alert that a rollback was prepared for; -1:
								 * none */
	MrbTick		began;			/* then */
	MrbCallerRequest request;
	MrbAttempt	attempt;
	MrbFinding	finding;		/* of the steps before the lock */
	Jsonb	   *stored;			/* the rollback was done by an earlier call */
} Group;

/* Columns of label_query. */
enum
{
	LABEL_DEPLOYMENT = 1,
	LABEL_WHY,
};

static MrbQuery label_query = {
	.sql = "SELECT a.deployment_id, a.why FROM miosa.alert_deployment($1) a",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static void find_deployments(AlertRun *run, int n);
static void find_deployment(Label *label);
static int	compare_alerts(const void *one, const void *other, void *arg);
static Group *make_groups(AlertRun *run, int *ngroups);
static void prepare(const AlertRun *run, Group *group);
static void prepare_rollback(Group *group, const MrbAlert *alert, int number,
							 const char *active_version_id);
static void take_group(AlertRun *run, Group *group, int *wait);
static bool is_done(const MrbAlert *alert, MrbAlertKnown known);
static void take_alert(AlertRun *run, Group *group, int number,
					   const MrbFinding *locked);
static MrbAlertDeed judge(const AlertRun *run, Group *group, int number);
static MrbAlertDeed roll_back(const AlertRun *run, Group *group, int number);
static MrbAlertDeed refuse(const AlertRun *run, const Group *group, int number,
						   const MrbFinding *finding);
static void set_result(AlertRun *run, int number, const MrbAlertDeed *deed);

/*
 * Take alerts.
 */
MrbAlertResult *
mrb_alert_run(const MrbAlert *alerts, int n, Oid function)
{
	AlertRun	run = {
		.alerts = alerts,
		.results = palloc0(Max(n, 1) * sizeof(MrbAlertResult)),
		.order = palloc(Max(n, 1) * sizeof(int)),
		.function = function,
		.kept = CurrentMemoryContext,
	};
	Group	   *groups;
	int			ngroups;
	int			wait = mrb_lock_wait;

	mrb_primary_require();
	find_deployments(&run, n);
	groups = make_groups(&run, &ngroups);
	for (int i = 0; i < ngroups; i++)
		prepare(&run, &groups[i]);
	run.scratch = AllocSetContextCreate(run.kept, "miosa_rollback alert",
										ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < ngroups; i++)
		take_group(&run, &groups[i], &wait);
	MemoryContextSwitchTo(run.kept);
	MemoryContextDelete(run.scratch);
	mrb_refusal_forget();
	if (run.to_dispatcher)
		mrb_alert_record_notify();
	return run.results;
}

/*
 * Find the deployments that the alerts name.
 */
static void
find_deployments(AlertRun *run, int n)
{
	Label		label = {0};

	for (int i = 0; i < n; i++)
	{
		MrbAlertResult *result = &run->results[i];

		CHECK_FOR_INTERRUPTS();
		/* The alerts of a message often are about one deployment. */
		if (label.name == NULL || run->alerts[i].deployment == NULL ||
			strcmp(label.name, run->alerts[i].deployment) != 0)
		{
			label.name = run->alerts[i].deployment;
			find_deployment(&label);
		}
		result->deployment_id = label.deployment_id;
		result->why = label.why;
		if (label.deployment_id == NULL)
			result->done = "unmatched";
		else
			run->order[run->nordered++] = i;
	}
	qsort_arg(run->order, run->nordered, sizeof(int), compare_alerts, run->results);
}

/*
 * Find the deployment that a label names, which the caller may roll back.
 */
static void
find_deployment(Label *label)
{
	Datum		value;
	MrbFinding	finding;

	label->deployment_id = NULL;
	label->why = "the alert has no label miosa_deployment";
	if (label->name == NULL)
		return;
	value = CStringGetTextDatum(label->name);
	mrb_query_open();
	mrb_query_run(&label_query, &value, NULL);
	label->deployment_id = mrb_query_text(0, LABEL_DEPLOYMENT);
	label->why = mrb_query_text(0, LABEL_WHY);
	mrb_query_close();
	if (label->deployment_id == NULL)
		return;
	mrb_index_lookup_begin();
	finding = mrb_deployment_check_caller(label->deployment_id, MRB_SCOPE_ROLLBACK,
										  "roll back");
	mrb_index_lookup_end();
	if (finding.severity != MRB_FAILS)
		return;
	label->deployment_id = NULL;
	label->why = finding.message;
}

/*
 * Compare two alerts by their deployments, then by their places.
 */
static int
compare_alerts(const void *one, const void *other, void *arg)
{
	const MrbAlertResult *results = arg;
	int			a = *(const int *) one;
	int			b = *(const int *) other;
	int			order = strcmp(results[a].deployment_id, results[b].deployment_id);

	return order != 0 ? order : a - b;
}

/*
 * Put the alerts of each deployment together.
 */
static Group *
make_groups(AlertRun *run, int *ngroups)
{
	Group	   *groups = palloc0(Max(run->nordered, 1) * sizeof(Group));

	*ngroups = 0;
	for (int i = 0; i < run->nordered; i++)
	{
		const char *id = run->results[run->order[i]].deployment_id;
		Group	   *group = &groups[*ngroups];

		if (i > 0 && strcmp(group[-1].deployment_id, id) == 0)
		{
			group[-1].n++;
			continue;
		}
		group->deployment_id = id;
		group->order = &run->order[i];
		group->n = 1;
		group->prepared = -1;
		(*ngroups)++;
	}
	return groups;
}

/*
 * Prepare the rollback for the first alert that may have one, before any lock.
 */
static void
prepare(const AlertRun *run, Group *group)
{
	for (int i = 0; i < group->n; i++)
	{
		int			number = group->order[i];
		const MrbAlert *alert = &run->alerts[number];
		MrbWatchVerdict verdict;

		if (!alert->firing ||
			is_done(alert, mrb_alert_record_find(group->deployment_id, alert)))
			continue;
		verdict = mrb_watch_judge(group->deployment_id, alert->labels,
								  alert->starts_at);
		if (verdict.act != MRB_WATCH_ROLLBACK)
			continue;
		prepare_rollback(group, alert, number, verdict.active_version_id);
		return;
	}
}

/*
 * Take the steps before the lock.  The key makes the same message of another call
 * the same rollback.
 */
static void
prepare_rollback(Group *group, const MrbAlert *alert, int number,
				 const char *active_version_id)
{
	char		starts_at[MRB_ISO_TIME_SIZE];
	MrbAlertDeed deed = {.done = "rollback"};

	group->prepared = number;
	group->began = mrb_operation_count_begin();
	group->request = (MrbCallerRequest)
	{
		.deployment_id = group->deployment_id,
			.key = psprintf("alert:%s:%s", alert->fingerprint,
							mrb_iso_time_write(alert->starts_at, starts_at)),
			.reason = alert->reason,
			.expected_active = active_version_id,
			.alert = mrb_alert_record_show(alert, &deed),
	};
	group->attempt = (MrbAttempt)
	{
		.request = &group->request
	};
	group->stored = mrb_rollback_prepare(&group->attempt, &group->finding);
}

/*
 * Lock a deployment, and take its alerts.
 */
static void
take_group(AlertRun *run, Group *group, int *wait)
{
	ItemPointerData place;
	MrbFinding	locked;

	MemoryContextSwitchTo(run->kept);
	ItemPointerSetInvalid(&place);
	if (group->prepared >= 0)
		mrb_operation_count_resume(group->began);
	locked = mrb_deployment_lock_within(group->deployment_id, &place, wait);
	for (int i = 0; i < group->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(run->scratch);
		MemoryContextSwitchTo(run->scratch);
		take_alert(run, group, group->order[i], &locked);
	}
}

/*
 * Whether nothing is left to do for an alert: it came before, and not only to find
 * the deployment locked.
 */
static bool
is_done(const MrbAlert *alert, MrbAlertKnown known)
{
	if (!known.came)
		return false;
	return known.resolved || (alert->firing && !known.busy);
}

/*
 * Take an alert.  locked fails if the deployment could not be locked: then the
 * dispatcher leaves the note in the deployment's history, and the alert is judged
 * when it comes again.
 */
static void
take_alert(AlertRun *run, Group *group, int number, const MrbFinding *locked)
{
	const char *id = group->deployment_id;
	const MrbAlert *alert = &run->alerts[number];
	bool		busy = locked->severity == MRB_FAILS;
	MrbAlertKnown known = mrb_alert_record_find(id, alert);
	MrbAlertDeed deed = {.done = "recorded",.why = "the alert is over"};

	run->results[number].again = busy && alert->firing && !is_done(alert, known);
	if (is_done(alert, known) || (known.came && alert->firing && busy))
	{
		deed.done = "known";
		deed.why = alert->firing && known.resolved ?
			"the end of the alert came before" : "the alert came before";
		set_result(run, number, &deed);
		return;
	}
	if (alert->firing)
	{
		if (busy)
			deed = refuse(run, group, number, locked);
		else
			deed = judge(run, group, number);
	}
	if (deed.response == NULL && !busy && strcmp(deed.done, "known") != 0)
		mrb_alert_record_note(id, alert, &deed);
	if (known.came && !alert->firing)
		mrb_alert_record_end(id, alert);
	else
		mrb_alert_record_add(id, alert, &deed);
	run->to_dispatcher |= busy || strcmp(deed.done, "notified") == 0;
	set_result(run, number, &deed);
}

/*
 * Judge an alert that fires, under the lock, and do what it may do.
 */
static MrbAlertDeed
judge(const AlertRun *run, Group *group, int number)
{
	const MrbAlert *alert = &run->alerts[number];
	MrbWatchVerdict verdict = mrb_watch_judge(group->deployment_id, alert->labels,
											  alert->starts_at);
	MrbAlertDeed deed = {.done = "notified"};

	if (verdict.act == MRB_WATCH_ROLLBACK)
	{
		/* The deployment, or its watch, has changed since. */
		if (group->prepared != number)
			prepare_rollback(group, alert, number, verdict.active_version_id);
		deed = roll_back(run, group, number);
	}
	else if (verdict.act == MRB_WATCH_HOLD)
		deed.done = "hold";
	deed.version_id = verdict.active_version_id;
	if (deed.why == NULL)
		deed.why = verdict.why;
	return deed;
}

/*
 * Finish the rollback that was prepared.
 */
static MrbAlertDeed
roll_back(const AlertRun *run, Group *group, int number)
{
	MrbFinding	finding = group->finding;
	bool		replayed = group->stored != NULL;
	MrbAlertDeed deed = {.done = "rollback",.response = group->stored};

	if (!replayed && finding.severity != MRB_FAILS)
		deed.response = mrb_rollback_finish(&group->attempt, &finding, &replayed);
	if (finding.severity == MRB_FAILS)
		return refuse(run, group, number, &finding);
	deed.target_id = group->attempt.target.id;
	if (replayed)
	{
		deed.done = "known";
		deed.why = "the alert has rolled the deployment back before";
	}
	return deed;
}

/*
 * A rollback was refused: record the call as any other one that is.
 */
static MrbAlertDeed
refuse(const AlertRun *run, const Group *group, int number,
	   const MrbFinding *finding)
{
	MrbAlertDeed deed = {
		.done = "notified",
		.why = finding->message,
		.condition = mrb_errors_condition_name(finding->condition),
	};

	if (group->prepared == number)
		mrb_refusal_record(&group->request, finding->condition, run->function);
	return deed;
}

/*
 * Set the result of an alert.
 */
static void
set_result(AlertRun *run, int number, const MrbAlertDeed *deed)
{
	MrbAlertResult *result = &run->results[number];
	MemoryContext before = MemoryContextSwitchTo(run->kept);

	result->done = deed->done;	/* a constant */
	result->why = pstrdup(deed->why);
	result->operation_id = mrb_alert_record_operation(deed->response);
	MemoryContextSwitchTo(before);
}
