/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds a question's reading: the name, its labels, its type, EDNS. It takes exactly
 * what interceptor/dns/wire.py takes (`parse`), and calls the rest odd.
 */
#ifndef INTERCEPTOR_NAME_H
#define INTERCEPTOR_NAME_H

#include "packet.h"

/* QR, OPCODE, TC and RCODE must all be zero in a plain query. */
#define ODD_FLAGS 0xfa0f
#define CLASS_IN 1
#define TYPE_A 1
#define TYPE_PTR 12
#define TYPE_TXT 16
#define TYPE_AAAA 28
#define TYPE_SRV 33
#define TYPE_OPT 41
#define TYPE_HTTPS 65
#define TYPE_ANY 255
#define OPT_SIZE 11
#define LABEL_SIZE 63
#define LABELS (NAME_SIZE / 2)
#define OPTIONS 16 /* EDNS options of one query; clients send three at most */

#define LANES 0x0101010101010101ull /* times a byte: that byte in each of a word's eight */
#define HIGH (0x80 * LANES)
#define LOW (0x7f * LANES)

#define QUESTION_READ (-1) /* else DNS_ODD or DNS_LONG */

/* The lengths of the labels, until the root's. A dot's code is 46: labels so long are counted. */
static INLINE int walk(struct scratch *s, __u64 *like_dots)
{
	__u64 at = 0, size = s->length - 12, likes = 0;
	__u32 n;

#pragma clang loop unroll(disable)
	for (n = 0; n < LABELS; n++) {
		__u64 length;

		if (at >= size)
			return DNS_ODD;
		if (at >= NAME_SIZE)
			return DNS_LONG;
		at = MASKED(at, NAME_SIZE - 1);
		length = s->packet[NAME_AT + at];
		if (!length)
			break;
		if (length > LABEL_SIZE)
			return DNS_ODD;
		OPAQUE(length);
		s->label[n] = at;
		s->ordinal[at] = n;
		likes += ((length ^ '.') - 1) >> 63;
		at += 1 + length;
	}
	s->labels = n;
	s->name_length = at + 1;
	*like_dots = likes;
	return QUESTION_READ;
}

/* Lower case for each byte of 'A' to 'Z'; the others, all below 0x80, stay as they are. */
static INLINE __u64 lower(__u64 w)
{
	__u64 upper = ((w + (0x80 - 'A') * LANES) ^ (w + (0x80 - 'Z' - 1) * LANES)) & HIGH;

	return w | upper >> 2;
}

/* 1 in each byte that is a dot. */
static INLINE __u64 dots(__u64 w)
{
	w ^= '.' * LANES;
	return (~(((w & LOW) + LOW) | w) & HIGH) >> 7;
}

/*
 * The name in lower case into s->asked. Lengths are below 'A', so that the whole wire format may
 * be lowered. Not taken: bytes that are not ASCII, and dots within labels.
 */
static INLINE int take_name(struct scratch *s)
{
	__u64 like_dots, seen = 0, found = 0, size;
	const __u8 *mask;
	int read = walk(s, &like_dots);

	if (read != QUESTION_READ)
		return read;
	if (AGAIN(s->labels) < 1)
		return DNS_ODD;
	if (AGAIN(s->labels) >= LABELS)
		return DNS_LONG;
	size = MASKED(AGAIN(s->name_length), 0xff);
	mask = PLACE(s, OFFSET(mask) + MASK_ZEROS - size);
#define LOWER(n)                                                              \
	{                                                                     \
		__u64 w = WORD(s->packet + NAME_AT, n) & WORD(mask, n);       \
		seen |= w;                                                    \
		found += dots(w);                                             \
		WORD(s->asked.name, n) = lower(w);                            \
	}
	SIXTEEN(LOWER)
#undef LOWER
	if (seen & HIGH)
		return DNS_ODD;
	return (found * LANES) >> 56 == like_dots ? QUESTION_READ : DNS_ODD;
}

/* The one additional record must be a sound OPT at the very end (RFC 6891 §6.1). */
static INLINE int take_edns(struct scratch *s, __u64 at)
{
	__u64 size = s->length;
	const __u8 *opt;
	__u32 n;

	if (at + OPT_SIZE > size)
		return DNS_ODD;
	opt = s->packet + DNS_AT + MASKED(at, 0xff);
	if (TAKE8(opt, 0) || TAKE16(opt, 1) != TYPE_OPT || at + OPT_SIZE + TAKE16(opt, 9) != size)
		return DNS_ODD;
	s->edns = 1 + TAKE8(opt, 6);
	s->dnssec = TAKE8(opt, 7) & 0x80;
	at += OPT_SIZE;
#pragma clang loop unroll(disable)
	for (n = 0; n < OPTIONS; n++) {
		if (at + 4 > size)
			break;
		at = MASKED(at, 0x3ff);
		at += 4 + TAKE16(s->packet, DNS_AT + 2 + at);
	}
	return at == size ? QUESTION_READ : DNS_ODD;
}

static INLINE __u32 type_row(__u32 qtype)
{
	switch (qtype) {
	case TYPE_A:
		return DNS_TYPE_A;
	case TYPE_AAAA:
		return DNS_TYPE_AAAA;
	case TYPE_PTR:
		return DNS_TYPE_PTR;
	case TYPE_SRV:
		return DNS_TYPE_SRV;
	case TYPE_HTTPS:
		return DNS_TYPE_HTTPS;
	case TYPE_TXT:
		return DNS_TYPE_TXT;
	case TYPE_ANY:
		return DNS_TYPE_ANY;
	}
	return DNS_TYPE_OTHER;
}

/* A label as a number: its length, then its bytes, which are few. */
#define LABEL4(length, a, b, c) NET32((__u32)(length) << 24 | (a) << 16 | (b) << 8 | (c))
#define LABEL_TCP (LABEL4(4, '_', 't', 'c') | (__u64)'p' << 32)
#define LABEL_UDP (LABEL4(4, '_', 'u', 'd') | (__u64)'p' << 32)

static INLINE int is_transport(struct scratch *s, __u64 at)
{
	__u64 label = *(word *)PLACE(s, OFFSET(asked.name) + at) & 0xffffffffffull;

	return label == LABEL_TCP || label == LABEL_UDP;
}

/* Where the host begins in the names of mesh/answer.py, _about_service_port: behind "_tcp." or
 * "_port._tcp."; 0 for every other name. */
static INLINE __u32 service_host(struct scratch *s)
{
	if (s->asked.name[1] != '_')
		return 0;
	if (s->labels >= 2 && is_transport(s, 0))
		return s->label[1];
	return s->labels >= 3 && is_transport(s, s->label[1]) ? s->label[2] : 0;
}

/* The whole message: QUESTION_READ with all of it in the scratch, else DNS_ODD or DNS_LONG. */
static INLINE int question_read(struct scratch *s)
{
	const __u8 *dns = s->packet + DNS_AT, *behind;
	__u32 additionals = TAKE16(dns, 10);
	__u64 at;
	int read;

	if (TAKE16(dns, 2) & ODD_FLAGS || TAKE16(dns, 4) != 1 || *(half *)(dns + 6) ||
	    additionals > 1)
		return DNS_ODD;
	read = take_name(s);
	if (read != QUESTION_READ)
		return read;
	at = MASKED(AGAIN(s->name_length), 0xff);
	behind = s->packet + NAME_AT + at;
	at += 12 + 4;
	if (at > s->length || TAKE16(behind, 2) != CLASS_IN)
		return DNS_ODD;
	s->qtype = TAKE16(behind, 0);
	s->type = type_row(s->qtype);
	s->service = service_host(s);
	s->edns = 0;
	s->dnssec = 0;
	if (additionals)
		return take_edns(s, at);
	return at == s->length ? QUESTION_READ : DNS_ODD;
}

#endif
