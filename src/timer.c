/*-------------------------------------------------------------------------
 *
 * timer.c
 *	  What the dispatcher does later, and what time it is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "timer.h"

static int	compare(const pairingheap_node *a, const pairingheap_node *b,
					void *arg);

static pairingheap timers = {.ph_compare = compare};
static TimestampTz now = 0;

TimestampTz
mrb_timer_now(void)
{
	if (now == 0)
		now = GetCurrentTimestamp();
	return now;
}

void
mrb_timer_set(MrbTimer *timer, int after_ms, MrbTimerCallback fire)
{
	mrb_timer_cancel(timer);
	timer->at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), after_ms);
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
	now = GetCurrentTimestamp();
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
	long		wait;

	if (pairingheap_is_empty(&timers))
		return most;
	timer = pairingheap_container(MrbTimer, node, pairingheap_first(&timers));
	wait = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), timer->at);
	return Min(wait, most);
}

/*
 * The heap gives its greatest first; the greatest is the earliest.
 */
static int
compare(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	TimestampTz at_a = pairingheap_const_container(MrbTimer, node, a)->at;
	TimestampTz at_b = pairingheap_const_container(MrbTimer, node, b)->at;

	return at_a < at_b ? 1 : at_a > at_b ? -1 : 0;
}
