/* This file holds what the load generator's parts share: clock, CPU time, addresses, the report. */
#ifndef LOAD_H
#define LOAD_H
#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

enum { TIMEOUT_MS = 2000, DNS_PORT = 53 };

/* Seconds of CLOCK_MONOTONIC. */
double now(void);

_Noreturn void die(const char *what);

struct sockaddr_storage address(const char *host, int port, socklen_t *length);

/* No receive or send of this socket lasts longer than TIMEOUT_MS. */
void limit_waits(int fd);

/* What is measured lies between the two; `finish` prints the line of figures but for its end. */
struct run {
	double start, seconds;
	uint64_t cpu_us;
};
struct run begin(void);
void finish(struct run *run);

/* ok=N bad=N seconds=S p50_us=T p99_us=T cpu_us=C; sorts `us`. */
void report(const struct run *run, long ok, long bad, float *us, long samples);

int dns(char **argv);
int paced(char **argv);
int connects(char **argv);
int http(char **argv);
int stream(char **argv);
_Noreturn void serve(char **argv);
_Noreturn void sink(char **argv);
#endif
