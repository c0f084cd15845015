/*-------------------------------------------------------------------------
 *
 * alerts.h
 *	  Sends alerts to hooks, and notes those that found their deployment locked.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ALERTS_H
#define MRB_ALERTS_H

#include "common/timer.h"
#include "dispatcher/feed.h"

typedef struct MrbAlerts
{
	bool		due;			/* there may be alerts without a number or
								 * note */
	bool		late;			/* some wait for the lock of their deployment */
	MrbTimer	timer;			/* for these, and after a step that failed */
	MrbFeed		feed;
} MrbAlerts;

extern void mrb_alerts_init(MrbAlerts *alerts);

/* A pass has found that there are new ones. */
extern void mrb_alerts_note(MrbAlerts *alerts);

/* Number and note new ones, and send what hooks lack. */
extern void mrb_alerts_step(MrbAlerts *alerts);

#endif							/* MRB_ALERTS_H */
