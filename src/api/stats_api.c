/*-------------------------------------------------------------------------
 *
 * stats_api.c
 *	  SQL-callable functions that return the statistics of endpoints.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/guc.h"
#include "base/optional_text.h"
#include "endpoint/endpoint_stats.h"
#include "endpoint/health.h"
#include "operation/tenancy.h"

PG_FUNCTION_INFO_V1(mrb_endpoint_stats);
PG_FUNCTION_INFO_V1(mrb_endpoint_entries);
PG_FUNCTION_INFO_V1(mrb_reset_stats);

/* Columns of miosa.endpoint_stats(). */
enum
{
	STAT_NAME,
	STAT_GENERATION,
	STAT_ACKED_EPOCH,
	STAT_ACKED_AT,
	STAT_RESYNCING,
	STAT_HEALTH,
	STAT_BREAKER,
	STAT_FAILURES,
	STAT_LAST_STATUS,
	STAT_LAST_ERROR,
	STAT_LAST_ERROR_AT,
	STAT_LAST_SUCCESS_AT,
	STAT_NEXT_TRY_AT,
	STAT_SENT,
	STAT_SUCCEEDED,
	STAT_FAILED,
	STAT_RETRIED,
	STAT_PERCENTILES,			/* one column each */
	STAT_COLUMNS = STAT_PERCENTILES + 3
};

static void put_entry(ReturnSetInfo *set, const MrbPosition *position,
					  const MrbTally *tally);
static void fill_position(Datum *values, bool *nulls,
						  const MrbPosition *position);
static void fill_tally(Datum *values, bool *nulls, const MrbTally *tally);
static const char *breaker_name(const MrbPosition *position);

/*
 * miosa.endpoint_stats()
 */
Datum
mrb_endpoint_stats(PG_FUNCTION_ARGS)
{
	MrbPosition position;
	MrbTally	tally;
	int			most = mrb_endpoint_stats_entries();

	InitMaterializedSRF(fcinfo, 0);
	if (!mrb_tenancy_sees_endpoints())
		return (Datum) 0;
	for (int i = 0; i < most; i++)
		if (mrb_endpoint_stats_read(i, MyDatabaseId, &position, &tally))
			put_entry((ReturnSetInfo *) fcinfo->resultinfo, &position, &tally);
	return (Datum) 0;
}

/*
 * miosa.endpoint_entries(): how many entries are taken, and how many there are
 */
Datum
mrb_endpoint_entries(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int32GetDatum(mrb_endpoint_stats_in_use());
	values[1] = Int32GetDatum(mrb_max_endpoints);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values,
											 nulls));
}

/*
 * miosa.reset_stats(endpoint)
 */
Datum
mrb_reset_stats(PG_FUNCTION_ARGS)
{
	mrb_endpoint_stats_reset(MyDatabaseId, mrb_optional_text_argument(fcinfo, 0));
	PG_RETURN_VOID();
}

/*
 * Append the row of an endpoint.
 */
static void
put_entry(ReturnSetInfo *set, const MrbPosition *position,
		  const MrbTally *tally)
{
	Datum		values[STAT_COLUMNS];
	bool		nulls[STAT_COLUMNS] = {false};

	fill_position(values, nulls, position);
	fill_tally(values, nulls, tally);
	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}

/*
 * Fill in the columns about position and health.
 */
static void
fill_position(Datum *values, bool *nulls, const MrbPosition *position)
{
	values[STAT_NAME] = CStringGetTextDatum(position->name);
	values[STAT_GENERATION] = Int64GetDatum(position->generation);
	values[STAT_ACKED_EPOCH] = Int64GetDatum(position->acked_epoch);
	values[STAT_ACKED_AT] = TimestampTzGetDatum(position->acked_at);
	nulls[STAT_ACKED_AT] = position->acked_at == 0;
	values[STAT_RESYNCING] = BoolGetDatum(position->resyncing);
	values[STAT_HEALTH] = CStringGetTextDatum(mrb_health_name(position->health));
	values[STAT_BREAKER] = CStringGetTextDatum(breaker_name(position));
	values[STAT_FAILURES] = Int32GetDatum(position->failures);
	values[STAT_LAST_STATUS] = Int32GetDatum(position->last_status);
	nulls[STAT_LAST_STATUS] = position->last_status == 0;
	values[STAT_LAST_ERROR] = CStringGetTextDatum(position->last_error);
	nulls[STAT_LAST_ERROR] = position->last_error[0] == '\0';
	values[STAT_LAST_ERROR_AT] = TimestampTzGetDatum(position->last_error_at);
	nulls[STAT_LAST_ERROR_AT] = position->last_error_at == 0;
	values[STAT_LAST_SUCCESS_AT] = TimestampTzGetDatum(position->last_success_at);
	nulls[STAT_LAST_SUCCESS_AT] = position->last_success_at == 0;
	values[STAT_NEXT_TRY_AT] = TimestampTzGetDatum(position->next_try_at);
	nulls[STAT_NEXT_TRY_AT] = position->next_try_at == 0;
}

/*
 * Fill in the counters and the percentiles of the latency.
 */
static void
fill_tally(Datum *values, bool *nulls, const MrbTally *tally)
{
	static const double parts[] = {0.5, 0.95, 0.99};

	values[STAT_SENT] = Int64GetDatum(tally->sent);
	values[STAT_SUCCEEDED] = Int64GetDatum(tally->succeeded);
	values[STAT_FAILED] = Int64GetDatum(tally->failed);
	values[STAT_RETRIED] = Int64GetDatum(tally->retried);
	for (int i = 0; i < (int) lengthof(parts); i++)
	{
		double		ms = mrb_histogram_percentile(&tally->latency, parts[i]);

		values[STAT_PERCENTILES + i] = Float8GetDatum(ms);
		nulls[STAT_PERCENTILES + i] = ms < 0;
	}
}

/*
 * Return the state of the circuit breaker.
 */
static const char *
breaker_name(const MrbPosition *position)
{
	if (position->breaker_open)
		return "open";
	return position->probing ? "half open" : "closed";
}
