/*-------------------------------------------------------------------------
 *
 * check_argument.c
 *	  Check what callers pass in.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/check_argument.h"
#include "base/errors.h"
#include "base/miosa_rollback.h"

static bool is_id_character(char c);

/*
 * Check an id.
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
	if (len == 0 || len > MRB_MAX_ID)
		mrb_raise_as(MRB_ERR_INVALID_ARGUMENT, "INVALID_ID",
					 psprintf("invalid %s", what),
					 psprintf("It has %zu characters.", len), hint);
	for (size_t i = 0; i < len; i++)
	{
		if (!is_id_character(value[i]))
			mrb_raise_as(MRB_ERR_INVALID_ARGUMENT, "INVALID_ID",
						 psprintf("invalid %s", what),
						 psprintf("Its byte %zu is 0x%02x, which an id cannot have.",
								  i + 1, (unsigned char) value[i]), hint);
	}
}

/*
 * Say that an argument is missing.
 */
void
mrb_check_argument_missing(const char *what, const char *hint)
{
	mrb_raise_as(MRB_ERR_INVALID_ARGUMENT, "MISSING_PARAM",
				 psprintf("missing %s", what), "The argument is null.", hint);
}

/*
 * Not isalnum(), whose answer depends on the locale.
 */
static bool
is_id_character(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		(c >= '0' && c <= '9') ||
		c == '.' || c == '_' || c == ':' || c == '-';
}
