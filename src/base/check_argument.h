/*-------------------------------------------------------------------------
 *
 * check_argument.h
 *	  Check the arguments of public functions, and refuse them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CHECK_ARGUMENT_H
#define MRB_CHECK_ARGUMENT_H

#include "base/compat.h"

/*
 * Raise INVALID_ARGUMENT unless value is an id: 1 to 255 characters of
 * A-Z a-z 0-9 . _ : -.  what names the argument.
 */
extern void mrb_check_argument_id(const char *value, const char *what);

/*
 * Raise INVALID_ARGUMENT if a text has characters that do not show or that change
 * how others show: control characters and those that set the direction.
 */
extern void mrb_check_argument_visible(const char *value, const char *what,
									   const char *name);

/* Describe the first such character of a text; NULL when it has none. */
extern const char *mrb_check_argument_find_hidden(const char *value);

/* The text on one line, with escapes for such characters. */
extern char *mrb_check_argument_show(const char *value);

/* Raise INVALID_ARGUMENT because an argument is missing. */
pg_noreturn extern void mrb_check_argument_missing(const char *what, const char *hint);

/*
 * Raise INVALID_ARGUMENT for a value.  what is "argument" or "column" with its
 * name, or says without a name what the value is ("host name").  value is NULL
 * for null; detail and hint may be NULL.
 */
pg_noreturn extern void mrb_check_argument_refuse(const char *what,
												  const char *name,
												  const char *value,
												  const char *detail,
												  const char *hint);

/*
 * Raise INVALID_ARGUMENT because a value is longer than the maximum; unit is
 * "bytes" or "characters".
 */
pg_noreturn extern void mrb_check_argument_too_long(const char *what,
													size_t length,
													const char *unit,
													int maximum,
													const char *hint);

#endif							/* MRB_CHECK_ARGUMENT_H */
