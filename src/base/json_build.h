/*-------------------------------------------------------------------------
 *
 * json_build.h
 *	  Build JSON texts member by member.
 *
 * The text is appended to a StringInfo, in the encoding of the database.  Each
 * function adds the separator that is needed before its value.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_JSON_BUILD_H
#define MRB_JSON_BUILD_H

#include "lib/stringinfo.h"

/* Open and close an object; name is NULL for one that is no member. */
extern void mrb_json_build_object(StringInfo json, const char *name);
extern void mrb_json_build_end(StringInfo json);

/* Append a string member; null for NULL. */
extern void mrb_json_build_string(StringInfo json, const char *name,
								  const char *value);

/* Append a member that is a number. */
extern void mrb_json_build_integer(StringInfo json, const char *name,
								   int64 value);

#endif							/* MRB_JSON_BUILD_H */
