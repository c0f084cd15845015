/*-------------------------------------------------------------------------
 *
 * http_sockets.c
 *	  The epoll set with the sockets of an HTTP engine.
 *
 * libcurl waits for the socket of a connection while a request uses it, and
 * stops between two requests.  To remove the socket and to add it again would
 * cost two system calls a request, so the socket of an idle connection stays
 * in the set, and the next request finds it there.
 *
 * An idle socket becomes readable when the server closes the connection, and
 * would stay so.  libcurl ignores events of it, since no request uses it, and
 * notices the close when it wants to use the connection again.  So such an event
 * removes the socket, which wakes the owner once for each connection.
 *
 * A socket is kept only if its connection was established, which is known by
 * libcurl waiting for reading alone, and if the socket was opened by
 * http_transfer.c.  Only the close of those is known: the resolver has sockets
 * of its own, and libcurl 7.88 closes without a callback what did not connect.
 * A socket that is closed leaves the set by itself, and its number may be in
 * use again, by a socket of the resolver for example.  So a socket is forgotten
 * when libcurl stops waiting for it before it was read from, and a transfer
 * that ends forgets those that it opened and that were never read from.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/epoll.h>

#include "http/http_sockets.h"

/* Number of descriptors that there are states for at first. */
#define STATES_MIN 256

/* State of a descriptor; 0: not a socket for a connection. */
#define SOCKET_OPENED	0x01
#define SOCKET_READING	0x02	/* in the set, for reading alone */
#define SOCKET_IDLE		0x04	/* and libcurl does not wait for it */

static bool set_events(int epoll_fd, curl_socket_t fd, int what);

/*
 * Remember that the descriptor is that of a new socket.  If memory is short, it
 * is not kept in the set between requests.
 */
void
mrb_http_sockets_opened(MrbHttpSockets *sockets, curl_socket_t fd)
{
	if (fd >= sockets->size)
	{
		int			size = Max(2 * (fd + 1), STATES_MIN);
		uint8	   *bigger = realloc(sockets->states, size);

		if (bigger == NULL)
			return;
		memset(bigger + sockets->size, 0, size - sockets->size);
		sockets->states = bigger;
		sockets->size = size;
	}
	sockets->states[fd] = SOCKET_OPENED;
}

/*
 * Forget a socket.
 */
void
mrb_http_sockets_closing(MrbHttpSockets *sockets, curl_socket_t fd)
{
	if (fd < sockets->size)
		sockets->states[fd] = 0;
}

/*
 * Forget a socket that may have been closed without a callback.  If it is being
 * read from it was not, or the number is another one's by now.
 */
void
mrb_http_sockets_ended(MrbHttpSockets *sockets, curl_socket_t fd)
{
	if (fd < sockets->size && sockets->states[fd] == SOCKET_OPENED)
		sockets->states[fd] = 0;
}

/*
 * Wait for a socket, or stop waiting for it.  If epoll_ctl() fails, the request
 * will time out.
 */
void
mrb_http_sockets_watch(MrbHttpSockets *sockets, curl_socket_t fd, int what)
{
	uint8		none = 0;
	uint8	   *state = fd < sockets->size ? &sockets->states[fd] : &none;

	if (what == CURL_POLL_REMOVE && (*state & SOCKET_READING))
	{
		*state |= SOCKET_IDLE;
		return;
	}
	if (what == CURL_POLL_IN && (*state & SOCKET_IDLE))
	{
		*state &= ~SOCKET_IDLE;
		return;
	}

	*state &= what == CURL_POLL_REMOVE ? 0 : SOCKET_OPENED;
	if (what == CURL_POLL_REMOVE)
		epoll_ctl(sockets->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	else if (set_events(sockets->epoll_fd, fd, what) &&
			 what == CURL_POLL_IN && *state == SOCKET_OPENED)
		*state |= SOCKET_READING;
}

/*
 * Whether libcurl waits for a socket that has an event; if not, remove it.
 */
bool
mrb_http_sockets_take(MrbHttpSockets *sockets, curl_socket_t fd)
{
	if (fd >= sockets->size || !(sockets->states[fd] & SOCKET_IDLE))
		return true;
	sockets->states[fd] = SOCKET_OPENED;
	epoll_ctl(sockets->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	return false;
}

/*
 * Add a socket to the set, or change what it is waited for.
 */
static bool
set_events(int epoll_fd, curl_socket_t fd, int what)
{
	struct epoll_event event = {0};

	event.data.fd = fd;
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ||
		(errno == EEXIST && epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0);
}
