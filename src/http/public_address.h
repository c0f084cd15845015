/*-------------------------------------------------------------------------
 *
 * public_address.h
 *	  Which network addresses belong to the public Internet.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_PUBLIC_ADDRESS_H
#define MRB_PUBLIC_ADDRESS_H

struct sockaddr;

/* May be called from library callbacks: neither allocates nor raises. */
extern bool mrb_public_address_matches(const struct sockaddr *address);
extern bool mrb_public_address_matches_text(const char *text);

#endif							/* MRB_PUBLIC_ADDRESS_H */
