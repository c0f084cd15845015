/*-------------------------------------------------------------------------
 *
 * adapter.c
 *	  Reads and checks rows of miosa.adapters.
 *
 * The same code reports a mistake with its place when a row is written, and
 * makes the dispatcher stop deliveries to an endpoint whose row has one.
 * Columns that contradict each other are mistakes too: they would make the
 * first request fail, which can be during an incident.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "adapter/adapter.h"
#include "common/json_read.h"

/* Variables with a value only in a request about one deployment. */
#define OF_ONE_DEPLOYMENT \
	(MRB_VAR_BIT(MRB_VAR_DEPLOYMENT_ID) | MRB_VAR_BIT(MRB_VAR_KIND) | \
	 MRB_VAR_BIT(MRB_VAR_OPERATION_ID) | MRB_VAR_BIT(MRB_VAR_RELEASE_ID) | \
	 MRB_VAR_BIT(MRB_VAR_SHA256) | MRB_VAR_BIT(MRB_VAR_STORAGE_URI) | \
	 MRB_VAR_BIT(MRB_VAR_TENANT_ID) | MRB_VAR_BIT(MRB_VAR_VERSION_ID) | \
	 MRB_VAR_BIT(MRB_VAR_VERSION_NUMBER))

/* Variables with a value in a request about the marker. */
#define OF_MARKER \
	(MRB_VAR_BIT(MRB_VAR_EPOCH) | MRB_VAR_BIT(MRB_VAR_MESSAGE_ID) | \
	 MRB_VAR_BIT(MRB_VAR_ORIGIN) | MRB_VAR_BIT(MRB_VAR_SECRET))

static const char *const signer_names[] = {
	[MRB_SIGNER_NONE] = "none",
	[MRB_SIGNER_HEADER] = "header",
	[MRB_SIGNER_STANDARD_WEBHOOKS] = "standard-webhooks",
	[MRB_SIGNER_SIGV4] = "sigv4",
};

static const char *const verdict_names[] = {
	[MRB_VERDICT_ENDPOINT] = "endpoint",
	[MRB_VERDICT_MESSAGE] = "message",
	[MRB_VERDICT_GONE] = "gone",
};

static void read_values(Jsonb *row, MrbAdapter *adapter);
static char *read_requests(Jsonb *row, MrbAdapter *adapter);
static char *read_charset(const char *name, const JsonbValue *value,
						  MrbCharsets *charsets);
static char *read_success(Jsonb *row, MrbAdapter *adapter);
static char *read_verdicts(Jsonb *row, MrbAdapter *adapter);
static char *read_verdict(const char *status, const JsonbValue *value,
						  MrbAdapter *adapter);
static char *read_signer(Jsonb *row, MrbAdapter *adapter);
static char *read_sigv4(JsonbContainer *options, MrbAdapter *adapter);
static char *check_variables(const MrbAdapter *adapter);
static char *check_wildcards(const MrbAdapter *adapter);
static char *check_batch(const MrbAdapter *adapter);
static char *check_signer(const MrbAdapter *adapter);
static JsonbContainer *get_object(Jsonb *row, const char *key,
								  char **problem);
static int	get_int(Jsonb *row, const char *key);
static double get_number(Jsonb *row, const char *key);
static int	get_milliseconds(Jsonb *row, const char *key);
static bool get_bool(Jsonb *row, const char *key);

/*
 * The first problem ends the reading.
 */
bool
mrb_adapter_read(Jsonb *row, MrbAdapter *adapter, char **problem)
{
	read_values(row, adapter);
	*problem = read_requests(row, adapter);
	if (*problem == NULL)
		*problem = read_success(row, adapter);
	if (*problem == NULL)
		*problem = read_verdicts(row, adapter);
	if (*problem == NULL)
		*problem = read_signer(row, adapter);
	if (*problem == NULL)
		*problem = check_variables(adapter);
	if (*problem == NULL)
		*problem = check_wildcards(adapter);
	if (*problem == NULL)
		*problem = check_batch(adapter);
	if (*problem == NULL)
		*problem = check_signer(adapter);
	if (*problem == NULL)
		*problem = mrb_adapter_scheduler_read(row, adapter);
	return *problem == NULL;
}

/*
 * Read the columns that constraints of the table check.
 */
static void
read_values(Jsonb *row, MrbAdapter *adapter)
{
	char	   *per = mrb_json_read_text(&row->root, "per");
	char	   *role = mrb_json_read_text(&row->root, "role");

	adapter->scheduler = role != NULL && strcmp(role, "scheduler") == 0;
	adapter->audit = role != NULL && strcmp(role, "audit") == 0;
	adapter->alerts = get_bool(row, "alerts");
	adapter->routes = !adapter->scheduler && !adapter->audit && !adapter->alerts;
	adapter->per_instance = per != NULL && strcmp(per, "instance") == 0;
	adapter->name = mrb_json_read_text(&row->root, "name");
	adapter->per_host = per != NULL && strcmp(per, "host") == 0;
	adapter->wildcards = get_bool(row, "wildcards");
	adapter->self_expires = get_bool(row, "self_expires");
	adapter->volatile_table = get_bool(row, "volatile");
	adapter->settle_ms = get_milliseconds(row, "settle");
	adapter->timeout_ms = get_milliseconds(row, "timeout");
	adapter->marker_ms = get_milliseconds(row, "marker_interval");
	adapter->poll.interval_ms = get_milliseconds(row, "poll_interval");
	adapter->max_in_flight = get_int(row, "max_in_flight");
	adapter->batch_max = get_int(row, "batch_max");
	adapter->batch_bytes = get_int(row, "batch_bytes");
	adapter->rate = get_number(row, "rate");
	adapter->burst = get_int(row, "burst");
}

/*
 * Compile all requests.
 */
static char *
read_requests(Jsonb *row, MrbAdapter *adapter)
{
	struct
	{
		const char *name;
		MrbRequest **request;
	}			requests[] = {
		{"request", &adapter->request},
		{"add", &adapter->add},
		{"remove", &adapter->remove},
		{"wildcard_request", &adapter->wildcard_request},
		{"wildcard_remove", &adapter->wildcard_remove},
		{"marker_write", &adapter->marker_write},
		{"marker_read", &adapter->marker_read},
		{"poll", &adapter->poll.request},
	};
	MrbCharsets charsets;
	char	   *problem = NULL;
	JsonbContainer *narrowed = get_object(row, "charsets", &problem);

	mrb_variable_charsets(&charsets);
	if (narrowed != NULL)
		problem = mrb_adapter_read_charsets(narrowed, &charsets);
	for (size_t i = 0; i < lengthof(requests) && problem == NULL; i++)
	{
		JsonbValue	value;

		if (mrb_json_read_get(&row->root, requests[i].name, &value))
			*requests[i].request = mrb_request_compile(JsonbValueToJsonb(&value),
													   requests[i].name, &charsets,
													   &problem);
	}
	if (problem == NULL && adapter->request == NULL)
		problem = "request: the request is missing.";
	if (problem == NULL && adapter->volatile_table &&
		(adapter->marker_write == NULL || adapter->marker_read == NULL))
		problem = "volatile: marker_write and marker_read are required.";
	return problem;
}

/*
 * Its members are names of variables, and the characters of their values.
 */
char *
mrb_adapter_read_charsets(JsonbContainer *object, MrbCharsets *charsets)
{
	JsonbIterator *it = NULL;
	char	   *problem = NULL;
	JsonbValue	value;
	char	   *name;

	while (problem == NULL && mrb_json_read_next(object, &it, &name, &value))
		problem = read_charset(name, &value, charsets);
	return problem;
}

/*
 * Narrow the charset of one variable.
 */
static char *
read_charset(const char *name, const JsonbValue *value,
			 MrbCharsets *charsets)
{
	MrbVariable variable = mrb_variable_find(name, strlen(name));
	const char *reason;
	int			offset;

	if (variable == MRB_VARIABLES)
		return psprintf("charsets.%s: there is no such variable.", name);
	if (value->type != jbvString)
		return psprintf("charsets.%s: the value must be a string.", name);
	if (!mrb_variable_narrow(charsets, variable,
							 pnstrdup(value->val.string.val,
									  value->val.string.len),
							 &reason, &offset))
		return psprintf("charsets.%s, character %d: %s.", name, offset + 1,
						reason);
	return NULL;
}

/*
 * Read what makes an answer a success.
 */
static char *
read_success(Jsonb *row, MrbAdapter *adapter)
{
	JsonbValue	value;
	JsonbContainer *array;

	adapter->success_text = mrb_json_read_text(&row->root, "success_json_path");
	if (adapter->success_text != NULL)
		adapter->success_path =
			DatumGetJsonPathP(DirectFunctionCall1(jsonpath_in,
												  CStringGetDatum(adapter->success_text)));
	if (!mrb_json_read_get(&row->root, "success", &value))
		return NULL;
	array = mrb_json_read_array(&value);
	if (array == NULL)
		return "success: the value must be an array.";
	adapter->nsuccess = JsonContainerSize(array);
	adapter->success = palloc(Max(adapter->nsuccess, 1) * sizeof(int));
	for (int i = 0; i < adapter->nsuccess; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);
		int			status = element->type == jbvNumeric ?
		DatumGetInt32(DirectFunctionCall1(numeric_int4,
										  NumericGetDatum(element->val.numeric))) : 0;

		if (status < 200 || status > 599)
			return psprintf("success, element %d: the value is not an HTTP status.",
							i + 1);
		if (status == 404 && adapter->add != NULL)
			return "success: 404 means that the entry must be added, because there is add.";
		adapter->success[i] = status;
	}
	return NULL;
}

/*
 * Read the verdicts on statuses.
 */
static char *
read_verdicts(Jsonb *row, MrbAdapter *adapter)
{
	char	   *problem = NULL;
	JsonbContainer *object = get_object(row, "verdicts", &problem);
	JsonbIterator *it = NULL;
	JsonbValue	value;
	char	   *status;

	if (object == NULL)
		return problem;
	adapter->verdicts = palloc(Max(JsonContainerSize(object), 1) *
							   sizeof(MrbStatusVerdict));
	while (problem == NULL && mrb_json_read_next(object, &it, &status, &value))
		problem = read_verdict(status, &value, adapter);
	return problem;
}

/*
 * Read the verdict on one status.
 */
static char *
read_verdict(const char *status, const JsonbValue *value,
			 MrbAdapter *adapter)
{
	MrbStatusVerdict *status_verdict = &adapter->verdicts[adapter->nverdicts];
	int			verdict = MRB_VERDICT_ENDPOINT;

	status_verdict->status = atoi(status);
	if (strlen(status) != 3 || strspn(status, "0123456789") != 3 ||
		status_verdict->status < 200 || status_verdict->status > 599)
		return psprintf("verdicts: \"%s\" is not an HTTP status.", status);
	for (int i = 0; i < adapter->nsuccess; i++)
		if (adapter->success[i] == status_verdict->status)
			return psprintf("verdicts: \"%s\" is a success already.", status);
	if (adapter->nsuccess == 0 && status_verdict->status <= 299)
		return psprintf("verdicts: \"%s\" is a success already.", status);
	if (status_verdict->status == 404 && adapter->add != NULL)
		return "verdicts: \"404\" means that the entry must be added, because there is add.";

	while (verdict < (int) lengthof(verdict_names) &&
		   !mrb_json_read_equals(value, verdict_names[verdict]))
		verdict++;
	if (verdict == lengthof(verdict_names))
		return psprintf("verdicts.%s: the verdict must be \"endpoint\", \"message\" or \"gone\".",
						status);
	status_verdict->verdict = verdict;
	adapter->nverdicts++;
	return NULL;
}

/*
 * Read the signer and its options.
 */
static char *
read_signer(Jsonb *row, MrbAdapter *adapter)
{
	char	   *name = mrb_json_read_text(&row->root, "signer");
	char	   *problem = NULL;
	JsonbContainer *options = get_object(row, "signer_options", &problem);
	int			i = 0;

	while (i < (int) lengthof(signer_names) &&
		   (name == NULL || strcmp(signer_names[i], name) != 0))
		i++;
	if (i == lengthof(signer_names))
		return "signer: the signer must be none, header, standard-webhooks or sigv4.";
	adapter->signer = i;
	if (problem != NULL)
		return problem;
	if (adapter->signer == MRB_SIGNER_SIGV4)
		return read_sigv4(options, adapter);
	if (options != NULL && JsonContainerSize(options) > 0)
		return psprintf("signer_options: the signer \"%s\" has no options.", name);
	return NULL;
}

/*
 * Read the options of the signer "sigv4".
 */
static char *
read_sigv4(JsonbContainer *options, MrbAdapter *adapter)
{
	static const char *const names[] = {"service", "region"};
	char	   *values[lengthof(names)];

	for (size_t i = 0; i < lengthof(names); i++)
	{
		values[i] = options != NULL ? mrb_json_read_text(options, names[i]) : NULL;
		if (values[i] == NULL || values[i][0] == '\0' ||
			strspn(values[i], "abcdefghijklmnopqrstuvwxyz0123456789-") !=
			strlen(values[i]))
			return psprintf("signer_options.%s: the signer \"sigv4\" requires this option, as a string of a-z 0-9 -.",
							names[i]);
	}
	if (JsonContainerSize(options) != lengthof(names))
		return "signer_options: the only options of the signer \"sigv4\" are service and region.";
	adapter->sigv4 = psprintf("aws:amz:%s:%s", values[1], values[0]);
	return NULL;
}

/*
 * Check that every variable has a value in the request that uses it.
 */
static char *
check_variables(const MrbAdapter *adapter)
{
	if (!adapter->per_host &&
		((adapter->request->uses | (adapter->add ? adapter->add->uses : 0)) &
		 MRB_VAR_BIT(MRB_VAR_HOST)) != 0)
		return "request: {host} has a value only if per is \"host\".";
	if (adapter->remove != NULL && !adapter->per_host && !adapter->scheduler)
		return "remove: hosts can be removed only if per is \"host\".";
	if (adapter->marker_write != NULL &&
		(adapter->marker_write->uses & MRB_VAR_BIT(MRB_VAR_EPOCH)) == 0)
		return "marker_write: the request must contain {epoch}.";
	if ((adapter->marker_write != NULL &&
		 (adapter->marker_write->uses & ~OF_MARKER) != 0) ||
		(adapter->marker_read != NULL &&
		 (adapter->marker_read->uses & ~OF_MARKER & ~MRB_VAR_BIT(MRB_VAR_EPOCH)) != 0))
		return "marker_write, marker_read: only {epoch}, {message_id}, {origin} and {secret} have a value here.";
	return NULL;
}

/*
 * Check the requests for wildcard hosts.  Without them, wildcard hosts are sent
 * in the same requests as other hosts.
 */
static char *
check_wildcards(const MrbAdapter *adapter)
{
	if (adapter->wildcard_request == NULL && adapter->wildcard_remove == NULL)
		return NULL;
	if (!adapter->per_host)
		return "wildcard_request, wildcard_remove: these requests are possible only if per is \"host\".";
	if (!adapter->wildcards)
		return "wildcards: the value must be true if there is wildcard_request.";
	if (adapter->wildcard_request == NULL)
		return "wildcard_remove: wildcard_request is required.";
	if (adapter->remove != NULL && adapter->wildcard_remove == NULL)
		return "wildcard_request: wildcard_remove is required, because there is remove.";
	return NULL;
}

/*
 * Check that a request for a batch has no variable of a single deployment.
 */
static char *
check_batch(const MrbAdapter *adapter)
{
	uint32		uses = adapter->request->uses;

	if (adapter->add != NULL)
		uses |= adapter->add->uses;
	if (adapter->batch_max <= 1)
		return NULL;
	if (adapter->per_host)
		return "batch_max: more than 1 is possible only if per is \"deployment\".";
	for (int i = 0; i < MRB_VARIABLES; i++)
		if ((uses & OF_ONE_DEPLOYMENT & MRB_VAR_BIT(i)) != 0)
			return psprintf("batch_max: a request for more than 1 deployment cannot contain {%s}.",
							mrb_variable_name(i));
	return NULL;
}

/*
 * Check that requests suit the signer: a secret that signs must not be sent,
 * one that is sent must be in the request, and the headers that the signer adds
 * must not be set.
 */
static char *
check_signer(const MrbAdapter *adapter)
{
	static const char *const reserved[] = {
		"webhook-id", "webhook-timestamp", "webhook-signature",
		"authorization", "x-amz-date", "x-amz-content-sha256",
		"x-amz-security-token",
	};
	const MrbRequest *requests[] = {
		adapter->request, adapter->add, adapter->remove,
		adapter->wildcard_request, adapter->wildcard_remove,
		adapter->marker_write, adapter->marker_read, adapter->poll.request
	};
	bool		holds = (adapter->request->uses & MRB_VAR_BIT(MRB_VAR_SECRET)) != 0;

	if (adapter->signer == MRB_SIGNER_HEADER && !holds)
		return "signer: \"header\" requires {secret} in a header of the request.";
	if (adapter->signer != MRB_SIGNER_STANDARD_WEBHOOKS &&
		adapter->signer != MRB_SIGNER_SIGV4)
		return NULL;
	/* Receivers ignore a second message with the same id. */
	if (adapter->signer == MRB_SIGNER_STANDARD_WEBHOOKS && adapter->per_host)
		return "signer: \"standard-webhooks\" is not possible if per is \"host\".";
	for (size_t i = 0; i < lengthof(requests); i++)
	{
		if (requests[i] == NULL)
			continue;
		if ((requests[i]->uses & MRB_VAR_BIT(MRB_VAR_SECRET)) != 0)
			return psprintf("signer: \"%s\" signs with the secret, so requests must not contain {secret}.",
							signer_names[adapter->signer]);
		for (size_t j = 0; j < lengthof(reserved); j++)
			if (mrb_request_has_header(requests[i], reserved[j]))
				return psprintf("signer: \"%s\" sets the header %s, so requests must not.",
								signer_names[adapter->signer], reserved[j]);
		if (adapter->signer == MRB_SIGNER_SIGV4 &&
			!mrb_request_path_is_encoded(requests[i]))
			return "signer: \"sigv4\" requires paths without \"?\" whose characters are A-Z a-z 0-9 - . _ ~ / or percent-encoded.";
	}
	return NULL;
}

/*
 * Get an object; NULL if it is null, or, with *problem, something else.
 */
static JsonbContainer *
get_object(Jsonb *row, const char *key, char **problem)
{
	JsonbValue	value;

	if (!mrb_json_read_get(&row->root, key, &value))
		return NULL;
	if (mrb_json_read_object(&value) == NULL)
		*problem = psprintf("%s: the value must be an object.", key);
	return mrb_json_read_object(&value);
}

/*
 * Get a number as get_number() does, as an integer within its limits.
 */
static int
get_int(Jsonb *row, const char *key)
{
	double		number = get_number(row, key);

	return (int) Min(Max(number, PG_INT32_MIN), PG_INT32_MAX);
}

/*
 * Get a number: 0 if it is something else, infinity if it is too large.
 */
static double
get_number(Jsonb *row, const char *key)
{
	JsonbValue	value;

	if (!mrb_json_read_get(&row->root, key, &value) || value.type != jbvNumeric)
		return 0;
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
											  NumericGetDatum(value.val.numeric)));
}

/*
 * Get an interval, which to_jsonb() writes as a string, in milliseconds; 0 if
 * it is null.
 */
static int
get_milliseconds(Jsonb *row, const char *key)
{
	char	   *string = mrb_json_read_text(&row->root, key);
	Interval   *span;
	double		ms;

	if (string == NULL)
		return 0;
	span = DatumGetIntervalP(DirectFunctionCall3(interval_in,
												 CStringGetDatum(string),
												 ObjectIdGetDatum(InvalidOid),
												 Int32GetDatum(-1)));
	ms = ((double) span->month * DAYS_PER_MONTH + span->day) *
		(USECS_PER_DAY / 1000) + span->time / 1000;
	return (int) Max(0, Min(ms, PG_INT32_MAX));
}

/*
 * Get a boolean: false if it is something else.
 */
static bool
get_bool(Jsonb *row, const char *key)
{
	JsonbValue	value;

	return mrb_json_read_get(&row->root, key, &value) && value.type == jbvBool &&
		value.val.boolean;
}
