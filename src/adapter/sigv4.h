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
 * Split a secret of the form KEYID:SECRET or KEYID:SECRET:TOKEN.  Returns
 * KEYID:SECRET, palloc'd, and *token or NULL; NULL when it has another form.
 */
extern char *mrb_sigv4_credentials(const char *secret, char **token);

/*
 * Have libcurl sign a request when it is sent.  scope is in the format of
 * CURLOPT_AWS_SIGV4 and must live as long as the request, whose headers must
 * have MRB_REQUEST_SPARE_HEADERS free places.  With a mask, that is shown in
 * place of the signature.  Returns NULL, or the problem.
 */
extern const char *mrb_sigv4_sign(MrbHttpRequest *request, const char *scope,
								  const char *secret, const char *mask);

#endif							/* MRB_SIGV4_H */
