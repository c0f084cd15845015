/*-------------------------------------------------------------------------
 *
 * finding.h
 *	  What a check found.
 *
 * A rollback enforces one finding after another; a plan lists them all, and a
 * group returns the one that refuses a target.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_FINDING_H
#define MRB_FINDING_H

#include "datatype/timestamp.h"

#include "base/errors.h"

typedef enum MrbSeverity
{
	MRB_HOLDS,
	MRB_UNKNOWN,				/* proceeds, since nobody knows; warns if it
								 * has a warning */
	MRB_WARNS,					/* proceeds with a warning */
	MRB_FAILS,					/* refused with a condition */
} MrbSeverity;

typedef struct MrbFinding
{
	const char *name;			/* its name in miosa_plan() */
	MrbSeverity severity;
	MrbCondition condition;		/* if it fails */
	int			retry_after;	/* seconds after which it may hold; 0: the
								 * condition's usual advice */
	const char *warning;		/* code, if it warns; else NULL */
	const char *message;		/* the texts, unless it holds */
	const char *detail;
	const char *hint;
	const char *risk;			/* member of the audit event's marks, if it
								 * warns of a risk that is taken; else NULL */
} MrbFinding;

/* Make a finding; the texts are not copied. */
extern MrbFinding mrb_finding_hold(const char *name);
extern MrbFinding mrb_finding_fail(const char *name, MrbCondition condition,
								   const char *message, const char *detail,
								   const char *hint);
extern MrbFinding mrb_finding_warn(const char *name, const char *warning,
								   const char *message, const char *detail,
								   const char *hint);

extern MrbFinding mrb_finding_unknown(const char *name, const char *warning,
									  const char *message, const char *detail,
									  const char *hint, const char *risk);

/* Whether the operation proceeds with a warning. */
extern bool mrb_finding_warns(const MrbFinding *finding);

/*
 * The warning that a failure becomes whose risk is accepted.  risk is a member
 * of a JSON object.
 */
extern MrbFinding mrb_finding_accept(const MrbFinding *failure,
									 const char *warning, const char *hint,
									 const char *risk);

/* Seconds until a time, at least 1, for a failure that ends by itself. */
extern int	mrb_finding_seconds_until(TimestampTz at);

/*
 * Whether it refuses the operation; keeps it in first.  So a chain of checks
 * with "||" stops at the first one that does.
 */
extern bool mrb_finding_refuses(MrbFinding finding, MrbFinding *first);

/* Raise a finding that fails, warn of one that warns. */
extern void mrb_finding_enforce(const MrbFinding *finding);

#endif							/* MRB_FINDING_H */
