/*-------------------------------------------------------------------------
 *
 * report.c
 *	  miosa_report(): what happened, as one page of HTML.
 *
 * Every text that is not written here goes through html.c.  The rows come from
 * functions in sql/report.sql, which see to tenants and to the period.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "api/html.h"
#include "api/html_page.h"
#include "api/report_bars.h"
#include "api/report_svg.h"
#include "base/miosa_rollback.h"
#include "base/optional_text.h"
#include "common/lock_wait.h"
#include "common/query.h"

PG_FUNCTION_INFO_V1(miosa_report);

/* Events in the table, and curves. */
#define EVENTS_MAX 2000
#define CURVES_MAX 8

/* The subject and the period: columns of head_query, from 1. */
enum
{
	HEAD_DEPLOYMENT = 1,
	HEAD_FLEET,
	HEAD_BEGAN,
	HEAD_ENDED,
	HEAD_TITLE,
	HEAD_VERDICT,
	HEAD_PERIOD,
	HEAD_ZONE,
	HEAD_MADE,
	HEAD_BEGAN_AT,
	HEAD_ENDED_AT
};

typedef struct Head
{
	char	   *deployment_id;	/* NULL: it is a fleet */
	char	   *fleet;
	TimestampTz began;
	TimestampTz ended;
	char	   *title;
	char	   *verdict;
	char	   *period;
	char	   *zone;
	char	   *made;
	char	   *began_at;
	char	   *ended_at;
} Head;

static MrbQuery head_query = {
	.sql = "SELECT h.deployment_id, h.fleet, h.began, h.ended, h.title,"
	" h.verdict, h.period, h.zone, h.made,"
	" to_char(h.began, 'YYYY-MM-DD HH24:MI:SS'),"
	" to_char(h.ended, 'YYYY-MM-DD HH24:MI:SS')"
	" FROM miosa.report_head($1, $2, $3) h",
	.nargs = 3,
	.argtypes = {TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
};

/* Columns of events_query, from 1. */
enum
{
	EVENT_AT = 1,
	EVENT_OP,
	EVENT_KIND,
	EVENT_WHAT,
	EVENT_WHO,
	EVENT_WHY
};

static MrbQuery events_query = {
	.sql = "SELECT e.at, e.op, e.kind, e.what, e.who, e.why"
	" FROM miosa.report_events($1, $2, $3, $4, $5) e",
	.nargs = 5,
	.argtypes = {TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID},
};

static MrbQuery served_query = {
	.sql = MRB_REPORT_BARS_SELECT " FROM miosa.report_served($1, $2, $3) s",
	.nargs = 3,
	.argtypes = {TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
};

/* Columns of edges_query, from 1; the table has those up to the last edge. */
enum
{
	EDGES_TITLE = 1,
	EDGES_AT,
	EDGES_STATE,
	EDGES_CONFIRMED,
	EDGES_FIRST_MS,
	EDGES_P50_MS,
	EDGES_P99_MS,
	EDGES_LAST_MS,
	EDGES_LAST_EDGE,
	EDGES_POINTS
};

static MrbQuery edges_query = {
	.sql = "SELECT e.title, e.at, e.state, e.confirmed, e.first_ms, e.p50_ms,"
	" e.p99_ms, e.last_ms, e.last_edge, e.points"
	" FROM miosa.report_edges($1, $2, $3, $4) e",
	.nargs = 4,
	.argtypes = {TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
};

static MrbQuery instances_query = {
	.sql = "SELECT i.version, i.state, i.n, i.first_at, i.last_at"
	" FROM miosa.report_instances($1) i",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* Columns of capacity_query, from 1; the table has those up to the number now. */
enum
{
	CAPACITY_VERSION = 1,
	CAPACITY_FIRST_AT,
	CAPACITY_MOST,
	CAPACITY_MOST_AT,
	CAPACITY_LAST,
	CAPACITY_COLOR,
	CAPACITY_POINTS
};

static MrbQuery capacity_query = {
	.sql = "SELECT c.version, c.first_at, c.most::text, c.most_at, c.last::text,"
	" c.color, c.points FROM miosa.report_capacity($1, $2, $3) c",
	.nargs = 3,
	.argtypes = {TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
};

static const char style[] =
"body{background:var(--b);color:var(--f);font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:64em;padding:0 1em}"
"h1{font-size:1.5em;margin-bottom:.2em}h2{font-size:1.15em;margin-top:2em}h3{font-size:1em;margin-bottom:.2em}"
"p.note,.who{color:var(--g)}table{border-collapse:collapse;width:100%;font-size:.9em}"
"caption{text-align:left;color:var(--g);padding-bottom:.4em}"
"th,td{text-align:left;vertical-align:top;padding:.25em .6em .25em 0;border-bottom:1px solid var(--l)}"
"td{overflow-wrap:anywhere}td.what{min-width:13em}td.who{min-width:7em}td.t,td.n{white-space:nowrap;font-variant-numeric:tabular-nums}"
"tr.operation td,tr.note td{font-weight:600}tr.operation .who,tr.note .who{font-weight:400}"
"tr.refusal td{color:var(--c5)}"
".grid{stroke:var(--l)}.mark{stroke:var(--g);stroke-dasharray:4 3}.curve{fill:none;stroke:var(--a);stroke-width:2.5}"
".line{fill:none;stroke-width:2}.s1{stroke:var(--c1)}.s2{stroke:var(--c2)}.s3{stroke:var(--c3)}.s4{stroke:var(--c4)}.s5{stroke:var(--c5)}.s6{stroke:var(--c6)}"
"@media print{body{margin:0;max-width:none;font-size:11px}tr,svg{break-inside:avoid}}";

static Datum make_report(PG_FUNCTION_ARGS);
static void read_head(FunctionCallInfo fcinfo, Head *head);
static void append_head(StringInfo page, const Head *head);
static void append_events(StringInfo page, const Head *head);
static void append_served(StringInfo page, const Head *head);
static void append_edges(StringInfo page, const Head *head);
static void append_edges_table(StringInfo page, uint64 n);
static void append_curves(StringInfo page, uint64 n);
static void append_instances(StringInfo page, const Head *head);
static void append_capacity(StringInfo page, const Head *head);
static void append_cell(StringInfo page, const char *kind, const char *value);
static void append_row(StringInfo page, uint64 row, int columns);

/*
 * miosa_report(deployment_or_fleet, since, until)
 */
Datum
miosa_report(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_PUBLIC, make_report, fcinfo);
}

/*
 * Make the page.
 */
static Datum
make_report(PG_FUNCTION_ARGS)
{
	StringInfoData page;
	Head		head;

	initStringInfo(&page);
	mrb_query_open();
	read_head(fcinfo, &head);
	append_head(&page, &head);
	append_served(&page, &head);
	append_edges(&page, &head);
	append_instances(&page, &head);
	append_events(&page, &head);
	mrb_query_close();
	mrb_html_page_end(&page);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(page.data, page.len));
}

/*
 * Read the subject and the period.
 */
static void
read_head(FunctionCallInfo fcinfo, Head *head)
{
	Datum		values[3];
	bool		nulls[3];

	for (int i = 0; i < 3; i++)
	{
		nulls[i] = PG_ARGISNULL(i);
		values[i] = nulls[i] ? (Datum) 0 : PG_GETARG_DATUM(i);
	}
	if (mrb_query_run(&head_query, values, nulls) != 1)
		elog(ERROR, "a report has no subject");
	head->deployment_id = mrb_query_text(0, HEAD_DEPLOYMENT);
	head->fleet = mrb_query_text(0, HEAD_FLEET);
	head->began = mrb_query_timestamp(0, HEAD_BEGAN, DT_NOBEGIN);
	head->ended = mrb_query_timestamp(0, HEAD_ENDED, DT_NOEND);
	head->title = mrb_query_text(0, HEAD_TITLE);
	head->verdict = mrb_query_text(0, HEAD_VERDICT);
	head->period = mrb_query_text(0, HEAD_PERIOD);
	head->zone = mrb_query_text(0, HEAD_ZONE);
	head->made = mrb_query_text(0, HEAD_MADE);
	head->began_at = mrb_query_text(0, HEAD_BEGAN_AT);
	head->ended_at = mrb_query_text(0, HEAD_ENDED_AT);
}

/*
 * Begin the page.
 */
static void
append_head(StringInfo page, const Head *head)
{
	char	   *title = psprintf("Incident report: %s", head->title);

	mrb_html_page_begin(page, title, "", style);
	mrb_html_element(page, "h1", title);
	appendStringInfoString(page, "\n<p>");
	mrb_html_append(page, head->period);
	appendStringInfoString(page, ", time zone ");
	mrb_html_append(page, head->zone);
	appendStringInfoString(page, "</p>\n");
	if (head->verdict != NULL)
	{
		appendStringInfoString(page, "<p>When this was made: ");
		mrb_html_element(page, "strong", head->verdict);
		appendStringInfoString(page, "</p>\n");
	}
	appendStringInfoString(page, "<p class=\"note\">Made by " MRB_EXTENSION " at ");
	mrb_html_append(page, head->made);
	appendStringInfoString(page, " from what it has recorded.</p>\n");
}

/*
 * Append which version was served when.
 */
static void
append_served(StringInfo page, const Head *head)
{
	Datum		values[] = {
		head->deployment_id == NULL ? (Datum) 0 : CStringGetTextDatum(head->deployment_id),
		TimestampTzGetDatum(head->began),
		TimestampTzGetDatum(head->ended)
	};
	uint64		n;

	appendStringInfoString(page, "<h2>Which version was served when</h2>\n");
	if (head->deployment_id == NULL)
	{
		appendStringInfoString(page, "<p>A fleet has many deployments: make a report of one of them.</p>\n");
		return;
	}
	n = mrb_query_run(&served_query, values, NULL);
	if (n == 0)
	{
		appendStringInfoString(page, "<p>Unknown: nothing is recorded.</p>\n");
		return;
	}
	mrb_report_svg_bars(page, mrb_report_bars_read(n), n, head->began_at, head->ended_at);
}

/*
 * Append how edges converged.
 */
static void
append_edges(StringInfo page, const Head *head)
{
	Datum		values[] = {
		head->deployment_id == NULL ? (Datum) 0 : CStringGetTextDatum(head->deployment_id),
		head->fleet == NULL ? (Datum) 0 : CStringGetTextDatum(head->fleet),
		TimestampTzGetDatum(head->began),
		TimestampTzGetDatum(head->ended)
	};
	bool		nulls[] = {head->deployment_id == NULL, head->fleet == NULL, false, false};
	uint64		n;

	appendStringInfoString(page, "<h2>How edges converged</h2>\n");
	n = mrb_query_run(&edges_query, values, nulls);
	if (n == 0)
	{
		appendStringInfoString(page, "<p>Nothing is recorded of edges in this period.</p>\n");
		return;
	}
	append_curves(page, n);
	append_edges_table(page, n);
}

/*
 * Append a picture of each of the newest operations that were measured.
 */
static void
append_curves(StringInfo page, uint64 n)
{
	int			curves = 0;

	for (uint64 i = 0; i < n && curves < CURVES_MAX; i++)
	{
		MrbReportCurve curve = {
			.title = mrb_query_text(i, EDGES_TITLE),
			.points = mrb_query_text(i, EDGES_POINTS),
			.p50_ms = mrb_query_text(i, EDGES_P50_MS),
			.p99_ms = mrb_query_text(i, EDGES_P99_MS),
			.last_ms = mrb_query_text(i, EDGES_LAST_MS),
			.last_edge = mrb_query_text(i, EDGES_LAST_EDGE),
		};

		if (curve.points == NULL || curve.last_ms == NULL)
			continue;
		mrb_html_element(page, "h3", curve.title);
		mrb_report_svg_curve(page, &curve, ++curves);
	}
}

/*
 * Append the numbers of all operations.
 */
static void
append_edges_table(StringInfo page, uint64 n)
{
	static const char *const names[] = {
		"operation", "from", "state", "edges", "first", "half", "99 of 100",
		"last", "last edge"
	};

	appendStringInfoString(page, "<table id=\"edges\"><caption>Milliseconds from the operation until edges had acknowledged it; empty: not known</caption>\n");
	mrb_html_page_columns(page, names, lengthof(names));
	for (uint64 i = 0; i < n; i++)
		append_row(page, i, lengthof(names));
	appendStringInfoString(page, "</tbody></table>\n");
}

/*
 * Append instances.
 */
static void
append_instances(StringInfo page, const Head *head)
{
	static const char *const names[] = {
		"version", "state", "instances", "first change", "last change"
	};
	Datum		value;
	uint64		n;

	if (head->deployment_id == NULL)
		return;
	appendStringInfoString(page, "<h2>Capacity</h2>\n");
	value = CStringGetTextDatum(head->deployment_id);
	n = mrb_query_run(&instances_query, &value, NULL);
	if (n == 0)
	{
		appendStringInfoString(page, "<p>No instances are recorded.</p>\n");
		return;
	}
	appendStringInfoString(page, "<table id=\"instances\"><caption>Instances when this was made, by version and state</caption>\n");
	mrb_html_page_columns(page, names, lengthof(names));
	for (uint64 i = 0; i < n; i++)
		append_row(page, i, lengthof(names));
	appendStringInfoString(page, "</tbody></table>\n");
	append_capacity(page, head);
}

/*
 * Append how many instances were healthy, over time.
 */
static void
append_capacity(StringInfo page, const Head *head)
{
	static const char *const names[] = {
		"version", "healthy from", "most", "at", "in the end"
	};
	Datum		values[] = {
		CStringGetTextDatum(head->deployment_id),
		TimestampTzGetDatum(head->began),
		TimestampTzGetDatum(head->ended)
	};
	uint64		n = mrb_query_run(&capacity_query, values, NULL);
	MrbReportLine *lines = palloc(Max(n, 1) * sizeof(MrbReportLine));

	if (n == 0)
	{
		appendStringInfoString(page, "<p>No instance was healthy in this period.</p>\n");
		return;
	}
	for (uint64 i = 0; i < n; i++)
		lines[i] = (MrbReportLine)
	{
		.version = mrb_query_text(i, CAPACITY_VERSION),
			.first_at = mrb_query_text(i, CAPACITY_FIRST_AT),
			.most = atoll(mrb_query_text(i, CAPACITY_MOST)),
			.most_at = mrb_query_text(i, CAPACITY_MOST_AT),
			.color = mrb_query_int32(i, CAPACITY_COLOR, 1),
			.points = mrb_query_text(i, CAPACITY_POINTS),
	};
	mrb_report_svg_lines(page, lines, n, head->began_at, head->ended_at);
	appendStringInfoString(page, "<table id=\"capacity\"><caption>Healthy instances in this period; an instance that was not for a while counts in between</caption>\n");
	mrb_html_page_columns(page, names, lengthof(names));
	for (uint64 i = 0; i < n; i++)
		append_row(page, i, lengthof(names));
	appendStringInfoString(page, "</tbody></table>\n");
}

/*
 * Append the events in order.
 */
static void
append_events(StringInfo page, const Head *head)
{
	static const char *const names[] = {"time", "operation", "what", "by", "why"};
	Datum		values[] = {
		head->deployment_id == NULL ? (Datum) 0 : CStringGetTextDatum(head->deployment_id),
		head->fleet == NULL ? (Datum) 0 : CStringGetTextDatum(head->fleet),
		TimestampTzGetDatum(head->began),
		TimestampTzGetDatum(head->ended),
		Int32GetDatum(EVENTS_MAX + 1)
	};
	bool		nulls[] = {head->deployment_id == NULL, head->fleet == NULL, false, false, false};
	uint64		n;

	appendStringInfoString(page, "<h2>Timeline</h2>\n");
	n = mrb_query_run(&events_query, values, nulls);
	if (n == 0)
	{
		appendStringInfoString(page, "<p>Nothing happened in this period.</p>\n");
		return;
	}
	appendStringInfoString(page, "<table id=\"timeline\"><caption>In order of time</caption>\n");
	mrb_html_page_columns(page, names, lengthof(names));
	for (uint64 i = 0; i < n && i < EVENTS_MAX; i++)
	{
		appendStringInfoString(page, "<tr class=\"");
		mrb_html_append(page, mrb_query_text(i, EVENT_KIND));
		appendStringInfoString(page, "\">");
		append_cell(page, "t", mrb_query_text(i, EVENT_AT));
		append_cell(page, "n", mrb_query_text(i, EVENT_OP));
		append_cell(page, "what", mrb_query_text(i, EVENT_WHAT));
		append_cell(page, "who", mrb_query_text(i, EVENT_WHO));
		append_cell(page, "why", mrb_query_text(i, EVENT_WHY));
		appendStringInfoString(page, "</tr>\n");
	}
	appendStringInfoString(page, "</tbody></table>\n");
	if (n > EVENTS_MAX)
		appendStringInfo(page, "<p>There are more than these %d events: choose a shorter period.</p>\n",
						 EVENTS_MAX);
}

/*
 * Append a cell of a kind.
 */
static void
append_cell(StringInfo page, const char *kind, const char *value)
{
	appendStringInfo(page, "<td class=\"%s\">", kind);
	mrb_html_append(page, value);
	appendStringInfoString(page, "</td>");
}

/*
 * Append the first columns of a row of the query; its name is the first one.
 */
static void
append_row(StringInfo page, uint64 row, int columns)
{
	appendStringInfoString(page, "<tr><th scope=\"row\">");
	mrb_html_append(page, mrb_query_text(row, 1));
	appendStringInfoString(page, "</th>");
	for (int column = 2; column <= columns; column++)
		append_cell(page, "n", mrb_query_text(row, column));
	appendStringInfoString(page, "</tr>\n");
}
