/*-------------------------------------------------------------------------
 *
 * json_setting.c
 *	  Settings of an HTTP gateway that hold a JSON object.
 *
 * A gateway passes headers and claims of a request on in settings.  What cannot
 * be read is refused and never taken for missing: a retry without its key acts
 * twice, and a caller without claims has another identity.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/errors.h"
#include "common/json_read.h"
#include "common/json_setting.h"

/* A value may be nested so deep: what a gateway sends is flat. */
#define MAX_DEPTH 100

static bool is_too_deep(const char *text);
static bool is_malformed(int sqlerrcode);

/*
 * Parse the text of a setting.
 *
 * The parser holds no resource but memory, so its error needs no subtransaction.
 */
Jsonb *
mrb_json_setting_parse(const char *name, const char *text)
{
	MemoryContext context = CurrentMemoryContext;
	Jsonb	   *volatile object = NULL;
	char	   *volatile problem = NULL;

	if (is_too_deep(text))
		mrb_json_setting_refuse(name, psprintf("The value is nested deeper than %d levels.", MAX_DEPTH));
	PG_TRY();
	{
		object = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
													CStringGetDatum(text)));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (!is_malformed(error->sqlerrcode))
			PG_RE_THROW();
		FlushErrorState();
		problem = psprintf("The value is not JSON that can be read: %s.", error->message);
	}
	PG_END_TRY();
	if (problem != NULL)
		mrb_json_setting_refuse(name, problem);
	if (!JB_ROOT_IS_OBJECT(object))
		mrb_json_setting_refuse(name, "The value is not a JSON object.");
	return object;
}

/*
 * Return a text member.
 */
char *
mrb_json_setting_text(const char *name, Jsonb *object, const char *member)
{
	JsonbValue	value;

	if (!mrb_json_read_get(&object->root, member, &value))
		return NULL;
	if (value.type != jbvString)
		mrb_json_setting_refuse(name, psprintf("The value of \"%s\" is not a string.", member));
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/*
 * Refuse a setting.
 */
void
mrb_json_setting_refuse(const char *name, char *detail)
{
	mrb_raise(MRB_ERR_INVALID_ARGUMENT,
			  psprintf("invalid value of setting \"%s\"", name), detail,
			  "The gateway sets it for each request; look at the gateway's configuration.");
}

/*
 * Whether a text has too many brackets that are open at once.  Those in strings
 * do not count.
 */
static bool
is_too_deep(const char *text)
{
	bool		quoted = false;
	int			depth = 0;

	for (; *text != '\0' && depth <= MAX_DEPTH; text++)
	{
		if (*text == '"')
			quoted = !quoted;
		else if (quoted)
			text += text[0] == '\\' && text[1] != '\0' ? 1 : 0;
		else if (*text == '[' || *text == '{')
			depth++;
		else if (*text == ']' || *text == '}')
			depth--;
	}
	return depth > MAX_DEPTH;
}

/*
 * Whether an error of the parser is about the text: its syntax, what jsonb
 * cannot hold, or how deep it is nested.
 */
static bool
is_malformed(int sqlerrcode)
{
	return ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_DATA_EXCEPTION ||
		ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_PROGRAM_LIMIT_EXCEEDED ||
		ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_TO_CATEGORY(ERRCODE_STATEMENT_TOO_COMPLEX);
}
