/*-------------------------------------------------------------------------
 *
 * watch.h
 *	  What an alert about a deployment may do.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_WATCH_H
#define MRB_WATCH_H

#include "utils/jsonb.h"

typedef enum MrbWatchAct
{
	MRB_WATCH_NOTIFY,			/* only send it to hooks */
	MRB_WATCH_HOLD,
	MRB_WATCH_ROLLBACK,
} MrbWatchAct;

typedef struct MrbWatchVerdict
{
	MrbWatchAct act;
	const char *active_version_id;	/* as judged; NULL: none is active */
	const char *why;			/* a sentence without its end */
} MrbWatchVerdict;

/*
 * Judge an alert that fires, by its labels and its start.  What it says can be
 * relied on under the deployment's lock.
 */
extern MrbWatchVerdict mrb_watch_judge(const char *deployment_id, Jsonb *labels,
									   TimestampTz starts_at);

#endif							/* MRB_WATCH_H */
