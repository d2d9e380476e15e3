/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds the way of a packet into the scratch: which packets are DNS queries over UDP,
 * and their headers. Packets are never read or written in place but for the first look: one direct
 * write would make the kernel copy every packet of the device before it is sent.
 */
#ifndef INTERCEPTOR_PACKET_H
#define INTERCEPTOR_PACKET_H

#include "scratch.h"

static long (*packet_load)(void *skb, __u64 offset, void *to, __u64 size) = (void *)26;

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define PROTOCOL_UDP 17
#define DNS_PORT 53
#define UDP_HEADER 8
#define IPV4_HEADER 20
#define IPV6_HEADER 40
#define FRAGMENT 0x3fff /* more fragments, or an offset; not "don't fragment" */
#define SMALLEST_MESSAGE 17 /* header, a name of one byte, type, class: what wire.py asks for */

#define TAKE8(at, offset) (*((__u8 *)(at) + (offset)))
#define TAKE16(at, offset) NET16(*(quarter *)((__u8 *)(at) + (offset)))
#define TAKE32(at, offset) NET32(*(half *)((__u8 *)(at) + (offset)))
#define PUT16(at, offset, value) (*(quarter *)((__u8 *)(at) + (offset)) = NET16(value))

/* How a packet lies: what precedes IP, and whether that is IPv6. */
struct shape {
	__u32 link; /* bytes of the link-layer header */
	__u32 six;
};

static INLINE __u32 ip_size(struct shape shape)
{
	return shape.six ? IPV6_HEADER : IPV4_HEADER;
}

static INLINE __u32 dns_offset(struct shape shape)
{
	return shape.link + ip_size(shape) + UDP_HEADER;
}

/* Where the packet's first byte stands in the scratch. */
static INLINE __u8 *packet_begin(struct scratch *s, struct shape shape)
{
	return s->packet + DNS_AT - dns_offset(shape);
}

static INLINE __u8 *ip_begin(struct scratch *s, struct shape shape)
{
	return s->packet + (shape.six ? IPV6_AT : IPV4_AT);
}

/* Whether it is UDP to port 53, by a look at the headers. Every packet of the device comes here. */
static INLINE int is_dns(struct __sk_buff *skb, struct shape shape)
{
	__u8 *at = (__u8 *)(long)skb->data, *end = (__u8 *)(long)skb->data_end;
	__u32 protocol = shape.six ? 6 : 9, port = ip_size(shape) + 2;
	__u8 number = 0;
	__be16 port_be = 0;

	if (at + shape.link + port + 2 <= end) {
		number = TAKE8(at, shape.link + protocol);
		port_be = *(quarter *)(at + shape.link + port);
	} else if (packet_load(skb, shape.link + protocol, &number, 1) ||
		   packet_load(skb, shape.link + port, &port_be, 2)) {
		return 0;
	}
	return number == PROTOCOL_UDP && port_be == NET16(DNS_PORT);
}

/* An address of the packet, as keys have it. */
static INLINE void note_address(half *to, const half *from, struct shape shape)
{
	if (shape.six) {
		to[0] = from[0];
		to[1] = from[1];
		to[2] = from[2];
		to[3] = from[3];
	} else {
		to[0] = 0;
		to[1] = 0;
		to[2] = NET32(0xffff);
		to[3] = from[0];
	}
}

/* Both ends: an answer's headers are written over them. */
static INLINE void note_ends(struct scratch *s, struct shape shape)
{
	const __u8 *ip = ip_begin(s, shape);

	note_address((half *)&s->server.address, (half *)(ip + (shape.six ? 24 : 16)), shape);
	note_address((half *)&s->source, (half *)(ip + (shape.six ? 8 : 12)), shape);
	s->source_port = TAKE16(s->packet, UDP_AT);
}

/* Multicast, and broadcast: what is asked of everybody is not for one to answer. */
static INLINE int is_for_many(const __u8 *ip, struct shape shape)
{
	if (shape.six)
		return TAKE8(ip, 24) == 0xff;
	return TAKE8(ip, 16) >> 4 == 0xe || TAKE32(ip, 16) == 0xffffffff;
}

/* Whether the headers are plain and agree on the message's length, which is noted. */
static INLINE int headers_are_plain(struct __sk_buff *skb, struct scratch *s, struct shape shape)
{
	__u8 *ip = ip_begin(s, shape);
	__u32 whole, udp = TAKE16(s->packet, UDP_AT + 4);

	if (shape.six) {
		if (TAKE8(ip, 0) >> 4 != 6 || TAKE8(ip, 6) != PROTOCOL_UDP)
			return 0;
		whole = IPV6_HEADER + TAKE16(ip, 4);
	} else {
		if (TAKE8(ip, 0) != 0x45 || TAKE8(ip, 9) != PROTOCOL_UDP ||
		    TAKE16(ip, 6) & FRAGMENT)
			return 0;
		whole = TAKE16(ip, 2);
	}
	if (is_for_many(ip, shape))
		return 0;
	if (whole != ip_size(shape) + udp || shape.link + whole > skb->len)
		return 0;
	if (udp < UDP_HEADER + SMALLEST_MESSAGE || udp > UDP_HEADER + MAXIMUM_MESSAGE)
		return 0;
	s->length = udp - UDP_HEADER;
	return 1;
}

/* Bring a query into the scratch. 0: it is odd, and not to be looked at. */
static INLINE int packet_open(struct __sk_buff *skb, struct scratch *s, struct shape shape)
{
	__u64 size = skb->len;

	s->six = shape.six;
	s->length = 0;
	s->type = DNS_TYPE_OTHER;
	s->qtype = 0;
	if (skb->vlan_present || skb->gso_size)
		return 0;
	OPAQUE(size);
	if (size < dns_offset(shape) + SMALLEST_MESSAGE)
		return 0;
	OPAQUE(size);
	if (size > dns_offset(shape) + MAXIMUM_MESSAGE)
		return 0;
	if (packet_load(skb, 0, packet_begin(s, shape), size))
		return 0;
	note_ends(s, shape);
	return headers_are_plain(skb, s, shape);
}

#endif
