/*-------------------------------------------------------------------------
 *
 * page_overview.c
 *	  The live page about all deployments.
 *
 * First what is broken, where, since when and what to type; then what is under
 * way, edges by zone, and what else may matter.  Each list is cut, and says how
 * many things it leaves out.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "api/html.h"
#include "api/page_overview.h"
#include "common/query.h"

/* Things in a list. */
#define NEEDS_MAX 30
#define ZONE_CARDS_MAX 3
#define ZONES_MAX 40
#define RECENT_MAX 12
#define STOPS_MAX 20

/* What the sections have found, for the head of the page. */
typedef struct Found
{
	int64		needs;			/* deployments */
	int64		unknown;		/* of which it is not known whether they need
								 * somebody */
	int64		edges;
	int64		failing;
	int64		late;
	int			checks;			/* of the doctor; 0: not for this caller */
	int			faults;
	int			warnings;
} Found;

/* Columns of needs_query, from 1. */
enum
{
	NEED_ID = 1,
	NEED_NAME,
	NEED_CODE,
	NEED_TEXT,
	NEED_SINCE,
	NEED_NEXT,
	NEED_TOTAL,
	NEED_UNKNOWN
};

static MrbQuery needs_query = {
	.sql = "SELECT n.id, n.name, n.code, n.text, n.since, n.next, n.total,"
	" n.unknown FROM miosa.page_needs($1) n",
	.nargs = 1,
	.argtypes = {INT4OID},
};

/* Columns of zones_query, from 1. */
enum
{
	ZONE_NAME = 1,
	ZONE_EDGES,
	ZONE_CURRENT,
	ZONE_LATE,
	ZONE_FAILING,
	ZONE_UNKNOWN,
	ZONE_DISABLED,
	ZONE_WORST,
	ZONE_STATE,
	ZONE_SINCE,
	ZONE_ERROR
};

static MrbQuery zones_query = {
	.sql = "SELECT z.zone, z.edges, z.current, z.late, z.failing, z.unknown,"
	" z.disabled, z.worst, z.state, z.since, z.error FROM miosa.page_zones() z",
};

/* Columns of progress_query, from 1. */
enum
{
	PROGRESS_NAME = 1,
	PROGRESS_OPERATION,
	PROGRESS_AGE,
	PROGRESS_KIND,
	PROGRESS_DONE,
	PROGRESS_TOTAL,
	PROGRESS_SLOWEST,
	PROGRESS_ERROR,
	PROGRESS_MORE
};

static MrbQuery progress_query = {
	.sql = "SELECT p.name, p.operation, p.age, p.kind, p.done, p.total,"
	" p.slowest, p.error, p.more FROM miosa.page_progress() p",
};

/* Columns of hour_query, from 1. */
enum
{
	HOUR_KIND = 1,
	HOUR_WHAT,
	HOUR_N,
	HOUR_ALL
};

static MrbQuery hour_query = {
	.sql = "SELECT h.kind, h.what, h.n, h.\"all\" FROM miosa.page_hour() h",
};

/* Columns of recent_query, from 1. */
enum
{
	RECENT_AT = 1,
	RECENT_ID,
	RECENT_NAME,
	RECENT_WHAT,
	RECENT_WHO,
	RECENT_WHY
};

static MrbQuery recent_query = {
	.sql = "SELECT r.at, r.id, r.name, r.what, r.who, r.why"
	" FROM miosa.page_recent($1) r",
	.nargs = 1,
	.argtypes = {INT4OID},
};

/* Columns of stops_query, from 1. */
enum
{
	STOP_KIND = 1,
	STOP_NAME,
	STOP_WHEN,
	STOP_WHO,
	STOP_WHY,
	STOP_NEXT,
	STOP_N
};

static MrbQuery stops_query = {
	.sql = "SELECT s.kind, s.name, s.\"when\", s.who, s.why, s.next, s.n"
	" FROM miosa.page_stops($1) s",
	.nargs = 1,
	.argtypes = {INT4OID},
};

/* Columns of doctor_query, from 1. */
enum
{
	DOCTOR_ITEM = 1,
	DOCTOR_STATUS,
	DOCTOR_SEEN,
	DOCTOR_FIX
};

static MrbQuery doctor_query = {
	.sql = "SELECT d.item, d.status, d.seen, d.fix FROM miosa.page_doctor() d",
};

static void append_delivery_card(StringInfo cards, const MrbPageHead *head);
static void append_zones(StringInfo zones, StringInfo cards, const MrbPageHead *head, Found *found);
static void append_zone_card(StringInfo cards, uint64 row);
static void append_zone(StringInfo zones, uint64 row);
static void append_worst(StringInfo zones, uint64 row);
static void append_count(StringInfo page, int64 n, const char *what, bool *first);
static void append_needs(StringInfo cards, Found *found);
static void append_progress(StringInfo page);
static void append_hour(StringInfo page);
static void append_recent(StringInfo page);
static void append_stops(StringInfo page);
static void append_fix(StringInfo page, const char *fix);
static void append_doctor(StringInfo page, Found *found);
static void append_head(StringInfo page, const MrbPageHead *head, const Found *found);
static const char *choose_headline(const MrbPageHead *head, const Found *found,
								   const char **kind);
static char *count_words(int64 n, const char *one, const char *many);

/*
 * Append the page.  Its first line sums up what comes below, so the sections are
 * made before it.
 */
void
mrb_page_overview_append(StringInfo page, const MrbPageHead *head)
{
	StringInfoData cards;
	StringInfoData needs;
	StringInfoData zones;
	StringInfoData doctor;
	Found		found = {0};

	initStringInfo(&cards);
	initStringInfo(&needs);
	initStringInfo(&zones);
	initStringInfo(&doctor);
	append_delivery_card(&cards, head);
	append_zones(&zones, &cards, head, &found);
	append_needs(&needs, &found);
	append_doctor(&doctor, &found);

	append_head(page, head, &found);
	if (cards.len + needs.len > 0)
		appendStringInfo(page, "<ol class=\"cards\" id=\"needs\">%s%s</ol>\n", cards.data, needs.data);
	if (found.needs > NEEDS_MAX)
		appendStringInfo(page, "<p id=\"more\">and " INT64_FORMAT " more: these are the %d that serve the least, the newest trouble first.</p>\n",
						 found.needs - NEEDS_MAX, NEEDS_MAX);
	if (found.unknown > 0)
		appendStringInfo(page, "<p id=\"unknown\">Edges may lack the routes of " INT64_FORMAT " more, which were not looked at.</p>\n",
						 found.unknown);
	appendStringInfoString(page, "<div class=\"two\"><div>\n");
	append_progress(page);
	append_hour(page);
	append_recent(page);
	appendStringInfo(page, "</div><div>\n%s", zones.data);
	append_stops(page);
	appendStringInfo(page, "%s</div></div>\n", doctor.data);
}

/*
 * Append a card when nothing is delivered.
 */
static void
append_delivery_card(StringInfo cards, const MrbPageHead *head)
{
	if (head->delivering)
		return;
	appendStringInfoString(cards, "<li class=\"bad\"><h3>Delivery</h3>");
	appendStringInfoString(cards, "<p class=\"verdict\">No change reaches an edge. The dispatcher: ");
	mrb_html_append(cards, head->dispatcher);
	appendStringInfoString(cards, "</p>");
	mrb_page_parts_command(cards, head->doctor);
	appendStringInfoString(cards, "</li>\n");
}

/*
 * Append edges by zone, and cards for the zones that fail.
 */
static void
append_zones(StringInfo zones, StringInfo cards, const MrbPageHead *head, Found *found)
{
	uint64		n;

	if (!head->endpoints)
	{
		mrb_page_parts_section(zones, "zones", "Edges by zone", NULL);
		appendStringInfoString(zones, "<p class=\"note\">Unknown: edges serve other tenants as well, and are not shown to you.</p>\n");
		return;
	}
	n = mrb_query_run(&zones_query, NULL, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		found->edges += mrb_query_int64(i, ZONE_EDGES, 0);
		found->failing += mrb_query_int64(i, ZONE_FAILING, 0);
		found->late += mrb_query_int64(i, ZONE_LATE, 0);
		if (i < ZONE_CARDS_MAX && mrb_query_int64(i, ZONE_FAILING, 0) > 0)
			append_zone_card(cards, i);
	}
	mrb_page_parts_section(zones, "zones", "Edges by zone", count_words(found->edges, "edge", "edges"));
	if (n == 0)
		appendStringInfoString(zones, "<p class=\"note\">No edge is set up.</p>\n");
	appendStringInfoString(zones, "<ul class=\"log\" id=\"zone-list\">\n");
	for (uint64 i = 0; i < n && i < ZONES_MAX; i++)
		append_zone(zones, i);
	appendStringInfoString(zones, "</ul>\n");
	if (n > ZONES_MAX)
		appendStringInfo(zones, "<p>and " UINT64_FORMAT " more zones, with less trouble than these.</p>\n",
						 n - ZONES_MAX);
}

/*
 * Append a card of a zone with edges that fail.
 */
static void
append_zone_card(StringInfo cards, uint64 row)
{
	appendStringInfoString(cards, "<li class=\"bad\"><h3>Zone ");
	mrb_html_element(cards, "bdi", mrb_query_text(row, ZONE_NAME));
	appendStringInfo(cards, "</h3><p class=\"verdict\">" INT64_FORMAT " of %s fail%s</p>",
					 mrb_query_int64(row, ZONE_FAILING, 0),
					 count_words(mrb_query_int64(row, ZONE_EDGES, 0), "edge", "edges"),
					 mrb_query_int64(row, ZONE_FAILING, 0) == 1 ? "s" : "");
	append_worst(cards, row);
	mrb_page_parts_command(cards, psprintf("SELECT name, state, undelivered_since, last_error FROM miosa.stat_endpoint\nWHERE zone = %s AND state <> 'healthy';",
										   quote_literal_cstr(mrb_query_text(row, ZONE_NAME))));
	appendStringInfoString(cards, "</li>\n");
}

/*
 * Append a zone: its bar, its numbers and its worst edge.
 */
static void
append_zone(StringInfo zones, uint64 row)
{
	MrbPageBar	bar = {
		.good = mrb_query_int64(row, ZONE_CURRENT, 0),
		.late = mrb_query_int64(row, ZONE_LATE, 0),
		.bad = mrb_query_int64(row, ZONE_FAILING, 0),
		.total = mrb_query_int64(row, ZONE_EDGES, 0)
	};
	bool		first = true;

	appendStringInfoString(zones, "<li><strong>");
	mrb_html_element(zones, "bdi", mrb_query_text(row, ZONE_NAME));
	appendStringInfoString(zones, "</strong> <span class=\"counts\">");
	append_count(zones, bar.bad, "failing", &first);
	append_count(zones, bar.late, "late", &first);
	append_count(zones, mrb_query_int64(row, ZONE_UNKNOWN, 0), "unknown", &first);
	append_count(zones, mrb_query_int64(row, ZONE_DISABLED, 0), "disabled", &first);
	if (first || bar.good > 0)
		append_count(zones, bar.good, "current", &first);
	appendStringInfoString(zones, "</span>");
	mrb_page_parts_bar(zones, &bar);
	append_worst(zones, row);
	appendStringInfoString(zones, "</li>\n");
}

/*
 * Append the worst edge of a zone.
 */
static void
append_worst(StringInfo zones, uint64 row)
{
	if (mrb_query_text(row, ZONE_WORST) == NULL)
		return;
	appendStringInfoString(zones, "<p>");
	mrb_html_element(zones, "bdi", mrb_query_text(row, ZONE_WORST));
	appendStringInfoString(zones, ": ");
	mrb_html_append(zones, mrb_query_text(row, ZONE_STATE));
	if (mrb_query_text(row, ZONE_SINCE) != NULL)
	{
		appendStringInfoString(zones, ", <span class=\"since\">");
		mrb_html_append(zones, mrb_query_text(row, ZONE_SINCE));
		appendStringInfoString(zones, "</span>");
	}
	appendStringInfoString(zones, "</p>");
	mrb_page_parts_text(zones, "p", "error", mrb_query_text(row, ZONE_ERROR));
}

/*
 * Append a number of edges, if it is not 0 or nothing else is to be said.
 */
static void
append_count(StringInfo page, int64 n, const char *what, bool *first)
{
	if (n == 0 && strcmp(what, "current") != 0)
		return;
	appendStringInfo(page, "%s" INT64_FORMAT " %s", *first ? "" : ", ", n, what);
	*first = false;
}

/*
 * Append deployments that need somebody.
 */
static void
append_needs(StringInfo cards, Found *found)
{
	Datum		most = Int32GetDatum(NEEDS_MAX);
	uint64		n = mrb_query_run(&needs_query, &most, NULL);

	for (uint64 i = 0; i < n; i++)
	{
		char	   *code = mrb_query_text(i, NEED_CODE);

		if (code == NULL)
		{
			found->needs = mrb_query_int64(i, NEED_TOTAL, 0);
			found->unknown = mrb_query_int64(i, NEED_UNKNOWN, 0);
			continue;
		}
		appendStringInfo(cards, "<li class=\"%s\" data-code=\"%s\"><h3>",
						 strcmp(code, "not_converged") == 0 ? "warn" : "bad", code);
		mrb_page_parts_name(cards, mrb_query_text(i, NEED_NAME), mrb_query_text(i, NEED_ID));
		appendStringInfoString(cards, "</h3>");
		mrb_page_parts_text(cards, "p", "verdict", mrb_query_text(i, NEED_TEXT));
		mrb_page_parts_text(cards, "p", "since", mrb_query_text(i, NEED_SINCE));
		mrb_page_parts_command(cards, mrb_query_text(i, NEED_NEXT));
		appendStringInfoString(cards, "</li>\n");
	}
}

/*
 * Append changes under way.
 */
static void
append_progress(StringInfo page)
{
	uint64		n = mrb_query_run(&progress_query, NULL, NULL);

	mrb_page_parts_section(page, "progress", "Under way", NULL);
	if (n == 0)
		appendStringInfoString(page, "<p class=\"note\">Nothing: every recent change has reached every edge.</p>\n");
	appendStringInfoString(page, "<ul class=\"log\">\n");
	for (uint64 i = 0; i < n; i++)
	{
		MrbPageBar	bar = {.good = mrb_query_int64(i, PROGRESS_DONE, 0),.total = mrb_query_int64(i, PROGRESS_TOTAL, 0)};

		if (mrb_query_text(i, PROGRESS_OPERATION) == NULL)
		{
			appendStringInfo(page, "<li class=\"note\">and " INT64_FORMAT " more that changed lately, not looked at</li>\n",
							 mrb_query_int64(i, PROGRESS_MORE, 0));
			continue;
		}
		appendStringInfoString(page, "<li>");
		mrb_page_parts_name(page, mrb_query_text(i, PROGRESS_NAME), mrb_query_text(i, PROGRESS_OPERATION));
		appendStringInfo(page, " <span class=\"since\">%s: " INT64_FORMAT " of " INT64_FORMAT " %s</span>",
						 mrb_query_text(i, PROGRESS_AGE), bar.good, bar.total, mrb_query_text(i, PROGRESS_KIND));
		mrb_page_parts_bar(page, &bar);
		if (mrb_query_text(i, PROGRESS_SLOWEST) != NULL)
		{
			appendStringInfoString(page, "<p>slowest: ");
			mrb_html_element(page, "bdi", mrb_query_text(i, PROGRESS_SLOWEST));
			appendStringInfoString(page, "</p>");
		}
		mrb_page_parts_text(page, "p", "error", mrb_query_text(i, PROGRESS_ERROR));
		appendStringInfoString(page, "</li>\n");
	}
	appendStringInfoString(page, "</ul>\n");
}

/*
 * Append how many operations there were.
 */
static void
append_hour(StringInfo page)
{
	uint64		n = mrb_query_run(&hour_query, NULL, NULL);
	bool		whole = true;

	mrb_page_parts_section(page, "hour", "Operations of the last hour", NULL);
	if (n == 0)
	{
		appendStringInfoString(page, "<p class=\"note\">None, and none was refused.</p>\n");
		return;
	}
	appendStringInfoString(page, "<ul class=\"chips\">\n");
	for (uint64 i = 0; i < n; i++)
	{
		bool		refusal = strcmp(mrb_query_text(i, HOUR_KIND), "refusal") == 0;

		whole = whole && mrb_query_bool(i, HOUR_ALL);
		appendStringInfo(page, "<li%s><b>%s</b> %s", refusal ? " class=\"is-bad\"" : "",
						 mrb_query_text(i, HOUR_N), refusal ? "refused: " : "");
		mrb_html_append(page, mrb_query_text(i, HOUR_WHAT));
		appendStringInfoString(page, "</li>\n");
	}
	appendStringInfoString(page, "</ul>\n");
	if (!whole)
		appendStringInfoString(page, "<p class=\"note\">Only the newest 10,000 are counted.</p>\n");
}

/*
 * Append the newest operations.
 */
static void
append_recent(StringInfo page)
{
	Datum		most = Int32GetDatum(RECENT_MAX);
	uint64		n = mrb_query_run(&recent_query, &most, NULL);

	appendStringInfoString(page, "<ul class=\"log\" id=\"recent\">\n");
	for (uint64 i = 0; i < n; i++)
	{
		appendStringInfoString(page, "<li>");
		mrb_page_parts_text(page, "span", "t", mrb_query_text(i, RECENT_AT));
		appendStringInfoChar(page, ' ');
		mrb_page_parts_name(page, mrb_query_text(i, RECENT_NAME), mrb_query_text(i, RECENT_ID));
		appendStringInfoString(page, "<p>");
		mrb_html_append(page, mrb_query_text(i, RECENT_WHAT));
		appendStringInfoString(page, " by ");
		mrb_html_element(page, "bdi", mrb_query_text(i, RECENT_WHO));
		appendStringInfoString(page, "</p>");
		mrb_page_parts_text(page, "p", "why", mrb_query_text(i, RECENT_WHY));
		appendStringInfoString(page, "</li>\n");
	}
	appendStringInfoString(page, "</ul>\n");
}

/*
 * Append freezes and holds.
 */
static void
append_stops(StringInfo page)
{
	Datum		most = Int32GetDatum(STOPS_MAX);
	uint64		n = mrb_query_run(&stops_query, &most, NULL);
	int64		held = 0;

	mrb_page_parts_section(page, "stops", "Holds and freezes", NULL);
	if (n == 0)
	{
		appendStringInfoString(page, "<p class=\"note\">None: promotions pass.</p>\n");
		return;
	}
	appendStringInfoString(page, "<ul class=\"log\">\n");
	for (uint64 i = 0; i < n; i++)
	{
		bool		hold = strcmp(mrb_query_text(i, STOP_KIND), "held") == 0;

		held = hold ? mrb_query_int64(i, STOP_N, 0) : held;
		appendStringInfoString(page, "<li><strong>");
		mrb_html_element(page, "bdi", mrb_query_text(i, STOP_NAME));
		appendStringInfo(page, "</strong> %s", hold ? "held " : "freeze, ");
		mrb_html_append(page, mrb_query_text(i, STOP_WHEN));
		appendStringInfoString(page, "<p>by ");
		mrb_html_element(page, "bdi", mrb_query_text(i, STOP_WHO));
		appendStringInfoString(page, "</p>");
		mrb_page_parts_text(page, "p", "why", mrb_query_text(i, STOP_WHY));
		mrb_page_parts_command(page, mrb_query_text(i, STOP_NEXT));
		appendStringInfoString(page, "</li>\n");
	}
	appendStringInfoString(page, "</ul>\n");
	if (held > STOPS_MAX)
		appendStringInfo(page, "<p>and " INT64_FORMAT " more that are held, for longer.</p>\n", held - STOPS_MAX);
}

/*
 * Append what to do: as a command if it can be pasted as a whole, else as text.
 */
static void
append_fix(StringInfo page, const char *fix)
{
	static const char *const verbs[] = {"ALTER ", "CALL ", "GRANT ", "REVOKE ", "SELECT ", "TABLE "};
	const char *end = fix == NULL ? NULL : strchr(fix, ';');

	if (fix == NULL || *fix == '\0')
		return;
	for (size_t i = 0; i < lengthof(verbs); i++)
		if (strncmp(fix, verbs[i], strlen(verbs[i])) == 0 && end != NULL && end[1] == '\0')
		{
			mrb_page_parts_command(page, fix);
			return;
		}
	appendStringInfoString(page, "<p>");
	mrb_html_append(page, fix);
	appendStringInfoString(page, "</p>");
}

/*
 * Append what the doctor finds.
 */
static void
append_doctor(StringInfo page, Found *found)
{
	uint64		n = mrb_query_run(&doctor_query, NULL, NULL);

	mrb_page_parts_section(page, "doctor", "What the doctor says", NULL);
	appendStringInfoString(page, "<ul class=\"cards\">\n");
	for (uint64 i = 0; i < n; i++)
	{
		char	   *status = mrb_query_text(i, DOCTOR_STATUS);
		bool		fault = strcmp(status, "fail") == 0;

		found->checks++;
		if (strcmp(status, "ok") == 0)
			continue;
		found->faults += fault;
		found->warnings += !fault;
		appendStringInfo(page, "<li class=\"%s\"><h3>%s</h3><p class=\"verdict\">", fault ? "bad" : "warn",
						 mrb_query_text(i, DOCTOR_ITEM));
		mrb_html_append(page, mrb_query_text(i, DOCTOR_SEEN));
		appendStringInfoString(page, "</p>");
		append_fix(page, mrb_query_text(i, DOCTOR_FIX));
		appendStringInfoString(page, "</li>\n");
	}
	appendStringInfoString(page, "</ul>\n");
	if (n == 0)
		appendStringInfoString(page, "<p class=\"note\">Unknown: the doctor speaks to members of miosa_operator who act for all tenants.</p>\n");
	else
		appendStringInfo(page, "<p class=\"note\">%d of %d checks find nothing.</p>\n",
						 found->checks - found->faults - found->warnings, found->checks);
}

/*
 * Begin the page with its sum.
 */
static void
append_head(StringInfo page, const MrbPageHead *head, const Found *found)
{
	const char *kind;
	const char *headline = choose_headline(head, found, &kind);
	StringInfoData sum;

	initStringInfo(&sum);
	appendStringInfo(&sum, "<p id=\"sum\">%s", head->deployments);
	if (head->endpoints)
		appendStringInfo(&sum, ", %s", count_words(found->edges, "edge", "edges"));
	if (found->failing > 0)
		appendStringInfo(&sum, ", <strong class=\"is-bad\">%s down</strong>", count_words(found->failing, "edge", "edges"));
	if (found->late > 0)
		appendStringInfo(&sum, ", <strong class=\"is-warn\">%s late</strong>", count_words(found->late, "edge", "edges"));
	if (found->faults > 0)
		appendStringInfo(&sum, ", <a class=\"is-bad\" href=\"#doctor\">the doctor finds %s</a>", count_words(found->faults, "fault", "faults"));
	if (found->warnings > 0)
		appendStringInfo(&sum, ", <a class=\"is-warn\" href=\"#doctor\">%s</a>", count_words(found->warnings, "warning", "warnings"));
	appendStringInfoString(&sum, "</p>");
	mrb_page_parts_begin(page, head, psprintf("%s - %s", headline, head->database), kind, headline, sum.data);
}

/*
 * Choose the first thing to read.
 */
static const char *
choose_headline(const MrbPageHead *head, const Found *found, const char **kind)
{
	*kind = "bad";
	if (!head->delivering)
		return "Nothing is delivered";
	if (found->needs > 0)
		return psprintf("%s somebody", count_words(found->needs, "deployment needs", "deployments need"));
	if (found->failing > 0)
		return psprintf("%s down", count_words(found->failing, "edge is", "edges are"));
	if (found->faults > 0)
		return psprintf("The doctor finds %s", count_words(found->faults, "fault", "faults"));
	*kind = "warn";
	if (found->unknown > 0)
		return psprintf("It is unknown how %s", count_words(found->unknown, "deployment is", "deployments are"));
	if (found->late > 0)
		return psprintf("%s late", count_words(found->late, "edge is", "edges are"));
	*kind = "good";
	return "All is well";
}

/*
 * Return a number with its noun.
 */
static char *
count_words(int64 n, const char *one, const char *many)
{
	return psprintf(INT64_FORMAT " %s", n, n == 1 ? one : many);
}
