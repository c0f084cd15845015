/*-------------------------------------------------------------------------
 *
 * edge.c
 *	  Edges that write down when they were asked.
 *
 * The access log of nginx knows milliseconds, and the time when an answer was
 * sent.  Here the clock is read right after the bytes of a request were, so
 * what a time says is how late an edge can act; and a request costs so little
 * that a hundred edges do not slow down the dispatcher that is measured.
 *
 * usage: edge LOG ADDRESS:PORT[=STATUS[:DELAY_MS]]...
 *
 * Every address is one edge.  It answers with the status, 204 if none is
 * given, after the delay; with the status 0 never.  A line of the log is the
 * time in microseconds since 1970, the number of the edge (from 1) and the
 * path that was asked for.  The log is complete when nothing was asked for
 * a twentieth of a second.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE				/* accept4, memmem */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256
#define MAX_REQUEST 65536
#define LOG_BUFFER (1 << 20)
#define FLUSH_MS 50
#define LATE_MS 10

/* What an event is about: a listening socket or a connection. */
typedef struct Peer
{
	int			fd;
	bool		listens;
	int			edge;			/* from 1 */
	int			status;			/* 0: no answer */
	int64_t		delay_us;

	/* of a connection */
	int64_t		due_us;			/* when the answer is due; 0: none is */
	struct Peer *next_late;
	int			len;
	char		request[MAX_REQUEST];
} Peer;

static int	epoll_fd;
static FILE *request_log;
static Peer *late = NULL;		/* connections that wait for their answer */

static void
die(const char *what)
{
	fprintf(stderr, "edge: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void
watch(Peer *peer)
{
	struct epoll_event event = {.events = EPOLLIN,.data.ptr = peer};

	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, peer->fd, &event) < 0)
		die("epoll_ctl");
}

/*
 * Open an edge as it was given on the command line.
 */
static void
open_edge(char *text, int number)
{
	Peer	   *peer = calloc(1, sizeof(Peer));
	struct sockaddr_in address = {.sin_family = AF_INET};
	char	   *equals = strchr(text, '=');
	char	   *colon = strchr(text, ':');
	int			on = 1;

	peer->listens = true;
	peer->edge = number;
	peer->status = 204;
	if (equals != NULL)
	{
		char	   *delay = strchr(equals, ':');

		peer->status = atoi(equals + 1);
		peer->delay_us = delay != NULL ? atol(delay + 1) * 1000 : 0;
	}
	*colon = '\0';
	if (inet_pton(AF_INET, text, &address.sin_addr) != 1)
		die(text);
	address.sin_port = htons(atoi(colon + 1));
	peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	setsockopt(peer->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(peer->fd, (struct sockaddr *) &address, sizeof(address)) < 0 ||
		listen(peer->fd, 1024) < 0)
		die(text);
	watch(peer);
}

static void
take_connections(const Peer *edge)
{
	int			fd;

	while ((fd = accept4(edge->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0)
	{
		Peer	   *peer = calloc(1, sizeof(Peer));

		peer->fd = fd;
		peer->edge = edge->edge;
		peer->status = edge->status;
		peer->delay_us = edge->delay_us;
		watch(peer);
	}
}

static void
close_connection(Peer *peer)
{
	Peer	  **link = &late;

	while (*link != NULL && *link != peer)
		link = &(*link)->next_late;
	if (*link != NULL)
		*link = peer->next_late;
	close(peer->fd);
	free(peer);
}

static void
answer(Peer *peer)
{
	char		text[100];
	int			len;

	len = snprintf(text, sizeof(text), "HTTP/1.1 %d Answer\r\n%s\r\n",
				   peer->status,
				   peer->status == 204 ? "" : "Content-Length: 0\r\n");
	peer->due_us = 0;
	if (send(peer->fd, text, len, MSG_NOSIGNAL) != len)
		shutdown(peer->fd, SHUT_RDWR);
}

/*
 * Length of the first request, body included; 0 while it is not all there.
 */
static int
request_length(const Peer *peer)
{
	const char *end = memmem(peer->request, peer->len, "\r\n\r\n", 4);
	const char *line = peer->request;
	int			len;

	if (end == NULL)
		return 0;
	len = end + 4 - peer->request;
	while ((line = memchr(line, '\n', end - line)) != NULL)
	{
		line++;
		if (strncasecmp(line, "content-length:", 15) == 0)
			len += atoi(line + 15);
	}
	return len <= peer->len ? len : 0;
}

/*
 * Read what has come; the time is that of its last byte.
 */
static void
take_request(Peer *peer)
{
	ssize_t		got = recv(peer->fd, peer->request + peer->len,
						   MAX_REQUEST - peer->len, 0);
	int64_t		at = now_us();
	char	   *path;
	int			len;

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0)
	{
		close_connection(peer);
		return;
	}
	peer->len += got;
	len = request_length(peer);
	if (len == 0)
		return;
	path = memchr(peer->request, ' ', len);
	fprintf(request_log, "%lld %d %.*s\n", (long long) at, peer->edge,
			(int) strcspn(path + 1, " "), path + 1);
	memmove(peer->request, peer->request + len, peer->len - len);
	peer->len -= len;
	if (peer->status == 0)
		return;
	if (peer->delay_us == 0)
	{
		answer(peer);
		return;
	}
	peer->due_us = at + peer->delay_us;
	peer->next_late = late;
	late = peer;
}

static void
answer_late(void)
{
	Peer	  **link = &late;
	int64_t		now = now_us();

	while (*link != NULL)
	{
		Peer	   *peer = *link;

		if (peer->due_us <= now)
		{
			*link = peer->next_late;
			answer(peer);
		}
		else
			link = &peer->next_late;
	}
}

int
main(int argc, char **argv)
{
	struct rlimit limit;
	struct epoll_event events[EVENTS];

	if (argc < 3)
		die("usage: edge LOG ADDRESS:PORT[=STATUS[:DELAY_MS]]...");
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	request_log = fopen(argv[1], "a");
	if (request_log == NULL)
		die(argv[1]);
	setvbuf(request_log, NULL, _IOFBF, LOG_BUFFER);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 2; i < argc; i++)
		open_edge(argv[i], i - 1);
	for (;;)
	{
		int			n = epoll_wait(epoll_fd, events, EVENTS,
								   late != NULL ? LATE_MS : FLUSH_MS);

		for (int i = 0; i < n; i++)
		{
			Peer	   *peer = events[i].data.ptr;

			if (peer->listens)
				take_connections(peer);
			else
				take_request(peer);
		}
		if (n == 0)
			fflush(request_log);
		if (late != NULL)
			answer_late();
	}
}
