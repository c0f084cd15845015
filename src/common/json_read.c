/*-------------------------------------------------------------------------
 *
 * json_read.c
 *	  Read members of JSON objects that may have any shape.
 *
 * The server's own functions assume the shape of a value: given an array instead
 * of an object, they read out of bounds.  Rows are checked when they are
 * written, but a restore or an administrator can write them with triggers
 * disabled.  So every jsonb is read through these functions, which check its
 * shape first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/json_read.h"

/*
 * Find a member, which may be null.
 */
bool
mrb_json_read_find(JsonbContainer *object, const char *key, JsonbValue *value)
{
	return JsonContainerIsObject(object) &&
		getKeyJsonValueFromContainer(object, key, strlen(key),
									 value) != NULL;
}

/*
 * Find a member that is not null.
 */
bool
mrb_json_read_get(JsonbContainer *object, const char *key, JsonbValue *value)
{
	return mrb_json_read_find(object, key, value) && value->type != jbvNull;
}

/*
 * Copy the text of a member.
 */
char *
mrb_json_read_text(JsonbContainer *object, const char *key)
{
	JsonbValue	value;

	if (!mrb_json_read_find(object, key, &value) || value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/*
 * Go to the next member, without descending into its value.
 */
bool
mrb_json_read_next(JsonbContainer *object, JsonbIterator **it, char **key,
				   JsonbValue *value)
{
	JsonbIteratorToken token;

	if (*it == NULL)
	{
		if (!JsonContainerIsObject(object))
			return false;
		*it = JsonbIteratorInit(object);
	}
	while ((token = JsonbIteratorNext(it, value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			*key = pnstrdup(value->val.string.val, value->val.string.len);
		if (token == WJB_VALUE)
			return true;
	}
	return false;
}

/*
 * Return the object that a value is; NULL if it is none.
 */
JsonbContainer *
mrb_json_read_object(const JsonbValue *value)
{
	return value->type == jbvBinary &&
		JsonContainerIsObject(value->val.binary.data) ?
		value->val.binary.data : NULL;
}

/*
 * Return the array that a value is; NULL if it is none.
 */
JsonbContainer *
mrb_json_read_array(const JsonbValue *value)
{
	return value->type == jbvBinary &&
		JsonContainerIsArray(value->val.binary.data) &&
		!JsonContainerIsScalar(value->val.binary.data) ?
		value->val.binary.data : NULL;
}

/*
 * Whether a value is this string.
 */
bool
mrb_json_read_equals(const JsonbValue *value, const char *string)
{
	return value->type == jbvString &&
		value->val.string.len == (int) strlen(string) &&
		memcmp(value->val.string.val, string, value->val.string.len) == 0;
}
