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
 * Return the URL, palloc'd, of s3://bucket/key at an endpoint; NULL when it has
 * none, with the reason in *flaw.
 */
extern char *mrb_s3_url(const char *uri, const char *endpoint,
						bool virtual_host, const char **flaw);

#endif							/* MRB_S3_URL_H */
