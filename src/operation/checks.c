/*-------------------------------------------------------------------------
 *
 * checks.c
 *	  What must hold before a deployment may move.
 *
 * Rules look at what was read and judge it; they read and write nothing
 * themselves, so that the same rule serves a rollback before its lock, again
 * under its lock, and a plan.  Only a rule that fails may look for the call
 * that its hint proposes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/function_name.h"
#include "base/guc.h"
#include "base/miosa_rollback.h"
#include "notify/wakeup.h"
#include "operation/caller_request.h"
#include "operation/candidates.h"
#include "operation/checks.h"

/* So many marked versions are named. */
#define MARKED_SHOWN 5

static char *describe_marked(List *marked);
static MrbFinding holds(const char *rule);
static MrbFinding fails(const char *rule, MrbCondition condition,
						const char *message, const char *detail,
						const char *hint);
static MrbFinding artifact_gone(const char *rule,
								const MrbDeployment *deployment,
								const char *version_id, const char *detail);
static char *show_candidates(const MrbDeployment *deployment);

/*
 * The version is there and belongs to this deployment.
 */
MrbFinding
mrb_checks_version_exists(const MrbDeployment *deployment, const char *asked)
{
	if (deployment->target.id != NULL)
		return holds("version_exists");
	return fails("version_exists", MRB_ERR_VERSION_NOT_FOUND,
				 psprintf("version \"%s\" does not exist", asked),
				 psprintf("Deployment \"%s\" has no version of that id.",
						  deployment->id),
				 show_candidates(deployment));
}

/*
 * Only a ready version can serve.
 */
MrbFinding
mrb_checks_version_ready(const MrbDeployment *deployment)
{
	const MrbVersion *target = &deployment->target;

	if (strcmp(target->state, "ready") == 0)
		return holds("version_ready");
	return fails("version_ready", MRB_ERR_VERSION_NOT_READY,
				 psprintf("version \"%s\" is not ready", target->id),
				 psprintf("Its state is \"%s\".", target->state),
				 show_candidates(deployment));
}

/*
 * The artifact was not collected, by our own record.
 */
MrbFinding
mrb_checks_artifact_kept(const MrbDeployment *deployment)
{
	const MrbVersion *target = &deployment->target;

	if (target->collected_at == 0)
		return holds("artifact_kept");
	return artifact_gone("artifact_kept", deployment, target->id,
						 psprintf("It was collected at %s by %s.",
								  timestamptz_to_str(target->collected_at),
								  target->collected_by ? target->collected_by : "an unknown hand"));
}

/*
 * Storage has the artifact.  When storage cannot tell, a verification that is
 * not too old or the caller's word is taken for it, but never in silence.
 */
MrbFinding
mrb_checks_artifact_present(const MrbDeployment *deployment,
							const char *version_id,
							const MrbArtifactCheck *check,
							bool promotion, bool accept_unverified)
{
	static const char *const rule = "artifact_present";
	MrbFinding	it;

	if (check->state == MRB_ARTIFACT_PRESENT)
		return holds(rule);
	if (check->state == MRB_ARTIFACT_GONE)
		return artifact_gone(rule, deployment, version_id, check->detail);

	it = fails(rule, MRB_ERR_STORAGE_UNAVAILABLE,
			   psprintf("the artifact of version \"%s\" could not be verified",
						version_id),
			   check->detail,
			   psprintf("To go on without the verification, type %s",
						mrb_caller_request_again(deployment->request, promotion,
												 deployment->id, version_id, true)));
	if (check->grace || accept_unverified)
	{
		it.verdict = MRB_WARNS;
		it.warning = "ARTIFACT_UNVERIFIED";
		it.hint = accept_unverified
			? "The caller accepted that; see that the artifact is served."
			: "It was verified not long ago; see that the artifact is served.";
	}
	return it;
}

/*
 * The caller's picture of the deployment is the present one.  expected is
 * NULL when the caller has none.
 */
MrbFinding
mrb_checks_active_expected(const MrbDeployment *deployment, const char *expected)
{
	const char *active = deployment->active.id;

	if (expected == NULL || (active != NULL && strcmp(expected, active) == 0))
		return holds("active_expected");
	return fails("active_expected", MRB_ERR_ACTIVE_VERSION_CHANGED,
				 psprintf("the active version of deployment \"%s\" is not the expected one",
						  deployment->id),
				 psprintf("Expected is \"%s\", active is \"%s\".", expected,
						  active ? active : "none"),
				 psprintf("See what happened with %s",
						  mrb_caller_request_show(deployment->request, "history",
												  deployment->id)));
}

/*
 * Without version and key, a retry and a second rollback look the same.  So
 * soon after a rollback it is taken for a retry.
 */
MrbFinding
mrb_checks_not_repeated(const MrbDeployment *deployment,
						const char *default_target)
{
	TimestampTz now = GetCurrentTimestamp();

	if (deployment->last_rollback_at == 0 ||
		TimestampDifferenceExceeds(deployment->last_rollback_at, now,
								   MRB_REPEAT_SECONDS * 1000))
		return holds("not_repeated");
	return fails("not_repeated", MRB_ERR_ROLLBACK_REPEATED,
				 psprintf("deployment \"%s\" was rolled back a moment ago",
						  deployment->id),
				 psprintf("Operation %s#" INT64_FORMAT " made \"%s\" active at %s; a call without version and key could be a retry of it.",
						  deployment->id, deployment->seq,
						  deployment->active.id ? deployment->active.id : "",
						  timestamptz_to_str(deployment->last_rollback_at)),
				 default_target ?
				 psprintf("To go one further back, type %s",
						  mrb_caller_request_again(deployment->request, false,
												   deployment->id, default_target,
												   false)) :
				 show_candidates(deployment));
}

/*
 * A schema change that is marked as incompatible does not go back with the
 * code.  The mark counts when moving to an older version, for all versions
 * that schema_marks.c names.
 */
MrbFinding
mrb_checks_compatible(const MrbDeployment *deployment)
{
	MrbFinding	it;

	if (deployment->marked == NIL)
		return holds("migration_compatible");

	it = fails("migration_compatible", MRB_ERR_MIGRATION_INCOMPATIBLE,
			   describe_marked(deployment->marked),
			   "A rollback changes code, not data: the older code meets the newer schema.",
			   "Read the version's migration notes first; SET miosa_rollback.on_incompatible = 'warn'; lets a superuser go on.");
	if (mrb_on_incompatible == MRB_INCOMPATIBLE_WARN)
	{
		it.verdict = MRB_WARNS;
		it.warning = "MIGRATION_INCOMPATIBLE";
		it.hint = "See whether the older version works with the present schema.";
	}
	return it;
}

/*
 * Name the marked versions, the newest ones if they are many.
 */
static char *
describe_marked(List *marked)
{
	StringInfoData text;
	int			n = list_length(marked);

	initStringInfo(&text);
	appendStringInfo(&text, "%s \"%s\"",
					 n == 1 ? "a schema change of version" :
					 "schema changes of versions", (char *) linitial(marked));
	for (int i = 1; i < Min(n, MARKED_SHOWN); i++)
		appendStringInfo(&text, ", \"%s\"", (char *) list_nth(marked, i));
	if (n > MARKED_SHOWN)
		appendStringInfo(&text, " and %d more", n - MARKED_SHOWN);
	appendStringInfoString(&text, n == 1 ? " is marked as incompatible" :
						   " are marked as incompatible");
	return text.data;
}

/*
 * Whoever shall learn of the change will be told.  That never refuses one.
 */
MrbFinding
mrb_checks_told(bool untold)
{
	MrbFinding	it = {
		.rule = "endpoints_told",
		.verdict = untold ? MRB_WARNS : MRB_HOLDS,
	};

	if (!untold)
		return it;
	it.warning = "NOT_TOLD";
	it.message = MRB_WAKE_UNTOLD_MESSAGE;
	it.hint = MRB_WAKE_UNTOLD_HINT;
	return it;
}

/*
 * A name of who acts that SET without LOCAL has made may be that of another
 * client of a pooled session.  It does not count, and keeps nobody from rolling
 * back.
 */
MrbFinding
mrb_checks_actor_counts(bool ignored)
{
	MrbFinding	it = {
		.rule = "actor_counts",
		.verdict = ignored ? MRB_WARNS : MRB_HOLDS,
	};

	if (!ignored)
		return it;
	it.warning = "ACTOR_IGNORED";
	it.message = "miosa_rollback.actor is ignored, because it is set for the session";
	it.detail = "A pooler in transaction mode hands it on to the next client.";
	it.hint = "RESET miosa_rollback.actor; then, in each transaction, SET LOCAL miosa_rollback.actor = 'user:...';";
	return it;
}

/*
 * What was accepted knowingly, for the audit event.
 */
char *
mrb_checks_marks(const MrbFinding *artifact, const MrbFinding *compatible)
{
	bool		unverified = artifact->verdict == MRB_WARNS;
	bool		incompatible = compatible->verdict == MRB_WARNS;

	return psprintf("{%s%s%s}",
					unverified ? "\"artifact\": \"unverified\"" : "",
					unverified && incompatible ? ", " : "",
					incompatible ? "\"migration\": \"incompatible\"" : "");
}

/*
 * Raise what fails, warn of what warns.
 */
void
mrb_checks_enforce(const MrbFinding *finding)
{
	if (finding->verdict == MRB_FAILS)
		mrb_raise(finding->condition, finding->message, finding->detail,
				  finding->hint);
	if (finding->verdict == MRB_WARNS)
		ereport(WARNING,
				(errmsg_internal("%s", finding->message),
				 errdetail_internal("%s", finding->detail),
				 errhint("%s", mrb_function_name_qualify(finding->hint))));
}

static MrbFinding
holds(const char *rule)
{
	MrbFinding	it = {
		.rule = rule,
		.verdict = MRB_HOLDS,
	};

	return it;
}

static MrbFinding
fails(const char *rule, MrbCondition condition, const char *message,
	  const char *detail, const char *hint)
{
	MrbFinding	it = {
		.rule = rule,
		.verdict = MRB_FAILS,
		.condition = condition,
		.message = message,
		.detail = detail,
		.hint = hint,
	};

	return it;
}

/*
 * The artifact is gone; the nearest version that still has one may do.
 */
static MrbFinding
artifact_gone(const char *rule, const MrbDeployment *deployment,
			  const char *version_id, const char *detail)
{
	char	   *nearest = mrb_candidates_nearest(deployment->id, version_id);

	return fails(rule, MRB_ERR_ARTIFACT_GONE,
				 psprintf("the artifact of version \"%s\" is gone", version_id),
				 detail,
				 nearest ? psprintf("The nearest version that can be restored: %s",
									mrb_caller_request_again(deployment->request,
															 false, deployment->id,
															 nearest, false)) :
				 show_candidates(deployment));
}

/*
 * The hint that shows what one can return to.
 */
static char *
show_candidates(const MrbDeployment *deployment)
{
	return psprintf("See what can be restored with %s",
					mrb_caller_request_show(deployment->request, "candidates",
											deployment->id));
}
