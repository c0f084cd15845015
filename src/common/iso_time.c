/*-------------------------------------------------------------------------
 *
 * iso_time.c
 *	  Times as ISO 8601 in UTC.
 *
 * The text is that of to_char() with the pattern YYYY-MM-DD"T"HH24:MI:SS.US"Z".
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "common/iso_time.h"

static char *write_part(char *at, int value, int width, char after);

/*
 * Write a time.  The year before 1 is written as 1, as to_char() does.
 */
char *
mrb_iso_time_write(TimestampTz at, char *buffer)
{
	struct pg_tm tm;
	fsec_t		fsec;
	char	   *end = buffer;

	if (TIMESTAMP_NOT_FINITE(at) ||
		timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)
		return NULL;
	end = write_part(end, tm.tm_year > 0 ? tm.tm_year : 1 - tm.tm_year, 4, '-');
	end = write_part(end, tm.tm_mon, 2, '-');
	end = write_part(end, tm.tm_mday, 2, 'T');
	end = write_part(end, tm.tm_hour, 2, ':');
	end = write_part(end, tm.tm_min, 2, ':');
	end = write_part(end, tm.tm_sec, 2, '.');
	end = write_part(end, fsec, 6, 'Z');
	*end = '\0';
	return buffer;
}

/*
 * Write a number with leading zeros and the character that follows it.
 */
static char *
write_part(char *at, int value, int width, char after)
{
	at = pg_ultostr_zeropad(at, (uint32) value, width);
	*at = after;
	return at + 1;
}
