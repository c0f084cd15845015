/*-------------------------------------------------------------------------
 *
 * check_argument.h
 *	  Check the arguments of public functions.
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

/* Raise INVALID_ARGUMENT because an argument is missing. */
pg_noreturn extern void mrb_check_argument_missing(const char *what, const char *hint);

#endif							/* MRB_CHECK_ARGUMENT_H */
