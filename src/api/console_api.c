/*-------------------------------------------------------------------------
 *
 * console_api.c
 *	  Entry to the functions that are not written in C.
 *
 * Whatever people and programs call, and every trigger, is entered through a
 * function in C, which calls the one that does the work: of the same name in
 * schema miosa, or with _rows (console) or _body behind its name.  So waits
 * for locks are bounded before PL/pgSQL opens a table while it compiles.  And
 * where the frames of the caller end is known: a refusal says all in message,
 * DETAIL and HINT, and lines of our own code as CONTEXT would bury the lines
 * of the function that called us.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/errors.h"
#include "common/lock_wait.h"

PG_FUNCTION_INFO_V1(mrb_console);
PG_FUNCTION_INFO_V1(mrb_guarded);
PG_FUNCTION_INFO_V1(mrb_entered);
PG_FUNCTION_INFO_V1(mrb_guarded_body);
PG_FUNCTION_INFO_V1(mrb_entered_body);

static Datum call_rows(PG_FUNCTION_ARGS);
static Datum call_same(PG_FUNCTION_ARGS);
static Datum call_body(PG_FUNCTION_ARGS);
static Datum call_other(FunctionCallInfo fcinfo, const char *schema,
						const char *suffix);
static FmgrInfo *find_other(FunctionCallInfo fcinfo, const char *schema,
							const char *suffix);

/*
 * Every function of the console.
 */
Datum
mrb_console(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_PUBLIC, call_rows, fcinfo);
}

/*
 * The functions for programs.  Those that are volatile write, which a standby
 * refuses before it judges the arguments: it may be behind.
 */
Datum
mrb_guarded(PG_FUNCTION_ARGS)
{
	if (RecoveryInProgress() &&
		func_volatile(fcinfo->flinfo->fn_oid) == PROVOLATILE_VOLATILE)
		mrb_raise(MRB_ERR_NOT_PRIMARY, "this server is a standby",
				  "It can be read but not written.",
				  "Call the same on the primary.");
	return mrb_lock_wait_call(MRB_PUBLIC, call_same, fcinfo);
}

/*
 * Those that go on when they meet a lock, and procedures, which bound the
 * waits of each of their transactions.
 */
Datum
mrb_entered(PG_FUNCTION_ARGS)
{
	return mrb_errors_call(MRB_PUBLIC, call_same, fcinfo);
}

/*
 * The steps of procedures, and what views are made of.
 */
Datum
mrb_guarded_body(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_INNER, call_body, fcinfo);
}

/*
 * Triggers.
 */
Datum
mrb_entered_body(PG_FUNCTION_ARGS)
{
	return mrb_errors_call(MRB_INNER, call_body, fcinfo);
}

/*
 * Call the function that has the rows, with the same arguments.
 */
static Datum
call_rows(PG_FUNCTION_ARGS)
{
	return call_other(fcinfo, NULL, "_rows");
}

/*
 * Call the function of the same name in schema miosa.
 */
static Datum
call_same(PG_FUNCTION_ARGS)
{
	return call_other(fcinfo, "miosa", "");
}

/*
 * Call the function with _body behind its name.
 */
static Datum
call_body(PG_FUNCTION_ARGS)
{
	return call_other(fcinfo, NULL, "_body");
}

/*
 * Call another function with the same arguments: of that schema (NULL: the
 * same), with that behind its name.
 */
static Datum
call_other(FunctionCallInfo fcinfo, const char *schema, const char *suffix)
{
	FmgrInfo   *own = fcinfo->flinfo;
	volatile Datum result = (Datum) 0;

	if (own->fn_extra == NULL)
		own->fn_extra = find_other(fcinfo, schema, suffix);
	PG_TRY();
	{
		fcinfo->flinfo = own->fn_extra;
		result = FunctionCallInvoke(fcinfo);
	}
	PG_FINALLY();
	{
		fcinfo->flinfo = own;
	}
	PG_END_TRY();
	return result;
}

/*
 * Look up that function, for as long as the calling one is known.
 */
static FmgrInfo *
find_other(FunctionCallInfo fcinfo, const char *schema, const char *suffix)
{
	FmgrInfo   *own = fcinfo->flinfo;
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(own->fn_oid));
	FmgrInfo   *other = MemoryContextAlloc(own->fn_mcxt, sizeof(FmgrInfo));
	Form_pg_proc proc;
	Oid			id;
	char	   *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", own->fn_oid);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	name = psprintf("%s%s", NameStr(proc->proname), suffix);
	id = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
						 CStringGetDatum(name),
						 PointerGetDatum(&proc->proargtypes),
						 ObjectIdGetDatum(schema == NULL ? proc->pronamespace :
										  get_namespace_oid(schema, false)));
	if (!OidIsValid(id))
		elog(ERROR, "function %s was not found", name);
	ReleaseSysCache(tuple);
	fmgr_info_cxt(id, other, own->fn_mcxt);
	return other;
}
