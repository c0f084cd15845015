/*-------------------------------------------------------------------------
 *
 * variable.c
 *	  The variables of templates, and which characters their values can have.
 *
 * Values come from tables that users write, and are inserted into URLs,
 * headers, bodies and, by the configuration of a cache, into its expressions.
 * The charset of each variable therefore excludes the characters that could
 * end a header, a path or a VCL expression.  An adapter can narrow a charset
 * for an edge that accepts less, but cannot widen it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"

#include "adapter/variable.h"
#include "base/guc.h"

#define BASE64_CHARACTERS "A-Za-z0-9+/="
#define JSON_CHARACTERS " -~"	/* the rest is escaped */
#define ID_CHARACTERS "A-Za-z0-9._:#@-"
#define HOST_CHARACTERS "a-z0-9._*-"	/* "*" only as "*." at the start */
#define DOMAIN_CHARACTERS "a-z0-9._-"
#define ORIGIN_CHARACTERS "A-Za-z0-9._-"
#define NUMBER_CHARACTERS "0-9"
#define URI_CHARACTERS "A-Za-z0-9._~:/?#[]@!$&'()*+,;=%-"	/* RFC 3986 */
#define SECRET_CHARACTERS " -~" /* printable ASCII */

static const struct
{
	const char *name;
	const char *characters;
	bool		list;
}			variables[MRB_VARIABLES] =

{
	[MRB_VAR_ALERT] = {"alert", JSON_CHARACTERS, false},
	[MRB_VAR_CHANGED_AT] = {"changed_at", ID_CHARACTERS, false},
	[MRB_VAR_COUNT] = {"count", NUMBER_CHARACTERS, false},
	[MRB_VAR_DEPLOYMENT_ID] = {"deployment_id", ID_CHARACTERS, false},
	[MRB_VAR_DEPLOYMENT_IDS] = {"deployment_ids", ID_CHARACTERS, true},
	[MRB_VAR_DOMAIN] = {"domain", DOMAIN_CHARACTERS, false},
	[MRB_VAR_EPOCH] = {"epoch", NUMBER_CHARACTERS, false},
	[MRB_VAR_HOST] = {"host", HOST_CHARACTERS, false},
	[MRB_VAR_HOSTS] = {"hosts", HOST_CHARACTERS, true},
	[MRB_VAR_INSTANCE_ID] = {"instance_id", ID_CHARACTERS, false},
	[MRB_VAR_KIND] = {"kind", ID_CHARACTERS, false},
	[MRB_VAR_MESSAGE_ID] = {"message_id", ID_CHARACTERS, false},
	[MRB_VAR_OPERATION_ID] = {"operation_id", ID_CHARACTERS, false},
	[MRB_VAR_ORIGIN] = {"origin", ORIGIN_CHARACTERS, false},
	[MRB_VAR_PLAIN_HOSTS] = {"plain_hosts", DOMAIN_CHARACTERS, true},
	[MRB_VAR_RELEASE_ID] = {"release_id", ID_CHARACTERS, false},
	[MRB_VAR_REMOVED_HOSTS] = {"removed_hosts", HOST_CHARACTERS, true},
	[MRB_VAR_ROUTES] = {"routes", JSON_CHARACTERS, false},
	[MRB_VAR_SECRET] = {"secret", SECRET_CHARACTERS, false},
	[MRB_VAR_SHA256] = {"sha256", ID_CHARACTERS, false},
	[MRB_VAR_STATEMENT] = {"statement", BASE64_CHARACTERS, false},
	[MRB_VAR_STORAGE_URI] = {"storage_uri", URI_CHARACTERS, false},
	[MRB_VAR_TENANT_ID] = {"tenant_id", ID_CHARACTERS, false},
	[MRB_VAR_VERSION_ID] = {"version_id", ID_CHARACTERS, false},
	[MRB_VAR_VERSION_NUMBER] = {"version_number", NUMBER_CHARACTERS, false},
	[MRB_VAR_WILDCARD_HOSTS] = {"wildcard_hosts", HOST_CHARACTERS, true},
	[MRB_VAR_WORKLOAD] = {"workload", ID_CHARACTERS, false},
};

static bool is_host_variable(MrbVariable variable);

/*
 * The name of this database among all that tell an edge: the site, or where it
 * is empty the system identifier, and the database.  It is the same after a
 * fail-over.  Characters that a site may have and the variable may not become _.
 */
const char *
mrb_variable_origin(void)
{
	static char origin[80];

	if (mrb_site != NULL && mrb_site[0] != '\0')
		snprintf(origin, sizeof(origin), "%.63s.%u", mrb_site, MyDatabaseId);
	else
		snprintf(origin, sizeof(origin), UINT64_FORMAT ".%u",
				 GetSystemIdentifier(), MyDatabaseId);
	for (char *c = origin; *c != '\0'; c++)
		if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", *c) == NULL)
			*c = '_';
	return origin;
}

/*
 * The name of a variable, without braces.
 */
const char *
mrb_variable_name(MrbVariable variable)
{
	return variables[variable].name;
}

/*
 * Whether the value of a variable is a list.
 */
bool
mrb_variable_is_list(MrbVariable variable)
{
	return variables[variable].list;
}

/*
 * Whether a variable is written as a number in JSON.
 */
bool
mrb_variable_is_number(MrbVariable variable)
{
	return variable == MRB_VAR_COUNT || variable == MRB_VAR_EPOCH ||
		variable == MRB_VAR_VERSION_NUMBER;
}

/*
 * Whether the value of a variable is JSON.
 */
bool
mrb_variable_is_json(MrbVariable variable)
{
	return variable == MRB_VAR_ALERT || variable == MRB_VAR_ROUTES;
}

/*
 * The name is the first len bytes of name.
 */
MrbVariable
mrb_variable_find(const char *name, int len)
{
	int			i = 0;

	while (i < MRB_VARIABLES &&
		   (strncmp(variables[i].name, name, len) != 0 ||
			variables[i].name[len] != '\0'))
		i++;
	return i;
}

/*
 * The built-in charsets are valid, so parsing them cannot fail.
 */
void
mrb_variable_charsets(MrbCharsets *charsets)
{
	const char *problem;
	int			offset;

	for (int i = 0; i < MRB_VARIABLES; i++)
		mrb_charset_parse(variables[i].characters, NULL, &charsets->of[i],
						  &problem, &offset);
}

/*
 * Characters that are not in the present charset are an error.
 */
bool
mrb_variable_narrow(MrbCharsets *charsets, MrbVariable variable,
					const char *characters, const char **problem, int *offset)
{
	MrbCharset *charset = &charsets->of[variable];

	return mrb_charset_parse(characters, charset, charset, problem, offset);
}

/*
 * An empty value never fits.  A "*" can only be the first label of a host.
 */
bool
mrb_variable_fits(MrbVariable variable, const MrbCharset *charset,
				  const char *value)
{
	const char *star = strrchr(value, '*');

	if (value[0] == '\0')
		return false;
	for (const char *p = value; *p != '\0'; p++)
		if (!mrb_charset_has(charset, *p))
			return false;
	if (is_host_variable(variable) && star != NULL)
		return star == value && value[1] == '.' && value[2] != '\0';
	/* JSON has no numbers like "007". */
	return !mrb_variable_is_number(variable) || value[0] != '0' ||
		value[1] == '\0';
}

/*
 * Whether the values of a variable can be wildcard hosts.
 */
static bool
is_host_variable(MrbVariable variable)
{
	return variable == MRB_VAR_HOST || variable == MRB_VAR_HOSTS ||
		variable == MRB_VAR_REMOVED_HOSTS ||
		variable == MRB_VAR_WILDCARD_HOSTS;
}
