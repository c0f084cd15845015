/*-------------------------------------------------------------------------
 *
 * stats_api.c
 *	  SQL-callable functions that show what was counted.
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
#include "endpoint/endpoint_stats.h"
#include "endpoint/health.h"

PG_FUNCTION_INFO_V1(mrb_endpoint_stats);
PG_FUNCTION_INFO_V1(mrb_endpoint_entries);
PG_FUNCTION_INFO_V1(mrb_reset_stats);

/* Columns of miosa.endpoint_stats(). */
#define COLUMNS 20

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
	for (int i = 0; i < most; i++)
		if (mrb_endpoint_stats_read(i, MyDatabaseId, &position, &tally))
			put_entry((ReturnSetInfo *) fcinfo->resultinfo, &position, &tally);
	return (Datum) 0;
}

/*
 * miosa.endpoint_entries()
 */
Datum
mrb_endpoint_entries(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int32GetDatum(mrb_endpoint_stats_taken());
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
	mrb_endpoint_stats_reset(MyDatabaseId, PG_ARGISNULL(0) ? NULL :
							 text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

static void
put_entry(ReturnSetInfo *set, const MrbPosition *position,
		  const MrbTally *tally)
{
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS] = {false};

	fill_position(values, nulls, position);
	fill_tally(&values[13], &nulls[13], tally);
	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}

static void
fill_position(Datum *values, bool *nulls, const MrbPosition *position)
{
	values[0] = CStringGetTextDatum(position->name);
	values[1] = Int64GetDatum(position->generation);
	values[2] = Int64GetDatum(position->acked_epoch);
	values[3] = TimestampTzGetDatum(position->acked_at);
	nulls[3] = position->acked_at == 0;
	values[4] = BoolGetDatum(position->resyncing);
	values[5] = CStringGetTextDatum(mrb_health_name(position->health));
	values[6] = CStringGetTextDatum(breaker_name(position));
	values[7] = Int32GetDatum(position->failures);
	values[8] = Int32GetDatum(position->last_status);
	nulls[8] = position->last_status == 0;
	values[9] = CStringGetTextDatum(position->last_error);
	nulls[9] = position->last_error[0] == '\0';
	values[10] = TimestampTzGetDatum(position->last_error_at);
	nulls[10] = position->last_error_at == 0;
	values[11] = TimestampTzGetDatum(position->last_success_at);
	nulls[11] = position->last_success_at == 0;
	values[12] = TimestampTzGetDatum(position->next_try_at);
	nulls[12] = position->next_try_at == 0;
}

static void
fill_tally(Datum *values, bool *nulls, const MrbTally *tally)
{
	static const double parts[] = {0.5, 0.95, 0.99};

	values[0] = Int64GetDatum(tally->sent);
	values[1] = Int64GetDatum(tally->succeeded);
	values[2] = Int64GetDatum(tally->failed);
	values[3] = Int64GetDatum(tally->retried);
	for (int i = 0; i < 3; i++)
	{
		double		ms = mrb_histogram_percentile(&tally->latency, parts[i]);

		values[4 + i] = Float8GetDatum(ms);
		nulls[4 + i] = ms < 0;
	}
}

static const char *
breaker_name(const MrbPosition *position)
{
	if (position->breaker_open)
		return "open";
	return position->probing ? "half open" : "closed";
}
