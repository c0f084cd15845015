/*-------------------------------------------------------------------------
 *
 * request.c
 *	  A request of an adapter, compiled once and rendered for every message.
 *
 * It is compiled by the same code when the adapter's row is written, to
 * refuse mistakes with their place, and when the dispatcher reads it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "adapter/request.h"
#include "base/compat.h"
#include "common/json_read.h"

#define UNRESERVED \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

#define FORM_TYPE "application/x-www-form-urlencoded"

/* What a request would be broken by, or what we set ourselves. */
static const char *const forbidden_headers[] = {
	"connection", "content-length", "expect", "keep-alive",
	"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
};

/* What is being compiled, and for whom. */
typedef struct Source
{
	JsonbContainer *object;
	const char *what;			/* the column, for people */
	const MrbAlphabets *alphabets;
	MrbRequest *call;
	char	   *problem;		/* the first one, or NULL */
} Source;

static void check_members(Source *source);
static void compile_method(Source *source);
static void compile_path(Source *source);
static void compile_headers(Source *source);
static void compile_header(Source *source, char *name,
						   const JsonbValue *value);
static bool check_header_name(const MrbRequest *call, const char *name);
static void compile_body(Source *source);
static MrbTemplatePlace body_place(const MrbRequest *call, const char *text);
static MrbTemplate *compile_part(Source *source, const char *text,
								 MrbTemplatePlace place, const char *part);
static char *member_text(Source *source, const char *key);
static char *json_flaw(const MrbTemplate *template);
static void append_url(StringInfo out, const char *url, const char *path);
static bool has_dot_segment(const char *path);
static const char *render_part(const MrbTemplate *template,
							   const MrbTemplateValues *values, StringInfo out,
							   const char *where, bool *leave_out);

MrbRequest *
mrb_request_compile(Jsonb *request, const char *what,
					const MrbAlphabets *alphabets, char **problem)
{
	Source		source = {
		.object = &request->root,
		.what = what,
		.alphabets = alphabets,
		.call = palloc0(sizeof(MrbRequest)),
	};
	void		(*const steps[]) (Source *) = {
		check_members, compile_method, compile_path, compile_headers,
		compile_body
	};

	if (!JB_ROOT_IS_OBJECT(request))
		source.problem = psprintf("%s: it must be an object.", what);
	for (size_t i = 0; i < lengthof(steps) && source.problem == NULL; i++)
		steps[i] (&source);
	*problem = source.problem;
	return source.problem == NULL ? source.call : NULL;
}

const char *
mrb_request_render(const MrbRequest *call, const char *url,
				   const MrbTemplateValues *values, MrbHttpRequest *request)
{
	/* Signers add to them: see sign.c. */
	const char **headers = palloc0((call->nheaders + MRB_REQUEST_SPARE_HEADERS + 1) *
								   sizeof(char *));
	StringInfoData text;
	StringInfoData path;
	const char *problem;
	bool		leave_out;
	int			n = 0;

	initStringInfo(&path);
	problem = render_part(call->path, values, &path, "path", NULL);
	initStringInfo(&text);
	append_url(&text, url, path.data);
	if (problem == NULL && has_dot_segment(path.data))
		problem = "a value of dots would lead to another path";
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

/*
 * Find a secret that has no value.  A header with the endpoint's own is left
 * out where there is none.
 */
const char *
mrb_request_lacks_secret(const MrbRequest *call, const MrbTemplateValues *values)
{
	const char *name = mrb_template_lacks_secret(call->path, values);

	if (name == NULL && call->body != NULL)
		name = mrb_template_lacks_secret(call->body, values);
	for (int i = 0; name == NULL && i < call->nheaders; i++)
	{
		name = mrb_template_lacks_secret(call->headers[i], values);
		if (name != NULL && name[0] == '\0')
			name = NULL;
	}
	return name;
}

bool
mrb_request_has_header(const MrbRequest *call, const char *name)
{
	for (int i = 0; i < call->nheaders; i++)
		if (pg_strcasecmp(call->header_names[i], name) == 0)
			return true;
	return false;
}

bool
mrb_request_path_is_encoded(const MrbRequest *call)
{
	StringInfoData text;

	initStringInfo(&text);
	mrb_template_sample(call->path, &text);
	return mrb_request_text_is_encoded(text.data);
}

bool
mrb_request_text_is_encoded(const char *path)
{
	return strspn(path, UNRESERVED "/%") == strlen(path);
}

/*
 * A misspelt member would silently do nothing.
 */
static void
check_members(Source *source)
{
	JsonbIterator *it = NULL;
	JsonbValue	value;
	char	   *key;

	while (mrb_json_read_next(source->object, &it, &key, &value))
	{
		if (strcmp(key, "method") != 0 && strcmp(key, "path") != 0 &&
			strcmp(key, "headers") != 0 && strcmp(key, "body") != 0)
			source->problem =
				psprintf("%s.%s: there is no such member; they are method, path, headers and body.",
						 source->what, key);
	}
}

static void
compile_method(Source *source)
{
	char	   *method = member_text(source, "method");

	if (method == NULL)
		return;
	if (strlen(method) < 1 || strlen(method) > 20 ||
		strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != strlen(method) ||
		strcmp(method, "CONNECT") == 0)
		source->problem =
			psprintf("%s.method: it must be 1 to 20 capital letters, and not CONNECT.",
					 source->what);
	source->call->method = method;
}

static void
compile_path(Source *source)
{
	char	   *path = member_text(source, "path");

	if (path == NULL)
		return;
	if ((path[0] != '\0' && path[0] != '/') ||
		strpbrk(path, " \"<>\\^`#") != NULL)
		source->problem =
			psprintf("%s.path: it must be empty or begin with \"/\", and have no space and none of \" < > \\ ^ ` #.",
					 source->what);
	else if (has_dot_segment(path))
		source->problem = psprintf("%s.path: it must have no \".\" or \"..\" between slashes.",
								   source->what);
	else
		source->call->path = compile_part(source, path, MRB_TEMPLATE_PATH,
										  "path");
}

static void
compile_headers(Source *source)
{
	MrbRequest *call = source->call;
	JsonbContainer *headers;
	JsonbValue	value;
	JsonbIterator *it = NULL;
	char	   *name;
	int			most;

	if (!mrb_json_read_find(source->object, "headers", &value))
		return;
	headers = mrb_json_read_object(&value);
	if (headers == NULL)
	{
		source->problem = psprintf("%s.headers: it must be an object.",
								   source->what);
		return;
	}
	most = JsonContainerSize(headers);
	call->header_names = palloc0(most * sizeof(char *));
	call->headers = palloc0(most * sizeof(MrbTemplate *));

	while (source->problem == NULL &&
		   mrb_json_read_next(headers, &it, &name, &value))
		compile_header(source, name, &value);
}

static void
compile_header(Source *source, char *name, const JsonbValue *value)
{
	MrbRequest *call = source->call;
	char	   *text = value->type == jbvString ?
	pnstrdup(value->val.string.val, value->val.string.len) : NULL;

	if (!check_header_name(call, name) || text == NULL)
		source->problem =
			psprintf("%s.headers.%s: the name is no header that can be set, or is there twice, or the value is not a text.",
					 source->what, name);
	else if (text[0] == '\0' || text[0] == ' ' || text[strlen(text) - 1] == ' ')
		source->problem = psprintf("%s.headers.%s: the value is empty, or has a space at an end.",
								   source->what, name);
	else
	{
		call->header_names[call->nheaders] = name;
		call->headers[call->nheaders++] =
			compile_part(source, text, MRB_TEMPLATE_HEADER,
						 psprintf("headers.%s", name));
	}
}

static bool
check_header_name(const MrbRequest *call, const char *name)
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
	return !mrb_request_has_header(call, name);
}

/*
 * The body is a text, or an object or array whose texts hold variables.
 */
static void
compile_body(Source *source)
{
	MrbRequest *call = source->call;
	JsonbValue	value;
	char	   *text = NULL;
	MrbTemplatePlace place;
	char	   *flaw;

	if (!mrb_json_read_get(source->object, "body", &value))
		return;
	if (value.type == jbvString)
		text = pnstrdup(value.val.string.val, value.val.string.len);

	else if (value.type == jbvBinary)
		text = JsonbToCString(NULL, value.val.binary.data,
							  value.val.binary.len);

	if (text == NULL || strcmp(call->method, "HEAD") == 0)
	{
		source->problem = psprintf("%s.body: it must be a text, an object or an array, and HEAD has none.",
								   source->what);
		return;
	}
	place = body_place(call, text);
	call->body = compile_part(source, text, place, "body");
	if (call->body == NULL || place != MRB_TEMPLATE_JSON)
		return;
	flaw = json_flaw(call->body);
	if (flaw != NULL)
		source->problem = psprintf("%s.body: %s", source->what, flaw);
}

/*
 * What a body is, by what it begins with, else by its type.
 */
static MrbTemplatePlace
body_place(const MrbRequest *call, const char *text)
{
	char		first = text[strspn(text, " \t\r\n")];
	StringInfoData type;

	if (first == '{' || first == '[' || first == '"')
		return MRB_TEMPLATE_JSON;
	if (first == '<')
		return MRB_TEMPLATE_XML;
	initStringInfo(&type);
	for (int i = 0; i < call->nheaders; i++)
		if (pg_strcasecmp(call->header_names[i], "Content-Type") == 0)
			mrb_template_sample(call->headers[i], &type);
	return pg_strncasecmp(type.data, FORM_TYPE, strlen(FORM_TYPE)) == 0 ?
		MRB_TEMPLATE_FORM : MRB_TEMPLATE_TEXT;
}

/*
 * Compile one text; paths and headers are printable ASCII.
 */
static MrbTemplate *
compile_part(Source *source, const char *text, MrbTemplatePlace place,
			 const char *part)
{
	const char *reason = NULL;
	int			offset;
	MrbTemplate *template = NULL;

	for (offset = 0; text[offset] != '\0'; offset++)
	{
		if ((place == MRB_TEMPLATE_PATH || place == MRB_TEMPLATE_HEADER) &&
			(text[offset] < 0x20 || text[offset] > 0x7e))
		{
			reason = "it is not printable ASCII";
			break;
		}
	}
	if (reason == NULL)
		template = mrb_template_compile(text, place, source->alphabets,
										&reason, &offset);
	if (template == NULL)
		source->problem = psprintf("%s.%s, character %d: %s.", source->what,
								   part, offset + 1, reason);
	else
		source->call->uses |= mrb_template_uses(template);
	return template;
}

/*
 * A member that must be a text.
 */
static char *
member_text(Source *source, const char *key)
{
	char	   *text = mrb_json_read_text(source->object, key);

	if (text == NULL)
		source->problem = psprintf("%s.%s: it is missing or is not a text.",
								   source->what, key);
	return text;
}

/*
 * Why it will not be JSON once its variables have values; NULL when it will.
 */
static char *
json_flaw(const MrbTemplate *template)
{
	StringInfoData text;
	JsonLexContext *lex;
	JsonParseErrorType error;

	initStringInfo(&text);
	mrb_template_sample(template, &text);
	lex = MRB_JSON_LEXER(text.data, text.len, GetDatabaseEncoding(), true);
	error = pg_parse_json(lex, &nullSemAction);
	return error == JSON_SUCCESS ? NULL : json_errdetail(error, lex);
}

/*
 * Append a path to a base URL.  A slash that ends the URL and one that begins
 * the path are one; a URL to which no path is added stays as it is.
 */
static void
append_url(StringInfo out, const char *url, const char *path)
{
	size_t		len = strlen(url);

	if (path[0] == '/' && len > 0 && url[len - 1] == '/')
		len--;
	appendBinaryStringInfo(out, url, len);
	appendStringInfoString(out, path);
}

/*
 * Whoever resolves "." and ".." would see another path than we meant.
 */
static bool
has_dot_segment(const char *path)
{
	while (*path == '/')
	{
		int			dots;
		int			len = strcspn(++path, "/?");

		dots = strspn(path, ".");
		if (len > 0 && dots == len && len <= 2)
			return true;
		path += len;
	}
	return false;
}

/*
 * Render one text; NULL when done.  What holds the endpoint's secret can be
 * left out where leave_out is given: the endpoint has none.
 */
static const char *
render_part(const MrbTemplate *template, const MrbTemplateValues *values,
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
