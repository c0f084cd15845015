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
extern bool mrb_address_is_public(const struct sockaddr *address);
extern bool mrb_address_text_is_public(const char *text);

#endif							/* MRB_PUBLIC_ADDRESS_H */
