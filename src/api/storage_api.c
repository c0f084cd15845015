/*-------------------------------------------------------------------------
 *
 * storage_api.c
 *	  Test of a storage during set-up.
 *
 * The test asks storage for an artifact and for one that cannot exist.  Only
 * both answers together show that storage reports missing artifacts: one that
 * answers every request with 200 never would.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <inttypes.h>

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "artifact/artifact.h"
#include "artifact/artifact_http.h"
#include "base/check_argument.h"
#include "base/errors.h"
#include "base/json_build.h"
#include "base/shown_uri.h"
#include "common/lock_wait.h"
#include "operation/actor.h"
#include "operation/tenancy.h"

PG_FUNCTION_INFO_V1(miosa_test_storage);
PG_FUNCTION_INFO_V1(mrb_shown_uri);

/* Name of an artifact that cannot exist, before a random suffix. */
#define ABSENT_NAME "miosa-test"

static Datum call_test_storage(PG_FUNCTION_ARGS);
static char *absent_uri(const char *uri);
static void check_uri(const char *uri, MrbArtifactCheck *check);
static const char *verdict(const MrbArtifactCheck *it,
						   const MrbArtifactCheck *absent);
static void append_check(StringInfo out, const char *name,
						 const MrbArtifactCheck *check);

/*
 * miosa.shown_uri(uri): what the caller may see of it
 */
Datum
mrb_shown_uri(PG_FUNCTION_ARGS)
{
	char	   *uri = text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (mrb_actor_fetches())
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	PG_RETURN_TEXT_P(cstring_to_text(mrb_shown_uri_mask(uri)));
}

/*
 * miosa_test_storage(storage_uri)
 */
Datum
miosa_test_storage(PG_FUNCTION_ARGS)
{
	mrb_tenancy_require_all("function miosa_test_storage");
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
	char	   *missing_uri = absent_uri(uri);
	MrbArtifactCheck it;
	MrbArtifactCheck absent;
	StringInfoData out;

	if (missing_uri == NULL)
		mrb_check_argument_refuse("argument", "storage_uri",
								  mrb_shown_uri_mask(uri),
								  "The URI has no scheme, or nothing after the scheme.",
								  "Pass the URI of an artifact that exists: SELECT miosa_test_storage('s3://bucket/key');");
	check_uri(uri, &it);
	check_uri(missing_uri, &absent);

	initStringInfo(&out);
	mrb_json_build_object(&out, NULL);
	mrb_json_build_object(&out, "data");
	append_check(&out, "artifact", &it);
	append_check(&out, "absent", &absent);
	mrb_json_build_string(&out, "verdict", verdict(&it, &absent));
	mrb_json_build_end(&out);
	mrb_json_build_end(&out);
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}

/*
 * Make the URI of an artifact beside the given one, which cannot exist; NULL if
 * the given one is no URI.  The query is left out, because it may be a signature
 * of the whole URL.
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
 * Check an artifact as an operation does, but ignore recent verifications.
 */
static void
check_uri(const char *uri, MrbArtifactCheck *check)
{
	MrbArtifact artifact = {.uri = uri,.size = -1};
	MrbArtifactHttp *probe = mrb_artifact_begin(&artifact, check);

	if (probe != NULL)
		mrb_artifact_http_run(probe, check);
}

/*
 * Describe what both answers mean.
 */
static const char *
verdict(const MrbArtifactCheck *it, const MrbArtifactCheck *absent)
{
	if (!it->probed && it->state == MRB_ARTIFACT_PRESENT)
		return "storage is not asked, and the recorded state decides; for s3:// set storage up with miosa_put_storage()";
	if (!it->probed)
		return "storage cannot be asked";
	if (absent->state == MRB_ARTIFACT_PRESENT)
		return "storage reports every artifact as present, even one that cannot exist, so it would never report one as gone";
	if (absent->state == MRB_ARTIFACT_GONE)
	{
		if (it->state == MRB_ARTIFACT_PRESENT)
			return "ok: storage distinguishes present from missing artifacts";
		if (it->state == MRB_ARTIFACT_GONE)
			return "ok: storage can be asked, but this artifact is missing";
		return "storage reports missing artifacts, but not the state of this one; see artifact";
	}
	if (it->state == MRB_ARTIFACT_PRESENT)
		return "storage has the artifact, but does not report missing ones, so their versions are refused as unverified; on S3 grant s3:ListBucket";
	return "storage does not report which artifacts it has; check address, region and secret";
}

/*
 * Append an answer as a member.
 */
static void
append_check(StringInfo out, const char *name, const MrbArtifactCheck *check)
{
	static const char *const states[] = {
		[MRB_ARTIFACT_PRESENT] = "present",
		[MRB_ARTIFACT_GONE] = "gone",
		[MRB_ARTIFACT_UNKNOWN] = "unknown",
	};

	mrb_json_build_object(out, name);
	mrb_json_build_boolean(out, "asked", check->probed);
	mrb_json_build_string(out, "state", states[check->state]);
	mrb_json_build_string(out, "detail", check->detail);
	mrb_json_build_end(out);
}
