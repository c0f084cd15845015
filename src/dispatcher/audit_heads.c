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
 * the endpoints of role audit (feed.c).
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

#include "adapter/escape.h"
#include "base/container.h"
#include "base/guc.h"
#include "base/miosa_rollback.h"
#include "common/query.h"
#include "common/worker_xact.h"
#include "dispatcher/audit_heads.h"

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

static MrbQuery next_query = {
	.sql = "SELECT n.number, miosa.iso(n.created_at), n.content,"
	" pg_catalog.encode(n.hash, 'hex') FROM miosa.audit_next($1) n",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static void timer_fired(MrbTimer *fired);
static bool receives(const MrbAdapter *adapter);
static bool file_lacks(const MrbAuditHeads *heads);
static void run(void *arg);
static void make_statement(MrbAuditHeads *heads);
static void set_timer(MrbAuditHeads *heads);
static void set_values(const MrbFeedMessage *statement, MrbTemplateValues *values);
static void append_statement(MrbAuditHeads *heads, const MrbFeedMessage *statement);
static bool append(const char *path, const char *bytes, int len);

/*
 * The first statement is made at once: a predecessor may have been ended before
 * it could.
 */
void
mrb_audit_heads_init(MrbAuditHeads *heads)
{
	MemSet(heads, 0, sizeof(MrbAuditHeads));
	mrb_feed_init(&heads->feed, "audit heads");
	heads->feed.receives = receives;
	heads->feed.next_query = &next_query;
	heads->feed.sent_query = &sent_query;
	heads->feed.set_values = set_values;
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
	ListCell   *cell;

	/* Another interval counts from its reload, not after the one before. */
	if (heads->interval != mrb_audit_head_interval)
		set_timer(heads);
	if (!heads->due && !file_lacks(heads) && heads->written <= heads->recorded &&
		!mrb_feed_has_work(&heads->feed))
		return;
	if (!mrb_worker_xact_try(run, heads, NULL))
	{
		heads->due = false;
		heads->feed.newest = 0;
		mrb_timer_set(&heads->timer, RETRY_MS, timer_fired);
		mrb_feed_reset(&heads->feed);
		return;
	}
	foreach(cell, heads->feed.messages)
	{
		const MrbFeedMessage *statement = lfirst(cell);

		if (statement->endpoint == NULL)
			append_statement(heads, statement);
	}
	mrb_feed_send(&heads->feed);
	mrb_feed_reset(&heads->feed);
}

/*
 * Whether endpoints of an adapter receive statements.
 */
static bool
receives(const MrbAdapter *adapter)
{
	return adapter->audit;
}

/*
 * Whether the file lacks a statement and may be written.
 */
static bool
file_lacks(const MrbAuditHeads *heads)
{
	return mrb_audit_head_file[0] != '\0' && heads->written < heads->feed.newest &&
		mrb_timer_now() >= heads->retry;
}

/*
 * The transaction of a step.
 */
static void
run(void *arg)
{
	MrbAuditHeads *heads = arg;

	mrb_worker_xact_begin(MRB_WORKER_XACT_PASS, LOCK_MS);
	mrb_query_open();
	if (heads->due)
		make_statement(heads);
	mrb_feed_record(&heads->feed, FILE_RECEIVER, heads->written, &heads->recorded);
	if (file_lacks(heads))
		heads->written = mrb_feed_read_next(&heads->feed, FILE_RECEIVER, NULL);
	mrb_feed_read(&heads->feed);
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
	heads->feed.newest = mrb_query_int64(0, STATE_NUMBER, 0);
	if (heads->feed.newest == 0)
	{
		mrb_query_run(&newest_query, NULL, NULL);
		heads->feed.newest = mrb_query_int64(0, STATE_NUMBER, 0);
	}
	heads->changes = 0;
	set_timer(heads);
}

/*
 * Have the next statement made when the interval is over.
 */
static void
set_timer(MrbAuditHeads *heads)
{
	heads->interval = mrb_audit_head_interval;
	mrb_timer_set(&heads->timer, heads->interval, timer_fired);
}

/*
 * Set the values of a statement's request.
 */
static void
set_values(const MrbFeedMessage *statement, MrbTemplateValues *values)
{
	values->text[MRB_VAR_MESSAGE_ID] = psprintf("audit:%s", statement->id);
	values->text[MRB_VAR_SHA256] = statement->id;
	values->text[MRB_VAR_STATEMENT] = mrb_escape_base64(statement->content,
														strlen(statement->content));
}

/*
 * Append a statement to the file, between an empty line and its hash: what a
 * crash has cut off ends at the empty line.
 */
static void
append_statement(MrbAuditHeads *heads, const MrbFeedMessage *statement)
{
	char	   *entry = psprintf("\n%ssha256 %s\n", statement->content,
								 statement->id);

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
