/*-------------------------------------------------------------------------
 *
 * attempt.c
 *	  The steps of one rollback or promotion.
 *
 * A request reads the deployment, checks it, asks storage, and only then locks
 * the deployment; under the lock it reads and checks again, and writes.  So
 * nothing slow happens while other operations wait, and no decision rests on
 * rows that may have changed.
 *
 * Steps return findings instead of raising them, because a group goes on
 * without the targets that are refused.  rollback.c takes the steps for one
 * request, group.c each step for all of its targets before the next one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "base/check_argument.h"
#include "base/function_name.h"
#include "base/json_build.h"
#include "base/miosa_rollback.h"
#include "common/index_lookup.h"
#include "notify/wakeup.h"
#include "operation/apply.h"
#include "operation/attempt.h"
#include "operation/bad_version.h"
#include "operation/checks.h"
#include "operation/hold.h"
#include "operation/primary.h"
#include "operation/refusal.h"
#include "operation/served_at.h"
#include "operation/tenancy.h"

static const char *show_options(const MrbCallerRequest *request);
static const char *show_hold_for(const MrbCallerRequest *request);
static void check_request(const MrbCallerRequest *request);
static void check_hold(const MrbCallerRequest *request);
static void decide_marks(const MrbAttempt *attempt, MrbOperation *operation);
static void read_retention(MrbAttempt *attempt);
static MrbFinding choose_default(MrbAttempt *attempt);
static MrbFinding look_at_version(MrbAttempt *attempt, const char *version_id);
static MrbFinding choose_named(MrbAttempt *attempt, const char *version_id);
static MrbFinding check_same_target(const MrbAttempt *attempt);
static MrbFinding check_target(MrbAttempt *attempt);
static bool lost_default(const MrbAttempt *attempt, const MrbFinding *finding);
static MrbFinding choose_again(MrbAttempt *attempt);
static bool is_repeated(const MrbAttempt *attempt, MrbFinding *finding);

/*
 * Check the arguments, and compute what a key is compared by.
 */
void
mrb_attempt_check(MrbAttempt *attempt)
{
	const MrbCallerRequest *request = attempt->request;

	mrb_refusal_note(request, false);
	check_request(request);
	if (request->key == NULL)
		return;
	attempt->key = mrb_idempotency_check_key(request->key);
	if (request->action == MRB_UNDO)
		attempt->fingerprint =
			mrb_idempotency_fingerprint(mrb_operation_name(MRB_UNDO),
										request->operation_id, NULL, NULL);
	else if (request->waiting)
		attempt->fingerprint =
			mrb_idempotency_fingerprint(mrb_operation_name(MRB_RELEASE), "newest",
										NULL, NULL);
	else
		attempt->fingerprint =
			mrb_idempotency_fingerprint(mrb_operation_name(request->action),
										request->version_id,
										request->expected_active,
										show_options(request));
}

/*
 * Show the options that make a request another one.  One that has none of the
 * later ones is what it was before there were any.
 */
static const char *
show_options(const MrbCallerRequest *request)
{
	const char *cutover = request->cutover ? request->cutover : "when_healthy";

	if (request->hold == MRB_BY_SETTING && request->hold_for == NULL &&
		!request->mark_bad && request->served_at == 0 &&
		request->automatic == MRB_BY_SETTING && !request->accept_bad &&
		!request->break_glass)
		return cutover;
	return psprintf("%s hold=%d for=%s bad=%d at=" INT64_FORMAT " automatic=%d accept=%d break=%d",
					cutover, request->hold, show_hold_for(request),
					request->mark_bad, request->served_at, request->automatic,
					request->accept_bad, request->break_glass);
}

/*
 * Show for how long a hold is asked for, in the same words in every session.
 */
static const char *
show_hold_for(const MrbCallerRequest *request)
{
	int			style = IntervalStyle;
	char	   *volatile shown = "";

	if (request->hold_for == NULL)
		return shown;
	IntervalStyle = INTSTYLE_POSTGRES;
	PG_TRY();
	{
		shown = DatumGetCString(DirectFunctionCall1(interval_out,
													IntervalPGetDatum(request->hold_for)));
	}
	PG_FINALLY();
	{
		IntervalStyle = style;
	}
	PG_END_TRY();
	return shown;
}

/*
 * Look for the stored response, and else read the deployment.
 */
Jsonb *
mrb_attempt_look(MrbAttempt *attempt, MrbFinding *finding)
{
	const MrbCallerRequest *request = attempt->request;
	const char *id = request->deployment_id;

	static const struct
	{
		int			scopes;
		const char *verb;
	}			actions[] = {
		[MRB_ROLLBACK] = {MRB_SCOPE_ROLLBACK, "roll back"},
		[MRB_PROMOTE] = {MRB_SCOPE_ROLLBACK | MRB_SCOPE_DEPLOY, "promote a version"},
		[MRB_UNDO] = {MRB_SCOPE_ROLLBACK, "undo an operation"},
		[MRB_UNPUBLISH] = {MRB_SCOPE_DEPLOY, "unpublish a deployment"},
	};
	int			scopes = actions[request->action].scopes;
	const char *verb = actions[request->action].verb;

	mrb_refusal_note(request, false);
	if (attempt->key != NULL)
	{
		Jsonb	   *stored;

		if (mrb_finding_refuses(mrb_deployment_check_caller(id, scopes, verb),
								finding))
		{
			mrb_refusal_note(request, finding->condition != MRB_ERR_DEPLOYMENT_NOT_FOUND);
			return NULL;
		}
		mrb_refusal_note(request, true);
		stored = mrb_idempotency_look(id, attempt->key, &attempt->fingerprint,
									  finding, &attempt->key_expired);
		if (stored != NULL || finding->severity == MRB_FAILS)
			return stored;
	}
	if (!mrb_primary_is_here() && !attempt->plan)
		mrb_primary_raise(mrb_caller_request_show(request, "candidates", id));
	attempt->seen = mrb_deployment_look(id, request->version_id, NULL);
	*finding = mrb_deployment_check_exists(attempt->seen, id);
	if (attempt->seen == NULL)
		return NULL;
	mrb_refusal_note(request, true);
	attempt->seen->request = request;
	if (attempt->key == NULL && !attempt->plan)
		*finding = mrb_deployment_check_tenant(attempt->seen->tenant_id, scopes,
											   verb);
	return NULL;
}

/*
 * Choose the target: the version that the request names, the one that was active
 * before the operation to undo, the one that waits, the one that served at a
 * moment, or the one to return to.
 */
MrbFinding
mrb_attempt_choose(MrbAttempt *attempt)
{
	const MrbCallerRequest *request = attempt->request;
	const char *version_id = request->version_id;
	MrbFinding	finding;

	if (mrb_finding_refuses(mrb_checks_active_expected(attempt->seen, request->expected_active),
							&finding))
		return finding;
	if (request->action == MRB_UNPUBLISH)
		return finding;
	if (request->action == MRB_UNDO)
	{
		if (mrb_finding_refuses(mrb_undo_choose(attempt->seen, &attempt->undone), &finding))
			return finding;
		version_id = attempt->undone.previous_version_id;
	}
	else if (request->waiting)
	{
		if (mrb_finding_refuses(mrb_hold_choose_waiting(attempt->seen, &version_id), &finding))
			return finding;
	}
	else if (request->served_at != 0)
	{
		char	   *served;

		if (mrb_finding_refuses(mrb_served_at_find(attempt->seen, request->served_at, &served),
								&finding))
			return finding;
		version_id = served;
	}
	if (version_id == NULL)
		return choose_default(attempt);
	if (request->version_id == NULL &&
		mrb_finding_refuses(look_at_version(attempt, version_id), &finding))
		return finding;
	return choose_named(attempt, version_id);
}

/*
 * Choose the version to return to.
 */
static MrbFinding
choose_default(MrbAttempt *attempt)
{
	MrbDeployment *seen = attempt->seen;
	MrbTarget  *target = &attempt->target;
	MrbFinding	finding;

	if (is_repeated(attempt, &finding))
		return finding;
	mrb_target_default(seen, attempt->request->accept_unverified, attempt->batch,
					   target);
	if (target->pending)
		return mrb_finding_hold("previous_version");
	if (mrb_finding_refuses(mrb_target_check_previous_version(seen, target), &finding))
		return finding;
	return target->artifact;
}

/*
 * Read the deployment again with a version that the request has not named.  The
 * number of its newest operation stays the one of when the key was looked for.
 */
static MrbFinding
look_at_version(MrbAttempt *attempt, const char *version_id)
{
	const char *id = attempt->seen->id;
	MrbDeployment *seen;

	/* A group has taken a snapshot. */
	seen = attempt->batch ? mrb_deployment_look(id, version_id, attempt->seen) :
		mrb_deployment_read(id, version_id, attempt->seen);
	if (seen == NULL)
		return mrb_deployment_check_exists(NULL, attempt->seen->id);
	seen->request = attempt->request;
	seen->seq = attempt->seen->seq;
	attempt->seen = seen;
	return mrb_finding_hold("deployment_exists");
}

/*
 * Choose a version that was read with the deployment.
 */
static MrbFinding
choose_named(MrbAttempt *attempt, const char *version_id)
{
	const MrbCallerRequest *request = attempt->request;
	MrbDeployment *seen = attempt->seen;
	MrbTarget  *target = &attempt->target;
	MrbFinding	finding;

	if (mrb_finding_refuses(mrb_checks_version_exists(seen, version_id), &finding) ||
		mrb_finding_refuses(mrb_checks_version_ready(seen), &finding) ||
		mrb_finding_refuses(mrb_checks_artifact_kept(seen), &finding))
		return finding;
	mrb_target_named(seen, request->action == MRB_PROMOTE, request->accept_unverified,
					 attempt->batch, target);
	if (request->action == MRB_UNDO)
		target->rule = "undo";
	else if (request->served_at != 0)
		target->rule = "served_at";
	return target->artifact;
}

/*
 * Look again under the lock.  Rows are looked for where they were seen.
 */
Jsonb *
mrb_attempt_look_again(MrbAttempt *attempt, MrbFinding *finding)
{
	const char *id = attempt->request->deployment_id;
	MrbDeployment *now = mrb_deployment_look(id, attempt->target.id,
											 attempt->seen);
	Jsonb	   *stored = NULL;

	mrb_refusal_note(attempt->request, true);
	attempt->now = now;
	*finding = mrb_deployment_check_exists(now, id);
	if (now == NULL)
		return NULL;
	now->request = attempt->request;
	if (mrb_hold_concerns(now->request))
		now->hold = mrb_hold_look(id);
	/* Without an operation since nobody has used the key. */
	if (attempt->key != NULL && now->seq != attempt->seen->seq)
		stored = mrb_idempotency_look(id, attempt->key, &attempt->fingerprint,
									  finding, &attempt->key_expired);
	if (stored == NULL && finding->severity != MRB_FAILS)
		read_retention(attempt);
	return stored;
}

/*
 * Find out how long the key and the audit event are kept that are written now.
 */
static void
read_retention(MrbAttempt *attempt)
{
	MrbRetention own = {0};
	MrbRetention *retention = attempt->retention ? attempt->retention : &own;

	mrb_deployment_retention(attempt->now, retention);
	attempt->keep_event = retention->events;
	if (attempt->key != NULL)
		attempt->key_expires_at = mrb_idempotency_expires_at(&retention->keys);
}

/*
 * Check again.
 */
MrbFinding
mrb_attempt_recheck(MrbAttempt *attempt)
{
	const MrbCallerRequest *request = attempt->request;
	MrbDeployment *now = attempt->now;
	MrbFinding	finding;

	attempt->guards = palloc0(sizeof(MrbGuards));
	if (mrb_finding_refuses(mrb_checks_active_expected(now, request->expected_active),
							&finding))
		return finding;
	if (request->action == MRB_UNPUBLISH)
		return finding;

	if (mrb_finding_refuses(check_same_target(attempt), &finding))
		return finding;
	finding = check_target(attempt);
	if (lost_default(attempt, &finding) &&
		!mrb_finding_refuses(choose_again(attempt), &finding))
		finding = check_target(attempt);
	return finding;
}

/*
 * Check that the target can serve, and let the guards judge.
 */
static MrbFinding
check_target(MrbAttempt *attempt)
{
	MrbAction	action = attempt->request->action;
	MrbDeployment *now = attempt->now;
	MrbFinding	finding;

	if (mrb_finding_refuses(mrb_checks_version_exists(now, attempt->target.id), &finding) ||
		mrb_finding_refuses(mrb_checks_version_ready(now), &finding) ||
		mrb_finding_refuses(mrb_checks_artifact_kept(now), &finding))
		return finding;
	if (action == MRB_UNDO)
		attempt->lifts_mark = mrb_bad_version_lift(now, attempt->undone.marks,
												   attempt->undone.at);
	return mrb_guards_judge(now, action == MRB_PROMOTE, attempt->guards);
}

/*
 * Whether the version to return to became useless after it was chosen: it was
 * marked as bad, archived, or its artifact was collected.
 */
static bool
lost_default(const MrbAttempt *attempt, const MrbFinding *finding)
{
	const MrbCallerRequest *request = attempt->request;

	if (finding->severity != MRB_FAILS || request->action != MRB_ROLLBACK ||
		request->version_id != NULL || request->served_at != 0 ||
		mrb_deployment_same_version(attempt->now->active.id, attempt->target.id))
		return false;
	return finding->condition == MRB_ERR_VERSION_BAD ||
		finding->condition == MRB_ERR_VERSION_NOT_FOUND ||
		finding->condition == MRB_ERR_VERSION_NOT_READY ||
		finding->condition == MRB_ERR_ARTIFACT_GONE;
}

/*
 * Choose the version to return to once more.  Others wait for the lock by now, so
 * storage is not asked: what is recorded of artifacts decides.
 */
static MrbFinding
choose_again(MrbAttempt *attempt)
{
	MrbTarget  *target = &attempt->target;
	MrbDeployment *before = attempt->now;
	MrbFinding	finding;

	mrb_target_default_recorded(before, attempt->request->accept_unverified, target);
	if (mrb_finding_refuses(mrb_target_check_previous_version(before, target), &finding) ||
		target->artifact.severity == MRB_FAILS)
		return finding.severity == MRB_FAILS ? finding : target->artifact;
	mrb_index_lookup_begin();
	attempt->now = mrb_deployment_look(before->id, target->id, before);
	mrb_index_lookup_end();
	if (attempt->now == NULL)
		return mrb_deployment_check_exists(NULL, before->id);
	attempt->now->request = attempt->request;
	attempt->now->hold = before->hold;
	return mrb_finding_hold("previous_version");
}

/*
 * Check that the target which a request without a version has found is still the
 * one that it means.
 */
static MrbFinding
check_same_target(const MrbAttempt *attempt)
{
	const MrbCallerRequest *request = attempt->request;
	MrbDeployment *now = attempt->now;

	if (request->version_id != NULL)
		return mrb_finding_hold("active_expected");
	if (request->action == MRB_UNDO)
		return now->seq == attempt->seen->seq ? mrb_finding_hold("newest_operation") :
			mrb_undo_check_newest(now, &attempt->undone);
	if (request->waiting)
		return mrb_hold_check_waiting(now, attempt->target.id);

	/* What served at a moment does not depend on what is active now. */
	if (request->served_at != 0)
		return mrb_finding_hold("active_expected");

	/*
	 * It means the one before the version that was active when the target was
	 * chosen.  If another operation has made that target active since,
	 * nothing is left to do; if it made a third version active, the target no
	 * longer holds.
	 */
	if (mrb_deployment_same_version(now->active.id, attempt->target.id))
		return mrb_finding_hold("active_expected");
	return mrb_checks_active_expected(now, attempt->seen->active.id);
}

/*
 * Find out what is the same for all requests of a call.
 */
MrbAttemptCall
mrb_attempt_call(void)
{
	MrbAttemptCall call;

	call.actor = mrb_actor_read();
	call.actor_counts = mrb_checks_actor_counts(call.actor.ignored);
	call.delivery = mrb_checks_delivery(mrb_wakeup_undelivered());
	call.versions = mrb_checks_versions();
	return call;
}

/*
 * Warn of what concerns the call.  That changes are not delivered, the transaction
 * says at its end.
 */
void
mrb_attempt_warn(const MrbAttemptCall *call)
{
	mrb_finding_enforce(&call->actor_counts);
	mrb_finding_enforce(&call->versions);
}

/*
 * Decide the effects, and put the operation together.
 */
MrbOperation
mrb_attempt_operation(const MrbAttempt *attempt, const MrbAttemptCall *call)
{
	const MrbCallerRequest *request = attempt->request;
	const MrbDeployment *now = attempt->now;
	const MrbTarget *target = &attempt->target;
	MrbOperation operation = {0};
	StringInfoData warnings;

	if (request->action == MRB_UNPUBLISH)
		mrb_apply_unpublish(now, &operation);
	else
		mrb_apply(now, request->cutover != NULL &&
				  strcmp(request->cutover, "immediate") == 0, &operation);
	operation.action = request->action;
	operation.target_rule = request->action == MRB_UNPUBLISH ? "none" : target->rule;
	operation.actor_type = call->actor.type;
	operation.actor_id = call->actor.id;
	operation.key = attempt->key;
	operation.fingerprint = attempt->fingerprint.bytes;
	operation.key_expires_at = attempt->key_expires_at;
	operation.keep = attempt->keep_event;
	operation.reason = request->reason;
	operation.attribution = request->attribution;
	initStringInfo(&operation.marks);
	mrb_operation_mark_risks(&operation, &target->artifact, attempt->guards);
	operation.fleet_id = request->fleet_id;
	if (request->fleet_id != NULL)
		mrb_operation_mark(&operation, "fleet",
						   psprintf("\"%s\"", request->fleet_id));
	if (request->action == MRB_UNDO)
	{
		operation.undo_of = psprintf("%s#" INT64_FORMAT, now->id, attempt->undone.seq);
		mrb_operation_mark(&operation, "undo_of", psprintf("\"%s\"", operation.undo_of));
		operation.hold = mrb_hold_revert(now, attempt->undone.marks,
										 attempt->undone.seq);
	}
	else
		operation.hold = mrb_hold_follow(now, request->action,
										 strcmp(operation.outcome, "unchanged") != 0,
										 &call->actor);
	mrb_operation_mark_hold(&operation);
	decide_marks(attempt, &operation);
	if (request->alert != NULL)
		mrb_operation_mark(&operation, "alert", request->alert);
	operation.skipped = target->skipped;
	initStringInfo(&warnings);
	mrb_attempt_list_warning(&warnings, &target->artifact);
	for (int i = 0; i < attempt->guards->n; i++)
		mrb_attempt_list_warning(&warnings, &attempt->guards->findings[i]);
	mrb_attempt_list_warning(&warnings, &call->delivery);
	mrb_attempt_list_warning(&warnings, &call->actor_counts);
	mrb_attempt_list_warning(&warnings, &call->versions);
	if (warnings.len > 0)
		operation.warnings = psprintf("[%s]", warnings.data);
	if (attempt->key_expired)
		mrb_idempotency_forget_expired(now->id, attempt->key);
	return operation;
}

/*
 * Decide which version is marked as bad, or good again: the one that a rollback
 * leaves, if that is asked for; undo reverts it.
 */
static void
decide_marks(const MrbAttempt *attempt, MrbOperation *operation)
{
	const MrbCallerRequest *request = attempt->request;
	const MrbVersion *target = &attempt->now->target;
	StringInfoData json;

	initStringInfo(&json);
	if (attempt->lifts_mark)
	{
		operation->good_version_id = target->id;
		mrb_json_build_object(&json, NULL);
		mrb_json_build_string(&json, "version", target->id);
		mrb_json_build_string(&json, "reason", target->bad_reason);
		mrb_json_build_end(&json);
		mrb_operation_mark(operation, "cleared_bad", json.data);
		return;
	}
	if (request->action == MRB_UNDO)
		operation->bad_reason = mrb_bad_version_lifted(attempt->now, attempt->undone.marks);
	else if (request->mark_bad)
		operation->bad_reason = request->reason;
	if (operation->bad_reason == NULL || !mrb_operation_leaves(operation))
		return;
	operation->bad_version_id = operation->previous_version_id;
	escape_json(&json, operation->bad_version_id);
	mrb_operation_mark(operation, "marked_bad", json.data);
}

/*
 * Whether storage confirmed the artifact just now.
 */
bool
mrb_attempt_confirms(const MrbAttempt *attempt)
{
	return attempt->target.verified && attempt->now->target.release_id != NULL;
}

/*
 * Wake the dispatcher at commit.
 */
void
mrb_attempt_wake(const MrbOperation *operation)
{
	mrb_wakeup_dispatcher(operation->deployment_id,
						  operation->serving_version_id ?
						  operation->serving_version_id :
						  operation->target_version_id);
}

/*
 * Check the arguments.
 */
static void
check_request(const MrbCallerRequest *request)
{
	mrb_check_argument_id(request->deployment_id, "deployment id");
	if (request->version_id != NULL)
		mrb_check_argument_id(request->version_id, "version id");
	else if (request->action == MRB_PROMOTE && !request->waiting)
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
	mrb_check_argument_visible(request->reason, "argument", "reason");
	if (request->operation_id != NULL && strlen(request->operation_id) > MRB_MAX_OPERATION_ID)
		mrb_check_argument_too_long("operation id", strlen(request->operation_id), "bytes",
									MRB_MAX_OPERATION_ID,
									"An operation is named by its deployment, # and its number.");
	if (request->break_glass && request->reason == NULL)
		mrb_check_argument_refuse("argument", "break_glass", "true",
								  "A promotion that breaks the glass needs a reason.",
								  "Pass reason => '...', which the audit trail keeps.");
	mrb_served_at_check(request);
	if (request->mark_bad && request->reason == NULL)
		mrb_check_argument_missing("reason",
								   "A version is marked as bad for a reason; pass, for example, reason => 'errors at checkout'.");
	check_hold(request);
}

/*
 * Check the arguments about a hold.
 */
static void
check_hold(const MrbCallerRequest *request)
{
	static const Interval longest = {.month = 100 * MONTHS_PER_YEAR};
	static const Interval none = {0};
	Datum		given = IntervalPGetDatum(request->hold_for);

	if (request->hold_for == NULL)
		return;
	if (request->hold == MRB_NO)
		mrb_check_argument_refuse("argument", "hold", "false",
								  "The argument hold_for says how long the hold lasts.",
								  "Leave one of the two out.");
	if (DatumGetBool(DirectFunctionCall2(interval_le, given, IntervalPGetDatum(&none))) ||
		DatumGetBool(DirectFunctionCall2(interval_gt, given, IntervalPGetDatum(&longest))))
		mrb_check_argument_refuse("argument", "hold_for",
								  DatumGetCString(DirectFunctionCall1(interval_out, given)),
								  "A hold lasts for more than nothing and for 100 years at most.",
								  "Pass, for example, hold_for => '2 hours'; leave it out for a hold that lasts until it is lifted.");
}

/*
 * Whether the request may be a retry of the rollback before it.  The refusal
 * needs no answer of storage.
 */
static bool
is_repeated(const MrbAttempt *attempt, MrbFinding *finding)
{
	MrbTarget	target;

	if (attempt->request->key != NULL ||
		!mrb_finding_refuses(mrb_checks_not_repeated(attempt->seen, NULL), finding))
		return false;
	mrb_target_default(attempt->seen, true, attempt->batch, &target);
	return !target.pending && mrb_finding_refuses(mrb_checks_not_repeated(attempt->seen, target.id),
												  finding);
}

/*
 * Append a finding that warns to the warnings of a response.
 */
void
mrb_attempt_list_warning(StringInfo warnings, const MrbFinding *finding)
{
	if (!mrb_finding_warns(finding))
		return;
	mrb_json_build_object(warnings, NULL);
	mrb_json_build_string(warnings, "code", finding->warning);
	mrb_json_build_string(warnings, "message", finding->message);
	mrb_json_build_string(warnings, "detail", finding->detail);
	mrb_json_build_string(warnings, "hint", mrb_function_name_qualify(finding->hint));
	mrb_json_build_end(warnings);
}
