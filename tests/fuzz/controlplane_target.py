"""What a control plane may send: name tables, responses that go through us, a CA's answers."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2, unknown_fields
from google.protobuf.message import DecodeError, Message

from interceptor.sidecar import envelope
from interceptor.sidecar.envelope import Form
from interceptor.sidecar.passage import Passage
from interceptor.source import nds
from interceptor.source.dialogue import Dialogue, Node, NoResponse
from interceptor.source.dialogue import Form as Spoken
from interceptor.workload import credential, issuance
from interceptor.workload.certificate import CertificateError
from tests.controlplane import authority, schema, urls
from tests.fuzz import mesh_target
from tests.fuzz.target import Target

MESSAGES = {
    Form.DELTA: (discovery_pb2.DeltaDiscoveryRequest, discovery_pb2.DeltaDiscoveryResponse),
    Form.SOTW: (discovery_pb2.DiscoveryRequest, discovery_pb2.DiscoveryResponse),
}
GROUP = 3  # wire type
NODE = Node("sidecar~10.0.0.1~vm.ns~ns.svc.cluster.local", "vm", ("", "", ""), {})
NOW_S = time.time()
WHO = "spiffe://cluster.local/ns/bookinfo/sa/reviews"


def run_relay(data: bytes) -> None:
    """Messages of both directions; what protobuf reads, we read alike."""
    if not data:
        return
    form = Form.SOTW if data[0] & 1 else Form.DELTA
    passage = Passage()
    passage.begin()
    now_s = 0.0
    rest = data[1:]
    while len(rest) >= 3:
        is_up, size = rest[0] & 1, int.from_bytes(rest[1:3], "big")
        message, rest = rest[3 : 3 + size], rest[3 + size :]
        now_s += 1
        if is_up:
            _compare_request(form, message)
            refusal = passage.ask(form, message, now_s)
            assert refusal is None or refusal.reason
        else:
            _compare_response(form, message)
            passage.tell(form, message, now_s)
    assert all(latency_s > 0 for latency_s in passage.latencies_s)
    assert passage.is_quiet or now_s


def _has_group(message: Message) -> bool:
    """Groups are read by protobuf, and by nobody written since: we stop there."""
    return any(field.wire_type == GROUP for field in unknown_fields.UnknownFieldSet(message))


def _compare_request(form: Form, message: bytes) -> None:
    asked = envelope.decode_request(form, message)
    envelope.kind(asked.type_url)
    try:
        true = MESSAGES[form][0].FromString(message)
    except DecodeError:
        return
    if _has_group(true):
        return
    assert (asked.type_url, asked.nonce) == (true.type_url, true.response_nonce)
    assert bool(asked.error) == true.HasField("error_detail")


def _compare_response(form: Form, message: bytes) -> None:
    told = envelope.decode_response(form, message)
    names = envelope.names(form, message)
    removed = envelope.removed(message) if form is Form.DELTA else ()
    try:
        true = MESSAGES[form][1].FromString(message)
    except DecodeError:
        return
    if _has_group(true):
        return
    assert (told.type_url, told.nonce) == (true.type_url, true.nonce)
    assert len(names) == len(true.resources)
    if form is Form.DELTA:
        assert removed == tuple(true.removed_resources)


def framed(*messages: tuple[int, bytes], form: Form = Form.DELTA) -> bytes:
    """(whether it goes up, message)s as one input."""
    parts = [bytes([up]) + len(body).to_bytes(2, "big") + body for up, body in messages]
    return bytes([form is Form.SOTW]) + b"".join(parts)


def relayed() -> Iterable[bytes]:
    for form, (request, response) in MESSAGES.items():
        ask = request(type_url=urls.CLUSTER)
        ask.node.id = "sidecar~10.0.0.1~vm.ns~ns.svc.cluster.local"
        tell = response(type_url=urls.CLUSTER, nonce="n1")
        for name in (b"one", b"two"):
            if form is Form.DELTA:
                packed = tell.resources.add(name=name.decode(), version="1").resource
            else:
                packed = tell.resources.add()
            packed.type_url, packed.value = urls.CLUSTER, b"\x0a\x03" + name
        if form is Form.DELTA:
            tell.removed_resources.append("three")
        ack = request(type_url=urls.CLUSTER, response_nonce="n1")
        nack = request(type_url=urls.CLUSTER, response_nonce="n1")
        nack.error_detail.code, nack.error_detail.message = 13, "cluster one: no such thing"
        for last in (ack, nack):
            up, down = ask.SerializeToString(), tell.SerializeToString()
            yield framed((1, up), (0, down), (1, last.SerializeToString()), form=form)
    yield framed((0, b"\x0a\xff\xff\xff\xff\x0f"), (1, b"\x0b"), (0, b"\x12\x02\x12\x00"))


def run_names(data: bytes) -> None:
    """Responses to our own stream, one after the other: a table, or a reason; what protobuf reads,
    we read alike."""
    form = Spoken.SOTW if data[:1] == b"\1" else Spoken.DELTA
    dialogue, register = Dialogue(form, NODE), nds.Register()
    dialogue.begin()
    rest = data[1:]
    while len(rest) >= 2:
        size = int.from_bytes(rest[:2], "big")
        message, rest = rest[2 : 2 + size], rest[2 + size :]
        try:
            told = dialogue.receive(message)
        except NoResponse as error:
            assert str(error)
            continue
        if told is None:
            continue
        reason = told.problem or _read(register, told.table)
        answer = dialogue.refuse(told, reason) if reason else dialogue.accept(told)
        true = MESSAGES[Form[form.name]][0].FromString(answer)
        assert true.response_nonce == told.nonce
        assert true.HasField("error_detail") == bool(reason)


def _read(register: nds.Register, table: bytes | None) -> str:
    """Why a table cannot be taken, if so."""
    if table is None:
        return ""
    try:
        made = register.parse(table)
    except nds.NoNameTable as error:
        assert str(error)
        return str(error)
    mesh_target.use(made)
    again = register.parse(table)
    assert list(again.hosts.values()) == list(made.hosts.values()), "read anew it says otherwise"
    try:
        true = schema.NameTable.FromString(table).table
    except DecodeError:  # an entry that no client of istiod's reads
        return ""
    for host, info in true.items():
        mine = made.hosts.get(host.lower().rstrip("."))
        assert mine is None or {str(each) for each in mine.addresses} <= _plain(true, mine.name)
        assert mine is not None or not info.ips or made.warnings or not host
    return ""


def _plain(true: Mapping[str, Any], name: str) -> set[str]:
    """Every address that a table gives to a name, however it is written there."""
    texts = (ip for host, info in true.items() if _bare(host) == name for ip in info.ips)
    found = set()
    for text in texts:
        with contextlib.suppress(ValueError):
            found.add(str(ip_address(text)))
    return found


def _bare(host: str) -> str:
    return host.lower().rstrip(".")


def told_names() -> Iterable[bytes]:
    table = schema.NameTable()
    one = table.table["reviews.bookinfo.svc.cluster.local"]
    one.ips.extend(["10.0.0.1", "fd00::1"])
    one.registry, one.shortname, one.namespace = "Kubernetes", "reviews", "bookinfo"
    one.alt_hosts.append("reviews.test")
    table.table["*.wild.test"].ips.append("240.240.0.1")
    table.table["none.test"].registry = "External"
    packed = any_pb2.Any(type_url=urls.NAMES, value=table.SerializeToString(deterministic=True))
    empty = any_pb2.Any(type_url=urls.NAMES)
    for form, (_, response) in MESSAGES.items():
        parts = [bytes([form is Form.SOTW])]
        for number, each in enumerate((packed, packed, empty, None)):
            made = response(type_url=urls.NAMES, nonce=f"n{number}")
            if each is not None and form is Form.DELTA:
                made.resources.add(version="1").resource.CopyFrom(each)
            elif each is not None:
                made.resources.add().CopyFrom(each)
            body = made.SerializeToString()
            parts += [len(body).to_bytes(2, "big"), body]
        yield b"".join(parts)


@cache
def _answer() -> tuple[bytes, bytes, bytes]:
    """Our key, a leaf for it, and the root; all PEM."""
    with TemporaryDirectory() as folder:
        ours = authority.Authority(Path(folder))
        pair = ours.issue((WHO,))
    return pair.key, pair.certificate, ours.root_pem


def run_issued(data: bytes) -> None:
    """Any answer of a CA: a credential that is whole, or one sentence of what is wrong."""
    key, _, _ = _answer()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cryptography's, of certificates that are odd
            made = credential.decide(key, issuance.decode_response(data), WHO, NOW_S)
    except CertificateError as error:
        assert str(error)
        return
    assert made.who == WHO
    assert made.not_before_s < made.not_after


def issued() -> Iterable[bytes]:
    _, leaf, root = _answer()
    chains = [[leaf, root], [leaf], [], [root, leaf], [leaf, leaf, root], [b"rubbish", root]]
    chains.append([leaf.replace(b"A", b"B"), root])
    for chain in chains:
        texts = [each.decode() for each in chain]
        yield schema.CertificateResponse(cert_chain=texts).SerializeToString()


TARGETS = {
    "relay": Target(
        run_relay, relayed, ("interceptor.sidecar.envelope", "interceptor.sidecar.passage")
    ),
    "names": Target(
        run_names,
        told_names,
        ("interceptor.source.nds", "interceptor.source.dialogue", "interceptor.mesh"),
    ),
    "issued": Target(run_issued, issued, ("interceptor.workload",)),
}
