/*-------------------------------------------------------------------------
 *
 * page_deployment.c
 *	  The live page about one deployment.
 *
 * First the verdict and the next command, then what miosa.status(),
 * miosa.candidates() and miosa.history() say, and every edge.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "api/html.h"
#include "api/html_page.h"
#include "api/page_deployment.h"
#include "api/report_bars.h"
#include "api/report_svg.h"
#include "common/query.h"

/* Edges that are named: in all, and of each zone those that are done. */
#define EDGES_MAX 100
#define DONE_MAX 5

/* Periods of versions. */
#define SPANS_MAX 6

static MrbQuery verdict_query = {
	.sql = "SELECT v.code, v.text FROM miosa.verdict_rows($1) v",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static MrbQuery status_query = {
	.sql = "SELECT s.item, s.value FROM miosa.page_status($1) s",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* Columns of served_query behind those of bars. */
enum
{
	SERVED_FIRST = MRB_REPORT_BARS_COLUMNS + 1,
	SERVED_LAST
};

static MrbQuery served_query = {
	.sql = MRB_REPORT_BARS_SELECT
	", to_char(h.began, 'YYYY-MM-DD HH24:MI:SS'),"
	" to_char(h.ended, 'YYYY-MM-DD HH24:MI:SS')"
	" FROM miosa.report_head($1, NULL, NULL) h,"
	" miosa.report_served($1, h.began, h.ended) s",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* Columns of candidates_query, from 1. */
enum
{
	CANDIDATE_VERSION = 1,
	CANDIDATE_NOTE,
	CANDIDATE_COLUMNS = 7
};

static MrbQuery candidates_query = {
	.sql = "SELECT c.version, c.note, c.last_served, c.served, c.artifact,"
	" c.expires, c.live FROM miosa.page_candidates($1) c",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* Columns of edges_query, from 1. */
enum
{
	EDGE_ZONE = 1,
	EDGE_NAME,
	EDGE_STATE,
	EDGE_AGE,
	EDGE_ERROR,
	EDGE_DONE,
	EDGE_ZONE_DONE,
	EDGE_ZONE_EDGES,
	EDGE_PLACE
};

static MrbQuery edges_query = {
	.sql = "SELECT e.zone, e.edge, e.state, e.age, e.error, e.done, e.zone_done,"
	" e.zone_edges, e.place FROM miosa.page_edges($1) e",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* Columns of history_query, from 1. */
enum
{
	HISTORY_OP = 1,
	HISTORY_AT,
	HISTORY_WHAT,
	HISTORY_WHY
};

static MrbQuery history_query = {
	.sql = "SELECT h.op, h.at, h.what, h.why FROM miosa.page_history($1) h",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static void append_verdict(StringInfo page, const MrbPageHead *head, Datum id);
static const char *choose_kind(const char *code);
static void append_status(StringInfo page, Datum id);
static void append_served(StringInfo page, Datum id);
static void append_candidates(StringInfo page, Datum id);
static void append_candidate(StringInfo page, uint64 row, const char *const *names);
static void append_edges(StringInfo page, Datum id);
static void append_zone(StringInfo page, uint64 row, bool first);
static bool append_edge(StringInfo page, uint64 row);
static void append_history(StringInfo page, Datum id);

/*
 * Append the page.
 */
void
mrb_page_deployment_append(StringInfo page, const MrbPageHead *head)
{
	Datum		id = CStringGetTextDatum(head->deployment_id);

	append_verdict(page, head, id);
	appendStringInfoString(page, "<div class=\"two\"><div>\n");
	append_status(page, id);
	append_served(page, id);
	append_candidates(page, id);
	appendStringInfoString(page, "</div><div>\n");
	append_edges(page, id);
	append_history(page, id);
	appendStringInfoString(page, "</div></div>\n");
}

/*
 * Begin the page with the verdict.
 */
static void
append_verdict(StringInfo page, const MrbPageHead *head, Datum id)
{
	char	   *code;
	char	   *verdict;

	if (mrb_query_run(&verdict_query, &id, NULL) != 1)
		elog(ERROR, "a deployment has no verdict");
	code = mrb_query_text(0, 1);
	verdict = mrb_query_text(0, 2);
	mrb_page_parts_begin(page, head, psprintf("%s - %s", head->title, verdict),
						 choose_kind(code), verdict, "");
}

/*
 * Choose a color for a verdict: bad where nothing is served, or nobody acts on it.
 */
static const char *
choose_kind(const char *code)
{
	if (strcmp(code, "ok") == 0)
		return "good";
	return strcmp(code, "not_serving") == 0 || strcmp(code, "overdue") == 0 ? "bad" : "warn";
}

/*
 * Append the status: the next command first.
 */
static void
append_status(StringInfo page, Datum id)
{
	uint64		n = mrb_query_run(&status_query, &id, NULL);

	for (uint64 i = 0; i < n; i++)
	{
		if (strcmp(mrb_query_text(i, 1), "next") != 0)
			continue;
		mrb_page_parts_section(page, "next", "Next", NULL);
		mrb_page_parts_command(page, mrb_query_text(i, 2));
	}
	mrb_page_parts_section(page, "status", "Status", NULL);
	appendStringInfoString(page, "<dl class=\"facts\">\n");
	for (uint64 i = 0; i < n; i++)
	{
		char	   *item = mrb_query_text(i, 1);

		if (strcmp(item, "next") == 0 || strcmp(item, "verdict") == 0)
			continue;
		appendStringInfo(page, "<dt>%s</dt><dd>", item);
		mrb_page_parts_lines(page, mrb_query_text(i, 2));
		appendStringInfoString(page, "</dd>\n");
	}
	appendStringInfoString(page, "</dl>\n");
}

/*
 * Append which version was served when.
 */
static void
append_served(StringInfo page, Datum id)
{
	uint64		n = mrb_query_run(&served_query, &id, NULL);
	MrbReportBar *bars;

	mrb_page_parts_section(page, "versions", "Which version was served when", "in the last 24 h");
	if (n == 0)
	{
		appendStringInfoString(page, "<p class=\"note\">Unknown: nothing is recorded.</p>\n");
		return;
	}
	bars = mrb_report_bars_read(n);
	mrb_report_svg_bars(page, bars, n, mrb_query_text(0, SERVED_FIRST), mrb_query_text(0, SERVED_LAST));
	/* In words, for those who do not see the picture. */
	appendStringInfoString(page, "<ul class=\"log\" id=\"served-list\">\n");
	for (uint64 i = n; i > 0 && n - i < SPANS_MAX; i--)
	{
		appendStringInfoString(page, "<li><strong>");
		mrb_html_append(page, bars[i - 1].version);
		appendStringInfo(page, "</strong> <span class=\"since\">from %s %s%s</span></li>\n", bars[i - 1].began,
						 i == n ? "until now" : "to ", i == n ? "" : bars[i - 1].ended);
	}
	appendStringInfoString(page, "</ul>\n");
	if (n > SPANS_MAX)
		appendStringInfo(page, "<p class=\"note\">and " UINT64_FORMAT " before.</p>\n", n - SPANS_MAX);
}

/*
 * Append the versions that one can go to, and why not to the others.
 */
static void
append_candidates(StringInfo page, Datum id)
{
	static const char *const names[CANDIDATE_COLUMNS] = {
		"version", "can serve", "last served", "for", "artifact", "expires",
		"live"
	};
	uint64		n = mrb_query_run(&candidates_query, &id, NULL);

	mrb_page_parts_section(page, "candidates", "Where one can go back to", NULL);
	if (n == 0)
	{
		appendStringInfoString(page, "<p class=\"note\">There is no version.</p>\n");
		return;
	}
	appendStringInfoString(page, "<table id=\"candidate-list\">");
	mrb_html_page_columns(page, names, lengthof(names));
	for (uint64 i = 0; i < n; i++)
		append_candidate(page, i, names);
	appendStringInfoString(page, "</tbody></table>\n");
}

/*
 * Append a version.  Below the width of a table each cell has its column's name
 * before it.
 */
static void
append_candidate(StringInfo page, uint64 row, const char *const *names)
{
	char	   *note = mrb_query_text(row, CANDIDATE_NOTE);

	appendStringInfo(page, "<tr class=\"%s\">", strncmp(note, "active", 6) == 0 ? "now" :
					 strncmp(note, "default", 7) == 0 && strcmp(note, "default refused") != 0 ? "chosen" : "other");
	for (int column = CANDIDATE_VERSION; column <= CANDIDATE_COLUMNS; column++)
	{
		const char *element = column == CANDIDATE_VERSION ? "th scope=\"row\"" :
		column == CANDIDATE_NOTE ? "td class=\"can\"" : "td";
		const char *value = column == CANDIDATE_NOTE && *note == '\0' ? "yes" : mrb_query_text(row, column);

		appendStringInfo(page, "<%s data-h=\"%s\">", element, names[column - 1]);
		if (value != NULL && *value != '\0')
			mrb_html_element(page, "span", value);
		appendStringInfo(page, "</%.2s>", element);
	}
	appendStringInfoString(page, "</tr>\n");
}

/*
 * Append every edge that lacks the route, and some of those that have it.
 */
static void
append_edges(StringInfo page, Datum id)
{
	uint64		n = mrb_query_run(&edges_query, &id, NULL);
	uint64		named = 0;
	char	   *zone = NULL;

	mrb_page_parts_section(page, "edges", "Edges, and what each has", NULL);
	if (n == 0)
	{
		appendStringInfoString(page, "<p class=\"note\">No edge receives this deployment.</p>\n");
		return;
	}
	appendStringInfoString(page, "<ul class=\"log\" id=\"edge-list\">\n");
	for (uint64 i = 0; i < n; i++)
	{
		if (zone == NULL || strcmp(zone, mrb_query_text(i, EDGE_ZONE)) != 0)
		{
			append_zone(page, i, zone == NULL);
			zone = mrb_query_text(i, EDGE_ZONE);
		}
		if (named < EDGES_MAX && append_edge(page, i))
			named++;
	}
	appendStringInfoString(page, "</ul></li></ul>\n");
	if (named < n)
		appendStringInfo(page, "<p class=\"note\">" UINT64_FORMAT " of " UINT64_FORMAT " are named: those that lack the route before the others.</p>\n",
						 named, n);
}

/*
 * Begin a zone.
 */
static void
append_zone(StringInfo page, uint64 row, bool first)
{
	MrbPageBar	bar = {
		.good = mrb_query_int64(row, EDGE_ZONE_DONE, 0),
		.total = mrb_query_int64(row, EDGE_ZONE_EDGES, 0)
	};

	bar.late = bar.total - bar.good;
	appendStringInfo(page, "%s<li><strong>", first ? "" : "</ul></li>\n");
	mrb_html_element(page, "bdi", mrb_query_text(row, EDGE_ZONE));
	appendStringInfo(page, "</strong> <span class=\"counts\">" INT64_FORMAT " of " INT64_FORMAT " have it</span>",
					 bar.good, bar.total);
	mrb_page_parts_bar(page, &bar);
	appendStringInfoString(page, "<ul>");
}

/*
 * Append an edge; return whether it is named.
 */
static bool
append_edge(StringInfo page, uint64 row)
{
	bool		done = mrb_query_bool(row, EDGE_DONE);
	char	   *age = mrb_query_text(row, EDGE_AGE);

	if (done && mrb_query_int64(row, EDGE_PLACE, 0) > DONE_MAX)
		return false;
	appendStringInfoString(page, "<li>");
	mrb_html_element(page, "bdi", mrb_query_text(row, EDGE_NAME));
	appendStringInfo(page, ": <span class=\"%s\">", done ? "is-good" : "is-warn");
	mrb_html_append(page, mrb_query_text(row, EDGE_STATE));
	appendStringInfoString(page, "</span>");
	if (age != NULL)
		appendStringInfo(page, " for %s", age);
	mrb_page_parts_text(page, "p", "error", mrb_query_text(row, EDGE_ERROR));
	appendStringInfoString(page, "</li>\n");
	return true;
}

/*
 * Append the last operations.
 */
static void
append_history(StringInfo page, Datum id)
{
	uint64		n = mrb_query_run(&history_query, &id, NULL);

	mrb_page_parts_section(page, "history", "Last operations", NULL);
	if (n == 0)
		appendStringInfoString(page, "<p class=\"note\">None is recorded.</p>\n");
	appendStringInfoString(page, "<ul class=\"log\">\n");
	for (uint64 i = 0; i < n; i++)
	{
		appendStringInfoString(page, "<li>");
		mrb_page_parts_text(page, "span", "t", mrb_query_text(i, HISTORY_AT));
		appendStringInfo(page, " %s ", mrb_query_text(i, HISTORY_OP));
		mrb_html_element(page, "bdi", mrb_query_text(i, HISTORY_WHAT));
		mrb_page_parts_text(page, "p", "why", mrb_query_text(i, HISTORY_WHY));
		appendStringInfoString(page, "</li>\n");
	}
	appendStringInfoString(page, "</ul>\n");
}
