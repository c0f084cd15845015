/*-------------------------------------------------------------------------
 *
 * adapter.c
 *	  How to talk to one kind of endpoint.
 *
 * Adapters are rows: what is written here is only how a request object of
 * such a row becomes an HTTP request.  It is compiled by the same code when
 * the row is written, to refuse mistakes with their place, and when the
 * dispatcher reads it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "adapter.h"

/* What a request would be broken by, or what we set ourselves. */
static const char *const forbidden_headers[] = {
	"connection", "content-length", "expect", "keep-alive",
	"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
};

static char *member_text(JsonbContainer *object, const char *key,
						 const char *what, char **problem);
static bool check_members(JsonbContainer *object, const char *what,
						  char **problem);
static bool compile_headers(JsonbContainer *object, MrbCall *call,
							const char *what, char **problem);
static bool check_header_name(const char *name);
static MrbTemplate *compile_part(const char *text, MrbPlace place,
								 const char *what, const char *part,
								 char **problem);
static bool compile_body(JsonbContainer *object, MrbCall *call,
						 const char *what, char **problem);
static const char *render_part(const MrbTemplate *template,
							   const MrbValues *values, StringInfo out,
							   const char *where, bool *leave_out);

MrbCall *
mrb_adapter_compile(Jsonb *request, const char *what, char **problem)
{
	MrbCall    *call = palloc0(sizeof(MrbCall));
	char	   *path;

	if (!JB_ROOT_IS_OBJECT(request))
	{
		*problem = psprintf("%s: it must be an object.", what);
		return NULL;
	}
	if (!check_members(&request->root, what, problem))
		return NULL;

	call->method = member_text(&request->root, "method", what, problem);
	if (call->method == NULL)
		return NULL;
	if (strlen(call->method) < 1 || strlen(call->method) > 20 ||
		strspn(call->method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") !=
		strlen(call->method))
	{
		*problem = psprintf("%s.method: it must be 1 to 20 capital letters.",
							what);
		return NULL;
	}

	path = member_text(&request->root, "path", what, problem);
	if (path == NULL)
		return NULL;
	if ((path[0] != '\0' && path[0] != '/') ||
		strpbrk(path, " \"<>\\^`|#") != NULL)
	{
		*problem = psprintf("%s.path: it must be empty or begin with \"/\", and have no space and none of \" < > \\ ^ ` | #.",
							what);
		return NULL;
	}
	call->path = compile_part(path, MRB_PLACE_PATH, what, "path", problem);
	if (call->path == NULL ||
		!compile_headers(&request->root, call, what, problem) ||
		!compile_body(&request->root, call, what, problem))
		return NULL;
	return call;
}

const char *
mrb_adapter_render(const MrbCall *call, const char *url,
				   const MrbValues *values, MrbHttpRequest *request)
{
	const char **headers = palloc0((call->nheaders + 1) * sizeof(char *));
	StringInfoData text;
	const char *problem;
	bool		leave_out;
	int			n = 0;

	initStringInfo(&text);
	appendStringInfoString(&text, url);
	problem = render_part(call->path, values, &text, "path", NULL);
	if (problem != NULL)
		return problem;
	request->method = call->method;
	request->url = text.data;

	for (int i = 0; i < call->nheaders; i++)
	{
		initStringInfo(&text);
		appendStringInfo(&text, "%s: ", call->header_names[i]);
		problem = render_part(call->headers[i], values, &text,
							  call->header_names[i], &leave_out);
		if (problem != NULL)
			return problem;
		if (!leave_out)
			headers[n++] = text.data;
	}
	request->headers = headers;

	request->body = NULL;
	request->body_len = 0;
	if (call->body != NULL)
	{
		initStringInfo(&text);
		problem = render_part(call->body, values, &text, "body", NULL);
		if (problem != NULL)
			return problem;
		request->body = text.data;
		request->body_len = text.len;
	}
	return NULL;
}

bool
mrb_adapter_is_success(const MrbAdapter *adapter, int status)
{
	if (adapter->nsuccess == 0)
		return status >= 200 && status <= 299;
	for (int i = 0; i < adapter->nsuccess; i++)
		if (adapter->success[i] == status)
			return true;
	return false;
}

/*
 * A member that must be a text.
 */
static char *
member_text(JsonbContainer *object, const char *key, const char *what,
			char **problem)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(object, key, strlen(key),
									 &value) == NULL ||
		value.type != jbvString)
	{
		*problem = psprintf("%s.%s: it is missing or is not a text.",
							what, key);
		return NULL;
	}
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/*
 * A misspelt member would silently do nothing.
 */
static bool
check_members(JsonbContainer *object, const char *what, char **problem)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		char	   *key;

		if (token != WJB_KEY)
			continue;
		key = pnstrdup(value.val.string.val, value.val.string.len);
		if (strcmp(key, "method") != 0 && strcmp(key, "path") != 0 &&
			strcmp(key, "headers") != 0 && strcmp(key, "body") != 0)
		{
			*problem = psprintf("%s.%s: there is no such member; they are method, path, headers and body.",
								what, key);
			return false;
		}
	}
	return true;
}

static bool
compile_headers(JsonbContainer *object, MrbCall *call, const char *what,
				char **problem)
{
	JsonbValue	headers;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *name = NULL;
	int			most;

	if (getKeyJsonValueFromContainer(object, "headers", 7, &headers) == NULL)
		return true;
	if (headers.type != jbvBinary ||
		!JsonContainerIsObject(headers.val.binary.data))
	{
		*problem = psprintf("%s.headers: it must be an object.", what);
		return false;
	}
	most = JsonContainerSize(headers.val.binary.data);
	call->header_names = palloc0(most * sizeof(char *));
	call->headers = palloc0(most * sizeof(MrbTemplate *));

	it = JsonbIteratorInit(headers.val.binary.data);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		char	   *text;

		if (token == WJB_KEY)
			name = pnstrdup(value.val.string.val, value.val.string.len);
		if (token != WJB_VALUE)
			continue;
		text = value.type == jbvString ?
		pnstrdup(value.val.string.val, value.val.string.len) : NULL;

		if (!check_header_name(name) || text == NULL)
		{
			*problem = psprintf("%s.headers.%s: the name is no header that can be set, or the value is not a text.",
								what, name);
			return false;
		}
		call->header_names[call->nheaders] = name;
		call->headers[call->nheaders] =
			compile_part(text, MRB_PLACE_HEADER, what,
						 psprintf("headers.%s", name), problem);
		if (call->headers[call->nheaders++] == NULL)
			return false;
	}
	return true;
}

static bool
check_header_name(const char *name)
{
	if (*name == '\0' || strlen(name) > 100)
		return false;
	for (const char *p = name; *p != '\0'; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			  (*p >= '0' && *p <= '9') || *p == '-' || *p == '_'))
			return false;
	for (size_t i = 0; i < lengthof(forbidden_headers); i++)
		if (pg_strcasecmp(name, forbidden_headers[i]) == 0)
			return false;
	return true;
}

/*
 * Compile one text; paths and headers are visible ASCII.
 */
static MrbTemplate *
compile_part(const char *text, MrbPlace place, const char *what,
			 const char *part, char **problem)
{
	const char *reason;
	int			offset;
	MrbTemplate *template;

	if (place == MRB_PLACE_PATH || place == MRB_PLACE_HEADER)
	{
		for (const char *p = text; *p != '\0'; p++)
		{
			if (*p >= 0x20 && *p <= 0x7e)
				continue;
			*problem = psprintf("%s.%s, character %d: it is not printable ASCII.",
								what, part, (int) (p - text) +1);
			return NULL;
		}
	}
	template = mrb_template_compile(text, place, &reason, &offset);
	if (template == NULL)
		*problem = psprintf("%s.%s, character %d: %s.", what, part,
							offset + 1, reason);
	return template;
}

/*
 * The body is a text, or an object or array whose texts hold variables.
 */
static bool
compile_body(JsonbContainer *object, MrbCall *call, const char *what,
			 char **problem)
{
	JsonbValue	value;
	char	   *text;
	MrbPlace	place = MRB_PLACE_JSON;

	if (getKeyJsonValueFromContainer(object, "body", 4, &value) == NULL ||
		value.type == jbvNull)
		return true;
	if (value.type == jbvString)
	{
		text = pnstrdup(value.val.string.val, value.val.string.len);

		if (text[0] != '{' && text[0] != '[')
			place = MRB_PLACE_TEXT;
	}
	else if (value.type == jbvBinary)
		text = JsonbToCString(NULL, value.val.binary.data,
							  value.val.binary.len);

	else
	{
		*problem = psprintf("%s.body: it must be a text, an object or an array.",
							what);
		return false;
	}
	call->body = compile_part(text, place, what, "body", problem);
	return call->body != NULL;
}

/*
 * Render one text; NULL when done.  What holds the endpoint's secret can be
 * left out where leave_out is given: the endpoint has none.
 */
static const char *
render_part(const MrbTemplate *template, const MrbValues *values,
			StringInfo out, const char *where, bool *leave_out)
{
	const char *variable = NULL;

	if (leave_out != NULL)
		*leave_out = false;
	switch (mrb_template_render(template, values, out, &variable))
	{
		case MRB_RENDERED:
			return NULL;
		case MRB_RENDER_NO_SECRET:
			if (leave_out != NULL)
			{
				*leave_out = true;
				return NULL;
			}
			return psprintf("the endpoint has no secret, but its adapter needs one (%s)",
							where);
		case MRB_RENDER_NO_VALUE:
			return psprintf("{%s} has no value (%s)", variable, where);
		case MRB_RENDER_REFUSED:
			break;
	}
	return psprintf("the value of {%s} cannot be sent there (%s)", variable,
					where);
}
