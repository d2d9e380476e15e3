/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * dns_egress, dns_egress_l3, dns_lo, dns_bridge: queries for names of the mesh become their answers
 * where they pass; others are not touched. Hook: tcx, or clsact where the kernel has no tcx (before
 * 6.6): egress of uplinks and of lo, ingress of a container bridge. One program for each, which
 * differ in what precedes IP and in the way back.
 *
 * What the kernel answers: A, AAAA, ANY, and "no such data" with an SOA, for names with their
 * addresses at hand. What it hands over to the worker: what needs more than addresses (names with a
 * search domain, ExternalNames, ports, reverse names, own zones, a strange EDNS). The rest passes.
 */
#include "find.h"
#include "reply.h"
#include "reverse.h"
#include "tell.h"

static long (*redirect)(__u32 ifindex, __u64 flags) = (void *)23;

#define PASS (-1)  /* linux/pkt_cls.h, TC_ACT_UNSPEC: other filters of the device have their say */
#define ACCEPT 0   /* TC_ACT_OK */
#define DROP 2     /* TC_ACT_SHOT */
#define NOWHERE 0  /* no device has this index */
#define INGRESS 1  /* linux/bpf.h, BPF_F_INGRESS */

#define ETHERNET 14
#if defined(PROGRAM_DNS_EGRESS)
#define PROGRAM dns_egress
#define HERE PLACE_EGRESS
#define LINK ETHERNET
#elif defined(PROGRAM_DNS_EGRESS_L3)
#define PROGRAM dns_egress_l3
#define HERE PLACE_EGRESS
#define LINK 0
#elif defined(PROGRAM_DNS_LO)
#define PROGRAM dns_lo
#define HERE PLACE_LO
#define LINK ETHERNET
#elif defined(PROGRAM_DNS_BRIDGE)
#define PROGRAM dns_bridge
#define HERE PLACE_BRIDGE
#define LINK ETHERNET
#endif

#define IPV4 ((struct shape){ LINK, 0 })
#define IPV6 ((struct shape){ LINK, 1 })

/* Whether the name is in one of our own zones, or at its top. */
static INLINE int in_own_zone(struct scratch *s, const struct locale *locale)
{
	const struct base base = { OFFSET(asked.name), s->name_length, s->labels, 0 };

	if (!(locale->flags & LOCALE_HAS_ZONES))
		return 0;
#define IS_IN(n)                                                                               \
	if (suffix_place(s, &base, &locale->suffixes[SUFFIX_ZONES + (n)]) != NO_SUFFIX)        \
		return 1;
	IS_IN(0) IS_IN(1) IS_IN(2) IS_IN(3)
#undef IS_IN
	return 0;
}

/* mesh/answer.py, `decide`: DNS_ANSWER and DNS_NODATA with the answer made, else who is to. */
static INLINE int decide(struct scratch *s)
{
	__u32 view = state(STATE_VIEW) & 1, flags;
	struct locale *locale = map_lookup(MAP(MAP_LOCALE), &view);

	if (!locale || !state(STATE_HAS_VIEW))
		return DNS_NO_VIEW;
	AGAIN(s->found) = find(s, view, locale);
	if (AGAIN(s->found) == TORN)
		return DNS_TORN;
	if (AGAIN(s->found) == ABSENT) {
		if (locale->flags & LOCALE_HAS_POINTERS && is_pointed(s, view))
			return DNS_HANDOVER;
		return in_own_zone(s, locale) ? DNS_HANDOVER : DNS_PASS;
	}
	flags = s->value.flags;
	if (s->service)
		return DNS_HANDOVER;
	if (flags & VALUE_PASS)
		return DNS_PASS;
	if (flags & VALUE_HANDOVER || AGAIN(s->found) == FOUND_SEARCH || s->edns > 1)
		return DNS_HANDOVER;
	return answer_build(s, locale);
}

/* Everything but the verdict: DNS_*. */
static INLINE int judge(struct __sk_buff *skb, struct scratch *s)
{
	int result = exemption(skb, s, HERE);

	if (result >= 0)
		return result;
	result = question_read(s);
	if (result != QUESTION_READ)
		return result;
	return decide(s);
}

static INLINE int send_back(struct __sk_buff *skb)
{
	if (HERE == PLACE_LO)
		return ACCEPT; /* it is delivered here anyway, by the route that it has */
	skb->mark = 0; /* the query's, not the answer's */
	return redirect(skb->ifindex, HERE == PLACE_BRIDGE ? 0 : INGRESS);
}

/*
 * Gone, but no error to whoever sent it, which DROP would be. tcx knows no TC_ACT_STOLEN (it is
 * TCX_NEXT to it: the packet goes on), and a packet that is sent to no device is freed as quietly
 * (net/core/filter.c, skb_do_redirect).
 */
static INLINE int take_away(void)
{
	return redirect(NOWHERE, 0);
}

/* The way in and the way out are written for each family, what is between them for both. */
static INLINE int is_to_judge(struct __sk_buff *skb, struct scratch *s)
{
	if (skb->protocol == NET16(ETHERTYPE_IPV6))
		return packet_open(skb, s, IPV6);
	return packet_open(skb, s, IPV4);
}

static INLINE int act(struct __sk_buff *skb, struct scratch *s)
{
	int result;

	if (AGAIN(s->result) == DNS_HANDOVER && !hand_over(skb, s, HERE))
		AGAIN(s->result) = DNS_NO_WORKER;
	if (AGAIN(s->result) <= DNS_NODATA)
		AGAIN(s->result) = AGAIN(s->six) ? reply_write(skb, s, IPV6, AGAIN(s->result)) :
						   reply_write(skb, s, IPV4, AGAIN(s->result));
	result = AGAIN(s->result);
	count_dns(s, result);
	tell_dns(skb, s, result, HERE);
	if (result <= DNS_NODATA)
		return send_back(skb);
	if (result == DNS_HANDOVER)
		return take_away();
	return result == DNS_ERROR ? DROP : PASS;
}

int PROGRAM(struct __sk_buff *skb)
{
	struct scratch *s;

	if (!(skb->protocol == NET16(ETHERTYPE_IPV4) && is_dns(skb, IPV4)) &&
	    !(skb->protocol == NET16(ETHERTYPE_IPV6) && is_dns(skb, IPV6)))
		return PASS;
	s = scratch_open();
	if (!s)
		return PASS;
	AGAIN(s->result) = is_to_judge(skb, s) ? judge(skb, s) : DNS_ODD;
	return act(skb, s);
}
