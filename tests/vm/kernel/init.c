/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds the guest: the one process of a virtual machine that has nothing but a kernel. It
 * carries out the orders in /orders (record.h), says on the second serial port what came of each,
 * and powers off. What is right and what is wrong, the host decides.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "record.h"

static FILE *report;

void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(report, format, arguments);
	va_end(arguments);
}

void say_hex(const char *key, const void *bytes, size_t size)
{
	say(" %s=", key);
	for (size_t i = 0; i < size; i++)
		say("%02x", ((const unsigned char *)bytes)[i]);
}

static void add_module(const struct record *record, const char *path)
{
	int file = open(path, O_RDONLY);

	if (syscall(__NR_finit_module, file, "", 0) < 0)
		say("module %s errno=%d\n", record->name, errno);
	close(file);
}

static void carry_out(const struct record *record, char *first, char *second)
{
	switch (record->order) {
	case ORDER_MAP:
		make_map(record);
		break;
	case ORDER_PUT:
		put(record, first, second);
		break;
	case ORDER_LOAD:
		load(record, first);
		break;
	case ORDER_RUN:
		run(record, first);
		break;
	case ORDER_ATTACH:
		attach(record, first);
		break;
	case ORDER_MODULE:
		add_module(record, first);
		break;
	case ORDER_NETLINK:
		send_netlink(record, first);
		break;
	case ORDER_ASK:
		ask(record, first, second);
		break;
	case ORDER_CONNECT:
		show_connect(record, first);
		break;
	case ORDER_UNSHARE:
		enter_new_namespace();
		break;
	default:
		say("order %u unknown\n", record->order);
	}
}

static size_t padded(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

static void carry_out_all(void)
{
	static char orders[1 << 22] __attribute__((aligned(8)));
	int file = open("/orders", O_RDONLY);
	ssize_t size = read(file, orders, sizeof(orders));
	char *at = orders;

	while (size > 0 && at < orders + size) {
		const struct record *record = (const struct record *)at;
		char *first = at + sizeof(*record);
		char *second = first + padded(record->first_size);

		carry_out(record, first, second);
		fflush(report);
		at = second + padded(record->second_size);
	}
}

int main(void)
{
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	struct utsname name;

	mount("none", "/dev", "devtmpfs", 0, NULL);
	mount("none", "/proc", "proc", 0, NULL);
	mount("none", "/sys", "sysfs", 0, NULL);
	mount("none", "/sys/fs/cgroup", "cgroup2", 0, NULL);
	mkdir("/sys/fs/cgroup/mesh", 0755);
	mkdir(CGROUP_OF_SIDECAR, 0755);
	mkdir(CGROUP_OF_CALLER, 0755);
	setrlimit(RLIMIT_MEMLOCK, &unlimited); /* before 5.11 maps count against it */
	forget_all();
	report = fopen("/dev/ttyS1", "w");
	if (report) {
		uname(&name);
		say("kernel %s\n", name.release);
		carry_out_all();
		say("end\n");
		fclose(report); /* waits until the last byte is out */
	}
	reboot(RB_POWER_OFF);
	return 1;
}
