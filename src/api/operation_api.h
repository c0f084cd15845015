/*-------------------------------------------------------------------------
 *
 * operation_api.h
 *	  What functions for operations share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_OPERATION_API_H
#define MRB_OPERATION_API_H

/* The idempotency key of an HTTP request; NULL: it has none. */
extern char *mrb_operation_api_key(void);

#endif							/* MRB_OPERATION_API_H */
