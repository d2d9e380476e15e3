/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds what is told of a query: counters, events, and the way to the worker.
 */
#ifndef INTERCEPTOR_TELL_H
#define INTERCEPTOR_TELL_H

#include "exempt.h"

#define NOBODY (~0u)

static __u64 (*skb_cgroup)(void *skb) = (void *)79;

static INLINE void count_dns(const struct scratch *s, __u32 result)
{
	__u32 row = result * DNS_TYPES + s->type;
	__u64 *counter = map_lookup(MAP(MAP_DNS_COUNTS), &row);

	if (counter)
		*counter += 1; /* per CPU */
}

/* Who asks: the socket's user, cgroup, and maker where the owner program has seen that. */
static INLINE void tell_asker(struct __sk_buff *skb, struct event *event)
{
	struct bpf_sock *socket = skb->sk;
	struct maker *maker;

	if (!socket)
		return;
	event->uid = socket_uid(skb);
	event->cgroup = skb_cgroup(skb);
	socket = full_socket(socket);
	if (!socket)
		return;
	maker = owner_get(MAP(MAP_MAKERS), socket, 0, 0);
	if (!maker)
		return;
	event->pid = maker->pid;
	WORD(event->comm, 0) = WORD(maker->comm, 0);
	WORD(event->comm, 1) = WORD(maker->comm, 1);
}

/* A decision for whoever listens. Odd messages have neither name nor ends. */
static INLINE void tell_dns(struct __sk_buff *skb, struct scratch *s, __u32 result, __u32 place)
{
	struct event *event = event_begin();
	__u64 size = s->length;
	const __u8 *mask;

	if (!event)
		return;
	event->kind = EVENT_DNS;
	event->result = result;
	event->uid = NOBODY;
	event->ifindex = skb->ifindex;
	if (place != PLACE_BRIDGE)
		tell_asker(skb, event);
	if (size) {
		event->qtype = s->qtype;
		event->address = s->server.address;
		event->source = s->source;
		event->source_port = s->source_port;
	}
	size = size > 12 ? size - 12 : 0;
	size = size < NAME_SIZE ? size : NAME_SIZE;
	mask = PLACE(s, OFFSET(mask) + MASK_ZEROS - MASKED(size, 0xff));
#define NAME(n) WORD(event->name, n) = WORD(s->packet + NAME_AT, n) & WORD(mask, n);
	SIXTEEN(NAME)
#undef NAME
	ring_submit(event, 0);
}

/* Give the query to the worker: 1, if there is one that takes it. */
static INLINE int hand_over(struct __sk_buff *skb, struct scratch *s, __u32 place)
{
	__u64 seen_ns = state(STATE_WORKER_NS);
	__u64 ip_at = AGAIN(s->six) ? IPV6_AT : IPV4_AT, size;
	__u8 *begin = s->packet + ip_at - __builtin_offsetof(struct handover, packet);
	struct handover *record = (struct handover *)begin;

	if (!seen_ns || time_ns() > seen_ns + WORKER_PATIENCE_NS)
		return 0;
	size = DNS_AT - ip_at + s->length;
	record->length = size;
	record->ifindex = skb->ifindex;
	record->place = place;
	record->pad = 0;
	size = MASKED(size + __builtin_offsetof(struct handover, packet), PACKET_SIZE - 1);
	return !ring_output(MAP(MAP_HANDOVER), record, size, 0);
}

#endif
