/*-------------------------------------------------------------------------
 *
 * http_call.c
 *	  Make HTTP requests and wait for their responses.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "http/http_call.h"

/* Number of connections that are kept open for later calls. */
#define CALL_CONNECTIONS 4

/* Number of requests at a time, and so of connections, of many. */
#define MANY_AT_A_TIME 32

/* One of many requests that is in flight. */
typedef struct InFlight
{
	bool		used;
	void	   *owner;			/* that the request has */
} InFlight;

/* A run of mrb_http_call_many(). */
typedef struct ManyCalls
{
	MrbHttpEngine *engine;
	const MrbHttpCalls *calls;
	const MrbHttpRequest *waiting;	/* for which there was no room */
	InFlight	in_flight[MANY_AT_A_TIME];
} ManyCalls;

static void start_calls(ManyCalls *many);
static bool start_call(ManyCalls *many, InFlight *place,
					   const MrbHttpRequest *request);
static void take_answers(ManyCalls *many);
pg_noreturn static void raise_not_started(void);
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
		raise_not_started();

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

/*
 * Make many requests.  Their engine lives as long as the process as well.
 */
void
mrb_http_call_many(const MrbHttpCalls *calls)
{
	static MrbHttpEngine *engine = NULL;
	ManyCalls	many = {.calls = calls};

	if (engine == NULL)
		engine = mrb_http_create(MANY_AT_A_TIME);
	many.engine = engine;
	PG_TRY();
	{
		start_calls(&many);
		while (mrb_http_in_flight(engine) > 0)
		{
			mrb_http_drive(engine);
			take_answers(&many);
			start_calls(&many);
			if (mrb_http_in_flight(engine) > 0)
				call_wait(engine);
		}
	}
	PG_CATCH();
	{
		for (int i = 0; i < MANY_AT_A_TIME; i++)
		{
			if (many.in_flight[i].used)
				mrb_http_cancel(engine, &many.in_flight[i]);
		}
		SetLatch(MyLatch);
		PG_RE_THROW();
	}
	PG_END_TRY();

	/* The waits may have reset a latch that was set for another reason. */
	SetLatch(MyLatch);
}

/*
 * Start requests as long as there are any and there is room.
 */
static void
start_calls(ManyCalls *many)
{
	for (int i = 0; i < MANY_AT_A_TIME; i++)
	{
		InFlight   *place = &many->in_flight[i];

		if (place->used)
			continue;
		if (many->waiting == NULL)
			many->waiting = many->calls->next(many->calls->arg);
		if (many->waiting == NULL || !start_call(many, place, many->waiting))
			break;
		many->waiting = NULL;
	}
	mrb_http_drive(many->engine);
}

/*
 * Start a request; false if it has to wait until another one has ended.
 */
static bool
start_call(ManyCalls *many, InFlight *place, const MrbHttpRequest *request)
{
	MrbHttpRequest marked = *request;

	marked.owner = place;
	if (!mrb_http_start(many->engine, &marked))
	{
		if (mrb_http_in_flight(many->engine) == 0)
			raise_not_started();
		return false;
	}
	place->used = true;
	place->owner = request->owner;
	return true;
}

/*
 * Pass on the answers that have come.
 */
static void
take_answers(ManyCalls *many)
{
	MrbHttpAnswer answer;

	while (mrb_http_next_answer(many->engine, &answer))
	{
		InFlight   *place = answer.owner;
		const MrbHttpRequest *again;

		place->used = false;
		answer.owner = place->owner;
		again = many->calls->answered(many->calls->arg, &answer);
		if (again != NULL && !start_call(many, place, again))
			raise_not_started();
	}
}

/*
 * Raise the error that a request could not be started.
 */
static void
raise_not_started(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("could not start an HTTP request")));
}
