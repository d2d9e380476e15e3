/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds the comparison of a name's end with a suffix of the locale.
 */
#ifndef INTERCEPTOR_SUFFIX_H
#define INTERCEPTOR_SUFFIX_H

#include "scratch.h"

/* A name to look for, as a part of the question's: the whole of it, or what is left when a host
 * is cut out of it (`shift` bytes before, a search domain behind). */
struct base {
	__u64 offset; /* in the scratch: OFFSET(asked.name) or OFFSET(rest.name) */
	__u64 size;   /* the root's byte included */
	__u64 labels;
	__u64 shift;
};

/* Whether a label begins at this place of the question's name. Places where none begins may hold
 * any ordinal, an earlier question's; so the label itself is asked. */
static INLINE int begins_at(struct scratch *s, __u64 place)
{
	__u64 ordinal = s->ordinal[MASKED(place, NAME_SIZE - 1)];

	return ordinal < s->labels && s->label[MASKED(ordinal, LABELS - 1)] == place;
}

#define NO_SUFFIX (-1)

/* Where the suffix begins in the base, at 0 if it is all of it; or NO_SUFFIX. */
static INLINE __s64 suffix_place(struct scratch *s, const struct base *base,
				 const struct suffix *suffix)
{
	__u64 size = suffix->length, differs = 0, place;
	const __u8 *tail, *mask;

	/* Every suffix ends in the same word as the name, and most differ there. */
	tail = PLACE(s, base->offset + base->size - SUFFIX_SIZE);
	mask = PLACE(s, OFFSET(mask) + MASKED(size, SUFFIX_SIZE * 2 - 1));
	if ((WORD(tail, 7) ^ WORD(suffix->bytes, 7)) & WORD(mask, 7))
		return NO_SUFFIX;
	if (!size || size > base->size)
		return NO_SUFFIX;
#define COMPARE(n) differs |= (WORD(tail, n) ^ WORD(suffix->bytes, n)) & WORD(mask, n);
	COMPARE(0) COMPARE(1) COMPARE(2) COMPARE(3) COMPARE(4) COMPARE(5) COMPARE(6)
#undef COMPARE
	if (differs)
		return NO_SUFFIX;
	place = base->size - size;
	return begins_at(s, place + base->shift) ? (__s64)place : NO_SUFFIX;
}

/* How many bytes stand before the suffix; 0 where it is absent, or all of the base. */
static INLINE __u64 before_suffix(struct scratch *s, const struct base *base,
				  const struct suffix *suffix)
{
	__s64 place = suffix_place(s, base, suffix);

	return place > 0 ? place : 0;
}

#endif
