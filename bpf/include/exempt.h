/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds rules 2 to 5 of the plan for DNS: whose queries are left alone, and which
 * servers' are answered (interceptor/capture/order.py).
 */
#ifndef INTERCEPTOR_EXEMPT_H
#define INTERCEPTOR_EXEMPT_H

#include "packet.h"
#include "policy.h"

static __u32 (*socket_uid)(void *skb) = (void *)47;
static __u64 (*ancestor_cgroup)(void *skb, int level) = (void *)83;
static void *(*full_socket)(void *socket) = (void *)95;
static void *(*owner_get)(void *map, void *socket, void *value, __u64 flags) = (void *)107;

#define PASSTHROUGH4 0x7f000006 /* rule 3: Envoy's inbound passthrough binds to 127.0.0.6, ::6 */

static INLINE int in_cgroups(struct __sk_buff *skb, const struct cgroup_ref *refs, __u32 count)
{
#define IS_BELOW(n)                                                                  \
	if (count > (n) && ancestor_cgroup(skb, refs[n].level) == refs[n].id)        \
		return 1;
	EIGHT(IS_BELOW, 0)
#undef IS_BELOW
	_Static_assert(CGROUPS == 8, "IS_BELOW is written out");
	return 0;
}

/* OWNER_* of the socket, by the group that made it. */
static INLINE __u32 owner_of(struct __sk_buff *skb, __u32 flags)
{
	struct bpf_sock *socket = skb->sk;
	__u32 *owner;

	if (!(flags & (POLICY_SIDECAR | POLICY_EXCLUDE_GIDS | POLICY_INCLUDE_GIDS)) || !socket)
		return 0;
	socket = full_socket(socket);
	if (!socket)
		return 0;
	owner = owner_get(MAP(MAP_OWNERS), socket, 0, 0);
	return owner ? *owner : 0;
}

/* Whether the socket is of the sidecar's cgroup, or the policy does not ask. */
static INLINE int is_where_it_lives(struct __sk_buff *skb, const struct policy *policy)
{
	__u64 wanted = policy->sidecar_cgroup;

	if (!(policy->flags & POLICY_CONFINED))
		return 1;
#define IS_IT(level)                                                                 \
	if (ancestor_cgroup(skb, level) == wanted)                                   \
		return 1;
	EIGHT(IS_IT, 0) EIGHT(IS_IT, 8)
#undef IS_IT
	return 0;
}

/* Rules 2 and 4. */
static INLINE int owner_is_exempt(struct __sk_buff *skb, const struct policy *policy,
				  __u16 generation)
{
	__u32 flags = policy->flags, uid, owner;

	if (policy->mark && skb->mark == policy->mark)
		return 1;
	uid = socket_uid(skb);
	if (flags & POLICY_SIDECAR && uid == policy->sidecar_uid && is_where_it_lives(skb, policy))
		return 1;
	owner = owner_of(skb, flags);
	if (owner & OWNER_EXCLUDED ||
	    (flags & POLICY_EXCLUDE_UIDS && has_number(generation, NUMBER_EXCLUDE_UID, uid)) ||
	    in_cgroups(skb, policy->exclude, policy->excluded_cgroups))
		return 1;
	if (!(flags & (POLICY_INCLUDE_UIDS | POLICY_INCLUDE_GIDS)) && !policy->included_cgroups)
		return 0;
	if ((flags & POLICY_INCLUDE_UIDS && has_number(generation, NUMBER_INCLUDE_UID, uid)) ||
	    (flags & POLICY_INCLUDE_GIDS && owner & OWNER_INCLUDED) ||
	    in_cgroups(skb, policy->include, policy->included_cgroups))
		return 0;
	return 1;
}

/* Rule 3. */
static INLINE int came_through(struct scratch *s)
{
	const half *from4 = (half *)(s->packet + IPV4_AT + 12);
	const half *from6 = (half *)(s->packet + IPV6_AT + 8);

	if (!s->six)
		return from4[0] == NET32(PASSTHROUGH4);
	return !from6[0] && !from6[1] && !from6[2] && from6[3] == NET32(6);
}

/* DNS_EXEMPT, DNS_LEASE, or -1 for a query that is looked at. */
static INLINE int exemption(struct __sk_buff *skb, struct scratch *s, __u32 place)
{
	__u16 generation;
	struct policy *policy = policy_in_force(&generation);

	if (!policy || !(policy->flags & POLICY_DNS) ||
	    !(policy->flags & (s->six ? POLICY_IPV6 : POLICY_IPV4)))
		return DNS_EXEMPT;
	if (lease_is_over(policy))
		return DNS_LEASE;
	if (place != PLACE_BRIDGE) {
		/* Without a socket it is a stranger's, on its way through this host. */
		if (!skb->sk || owner_is_exempt(skb, policy, generation))
			return DNS_EXEMPT;
		if (place == PLACE_LO && came_through(s))
			return DNS_EXEMPT;
	}
	if (policy->flags & POLICY_DNS_ALL)
		return -1;
	s->server.prefixlen = 8 * (sizeof(s->server) - sizeof(s->server.prefixlen));
	s->server.generation = generation;
	return in_network(&s->server, NETWORK_SERVER) ? -1 : DNS_EXEMPT;
}

#endif
