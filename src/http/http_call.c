/*-------------------------------------------------------------------------
 *
 * http_call.c
 *	  Make one HTTP request and wait for its response.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/wait_event.h"

#include "http/http_call.h"

/* Number of connections that are kept open for later calls. */
#define CALL_CONNECTIONS 4

static void call_wait(MrbHttpEngine *engine);

/*
 * Make a request and wait for its response.  The engine lives as long as the
 * process, so that later calls can reuse its connections.
 */
void
mrb_http_call(const MrbHttpRequest *request, MrbHttpAnswer *answer)
{
	static MrbHttpEngine *engine = NULL;
	MrbHttpRequest marked = *request;

	if (engine == NULL)
		engine = mrb_http_create(CALL_CONNECTIONS);
	marked.owner = &marked;
	if (!mrb_http_start(engine, &marked))
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not start an HTTP request")));

	PG_TRY();
	{
		mrb_http_drive(engine);
		while (!mrb_http_next_answer(engine, answer))
		{
			call_wait(engine);
			mrb_http_drive(engine);
		}
	}
	PG_CATCH();
	{
		mrb_http_cancel(engine, &marked);
		SetLatch(MyLatch);
		PG_RE_THROW();
	}
	PG_END_TRY();

	/* The wait may have reset a latch that was set for another reason. */
	SetLatch(MyLatch);
	answer->owner = request->owner;
	answer->body = pnstrdup(answer->body, answer->body_len);
	answer->region = pstrdup(answer->region);
	answer->error = pstrdup(answer->error);
}

/*
 * Wait until the engine has work, and process interrupts.
 */
static void
call_wait(MrbHttpEngine *engine)
{
	long		timeout = mrb_http_max_wait(engine);
	int			events;

	events = WaitLatchOrSocket(MyLatch,
							   WL_LATCH_SET | WL_SOCKET_READABLE |
							   WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							   mrb_http_descriptor(engine),
							   timeout < 0 ? 1000 : timeout,
							   PG_WAIT_EXTENSION);
	if (events & WL_LATCH_SET)
		ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}
