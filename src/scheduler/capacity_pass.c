/*-------------------------------------------------------------------------
 *
 * capacity_pass.c
 *	  Checks the capacity of all deployments, again and again.
 *
 * A pass begins every capacity_interval, and when a deadline of a deployment
 * has passed.  It reads one page of deployments a turn of the loop, because
 * deliveries wait meanwhile.  At its end the requests of all deployments are
 * read again, so that schedulers are asked again for what is still missing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/guc.h"
#include "common/query.h"
#include "common/timer.h"
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

static char *cursor = NULL;		/* where the next page begins; NULL: no pass
								 * goes on */
static MrbTick begun_at = 0;	/* when the last pass began; 0: never */
static MrbTick due = MRB_TICK_NEVER;	/* earliest deadline known */
static MrbTick not_before = 0;

static MrbTick next_page_at(void);
static void move_cursor(const char *next);
static void read_page(void *arg);

/*
 * Check the next page, if a pass goes on or is due to begin.
 */
void
mrb_capacity_pass_step(void)
{
	Page		page = {.due = MRB_TICK_NEVER};

	if (next_page_at() > mrb_timer_now())
		return;
	if (cursor == NULL)
	{
		begun_at = mrb_timer_now();
		due = MRB_TICK_NEVER;
		move_cursor("");
	}
	if (!mrb_worker_xact_try(read_page, &page, NULL))
	{
		not_before = mrb_tick_plus(mrb_timer_now(), PAUSE_MS);
		return;
	}
	due = Min(due, page.due);
	move_cursor(page.next);
	if (cursor != NULL)
		return;
	not_before = mrb_tick_plus(begun_at,
							   Min(PAUSE_MS, mrb_capacity_interval));
	mrb_reconcile_refresh();
}

/*
 * Note a deadline that no pass has seen yet.
 */
void
mrb_capacity_pass_expect(MrbTick at)
{
	due = Min(due, at);
}

/*
 * Bound the wait of the loop by the time of the next page.
 */
long
mrb_capacity_pass_wait(long most)
{
	return Min(most, mrb_tick_ms(mrb_timer_read(), next_page_at()) + 1);
}

/*
 * When the next page is due: at once in the middle of a pass, otherwise at
 * the next deadline or after capacity_interval, whichever is earlier.
 */
static MrbTick
next_page_at(void)
{
	MrbTick		at = begun_at == 0 || cursor != NULL ? 0 :
	Min(due, mrb_tick_plus(begun_at, mrb_capacity_interval));

	return Max(at, not_before);
}

/*
 * Continue the pass at next; NULL ends it.
 */
static void
move_cursor(const char *next)
{
	char	   *copy = next != NULL ?
	MemoryContextStrdup(TopMemoryContext, next) : NULL;

	if (cursor != NULL)
		pfree(cursor);
	cursor = copy;
}

/*
 * The transaction of one page.
 */
static void
read_page(void *arg)
{
	Page	   *page = arg;
	Datum		args[] = {CStringGetTextDatum(cursor), Int32GetDatum(PAGE)};

	mrb_worker_xact_begin(MRB_SESSION_RECORD, LOCK_MS);
	mrb_query_open();
	mrb_query_run(&pass_query, args, NULL);
	page->next = mrb_query_text(0, PASS_NEXT);
	page->due = mrb_timer_from_wall(mrb_query_timestamp(0, PASS_NEXT_DUE,
														DT_NOEND));
	mrb_query_close();
	mrb_worker_xact_commit();
}
