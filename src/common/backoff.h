/*-------------------------------------------------------------------------
 *
 * backoff.h
 *	  Delays that grow with every failure in a row.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_BACKOFF_H
#define MRB_BACKOFF_H

/*
 * Milliseconds to wait after so many failures in a row: min_ms after the
 * first one, doubled with each further one, max_ms at most.
 */
extern int	mrb_backoff_delay(int min_ms, int max_ms, int failures);

/* A random part of that: of the whole, and of its second half. */
extern int	mrb_backoff_full_jitter(int min_ms, int max_ms, int failures);
extern int	mrb_backoff_equal_jitter(int min_ms, int max_ms, int failures);

#endif							/* MRB_BACKOFF_H */
