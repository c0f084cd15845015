/*-------------------------------------------------------------------------
 *
 * sign.h
 *	  Signing requests with an endpoint's secret.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SIGN_H
#define MRB_SIGN_H

#include "adapter/adapter.h"

/* Why an endpoint with these cannot be told; NULL when it can. */
extern const char *mrb_sign_check(const MrbAdapter *adapter, const char *url,
								  const char *secret, const char *previous);

/*
 * Add to a rendered request what the adapter's signer wants, palloc'd; NULL
 * when done, else what is wrong.  With a mask in values it only looks signed.
 */
extern const char *mrb_sign_request(const MrbAdapter *adapter,
									const MrbTemplateValues *values,
									MrbHttpRequest *request);

#endif							/* MRB_SIGN_H */
