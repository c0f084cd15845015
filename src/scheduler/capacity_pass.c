/*-------------------------------------------------------------------------
 *
 * capacity_pass.c
 *	  Periodic check of the capacity of all deployments.
 *
 * A pass begins every capacity_interval, and when a deadline of a deployment
 * has passed.  It reads one page of deployments a turn of the loop, because
 * deliveries wait meanwhile.  At its end the requests of all deployments are
 * read again, so that requests for what is still missing are repeated.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/guc.h"
#include "common/query.h"
#include "common/worker_xact.h"
#include "scheduler/capacity_pass.h"
#include "scheduler/reconcile.h"

/* Deployments that one transaction checks. */
#define PAGE 1000

/* Requests wait while a transaction waits for a lock. */
#define LOCK_MS 100

/* After an error, and at least between the starts of two passes. */
#define PAUSE_MS 1000

/* What the transaction of one page returns. */
typedef struct Page
{
	const char *begin;
	char	   *next;			/* where the next page begins; NULL: the end */
	MrbTick		due;			/* earliest deadline; MRB_TICK_NEVER: none */
} Page;

/* Columns of pass_query. */
enum
{
	PASS_NEXT = 1,
	PASS_NEXT_DUE,
};

static MrbQuery pass_query = {
	.sql = "SELECT p.next, p.next_due FROM miosa.capacity_pass($1, $2) p",
	.nargs = 2,
	.argtypes = {TEXTOID, INT4OID},
};

static MrbTick next_page_at(const MrbCapacityPass *pass);
static void move_cursor(MrbCapacityPass *pass, const char *next);
static void read_page(void *arg);

/*
 * Have the first pass begin in the first turn.
 */
void
mrb_capacity_pass_init(MrbScaling *scaling)
{
	MemSet(&scaling->pass, 0, sizeof(MrbCapacityPass));
	scaling->pass.due = MRB_TICK_NEVER;
}

/*
 * Check the next page, if a pass goes on or is due to begin.
 */
void
mrb_capacity_pass_step(MrbScaling *scaling)
{
	MrbCapacityPass *pass = &scaling->pass;
	Page		page = {.due = MRB_TICK_NEVER};

	if (next_page_at(pass) > mrb_timer_now())
		return;
	if (pass->cursor == NULL)
	{
		pass->begun_at = mrb_timer_now();
		pass->due = MRB_TICK_NEVER;
		move_cursor(pass, "");
	}
	page.begin = pass->cursor;
	if (!mrb_worker_xact_try(read_page, &page, NULL))
	{
		pass->not_before = mrb_timer_add_ms(mrb_timer_now(), PAUSE_MS);
		return;
	}
	pass->due = Min(pass->due, page.due);
	move_cursor(pass, page.next);
	if (pass->cursor != NULL)
		return;
	pass->not_before = mrb_timer_add_ms(pass->begun_at,
										Min(PAUSE_MS, mrb_capacity_interval));
	mrb_reconcile_refresh(scaling);
}

/*
 * Note a deadline that no pass has seen yet.
 */
void
mrb_capacity_pass_schedule(MrbScaling *scaling, MrbTick at)
{
	scaling->pass.due = Min(scaling->pass.due, at);
}

/*
 * Bound the wait of the loop by the time of the next page.
 */
long
mrb_capacity_pass_wait(MrbScaling *scaling, long most)
{
	return Min(most, mrb_timer_ms_between(mrb_timer_read(),
										  next_page_at(&scaling->pass)) + 1);
}

/*
 * When the next page is due: at once in the middle of a pass, otherwise at
 * the next deadline or after capacity_interval, whichever is earlier.
 */
static MrbTick
next_page_at(const MrbCapacityPass *pass)
{
	MrbTick		at = pass->begun_at == 0 || pass->cursor != NULL ? 0 :
	Min(pass->due, mrb_timer_add_ms(pass->begun_at, mrb_capacity_interval));

	return Max(at, pass->not_before);
}

/*
 * Continue the pass at next; NULL ends it.
 */
static void
move_cursor(MrbCapacityPass *pass, const char *next)
{
	char	   *copy = next != NULL ?
	MemoryContextStrdup(TopMemoryContext, next) : NULL;

	if (pass->cursor != NULL)
		pfree(pass->cursor);
	pass->cursor = copy;
}

/*
 * The transaction of one page.
 */
static void
read_page(void *arg)
{
	Page	   *page = arg;
	Datum		args[] = {CStringGetTextDatum(page->begin), Int32GetDatum(PAGE)};

	mrb_worker_xact_begin(MRB_WORKER_XACT_ASYNC, LOCK_MS);
	mrb_query_open();
	mrb_query_run(&pass_query, args, NULL);
	page->next = mrb_query_text(0, PASS_NEXT);
	page->due = mrb_timer_from_wall(mrb_query_timestamp(0, PASS_NEXT_DUE,
														DT_NOEND));
	mrb_query_close();
	mrb_worker_xact_commit();
}
