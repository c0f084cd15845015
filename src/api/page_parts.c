/*-------------------------------------------------------------------------
 *
 * page_parts.c
 *	  Parts of the live page: its head, its style, names, commands and bars.
 *
 * Names are isolated with bdi, so that one that is written from right to left
 * leaves the line around it as it is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/html.h"
#include "api/html_page.h"
#include "api/page_parts.h"

/* Width of a bar. */
#define BAR_WIDTH 1000

/*
 * The page reloads every 10 seconds.  One that stands still says so after 35, by
 * an animation, since there is no script.
 */
static const char head_elements[] = "<meta http-equiv=\"refresh\" content=\"10\">";

static const char style[] =
":root{--bad:#b3261e;--warn:#8a5600;--good:#1a6b3a;--badb:#fdecea;--warnb:#fdf3dc;--goodb:#e7f4ec;--card:#f6f6f6;"
"--sbad:#d0342c;--swarn:#e3a008;--sgood:#2f9e5b;--sidle:#bdbdbd}"
"@media(prefers-color-scheme:dark){:root{--g:#a6a6a6;--bad:#ff9a90;--warn:#ffcf70;--good:#86dca6;--badb:#3a1a18;--warnb:#382a0d;--goodb:#14301f;--card:#202020;"
"--sbad:#ef5a50;--swarn:#e0a526;--sgood:#3fae6c;--sidle:#565656}}"
"*{box-sizing:border-box}body{margin:0;background:var(--b);color:var(--f);font:16px/1.45 system-ui,sans-serif;overflow-wrap:anywhere}"
"main{max-width:76em;margin:0 auto;padding:1em}p{margin:.2em 0}ul,ol,dl{margin:0;padding:0;list-style:none}"
"header{border-radius:.5em;padding:.8em 1em;border-left:.5em solid;margin-bottom:1.2em}"
"h1{font-size:1.6em;line-height:1.2;margin:0 0 .2em}h2{font-size:1.1em;margin:1.6em 0 .5em;border-bottom:1px solid var(--l);padding-bottom:.2em}"
"h2 .n{color:var(--g);font-weight:400}h3{font-size:1em;margin:0}small{font-size:.85em;color:var(--g);font-weight:400}"
"header.bad{background:var(--badb);border-color:var(--sbad)}header.warn{background:var(--warnb);border-color:var(--swarn)}header.good{background:var(--goodb);border-color:var(--sgood)}"
"header.bad h1,.is-bad{color:var(--bad)}header.warn h1,.is-warn{color:var(--warn)}header.good h1,.is-good{color:var(--good)}"
".note{color:var(--g)}header .note{color:inherit;opacity:.85;font-size:.9em}.old{font-weight:600}"
".stale{visibility:hidden;max-height:0;overflow:hidden;font-weight:600;color:var(--bad);animation:stale 0s 35s forwards}@keyframes stale{to{visibility:visible;max-height:9em}}"
"#needs{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(24em,100%),1fr));gap:.6em;margin-bottom:.6em}#needs>li{margin:0}"
".cards>li{background:var(--card);border-left:.3em solid var(--sidle);border-radius:.3em;padding:.6em .8em;margin:0 0 .6em;break-inside:avoid}"
".cards>li.bad{border-color:var(--sbad)}.cards>li.warn{border-color:var(--swarn)}.verdict{font-weight:600}li.bad .verdict{color:var(--bad)}li.warn .verdict{color:var(--warn)}"
".since{font-variant-numeric:tabular-nums}.error,.why{color:var(--g)}"
"code.cmd{display:block;white-space:pre-wrap;user-select:all;background:var(--b);border:1px solid var(--l);border-radius:.3em;padding:.3em .5em;margin-top:.4em;"
"font:.85em/1.4 ui-monospace,monospace}"
".log>li{padding:.35em 0;border-bottom:1px solid var(--l);break-inside:avoid}.log .t{font-variant-numeric:tabular-nums;color:var(--g)}"
".chips>li{display:inline-block;background:var(--card);border-radius:1em;padding:.1em .7em;margin:0 .4em .4em 0;font-size:.9em}.chips b{font-variant-numeric:tabular-nums}"
"svg.bar{display:block;width:100%;height:.8em;border-radius:.2em;margin:.25em 0}.sgood{fill:var(--sgood)}.slate{fill:var(--swarn)}.sbad{fill:var(--sbad)}.sidle{fill:var(--sidle)}"
"dl.facts{display:grid;grid-template-columns:max-content 1fr;gap:.2em 1em}dl.facts dt{color:var(--g)}dl.facts dd{margin:0;white-space:pre-line}"
"table{border-collapse:collapse;width:100%;font-size:.9em}th,td{text-align:left;vertical-align:top;padding:.3em .8em .3em 0;border-bottom:1px solid var(--l);overflow-wrap:normal}td.can{overflow-wrap:anywhere;width:40%}"
"thead th{color:var(--g);font-weight:400}tr.chosen{background:var(--goodb)}tr.now th{color:var(--good)}"
"@media(min-width:62em){.two{display:grid;grid-template-columns:minmax(0,3fr) minmax(0,2fr);gap:0 2em}.two h2:first-child{margin-top:.4em}}"
"@media(max-width:40em){main{padding:.6em}h1{font-size:1.35em}thead{display:none}table,tbody{display:block}tr{display:grid;grid-template-columns:6.5em 1fr;border-bottom:1px solid var(--l);padding:.4em 0}"
"th,td{display:contents}th,td{font-weight:inherit}td:empty{display:none}td:before,th:before{content:attr(data-h);color:var(--g);font-weight:400}tbody th span{font-weight:600}svg text{font-size:26px}svg text.in{font-size:22px}}"
"@media print{:root{--b:#fff;--f:#000;--card:#fff;--l:#bbb}body{font-size:11px}main{max-width:none;padding:0}.stale{display:none}header{border:1px solid;border-left-width:.5em}"
".cards>li{border:1px solid var(--l);border-left-width:.3em}.two{display:block}svg{print-color-adjust:exact}}";

static void append_part(StringInfo page, const char *kind, double *x, int64 n,
						int64 total);

/*
 * Begin a page.
 */
void
mrb_page_parts_begin(StringInfo page, const MrbPageHead *head, const char *title,
					 const char *kind, const char *headline, const char *sum)
{
	mrb_html_page_begin(page, title, head_elements, style);
	appendStringInfo(page, "<header class=\"%s\"><h1 id=\"headline\">", kind);
	mrb_html_append(page, headline);
	appendStringInfoString(page, "</h1>\n");
	if (head->deployment_id != NULL)
	{
		appendStringInfoString(page, "<p id=\"deployment\">");
		mrb_page_parts_name(page, head->title, head->deployment_id);
		appendStringInfoString(page, "</p>\n");
	}
	appendStringInfoString(page, "<p id=\"made\" class=\"note\">Made at <time>");
	mrb_html_append(page, head->made);
	appendStringInfoString(page, "</time> in database ");
	mrb_html_element(page, "bdi", head->database);
	appendStringInfoString(page, "; reloads every 10 s. Dispatcher: ");
	mrb_html_append(page, head->dispatcher);
	appendStringInfoString(page, ".</p>\n");
	if (head->old != NULL)
	{
		appendStringInfoString(page, "<p id=\"old\" class=\"old\">");
		mrb_html_append(page, head->old);
		appendStringInfoString(page, ".</p>\n");
	}
	appendStringInfoString(page, "<p class=\"stale\">This page stands still: it shows what was at ");
	mrb_html_append(page, head->clock);
	appendStringInfo(page, ".</p>%s</header>\n", sum);
}

/*
 * Begin a section.
 */
void
mrb_page_parts_section(StringInfo page, const char *id, const char *title,
					   const char *n)
{
	appendStringInfo(page, "<h2 id=\"%s\">%s", id, title);
	if (n != NULL)
	{
		appendStringInfoString(page, " <span class=\"n\">");
		mrb_html_append(page, n);
		appendStringInfoString(page, "</span>");
	}
	appendStringInfoString(page, "</h2>\n");
}

/*
 * Append an element of a class.
 */
void
mrb_page_parts_text(StringInfo page, const char *element, const char *kind,
					const char *value)
{
	if (value == NULL || *value == '\0')
		return;
	appendStringInfo(page, "<%s class=\"%s\">", element, kind);
	mrb_html_element(page, "bdi", value);
	appendStringInfo(page, "</%s>", element);
}

/*
 * Append a name and an id; a deployment that was deleted has no name.
 */
void
mrb_page_parts_name(StringInfo page, const char *name, const char *id)
{
	if (name != NULL)
	{
		appendStringInfoString(page, "<strong>");
		mrb_html_element(page, "bdi", name);
		appendStringInfoString(page, "</strong> ");
	}
	if (id != NULL)
	{
		appendStringInfoString(page, "<small>");
		mrb_html_element(page, "bdi", id);
		appendStringInfoString(page, "</small>");
	}
}

/*
 * Append a command; a click selects all of it.
 */
void
mrb_page_parts_command(StringInfo page, const char *value)
{
	if (value == NULL || *value == '\0')
		return;
	appendStringInfoString(page, "<code class=\"cmd\" dir=\"ltr\">");
	mrb_page_parts_lines(page, value);
	appendStringInfoString(page, "</code>");
}

/*
 * Append lines.
 */
void
mrb_page_parts_lines(StringInfo page, const char *value)
{
	const char *line = value;

	while (*line != '\0')
	{
		int			len = strcspn(line, "\n");

		mrb_html_append(page, pnstrdup(line, len));
		line += len;
		if (*line == '\n')
		{
			appendStringInfoChar(page, '\n');
			line++;
		}
	}
}

/*
 * Append a bar.
 */
void
mrb_page_parts_bar(StringInfo page, const MrbPageBar *bar)
{
	double		x = 0;

	if (bar->total <= 0)
		return;
	appendStringInfo(page, "<svg class=\"bar\" viewBox=\"0 0 %d 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
					 "<rect class=\"sidle\" width=\"%d\" height=\"8\"/>", BAR_WIDTH, BAR_WIDTH);
	append_part(page, "sbad", &x, bar->bad, bar->total);
	append_part(page, "slate", &x, bar->late, bar->total);
	append_part(page, "sgood", &x, bar->good, bar->total);
	appendStringInfoString(page, "</svg>");
}

/*
 * Append a part of a bar.  One edge of thousands is to be seen as well.
 */
static void
append_part(StringInfo page, const char *kind, double *x, int64 n, int64 total)
{
	double		width = Min(Max((double) n / total * BAR_WIDTH, 6), BAR_WIDTH - *x);

	if (n <= 0)
		return;
	appendStringInfo(page, "<rect class=\"%s\" x=\"%.1f\" width=\"%.1f\" height=\"8\"/>",
					 kind, *x, width);
	*x += width;
}
