/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * owner: remembers of UDP sockets whether their maker's group is exempt, because the DNS program
 * can ask a socket for its user but not for its group; and tells who made them, while somebody
 * listens. Hook: socket() of processes of a cgroup.
 */
#include "owner.h"

#define TYPE_DATAGRAM 2

static INLINE __u32 standing(const struct policy *policy, __u16 generation, __u32 gid)
{
	__u32 flags = policy->flags;

	if (flags & POLICY_SIDECAR && gid == policy->sidecar_gid && is_where_it_lives(policy))
		return OWNER_EXCLUDED;
	if (flags & POLICY_EXCLUDE_GIDS && has_number(generation, NUMBER_EXCLUDE_GID, gid))
		return OWNER_EXCLUDED;
	if (flags & POLICY_INCLUDE_GIDS && has_number(generation, NUMBER_INCLUDE_GID, gid))
		return OWNER_INCLUDED;
	return 0;
}

/* tc, which tells of the queries, does not see who runs. */
static INLINE void tell_maker(struct bpf_sock *socket)
{
	struct event *event = event_begin(1);

	if (!event)
		return;
	event->kind = EVENT_SOCKET;
	event->uid = current_uid_gid();
	event->pid = current_pid_tgid() >> 32;
	event->cookie = socket_cookie(socket);
	current_comm(event->comm, sizeof(event->comm));
	ring_submit(event, 0);
}

static INLINE void remember(struct bpf_sock *socket)
{
	struct policy *policy;
	__u16 generation;
	__u32 owner;

	if (READ(socket, type) != TYPE_DATAGRAM)
		return;
	policy = policy_in_force(&generation);
	if (!policy)
		return;
	if (policy->netns_cookie && netns_cookie(socket) != policy->netns_cookie)
		return;
	tell_maker(socket);
	owner = standing(policy, generation, current_uid_gid() >> 32);
	if (owner)
		storage_get(MAP(MAP_OWNERS), socket, &owner, BPF_SK_STORAGE_GET_F_CREATE);
}

int owner(struct bpf_sock *socket)
{
	remember(socket);
	return 1;
}
