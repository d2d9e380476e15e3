/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds the policy's reading: the rules in force, their sets, the lease.
 */
#ifndef INTERCEPTOR_POLICY_H
#define INTERCEPTOR_POLICY_H

#include "helper.h"
#include "layout.h"

static INLINE __u64 state(__u32 index)
{
	__u64 *value = map_lookup(MAP(MAP_STATE), &index);

	return value ? *(volatile __u64 *)value : 0;
}

/*
 * An event's place in the ring, with its time; 0 where nobody listens. `whole`: all else is zero,
 * and what finds no room is counted. Not so for the DNS programs: either would double, or more, what
 * the verifier has to do; and their queries are counted anyway.
 */
static INLINE struct event *event_begin(int whole)
{
	__u64 now_ns, until_ns = state(STATE_TRACE_NS), *untold;
	__u32 index = STATE_UNTOLD;
	struct event *event;

	if (!until_ns)
		return 0;
	now_ns = time_ns();
	if (now_ns >= until_ns)
		return 0;
	event = ring_reserve(MAP(MAP_EVENTS), sizeof(*event), 0);
	if (!event && whole) {
		untold = map_lookup(MAP(MAP_STATE), &index);
		if (untold)
			__sync_fetch_and_add(untold, 1);
	}
	if (!event)
		return 0;
	if (whole)
		__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = now_ns;
	return event;
}

/* The rules in force and their generation, which keys of NUMBERS and NETWORKS bear. */
static INLINE struct policy *policy_in_force(__u16 *generation)
{
	__u32 index = state(STATE_GENERATION) & 1;

	*generation = index;
	return map_lookup(MAP(MAP_POLICY), &index);
}

static INLINE int has_number(__u16 generation, __u16 kind, __u32 value)
{
	struct number_key key = { .kind = kind, .generation = generation, .value = value };

	return map_lookup(MAP(MAP_NUMBERS), &key) != 0;
}

/* Whether the key's address is in a network of that kind; the key's kind is set. */
static INLINE int in_network(struct network_key *key, __u16 kind)
{
	key->kind = kind;
	return map_lookup(MAP(MAP_NETWORKS), key) != 0;
}

/* The daemon has been silent for too long, and the policy says to let go then. */
static INLINE int lease_is_over(const struct policy *policy)
{
	__u64 beat_ns = state(STATE_BEAT_NS);

	return policy->flags & POLICY_RELEASE && time_ns() > beat_ns + policy->lease_ns;
}

#endif
