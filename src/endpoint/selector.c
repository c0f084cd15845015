/*-------------------------------------------------------------------------
 *
 * selector.c
 *	  Which deployments an endpoint receives.
 *
 * A selector is an object with the members deployment, tenant and kind, each a
 * value or an array of values.  A member that is missing matches everything.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/optional_text.h"
#include "common/json_read.h"
#include "endpoint/selector.h"

PG_FUNCTION_INFO_V1(mrb_selects);

static bool member_matches(Jsonb *selector, const char *key,
						   const char *value);

/*
 * miosa.selects(selector, deployment_id, tenant_id, kind)
 */
Datum
mrb_selects(PG_FUNCTION_ARGS)
{
	Jsonb	   *selector;
	char	   *values[3];

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	selector = PG_GETARG_JSONB_P(0);
	if (JB_ROOT_COUNT(selector) == 0)
		PG_RETURN_BOOL(true);
	for (int i = 0; i < 3; i++)
		values[i] = mrb_optional_text_argument(fcinfo, i + 1);
	PG_RETURN_BOOL(mrb_selector_matches(selector, values[0], values[1],
										values[2]));
}

/*
 * Match a deployment.
 */
bool
mrb_selector_matches(Jsonb *selector, const char *deployment_id,
					 const char *tenant_id, const char *kind)
{
	if (JB_ROOT_COUNT(selector) == 0)
		return true;
	return member_matches(selector, "deployment", deployment_id) &&
		member_matches(selector, "tenant", tenant_id) &&
		member_matches(selector, "kind", kind);
}

/*
 * Whether a member of the selector is missing, is the value, or contains it.
 */
static bool
member_matches(Jsonb *selector, const char *key, const char *value)
{
	JsonbValue	member;
	JsonbValue	wanted;

	if (value == NULL || !mrb_json_read_find(&selector->root, key, &member))
		return true;
	if (mrb_json_read_array(&member) == NULL)
		return mrb_json_read_equals(&member, value);
	wanted.type = jbvString;
	wanted.val.string.val = (char *) value;
	wanted.val.string.len = strlen(value);
	return findJsonbValueFromContainer(mrb_json_read_array(&member), JB_FARRAY,
									   &wanted) != NULL;
}
