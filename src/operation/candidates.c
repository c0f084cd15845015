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
 * Usually the first version qualifies, and its row is all that a rollback needs.
 * So candidates are looked for one at a time: the chain by the index, and loaded
 * versions by a query for their ids, in batches, a small one first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "base/guc.h"
#include "base/miosa_rollback.h"
#include "common/index_lookup.h"
#include "common/query.h"
#include "operation/bad_version.h"
#include "operation/candidates.h"

PG_FUNCTION_INFO_V1(mrb_default_target);

/* Loaded versions of the first batch, and of the others. */
#define FIRST_BATCH 8
#define BATCH 1000

/* Candidates of a deployment at most. */
#define MAX_CANDIDATES 1000

/* An id has at most 255 characters. */
#define ID_SIZE (MRB_MAX_ID + 1)

/* An order of loaded versions; $2 and $3 are the last one's. */
typedef struct LoadedOrder
{
	const char *rule;
	MrbQuery	query;
} LoadedOrder;

struct MrbCandidates
{
	const char *deployment_id;
	const char *active_id;
	int			listed;
	int			qualifying;

	/* The chain. */
	MrbVersion	last;			/* at first the active version */
	bool		ended;			/* no version follows the last one */
	HTAB	   *passed;			/* ids before the last one, once there are two */

	/* Loaded versions that follow the chain. */
	int			order;			/* in orders[] */
	MrbVersion	at;				/* last one of that order; at first the
								 * chain's */
	int			batch;			/* size of the batch, 0: none was read */
	List	   *ids;			/* of the batch */
	int			next;			/* in ids */
	MemoryContext context;		/* of ids */

	HTAB	   *served;			/* of Served; NULL: nothing was read */
};

/* How long a version served. */
typedef struct Served
{
	char		id[ID_SIZE];
	int64		longest;		/* at a stretch, microseconds; -1: not known */
} Served;

enum
{
	BY_TIME,
	BY_NUMBER
};

/*
 * If the chain ends with a version that no operation promoted, the loaded
 * versions that are smaller in (promoted_at, version_number), null first,
 * follow it, so no version comes twice.
 */
static LoadedOrder orders[] = {
	[BY_TIME] = {
		.rule = "promoted_at",
		.query = {
			.sql = "SELECT o.id FROM miosa.versions o"
			" WHERE o.deployment_id = $1 AND o.promotion_seq IS NULL"
			" AND (o.promoted_at, o.version_number) < ($2, $3)"
			" ORDER BY o.promoted_at DESC, o.version_number DESC LIMIT $4",
			.nargs = 4,
			.argtypes = {TEXTOID, TIMESTAMPTZOID, INT4OID, INT4OID},
			.read_only = true,
		},
	},
	[BY_NUMBER] = {
		.rule = "version_number",
		.query = {
			.sql = "SELECT o.id FROM miosa.versions o"
			" WHERE o.deployment_id = $1 AND o.promotion_seq IS NULL"
			" AND o.promoted_at IS NULL AND o.version_number < $3"
			" ORDER BY o.version_number DESC LIMIT $4",
			.nargs = 4,
			.argtypes = {TEXTOID, TIMESTAMPTZOID, INT4OID, INT4OID},
			.read_only = true,
		},
	},
};

#define RELEASE \
	" LEFT JOIN miosa.releases r" \
	" ON r.deployment_id = v.deployment_id AND r.deployment_version_id = v.id"

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
	" AND miosa.bad_mark(v.deployment_id, v.id) IS NULL"
	" AND v.id IS DISTINCT FROM t.active_version_id"
	" ORDER BY v.version_number DESC LIMIT 1)"
	" UNION ALL"
	" (SELECT v.id, v.version_number FROM miosa.versions v" RELEASE
	" WHERE v.deployment_id = t.deployment_id AND v.version_number > t.version_number"
	" AND v.state = 'ready' AND r.collected_at IS NULL"
	" AND miosa.bad_mark(v.deployment_id, v.id) IS NULL"
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

/* Columns of served_query, from 1. */
enum
{
	SERVED_VERSION = 1,
	SERVED_LONGEST
};

static MrbQuery served_query = {
	.sql = "SELECT s.version_id, (extract(epoch FROM s.longest) * 1000000)::pg_catalog.int8"
	" FROM miosa.longest_served($1) s",
	.nargs = 1,
	.argtypes = {TEXTOID},
	.read_only = true,
};

static bool next_promoted_over(MrbCandidates *search, MrbCandidate *it);
static bool was_passed(MrbCandidates *search, const char *id);
static HTAB *create_id_table(MemoryContext context);
static bool next_loaded(MrbCandidates *search, MrbCandidate *it);
static bool read_batch(MrbCandidates *search);
static void judge(MrbCandidates *search, MrbCandidate *it);
static void refuse(MrbCandidate *it, MrbCondition condition, const char *why);
static void judge_served(MrbCandidates *search, MrbCandidate *it);
static HTAB *read_served(const MrbCandidates *search);

/*
 * miosa.default_target(deployment_id): the target by the recorded state, without
 * asking storage
 */
Datum
mrb_default_target(PG_FUNCTION_ARGS)
{
	MrbDeployment *deployment;
	MrbCandidates *search;
	MrbCandidate *it = NULL;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	mrb_index_lookup_begin();
	deployment = mrb_deployment_look(text_to_cstring(PG_GETARG_TEXT_PP(0)),
									 NULL, NULL);
	if (deployment != NULL)
	{
		search = mrb_candidates_begin(deployment);
		do
			it = mrb_candidates_next(search);
		while (it != NULL &&
			   (it->why_not != NULL || it->version.artifact.missing_at != 0));
	}
	mrb_index_lookup_end();
	if (it == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(it->version.id));
}

/*
 * Begin to look for candidates of a deployment.
 */
MrbCandidates *
mrb_candidates_begin(const MrbDeployment *deployment)
{
	MrbCandidates *search = palloc0(sizeof(MrbCandidates));

	search->deployment_id = deployment->id;
	search->active_id = deployment->active.id;
	search->last = deployment->active;
	search->context = CurrentMemoryContext;
	return search;
}

/*
 * Find the next candidate.
 */
MrbCandidate *
mrb_candidates_next(MrbCandidates *search)
{
	MrbCandidate *it;

	if (search->qualifying >= MRB_CANDIDATE_ENOUGH ||
		search->listed >= MAX_CANDIDATES)
		return NULL;
	it = palloc0(sizeof(MrbCandidate));
	if (!next_promoted_over(search, it) && !next_loaded(search, it))
		return NULL;
	mrb_version_look_release(&it->version, search->deployment_id, NULL);
	mrb_bad_version_look(&it->version, search->deployment_id);
	judge(search, it);
	search->listed++;
	if (it->why_not == NULL)
		search->qualifying++;
	return it;
}

/*
 * Judge a version by the recorded state.
 */
static void
judge(MrbCandidates *search, MrbCandidate *it)
{
	const MrbVersion *version = &it->version;

	if (strcmp(version->state, "ready") != 0)
		refuse(it, MRB_ERR_VERSION_NOT_READY,
			   psprintf("its state is %s", version->state));
	else if (version->collected_at != 0)
		refuse(it, MRB_ERR_ARTIFACT_GONE, "its artifact was collected");
	else if (version->bad_since != 0)
		refuse(it, MRB_ERR_VERSION_BAD, mrb_bad_version_describe(version));
	else if (mrb_min_served > 0)
		judge_served(search, it);
}

/*
 * Pass a version over.
 */
static void
refuse(MrbCandidate *it, MrbCondition condition, const char *why)
{
	it->code = mrb_errors_condition_name(condition);
	it->why_not = why;
}

/*
 * Pass a version over that is not known to have served for min_served.
 */
static void
judge_served(MrbCandidates *search, MrbCandidate *it)
{
	const Served *served;

	if (search->served == NULL)
		search->served = read_served(search);
	served = hash_search(search->served, it->version.id, HASH_FIND, NULL);
	if (served != NULL && served->longest >= mrb_min_served * USECS_PER_SEC)
		return;
	it->code = MRB_CANDIDATE_BRIEF;
	it->why_not = served == NULL || served->longest < 0 ?
		"it is not known how long it served" :
		psprintf("it served for %d s only", (int) (served->longest / USECS_PER_SEC));
}

/*
 * Read how long the versions of the deployment served.
 */
static HTAB *
read_served(const MrbCandidates *search)
{
	HASHCTL		info = {
		.keysize = ID_SIZE,
		.entrysize = sizeof(Served),
		.hcxt = search->context,
	};
	HTAB	   *table = hash_create("miosa_rollback served", 32, &info,
									HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	Datum		values[1];
	uint64		rows;

	values[0] = CStringGetTextDatum(search->deployment_id);
	mrb_query_open();
	rows = mrb_query_run(&served_query, values, NULL);
	for (uint64 row = 0; row < rows; row++)
	{
		Served	   *served = hash_search(table, mrb_query_text(row, SERVED_VERSION),
										 HASH_ENTER, NULL);

		served->longest = mrb_query_int64(row, SERVED_LONGEST, -1);
	}
	mrb_query_close();
	return table;
}

/*
 * Follow promoted_over.  A chain that was tampered with may be a circle.
 */
static bool
next_promoted_over(MrbCandidates *search, MrbCandidate *it)
{
	const MrbVersion *last = &search->last;

	if (search->ended)
		return false;
	if (last->promoted_over == NULL ||
		was_passed(search, last->promoted_over) ||
		!mrb_version_look(&it->version, search->deployment_id,
						  last->promoted_over, NULL))
	{
		search->ended = true;
		search->at = *last;
		search->order = TIMESTAMP_IS_NOBEGIN(last->promoted_at) ? BY_NUMBER :
			BY_TIME;
		return false;
	}
	it->rule = "promoted_over";
	search->last = it->version;
	return true;
}

/*
 * Whether the chain has passed a version already.  Most chains are left after
 * their first version, which needs no table.
 */
static bool
was_passed(MrbCandidates *search, const char *id)
{
	bool		found;

	if (search->listed == 0)
		return strcmp(id, search->active_id) == 0;
	if (search->passed == NULL)
	{
		search->passed = create_id_table(search->context);
		(void) hash_search(search->passed, search->active_id, HASH_ENTER, NULL);
	}
	(void) hash_search(search->passed, search->last.id, HASH_ENTER, NULL);
	(void) hash_search(search->passed, id, HASH_FIND, &found);
	return found;
}

/*
 * Create a set of ids.
 */
static HTAB *
create_id_table(MemoryContext context)
{
	HASHCTL		info = {
		.keysize = ID_SIZE,
		.entrysize = ID_SIZE,
		.hcxt = context,
	};

	return hash_create("miosa_rollback candidates", 32, &info,
					   HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/*
 * Go on with loaded versions, if the chain ended with one: first in the one
 * order, then in the other.
 */
static bool
next_loaded(MrbCandidates *search, MrbCandidate *it)
{
	if (!search->last.loaded)
		return false;
	for (; search->order <= BY_NUMBER; search->order++)
	{
		while (search->next < list_length(search->ids) || read_batch(search))
		{
			const char *id = list_nth(search->ids, search->next++);

			if (!mrb_version_look(&it->version, search->deployment_id, id, NULL))
				continue;
			it->rule = orders[search->order].rule;
			search->at = it->version;
			return true;
		}
		search->at = search->last;
		search->batch = 0;
	}
	return false;
}

/*
 * Read the next ids in an order, in the snapshot that was taken; false: there are
 * none.  A batch that was not full was the last one.
 */
static bool
read_batch(MrbCandidates *search)
{
	Datum		values[4];
	uint64		rows;

	if (search->batch > list_length(search->ids))
		return false;
	search->batch = search->batch == 0 ? FIRST_BATCH : BATCH;
	search->ids = NIL;
	search->next = 0;
	values[0] = CStringGetTextDatum(search->deployment_id);
	values[1] = TimestampTzGetDatum(search->at.promoted_at);
	values[2] = Int32GetDatum(search->at.number);
	values[3] = Int32GetDatum(search->batch);
	mrb_query_open();
	rows = mrb_query_run(&orders[search->order].query, values, NULL);
	for (uint64 row = 0; row < rows; row++)
	{
		char	   *id = mrb_query_text(row, 1);
		MemoryContext spi = MemoryContextSwitchTo(search->context);

		search->ids = lappend(search->ids, id);
		MemoryContextSwitchTo(spi);
	}
	mrb_query_close();
	return rows > 0;
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
