/*-------------------------------------------------------------------------
 *
 * json_build.c
 *	  Build JSON texts member by member.
 *
 * Texts are built with the server's escape_json(), which works in every
 * encoding.  jansson, which writes the payloads of notifications, accepts UTF-8
 * only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/json.h"

#include "base/json_build.h"

static void begin_value(StringInfo json, const char *name);

/*
 * Open an object, which may be a member of another one.
 */
void
mrb_json_build_object(StringInfo json, const char *name)
{
	begin_value(json, name);
	appendStringInfoChar(json, '{');
}

/*
 * Close the object that was opened last.
 */
void
mrb_json_build_end(StringInfo json)
{
	appendStringInfoChar(json, '}');
}

/*
 * Open an array, which may be a member of an object.
 */
void
mrb_json_build_array(StringInfo json, const char *name)
{
	begin_value(json, name);
	appendStringInfoChar(json, '[');
}

/*
 * Close the array that was opened last.
 */
void
mrb_json_build_end_array(StringInfo json)
{
	appendStringInfoChar(json, ']');
}

/*
 * Append a string, or null for NULL.
 */
void
mrb_json_build_string(StringInfo json, const char *name, const char *value)
{
	begin_value(json, name);
	if (value != NULL)
		escape_json(json, value);
	else
		appendStringInfoString(json, "null");
}

/*
 * Append a number.
 */
void
mrb_json_build_integer(StringInfo json, const char *name, int64 value)
{
	begin_value(json, name);
	appendStringInfo(json, INT64_FORMAT, value);
}

/*
 * Append true or false.
 */
void
mrb_json_build_boolean(StringInfo json, const char *name, bool value)
{
	begin_value(json, name);
	appendStringInfoString(json, value ? "true" : "false");
}

/*
 * Append a value as it is.
 */
void
mrb_json_build_raw(StringInfo json, const char *name, const char *value)
{
	begin_value(json, name);
	appendStringInfoString(json, value);
}

/*
 * Append what precedes a value: a comma, unless it is the first one, and the
 * name of a member.  A value is the first one if the text is empty or ends with
 * an opening brace or bracket, which ends no complete value.
 */
static void
begin_value(StringInfo json, const char *name)
{
	char		last = json->len > 0 ? json->data[json->len - 1] : '{';

	if (last != '{' && last != '[')
		appendStringInfoString(json, ", ");
	if (name == NULL)
		return;
	escape_json(json, name);
	appendStringInfoString(json, ": ");
}
