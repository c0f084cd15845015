/*-------------------------------------------------------------------------
 *
 * adapter_api.c
 *	  SQL-callable functions that check adapters and render requests.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "adapter/adapter.h"
#include "base/errors.h"
#include "common/json_read.h"

PG_FUNCTION_INFO_V1(mrb_check_adapter);
PG_FUNCTION_INFO_V1(mrb_render_request);

/* Start of the DETAIL for a request that cannot be rendered. */
#define NOT_SENT "The request is not sent: "

pg_noreturn static void refuse(const char *message, const char *problem);
static bool is_about_texts(const char *problem);
static void fill_values(Jsonb *given, MrbTemplateValues *values, const char **url);
static void fill_value(const char *name, const JsonbValue *value,
					   MrbTemplateValues *values, const char **url);
static void fill_list(const char *name, JsonbContainer *array, MrbStringList *list);
static char *as_text(const char *name, const JsonbValue *value);
static const char *named_secret(const char *name, void *arg);
static Datum as_jsonb(const MrbHttpRequest *http);
static void push_member(JsonbParseState **state, const char *key,
						const char *value);

/*
 * miosa.check_adapter(adapter): raise INVALID_ARGUMENT for a malformed adapter
 */
Datum
mrb_check_adapter(PG_FUNCTION_ARGS)
{
	MrbAdapter	adapter = {0};
	char	   *problem;

	if (PG_ARGISNULL(0) || !JB_ROOT_IS_OBJECT(PG_GETARG_JSONB_P(0)))
		refuse("invalid adapter", "The adapter must be a JSON object.");
	if (!mrb_adapter_read(PG_GETARG_JSONB_P(0), &adapter, &problem))
		refuse("invalid adapter", problem);
	PG_RETURN_VOID();
}

/*
 * miosa.render_request(request, values, charsets): the request as it would be
 * sent
 */
Datum
mrb_render_request(PG_FUNCTION_ARGS)
{
	MrbCharsets charsets;
	MrbTemplateValues values = {0};
	MrbHttpRequest http = {0};
	MrbRequest *request;
	const char *url = "";
	const char *reason;
	char	   *problem;

	for (int i = 0; i < 3; i++)
		if (PG_ARGISNULL(i) || !JB_ROOT_IS_OBJECT(PG_GETARG_JSONB_P(i)))
			refuse("invalid request", "Request, values and charsets must be JSON objects.");
	mrb_variable_charsets(&charsets);
	problem = mrb_adapter_read_charsets(&PG_GETARG_JSONB_P(2)->root,
										&charsets);
	if (problem != NULL)
		refuse("invalid request", problem);
	request = mrb_request_compile(PG_GETARG_JSONB_P(0), "request", &charsets,
								  &problem);
	if (request == NULL)
		refuse("invalid request", problem);

	fill_values(PG_GETARG_JSONB_P(1), &values, &url);
	reason = mrb_request_render(request, url, &values, &http);
	if (reason != NULL)
		refuse("the request cannot be sent", psprintf("%s%s.", NOT_SENT, reason));
	PG_RETURN_DATUM(as_jsonb(&http));
}

/*
 * Raise INVALID_ARGUMENT for a problem with an adapter or a request.
 */
static void
refuse(const char *message, const char *problem)
{
	mrb_raise(MRB_ERR_INVALID_ARGUMENT, message, problem,
			  is_about_texts(problem) ? mrb_template_language() :
			  "See what each column means with \\d+ miosa.adapters, or in docs/own-edge.md.");
}

/*
 * Whether a problem is about a text with variables.
 */
static bool
is_about_texts(const char *problem)
{
	static const char *const requests[] = {
		"request.", "add.", "remove.", "wildcard_request.",
		"wildcard_remove.", "marker_write.", "marker_read.", "poll.",
		"charsets.", "values.", NOT_SENT
	};

	for (size_t i = 0; i < lengthof(requests); i++)
		if (strncmp(problem, requests[i], strlen(requests[i])) == 0)
			return true;
	return false;
}

/*
 * Fill in the values of variables, and the URL.
 */
static void
fill_values(Jsonb *given, MrbTemplateValues *values, const char **url)
{
	JsonbIterator *it = NULL;
	JsonbValue	value;
	char	   *name;

	values->named_secret = named_secret;
	values->named_secret_arg = given;
	values->routes = values;
	values->nroutes = 1;
	while (mrb_json_read_next(&given->root, &it, &name, &value))
		if (value.type != jbvNull)
			fill_value(name, &value, values, url);
}

/*
 * Fill in the value of one variable.
 */
static void
fill_value(const char *name, const JsonbValue *value, MrbTemplateValues *values,
		   const char **url)
{
	MrbVariable variable = mrb_variable_find(name, strlen(name));
	MrbStringList *list = variable == MRB_VAR_HOSTS ? &values->hosts :
	variable == MRB_VAR_PLAIN_HOSTS ? &values->plain_hosts :
	variable == MRB_VAR_WILDCARD_HOSTS ? &values->wildcard_hosts :
	variable == MRB_VAR_REMOVED_HOSTS ? &values->removed_hosts :
	&values->deployment_ids;

	if (strcmp(name, "url") == 0)
		*url = as_text(name, value);
	else if (strncmp(name, "secret:", 7) == 0)
		as_text(name, value);
	else if (variable == MRB_VARIABLES)
		refuse("invalid request", psprintf("values.%s: there is no such variable.", name));
	else if (variable == MRB_VAR_ROUTES)
		refuse("invalid request", "values.routes: its route consists of the other values.");
	else if (!mrb_variable_is_list(variable))
		values->text[variable] = as_text(name, value);
	else if (mrb_json_read_array(value) != NULL)
		fill_list(name, mrb_json_read_array(value), list);
	else
		refuse("invalid request", psprintf("values.%s: the value must be an array.", name));
}

/*
 * Fill in the items of a list.
 */
static void
fill_list(const char *name, JsonbContainer *array, MrbStringList *list)
{
	list->n = JsonContainerSize(array);
	list->items = palloc((list->n + 1) * sizeof(char *));
	for (int i = 0; i < list->n; i++)
		list->items[i] = as_text(name, getIthJsonbValueFromContainer(array, i));
}

/*
 * Return a string or number as text.
 */
static char *
as_text(const char *name, const JsonbValue *value)
{
	if (value->type == jbvNumeric)
		return DatumGetCString(DirectFunctionCall1(numeric_out,
												   NumericGetDatum(value->val.numeric)));
	if (value->type != jbvString)
		refuse("invalid request", psprintf("values.%s: the value must be a string.", name));
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/*
 * Return the value that the caller gave for {secret:name}, or NULL; arg is
 * the object with all values.
 */
static const char *
named_secret(const char *name, void *arg)
{
	Jsonb	   *given = arg;
	char	   *key = psprintf("secret:%s", name);
	JsonbValue	value;

	if (!mrb_json_read_find(&given->root, key, &value))
		return NULL;
	return as_text(key, &value);
}

/*
 * Return a request as JSON.
 */
static Datum
as_jsonb(const MrbHttpRequest *http)
{
	JsonbParseState *state = NULL;
	JsonbValue	value;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_member(&state, "method", http->method);
	push_member(&state, "url", http->url);
	value.type = jbvString;
	value.val.string.val = "headers";
	value.val.string.len = 7;
	pushJsonbValue(&state, WJB_KEY, &value);
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; http->headers[i] != NULL; i++)
	{
		value.type = jbvString;
		value.val.string.val = (char *) http->headers[i];
		value.val.string.len = strlen(http->headers[i]);
		pushJsonbValue(&state, WJB_ELEM, &value);
	}
	pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	push_member(&state, "body", http->body);
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state,
														   WJB_END_OBJECT,
														   NULL)));
}

/*
 * Append a member with a string or null to a JSON object.
 */
static void
push_member(JsonbParseState **state, const char *key, const char *value)
{
	JsonbValue	member;

	member.type = jbvString;
	member.val.string.val = (char *) key;
	member.val.string.len = strlen(key);
	pushJsonbValue(state, WJB_KEY, &member);
	member.type = value != NULL ? jbvString : jbvNull;
	if (value != NULL)
	{
		member.val.string.val = (char *) value;
		member.val.string.len = strlen(value);
	}
	pushJsonbValue(state, WJB_VALUE, &member);
}
