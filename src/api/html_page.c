/*-------------------------------------------------------------------------
 *
 * html_page.c
 *	  What all pages have in common.
 *
 * A page needs nothing else: no script, and no font, picture or style from
 * elsewhere, which its Content-Security-Policy forbids as well.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/html.h"
#include "api/html_page.h"

/* Colors, and the classes of pictures (report_svg.c). */
static const char common_style[] =
":root{color-scheme:light dark;--b:#fff;--f:#1a1a1a;--g:#767676;--l:#d5d5d5;--a:#0b62c4;"
"--c0:#8a8a8a;--c1:#2f6fb7;--c2:#b45f06;--c3:#38761d;--c4:#8e3b8e;--c5:#a61c1c;--c6:#20757a}"
"@media(prefers-color-scheme:dark){:root{--b:#161616;--f:#e8e8e8;--g:#a0a0a0;--l:#3a3a3a;--a:#7db4f5}}"
"svg{max-width:100%;height:auto}svg text{fill:var(--f);font:12px system-ui,sans-serif}"
"text.end{text-anchor:end}text.mid,svg text.in{text-anchor:middle}svg text.in{fill:#fff;font-weight:600}"
".c0{fill:var(--c0)}.c1{fill:var(--c1)}.c2{fill:var(--c2)}.c3{fill:var(--c3)}.c4{fill:var(--c4)}.c5{fill:var(--c5)}.c6{fill:var(--c6)}";

/*
 * Begin a page.
 */
void
mrb_html_page_begin(StringInfo page, const char *title, const char *head,
					const char *style)
{
	appendStringInfoString(page,
						   "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
						   "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">"
						   "<meta name=\"viewport\" content=\"width=device-width\">");
	appendStringInfo(page, "<meta name=\"referrer\" content=\"no-referrer\">%s", head);
	mrb_html_element(page, "title", title);
	appendStringInfo(page, "<style>%s%s</style></head>\n<body><main>", common_style, style);
}

/*
 * End a page.
 */
void
mrb_html_page_end(StringInfo page)
{
	appendStringInfoString(page, "</main></body></html>\n");
}

/*
 * Append the names of columns, and begin the rows.
 */
void
mrb_html_page_columns(StringInfo page, const char *const *names, int n)
{
	appendStringInfoString(page, "<thead><tr>");
	for (int i = 0; i < n; i++)
		appendStringInfo(page, "<th scope=\"col\">%s</th>", names[i]);
	appendStringInfoString(page, "</tr></thead><tbody>\n");
}
