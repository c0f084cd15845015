/*-------------------------------------------------------------------------
 *
 * fleet.c
 *	  Rollbacks of all deployments that a selector matches.
 *
 * A fleet is a row of miosa.fleet_runs and a group (group.c): each deployment has
 * its own operation, audit event and key, with the id of the fleet in its marks.
 *
 * The key of the call is the fleet's, and each deployment's.  The row is inserted
 * first: a call with the same key waits for it, and then returns its response, or
 * continues it if it works in batches.  What a batch does and how far the fleet
 * has come commit together, so a fleet that was interrupted continues behind its
 * last batch.
 *
 * Memory.  A call in one statement needs about 4 kB for each deployment, so their
 * number is limited.  A batch frees all when it ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/check_argument.h"
#include "base/function_name.h"
#include "base/gateway.h"
#include "base/optional_text.h"
#include "common/json_read.h"
#include "common/jsonb_write.h"
#include "common/query.h"
#include "operation/actor.h"
#include "operation/attempt.h"
#include "operation/checks.h"
#include "operation/deployment_selector.h"
#include "operation/fleet.h"
#include "operation/group.h"
#include "operation/idempotency.h"
#include "operation/operation_count.h"
#include "operation/primary.h"
#include "operation/refusal.h"
#include "operation/tenancy.h"

/* Deployments of a call in one statement, at most. */
#define MAX_MATCHED 20000

/* Refused deployments that an error lists. */
#define MAX_LISTED 20

/* Refused deployments that the row of a fleet in batches keeps. */
#define MAX_KEPT 100

/* Members of the response, and of a deployment in it, at most. */
#define RESPONSE_MEMBERS 6
#define DEPLOYMENT_MEMBERS 7

#define MODE_ATOMIC "atomic"
#define MODE_BEST_EFFORT "best_effort"
#define MODE_BATCHES "batches"

/* Arguments of open_query and of known_query, which has the first ones. */
enum
{
	RUN_ACTS_FOR,
	RUN_KEY,
	RUN_MODE,
	RUN_SELECTOR,
	RUN_SERVED_AT,
	RUN_ATTRIBUTION,
	RUN_CUTOVER,
	RUN_ACCEPT_UNVERIFIED,
	RUN_HOLD,
	RUN_HOLD_FOR,
	RUN_MARK_BAD,
	RUN_COMPARED,

	RUN_REASON = RUN_COMPARED,
	RUN_ACTOR_TYPE,
	RUN_ACTOR_ID,
	RUN_SESSION_USER,
	RUN_TENANT,
	RUN_TOTAL,
	RUN_COUNT
};

#define RUN_TYPES \
	TEXTOID, TEXTOID, TEXTOID, JSONBOID, TIMESTAMPTZOID, JSONBOID, TEXTOID, \
	BOOLOID, BOOLOID, INTERVALOID, BOOLOID

static MrbQuery open_query = {
	.sql = "INSERT INTO miosa.fleet_runs (id, acts_for, idempotency_key, mode,"
	" selector, served_at, attribution, cutover, accept_unverified, hold,"
	" hold_for, mark_bad, reason, actor_type, actor_id, session_user_name,"
	" tenant_id, total) VALUES ('flt_' || pg_catalog.left("
	"pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''), 12),"
	" $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,"
	" $17) ON CONFLICT (acts_for, idempotency_key) DO NOTHING RETURNING id",
	.nargs = RUN_COUNT,
	.argtypes = {RUN_TYPES, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID},
	.expected = MRB_QUERY_INSERT_RETURNING,
};

/* Columns of known_query, from 1. */
enum
{
	KNOWN_ID = 1,
	KNOWN_SAME,
	KNOWN_BEGAN,
	KNOWN_RESPONSE
};

static MrbQuery known_query = {
	.sql = "SELECT f.id, (f.mode, f.selector, f.served_at, f.attribution,"
	" f.cutover, f.accept_unverified, f.hold, f.hold_for, f.mark_bad)"
	" IS NOT DISTINCT FROM ($3, $4, $5, $6, $7, $8, $9, $10, $11),"
	" f.began_at, f.response FROM miosa.fleet_runs f"
	" WHERE f.acts_for = $1 AND f.idempotency_key = $2",
	.nargs = RUN_COMPARED,
	.argtypes = {RUN_TYPES},
};

static MrbQuery forget_query = {
	.sql = "DELETE FROM miosa.fleet_runs f WHERE f.id = $1",
	.nargs = 1,
	.argtypes = {TEXTOID},
	.expected = MRB_QUERY_DELETE,
};

/* Columns of lock_query, from 1. */
enum
{
	STEP_ENDED = 1,
	STEP_POSITION,
	STEP_KEY,
	STEP_SELECTOR,
	STEP_SERVED_AT,
	STEP_ATTRIBUTION,
	STEP_CUTOVER,
	STEP_ACCEPT_UNVERIFIED,
	STEP_HOLD,
	STEP_HOLD_FOR,
	STEP_MARK_BAD,
	STEP_REASON
};

static MrbQuery lock_query = {
	.sql = "SELECT f.ended_at IS NOT NULL, f.\"position\", f.idempotency_key,"
	" f.selector, f.served_at, f.attribution, f.cutover, f.accept_unverified,"
	" f.hold, f.hold_for, f.mark_bad, f.reason FROM miosa.fleet_runs f"
	" WHERE f.id = $1 AND f.mode = 'batches'"
	" AND miosa.sees_fleet(f.tenant_id, f.acts_for) FOR NO KEY UPDATE",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* Arguments of advance_query; of end_query the last ones are others. */
enum
{
	ADVANCE_ID,
	ADVANCE_DONE,
	ADVANCE_REFUSED,
	ADVANCE_LAST_DEPLOYMENT,
	ADVANCE_LAST_ROUTE_SEQ,
	ADVANCE_POSITION,
	ADVANCE_REFUSALS,
	ADVANCE_COUNT,

	END_TENANT = ADVANCE_POSITION,
	END_RESPONSE
};

static MrbQuery advance_query = {
	.sql = "UPDATE miosa.fleet_runs f SET done = f.done + $2,"
	" refused = f.refused + $3, total = greatest(f.total, f.done + $2"
	" + f.refused + $3), last_deployment_id = coalesce($4,"
	" f.last_deployment_id), last_route_seq = coalesce($5, f.last_route_seq),"
	" \"position\" = $6, refusals = CASE WHEN jsonb_array_length(f.refusals) < 100"
	" THEN f.refusals || $7 ELSE f.refusals END,"
	" advanced_at = clock_timestamp() WHERE f.id = $1",
	.nargs = ADVANCE_COUNT,
	.argtypes = {TEXTOID, INT8OID, INT8OID, TEXTOID, INT8OID, TEXTOID, JSONBOID},
	.expected = MRB_QUERY_UPDATE,
};

static MrbQuery end_query = {
	.sql = "UPDATE miosa.fleet_runs f SET done = $2, refused = $3,"
	" total = $2 + $3, last_deployment_id = $4, last_route_seq = $5,"
	" tenant_id = $6, response = $7, advanced_at = clock_timestamp(),"
	" ended_at = clock_timestamp() WHERE f.id = $1",
	.nargs = ADVANCE_COUNT,
	.argtypes = {TEXTOID, INT8OID, INT8OID, TEXTOID, INT8OID, TEXTOID, JSONBOID},
	.expected = MRB_QUERY_UPDATE,
};

/* Deployments may have come and gone since they were counted. */
static MrbQuery finish_query = {
	.sql = "UPDATE miosa.fleet_runs f SET total = f.done + f.refused,"
	" ended_at = clock_timestamp() WHERE f.id = $1",
	.nargs = 1,
	.argtypes = {TEXTOID},
	.expected = MRB_QUERY_UPDATE,
};

/* What became of the deployments of a group. */
typedef struct Result
{
	MemoryContext context;		/* of all below */
	bool		plan;
	bool		records;		/* a refusal is no error */
	Oid			function;		/* that was called */
	int			done;
	int			refused;
	JsonbValue	deployments;	/* array of objects, in order */
	JsonbValue	refusals;		/* of the first ones that are refused */
	StringInfoData list;		/* of the first ones, for people */
	MrbCondition condition;		/* of the first one */
	char	   *last_deployment_id; /* with a route change, or NULL */
	int64		last_route_seq;
} Result;

/* How the row of a fleet was opened. */
typedef struct Opened
{
	char	   *id;
	bool		known;			/* by an earlier call */
	Jsonb	   *response;		/* of that; NULL: it has none */
} Opened;

static void check_request(MrbFleetRequest *request);
static void check_batch(int batch);
static Opened open_run(const MrbFleetRequest *request, const char *tenant_id,
					   int64 total);
static void find_known(const MrbFleetRequest *request, Datum *values,
					   bool *nulls, Opened *opened);
static void raise_mismatch(const char *key, const char *id, TimestampTz began);
static void forget_run(const char *id);
static void end_run(const char *id, const Result *result,
					const char *tenant_id, Jsonb *response);
static Datum optional_text(const char *value, bool *isnull);
static char *acts_for(void);
static MrbSelected find(const MrbFleetRequest *request,
						const MrbDeploymentSelector *selector);
static Result run_group(const MrbFleetRequest *request, const char *fleet_id,
						const MrbSelected *selected, MrbGroupMode mode);
static void receive(const MrbGroupResult *group, void *arg);
static void add_deployment(Result *result, const MrbGroupResult *group);
static Jsonb *build_deployment(const MrbGroupResult *group);
static void put_operation(JsonbValue *object, Jsonb *response);
static void put(JsonbValue *object, const char *name, JsonbValue value);
static JsonbValue make_string(const char *string);
static JsonbValue make_number(int64 number);
static void list_refusal(Result *result, const MrbGroupResult *group);
static void raise_refused(const MrbFleetRequest *request, const Result *result);
static void notice_nothing(void);
static Jsonb *build_response(const char *id, const char *mode, Result *result);
static char *show_call(const MrbFleetRequest *request, const char *mode);
static bool lock_run(const char *id, MrbFleetRequest *request, char **position);
static void read_run(MrbFleetRequest *request, char **position);
static void advance_run(const char *id, const Result *result,
						const char *position);
static void finish_run(const char *id);

/*
 * Roll the deployments back in one statement.
 */
Jsonb *
mrb_fleet_run(MrbFleetRequest *request)
{
	MrbDeploymentSelector selector;
	MrbSelected selected;
	Opened		opened;
	Result		result;
	Jsonb	   *response;
	bool		atomic;

	if (request->mode == NULL)
		request->mode = MODE_ATOMIC;
	atomic = strcmp(request->mode, MODE_ATOMIC) == 0;
	if (!atomic && strcmp(request->mode, MODE_BEST_EFFORT) != 0)
		mrb_check_argument_refuse("argument", "mode", request->mode,
								  "Valid values are \"atomic\" (the default) and \"best_effort\".",
								  "Pass mode => 'atomic' or mode => 'best_effort'.");
	selector = mrb_deployment_selector_parse(request->selector);
	check_request(request);
	opened = open_run(request, NULL, 0);
	if (opened.response != NULL)
	{
		mrb_gateway_add_header("Idempotent-Replayed", "true");
		return opened.response;
	}
	selected = find(request, &selector);
	result = run_group(request, opened.id, &selected,
					   atomic ? MRB_GROUP_ALL : MRB_GROUP_EACH);
	if (atomic && result.refused > 0)
		raise_refused(request, &result);
	if (selected.n == 0)
	{
		/* Nothing was done, so the key may be used for what is. */
		forget_run(opened.id);
		notice_nothing();
		return build_response(NULL, request->mode, &result);
	}
	response = build_response(opened.id, request->mode, &result);
	end_run(opened.id, &result, selected.tenant_id, response);
	return response;
}

/*
 * Plan that.
 */
Jsonb *
mrb_fleet_plan(MrbFleetRequest *request)
{
	MrbDeploymentSelector selector = mrb_deployment_selector_parse(request->selector);
	MrbSelected selected = find(request, &selector);
	Result		result = run_group(request, NULL, &selected, MRB_GROUP_PLAN);

	if (selected.n == 0)
		notice_nothing();
	return build_response(NULL, NULL, &result);
}

/*
 * Open a fleet that works in batches.
 */
char *
mrb_fleet_begin(MrbFleetRequest *request, int batch)
{
	MrbDeploymentSelector selector = mrb_deployment_selector_parse(request->selector);
	Opened		opened;
	int64		total;
	char	   *tenant_id;

	check_batch(batch);
	request->mode = MODE_BATCHES;
	check_request(request);
	total = mrb_deployment_selector_count(&selector, &tenant_id);
	opened = open_run(request, tenant_id, total);
	if (total == 0 && !opened.known)
	{
		forget_run(opened.id);
		notice_nothing();
		return NULL;
	}
	return opened.id;
}

/*
 * Roll back the deployments of the next batch.
 */
bool
mrb_fleet_step(const char *id, int batch, Oid function)
{
	MrbFleetRequest request = {.function = function};
	MrbDeploymentSelector selector;
	MrbSelected selected;
	Result		result;
	char	   *position;

	check_batch(batch);
	mrb_check_argument_id(id, "fleet id");
	if (!lock_run(id, &request, &position))
		return false;
	selector = mrb_deployment_selector_parse(request.selector);
	selected = mrb_deployment_selector_find(&selector, position, batch);
	if (selected.n == 0)
	{
		finish_run(id);
		return false;
	}
	result = run_group(&request, id, &selected, MRB_GROUP_EACH);
	advance_run(id, &result, selected.ids[selected.n - 1]);
	return true;
}

/*
 * Check the size of batches.
 */
static void
check_batch(int batch)
{
	if (batch < 1 || batch > MAX_MATCHED)
		mrb_check_argument_refuse("argument", "batch", psprintf("%d", batch),
								  psprintf("It must be from 1 to %d.", MAX_MATCHED),
								  "Pass batch => 500, or leave it out.");
}

/*
 * Whether a fleet exists for the caller: it is of a tenant that the caller sees,
 * or of several and the caller acts for the same ones.
 */
bool
mrb_fleet_is_seen(const char *tenant_id, const char *by)
{
	if (mrb_tenancy_sees_all())
		return true;
	if (tenant_id != NULL)
		return mrb_tenancy_sees(tenant_id);
	return strcmp(by, acts_for()) == 0;
}

/*
 * Check what is the same for all deployments, also if there is none.
 */
static void
check_request(MrbFleetRequest *request)
{
	MrbCallerRequest any = request->common;
	MrbAttempt	attempt = {.request = &any};
	MrbActor	actor;
	MrbFinding	counts;

	mrb_operation_count_begin();
	mrb_primary_require();
	any.deployment_id = "any";
	mrb_attempt_check(&attempt);
	mrb_refusal_forget();
	request->common.key = attempt.key;
	actor = mrb_actor_read();
	counts = mrb_checks_actor_counts(actor.ignored);
	mrb_finding_enforce(&counts);
}

/*
 * Insert the row of a fleet, or find the one that has the same key.
 */
static Opened
open_run(const MrbFleetRequest *request, const char *tenant_id, int64 total)
{
	const MrbCallerRequest *common = &request->common;
	MrbActor	actor = mrb_actor_read();
	Datum		values[RUN_COUNT] = {0};
	bool		nulls[RUN_COUNT] = {false};
	Opened		opened = {0};

	values[RUN_ACTS_FOR] = CStringGetTextDatum(acts_for());
	values[RUN_KEY] = optional_text(common->key, &nulls[RUN_KEY]);
	values[RUN_MODE] = CStringGetTextDatum(request->mode);
	values[RUN_SELECTOR] = JsonbPGetDatum(request->selector);
	values[RUN_SERVED_AT] = TimestampTzGetDatum(common->served_at);
	nulls[RUN_SERVED_AT] = common->served_at == 0;
	nulls[RUN_ATTRIBUTION] = common->attribution == NULL;
	if (common->attribution != NULL)
		values[RUN_ATTRIBUTION] = JsonbPGetDatum(common->attribution);
	values[RUN_CUTOVER] = optional_text(common->cutover, &nulls[RUN_CUTOVER]);
	values[RUN_ACCEPT_UNVERIFIED] = BoolGetDatum(common->accept_unverified);
	values[RUN_HOLD] = BoolGetDatum(common->hold == MRB_YES);
	nulls[RUN_HOLD] = common->hold == MRB_BY_SETTING;
	values[RUN_HOLD_FOR] = PointerGetDatum(common->hold_for);
	nulls[RUN_HOLD_FOR] = common->hold_for == NULL;
	values[RUN_MARK_BAD] = BoolGetDatum(common->mark_bad);
	values[RUN_REASON] = optional_text(common->reason, &nulls[RUN_REASON]);
	values[RUN_ACTOR_TYPE] = CStringGetTextDatum(actor.type);
	values[RUN_ACTOR_ID] = CStringGetTextDatum(actor.id);
	values[RUN_SESSION_USER] =
		CStringGetTextDatum(GetUserNameFromId(GetSessionUserId(), false));
	values[RUN_TENANT] = optional_text(tenant_id, &nulls[RUN_TENANT]);
	values[RUN_TOTAL] = Int64GetDatum(total);
	mrb_query_open();
	if (mrb_query_run(&open_query, values, nulls) > 0)
		opened.id = mrb_query_text(0, 1);
	else
		find_known(request, values, nulls, &opened);
	mrb_query_close();
	return opened;
}

/*
 * Find the fleet that has the key.
 */
static void
find_known(const MrbFleetRequest *request, Datum *values, bool *nulls,
		   Opened *opened)
{
	if (mrb_query_run(&known_query, values, nulls) == 0)
		elog(ERROR, "the fleet of key \"%s\" vanished", request->common.key);
	opened->id = mrb_query_text(0, KNOWN_ID);
	opened->known = true;
	if (!mrb_query_bool(0, KNOWN_SAME))
		raise_mismatch(request->common.key, opened->id,
					   mrb_query_timestamp(0, KNOWN_BEGAN, 0));
	opened->response = mrb_query_jsonb(0, KNOWN_RESPONSE);
}

/*
 * Refuse a key that was used for another fleet.
 */
static void
raise_mismatch(const char *key, const char *id, TimestampTz began)
{
	mrb_raise(MRB_ERR_IDEMPOTENCY_PAYLOAD_MISMATCH,
			  psprintf("idempotency key \"%s\" was used for another request", key),
			  psprintf("The key belongs to fleet %s of %s.", id,
					   timestamptz_to_str(began)),
			  "A new request needs a new key: SELECT gen_random_uuid();");
}

/*
 * Delete the row of a fleet that has done nothing.
 */
static void
forget_run(const char *id)
{
	Datum		values[1] = {CStringGetTextDatum(id)};

	mrb_query_open();
	(void) mrb_query_run(&forget_query, values, NULL);
	mrb_query_close();
}

/*
 * Write the end of a fleet in one statement.
 */
static void
end_run(const char *id, const Result *result, const char *tenant_id,
		Jsonb *response)
{
	Datum		values[ADVANCE_COUNT];
	bool		nulls[ADVANCE_COUNT] = {false};

	values[ADVANCE_ID] = CStringGetTextDatum(id);
	values[ADVANCE_DONE] = Int64GetDatum(result->done);
	values[ADVANCE_REFUSED] = Int64GetDatum(result->refused);
	values[ADVANCE_LAST_DEPLOYMENT] =
		optional_text(result->last_deployment_id, &nulls[ADVANCE_LAST_DEPLOYMENT]);
	values[ADVANCE_LAST_ROUTE_SEQ] = Int64GetDatum(result->last_route_seq);
	nulls[ADVANCE_LAST_ROUTE_SEQ] = nulls[ADVANCE_LAST_DEPLOYMENT];
	values[END_TENANT] = optional_text(tenant_id, &nulls[END_TENANT]);
	values[END_RESPONSE] = JsonbPGetDatum(response);
	mrb_query_open();
	(void) mrb_query_run(&end_query, values, nulls);
	mrb_query_close();
}

/*
 * Make an argument of a text that may be NULL.
 */
static Datum
optional_text(const char *value, bool *isnull)
{
	*isnull = value == NULL;
	return value == NULL ? (Datum) 0 : CStringGetTextDatum(value);
}

/*
 * Return for whom the caller acts.  Keys of those who do not see each other are
 * apart.
 */
static char *
acts_for(void)
{
	const MrbClaims *claims;

	if (mrb_tenancy_sees_all())
		return "";
	if (mrb_tenancy_is_gateway() && (claims = mrb_claims_read()) != NULL)
		return psprintf("tenant:%s", claims->tenant_id ? claims->tenant_id : "");
	return psprintf("role:%s", GetUserNameFromId(GetOuterUserId(), false));
}

/*
 * Find the deployments of a call in one statement.
 */
static MrbSelected
find(const MrbFleetRequest *request, const MrbDeploymentSelector *selector)
{
	MrbSelected selected = mrb_deployment_selector_find(selector, "",
														MAX_MATCHED + 1);

	if (selected.n > MAX_MATCHED)
		mrb_raise(MRB_ERR_INVALID_ARGUMENT,
				  "the selector matches too many deployments",
				  psprintf("It matches more than %d, the maximum for one transaction.",
						   MAX_MATCHED),
				  psprintf("Roll them back in batches: %s",
						   show_call(request, MODE_BATCHES)));
	return selected;
}

/*
 * Run the group of the deployments that were found.
 */
static Result
run_group(const MrbFleetRequest *request, const char *fleet_id,
		  const MrbSelected *selected, MrbGroupMode mode)
{
	MrbCallerRequest *requests =
	MemoryContextAllocHuge(CurrentMemoryContext,
						   Max(selected->n, 1) * sizeof(MrbCallerRequest));
	Result		result = {
		.context = CurrentMemoryContext,
		.plan = mode == MRB_GROUP_PLAN,
		.records = mode == MRB_GROUP_EACH,
		.function = request->function,
	};

	for (int i = 0; i < selected->n; i++)
	{
		requests[i] = request->common;
		requests[i].deployment_id = selected->ids[i];
		requests[i].fleet_id = fleet_id;
		if (request->console)
			requests[i].console_name = selected->ids[i];
	}
	result.deployments.type = result.refusals.type = jbvArray;
	result.deployments.val.array.elems = palloc(Max(selected->n, 1) * sizeof(JsonbValue));
	result.refusals.val.array.elems = palloc(MAX_KEPT * sizeof(JsonbValue));
	initStringInfo(&result.list);
	mrb_group_run(requests, selected->n, mode, receive, &result);
	pfree(requests);
	return result;
}

/*
 * Take what became of one deployment.
 */
static void
receive(const MrbGroupResult *group, void *arg)
{
	Result	   *result = arg;

	add_deployment(result, group);
	if (group->refusal == NULL)
		result->done++;
	else
	{
		if (result->refused++ == 0)
			result->condition = group->refusal->condition;
		list_refusal(result, group);
		if (result->records)
			mrb_refusal_record(group->request, group->refusal->condition,
							   result->function);
	}
	if (group->route_seq > 0)
	{
		if (result->last_deployment_id != NULL)
			pfree(result->last_deployment_id);
		result->last_deployment_id = MemoryContextStrdup(result->context,
														 group->deployment_id);
		result->last_route_seq = group->route_seq;
	}
}

/*
 * Add a deployment to the response.
 */
static void
add_deployment(Result *result, const MrbGroupResult *group)
{
	JsonbValue *list = &result->deployments;
	JsonbValue *added = &list->val.array.elems[list->val.array.nElems++];
	MemoryContext before = MemoryContextSwitchTo(result->context);
	Jsonb	   *jsonb = build_deployment(group);

	MemoryContextSwitchTo(before);
	added->type = jbvBinary;
	added->val.binary.data = &jsonb->root;
	added->val.binary.len = VARSIZE(jsonb) - VARHDRSZ;
}

/*
 * Build the object of a deployment, with its members in the order of jsonb.
 */
static Jsonb *
build_deployment(const MrbGroupResult *group)
{
	const MrbFinding *refusal = group->refusal;
	JsonbPair	pairs[DEPLOYMENT_MEMBERS];
	JsonbValue	object = {.type = jbvObject};

	object.val.object.pairs = pairs;
	put(&object, "to", make_string(group->to));
	put(&object, "from", make_string(group->from));
	if (refusal != NULL)
	{
		put(&object, "hint", make_string(mrb_function_name_qualify(refusal->hint)));
		put(&object, "detail", make_string(refusal->detail));
		put(&object, "message", make_string(refusal->message));
		put(&object, "condition",
			make_string(mrb_errors_condition_name(refusal->condition)));
	}
	else
	{
		put(&object, "outcome", make_string(group->outcome));
		if (group->response != NULL)
			put_operation(&object, group->response);
	}
	put(&object, "deployment_id", make_string(group->deployment_id));
	return mrb_jsonb_write(&object);
}

/*
 * Put what the response of an operation says besides.
 */
static void
put_operation(JsonbValue *object, Jsonb *response)
{
	JsonbValue	value;
	JsonbContainer *operation;

	if (!mrb_json_read_find(&response->root, "operation", &value) ||
		(operation = mrb_json_read_object(&value)) == NULL)
		return;
	if (mrb_json_read_find(operation, "warnings", &value))
		put(object, "warnings", value);
	if (mrb_json_read_find(operation, "id", &value))
		put(object, "operation_id", value);
}

/*
 * Append a member to an object.
 */
static void
put(JsonbValue *object, const char *name, JsonbValue value)
{
	JsonbPair  *pair = &object->val.object.pairs[object->val.object.nPairs++];

	pair->key = make_string(name);
	pair->value = value;
}

/*
 * Make a string, or null.
 */
static JsonbValue
make_string(const char *string)
{
	JsonbValue	value = {.type = jbvNull};

	if (string == NULL)
		return value;
	value.type = jbvString;
	value.val.string.val = unconstify(char *, string);
	value.val.string.len = strlen(string);
	return value;
}

/*
 * Make a number.
 */
static JsonbValue
make_number(int64 number)
{
	JsonbValue	value = {.type = jbvNumeric};

	value.val.numeric = int64_to_numeric(number);
	return value;
}

/*
 * List a refused deployment, if it is one of the first.
 */
static void
list_refusal(Result *result, const MrbGroupResult *group)
{
	JsonbValue *deployments = &result->deployments;

	if (result->refused <= MAX_KEPT)
		result->refusals.val.array.elems[result->refusals.val.array.nElems++] =
			deployments->val.array.elems[deployments->val.array.nElems - 1];
	if (result->refused <= MAX_LISTED)
		appendStringInfo(&result->list, "%s%s: %s (%s)",
						 result->refused > 1 ? "\n" : "", group->deployment_id,
						 mrb_errors_condition_name(group->refusal->condition),
						 group->refusal->message);
}

/*
 * Refuse the whole, and name the deployments that are the cause.
 */
static void
raise_refused(const MrbFleetRequest *request, const Result *result)
{
	int			n = result->done + result->refused;
	const char *more = "";

	if (result->refused > MAX_LISTED)
		more = psprintf("\nand %d more", result->refused - MAX_LISTED);
	mrb_raise(result->condition,
			  psprintf("%d of %d deployments cannot be rolled back, so none is",
					   result->refused, n),
			  psprintf("%s%s", result->list.data, more),
			  psprintf("Roll the others back: %s",
					   show_call(request, MODE_BEST_EFFORT)));
}

/*
 * Say that a selector is valid and matches nothing.
 */
static void
notice_nothing(void)
{
	ereport(NOTICE, (errmsg("the selector matches no deployment")));
}

/*
 * Build the response of a call, or of a plan, which has no mode.
 */
static Jsonb *
build_response(const char *id, const char *mode, Result *result)
{
	JsonbPair	pairs[RESPONSE_MEMBERS];
	JsonbPair	outer[1];
	JsonbValue	data = {.type = jbvObject};
	JsonbValue	whole = {.type = jbvObject};

	data.val.object.pairs = pairs;
	if (mode != NULL)
	{
		put(&data, "done", make_number(result->done));
		put(&data, "mode", make_string(mode));
	}
	put(&data, "total", make_number(result->done + result->refused));
	put(&data, "refused", make_number(result->refused));
	if (mode != NULL)
		put(&data, "fleet_id", make_string(id));
	put(&data, "deployments", result->deployments);
	if (mode == NULL)
		put(&data, "would_succeed", make_number(result->done));
	whole.val.object.pairs = outer;
	put(&whole, "data", data);
	return mrb_jsonb_write(&whole);
}

/*
 * Show the caller's call in another mode, for a hint.
 */
static char *
show_call(const MrbFleetRequest *request, const char *mode)
{
	bool		batches = strcmp(mode, MODE_BATCHES) == 0;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "%s(%s", batches ? "CALL miosa_rollback_fleet" :
					 request->console ? "SELECT * FROM miosa.rollback_many" :
					 "SELECT miosa_rollback_many",
					 quote_literal_cstr(JsonbToCString(NULL, &request->selector->root,
													   VARSIZE(request->selector))));
	if (!batches)
		appendStringInfo(&buf, ", mode => %s", quote_literal_cstr(mode));
	mrb_caller_request_show_options(&buf, &request->common);
	appendStringInfoString(&buf, ");");
	return buf.data;
}

/*
 * Lock the row of a fleet in batches, and read the request from it; false: it has
 * ended.
 */
static bool
lock_run(const char *id, MrbFleetRequest *request, char **position)
{
	Datum		values[1] = {CStringGetTextDatum(id)};
	bool		ended;

	mrb_query_open();
	if (mrb_query_run(&lock_query, values, NULL) == 0)
		mrb_raise(MRB_ERR_DEPLOYMENT_NOT_FOUND,
				  psprintf("fleet \"%s\" does not exist", id),
				  "There is no fleet of that id that works in batches, or it belongs to another tenant.",
				  "See the fleets with TABLE miosa.fleets;");
	ended = mrb_query_bool(0, STEP_ENDED);
	if (!ended)
		read_run(request, position);
	mrb_query_close();
	return !ended;
}

/*
 * Read the request from the row.
 */
static void
read_run(MrbFleetRequest *request, char **position)
{
	MrbCallerRequest *common = &request->common;
	bool		isnull;
	Datum		value;

	*position = mrb_query_text(0, STEP_POSITION);
	request->selector = mrb_query_jsonb(0, STEP_SELECTOR);
	request->mode = MODE_BATCHES;
	common->key = mrb_query_text(0, STEP_KEY);
	common->served_at = mrb_query_timestamp(0, STEP_SERVED_AT, 0);
	common->attribution = mrb_query_jsonb(0, STEP_ATTRIBUTION);
	common->cutover = mrb_query_text(0, STEP_CUTOVER);
	common->accept_unverified = mrb_query_bool(0, STEP_ACCEPT_UNVERIFIED);
	value = mrb_query_datum(0, STEP_HOLD, &isnull);
	if (!isnull)
		common->hold = DatumGetBool(value) ? MRB_YES : MRB_NO;
	value = mrb_query_copy(0, STEP_HOLD_FOR, &isnull);
	if (!isnull)
		common->hold_for = DatumGetIntervalP(value);
	common->mark_bad = mrb_query_bool(0, STEP_MARK_BAD);
	common->reason = mrb_query_text(0, STEP_REASON);
}

/*
 * Write how far a fleet in batches has come.
 */
static void
advance_run(const char *id, const Result *result, const char *position)
{
	Datum		values[ADVANCE_COUNT];
	bool		nulls[ADVANCE_COUNT] = {false};

	values[ADVANCE_ID] = CStringGetTextDatum(id);
	values[ADVANCE_DONE] = Int64GetDatum(result->done);
	values[ADVANCE_REFUSED] = Int64GetDatum(result->refused);
	values[ADVANCE_LAST_DEPLOYMENT] =
		optional_text(result->last_deployment_id, &nulls[ADVANCE_LAST_DEPLOYMENT]);
	values[ADVANCE_LAST_ROUTE_SEQ] = Int64GetDatum(result->last_route_seq);
	nulls[ADVANCE_LAST_ROUTE_SEQ] = nulls[ADVANCE_LAST_DEPLOYMENT];
	values[ADVANCE_POSITION] = CStringGetTextDatum(position);
	values[ADVANCE_REFUSALS] = JsonbPGetDatum(mrb_jsonb_write(&result->refusals));
	mrb_query_open();
	(void) mrb_query_run(&advance_query, values, nulls);
	mrb_query_close();
}

/*
 * Write the end of a fleet in batches.
 */
static void
finish_run(const char *id)
{
	Datum		values[1] = {CStringGetTextDatum(id)};

	mrb_query_open();
	(void) mrb_query_run(&finish_query, values, NULL);
	mrb_query_close();
}
