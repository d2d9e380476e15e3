/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * connect4, connect6: decide whether a connection is captured and, if it is, send it to the alias
 * of its destination (layout.h). Hooks: connect() of sockets of a cgroup. Built once for each.
 *
 * The rules are the plan's (interceptor/capture/order.py), and the first that holds wins there.
 * Here the cheap ones and the one that seldom holds, rule 7, are looked at first: what it does not
 * want goes on its way whatever the others say, and most connections are such.
 */
#include "flow.h"
#include "owner.h"

#define DNS_PORT 53
#define SOL_SOCKET 1 /* asm-generic/socket.h; the same wherever this package runs */
#define SO_BINDTODEVICE 25

#ifdef PROGRAM_CONNECT6
#define SIX 1
#else
#define SIX 0
#endif

/* One call of connect(), in the form that the rules are about. */
struct call {
	struct policy *policy;
	struct network_key key; /* address: the destination's, IPv4 as ::ffff:a.b.c.d */
	struct words to;        /* the same address */
	struct owner owner;
	__u16 generation;
	__u16 port; /* host byte order */
	__u8 mapped; /* an IPv4 destination */
	__u8 through; /* the source is bound to the sidecar's passthrough address */
};

/* Known when compiled for connect4: its context has no IPv6 fields that it may touch. */
#define IS_IPV4(call) (!SIX || (call)->mapped)

/* What becomes of a connection: TCP_*, and the way where it is captured. */
struct fate {
	__u32 result;
	__u32 way;
};

static INLINE int is_loopback(const struct call *call)
{
	if (IS_IPV4(call))
		return (NET32(call->to.w[3]) >> 24) == LOOPBACK_BYTE;
	return !call->to.w[0] && !call->to.w[1] && !call->to.w[2] && call->to.w[3] == NET32(1);
}

static INLINE int is_alias(const struct call *call)
{
	if (IS_IPV4(call))
		return alias4_way(call->to.w[3]) != 0;
	return alias6_way(call->to.w[0], call->to.w[1]) != 0;
}

/* Rule 2's exception: the sidecar calls this host's own service. */
static INLINE int calls_itself(struct call *call)
{
	return call->policy->flags & POLICY_SELF && !call->through && !is_loopback(call) &&
	       in_network(&call->key, NETWORK_OWN) &&
	       !has_number(call->generation, NUMBER_SELF_PORT_SPARED, call->port);
}

/* Rule 5. */
static INLINE int is_dns(struct call *call)
{
	__u32 flags = call->policy->flags;

	if (call->port != DNS_PORT || !(flags & POLICY_DNS))
		return 0;
	return flags & POLICY_DNS_ALL || in_network(&call->key, NETWORK_SERVER);
}

/* Rule 7, and of rule 6 what costs nothing. */
static INLINE int is_outbound(struct call *call)
{
	__u32 flags = call->policy->flags;

	if (!(flags & POLICY_OUTBOUND) || is_loopback(call))
		return 0;
	if (in_network(&call->key, NETWORK_OUTBOUND))
		return 1;
	return flags & POLICY_OUT_PORTS &&
	       has_number(call->generation, NUMBER_OUT_PORT, call->port);
}

/* Rule 6, the rest of it. */
static INLINE int is_spared(struct call *call)
{
	if (call->policy->flags & POLICY_OUT_PORTS_SPARED &&
	    has_number(call->generation, NUMBER_OUT_PORT_SPARED, call->port))
		return 1;
	return in_network(&call->key, NETWORK_OWN) || in_network(&call->key, NETWORK_SPARED);
}

/* Which way a connection goes that a rule captures, if it goes at all. */
static INLINE struct fate captured(const struct call *call, __u32 way)
{
	const struct policy *policy = call->policy;
	int must_live = way == WAY_DNS || policy->flags & POLICY_BYPASS;

	if (lease_is_over(policy))
		return (struct fate){ TCP_LEASE, 0 };
	if (must_live && !somebody_listens(way, !IS_IPV4(call)))
		return (struct fate){ TCP_BYPASS, 0 };
	/* WAY_OUTBOUND, WAY_INBOUND, WAY_DNS in the order of TCP_OUTBOUND, TCP_SELF, TCP_DNS */
	return (struct fate){ way - WAY_OUTBOUND + TCP_OUTBOUND, way };
}

static INLINE struct fate decide(struct call *call, __u32 mark)
{
	const struct fate pass = { TCP_PASS, 0 }, exempt = { TCP_EXEMPT, 0 };
	__u32 way;

	if (mark && mark == call->policy->mark)
		return exempt;
	/*
	 * Nobody calls an alias himself: a sidecar to whom `original` did not translate one would
	 * come back to itself for ever, and anybody else would get where rules do not let him.
	 */
	if (is_alias(call))
		return (struct fate){ TCP_REFUSED, WAY_OUTBOUND };
	if (is_sidecar(&call->owner, call->policy))
		return calls_itself(call) ? captured(call, WAY_INBOUND) : exempt;
	if (is_dns(call))
		way = WAY_DNS;
	else if (is_outbound(call))
		way = WAY_OUTBOUND;
	else
		return pass;
	if (call->through && (is_loopback(call) || in_network(&call->key, NETWORK_OWN)))
		return exempt; /* rule 3 */
	if (is_exempt(&call->owner, call->policy, call->generation))
		return exempt;
	if (way == WAY_OUTBOUND && is_spared(call))
		return pass;
	return captured(call, way);
}

/*
 * Rewrite the destination. Where there is no slot, or by TCP_REFUSED, to one that is nobody's: the
 * lookup program refuses it. Returns the result, which may be another now.
 */
static INLINE __u32 redirect(struct bpf_sock_addr *ctx, const struct call *call, struct fate fate)
{
	int refused = fate.result == TCP_REFUSED;

	if (IS_IPV4(call)) {
		__u32 slot = refused ? NOWHERE4 : alias4_slot(call->to.w[3]);
		__be32 alias = alias4_address(fate.way, slot);

		if (SIX)
			WRITE(ctx, user_ip6[3], alias);
		else
			WRITE(ctx, user_ip4, alias);
		return slot == NOWHERE4 && !refused ? TCP_FULL : fate.result;
	} else {
		__u64 slot = refused ? NOWHERE6 : alias6_slot(&call->to);
		struct words alias = alias6_address(fate.way, slot);

		WRITE(ctx, user_ip6[0], alias.w[0]);
		WRITE(ctx, user_ip6[1], alias.w[1]);
		WRITE(ctx, user_ip6[2], alias.w[2]);
		WRITE(ctx, user_ip6[3], alias.w[3]);
		return slot == NOWHERE6 && !refused ? TCP_FULL : fate.result;
	}
}

/* The sidecar is behind lo: a socket bound to another device would not get there. */
static INLINE void release_device(struct bpf_sock_addr *ctx, struct bpf_sock *socket)
{
	char none[4] = {};

	if (READ(socket, bound_dev_if))
		set_option(ctx, SOL_SOCKET, SO_BINDTODEVICE, none, sizeof(none));
}

/* Destination, and whether the source is 127.0.0.6 or ::6. False: a family left alone. */
static INLINE int read_addresses(struct bpf_sock_addr *ctx, struct bpf_sock *socket,
				 struct call *call)
{
	__u32 flags = call->policy->flags;

	if (SIX) {
		call->to.w[0] = READ(ctx, user_ip6[0]);
		call->to.w[1] = READ(ctx, user_ip6[1]);
		call->to.w[2] = READ(ctx, user_ip6[2]);
		call->to.w[3] = READ(ctx, user_ip6[3]);
		call->mapped = is_mapped(&call->to);
	} else {
		call->to = (struct words){ { 0, 0, MAPPED, READ(ctx, user_ip4) } };
		call->mapped = 1;
	}
	if (!(flags & (IS_IPV4(call) ? POLICY_IPV4 : POLICY_IPV6)))
		return 0;
	if (IS_IPV4(call))
		call->through = READ(socket, src_ip4) == NET32(0x7f000006);
	else
		call->through = !READ(socket, src_ip6[0]) && !READ(socket, src_ip6[1]) &&
				!READ(socket, src_ip6[2]) && READ(socket, src_ip6[3]) == NET32(6);
	return 1;
}

static INLINE void steer(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *socket = ctx->sk;
	struct call call;
	struct fate fate;

	if (READ(ctx, type) != TYPE_STREAM)
		return;
	if (READ(ctx, protocol) != PROTOCOL_TCP && READ(ctx, protocol) != PROTOCOL_MPTCP)
		return;
	call.policy = policy_in_force(&call.generation);
	if (!call.policy)
		return;
	if (call.policy->netns_cookie && netns_cookie(ctx) != call.policy->netns_cookie)
		return;
	if (!read_addresses(ctx, socket, &call))
		return;
	call.owner = current_owner();
	call.port = NET32(READ(ctx, user_port)) >> 16;
	call.key.prefixlen = 8 * (sizeof(call.key) - sizeof(call.key.prefixlen));
	call.key.generation = call.generation;
	__builtin_memcpy(&call.key.address, &call.to, sizeof(call.to));
	fate = decide(&call, READ(socket, mark));
	if (fate.way) {
		release_device(ctx, socket);
		fate.result = redirect(ctx, &call, fate);
	}
	count_tcp(fate.result);
	tell_call(ctx, fate.result, &call.key.address, call.port);
}

#ifdef PROGRAM_CONNECT4
int connect4(struct bpf_sock_addr *ctx)
{
	steer(ctx);
	return 1;
}
#endif

#ifdef PROGRAM_CONNECT6
int connect6(struct bpf_sock_addr *ctx)
{
	steer(ctx);
	return 1;
}
#endif
