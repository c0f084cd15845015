/*-------------------------------------------------------------------------
 *
 * capacity.c
 *	  Capacity requests that operations make and withdraw, and versions whose
 *	  instances stay.
 *
 * Only an operation requests instances.  If some are missing later, the
 * scheduler sees that, and may have reasons that are not known here.
 *
 * A row of miosa.capacity is wanted (instances are requested), idle (the
 * version is not needed), draining (schedulers are asked to stop all of its
 * instances) or drained.  A version that needs nothing has no row.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "common/array.h"
#include "common/query.h"
#include "operation/capacity.h"

/* How many of the versions that served last are kept. */
#define RECENT_KEPT 2

/* Those, the active version, the one that serves and the one before. */
#define KEPT_MAX (RECENT_KEPT + 3)

static MrbQuery want_query = {
	.sql = "SELECT miosa.want_capacity($1, $2)",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
};

static MrbQuery cancel_query = {
	.sql = "DELETE FROM miosa.capacity c"
	" WHERE c.deployment_id = $1 AND c.state = 'wanted'",
	.nargs = 1,
	.argtypes = {TEXTOID},
	.expected = MRB_QUERY_DELETE,
};

static MrbQuery withdraw_query = {
	.sql = "DELETE FROM miosa.capacity c"
	" WHERE c.deployment_id = $1 AND c.version_id = $2 AND c.state = 'wanted'"
	" AND (c.asked_at IS NOT NULL OR NOT miosa.has_scheduler($1, false))",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
	.expected = MRB_QUERY_DELETE,
};

static MrbQuery before_query = {
	.sql = "SELECT v.promoted_over FROM miosa.versions v"
	" WHERE v.deployment_id = $1 AND v.id = $2",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
};

static MrbQuery idle_query = {
	.sql = "SELECT FROM miosa.capacity c"
	" WHERE c.deployment_id = $1 AND c.state = 'idle' LIMIT 1",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static MrbQuery forget_query = {
	.sql = "DELETE FROM miosa.capacity c WHERE c.deployment_id = $1"
	" AND c.state = 'idle' AND c.version_id = ANY ($2)"
	" AND NOT c.stop_asked",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTARRAYOID},
	.expected = MRB_QUERY_DELETE,
};

static MrbQuery restore_query = {
	.sql = "UPDATE miosa.capacity c"
	" SET state = 'drained', since = pg_catalog.clock_timestamp()"
	" WHERE c.deployment_id = $1"
	" AND c.state = 'idle' AND c.version_id = ANY ($2)",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTARRAYOID},
	.expected = MRB_QUERY_UPDATE,
};

static bool has_idle(const char *deployment_id);
static char *read_version_before(const char *deployment_id,
								 const char *version_id);
static void add_version(Datum *kept, int *n, const char *version_id);

/*
 * Request instances of a version.
 */
void
mrb_capacity_want(const char *deployment_id, const char *version_id)
{
	Datum		values[] = {
		CStringGetTextDatum(deployment_id),
		CStringGetTextDatum(version_id)
	};

	mrb_query_open();
	(void) mrb_query_run(&want_query, values, NULL);
	mrb_query_close();
}

/*
 * Delete all requests for instances: a deployment that is stopped or
 * unpublished needs none.
 */
void
mrb_capacity_cancel(const char *deployment_id)
{
	Datum		values[] = {CStringGetTextDatum(deployment_id)};

	mrb_query_open();
	(void) mrb_query_run(&cancel_query, values, NULL);
	mrb_query_close();
}

/*
 * Withdraw the request for instances of a version that are there.  A request
 * that no scheduler has taken yet stays, because a scheduler that was asked to
 * stop the version before may still do so.  Without a scheduler there is
 * nobody to wait for.
 */
bool
mrb_capacity_withdraw(const char *deployment_id, const char *version_id)
{
	Datum		values[] = {
		CStringGetTextDatum(deployment_id),
		CStringGetTextDatum(version_id)
	};
	bool		withdrawn;

	mrb_query_open();
	withdrawn = mrb_query_run(&withdraw_query, values, NULL) > 0;
	mrb_query_close();
	return withdrawn;
}

/*
 * The versions whose instances stay: the one that is to serve, the one that
 * serves, and those that a rollback or its undoing would go to.  The statement
 * of miosa.capacity_pass() passes over deployments that have instances of no
 * others.
 */
Datum
mrb_capacity_kept(const char *active, const char *serving, const char *before,
				  Datum recent_served)
{
	Datum		kept[KEPT_MAX];
	Datum	   *recent;
	bool	   *nulls;
	int			nrecent;
	int			n = 0;

	add_version(kept, &n, active);
	add_version(kept, &n, serving);
	add_version(kept, &n, before);
	deconstruct_array(DatumGetArrayTypeP(recent_served), TEXTOID, -1, false,
					  TYPALIGN_INT, &recent, &nulls, &nrecent);
	for (int i = 0; i < Min(nrecent, RECENT_KEPT); i++)
		if (!nulls[i])
			kept[n++] = recent[i];
	return mrb_array_make(kept, NULL, n, TEXTOID);
}

/*
 * Keep the instances of idle versions that are needed again; if one is left
 * once more, its time begins anew.  A version that schedulers were asked to
 * stop becomes drained again, so that a return to it requests instances,
 * whatever is there.
 */
void
mrb_capacity_keep(const char *deployment_id, Datum kept)
{
	Datum		values[] = {CStringGetTextDatum(deployment_id), kept};

	mrb_query_open();
	(void) mrb_query_run(&forget_query, values, NULL);
	(void) mrb_query_run(&restore_query, values, NULL);
	mrb_query_close();
}

/*
 * Keep the instances of idle versions that an operation has made needed.
 */
void
mrb_capacity_keep_needed(const char *deployment_id, const char *active,
						 const char *serving, Datum recent_served)
{
	char	   *before;

	if (!has_idle(deployment_id))
		return;
	before = active != NULL ? read_version_before(deployment_id, active) : NULL;
	mrb_capacity_keep(deployment_id,
					  mrb_capacity_kept(active, serving, before,
										recent_served));
}

/*
 * Whether there are idle versions.
 */
static bool
has_idle(const char *deployment_id)
{
	Datum		values[] = {CStringGetTextDatum(deployment_id)};
	bool		found;

	mrb_query_open();
	found = mrb_query_run(&idle_query, values, NULL) > 0;
	mrb_query_close();
	return found;
}

/*
 * Return the version that a version was promoted over; NULL if there is none.
 */
static char *
read_version_before(const char *deployment_id, const char *version_id)
{
	Datum		values[] = {
		CStringGetTextDatum(deployment_id),
		CStringGetTextDatum(version_id)
	};
	char	   *before = NULL;

	mrb_query_open();
	if (mrb_query_run(&before_query, values, NULL) > 0)
		before = mrb_query_text(0, 1);
	mrb_query_close();
	return before;
}

/*
 * Append a version, unless it is NULL.
 */
static void
add_version(Datum *kept, int *n, const char *version_id)
{
	if (version_id != NULL)
		kept[(*n)++] = CStringGetTextDatum(version_id);
}
