/*-------------------------------------------------------------------------
 *
 * deployment.c
 *	  Reading of a deployment.
 *
 * What was read before the deployment was locked may be outdated; the holder of
 * the lock reads again, with a new snapshot.  It looks for each row where it was:
 * what is visible there and has the key is the row.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "base/guc.h"
#include "common/index_lookup.h"
#include "common/query.h"
#include "operation/actor.h"
#include "operation/bad_version.h"
#include "operation/deployment.h"
#include "operation/tenancy.h"

PG_FUNCTION_INFO_V1(mrb_no_deployment);

/* Columns of the rows that make up an MrbDeployment. */
enum
{
	DEPLOYMENT_ID,
	DEPLOYMENT_TENANT,
	DEPLOYMENT_STATE,
	DEPLOYMENT_REPLICAS,
	DEPLOYMENT_ACTIVE,
	DEPLOYMENT_SERVING,
	DEPLOYMENT_SEQ,
	DEPLOYMENT_WAITING,
	DEPLOYMENT_SCHEMA,
	DEPLOYMENT_LAST_ROLLBACK
};

static MrbIndexLookup deployment_row = {
	.table.name = "deployments",
	.table.index = "deployments_pkey",
	.table.columns = {
		[DEPLOYMENT_ID] = "id",
		[DEPLOYMENT_TENANT] = "tenant_id",
		[DEPLOYMENT_STATE] = "state",
		[DEPLOYMENT_REPLICAS] = "desired_replicas",
		[DEPLOYMENT_ACTIVE] = "active_version_id",
		[DEPLOYMENT_SERVING] = "serving_version_id",
		[DEPLOYMENT_SEQ] = "seq",
		[DEPLOYMENT_WAITING] = "waiting_since",
		[DEPLOYMENT_SCHEMA] = "schema_name",
		[DEPLOYMENT_LAST_ROLLBACK] = "last_rollback_at",
	},
	.table.types = {
		[DEPLOYMENT_REPLICAS] = INT4OID,
		[DEPLOYMENT_SEQ] = INT8OID,
		[DEPLOYMENT_WAITING] = TIMESTAMPTZOID,
		[DEPLOYMENT_LAST_ROLLBACK] = TIMESTAMPTZOID,
	},
};

static MrbIndexLookup owner_row = {
	.table.name = "deployments",
	.table.index = "deployments_pkey",
	.table.columns = {"tenant_id"},
};

static MrbIndexLookup capacity_row = {
	.table.name = "capacity",
	.table.index = "capacity_pkey",
	.table.columns = {"stop_asked"},
	.table.types = {BOOLOID},
};

static MrbIndexLookup tenant_row = {
	.table.name = "tenants",
	.table.index = "tenants_pkey",
	.table.columns = {"plan"},
};

/* The rows of the view miosa.plans: an own plan hides a shipped one. */
enum
{
	PLAN_KEYS,
	PLAN_EVENTS
};

static MrbIndexLookup own_plan_row = {
	.table.name = "own_plans",
	.table.index = "own_plans_pkey",
	.table.columns = {
		[PLAN_KEYS] = "idempotency_retention",
		[PLAN_EVENTS] = "audit_retention",
	},
	.table.types = {[PLAN_KEYS] = INTERVALOID,[PLAN_EVENTS] = INTERVALOID},
};

static MrbIndexLookup shipped_plan_row = {
	.table.name = "shipped_plans",
	.table.index = "shipped_plans_name",
	.table.columns = {
		[PLAN_KEYS] = "idempotency_retention",
		[PLAN_EVENTS] = "audit_retention",
	},
	.table.types = {[PLAN_KEYS] = INTERVALOID,[PLAN_EVENTS] = INTERVALOID},
};

static MrbQuery healthy_query = {
	.sql = "SELECT count(*)::integer FROM miosa.live_instances i"
	" WHERE i.deployment_id = $1 AND i.version_id = $2",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
	.read_only = true,
};

/* Disabled endpoints receive nothing. */
static MrbQuery edges_query = {
	.sql = "SELECT count(*)::integer FROM miosa.deployments p"
	" JOIN miosa.endpoints e ON e.enabled"
	" AND miosa.selects(e.selector, p.id, p.tenant_id, p.kind)"
	" JOIN miosa.adapters a ON a.name = e.adapter AND a.role = 'edge'"
	" WHERE p.id = $1",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* What was seen of a deployment that was not. */
static const MrbDeployment nothing = {0};

static void conceal_absence(MrbIndexLookup *row, const char *id);
static void read_version(MrbVersion *version, const char *deployment_id,
						 const char *id, const MrbDeployment *seen);
static const MrbVersion *find_seen(const MrbDeployment *seen, const char *id);
static bool was_drained(const MrbVersion *version, const char *deployment_id);
static void read_retention(MrbRetention *retention, const char *tenant_id);
static void count_healthy(MrbVersion *version, const char *deployment_id);

/*
 * Read a deployment and a version of it with a new snapshot.
 */
MrbDeployment *
mrb_deployment_read(const char *id, const char *target_id,
					const MrbDeployment *seen)
{
	MrbDeployment *it;

	mrb_index_lookup_begin();
	it = mrb_deployment_look(id, target_id, seen);
	mrb_index_lookup_end();
	return it;
}

/*
 * Read a deployment and a version of it with the snapshot that was taken.
 */
MrbDeployment *
mrb_deployment_look(const char *id, const char *target_id,
					const MrbDeployment *seen)
{
	MrbDeployment *it;
	char	   *active_id;

	if (seen == NULL)
		seen = &nothing;
	if (!mrb_index_lookup_find_again(&deployment_row, &seen->place, id, NULL))
	{
		conceal_absence(&deployment_row, id);
		return NULL;
	}
	it = palloc0(sizeof(MrbDeployment));
	it->place = deployment_row.slot->tts_tid;
	it->id = mrb_index_lookup_text(&deployment_row, DEPLOYMENT_ID);
	it->tenant_id = mrb_index_lookup_text(&deployment_row, DEPLOYMENT_TENANT);
	if (!mrb_tenancy_sees(it->tenant_id))
	{
		mrb_index_lookup_close(&deployment_row);
		return NULL;
	}
	it->state = mrb_index_lookup_text(&deployment_row, DEPLOYMENT_STATE);
	it->desired_replicas = mrb_index_lookup_int32(&deployment_row, DEPLOYMENT_REPLICAS);
	active_id = mrb_index_lookup_text(&deployment_row, DEPLOYMENT_ACTIVE);
	it->serving_version_id = mrb_index_lookup_text(&deployment_row, DEPLOYMENT_SERVING);
	it->seq = mrb_index_lookup_int64(&deployment_row, DEPLOYMENT_SEQ);
	it->waiting_since = mrb_index_lookup_timestamp(&deployment_row,
												   DEPLOYMENT_WAITING);
	it->schema_name = mrb_index_lookup_text(&deployment_row, DEPLOYMENT_SCHEMA);
	it->last_rollback_at = mrb_index_lookup_timestamp(&deployment_row,
													  DEPLOYMENT_LAST_ROLLBACK);
	mrb_index_lookup_close(&deployment_row);

	read_version(&it->active, id, active_id, seen);
	if (it->serving_version_id != NULL)
		read_version(&it->serving, id, it->serving_version_id, seen);
	else
		it->serving = it->active;
	read_version(&it->target, id, target_id, seen);
	if (it->target.id != NULL)
	{
		mrb_version_look_release(&it->target, id, find_seen(seen, target_id));
		mrb_bad_version_look(&it->target, id);
	}
	it->target_drained = was_drained(&it->target, id);
	return it;
}

/*
 * Keep what find_seen() looks for, and the ids that a rollback compares.
 */
MrbDeploymentKept *
mrb_deployment_keep(const MrbDeployment *seen)
{
	const char *active = seen->active.id ? seen->active.id : "";
	const char *target = seen->target.id ? seen->target.id : "";
	size_t		len = strlen(active) + strlen(target) + 2;
	MrbDeploymentKept *it = palloc0(sizeof(MrbDeploymentKept) + len);
	char	   *texts = (char *) (it + 1);

	it->place = seen->place;
	it->seq = seen->seq;
	it->active_place = seen->active.place;
	it->target_place = seen->target.place;
	it->release_place = seen->target.release_place;
	if (seen->active.id != NULL)
		it->active_id = strcpy(texts, active);
	if (seen->target.id != NULL)
		it->target_id = strcpy(texts + strlen(active) + 1, target);
	return it;
}

/*
 * Make a deployment of what was kept, whose ids it shares.
 */
MrbDeployment *
mrb_deployment_restore(const MrbDeploymentKept *kept)
{
	MrbDeployment *it = palloc0(sizeof(MrbDeployment));

	it->place = kept->place;
	it->seq = kept->seq;
	it->active.place = kept->active_place;
	it->active.id = kept->active_id;
	it->target.place = kept->target_place;
	it->target.release_place = kept->release_place;
	it->target.id = kept->target_id;
	return it;
}

/*
 * Read how long keys and audit events are kept.
 */
void
mrb_deployment_retention(const MrbDeployment *it, MrbRetention *retention)
{
	if (retention->tenant_id != NULL &&
		strcmp(retention->tenant_id, it->tenant_id) == 0)
		return;
	read_retention(retention, it->tenant_id);
	if (retention->tenant_id != NULL)
		pfree(retention->tenant_id);
	if (retention->context != NULL)
		retention->tenant_id = MemoryContextStrdup(retention->context,
												   it->tenant_id);
}

/*
 * Compare the ids of two versions.
 */
bool
mrb_deployment_same_version(const char *one, const char *other)
{
	return one != NULL && other != NULL && strcmp(one, other) == 0;
}

/*
 * miosa.no_deployment(name): raise DEPLOYMENT_NOT_FOUND
 */
Datum
mrb_no_deployment(PG_FUNCTION_ARGS)
{
	MrbFinding	finding;

	finding = mrb_deployment_check_exists(NULL, PG_ARGISNULL(0) ? "" :
										  text_to_cstring(PG_GETARG_TEXT_PP(0)));
	mrb_finding_enforce(&finding);
	PG_RETURN_VOID();
}

/*
 * Check that a deployment was found.
 */
MrbFinding
mrb_deployment_check_exists(const MrbDeployment *it, const char *name)
{
	if (it != NULL)
		return mrb_finding_hold("deployment_exists");
	return mrb_finding_fail("deployment_exists", MRB_ERR_DEPLOYMENT_NOT_FOUND,
							psprintf("deployment \"%s\" does not exist", name),
							"There is no deployment of that name, or it belongs to another tenant.",
							"See the deployments with SELECT id, name, slug FROM miosa.deployments ORDER BY id;");
}

/*
 * Check that the caller may do something with a deployment.
 */
MrbFinding
mrb_deployment_check_caller(const char *id, int scopes, const char *verb)
{
	char	   *tenant_id;

	if (!mrb_tenancy_enforced() && !mrb_actor_read().named)
		return mrb_finding_hold("caller_allowed");
	tenant_id = mrb_deployment_tenant(id);
	if (tenant_id == NULL || !mrb_tenancy_sees(tenant_id))
		return mrb_deployment_check_exists(NULL, id);
	return mrb_deployment_check_tenant(tenant_id, scopes, verb);
}

/*
 * Check the same for a deployment of a tenant that the caller sees.
 */
MrbFinding
mrb_deployment_check_tenant(const char *tenant_id, int scopes, const char *verb)
{
	MrbActor	actor = mrb_actor_read();
	MrbFinding	finding;

	if (mrb_finding_refuses(mrb_tenancy_check(tenant_id, scopes, verb), &finding))
		return finding;
	return mrb_actor_check(&actor, tenant_id);
}

/*
 * Return the tenant of a deployment, in the snapshot that was taken.
 */
char *
mrb_deployment_tenant(const char *id)
{
	char	   *tenant_id;

	if (!mrb_index_lookup_find(&owner_row, id, NULL))
	{
		conceal_absence(&owner_row, id);
		return NULL;
	}
	tenant_id = mrb_index_lookup_text(&owner_row, 0);
	mrb_index_lookup_close(&owner_row);
	return tenant_id;
}

/*
 * Read as much for a deployment that does not exist as for one of another tenant.
 */
static void
conceal_absence(MrbIndexLookup *row, const char *id)
{
	if (mrb_tenancy_enforced())
		mrb_index_lookup_pretend(row, id);
}

/*
 * Count the edges that receive changes of the deployment.
 */
int
mrb_deployment_count_edges(const char *id)
{
	Datum		values[1];
	int			count;

	values[0] = CStringGetTextDatum(id);
	mrb_query_open();
	(void) mrb_query_run(&edges_query, values, NULL);
	count = mrb_query_int32(0, 1, 0);
	mrb_query_close();
	return count;
}

/*
 * Read a version.  Leaves the id NULL if there is none.
 */
static void
read_version(MrbVersion *version, const char *deployment_id, const char *id,
			 const MrbDeployment *seen)
{
	if (id != NULL &&
		mrb_version_look(version, deployment_id, id, find_seen(seen, id)) &&
		strcmp(version->kind, "static") != 0)
		count_healthy(version, deployment_id);
}

/*
 * Return what was seen of a version; of one that was not seen, nothing.
 */
static const MrbVersion *
find_seen(const MrbDeployment *seen, const char *id)
{
	if (mrb_deployment_same_version(seen->target.id, id))
		return &seen->target;
	if (mrb_deployment_same_version(seen->active.id, id))
		return &seen->active;
	return &nothing.target;
}

/*
 * Whether schedulers were asked to stop the version's instances.  Then they
 * are asked to start them again, whatever instances are left.
 */
static bool
was_drained(const MrbVersion *version, const char *deployment_id)
{
	bool		asked;
	bool		isnull;

	if (version->id == NULL || strcmp(version->kind, "static") == 0 ||
		!mrb_index_lookup_find(&capacity_row, deployment_id, version->id))
		return false;
	asked = DatumGetBool(mrb_index_lookup_datum(&capacity_row, 0, &isnull));
	mrb_index_lookup_close(&capacity_row);
	return asked;
}

/*
 * Read how long the tenant's plan keeps keys and audit events.  Calls of a session
 * are often for one tenant, and there are few plans, so both are looked for where
 * they were.
 */
static void
read_retention(MrbRetention *retention, const char *tenant_id)
{
	static MrbIndexLookupPlace tenant_place;
	static MrbIndexLookupPlace own_place;
	static MrbIndexLookupPlace shipped_place;
	MrbIndexLookup *plan_row = &own_plan_row;
	char	   *plan;
	bool		isnull;

	if (!mrb_index_lookup_find_near(&tenant_row, &tenant_place, tenant_id))
		elog(ERROR, "tenant \"%s\" is missing", tenant_id);
	plan = mrb_index_lookup_text(&tenant_row, 0);
	mrb_index_lookup_close(&tenant_row);

	if (!mrb_index_lookup_find_near(plan_row, &own_place, plan))
	{
		plan_row = &shipped_plan_row;

		/* A restore may leave a tenant without its plan: take the smallest. */
		if (!mrb_index_lookup_find_near(plan_row, &shipped_place, plan) &&
			!mrb_index_lookup_find(plan_row, "free", NULL))
			elog(ERROR, "plan \"%s\" is missing", plan);
	}
	retention->keys =
		*DatumGetIntervalP(mrb_index_lookup_datum(plan_row, PLAN_KEYS, &isnull));
	retention->events =
		*DatumGetIntervalP(mrb_index_lookup_datum(plan_row, PLAN_EVENTS, &isnull));
	mrb_index_lookup_close(plan_row);
}

/*
 * Count the healthy instances of a version.
 */
static void
count_healthy(MrbVersion *version, const char *deployment_id)
{
	Datum		values[2];

	values[0] = CStringGetTextDatum(deployment_id);
	values[1] = CStringGetTextDatum(version->id);
	mrb_query_open();
	(void) mrb_query_run(&healthy_query, values, NULL);
	version->healthy = mrb_query_int32(0, 1, 0);
	mrb_query_close();
}
