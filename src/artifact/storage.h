/*-------------------------------------------------------------------------
 *
 * storage.h
 *	  Object storage that may be asked for artifacts.
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
	char	   *sigv4;			/* in the words of CURLOPT_AWS_SIGV4 */
	bool		virtual_host;
	char	   *secret_name;	/* NULL: requests are not signed */
	char	   *secret;			/* NULL: there is none that can be used */
	char	   *secret_problem; /* why its file has none, or NULL */
} MrbStorage;

/*
 * The one that an s3:// URI is asked for at, palloc'd; NULL when there is
 * none.  Reads in the caller's transaction.
 */
extern MrbStorage *mrb_storage_find(const char *uri);

#endif							/* MRB_STORAGE_H */
