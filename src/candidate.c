/*-------------------------------------------------------------------------
 *
 * candidate.c
 *	  Versions that a rollback could return to when none is named.
 *
 * Promotion pushes, rollback pops: a promoted version remembers which one it
 * replaced, and following that memory goes further back with every rollback,
 * never forth to the bad version.  Rows that were loaded without operations
 * have no such memory; for them the order of promotion decides, else the
 * version numbers.  These two are asked only where the memory has nothing at
 * all: a version that was rolled back from has a place in both.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "candidate.h"
#include "query.h"

static MrbQuery list_query = {
	.sql = "WITH RECURSIVE active AS MATERIALIZED ("
	" SELECT v.*, p.seq FROM miosa.deployments p"
	" JOIN miosa.versions v ON v.deployment_id = p.id"
	" AND v.id = p.active_version_id WHERE p.id = $1"
	"), chain AS ("
	" SELECT 1 AS step, a.promoted_over AS id, ARRAY[a.id] AS seen"
	" FROM active a WHERE a.promoted_over IS NOT NULL"
	" UNION ALL"
	" SELECT c.step + 1, v.promoted_over, c.seen || v.id"
	" FROM chain c JOIN miosa.versions v"
	" ON v.deployment_id = $1 AND v.id = c.id"
	" WHERE v.promoted_over IS NOT NULL"
	" AND v.promoted_over <> ALL (c.seen || v.id) AND c.step < 1000"
	"), ranked AS ("
	" SELECT 1 AS source, c.step::bigint AS rank, 'promoted_over' AS rule, c.id"
	" FROM chain c"
	" UNION ALL"
	" SELECT 2, row_number() OVER (ORDER BY v.promoted_at DESC, v.version_number DESC),"
	" 'promoted_at', v.id FROM active a JOIN miosa.versions v"
	" ON v.deployment_id = $1 AND v.promoted_at < a.promoted_at"
	" WHERE a.promoted_over IS NULL"
	" UNION ALL"
	" SELECT 3, a.version_number - v.version_number, 'version_number', v.id"
	" FROM active a JOIN miosa.versions v"
	" ON v.deployment_id = $1 AND v.version_number < a.version_number"
	" WHERE a.promoted_over IS NULL AND (a.promoted_at IS NULL"
	" OR a.seq = 0 AND v.promoted_at IS NULL)"
	") SELECT v.id, v.version_number, k.rule,"
	" CASE WHEN v.state <> 'ready' THEN 'its state is ' || v.state"
	" WHEN r.collected_at IS NOT NULL THEN 'its artifact was collected'"
	" END, r.storage_uri, r.verified_at"
	" FROM ranked k JOIN miosa.versions v ON v.deployment_id = $1 AND v.id = k.id"
	" LEFT JOIN miosa.releases r"
	" ON r.deployment_id = $1 AND r.deployment_version_id = v.id"
	" ORDER BY k.source, k.rank LIMIT 1000",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static MrbQuery nearest_query = {
	.sql = "SELECT v.id FROM miosa.versions v"
	" JOIN miosa.versions t ON t.deployment_id = $1 AND t.id = $2"
	" LEFT JOIN miosa.releases r"
	" ON r.deployment_id = $1 AND r.deployment_version_id = v.id"
	" WHERE v.deployment_id = $1 AND v.id <> $2 AND v.state = 'ready'"
	" AND r.collected_at IS NULL AND v.id IS DISTINCT FROM"
	" (SELECT p.active_version_id FROM miosa.deployments p WHERE p.id = $1)"
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
		it->storage_uri = mrb_query_text(row, 5);
		it->verified_at = mrb_query_timestamp(row, 6, 0);
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
