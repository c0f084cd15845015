/*-------------------------------------------------------------------------
 *
 * storage_api.c
 *	  Trying storage out, for the person who sets it up.
 *
 * Storage is asked for what is there and for what cannot be there.  Only both
 * answers together show that it can be believed: one that answers everything
 * with 200 would never say that an artifact is gone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <inttypes.h>

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "artifact/artifact.h"
#include "artifact/artifact_http.h"
#include "base/errors.h"
#include "common/lock_wait.h"

PG_FUNCTION_INFO_V1(miosa_test_storage);

/* What cannot be there is called so, and something random. */
#define ABSENT_NAME "miosa-test"

static Datum call_test_storage(PG_FUNCTION_ARGS);
static char *absent_uri(const char *uri);
static void ask(const char *uri, MrbArtifactCheck *check);
static const char *verdict(const MrbArtifactCheck *it,
						   const MrbArtifactCheck *absent);
static void append_check(StringInfo out, const char *name,
						 const MrbArtifactCheck *check);

/*
 * miosa_test_storage(storage_uri)
 */
Datum
miosa_test_storage(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_PUBLIC, call_test_storage, fcinfo);
}

/*
 * miosa_test_storage(), with bounded waits.
 */
static Datum
call_test_storage(PG_FUNCTION_ARGS)
{
	char	   *uri = PG_ARGISNULL(0) ? "" :
	text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *other = absent_uri(uri);
	MrbArtifactCheck it;
	MrbArtifactCheck absent;
	StringInfoData out;

	if (other == NULL)
		mrb_raise(MRB_ERR_INVALID_ARGUMENT, "invalid storage_uri",
				  "It has no scheme, or nothing after it.",
				  "Name an artifact that is there: SELECT miosa_test_storage('s3://bucket/key');");
	ask(uri, &it);
	ask(other, &absent);

	initStringInfo(&out);
	appendStringInfoString(&out, "{\"data\":{");
	append_check(&out, "artifact", &it);
	append_check(&out, "absent", &absent);
	appendStringInfoString(&out, "\"verdict\":");
	escape_json(&out, verdict(&it, &absent));
	appendStringInfoString(&out, "}}");
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}

/*
 * A name beside that of the artifact; NULL when that is none.  A query is left
 * away, because it is about the one URL that it was signed for.
 */
static char *
absent_uri(const char *uri)
{
	const char *path = strstr(uri, "://");
	const char *slash;
	int			len;
	char		id[33];
	uint64		random[2];

	if (path == NULL || path[3] == '\0')
		return NULL;
	if (!pg_strong_random(random, sizeof(random)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	snprintf(id, sizeof(id), "%016" PRIx64 "%016" PRIx64, random[0],
			 random[1]);
	path += 3;
	len = pg_strncasecmp(uri, "s3:", 3) == 0 ? (int) strlen(path) :
		(int) strcspn(path, "?#");
	for (slash = path + len; slash > path && slash[-1] != '/'; slash--)
		;
	return psprintf("%.*s%s" ABSENT_NAME "-%s", (int) (slash - uri), uri,
					slash == path ? psprintf("%.*s/", len, path) : "", id);
}

/*
 * As an operation would, but for the trust in what was seen before.
 */
static void
ask(const char *uri, MrbArtifactCheck *check)
{
	MrbArtifact artifact = {.uri = uri,.size = -1};
	MrbArtifactHttp *probe = mrb_artifact_begin(&artifact, check);

	if (probe != NULL)
		mrb_artifact_http_run(probe, check);
}

static const char *
verdict(const MrbArtifactCheck *it, const MrbArtifactCheck *absent)
{
	if (!it->probed && it->state == MRB_ARTIFACT_PRESENT)
		return "it is not asked, and our own record alone decides; for s3:// set storage up with miosa_put_storage()";
	if (!it->probed)
		return "it cannot be asked";
	if (absent->state == MRB_ARTIFACT_PRESENT)
		return "it answers that everything is there, also what cannot be; it would never say that an artifact is gone";
	if (absent->state == MRB_ARTIFACT_GONE)
	{
		if (it->state == MRB_ARTIFACT_PRESENT)
			return "ok: it tells what is there from what is not";
		if (it->state == MRB_ARTIFACT_GONE)
			return "ok: it can be asked, but this artifact is not there";
		return "it says of others that they are not there, but cannot tell about this one; see artifact";
	}
	if (it->state == MRB_ARTIFACT_PRESENT)
		return "it has it, but does not say of what is missing that it is gone, so such versions are refused as unverified; on S3 grant s3:ListBucket";
	return "it does not say what it has; check address, region and secret";
}

/*
 * Ends with a comma.
 */
static void
append_check(StringInfo out, const char *name, const MrbArtifactCheck *check)
{
	static const char *const states[] = {
		[MRB_ARTIFACT_PRESENT] = "present",
		[MRB_ARTIFACT_GONE] = "gone",
		[MRB_ARTIFACT_UNKNOWN] = "unknown",
	};

	escape_json(out, name);
	appendStringInfoString(out, ":{\"asked\":");
	appendStringInfoString(out, check->probed ? "true" : "false");
	appendStringInfo(out, ",\"state\":\"%s\",\"detail\":",
					 states[check->state]);
	escape_json(out, check->detail);
	appendStringInfoString(out, "},");
}
