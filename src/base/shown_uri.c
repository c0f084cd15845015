/*-------------------------------------------------------------------------
 *
 * shown_uri.c
 *	  URIs of artifacts as they may be shown.
 *
 * The query of a presigned URI is a secret, by which the artifact can be read.
 * Signatures have many names (X-Amz-Signature, sig, token), so no query is
 * shown.  In s3 and file URIs a question mark is part of the name.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/shown_uri.h"

PG_FUNCTION_INFO_V1(mrb_mask_uri);

/*
 * miosa.mask_uri(uri)
 */
Datum
mrb_mask_uri(PG_FUNCTION_ARGS)
{
	char	   *uri = text_to_cstring(PG_GETARG_TEXT_PP(0));

	PG_RETURN_TEXT_P(cstring_to_text(mrb_shown_uri_mask(uri)));
}

/*
 * Return a URI with "?..." for its query and fragment, and "***" for credentials
 * before its host.
 */
char *
mrb_shown_uri_mask(const char *uri)
{
	int			len = (int) strcspn(uri, "?#");
	const char *authority = strstr(uri, "://");
	int			start = 0;
	int			host = 0;

	if (pg_strncasecmp(uri, "s3:", 3) == 0 ||
		pg_strncasecmp(uri, "file:", 5) == 0)
		return pstrdup(uri);
	if (authority != NULL && authority + 3 <= uri + len)
	{
		int			end;

		start = host = (int) (authority + 3 - uri);
		end = start + (int) strcspn(uri + start, "/?#\\");
		for (int i = start; i < end; i++)
			if (uri[i] == '@')
				host = i;
	}
	return psprintf("%.*s%s%.*s%s", start, uri, host > start ? "***" : "",
					len - host, uri + host, uri[len] != '\0' ? "?..." : "");
}
