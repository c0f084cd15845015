/*-------------------------------------------------------------------------
 *
 * policy_restore.c
 *	  Restoring the policies of the extension's tables.
 *
 * pg_dump leaves out what belongs to an extension but policies, which it takes
 * for the user's.  CREATE EXTENSION has made them when the dump's CREATE POLICY
 * runs, which would fail.  So an event trigger drops the one that is there, in
 * the transaction that makes it again.  A restore is recognized as by
 * miosa.restoring().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_policy.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "commands/policy.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/miosa_rollback.h"

PG_FUNCTION_INFO_V1(mrb_replace_policy);

static void drop_policy(const CreatePolicyStmt *statement);
static bool is_owned_member(Oid relid);

/*
 * Event trigger miosa_rollback_policy, before CREATE POLICY
 */
Datum
mrb_replace_policy(PG_FUNCTION_ARGS)
{
	EventTriggerData *trigger = (EventTriggerData *) fcinfo->context;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("replace_policy must be called as an event trigger")));
	if (!check_function_bodies && IsA(trigger->parsetree, CreatePolicyStmt))
		drop_policy((CreatePolicyStmt *) trigger->parsetree);
	PG_RETURN_NULL();
}

/*
 * Drop the policy of that name, if its table is the extension's and the user
 * may.
 */
static void
drop_policy(const CreatePolicyStmt *statement)
{
	Oid			relid = RangeVarGetRelid(statement->table, NoLock, true);
	ObjectAddress policy;

	if (!OidIsValid(relid) || !is_owned_member(relid))
		return;
	policy.classId = PolicyRelationId;
	policy.objectId = get_relation_policy_oid(relid, statement->policy_name, true);
	policy.objectSubId = 0;
	if (OidIsValid(policy.objectId))
		performDeletion(&policy, DROP_RESTRICT, 0);
}

/*
 * Whether a table is the extension's, and the user has its owner's rights.
 */
static bool
is_owned_member(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool		owned;

	if (!HeapTupleIsValid(tuple))
		return false;
	owned = has_privs_of_role(GetUserId(),
							  ((Form_pg_class) GETSTRUCT(tuple))->relowner);
	ReleaseSysCache(tuple);
	return owned && getExtensionOfObject(RelationRelationId, relid) ==
		get_extension_oid(MRB_EXTENSION, true);
}
