/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds what the guest does by bpf(2): maps, programs, test runs, links.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/bpf.h>
#include "record.h"

#define LOG_SIZE (1 << 24)
#define LOG_TAIL 3000 /* bytes of a refusal that are told: the last ones name the reason */
#define LOG_STATS 4   /* BPF_LOG_STATS: "processed N insns" only */
#define PSEUDO_MAP_FD 1

static int maps[NUMBERS], programs[NUMBERS];
static char log_text[LOG_SIZE];

static long bpf(int command, union bpf_attr *attr, size_t size)
{
	return syscall(__NR_bpf, command, attr, size);
}

static __u64 address_of(const void *pointer)
{
	return (__u64)(unsigned long)pointer;
}

/* Socket storage is not to be had without BTF: the one of a single type, int (linux/btf.h). */
static int int_btf(void)
{
	static const struct {
		__u16 magic;
		__u8 version, flags;
		__u32 header[5]; /* own length, then offset and length of types and of strings */
		__u32 type[4];   /* name's offset, kind, size in bytes, signed 32 bits */
		char strings[5];
	} __attribute__((packed)) blob = {
		0xeb9f, 1, 0, {24, 0, 16, 16, 5}, {1, 1 << 24, 4, 1 << 24 | 32}, "\0int",
	};
	union bpf_attr attr = {.btf = address_of(&blob), .btf_size = sizeof(blob)};

	return bpf(BPF_BTF_LOAD, &attr, 28);
}

static int create_map(const struct record *record)
{
	union bpf_attr attr = {
		.map_type = record->args[0],
		.key_size = record->args[1],
		.value_size = record->args[2],
		.max_entries = record->args[3],
		.map_flags = record->args[4],
	};

	if (record->args[5])
		attr.inner_map_fd = maps[record->args[5]];
	if (record->args[0] == BPF_MAP_TYPE_SK_STORAGE) {
		attr.btf_fd = int_btf();
		attr.btf_key_type_id = attr.btf_value_type_id = 1;
	}
	return bpf(BPF_MAP_CREATE, &attr, 64);
}

void make_map(const struct record *record)
{
	maps[record->number] = create_map(record);
	if (maps[record->number] < 0)
		say("map %s errno=%d\n", record->name, errno);
}

void put(const struct record *record, const void *key, const void *value)
{
	__u32 inner = record->args[1] ? (__u32)maps[*(const __u32 *)value] : 0;
	union bpf_attr attr = {
		.map_fd = maps[record->number],
		.key = address_of(key),
		.value = address_of(record->args[1] ? &inner : value),
		.flags = record->args[0],
	};
	long result = bpf(BPF_MAP_UPDATE_ELEM, &attr, 32);

	if (result < 0)
		say("put %s errno=%d\n", record->name, errno);
}

/* Put descriptors where instructions name maps. Returns a missing map's number, or 0. */
static __u32 resolve(struct bpf_insn *instructions, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct bpf_insn *each = &instructions[i];

		if (each->code != (BPF_LD | BPF_DW | BPF_IMM))
			continue;
		if (each->src_reg == PSEUDO_MAP_FD) {
			__u32 number = each->imm;

			if (number >= NUMBERS || maps[number] < 0)
				return number;
			each->imm = maps[number];
		}
		i++; /* takes two places */
	}
	return 0;
}

static void say_log(void)
{
	size_t length = strlen(log_text);
	const char *tail = log_text + (length > LOG_TAIL ? length - LOG_TAIL : 0);

	say(" log=");
	for (; *tail; tail++)
		say("%c", *tail == '\n' ? '|' : *tail == ' ' ? '_' : *tail);
}

void load(const struct record *record, void *instructions)
{
	size_t count = record->first_size / sizeof(struct bpf_insn);
	union bpf_attr attr = {
		.prog_type = record->args[0],
		.expected_attach_type = record->args[1],
		.insn_cnt = count,
		.insns = address_of(instructions),
		.license = address_of("Dual BSD/GPL"),
		.log_level = LOG_STATS,
		.log_size = LOG_SIZE,
		.log_buf = address_of(log_text),
	};
	__u32 missing = resolve(instructions, count);
	const char *verified;

	if (missing) {
		say("load %s missing=%u\n", record->name, missing);
		return;
	}
	strncpy(attr.prog_name, record->name, sizeof(attr.prog_name) - 1);
	log_text[0] = 0;
	programs[record->number] = bpf(BPF_PROG_LOAD, &attr, 72);
	if (programs[record->number] >= 0) {
		verified = strstr(log_text, "processed ");
		say("load %s ok insns=%zu verified=%d\n", record->name, count,
		    verified ? atoi(verified + strlen("processed ")) : 0);
		return;
	}
	attr.log_level = 1;
	bpf(BPF_PROG_LOAD, &attr, 72);
	say("load %s errno=%d insns=%zu", record->name, errno, count);
	say_log();
	say("\n");
}

void run(const struct record *record, const void *packet)
{
	static unsigned char out[1 << 13];
	union bpf_attr attr = {
		.test = {
			.prog_fd = programs[record->number],
			.data_in = address_of(packet),
			.data_size_in = record->first_size,
			.data_out = address_of(out),
			.data_size_out = sizeof(out),
			.repeat = 1,
		},
	};

	if (bpf(BPF_PROG_TEST_RUN, &attr, 64) < 0) {
		say("run %s errno=%d\n", record->name, errno);
		return;
	}
	say("run %s result=%d", record->name, (int)attr.test.retval);
	say_hex("data", out, attr.test.data_size_out);
	say("\n");
}

/* By link, which stays open for as long as the guest lives. */
void attach(const struct record *record, const char *path)
{
	int target = open(path, O_RDONLY | O_CLOEXEC);
	union bpf_attr attr = {
		.link_create = {
			.prog_fd = programs[record->number],
			.target_fd = target,
			.attach_type = record->args[0],
		},
	};

	if (target < 0 || bpf(BPF_LINK_CREATE, &attr, 16) < 0)
		say("attach %s errno=%d\n", record->name, errno);
	else
		say("attach %s ok\n", record->name);
}

int program_of(const struct record *record)
{
	return programs[record->number];
}

/* No order has given any number a map or a program yet. */
void forget_all(void)
{
	memset(maps, 0xff, sizeof(maps));
	memset(programs, 0xff, sizeof(programs));
}
