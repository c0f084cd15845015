/*-------------------------------------------------------------------------
 *
 * due_artifacts.c
 *	  Artifacts whose verification is due.
 *
 * A rollback trusts a verification for miosa_rollback.artifact_max_age; after
 * that it has to wait for storage, which is unwelcome in an incident.  The
 * versions that a rollback would choose are therefore verified in advance: the
 * default target of every deployment and, while the artifact of that is
 * missing, the versions that would be chosen instead.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"

#include "base/guc.h"
#include "common/index_lookup.h"
#include "common/query.h"
#include "operation/candidates.h"
#include "verifier/due_artifacts.h"

/* A rollback tries no more versions than that either. */
#define MAX_MISSING MRB_CANDIDATE_ENOUGH

/* Deliveries wait while a page is read. */
#define BUDGET_MS 10

static MrbQuery page_query = {
	.sql = "SELECT p.id FROM miosa.deployments p"
	" WHERE p.id > $1 AND p.active_version_id IS NOT NULL"
	" ORDER BY p.id LIMIT $2",
	.nargs = 2,
	.argtypes = {TEXTOID, INT4OID},
};

static MrbQuery estimate_query = {
	.sql = "SELECT greatest(c.reltuples, 0)::pg_catalog.int8"
	" FROM pg_catalog.pg_class c"
	" WHERE c.oid = 'miosa.deployments'::pg_catalog.regclass",
};

static List *read_ids(const char *after, int limit);
static List *add_due(List *due, char *deployment_id);
static bool is_due(const MrbVersion *version);

/*
 * At least one deployment is scanned, so that a slow one does not stop the
 * round.
 */
List *
mrb_due_artifacts_list(const char *after, int limit, char **last, int *scanned)
{
	List	   *ids = read_ids(after, limit);
	List	   *due = NIL;
	ListCell   *cell;
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	*last = NULL;
	*scanned = 0;
	foreach(cell, ids)
	{
		instr_time	now;

		INSTR_TIME_SET_CURRENT(now);
		INSTR_TIME_SUBTRACT(now, start);
		if (*scanned > 0 && INSTR_TIME_GET_MILLISEC(now) > BUDGET_MS)
			return due;
		*last = lfirst(cell);
		(*scanned)++;
		due = add_due(due, *last);
	}
	if (*scanned < limit)
		*last = NULL;
	return due;
}

/*
 * The statistics are those of the last ANALYZE or VACUUM.
 */
int64
mrb_due_artifacts_estimate(void)
{
	int64		estimate;

	mrb_query_open();
	mrb_query_run(&estimate_query, NULL, NULL);
	estimate = mrb_query_int64(0, 1, 0);
	mrb_query_close();
	return estimate;
}

/*
 * Read the ids of the next deployments that have an active version.
 */
static List *
read_ids(const char *after, int limit)
{
	Datum		values[2];
	List	   *ids = NIL;
	uint64		rows;

	values[0] = CStringGetTextDatum(after);
	values[1] = Int32GetDatum(limit);
	mrb_query_open();
	rows = mrb_query_run(&page_query, values, NULL);
	for (uint64 row = 0; row < rows; row++)
		ids = lappend(ids, mrb_query_text(row, 1));
	mrb_query_close();
	return ids;
}

/*
 * Append what is due of a deployment, in the order in which a rollback would
 * try the versions.
 */
static List *
add_due(List *due, char *deployment_id)
{
	MrbDeployment *deployment;
	MrbCandidates *search;
	MrbCandidate *candidate;
	int			missing = 0;

	mrb_index_lookup_begin();
	deployment = mrb_deployment_look(deployment_id, NULL, NULL);
	search = deployment != NULL ? mrb_candidates_begin(deployment) : NULL;
	while (search != NULL && missing < MAX_MISSING &&
		   (candidate = mrb_candidates_next(search)) != NULL)
	{
		const MrbVersion *version = &candidate->version;

		if (candidate->why_not != NULL)
			continue;
		if (is_due(version))
		{
			MrbDueArtifact *found = palloc(sizeof(MrbDueArtifact));

			found->deployment_id = deployment_id;
			found->version_id = version->id;
			found->release_id = version->release_id;
			found->artifact = version->artifact;
			due = lappend(due, found);
		}
		if (version->artifact.missing_at == 0)
			break;
		missing++;
	}
	mrb_index_lookup_end();
	return due;
}

/*
 * A verification is due at half of its maximum age.  A missing artifact is
 * checked as often, since it can be restored.
 */
static bool
is_due(const MrbVersion *version)
{
	return version->release_id != NULL &&
		!mrb_artifact_is_younger(Max(version->artifact.verified_at, version->artifact.missing_at),
								 mrb_artifact_max_age / 2);
}
