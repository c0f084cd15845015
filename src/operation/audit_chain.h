/*-------------------------------------------------------------------------
 *
 * audit_chain.h
 *	  Hashes of audit events, each over the event and the hash before it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_AUDIT_CHAIN_H
#define MRB_AUDIT_CHAIN_H

#include "postgres_ext.h"

#define MRB_AUDIT_CHAIN_MAX_COLUMNS 20

/* Events of one table, and how they are encoded. */
typedef struct MrbAuditChain
{
	const char *format;			/* name and version of the encoding */
	int			ncolumns;
	const char *columns[MRB_AUDIT_CHAIN_MAX_COLUMNS];
	Oid			types[MRB_AUDIT_CHAIN_MAX_COLUMNS]; /* 0: text */
} MrbAuditChain;

/* miosa.audit_events */
extern const MrbAuditChain mrb_audit_chain_events;

/* miosa.configuration_events */
extern const MrbAuditChain mrb_audit_chain_configuration;

/*
 * Return the hash of an event, whose values are in the order of the columns.
 * previous is the hash of the event before, NULL for the first one.
 */
extern bytea *mrb_audit_chain_hash(const MrbAuditChain *chain,
								   const Datum *values, const bool *nulls,
								   const bytea *previous);

#endif							/* MRB_AUDIT_CHAIN_H */
