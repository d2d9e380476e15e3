"""`explain --probe`: one query and one connection, as the caller would make them.

Bounded in time, and in bytes: a HEAD request where the port is HTTP, nothing else. Where that
goes wrong, and we are root, each endpoint is tried past the sidecar, to see whose fault it is.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from interceptor.debug.case import Case, Connected, Probe, Queried
from interceptor.dns import wire
from interceptor.errors import InterceptorError
from interceptor.examination import observe_rule
from interceptor.host import cgroup, dial, errand, resolver
from interceptor.host.dial import Attempt, Way
from interceptor.inquiry import Question
from interceptor.mesh.model import Address, AppProtocol, Endpoint, Port
from interceptor.mesh.outcome import AAAA, A

RCODES = {0: "NOERROR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}
DIRECT = 4  # endpoints that are tried past the sidecar
DIRECT_S = 1.0
WORDS = 80  # characters of what was said that are told
HTTP1 = (AppProtocol.HTTP,)


def send(case: Case, question: Question) -> Case:
    """The same case with what became of a probe. Raises InterceptorError where none can be made
    as that user."""
    before = _count(case)
    query = _ask(case, question)
    connection = None
    flow = case.flow
    if flow is not None and flow.protocol == "tcp" and flow.uid is not None:
        request = _request(case)
        way = Way(device=case.asked.device)
        attempt = partial(_open, flow.destination, flow.port, request, way)
        made = _decode(_as_caller(case, question, attempt))
        connection = _told(f"{flow.destination} port {flow.port}", made)
    probe = Probe(query, connection, before=before, after=_count(case))
    if connection is not None and not is_well(connection):
        probe = replace(probe, direct=_direct(case))
    return replace(case, probe=probe)


def _count(case: Case) -> int | None:
    """What the rule has counted so far; None where nobody may look."""
    if os.geteuid() != 0:
        return None
    found = observe_rule(case)
    return found.count if found is not None else None


def is_well(tried: Connected) -> bool:
    """Whether somebody served there."""
    return tried.result == "connected" and not tried.reply.startswith("HTTP/1.1 5")


# --- the connection


def _request(case: Case) -> bytes:
    port = case.called[1] if case.called is not None else None
    if not case.asked.speaks_http and (port is None or port.protocol not in HTTP1):
        return b""
    host = case.asked.name or str(case.flow.destination if case.flow else "")
    lines = (
        "HEAD / HTTP/1.1",
        f"Host: {host}:{case.asked.port}",
        "User-Agent: interceptor-explain",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode()


def _open(address: Address, port: int, request: bytes, way: Way) -> bytes:
    """In the child: the attempt as JSON."""
    made = dial.connect(address, port, request, way)
    tree = {
        "result": made.result,
        "peer": made.peer,
        "took_s": made.took_s,
        "greeting": made.greeting.decode("latin-1"),
        "reply": made.reply.decode("latin-1"),
        "detail": made.detail,
    }
    return json.dumps(tree).encode()


def _as_caller(case: Case, question: Question, attempt: partial[bytes]) -> bytes:
    """What the attempt gives, made as the user and in the cgroup that were asked for."""
    uid, gid = question.uid, question.gid
    if os.geteuid() != 0 and (question.cgroup or uid not in (None, os.getuid())):
        raise InterceptorError(
            "only root may probe as another user or in another cgroup: "
            "leave --uid and --cgroup out, or --probe"
        )
    if uid is not None and gid is None:
        gid = uid
    processes = None
    if question.cgroup:
        mount = Path(case.facts.cgroup_mount)
        processes = cgroup.folder(question.cgroup, mount) / cgroup.PROCESSES
    return errand.call(attempt, uid, gid, processes)


def _decode(data: bytes) -> Attempt:
    """The inverse of `_open`."""
    tree = json.loads(data)
    return Attempt(**(tree | {k: tree[k].encode("latin-1") for k in ("greeting", "reply")}))


def _told(to: str, made: Attempt) -> Connected:
    return Connected(
        to,
        made.result,
        made.peer,
        made.took_s * 1000,
        _first_line(made.greeting),
        _first_line(made.reply),
        made.detail,
    )


def _first_line(data: bytes) -> str:
    """What can be printed of the first bytes."""
    text = data.decode("ascii", errors="replace").splitlines()
    words = "".join(char if char.isprintable() else "." for char in (text[0] if text else ""))
    return words[:WORDS]


def _direct(case: Case) -> tuple[Connected, ...]:
    """Each endpoint past the sidecar, by our mark: root alone may set it."""
    if os.geteuid() != 0 or case.called is None or case.called[1] is None:
        return ()
    host, port = case.called
    near = (each for each in host.endpoints if each.ready and not each.gateways)
    ready = [each for each in near if not isinstance(each.address, str)]
    way = Way(mark=case.config.capture.mark)
    return tuple(_try(each, port, way) for each in ready[:DIRECT] if port is not None)


def _try(endpoint: Endpoint, port: Port, way: Way) -> Connected:
    assert not isinstance(endpoint.address, str)
    number = endpoint.port(port)
    made = dial.connect(endpoint.address, number, b"", way, DIRECT_S)
    return _told(f"{endpoint.address} port {number}", made)


# --- the query


def _ask(case: Case, question: Question) -> Queried | None:
    """The name, asked of the first server of resolv.conf; of a flow to port 53, any mesh name of
    that server."""
    servers = resolver.observe_servers(case.config.dns.resolv_conf)
    name = case.found.name if case.found is not None else ""
    flow = case.flow
    if flow is not None and flow.protocol == "udp" and flow.port == 53:
        servers, name = (flow.destination,), name or _some_name(case)
    if not name or not servers:
        return None
    version = flow.destination.version if flow is not None and case.found is not None else 4
    way = Way(device=case.asked.device)
    tree = json.loads(_as_caller(case, question, partial(_send, servers[0], name, version, way)))
    answered = Queried(**(tree | {"answers": tuple(tree["answers"])}))
    is_wild = case.found is not None and case.found.host.startswith("*.")
    if is_wild and os.geteuid() == 0:
        outside = _query(servers[0], name, version, Way(mark=case.config.capture.mark))
        return replace(answered, outside=outside.answers)
    return answered


def _some_name(case: Case) -> str:
    hosts = case.table.hosts.values()
    return next((host.name for host in hosts if host.addresses and not host.is_wildcard), "")


def _send(server: Address, name: str, version: int, way: Way) -> bytes:
    """In the child: the query's fate as JSON."""
    return json.dumps(dataclasses.asdict(_query(server, name, version, way))).encode()


def _query(server: Address, name: str, version: int, way: Way) -> Queried:
    number = os.urandom(2)
    kind = A if version == 4 else AAAA
    head = number + b"\1\0\0\1\0\0\0\0\0\0"  # RFC 1035 §4.1.1: RD, one question
    try:
        body = wire.plain_name(name) + kind.to_bytes(2, "big") + b"\0\1"
        answer, took_s = dial.ask(server, head + body, way)
    except TimeoutError:
        return Queried(str(server), error="timeout")
    except (OSError, ValueError) as error:
        return Queried(str(server), error=getattr(error, "strerror", None) or str(error))
    return decode(str(server), answer, took_s * 1000)


def decode(who: str, answer: bytes, took_ms: float) -> Queried:
    """One answer as it is told; what cannot be read is an error."""
    try:
        record = wire.decode(answer)
    except Exception as error:  # whatever its codec stumbles over: the answer is not ours
        return Queried(who, took_ms=took_ms, error=str(error))
    rcode = RCODES.get(record.header.rcode, str(record.header.rcode))
    found = tuple(str(each.rdata) for each in record.rr if each.rtype in (A, AAAA))
    return Queried(who, rcode, tuple(map(str, map(ip_address, found))), took_ms)
