/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * original: SO_ORIGINAL_DST for the sidecar and the TCP/53 responder, without conntrack. Hook:
 * getsockopt() of sockets of the agent's cgroup, after the kernel's own answer.
 */
#include "alias.h"
#include "policy.h"
#include "socket.h"

#define SOL_IP 0
#define SOL_IPV6 41
#define SO_ORIGINAL_DST 80 /* linux/netfilter_ipv4.h; IP6T_SO_ORIGINAL_DST is the same */
#define LARGEST 4096       /* of an option that the kernel shows to programs whole */

/* struct sockaddr_in and sockaddr_in6 (linux/in.h, linux/in6.h), in words. */
struct answer4 {
	__u16 family;
	__be16 port;
	__be32 address;
	__u32 zero[2];
};

struct answer6 {
	__u16 family;
	__be16 port;
	__be32 flow;
	struct words address;
	__u32 scope;
};

static INLINE void answer4(struct bpf_sockopt *ctx, __be16 port, __be32 address)
{
	struct answer4 *answer = ctx->optval;

	if ((void *)(answer + 1) > ctx->optval_end)
		return;
	*answer = (struct answer4){ FAMILY_INET, port, address, {} };
	WRITE(ctx, optlen, sizeof(*answer));
	WRITE(ctx, retval, 0);
}

static INLINE void answer6(struct bpf_sockopt *ctx, __be16 port, const struct words *address)
{
	struct answer6 *answer = ctx->optval;

	if ((void *)(answer + 1) > ctx->optval_end)
		return;
	*answer = (struct answer6){ FAMILY_INET6, port, 0, *address, 0 };
	WRITE(ctx, optlen, sizeof(*answer));
	WRITE(ctx, retval, 0);
}

/* Arrived as it is, by the lookup program: on none of the ports that the sidecar listens on. */
static INLINE int is_inbound(__u32 port)
{
	__u16 generation;
	struct policy *policy = policy_in_force(&generation);

	return policy && port != policy->outbound_port && port != policy->inbound_port &&
	       port != policy->dns_port;
}

/* The destination of a connection that the kernel itself says nothing about, or an alias of. */
static INLINE int find(struct bpf_sockopt *ctx, struct bpf_sock *socket, struct words *local)
{
	struct words *destination6;
	__be32 *destination4;

	if (is_mapped(local)) {
		if (!alias4_way(local->w[3]))
			return READ(ctx, retval) && is_inbound(READ(socket, src_port));
		destination4 = alias4_find(local->w[3]);
		if (destination4)
			local->w[3] = *destination4;
		return destination4 != 0;
	}
	if (!alias6_way(local->w[0], local->w[1]))
		return READ(ctx, retval) && is_inbound(READ(socket, src_port));
	destination6 = alias6_find(local->w[2], local->w[3]);
	if (destination6)
		*local = *destination6;
	return destination6 != 0;
}

static INLINE void answer(struct bpf_sockopt *ctx, __s32 level)
{
	struct bpf_sock *socket = ctx->sk;
	struct words local = { { 0, 0, MAPPED, 0 } };
	__be16 port;

	if (!socket || READ(socket, type) != TYPE_STREAM)
		return;
	if (READ(socket, family) == FAMILY_INET6) {
		local.w[0] = READ(socket, src_ip6[0]);
		local.w[1] = READ(socket, src_ip6[1]);
		local.w[2] = READ(socket, src_ip6[2]);
		local.w[3] = READ(socket, src_ip6[3]);
	} else {
		local.w[3] = READ(socket, src_ip4);
	}
	port = NET32(READ(socket, src_port)) >> 16;
	if (!find(ctx, socket, &local))
		return;
	if (level == SOL_IPV6)
		answer6(ctx, port, &local);
	else if (is_mapped(&local))
		answer4(ctx, port, local.w[3]);
}

int original(struct bpf_sockopt *ctx)
{
	__s32 level = READ(ctx, level);

	/* The kernel would fail whatever is larger, did we not tell it to keep its own answer. */
	if (READ(ctx, optlen) > LARGEST)
		WRITE(ctx, optlen, 0);
	else if (READ(ctx, optname) == SO_ORIGINAL_DST && (level == SOL_IP || level == SOL_IPV6))
		answer(ctx, level);
	return 1;
}
