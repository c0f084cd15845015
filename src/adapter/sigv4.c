/*-------------------------------------------------------------------------
 *
 * sigv4.c
 *	  AWS Signature Version 4.
 *
 * libcurl computes the signature; the headers that it leaves out are added
 * here.  It signs the path as sent, so that must be written as the service
 * normalizes it: fully percent-encoded.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "adapter/request.h"
#include "adapter/sigv4.h"
#include "common/digest.h"

static bool path_can_be_signed(const char *scope, const char *url);

/*
 * No part can be empty or contain a colon.
 */
char *
mrb_sigv4_credentials(const char *secret, char **token)
{
	char	   *pair = pstrdup(secret);
	char	   *colon = strchr(pair, ':');
	char	   *end = colon != NULL ? strchr(colon + 1, ':') : NULL;

	*token = NULL;
	if (end != NULL)
	{
		*end = '\0';
		*token = end + 1;
	}
	if (colon == NULL || colon == pair || colon[1] == '\0' ||
		(end != NULL && ((*token)[0] == '\0' || strchr(*token, ':') != NULL)))
		return NULL;
	return pair;
}

/*
 * Services require the hash of the body in a header; libcurl reads it there.
 */
const char *
mrb_sigv4_sign(MrbHttpRequest *request, const char *scope, const char *secret,
			   const char *mask)
{
	char	   *token = NULL;
	char	   *hash = mrb_digest_sha256(request->body, request->body_len);
	char	   *credentials =
	secret != NULL ? mrb_sigv4_credentials(secret, &token) : NULL;

	if (credentials == NULL || hash == NULL)
		return "could not sign with the secret";

	if (!path_can_be_signed(scope, request->url))
		return "the path has percent-encoding that cannot be signed";
	mrb_request_add_header(request, psprintf("x-amz-content-sha256: %s", hash));
	if (token != NULL)
		mrb_request_add_header(request, psprintf("x-amz-security-token: %s",
												 mask ? mask : token));
	if (mask != NULL)
		mrb_request_add_header(request,
							   psprintf("authorization: AWS4-HMAC-SHA256 %s",
										mask));
	request->sigv4 = scope;
	request->credentials = credentials;
	return NULL;
}

/*
 * Whether the service computes the same signature as libcurl, which signs the
 * path as sent.  S3 decodes "%2F" to a slash; all other services encode the
 * path a second time.
 */
static bool
path_can_be_signed(const char *scope, const char *url)
{
	if (strcmp(strrchr(scope, ':'), ":s3") != 0)
		return strchr(url, '%') == NULL;
	return strstr(url, "%2F") == NULL && strstr(url, "%2f") == NULL;
}
