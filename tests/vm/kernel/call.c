/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds the guest's network: what rtnetlink is told, a datagram and its answer, and a TCP
 * call that the programs may steer, told as the caller and the one who was called see it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/netlink.h>
#include "record.h"

#define ORIGINAL_DESTINATION 80 /* SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST */
#define PATIENCE_S 5

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static union address make_address(int family, const void *bytes, unsigned int port)
{
	union address address = {.any.sa_family = family};

	if (family == AF_INET) {
		memcpy(&address.v4.sin_addr, bytes, 4);
		address.v4.sin_port = htons(port);
	} else {
		memcpy(&address.v6.sin6_addr, bytes, 16);
		address.v6.sin6_port = htons(port);
	}
	return address;
}

static void say_address(const char *key, const union address *address)
{
	char text[INET6_ADDRSTRLEN] = "?";

	if (address->any.sa_family == AF_INET)
		inet_ntop(AF_INET, &address->v4.sin_addr, text, sizeof(text));
	else if (address->any.sa_family == AF_INET6)
		inet_ntop(AF_INET6, &address->v6.sin6_addr, text, sizeof(text));
	say(" %s=%s,%u", key, text, ntohs(address->v4.sin_port));
}

/* From now on, sockets that this process makes belong to that cgroup. */
static void enter(const char *cgroup)
{
	char path[128] = "";
	int file;

	strcat(strcat(path, cgroup), "/cgroup.procs");
	file = open(path, O_WRONLY);
	if (file < 0 || write(file, "0", 1) != 1)
		say(" enter_errno=%d", errno);
	close(file);
}

/* Without the programs of the namespace before; those of cgroups stay. */
void enter_new_namespace(void)
{
	if (unshare(CLONE_NEWNET) < 0)
		say("unshare errno=%d\n", errno);
}

/* One message of rtnetlink, made by the host but for a program's descriptor. */
void send_netlink(const struct record *record, void *message)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char rest[1024];
	} reply;
	int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int program = program_of(record);

	if (record->args[0])
		memcpy((char *)message + record->args[0], &program, sizeof(program));
	if (send(netlink, message, record->first_size, 0) < 0 || recv(netlink, &reply, sizeof(reply), 0) < 0)
		say("netlink %s errno=%d\n", record->name, errno);
	else if (reply.head.nlmsg_type != NLMSG_ERROR || reply.error.error)
		say("netlink %s errno=%d\n", record->name, -reply.error.error);
	close(netlink);
}

/* What comes back for a datagram, from a socket as resolvers have it. */
void ask(const struct record *record, const void *server, const void *datagram)
{
	struct timeval patience = {.tv_sec = PATIENCE_S};
	union address address = make_address(record->args[0], server, record->args[1]);
	char answer[1 << 12];
	int asker = socket(record->args[0], SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ssize_t size;

	setsockopt(asker, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	say("ask %s", record->name);
	if (connect(asker, &address.any, sizeof(address)) < 0 ||
	    send(asker, datagram, record->second_size, 0) < 0 ||
	    (size = recv(asker, answer, sizeof(answer), 0)) < 0)
		say(" errno=%d", errno);
	else
		say_hex("data", answer, size);
	say("\n");
	close(asker);
}

static int open_listener(int family, unsigned int port)
{
	static const unsigned char nobody[16];
	union address address = make_address(family, nobody, port);
	int listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, &address.any, sizeof(address)) < 0 || listen(listener, 8) < 0)
		say(" listen_errno=%d", errno);
	return listener;
}

/* The one who was called: where it is told that the caller wanted to go. */
static void say_accepted(int listener, int family)
{
	struct timeval patience = {.tv_sec = PATIENCE_S};
	union address address = {0};
	socklen_t size = sizeof(address);
	int accepted;

	setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	accepted = accept(listener, &address.any, &size);
	if (accepted < 0) {
		say(" accept_errno=%d", errno);
		return;
	}
	say_address("from", &address);
	size = sizeof(address);
	getsockname(accepted, &address.any, &size);
	say_address("at", &address);
	size = sizeof(address);
	memset(&address, 0, sizeof(address));
	if (getsockopt(accepted, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, ORIGINAL_DESTINATION, &address, &size))
		say(" original_errno=%d", errno);
	else
		say_address("original", &address);
	close(accepted);
}

void show_connect(const struct record *record, const void *destination)
{
	int family = record->args[0], caller, listener = -1;
	union address address = make_address(family, destination, record->args[1]);
	struct timeval patience = {.tv_sec = PATIENCE_S};
	socklen_t size = sizeof(address);

	say("connect %s", record->name);
	if (record->args[2]) {
		enter(CGROUP_OF_SIDECAR);
		listener = open_listener(family, record->args[3]);
	}
	enter(CGROUP_OF_CALLER);
	caller = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(caller, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(caller, &address.any, family == AF_INET ? sizeof(address.v4) : sizeof(address.v6)) < 0) {
		say(" errno=%d", errno);
	} else {
		say(" ok");
		memset(&address, 0, sizeof(address));
		getpeername(caller, &address.any, &size);
		say_address("peer", &address);
		if (listener >= 0)
			say_accepted(listener, family);
	}
	say("\n");
	close(caller);
	close(listener);
}
