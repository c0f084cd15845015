/*-------------------------------------------------------------------------
 *
 * served_at.h
 *	  The version that served at a moment.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SERVED_AT_H
#define MRB_SERVED_AT_H

#include "operation/caller_request.h"
#include "operation/deployment.h"
#include "operation/finding.h"

/* Check the moment of a request, if it has one; raises INVALID_ARGUMENT. */
extern void mrb_served_at_check(const MrbCallerRequest *request);

/*
 * Find the version that served then, palloc'd; the finding fails if none did, or
 * if that is not known.
 */
extern MrbFinding mrb_served_at_find(const MrbDeployment *deployment,
									 TimestampTz at, char **version_id);

#endif							/* MRB_SERVED_AT_H */
