/*-------------------------------------------------------------------------
 *
 * due_artifacts.c
 *	  Artifacts that storage should be asked for again.
 *
 * A rollback trusts a verification for miosa_rollback.artifact_max_age, and asks
 * storage otherwise, which in an incident is the wrong moment.  So what it would
 * go to is verified before: of every deployment the version that would be chosen,
 * and while that one is missing also those that would be chosen in its place.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"

#include "base/guc.h"
#include "common/query.h"
#include "operation/candidates.h"
#include "verifier/due_artifacts.h"

/* A rollback asks for no more of them either. */
#define MISSING_MAX MRB_CANDIDATE_ENOUGH

/* Deliveries may wait meanwhile. */
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

static List *page(const char *after, int most);
static List *add_due(List *due, char *deployment_id);
static bool is_due(const MrbCandidate *it);

List *
mrb_due_artifacts_list(const char *after, int most, char **last, int *looked)
{
	List	   *ids = page(after, most);
	List	   *due = NIL;
	ListCell   *cell;
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	*last = NULL;
	*looked = 0;
	foreach(cell, ids)
	{
		instr_time	now;

		INSTR_TIME_SET_CURRENT(now);
		INSTR_TIME_SUBTRACT(now, start);
		if (*looked > 0 && INSTR_TIME_GET_MILLISEC(now) > BUDGET_MS)
			return due;
		*last = lfirst(cell);
		(*looked)++;
		due = add_due(due, *last);
	}
	if (*looked < most)
		*last = NULL;
	return due;
}

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

static List *
page(const char *after, int most)
{
	MemoryContext context = CurrentMemoryContext;
	Datum		values[2];
	List	   *ids = NIL;
	uint64		rows;

	values[0] = CStringGetTextDatum(after);
	values[1] = Int32GetDatum(most);
	mrb_query_open();
	rows = mrb_query_run(&page_query, values, NULL);
	for (uint64 row = 0; row < rows; row++)
	{
		char	   *id = mrb_query_text(row, 1);
		MemoryContext spi = MemoryContextSwitchTo(context);

		ids = lappend(ids, id);
		MemoryContextSwitchTo(spi);
	}
	mrb_query_close();
	return ids;
}

/*
 * Walk through the versions as a rollback would.
 */
static List *
add_due(List *due, char *deployment_id)
{
	ListCell   *cell;
	int			missing = 0;

	foreach(cell, mrb_candidates_list(deployment_id))
	{
		MrbCandidate *it = lfirst(cell);

		if (it->why_not != NULL)
			continue;
		if (is_due(it))
		{
			MrbDueArtifact *found = palloc(sizeof(MrbDueArtifact));

			found->deployment_id = deployment_id;
			found->version_id = it->id;
			found->release_id = it->release_id;
			found->artifact = it->artifact;
			due = lappend(due, found);
		}
		if (it->artifact.missing_at == 0 || ++missing >= MISSING_MAX)
			break;
	}
	return due;
}

/*
 * Long before the verification is too old, and what is missing as often, for
 * it may have come back.
 */
static bool
is_due(const MrbCandidate *it)
{
	return it->release_id != NULL &&
		!mrb_artifact_younger(Max(it->artifact.verified_at, it->artifact.missing_at),
							  mrb_artifact_max_age / 2);
}
