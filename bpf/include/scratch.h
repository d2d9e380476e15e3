/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds the DNS program's memory: one value of a per-CPU map, since a stack of 512 bytes
 * holds neither a message nor a name. tc runs with softirqs off, so nobody else is in it meanwhile.
 *
 * Whatever decides is stored here and read back (AGAIN): the verifier then knows nothing of its
 * value, and the many ways that lead to one place are one state to it.
 */
#ifndef INTERCEPTOR_SCRATCH_H
#define INTERCEPTOR_SCRATCH_H

#include "helper.h"
#include "layout.h"

/* Memory is read as bytes here and as words there. */
typedef __u64 __attribute__((may_alias)) word;
typedef __u32 __attribute__((may_alias)) half;
typedef __u16 __attribute__((may_alias)) quarter;

/* Where a DNS message stands in packet[], whatever headers precede it; so that the name behind
 * its own header is aligned to 8. */
#define DNS_AT 84
#define NAME_AT (DNS_AT + 12)
#define UDP_AT (DNS_AT - 8)
#define IPV4_AT (UDP_AT - 20)
#define IPV6_AT (UDP_AT - 40)
#define MAXIMUM_MESSAGE 700 /* bytes; larger queries pass */
#define REPLY_SIZE 512      /* what stands behind the question: 363 bytes at most */

/* Zeros, ones, zeros: a window of it masks words from some byte on, or up to some byte. */
#define MASK_ONES 64
#define MASK_ZEROS (MASK_ONES + NAME_SIZE)
#define MASK_SIZE (MASK_ZEROS + NAME_SIZE)

/* A name in lower case with so many zeros on both sides that a window on any tail of it, and the
 * SUFFIX_SIZE bytes before its end, may be read without looking. */
struct room {
	__u8 front[SUFFIX_SIZE];
	__u8 name[NAME_SIZE];
	__u8 back[NAME_SIZE];
};

struct scratch {
	__u64 version; /* of this struct; others' memory is initialised anew */
	__u8 mask[MASK_SIZE];
	struct room asked; /* the question's name */
	struct room rest;  /* what is left of it, where something is stripped */
	__u8 cut[NAME_SIZE]; /* a key: the front of a name, a mark, zeros */
	__u8 label[64];      /* where each label begins */
	__u8 ordinal[NAME_SIZE]; /* which label begins at a place, if one does (see begins_at) */
	__u32 tries[5];      /* keys to look up, see find.h */
	__u32 six;      /* IPv6 */
	__u32 length;   /* of the message */
	__u32 name_length; /* the root's byte included */
	__u32 labels;
	__u32 qtype;
	__u32 type;     /* DNS_TYPE_* */
	__u32 edns;     /* 0: none; else 1 + version */
	__u32 dnssec;   /* DO */
	__u32 service;  /* "_tcp.host", "_port._tcp.host": where the host begins; else 0 */
	__u32 found;    /* FOUND_* */
	__u32 search;   /* which search domain was stripped, from 1 on; 0: none */
	__u32 extra;    /* VALUE_EXTRA, if that is wanted of the value */
	__u32 key_at;   /* offset in the scratch of the key that was looked up */
	__u32 mark_at;  /* ... and of its mark */
	__u64 writes;   /* STATE_WRITES when the look-up began */
	__u64 depths;   /* wild_depths that are still to be tried */
	__u32 reply_length;
	__u32 answers;
	__u32 authorities;
	__u32 result;
	struct network_key server;
	struct in6 source; /* who asks, as keys have it */
	__u32 source_port;
	struct name_value value;
	__u8 reply[REPLY_SIZE + 8]; /* what stands behind the question */
	__u8 packet[DNS_AT + PACKET_SIZE + 8];
};

_Static_assert(sizeof(struct scratch) <= 4096, "MAP_SCRATCH");
_Static_assert(MAXIMUM_MESSAGE + 64 < PACKET_SIZE, "a packet is handed over whole");

/* Any change of the struct's shape changes it; raise the first number for other changes. */
#define SCRATCH_VERSION                                                                   \
	(1ull << 48 | sizeof(struct scratch) << 32 |                                      \
	 __builtin_offsetof(struct scratch, rest) << 16 |                                 \
	 __builtin_offsetof(struct scratch, packet))

#define OFFSET(field) __builtin_offsetof(struct scratch, field)
#define WORD(at, n) (((word *)(at))[n])
#define AGAIN(field) (*(volatile typeof(field) *)&(field))
#define LIMIT 0x7ff /* every computed offset into the scratch is masked by it */
#define PLACE(s, offset) ((__u8 *)(s) + MASKED(offset, LIMIT))

_Static_assert(OFFSET(cut) + NAME_SIZE <= LIMIT, "keys are within LIMIT");
_Static_assert(LIMIT + NAME_SIZE <= sizeof(struct scratch), "windows are within the map's value");

#define FOUR(X, n) X((n) + 0) X((n) + 1) X((n) + 2) X((n) + 3)
#define EIGHT(X, n) FOUR(X, n) FOUR(X, (n) + 4)
#define SIXTEEN(X) EIGHT(X, 0) EIGHT(X, 8)

/* Zeros must stay zero: nobody writes to them but here. */
static INLINE void initialise(struct scratch *s)
{
#define CLEAR(n) WORD(s->mask, n) = 0;
	EIGHT(CLEAR, 0)
	EIGHT(CLEAR, MASK_ZEROS / 8) EIGHT(CLEAR, MASK_ZEROS / 8 + 8)
#undef CLEAR
#define ONES(n) WORD(s->mask, MASK_ONES / 8 + (n)) = ~0ull;
	SIXTEEN(ONES)
#undef ONES
#define CLEAR(n) WORD(s->asked.front, n) = 0; WORD(s->rest.front, n) = 0;
	EIGHT(CLEAR, 0)
#undef CLEAR
#define CLEAR(n) WORD(s->asked.back, n) = 0; WORD(s->rest.back, n) = 0;
	SIXTEEN(CLEAR)
#undef CLEAR
	s->version = SCRATCH_VERSION;
}

static INLINE struct scratch *scratch_open(void)
{
	__u32 index = 0;
	struct scratch *s = map_lookup(MAP(MAP_SCRATCH), &index);

	if (s && s->version != SCRATCH_VERSION)
		initialise(s);
	return s;
}

/* Copy `size` bytes (at most NAME_SIZE) and zeros behind them, NAME_SIZE in all. */
static INLINE void copy_front(struct scratch *s, __u8 *to, const __u8 *from, __u64 size)
{
	const __u8 *mask = PLACE(s, OFFSET(mask) + MASK_ZEROS - size);

#define COPY(n) WORD(to, n) = WORD(from, n) & WORD(mask, n);
	SIXTEEN(COPY)
#undef COPY
}

#endif
