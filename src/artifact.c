/*-------------------------------------------------------------------------
 *
 * artifact.c
 *	  Is the artifact of a version still in storage?
 *
 * Only two answers are certain: storage has it, or storage says that there is
 * no such thing.  Everything else, a refusal, a redirection, silence, leaves
 * the question open, and what to do then is the caller's to decide.
 *
 * A storage URI comes from whoever publishes versions, and the server asks on
 * their behalf.  So the rules of http.c on private addresses hold, files are
 * looked for below one directory only, and neither credentials nor the query
 * of a presigned URL appear in what is shown.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>
#include <sys/stat.h>

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "artifact.h"
#include "guc.h"
#include "http.h"
#include "query.h"

static MrbQuery remember_query = {
	.sql = "UPDATE miosa.releases r"
	" SET verified_at = pg_catalog.clock_timestamp()"
	" FROM (SELECT s.deployment_id, s.id FROM miosa.releases s"
	" WHERE s.deployment_id = $1 AND s.id = $2"
	" FOR NO KEY UPDATE SKIP LOCKED) free"
	" WHERE r.deployment_id = free.deployment_id AND r.id = free.id",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
	.expected = MRB_QUERY_UPDATE,
};

static bool younger_than(TimestampTz then, int seconds);
static bool has_scheme(const char *uri, const char *scheme);
static void conclude(MrbArtifactCheck *check, MrbArtifactState state,
					 char *detail);

static void probe_http(const char *url, MrbArtifactCheck *check);
static char *url_flaw(const char *url);
static void ask_storage(const char *method, const char *url, int timeout_ms,
						MrbHttpAnswer *answer);
static void judge_answer(const char *method, const char *url,
						 const MrbHttpAnswer *answer,
						 MrbArtifactCheck *check);
static char *url_to_show(const char *url);

static void probe_file(const char *uri, MrbArtifactCheck *check);
static char *file_path(const char *uri);
static int	hex_pair(const char *text);
static bool goes_up(const char *path);
static bool is_below(const char *path, const char *directory);
static bool escapes(const char *path, const char *directory);

/*
 * Find out whether an artifact is there, as far as we can and may.
 */
void
mrb_artifact_check(const char *storage_uri, TimestampTz verified_at,
				   MrbArtifactCheck *check)
{
	memset(check, 0, sizeof(*check));
	check->verified_at = verified_at;

	if (younger_than(verified_at, mrb_artifact_max_age))
		conclude(check, MRB_ARTIFACT_PRESENT,
				 psprintf("Storage had it at %s.",
						  timestamptz_to_str(verified_at)));
	else if (has_scheme(storage_uri, "http") ||
			 has_scheme(storage_uri, "https"))
		probe_http(storage_uri, check);
	else if (has_scheme(storage_uri, "file") &&
			 mrb_artifact_file_root != NULL &&
			 mrb_artifact_file_root[0] != '\0')
		probe_file(storage_uri, check);
	else
		conclude(check, MRB_ARTIFACT_PRESENT,
				 pstrdup("Storage of this kind is not asked; our own record has it."));

	check->grace = check->state == MRB_ARTIFACT_UNKNOWN &&
		younger_than(verified_at, mrb_artifact_unknown_grace);
}

/*
 * Record a verification.  It is worth less than the time of whoever holds the
 * row, so a locked one is left alone.
 */
void
mrb_artifact_remember(const char *deployment_id, const char *release_id)
{
	Datum		values[2];

	values[0] = CStringGetTextDatum(deployment_id);
	values[1] = CStringGetTextDatum(release_id);
	mrb_query_open();
	mrb_query_run(&remember_query, values, NULL);
	mrb_query_close();
}

/*
 * Did it happen within the last so many seconds?  A time in the future says
 * nothing.
 */
static bool
younger_than(TimestampTz then, int seconds)
{
	TimestampTz now = GetCurrentTimestamp();

	return then != 0 && then <= now &&
		now - then < (int64) seconds * USECS_PER_SEC;
}

static bool
has_scheme(const char *uri, const char *scheme)
{
	size_t		len = strlen(scheme);

	return pg_strncasecmp(uri, scheme, len) == 0 &&
		strncmp(uri + len, "://", 3) == 0;
}

static void
conclude(MrbArtifactCheck *check, MrbArtifactState state, char *detail)
{
	check->state = state;
	check->detail = detail;
}

/*
 * Ask over HTTP.  A server that knows no HEAD gets a GET of the first byte, in
 * what is left of the time.
 */
static void
probe_http(const char *url, MrbArtifactCheck *check)
{
	const char *method = "HEAD";
	char	   *flaw = url_flaw(url);
	MrbHttpAnswer answer;

	if (flaw != NULL)
	{
		conclude(check, MRB_ARTIFACT_UNKNOWN, flaw);
		return;
	}
	check->probed = true;
	ask_storage(method, url, mrb_artifact_timeout, &answer);
	if (answer.outcome == MRB_HTTP_ANSWERED &&
		(answer.status == 405 || answer.status == 501))
	{
		int			left = mrb_artifact_timeout - (int) answer.elapsed_ms;

		if (left > 0)
		{
			method = "GET";
			ask_storage(method, url, left, &answer);
		}
	}
	judge_answer(method, url, &answer, check);
}

/*
 * Why a URL is never sent to anybody; NULL when it may be.
 */
static char *
url_flaw(const char *url)
{
	const char *authority = strstr(url, "://") + 3;
	size_t		authority_len = strcspn(authority, "/?#\\");

	if (memchr(authority, '@', authority_len) != NULL)
		return pstrdup("Its storage URI has credentials in it, so storage was not asked.");
	for (const char *c = url; *c != '\0'; c++)
	{
		if ((unsigned char) *c <= ' ' || (unsigned char) *c >= 0x7f)
			return pstrdup("Its storage URI has characters that must be escaped, so storage was not asked.");
	}
	return NULL;
}

static void
ask_storage(const char *method, const char *url, int timeout_ms,
			MrbHttpAnswer *answer)
{
	static const char *const first_byte[] = {"Range: bytes=0-0", NULL};
	MrbHttpRequest request = {0};

	request.method = method;
	request.url = url;
	request.timeout_ms = timeout_ms;
	if (strcmp(method, "GET") == 0)
		request.headers = first_byte;
	mrb_http_call(&request, answer);
}

/*
 * What an answer says about the artifact.
 */
static void
judge_answer(const char *method, const char *url, const MrbHttpAnswer *answer,
			 MrbArtifactCheck *check)
{
	MrbArtifactState state = MRB_ARTIFACT_UNKNOWN;
	char	   *shown = url_to_show(url);

	if (answer->outcome == MRB_HTTP_TIMED_OUT)
		conclude(check, state,
				 psprintf("Storage did not answer %s %s within %d ms.",
						  method, shown, mrb_artifact_timeout));
	else if (answer->outcome != MRB_HTTP_ANSWERED)
		conclude(check, state,
				 psprintf("Storage could not be asked by %s %s: %s.",
						  method, shown, answer->error));
	else
	{
		if (answer->status == 200 || answer->status == 206)
			state = MRB_ARTIFACT_PRESENT;
		else if (answer->status == 404 || answer->status == 410)
			state = MRB_ARTIFACT_GONE;
		conclude(check, state,
				 psprintf("Storage answered %d to %s %s.",
						  answer->status, method, shown));
	}
}

/*
 * A URL for people, without its query, which may be a signature.
 */
static char *
url_to_show(const char *url)
{
	size_t		len = strcspn(url, "?#");

	if (url[len] == '\0')
		return pstrdup(url);
	return psprintf("%.*s?...", (int) len, url);
}

/*
 * Look for a file or directory below the root.  Symbolic links are followed,
 * but not out of it.
 */
static void
probe_file(const char *uri, MrbArtifactCheck *check)
{
	char	   *path = file_path(uri);
	char	   *root = realpath(mrb_artifact_file_root, NULL);
	char	   *refused = NULL;
	struct stat found;

	/* Without the root, say a disk that is not mounted, nothing is gone. */
	if (root == NULL)
		refused = psprintf("The directory of miosa_rollback.artifact_file_root could not be read: %m.");
	else if (path == NULL)
		refused = pstrdup("Its storage URI is not of the form file:///path, so storage was not asked.");
	else if (goes_up(path) || !is_below(path, mrb_artifact_file_root) ||
			 escapes(path, root))
		refused = psprintf("File \"%s\" is not below miosa_rollback.artifact_file_root, so it was not looked for.",
						   path);
	free(root);
	if (refused != NULL)
	{
		conclude(check, MRB_ARTIFACT_UNKNOWN, refused);
		return;
	}

	check->probed = true;
	if (stat(path, &found) == 0)
		conclude(check, MRB_ARTIFACT_PRESENT,
				 psprintf("There is a file \"%s\".", path));
	else if (errno == ENOENT || errno == ENOTDIR)
		conclude(check, MRB_ARTIFACT_GONE,
				 psprintf("There is no file \"%s\".", path));
	else
		conclude(check, MRB_ARTIFACT_UNKNOWN,
				 psprintf("File \"%s\" could not be looked at: %m.", path));
}

/*
 * The path of a file URI with its escapes undone; NULL when it has none.
 */
static char *
file_path(const char *uri)
{
	const char *from = uri + strlen("file://");
	char	   *path = palloc(strlen(from) + 1);
	char	   *to = path;

	if (pg_strncasecmp(from, "localhost/", 10) == 0)
		from += strlen("localhost");
	if (*from != '/')
		return NULL;
	for (; *from != '\0'; from++)
	{
		int			c = (unsigned char) *from;

		if (c == '%')
		{
			c = hex_pair(from + 1);
			from += 2;
		}
		if (c < ' ' || c == 0x7f)
			return NULL;
		*to++ = (char) c;
	}
	*to = '\0';
	return path;
}

/*
 * The value of two hexadecimal digits, -1 when they are none.
 */
static int
hex_pair(const char *text)
{
	char		digits[3] = {0};

	if (!isxdigit((unsigned char) text[0]) ||
		!isxdigit((unsigned char) text[1]))
		return -1;
	memcpy(digits, text, 2);
	return (int) strtol(digits, NULL, 16);
}

/*
 * Does a path have ".." in it?
 */
static bool
goes_up(const char *path)
{
	for (const char *c = path; (c = strstr(c, "/..")) != NULL; c++)
	{
		if (c[3] == '/' || c[3] == '\0')
			return true;
	}
	return false;
}

/*
 * Is it a path inside the directory, by their text?
 */
static bool
is_below(const char *path, const char *directory)
{
	size_t		len = strlen(directory);

	while (len > 0 && directory[len - 1] == '/')
		len--;
	return strncmp(path, directory, len) == 0 && path[len] == '/';
}

/*
 * Do symbolic links lead out of the directory?  As much of the path as there
 * is decides.
 */
static bool
escapes(const char *path, const char *directory)
{
	char	   *prefix = pstrdup(path);
	char	   *real;
	bool		outside;

	while ((real = realpath(prefix, NULL)) == NULL)
	{
		char	   *slash = strrchr(prefix, '/');

		if (slash == NULL || slash == prefix)
			return true;
		*slash = '\0';
	}
	outside = strcmp(real, directory) != 0 && !is_below(real, directory);
	free(real);
	return outside;
}
