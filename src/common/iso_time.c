/*-------------------------------------------------------------------------
 *
 * iso_time.c
 *	  Times as ISO 8601 in UTC.
 *
 * The text is that of to_char() with the pattern YYYY-MM-DD"T"HH24:MI:SS.US"Z".
 * What others write is read without the parser of timestamps, which takes much
 * else and raises errors of its own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "common/iso_time.h"

#define FIRST_YEAR 1970
#define LAST_YEAR 2199

static char *write_part(char *at, int value, int width, char after);
static bool read_part(const char **at, int width, const char *after, int min,
					  int max, int *value);
static bool read_fraction(const char **at, int64 *us);
static bool read_zone(const char *at, int64 *minutes);

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

/*
 * Read a time.  A second 60 is the one that follows.  What the server writes of a
 * time is read, too: with a space, and a zone of hours alone.
 */
bool
mrb_iso_time_read(const char *text, TimestampTz *at)
{
	int			year;
	int			month;
	int			day;
	int			hour;
	int			minute;
	int			second;
	int64		us;
	int64		zone;

	if (!read_part(&text, 4, "-", FIRST_YEAR, LAST_YEAR, &year) ||
		!read_part(&text, 2, "-", 1, MONTHS_PER_YEAR, &month) ||
		!read_part(&text, 2, "Tt ", 1, day_tab[isleap(year)][month - 1], &day) ||
		!read_part(&text, 2, ":", 0, 23, &hour) ||
		!read_part(&text, 2, ":", 0, 59, &minute) ||
		!read_part(&text, 2, "", 0, 60, &second) ||
		!read_fraction(&text, &us) || !read_zone(text, &zone))
		return false;
	*at = (date2j(year, month, day) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY +
		hour * USECS_PER_HOUR + minute * USECS_PER_MINUTE +
		second * USECS_PER_SEC + us - zone * USECS_PER_MINUTE;
	return true;
}

/*
 * Read a number of width digits and one of the characters that may follow it;
 * with "" none is read.
 */
static bool
read_part(const char **at, int width, const char *after, int min, int max,
		  int *value)
{
	*value = 0;
	for (int i = 0; i < width; i++, (*at)++)
	{
		if (**at < '0' || **at > '9')
			return false;
		*value = *value * 10 + (**at - '0');
	}
	if (*value < min || *value > max)
		return false;
	if (after[0] == '\0')
		return true;
	return **at != '\0' && strchr(after, *(*at)++) != NULL;
}

/*
 * Read the digits after the seconds, if there are any; those after the sixth are
 * cut off.
 */
static bool
read_fraction(const char **at, int64 *us)
{
	int64		unit = USECS_PER_SEC / 10;

	*us = 0;
	if (**at != '.')
		return true;
	if ((*at)[1] < '0' || (*at)[1] > '9')
		return false;
	for ((*at)++; **at >= '0' && **at <= '9'; (*at)++, unit /= 10)
		*us += unit * (**at - '0');
	return true;
}

/*
 * Read the zone, as the minutes that it is before UTC.
 */
static bool
read_zone(const char *at, int64 *minutes)
{
	int			sign = *at == '-' ? -1 : 1;
	int			hour;
	int			minute = 0;

	*minutes = 0;
	if ((at[0] == 'Z' || at[0] == 'z') && at[1] == '\0')
		return true;
	if (*at != '+' && *at != '-')
		return false;
	at++;
	if (!read_part(&at, 2, "", 0, 23, &hour))
		return false;
	if (*at == ':')
		at++;
	else if (*at == '\0')
		at = "00";				/* as the server writes whole hours */
	if (!read_part(&at, 2, "", 0, 59, &minute) || *at != '\0')
		return false;
	*minutes = sign * (hour * MINS_PER_HOUR + minute);
	return true;
}
