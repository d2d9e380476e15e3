/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds the answer's records, byte for byte those of interceptor/dns/wire.py and
 * reply.py: what stands behind the question, into s->reply.
 */
#ifndef INTERCEPTOR_ANSWER_H
#define INTERCEPTOR_ANSWER_H

#include "name.h"
#include "suffix.h"

static __u32 (*random32)(void) = (void *)7;

#define OWNER 0xc00cu /* pointer to the question's name */
#define POINTER 0xc000u
#define TYPE_SOA 6
#define OWN_UDP_SIZE 1232
#define A_SIZE 16
#define AAAA_SIZE 28
#define SOA_RDATA 12 /* where the data of the SOA begins: its owner is a pointer */
#define SOA_REFRESH_S 7200
#define SOA_RETRY_S 1800
#define SOA_EXPIRE_S 86400

/* At most: 8 A, 8 AAAA, OPT. So that with NAME_SIZE every answer is below 512 bytes: none is ever
 * truncated, whatever size the client takes. */
_Static_assert(ADDRESSES * (A_SIZE + AAAA_SIZE) + OPT_SIZE + NAME_SIZE + 16 <= 512, "it fits");

#define PUT32(at, n, value) (((half *)(at))[n] = NET32((__u32)(value)))

/* Owner, type, class, TTL, length of data: the first twelve bytes of a record. */
static INLINE void put_front(__u8 *at, __u32 owner, __u32 type, __u32 ttl_s, __u32 size)
{
	PUT32(at, 0, owner << 16 | type);
	PUT32(at, 1, CLASS_IN << 16 | ttl_s >> 16);
	PUT32(at, 2, ttl_s << 16 | size);
}

/* With which of `count` the answer begins. */
static INLINE __u64 turn(__u64 count)
{
	return random32() * count >> 32;
}

static INLINE __u64 put_v4(struct scratch *s, __u32 ttl_s)
{
	__u64 count = s->value.count4, from = turn(count);
	__u8 *to = s->reply;

#define PUT(n)                                                                            \
	if ((n) < count) {                                                                \
		put_front(to + A_SIZE * (n), OWNER, TYPE_A, ttl_s, 4);                    \
		((half *)(to + A_SIZE * (n)))[3] = s->value.v4[MASKED(from, ADDRESSES - 1)]; \
		from = from + 1 < count ? from + 1 : 0;                                   \
	}
	EIGHT(PUT, 0)
#undef PUT
	return MASKED(count, 15) * A_SIZE;
}

/* Behind A records (of an ANY) the order is the table's, as reply.py has it. */
static INLINE __u64 put_v6(struct scratch *s, __u32 ttl_s, __u64 at)
{
	__u64 count = s->value.count6, from = at ? 0 : turn(count);
	__u8 *to = s->reply + MASKED(at, 0xff);

#define PUT(n)                                                                            \
	if ((n) < count) {                                                                \
		half *address = (half *)&s->value.v6[MASKED(from, ADDRESSES - 1)];        \
		half *data = (half *)(to + AAAA_SIZE * (n));                              \
		put_front(to + AAAA_SIZE * (n), OWNER, TYPE_AAAA, ttl_s, 16);             \
		data[3] = address[0];                                                     \
		data[4] = address[1];                                                     \
		data[5] = address[2];                                                     \
		data[6] = address[3];                                                     \
		from = from + 1 < count ? from + 1 : 0;                                   \
	}
	EIGHT(PUT, 0)
#undef PUT
	return MASKED(at, 0xff) + MASKED(count, 15) * AAAA_SIZE;
}

/* Where the zone of a negative answer begins in the name: mesh/answer.py, `_zone`. */
static INLINE __u64 zone_place(struct scratch *s, const struct locale *locale)
{
	const struct base base = { OFFSET(asked.name), s->name_length, s->labels, 0 };
	__s64 place;

#define ZONE(n)                                                         \
	place = suffix_place(s, &base, &locale->suffixes[n]);           \
	if (place >= 0)                                                 \
		return place;
	if (locale->flags & LOCALE_HAS_ZONES) {
		ZONE(SUFFIX_ZONES) ZONE(SUFFIX_ZONES + 1)
		ZONE(SUFFIX_ZONES + 2) ZONE(SUFFIX_ZONES + 3)
	}
	ZONE(SUFFIX_DOMAIN)
#undef ZONE
	return 0;
}

#define PUT_AT(s, at, type, value) \
	(*(type *)((s)->reply + MASKED(at, 0x7f)) = (value))
#define TEXT8(a, b, c, d, e, f, g, h) \
	(LABEL4(a, b, c, d) | (__u64)LABEL4(e, f, g, h) << 32)
#define LABEL_DNS LABEL4(3, 'd', 'n', 's')
#define LABEL_NS LABEL4(2, 'n', 's', 0)
#define LABEL_HOSTMAS TEXT8(10, 'h', 'o', 's', 't', 'm', 'a', 's')
#define LABEL_TER LABEL4('t', 'e', 'r', 0)

/* A pointer to some place of the question's name. */
static INLINE __u64 put_pointer(struct scratch *s, __u64 at, __u64 place)
{
	PUT_AT(s, at, quarter, NET16(POINTER | (12 + place)));
	return at + 2;
}

/*
 * The names of the SOA: "ns.dns.<zone>" and "hostmaster.<zone>". A question may hold a tail of
 * one of them itself ("api.dns.cluster.local"), and a name is written only once.
 */
static INLINE __u64 put_soa_names(struct scratch *s, __u64 zone)
{
	__u64 ordinal = zone ? s->ordinal[MASKED(zone, NAME_SIZE - 1)] : 0, at = SOA_RDATA;
	__u64 before = ordinal >= 1 ? s->label[MASKED(ordinal - 1, LABELS - 1)] : 0;
	__u64 second = ordinal >= 2 ? s->label[MASKED(ordinal - 2, LABELS - 1)] : 0;
	const __u8 *label = PLACE(s, OFFSET(asked.name) + before);

	if (ordinal >= 1 && *(half *)label == LABEL_DNS) {
		half first = *(half *)PLACE(s, OFFSET(asked.name) + second);

		if (ordinal >= 2 && (first & NET32(0xffffff00)) == LABEL_NS) {
			at = put_pointer(s, at, second);
		} else {
			PUT_AT(s, at, half, LABEL_NS);
			at = put_pointer(s, at + 3, before);
		}
	} else {
		PUT_AT(s, at, word, TEXT8(2, 'n', 's', 3, 'd', 'n', 's', 0));
		at = put_pointer(s, at + 7, zone);
	}
	if (ordinal >= 1 && *(word *)label == LABEL_HOSTMAS &&
	    (*(half *)(label + 8) & NET32(0xffffff00)) == LABEL_TER)
		return put_pointer(s, at, before);
	PUT_AT(s, at, word, LABEL_HOSTMAS);
	PUT_AT(s, at + 8, half, LABEL_TER);
	return put_pointer(s, at + 11, zone);
}

static INLINE __u64 put_soa(struct scratch *s, const struct locale *locale)
{
	__u64 zone = zone_place(s, locale), at = put_soa_names(s, zone);

	PUT_AT(s, at, half, NET32(1)); /* serial */
	PUT_AT(s, at + 4, half, NET32(SOA_REFRESH_S));
	PUT_AT(s, at + 8, half, NET32(SOA_RETRY_S));
	PUT_AT(s, at + 12, half, NET32(SOA_EXPIRE_S));
	PUT_AT(s, at + 16, half, NET32(locale->ttl_s));
	at += 20;
	put_front(s->reply, POINTER | (12 + zone), TYPE_SOA, locale->ttl_s, at - SOA_RDATA);
	return at;
}

/* Our OPT: version 0, no options, DO as the client set it. */
static INLINE __u64 put_opt(struct scratch *s, __u64 at)
{
	__u8 *to = s->reply + MASKED(at, 0x1ff);

	PUT32(to, 0, TYPE_OPT << 8 | OWN_UDP_SIZE >> 8);
	PUT32(to, 1, (__u32)(OWN_UDP_SIZE & 0xff) << 24 | (s->dnssec ? 0x80 : 0));
	PUT32(to, 2, 0);
	return at + OPT_SIZE;
}

/* The records for a value in s->value: DNS_ANSWER or DNS_NODATA. */
static INLINE int answer_build(struct scratch *s, const struct locale *locale)
{
	__u32 qtype = s->qtype, ttl_s = locale->ttl_s;
	__u64 at = 0;
	int result = DNS_ANSWER;

	if (qtype == TYPE_A || qtype == TYPE_ANY)
		at = put_v4(s, ttl_s);
	AGAIN(s->reply_length) = at;
	if (qtype == TYPE_AAAA || qtype == TYPE_ANY)
		AGAIN(s->reply_length) = put_v6(s, ttl_s, AGAIN(s->reply_length));
	if (!AGAIN(s->reply_length)) {
		AGAIN(s->reply_length) = put_soa(s, locale);
		result = DNS_NODATA;
	}
	at = AGAIN(s->reply_length);
	if (s->edns)
		AGAIN(s->reply_length) = put_opt(s, at);
	return result;
}

/* How many records the answer section has. */
static INLINE __u32 answer_count(const struct scratch *s)
{
	__u32 v4 = s->qtype == TYPE_A || s->qtype == TYPE_ANY ? s->value.count4 : 0;
	__u32 v6 = s->qtype == TYPE_AAAA || s->qtype == TYPE_ANY ? s->value.count6 : 0;

	return v4 + v6;
}

#endif
