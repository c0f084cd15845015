/*-------------------------------------------------------------------------
 *
 * group.c
 *	  Rollbacks of many deployments in one statement.
 *
 * All targets take each step of attempt.c together: all are checked and storage
 * is asked before the first lock; then all are locked; then all are read and
 * checked again and written, in one snapshot and one statement of row_write.c.
 * What has to wait for the end of that statement (capacity, and what storage
 * confirmed) comes last.
 *
 * Locking.  Deployments are locked in the order of their ids, by bytes, so two
 * groups never deadlock.  All waits together last no longer than lock_wait;
 * what is locked then is refused.
 *
 * If one refusal counts for all, nothing is locked or written once a target is
 * refused, but the others are judged, so that each refusal is known.  A plan
 * judges in the same way.
 *
 * Memory.  The steps run in a context that is reset after each target.  What
 * later steps need of it is copied: less than a kilobyte, and a stored response
 * until its turn.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "artifact/artifact.h"
#include "artifact/artifact_batch.h"
#include "base/check_argument.h"
#include "base/guc.h"
#include "base/optional_text.h"
#include "common/index_lookup.h"
#include "common/row_write.h"
#include "operation/attempt.h"
#include "operation/deployment_lock.h"
#include "operation/group.h"
#include "operation/operation_count.h"
#include "operation/refusal.h"

/* One target. */
typedef struct Target
{
	MrbAttempt	attempt;
	MrbDeploymentKept *kept;	/* of what was seen, once it is chosen */
	bool		chosen;			/* steps before the lock are done */
	bool		decided;		/* refused or replayed: nothing to write */
	const char *from;			/* when that is known: as in the result */
	const char *to;
	MrbFinding	refusal;		/* if it fails */
	Jsonb	   *stored;			/* else the response of an earlier call */
} Target;

/* What is done for a target after the statement. */
typedef struct Rest
{
	MrbOperation operation;
	MrbWritten	written;
	const char *release_id;		/* whose artifact storage confirmed, or NULL */
} Rest;

typedef struct GroupRun
{
	Target	   *targets;		/* sorted, each deployment once */
	int			n;
	MrbGroupMode mode;
	int			refused;		/* number of targets */
	bool		looked;			/* the steps before the lock are done */
	MemoryContext kept;			/* lasts as long as the group */
	MemoryContext scratch;		/* reset after each target */
	MrbRetention retention;		/* of the last target's tenant */
	MrbArtifactBatch *batch;	/* what storage is asked */
	List	   *rest;			/* of Rest */
	MrbGroupReceiver receive;
	void	   *arg;
} GroupRun;

static void sort_requests(MrbCallerRequest *requests, int n);
static int	compare_requests(const void *one, const void *other);
static void make_targets(GroupRun *group, MrbCallerRequest *requests, int n);
static void check_same(const MrbAttempt *attempt,
					   const MrbCallerRequest *other);
static void look_at_all(GroupRun *group);
static bool look_at_rest(GroupRun *group);
static bool look_at(GroupRun *group, Target *target);
static void lock_all(GroupRun *group);
static void write_all(GroupRun *group);
static bool any_left(const GroupRun *group);
static bool only_judges(const GroupRun *group);
static void write_target(GroupRun *group, Target *target, MrbRowWrite *write,
						 const MrbAttemptCall *call, MrbGroupResult *result);
static void finish_all(GroupRun *group);
static void begin_target(GroupRun *group);
static void refuse(GroupRun *group, Target *target, const MrbFinding *finding);
static void keep_versions(Target *target);
static void replay(GroupRun *group, Target *target, Jsonb *stored);
static void keep_seen(GroupRun *group, Target *target);
static void keep_rest(GroupRun *group, const MrbAttempt *attempt,
					  const MrbOperation *operation, const MrbWritten *written);
static MrbFinding copy_finding(const MrbFinding *finding);

/*
 * Run a group.
 */
void
mrb_group_run(MrbCallerRequest *requests, int n, MrbGroupMode mode,
			  MrbGroupReceiver receive, void *arg)
{
	GroupRun	group = {
		.mode = mode,
		.kept = CurrentMemoryContext,
		.receive = receive,
		.arg = arg,
	};

	mrb_operation_count_begin();
	group.retention.context = group.kept;
	group.scratch = AllocSetContextCreate(group.kept, "miosa_rollback target",
										  ALLOCSET_DEFAULT_SIZES);
	group.batch = mrb_artifact_batch_create();
	sort_requests(requests, n);
	make_targets(&group, requests, n);
	mrb_index_lookup_keep();
	PG_TRY();
	{
		look_at_all(&group);
		if (!only_judges(&group))
			lock_all(&group);
		write_all(&group);
		finish_all(&group);
		MemoryContextSwitchTo(group.kept);
		mrb_index_lookup_close_kept();
	}
	PG_CATCH();
	{
		mrb_index_lookup_forget_kept();
		PG_RE_THROW();
	}
	PG_END_TRY();
	mrb_operation_count_done(false);
	mrb_refusal_forget();
	MemoryContextDelete(group.scratch);
}

/*
 * Sort the requests in the order of the locks.
 */
static void
sort_requests(MrbCallerRequest *requests, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (requests[i].deployment_id == NULL)
			mrb_check_argument_id(NULL, "deployment id");
	}
	qsort(requests, n, sizeof(MrbCallerRequest), compare_requests);
}

/*
 * Compare the deployments of two requests.
 */
static int
compare_requests(const void *one, const void *other)
{
	const MrbCallerRequest *a = one;
	const MrbCallerRequest *b = other;

	return strcmp(a->deployment_id, b->deployment_id);
}

/*
 * Make a target of each deployment, and check the arguments of all.
 */
static void
make_targets(GroupRun *group, MrbCallerRequest *requests, int n)
{
	group->targets = MemoryContextAllocHuge(group->kept,
											Max(n, 1) * sizeof(Target));
	for (int i = 0; i < n; i++)
	{
		Target	   *target = &group->targets[group->n];

		if (i > 0 && strcmp(requests[i].deployment_id,
							requests[i - 1].deployment_id) == 0)
		{
			check_same(&group->targets[group->n - 1].attempt, &requests[i]);
			continue;
		}
		memset(target, 0, sizeof(Target));
		target->attempt.request = &requests[i];
		target->attempt.retention = &group->retention;
		target->attempt.batch = group->batch;
		target->attempt.plan = group->mode == MRB_GROUP_PLAN;
		mrb_attempt_check(&target->attempt);
		group->n++;
	}
}

/*
 * Refuse a deployment that is named twice with different arguments.  Keys are
 * compared in their bare form.
 */
static void
check_same(const MrbAttempt *attempt, const MrbCallerRequest *other)
{
	const MrbCallerRequest *one = attempt->request;
	const char *key = other->key == NULL ? NULL :
	mrb_idempotency_check_key(other->key);

	if (!mrb_optional_text_equals(one->version_id, other->version_id) ||
		!mrb_optional_text_equals(attempt->key, key) ||
		!mrb_optional_text_equals(one->expected_active, other->expected_active))
		mrb_check_argument_refuse("argument", "deployment_ids",
								  one->deployment_id,
								  "The deployment is named twice, with different arguments.",
								  "Name each deployment once.");
}

/*
 * Take the steps before the lock.  Each round asks storage for what the targets
 * need next, for all of them together, in no snapshot.  One round is enough if
 * versions are named; a default target whose artifact is gone needs another one.
 */
static void
look_at_all(GroupRun *group)
{
	bool		pending = look_at_rest(group);

	while (pending)
	{
		MemoryContextSwitchTo(group->kept);
		mrb_artifact_batch_run(group->batch);
		pending = look_at_rest(group);
	}
	group->looked = true;
}

/*
 * Look at the targets that are not chosen yet, in one snapshot; whether storage
 * has to be asked first for any.  If a refusal is an error, it is that of the first
 * target which is refused, so it is raised when nothing is pending before it.
 */
static bool
look_at_rest(GroupRun *group)
{
	bool		pending = false;

	mrb_index_lookup_begin();
	for (int i = 0; i < group->n; i++)
	{
		Target	   *target = &group->targets[i];

		if (!target->chosen && !target->decided)
		{
			begin_target(group);
			pending |= !look_at(group, target);
		}
		if (group->mode == MRB_GROUP_FIRST && !pending)
			mrb_finding_enforce(&target->refusal);
	}
	mrb_index_lookup_end();
	return pending;
}

/*
 * Look for the stored response, read the deployment and choose the target; false
 * if storage has to be asked first.
 */
static bool
look_at(GroupRun *group, Target *target)
{
	MrbFinding	finding;
	Jsonb	   *stored;

	/* What an earlier round has read is gone. */
	target->attempt.seen = NULL;
	target->attempt.target.id = NULL;
	stored = mrb_attempt_look(&target->attempt, &finding);

	if (stored != NULL)
	{
		replay(group, target, stored);
		return true;
	}
	if (finding.severity != MRB_FAILS)
		finding = mrb_attempt_choose(&target->attempt);
	if (finding.severity == MRB_FAILS)
		refuse(group, target, &finding);
	else if (target->attempt.target.pending)
		return false;
	else
	{
		keep_seen(group, target);
		target->chosen = true;
	}
	return true;
}

/*
 * Lock the deployments.
 */
static void
lock_all(GroupRun *group)
{
	int			left = mrb_lock_wait;

	for (int i = 0; i < group->n; i++)
	{
		Target	   *target = &group->targets[i];
		MrbFinding	finding;

		if (target->decided)
			continue;
		begin_target(group);
		finding = mrb_deployment_lock_within(target->attempt.request->deployment_id,
											 &target->kept->place, &left);
		if (finding.severity != MRB_FAILS)
			continue;
		target->attempt.seen = mrb_deployment_restore(target->kept);
		refuse(group, target, &finding);
	}
}

/*
 * Write the targets that still hold, and pass on the results.
 */
static void
write_all(GroupRun *group)
{
	MrbAttemptCall call = {0};
	MrbRowWrite *write = NULL;
	bool		keyed = false;
	bool		held = false;

	for (int i = 0; i < group->n; i++)
	{
		keyed |= group->targets[i].attempt.key != NULL;
		held |= mrb_hold_wanted(group->targets[i].attempt.request);
	}
	MemoryContextSwitchTo(group->kept);
	if (any_left(group))
	{
		call = mrb_attempt_call();
		mrb_attempt_warn(&call);
		if (!only_judges(group))
			write = mrb_operation_begin(keyed, held, true);
	}
	for (int i = 0; i < group->n; i++)
	{
		Target	   *target = &group->targets[i];
		MrbGroupResult result = {
			.deployment_id = target->attempt.request->deployment_id,
			.request = target->attempt.request,
		};

		begin_target(group);
		if (!target->decided)
			write_target(group, target, write, &call, &result);
		if (target->refusal.severity == MRB_FAILS)
			result.refusal = &target->refusal;
		else if (target->stored != NULL)
		{
			result.outcome = "replayed";
			result.response = target->stored;
		}
		if (result.from == NULL)
			result.from = target->from;
		if (result.to == NULL)
			result.to = target->to;
		group->receive(&result, group->arg);
		if (target->stored != NULL)
			pfree(target->stored);
	}
	MemoryContextSwitchTo(group->kept);
	if (write != NULL)
		mrb_row_write_end(write);
}

/*
 * Whether any target is neither refused nor replayed.
 */
static bool
any_left(const GroupRun *group)
{
	for (int i = 0; i < group->n; i++)
	{
		if (!group->targets[i].decided)
			return true;
	}
	return false;
}

/*
 * Whether nothing is written, or nothing any more.
 */
static bool
only_judges(const GroupRun *group)
{
	return group->mode == MRB_GROUP_PLAN ||
		(group->mode == MRB_GROUP_ALL && group->refused > 0);
}

/*
 * Read and check a target again, and write it if it still holds.
 */
static void
write_target(GroupRun *group, Target *target, MrbRowWrite *write,
			 const MrbAttemptCall *call, MrbGroupResult *result)
{
	MrbAttempt *attempt = &target->attempt;
	MrbOperation operation;
	MrbWritten	written;
	MrbFinding	finding;
	Jsonb	   *stored;

	attempt->seen = mrb_deployment_restore(target->kept);
	stored = mrb_attempt_look_again(attempt, &finding);
	if (stored != NULL)
	{
		replay(group, target, stored);
		return;
	}
	if (finding.severity == MRB_FAILS ||
		mrb_finding_refuses(mrb_attempt_recheck(attempt), &finding))
	{
		refuse(group, target, &finding);
		return;
	}
	result->from = attempt->now->active.id;
	result->to = attempt->now->target.id;
	operation = mrb_attempt_operation(attempt, call);
	result->outcome = operation.outcome;
	if (only_judges(group))
		return;
	written.at = GetCurrentTimestamp();
	result->response = mrb_operation_put(write, &operation, &written);
	if (!operation.quiet)
		result->route_seq = written.route_seq;
	mrb_attempt_wake(&operation);
	keep_rest(group, attempt, &operation, &written);
}

/*
 * Do what has to wait for the end of the statement.
 */
static void
finish_all(GroupRun *group)
{
	int			most = list_length(group->rest);
	Datum	   *deployment_ids;
	Datum	   *release_ids;
	int			n = 0;
	ListCell   *cell;

	if (most == 0)
		return;
	MemoryContextSwitchTo(group->kept);
	deployment_ids = palloc(most * sizeof(Datum));
	release_ids = palloc(most * sizeof(Datum));
	foreach(cell, group->rest)
	{
		Rest	   *rest = lfirst(cell);

		begin_target(group);
		mrb_operation_settle(&rest->operation, &rest->written);
		if (rest->release_id == NULL)
			continue;
		MemoryContextSwitchTo(group->kept);
		deployment_ids[n] = CStringGetTextDatum(rest->operation.deployment_id);
		release_ids[n++] = CStringGetTextDatum(rest->release_id);
	}
	begin_target(group);
	if (n > 0)
		mrb_artifact_record_all_present(deployment_ids, release_ids, n);
}

/*
 * Free what the last target used.
 */
static void
begin_target(GroupRun *group)
{
	CHECK_FOR_INTERRUPTS();
	MemoryContextSwitchTo(group->scratch);
	MemoryContextReset(group->scratch);
}

/*
 * Refuse a target, or the whole group.
 */
static void
refuse(GroupRun *group, Target *target, const MrbFinding *finding)
{
	if (group->mode == MRB_GROUP_FIRST && group->looked)
		mrb_finding_enforce(finding);
	target->decided = true;
	group->refused++;
	MemoryContextSwitchTo(group->kept);
	target->refusal = copy_finding(finding);
	keep_versions(target);
	MemoryContextSwitchTo(group->scratch);
}

/*
 * Keep the versions of a target that is refused, as far as they are known.
 */
static void
keep_versions(Target *target)
{
	const MrbAttempt *attempt = &target->attempt;
	const MrbDeployment *it = attempt->now ? attempt->now : attempt->seen;

	if (it != NULL)
		target->from = mrb_optional_text_copy(it->active.id);
	target->to = mrb_optional_text_copy(attempt->target.id ? attempt->target.id :
										attempt->request->version_id);
}

/*
 * Take a stored response for the result.
 */
static void
replay(GroupRun *group, Target *target, Jsonb *stored)
{
	target->decided = true;
	target->stored = MemoryContextAlloc(group->kept, VARSIZE(stored));
	memcpy(target->stored, stored, VARSIZE(stored));
	mrb_operation_count_replayed();
}

/*
 * Keep what was seen and chosen for the steps under the lock.
 */
static void
keep_seen(GroupRun *group, Target *target)
{
	MrbTarget  *chosen = &target->attempt.target;

	MemoryContextSwitchTo(group->kept);
	target->kept = mrb_deployment_keep(target->attempt.seen);
	chosen->id = mrb_optional_text_copy(chosen->id);
	chosen->rule = mrb_optional_text_copy(chosen->rule);
	chosen->skipped = mrb_optional_text_copy(chosen->skipped);
	chosen->skipped_text = NULL;
	chosen->brief = NULL;
	chosen->artifact = copy_finding(&chosen->artifact);
	MemoryContextSwitchTo(group->scratch);
}

/*
 * Keep what is to be done after the statement, if anything is.
 */
static void
keep_rest(GroupRun *group, const MrbAttempt *attempt, const MrbOperation *operation,
		  const MrbWritten *written)
{
	Rest	   *rest;

	if (!operation->ask_capacity && !operation->runs_instances &&
		operation->bad_version_id == NULL && !mrb_attempt_confirms(attempt))
		return;
	MemoryContextSwitchTo(group->kept);
	rest = palloc0(sizeof(Rest));
	rest->operation.action = operation->action;
	rest->operation.deployment_id = attempt->request->deployment_id;
	rest->operation.target_version_id = mrb_optional_text_copy(operation->target_version_id);
	rest->operation.serving_version_id = mrb_optional_text_copy(operation->serving_version_id);
	rest->operation.bad_version_id = mrb_optional_text_copy(operation->bad_version_id);
	rest->operation.bad_reason = attempt->request->reason;
	rest->operation.actor_id = operation->actor_id;
	rest->operation.ask_capacity = operation->ask_capacity;
	rest->operation.runs_instances = operation->runs_instances;
	rest->written = *written;
	rest->written.recent_served = datumCopy(written->recent_served, false, -1);
	if (mrb_attempt_confirms(attempt))
		rest->release_id = mrb_optional_text_copy(attempt->now->target.release_id);
	group->rest = lappend(group->rest, rest);
	MemoryContextSwitchTo(group->scratch);
}

/*
 * Copy a finding with its texts.
 */
static MrbFinding
copy_finding(const MrbFinding *finding)
{
	MrbFinding	it = *finding;

	it.message = mrb_optional_text_copy(it.message);
	it.detail = mrb_optional_text_copy(it.detail);
	it.hint = mrb_optional_text_copy(it.hint);
	return it;
}
