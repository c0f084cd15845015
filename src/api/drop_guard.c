/*-------------------------------------------------------------------------
 *
 * drop_guard.c
 *	  Refusing to drop the extension while it has data.
 *
 * DROP EXTENSION drops the tables too, and with them the audit trail, which
 * cannot be made again.  So a hook sees each table of the extension before it
 * is dropped, and raises an error when deployments or audit events are left,
 * unless miosa_rollback.allow_drop is on.  The tables are members of the
 * extension and cannot be dropped without it; so the hook also sees what drops
 * the extension by CASCADE: DROP SCHEMA, DROP OWNED, DROP EXTENSION plpgsql.
 * DROP DATABASE drops no single table and is not affected.
 *
 * An event trigger on sql_drop would come too late: it is a member of the
 * extension, and dropped before it would run.  One on ddl_command_start does
 * not know what a CASCADE will reach.  The install script makes one on
 * ddl_command_start all the same, for servers that do not preload the library:
 * the call of its function loads the library, which installs the hook.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/dependency.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "api/drop_guard.h"
#include "base/guc.h"
#include "base/miosa_rollback.h"

static object_access_hook_type previous_hook = NULL;

PG_FUNCTION_INFO_V1(mrb_load_drop_guard);

static void watch_access(ObjectAccessType access, Oid class_id, Oid object_id,
						 int sub_id, void *arg);
static bool is_guarded(Oid relid);
static bool has_rows(Oid relid);

/*
 * Install the hook, in this process and those that it forks.
 */
void
mrb_drop_guard_install(void)
{
	previous_hook = object_access_hook;
	object_access_hook = watch_access;
}

/*
 * Event trigger: has no other effect than that the library is loaded.
 */
Datum
mrb_load_drop_guard(PG_FUNCTION_ARGS)
{
	PG_RETURN_NULL();
}

/*
 * The hook: an error when a guarded table with rows is about to be dropped.
 * An update script of the extension may drop what it likes.
 */
static void
watch_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id,
			 void *arg)
{
	if (previous_hook)
		previous_hook(access, class_id, object_id, sub_id, arg);

	if (access != OAT_DROP || class_id != RelationRelationId || sub_id != 0 ||
		mrb_allow_drop || creating_extension)
		return;
	if (is_guarded(object_id) && has_rows(object_id))
		ereport(ERROR,
				errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				errmsg("cannot drop extension \"%s\" because it has data",
					   MRB_EXTENSION),
				errdetail("Table %s.%s is not empty, and is dropped with the extension.",
						  MRB_SCHEMA, get_rel_name(object_id)),
				errhint("Export the audit trail with \"\\copy %s.audit_events TO 'audit_events.csv' WITH (FORMAT csv, HEADER)\", then run \"SET miosa_rollback.allow_drop = on\" and repeat the command.",
						MRB_SCHEMA));
}

/*
 * Whether it is a table of ours whose rows keep the extension from being dropped.
 */
static bool
is_guarded(Oid relid)
{
	static const char *const guarded[] = {"audit_events", "deployments"};
	char	   *schema = get_namespace_name(get_rel_namespace(relid));
	char	   *name;
	bool		matches = false;
	Oid			extension;

	if (schema == NULL || strcmp(schema, MRB_SCHEMA) != 0 ||
		get_rel_relkind(relid) != RELKIND_RELATION)
		return false;
	name = get_rel_name(relid);
	for (size_t i = 0; i < lengthof(guarded); i++)
		matches |= strcmp(name, guarded[i]) == 0;
	if (!matches)
		return false;
	/* A subscriber may have tables of these names that are not ours. */
	extension = getExtensionOfObject(RelationRelationId, relid);
	return OidIsValid(extension) &&
		extension == get_extension_oid(MRB_EXTENSION, true);
}

/*
 * Whether the table has a row.  The command that drops it holds its lock.
 */
static bool
has_rows(Oid relid)
{
	Relation	relation = table_open(relid, NoLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	TableScanDesc scan = table_beginscan(relation, snapshot, 0, NULL);
	bool		found = table_scan_getnextslot(scan, ForwardScanDirection, slot);

	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	table_close(relation, NoLock);
	return found;
}
