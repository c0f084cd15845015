/*-------------------------------------------------------------------------
 *
 * adapter.c
 *	  How to talk to one kind of endpoint: a row of miosa.adapters, read.
 *
 * The same code refuses a mistake with its place when a row is written and
 * stops an endpoint when the dispatcher meets one.  Columns that contradict
 * each other are mistakes too: they would fail at the first request, which
 * can be during an incident.
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

/* What has a value only in a request that is about one deployment. */
#define OF_ONE_DEPLOYMENT \
	(MRB_VAR_BIT(MRB_VAR_DEPLOYMENT_ID) | MRB_VAR_BIT(MRB_VAR_KIND) | \
	 MRB_VAR_BIT(MRB_VAR_OPERATION_ID) | MRB_VAR_BIT(MRB_VAR_RELEASE_ID) | \
	 MRB_VAR_BIT(MRB_VAR_SHA256) | MRB_VAR_BIT(MRB_VAR_STORAGE_URI) | \
	 MRB_VAR_BIT(MRB_VAR_TENANT_ID) | MRB_VAR_BIT(MRB_VAR_VERSION_ID) | \
	 MRB_VAR_BIT(MRB_VAR_VERSION_NUMBER))

/* What has a value in a request about the marker. */
#define OF_MARKER \
	(MRB_VAR_BIT(MRB_VAR_EPOCH) | MRB_VAR_BIT(MRB_VAR_MESSAGE_ID) | \
	 MRB_VAR_BIT(MRB_VAR_SECRET))

static const char *const signers[] = {
	[MRB_SIGNER_NONE] = "none",
	[MRB_SIGNER_HEADER] = "header",
	[MRB_SIGNER_STANDARD_WEBHOOKS] = "standard-webhooks",
	[MRB_SIGNER_SIGV4] = "sigv4",
};

static const char *const verdicts[] = {
	[MRB_VERDICT_ENDPOINT] = "endpoint",
	[MRB_VERDICT_MESSAGE] = "message",
	[MRB_VERDICT_GONE] = "gone",
};

static void read_plain(Jsonb *row, MrbAdapter *adapter);
static char *read_calls(Jsonb *row, MrbAdapter *adapter);
static char *read_charset(const char *name, const JsonbValue *value,
						  MrbAlphabets *alphabets);
static char *read_success(Jsonb *row, MrbAdapter *adapter);
static char *read_verdicts(Jsonb *row, MrbAdapter *adapter);
static char *read_meaning(const char *status, const JsonbValue *value,
						  MrbAdapter *adapter);
static char *read_signer(Jsonb *row, MrbAdapter *adapter);
static char *read_sigv4(JsonbContainer *options, MrbAdapter *adapter);
static char *check_variables(const MrbAdapter *adapter);
static char *check_wildcards(const MrbAdapter *adapter);
static char *check_batch(const MrbAdapter *adapter);
static char *check_signed(const MrbAdapter *adapter);
static JsonbContainer *get_object(Jsonb *row, const char *key,
								  char **problem);
static int	get_int(Jsonb *row, const char *key);
static double get_number(Jsonb *row, const char *key);
static int	get_milliseconds(Jsonb *row, const char *key);
static bool get_bool(Jsonb *row, const char *key);

bool
mrb_adapter_read(Jsonb *row, MrbAdapter *adapter, char **problem)
{
	read_plain(row, adapter);
	*problem = read_calls(row, adapter);
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
		*problem = check_signed(adapter);
	if (*problem == NULL)
		*problem = mrb_adapter_read_scheduler(row, adapter);
	return *problem == NULL;
}

static void
read_plain(Jsonb *row, MrbAdapter *adapter)
{
	char	   *per = mrb_json_read_text(&row->root, "per");
	char	   *role = mrb_json_read_text(&row->root, "role");

	adapter->scheduler = role != NULL && strcmp(role, "scheduler") == 0;
	adapter->per_instance = per != NULL && strcmp(per, "instance") == 0;
	adapter->name = mrb_json_read_text(&row->root, "name");
	adapter->stage = get_int(row, "stage");
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

static char *
read_calls(Jsonb *row, MrbAdapter *adapter)
{
	struct
	{
		const char *name;
		MrbRequest **call;
	}			calls[] = {
		{"request", &adapter->request},
		{"add", &adapter->add},
		{"remove", &adapter->remove},
		{"wildcard_request", &adapter->wildcard_request},
		{"wildcard_remove", &adapter->wildcard_remove},
		{"marker_write", &adapter->marker_write},
		{"marker_read", &adapter->marker_read},
		{"poll", &adapter->poll.request},
	};
	MrbAlphabets alphabets;
	char	   *problem = NULL;
	JsonbContainer *charsets = get_object(row, "charsets", &problem);

	mrb_variable_alphabets(&alphabets);
	if (charsets != NULL)
		problem = mrb_adapter_read_charsets(charsets, &alphabets);
	for (size_t i = 0; i < lengthof(calls) && problem == NULL; i++)
	{
		JsonbValue	value;

		if (mrb_json_read_get(&row->root, calls[i].name, &value))
			*calls[i].call = mrb_request_compile(JsonbValueToJsonb(&value),
												 calls[i].name, &alphabets,
												 &problem);
	}
	if (problem == NULL && adapter->request == NULL)
		problem = "request: it is missing.";
	if (problem == NULL && adapter->volatile_table &&
		(adapter->marker_write == NULL || adapter->marker_read == NULL))
		problem = "volatile: it needs marker_write and marker_read.";
	return problem;
}

char *
mrb_adapter_read_charsets(JsonbContainer *object, MrbAlphabets *alphabets)
{
	JsonbIterator *it = NULL;
	char	   *problem = NULL;
	JsonbValue	value;
	char	   *name;

	while (problem == NULL && mrb_json_read_next(object, &it, &name, &value))
		problem = read_charset(name, &value, alphabets);
	return problem;
}

static char *
read_charset(const char *name, const JsonbValue *value,
			 MrbAlphabets *alphabets)
{
	MrbVariable variable = mrb_variable_find(name, strlen(name));
	const char *reason;
	int			offset;

	if (variable == MRB_VARIABLES)
		return psprintf("charsets.%s: there is no such variable.", name);
	if (value->type != jbvString)
		return psprintf("charsets.%s: it is not a text.", name);
	if (!mrb_variable_narrow(alphabets, variable,
							 pnstrdup(value->val.string.val,
									  value->val.string.len),
							 &reason, &offset))
		return psprintf("charsets.%s, character %d: %s.", name, offset + 1,
						reason);
	return NULL;
}

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
		return "success: it must be an array.";
	adapter->nsuccess = JsonContainerSize(array);
	adapter->success = palloc(Max(adapter->nsuccess, 1) * sizeof(int));
	for (int i = 0; i < adapter->nsuccess; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);
		int			status = element->type == jbvNumeric ?
		DatumGetInt32(DirectFunctionCall1(numeric_int4,
										  NumericGetDatum(element->val.numeric))) : 0;

		if (status < 200 || status > 599)
			return psprintf("success, element %d: it is no HTTP status.",
							i + 1);
		if (status == 404 && adapter->add != NULL)
			return "success: 404 means that the entry must be added.";
		adapter->success[i] = status;
	}
	return NULL;
}

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
	adapter->meanings = palloc(Max(JsonContainerSize(object), 1) *
							   sizeof(MrbStatusVerdict));
	while (problem == NULL && mrb_json_read_next(object, &it, &status, &value))
		problem = read_meaning(status, &value, adapter);
	return problem;
}

static char *
read_meaning(const char *status, const JsonbValue *value,
			 MrbAdapter *adapter)
{
	MrbStatusVerdict *meaning = &adapter->meanings[adapter->nmeanings];
	int			verdict = MRB_VERDICT_ENDPOINT;

	meaning->status = atoi(status);
	if (strlen(status) != 3 || strspn(status, "0123456789") != 3 ||
		meaning->status < 200 || meaning->status > 599)
		return psprintf("verdicts: \"%s\" is no HTTP status.", status);
	for (int i = 0; i < adapter->nsuccess; i++)
		if (adapter->success[i] == meaning->status)
			return psprintf("verdicts: \"%s\" is a success already.", status);
	if (adapter->nsuccess == 0 && meaning->status <= 299)
		return psprintf("verdicts: \"%s\" is a success already.", status);
	if (meaning->status == 404 && adapter->add != NULL)
		return "verdicts: \"404\" means that the entry must be added.";

	while (verdict < (int) lengthof(verdicts) &&
		   !mrb_json_read_equals(value, verdicts[verdict]))
		verdict++;
	if (verdict == lengthof(verdicts))
		return psprintf("verdicts.%s: it must be \"endpoint\", \"message\" or \"gone\".",
						status);
	meaning->verdict = verdict;
	adapter->nmeanings++;
	return NULL;
}

static char *
read_signer(Jsonb *row, MrbAdapter *adapter)
{
	char	   *name = mrb_json_read_text(&row->root, "signer");
	char	   *problem = NULL;
	JsonbContainer *options = get_object(row, "signer_options", &problem);
	int			i = 0;

	while (i < (int) lengthof(signers) &&
		   (name == NULL || strcmp(signers[i], name) != 0))
		i++;
	if (i == lengthof(signers))
		return "signer: it must be none, header, standard-webhooks or sigv4.";
	adapter->signer = i;
	if (problem != NULL)
		return problem;
	if (adapter->signer == MRB_SIGNER_SIGV4)
		return read_sigv4(options, adapter);
	if (options != NULL && JsonContainerSize(options) > 0)
		return psprintf("signer_options: the signer \"%s\" has none.", name);
	return NULL;
}

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
			return psprintf("signer_options.%s: the signer \"sigv4\" needs it, as a text of a-z 0-9 -.",
							names[i]);
	}
	if (JsonContainerSize(options) != lengthof(names))
		return "signer_options: the signer \"sigv4\" has service and region, nothing else.";
	adapter->sigv4 = psprintf("aws:amz:%s:%s", values[1], values[0]);
	return NULL;
}

/*
 * Whether every variable has a value where it stands.
 */
static char *
check_variables(const MrbAdapter *adapter)
{
	if (!adapter->per_host &&
		((adapter->request->uses | (adapter->add ? adapter->add->uses : 0)) &
		 MRB_VAR_BIT(MRB_VAR_HOST)) != 0)
		return "request: {host} has a value only when per is \"host\".";
	if (adapter->remove != NULL && !adapter->per_host && !adapter->scheduler)
		return "remove: it is for hosts, so per must be \"host\".";
	if (adapter->marker_write != NULL &&
		(adapter->marker_write->uses & MRB_VAR_BIT(MRB_VAR_EPOCH)) == 0)
		return "marker_write: it must hold {epoch}.";
	if ((adapter->marker_write != NULL &&
		 (adapter->marker_write->uses & ~OF_MARKER) != 0) ||
		(adapter->marker_read != NULL &&
		 (adapter->marker_read->uses & ~OF_MARKER & ~MRB_VAR_BIT(MRB_VAR_EPOCH)) != 0))
		return "marker_write, marker_read: only {epoch}, {message_id} and {secret} have a value there.";
	return NULL;
}

/*
 * What has no request for wildcard hosts of its own sends the usual one.
 */
static char *
check_wildcards(const MrbAdapter *adapter)
{
	if (adapter->wildcard_request == NULL && adapter->wildcard_remove == NULL)
		return NULL;
	if (!adapter->per_host)
		return "wildcard_request, wildcard_remove: they are for hosts, so per must be \"host\".";
	if (!adapter->wildcards)
		return "wildcards: it must be true where wildcard_request is set.";
	if (adapter->wildcard_request == NULL)
		return "wildcard_remove: it needs wildcard_request.";
	if (adapter->remove != NULL && adapter->wildcard_remove == NULL)
		return "wildcard_request: it needs wildcard_remove, because there is remove.";
	return NULL;
}

/*
 * A batch must not be told with the words of one of its deployments.
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
		return "batch_max: more than 1 needs per = \"deployment\".";
	for (int i = 0; i < MRB_VARIABLES; i++)
		if ((uses & OF_ONE_DEPLOYMENT & MRB_VAR_BIT(i)) != 0)
			return psprintf("batch_max: a request for more than 1 deployment cannot hold {%s}.",
							mrb_variable_name(i));
	return NULL;
}

/*
 * What signs must not be sent, what is sent must be there, and what the
 * signer writes cannot be written by hand.
 */
static char *
check_signed(const MrbAdapter *adapter)
{
	static const char *const written[] = {
		"webhook-id", "webhook-timestamp", "webhook-signature",
		"authorization", "x-amz-date", "x-amz-content-sha256",
		"x-amz-security-token",
	};
	const MrbRequest *calls[] = {
		adapter->request, adapter->add, adapter->remove,
		adapter->wildcard_request, adapter->wildcard_remove,
		adapter->marker_write, adapter->marker_read, adapter->poll.request
	};
	bool		holds = (adapter->request->uses & MRB_VAR_BIT(MRB_VAR_SECRET)) != 0;

	if (adapter->signer == MRB_SIGNER_HEADER && !holds)
		return "signer: \"header\" needs {secret} in a header of the request.";
	if (adapter->signer != MRB_SIGNER_STANDARD_WEBHOOKS &&
		adapter->signer != MRB_SIGNER_SIGV4)
		return NULL;
	/* Its receivers drop what comes twice with one id. */
	if (adapter->signer == MRB_SIGNER_STANDARD_WEBHOOKS && adapter->per_host)
		return "signer: \"standard-webhooks\" needs per = \"deployment\".";
	for (size_t i = 0; i < lengthof(calls); i++)
	{
		if (calls[i] == NULL)
			continue;
		if ((calls[i]->uses & MRB_VAR_BIT(MRB_VAR_SECRET)) != 0)
			return psprintf("signer: \"%s\" signs with the secret, so {secret} must not be sent.",
							signers[adapter->signer]);
		for (size_t j = 0; j < lengthof(written); j++)
			if (mrb_request_has_header(calls[i], written[j]))
				return psprintf("signer: \"%s\" does not go with a header %s.",
								signers[adapter->signer], written[j]);
		if (adapter->signer == MRB_SIGNER_SIGV4 &&
			!mrb_request_path_is_encoded(calls[i]))
			return "signer: \"sigv4\" needs paths without \"?\" whose characters are A-Z a-z 0-9 - . _ ~ / or percent-encoded.";
	}
	return NULL;
}

/*
 * NULL when there is none, or it is no object, which is a problem.
 */
static JsonbContainer *
get_object(Jsonb *row, const char *key, char **problem)
{
	JsonbValue	value;

	if (!mrb_json_read_get(&row->root, key, &value))
		return NULL;
	if (mrb_json_read_object(&value) == NULL)
		*problem = psprintf("%s: it must be an object.", key);
	return mrb_json_read_object(&value);
}

/*
 * As get_number(), or the integer that is nearest to it.
 */
static int
get_int(Jsonb *row, const char *key)
{
	double		number = get_number(row, key);

	return (int) Min(Max(number, PG_INT32_MIN), PG_INT32_MAX);
}

/*
 * 0 when it is no number; infinity when it is too large.
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
 * An interval, which a row has as text, in milliseconds; 0 when there is
 * none.  This is the one place that reads a column of type interval.
 */
static int
get_milliseconds(Jsonb *row, const char *key)
{
	char	   *written = mrb_json_read_text(&row->root, key);
	Interval   *span;
	double		ms;

	if (written == NULL)
		return 0;
	span = DatumGetIntervalP(DirectFunctionCall3(interval_in,
												 CStringGetDatum(written),
												 ObjectIdGetDatum(InvalidOid),
												 Int32GetDatum(-1)));
	ms = ((double) span->month * DAYS_PER_MONTH + span->day) *
		(USECS_PER_DAY / 1000) + span->time / 1000;
	return (int) Max(0, Min(ms, PG_INT32_MAX));
}

/*
 * False when it is no boolean.
 */
static bool
get_bool(Jsonb *row, const char *key)
{
	JsonbValue	value;

	return mrb_json_read_get(&row->root, key, &value) && value.type == jbvBool &&
		value.val.boolean;
}
