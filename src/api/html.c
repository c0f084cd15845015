/*-------------------------------------------------------------------------
 *
 * html.c
 *	  Texts in HTML and SVG.
 *
 * This is the one place where a page takes a text that it has not made itself.
 * Characters with a meaning in HTML become references; those that do not show,
 * or that change how others show, become escapes, as in messages
 * (check_argument.c).  Other characters outside of ASCII become references by
 * their number, so that a page is ASCII in whatever encoding it is stored, and
 * bytes that are no character become escapes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "api/html.h"
#include "base/check_argument.h"

static int	append_character(StringInfo page, const unsigned char *at, int left);

/*
 * Append a text.
 */
void
mrb_html_append(StringInfo page, const char *value)
{
	char	   *shown;
	int			len;

	if (value == NULL)
		return;
	shown = mrb_check_argument_show(value);
	if (GetDatabaseEncoding() != PG_SQL_ASCII)
		shown = pg_server_to_any(shown, strlen(shown), PG_UTF8);
	len = strlen(shown);
	for (int i = 0; i < len;)
		i += append_character(page, (unsigned char *) shown + i, len - i);
}

/*
 * Append an element.
 */
void
mrb_html_element(StringInfo page, const char *name, const char *value)
{
	appendStringInfo(page, "<%s>", name);
	mrb_html_append(page, value);
	appendStringInfo(page, "</%s>", name);
}

/*
 * Append a character, and return its length.
 */
static int
append_character(StringInfo page, const unsigned char *at, int left)
{
	int			len = pg_utf_mblen(at);

	if (*at < 0x80)
	{
		if (strchr("&<>\"'", *at) != NULL)
			appendStringInfo(page, "&#%d;", *at);
		else
			appendStringInfoChar(page, *at);
		return 1;
	}
	if (len > left || !pg_utf8_islegal(at, len))
	{
		appendStringInfo(page, "\\x%02x", *at);
		return 1;
	}
	appendStringInfo(page, "&#x%x;", utf8_to_unicode(at));
	return len;
}
