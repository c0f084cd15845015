/*-------------------------------------------------------------------------
 *
 * finding.c
 *	  What a check found.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "utils/timestamp.h"

#include "base/function_name.h"
#include "operation/finding.h"

/*
 * Make the finding of a check that holds.
 */
MrbFinding
mrb_finding_hold(const char *name)
{
	MrbFinding	it = {
		.name = name,
		.severity = MRB_HOLDS,
	};

	return it;
}

/*
 * Make the finding of a check that fails.
 */
MrbFinding
mrb_finding_fail(const char *name, MrbCondition condition, const char *message,
				 const char *detail, const char *hint)
{
	MrbFinding	it = {
		.name = name,
		.severity = MRB_FAILS,
		.condition = condition,
		.message = message,
		.detail = detail,
		.hint = hint,
	};

	return it;
}

/*
 * Make the finding of a check that warns.
 */
MrbFinding
mrb_finding_warn(const char *name, const char *warning, const char *message,
				 const char *detail, const char *hint)
{
	MrbFinding	it = {
		.name = name,
		.severity = MRB_WARNS,
		.warning = warning,
		.message = message,
		.detail = detail,
		.hint = hint,
	};

	return it;
}

/*
 * Make the finding of a check that lacks what it judges by.  Without a warning it
 * is shown by plans only.
 */
MrbFinding
mrb_finding_unknown(const char *name, const char *warning, const char *message,
					const char *detail, const char *hint, const char *risk)
{
	MrbFinding	it = mrb_finding_warn(name, warning, message, detail, hint);

	it.severity = MRB_UNKNOWN;
	it.risk = risk;
	return it;
}

/*
 * Whether a finding warns.
 */
bool
mrb_finding_warns(const MrbFinding *finding)
{
	return finding->severity == MRB_WARNS ||
		(finding->severity == MRB_UNKNOWN && finding->warning != NULL);
}

/*
 * Turn a failure whose risk is accepted into a warning.
 */
MrbFinding
mrb_finding_accept(const MrbFinding *failure, const char *warning,
				   const char *hint, const char *risk)
{
	MrbFinding	it = mrb_finding_warn(failure->name, warning, failure->message,
									  failure->detail, hint);

	it.risk = risk;
	return it;
}

/*
 * Return the seconds until a time, rounded up.
 */
int
mrb_finding_seconds_until(TimestampTz at)
{
	TimestampTz now = GetCurrentTimestamp();

	if (at <= now)
		return 1;
	return (int) Min((at - now + USECS_PER_SEC - 1) / USECS_PER_SEC, INT_MAX);
}

/*
 * Whether a finding refuses the operation.
 */
bool
mrb_finding_refuses(MrbFinding finding, MrbFinding *first)
{
	*first = finding;
	return finding.severity == MRB_FAILS;
}

/*
 * Raise a finding that fails, warn of one that warns.
 */
void
mrb_finding_enforce(const MrbFinding *finding)
{
	if (finding->severity == MRB_FAILS)
		mrb_raise_after(finding->condition, finding->retry_after, finding->message,
						finding->detail, finding->hint);
	if (mrb_finding_warns(finding))
		ereport(WARNING,
				(errmsg_internal("%s", finding->message),
				 finding->detail ? errdetail_internal("%s", finding->detail) : 0,
				 errhint("%s", mrb_function_name_qualify(finding->hint))));
}
