"""What the host's tools and files say to us, the journal among them, and the worker's frames."""

from __future__ import annotations

import asyncio
import json
import marshal
import struct
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from interceptor.capture import ipset, nftables, restore, route, step
from interceptor.capture.journal import Journal
from interceptor.dns import frame
from interceptor.host import cgroup, probe, resolver, tcptable
from interceptor.sidecar import admin, launch
from tests.fuzz.target import Target

SAVED = """\
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [1:60]
:INTERCEPTOR_OUTPUT - [0:0]
:INTERCEPTOR_NEW_TABLE - [0:0]
-A OUTPUT -p tcp -m comment --comment "to \\"us\\"" -j INTERCEPTOR_OUTPUT
-A INTERCEPTOR_OUTPUT -d 10.0.0.0/8 -j REDIRECT --to-ports 15001
COMMIT
"""
ADDRESSES = '[{"ifname": "eth0", "addr_info": [{"local": "10.0.0.1"}]}]'
ROUTES = '[{"type": "local", "dst": "127.64.0.0/12", "dev": "lo", "protocol": "157"}]'
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:3A99 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1337        0 4711 1
"""
STAT = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99 1 2 3"


def _saved(text: str) -> None:
    saved = restore.parse(text, frozenset({("nat", "OUTPUT")}))
    restore.observed(saved)
    for made in (restore.remove(saved), restore.sweep(saved, 4), restore.unmark(saved, 4)):
        restore.singly(made)


def _table(text: str) -> None:
    for row in tcptable.parse(text):
        (row.port, row.inode, tcptable.decode(row.local))


PARSERS: tuple[tuple[Callable[[str], object], str], ...] = (
    (_saved, SAVED),
    (lambda text: restore.parse_bases(text, 4), '{"nftables": [{"chain": {"family": "ip"}}]}'),
    (ipset.parse, "create interceptor_a hash:net\nadd interceptor_a 10.0.0.0/8\n"),
    (lambda text: route.parse(4, text, "[]"), ROUTES),
    (lambda text: nftables._normal(json.loads(text)), '[{"table": {"name": "interceptor"}}]'),
    (probe.parse_addresses, ADDRESSES),
    (probe.parse_cgroup_mount, "30 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
    (cgroup.parse_membership, "1:name=x:/\n0::/system.slice/a\n"),
    (resolver.parse_servers, "nameserver 10.0.0.1\nnameserver fe80::1%eth0\n"),
    (resolver.parse_search, "search a.test b.test\n"),
    (_table, TCP),
    (launch.decode, '{"pid": 1, "start_ticks": 2, "digest": "x"}'),
    (launch.decode_start_ticks, STAT),
    (lambda text: admin.decode_endpoints(text, "a"), '{"cluster_statuses": []}'),
    (admin.decode_stats, "a.b: 1\nc: No recorded values\n"),
)
"""Each takes any text, and raises nothing but what says that it is not what it should be."""

REFUSALS = (ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error)
"""What callers take for `this is not the tool's output`. None of these tools runs as another than
root; what is looked for here is a hang, a flood of memory, or an error of another kind."""

PLAIN = (_saved, cgroup.parse_membership, resolver.parse_servers, resolver.parse_search)
"""Of what other users may write into, or what is read where nobody takes errors: never raises."""


def run_text(data: bytes) -> None:
    parse, _ = PARSERS[data[0] % len(PARSERS) if data else 0]
    try:
        parse(data[1:].decode(errors="replace"))
    except REFUSALS:
        assert parse not in PLAIN


def texts() -> Iterable[bytes]:
    for number, (_, text) in enumerate(PARSERS):
        yield bytes([number]) + text.encode()


FOLDER = tempfile.TemporaryDirectory(prefix="interceptor-fuzz-")


def run_journal(data: bytes) -> None:
    path = Path(FOLDER.name) / "journal"
    path.write_bytes(data)
    for command in Journal(path).read():
        assert command.tolerant
        assert command.argv, "nothing to run"
        assert all(type(word) is str and "\0" not in word for word in command.argv)
        assert command.stdin is None or type(command.stdin) is str
        step.shell(command)


def journals() -> Iterable[bytes]:
    undo: Mapping[str, object] = {
        "why": "table inet interceptor",
        "undo": [[["nft", "delete", "table", "inet", "interceptor"], None]],
    }
    restored = {"why": "x", "undo": [[["iptables-nft-restore", "--noflush"], "*nat\nCOMMIT\n"]]}
    lines = [json.dumps(each) for each in (undo, restored, {"why": "", "undo": []})]
    yield "\n".join(lines).encode()
    yield lines[0].encode()
    yield lines[1].encode()[:-7]


async def _frames(data: bytes) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    while True:
        await frame.receive(reader)


_LOOP = asyncio.new_event_loop()
BEAT = (3, {("a", "b", "c"): 1}, {}, (0,) * 9, 0.5, {})


def run_worker(data: bytes) -> None:
    """Heads of frames. Payloads are marshal's, which is no format for strangers: both ends are
    one program and one user, so of payloads whole ones only are tried."""
    size, kind, *_ = (*data, 0, 0)
    payload = marshal.dumps(BEAT)
    whole = struct.pack("!IB", len(payload), 7) + payload
    try:
        _LOOP.run_until_complete(_frames(whole * (size % 3) + data[2:7] + payload[: kind % 64]))
    except (asyncio.IncompleteReadError, ValueError, EOFError, TypeError):
        return


def workers() -> Iterable[bytes]:
    for kind in range(9):
        yield bytes([1, 0]) + struct.pack("!IB", 0, kind)
        yield bytes([1, 0]) + struct.pack("!IB", 1 << 31, kind)


TARGETS = {
    "journal": Target(run_journal, journals, ("interceptor.capture.journal",)),
    "text": Target(
        run_text, texts, ("interceptor.capture", "interceptor.host", "interceptor.sidecar")
    ),
    "worker": Target(run_worker, workers, ("interceptor.dns.frame",)),
}
