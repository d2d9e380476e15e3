/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0) */
/*
 * This file holds what programs and user space share: the numbers of the maps, and every key and
 * value in them. interceptor/host/layout.py says the same in Python; a test compares the two.
 *
 * Whatever changes a size or a meaning here raises LAYOUT: maps are pinned under v<LAYOUT>, so
 * that a new version never reads the old one's maps. The alias maps alone outlive layouts, because
 * open connections hang on them: their keys and values must never change.
 */
#ifndef INTERCEPTOR_LAYOUT_H
#define INTERCEPTOR_LAYOUT_H

#include <linux/types.h>

#define LAYOUT 2

/* What an LD_IMM64 names; the loader puts the map's file descriptor in its place. */
#define MAP_STATE 1      /* array[STATE_SIZE] of u64; writers: daemon (beat), worker; see UNTOLD */
#define MAP_POLICY 2     /* array[2] of struct policy, by generation; writer: daemon */
#define MAP_NUMBERS 3    /* hash of struct number_key -> u8; writer: daemon */
#define MAP_NETWORKS 4   /* LPM trie of struct network_key -> u8; writer: daemon */
#define MAP_ALIAS4 5     /* hash of u32 slot -> __be32; writer: connect4; pinned apart from layouts */
#define MAP_ALIAS6 6     /* hash of u64 slot -> struct in6; writer: connect6; pinned likewise */
#define MAP_LISTENERS 7  /* sockmap[LISTENERS_SIZE]; writers: listen program, daemon */
#define MAP_LOCALE 8     /* array[2] of struct locale, by view; writer: worker */
#define MAP_NAMES 9      /* array[2] of hash struct name_key -> struct name_value, by view */
#define MAP_WILD 10      /* the same for wildcards, under the name behind "*.", never cut off */
#define MAP_POINTERS 11  /* array[2] of hash struct in6 -> u8: addresses that have a PTR, by view */
#define MAP_SCRATCH 12   /* per-CPU array[1] of the DNS program's own scratch */
#define MAP_DNS_COUNTS 13 /* per-CPU array[DNS_RESULTS * DNS_TYPES] of u64 */
#define MAP_TCP_COUNTS 14 /* per-CPU array[TCP_RESULTS] of u64 */
#define MAP_HANDOVER 15  /* ring buffer of struct handover: queries for the worker */
#define MAP_EVENTS 16    /* ring buffer of struct event: decisions, while somebody listens */
#define MAP_OWNERS 17    /* socket storage of u32: OWNER_EXCLUDED, made by the owner program */

/* --- MAP_STATE: one u64 each, so that a write is seen whole */
#define STATE_GENERATION 0   /* which policy and which keys of NUMBERS and NETWORKS are in force */
#define STATE_VIEW 1         /* which locale, names, wildcards, pointers are in force */
#define STATE_BEAT_NS 2      /* CLOCK_MONOTONIC of the daemon's last life sign; 0: never */
#define STATE_WORKER_NS 3    /* the same of the worker that reads MAP_HANDOVER; 0: there is none */
#define STATE_TRACE_NS 4     /* until then (CLOCK_MONOTONIC) somebody listens to MAP_EVENTS */
#define STATE_HAS_VIEW 5     /* 0 until the first table is in: nothing is answered before */
#define STATE_WRITES 6       /* odd while entries of the view in force are written; grows with it */
#define STATE_UNTOLD 7       /* writers: programs; events without room, queries left out */
#define STATE_SIZE 8

#define WORKER_PATIENCE_NS 1500000000ull /* a worker silent for longer gets no query */

/* --- MAP_POLICY: the plan's rules (design: what is captured), in their fixed order */
#define POLICY_DNS 0x1           /* rule 5: UDP and TCP port 53 are captured */
#define POLICY_DNS_ALL 0x2       /* ... to whatever server; else those in NETWORK_SERVER */
#define POLICY_OUTBOUND 0x4      /* rules 6 and 7 */
#define POLICY_INBOUND 0x8       /* rule 8 */
#define POLICY_INBOUND_ALL 0x10  /* ... every port but the spared; else those in NUMBER_IN_PORT */
#define POLICY_SELF 0x20         /* rule 2: the sidecar's calls to this host's own services */
#define POLICY_SIDECAR 0x40      /* rule 2: sidecar_uid, sidecar_gid are exempt */
#define POLICY_EXCLUDE_UIDS 0x80 /* rule 4; each says that the set of that kind is not empty */
#define POLICY_EXCLUDE_GIDS 0x100
#define POLICY_INCLUDE_UIDS 0x200
#define POLICY_INCLUDE_GIDS 0x400
#define POLICY_OUT_PORTS 0x800          /* NUMBER_OUT_PORT is not empty */
#define POLICY_OUT_PORTS_SPARED 0x1000  /* NUMBER_OUT_PORT_SPARED is not empty */
#define POLICY_BYPASS 0x2000     /* without a listener: pass; else refuse (on_sidecar_loss) */
#define POLICY_RELEASE 0x4000    /* when the lease has run out: pass (on_agent_loss) */
#define POLICY_IPV4 0x8000       /* the families that are captured */
#define POLICY_IPV6 0x10000
#define POLICY_INTERFACES 0x20000 /* NUMBER_IN_INTERFACE_SPARED is not empty */
#define POLICY_CONFINED 0x40000  /* rule 2: ... while they are in sidecar_cgroup or below it */

#define CGROUPS 8

struct cgroup_ref {
	__u64 id;    /* inode of the cgroup's folder */
	__u32 level; /* 0 is the root */
	__u32 pad;
};

struct policy {
	__u64 netns_cookie; /* whose sockets are captured; 0: everybody's (tests) */
	__u64 lease_ns;     /* for how long a silent daemon is trusted */
	__u64 digest;       /* of everything that user space wrote for this generation */
	__u32 flags;        /* POLICY_* */
	__u32 mark;         /* of the agent's own sockets: rule 2 */
	__u32 sidecar_uid;
	__u32 sidecar_gid;
	__u16 outbound_port; /* host byte order, all three */
	__u16 inbound_port;
	__u16 dns_port;
	__u16 excluded_cgroups; /* how many of exclude[] are in use */
	__u16 included_cgroups;
	__u16 pad[3];
	struct cgroup_ref exclude[CGROUPS];
	struct cgroup_ref include[CGROUPS];
	__u64 sidecar_cgroup; /* inode of the folder; whatever its level, which namespaces hide */
};

/* --- MAP_NUMBERS: sets of users, groups, ports (host byte order), interface indices */
#define NUMBER_EXCLUDE_UID 1
#define NUMBER_EXCLUDE_GID 2
#define NUMBER_INCLUDE_UID 3
#define NUMBER_INCLUDE_GID 4
#define NUMBER_OUT_PORT_SPARED 5
#define NUMBER_OUT_PORT 6
#define NUMBER_IN_PORT_SPARED 7
#define NUMBER_IN_PORT 8
#define NUMBER_SELF_PORT_SPARED 9
#define NUMBER_IN_INTERFACE_SPARED 10

struct number_key {
	__u16 kind;       /* NUMBER_* */
	__u16 generation; /* 0 or 1 */
	__u32 value;
};

/* --- MAP_NETWORKS: IPv4 as ::ffff:a.b.c.d; prefixlen counts kind and generation too (32 + n) */
#define NETWORK_OUTBOUND 1 /* rule 7 */
#define NETWORK_SPARED 2   /* rule 6: excluded CIDRs */
#define NETWORK_SERVER 3   /* rule 5, unless POLICY_DNS_ALL */
#define NETWORK_OWN 4      /* this host's own addresses, loopback left out */

struct in6 {
	__u8 bytes[16];
};

struct network_key {
	__u32 prefixlen;
	__u16 kind;       /* NETWORK_* */
	__u16 generation; /* 0 or 1 */
	struct in6 address;
};

/*
 * --- Aliases: where captured connections really go. connect() rewrites the destination's address
 * (never its port) to a loopback alias of it; the slot says which, and the alias maps say of which
 * destination. An alias belongs to a destination, not to a connection: there is nothing to evict.
 *
 * IPv4: 127.64.0.0/10 outbound, 127.128.0.0/10 inbound (calls to oneself), 127.192.0.0/10 DNS over
 * TCP; the low 22 bits are the slot. IPv6: ALIAS6_PREFIX, then a group of 1, 2 or 3, then 64 bits.
 */
#define WAY_OUTBOUND 1
#define WAY_INBOUND 2
#define WAY_DNS 3
#define ALIAS4_BASE 0x7f000000u /* | way << 22 | slot, host byte order */
#define ALIAS4_SLOTS 0x3fffffu  /* mask */
#define ALIAS6_PREFIX 0xfdc8, 0x3d1f, 0x62a7 /* /48, the three groups in host byte order */
#define ALIAS_PROBES 8 /* slots that are tried for one destination */

/* --- MAP_OWNERS: what the owner program knows of the group of a UDP socket's maker */
#define OWNER_EXCLUDED 1 /* the sidecar's group, or in NUMBER_EXCLUDE_GID */
#define OWNER_INCLUDED 2 /* in NUMBER_INCLUDE_GID */

#define COMM_SIZE 16 /* linux/sched.h, TASK_COMM_LEN */

/* --- MAP_LISTENERS: index */
#define LISTENER_OUTBOUND4 0
#define LISTENER_OUTBOUND6 1
#define LISTENER_INBOUND4 2
#define LISTENER_INBOUND6 3
#define LISTENER_DNS4 4
#define LISTENER_DNS6 5
#define LISTENERS_SIZE 8

/* --- MAP_NAMES, MAP_WILD */
#define NAME_SIZE 128 /* longest wire name (root label included) that is looked up */
#define ADDRESSES 8   /* of each family in one value */

/*
 * A name in lower-case wire format, zero padded, without its final zero byte's meaning: a known
 * suffix is cut off (see SUFFIX_*) and a mark written in the place of its first length byte:
 * MARK_CLUSTER for "<rest>.svc.<domain>", MARK_OWN for "<rest>.<namespace>.svc.<domain>", and the
 * ordinary 0 of the root for a name without such a suffix. A mark is > 63, so that no label's
 * length is taken for it.
 */
struct name_key {
	__u8 bytes[NAME_SIZE];
};
#define MARK_ROOT 0
#define MARK_CLUSTER 0xfe
#define MARK_OWN 0xff

#define VALUE_PASS 0x1      /* a mesh host that we do not speak for: untouched */
#define VALUE_HANDOVER 0x2  /* the worker answers: CNAMEs, more than ADDRESSES addresses */
#define VALUE_EXTRA 0x4     /* an extra name of a host: Kubernetes' short forms beat it */

/*
 * Who looks a name up (mesh/directory.py, find): the name itself; then its short forms as keys of
 * the own and the cluster suffix; a VALUE_EXTRA counts only where the name itself leads to it, and
 * only when no short form leads to a host. MAP_WILD holds whole names, MARK_ROOT: its keys are
 * tails of the name that was asked. A subtree of which the kernel must not speak (a zone that
 * found no place in the locale) is a wildcard with VALUE_HANDOVER.
 *
 * The hash is over the 16 little-endian words of the key, then words 1 to 21 of the value:
 * h = 0; for each word: h = (h + word) * HASH_FACTOR modulo 2^64. A torn copy does not fit it.
 */
#define HASH_FACTOR 0x9e3779b97f4a7c15ull

struct name_value {
	__u64 hash;
	__u8 count4;
	__u8 count6;
	__u16 flags; /* VALUE_* */
	__u32 pad;
	__be32 v4[ADDRESSES];
	struct in6 v6[ADDRESSES];
};

/* --- MAP_LOCALE: from where this host looks at the mesh */
#define SUFFIX_OWN 0          /* ".<namespace>.svc.<domain>" */
#define SUFFIX_CLUSTER 1      /* ".svc.<domain>" */
#define SUFFIX_OWN_SHORT 2    /* ".<namespace>.svc" */
#define SUFFIX_CLUSTER_SHORT 3 /* ".svc" */
#define SUFFIX_NAMESPACE 4    /* ".<namespace>" */
#define SUFFIX_DOMAIN 5       /* ".<domain>" */
#define SUFFIX_ZONES 6        /* own zones from here on, longest first */
#define ZONES 4
#define SUFFIX_SEARCH 10      /* search domains from here on, in their order */
#define SEARCHES 6
#define SUFFIXES 16
#define SUFFIX_SIZE 64        /* longest wire suffix, root label included */

struct suffix {
	__u8 bytes[SUFFIX_SIZE]; /* lower-case wire format with the root label, at the END of the field */
	__u32 length;            /* 0: not in use */
	__u32 pad;
};

#define LOCALE_HAS_WILD 0x1
#define LOCALE_HAS_ZONES 0x2
#define LOCALE_HAS_SEARCH 0x4
#define LOCALE_HAS_POINTERS 0x8

struct locale {
	__u32 ttl_s;
	__u32 flags;      /* LOCALE_* */
	__u64 wild_depths; /* bit n: some wildcard's suffix has n labels (1 to 63) */
	struct suffix suffixes[SUFFIXES];
};

/* --- Ring buffers. Lengths are bytes, packets begin at their IP header. */
#define PACKET_SIZE 1024
#define PLACE_EGRESS 0 /* a query of this host on its way out */
#define PLACE_LO 1     /* ... over loopback */
#define PLACE_BRIDGE 2 /* a container's, arriving by a bridge */

struct handover {
	__u32 length;
	__u32 ifindex;
	__u32 place; /* PLACE_* */
	__u32 pad;
	__u8 packet[PACKET_SIZE]; /* the record ends behind `length` bytes of it */
};

/*
 * Events are written and read only while somebody listens, by programs and a daemon of one version:
 * they may grow at their end without another LAYOUT.
 */
struct event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u32 kind;    /* EVENT_* */
	__u32 result;  /* DNS_* or TCP_* */
	__u32 uid;     /* ~0: nobody's */
	__u32 ifindex; /* 0 where there is none */
	__u32 pid;     /* 0 where there is none: tc runs for the kernel */
	__u16 qtype;   /* DNS; host byte order, as are the ports */
	__u16 port;    /* TCP: the destination's */
	struct in6 address; /* DNS: the server's; TCP: the destination's */
	__u8 name[NAME_SIZE]; /* DNS: wire format as asked, cut off at NAME_SIZE */
	__u64 cookie; /* of the socket: CONNECT, SOCKET, DNS; 0 where there is none */
	__u64 cgroup; /* inode of the folder of the process's or the socket's; 0: not known */
	struct in6 source; /* who asks or calls; zeros: not known, as in CONNECT. Undefined in DNS_ODD */
	__u16 source_port;
	__u16 pad[3];
	__u8 comm[COMM_SIZE]; /* of pid; undefined in DNS */
};
#define EVENT_DNS 1
#define EVENT_CONNECT 2
#define EVENT_LOOKUP 3 /* what arrives from elsewhere */
#define EVENT_SOCKET 5 /* a UDP socket is made: by whom its queries are asked */
#define EVENT_ALIAS 4  /* what connect() has sent to an alias: address is its true destination */

/* --- Counters. DNS: result * DNS_TYPES + type. */
#define DNS_ANSWER 0
#define DNS_NODATA 1
#define DNS_PASS 2        /* a name of nobody in the mesh, or one that we do not speak for */
#define DNS_HANDOVER 3    /* given to the worker */
#define DNS_ODD 4         /* malformed, fragmented, options, too large: not looked at further */
#define DNS_LONG 5        /* a name longer than NAME_SIZE */
#define DNS_EXEMPT 6      /* rules 1 to 4, or a server that is not captured */
#define DNS_TORN 7        /* a value that did not fit its hash, twice */
#define DNS_NO_WORKER 8   /* for the worker, and there is none: passed */
#define DNS_LEASE 9       /* the lease has run out: passed */
#define DNS_ERROR 10      /* the kernel refused a change; the query is lost */
#define DNS_NO_VIEW 11    /* no table yet: passed */
#define DNS_RESULTS 16
#define DNS_TYPE_OTHER 0
#define DNS_TYPE_A 1
#define DNS_TYPE_AAAA 2
#define DNS_TYPE_PTR 3
#define DNS_TYPE_SRV 4
#define DNS_TYPE_HTTPS 5
#define DNS_TYPE_TXT 6
#define DNS_TYPE_ANY 7
#define DNS_TYPES 8

#define TCP_OUTBOUND 0    /* connect(): to the sidecar */
#define TCP_SELF 1        /* connect(): the sidecar to this host, through inbound */
#define TCP_DNS 2         /* connect(): to the TCP/53 responder */
#define TCP_PASS 3        /* connect(): looked at and left alone */
#define TCP_EXEMPT 4      /* connect(): rules 1 to 4 */
#define TCP_BYPASS 5      /* connect(): would be captured, but nobody listens */
#define TCP_LEASE 6
#define TCP_FULL 7        /* connect(): no slot was free for the alias; refused */
#define TCP_INBOUND 8     /* arriving: to the sidecar */
#define TCP_INBOUND_PASS 9
#define TCP_REFUSED 10    /* captured, and nobody listens: refused */
#define TCP_RESULTS 16

#endif
