/*-------------------------------------------------------------------------
 *
 * sign.h
 *	  Signs requests with the secret of an endpoint.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SIGN_H
#define MRB_SIGN_H

#include "adapter/adapter.h"

/* Why an endpoint with this URL and these secrets cannot work, or NULL. */
extern const char *mrb_sign_check(const MrbAdapter *adapter, const char *url,
								  const char *secret, const char *previous);

/*
 * Add the headers of the adapter's signer to a rendered request, palloc'd.
 * With a mask in values, that is shown in place of signatures.  Returns NULL,
 * or the problem.
 */
extern const char *mrb_sign_request(const MrbAdapter *adapter,
									const MrbTemplateValues *values,
									MrbHttpRequest *request);

#endif							/* MRB_SIGN_H */
