/*-------------------------------------------------------------------------
 *
 * schema_guard.c
 *	  Whether a version can work with the schema that is applied now.
 *
 * A rollback changes code, and leaves the schema of the application's database
 * as newer code has made it.  A deployment may name its schema, whose migration
 * tool reports what is applied (miosa.schemas).  A version fits if it was built
 * for compatible_from or a later version of the schema, if the applied version
 * is in its own range, and if the objects are there that it requires
 * (requirements.c).
 *
 * What nobody has said is unknown, and never refuses.  Where the objects that a
 * version requires are all there, its numbers need not be known.
 *
 * A deployment that names no schema costs nothing but its column.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "base/guc.h"
#include "common/index_lookup.h"
#include "operation/caller_request.h"
#include "operation/requirements.h"
#include "operation/schema_guard.h"

PG_FUNCTION_INFO_V1(mrb_schema_finding);

/* The name of the check, and the tenant of a schema that all tenants share. */
#define NAME "schema_fits"
#define ALL_TENANTS "*"

/* How many requirements a text lists. */
#define LISTED 10

/* A number that may be unknown. */
typedef struct Number
{
	bool		known;
	int64		value;
} Number;

/* What is known of the schema and of the version that is to work with it. */
typedef struct Known
{
	const char *schema_name;
	Number		applied;
	Number		compatible_from;
	Number		built_for;
	Number		lowest;
	Number		highest;
	MrbRequirements requirements;
} Known;

/* Why it does not fit, or why that is unknown. */
typedef struct Judgement
{
	StringInfoData misfits;
	StringInfoData unknown;
} Judgement;

enum
{
	SCHEMA_VERSION,
	SCHEMA_COMPATIBLE_FROM,
	SCHEMA_DATABASE_SCHEMAS
};

static MrbIndexLookup schema_row = {
	.table.name = "schemas",
	.table.index = "schemas_pkey",
	.table.columns = {
		[SCHEMA_VERSION] = "version",
		[SCHEMA_COMPATIBLE_FROM] = "compatible_from",
		[SCHEMA_DATABASE_SCHEMAS] = "database_schemas",
	},
	.table.types = {
		[SCHEMA_VERSION] = INT8OID,
		[SCHEMA_COMPATIBLE_FROM] = INT8OID,
		[SCHEMA_DATABASE_SCHEMAS] = TEXTARRAYOID,
	},
};

enum
{
	VERSION_BUILT_FOR,
	VERSION_LOWEST,
	VERSION_HIGHEST,
	VERSION_METADATA
};

static MrbIndexLookup version_row = {
	.table.name = "versions",
	.table.index = "versions_pkey",
	.table.columns = {
		[VERSION_BUILT_FOR] = "schema_version",
		[VERSION_LOWEST] = "schema_min",
		[VERSION_HIGHEST] = "schema_max",
		[VERSION_METADATA] = "metadata",
	},
	.table.types = {
		[VERSION_BUILT_FOR] = INT8OID,
		[VERSION_LOWEST] = INT8OID,
		[VERSION_HIGHEST] = INT8OID,
		[VERSION_METADATA] = JSONBOID,
	},
};

static MrbFinding judge(const MrbDeployment *deployment);
static Known read_known(const MrbDeployment *deployment);
static ArrayType *read_schema(const MrbDeployment *deployment, Known *known);
static Jsonb *read_version(const MrbDeployment *deployment, Known *known,
						   bool with_metadata);
static Number get_number(MrbIndexLookup *row, int column);
static void judge_numbers(const Known *known, Judgement *judgement);
static char *show_range(const Known *known);
static void judge_requirements(const Known *known, Judgement *judgement);
static void add(StringInfo text, const char *sentence);
static char *list(List *requirements);
static MrbFinding make_misfit(const MrbDeployment *deployment,
							  const char *detail);
static MrbFinding make_unknown(const MrbDeployment *deployment,
							   const char *detail);

/*
 * Judge a move to the target.
 */
MrbFinding
mrb_schema_guard_judge(const MrbDeployment *deployment, bool promotion)
{
	/* Code that is active already stays as it is. */
	if (deployment->schema_name != NULL &&
		mrb_deployment_same_version(deployment->target.id, deployment->active.id))
		return mrb_finding_hold(NAME);
	return judge(deployment);
}

/*
 * Judge the target, wherever the deployment is.
 */
static MrbFinding
judge(const MrbDeployment *deployment)
{
	Judgement	judgement;
	Known		known;

	if (deployment->schema_name == NULL)
		return mrb_finding_unknown(NAME, NULL, "the deployment names no schema",
								   NULL, NULL, NULL);
	known = read_known(deployment);
	initStringInfo(&judgement.misfits);
	initStringInfo(&judgement.unknown);
	judge_numbers(&known, &judgement);
	judge_requirements(&known, &judgement);
	if (judgement.misfits.len > 0)
		return make_misfit(deployment, judgement.misfits.data);
	if (judgement.unknown.len > 0)
		return make_unknown(deployment, judgement.unknown.data);
	return mrb_finding_hold(NAME);
}

/*
 * Read the schema and the version in one snapshot.  Metadata is read only where
 * objects may be looked for.
 */
static Known
read_known(const MrbDeployment *deployment)
{
	Known		known = {.schema_name = deployment->schema_name};
	ArrayType  *schemas;
	Jsonb	   *metadata;

	mrb_index_lookup_begin();
	schemas = read_schema(deployment, &known);
	metadata = read_version(deployment, &known, schemas != NULL);
	mrb_index_lookup_end();
	if (metadata != NULL)
		known.requirements = mrb_requirements_look(metadata, schemas);
	return known;
}

/*
 * Read the schema, that of the tenant before the one of all tenants.  Returns the
 * schemas of this database in which objects are looked for; NULL: none.
 */
static ArrayType *
read_schema(const MrbDeployment *deployment, Known *known)
{
	ArrayType  *schemas;
	bool		isnull;

	if (!mrb_index_lookup_find(&schema_row, deployment->tenant_id,
							   deployment->schema_name) &&
		!mrb_index_lookup_find(&schema_row, ALL_TENANTS, deployment->schema_name))
		return NULL;
	known->applied = get_number(&schema_row, SCHEMA_VERSION);
	known->compatible_from = get_number(&schema_row, SCHEMA_COMPATIBLE_FROM);
	schemas = DatumGetArrayTypePCopy(mrb_index_lookup_datum(&schema_row,
															SCHEMA_DATABASE_SCHEMAS,
															&isnull));
	mrb_index_lookup_close(&schema_row);
	return ARR_NDIM(schemas) == 0 ? NULL : schemas;
}

/*
 * Read what the target says of schemas.  Returns its metadata, if that is wanted.
 */
static Jsonb *
read_version(const MrbDeployment *deployment, Known *known, bool with_metadata)
{
	const MrbVersion *target = &deployment->target;
	Jsonb	   *metadata = NULL;

	if (!mrb_index_lookup_find_again(&version_row, &target->place,
									 deployment->id, target->id))
		return NULL;
	known->built_for = get_number(&version_row, VERSION_BUILT_FOR);
	known->lowest = get_number(&version_row, VERSION_LOWEST);
	known->highest = get_number(&version_row, VERSION_HIGHEST);
	if (with_metadata)
		metadata = mrb_index_lookup_jsonb(&version_row, VERSION_METADATA);
	mrb_index_lookup_close(&version_row);
	return metadata;
}

/*
 * Get a number; SQL null is unknown.
 */
static Number
get_number(MrbIndexLookup *row, int column)
{
	bool		isnull;
	Datum		value = mrb_index_lookup_datum(row, column, &isnull);
	Number		number = {.known = !isnull};

	if (!isnull)
		number.value = DatumGetInt64(value);
	return number;
}

/*
 * Compare the numbers.
 */
static void
judge_numbers(const Known *known, Judgement *judgement)
{
	int64		applied = known->applied.value;
	int64		built_for = known->built_for.value;

	if (!known->applied.known)
	{
		add(&judgement->unknown,
			psprintf("Nothing was reported about schema \"%s\".", known->schema_name));
		return;
	}
	if ((known->lowest.known && applied < known->lowest.value) ||
		(known->highest.known && applied > known->highest.value))
		add(&judgement->misfits,
			psprintf("The version works with %s of the schema, and version " INT64_FORMAT " is applied.",
					 show_range(known), applied));
	if (!known->built_for.known)
		add(&judgement->unknown,
			"The version does not say for which schema it was built (schema_version).");
	else if (built_for < known->compatible_from.value)
		add(&judgement->misfits,
			psprintf("The version was built for version " INT64_FORMAT " of the schema; "
					 "version " INT64_FORMAT " is applied, which needs code for " INT64_FORMAT " or later.",
					 built_for, applied, known->compatible_from.value));
	else if (built_for > applied && !known->lowest.known)
		add(&judgement->unknown,
			psprintf("The version was built for version " INT64_FORMAT " of the schema, and version "
					 INT64_FORMAT " is applied; it does not say whether it works with earlier ones (schema_min).",
					 built_for, applied));
}

/*
 * Show the range of versions of the schema that the version works with.
 */
static char *
show_range(const Known *known)
{
	if (!known->highest.known)
		return psprintf("version " INT64_FORMAT " and later ones", known->lowest.value);
	if (!known->lowest.known)
		return psprintf("versions up to " INT64_FORMAT, known->highest.value);
	return psprintf("versions " INT64_FORMAT " to " INT64_FORMAT,
					known->lowest.value, known->highest.value);
}

/*
 * Judge what was looked for in the catalogs.
 */
static void
judge_requirements(const Known *known, Judgement *judgement)
{
	const MrbRequirements *found = &known->requirements;

	if (found->missing != NIL)
		add(&judgement->misfits,
			psprintf("Not in this database: %s.", list(found->missing)));
	if (found->unknown != NIL)
		add(&judgement->unknown,
			psprintf("Not looked for: %s.", list(found->unknown)));
	else if (found->present > 0)
		resetStringInfo(&judgement->unknown);
}

/*
 * Append a sentence.
 */
static void
add(StringInfo text, const char *sentence)
{
	if (text->len > 0)
		appendStringInfoChar(text, ' ');
	appendStringInfoString(text, sentence);
}

/*
 * List requirements, or the first ones if they are many.
 */
static char *
list(List *requirements)
{
	StringInfoData text;
	int			n = list_length(requirements);

	initStringInfo(&text);
	for (int i = 0; i < Min(n, LISTED); i++)
		appendStringInfo(&text, "%s%s", i > 0 ? ", " : "",
						 (char *) list_nth(requirements, i));
	if (n > LISTED)
		appendStringInfo(&text, " and %d more", n - LISTED);
	return text.data;
}

/*
 * Make the finding of a version that does not fit: the setting decides.
 */
static MrbFinding
make_misfit(const MrbDeployment *deployment, const char *detail)
{
	char	   *fitting = mrb_caller_request_show(deployment->request, "schema_fits",
												  deployment->id);
	MrbFinding	it;

	it = mrb_finding_fail(NAME, MRB_ERR_MIGRATION_INCOMPATIBLE,
						  psprintf("version \"%s\" does not fit schema \"%s\"",
								   deployment->target.id, deployment->schema_name),
						  detail,
						  psprintf("See which versions fit with %s A superuser can proceed after SET miosa_rollback.on_schema_mismatch = 'warn';",
								   fitting));
	if (mrb_on_schema_mismatch == MRB_INCOMPATIBLE_REFUSE)
		return it;
	return mrb_finding_accept(&it, "SCHEMA_MISMATCH",
							  psprintf("Check that the version works; see which versions fit with %s",
									   fitting),
							  "\"schema\": \"mismatch\"");
}

/*
 * Make the finding of a version of which that is unknown.
 */
static MrbFinding
make_unknown(const MrbDeployment *deployment, const char *detail)
{
	return mrb_finding_unknown(NAME, "SCHEMA_UNKNOWN",
							   psprintf("whether version \"%s\" fits schema \"%s\" is unknown",
										deployment->target.id,
										deployment->schema_name),
							   detail,
							   psprintf("Check that the version works; see which versions fit with %s",
										mrb_caller_request_show(deployment->request,
																"schema_fits",
																deployment->id)),
							   "\"schema\": \"unknown\"");
}

/*
 * miosa.schema_finding(deployment_id, version_id)
 */
Datum
mrb_schema_finding(PG_FUNCTION_ARGS)
{
	static const char *const results[] = {
		[MRB_HOLDS] = "ok",
		[MRB_UNKNOWN] = "unknown",
		[MRB_WARNS] = "warning",
		[MRB_FAILS] = "failed",
	};
	TupleDesc	desc;
	MrbDeployment *deployment = NULL;
	MrbFinding	finding;
	Datum		values[3] = {0};
	bool		nulls[3] = {false, true, true};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!PG_ARGISNULL(0) && !PG_ARGISNULL(1))
		deployment = mrb_deployment_read(text_to_cstring(PG_GETARG_TEXT_PP(0)),
										 text_to_cstring(PG_GETARG_TEXT_PP(1)),
										 NULL);
	if (deployment == NULL || deployment->target.id == NULL)
		PG_RETURN_NULL();
	finding = judge(deployment);
	values[0] = CStringGetTextDatum(results[finding.severity]);
	if (finding.message != NULL)
	{
		nulls[1] = false;
		values[1] = CStringGetTextDatum(finding.message);
	}
	if (finding.detail != NULL)
	{
		nulls[2] = false;
		values[2] = CStringGetTextDatum(finding.detail);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}
