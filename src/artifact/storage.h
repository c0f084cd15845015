/*-------------------------------------------------------------------------
 *
 * storage.h
 *	  Read the rows of miosa.storages.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_STORAGE_H
#define MRB_STORAGE_H

/* A row of miosa.storages. */
typedef struct MrbStorage
{
	char	   *prefix;
	char	   *endpoint;
	char	   *sigv4;			/* for CURLOPT_AWS_SIGV4 */
	bool		virtual_host;
	char	   *secret_name;	/* NULL: requests are not signed */
	char	   *secret;			/* NULL: missing or not readable */
	char	   *secret_problem; /* why its file is not readable, or NULL */
} MrbStorage;

/*
 * Return the storage of an s3:// URI, palloc'd; NULL when there is none.  Reads in
 * the caller's transaction.
 */
extern MrbStorage *mrb_storage_find(const char *uri);

#endif							/* MRB_STORAGE_H */
