/*-------------------------------------------------------------------------
 *
 * iso_time.h
 *	  Times as ISO 8601 in UTC.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ISO_TIME_H
#define MRB_ISO_TIME_H

#include "datatype/timestamp.h"

/* Size of a buffer for a time. */
#define MRB_ISO_TIME_SIZE 32

/*
 * Write a time with microseconds and Z into the buffer, whatever DateStyle and
 * TimeZone are, and return the buffer; NULL for infinity.
 */
extern char *mrb_iso_time_write(TimestampTz at, char *buffer);

/*
 * Read a time as RFC 3339 writes it: with seconds, any number of digits after
 * them, and a zone.  False for other texts, and for times that are not from 1970
 * to 2199.
 */
extern bool mrb_iso_time_read(const char *text, TimestampTz *at);

#endif							/* MRB_ISO_TIME_H */
