/*-------------------------------------------------------------------------
 *
 * public_address.c
 *	  Recognize addresses of the public Internet.
 *
 * Without this check, a user who can write a URL could make the database server
 * send requests to its own network: a cloud's metadata service, a database on
 * loopback, an unprotected admin port.  Host names cannot be checked, because
 * their owner can change their addresses at any time, so the address of each
 * connection is checked.
 *
 * For IPv4, a list has the blocks that are not public.  For IPv6, only 2000::/3
 * is allocated, so everything else (loopback, link-local, unique local,
 * multicast, mapped IPv4, NAT64) is refused, and a list has the blocks inside
 * that are not public.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "http/public_address.h"

typedef struct AddressBlock
{
	unsigned char prefix[4];	/* the leading bytes, in network order */
	int			bits;			/* length of the prefix, at most 32 */
} AddressBlock;

/* IANA's special-purpose registry, without what is globally reachable. */
static const AddressBlock reserved_v4[] = {
	{{0, 0, 0, 0}, 8},			/* this network, unspecified */
	{{10, 0, 0, 0}, 8},			/* private */
	{{100, 64, 0, 0}, 10},		/* behind a carrier's NAT */
	{{127, 0, 0, 0}, 8},		/* loopback */
	{{169, 254, 0, 0}, 16},		/* link-local, cloud metadata */
	{{172, 16, 0, 0}, 12},		/* private */
	{{192, 0, 0, 0}, 24},		/* protocol assignments */
	{{192, 0, 2, 0}, 24},		/* documentation */
	{{192, 88, 99, 0}, 24},		/* 6to4 relays */
	{{192, 168, 0, 0}, 16},		/* private */
	{{198, 18, 0, 0}, 15},		/* benchmarks */
	{{198, 51, 100, 0}, 24},	/* documentation */
	{{203, 0, 113, 0}, 24},		/* documentation */
	{{224, 0, 0, 0}, 3},		/* multicast, reserved, broadcast */
};

static const AddressBlock global_v6 = {{0x20, 0, 0, 0}, 3};

static const AddressBlock reserved_v6[] = {
	{{0x20, 0x01, 0x00, 0x00}, 23}, /* Teredo and other protocols */
	{{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
	{{0x20, 0x02, 0x00, 0x00}, 16}, /* 6to4 */
	{{0x3f, 0xff, 0x00, 0x00}, 20}, /* documentation */
};

static bool in_block(const unsigned char *address, const AddressBlock *block);

/*
 * Whether an IPv4 address is public.
 */
bool
mrb_public_address_matches_v4(const unsigned char *address)
{
	for (int i = 0; i < (int) lengthof(reserved_v4); i++)
	{
		if (in_block(address, &reserved_v4[i]))
			return false;
	}
	return true;
}

/*
 * Whether an IPv6 address is public.
 */
bool
mrb_public_address_matches_v6(const unsigned char *address)
{
	if (!in_block(address, &global_v6))
		return false;
	for (int i = 0; i < (int) lengthof(reserved_v6); i++)
	{
		if (in_block(address, &reserved_v6[i]))
			return false;
	}
	return true;
}

/*
 * Whether an address, in network order, is in a block.
 */
static bool
in_block(const unsigned char *address, const AddressBlock *block)
{
	uint32		difference = 0;

	for (int i = 0; i < 4; i++)
		difference = difference << 8 | (address[i] ^ block->prefix[i]);
	return difference >> (32 - block->bits) == 0;
}
