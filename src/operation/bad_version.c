/*-------------------------------------------------------------------------
 *
 * bad_version.c
 *	  Versions that are marked as bad.
 *
 * The mark of one version is in its row, which every operation reads anyway.
 * The mark of an artifact is a row of miosa.bad_artifacts, and counts for all
 * versions with that artifact: of one tenant, or of all.  An artifact is known
 * by its digest, or else by its image.
 *
 * That table is nearly always empty, so each process remembers that it is,
 * until a trigger of the table sends a relcache invalidation (as for
 * miosa.tenant_members).  A look-up in it would be 1 % of a rollback.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/json_build.h"
#include "common/index_lookup.h"
#include "common/iso_time.h"
#include "common/json_read.h"
#include "common/query.h"
#include "operation/bad_version.h"
#include "operation/caller_request.h"
#include "operation/tenancy.h"

PG_FUNCTION_INFO_V1(mrb_bad_mark);
PG_FUNCTION_INFO_V1(mrb_artifact_name);
PG_FUNCTION_INFO_V1(mrb_bad_artifacts_changed);

/* The tenant of a mark that counts for all. */
#define ANY_TENANT "*"

/* A reason is shown up to so many bytes where many versions are listed. */
#define SHOWN_REASON 200

enum
{
	MARK_SINCE,
	MARK_REASON,
	MARK_BY
};

static MrbIndexLookup mark_row = {
	.table.name = "bad_artifacts",
	.table.index = "bad_artifacts_pkey",
	.table.columns = {
		[MARK_SINCE] = "since",
		[MARK_REASON] = "reason",
		[MARK_BY] = "marked_by",
	},
	.table.types = {[MARK_SINCE] = TIMESTAMPTZOID},
};

/* What names the artifact of a version, and whose it is. */
enum
{
	ARTIFACT_TENANT,
	ARTIFACT_SHA256,
	ARTIFACT_IMAGE
};

static MrbIndexLookup artifact_row = {
	.table.name = "versions",
	.table.index = "versions_pkey",
	.table.columns = {
		[ARTIFACT_TENANT] = "tenant_id",
		[ARTIFACT_SHA256] = "artifact_sha256",
		[ARTIFACT_IMAGE] = "runtime_image",
	},
};

static MrbQuery mark_query = {
	.sql = "UPDATE miosa.versions v SET bad_since = $3,"
	" bad_reason = $4, bad_by = $5, updated_at = $3"
	" WHERE v.deployment_id = $1 AND v.id = $2 AND v.bad_since IS NULL",
	.nargs = 5,
	.argtypes = {TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID},
	.expected = MRB_QUERY_UPDATE,
};

static MrbQuery clear_query = {
	.sql = "UPDATE miosa.versions v SET bad_since = NULL, bad_reason = NULL,"
	" bad_by = NULL, updated_at = pg_catalog.clock_timestamp()"
	" WHERE v.deployment_id = $1 AND v.id = $2",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
	.expected = MRB_QUERY_UPDATE,
};

static bool any_artifact_marked(void);
static bool has_rows(void);
static char *name_artifact(const MrbVersion *version, const char *deployment_id,
						   char **tenant_id);
static bool take_mark(MrbVersion *version, const char *artifact,
					  const char *tenant_id);
static MrbFinding refuse(const MrbDeployment *deployment, bool promotion);
static char *describe_mark(const MrbVersion *version);

/*
 * miosa.bad_mark(deployment_id, version_id): the mark of a version, as an object
 */
Datum
mrb_bad_mark(PG_FUNCTION_ARGS)
{
	MrbVersion	version = {0};
	char	   *deployment_id;
	char	   *tenant_id = NULL;
	char		since[MRB_ISO_TIME_SIZE];
	StringInfoData json;

	deployment_id = text_to_cstring(PG_GETARG_TEXT_PP(0));
	mrb_index_lookup_begin();
	if (mrb_version_look(&version, deployment_id,
						 text_to_cstring(PG_GETARG_TEXT_PP(1)), NULL))
	{
		mrb_version_look_release(&version, deployment_id, NULL);
		mrb_bad_version_look(&version, deployment_id);
		if (version.bad_since != 0)
			(void) name_artifact(&version, deployment_id, &tenant_id);
	}
	mrb_index_lookup_end();
	if (tenant_id == NULL || !mrb_tenancy_sees(tenant_id))
		PG_RETURN_NULL();

	initStringInfo(&json);
	mrb_json_build_object(&json, NULL);
	mrb_json_build_string(&json, "scope", version.bad_artifact ? "artifact" : "deployment");
	mrb_json_build_string(&json, "since", mrb_iso_time_write(version.bad_since, since));
	mrb_json_build_string(&json, "by", version.bad_by);
	mrb_json_build_string(&json, "reason", version.bad_reason);
	mrb_json_build_end(&json);
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}

/*
 * miosa.artifact_name(deployment_id, version_id): what names the artifact of a
 * version in miosa.bad_artifacts
 */
Datum
mrb_artifact_name(PG_FUNCTION_ARGS)
{
	MrbVersion	version = {0};
	char	   *deployment_id = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *tenant_id;
	char	   *name = NULL;

	mrb_index_lookup_begin();
	if (mrb_version_look(&version, deployment_id,
						 text_to_cstring(PG_GETARG_TEXT_PP(1)), NULL))
	{
		mrb_version_look_release(&version, deployment_id, NULL);
		name = name_artifact(&version, deployment_id, &tenant_id);
	}
	mrb_index_lookup_end();
	if (name == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(name));
}

/*
 * Trigger miosa.bad_artifacts_changed(): every process looks at the table again
 * after the commit.
 */
Datum
mrb_bad_artifacts_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("bad_artifacts_changed must be called as a trigger")));
	CacheInvalidateRelcache(trigger->tg_relation);
	return PointerGetDatum(NULL);
}

/*
 * Look for a mark of the version's artifact: the tenant's own, or else one that
 * counts for all tenants.
 */
void
mrb_bad_version_look(MrbVersion *version, const char *deployment_id)
{
	char	   *artifact;
	char	   *tenant_id;

	if (version->bad_since != 0 || !any_artifact_marked())
		return;
	artifact = name_artifact(version, deployment_id, &tenant_id);
	if (artifact != NULL)
		version->bad_artifact = take_mark(version, artifact, tenant_id) ||
			take_mark(version, artifact, ANY_TENANT);
}

/*
 * Whether the table has rows.  Under a deployment's lock this must not miss a
 * mark that was committed while the lock was waited for, so invalidations are
 * received here.  What is received while the table is read is for the next call:
 * reading until nothing comes would never end where every look into a cache
 * empties it (debug_discard_caches).
 */
static bool
any_artifact_marked(void)
{
	static bool known = false;
	static bool any;
	static uint64 changes;

	AcceptInvalidationMessages();
	if (!known || changes != mark_row.table.changes)
	{
		uint64		before = mark_row.table.changes;

		any = has_rows();
		changes = before;
		known = true;
	}
	return any;
}

/*
 * Look for a row, by a new snapshot: one that was taken before the invalidation
 * could miss what was committed.
 */
static bool
has_rows(void)
{
	Relation	relation = mrb_table_open(&mark_row.table, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	Snapshot	snapshot = RegisterSnapshot(GetCatalogSnapshot(mark_row.table.relid));
	TableScanDesc scan = table_beginscan(relation, snapshot, 0, NULL);
	bool		found = table_scan_getnextslot(scan, ForwardScanDirection, slot);

	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(slot);
	table_close(relation, NoLock);
	return found;
}

/*
 * Return what names the artifact of a version, or NULL, and the version's
 * tenant.
 */
static char *
name_artifact(const MrbVersion *version, const char *deployment_id,
			  char **tenant_id)
{
	char	   *name = version->sha256;

	*tenant_id = NULL;
	if (!mrb_index_lookup_find_again(&artifact_row, &version->place,
									 deployment_id, version->id))
		return NULL;
	*tenant_id = mrb_index_lookup_text(&artifact_row, ARTIFACT_TENANT);
	if (name == NULL)
		name = mrb_index_lookup_text(&artifact_row, ARTIFACT_SHA256);
	if (name == NULL)
		name = mrb_index_lookup_text(&artifact_row, ARTIFACT_IMAGE);
	mrb_index_lookup_close(&artifact_row);
	return name;
}

/*
 * Take the mark of an artifact for a version, if a tenant has marked it.
 */
static bool
take_mark(MrbVersion *version, const char *artifact, const char *tenant_id)
{
	if (!mrb_index_lookup_find(&mark_row, artifact, tenant_id))
		return false;
	version->bad_since = mrb_index_lookup_timestamp(&mark_row, MARK_SINCE);
	version->bad_reason = mrb_index_lookup_text(&mark_row, MARK_REASON);
	version->bad_by = mrb_index_lookup_text(&mark_row, MARK_BY);
	mrb_index_lookup_close(&mark_row);
	return true;
}

/*
 * Say why a version is passed over.
 */
char *
mrb_bad_version_describe(const MrbVersion *version)
{
	int			len = strlen(version->bad_reason);
	int			shown = pg_mbcliplen(version->bad_reason, len, SHOWN_REASON);

	return psprintf("%s marked as bad: %.*s%s",
					version->bad_artifact ? "its artifact is" : "it is", shown,
					version->bad_reason, shown < len ? "..." : "");
}

/*
 * The target is not marked as bad.  A promotion needs accept_bad; a rollback that
 * names the version proceeds with a warning.  One that does not name it was to go
 * there before the version was marked.
 */
MrbFinding
mrb_bad_version_check(const MrbDeployment *deployment, bool promotion)
{
	const MrbCallerRequest *request = deployment->request;
	MrbFinding	it;

	if (deployment->target.bad_since == 0)
		return mrb_finding_hold("version_good");
	it = refuse(deployment, promotion);
	if (promotion ? request != NULL && request->accept_bad :
		request == NULL || request->action != MRB_ROLLBACK ||
		request->version_id != NULL)
		return mrb_finding_accept(&it, "VERSION_BAD",
								  psprintf("See what else can be restored with %s",
										   mrb_caller_request_show(request, "candidates",
																   deployment->id)),
								  "\"target\": \"bad\"");
	return it;
}

/*
 * Make the finding that refuses the target.
 */
static MrbFinding
refuse(const MrbDeployment *deployment, bool promotion)
{
	const char *id = deployment->target.id;
	MrbCallerRequest again = {0};
	char	   *hint;

	if (deployment->request != NULL)
		again = *deployment->request;
	again.accept_bad = promotion;
	if (promotion)
		hint = psprintf("To promote it all the same, type %s",
						mrb_caller_request_again(&again, true, deployment->id,
												 id, false));
	else
		hint = psprintf("See what can be restored with %s",
						mrb_caller_request_show(&again, "candidates",
												deployment->id));
	return mrb_finding_fail("version_good", MRB_ERR_VERSION_BAD,
							psprintf("version \"%s\" is marked as bad", id),
							describe_mark(&deployment->target), hint);
}

/*
 * Say who marked a version, when and why.
 */
static char *
describe_mark(const MrbVersion *version)
{
	return psprintf("%s marked at %s by %s: %s",
					version->bad_artifact ? "Its artifact was" : "It was",
					timestamptz_to_str(version->bad_since), version->bad_by,
					version->bad_reason);
}

/*
 * Whether the operation has marked the target.  A mark that somebody has made
 * before, or since, has another time.
 */
bool
mrb_bad_version_lift(MrbDeployment *deployment, Jsonb *marks, TimestampTz at)
{
	MrbVersion *target = &deployment->target;
	char	   *marked = mrb_json_read_text(&marks->root, "marked_bad");

	if (marked == NULL || strcmp(marked, target->id) != 0 ||
		target->bad_artifact || target->bad_since != at)
		return false;
	target->bad_since = 0;
	return true;
}

/*
 * Why the active version is to be marked again.
 */
char *
mrb_bad_version_lifted(const MrbDeployment *deployment, Jsonb *marks)
{
	JsonbValue	value;
	JsonbContainer *lifted;
	char	   *id;

	if (!mrb_json_read_get(&marks->root, "cleared_bad", &value) ||
		(lifted = mrb_json_read_object(&value)) == NULL)
		return NULL;
	id = mrb_json_read_text(lifted, "version");
	if (id == NULL || deployment->active.id == NULL ||
		strcmp(id, deployment->active.id) != 0)
		return NULL;
	return mrb_json_read_text(lifted, "reason");
}

/*
 * Clear a version.
 */
void
mrb_bad_version_clear(const char *deployment_id, const char *version_id)
{
	Datum		values[] = {
		CStringGetTextDatum(deployment_id),
		CStringGetTextDatum(version_id),
	};

	mrb_query_open();
	(void) mrb_query_run(&clear_query, values, NULL);
	mrb_query_close();
}

/*
 * Mark a version.  An earlier mark stays as it is, so that undo has none to
 * restore.
 */
void
mrb_bad_version_mark(const char *deployment_id, const char *version_id,
					 TimestampTz since, const char *reason,
					 const char *actor_id)
{
	Datum		values[5];

	values[0] = CStringGetTextDatum(deployment_id);
	values[1] = CStringGetTextDatum(version_id);
	values[2] = TimestampTzGetDatum(since);
	values[3] = CStringGetTextDatum(reason);
	values[4] = CStringGetTextDatum(actor_id);
	mrb_query_open();
	(void) mrb_query_run(&mark_query, values, NULL);
	mrb_query_close();
}
