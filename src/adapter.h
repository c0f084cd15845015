/*-------------------------------------------------------------------------
 *
 * adapter.h
 *	  How to talk to one kind of endpoint.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ADAPTER_H
#define MRB_ADAPTER_H

#include "utils/jsonb.h"

#include "http.h"
#include "template.h"

/* A request object of the adapters table, compiled. */
typedef struct MrbCall
{
	char	   *method;
	MrbTemplate *path;			/* what follows the endpoint's URL */
	int			nheaders;
	char	  **header_names;
	MrbTemplate **headers;
	MrbTemplate *body;			/* or NULL */
} MrbCall;

typedef struct MrbAdapter
{
	char	   *name;
	int			stage;
	bool		per_host;
	bool		self_expires;
	bool		volatile_table; /* loses its table without telling */
	int			settle_ms;		/* 0: never repeated */
	int			timeout_ms;
	int			marker_ms;		/* how often the marker is read back */
	int			max_in_flight;
	int			nsuccess;		/* 0: every 2xx is a success */
	int		   *success;
	MrbCall    *request;
	MrbCall    *remove;			/* or NULL */
	MrbCall    *marker_write;	/* or NULL */
	MrbCall    *marker_read;	/* or NULL */
} MrbAdapter;

/* Compile in the current context; NULL when wrong, *problem says where. */
extern MrbCall *mrb_adapter_compile(Jsonb *request, const char *what,
									char **problem);

/*
 * Fill in method, url, headers and body, palloc'd; NULL when done, else what
 * is wrong, in words for people.
 */
extern const char *mrb_adapter_render(const MrbCall *call, const char *url,
									  const MrbValues *values,
									  MrbHttpRequest *request);

extern bool mrb_adapter_is_success(const MrbAdapter *adapter, int status);

#endif							/* MRB_ADAPTER_H */
