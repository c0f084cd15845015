/*-------------------------------------------------------------------------
 *
 * json_setting.h
 *	  Settings of an HTTP gateway that hold a JSON object.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_JSON_SETTING_H
#define MRB_JSON_SETTING_H

#include "utils/jsonb.h"

#include "base/compat.h"

/*
 * Parse the text of a setting.  Raises INVALID_ARGUMENT unless it is a JSON
 * object.
 */
extern Jsonb *mrb_json_setting_parse(const char *name, const char *text);

/*
 * Return a member that has to be a text; NULL when the object has none or it is
 * null.  Raises INVALID_ARGUMENT for a value of another type.
 */
extern char *mrb_json_setting_text(const char *name, Jsonb *object,
								   const char *member);

/* Raise INVALID_ARGUMENT for a setting. */
pg_noreturn extern void mrb_json_setting_refuse(const char *name, char *detail);

#endif							/* MRB_JSON_SETTING_H */
