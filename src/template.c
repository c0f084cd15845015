/*-------------------------------------------------------------------------
 *
 * template.c
 *	  Texts with {variables}, compiled once and rendered for every request.
 *
 * "{" followed by a lower-case name and "}" is a variable; every other brace
 * is an ordinary character, so that JSON needs no escapes.
 *
 * Values come from other people's tables, and they land in URLs, headers,
 * JSON and, through a cache's configuration, in its expressions.  So each
 * variable has an alphabet, checked whenever it is rendered, that holds none
 * of the characters that could end a header, a path or a VCL expression; and
 * besides it is escaped for the place.  What does not fit is refused: nothing
 * is sent rather than something else.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/json.h"

#include "template.h"

typedef enum Alphabet
{
	ALPHABET_ID,				/* A-Z a-z 0-9 . _ : - # @ */
	ALPHABET_HOST,				/* a-z 0-9 . _ - and a leading "*." */
	ALPHABET_NUMBER,
	ALPHABET_URI,				/* what RFC 3986 allows */
	ALPHABET_SECRET,			/* printable ASCII */
} Alphabet;

static const struct
{
	const char *name;
	Alphabet	alphabet;
}			variables[MRB_VARIABLES] =

{
	[MRB_VAR_DEPLOYMENT_ID] = {"deployment_id", ALPHABET_ID},
	[MRB_VAR_EPOCH] = {"epoch", ALPHABET_NUMBER},
	[MRB_VAR_HOST] = {"host", ALPHABET_HOST},
	[MRB_VAR_HOSTS] = {"hosts", ALPHABET_HOST},
	[MRB_VAR_KIND] = {"kind", ALPHABET_ID},
	[MRB_VAR_MESSAGE_ID] = {"message_id", ALPHABET_ID},
	[MRB_VAR_OPERATION_ID] = {"operation_id", ALPHABET_ID},
	[MRB_VAR_RELEASE_ID] = {"release_id", ALPHABET_ID},
	[MRB_VAR_REMOVED_HOSTS] = {"removed_hosts", ALPHABET_HOST},
	[MRB_VAR_SECRET] = {"secret", ALPHABET_SECRET},
	[MRB_VAR_SHA256] = {"sha256", ALPHABET_ID},
	[MRB_VAR_STORAGE_URI] = {"storage_uri", ALPHABET_URI},
	[MRB_VAR_TENANT_ID] = {"tenant_id", ALPHABET_ID},
	[MRB_VAR_VERSION_ID] = {"version_id", ALPHABET_ID},
	[MRB_VAR_VERSION_NUMBER] = {"version_number", ALPHABET_NUMBER},
};

/* How one variable is written, the place and the quotes around considered. */
typedef enum Style
{
	STYLE_PLAIN,
	STYLE_PERCENT,
	STYLE_IN_JSON_STRING,
	STYLE_JSON_VALUE,
} Style;

/* A piece of literal text, followed by a variable unless it is the last. */
typedef struct Segment
{
	char	   *literal;
	int			len;
	bool		has_variable;
	MrbVariable variable;
	char	   *secret;			/* name of the secret; NULL: the endpoint's */
	Style		style;
} Segment;

struct MrbTemplate
{
	int			nsegments;
	Segment		segments[FLEXIBLE_ARRAY_MEMBER];
};

static int	variable_length(const char *text);
static bool is_stray_brace(const char *text, MrbPlace place);
static bool parse_variable(const char *name, int len, Segment *segment);
static Style style_for(MrbPlace place, bool in_string);
static MrbRendered render_variable(const Segment *segment,
								   const MrbValues *values, StringInfo out);
static MrbRendered render_list(const Segment *segment, const MrbList *list,
							   StringInfo out);
static bool fits(Alphabet alphabet, const char *value);
static void append_value(StringInfo out, Style style, Alphabet alphabet,
						 const char *value);
static void append_percent(StringInfo out, const char *value);

MrbTemplate *
mrb_template_compile(const char *text, MrbPlace place, const char **problem,
					 int *offset)
{
	int			most = 1;
	int			start = 0;
	bool		in_string = false;
	MrbTemplate *template;

	for (const char *p = text; *p != '\0'; p++)
		most += *p == '{';
	template = palloc0(offsetof(MrbTemplate, segments) +
					   most * sizeof(Segment));

	for (int i = 0;; i++)
	{
		Segment    *segment = &template->segments[template->nsegments];
		int			len = text[i] == '{' ? variable_length(text +i) : 0;

		if (len == 0 && is_stray_brace(text +i, place))
		{
			*problem = "a brace that belongs to no variable";
			*offset = i;
			return NULL;
		}
		if (text[i] != '\0' && len == 0)
		{
			if (text[i] == '\\' && in_string && text[i + 1] != '\0')
				i++;
			else if (text[i] == '"')
				in_string = !in_string;
			continue;
		}
		segment->literal = pnstrdup(text +start, i - start);
		segment->len = i - start;
		template->nsegments++;
		if (text[i] == '\0')
			return template;

		segment->style = style_for(place, in_string);
		if (!parse_variable(text +i + 1, len - 2, segment))
		{
			*problem = psprintf("unknown variable \"%.*s\"", len, text +i);
			*offset = i;
			return NULL;
		}
		if ((segment->variable == MRB_VAR_HOSTS ||
			 segment->variable == MRB_VAR_REMOVED_HOSTS) &&
			segment->style != STYLE_JSON_VALUE)
		{
			*problem = "a list can only stand in JSON, outside of quotes";
			*offset = i;
			return NULL;
		}
		i += len - 1;
		start = i + 1;
	}
}

MrbRendered
mrb_template_render(const MrbTemplate *template, const MrbValues *values,
					StringInfo out, const char **variable)
{
	for (int i = 0; i < template->nsegments; i++)
	{
		const Segment *segment = &template->segments[i];
		MrbRendered result;

		appendBinaryStringInfo(out, segment->literal, segment->len);
		if (!segment->has_variable)
			continue;
		result = render_variable(segment, values, out);
		if (result != MRB_RENDERED)
		{
			*variable = variables[segment->variable].name;
			return result;
		}
	}
	return MRB_RENDERED;
}

char *
mrb_template_variables(void)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < MRB_VARIABLES; i++)
		appendStringInfo(&names, "%s{%s}", i > 0 ? " " : "",
						 variables[i].name);
	appendStringInfoString(&names, " {secret:name}");
	return names.data;
}

/*
 * Length of the variable at "{", braces included; 0 when it is none.
 */
static int
variable_length(const char *text)
{
	int			i = 1;

	if (!(text[i] >= 'a' && text[i] <= 'z'))
		return 0;
	while ((text[i] >= 'a' && text[i] <= 'z') ||
		   (text[i] >= '0' && text[i] <= '9') ||text[i] == '_')
		i++;
	if (text[i] == ':')
	{
		i++;
		while (text[i] != '\0' && text[i] != '}' &&
			   strchr("{\"", text[i]) == NULL)
			i++;
	}
	return text[i] == '}' ? i + 1 : 0;
}

/*
 * A brace that is no variable's is a slip of the pen: in a path, where braces
 * have no place, and before a letter in other texts that are not JSON.
 */
static bool
is_stray_brace(const char *text, MrbPlace place)
{
	if (place == MRB_PLACE_PATH)
		return text[0] == '{' || text[0] == '}';
	return place != MRB_PLACE_JSON && text[0] == '{' &&
	((text[1] >= 'a' && text[1] <= 'z') ||
	 (text[1] >= 'A' && text[1] <= 'Z'));
}

static bool
parse_variable(const char *name, int len, Segment *segment)
{
	const char *colon = memchr(name, ':', len);
	int			bare = colon != NULL ? colon - name : len;

	for (int i = 0; i < MRB_VARIABLES; i++)
	{
		if (strncmp(variables[i].name, name, bare) != 0 ||
			variables[i].name[bare] != '\0')
			continue;
		if (colon != NULL)
		{
			if (i != MRB_VAR_SECRET || bare + 1 == len)
				return false;
			segment->secret = pnstrdup(colon + 1, len - bare - 1);
		}
		segment->has_variable = true;
		segment->variable = i;
		return true;
	}
	return false;
}

static Style
style_for(MrbPlace place, bool in_string)
{
	switch (place)
	{
		case MRB_PLACE_PATH:
			return STYLE_PERCENT;
		case MRB_PLACE_JSON:
			return in_string ? STYLE_IN_JSON_STRING : STYLE_JSON_VALUE;
		case MRB_PLACE_HEADER:
		case MRB_PLACE_TEXT:
			break;
	}
	return STYLE_PLAIN;
}

static MrbRendered
render_variable(const Segment *segment, const MrbValues *values,
				StringInfo out)
{
	const char *value = values->text[segment->variable];
	Alphabet	alphabet = variables[segment->variable].alphabet;

	if (segment->variable == MRB_VAR_HOSTS)
		return render_list(segment, &values->hosts, out);
	if (segment->variable == MRB_VAR_REMOVED_HOSTS)
		return render_list(segment, &values->removed_hosts, out);
	if (segment->secret != NULL)
	{
		value = values->named_secret(segment->secret);
		if (value == NULL)
			return MRB_RENDER_REFUSED;
	}
	if (value == NULL)
	{
		if (segment->variable == MRB_VAR_SECRET)
			return MRB_RENDER_NO_SECRET;
		if (segment->style != STYLE_JSON_VALUE)
			return MRB_RENDER_NO_VALUE;
		appendStringInfoString(out, "null");
		return MRB_RENDERED;
	}
	if (!fits(alphabet, value))
		return MRB_RENDER_REFUSED;
	append_value(out, segment->style, alphabet, value);
	return MRB_RENDERED;
}

/*
 * A list becomes a JSON array.
 */
static MrbRendered
render_list(const Segment *segment, const MrbList *list, StringInfo out)
{
	appendStringInfoChar(out, '[');
	for (int i = 0; i < list->n; i++)
	{
		if (!fits(ALPHABET_HOST, list->items[i]))
			return MRB_RENDER_REFUSED;
		if (i > 0)
			appendStringInfoChar(out, ',');
		append_value(out, segment->style, ALPHABET_HOST, list->items[i]);
	}
	appendStringInfoChar(out, ']');
	return MRB_RENDERED;
}

/*
 * Whether the value is of its alphabet; an empty one is of none.
 */
static bool
fits(Alphabet alphabet, const char *value)
{
	if (alphabet == ALPHABET_HOST && value[0] == '*' && value[1] == '.')
		value += 2;
	if (*value == '\0')
		return false;
	for (const char *p = value; *p != '\0'; p++)
	{
		bool		digit = *p >= '0' && *p <= '9';
		bool		lower = *p >= 'a' && *p <= 'z';
		bool		upper = *p >= 'A' && *p <= 'Z';
		bool		ok = false;

		switch (alphabet)
		{
			case ALPHABET_ID:
				ok = digit || lower || upper || strchr("._:-#@", *p) != NULL;
				break;
			case ALPHABET_HOST:
				ok = digit || lower || strchr("._-", *p) != NULL;
				break;
			case ALPHABET_NUMBER:
				ok = digit;
				break;
			case ALPHABET_URI:
				ok = digit || lower || upper ||
					strchr("-._~:/?#[]@!$&'()*+,;=%", *p) != NULL;
				break;
			case ALPHABET_SECRET:
				ok = *p >= 0x20 && *p <= 0x7e;
				break;
		}
		if (!ok)
			return false;
	}
	return true;
}

static void
append_value(StringInfo out, Style style, Alphabet alphabet,
			 const char *value)
{
	switch (style)
	{
		case STYLE_PLAIN:
			appendStringInfoString(out, value);
			break;
		case STYLE_PERCENT:
			append_percent(out, value);
			break;
		case STYLE_JSON_VALUE:
			if (alphabet == ALPHABET_NUMBER)
				appendStringInfoString(out, value);
			else
				escape_json(out, value);
			break;
		case STYLE_IN_JSON_STRING:
			{
				int			start = out->len;

				/* escape_json() adds quotes; there are some already. */
				escape_json(out, value);
				memmove(out->data + start, out->data + start + 1,
						out->len - start - 2);
				out->len -= 2;
				out->data[out->len] = '\0';
			}
			break;
	}
}

/*
 * Only what RFC 3986 calls unreserved stays as it is.
 */
static void
append_percent(StringInfo out, const char *value)
{
	for (const char *p = value; *p != '\0'; p++)
	{
		if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			(*p >= '0' && *p <= '9') || strchr("-._~", *p) != NULL)
			appendStringInfoChar(out, *p);
		else
			appendStringInfo(out, "%%%02X", (unsigned char) *p);
	}
}
