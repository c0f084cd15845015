/*-------------------------------------------------------------------------
 *
 * histogram.h
 *	  How long things took: a histogram with classes of a logarithmic scale.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_HISTOGRAM_H
#define MRB_HISTOGRAM_H

/* One for what is quick, then 8 for every doubling, up to 71 minutes. */
#define MRB_LATENCY_CLASSES (1 + 26 * 8)

/* All zero is an empty one. */
typedef struct MrbHistogram
{
	uint32		counts[MRB_LATENCY_CLASSES];
} MrbHistogram;

extern void mrb_histogram_add(MrbHistogram *latency, int64 microseconds);

/* Milliseconds that this part (0 to 1) has not exceeded; -1: it is empty. */
extern double mrb_histogram_percentile(const MrbHistogram *latency, double part);

#endif							/* MRB_HISTOGRAM_H */
