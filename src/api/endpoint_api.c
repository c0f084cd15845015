/*-------------------------------------------------------------------------
 *
 * endpoint_api.c
 *	  Test of an endpoint during set-up.
 *
 * The test sends harmless requests: a poll or a read of the marker if the
 * adapter has one, or else the request for a deployment and a host that cannot
 * exist, or for zero instances.  If the endpoint has no marker, the test writes
 * one that the dispatcher takes for none and reads it back, because an endpoint
 * that does not return its marker cannot be verified.  The result shows no
 * secret, even if the answer repeats one, and the body of the answer only to
 * administrators: an endpoint may answer what operators must not read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "adapter/answer.h"
#include "adapter/escape.h"
#include "adapter/secret.h"
#include "adapter/secret_list.h"
#include "adapter/sign.h"
#include "base/errors.h"
#include "base/json_build.h"
#include "common/lock_wait.h"
#include "common/query.h"
#include "delivery/marker.h"
#include "endpoint/endpoint_list.h"
#include "http/http_call.h"
#include "operation/actor.h"
#include "operation/tenancy.h"

PG_FUNCTION_INFO_V1(miosa_test_endpoint);
PG_FUNCTION_INFO_V1(mrb_need_endpoint);

#define TEST_ID "miosa-test"
#define TEST_ALERT "{\"deployment_id\": \"" TEST_ID "\", \"alertname\": \"test\"}"
#define TEST_STATEMENT "bWlvc2EtdGVzdAo="
#define TEST_HOST "miosa-test.invalid"
#define MASK MRB_SECRET_MASK

/* Maximum number of bytes shown of an answer's body. */
#define BODY_SHOWN 500

static MrbQuery exists_query = {
	.sql = "SELECT FROM miosa.endpoints e WHERE e.name = $1",
	.nargs = 1,
	.argtypes = {TEXTOID},
	.read_only = true,
};

static MrbQuery names_query = {
	.sql = "SELECT pg_catalog.string_agg(e.name, ', ' ORDER BY e.name)"
	" FROM miosa.endpoints e",
	.read_only = true,
};

static Datum call_test_endpoint(PG_FUNCTION_ARGS);
pg_noreturn static void raise_missing(const char *name);
static MrbEndpoint *read_endpoint(const char *name);
static const char *render_test(MrbEndpoint *endpoint, const MrbRequest *request,
							   bool masked, List **named_secrets,
							   MrbHttpRequest *http);
static const char *send(MrbEndpoint *endpoint, const MrbRequest *request,
						List **named_secrets, StringInfo out,
						MrbHttpAnswer *answer);
static void test(MrbEndpoint *endpoint, StringInfo out);
static const char *test_marker(MrbEndpoint *endpoint, List **named_secrets,
							   StringInfo out);
static const char *judge_marker(const MrbEndpoint *endpoint,
								const MrbRequest *request, bool last,
								const MrbHttpAnswer *answer);
static const char *judge(const MrbEndpoint *endpoint, const MrbRequest *request,
						 const MrbHttpAnswer *answer);
static void append_request(StringInfo out, const MrbHttpRequest *http);
static void append_answer(StringInfo out, const MrbEndpoint *endpoint,
						  const List *named_secrets,
						  const MrbHttpAnswer *answer);
static const char *remember_secret(const char *name, void *arg);
static char *mask_secret(char *body, const char *secret);
static char *mask_forms(char *body, const char *secret);
static char *replace(char *body, const char *from, const char *to);

/*
 * miosa_test_endpoint(name)
 */
Datum
miosa_test_endpoint(PG_FUNCTION_ARGS)
{
	mrb_tenancy_require_all("function miosa_test_endpoint");
	return mrb_lock_wait_call(MRB_PUBLIC, call_test_endpoint, fcinfo);
}

/*
 * miosa_test_endpoint(), with bounded waits.
 */
static Datum
call_test_endpoint(PG_FUNCTION_ARGS)
{
	MrbEndpoint *endpoint = read_endpoint(PG_ARGISNULL(0) ? "" :
										  text_to_cstring(PG_GETARG_TEXT_PP(0)));
	StringInfoData out;

	initStringInfo(&out);
	mrb_json_build_object(&out, NULL);
	mrb_json_build_object(&out, "data");
	mrb_json_build_string(&out, "endpoint", endpoint->name);
	if (endpoint->health.state == MRB_HEALTH_MISCONFIGURED)
		mrb_json_build_string(&out, "verdict", endpoint->health.last_error);
	else
		test(endpoint, &out);
	mrb_json_build_end(&out);
	mrb_json_build_end(&out);
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}

/*
 * miosa.need_endpoint(name): raise INVALID_ARGUMENT if there is no endpoint of
 * that name
 */
Datum
mrb_need_endpoint(PG_FUNCTION_ARGS)
{
	const char *name = PG_ARGISNULL(0) ? "" :
	text_to_cstring(PG_GETARG_TEXT_PP(0));
	Datum		values[1] = {CStringGetTextDatum(name)};
	bool		found;

	mrb_query_open();
	found = mrb_query_run(&exists_query, values, NULL) > 0;
	mrb_query_close();
	if (!found)
		raise_missing(name);
	PG_RETURN_VOID();
}

/*
 * Raise INVALID_ARGUMENT for an endpoint that does not exist.
 */
static void
raise_missing(const char *name)
{
	char	   *names = NULL;

	mrb_query_open();
	if (mrb_query_run(&names_query, NULL, NULL) > 0)
		names = mrb_query_text(0, 1);
	mrb_query_close();
	mrb_raise(MRB_ERR_INVALID_ARGUMENT,
			  psprintf("endpoint \"%s\" does not exist", name),
			  names ? psprintf("Endpoints are: %s.", names) :
			  "There is no endpoint.",
			  "See the endpoints with SELECT name, adapter, url, enabled FROM miosa.endpoints;");
}

/*
 * Read an endpoint; raise INVALID_ARGUMENT if there is none.
 */
static MrbEndpoint *
read_endpoint(const char *name)
{
	List	   *found = mrb_endpoint_list_read(1, 0, name);

	if (found == NIL)
		raise_missing(name);
	return linitial(found);
}

/*
 * Send the request that shows most, and append request, answer and verdict.
 */
static void
test(MrbEndpoint *endpoint, StringInfo out)
{
	const MrbAdapter *adapter = endpoint->adapter;
	MrbRequest *request = adapter->poll.request != NULL ? adapter->poll.request :
	adapter->marker_read != NULL ? adapter->marker_read : adapter->request;
	MrbHttpAnswer answer;
	const char *problem;
	List	   *named_secrets = NIL;

	if (adapter->volatile_table)
	{
		problem = test_marker(endpoint, &named_secrets, out);
		mrb_json_build_string(out, "verdict", problem);
		return;
	}
	problem = send(endpoint, request, &named_secrets, out, &answer);
	mrb_json_build_string(out, "verdict", problem != NULL ? problem :
						  judge(endpoint, request, &answer));
}

/*
 * Send one request and append it with its answer.  Returns why it cannot be
 * sent, or NULL.
 */
static const char *
send(MrbEndpoint *endpoint, const MrbRequest *request, List **named_secrets,
	 StringInfo out, MrbHttpAnswer *answer)
{
	MrbHttpRequest shown = {0};
	MrbHttpRequest http = {0};
	const char *problem = render_test(endpoint, request, true, named_secrets,
									  &shown);

	if (problem == NULL)
		problem = render_test(endpoint, request, false, named_secrets, &http);
	if (problem != NULL)
		return problem;
	http.timeout_ms = endpoint->adapter->timeout_ms;
	mrb_http_call(&http, answer);
	append_request(out, &shown);
	append_answer(out, endpoint, *named_secrets, answer);
	return NULL;
}

/*
 * Test an endpoint with a marker.  An existing marker is left unchanged.  If
 * there is none, the test writes epoch 0, which is lower than every marker: the
 * dispatcher resynchronizes the endpoint as it would without it.  The last
 * request is appended.
 */
static const char *
test_marker(MrbEndpoint *endpoint, List **named_secrets, StringInfo out)
{
	const MrbAdapter *adapter = endpoint->adapter;
	const MrbRequest *const requests[] = {
		adapter->marker_read, adapter->marker_write, adapter->marker_read
	};
	MrbHttpAnswer answer;
	const char *problem = NULL;
	int			start = out->len;

	for (size_t i = 0; i < lengthof(requests) && problem == NULL; i++)
	{
		out->len = start;
		out->data[start] = '\0';
		problem = send(endpoint, requests[i], named_secrets, out, &answer);
		if (problem == NULL)
			problem = judge_marker(endpoint, requests[i],
								   i == lengthof(requests) - 1, &answer);
	}
	return problem;
}

/*
 * Return the verdict, or NULL if the next request is needed for one.
 */
static const char *
judge_marker(const MrbEndpoint *endpoint, const MrbRequest *request, bool last,
			 const MrbHttpAnswer *answer)
{
	bool		reading = request == endpoint->adapter->marker_read;
	bool		taken = answer->outcome == MRB_HTTP_ANSWERED &&
	answer->status >= 200 && answer->status <= 299;
	int64		found;

	if (!taken && (!reading || answer->status != 404))
		return judge(endpoint, request, answer);
	if (!reading)
		return NULL;
	if (taken && mrb_marker_parse(answer, &found))
		return last ? "ok: nothing was written to the endpoint yet" : "ok";
	if (!last)
		return NULL;
	return psprintf("the endpoint does not return the marker that is written to it, so its table can never be verified (HTTP status %d)",
					answer->status);
}

/*
 * Render a request with the values of the test; masked: without secrets.
 */
static const char *
render_test(MrbEndpoint *endpoint, const MrbRequest *request, bool masked,
			List **named_secrets, MrbHttpRequest *http)
{
	static char *ids[] = {TEST_ID};
	static char *hosts[] = {TEST_HOST};
	MrbTemplateValues values;
	const char *problem;

	MemSet(&values, 0, sizeof(values));
	values.deployment_ids.n = values.hosts.n = 1;
	values.deployment_ids.items = ids;
	values.hosts.items = hosts;
	values.plain_hosts = values.hosts;
	values.routes = &values;
	values.nroutes = 1;
	values.text[MRB_VAR_ALERT] = TEST_ALERT;
	values.text[MRB_VAR_CHANGED_AT] = "1970-01-01T00:00:00Z";
	values.text[MRB_VAR_COUNT] = "0";
	values.text[MRB_VAR_DEPLOYMENT_ID] = TEST_ID;
	values.text[MRB_VAR_EPOCH] = "0";
	values.text[MRB_VAR_HOST] = TEST_HOST;
	values.text[MRB_VAR_INSTANCE_ID] = TEST_ID;
	values.text[MRB_VAR_KIND] = endpoint->adapter->scheduler ? "dynamic" :
		"static";
	values.text[MRB_VAR_MESSAGE_ID] = TEST_ID;
	values.text[MRB_VAR_OPERATION_ID] = TEST_ID;
	values.text[MRB_VAR_ORIGIN] = mrb_variable_origin();
	values.text[MRB_VAR_RELEASE_ID] = TEST_ID;
	values.text[MRB_VAR_SHA256] = TEST_ID;
	values.text[MRB_VAR_STATEMENT] = TEST_STATEMENT;
	values.text[MRB_VAR_STORAGE_URI] = TEST_ID;
	values.text[MRB_VAR_TENANT_ID] = TEST_ID;
	values.text[MRB_VAR_VERSION_ID] = TEST_ID;
	values.text[MRB_VAR_VERSION_NUMBER] = "0";
	values.text[MRB_VAR_WORKLOAD] = TEST_ID;
	values.text[MRB_VAR_SECRET] = endpoint->secret;
	values.named_secret = remember_secret;
	values.named_secret_arg = named_secrets;
	values.previous_secret = endpoint->previous_secret;
	values.mask = masked ? MASK : NULL;
	problem = mrb_request_render(request, endpoint->url, &values, http);
	return problem != NULL ? problem :
		mrb_sign_request(endpoint->adapter, &values, http);
}

/*
 * Return the verdict about an answer.
 */
static const char *
judge(const MrbEndpoint *endpoint, const MrbRequest *request,
	  const MrbHttpAnswer *answer)
{
	const MrbAdapter *adapter = endpoint->adapter;
	char	   *why;
	MrbVerdict	verdict = mrb_answer_judge(adapter, request, answer, &why);

	if (verdict == MRB_VERDICT_SUCCESS)
		return "ok";
	if (answer->outcome != MRB_HTTP_ANSWERED)
		return psprintf("no answer: %s", why);
	if (answer->status == 404 && request == adapter->marker_read)
		return "ok: nothing was written to the endpoint yet";
	if (answer->status == 404 && request == adapter->marker_write)
		return "the endpoint does not accept the marker (HTTP status 404)";
	if (answer->status == 404 && adapter->scheduler)
		return "ok: the scheduler has no such workload";
	if (answer->status == 404 && adapter->add != NULL)
		return "ok: there is no such entry, and it would be added";
	if (verdict == MRB_VERDICT_GONE)
		return psprintf("the endpoint answers that it is gone (%s)", why);
	if (verdict == MRB_VERDICT_MESSAGE)
		return psprintf("the endpoint answers, but does not accept the message (%s)", why);
	if (answer->status == 401 || answer->status == 403)
		return "the endpoint does not accept the secret, or the address of this server";
	if (answer->status >= 300 && answer->status <= 399)
		return "the endpoint redirects, and redirects are never followed";
	return psprintf("the endpoint fails (%s)", why);
}

/*
 * Append the request as a member.
 */
static void
append_request(StringInfo out, const MrbHttpRequest *http)
{
	mrb_json_build_object(out, "request");
	mrb_json_build_string(out, "method", http->method);
	mrb_json_build_string(out, "url", http->url);
	mrb_json_build_array(out, "headers");
	for (int i = 0; http->headers[i] != NULL; i++)
		mrb_json_build_string(out, NULL, http->headers[i]);
	mrb_json_build_end_array(out);
	mrb_json_build_string(out, "body", http->body);
	mrb_json_build_end(out);
}

/*
 * Append the answer as a member, with secrets masked.
 */
static void
append_answer(StringInfo out, const MrbEndpoint *endpoint,
			  const List *named_secrets, const MrbHttpAnswer *answer)
{
	char	   *body = pnstrdup(answer->body, answer->body_len);
	ListCell   *cell;

	mrb_json_build_object(out, "answer");
	mrb_json_build_integer(out, "status", answer->status);
	mrb_json_build_raw(out, "elapsed_ms", psprintf("%.1f", answer->elapsed_ms));
	if (!mrb_actor_administers())
	{
		mrb_json_build_end(out);
		return;
	}
	/* Whatever it is, it must become valid text in any encoding. */
	for (char *p = body; *p != '\0'; p++)
		if ((*p < 0x20 || *p > 0x7e) && *p != '\n')
			*p = '?';
	body = mask_secret(body, endpoint->secret);
	body = mask_secret(body, endpoint->previous_secret);
	foreach(cell, named_secrets)
		body = mask_secret(body, lfirst(cell));
	if (strlen(body) > BODY_SHOWN)
		body[BODY_SHOWN] = '\0';
	mrb_json_build_string(out, "body", body);
	mrb_json_build_end(out);
}

/*
 * Return the value of a secret, and add it to the list in arg, so that it can
 * be masked in answers.
 */
static const char *
remember_secret(const char *name, void *arg)
{
	List	  **named_secrets = arg;
	const char *secret = mrb_secret_list_value(name, NULL);

	if (secret != NULL)
		*named_secrets = lappend(*named_secrets, pstrdup(secret));
	return secret;
}

/*
 * Mask a secret in a text: the whole and, of USER:PASSWORD, each part.
 */
static char *
mask_secret(char *body, const char *secret)
{
	char	   *parts;
	char	   *rest;

	if (secret == NULL)
		return body;
	body = mask_forms(body, secret);

	parts = pstrdup(secret);
	for (char *part = strtok_r(parts, ":", &rest); part != NULL;
		 part = strtok_r(NULL, ":", &rest))
		body = mask_forms(body, part);
	return body;
}

/*
 * Mask all encodings of a secret that a request may have.
 */
static char *
mask_forms(char *body, const char *secret)
{
	static const MrbEscapeStyle styles[] = {
		MRB_ESCAPE_PLAIN, MRB_ESCAPE_PERCENT, MRB_ESCAPE_IN_JSON_STRING,
		MRB_ESCAPE_XML
	};

	for (size_t i = 0; i < lengthof(styles); i++)
	{
		StringInfoData form;

		initStringInfo(&form);
		mrb_escape_append(&form, styles[i], secret);
		body = replace(body, form.data, MASK);
	}
	return replace(body, mrb_escape_base64(secret, strlen(secret)), MASK);
}

/*
 * Replace all occurrences of a string.
 */
static char *
replace(char *body, const char *from, const char *to)
{
	StringInfoData out;
	char	   *found;

	initStringInfo(&out);
	while ((found = strstr(body, from)) != NULL)
	{
		appendBinaryStringInfo(&out, body, found - body);
		appendStringInfoString(&out, to);
		body = found + strlen(from);
	}
	appendStringInfoString(&out, body);
	return out.data;
}
