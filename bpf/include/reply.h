/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds the query's change into its answer: headers turned round, lengths and checksums,
 * and the bytes back into the packet.
 *
 * Whether the device or we make the UDP checksum is not to be seen from here. So it is only ever
 * corrected by what has changed, right for both; turned addresses and ports change nothing.
 */
#ifndef INTERCEPTOR_REPLY_H
#define INTERCEPTOR_REPLY_H

#include "answer.h"

static long (*packet_store)(void *skb, __u64 at, const void *from, __u64 size,
			   __u64 flags) = (void *)9;
static long (*checksum_correct)(void *skb, __u64 at, __u64 from, __u64 to,
			       __u64 flags) = (void *)11;
static __s64 (*difference)(void *from, __u64 from_size, void *to, __u64 to_size,
			  __u64 seed) = (void *)28;
static long (*packet_resize)(void *skb, __u64 size, __u64 flags) = (void *)38;

#define FLAG_QR 0x8000u
#define FLAG_AA 0x0400u
#define FLAG_RD 0x0100u
#define FLAG_RA 0x0080u
#define FLAG_CD 0x0010u
#define PSEUDO_HEADER 0x10 /* linux/bpf.h, BPF_F_PSEUDO_HDR */
#define SPARE_ZERO 0x20    /* linux/bpf.h, BPF_F_MARK_MANGLED_0: no checksum stays none */

#define SWAP(type, one, other)                 \
	{                                      \
		type first = *(type *)(one);   \
		*(type *)(one) = *(type *)(other); \
		*(type *)(other) = first;      \
	}

static INLINE void turn_headers(struct scratch *s, struct shape shape)
{
	__u8 *ip = ip_begin(s, shape), *udp = s->packet + UDP_AT, *link = ip - 14;

	if (shape.link) {
		SWAP(half, link, link + 6)
		SWAP(quarter, link + 4, link + 10)
	}
	if (shape.six) {
		SWAP(word, ip + 8, ip + 24)
		SWAP(word, ip + 16, ip + 32)
	} else {
		SWAP(half, ip + 12, ip + 16)
	}
	SWAP(quarter, udp, udp + 2)
}

/* A sum of 16-bit words with its carries, as 16 bits (RFC 1071). */
static INLINE __u32 fold(__u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32 & 0xffff) + (sum >> 48);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* A 16-bit field in network order gets a value: what that adds to a checksum's sum. */
static INLINE __u64 replace16(__u8 *at, __u32 value)
{
	__u16 old = *(quarter *)at, new = NET16((__u16)value);

	*(quarter *)at = new;
	return (__u16)~old + new;
}

/* The IP header's length, and with IPv4 its checksum. */
static INLINE void resize_ip(struct scratch *s, struct shape shape, __u32 udp_size)
{
	__u8 *ip = ip_begin(s, shape);
	__u64 sum;

	if (shape.six) {
		replace16(ip + 4, udp_size);
		return;
	}
	sum = replace16(ip + 2, IPV4_HEADER + udp_size);
	sum += (__u16)~*(quarter *)(ip + 10);
	*(quarter *)(ip + 10) = ~fold(sum);
}

/* What the change from the old to the new bytes behind the question adds to the sum. */
static INLINE __u64 tail_difference(struct scratch *s, __u64 question_end)
{
	__u64 old_size = s->length - question_end, new_size = s->reply_length;
	__u8 *old = s->packet + DNS_AT + MASKED(question_end, 0xff);
	__s64 sum;

	*(word *)(old + MASKED(old_size, 0x3ff)) = 0;
	*(word *)(s->reply + MASKED(new_size, 0x1ff)) = 0;
	old_size = MASKED(old_size + 3, 0x1fc);
	new_size = MASKED(new_size + 3, 0x1fc);
	sum = difference(old, old_size, 0, 0, 0);
	sum = difference(0, 0, s->reply, new_size, sum);
	/* A sum of bytes that begin at an odd place has its bytes the other way round. */
	if (question_end & 1)
		sum = (sum & 0xff) << 24 | (sum >> 8 & 0xffffff);
	return (__u32)sum;
}

/* The DNS header's flags and counts; what that adds to the sum. */
static INLINE __u64 turn_message(struct scratch *s, int result)
{
	__u8 *dns = s->packet + DNS_AT;
	__u32 kept = TAKE16(dns, 2) & (FLAG_RD | FLAG_CD);
	__u64 sum = replace16(dns + 2, FLAG_QR | FLAG_AA | FLAG_RA | kept);

	sum += replace16(dns + 6, answer_count(s));
	sum += replace16(dns + 8, result == DNS_NODATA);
	return sum; /* additional records: one, if there was one */
}

/* Headers, and behind the question what answer.h has made. 0: done; else the packet is spoilt. */
static INLINE long store(struct __sk_buff *skb, struct scratch *s, struct shape shape,
			 __u64 tail_at)
{
	__u64 size = MASKED(AGAIN(s->reply_length), 0x1ff);

	if (packet_store(skb, 0, packet_begin(s, shape), dns_offset(shape) + 12, 0))
		return -1;
	/* No reply is shorter than an A record. To kernels up to 6.1, "not 0" would be no lower bound. */
	OPAQUE(size);
	if (size < A_SIZE)
		return -1;
	return packet_store(skb, tail_at, s->reply, size, 0);
}

/* DNS_PASS: nothing was changed after all; DNS_ERROR: the packet is spoilt; else the result. */
static INLINE int reply_write(struct __sk_buff *skb, struct scratch *s, struct shape shape,
			      int result)
{
	__u64 question_end = MASKED(AGAIN(s->name_length), 0xff) + 16;
	__u32 tail_at = dns_offset(shape) + question_end;
	__u32 checksum_at = dns_offset(shape) - 2;
	__u32 udp_size = UDP_HEADER + question_end + s->reply_length;
	__u64 sum, length;

	if (s->length - question_end > 508)
		return DNS_PASS; /* more than a checksum is made of at once */
	sum = tail_difference(s, question_end);
	if (packet_resize(skb, tail_at + s->reply_length, 0))
		return DNS_PASS;
	sum += turn_message(s, result);
	length = replace16(s->packet + UDP_AT + 4, udp_size);
	resize_ip(s, shape, udp_size);
	turn_headers(s, shape);
	if (store(skb, s, shape, tail_at) ||
	    checksum_correct(skb, checksum_at, 0, fold(length), PSEUDO_HEADER | SPARE_ZERO) ||
	    checksum_correct(skb, checksum_at, 0, fold(sum + length), SPARE_ZERO))
		return DNS_ERROR;
	return result;
}

#endif
