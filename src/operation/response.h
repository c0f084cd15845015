/*-------------------------------------------------------------------------
 *
 * response.h
 *	  The response of an operation, and its stored form.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_RESPONSE_H
#define MRB_RESPONSE_H

#include "access/htup.h"
#include "executor/tuptable.h"
#include "utils/jsonb.h"

#include "operation/operation.h"

/* The values of a response. */
typedef struct MrbResponse MrbResponse;

/*
 * The response of an operation that wrote this row of miosa.deployments.  Its
 * values may point into the slot, which has to keep the row until the last call
 * of mrb_response_build() and mrb_response_pack().
 */
extern MrbResponse *mrb_response_read(TupleTableSlot *deployment,
									  const MrbOperation *operation);

/* Build {"data": deployment, "operation": {...}}. */
extern Jsonb *mrb_response_build(const MrbResponse *response);

/*
 * Build what a record in miosa.idempotency_keys stores.  It does not repeat the
 * record's deployment_id, seq and created_at, with which mrb_response_unpack()
 * has to be called.  The values of the result may point into packed.
 */
extern Jsonb *mrb_response_pack(const MrbResponse *response,
								TimestampTz created_at);
extern MrbResponse *mrb_response_unpack(Jsonb *packed,
										const char *deployment_id, int64 seq,
										TimestampTz created_at);

/* The version that the operation made active; NULL if it is not known. */
extern char *mrb_response_target(const MrbResponse *response);

/* Mark a stored response as superseded by a later operation. */
extern void mrb_response_supersede(MrbResponse *response,
								   const char *operation_id,
								   const char *message, const char *detail,
								   const char *hint);

/* A deployment in the platform's shape; every member is null for NULL. */
extern Jsonb *mrb_response_deployment(TupleTableSlot *deployment);

/* A slot for a row that SQL passes; free it with ExecDropSingleTupleTableSlot(). */
extern TupleTableSlot *mrb_response_slot(HeapTupleHeader row);

#endif							/* MRB_RESPONSE_H */
