/*-------------------------------------------------------------------------
 *
 * adapter_scheduler.c
 *	  What the adapters of schedulers have and those of edges have not.
 *
 * A scheduler is asked for a number of instances of one version, or for each
 * instance by itself.  It knows no hosts and no epochs, it is never told
 * several deployments at once, and it keeps no table that could be lost.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "adapter/adapter.h"
#include "common/json_read.h"

/* What has a value only where routes are told. */
#define OF_ROUTES \
	(MRB_VAR_BIT(MRB_VAR_DEPLOYMENT_IDS) | MRB_VAR_BIT(MRB_VAR_EPOCH) | \
	 MRB_VAR_BIT(MRB_VAR_HOST) | MRB_VAR_BIT(MRB_VAR_HOSTS) | \
	 MRB_VAR_BIT(MRB_VAR_REMOVED_HOSTS))

/* And only where instances are asked for. */
#define OF_CAPACITY \
	(MRB_VAR_BIT(MRB_VAR_COUNT) | MRB_VAR_BIT(MRB_VAR_INSTANCE_ID) | \
	 MRB_VAR_BIT(MRB_VAR_WORKLOAD))

static char *read_path(Jsonb *row, const char *key, JsonPath **path);
static char *check_edge(const MrbAdapter *adapter);
static char *check_scheduler(const MrbAdapter *adapter);
static char *check_variables(const MrbAdapter *adapter);
static char *check_poll(const MrbAdapter *adapter);
static char *find_variable(uint32 uses, const char *format);

char *
mrb_adapter_read_scheduler(Jsonb *row, MrbAdapter *adapter)
{
	char	   *problem;

	adapter->poll.healthy_text = read_path(row, "healthy_json_path",
										   &adapter->poll.healthy_path);
	adapter->poll.valid_text = read_path(row, "poll_valid", &adapter->poll.valid_path);
	if (!adapter->scheduler)
		return check_edge(adapter);
	problem = check_scheduler(adapter);
	if (problem == NULL)
		problem = check_variables(adapter);
	if (problem == NULL)
		problem = check_poll(adapter);
	return problem;
}

/*
 * The path's text; NULL when there is none.
 */
static char *
read_path(Jsonb *row, const char *key, JsonPath **path)
{
	char	   *text = mrb_json_read_text(&row->root, key);

	if (text == NULL)
		return NULL;
	*path = DatumGetJsonPathP(DirectFunctionCall1(jsonpath_in,
												  CStringGetDatum(text)));
	return text;
}

static char *
check_edge(const MrbAdapter *adapter)
{
	const MrbRequest *const calls[] = {
		adapter->request, adapter->add, adapter->remove,
		adapter->marker_write, adapter->marker_read
	};
	uint32		uses = 0;

	if (adapter->per_instance)
		return "per: \"instance\" is for schedulers, so role must be \"scheduler\".";
	if (adapter->poll.request != NULL || adapter->poll.healthy_path != NULL ||
		adapter->poll.valid_path != NULL)
		return "poll, healthy_json_path, poll_valid: they are for schedulers, so role must be \"scheduler\".";
	for (size_t i = 0; i < lengthof(calls); i++)
		uses |= calls[i] != NULL ? calls[i]->uses : 0;
	return find_variable(uses & OF_CAPACITY,
						 "request: {%s} has a value only when role is \"scheduler\".");
}

static char *
check_scheduler(const MrbAdapter *adapter)
{
	if (adapter->per_host)
		return "per: a scheduler knows no hosts, so it must be \"deployment\" or \"instance\".";
	if (adapter->batch_max > 1)
		return "batch_max: a scheduler is asked for one version at a time, so it must be 1.";
	if (adapter->add != NULL)
		return "add: a scheduler has none.";
	if (adapter->volatile_table || adapter->marker_write != NULL)
		return "volatile, marker_write: a scheduler is told no routes that it could lose.";
	if (adapter->self_expires)
		return "self_expires: a scheduler is told no routes that it could forget.";
	if (adapter->per_instance && adapter->remove == NULL)
		return "remove: it is missing; an instance could not be stopped when per is \"instance\".";
	if (!adapter->per_instance && adapter->remove != NULL)
		return "remove: it is for instances, so per must be \"instance\".";
	return NULL;
}

/*
 * What says how many, or which; and nothing that has no value there.
 */
static char *
check_variables(const MrbAdapter *adapter)
{
	MrbVariable must = adapter->per_instance ? MRB_VAR_INSTANCE_ID :
	MRB_VAR_COUNT;
	uint32		uses = adapter->request->uses;

	if ((uses & MRB_VAR_BIT(must)) == 0)
		return psprintf("request: it must hold {%s}.",
						mrb_variable_name(must));
	if (adapter->remove != NULL &&
		(adapter->remove->uses & MRB_VAR_BIT(must)) == 0)
		return psprintf("remove: it must hold {%s}.",
						mrb_variable_name(must));
	if (adapter->remove != NULL)
		uses |= adapter->remove->uses;
	if (!adapter->per_instance && (uses & MRB_VAR_BIT(MRB_VAR_INSTANCE_ID)) != 0)
		return "request: {instance_id} has a value only when per is \"instance\".";
	if (adapter->poll.request != NULL)
	{
		char	   *problem = find_variable(adapter->poll.request->uses &
											(MRB_VAR_BIT(MRB_VAR_COUNT) |
											 MRB_VAR_BIT(MRB_VAR_INSTANCE_ID)),
											"poll: {%s} has no value there.");

		if (problem != NULL)
			return problem;
		uses |= adapter->poll.request->uses;
	}
	return find_variable(uses & OF_ROUTES,
						 "request: {%s} has no value when role is \"scheduler\".");
}

static char *
check_poll(const MrbAdapter *adapter)
{
	if ((adapter->poll.request == NULL) != (adapter->poll.healthy_path == NULL))
		return "poll: it needs healthy_json_path, and that needs poll.";
	if (adapter->poll.request == NULL && adapter->poll.valid_path != NULL)
		return "poll_valid: it needs poll.";
	if (adapter->poll.request != NULL && adapter->per_instance)
		return "poll: it counts instances, so per must be \"deployment\".";
	return NULL;
}

/*
 * Say the first of the variables; NULL when there is none.
 */
static char *
find_variable(uint32 uses, const char *format)
{
	for (int i = 0; i < MRB_VARIABLES; i++)
		if ((uses & MRB_VAR_BIT(i)) != 0)
			return psprintf(format, mrb_variable_name(i));
	return NULL;
}
