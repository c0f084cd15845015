/*-------------------------------------------------------------------------
 *
 * request.c
 *	  A request of an adapter, compiled once and rendered for every message.
 *
 * The same code compiles a request when the row of the adapter is written, so
 * that mistakes are reported with their place, and when the dispatcher reads
 * the row.
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

/* Headers that are set for each request, or that would break it. */
static const char *const forbidden_headers[] = {
	"connection", "content-length", "expect", "keep-alive",
	"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
};

/* State of a compilation. */
typedef struct Source
{
	JsonbContainer *object;
	const char *what;			/* the column, for messages */
	const MrbCharsets *charsets;
	MrbRequest *request;
	char	   *problem;		/* the first one, or NULL */
} Source;

static void check_members(Source *source);
static void compile_method(Source *source);
static void compile_path(Source *source);
static void compile_headers(Source *source);
static void compile_header(Source *source, char *name,
						   const JsonbValue *value);
static bool check_header_name(const MrbRequest *request, const char *name);
static void compile_body(Source *source);
static MrbTemplatePlace body_place(const MrbRequest *request, const char *string);
static MrbTemplate *compile_part(Source *source, const char *string,
								 MrbTemplatePlace place, const char *part);
static char *member_text(Source *source, const char *key);
static char *json_flaw(const MrbTemplate *template);
static void append_url(StringInfo out, const char *url, const char *path);
static bool has_dot_segment(const char *path);
static const char *render_part(const MrbTemplate *template,
							   const MrbTemplateValues *values, StringInfo out,
							   const char *where, bool *leave_out);

/*
 * Each step sets source.problem when it finds one, which ends the compilation.
 */
MrbRequest *
mrb_request_compile(Jsonb *object, const char *what,
					const MrbCharsets *charsets, char **problem)
{
	Source		source = {
		.object = &object->root,
		.what = what,
		.charsets = charsets,
		.request = palloc0(sizeof(MrbRequest)),
	};
	void		(*const steps[]) (Source *) = {
		check_members, compile_method, compile_path, compile_headers,
		compile_body
	};

	if (!JB_ROOT_IS_OBJECT(object))
		source.problem = psprintf("%s: the value must be an object.", what);
	for (size_t i = 0; i < lengthof(steps) && source.problem == NULL; i++)
		steps[i] (&source);
	*problem = source.problem;
	return source.problem == NULL ? source.request : NULL;
}

/*
 * A header with the secret of the endpoint is left out if there is no secret.
 */
const char *
mrb_request_render(const MrbRequest *request, const char *url,
				   const MrbTemplateValues *values, MrbHttpRequest *http)
{
	/* Signers add headers: see sign.c. */
	const char **headers = palloc0((request->nheaders + MRB_REQUEST_SPARE_HEADERS + 1) *
								   sizeof(char *));
	StringInfoData buffer;
	StringInfoData path;
	const char *problem;
	bool		leave_out;
	int			n = 0;

	initStringInfo(&path);
	problem = render_part(request->path, values, &path, "path", NULL);
	initStringInfo(&buffer);
	append_url(&buffer, url, path.data);
	if (problem == NULL && has_dot_segment(path.data))
		problem = "a value consists of dots, which would change the path";
	if (problem != NULL)
		return problem;
	http->method = request->method;
	http->url = buffer.data;

	for (int i = 0; i < request->nheaders; i++)
	{
		initStringInfo(&buffer);
		appendStringInfo(&buffer, "%s: ", request->header_names[i]);
		problem = render_part(request->headers[i], values, &buffer,
							  request->header_names[i], &leave_out);
		if (problem != NULL)
			return problem;
		if (!leave_out)
			headers[n++] = buffer.data;
	}
	http->headers = headers;

	http->body = NULL;
	http->body_len = 0;
	if (request->body != NULL)
	{
		initStringInfo(&buffer);
		problem = render_part(request->body, values, &buffer, "body", NULL);
		if (problem != NULL)
			return problem;
		http->body = buffer.data;
		http->body_len = buffer.len;
	}
	return NULL;
}

/*
 * The secret of the endpoint can be missing in headers: they are left out then.
 */
const char *
mrb_request_lacks_secret(const MrbRequest *request, const MrbTemplateValues *values)
{
	const char *name = mrb_template_lacks_secret(request->path, values);

	if (name == NULL && request->body != NULL)
		name = mrb_template_lacks_secret(request->body, values);
	for (int i = 0; name == NULL && i < request->nheaders; i++)
	{
		name = mrb_template_lacks_secret(request->headers[i], values);
		if (name != NULL && name[0] == '\0')
			name = NULL;
	}
	return name;
}

/*
 * Names of headers are compared without regard to case.
 */
bool
mrb_request_has_header(const MrbRequest *request, const char *name)
{
	for (int i = 0; i < request->nheaders; i++)
		if (pg_strcasecmp(request->header_names[i], name) == 0)
			return true;
	return false;
}

/*
 * Values are percent-encoded, so a placeholder can stand for them.
 */
bool
mrb_request_path_is_encoded(const MrbRequest *request)
{
	StringInfoData buffer;

	initStringInfo(&buffer);
	mrb_template_sample(request->path, &buffer);
	return mrb_request_text_is_encoded(buffer.data);
}

/*
 * A "%" is taken for the start of an encoded byte.
 */
bool
mrb_request_text_is_encoded(const char *path)
{
	return strspn(path, UNRESERVED "/%") == strlen(path);
}

/*
 * Reject unknown members: a misspelt one would have no effect.
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
				psprintf("%s.%s: there is no such member; the members are method, path, headers and body.",
						 source->what, key);
	}
}

/*
 * Check the method.
 */
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
			psprintf("%s.method: the method must be 1 to 20 capital letters, and not CONNECT.",
					 source->what);
	source->request->method = method;
}

/*
 * Check and compile the path.
 */
static void
compile_path(Source *source)
{
	char	   *path = member_text(source, "path");

	if (path == NULL)
		return;
	if ((path[0] != '\0' && path[0] != '/') ||
		strpbrk(path, " \"<>\\^`#") != NULL)
		source->problem =
			psprintf("%s.path: the path must be empty or begin with \"/\", and must not contain a space or any of \" < > \\ ^ ` #.",
					 source->what);
	else if (has_dot_segment(path))
		source->problem = psprintf("%s.path: the path must not contain \".\" or \"..\" between slashes.",
								   source->what);
	else
		source->request->path = compile_part(source, path, MRB_TEMPLATE_PATH,
											 "path");
}

/*
 * Compile all headers.
 */
static void
compile_headers(Source *source)
{
	MrbRequest *request = source->request;
	JsonbContainer *headers;
	JsonbValue	value;
	JsonbIterator *it = NULL;
	char	   *name;
	int			max_headers;

	if (!mrb_json_read_find(source->object, "headers", &value))
		return;
	headers = mrb_json_read_object(&value);
	if (headers == NULL)
	{
		source->problem = psprintf("%s.headers: the value must be an object.",
								   source->what);
		return;
	}
	max_headers = JsonContainerSize(headers);
	request->header_names = palloc0(max_headers * sizeof(char *));
	request->headers = palloc0(max_headers * sizeof(MrbTemplate *));

	while (source->problem == NULL &&
		   mrb_json_read_next(headers, &it, &name, &value))
		compile_header(source, name, &value);
}

/*
 * Check and compile one header.
 */
static void
compile_header(Source *source, char *name, const JsonbValue *value)
{
	MrbRequest *request = source->request;
	char	   *string = value->type == jbvString ?
	pnstrdup(value->val.string.val, value->val.string.len) : NULL;

	if (!check_header_name(request, name) || string == NULL)
		source->problem =
			psprintf("%s.headers.%s: the header cannot be set, or is set twice, or its value is not a string.",
					 source->what, name);
	else if (string[0] == '\0' || string[0] == ' ' || string[strlen(string) - 1] == ' ')
		source->problem = psprintf("%s.headers.%s: the value is empty, or begins or ends with a space.",
								   source->what, name);
	else
	{
		request->header_names[request->nheaders] = name;
		request->headers[request->nheaders++] =
			compile_part(source, string, MRB_TEMPLATE_HEADER,
						 psprintf("headers.%s", name));
	}
}

/*
 * Whether a request can set a header of that name, and does not yet.
 */
static bool
check_header_name(const MrbRequest *request, const char *name)
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
	return !mrb_request_has_header(request, name);
}

/*
 * Compile the body: a string, or an object or array whose strings have
 * variables.
 */
static void
compile_body(Source *source)
{
	MrbRequest *request = source->request;
	JsonbValue	value;
	char	   *string = NULL;
	MrbTemplatePlace place;
	char	   *flaw;

	if (!mrb_json_read_get(source->object, "body", &value))
		return;
	if (value.type == jbvString)
		string = pnstrdup(value.val.string.val, value.val.string.len);

	else if (value.type == jbvBinary)
		string = JsonbToCString(NULL, value.val.binary.data,
								value.val.binary.len);

	if (string == NULL || strcmp(request->method, "HEAD") == 0)
	{
		source->problem = psprintf("%s.body: the body must be a string, an object or an array, and HEAD cannot have one.",
								   source->what);
		return;
	}
	place = body_place(request, string);
	request->body = compile_part(source, string, place, "body");
	if (request->body == NULL || place != MRB_TEMPLATE_JSON)
		return;
	flaw = json_flaw(request->body);
	if (flaw != NULL)
		source->problem = psprintf("%s.body: %s", source->what, flaw);
}

/*
 * Find out what a body is: from its first character, else from the header
 * Content-Type.
 */
static MrbTemplatePlace
body_place(const MrbRequest *request, const char *string)
{
	char		first = string[strspn(string, " \t\r\n")];
	StringInfoData type;

	if (first == '{' || first == '[' || first == '"')
		return MRB_TEMPLATE_JSON;
	if (first == '<')
		return MRB_TEMPLATE_XML;
	initStringInfo(&type);
	for (int i = 0; i < request->nheaders; i++)
		if (pg_strcasecmp(request->header_names[i], "Content-Type") == 0)
			mrb_template_sample(request->headers[i], &type);
	return pg_strncasecmp(type.data, FORM_TYPE, strlen(FORM_TYPE)) == 0 ?
		MRB_TEMPLATE_FORM : MRB_TEMPLATE_TEXT;
}

/*
 * Compile one template.  Paths and headers must be printable ASCII.
 */
static MrbTemplate *
compile_part(Source *source, const char *string, MrbTemplatePlace place,
			 const char *part)
{
	const char *reason = NULL;
	int			offset;
	MrbTemplate *template = NULL;

	for (offset = 0; string[offset] != '\0'; offset++)
	{
		if ((place == MRB_TEMPLATE_PATH || place == MRB_TEMPLATE_HEADER) &&
			(string[offset] < 0x20 || string[offset] > 0x7e))
		{
			reason = "the character is not printable ASCII";
			break;
		}
	}
	if (reason == NULL)
		template = mrb_template_compile(string, place, source->charsets,
										&reason, &offset);
	if (template == NULL)
		source->problem = psprintf("%s.%s, character %d: %s.", source->what,
								   part, offset + 1, reason);
	else
		source->request->uses |= mrb_template_uses(template);
	return template;
}

/*
 * Get a member that must be a string.
 */
static char *
member_text(Source *source, const char *key)
{
	char	   *string = mrb_json_read_text(source->object, key);

	if (string == NULL)
		source->problem = psprintf("%s.%s: the member is missing or is not a string.",
								   source->what, key);
	return string;
}

/*
 * Why the text will not be JSON once its variables have values, or NULL.
 */
static char *
json_flaw(const MrbTemplate *template)
{
	StringInfoData buffer;
	JsonLexContext *lex;
	JsonParseErrorType error;

	initStringInfo(&buffer);
	mrb_template_sample(template, &buffer);
	lex = MRB_JSON_LEXER(buffer.data, buffer.len, GetDatabaseEncoding(), true);
	error = pg_parse_json(lex, &nullSemAction);
	return error == JSON_SUCCESS ? NULL : json_errdetail(error, lex);
}

/*
 * Append a path to the URL of the endpoint.  If the URL ends with a slash and
 * the path begins with one, one of them is left out.  An empty path leaves the
 * URL as it is.
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
 * Whether a part of the path is "." or "..", which servers would resolve to
 * another path.
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
 * Render one template.  Returns NULL, or the problem.  *leave_out, if given,
 * is set when the template has the secret of an endpoint without one.
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
	return psprintf("the value of {%s} is not allowed (%s)", variable,
					where);
}
