/*-------------------------------------------------------------------------
 *
 * timer.h
 *	  Timers and clocks of the dispatcher.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_TIMER_H
#define MRB_TIMER_H

#include "datatype/timestamp.h"
#include "lib/pairingheap.h"

/* Microseconds of the monotonic clock; 0 is before every other tick. */
typedef int64 MrbTick;

#define MRB_TICK_NEVER PG_INT64_MAX

#define mrb_timer_add_ms(tick, ms) ((tick) + (MrbTick) (ms) * 1000)
#define mrb_timer_passed(from, to, ms) ((to) - (from) >= (MrbTick) (ms) * 1000)

typedef struct MrbTimer MrbTimer;
typedef void (*MrbTimerCallback) (MrbTimer *timer);

/* Embedded in its owner's struct; all zeroes is a timer that is not set. */
struct MrbTimer
{
	pairingheap_node node;
	MrbTick		at;
	bool		set;
	MrbTimerCallback fire;
};

/* The monotonic clock: now, and when mrb_timer_run() was called. */
extern MrbTick mrb_timer_read(void);
extern MrbTick mrb_timer_now(void);
extern long mrb_timer_ms_between(MrbTick from, MrbTick to);

/* The wall clock, when mrb_timer_run() was called, and conversions. */
extern TimestampTz mrb_timer_wall(void);
extern TimestampTz mrb_timer_to_wall(MrbTick at);
extern MrbTick mrb_timer_from_wall(TimestampTz at);

extern void mrb_timer_set(MrbTimer *timer, int after_ms,
						  MrbTimerCallback fire);
extern void mrb_timer_cancel(MrbTimer *timer);

/* Read the clocks and fire the timers that are due. */
extern void mrb_timer_run(void);

/* Return the milliseconds until the next timer is due, at most most. */
extern long mrb_timer_wait(long most);

#endif							/* MRB_TIMER_H */
