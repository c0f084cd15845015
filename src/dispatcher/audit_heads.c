/*-------------------------------------------------------------------------
 *
 * audit_heads.c
 *	  Sends heads of the audit trail out of the server.
 *
 * The owner of the database can rewrite the audit trail with hashes that fit.
 * What was sent out before shows that.  So a statement of the heads that have
 * changed is made every miosa_rollback.audit_head_interval, and after
 * audit_head_events operations; miosa.audit_state() makes it, and notifies
 * listeners.  Once it is committed it is appended to audit_head_file, and sent to
 * the endpoints of role audit, to each in the order of the numbers and one at a
 * time.  A receiver's position is written after it has accepted, so a crash
 * repeats a statement and loses none.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/pg_type.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "adapter/answer.h"
#include "adapter/escape.h"
#include "base/container.h"
#include "base/guc.h"
#include "base/miosa_rollback.h"
#include "common/query.h"
#include "common/worker_xact.h"
#include "dispatcher/audit_heads.h"
#include "endpoint/endpoint_list.h"
#include "endpoint/health.h"
#include "endpoint/rate_limit.h"

/* Requests wait while a transaction waits for a lock. */
#define LOCK_MS 100

/* When a step that failed, or a write to the file, is tried again. */
#define RETRY_MS 1000

/* Name of the file in miosa.audit_receivers; endpoints have longer ones. */
#define FILE_RECEIVER ""

/* Columns of state_query and newest_query. */
enum
{
	STATE_NUMBER = 1,
	STATE_MORE,
};

static MrbQuery state_query = {
	.sql = "SELECT s.number, s.more FROM miosa.audit_state($1) s",
	.nargs = 1,
	.argtypes = {INT4OID},
};

static MrbQuery newest_query = {
	.sql = "SELECT max(s.number) FROM miosa.audit_statements s",
};

static MrbQuery sent_query = {
	.sql = "SELECT miosa.audit_sent($1, $2)",
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

/* Columns of next_query. */
enum
{
	NEXT_NUMBER = 1,
	NEXT_TIME,
	NEXT_CONTENT,
	NEXT_HASH,
};

static MrbQuery next_query = {
	.sql = "SELECT n.number, miosa.iso(n.created_at), n.content,"
	" pg_catalog.encode(n.hash, 'hex') FROM miosa.audit_next($1) n",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* A statement that a receiver lacks. */
typedef struct Statement
{
	MrbEndpoint *endpoint;		/* NULL: the file */
	int64		number;
	char	   *time;
	char	   *content;
	char	   *hash;
} Statement;

/* One step. */
typedef struct Work
{
	MrbAuditHeads *heads;
	List	   *statements;		/* of Statement */
} Work;

static void timer_fired(MrbTimer *fired);
static bool anything_to_do(MrbAuditHeads *heads);
static bool endpoint_lacks(const MrbAuditHeads *heads, MrbEndpoint *endpoint);
static bool file_lacks(const MrbAuditHeads *heads);
static void run(void *arg);
static void make_statement(MrbAuditHeads *heads);
static void record(const char *receiver, int64 number, int64 *recorded);
static int64 read_next(Work *work, const char *receiver, MrbEndpoint *endpoint);
static void send_statement(const Statement *statement);
static void handle_answer(MrbInflight *inflight, const MrbHttpAnswer *answer);
static void append_statement(MrbAuditHeads *heads, const Statement *statement);
static bool append(const char *path, const char *bytes, int len);

/*
 * The first statement is made at once: a predecessor may have been ended before
 * it could.
 */
void
mrb_audit_heads_init(MrbAuditHeads *heads)
{
	MemSet(heads, 0, sizeof(MrbAuditHeads));
	heads->context = AllocSetContextCreate(TopMemoryContext,
										   MRB_EXTENSION " audit heads",
										   ALLOCSET_DEFAULT_SIZES);
	heads->due = true;
}

/*
 * Count changes.  Each operation changes a route.
 */
void
mrb_audit_heads_note(MrbAuditHeads *heads, int nchanges)
{
	heads->changes += nchanges;
	if (heads->changes >= mrb_audit_head_events)
		heads->due = true;
}

/*
 * The interval is over.
 */
static void
timer_fired(MrbTimer *fired)
{
	mrb_container(MrbAuditHeads, timer, fired)->due = true;
}

/*
 * Make one step.
 */
void
mrb_audit_heads_step(MrbAuditHeads *heads)
{
	Work		work = {.heads = heads};
	MemoryContext caller = CurrentMemoryContext;
	ListCell   *cell;

	if (!anything_to_do(heads))
		return;
	if (!mrb_worker_xact_try(run, &work, NULL))
	{
		heads->due = false;
		heads->newest = 0;
		mrb_timer_set(&heads->timer, RETRY_MS, timer_fired);
		MemoryContextReset(heads->context);
		return;
	}
	MemoryContextSwitchTo(heads->context);
	foreach(cell, work.statements)
	{
		const Statement *statement = lfirst(cell);

		if (statement->endpoint == NULL)
			append_statement(heads, statement);
		else
			send_statement(statement);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(heads->context);
}

/*
 * Whether a statement is due, a receiver lacks one, or one's position is to be
 * written.
 */
static bool
anything_to_do(MrbAuditHeads *heads)
{
	dlist_iter	iter;

	if (heads->due || file_lacks(heads) || heads->written > heads->recorded)
		return true;
	mrb_endpoint_list_foreach(iter)
	{
		MrbEndpoint *endpoint = mrb_endpoint_list_current(iter);

		if (endpoint->adapter->audit &&
			(endpoint->audit.sent > endpoint->audit.recorded ||
			 endpoint_lacks(heads, endpoint)))
			return true;
	}
	return false;
}

/*
 * Whether the endpoint lacks a statement and may be sent it.
 */
static bool
endpoint_lacks(const MrbAuditHeads *heads, MrbEndpoint *endpoint)
{
	return endpoint->audit.sent < heads->newest &&
		endpoint->requests.in_flight == 0 && mrb_health_may_send(endpoint) &&
		mrb_rate_limit_allows(endpoint);
}

/*
 * Whether the file lacks a statement and may be written.
 */
static bool
file_lacks(const MrbAuditHeads *heads)
{
	return mrb_audit_head_file[0] != '\0' && heads->written < heads->newest &&
		mrb_timer_now() >= heads->retry;
}

/*
 * The transaction of a step.
 */
static void
run(void *arg)
{
	Work	   *work = arg;
	MrbAuditHeads *heads = work->heads;
	dlist_iter	iter;

	mrb_worker_xact_begin(MRB_WORKER_XACT_PASS, LOCK_MS);
	mrb_query_open();
	if (heads->due)
		make_statement(heads);
	record(FILE_RECEIVER, heads->written, &heads->recorded);
	if (file_lacks(heads))
		heads->written = read_next(work, FILE_RECEIVER, NULL);
	mrb_endpoint_list_foreach(iter)
	{
		MrbEndpoint *endpoint = mrb_endpoint_list_current(iter);

		if (!endpoint->adapter->audit)
			continue;
		record(endpoint->name, endpoint->audit.sent, &endpoint->audit.recorded);
		if (endpoint_lacks(heads, endpoint))
			endpoint->audit.sent = read_next(work, endpoint->name, endpoint);
	}
	mrb_query_close();
	mrb_worker_xact_commit();
}

/*
 * Make a statement, unless nothing has changed.
 */
static void
make_statement(MrbAuditHeads *heads)
{
	Datum		most = Int32GetDatum(mrb_audit_head_events);

	mrb_query_run(&state_query, &most, NULL);
	heads->due = mrb_query_bool(0, STATE_MORE);
	heads->newest = mrb_query_int64(0, STATE_NUMBER, 0);
	if (heads->newest == 0)
	{
		mrb_query_run(&newest_query, NULL, NULL);
		heads->newest = mrb_query_int64(0, STATE_NUMBER, 0);
	}
	heads->changes = 0;
	mrb_timer_set(&heads->timer, mrb_audit_head_interval, timer_fired);
}

/*
 * Write the position of a receiver.
 */
static void
record(const char *receiver, int64 number, int64 *recorded)
{
	Datum		values[] = {CStringGetTextDatum(receiver), Int64GetDatum(number)};

	if (number <= *recorded)
		return;
	mrb_query_run(&sent_query, values, NULL);
	*recorded = number;
}

/*
 * Read the statement that follows a receiver's position.  Returns the position.
 */
static int64
read_next(Work *work, const char *receiver, MrbEndpoint *endpoint)
{
	Datum		value = CStringGetTextDatum(receiver);
	MemoryContext caller;
	Statement  *statement;

	if (mrb_query_run(&next_query, &value, NULL) == 0)
		return work->heads->newest;
	caller = MemoryContextSwitchTo(work->heads->context);
	statement = palloc0(sizeof(Statement));
	statement->endpoint = endpoint;
	statement->number = mrb_query_int64(0, NEXT_NUMBER, 0);
	statement->time = pstrdup(mrb_query_text(0, NEXT_TIME));
	statement->content = pstrdup(mrb_query_text(0, NEXT_CONTENT));
	statement->hash = pstrdup(mrb_query_text(0, NEXT_HASH));
	work->statements = lappend(work->statements, statement);
	MemoryContextSwitchTo(caller);
	return statement->number - 1;
}

/*
 * Send a statement to an endpoint.
 */
static void
send_statement(const Statement *statement)
{
	MrbEndpoint *endpoint = statement->endpoint;
	MrbInflightNote note = {
		.request = endpoint->adapter->request,
		.epoch = statement->number,
		.retry = endpoint->health.failures > 0,
		.done = handle_answer,
	};
	MrbTemplateValues values = {0};
	const char *problem = NULL;

	values.text[MRB_VAR_CHANGED_AT] = statement->time;
	values.text[MRB_VAR_EPOCH] = psprintf(INT64_FORMAT, statement->number);
	values.text[MRB_VAR_MESSAGE_ID] = psprintf("audit:%s", statement->hash);
	values.text[MRB_VAR_SHA256] = statement->hash;
	values.text[MRB_VAR_STATEMENT] = mrb_escape_base64(statement->content,
													   strlen(statement->content));
	if (mrb_inflight_start(endpoint, &values, &note, &problem) == MRB_START_WRONG)
		mrb_health_misconfigured(endpoint, problem);
}

/*
 * An endpoint has answered.  It must take each statement, so a refusal of the
 * message is a failure of the endpoint.
 */
static void
handle_answer(MrbInflight *inflight, const MrbHttpAnswer *answer)
{
	MrbEndpoint *endpoint = inflight->endpoint;
	char	   *why;
	MrbVerdict	verdict = mrb_answer_judge(endpoint->adapter, inflight->note.request,
										   answer, &why);

	if (verdict == MRB_VERDICT_MESSAGE)
		verdict = MRB_VERDICT_ENDPOINT;
	mrb_endpoint_stats_answered(&endpoint->stats, verdict == MRB_VERDICT_SUCCESS);
	mrb_health_note_answer(inflight, answer, verdict, why);
	if (verdict == MRB_VERDICT_SUCCESS)
		endpoint->audit.sent = inflight->note.epoch;
}

/*
 * Append a statement to the file, between an empty line and its hash: what a
 * crash has cut off ends at the empty line.
 */
static void
append_statement(MrbAuditHeads *heads, const Statement *statement)
{
	char	   *entry = psprintf("\n%ssha256 %s\n", statement->content,
								 statement->hash);

	if (append(mrb_audit_head_file, entry, strlen(entry)))
	{
		heads->written = statement->number;
		heads->failed = false;
		return;
	}
	if (!heads->failed)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not append to \"%s\", which miosa_rollback.audit_head_file names: %m",
						mrb_audit_head_file)));
	heads->failed = true;
	heads->retry = mrb_timer_add_ms(mrb_timer_read(), RETRY_MS);
	mrb_timer_set(&heads->timer, RETRY_MS, timer_fired);
}

/*
 * Append bytes to a file and flush it; false, with errno, on failure.
 */
static bool
append(const char *path, const char *bytes, int len)
{
	struct stat found;
	int			fd = BasicOpenFilePerm(path, O_WRONLY | O_APPEND | O_CREAT |
									   O_NOFOLLOW | O_NONBLOCK | PG_BINARY, 0640);
	bool		done;
	int			problem;

	if (fd < 0)
		return false;
	errno = 0;
	if (fstat(fd, &found) == 0 && !S_ISREG(found.st_mode))
		errno = EINVAL;
	done = errno == 0 && write(fd, bytes, len) == len && pg_fsync(fd) == 0;
	problem = errno != 0 ? errno : ENOSPC;
	close(fd);
	errno = problem;
	return done;
}
