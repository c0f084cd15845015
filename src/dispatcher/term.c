/*-------------------------------------------------------------------------
 *
 * term.c
 *	  The term: whether this database may send to endpoints, and its epochs.
 *
 * The one row of dispatcher_state says on which cluster and timeline its
 * epochs were given.  The rule that recognizes a copy, which must not send, is
 * in SQL (miosa.pause_reason), so that status, doctor and dispatcher agree.
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
	" SELECT 1, miosa.first_epoch(1), i.site, i.system_identifier,"
	" i.timeline, i.database_oid FROM miosa.identity() i"
	" WHERE NOT EXISTS (SELECT FROM miosa.dispatcher_state)"
	" ON CONFLICT DO NOTHING",
	.expected = MRB_QUERY_INSERT,
};

/* Columns of lock_query. */
enum
{
	LOCK_TERM = 1,
	LOCK_LAST_EPOCH,
	LOCK_TRIMMED_EPOCH,
	LOCK_PAUSED,
	LOCK_MOVED,					/* to another cluster or timeline */
	LOCK_ORIGIN_EPOCH,
};

static MrbQuery lock_query = {
	.sql = "SELECT s.term, s.last_epoch, s.trimmed_epoch,"
	" miosa.pause_reason(), s.timeline <> i.timeline OR"
	" s.system_identifier <> i.system_identifier, s.origin_epoch"
	" FROM miosa.dispatcher_state s, miosa.identity() i"
	" FOR UPDATE OF s",
};

/* Column of reason_query. */
enum
{
	REASON_PAUSED = 1,
};

static MrbQuery reason_query = {
	.sql = "SELECT miosa.pause_reason()",
};

static MrbQuery new_term_query = {
	.sql = "UPDATE miosa.dispatcher_state s SET term = s.term + 1,"
	" term_since = pg_catalog.clock_timestamp(), last_epoch = miosa.first_epoch(s.term + 1), timeline = i.timeline,"
	" system_identifier = i.system_identifier FROM miosa.identity() i",
	.expected = MRB_QUERY_UPDATE,
};

/* Columns of advance_query. */
enum
{
	ADVANCE_TERM = 1,
	ADVANCE_LAST_EPOCH,			/* before */
	ADVANCE_TRIMMED_EPOCH,
};

static MrbQuery advance_query = {
	.sql = "UPDATE miosa.dispatcher_state s SET last_epoch = s.last_epoch + $1"
	" RETURNING s.term, s.last_epoch - $1, s.trimmed_epoch",
	.nargs = 1,
	.argtypes = {INT8OID},
	.expected = MRB_QUERY_UPDATE_RETURNING,
};

static MrbQuery follow_query = {
	.sql = "UPDATE miosa.dispatcher_state s SET origin_epoch ="
	" greatest(s.origin_epoch, $1)",
	.nargs = 1,
	.argtypes = {INT8OID},
	.expected = MRB_QUERY_UPDATE,
};

/*
 * Lock and read dispatcher_state, which the first call creates.
 */
void
mrb_term_read(Oid extension, int64 skip, MrbTerm *term)
{
	bool		moved;
	bool		created = false;

	MemSet(term, 0, sizeof(MrbTerm));
	term->absent = mrb_worker_xact_extension() != extension;
	if (term->absent)
		return;

	mrb_query_open();
	if (mrb_query_run(&lock_query, NULL, NULL) == 0)
	{
		mrb_query_run(&create_query, NULL, NULL);
		mrb_query_run(&lock_query, NULL, NULL);
		created = true;
	}
	term->number = mrb_query_int64(0, LOCK_TERM, 1);
	term->last_epoch = mrb_query_int64(0, LOCK_LAST_EPOCH, 0);
	term->trimmed_epoch = mrb_query_int64(0, LOCK_TRIMMED_EPOCH, 0);
	term->paused = mrb_query_text(0, LOCK_PAUSED);
	moved = mrb_query_bool(0, LOCK_MOVED);
	term->origin_epoch = mrb_query_int64(0, LOCK_ORIGIN_EPOCH, 0);
	if (term->paused == NULL && moved)
	{
		mrb_query_run(&new_term_query, NULL, NULL);
		term->number++;
		term->last_epoch = MRB_EPOCH_FIRST(term->number);
	}
	mrb_query_close();
	if (term->paused == NULL && !moved && !created && skip > 0 &&
		mrb_term_advance(skip, term))
		term->last_epoch += skip;
}

/*
 * Why nothing may be sent, or NULL.
 */
char *
mrb_term_reason(void)
{
	char	   *reason;

	mrb_query_open();
	mrb_query_run(&reason_query, NULL, NULL);
	reason = mrb_query_text(0, REASON_PAUSED);
	mrb_query_close();
	return reason;
}

/*
 * Most passes do no more than this with dispatcher_state: whether it is a copy
 * is judged when settings are read.
 */
bool
mrb_term_advance(int64 epochs, MrbTerm *term)
{
	Datum		arg = Int64GetDatum(epochs);
	bool		found;

	mrb_query_open();
	found = mrb_query_run(&advance_query, &arg, NULL) > 0;
	if (found)
	{
		term->number = mrb_query_int64(0, ADVANCE_TERM, 1);
		term->last_epoch = mrb_query_int64(0, ADVANCE_LAST_EPOCH, 0);
		term->trimmed_epoch = mrb_query_int64(0, ADVANCE_TRIMMED_EPOCH, 0);
	}
	mrb_query_close();
	return found;
}

/*
 * Write down how far the primary site's route log was taken.
 */
void
mrb_term_follow(int64 origin_epoch)
{
	Datum		arg = Int64GetDatum(origin_epoch);

	mrb_query_open();
	mrb_query_run(&follow_query, &arg, NULL);
	mrb_query_close();
}
