/*-------------------------------------------------------------------------
 *
 * artifact.c
 *	  Check whether the artifact of a version is still in storage.
 *
 * Only two results are certain: storage has the artifact, or reports that it does
 * not exist.  After anything else (a refusal, a redirection, no response) it is
 * unknown, and the caller decides.
 *
 * The publisher of a version writes its storage URI, and the server sends a
 * request to it.  So the rules of http.c on private addresses apply, files must
 * be below one directory, and neither credentials nor the query of a presigned
 * URL appear in messages.
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
#include "common/array.h"
#include "common/query.h"

/* LATERAL has each release looked up by its key. */
static MrbQuery remember_query = {
	.sql = "UPDATE miosa.releases r"
	" SET verified_at = pg_catalog.clock_timestamp(), missing_at = NULL"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) u (deployment_id, id)"
	" CROSS JOIN LATERAL (SELECT s.deployment_id, s.id FROM miosa.releases s"
	" WHERE s.deployment_id = u.deployment_id AND s.id = u.id"
	" FOR NO KEY UPDATE SKIP LOCKED) free"
	" WHERE r.deployment_id = free.deployment_id AND r.id = free.id",
	.nargs = 2,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID},
	.expected = MRB_QUERY_UPDATE,
};

/* Not for one that was collected, or that was verified since. */
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

static bool is_checked(const char *uri);
static bool has_scheme(const char *uri, const char *scheme);

/*
 * Check an artifact, using the last verification if it is recent.
 */
void
mrb_artifact_verify(const MrbArtifact *artifact, bool ask,
					MrbArtifactCheck *check)
{
	MrbArtifactHttp *probe;

	if (!ask && mrb_artifact_read_recent(artifact, check))
		return;
	probe = mrb_artifact_begin(artifact, check);
	if (probe != NULL)
		mrb_artifact_http_run(probe, check);
	mrb_artifact_grant_grace(artifact, check);
}

/*
 * Check an artifact by the last verification, if that is recent enough.
 */
bool
mrb_artifact_read_recent(const MrbArtifact *artifact, MrbArtifactCheck *check)
{
	if (!mrb_artifact_is_younger(artifact->verified_at, mrb_artifact_max_age))
		return false;
	memset(check, 0, sizeof(*check));
	mrb_artifact_check_set(check, MRB_ARTIFACT_PRESENT,
						   psprintf("Storage had it at %s.",
									timestamptz_to_str(artifact->verified_at)));
	return true;
}

/*
 * Let a recent verification count if the result is unknown.
 */
void
mrb_artifact_grant_grace(const MrbArtifact *artifact, MrbArtifactCheck *check)
{
	check->grace = check->state == MRB_ARTIFACT_UNKNOWN &&
		mrb_artifact_is_younger(artifact->verified_at,
								Max(mrb_artifact_unknown_grace,
									mrb_artifact_max_age));
}

/*
 * Check an artifact up to where a request over HTTP is needed, and return it.
 */
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
						   pstrdup("Storage of this kind is not checked; the database has a record of the artifact."));
	return NULL;
}

/*
 * Check an artifact without a request to storage.
 */
void
mrb_artifact_read_record(const MrbArtifact *artifact, MrbArtifactCheck *check)
{
	memset(check, 0, sizeof(*check));
	if (mrb_artifact_read_recent(artifact, check))
		return;
	if (artifact->missing_at != 0)
		mrb_artifact_check_set(check, MRB_ARTIFACT_GONE,
							   psprintf("Storage did not have it at %s.",
										timestamptz_to_str(artifact->missing_at)));
	else if (!is_checked(artifact->uri))
		mrb_artifact_check_set(check, MRB_ARTIFACT_PRESENT,
							   pstrdup("Storage of this kind is not checked; the database has a record of the artifact."));
	else
	{
		mrb_artifact_check_set(check, MRB_ARTIFACT_UNKNOWN,
							   artifact->verified_at != 0 ?
							   psprintf("Storage last had it at %s.",
										timestamptz_to_str(artifact->verified_at)) :
							   pstrdup("Storage was never asked for it."));
		check->grace = mrb_artifact_is_younger(artifact->verified_at,
											   mrb_artifact_unknown_grace);
	}
}

/*
 * Whether artifacts of such a URI are checked in storage.
 */
static bool
is_checked(const char *uri)
{
	if (has_scheme(uri, "http") || has_scheme(uri, "https"))
		return true;
	if (has_scheme(uri, "s3"))
		return mrb_storage_find(uri) != NULL;
	return mrb_artifact_is_file(uri) && mrb_artifact_file_root != NULL &&
		mrb_artifact_file_root[0] != '\0';
}

/*
 * Whether a URI is that of a file.
 */
bool
mrb_artifact_is_file(const char *uri)
{
	return has_scheme(uri, "file");
}

/*
 * Whether a verification is no older than so many seconds; never for a time in
 * the future.
 */
bool
mrb_artifact_is_younger(TimestampTz verified_at, int seconds)
{
	TimestampTz now = GetCurrentTimestamp();

	return verified_at != 0 && verified_at <= now &&
		now - verified_at < (int64) seconds * USECS_PER_SEC;
}

/*
 * Record a verification, unless the row is locked: it is not worth a wait.
 */
void
mrb_artifact_record_present(const char *deployment_id, const char *release_id)
{
	Datum		deployment = CStringGetTextDatum(deployment_id);
	Datum		release = CStringGetTextDatum(release_id);

	mrb_artifact_record_all_present(&deployment, &release, 1);
}

/*
 * Record many verifications in one statement.
 */
void
mrb_artifact_record_all_present(Datum *deployment_ids, Datum *release_ids, int n)
{
	Datum		values[2];

	values[0] = mrb_array_make(deployment_ids, NULL, n, TEXTOID);
	values[1] = mrb_array_make(release_ids, NULL, n, TEXTOID);
	mrb_query_open();
	mrb_query_run(&remember_query, values, NULL);
	mrb_query_close();
}

/*
 * Record that an artifact is missing, unless the row is locked; whether it was not
 * recorded before.
 */
bool
mrb_artifact_record_missing(const char *deployment_id, const char *release_id,
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

/*
 * Log that an artifact is missing.
 */
void
mrb_artifact_log_missing(const char *deployment_id, const char *version_id,
						 const MrbArtifactCheck *check)
{
	ereport(LOG,
			(errmsg("the artifact of version \"%s\" of deployment \"%s\" is gone from storage",
					version_id, deployment_id),
			 errdetail_internal("%s", check->detail),
			 errhint("See what can be restored with SELECT * FROM miosa.candidates('%s');",
					 deployment_id)));
}

/*
 * Whether a URI has a scheme.
 */
static bool
has_scheme(const char *uri, const char *scheme)
{
	size_t		len = strlen(scheme);

	return pg_strncasecmp(uri, scheme, len) == 0 &&
		strncmp(uri + len, "://", 3) == 0;
}
