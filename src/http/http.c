/*-------------------------------------------------------------------------
 *
 * http.c
 *	  HTTP requests: with http_transfer.c the one user of libcurl.
 *
 * libcurl tells us which sockets it waits for and when it wants to be called
 * again.  The sockets go into an epoll set of the engine, because a
 * WaitEventSet cannot give up a socket before PostgreSQL 18; the set's own
 * descriptor is what the owner waits for.  The time goes to
 * mrb_http_max_wait(), since an owner can wait until then anyway and a timer
 * descriptor would cost a system call per request.
 *
 * Rules that this file keeps:
 *
 * Everything of an engine is malloc'd, as libcurl's own memory is, and lives
 * as long as the process.  Callbacks neither palloc nor raise: a long jump
 * through libcurl's frames would corrupt it.  They write down and return.
 *
 * libcurl looks names up in threads.  They must never run one of the server's
 * signal handlers, so every signal is blocked while a thread may be started,
 * and the thread inherits that.
 *
 * A request starts the moment it is added, so its time-out never runs while
 * it waits in a queue; an engine that has as many requests as it may have
 * refuses the next one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "storage/fd.h"

#include "http/http.h"
#include "http/http_transfer.h"

StaticAssertDecl(LIBCURL_VERSION_NUM >= 0x075700,
				 "libcurl 7.87 is needed: without CURLOPT_QUICK_EXIT a request that is given up waits for its name server");

#define EVENTS_PER_ROUND 128
#define ROUNDS_PER_DRIVE 16

struct MrbHttpEngine
{
	CURLM	   *multi;
	int			epoll_fd;		/* -1 before it is open */
	int			max_in_flight;
	int			in_flight;		/* started, answer not fetched */
	int64		due;			/* when libcurl wants a call, -1: never */
	MrbTransfer *made;			/* all of them */
	MrbTransfer *idle;			/* those to use next */
	MrbTransfer *flawed;		/* answers that libcurl knows nothing of */
	MrbTransfer *read;			/* whose answer is being read */
};

static void http_library_check(void);
static int64 now_us(void);

static int	on_socket(CURL *easy, curl_socket_t fd, int what, void *engine,
					  void *known);
static int	on_timer(CURLM *multi, long timeout_ms, void *engine);
static MrbTransfer *engine_idle(MrbHttpEngine *engine);
static void engine_release(MrbHttpEngine *engine, MrbTransfer *transfer);
static void engine_stop(MrbHttpEngine *engine, MrbTransfer *transfer);
static MrbTransfer *engine_finished(MrbHttpEngine *engine, CURLcode *result);
static void engine_timer(MrbHttpEngine *engine);
static int	engine_events(MrbHttpEngine *engine);

/*
 * Make an engine for at most that many requests at a time.
 */
MrbHttpEngine *
mrb_http_create(int max_in_flight)
{
	MrbHttpEngine *engine;

	http_library_check();

	/*
	 * AcquireExternalFD() refuses a third of the server's own files, which
	 * the requests' descriptors alone can be.  This one must not be refused:
	 * without it nothing is delivered and no storage is asked.
	 */
	ReserveExternalFD();
	engine = calloc(1, sizeof(MrbHttpEngine));
	if (engine != NULL)
	{
		engine->max_in_flight = max_in_flight;
		engine->due = -1;
		engine->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		engine->multi = curl_multi_init();
	}
	if (engine == NULL || engine->epoll_fd < 0 || engine->multi == NULL)
	{
		int			save_errno = errno;

		if (engine != NULL && engine->multi != NULL)
			curl_multi_cleanup(engine->multi);
		if (engine != NULL && engine->epoll_fd >= 0)
			close(engine->epoll_fd);
		free(engine);
		ReleaseExternalFD();
		errno = save_errno;
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start an HTTP client: %m")));
	}

	curl_multi_setopt(engine->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(engine->multi, CURLMOPT_SOCKETDATA, engine);
	curl_multi_setopt(engine->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(engine->multi, CURLMOPT_TIMERDATA, engine);
	curl_multi_setopt(engine->multi, CURLMOPT_MAXCONNECTS,
					  (long) max_in_flight);
	return engine;
}

int
mrb_http_descriptor(MrbHttpEngine *engine)
{
	return engine->epoll_fd;
}

/*
 * How long the owner may wait before it calls mrb_http_drive() again.
 */
long
mrb_http_max_wait(MrbHttpEngine *engine)
{
	int64		left;

	if (engine->flawed != NULL)
		return 0;
	if (engine->due < 0)
		return -1;
	left = engine->due - now_us();
	return left <= 0 ? 0 : (long) ((left + 999) / 1000);
}

int
mrb_http_in_flight(MrbHttpEngine *engine)
{
	return engine->in_flight;
}

/*
 * Start a request.  One that must not be sent is taken too, and answered as
 * refused, so that the caller has one place where requests end.
 */
bool
mrb_http_start(MrbHttpEngine *engine, const MrbHttpRequest *request)
{
	MrbTransfer *transfer;
	CURLMcode	code;

	if (engine->in_flight >= engine->max_in_flight)
		return false;
	transfer = engine_idle(engine);
	if (transfer == NULL)
		return false;

	if (!mrb_http_transfer_prepare(transfer, request))
	{
		engine_release(engine, transfer);
		return false;
	}
	if (transfer->flaw == NULL)
	{
		code = curl_multi_add_handle(engine->multi, transfer->easy);
		transfer->running = code == CURLM_OK;
		if (code == CURLM_OUT_OF_MEMORY)
		{
			engine_release(engine, transfer);
			return false;
		}
		if (code != CURLM_OK)
			transfer->flaw = curl_multi_strerror(code);
	}
	if (transfer->flaw != NULL)
	{
		transfer->next = engine->flawed;
		engine->flawed = transfer;
	}
	engine->in_flight++;
	return true;
}

/*
 * Serve what is ready and what is due.  It returns although more is ready
 * after a bounded number of rounds, so that a fast server cannot keep the
 * owner from its other work; the descriptor stays readable then.
 */
void
mrb_http_drive(MrbHttpEngine *engine)
{
	sigset_t	every;
	sigset_t	saved;

	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &saved);

	for (int round = 0; round < ROUNDS_PER_DRIVE; round++)
	{
		engine_timer(engine);
		if (engine_events(engine) == 0 &&
			(engine->due < 0 || engine->due > now_us()))
			break;
	}

	pthread_sigmask(SIG_SETMASK, &saved, NULL);
}

/*
 * The next finished request; false when there is none now.
 */
bool
mrb_http_next_answer(MrbHttpEngine *engine, MrbHttpAnswer *answer)
{
	MrbTransfer *transfer;
	CURLcode	result = CURLE_OK;

	if (engine->read != NULL)
		engine_release(engine, engine->read);
	engine->read = NULL;

	transfer = engine_finished(engine, &result);
	if (transfer == NULL)
		return false;

	mrb_http_transfer_answer(transfer, result, answer);
	engine_stop(engine, transfer);
	engine->in_flight--;
	engine->read = transfer;
	return true;
}

/*
 * Forget every request of an owner; a running one is cut off.
 */
void
mrb_http_cancel(MrbHttpEngine *engine, void *owner)
{
	MrbTransfer **link = &engine->flawed;

	while (*link != NULL)
	{
		MrbTransfer *transfer = *link;

		if (transfer->owner == owner)
		{
			*link = transfer->next;
			engine_release(engine, transfer);
			engine->in_flight--;
		}
		else
			link = &transfer->next;
	}
	for (MrbTransfer *transfer = engine->made; transfer != NULL; transfer = transfer->next_made)
	{
		if (transfer->running && transfer->owner == owner)
		{
			engine_stop(engine, transfer);
			engine_release(engine, transfer);
			engine->in_flight--;
		}
	}
}

/*
 * Initialise libcurl, once and no earlier than it is needed, and see that the
 * library that was loaded can do what we rely on.
 */
static void
http_library_check(void)
{
	static bool checked = false;
	curl_version_info_data *info;

	if (checked)
		return;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		ereport(ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("could not initialize libcurl")));

	info = curl_version_info(CURLVERSION_NOW);
	if (info->version_num < 0x075700)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("libcurl %s is too old", info->version),
				 errdetail("Version 7.87 or newer is needed.")));
	if ((info->features & CURL_VERSION_ASYNCHDNS) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("libcurl %s has no asynchronous resolver",
						info->version),
				 errdetail("A name server that does not answer would stop the whole process."),
				 errhint("Use a libcurl that was built with its threaded resolver or with c-ares.")));
	checked = true;
}

/*
 * Microseconds that never run backwards.
 */
static int64
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/*
 * libcurl's wish to wait for a socket, or to do so no more.  One that it has
 * closed has left the epoll set by itself, and its number may be in use
 * again, so adding falls back to changing.  A socket that the kernel does not
 * take is left to its request's time-out: to say so here would make libcurl
 * give up all requests.
 */
static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *engine, void *known)
{
	int			epoll_fd = ((MrbHttpEngine *) engine)->epoll_fd;
	struct epoll_event event = {0};

	event.data.fd = fd;
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;

	if (what == CURL_POLL_REMOVE)
		epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	else if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 &&
			 errno == EEXIST)
		epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
	return 0;
}

static int
on_timer(CURLM *multi, long timeout_ms, void *engine)
{
	((MrbHttpEngine *) engine)->due =
		timeout_ms < 0 ? -1 : now_us() + (int64) timeout_ms * 1000;
	return 0;
}

/*
 * A transfer that nobody uses, NULL without memory.
 */
static MrbTransfer *
engine_idle(MrbHttpEngine *engine)
{
	MrbTransfer *transfer = engine->idle;

	if (transfer != NULL)
	{
		engine->idle = transfer->next;
		return transfer;
	}
	transfer = mrb_http_transfer_create();
	if (transfer == NULL)
		return NULL;
	transfer->next_made = engine->made;
	engine->made = transfer;
	return transfer;
}

/*
 * Make a transfer that does not run ready for the next request.
 */
static void
engine_release(MrbHttpEngine *engine, MrbTransfer *transfer)
{
	mrb_http_transfer_reset(transfer);
	transfer->next = engine->idle;
	engine->idle = transfer;
}

/*
 * Take a request away from libcurl.
 */
static void
engine_stop(MrbHttpEngine *engine, MrbTransfer *transfer)
{
	if (transfer->running)
		curl_multi_remove_handle(engine->multi, transfer->easy);
	transfer->running = false;
}

/*
 * Call libcurl if the time that it asked for has come.
 */
static void
engine_timer(MrbHttpEngine *engine)
{
	int			running;

	if (engine->due < 0 || engine->due > now_us())
		return;
	engine->due = -1;
	curl_multi_socket_action(engine->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

/*
 * Tell libcurl which sockets are ready; returns how many there were.
 */
static int
engine_events(MrbHttpEngine *engine)
{
	struct epoll_event events[EVENTS_PER_ROUND];
	int			ready;
	int			running;

	ready = epoll_wait(engine->epoll_fd, events, EVENTS_PER_ROUND, 0);
	for (int i = 0; i < ready; i++)
	{
		int			what = 0;

		if (events[i].events & EPOLLIN)
			what |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			what |= CURL_CSELECT_OUT;
		if (events[i].events & (EPOLLERR | EPOLLHUP))
			what |= CURL_CSELECT_ERR;
		curl_multi_socket_action(engine->multi, events[i].data.fd, what,
								 &running);
	}
	return Max(ready, 0);
}

/*
 * A request that has ended, no longer in the list that it was found in.
 */
static MrbTransfer *
engine_finished(MrbHttpEngine *engine, CURLcode *result)
{
	MrbTransfer *transfer = engine->flawed;
	CURLMsg    *message;
	int			left;

	if (transfer != NULL)
	{
		engine->flawed = transfer->next;
		return transfer;
	}
	message = curl_multi_info_read(engine->multi, &left);
	if (message == NULL || message->msg != CURLMSG_DONE)
		return NULL;
	*result = message->data.result;
	curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
	return transfer;
}
