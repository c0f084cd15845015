/*-------------------------------------------------------------------------
 *
 * check_argument.c
 *	  Check the arguments of public functions, and refuse values.
 *
 * The texts of refusals are built here, also for functions in PL/pgSQL.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "base/check_argument.h"
#include "base/errors.h"
#include "base/miosa_rollback.h"

/* A message shows at most this many characters of a value. */
#define MAX_SHOWN 100

static char *invalid(const char *what, const char *value);
static char *too_long(const char *what);
static char *length_detail(const char *what, size_t length, const char *unit,
						   int maximum);
static char *printable(const char *value);
static char *show(const char *value, bool joined);
static bool is_id_character(char c);
static int	hidden_length(const unsigned char *at, int *code);

/*
 * Raise INVALID_ARGUMENT unless the value is an id.
 */
void
mrb_check_argument_id(const char *value, const char *what)
{
	static const char *const hint =
	"An id has 1 to 255 characters of A-Z a-z 0-9 . _ : and -; see which deployments there are with SELECT id, name FROM miosa.deployments ORDER BY id;";
	size_t		len;

	if (value == NULL)
		mrb_check_argument_missing(what, hint);

	len = strlen(value);
	if (len == 0)
		mrb_raise_as(MRB_ERR_INVALID_ARGUMENT, 400, "INVALID_ID",
					 invalid(what, value), "The id is empty.", hint);
	if (len > MRB_MAX_ID)
		mrb_raise_as(MRB_ERR_INVALID_ARGUMENT, 400, "INVALID_ID", too_long(what),
					 length_detail(what, len, "bytes", MRB_MAX_ID), hint);
	for (size_t i = 0; i < len; i++)
	{
		if (!is_id_character(value[i]))
			mrb_raise_as(MRB_ERR_INVALID_ARGUMENT, 400, "INVALID_ID",
						 invalid(what, printable(value)),
						 psprintf("Byte %zu is 0x%02x, which is not allowed in an id.",
								  i + 1, (unsigned char) value[i]), hint);
	}
}

/*
 * Raise INVALID_ARGUMENT if a text has hidden characters.
 */
void
mrb_check_argument_visible(const char *value, const char *what, const char *name)
{
	const char *hidden = value != NULL ? mrb_check_argument_find_hidden(value) : NULL;

	if (hidden != NULL)
		mrb_check_argument_refuse(what, name, mrb_check_argument_show(value),
								  psprintf("The text has %s.", hidden),
								  "Leave out control characters and characters that set the direction of text.");
}

/*
 * Describe the first hidden character.
 */
const char *
mrb_check_argument_find_hidden(const char *value)
{
	const unsigned char *at = (const unsigned char *) value;

	for (; *at != '\0'; at++)
	{
		int			code;

		if (hidden_length(at, &code) > 0)
			return psprintf("the character U+%04X", code);
	}
	return NULL;
}

/*
 * Show a text on one line.  White space that is not a space becomes one, in runs,
 * since texts that were stored long ago may have lines.
 */
char *
mrb_check_argument_show(const char *value)
{
	return show(value, true);
}

/*
 * Show a text; joined: its lines are.
 */
static char *
show(const char *value, bool joined)
{
	const unsigned char *at = (const unsigned char *) value;
	StringInfoData shown;

	initStringInfo(&shown);
	while (*at != '\0')
	{
		int			code;
		int			len = hidden_length(at, &code);

		if (joined && *at >= '\t' && *at <= '\r')
		{
			appendStringInfoChar(&shown, ' ');
			at += strspn((const char *) at, "\t\n\v\f\r");
		}
		else if (len > 0)
		{
			appendStringInfo(&shown, "\\u%04x", code);
			at += len;
		}
		else
			appendStringInfoChar(&shown, *at++);
	}
	return shown.data;
}

/*
 * Return the length of a hidden character, and its number; 0 for any other one.
 * Those outside of ASCII are recognized by their bytes in UTF-8, which are never
 * part of another character.  Other encodings have at most a few of them; a
 * database without one mostly holds UTF-8.
 */
static int
hidden_length(const unsigned char *at, int *code)
{
	*code = at[0];
	if (at[0] < 0x20 || at[0] == 0x7f)
		return at[0] != '\0' ? 1 : 0;
	if (GetDatabaseEncoding() != PG_UTF8 &&
		GetDatabaseEncoding() != PG_SQL_ASCII)
		return 0;
	if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f)
	{
		*code = at[1];
		return 2;
	}
	if (at[0] == 0xd8 && at[1] == 0x9c)
	{
		*code = 0x061c;
		return 2;
	}
	if (at[0] != 0xe2 || (at[1] != 0x80 && at[1] != 0x81) || at[2] < 0x80)
		return 0;
	*code = 0x2000 + (at[1] - 0x80) * 0x40 + (at[2] - 0x80);
	return *code == 0x200e || *code == 0x200f ||
		(*code >= 0x2028 && *code <= 0x202e) ||
		(*code >= 0x2066 && *code <= 0x2069) ? 3 : 0;
}

/*
 * Raise INVALID_ARGUMENT because an argument is null.
 */
void
mrb_check_argument_missing(const char *what, const char *hint)
{
	mrb_raise_as(MRB_ERR_INVALID_ARGUMENT, 400, "MISSING_PARAM",
				 psprintf("%s must not be null", what), NULL, hint);
}

/*
 * Raise INVALID_ARGUMENT for a value that is not allowed.
 */
void
mrb_check_argument_refuse(const char *what, const char *name,
						  const char *value, const char *detail,
						  const char *hint)
{
	if (name != NULL)
		what = psprintf("%s \"%s\"", what, name);
	if (value == NULL)
		mrb_check_argument_missing(what, hint);
	if (name != NULL)
		what = psprintf("value for %s", what);
	mrb_raise(MRB_ERR_INVALID_ARGUMENT, invalid(what, printable(value)),
			  detail, hint);
}

/*
 * Raise INVALID_ARGUMENT because a value is too long.
 */
void
mrb_check_argument_too_long(const char *what, size_t length, const char *unit,
							int maximum, const char *hint)
{
	mrb_raise(MRB_ERR_INVALID_ARGUMENT, too_long(what),
			  length_detail(what, length, unit, maximum), hint);
}

/*
 * Return the message for a value that is not allowed.
 */
static char *
invalid(const char *what, const char *value)
{
	return psprintf("invalid %s: \"%s\"", what, value);
}

/*
 * Return the message for a value that is too long.
 */
static char *
too_long(const char *what)
{
	return psprintf("%s is too long", what);
}

/*
 * Return the DETAIL for a value that is too long.
 */
static char *
length_detail(const char *what, size_t length, const char *unit, int maximum)
{
	return psprintf("The %s has %zu %s; the maximum is %d.", what, length,
					unit, maximum);
}

/*
 * Return the beginning of a value on one line.
 */
static char *
printable(const char *value)
{
	return show(pnstrdup(value, pg_mbcharcliplen(value, strlen(value), MAX_SHOWN)),
				false);
}

/*
 * Whether an id may contain a character.  isalnum() would depend on the locale.
 */
static bool
is_id_character(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		(c >= '0' && c <= '9') ||
		c == '.' || c == '_' || c == ':' || c == '-';
}
