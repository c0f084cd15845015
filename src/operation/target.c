/*-------------------------------------------------------------------------
 *
 * target.c
 *	  Choose the version to go to, before any lock is taken.
 *
 * This is the one place of an operation that may ask the network.  A default
 * target is searched for: a version whose artifact is gone is passed over and
 * named, but one that storage cannot tell about is never passed over, because
 * that would quietly go further back than anybody asked for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/json.h"

#include "operation/caller_request.h"
#include "operation/candidates.h"
#include "operation/target.h"

/* Each probe may take artifact_timeout; a refusal must not take seconds. */
#define MAX_PROBES MRB_CANDIDATE_ENOUGH

static MrbFinding check_artifact(const MrbDeployment *deployment,
								 const char *version_id,
								 const MrbArtifact *artifact, bool named,
								 bool promotion, bool accept_unverified,
								 MrbArtifactCheck *check);
static void skip(StringInfo json, StringInfo text, const MrbCandidate *it,
				 const char *code, const char *why);

/*
 * Take the version that the caller named.  Nothing moves when it is active
 * already, so storage is not asked.
 */
void
mrb_target_named(const MrbDeployment *deployment, bool promotion,
				 bool accept_unverified, MrbTarget *choice)
{
	const MrbVersion *target = &deployment->target;
	MrbArtifactCheck check = {.state = MRB_ARTIFACT_PRESENT};

	memset(choice, 0, sizeof(*choice));
	choice->id = target->id;
	choice->rule = "named";
	if (deployment->active.id != NULL &&
		strcmp(deployment->active.id, target->id) == 0)
		choice->artifact = mrb_checks_artifact_present(deployment, target->id,
													   &check, promotion, false);
	else
		choice->artifact = check_artifact(deployment, target->id,
										  &target->artifact, true, promotion,
										  accept_unverified, &check);
	choice->verified = check.probed && check.state == MRB_ARTIFACT_PRESENT;
}

/*
 * Take the version that was written, whose deployment is locked.  What cannot
 * be verified now is accepted, with a warning.
 */
void
mrb_target_recorded(const MrbDeployment *deployment, MrbTarget *choice)
{
	const MrbVersion *target = &deployment->target;
	MrbArtifactCheck check = {.state = MRB_ARTIFACT_PRESENT};

	memset(choice, 0, sizeof(*choice));
	choice->id = target->id;
	choice->rule = "direct_update";
	if (target->artifact.uri != NULL)
		mrb_artifact_recall(&target->artifact, &check);
	choice->artifact = mrb_checks_artifact_present(deployment, target->id,
												   &check, false, true);
}

/*
 * Search for the version to return to.
 */
void
mrb_target_default(const MrbDeployment *deployment, bool accept_unverified,
				   MrbTarget *choice)
{
	StringInfoData json;
	StringInfoData text;
	ListCell   *cell;
	int			probes = 0;

	memset(choice, 0, sizeof(*choice));
	initStringInfo(&json);
	initStringInfo(&text);
	foreach(cell, mrb_candidates_list(deployment->id))
	{
		MrbCandidate *it = lfirst(cell);
		MrbArtifactCheck check;
		MrbFinding	finding;

		if (it->why_not != NULL)
		{
			skip(&json, &text, it, mrb_condition_name(it->condition),
				 it->why_not);
			continue;
		}
		finding = check_artifact(deployment, it->id, &it->artifact, false, false,
								 accept_unverified, &check);
		if (check.state == MRB_ARTIFACT_GONE)
		{
			skip(&json, &text, it, mrb_condition_name(MRB_ERR_ARTIFACT_GONE),
				 "its artifact is gone from storage");
			if (++probes >= MAX_PROBES)
			{
				appendStringInfoString(&text,
									   ", and older ones were not asked for");
				break;
			}
			continue;
		}
		choice->id = it->id;
		choice->rule = it->rule;
		choice->artifact = finding;
		choice->verified = check.probed &&
			check.state == MRB_ARTIFACT_PRESENT;
		break;
	}

	if (json.len > 0)
	{
		appendStringInfoChar(&json, ']');
		choice->skipped = json.data;
		choice->skipped_text = text.data;
	}
}

/*
 * A default target was found.
 */
MrbFinding
mrb_target_check_previous_version(const MrbDeployment *deployment,
								  const MrbTarget *choice)
{
	MrbFinding	it = {
		.rule = "previous_version",
		.verdict = MRB_HOLDS,
	};
	char	   *unpublished = NULL;
	int64		seq = 0;

	if (choice->id != NULL)
		return it;
	it.verdict = MRB_FAILS;
	it.condition = MRB_ERR_NO_PREVIOUS_VERSION;
	it.message = psprintf("deployment \"%s\" has no previous version to return to",
						  deployment->id);
	it.hint = psprintf("Name a version; see which there are with %s",
					   mrb_caller_request_show(deployment->request, "candidates",
											   deployment->id));
	if (deployment->active.id == NULL)
		unpublished = mrb_candidates_unpublished(deployment->id, &seq);
	if (choice->skipped_text != NULL)
		it.detail = psprintf("Passed over: %s.", choice->skipped_text);
	else if (unpublished != NULL)
	{
		it.detail = psprintf("Operation %s#" INT64_FORMAT " unpublished it; version \"%s\" was active.",
							 deployment->id, seq, unpublished);
		it.hint = psprintf("To publish that version again, type %s",
						   mrb_caller_request_again(deployment->request, true,
													deployment->id, unpublished,
													false));
	}
	else if (deployment->active.id == NULL)
		it.detail = "It never had an active version.";
	else
		it.detail = psprintf("Nothing served before version \"%s\".",
							 deployment->active.id);
	return it;
}

/*
 * Ask storage for an artifact, in any case when its version was named.  A
 * version without a release has none to ask for, and our own record decides.
 */
static MrbFinding
check_artifact(const MrbDeployment *deployment, const char *version_id,
			   const MrbArtifact *artifact, bool named, bool promotion,
			   bool accept_unverified, MrbArtifactCheck *check)
{
	memset(check, 0, sizeof(*check));
	if (artifact->uri == NULL)
		check->state = MRB_ARTIFACT_PRESENT;
	else
		mrb_artifact_check(artifact, named, check);
	return mrb_checks_artifact_present(deployment, version_id, check,
									   promotion, accept_unverified);
}

/*
 * Name a version that was passed over, for programs and for people.
 */
static void
skip(StringInfo json, StringInfo text, const MrbCandidate *it,
	 const char *code, const char *why)
{
	appendStringInfo(json, "%s{\"version_id\": ", json->len ? ", " : "[");
	escape_json(json, it->id);
	appendStringInfo(json, ", \"version_number\": %d, \"code\": \"%s\", \"why\": ",
					 it->number, code);
	escape_json(json, why);
	appendStringInfoChar(json, '}');
	appendStringInfo(text, "%sv%d (\"%s\"): %s", text->len ? ", " : "",
					 it->number, it->id, why);
}
