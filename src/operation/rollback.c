/*-------------------------------------------------------------------------
 *
 * rollback.c
 *	  Rollback, promotion and unpublishing of one deployment, and plans.
 *
 * All take the steps of attempt.c, one after the other, and raise the first
 * finding that refuses.  A plan lists all findings instead.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "artifact/artifact.h"
#include "base/check_argument.h"
#include "base/function_name.h"
#include "base/gateway.h"
#include "base/json_build.h"
#include "common/index_lookup.h"
#include "notify/wakeup.h"
#include "operation/apply.h"
#include "operation/attempt.h"
#include "operation/checks.h"
#include "operation/deployment.h"
#include "operation/deployment_lock.h"
#include "operation/freeze.h"
#include "operation/guards.h"
#include "operation/hold.h"
#include "operation/operation.h"
#include "operation/operation_count.h"
#include "operation/refusal.h"
#include "operation/rollback.h"
#include "operation/served_at.h"
#include "operation/target.h"

/* The findings that a plan lists. */
typedef struct Plan
{
	StringInfoData checks;		/* every finding */
	StringInfoData warnings;	/* findings that warn */
	bool		failed;			/* a finding refuses the operation */
} Plan;

static Jsonb *replay(Jsonb *response);
static MrbDeployment *read_deployment(const MrbCallerRequest *request,
									  const char *version_id,
									  const MrbDeployment *seen);
static MrbDeployment *plan_default(Plan *plan, const MrbCallerRequest *request,
								   MrbDeployment *seen, MrbTarget *target);
static MrbDeployment *plan_named(Plan *plan, const MrbCallerRequest *request,
								 MrbDeployment *seen, MrbTarget *target);
static Jsonb *show_plan(const Plan *plan, const MrbDeployment *seen,
						const MrbTarget *target,
						const MrbOperation *operation);
static void plan_finding(Plan *plan, const MrbFinding *finding);

/*
 * Run an operation.  NULL: nothing was active that could be unpublished.
 */
Jsonb *
mrb_rollback_run(const MrbCallerRequest *request)
{
	MrbAttempt	attempt = {.request = request};
	MrbFinding	finding;
	Jsonb	   *response;
	bool		replayed;

	mrb_operation_count_begin();
	response = mrb_rollback_prepare(&attempt, &finding);
	mrb_finding_enforce(&finding);
	if (response != NULL)
		return replay(response);
	mrb_deployment_lock(request->deployment_id, &attempt.seen->place);
	response = mrb_rollback_finish(&attempt, &finding, &replayed);
	mrb_finding_enforce(&finding);
	if (replayed)
		return replay(response);
	mrb_refusal_forget();
	return response;
}

/*
 * Take the steps before the lock.
 */
Jsonb *
mrb_rollback_prepare(MrbAttempt *attempt, MrbFinding *finding)
{
	Jsonb	   *stored;

	mrb_attempt_check(attempt);
	mrb_index_lookup_begin();
	stored = mrb_attempt_look(attempt, finding);
	mrb_index_lookup_end();
	if (stored == NULL && finding->severity != MRB_FAILS)
		*finding = mrb_attempt_choose(attempt);
	return stored;
}

/*
 * Take the steps under the lock.
 */
Jsonb *
mrb_rollback_finish(MrbAttempt *attempt, MrbFinding *finding, bool *replayed)
{
	MrbAttemptCall call;
	MrbOperation operation;
	Jsonb	   *response;

	mrb_index_lookup_begin();
	response = mrb_attempt_look_again(attempt, finding);
	mrb_index_lookup_end();
	*replayed = response != NULL;
	if (response != NULL || finding->severity == MRB_FAILS)
		return response;
	*finding = mrb_attempt_recheck(attempt);
	if (finding->severity == MRB_FAILS)
		return NULL;
	if (attempt->request->action == MRB_UNPUBLISH && attempt->now->active.id == NULL)
		return NULL;
	call = mrb_attempt_call();
	mrb_attempt_warn(&call);
	mrb_guards_warn(attempt->guards);

	operation = mrb_attempt_operation(attempt, &call);
	response = mrb_operation_write(&operation);
	if (mrb_attempt_confirms(attempt))
		mrb_artifact_record_present(attempt->now->id,
									attempt->now->target.release_id);
	mrb_attempt_wake(&operation);
	if (attempt->request->action == MRB_PROMOTE && !attempt->request->waiting)
		mrb_hold_notice(&operation.hold, operation.deployment_id);
	return response;
}

/*
 * Return a stored response; an HTTP client sees that nothing was done now.
 */
static Jsonb *
replay(Jsonb *response)
{
	mrb_refusal_forget();
	mrb_operation_count_replayed();
	mrb_gateway_add_header("Idempotent-Replayed", "true");
	return response;
}

/*
 * Plan a rollback: every finding, the target, and the number of edges that it
 * would reach.  Asks storage, takes no lock, writes nothing.
 */
Jsonb *
mrb_rollback_plan(const MrbCallerRequest *request)
{
	Plan		plan = {0};
	MrbDeployment *seen;
	MrbTarget	target = {0};
	MrbFinding	finding;
	MrbGuards	guards;
	MrbOperation operation = {0};

	mrb_check_argument_id(request->deployment_id, "deployment id");
	if (request->version_id != NULL)
		mrb_check_argument_id(request->version_id, "version id");
	mrb_served_at_check(request);
	seen = read_deployment(request, request->version_id, NULL);

	initStringInfo(&plan.checks);
	initStringInfo(&plan.warnings);
	if (request->version_id != NULL || request->served_at != 0)
		seen = plan_named(&plan, request, seen, &target);
	else
		seen = plan_default(&plan, request, seen, &target);
	if (seen->target.id != NULL)
	{
		finding = mrb_checks_version_ready(seen);
		plan_finding(&plan, &finding);
		finding = mrb_checks_artifact_kept(seen);
		plan_finding(&plan, &finding);
		plan_finding(&plan, &target.artifact);
		(void) mrb_guards_judge(seen, false, &guards);
		for (int i = 0; i < guards.n; i++)
			plan_finding(&plan, &guards.findings[i]);
		mrb_index_lookup_begin();
		seen->hold = mrb_hold_look(seen->id);
		mrb_index_lookup_end();
		finding = mrb_hold_describe(seen);
		plan_finding(&plan, &finding);
		finding = mrb_freeze_describe(seen);
		plan_finding(&plan, &finding);
		mrb_apply(seen, false, &operation);
	}

	finding = mrb_checks_delivery(mrb_wakeup_undelivered());
	plan_finding(&plan, &finding);
	return show_plan(&plan, seen, &target, &operation);
}

/*
 * Plan to go to the previous version.  Returns the deployment with that one.
 */
static MrbDeployment *
plan_default(Plan *plan, const MrbCallerRequest *request, MrbDeployment *seen,
			 MrbTarget *target)
{
	MrbFinding	finding;

	mrb_target_default(seen, false, NULL, target);
	finding = mrb_target_check_previous_version(seen, target);
	plan_finding(plan, &finding);
	finding = mrb_checks_not_repeated(seen, target->id);
	plan_finding(plan, &finding);
	return target->id == NULL ? seen :
		read_deployment(request, target->id, seen);
}

/*
 * Plan to go to the version that is named, or that served at a moment.
 */
static MrbDeployment *
plan_named(Plan *plan, const MrbCallerRequest *request, MrbDeployment *seen,
		   MrbTarget *target)
{
	const char *version_id = request->version_id;
	char	   *served = NULL;
	MrbFinding	finding;

	if (request->served_at != 0)
	{
		finding = mrb_served_at_find(seen, request->served_at, &served);
		plan_finding(plan, &finding);
		if (served == NULL)
			return seen;
		version_id = served;
		seen = read_deployment(request, version_id, seen);
	}
	finding = mrb_checks_version_exists(seen, version_id);
	plan_finding(plan, &finding);
	if (seen->target.id == NULL)
		return seen;
	mrb_target_named(seen, false, false, NULL, target);
	if (served != NULL)
		target->rule = "served_at";
	return seen;
}

/*
 * Read the deployment for a plan; raise DEPLOYMENT_NOT_FOUND when there is none.
 */
static MrbDeployment *
read_deployment(const MrbCallerRequest *request, const char *version_id,
				const MrbDeployment *seen)
{
	MrbDeployment *it = mrb_deployment_read(request->deployment_id, version_id,
											seen);
	MrbFinding	finding = mrb_deployment_check_exists(it, request->deployment_id);

	mrb_finding_enforce(&finding);
	it->request = request;
	return it;
}

/*
 * Return a plan as JSON.
 */
static Jsonb *
show_plan(const Plan *plan, const MrbDeployment *seen, const MrbTarget *target,
		  const MrbOperation *operation)
{
	StringInfoData json;

	initStringInfo(&json);
	mrb_json_build_object(&json, NULL);
	mrb_json_build_object(&json, "data");
	mrb_json_build_string(&json, "deployment_id", seen->id);
	mrb_json_build_string(&json, "active_version_id", seen->active.id);
	mrb_json_build_string(&json, "target_version_id", target->id);
	mrb_json_build_string(&json, "target_rule", target->rule);
	mrb_json_build_string(&json, "outcome", plan->failed ? NULL : operation->outcome);
	mrb_json_build_string(&json, "state", plan->failed ? NULL : operation->state);
	mrb_json_build_boolean(&json, "would_succeed", !plan->failed);
	mrb_json_build_integer(&json, "edges", mrb_deployment_count_edges(seen->id));
	mrb_json_build_boolean(&json, "scheduler_calls",
						   !plan->failed && operation->ask_capacity);
	mrb_json_build_raw(&json, "skipped",
					   target->skipped ? target->skipped : "[]");
	mrb_json_build_raw(&json, "warnings", psprintf("[%s]", plan->warnings.data));
	mrb_json_build_raw(&json, "checks", psprintf("[%s]", plan->checks.data));
	mrb_json_build_end(&json);
	mrb_json_build_end(&json);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											  CStringGetDatum(json.data)));
}

/*
 * Append a finding to a plan.
 */
static void
plan_finding(Plan *plan, const MrbFinding *finding)
{
	StringInfo	checks = &plan->checks;

	static const char *const results[] = {
		[MRB_HOLDS] = "ok",
		[MRB_UNKNOWN] = "unknown",
		[MRB_WARNS] = "warning",
		[MRB_FAILS] = "failed",
	};

	if (finding->severity == MRB_FAILS)
		plan->failed = true;
	mrb_attempt_list_warning(&plan->warnings, finding);
	mrb_json_build_object(checks, NULL);
	mrb_json_build_string(checks, "check", finding->name);
	mrb_json_build_string(checks, "result", results[finding->severity]);
	mrb_json_build_string(checks, "code", finding->severity == MRB_FAILS ?
						  mrb_errors_condition_name(finding->condition) : finding->warning);
	mrb_json_build_string(checks, "message", finding->message);
	mrb_json_build_string(checks, "detail", finding->detail);
	mrb_json_build_string(checks, "hint", mrb_function_name_qualify(finding->hint));
	mrb_json_build_end(checks);
}
