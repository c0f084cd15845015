/*-------------------------------------------------------------------------
 *
 * template.c
 *	  Texts with {variables}, compiled once and rendered for every request.
 *
 * "{" followed by a lower-case name and "}" is a variable; every other brace
 * is an ordinary character, so that JSON needs no escapes.  "|" and the name
 * of a filter can follow the name: |base64 for one value, |space and |comma
 * for a list where it cannot be an array.
 *
 * A value must be of its variable's alphabet, checked whenever it is
 * rendered, and besides it is escaped for the place.  What does not fit is
 * refused: nothing is sent rather than something else.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "adapter/escape.h"
#include "adapter/template.h"

typedef enum Filter
{
	FILTER_NONE,
	FILTER_BASE64,				/* of one value */
	FILTER_SPACE,				/* a list, its items apart by a space */
	FILTER_COMMA,				/* ... by a comma */
} Filter;

static const struct
{
	const char *name;
	Filter		filter;
}			filters[] =

{
	{"base64", FILTER_BASE64},
	{"space", FILTER_SPACE},
	{"comma", FILTER_COMMA},
};

/* A piece of literal text, followed by a variable unless it is the last. */
typedef struct Segment
{
	char	   *literal;
	int			len;
	bool		has_variable;
	MrbVariable variable;
	MrbCharset	alphabet;
	char	   *secret;			/* name of the secret; NULL: the endpoint's */
	Filter		filter;
	MrbEscapeStyle style;
} Segment;

struct MrbTemplate
{
	int			nsegments;
	Segment		segments[FLEXIBLE_ARRAY_MEMBER];
};

static int	variable_length(const char *text);
static bool is_stray(const char *text, MrbTemplatePlace place);
static MrbEscapeStyle style_for(MrbTemplatePlace place, bool in_string);
static const char *parse_variable(const char *text, int len,
								  Segment *segment);
static bool parse_filter(const char *name, int len, Filter *filter);
static const char *check_filter(const Segment *segment);
static MrbRenderResult render_variable(const Segment *segment,
									   const MrbTemplateValues *values, StringInfo out);
static MrbRenderResult render_list(const Segment *segment, const MrbStringList *list,
								   StringInfo out);
static void append_value(const Segment *segment, StringInfo out,
						 const char *value);

MrbTemplate *
mrb_template_compile(const char *text, MrbTemplatePlace place,
					 const MrbAlphabets *alphabets, const char **problem,
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

		*offset = i;
		if (len == 0 && is_stray(text +i, place))
		{
			*problem = "a brace or bar that belongs to no variable";
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
		*problem = parse_variable(text +i, len, segment);
		if (*problem != NULL)
			return NULL;
		segment->alphabet = alphabets->of[segment->variable];
		i += len - 1;
		start = i + 1;
	}
}

MrbRenderResult
mrb_template_render(const MrbTemplate *template, const MrbTemplateValues *values,
					StringInfo out, const char **variable)
{
	for (int i = 0; i < template->nsegments; i++)
	{
		const Segment *segment = &template->segments[i];
		MrbRenderResult result;

		appendBinaryStringInfo(out, segment->literal, segment->len);
		if (!segment->has_variable)
			continue;
		result = render_variable(segment, values, out);
		if (result != MRB_RENDERED)
		{
			*variable = segment->secret != NULL ?
				psprintf("secret:%s", segment->secret) :
				mrb_variable_name(segment->variable);
			return result;
		}
	}
	return MRB_RENDERED;
}

void
mrb_template_sample(const MrbTemplate *template, StringInfo out)
{
	for (int i = 0; i < template->nsegments; i++)
	{
		const Segment *segment = &template->segments[i];

		appendBinaryStringInfo(out, segment->literal, segment->len);
		if (segment->has_variable)
			appendStringInfoString(out, segment->style == MRB_ESCAPE_JSON_STRING ?
								   "null" : "x");
	}
}

const char *
mrb_template_lacks_secret(const MrbTemplate *template,
						  const MrbTemplateValues *values)
{
	for (int i = 0; i < template->nsegments; i++)
	{
		const Segment *segment = &template->segments[i];

		if (!segment->has_variable || segment->variable != MRB_VAR_SECRET)
			continue;
		if (segment->secret == NULL && values->text[MRB_VAR_SECRET] == NULL)
			return "";
		if (segment->secret != NULL &&
			values->named_secret(segment->secret,
								 values->named_secret_arg) == NULL)
			return segment->secret;
	}
	return NULL;
}

uint32
mrb_template_uses(const MrbTemplate *template)
{
	uint32		uses = 0;

	for (int i = 0; i < template->nsegments; i++)
	{
		const Segment *segment = &template->segments[i];

		/* One by name is no matter of the endpoint's secret. */
		if (segment->has_variable && segment->secret == NULL)
			uses |= MRB_VAR_BIT(segment->variable);
	}
	return uses;
}

char *
mrb_template_language(void)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, "The variables are");
	for (int i = 0; i < MRB_VARIABLES; i++)
		appendStringInfo(&text, " {%s}", mrb_variable_name(i));
	appendStringInfoString(&text, " {secret:name}; the filters are");
	for (size_t i = 0; i < lengthof(filters); i++)
		appendStringInfo(&text, " |%s", filters[i].name);
	appendStringInfoChar(&text, '.');
	return text.data;
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
	if (text[i] == ':' || text[i] == '|')
	{
		while (text[i] != '\0' && strchr("{}\"", text[i]) == NULL)
			i++;
	}
	return text[i] == '}' ? i + 1 : 0;
}

/*
 * A brace that is no variable's is a slip of the pen: in a path, where braces
 * and bars have no place, and before a letter in other texts that are not JSON.
 */
static bool
is_stray(const char *text, MrbTemplatePlace place)
{
	if (place == MRB_TEMPLATE_PATH)
		return text[0] != '\0' && strchr("{}|", text[0]) != NULL;
	return place != MRB_TEMPLATE_JSON && text[0] == '{' &&
	((text[1] >= 'a' && text[1] <= 'z') ||
	 (text[1] >= 'A' && text[1] <= 'Z'));
}

static MrbEscapeStyle
style_for(MrbTemplatePlace place, bool in_string)
{
	switch (place)
	{
		case MRB_TEMPLATE_PATH:
		case MRB_TEMPLATE_FORM:
			return MRB_ESCAPE_PERCENT;
		case MRB_TEMPLATE_JSON:
			return in_string ? MRB_ESCAPE_IN_JSON_STRING :
				MRB_ESCAPE_JSON_STRING;
		case MRB_TEMPLATE_XML:
			return MRB_ESCAPE_XML;
		case MRB_TEMPLATE_HEADER:
		case MRB_TEMPLATE_TEXT:
			break;
	}
	return MRB_ESCAPE_PLAIN;
}

/*
 * Parse a variable with its braces; NULL when done, else what is wrong.
 */
static const char *
parse_variable(const char *text, int len, Segment *segment)
{
	const char *name = text +1;
	const char *end = text +len - 1;
	const char *bar = memchr(name, '|', end - name);
	const char *colon;

	if (bar != NULL &&
		!parse_filter(bar + 1, end - bar - 1, &segment->filter))
		return psprintf("unknown filter \"%.*s\"", (int) (end - bar), bar);
	end = bar != NULL ? bar : end;

	colon = memchr(name, ':', end - name);
	segment->variable = mrb_variable_find(name,
										  (colon ? colon : end) - name);
	if (segment->variable == MRB_VARIABLES ||
		(colon != NULL &&
		 (segment->variable != MRB_VAR_SECRET || colon + 1 == end)))
		return psprintf("unknown variable \"%.*s\"", len, text);
	if (colon != NULL)
		segment->secret = pnstrdup(colon + 1, end - colon - 1);
	segment->has_variable = true;
	return check_filter(segment);
}

static bool
parse_filter(const char *name, int len, Filter *filter)
{
	for (size_t i = 0; i < lengthof(filters); i++)
	{
		if (strncmp(filters[i].name, name, len) != 0 ||
			filters[i].name[len] != '\0')
			continue;
		*filter = filters[i].filter;
		return true;
	}
	return false;
}

/*
 * Whether variable, filter and place go together.
 */
static const char *
check_filter(const Segment *segment)
{
	bool		array = segment->style == MRB_ESCAPE_JSON_STRING;

	if (!mrb_variable_is_list(segment->variable))
		return segment->filter == FILTER_NONE ||
			segment->filter == FILTER_BASE64 ? NULL :
			"|space and |comma are for lists";
	if (segment->filter == FILTER_BASE64)
		return "|base64 is not for lists";
	if (array && segment->filter != FILTER_NONE)
		return "in JSON, outside of quotes, a list is an array and takes no filter";
	if (!array && segment->filter == FILTER_NONE)
		return "a list needs |space or |comma here; it is an array only in JSON, outside of quotes";
	return NULL;
}

static MrbRenderResult
render_variable(const Segment *segment, const MrbTemplateValues *values,
				StringInfo out)
{
	const char *value = values->text[segment->variable];

	if (segment->variable == MRB_VAR_HOSTS)
		return render_list(segment, &values->hosts, out);
	if (segment->variable == MRB_VAR_PLAIN_HOSTS)
		return render_list(segment, &values->plain_hosts, out);
	if (segment->variable == MRB_VAR_WILDCARD_HOSTS)
		return render_list(segment, &values->wildcard_hosts, out);
	if (segment->variable == MRB_VAR_REMOVED_HOSTS)
		return render_list(segment, &values->removed_hosts, out);
	if (segment->variable == MRB_VAR_DEPLOYMENT_IDS)
		return render_list(segment, &values->deployment_ids, out);
	if (segment->secret != NULL)
		value = values->named_secret(segment->secret,
									 values->named_secret_arg);
	if (value == NULL)
	{
		if (segment->variable == MRB_VAR_SECRET)
			return segment->secret != NULL ? MRB_RENDER_NO_VALUE :
				MRB_RENDER_NO_SECRET;
		if (segment->style != MRB_ESCAPE_JSON_STRING)
			return MRB_RENDER_NO_VALUE;
		appendStringInfoString(out, "null");
		return MRB_RENDERED;
	}
	if (!mrb_variable_fits(segment->variable, &segment->alphabet, value))
		return MRB_RENDER_REFUSED;
	if (segment->variable == MRB_VAR_SECRET && values->mask != NULL)
		mrb_escape_append(out, segment->style == MRB_ESCAPE_JSON_STRING ?
						  segment->style : MRB_ESCAPE_PLAIN, values->mask);
	else
		append_value(segment, out, value);
	return MRB_RENDERED;
}

/*
 * A list becomes a JSON array, or a text with its items apart.
 */
static MrbRenderResult
render_list(const Segment *segment, const MrbStringList *list, StringInfo out)
{
	bool		array = segment->filter == FILTER_NONE;
	const char *apart = segment->filter == FILTER_SPACE ? " " : ",";

	if (list->n == 0 && !array)
		return MRB_RENDER_NO_VALUE;
	if (array)
		appendStringInfoChar(out, '[');
	for (int i = 0; i < list->n; i++)
	{
		if (!mrb_variable_fits(segment->variable, &segment->alphabet,
							   list->items[i]))
			return MRB_RENDER_REFUSED;
		if (i > 0 && array)
			appendStringInfoChar(out, ',');
		else if (i > 0)
			mrb_escape_append(out, segment->style, apart);
		mrb_escape_append(out, segment->style, list->items[i]);
	}
	if (array)
		appendStringInfoChar(out, ']');
	return MRB_RENDERED;
}

static void
append_value(const Segment *segment, StringInfo out, const char *value)
{
	MrbEscapeStyle style = segment->style;

	if (segment->filter == FILTER_BASE64)
		value = mrb_escape_base64(value, strlen(value));
	else if (style == MRB_ESCAPE_JSON_STRING &&
			 mrb_variable_is_number(segment->variable))
		style = MRB_ESCAPE_PLAIN;
	mrb_escape_append(out, style, value);
}
