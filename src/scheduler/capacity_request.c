/*-------------------------------------------------------------------------
 *
 * capacity_request.c
 *	  Capacity requests: what schedulers are to do for a version, as read from
 *	  the tables.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "common/array.h"
#include "common/query.h"
#include "scheduler/capacity_request.h"

/* The strings of a request are its first members. */
#define REQUEST_STRINGS \
	((int) ((offsetof(MrbCapacityRequest, goal) - offsetof(MrbCapacityRequest, deployment_id)) / \
			sizeof(char *)))

static MrbQuery read_query = {
	.sql = "SELECT r.deployment_id, r.tenant_id, r.deployment_kind,"
	" r.version_id, r.version_number::text, r.kind, r.release_id,"
	" r.storage_uri, r.sha256, r.operation_id, r.workload,"
	" r.state, r.count, r.missing, r.unknown, r.since, r.asked, r.instances,"
	" r.watchers"
	" FROM miosa.capacity_requests($1) r"
	" ORDER BY r.deployment_id",
	.nargs = 1,
	.argtypes = {TEXTARRAYOID},
};

static MrbGoal parse_goal(const char *state);
static void fetch_list(int row, int column, MrbStringList *list,
					   MemoryContext context);
static char *copy_string(const char *string);
static void copy_list(MrbStringList *to, const MrbStringList *from);

/*
 * Read the requests of n deployments; ids NULL: of all.
 */
MrbCapacityRequest *
mrb_capacity_request_read(char **ids, int n, int *found)
{
	MemoryContext context = CurrentMemoryContext;
	bool		all = ids == NULL;
	Datum	   *elements = palloc(Max(n, 1) * sizeof(Datum));
	Datum		arg = (Datum) 0;
	MrbCapacityRequest *requests;

	Assert(ids != NULL || n == 0);
	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum(ids[i]);
	if (!all)
		arg = mrb_array_make(elements, NULL, n, TEXTOID);
	mrb_query_open();
	*found = mrb_query_run(&read_query, &arg, &all);
	requests = MemoryContextAllocHuge(context,
									  Max(*found, 1) * sizeof(MrbCapacityRequest));
	for (int i = 0; i < *found; i++)
	{
		MrbCapacityRequest *request = &requests[i];
		char	  **strings = &request->deployment_id;

		for (int s = 0; s < REQUEST_STRINGS; s++)
			strings[s] = mrb_query_text(i, s + 1);
		request->goal = parse_goal(mrb_query_text(i, REQUEST_STRINGS + 1));
		request->count = mrb_query_int32(i, REQUEST_STRINGS + 2, 0);
		request->missing = mrb_query_int32(i, REQUEST_STRINGS + 3, 0);
		request->unknown = mrb_query_int32(i, REQUEST_STRINGS + 4, 0);
		request->since = mrb_query_timestamp(i, REQUEST_STRINGS + 5, 0);
		request->asked = mrb_query_bool(i, REQUEST_STRINGS + 6);
		fetch_list(i, REQUEST_STRINGS + 7, &request->instances, context);
		fetch_list(i, REQUEST_STRINGS + 8, &request->watchers, context);
	}
	mrb_query_close();
	return requests;
}

/*
 * Copy a request, and all that it points to, into the current context.
 */
void
mrb_capacity_request_copy(MrbCapacityRequest *to,
						  const MrbCapacityRequest *from)
{
	char	  **to_strings = &to->deployment_id;
	char	   *const *from_strings = &from->deployment_id;

	*to = *from;
	for (int s = 0; s < REQUEST_STRINGS; s++)
		to_strings[s] = copy_string(from_strings[s]);
	copy_list(&to->instances, &from->instances);
	copy_list(&to->watchers, &from->watchers);
}

/*
 * Whether polls of the endpoint count as heartbeats of the version.
 */
bool
mrb_capacity_request_is_watched_by(const MrbCapacityRequest *request,
								   const char *endpoint)
{
	for (int i = 0; i < request->watchers.n; i++)
		if (strcmp(request->watchers.items[i], endpoint) == 0)
			return true;
	return false;
}

/*
 * The goal of a state of capacity_requests; NULL: the version is only polled.
 */
static MrbGoal
parse_goal(const char *state)
{
	if (state == NULL)
		return MRB_GOAL_WATCH;
	return strcmp(state, "draining") == 0 ? MRB_GOAL_DOWN : MRB_GOAL_UP;
}

/*
 * Read an array of text into a list allocated in context.
 */
static void
fetch_list(int row, int column, MrbStringList *list, MemoryContext context)
{
	bool		isnull;
	Datum		value = mrb_query_datum(row, column, &isnull);
	MemoryContext old;
	Datum	   *elements;

	list->n = 0;
	list->items = NULL;
	if (isnull)
		return;
	old = MemoryContextSwitchTo(context);
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, NULL, &list->n);
	list->items = palloc(Max(list->n, 1) * sizeof(char *));
	for (int i = 0; i < list->n; i++)
		list->items[i] = TextDatumGetCString(elements[i]);
	MemoryContextSwitchTo(old);
}

/*
 * Copy a string that may be NULL.
 */
static char *
copy_string(const char *string)
{
	return string != NULL ? pstrdup(string) : NULL;
}

/*
 * Copy a list and its strings into the current context.
 */
static void
copy_list(MrbStringList *to, const MrbStringList *from)
{
	to->items = palloc(Max(from->n, 1) * sizeof(char *));
	for (int i = 0; i < from->n; i++)
		to->items[i] = pstrdup(from->items[i]);
}
