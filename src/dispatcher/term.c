/*-------------------------------------------------------------------------
 *
 * term.c
 *	  Whether the dispatcher may tell anybody, and where its epochs stand.
 *
 * The one row of dispatcher_state says where the order of epochs was made.
 * The rule for what is a copy, and must be silent, is in SQL
 * (miosa.pause_reason), so that everybody who asks gets the same answer.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "base/miosa_rollback.h"
#include "common/query.h"
#include "common/worker_xact.h"
#include "dispatcher/term.h"

/* Epochs of term 1 begin here. */
static MrbQuery create_query = {
	.sql = "INSERT INTO miosa.dispatcher_state (term, last_epoch, site,"
	" system_identifier, timeline, database_oid)"
	" SELECT 1, 1::pg_catalog.int8 << 40, i.site, i.system_identifier,"
	" i.timeline, i.database_oid FROM miosa.identity() i"
	" WHERE NOT EXISTS (SELECT FROM miosa.dispatcher_state)"
	" ON CONFLICT DO NOTHING",
	.expected = MRB_QUERY_INSERT,
};

static MrbQuery lock_query = {
	.sql = "SELECT s.term, s.last_epoch, s.trimmed_epoch,"
	" miosa.pause_reason(), s.timeline <> i.timeline OR"
	" s.system_identifier <> i.system_identifier"
	" FROM miosa.dispatcher_state s, miosa.identity() i"
	" FOR UPDATE OF s",
};

static MrbQuery reason_query = {
	.sql = "SELECT miosa.pause_reason()",
};

static MrbQuery new_term_query = {
	.sql = "UPDATE miosa.dispatcher_state s SET term = s.term + 1,"
	" term_since = pg_catalog.clock_timestamp(), last_epoch = (s.term + 1) << 40, timeline = i.timeline,"
	" system_identifier = i.system_identifier FROM miosa.identity() i",
	.expected = MRB_QUERY_UPDATE,
};

static MrbQuery advance_query = {
	.sql = "UPDATE miosa.dispatcher_state SET last_epoch = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
	.expected = MRB_QUERY_UPDATE,
};

void
mrb_term_read(Oid extension, MrbTerm *standing)
{
	bool		moved;

	MemSet(standing, 0, sizeof(MrbTerm));
	standing->absent = mrb_worker_xact_extension() != extension;
	if (standing->absent)
		return;

	mrb_query_open();
	if (mrb_query_run(&lock_query, NULL, NULL) == 0)
	{
		mrb_query_run(&create_query, NULL, NULL);
		mrb_query_run(&lock_query, NULL, NULL);
	}
	standing->term = mrb_query_int64(0, 1, 1);
	standing->last_epoch = mrb_query_int64(0, 2, 0);
	standing->trimmed_epoch = mrb_query_int64(0, 3, 0);
	standing->paused = mrb_query_text(0, 4);
	moved = mrb_query_bool(0, 5);
	if (standing->paused == NULL && moved)
	{
		mrb_query_run(&new_term_query, NULL, NULL);
		standing->term++;
		standing->last_epoch = standing->term << MRB_EPOCH_BITS;
	}
	mrb_query_close();
}

char *
mrb_term_reason(void)
{
	char	   *reason;

	mrb_query_open();
	mrb_query_run(&reason_query, NULL, NULL);
	reason = mrb_query_text(0, 1);
	mrb_query_close();
	return reason;
}

void
mrb_term_advance(int64 last_epoch)
{
	Datum		arg = Int64GetDatum(last_epoch);

	mrb_query_open();
	mrb_query_run(&advance_query, &arg, NULL);
	mrb_query_close();
}
