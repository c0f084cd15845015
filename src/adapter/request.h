/*-------------------------------------------------------------------------
 *
 * request.h
 *	  A request of an adapter, compiled once and rendered for every message.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_REQUEST_H
#define MRB_REQUEST_H

#include "utils/jsonb.h"

#include "adapter/template.h"
#include "http/http.h"

/* A request object of the adapters table, compiled. */
typedef struct MrbRequest
{
	char	   *method;
	MrbTemplate *path;			/* appended to the URL of the endpoint */
	int			nheaders;
	char	  **header_names;
	MrbTemplate **headers;
	MrbTemplate *body;			/* or NULL */
	uint32		uses;			/* variables, as bits MRB_VAR_BIT() */
} MrbRequest;

/*
 * Compile a request object in the current context; what is its column, for
 * messages.  Returns NULL, with *problem, when it is invalid.
 */
extern MrbRequest *mrb_request_compile(Jsonb *object, const char *what,
									   const MrbCharsets *charsets,
									   char **problem);

/*
 * Set method, URL, headers and body of an HTTP request, palloc'd.  Returns
 * NULL, or the problem.
 */
extern const char *mrb_request_render(const MrbRequest *request, const char *url,
									  const MrbTemplateValues *values,
									  MrbHttpRequest *http);

/* Number of headers that can be added to a rendered request. */
#define MRB_REQUEST_SPARE_HEADERS 4

/* Add a header, "name: value", to a rendered request. */
static inline void
mrb_request_add_header(MrbHttpRequest *http, const char *header)
{
	const char **headers = (const char **) http->headers;

	while (*headers != NULL)
		headers++;
	*headers = header;
}

/* The first secret without value, "" for the endpoint's own; or NULL. */
extern const char *mrb_request_lacks_secret(const MrbRequest *request,
											const MrbTemplateValues *values);

/* Whether the request sets a header, by its name. */
extern bool mrb_request_has_header(const MrbRequest *request, const char *name);

/*
 * Whether the path of a request, or a given one, has only characters that need
 * no percent-encoding.
 */
extern bool mrb_request_path_is_encoded(const MrbRequest *request);
extern bool mrb_request_text_is_encoded(const char *path);

#endif							/* MRB_REQUEST_H */
