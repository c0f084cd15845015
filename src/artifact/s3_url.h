/*-------------------------------------------------------------------------
 *
 * s3_url.h
 *	  URLs of objects in S3.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_S3_URL_H
#define MRB_S3_URL_H

/*
 * The URL, palloc'd, that s3://bucket/key has at an endpoint; NULL when there
 * can be none, and *flaw says why.
 */
extern char *mrb_s3_url(const char *uri, const char *endpoint,
						bool virtual_host, const char **flaw);

#endif							/* MRB_S3_URL_H */
