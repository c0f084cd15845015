/*-------------------------------------------------------------------------
 *
 * optional_text.h
 *	  Texts that may be missing: NULL stands for SQL null.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_OPTIONAL_TEXT_H
#define MRB_OPTIONAL_TEXT_H

#include "fmgr.h"

/* Whether both are the same; NULL equals NULL. */
extern bool mrb_optional_text_equals(const char *one, const char *other);

/* A copy in the current memory context; NULL of NULL. */
extern char *mrb_optional_text_copy(const char *string);

/* A text argument of a function that SQL calls. */
extern char *mrb_optional_text_argument(FunctionCallInfo fcinfo, int arg);

#endif							/* MRB_OPTIONAL_TEXT_H */
