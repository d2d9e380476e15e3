/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds the look-up of a name: mesh/directory.py's `find`, in its order, over keys whose
 * suffix is cut off. Let <own> be the namespace's suffix and <cluster> the mesh's (layout.h); a
 * key is what is left of a host's name when the longer of them that it ends in is cut off, with
 * the mark of that one; or the whole name. So for a name x there are these keys, in this order:
 *
 *   the host x            a + OWN if x = a.<own>; a + CLUSTER if x = a.<cluster>; else x + ROOT
 *   x.<domain>            if x has two dots and ends in .svc: a + OWN if x = a.<namespace>.svc,
 *                         a + CLUSTER if x = a.svc
 *   x.svc.<domain>        if x has a dot: a + OWN if x = a.<namespace>; else x + CLUSTER
 *   x.<namespace>.svc...  if x has one dot at most: x + OWN
 *   an extra name x       the first key again: the value there is VALUE_EXTRA where x is such a
 *                         name of some host and not a host itself. Under the three keys between, a
 *                         VALUE_EXTRA is somebody else's extra name and does not count.
 *
 * Then the same for x without each search domain that it ends in; then wildcards over the parents
 * of x, the longest first, then over those of x without each search domain.
 *
 * What is found by way of a search domain is answered by a CNAME, and a name like _port._tcp.host
 * by a host's ports: both are the worker's. For the latter it is enough that the name or the host
 * leads anywhere, by whichever key.
 */
#ifndef INTERCEPTOR_FIND_H
#define INTERCEPTOR_FIND_H

#include "name.h"
#include "policy.h"
#include "suffix.h"

#define ABSENT 0
#define FOUND_NAME 1   /* the question's own name: s->value is its value */
#define FOUND_SEARCH 2 /* without a search domain, s->value likewise */
#define TORN 3

#define CANDIDATES (1 + SEARCHES) /* the name, and the name without each search domain */
#define WILDCARDS 16 /* depths that are tried for one name; more than anybody's mesh has */

/* Copy a value, and see whether it is whole and this key's (layout.h: HASH_FACTOR). */
static INLINE int take_value(struct scratch *s, const __u8 *key, const void *value)
{
	__u64 hash = 0;

#define ADD_KEY(n) hash = (hash + WORD(key, n)) * HASH_FACTOR;
	SIXTEEN(ADD_KEY)
#undef ADD_KEY
#define ADD(n)                                                                    \
	{                                                                         \
		__u64 w = ((const volatile __u64 *)value)[(n) + 1];               \
		WORD(&s->value, (n) + 1) = w;                                     \
		hash = (hash + w) * HASH_FACTOR;                                  \
	}
	EIGHT(ADD, 0) EIGHT(ADD, 8) ADD(16) ADD(17) ADD(18) ADD(19) ADD(20)
#undef ADD
	_Static_assert(sizeof(struct name_value) == 22 * 8, "ADD covers the value");
	return hash == *(const volatile __u64 *)value;
}

/*
 * An element that is being replaced may be missed for an instant: it is looked for once more, if
 * the worker was writing in the meantime. Most names are nobody's, and every look-up counts there.
 */
static INLINE struct name_value *probe(struct scratch *s, void *map, __u64 offset)
{
	const __u8 *key = PLACE(s, offset);
	void *value = map_lookup(map, key);

	if (!value && (AGAIN(s->writes) & 1 || state(STATE_WRITES) != AGAIN(s->writes)))
		value = map_lookup(map, key);
	AGAIN(s->key_at) = offset;
	return value;
}

/* The value that was found under the key at key_at, whole: into s->value. It may have been replaced
 * meanwhile, or become another name's; then it is looked up once more. */
static INLINE int settle(struct scratch *s, void *map, struct name_value *value, int found)
{
	const __u8 *key = PLACE(s, AGAIN(s->key_at));

	if (!take_value(s, key, value)) {
		value = map_lookup(map, key);
		if (!value || !take_value(s, key, value))
			return TORN;
	}
	*PLACE(s, AGAIN(s->mark_at)) = MARK_ROOT;
	return (s->value.flags & VALUE_EXTRA) == AGAIN(s->extra) ? found : TORN;
}

/* A key to try: how many bytes of the base, and the mark behind them. 0: none. */
#define TRY(size, mark) ((__u32)(size) | (mark) << 8)
#define TRIES 5

static INLINE void note_tries(struct scratch *s, const struct base *base,
			      const struct locale *locale)
{
	__u64 whole = base->size - 1, before;
	__u32 try = TRY(whole, MARK_ROOT);

	before = before_suffix(s, base, &locale->suffixes[SUFFIX_OWN]);
	if (before) {
		try = TRY(before, MARK_OWN);
	} else {
		before = before_suffix(s, base, &locale->suffixes[SUFFIX_CLUSTER]);
		if (before)
			try = TRY(before, MARK_CLUSTER);
	}
	AGAIN(s->tries[0]) = try;
	try = 0;
	if (base->labels >= 3) {
		before = before_suffix(s, base, &locale->suffixes[SUFFIX_CLUSTER_SHORT]);
		if (before) {
			try = TRY(before, MARK_CLUSTER);
			before = before_suffix(s, base, &locale->suffixes[SUFFIX_OWN_SHORT]);
			if (before)
				try = TRY(before, MARK_OWN);
		}
	}
	AGAIN(s->tries[1]) = try;
	try = 0;
	if (base->labels >= 2) {
		before = before_suffix(s, base, &locale->suffixes[SUFFIX_NAMESPACE]);
		try = before ? TRY(before, MARK_OWN) : TRY(whole, MARK_CLUSTER);
	}
	AGAIN(s->tries[2]) = try;
	AGAIN(s->tries[3]) = base->labels <= 2 ? TRY(whole, MARK_OWN) : 0;
	AGAIN(s->tries[4]) = 0;
}

/* Look one key up. A key of the whole base is made in place: only the root's byte differs. */
static INLINE struct name_value *probe_try(struct scratch *s, void *map, const struct base *base,
					   __u32 try)
{
	__u64 size = MASKED(try, 0xff), mark_at = OFFSET(cut) + size, key_at = OFFSET(cut);

	if (size == base->size - 1) {
		key_at = base->offset;
		mark_at = key_at + size;
	} else {
		copy_front(s, s->cut, PLACE(s, base->offset), size);
	}
	*PLACE(s, mark_at) = try >> 8;
	AGAIN(s->mark_at) = mark_at;
	return probe(s, map, key_at);
}

/* directory.py, _named. */
static INLINE struct name_value *find_named(struct scratch *s, void *map, const struct base *base,
					    const struct locale *locale)
{
	__u32 n;

	note_tries(s, base, locale);
#pragma clang loop unroll(disable)
	for (n = 0; n < TRIES; n++) {
		__u32 try = AGAIN(s->tries[n]);
		struct name_value *value = try ? probe_try(s, map, base, try) : 0;

		if (value) {
			AGAIN(s->extra) = AGAIN(value->flags) & VALUE_EXTRA;
			if (!AGAIN(s->extra) || n == TRIES - 1)
				return value;
			if (n == 0)
				AGAIN(s->tries[TRIES - 1]) = try;
		}
		if (try)
			*PLACE(s, AGAIN(s->mark_at)) = MARK_ROOT;
	}
	return 0;
}

/* How many bits are set. */
static INLINE __u64 weight(__u64 x)
{
	x -= x >> 1 & 0x5555555555555555ull;
	x = (x & 0x3333333333333333ull) + (x >> 2 & 0x3333333333333333ull);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0full;
	return x * LANES >> 56;
}

/* directory.py, _wildcard: the parents of which the locale says that there may be some. */
static INLINE struct name_value *find_wild(struct scratch *s, void *map, const struct base *base,
			    const struct locale *locale)
{
	__u32 n;

	AGAIN(s->depths) = locale->wild_depths & ((1ull << MASKED(base->labels, 63)) - 1);
#pragma clang loop unroll(disable)
	for (n = 0; n < WILDCARDS; n++) {
		struct name_value *value;
		__u64 below = AGAIN(s->depths), label;

		if (!below)
			break;
		below |= below >> 1;
		below |= below >> 2;
		below |= below >> 4;
		below |= below >> 8;
		below |= below >> 16;
		below |= below >> 32;
		AGAIN(s->depths) = AGAIN(s->depths) & below >> 1;
		label = s->label[MASKED(base->labels + 1 - weight(below), LABELS - 1)];
		value = probe(s, map, base->offset + label);
		if (value)
			return value;
	}
	return 0;
}

/*
 * The base of a candidate: n counts the search domains from 1 on, 0 is for none. 0: the name has
 * no such end. What is left is copied, unless it is the whole name.
 */
static INLINE int candidate(struct scratch *s, struct base *base, const struct locale *locale,
			    __u32 n, __u32 shift)
{
	const struct base whole = { OFFSET(asked.name), s->name_length, s->labels, 0 };
	__u64 end = whole.size - 1, labels = whole.labels;

	*base = whole;
	if (!n && !shift)
		return 1;
	if (n) {
		if (!(locale->flags & LOCALE_HAS_SEARCH))
			return 0;
		end = before_suffix(s, &whole, &locale->suffixes[SUFFIX_SEARCH + n - 1]);
		if (end <= shift)
			return 0;
		labels = s->ordinal[MASKED(end, NAME_SIZE - 1)];
	}
	base->labels = labels - s->ordinal[MASKED(shift, NAME_SIZE - 1)];
	base->size = end - shift + 1;
	base->shift = shift;
	base->offset = OFFSET(rest.name);
	copy_front(s, s->rest.name, PLACE(s, OFFSET(asked.name) + shift),
		   MASKED(end - shift, NAME_SIZE - 1));
	return 1;
}

/* By names: the question's own, then without each search domain; for names of a service's port
 * the same for the host behind it. */
static INLINE int find_by_name(struct scratch *s, void *map, const struct locale *locale)
{
	struct name_value *value = 0;
	struct base base;
	__u32 n;

#pragma clang loop unroll(disable)
	for (n = 0; n < 2 * CANDIDATES; n++) {
		__u32 second = n >= CANDIDATES, shift = second ? AGAIN(s->service) : 0;

		if (second && !shift)
			break;
		AGAIN(s->search) = second ? n - CANDIDATES : n;
		if (candidate(s, &base, locale, second ? n - CANDIDATES : n, shift))
			value = find_named(s, map, &base, locale);
		if (value)
			break;
	}
	if (!value)
		return ABSENT;
	return settle(s, map, value, AGAIN(s->search) ? FOUND_SEARCH : FOUND_NAME);
}

static INLINE int find_by_wildcard(struct scratch *s, void *map, const struct locale *locale)
{
	struct name_value *value = 0;
	struct base base;
	__u32 n;

	AGAIN(s->extra) = 0;
	AGAIN(s->mark_at) = OFFSET(cut); /* none is set: any byte of no use */
#pragma clang loop unroll(disable)
	for (n = 0; n < CANDIDATES; n++) {
		AGAIN(s->search) = n;
		if (candidate(s, &base, locale, n, 0))
			value = find_wild(s, map, &base, locale);
		if (value)
			break;
	}
	if (!value)
		return ABSENT;
	return settle(s, map, value, AGAIN(s->search) ? FOUND_SEARCH : FOUND_NAME);
}

/* directory.py, find: ABSENT, FOUND_* with s->value, or TORN. */
static INLINE int find(struct scratch *s, __u32 view, const struct locale *locale)
{
	void *names = map_lookup(MAP(MAP_NAMES), &view), *wild = map_lookup(MAP(MAP_WILD), &view);
	int found;

	AGAIN(s->writes) = state(STATE_WRITES);
	if (!names || !wild)
		return ABSENT;
	found = find_by_name(s, names, locale);
	if (found != ABSENT || !(locale->flags & LOCALE_HAS_WILD))
		return found;
	return find_by_wildcard(s, wild, locale);
}

#endif
