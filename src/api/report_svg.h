/*-------------------------------------------------------------------------
 *
 * report_svg.h
 *	  Pictures of a report.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_REPORT_SVG_H
#define MRB_REPORT_SVG_H

#include "lib/stringinfo.h"

/* For which time routes led to a version: parts of the period. */
typedef struct MrbReportBar
{
	double		start;
	double		end;
	char	   *version;
	char	   *began;
	char	   *ended;
	int			color;			/* 0 to 6; 0: no version */
} MrbReportBar;

/* How edges converged: milliseconds until each tenth of them. */
typedef struct MrbReportCurve
{
	char	   *title;
	char	   *points;			/* separated by spaces */
	char	   *p50_ms;			/* NULL: not reached */
	char	   *p99_ms;
	char	   *last_ms;
	char	   *last_edge;
} MrbReportCurve;

/* Healthy instances of a version: pairs of a part of the period and a number. */
typedef struct MrbReportLine
{
	char	   *version;
	char	   *first_at;
	char	   *most_at;
	int64		most;
	int			color;			/* 1 to 6 */
	char	   *points;			/* separated by spaces */
} MrbReportLine;

extern void mrb_report_svg_bars(StringInfo page, const MrbReportBar *bars, int n,
								const char *began, const char *ended);
extern void mrb_report_svg_curve(StringInfo page, const MrbReportCurve *curve,
								 int number);
extern void mrb_report_svg_lines(StringInfo page, const MrbReportLine *lines, int n,
								 const char *began, const char *ended);

#endif							/* MRB_REPORT_SVG_H */
