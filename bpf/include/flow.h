/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds what is told of a connection: counters, events, and who listens for the sidecar.
 */
#ifndef INTERCEPTOR_FLOW_H
#define INTERCEPTOR_FLOW_H

#include "alias.h"
#include "policy.h"
#include "socket.h"

static INLINE void count_tcp(__u32 result)
{
	__u64 *counter = map_lookup(MAP(MAP_TCP_COUNTS), &result);

	if (counter)
		*counter += 1; /* per CPU */
}

/* A call, and who makes it: the process that runs. */
static INLINE void tell_call(void *ctx, __u32 result, const struct in6 *address, __u16 port)
{
	struct event *event = event_begin(1);

	if (!event)
		return;
	event->kind = EVENT_CONNECT;
	event->result = result;
	event->address = *address;
	event->port = port;
	event->uid = current_uid_gid();
	event->pid = current_pid_tgid() >> 32;
	event->cookie = socket_cookie(ctx);
	event->cgroup = current_cgroup();
	current_comm(event->comm, sizeof(event->comm));
	ring_submit(event, 0);
}

/* What arrives is nobody's; ``source`` and ``address`` as keys have them. */
static INLINE void tell_arrival(__u32 kind, __u32 result, const struct words *source,
				const struct words *address, __u64 ports)
{
	struct event *event = event_begin(1);

	if (!event)
		return;
	event->kind = kind;
	event->result = result;
	event->uid = ~0u;
	__builtin_memcpy(&event->source, source, sizeof(event->source));
	__builtin_memcpy(&event->address, address, sizeof(event->address));
	event->source_port = ports >> 16;
	event->port = ports;
	ring_submit(event, 0);
}

/* The listener for a way and family: a reference that socket_release gives back, or 0. */
static INLINE struct bpf_sock *listener_of(__u32 way, int six)
{
	__u32 index = (way - WAY_OUTBOUND) * 2 + six;

	return map_lookup(MAP(MAP_LISTENERS), &index);
}

static INLINE int somebody_listens(__u32 way, int six)
{
	struct bpf_sock *listener = listener_of(way, six);

	if (!listener)
		return 0;
	socket_release(listener);
	return 1;
}

#endif
