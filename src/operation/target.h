/*-------------------------------------------------------------------------
 *
 * target.h
 *	  Choose the version to go to, before any lock is taken.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_TARGET_H
#define MRB_TARGET_H

#include "lib/stringinfo.h"
#include "operation/checks.h"
#include "operation/deployment.h"

typedef struct MrbTarget
{
	const char *id;				/* NULL: none qualifies */
	const char *rule;			/* how it was found */
	const char *skipped;		/* JSON array of versions passed over, or NULL */
	const char *skipped_text;	/* the same for people */
	MrbFinding	artifact;		/* what storage says of it */
	bool		verified;		/* storage was asked just now and has it */
} MrbTarget;

/* The version that the caller named and that look found. */
extern void mrb_target_named(const MrbDeployment *deployment, bool promotion,
							 bool accept_unverified, MrbTarget *choice);

/* The same where storage cannot be waited for: our own record decides. */
extern void mrb_target_recorded(const MrbDeployment *deployment,
								MrbTarget *choice);

/* The version to return to when the caller named none. */
extern void mrb_target_default(const MrbDeployment *deployment,
							   bool accept_unverified, MrbTarget *choice);

/* That nothing was chosen, as a finding. */
extern MrbFinding mrb_target_check_previous_version(const MrbDeployment *deployment,
													const MrbTarget *choice);

#endif							/* MRB_TARGET_H */
