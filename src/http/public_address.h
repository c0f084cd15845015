/*-------------------------------------------------------------------------
 *
 * public_address.h
 *	  Recognize addresses of the public Internet.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_PUBLIC_ADDRESS_H
#define MRB_PUBLIC_ADDRESS_H

struct sockaddr;

/* Whether an address is public.  These neither allocate nor raise errors. */
extern bool mrb_public_address_matches(const struct sockaddr *address);
extern bool mrb_public_address_matches_text(const char *string);

#endif							/* MRB_PUBLIC_ADDRESS_H */
