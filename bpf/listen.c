/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * listen: every socket of the agent's cgroup that begins to listen on one of the plan's ports
 * registers itself for the lookup program; the kernel takes it out again when it is closed. So a
 * sidecar that starts anew needs nobody. Hook: socket operations of a cgroup.
 */
#include "alias.h"
#include "policy.h"
#include "socket.h"

static INLINE __u32 way_of(const struct policy *policy, __u32 port)
{
	if (port == policy->outbound_port)
		return WAY_OUTBOUND;
	if (port == policy->inbound_port)
		return WAY_INBOUND;
	return port == policy->dns_port ? WAY_DNS : 0;
}

/*
 * [::] serves IPv4 too, unless it is set not to, which cannot be seen here: it takes IPv4's place
 * while that is free, a true IPv4 listener whenever it comes.
 */
static INLINE void register_listener(struct bpf_sock_ops *ctx)
{
	struct policy *policy;
	struct words local;
	__u32 index, way;
	__u16 generation;

	policy = policy_in_force(&generation);
	if (!policy)
		return;
	if (policy->netns_cookie && netns_cookie(ctx) != policy->netns_cookie)
		return;
	way = way_of(policy, READ(ctx, local_port));
	if (!way)
		return;
	index = (way - WAY_OUTBOUND) * 2;
	if (READ(ctx, family) == FAMILY_INET) {
		listener_update(ctx, MAP(MAP_LISTENERS), &index, BPF_ANY);
		return;
	}
	local.w[0] = READ(ctx, local_ip6[0]);
	local.w[1] = READ(ctx, local_ip6[1]);
	local.w[2] = READ(ctx, local_ip6[2]);
	local.w[3] = READ(ctx, local_ip6[3]);
	if (is_mapped(&local)) {
		listener_update(ctx, MAP(MAP_LISTENERS), &index, BPF_ANY);
		return;
	}
	if (!local.w[0] && !local.w[1] && !local.w[2] && !local.w[3])
		listener_update(ctx, MAP(MAP_LISTENERS), &index, BPF_NOEXIST);
	index += 1;
	listener_update(ctx, MAP(MAP_LISTENERS), &index, BPF_ANY);
}

int listen(struct bpf_sock_ops *ctx)
{
	if (READ(ctx, op) == BPF_SOCK_OPS_TCP_LISTEN_CB)
		register_listener(ctx);
	return 1;
}
