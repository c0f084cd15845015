/*-------------------------------------------------------------------------
 *
 * timer.c
 *	  What the dispatcher does later, and what time it is.
 *
 * Whatever measures a distance in time uses ticks, the microseconds of the
 * monotonic clock: when somebody sets the wall clock, nothing fires early and
 * nothing waits for hours.  The wall clock is only for what is stored or
 * shown.
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
 * The monotonic clock, now.
 */
MrbTick
mrb_timer_read(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (MrbTick) at.tv_sec * USECS_PER_SEC + at.tv_nsec / 1000;
}

/*
 * The monotonic clock as it was at the beginning of this turn.
 */
MrbTick
mrb_timer_now(void)
{
	if (now == 0)
		now = mrb_timer_read();
	return now;
}

/*
 * The wall clock as it was at the beginning of this turn.
 */
TimestampTz
mrb_timer_wall(void)
{
	if (wall == 0)
		wall = GetCurrentTimestamp();
	return wall;
}

/*
 * What the wall clock will show at a tick.
 */
TimestampTz
mrb_timer_to_wall(MrbTick at)
{
	return GetCurrentTimestamp() + (at - mrb_timer_read());
}

/*
 * The tick at which the wall clock will show a time, unless it is set.
 */
MrbTick
mrb_timer_from_wall(TimestampTz at)
{
	if (TIMESTAMP_NOT_FINITE(at))
		return TIMESTAMP_IS_NOEND(at) ? MRB_TICK_NEVER : 0;
	return mrb_timer_read() + (at - GetCurrentTimestamp());
}

/*
 * Milliseconds from one tick to another, rounded up; 0 when that is past.
 */
long
mrb_tick_ms(MrbTick from, MrbTick to)
{
	if (to <= from)
		return 0;
	return (long) Min((to - from - 1) / 1000 + 1, (MrbTick) INT_MAX);
}

void
mrb_timer_set(MrbTimer *timer, int after_ms, MrbTimerCallback fire)
{
	mrb_timer_cancel(timer);
	timer->at = mrb_tick_plus(mrb_timer_read(), after_ms);
	timer->fire = fire;
	timer->set = true;
	pairingheap_add(&timers, &timer->node);
}

void
mrb_timer_cancel(MrbTimer *timer)
{
	if (!timer->set)
		return;
	pairingheap_remove(&timers, &timer->node);
	timer->set = false;
}

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

long
mrb_timer_wait(long most)
{
	MrbTimer   *timer;

	if (pairingheap_is_empty(&timers))
		return most;
	timer = pairingheap_container(MrbTimer, node, pairingheap_first(&timers));
	return Min(mrb_tick_ms(mrb_timer_read(), timer->at), most);
}

/*
 * The heap gives its greatest first; the greatest is the earliest.
 */
static int
compare(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	MrbTick		at_a = pairingheap_const_container(MrbTimer, node, a)->at;
	MrbTick		at_b = pairingheap_const_container(MrbTimer, node, b)->at;

	return at_a < at_b ? 1 : at_a > at_b ? -1 : 0;
}
