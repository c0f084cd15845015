/*-------------------------------------------------------------------------
 *
 * gateway.c
 *	  What an HTTP gateway that follows PostgREST's conventions reads.
 *
 * PostgREST runs each request in a transaction of its own.  It sets
 * request.method there, and when the call has succeeded it reads the headers of
 * its answer from response.headers, an array of objects with one member each, and
 * the status from response.status.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "lib/stringinfo.h"
#include "utils/guc.h"

#include "base/gateway.h"
#include "base/json_build.h"

static void trim(StringInfo text);

/*
 * Whether the current transaction serves an HTTP request.
 */
bool
mrb_gateway_calls(void)
{
	const char *method = GetConfigOption("request.method", true, false);

	return method != NULL && method[0] != '\0';
}

/*
 * Add a header to those that the pre-request or the calling function has set.
 * What is there is not parsed: if it is no array, the gateway refuses it as it
 * would without this.
 */
void
mrb_gateway_add_header(const char *name, const char *value)
{
	const char *present;
	StringInfoData headers;

	if (!mrb_gateway_calls())
		return;
	present = GetConfigOption("response.headers", true, false);
	initStringInfo(&headers);
	if (present != NULL)
		appendStringInfoString(&headers, present);
	trim(&headers);
	if (headers.len > 0 && headers.data[headers.len - 1] == ']')
	{
		headers.data[--headers.len] = '\0';
		trim(&headers);
	}
	else
		mrb_json_build_array(&headers, NULL);
	mrb_json_build_object(&headers, NULL);
	mrb_json_build_string(&headers, name, value);
	mrb_json_build_end(&headers);
	mrb_json_build_end_array(&headers);
	(void) set_config_option("response.headers", headers.data, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

/*
 * Set the status.
 */
void
mrb_gateway_set_status(int status)
{
	char		number[12];

	if (!mrb_gateway_calls())
		return;
	snprintf(number, sizeof(number), "%d", status);
	(void) set_config_option("response.status", number, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

/*
 * Remove white space at the end.
 */
static void
trim(StringInfo text)
{
	while (text->len > 0 && isspace((unsigned char) text->data[text->len - 1]))
		text->data[--text->len] = '\0';
}
