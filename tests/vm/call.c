/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds the guest's network: lo, a local route, and one TCP call that the programs may
 * steer, told as the caller and the one who was called see it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include "record.h"

#define LO 1                /* its interface index in a new namespace */
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

static void bring_lo_up(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int control = socket(AF_INET, SOCK_DGRAM, 0);

	if (ioctl(control, SIOCSIFFLAGS, &request) < 0)
		say("lo errno=%d\n", errno);
	close(control);
}

/* Does what `ip route add local NETWORK dev lo` does, and brings lo up for it. */
void add_local_route(const struct record *record, const void *network)
{
	struct {
		struct nlmsghdr head;
		struct rtmsg route;
		struct rtattr device;
		__u32 index;
		struct rtattr destination;
		unsigned char address[16];
	} request = {
		.head = {.nlmsg_type = RTM_NEWROUTE, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE},
		.route = {
			.rtm_family = record->args[0],
			.rtm_dst_len = record->args[1],
			.rtm_table = RT_TABLE_LOCAL,
			.rtm_protocol = RTPROT_STATIC,
			.rtm_scope = RT_SCOPE_HOST,
			.rtm_type = RTN_LOCAL,
		},
		.device = {RTA_LENGTH(4), RTA_OIF},
		.index = LO,
		.destination = {RTA_LENGTH(record->first_size), RTA_DST},
	};
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char rest[256];
	} reply;
	int netlink = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	bring_lo_up();
	memcpy(request.address, network, record->first_size);
	request.head.nlmsg_len = offsetof(typeof(request), address) + record->first_size;
	if (send(netlink, &request, request.head.nlmsg_len, 0) < 0 || recv(netlink, &reply, sizeof(reply), 0) < 0)
		say("route %s errno=%d\n", record->name, errno);
	else if (reply.error.error)
		say("route %s errno=%d\n", record->name, -reply.error.error);
	close(netlink);
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
