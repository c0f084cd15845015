/*-------------------------------------------------------------------------
 *
 * setting_source.c
 *	  Where the present value of a setting comes from.
 *
 * The server keeps, for each setting that a transaction or a function has
 * changed, a stack of the values that come back at the end of these.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/guc.h"
#include "utils/guc_tables.h"

#include "base/compat.h"
#include "base/setting_source.h"

/* How many settings are remembered. */
#define FOUND_MAX 4

static struct config_generic *find(const char *name);

/*
 * The value outside of all functions that have one of their own.
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
 * Whether SET without LOCAL has made the value, now or in a transaction
 * before.  What ALTER ROLE, ALTER DATABASE or the connection's options say
 * belongs to the login.
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
 * A setting by its name.  The server makes a list of all of them for who
 * asks, so the few that are asked for are remembered; they never move.
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
