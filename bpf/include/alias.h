/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds aliases: which loopback address stands for which destination (layout.h tells
 * why). Words of addresses are in network byte order, as contexts have them; slots in the host's.
 */
#ifndef INTERCEPTOR_ALIAS_H
#define INTERCEPTOR_ALIAS_H

#include "helper.h"
#include "layout.h"

/* 127.255.255.255 is a broadcast address, and the last slot of the last way: never given out. */
#define NOWHERE4 ALIAS4_SLOTS
#define NOWHERE6 (~0ull)

#define LOOPBACK_BYTE 0x7f
#define MAPPED NET32(0xffff) /* third word of ::ffff:a.b.c.d */

struct words {
	__be32 w[4];
};

/* WAY_* of an IPv4 alias; 0: not an alias. */
static INLINE __u32 alias4_way(__be32 address)
{
	__u32 host = NET32(address);

	return host >> 24 == LOOPBACK_BYTE ? host >> 22 & 3 : 0;
}

/* WAY_* of an IPv6 alias; 0: not an alias. The prefix's three groups, as two words. */
static INLINE __u32 alias6_way(__be32 first, __be32 second)
{
	const __u32 prefix[3] = { ALIAS6_PREFIX };
	__u32 low = NET32(second);

	if (first != NET32(prefix[0] << 16 | prefix[1]) || low >> 16 != prefix[2])
		return 0;
	low &= 0xffff;
	return low <= WAY_DNS ? low : 0;
}

static INLINE int is_mapped(const struct words *address)
{
	return !address->w[0] && !address->w[1] && address->w[2] == MAPPED;
}

/* The destination that an alias stands for; 0: nobody made this alias. */
static INLINE __be32 *alias4_find(__be32 alias)
{
	__u32 slot = NET32(alias) & ALIAS4_SLOTS;

	return map_lookup(MAP(MAP_ALIAS4), &slot);
}

static INLINE struct words *alias6_find(__be32 third, __be32 fourth)
{
	__u64 slot = (__u64)NET32(third) << 32 | NET32(fourth);

	return map_lookup(MAP(MAP_ALIAS6), &slot);
}

/* Whether the slot is this destination's: already, or from now on. Others may claim it at once. */
static INLINE int claim4(__u32 slot, __be32 address)
{
	__be32 *there = map_lookup(MAP(MAP_ALIAS4), &slot);

	if (!there) {
		if (slot == NOWHERE4)
			return 0;
		if (!map_update(MAP(MAP_ALIAS4), &slot, &address, BPF_NOEXIST))
			return 1;
		there = map_lookup(MAP(MAP_ALIAS4), &slot);
		if (!there)
			return 0;
	}
	return *there == address;
}

static INLINE int same(const struct words *one, const struct words *other)
{
	return one->w[3] == other->w[3] && one->w[2] == other->w[2] && one->w[1] == other->w[1] &&
	       one->w[0] == other->w[0];
}

static INLINE int claim6(__u64 slot, const struct words *address)
{
	struct words *there = map_lookup(MAP(MAP_ALIAS6), &slot);

	if (!there) {
		if (slot == NOWHERE6)
			return 0;
		if (!map_update(MAP(MAP_ALIAS6), &slot, address, BPF_NOEXIST))
			return 1;
		there = map_lookup(MAP(MAP_ALIAS6), &slot);
		if (!there)
			return 0;
	}
	return same(there, address);
}

/*
 * The first slot is the address's own low bits, so that an alias can be read; the others are
 * spread out, because two service networks may have all their low bits in common.
 */
#define PROBE(n, claim, address, shift)                           \
	if (claim(slot, address))                                 \
		return slot;                                      \
	slot = (mixed += (n) * HASH_FACTOR) >> (shift) & mask;

#define PROBES(claim, address, shift)                             \
	PROBE(1, claim, address, shift)                           \
	PROBE(2, claim, address, shift)                           \
	PROBE(3, claim, address, shift)                           \
	PROBE(4, claim, address, shift)                           \
	PROBE(5, claim, address, shift)                           \
	PROBE(6, claim, address, shift)                           \
	PROBE(7, claim, address, shift)                           \
	if (claim(slot, address))                                 \
		return slot;

/* The destination's slot, or NOWHERE4 where all that it may have are others'. */
static INLINE __u32 alias4_slot(__be32 address)
{
	__u32 host = NET32(address), mask = ALIAS4_SLOTS, slot = host & mask;
	__u64 mixed = host * HASH_FACTOR;

	_Static_assert(ALIAS_PROBES == 8, "PROBES writes them out");
	PROBES(claim4, address, 40)
	return NOWHERE4;
}

static INLINE __u64 alias6_slot(const struct words *address)
{
	__u64 high = (__u64)address->w[0] << 32 | address->w[1];
	__u64 low = (__u64)address->w[2] << 32 | address->w[3];
	__u64 mixed = (high * HASH_FACTOR + low) * HASH_FACTOR, mask = ~0ull, slot;

	mixed ^= mixed >> 29;
	slot = mixed;
	PROBES(claim6, address, 0)
	return NOWHERE6;
}

static INLINE __be32 alias4_address(__u32 way, __u32 slot)
{
	return NET32(ALIAS4_BASE | way << 22 | slot);
}

static INLINE struct words alias6_address(__u32 way, __u64 slot)
{
	const __u32 prefix[3] = { ALIAS6_PREFIX };

	return (struct words){ {
		NET32(prefix[0] << 16 | prefix[1]),
		NET32(prefix[2] << 16 | way),
		NET32((__u32)(slot >> 32)),
		NET32((__u32)slot),
	} };
}

#endif
