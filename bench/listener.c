/*-------------------------------------------------------------------------
 *
 * listener.c
 *	  What a user would write to deliver: LISTEN, and a request for each
 *	  notification.
 *
 * It is lean, so that the peer is a good one: one thread, libpq and a multi
 * handle of libcurl on the same poll, connections that are kept, and so many
 * requests in flight.  It does no more than that: a notification that arrives
 * while it is not there is lost, and a request that fails ends it.
 *
 * usage: listener CONNINFO CHANNEL COUNTS IN_FLIGHT [URL]...
 *
 * A payload is {"deployment_id": ..., "version_id": ...}, as the function of
 * narrow.sql builds it.  The file COUNTS says, whenever nothing is in flight:
 * process of the server, notifications so far, requests so far.
 *
 *-------------------------------------------------------------------------
 */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libpq-fe.h"

#define WAIT_MS 1000

typedef struct Request
{
	struct Request *next;
	CURL	   *easy;
	struct curl_slist *headers;
	const char *url;
	char		deployment[64];
	char		version[64];
} Request;

static CURLM *multi;
static PGconn *connection;
static int	counts;
static int	in_flight = 0;
static int	most_in_flight;
static long notifications = 0;
static long requests = 0;
static Request *first = NULL;	/* requests that wait for their turn */
static Request **last = &first;
static Request *spare = NULL;	/* whose handles are free */

static void
die(const char *what)
{
	fprintf(stderr, "listener: %s\n", what);
	exit(1);
}

static size_t
on_body(char *data, size_t size, size_t count, void *arg)
{
	(void) data;
	(void) arg;
	return size * count;
}

static void
execute(const char *command)
{
	PGresult   *result = PQexec(connection, command);

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		die(PQerrorMessage(connection));
	PQclear(result);
}

/*
 * Copy the text that follows a name in a payload, up to its closing quote.
 */
static void
take_text(const char *payload, const char *name, char *to, size_t size)
{
	const char *from = strstr(payload, name);
	size_t		len;

	from = from != NULL ? strchr(from, ':') : NULL;
	from = from != NULL ? strchr(from, '"') : NULL;
	if (from == NULL)
		die(payload);
	from++;
	len = strcspn(from, "\"");
	if (len >= size)
		die(payload);
	memcpy(to, from, len);
	to[len] = '\0';
}

/*
 * A request with what is the same for all of them.
 */
static Request *
new_request(void)
{
	Request    *request = spare;

	if (request != NULL)
	{
		spare = request->next;
		return request;
	}
	request = calloc(1, sizeof(Request));
	request->easy = curl_easy_init();
	curl_easy_setopt(request->easy, CURLOPT_PRIVATE, request);
	curl_easy_setopt(request->easy, CURLOPT_CUSTOMREQUEST, "PUT");
	curl_easy_setopt(request->easy, CURLOPT_POSTFIELDS, "");
	curl_easy_setopt(request->easy, CURLOPT_TIMEOUT_MS, 5000L);
	curl_easy_setopt(request->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(request->easy, CURLOPT_PROXY, "");
	curl_easy_setopt(request->easy, CURLOPT_WRITEFUNCTION, on_body);
	return request;
}

/*
 * Take what has been notified, a request for every URL.
 */
static void
take_notifications(char **url, int urls)
{
	PGnotify   *notify;

	if (!PQconsumeInput(connection))
		die(PQerrorMessage(connection));
	while ((notify = PQnotifies(connection)) != NULL)
	{
		notifications++;
		for (int i = 0; i < urls; i++)
		{
			Request    *request = new_request();

			take_text(notify->extra, "\"deployment_id\"", request->deployment,
					  sizeof(request->deployment));
			take_text(notify->extra, "\"version_id\"", request->version,
					  sizeof(request->version));
			request->url = url[i];
			request->next = NULL;
			*last = request;
			last = &request->next;
		}
		PQfreemem(notify);
	}
}

static void
start_requests(void)
{
	while (first != NULL && in_flight < most_in_flight)
	{
		Request    *request = first;
		char		text[512];

		first = request->next;
		if (first == NULL)
			last = &first;
		snprintf(text, sizeof(text), "%s/route/%s", request->url,
				 request->deployment);
		curl_easy_setopt(request->easy, CURLOPT_URL, text);
		snprintf(text, sizeof(text), "x-version: %s", request->version);
		request->headers = curl_slist_append(NULL, text);
		curl_easy_setopt(request->easy, CURLOPT_HTTPHEADER, request->headers);
		if (curl_multi_add_handle(multi, request->easy) != CURLM_OK)
			die("could not start a request");
		in_flight++;
	}
}

static void
take_answers(void)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		Request    *request;
		long		status = 0;

		if (message->data.result != CURLE_OK)
			die(curl_easy_strerror(message->data.result));
		curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE,
						  &status);
		if (status != 204)
			die("the answer is not 204");
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &request);
		curl_multi_remove_handle(multi, request->easy);
		curl_slist_free_all(request->headers);
		request->next = spare;
		spare = request;
		in_flight--;
		requests++;
	}
}

static void
write_counts(void)
{
	char		text[100];
	int			len;

	len = snprintf(text, sizeof(text), "%d %ld %ld\n",
				   PQbackendPID(connection), notifications, requests);
	if (pwrite(counts, text, len, 0) != len)
		die(strerror(errno));
}

int
main(int argc, char **argv)
{
	char		command[100];
	int			running;

	if (argc < 5)
		die("usage: listener CONNINFO CHANNEL COUNTS IN_FLIGHT [URL]...");
	most_in_flight = atoi(argv[4]);
	counts = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC, 0666);
	if (counts < 0)
		die(argv[3]);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) most_in_flight);
	connection = PQconnectdb(argv[1]);
	if (PQstatus(connection) != CONNECTION_OK)
		die(PQerrorMessage(connection));
	snprintf(command, sizeof(command), "LISTEN %s", argv[2]);
	execute(command);
	for (;;)
	{
		struct curl_waitfd wait = {.fd = PQsocket(connection),.events = CURL_WAIT_POLLIN};

		take_notifications(argv + 5, argc - 5);
		start_requests();
		curl_multi_perform(multi, &running);
		take_answers();
		if (first != NULL && in_flight < most_in_flight)
			continue;
		if (in_flight == 0)
			write_counts();
		curl_multi_poll(multi, &wait, 1, WAIT_MS, NULL);
	}
}
