/*-------------------------------------------------------------------------
 *
 * check_argument.c
 *	  Check the arguments of public functions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/check_argument.h"
#include "base/errors.h"
#include "base/miosa_rollback.h"

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
		mrb_raise_as(MRB_ERR_INVALID_ARGUMENT, "INVALID_ID",
					 psprintf("invalid %s: \"\"", what),
					 "The id is empty.", hint);
	if (len > MRB_MAX_ID)
		mrb_raise_as(MRB_ERR_INVALID_ARGUMENT, "INVALID_ID",
					 psprintf("%s is too long", what),
					 psprintf("The id has %zu bytes; the maximum is %d.",
							  len, MRB_MAX_ID), hint);
	for (size_t i = 0; i < len; i++)
	{
		if (!is_id_character(value[i]))
			mrb_raise_as(MRB_ERR_INVALID_ARGUMENT, "INVALID_ID",
						 psprintf("invalid %s: \"%s\"", what, value),
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
	mrb_raise_as(MRB_ERR_INVALID_ARGUMENT, "MISSING_PARAM",
				 psprintf("missing %s", what), "The argument is null.", hint);
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
