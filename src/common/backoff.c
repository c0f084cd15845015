/*-------------------------------------------------------------------------
 *
 * backoff.c
 *	  Delays that grow with consecutive failures.
 *
 * Jitter keeps endpoints that failed at the same time from being retried at the
 * same time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"

#include "common/backoff.h"

/* Delays reach their maximum earlier; more doublings would overflow. */
#define MAX_DOUBLINGS 20

/*
 * Return the delay without jitter.
 */
int
mrb_backoff_delay(int min_ms, int max_ms, int failures)
{
	int			doublings = Min(Max(failures - 1, 0), MAX_DOUBLINGS);

	return (int) Min((int64) min_ms << doublings, max_ms);
}

/*
 * Return a random value between zero and the delay.
 */
int
mrb_backoff_full_jitter(int min_ms, int max_ms, int failures)
{
	return (int) (mrb_backoff_delay(min_ms, max_ms, failures) *
				  pg_prng_double(&pg_global_prng_state));
}

/*
 * Return half of the delay plus a random part of the other half.
 */
int
mrb_backoff_equal_jitter(int min_ms, int max_ms, int failures)
{
	return (int) (mrb_backoff_delay(min_ms, max_ms, failures) *
				  (0.5 + 0.5 * pg_prng_double(&pg_global_prng_state)));
}
