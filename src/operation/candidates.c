/*-------------------------------------------------------------------------
 *
 * candidates.c
 *	  Versions that a rollback could return to when none is named.
 *
 * Promotion pushes, rollback pops: a promoted version remembers which one it
 * replaced, and following that memory goes further back with every rollback,
 * never forth to the bad version.  Rows that were loaded without operations
 * have no such memory; among them the order of promotion decides, else the
 * version numbers.  A version that an operation has promoted is no part of
 * these two: it may have been rolled back from.
 *
 * Most often the first one qualifies, so the walk is made in two paces, a few
 * steps and then all the rest, and it ends when enough were found.
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

/* How far the first pace goes, and how far both together. */
#define FEW 8
#define MOST 1000

/* An id has at most 255 characters. */
#define ID_SIZE 256

/* What is told of a version v and its release r. */
#define FACTS \
	"v.id, v.version_number," \
	" CASE WHEN v.state <> 'ready' THEN 'its state is ' || v.state" \
	" WHEN r.collected_at IS NOT NULL THEN 'its artifact was collected'" \
	" END, r.storage_uri, r.size_bytes, r.verified_at, r.missing_at, r.id," \
	" v.state <> 'ready'"
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

/* The end of the chain, when it is a version that no operation promoted. */
typedef struct LoadedEnd
{
	bool		found;
	Datum		number;
	Datum		promoted_at;
	bool		never_promoted;
} LoadedEnd;

/*
 * The first row is where it begins, the active version when none is given.
 * Without OFFSET the planner may read all versions of a large deployment.
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
 * Where the walk ends at a version that no operation ever promoted, what was
 * loaded goes on from there, always to a version that is smaller in
 * (promoted_at, version_number), null first: so it cannot come back to where
 * it was.
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

/* Who goes back is never sent forth: that may be where the trouble came from. */
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

/* Of a deployment without an active version. */
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
static HTAB *id_table(void);
static void add(Walk *walk, uint64 row, const char *rule);
static bool enough(const Walk *walk);

/*
 * miosa.default_target(deployment_id): storage is not asked.
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
 * What a rollback from the active version would try, in that order.
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
 * Follow what was promoted over what.  A chain that was tampered with may run
 * in a circle.
 */
static void
walk_chain(Walk *walk, LoadedEnd *end)
{
	HTAB	   *seen = id_table();
	char	   *start = NULL;
	int			steps = FEW;
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

			start = mrb_query_text(row, 1);
			if (row == 0 && hash_get_num_entries(seen) > 0)
				continue;
			(void) hash_search(seen, start, HASH_ENTER, &found);
			if (found)
				break;
			if (hash_get_num_entries(seen) > 1)
				add(walk, row, "promoted_over");
			end->found = mrb_query_bool(row, 10);
			end->number = Int32GetDatum(mrb_query_int32(row, 2, 0));
			end->promoted_at = mrb_query_datum(row, 11, &isnull);
			end->never_promoted = isnull;
		}
		mrb_query_close();
		more = !found && rows == (uint64) steps + 1 && steps == FEW;
		steps = MOST - FEW;
	}
	hash_destroy(seen);
}

/*
 * Go on through what was loaded.
 */
static void
walk_loaded(Walk *walk, MrbQuery *query, const char *rule,
			const LoadedEnd *end)
{
	int			limit = FEW;
	int			offset = 0;
	int			rows = limit;

	while (rows == limit && !enough(walk))
	{
		Datum		values[5];
		bool		nulls[5] = {false, end->never_promoted, false, false, false};

		values[0] = walk->deployment_id;
		values[1] = end->promoted_at;
		values[2] = end->number;
		values[3] = Int32GetDatum(limit);
		values[4] = Int32GetDatum(offset);
		mrb_query_open();
		rows = (int) mrb_query_run(query, values, nulls);
		for (int row = 0; row < rows && !enough(walk); row++)
			add(walk, row, rule);
		mrb_query_close();
		offset += limit;
		limit = MOST;
	}
}

static HTAB *
id_table(void)
{
	HASHCTL		info = {
		.keysize = ID_SIZE,
		.entrysize = ID_SIZE,
		.hcxt = CurrentMemoryContext,
	};

	return hash_create("miosa_rollback candidates", 32, &info,
					   HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

static void
add(Walk *walk, uint64 row, const char *rule)
{
	MemoryContext spi = MemoryContextSwitchTo(walk->context);
	MrbCandidate *it = palloc(sizeof(MrbCandidate));

	it->id = mrb_query_text(row, 1);
	it->number = mrb_query_int32(row, 2, 0);
	it->rule = rule;
	it->why_not = mrb_query_text(row, 3);
	it->condition = mrb_query_bool(row, 9) ? MRB_ERR_VERSION_NOT_READY :
		MRB_ERR_ARTIFACT_GONE;
	it->artifact.uri = mrb_query_text(row, 4);
	it->artifact.size = mrb_query_int64(row, 5, -1);
	it->artifact.verified_at = mrb_query_timestamp(row, 6, 0);
	it->artifact.missing_at = mrb_query_timestamp(row, 7, 0);
	it->release_id = mrb_query_text(row, 8);
	walk->list = lappend(walk->list, it);
	if (it->why_not == NULL)
		walk->qualifying++;
	MemoryContextSwitchTo(spi);
}

static bool
enough(const Walk *walk)
{
	return walk->qualifying >= MRB_CANDIDATE_ENOUGH ||
		list_length(walk->list) >= MOST;
}

/*
 * The restorable version nearest to the given one, the older of two.
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
 * The version that was active before the deployment was unpublished.
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
		*seq = mrb_query_int64(0, 1, 0);
		version_id = mrb_query_text(0, 2);
	}
	mrb_query_close();
	return version_id;
}
