/*-------------------------------------------------------------------------
 *
 * console.c
 *	  Entry to the functions that people call.
 *
 * miosa.status() and its like are written in PL/pgSQL, in a function of the
 * same name with _rows behind it, which is called here.  What such a function
 * refuses is said in message, DETAIL and HINT; where in our code that was
 * would be shown as CONTEXT below.  So this place notes where the frames of
 * the caller end, and a condition is raised with these alone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "errors.h"

PG_FUNCTION_INFO_V1(mrb_console);

static FmgrInfo *find_rows_function(FunctionCallInfo fcinfo);

/*
 * Call the function that has the rows, with the same arguments.
 */
Datum
mrb_console(PG_FUNCTION_ARGS)
{
	FmgrInfo   *own = fcinfo->flinfo;
	volatile Datum result = (Datum) 0;
	MrbCaller	before;

	if (own->fn_extra == NULL)
		own->fn_extra = find_rows_function(fcinfo);
	before = mrb_errors_enter();
	PG_TRY();
	{
		fcinfo->flinfo = own->fn_extra;
		result = FunctionCallInvoke(fcinfo);
	}
	PG_FINALLY();
	{
		fcinfo->flinfo = own;
		mrb_errors_leave(before);
	}
	PG_END_TRY();
	return result;
}

/*
 * Look up the function of the same schema and arguments with _rows behind its
 * name, for as long as the calling one is known.
 */
static FmgrInfo *
find_rows_function(FunctionCallInfo fcinfo)
{
	FmgrInfo   *own = fcinfo->flinfo;
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(own->fn_oid));
	FmgrInfo   *rows = MemoryContextAlloc(own->fn_mcxt, sizeof(FmgrInfo));
	Form_pg_proc proc;
	Oid			id;
	char	   *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", own->fn_oid);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	name = psprintf("%s_rows", NameStr(proc->proname));
	id = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
						 CStringGetDatum(name),
						 PointerGetDatum(&proc->proargtypes),
						 ObjectIdGetDatum(proc->pronamespace));
	if (!OidIsValid(id))
		elog(ERROR, "function %s was not found", name);
	ReleaseSysCache(tuple);
	fmgr_info_cxt(id, rows, own->fn_mcxt);
	return rows;
}
