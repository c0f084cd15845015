/*-------------------------------------------------------------------------
 *
 * target.c
 *	  Choice of the version to make active, before any lock is taken.
 *
 * Only here does an operation use the network.  The search for a default
 * target skips a version whose artifact is gone, and reports it.  It does not
 * skip a version whose artifact could not be verified, because the rollback
 * would silently go further back than the caller expects.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "artifact/artifact_batch.h"
#include "base/json_build.h"
#include "common/index_lookup.h"
#include "operation/caller_request.h"
#include "operation/candidates.h"
#include "operation/target.h"

/* Each probe may take artifact_timeout; this bounds the time of a refusal. */
#define MAX_PROBES MRB_CANDIDATE_ENOUGH

/* Versions that a search skipped. */
typedef struct Skipped
{
	bool		any;
	StringInfoData json;		/* elements of an array */
	StringInfoData text;
	const char *brief;			/* the first one that served too briefly */
} Skipped;

static MrbFinding check_artifact(const MrbDeployment *deployment,
								 const char *version_id,
								 const MrbArtifact *artifact, bool named,
								 bool promotion, bool accept_unverified,
								 MrbArtifactBatch *batch,
								 MrbArtifactCheck *check, bool *pending);
static MrbFinding check_recorded(const MrbDeployment *deployment,
								 const MrbVersion *version,
								 bool accept_unverified,
								 MrbArtifactCheck *check);
static void search_default(MrbDeployment *deployment, bool accept_unverified,
						   MrbArtifactBatch *batch, bool recorded,
						   MrbTarget *target);
static MrbCandidate *next_qualifying(MrbCandidates *search, bool in_snapshot,
									 Skipped *skipped);
static void skip(Skipped *skipped, const MrbCandidate *it, const char *code,
				 const char *why);

/*
 * Take the version that the caller named.  An active version is not verified
 * in storage, because the operation changes nothing.
 */
void
mrb_target_named(const MrbDeployment *deployment, bool promotion,
				 bool accept_unverified, MrbArtifactBatch *batch,
				 MrbTarget *target)
{
	const MrbVersion *version = &deployment->target;
	MrbArtifactCheck check = {.state = MRB_ARTIFACT_PRESENT};

	memset(target, 0, sizeof(*target));
	target->id = version->id;
	target->rule = "named";
	if (deployment->active.id != NULL &&
		strcmp(deployment->active.id, version->id) == 0)
		target->artifact = mrb_checks_artifact_present(deployment, version->id,
													   &check, promotion, false);
	else
		target->artifact = check_artifact(deployment, version->id,
										  &version->artifact, true, promotion,
										  accept_unverified, batch, &check,
										  &target->pending);
	target->verified = check.probed && check.state == MRB_ARTIFACT_PRESENT;
}

/*
 * Take the version that a plain UPDATE names, whose deployment is locked.  An
 * artifact that cannot be verified now only raises a warning.
 */
void
mrb_target_recorded(const MrbDeployment *deployment, MrbTarget *target)
{
	const MrbVersion *version = &deployment->target;
	MrbArtifactCheck check = {.state = MRB_ARTIFACT_PRESENT};

	memset(target, 0, sizeof(*target));
	target->id = version->id;
	target->rule = "direct_update";
	if (version->artifact.uri != NULL)
		mrb_artifact_read_record(&version->artifact, &check);
	target->artifact = mrb_checks_artifact_present(deployment, version->id,
												   &check, false, true);
}

/*
 * Search for the version to return to.
 */
void
mrb_target_default(MrbDeployment *deployment, bool accept_unverified,
				   MrbArtifactBatch *batch, MrbTarget *target)
{
	search_default(deployment, accept_unverified, batch, false, target);
}

/*
 * Search under the lock, where storage is not waited for.
 */
void
mrb_target_default_recorded(MrbDeployment *deployment, bool accept_unverified,
							MrbTarget *target)
{
	search_default(deployment, accept_unverified, NULL, true, target);
}

/*
 * Search for the version to return to: the first one that qualifies and whose
 * artifact is not gone.
 */
static void
search_default(MrbDeployment *deployment, bool accept_unverified,
			   MrbArtifactBatch *batch, bool recorded, MrbTarget *target)
{
	MrbCandidates *search = mrb_candidates_begin(deployment);
	MrbCandidate *it;
	Skipped		skipped = {0};
	int			probes = 0;

	memset(target, 0, sizeof(*target));
	while ((it = next_qualifying(search, batch != NULL, &skipped)) != NULL)
	{
		const MrbVersion *version = &it->version;
		MrbArtifactCheck check;
		MrbFinding	finding;

		if (recorded)
			finding = check_recorded(deployment, version, accept_unverified,
									 &check);
		else
			finding = check_artifact(deployment, version->id,
									 &version->artifact, false, false,
									 accept_unverified, batch, &check,
									 &target->pending);
		if (target->pending)
			return;
		if (check.state != MRB_ARTIFACT_GONE)
		{
			deployment->target = *version;
			target->id = version->id;
			target->rule = it->rule;
			target->artifact = finding;
			target->verified = check.probed &&
				check.state == MRB_ARTIFACT_PRESENT;
			break;
		}
		skip(&skipped, it, mrb_errors_condition_name(MRB_ERR_ARTIFACT_GONE),
			 "its artifact is gone from storage");
		if (++probes >= MAX_PROBES)
		{
			appendStringInfoString(&skipped.text,
								   ", and older versions were not checked");
			break;
		}
	}

	if (skipped.any)
	{
		target->skipped = psprintf("[%s]", skipped.json.data);
		target->skipped_text = skipped.text.data;
		target->brief = skipped.brief;
	}
}

/*
 * Find the next candidate that qualifies by the recorded state.  If storage was
 * asked for the one before, that was in no snapshot, so a new one is taken.
 */
static MrbCandidate *
next_qualifying(MrbCandidates *search, bool in_snapshot, Skipped *skipped)
{
	MrbCandidate *it;

	if (!in_snapshot)
		mrb_index_lookup_begin();
	while ((it = mrb_candidates_next(search)) != NULL && it->why_not != NULL)
		skip(skipped, it, it->code, it->why_not);
	if (!in_snapshot)
		mrb_index_lookup_end();
	return it;
}

/*
 * Check that a default target was found.
 */
MrbFinding
mrb_target_check_previous_version(const MrbDeployment *deployment,
								  const MrbTarget *target)
{
	MrbFinding	it = {
		.name = "previous_version",
		.severity = MRB_HOLDS,
	};
	char	   *unpublished = NULL;
	int64		seq = 0;

	if (target->id != NULL)
		return it;
	it.severity = MRB_FAILS;
	it.condition = MRB_ERR_NO_PREVIOUS_VERSION;
	it.message = psprintf("deployment \"%s\" has no previous version to return to",
						  deployment->id);
	it.hint = psprintf("Name a version; see the candidates with %s",
					   mrb_caller_request_show(deployment->request, "candidates",
											   deployment->id));
	if (deployment->active.id == NULL)
		unpublished = mrb_candidates_unpublished(deployment->id, &seq);
	if (target->skipped_text != NULL)
	{
		it.detail = psprintf("Skipped: %s.", target->skipped_text);
		if (target->brief != NULL)
			it.hint = psprintf("To go to \"%s\" all the same, type %s", target->brief,
							   mrb_caller_request_again(deployment->request, false,
														deployment->id,
														target->brief, false));
	}
	else if (unpublished != NULL)
	{
		it.detail = psprintf("Operation %s#" INT64_FORMAT " unpublished the deployment; version \"%s\" was active.",
							 deployment->id, seq, unpublished);
		it.hint = psprintf("To publish that version again, type %s",
						   mrb_caller_request_again(deployment->request, true,
													deployment->id, unpublished,
													false));
	}
	else if (deployment->active.id == NULL)
		it.detail = "The deployment never had an active version.";
	else
		it.detail = psprintf("No version served before version \"%s\".",
							 deployment->active.id);
	return it;
}

/*
 * Check an artifact in storage; for a named version even if it was verified
 * lately.  Without a release there is nothing to ask for, and the recorded state
 * decides.  When the batch has to run first, pending is set.
 */
static MrbFinding
check_artifact(const MrbDeployment *deployment, const char *version_id,
			   const MrbArtifact *artifact, bool named, bool promotion,
			   bool accept_unverified, MrbArtifactBatch *batch,
			   MrbArtifactCheck *check, bool *pending)
{
	memset(check, 0, sizeof(*check));
	if (artifact->uri == NULL)
		check->state = MRB_ARTIFACT_PRESENT;
	else if (batch == NULL)
		mrb_artifact_verify(artifact, named, check);
	else
		*pending = !mrb_artifact_batch_verify(batch, artifact, named, check);
	if (*pending)
		return mrb_finding_hold("artifact_present");
	return mrb_checks_artifact_present(deployment, version_id, check,
									   promotion, accept_unverified);
}

/*
 * Check an artifact by what is recorded of it.
 */
static MrbFinding
check_recorded(const MrbDeployment *deployment, const MrbVersion *version,
			   bool accept_unverified, MrbArtifactCheck *check)
{
	memset(check, 0, sizeof(*check));
	if (version->artifact.uri == NULL)
		check->state = MRB_ARTIFACT_PRESENT;
	else
		mrb_artifact_read_record(&version->artifact, check);
	return mrb_checks_artifact_present(deployment, version->id, check, false,
									   accept_unverified);
}

/*
 * Append a skipped version to the elements of a JSON array and to the text.
 */
static void
skip(Skipped *skipped, const MrbCandidate *it, const char *code,
	 const char *why)
{
	StringInfo	json = &skipped->json;
	StringInfo	text = &skipped->text;

	if (!skipped->any)
	{
		initStringInfo(json);
		initStringInfo(text);
	}
	mrb_json_build_object(json, NULL);
	mrb_json_build_string(json, "version_id", it->version.id);
	mrb_json_build_integer(json, "version_number", it->version.number);
	mrb_json_build_string(json, "code", code);
	mrb_json_build_string(json, "why", why);
	mrb_json_build_end(json);
	appendStringInfo(text, "%sv%d (\"%s\"): %s", skipped->any ? ", " : "",
					 it->version.number, it->version.id, why);
	skipped->any = true;
	if (skipped->brief == NULL && strcmp(code, MRB_CANDIDATE_BRIEF) == 0)
		skipped->brief = it->version.id;
}
