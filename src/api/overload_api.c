/*-------------------------------------------------------------------------
 *
 * overload_api.c
 *	  Overloads that take arguments of other types: ids as uuid, JSON as json
 *	  or text, intervals as text.
 *
 * An overload calls the original: the function of the extension with its name,
 * schema and number of arguments.  An argument of another type is converted
 * through its text.  Sizes are checked before that, unless the original returns
 * conditions: then it has to check them itself.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/pg_proc.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/miosa_rollback.h"
#include "base/size_limit.h"

#define SYMBOL "mrb_overload"

/* Conversion of an argument to the type of the original's. */
typedef struct Conversion
{
	bool		needed;
	FmgrInfo	output;
	FmgrInfo	input;
	Oid			ioparam;
} Conversion;

/* The original of an overload, cached in the overload's FmgrInfo. */
typedef struct Original
{
	FmgrInfo	function;
	bool		tries;			/* it returns conditions */
	Conversion	conversions[FLEXIBLE_ARRAY_MEMBER];
} Original;

PG_FUNCTION_INFO_V1(mrb_overload);

static Original *find_original(FmgrInfo *own);
static Oid	search_original(Form_pg_proc own, oidvector **types);
static bool is_original(HeapTuple tuple, Form_pg_proc own, Oid extension);
static void prepare(Conversion *conversion, Oid from, Oid to,
					MemoryContext context);

/*
 * The function of every overload.
 */
Datum
mrb_overload(PG_FUNCTION_ARGS)
{
	LOCAL_FCINFO(call, FUNC_MAX_ARGS);
	Original   *original = fcinfo->flinfo->fn_extra;
	Datum		result;

	if (original == NULL)
		fcinfo->flinfo->fn_extra = original = find_original(fcinfo->flinfo);
	if (!original->tries)
		mrb_size_limit_check_arguments(fcinfo);
	InitFunctionCallInfoData(*call, &original->function, PG_NARGS(),
							 PG_GET_COLLATION(), fcinfo->context,
							 fcinfo->resultinfo);
	for (int i = 0; i < PG_NARGS(); i++)
	{
		Conversion *conversion = &original->conversions[i];

		call->args[i] = fcinfo->args[i];
		if (conversion->needed && !PG_ARGISNULL(i))
			call->args[i].value =
				InputFunctionCall(&conversion->input,
								  OutputFunctionCall(&conversion->output,
													 PG_GETARG_DATUM(i)),
								  conversion->ioparam, -1);
	}
	result = FunctionCallInvoke(call);
	fcinfo->isnull = call->isnull;
	return result;
}

/*
 * Look up the original, which the caller must have the privilege to execute.
 */
static Original *
find_original(FmgrInfo *own)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(own->fn_oid));
	Form_pg_proc proc;
	Original   *original;
	oidvector  *types;
	Oid			id;
	AclResult	acl;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", own->fn_oid);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	id = search_original(proc, &types);
	acl = MRB_PROC_ACLCHECK(id, GetUserId(), ACL_EXECUTE);
	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_FUNCTION, NameStr(proc->proname));

	original = MemoryContextAllocZero(own->fn_mcxt,
									  offsetof(Original, conversions) +
									  proc->pronargs * sizeof(Conversion));
	fmgr_info_cxt(id, &original->function, own->fn_mcxt);
	original->tries = strncmp(NameStr(proc->proname), "miosa_try_",
							  strlen("miosa_try_")) == 0;
	for (int i = 0; i < proc->pronargs; i++)
		prepare(&original->conversions[i], proc->proargtypes.values[i],
				types->values[i], own->fn_mcxt);
	ReleaseSysCache(tuple);
	return original;
}

/*
 * Search the functions of that name for the original, and return its argument
 * types, too.  A user's function of the same name is not the original.
 */
static Oid
search_original(Form_pg_proc own, oidvector **types)
{
	Oid			extension = get_extension_oid(MRB_EXTENSION, false);
	CatCList   *list = SearchSysCacheList1(PROCNAMEARGSNSP,
										   NameGetDatum(&own->proname));
	Oid			id = InvalidOid;

	for (int i = 0; i < list->n_members && !OidIsValid(id); i++)
	{
		HeapTuple	tuple = &list->members[i]->tuple;
		Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(tuple);

		if (!is_original(tuple, own, extension))
			continue;
		id = proc->oid;
		*types = palloc(VARSIZE(&proc->proargtypes));
		memcpy(*types, &proc->proargtypes, VARSIZE(&proc->proargtypes));
	}
	ReleaseCatCacheList(list);
	if (!OidIsValid(id))
		elog(ERROR, "function %s has no original", NameStr(own->proname));
	return id;
}

/*
 * Whether a function is the original of an overload of the same name.
 */
static bool
is_original(HeapTuple tuple, Form_pg_proc own, Oid extension)
{
	Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(tuple);
	bool		isnull;
	Datum		source;

	if (proc->pronamespace != own->pronamespace ||
		proc->pronargs != own->pronargs)
		return false;
	source = SysCacheGetAttr(PROCNAMEARGSNSP, tuple, Anum_pg_proc_prosrc,
							 &isnull);
	return (isnull || strcmp(TextDatumGetCString(source), SYMBOL) != 0) &&
		getExtensionOfObject(ProcedureRelationId, proc->oid) == extension;
}

/*
 * Prepare the conversion of one argument, by output and input functions.
 */
static void
prepare(Conversion *conversion, Oid from, Oid to, MemoryContext context)
{
	Oid			function;
	bool		varlena;

	if (from == to)
		return;
	conversion->needed = true;
	getTypeOutputInfo(from, &function, &varlena);
	fmgr_info_cxt(function, &conversion->output, context);
	getTypeInputInfo(to, &function, &conversion->ioparam);
	fmgr_info_cxt(function, &conversion->input, context);
}
