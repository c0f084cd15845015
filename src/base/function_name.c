/*-------------------------------------------------------------------------
 *
 * function_name.c
 *	  Names of the extension's functions, qualified as the caller needs them.
 *
 * Functions for programs are in the schema that CREATE EXTENSION was given.
 * Texts that propose a call omit the schema.  Where the caller's search_path
 * does not include it, this module inserts it before each call.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

#include "base/extension_row.h"
#include "base/function_name.h"
#include "base/miosa_rollback.h"
#include "base/setting_source.h"

#define PREFIX "miosa_"

PG_FUNCTION_INFO_V1(mrb_qualify);

static char known[NAMEDATALEN]; /* the schema, as last looked up */

static const char *our_schema(void);
static bool caller_finds(const char *schema);
static const char *end_of_literal(const char *string, const char *at);
static size_t call_length(const char *string, const char *at);
static bool in_word(char c);

/*
 * miosa.qualify(value): qualify the calls in a text.
 */
Datum
mrb_qualify(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(mrb_function_name_qualify(text_to_cstring(PG_GETARG_TEXT_PP(0)))));
}

/*
 * Insert the schema before each call of a function of the extension that is
 * not in a literal.
 */
const char *
mrb_function_name_qualify(const char *string)
{
	StringInfoData buf;
	const char *schema;
	const char *at = string;

	if (string == NULL || strstr(string, PREFIX) == NULL)
		return string;

	schema = IsTransactionState() ? our_schema() : known;
	if (schema[0] == '\0' || caller_finds(schema))
		return string;

	initStringInfo(&buf);
	while (*at != '\0')
	{
		size_t		len = call_length(string, at);
		const char *end;

		if (len > 0)
		{
			appendStringInfo(&buf, "%s.", quote_identifier(schema));
			end = at + len;
		}
		else
			end = end_of_literal(string, at);
		appendBinaryStringInfo(&buf, at, end - at);
		at = end;
	}
	return buf.data;
}

/*
 * Look the schema up for texts that are written outside of a transaction.
 */
void
mrb_function_name_learn(void)
{
	our_schema();
}

/*
 * Return the schema of the extension; empty when it does not exist.
 */
static const char *
our_schema(void)
{
	MrbExtensionRow row;

	mrb_extension_row_read(&row);
	strlcpy(known, row.schema, sizeof(known));
	return known;
}

/*
 * Whether the caller's search_path includes a schema.  The extension's own
 * functions run with another search_path.
 */
static bool
caller_finds(const char *schema)
{
	char	   *path = pstrdup(mrb_setting_source_caller("search_path"));
	List	   *names;
	ListCell   *cell;
	bool		found = false;

	if (!SplitIdentifierString(path, ',', &names))
		return false;
	foreach(cell, names)
	{
		const char *name = lfirst(cell);

		if (strcmp(name, "$user") == 0)
			name = GetUserNameFromId(GetOuterUserId(), true);
		if (name != NULL && strcmp(name, schema) == 0)
			found = true;
	}
	list_free(names);
	pfree(path);
	return found;
}

/*
 * Return the position after a character, or after the literal that begins with
 * it.  An apostrophe within a word begins no literal.
 */
static const char *
end_of_literal(const char *string, const char *at)
{
	const char *before = at;

	if (*at != '\'')
		return at + 1;
	if (before > string && before[-1] == 'E')
		before--;
	if (before > string && in_word(before[-1]))
		return at + 1;
	at = strchr(at + 1, '\'');
	return at != NULL ? at + 1 : string + strlen(string);
}

/*
 * Return the length of the name if a call of a function of the extension
 * without a schema begins here; 0 otherwise.
 */
static size_t
call_length(const char *string, const char *at)
{
	const char *end = at;

	if (strncmp(at, PREFIX, strlen(PREFIX)) != 0 ||
		(at > string && (in_word(at[-1]) || at[-1] == '.' || at[-1] == '"')))
		return 0;
	while (in_word(*end))
		end++;
	return *end == '(' ? end - at : 0;
}

/*
 * Whether a name may contain a character.
 */
static bool
in_word(char c)
{
	return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		(c >= 'A' && c <= 'Z');
}
