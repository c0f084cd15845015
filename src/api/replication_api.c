/*-------------------------------------------------------------------------
 *
 * replication_api.c
 *	  What logical replication does not bring along.
 *
 * Rows that each server makes for itself (shipped adapters, the order of
 * epochs, what edges have acknowledged) must not come from another one: the
 * shipped ones are there already, so that the subscription would fail for
 * ever, and the others say what a different dispatcher did.  Secrets come
 * without their values, which would take the place of the own ones.
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
 * miosa.is_applied()
 */
Datum
mrb_is_applied(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(IsLogicalWorker());
}

/*
 * miosa.keep_local(): leave out what a subscription applies.  A session that
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
				 errmsg("keep_local must be fired before a change of a row")));
	if (IsLogicalWorker())
		return PointerGetDatum(NULL);
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
						   trigger->tg_newtuple : trigger->tg_trigtuple);
}
