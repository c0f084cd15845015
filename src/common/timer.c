/*-------------------------------------------------------------------------
 *
 * timer.c
 *	  Timers and clocks of the dispatcher.
 *
 * Durations are measured in ticks, the microseconds of the monotonic clock, so
 * that setting the wall clock neither fires a timer early nor delays it for
 * hours.  The wall clock is only used for times that are stored or shown.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>
#include <time.h>

#include "utils/timestamp.h"

#include "common/timer.h"

static int	compare(const pairingheap_node *a, const pairingheap_node *b,
					void *arg);

static pairingheap timers = {.ph_compare = compare};
static MrbTick now = 0;
static TimestampTz wall = 0;

/*
 * Read the monotonic clock.
 */
MrbTick
mrb_timer_read(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (MrbTick) at.tv_sec * USECS_PER_SEC + at.tv_nsec / 1000;
}

/*
 * Return the tick at which this turn of the loop began.
 */
MrbTick
mrb_timer_now(void)
{
	if (now == 0)
		now = mrb_timer_read();
	return now;
}

/*
 * Return the wall clock's time at which this turn of the loop began.
 */
TimestampTz
mrb_timer_wall(void)
{
	if (wall == 0)
		wall = GetCurrentTimestamp();
	return wall;
}

/*
 * Convert a tick to the wall clock's time.
 */
TimestampTz
mrb_timer_to_wall(MrbTick at)
{
	return GetCurrentTimestamp() + (at - mrb_timer_read());
}

/*
 * Convert the wall clock's time to a tick, assuming that the clock is not set.
 */
MrbTick
mrb_timer_from_wall(TimestampTz at)
{
	if (TIMESTAMP_NOT_FINITE(at))
		return TIMESTAMP_IS_NOEND(at) ? MRB_TICK_NEVER : 0;
	return mrb_timer_read() + (at - GetCurrentTimestamp());
}

/*
 * Return the milliseconds between two ticks, rounded up; 0 if to is not after
 * from.
 */
long
mrb_timer_ms_between(MrbTick from, MrbTick to)
{
	if (to <= from)
		return 0;
	return (long) Min((to - from - 1) / 1000 + 1, (MrbTick) INT_MAX);
}

/*
 * Set a timer, or set it anew, to fire after some milliseconds.
 */
void
mrb_timer_set(MrbTimer *timer, int after_ms, MrbTimerCallback fire)
{
	mrb_timer_cancel(timer);
	timer->at = mrb_timer_add_ms(mrb_timer_read(), after_ms);
	timer->fire = fire;
	timer->set = true;
	pairingheap_add(&timers, &timer->node);
}

/*
 * Cancel a timer, if it is set.
 */
void
mrb_timer_cancel(MrbTimer *timer)
{
	if (!timer->set)
		return;
	pairingheap_remove(&timers, &timer->node);
	timer->set = false;
}

/*
 * Read both clocks and fire every timer that is due.
 */
void
mrb_timer_run(void)
{
	now = mrb_timer_read();
	wall = GetCurrentTimestamp();
	while (!pairingheap_is_empty(&timers))
	{
		MrbTimer   *timer = pairingheap_container(MrbTimer, node,
												  pairingheap_first(&timers));

		if (timer->at > now)
			break;
		mrb_timer_cancel(timer);
		timer->fire(timer);
	}
}

/*
 * Return the milliseconds until the next timer is due, at most most.
 */
long
mrb_timer_wait(long most)
{
	MrbTimer   *timer;

	if (pairingheap_is_empty(&timers))
		return most;
	timer = pairingheap_container(MrbTimer, node, pairingheap_first(&timers));
	return Min(mrb_timer_ms_between(mrb_timer_read(), timer->at), most);
}

/*
 * Compare two timers for the heap, which returns its greatest element first: the
 * earliest timer counts as the greatest.
 */
static int
compare(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	MrbTick		at_a = pairingheap_const_container(MrbTimer, node, a)->at;
	MrbTick		at_b = pairingheap_const_container(MrbTimer, node, b)->at;

	return at_a < at_b ? 1 : at_a > at_b ? -1 : 0;
}
