/*-------------------------------------------------------------------------
 *
 * metric_output.h
 *	  Metrics as rows, or as text for Prometheus.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_METRIC_OUTPUT_H
#define MRB_METRIC_OUTPUT_H

#include "lib/stringinfo.h"
#include "nodes/execnodes.h"

typedef enum MrbMetricType
{
	MRB_METRIC_GAUGE,
	MRB_METRIC_COUNTER,
	MRB_METRIC_HISTOGRAM
} MrbMetricType;

/* Metrics of one name. */
typedef struct MrbMetricFamily
{
	const char *name;
	MrbMetricType type;
	const char *help;			/* a sentence without a full stop */
} MrbMetricFamily;

/* Labels of a metric, made once for all metrics that have them. */
typedef struct MrbMetricLabels
{
	const char *text;			/* a="1",b="2"; empty: none */
	Datum		json;			/* as jsonb; made for rows alone */
	int			n;
	const char *const *names;
	const char *const *values;
} MrbMetricLabels;

/* Where metrics go: to the rows of a function, else into a text. */
typedef struct MrbMetricOutput
{
	ReturnSetInfo *rows;
	StringInfoData text;
	const MrbMetricFamily *family;	/* under way */
	bool		headed;			/* its HELP and TYPE are written */
	Datum		type;			/* the same for rows */
	Datum		help;
} MrbMetricOutput;

extern void mrb_metric_output_init(MrbMetricOutput *output, ReturnSetInfo *rows);

/* Make room for a text of so many bytes, and return the text. */
extern void mrb_metric_output_expect(MrbMetricOutput *output, Size bytes);
extern text * mrb_metric_output_text(MrbMetricOutput *output);

/* The names and values must last as long as the labels. */
extern MrbMetricLabels mrb_metric_output_labels(const MrbMetricOutput *output, int n,
												const char *const *names,
												const char *const *values);

/*
 * Begin a family.  All metrics of a name follow one after the other; a family
 * without any is not shown.
 */
extern void mrb_metric_output_family(MrbMetricOutput *output, const MrbMetricFamily *family);

/*
 * Put a metric of the family, with its suffix, its labels (NULL: none) and one
 * more if it has a name.
 */
extern void mrb_metric_output_put(MrbMetricOutput *output, const char *suffix,
								  const MrbMetricLabels *labels, const char *name,
								  const char *value, double number);

#endif							/* MRB_METRIC_OUTPUT_H */
