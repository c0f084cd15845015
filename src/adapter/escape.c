/*-------------------------------------------------------------------------
 *
 * escape.c
 *	  Escapes values for the text that they are inserted into.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/base64.h"
#include "mb/pg_wchar.h"
#include "utils/json.h"

#include "adapter/escape.h"
#include "base/compat.h"

/* Characters of a URI besides letters and digits (RFC 3986). */
#define URI_MARKS "-._~:/?#[]@!$&'()*+,;=%"

static bool in_uri(char c, const char *marks);
static void append_percent(StringInfo out, const char *value,
						   const char *kept);
static void append_in_string(StringInfo out, const char *value);
static void append_xml(StringInfo out, const char *value);

/*
 * Only the choice among the styles is made here.
 */
void
mrb_escape_append(StringInfo out, MrbEscapeStyle style, const char *value)
{
	switch (style)
	{
		case MRB_ESCAPE_PLAIN:
			appendStringInfoString(out, value);
			break;
		case MRB_ESCAPE_PERCENT:
			append_percent(out, value, "-._~");
			break;
		case MRB_ESCAPE_PERCENT_PATH:
			append_percent(out, value, "-._~/");
			break;
		case MRB_ESCAPE_IN_JSON_STRING:
			append_in_string(out, value);
			break;
		case MRB_ESCAPE_JSON_STRING:
			escape_json(out, value);
			break;
		case MRB_ESCAPE_XML:
			append_xml(out, value);
			break;
	}
}

/*
 * "%" is kept, so a URI that is encoded already stays the same.
 */
const char *
mrb_escape_uri(const char *uri)
{
	const char *p = uri;
	StringInfoData out;

	while (in_uri(*p, URI_MARKS))
		p++;
	if (*p == '\0')
		return uri;
	initStringInfo(&out);
	append_percent(&out, uri, URI_MARKS);
	return out.data;
}

/*
 * Characters that are not printable ASCII are inside of strings, where they may be
 * escapes.
 */
char *
mrb_escape_json_ascii(const char *json)
{
	StringInfoData out;

	initStringInfo(&out);
	for (const char *p = json; *p != '\0'; p += pg_utf_mblen((const unsigned char *) p))
	{
		pg_wchar	c = utf8_to_unicode((const unsigned char *) p);

		if (c >= ' ' && c <= '~')
			appendStringInfoChar(&out, (char) c);
		else if (c > 0x10FFFF)
			appendStringInfoString(&out, "\\ufffd");	/* no UTF-8 */
		else if (c <= 0xFFFF)
			appendStringInfo(&out, "\\u%04x", c);
		else
			appendStringInfo(&out, "\\u%04x\\u%04x", 0xD800 + ((c - 0x10000) >> 10),
							 0xDC00 + ((c - 0x10000) & 0x3FF));
	}
	return out.data;
}

/*
 * The alphabet is the standard one, with padding.
 */
char *
mrb_escape_base64(const char *value, int len)
{
	int			size = pg_b64_enc_len(len);
	char	   *encoded = palloc(size + 1);

	encoded[pg_b64_encode((const MrbBase64Byte *) value, len,
						  encoded, size)] = '\0';
	return encoded;
}

/*
 * Whether a character is a letter, a digit, or one of the marks.
 */
static bool
in_uri(char c, const char *marks)
{
	return c != '\0' &&
		((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		 (c >= '0' && c <= '9') || strchr(marks, c) != NULL);
}

/*
 * Percent-encode all bytes except letters, digits, and the characters in kept.
 */
static void
append_percent(StringInfo out, const char *value, const char *kept)
{
	for (const char *p = value; *p != '\0'; p++)
	{
		if (in_uri(*p, kept))
			appendStringInfoChar(out, *p);
		else
			appendStringInfo(out, "%%%02X", (unsigned char) *p);
	}
}

/*
 * Append the inside of a JSON string: escape_json() adds quotes, which are
 * removed again.
 */
static void
append_in_string(StringInfo out, const char *value)
{
	int			start = out->len;

	escape_json(out, value);
	memmove(out->data + start, out->data + start + 1, out->len - start - 2);
	out->len -= 2;
	out->data[out->len] = '\0';
}

/*
 * Replace the characters that are special in XML with numeric references.
 */
static void
append_xml(StringInfo out, const char *value)
{
	for (const char *p = value; *p != '\0'; p++)
	{
		if (strchr("&<>\"'", *p) != NULL)
			appendStringInfo(out, "&#%d;", *p);
		else
			appendStringInfoChar(out, *p);
	}
}
