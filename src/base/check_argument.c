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
static bool is_id_character(char c);

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
						 invalid(what, value),
						 psprintf("Byte %zu is 0x%02x, which is not allowed in an id.",
								  i + 1, (unsigned char) value[i]), hint);
	}
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
	int			len = pg_mbcharcliplen(value, strlen(value), MAX_SHOWN);
	char	   *shown = pnstrdup(value, len);

	for (char *c = shown; *c != '\0'; c++)
	{
		if ((unsigned char) *c < 0x20 || *c == 0x7f)
			*c = '?';
	}
	return shown;
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
