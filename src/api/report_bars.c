/*-------------------------------------------------------------------------
 *
 * report_bars.c
 *	  Bars of the versions that were served, from miosa.report_served().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/report_bars.h"
#include "common/query.h"

/* Columns of MRB_REPORT_BARS_SELECT, from 1. */
enum
{
	BAR_START = 1,
	BAR_END,
	BAR_VERSION,
	BAR_BEGAN,
	BAR_ENDED,
	BAR_COLOR
};

StaticAssertDecl(BAR_COLOR == MRB_REPORT_BARS_COLUMNS, "a column has no name");

/*
 * Read bars.
 */
MrbReportBar *
mrb_report_bars_read(uint64 n)
{
	MrbReportBar *bars = palloc(n * sizeof(MrbReportBar));

	for (uint64 i = 0; i < n; i++)
		bars[i] = (MrbReportBar)
	{
		.start = atof(mrb_query_text(i, BAR_START)),
			.end = atof(mrb_query_text(i, BAR_END)),
			.version = mrb_query_text(i, BAR_VERSION),
			.began = mrb_query_text(i, BAR_BEGAN),
			.ended = mrb_query_text(i, BAR_ENDED),
			.color = mrb_query_int32(i, BAR_COLOR, 0),
	};
	return bars;
}
