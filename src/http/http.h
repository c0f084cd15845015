/*-------------------------------------------------------------------------
 *
 * http.h
 *	  HTTP requests, many at once or one alone.
 *
 * An engine never blocks: its sockets sit in an epoll set, whose descriptor
 * the owner waits for.  It is never given up before the process ends, so an
 * error in the owner must not lose sight of it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_HTTP_H
#define MRB_HTTP_H

/* What became of a request. */
typedef enum MrbHttpOutcome
{
	MRB_HTTP_ANSWERED,			/* status and body are set */
	MRB_HTTP_NOT_CONNECTED,		/* resolve, connect or TLS failed: not sent */
	MRB_HTTP_TIMED_OUT,			/* may or may not have been acted upon */
	MRB_HTTP_BROKEN,			/* reset, cut off, not HTTP: likewise */
	MRB_HTTP_REFUSED,			/* our own outbound policy said no: not sent */
} MrbHttpOutcome;

typedef struct MrbHttpRequest
{
	const char *method;			/* any token: GET, HEAD, PUT, PURGE, BAN ... */
	const char *url;			/* http or https */
	const char *const *headers; /* "Name: value", NULL-terminated, or NULL */
	const char *body;			/* or NULL */
	size_t		body_len;
	const char *sigv4;			/* as CURLOPT_AWS_SIGV4, or NULL: not signed */
	const char *credentials;	/* it is signed with: KEYID:SECRET */
	int			timeout_ms;		/* whole request, from when its socket opens */
	void	   *owner;			/* handed back with the answer */
} MrbHttpRequest;

typedef struct MrbHttpAnswer
{
	MrbHttpOutcome outcome;
	int			status;			/* HTTP status, 0 without an answer */
	bool		resent;			/* a first try may be acted upon as well */
	int			retry_after;	/* seconds, -1 when the answer has none */
	const char *body;			/* first 64 kB, NUL-terminated */
	size_t		body_len;
	bool		cut;			/* there was more of it */
	int64		size;			/* of the whole by the headers, -1: unknown */
	const char *region;			/* where S3 says the bucket is, or "" */
	double		elapsed_ms;
	const char *error;			/* one line for people, "" when answered */
	void	   *owner;
} MrbHttpAnswer;

typedef struct MrbHttpEngine MrbHttpEngine;
extern MrbHttpEngine *mrb_http_create(int max_in_flight);

/* Descriptor to wait for (readable), and the longest wait in ms (-1: none). */
extern int	mrb_http_descriptor(MrbHttpEngine *engine);
extern long mrb_http_max_wait(MrbHttpEngine *engine);

extern int	mrb_http_in_flight(MrbHttpEngine *engine);	/* not fetched yet */

/* Everything is copied.  False when full or out of memory: try again later. */
extern bool mrb_http_start(MrbHttpEngine *engine, const MrbHttpRequest *request);

/*
 * Move all transfers as far as they go without waiting.  Then fetch the
 * answers one by one; each is valid until the next call for this engine.
 */
extern void mrb_http_drive(MrbHttpEngine *engine);
extern bool mrb_http_next_answer(MrbHttpEngine *engine, MrbHttpAnswer *answer);

/* Forget every request of that owner. */
extern void mrb_http_cancel(MrbHttpEngine *engine, void *owner);

#endif							/* MRB_HTTP_H */
