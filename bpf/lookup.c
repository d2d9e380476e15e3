/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * lookup: brings to the sidecar's listeners what is connected to an alias, whatever its port, and
 * what arrives for this host's captured ports (rule 8). Hook: the look-up of a listener in the
 * network namespace. An alias never falls to somebody's wildcard listener: no sidecar, no socket.
 *
 * lookup_plain is the same for kernels before 5.17, which do not tell a packet's interface: it
 * knows no excluded interfaces, and whence a packet comes only by its source address.
 */
#include "flow.h"

#define LO 1 /* lo's index in every network namespace */

/* Who connects to what. */
struct arrival {
	struct words local;
	struct words remote;
	__u32 port; /* the local one, host byte order */
	__u32 remote_port; /* likewise */
	int six;
};

static INLINE void read_arrival(struct bpf_sk_lookup *ctx, struct arrival *arrival)
{
	arrival->six = READ(ctx, family) == FAMILY_INET6;
	arrival->port = READ(ctx, local_port);
	arrival->remote_port = NET32(READ(ctx, remote_port)) >> 16;
	if (!arrival->six) {
		arrival->local = (struct words){ { 0, 0, MAPPED, READ(ctx, local_ip4) } };
		arrival->remote = (struct words){ { 0, 0, MAPPED, READ(ctx, remote_ip4) } };
		return;
	}
	arrival->local.w[0] = READ(ctx, local_ip6[0]);
	arrival->local.w[1] = READ(ctx, local_ip6[1]);
	arrival->local.w[2] = READ(ctx, local_ip6[2]);
	arrival->local.w[3] = READ(ctx, local_ip6[3]);
	arrival->remote.w[0] = READ(ctx, remote_ip6[0]);
	arrival->remote.w[1] = READ(ctx, remote_ip6[1]);
	arrival->remote.w[2] = READ(ctx, remote_ip6[2]);
	arrival->remote.w[3] = READ(ctx, remote_ip6[3]);
}

/* Of this host beyond doubt. ::6 is what the sidecar's inbound connections come from (order.py). */
static INLINE int is_loopback(const struct words *address, int six)
{
	if (!six)
		return NET32(address->w[3]) >> 24 == LOOPBACK_BYTE;
	return !address->w[0] && !address->w[1] && !address->w[2] &&
	       (address->w[3] == NET32(1) || address->w[3] == NET32(6));
}

static INLINE int is_own(const struct words *address, __u16 generation)
{
	struct network_key key = { .prefixlen = 8 * (sizeof(key) - sizeof(key.prefixlen)),
				   .generation = generation };

	__builtin_memcpy(&key.address, address, sizeof(*address));
	return in_network(&key, NETWORK_OWN);
}

/* An alias is for this host's applications only: others may not reach the sidecar by it. */
static INLINE int is_from_here(struct bpf_sk_lookup *ctx, const struct arrival *arrival)
{
#ifdef PROGRAM_LOOKUP
	return READ(ctx, ingress_ifindex) == LO;
#else
	__u16 generation;

	return is_loopback(&arrival->remote, arrival->six) ||
	       (policy_in_force(&generation) && is_own(&arrival->remote, generation));
#endif
}

static INLINE int is_excluded_interface(struct bpf_sk_lookup *ctx, const struct policy *policy,
					__u16 generation)
{
#ifdef PROGRAM_LOOKUP
	return policy->flags & POLICY_INTERFACES &&
	       has_number(generation, NUMBER_IN_INTERFACE_SPARED, READ(ctx, ingress_ifindex));
#else
	return 0;
#endif
}

/* Give the connection to the listener of a way. A listener of both families serves both. */
static INLINE int hand_over(struct bpf_sk_lookup *ctx, __u32 way, int six)
{
	struct bpf_sock *listener = listener_of(way, six);
	long refused;

	if (!listener)
		return 0;
	refused = assign(ctx, listener, 0);
	socket_release(listener);
	return !refused;
}

static INLINE void tell(const struct arrival *arrival, __u32 kind, __u32 result,
			const struct words *address)
{
	__u64 ports = arrival->remote_port << 16 | arrival->port;

	tell_arrival(kind, result, &arrival->remote, address, ports);
}

/* The destination that the alias stands for. 0: nobody made this one. */
static INLINE int translate(const struct arrival *arrival, struct words *to)
{
	struct words *destination6;
	__be32 *destination4;

	if (arrival->six) {
		destination6 = alias6_find(arrival->local.w[2], arrival->local.w[3]);
		if (destination6)
			*to = *destination6;
		return destination6 != 0;
	}
	destination4 = alias4_find(arrival->local.w[3]);
	if (destination4)
		to->w[3] = *destination4;
	return destination4 != 0;
}

static INLINE int to_alias(struct bpf_sk_lookup *ctx, const struct arrival *arrival, __u32 way)
{
	struct words to = { { 0, 0, MAPPED, 0 } };

	if (translate(arrival, &to) && is_from_here(ctx, arrival) &&
	    hand_over(ctx, way, arrival->six)) {
		tell(arrival, EVENT_ALIAS, way - WAY_OUTBOUND + TCP_OUTBOUND, &to);
		return SK_PASS;
	}
	count_tcp(TCP_REFUSED);
	tell(arrival, EVENT_ALIAS, TCP_REFUSED, &to);
	return SK_DROP;
}

/* Rule 8. TCP_INBOUND: it is for the sidecar. */
static INLINE __u32 decide(struct bpf_sk_lookup *ctx, const struct policy *policy,
			   __u16 generation, const struct arrival *arrival)
{
	if (has_number(generation, NUMBER_IN_PORT_SPARED, arrival->port))
		return TCP_INBOUND_PASS;
	if (!(policy->flags & POLICY_INBOUND_ALL) &&
	    !has_number(generation, NUMBER_IN_PORT, arrival->port))
		return TCP_INBOUND_PASS;
	if (is_loopback(&arrival->remote, arrival->six) || !is_own(&arrival->local, generation) ||
	    is_own(&arrival->remote, generation))
		return TCP_INBOUND_PASS;
	if (is_excluded_interface(ctx, policy, generation))
		return TCP_INBOUND_PASS;
	return lease_is_over(policy) ? TCP_LEASE : TCP_INBOUND;
}

static INLINE int arriving(struct bpf_sk_lookup *ctx, const struct arrival *arrival)
{
	struct policy *policy;
	__u16 generation;
	__u32 result;
	int verdict = SK_PASS;

	policy = policy_in_force(&generation);
	if (!policy || !(policy->flags & POLICY_INBOUND) ||
	    !(policy->flags & (arrival->six ? POLICY_IPV6 : POLICY_IPV4)))
		return SK_PASS;
	result = decide(ctx, policy, generation, arrival);
	if (result == TCP_INBOUND && !hand_over(ctx, WAY_INBOUND, arrival->six)) {
		if (!(policy->flags & POLICY_BYPASS)) {
			result = TCP_REFUSED;
			verdict = SK_DROP;
		} else {
			result = TCP_INBOUND_PASS;
		}
	}
	count_tcp(result);
	tell(arrival, EVENT_LOOKUP, result, &arrival->local);
	return verdict;
}

static INLINE int choose(struct bpf_sk_lookup *ctx)
{
	struct arrival arrival;
	__u32 way;

	if (READ(ctx, protocol) != PROTOCOL_TCP)
		return SK_PASS;
	read_arrival(ctx, &arrival);
	way = arrival.six ? alias6_way(arrival.local.w[0], arrival.local.w[1]) :
			    alias4_way(arrival.local.w[3]);
	return way ? to_alias(ctx, &arrival, way) : arriving(ctx, &arrival);
}

#ifdef PROGRAM_LOOKUP
int lookup(struct bpf_sk_lookup *ctx)
#else
int lookup_plain(struct bpf_sk_lookup *ctx)
#endif
{
	return choose(ctx);
}
