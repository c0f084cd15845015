/*-------------------------------------------------------------------------
 *
 * candidates.c
 *	  Versions that a rollback without a version could return to.
 *
 * Promotion pushes, rollback pops: promoted_over of a promoted version is the
 * version that it replaced, and following it goes further back with every
 * rollback, never forward to the faulty version.  Rows that were loaded
 * without operations have no promoted_over; they are ordered by promoted_at,
 * or by version_number where that is null.  A version that an operation has
 * promoted is not among these: it may have been rolled back from.
 *
 * Usually the first version qualifies, so the rows are read in two batches, a
 * small one and the rest, and reading ends when enough candidates were found.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "common/query.h"
#include "operation/candidates.h"

PG_FUNCTION_INFO_V1(mrb_default_target);

/* Rows of the first batch, and of both. */
#define FIRST_BATCH 8
#define MAX_ROWS 1000

/* An id has at most 255 characters. */
#define ID_SIZE 256

/* Columns of a version v and its release r, by enum FactColumn. */
#define FACTS \
	"v.id, v.version_number," \
	" CASE WHEN v.state <> 'ready' THEN 'its state is ' || v.state" \
	" WHEN r.collected_at IS NOT NULL THEN 'its artifact was collected'" \
	" END, r.storage_uri, r.size_bytes, r.verified_at, r.missing_at, r.id," \
	" v.state <> 'ready'"

/* Columns of FACTS, and those that chain_query adds, from 1. */
enum FactColumn
{
	FACT_ID = 1,
	FACT_NUMBER,
	FACT_WHY_NOT,
	FACT_URI,
	FACT_SIZE,
	FACT_VERIFIED,
	FACT_MISSING,
	FACT_RELEASE,
	FACT_NOT_READY,
	CHAIN_LOADED,				/* no operation promoted it */
	CHAIN_PROMOTED_AT
};

#define RELEASE \
	" LEFT JOIN miosa.releases r" \
	" ON r.deployment_id = v.deployment_id AND r.deployment_version_id = v.id"

typedef struct Walk
{
	Datum		deployment_id;
	List	   *list;
	int			qualifying;
	MemoryContext context;		/* of the list */
} Walk;

/* The last version of the chain, if no operation promoted it. */
typedef struct LoadedEnd
{
	bool		found;
	Datum		number;
	Datum		promoted_at;
	bool		never_promoted;
} LoadedEnd;

/*
 * The chain begins with the given version, or else the active one.  Without
 * OFFSET the planner may read all versions of a large deployment.
 */
static MrbQuery chain_query = {
	.sql = "WITH RECURSIVE chain AS ("
	" SELECT 0 AS step, v.* FROM miosa.versions v"
	" WHERE v.deployment_id = $1 AND v.id = coalesce($2, (SELECT p.active_version_id"
	" FROM miosa.deployments p WHERE p.id = $1))"
	" UNION ALL"
	" SELECT c.step + 1, v.*"
	" FROM chain c CROSS JOIN LATERAL (SELECT * FROM miosa.versions o"
	" WHERE o.deployment_id = $1 AND o.id = c.promoted_over OFFSET 0) v"
	" WHERE c.step < $3"
	") SELECT " FACTS ", v.promoted_over IS NULL AND v.promotion_seq IS NULL, v.promoted_at"
	" FROM chain v" RELEASE
	" ORDER BY v.step",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, INT4OID},
};

/*
 * If the chain ends with a version that no operation promoted, the loaded
 * versions that are smaller in (promoted_at, version_number), null first,
 * follow it, so no version comes twice.
 */
static MrbQuery promoted_query = {
	.sql = "SELECT " FACTS " FROM ("
	" SELECT o.id FROM miosa.versions o"
	" WHERE o.deployment_id = $1 AND o.promotion_seq IS NULL"
	" AND (o.promoted_at, o.version_number) < ($2, $3)"
	" ORDER BY o.promoted_at DESC, o.version_number DESC LIMIT $4 OFFSET $5) l"
	" JOIN miosa.versions v ON v.deployment_id = $1 AND v.id = l.id" RELEASE
	" ORDER BY v.promoted_at DESC, v.version_number DESC",
	.nargs = 5,
	.argtypes = {TEXTOID, TIMESTAMPTZOID, INT4OID, INT4OID, INT4OID},
};

static MrbQuery number_query = {
	.sql = "SELECT " FACTS " FROM ("
	" SELECT * FROM miosa.versions v"
	" WHERE v.deployment_id = $1 AND v.promotion_seq IS NULL"
	" AND v.promoted_at IS NULL AND v.version_number < $3"
	" ORDER BY v.version_number DESC LIMIT $4 OFFSET $5) v" RELEASE
	" ORDER BY v.version_number DESC",
	.nargs = 5,
	.argtypes = {TEXTOID, TIMESTAMPTZOID, INT4OID, INT4OID, INT4OID},
};

/* Never suggest a newer version: it may be the faulty one. */
static MrbQuery nearest_query = {
	.sql = "WITH target AS MATERIALIZED ("
	" SELECT t.deployment_id, t.version_number, p.active_version_id, a.version_number AS active"
	" FROM miosa.deployments p"
	" JOIN miosa.versions t ON t.deployment_id = p.id AND t.id = $2"
	" LEFT JOIN miosa.versions a"
	" ON a.deployment_id = p.id AND a.id = p.active_version_id"
	" WHERE p.id = $1"
	") SELECT n.id FROM target t CROSS JOIN LATERAL ("
	" (SELECT v.id, v.version_number FROM miosa.versions v" RELEASE
	" WHERE v.deployment_id = t.deployment_id AND v.version_number < t.version_number"
	" AND v.state = 'ready' AND r.collected_at IS NULL"
	" AND v.id IS DISTINCT FROM t.active_version_id"
	" ORDER BY v.version_number DESC LIMIT 1)"
	" UNION ALL"
	" (SELECT v.id, v.version_number FROM miosa.versions v" RELEASE
	" WHERE v.deployment_id = t.deployment_id AND v.version_number > t.version_number"
	" AND v.state = 'ready' AND r.collected_at IS NULL"
	" AND v.id IS DISTINCT FROM t.active_version_id"
	" AND (t.active IS NULL OR t.version_number > t.active"
	" OR v.version_number < t.active)"
	" ORDER BY v.version_number LIMIT 1)) n"
	" ORDER BY abs(n.version_number - t.version_number), n.version_number LIMIT 1",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
};

/* Columns of unpublished_query, from 1. */
enum
{
	UNPUBLISHED_SEQ = 1,
	UNPUBLISHED_VERSION
};

static MrbQuery unpublished_query = {
	.sql = "SELECT a.seq, a.previous_version_id FROM miosa.audit_events a"
	" WHERE a.deployment_id = $1 AND a.action = 'deployment.unpublish'"
	" ORDER BY a.seq DESC LIMIT 1",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static void walk_chain(Walk *walk, LoadedEnd *end);
static void walk_loaded(Walk *walk, MrbQuery *query, const char *rule,
						const LoadedEnd *end);
static HTAB *create_id_table(void);
static void add_candidate(Walk *walk, uint64 row, const char *rule);
static bool enough(const Walk *walk);

/*
 * miosa.default_target(deployment_id): the target by the recorded state, without
 * asking storage
 */
Datum
mrb_default_target(PG_FUNCTION_ARGS)
{
	ListCell   *cell;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	foreach(cell, mrb_candidates_list(text_to_cstring(PG_GETARG_TEXT_PP(0))))
	{
		MrbCandidate *it = lfirst(cell);

		if (it->why_not == NULL && it->artifact.missing_at == 0)
			PG_RETURN_TEXT_P(cstring_to_text(it->id));
	}
	PG_RETURN_NULL();
}

/*
 * List the versions that a rollback tries, in this order.
 */
List *
mrb_candidates_list(const char *deployment_id)
{
	Walk		walk = {
		.deployment_id = CStringGetTextDatum(deployment_id),
		.context = CurrentMemoryContext,
	};
	LoadedEnd	end = {0};

	walk_chain(&walk, &end);
	if (end.found)
	{
		walk_loaded(&walk, &promoted_query, "promoted_at", &end);
		walk_loaded(&walk, &number_query, "version_number", &end);
	}
	return walk.list;
}

/*
 * Follow promoted_over.  A chain that was tampered with may be a circle.
 */
static void
walk_chain(Walk *walk, LoadedEnd *end)
{
	HTAB	   *seen = create_id_table();
	char	   *start = NULL;
	int			steps = FIRST_BATCH;
	bool		more = true;

	while (more && !enough(walk))
	{
		Datum		values[3];
		bool		nulls[3] = {false, start == NULL, false};
		uint64		rows;
		bool		found = false;

		values[0] = walk->deployment_id;
		values[1] = start ? CStringGetTextDatum(start) : (Datum) 0;
		values[2] = Int32GetDatum(steps);
		mrb_query_open();
		rows = mrb_query_run(&chain_query, values, nulls);
		for (uint64 row = 0; row < rows && !found && !enough(walk); row++)
		{
			bool		isnull;

			start = mrb_query_text(row, FACT_ID);
			if (row == 0 && hash_get_num_entries(seen) > 0)
				continue;
			(void) hash_search(seen, start, HASH_ENTER, &found);
			if (found)
				break;
			if (hash_get_num_entries(seen) > 1)
				add_candidate(walk, row, "promoted_over");
			end->found = mrb_query_bool(row, CHAIN_LOADED);
			end->number = Int32GetDatum(mrb_query_int32(row, FACT_NUMBER, 0));
			end->promoted_at = mrb_query_datum(row, CHAIN_PROMOTED_AT, &isnull);
			end->never_promoted = isnull;
		}
		mrb_query_close();
		more = !found && rows == (uint64) steps + 1 && steps == FIRST_BATCH;
		steps = MAX_ROWS - FIRST_BATCH;
	}
	hash_destroy(seen);
}

/*
 * Continue with loaded versions, in the order of a query.
 */
static void
walk_loaded(Walk *walk, MrbQuery *query, const char *rule,
			const LoadedEnd *end)
{
	int			limit = FIRST_BATCH;
	int			offset = 0;
	bool		more = true;

	while (more && !enough(walk))
	{
		Datum		values[5];
		bool		nulls[5] = {false, end->never_promoted, false, false, false};
		int			rows;

		values[0] = walk->deployment_id;
		values[1] = end->promoted_at;
		values[2] = end->number;
		values[3] = Int32GetDatum(limit);
		values[4] = Int32GetDatum(offset);
		mrb_query_open();
		rows = (int) mrb_query_run(query, values, nulls);
		for (int row = 0; row < rows && !enough(walk); row++)
			add_candidate(walk, row, rule);
		mrb_query_close();
		more = rows == limit;
		offset += limit;
		limit = MAX_ROWS;
	}
}

/*
 * Create the set of ids that the chain has passed.
 */
static HTAB *
create_id_table(void)
{
	HASHCTL		info = {
		.keysize = ID_SIZE,
		.entrysize = ID_SIZE,
		.hcxt = CurrentMemoryContext,
	};

	return hash_create("miosa_rollback candidates", 32, &info,
					   HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/*
 * Append a row of a query to the list of candidates.
 */
static void
add_candidate(Walk *walk, uint64 row, const char *rule)
{
	MemoryContext spi = MemoryContextSwitchTo(walk->context);
	MrbCandidate *it = palloc(sizeof(MrbCandidate));

	it->id = mrb_query_text(row, FACT_ID);
	it->number = mrb_query_int32(row, FACT_NUMBER, 0);
	it->rule = rule;
	it->why_not = mrb_query_text(row, FACT_WHY_NOT);
	it->condition = mrb_query_bool(row, FACT_NOT_READY) ? MRB_ERR_VERSION_NOT_READY :
		MRB_ERR_ARTIFACT_GONE;
	it->artifact.uri = mrb_query_text(row, FACT_URI);
	it->artifact.size = mrb_query_int64(row, FACT_SIZE, -1);
	it->artifact.verified_at = mrb_query_timestamp(row, FACT_VERIFIED, 0);
	it->artifact.missing_at = mrb_query_timestamp(row, FACT_MISSING, 0);
	it->release_id = mrb_query_text(row, FACT_RELEASE);
	walk->list = lappend(walk->list, it);
	if (it->why_not == NULL)
		walk->qualifying++;
	MemoryContextSwitchTo(spi);
}

/*
 * Whether the list is long enough.
 */
static bool
enough(const Walk *walk)
{
	return walk->qualifying >= MRB_CANDIDATE_ENOUGH ||
		list_length(walk->list) >= MAX_ROWS;
}

/*
 * Find the restorable version nearest to the given one, the older of two.
 */
char *
mrb_candidates_nearest(const char *deployment_id, const char *version_id)
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

/*
 * Find the version that was active before the deployment was unpublished.
 */
char *
mrb_candidates_unpublished(const char *deployment_id, int64 *seq)
{
	Datum		values[1];
	char	   *version_id = NULL;

	values[0] = CStringGetTextDatum(deployment_id);
	mrb_query_open();
	if (mrb_query_run(&unpublished_query, values, NULL) > 0)
	{
		*seq = mrb_query_int64(0, UNPUBLISHED_SEQ, 0);
		version_id = mrb_query_text(0, UNPUBLISHED_VERSION);
	}
	mrb_query_close();
	return version_id;
}
