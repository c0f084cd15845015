/*-------------------------------------------------------------------------
 *
 * guards.c
 *	  What may keep a deployment from moving to a version that could serve.
 *
 * checks.c says whether a version can serve: it exists, is ready, and has its
 * artifact.  Guards are what people and settings have said about such a move.
 * Each is one function in a file of its own, which judges under the deployment's
 * lock and in plans, and returns a finding.  All of them judge, also after one
 * that refuses, because a plan lists them all.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "operation/bad_version.h"
#include "operation/checks.h"
#include "operation/freeze.h"
#include "operation/guards.h"
#include "operation/hold.h"
#include "operation/schema_guard.h"
#include "operation/schema_marks.h"

/* A guard; those of promotions do not judge rollbacks. */
typedef struct Guard
{
	MrbFinding	(*judge) (const MrbDeployment *deployment, bool promotion);
	bool		promotions_only;
} Guard;

static MrbFinding judge_marks(const MrbDeployment *deployment, bool promotion);

static const Guard guards[] = {
	{mrb_bad_version_check, false},
	{judge_marks, false},
	{mrb_schema_guard_judge, false},
	{mrb_hold_judge, true},
	{mrb_freeze_judge, true},
};

StaticAssertDecl(lengthof(guards) <= MRB_GUARDS_MAX, "too many guards");

/*
 * Let all guards judge a move.
 */
MrbFinding
mrb_guards_judge(MrbDeployment *deployment, bool promotion, MrbGuards *found)
{
	MrbFinding	first = mrb_finding_hold("guards");

	found->n = 0;
	mrb_schema_marks_read(deployment);
	for (size_t i = 0; i < lengthof(guards); i++)
	{
		MrbFinding	finding;

		if (guards[i].promotions_only && !promotion)
			continue;
		finding = guards[i].judge(deployment, promotion);
		found->findings[found->n++] = finding;
		if (first.severity != MRB_FAILS && finding.severity == MRB_FAILS)
			first = finding;
	}
	return first;
}

/*
 * Warn of what the guards let pass.
 */
void
mrb_guards_warn(const MrbGuards *found)
{
	for (int i = 0; i < found->n; i++)
		mrb_finding_enforce(&found->findings[i]);
}

/*
 * A schema change of a version in between is marked as incompatible.
 */
static MrbFinding
judge_marks(const MrbDeployment *deployment, bool promotion)
{
	return mrb_checks_compatible(deployment);
}
