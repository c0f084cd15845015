/*-------------------------------------------------------------------------
 *
 * outbound.h
 *	  Decide which addresses requests may be sent to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_OUTBOUND_H
#define MRB_OUTBOUND_H

struct sockaddr;

typedef enum MrbOutbound
{
	MRB_OUTBOUND_ALLOWED,
	MRB_OUTBOUND_METADATA,		/* a cloud's metadata service */
	MRB_OUTBOUND_NOT_LISTED,	/* not in miosa_rollback.allowed_networks */
	MRB_OUTBOUND_OWN,			/* a public address of this server itself */
} MrbOutbound;

/*
 * Judge the address of a connection that is about to be opened, and those of
 * one that is open.  These neither allocate nor raise errors.
 */
extern MrbOutbound mrb_outbound_judge(const struct sockaddr *address);
extern MrbOutbound mrb_outbound_judge_connection(const char *peer,
												 const char *local);

/* Return why an address is refused, without naming it; NULL when it is not. */
extern const char *mrb_outbound_refusal(MrbOutbound verdict);

#endif							/* MRB_OUTBOUND_H */
