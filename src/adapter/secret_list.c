/*-------------------------------------------------------------------------
 *
 * secret_list.c
 *	  The secrets as last read.
 *
 * A change of a file is found by reading it again and comparing the contents.
 * The time of its last modification would not do: it is too coarse on some
 * file systems, and some copies keep it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/memutils.h"

#include "adapter/secret.h"
#include "adapter/secret_list.h"
#include "base/optional_text.h"
#include "common/query.h"
#include "common/timer.h"

/* Time between checks of the files. */
#define CHECK_MS 1000

enum
{
	SECRET_NAME = 1,
	SECRET_VALUE,
	SECRET_PREVIOUS,
	SECRET_ORIGINS,
	SECRET_ADAPTERS,
	SECRET_ENDPOINTS
};

static MrbQuery all_query = {
	.sql = "SELECT name, miosa.reveal(value), miosa.reveal(previous),"
	" pg_catalog.array_to_string(origins, ' '),"
	" pg_catalog.array_to_string(adapters, ' '),"
	" pg_catalog.array_to_string(endpoints, ' ')"
	" FROM miosa.secrets ORDER BY name",
};

static MemoryContext secrets_context = NULL;
static List *secrets = NIL;
static MrbTick checked_at = 0;

/* Problems that were logged, as "name: problem". */
static MemoryContext reported_context = NULL;
static List *reported = NIL;

static MrbSecret *read_secret(int row);
static void resolve(MrbSecret *secret);
static void append_string(StringInfo out, const char *string);

/*
 * The list is replaced at the end, so an error leaves the old one in place.
 */
void
mrb_secret_list_read(void)
{
	uint64		n;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller,
												  "miosa_rollback secrets",
												  ALLOCSET_SMALL_SIZES);
	List	   *fresh = NIL;

	MemoryContextSwitchTo(context);
	mrb_query_open();
	n = mrb_query_run(&all_query, NULL, NULL);
	for (uint64 i = 0; i < n; i++)
		fresh = lappend(fresh, read_secret(i));
	mrb_query_close();
	MemoryContextSwitchTo(caller);

	MemoryContextSetParent(context, TopMemoryContext);
	if (secrets_context != NULL)
		MemoryContextDelete(secrets_context);
	secrets_context = context;
	secrets = fresh;
	checked_at = mrb_timer_read();
}

/*
 * There are few secrets, so the list is searched.
 */
const MrbSecret *
mrb_secret_list_find(const char *name)
{
	ListCell   *cell;

	foreach(cell, secrets)
	{
		MrbSecret  *secret = lfirst(cell);

		if (strcmp(secret->name, name) == 0)
			return secret;
	}
	return NULL;
}

/*
 * A secret with a problem has no value.
 */
const char *
mrb_secret_list_value(const char *name, void *arg)
{
	const MrbSecret *secret = mrb_secret_list_find(name);

	return secret != NULL ? secret->value : NULL;
}

/*
 * An endpoint is read again when it changes.  So it has only the secrets that
 * the endpoint uses: a file that changes again and again must not keep others
 * from their deliveries.
 */
char *
mrb_secret_list_state(const char *own, const char *settings)
{
	StringInfoData state;
	ListCell   *cell;

	initStringInfo(&state);
	foreach(cell, secrets)
	{
		const MrbSecret *secret = lfirst(cell);

		if ((own == NULL || strcmp(own, secret->name) != 0) &&
			strstr(settings, psprintf("{secret:%s}", secret->name)) == NULL)
			continue;
		append_string(&state, secret->name);
		append_string(&state, secret->value);
		append_string(&state, secret->previous);
		append_string(&state, secret->problem);
		append_string(&state, secret->scope.origins);
		append_string(&state, secret->scope.adapters);
		append_string(&state, secret->scope.endpoints);
	}
	return state.data;
}

/*
 * Compare the contents of the files with those last read.
 */
bool
mrb_secret_list_changed(void)
{
	ListCell   *cell;
	MrbTick		now = mrb_timer_read();

	if (!mrb_timer_passed(checked_at, now, CHECK_MS))
		return false;
	checked_at = now;
	foreach(cell, secrets)
	{
		const MrbSecret *known = lfirst(cell);
		MrbSecret	present = *known;

		resolve(&present);
		if (!mrb_optional_text_equals(known->value, present.value) ||
			!mrb_optional_text_equals(known->previous, present.previous) ||
			!mrb_optional_text_equals(known->problem, present.problem) ||
			!mrb_optional_text_equals(known->scope.origins, present.scope.origins))
			return true;
	}
	return false;
}

/*
 * Log problems that were not there at the last call.  A problem that is solved
 * and comes back is logged again.
 */
void
mrb_secret_list_report(void)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext,
												  "miosa_rollback secrets reported",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	List	   *fresh = NIL;
	ListCell   *cell;

	foreach(cell, secrets)
	{
		const MrbSecret *secret = lfirst(cell);
		char	   *line;
		bool		known = false;
		ListCell   *old;

		if (secret->problem == NULL)
			continue;
		line = psprintf("%s: %s", secret->name, secret->problem);

		foreach(old, reported)
			known = known || strcmp(lfirst(old), line) == 0;
		if (!known)
			ereport(LOG,
					(errmsg("secret \"%s\" cannot be used: %s",
							secret->name, secret->problem),
					 errhint("Deliveries to endpoints that use the secret are held. The file is read again every second.")));
		fresh = lappend(fresh, line);
	}
	MemoryContextSwitchTo(caller);
	if (reported_context != NULL)
		MemoryContextDelete(reported_context);
	reported_context = context;
	reported = fresh;
}

/*
 * Make a secret from a row of the last result, in the current context.
 */
static MrbSecret *
read_secret(int row)
{
	MrbSecret  *secret = palloc0(sizeof(MrbSecret));

	secret->name = mrb_optional_text_copy(mrb_query_text(row, SECRET_NAME));
	secret->stored = mrb_optional_text_copy(mrb_query_text(row, SECRET_VALUE));
	secret->stored_previous = mrb_optional_text_copy(mrb_query_text(row, SECRET_PREVIOUS));
	secret->stored_origins = mrb_optional_text_copy(mrb_query_text(row, SECRET_ORIGINS));
	secret->scope.adapters = mrb_optional_text_copy(mrb_query_text(row, SECRET_ADAPTERS));
	secret->scope.endpoints = mrb_optional_text_copy(mrb_query_text(row, SECRET_ENDPOINTS));
	resolve(secret);
	return secret;
}

/*
 * Resolve the values.  During a rotation both are needed, or the secret is not
 * used: some receivers would reject a signature with only one of them.
 */
static void
resolve(MrbSecret *secret)
{
	char	   *origins;

	secret->previous = NULL;
	secret->value = mrb_secret_resolve(secret->stored, &secret->problem);
	if (secret->value != NULL && secret->stored_previous != NULL)
	{
		secret->previous = mrb_secret_resolve(secret->stored_previous,
											  &secret->problem);
		if (secret->previous == NULL)
			secret->value = NULL;
	}
	if (secret->value == NULL)
		return;
	origins = mrb_secret_origins(secret->stored, &secret->problem);
	secret->scope.origins = origins != NULL ? origins : secret->stored_origins;
	if (secret->problem != NULL)
		secret->value = NULL;
}

/*
 * Append a string, or a mark for NULL, and a separator.
 */
static void
append_string(StringInfo out, const char *string)
{
	appendStringInfoString(out, string != NULL ? string : "\001");
	appendStringInfoChar(out, '\n');
}
