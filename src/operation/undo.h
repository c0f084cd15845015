/*-------------------------------------------------------------------------
 *
 * undo.h
 *	  The operation that is to be undone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_UNDO_H
#define MRB_UNDO_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#include "operation/deployment.h"

/* What its audit event says. */
typedef struct MrbUndone
{
	int64		seq;
	bool		is_undo;		/* it undid another one */
	char	   *previous_version_id;	/* NULL: none was active */
	char	   *target_version_id;	/* NULL: it unpublished the deployment */
	TimestampTz at;
	Jsonb	   *marks;
} MrbUndone;

/* Find the operation that seen->request names, or the newest one that moved. */
extern MrbFinding mrb_undo_choose(const MrbDeployment *seen, MrbUndone *undone);

/* The finding whether no operation has moved the deployment since. */
extern MrbFinding mrb_undo_check_newest(const MrbDeployment *now,
										const MrbUndone *undone);

#endif							/* MRB_UNDO_H */
