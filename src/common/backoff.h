/*-------------------------------------------------------------------------
 *
 * backoff.h
 *	  Delays that grow with consecutive failures.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_BACKOFF_H
#define MRB_BACKOFF_H

/*
 * Return the milliseconds to wait after so many consecutive failures: min_ms
 * after the first one, doubled with each further one, at most max_ms.
 */
extern int	mrb_backoff_delay(int min_ms, int max_ms, int failures);

/* The same with jitter: a random part of the delay, or of its second half. */
extern int	mrb_backoff_full_jitter(int min_ms, int max_ms, int failures);
extern int	mrb_backoff_equal_jitter(int min_ms, int max_ms, int failures);

#endif							/* MRB_BACKOFF_H */
