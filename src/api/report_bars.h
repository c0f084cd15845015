/*-------------------------------------------------------------------------
 *
 * report_bars.h
 *	  Bars of the versions that were served, from miosa.report_served().
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_REPORT_BARS_H
#define MRB_REPORT_BARS_H

#include "api/report_svg.h"

/* The first columns of a query of bars; s is miosa.report_served(). */
#define MRB_REPORT_BARS_SELECT \
	"SELECT s.start::text, s.\"end\"::text, s.version, s.began, s.ended, s.color"
#define MRB_REPORT_BARS_COLUMNS 6

/* Read the n rows of such a query, one or more. */
extern MrbReportBar *mrb_report_bars_read(uint64 n);

#endif							/* MRB_REPORT_BARS_H */
