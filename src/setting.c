/*-------------------------------------------------------------------------
 *
 * setting.c
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

#include "compat.h"
#include "setting.h"

static struct config_generic *find(const char *name);

/*
 * The value outside of all functions that have one of their own.
 */
const char *
mrb_setting_of_caller(const char *name)
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
mrb_setting_is_for_session(const char *name)
{
	struct config_generic *it = find(name);

	if (it->source != PGC_S_SESSION)
		return false;
	return it->stack == NULL || it->stack->state == GUC_SET;
}

/*
 * A setting by its name; this takes a while, but is only needed when a call is
 * refused or an actor is named.
 */
static struct config_generic *
find(const char *name)
{
	int			n;
	struct config_generic **variables = MRB_GUC_VARIABLES(&n);

	for (int i = 0; i < n; i++)
	{
		if (strcmp(variables[i]->name, name) == 0)
			return variables[i];
	}
	elog(ERROR, "setting %s was not found", name);
}
