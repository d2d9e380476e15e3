/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds the rules on who makes a connection: the process that runs, by user, group and
 * cgroup.
 */
#ifndef INTERCEPTOR_OWNER_H
#define INTERCEPTOR_OWNER_H

#include "policy.h"
#include "socket.h"

struct owner {
	__u32 uid;
	__u32 gid;
};

static INLINE struct owner current_owner(void)
{
	__u64 ids = current_uid_gid();

	return (struct owner){ ids, ids >> 32 };
}

static INLINE int bears_its_id(const struct owner *owner, const struct policy *policy)
{
	return policy->flags & POLICY_SIDECAR &&
	       (owner->uid == policy->sidecar_uid || owner->gid == policy->sidecar_gid);
}

/* Whether the caller is in the sidecar's cgroup, or the policy does not ask. */
static INLINE int is_where_it_lives(const struct policy *policy)
{
	__u64 wanted = policy->sidecar_cgroup;

	if (!(policy->flags & POLICY_CONFINED))
		return 1;
#define IS_IT(level) \
	if (current_ancestor_cgroup(level) == wanted) \
		return 1;
	IS_IT(0) IS_IT(1) IS_IT(2) IS_IT(3) IS_IT(4) IS_IT(5) IS_IT(6) IS_IT(7)
	IS_IT(8) IS_IT(9) IS_IT(10) IS_IT(11) IS_IT(12) IS_IT(13) IS_IT(14) IS_IT(15)
#undef IS_IT
	return 0;
}

/* Rule 2: by user or group alone somebody else would be exempt who runs as the same. */
static INLINE int is_sidecar(const struct owner *owner, const struct policy *policy)
{
	return bears_its_id(owner, policy) && is_where_it_lives(policy);
}

/* Whether the caller's cgroup is one of these or below one. CGROUPS of them, written out. */
static INLINE int is_below(const struct cgroup_ref *cgroups, __u32 count)
{
#define BELOW(n) \
	if (count > (n) && current_ancestor_cgroup(cgroups[n].level) == cgroups[n].id) \
		return 1;
	_Static_assert(CGROUPS == 8, "one line each");
	BELOW(0)
	BELOW(1)
	BELOW(2)
	BELOW(3)
	BELOW(4)
	BELOW(5)
	BELOW(6)
	BELOW(7)
	return 0;
}

/* Rule 4. With lists of included owners, whoever is in none of them is out. */
static INLINE int is_exempt(const struct owner *owner, const struct policy *policy,
			    __u16 generation)
{
	__u32 flags = policy->flags;

	if (flags & POLICY_EXCLUDE_UIDS && has_number(generation, NUMBER_EXCLUDE_UID, owner->uid))
		return 1;
	if (flags & POLICY_EXCLUDE_GIDS && has_number(generation, NUMBER_EXCLUDE_GID, owner->gid))
		return 1;
	if (is_below(policy->exclude, policy->excluded_cgroups))
		return 1;
	if (!(flags & (POLICY_INCLUDE_UIDS | POLICY_INCLUDE_GIDS)) && !policy->included_cgroups)
		return 0;
	if (flags & POLICY_INCLUDE_UIDS && has_number(generation, NUMBER_INCLUDE_UID, owner->uid))
		return 0;
	if (flags & POLICY_INCLUDE_GIDS && has_number(generation, NUMBER_INCLUDE_GID, owner->gid))
		return 0;
	return !is_below(policy->include, policy->included_cgroups);
}

#endif
