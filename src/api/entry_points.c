/*-------------------------------------------------------------------------
 *
 * entry_points.c
 *	  Entry points of the functions that are not written in C.
 *
 * Callers, and every trigger, enter through a function in C, which calls the
 * one that does the work: the one of the same name in schema miosa, or with
 * the suffix _rows (console) or _body.  Procedures have a second entry point, in
 * schema miosa and without the prefix of the name: jobs call that one, because
 * nobody can create an overload of it.  So lock waits are bounded before
 * PL/pgSQL opens a table while it compiles.  And the caller's frames are known:
 * a refusal says everything in message, DETAIL and HINT, and the extension's
 * own lines as CONTEXT would bury those of the function that called it.
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

#include "api/gate.h"
#include "base/errors.h"
#include "base/size_limit.h"
#include "common/lock_wait.h"
#include "operation/primary.h"

PG_FUNCTION_INFO_V1(mrb_entry_console);
PG_FUNCTION_INFO_V1(mrb_entry_bounded);
PG_FUNCTION_INFO_V1(mrb_entry_unbounded);
PG_FUNCTION_INFO_V1(mrb_entry_inner);
PG_FUNCTION_INFO_V1(mrb_entry_trigger);
PG_FUNCTION_INFO_V1(mrb_require_procedure);

/* What an entry point finds out once. */
typedef struct Entry
{
	FmgrInfo	other;			/* the function that does the work */
	MrbGate		gate;
} Entry;

/* Whether a procedure of the extension runs. */
static bool in_procedure = false;

static Datum call_rows(PG_FUNCTION_ARGS);
static Datum call_checked(PG_FUNCTION_ARGS);
static Datum call_same(PG_FUNCTION_ARGS);
static Datum call_body(PG_FUNCTION_ARGS);
static Datum call_trigger(PG_FUNCTION_ARGS);
static Datum call_other(FunctionCallInfo fcinfo, const char *schema,
						const char *suffix, bool gated);
static Entry *find_other(FunctionCallInfo fcinfo, const char *schema,
						 const char *suffix);
static Oid	find_function(Form_pg_proc own, const char *schema,
						  const char *suffix);

/*
 * Entry of every function of the console.
 */
Datum
mrb_entry_console(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_PUBLIC, call_rows, fcinfo);
}

/*
 * Entry of the functions for programs, with bounded lock waits.  Volatile ones
 * write; a standby refuses them before they check arguments, because it may lag
 * behind.
 */
Datum
mrb_entry_bounded(PG_FUNCTION_ARGS)
{
	if (RecoveryInProgress() &&
		func_volatile(fcinfo->flinfo->fn_oid) == PROVOLATILE_VOLATILE)
		mrb_primary_raise(NULL);
	return mrb_lock_wait_call(MRB_PUBLIC, call_same, fcinfo);
}

/*
 * Entry of functions that continue when they meet a lock, and of procedures,
 * which bound the lock waits of each of their transactions.
 */
Datum
mrb_entry_unbounded(PG_FUNCTION_ARGS)
{
	return mrb_errors_call(MRB_PUBLIC, call_checked, fcinfo);
}

/*
 * Entry of the steps of procedures, and of functions that views call.
 */
Datum
mrb_entry_inner(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_INNER, call_body, fcinfo);
}

/*
 * Entry of triggers.
 */
Datum
mrb_entry_trigger(PG_FUNCTION_ARGS)
{
	return mrb_errors_call(MRB_INNER, call_trigger, fcinfo);
}

/*
 * Call the function with the suffix _rows, with the same arguments.  It finds its
 * deployment by miosa.find_deployment(), which looks at tenants.
 */
static Datum
call_rows(PG_FUNCTION_ARGS)
{
	return call_other(fcinfo, NULL, "_rows", false);
}

/*
 * Check the sizes of the arguments, and call the function of the same name in
 * schema miosa.
 */
static Datum
call_checked(PG_FUNCTION_ARGS)
{
	bool		outer = in_procedure;
	volatile Datum result = (Datum) 0;

	mrb_size_limit_check_arguments(fcinfo);
	in_procedure = get_func_prokind(fcinfo->flinfo->fn_oid) == PROKIND_PROCEDURE;
	PG_TRY();
	{
		result = call_same(fcinfo);
	}
	PG_FINALLY();
	{
		in_procedure = outer;
	}
	PG_END_TRY();
	return result;
}

/*
 * miosa.require_procedure(name): raise FORBIDDEN when the last step of a
 * procedure, which runs with its caller's rights, is called by the caller itself
 */
Datum
mrb_require_procedure(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (!in_procedure)
		mrb_raise(MRB_ERR_FORBIDDEN,
				  psprintf("only %s() can record that it has finished", name),
				  "The function was called by itself.",
				  psprintf("CALL %s();", name));
	PG_RETURN_VOID();
}

/*
 * Call the function of the same name in schema miosa.
 */
static Datum
call_same(PG_FUNCTION_ARGS)
{
	return call_other(fcinfo, "miosa", "", true);
}

/*
 * Call the function with the suffix _body, with the same arguments.
 */
static Datum
call_body(PG_FUNCTION_ARGS)
{
	return call_other(fcinfo, NULL, "_body", true);
}

/*
 * The same for a trigger, which somebody fires who may write the row.
 */
static Datum
call_trigger(PG_FUNCTION_ARGS)
{
	return call_other(fcinfo, NULL, "_body", false);
}

/*
 * Call another function with the same arguments: the one in the given schema
 * (NULL: the same), with the suffix appended to its name.  gated: the caller
 * must be allowed to.
 */
static Datum
call_other(FunctionCallInfo fcinfo, const char *schema, const char *suffix,
		   bool gated)
{
	FmgrInfo   *own = fcinfo->flinfo;
	volatile Datum result = (Datum) 0;
	Entry	   *entry;

	if (own->fn_extra == NULL)
		own->fn_extra = find_other(fcinfo, schema, suffix);
	entry = own->fn_extra;
	if (gated)
		mrb_gate_pass(&entry->gate, fcinfo);
	PG_TRY();
	{
		fcinfo->flinfo = &entry->other;
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
 * Look up that function; the result lives as long as the caller's FmgrInfo.
 */
static Entry *
find_other(FunctionCallInfo fcinfo, const char *schema, const char *suffix)
{
	FmgrInfo   *own = fcinfo->flinfo;
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(own->fn_oid));
	Entry	   *entry = MemoryContextAllocZero(own->fn_mcxt, sizeof(Entry));
	Oid			id;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", own->fn_oid);
	id = find_function((Form_pg_proc) GETSTRUCT(tuple), schema, suffix);
	ReleaseSysCache(tuple);
	fmgr_info_cxt(id, &entry->other, own->fn_mcxt);
	entry->gate = mrb_gate_find(own->fn_oid, own->fn_mcxt);
	return entry;
}

/*
 * Look up the function that an entry point calls.
 */
static Oid
find_function(Form_pg_proc own, const char *schema, const char *suffix)
{
	Oid			namespace = own->pronamespace;
	const char *prefix = "";
	char	   *name;
	Oid			id;

	if (schema != NULL)
		namespace = get_namespace_oid(schema, false);
	if (schema != NULL && namespace == own->pronamespace)
		prefix = "miosa_";
	name = psprintf("%s%s%s", prefix, NameStr(own->proname), suffix);
	id = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
						 CStringGetDatum(name),
						 PointerGetDatum(&own->proargtypes),
						 ObjectIdGetDatum(namespace));
	if (!OidIsValid(id))
		elog(ERROR, "function %s was not found", name);
	return id;
}
