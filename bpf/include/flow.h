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

/* The process is told where it is the one that runs; a packet that arrives is nobody's (uid ~0). */
static INLINE void tell_tcp(__u32 kind, __u32 result, __u32 uid, const struct in6 *address,
			    __u16 port)
{
	struct event *event;
	__u64 now_ns, until_ns = state(STATE_TRACE_NS);

	if (!until_ns)
		return;
	now_ns = time_ns();
	if (now_ns > until_ns)
		return;
	event = ring_reserve(MAP(MAP_EVENTS), sizeof(*event), 0);
	if (!event)
		return;
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = now_ns;
	event->kind = kind;
	event->result = result;
	event->uid = uid;
	event->port = port;
	event->address = *address;
	if (kind == EVENT_CONNECT)
		event->pid = current_pid_tgid() >> 32;
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
