/* Connections: connect() alone, HTTP requests over new or kept ones, and one that carries much. */
#include "load.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_PARALLEL = 64, CHUNK = 256 << 10, CHUNKS_A_MIB = 4 };

static void reset(int fd)
{
	struct linger now_please = { 1, 0 };
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now_please, sizeof now_please);
	close(fd);
}

int connects(char **argv)
{
	long count = atol(argv[2]), ok = 0, bad = 0;
	float *us = calloc(count + 1, sizeof *us);
	socklen_t length;
	struct sockaddr_storage to = address(argv[0], atoi(argv[1]), &length);
	struct run run = begin();
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
	finish(&run);
	report(&run, ok, bad, us, ok);
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

int http(char **argv)
{
	long count = atol(argv[2]), parallel = atol(argv[3]), ok = 0, bad = 0, samples = 0;
	if (parallel < 1 || parallel > MAX_PARALLEL)
		return 2;
	int access = PROT_READ | PROT_WRITE, shared = MAP_SHARED | MAP_ANONYMOUS;
	struct part *parts = mmap(0, sizeof *parts * parallel, access, shared, -1, 0);
	float *us = mmap(0, sizeof *us * (count + 1), access, shared, -1, 0);
	struct run run = begin();
	for (long i = 0; i < parallel; i++)
		if (!fork()) {
			http_part(argv, &parts[i], us + i * (count / parallel));
			_exit(0);
		}
	while (wait(0) > 0)
		;
	finish(&run);
	for (long i = 0; i < parallel; i++) {
		memmove(us + samples, us + i * (count / parallel), parts[i].samples * sizeof *us);
		samples += parts[i].samples;
		ok += parts[i].ok, bad += parts[i].bad;
	}
	report(&run, ok, bad, us, samples);
	return 0;
}

/* Sends so many MiB and waits until the other end has read them all, and says so by a byte. */
int stream(char **argv)
{
	static char chunk[CHUNK];
	long mib = atol(argv[2]);
	socklen_t length;
	struct sockaddr_storage to = address(argv[0], atoi(argv[1]), &length);
	int fd = socket(to.ss_family, SOCK_STREAM, 0);
	limit_waits(fd);
	if (connect(fd, (void *)&to, length))
		die("connect");
	struct run run = begin();
	for (long left = mib * CHUNKS_A_MIB * CHUNK; left > 0;) {
		long sent = send(fd, chunk, left < CHUNK ? left : CHUNK, MSG_NOSIGNAL);
		if (sent <= 0)
			die("send");
		left -= sent;
	}
	shutdown(fd, SHUT_WR);
	int is_read = recv(fd, chunk, 1, 0) == 1;
	finish(&run);
	report(&run, is_read ? mib : 0, is_read ? 0 : mib, 0, 0);
	return 0;
}
