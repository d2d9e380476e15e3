/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds what Orders in conftest.py writes and the guest's init reads: a row of records, each
 * a header, then two pieces of data, each padded to 8 bytes. An order with nothing behind it ends it.
 *
 * The guest answers on its second serial port, one line a record: words with one space between,
 * "key=value" or a bare word, no spaces in values; bytes as hex; "|" for line ends in a log.
 */
#ifndef VM_RECORD_H
#define VM_RECORD_H

#include <stddef.h>
#include <linux/types.h>

enum order {
	ORDER_MAP = 1, /* number; args: type, key size, value size, entries, flags, inner's number */
	ORDER_PUT,     /* number; args: flags, 1 if the value is a map's number; first: key, second: value */
	ORDER_LOAD,    /* number; args: program type, attach type; first: instructions */
	ORDER_RUN,     /* number of a program; first: packet */
	ORDER_ATTACH,  /* number of a program; args: attach type; first: path of a cgroup or namespace */
	ORDER_MODULE,  /* first: path of a kernel module */
	ORDER_NETLINK, /* number of a program; args: where in the message it goes, or 0; first: message */
	ORDER_ASK,     /* args: family, port; first: address; second: datagram */
	ORDER_CONNECT, /* args: family, port, 1 if somebody listens, its port; first: address */
	ORDER_UNSHARE, /* a new network namespace from here on */
};

struct record {
	__u32 order;
	__u32 number;
	__u32 args[6];
	char name[48]; /* ends with a zero */
	__u32 first_size;
	__u32 second_size;
};

#define NUMBERS 256 /* maps and programs each have numbers below it */
#define CGROUP_OF_SIDECAR "/sys/fs/cgroup/mesh/agent"
#define CGROUP_OF_CALLER "/sys/fs/cgroup/mesh/caller"

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_hex(const char *key, const void *bytes, size_t size);

/* bpf.c */
void forget_all(void);
void make_map(const struct record *record);
void put(const struct record *record, const void *key, const void *value);
void load(const struct record *record, void *instructions);
void run(const struct record *record, const void *packet);
void attach(const struct record *record, const char *path);
int program_of(const struct record *record);

/* call.c */
void enter_new_namespace(void);
void send_netlink(const struct record *record, void *message);
void ask(const struct record *record, const void *address, const void *datagram);
void show_connect(const struct record *record, const void *address);

#endif
