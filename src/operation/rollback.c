/*-------------------------------------------------------------------------
 *
 * rollback.c
 *	  Roll back, promote, and say beforehand what that would do.
 *
 * An operation reads, judges, asks storage, and only then locks; under the
 * lock it reads and judges once more and writes.  So nothing that can take
 * long ever happens while others wait, and nothing is decided on what may
 * have changed meanwhile.  Promotion is the same path in the other direction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "artifact/artifact.h"
#include "base/check_argument.h"
#include "base/function_name.h"
#include "notify/wakeup.h"
#include "operation/actor.h"
#include "operation/apply.h"
#include "operation/checks.h"
#include "operation/deployment.h"
#include "operation/idempotency.h"
#include "operation/operation.h"
#include "operation/rollback.h"
#include "operation/schema_marks.h"
#include "operation/target.h"

/* Both are written to every audit event, in bytes. */
#define MAX_REASON 4096
#define MAX_ATTRIBUTION 16384

/* What a plan says of the rules. */
typedef struct Plan
{
	StringInfoData checks;		/* every finding */
	StringInfoData warnings;	/* those that warn */
	bool		failed;			/* one of them refuses */
} Plan;

static void check_request(const MrbCallerRequest *request);
static MrbDeployment *look(const MrbCallerRequest *request, const char *version_id,
						   const char *key);
static void choose(const MrbCallerRequest *request, const MrbDeployment *seen,
				   MrbTarget *choice);
static void judge_again(const MrbCallerRequest *request, const MrbDeployment *seen,
						const MrbDeployment *now, const char *target_id);
static Jsonb *write_operation(const MrbCallerRequest *request, const char *key,
							  const MrbFingerprint *fingerprint,
							  const MrbDeployment *now,
							  const MrbTarget *choice);
static bool same_id(const char *one, const char *other);
static Jsonb *show_plan(const Plan *plan, const MrbDeployment *seen,
						const MrbTarget *choice,
						const MrbOperation *operation);
static void plan_finding(Plan *plan, const MrbFinding *finding);
static void list_warning(StringInfo warnings, const MrbFinding *finding);
static void append_string(StringInfo buf, const char *name, const char *value);

/*
 * Roll back or promote.
 */
Jsonb *
mrb_rollback_run(const MrbCallerRequest *request)
{
	MrbFingerprint fingerprint = {0};
	MrbDeployment *seen;
	MrbDeployment *now;
	MrbTarget	choice;
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
		stored = mrb_idempotency_find(request->deployment_id, key,
									  &fingerprint);
		if (stored != NULL)
			return stored;
	}
	if (RecoveryInProgress())
		mrb_raise(MRB_ERR_NOT_PRIMARY, "this server is a standby",
				  "A rollback writes, and a standby cannot.",
				  psprintf("Call again on the primary; this works here: %s",
						   mrb_caller_request_show(request, "candidates",
												   request->deployment_id)));

	seen = look(request, request->version_id, key);
	if (seen->key_live)
	{
		/*
		 * An identical call has committed since we asked for its key, and
		 * what it has moved must not be judged as if it were in our way.
		 */
		stored = mrb_idempotency_find(request->deployment_id, key,
									  &fingerprint);
		if (stored != NULL)
			return stored;
	}
	choose(request, seen, &choice);

	mrb_deployment_lock(request->deployment_id);
	if (key != NULL)
	{
		stored = mrb_idempotency_find(request->deployment_id, key,
									  &fingerprint);
		if (stored != NULL)
			return stored;
	}
	now = look(request, choice.id, key);
	judge_again(request, seen, now, choice.id);
	mrb_schema_marks_read(now);
	return write_operation(request, key, &fingerprint, now, &choice);
}

/*
 * What an operation would do: every rule's finding, the target, and how many
 * would be told.  Asks storage, takes no lock, writes nothing.
 */
Jsonb *
mrb_rollback_plan(const char *deployment_id, const char *version_id)
{
	Plan		plan = {0};
	MrbDeployment *seen;
	MrbTarget	choice = {0};
	MrbFinding	finding;
	MrbOperation operation = {0};
	MrbCallerRequest request = {.deployment_id = deployment_id};

	mrb_check_argument_id(deployment_id, "deployment id");
	if (version_id != NULL)
		mrb_check_argument_id(version_id, "version id");
	seen = look(&request, version_id, NULL);

	initStringInfo(&plan.checks);
	initStringInfo(&plan.warnings);
	if (version_id == NULL)
	{
		mrb_target_default(seen, false, &choice);
		finding = mrb_target_check_previous_version(seen, &choice);
		plan_finding(&plan, &finding);
		finding = mrb_checks_not_repeated(seen, choice.id);
		plan_finding(&plan, &finding);
		if (choice.id != NULL)
			seen = look(&request, choice.id, NULL);
	}
	else
	{
		finding = mrb_checks_version_exists(seen, version_id);
		plan_finding(&plan, &finding);
		if (seen->target.id != NULL)
			mrb_target_named(seen, false, false, &choice);
	}
	if (seen->target.id != NULL)
	{
		finding = mrb_checks_version_ready(seen);
		plan_finding(&plan, &finding);
		finding = mrb_checks_artifact_kept(seen);
		plan_finding(&plan, &finding);
		plan_finding(&plan, &choice.artifact);
		mrb_schema_marks_read(seen);
		finding = mrb_checks_compatible(seen);
		plan_finding(&plan, &finding);
		mrb_apply(seen, false, &operation);
	}

	finding = mrb_checks_told(mrb_wakeup_untold());
	plan_finding(&plan, &finding);
	return show_plan(&plan, seen, &choice, &operation);
}

/*
 * A plan as programs read it.
 */
static Jsonb *
show_plan(const Plan *plan, const MrbDeployment *seen, const MrbTarget *choice,
		  const MrbOperation *operation)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"data\": {");
	append_string(&json, "deployment_id", seen->id);
	append_string(&json, "active_version_id", seen->active.id);
	append_string(&json, "target_version_id", choice->id);
	append_string(&json, "target_rule", choice->rule);
	append_string(&json, "outcome", plan->failed ? NULL : operation->outcome);
	append_string(&json, "state", plan->failed ? NULL : operation->state);
	appendStringInfo(&json, ", \"would_succeed\": %s, \"edges\": %d"
					 ", \"scheduler_calls\": %s, \"skipped\": %s"
					 ", \"warnings\": [%s], \"checks\": [%s]}}",
					 plan->failed ? "false" : "true",
					 mrb_deployment_count_edges(seen->id),
					 !plan->failed && operation->ask_capacity ? "true" : "false",
					 choice->skipped ? choice->skipped : "[]",
					 plan->warnings.data, plan->checks.data);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											  CStringGetDatum(json.data)));
}

/*
 * Step 1: arguments.
 */
static void
check_request(const MrbCallerRequest *request)
{
	mrb_check_argument_id(request->deployment_id, "deployment id");
	if (request->version_id != NULL)
		mrb_check_argument_id(request->version_id, "version id");
	else if (request->promotion)
		mrb_check_argument_missing("version id",
								   psprintf("A promotion names its version; see which there are with %s",
											mrb_caller_request_show(request, "candidates",
																	request->deployment_id)));
	if (request->expected_active != NULL)
		mrb_check_argument_id(request->expected_active, "expected_active");

	if (request->cutover != NULL &&
		strcmp(request->cutover, "when_healthy") != 0 &&
		strcmp(request->cutover, "immediate") != 0)
		mrb_raise(MRB_ERR_INVALID_ARGUMENT, "invalid cutover",
				  psprintf("It is \"%.*s\".",
						   pg_mbcliplen(request->cutover,
										strlen(request->cutover), 32),
						   request->cutover),
				  "Say cutover => 'when_healthy' (the default) or cutover => 'immediate'.");
	if (request->attribution != NULL && !JB_ROOT_IS_OBJECT(request->attribution))
		mrb_raise(MRB_ERR_INVALID_ARGUMENT, "invalid attribution",
				  "It is not a JSON object.",
				  "Say, for example, attribution => '{\"external_user_id\": \"u-1\"}'.");
	if (request->attribution != NULL &&
		VARSIZE(request->attribution) > MAX_ATTRIBUTION)
		mrb_raise(MRB_ERR_INVALID_ARGUMENT, "invalid attribution",
				  psprintf("It has %zu bytes.",
						   (size_t) VARSIZE(request->attribution)),
				  psprintf("An attribution has at most %d bytes; put ids into it.",
						   MAX_ATTRIBUTION));
	if (request->reason != NULL && strlen(request->reason) > MAX_REASON)
		mrb_raise(MRB_ERR_INVALID_ARGUMENT, "invalid reason",
				  psprintf("It has %zu bytes.", strlen(request->reason)),
				  psprintf("A reason has at most %d bytes; put a link to the rest in it.",
						   MAX_REASON));
}

/*
 * Read the deployment, which must be there.
 */
static MrbDeployment *
look(const MrbCallerRequest *request, const char *version_id, const char *key)
{
	const char *deployment_id = request->deployment_id;
	MrbDeployment *it = mrb_deployment_look(deployment_id, version_id, key);

	if (it == NULL)
		mrb_raise(MRB_ERR_DEPLOYMENT_NOT_FOUND,
				  psprintf("deployment \"%s\" does not exist", deployment_id),
				  "There is none of that id, or it belongs to another tenant.",
				  "See which there are with SELECT id, name, slug FROM miosa.deployments ORDER BY id;");
	it->request = request;
	return it;
}

/*
 * Step 3: choose the target and judge it, without a lock.
 */
static void
choose(const MrbCallerRequest *request, const MrbDeployment *seen, MrbTarget *choice)
{
	MrbFinding	finding;

	finding = mrb_checks_active_expected(seen, request->expected_active);
	mrb_checks_enforce(&finding);

	if (request->version_id == NULL)
	{
		if (request->key == NULL)
		{
			/* A retry must not go to storage: the rows alone name the call. */
			finding = mrb_checks_not_repeated(seen, NULL);
			if (finding.verdict == MRB_FAILS)
			{
				mrb_target_default(seen, true, choice);
				finding = mrb_checks_not_repeated(seen, choice->id);
			}
			mrb_checks_enforce(&finding);
		}
		mrb_target_default(seen, request->accept_unverified, choice);
		finding = mrb_target_check_previous_version(seen, choice);
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
						 request->accept_unverified, choice);
	}
	mrb_checks_enforce(&choice->artifact);
}

/*
 * Step 4: judge again what may have changed before the lock was ours.
 */
static void
judge_again(const MrbCallerRequest *request, const MrbDeployment *seen,
			const MrbDeployment *now, const char *target_id)
{
	MrbFinding	finding;

	finding = mrb_checks_active_expected(now, request->expected_active);
	mrb_checks_enforce(&finding);

	/*
	 * Who names no version means the one before the version that was active
	 * then.  If somebody else has gone there meanwhile, there is nothing left
	 * to do; if the deployment went elsewhere, the choice is void.
	 */
	if (request->version_id == NULL && !same_id(now->active.id, target_id))
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
 * Step 5: write, and have the dispatcher told at commit.
 */
static Jsonb *
write_operation(const MrbCallerRequest *request, const char *key,
				const MrbFingerprint *fingerprint, const MrbDeployment *now,
				const MrbTarget *choice)
{
	const MrbVersion *target = &now->target;
	MrbActor	actor = mrb_actor_read();
	MrbFinding	compatible = mrb_checks_compatible(now);
	MrbFinding	named = mrb_checks_actor_counts(actor.ignored);
	MrbFinding	told;
	MrbOperation operation = {0};
	StringInfoData warnings;
	Jsonb	   *response;

	mrb_checks_enforce(&named);
	mrb_checks_enforce(&compatible);
	mrb_apply(now, request->cutover != NULL &&
			  strcmp(request->cutover, "immediate") == 0, &operation);
	operation.action = request->promotion ? MRB_PROMOTE : MRB_ROLLBACK;
	operation.target_rule = choice->rule;
	operation.actor_type = actor.type;
	operation.actor_id = actor.id;
	operation.key = key;
	operation.fingerprint = fingerprint->bytes;
	operation.key_expires_at = now->key_retained_until;
	operation.reason = request->reason;
	operation.attribution = request->attribution;
	operation.marks = mrb_checks_marks(&choice->artifact, &compatible);
	operation.skipped = choice->skipped;
	told = mrb_checks_told(mrb_wakeup_untold());
	initStringInfo(&warnings);
	list_warning(&warnings, &choice->artifact);
	list_warning(&warnings, &compatible);
	list_warning(&warnings, &told);
	list_warning(&warnings, &named);
	if (warnings.len > 0)
		operation.warnings = psprintf("[%s]", warnings.data);

	if (now->key_expired)
		mrb_idempotency_forget_expired(now->id, key);
	response = mrb_operation_write(&operation);
	if (choice->verified && target->release_id != NULL)
		mrb_artifact_remember(now->id, target->release_id);
	mrb_wakeup_dispatcher(now->id, operation.serving_version_id ?
						  operation.serving_version_id : target->id);
	return response;
}

/*
 * Whether both are the same version; none is not the same as none.
 */
static bool
same_id(const char *one, const char *other)
{
	return one != NULL && other != NULL && strcmp(one, other) == 0;
}

/*
 * Append one rule's finding to a plan.
 */
static void
plan_finding(Plan *plan, const MrbFinding *finding)
{
	StringInfo	checks = &plan->checks;

	static const char *const verdicts[] = {
		[MRB_HOLDS] = "ok",
		[MRB_WARNS] = "warning",
		[MRB_FAILS] = "failed",
	};

	if (finding->verdict == MRB_FAILS)
		plan->failed = true;
	list_warning(&plan->warnings, finding);
	appendStringInfoString(checks, checks->len ? ", {" : "{");
	append_string(checks, "check", finding->rule);
	append_string(checks, "result", verdicts[finding->verdict]);
	append_string(checks, "code", finding->verdict == MRB_FAILS ?
				  mrb_condition_name(finding->condition) : finding->warning);
	append_string(checks, "message", finding->message);
	append_string(checks, "detail", finding->detail);
	append_string(checks, "hint", mrb_function_name_qualify(finding->hint));
	appendStringInfoChar(checks, '}');
}

/*
 * Append a finding that warns to the warnings of an answer.
 */
static void
list_warning(StringInfo warnings, const MrbFinding *finding)
{
	if (finding->verdict != MRB_WARNS)
		return;
	appendStringInfoString(warnings, warnings->len ? ", {" : "{");
	append_string(warnings, "code", finding->warning);
	append_string(warnings, "message", finding->message);
	append_string(warnings, "detail", finding->detail);
	append_string(warnings, "hint", mrb_function_name_qualify(finding->hint));
	appendStringInfoChar(warnings, '}');
}

/*
 * Append a member to the JSON object under construction.
 */
static void
append_string(StringInfo buf, const char *name, const char *value)
{
	if (buf->data[buf->len - 1] != '{')
		appendStringInfoString(buf, ", ");
	appendStringInfo(buf, "\"%s\": ", name);
	if (value != NULL)
		escape_json(buf, value);
	else
		appendStringInfoString(buf, "null");
}
