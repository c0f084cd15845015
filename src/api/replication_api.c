/*-------------------------------------------------------------------------
 *
 * replication_api.c
 *	  Rows that logical replication must not apply.
 *
 * Rows that each server writes itself (shipped adapters, the order of epochs,
 * acknowledgements of edges) must not come from another server: the shipped
 * ones exist already, so the subscription would fail forever, and the others
 * describe what another dispatcher did.  Secrets arrive masked, and would
 * replace the local values.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "fmgr.h"
#include "replication/logicalworker.h"

PG_FUNCTION_INFO_V1(mrb_is_applied);
PG_FUNCTION_INFO_V1(mrb_keep_local);

/*
 * miosa.is_applied(): whether a subscription applies the change
 */
Datum
mrb_is_applied(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(IsLogicalWorker());
}

/*
 * miosa.keep_local(): skip a row that a subscription applies.  A session that
 * sets session_replication_role to replica is no subscription.
 */
Datum
mrb_keep_local(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"keep_local\" must be called as a row-level BEFORE trigger")));
	if (IsLogicalWorker())
		return PointerGetDatum(NULL);
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
						   trigger->tg_newtuple : trigger->tg_trigtuple);
}
