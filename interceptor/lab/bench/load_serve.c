/* Servers: one that answers HTTP requests, one that reads whatever comes. */
#include "load.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

static const char RESPONSE[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbench\n";

static void answer(int epoll, int fd)
{
	char buffer[8192];
	long got = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
	if (got <= 0 || send(fd, RESPONSE, sizeof RESPONSE - 1, MSG_NOSIGNAL) < 0) {
		epoll_ctl(epoll, EPOLL_CTL_DEL, fd, 0);
		close(fd);
	}
}

static int open_listener(const char *port)
{
	int one = 1, zero = 0, listener = socket(AF_INET6, SOCK_STREAM, 0);
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(port)) };
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
	if (bind(listener, (void *)&at, sizeof at) || listen(listener, 4096))
		die("listen");
	puts("ready");
	fflush(stdout);
	return listener;
}

void serve(char **argv)
{
	int one = 1, listener = open_listener(argv[0]), epoll = epoll_create1(0);
	struct epoll_event event = { EPOLLIN, { .fd = listener } }, events[64];
	struct rlimit files = { 65536, 65536 };
	setrlimit(RLIMIT_NOFILE, &files);
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int ready = epoll_wait(epoll, events, 64, -1);
		for (int i = 0; i < ready; i++) {
			if (events[i].data.fd != listener) {
				answer(epoll, events[i].data.fd);
				continue;
			}
			event.data.fd = accept(listener, 0, 0);
			if (event.data.fd >= 0) {
				setsockopt(event.data.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
				epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
			}
		}
	}
}

/* One connection after the other: the benchmark makes them so. */
void sink(char **argv)
{
	static char buffer[256 << 10];
	int listener = open_listener(argv[0]);
	for (;;) {
		long got;
		int fd = accept(listener, 0, 0);
		limit_waits(fd);
		while ((got = recv(fd, buffer, sizeof buffer, 0)) > 0)
			;
		if (got == 0)
			send(fd, "1", 1, MSG_NOSIGNAL);
		close(fd);
	}
}
