/*-------------------------------------------------------------------------
 *
 * http_transfer.h
 *	  One HTTP request, as libcurl is told of it, and what became of it.
 *
 * Used by http.c alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_HTTP_TRANSFER_H
#define MRB_HTTP_TRANSFER_H

#include <curl/curl.h>

struct MrbHttpAnswer;
struct MrbHttpRequest;

typedef struct MrbTransfer
{
	struct MrbTransfer *next;	/* for lists of the engine */
	struct MrbTransfer *next_made;	/* in its list of all transfers */
	bool		running;		/* libcurl has it */

	CURL	   *easy;			/* libcurl's side */
	struct curl_slist *headers; /* must live as long as the transfer runs */
	void	   *owner;			/* the caller's mark */
	const char *flaw;			/* why it must not be sent, or NULL */

	char	   *body;			/* what was answered, NUL-terminated */
	size_t		body_len;
	size_t		body_size;		/* bytes allocated */
	bool		cut;			/* body was longer than what we keep */

	int			attempts;		/* libcurl tries again by itself, see
								 * on_request */
	bool		denied;			/* an address was against the policy */
	bool		opened;			/* but another one was not */
	int			open_errno;		/* why a socket could not be opened, or 0 */
	char		error[CURL_ERROR_SIZE];
} MrbTransfer;

extern MrbTransfer *mrb_http_transfer_create(void);
extern bool mrb_http_transfer_prepare(MrbTransfer *transfer,
									  const struct MrbHttpRequest *request);
extern void mrb_http_transfer_answer(MrbTransfer *transfer, CURLcode result,
									 struct MrbHttpAnswer *answer);
extern void mrb_http_transfer_reset(MrbTransfer *transfer);

#endif							/* MRB_HTTP_TRANSFER_H */
