/*-------------------------------------------------------------------------
 *
 * drain.h
 *	  Draining of versions that are not needed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DRAIN_H
#define MRB_DRAIN_H

#include "datatype/timestamp.h"

/* When a version that is idle since then is drained; DT_NOEND: never. */
extern TimestampTz mrb_drain_due_at(TimestampTz since);

/*
 * Begin or end the draining of a version.  False if that is not possible yet.
 * The caller holds the lock of the deployment's row.
 */
extern bool mrb_drain_begin(const char *deployment_id,
							const char *version_id);
extern bool mrb_drain_end(const char *deployment_id, const char *version_id);

#endif							/* MRB_DRAIN_H */
