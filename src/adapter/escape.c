/*-------------------------------------------------------------------------
 *
 * escape.c
 *	  Writing a value so that it stays one, whatever it stands in.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/base64.h"
#include "utils/json.h"

#include "adapter/escape.h"
#include "base/compat.h"

/* What a URI is made of besides letters and digits, by RFC 3986. */
#define URI_MARKS "-._~:/?#[]@!$&'()*+,;=%"

static bool in_uri(char c, const char *marks);
static void append_percent(StringInfo out, const char *value,
						   const char *kept);
static void append_in_string(StringInfo out, const char *value);
static void append_xml(StringInfo out, const char *value);

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

char *
mrb_escape_base64(const char *value, int len)
{
	int			size = pg_b64_enc_len(len);
	char	   *encoded = palloc(size + 1);

	encoded[pg_b64_encode((const MrbBase64Byte *) value, len,
						  encoded, size)] = '\0';
	return encoded;
}

static bool
in_uri(char c, const char *marks)
{
	return c != '\0' &&
		((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		 (c >= '0' && c <= '9') || strchr(marks, c) != NULL);
}

/*
 * What RFC 3986 calls unreserved stays as it is: letters, digits, and what is
 * named here.
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
 * escape_json() adds quotes; there are some already.
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
