/*-------------------------------------------------------------------------
 *
 * logfmt.c
 *	  Lines of key=value pairs for the server's log.
 *
 * A value that has anything but letters, digits and a few signs of ids is
 * quoted, as logfmt does: a quote and a backslash get a backslash before them,
 * and what is not ASCII or not visible becomes \uXXXX.  So no name can end its
 * value, begin another line or turn the direction in which a terminal writes, and
 * a line is the same in every encoding of the log.
 *
 * A byte of which the character is not known, since the database is not in UTF-8,
 * becomes \\xXX, which readers show as \xXX: they refuse a line that has any
 * escape that JSON does not have.
 *
 * The buffer has room for five ids of the greatest length, each byte escaped.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "base/miosa_rollback.h"
#include "common/logfmt.h"

#define LINE_MAX_BYTES 8192

static char line[LINE_MAX_BYTES];
static size_t used;

static void add(const char *text, size_t len);
static void add_value(const char *value);
static bool is_plain(const char *value);
static const char *add_escaped(const char *s);

/*
 * Begin a line about an operation.
 */
void
mrb_logfmt_begin(const char *op)
{
	used = 0;
	add("app=" MRB_EXTENSION " op=", strlen("app=" MRB_EXTENSION " op="));
	add_value(op);
}

/*
 * Add a text.
 */
void
mrb_logfmt_text(const char *key, const char *value)
{
	if (value == NULL)
		return;
	add(" ", 1);
	add(key, strlen(key));
	add("=", 1);
	add_value(value);
}

/*
 * Add a type and an id, as type:id.
 */
void
mrb_logfmt_pair(const char *key, const char *type, const char *id)
{
	char		both[600];		/* an actor has 500 bytes at most */

	if (type == NULL || id == NULL)
		return;
	snprintf(both, sizeof(both), "%s:%s", type, id);
	mrb_logfmt_text(key, both);
}

/*
 * Add a number.
 */
void
mrb_logfmt_integer(const char *key, int64 value)
{
	char		digits[32];

	snprintf(digits, sizeof(digits), INT64_FORMAT, value);
	mrb_logfmt_text(key, digits);
}

/*
 * Add a time in milliseconds, to the microsecond.
 */
void
mrb_logfmt_ms(const char *key, int64 microseconds)
{
	char		digits[32];

	microseconds = Max(0, microseconds);
	snprintf(digits, sizeof(digits), INT64_FORMAT ".%03d", microseconds / 1000,
			 (int) (microseconds % 1000));
	mrb_logfmt_text(key, digits);
}

/*
 * Return the line.
 */
const char *
mrb_logfmt_end(void)
{
	line[used] = '\0';
	return line;
}

/*
 * Write a line into the server's log.
 */
void
mrb_logfmt_write(const char *text)
{
	ereport(LOG,
			(errmsg_internal("%s", text), errhidestmt(true),
			 errhidecontext(true)));
}

/*
 * Append bytes, as far as there is room.
 */
static void
add(const char *text, size_t len)
{
	len = Min(len, LINE_MAX_BYTES - 1 - used);
	memcpy(line + used, text, len);
	used += len;
}

/*
 * Append a value, quoted if need be.
 */
static void
add_value(const char *value)
{
	if (is_plain(value))
	{
		add(value, strlen(value));
		return;
	}
	add("\"", 1);
	while (*value != '\0')
		value = add_escaped(value);
	add("\"", 1);
}

/*
 * Whether a value needs no quotes.
 */
static bool
is_plain(const char *value)
{
	if (*value == '\0')
		return false;
	for (; *value != '\0'; value++)
		if (!(*value >= 'a' && *value <= 'z') &&
			!(*value >= 'A' && *value <= 'Z') &&
			!(*value >= '0' && *value <= '9') &&
			strchr("-_.:/@+#*", *value) == NULL)
			return false;
	return true;
}

/*
 * Append one character of a quoted value, and return the next one.
 */
static const char *
add_escaped(const char *s)
{
	char		code[16];
	int			len = 1;

	if (*s == '"' || *s == '\\')
		snprintf(code, sizeof(code), "\\%c", *s);
	else if (*s >= ' ' && *s < 0x7f)
		snprintf(code, sizeof(code), "%c", *s);
	else if (!IS_HIGHBIT_SET(*s))
		snprintf(code, sizeof(code), "\\u%04x", (unsigned char) *s);
	else if (GetDatabaseEncoding() == PG_UTF8 &&
			 pg_utf8_islegal((const unsigned char *) s,
							 len = (int) strnlen(s, pg_utf_mblen((const unsigned char *) s))))
	{
		pg_wchar	wide = utf8_to_unicode((const unsigned char *) s);

		if (wide >= 0x10000)
			snprintf(code, sizeof(code), "\\u%04x\\u%04x",
					 0xd800 + ((wide - 0x10000) >> 10),
					 0xdc00 + ((wide - 0x10000) & 0x3ff));
		else
			snprintf(code, sizeof(code), "\\u%04x", wide);
	}
	else
	{
		len = 1;
		snprintf(code, sizeof(code), "\\\\x%02x", (unsigned char) *s);
	}
	add(code, strlen(code));
	return s + len;
}
