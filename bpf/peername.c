/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * peername4, peername6: an application sees the destination that it called, not the alias. Hooks:
 * getpeername() of sockets of a cgroup. They keep
 * no state: whatever copied the peer's address (MPTCP, a duplicate, a child) is answered.
 */
#include "alias.h"
#include "socket.h"

#ifdef PROGRAM_PEERNAME4
static INLINE void translate4(struct bpf_sock_addr *ctx)
{
	__be32 peer = READ(ctx, user_ip4), *destination;

	if (!alias4_way(peer))
		return;
	destination = alias4_find(peer);
	if (destination)
		WRITE(ctx, user_ip4, *destination);
}

int peername4(struct bpf_sock_addr *ctx)
{
	translate4(ctx);
	return 1;
}
#endif

#ifdef PROGRAM_PEERNAME6
static INLINE void translate_mapped(struct bpf_sock_addr *ctx)
{
	__be32 peer = READ(ctx, user_ip6[3]), *destination;

	if (READ(ctx, user_ip6[1]) || READ(ctx, user_ip6[2]) != MAPPED || !alias4_way(peer))
		return;
	destination = alias4_find(peer);
	if (destination)
		WRITE(ctx, user_ip6[3], *destination);
}

static INLINE void translate6(struct bpf_sock_addr *ctx)
{
	__be32 first = READ(ctx, user_ip6[0]);
	struct words *destination;

	if (!first) {
		translate_mapped(ctx);
		return;
	}
	if (!alias6_way(first, READ(ctx, user_ip6[1])))
		return;
	destination = alias6_find(READ(ctx, user_ip6[2]), READ(ctx, user_ip6[3]));
	if (!destination)
		return;
	WRITE(ctx, user_ip6[0], destination->w[0]);
	WRITE(ctx, user_ip6[1], destination->w[1]);
	WRITE(ctx, user_ip6[2], destination->w[2]);
	WRITE(ctx, user_ip6[3], destination->w[3]);
}

int peername6(struct bpf_sock_addr *ctx)
{
	translate6(ctx);
	return 1;
}
#endif
