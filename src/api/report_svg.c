/*-------------------------------------------------------------------------
 *
 * report_svg.c
 *	  Pictures of a report, as SVG inside of the page.
 *
 * Each has a title and a description for those who do not see it; colors come
 * from the page's style sheet.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "api/html.h"
#include "api/report_svg.h"

/* Sizes of the bars. */
#define BAR_WIDTH 900
#define BAR_HEIGHT 40

/* A bar narrower than this has no text in it; and per character. */
#define LABEL_WIDTH 24
#define CHARACTER_WIDTH 9

/* Sizes of a curve: the frame, and its place in the picture. */
#define CURVE_LEFT 44
#define CURVE_TOP 12
#define CURVE_WIDTH 600
#define CURVE_HEIGHT 150
#define CURVE_RIGHT 24
#define CURVE_BOTTOM 40

/* Tenths. */
#define POINTS_MAX 10

static void begin(StringInfo page, int width, int height, const char *id,
				  const char *title, const char *description);
static int	parse_points(const char *text_value, double *points);
static double round_up(double value);
static void append_frame(StringInfo page, double most);
static void append_steps(StringInfo page, const double *points, int n, double most);
static void append_mark(StringInfo page, const char *name, const char *ms,
						double most, int row);
static double x_of(double ms, double most);
static void append_line(StringInfo page, const MrbReportLine *line, double most);
static void append_numbers(StringInfo page, int64 most, const char *began,
						   const char *ended);

/*
 * Append which version was served when.
 */
void
mrb_report_svg_bars(StringInfo page, const MrbReportBar *bars, int n,
					const char *began, const char *ended)
{
	StringInfoData description;

	initStringInfo(&description);
	for (int i = 0; i < n; i++)
		appendStringInfo(&description, "%s%s from %s to %s", i > 0 ? "; " : "",
						 bars[i].version, bars[i].began, bars[i].ended);
	begin(page, BAR_WIDTH, BAR_HEIGHT + 24, "served", "Which version was served when",
		  description.data);
	for (int i = 0; i < n; i++)
	{
		double		x = bars[i].start * BAR_WIDTH;
		double		width = Max((bars[i].end - bars[i].start) * BAR_WIDTH, 1.5);
		int			length = strlen(bars[i].version);

		appendStringInfo(page, "<g><title>");
		mrb_html_append(page, bars[i].version);
		appendStringInfo(page, ": %s to %s</title>", bars[i].began, bars[i].ended);
		appendStringInfo(page, "<rect class=\"c%d\" x=\"%.2f\" y=\"0\" width=\"%.2f\" height=\"%d\"/>",
						 bars[i].color, x, width, BAR_HEIGHT);
		if (width >= LABEL_WIDTH && width >= length * CHARACTER_WIDTH)
		{
			appendStringInfo(page, "<text class=\"in\" x=\"%.2f\" y=\"%d\">",
							 x + width / 2, BAR_HEIGHT / 2 + 5);
			mrb_html_append(page, bars[i].version);
			appendStringInfoString(page, "</text>");
		}
		appendStringInfoString(page, "</g>\n");
	}
	appendStringInfo(page, "<text x=\"0\" y=\"%d\">", BAR_HEIGHT + 18);
	mrb_html_append(page, began);
	appendStringInfo(page, "</text><text class=\"end\" x=\"%d\" y=\"%d\">",
					 BAR_WIDTH, BAR_HEIGHT + 18);
	mrb_html_append(page, ended);
	appendStringInfoString(page, "</text></svg>\n");
}

/*
 * Append how edges converged: the share that had the route, over time.
 */
void
mrb_report_svg_curve(StringInfo page, const MrbReportCurve *curve, int number)
{
	double		points[POINTS_MAX];
	int			n = parse_points(curve->points, points);
	double		most = round_up(curve->last_ms != NULL ? atof(curve->last_ms) : 1);
	char	   *description;

	description = psprintf("Half of the edges after %s ms, 99 of 100 after %s ms, the last one, %s, after %s ms",
						   curve->p50_ms != NULL ? curve->p50_ms : "an unknown number of",
						   curve->p99_ms != NULL ? curve->p99_ms : "an unknown number of",
						   curve->last_edge != NULL ? curve->last_edge : "unknown",
						   curve->last_ms != NULL ? curve->last_ms : "an unknown number of");
	begin(page, CURVE_LEFT + CURVE_WIDTH + CURVE_RIGHT,
		  CURVE_TOP + CURVE_HEIGHT + CURVE_BOTTOM,
		  psprintf("curve%d", number), curve->title, description);
	append_frame(page, most);
	append_steps(page, points, n, most);
	append_mark(page, "half", curve->p50_ms, most, 3);
	append_mark(page, "99 of 100", curve->p99_ms, most, 2);
	if (curve->last_ms != NULL)
		append_mark(page, psprintf("last: %s,", curve->last_edge), curve->last_ms,
					most, 1);
	appendStringInfoString(page, "</svg>\n");
}

/*
 * Append how many instances of each version were healthy, over time.
 */
void
mrb_report_svg_lines(StringInfo page, const MrbReportLine *lines, int n,
					 const char *began, const char *ended)
{
	StringInfoData description;
	int64		most = 1;

	initStringInfo(&description);
	for (int i = 0; i < n; i++)
	{
		appendStringInfo(&description, "%s%s: from %s on, at most " INT64_FORMAT " at %s",
						 i > 0 ? "; " : "", lines[i].version, lines[i].first_at,
						 lines[i].most, lines[i].most_at);
		most = Max(most, lines[i].most);
	}
	begin(page, CURVE_LEFT + CURVE_WIDTH + CURVE_RIGHT,
		  CURVE_TOP + CURVE_HEIGHT + CURVE_BOTTOM, "capacity",
		  "Healthy instances over time", description.data);
	append_numbers(page, most, began, ended);
	for (int i = 0; i < n; i++)
		append_line(page, &lines[i], most);
	appendStringInfoString(page, "</svg>\n");
}

/*
 * Append the frame with the number of instances and the ends of the period.
 */
static void
append_numbers(StringInfo page, int64 most, const char *began, const char *ended)
{
	int			bottom = CURVE_TOP + CURVE_HEIGHT;

	for (int i = 0; i <= 1; i++)
		appendStringInfo(page, "<line class=\"grid\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/><text class=\"end\" x=\"%d\" y=\"%d\">" INT64_FORMAT "</text>",
						 CURVE_LEFT, bottom - CURVE_HEIGHT * i, CURVE_LEFT + CURVE_WIDTH,
						 bottom - CURVE_HEIGHT * i, CURVE_LEFT - 6,
						 bottom - CURVE_HEIGHT * i + 4, i * most);
	appendStringInfo(page, "<text x=\"%d\" y=\"%d\">", CURVE_LEFT, bottom + 18);
	mrb_html_append(page, began);
	appendStringInfo(page, "</text><text class=\"end\" x=\"%d\" y=\"%d\">",
					 CURVE_LEFT + CURVE_WIDTH, bottom + 18);
	mrb_html_append(page, ended);
	appendStringInfoString(page, "</text>\n");
}

/*
 * Append the line of a version: a step for each change, up to the end.
 */
static void
append_line(StringInfo page, const MrbReportLine *line, double most)
{
	const char *at = line->points;
	double		bottom = CURVE_TOP + CURVE_HEIGHT;
	double		y = bottom;
	bool		begun = false;

	appendStringInfoString(page, "<g><title>");
	mrb_html_append(page, line->version);
	appendStringInfo(page, "</title><path class=\"line s%d\" d=\"", line->color);
	for (;;)
	{
		char	   *end;
		double		part = strtod(at, &end);
		double		number;

		if (end == at)
			break;
		number = strtod(end, &end);
		at = end;
		if (!begun)
			appendStringInfo(page, "M%.1f %.1f", x_of(part, 1), bottom);
		begun = true;
		y = bottom - CURVE_HEIGHT * number / most;
		appendStringInfo(page, " H%.1f V%.1f", x_of(part, 1), y);
	}
	appendStringInfo(page, " H%d\"/><text class=\"end\" x=\"%d\" y=\"%.1f\">",
					 CURVE_LEFT + CURVE_WIDTH, CURVE_LEFT + CURVE_WIDTH, y - 4);
	mrb_html_append(page, line->version);
	appendStringInfoString(page, "</text></g>\n");
}

/*
 * Begin a picture.
 */
static void
begin(StringInfo page, int width, int height, const char *id, const char *title,
	  const char *description)
{
	appendStringInfo(page, "<svg viewBox=\"0 0 %d %d\" width=\"%d\" role=\"img\" aria-labelledby=\"%s-t %s-d\"><title id=\"%s-t\">",
					 width, height, width, id, id, id);
	mrb_html_append(page, title);
	appendStringInfo(page, "</title><desc id=\"%s-d\">", id);
	mrb_html_append(page, description);
	appendStringInfoString(page, "</desc>\n");
}

/*
 * Read numbers that are separated by spaces.
 */
static int
parse_points(const char *text_value, double *points)
{
	const char *at = text_value;
	int			n = 0;

	while (at != NULL && n < POINTS_MAX)
	{
		char	   *end;

		points[n] = strtod(at, &end);
		if (end == at)
			break;
		n++;
		at = end;
	}
	return n;
}

/*
 * Return the next number of 1, 2 or 5 times a power of ten.
 */
static double
round_up(double value)
{
	double		power = pow(10, floor(log10(Max(value, 0.1))));

	if (value <= power)
		return power;
	if (value <= 2 * power)
		return 2 * power;
	return value <= 5 * power ? 5 * power : 10 * power;
}

/*
 * Append the frame with its axes.
 */
static void
append_frame(StringInfo page, double most)
{
	int			bottom = CURVE_TOP + CURVE_HEIGHT;

	for (int share = 0; share <= 100; share += 50)
	{
		int			y = bottom - CURVE_HEIGHT * share / 100;

		appendStringInfo(page, "<line class=\"grid\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>",
						 CURVE_LEFT, y, CURVE_LEFT + CURVE_WIDTH, y);
		appendStringInfo(page, "<text class=\"end\" x=\"%d\" y=\"%d\">%d %%</text>",
						 CURVE_LEFT - 6, y + 4, share);
	}
	for (int i = 0; i <= 4; i++)
		appendStringInfo(page, "<text class=\"%s\" x=\"%d\" y=\"%d\">%g%s</text>",
						 i == 4 ? "end" : "mid", CURVE_LEFT + CURVE_WIDTH * i / 4,
						 bottom + 18, most * i / 4, i == 4 ? " ms" : "");
	appendStringInfoChar(page, '\n');
}

/*
 * Append the curve: a step for each tenth.
 */
static void
append_steps(StringInfo page, const double *points, int n, double most)
{
	double		bottom = CURVE_TOP + CURVE_HEIGHT;

	appendStringInfo(page, "<path class=\"curve\" d=\"M%d %.1f", CURVE_LEFT, bottom);
	for (int i = 0; i < n; i++)
		appendStringInfo(page, " H%.1f V%.1f", x_of(points[i], most),
						 bottom - CURVE_HEIGHT * (i + 1) / 10.0);
	appendStringInfoString(page, "\"/>\n");
}

/*
 * Append a line at a time, with its name and number.
 */
static void
append_mark(StringInfo page, const char *name, const char *ms, double most, int row)
{
	double		x;
	bool		left;

	if (ms == NULL)
		return;
	x = x_of(atof(ms), most);
	left = x > CURVE_LEFT + CURVE_WIDTH / 2;
	appendStringInfo(page, "<line class=\"mark\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>",
					 x, CURVE_TOP, x, CURVE_TOP + CURVE_HEIGHT);
	appendStringInfo(page, "<text class=\"%s\" x=\"%.1f\" y=\"%d\">",
					 left ? "end" : "start", x + (left ? -5 : 5),
					 CURVE_TOP + CURVE_HEIGHT - 20 * row);
	mrb_html_append(page, name);
	appendStringInfoChar(page, ' ');
	mrb_html_append(page, ms);
	appendStringInfoString(page, " ms</text>\n");
}

/*
 * Return the place of a time.
 */
static double
x_of(double ms, double most)
{
	return CURVE_LEFT + CURVE_WIDTH * Min(ms / most, 1);
}
