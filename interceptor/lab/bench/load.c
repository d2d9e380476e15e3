/* Load for the benchmarks: clients and servers whose own cost is small and the same every time.
 *
 *   load dns SERVER NAME NAMES COUNT WINDOW           queries of type A, WINDOW of them in flight
 *   load paced SERVER NAME NAMES RATE SECONDS FIRST LEGAL STOP
 *                                                     RATE a second until there is a file STOP,
 *                                                     every answer verified (see load_dns.c)
 *   load connect ADDRESS PORT COUNT                   connect(), then a reset
 *   load http ADDRESS PORT COUNT PARALLEL REQUESTS    REQUESTS a connection, from PARALLEL processes
 *   load stream ADDRESS PORT MIB                      so many MiB over one connection
 *   load serve PORT                                   answers each request with 200 and six bytes
 *   load sink PORT                                    reads all of each connection, answers a byte
 *
 * In NAME a run of # is the number of the name, with leading zeros. Clients print one line:
 * ok=N bad=N seconds=S p50_us=T p99_us=T cpu_us=C. CPU time is that of the cgroups whose cpu.stat
 * files stand in the environment's CPU_STAT, with colons between them. All loops are bounded by
 * COUNT, and every wait by two seconds. DNS_PORT in the environment is asked instead of 53.
 */
#include "load.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* As long as this nothing is done before CPU time is read: what sleeps has been accounted for,
 * what runs is only at the next tick. */
enum { QUIET_US = 3000 };

double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

void die(const char *what)
{
	perror(what);
	exit(1);
}

struct sockaddr_storage address(const char *host, int port, socklen_t *length)
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

void limit_waits(int fd)
{
	struct timeval limit = { TIMEOUT_MS / 1000, 0 };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static uint64_t used_us(const char *path)
{
	char key[64];
	uint64_t value, found = 0;
	FILE *file = fopen(path, "r");
	if (!file)
		die(path);
	while (fscanf(file, "%63s %lu", key, &value) == 2)
		if (!strcmp(key, "usage_usec"))
			found = value;
	fclose(file);
	return found;
}

static uint64_t cpu_us(void)
{
	uint64_t total = 0;
	char *list = getenv("CPU_STAT"), *copy, *rest;
	if (!list)
		return 0;
	rest = copy = strdup(list);
	for (char *path; (path = strsep(&rest, ":"));)
		total += used_us(path);
	free(copy);
	return total;
}

struct run begin(void)
{
	usleep(QUIET_US);
	struct run run = { .cpu_us = cpu_us() };
	run.start = now();
	return run;
}

void finish(struct run *run)
{
	run->seconds = now() - run->start;
	usleep(QUIET_US);
	run->cpu_us = cpu_us() - run->cpu_us;
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

void report(const struct run *run, long ok, long bad, float *us, long samples)
{
	if (samples)
		qsort(us, samples, sizeof *us, by_value);
	printf("ok=%ld bad=%ld seconds=%.6f p50_us=%.2f p99_us=%.2f cpu_us=%lu\n", ok, bad,
	       run->seconds, samples ? us[samples / 2] : 0, samples ? us[samples * 99 / 100] : 0,
	       run->cpu_us);
}

int main(int argc, char **argv)
{
	if (argc == 7 && !strcmp(argv[1], "dns"))
		return dns(argv + 2);
	if (argc == 10 && !strcmp(argv[1], "paced"))
		return paced(argv + 2);
	if (argc == 5 && !strcmp(argv[1], "connect"))
		return connects(argv + 2);
	if (argc == 7 && !strcmp(argv[1], "http"))
		return http(argv + 2);
	if (argc == 5 && !strcmp(argv[1], "stream"))
		return stream(argv + 2);
	if (argc == 3 && !strcmp(argv[1], "serve"))
		serve(argv + 2);
	if (argc == 3 && !strcmp(argv[1], "sink"))
		sink(argv + 2);
	fprintf(stderr, "usage: see the first lines of load.c\n");
	return 2;
}
