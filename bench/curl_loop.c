/*-------------------------------------------------------------------------
 *
 * curl_loop.c
 *	  The floor of delivery: what libcurl alone can send.
 *
 * As many requests at a time as the dispatcher has in flight, with the same
 * line and headers, over a multi handle that is driven from an epoll set.
 * Nothing is looked up, written down or decided, and of libcurl's options
 * only what changes is set between two requests.
 *
 * usage: curl_loop REQUESTS IN_FLIGHT URL...
 *
 * Every URL gets its part of what is in flight.  Prints the requests a
 * second; the first request of each connection is not counted.
 *
 *-------------------------------------------------------------------------
 */
#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#define EVENTS 128

typedef struct Slot
{
	CURL	   *easy;
	const char *url;
	struct curl_slist *headers;
} Slot;

static CURLM *multi;
static int	epoll_fd;
static long timeout_ms = -1;
static long started = 0;
static long ended = 0;
static long requests;

static void
die(const char *what)
{
	fprintf(stderr, "curl_loop: %s\n", what);
	exit(1);
}

static double
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct epoll_event event = {0};

	(void) easy;
	(void) arg;
	(void) known;
	event.data.fd = fd;
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	if (what == CURL_POLL_REMOVE)
		epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	else if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
	return 0;
}

static int
on_timer(CURLM *handle, long ms, void *arg)
{
	(void) handle;
	(void) arg;
	timeout_ms = ms;
	return 0;
}

static size_t
on_body(char *data, size_t size, size_t count, void *arg)
{
	(void) data;
	(void) arg;
	return size * count;
}

/*
 * What is the same for all requests of a slot.
 */
static void
open_slot(Slot *slot, const char *url)
{
	slot->url = url;
	slot->easy = curl_easy_init();
	curl_easy_setopt(slot->easy, CURLOPT_PRIVATE, slot);
	curl_easy_setopt(slot->easy, CURLOPT_CUSTOMREQUEST, "PUT");
	curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDS, "");
	curl_easy_setopt(slot->easy, CURLOPT_USERAGENT, "curl_loop/1.0");
	curl_easy_setopt(slot->easy, CURLOPT_HTTP_VERSION,
					 (long) CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(slot->easy, CURLOPT_TIMEOUT_MS, 5000L);
	curl_easy_setopt(slot->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(slot->easy, CURLOPT_PROXY, "");
	curl_easy_setopt(slot->easy, CURLOPT_WRITEFUNCTION, on_body);
}

static void
start(Slot *slot)
{
	char		text[512];
	struct curl_slist *headers = NULL;

	snprintf(text, sizeof(text), "%s/route/%ld/deployment-%ld", slot->url,
			 started, started);
	curl_easy_setopt(slot->easy, CURLOPT_URL, text);
	headers = curl_slist_append(headers, "Expect:");
	headers = curl_slist_append(headers, "Accept:");
	headers = curl_slist_append(headers, "Content-Type:");
	snprintf(text, sizeof(text), "x-epoch: %lld", 1099511627776LL + started);
	headers = curl_slist_append(headers, text);
	headers = curl_slist_append(headers, "x-version: 2");
	curl_easy_setopt(slot->easy, CURLOPT_HTTPHEADER, headers);
	curl_slist_free_all(slot->headers);
	slot->headers = headers;
	if (curl_multi_add_handle(multi, slot->easy) != CURLM_OK)
		die("could not start a request");
	started++;
}

/*
 * Read what has ended and go on; only a 204 counts as done.
 */
static void
take_answers(void)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		Slot	   *slot;
		long		status = 0;

		if (message->data.result != CURLE_OK)
			die(curl_easy_strerror(message->data.result));
		curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE,
						  &status);
		if (status != 204)
			die("the answer is not 204");
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &slot);
		curl_multi_remove_handle(multi, slot->easy);
		ended++;
		if (started < requests)
			start(slot);
	}
}

static void
turn(void)
{
	struct epoll_event events[EVENTS];
	int			ready;
	int			running;

	ready = epoll_wait(epoll_fd, events, EVENTS,
					   timeout_ms < 0 ? 1000 : (int) timeout_ms);
	if (ready == 0)
	{
		timeout_ms = -1;
		curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	for (int i = 0; i < ready; i++)
	{
		int			what = 0;

		if (events[i].events & EPOLLIN)
			what |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			what |= CURL_CSELECT_OUT;
		if (events[i].events & (EPOLLERR | EPOLLHUP))
			what |= CURL_CSELECT_ERR;
		curl_multi_socket_action(multi, events[i].data.fd, what, &running);
	}
	take_answers();
}

int
main(int argc, char **argv)
{
	int			in_flight;
	Slot	   *slots;
	double		begin = 0;

	if (argc < 4)
		die("usage: curl_loop REQUESTS IN_FLIGHT URL...");
	in_flight = atoi(argv[2]);
	requests = atol(argv[1]) + in_flight;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	multi = curl_multi_init();
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) in_flight);

	slots = calloc(in_flight, sizeof(Slot));
	for (int i = 0; i < in_flight; i++)
	{
		open_slot(&slots[i], argv[3 + i % (argc - 3)]);
		start(&slots[i]);
	}
	while (ended < requests)
	{
		turn();
		if (begin == 0 && ended >= in_flight)
			begin = now();
	}
	printf("%.0f\n", (requests - in_flight) / (now() - begin));
	return 0;
}
