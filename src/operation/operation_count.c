/*-------------------------------------------------------------------------
 *
 * operation_count.c
 *	  Counts operations when they commit, and logs them.
 *
 * What a transaction has done is remembered until it commits, so that neither
 * a counter nor a line of the log tells of an operation that was rolled back.
 * Lines are made when the operation is written, since at commit nothing may
 * fail.  A transaction that is prepared counts at that time.
 *
 * A refusal, and a stored response that is returned, change nothing and count at
 * once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "base/guc.h"
#include "common/logfmt.h"
#include "operation/operation_count.h"
#include "operation/operation_stats.h"

/* An operation of this transaction. */
typedef struct Pending
{
	int			depth;			/* of its subtransaction */
	MrbAction	action;
	MrbOutcome	outcome;
	bool		single;
	int64		took;			/* microseconds; -1: the call goes on */
	char	   *line;			/* for the log; NULL: none */
} Pending;

/* Those of this transaction, the deepest ones last. */
static Pending *pending = NULL;
static int	npending = 0;
static int	room = 0;

/* When the call began; 0: not known. */
static MrbTick began = 0;

static bool callbacks_registered = false;

static Pending *add_pending(void);
static char *make_line(const MrbCounted *counted);
static void at_xact_end(XactEvent event, void *arg);
static void at_subxact_end(SubXactEvent event, SubTransactionId mySubid,
						   SubTransactionId parentSubid, void *arg);
static void count_all(void);
static void log_one(const Pending *it);

/*
 * Note the time at which a call begins, and return it.
 */
MrbTick
mrb_operation_count_begin(void)
{
	began = mrb_timer_read();
	return began;
}

/*
 * Go on with a call that began at that time.
 */
void
mrb_operation_count_resume(MrbTick at)
{
	began = at;
}

/*
 * Remember an operation until the transaction commits.
 */
void
mrb_operation_count_written(const MrbCounted *counted)
{
	Pending    *it;
	MrbOutcome	outcome;

	/* A refusal that is kept as an audit event counts as a refusal. */
	if (!mrb_operation_stats_find_outcome(counted->outcome, &outcome))
		return;
	if (!mrb_log_operations && mrb_operation_stats_mine() == NULL)
		return;
	it = add_pending();
	it->depth = GetCurrentTransactionNestLevel();
	it->action = counted->action;
	it->outcome = outcome;
	it->single = false;
	it->took = -1;
	it->line = mrb_log_operations ? make_line(counted) : NULL;
}

/*
 * Note how long the call took.
 */
void
mrb_operation_count_done(bool single)
{
	int64		took = began == 0 ? 0 : (int64) (mrb_timer_read() - began);

	for (int i = npending - 1; i >= 0 && pending[i].took < 0; i--)
	{
		pending[i].took = took;
		pending[i].single = single;
	}
}

/*
 * Count a stored response that is returned.
 */
void
mrb_operation_count_replayed(void)
{
	MrbOperationStats *stats = mrb_operation_stats_mine();

	if (stats != NULL)
		pg_atomic_fetch_add_u64(&stats->replays, 1);
}

/*
 * Count a refusal, and log it.  This may run while an error is handled, so it
 * does nothing that can fail.
 */
void
mrb_operation_count_refused(MrbCondition condition, const MrbCounted *counted)
{
	MrbOperationStats *stats = mrb_operation_stats_mine();

	if (stats != NULL)
		pg_atomic_fetch_add_u64(&stats->refusals[condition], 1);
	if (!mrb_log_operations || counted->name == NULL)
		return;
	mrb_logfmt_begin(counted->name);
	mrb_logfmt_text("deployment", counted->deployment_id);
	mrb_logfmt_text("to", counted->to);
	mrb_logfmt_pair("actor", counted->actor_type, counted->actor_id);
	mrb_logfmt_text("outcome", "refused");
	mrb_logfmt_text("condition", mrb_errors_condition_name(condition));
	if (began != 0)
		mrb_logfmt_ms("ms", mrb_timer_read() - began);
	mrb_logfmt_write(mrb_logfmt_end());
}

/*
 * Count and log that an operation has converged.
 */
void
mrb_operation_count_converged(const char *deployment_id, int64 seq,
							  const char *version_id, int edges, int64 first,
							  int64 last)
{
	MrbOperationStats *stats = mrb_operation_stats_mine();

	if (stats != NULL)
		mrb_buckets_add(&stats->convergence, mrb_buckets_deliveries, last);
	if (!mrb_log_operations)
		return;
	mrb_logfmt_begin("converged");
	mrb_logfmt_text("deployment", deployment_id);
	mrb_logfmt_integer("seq", seq);
	mrb_logfmt_text("version", version_id);
	mrb_logfmt_integer("edges", edges);
	mrb_logfmt_ms("first_ms", first);
	mrb_logfmt_ms("last_ms", last);
	mrb_logfmt_write(mrb_logfmt_end());
}

/*
 * Return room for one more.
 */
static Pending *
add_pending(void)
{
	if (!callbacks_registered)
	{
		RegisterXactCallback(at_xact_end, NULL);
		RegisterSubXactCallback(at_subxact_end, NULL);
		callbacks_registered = true;
	}
	if (pending == NULL)
	{
		room = 8;
		pending = MemoryContextAlloc(TopTransactionContext, room * sizeof(Pending));
	}
	else if (npending == room)
	{
		pending = repalloc(pending, 2 * room * sizeof(Pending));
		room *= 2;
	}
	return &pending[npending++];
}

/*
 * Make the line of an operation, all but its duration.
 */
static char *
make_line(const MrbCounted *counted)
{
	mrb_logfmt_begin(counted->name);
	mrb_logfmt_text("deployment", counted->deployment_id);
	mrb_logfmt_text("from", counted->from);
	mrb_logfmt_text("to", counted->to);
	mrb_logfmt_pair("actor", counted->actor_type, counted->actor_id);
	mrb_logfmt_text("outcome", counted->outcome);
	return MemoryContextStrdup(TopTransactionContext, mrb_logfmt_end());
}

/*
 * Count operations that are committed, and forget those that are not.
 */
static void
at_xact_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			if (npending > 0)
				count_all();
			break;
		case XACT_EVENT_ABORT:
			break;
		default:
			return;
	}
	pending = NULL;				/* its memory was the transaction's */
	npending = 0;
	began = 0;
}

/*
 * Forget those of a subtransaction that is rolled back, or pass them to the
 * parent.
 */
static void
at_subxact_end(SubXactEvent event, SubTransactionId mySubid,
			   SubTransactionId parentSubid, void *arg)
{
	int			here = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_ABORT_SUB)
		while (npending > 0 && pending[npending - 1].depth >= here)
			npending--;
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (int i = npending - 1; i >= 0 && pending[i].depth >= here; i--)
			pending[i].depth = here - 1;
}

/*
 * Count and log what the transaction has done.
 */
static void
count_all(void)
{
	MrbOperationStats *stats = mrb_operation_stats_mine();

	for (int i = 0; i < npending; i++)
	{
		Pending    *it = &pending[i];

		if (stats != NULL)
			pg_atomic_fetch_add_u64(&stats->operations[it->action][it->outcome], 1);
		if (stats != NULL && it->single && it->action < MRB_MOVES)
			mrb_buckets_add(&stats->durations[it->action], mrb_buckets_calls,
							it->took);
		if (it->line != NULL)
			log_one(it);
	}
}

/*
 * Write the line of an operation, with its duration.
 */
static void
log_one(const Pending *it)
{
	int64		took = Max(0, it->took);

	ereport(LOG,
			(errmsg_internal("%s ms=" INT64_FORMAT ".%03d", it->line, took / 1000,
							 (int) (took % 1000)),
			 errhidestmt(true), errhidecontext(true)));
}
