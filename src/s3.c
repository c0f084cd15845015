/*-------------------------------------------------------------------------
 *
 * s3.c
 *	  URLs of objects in S3.
 *
 * A key is any text.  All that follows the bucket and a slash belongs to it, as
 * it is: "%", "?" and "#" mean nothing there, and neither "//" nor ".." is a way
 * to another key.  Storage knows keys in UTF-8, whatever our encoding is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "escape.h"
#include "s3.h"

#define BUCKET_MIN 3
#define BUCKET_MAX 63
#define BUCKET_CHARACTERS "abcdefghijklmnopqrstuvwxyz0123456789.-"

static bool is_bucket(const char *name, size_t len);

char *
mrb_s3_url(const char *uri, const char *endpoint, bool virtual_host,
		   const char **flaw)
{
	const char *bucket = uri + strlen("s3://");
	size_t		bucket_len = strcspn(bucket, "/");
	const char *key = bucket + bucket_len + 1;
	const char *host = strstr(endpoint, "://") + 3;
	StringInfoData url;

	if (!is_bucket(bucket, bucket_len))
		*flaw = "its storage URI has no valid name of a bucket";
	else if (bucket[bucket_len] == '\0' || *key == '\0')
		*flaw = "its storage URI names a bucket and no key in it";
	else
		*flaw = NULL;
	if (*flaw != NULL)
		return NULL;

	initStringInfo(&url);
	if (virtual_host)
		appendStringInfo(&url, "%.*s%.*s.%s/", (int) (host - endpoint),
						 endpoint, (int) bucket_len, bucket, host);
	else
		appendStringInfo(&url, "%s/%.*s/", endpoint, (int) bucket_len, bucket);
	mrb_escape_append(&url, MRB_STYLE_PERCENT_PATH,
					  pg_server_to_any(key, strlen(key), PG_UTF8));
	return url.data;
}

/*
 * What could not be one would be part of a host name all the same.
 */
static bool
is_bucket(const char *name, size_t len)
{
	return len >= BUCKET_MIN && len <= BUCKET_MAX &&
		strspn(name, BUCKET_CHARACTERS) >= len &&
		strchr(".-", name[0]) == NULL && strchr(".-", name[len - 1]) == NULL;
}
