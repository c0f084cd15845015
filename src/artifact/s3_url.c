/*-------------------------------------------------------------------------
 *
 * s3_url.c
 *	  URLs of objects in S3.
 *
 * A key is any string: everything after the bucket and a slash.  "%", "?" and "#"
 * have no special meaning in it, and "//" and ".." are not resolved.  Storage has
 * keys in UTF-8, whatever the encoding of the database.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"

#include "adapter/escape.h"
#include "artifact/s3_url.h"

#define BUCKET_MIN 3
#define BUCKET_MAX 63
#define BUCKET_CHARACTERS "abcdefghijklmnopqrstuvwxyz0123456789.-"

static bool is_bucket(const char *name, size_t len);
static const char *in_utf8(const char *key);

/*
 * Return the URL of an object; NULL with the reason in *flaw when it has none.
 */
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
	{
		key = in_utf8(key);
		*flaw = key == NULL ? "its storage URI cannot be written in UTF-8" : NULL;
	}
	if (*flaw != NULL)
		return NULL;

	initStringInfo(&url);
	if (virtual_host)
		appendStringInfo(&url, "%.*s%.*s.%s/", (int) (host - endpoint),
						 endpoint, (int) bucket_len, bucket, host);
	else
		appendStringInfo(&url, "%s/%.*s/", endpoint, (int) bucket_len, bucket);
	mrb_escape_append(&url, MRB_ESCAPE_PERCENT_PATH, key);
	return url.data;
}

/*
 * Whether a string is a valid name of a bucket.  It becomes part of a host name,
 * so no other string may.
 */
static bool
is_bucket(const char *name, size_t len)
{
	return len >= BUCKET_MIN && len <= BUCKET_MAX &&
		strspn(name, BUCKET_CHARACTERS) >= len &&
		strchr(".-", name[0]) == NULL && strchr(".-", name[len - 1]) == NULL;
}

/*
 * Convert a key to UTF-8; NULL when that is impossible.  It is not an error,
 * because that would end every pass of the dispatcher.
 */
static const char *
in_utf8(const char *key)
{
	int			encoding = GetDatabaseEncoding();
	int			len = strlen(key);
	int			size = len * MAX_CONVERSION_GROWTH + 1;
	Oid			conversion;
	char	   *converted;

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return key;
	conversion = FindDefaultConversionProc(encoding, PG_UTF8);
	if (!OidIsValid(conversion))
		return NULL;
	converted = palloc(size);
	if (pg_do_encoding_conversion_buf(conversion, encoding, PG_UTF8,
									  (unsigned char *) key, len,
									  (unsigned char *) converted, size,
									  true) != len)
		return NULL;
	return converted;
}
