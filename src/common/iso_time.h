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

#endif							/* MRB_ISO_TIME_H */
