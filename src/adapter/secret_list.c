/*-------------------------------------------------------------------------
 *
 * secret_list.c
 *	  All secrets, as of the last reading.
 *
 * Nobody says when a file changes, so the files are read again and again and
 * compared with what they had: neither a clock that is too coarse nor a copy
 * that keeps the old time hides a change then.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/memutils.h"

#include "adapter/secret.h"
#include "adapter/secret_list.h"
#include "common/query.h"
#include "common/timer.h"

/* How often files are looked at. */
#define LOOK_MS 1000

enum
{
	SECRET_NAME = 1,
	SECRET_VALUE,
	SECRET_PREVIOUS
};

static MrbQuery all_query = {
	.sql = "SELECT name, miosa.reveal(value), miosa.reveal(previous)"
	" FROM miosa.secrets ORDER BY name",
};

static MemoryContext secrets_context = NULL;
static List *secrets = NIL;
static char *state = NULL;
static MrbTick looked_at = 0;

/* Problems that the log has, as "name: problem". */
static MemoryContext reported_context = NULL;
static List *reported = NIL;

static MrbSecret *read_secret(int row);
static void resolve(MrbSecret *secret);
static void append_text(StringInfo out, const char *text);
static bool same(const char *a, const char *b);

/*
 * Read all secrets.  Those known before are in use until these are complete.
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
	StringInfoData text;

	MemoryContextSwitchTo(context);
	initStringInfo(&text);
	mrb_query_open();
	n = mrb_query_run(&all_query, NULL, NULL);
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < n; i++)
	{
		MrbSecret  *secret = read_secret(i);

		fresh = lappend(fresh, secret);
		append_text(&text, secret->name);
		append_text(&text, secret->value);
		append_text(&text, secret->previous);
		append_text(&text, secret->problem);
	}
	mrb_query_close();
	MemoryContextSwitchTo(caller);

	MemoryContextSetParent(context, TopMemoryContext);
	if (secrets_context != NULL)
		MemoryContextDelete(secrets_context);
	secrets_context = context;
	secrets = fresh;
	state = text.data;

	looked_at = mrb_timer_read();
}

/*
 * Find a secret by its name.
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
 * Find the value of a secret by its name.
 */
const char *
mrb_secret_list_value(const char *name, void *arg)
{
	const MrbSecret *secret = mrb_secret_list_find(name);

	return secret != NULL ? secret->value : NULL;
}

/*
 * What endpoints are compared by.
 */
const char *
mrb_secret_list_state(void)
{
	return state;
}

/*
 * Compare the files with what they had.
 */
bool
mrb_secret_list_changed(void)
{
	ListCell   *cell;
	MrbTick		now = mrb_timer_read();

	if (!mrb_tick_exceeds(looked_at, now, LOOK_MS))
		return false;
	looked_at = now;
	foreach(cell, secrets)
	{
		const MrbSecret *known = lfirst(cell);
		MrbSecret	present = *known;

		resolve(&present);
		if (!same(known->value, present.value) ||
			!same(known->previous, present.previous) ||
			!same(known->problem, present.problem))
			return true;
	}
	return false;
}

/*
 * Log what is new among the problems.  One that is over, or is another one by
 * now, is logged again when it comes back.
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
		char	   *text;
		bool		known = false;
		ListCell   *old;

		if (secret->problem == NULL)
			continue;
		text = psprintf("%s: %s", secret->name, secret->problem);

		foreach(old, reported)
			known = known || strcmp(lfirst(old), text) == 0;
		if (!known)
			ereport(LOG,
					(errmsg("secret \"%s\" cannot be used: %s",
							secret->name, secret->problem),
					 errhint("Endpoints that need it wait. The file is read again every second.")));
		fresh = lappend(fresh, text);
	}
	MemoryContextSwitchTo(caller);
	if (reported_context != NULL)
		MemoryContextDelete(reported_context);
	reported_context = context;
	reported = fresh;
}

/*
 * Make a secret of a row, in the current context.
 */
static MrbSecret *
read_secret(int row)
{
	MrbSecret  *secret = palloc0(sizeof(MrbSecret));
	char	   *previous = mrb_query_text(row, SECRET_PREVIOUS);

	secret->name = pstrdup(mrb_query_text(row, SECRET_NAME));
	secret->stored = pstrdup(mrb_query_text(row, SECRET_VALUE));
	if (previous != NULL)
		secret->stored_previous = pstrdup(previous);
	resolve(secret);
	return secret;
}

/*
 * Find the values.  With one of them alone nothing is sent: half of who
 * checks the signature would refuse it.
 */
static void
resolve(MrbSecret *secret)
{
	secret->previous = NULL;
	secret->value = mrb_secret_resolve(secret->stored, &secret->problem);
	if (secret->value != NULL && secret->stored_previous != NULL)
	{
		secret->previous = mrb_secret_resolve(secret->stored_previous,
											  &secret->problem);
		if (secret->previous == NULL)
			secret->value = NULL;
	}
}

/*
 * Append a text, or that there is none; each can be told from the next.
 */
static void
append_text(StringInfo out, const char *text)
{
	appendStringInfoString(out, text !=NULL ? text : "\001");
	appendStringInfoChar(out, '\n');
}

/*
 * Are both the same text, or both none?
 */
static bool
same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}
