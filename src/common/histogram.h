/*-------------------------------------------------------------------------
 *
 * histogram.h
 *	  Latency histogram with buckets on a logarithmic scale.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_HISTOGRAM_H
#define MRB_HISTOGRAM_H

/* One bucket for short latencies, then 8 per power of two, up to 71 minutes. */
#define MRB_LATENCY_CLASSES (1 + 26 * 8)

/* An empty histogram is all zeroes. */
typedef struct MrbHistogram
{
	uint32		counts[MRB_LATENCY_CLASSES];
} MrbHistogram;

/* Count one latency. */
extern void mrb_histogram_add(MrbHistogram *histogram, int64 microseconds);

/*
 * Return the milliseconds that this part (0 to 1) of the latencies does not
 * exceed; -1: none were counted.
 */
extern double mrb_histogram_percentile(const MrbHistogram *histogram,
									   double part);

#endif							/* MRB_HISTOGRAM_H */
