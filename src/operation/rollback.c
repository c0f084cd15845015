/*-------------------------------------------------------------------------
 *
 * rollback.c
 *	  Rollback and promotion, and plans of them.
 *
 * An operation reads the deployment, checks it, asks storage, and only then
 * locks the deployment; under the lock it reads and checks again, and writes.
 * So nothing slow happens while other operations wait, and no decision rests
 * on rows that may have changed.  Promotion takes the same path.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "artifact/artifact.h"
#include "base/check_argument.h"
#include "base/function_name.h"
#include "base/json_build.h"
#include "common/index_lookup.h"
#include "notify/wakeup.h"
#include "operation/actor.h"
#include "operation/apply.h"
#include "operation/checks.h"
#include "operation/deployment.h"
#include "operation/idempotency.h"
#include "operation/operation.h"
#include "operation/primary.h"
#include "operation/rollback.h"
#include "operation/schema_marks.h"
#include "operation/target.h"

/* Limits in bytes of what every audit event stores. */
#define MAX_REASON 4096
#define MAX_ATTRIBUTION 16384

/* The findings that a plan lists. */
typedef struct Plan
{
	StringInfoData checks;		/* every finding */
	StringInfoData warnings;	/* findings that warn */
	bool		failed;			/* a finding refuses the operation */
} Plan;

static void check_request(const MrbCallerRequest *request);
static Jsonb *look(const MrbCallerRequest *request, const char *key,
				   const MrbFingerprint *fingerprint, MrbDeployment **seen);
static MrbDeployment *read_deployment(const MrbCallerRequest *request, const char *version_id,
									  const char *key,
									  const MrbDeployment *seen);
static void choose_target(const MrbCallerRequest *request, const MrbDeployment *seen,
						  MrbTarget *target);
static void recheck(const MrbCallerRequest *request, const MrbDeployment *seen,
					const MrbDeployment *now, const char *target_id);
static Jsonb *write_operation(const MrbCallerRequest *request, const char *key,
							  const MrbFingerprint *fingerprint,
							  const MrbDeployment *now,
							  const MrbTarget *target);
static Jsonb *show_plan(const Plan *plan, const MrbDeployment *seen,
						const MrbTarget *target,
						const MrbOperation *operation);
static void plan_finding(Plan *plan, const MrbFinding *finding);
static void list_warning(StringInfo warnings, const MrbFinding *finding);

/*
 * Run a rollback or a promotion.
 */
Jsonb *
mrb_rollback_run(const MrbCallerRequest *request)
{
	MrbFingerprint fingerprint = {0};
	MrbDeployment *seen;
	MrbDeployment *now;
	MrbTarget	target;
	Jsonb	   *stored;
	char	   *key = NULL;

	check_request(request);
	if (request->key != NULL)
	{
		key = mrb_idempotency_check_key(request->key);
		fingerprint = mrb_idempotency_fingerprint(
												  request->promotion ? "promote" : "rollback",
												  request->version_id,
												  request->expected_active,
												  request->cutover ? request->cutover : "when_healthy");
	}
	stored = look(request, key, &fingerprint, &seen);
	if (stored != NULL)
		return stored;
	choose_target(request, seen, &target);

	mrb_deployment_lock(request->deployment_id, &seen->place);
	now = read_deployment(request, target.id, key, seen);
	if (now->key_live)
	{
		stored = mrb_idempotency_find(request->deployment_id, key,
									  &fingerprint);
		if (stored != NULL)
			return stored;
		now->key_expired = true;	/* just now */
	}
	recheck(request, seen, now, target.id);
	mrb_schema_marks_read(now);
	return write_operation(request, key, &fingerprint, now, &target);
}

/*
 * Plan a rollback: every finding, the target, and the number of edges that it
 * would reach.  Asks storage, takes no lock, writes nothing.
 */
Jsonb *
mrb_rollback_plan(const char *deployment_id, const char *version_id)
{
	Plan		plan = {0};
	MrbDeployment *seen;
	MrbTarget	target = {0};
	MrbFinding	finding;
	MrbOperation operation = {0};
	MrbCallerRequest request = {.deployment_id = deployment_id};

	mrb_check_argument_id(deployment_id, "deployment id");
	if (version_id != NULL)
		mrb_check_argument_id(version_id, "version id");
	seen = read_deployment(&request, version_id, NULL, NULL);

	initStringInfo(&plan.checks);
	initStringInfo(&plan.warnings);
	if (version_id == NULL)
	{
		mrb_target_default(seen, false, &target);
		finding = mrb_target_check_previous_version(seen, &target);
		plan_finding(&plan, &finding);
		finding = mrb_checks_not_repeated(seen, target.id);
		plan_finding(&plan, &finding);
		if (target.id != NULL)
			seen = read_deployment(&request, target.id, NULL, seen);
	}
	else
	{
		finding = mrb_checks_version_exists(seen, version_id);
		plan_finding(&plan, &finding);
		if (seen->target.id != NULL)
			mrb_target_named(seen, false, false, &target);
	}
	if (seen->target.id != NULL)
	{
		finding = mrb_checks_version_ready(seen);
		plan_finding(&plan, &finding);
		finding = mrb_checks_artifact_kept(seen);
		plan_finding(&plan, &finding);
		plan_finding(&plan, &target.artifact);
		mrb_schema_marks_read(seen);
		finding = mrb_checks_compatible(seen);
		plan_finding(&plan, &finding);
		mrb_apply(seen, false, &operation);
	}

	finding = mrb_checks_delivery(mrb_wakeup_undelivered());
	plan_finding(&plan, &finding);
	return show_plan(&plan, seen, &target, &operation);
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
 * Step 2: return the stored response of the key, or read the deployment.  One
 * snapshot shows both: an identical call that commits meanwhile has either left
 * its record or not yet moved the deployment.
 */
static Jsonb *
look(const MrbCallerRequest *request, const char *key,
	 const MrbFingerprint *fingerprint, MrbDeployment **seen)
{
	const char *id = request->deployment_id;
	Jsonb	   *stored = NULL;

	mrb_index_lookup_begin();
	if (key != NULL)
		stored = mrb_idempotency_look(id, key, fingerprint);
	if (stored == NULL)
	{
		if (RecoveryInProgress())
			mrb_primary_raise(psprintf("Call the function on the primary; this works here: %s",
									   mrb_caller_request_show(request,
															   "candidates", id)));
		*seen = mrb_deployment_look(id, request->version_id, NULL);
		if (*seen == NULL)
			mrb_deployment_raise_missing(id);
		(*seen)->request = request;
	}
	mrb_index_lookup_end();
	return stored;
}

/*
 * Step 1: check the arguments.
 */
static void
check_request(const MrbCallerRequest *request)
{
	mrb_check_argument_id(request->deployment_id, "deployment id");
	if (request->version_id != NULL)
		mrb_check_argument_id(request->version_id, "version id");
	else if (request->promotion)
		mrb_check_argument_missing("version id",
								   psprintf("Pass the version to promote; see the candidates with %s",
											mrb_caller_request_show(request, "candidates",
																	request->deployment_id)));
	if (request->expected_active != NULL)
		mrb_check_argument_id(request->expected_active, "expected_active");

	if (request->cutover != NULL &&
		strcmp(request->cutover, "when_healthy") != 0 &&
		strcmp(request->cutover, "immediate") != 0)
		mrb_check_argument_refuse("argument", "cutover", request->cutover,
								  "Valid values are \"when_healthy\" (the default) and \"immediate\".",
								  "Pass cutover => 'when_healthy' or cutover => 'immediate'.");
	if (request->attribution != NULL && !JB_ROOT_IS_OBJECT(request->attribution))
		mrb_check_argument_refuse("argument", "attribution",
								  JsonbToCString(NULL,
												 &request->attribution->root,
												 VARSIZE(request->attribution)),
								  "The value is not a JSON object.",
								  "Pass, for example, attribution => '{\"external_user_id\": \"u-1\"}'.");
	if (request->attribution != NULL &&
		VARSIZE(request->attribution) > MAX_ATTRIBUTION)
		mrb_check_argument_too_long("attribution",
									VARSIZE(request->attribution), "bytes",
									MAX_ATTRIBUTION,
									"Pass ids, and keep what they stand for elsewhere.");
	if (request->reason != NULL && strlen(request->reason) > MAX_REASON)
		mrb_check_argument_too_long("reason", strlen(request->reason), "bytes",
									MAX_REASON,
									"Shorten the reason, or put a link to the full text in it.");
}

/*
 * Read the deployment; raise DEPLOYMENT_NOT_FOUND when there is none.
 */
static MrbDeployment *
read_deployment(const MrbCallerRequest *request, const char *version_id, const char *key,
				const MrbDeployment *seen)
{
	const char *deployment_id = request->deployment_id;
	MrbDeployment *it = mrb_deployment_read(deployment_id, version_id, key, seen);

	if (it == NULL)
		mrb_deployment_raise_missing(deployment_id);
	it->request = request;
	return it;
}

/*
 * Step 3: choose the target and check it, without a lock.
 */
static void
choose_target(const MrbCallerRequest *request, const MrbDeployment *seen, MrbTarget *target)
{
	MrbFinding	finding;

	finding = mrb_checks_active_expected(seen, request->expected_active);
	mrb_checks_enforce(&finding);

	if (request->version_id == NULL)
	{
		if (request->key == NULL)
		{
			/* The refusal of a retry needs no answer of storage. */
			finding = mrb_checks_not_repeated(seen, NULL);
			if (finding.severity == MRB_FAILS)
			{
				mrb_target_default(seen, true, target);
				finding = mrb_checks_not_repeated(seen, target->id);
			}
			mrb_checks_enforce(&finding);
		}
		mrb_target_default(seen, request->accept_unverified, target);
		finding = mrb_target_check_previous_version(seen, target);
		mrb_checks_enforce(&finding);
	}
	else
	{
		finding = mrb_checks_version_exists(seen, request->version_id);
		mrb_checks_enforce(&finding);
		finding = mrb_checks_version_ready(seen);
		mrb_checks_enforce(&finding);
		finding = mrb_checks_artifact_kept(seen);
		mrb_checks_enforce(&finding);
		mrb_target_named(seen, request->promotion,
						 request->accept_unverified, target);
	}
	mrb_checks_enforce(&target->artifact);
}

/*
 * Step 4: check again, under the lock, what may have changed before it.
 */
static void
recheck(const MrbCallerRequest *request, const MrbDeployment *seen,
		const MrbDeployment *now, const char *target_id)
{
	MrbFinding	finding;

	finding = mrb_checks_active_expected(now, request->expected_active);
	mrb_checks_enforce(&finding);

	/*
	 * A call without a version means the one before the version that was
	 * active when the target was chosen.  If another operation has made that
	 * target active since, nothing is left to do; if it made a third version
	 * active, the target no longer holds.
	 */
	if (request->version_id == NULL && !mrb_deployment_same_version(now->active.id, target_id))
	{
		finding = mrb_checks_active_expected(now, seen->active.id);
		mrb_checks_enforce(&finding);
	}

	finding = mrb_checks_version_exists(now, target_id);
	mrb_checks_enforce(&finding);
	finding = mrb_checks_version_ready(now);
	mrb_checks_enforce(&finding);
	finding = mrb_checks_artifact_kept(now);
	mrb_checks_enforce(&finding);
}

/*
 * Step 5: write the operation, and wake the dispatcher at commit.
 */
static Jsonb *
write_operation(const MrbCallerRequest *request, const char *key,
				const MrbFingerprint *fingerprint, const MrbDeployment *now,
				const MrbTarget *target)
{
	const MrbVersion *version = &now->target;
	MrbActor	actor = mrb_actor_read();
	MrbFinding	compatible = mrb_checks_compatible(now);
	MrbFinding	named = mrb_checks_actor_counts(actor.ignored);
	MrbFinding	delivery;
	MrbOperation operation = {0};
	StringInfoData warnings;
	Jsonb	   *response;

	mrb_checks_enforce(&named);
	mrb_checks_enforce(&compatible);
	mrb_apply(now, request->cutover != NULL &&
			  strcmp(request->cutover, "immediate") == 0, &operation);
	operation.action = request->promotion ? MRB_PROMOTE : MRB_ROLLBACK;
	operation.target_rule = target->rule;
	operation.actor_type = actor.type;
	operation.actor_id = actor.id;
	operation.key = key;
	operation.fingerprint = fingerprint->bytes;
	operation.key_expires_at = now->key_retained_until;
	operation.reason = request->reason;
	operation.attribution = request->attribution;
	operation.accepted_risks = mrb_checks_accepted_risks(&target->artifact, &compatible);
	operation.skipped = target->skipped;
	delivery = mrb_checks_delivery(mrb_wakeup_undelivered());
	initStringInfo(&warnings);
	list_warning(&warnings, &target->artifact);
	list_warning(&warnings, &compatible);
	list_warning(&warnings, &delivery);
	list_warning(&warnings, &named);
	if (warnings.len > 0)
		operation.warnings = psprintf("[%s]", warnings.data);

	if (now->key_expired)
		mrb_idempotency_forget_expired(now->id, key);
	response = mrb_operation_write(&operation);
	if (target->verified && version->release_id != NULL)
		mrb_artifact_record_present(now->id, version->release_id);
	mrb_wakeup_dispatcher(now->id, operation.serving_version_id ?
						  operation.serving_version_id : version->id);
	return response;
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
		[MRB_WARNS] = "warning",
		[MRB_FAILS] = "failed",
	};

	if (finding->severity == MRB_FAILS)
		plan->failed = true;
	list_warning(&plan->warnings, finding);
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

/*
 * Append a finding that warns to the warnings of a response.
 */
static void
list_warning(StringInfo warnings, const MrbFinding *finding)
{
	if (finding->severity != MRB_WARNS)
		return;
	mrb_json_build_object(warnings, NULL);
	mrb_json_build_string(warnings, "code", finding->warning);
	mrb_json_build_string(warnings, "message", finding->message);
	mrb_json_build_string(warnings, "detail", finding->detail);
	mrb_json_build_string(warnings, "hint", mrb_function_name_qualify(finding->hint));
	mrb_json_build_end(warnings);
}
