/* Queries of type A: one in flight, many in flight, or so many a second with each answer verified. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MAX_WINDOW = 64, MAX_NAME = 256, HEADER = 12, QUESTION_END = 5, IDS = 65536 };

/* One query; only its id and the digits of its name change. `digits` at `number` in the packet. */
struct query {
	uint8_t packet[HEADER + MAX_NAME + QUESTION_END];
	int length, number, digits;
};

/* A query for `name` (RFC 1035 section 4.1), recursion desired. */
static struct query make_query(const char *name)
{
	struct query query = { .packet = { 0, 0, 1, 0, 0, 1 } };
	uint8_t *at = query.packet + HEADER;
	if (strlen(name) > MAX_NAME - 2)
		die("name");
	while (*name) {
		int length = strcspn(name, ".");
		*at++ = length;
		for (int i = 0; i < length; i++, at++) {
			*at = name[i];
			if (name[i] == '#' && !query.digits++)
				query.number = at - query.packet;
		}
		name += length + (name[length] == '.');
	}
	memcpy(at, "\0\0\1\0\1", QUESTION_END);
	query.length = at + QUESTION_END - query.packet;
	return query;
}

static void set_number(struct query *query, uint16_t id, long number)
{
	query->packet[0] = id >> 8;
	query->packet[1] = id;
	for (int i = query->digits - 1; i >= 0; i--, number /= 10)
		query->packet[query->number + i] = '0' + number % 10;
}

/* An answer counts when it is one: response bit, no error, at least one record. */
static int is_good(const uint8_t *packet, long length)
{
	return length > HEADER && packet[2] & 0x80 && !(packet[3] & 15) && (packet[6] | packet[7]);
}

static int open_client(const char *server)
{
	socklen_t length;
	const char *port = getenv("DNS_PORT");
	struct sockaddr_storage to = address(server, port ? atoi(port) : DNS_PORT, &length);
	int fd = socket(to.ss_family, SOCK_DGRAM, 0);
	if (connect(fd, (void *)&to, length))
		die("connect");
	limit_waits(fd);
	return fd;
}

static long one_by_one(int fd, struct query *query, long names, long count, float *us)
{
	uint8_t packet[1500];
	long ok = 0;
	for (long i = 0; i < count; i++) {
		set_number(query, i, i % names);
		double before = now();
		if (send(fd, query->packet, query->length, 0) < 0)
			die("send");
		long got = recv(fd, packet, sizeof packet, 0);
		if (is_good(packet, got) && !memcmp(packet, query->packet, 2))
			us[ok++] = (now() - before) * 1e6;
	}
	return ok;
}

/* What came of a batch of `recvmmsg`; -1: two silent seconds. */
static long receive(int fd, int flags, uint8_t (*packets)[1500], int *lengths)
{
	struct iovec places[MAX_WINDOW];
	struct mmsghdr messages[MAX_WINDOW] = { 0 };
	for (int i = 0; i < MAX_WINDOW; i++) {
		places[i] = (struct iovec){ packets[i], sizeof packets[i] };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &places[i], .msg_iovlen = 1 };
	}
	int got = recvmmsg(fd, messages, MAX_WINDOW, flags, 0);
	for (int i = 0; i < got; i++)
		lengths[i] = messages[i].msg_len;
	return got;
}

static void send_batch(int fd, const struct query *query, struct query *queries, int count)
{
	struct iovec places[MAX_WINDOW];
	struct mmsghdr messages[MAX_WINDOW] = { 0 };
	for (int i = 0; i < count; i++) {
		places[i] = (struct iovec){ queries[i].packet, query->length };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &places[i], .msg_iovlen = 1 };
	}
	for (int sent = 0; sent < count;) {
		int done = sendmmsg(fd, messages + sent, count - sent, 0);
		if (done < 0 && errno != EINTR)
			sent++; /* a refused one counts as lost */
		else if (done > 0)
			sent += done;
	}
}

static long flood(int fd, const struct query *query, long names, long count, long window)
{
	static struct query queries[MAX_WINDOW];
	static uint8_t packets[MAX_WINDOW][1500];
	int lengths[MAX_WINDOW];
	long sent = 0, flying = 0, ok = 0, bad = 0;
	for (int i = 0; i < MAX_WINDOW; i++)
		queries[i] = *query;
	while (ok + bad < count) {
		int batch = 0;
		while (flying < window && sent < count) {
			set_number(&queries[batch++], sent, sent % names);
			sent++, flying++;
		}
		send_batch(fd, query, queries, batch);
		long got = receive(fd, MSG_WAITFORONE, packets, lengths);
		if (got < 0) { /* what was in flight is lost */
			bad += flying;
			flying = 0;
		}
		for (long i = 0; i < got; i++, flying--)
			is_good(packets[i], lengths[i]) ? ok++ : bad++;
	}
	return ok;
}

int dns(char **argv)
{
	struct query query = make_query(argv[1]);
	long names = atol(argv[2]), count = atol(argv[3]), window = atol(argv[4]);
	float *us = calloc(count + 1, sizeof *us);
	int fd = open_client(argv[0]);
	if (window < 1 || window > MAX_WINDOW)
		return 2;
	struct run run = begin();
	long ok = window > 1 ? flood(fd, &query, names, count, window) :
			       one_by_one(fd, &query, names, count, us);
	finish(&run);
	report(&run, ok, count - ok, us, window > 1 ? 0 : ok);
	return 0;
}

/* An address is the first one plus the name's number, plus its generation above GENERATION_BIT.
 * Generations wrap at GENERATIONS. The file holds the oldest and the newest that are right now. */
enum { GENERATION_BIT = 20, GENERATIONS = 16 };

struct verifier {
	struct query query;
	long names;
	uint32_t first;
	const volatile uint32_t *legal;
	struct {
		uint32_t number, oldest;
		int is_waiting;
	} asked[IDS];
	long ok, wrong, missed, lost, extra, waiting;
	double last, gap;
};

static struct verifier state;

static void open_verifier(char **argv)
{
	static const uint32_t none[2];
	struct in_addr first;
	int fd = open(argv[6], O_RDONLY);
	state.query = make_query(argv[1]);
	state.names = atol(argv[2]);
	if (inet_pton(AF_INET, argv[5], &first) != 1)
		die(argv[5]);
	state.first = ntohl(first.s_addr);
	state.legal = fd < 0 ? none : mmap(0, sizeof none, PROT_READ, MAP_SHARED, fd, 0);
	if (state.legal == MAP_FAILED)
		die(argv[6]);
}

static void ask(struct query *query, long number)
{
	uint16_t id = number;
	*query = state.query;
	set_number(query, id, number % state.names);
	state.lost += state.asked[id].is_waiting;
	state.waiting += !state.asked[id].is_waiting;
	state.asked[id].is_waiting = 1;
	state.asked[id].number = number % state.names;
	state.asked[id].oldest = state.legal[0];
}

/* The answer's only record stands right behind the question: pointer, A, IN, TTL, four bytes. */
static int is_right(const uint8_t *packet, long length, uint16_t id)
{
	uint32_t found;
	struct query query = state.query;
	set_number(&query, id, state.asked[id].number);
	if (length < query.length + 16 || packet[7] != 1 ||
	    memcmp(packet + HEADER, query.packet + HEADER, query.length - HEADER))
		return 0;
	memcpy(&found, packet + query.length + 12, sizeof found);
	uint32_t beyond = ntohl(found) - state.first;
	uint32_t age = (beyond >> GENERATION_BIT) - state.asked[id].oldest;
	return (beyond & ((1 << GENERATION_BIT) - 1)) == state.asked[id].number &&
	       (age & (GENERATIONS - 1)) <= state.legal[1] - state.asked[id].oldest;
}

static void judge(const uint8_t *packet, long length)
{
	uint16_t id = length > HEADER ? packet[0] << 8 | packet[1] : 0;
	if (length <= HEADER || !state.asked[id].is_waiting) {
		state.extra++;
		return;
	}
	state.asked[id].is_waiting = 0;
	state.waiting--;
	if (!is_good(packet, length)) { /* not the mesh's answer, but the upstream's: no such name */
		state.missed++;
	} else if (is_right(packet, length, id)) {
		double at = now();
		state.gap = at - state.last > state.gap ? at - state.last : state.gap;
		state.last = at;
		state.ok++;
	} else {
		state.wrong++;
	}
}

static void drain(int fd)
{
	static uint8_t packets[MAX_WINDOW][1500];
	int lengths[MAX_WINDOW];
	for (long got; (got = receive(fd, MSG_DONTWAIT, packets, lengths)) > 0;)
		for (long i = 0; i < got; i++)
			judge(packets[i], lengths[i]);
}

int paced(char **argv)
{
	static struct query queries[MAX_WINDOW];
	double rate = atof(argv[3]), duration = atof(argv[4]);
	long count = rate * duration, sent = 0;
	int fd = open_client(argv[0]), size = 4 << 20;
	struct timespec tick = { 0, 500000 };
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
	open_verifier(argv);
	struct run run = begin();
	state.last = run.start;
	while (sent < count && access(argv[7], F_OK)) {
		long due = (now() - run.start) * rate, batch = 0;
		for (due = due < count ? due : count; sent < due && batch < MAX_WINDOW; sent++)
			ask(&queries[batch++], sent);
		send_batch(fd, &state.query, queries, batch);
		drain(fd);
		if (sent >= due)
			nanosleep(&tick, 0);
	}
	for (double end = now() + TIMEOUT_MS / 1e3; state.waiting && now() < end; nanosleep(&tick, 0))
		drain(fd);
	finish(&run);
	state.lost += state.waiting;
	printf("ok=%ld bad=%ld wrong=%ld missed=%ld lost=%ld extra=%ld gap_ms=%.3f seconds=%.6f "
	       "cpu_us=%lu\n", state.ok, state.wrong + state.missed + state.lost, state.wrong,
	       state.missed, state.lost, state.extra, state.gap * 1e3, run.seconds, run.cpu_us);
	return 0;
}
