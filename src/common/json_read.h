/*-------------------------------------------------------------------------
 *
 * json_read.h
 *	  Read members of JSON objects that may have any shape.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_JSON_READ_H
#define MRB_JSON_READ_H

#include "utils/jsonb.h"

/* Find a member; false when there is no object or no such member. */
extern bool mrb_json_read_find(JsonbContainer *object, const char *key,
							   JsonbValue *value);

/* The same, but a null counts as missing. */
extern bool mrb_json_read_get(JsonbContainer *object, const char *key,
							  JsonbValue *value);

/* Copy a string; NULL when there is no object or no such string. */
extern char *mrb_json_read_text(JsonbContainer *object, const char *key);

/* Go to the next member, starting with *it = NULL; false at the end. */
extern bool mrb_json_read_next(JsonbContainer *object, JsonbIterator **it,
							   char **key, JsonbValue *value);

/* Test a value's type: NULL or false when it is another one. */
extern JsonbContainer *mrb_json_read_object(const JsonbValue *value);
extern JsonbContainer *mrb_json_read_array(const JsonbValue *value);
extern bool mrb_json_read_equals(const JsonbValue *value, const char *string);

#endif							/* MRB_JSON_READ_H */
