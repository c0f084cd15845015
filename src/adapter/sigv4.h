/*-------------------------------------------------------------------------
 *
 * sigv4.h
 *	  AWS Signature Version 4.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SIGV4_H
#define MRB_SIGV4_H

#include "http/http.h"

/*
 * The KEYID:SECRET of a secret, palloc'd, and the token that may follow it;
 * NULL when it is not of the form.
 */
extern char *mrb_sigv4_credentials(const char *secret, char **token);

/*
 * Have a request signed when it is sent.  scope is in the words of
 * CURLOPT_AWS_SIGV4 and must live as long; the headers have room for
 * MRB_REQUEST_SPARE_HEADERS.  With a mask it only looks signed.  NULL when done,
 * else what is wrong.
 */
extern const char *mrb_sigv4_sign(MrbHttpRequest *request, const char *scope,
								  const char *secret, const char *mask);

#endif							/* MRB_SIGV4_H */
