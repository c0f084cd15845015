/*-------------------------------------------------------------------------
 *
 * http_transfer.c
 *	  One HTTP request as libcurl's options, and its result.
 *
 * Transfers are reused, which keeps libcurl's handle and the buffer of the body.
 * After an ordinary request the handle keeps its options, too, because setting
 * all of them costs a tenth of a request; the next request of the same kind sets
 * each option in which it can differ.
 *
 * All memory is malloc'd, and no function here raises an error.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/guc.h"
#include "http/http.h"
#include "http/http_sockets.h"
#include "http/http_transfer.h"
#include "http/outbound.h"

/* Maximum length of a body; the transfer ends there. */
#define MAX_BODY (64 * 1024)

/* A larger body is not kept until the next request. */
#define KEPT_BODY (4 * 1024)

/* Nor is more memory for headers. */
#define KEPT_HEADERS (4 * 1024)

/* Characters of the name of a region. */
#define REGION_CHARACTERS "abcdefghijklmnopqrstuvwxyz0123456789-"

#define USER_AGENT "miosa_rollback/" MIOSA_ROLLBACK_VERSION

#define SET_OPTION(transfer, option, value) \
	option_taken(transfer, #option, \
				 curl_easy_setopt((transfer)->easy, option, value))

static bool option_taken(MrbTransfer *transfer, const char *option,
						 CURLcode code);
static const char *body_of(const MrbHttpRequest *request);
static MrbTransferKind kind_of(const MrbHttpRequest *request);
static bool has_ca_file(void);
static bool may_keep_options(const MrbTransfer *transfer, MrbHttpOutcome outcome);
static void clear_options(MrbTransfer *transfer);
static bool set_constants(MrbTransfer *transfer);
static bool set_policy(MrbTransfer *transfer);
static bool set_method(MrbTransfer *transfer, const MrbHttpRequest *request);
static bool set_headers(MrbTransfer *transfer, const MrbHttpRequest *request);
static bool set_signature(MrbTransfer *transfer, const MrbHttpRequest *request);
static bool set_custom_method(MrbTransfer *transfer, const char *method);
static bool set_timeout(MrbTransfer *transfer, int timeout_ms);
static bool headers_reserve(MrbTransfer *transfer, size_t size);
static void add_header(MrbTransfer *transfer, size_t place, const char *header,
					   char **space);
static curl_socket_t on_open(void *arg, curlsocktype purpose,
							 struct curl_sockaddr *address);
static int	on_close(void *arg, curl_socket_t fd);
static void set_abandon(curl_socket_t fd, bool abandon);
static int	on_request(void *arg, char *peer, char *local, int peer_port,
					   int local_port);
static size_t on_body(char *data, size_t size, size_t count, void *arg);
static bool body_reserve(MrbTransfer *transfer, size_t len);
static int64 size_of(MrbTransfer *transfer, int status);
static const char *region_of(MrbTransfer *transfer);
static const char *header_of(MrbTransfer *transfer, const char *name);
static MrbHttpOutcome outcome_of(MrbTransfer *transfer, CURLcode result);
static const char *error_of(MrbTransfer *transfer, MrbHttpOutcome outcome,
							CURLcode result);
static const char *request_flaw(const MrbHttpRequest *request);
static bool header_is_clean(const char *header);
static size_t token_length(const char *string);

/*
 * Create a transfer; NULL when out of memory.
 */
MrbTransfer *
mrb_http_transfer_create(MrbHttpSockets *sockets)
{
	MrbTransfer *transfer = calloc(1, sizeof(MrbTransfer));

	if (transfer == NULL)
		return NULL;
	transfer->easy = curl_easy_init();
	if (transfer->easy == NULL)
	{
		free(transfer);
		return NULL;
	}
	transfer->sockets = sockets;
	return transfer;
}

/*
 * Clear a transfer that is not running.
 */
void
mrb_http_transfer_reset(MrbTransfer *transfer)
{
	if (!transfer->keep_options)
		clear_options(transfer);
	transfer->keep_options = transfer->large = false;
	if (transfer->headers_size > KEPT_HEADERS)
	{
		free(transfer->headers);
		transfer->headers = NULL;
		transfer->headers_size = 0;
	}
	if (transfer->body_size > KEPT_BODY)
	{
		free(transfer->body);
		transfer->body = NULL;
		transfer->body_size = 0;
	}
	for (int i = 0; i < transfer->nsockets_opened; i++)
		mrb_http_sockets_ended(transfer->sockets, transfer->sockets_opened[i]);
	transfer->nsockets_opened = 0;
	transfer->body_len = 0;
	transfer->owner = NULL;
	transfer->flaw = NULL;
	transfer->cut = transfer->opened = false;
	transfer->denied = MRB_OUTBOUND_ALLOWED;
	transfer->attempts = 0;
	transfer->open_errno = 0;
	transfer->error[0] = '\0';
}

/*
 * Copy a request into libcurl's handle; false when out of memory.  For one that
 * must not be sent the flaw is set instead.
 */
bool
mrb_http_transfer_prepare(MrbTransfer *transfer, const MrbHttpRequest *request)
{
	bool		taken;

	transfer->owner = request->owner;
	transfer->large = request->body_len > KEPT_BODY;
	transfer->flaw = request_flaw(request);
	if (transfer->flaw != NULL)
		return true;

	if (transfer->kind != kind_of(request) || has_ca_file())
		clear_options(transfer);
	taken = (transfer->kind != MRB_TRANSFER_NONE || set_constants(transfer)) &&
		SET_OPTION(transfer, CURLOPT_URL, request->url) &&
		set_timeout(transfer, Max(request->timeout_ms, 1)) &&
		set_method(transfer, request) &&
		set_headers(transfer, request) &&
		set_signature(transfer, request);
	transfer->kind = kind_of(request);
	return taken || transfer->flaw != NULL;
}

/*
 * Fill in the answer of a finished request.
 */
void
mrb_http_transfer_answer(MrbTransfer *transfer, CURLcode result, MrbHttpAnswer *answer)
{
	memset(answer, 0, sizeof(*answer));
	answer->outcome = outcome_of(transfer, result);
	answer->owner = transfer->owner;
	answer->resent = transfer->attempts > 1;
	answer->body = transfer->body_len > 0 ? transfer->body : "";
	answer->body_len = transfer->body_len;
	answer->cut = transfer->cut;
	answer->retry_after = -1;
	answer->size = -1;
	answer->region = "";
	answer->error = error_of(transfer, answer->outcome, result);
	transfer->keep_options = may_keep_options(transfer, answer->outcome);

	if (transfer->flaw == NULL)
	{
		curl_off_t	elapsed = 0;

		curl_easy_getinfo(transfer->easy, CURLINFO_TOTAL_TIME_T, &elapsed);
		answer->elapsed_ms = elapsed / 1000.0;
	}
	if (answer->outcome == MRB_HTTP_ANSWERED)
	{
		long		status = 0;
		curl_off_t	retry_after = 0;

		curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
		curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &retry_after);
		answer->status = (int) status;
		answer->size = size_of(transfer, answer->status);
		if (answer->status >= 300)
			answer->region = region_of(transfer);
		if (retry_after > 0)
			answer->retry_after = (int) Min(retry_after, INT_MAX);
	}
}

/*
 * Check the result of setting an option.  Unless memory is short, a retry would
 * fail as well, because libcurl was built without the option or the value is too
 * long: so it becomes the request's flaw, which is shown.
 */
static bool
option_taken(MrbTransfer *transfer, const char *option, CURLcode code)
{
	if (code != CURLE_OK && code != CURLE_OUT_OF_MEMORY)
	{
		snprintf(transfer->error, sizeof(transfer->error),
				 "libcurl does not accept %s: %s", option,
				 curl_easy_strerror(code));
		transfer->flaw = transfer->error;
	}
	return code == CURLE_OK;
}

/*
 * Return the body, or NULL.  Servers require a Content-Length with some methods,
 * even if it is zero.
 */
static const char *
body_of(const MrbHttpRequest *request)
{
	const char *method = request->method;

	if (request->body == NULL && (strcmp(method, "POST") == 0 ||
								  strcmp(method, "PUT") == 0 ||
								  strcmp(method, "PATCH") == 0))
		return "";
	return request->body;
}

/*
 * Return what decides which options a request sets.
 */
static MrbTransferKind
kind_of(const MrbHttpRequest *request)
{
	if (request->sigv4 != NULL)
		return MRB_TRANSFER_SIGNED;
	if (strcmp(request->method, "HEAD") == 0)
		return MRB_TRANSFER_HEAD;
	return body_of(request) == NULL ? MRB_TRANSFER_NO_BODY : MRB_TRANSFER_BODY;
}

/*
 * Whether certificates are checked against a file, which can change.
 */
static bool
has_ca_file(void)
{
	return mrb_ca_file != NULL && mrb_ca_file[0] != '\0';
}

/*
 * Whether the options may serve another request.  They may not when they have
 * credentials, a large body or a file of authorities, which the settings may not
 * name any more, nor when the request failed or was sent twice: libcurl counts
 * how often it resends, and gives up at the fifth time.
 */
static bool
may_keep_options(const MrbTransfer *transfer, MrbHttpOutcome outcome)
{
	return outcome == MRB_HTTP_ANSWERED && !transfer->cut &&
		transfer->attempts == 1 && !transfer->large &&
		transfer->kind != MRB_TRANSFER_SIGNED && !transfer->ca_file;
}

/*
 * Remove all options, and what libcurl counts across requests.
 */
static void
clear_options(MrbTransfer *transfer)
{
	curl_easy_reset(transfer->easy);
	transfer->kind = MRB_TRANSFER_NONE;
	transfer->ca_file = false;
	transfer->method[0] = '\0';
	transfer->timeout_ms = 0;
	transfer->empty_body = false;
}

/*
 * Set the options that do not depend on the request.
 */
static bool
set_constants(MrbTransfer *transfer)
{
	return SET_OPTION(transfer, CURLOPT_PRIVATE, transfer) &&
		SET_OPTION(transfer, CURLOPT_ERRORBUFFER, transfer->error) &&
		SET_OPTION(transfer, CURLOPT_WRITEFUNCTION, on_body) &&
		SET_OPTION(transfer, CURLOPT_WRITEDATA, transfer) &&
		SET_OPTION(transfer, CURLOPT_USERAGENT, USER_AGENT) &&
		SET_OPTION(transfer, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1) &&
		SET_OPTION(transfer, CURLOPT_TCP_NODELAY, 1L) &&
		SET_OPTION(transfer, CURLOPT_NOSIGNAL, 1L) &&
		SET_OPTION(transfer, CURLOPT_QUICK_EXIT, 1L) &&
		set_policy(transfer);
}

/*
 * Set the options that hold for every request, whatever its URL and the
 * environment are.
 */
static bool
set_policy(MrbTransfer *transfer)
{
	transfer->ca_file = has_ca_file();
	if (transfer->ca_file &&
		!SET_OPTION(transfer, CURLOPT_CAINFO, mrb_ca_file))
		return false;

	return SET_OPTION(transfer, CURLOPT_PREREQFUNCTION, on_request) &&
		SET_OPTION(transfer, CURLOPT_PREREQDATA, transfer) &&
		SET_OPTION(transfer, CURLOPT_OPENSOCKETFUNCTION, on_open) &&
		SET_OPTION(transfer, CURLOPT_OPENSOCKETDATA, transfer) &&
		SET_OPTION(transfer, CURLOPT_CLOSESOCKETFUNCTION, on_close) &&
		SET_OPTION(transfer, CURLOPT_CLOSESOCKETDATA, transfer->sockets) &&
		SET_OPTION(transfer, CURLOPT_PROTOCOLS_STR, "http,https") &&
		SET_OPTION(transfer, CURLOPT_FOLLOWLOCATION, 0L) &&
		SET_OPTION(transfer, CURLOPT_PROXY, "") &&
		SET_OPTION(transfer, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L) &&
		SET_OPTION(transfer, CURLOPT_PATH_AS_IS, 1L) &&
		SET_OPTION(transfer, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2) &&
		SET_OPTION(transfer, CURLOPT_SSL_VERIFYPEER, 1L) &&
		SET_OPTION(transfer, CURLOPT_SSL_VERIFYHOST, 2L);
}

/*
 * Set method and body.  libcurl has three kinds of requests, each of which can
 * have any method: without a body, without a body in the response, and with a
 * body, which may be empty.
 */
static bool
set_method(MrbTransfer *transfer, const MrbHttpRequest *request)
{
	const char *body = body_of(request);
	bool		empty = body != NULL && body[0] == '\0';

	if (strcmp(request->method, "HEAD") == 0)
		return SET_OPTION(transfer, CURLOPT_NOBODY, 1L);
	if (body != NULL && !(empty && transfer->empty_body) &&
		!(SET_OPTION(transfer, CURLOPT_POSTFIELDSIZE_LARGE,
					 (curl_off_t) (request->body ? request->body_len : 0)) &&
		  SET_OPTION(transfer, CURLOPT_COPYPOSTFIELDS, body)))
		return false;
	transfer->empty_body = empty;
	return set_custom_method(transfer, request->method);
}

/*
 * Set the word of the request line.
 */
static bool
set_custom_method(MrbTransfer *transfer, const char *method)
{
	if (strcmp(transfer->method, method) == 0)
		return true;
	transfer->method[0] = '\0';
	if (!SET_OPTION(transfer, CURLOPT_CUSTOMREQUEST, method))
		return false;
	if (strlen(method) < sizeof(transfer->method))
		strlcpy(transfer->method, method, sizeof(transfer->method));
	return true;
}

/*
 * Set the time-out.
 */
static bool
set_timeout(MrbTransfer *transfer, int timeout_ms)
{
	if (transfer->timeout_ms == timeout_ms)
		return true;
	transfer->timeout_ms = timeout_ms;
	return SET_OPTION(transfer, CURLOPT_TIMEOUT_MS, (long) timeout_ms);
}

/*
 * Set the caller's headers.  Empty ones before them disable headers that libcurl
 * would add (Expect, Accept, Content-Type), but not the caller's.
 */
static bool
set_headers(MrbTransfer *transfer, const MrbHttpRequest *request)
{
	static const char *const none[] = {"Expect:", "Accept:", "Content-Type:"};
	size_t		n = 0;
	size_t		len = 0;
	char	   *space;

	for (size_t i = 0; i < lengthof(none); i++)
		len += strlen(none[i]) + 1;
	for (; request->headers != NULL && request->headers[n] != NULL; n++)
		len += strlen(request->headers[n]) + 1;
	len += (lengthof(none) + n) * sizeof(struct curl_slist);
	if (!headers_reserve(transfer, len))
		return false;

	space = (char *) (transfer->headers + lengthof(none) + n);
	len = 0;
	/* libcurl would include the empty ones in a signature. */
	for (size_t i = 0; i < lengthof(none) && request->sigv4 == NULL; i++)
		add_header(transfer, len++, none[i], &space);
	for (size_t i = 0; i < n; i++)
		add_header(transfer, len++, request->headers[i], &space);
	if (len > 0)
		transfer->headers[len - 1].next = NULL;
	return SET_OPTION(transfer, CURLOPT_HTTPHEADER,
					  len > 0 ? transfer->headers : NULL);
}

/*
 * Let libcurl sign the request, if it is to be signed.
 */
static bool
set_signature(MrbTransfer *transfer, const MrbHttpRequest *request)
{
	return request->sigv4 == NULL ||
		(SET_OPTION(transfer, CURLOPT_AWS_SIGV4, request->sigv4) &&
		 SET_OPTION(transfer, CURLOPT_USERPWD, request->credentials));
}

/*
 * Enlarge the memory for the list of headers; false when out of memory.  To
 * make the list with curl_slist_append() would allocate twice for each header.
 */
static bool
headers_reserve(MrbTransfer *transfer, size_t size)
{
	struct curl_slist *bigger;

	if (size <= transfer->headers_size)
		return true;
	bigger = realloc(transfer->headers, 2 * size);
	if (bigger == NULL)
		return false;
	transfer->headers = bigger;
	transfer->headers_size = 2 * size;
	return true;
}

/*
 * Copy a header to the end of the list, and its string into the space.
 */
static void
add_header(MrbTransfer *transfer, size_t place, const char *header,
		   char **space)
{
	size_t		size = strlen(header) + 1;

	transfer->headers[place].data = *space;
	transfer->headers[place].next = &transfer->headers[place + 1];
	memcpy(*space, header, size);
	*space += size;
}

/*
 * Callback: open a socket for an address, if the outbound policy allows it.  It
 * is closed on exec, because the server starts programs (COPY ... PROGRAM).
 */
static curl_socket_t
on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	MrbTransfer *transfer = arg;
	MrbOutbound verdict = mrb_outbound_judge(&address->addr);
	curl_socket_t fd;

	if (verdict != MRB_OUTBOUND_ALLOWED)
	{
		transfer->denied = verdict;
		return CURL_SOCKET_BAD;
	}
	transfer->opened = true;
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC,
				address->protocol);
	if (fd < 0)
	{
		transfer->open_errno = errno;
		return CURL_SOCKET_BAD;
	}
	set_abandon(fd, true);
	if (transfer->nsockets_opened < MRB_TRANSFER_SOCKETS)
	{
		transfer->sockets_opened[transfer->nsockets_opened++] = fd;
		mrb_http_sockets_opened(transfer->sockets, fd);
	}
	return fd;
}

/*
 * Callback: close the socket of a connection, which may be long after the
 * transfer that opened it.  If the other side has everything, the connection ends
 * in the ordinary way.
 */
static int
on_close(void *arg, curl_socket_t fd)
{
	int			unsent;

	mrb_http_sockets_closing(arg, fd);
	if (ioctl(fd, SIOCOUTQ, &unsent) == 0 && unsent == 0)
		set_abandon(fd, false);
	return close(fd);
}

/*
 * Set whether the kernel abandons what the other side has not acknowledged when
 * the socket is closed, also by the end of the process.  It would otherwise go on
 * sending it for minutes: a request of a primary that was cut off would arrive
 * when the network is back, after those of its successor.
 */
static void
set_abandon(curl_socket_t fd, bool abandon)
{
	struct linger linger = {.l_onoff = abandon,.l_linger = 0};

	(void) setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

/*
 * Callback: a request is about to be sent.  libcurl calls it again when it
 * resends a request because a reused connection was closed.  It denies two more
 * cases: a connection that was opened while its network was allowed, and one to
 * this machine by one of its public addresses.
 */
static int
on_request(void *arg, char *peer, char *local, int peer_port, int local_port)
{
	MrbTransfer *transfer = arg;
	MrbOutbound verdict = mrb_outbound_judge_connection(peer, local);

	transfer->attempts++;
	if (verdict == MRB_OUTBOUND_ALLOWED)
		return CURL_PREREQFUNC_OK;
	transfer->denied = verdict;
	transfer->opened = false;
	return CURL_PREREQFUNC_ABORT;
}

/*
 * Callback: append to the body.  Accepting less than offered makes libcurl end
 * the transfer, which cuts a body that is too long.
 */
static size_t
on_body(char *data, size_t size, size_t count, void *arg)
{
	MrbTransfer *transfer = arg;
	size_t		len = size * count;
	size_t		kept = Min(len, MAX_BODY - transfer->body_len);

	if (!body_reserve(transfer, transfer->body_len + kept))
		return 0;
	memcpy(transfer->body + transfer->body_len, data, kept);
	transfer->body_len += kept;
	transfer->body[transfer->body_len] = '\0';
	transfer->cut = kept < len;
	return kept;
}

/*
 * Enlarge the buffer for a body of a length and its NUL; false when out of
 * memory.
 */
static bool
body_reserve(MrbTransfer *transfer, size_t len)
{
	size_t		size = Min(Max(2 * len, 1024), MAX_BODY) + 1;
	char	   *bigger;

	if (len + 1 <= transfer->body_size)
		return true;
	bigger = realloc(transfer->body, size);
	if (bigger == NULL)
		return false;
	transfer->body = bigger;
	transfer->body_size = size;
	return true;
}

/*
 * Return the total size of the resource, whose body may have been received in
 * part or not at all; -1: unknown.
 */
static int64
size_of(MrbTransfer *transfer, int status)
{
	curl_off_t	size = -1;
	const char *total;
	char	   *end;

	if (status != 206)
	{
		curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T,
						  &size);
		return size;
	}
	total = strchr(header_of(transfer, "content-range"), '/');
	if (total == NULL || !isdigit((unsigned char) total[1]))
		return -1;
	errno = 0;
	size = strtoll(total + 1, &end, 10);
	return errno == 0 && *end == '\0' ? size : -1;
}

/*
 * Return the region of the bucket in a response of S3 that says where it is; ""
 * when it is missing or not a valid name.
 */
static const char *
region_of(MrbTransfer *transfer)
{
	const char *region = header_of(transfer, "x-amz-bucket-region");

	return strlen(region) < 64 &&
		strspn(region, REGION_CHARACTERS) == strlen(region) ? region : "";
}

/*
 * Return the value of a header of the response; "" when it is missing.
 */
static const char *
header_of(MrbTransfer *transfer, const char *name)
{
	struct curl_header *header = NULL;

	return curl_easy_header(transfer->easy, name, 0, CURLH_HEADER, -1,
							&header) == CURLHE_OK ? header->value : "";
}

/*
 * Map libcurl's result to an outcome.  The decisive point is whether the server
 * may have processed the request, which is impossible as long as no byte of it
 * was sent, even after a time-out.
 */
static MrbHttpOutcome
outcome_of(MrbTransfer *transfer, CURLcode result)
{
	long		sent = 0;

	if (transfer->flaw != NULL)
		return MRB_HTTP_REFUSED;
	if (result == CURLE_OK || (result == CURLE_WRITE_ERROR && transfer->cut))
		return MRB_HTTP_ANSWERED;
	if (transfer->denied != MRB_OUTBOUND_ALLOWED && !transfer->opened)
		return MRB_HTTP_REFUSED;

	curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &sent);
	if (sent == 0 &&
		(result == CURLE_URL_MALFORMAT || result == CURLE_LOGIN_DENIED ||
		 result == CURLE_UNSUPPORTED_PROTOCOL))
		return MRB_HTTP_REFUSED;
	if (sent == 0)
		return MRB_HTTP_NOT_CONNECTED;
	if (result == CURLE_OPERATION_TIMEDOUT)
		return MRB_HTTP_TIMED_OUT;
	return MRB_HTTP_BROKEN;
}

/*
 * Describe in one line why there is no response.  An address that the policy
 * refused is not included, because it may be confidential.
 */
static const char *
error_of(MrbTransfer *transfer, MrbHttpOutcome outcome, CURLcode result)
{
	if (outcome == MRB_HTTP_ANSWERED)
		return "";
	if (transfer->flaw != NULL)
		return transfer->flaw;
	if (transfer->denied != MRB_OUTBOUND_ALLOWED && outcome == MRB_HTTP_REFUSED)
		return mrb_outbound_refusal(transfer->denied);
	if (transfer->open_errno != 0)
		snprintf(transfer->error, sizeof(transfer->error),
				 "could not open a socket: %s", strerror(transfer->open_errno));
	if (transfer->error[0] != '\0')
		return transfer->error;
	return curl_easy_strerror(result);
}

/*
 * Return why a request must not be sent; NULL when it may be.  URLs are checked
 * by libcurl, which refuses spaces and control characters.
 */
static const char *
request_flaw(const MrbHttpRequest *request)
{
	const char *method = request->method;

	if (token_length(method) == 0 || method[token_length(method)] != '\0')
		return "the method is not a word";
	for (int i = 0; request->headers != NULL && request->headers[i] != NULL; i++)
	{
		if (!header_is_clean(request->headers[i]))
			return "a header is not of the form \"Name: value\"";
	}
	return NULL;
}

/*
 * Whether a header is a name, a colon and a value without control characters.
 * A line end in a value could inject another header.
 */
static bool
header_is_clean(const char *header)
{
	size_t		name = token_length(header);

	if (name == 0 || header[name] != ':')
		return false;
	for (const char *c = header + name + 1; *c != '\0'; c++)
	{
		if (((unsigned char) *c < ' ' && *c != '\t') || *c == '\x7f')
			return false;
	}
	return true;
}

/*
 * Return the length of the HTTP token that a string begins with.
 */
static size_t
token_length(const char *string)
{
	return strspn(string, "!#$%&'*+-.^_`|~0123456789"
				  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
}
