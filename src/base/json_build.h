/*-------------------------------------------------------------------------
 *
 * json_build.h
 *	  Build JSON texts member by member.
 *
 * The text is appended to a StringInfo, in the encoding of the database.  Each
 * function adds the separator that is needed before its value.  The name of a
 * value is NULL for an element of an array and for the whole text.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_JSON_BUILD_H
#define MRB_JSON_BUILD_H

#include "lib/stringinfo.h"

/* Open and close an object or an array. */
extern void mrb_json_build_object(StringInfo json, const char *name);
extern void mrb_json_build_end(StringInfo json);
extern void mrb_json_build_array(StringInfo json, const char *name);
extern void mrb_json_build_end_array(StringInfo json);

/* Append a value; a string that is NULL becomes null. */
extern void mrb_json_build_string(StringInfo json, const char *name,
								  const char *value);
extern void mrb_json_build_integer(StringInfo json, const char *name,
								   int64 value);
extern void mrb_json_build_boolean(StringInfo json, const char *name,
								   bool value);

/* Append a value that is JSON already. */
extern void mrb_json_build_raw(StringInfo json, const char *name,
							   const char *value);

#endif							/* MRB_JSON_BUILD_H */
