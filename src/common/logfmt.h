/*-------------------------------------------------------------------------
 *
 * logfmt.h
 *	  Lines of key=value pairs for the server's log.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_LOGFMT_H
#define MRB_LOGFMT_H

#include "datatype/timestamp.h"

/*
 * Begin a line, add pairs, and return its text, which is valid until the next
 * line.  Nothing of this allocates or fails.  A NULL value adds nothing.
 */
extern void mrb_logfmt_begin(const char *op);
extern void mrb_logfmt_text(const char *key, const char *value);
extern void mrb_logfmt_pair(const char *key, const char *type, const char *id);
extern void mrb_logfmt_integer(const char *key, int64 value);
extern void mrb_logfmt_ms(const char *key, int64 microseconds);
extern const char *mrb_logfmt_end(void);

/* Write a line into the server's log, without statement and context. */
extern void mrb_logfmt_write(const char *line);

#endif							/* MRB_LOGFMT_H */
