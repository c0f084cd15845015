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
	MrbTemplate *path;			/* what follows the endpoint's URL */
	int			nheaders;
	char	  **header_names;
	MrbTemplate **headers;
	MrbTemplate *body;			/* or NULL */
	uint32		uses;			/* variables, as MRB_VAR_BIT() */
} MrbRequest;

/* Compile in the current context; NULL when wrong, *problem says where. */
extern MrbRequest *mrb_request_compile(Jsonb *request, const char *what,
									   const MrbAlphabets *alphabets,
									   char **problem);

/*
 * Fill in method, url, headers and body, palloc'd; NULL when done, else what
 * is wrong, in words for people.
 */
extern const char *mrb_request_render(const MrbRequest *call, const char *url,
									  const MrbTemplateValues *values,
									  MrbHttpRequest *request);

/* So many can be added to the headers of a rendered request. */
#define MRB_REQUEST_SPARE_HEADERS 4

static inline void
mrb_request_add_header(MrbHttpRequest *request, const char *header)
{
	const char **headers = (const char **) request->headers;

	while (*headers != NULL)
		headers++;
	*headers = header;
}

/* The first secret that is missing, "" for the endpoint's own; or NULL. */
extern const char *mrb_request_lacks_secret(const MrbRequest *call,
											const MrbTemplateValues *values);

extern bool mrb_request_has_header(const MrbRequest *call, const char *name);

/* Whether the path has only what needs no percent-encoding. */
extern bool mrb_request_path_is_encoded(const MrbRequest *call);
extern bool mrb_request_text_is_encoded(const char *path);

#endif							/* MRB_REQUEST_H */
