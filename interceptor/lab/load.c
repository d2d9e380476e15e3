/* Load for the benchmarks: clients and a server whose own cost is small and the same every time.
 *
 *   load dns SERVER NAME-PATTERN NAMES COUNT WINDOW   queries of type A, WINDOW of them in flight
 *   load connect ADDRESS PORT COUNT                   connect(), then a reset
 *   load http ADDRESS PORT COUNT PARALLEL REQUESTS    REQUESTS a connection, from PARALLEL processes
 *   load serve PORT                                   answers each request with 200 and six bytes
 *
 * Clients print one line: ok=N bad=N seconds=S p50_us=T. All loops are bounded by COUNT, and
 * every wait by two seconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TIMEOUT_MS = 2000, MAX_WINDOW = 1024, MAX_PARALLEL = 64 };

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

static void report(long ok, long bad, double seconds, float *us, long samples)
{
	qsort(us, samples, sizeof *us, by_value);
	printf("ok=%ld bad=%ld seconds=%.6f p50_us=%.2f\n", ok, bad, seconds,
	       samples ? us[samples / 2] : 0);
}

static struct sockaddr_storage address(const char *host, int port, socklen_t *length)
{
	struct sockaddr_storage storage = { 0 };
	struct sockaddr_in *v4 = (void *)&storage;
	struct sockaddr_in6 *v6 = (void *)&storage;
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		*length = sizeof *v4;
	} else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		*length = sizeof *v6;
	} else {
		fprintf(stderr, "not an address: %s\n", host);
		exit(2);
	}
	return storage;
}

static void limit_waits(int fd)
{
	struct timeval limit = { TIMEOUT_MS / 1000, 0 };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

/* A query for `name`, type A, recursion desired. Returns its length. */
static int query(uint8_t *out, uint16_t id, const char *name)
{
	uint8_t *at = out;
	uint8_t head[12] = { id >> 8, id & 255, 1, 0, 0, 1 };
	memcpy(at, head, 12);
	at += 12;
	while (*name) {
		size_t length = strcspn(name, ".");
		*at++ = length;
		memcpy(at, name, length);
		at += length;
		name += length + (name[length] == '.');
	}
	memcpy(at, "\0\0\1\0\1", 5);
	return at + 5 - out;
}

/* An answer counts when it is one: response bit, no error, at least one record. */
static int is_good(const uint8_t *packet, long length)
{
	return length > 12 && packet[2] & 0x80 && !(packet[3] & 15) && (packet[6] | packet[7]);
}

static int dns(char **argv)
{
	const char *server = argv[0], *pattern = argv[1];
	long names = atol(argv[2]), count = atol(argv[3]), window = atol(argv[4]);
	long sent = 0, ok = 0, bad = 0, samples = 0, flying = 0;
	double *since = calloc(65536, sizeof *since), start;
	float *us = calloc(count + 1, sizeof *us);
	socklen_t length;
	struct sockaddr_storage to = address(server, 53, &length);
	int fd = socket(to.ss_family, SOCK_DGRAM, 0);
	if (window > MAX_WINDOW)
		window = MAX_WINDOW;
	if (connect(fd, (void *)&to, length))
		die("connect");
	limit_waits(fd);
	start = now();
	while (ok + bad < count) {
		uint8_t packet[1500];
		char name[256];
		while (flying < window && sent < count) {
			snprintf(name, sizeof name, pattern, sent % names);
			since[sent & 65535] = now();
			if (send(fd, packet, query(packet, sent, name), 0) < 0)
				die("send");
			sent++, flying++;
		}
		long got = recv(fd, packet, sizeof packet, 0);
		if (got < 0) { /* two silent seconds: what was in flight is lost */
			bad += flying;
			flying = 0;
			continue;
		}
		flying--;
		if (is_good(packet, got)) {
			us[samples++] = (now() - since[packet[0] << 8 | packet[1]]) * 1e6;
			ok++;
		} else {
			bad++;
		}
	}
	report(ok, bad, now() - start, us, samples);
	return 0;
}

static void reset(int fd)
{
	struct linger now_please = { 1, 0 };
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now_please, sizeof now_please);
	close(fd);
}

static int connects(char **argv)
{
	long count = atol(argv[2]), ok = 0, bad = 0;
	float *us = calloc(count + 1, sizeof *us);
	socklen_t length;
	struct sockaddr_storage to = address(argv[0], atoi(argv[1]), &length);
	double start = now();
	while (ok + bad < count) {
		int fd = socket(to.ss_family, SOCK_STREAM, 0);
		limit_waits(fd);
		double before = now();
		if (connect(fd, (void *)&to, length))
			bad++;
		else
			us[ok++] = (now() - before) * 1e6;
		reset(fd);
	}
	report(ok, bad, now() - start, us, ok);
	return 0;
}

static const char REQUEST[] = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n";

/* One request and its whole response, which the benchmark's server makes one read long. */
static int ask(int fd)
{
	char buffer[8192];
	long have = 0;
	if (send(fd, REQUEST, sizeof REQUEST - 1, MSG_NOSIGNAL) != sizeof REQUEST - 1)
		return 0;
	for (;;) {
		long got = recv(fd, buffer + have, sizeof buffer - 1 - have, 0);
		if (got <= 0)
			return 0;
		have += got;
		buffer[have] = 0;
		char *end = strstr(buffer, "\r\n\r\n");
		if (end && buffer + have - (end + 4) >= 6)
			return !memcmp(buffer, "HTTP/1.1 200", 12);
	}
}

struct part {
	long ok, bad, samples;
};

static void http_part(char **argv, struct part *part, float *us)
{
	long count = atol(argv[2]) / atol(argv[3]), requests = atol(argv[4]);
	socklen_t length;
	struct sockaddr_storage to = address(argv[0], atoi(argv[1]), &length);
	while (part->ok + part->bad < count) {
		int one = 1, fd = socket(to.ss_family, SOCK_STREAM, 0);
		limit_waits(fd);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		double before = now();
		if (connect(fd, (void *)&to, length)) {
			part->bad++;
			close(fd);
			continue;
		}
		for (long i = 0; i < requests && part->ok + part->bad < count; i++) {
			if (!ask(fd)) {
				part->bad++;
				break;
			}
			part->ok++;
			us[part->samples++] = (now() - before) * 1e6;
			before = now();
		}
		reset(fd);
	}
}

static int http(char **argv)
{
	long count = atol(argv[2]), parallel = atol(argv[3]), ok = 0, bad = 0, samples = 0;
	if (parallel < 1 || parallel > MAX_PARALLEL)
		return 2;
	int access = PROT_READ | PROT_WRITE, shared = MAP_SHARED | MAP_ANONYMOUS;
	struct part *parts = mmap(0, sizeof *parts * parallel, access, shared, -1, 0);
	float *us = mmap(0, sizeof *us * (count + 1), access, shared, -1, 0);
	double start = now();
	for (long i = 0; i < parallel; i++)
		if (!fork()) {
			http_part(argv, &parts[i], us + i * (count / parallel));
			_exit(0);
		}
	while (wait(0) > 0)
		;
	double seconds = now() - start;
	for (long i = 0; i < parallel; i++) {
		memmove(us + samples, us + i * (count / parallel), parts[i].samples * sizeof *us);
		samples += parts[i].samples;
		ok += parts[i].ok, bad += parts[i].bad;
	}
	report(ok, bad, seconds, us, samples);
	return 0;
}

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

static _Noreturn void serve(char **argv)
{
	int one = 1, zero = 0, listener = socket(AF_INET6, SOCK_STREAM, 0), epoll = epoll_create1(0);
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(argv[0])) };
	struct epoll_event event = { EPOLLIN, { .fd = listener } }, events[64];
	struct rlimit files = { 65536, 65536 };
	setrlimit(RLIMIT_NOFILE, &files);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(listener, IPPROTO_IPV6, 26 /* IPV6_V6ONLY */, &zero, sizeof zero);
	if (bind(listener, (void *)&at, sizeof at) || listen(listener, 4096))
		die("listen");
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	puts("ready");
	fflush(stdout);
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

int main(int argc, char **argv)
{
	if (argc == 7 && !strcmp(argv[1], "dns"))
		return dns(argv + 2);
	if (argc == 5 && !strcmp(argv[1], "connect"))
		return connects(argv + 2);
	if (argc == 7 && !strcmp(argv[1], "http"))
		return http(argv + 2);
	if (argc == 3 && !strcmp(argv[1], "serve"))
		serve(argv + 2);
	fprintf(stderr, "usage: see the first lines of load.c\n");
	return 2;
}
