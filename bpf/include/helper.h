/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds what every program needs of the kernel and of the compiler: helpers by their
 * numbers (linux/bpf.h, enum bpf_func_id), references to maps, byte order, and barriers.
 * Names are our own: bcc includes headers before ours that own bpf_* and more.
 */
#ifndef INTERCEPTOR_HELPER_H
#define INTERCEPTOR_HELPER_H

#include <linux/bpf.h>
#include <linux/types.h>

#define INLINE inline __attribute__((always_inline))

/* A map by its number in layout.h; the loader puts its file descriptor here. */
#define MAP(number) ((void *)bpf_pseudo_fd(1, number))

static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static long (*map_update)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static __u64 (*time_ns)(void) = (void *)5;
static long (*ring_output)(void *map, void *data, __u64 size, __u64 flags) = (void *)130;
static void *(*ring_reserve)(void *map, __u64 size, __u64 flags) = (void *)131;
static void (*ring_submit)(void *data, __u64 flags) = (void *)132;

/* Between host and network byte order, both ways. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NET16(x) __builtin_bswap16(x)
#define NET32(x) __builtin_bswap32(x)
#else
#define NET16(x) ((__u16)(x))
#define NET32(x) ((__u32)(x))
#endif

/*
 * The verifier must see what the compiler knows. OPAQUE: the compiler forgets what it knows of a
 * variable, so that it neither merges two comparisons into one of a copy nor keeps a bound where
 * the verifier cannot follow. MASKED: an AND that the compiler does not drop as redundant; what
 * comes of it is bounded for the verifier, at this very place.
 */
#define OPAQUE(x) asm volatile("" : "+r"(x))
#define MASKED(x, mask)                                                      \
	({                                                                   \
		__u64 _masked = (x);                                         \
		asm volatile("%0 &= %1" : "+r"(_masked) : "i"(mask));        \
		_masked;                                                     \
	})

#endif
