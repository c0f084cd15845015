/*-------------------------------------------------------------------------
 *
 * adapter_scheduler.c
 *	  Reads and checks the columns of adapters that only schedulers use.
 *
 * A scheduler receives requests for a number of instances of one version, or
 * for each instance.  It has no hosts and no epochs, gets no batches, and has
 * no routing table that could be lost.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "adapter/adapter.h"
#include "common/json_read.h"

/* Variables with a value only in the requests of edges. */
#define OF_ROUTES \
	(MRB_VAR_BIT(MRB_VAR_DEPLOYMENT_IDS) | MRB_VAR_BIT(MRB_VAR_EPOCH) | \
	 MRB_VAR_BIT(MRB_VAR_HOST) | MRB_VAR_BIT(MRB_VAR_HOSTS) | \
	 MRB_VAR_BIT(MRB_VAR_ORIGIN) | MRB_VAR_BIT(MRB_VAR_REMOVED_HOSTS) | MRB_VAR_BIT(MRB_VAR_ROUTES))

/* Variables with a value only in the requests of schedulers. */
#define OF_CAPACITY \
	(MRB_VAR_BIT(MRB_VAR_COUNT) | MRB_VAR_BIT(MRB_VAR_INSTANCE_ID) | \
	 MRB_VAR_BIT(MRB_VAR_WORKLOAD))

/* Variables with a value in the requests for heads of the audit trail. */
#define OF_AUDIT \
	(MRB_VAR_BIT(MRB_VAR_CHANGED_AT) | MRB_VAR_BIT(MRB_VAR_EPOCH) | \
	 MRB_VAR_BIT(MRB_VAR_MESSAGE_ID) | MRB_VAR_BIT(MRB_VAR_SECRET) | \
	 MRB_VAR_BIT(MRB_VAR_SHA256) | MRB_VAR_BIT(MRB_VAR_STATEMENT))

/* Variables with a value in the requests for alerts. */
#define OF_ALERTS \
	(MRB_VAR_BIT(MRB_VAR_ALERT) | MRB_VAR_BIT(MRB_VAR_CHANGED_AT) | \
	 MRB_VAR_BIT(MRB_VAR_EPOCH) | MRB_VAR_BIT(MRB_VAR_MESSAGE_ID) | \
	 MRB_VAR_BIT(MRB_VAR_SECRET))

static char *read_path(Jsonb *row, const char *key, JsonPath **path);
static bool is_hook(Jsonb *row);
static char *check_edge(const MrbAdapter *adapter);
static char *check_feed(const MrbAdapter *adapter);
static char *check_scheduler(const MrbAdapter *adapter);
static char *check_variables(const MrbAdapter *adapter);
static char *check_poll(const MrbAdapter *adapter);
static char *find_variable(uint32 uses, const char *format);

/*
 * The adapter of an edge must not have these columns.
 */
char *
mrb_adapter_scheduler_read(Jsonb *row, MrbAdapter *adapter)
{
	char	   *problem;

	adapter->poll.healthy_text = read_path(row, "healthy_json_path",
										   &adapter->poll.healthy_path);
	adapter->poll.valid_text = read_path(row, "poll_valid", &adapter->poll.valid_path);
	if (adapter->alerts && !is_hook(row))
		return "alerts: alerts are possible only if role is \"hook\".";
	if (!adapter->scheduler)
	{
		problem = check_edge(adapter);
		return problem == NULL && !adapter->routes ? check_feed(adapter) : problem;
	}
	problem = check_scheduler(adapter);
	if (problem == NULL)
		problem = check_variables(adapter);
	if (problem == NULL)
		problem = check_poll(adapter);
	return problem;
}

/*
 * Read a path.  Returns its text, or NULL if there is none.
 */
static char *
read_path(Jsonb *row, const char *key, JsonPath **path)
{
	char	   *string = mrb_json_read_text(&row->root, key);

	if (string == NULL)
		return NULL;
	*path = DatumGetJsonPathP(DirectFunctionCall1(jsonpath_in,
												  CStringGetDatum(string)));
	return string;
}

/*
 * Whether the role is hook.
 */
static bool
is_hook(Jsonb *row)
{
	char	   *role = mrb_json_read_text(&row->root, "role");

	return role != NULL && strcmp(role, "hook") == 0;
}

/*
 * Check that the adapter of an edge has nothing that is for schedulers.
 */
static char *
check_edge(const MrbAdapter *adapter)
{
	const MrbRequest *const requests[] = {
		adapter->request, adapter->add, adapter->remove,
		adapter->marker_write, adapter->marker_read
	};
	uint32		uses = 0;

	if (adapter->per_instance)
		return "per: \"instance\" is possible only if role is \"scheduler\".";
	if (adapter->poll.request != NULL || adapter->poll.healthy_path != NULL ||
		adapter->poll.valid_path != NULL)
		return "poll, healthy_json_path, poll_valid: polls are possible only if role is \"scheduler\".";
	for (size_t i = 0; i < lengthof(requests); i++)
		uses |= requests[i] != NULL ? requests[i]->uses : 0;
	if (!adapter->audit && (uses & MRB_VAR_BIT(MRB_VAR_STATEMENT)) != 0)
		return "request: {statement} has a value only if role is \"audit\".";
	if (!adapter->alerts && (uses & MRB_VAR_BIT(MRB_VAR_ALERT)) != 0)
		return "request: {alert} has a value only if alerts is true.";
	return find_variable(uses & OF_CAPACITY,
						 "request: {%s} has a value only if role is \"scheduler\".");
}

/*
 * Check that an adapter for heads of the audit trail, or for alerts, has one
 * request, and that its variables have values.
 */
static char *
check_feed(const MrbAdapter *adapter)
{
	if (adapter->per_host || adapter->batch_max > 1 || adapter->add != NULL ||
		adapter->remove != NULL || adapter->wildcard_request != NULL ||
		adapter->wildcard_remove != NULL || adapter->volatile_table ||
		adapter->self_expires || adapter->settle_ms > 0)
		return adapter->audit ?
			"role: an adapter of role \"audit\" has no other request than request, and nothing about routes." :
			"alerts: an adapter for alerts has no other request than request, and nothing about routes.";
	if (adapter->audit)
		return find_variable(adapter->request->uses & ~OF_AUDIT,
							 "request: {%s} has no value if role is \"audit\".");
	return find_variable(adapter->request->uses & ~OF_ALERTS,
						 "request: {%s} has no value if alerts is true.");
}

/*
 * Check that the adapter of a scheduler has nothing that is for edges.
 */
static char *
check_scheduler(const MrbAdapter *adapter)
{
	if (adapter->per_host)
		return "per: the value must be \"deployment\" or \"instance\" for a scheduler.";
	if (adapter->batch_max > 1)
		return "batch_max: the value must be 1 for a scheduler.";
	if (adapter->add != NULL)
		return "add: a scheduler cannot have this request.";
	if (adapter->volatile_table || adapter->marker_write != NULL)
		return "volatile, marker_write: a scheduler has no routing table that it could lose.";
	if (adapter->self_expires)
		return "self_expires: a scheduler has no routes that could expire.";
	if (adapter->per_instance && adapter->remove == NULL)
		return "remove: the request is required to stop instances if per is \"instance\".";
	if (!adapter->per_instance && adapter->remove != NULL)
		return "remove: instances can be removed only if per is \"instance\".";
	return NULL;
}

/*
 * Check that requests say which instance, or how many, and that their
 * variables have values.
 */
static char *
check_variables(const MrbAdapter *adapter)
{
	MrbVariable required = adapter->per_instance ? MRB_VAR_INSTANCE_ID :
	MRB_VAR_COUNT;
	uint32		uses = adapter->request->uses;

	if ((uses & MRB_VAR_BIT(required)) == 0)
		return psprintf("request: the request must contain {%s}.",
						mrb_variable_name(required));
	if (adapter->remove != NULL &&
		(adapter->remove->uses & MRB_VAR_BIT(required)) == 0)
		return psprintf("remove: the request must contain {%s}.",
						mrb_variable_name(required));
	if (adapter->remove != NULL)
		uses |= adapter->remove->uses;
	if (!adapter->per_instance && (uses & MRB_VAR_BIT(MRB_VAR_INSTANCE_ID)) != 0)
		return "request: {instance_id} has a value only if per is \"instance\".";
	if (adapter->poll.request != NULL)
	{
		char	   *problem = find_variable(adapter->poll.request->uses &
											(MRB_VAR_BIT(MRB_VAR_COUNT) |
											 MRB_VAR_BIT(MRB_VAR_INSTANCE_ID)),
											"poll: {%s} has no value here.");

		if (problem != NULL)
			return problem;
		uses |= adapter->poll.request->uses;
	}
	return find_variable(uses & (OF_ROUTES | MRB_VAR_BIT(MRB_VAR_STATEMENT) |
								 MRB_VAR_BIT(MRB_VAR_ALERT)),
						 "request: {%s} has no value if role is \"scheduler\".");
}

/*
 * Check the columns about polls.
 */
static char *
check_poll(const MrbAdapter *adapter)
{
	if ((adapter->poll.request == NULL) != (adapter->poll.healthy_path == NULL))
		return "poll: poll and healthy_json_path require each other.";
	if (adapter->poll.request == NULL && adapter->poll.valid_path != NULL)
		return "poll_valid: poll is required.";
	if (adapter->poll.request != NULL && adapter->per_instance)
		return "poll: polls are possible only if per is \"deployment\".";
	return NULL;
}

/*
 * Format a message with the first of the variables; NULL if there is none.
 */
static char *
find_variable(uint32 uses, const char *format)
{
	for (int i = 0; i < MRB_VARIABLES; i++)
		if ((uses & MRB_VAR_BIT(i)) != 0)
			return psprintf(format, mrb_variable_name(i));
	return NULL;
}
