/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds what is told of a query: counters, events, and the way to the worker.
 */
#ifndef INTERCEPTOR_TELL_H
#define INTERCEPTOR_TELL_H

#include "exempt.h"

#define NOBODY (~0u)

static __u64 (*skb_cookie)(void *skb) = (void *)46;
static __u64 (*skb_cgroup)(void *skb) = (void *)79;

static INLINE void count_dns(const struct scratch *s, __u32 result)
{
	__u32 row = result * DNS_TYPES + s->type;
	__u64 *counter = map_lookup(MAP(MAP_DNS_COUNTS), &row);

	if (counter)
		*counter += 1; /* per CPU */
}

/*
 * A decision for whoever listens. Odd messages have neither name nor ends; those of a source and the
 * process's name are not written then. Who made the socket the owner program has told: each branch
 * here would be one for every way that leads here.
 */
static INLINE void tell_dns(struct __sk_buff *skb, struct scratch *s, __u32 result, __u32 place)
{
	struct event *event = event_begin(0);
	__u64 size = s->length;
	const __u8 *mask;

	if (!event)
		return;
	event->kind = EVENT_DNS;
	event->result = result;
	event->uid = place == PLACE_BRIDGE ? NOBODY : socket_uid(skb);
	event->ifindex = skb->ifindex;
	event->cookie = place == PLACE_BRIDGE ? 0 : skb_cookie(skb);
	event->cgroup = place == PLACE_BRIDGE ? 0 : skb_cgroup(skb);
	event->pid = 0;
	event->qtype = 0;
	event->port = 0;
	__builtin_memset(&event->address, 0, sizeof(event->address));
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
