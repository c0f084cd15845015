/*-------------------------------------------------------------------------
 *
 * checks.c
 *	  Checks that a deployment must pass before it moves.
 *
 * A check judges rows that were read before; it reads and writes nothing, so
 * that the same check serves a rollback before its lock, again under its lock,
 * and a plan.  Only a check that fails may read, to find the call that its
 * hint proposes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/extension_version.h"
#include "base/guc.h"
#include "base/miosa_rollback.h"
#include "notify/wakeup.h"
#include "operation/caller_request.h"
#include "operation/candidates.h"
#include "operation/checks.h"

PG_FUNCTION_INFO_V1(mrb_no_version);

/* How many marked versions a message names. */
#define MARKED_SHOWN 5

static char *describe_marked(List *marked);
static MrbFinding artifact_gone(const char *name,
								const MrbDeployment *deployment,
								const char *version_id, const char *detail);
static char *show_candidates(const MrbDeployment *deployment);

/*
 * The version exists and belongs to this deployment.
 */
MrbFinding
mrb_checks_version_exists(const MrbDeployment *deployment, const char *asked)
{
	if (deployment->target.id != NULL)
		return mrb_finding_hold("version_exists");
	return mrb_finding_fail("version_exists", MRB_ERR_VERSION_NOT_FOUND,
							psprintf("version \"%s\" does not exist", asked),
							psprintf("Deployment \"%s\" has no such version.",
									 deployment->id),
							show_candidates(deployment));
}

/*
 * miosa.no_version(deployment_id, name): raise VERSION_NOT_FOUND
 */
Datum
mrb_no_version(PG_FUNCTION_ARGS)
{
	MrbDeployment deployment = {
		.id = PG_ARGISNULL(0) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(0)),
	};
	MrbFinding	finding = mrb_checks_version_exists(&deployment,
													PG_ARGISNULL(1) ? "" :
													text_to_cstring(PG_GETARG_TEXT_PP(1)));

	mrb_finding_enforce(&finding);
	PG_RETURN_VOID();
}

/*
 * The version is ready, so it can serve.
 */
MrbFinding
mrb_checks_version_ready(const MrbDeployment *deployment)
{
	const MrbVersion *target = &deployment->target;

	if (strcmp(target->state, "ready") == 0)
		return mrb_finding_hold("version_ready");
	return mrb_finding_fail("version_ready", MRB_ERR_VERSION_NOT_READY,
							psprintf("version \"%s\" is not ready", target->id),
							psprintf("The state of the version is \"%s\".", target->state),
							show_candidates(deployment));
}

/*
 * The artifact was not collected, by the recorded state.
 */
MrbFinding
mrb_checks_artifact_kept(const MrbDeployment *deployment)
{
	const MrbVersion *target = &deployment->target;

	if (target->collected_at == 0)
		return mrb_finding_hold("artifact_kept");
	return artifact_gone("artifact_kept", deployment, target->id,
						 psprintf("The artifact was collected at %s by %s.",
								  timestamptz_to_str(target->collected_at),
								  target->collected_by ? target->collected_by : "an unknown role"));
}

/*
 * Storage has the artifact.  If storage does not answer, a recent verification
 * or the caller's accept_unverified lets the operation proceed with a warning.
 */
MrbFinding
mrb_checks_artifact_present(const MrbDeployment *deployment,
							const char *version_id,
							const MrbArtifactCheck *check,
							bool promotion, bool accept_unverified)
{
	static const char *const name = "artifact_present";
	MrbFinding	it;

	if (check->state == MRB_ARTIFACT_PRESENT)
		return mrb_finding_hold(name);
	if (check->state == MRB_ARTIFACT_GONE)
		return artifact_gone(name, deployment, version_id, check->detail);

	it = mrb_finding_fail(name, MRB_ERR_STORAGE_UNAVAILABLE,
						  psprintf("the artifact of version \"%s\" could not be verified",
								   version_id),
						  check->detail,
						  psprintf("To proceed without the verification, type %s",
								   mrb_caller_request_again(deployment->request, promotion,
															deployment->id, version_id, true)));
	if (check->grace || accept_unverified)
		return mrb_finding_accept(&it, "ARTIFACT_UNVERIFIED", accept_unverified ?
								  "The operation accepts unverified artifacts; check that this one is served." :
								  "The artifact was verified recently; check that it is served.",
								  "\"artifact\": \"unverified\"");
	return it;
}

/*
 * The active version is the one that the caller expects.  expected is NULL if
 * the caller expects none.
 */
MrbFinding
mrb_checks_active_expected(const MrbDeployment *deployment, const char *expected)
{
	const char *active = deployment->active.id;

	if (expected == NULL || (active != NULL && strcmp(expected, active) == 0))
		return mrb_finding_hold("active_expected");
	return mrb_finding_fail("active_expected", MRB_ERR_ACTIVE_VERSION_CHANGED,
							psprintf("the active version of deployment \"%s\" is not the expected one",
									 deployment->id),
							active ?
							psprintf("The expected version is \"%s\", the active one \"%s\".",
									 expected, active) :
							psprintf("The expected version is \"%s\", and none is active.",
									 expected),
							psprintf("See the operations with %s",
									 mrb_caller_request_show(deployment->request, "history",
															 deployment->id)));
}

/*
 * A call without version and key may be a retry of the rollback before it.
 * Within MRB_REPEAT_SECONDS it is taken for one.
 */
MrbFinding
mrb_checks_not_repeated(const MrbDeployment *deployment,
						const char *default_target)
{
	TimestampTz now = GetCurrentTimestamp();

	if (deployment->last_rollback_at == 0 ||
		TimestampDifferenceExceeds(deployment->last_rollback_at, now,
								   MRB_REPEAT_SECONDS * 1000))
		return mrb_finding_hold("not_repeated");
	return mrb_finding_fail("not_repeated", MRB_ERR_ROLLBACK_REPEATED,
							psprintf("deployment \"%s\" was rolled back a moment ago",
									 deployment->id),
							psprintf("A rollback made \"%s\" active at %s; a call without version and key could be a retry of it.",
									 deployment->active.id ? deployment->active.id : "",
									 timestamptz_to_str(deployment->last_rollback_at)),
							default_target ?
							psprintf("To go back one more version, type %s",
									 mrb_caller_request_again(deployment->request, false,
															  deployment->id, default_target,
															  false)) :
							show_candidates(deployment));
}

/*
 * A rollback does not revert a schema change that is marked as incompatible.
 * The mark counts when moving to an older version, for all versions that
 * schema_marks.c names.
 */
MrbFinding
mrb_checks_compatible(const MrbDeployment *deployment)
{
	MrbFinding	it;

	if (deployment->marked == NIL)
		return mrb_finding_hold("migration_compatible");

	it = mrb_finding_fail("migration_compatible", MRB_ERR_MIGRATION_INCOMPATIBLE,
						  describe_marked(deployment->marked),
						  "A rollback changes code, not data: the older code runs with the newer schema.",
						  "Read the version's migration notes first; a superuser can proceed after SET miosa_rollback.on_incompatible = 'warn';");
	if (mrb_on_incompatible == MRB_INCOMPATIBLE_WARN)
		return mrb_finding_accept(&it, "MIGRATION_INCOMPATIBLE",
								  "Check that the older version works with the current schema.",
								  "\"migration\": \"incompatible\"");
	return it;
}

/*
 * Name the marked versions, or the newest ones if they are many.
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
 * A dispatcher runs that delivers the change.  Never refuses an operation.
 */
MrbFinding
mrb_checks_delivery(bool undelivered)
{
	if (!undelivered)
		return mrb_finding_hold("changes_delivered");
	return mrb_finding_warn("changes_delivered", "NOT_DELIVERED", MRB_WAKEUP_UNDELIVERED_MESSAGE, NULL,
							MRB_WAKEUP_UNDELIVERED_HINT);
}

/*
 * The library serves SQL objects of another version as well as it can, until the
 * extension is updated.  Never refuses an operation.
 */
MrbFinding
mrb_checks_versions(void)
{
	MrbVersionProblem problem;

	if (!mrb_extension_version_problem(&problem))
		return mrb_finding_hold("versions_agree");
	return mrb_finding_warn("versions_agree", "VERSIONS_DIFFER", problem.message,
							problem.detail, problem.hint);
}

/*
 * An actor that SET without LOCAL has set may be that of another client of a
 * pooled session.  Such an actor is ignored, and the operation proceeds.
 */
MrbFinding
mrb_checks_actor_counts(bool ignored)
{
	if (!ignored)
		return mrb_finding_hold("actor_counts");
	return mrb_finding_warn("actor_counts", "ACTOR_IGNORED",
							"miosa_rollback.actor is ignored, because it is set for the session",
							"A connection pooler in transaction mode passes it on to the next client.",
							"RESET miosa_rollback.actor; then, in each transaction, SET LOCAL miosa_rollback.actor = 'user:...';");
}

/*
 * Make the finding that an artifact is gone.  Its hint proposes the nearest
 * version that still has one.
 */
static MrbFinding
artifact_gone(const char *name, const MrbDeployment *deployment,
			  const char *version_id, const char *detail)
{
	char	   *nearest = mrb_candidates_nearest(deployment->id, version_id);

	return mrb_finding_fail(name, MRB_ERR_ARTIFACT_GONE,
							psprintf("the artifact of version \"%s\" is gone", version_id),
							detail,
							nearest ? psprintf("To restore the nearest version that has one, type %s",
											   mrb_caller_request_again(deployment->request,
																		false, deployment->id,
																		nearest, false)) :
							show_candidates(deployment));
}

/*
 * Make the hint that shows which versions can be restored.
 */
static char *
show_candidates(const MrbDeployment *deployment)
{
	return psprintf("See what can be restored with %s",
					mrb_caller_request_show(deployment->request, "candidates",
											deployment->id));
}
