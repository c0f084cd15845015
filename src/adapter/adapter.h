/*-------------------------------------------------------------------------
 *
 * adapter.h
 *	  How to talk to one kind of endpoint.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ADAPTER_H
#define MRB_ADAPTER_H

#include "adapter/poll.h"

/* What an answer says. */
typedef enum MrbVerdict
{
	MRB_VERDICT_SUCCESS,
	MRB_VERDICT_ENDPOINT,		/* the endpoint fails: hold and try again */
	MRB_VERDICT_MESSAGE,		/* it works, but does not take this one */
	MRB_VERDICT_GONE,			/* it is gone, for good or by mistake */
} MrbVerdict;

typedef struct MrbStatusVerdict
{
	int			status;
	MrbVerdict	verdict;
} MrbStatusVerdict;

typedef enum MrbSigner
{
	MRB_SIGNER_NONE,
	MRB_SIGNER_HEADER,			/* a header holds {secret}, which must be */
	MRB_SIGNER_STANDARD_WEBHOOKS,
	MRB_SIGNER_SIGV4,
} MrbSigner;

typedef struct MrbAdapter
{
	char	   *name;
	int			stage;			/* the endpoint's, which can be another */
	bool		scheduler;		/* asked for instances, and told no routes */
	bool		per_host;
	bool		per_instance;
	bool		wildcards;		/* can do what it is told of "*.example.com" */
	bool		self_expires;
	bool		volatile_table; /* loses its table without telling */
	int			settle_ms;		/* 0: never repeated */
	int			timeout_ms;
	int			marker_ms;		/* how often the marker is read back */
	int			max_in_flight;
	int			batch_max;		/* deployments in one request */
	int			batch_bytes;	/* longest body of one that has several */
	double		rate;			/* requests a second; 0: as they come */
	int			burst;
	int			nsuccess;		/* 0: every 2xx is a success */
	int		   *success;
	JsonPath   *success_path;	/* must hold for the answer's body, or NULL */
	char	   *success_text;	/* the same for people */
	int			nmeanings;
	MrbStatusVerdict *meanings; /* of statuses that are no success */
	MrbSigner	signer;
	char	   *sigv4;			/* in the words of CURLOPT_AWS_SIGV4 */
	MrbRequest *request;
	MrbRequest *add;			/* when request is answered 404, or NULL */
	MrbRequest *remove;			/* or NULL */
	MrbRequest *wildcard_request;	/* of a wildcard host, or NULL */
	MrbRequest *wildcard_remove;	/* or NULL */
	MrbRequest *marker_write;	/* or NULL */
	MrbRequest *marker_read;	/* or NULL */
	MrbPoll		poll;			/* of a scheduler */
} MrbAdapter;

/* From a row of miosa.adapters as to_jsonb() makes it; false: see *problem. */
extern bool mrb_adapter_read(Jsonb *row, MrbAdapter *adapter, char **problem);

/* What only schedulers have; a problem, or NULL. */
extern char *mrb_adapter_read_scheduler(Jsonb *row, MrbAdapter *adapter);

extern char *mrb_adapter_read_charsets(JsonbContainer *object,
									   MrbAlphabets *alphabets);

#endif							/* MRB_ADAPTER_H */
