/*-------------------------------------------------------------------------
 *
 * http.c
 *	  HTTP client for many concurrent requests, based on libcurl.
 *
 * libcurl reports which sockets it waits for and when it must be called again.
 * The sockets are members of the engine's epoll set, because no socket can be
 * removed from a WaitEventSet; the owner waits for the set's descriptor.  The
 * time is returned by mrb_http_max_wait(), because the owner's wait has a
 * time-out anyway and a timer descriptor would cost a system call per request.
 *
 * An engine is malloc'd, as libcurl's own memory is, and lives as long as the
 * process.  Callbacks neither palloc nor raise errors: a long jump through
 * libcurl's frames would corrupt its state.  They record and return.
 *
 * libcurl resolves names in threads.  A thread must not run the server's signal
 * handlers, so all signals are blocked while one may be started, and the thread
 * inherits the mask.
 *
 * A request starts when it is added, so that its time-out does not include time
 * in a queue; a full engine refuses the next request.
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
#include "http/http_sockets.h"
#include "http/http_transfer.h"

StaticAssertDecl(LIBCURL_VERSION_NUM >= 0x075700,
				 "libcurl 7.87 is needed: without CURLOPT_QUICK_EXIT a cancelled request waits for its name server");

#define EVENTS_PER_ROUND 128
#define ROUNDS_PER_DRIVE 16

struct MrbHttpEngine
{
	CURLM	   *multi;
	MrbHttpSockets sockets;		/* epoll_fd is -1 before it is open */
	int			max_in_flight;
	int			in_flight;		/* started, response not fetched */
	int64		due;			/* when libcurl must be called, -1: never */
	MrbTransfer *made;			/* all transfers */
	MrbTransfer *idle;			/* transfers without a request */
	MrbTransfer *flawed;		/* refused requests, not given to libcurl */
	MrbTransfer *read;			/* whose response the owner reads */
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
 * Create an engine for at most max_in_flight concurrent requests.
 */
MrbHttpEngine *
mrb_http_create(int max_in_flight)
{
	MrbHttpEngine *engine;

	http_library_check();

	/*
	 * AcquireExternalFD() fails when a third of the server's descriptors are
	 * external, which the requests alone can reach.  This one must not fail:
	 * without it nothing is delivered and no artifact is checked.
	 */
	ReserveExternalFD();
	engine = calloc(1, sizeof(MrbHttpEngine));
	if (engine != NULL)
	{
		engine->max_in_flight = max_in_flight;
		engine->due = -1;
		engine->sockets.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		engine->multi = curl_multi_init();
	}
	if (engine == NULL || engine->sockets.epoll_fd < 0 || engine->multi == NULL)
	{
		int			save_errno = errno;

		if (engine != NULL && engine->multi != NULL)
			curl_multi_cleanup(engine->multi);
		if (engine != NULL && engine->sockets.epoll_fd >= 0)
			close(engine->sockets.epoll_fd);
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

/*
 * Return the descriptor to wait for.
 */
int
mrb_http_descriptor(MrbHttpEngine *engine)
{
	return engine->sockets.epoll_fd;
}

/*
 * Return the milliseconds that the owner may wait before it calls
 * mrb_http_drive() again; -1: no limit.
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

/*
 * Return the number of requests whose response was not fetched yet.
 */
int
mrb_http_in_flight(MrbHttpEngine *engine)
{
	return engine->in_flight;
}

/*
 * Start a request.  One that must not be sent is accepted too, and completes as
 * refused, so that all requests end in mrb_http_next_answer().
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
 * Process the sockets that are ready and the timer if it is due.  The number of
 * rounds is limited, so that a fast server cannot keep the owner from its other
 * work; the descriptor stays readable then.
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
 * Return the response of the next finished request; false when there is none.
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
 * Cancel every request of an owner.
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
 * Initialize libcurl at its first use, and check that the library that was
 * loaded has the required features.
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
				 errdetail("The minimum version is 7.87."),
				 errhint("Install a newer libcurl and restart the server.")));
	if ((info->features & CURL_VERSION_ASYNCHDNS) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("libcurl %s has no asynchronous resolver",
						info->version),
				 errdetail("An unresponsive name server would block the whole process."),
				 errhint("Install a libcurl that was built with the threaded resolver or with c-ares.")));
	checked = true;
}

/*
 * Return the microseconds of the monotonic clock.
 */
static int64
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/*
 * Callback: wait for a socket, or stop waiting for it.  An error returned from
 * here would make libcurl cancel all requests.
 */
static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *engine, void *known)
{
	mrb_http_sockets_watch(&((MrbHttpEngine *) engine)->sockets, fd, what);
	return 0;
}

/*
 * Callback: set the time of the next call.
 */
static int
on_timer(CURLM *multi, long timeout_ms, void *engine)
{
	((MrbHttpEngine *) engine)->due =
		timeout_ms < 0 ? -1 : now_us() + (int64) timeout_ms * 1000;
	return 0;
}

/*
 * Return a transfer without a request; NULL when out of memory.
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
	transfer = mrb_http_transfer_create(&engine->sockets);
	if (transfer == NULL)
		return NULL;
	transfer->next_made = engine->made;
	engine->made = transfer;
	return transfer;
}

/*
 * Reset a transfer that does not run for its next request.
 */
static void
engine_release(MrbHttpEngine *engine, MrbTransfer *transfer)
{
	mrb_http_transfer_reset(transfer);
	transfer->next = engine->idle;
	engine->idle = transfer;
}

/*
 * Remove a request from libcurl.
 */
static void
engine_stop(MrbHttpEngine *engine, MrbTransfer *transfer)
{
	if (transfer->running)
		curl_multi_remove_handle(engine->multi, transfer->easy);
	transfer->running = false;
}

/*
 * Call libcurl if its timer is due.
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
 * Pass the ready sockets to libcurl; returns their number.
 */
static int
engine_events(MrbHttpEngine *engine)
{
	struct epoll_event events[EVENTS_PER_ROUND];
	int			ready;
	int			running;

	ready = epoll_wait(engine->sockets.epoll_fd, events, EVENTS_PER_ROUND, 0);
	for (int i = 0; i < ready; i++)
	{
		int			what = 0;

		if (!mrb_http_sockets_take(&engine->sockets, events[i].data.fd))
			continue;
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
 * Remove a finished transfer from its list and return it; NULL: none.
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
