/*-------------------------------------------------------------------------
 *
 * json_read.h
 *	  Members of JSON objects that other people wrote.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_JSON_READ_H
#define MRB_JSON_READ_H

#include "utils/jsonb.h"

/* False when it is no object, or has no such member; null is a value. */
extern bool mrb_json_read_find(JsonbContainer *object, const char *key,
							   JsonbValue *value);

/* The same, but null is no value. */
extern bool mrb_json_read_get(JsonbContainer *object, const char *key,
							  JsonbValue *value);

/* NULL when it is no object, or the member is not there or no text. */
extern char *mrb_json_read_text(JsonbContainer *object, const char *key);

/* The next member; begin with *it = NULL.  False at the end, or for no object. */
extern bool mrb_json_read_next(JsonbContainer *object, JsonbIterator **it,
							   char **key, JsonbValue *value);

/* What a value is: NULL, or false, when it is something else. */
extern JsonbContainer *mrb_json_read_object(const JsonbValue *value);
extern JsonbContainer *mrb_json_read_array(const JsonbValue *value);
extern bool mrb_json_read_equals(const JsonbValue *value, const char *text);

#endif							/* MRB_JSON_READ_H */
