/*-------------------------------------------------------------------------
 *
 * adapter.h
 *	  How to communicate with one kind of endpoint.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ADAPTER_H
#define MRB_ADAPTER_H

#include "adapter/poll.h"

/* What an answer means. */
typedef enum MrbVerdict
{
	MRB_VERDICT_SUCCESS,
	MRB_VERDICT_ENDPOINT,		/* the endpoint fails: back off and retry */
	MRB_VERDICT_MESSAGE,		/* the endpoint rejects this message */
	MRB_VERDICT_GONE,			/* the endpoint says that it is gone */
} MrbVerdict;

typedef struct MrbStatusVerdict
{
	int			status;
	MrbVerdict	verdict;
} MrbStatusVerdict;

typedef enum MrbSigner
{
	MRB_SIGNER_NONE,
	MRB_SIGNER_HEADER,			/* a header has {secret}, which must exist */
	MRB_SIGNER_STANDARD_WEBHOOKS,
	MRB_SIGNER_SIGV4,
} MrbSigner;

typedef struct MrbAdapter
{
	char	   *name;
	bool		scheduler;		/* gets capacity requests, no routes */
	bool		audit;			/* gets heads of the audit trail, no routes */
	bool		alerts;			/* gets alerts, no routes */
	bool		routes;			/* gets routes: none of the three before */
	bool		per_host;
	bool		per_instance;
	bool		wildcards;		/* supports hosts like "*.example.com" */
	bool		self_expires;
	bool		volatile_table; /* loses its table when it restarts */
	int			settle_ms;		/* time until a repeat; 0: not repeated */
	int			timeout_ms;
	int			marker_ms;		/* interval of reading the marker */
	int			max_in_flight;
	int			batch_max;		/* deployments in one request */
	int			batch_bytes;	/* longest body for more than one */
	double		rate;			/* requests a second; 0: unlimited */
	int			burst;
	int			nsuccess;		/* 0: every 2xx is a success */
	int		   *success;
	JsonPath   *success_path;	/* must be true of the answer, or NULL */
	char	   *success_text;	/* the same as text, for messages */
	int			nverdicts;
	MrbStatusVerdict *verdicts; /* of statuses other than successes */
	MrbSigner	signer;
	char	   *sigv4;			/* in the format of CURLOPT_AWS_SIGV4 */
	MrbRequest *request;
	MrbRequest *add;			/* follows an answer 404, or NULL */
	MrbRequest *remove;			/* or NULL */
	MrbRequest *wildcard_request;	/* for a wildcard host, or NULL */
	MrbRequest *wildcard_remove;	/* or NULL */
	MrbRequest *marker_write;	/* or NULL */
	MrbRequest *marker_read;	/* or NULL */
	MrbPoll		poll;			/* of a scheduler */
} MrbAdapter;

/*
 * Read a row of miosa.adapters, as converted by to_jsonb().  Returns false, and
 * *problem, when it is invalid.
 */
extern bool mrb_adapter_read(Jsonb *row, MrbAdapter *adapter, char **problem);

/* Read the columns for schedulers.  Returns NULL, or the problem. */
extern char *mrb_adapter_scheduler_read(Jsonb *row, MrbAdapter *adapter);

/* Narrow charsets as the column charsets says.  Returns NULL, or the problem. */
extern char *mrb_adapter_read_charsets(JsonbContainer *object,
									   MrbCharsets *charsets);

#endif							/* MRB_ADAPTER_H */
