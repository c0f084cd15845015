/*-------------------------------------------------------------------------
 *
 * primary.c
 *	  Refusal of writes on a standby.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"

#include "base/errors.h"
#include "operation/primary.h"

PG_FUNCTION_INFO_V1(mrb_require_primary);

/*
 * miosa.require_primary(): raise NOT_PRIMARY on a standby
 */
Datum
mrb_require_primary(PG_FUNCTION_ARGS)
{
	mrb_primary_require();
	PG_RETURN_VOID();
}

/*
 * Raise NOT_PRIMARY on a standby.
 */
void
mrb_primary_require(void)
{
	if (RecoveryInProgress())
		mrb_primary_raise(NULL);
}

/*
 * Raise NOT_PRIMARY.
 */
void
mrb_primary_raise(const char *hint)
{
	mrb_raise(MRB_ERR_NOT_PRIMARY, "this server is a standby",
			  "A standby can be read but not written.",
			  hint ? hint : "Call the function on the primary.");
}
