/*-------------------------------------------------------------------------
 *
 * curl_queue.c
 *	  A peer of delivery as pg_net works: a loop in the background that takes
 *	  rows from a table, and sends them with a multi handle of libcurl.
 *
 * It takes so many rows at a time, sends all of them, and inserts the answers,
 * in one transaction.  It is lean: handles and connections are kept, and it is
 * woken by NOTIFY.  A request that fails is a row like any other: nothing is
 * sent again.
 *
 * usage: curl_queue CONNINFO BATCH URL
 *
 *-------------------------------------------------------------------------
 */
#include <curl/curl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpq-fe.h"

#define WAIT_MS 1000
#define MAX_BATCH 1000

static CURLM *multi;
static PGconn *connection;
static CURL *handles[MAX_BATCH];
static char answers[MAX_BATCH * 40];	/* as VALUES */

static void
die(const char *what)
{
	fprintf(stderr, "curl_queue: %s\n", what);
	exit(1);
}

static size_t
on_body(char *data, size_t size, size_t count, void *arg)
{
	(void) data;
	(void) arg;
	return size * count;
}

/*
 * Execute a statement and return its rows, if it has any.
 */
static PGresult *
execute(const char *statement)
{
	PGresult   *result = PQexec(connection, statement);

	if (PQresultStatus(result) != PGRES_COMMAND_OK &&
		PQresultStatus(result) != PGRES_TUPLES_OK)
		die(PQerrorMessage(connection));
	return result;
}

/*
 * Set what is the same for all requests of a handle.
 */
static CURL *
create_handle(void)
{
	CURL	   *easy = curl_easy_init();

	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "PUT");
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "curl_queue/1.0");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 5000L);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	return easy;
}

/*
 * Send the requests of the rows, and write their answers as VALUES.
 */
static void
send_all(PGresult *rows, const char *url)
{
	int			n = PQntuples(rows);
	int			running = n;
	char	   *end = answers;

	for (int i = 0; i < n; i++)
	{
		char		text[512];

		if (handles[i] == NULL)
			handles[i] = create_handle();
		snprintf(text, sizeof(text), "%s%s", url, PQgetvalue(rows, i, 1));
		curl_easy_setopt(handles[i], CURLOPT_URL, text);
		if (curl_multi_add_handle(multi, handles[i]) != CURLM_OK)
			die("could not start a request");
	}
	while (running > 0)
	{
		curl_multi_perform(multi, &running);
		if (running > 0)
			curl_multi_poll(multi, NULL, 0, WAIT_MS, NULL);
	}
	for (int i = 0; i < n; i++)
	{
		long		status = 0;

		curl_easy_getinfo(handles[i], CURLINFO_RESPONSE_CODE, &status);
		curl_multi_remove_handle(multi, handles[i]);
		end += sprintf(end, "%s(%s,%ld)", i == 0 ? "" : ",",
					   PQgetvalue(rows, i, 0), status);
	}
}

/*
 * Forget the notifications that have arrived; whether there were any.
 */
static bool
take_notifications(void)
{
	PGnotify   *notification;
	bool		any = false;

	while ((notification = PQnotifies(connection)) != NULL)
	{
		PQfreemem(notification);
		any = true;
	}
	return any;
}

/*
 * Wait for a notification, unless one came with an answer of the server.
 */
static void
wait_for_work(void)
{
	struct pollfd socket = {.fd = PQsocket(connection),.events = POLLIN};

	if (take_notifications())
		return;
	poll(&socket, 1, WAIT_MS);
	if (!PQconsumeInput(connection))
		die(PQerrorMessage(connection));
	take_notifications();
}

int
main(int argc, char **argv)
{
	char		take[512];
	char		statement[sizeof(answers) + 100];

	if (argc != 4 || atoi(argv[2]) < 1 || atoi(argv[2]) > MAX_BATCH)
		die("usage: curl_queue CONNINFO BATCH URL");
	curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, atol(argv[2]));
	connection = PQconnectdb(argv[1]);
	if (PQstatus(connection) != CONNECTION_OK)
		die(PQerrorMessage(connection));
	PQclear(execute("LISTEN queue"));
	snprintf(take, sizeof(take),
			 "DELETE FROM queue.requests r USING"
			 " (SELECT id FROM queue.requests ORDER BY id LIMIT %d"
			 " FOR UPDATE SKIP LOCKED) t"
			 " WHERE r.id = t.id RETURNING r.id, r.path", atoi(argv[2]));
	for (;;)
	{
		PGresult   *rows;
		int			n;

		PQclear(execute("BEGIN"));
		rows = execute(take);
		n = PQntuples(rows);
		if (n > 0)
		{
			send_all(rows, argv[3]);
			snprintf(statement, sizeof(statement),
					 "INSERT INTO queue.responses (id, status) VALUES %s",
					 answers);
			PQclear(execute(statement));
		}
		PQclear(rows);
		PQclear(execute("COMMIT"));
		if (n == 0)
			wait_for_work();
	}
}
