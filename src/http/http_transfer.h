/*-------------------------------------------------------------------------
 *
 * http_transfer.h
 *	  One HTTP request as libcurl's options, and its result.
 *
 * Used by http.c alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_HTTP_TRANSFER_H
#define MRB_HTTP_TRANSFER_H

#include <curl/curl.h>

#include "http/outbound.h"

struct MrbHttpAnswer;
struct MrbHttpRequest;
struct MrbHttpSockets;

/* Requests that set the same options of libcurl. */
typedef enum MrbTransferKind
{
	MRB_TRANSFER_NONE,			/* no option is set */
	MRB_TRANSFER_HEAD,
	MRB_TRANSFER_NO_BODY,
	MRB_TRANSFER_BODY,			/* which may be empty */
	MRB_TRANSFER_SIGNED,		/* by libcurl; never kept */
} MrbTransferKind;

/* Longer methods are set for each request. */
#define MRB_TRANSFER_METHOD_SIZE 16

/* Sockets of a transfer that can be kept in the epoll set; further ones are not. */
#define MRB_TRANSFER_SOCKETS 8

typedef struct MrbTransfer
{
	struct MrbTransfer *next;	/* for lists of the engine */
	struct MrbTransfer *next_made;	/* in its list of all transfers */
	bool		running;		/* added to libcurl */
	struct MrbHttpSockets *sockets; /* of the engine */

	CURL	   *easy;			/* libcurl's handle */
	MrbTransferKind kind;		/* of the request that its options are for */
	bool		ca_file;		/* they name a file of authorities */
	bool		keep_options;	/* they can serve the next one of that kind */
	bool		large;			/* libcurl's copy of the body is not kept */
	char		method[MRB_TRANSFER_METHOD_SIZE];	/* of its options; "":
													 * unknown */
	int			timeout_ms;		/* the same; 0: unknown */
	bool		empty_body;		/* they have an empty one */
	struct curl_slist *headers; /* must live as long as the transfer runs; the
								 * strings follow in the same memory */
	size_t		headers_size;	/* bytes allocated */
	void	   *owner;			/* set by the caller */
	const char *flaw;			/* why it must not be sent, or NULL */

	char	   *body;			/* of the response, NUL-terminated */
	size_t		body_len;
	size_t		body_size;		/* bytes allocated */
	bool		cut;			/* body was longer than MAX_BODY */

	int			attempts;		/* times that it was sent, see on_request */
	MrbOutbound denied;			/* why an address was denied */
	bool		opened;			/* but allowed another one */
	curl_socket_t sockets_opened[MRB_TRANSFER_SOCKETS];
	int			nsockets_opened;
	int			open_errno;		/* why a socket could not be opened, or 0 */
	char		error[CURL_ERROR_SIZE];
} MrbTransfer;

extern MrbTransfer *mrb_http_transfer_create(struct MrbHttpSockets *sockets);
extern bool mrb_http_transfer_prepare(MrbTransfer *transfer,
									  const struct MrbHttpRequest *request);
extern void mrb_http_transfer_answer(MrbTransfer *transfer, CURLcode result,
									 struct MrbHttpAnswer *answer);
extern void mrb_http_transfer_reset(MrbTransfer *transfer);

#endif							/* MRB_HTTP_TRANSFER_H */
