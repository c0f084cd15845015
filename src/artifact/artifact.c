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

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "artifact/artifact.h"
#include "artifact/artifact_file.h"
#include "artifact/artifact_http.h"
#include "base/guc.h"
#include "common/query.h"

static MrbQuery remember_query = {
	.sql = "UPDATE miosa.releases r"
	" SET verified_at = pg_catalog.clock_timestamp(), missing_at = NULL"
	" FROM (SELECT s.deployment_id, s.id FROM miosa.releases s"
	" WHERE s.deployment_id = $1 AND s.id = $2"
	" FOR NO KEY UPDATE SKIP LOCKED) free"
	" WHERE r.deployment_id = free.deployment_id AND r.id = free.id",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
	.expected = MRB_QUERY_UPDATE,
};

/* One that was collected is gone as it should be; one was seen since. */
static MrbQuery miss_query = {
	.sql = "UPDATE miosa.releases r"
	" SET verified_at = NULL, missing_at = pg_catalog.clock_timestamp()"
	" FROM (SELECT s.deployment_id, s.id, s.missing_at FROM miosa.releases s"
	" WHERE s.deployment_id = $1 AND s.id = $2 AND s.collected_at IS NULL"
	" AND (s.verified_at IS NULL OR s.verified_at < $3)"
	" FOR NO KEY UPDATE SKIP LOCKED) free"
	" WHERE r.deployment_id = free.deployment_id AND r.id = free.id"
	" RETURNING free.missing_at IS NULL",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, TIMESTAMPTZOID},
	.expected = MRB_QUERY_UPDATE_RETURNING,
};

static bool is_asked(const char *uri);
static bool has_scheme(const char *uri, const char *scheme);

/*
 * Find out whether an artifact is there, as far as we can and may.
 */
void
mrb_artifact_check(const MrbArtifact *artifact, bool ask,
				   MrbArtifactCheck *check)
{
	MrbArtifactHttp *probe;

	if (!ask && mrb_artifact_younger(artifact->verified_at, mrb_artifact_max_age))
	{
		memset(check, 0, sizeof(*check));
		mrb_artifact_check_set(check, MRB_ARTIFACT_PRESENT,
							   psprintf("Storage had it at %s.",
										timestamptz_to_str(artifact->verified_at)));
		return;
	}
	probe = mrb_artifact_begin(artifact, check);
	if (probe != NULL)
		mrb_artifact_http_run(probe, check);
	check->grace = check->state == MRB_ARTIFACT_UNKNOWN &&
		mrb_artifact_younger(artifact->verified_at,
							 Max(mrb_artifact_unknown_grace,
								 mrb_artifact_max_age));
}

MrbArtifactHttp *
mrb_artifact_begin(const MrbArtifact *artifact, MrbArtifactCheck *check)
{
	const char *uri = artifact->uri;

	memset(check, 0, sizeof(*check));
	if (has_scheme(uri, "http") || has_scheme(uri, "https"))
		return mrb_artifact_http_url(artifact, check);
	if (has_scheme(uri, "s3"))
	{
		MrbStorage *storage = mrb_storage_find(uri);

		if (storage != NULL)
			return mrb_artifact_http_s3(artifact, storage, check);
	}
	else if (mrb_artifact_is_file(uri) && mrb_artifact_file_root != NULL &&
			 mrb_artifact_file_root[0] != '\0')
	{
		mrb_artifact_file_check(artifact, check);
		return NULL;
	}
	mrb_artifact_check_set(check, MRB_ARTIFACT_PRESENT,
						   pstrdup("Storage of this kind is not asked; our own record has it."));
	return NULL;
}

/*
 * What our own record says, for whoever must not wait for storage.
 */
void
mrb_artifact_recall(const MrbArtifact *artifact, MrbArtifactCheck *check)
{
	memset(check, 0, sizeof(*check));
	if (mrb_artifact_younger(artifact->verified_at, mrb_artifact_max_age))
		mrb_artifact_check_set(check, MRB_ARTIFACT_PRESENT,
							   psprintf("Storage had it at %s.",
										timestamptz_to_str(artifact->verified_at)));
	else if (artifact->missing_at != 0)
		mrb_artifact_check_set(check, MRB_ARTIFACT_GONE,
							   psprintf("Storage did not have it at %s.",
										timestamptz_to_str(artifact->missing_at)));
	else if (!is_asked(artifact->uri))
		mrb_artifact_check_set(check, MRB_ARTIFACT_PRESENT,
							   pstrdup("Storage of this kind is not asked; our own record has it."));
	else
	{
		mrb_artifact_check_set(check, MRB_ARTIFACT_UNKNOWN,
							   artifact->verified_at != 0 ?
							   psprintf("Storage last had it at %s.",
										timestamptz_to_str(artifact->verified_at)) :
							   pstrdup("Storage was never asked for it."));
		check->grace = mrb_artifact_younger(artifact->verified_at,
											mrb_artifact_unknown_grace);
	}
}

/*
 * Whether storage is asked for artifacts of such a URI.
 */
static bool
is_asked(const char *uri)
{
	if (has_scheme(uri, "http") || has_scheme(uri, "https"))
		return true;
	if (has_scheme(uri, "s3"))
		return mrb_storage_find(uri) != NULL;
	return mrb_artifact_is_file(uri) && mrb_artifact_file_root != NULL &&
		mrb_artifact_file_root[0] != '\0';
}

bool
mrb_artifact_is_file(const char *uri)
{
	return has_scheme(uri, "file");
}

/*
 * A time in the future says nothing.
 */
bool
mrb_artifact_younger(TimestampTz verified_at, int seconds)
{
	TimestampTz now = GetCurrentTimestamp();

	return verified_at != 0 && verified_at <= now &&
		now - verified_at < (int64) seconds * USECS_PER_SEC;
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

bool
mrb_artifact_miss(const char *deployment_id, const char *release_id,
				  TimestampTz asked_at)
{
	Datum		values[3];
	bool		news;

	values[0] = CStringGetTextDatum(deployment_id);
	values[1] = CStringGetTextDatum(release_id);
	values[2] = TimestampTzGetDatum(asked_at);
	mrb_query_open();
	news = mrb_query_run(&miss_query, values, NULL) > 0 &&
		mrb_query_bool(0, 1);
	mrb_query_close();
	return news;
}

void
mrb_artifact_report(const char *deployment_id, const char *version_id,
					const MrbArtifactCheck *check)
{
	ereport(LOG,
			(errmsg("the artifact of version \"%s\" of deployment \"%s\" is gone from storage",
					version_id, deployment_id),
			 errdetail_internal("%s", check->detail),
			 errhint("See what can be restored with SELECT * FROM miosa.candidates('%s');",
					 deployment_id)));
}

static bool
has_scheme(const char *uri, const char *scheme)
{
	size_t		len = strlen(scheme);

	return pg_strncasecmp(uri, scheme, len) == 0 &&
		strncmp(uri + len, "://", 3) == 0;
}
