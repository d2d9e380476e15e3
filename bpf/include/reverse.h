/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds reverse names: the address that one stands for, and whether anybody in the mesh
 * is called by it. mesh/name.py, `reversed_address`.
 */
#ifndef INTERCEPTOR_REVERSE_H
#define INTERCEPTOR_REVERSE_H

#include "name.h"

#define ARPA4 14 /* bytes of 7 in-addr 4 arpa 0 */
#define ARPA6 10 /* bytes of 3 ip6 4 arpa 0 */
#define NIBBLES 32
#define ARPA (LABEL4(4, 'a', 'r', 'p') | (__u64)'a' << 32)

/* The digits of one octet's label as a number; 256 for what is none. "010" is nobody's. */
static INLINE __u64 octet(struct scratch *s, __u64 at)
{
	const __u8 *label = PLACE(s, OFFSET(asked.name) + at);
	__u64 size = label[0], first = label[1] - '0';
	__u64 second = label[2] - '0', third = label[3] - '0';

	if (size < 1 || size > 3 || first > 9)
		return 256;
	if (size == 1)
		return first;
	if (!first || second > 9)
		return 256;
	if (size == 2)
		return first * 10 + second;
	if (third > 9)
		return 256;
	return first * 100 + second * 10 + third;
}

static INLINE int reversed4(struct scratch *s, struct in6 *address)
{
	const __u8 *end = PLACE(s, OFFSET(asked.name) + s->name_length - ARPA4);

	/* "\7in-addr", and "\4arpa" with the root */
	if (*(half *)end != LABEL4(7, 'i', 'n', '-') ||
	    *(half *)(end + 4) != LABEL4('a', 'd', 'd', 'r') ||
	    (*(word *)(end + 6) >> 16) != ARPA)
		return 0;
	__builtin_memset(address, 0, 10);
	address->bytes[10] = 0xff;
	address->bytes[11] = 0xff;
#define OCTET(n)                                                        \
	{                                                               \
		__u64 value = octet(s, s->label[n]);                    \
		if (value > 255)                                        \
			return 0;                                       \
		address->bytes[15 - (n)] = value;                       \
	}
	OCTET(0) OCTET(1) OCTET(2) OCTET(3)
#undef OCTET
	return 1;
}

/* 16 for what is no digit; letters are in lower case. */
static INLINE __u64 nibble(__u64 c)
{
	__u64 digit = c - '0', letter = c - 'a';

	if (digit <= 9)
		return digit;
	return letter <= 5 ? letter + 10 : 16;
}

static INLINE int reversed6(struct scratch *s, struct in6 *address)
{
	const __u8 *name = s->asked.name, *end = name + 2 * NIBBLES;

	if (*(half *)end != LABEL4(3, 'i', 'p', '6') || *(word *)(end + 2) >> 16 != ARPA)
		return 0;
#define BYTE(n)                                                                       \
	{                                                                             \
		__u64 low = nibble(name[4 * (n) + 1]), high = nibble(name[4 * (n) + 3]); \
		if (low > 15 || high > 15)                                            \
			return 0;                                                     \
		address->bytes[15 - (n)] = high << 4 | low;                           \
	}
	EIGHT(BYTE, 0) EIGHT(BYTE, 8)
#undef BYTE
	return 1;
}

/* Whether the name is an address's in MAP_POINTERS. */
static INLINE int is_pointed(struct scratch *s, __u32 view)
{
	struct in6 address;
	void *pointers;

	if (s->labels == 6 && s->label[4] + ARPA4 == s->name_length) {
		if (!reversed4(s, &address))
			return 0;
	} else if (s->labels == NIBBLES + 2 && s->label[NIBBLES] == 2 * NIBBLES &&
		   s->name_length == 2 * NIBBLES + ARPA6) {
		if (!reversed6(s, &address))
			return 0;
	} else {
		return 0;
	}
	pointers = map_lookup(MAP(MAP_POINTERS), &view);
	return pointers && map_lookup(pointers, &address);
}

#endif
