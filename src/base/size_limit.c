/*-------------------------------------------------------------------------
 *
 * size_limit.c
 *	  How long texts and JSON values may be.
 *
 * A caller who may write a reason could else fill the disk with it, and each of
 * its readers would pay.  The limits are in one table, by the names of arguments
 * and columns.  Every call from outside is checked here before its function runs
 * (lock_wait.c, entry_points.c, overload_api.c), and a trigger on every table
 * that people write checks plain SQL, so a new function, argument, table or column
 * is covered without a line.
 *
 * Sizes are those of the values as they are sent, without the compression of
 * storage, and are read without fetching the value.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/check_argument.h"
#include "base/compat.h"
#include "base/miosa_rollback.h"
#include "base/size_limit.h"

/* Names of things, and every text that is not in the table. */
#define MAX_TEXT 1024

/* Metadata, and every JSON value and list that is not in the table. */
#define MAX_JSON (256 * 1024)

#define SHORTEN "Shorten it, or put a link to the full text in it."

/* The limit of a value by its name. */
typedef struct SizeLimit
{
	const char *name;
	int			bytes;
	const char *noun;			/* for messages; NULL: the name */
	const char *hint;			/* NULL: none */
} SizeLimit;

/*
 * A text of up to MAX_TEXT bytes is passed on: a function that has a lower limit
 * checks more than the length, and refuses it in its own words.
 */
static const SizeLimit limits[] = {
	{"artifact_uri", 4096, NULL, NULL},
	{"attribution", 16384, "attribution", "Pass ids, and keep what they stand for elsewhere."},
	{"bad_reason", 4096, "reason", SHORTEN},
	{"build_log_uri", 4096, NULL, NULL},
	{"deployment_id", MRB_MAX_ID, "deployment id", NULL},
	{"description", 4096, NULL, SHORTEN},
	{"error_message", 4096, NULL, SHORTEN},
	{"expected_active", MRB_MAX_ID, NULL, NULL},
	{"id", MRB_MAX_ID, NULL, NULL},
	{"idempotency_key", MRB_MAX_KEY, "idempotency key", "Use a UUID as the key: SELECT gen_random_uuid();"},
	{"payload", 1024 * 1024, NULL, "Send fewer alerts at once: set max_alerts of Alertmanager's webhook."},
	{"public_url", 4096, NULL, NULL},
	{"reason", 4096, "reason", "Shorten the reason, or put a link to the full text in it."},
	{"release_id", MRB_MAX_ID, "release id", NULL},
	{"runtime_command", 4096, NULL, NULL},
	{"storage_uri", 4096, NULL, NULL},
	{"tenant_id", MRB_MAX_ID, "tenant id", NULL},
	{"url", 2000, "endpoint URL", "For example 'http://10.0.0.5:8081'."},
	{"value", 8192, "secret", "Put it into a file below miosa_rollback.secret_directory."},
	{"version_id", MRB_MAX_ID, "version id", NULL},
};

PG_FUNCTION_INFO_V1(mrb_size_limit);
PG_FUNCTION_INFO_V1(mrb_limit_sizes);

static int	get_limit(const char *name, Oid type);
static const SizeLimit *find_limit(const char *name);
static bool is_composed(Oid type);
static size_t size_of(Datum value, Oid type);
static void check_arguments(FunctionCallInfo fcinfo, int first, int last);
static void check_argument(HeapTuple function, int argument, Datum value,
						   Oid type);
static void check(const char *kind, const char *name, Oid type, size_t size);

/*
 * miosa.size_limit(name, type)
 */
Datum
mrb_size_limit(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(get_limit(text_to_cstring(PG_GETARG_TEXT_PP(0)),
							  PG_GETARG_OID(1)));
}

/*
 * Check the arguments of a call.
 */
void
mrb_size_limit_check_arguments(FunctionCallInfo fcinfo)
{
	if (PG_NARGS() > 0)
		check_arguments(fcinfo, 0, PG_NARGS() - 1);
}

/*
 * Check an argument of a call.
 */
void
mrb_size_limit_check_argument(FunctionCallInfo fcinfo, int argument)
{
	check_arguments(fcinfo, argument, argument);
}

/*
 * Trigger miosa.limit_sizes(): check all columns of a row that is written.
 */
Datum
mrb_limit_sizes(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("limit_sizes must be fired before a row is inserted or updated")));
	return PointerGetDatum(mrb_size_limit_check_row(trigger));
}

/*
 * Check all columns of the row that a trigger is fired for, and return it.
 */
HeapTuple
mrb_size_limit_check_row(const TriggerData *trigger)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	HeapTuple	row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
	trigger->tg_newtuple : trigger->tg_trigtuple;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		bool		isnull;
		Datum		value;

		if (column->attisdropped || column->attlen != -1)
			continue;
		value = heap_getattr(row, i + 1, desc, &isnull);
		if (!isnull)
			check("column", NameStr(column->attname), column->atttypid,
				  size_of(value, column->atttypid));
	}
	return row;
}

/*
 * Return the limit of a value, in bytes.
 */
static int
get_limit(const char *name, Oid type)
{
	const SizeLimit *limit = find_limit(name);

	if (limit != NULL)
		return limit->bytes;
	return is_composed(type) ? MAX_JSON : MAX_TEXT;
}

/*
 * Find the limit of a name; NULL if it has none of its own.
 */
static const SizeLimit *
find_limit(const char *name)
{
	for (size_t i = 0; i < lengthof(limits); i++)
	{
		if (strcmp(limits[i].name, name) == 0)
			return &limits[i];
	}
	return NULL;
}

/*
 * Whether a type is JSON, or a list.
 */
static bool
is_composed(Oid type)
{
	return type == JSONBOID || type == JSONOID || type == TEXTARRAYOID;
}

/*
 * Return the size of a value: the bytes of a text, or of all of a value of
 * another type.
 */
static size_t
size_of(Datum value, Oid type)
{
	size_t		size = toast_raw_datum_size(value);

	return type == TEXTOID ? size - VARHDRSZ : size;
}

/*
 * Check some arguments of a call.  Types come from the catalog, since a caller
 * need not have an expression.
 */
static void
check_arguments(FunctionCallInfo fcinfo, int first, int last)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID,
										ObjectIdGetDatum(fcinfo->flinfo->fn_oid));
	oidvector  *types;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u",
			 fcinfo->flinfo->fn_oid);
	types = &((Form_pg_proc) GETSTRUCT(tuple))->proargtypes;
	for (int i = first; i <= last && i < types->dim1; i++)
	{
		Oid			type = types->values[i];

		if (!PG_ARGISNULL(i) && (type == TEXTOID || is_composed(type)))
			check_argument(tuple, i, PG_GETARG_DATUM(i), type);
	}
	ReleaseSysCache(tuple);
}

/*
 * Check an argument of a function.
 */
static void
check_argument(HeapTuple function, int argument, Datum value, Oid type)
{
	size_t		size = size_of(value, type);
	Datum		names;
	Datum		modes;
	bool		no_names;
	bool		no_modes;
	char	  **name = NULL;

	if (size <= MAX_TEXT)
		return;
	names = SysCacheGetAttr(PROCOID, function, Anum_pg_proc_proargnames,
							&no_names);
	modes = SysCacheGetAttr(PROCOID, function, Anum_pg_proc_proargmodes,
							&no_modes);
	if (get_func_input_arg_names(no_names ? (Datum) 0 : names,
								 no_modes ? (Datum) 0 : modes,
								 &name) > argument)
		check("argument", name[argument], type, size);
	else
		check("argument", psprintf("$%d", argument + 1), type, size);
}

/*
 * Raise INVALID_ARGUMENT for a size above the limit of the name.  kind is
 * "argument" or "column".
 */
static void
check(const char *kind, const char *name, Oid type, size_t size)
{
	const SizeLimit *limit;
	int			bytes;

	if (size <= MAX_TEXT)
		return;
	limit = find_limit(name);
	bytes = get_limit(name, type);
	if (size > (size_t) bytes)
		mrb_check_argument_too_long(limit != NULL && limit->noun != NULL ?
									limit->noun :
									psprintf("%s \"%s\"", kind, name),
									size, "bytes", bytes,
									limit != NULL ? limit->hint : NULL);
}
