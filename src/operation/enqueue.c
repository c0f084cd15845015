/*-------------------------------------------------------------------------
 *
 * enqueue.c
 *	  Queuing of work for a deployment in the transaction that causes it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "base/optional_text.h"
#include "common/query.h"
#include "notify/wakeup.h"
#include "operation/enqueue.h"
#include "operation/primary.h"
#include "operation/write_guard.h"

PG_FUNCTION_INFO_V1(mrb_queue_work);
PG_FUNCTION_INFO_V1(mrb_queue_hosts);

static MrbQuery number_query = {
	.sql = "UPDATE miosa.deployments p SET route_seq = p.route_seq + $2"
	" WHERE p.id = $1 RETURNING p.route_seq",
	.nargs = 2,
	.argtypes = {TEXTOID, INT4OID},
	.expected = MRB_QUERY_UPDATE_RETURNING,
};

enum
{
	OUTBOX_XID,
	OUTBOX_DEPLOYMENT,
	OUTBOX_KIND,
	OUTBOX_ROUTE_SEQ,
	OUTBOX_HOST,
	OUTBOX_CREATED,
	OUTBOX_COLUMNS
};

MrbRowWriteTable mrb_enqueue_outbox = {
	.table.name = "outbox",
	.table.columns = {
		[OUTBOX_XID] = "xid",
		[OUTBOX_DEPLOYMENT] = "deployment_id",
		[OUTBOX_KIND] = "kind",
		[OUTBOX_ROUTE_SEQ] = "route_seq",
		[OUTBOX_HOST] = "host",
		[OUTBOX_CREATED] = "created_at",
	},
	.table.types = {
		[OUTBOX_XID] = XID8OID,
		[OUTBOX_ROUTE_SEQ] = INT8OID,
		[OUTBOX_CREATED] = TIMESTAMPTZOID,
	},
	.nwritten = OUTBOX_COLUMNS,
};

static MrbRowWriteTable *const tables[] = {&mrb_enqueue_outbox};

static int64 take_numbers(const char *deployment_id, int count);

/*
 * miosa.queue(deployment_id, kind, host)
 */
Datum
mrb_queue_work(PG_FUNCTION_ARGS)
{
	int64		number;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		elog(ERROR, "deployment_id and kind must not be null");
	number = mrb_enqueue(text_to_cstring(PG_GETARG_TEXT_PP(0)),
						 text_to_cstring(PG_GETARG_TEXT_PP(1)),
						 mrb_optional_text_argument(fcinfo, 2));
	if (number == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(number);
}

/*
 * miosa.queue_hosts(deployment_id, removed, route): queue the removal of hosts,
 * and then the present route if that is asked for
 */
Datum
mrb_queue_hosts(PG_FUNCTION_ARGS)
{
	char	   *deployment_id = text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool		route = PG_GETARG_BOOL(2);
	TimestampTz now = GetCurrentTimestamp();
	Datum	   *hosts;
	int			count;
	int64		number;
	MrbRowWrite *write;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false,
					  TYPALIGN_INT, &hosts, NULL, &count);
	number = take_numbers(deployment_id, count + route) - count - route;
	write = mrb_row_write_begin(tables, lengthof(tables), false);
	for (int i = 0; i < count; i++)
		mrb_enqueue_insert(write, 0, deployment_id, "host_removed", ++number,
						   TextDatumGetCString(hosts[i]), now);
	if (route)
		mrb_enqueue_insert(write, 0, deployment_id, "route", ++number, NULL,
						   now);
	mrb_row_write_end(write);
	mrb_wakeup_dispatcher(NULL, NULL);
	PG_RETURN_VOID();
}

/*
 * Queue work as the deployment's next route change.
 */
int64
mrb_enqueue(const char *deployment_id, const char *kind, const char *host)
{
	int64		number;
	MrbRowWrite *write;

	mrb_primary_require();
	number = take_numbers(deployment_id, 1);
	write = mrb_row_write_begin(tables, lengthof(tables), false);
	mrb_enqueue_insert(write, 0, deployment_id, kind, number, host,
					   GetCurrentTimestamp());
	mrb_row_write_end(write);
	mrb_wakeup_dispatcher(NULL, NULL);
	return number;
}

/*
 * Insert an entry into the outbox.
 */
void
mrb_enqueue_insert(MrbRowWrite *write, int table, const char *deployment_id,
				   const char *kind, int64 route_seq, const char *host,
				   TimestampTz now)
{
	Datum		values[OUTBOX_COLUMNS];
	bool		nulls[OUTBOX_COLUMNS] = {[OUTBOX_HOST] = host == NULL};

	values[OUTBOX_XID] = FullTransactionIdGetDatum(GetTopFullTransactionId());
	values[OUTBOX_DEPLOYMENT] = CStringGetTextDatum(deployment_id);
	values[OUTBOX_KIND] = CStringGetTextDatum(kind);
	values[OUTBOX_ROUTE_SEQ] = Int64GetDatum(route_seq);
	if (host != NULL)
		values[OUTBOX_HOST] = CStringGetTextDatum(host);
	values[OUTBOX_CREATED] = TimestampTzGetDatum(now);
	mrb_row_write_insert(write, table, values, nulls);
}

/*
 * Take the next numbers of a deployment's route changes and return the last of
 * them, or 0 if there is no such deployment.
 */
static int64
take_numbers(const char *deployment_id, int count)
{
	Datum		values[] = {
		CStringGetTextDatum(deployment_id),
		Int32GetDatum(count)
	};
	int64		number = 0;

	/* The row may be locked by another transaction, so this is a query. */
	mrb_query_open();
	if (mrb_write_guard_run(&number_query, values, NULL) > 0)
		number = mrb_query_int64(0, 1, 0);
	mrb_query_close();
	return number;
}
