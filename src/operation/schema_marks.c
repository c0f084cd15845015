/*-------------------------------------------------------------------------
 *
 * schema_marks.c
 *	  Schema changes that are marked as incompatible.
 *
 * A version, or its release, is marked by "migration_compatibility":
 * "incompatible" in its metadata.  A move to an older version crosses the mark
 * if it is on the active version or on the target, on a version that was
 * promoted after the target was last promoted, or on a version whose number is
 * between the two, because code builds on the code before it.
 *
 * Marks are rare: for most deployments a look-up in a partial index finds that
 * nothing is marked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "common/index_lookup.h"
#include "common/query.h"
#include "operation/schema_marks.h"

PG_FUNCTION_INFO_V1(mrb_schema_marks);

static MrbIndexLookup marked_version = {
	.table.name = "versions",
	.table.index = "versions_marked",
	.table.columns = {"id"},
};

static MrbIndexLookup marked_release = {
	.table.name = "releases",
	.table.index = "releases_marked",
	.table.columns = {"id"},
};

/* $2 is the target, $3 the active version. */
static MrbQuery marks_query = {
	.sql = "WITH target AS MATERIALIZED ("
	" SELECT t.version_number, t.promotion_seq, t.promoted_at,"
	" a.version_number AS active FROM miosa.versions t"
	" JOIN miosa.versions a ON a.deployment_id = t.deployment_id AND a.id = $3"
	" WHERE t.deployment_id = $1 AND t.id = $2"
	"), marked AS MATERIALIZED ("
	" SELECT m.id FROM miosa.versions m WHERE m.deployment_id = $1"
	" AND m.metadata -> 'migration_compatibility' = '\"incompatible\"'"
	" UNION"
	" SELECT r.deployment_version_id FROM miosa.releases r"
	" WHERE r.deployment_id = $1"
	" AND r.metadata -> 'migration_compatibility' = '\"incompatible\"')"
	" SELECT v.id FROM target t CROSS JOIN marked m"
	" JOIN miosa.versions v ON v.deployment_id = $1 AND v.id = m.id"
	" WHERE v.id IN ($2, $3)"
	" OR (v.version_number > t.version_number AND v.version_number < t.active)"
	" OR CASE WHEN t.promotion_seq IS NOT NULL"
	" THEN v.promotion_seq > t.promotion_seq"
	" ELSE v.promoted_at > t.promoted_at END"
	" ORDER BY v.version_number DESC",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID},
};

static bool is_marked(MrbIndexLookup *row, const char *deployment_id);
static bool anything_marked(const char *deployment_id);

/*
 * miosa.schema_marks(deployment_id, version_id)
 */
Datum
mrb_schema_marks(PG_FUNCTION_ARGS)
{
	MrbDeployment *deployment = NULL;
	ArrayBuildState *ids = initArrayResult(TEXTOID, CurrentMemoryContext,
										   false);
	ListCell   *cell;

	if (!PG_ARGISNULL(0) && !PG_ARGISNULL(1))
	{
		char	   *id = text_to_cstring(PG_GETARG_TEXT_PP(0));

		if (anything_marked(id))
			deployment = mrb_deployment_read(id,
											 text_to_cstring(PG_GETARG_TEXT_PP(1)),
											 NULL);
	}
	if (deployment != NULL)
	{
		mrb_schema_marks_read(deployment);
		foreach(cell, deployment->marked)
			ids = accumArrayResult(ids, CStringGetTextDatum(lfirst(cell)),
								   false, TEXTOID, CurrentMemoryContext);
	}
	PG_RETURN_DATUM(makeArrayResult(ids, CurrentMemoryContext));
}

/*
 * Find the marks that a move to an older version crosses.
 */
void
mrb_schema_marks_read(MrbDeployment *deployment)
{
	const MrbVersion *active = &deployment->active;
	const MrbVersion *target = &deployment->target;
	Datum		values[3];
	uint64		rows;

	deployment->marked = NIL;
	if (active->id == NULL || target->id == NULL ||
		target->number >= active->number || !anything_marked(deployment->id))
		return;
	values[0] = CStringGetTextDatum(deployment->id);
	values[1] = CStringGetTextDatum(target->id);
	values[2] = CStringGetTextDatum(active->id);
	mrb_query_open();
	rows = mrb_query_run(&marks_query, values, NULL);
	for (uint64 row = 0; row < rows; row++)
		deployment->marked = lappend(deployment->marked, mrb_query_text(row, 1));
	mrb_query_close();
}

/*
 * Whether any version or release of the deployment is marked.
 */
static bool
anything_marked(const char *deployment_id)
{
	bool		it;

	mrb_index_lookup_begin();
	it = is_marked(&marked_version, deployment_id) ||
		is_marked(&marked_release, deployment_id);
	mrb_index_lookup_end();
	return it;
}

/*
 * Whether an index of marked rows has an entry of the deployment.
 */
static bool
is_marked(MrbIndexLookup *row, const char *deployment_id)
{
	if (!mrb_index_lookup_find(row, deployment_id, NULL))
		return false;
	mrb_index_lookup_close(row);
	return true;
}
