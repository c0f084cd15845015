/*-------------------------------------------------------------------------
 *
 * setting_source.c
 *	  Where the current value of a setting comes from.
 *
 * For each setting that a transaction or a function has changed, the server
 * keeps a stack of the values that it restores at their end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/guc.h"
#include "utils/guc_tables.h"

#include "base/compat.h"
#include "base/setting_source.h"

/* Number of settings that find() caches. */
#define FOUND_MAX 4

static struct config_generic *find(const char *name);

/*
 * Return the value outside of all functions that set it for themselves.
 */
const char *
mrb_setting_source_caller(const char *name)
{
	const char *value = GetConfigOption(name, false, false);

	for (GucStack *it = find(name)->stack; it != NULL; it = it->prev)
	{
		if (it->state == GUC_SAVE && it->prior.val.stringval != NULL)
			value = it->prior.val.stringval;
	}
	return value;
}

/*
 * Whether the value comes from SET without LOCAL, in this transaction or an
 * earlier one.  Values from ALTER ROLE, ALTER DATABASE or the connection's
 * options belong to the login and do not count.
 */
bool
mrb_setting_source_is_session(const char *name)
{
	struct config_generic *it = find(name);

	if (it->source != PGC_S_SESSION)
		return false;
	return it->stack == NULL || it->stack->state == GUC_SET;
}

/*
 * Find a setting by its name.  The server builds a list of all settings for
 * each call, so the few that are needed are cached; they never move.
 */
static struct config_generic *
find(const char *name)
{
	static struct config_generic *found[FOUND_MAX];
	struct config_generic **variables;
	int			n;

	for (int i = 0; i < FOUND_MAX; i++)
	{
		if (found[i] != NULL && strcmp(found[i]->name, name) == 0)
			return found[i];
	}
	variables = MRB_GUC_VARIABLES(&n);
	for (int i = 0; i < n; i++)
	{
		if (strcmp(variables[i]->name, name) != 0)
			continue;
		for (int place = 0; place < FOUND_MAX; place++)
		{
			if (found[place] == NULL)
			{
				found[place] = variables[i];
				break;
			}
		}
		return variables[i];
	}
	elog(ERROR, "setting %s was not found", name);
}
