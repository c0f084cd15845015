/*-------------------------------------------------------------------------
 *
 * verifier_api.c
 *	  SQL-callable functions that verify artifacts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "artifact/artifact_http.h"
#include "base/guc.h"
#include "common/lock_wait.h"
#include "common/query.h"
#include "operation/tenancy.h"
#include "verifier/due_artifacts.h"

PG_FUNCTION_INFO_V1(mrb_due_artifacts);
PG_FUNCTION_INFO_V1(mrb_verify_artifact);

/* Deployments that one call reads. */
#define PAGE 100

/* Columns of miosa.due_artifacts(). */
enum
{
	DUE_LAST,
	DUE_DEPLOYMENTS,
	DUE_RELEASES,
	DUE_COLUMNS
};

/* Columns of release_query, from 1. */
enum
{
	RELEASE_VERSION = 1,
	RELEASE_URI,
	RELEASE_SIZE
};

static MrbQuery release_query = {
	.sql = "SELECT r.deployment_version_id, r.storage_uri, r.size_bytes"
	" FROM miosa.releases r"
	" WHERE r.deployment_id = $1 AND r.id = $2 AND r.collected_at IS NULL",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
};

static Datum call_due_artifacts(PG_FUNCTION_ARGS);
static Datum call_verify_artifact(PG_FUNCTION_ARGS);
static Datum text_array(const char **items, int n);
static bool find_release(char *deployment_id, char *release_id, MrbDueArtifact *due);
static const char *verify(const MrbDueArtifact *due);

/*
 * miosa.due_artifacts(after): a page of artifacts to verify
 */
Datum
mrb_due_artifacts(PG_FUNCTION_ARGS)
{
	mrb_tenancy_require_all("function due_artifacts");
	return mrb_lock_wait_call(MRB_INNER, call_due_artifacts, fcinfo);
}

/*
 * mrb_due_artifacts(), with bounded waits.
 */
static Datum
call_due_artifacts(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	List	   *due = NIL;
	ListCell   *cell;
	char	   *last = NULL;
	int			looked = 0;
	const char **deployments;
	const char **releases;
	int			n = 0;
	Datum		values[DUE_COLUMNS];
	bool		nulls[DUE_COLUMNS] = {false};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (mrb_artifact_max_age > 0)
		due = mrb_due_artifacts_list(text_to_cstring(PG_GETARG_TEXT_PP(0)), PAGE, &last,
									 &looked);
	deployments = palloc((list_length(due) + 1) * sizeof(char *));
	releases = palloc((list_length(due) + 1) * sizeof(char *));
	foreach(cell, due)
	{
		MrbDueArtifact *it = lfirst(cell);

		deployments[n] = it->deployment_id;
		releases[n++] = it->release_id;
	}
	nulls[DUE_LAST] = last == NULL;
	values[DUE_LAST] = last ? CStringGetTextDatum(last) : (Datum) 0;
	values[DUE_DEPLOYMENTS] = text_array(deployments, n);
	values[DUE_RELEASES] = text_array(releases, n);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc),
													  values, nulls)));
}

/*
 * miosa.verify_artifact(deployment_id, release_id): verify one artifact now
 */
Datum
mrb_verify_artifact(PG_FUNCTION_ARGS)
{
	mrb_tenancy_require_all("function verify_artifact");
	return mrb_lock_wait_call(MRB_INNER, call_verify_artifact, fcinfo);
}

/*
 * mrb_verify_artifact(), with bounded waits.
 */
static Datum
call_verify_artifact(PG_FUNCTION_ARGS)
{
	MrbDueArtifact due;

	if (!find_release(text_to_cstring(PG_GETARG_TEXT_PP(0)),
					  text_to_cstring(PG_GETARG_TEXT_PP(1)), &due))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(verify(&due)));
}

/*
 * Make an array of n texts.
 */
static Datum
text_array(const char **items, int n)
{
	Datum	   *datums = palloc((n + 1) * sizeof(Datum));

	for (int i = 0; i < n; i++)
		datums[i] = CStringGetTextDatum(items[i]);
	return PointerGetDatum(construct_array(datums, n, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

/*
 * Read the artifact of a release; false if there is none or it was collected.
 */
static bool
find_release(char *deployment_id, char *release_id, MrbDueArtifact *due)
{
	Datum		values[2];
	bool		found;

	MemSet(due, 0, sizeof(*due));
	due->deployment_id = deployment_id;
	due->release_id = release_id;
	values[0] = CStringGetTextDatum(deployment_id);
	values[1] = CStringGetTextDatum(release_id);
	mrb_query_open();
	found = mrb_query_run(&release_query, values, NULL) > 0;
	if (found)
	{
		due->version_id = mrb_query_text(0, RELEASE_VERSION);
		due->artifact.uri = mrb_query_text(0, RELEASE_URI);
		due->artifact.size = mrb_query_int64(0, RELEASE_SIZE, -1);
	}
	mrb_query_close();
	return found;
}

/*
 * Ask storage, whatever was verified before, and record the answer.
 */
static const char *
verify(const MrbDueArtifact *due)
{
	MrbArtifactCheck check;
	TimestampTz asked_at = GetCurrentTimestamp();
	MrbArtifactHttp *probe = mrb_artifact_begin(&due->artifact, &check);

	if (probe != NULL)
		mrb_artifact_http_run(probe, &check);
	if (check.state == MRB_ARTIFACT_UNKNOWN)
		return "unknown";
	if (!check.probed)
		return "not asked";
	if (check.state == MRB_ARTIFACT_PRESENT)
	{
		mrb_artifact_record_present(due->deployment_id, due->release_id);
		return "present";
	}
	if (mrb_artifact_record_missing(due->deployment_id, due->release_id, asked_at))
		mrb_artifact_log_missing(due->deployment_id, due->version_id, &check);
	return "gone";
}
