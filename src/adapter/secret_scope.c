/*-------------------------------------------------------------------------
 *
 * secret_scope.c
 *	  Which requests may carry a secret.
 *
 * Who may set up endpoints may not read secrets.  So a secret is bound to the
 * origins and adapters that it was put for: an endpoint that is led elsewhere,
 * or to an adapter that shows the secret, needs its value again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "fmgr.h"
#include "utils/builtins.h"

#include "adapter/secret_scope.h"
#include "base/optional_text.h"

PG_FUNCTION_INFO_V1(mrb_secret_origin);
PG_FUNCTION_INFO_V1(mrb_is_secret_origin);
PG_FUNCTION_INFO_V1(mrb_secret_refusal);

#define ANY "*"

static bool lists(const char *words, const char *word,
				  bool (*matches) (const char *, size_t, const char *));
static bool same_word(const char *listed, size_t len, const char *word);
static bool covers_origin(const char *listed, size_t len, const char *origin);

/*
 * What follows the host does not matter, and a URL with credentials is refused
 * elsewhere.
 */
char *
mrb_secret_scope_origin(const char *url)
{
	const char *host = strstr(url, "://");
	size_t		len = host == NULL ? strlen(url) :
	host - url + 3 + strcspn(host + 3, "/?#");
	char	   *origin = pnstrdup(url, len);
	const char *own_port;

	for (char *c = origin; *c != '\0'; c++)
		*c = tolower((unsigned char) *c);
	own_port = strncmp(origin, "https://", 8) == 0 ? ":443" : ":80";
	if (len > strlen(own_port) &&
		strcmp(origin + len - strlen(own_port), own_port) == 0)
		origin[len - strlen(own_port)] = '\0';
	return origin;
}

/*
 * Only the first label can be the asterisk.
 */
bool
mrb_secret_scope_is_origin(const char *origin)
{
	const char *host = strncmp(origin, "https://", 8) == 0 ? origin + 8 :
	strncmp(origin, "http://", 7) == 0 ? origin + 7 : NULL;
	const char *port;

	if (strcmp(origin, ANY) == 0)
		return true;
	if (host == NULL)
		return false;
	if (strncmp(host, "*.", 2) == 0)
		host += 2;
	if (host[0] == '[')
	{
		port = host + 1 + strspn(host + 1, "0123456789abcdef:.");
		if (*port != ']' || port == host + 1)
			return false;
		port++;
	}
	else
		port = host + strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789._-");
	if (port == host)
		return false;
	if (*port == '\0')
		return true;
	return *port == ':' && port[1] != '\0' && strlen(port) <= 6 &&
		port[1 + strspn(port + 1, "0123456789")] == '\0';
}

/*
 * Storages have no adapter.
 */
char *
mrb_secret_scope_problem(const MrbSecretScope *scope, const char *url,
						 const char *adapter)
{
	char	   *origin = mrb_secret_scope_origin(url);

	if (scope->origins != NULL && !lists(scope->origins, origin, covers_origin))
		return psprintf("it is not for %s; it was put for: %s", origin,
						scope->origins);
	if (adapter != NULL && scope->adapters != NULL &&
		!lists(scope->adapters, adapter, same_word))
		return psprintf("it is not for adapter \"%s\"; it was put for: %s",
						adapter,
						scope->adapters[0] != '\0' ? scope->adapters : "none");
	return NULL;
}

/*
 * A name in an adapter reaches every endpoint of that adapter, so the secret
 * lists those that may.
 */
char *
mrb_secret_scope_naming_problem(const MrbSecretScope *scope, const char *url,
								const char *endpoint)
{
	if (scope->endpoints == NULL ||
		!lists(scope->endpoints, endpoint, same_word))
		return psprintf("its endpoints do not include \"%s\"", endpoint);
	return mrb_secret_scope_problem(scope, url, NULL);
}

/*
 * miosa.secret_origin(url): the origin of a URL
 */
Datum
mrb_secret_origin(PG_FUNCTION_ARGS)
{
	char	   *url = text_to_cstring(PG_GETARG_TEXT_PP(0));

	PG_RETURN_TEXT_P(cstring_to_text(mrb_secret_scope_origin(url)));
}

/*
 * miosa.is_secret_origin(origin): whether it may be listed
 */
Datum
mrb_is_secret_origin(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mrb_secret_scope_is_origin(text_to_cstring(PG_GETARG_TEXT_PP(0))));
}

/*
 * miosa.secret_refusal(origins, adapters, url, adapter): why requests must not
 * carry the secret; null when they may
 */
Datum
mrb_secret_refusal(PG_FUNCTION_ARGS)
{
	MrbSecretScope scope = {
		.origins = mrb_optional_text_argument(fcinfo, 0),
		.adapters = mrb_optional_text_argument(fcinfo, 1),
	};
	char	   *url = mrb_optional_text_argument(fcinfo, 2);
	char	   *problem = NULL;

	/* A row without a URL cannot be stored. */
	if (url != NULL)
		problem = mrb_secret_scope_problem(&scope, url, mrb_optional_text_argument(fcinfo, 3));
	if (problem == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}

/*
 * Whether one of the words matches.
 */
static bool
lists(const char *words, const char *word,
	  bool (*matches) (const char *, size_t, const char *))
{
	while (*words != '\0')
	{
		size_t		len = strcspn(words, " ");

		if ((len == strlen(ANY) && strncmp(words, ANY, len) == 0) ||
			matches(words, len, word))
			return true;
		words += len;
		words += strspn(words, " ");
	}
	return false;
}

/*
 * Whether a listed word is this one.
 */
static bool
same_word(const char *listed, size_t len, const char *word)
{
	return strlen(word) == len && strncmp(listed, word, len) == 0;
}

/*
 * Whether a listed origin is this one, or that of a domain that its host is
 * below.
 */
static bool
covers_origin(const char *listed, size_t len, const char *origin)
{
	const char *asterisk = memchr(listed, '*', len);
	size_t		before;
	size_t		after;
	const char *end;

	if (asterisk == NULL)
		return same_word(listed, len, origin);
	before = asterisk - listed;
	after = len - before - 1;
	if (strlen(origin) <= before + after ||
		strncmp(listed, origin, before) != 0)
		return false;
	end = origin + strlen(origin) - after;
	return strncmp(asterisk + 1, end, after) == 0;
}
