/*-------------------------------------------------------------------------
 *
 * try_call.c
 *	  Calls whose conditions are returned instead of raised.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "common/lock_wait.h"
#include "common/try_call.h"

/*
 * Call a function in a subtransaction.
 */
bool
mrb_try_call(PGFunction function, FunctionCallInfo fcinfo, Datum *result,
			 MrbRefused *refused)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		*result = mrb_lock_wait_call(MRB_TRIED, function, fcinfo);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error == NULL)
		return true;
	if (!mrb_errors_read(error, refused))
		ReThrowError(error);
	return false;
}
