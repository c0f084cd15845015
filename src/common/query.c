/*-------------------------------------------------------------------------
 *
 * query.c
 *	  Prepared statements; the only user of SPI.
 *
 * Plans are kept for the life of the backend.  Only statements of this extension
 * are planned here, so their number is limited.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "common/query.h"

/* What SPI returns for each kind of statement. */
static const int spi_results[] = {
	[MRB_QUERY_SELECT] = SPI_OK_SELECT,
	[MRB_QUERY_INSERT] = SPI_OK_INSERT,
	[MRB_QUERY_DELETE] = SPI_OK_DELETE,
	[MRB_QUERY_UPDATE] = SPI_OK_UPDATE,
	[MRB_QUERY_INSERT_RETURNING] = SPI_OK_INSERT_RETURNING,
	[MRB_QUERY_DELETE_RETURNING] = SPI_OK_DELETE_RETURNING,
	[MRB_QUERY_UPDATE_RETURNING] = SPI_OK_UPDATE_RETURNING,
};

static int	force_custom_plan(void);
static void query_prepare(MrbQuery *query);

/*
 * Start a group of statements.  Only SPI itself allocates in SPI's memory, which is
 * freed at the end.
 */
void
mrb_query_open(void)
{
	MemoryContext caller = CurrentMemoryContext;
	int			rc = SPI_connect();

	if (rc != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed: %s", SPI_result_code_string(rc));
	MemoryContextSwitchTo(caller);
}

/*
 * End a group of statements and free their results.
 */
void
mrb_query_close(void)
{
	int			rc = SPI_finish();

	if (rc != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed: %s", SPI_result_code_string(rc));
}

/*
 * Run one statement and check that it was of the expected kind.
 */
uint64
mrb_query_run(MrbQuery *query, const Datum *values, const bool *nulls)
{
	MemoryContext caller = CurrentMemoryContext;
	char		spi_nulls[MRB_QUERY_MAX_ARGS];
	int			rc;
	int			nest;

	if (query->plan == NULL)
		query_prepare(query);
	for (int i = 0; i < query->nargs; i++)
		spi_nulls[i] = nulls != NULL && nulls[i] ? 'n' : ' ';

	nest = query->custom ? force_custom_plan() : 0;
	rc = SPI_execute_plan(query->plan, (Datum *) values, spi_nulls,
						  query->read_only, 0);
	MemoryContextSwitchTo(caller);
	if (query->custom)
		AtEOXact_GUC(true, nest);
	if (rc != spi_results[query->expected])
		elog(ERROR, "unexpected result %s of: %s",
			 SPI_result_code_string(rc), query->sql);
	return SPI_processed;
}

/*
 * Return one value of the last result, valid until mrb_query_close().
 */
Datum
mrb_query_datum(uint64 row, int column, bool *isnull)
{
	Assert(row < SPI_processed);
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 column, isnull);
}

/*
 * Return a copy of one value of any type.
 */
Datum
mrb_query_copy(uint64 row, int column, bool *isnull)
{
	Datum		value = mrb_query_datum(row, column, isnull);
	Form_pg_attribute attribute = TupleDescAttr(SPI_tuptable->tupdesc,
												column - 1);

	if (*isnull)
		return (Datum) 0;
	return SPI_datumTransfer(value, attribute->attbyval, attribute->attlen);
}

/*
 * Return a copy of a text value; NULL for SQL null.
 */
char *
mrb_query_text(uint64 row, int column)
{
	bool		isnull;
	Datum		value = mrb_query_datum(row, column, &isnull);
	text	   *packed;
	int			len;
	char	   *copy;

	if (isnull)
		return NULL;
	packed = DatumGetTextPP(value);
	len = VARSIZE_ANY_EXHDR(packed);
	copy = SPI_palloc(len + 1);
	memcpy(copy, VARDATA_ANY(packed), len);
	copy[len] = '\0';
	return copy;
}

/*
 * Return a copy of a jsonb value; NULL for SQL null.
 */
Jsonb *
mrb_query_jsonb(uint64 row, int column)
{
	bool		isnull;
	Datum		value = mrb_query_datum(row, column, &isnull);
	Jsonb	   *plain;
	Jsonb	   *copy;

	if (isnull)
		return NULL;
	plain = DatumGetJsonbP(value);
	copy = SPI_palloc(VARSIZE(plain));
	memcpy(copy, plain, VARSIZE(plain));
	return copy;
}

/*
 * Return a bigint, or the given value for SQL null.
 */
int64
mrb_query_int64(uint64 row, int column, int64 ifnull)
{
	bool		isnull;
	Datum		value = mrb_query_datum(row, column, &isnull);

	return isnull ? ifnull : DatumGetInt64(value);
}

/*
 * Return an integer, or the given value for SQL null.
 */
int32
mrb_query_int32(uint64 row, int column, int32 ifnull)
{
	bool		isnull;
	Datum		value = mrb_query_datum(row, column, &isnull);

	return isnull ? ifnull : DatumGetInt32(value);
}

/*
 * Return a boolean; SQL null counts as false.
 */
bool
mrb_query_bool(uint64 row, int column)
{
	bool		isnull;
	Datum		value = mrb_query_datum(row, column, &isnull);

	return !isnull && DatumGetBool(value);
}

/*
 * Return a timestamp, or the given value for SQL null.
 */
TimestampTz
mrb_query_timestamp(uint64 row, int column, TimestampTz ifnull)
{
	bool		isnull;
	Datum		value = mrb_query_datum(row, column, &isnull);

	return isnull ? ifnull : DatumGetTimestampTz(value);
}

/*
 * Have custom plans until AtEOXact_GUC(): a session's plan_cache_mode, or an error,
 * is restored then.  With force_generic_plan each of 10,000 deployments would be
 * compared with each of 10,000 ids.
 */
static int
force_custom_plan(void)
{
	int			nest = NewGUCNestLevel();

	(void) set_config_option("plan_cache_mode", "force_custom_plan", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return nest;
}

/*
 * Plan a statement for the life of this backend.  Statements that look rows up by
 * their keys are planned once: a generic plan is as good as a custom one.
 */
static void
query_prepare(MrbQuery *query)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(query->sql, query->nargs,
										  query->argtypes,
										  query->custom ?
										  CURSOR_OPT_CUSTOM_PLAN :
										  CURSOR_OPT_GENERIC_PLAN);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "SPI_keepplan failed for: %s", query->sql);
	query->plan = plan;
}
