/*-------------------------------------------------------------------------
 *
 * primary.c
 *	  Refusal of writes where operations are not made.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "commands/trigger.h"
#include "fmgr.h"

#include "base/errors.h"
#include "base/guc.h"
#include "operation/primary.h"

PG_FUNCTION_INFO_V1(mrb_require_primary);
PG_FUNCTION_INFO_V1(mrb_refuse_replica);

/*
 * miosa.require_primary(): raise NOT_PRIMARY where operations are not made
 */
Datum
mrb_require_primary(PG_FUNCTION_ARGS)
{
	mrb_primary_require();
	PG_RETURN_VOID();
}

/*
 * Trigger miosa.refuse_replica(): raise NOT_PRIMARY at a replica.  It is in C
 * because each operation fires it.
 */
Datum
mrb_refuse_replica(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"refuse_replica\" must be called as a trigger")));
	mrb_primary_require();
	return PointerGetDatum(NULL);
}

/*
 * Raise NOT_PRIMARY where operations are not made.
 */
void
mrb_primary_require(void)
{
	if (!mrb_primary_is_here())
		mrb_primary_raise(NULL);
}

/*
 * Whether operations are made here: not on a standby, nor at a site that gets
 * its routes from another one.
 */
bool
mrb_primary_is_here(void)
{
	return !RecoveryInProgress() && mrb_site_role == MRB_SITE_PRIMARY;
}

/*
 * Raise NOT_PRIMARY.
 */
void
mrb_primary_raise(const char *works_here)
{
	bool		standby = RecoveryInProgress();
	const char *hint = standby ? "Call the function on the primary" :
	"Call the function at the primary site";

	mrb_raise(MRB_ERR_NOT_PRIMARY,
			  standby ? "this server is a standby" :
			  "this site gets its routes from another one",
			  standby ? "A standby can be read but not written." :
			  "miosa_rollback.site_role is \"replica\".",
			  works_here != NULL ? psprintf("%s; this works here: %s", hint, works_here) :
			  psprintf("%s.", hint));
}
