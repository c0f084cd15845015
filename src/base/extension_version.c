/*-------------------------------------------------------------------------
 *
 * extension_version.c
 *	  Versions of the library and of the SQL objects that use it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "base/extension_row.h"
#include "base/extension_version.h"
#include "base/miosa_rollback.h"

PG_FUNCTION_INFO_V1(mrb_versions);
PG_FUNCTION_INFO_V1(mrb_require_library);

/* Version of the objects, as last looked up; empty: there is no extension. */
static char objects[NAMEDATALEN];

/* How the library's version compares with it. */
static int	order = 0;

/* No function was made or dropped since the look-up. */
static bool fresh = false;

static bool describe(MrbVersionProblem *problem);
static int	compare(const char *a, const char *b);
static void forget(Datum arg, int cacheid, uint32 hashvalue);

/*
 * miosa.versions(): the versions of the library and of the SQL objects, and what
 * makes them equal, or null.
 */
Datum
mrb_versions(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	MrbVersionProblem problem;
	Datum		values[3];
	bool		nulls[3] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (mrb_extension_version_problem(&problem))
		values[2] = CStringGetTextDatum(problem.hint);
	else
		nulls[2] = true;
	values[0] = CStringGetTextDatum(MIOSA_ROLLBACK_VERSION);
	values[1] = CStringGetTextDatum(objects);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/*
 * miosa.require_library(): refuse to make the objects of a version for which the
 * library that is loaded is too old.
 */
Datum
mrb_require_library(PG_FUNCTION_ARGS)
{
	MrbVersionProblem problem;

	/* pg_extension has the new version before its script runs. */
	fresh = false;
	if (mrb_extension_version_problem(&problem) && order < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg_internal("%s", problem.message),
				 errdetail_internal("%s", problem.detail),
				 errhint("%s", problem.hint)));
	PG_RETURN_VOID();
}

/*
 * Look the version of the objects up, unless no function was made or dropped since
 * the last time, as every update does.
 */
void
mrb_extension_version_refresh(void)
{
	static bool registered = false;
	MrbExtensionRow row;

	if (fresh)
		return;
	if (!registered)
		CacheRegisterSyscacheCallback(PROCOID, forget, (Datum) 0);
	registered = true;

	/* An invalidation that arrives meanwhile counts. */
	fresh = true;
	mrb_extension_row_read(&row);
	strlcpy(objects, row.version, sizeof(objects));
	order = objects[0] != '\0' ? compare(MIOSA_ROLLBACK_VERSION, objects) : 0;
}

/*
 * Describe that the versions differ.
 */
bool
mrb_extension_version_problem(MrbVersionProblem *problem)
{
	mrb_extension_version_refresh();
	return describe(problem);
}

/*
 * Describe it for an error that it may have caused.  What is missing, or is not as
 * the library expects it, is an internal error where the library reads the catalog
 * itself.
 */
bool
mrb_extension_version_blame(int sqlstate, MrbVersionProblem *problem)
{
	switch (sqlstate)
	{
		case ERRCODE_UNDEFINED_COLUMN:
		case ERRCODE_UNDEFINED_FUNCTION:
		case ERRCODE_UNDEFINED_TABLE:
		case ERRCODE_UNDEFINED_OBJECT:
		case ERRCODE_DATATYPE_MISMATCH:
		case ERRCODE_INTERNAL_ERROR:
			return describe(problem);
		default:
			return false;
	}
}

/*
 * Write the texts; false when the versions are equal.
 */
static bool
describe(MrbVersionProblem *problem)
{
	if (order == 0)
		return false;
	problem->message = "the library and the SQL objects of miosa_rollback differ in version";
	problem->detail = psprintf("The library is version %s, and the SQL objects are version %s.",
							   MIOSA_ROLLBACK_VERSION, objects);
	problem->hint = order > 0 ? "ALTER EXTENSION " MRB_EXTENSION " UPDATE;" :
		"Restart the server, so that it loads the library that is installed.";
	return true;
}

/*
 * Compare two versions, number by number.
 */
static int
compare(const char *a, const char *b)
{
	for (;;)
	{
		char	   *a_end;
		char	   *b_end;
		unsigned long a_number = strtoul(a, &a_end, 10);
		unsigned long b_number = strtoul(b, &b_end, 10);

		if (a_number != b_number)
			return a_number < b_number ? -1 : 1;
		if (*a_end != '.' && *b_end != '.')
			return 0;
		a = *a_end == '.' ? a_end + 1 : "";
		b = *b_end == '.' ? b_end + 1 : "";
	}
}

/*
 * A function was made, changed or dropped.
 */
static void
forget(Datum arg, int cacheid, uint32 hashvalue)
{
	fresh = false;
}
