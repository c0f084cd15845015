/*-------------------------------------------------------------------------
 *
 * histogram.c
 *	  Latency histogram with buckets on a logarithmic scale.
 *
 * The width of a bucket is at most an eighth of its lower bound, so percentiles
 * are accurate within 12 %.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "port/pg_bitutils.h"

#include "common/histogram.h"

/* Latencies below 2^6 = 64 microseconds share the first bucket. */
#define LOWEST_BIT 6

/* Each power of two above is divided into 8 buckets. */
#define CUT_BITS 3
#define CUTS (1 << CUT_BITS)

static int	bucket_of(int64 microseconds);
static double lower_bound(int bucket);

/*
 * Count one latency.
 */
void
mrb_histogram_add(MrbHistogram *histogram, int64 microseconds)
{
	histogram->counts[bucket_of(microseconds)]++;
}

/*
 * Return the latency in milliseconds that this part (0 to 1) of the counted ones
 * does not exceed, interpolated within its bucket; -1 if nothing was counted.
 */
double
mrb_histogram_percentile(const MrbHistogram *histogram, double part)
{
	uint64		total = 0;
	uint64		seen = 0;
	double		wanted;

	for (int i = 0; i < MRB_LATENCY_CLASSES; i++)
		total += histogram->counts[i];
	if (total == 0)
		return -1;
	wanted = Max(1.0, ceil(part * total));
	for (int i = 0; i < MRB_LATENCY_CLASSES; i++)
	{
		double		low = lower_bound(i);

		if (seen + histogram->counts[i] >= wanted)
			return (low + (lower_bound(i + 1) - low) *
					(wanted - seen - 0.5) / histogram->counts[i]) / 1000.0;
		seen += histogram->counts[i];
	}
	return -1;
}

/*
 * Return the bucket of a latency.
 */
static int
bucket_of(int64 microseconds)
{
	int			bit;

	if (microseconds < (1 << LOWEST_BIT))
		return 0;
	bit = pg_leftmost_one_pos64(microseconds);
	return Min(MRB_LATENCY_CLASSES - 1,
			   1 + (bit - LOWEST_BIT) * CUTS +
			   (int) ((microseconds >> (bit - CUT_BITS)) & (CUTS - 1)));
}

/*
 * Return the lower bound of a bucket in microseconds.
 */
static double
lower_bound(int bucket)
{
	if (bucket == 0)
		return 0;
	bucket--;
	return ldexp(CUTS + bucket % CUTS, bucket / CUTS + LOWEST_BIT - CUT_BITS);
}
