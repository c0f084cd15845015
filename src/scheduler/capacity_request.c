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

#include "base/optional_text.h"
#include "common/array.h"
#include "common/query.h"
#include "scheduler/capacity_request.h"

/* Columns of read_query. */
enum
{
	READ_DEPLOYMENT_ID = 1,
	READ_TENANT_ID,
	READ_DEPLOYMENT_KIND,
	READ_VERSION_ID,
	READ_VERSION_NUMBER,
	READ_KIND,
	READ_RELEASE_ID,
	READ_STORAGE_URI,
	READ_SHA256,
	READ_OPERATION_ID,
	READ_WORKLOAD,
	READ_STATE,
	READ_COUNT,
	READ_MISSING,
	READ_UNKNOWN,
	READ_SINCE,
	READ_ASKED,
	READ_INSTANCES,
	READ_WATCHERS,
};

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

		request->deployment_id = mrb_query_text(i, READ_DEPLOYMENT_ID);
		request->tenant_id = mrb_query_text(i, READ_TENANT_ID);
		request->deployment_kind = mrb_query_text(i, READ_DEPLOYMENT_KIND);
		request->version_id = mrb_query_text(i, READ_VERSION_ID);
		request->version_number = mrb_query_text(i, READ_VERSION_NUMBER);
		request->kind = mrb_query_text(i, READ_KIND);
		request->release_id = mrb_query_text(i, READ_RELEASE_ID);
		request->storage_uri = mrb_query_text(i, READ_STORAGE_URI);
		request->sha256 = mrb_query_text(i, READ_SHA256);
		request->operation_id = mrb_query_text(i, READ_OPERATION_ID);
		request->workload = mrb_query_text(i, READ_WORKLOAD);
		request->goal = parse_goal(mrb_query_text(i, READ_STATE));
		request->count = mrb_query_int32(i, READ_COUNT, 0);
		request->missing = mrb_query_int32(i, READ_MISSING, 0);
		request->unknown = mrb_query_int32(i, READ_UNKNOWN, 0);
		request->since = mrb_query_timestamp(i, READ_SINCE, 0);
		request->asked = mrb_query_bool(i, READ_ASKED);
		fetch_list(i, READ_INSTANCES, &request->instances, context);
		fetch_list(i, READ_WATCHERS, &request->watchers, context);
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
	char	  **const strings[] = {
		&to->deployment_id, &to->tenant_id, &to->deployment_kind,
		&to->version_id, &to->version_number, &to->kind, &to->release_id,
		&to->storage_uri, &to->sha256, &to->operation_id, &to->workload
	};

	*to = *from;
	for (size_t s = 0; s < lengthof(strings); s++)
		*strings[s] = mrb_optional_text_copy(*strings[s]);
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
 * Copy a list and its strings into the current context.
 */
static void
copy_list(MrbStringList *to, const MrbStringList *from)
{
	to->items = palloc(Max(from->n, 1) * sizeof(char *));
	for (int i = 0; i < from->n; i++)
		to->items[i] = pstrdup(from->items[i]);
}
