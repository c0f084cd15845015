/*-------------------------------------------------------------------------
 *
 * claims.c
 *	  Claims of the token of an HTTP request.
 *
 * The gateway has checked the token's signature and passes its claims on in
 * request.jwt.claims:
 *
 *	  tenant_id	 the tenant that the request acts for
 *	  scopes	 an array of texts, or one text with spaces between them
 *	  sub		 the user
 *	  key_id	 the API key; with it the key is the actor
 *
 * Unknown claims are ignored, and so are unknown scopes.  A transaction asks for
 * the claims several times, so the last text is kept as it was read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "base/check_argument.h"
#include "common/json_read.h"
#include "common/json_setting.h"
#include "operation/claims.h"

#define SETTING "request.jwt.claims"

/* Longest id of an actor in a claim, in bytes. */
#define MAX_ACTOR_ID 500

/* Names of scopes; the platform's own come last. */
static const struct
{
	const char *name;
	int			scopes;
}			names[] = {
	{"read", MRB_SCOPE_READ},
	{"rollback", MRB_SCOPE_ROLLBACK},
	{"deploy", MRB_SCOPE_DEPLOY},
	{"report", MRB_SCOPE_REPORT},
	{"speak", MRB_SCOPE_SPEAK},
	{"deployments:read", MRB_SCOPE_READ},
	{"deployments:write", MRB_SCOPE_READ | MRB_SCOPE_ROLLBACK | MRB_SCOPE_DEPLOY},
};

/* A text that was read, and its claims. */
typedef struct ClaimsText
{
	MemoryContext context;
	char	   *text;
	MrbClaims	claims;
} ClaimsText;

static ClaimsText last;

static void read_text(const char *text);
static char *read_actor(Jsonb *object, const char *member);
static int	read_scopes(Jsonb *object);
static int	split_scopes(const char *text, size_t len);

/*
 * Return the claims of the request.
 */
const MrbClaims *
mrb_claims_read(void)
{
	const char *text = GetConfigOption(SETTING, true, false);

	if (text == NULL || text[0] == '\0')
		return NULL;
	if (last.text == NULL || strcmp(last.text, text) != 0)
		read_text(text);
	return &last.claims;
}

/*
 * Find a scope by its name.
 */
int
mrb_claims_scope(const char *name, size_t len)
{
	for (size_t i = 0; i < lengthof(names); i++)
	{
		if (strlen(names[i].name) == len && memcmp(names[i].name, name, len) == 0)
			return names[i].scopes;
	}
	return 0;
}

/*
 * Read a text and keep what was read.  A text that cannot be read leaves its
 * memory to the caller's context: the error has it, and may have it read again
 * for the record of refused calls.
 */
static void
read_text(const char *text)
{
	MemoryContext before = CurrentMemoryContext;
	ClaimsText	next = {0};
	Jsonb	   *object;

	next.context = AllocSetContextCreate(before, "miosa_rollback claims",
										 ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(next.context);
	object = mrb_json_setting_parse(SETTING, text);
	next.claims.tenant_id = mrb_json_setting_text(SETTING, object, "tenant_id");
	if (next.claims.tenant_id != NULL)
		mrb_check_argument_id(next.claims.tenant_id, "tenant id");
	next.claims.user = read_actor(object, "sub");
	next.claims.key = read_actor(object, "key_id");
	next.claims.scopes = read_scopes(object);
	next.text = pstrdup(text);
	MemoryContextSwitchTo(before);
	MemoryContextSetParent(next.context, TopMemoryContext);
	if (last.context != NULL)
		MemoryContextDelete(last.context);
	last = next;
}

/*
 * Read the id of an actor.
 */
static char *
read_actor(Jsonb *object, const char *member)
{
	char	   *id = mrb_json_setting_text(SETTING, object, member);

	if (id == NULL)
		return NULL;
	if (id[0] == '\0' || strlen(id) > MAX_ACTOR_ID)
		mrb_json_setting_refuse(SETTING, psprintf("The value of \"%s\" has %zu bytes; the minimum is 1 and the maximum is %d.",
												  member, strlen(id), MAX_ACTOR_ID));
	if (mrb_check_argument_find_hidden(id) != NULL)
		mrb_json_setting_refuse(SETTING, psprintf("The value of \"%s\" has %s.", member,
												  mrb_check_argument_find_hidden(id)));
	return id;
}

/*
 * Read the scopes.
 */
static int
read_scopes(Jsonb *object)
{
	JsonbValue	value;
	JsonbContainer *array;
	JsonbIterator *it;
	JsonbIteratorToken token;
	int			scopes = 0;

	if (!mrb_json_read_get(&object->root, "scopes", &value))
		return 0;
	if (value.type == jbvString)
		return split_scopes(value.val.string.val, value.val.string.len);
	array = mrb_json_read_array(&value);
	if (array == NULL)
		mrb_json_setting_refuse(SETTING, "The value of \"scopes\" is neither an array nor a string.");
	it = JsonbIteratorInit(array);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (value.type != jbvString)
			mrb_json_setting_refuse(SETTING, "An element of \"scopes\" is not a string.");
		scopes |= mrb_claims_scope(value.val.string.val, value.val.string.len);
	}
	return scopes;
}

/*
 * Read scopes that are separated by spaces.
 */
static int
split_scopes(const char *text, size_t len)
{
	int			scopes = 0;
	size_t		from = 0;

	for (size_t i = 0; i <= len; i++)
	{
		if (i < len && text[i] != ' ')
			continue;
		scopes |= mrb_claims_scope(text + from, i - from);
		from = i + 1;
	}
	return scopes;
}
