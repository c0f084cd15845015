/*-------------------------------------------------------------------------
 *
 * operation_api.h
 *	  What functions for operations share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_OPERATION_API_H
#define MRB_OPERATION_API_H

#include "fmgr.h"

/* The idempotency key of an HTTP request; NULL: it has none. */
extern char *mrb_operation_api_key(void);

/*
 * An argument that is a time; 0: it is not given.  The first instant of 2000,
 * which is 0, is as long ago as the one after it.
 */
extern TimestampTz mrb_operation_api_moment(FunctionCallInfo fcinfo, int arg);

#endif							/* MRB_OPERATION_API_H */
