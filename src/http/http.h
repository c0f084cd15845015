/*-------------------------------------------------------------------------
 *
 * http.h
 *	  HTTP client for many concurrent requests, based on libcurl.
 *
 * An engine never blocks: its sockets are in an epoll set, and the owner waits
 * for the set's descriptor.  An engine exists until the process ends, so its
 * owner keeps the pointer across errors.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_HTTP_H
#define MRB_HTTP_H

/* How a request ended. */
typedef enum MrbHttpOutcome
{
	MRB_HTTP_ANSWERED,			/* status and body are set */
	MRB_HTTP_NOT_CONNECTED,		/* resolve, connect or TLS failed: not sent */
	MRB_HTTP_TIMED_OUT,			/* may have been processed */
	MRB_HTTP_BROKEN,			/* reset, cut off, not HTTP: likewise */
	MRB_HTTP_REFUSED,			/* violates the outbound policy: not sent */
} MrbHttpOutcome;

typedef struct MrbHttpRequest
{
	const char *method;			/* any token: GET, HEAD, PUT, PURGE, BAN ... */
	const char *url;			/* http or https */
	const char *const *headers; /* "Name: value", NULL-terminated, or NULL */
	const char *body;			/* or NULL */
	size_t		body_len;
	const char *sigv4;			/* CURLOPT_AWS_SIGV4, or NULL: not signed */
	const char *credentials;	/* to sign with: KEYID:SECRET */
	int			timeout_ms;		/* of the whole request */
	void	   *owner;			/* returned with the answer */
} MrbHttpRequest;

typedef struct MrbHttpAnswer
{
	MrbHttpOutcome outcome;
	int			status;			/* HTTP status, 0 without an answer */
	bool		resent;			/* an earlier attempt may have been processed */
	int			retry_after;	/* seconds of Retry-After, -1: none */
	const char *body;			/* first 64 kB, NUL-terminated */
	size_t		body_len;
	bool		cut;			/* body is longer than what was kept */
	int64		size;			/* total size by the headers, -1: unknown */
	const char *region;			/* of the S3 bucket by the headers of a
								 * redirect or an error, or "" */
	double		elapsed_ms;
	const char *error;			/* one line for display, "" when answered */
	void	   *owner;
} MrbHttpAnswer;

typedef struct MrbHttpEngine MrbHttpEngine;

/* Create an engine; never freed. */
extern MrbHttpEngine *mrb_http_create(int max_in_flight);

/* Descriptor to wait for (readable), and maximum wait in ms (-1: no limit). */
extern int	mrb_http_descriptor(MrbHttpEngine *engine);
extern long mrb_http_max_wait(MrbHttpEngine *engine);

extern int	mrb_http_in_flight(MrbHttpEngine *engine);	/* not fetched yet */

/* Start a request, copying it.  False when full or out of memory. */
extern bool mrb_http_start(MrbHttpEngine *engine, const MrbHttpRequest *request);

/*
 * Advance all transfers without waiting.  Then fetch the answers one by one;
 * each is valid until the next call for this engine.
 */
extern void mrb_http_drive(MrbHttpEngine *engine);
extern bool mrb_http_next_answer(MrbHttpEngine *engine, MrbHttpAnswer *answer);

/* Cancel every request of an owner. */
extern void mrb_http_cancel(MrbHttpEngine *engine, void *owner);

#endif							/* MRB_HTTP_H */
