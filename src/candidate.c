/*-------------------------------------------------------------------------
 *
 * candidate.c
 *	  Versions that a rollback could return to when none is named.
 *
 * Promotion pushes, rollback pops: a promoted version remembers which one it
 * replaced, and following that memory goes further back with every rollback,
 * never forth to the bad version.  Rows that were loaded without operations
 * have no such memory; among them the order of promotion decides, else the
 * version numbers.  A version that an operation has promoted is no part of
 * these two: it may have been rolled back from.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "candidate.h"
#include "query.h"

/*
 * The walk begins at the active version.  Where it ends at a version that no
 * operation ever promoted, what was loaded goes on from there, always to a
 * version that is smaller in (promoted_at, version_number), null first: so
 * the walk cannot come back to where it was.
 */
static MrbQuery list_query = {
	.sql = "WITH RECURSIVE chain AS ("
	" SELECT 0 AS step, v.id, v.promoted_over, ARRAY[v.id] AS seen"
	" FROM miosa.deployments p JOIN miosa.versions v"
	" ON v.deployment_id = p.id AND v.id = p.active_version_id"
	" WHERE p.id = $1"
	" UNION ALL"
	" SELECT c.step + 1, v.id, v.promoted_over, c.seen || v.id"
	" FROM chain c JOIN miosa.versions v"
	" ON v.deployment_id = $1 AND v.id = c.promoted_over"
	" WHERE v.id <> ALL (c.seen) AND c.step < 1000"
	"), loaded_end AS ("
	" SELECT v.promoted_at, v.version_number"
	" FROM chain c JOIN miosa.versions v"
	" ON v.deployment_id = $1 AND v.id = c.id"
	" WHERE c.promoted_over IS NULL AND v.promotion_seq IS NULL"
	"), ranked AS ("
	" SELECT 1 AS source, c.step::bigint AS rank, 'promoted_over' AS rule, c.id"
	" FROM chain c WHERE c.step > 0"
	" UNION ALL"
	" SELECT 2, row_number() OVER (ORDER BY v.promoted_at DESC, v.version_number DESC),"
	" 'promoted_at', v.id FROM loaded_end e JOIN miosa.versions v"
	" ON v.deployment_id = $1 AND v.promotion_seq IS NULL"
	" AND (v.promoted_at, v.version_number) < (e.promoted_at, e.version_number)"
	" UNION ALL"
	" SELECT 3, e.version_number - v.version_number, 'version_number', v.id"
	" FROM loaded_end e JOIN miosa.versions v"
	" ON v.deployment_id = $1 AND v.promotion_seq IS NULL"
	" AND v.promoted_at IS NULL AND v.version_number < e.version_number"
	") SELECT v.id, v.version_number, k.rule,"
	" CASE WHEN v.state <> 'ready' THEN 'its state is ' || v.state"
	" WHEN r.collected_at IS NOT NULL THEN 'its artifact was collected'"
	" END, r.storage_uri, r.size_bytes, r.verified_at, r.missing_at, r.id"
	" FROM ranked k JOIN miosa.versions v ON v.deployment_id = $1 AND v.id = k.id"
	" LEFT JOIN miosa.releases r"
	" ON r.deployment_id = $1 AND r.deployment_version_id = v.id"
	" ORDER BY k.source, k.rank LIMIT 1000",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* Who goes back is never sent forth: that may be where the trouble came from. */
static MrbQuery nearest_query = {
	.sql = "SELECT v.id FROM miosa.deployments p"
	" JOIN miosa.versions t ON t.deployment_id = p.id AND t.id = $2"
	" LEFT JOIN miosa.versions a"
	" ON a.deployment_id = p.id AND a.id = p.active_version_id"
	" JOIN miosa.versions v ON v.deployment_id = p.id AND v.state = 'ready'"
	" AND v.id <> t.id AND v.id IS DISTINCT FROM a.id"
	" AND (a.id IS NULL OR t.version_number > a.version_number"
	" OR v.version_number < a.version_number)"
	" LEFT JOIN miosa.releases r"
	" ON r.deployment_id = p.id AND r.deployment_version_id = v.id"
	" WHERE p.id = $1 AND r.collected_at IS NULL"
	" ORDER BY abs(v.version_number - t.version_number), v.version_number LIMIT 1",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
};

/*
 * What a rollback from the active version would try, in that order.
 */
List *
mrb_candidate_list(const char *deployment_id)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext spi;
	Datum		values[1];
	List	   *list = NIL;
	uint64		rows;

	values[0] = CStringGetTextDatum(deployment_id);
	mrb_query_open();
	rows = mrb_query_run(&list_query, values, NULL);
	spi = MemoryContextSwitchTo(context);
	for (uint64 row = 0; row < rows; row++)
	{
		MrbCandidate *it = palloc(sizeof(MrbCandidate));

		it->id = mrb_query_text(row, 1);
		it->number = mrb_query_int32(row, 2, 0);
		it->rule = mrb_query_text(row, 3);
		it->why_not = mrb_query_text(row, 4);
		it->artifact.uri = mrb_query_text(row, 5);
		it->artifact.size = mrb_query_int64(row, 6, -1);
		it->artifact.verified_at = mrb_query_timestamp(row, 7, 0);
		it->missing_at = mrb_query_timestamp(row, 8, 0);
		it->release_id = mrb_query_text(row, 9);
		list = lappend(list, it);
	}
	MemoryContextSwitchTo(spi);
	mrb_query_close();
	return list;
}

/*
 * The restorable version nearest to the given one, the older of two.
 */
char *
mrb_candidate_nearest(const char *deployment_id, const char *version_id)
{
	Datum		values[2];
	char	   *nearest = NULL;

	values[0] = CStringGetTextDatum(deployment_id);
	values[1] = CStringGetTextDatum(version_id);
	mrb_query_open();
	if (mrb_query_run(&nearest_query, values, NULL) > 0)
		nearest = mrb_query_text(0, 1);
	mrb_query_close();
	return nearest;
}
