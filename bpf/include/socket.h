/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds the kernel's helpers that only programs on sockets call, and how a context is
 * read and written. Numbers: linux/bpf.h, enum bpf_func_id.
 */
#ifndef INTERCEPTOR_SOCKET_H
#define INTERCEPTOR_SOCKET_H

#include "helper.h"

#define FAMILY_INET 2 /* linux/socket.h: not part of the UAPI */
#define FAMILY_INET6 10
#define TYPE_STREAM 1
#define PROTOCOL_TCP 6
#define PROTOCOL_MPTCP 262

static __u64 (*current_pid_tgid)(void) = (void *)14;
static __u64 (*current_uid_gid)(void) = (void *)15;
static long (*current_comm)(void *to, __u32 size) = (void *)16;
static __u64 (*socket_cookie)(void *ctx) = (void *)46;
static long (*set_option)(void *ctx, int level, int name, void *value, int size) = (void *)49;
static long (*listener_update)(void *ctx, void *map, void *key, __u64 flags) = (void *)53;
static __u64 (*current_cgroup)(void) = (void *)80;
static long (*socket_release)(void *socket) = (void *)86;
static void *(*storage_get)(void *map, void *socket, void *value, __u64 flags) = (void *)107;
static __u64 (*netns_cookie)(void *ctx) = (void *)122;
static __u64 (*current_ancestor_cgroup)(int level) = (void *)123;
static long (*assign)(void *ctx, void *socket, __u64 flags) = (void *)124;

/*
 * Fields of contexts and sockets, all of them 32 bits wide, are read and written by instructions
 * written out here. The compiler would merge two accesses into one, or move the pointer before an
 * access that two branches have in common: the verifier takes neither. Volatile does not help.
 */
#define READ(from, field)                                                                  \
	({                                                                                 \
		__u64 value_;                                                              \
		asm volatile("%0 = *(u32 *)(%1 + %2)"                                      \
			     : "=r"(value_)                                                \
			     : "r"(from), "i"(__builtin_offsetof(typeof(*(from)), field))); \
		(__u32)value_;                                                             \
	})
#define WRITE(to, field, value)                                                            \
	({                                                                                 \
		__u64 value_ = (value);                                                    \
		asm volatile("*(u32 *)(%0 + %1) = %2"                                      \
			     :                                                             \
			     : "r"(to), "i"(__builtin_offsetof(typeof(*(to)), field)),     \
			       "r"(value_)                                                 \
			     : "memory");                                                  \
	})

#endif
