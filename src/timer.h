/*-------------------------------------------------------------------------
 *
 * timer.h
 *	  What the dispatcher does later, and what time it is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_TIMER_H
#define MRB_TIMER_H

#include "datatype/timestamp.h"
#include "lib/pairingheap.h"

typedef struct MrbTimer MrbTimer;
typedef void (*MrbTimerCallback) (MrbTimer *timer);

/* Embedded in what it belongs to; all zero is a timer that is not set. */
struct MrbTimer
{
	pairingheap_node node;
	TimestampTz at;
	bool		set;
	MrbTimerCallback fire;
};

/* The time of this turn, taken by mrb_timer_run(). */
extern TimestampTz mrb_timer_now(void);

extern void mrb_timer_set(MrbTimer *timer, int after_ms,
						  MrbTimerCallback fire);
extern void mrb_timer_cancel(MrbTimer *timer);

/* Take the time and fire what is due. */
extern void mrb_timer_run(void);

/* Milliseconds until the next timer is due, at most most. */
extern long mrb_timer_wait(long most);

#endif							/* MRB_TIMER_H */
