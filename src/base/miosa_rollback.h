/*-------------------------------------------------------------------------
 *
 * miosa_rollback.h
 *	  Names and limits that every part of the extension shares.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MIOSA_ROLLBACK_H
#define MIOSA_ROLLBACK_H

#define MRB_EXTENSION "miosa_rollback"

/* Schema of its tables, views and inner functions. */
#define MRB_SCHEMA "miosa"

/* NOTIFY channel of route changes. */
#define MRB_CHANNEL "miosa_route"

/* The low bits of an epoch count route changes; the high bits are the term. */
#define MRB_EPOCH_BITS 40
#define MRB_EPOCH_FIRST(term) ((int64) (term) << MRB_EPOCH_BITS)
#define MRB_EPOCH_TERM(epoch) ((int64) (epoch) >> MRB_EPOCH_BITS)

/* Longest id and longest idempotency key, in characters. */
#define MRB_MAX_ID 255
#define MRB_MAX_KEY 255

/* Longest id of an operation: its deployment's, # and a number. */
#define MRB_MAX_OPERATION_ID (MRB_MAX_ID + 20)

/* A second rollback without version and key is refused for this long. */
#define MRB_REPEAT_SECONDS 60

#endif							/* MIOSA_ROLLBACK_H */
