/*-------------------------------------------------------------------------
 *
 * public_address.h
 *	  Recognize addresses of the public Internet.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_PUBLIC_ADDRESS_H
#define MRB_PUBLIC_ADDRESS_H

/*
 * Whether an address, in network order, is public.  These neither allocate nor
 * raise errors.
 */
extern bool mrb_public_address_matches_v4(const unsigned char *address);
extern bool mrb_public_address_matches_v6(const unsigned char *address);

#endif							/* MRB_PUBLIC_ADDRESS_H */
