/*-------------------------------------------------------------------------
 *
 * template.c
 *	  Text with {variables}, compiled once and rendered for every request.
 *
 * A lower-case name between braces is a variable; every other brace is an
 * ordinary character, so that JSON needs no escapes.  The name can be followed
 * by "|" and a filter: |base64 for a single value, |space and |comma for a
 * list that is not a JSON array.
 *
 * Rendering checks that each value has only characters of its variable's
 * charset, and then escapes it for its place.  A value with other characters
 * is an error, so that no request is sent that differs from the intended one.
 *
 * {routes} is an array of objects that are made from a template of their own, so
 * that their values are checked and escaped like all others.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "adapter/escape.h"
#include "adapter/template.h"

typedef enum Filter
{
	FILTER_NONE,
	FILTER_BASE64,				/* for a single value */
	FILTER_SPACE,				/* separates the items of a list by a space */
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

/* One of {routes}. */
#define ROUTE \
	"{\"epoch\":{epoch},\"changed_at\":{changed_at}," \
	"\"operation_id\":{operation_id},\"deployment_id\":{deployment_id}," \
	"\"tenant_id\":{tenant_id},\"version_id\":{version_id}," \
	"\"version_number\":{version_number},\"release_id\":{release_id}," \
	"\"storage_uri\":{storage_uri},\"sha256\":{sha256}," \
	"\"hosts\":{hosts},\"removed_hosts\":{removed_hosts}}"

/* Literal text, followed by a variable except in the last segment. */
typedef struct Segment
{
	char	   *literal;
	int			len;
	bool		has_variable;
	MrbVariable variable;
	MrbCharset	charset;
	char	   *secret;			/* name of a secret; NULL: of the endpoint */
	Filter		filter;
	MrbEscapeStyle style;
	MrbTemplate *route;			/* of {routes} */
} Segment;

struct MrbTemplate
{
	int			nsegments;
	Segment		segments[FLEXIBLE_ARRAY_MEMBER];
};

static int	variable_length(const char *source);
static bool is_stray(const char *source, MrbTemplatePlace place);
static MrbEscapeStyle style_for(MrbTemplatePlace place, bool in_string);
static const char *parse_variable(const char *source, int len,
								  Segment *segment);
static bool parse_filter(const char *name, int len, Filter *filter);
static const char *check_filter(const Segment *segment);
static MrbRenderResult render_variable(const Segment *segment,
									   const MrbTemplateValues *values, StringInfo out);
static MrbRenderResult render_routes(const MrbTemplate *route,
									 const MrbTemplateValues *values,
									 StringInfo out, const char **variable);
static MrbRenderResult render_list(const Segment *segment, const MrbStringList *list,
								   StringInfo out);
static void append_value(const Segment *segment, StringInfo out,
						 const char *value);

/*
 * The number of braces is an upper bound for the number of variables.
 */
MrbTemplate *
mrb_template_compile(const char *source, MrbTemplatePlace place,
					 const MrbCharsets *charsets, const char **problem,
					 int *offset)
{
	int			max_segments = 1;
	int			start = 0;
	bool		in_string = false;
	MrbTemplate *template;

	for (const char *p = source; *p != '\0'; p++)
		max_segments += *p == '{';
	template = palloc0(offsetof(MrbTemplate, segments) +
					   max_segments * sizeof(Segment));

	for (int i = 0;; i++)
	{
		Segment    *segment = &template->segments[template->nsegments];
		int			len = source[i] == '{' ? variable_length(source + i) : 0;

		*offset = i;
		if (len == 0 && is_stray(source + i, place))
		{
			*problem = "this brace or bar is not part of a variable";
			return NULL;
		}
		if (source[i] != '\0' && len == 0)
		{
			if (source[i] == '\\' && in_string && source[i + 1] != '\0')
				i++;
			else if (source[i] == '"')
				in_string = !in_string;
			continue;
		}
		segment->literal = pnstrdup(source + start, i - start);
		segment->len = i - start;
		template->nsegments++;
		if (source[i] == '\0')
			return template;

		segment->style = style_for(place, in_string);
		*problem = parse_variable(source + i, len, segment);
		if (*problem != NULL)
			return NULL;
		segment->charset = charsets->of[segment->variable];
		if (segment->variable == MRB_VAR_ROUTES)
			segment->route = mrb_template_compile(ROUTE, MRB_TEMPLATE_JSON,
												  charsets, problem, offset);
		i += len - 1;
		start = i + 1;
	}
}

/*
 * Rendering stops at the first variable that fails.
 */
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
		if (segment->route != NULL)
		{
			result = render_routes(segment->route, values, out, variable);
			if (result != MRB_RENDERED)
				return result;
			continue;
		}
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

/*
 * The placeholder is null for a variable that stands for a JSON value.
 */
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

/*
 * Secrets are looked up through values, as in rendering.
 */
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

/*
 * A {secret:name} is left out: it is not the secret of the endpoint.
 */
uint32
mrb_template_uses(const MrbTemplate *template)
{
	uint32		uses = 0;

	for (int i = 0; i < template->nsegments; i++)
	{
		const Segment *segment = &template->segments[i];

		if (segment->has_variable && segment->secret == NULL)
			uses |= MRB_VAR_BIT(segment->variable);
	}
	return uses;
}

/*
 * The text is made from the same tables that templates are compiled with.
 */
char *
mrb_template_language(void)
{
	StringInfoData line;

	initStringInfo(&line);
	appendStringInfoString(&line, "The variables are");
	for (int i = 0; i < MRB_VARIABLES; i++)
		appendStringInfo(&line, " {%s}", mrb_variable_name(i));
	appendStringInfoString(&line, " {secret:name}; the filters are");
	for (size_t i = 0; i < lengthof(filters); i++)
		appendStringInfo(&line, " |%s", filters[i].name);
	appendStringInfoChar(&line, '.');
	return line.data;
}

/*
 * Length of the variable at "{" with its braces; 0 if there is none.
 */
static int
variable_length(const char *source)
{
	int			i = 1;

	if (!(source[i] >= 'a' && source[i] <= 'z'))
		return 0;
	while ((source[i] >= 'a' && source[i] <= 'z') ||
		   (source[i] >= '0' && source[i] <= '9') || source[i] == '_')
		i++;
	if (source[i] == ':' || source[i] == '|')
	{
		while (source[i] != '\0' && strchr("{}\"", source[i]) == NULL)
			i++;
	}
	return source[i] == '}' ? i + 1 : 0;
}

/*
 * Whether a brace or bar outside of variables is taken for a mistake: in a
 * path, which cannot contain them, and before a letter in text that is not
 * JSON.
 */
static bool
is_stray(const char *source, MrbTemplatePlace place)
{
	if (place == MRB_TEMPLATE_PATH)
		return source[0] != '\0' && strchr("{}|", source[0]) != NULL;
	return place != MRB_TEMPLATE_JSON && source[0] == '{' &&
		((source[1] >= 'a' && source[1] <= 'z') ||
		 (source[1] >= 'A' && source[1] <= 'Z'));
}

/*
 * How values are escaped at a place.
 */
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
 * Parse a variable with its braces.  Returns NULL, or the problem.
 */
static const char *
parse_variable(const char *source, int len, Segment *segment)
{
	const char *name = source + 1;
	const char *end = source + len - 1;
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
		return psprintf("unknown variable \"%.*s\"", len, source);
	if (colon != NULL)
		segment->secret = pnstrdup(colon + 1, end - colon - 1);
	segment->has_variable = true;
	return check_filter(segment);
}

/*
 * Find a filter by its name, of len bytes; false if there is none.
 */
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
 * Check that the filter suits the variable and its place.  Returns NULL, or the
 * problem.
 */
static const char *
check_filter(const Segment *segment)
{
	bool		array = segment->style == MRB_ESCAPE_JSON_STRING;

	if (mrb_variable_is_json(segment->variable))
		return array && segment->filter == FILTER_NONE ? NULL :
			"a JSON value is possible only outside of quotes in JSON, without a filter";
	if (!mrb_variable_is_list(segment->variable))
		return segment->filter == FILTER_NONE ||
			segment->filter == FILTER_BASE64 ? NULL :
			"the filters |space and |comma require a list";
	if (segment->filter == FILTER_BASE64)
		return "the filter |base64 cannot be used with a list";
	if (array && segment->filter != FILTER_NONE)
		return "a list outside of quotes in JSON is an array and cannot have a filter";
	if (!array && segment->filter == FILTER_NONE)
		return "a list requires the filter |space or |comma here; it is an array only outside of quotes in JSON";
	return NULL;
}

/*
 * Append the value of a variable.
 */
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
	if (!mrb_variable_fits(segment->variable, &segment->charset, value))
		return MRB_RENDER_REFUSED;
	if (segment->variable == MRB_VAR_SECRET && values->mask != NULL)
		mrb_escape_append(out, segment->style == MRB_ESCAPE_JSON_STRING ?
						  segment->style : MRB_ESCAPE_PLAIN, values->mask);
	else
		append_value(segment, out, value);
	return MRB_RENDERED;
}

/*
 * Append the routes as a JSON array.
 */
static MrbRenderResult
render_routes(const MrbTemplate *route, const MrbTemplateValues *values,
			  StringInfo out, const char **variable)
{
	appendStringInfoChar(out, '[');
	for (int i = 0; i < values->nroutes; i++)
	{
		MrbRenderResult result;

		if (i > 0)
			appendStringInfoChar(out, ',');
		result = mrb_template_render(route, &values->routes[i], out, variable);
		if (result != MRB_RENDERED)
			return result;
	}
	appendStringInfoChar(out, ']');
	return MRB_RENDERED;
}

/*
 * Append a list, as a JSON array or with its items separated by the filter.
 */
static MrbRenderResult
render_list(const Segment *segment, const MrbStringList *list, StringInfo out)
{
	bool		array = segment->filter == FILTER_NONE;
	const char *separator = segment->filter == FILTER_SPACE ? " " : ",";

	if (list->n == 0 && !array)
		return MRB_RENDER_NO_VALUE;
	if (array)
		appendStringInfoChar(out, '[');
	for (int i = 0; i < list->n; i++)
	{
		if (!mrb_variable_fits(segment->variable, &segment->charset,
							   list->items[i]))
			return MRB_RENDER_REFUSED;
		if (i > 0 && array)
			appendStringInfoChar(out, ',');
		else if (i > 0)
			mrb_escape_append(out, segment->style, separator);
		mrb_escape_append(out, segment->style, list->items[i]);
	}
	if (array)
		appendStringInfoChar(out, ']');
	return MRB_RENDERED;
}

/*
 * Append a single value.  Numbers and JSON have no quotes in JSON.
 */
static void
append_value(const Segment *segment, StringInfo out, const char *value)
{
	MrbEscapeStyle style = segment->style;

	if (segment->filter == FILTER_BASE64)
		value = mrb_escape_base64(value, strlen(value));
	else if (style == MRB_ESCAPE_JSON_STRING &&
			 (mrb_variable_is_number(segment->variable) ||
			  mrb_variable_is_json(segment->variable)))
		style = MRB_ESCAPE_PLAIN;
	mrb_escape_append(out, style, value);
}
